//! How fast people come, and what one of them costs.

use super::seen::NodeSeen;
use skein_proto::gossip::Phase;
use skein_proto::ids::NodeId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Over about how long the rate is an average. Longer than a machine boots, as a rule: a crowd that came at once is
/// then not taken for one that goes on coming.
pub const OVER: Duration = Duration::from_secs(300);
/// What one peer costs before any has shown it, in reference streams: three others who send video, and some sound.
const TYPICAL: f64 = 4.0;
/// As many peers of typical cost are counted among those who are there, so that the first few do not decide.
const TYPICAL_PEERS: f64 = 5.0;

/// Joins a second, from what each node says of how many came to it since it started.
#[derive(Debug, Clone, Default)]
pub struct Joins {
    at: Option<Instant>,
    per_second: f64,
    nodes: HashMap<NodeId, (u64, u32)>,
    uncounted: f64,
    moved: f64,
}

impl Joins {
    /// Takes in what the nodes say now.
    pub fn see(&mut self, now: Instant, nodes: &[NodeSeen]) {
        let (mut came, mut draining) = (0, false);
        let mut moved = 0;
        for node in nodes {
            let before = self.nodes.insert(node.id.clone(), (node.joined, node.peers));
            // Of a node that is new to this leader nobody knows when those came who are there.
            let Some((joined, peers)) = before else { continue };
            // A node that counts less than it did has started again, from nothing.
            came += node.joined.checked_sub(joined).unwrap_or(node.joined);
            if node.phase == Phase::Draining {
                draining = true;
                moved += peers.saturating_sub(node.peers);
            }
        }
        self.nodes.retain(|id, _| nodes.iter().any(|node| node.id == *id));
        // Who moves from a draining node to another comes to that one, and nobody has come to the mesh.
        self.moved = if draining { self.moved + f64::from(moved) } else { 0.0 };
        let came = came as f64;
        let back = came.min(self.moved);
        self.moved -= back;
        self.uncounted += came - back;

        let Some(before) = self.at else {
            self.at = Some(now);
            return;
        };
        let passed = now.saturating_duration_since(before).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let weight = 1.0 - (-passed / OVER.as_secs_f64()).exp();
        self.per_second += (self.uncounted / passed - self.per_second) * weight;
        self.uncounted = 0.0;
        self.at = Some(now);
    }

    /// How many came a second, on average over the last few minutes.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }
}

/// What one peer costs on average, in reference streams.
pub fn cost_per_peer(nodes: &[NodeSeen]) -> f64 {
    let known = nodes.iter().filter(|node| node.trusted());
    let (used, peers) = known.fold((0.0, 0.0), |(used, peers), node| {
        (used + f64::from(node.used()), peers + f64::from(node.peers))
    });
    (used + TYPICAL * TYPICAL_PEERS) / (peers + TYPICAL_PEERS)
}
