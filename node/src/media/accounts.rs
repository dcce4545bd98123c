//! What each stream costs, in the node's books: an estimate at first, then what is measured.
//!
//! Consumers and pipes are charged for what is sent through them. A producer is charged what it receives while nobody
//! consumes it, and nothing while somebody does: its consumers pay for it.

use crate::placement::ledger::{Figures, Full, Ledger};
use parking_lot::Mutex;
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{ProducerId, RoomId, SessionId};
use skein_proto::rpc::{Guarantee, Reserve, Ticket};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The books of a node, and whose producer is whose.
#[derive(Debug)]
pub struct Accounts {
    ledger: Mutex<Ledger>,
    producers: Mutex<HashMap<(u16, ProducerId), Weak<ProducerAccount>>>,
}

impl Accounts {
    pub(super) fn new(ledger: Ledger) -> Arc<Self> {
        Arc::new(Self { ledger: Mutex::new(ledger), producers: Mutex::new(HashMap::new()) })
    }

    /// Keeps room for a session on several workers, all or none. Answers what is left on each of them.
    ///
    /// # Errors
    /// Names a worker that has no room.
    pub fn reserve(&self, wish: &Reserve, now: Instant) -> Result<Vec<(u16, u64)>, Full> {
        let mut ledger = self.ledger.lock();
        ledger.reserve(wish, now)?;
        Ok(wish.demands.iter().map(|(worker, _)| (*worker, ledger.free(*worker))).collect())
    }

    /// Gives up one reservation.
    pub fn release(&self, ticket: Ticket) {
        self.ledger.lock().release_ticket(ticket);
    }

    /// A session is where it was to be; see [`Ledger::settle`].
    pub fn settle(&self, session: SessionId) {
        self.ledger.lock().settle(session, Instant::now());
    }

    /// Gives up all that is kept for a session.
    pub fn release_session(&self, session: SessionId) {
        self.ledger.lock().release(session);
    }

    /// Whether something is still kept for a session, and for at least `within`.
    pub fn keeps(&self, session: SessionId, now: Instant, within: Duration) -> bool {
        self.ledger.lock().keeps(session, now, within)
    }

    /// Keeps so much for a room at any time, on all workers named or none.
    ///
    /// # Errors
    /// Names a worker that has no room.
    pub fn guarantee(&self, wish: &Guarantee, now: Instant) -> Result<(), Full> {
        let mut ledger = self.ledger.lock();
        for (worker, cost) in &wish.demands {
            if let Err(full) = ledger.guarantee(&wish.room, *worker, *cost, now) {
                ledger.unguarantee(&wish.room);
                return Err(full);
            }
        }
        Ok(())
    }

    /// What is kept for a room at any time, on which workers.
    pub fn guaranteed(&self, room: &RoomId, now: Instant) -> Vec<(u16, Cost)> {
        let mut ledger = self.ledger.lock();
        ledger.expire(now);
        ledger.promised(room)
    }

    /// Gives up what is kept for a room.
    pub fn unguarantee(&self, room: &RoomId) {
        self.ledger.lock().unguarantee(room);
    }

    /// A room has nothing here any more.
    pub fn forget(&self, room: &RoomId) {
        self.ledger.lock().forget(room);
    }

    /// Rooms that might leave a worker for another; see [`Ledger::in_the_way`].
    pub fn in_the_way(&self, worker: u16, but: &RoomId, packets: u64) -> Vec<(RoomId, u64)> {
        self.ledger.lock().in_the_way(worker, but, packets)
    }

    /// What a room sends on a worker, packets a second.
    pub fn of_room(&self, worker: u16, room: &RoomId) -> u64 {
        self.ledger.lock().of_room(worker, room)
    }

    /// Takes nothing more on a worker, or again.
    pub fn close(&self, worker: u16, closed: bool) {
        self.ledger.lock().close(worker, closed);
    }

    /// How a worker stands.
    pub fn figures(&self, worker: u16, now: Instant) -> Figures {
        let mut ledger = self.ledger.lock();
        ledger.expire(now);
        ledger.figures(worker)
    }

    /// Bits a second into the network: free, spent, and in all.
    pub fn bits(&self) -> (u64, u64, u64) {
        let ledger = self.ledger.lock();
        (ledger.free_bits(), ledger.used_bits(), ledger.budget().node_bits)
    }

