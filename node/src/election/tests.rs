//! One voter or a few, by hand: what each answers, counts and keeps.

use super::timing::Rules;
use super::{Election, ElectionError, Input, Output, Timing};
use skein_proto::codec;
use skein_proto::ids::NodeId;
use skein_proto::rpc::lease::{Answer, Ballot, MAX_ROUND, Refusal, Request, Term};
use std::time::Duration;

const LEASE_MS: u64 = 10_000;

fn name(name: &str) -> NodeId {
    name.parse().expect("a name")
}

fn names(n: usize) -> Vec<NodeId> {
    ["c", "a", "b", "e", "d"][..n].iter().map(|n| name(n)).collect()
}

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// The voter `own` of `n`, started at 0.
fn voter(own: &str, n: usize) -> Election {
    Election::new(&name(own), names(n), Timing::default(), Duration::ZERO, 0, 1).expect("a voter")
}

/// A ballot above the floor that a voter starts with.
fn ballot(above: u64, voter: u8) -> Ballot {
    Ballot { round: LEASE_MS + above, voter, life: 77 }
}

fn prepare(ballot: Ballot) -> Request {
    Request::Prepare { ballot, lease_ms: LEASE_MS }
}

fn propose(ballot: Ballot) -> Request {
    Request::Propose { ballot, term: ballot.term() }
}

fn ask(election: &mut Election, at: f64, from: &str, request: Request) -> Answer {
    let out = election.step(s(at), Input::Request { from: name(from), request });
    let answers: Vec<_> = out
        .iter()
        .filter_map(|o| match o {
            Output::Answer(answer) => Some(*answer),
            _ => None,
        })
        .collect();
    assert_eq!(answers.len(), 1, "{out:?}");
    answers[0]
}

fn why(answer: Answer) -> Refusal {
    match answer {
        Answer::Refused { why, .. } => why,
        other => panic!("{other:?} is no refusal"),
    }
}

fn tell(election: &mut Election, at: f64, from: &str, answer: Answer) -> Vec<Output> {
    election.step(s(at), Input::Answer { from: name(from), answer })
}

/// The voter's attempt, begun as soon as it may.
fn attempt(election: &mut Election) -> (Ballot, f64) {
    let at = election.wake_at().expect("something to do");
    let out = election.step(at, Input::Tick);
    let asked = out.iter().find_map(|o| match o {
        Output::Ask { request: Request::Prepare { ballot, .. }, .. } => Some(*ballot),
        _ => None,
    });
    (asked.expect("a prepare"), at.as_secs_f64())
}

/// Makes `a` of three the holder, with b's help.
fn holder() -> (Election, Ballot, f64) {
    let mut a = voter("a", 3);
    let (ballot, at) = attempt(&mut a);
    tell(&mut a, at + 0.1, "b", Answer::Promised { ballot });
    let out = tell(&mut a, at + 0.2, "b", Answer::Accepted { ballot });
    assert_eq!(out, [Output::Elected { term: ballot.term(), until: s(at) + s(9.0) }]);
    (a, ballot, at)
}

fn releases(out: &[Output]) -> usize {
    out.iter().filter(|o| matches!(o, Output::Ask { request: Request::Release { .. }, .. })).count()
}

#[test]
fn what_is_configured_is_checked() {
    let new = |own: &str, voters, timing| {
        Election::new(&name(own), voters, timing, Duration::ZERO, 0, 1).err().map(|e| e.to_string())
    };
    let timing = Timing::default();
    assert_eq!(new("a", names(3), timing), None);
    assert_eq!(new("a", names(2), timing), Some(ElectionError::Voters(2).to_string()));
    assert_eq!(new("a", vec![], timing), Some(ElectionError::Voters(0).to_string()));
    assert_eq!(new("x", names(3), timing), Some("the node x is not among the voters".into()));
    let twice = vec![name("a"), name("b"), name("a")];
    assert_eq!(new("a", twice, timing), Some("the voter a is configured twice".into()));
    for lease in [Duration::ZERO, Duration::from_micros(1500), Duration::MAX] {
        let error = new("a", names(1), Timing { lease, ..timing }).expect("an error");
        assert!(error.contains("the lease is"), "{error}");
    }
    let error = new("a", names(1), Timing { renew: s(8.5), ..timing }).expect("an error");
    assert!(error.contains("does not fit into 9s"), "{error}");
    let error = new("a", names(1), Timing { renew: Duration::MAX, ..timing }).expect("an error");
    assert!(error.contains("does not fit"), "{error}");
}

