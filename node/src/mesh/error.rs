//! What can go wrong in the mesh.

use skein_proto::ids::NodeId;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What went wrong. Cheap to clone, so that all who wait for one dial get the same answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeshError {
    /// A certificate or key file cannot be read, or is not what it should be.
    #[error("{key}: {}: {problem}", path.display())]
    File {
        /// The configuration's key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Certificate, key and authority do not make a TLS configuration.
    #[error("mesh.key, mesh.cert, mesh.ca: {0}")]
    Tls(String),
    /// The UDP address cannot be had.
    #[error("mesh.listen: {addr}: {problem}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        problem: String,
    },
    /// Gossip could not start, or died.
    #[error("gossip: {0}")]
    Gossip(String),
    /// A part of the mesh that runs as long as it does has ended on its own.
    #[error("{0} ended on its own")]
    Ended(&'static str),
    /// The mesh is shut down.
    #[error("the mesh is shut down")]
    ShutDown,
    /// The node is not in the mesh, as far as this one knows.
    #[error("{0} is not in the mesh")]
    Unknown(NodeId),
    /// The address cannot be reached, or refuses.
    #[error("{addr} cannot be reached: {problem}")]
    Unreachable {
        /// The address.
        addr: SocketAddr,
        /// Why.
        problem: String,
    },
    /// The connection to the node broke, or the node gave up the stream.
    #[error("stream with {node}: {problem}")]
    Lost {
        /// The other side.
        node: NodeId,
        /// Why.
        problem: String,
    },
    /// The node takes no more streams at the moment.
    #[error("{0} takes no more streams")]
    Busy(NodeId),
    /// The node ended the stream without an answer.
    #[error("{0} did not answer")]
    NoAnswer(NodeId),
    /// No answer in time. Whether the question arrived is not known.
    #[error("{node} did not answer within {deadline:?}")]
    Deadline {
        /// Who was asked.
        node: NodeId,
        /// How long it had.
        deadline: Duration,
    },
    /// The value does not fit a frame. Nothing was sent.
    #[error("frame for {node}: {problem}")]
    Encode {
        /// Who it was for.
        node: NodeId,
        /// Why.
        problem: String,
    },
    /// The other side sent what is no frame of the kind that was expected. The connection to it was closed.
    #[error("frame from {node}: {problem}")]
    Protocol {
        /// Who sent it.
        node: NodeId,
        /// What is wrong with it.
        problem: String,
    },
}
