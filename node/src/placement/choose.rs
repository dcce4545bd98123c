//! Which worker a peer goes to, and what has to be reserved for it on which workers.

use super::field::{Field, Need};
use super::layout::{Costs, Layout, price};
use rand::Rng;
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{NodeId, WorkerAddress};
use skein_proto::rpc::{Claim, Outlook};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

/// How many places are asked before the mesh counts as full.
pub const TRIES: usize = 32;
/// How often peers are moved to make room for one newcomer, of its room or of others.
pub const ROOM_MADE: usize = 4;

/// How many workers that have nothing of the room are looked at.
const MOST_NEW: usize = 12;
/// How many workers are asked although gossip says that they are full: gossip is old, and only they know.
const DESPITE: usize = 2;
/// On how many workers that have nothing of the room others are asked to make way for it.
const ELSEWHERE: usize = 2;

/// A room has space where so many more of its peers fit.
const ROOMY: u64 = 4;

/// A peer that is to be placed.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The node that holds its WebSocket.
    pub entry: NodeId,
    /// What it is expected to send.
    pub sends: Sends,
    /// Whether the entry itself comes first.
    pub entry_first: bool,
    /// Whether those who come later listen only.
    pub audience: bool,
    /// How many peers the room is expected to have in the end. A new room goes where it can grow to that.
    pub expected_peers: u64,
    /// Workers to try before all others, whatever gossip says of them.
    pub first: Vec<WorkerAddress>,
}

/// What has to be reserved for a peer to go to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Where it goes.
    pub at: WorkerAddress,
    /// What is needed, there and on all other workers that the peer causes work on.
    pub demands: Vec<(WorkerAddress, Cost)>,
    /// What the room may need there afterwards.
    pub outlook: Outlook,
    /// How much of what is left it may take.
    pub claim: Claim,
}

/// What to do next for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask for these reservations.
    Ask(Proposal),
    /// Peers have to leave this worker first: those of the room, as it must carry what the newcomer sends to them and cannot,
    /// or those of others.
    MakeRoom(WorkerAddress),
    /// There is no place.
    GiveUp,
}

/// The search for a place for one peer. Pure: it looks at the room and the mesh anew for each step, and is told what
/// came of it.
#[derive(Debug)]
pub struct Search {
    wish: Wish,
    all: VecDeque<WorkerAddress>,
    claim: Claim,
    order: VecDeque<WorkerAddress>,
    doubtful: VecDeque<WorkerAddress>,
    /// Workers that lack something, with how many places are not to be had for that.
    blocked: BTreeMap<WorkerAddress, usize>,
    despite: usize,
    /// Workers without anything of the room on which nothing is lacking but there.
    elsewhere: VecDeque<WorkerAddress>,
}

impl Search {
    /// Begins a search.
    pub fn new<R: Rng>(wish: Wish, layout: &Layout, field: &Field, now: Instant, rng: &mut R) -> Self {
        let all: VecDeque<_> = order(&wish, layout, field, now, rng).into();
        let (order, claim) = (all.clone(), Claim::Place);
        Self {
            wish,
            all,
            claim,
            order,
            doubtful: VecDeque::new(),
            blocked: BTreeMap::new(),
            despite: 0,
            elsewhere: VecDeque::new(),
        }
    }