    /// A producer on a worker.
    pub(super) fn producer(
        self: &Arc<Self>,
        room: &RoomId,
        worker: u16,
        producer: &ProducerId,
        sends: Sends,
    ) -> Arc<ProducerAccount> {
        let account = Arc::new(ProducerAccount {
            account: Account::new(self, room, worker, sends.all.inside()),
            producer: producer.clone(),
            state: Mutex::new(ProducerState { sends, consumers: 0 }),
        });
        self.producers.lock().insert((worker, producer.clone()), Arc::downgrade(&account));
        account
    }

    /// Somebody consumes a producer, on its worker. Where it `waits` it costs nothing before it begins.
    pub(super) fn consumer(
        self: &Arc<Self>,
        room: &RoomId,
        worker: u16,
        producer: &ProducerId,
        waits: bool,
        cost: impl FnOnce(Sends) -> Cost,
    ) -> ConsumerAccount {
        let of = self.producers.lock().get(&(worker, producer.clone())).and_then(Weak::upgrade);
        let sends = of.as_ref().map_or(Sends::NOTHING, |of| of.sends());
        let cost = if waits { Cost::ZERO } else { cost(sends) };
        let account = match &of {
            Some(of) => of.consumed(room, cost),
            None => Account::new(self, room, worker, cost),
        };
        ConsumerAccount { account, of, waits: AtomicBool::new(waits) }
    }
}

/// What one stream is charged, until it is dropped.
#[derive(Debug)]
pub(super) struct Account {
    accounts: Arc<Accounts>,
    room: RoomId,
    worker: u16,
    cost: Mutex<Cost>,
}

impl Account {
    fn new(accounts: &Arc<Accounts>, room: &RoomId, worker: u16, cost: Cost) -> Self {
        accounts.ledger.lock().charge(room, worker, Cost::ZERO, cost);
        Self { accounts: Arc::clone(accounts), room: room.clone(), worker, cost: Mutex::new(cost) }
    }

    /// Another stream's account, which is charged so much in place of what this one was until now.
    fn in_place(&self, room: &RoomId, now: Cost) -> Self {
        let before = std::mem::replace(&mut *self.cost.lock(), Cost::ZERO);
        self.accounts.ledger.lock().charge(room, self.worker, before, now);
        let (accounts, room) = (Arc::clone(&self.accounts), room.clone());
        Self { accounts, room, worker: self.worker, cost: Mutex::new(now) }
    }

    fn set(&self, now: Cost) {
        let mut cost = self.cost.lock();
        if *cost != now {
            self.accounts.ledger.lock().charge(&self.room, self.worker, *cost, now);
            *cost = now;
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(Cost::ZERO);
    }
}

#[derive(Debug)]
struct ProducerState {
    sends: Sends,
    consumers: u32,
}

/// A producer's account.
#[derive(Debug)]
pub(super) struct ProducerAccount {
    account: Account,
    producer: ProducerId,
    state: Mutex<ProducerState>,
}

impl ProducerAccount {
    /// What it sends, as far as is known.
    pub(super) fn sends(&self) -> Sends {
        self.state.lock().sends
    }

    /// What it was measured to send.
    pub(super) fn measured(&self, sends: Sends) {
        let mut state = self.state.lock();
        state.sends = sends;
        self.settle(&state);
    }

    /// Somebody consumes it. The first one pays in its place, by one entry in the books: two would use up twice what is
    /// kept for the room.
    fn consumed(&self, room: &RoomId, cost: Cost) -> Account {
        let mut state = self.state.lock();
        state.consumers = state.consumers.saturating_add(1);
        self.account.in_place(room, cost)
    }

    /// Somebody consumes it no more.
    fn left(&self) {
        let mut state = self.state.lock();
        state.consumers = state.consumers.saturating_sub(1);
        self.settle(&state);
    }

    fn settle(&self, state: &ProducerState) {
        self.account.set(if state.consumers == 0 { state.sends.all.inside() } else { Cost::ZERO });
    }
}

impl Drop for ProducerAccount {
    fn drop(&mut self) {
        let mut producers = self.account.accounts.producers.lock();
        let key = (self.account.worker, self.producer.clone());
        // Another one of the same name may have come since, through another pipe.
        if producers.get(&key).is_some_and(|known| known.strong_count() == 0) {
            producers.remove(&key);
        }
    }
}

/// A consumer's account.
#[derive(Debug)]
pub(super) struct ConsumerAccount {
    account: Account,
    of: Option<Arc<ProducerAccount>>,
    waits: AtomicBool,
}

impl ConsumerAccount {
    /// It sends to its client from now on.
    pub(super) fn begins(&self) {
        if self.waits.swap(false, Ordering::Relaxed)
            && let Some(of) = &self.of
        {
            self.account.set(of.sends().one);
        }
    }

