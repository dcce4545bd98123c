//! Books under promises, streams and time.

use super::*;

const BUDGET: Budget = Budget { worker_packets: 1000, node_bits: 10_000 };

fn room(name: &str) -> RoomId {
    name.parse().expect("a name")
}

fn session(n: u64) -> SessionId {
    SessionId { admitted_ms: n, nonce: 0 }
}

fn wish(name: &str, n: u64, demands: &[(u16, Cost)]) -> Reserve {
    let (session, demands) = (session(n), demands.to_vec());
    Reserve {
        ticket: Ticket(n),
        session,
        room: room(name),
        demands,
        at: None,
        claim: Claim::Move,
        replaces: None,
    }
}

fn packets(packets: u64) -> Cost {
    Cost::new(packets, 0)
}

#[test]
fn all_is_kept_or_nothing() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 2), Instant::now());
    ledger.charge(&room("a"), 1, Cost::ZERO, packets(900));
    let full = ledger.reserve(&wish("r", 1, &[(0, packets(500)), (1, packets(101))]), now);
    assert_eq!(full, Err(Full { worker: 1, left: Cost::new(100, 10_000) }));
    assert_eq!(ledger.figures(0).free, 1000);
    assert!(ledger.reserve(&wish("r", 1, &[(0, packets(500)), (1, packets(100))]), now).is_ok());
    assert_eq!((ledger.figures(0).free, ledger.figures(1).free), (500, 0));
    ledger.release(session(1));
    assert_eq!((ledger.figures(0).free, ledger.figures(1).free), (1000, 100));
}

#[test]
fn what_was_kept_for_a_move_is_kept_once_when_it_is_made() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 2), Instant::now());
    let most = packets(800);
    assert!(ledger.reserve(&wish("r", 1, &[(0, most)]), now).is_ok());
    assert!(ledger.reserve(&wish("r", 2, &[(0, most)]), now).is_err());
    let instead = Reserve { replaces: Some(Ticket(1)), ..wish("r", 3, &[(0, most)]) };
    assert!(ledger.reserve(&instead, now).is_ok());
    assert_eq!(ledger.figures(0).held, 800);
    // What is refused leaves what was kept before.
    let more = Reserve { replaces: Some(Ticket(3)), ..wish("r", 4, &[(0, most), (1, packets(1001))]) };
    assert!(ledger.reserve(&more, now).is_err());
    assert_eq!((ledger.figures(0).held, ledger.figures(1).held), (800, 0));
}

#[test]
fn the_nodes_bits_are_shared_by_its_workers() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 2), Instant::now());
    let half = Cost::new(1, 6_000);
    assert!(ledger.reserve(&wish("r", 1, &[(0, half), (1, half)]), now).is_err());
    assert!(ledger.reserve(&wish("r", 1, &[(0, half)]), now).is_ok());
    assert!(ledger.reserve(&wish("r", 2, &[(1, half)]), now).is_err());
    assert_eq!(ledger.free_bits(), 4_000);
}

#[test]
fn a_reservation_is_used_up_by_its_rooms_streams_and_expires() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 1), Instant::now());
    ledger.reserve(&wish("r", 1, &[(0, packets(600))]), now).expect("fits");
    ledger.charge(&room("r"), 0, Cost::ZERO, packets(250));
    assert_eq!(ledger.figures(0).free, 400, "counted once");
    ledger.charge(&room("other"), 0, Cost::ZERO, packets(100));
    assert_eq!(ledger.figures(0).free, 300);
    ledger.expire(now + RESERVATION_LIFE);
    assert_eq!(ledger.figures(0).free, 650);
    ledger.charge(&room("r"), 0, packets(250), Cost::ZERO);
    assert_eq!(ledger.figures(0).free, 900);
}

#[test]
fn a_guarantee_is_kept_whether_used_or_not() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 1), Instant::now());
    ledger.guarantee(&room("g"), 0, packets(800), now).expect("fits");
    assert_eq!(ledger.figures(0).free, 200);
    assert!(ledger.reserve(&wish("r", 1, &[(0, packets(201))]), now).is_err());
    ledger.reserve(&wish("g", 2, &[(0, packets(500))]), now).expect("is promised");
    assert_eq!(ledger.figures(0).free, 200);
    ledger.charge(&room("g"), 0, Cost::ZERO, packets(500));
    assert_eq!(ledger.figures(0).free, 200);
    ledger.reserve(&wish("g", 3, &[(0, packets(400))]), now).expect("300 promised, 100 free");
    assert_eq!(ledger.figures(0).free, 100);
    assert!(ledger.guarantee(&room("h"), 0, packets(101), now).is_err());
    ledger.expire(now + GUARANTEE_LIFE);
    assert_eq!(ledger.figures(0).free, 500);
}

