//! Who passes a room's producers on to whom, where a room spans so many nodes that their origin cannot send to all.
//!
//! One tree for each node that has producers: it sends to at most `fan_out` nodes, and each of those, as a relay, to at
//! most `fan_out` more. A producer so crosses at most two pipes between nodes, and reaches
//! `fan_out + fan_out * fan_out` nodes.

use skein_proto::ids::NodeId;
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

    /// Takes a node out. Answers the nodes that get the producers from elsewhere now: those that it passed them on to,
    /// of which the first takes its place.
    pub fn remove(&mut self, node: &NodeId) -> Vec<NodeId> {
        if let Some(relay) = self.relays.remove(node) {
            if let Some(children) = self.direct.get_mut(&relay) {
                children.remove(node);
            }
            return Vec::new();
        }
        let Some(mut orphans) = self.direct.remove(node) else { return Vec::new() };
        let changed = orphans.iter().cloned().collect();
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

    /// How many nodes the origin sends to.
    pub fn width(&self) -> u64 {
        self.direct.len() as u64
    }

    /// The relays that pass on, each with how many nodes it sends to.
    pub fn passing_on(&self) -> impl Iterator<Item = (&NodeId, u64)> {
        self.direct.iter().filter(|(_, children)| !children.is_empty()).map(|(n, c)| (n, c.len() as u64))
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
            assert!(tree.passing_on().all(|(_, children)| children <= 4));
            assert_eq!(tree.width() + tree.passing_on().map(|(_, c)| c).sum::<u64>(), nodes as u64);
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
            for (relay, children) in tree.passing_on() {
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
    fn a_lost_leaf_changes_nothing_for_others() {
        let mut tree = tree(20, 4);
        let before = tree.clone();
        assert!(tree.remove(&node(19)).is_empty());
        assert!((0..19).all(|n| tree.relay(&node(n)) == before.relay(&node(n))));
        assert!(tree.remove(&node(77)).is_empty());
    }
}
