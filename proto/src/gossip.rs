//! The keys and values that a node gossips about itself. Nothing per stream or per peer is gossiped.

use crate::capacity::{Cost, REFERENCE};
use serde::{Deserialize, Serialize};

/// Key of [`Facts`]: what hardly ever changes.
pub const FACTS: &str = "facts";
/// Key of [`Load`]: what changes all the time.
pub const LOAD: &str = "load";
/// Key of [`Phase`].
pub const PHASE: &str = "phase";
/// Key of [`Lead`].
pub const LEAD: &str = "lead";
/// Key of [`Queue`].
pub const QUEUE: &str = "queue";

/// What hardly ever changes. The gossiped value is its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `seed` or `node`.
    pub role: String,
    /// Where the node is, such as `eu-central-1`.
    pub region: String,
    /// Where in the region.
    pub zone: String,
    /// Address of its HTTP and WebSocket server.
    pub url: String,
    /// Version of the program.
    pub version: String,
}

/// What changes all the time. The gossiped value is its JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Its workers, by index.
    pub workers: Vec<WorkerLoad>,
    /// Which of its workers carry more than they should.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<u16>,
    /// Bits a second that the node can still send into the network.
    pub free_bits: u64,
    /// And when nothing runs.
    pub total_bits: u64,
    /// Peers whose transports are on the node.
    pub peers: u32,
    /// WebSockets that it holds, wherever their peers' transports are. A draining node is empty when it has neither.
    #[serde(default)]
    pub sockets: u32,
    /// Rooms whose home the node is.
    pub rooms: u32,
    /// Peers that came to the node since it started; only ever grows.
    #[serde(default)]
    pub joined: u64,
    /// Counts how often the node said all this. It is said at least once a second, so a node whose count stands still
    /// is not to be trusted with a peer.
    pub said: u64,
}

/// What a worker can still take. Short names, because it is the largest part of what is gossiped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLoad {
    /// Packets a second that are left.
    #[serde(rename = "f")]
    pub free: u64,
    /// Of these, what the rooms that are there are not expected to grow into.
    #[serde(rename = "o")]
    pub open: u64,
    /// Packets a second that are kept for rooms there to go on elsewhere when the worker is full; not for newcomers.
    #[serde(rename = "s")]
    pub spare: u64,
    /// Packets a second when nothing runs.
    #[serde(rename = "t")]
    pub total: u64,
}

impl Load {
    /// How many reference streams fit on each worker.
    pub fn free_streams_by_worker(&self) -> Vec<u32> {
        let by_bits = self.free_bits / REFERENCE.bits;
        let streams = |worker: &WorkerLoad| clamp((worker.free / REFERENCE.packets).min(by_bits));
        self.workers.iter().map(streams).collect()
    }

    /// How many reference streams fit on the node.
    pub fn free_streams(&self) -> u32 {
        let by_packets: u64 = self.workers.iter().map(|worker| worker.free / REFERENCE.packets).sum();
        clamp(by_packets.min(self.free_bits / REFERENCE.bits))
    }

    /// How many fit when nothing runs.
    pub fn total_streams(&self) -> u32 {
        let by_packets: u64 = self.workers.iter().map(|worker| worker.total / REFERENCE.packets).sum();
        clamp(by_packets.min(self.total_bits / REFERENCE.bits))
    }
}

fn clamp(streams: u64) -> u32 {
    u32::try_from(streams).unwrap_or(u32::MAX)
}

/// What a node knows of who leads the mesh. The gossiped value is its JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lead {
    /// The term of the lease that the node holds, or held last. Each holder has a higher one than those before it.
    pub term: u64,
    /// Whether it holds the lease, as far as gossip can say; what depends on it asks the node itself.
    pub holds: bool,
    /// The highest number of a launch that the node has heard of. A number is never used again.
    pub launched: u64,
    /// Whether the mesh can grow: said by the holder.
    pub grows: bool,
    /// In how many seconds those who wait can expect a place: said by the holder.
    pub eta_s: u32,
}

impl Lead {
    /// Whether there will be more room than there is: machines can be launched, or are about to join.
    pub fn promises_room(&self) -> bool {
        self.grows || self.eta_s > 0
    }
}

/// Joins that wait for a machine, at the homes on a node. The gossiped value is its JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// How many.
    pub joins: u32,
    /// What they need together.
    pub cost: Cost,
    /// What the largest room among them needs whose capacity is guaranteed, all of its peers together.
    pub guaranteed: Cost,
}

/// What a node is about to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It starts: it hears the mesh, and takes nothing yet.
    Starting,
    /// It takes rooms and peers.
    #[default]
    Ready,
    /// It keeps what it has and takes nothing new.
    Draining,
    /// It goes, now.
    Leaving,
}
