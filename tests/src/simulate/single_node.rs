//! `single-node`: a room lives on one node, as in LiveKit's open server.
//!
//! What its documents say: with Redis, each node reports its figures every few seconds, and a new room goes to a node
//! chosen at random among those whose load is below a limit (`node_selector`: `sysload_limit` 0.9); when all are above,
//! to any. The room stays there: "a room must fit on a single node". A node refuses who comes when its own limits are
//! reached.
//!
//! Assumed here: figures are 2 s old, those by which a room is placed and those by which a node refuses alike; load is
//! what is spent of the node's budget; a node's limit is its budget; a node refuses at its limit, without counting what
//! the join will cost, so it may go over by a little.

use super::ledger::Ledger;
use super::policy::{Media, MeshSpec, Outcome, PeerKey, Policy, RoomSpec, Sample};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// How often nodes report.
const REFRESH: Duration = Duration::from_secs(2);
/// At this load a node gets no more new rooms.
const NO_MORE_ROOMS: f64 = 0.9;
/// At this load a node refuses.
const FULL: f64 = 1.0;
/// How many nodes are tried at random before all are looked through.
const TRIES: usize = 32;

/// Rooms on one node each.
#[derive(Debug)]
pub struct SingleNode {
    ledger: Ledger,
    rng: StdRng,
    /// Each node's load as last reported.
    reported: Vec<f64>,
    next_report: Duration,
    last_overloads: bool,
}

impl SingleNode {
    /// Over an empty mesh.
    pub fn new(mesh: &MeshSpec, seed: u64) -> Self {
        Self {
            ledger: Ledger::new(mesh),
            rng: StdRng::seed_from_u64(seed),
            reported: vec![0.0; mesh.nodes as usize],
            next_report: REFRESH,
            last_overloads: false,
        }
    }

    /// Makes one for the simulator.
    pub fn make(mesh: &MeshSpec, seed: u64) -> Box<dyn Policy + Send> {
        Box::new(Self::new(mesh, seed))
    }

    fn place(&mut self) -> u32 {
        let nodes = self.reported.len();
        for _ in 0..TRIES {
            let node = self.rng.random_range(0..nodes);
            if self.reported[node] < NO_MORE_ROOMS {
                return node as u32;
            }
        }
        let able: Vec<_> = (0..nodes).filter(|&node| self.reported[node] < NO_MORE_ROOMS).collect();
        let node = match able.len() {
            0 => self.rng.random_range(0..nodes),
            some => able[self.rng.random_range(0..some)],
        };
        node as u32
    }
}

impl Policy for SingleNode {
    fn name(&self) -> &'static str {
        "single-node"
    }

    fn advance(&mut self, now: Duration) {
        if now < self.next_report {
            return;
        }
        for node in 0..self.reported.len() {
            self.reported[node] = self.ledger.load(node as u32);
        }
        self.next_report = now + REFRESH;
    }

    fn join(&mut self, _: Duration, _: &RoomSpec, peer: PeerKey, media: Media) -> Outcome {
        let begun = self.ledger.parts(peer.room).first().map(|part| part.node);
        let node = begun.unwrap_or_else(|| self.place());
        if self.reported[node as usize] >= FULL {
            return Outcome::Refused { reason: "the room's node is full" };
        }
        self.ledger.add(peer, media, node);
        self.last_overloads = self.ledger.is_over(node);
        Outcome::Admitted { waited: Duration::ZERO }
    }

    fn leave(&mut self, _: Duration, peer: PeerKey) {
        self.ledger.remove(peer);
    }

    fn change(&mut self, _: Duration, peer: PeerKey, media: Media) {
        self.ledger.change(peer, media);
    }

    fn sample(&self) -> Sample {
        self.ledger.sample()
    }

    fn last_join_overloads(&self) -> Option<bool> {
        Some(self.last_overloads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: RoomSpec = RoomSpec { mode: super::super::policy::Mode::Stage, size: 100 };

    fn join(policy: &mut SingleNode, second: u64, room: u32, peer: u32) -> Outcome {
        let now = Duration::from_secs(second);
        policy.advance(now);
        let media = if peer == 0 { Media::BOTH } else { Media::NOTHING };
        policy.join(now, &SPEC, PeerKey { room, peer }, media)
    }

    #[test]
    fn a_room_stays_on_its_node_and_is_refused_there_when_others_are_empty() {
        let mut policy = SingleNode::new(&MeshSpec::of_streams(4, 1, 40), 7);
        let outcomes: Vec<_> = (0..60).map(|peer| join(&mut policy, 2 * u64::from(peer), 1, peer)).collect();
        let admitted = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Admitted { .. })).count();
        // 40 streams are 6,800 packets: 31 listeners of 220 are over it, and 32 are in with the presenter.
        assert_eq!(admitted, 32);
        assert!(matches!(outcomes[59], Outcome::Refused { .. }));
        assert_eq!(policy.ledger.parts(1).len(), 1);
        assert_eq!(policy.sample().piped, 0);
        assert!(matches!(join(&mut policy, 200, 2, 0), Outcome::Admitted { .. }), "other nodes are empty");
    }

    #[test]
    fn figures_that_are_old_let_too_many_in() {
        let mut policy = SingleNode::new(&MeshSpec::of_streams(4, 1, 40), 7);
        for peer in 0..60 {
            assert!(matches!(join(&mut policy, 0, 1, peer), Outcome::Admitted { .. }));
        }
        assert_eq!(policy.sample().over, 1);
        assert_eq!(policy.last_join_overloads(), Some(true));
    }
}
