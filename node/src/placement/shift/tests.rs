//! What is seen before it is counted peer by peer must be so; and who goes ahead helps, and nobody has to come back.

use super::exchange::REMNANT;
use super::*;
use crate::placement::estimate;
use crate::placement::field::{NodeFigures, WorkerFigures};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use skein_proto::capacity::REFERENCE;

const TOTAL: u64 = 200 * REFERENCE.packets;

fn at(n: usize) -> WorkerAddress {
    WorkerAddress { node: format!("n{n}").parse().expect("a name"), worker: 0 }
}

/// One worker on each node, with so many packets a second left.
fn field(free: &[u64], now: Instant) -> Field {
    field_with(free, 0, now)
}

/// The same, of which so many are spare.
fn field_with(free: &[u64], spare: u64, now: Instant) -> Field {
    field_over(free, spare, &[], now)
}

/// The same, where some carry more than they should.
fn field_over(free: &[u64], spare: u64, over: &[usize], now: Instant) -> Field {
    let mut field = Field::default();
    for (n, free) in free.iter().copied().enumerate() {
        let figures = NodeFigures {
            workers: vec![WorkerFigures { free, open: free, spare, total: TOTAL }],
            free_bits: u64::MAX,
            region: "here".to_owned(),
            zone: String::new(),
            over: over.iter().filter(|over| **over == n).map(|_| 0).collect(),
            takes: true,
        };
        field.hear(&at(n).node, figures, now);
    }
    field
}

/// A room whose peers are on these nodes, and send or do not.
fn seats(peers: &[(usize, bool)], now: Instant) -> Seats {
    let mut seats = Seats::new(8);
    for (n, (node, sends)) in peers.iter().enumerate() {
        let session = SessionId { admitted_ms: n as u64, nonce: 0 };
        let peer = format!("p{n}").parse().expect("a name");
        let sends = if *sends { estimate::peer() } else { Sends::NOTHING };
        seats.sit(session, &peer, &at(*node), sends, now).expect("few nodes");
    }
    seats
}

proptest! {
    #[test]
    fn where_all_can_go_there_was_as_much_left_as_they_take_at_least(
        peers in prop::collection::vec((0..3_usize, any::<bool>()), 1..12),
        free in prop::collection::vec(0..TOTAL, 5),
    ) {
        let now = Instant::now();
        let (seats, field) = (seats(&peers, now), field(&free, now));
        let (layout, before) = (seats.layout(), seats.layout().costs());
        for from in 0..3 {
            let there = movable(&seats, &at(from), |_| true);
            for to in 3..5 {
                if there.is_empty() || can_all_go(&before, layout, &there, &at(to), &field, now).is_none() {
                    continue;
                }
                let left = field.left_for_others(&at(to), now).expect("is known").packets;
                prop_assert!(landing(layout, &there) <= left, "{from} to {to}: {left}");
                prop_assert!(can_spread(layout, &field, now), "{from} to {to}");
            }
        }
    }
}

#[test]
fn as_few_go_ahead_as_it_takes() {
    let now = Instant::now();
    let one = estimate::peer().one.packets;
    // 17 and 15 who all send. The worker of the 17 is all but full; the other one has space for two more of them.
    let peers: Vec<_> = (0..32).map(|n| (usize::from(n >= 17), true)).collect();
    let seats = seats(&peers, now);
    let received = seats.layout().received().packets;
    let needs = seats.layout().to_go_on(&at(0), estimate::peer());
    assert!(needs > received && needs < 2 * received, "{needs} and {received}");
    let kept = TOTAL - self::field(&[TOTAL], now).left_for_others(&at(0), now).map_or(0, |left| left.packets);
    // Two are gone before the newcomer is counted; after the first there is less to send.
    let roomy = self::field(&[kept + needs - received, kept + 2 * received + 15 * one, 0], now);
    let there = movable(&seats, &at(0), |_| true);
    let going: Vec<_> = there.iter().rev().take(2).copied().collect();
    let shifts = just_enough(seats.layout(), &going, &at(0), &at(1), estimate::peer(), &roomy, now);
    assert_eq!(shifts.map(|shifts| shifts.len()), Some(1));
    let crowded = self::field(&[kept + needs - received, kept + received, 0], now);
    let shifts = just_enough(seats.layout(), &going, &at(0), &at(1), estimate::peer(), &crowded, now);
    assert_eq!(shifts, None, "the other worker could not go on then");
    let one_goes = part(seats.layout(), &going, &at(0), &[at(1)], |_, _, _| true, &crowded, now);
    assert_eq!(one_goes.len(), 1, "one fits there");
    let shifts = ease(seats.layout(), &there, &at(0), estimate::peer(), &[at(1)], &crowded, now);
    assert_eq!(shifts, [], "and would have to come back");
}

