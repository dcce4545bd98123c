//! What holds for placement whatever comes: nothing above budget, all or nothing, and the same under the same seed.

use super::choose::{self, Search, Step, Wish, propose};
use super::field::{Field, NodeFigures, WorkerFigures};
use super::layout::{Costs, Layout, price};
use super::ledger::{Budget, Ledger, RESERVATION_LIFE};
use super::{estimate, shift};
use crate::placement::seats::Seats;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use skein_proto::capacity::{Cost, REFERENCE, Sends};
use skein_proto::ids::{NodeId, RoomId, SessionId, WorkerAddress};
use skein_proto::rpc::{Claim, MakeWay, Reserve, Ticket};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const WORKERS: u16 = 2;
const BUDGET: Budget = Budget { worker_packets: 40 * REFERENCE.packets, node_bits: 70 * REFERENCE.bits };

fn node(n: usize) -> NodeId {
    format!("n{n}").parse().expect("a name")
}

fn at(n: usize, worker: u16) -> WorkerAddress {
    WorkerAddress { node: node(n), worker }
}

fn room(n: usize) -> RoomId {
    format!("r{n}").parse().expect("a name")
}

fn session(n: usize) -> SessionId {
    SessionId { admitted_ms: n as u64, nonce: 0 }
}

/// Hosts with their books, and what all of them have said.
struct Mesh {
    ledgers: BTreeMap<NodeId, Ledger>,
    field: Field,
    now: Instant,
}

impl Mesh {
    fn new(nodes: usize) -> Self {
        let ledgers = (0..nodes).map(|n| (node(n), Ledger::new(BUDGET, usize::from(WORKERS)))).collect();
        let mut mesh = Self { ledgers, field: Field::default(), now: Instant::now() };
        mesh.gossip();
        mesh
    }

    fn figures(&self, id: &NodeId) -> NodeFigures {
        let ledger = &self.ledgers[id];
        let worker = |worker| {
            let f = ledger.figures(worker);
            WorkerFigures { free: f.free, open: f.open, spare: f.spare, total: f.total }
        };
        NodeFigures {
            workers: (0..WORKERS).map(worker).collect(),
            free_bits: ledger.free_bits(),
            region: "here".to_owned(),
            zone: String::new(),
            over: Vec::new(),
            takes: true,
        }
    }

    fn gossip(&mut self) {
        for id in self.ledgers.keys().cloned().collect::<Vec<_>>() {
            let figures = self.figures(&id);
            self.field.hear(&id, figures, self.now);
        }
    }

    /// All that is needed, or nothing; as a home asks.
    fn reserve(
        &mut self,
        room: &RoomId,
        n: usize,
        demands: &[(WorkerAddress, Cost)],
    ) -> Result<(), WorkerAddress> {
        let mut kept = Vec::new();
        for (at, cost) in demands {
            let wish = Reserve {
                replaces: None,
                ticket: Ticket(n as u64),
                session: session(n),
                room: room.clone(),
                demands: vec![(at.worker, *cost)],
                at: None,
                claim: Claim::Place,
            };
            let ledger = self.ledgers.get_mut(&at.node).expect("is there");
            if ledger.reserve(&wish, self.now).is_err() {
                for node in kept {
                    self.ledgers.get_mut(&node).expect("is there").release_ticket(Ticket(n as u64));
                }
                return Err(at.clone());
            }
            kept.push(at.node.clone());
        }
        Ok(())
    }

    fn spent(&self) -> u64 {
        let ledgers = self.ledgers.values();
        ledgers.map(|l| (0..WORKERS).map(|w| l.figures(w).used + l.figures(w).held).sum::<u64>()).sum()
    }

    fn is_within_budget(&self) -> bool {
        self.ledgers.values().all(|ledger| {
            (0..WORKERS).all(|w| ledger.figures(w).used + ledger.figures(w).held <= BUDGET.worker_packets)
                && ledger.used_bits() <= BUDGET.node_bits
        })
    }
}

