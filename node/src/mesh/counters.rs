//! What the mesh counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the mesh counts since its start. All only grow, except `connections`.
        #[derive(Debug, Default)]
        pub struct MeshCounters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl MeshCounters {
            /// All of them as they are now, by name.
            pub fn read(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Gossip messages that arrived and were understood.
    gossip_messages_in,
    /// Gossip messages that were handed to a connection.
    gossip_messages_out,
    /// Gossip messages, in or out, that were given up: a full queue, an address that cannot be reached, too late.
    gossip_dropped,
    /// Gossip messages and gossiped values that could not be read.
    gossip_decode_errors,
    /// Frames that could not be read, or that had no place where they came.
    rpc_decode_errors,
    /// Frames and gossip messages from others that were over the limit.
    frames_too_large,
    /// Connections that one of the two sides refused: authority, name, mesh, version, generation, or no hello.
    connections_refused,
    /// Connections that were dialled and not reached.
    dials_failed,
    /// Streams that this node opened, to others and to itself.
    streams_opened,
    /// Streams that others and this node opened here.
    streams_accepted,
    /// Streams that were given up before the program saw them: no first frame in time, or a full queue.
    streams_refused,
    /// Machines that enrolled through this node.
    enrolments_signed,
    /// Requests of machines to enrol that this node refused.
    enrolments_refused,
    /// Connections that are up now. Not a sum but a gauge.
    connections,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Takes one from a gauge.
pub(super) fn uncount(gauge: &AtomicU64) {
    gauge.fetch_sub(1, Relaxed);
}
