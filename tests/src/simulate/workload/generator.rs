//! Rooms that begin one after the other, and their events in the order of time. Only rooms that have begun are in memory.

use super::Event;
use super::script::{self, MINUTE, Shape};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

/// When rooms begin. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// All at once.
    Together,
    /// Over this time, more and more often.
    Ramp(f64),
    /// Over this time, always as often.
    Steady(f64),
    /// Over this time at random, more and more often, every other one on a quarter of an hour.
    Random(f64),
}

/// Rooms of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// How many there are.
    pub rooms: u32,
    /// When they begin.
    pub arrivals: Arrivals,
    /// How one of them goes.
    pub shape: fn(&mut StdRng) -> Shape,
}

/// The events of several kinds of rooms.
pub struct Generator {
    seed: u64,
    groups: Vec<Starts>,
    waiting: BinaryHeap<Reverse<Queued>>,
    queued: u64,
    events: Vec<Event>,
}

impl Generator {
    /// The events of these rooms. The same seed makes the same events.
    pub fn new(groups: &[Group], seed: u64) -> Self {
        let mut first_room = 0;
        let starts = groups.iter().enumerate().map(|(index, group)| {
            let starts = Starts::new(group, first_room, mix(seed, u64::MAX - index as u64));
            first_room += group.rooms;
            starts
        });
        Self { seed, groups: starts.collect(), waiting: BinaryHeap::new(), queued: 0, events: Vec::new() }
    }

    /// Writes the next room's events, if one begins before anything that waits.
    fn begin_room(&mut self) -> bool {
        let next = self.groups.iter_mut().filter(|group| group.next.is_some());
        let Some(group) = next.min_by(|a, b| a.next.partial_cmp(&b.next).unwrap_or(Ordering::Equal)) else {
            return false;
        };
        let Some(start) = group.next else { return false };
        if self.waiting.peek().is_some_and(|Reverse(first)| first.event.at.as_secs_f64() < start) {
            return false;
        }
        let room = group.first_room + group.begun;
        // Of its own, so that a room is the same whatever began before it.
        let mut rng = StdRng::seed_from_u64(mix(self.seed, u64::from(room)));
        let shape = (group.shape)(&mut rng);
        script::write(&shape, room, start, &mut rng, &mut self.events);
        group.advance();
        for event in self.events.drain(..) {
            self.queued += 1;
            self.waiting.push(Reverse(Queued { event, number: self.queued }));
        }
        true
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.begin_room() {}
        self.waiting.pop().map(|Reverse(queued)| queued.event)
    }
}

/// An event that waits for its time. Those of one moment stay in the order in which they were written.
#[derive(Debug)]
struct Queued {
    event: Event,
    number: u64,
}

impl Queued {
    const fn rank(&self) -> (Duration, u64) {
        (self.event.at, self.number)
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// When the rooms of a group begin.
struct Starts {
    first_room: u32,
    rooms: u32,
    arrivals: Arrivals,
    shape: fn(&mut StdRng) -> Shape,
    begun: u32,
    next: Option<f64>,
    rng: StdRng,
    /// Where they cannot be told one by one.
    drawn: Vec<f64>,
}

impl Starts {
    fn new(group: &Group, first_room: u32, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut drawn = Vec::new();
        if let Arrivals::Random(span) = group.arrivals {
            drawn.extend((0..group.rooms).map(|_| draw(&mut rng, span)));
            drawn.sort_by(f64::total_cmp);
        }
        let Group { rooms, arrivals, shape } = *group;
        let mut starts = Self { first_room, rooms, arrivals, shape, begun: 0, next: None, rng, drawn };
        starts.next = starts.at(0);
        starts
    }

    fn advance(&mut self) {
        self.begun += 1;
        self.next = self.at(self.begun);
    }

    /// When this one begins; never before the one before it.
    fn at(&mut self, index: u32) -> Option<f64> {
        if index >= self.rooms {
            return None;
        }
        let share = (f64::from(index) + self.rng.random::<f64>()) / f64::from(self.rooms);
        Some(match self.arrivals {
            Arrivals::Together => 0.0,
            // The root makes more of them begin each minute than the minute before.
            Arrivals::Ramp(span) => span * share.sqrt(),
            Arrivals::Steady(span) => span * share,
            Arrivals::Random(span) => self.drawn.get(index as usize).copied().unwrap_or(span),
        })
    }
}

fn draw(rng: &mut StdRng, span: f64) -> f64 {
    const QUARTER: f64 = 15.0 * MINUTE;
    let at = span * rng.random::<f64>().sqrt();
    if rng.random_bool(0.5) { (at / QUARTER).floor() * QUARTER } else { at }
}

/// One seed out of two numbers: SplitMix64's finisher, which spreads neighbours far apart.
fn mix(seed: u64, number: u64) -> u64 {
    let mut value = seed ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
