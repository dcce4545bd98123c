//! All rooms whose home this node is: their hosts' streams, and who is admitted to where.

use super::home::{HomeRoom, Told};
use crate::mesh::{Mesh, MeshStream, View};
use crate::placement::{self, Candidate, Join};
use parking_lot::Mutex;
use skein_bootstrap::config::Prefer;
use skein_proto::gossip::Phase;
use skein_proto::ids::{NodeId, RoomId, SessionId, WorkerAddress};
use skein_proto::operator::{NodeState, RoomDetail, RoomSummary};
use skein_proto::rpc::{Admit, Admitted, Call, HomeMessage, HostMessage, Refusal, Reply, Reserve};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a host may take to say whether it keeps room.
const RESERVE_DEADLINE: Duration = Duration::from_secs(2);
/// How many workers are asked before the mesh counts as full.
const TRIES: usize = 16;
/// How many messages may wait for a host. One that falls further behind is cut off, and starts over with a snapshot.
const QUEUE: usize = 4096;
/// How often time passes for rooms.
const TICK: Duration = Duration::from_millis(250);
/// For how long after a change of membership a new room may be one that another node was home of.
const TAKEOVER: Duration = Duration::from_secs(10);

/// All rooms whose home this node is.
pub struct Homes {
    mesh: Mesh,
    size: u32,
    prefer: Prefer,
    rooms: Mutex<HashMap<RoomId, Home>>,
    members_changed: Mutex<Instant>,
}

struct Home {
    room: HomeRoom,
    links: HashMap<NodeId, Link>,
}

struct Link {
    number: u64,
    messages: mpsc::Sender<HomeMessage>,
}

