//! One test for each rule; what holds in general is in [`props`].

mod props;
mod world;

use super::*;
use crate::scaler::cloud::MachineState;
use world::World;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn kind(name: &str, streams: u32, price: f64, boot: u64) -> Kind {
    Kind { name: name.to_owned(), streams, price, boot: SECOND * u32::try_from(boot).unwrap_or(0) }
}

/// One type of 200 streams, ten nodes, and a hundred streams kept free.
fn limits() -> Limits {
    Limits {
        min_nodes: 1,
        max_nodes: 10,
        cost_per_hour: None,
        spare: 100,
        idle: MINUTE * 10,
        drain: MINUTE * 10,
        join_deadline: MINUTE * 5,
        lost: MINUTE * 5,
        warm: 0,
        kinds: vec![kind("c", 200, 0.25, 60)],
        zones: 1,
    }
}

/// A node of 200 streams; number 0 is a seed.
fn node(number: u64, used: u32) -> NodeSeen {
    NodeSeen {
        id: format!("mesh-{number}").parse().expect("a name"),
        number: (number > 0).then_some(number),
        kind: (number > 0).then(|| "c".to_owned()),
        phase: Phase::Ready,
        free: 200 - used,
        total: 200,
        peers: used / 4,
        rooms: 0,
        joined: 0,
        figures_age: Duration::ZERO,
        suspect: false,
    }
}

fn machine(number: u64, age: Duration) -> MachineSeen {
    let kind = "c".to_owned();
    MachineSeen { number, kind, state: MachineState::Running, age, last_in_gossip: Some(Duration::ZERO) }
}

/// Nodes of these numbers, so much used, whose machines are old.
fn seen(nodes: &[(u64, u32)]) -> Seen {
    let launched = nodes.iter().map(|(number, _)| *number).max().unwrap_or(0);
    Seen {
        nodes: nodes.iter().map(|&(number, used)| node(number, used)).collect(),
        machines: Some(nodes.iter().filter(|(n, _)| *n > 0).map(|&(n, _)| machine(n, MINUTE * 60)).collect()),
        launched,
        ..Seen::default()
    }
}

fn waiting(joins: u32, streams: u32) -> Queued {
    Queued { joins, streams, guaranteed: 0 }
}

/// What a new planner says of this.
fn first(seen: &Seen, limits: &Limits) -> Plan {
    Planner::new(1).plan(Instant::now(), seen, limits)
}

/// What a planner says of this in the end, when it stays so for so long.
fn after(planner: &mut Planner, from: Instant, time: Duration, seen: &Seen, limits: &Limits) -> Plan {
    let mut passed = Duration::ZERO;
    while passed < time {
        planner.plan(from + passed, seen, limits);
        passed += SECOND * 5;
    }
    planner.plan(from + time, seen, limits)
}

