//! `least-stress`: each join goes to the bridge under the least stress, as in Jitsi's jicofo.
//!
//! What its documents say: bridges report their stress, 1 being full, every few seconds; jicofo adds a fixed stress
//! (`average-participant-stress` 0.01) for each participant it has sent there in the last 20 s
//! (`participant-rampup-interval`). A bridge is overloaded from 0.8 on (`stress-threshold`), and for one conference
//! when it has 80 of its participants (`max-bridge-participants`). With bridges of one region, a participant goes to
//! the least loaded of, in this order: the conference's bridges that are not overloaded; all that are not overloaded;
//! the conference's; all. Bridges of one conference relay to each other.
//!
//! Assumed here: stress is what is spent of the node's budget, told every 5 s; nobody moves (`load-redistribution` is
//! off unless asked for). Nobody is ever refused, so that this policy has no efficiency, and what it seems to deliver
//! above the budget of its nodes would not arrive.

use super::ledger::Ledger;
use super::policy::{Media, MeshSpec, Outcome, PeerKey, Policy, RoomSpec, Sample};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// How often bridges report.
const REFRESH: Duration = Duration::from_secs(5);
/// For how long a participant counts as recent.
const RECENT: Duration = Duration::from_secs(20);
/// Stress is counted in millionths, so that it can be put in order.
const ONE: f64 = 1e6;
/// What a recent participant adds.
const PARTICIPANT: u64 = 10_000;
/// From here on a bridge is overloaded.
const OVERLOADED: u64 = 800_000;
/// With so many participants of one conference a bridge is overloaded for this conference.
const MOST_OF_ONE: u64 = 80;

/// A bridge as jicofo sees it.
#[derive(Debug, Clone, Copy, Default)]
struct Bridge {
    reported: u64,
    recent: u64,
}

impl Bridge {
    const fn stress(&self) -> u64 {
        self.reported + self.recent * PARTICIPANT
    }
}

/// Participants on the bridge under the least stress.
#[derive(Debug)]
pub struct LeastStress {
    ledger: Ledger,
    bridges: Vec<Bridge>,
    /// The bridges in the order of their stress.
    order: BTreeSet<(u64, u32)>,
    recent: VecDeque<(Duration, u32)>,
    next_report: Duration,
    last_overloads: bool,
}

impl LeastStress {
    /// Over an empty mesh.
    pub fn new(mesh: &MeshSpec) -> Self {
        Self {
            ledger: Ledger::new(mesh),
            bridges: vec![Bridge::default(); mesh.nodes as usize],
            order: (0..mesh.nodes).map(|node| (0, node)).collect(),
            recent: VecDeque::new(),
            next_report: REFRESH,
            last_overloads: false,
        }
    }

    /// Makes one for the simulator. Nothing here is random.
    pub fn make(mesh: &MeshSpec, _: u64) -> Box<dyn Policy + Send> {
        Box::new(Self::new(mesh))
    }

    fn update(&mut self, node: u32, change: impl FnOnce(&mut Bridge)) {
        let bridge = &mut self.bridges[node as usize];
        let before = bridge.stress();
        change(bridge);
        let after = bridge.stress();
        if before != after {
            self.order.remove(&(before, node));
            self.order.insert((after, node));
        }
    }

    fn select(&self, room: u32) -> Option<u32> {
        let own = self.ledger.parts(room);
        let stress = |node: u32| self.bridges[node as usize].stress();
        let able = own.iter().filter(|part| stress(part.node) < OVERLOADED && part.tally.peers < MOST_OF_ONE);
        if let Some(part) = able.min_by_key(|part| (stress(part.node), part.node)) {
            return Some(part.node);
        }
        let full_of_it =
            |node: u32| own.iter().any(|part| part.node == node && part.tally.peers >= MOST_OF_ONE);
        let mut calm = self.order.iter().take_while(|(stress, _)| *stress < OVERLOADED);
        if let Some(&(_, node)) = calm.find(|(_, node)| !full_of_it(*node)) {
            return Some(node);
        }
        let least = own.iter().map(|part| part.node).min_by_key(|&node| (stress(node), node));
        least.or_else(|| self.order.first().map(|&(_, node)| node))
    }
}

impl Policy for LeastStress {
    fn name(&self) -> &'static str {
        "least-stress"
    }

    fn advance(&mut self, now: Duration) {
        while let Some(&(since, node)) = self.recent.front()
            && since + RECENT <= now
        {
            self.recent.pop_front();
            self.update(node, |bridge| bridge.recent -= 1);
        }
        if now >= self.next_report {
            for node in 0..self.bridges.len() as u32 {
                let reported = (self.ledger.load(node) * ONE) as u64;
                self.update(node, |bridge| bridge.reported = reported);
            }
            self.next_report = now + REFRESH;
        }
    }

    fn join(&mut self, now: Duration, _: &RoomSpec, peer: PeerKey, media: Media) -> Outcome {
        let Some(node) = self.select(peer.room) else { return Outcome::Refused { reason: "no bridge" } };
        self.ledger.add(peer, media, node);
        self.recent.push_back((now, node));
        self.update(node, |bridge| bridge.recent += 1);
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
    use crate::simulate::policy::Mode;

    fn join(policy: &mut LeastStress, second: u64, room: u32, peer: u32, media: Media) {
        let now = Duration::from_secs(second);
        policy.advance(now);
        let spec = RoomSpec { mode: Mode::Conference, size: 1000 };
        let outcome = policy.join(now, &spec, PeerKey { room, peer }, media);
        assert_eq!(outcome, Outcome::Admitted { waited: Duration::ZERO }, "nobody is refused");
    }

    #[test]
    fn recent_participants_count_before_bridges_report_them() {
        let mut policy = LeastStress::new(&MeshSpec::of_streams(3, 1, 1000));
        for room in 0..3 {
            join(&mut policy, 0, room, 0, Media::BOTH);
        }
        let mut nodes: Vec<_> = (0..3).map(|room| policy.ledger.parts(room)[0].node).collect();
        nodes.sort_unstable();
        assert_eq!(nodes, [0, 1, 2]);
        policy.advance(Duration::from_secs(20));
        assert!(policy.bridges.iter().all(|bridge| bridge.recent == 0), "and no longer when it does");
    }

    #[test]
    fn a_conference_stays_together_until_its_bridge_is_overloaded() {
        let mut policy = LeastStress::new(&MeshSpec::of_streams(2, 1, 10_000));
        for peer in 0..81 {
            join(&mut policy, 30 * u64::from(peer), 1, peer, Media::NOTHING);
        }
        let peers: Vec<_> = policy.ledger.parts(1).iter().map(|part| part.tally.peers).collect();
        assert_eq!(peers, [80, 1]);
    }

    #[test]
    fn bridges_take_more_than_they_can_carry() {
        let mut policy = LeastStress::new(&MeshSpec::of_streams(2, 1, 40));
        for peer in 0..30 {
            join(&mut policy, 30 * u64::from(peer), 1, peer, Media::BOTH);
        }
        assert_eq!(policy.last_join_overloads(), Some(true));
        let sample = policy.sample();
        assert_eq!((sample.over, sample.delivered), (2, 30 * 29 * 220));
        assert!(sample.piped > 0);
    }
}