#[test]
fn one_voter_alone_is_elected_after_its_silence_and_renews() {
    let mut a = voter("c", 1);
    assert_eq!(a.wake_at(), Some(s(10.0)));
    assert_eq!(a.step(s(9.9), Input::Tick), []);
    let out = a.step(s(10.0), Input::Tick);
    let [Output::Elected { term, until }] = out[..] else { panic!("{out:?}") };
    assert_eq!(until, s(19.0));
    assert_eq!(a.holder(s(18.9)), Some((term, name("c"))));
    assert_eq!(a.wake_at(), Some(s(13.0)));
    assert_eq!(a.step(s(13.0), Input::Tick), [Output::Renewed { term, until: s(22.0) }]);
    // It slept too long: it lost the lease, and gets another.
    assert!(!a.is_holder(s(22.0)));
    assert_eq!(a.holder(s(22.0)), None);
    let out = a.step(s(23.0), Input::Tick);
    let [Output::Lost { term: lost }, Output::Elected { term: next, .. }] = out[..] else {
        panic!("{out:?}")
    };
    assert!(lost == term && next > term);
}

#[test]
fn a_voter_is_silent_for_one_lease_and_remembers_what_it_hears() {
    let mut a = voter("a", 3);
    assert_eq!(why(ask(&mut a, 9.9, "b", prepare(ballot(5, 1)))), Refusal::Silent);
    assert_eq!(why(ask(&mut a, 9.9, "b", propose(ballot(5, 1)))), Refusal::Silent);
    let outbid = Refusal::Outbid { round: LEASE_MS + 5 };
    assert_eq!(why(ask(&mut a, 10.0, "c", prepare(ballot(4, 2)))), outbid);
    assert_eq!(why(ask(&mut a, 10.0, "b", propose(ballot(5, 1)))), outbid);
    assert_eq!(ask(&mut a, 10.0, "c", prepare(ballot(6, 2))), Answer::Promised { ballot: ballot(6, 2) });
}

#[test]
fn strangers_and_voters_configured_otherwise_are_refused() {
    let mut a = voter("a", 3);
    let refused = [
        ("x", prepare(ballot(1, 0))),
        ("x", Request::Release { ballot: ballot(1, 0) }),
        // Who says that it is this voter itself.
        ("a", prepare(ballot(1, 0))),
        // At another place of the list.
        ("b", prepare(ballot(1, 2))),
        ("b", Request::Prepare { ballot: ballot(1, 1), lease_ms: LEASE_MS - 1 }),
        ("b", prepare(Ballot { round: MAX_ROUND + 1, voter: 1, life: 0 })),
        ("b", Request::Propose { ballot: ballot(1, 1), term: Term(u64::MAX) }),
        ("b", Request::Propose { ballot: ballot(2, 1), term: ballot(1, 2).term() }),
    ];
    for (from, request) in refused {
        assert_eq!(why(ask(&mut a, 11.0, from, request)), Refusal::Mismatch, "{from} {request:?}");
    }
    assert_eq!(ask(&mut a, 11.0, "b", prepare(ballot(1, 1))), Answer::Promised { ballot: ballot(1, 1) });

    let mut a = voter("a", 3);
    let (ballot, at) = attempt(&mut a);
    for from in ["x", "a"] {
        assert_eq!(tell(&mut a, at, from, Answer::Promised { ballot }), []);
    }
}