    /// What to do next.
    pub fn next(&mut self, layout: &Layout, field: &Field, now: Instant) -> Step {
        let before = layout.costs();
        let is_small = before.values().map(|cost| cost.packets).sum::<u64>() < field.large();
        while let Some(at) = self.order.pop_front() {
            let Some(proposal) = propose(&self.wish, layout, &before, &at) else { continue };
            // A small room had rather stay in one place, though others may then find it harder to leave that. It can
            // still leave itself.
            let stays = is_small && layout.peers_at(&at) > 0 && self.claim == Claim::Place;
            let claim = if stays { Claim::LastPlace } else { self.claim };
            let way_out = if stays { proposal.outlook.spare } else { 0 };
            let is_stuck = self.claim == Claim::Place && is_stuck(&self.wish, layout, &proposal, field, now);
            let lacking = |(worker, cost): &&(WorkerAddress, Cost)| {
                if self.wish.first.contains(worker) {
                    // What is kept for the room there is not in what is left.
                    return false;
                }
                if is_stuck && *worker != at {
                    let way_out = Cost::new(layout.way_out(worker), 0);
                    return field
                        .left_for_others(worker, now)
                        .is_some_and(|left| !(*cost + way_out).fits(left));
                }
                let left = if *worker == at && claim == Claim::Place {
                    field.left_for_newcomers(worker, now)
                } else {
                    field.left_for_others(worker, now)
                };
                let way_out = if *worker == at { way_out } else { 0 };
                left.is_some_and(|left| !(*cost + Cost::new(way_out, 0)).fits(left))
            };
            let lacking: Vec<_> = proposal.demands.iter().filter(lacking).map(|(w, _)| w.clone()).collect();
            if lacking.is_empty() {
                return Step::Ask(Proposal { claim, ..proposal });
            }
            let is_elsewhere = layout.peers_at(&at) == 0 && lacking == [at.clone()];
            if is_elsewhere && self.elsewhere.len() < ELSEWHERE && !self.elsewhere.contains(&at) {
                self.elsewhere.push_back(at.clone());
            }
            // Where the room is already, others may go to make room for it.
            let may_clear = |worker: &WorkerAddress| *worker != at || layout.peers_at(&at) > 0;
            for worker in lacking.into_iter().filter(may_clear) {
                *self.blocked.entry(worker).or_default() += 1;
            }
            self.doubtful.push_back(at);
        }
        while let Some(at) = self.doubtful.pop_front() {
            if self.despite == DESPITE {
                break;
            }
            self.despite += 1;
            if let Some(proposal) = propose(&self.wish, layout, &before, &at) {
                return Step::Ask(Proposal { claim: self.claim, ..proposal });
            }
        }
        let worst = self.blocked.iter().max_by_key(|(_, places)| **places).map(|(worker, _)| worker.clone());
        match worst {
            Some(worker) => {
                self.blocked.remove(&worker);
                Step::MakeRoom(worker)
            }
            // Once more, for what is otherwise kept for the rooms that are there.
            None if self.claim == Claim::Place => {
                self.claim = Claim::LastPlace;
                self.order = std::mem::take(&mut self.all);
                self.next(layout, field, now)
            }
            None => self.elsewhere.pop_front().map_or(Step::GiveUp, Step::MakeRoom),
        }
    }

    /// A worker refused its part of a proposal for `at`.
    pub fn refused(&mut self, at: &WorkerAddress, by: &WorkerAddress) {
        if at != by {
            *self.blocked.entry(by.clone()).or_default() += 1;
        }
    }
}

/// Whether hardly anybody else would find a place on the workers of the room once a peer is there: then each of them
/// should still be able to send to another worker.
fn is_stuck(wish: &Wish, layout: &Layout, proposal: &Proposal, field: &Field, now: Instant) -> bool {
    let one = layout.received().packets + wish.sends.one.packets;
    let is_roomy = |at: &WorkerAddress| {
        let cost =
            proposal.demands.iter().find(|(worker, _)| worker == at).map_or(0, |(_, cost)| cost.packets);
        is_roomy(at, cost, one, field, now)
    };
    !is_roomy(&proposal.at) && !layout.workers().any(|(at, _)| is_roomy(at))
}

/// Whether several peers who receive `one` fit on a worker beside something else.
pub(super) fn is_roomy(at: &WorkerAddress, cost: u64, one: u64, field: &Field, now: Instant) -> bool {
    field.left_for_newcomers(at, now).is_none_or(|left| left.packets >= cost + ROOMY * one)
}

/// What a peer on a worker would need, and where. None where the room cannot reach there.
pub fn propose(wish: &Wish, layout: &Layout, before: &Costs, at: &WorkerAddress) -> Option<Proposal> {
    let after = joined(wish, layout, at)?;
    let demands = price(before, &after.costs());
    Some(Proposal { at: at.clone(), demands, outlook: needs(wish, &after, at), claim: Claim::Place })
}

/// What the room may need on a worker once a peer is there. None where the room cannot reach there.
pub fn outlook(wish: &Wish, layout: &Layout, at: &WorkerAddress) -> Option<Outlook> {
    Some(needs(wish, &joined(wish, layout, at)?, at))
}

fn joined(wish: &Wish, layout: &Layout, at: &WorkerAddress) -> Option<Layout> {
    let mut after = layout.clone();
    after.add(at, wish.sends).ok()?;
    Some(after)
}

fn needs(wish: &Wish, after: &Layout, at: &WorkerAddress) -> Outlook {
    Outlook { growth: growth(after, at, wish), spare: after.to_go_on(at, wish.sends) }
}

/// How much more has to be left on a worker for a peer to find a place, packets a second: there, where the room is not on it,
/// or else on one that the room is on. The least that helps, nothing where that is not what is lacking.
pub fn lacks(wish: &Wish, layout: &Layout, worker: &WorkerAddress, field: &Field, now: Instant) -> u64 {
    let before = layout.costs();
    let left = field.left_for_others(worker, now).unwrap_or_default().packets;
    let needs = |at: &WorkerAddress| {
        let demands = propose(wish, layout, &before, at)?.demands;
        demands.into_iter().find(|(other, _)| other == worker).map(|(_, cost)| cost.packets)
    };
    let is_here = layout.peers_at(worker) > 0;
    let places = if is_here { layout.workers().map(|(at, _)| at).collect() } else { vec![worker] };
    let lacks = places.into_iter().filter_map(|at| needs(at)?.checked_sub(left));
    lacks.filter(|lack| *lack > 0).min().unwrap_or_default()
}