fn wish(entry: usize, publishes: bool) -> Wish {
    Wish {
        entry: node(entry),
        sends: if publishes { estimate::peer() } else { Sends::NOTHING },
        entry_first: false,
        audience: false,
        expected_peers: 4,
        first: Vec::new(),
    }
}

/// Joins of peers to rooms: (room, whether it publishes, whether gossip comes before).
fn joins() -> impl Strategy<Value = Vec<(usize, bool, bool)>> {
    prop::collection::vec((0..6_usize, any::<bool>(), prop::bool::weighted(0.3)), 1..80)
}

/// Runs joins as homes and hosts would. Answers where everyone went.
fn run(joins: &[(usize, bool, bool)], seed: u64) -> (Mesh, Vec<Option<WorkerAddress>>) {
    let mut mesh = Mesh::new(4);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut rooms: BTreeMap<usize, (Layout, Costs)> = BTreeMap::new();
    let mut went = Vec::new();
    for (n, (key, publishes, gossip)) in joins.iter().enumerate() {
        if *gossip {
            mesh.gossip();
        }
        let (layout, charged) = rooms.entry(*key).or_insert_with(|| (Layout::new(8), Costs::new()));
        let wish = wish(n % 4, *publishes);
        let mut search = Search::new(wish.clone(), layout, &mesh.field, mesh.now, &mut rng);
        let mut place = None;
        for _ in 0..16 {
            match search.next(layout, &mesh.field, mesh.now) {
                Step::Ask(proposal) => match mesh.reserve(&room(*key), n, &proposal.demands) {
                    Ok(()) => {
                        place = Some(proposal.at);
                        break;
                    }
                    Err(by) => search.refused(&proposal.at, &by),
                },
                Step::MakeRoom(_) => {}
                Step::GiveUp => break,
            }
        }
        if let Some(at) = &place {
            layout.add(at, wish.sends).expect("was proposed");
            let costs = layout.costs();
            for (at, cost) in &costs {
                let before = charged.get(at).copied().unwrap_or_default();
                mesh.ledgers.get_mut(&at.node).expect("is there").charge(
                    &room(*key),
                    at.worker,
                    before,
                    *cost,
                );
            }
            *charged = costs;
        }
        went.push(place);
        assert!(mesh.is_within_budget(), "after join {n}");
    }
    (mesh, went)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_ever_above_budget_however_old_gossip_is(joins in joins(), seed in any::<u64>()) {
        run(&joins, seed);
    }

    #[test]
    fn a_seed_decides(joins in joins(), seed in any::<u64>()) {
        prop_assert_eq!(run(&joins, seed).1, run(&joins, seed).1);
    }

    #[test]
    fn a_refused_reservation_leaves_nothing(joins in joins(), packets in 0..9000_u64) {
        let (mut mesh, _) = run(&joins, 1);
        let before = mesh.spent();
        let demands: Vec<_> = (0..4).map(|n| (at(n, 0), Cost::new(packets, 0))).collect();
        if mesh.reserve(&room(99), 999, &demands).is_err() {
            prop_assert_eq!(mesh.spent(), before);
        } else {
            prop_assert_eq!(mesh.spent(), before + 4 * packets);
            let later = mesh.now + RESERVATION_LIFE;
            mesh.ledgers.values_mut().for_each(|ledger| ledger.expire(later));
            prop_assert!(mesh.spent() <= before, "it expires");
        }
    }

    #[test]
    fn who_comes_and_goes_leaves_the_layout_as_it_was(joins in joins(), n in 0..4_usize, w in 0..WORKERS) {
        let mut layout = Layout::new(8);
        for (n, (key, publishes, _)) in joins.iter().enumerate() {
            layout.add(&at(key % 4, (n % 2) as u16), wish(0, *publishes).sends).expect("four nodes");
        }
        let before = layout.costs();
        layout.add(&at(n, w), estimate::peer()).expect("four nodes");
        let after = layout.costs();
        // Who comes costs something wherever the room is, and nothing gets cheaper.
        prop_assert!(before.iter().all(|(at, cost)| cost.fits(after[at])) || before.len() == 1);
        prop_assert!(price(&before, &after).iter().any(|(place, _)| *place == at(n, w)));
        layout.remove(&at(n, w), estimate::peer());
        prop_assert_eq!(layout.costs(), before);
    }

    #[test]
    fn everyone_receives_everyone_and_pipes_come_on_top(peers in prop::collection::vec((0..4_usize, 0..WORKERS), 2..30)) {
        let mut layout = Layout::new(8);
        for (n, w) in &peers {
            layout.add(&at(*n, *w), estimate::peer()).expect("four nodes");
        }
        let one = estimate::peer().one.packets;
        let count = peers.len() as u64;
        let all: u64 = layout.costs().values().map(|cost| cost.packets).sum();
        let places = layout.workers().count() as u64;
        // Each producer goes through a pipe once for each other worker of the room.
        prop_assert_eq!(all, count * (count - 1) * one + count * one * (places - 1));
    }
}

