//! What a host's workers carry, have promised, and can still take: the only place that says yes to a reservation.
//!
//! It counts what streams cost now, not what gossip said. A promise is kept for a few seconds and is used up by the
//! streams that it was made for, so that nothing is counted twice while a peer comes in.

use skein_proto::capacity::{Cost, REFERENCE};
use skein_proto::ids::{RoomId, SessionId};
use skein_proto::rpc::{Claim, Outlook, Reserve, Ticket};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// How long a reservation holds. The streams that it is for come within this time.
pub const RESERVATION_LIFE: Duration = Duration::from_secs(5);
/// How long what is kept for a peer that has arrived still holds.
pub const SETTLE: Duration = Duration::from_secs(1);
/// How long a room that last grew this long ago is still expected to grow.
pub const GROWTH_LIFE: Duration = Duration::from_secs(60);
/// How long a guarantee holds unless its room's home renews it.
pub const GUARANTEE_LIFE: Duration = Duration::from_secs(15);

/// How many rooms are asked to leave a worker for one newcomer, at most.
const IN_THE_WAY: usize = 16;

/// What of a worker's packets a second only peers that move may use: the first of a room to leave a full worker needs all
/// that the room sends there to come with it, and without this it could never leave. A hundredth, and on small workers as
/// much as a small room needs.
pub fn kept_for_moves(worker_packets: u64) -> u64 {
    let small_room = REFERENCE.packets * 4;
    (worker_packets / 100).max(small_room.min(worker_packets / 20))
}

/// How much a worker that carries more than it should already, since people there went on to send, grants at once to those who
/// leave it: what they receive elsewhere has to be sent there before they are gone. Without this nobody could ever leave it.
/// A tenth of its packets a second.
pub fn overdraft(worker_packets: u64) -> u64 {
    worker_packets / 10
}

/// What a host can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What each worker sends at most, packets a second.
    pub worker_packets: u64,
    /// What the node sends into the network at most, bits a second.
    pub node_bits: u64,
}

/// There is no room: on which worker, and what is left there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("worker {worker} has {left:?} left")]
pub struct Full {
    /// The worker.
    pub worker: u16,
    /// What it can still take.
    pub left: Cost,
}

/// What can still be taken, and what of it nobody is expected to need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Packets a second that are left.
    pub free: u64,
    /// Of these, what the rooms that are there are not expected to grow into.
    pub open: u64,
    /// Packets a second that are kept for rooms there to go on elsewhere when the worker is full: newcomers do not get
    /// them.
    pub spare: u64,
    /// Packets a second when nothing runs.
    pub total: u64,
    /// Packets a second that are sent.
    pub used: u64,
    /// Packets a second that are reserved.
    pub held: u64,
}

#[derive(Debug)]
struct Hold {
    room: RoomId,
    session: SessionId,
    ticket: Ticket,
    left: Cost,
    until: Instant,
}

/// A room that is promised so much at any time.
#[derive(Debug)]
struct Guarantee {
    promised: Cost,
    until: Instant,
}

/// What each room needs to go on elsewhere. The largest is kept: rooms come to that one after the other.
#[derive(Debug, Default)]
struct Spare {
    rooms: HashMap<RoomId, u64>,
    sorted: BTreeMap<u64, u32>,
}

impl Spare {
    fn set(&mut self, room: &RoomId, packets: u64) {
        let before = if packets > 0 {
            *self.sorted.entry(packets).or_default() += 1;
            self.rooms.insert(room.clone(), packets)
        } else {
            self.rooms.remove(room)
        };
        if let Some(before) = before
            && let Some(count) = self.sorted.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                self.sorted.remove(&before);
            }
        }
    }

    fn largest(&self) -> u64 {
        self.sorted.last_key_value().map_or(0, |(packets, _)| *packets)
    }
}

