//! Joins that find no place: they stand in line, and are called when something is free; while the mesh can grow as long as they
//! have patience, and otherwise for a moment, since in a full mesh somebody leaves or moves every other second.
//!
//! The entry of one asks again and again with its place in line, and is answered when there is a place or after [`POLL`].
//! Who waits has no seat in the room and no reservation anywhere: each call is a join of its own.

use super::Homes;
use super::admission::Considered;
use crate::clock::now_ms;
use crate::placement::queue::{Level, Need, Newcomer, NoPlace, Queue, Turn, Who};
use parking_lot::Mutex;
use skein_proto::gossip::Lead;
use skein_proto::ids::SessionId;
use skein_proto::rpc::{Admit, InLine, Refusal, Reply, Unwait, Wait};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long an ask for a turn is kept waiting for it.
const POLL: Duration = Duration::from_secs(3);
/// And the first one, whose client has not been told yet that it waits.
const FIRST_POLL: Duration = Duration::from_millis(300);
/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is looked at for those who are not here any more.
const SWEEP: Duration = Duration::from_secs(1);
/// How long a look at the queue keeps the next one waiting, whatever changes.
const PAUSE: Duration = Duration::from_millis(20);
/// How long those who wait go on waiting when nobody leads: a leader that is gone has a successor by then.
const NO_LEADER: Duration = Duration::from_secs(30);
/// How long when somebody leads who says that the mesh does not grow: a new leader may not have looked yet.
const NO_GROWTH: Duration = Duration::from_secs(10);

/// Those who wait at the homes on a node.
pub(super) struct Waiting {
    queue: Mutex<Queue<Arc<Notify>>>,
    hope: Mutex<Hope>,
    /// How long they wait where the mesh cannot grow.
    moment: Duration,
    /// Told when there may be somebody to call.
    changed: Notify,
    closed: AtomicBool,
    waited: AtomicU64,
    waited_ms: AtomicU64,
}

impl Waiting {
    /// Nobody waits; so many may, and for so long where the mesh cannot grow.
    pub(super) fn new(most: usize, moment: Duration) -> Self {
        Self {
            queue: Mutex::new(Queue::new(most)),
            hope: Mutex::default(),
            moment,
            changed: Notify::new(),
            closed: AtomicBool::new(false),
            waited: AtomicU64::new(0),
            waited_ms: AtomicU64::new(0),
        }
    }

    /// Since when who waits still may, where the mesh cannot grow: milliseconds since 1970.
    fn not_before(&self) -> u64 {
        now_ms().saturating_sub(u64::try_from(self.moment.as_millis()).unwrap_or(u64::MAX))
    }

    /// What nodes have free may be more than it was.
    pub(super) fn look(&self) {
        if !self.queue.lock().is_empty() {
            self.changed.notify_one();
        }
    }
}

/// Whether the mesh is going to have more room.
#[derive(Debug, Default)]
struct Hope {
    until: Option<Instant>,
    eta_s: u32,
}

impl Hope {
    /// What the leader says now, where there is one.
    fn hear(&mut self, lead: Option<&Lead>, now: Instant) {
        match lead {
            Some(lead) if lead.promises_room() => {
                (self.until, self.eta_s) = (Some(now + NO_LEADER), lead.eta_s)
            }
            Some(_) => (self.until, self.eta_s) = (self.until.map(|until| until.min(now + NO_GROWTH)), 0),
            None => {}
        }
    }

    fn is_there(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Whether a join without a place may begin to wait: the mesh grows, or did until just now and nobody leads.
    fn takes(&self, lead: Option<&Lead>, now: Instant) -> bool {
        lead.map_or_else(|| self.is_there(now), Lead::promises_room)
    }
}

fn who(admit: &Admit) -> Who {
    Who { room: admit.room.clone(), peer: admit.peer.clone() }
}

impl Homes {
    /// How many joins wait here.
    pub fn waiting(&self) -> usize {
        self.waiting.queue.lock().len()
    }