#[test]
fn growth_is_expected_for_a_while_and_nothing_is_kept_for_it() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 1), Instant::now());
    let outlook = Outlook { growth: 300, spare: 0 };
    let growing = Reserve { at: Some((0, outlook)), ..wish("r", 9, &[]) };
    ledger.reserve(&growing, now).expect("nothing");
    let kept = kept_for_moves(BUDGET.worker_packets);
    assert_eq!((ledger.figures(0).free, ledger.figures(0).open), (1000, 700 - kept));
    assert!(ledger.reserve(&wish("other", 1, &[(0, packets(1000))]), now).is_ok());
    ledger.expire(now + GROWTH_LIFE);
    assert_eq!(ledger.figures(0).open, 1000 - kept);
}

#[test]
fn what_is_spare_is_for_rooms_to_go_on_elsewhere_and_what_is_kept_for_those_who_leave() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 1), Instant::now());
    assert_eq!(kept_for_moves(BUDGET.worker_packets), 50);
    let mut reserve = |n, cost, comes, claim| {
        let at = if comes { Some((0, Outlook { growth: 0, spare: 200 })) } else { None };
        ledger.reserve(&Reserve { at, claim, ..wish("r", n, &[(0, packets(cost))]) }, now)
    };
    assert!(reserve(1, 600, true, Claim::Place).is_ok());
    assert!(reserve(2, 151, true, Claim::Place).is_err(), "a newcomer gets neither");
    assert!(reserve(3, 150, true, Claim::Place).is_ok());
    assert!(reserve(4, 51, false, Claim::Place).is_ok(), "what one elsewhere causes gets what is spare");
    assert!(reserve(5, 100, true, Claim::LastPlace).is_ok(), "and so does one who has no other place");
    assert!(reserve(6, 50, true, Claim::LastPlace).is_err());
    assert!(reserve(7, 50, true, Claim::Move).is_err(), "who comes leaves it for those who go");
    assert!(reserve(8, 100, false, Claim::Move).is_err());
    assert!(reserve(9, 99, false, Claim::Move).is_ok(), "who leaves gets all");
    ledger.forget(&room("r"));
    assert_eq!(ledger.figures(0).spare, 50);
}

#[test]
fn who_leaves_a_worker_that_carries_too_much_may_take_more_there() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 1), Instant::now());
    let leave = |ledger: &mut Ledger, n, cost| ledger.reserve(&wish("r", n, &[(0, packets(cost))]), now);
    ledger.charge(&room("a"), 0, Cost::ZERO, packets(1000));
    assert!(leave(&mut ledger, 1, 1).is_err(), "it is full, and no more than that");
    ledger.charge(&room("a"), 0, packets(1000), packets(1001));
    let newcomer = Reserve { claim: Claim::LastPlace, ..wish("r", 2, &[(0, packets(1))]) };
    assert!(ledger.reserve(&newcomer, now).is_err());
    let comes = Reserve { at: Some((0, Outlook::default())), ..wish("r", 3, &[(0, packets(1))]) };
    assert!(ledger.reserve(&comes, now).is_err(), "who moves there is one more");
    assert!(leave(&mut ledger, 4, 60).is_ok());
    let full = leave(&mut ledger, 5, 41);
    assert_eq!(
        full,
        Err(Full { worker: 0, left: Cost::new(0, 10_000) }),
        "a tenth at once, and none of it is free"
    );
    assert!(leave(&mut ledger, 6, 40).is_ok());
    assert_eq!(ledger.figures(0).free, 0);
}

#[test]
fn what_was_granted_to_who_leaves_is_granted_again_when_he_comes() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 1), Instant::now());
    ledger.charge(&room("a"), 0, Cost::ZERO, packets(1001));
    assert!(ledger.reserve(&wish("r", 1, &[(0, packets(60))]), now).is_ok());
    // Others fall silent meanwhile: the worker carries no more than it should, and grants nobody anything beyond that.
    ledger.charge(&room("a"), 0, packets(1001), packets(1000));
    let instead = |n, cost| Reserve { replaces: Some(Ticket(1)), ..wish("r", n, &[(0, packets(cost))]) };
    assert!(ledger.reserve(&instead(2, 61), now).is_err(), "no more than before");
    assert!(ledger.reserve(&instead(3, 60), now).is_ok());
    assert_eq!(ledger.figures(0).held, 60);
}

