//! The JSON of the operator API, under `/v1` on every node.

use crate::ids::{DataProducerId, NodeId, PeerId, ProducerId, RoomId, WorkerAddress};
use crate::room::RoomOptions;
use crate::signaling::{Device, MediaKind, Role};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use ts_rs::TS;

/// `GET /v1/mesh`: what the node knows of the mesh from gossip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct MeshStatus {
    /// Name of the mesh.
    pub mesh: String,
    /// The node that answers.
    pub node: NodeId,
    /// The node that launches and retires machines, where there is one.
    pub leader: Option<NodeId>,
    /// All nodes that are not dead, by name.
    pub nodes: Vec<NodeStatus>,
    /// How many rooms there are.
    pub rooms: u32,
    /// How many joins wait for a machine.
    #[serde(default)]
    pub waiting: u32,
}

/// `GET /v1/scaling`: what the leader knows of growing and shrinking, and did about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Scaling {
    /// The node that leads.
    pub leader: NodeId,
    /// Its term.
    #[ts(type = "number")]
    pub term: u64,
    /// How many reference streams should be free or on their way.
    pub wanted_streams: u32,
    /// How many are free on nodes whose figures are new.
    pub free_streams: u32,
    /// How many are on their way, on machines that boot.
    pub booting_streams: u32,
    /// Whether those who find no place are kept waiting: the mesh grows, or can.
    pub grows: bool,
    /// In how many seconds they can expect one.
    pub eta_s: u32,
    /// What somebody has to look at.
    pub alarm: Option<String>,
    /// Why not more is done.
    pub reasons: Vec<String>,
    /// What was done last, in its order.
    pub steps: Vec<ScalingStep>,
    /// How many nodes there are at least, those among them that the leader did not launch.
    #[serde(default)]
    pub min_nodes: u32,
    /// How many there are at most.
    #[serde(default)]
    pub max_nodes: u32,
    /// The machines that the leader launched and that are not gone, by their numbers.
    #[serde(default)]
    pub machines: Vec<ScalingMachine>,
}

/// One machine that the leader launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ScalingMachine {
    /// The node that it is, or is to be.
    pub node: NodeId,
    /// The name of its type.
    pub kind: String,
    /// How it is.
    pub state: MachineState,
    /// Seconds since it was launched, or started last.
    pub age_s: u32,
}

/// How a launched machine is, as its cloud and gossip say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum MachineState {
    /// It was asked for, or boots: its node takes no peers yet.
    Starting,
    /// Its node takes peers.
    Serving,
    /// Its node takes no new ones.
    Draining,
    /// It runs, and gossip has lost its node.
    Lost,
    /// It is kept to be started again, or about to be.
    Stopped,
    /// It is about to be gone.
    Ending,
}

/// One thing that the leader did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ScalingStep {
    /// When, milliseconds since 1970.
    #[ts(type = "number")]
    pub at_ms: u64,
    /// What, and why.
    pub step: String,
}

/// How a node is, as another sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It starts, and takes nothing yet.
    Starting,
    /// Gossip and QUIC both reach it.
    Alive,
    /// One of the two does not.
    Suspect,
    /// It takes nothing new.
    Draining,
}

/// One node of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct NodeStatus {
    /// Its name.
    pub id: NodeId,
    /// How it is.
    pub state: NodeState,
    /// `seed` or `node`.
    pub role: String,
    /// Where it is.
    pub region: String,
    /// Where in the region.
    pub zone: String,
    /// How many more streams it can carry.
    pub free_streams: u32,
    /// How many it can carry in all.
    pub total_streams: u32,
    /// Free streams of each worker.
    pub workers: Vec<u32>,
    /// Peers whose transports it holds.
    pub peers: u32,
    /// WebSockets that it holds, wherever their peers' transports are.
    pub sockets: u32,
    /// Rooms whose home it is.
    pub rooms: u32,
    /// Joins to these that wait for a machine.
    #[serde(default)]
    pub waiting: u32,
    /// Address of its HTTP and WebSocket server.
    pub url: String,
    /// Version of its program.
    pub version: String,
}

/// `GET /v1/rooms`: all rooms of the mesh, as their homes know them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Rooms {
    /// By name.
    pub rooms: Vec<RoomSummary>,
    /// Nodes that did not answer; rooms whose home they are, are missing.
    pub missing: Vec<NodeId>,
}

/// One room, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RoomSummary {
    /// Its name.
    pub id: RoomId,
    /// The node that keeps its roster.
    pub home: NodeId,
    /// Connected peers, joined or about to.
    pub peers: u32,
    /// Nodes that hold transports of its peers, with how many each.
    pub hosts: BTreeMap<NodeId, u32>,
    /// Producers.
    pub producers: u32,
    /// Pipes, each one producer to one worker.
    pub pipes: u32,
}

/// `GET /v1/rooms/{id}`: one room, as its home knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RoomDetail {
    /// Its name.
    pub id: RoomId,
    /// The node that keeps its roster.
    pub home: NodeId,
    /// Nodes that hold transports of its peers.
    pub hosts: Vec<NodeId>,
    /// All peers.
    pub peers: Vec<RoomPeer>,
    /// All producers.
    pub producers: Vec<RoomProducer>,
    /// All data producers.
    pub data_producers: Vec<RoomDataProducer>,
    /// All pipes.
    pub pipes: Vec<Pipe>,
    /// Who speaks.
    pub speaker: Option<PeerId>,
    /// What it is like.
    pub options: RoomOptions,
}