proptest! {
    #[test]
    fn a_remnant_fits_once_others_have_left_as_much_as_it_lacks(
        peers in prop::collection::vec((0..4_usize, any::<bool>()), 1..24),
        free in prop::collection::vec(0..TOTAL / 4, 5),
    ) {
        let now = Instant::now();
        let kept = crate::placement::ledger::kept_for_moves(TOTAL);
        let (seats, next) = (seats(&peers, now), estimate::peer());
        let layout = seats.layout();
        let Some((shifts, to, packets)) = exchange(&seats, next, &field_with(&free, kept, now), |_| true, now) else {
            return Ok(());
        };
        let from = &shifts[0].from;
        prop_assert!(shifts.len() as u64 == layout.peers_at(from) && shifts.len() as u64 <= REMNANT);
        prop_assert!(shifts.iter().all(|shift| shift.from == *from && shift.to == to && to != *from));
        prop_assert!(layout.peers_at(&to) > 0, "the room is there already");
        let left = |n: usize, free: u64| if at(n) == to { free + packets } else { free };
        let free: Vec<_> = free.iter().enumerate().map(|(n, free)| left(n, *free)).collect();
        let field = field_with(&free, kept, now);
        let there: Vec<_> = seats.iter().filter(|(_, seat)| seat.at == *from).collect();
        let before = layout.costs();
        let after = can_all_go(&before, layout, &there, &to, &field, now);
        let goes_on = |lies: &Layout| {
            let more = price(&before, &lies.costs()).into_iter().find(|(at, _)| *at == to);
            let more = more.map_or(0, |(_, cost)| cost.packets);
            field.left(&to, now).is_some_and(|left| left.packets >= more + lies.to_go_on(&to, next))
        };
        prop_assert!(after.as_ref().is_some_and(goes_on), "it fits, and the room can leave again");
    }
}

#[test]
fn peers_pass_on_to_another_worker_of_the_room_once_others_have_left_that() {
    let now = Instant::now();
    let seats = seats(&[(0, true), (0, true), (0, true), (1, true), (2, true)], now);
    let received = seats.layout().received().packets;
    let next = estimate::peer();
    // Nothing is left where they are, and most of what they take on the last of the three.
    let field = field(&[0, 0, received - 1, TOTAL], now);
    let found = pass_on(&seats, &at(0), 1, next, &field, |_| true, now);
    let Some((shifts, to, packets)) = found else { panic!("there is another worker") };
    assert_eq!((shifts.len(), to), (1, at(2)), "one is enough, and there least has to be left");
    assert!(packets > 0);
    let few = pass_on(&seats, &at(0), received + 1, next, &field, |_| true, now);
    assert_eq!(few.map(|(shifts, ..)| shifts.len()), Some(2));
    assert_eq!(pass_on(&seats, &at(0), 1, next, &field, |_| false, now), None, "all must stay");
    let alone = self::seats(&[(0, true), (0, true)], now);
    assert_eq!(pass_on(&alone, &at(0), 1, next, &field, |_| true, now), None, "the room is nowhere else");
}