fn said(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

/// What is done, without why.
fn done(plan: &Plan) -> Vec<String> {
    said(plan).iter().map(|said| said.split(':').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn nothing_is_done_when_enough_is_free() {
    let plan = first(&seen(&[(0, 100)]), &limits());
    assert_eq!(said(&plan), Vec::<String>::new());
    assert_eq!((plan.wanted, plan.free, plan.booting, plan.grows), (100, 100, 0, true));
    assert_eq!(plan.reasons, Vec::<String>::new());
}

#[test]
fn what_is_missing_is_launched_and_said() {
    let plan = first(&Seen { queue: waiting(10, 40), ..seen(&[(0, 190)]) }, &limits());
    assert_eq!(
        said(&plan),
        [
            "launch 1 (c): 130 streams are missing: 40 wait, 0 come while a machine boots, 100 are kept free; 10 are \
          free, 0 boot"
        ]
    );
    assert_eq!((plan.eta_s, plan.grows), (60, true));
    let plan = first(&Seen { queue: waiting(100, 400), launched: 7, ..seen(&[(0, 190)]) }, &limits());
    assert_eq!(done(&plan), ["launch 8 (c)", "launch 9 (c)", "launch 10 (c)"]);
}

#[test]
fn what_is_under_way_counts() {
    let mut seen = Seen { queue: waiting(10, 40), ..seen(&[(0, 190)]) };
    seen.flights.push(Flight { number: 1, kind: "c".to_owned(), age: SECOND * 20 });
    let plan = first(&seen, &limits());
    assert_eq!(done(&plan), Vec::<String>::new());
    assert_eq!((plan.booting, plan.eta_s, plan.grows), (200, 40, true));
    let machine = MachineSeen { last_in_gossip: None, ..machine(1, SECOND * 50) };
    let listed = Seen { flights: Vec::new(), machines: Some(vec![machine]), ..seen };
    let plan = first(&listed, &limits());
    assert_eq!(done(&plan), Vec::<String>::new());
    assert_eq!((plan.booting, plan.eta_s), (200, 10));
}

#[test]
fn who_comes_while_a_machine_boots_is_expected() {
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let mut seen = seen(&[(0, 80)]);
    for second in 0..600_u32 {
        // One every second, who costs four: 240 within a minute.
        seen.nodes[0].joined += 1;
        let plan = planner.plan(now + SECOND * second, &seen, &limits());
        if second == 599 {
            assert!((300..=340).contains(&plan.wanted), "{}", plan.wanted);
            assert!(done(&plan).contains(&"launch 1 (c)".to_owned()));
        }
    }
    // It starts again and has forgotten how many came: nobody came.
    seen.nodes[0].joined = 0;
    let plan = planner.plan(now + SECOND * 600, &seen, &limits());
    assert!((295..=340).contains(&plan.wanted), "{}", plan.wanted);
}

#[test]
fn less_than_a_stream_is_missing_and_its_parts_are_said_as_they_add_up() {
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let mut seen = seen(&[(0, 101)]);
    let limits = Limits { spare: 95, ..limits() };
    planner.plan(now, &seen, &limits);
    seen.nodes[0].joined = 1;
    assert_eq!(
        said(&planner.plan(now + SECOND, &seen, &limits)),
        [
            "launch 1 (c): 1 streams are missing: 0 wait, 5 come while a machine boots, 95 are kept free; 99 are free, 0 \
          boot"
        ]
    );
    seen.nodes[0].suspect = true;
    let plan = first(&seen, &Limits { max_nodes: 1, ..limits });
    assert!(plan.reasons[0].contains(" 0 are free"), "{:?}", plan.reasons);
}

#[test]
fn who_moves_from_a_draining_node_has_not_come() {
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let mut seen = seen(&[(0, 0), (1, 160)]);
    seen.nodes[1].phase = Phase::Draining;
    planner.plan(now, &seen, &limits());
    (seen.nodes[0].joined, seen.nodes[0].peers, seen.nodes[0].free) = (40, 40, 40);
    (seen.nodes[1].peers, seen.nodes[1].free) = (0, 200);
    let plan = planner.plan(now + SECOND * 3, &seen, &limits());
    assert_eq!(plan.wanted, 100);
}

#[test]
fn old_figures_are_not_free_and_shrink_nothing() {
    let mut seen = seen(&[(0, 50), (1, 0)]);
    seen.nodes[1].figures_age = SECOND * 11;
    let plan = first(&seen, &limits());
    assert_eq!(plan.free, 150);
    let plan = after(&mut Planner::new(1), Instant::now(), MINUTE * 120, &seen, &limits());
    assert_eq!(said(&plan), Vec::<String>::new());
    assert_eq!(plan.reasons, ["figures of some nodes are missing or old, so nothing is drained"]);
}

#[test]
fn without_a_list_nothing_is_ended_and_nothing_launched_that_may_be_there() {
    let quiet = Seen { machines: None, ..seen(&[(0, 0), (1, 0)]) };
    let plan = after(&mut Planner::new(1), Instant::now(), MINUTE * 120, &quiet, &limits());
    assert_eq!(said(&plan), Vec::<String>::new());
    let busy = Seen { machines: None, queue: waiting(10, 400), ..seen(&[(0, 200)]) };
    let plan = first(&busy, &limits());
    assert_eq!(said(&plan), Vec::<String>::new());
    assert!(plan.reasons.contains(&"the cloud has not yet said which machines there are".to_owned()));
    // Once there was one, it counts: one of two may still be launched.
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let limits = Limits { max_nodes: 3, ..limits() };
    planner.plan(now, &seen(&[(0, 0), (1, 0)]), &limits);
    let plan = planner.plan(now + SECOND, &Seen { machines: None, ..busy }, &limits);
    assert_eq!(done(&plan), ["launch 2 (c)"]);
}

#[test]
fn ceilings_hold_and_say_so() {
    let wanting = Seen { queue: waiting(100, 1_000), ..seen(&[(0, 200), (1, 200)]) };
    let plan = first(&wanting, &Limits { max_nodes: 3, ..limits() });
    assert_eq!((done(&plan), plan.grows), (vec!["launch 2 (c)".to_owned()], false));
    let plan = first(&wanting, &Limits { max_nodes: 2, ..limits() });
    assert_eq!((done(&plan), plan.grows), (Vec::new(), false));
    assert!(plan.reasons.contains(&"there are 2 of 2 nodes".to_owned()), "{:?}", plan.reasons);
    let plan = first(&wanting, &Limits { cost_per_hour: Some(0.7), ..limits() });
    assert_eq!(done(&plan), ["launch 2 (c)"]);
    let plan = first(&wanting, &Limits { cost_per_hour: Some(0.4), ..limits() });
    assert_eq!(done(&plan), Vec::<String>::new());
    assert!(plan.reasons.contains(&"machines cost 0.25 of 0.40 an hour".to_owned()), "{:?}", plan.reasons);
    // What is about to stop still counts.
    let mut ending = wanting.clone();
    let last = MachineSeen { state: MachineState::Stopping, ..machine(9, MINUTE) };
    ending.machines.as_mut().expect("listed").push(last);
    assert_eq!(done(&first(&ending, &Limits { max_nodes: 3, ..limits() })), Vec::<String>::new());
    // Above its ceiling it is not grown.
    let plan = first(&wanting, &Limits { max_nodes: 1, ..limits() });
    assert_eq!(done(&plan), Vec::<String>::new());
}

#[test]
fn what_was_launched_just_before_lists_went_missing_counts_for_the_ceiling() {
    let mut world = World::new(Limits { max_nodes: 3, ..limits() }, 1, 200.0);
    (world.load, world.broken) = (290.0, true);
    world.pass(SECOND * 5);
    assert_eq!(world.count(), 2);
    (world.load, world.listed) = (2_000.0, false);
    world.run(MINUTE * 20, SECOND * 5);
    assert_eq!(world.count(), 3, "it never joins, and nobody can tell that it does not run");
}

#[test]
fn the_floor_is_kept_when_a_node_is_away_for_long() {
    let limits = Limits { min_nodes: 2, ..limits() };
    let (mut planner, now, seen) = (Planner::new(1), Instant::now(), seen(&[(0, 0)]));
    assert_eq!(done(&planner.plan(now, &seen, &limits)), Vec::<String>::new());
    let plan = planner.plan(now + SECOND * 20, &seen, &limits);
    assert_eq!(said(&plan), ["launch 1 (c): there have to be 2 nodes at least"]);
}

#[test]
fn a_node_that_is_not_needed_is_drained_and_retired_after_the_idle_time() {
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let mut seen = seen(&[(0, 10), (1, 5), (2, 0)]);
    let plan = after(&mut planner, now, MINUTE * 10 - SECOND, &seen, &limits());
    assert_eq!(said(&plan), Vec::<String>::new());
    let plan = planner.plan(now + MINUTE * 10, &seen, &limits());
    assert_eq!(done(&plan), ["drain mesh-2"]);
    assert!(said(&plan)[0].contains("not needed for 10.0 minutes"), "{}", said(&plan)[0]);
    // Said again until it is heard, and nobody else meanwhile.
    let plan = planner.plan(now + MINUTE * 11, &seen, &limits());
    assert_eq!(done(&plan), ["drain mesh-2"]);
    seen.nodes[2].phase = Phase::Draining;
    let plan = planner.plan(now + MINUTE * 12, &seen, &limits());
    assert_eq!(said(&plan), ["retire 2: it was drained and is empty, after 0 s"]);
    let mut left = seen.clone();
    left.nodes.pop();
    left.machines.as_mut().expect("listed").pop();
    let plan = planner.plan(now + MINUTE * 13, &left, &limits());
    assert_eq!(done(&plan), ["drain mesh-1"], "it was not needed all the while either");
    // Neither the seed nor what the floor needs.
    let mut floor = limits();
    floor.min_nodes = 2;
    let plan = after(&mut Planner::new(1), now, MINUTE * 90, &left, &floor);
    assert_eq!(said(&plan), Vec::<String>::new());
}

#[test]
fn a_machine_can_be_kept_stopped_and_started_again() {
    let limits = Limits { warm: 1, ..limits() };
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let mut seen = seen(&[(0, 100), (1, 0)]);
    seen.nodes[1].phase = Phase::Draining;
    assert_eq!(done(&planner.plan(now, &seen, &limits)), ["stop 1"]);
    seen.nodes.pop();
    seen.machines.as_mut().expect("listed")[0].state = MachineState::Stopped;
    assert_eq!(done(&planner.plan(now + SECOND, &seen, &limits)), Vec::<String>::new());
    seen.queue = waiting(5, 20);
    assert_eq!(done(&planner.plan(now + SECOND * 2, &seen, &limits)), ["start 1 (c)"]);
    seen.flights.push(Flight { number: 1, kind: "c".to_owned(), age: Duration::ZERO });
    assert_eq!(done(&planner.plan(now + SECOND * 3, &seen, &limits)), Vec::<String>::new());
    let machine = MachineSeen {
        last_in_gossip: Some(MINUTE * 50),
        state: MachineState::Running,
        ..machine(1, SECOND * 4)
    };
    let mut listed = Seen { flights: Vec::new(), machines: Some(vec![machine]), ..seen.clone() };
    let plan = planner.plan(now + SECOND * 6, &listed, &limits);
    assert_eq!(
        (done(&plan), plan.booting),
        (Vec::new(), 200),
        "it was lost before it was started, not since"
    );
    listed.nodes.push(node(1, 0));
    planner.plan(now + SECOND * 13, &listed, &limits);
    assert_eq!(planner.boots.expected(&limits.kinds[0], true), SECOND * 10);
    assert_eq!(planner.boots.expected(&limits.kinds[0], false), MINUTE);
    // More than are kept are ended.
    let plan =
        first(&Seen { queue: Queued::default(), flights: Vec::new(), ..seen }, &Limits { warm: 0, ..limits });
    assert_eq!(said(&plan), ["terminate 1: 0 stopped machines are kept and there are 1"]);
}

#[test]
fn demand_that_comes_back_takes_a_draining_node_back() {
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let mut seen = seen(&[(0, 10), (1, 0)]);
    let plan = after(&mut planner, now, MINUTE * 10, &seen, &limits());
    assert_eq!(done(&plan), ["drain mesh-1"]);
    seen.nodes[1].phase = Phase::Draining;
    (seen.nodes[1].peers, seen.nodes[1].free) = (1, 196);
    planner.plan(now + MINUTE * 11, &seen, &limits());
    seen.nodes[0].free = 20;
    let plan = planner.plan(now + MINUTE * 12, &seen, &limits());
    assert_eq!(done(&plan), ["undrain mesh-1"], "and nothing is launched");
    let plan = planner.plan(now + MINUTE * 12 + SECOND, &seen, &limits());
    assert_eq!(done(&plan), ["undrain mesh-1"], "until it is heard");
    seen.nodes[1].phase = Phase::Ready;
    let plan = planner.plan(now + MINUTE * 13, &seen, &limits());
    assert_eq!(done(&plan), Vec::<String>::new());
    // One that somebody else drains is left to them.
    seen.nodes[1].phase = Phase::Draining;
    let plan = planner.plan(now + MINUTE * 14, &seen, &limits());
    assert_eq!(done(&plan), ["launch 2 (c)"]);
}

#[test]
fn stragglers_keep_a_drained_machine_only_until_the_deadline() {
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let mut seen = seen(&[(0, 10), (1, 12)]);
    seen.nodes[1].phase = Phase::Draining;
    let plan = after(&mut planner, now, MINUTE * 10, &seen, &limits());
    assert_eq!(done(&plan), Vec::<String>::new());
    let plan = planner.plan(now + MINUTE * 11, &seen, &limits());
    assert_eq!(said(&plan), ["retire 1: 3 peers were still on it 10.0 minutes after it began to drain"]);
    seen.nodes[1].figures_age = MINUTE;
    assert_eq!(done(&planner.plan(now + MINUTE * 12, &seen, &limits())), Vec::<String>::new());
}

#[test]
fn the_emptiest_is_drained_first_and_then_the_dearest() {
    let kinds = vec![kind("c", 200, 0.25, 60), kind("d", 200, 0.5, 60)];
    let limits = Limits { kinds, ..limits() };
    let mut seen = seen(&[(0, 0), (2, 8), (3, 4), (4, 4), (5, 4)]);
    for at in [2, 3] {
        seen.nodes[at].kind = Some("d".to_owned());
    }
    let plan = after(&mut Planner::new(1), Instant::now(), MINUTE * 10, &seen, &limits);
    assert_eq!(done(&plan), ["drain mesh-4"]);
}

#[test]
fn a_machine_that_never_joins_is_ended_and_three_in_a_row_stop_launches() {
    let mut world = World::new(limits(), 1, 200.0);
    (world.load, world.broken) = (290.0, true);
    world.run(MINUTE * 30, SECOND * 5);
    let ends =
        |step: &Step| matches!(step, Step::Terminate { reason, .. } if reason.contains("did not join"));
    assert!(world.steps(ends) >= 3);
    let plan = world.pass(SECOND);
    let alarm = plan.alarm.clone().unwrap_or_default();
    assert!(alarm.contains("machines in a row never joined the mesh"), "{alarm}");
    let launched = world.steps(|step| matches!(step, Step::Launch { .. }));
    assert!(launched <= 6, "{launched}");
    // One is tried after a while, and what succeeds is trusted again.
    world.broken = false;
    world.run(MINUTE * 30, SECOND * 5);
    assert_eq!(world.queued(), 0.0);
    assert_eq!(world.pass(SECOND).alarm, None);
}

#[test]
fn a_launch_that_no_list_ever_shows_is_given_up() {
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let mut seen = Seen { queue: waiting(10, 40), ..seen(&[(0, 190)]) };
    let flight = |age| vec![Flight { number: 1, kind: "c".to_owned(), age }];
    seen.flights = flight(Duration::ZERO);
    assert_eq!(done(&planner.plan(now, &seen, &limits())), Vec::<String>::new());
    seen.flights = flight(MINUTE * 5);
    let plan = planner.plan(now + MINUTE * 5, &seen, &limits());
    assert_eq!((done(&plan), plan.booting), (vec!["launch 2 (c)".to_owned()], 0));
    // It may be there all the same.
    let full = Limits { max_nodes: 2, ..limits() };
    assert_eq!(done(&planner.plan(now + MINUTE * 5, &seen, &full)), Vec::<String>::new());
}

#[test]
fn while_launches_are_stopped_nobody_is_told_to_wait() {
    let (mut planner, now) = (Planner::new(1), Instant::now());
    for _ in 0..3 {
        planner.breaker.failed(now);
    }
    let waits = Seen { queue: waiting(10, 40), ..seen(&[(0, 200)]) };
    let plan = planner.plan(now, &waits, &limits());
    assert_eq!((done(&plan), plan.grows), (Vec::new(), false));
    let plan = planner.plan(now + MINUTE * 5, &waits, &limits());
    assert_eq!(done(&plan), ["launch 1 (c)"]);
    let many = Seen { queue: waiting(100, 4_000), ..waits };
    assert_eq!(done(&planner.plan(now + MINUTE * 5, &many, &limits())), ["launch 1 (c)"], "one is a try");
}

#[test]
fn a_lost_machine_is_replaced_and_then_ended() {
    let mut world = World::new(limits(), 1, 200.0).with_machines(2);
    world.load = 150.0;
    world.run(MINUTE, SECOND * 5);
    world.lose(1);
    world.run(MINUTE * 5 - SECOND * 5, SECOND * 5);
    assert_eq!(world.log, []);
    world.run(MINUTE * 3, SECOND * 5);
    let log: Vec<_> = world.log.iter().map(|(_, step)| step.to_string()).collect();
    assert_eq!(
        log,
        [
            "launch 3 (c): it replaces launch 1, of which gossip has not heard for 5.0 minutes",
            "terminate 1: gossip has not heard of it for 6.0 minutes, and mesh-3 has taken its place",
        ]
    );
}

#[test]
fn a_lost_machine_that_fills_the_ceiling_makes_way() {
    let mut lost = seen(&[(0, 150), (1, 0)]);
    lost.nodes.pop();
    lost.machines.as_mut().expect("listed")[0].last_in_gossip = Some(MINUTE * 5);
    let plan = first(&lost, &Limits { max_nodes: 2, ..limits() });
    assert_eq!(done(&plan), ["terminate 1"]);
}

#[test]
fn a_new_leader_does_not_end_what_it_has_only_just_seen() {
    let mut old = seen(&[(0, 0), (1, 0)]);
    old.nodes.pop();
    old.machines.as_mut().expect("listed")[0].last_in_gossip = None;
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let plan = after(&mut planner, now, MINUTE * 5 - SECOND, &old, &limits());
    assert_eq!(done(&plan), Vec::<String>::new());
    let plan = planner.plan(now + MINUTE * 5, &old, &limits());
    assert_eq!(done(&plan), ["launch 2 (c)"]);
}

#[test]
fn a_zone_without_capacity_is_left_out_for_a_while() {
    let limits =
        Limits { zones: 2, kinds: vec![kind("c", 200, 0.25, 60), kind("d", 200, 0.5, 60)], ..limits() };
    let waits = Seen { queue: waiting(10, 40), ..seen(&[(0, 200)]) };
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let number = |plan: &Plan| plan.steps.first().map(Step::number);
    assert_eq!(number(&planner.plan(now, &waits, &limits)), Some(2));
    planner.failed(2, Failure::Capacity, &limits, now);
    // Number 4 is the other zone.
    assert_eq!(number(&planner.plan(now, &waits, &limits)), Some(4));
    planner.failed(4, Failure::Capacity, &limits, now);
    // The other type.
    assert_eq!(number(&planner.plan(now, &waits, &limits)), Some(1));
    assert_eq!(number(&planner.plan(now + SECOND * 23, &waits, &limits)), Some(2), "after a while again");
    planner.failed(2, Failure::Capacity, &limits, now + SECOND * 23);
    assert_eq!(number(&planner.plan(now + SECOND * 46, &waits, &limits)), Some(4), "waits grow");
    planner.failed(4, Failure::Busy, &limits, now + SECOND * 46);
    let plan = planner.plan(now + SECOND * 46, &waits, &limits);
    assert_eq!((number(&plan), plan.grows), (None, true));
    planner.failed(4, Failure::Refused, &limits, now + SECOND * 46);
    let plan = planner.plan(now + SECOND * 50, &waits, &limits);
    assert_eq!(number(&plan), Some(1));
    assert_eq!(plan.alarm.as_deref(), Some("the cloud refuses to launch c"));
}

#[test]
fn a_large_guaranteed_room_gets_a_machine_that_carries_it_and_smaller_ones_fill_up() {
    let kinds = vec![kind("small", 200, 0.2, 60), kind("large", 1_000, 1.2, 60)];
    let limits = Limits { kinds, ..limits() };
    let queue = Queued { joins: 30, streams: 1_150, guaranteed: 700 };
    let plan = first(&Seen { queue, ..seen(&[(0, 200)]) }, &limits);
    assert_eq!(done(&plan), ["launch 1 (large)", "launch 2 (small)", "launch 4 (small)"]);
    assert!(said(&plan)[0].contains("a room waits whose 700 guaranteed streams"), "{}", said(&plan)[0]);
    // No machine carries it: it is spread like any other.
    let queue = Queued { joins: 30, streams: 1_150, guaranteed: 1_100 };
    let plan = first(&Seen { queue, ..seen(&[(0, 200)]) }, &limits);
    assert!(done(&plan).iter().all(|step| step.contains("small")), "{:?}", done(&plan));
}

#[test]
fn who_waits_and_does_not_fit_into_the_pieces_gets_a_machine() {
    let pieces: Vec<_> = (1..=9).map(|number| (number, 180)).collect();
    let waits = Seen { queue: waiting(10, 60), ..seen(&pieces) };
    let limits = Limits { max_nodes: 20, ..limits() };
    let (mut planner, now) = (Planner::new(1), Instant::now());
    let early = now - SECOND * 60;
    planner.plan(early, &Seen { queue: Queued::default(), ..waits.clone() }, &limits);
    assert_eq!(done(&planner.plan(now, &waits, &limits)), Vec::<String>::new());
    let plan = planner.plan(now + SECOND * 5, &waits, &limits);
    assert_eq!(said(&plan), ["launch 10 (c): 10 joins wait and do not fit into what is free"]);
    // With a machine that has just come they are placed in a moment.
    let mut placed = waits.clone();
    placed.nodes.push(node(10, 0));
    placed.machines.as_mut().expect("listed").push(machine(10, MINUTE));
    assert_eq!(done(&planner.plan(now + SECOND * 8, &placed, &limits)), Vec::<String>::new());
}

#[test]
fn boots_are_learned() {
    let mut world = World::new(limits(), 1, 200.0);
    world.load = 150.0;
    world.limits.kinds[0].boot = SECOND * 90;
    world.run(MINUTE * 3, SECOND);
    world.limits.kinds[0].boot = SECOND * 20;
    let learned = world.planner.boot(&world.limits.kinds[0].clone());
    assert!((SECOND * 89..=SECOND * 92).contains(&learned), "{learned:?}");
}

#[test]
fn a_load_that_has_gone_is_followed_at_once_and_a_smaller_one_after_an_hour() {
    let mut world = World::new(limits(), 1, 200.0).with_machines(8);
    world.load = 1_500.0;
    world.run(MINUTE * 90, SECOND * 10);
    let full = world.count();
    world.load = 1_200.0;
    world.run(MINUTE * 55, SECOND * 10);
    assert_eq!(world.count(), full, "it may come back");
    world.run(MINUTE * 60, SECOND * 10);
    assert!(world.count() < full, "it has not");
    let before = world.count();
    world.load = 100.0;
    world.run(MINUTE * 16, SECOND * 10);
    assert!(world.count() < before - 3, "{}", world.count());
}
