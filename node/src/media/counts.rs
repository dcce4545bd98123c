//! How many of each thing a node holds. Whoever holds a thing holds its [`Counted`] too, so that the counts are true
//! however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many of each thing a node holds.
#[derive(Debug, Default)]
pub struct Counts {
    /// Routers.
    pub routers: AtomicU32,
    /// WebRTC transports.
    pub transports: AtomicU32,
    /// Ends of pipes.
    pub pipe_transports: AtomicU32,
    /// Producers of own peers.
    pub producers: AtomicU32,
    /// Consumers of own peers.
    pub consumers: AtomicU32,
    /// Data producers of own peers.
    pub data_producers: AtomicU32,
    /// Data consumers of own peers.
    pub data_consumers: AtomicU32,
    /// Data producers that come in from other workers and nodes.
    pub data_pipes: AtomicU32,
    /// Sessions.
    pub sessions: AtomicU32,
    /// WebSockets.
    pub sockets: AtomicU32,
    /// Sessions since the node started, those that ended too.
    pub joined: AtomicU64,
}

impl Counts {
    /// Counts one more, until the answer is dropped.
    pub fn hold(self: &Arc<Self>, field: fn(&Self) -> &AtomicU32) -> Counted {
        field(self).fetch_add(1, Ordering::Relaxed);
        Counted { counts: Arc::clone(self), field }
    }
}

/// One of the things that are counted.
#[derive(Debug)]
pub struct Counted {
    counts: Arc<Counts>,
    field: fn(&Counts) -> &AtomicU32,
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.field)(&self.counts).fetch_sub(1, Ordering::Relaxed);
    }
}
