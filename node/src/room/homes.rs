//! All rooms whose home this node is: their hosts' streams, and who is admitted to where.

mod admission;
mod balance;
mod reserve;
#[cfg(test)]
mod tests;
mod waiting;

use super::home::{HomeRoom, Told};
use crate::mesh::{Mesh, MeshStream, View};
use crate::placement::field::{Field, NodeFigures, WorkerFigures};
use crate::placement::typical::Typical;
use parking_lot::Mutex;
use skein_bootstrap::config::{self, Prefer};
use skein_proto::gossip::Phase;
use skein_proto::ids::{NodeId, RoomId};
use skein_proto::operator::{NodeState, RoomDetail, RoomSummary};
use skein_proto::room::RoomOptions;
use skein_proto::rpc::{HomeMessage, HostMessage};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use waiting::Waiting;

/// How many messages may wait for a host. One that falls further behind is cut off, and starts over with a snapshot.
const QUEUE: usize = 4096;
/// How often time passes for rooms.
const TICK: Duration = Duration::from_millis(250);
/// For how long after a change of membership a new room may be one that another node was home of.
const TAKEOVER: Duration = Duration::from_secs(10);
/// How long this node may take to see what one of a room's hosts has seen: that another node is home.
const HANDOVER: Duration = Duration::from_secs(5);

/// How rooms are made and placed.
#[derive(Debug, Clone)]
pub struct HomeSettings {
    /// What a room is like of which nobody said it.
    pub options: RoomOptions,
    /// How many peers a room may hold at most, whoever asks.
    pub max_size: u32,
    /// How hosts are chosen.
    pub placement: config::Placement,
    /// How many joins wait at most.
    pub max_waiting: usize,
}

/// All rooms whose home this node is.
pub struct Homes {
    mesh: Mesh,
    settings: HomeSettings,
    tasks: TaskTracker,
    rooms: Mutex<HashMap<RoomId, Home>>,
    field: Mutex<FieldOf>,
    members: Mutex<Members>,
    /// How many peers a room has in the end, of those whose home this node was.
    typical: Mutex<Typical>,
    waiting: Waiting,
}

/// Among which nodes rooms have their homes.
#[derive(Debug)]
struct Members {
    /// All nodes, and whether they are homes.
    nodes: Vec<(NodeId, bool)>,
    changed: Instant,
    /// When one was last found to be home no more.
    lost: Option<Instant>,
}

impl Members {
    fn look(&mut self, view: &View, now: Instant) {
        let nodes = members(view);
        if nodes == self.nodes {
            return;
        }
        let was_home = |node: &&(NodeId, bool)| node.1;
        if self.nodes.iter().filter(was_home).any(|node| !nodes.contains(node)) {
            self.lost = Some(now);
        }
        self.nodes = nodes;
        self.changed = now;
    }
}

/// The mesh's capacity, and how often each node has said it.
#[derive(Default)]
struct FieldOf {
    field: Field,
    said: HashMap<NodeId, (u64, u64, Instant)>,
    /// The nodes that drain.
    drains: BTreeSet<NodeId>,
}

struct Home {
    room: HomeRoom,
    links: HashMap<NodeId, Link>,
    balanced: Instant,
    guaranteed: balance::Promise,
    line: Arc<admission::Line>,
    /// Whether another node is home now.
    left: bool,
}

struct Link {
    number: u64,
    messages: mpsc::Sender<HomeMessage>,
}

