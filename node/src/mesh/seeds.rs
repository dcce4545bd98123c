//! Seeds that are found while the node runs: by name, and from other sources.

use super::{Shared, limits};
use chitchat::ChitchatHandle;
use skein_bootstrap::seeds::SeedSource;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

impl Shared {
    /// Looks for seeds until the mesh is shut down. What a source said last stays while it says nothing.
    pub(super) async fn find_seeds(self: Arc<Self>, sources: Vec<Arc<dyn SeedSource>>) {
        let mut found = vec![BTreeSet::new(); sources.len()];
        loop {
            for (source, found) in sources.iter().zip(&mut found) {
                match source.find().await {
                    Ok(addresses) => *found = addresses.into_iter().collect(),
                    Err(problem) => {
                        if self.unfound.first(problem.as_str().into(), Instant::now()) {
                            tracing::warn!(problem, "seeds cannot be looked up");
                        }
                    }
                }
            }
            let all: BTreeSet<_> =
                found.iter().flatten().copied().filter(|addr| *addr != self.addr).collect();
            self.found.send_if_modified(|before| {
                let is_new = *before != all;
                if is_new {
                    tracing::debug!(seeds = ?all, "seeds found");
                    *before = all;
                }
                is_new
            });
            let is_alone = self.view.borrow().nodes.len() < 2;
            tokio::time::sleep(if is_alone { limits::SEEDS_ALONE } else { limits::SEEDS_KNOWN }).await;
        }
    }

    /// Gossips with the seeds that were found and are not connected. chitchat knows only those of the configuration.
    pub(super) fn greet_found(&self, gossip: &ChitchatHandle) {
        for addr in self.found.borrow().iter().filter(|addr| self.peers.at(**addr).is_none()) {
            // Fails only when gossip has ended, which is noticed elsewhere.
            let _ = gossip.gossip(*addr);
        }
    }
}