#[test]
fn the_lease_is_granted_to_the_ballot_that_was_promised_and_once() {
    let mut a = voter("a", 3);
    let first = ballot(1, 1);
    assert!(matches!(why(ask(&mut a, 10.0, "b", propose(first))), Refusal::Outbid { .. }));
    assert_eq!(ask(&mut a, 10.0, "b", prepare(first)), Answer::Promised { ballot: first });
    assert_eq!(ask(&mut a, 10.1, "b", prepare(first)), Answer::Promised { ballot: first });
    assert!(matches!(why(ask(&mut a, 10.1, "b", propose(ballot(2, 1)))), Refusal::Outbid { .. }));
    assert_eq!(ask(&mut a, 10.2, "b", propose(first)), Answer::Accepted { ballot: first });
    // A copy is answered, but the grant counts from the first.
    assert_eq!(ask(&mut a, 12.2, "b", propose(first)), Answer::Accepted { ballot: first });
    assert_eq!(why(ask(&mut a, 13.2, "c", prepare(ballot(9, 2)))), Refusal::Held { for_ms: 7_001 });
    // Its holder may renew, a later life of it may not.
    assert_eq!(ask(&mut a, 13.2, "b", prepare(ballot(3, 1))), Answer::Promised { ballot: ballot(3, 1) });
    let reborn = Ballot { life: 78, ..ballot(4, 1) };
    assert_eq!(why(ask(&mut a, 13.2, "b", prepare(reborn))), Refusal::Held { for_ms: 7_001 });
    assert_eq!(ask(&mut a, 20.2, "c", prepare(ballot(9, 2))), Answer::Promised { ballot: ballot(9, 2) });
    assert!(matches!(why(ask(&mut a, 20.3, "b", propose(first))), Refusal::Outbid { .. }));
}

#[test]
fn a_release_frees_what_it_names_and_nothing_later() {
    let mut a = voter("a", 3);
    let (old, new) = (ballot(1, 1), ballot(2, 1));
    for b in [old, new] {
        ask(&mut a, 10.0, "b", prepare(b));
        assert_eq!(ask(&mut a, 10.0, "b", propose(b)), Answer::Accepted { ballot: b });
    }
    ask(&mut a, 10.1, "b", Request::Release { ballot: old });
    ask(&mut a, 10.1, "b", Request::Release { ballot: Ballot { life: 78, ..ballot(3, 1) } });
    ask(&mut a, 10.1, "c", Request::Release { ballot: ballot(3, 2) });
    assert!(matches!(why(ask(&mut a, 10.2, "c", prepare(ballot(4, 2)))), Refusal::Held { .. }));
    assert_eq!(ask(&mut a, 10.3, "b", Request::Release { ballot: new }), Answer::Released { ballot: new });
    assert!(a.wake_at().is_some_and(|at| at <= s(11.3)), "it may want the lease soon");
    // A copy of the proposal that comes after it ties nobody.
    assert!(matches!(why(ask(&mut a, 10.4, "b", propose(new))), Refusal::Outbid { .. }));
    assert_eq!(ask(&mut a, 10.5, "c", prepare(ballot(4, 2))), Answer::Promised { ballot: ballot(4, 2) });
}

#[test]
fn the_holder_counts_from_before_it_asked_and_stops_early() {
    let (mut a, ballot, at) = holder();
    assert!(a.is_holder(s(at + 8.99)));
    assert!(!a.is_holder(s(at + 9.0)));
    let (next, renewing) = attempt(&mut a);
    assert!(next > ballot && (renewing - at - 3.0).abs() < 1e-6);
    tell(&mut a, renewing + 0.1, "c", Answer::Promised { ballot: next });
    let term = ballot.term();
    let out = tell(&mut a, renewing + 0.2, "c", Answer::Accepted { ballot: next });
    assert_eq!(out, [Output::Renewed { term, until: s(renewing) + s(9.0) }]);
    let out = a.step(s(renewing + 9.5), Input::Tick);
    assert_eq!(out[0], Output::Lost { term });
    assert_eq!(releases(&out), 2);
}