/// What rooms that grew lately are expected to need still.
#[derive(Debug, Default)]
struct Growth {
    rooms: HashMap<RoomId, (u64, Instant)>,
    /// Packets a second, of all.
    packets: u64,
    /// Nothing ends before.
    ends: Option<Instant>,
}

impl Growth {
    fn set(&mut self, room: &RoomId, packets: u64, until: Instant) {
        self.remove(room);
        if packets > 0 {
            self.rooms.insert(room.clone(), (packets, until));
            self.packets += packets;
            self.ends = Some(self.ends.map_or(until, |ends| ends.min(until)));
        }
    }

    fn remove(&mut self, room: &RoomId) {
        if let Some((packets, _)) = self.rooms.remove(room) {
            self.packets -= packets;
        }
    }

    fn expire(&mut self, now: Instant) {
        if self.ends.is_some_and(|ends| ends <= now) {
            self.rooms.retain(|_, (_, until)| *until > now);
            self.packets = self.rooms.values().map(|(packets, _)| packets).sum();
            self.ends = self.rooms.values().map(|(_, until)| *until).min();
        }
    }
}

#[derive(Debug, Default)]
struct Book {
    used: Cost,
    /// Of that, by each room.
    rooms: HashMap<RoomId, Cost>,
    holds: Vec<Hold>,
    guarantees: HashMap<RoomId, Guarantee>,
    growth: Growth,
    spare: Spare,
    closed: bool,
}

impl Book {
    fn held(&self) -> Cost {
        let holds = self.holds.iter().filter(|hold| !self.guarantees.contains_key(&hold.room));
        let promised = self.guarantees.iter().map(|(room, guarantee)| {
            let held = self.held_for(room, |_| true);
            // What is promised and not yet used; reservations are made within it, and beyond it where it is exceeded.
            guarantee.promised.saturating_sub(self.used_by(room)).max(held)
        });
        holds.map(|hold| hold.left).sum::<Cost>() + promised.sum()
    }

    fn used_by(&self, room: &RoomId) -> Cost {
        self.rooms.get(room).copied().unwrap_or_default()
    }

    /// What is kept for these of a room.
    fn held_for(&self, room: &RoomId, these: impl Fn(&SessionId) -> bool) -> Cost {
        let holds = self.holds.iter().filter(|hold| hold.room == *room && these(&hold.session));
        holds.map(|hold| hold.left).sum()
    }

    /// Keeps so much less for a room, as far as that goes: of what is kept for these.
    fn draw(&mut self, room: &RoomId, cost: Cost, these: impl Fn(&SessionId) -> bool) {
        let mut rest = cost;
        for hold in self.holds.iter_mut().filter(|hold| hold.room == *room && these(&hold.session)) {
            let taken = hold.left.min(rest);
            hold.left = hold.left.saturating_sub(taken);
            rest = rest.saturating_sub(taken);
        }
    }

    /// What of `cost` is not within what the room is promised.
    fn beyond_promise(&self, room: &RoomId, cost: Cost) -> Cost {
        match self.guarantees.get(room) {
            Some(guarantee) => {
                let open = guarantee.promised.saturating_sub(self.used_by(room));
                cost.saturating_sub(open.saturating_sub(self.held_for(room, |_| true)))
            }
            None => cost,
        }
    }

    fn expire(&mut self, now: Instant) {
        self.holds.retain(|hold| hold.until > now && hold.left != Cost::ZERO);
        self.guarantees.retain(|_, guarantee| guarantee.until > now);
        self.growth.expire(now);
    }
}

/// The books of all workers of a host.
#[derive(Debug)]
pub struct Ledger {
    budget: Budget,
    books: Vec<Book>,
}

impl Ledger {
    /// Nothing is carried yet.
    pub fn new(budget: Budget, workers: usize) -> Self {
        Self { budget, books: std::iter::repeat_with(Book::default).take(workers).collect() }
    }

