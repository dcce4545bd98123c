//! How a room lies over workers, and what it costs on each of them.
//!
//! Whatever happens to a room is priced as the difference between what it costs afterwards and what it costs now, so
//! consumers, pipes and relays on every worker that the change touches are in the price, and none is forgotten.

use super::field::Field;
use super::relay::{RelayTree, TooWide};
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{NodeId, WorkerAddress};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// What costs on which workers; each of them once.
pub type Costs = BTreeMap<WorkerAddress, Cost>;

#[derive(Debug, Clone, Copy, Default)]
struct Part {
    peers: u64,
    sends: Sends,
}

/// What the workers of a room have left, where some have too little.
#[derive(Debug, Clone, Default)]
struct Strain {
    /// The nodes that could hardly send to one more node what they send.
    short: BTreeSet<NodeId>,
    /// What each worker has left once it has sent what is sent there to one node more: packets a second, which may be too
    /// few, and bits.
    left: BTreeMap<WorkerAddress, (i64, u64)>,
}

/// How a room lies over workers: how many peers each has, and what those send. Every peer is taken to receive what all
/// the others send.
#[derive(Debug, Clone)]
pub struct Layout {
    parts: BTreeMap<WorkerAddress, Part>,
    /// By the node that sends; only of nodes whose peers send something.
    trees: BTreeMap<NodeId, RelayTree>,
    fan_out: usize,
    strain: Strain,
    /// The most that one peer receives.
    most: Option<Cost>,
    /// What one peer will receive at least, before long.
    least: Cost,
    peers: u64,
    sends: Sends,
    version: u64,
}

impl Layout {
    /// A room without peers. `fan_out` is how many other nodes one node sends a producer to at most.
    pub fn new(fan_out: usize) -> Self {
        Self {
            parts: BTreeMap::new(),
            trees: BTreeMap::new(),
            fan_out: fan_out.max(1),
            strain: Strain::default(),
            most: None,
            least: Cost::ZERO,
            peers: 0,
            sends: Sends::NOTHING,
            version: 0,
        }
    }

    /// The same room without peers.
    pub fn empty(&self) -> Self {
        Self { most: self.most, least: self.least, ..Self::new(self.fan_out) }
    }

    /// Takes note of what the room's workers have left. That decides who sends to nodes that are new: where a worker has too
    /// little left to send to one node more what is sent there, that worker of the room does it for its node that has most
    /// left.
    pub fn heed(&mut self, field: &Field, now: Instant) {
        let mut strain = Strain::default();
        for (at, part) in &self.parts {
            let Some(left) = field.left_for_others(at, now) else { continue };
            let sends = part.sends.all;
            if !sends.fits(left) {
                strain.short.insert(at.node.clone());
            }
            if field.takes(&at.node, now) {
                strain.left.insert(at.clone(), (signed(left) - signed(sends), left.bits));
            }
        }
        self.strain = if strain.short.is_empty() { Strain::default() } else { strain };
    }

    /// From now on each node sends to new ones itself, whatever it has left.
    pub fn heed_nothing(&mut self) {
        self.strain = Strain::default();
    }

    /// Of the room only so much is forwarded to each peer at once.
    pub fn limit(&mut self, most: Cost) {
        self.most = Some(most);
    }

    /// Somebody will send so much in the room, before long.
    pub fn foresee(&mut self, least: Cost) {
        self.least = least;
    }

    /// What each peer receives, or will before long.
    pub fn received(&self) -> Cost {
        let received = self.sends.one.max(self.least);
        self.most.map_or(received, |most| received.min(most))
    }

    /// Changes with the nodes that send and receive, and so with who gets producers from whom.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many peers there are.
    pub fn peers(&self) -> u64 {
        self.peers
    }

    /// What all of them send.
    pub fn sends(&self) -> Sends {
        self.sends
    }

    /// The workers that have peers, with how many.
    pub fn workers(&self) -> impl Iterator<Item = (&WorkerAddress, u64)> {
        self.parts.iter().map(|(at, part)| (at, part.peers))
    }

    /// How many peers a worker has.
    pub fn peers_at(&self, at: &WorkerAddress) -> u64 {
        self.parts.get(at).map_or(0, |part| part.peers)
    }

    /// Whether a node has peers.
    pub fn has_node(&self, node: &NodeId) -> bool {
        self.parts_of(node).next().is_some()
    }

    fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        let mut last = None;
        self.parts.keys().map(|at| &at.node).filter(move |node| last.replace(*node) != Some(*node))
    }

    fn node_sends(&self, node: &NodeId) -> Sends {
        self.parts_of(node).fold(Sends::NOTHING, |sum, (_, part)| sum.plus(part.sends))
    }

    fn parts_of(&self, node: &NodeId) -> impl Iterator<Item = (&WorkerAddress, &Part)> + Clone {
        let first = WorkerAddress { node: node.clone(), worker: 0 };
        self.parts.range(first..).take_while(move |(at, _)| at.node == *node)
    }

    /// One more peer.
    ///
    /// # Errors
    /// When it would be on a node that the room's producers cannot reach; then nothing has changed.
    pub fn add(&mut self, at: &WorkerAddress, sends: Sends) -> Result<(), TooWide> {
        if !self.has_node(&at.node) {
            self.reach(&at.node)?;
        }
        let part = self.parts.entry(at.clone()).or_default();
        part.peers += 1;
        self.peers += 1;
        if let Err(error) = self.send(at, Sends::NOTHING, sends) {
            self.remove(at, Sends::NOTHING);
            return Err(error);
        }
        Ok(())
    }

    /// A peer less, that sent this.
    pub fn remove(&mut self, at: &WorkerAddress, sends: Sends) {
        let Some(part) = self.parts.get_mut(at) else { return };
        part.peers = part.peers.saturating_sub(1);
        let last = part.peers == 0;
        self.peers = self.peers.saturating_sub(1);
        // Sending less never fails.
        let _ = self.send(at, sends, Sends::NOTHING);
        if last {
            self.parts.remove(at);
            if self.has_node(&at.node) {
                for (origin, tree) in &mut self.trees {
                    self.version += u64::from(tree.leave(origin, at));
                }
            } else {
                self.version += 1;
                self.trees.remove(&at.node);
                for tree in self.trees.values_mut() {
                    tree.remove(&at.node);
                }
            }
        }
    }

    /// A peer sends something else than before.
    ///
    /// # Errors
    /// When its node begins to send, and the room is on too many nodes for that; then nothing has changed.
    pub fn send(&mut self, at: &WorkerAddress, before: Sends, now: Sends) -> Result<(), TooWide> {
        if now != Sends::NOTHING && !self.trees.contains_key(&at.node) {
            let mut tree = RelayTree::default();
            for node in self.nodes().filter(|node| **node != at.node) {
                tree.add(&at.node, node, self.fan_out)?;
            }
            self.trees.insert(at.node.clone(), tree);
            self.version += 1;
        }
        let Some(part) = self.parts.get_mut(at) else { return Ok(()) };
        part.sends = part.sends.minus(before).plus(now);
        self.sends = self.sends.minus(before).plus(now);
        if self.node_sends(&at.node) == Sends::NOTHING {
            self.version += u64::from(self.trees.remove(&at.node).is_some());
        }
        Ok(())
    }

    /// A new node gets what all senders send.
    fn reach(&mut self, node: &NodeId) -> Result<(), TooWide> {
        let mut left = self.strain.left.clone();
        let mut senders = Vec::with_capacity(self.trees.len());
        for (origin, tree) in self.trees.iter().filter(|(origin, _)| *origin != node) {
            let sender = self.sender(origin, tree, &mut left);
            if sender.is_none() && !tree.has_room(self.fan_out) {
                return Err(TooWide);
            }
            senders.push(sender);
        }
        for ((origin, tree), sender) in
            self.trees.iter_mut().filter(|(origin, _)| *origin != node).zip(senders)
        {
            match sender {
                Some(sender) => tree.add_through(node, &sender),
                None => tree.add(origin, node, self.fan_out)?,
            }
        }
        self.version += 1;
        Ok(())
    }

    /// Which worker had better send to a new node what the peers of `origin` send; none where each of theirs does that itself.
    fn sender(
        &self,
        origin: &NodeId,
        tree: &RelayTree,
        left: &mut BTreeMap<WorkerAddress, (i64, u64)>,
    ) -> Option<WorkerAddress> {
        if !self.strain.short.contains(origin) {
            return None;
        }
        let takes = self.node_sends(origin).all;
        let is_open = tree.width() < self.fan_out as u64;
        let own = || self.workers_of(origin).filter(|_| is_open).filter_map(|at| Some((at, left.get(at)?)));
        let by_itself = own().map(|(_, (packets, _))| *packets).min().unwrap_or(i64::MIN);
        // One of its workers that does it for the others sends what is sent there anyway.
        let one_of_its_own =
            own().map(|(at, (packets, bits))| (at, packets + signed(self.sends_at(at).all), *bits));
        let relays = tree.relays_with_room(self.fan_out).flat_map(|relay| self.workers_of(relay));
        let relays = relays.filter_map(|at| left.get(at).map(|(packets, bits)| (at, *packets, *bits)));
        let able = one_of_its_own.chain(relays).filter(|(.., bits)| *bits >= takes.bits);
        let (most, sender) = able.map(|(at, packets, _)| (packets - signed(takes), at)).max()?;
        let sender = (most >= 0 && most > by_itself).then(|| sender.clone())?;
        if let Some((packets, _)) = left.get_mut(&sender) {
            *packets -= signed(takes);
        }
        Some(sender)
    }

    /// Producers go the same ways as in another layout, where that is on the same nodes.
    pub fn go_as(&mut self, other: &Self) {
        for (origin, tree) in &mut self.trees {
            if let Some(ways) = other.trees.get(origin).filter(|ways| ways.reaches_as(tree)) {
                tree.clone_from(ways);
            }
        }
    }

    /// From whom a node gets another node's producers, where that is not the other node itself, for each such node.
    pub fn relays(&self, node: &NodeId) -> BTreeMap<NodeId, WorkerAddress> {
        self.trees
            .iter()
            .filter_map(|(origin, tree)| {
                let (relay, through) = (tree.relay(node), tree.through(node));
                let sender = match through {
                    Some(worker) => WorkerAddress { node: relay.unwrap_or(origin).clone(), worker },
                    None => self.gateway(relay?)?,
                };
                Some((origin.clone(), sender))
            })
            .collect()
    }

    /// The worker of a node through which producers of other nodes come to it.
    fn gateway(&self, node: &NodeId) -> Option<WorkerAddress> {
        self.workers_of(node).next().cloned()
    }

    fn workers_of(&self, node: &NodeId) -> impl Iterator<Item = &WorkerAddress> + Clone {
        self.parts_of(node).map(|(at, _)| at)
    }

    /// Whether one more node would get some producers through others.
    pub fn has_relays(&self) -> bool {
        !self.strain.short.is_empty() || self.trees.values().any(|tree| tree.width() >= self.fan_out as u64)
    }

    /// What it takes on a worker to send what is sent there to one more worker, packets a second.
    pub fn way_out(&self, at: &WorkerAddress) -> u64 {
        self.parts.get(at).map_or(0, |part| part.sends.all.packets)
    }

    /// What it takes on a worker for the room to go on elsewhere, packets a second: to send what is sent there to one more
    /// worker, and to send what a newcomer there sends to all that are here.
    pub fn to_go_on(&self, at: &WorkerAddress, newcomer: Sends) -> u64 {
        let Some(part) = self.parts.get(at) else { return 0 };
        let to_come = self.received().packets.saturating_sub(self.sends.one.packets);
        part.sends.all.packets + (newcomer.one.packets + to_come) * part.peers
    }

    /// What so many of its peers receive who send this: what their consumers cost on the worker that they are on.
    pub fn consumed(&self, peers: u64, sends: Sends) -> Cost {
        if self.peers <= 1 {
            return sends.all.inside();
        }
        let received = (self.sends.one * peers).saturating_sub(sends.one);
        self.most.map_or(received, |most| received.min(most * peers))
    }

    /// What the peers of a worker send.
    pub fn sends_at(&self, at: &WorkerAddress) -> Sends {
        self.parts.get(at).map_or(Sends::NOTHING, |part| part.sends)
    }

    /// What the room costs on each worker.
    pub fn costs(&self) -> Costs {
        let mut passed_on: BTreeMap<(&NodeId, Option<u16>), Cost> = BTreeMap::new();
        for (origin, tree) in &self.trees {
            let mut sends = None;
            for (by, children) in tree.passing_on(origin) {
                let all = sends.get_or_insert_with(|| self.node_sends(origin)).all;
                *passed_on.entry(by).or_default() += all * children;
            }
        }
        let mut costs = Costs::new();
        let parts: Vec<_> = self.parts.iter().collect();
        for parts in parts.chunk_by(|(a, _), (b, _)| a.node == b.node) {
            let Some((WorkerAddress { node, .. }, _)) = parts.first() else { continue };
            let others_here = parts.len() as u64 - 1;
            let width = self.trees.get(node).map_or(0, RelayTree::plain_width);
            let own = parts.iter().fold(Sends::NOTHING, |sum, (_, part)| sum.plus(part.sends));
            for (index, (at, part)) in parts.iter().enumerate() {
                let mut cost = self.consumed(part.peers, part.sends);
                cost += part.sends.all.inside() * others_here + part.sends.all * width;
                if index == 0 {
                    // What comes from other nodes comes to the first of a node's workers, and goes on from there.
                    cost += self.sends.all.saturating_sub(own.all).inside() * others_here;
                    cost += passed_on.get(&(node, None)).copied().unwrap_or_default();
                }
                cost += passed_on.get(&(node, Some(at.worker))).copied().unwrap_or_default();
                costs.insert((*at).clone(), cost);
            }
        }
        costs
    }
}

fn signed(cost: Cost) -> i64 {
    i64::try_from(cost.packets).unwrap_or(i64::MAX)
}

/// What is costs more after a change, on the workers where it does.
pub fn price(before: &Costs, after: &Costs) -> Vec<(WorkerAddress, Cost)> {
    after
        .iter()
        .map(|(at, cost)| (at.clone(), cost.saturating_sub(before.get(at).copied().unwrap_or_default())))
        .filter(|(_, cost)| *cost != Cost::ZERO)
        .collect()
}