/// A peer of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RoomPeer {
    /// Its name in the room.
    pub id: PeerId,
    /// Its name for people.
    pub display_name: String,
    /// What it runs on.
    pub device: Device,
    /// Whether it has joined.
    pub joined: bool,
    /// What it may do.
    pub role: Role,
    /// The node that holds its transports.
    pub host: NodeId,
    /// The worker on it.
    pub worker: u16,
}

/// A producer of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RoomProducer {
    /// Which.
    pub id: ProducerId,
    /// Whose.
    pub peer: PeerId,
    /// Audio or video.
    pub kind: MediaKind,
    /// Whether its peer paused it.
    pub paused: bool,
    /// The node it is on.
    pub host: NodeId,
    /// The worker on it.
    pub worker: u16,
}

/// A data producer of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RoomDataProducer {
    /// Which.
    pub id: DataProducerId,
    /// Whose.
    pub peer: PeerId,
    /// The data channel's label.
    pub label: String,
    /// The node it is on.
    pub host: NodeId,
}

/// A producer that is piped from one worker to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Pipe {
    /// Which room.
    pub room: RoomId,
    /// What is piped.
    pub producer: ProducerId,
    /// From where.
    pub from: Place,
    /// To where.
    pub to: Place,
}

/// A worker of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// The worker on it, from 0.
    pub worker: u16,
}

impl From<WorkerAddress> for Place {
    fn from(address: WorkerAddress) -> Self {
        Self { node: address.node, worker: address.worker }
    }
}

/// `GET /v1/node`: what the node itself holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct NodeDetail {
    /// Its name.
    pub id: NodeId,
    /// Version of its program.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: f64,
    /// Its workers.
    pub workers: Vec<WorkerDetail>,
    /// Rooms that have sessions on it.
    pub rooms: Vec<RoomId>,
    /// Sessions on it: peers whose transports it holds.
    pub sessions: u32,
    /// WebSockets that it holds, wherever their transports are.
    pub sockets: u32,
    /// Routers, one for a room and worker.
    pub routers: u32,
    /// WebRTC transports.
    pub transports: u32,
    /// Producers of its own peers.
    pub producers: u32,
    /// Consumers of its own peers.
    pub consumers: u32,
    /// Data producers of its own peers.
    pub data_producers: u32,
    /// Data consumers of its own peers.
    pub data_consumers: u32,
    /// Memory that the process holds, bytes; absent where the system does not say.
    #[ts(type = "number | null")]
    pub memory: Option<u64>,
    /// Ends of pipes: transports, each of one pipe between two workers.
    pub pipe_transports: u32,
    /// Producers that come in through pipes.
    pub pipes: Vec<Pipe>,
    /// Data producers whose messages come in from other workers and nodes.
    pub data_pipes: u32,
    /// Everything it counts, as `/metrics` shows it.
    #[ts(type = "Record<string, number>")]
    pub counters: BTreeMap<String, u64>,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct WorkerDetail {
    /// From 0.
    pub index: u16,
    /// Streams that it carries.
    pub streams: u32,
    /// Streams that are reserved on it.
    pub reserved: u32,
    /// How many more it can carry.
    pub free_streams: u32,
    /// How many it can carry in all.
    pub total_streams: u32,
    /// Packets a second that it sends, by estimate and measurement.
    #[ts(type = "number")]
    pub packets: u64,
    /// Packets a second that it can still take.
    #[ts(type = "number")]
    pub free_packets: u64,
    /// Packets a second that it can send in all.
    #[ts(type = "number")]
    pub total_packets: u64,
    /// How busy its thread is, percent of a core.
    pub cpu_percent: u8,
    /// Whether it takes no more peers because it is too busy.
    pub closed: bool,
    /// The port of its WebRTC server, UDP and TCP.
    pub port: u16,
}

/// `GET /v1/events`: server-sent events; the event's name is the tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A node came, changed or went.
    Node {
        /// What happened.
        change: Change,
        /// Which node.
        id: NodeId,
        /// How it is now; absent when it is gone.
        status: Option<NodeStatus>,
    },
    /// A room came, changed or went; told by the node that is its home.
    Room {
        /// What happened.
        change: Change,
        /// Which room.
        id: RoomId,
        /// How it is now; absent when it is gone.
        summary: Option<RoomSummary>,
    },
}

/// What happened to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It is different.
    Changed,
    /// It is gone.
    Removed,
}

/// Body of `POST /v1/rooms/{id}/peers/{peer}/move`: moves a peer to another node without a gap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// Where to; where most is free when it is not said.
    #[serde(default)]
    pub node: Option<NodeId>,
}

/// Body of `POST /v1/nodes/{id}/drain`: the node takes no more peers, and those who are there go elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Also when no other node takes peers.
    #[serde(default)]
    pub force: bool,
    /// Seconds after which those who are still there are told to dial another node; `scaling.drain_minutes` of the node
    /// where it is not said.
    #[serde(default)]
    pub deadline_s: Option<u32>,
}

/// Body of `POST /v1/nodes/{id}/undrain`: the node takes peers again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct UndrainRequest {}

/// What a refused or failed request to the operator API is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ApiError {
    /// For people.
    pub error: String,
}
