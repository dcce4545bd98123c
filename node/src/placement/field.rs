//! The mesh's capacity as a home sees it: what nodes said of themselves, ordered so that the best fit is found at once
//! among thousands of workers.
//!
//! It is always a little old. Nothing is decided by it but whom to ask first.

use super::ledger::{kept_for_moves, overdraft};
use super::queue::Level;
use rand::Rng;
use rand::seq::SliceRandom;
use skein_proto::capacity::Cost;
use skein_proto::ids::{NodeId, WorkerAddress};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Figures older than this are not trusted with a peer.
pub const FIGURES_LIFE: Duration = Duration::from_secs(3);

/// Workers that fit alike: what would be left differs by less than this share of a worker. Which of them is chosen is
/// left to chance, so that a burst of joins, each decided by another home, does not run to one.
const ALIKE: u64 = 20;

/// What a node says of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerFigures {
    /// Packets a second that are left.
    pub free: u64,
    /// Of these, what nobody is expected to need.
    pub open: u64,
    /// What newcomers do not get.
    pub spare: u64,
    /// Packets a second when nothing runs.
    pub total: u64,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFigures {
    /// Its workers, by index.
    pub workers: Vec<WorkerFigures>,
    /// Bits a second into the network that are left.
    pub free_bits: u64,
    /// Where it is.
    pub region: String,
    /// Where in the region.
    pub zone: String,
    /// Which of its workers carry more than they should.
    pub over: Vec<u16>,
    /// Whether it takes peers: it is neither starting, draining nor suspect.
    pub takes: bool,
}

#[derive(Debug)]
struct Known {
    figures: NodeFigures,
    heard: Instant,
}

/// Workers by packets a second.
#[derive(Debug, Default)]
struct Places(BTreeMap<u64, BTreeSet<WorkerAddress>>);

impl Places {
    fn put(&mut self, packets: u64, at: WorkerAddress) {
        self.0.entry(packets).or_default().insert(at);
    }

    fn take(&mut self, packets: u64, at: &WorkerAddress) {
        if let Some(all) = self.0.get_mut(&packets) {
            all.remove(at);
            if all.is_empty() {
                self.0.remove(&packets);
            }
        }
    }
}

/// The workers of a region that take peers.
#[derive(Debug, Default)]
struct Region {
    by_open: Places,
    by_free: Places,
}

impl Region {
    fn put(&mut self, at: &WorkerAddress, figures: &WorkerFigures) {
        self.by_open.put(figures.open, at.clone());
        self.by_free.put(figures.free, at.clone());
    }

    fn take(&mut self, at: &WorkerAddress, figures: &WorkerFigures) {
        self.by_open.take(figures.open, at);
        self.by_free.take(figures.free, at);
    }
}

/// What something needs that is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    /// What it takes now.
    pub now: Cost,
    /// What it should find open, packets a second: at least as much.
    pub later: u64,
    /// The entry: between workers that are alike, those near it come first.
    pub near: &'a NodeId,
}

/// What nodes said of themselves.
#[derive(Debug, Default)]
pub struct Field {
    nodes: HashMap<NodeId, Known>,
    regions: BTreeMap<String, Region>,
    /// The most that any worker was ever said to carry, packets a second.
    largest: u64,
    /// How many workers carry more than they should.
    over: usize,
}

impl Field {
    /// What a node says of itself now.
    pub fn hear(&mut self, node: &NodeId, figures: NodeFigures, heard: Instant) {
        if let Some(known) = self.nodes.get_mut(node)
            && known.figures == figures
        {
            known.heard = heard;
            return;
        }
        self.forget(node);
        self.largest = figures.workers.iter().map(|worker| worker.total).fold(self.largest, u64::max);
        if figures.takes {
            let region = self.regions.entry(figures.region.clone()).or_default();
            for (at, worker) in addresses(node, &figures) {
                region.put(&at, &worker);
            }
        }
        self.over += figures.over.len();
        self.nodes.insert(node.clone(), Known { figures, heard });
    }

    /// A node is gone.
    pub fn forget(&mut self, node: &NodeId) {
        let Some(known) = self.nodes.remove(node) else { return };
        self.over -= known.figures.over.len();
        if let Some(region) = self.regions.get_mut(&known.figures.region) {
            for (at, worker) in addresses(node, &known.figures) {
                region.take(&at, &worker);
            }
            if region.by_open.0.is_empty() {
                self.regions.remove(&known.figures.region);
            }
        }
    }

