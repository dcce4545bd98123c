//! Seeds that are found while the node runs: by name, and from other sources.

use super::{Shared, limits};
use chitchat::ChitchatHandle;
use skein_bootstrap::seeds::SeedSource;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A source, with what it said last and when.
struct Asked {
    source: Arc<dyn SeedSource>,
    found: BTreeSet<SocketAddr>,
    answered: Option<Instant>,
}

impl Asked {
    /// Who is alone always asks: what a source said before may be why.
    fn is_due(&self, is_alone: bool, now: Instant) -> bool {
        let is_good = |at: Instant| now.duration_since(at) < self.source.good_for();
        is_alone || !self.answered.is_some_and(is_good)
    }
}

impl Shared {
    /// Looks for seeds until the mesh is shut down. What a source said last stays while it says nothing.
    pub(super) async fn find_seeds(self: Arc<Self>, sources: Vec<Arc<dyn SeedSource>>) {
        let mut sources: Vec<_> = sources
            .into_iter()
            .map(|source| Asked { source, found: BTreeSet::new(), answered: None })
            .collect();
        let is_alone = || self.view.borrow().nodes.len() < 2;
        loop {
            for asked in &mut sources {
                if !asked.is_due(is_alone(), Instant::now()) {
                    continue;
                }
                match asked.source.find().await {
                    Ok(addresses) => {
                        asked.found = addresses.into_iter().collect();
                        asked.answered = Some(Instant::now());
                    }
                    Err(problem) => {
                        if self.unfound.first(problem.as_str().into(), Instant::now()) {
                            tracing::warn!(problem, "seeds cannot be looked up");
                        }
                    }
                }
            }
            let all = sources.iter().flat_map(|asked| &asked.found).copied();
            let all: BTreeSet<_> = all.filter(|addr| *addr != self.addr).collect();
            self.found.send_if_modified(|before| {
                let is_new = *before != all;
                if is_new {
                    tracing::debug!(seeds = ?all, "seeds found");
                    *before = all;
                }
                is_new
            });
            tokio::time::sleep(if is_alone() { limits::SEEDS_ALONE } else { limits::SEEDS_KNOWN }).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use std::time::Duration;

    #[derive(Debug)]
    struct Dear;

    #[async_trait]
    impl SeedSource for Dear {
        async fn find(&self) -> Result<Vec<SocketAddr>, String> {
            Ok(Vec::new())
        }

        fn good_for(&self) -> Duration {
            Duration::from_secs(600)
        }
    }

    #[test]
    fn a_source_with_a_price_is_asked_less_by_who_is_not_alone() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut asked = Asked { source: Arc::new(Dear), found: BTreeSet::new(), answered: None };
        assert!(asked.is_due(true, now) && asked.is_due(false, now), "it has said nothing yet");
        asked.answered = Some(now);
        assert!(!asked.is_due(false, at(599)) && asked.is_due(false, at(600)));
        assert!(asked.is_due(true, at(5)));
    }
}