#[test]
fn answers_to_other_attempts_do_not_count() {
    let mut a = voter("a", 3);
    let (ballot, at) = attempt(&mut a);
    let others = [Ballot { round: ballot.round - 1, ..ballot }, Ballot { life: !ballot.life, ..ballot }];
    for other in others {
        assert_eq!(tell(&mut a, at, "b", Answer::Promised { ballot: other }), []);
    }
    // Nor is a grant one before anybody was asked for it.
    assert_eq!(tell(&mut a, at, "b", Answer::Accepted { ballot }), []);
    assert_eq!(tell(&mut a, at, "b", Answer::Promised { ballot }).len(), 2);
    assert_eq!(tell(&mut a, at, "b", Answer::Promised { ballot }), []);
    // A grant that comes when it would be over is none.
    let out = tell(&mut a, at + 9.0, "b", Answer::Accepted { ballot });
    assert!(releases(&out) == 2 && !a.is_holder(s(at + 9.0)), "{out:?}");
}

#[test]
fn two_lives_of_a_voter_do_not_share_answers() {
    let start = |seed, rules| {
        Election::with_rules(&name("a"), names(3), Timing::default(), Duration::ZERO, 0, seed, rules)
            .expect("a voter")
    };
    let elected = |rules| {
        let (earlier, _) = attempt(&mut start(1, rules));
        let mut later = start(2, rules);
        let (ballot, at) = attempt(&mut later);
        assert_eq!(ballot.round, earlier.round);
        tell(&mut later, at, "b", Answer::Promised { ballot: earlier });
        tell(&mut later, at, "b", Answer::Accepted { ballot: earlier });
        later.is_holder(s(at))
    };
    assert!(!elected(Rules::SOUND));
    assert!(elected(Rules { lives_differ: false, ..Rules::SOUND }));
}

#[test]
fn refusals_end_an_attempt_and_raise_the_next() {
    let mut a = voter("a", 3);
    let (first, at) = attempt(&mut a);
    let why = Refusal::Outbid { round: first.round + 50 };
    tell(&mut a, at, "b", Answer::Refused { ballot: first, why });
    tell(&mut a, at, "b", Answer::Refused { ballot: first, why });
    assert!(a.attempt.is_some(), "one of three refused");
    tell(&mut a, at, "c", Answer::Refused { ballot: first, why: Refusal::Outbid { round: u64::MAX } });
    assert!(a.attempt.is_none());
    assert_eq!(a.round, MAX_ROUND);
    // Nothing above is left: it does not turn in circles.
    let at = a.wake_at().expect("a try");
    assert_eq!(a.step(at, Input::Tick), []);
    assert!(a.wake_at().is_some_and(|next| next >= at + s(10.0)));

    // Nor does a holder.
    let (mut a, _, at) = holder();
    a.step(s(at + 1.0), Input::Heard(Term(u64::MAX)));
    assert_eq!(a.step(s(at + 3.0), Input::Tick), []);
    assert_eq!(a.wake_at(), Some(s(at) + s(9.0)));

    // Who heard that somebody holds the lease waits for its end, but never for longer than a lease.
    let mut a = voter("a", 3);
    let (ballot, at) = attempt(&mut a);
    for (from, for_ms) in [("b", 4_000), ("c", u64::MAX)] {
        tell(&mut a, at, from, Answer::Refused { ballot, why: Refusal::Held { for_ms } });
    }
    let next = a.wake_at().expect("a try").as_secs_f64() - at;
    assert!((10.0..12.1).contains(&next), "{next}");
}

#[test]
fn a_renewal_that_fails_leaves_the_lease_and_is_tried_again() {
    let (mut a, ballot, at) = holder();
    let (next, renewing) = attempt(&mut a);
    tell(&mut a, renewing, "b", Answer::Promised { ballot: next });
    let out = a.step(s(renewing + 1.0), Input::Tick);
    assert_eq!(releases(&out), 0);
    assert!(a.is_holder(s(at + 8.9)));
    let (again, retry) = attempt(&mut a);
    assert!(again > next && retry < renewing + 2.1);
    // Too late for the attempt before.
    assert_eq!(tell(&mut a, retry, "b", Answer::Accepted { ballot: next }), []);
    assert_eq!(a.holder(s(retry)), Some((ballot.term(), name("a"))));
}

