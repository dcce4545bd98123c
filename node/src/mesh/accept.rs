//! Who connects to this node.

use super::counters::count;
use super::hello::NoLink;
use super::{MeshError, Shared, limits};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

impl Shared {
    /// Accepts connections until the end. Handshakes run in tasks of their own, a bounded number of them.
    pub(super) async fn accept_connections(self: Arc<Self>) {
        let handshakes = Arc::new(AtomicUsize::new(0));
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                () = self.cancel.cancelled() => return,
            };
            let Some(incoming) = incoming else {
                return self.fail(MeshError::Ended("the QUIC endpoint"));
            };
            let under_way = handshakes.load(Relaxed);
            if under_way >= limits::HANDSHAKES {
                count(&self.counters.connections_refused);
                incoming.refuse();
                continue;
            }
            if under_way >= limits::HANDSHAKES_BEFORE_RETRY && incoming.may_retry() {
                // Fails only where a retry may not be sent, which was just asked.
                let _ = incoming.retry();
                continue;
            }
            handshakes.fetch_add(1, Relaxed);
            let (shared, handshakes) = (self.clone(), handshakes.clone());
            self.spawn(async move {
                shared.accept_one(incoming).await;
                handshakes.fetch_sub(1, Relaxed);
            });
        }
    }

    async fn accept_one(self: &Arc<Self>, incoming: quinn::Incoming) {
        let remote = super::hello::canonical(incoming.remote_address());
        let outcome = match incoming.accept() {
            Ok(connecting) => self.welcome(connecting).await,
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(()) => {}
            Err(NoLink::Refused(refused)) => self.refused(remote, refused),
            Err(NoLink::Lost(problem)) => {
                tracing::debug!(%remote, problem, "connection lost before its hello")
            }
        }
    }
}