impl Homes {
    /// No rooms yet. `tasks` owns what is done for them beside what callers wait for.
    pub fn new(mesh: Mesh, settings: HomeSettings, tasks: TaskTracker) -> Arc<Self> {
        let typical = Typical::new(settings.placement.typical_peers);
        let nodes = members(&mesh.view().borrow());
        let members = Members { nodes, changed: Instant::now(), lost: None };
        let moment = Duration::from_secs_f64(settings.placement.wait_s);
        let waiting = Waiting::new(settings.max_waiting, moment);
        Arc::new(Self {
            mesh,
            settings,
            tasks,
            rooms: Mutex::new(HashMap::new()),
            field: Mutex::new(FieldOf::default()),
            members: Mutex::new(members),
            typical: Mutex::new(typical),
            waiting,
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

    fn entry_first(&self) -> bool {
        self.settings.placement.prefer == Prefer::Entry
    }

    fn typical_peers(&self) -> u64 {
        self.typical.lock().peers()
    }

    /// Looks after all rooms and those who wait, until it is cancelled.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        tokio::join!(self.call_waiting(&cancel), self.pass_time(&cancel));
    }

    /// Passes time to all rooms, until it is cancelled.
    async fn pass_time(self: &Arc<Self>, cancel: &CancellationToken) {
        let mut view = self.mesh.view();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let view = view.borrow_and_update().clone();
                    self.members.lock().look(&view, Instant::now());
                    self.field.lock().look(&view, Instant::now());
                    self.waiting.look();
                }
                _ = ticks.tick() => {
                    self.tick(Instant::now());
                    self.balance(Instant::now());
                }
            }
        }
    }

    fn tick(&self, now: Instant) {
        let mut ended = Vec::new();
        self.rooms.lock().retain(|id, home| {
            let told = home.room.tick(now);
            home.deliver(told);
            let stays = !home.room.is_empty();
            if !stays && !home.left {
                ended.push((home.room.peak(), id.clone(), home.guaranteed.nodes()));
            }
            stays
        });
        let mut typical = self.typical.lock();
        for (peak, id, nodes) in ended {
            typical.ended(peak);
            self.unguarantee(&id, nodes);
        }
    }

    fn open<'a>(&self, rooms: &'a mut HashMap<RoomId, Home>, id: &RoomId) -> &'a mut Home {
        let now = Instant::now();
        let home = rooms.entry(id.clone()).or_insert_with(|| {
            let mut members = self.members.lock();
            // Whoever asks may have seen the change before the task that watches for it.
            members.look(&self.mesh.view().borrow(), now);
            let settling = now.duration_since(members.changed) < TAKEOVER;
            let fan_out = self.settings.placement.fan_out as usize;
            let room = HomeRoom::new(id.clone(), self.settings.options, fan_out, settling, now);
            Home {
                room,
                links: HashMap::new(),
                balanced: now,
                guaranteed: balance::Promise::default(),
                line: Arc::default(),
                left: false,
            }
        });
        if std::mem::take(&mut home.left) {
            home.room.settle(now);
        }
        home
    }

    /// Where this node thinks the room's home is, if that is another node.
    fn elsewhere(&self, room: &RoomId) -> Option<NodeId> {
        let view = self.mesh.view().borrow().clone();
        let home = view.home(room);
        (home != self.mesh.id()).then(|| home.clone())
    }

    /// Tells a room something and delivers what it answers.
    fn with_room(&self, room: &RoomId, tell: impl FnOnce(&mut HomeRoom) -> Told) {
        if let Some(home) = self.rooms.lock().get_mut(room) {
            let told = tell(&mut home.room);
            home.deliver(told);
        }
    }

    /// Serves a host's stream for as long as it lasts.
    pub async fn serve(&self, host: NodeId, room: RoomId, mut stream: MeshStream) {
        let view = self.mesh.view();
        if let Some(home) = self.elsewhere(&room) {
            let _ = stream.send(&HomeMessage::NotHome(home)).await;
            return;
        }
        let (messages, queue) = mpsc::channel(QUEUE);
        let number = rand::random();
        {
            let mut rooms = self.rooms.lock();
            let home = self.open(&mut rooms, &room);
            home.links.insert(host.clone(), Link { number, messages });
            let told = home.room.attach(&host);
            home.deliver(told);
        }
        let is_elsewhere = match self.converse(&host, &room, stream, queue, view.clone()).await {
            Ended::Lost => false,
            Ended::Elsewhere => self.agrees(&room, view).await,
        };
        let mut rooms = self.rooms.lock();
        // Unless another stream of the host has taken its place; one that was cut off is in the list no more.
        if let Some(home) = rooms.get_mut(&room)
            && home.links.get(&host).is_none_or(|link| link.number == number)
        {
            home.links.remove(&host);
            let told = home.room.detach(&host);
            home.left |= is_elsewhere;
            if !home.left {
                home.deliver(told);
            }
        }
    }

    /// Whether this node, too, comes to see another one as home, soon after one of the room's hosts has.
    async fn agrees(&self, room: &RoomId, mut view: watch::Receiver<Arc<View>>) -> bool {
        let seen = view.wait_for(|view| view.home(room) != self.mesh.id());
        tokio::time::timeout(HANDOVER, seen).await.is_ok_and(|seen| seen.is_ok())
    }

    async fn converse(
        &self,
        host: &NodeId,
        room: &RoomId,
        stream: MeshStream,
        mut queue: mpsc::Receiver<HomeMessage>,
        mut view: watch::Receiver<Arc<View>>,
    ) -> Ended {
        let (mut sender, mut receiver) = stream.split();
        loop {
            tokio::select! {
                message = queue.recv() => {
                    let Some(message) = message else { return Ended::Lost };
                    if sender.send(&message).await.is_err() {
                        return Ended::Lost;
                    }
                }
                message = receiver.recv::<HostMessage>() => {
                    let Ok(Some(message)) = message else { return Ended::Lost };
                    if message == HostMessage::Elsewhere {
                        return Ended::Elsewhere;
                    }
                    self.with_room(room, |room| room.hear(host, message, Instant::now()));
                }
                changed = view.changed() => {
                    if changed.is_err() {
                        return Ended::Lost;
                    }
                    view.mark_unchanged();
                    if let Some(home) = self.elsewhere(room) {
                        let _ = sender.send(&HomeMessage::NotHome(home)).await;
                        return Ended::Elsewhere;
                    }
                }
            }
        }
    }
}