#[test]
fn what_is_granted_again_is_not_granted_beyond_a_promise_or_the_nodes_bits() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 2), Instant::now());
    ledger.guarantee(&room("r"), 0, packets(900), now).expect("there is room for it");
    ledger.charge(&room("r"), 0, Cost::ZERO, packets(450));
    assert!(ledger.reserve(&wish("r", 1, &[(0, packets(550))]), now).is_ok());
    let instead =
        |room, n, demands: &[_]| Reserve { replaces: Some(Ticket(n)), ..wish(room, n + 10, demands) };
    assert!(ledger.reserve(&instead("r", 1, &[(0, packets(551))]), now).is_err());
    assert_eq!(ledger.figures(0).free, 0);
    let bits = |bits| Cost::new(0, bits);
    assert!(ledger.reserve(&wish("a", 2, &[(0, bits(5_000)), (1, bits(5_000))]), now).is_ok());
    assert!(ledger.reserve(&instead("a", 2, &[(0, bits(10_000)), (1, bits(5_000))]), now).is_err());
    assert!(ledger.reserve(&instead("a", 2, &[(0, bits(10_000))]), now).is_ok());
    assert_eq!(ledger.free_bits(), 0);
}

#[test]
fn of_several_who_move_together_whoever_comes_first_takes_what_all_need() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 2), Instant::now());
    let place = Some((1, Outlook::default()));
    let kept = |ledger: &mut Ledger, room: &str, n, from, to| {
        let demands = [(0, packets(from)), (1, packets(to))];
        let session = SessionId::nobody(n);
        let wish = Reserve { session, at: place, ..wish(room, n, &demands) };
        ledger.reserve(&wish, now).expect("there is room for it");
    };
    ledger.charge(&room("a"), 0, Cost::ZERO, packets(900));
    ledger.charge(&room("a"), 1, Cost::ZERO, packets(830));
    // The first is to bring the pipe along.
    kept(&mut ledger, "r", 1, 60, 20);
    kept(&mut ledger, "r", 2, 0, 20);
    kept(&mut ledger, "other", 3, 40, 20);
    let more = Reserve { session: SessionId::nobody(4), at: place, ..wish("r", 4, &[(0, packets(1))]) };
    assert!(
        ledger.reserve(&more, now).is_err(),
        "one more who is to move finds nothing that is kept for the others"
    );
    let comes = |ledger: &mut Ledger, room: &str, n, from| {
        let demands = [(0, packets(from)), (1, packets(20))];
        let replaces = Some(Ticket(n));
        ledger.reserve(&Reserve { at: place, replaces, ..wish(room, n + 10, &demands) }, now)
    };
    assert!(comes(&mut ledger, "other", 3, 41).is_err(), "what is kept for another room is not to be had");
    assert!(comes(&mut ledger, "r", 2, 61).is_err());
    assert!(comes(&mut ledger, "r", 2, 60).is_ok());
    assert_eq!((ledger.figures(0).held, ledger.figures(1).held), (100, 60), "it is kept once");
    assert!(comes(&mut ledger, "r", 1, 1).is_err(), "who has come already keeps it");
    assert!(comes(&mut ledger, "r", 1, 0).is_ok());
    assert_eq!((ledger.figures(0).held, ledger.figures(1).held), (100, 60));
}

#[test]
fn a_closed_worker_takes_nothing() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 2), Instant::now());
    ledger.close(0, true);
    assert!(ledger.reserve(&wish("r", 1, &[(0, packets(1))]), now).is_err());
    assert!(ledger.reserve(&wish("r", 1, &[(1, packets(1))]), now).is_ok());
    assert!(ledger.reserve(&wish("r", 1, &[(7, packets(1))]), now).is_err());
    ledger.close(0, false);
    assert!(ledger.reserve(&wish("r", 1, &[(0, packets(1))]), now).is_ok());
}

#[test]
fn rooms_in_the_way_are_those_that_help_most_and_are_promised_nothing() {
    let (mut ledger, now) = (Ledger::new(BUDGET, 2), Instant::now());
    for (name, cost) in [("small", 50), ("large", 400), ("enough", 120), ("kept", 130), ("newcomers", 100)] {
        ledger.charge(&room(name), 0, Cost::ZERO, packets(cost));
    }
    ledger.charge(&room("elsewhere"), 1, Cost::ZERO, packets(110));
    ledger.guarantee(&room("kept"), 0, packets(130), now).expect("it has it already");
    let found: Vec<_> = ledger.in_the_way(0, &room("newcomers"), 100);
    let names: Vec<_> = found.iter().map(|(room, cost)| (room.as_str(), *cost)).collect();
    assert_eq!(names, [("enough", 120), ("large", 400), ("small", 50)]);
    assert_eq!(ledger.of_room(0, &room("small")), 50);
    assert!(ledger.in_the_way(7, &room("newcomers"), 100).is_empty(), "there is no such worker");
}
