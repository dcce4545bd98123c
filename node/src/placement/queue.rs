//! Who waits for a place, and whose turn it is. Pure: the time and what is free are arguments.
//!
//! Who came first is called first, whatever the room, as long as there is something free that could be enough; and where that
//! comes to nothing, the next one is called, so that nobody is kept waiting by somebody who needs more. That alone would
//! starve those who need much: whoever stands at the head and has been overtaken for [`OVERTAKEN`] gets all that becomes
//! free to itself for a while, then the others again, in turns that double up to [`HOLD_MOST`]. Who would not fit if
//! the whole mesh were empty holds up nobody: only a new machine helps there.
//!
//! Being called costs a search. Nobody is called again before there is more than there was, or at least more than there was
//! at the lowest since and some time has passed; so many at once; and so many in vain each second. A thousand who wait
//! cost a home no more than forty.

use skein_proto::capacity::{Cost, REFERENCE};
use skein_proto::gossip;
use skein_proto::ids::{PeerId, RoomId, SessionId};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a place is kept for who does not ask.
pub const FORGET: Duration = Duration::from_secs(10);
/// How long a call waits for who is between two asks.
const CALL_LIFE: Duration = Duration::from_secs(1);
/// How many are called at once.
const AT_ONCE: usize = 16;
/// How many may be called in vain each second.
const IN_VAIN: usize = 32;
/// How long who was called in vain waits at first where there was more in between, and at most.
const BACKOFF: Duration = Duration::from_millis(125);
const BACKOFF_MOST: Duration = Duration::from_millis(800);
/// After so long everyone is called once more: what is free is not all that can be in the way.
const ONCE_MORE: Duration = Duration::from_secs(2);
/// How long the head may be overtaken before it holds up the others.
pub const OVERTAKEN: Duration = Duration::from_secs(30);
/// For how long, the first time.
const HOLD: Duration = Duration::from_secs(10);
/// And at most.
pub const HOLD_MOST: Duration = Duration::from_secs(60);

/// Who waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Who {
    /// For which room.
    pub room: RoomId,
    /// As which peer.
    pub peer: PeerId,
}

/// What somebody needs who waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// What must be free on one worker at the least, packets a second.
    pub least: u64,
    /// What it costs on all workers together, beside those of its room who are there.
    pub cost: Cost,
    /// What each other one of its room takes of what it sends.
    pub one: Cost,
    /// What the room needs, full, where that is guaranteed and not kept yet.
    pub guaranteed: Option<Cost>,
}

/// What is free in the mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// On the worker that has most, packets a second.
    pub best: u64,
    /// On all workers and nodes together.
    pub free: Cost,
    /// What the largest worker carries when nothing runs, packets a second.
    pub largest: u64,
    /// What all carry when nothing runs, packets a second.
    pub total: u64,
}

impl Level {
    fn could_take(&self, need: &Need) -> bool {
        self.best >= need.least && need.guaranteed.is_none_or(|full| full.fits(self.free))
    }

    fn could_ever_take(&self, need: &Need) -> bool {
        self.largest >= need.least && need.guaranteed.is_none_or(|full| full.packets <= self.total)
    }

    /// Whether there is more than there was, by as much as may matter to somebody.
    fn is_more_than(&self, before: &Self, need: &Need) -> bool {
        let packets = REFERENCE.packets.min(need.least).max(1);
        !before.could_take(need)
            || self.best.saturating_sub(before.best) >= packets
            || self.free.packets.saturating_sub(before.free.packets) >= packets
            || self.free.bits.saturating_sub(before.free.bits) >= REFERENCE.bits
    }

