//! Workloads: what happens in a mesh, one event after the other.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`script`] | all that happens in one generated room |
//! | [`generator`] | rooms that begin one after the other, their events merged in the order of time |
//! | [`named`] | the workloads there are, by name |
//! | [`csv`] | workloads out of files |

pub mod csv;
pub mod generator;
pub mod named;
pub mod script;

use super::policy::{Media, PeerKey, RoomSpec};
use std::time::Duration;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When, from the workload's beginning.
    pub at: Duration,
    /// To whom.
    pub peer: PeerKey,
    /// What.
    pub kind: EventKind,
}

/// What can happen to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It wants to join.
    Join {
        /// Its room.
        room: RoomSpec,
        /// What it sends at first.
        media: Media,
    },
    /// It leaves.
    Leave,
    /// It mutes, unmutes, is promoted or put back, and sends this from now on.
    Change(Media),
}

/// Events in the order of time.
pub type Events<'a> = Box<dyn Iterator<Item = Event> + Send + 'a>;