/// How much a room is expected to grow on a worker, packets a second, when as many peers come as are expected and go there
/// too.
pub fn growth(layout: &Layout, at: &WorkerAddress, wish: &Wish) -> u64 {
    let peers = layout.peers();
    // A room that has become larger than most is expected to become larger still.
    let more = wish.expected_peers.max(peers + peers / 4).saturating_sub(peers);
    let here = layout.peers_at(at);
    let one = layout.received().packets;
    if wish.audience {
        return more * one;
    }
    // Each newcomer gets what all send, and what it sends goes to all that are here.
    let new = wish.sends.one.packets;
    let all_then = one + more * new;
    ((here + more) * all_then).saturating_sub(here * one).saturating_sub(more * new)
}

/// The workers in the order in which they should be tried.
fn order<R: Rng>(
    wish: &Wish,
    layout: &Layout,
    field: &Field,
    now: Instant,
    rng: &mut R,
) -> Vec<WorkerAddress> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut push = |at: WorkerAddress, order: &mut Vec<WorkerAddress>| {
        if seen.insert(at.clone()) {
            order.push(at);
        }
    };
    for first in &wish.first {
        push(first.clone(), &mut order);
    }
    if wish.entry_first && field.takes(&wish.entry, now) {
        let mut own: Vec<_> = field.workers(&wish.entry).collect();
        own.sort_by_key(|at| {
            let left = field.left(at, now).unwrap_or_default().packets;
            (std::cmp::Reverse(layout.peers_at(at)), left)
        });
        for at in own {
            push(at, &mut order);
        }
    }
    // On a worker that has nothing of the room; who is alone costs what it sends.
    let need = if layout.peers() > 0 {
        layout.sends().one + layout.sends().all.inside()
    } else {
        wish.sends.all.inside()
    };
    for region in field.regions(field.region(&wish.entry)) {
        let here = |at: &WorkerAddress| field.region(&at.node) == Some(region) && field.takes(&at.node, now);
        // Workers that have the room, the one with most of it first.
        let mut in_room: Vec<_> =
            layout.workers().filter(|(at, _)| here(at)).map(|(at, peers)| (peers, at.clone())).collect();
        in_room.sort_by(|a, b| b.cmp(a));
        let nodes: BTreeSet<_> = in_room.iter().map(|(_, at)| at.node.clone()).collect();
        // An audience is spread before any worker is full: another presenter costs each worker as much as it has listeners.
        let has_space = |at: &WorkerAddress| {
            !wish.audience
                || field.left_for_newcomers(at, now).is_none_or(|left| left.packets >= field.comfort())
        };
        let (in_room, crowded): (Vec<_>, Vec<_>) = in_room.into_iter().partition(|(_, at)| has_space(at));
        for (_, at) in in_room {
            push(at, &mut order);
        }
        // Other workers of their nodes: in-process pipes before the network's. The fullest where it fits.
        let mut beside: Vec<_> = nodes
            .iter()
            .flat_map(|node| field.workers(node))
            .filter_map(|at| Some((field.left_for_newcomers(&at, now)?, at)))
            .filter(|(left, at)| need.inside().fits(*left) && has_space(at))
            .collect();
        beside.sort_by_key(|(left, at)| (left.packets, at.clone()));
        for (_, at) in beside {
            push(at, &mut order);
        }
        let later = if layout.peers() == 0 { need.packets + grown(wish, layout) } else { need.packets };
        // While there are workers that others' rooms can grow on, none is filled to the brim with new ones.
        for later in [later + field.comfort(), later] {
            let need = Need { now: need.inside(), later, near: &wish.entry };
            for at in field.best_fit(region, &need, MOST_NEW, now, rng) {
                push(at, &mut order);
            }
            for (_, at) in &crowded {
                push(at.clone(), &mut order);
            }
        }
        // Nowhere is as much open as it takes: where most is left, whatever other rooms may grow to.
        for at in field.freest(region, MOST_NEW, now) {
            push(at, &mut order);
        }
    }
    order
}

/// What a new room is expected to grow to on one worker, packets a second.
fn grown(wish: &Wish, layout: &Layout) -> u64 {
    let peers = wish.expected_peers;
    if wish.audience {
        return peers * layout.received().packets;
    }
    peers * peers.saturating_sub(1) * wish.sends.one.packets
}
