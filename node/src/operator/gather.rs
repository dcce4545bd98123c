//! What the node knows, put together for operators.

use crate::media::Counts;
use crate::media::health::Health;
use crate::mesh::{Mesh, View};
use crate::room::{Homes, Rooms};
use crate::signaling::Signaling;
use skein_proto::ids::{NodeId, RoomId};
use skein_proto::operator::{
    Event, MeshStatus, NodeDetail, NodeStatus, Pipe, RoomDetail, RoomSummary, Rooms as RoomList, Scaling,
    WorkerDetail,
};
use skein_proto::rpc::{Call, MovePeer, Refusal, Reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// How long another node may take for a question of an operator's.
const DEADLINE: Duration = Duration::from_secs(2);

/// Everything that operators can see.
pub struct Operator {
    /// The mesh.
    pub mesh: Mesh,
    /// Rooms whose home the node is.
    pub homes: Arc<Homes>,
    /// Rooms that have sessions on the node.
    pub rooms: Arc<Rooms>,
    /// The client's edge.
    pub signaling: Arc<Signaling>,
    /// What operators must send as bearer token, if anything.
    pub token: Option<String>,
    /// CPU of the workers, and memory.
    pub health: watch::Receiver<Health>,
    /// When the node started.
    pub started: Instant,
    /// What operators watch.
    pub events: broadcast::Sender<Event>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The room's home or the node refused.
    #[error("{0}")]
    Refused(String),
    /// The leader did not answer.
    #[error("the leader {leader} does not answer: {problem}")]
    Leader {
        /// Which node.
        leader: NodeId,
        /// Why.
        problem: String,
    },
    /// The room's home did not answer.
    #[error("the room's home {home} does not answer: {problem}")]
    Home {
        /// Which node.
        home: NodeId,
        /// Why.
        problem: String,
    },
    /// The node did not answer.
    #[error("node {node} does not answer: {problem}")]
    Node {
        /// Which.
        node: NodeId,
        /// Why.
        problem: String,
    },
}

fn percent(share: f64) -> u8 {
    (share * 100.0).round().clamp(0.0, 100.0) as u8
}

fn read(counter: &AtomicU32) -> u32 {
    counter.load(Ordering::Relaxed)
}

impl Operator {
    /// `/v1/mesh`.
    pub fn mesh_status(&self) -> MeshStatus {
        let view = self.mesh.view().borrow().clone();
        let nodes = node_statuses(&view);
        let leader = view.leader().map(|leader| leader.id.clone());
        let rooms = nodes.iter().map(|node| node.rooms).sum();
        let waiting = nodes.iter().map(|node| node.waiting).fold(0, u32::saturating_add);
        MeshStatus { mesh: view.mesh.clone(), node: view.own.clone(), leader, nodes, rooms, waiting }
    }

    /// `/v1/rooms`: every home is asked.
    pub async fn room_list(&self) -> RoomList {
        let view = self.mesh.view().borrow().clone();
        let ask = view.nodes.keys().map(|node| async move { (node, self.rooms_of(node).await) });
        let mut list = RoomList { rooms: Vec::new(), missing: Vec::new() };
        for (node, rooms) in futures::future::join_all(ask).await {
            match rooms {
                Some(rooms) => list.rooms.extend(rooms),
                None => list.missing.push(node.clone()),
            }
        }
        list.rooms.sort_by(|a, b| a.id.cmp(&b.id));
        // Two homes may know one room for a moment, when membership has just changed.
        list.rooms.dedup_by(|a, b| a.id == b.id);
        list
    }

    async fn rooms_of(&self, node: &NodeId) -> Option<Vec<RoomSummary>> {
        match self.mesh.call(node, Call::Rooms, DEADLINE).await {
            Ok(Reply::Json(json)) => json.read().ok(),
            _ => None,
        }
    }

    /// `/v1/rooms/{id}`: the room's home is asked.
    ///
    /// # Errors
    /// When the home does not answer.
    pub async fn room_detail(&self, room: &RoomId) -> Result<Option<RoomDetail>, AskError> {
        let home = self.mesh.view().borrow().home(room).clone();
        let error = |problem: String| AskError::Home { home: home.clone(), problem };
        match self.mesh.call(&home, Call::Room(room.clone()), DEADLINE).await {
            Ok(Reply::Json(json)) => json.read().map_err(|e| error(e.to_string())),
            Ok(other) => Err(error(format!("it answered {other:?}"))),
            Err(problem) => Err(error(problem.to_string())),
        }
    }

    /// `/v1/scaling`: the leader is asked; none where nobody leads or nothing is launched.
    ///
    /// # Errors
    /// When the leader does not answer.
    pub async fn scaling(&self) -> Result<Option<Scaling>, AskError> {
        let Some(leader) = self.mesh.view().borrow().leader().map(|leader| leader.id.clone()) else {
            return Ok(None);
        };
        let error = |problem: String| AskError::Leader { leader: leader.clone(), problem };
        match self.mesh.call(&leader, Call::Scaling, DEADLINE).await {
            Ok(Reply::Json(json)) => json.read().map_err(|e| error(e.to_string())),
            Ok(other) => Err(error(format!("it answered {other:?}"))),
            Err(problem) => Err(error(problem.to_string())),
        }
    }

    /// Moves a peer; its room's home decides.
    ///
    /// # Errors
    /// When the home refuses or does not answer.
    pub async fn move_peer(&self, wish: MovePeer) -> Result<(), AskError> {
        let home = self.mesh.view().borrow().home(&wish.room).clone();
        let error = |problem: String| AskError::Home { home: home.clone(), problem };
        match self.mesh.call(&home, Call::MovePeer(wish), DEADLINE).await {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::Refused(refusal)) => Err(AskError::Refused(refusal.to_string())),
            Ok(other) => Err(error(format!("it answered {other:?}"))),
            Err(problem) => Err(error(problem.to_string())),
        }
    }

    /// Tells a node to do something that it answers with [`Reply::Done`].
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub async fn tell(&self, node: &NodeId, call: Call) -> Result<(), AskError> {
        let error = |problem: String| AskError::Node { node: node.clone(), problem };
        match self.mesh.call(node, call, DEADLINE).await {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::Refused(Refusal::NotAllowed(why))) => Err(AskError::Refused(why)),
            Ok(other) => Err(error(format!("it answered {other:?}"))),
            Err(problem) => Err(error(problem.to_string())),
        }
    }

    fn workers(&self, now: Instant) -> Vec<WorkerDetail> {
        let health = self.health.borrow().workers.clone();
        let workers = self.rooms.context().workers.iter().map(|worker| worker.detail(now));
        let with_health = |(index, detail): (usize, WorkerDetail)| match health.get(index) {
            Some(health) => {
                WorkerDetail { cpu_percent: percent(health.cpu), closed: health.closed, ..detail }
            }
            None => detail,
        };
        workers.enumerate().map(with_health).collect()
    }

    /// `/v1/node`.
    pub fn node_detail(&self) -> NodeDetail {
        let now = Instant::now();
        let context = self.rooms.context();
        let counts: &Counts = context.workers.counts();
        let rooms = self.rooms.all();
        let pipes = rooms.iter().flat_map(|room| {
            room.arrivals().into_iter().map(|pipe| Pipe {
                room: room.id.clone(),
                producer: pipe.producer,
                from: pipe.from.into(),
                to: pipe.to.into(),
            })
        });
        let counters = self.mesh.counters().read().into_iter();
        let counters = counters.chain(self.signaling.counters.read()).chain(self.homes.counters());
        NodeDetail {
            id: self.mesh.id().clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: now.duration_since(self.started).as_secs_f64(),
            workers: self.workers(now),
            memory: self.health.borrow().memory.map(|memory| memory.resident),
            sessions: read(&counts.sessions),
            sockets: read(&counts.sockets),
            routers: read(&counts.routers),
            transports: read(&counts.transports),
            producers: read(&counts.producers),
            consumers: read(&counts.consumers),
            data_producers: read(&counts.data_producers),
            data_consumers: read(&counts.data_consumers),
            pipe_transports: read(&counts.pipe_transports),
            pipes: pipes.collect(),
            data_pipes: read(&counts.data_pipes),
            counters: counters.map(|(name, value)| (name.to_owned(), value)).collect(),
            rooms: rooms.iter().map(|room| room.id.clone()).collect(),
        }
    }
}

/// The nodes of a view, by name.
pub fn node_statuses(view: &View) -> Vec<NodeStatus> {
    view.nodes
        .values()
        .map(|member| NodeStatus {
            id: member.id.clone(),
            state: member.state,
            role: member.facts.role.clone(),
            region: member.facts.region.clone(),
            zone: member.facts.zone.clone(),
            free_streams: member.load.free_streams(),
            total_streams: member.load.total_streams(),
            workers: member.load.free_streams_by_worker(),
            peers: member.load.peers,
            sockets: member.load.sockets,
            rooms: member.load.rooms,
            waiting: member.queue.joins,
            url: member.facts.url.clone(),
            version: member.facts.version.clone(),
        })
        .collect()
}
