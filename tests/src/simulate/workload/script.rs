//! All that happens in one generated room: who comes when, mutes, comes onto the stage, leaves.

use super::{Event, EventKind};
use crate::simulate::policy::{Media, Mode, PeerKey, RoomSpec};
use rand::Rng;
use rand::rngs::StdRng;
use std::time::Duration;

/// One minute, in seconds.
pub const MINUTE: f64 = 60.0;
/// How many of those whose stage it is hand their places to listeners for a while.
pub const GUESTS: u32 = 4;

/// How one room goes. All times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// What it is.
    pub mode: Mode,
    /// How many peers come.
    pub size: u32,
    /// How many of them publish; the others listen.
    pub speakers: u32,
    /// For how long they come.
    pub gather: f64,
    /// From the room's beginning to its end.
    pub life: f64,
    /// The share of them who leave before the end.
    pub early: f64,
    /// The share of these who come back.
    pub returns: f64,
    /// The share of speakers who begin with their camera on. All begin with the microphone on.
    pub camera: f64,
    /// The mean time between two times that a speaker thinks of microphone or camera. What is off is turned on then.
    pub toggle: f64,
    /// How often what is on is turned off then.
    pub off: f64,
    /// How many listeners are promoted to the stage and put back, at most [`GUESTS`] at a time. Each takes the place of
    /// a speaker, who listens meanwhile.
    pub guests: u32,
    /// How many times the room grows to its full size and empties again to a tenth. Nothing of the kind where 0.
    pub waves: u32,
}

impl Shape {
    /// A conference of so many, who all publish.
    pub const fn conference(size: u32, gather: f64, life: f64) -> Self {
        Self {
            mode: Mode::Conference,
            size,
            speakers: size,
            gather,
            life,
            early: 0.1,
            returns: 0.3,
            camera: 0.9,
            toggle: 5.0 * MINUTE,
            off: 0.3,
            guests: 0,
            waves: 0,
        }
    }

    /// A few who publish, and listeners.
    pub const fn stage(speakers: u32, listeners: u32, gather: f64, life: f64) -> Self {
        Self {
            mode: Mode::Stage,
            speakers,
            camera: 1.0,
            off: 0.05,
            ..Self::conference(speakers + listeners, gather, life)
        }
    }
}

/// Writes all events of a room. Those of one peer are in the order of time; all together are not.
pub fn write(shape: &Shape, room: u32, start: f64, rng: &mut StdRng, out: &mut Vec<Event>) {
    let mut script = Script { shape, room, start, guests: Vec::new(), rng, out };
    script.choose_guests();
    // Listeners first: only those who are there at their time take a speaker's place.
    for peer in (0..shape.size).rev() {
        let first_of_wave = (shape.size / 10).max(1);
        if shape.waves > 0 && peer >= first_of_wave {
            script.in_waves(peer);
        } else {
            script.once(peer);
        }
    }
}

/// A listener on the stage.
#[derive(Debug, Clone, Copy)]
struct Guest {
    peer: u32,
    /// Whose place it takes.
    speaker: u32,
    from: f64,
    until: f64,
    came: bool,
}

struct Script<'a> {
    shape: &'a Shape,
    room: u32,
    start: f64,
    guests: Vec<Guest>,
    rng: &'a mut StdRng,
    out: &'a mut Vec<Event>,
}

