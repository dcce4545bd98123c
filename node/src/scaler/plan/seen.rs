//! What the leader sees before it plans.

use crate::scaler::cloud::{CloudError, MachineState};
use skein_proto::gossip::Phase;
use skein_proto::ids::NodeId;
use std::fmt;
use std::time::Duration;

/// Figures that have not changed for so long are old: a node says them at least once a second.
pub const OLD: Duration = Duration::from_secs(10);

/// What is known now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// The nodes that gossip knows and that are not dead, the leader's own among them.
    pub nodes: Vec<NodeSeen>,
    /// The cloud's list of this mesh's machines; none where it could not be had whole and fresh.
    pub machines: Option<Vec<MachineSeen>>,
    /// What the leader asked for and no list has shown yet. It stays here until a list does, or the call has failed
    /// for certain.
    pub flights: Vec<Flight>,
    /// Those who wait, at all homes together.
    pub queue: Queued,
    /// The highest number of a launch that anybody has heard of; 0 before the first.
    pub launched: u64,
}

/// A node, as gossip tells.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSeen {
    /// Its name.
    pub id: NodeId,
    /// The launch that it came from. A node without one is a seed or was made by hand: it counts, and stays.
    pub number: Option<u64>,
    /// The name of its type, where it is known.
    pub kind: Option<String>,
    /// What it is about to do.
    pub phase: Phase,
    /// How many more reference streams fit.
    pub free: u32,
    /// How many fit when nothing runs.
    pub total: u32,
    /// Peers whose transports are there.
    pub peers: u32,
    /// Rooms whose home it is.
    pub rooms: u32,
    /// Peers that came to it since it started.
    pub joined: u64,
    /// Since when its figures are the same, by how often it said them.
    pub figures_age: Duration,
    /// Whether gossip or its connection doubts that it is there.
    pub suspect: bool,
}

impl NodeSeen {
    /// Whether what it says of itself can be relied upon.
    pub fn trusted(&self) -> bool {
        // One that was launched to carry something and carries nothing has not said yet what it can.
        !self.suspect && self.figures_age < OLD && (self.total > 0 || self.number.is_none())
    }

    /// What runs on it, in reference streams.
    pub fn used(&self) -> u32 {
        self.total.saturating_sub(self.free)
    }
}

/// A machine, as the cloud lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineSeen {
    /// The number of its launch.
    pub number: u64,
    /// The name of its type.
    pub kind: String,
    /// How it is.
    pub state: MachineState,
    /// Since it was launched, or started last.
    pub age: Duration,
    /// Since gossip last heard of its node; nothing where it is there, and nothing known where this leader never
    /// heard of it.
    pub last_in_gossip: Option<Duration>,
}

/// A machine that was asked for and is not listed yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Flight {
    /// The number of its launch.
    pub number: u64,
    /// The name of its type.
    pub kind: String,
    /// Since it was asked for.
    pub age: Duration,
}

/// Joins that wait for a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queued {
    /// How many.
    pub joins: u32,
    /// What they need together, in reference streams, rounded up.
    pub streams: u32,
    /// What the largest room among them needs whose capacity is guaranteed, in reference streams, rounded up.
    pub guaranteed: u32,
}

/// Why a launch or start did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// There is no such machine in that zone now.
    Capacity,
    /// The cloud is asked too often, or does not answer.
    Busy,
    /// The call is wrong or not allowed.
    Refused,
    /// The number was used for something else.
    Taken,
}

impl From<&CloudError> for Failure {
    fn from(error: &CloudError) -> Self {
        match error {
            CloudError::NoCapacity(_) => Self::Capacity,
            CloudError::Throttled(_) | CloudError::Unreachable(_) | CloudError::Unknown(_) => Self::Busy,
            CloudError::Refused(_) | CloudError::NotOurs(_) => Self::Refused,
            CloudError::Taken(_) | CloudError::UsedUp(_) => Self::Taken,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capacity => "no such machine is to be had there",
            Self::Busy => "the cloud is busy or out of reach",
            Self::Refused => "the cloud refuses the call",
            Self::Taken => "the number is taken",
        })
    }
}
