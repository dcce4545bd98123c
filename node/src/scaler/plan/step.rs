//! What a plan consists of.

use skein_proto::ids::NodeId;
use std::fmt;

/// What is to be done next, and what those who wait can be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What is to be done, in this order. Often nothing.
    pub steps: Vec<Step>,
    /// In how many seconds those who wait can expect a machine.
    pub eta_s: u32,
    /// Whether there will be room for those who come now and find none: a machine is on its way that those who wait
    /// do not fill, or another can be launched.
    pub grows: bool,
    /// What an operator has to look at.
    pub alarm: Option<String>,
    /// Why not more is done.
    pub reasons: Vec<String>,
    /// How many reference streams should be free or on their way.
    pub wanted: u32,
    /// How many are free on nodes that can be trusted with them.
    pub free: u32,
    /// How many are on their way, on machines that boot.
    pub booting: u32,
}

/// One thing to do, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Launch a machine.
    Launch {
        /// The number of the launch; type and zone follow from it.
        number: u64,
        /// The name of its type.
        kind: String,
        /// The index of its zone.
        zone: u64,
        /// Why.
        reason: String,
    },
    /// Start a stopped machine.
    Start {
        /// The number of its launch.
        number: u64,
        /// The name of its type.
        kind: String,
        /// Why.
        reason: String,
    },
    /// Have a node take nothing new and move its peers away.
    Drain {
        /// The node.
        node: NodeId,
        /// The number of its launch.
        number: u64,
        /// Why.
        reason: String,
    },
    /// Have a draining node take peers again.
    Undrain {
        /// The node.
        node: NodeId,
        /// The number of its launch.
        number: u64,
        /// Why.
        reason: String,
    },
    /// Terminate the machine of a node that was drained.
    Retire {
        /// The number of its launch.
        number: u64,
        /// Why.
        reason: String,
    },
    /// Stop the machine of a node that was drained, to start it again later.
    Stop {
        /// The number of its launch.
        number: u64,
        /// Why.
        reason: String,
    },
    /// Terminate a machine that is no node, or no longer.
    Terminate {
        /// The number of its launch.
        number: u64,
        /// Why.
        reason: String,
    },
}

impl Step {
    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Self::Launch { reason, .. }
            | Self::Start { reason, .. }
            | Self::Drain { reason, .. }
            | Self::Undrain { reason, .. }
            | Self::Retire { reason, .. }
            | Self::Stop { reason, .. }
            | Self::Terminate { reason, .. } => reason,
        }
    }

    /// The number of the launch that it is about.
    pub fn number(&self) -> u64 {
        match self {
            Self::Launch { number, .. }
            | Self::Start { number, .. }
            | Self::Drain { number, .. }
            | Self::Undrain { number, .. }
            | Self::Retire { number, .. }
            | Self::Stop { number, .. }
            | Self::Terminate { number, .. } => *number,
        }
    }

    /// Whether there will be more that takes peers.
    pub fn grows(&self) -> bool {
        matches!(self, Self::Launch { .. } | Self::Start { .. } | Self::Undrain { .. })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launch { number, kind, .. } => write!(f, "launch {number} ({kind})")?,
            Self::Start { number, kind, .. } => write!(f, "start {number} ({kind})")?,
            Self::Drain { node, .. } => write!(f, "drain {node}")?,
            Self::Undrain { node, .. } => write!(f, "undrain {node}")?,
            Self::Retire { number, .. } => write!(f, "retire {number}")?,
            Self::Stop { number, .. } => write!(f, "stop {number}")?,
            Self::Terminate { number, .. } => write!(f, "terminate {number}")?,
        }
        write!(f, ": {}", self.reason())
    }
}
