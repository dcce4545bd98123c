//! Draining: the node takes no more peers, those who are there go elsewhere, and in the end nothing is left on it.
//!
//! | who | goes how |
//! | --- | --- |
//! | peers hosted here | the home of each one's room has them move, or dial again: [`crate::room::home::leave`] |
//! | clients hosted elsewhere | the home is asked to have them connect to their host by another node |
//! | those that cannot move | are told to dial again, a few at a time, when only such are left |
//! | whoever is left at the deadline | is told to dial again; from then on nobody is let in |

use crate::media::Counts;
use crate::mesh::Mesh;
use crate::room::Rooms;
use crate::signaling::Signaling;
use parking_lot::Mutex;
use skein_proto::gossip::Phase;
use skein_proto::operator::NodeState;
use skein_proto::rpc::{Call, MovePeer, Reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often it is looked who is left.
const LOOK: Duration = Duration::from_millis(250);
/// How long it takes until all nodes know that this one drains: a client that is asked earlier may be sent here again.
const KNOWN: Duration = Duration::from_secs(1);
/// How many clients that are hosted elsewhere are asked at once to connect by another node.
const ASKED: usize = 16;
/// How long their rooms' homes may take to say whether they will be.
const ASK_DEADLINE: Duration = Duration::from_secs(5);
/// Of those who are left at the deadline one in so many is told to dial again each time, and this many at least.
const SHARE: usize = 20;
const FEW: usize = 10;
/// How long a node that is to stop stays after the deadline, for those who were told to go.
const LAST: Duration = Duration::from_secs(8);
/// How long a node that is to stop must have been the only one that could take peers before it gives up on them.
const ALONE: Duration = Duration::from_secs(1);

/// WebSocket close code 1012: the service restarts, so the client dials again (IANA's registry).
const CLOSE_RESTART: u16 = 1012;

/// Why a node does not drain, or does not stop to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// There is nowhere to go.
    #[error(
        "no other node takes peers: who is here has nowhere to go before the deadline; force drains it all the same"
    )]
    Last,
    /// It is not ready yet.
    #[error("the node is starting")]
    Starting,
    /// It stops.
    #[error("the node was told to stop")]
    Stopping,
}

/// A drain that is under way.
#[derive(Debug)]
struct Drain {
    deadline: Instant,
    over: CancellationToken,
}

/// Drains the node. One for each node.
pub struct Drainer {
    mesh: Mesh,
    rooms: Arc<Rooms>,
    signaling: Arc<Signaling>,
    patience: Duration,
    current: Mutex<Option<Drain>>,
    stops: AtomicBool,
}

