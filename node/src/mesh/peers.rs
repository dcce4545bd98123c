//! Which connections there are to which node, which of them is used, and where nodes are.

use super::limits;
use super::link::Link;
use super::refusal::code;
use parking_lot::Mutex;
use skein_proto::ids::NodeId;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// A later process of the same node is connected, or this one said that it leaves.
#[derive(Debug)]
pub(super) struct Older;

/// What QUIC knows of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Quic {
    /// The generation that is connected.
    pub up: Option<u64>,
    /// The generation that said that it leaves.
    pub left: Option<u64>,
}

/// All connections that are up.
pub(super) struct Peers {
    own: NodeId,
    known: Mutex<Known>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Known {
    nodes: HashMap<NodeId, Peer>,
    /// Where nodes are, as far as a connection shows it: dialled, come from, or gossiped by the very process that is
    /// connected. Only for nodes with a connection.
    addresses: HashMap<SocketAddr, NodeId>,
}

#[derive(Default)]
struct Peer {
    /// The same generation all, oldest first.
    links: Vec<Kept>,
    left: Option<(u64, Instant)>,
}

struct Kept {
    link: Arc<Link>,
    /// Since when another one is used instead.
    spare: Option<Instant>,
}

impl Peers {
    pub(super) fn new(own: NodeId) -> Self {
        Self { own, known: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// Changes whenever a node's connection came up or went.
    pub(super) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Takes a connection. An older generation's are closed; if this one is the older, it is not taken.
    pub(super) fn add(&self, link: Arc<Link>) -> Result<(), Older> {
        let mut superseded = Vec::new();
        {
            let mut known = self.known.lock();
            let peer = known.nodes.entry(link.node.clone()).or_default();
            if peer.is_outdated(link.generation) {
                return Err(Older);
            }
            if peer.generation().is_some_and(|generation| generation < link.generation) {
                superseded.append(&mut peer.links);
            }
            peer.links.push(Kept { link: link.clone(), spare: None });
            peer.choose(&self.own, Instant::now());
            while peer.links.len() > limits::LINKS_PER_NODE
                && let Some(worst) = peer.links.iter().position(|kept| kept.spare.is_some())
            {
                superseded.push(peer.links.remove(worst));
            }
            known.locate(&link.node, link.remote);
        }
        for kept in superseded {
            kept.link.connection.close(code::REPLACED, b"replaced by a newer connection");
        }
        self.changed.send_replace(());
        Ok(())
    }

    /// Whether a connection of that generation would not be taken.
    pub(super) fn is_outdated(&self, node: &NodeId, generation: u64) -> bool {
        self.known.lock().nodes.get(node).is_some_and(|peer| peer.is_outdated(generation))
    }

    /// Forgets a connection that ended; `left` when the other side said that it leaves the mesh.
    pub(super) fn remove(&self, link: &Arc<Link>, left: bool) {
        {
            let mut known = self.known.lock();
            let Known { nodes, addresses } = &mut *known;
            let Some(peer) = nodes.get_mut(&link.node) else {
                return;
            };
            peer.links.retain(|kept| !Arc::ptr_eq(&kept.link, link));
            if left {
                peer.left = Some((link.generation, Instant::now()));
            }
            peer.choose(&self.own, Instant::now());
            if peer.links.is_empty() {
                addresses.retain(|_, node| *node != link.node);
                if peer.left.is_none() {
                    nodes.remove(&link.node);
                }
            }
        }
        self.changed.send_replace(());
    }

    /// The connection to a node that new streams use.
    pub(super) fn get(&self, node: &NodeId) -> Option<Arc<Link>> {
        self.known.lock().nodes.get(node)?.used()
    }

    /// The connections to a node that are on their way out.
    #[cfg(test)]
    pub(super) fn spares(&self, node: &NodeId) -> Vec<Arc<Link>> {
        let known = self.known.lock();
        let links = known.nodes.get(node).into_iter().flat_map(|peer| &peer.links);
        links.filter(|kept| kept.spare.is_some()).map(|kept| kept.link.clone()).collect()
    }

    /// The connection to the node that is at an address.
    pub(super) fn at(&self, addr: SocketAddr) -> Option<Arc<Link>> {
        let known = self.known.lock();
        known.nodes.get(known.addresses.get(&addr)?)?.used()
    }

    /// Remembers where a connected node is. Nothing happens when that generation of it is not connected.
    pub(super) fn locate(&self, node: &NodeId, generation: u64, addr: SocketAddr) {
        let mut known = self.known.lock();
        if known.nodes.get(node).is_some_and(|peer| peer.generation() == Some(generation))
            && known.addresses.get(&addr) != Some(node)
        {
            known.locate(node, addr);
        }
    }

    /// What QUIC knows of each node.
    pub(super) fn status(&self) -> BTreeMap<NodeId, Quic> {
        let known = self.known.lock();
        let status = |peer: &Peer| Quic {
            up: peer.used().map(|link| link.generation),
            left: peer.left.map(|(generation, _)| generation),
        };
        known.nodes.iter().map(|(node, peer)| (node.clone(), status(peer))).collect()
    }

    /// Closes connections that are no longer used and forgets who left long ago.
    pub(super) fn sweep(&self, now: Instant) {
        let mut unused = Vec::new();
        {
            let mut known = self.known.lock();
            known.nodes.retain(|_, peer| {
                unused.extend(
                    peer.links.iter().filter(|kept| kept.is_drained(now)).map(|kept| kept.link.clone()),
                );
                peer.left = peer.left.filter(|(_, at)| now.duration_since(*at) < limits::DEAD_MEMORY);
                !peer.links.is_empty() || peer.left.is_some()
            });
        }
        for link in unused {
            link.connection.close(code::REPLACED, b"another connection is used");
        }
    }
}

impl Known {
    fn locate(&mut self, node: &NodeId, addr: SocketAddr) {
        if self.addresses.len() >= limits::ADDRESSES {
            let nodes = &self.nodes;
            self.addresses.retain(|addr, node| {
                nodes.get(node).is_some_and(|peer| peer.links.iter().any(|kept| kept.link.remote == *addr))
            });
        }
        self.addresses.insert(addr, node.clone());
    }
}

impl Kept {
    fn is_drained(&self, now: Instant) -> bool {
        self.spare.is_some_and(|since| now.duration_since(since) >= limits::DRAIN) && !self.link.is_held()
    }
}

impl Peer {
    fn generation(&self) -> Option<u64> {
        self.links.first().map(|kept| kept.link.generation)
    }

    fn is_outdated(&self, generation: u64) -> bool {
        self.left.is_some_and(|(left, _)| left >= generation)
            || self.generation().is_some_and(|connected| connected > generation)
    }

    fn used(&self) -> Option<Arc<Link>> {
        self.links
            .iter()
            .find(|kept| kept.spare.is_none() && kept.link.is_open())
            .or_else(|| self.links.iter().rev().find(|kept| kept.link.is_open()))
            .map(|kept| kept.link.clone())
    }

    /// Marks the connection to use, so that both sides use the same: of those that are open, the one that the node
    /// with the smaller name dialled, and of several the newest, because who dials again thinks the first one lost.
    fn choose(&mut self, own: &NodeId, now: Instant) {
        let best = self
            .links
            .iter()
            .enumerate()
            .max_by_key(|(index, Kept { link, .. })| {
                (link.is_open(), is_preferred(link.dialled, own, &link.node), *index)
            })
            .map(|(index, _)| index);
        for (index, kept) in self.links.iter_mut().enumerate() {
            kept.spare = if Some(index) == best { None } else { kept.spare.or(Some(now)) };
        }
    }
}

/// Whether the node with the smaller name dialled.
fn is_preferred(dialled: bool, own: &NodeId, other: &NodeId) -> bool {
    dialled == (own < other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_prefer_the_same_connection() {
        let (a, b): (NodeId, NodeId) = ("a".parse().expect("a name"), "b".parse().expect("a name"));
        // Dialled by a, seen from a and from b.
        assert!(is_preferred(true, &a, &b));
        assert!(is_preferred(false, &b, &a));
        // Dialled by b.
        assert!(!is_preferred(false, &a, &b));
        assert!(!is_preferred(true, &b, &a));
    }
}
