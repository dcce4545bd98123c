//! Who sits where in a room, and what each sends or is expected to send.

use super::field::Field;
use super::layout::{Layout, price};
use super::relay::TooWide;
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{PeerId, ProducerId, SessionId, WorkerAddress};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// For how long a peer that may publish is expected to, when it does not.
pub const EXPECTED_FOR: Duration = Duration::from_secs(10);

/// One connection of a peer, or one that is about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Whose.
    pub peer: PeerId,
    /// Where its transports are.
    pub at: WorkerAddress,
    /// What its producers send.
    actual: Sends,
    /// What it is expected to send at first.
    expected: Sends,
    /// Whether what it sends reaches nobody yet: its peer still sends from another seat.
    quiet: bool,
}

impl Seat {
    /// What its producers send, whether it reaches anybody or not.
    pub fn actual(&self) -> Sends {
        self.actual
    }

    /// What it is counted with when that reaches everybody.
    pub fn will_send(&self) -> Sends {
        self.actual.max(self.expected)
    }

    /// What it is counted with.
    pub fn sends(&self) -> Sends {
        if self.quiet { Sends::NOTHING } else { self.will_send() }
    }
}

/// Who sits where in a room.
#[derive(Debug)]
pub struct Seats {
    layout: Layout,
    seats: BTreeMap<SessionId, Seat>,
    producers: HashMap<ProducerId, (SessionId, Sends)>,
    /// Those of whom something is expected, and until when, the oldest first.
    expected: VecDeque<(Instant, SessionId)>,
}

impl Seats {
    /// An empty room. `fan_out` is how many other nodes one node sends a producer to at most.
    pub fn new(fan_out: usize) -> Self {
        Self {
            layout: Layout::new(fan_out),
            seats: BTreeMap::new(),
            producers: HashMap::new(),
            expected: VecDeque::new(),
        }
    }

    /// Of the room only so much is forwarded to each peer at once.
    pub fn limit(&mut self, most: Cost) {
        self.layout.limit(most);
    }

    /// Somebody will send so much in the room, before long.
    pub fn foresee(&mut self, least: Cost) {
        self.layout.foresee(least);
    }

    /// Takes note of what the room's workers have left; see [`Layout::heed`].
    pub fn heed(&mut self, field: &Field, now: Instant) {
        self.layout.heed(field, now);
    }

    /// See [`Layout::heed_nothing`].
    pub fn heed_nothing(&mut self) {
        self.layout.heed_nothing();
    }

    /// How they lie over workers.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// One connection's seat.
    pub fn get(&self, session: &SessionId) -> Option<&Seat> {
        self.seats.get(session)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionId, &Seat)> {
        self.seats.iter()
    }

    /// Somebody sits down; who sits there already only stays.
    ///
    /// # Errors
    /// When it would be on a node that the room's producers cannot reach; then it does not.
    pub fn sit(
        &mut self,
        session: SessionId,
        peer: &PeerId,
        at: &WorkerAddress,
        expected: Sends,
        now: Instant,
    ) -> Result<(), TooWide> {
        self.sit_as(session, peer, at, expected, false, now)
    }

    /// Somebody sits down here who sends from another seat until it has left that: what it sends from here reaches nobody
    /// before [`Self::speak_up`].
    ///
    /// # Errors
    /// As [`Self::sit`].
    pub fn sit_quietly(
        &mut self,
        session: SessionId,
        peer: &PeerId,
        at: &WorkerAddress,
        expected: Sends,
        now: Instant,
    ) -> Result<(), TooWide> {
        self.sit_as(session, peer, at, expected, true, now)
    }

    fn sit_as(
        &mut self,
        session: SessionId,
        peer: &PeerId,
        at: &WorkerAddress,
        expected: Sends,
        quiet: bool,
        now: Instant,
    ) -> Result<(), TooWide> {
        if self.seats.get(&session).is_some_and(|seat| seat.at == *at) {
            return Ok(());
        }
        self.stand_up(&session);
        let seat = Seat { peer: peer.clone(), at: at.clone(), actual: Sends::NOTHING, expected, quiet };
        self.layout.add(at, seat.sends())?;
        self.seats.insert(session, seat);
        if expected != Sends::NOTHING {
            self.expected.push_back((now + EXPECTED_FOR, session));
        }
        Ok(())
    }

    /// What somebody sends reaches the others from now on.
    pub fn speak_up(&mut self, session: &SessionId) {
        self.change(session, |seat| seat.quiet = false);
    }

    /// Somebody goes, with all that it sends.
    pub fn stand_up(&mut self, session: &SessionId) {
        let Some(seat) = self.seats.remove(session) else { return };
        self.layout.remove(&seat.at, seat.sends());
        self.producers.retain(|_, (of, _)| of != session);
    }

    /// Somebody's producer costs this now: nothing when it is gone.
    pub fn send(&mut self, session: &SessionId, producer: &ProducerId, sends: Sends) {
        let before = self.producers.get(producer).map_or(Sends::NOTHING, |(_, sends)| *sends);
        if sends == Sends::NOTHING {
            self.producers.remove(producer);
        } else if self.seats.contains_key(session) {
            self.producers.insert(producer.clone(), (*session, sends));
        }
        self.change(session, |seat| seat.actual = seat.actual.minus(before).plus(sends));
    }

    /// Whose producer it is.
    pub fn sender(&self, producer: &ProducerId) -> Option<SessionId> {
        self.producers.get(producer).map(|(session, _)| *session)
    }

    /// Nothing more is expected of somebody than what it sends; or something is, again.
    pub fn expect(&mut self, session: &SessionId, expected: Sends, now: Instant) {
        self.change(session, |seat| seat.expected = expected);
        if expected != Sends::NOTHING {
            self.expected.push_back((now + EXPECTED_FOR, *session));
        }
    }

    /// More is expected of somebody than what it sends, beside what was.
    pub fn foretell(&mut self, session: &SessionId, more: Sends, now: Instant) {
        let Some(seat) = self.seats.get(session) else { return };
        self.expect(session, seat.expected.max(seat.actual.plus(more)), now);
    }

    /// What it takes more, and where, that somebody's seat is counted with `sends`.
    ///
    /// # Errors
    /// When its producers could not reach everyone.
    pub fn to_send(&self, seat: &Seat, sends: Sends) -> Result<Vec<(WorkerAddress, Cost)>, TooWide> {
        let mut after = self.layout.clone();
        after.send(&seat.at, seat.sends(), sends)?;
        Ok(price(&self.layout.costs(), &after.costs()))
    }

    /// Time passes: who has sent nothing for so long is not expected to.
    pub fn tick(&mut self, now: Instant) {
        while let Some((until, session)) = self.expected.front().copied() {
            if until > now {
                return;
            }
            self.expected.pop_front();
            self.change(&session, |seat| seat.expected = Sends::NOTHING);
        }
    }

    fn change(&mut self, session: &SessionId, change: impl FnOnce(&mut Seat)) {
        let Some(seat) = self.seats.get_mut(session) else { return };
        let before = seat.sends();
        change(seat);
        let now = seat.sends();
        // A room too wide for one more sender was refused when the sender asked; what sends all the same is counted
        // with its consumers, if not with its pipes.
        let _ = self.layout.send(&seat.at, before, now);
    }
}