    /// What it was measured to cost.
    pub(super) fn measured(&self, cost: Cost) {
        self.account.set(cost);
    }
}

impl Drop for ConsumerAccount {
    fn drop(&mut self) {
        if let Some(of) = &self.of {
            of.left();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::ledger::Budget;
    use skein_proto::rpc::Claim;

    #[test]
    fn a_producer_is_paid_for_by_its_consumers() {
        let accounts = Accounts::new(Ledger::new(Budget { worker_packets: 1000, node_bits: 10_000 }, 1));
        let used = || accounts.figures(0, Instant::now()).used;
        let (room, id) = ("r".parse().expect("a name"), ProducerId("p".to_owned()));
        let sends = Sends { all: Cost::new(200, 2000), one: Cost::new(150, 1500) };
        let producer = accounts.producer(&room, 0, &id, sends);
        assert_eq!((used(), accounts.bits().1), (200, 0));
        let one = accounts.consumer(&room, 0, &id, false, |sends| sends.one);
        assert_eq!((used(), accounts.bits().1), (150, 1500));
        let pipe = accounts.consumer(&room, 0, &id, false, |sends| sends.all.inside());
        assert_eq!((used(), accounts.bits().1), (350, 1500));
        one.measured(Cost::new(100, 1000));
        producer.measured(Sends { all: Cost::new(120, 1200), one: Cost::new(100, 1000) });
        assert_eq!(used(), 300);
        drop((one, pipe));
        assert_eq!((used(), accounts.bits().1), (120, 0));
        drop(producer);
        assert_eq!(used(), 0);
        assert!(accounts.producers.lock().is_empty());
    }

    #[test]
    fn what_is_kept_for_consumers_is_not_used_up_by_their_producer() {
        let accounts = Accounts::new(Ledger::new(Budget { worker_packets: 400, node_bits: 10_000 }, 1));
        let (room, id) = ("r".parse().expect("a name"), ProducerId("p".to_owned()));
        let cost = Cost::new(150, 0);
        let wish = Reserve {
            ticket: Ticket(1),
            session: SessionId { admitted_ms: 1, nonce: 1 },
            room,
            demands: vec![(0, cost * 2)],
            at: None,
            claim: Claim::Move,
            replaces: None,
        };
        accounts.reserve(&wish, Instant::now()).expect("there is room");
        let figures = || {
            let figures = accounts.figures(0, Instant::now());
            (figures.used, figures.held)
        };
        let producer = accounts.producer(&wish.room, 0, &id, Sends { all: cost, one: cost });
        assert_eq!(figures(), (150, 150));
        let one = accounts.consumer(&wish.room, 0, &id, false, |sends| sends.one);
        assert_eq!(figures(), (150, 150));
        let two = accounts.consumer(&wish.room, 0, &id, false, |sends| sends.one);
        assert_eq!(figures(), (300, 0));
        drop((one, two));
        assert_eq!(figures(), (150, 0));
        drop(producer);
    }

    #[test]
    fn a_consumer_that_waits_costs_nothing_before_it_begins() {
        let accounts = Accounts::new(Ledger::new(Budget { worker_packets: 1000, node_bits: 10_000 }, 1));
        let used = || accounts.figures(0, Instant::now()).used;
        let (room, id) = ("r".parse().expect("a name"), ProducerId("p".to_owned()));
        let sends = Sends { all: Cost::new(200, 2000), one: Cost::new(150, 1500) };
        let producer = accounts.producer(&room, 0, &id, sends);
        let one = accounts.consumer(&room, 0, &id, true, |sends| sends.one);
        assert_eq!(used(), 0);
        one.begins();
        assert_eq!(used(), 150);
        one.measured(Cost::new(100, 1000));
        one.begins();
        assert_eq!(used(), 100, "it has begun long since");
        drop(one);
        assert_eq!(used(), 200);
        drop(producer);
    }
}