    fn min(self, other: Self) -> Self {
        Self { best: self.best.min(other.best), free: self.free.min(other.free), ..self }
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// It has not been tried.
    New,
    /// It is its turn, since then, when so much was free.
    Called(Instant, Level),
    /// It was its turn, and nobody came.
    Missed,
    /// A place is looked for, since so much was free.
    Tried(Level),
    /// There was none.
    InVain { at: Instant, level: Level, lowest: Level },
}

#[derive(Debug)]
struct Place<W> {
    who: Who,
    session: SessionId,
    need: Need,
    state: State,
    /// How often in a row it was called in vain.
    times: u32,
    asked: Instant,
    waker: W,
}

impl<W> Place<W> {
    fn is_tried(&self) -> bool {
        matches!(self.state, State::Tried(_))
    }
}

/// What somebody is told who asks whether it is its turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn<W> {
    /// It is: it says what came of it.
    Now,
    /// Not yet: this tells when to ask again.
    Wait(W),
    /// Never: a newer connection of the peer has its place.
    Superseded,
    /// It has no place.
    Unknown,
}

/// Why somebody has no place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// A newer connection of the peer has it.
    Superseded,
    /// As many wait as may.
    Full,
}

/// Somebody who wants a place in the queue.
#[derive(Debug)]
pub struct Newcomer<W> {
    /// Who.
    pub who: Who,
    /// By which connection.
    pub session: SessionId,
    /// Since when, milliseconds since 1970.
    pub since_ms: u64,
    /// What it needs.
    pub need: Need,
    /// What was free when it was tried in vain, where it was.
    pub tried: Option<Level>,
    /// Tells it when to ask.
    pub waker: W,
}

/// By what they are called: since when they wait, then as they came.
type Order = (u64, u64);

#[derive(Debug, Clone, Copy)]
struct Hold {
    order: Order,
    /// When it was first overtaken, since it held up the others last.
    overtaken: Option<Instant>,
    /// Until when it holds them up.
    until: Option<Instant>,
    next: Duration,
}

/// Those who wait, in order. `W` tells one of them that it should ask.
#[derive(Debug)]
pub struct Queue<W> {
    places: BTreeMap<Order, Place<W>>,
    orders: HashMap<Who, Order>,
    last: u64,
    most: usize,
    in_vain: VecDeque<Instant>,
    hold: Option<Hold>,
}

