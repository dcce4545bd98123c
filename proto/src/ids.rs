//! Names of things: rooms, peers, nodes, workers, sessions, and mediasoup's entities.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use ts_rs::TS;

/// Longest room, peer or node name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// Why a name that came from outside is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// A character other than letters, digits and `-_.~@:+`.
    #[error("has the character {0:?}; letters, digits and -_.~@:+ are allowed")]
    Character(char),
}

fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    match name.chars().find(|c| !(c.is_alphanumeric() || "-_.~@:+".contains(*c))) {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, TS)]
        #[ts(type = "string")]
        // Shared: placement copies names far more often than it makes them.
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                check_name(name)?;
                Ok(Self(name.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        // By hand, so that no name enters without the check, whichever wire it comes from.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                check_name(&name).map_err(|e| serde::de::Error::custom(format!("the name {name:?} {e}")))?;
                Ok(Self(name.into()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name! {
    /// A room, as clients name it.
    RoomId
}
name! {
    /// A peer within a room, as clients name it. Peers are named by (room id, peer id).
    PeerId
}
name! {
    /// A node, as its certificate names it.
    NodeId
}

macro_rules! entity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, TS)]
        #[serde(transparent)]
        #[ts(type = "string")]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

entity! {
    /// A WebRTC transport.
    TransportId
}
entity! {
    /// A producer; the same id on every router it is piped to.
    ProducerId
}
entity! {
    /// A consumer.
    ConsumerId
}
entity! {
    /// A data producer; the same id for clients on every node.
    DataProducerId
}
entity! {
    /// A data consumer.
    DataConsumerId
}

/// One connection of a peer to a room. A peer that connects again has a new session, and the newest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId {
    /// When the home admitted it, milliseconds since 1970 on the home's clock. First, so that sessions order by age.
    pub admitted_ms: u64,
    /// Random, to tell apart two that were admitted in the same millisecond.
    pub nonce: u64,
}

impl SessionId {
    /// What a place is kept under for somebody who has not come there yet.
    pub fn nobody(nonce: u64) -> Self {
        Self { admitted_ms: 0, nonce }
    }

    /// Whether it is that of somebody who has not come yet.
    pub fn is_nobody(&self) -> bool {
        self.admitted_ms == 0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:016x}", self.admitted_ms, self.nonce)
    }
}

/// A worker of a node: what placement chooses, and what a pipe connects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerAddress {
    /// The node.
    pub node: NodeId,
    /// Index of the worker on the node, from 0.
    pub worker: u16,
}

impl fmt::Display for WorkerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!("".parse::<RoomId>(), Err(NameError::Empty));
        assert_eq!("a b".parse::<RoomId>(), Err(NameError::Character(' ')));
        assert_eq!("x".repeat(129).parse::<PeerId>(), Err(NameError::TooLong));
        assert!("Überraum-1".parse::<RoomId>().is_ok());
        assert!(serde_json::from_str::<RoomId>("\"a/b\"").is_err());
    }

    #[test]
    fn a_later_session_is_greater() {
        let old = SessionId { admitted_ms: 1, nonce: 9 };
        let new = SessionId { admitted_ms: 2, nonce: 0 };
        assert!(new > old);
    }
}
