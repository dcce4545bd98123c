//! How nodes get their certificates: a new machine asks with a token, a node of the mesh for itself.

use crate::ids::NodeId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// ALPN of a connection on which a machine without a certificate asks for one. The client opens one bi-directional
/// stream and sends one [`EnrolRequest`]; the answer is one [`EnrolReply`].
pub const ENROL_ALPN: &[u8] = b"skein-enrol/1";

/// Largest [`EnrolRequest`] or [`EnrolReply`] on the wire, bytes. Both are under a kilobyte with the keys that Skein
/// makes.
pub const MAX_ENROL_BYTES: usize = 16 * 1024;

/// A machine without a certificate asks for one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The mesh.
    pub mesh: String,
    /// The node that the machine is to be.
    pub node: NodeId,
    /// What lets it in.
    pub token: String,
    /// Its certificate signing request (PKCS #10), DER. Only the public key in it counts.
    pub request: Vec<u8>,
}

// By hand, so that no token reaches a log.
impl fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolRequest")
            .field("mesh", &self.mesh)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Answer to an [`EnrolRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolReply {
    /// The certificate, PEM.
    Signed(String),
    /// There is none.
    Refused(EnrolRefusal),
}

/// Why a machine gets no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EnrolRefusal {
    /// Another mesh.
    Mesh,
    /// The token is not one that the mesh's secret makes for that node, or it is too old. Said of all of these, so
    /// that nobody learns how near a guess was.
    Token,
    /// The request cannot be read, or is not signed by the key that it is for.
    Request,
    /// The token is for a launched machine, and this mesh launches none.
    NoCloud,
    /// The cloud does not list a machine of that number that runs, or does not say when it was launched.
    Machine,
    /// The machine was launched too long ago.
    Window,
    /// The request does not come from the machine's address.
    Address,
    /// A node of that name is in the mesh.
    Alive,
    /// The token was used for another key.
    Used,
    /// The cloud or a majority of the voters did not answer.
    Unavailable,
    /// Too many ask, or this address asks too often.
    Busy,
}

impl EnrolRefusal {
    /// Whether asking again, the same or another node, cannot end otherwise.
    pub fn is_final(self) -> bool {
        match self {
            Self::Mesh | Self::Token | Self::Request | Self::NoCloud | Self::Window | Self::Used => true,
            // Clouds tell what they did with a delay.
            Self::Machine | Self::Address | Self::Alive | Self::Unavailable | Self::Busy => false,
        }
    }
}

impl fmt::Display for EnrolRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mesh => "it is another mesh",
            Self::Token => "the token is not for this node of this mesh, or has expired",
            Self::Request => "the certificate request cannot be read",
            Self::NoCloud => "the token is for a launched machine, and this mesh launches none",
            Self::Machine => "the cloud does not list this machine as one that runs",
            Self::Window => "the machine was launched too long ago",
            Self::Address => "the request does not come from the machine's address",
            Self::Alive => "a node of this name is in the mesh",
            Self::Used => "the token was used for another key",
            Self::Unavailable => "the cloud, or a majority of the voters, did not answer",
            Self::Busy => "too many machines ask at once, or this one asks too often",
        })
    }
}

/// A seed is about to sign a certificate for a token; said to the voters, each of which takes one key for each token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    /// SHA-256 of the token.
    pub token: [u8; 32],
    /// SHA-256 of the public key that the certificate is for.
    pub key: [u8; 32],
}