    /// What is counted of those who waited.
    pub fn counters(&self) -> [(&'static str, u64); 2] {
        [
            ("joins_waited", self.waiting.waited.load(Ordering::Relaxed)),
            ("joins_waited_milliseconds", self.waiting.waited_ms.load(Ordering::Relaxed)),
        ]
    }

    /// What is free now.
    pub(super) fn level(&self) -> Level {
        self.field.lock().field.level(Instant::now())
    }

    /// The connection of a peer that waits.
    pub(super) fn waits(&self, admit: &Admit) -> Option<SessionId> {
        self.waiting.queue.lock().session(&who(admit))
    }

    /// Whether a join without a place may wait, that has since then: a moment in any case, and longer where the mesh is about
    /// to grow, or was until just now and the peer waits already.
    fn may_wait(&self, admit: &Admit, since_ms: u64) -> bool {
        if since_ms > self.waiting.not_before() {
            return true;
        }
        let view = self.mesh.view().borrow().clone();
        let lead = view.leader().map(|leader| &leader.lead);
        let now = Instant::now();
        let mut hope = self.waiting.hope.lock();
        hope.hear(lead, now);
        hope.takes(lead, now) || (hope.is_there(now) && self.waits(admit).is_some())
    }

    /// Whether a join that has just come without finding a place may wait. Who wants capacity guaranteed is told at once
    /// where there is none to come.
    pub(super) fn may_begin_to_wait(&self, admit: &Admit, need: &Need) -> bool {
        self.may_wait(admit, if need.guaranteed.is_some() { 0 } else { now_ms() })
    }

    /// Whether a join has to wait for those who came before it: others do, and nothing is kept for it.
    pub(super) fn has_to_queue(&self, admit: &Admit, considered: &Considered) -> bool {
        !considered.goes_first()
            && !self.waiting.queue.lock().is_empty()
            && self.may_begin_to_wait(admit, &considered.need)
    }

    /// A join waits from now on: it was tried when so much was free, or has to wait for others.
    pub(super) async fn wait(
        &self,
        admit: &Admit,
        session: SessionId,
        need: Need,
        tried: Option<Level>,
    ) -> Reply {
        let line = InLine { session, since_ms: now_ms() };
        let line = match self.stand(admit, line, need, tried) {
            Ok(line) => line,
            Err(refusal) => return Reply::Refused(refusal),
        };
        if tried.is_some() {
            return self.not_yet(line);
        }
        self.until_its_turn(admit, line, FIRST_POLL).await
    }

    fn not_yet(&self, line: InLine) -> Reply {
        Reply::Wait(Wait { line, eta_s: self.waiting.hope.lock().eta_s })
    }

    fn stand(
        &self,
        admit: &Admit,
        line: InLine,
        need: Need,
        tried: Option<Level>,
    ) -> Result<InLine, Refusal> {
        let InLine { session, since_ms } = line;
        let waker = Arc::new(Notify::new());
        let newcomer = Newcomer { who: who(admit), session, since_ms, need, tried, waker };
        let stood = {
            let mut queue = self.waiting.queue.lock();
            let stood = queue.stand(newcomer, Instant::now());
            self.tell(&queue);
            stood
        };
        match stood {
            Ok((since_ms, older)) => {
                if let Some(older) = older {
                    older.notify_one();
                }
                self.waiting.changed.notify_one();
                Ok(InLine { session, since_ms })
            }
            Err(NoPlace::Superseded) => Err(Refusal::Superseded),
            Err(NoPlace::Full) => Err(Refusal::MeshFull),
        }
    }

    /// Tells the mesh who waits. With the queue locked, so that what is told last is how it is.
    fn tell(&self, queue: &Queue<Arc<Notify>>) {
        self.mesh.set_queue(queue.totals());
    }

    /// A join asks with its place in line.
    pub(super) async fn ask_again(&self, admit: &Admit, line: InLine) -> Reply {
        self.until_its_turn(admit, line, POLL).await
    }

    async fn until_its_turn(&self, admit: &Admit, mut line: InLine, patience: Duration) -> Reply {
        let (who, until) = (who(admit), Instant::now() + patience);
        let mut over = false;
        loop {
            if let Some(home) = self.elsewhere(&admit.room) {
                self.leave_line(&who, line.session);
                return Reply::NotHome(home);
            }
            let turn = self.waiting.queue.lock().ask(&who, line.session, Instant::now());
            match turn {
                Turn::Superseded => return Reply::Refused(Refusal::Superseded),
                Turn::Unknown => match self.come_back(admit, line) {
                    Ok(place) => line = place,
                    Err(reply) => return reply,
                },
                Turn::Wait(_) if over => return self.not_yet(line),
                Turn::Wait(waker) => {
                    let left = until.saturating_duration_since(Instant::now());
                    over = timeout(left, waker.notified()).await.is_err();
                }
                Turn::Now => {
                    if let Some(reply) = self.take_turn(admit, &who, line).await {
                        return reply;
                    }
                    over = Instant::now() >= until;
                }
            }
        }
    }

    /// Somebody who waited elsewhere until now, or was not heard of for too long.
    fn come_back(&self, admit: &Admit, line: InLine) -> Result<InLine, Reply> {
        if self.waiting.closed.load(Ordering::Relaxed) {
            return Err(Reply::Failed("the node stops".to_owned()));
        }
        if !self.may_wait(admit, line.since_ms) && !self.waiting.hope.lock().is_there(Instant::now()) {
            return Err(Reply::Refused(Refusal::MeshFull));
        }
        let considered = self.consider(admit, Some(line.session)).map_err(Reply::Refused)?;
        self.dismiss(admit, line.session);
        self.stand(admit, line, considered.need, None).map_err(Reply::Refused)
    }

    /// It is its turn: looks for a place. Answers nothing when it goes on waiting.
    async fn take_turn(&self, admit: &Admit, who: &Who, line: InLine) -> Option<Reply> {
        let session = line.session;
        let reply = match self.consider(admit, Some(session)) {
            Ok(considered) => self.find_place(admit, considered).await,
            Err(refusal) => Reply::Refused(refusal),
        };
        let goes_on = {
            let mut queue = self.waiting.queue.lock();
            let now = Instant::now();
            match &reply {
                Reply::Refused(Refusal::MeshFull) => queue.failed(who, session, now),
                Reply::Admitted(_) => queue.placed(who, session, now),
                _ => {
                    queue.leave(who, session);
                }
            }
            self.tell(&queue);
            queue.session(who) == Some(session)
        };
        self.waiting.changed.notify_one();
        if let Reply::Admitted(_) = &reply {
            let waited = now_ms().saturating_sub(line.since_ms);
            self.waiting.waited.fetch_add(1, Ordering::Relaxed);
            self.waiting.waited_ms.fetch_add(waited, Ordering::Relaxed);
        }
        (!goes_on).then_some(reply)
    }

    fn leave_line(&self, who: &Who, session: SessionId) {
        let mut queue = self.waiting.queue.lock();
        if queue.leave(who, session) {
            self.tell(&queue);
        }
    }

    /// A client that waits is gone.
    pub fn unwait(&self, unwait: Unwait) -> Reply {
        let Unwait { room, peer, session } = unwait;
        if let Some(home) = self.elsewhere(&room) {
            return Reply::NotHome(home);
        }
        // It may be its turn right now.
        self.with_room(&room, |home| {
            home.refused(&peer, session);
            Vec::new()
        });
        let who = Who { room, peer };
        self.leave_line(&who, session);
        self.waiting.changed.notify_one();
        Reply::Done
    }

    /// Calls those who wait when something is free, until it is cancelled.
    pub(super) async fn call_waiting(&self, cancel: &CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        let mut swept = Instant::now();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                () = self.waiting.changed.notified() => {}
                _ = ticks.tick() => {}
            }
            let now = Instant::now();
            let sweeps = now.duration_since(swept) >= SWEEP;
            if sweeps {
                swept = now;
            }
            for waker in self.whose_turn(sweeps, now) {
                waker.notify_one();
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        self.waiting.closed.store(true, Ordering::Relaxed);
        let all = self.waiting.queue.lock().dismiss(|_| true);
        all.iter().for_each(|waker| waker.notify_one());
    }

    /// Who has to ask now: because it is its turn, or because it waits here no longer.
    fn whose_turn(&self, sweeps: bool, now: Instant) -> Vec<Arc<Notify>> {
        let has_hope = {
            let view = self.mesh.view().borrow().clone();
            let mut hope = self.waiting.hope.lock();
            hope.hear(view.leader().map(|leader| &leader.lead), now);
            hope.is_there(now)
        };
        if self.waiting.queue.lock().is_empty() {
            return Vec::new();
        }
        let level = self.level();
        let mut queue = self.waiting.queue.lock();
        let before = queue.len();
        let mut wakers = Vec::new();
        if !has_hope {
            wakers.extend(queue.expire(self.waiting.not_before()));
        }
        if sweeps {
            // Their home is another now, which counts them from when they ask there.
            wakers.extend(queue.dismiss(|room| self.elsewhere(room).is_some()));
            queue.forget(now);
        }
        wakers.extend(queue.call(level, now));
        if queue.len() != before {
            self.tell(&queue);
        }
        wakers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_leader_refuses_nobody_who_waits() {
        let (mut hope, start) = (Hope::default(), Instant::now());
        let after = |s: u64| start + Duration::from_secs(s);
        assert!(!hope.is_there(start), "nobody leads, and nobody did");
        let lead = Lead { holds: true, grows: true, eta_s: 40, ..Lead::default() };
        hope.hear(Some(&lead), start);
        assert_eq!((hope.is_there(start), hope.eta_s), (true, 40));
        hope.hear(None, after(29));
        assert!(hope.is_there(after(29)) && !hope.is_there(after(30)));
        hope.hear(Some(&lead), after(29));
        assert!(hope.is_there(after(58)));
    }

    #[test]
    fn who_comes_while_nobody_leads_waits_for_the_next_leader() {
        let (mut hope, start) = (Hope::default(), Instant::now());
        assert!(!hope.takes(None, start), "nobody has led yet");
        let full = Lead { holds: true, ..Lead::default() };
        let lead = Lead { grows: true, ..full };
        hope.hear(Some(&lead), start);
        assert!(hope.takes(Some(&lead), start) && hope.takes(None, start));
        assert!(!hope.takes(Some(&full), start), "a leader says that it is full");
        assert!(!hope.takes(None, start + NO_LEADER), "nobody follows");
    }

    #[test]
    fn a_leader_who_says_that_nothing_comes_is_believed_soon() {
        let (mut hope, start) = (Hope::default(), Instant::now());
        let after = |s: u64| start + Duration::from_secs(s);
        let full = Lead { holds: true, ..Lead::default() };
        hope.hear(Some(&Lead { grows: true, ..full }), start);
        for s in 1..11 {
            hope.hear(Some(&full), after(s));
        }
        assert!(hope.is_there(after(10)) && !hope.is_there(after(11)));
        // What boots still is to come, though no more may be launched.
        hope.hear(Some(&Lead { eta_s: 5, ..full }), after(11));
        assert!(hope.is_there(after(12)));
    }
}