impl Drainer {
    /// Nothing drains yet. `patience` is the deadline where none is said.
    pub fn new(mesh: Mesh, rooms: Arc<Rooms>, signaling: Arc<Signaling>, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            mesh,
            rooms,
            signaling,
            patience,
            current: Mutex::new(None),
            stops: AtomicBool::new(false),
        })
    }

    /// Drains the node, so that those who are still there after `deadline` are told to dial another. `reason` is for the
    /// log. Where it drains already the earlier of the two deadlines counts.
    ///
    /// # Errors
    /// When the node is starting or stopping, or, unless `force`, when no other node takes peers.
    pub fn drain(
        self: &Arc<Self>,
        reason: &str,
        deadline: Option<Duration>,
        force: bool,
    ) -> Result<(), DrainError> {
        let now = Instant::now();
        let mut current = self.current.lock();
        if let Some(drain) = current.as_mut() {
            if let Some(deadline) = deadline {
                drain.deadline = drain.deadline.min(now + deadline);
            }
            return Ok(());
        }
        let view = self.mesh.view().borrow().clone();
        match view.get(self.mesh.id()).map(|own| own.phase) {
            Some(Phase::Ready) => {}
            Some(Phase::Starting) => return Err(DrainError::Starting),
            _ => return Err(DrainError::Stopping),
        }
        if !force && !view.others_take() {
            return Err(DrainError::Last);
        }
        let patience = deadline.unwrap_or(self.patience);
        tracing::info!(reason, deadline_s = patience.as_secs(), "the node drains");
        let over = self.signaling.cancel.child_token();
        *current = Some(Drain { deadline: now + patience, over: over.clone() });
        self.mesh.set_phase(Phase::Draining);
        self.signaling.tasks.spawn(Arc::clone(self).run(now, over));
        Ok(())
    }

    /// The node takes peers again. Who has left comes back only by itself.
    ///
    /// # Errors
    /// When it was told to stop.
    pub fn undrain(&self) -> Result<(), DrainError> {
        if self.stops.load(Ordering::Acquire) {
            return Err(DrainError::Stopping);
        }
        if let Some(drain) = self.current.lock().take() {
            drain.over.cancel();
            self.signaling.sockets.close(false);
            self.mesh.set_phase(Phase::Ready);
            tracing::info!("the node takes peers again");
        }
        Ok(())
    }

    /// Answers another node's [`Call::Drain`].
    pub fn answer(
        self: &Arc<Self>,
        on: bool,
        deadline_s: Option<u32>,
        force: bool,
    ) -> Result<(), DrainError> {
        if on {
            let deadline = deadline_s.map(|seconds| Duration::from_secs(seconds.into()));
            self.drain("asked for", deadline, force)
        } else {
            self.undrain()
        }
    }

    /// Drains before the node stops. Answers whether it does; otherwise there is nothing to wait for.
    pub fn drain_to_stop(self: &Arc<Self>, deadline: Duration) -> bool {
        if deadline.is_zero()
            || self.is_empty()
            || self.drain("the node is to stop", Some(deadline), false).is_err()
        {
            return false;
        }
        self.stops.store(true, Ordering::Release);
        true
    }

    /// Waits, after [`Drainer::drain_to_stop`], until the node can stop: nobody is left, or those who are have nowhere to
    /// go, or were told to go and do not.
    pub async fn can_stop(&self) {
        let mut alone: Option<Instant> = None;
        loop {
            let now = Instant::now();
            let deadline = self.current.lock().as_ref().map_or(now, |drain| drain.deadline);
            let others = self.mesh.view().borrow().others_take();
            let since = *alone.get_or_insert(now);
            if self.is_empty() || now >= deadline + LAST || (!others && now - since >= ALONE) {
                return;
            }
            if others {
                alone = None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether the node drains.
    pub fn is_draining(&self) -> bool {
        self.current.lock().is_some()
    }

    /// Whether it has neither peers nor WebSockets. Others see the same in its gossiped load.
    pub fn is_empty(&self) -> bool {
        self.sessions() == 0 && self.signaling.sockets.is_empty()
    }

    fn sessions(&self) -> u32 {
        let counts: &Counts = self.rooms.context().workers.counts();
        counts.sessions.load(Ordering::Relaxed)
    }

    async fn run(self: Arc<Self>, begun: Instant, over: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        let mut was_empty = false;
        loop {
            tokio::select! {
                () = over.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let now = Instant::now();
            let Some(deadline) = self.current.lock().as_ref().map(|drain| drain.deadline) else { return };
            if now >= deadline {
                self.send_all_away(now);
            } else if now.duration_since(begun) >= KNOWN {
                self.lighten(begun, now);
            }
            let is_empty = self.is_empty();
            if is_empty && !was_empty {
                tracing::info!(seconds = now.duration_since(begun).as_secs(), "nothing is left on the node");
            }
            was_empty = is_empty;
        }
    }

    /// Has clients that are hosted elsewhere connect by another node; when nobody is left who can, has others dial again
    /// who were there before the node began to drain.
    fn lighten(self: &Arc<Self>, begun: Instant, now: Instant) {
        let view = self.mesh.view().borrow().clone();
        let stays = |host: &_| view.get(host).is_some_and(|host| host.state == NodeState::Alive);
        for (room, peer) in self.signaling.sockets.to_ask(stays, ASKED, now) {
            let home = view.home(&room).clone();
            let wish = MovePeer { room, peer, node: None, same_host: true };
            let mesh = self.mesh.clone();
            self.signaling.tasks.spawn(async move {
                let (room, peer) = (wish.room.clone(), wish.peer.clone());
                let reply = mesh.call(&home, Call::MovePeer(wish), ASK_DEADLINE).await;
                if !matches!(reply, Ok(Reply::Done)) {
                    tracing::debug!(%room, %peer, ?reply, "a client cannot connect by another node yet");
                }
            });
        }
        if self.sessions() == 0 && !self.signaling.sockets.may_move(now) {
            self.signaling.sockets.send_away(1, begun);
        }
    }

    /// The deadline has passed: whoever is here dials again, a part of them each time.
    fn send_all_away(&self, now: Instant) {
        self.signaling.sockets.close(true);
        let part = |all: u32| FEW.max(usize::try_from(all).unwrap_or(usize::MAX) / SHARE);
        let mut most = part(self.sessions());
        for room in self.rooms.all() {
            most -= room.send_away(most, CLOSE_RESTART, "the node goes: dial another").min(most);
        }
        let sockets = self.signaling.counts.sockets.load(Ordering::Relaxed);
        if self.sessions() == 0 {
            self.signaling.sockets.send_away(part(sockets), now);
        }
    }
}