impl Homes {
    /// No rooms yet.
    pub fn new(mesh: Mesh, size: u32, prefer: Prefer) -> Arc<Self> {
        Arc::new(Self {
            mesh,
            size,
            prefer,
            rooms: Mutex::new(HashMap::new()),
            members_changed: Mutex::new(Instant::now()),
        })
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rooms in short.
    pub fn summaries(&self) -> Vec<RoomSummary> {
        self.rooms.lock().values().map(|home| home.room.summary(self.mesh.id())).collect()
    }

    /// One room.
    pub fn detail(&self, room: &RoomId) -> Option<RoomDetail> {
        self.rooms.lock().get(room).map(|home| home.room.detail(self.mesh.id()))
    }

    /// Passes time to all rooms, until it is cancelled.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut view = self.mesh.view();
        let mut members = names(&view.borrow());
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = names(&view.borrow_and_update());
                    if now != members {
                        members = now;
                        *self.members_changed.lock() = Instant::now();
                    }
                }
                _ = ticks.tick() => self.tick(Instant::now()),
            }
        }
    }

    fn tick(&self, now: Instant) {
        self.rooms.lock().retain(|_, home| {
            let told = home.room.tick(now);
            home.deliver(told);
            !home.room.is_empty()
        });
    }

    fn open<'a>(&self, rooms: &'a mut HashMap<RoomId, Home>, id: &RoomId) -> &'a mut Home {
        rooms.entry(id.clone()).or_insert_with(|| {
            let now = Instant::now();
            let settling = now.duration_since(*self.members_changed.lock()) < TAKEOVER;
            let room = HomeRoom::new(id.clone(), self.size, settling, now);
            Home { room, links: HashMap::new() }
        })
    }

    /// Where this node thinks the room's home is, if that is another node.
    fn elsewhere(&self, room: &RoomId) -> Option<NodeId> {
        let view = self.mesh.view().borrow().clone();
        let home = view.home(room);
        (home != self.mesh.id()).then(|| home.clone())
    }

    /// A client wants in: finds a worker that keeps room for it.
    pub async fn admit(&self, admit: Admit) -> Reply {
        if let Some(home) = self.elsewhere(&admit.room) {
            return Reply::NotHome(home);
        }
        let view = self.mesh.view().borrow().clone();
        let (session, shortlist) = match self.consider(&admit, &view) {
            Ok(considered) => considered,
            Err(refusal) => return Reply::Refused(refusal),
        };
        for (host, streams) in shortlist.into_iter().take(TRIES) {
            let reserve = Reserve { session, worker: host.worker, streams };
            match self.mesh.call(&host.node, Call::Reserve(reserve), RESERVE_DEADLINE).await {
                Ok(Reply::Reserved) => {
                    if let Some(home) = self.rooms.lock().get_mut(&admit.room) {
                        let told = home.room.admitted(&admit.peer, session, host.clone());
                        home.deliver(told);
                    }
                    return Reply::Admitted(Admitted { session, host });
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(node = %host.node, %error, "reservation failed"),
            }
        }
        if let Some(home) = self.rooms.lock().get_mut(&admit.room) {
            home.room.refused(&admit.peer, session);
        }
        Reply::Refused(Refusal::MeshFull)
    }

    /// Counts the peer in and lists the workers to ask, with what the join costs on each.
    fn consider(
        &self,
        admit: &Admit,
        view: &View,
    ) -> Result<(SessionId, Vec<(WorkerAddress, u32)>), Refusal> {
        let mut rooms = self.rooms.lock();
        let home = self.open(&mut rooms, &admit.room);
        let mut session = SessionId { admitted_ms: now_ms(), nonce: rand::random() };
        if let Some(old) = home.room.session(&admit.peer) {
            // Newer than the one it replaces, also when another home with another clock admitted that.
            session.admitted_ms = session.admitted_ms.max(old.admitted_ms + 1);
        }
        home.room.expect(&admit.peer, session, Instant::now())?;
        let join = Join {
            entry: admit.entry.clone(),
            publishes: admit.role.may_publish(),
            producers: home.room.producers(),
        };
        let nodes = home.room.nodes();
        let price = |node: &NodeId| placement::cost(&join, home.room.peers_on(node));
        let order = placement::shortlist(
            &candidates(view),
            &|worker| nodes.contains(worker),
            &join,
            &price,
            self.prefer == Prefer::Entry,
            &mut rand::rng(),
        );
        let priced = order.into_iter().map(|worker| {
            let streams = price(&worker.node);
            (worker, streams)
        });
        Ok((session, priced.collect()))
    }

    /// Serves a host's stream for as long as it lasts.
    pub async fn serve(&self, host: NodeId, room: RoomId, mut stream: MeshStream) {
        let mut view = self.mesh.view();
        if let Some(home) = self.elsewhere(&room) {
            let _ = stream.send(&HomeMessage::NotHome(home)).await;
            return;
        }
        let (messages, mut queue) = mpsc::channel(QUEUE);
        let number = rand::random();
        {
            let mut rooms = self.rooms.lock();
            let home = self.open(&mut rooms, &room);
            home.links.insert(host.clone(), Link { number, messages });
            let told = home.room.attach(&host);
            home.deliver(told);
        }
        let (mut sender, mut receiver) = stream.split();
        loop {
            tokio::select! {
                message = queue.recv() => {
                    let Some(message) = message else { break };
                    if sender.send(&message).await.is_err() {
                        break;
                    }
                }
                message = receiver.recv::<HostMessage>() => {
                    let Ok(Some(message)) = message else { break };
                    if let Some(home) = self.rooms.lock().get_mut(&room) {
                        let told = home.room.hear(&host, message);
                        home.deliver(told);
                    }
                }
                changed = view.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    view.mark_unchanged();
                    if let Some(home) = self.elsewhere(&room) {
                        let _ = sender.send(&HomeMessage::NotHome(home)).await;
                        break;
                    }
                }
            }
        }
        let mut rooms = self.rooms.lock();
        if let Some(home) = rooms.get_mut(&room)
            && home.links.get(&host).is_some_and(|link| link.number == number)
        {
            home.links.remove(&host);
            let told = home.room.detach(&host);
            home.deliver(told);
        }
    }
}

impl Home {
    fn deliver(&mut self, told: Told) {
        for (host, message) in told {
            let Some(link) = self.links.get(&host) else { continue };
            if link.messages.try_send(message).is_err() {
                tracing::warn!(%host, "a host does not keep up with a room's changes; it starts over");
                self.links.remove(&host);
            }
        }
    }
}

fn names(view: &View) -> Vec<NodeId> {
    view.nodes.keys().cloned().collect()
}

/// Workers of nodes that take peers, as gossip has them.
fn candidates(view: &View) -> Vec<Candidate> {
    view.nodes
        .values()
        .filter(|member| member.state == NodeState::Alive && member.phase == Phase::Ready)
        .flat_map(|member| {
            member.load.total.iter().enumerate().filter_map(|(index, total)| {
                let at = WorkerAddress { node: member.id.clone(), worker: u16::try_from(index).ok()? };
                Some(Candidate { at, free: member.load.free.get(index).copied().unwrap_or(0), total: *total })
            })
        })
        .collect()
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
