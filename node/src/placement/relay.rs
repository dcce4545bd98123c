//! Who passes a room's producers on to whom, where a room spans so many nodes that their origin cannot send to all, or the
//! origin has too little left for that.
//!
//! One tree for each node that has producers: it sends to at most `fan_out` nodes, and each of those, as a relay, to at
//! most `fan_out` more. A producer so crosses at most two pipes between nodes, and reaches
//! `fan_out + fan_out * fan_out` nodes.

use skein_proto::ids::{NodeId, WorkerAddress};
use std::collections::{BTreeMap, BTreeSet};

/// The room is on as many nodes as a producer can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the room is on as many nodes as relays can reach")]
pub struct TooWide;

/// How the producers of one node reach the other nodes of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayTree {
    /// The nodes that the origin sends to, with those that each passes on to.
    direct: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// Of the nodes that a relay sends to, which.
    relays: BTreeMap<NodeId, NodeId>,
    /// Of the nodes that get everything from one certain worker of whoever sends to them, which.
    through: BTreeMap<NodeId, u16>,
}

impl RelayTree {
    /// Puts a node into the tree of `origin`.
    ///
    /// # Errors
    /// When no sender can take one more.
    pub fn add(&mut self, origin: &NodeId, node: &NodeId, fan_out: usize) -> Result<(), TooWide> {
        if self.contains(node) {
            return Ok(());
        }
        if self.direct.len() < fan_out {
            self.direct.insert(node.clone(), BTreeSet::new());
            return Ok(());
        }
        // Names break the tie, so that it always comes out the same: the next one after the origin's. Were it the first one,
        // a single node would pass on what all the others send.
        let relay = self.direct.iter_mut().min_by_key(|(relay, children)| (children.len(), *relay < origin));
        let (relay, children) = relay.filter(|(_, children)| children.len() < fan_out).ok_or(TooWide)?;
        children.insert(node.clone());
        self.relays.insert(node.clone(), relay.clone());
        Ok(())
    }

    /// The nodes that could pass on to one more.
    pub fn relays_with_room(&self, fan_out: usize) -> impl Iterator<Item = &NodeId> {
        self.direct.iter().filter(move |(_, children)| children.len() < fan_out).map(|(relay, _)| relay)
    }

    /// Whether there is room for one more.
    pub fn has_room(&self, fan_out: usize) -> bool {
        self.direct.len() < fan_out || self.relays_with_room(fan_out).next().is_some()
    }

    /// Puts a new node behind one worker of the origin, or of a node that the origin sends to.
    pub fn add_through(&mut self, node: &NodeId, sender: &WorkerAddress) {
        match self.direct.get_mut(&sender.node) {
            Some(children) => {
                children.insert(node.clone());
                self.relays.insert(node.clone(), sender.node.clone());
            }
            None => {
                self.direct.insert(node.clone(), BTreeSet::new());
            }
        }
        self.through.insert(node.clone(), sender.worker);
    }

    /// A worker passes on no more; others of its node do. Says whether it did.
    pub fn leave(&mut self, origin: &NodeId, worker: &WorkerAddress) -> bool {
        let (before, relays) = (self.through.len(), &self.relays);
        let is_it = |node: &NodeId, index: u16| {
            index == worker.worker && *relays.get(node).unwrap_or(origin) == worker.node
        };
        self.through.retain(|node, index| !is_it(node, *index));
        self.through.len() < before
    }

    /// Takes a node out. Answers the nodes that get the producers from elsewhere now: those that it passed them on to,
    /// of which the first takes its place.
    pub fn remove(&mut self, node: &NodeId) -> Vec<NodeId> {
        self.through.remove(node);
        if let Some(relay) = self.relays.remove(node) {
            if let Some(children) = self.direct.get_mut(&relay) {
                children.remove(node);
            }
            return Vec::new();
        }
        let Some(mut orphans) = self.direct.remove(node) else { return Vec::new() };
        let changed = orphans.iter().cloned().collect();
        self.through.retain(|node, _| !orphans.contains(node));
        if let Some(heir) = orphans.pop_first() {
            self.relays.remove(&heir);
            for orphan in &orphans {
                self.relays.insert(orphan.clone(), heir.clone());
            }
            self.direct.insert(heir, orphans);
        }
        changed
    }

