//! The keys and values that a node gossips about itself. Nothing per stream or per peer is gossiped.

use serde::{Deserialize, Serialize};

/// Key of [`Facts`]: what hardly ever changes.
pub const FACTS: &str = "facts";
/// Key of [`Load`]: what changes all the time.
pub const LOAD: &str = "load";
/// Key of [`Phase`].
pub const PHASE: &str = "phase";

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
    /// Free streams of each worker.
    pub free: Vec<u32>,
    /// Streams of each worker when nothing runs.
    pub total: Vec<u32>,
    /// Peers whose transports are on the node.
    pub peers: u32,
    /// Rooms whose home the node is.
    pub rooms: u32,
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