#[test]
fn nobody_is_sent_to_nodes_that_take_none_or_are_not_heard_of() {
    let mut mesh = Mesh::new(3);
    let draining = NodeFigures { takes: false, ..mesh.figures(&node(0)) };
    mesh.field.hear(&node(0), draining, mesh.now);
    let figures = mesh.figures(&node(1));
    mesh.field.forget(&node(1));
    mesh.field.hear(&node(1), figures, mesh.now);
    let later = mesh.now + Duration::from_secs(4);
    let figures = mesh.figures(&node(2));
    mesh.field.hear(&node(2), figures, later);
    let layout = Layout::new(8);
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut search = Search::new(wish(0, true), &layout, &mesh.field, later, &mut rng);
        let Step::Ask(proposal) = search.next(&layout, &mesh.field, later) else {
            panic!("node 2 takes peers")
        };
        assert_eq!(proposal.at.node, node(2));
    }
}

#[test]
fn new_rooms_go_to_the_fullest_worker_that_they_can_grow_on_and_peers_stay_together() {
    let mut mesh = Mesh::new(3);
    mesh.ledgers.get_mut(&node(1)).expect("is there").charge(&room(9), 0, Cost::ZERO, Cost::new(1500, 0));
    mesh.gossip();
    let mut layout = Layout::new(8);
    let mut rng = StdRng::seed_from_u64(3);
    for n in 0..4 {
        let mut search = Search::new(wish(n % 3, true), &layout, &mesh.field, mesh.now, &mut rng);
        let Step::Ask(proposal) = search.next(&layout, &mesh.field, mesh.now) else {
            panic!("there is room")
        };
        assert_eq!(proposal.at, at(1, 0), "peer {n}");
        layout.add(&proposal.at, estimate::peer()).expect("one node");
    }
    // Its worker has only left what rooms need to go on elsewhere: in-process pipes come before the network's.
    let mut figures = mesh.figures(&node(1));
    figures.workers[0] = WorkerFigures { free: 3700, open: 0, spare: 2500, ..figures.workers[0] };
    mesh.field.hear(&node(1), figures, mesh.now);
    let mut search = Search::new(wish(0, true), &layout, &mesh.field, mesh.now, &mut rng);
    let Step::Ask(proposal) = search.next(&layout, &mesh.field, mesh.now) else { panic!("there is room") };
    assert_eq!(proposal.at, at(1, 1));
    let pipes = proposal
        .demands
        .iter()
        .find(|(place, _)| *place == at(1, 0))
        .expect("sends to the newcomer's worker");
    assert_eq!(pipes.1.packets, 4 * 220 + 4 * 220, "what its peers send, and the newcomer's to each of them");
}