    /// Whether a node is in it.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.direct.contains_key(node) || self.relays.contains_key(node)
    }

    /// The relay that a node gets the producers from; none where it gets them from the origin itself.
    pub fn relay(&self, node: &NodeId) -> Option<&NodeId> {
        self.relays.get(node)
    }

    /// The worker, of the relay or of the origin, that a node gets everything from; none where that is not a certain one.
    pub fn through(&self, node: &NodeId) -> Option<u16> {
        self.through.get(node).copied()
    }

    /// Whether it reaches the same nodes as another one.
    pub fn reaches_as(&self, other: &Self) -> bool {
        let count = |tree: &Self| tree.direct.len() + tree.relays.len();
        count(self) == count(other)
            && self.direct.keys().chain(self.relays.keys()).all(|node| other.contains(node))
    }

    /// How many nodes the origin sends to.
    pub fn width(&self) -> u64 {
        self.direct.len() as u64
    }

    /// To how many nodes all workers of the origin send themselves.
    pub fn plain_width(&self) -> u64 {
        self.direct.keys().filter(|node| !self.through.contains_key(*node)).count() as u64
    }

    /// Who passes on to how many nodes: relays and, where they do that for others there, workers of the origin. Without a
    /// worker where that is not a certain one.
    pub fn passing_on<'a>(&'a self, origin: &'a NodeId) -> BTreeMap<(&'a NodeId, Option<u16>), u64> {
        let mut passing_on = BTreeMap::new();
        let by_relays = self.relays.iter().map(|(node, relay)| (relay, self.through(node)));
        let by_origin = self.through.iter().filter(|(node, _)| self.direct.contains_key(*node));
        for by in by_relays.chain(by_origin.map(|(_, worker)| (origin, Some(*worker)))) {
            *passing_on.entry(by).or_default() += 1;
        }
        passing_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: usize) -> NodeId {
        format!("n{n:02}").parse().expect("a name")
    }

    fn tree(nodes: usize, fan_out: usize) -> RelayTree {
        let mut tree = RelayTree::default();
        for n in 0..nodes {
            tree.add(&node(50), &node(n), fan_out).expect("room for it");
        }
        tree
    }

    #[test]
    fn nobody_sends_to_more_than_the_fan_out() {
        for nodes in 0..=20 {
            let tree = tree(nodes, 4);
            assert!(tree.width() <= 4);
            let origin = node(50);
            let passing_on = tree.passing_on(&origin);
            assert!(passing_on.values().all(|children| *children <= 4));
            assert_eq!(tree.width() + passing_on.values().sum::<u64>(), nodes as u64);
        }
        let mut full = tree(20, 4);
        assert_eq!(full.add(&node(50), &node(20), 4), Err(TooWide));
        assert_eq!(full.add(&node(50), &node(3), 4), Ok(()), "who is in already is in");
    }

    #[test]
    fn nobody_passes_on_what_all_send() {
        let mut passes = BTreeMap::<NodeId, u64>::new();
        for origin in 0..13 {
            let mut tree = RelayTree::default();
            for n in (0..13).filter(|n| *n != origin) {
                tree.add(&node(origin), &node(n), 8).expect("room for it");
            }
            let origin = node(origin);
            for ((relay, _), children) in tree.passing_on(&origin) {
                *passes.entry(relay.clone()).or_default() += children;
            }
        }
        assert_eq!(passes.values().sum::<u64>(), 13 * 4);
        assert!(passes.values().all(|passes| *passes <= 8), "{passes:?}");
    }

    #[test]
    fn a_lost_relay_is_replaced_by_one_of_its_own() {
        let mut tree = tree(20, 4);
        let lost = node(1);
        let children: Vec<_> = (0..20).map(node).filter(|n| tree.relay(n) == Some(&lost)).collect();
        assert_eq!(tree.remove(&lost), children);
        assert_eq!(tree.relay(&children[0]), None);
        assert!(children[1..].iter().all(|child| tree.relay(child) == Some(&children[0])));
        assert_eq!(tree.width(), 4);
        assert!(!tree.contains(&lost));
    }

    #[test]
    fn one_worker_passes_on_until_it_is_left() {
        let (origin, mut tree) = (node(50), tree(2, 4));
        let worker = |n, worker| WorkerAddress { node: node(n), worker };
        tree.add_through(&node(2), &worker(50, 1));
        tree.add_through(&node(3), &worker(0, 2));
        assert_eq!((tree.width(), tree.plain_width()), (3, 2));
        assert_eq!((tree.relay(&node(2)), tree.through(&node(2))), (None, Some(1)));
        assert_eq!((tree.relay(&node(3)), tree.through(&node(3))), (Some(&node(0)), Some(2)));
        let passing_on: Vec<_> = tree.passing_on(&origin).into_iter().collect();
        assert_eq!(passing_on, [((&node(0), Some(2)), 1), ((&node(50), Some(1)), 1)]);
        assert!(!tree.leave(&origin, &worker(0, 1)) && !tree.leave(&origin, &worker(1, 2)));
        assert!(tree.leave(&origin, &worker(0, 2)) && tree.leave(&origin, &worker(50, 1)));
        assert_eq!((tree.relay(&node(3)), tree.through(&node(3))), (Some(&node(0)), None));
        assert_eq!((tree.width(), tree.plain_width()), (3, 3));
        // Who takes a relay's place does so with any of its workers.
        tree.add_through(&node(4), &worker(0, 2));
        assert_eq!(tree.remove(&node(0)), [node(3), node(4)]);
        assert_eq!((tree.relay(&node(4)), tree.through(&node(4))), (Some(&node(3)), None));
    }

    #[test]
    fn a_lost_leaf_changes_nothing_for_others() {
        let mut tree = tree(20, 4);
        let before = tree.clone();
        assert!(tree.remove(&node(19)).is_empty());
        assert!((0..19).all(|n| tree.relay(&node(n)) == before.relay(&node(n))));
        assert!(tree.remove(&node(77)).is_empty());
    }
}