#[test]
fn who_resigns_says_so_votes_on_and_stands_again_when_told() {
    let (mut a, first, at) = holder();
    let out = a.step(s(at + 1.0), Input::Resign);
    assert_eq!(out[0], Output::Lost { term: first.term() });
    assert_eq!(releases(&out), 2);
    assert!(!a.is_holder(s(at + 1.0)) && a.wake_at().is_none());
    assert_eq!(a.step(s(at + 1.0), Input::Resign), []);
    assert_eq!(tell(&mut a, at + 1.0, "c", Answer::Accepted { ballot: first }), []);
    let other = ballot(500, 1);
    assert_eq!(ask(&mut a, at + 1.1, "b", prepare(other)), Answer::Promised { ballot: other });
    assert_eq!(ask(&mut a, at + 1.1, "b", propose(other)), Answer::Accepted { ballot: other });
    a.step(s(at + 2.0), Input::Stand);
    assert!(a.wake_at().is_some_and(|next| next > s(at + 11.0)), "b has the lease");

    // An attempt that voters may have granted is taken back as well.
    let mut a = voter("a", 3);
    let (ballot, at) = attempt(&mut a);
    tell(&mut a, at, "b", Answer::Promised { ballot });
    assert_eq!(releases(&a.step(s(at), Input::Resign)), 2);
}

#[test]
fn voters_know_the_holder_from_its_renewal_and_do_not_compete() {
    let mut a = voter("a", 3);
    let (first, second) = (ballot(1, 1), ballot(2, 1));
    ask(&mut a, 10.0, "b", prepare(first));
    ask(&mut a, 10.0, "b", propose(first));
    assert_eq!(a.holder(s(10.0)), None);
    ask(&mut a, 13.0, "b", prepare(second));
    ask(&mut a, 13.0, "b", Request::Propose { ballot: second, term: first.term() });
    assert_eq!(a.holder(s(22.9)), Some((first.term(), name("b"))));
    assert_eq!(a.holder(s(23.0)), None);
    assert_eq!(a.step(s(22.9), Input::Tick), []);
    assert!(a.wake_at().is_some_and(|at| at >= s(23.0)));
}

#[test]
fn what_others_say_raises_the_term() {
    let mut a = voter("a", 3);
    let heard = ballot(1_000, 2).term();
    a.step(s(1.0), Input::Heard(heard));
    a.step(s(1.0), Input::Heard(Term(3)));
    assert!(matches!(why(ask(&mut a, 10.0, "b", prepare(ballot(1_000, 1)))), Refusal::Outbid { .. }));
    let (ballot, _) = attempt(&mut a);
    assert!(ballot.term() > heard);
}

#[test]
fn time_does_not_go_back() {
    let (mut a, ballot, at) = holder();
    a.step(s(at + 20.0), Input::Tick);
    assert!(!a.is_holder(s(at)));
    assert_eq!(a.holder(s(at)), None);
    let out = tell(&mut a, at, "c", Answer::Accepted { ballot });
    assert!(!out.iter().any(|o| matches!(o, Output::Elected { .. } | Output::Renewed { .. })), "{out:?}");
}

#[test]
fn messages_go_over_the_wire_and_back() {
    let b = ballot(1, 2);
    for request in [prepare(b), propose(b), Request::Release { ballot: b }] {
        let bytes = codec::encode(&request).expect("bytes");
        assert!(bytes.len() < 64);
        assert_eq!(codec::decode::<Request>(&bytes).expect("a request"), request);
    }
    let whys =
        [Refusal::Mismatch, Refusal::Silent, Refusal::Outbid { round: 7 }, Refusal::Held { for_ms: 7 }];
    let refused = whys.map(|why| Answer::Refused { ballot: b, why });
    let granted =
        [Answer::Promised { ballot: b }, Answer::Accepted { ballot: b }, Answer::Released { ballot: b }];
    for answer in refused.into_iter().chain(granted) {
        let bytes = codec::encode(&answer).expect("bytes");
        assert_eq!(codec::decode::<Answer>(&bytes).expect("an answer"), answer);
    }
}