    /// Forgets all nodes but these.
    pub fn keep(&mut self, is_there: impl Fn(&NodeId) -> bool) {
        let gone: Vec<_> = self.nodes.keys().filter(|node| !is_there(node)).cloned().collect();
        for node in gone {
            self.forget(&node);
        }
    }

    /// A worker that was asked said what it has left, which is newer than what was gossiped; or something was reserved
    /// on it, and this much less is left.
    pub fn correct(&mut self, at: &WorkerAddress, free: u64) {
        let Some(known) = self.nodes.get_mut(&at.node) else { return };
        let Some(worker) = known.figures.workers.get_mut(usize::from(at.worker)) else { return };
        let before = *worker;
        worker.open = (worker.open + free).saturating_sub(worker.free);
        worker.free = free;
        if known.figures.takes
            && before != *worker
            && let Some(region) = self.regions.get_mut(&known.figures.region)
        {
            region.take(at, &before);
            region.put(at, worker);
        }
    }

    /// What is free on all nodes that take peers.
    pub fn level(&self, now: Instant) -> Level {
        let takes = |known: &&Known| {
            known.figures.takes && now.saturating_duration_since(known.heard) <= FIGURES_LIFE
        };
        let mut level = Level::default();
        for known in self.nodes.values().filter(takes) {
            for worker in &known.figures.workers {
                level.best = level.best.max(worker.free);
                level.largest = level.largest.max(worker.total);
                level.free += Cost::new(worker.free, 0);
                level.total = level.total.saturating_add(worker.total);
            }
            level.free += Cost::new(0, known.figures.free_bits);
        }
        level
    }

    /// What is left on a worker; none where nothing is known of it that is newer than [`FIGURES_LIFE`].
    pub fn left(&self, at: &WorkerAddress, now: Instant) -> Option<Cost> {
        let known = self.nodes.get(&at.node)?;
        if now.saturating_duration_since(known.heard) > FIGURES_LIFE {
            return None;
        }
        Some(Cost::new(self.figures(at)?.free, known.figures.free_bits))
    }

    /// What is left on a worker for a peer that is to be there.
    pub fn left_for_newcomers(&self, at: &WorkerAddress, now: Instant) -> Option<Cost> {
        let left = self.left(at, now)?;
        Some(Cost::new(left.packets.saturating_sub(self.figures(at)?.spare), left.bits))
    }

    /// How much more has to be left on a worker for peers that are to be there and take so many packets a second.
    pub fn lacks(&self, at: &WorkerAddress, packets: u64, now: Instant) -> Option<u64> {
        let left = self.left(at, now)?.packets;
        Some((packets + self.figures(at)?.spare).saturating_sub(left))
    }

    /// What is left open on a worker that has room for its rooms to grow: a fifth of the largest one.
    pub fn comfort(&self) -> u64 {
        self.largest / 5
    }

    /// From how much on what a room has on a worker is much: a third of the largest one. Less than that had better be in
    /// one place.
    pub fn large(&self) -> u64 {
        self.largest / 3
    }

    /// From how much on what a room has on a worker is too much to go anywhere at once: a tenth of the largest one.
    pub fn sizeable(&self) -> u64 {
        self.largest / 10
    }

    /// Whether nowhere more than seven tenths of a worker are left: rooms had better not spread any more then.
    pub fn is_tight(&self) -> bool {
        self.regions.keys().all(|region| self.most_left(region) <= self.largest / 10 * 7)
    }

    /// What is left on a worker for what newcomers elsewhere cause there.
    pub fn left_for_others(&self, at: &WorkerAddress, now: Instant) -> Option<Cost> {
        let left = self.left(at, now)?;
        Some(Cost::new(left.packets.saturating_sub(kept_for_moves(self.total(at))), left.bits))
    }

    /// What is left on a worker for those who leave it: one that carries more than it should lets them go all the same.
    pub fn left_to_leave(&self, at: &WorkerAddress, now: Instant) -> Option<Cost> {
        let left = self.left(at, now)?;
        let packets = if self.is_over(at) { overdraft(self.total(at)) } else { left.packets };
        Some(Cost::new(packets, left.bits))
    }

    /// How full a worker is with so many packets a second more: 0 is empty, 1 is full.
    pub fn fullness_with(&self, at: &WorkerAddress, packets: u64, now: Instant) -> Option<f64> {
        let left = self.left(at, now)?.packets;
        Some(1.0 - (left as f64 - packets as f64) / self.total(at).max(1) as f64)
    }