    /// What the host can carry.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    fn bits_left(&self) -> u64 {
        let spent: u64 = self.books.iter().map(|book| (book.used + book.held()).bits).sum();
        self.budget.node_bits.saturating_sub(spent)
    }

    fn packets_left(&self, book: &Book) -> u64 {
        if book.closed {
            return 0;
        }
        self.budget.worker_packets.saturating_sub((book.used + book.held()).packets)
    }

    /// What those may take who leave a worker.
    fn packets_left_to_leave(&self, book: &Book) -> u64 {
        if book.used.packets <= self.budget.worker_packets {
            return self.packets_left(book);
        }
        overdraft(self.budget.worker_packets).saturating_sub(book.held().packets)
    }

    /// Time passes: what was promised for too long is free again.
    pub fn expire(&mut self, now: Instant) {
        for book in &mut self.books {
            book.expire(now);
        }
    }

    /// Keeps room for a session on several workers, all or none, for [`RESERVATION_LIFE`]. On the worker where it is to
    /// be, `at`, what is spare there is left alone. What it replaces is given up for it.
    ///
    /// # Errors
    /// Names a worker that has no room; then nothing is kept but what was before.
    pub fn reserve(&mut self, wish: &Reserve, now: Instant) -> Result<(), Full> {
        self.expire(now);
        let replaced = self.take(wish.replaces);
        let kept = self.keep(wish, &replaced, now);
        if kept.is_err() {
            for (worker, hold) in replaced {
                if let Some(book) = self.books.get_mut(worker) {
                    book.holds.push(hold);
                }
            }
            return kept;
        }
        if let Some((worker, outlook)) = wish.at.filter(|(_, outlook)| *outlook != Outlook::default()) {
            self.expect(&wish.room, worker, outlook, now);
        }
        kept
    }

    /// Takes what is kept under a ticket out of the books, and says of which workers.
    fn take(&mut self, ticket: Option<Ticket>) -> Vec<(usize, Hold)> {
        let Some(ticket) = ticket else { return Vec::new() };
        let of = |(worker, book): (usize, &mut Book)| -> Vec<_> {
            book.holds.extract_if(.., |hold| hold.ticket == ticket).map(|hold| (worker, hold)).collect()
        };
        self.books.iter_mut().enumerate().flat_map(of).collect()
    }

    /// Keeps what is wished. What was granted already, and is `replaced` by it, is granted again, also where less is left by
    /// now. Of several who move at once the first pays for what all need; where another comes before, it takes that over, for
    /// good.
    fn keep(&mut self, wish: &Reserve, replaced: &[(usize, Hold)], now: Instant) -> Result<(), Full> {
        let Reserve { ticket, session, room, demands, at, claim, replaces: _ } = wish;
        let (mut bits_left, mut taken_over) = (self.bits_left(), Vec::new());
        for (worker, demand) in demands {
            let full = |left| Full { worker: *worker, left };
            let index = usize::from(*worker);
            let book = self.books.get(index).ok_or(full(Cost::ZERO))?;
            let cost = book.beyond_promise(room, *demand);
            let left = self.packets_left(book);
            let kept = kept_for_moves(self.budget.worker_packets);
            let is_new = at.is_some_and(|(at, _)| at == *worker);
            let packets = match (claim, is_new) {
                (Claim::Place, true) => left.saturating_sub(kept + book.spare.largest()),
                // Who moves to a worker leaves alone what is kept there for those who leave it.
                (Claim::Place | Claim::LastPlace, _) | (Claim::Move, true) => left.saturating_sub(kept),
                (Claim::Move, false) => self.packets_left_to_leave(book),
            };
            // What is promised to a room is not counted in what its reservations take.
            let is_promised = book.guarantees.contains_key(room);
            let before = replaced.iter().filter(|(on, _)| *on == index && !is_promised);
            let before = before.map(|(_, hold)| hold.left.packets).sum();
            let lacks = cost.packets.saturating_sub(packets.max(before));
            let comes = *claim == Claim::Move && !session.is_nobody() && !is_promised;
            let others =
                if comes && lacks > 0 { book.held_for(room, SessionId::is_nobody) } else { Cost::ZERO };
            let takes = Cost::new(lacks, cost.bits).min(others);
            let is_closed = book.closed && cost != Cost::ZERO;
            if takes.packets < lacks || cost.bits > bits_left + takes.bits || is_closed {
                return Err(full(Cost::new(left, self.bits_left())));
            }
            bits_left = bits_left + takes.bits - cost.bits;
            taken_over.push(takes);
        }
        for ((worker, cost), takes) in demands.iter().zip(taken_over) {
            if let Some(book) = self.books.get_mut(usize::from(*worker)) {
                book.draw(room, takes, SessionId::is_nobody);
                let until = now + RESERVATION_LIFE;
                let (session, ticket) = (*session, *ticket);
                book.holds.push(Hold { room: room.clone(), session, ticket, left: *cost, until });
            }
        }
        Ok(())
    }

    /// Gives up what is kept for a session.
    pub fn release(&mut self, session: SessionId) {
        for book in &mut self.books {
            book.holds.retain(|hold| hold.session != session);
        }
    }

    /// A session is where it was to be, and its streams with it: what it did not use of what is kept for it is kept no
    /// longer than [`SETTLE`].
    pub fn settle(&mut self, session: SessionId, now: Instant) {
        for hold in self.books.iter_mut().flat_map(|book| &mut book.holds).filter(|h| h.session == session) {
            hold.until = hold.until.min(now + SETTLE);
        }
    }

    /// Gives up one reservation.
    pub fn release_ticket(&mut self, ticket: Ticket) {
        for book in &mut self.books {
            book.holds.retain(|hold| hold.ticket != ticket);
        }
    }

    /// Whether anything is kept for a session, `within` from now.
    pub fn keeps(&self, session: SessionId, now: Instant, within: Duration) -> bool {
        let good = |hold: &Hold| hold.session == session && hold.until > now + within;
        self.books.iter().any(|book| book.holds.iter().any(good))
    }

    /// Keeps so much for a room on a worker at any time, used or not, for [`GUARANTEE_LIFE`]; said again, it is renewed.
    ///
    /// # Errors
    /// When there is no room for it; then what was promised before still is.
    pub fn guarantee(&mut self, room: &RoomId, worker: u16, cost: Cost, now: Instant) -> Result<(), Full> {
        self.expire(now);
        let full = |left| Full { worker, left };
        let book = self.books.get(usize::from(worker)).ok_or(full(Cost::ZERO))?;
        // What the room uses or is promised already need not be free.
        let promised = book.guarantees.get(room).map_or(Cost::ZERO, |guarantee| guarantee.promised);
        let known = promised.max(book.used_by(room));
        let left = Cost::new(self.packets_left(book), self.bits_left());
        if !cost.saturating_sub(known).fits(left) {
            return Err(full(left));
        }
        if let Some(book) = self.books.get_mut(usize::from(worker)) {
            let guarantee = book.guarantees.entry(room.clone());
            let guarantee = guarantee.or_insert(Guarantee { promised: cost, until: now + GUARANTEE_LIFE });
            guarantee.promised = cost;
            guarantee.until = now + GUARANTEE_LIFE;
        }
        Ok(())
    }

    /// What a room is promised, on which workers.
    pub fn promised(&self, room: &RoomId) -> Vec<(u16, Cost)> {
        let promised = |(worker, book): (u16, &Book)| Some((worker, book.guarantees.get(room)?.promised));
        (0..).zip(&self.books).filter_map(promised).collect()
    }

    /// Gives up what a room is promised.
    pub fn unguarantee(&mut self, room: &RoomId) {
        for book in &mut self.books {
            book.guarantees.remove(room);
        }
    }

    /// What a room that grew on a worker just now may need there still. Nothing is kept for its growth; other rooms are
    /// rather put elsewhere.
    fn expect(&mut self, room: &RoomId, worker: u16, outlook: Outlook, now: Instant) {
        let Some(book) = self.books.get_mut(usize::from(worker)) else { return };
        book.growth.set(room, outlook.growth, now + GROWTH_LIFE);
        book.spare.set(room, outlook.spare);
    }

    /// The room has nothing on the host any more.
    pub fn forget(&mut self, room: &RoomId) {
        for book in &mut self.books {
            book.growth.remove(room);
            book.spare.set(room, 0);
        }
    }

    /// A stream's cost is another: from nothing when it begins, to nothing when it ends. What it costs more is taken
    /// from what is kept for its room, as far as that goes.
    pub fn charge(&mut self, room: &RoomId, worker: u16, before: Cost, now: Cost) {
        let Some(book) = self.books.get_mut(usize::from(worker)) else { return };
        book.used = book.used.saturating_sub(before) + now;
        let of_room = book.used_by(room).saturating_sub(before) + now;
        if of_room == Cost::ZERO {
            book.rooms.remove(room);
        } else {
            book.rooms.insert(room.clone(), of_room);
        }
        // Who is yet to come has no streams.
        book.draw(room, now.saturating_sub(before), |session| !session.is_nobody());
    }

    /// Takes nothing more on a worker, or again.
    pub fn close(&mut self, worker: u16, closed: bool) {
        if let Some(book) = self.books.get_mut(usize::from(worker)) {
            book.closed = closed;
        }
    }

    /// Packets a second that a worker sends.
    pub fn used(&self, worker: u16) -> u64 {
        self.books.get(usize::from(worker)).map_or(0, |book| book.used.packets)
    }

    /// Packets a second that are left on a worker.
    pub fn free(&self, worker: u16) -> u64 {
        self.books.get(usize::from(worker)).map_or(0, |book| self.packets_left(book))
    }

    /// How a worker stands.
    pub fn figures(&self, worker: u16) -> Figures {
        let Some(book) = self.books.get(usize::from(worker)) else { return Figures::default() };
        let free = self.packets_left(book);
        let spare = book.spare.largest() + kept_for_moves(self.budget.worker_packets);
        Figures {
            free,
            open: free.saturating_sub(book.growth.packets).saturating_sub(spare),
            spare,
            total: self.budget.worker_packets,
            used: book.used.packets,
            held: book.held().packets,
        }
    }

    /// What a room sends on a worker, packets a second.
    pub fn of_room(&self, worker: u16, room: &RoomId) -> u64 {
        self.books.get(usize::from(worker)).map_or(0, |book| book.used_by(room).packets)
    }

    /// Rooms other than `but` that might leave a worker so that `packets` a second more are left there, with what each has
    /// there. The smallest that suffices alone comes first, then larger ones, then smaller ones.
    pub fn in_the_way(&self, worker: u16, but: &RoomId, packets: u64) -> Vec<(RoomId, u64)> {
        let Some(book) = self.books.get(usize::from(worker)) else { return Vec::new() };
        let others = book
            .rooms
            .iter()
            .filter(|(room, cost)| *room != but && cost.packets > 0 && !book.guarantees.contains_key(*room));
        let mut others: Vec<_> = others.map(|(room, cost)| (room.clone(), cost.packets)).collect();
        others.sort_by(|(a, cost), (b, other)| {
            let key = |cost: u64| if cost >= packets { (false, cost) } else { (true, u64::MAX - cost) };
            key(*cost).cmp(&key(*other)).then_with(|| a.cmp(b))
        });
        others.truncate(IN_THE_WAY);
        others
    }

    /// Bits a second that the node can still send into the network.
    pub fn free_bits(&self) -> u64 {
        self.bits_left()
    }

    /// Bits a second that the node sends into the network.
    pub fn used_bits(&self) -> u64 {
        self.books.iter().map(|book| book.used.bits).sum()
    }
}

#[cfg(test)]
mod tests;
