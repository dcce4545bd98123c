//! Which worker a peer goes to. Pure: no clock, no I/O, randomness as an argument.

use rand::Rng;
use skein_proto::ids::{NodeId, WorkerAddress};

/// What a peer sends unless it says otherwise: a microphone and a camera.
const OWN_STREAMS: u32 = 2;

/// Workers whose free streams differ by less than this share of their size are alike; which of them is chosen is left
/// to chance, so that a burst of joins does not run to one.
const ALIKE: f64 = 0.05;

/// A worker that a peer may go to, as gossip has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The worker.
    pub at: WorkerAddress,
    /// How many streams fit.
    pub free: u32,
    /// How many fit when nothing runs.
    pub total: u32,
}

/// What is to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The node that holds the client's WebSocket.
    pub entry: NodeId,
    /// Whether the peer may send.
    pub publishes: bool,
    /// How many producers the room has.
    pub producers: u32,
}

/// How many streams a join will take on a worker of a node that has `peers_there` peers of the room: what the peer
/// sends, what it receives, and what it sends once more to each of the others there.
pub fn cost(join: &Join, peers_there: u32) -> u32 {
    let own = if join.publishes { OWN_STREAMS } else { 0 };
    own.saturating_add(join.producers).saturating_add(own.saturating_mul(peers_there))
}

/// The workers in the order in which they should be asked.
///
/// Workers that have peers of the room come first, then others of the same nodes, then the freest; with `entry_first`
/// the entry's own come before all of them. Workers that gossip shows as full come last: gossip is old, and only the
/// worker knows.
pub fn shortlist<R: Rng>(
    candidates: &[Candidate],
    in_room: &dyn Fn(&WorkerAddress) -> bool,
    join: &Join,
    price: &dyn Fn(&NodeId) -> u32,
    entry_first: bool,
    rng: &mut R,
) -> Vec<WorkerAddress> {
    let node_in_room =
        |node: &NodeId| candidates.iter().any(|other| other.at.node == *node && in_room(&other.at));
    let mut ranked: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            let full = candidate.free < price(&candidate.at.node);
            let away = entry_first && candidate.at.node != join.entry;
            let distance = if in_room(&candidate.at) {
                0
            } else if node_in_room(&candidate.at.node) {
                1
            } else {
                2
            };
            // Fewer steps of free streams is a higher rank; within a step chance decides.
            let step = (f64::from(candidate.total) * ALIKE).max(1.0);
            let freedom = (f64::from(candidate.free) / step) as u64;
            let rank = (full, away, distance, std::cmp::Reverse(freedom), rng.random::<u32>());
            (rank, candidate.at.clone())
        })
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn worker(node: &str, worker: u16, free: u32) -> Candidate {
        Candidate { at: WorkerAddress { node: node.parse().expect("a name"), worker }, free, total: 100 }
    }

    fn join(entry: &str) -> Join {
        Join { entry: entry.parse().expect("a name"), publishes: true, producers: 2 }
    }

    fn first(
        candidates: &[Candidate],
        room: &[(&str, u16)],
        entry: &str,
        entry_first: bool,
        seed: u64,
    ) -> String {
        let in_room =
            |at: &WorkerAddress| room.iter().any(|(n, w)| at.node.as_str() == *n && at.worker == *w);
        let mut rng = StdRng::seed_from_u64(seed);
        let join = join(entry);
        shortlist(candidates, &in_room, &join, &|_| cost(&join, 1), entry_first, &mut rng)[0].to_string()
    }

    #[test]
    fn the_room_stays_together_while_it_fits() {
        let all = [worker("a", 0, 90), worker("b", 0, 20), worker("b", 1, 80)];
        assert_eq!(first(&all, &[("b", 0)], "a", false, 1), "b/0");
        // Its worker is full: another one of the same node.
        let all = [worker("a", 0, 90), worker("b", 0, 3), worker("b", 1, 80)];
        assert_eq!(first(&all, &[("b", 0)], "a", false, 1), "b/1");
        // Its node is full: the freest.
        let all = [worker("a", 0, 50), worker("b", 0, 3), worker("c", 0, 90)];
        assert_eq!(first(&all, &[("b", 0)], "a", false, 1), "c/0");
    }

    #[test]
    fn entry_comes_first_where_it_is_preferred_and_fits() {
        let all = [worker("a", 0, 50), worker("b", 0, 90)];
        assert_eq!(first(&all, &[("b", 0)], "a", true, 1), "a/0");
        let all = [worker("a", 0, 3), worker("b", 0, 90)];
        assert_eq!(first(&all, &[("b", 0)], "a", true, 1), "b/0");
    }

    #[test]
    fn alike_workers_share_a_burst() {
        let all = [worker("a", 0, 99), worker("b", 0, 97), worker("c", 0, 98)];
        let chosen: std::collections::BTreeSet<_> =
            (0..50).map(|seed| first(&all, &[], "a", false, seed)).collect();
        assert_eq!(chosen.len(), 3);
        assert_eq!(first(&all, &[], "a", false, 7), first(&all, &[], "a", false, 7));
    }

    #[test]
    fn a_join_costs_what_it_sends_receives_and_causes() {
        assert_eq!(cost(&join("a"), 0), 4);
        assert_eq!(cost(&join("a"), 3), 10);
        assert_eq!(cost(&Join { publishes: false, ..join("a") }, 3), 2);
    }
}