    /// Whether a node takes peers, as far as is known.
    pub fn takes(&self, node: &NodeId, now: Instant) -> bool {
        self.nodes.get(node).is_some_and(|known| {
            known.figures.takes && now.saturating_duration_since(known.heard) <= FIGURES_LIFE
        })
    }

    /// Whether a worker carries more than it should.
    pub fn is_over(&self, at: &WorkerAddress) -> bool {
        self.over > 0 && self.nodes.get(&at.node).is_some_and(|known| known.figures.over.contains(&at.worker))
    }

    /// The region of a node.
    pub fn region(&self, node: &NodeId) -> Option<&str> {
        self.nodes.get(node).map(|known| known.figures.region.as_str())
    }

    /// The workers of a node, in order; none of one that nothing is known of.
    pub fn workers(&self, node: &NodeId) -> impl Iterator<Item = WorkerAddress> {
        let known = self.nodes.get_key_value(node);
        known.into_iter().flat_map(|(node, known)| addresses(node, &known.figures)).map(|(at, _)| at)
    }

    /// The regions with nodes that take peers, `first` before the others.
    pub fn regions(&self, first: Option<&str>) -> Vec<&str> {
        let mut regions: Vec<_> = self.regions.keys().map(String::as_str).collect();
        regions.sort_by_key(|region| Some(*region) != first);
        regions
    }

    /// Workers of a region that something fits on: the fullest first, those that are alike in random order with those of
    /// the entry in front, then those of its zone. At most `most`.
    pub fn best_fit<R: Rng>(
        &self,
        region: &str,
        need: &Need<'_>,
        most: usize,
        now: Instant,
        rng: &mut R,
    ) -> Vec<WorkerAddress> {
        let Some(places) = self.regions.get(region).map(|region| &region.by_open.0) else {
            return Vec::new();
        };
        let zone = self.nodes.get(need.near).map(|known| known.figures.zone.as_str());
        let fitting: Vec<_> = places
            .range(need.later.max(need.now.packets)..)
            .flat_map(|(open, all)| all.iter().map(move |at| (*open, at)))
            .filter(|(_, at)| self.takes(&at.node, now))
            .filter(|(_, at)| self.left_for_newcomers(at, now).is_some_and(|left| need.now.fits(left)))
            .take(most)
            .collect();
        let mut found = Vec::with_capacity(fitting.len());
        let mut rest = fitting.as_slice();
        while let Some((open, first)) = rest.first() {
            let limit = open + self.total(first) / ALIKE;
            let alike = rest.iter().take_while(|(other, _)| *other <= limit).count();
            let (group, more) = rest.split_at(alike);
            let mut group: Vec<_> = group.iter().map(|(_, at)| *at).collect();
            group.shuffle(rng);
            group.sort_by_key(|at| {
                let known = self.nodes.get(&at.node);
                (at.node != *need.near, known.map(|known| known.figures.zone.as_str()) != zone)
            });
            found.extend(group.into_iter().cloned());
            rest = more;
        }
        found
    }

    /// The workers of a region with most left, whatever is expected of them: for what fits nowhere by the book.
    pub fn freest(&self, region: &str, most: usize, now: Instant) -> Vec<WorkerAddress> {
        let Some(places) = self.regions.get(region).map(|region| &region.by_free.0) else {
            return Vec::new();
        };
        let there = places.values().rev().flatten().filter(|at| self.takes(&at.node, now));
        there.take(most).cloned().collect()
    }

    /// The most that any worker of a region has left, packets a second.
    pub fn most_left(&self, region: &str) -> u64 {
        let fullest = self.regions.get(region).and_then(|region| region.by_free.0.last_key_value());
        fullest.map_or(0, |(free, _)| *free)
    }

    fn total(&self, at: &WorkerAddress) -> u64 {
        self.figures(at).map_or(0, |worker| worker.total)
    }

    fn figures(&self, at: &WorkerAddress) -> Option<&WorkerFigures> {
        self.nodes.get(&at.node)?.figures.workers.get(usize::from(at.worker))
    }
}

fn addresses<'a>(
    node: &'a NodeId,
    figures: &'a NodeFigures,
) -> impl Iterator<Item = (WorkerAddress, WorkerFigures)> + 'a {
    let index = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
    let workers = figures.workers.iter().enumerate();
    workers.map(move |(i, worker)| (WorkerAddress { node: node.clone(), worker: index(i) }, *worker))
}