/// How a host's stream ends.
enum Ended {
    /// It broke off, or the host has nothing of the room any more.
    Lost,
    /// Another node is home.
    Elsewhere,
}

impl Home {
    /// Whether the room is to have something kept for it, nothing is, and that was not tried just now.
    fn needs_promise(&self, now: Instant) -> bool {
        self.room.options().guaranteed && !self.room.is_empty() && !self.left && self.guaranteed.is_open(now)
    }

    fn deliver(&mut self, told: Told) {
        for (host, message) in told {
            let Some(link) = self.links.get(&host) else { continue };
            match link.messages.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    tracing::warn!(%host, "a host does not keep up with a room's changes; it starts over");
                    self.links.remove(&host);
                }
                // Its stream has ended, and whoever served it is about to say so.
                Err(TrySendError::Closed(_)) => {}
            }
        }
    }
}

impl Homes {
    /// A node that has just become ready is asked before it has taken over what it says of itself.
    fn catch_up(&self) {
        let (mut field, now) = (self.field.lock(), Instant::now());
        if !field.field.takes(self.mesh.id(), now) {
            field.look(&self.mesh.view().borrow(), now);
        }
    }
}

impl FieldOf {
    /// Takes over what gossip has. Figures are as old as the last time that their node said them, not as gossip.
    fn look(&mut self, view: &View, now: Instant) {
        self.drains = view.in_phase(Phase::Draining).cloned().collect();
        for member in view.nodes.values() {
            let said = (member.generation, member.load.said);
            let known = self.said.get(&member.id);
            let takes = member.state == NodeState::Alive && member.phase == Phase::Ready;
            // A node may be ready, or not any more, without having said anything new of what it carries.
            if known.is_some_and(|(generation, count, _)| (*generation, *count) == said)
                && self.field.takes(&member.id, now) == takes
            {
                continue;
            }
            let heard = match known {
                Some((generation, count, heard)) if (*generation, *count) == said => *heard,
                _ => now,
            };
            self.said.insert(member.id.clone(), (said.0, said.1, heard));
            let worker = |load: &skein_proto::gossip::WorkerLoad| WorkerFigures {
                free: load.free,
                open: load.open,
                spare: load.spare,
                total: load.total,
            };
            let figures = NodeFigures {
                workers: member.load.workers.iter().map(worker).collect(),
                free_bits: member.load.free_bits,
                over: member.load.over.clone(),
                region: member.facts.region.clone(),
                zone: member.facts.zone.clone(),
                takes,
            };
            self.field.hear(&member.id, figures, heard);
        }
        self.field.keep(|node| view.nodes.contains_key(node));
        self.said.retain(|node, _| view.nodes.contains_key(node));
    }
}

fn members(view: &View) -> Vec<(NodeId, bool)> {
    view.nodes.values().map(|node| (node.id.clone(), node.phase == Phase::Ready)).collect()
}