impl<W: Clone> Queue<W> {
    /// Nobody waits; `most` may.
    pub fn new(most: usize) -> Self {
        Self {
            places: BTreeMap::new(),
            orders: HashMap::new(),
            last: 0,
            most,
            in_vain: VecDeque::new(),
            hold: None,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody does.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether a peer waits, and by which connection.
    pub fn session(&self, who: &Who) -> Option<SessionId> {
        self.place(who).map(|place| place.session)
    }

    fn place(&self, who: &Who) -> Option<&Place<W>> {
        self.places.get(self.orders.get(who)?)
    }

    fn place_of(&mut self, who: &Who, session: SessionId) -> Option<&mut Place<W>> {
        self.places.get_mut(self.orders.get(who)?).filter(|place| place.session == session)
    }

    /// Somebody waits from now on. A newer connection of a peer takes the place of an older one. Answers since when the peer
    /// waits, and what tells the older connection that it has lost its place.
    ///
    /// # Errors
    /// When there is no place.
    pub fn stand(&mut self, newcomer: Newcomer<W>, now: Instant) -> Result<(u64, Option<W>), NoPlace> {
        let Newcomer { who, session, since_ms, need, tried, waker } = newcomer;
        let state = match tried {
            Some(level) => State::InVain { at: now, level, lowest: level },
            None => State::New,
        };
        if let Some(order) = self.orders.get(&who).copied()
            && let Some(place) = self.places.get_mut(&order)
        {
            if place.session > session {
                return Err(NoPlace::Superseded);
            }
            let older = std::mem::replace(&mut place.waker, waker);
            (place.session, place.need, place.state, place.asked) = (session, need, state, now);
            return Ok((order.0, Some(older)));
        }
        if self.places.len() >= self.most {
            return Err(NoPlace::Full);
        }
        self.last += 1;
        let order = (since_ms, self.last);
        self.orders.insert(who.clone(), order);
        self.places.insert(order, Place { who, session, need, state, times: 0, asked: now, waker });
        Ok((since_ms, None))
    }

    /// Somebody asks whether it is its turn.
    pub fn ask(&mut self, who: &Who, session: SessionId, now: Instant) -> Turn<W> {
        let place = match self.orders.get(who).and_then(|order| self.places.get_mut(order)) {
            None => return Turn::Unknown,
            Some(place) if place.session > session => return Turn::Superseded,
            Some(place) if place.session < session => return Turn::Unknown,
            Some(place) => place,
        };
        place.asked = now;
        match place.state {
            State::Called(_, level) => {
                place.state = State::Tried(level);
                return Turn::Now;
            }
            State::Missed => place.state = State::New,
            State::New | State::Tried(_) | State::InVain { .. } => {}
        }
        Turn::Wait(place.waker.clone())
    }

    /// It was somebody's turn, and there is no place. Nor is there for others of its room who need as much.
    pub fn failed(&mut self, who: &Who, session: SessionId, now: Instant) {
        self.in_vain.push_back(now);
        let Some(place) = self.place_of(who, session) else { return };
        let State::Tried(level) = place.state else { return };
        place.asked = now;
        place.times = place.times.saturating_add(1);
        let (need, times) = (place.need, place.times);
        for other in self.places.values_mut() {
            let is_alike = other.who.room == who.room && other.need.least >= need.least;
            let is_under_way = matches!(other.state, State::Called(..) | State::Tried(_));
            if other.who == *who || (is_alike && !is_under_way) {
                (other.state, other.times) = (State::InVain { at: now, level, lowest: level }, times);
            }
        }
    }

    /// It was somebody's turn, and it has a place.
    pub fn placed(&mut self, who: &Who, session: SessionId, now: Instant) {
        let Some(order) = self.orders.get(who).copied() else { return };
        if !self.leave(who, session) {
            return;
        }
        let Some(head) = self.places.keys().next().copied().filter(|head| *head < order) else { return };
        match &mut self.hold {
            Some(hold) if hold.order == head => hold.overtaken = hold.overtaken.or(Some(now)),
            hold => *hold = Some(Hold { order: head, overtaken: Some(now), until: None, next: HOLD }),
        }
    }

    /// Somebody does not wait any more. Says whether it did, by this connection.
    pub fn leave(&mut self, who: &Who, session: SessionId) -> bool {
        if self.place_of(who, session).is_none() {
            return false;
        }
        let order = self.orders.remove(who);
        order.is_some_and(|order| self.places.remove(&order).is_some())
    }

    /// Forgets those who have not asked for a while.
    pub fn forget(&mut self, now: Instant) -> usize {
        self.remove(|_, place| !place.is_tried() && now.saturating_duration_since(place.asked) > FORGET).len()
    }

    /// Forgets those who wait since then or longer, milliseconds since 1970, but not while a place is looked for; answers
    /// what tells them.
    pub fn expire(&mut self, since_ms: u64) -> Vec<W> {
        self.remove(|(since, _), place| !place.is_tried() && *since <= since_ms)
    }

    /// Forgets those for whom this holds; answers what tells them.
    pub fn dismiss(&mut self, goes: impl Fn(&RoomId) -> bool) -> Vec<W> {
        self.remove(|_, place| goes(&place.who.room))
    }

    fn remove(&mut self, goes: impl Fn(&Order, &Place<W>) -> bool) -> Vec<W> {
        let gone: Vec<_> =
            self.places.iter().filter(|(order, place)| goes(order, place)).map(|(order, _)| *order).collect();
        let gone = gone.into_iter().filter_map(|order| self.places.remove(&order));
        gone.map(|place| {
            self.orders.remove(&place.who);
            place.waker
        })
        .collect()
    }

    /// Whose turn it is, with so much free: what tells them.
    pub fn call(&mut self, level: Level, now: Instant) -> Vec<W> {
        let mut room = AT_ONCE;
        let mut promised = Cost::ZERO;
        for place in self.places.values_mut() {
            match &mut place.state {
                State::Called(at, _) if now.saturating_duration_since(*at) > CALL_LIFE => {
                    place.state = State::Missed;
                }
                State::Called(..) | State::Tried(_) => {
                    room = room.saturating_sub(1);
                    promised += place.need.cost;
                }
                State::InVain { lowest, .. } => *lowest = lowest.min(level),
                State::New | State::Missed => {}
            }
        }
        while self
            .in_vain
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) >= Duration::from_secs(1))
        {
            self.in_vain.pop_front();
        }
        let room = room.min(IN_VAIN.saturating_sub(self.in_vain.len()));
        let only = self.held_up_by(&level, now);
        let mut called = Vec::new();
        for (order, place) in &mut self.places {
            if called.len() >= room {
                break;
            }
            let left = level.free.saturating_sub(promised);
            let fits = level.could_take(&place.need) && left.packets >= place.need.least;
            if only.is_some_and(|head| head != *order) || !fits || !is_due(place, &level, now) {
                continue;
            }
            if matches!(&place.state, State::InVain { level: before, .. } if level.is_more_than(before, &place.need))
            {
                place.times = 0;
            }
            place.state = State::Called(now, level);
            promised += place.need.cost;
            called.push(place.waker.clone());
        }
        called
    }