impl Script<'_> {
    fn push(&mut self, at: f64, peer: u32, kind: EventKind) {
        let peer = PeerKey { room: self.room, peer };
        self.out.push(Event { at: Duration::from_secs_f64(at.max(0.0)), peer, kind });
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share.clamp(0.0, 1.0))
    }

    /// A time between two, at random; the first where they are the wrong way round.
    fn between(&mut self, from: f64, to: f64) -> f64 {
        if to > from { self.rng.random_range(from..to) } else { from }
    }

    /// When each guest is on the stage: one after the other on each of a few places.
    fn choose_guests(&mut self) {
        let shape = self.shape;
        let (listeners, places) = (shape.size.saturating_sub(shape.speakers), shape.speakers.min(GUESTS));
        if listeners == 0 || places == 0 || shape.guests == 0 {
            return;
        }
        // Speakers are there before the first turn begins, and after the last has ended.
        let turn = 0.9 * shape.life / f64::from(shape.guests.div_ceil(places));
        for guest in 0..shape.guests {
            let begin = self.start + 0.05 * shape.life + turn * f64::from(guest / places);
            let peer = shape.speakers + self.rng.random_range(0..listeners);
            let from = self.between(begin, begin + 0.5 * turn);
            let (speaker, until) = (guest % places, begin + 0.95 * turn);
            self.guests.push(Guest { peer, speaker, from, until, came: false });
        }
    }

    /// A peer who comes, perhaps leaves before the end, and perhaps comes back.
    fn once(&mut self, peer: u32) {
        let shape = *self.shape;
        // Those whose stage it is and their guests are there before the audience, and stay. Otherwise a guest who was
        // refused would leave a place on the stage empty.
        let owner = peer < shape.speakers && shape.mode == Mode::Stage
            || self.guests.iter().any(|guest| guest.peer == peer);
        let gather = if owner { 0.02 * shape.gather } else { shape.gather };
        let came = self.between(self.start, self.start + gather.min(0.9 * shape.life));
        let end = self.start + shape.life;
        let end = self.between(end - 0.02 * shape.life, end).max(came);
        if owner || !self.chance(shape.early) {
            return self.present(peer, came, end);
        }
        let left = self.between(came, end);
        self.present(peer, came, left);
        if self.chance(shape.returns) {
            let back = left + self.between(10.0, 2.0 * MINUTE);
            if back < end {
                self.present(peer, back, end);
            }
        }
    }

    /// A peer who comes and goes with each wave.
    fn in_waves(&mut self, peer: u32) {
        let shape = *self.shape;
        let wave = shape.life / f64::from(shape.waves);
        for number in 0..shape.waves {
            let begin = self.start + wave * f64::from(number);
            let came = self.between(begin + 0.1 * wave, begin + 0.4 * wave);
            let left = self.between(begin + 0.6 * wave, begin + 0.95 * wave);
            self.present(peer, came, left);
        }
    }

    fn present(&mut self, peer: u32, from: f64, until: f64) {
        if peer < self.shape.speakers {
            self.speak(peer, from, until)
        } else {
            self.listen(peer, from, until)
        }
        self.push(until, peer, EventKind::Leave);
    }

    fn listen(&mut self, peer: u32, from: f64, until: f64) {
        let room = self.room_spec();
        self.push(from, peer, EventKind::Join { room, media: Media::NOTHING });
        let mut free = from;
        for index in 0..self.guests.len() {
            let guest = self.guests[index];
            if guest.peer == peer && guest.from >= free && guest.until <= until {
                self.push(guest.from, peer, EventKind::Change(Media::BOTH));
                self.push(guest.until, peer, EventKind::Change(Media::NOTHING));
                self.guests[index].came = true;
                free = guest.until;
            }
        }
    }

    fn speak(&mut self, peer: u32, from: f64, until: f64) {
        let room = self.room_spec();
        let mut media = Media { video: self.chance(self.shape.camera), ..Media::BOTH };
        self.push(from, peer, EventKind::Join { room, media });
        let guests: Vec<_> =
            self.guests.iter().filter(|guest| guest.speaker == peer && guest.came).copied().collect();
        let mut guests = guests.into_iter().peekable();
        let mut at = from;
        loop {
            at += exponential(self.rng, self.shape.toggle);
            while let Some(guest) = guests.next_if(|guest| guest.from - 1.0 <= at.min(until)) {
                // A second without either, so that both are never on the stage at once.
                let (down, up) = ((guest.from - 1.0).max(from), guest.until + 1.0);
                self.push(down, peer, EventKind::Change(Media { publishes: false, ..media }));
                self.push(up, peer, EventKind::Change(media));
                at = at.max(up);
            }
            if at >= until {
                break;
            }
            let off = self.chance(self.shape.off);
            let which = if self.chance(0.5) { &mut media.audio } else { &mut media.video };
            let next = !*which || !off;
            if next != *which {
                *which = next;
                self.push(at, peer, EventKind::Change(media));
            }
        }
    }

    const fn room_spec(&self) -> RoomSpec {
        RoomSpec { mode: self.shape.mode, size: self.shape.size }
    }
}

/// A time until the next of events that happen independently of each other, so often on average. At least a second.
pub fn exponential(rng: &mut StdRng, mean: f64) -> f64 {
    (-mean * (1.0 - rng.random::<f64>()).ln()).max(1.0)
}