#[test]
fn near_equals_share_a_burst() {
    let mesh = Mesh::new(4);
    let chosen: std::collections::BTreeSet<_> = (0..40)
        .map(|seed| {
            let (layout, mut rng) = (Layout::new(8), StdRng::seed_from_u64(seed));
            let entry = Wish { entry: "elsewhere".parse().expect("a name"), ..wish(0, true) };
            let mut search = Search::new(entry, &layout, &mesh.field, mesh.now, &mut rng);
            match search.next(&layout, &mesh.field, mesh.now) {
                Step::Ask(proposal) => proposal.at.to_string(),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert!(chosen.len() > 4, "{chosen:?}");
}

/// What the first node says when its workers have so much left.
fn figures_with(mesh: &Mesh, left: &[(usize, u64)]) -> NodeFigures {
    let mut figures = mesh.figures(&node(0));
    for (worker, free) in left {
        figures.workers[*worker] =
            WorkerFigures { free: *free, open: 0, spare: 0, ..figures.workers[*worker] };
    }
    figures
}

#[test]
fn a_peer_leaves_a_full_worker_for_one_that_the_room_has_at_no_cost_there() {
    let now = Instant::now();
    let mut seats = Seats::new(8);
    for n in 0..6 {
        let peer = format!("p{n}").parse().expect("a name");
        let place = at(usize::from(n == 5), 0);
        seats.sit(session(n), &peer, &place, estimate::peer(), now).expect("two nodes");
    }
    let shifts = [0, 1].map(|n| shift::Shift { session: session(n), from: at(0, 0), to: at(1, 0) });
    let demands: Vec<_> = shift::demands(&seats, &shifts).into_iter().flatten().collect();
    assert_eq!(demands.len(), 2);
    for demand in demands {
        assert!(demand.iter().all(|(place, _)| *place == at(1, 0)), "{demand:?}");
    }
    // To a worker that is new to the room all that it sends has to come along, but only with the first.
    let shifts = [0, 1].map(|n| shift::Shift { session: session(n), from: at(0, 0), to: at(2, 0) });
    let demands = shift::demands(&seats, &shifts);
    let there = |n: usize| {
        let demand = demands[n].as_ref().expect("it can go");
        demand.iter().find(|(place, _)| *place == at(0, 0)).map_or(0, |(_, cost)| cost.packets)
    };
    assert_eq!((there(0), there(1)), (5 * estimate::peer().all.packets, 0));
}

#[test]
fn room_is_made_on_all_workers_that_lack_it() {
    let mut mesh = Mesh::new(2);
    let now = mesh.now;
    let mut seats = Seats::new(8);
    for n in 0..8 {
        let peer = format!("p{n}").parse().expect("a name");
        seats.sit(session(n), &peer, &at(0, u16::from(n >= 4)), estimate::peer(), now).expect("a node");
    }
    mesh.field.hear(&node(0), figures_with(&mesh, &[(0, 900), (1, 900)]), now);
    let newcomer = estimate::peer();
    let mut rng = StdRng::seed_from_u64(1);
    let shifts = shift::make_room(&seats, &at(0, 0), newcomer, &mesh.field, |_| true, now, &mut rng);
    let from: std::collections::BTreeSet<_> = shifts.iter().map(|shift| shift.from.clone()).collect();
    assert_eq!(from.len(), 2, "{shifts:?}");
    assert!(shifts.iter().all(|shift| shift.to.node == node(1)), "{shifts:?}");
}

#[test]
fn listeners_make_room_first_and_a_room_is_brought_together_where_it_fits() {
    let mut mesh = Mesh::new(2);
    let now = mesh.now;
    let mut seats = Seats::new(8);
    let mut rng = StdRng::seed_from_u64(1);
    for n in 0..4 {
        let sends = if n == 3 { Sends::NOTHING } else { estimate::peer() };
        let peer = format!("p{n}").parse().expect("a name");
        seats.sit(session(n), &peer, &at(0, 0), sends, now).expect("one node");
    }
    mesh.field.hear(&node(0), figures_with(&mesh, &[(0, 1100), (1, 0)]), now);
    mesh.field.hear(&node(1), mesh.figures(&node(1)), now);
    let shifts = shift::make_room(&seats, &at(0, 0), estimate::peer(), &mesh.field, |_| true, now, &mut rng);
    assert_eq!(shifts.iter().map(|shift| shift.session).collect::<Vec<_>>(), [session(3)]);
    assert!(
        shift::make_room(&seats, &at(0, 0), estimate::peer(), &mesh.field, |_| false, now, &mut rng)
            .is_empty()
    );
    mesh.gossip();
    let peer = "late".parse().expect("a name");
    seats.sit(session(9), &peer, &at(1, 1), estimate::peer(), now).expect("two nodes");
    let shifts = shift::bring_together(&seats, &mesh.field, |_| true, now);
    assert_eq!(shifts.len(), 1);
    assert_eq!((&shifts[0].from, &shifts[0].to), (&at(1, 1), &at(0, 0)));
    let far = propose(&wish(0, true), seats.layout(), &seats.layout().costs(), &at(1, 0)).expect("two nodes");
    assert!(far.demands.len() == 3, "all three workers have work: {far:?}");
}

#[test]
fn a_small_room_makes_way_whole_and_of_a_large_one_as_many_as_are_needed() {
    let mut mesh = Mesh::new(3);
    let now = mesh.now;
    let mut rng = StdRng::seed_from_u64(1);
    let mut seats = Seats::new(8);
    let sit = |seats: &mut Seats, n: usize, place: &WorkerAddress| {
        let peer = format!("p{n}").parse().expect("a name");
        seats.sit(session(n), &peer, place, estimate::peer(), now).expect("a node");
    };
    for n in 0..3 {
        sit(&mut seats, n, &at(0, 0));
    }
    let one = estimate::peer().one.packets;
    let mut make_way = |seats: &Seats, mesh: &Mesh, packets: u64, may: &dyn Fn(&SessionId) -> bool| {
        let room = "r".parse().expect("a name");
        let wish = MakeWay { room, at: at(0, 0), packets, avoid: Vec::new(), urgent: true, spreads: false };
        shift::make_way(seats, &wish, &mesh.field, may, now, &mut rng)
    };
    mesh.field.hear(&node(0), figures_with(&mesh, &[(0, 4 * one), (1, 0)]), now);
    let shifts = make_way(&seats, &mesh, 1, &|_| true);
    assert_eq!(shifts.len(), 3, "all of it goes: {shifts:?}");
    assert!(shifts.iter().all(|shift| shift.to == shifts[0].to && shift.to.node != node(0)), "{shifts:?}");
    assert!(make_way(&seats, &mesh, 1, &|id| *id != session(1)).is_empty(), "one of them must stay");
    mesh.field.hear(&node(0), figures_with(&mesh, &[(0, one), (1, 0)]), now);
    assert!(make_way(&seats, &mesh, 1, &|_| true).is_empty(), "too little is left to send it elsewhere");
    // Too many to go at once: some go to where the room is already.
    for n in 3..7 {
        sit(&mut seats, n, &at(0, 0));
    }
    sit(&mut seats, 7, &at(1, 1));
    mesh.gossip();
    let shifts = make_way(&seats, &mesh, 8 * one, &|_| true);
    let places: Vec<_> = shifts.iter().map(|shift| shift.to.clone()).collect();
    assert_eq!(places, [at(1, 1)], "one leaves what eight receive");
}

/// A room with so many peers who send on each worker.
fn layout_of(parts: &[(WorkerAddress, usize)]) -> Layout {
    let mut layout = Layout::new(8);
    for (place, peers) in parts {
        for _ in 0..*peers {
            layout.add(place, estimate::peer()).expect("few nodes");
        }
    }
    layout
}

/// What nodes say when their workers have so much left.
fn hear(mesh: &mut Mesh, left: &[(WorkerAddress, u64)]) {
    let now = mesh.now;
    for n in 0..mesh.ledgers.len() {
        let left = left.iter().filter(|(place, _)| place.node == node(n));
        let left: Vec<_> = left.map(|(place, left)| (usize::from(place.worker), *left)).collect();
        let figures = NodeFigures { free_bits: 1 << 40, ..figures_with(mesh, &left) };
        mesh.field.hear(&node(n), figures, now);
    }
}

#[test]
fn who_can_not_send_to_one_node_more_has_another_do_it() {
    let one = estimate::peer().all.packets;
    for (short, able, by) in [
        (at(0, 0), at(1, 0), at(1, 0)),
        // Not the worker through which a node receives, but the one that has more.
        (at(0, 0), at(1, 1), at(1, 1)),
        // Another worker of the same node.
        (at(0, 0), at(0, 1), at(0, 1)),
    ] {
        let mut mesh = Mesh::new(3);
        let others = [at(0, 1), at(1, 0), at(1, 1)].into_iter().filter(|other| *other != able);
        let others: Vec<_> = others.map(|other| (other, 3 * one)).collect();
        let left: Vec<_> =
            [(short.clone(), one), (able.clone(), 9 * one)].into_iter().chain(others).collect();
        hear(&mut mesh, &left);
        let before = layout_of(&[(at(0, 0), 3), (at(0, 1), 1), (at(1, 0), 1), (at(1, 1), 1)]);
        let costs = |layout: &Layout| {
            let mut after = layout.clone();
            after.add(&at(2, 0), Sends::NOTHING).expect("three nodes");
            (price(&before.costs(), &after.costs()), after.relays(&node(2)))
        };
        let (plain, relays) = costs(&before);
        assert!(relays.is_empty() && plain.contains(&(short.clone(), estimate::peer().all * 3)), "{plain:?}");
        let mut heeds = before.clone();
        heeds.heed(&mesh.field, mesh.now);
        let (heeded, relays) = costs(&heeds);
        assert_eq!(relays, BTreeMap::from([(node(0), by.clone())]));
        assert!(heeded.iter().all(|(place, _)| *place != short), "{heeded:?}");
        let of = |price: &[(WorkerAddress, Cost)], place: &WorkerAddress| {
            price.iter().find(|(other, _)| other == place).map_or(0, |(_, cost)| cost.packets)
        };
        // All that the node sends goes through one worker, beside what that sends itself.
        let own = if by.node == node(0) { 0 } else { one };
        assert_eq!(of(&heeded, &by), 4 * one + own);
        let all = |price: &[(WorkerAddress, Cost)]| price.iter().map(|(_, cost)| cost.packets).sum::<u64>();
        assert_eq!(all(&heeded), all(&plain), "somebody has to send it");
        heeds.heed_nothing();
        assert_eq!(costs(&heeds), (plain, BTreeMap::new()));
        // While each can send itself nobody does it for another, and nobody can who has no more.
        for left in [3 * one + 40 * REFERENCE.packets / 20, one] {
            let everywhere = [at(0, 0), at(0, 1), at(1, 0), at(1, 1)].map(|place| (place, left));
            hear(&mut mesh, &everywhere);
            heeds.heed(&mesh.field, mesh.now);
            assert!(costs(&heeds).1.is_empty(), "{left}");
        }
    }
}

#[test]
fn a_worker_that_is_left_passes_on_no_more() {
    let mut mesh = Mesh::new(3);
    let one = estimate::peer().all.packets;
    hear(&mut mesh, &[(at(0, 0), 0), (at(1, 0), 4 * one), (at(1, 1), 20 * one)]);
    let mut layout = layout_of(&[(at(0, 0), 3), (at(1, 0), 1), (at(1, 1), 1)]);
    layout.heed(&mesh.field, mesh.now);
    layout.add(&at(2, 0), Sends::NOTHING).expect("three nodes");
    let version = layout.version();
    assert_eq!(layout.relays(&node(2)), BTreeMap::from([(node(0), at(1, 1))]));
    layout.remove(&at(1, 1), estimate::peer());
    assert_eq!(layout.relays(&node(2)), BTreeMap::from([(node(0), at(1, 0))]));
    assert_ne!(layout.version(), version, "hosts are told");
}

#[test]
fn a_room_goes_on_elsewhere_while_one_of_its_workers_can() {
    let mut mesh = Mesh::new(4);
    let (now, one) = (mesh.now, estimate::peer().all.packets);
    // On none of the three workers does a listener find a place, who receives six; on the first there is not even enough to
    // send two elsewhere.
    let mut layout = layout_of(&[(at(0, 0), 2), (at(1, 0), 2), (at(2, 0), 2)]);
    let left = [(at(0, 0), 2 * one), (at(1, 0), 6 * one - 1), (at(2, 0), 4 * one), (at(3, 0), 36 * one)];
    let none = [at(0, 1), at(1, 1), at(2, 1), at(3, 1)].map(|at| (at, 0));
    hear(&mut mesh, &[left, none].concat());
    let first = |layout: &Layout| {
        let mut rng = StdRng::seed_from_u64(1);
        let mut search = Search::new(wish(3, false), layout, &mesh.field, now, &mut rng);
        search.next(layout, &mesh.field, now)
    };
    let step = first(&layout);
    assert!(matches!(&step, Step::Ask(proposal) if proposal.at != at(3, 0)), "in vain: {step:?}");
    layout.heed(&mesh.field, now);
    let step = first(&layout);
    assert!(matches!(&step, Step::Ask(proposal) if proposal.at == at(3, 0)), "{step:?}");
}

#[test]
fn room_is_made_first_where_it_is_lacking_for_most_places() {
    let mut mesh = Mesh::new(4);
    let (now, one) = (mesh.now, estimate::peer().all.packets);
    // Wherever a newcomer goes, the third worker has to send on what it sends, and cannot; the others only cannot have it there.
    let layout = layout_of(&[(at(0, 0), 2), (at(1, 0), 2), (at(2, 0), 2)]);
    let left = [(at(0, 0), 5 * one), (at(1, 0), 5 * one), (at(2, 0), 2 * one), (at(3, 0), 36 * one)];
    let none = [at(0, 1), at(1, 1), at(2, 1), at(3, 1)].map(|at| (at, 0));
    hear(&mut mesh, &[left, none].concat());
    let mut search = Search::new(wish(3, true), &layout, &mesh.field, now, &mut StdRng::seed_from_u64(1));
    let step = loop {
        match search.next(&layout, &mesh.field, now) {
            Step::Ask(proposal) => search.refused(&proposal.at, &proposal.at),
            step => break step,
        }
    };
    assert_eq!(step, Step::MakeRoom(at(2, 0)));
}

#[test]
fn others_make_way_where_the_room_is_not() {
    let mut mesh = Mesh::new(2);
    let (now, one) = (mesh.now, estimate::peer().all.packets);
    let layout = layout_of(&[(at(0, 0), 3)]);
    hear(&mut mesh, &[(at(0, 0), 8 * one), (at(0, 1), 0), (at(1, 0), 4 * one), (at(1, 1), 0)]);
    let mut search = Search::new(wish(0, true), &layout, &mesh.field, now, &mut StdRng::seed_from_u64(1));
    let mut makes_room = Vec::new();
    for _ in 0..16 {
        match search.next(&layout, &mesh.field, now) {
            Step::Ask(proposal) => search.refused(&proposal.at, &proposal.at),
            Step::MakeRoom(at) => makes_room.push(at),
            Step::GiveUp => break,
        }
    }
    assert!(makes_room.contains(&at(1, 0)), "{makes_room:?}");
    let lacks = choose::lacks(&wish(0, true), &layout, &at(1, 0), &mesh.field, now);
    // What three send, and what it sends itself to their worker.
    assert!(lacks > 0 && lacks < 4 * one, "{lacks}");
}

#[test]
fn who_moves_does_not_receive_itself() {
    let now = Instant::now();
    let mut seats = Seats::new(8);
    for n in 0..4 {
        let peer = format!("p{n}").parse().expect("a name");
        seats.sit(session(n), &peer, &at(0, 0), estimate::peer(), now).expect("a node");
    }
    let shift = shift::Shift { session: session(0), from: at(0, 0), to: at(1, 0) };
    let demands = shift::demands(&seats, &[shift]);
    let there = demands[0].as_ref().expect("it can go").iter().find(|(place, _)| *place == at(1, 0));
    // What three others send, and what comes in from itself while nobody receives that.
    assert_eq!(there.map(|(_, cost)| cost.packets), Some(4 * estimate::peer().one.packets));
}