#[test]
fn nobody_makes_way_to_where_who_asks_is_or_others_would_be_in_want_next() {
    let now = Instant::now();
    let seats = seats(&[(0, true), (0, true)], now);
    let one = estimate::peer().one.packets;
    let make_way = |spare: u64, avoid: &[WorkerAddress], urgent: bool| {
        let field = field_with(&[4 * one, 60 * one, 40 * one], spare, now);
        let room = "r".parse().expect("a name");
        let wish = MakeWay { room, at: at(0), packets: one, avoid: avoid.to_vec(), urgent, spreads: false };
        let shifts = make_way(&seats, &wish, &field, |_| true, now, &mut rand::rng());
        shifts.first().map(|shift| shift.to.clone())
    };
    for urgent in [false, true] {
        let found = make_way(0, &[], urgent);
        assert_eq!(found, Some(at(2)), "the fullest that has room for others beside it");
        assert_eq!(make_way(0, &[at(2)], urgent), Some(at(1)));
        assert_eq!(make_way(0, &[at(1), at(2)], urgent), None);
    }
    assert_eq!(make_way(60 * one, &[], false), None, "all of that is kept for rooms to go on elsewhere");
    assert_eq!(make_way(60 * one, &[], true), Some(at(1)), "but somebody waits");
}

#[test]
fn of_a_large_room_some_make_way_to_one_worker_more_only_where_it_may_spread() {
    let now = Instant::now();
    let one = estimate::peer().one.packets;
    let field = field(&[20 * one, 60 * one, 60 * one], now);
    let make_way = |seats: &Seats, spreads: bool| {
        let room = "r".parse().expect("a name");
        let wish = MakeWay { room, at: at(0), packets: one, avoid: Vec::new(), urgent: true, spreads };
        let shifts = super::make_way(seats, &wish, &field, |_| true, now, &mut rand::rng());
        shifts.into_iter().map(|shift| shift.to).collect::<Vec<_>>()
    };
    let alone = vec![(0, true); 12];
    assert_eq!(make_way(&seats(&alone, now), false), []);
    assert_eq!(make_way(&seats(&alone, now), true).len(), 1);
    let beside = [alone, vec![(2, true)]].concat();
    assert_eq!(make_way(&seats(&beside, now), false), [at(2)], "there it is already");
}

#[test]
fn a_room_comes_together_where_no_worker_gets_fuller_than_four_fifths() {
    let now = Instant::now();
    let seats = seats(&[(0, true), (0, true), (0, true), (1, true), (1, true)], now);
    let after = self::seats(&[(0, true); 5], now).layout().costs();
    let cost = |costs: &Costs| costs.get(&at(0)).map_or(0, |cost| cost.packets);
    let more = cost(&after) - cost(&seats.layout().costs());
    let fifth = TOTAL / 5;
    assert!(more > 0);
    for (left, comes) in [(fifth + more, true), (fifth + more - 1, false)] {
        // The other worker is as full as can be, which is no reason to fill this one.
        let shifts = bring_together(&seats, &field(&[left, fifth / 4], now), |_| true, now);
        assert_eq!(shifts.len(), if comes { 2 } else { 0 }, "{left}: {shifts:?}");
        assert!(shifts.iter().all(|shift| (&shift.from, &shift.to) == (&at(1), &at(0))), "{shifts:?}");
    }
}

#[test]
fn a_mesh_is_tight_when_no_worker_is_nearly_empty() {
    let now = Instant::now();
    assert!(!field(&[0, TOTAL, 0], now).is_tight());
    assert!(!field(&[0, TOTAL * 3 / 4, 0], now).is_tight());
    assert!(field(&[0, TOTAL / 2, TOTAL / 2], now).is_tight());
}

#[test]
fn a_room_leaves_a_worker_that_carries_too_much() {
    let now = Instant::now();
    let small = seats(&[(0, true), (0, true)], now);
    let gone = |seats: &Seats, field: &Field| {
        let mut rng = StdRng::seed_from_u64(1);
        relieve(seats, &at(0), estimate::peer(), field, |_| true, now, &mut rng).len()
    };
    let full = [0, TOTAL / 2, 0];
    assert_eq!(gone(&small, &field(&full, now)), 0, "it is full: nothing more is sent from there");
    assert_eq!(gone(&small, &field_over(&full, 0, &[0], now)), 2);
    // More than fits anywhere. Where everything is full, one worker more would cost others their place.
    let large = seats(&[(0, true); 12], now);
    assert_eq!(gone(&large, &field_over(&full, 0, &[0], now)), 0);
    let room = [0, TOTAL / 4 * 3, 0];
    assert!(
        (1..12).contains(&gone(&large, &field_over(&room, 0, &[0], now))),
        "where there is space, some go"
    );
}
