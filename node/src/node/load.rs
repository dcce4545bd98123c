//! What the node says of its capacity: when it changed, but not too often, and now and then anyway, so that others can
//! tell old figures from new ones.

use crate::media::health::Health;
use crate::mesh::Mesh;
use crate::placement::ledger::Figures;
use crate::room::{Homes, Rooms};
use skein_proto::gossip::{Load, WorkerLoad};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the load is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often a small change is said at most.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often the load is said at least.
const AT_LEAST: Duration = Duration::from_secs(1);
/// A change of free capacity that is said at once: one part in so many of all there is.
const LARGE: u64 = 10;

/// Says what the node can still take.
pub(super) struct Gossiper {
    mesh: Mesh,
    rooms: Arc<Rooms>,
    homes: Arc<Homes>,
    said: Load,
    at: Instant,
}

impl Gossiper {
    /// Says it for the first time.
    pub(super) fn new(mesh: Mesh, rooms: Arc<Rooms>, homes: Arc<Homes>) -> Self {
        let now = Instant::now();
        let mut gossiper = Self { mesh, rooms, homes, said: Load::default(), at: now };
        let load = gossiper.load(now);
        gossiper.say(load, now);
        gossiper
    }

    /// Says it until it is cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let now = Instant::now();
            let load = self.load(now);
            if is_due(&self.said, &load, now.duration_since(self.at)) {
                self.say(load, now);
            }
        }
    }

    fn say(&mut self, mut load: Load, now: Instant) {
        load.said = self.said.said + 1;
        self.mesh.set_load(&load);
        self.said = load;
        self.at = now;
    }

    fn load(&self, now: Instant) -> Load {
        let workers = &self.rooms.context().workers;
        let accounts = workers.accounts();
        let figures: Vec<_> = workers.iter().map(|worker| accounts.figures(worker.index(), now)).collect();
        let (free_bits, _, total_bits) = accounts.bits();
        let over = |(index, figures): (usize, &Figures)| {
            (figures.used > figures.total).then(|| u16::try_from(index).unwrap_or(u16::MAX))
        };
        Load {
            workers: figures
                .iter()
                .map(|f| WorkerLoad { free: f.free, open: f.open, spare: f.spare, total: f.total })
                .collect(),
            over: figures.iter().enumerate().filter_map(over).collect(),
            free_bits,
            total_bits,
            peers: workers.counts().sessions.load(Ordering::Relaxed),
            sockets: workers.counts().sockets.load(Ordering::Relaxed),
            rooms: u32::try_from(self.homes.len()).unwrap_or(u32::MAX),
            joined: workers.counts().joined.load(Ordering::Relaxed),
            said: self.said.said,
        }
    }
}

/// Takes nothing more on workers that are too busy, whatever their books say, and raises an alarm; until it is cancelled.
pub(super) async fn heed(mut health: watch::Receiver<Health>, rooms: Arc<Rooms>, cancel: CancellationToken) {
    let mut closed = Vec::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = health.changed() => if changed.is_err() { return },
        }
        let workers = health.borrow_and_update().workers.clone();
        closed.resize(workers.len(), false);
        for ((worker, health), was) in (0_u16..).zip(workers).zip(&mut closed) {
            if health.closed == *was {
                continue;
            }
            *was = health.closed;
            rooms.context().workers.accounts().close(worker, health.closed);
            if health.closed {
                tracing::warn!(worker, cpu = health.cpu, "a worker is too busy: it takes no more peers");
            } else {
                tracing::info!(worker, cpu = health.cpu, "a worker takes peers again");
            }
        }
    }
}

/// Whether a load is to be said, when another one was said so long ago.
fn is_due(said: &Load, now: &Load, ago: Duration) -> bool {
    if ago >= AT_LEAST {
        return true;
    }
    let large = now.workers.len() != said.workers.len()
        || now
            .workers
            .iter()
            .zip(&said.workers)
            .any(|(now, said)| now.free.abs_diff(said.free) * LARGE > now.total)
        || now.free_bits.abs_diff(said.free_bits) > now.total_bits / LARGE;
    large || (ago >= INTERVAL && now != said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(free: u64) -> Load {
        Load { workers: vec![WorkerLoad { free, open: free, spare: 0, total: 1000 }], ..Load::default() }
    }

    #[test]
    fn large_changes_are_said_at_once_small_ones_later_and_the_rest_once_a_second() {
        let ms = Duration::from_millis;
        assert!(is_due(&load(1000), &load(899), ms(0)));
        assert!(!is_due(&load(1000), &load(900), ms(400)));
        assert!(is_due(&load(1000), &load(900), ms(500)));
        assert!(!is_due(&load(1000), &load(1000), ms(900)));
        assert!(is_due(&load(1000), &load(1000), ms(1000)));
    }
}