    /// Who holds up all others, if anybody does.
    fn held_up_by(&mut self, level: &Level, now: Instant) -> Option<Order> {
        let (head, place) = self.places.first_key_value()?;
        let hold = self.hold.as_mut().filter(|hold| hold.order == *head)?;
        if !level.could_ever_take(&place.need) || matches!(place.state, State::Missed) {
            return None;
        }
        match (hold.until, hold.overtaken) {
            (Some(until), _) if now < until => return Some(hold.order),
            (Some(_), _) => (hold.until, hold.overtaken) = (None, None),
            (None, Some(at)) if now.saturating_duration_since(at) >= OVERTAKEN => {
                hold.until = Some(now + hold.next);
                hold.next = (hold.next * 2).min(HOLD_MOST);
                return Some(hold.order);
            }
            (None, _) => {}
        }
        None
    }

    /// What all of them need.
    pub fn totals(&self) -> gossip::Queue {
        let mut rooms: HashMap<&RoomId, (u64, Cost, Cost, Option<Cost>)> = HashMap::new();
        for place in self.places.values() {
            let (joins, cost, one, guaranteed) = rooms.entry(&place.who.room).or_default();
            *joins += 1;
            *cost += place.need.cost;
            *one += place.need.one;
            *guaranteed = guaranteed.or(place.need.guaranteed);
        }
        let mut totals =
            gossip::Queue { joins: u32::try_from(self.len()).unwrap_or(u32::MAX), ..Default::default() };
        for (joins, cost, one, guaranteed) in rooms.into_values() {
            // What each sends goes to all the others who wait for the room, too.
            let all = cost + one * joins.saturating_sub(1);
            totals.cost += guaranteed.map_or(all, |full| full.max(all));
            totals.guaranteed = totals.guaranteed.max(guaranteed.unwrap_or_default());
        }
        totals
    }
}

fn is_due<W>(place: &Place<W>, level: &Level, now: Instant) -> bool {
    match &place.state {
        State::New => true,
        State::Called(..) | State::Missed | State::Tried(_) => false,
        State::InVain { at, level: before, lowest } => {
            let since = now.saturating_duration_since(*at);
            let backoff = BACKOFF.saturating_mul(1 << place.times.saturating_sub(1).min(8)).min(BACKOFF_MOST);
            level.is_more_than(before, &place.need)
                || (since >= backoff && level.is_more_than(lowest, &place.need))
                || since >= ONCE_MORE
        }
    }
}

#[cfg(test)]
mod tests;
