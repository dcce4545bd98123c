//! What a home does with what it hears.

use super::super::roster::tests::{host, peer, producer, session};
use super::moves::SETTLED_FOR;
use super::*;
use crate::placement::field::{Field, NodeFigures, WorkerFigures};
use crate::placement::shift::Shift;
use skein_proto::capacity::Cost;
use skein_proto::room::{RoomMode, RoomWish};
use skein_proto::rpc::{MakeWay, ProducerEntry, Refusal, Speaker};
use skein_proto::signaling::MediaKind;

fn node(name: &str) -> NodeId {
    name.parse().expect("a name")
}

fn name(name: &str) -> PeerId {
    name.parse().expect("a name")
}

fn room(size: u32, settling: bool) -> (HomeRoom, Instant) {
    let now = Instant::now();
    let options = RoomOptions { mode: RoomMode::Conference, size, guaranteed: false, last_n: 0 };
    let mut room = HomeRoom::new("r".parse().expect("a name"), options, 8, settling, now);
    room.agree(&RoomWish::default(), &options, 1000).expect("good options");
    (room, now)
}

fn change(change: RosterChange) -> HostMessage {
    HostMessage::Change(change)
}

#[test]
fn what_one_host_says_the_others_hear() {
    let (mut room, now) = room(9, false);
    room.attach(&node("n1"));
    room.attach(&node("n2"));
    let told = room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", false))), now);
    assert!(told.is_empty(), "who has not joined is nobody's business: {told:?}");
    let told = room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", true))), now);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, node("n2"));
    let told = room.hear(&node("n1"), change(RosterChange::Producer(producer("a", "p", "n1"))), now);
    assert_eq!(told.len(), 1);
    let told = room.detach(&node("n1"));
    assert_eq!(told.len(), 2, "the producer and the peer: {told:?}");
}

#[test]
fn the_newest_session_wins_whichever_is_heard_first() {
    for order in [[1, 2], [2, 1]] {
        let (mut room, now) = room(9, false);
        room.attach(&node("n1"));
        room.attach(&node("n2"));
        let mut closed = Vec::new();
        for age in order {
            let at = format!("n{age}");
            let told = room.hear(&node(&at), change(RosterChange::Peer(peer("p", age, &at, true))), now);
            closed.extend(told.into_iter().filter_map(|(_, message)| match message {
                HomeMessage::CloseSession { session, .. } => Some(session),
                _ => None,
            }));
        }
        assert_eq!(closed, [session(1)]);
        assert_eq!(room.roster.session(&name("p")), Some(session(2)));
    }
}

#[test]
fn a_host_speaks_only_for_its_own_peers() {
    let (mut room, now) = room(9, false);
    room.attach(&node("n1"));
    room.attach(&node("n2"));
    room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", true))), now);
    let told = room.hear(&node("n2"), change(RosterChange::Producer(producer("x", "p", "n2"))), now);
    assert!(told.is_empty());
    assert_eq!(room.roster.producers.len(), 0);
}

#[test]
fn size_counts_those_on_the_way_until_they_fail_to_show_up() {
    let (mut room, now) = room(1, false);
    assert!(room.expect(&name("p"), session(1), now).is_ok());
    assert_eq!(room.expect(&name("q"), session(2), now), Err(Refusal::RoomFull));
    assert!(room.expect(&name("p"), session(3), now).is_ok(), "the same peer again takes its own place");
    room.tick(now + PENDING_LIFE);
    assert!(room.expect(&name("q"), session(4), now).is_ok());
}

#[test]
fn a_home_that_took_over_says_when_it_knows_everyone() {
    let (mut room, now) = room(9, true);
    let told = room.attach(&node("n1"));
    assert!(matches!(told[0].1, HomeMessage::Roster { settling: true, .. }));
    let relays = told.iter().find(|(_, message)| matches!(message, HomeMessage::Relays(_)));
    assert_eq!(
        relays,
        Some(&(node("n1"), HomeMessage::Relays(Vec::new()))),
        "its relay may have been the home that died"
    );
    assert!(room.tick(now).is_empty());
    let told = room.tick(now + SETTLING);
    assert!(matches!(told[0].1, HomeMessage::Roster { settling: false, .. }));
}

#[test]
fn the_loudest_of_all_hosts_speaks() {
    let (mut room, now) = room(9, false);
    room.attach(&node("n1"));
    room.attach(&node("n2"));
    let speak = |peer: &str, volume| HostMessage::Speakers(vec![Speaker { peer: name(peer), volume }]);
    assert_eq!(room.hear(&node("n1"), speak("p", -40), now).len(), 2);
    room.hear(&node("n2"), speak("q", -20), now);
    assert_eq!(room.detail(&node("n1")).speaker, Some(name("q")));
    let told = room.hear(&node("n2"), HostMessage::Speakers(Vec::new()), now);
    assert_eq!(told.len(), 2);
    assert_eq!(room.detail(&node("n1")).speaker, Some(name("p")));
    room.hear(&node("n1"), HostMessage::Speakers(Vec::new()), now);
    assert_eq!(room.detail(&node("n1")).speaker, None);
}

#[test]
fn moderators_reach_everyone() {
    let (mut room, now) = room(9, false);
    room.attach(&node("n1"));
    room.attach(&node("n2"));
    room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", true))), now);
    room.hear(&node("n2"), change(RosterChange::Peer(peer("q", 1, "n2", true))), now);
    let told = room.hear(&node("n1"), HostMessage::Kick(name("q")), now);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, node("n2"));
    assert_eq!(room.hear(&node("n1"), HostMessage::CloseRoom, now).len(), 2);
}

#[test]
fn pipes_are_what_hosts_announce() {
    let (mut room, now) = room(9, false);
    room.attach(&node("n2"));
    let pipe = PipeEntry { producer: producer("a", "p", "n1").id, from: host("n1"), to: host("n2") };
    room.hear(&node("n2"), HostMessage::PipeUp(pipe.clone()), now);
    assert_eq!(room.summary(&node("n1")).pipes, 1);
    room.hear(&node("n2"), HostMessage::PipeDown(pipe), now);
    assert_eq!(room.summary(&node("n1")).pipes, 0);
}

fn moving(age: u64, at: &str, from: u64, joined: bool) -> PeerEntry {
    PeerEntry { from: Some(session(from)), ..peer("p", age, at, joined) }
}

fn gone(age: u64) -> HostMessage {
    change(RosterChange::PeerGone(name("p"), session(age)))
}

fn hears_of_the_end(told: &Told, host: &str, age: u64) -> bool {
    let end = HomeMessage::Change(RosterChange::PeerGone(name("p"), session(age)));
    told.iter().any(|(to, message)| *to == node(host) && *message == end)
}

#[test]
fn a_peer_that_vanishes_while_it_moves_is_gone_everywhere() {
    for joined in [true, false] {
        let (mut room, now) = room(9, false);
        for host in ["n1", "n2", "n3"] {
            room.attach(&node(host));
        }
        room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", true))), now);
        room.hear(&node("n2"), change(RosterChange::Peer(moving(2, "n2", 1, joined))), now);
        let told = room.hear(&node("n1"), gone(1), now);
        assert!(told.contains(&(node("n2"), HomeMessage::Arrived(session(2)))), "{told:?}");
        // Whose newer connection has not joined is gone until it does.
        for host in ["n1", "n2", "n3"] {
            assert_eq!(hears_of_the_end(&told, host, 1), !joined, "{host}: {told:?}");
        }
        let told = room.hear(&node("n2"), gone(2), now);
        for host in ["n1", "n2", "n3"] {
            assert!(hears_of_the_end(&told, host, 2), "{host}: {told:?}");
        }
        assert_eq!(room.seats.iter().count(), 0);
    }
}

#[test]
fn a_peer_that_moves_and_tries_twice_has_one_place() {
    let (mut room, now) = room(9, false);
    for host in ["n1", "n2"] {
        room.attach(&node(host));
    }
    room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", true))), now);
    room.hear(&node("n2"), change(RosterChange::Peer(moving(2, "n2", 1, true))), now);
    let told = room.hear(&node("n2"), change(RosterChange::Peer(moving(3, "n2", 1, true))), now);
    let ends = |(_, message): &(NodeId, HomeMessage)| matches!(message, HomeMessage::CloseSession { session: old, .. } if *old == session(2));
    assert!(told.iter().any(ends), "{told:?}");
    assert_eq!(room.seats.iter().map(|(session, _)| *session).collect::<Vec<_>>(), [session(1), session(3)]);
}

#[test]
fn what_is_sent_again_from_where_a_peer_moves_to_needs_nothing_more() {
    let (mut room, now) = room(9, false);
    for host in ["n1", "n2"] {
        room.attach(&node(host));
    }
    let sends = estimate::producer(MediaKind::Video, &[]);
    room.hear(&node("n1"), change(RosterChange::Peer(peer("q", 1, "n1", true))), now);
    room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", true))), now);
    for id in ["camera", "screen"] {
        let entry = ProducerEntry { sends, ..producer(id, "p", "n1") };
        room.hear(&node("n1"), change(RosterChange::Producer(entry)), now);
    }
    room.hear(&node("n2"), change(RosterChange::Peer(moving(2, "n2", 1, true))), now);
    for again in 0..2 {
        assert_eq!(room.publish(session(2), sends, now).expect("it may"), [], "{again}");
        let entry =
            ProducerEntry { sends, session: session(2), ..producer(&format!("again-{again}"), "p", "n2") };
        room.hear(&node("n2"), change(RosterChange::Producer(entry)), now);
    }
    assert!(!room.publish(session(2), sends, now).expect("it may").is_empty(), "a third one is new");
}

#[test]
fn the_latest_are_forwarded_before_anybody_speaks_and_after_they_left() {
    let (mut room, now) = room(9, false);
    room.set_options(RoomOptions { last_n: 1, ..*room.options() });
    room.attach(&node("n1"));
    let forwarded = |told: Told| {
        told.into_iter().find_map(|(_, message)| match message {
            HomeMessage::Forward(forward) => Some(forward.video),
            _ => None,
        })
    };
    let camera = |of: &str| {
        let entry = ProducerEntry { kind: MediaKind::Video, ..producer(of, of, "n1") };
        change(RosterChange::Producer(entry))
    };
    for of in ["p", "q"] {
        room.hear(&node("n1"), change(RosterChange::Peer(peer(of, 1, "n1", true))), now);
    }
    assert_eq!(forwarded(room.hear(&node("n1"), camera("p"), now)), Some(vec![name("p")]));
    assert_eq!(forwarded(room.hear(&node("n1"), camera("q"), now)), None);
    assert_eq!(forwarded(room.hear(&node("n1"), gone(1), now)), Some(vec![name("q")]));
}

#[test]
fn a_room_that_is_guaranteed_may_lie_on_several_workers() {
    let (room, _) = room(20, false);
    let left = Cost::new(40_000, 1 << 40);
    let places: Vec<_> = ["n1", "n2", "n3", "n4"].map(|node| (host(node), left)).into();
    assert_eq!(room.full_size(&places[..1]), None, "20 receive 19 each");
    let demands = room.full_size(&places).expect("it fits on all of them");
    assert!(demands.len() > 1 && demands.iter().all(|(_, cost)| cost.fits(left)), "{demands:?}");
    let narrow: Vec<_> = places.iter().map(|(at, _)| (at.clone(), Cost::new(9_000, 1 << 40))).collect();
    assert_eq!(room.full_size(&narrow), None);
}

#[test]
fn what_a_peer_sends_while_it_moves_is_heard_twice_only_where_that_crowds_nobody() {
    for (free, speaks) in [(900, true), (250, false)] {
        let (mut room, now) = room(9, false);
        for host in ["n1", "n2"] {
            room.attach(&node(host));
        }
        let sends = estimate::peer();
        let sit = |room: &mut HomeRoom, name: &str, age, at: &str| {
            let (session, at) = (session(age), host(at));
            room.sit(&self::name(name), session, &at, sends, now).expect("few");
            let entry = PeerEntry { session, ..peer(name, age, at.node.as_str(), true) };
            room.hear(&at.node, change(RosterChange::Peer(entry)), now);
        };
        sit(&mut room, "p", 1, "n1");
        sit(&mut room, "q", 2, "n1");
        let mut field = Field::default();
        for at in ["n1", "n2"] {
            let worker = WorkerFigures { free, open: free, spare: 0, total: 1000 };
            let figures = NodeFigures {
                workers: vec![worker],
                free_bits: 1 << 40,
                region: String::new(),
                zone: String::new(),
                over: Vec::new(),
                takes: true,
            };
            field.hear(&node(at), figures, now);
        }
        let kept = room.sit_beside(&name("p"), session(3), session(1), &host("n2"), now);
        assert!(kept.is_some());
        let more = room.to_speak_up(&session(3), &field, now);
        assert_eq!(more.is_some(), speaks, "{more:?}");
        if let Some(more) = more {
            let at = |at: &str| more.iter().find(|(on, _)| *on == host(at)).map(|(_, cost)| cost.packets);
            let one = sends.one.packets;
            // Into the pipe at the one, and to the two who are at the other.
            assert_eq!((at("n1"), at("n2")), (Some(2 * one), Some(one)), "{more:?}");
        }
    }
}

fn figures(free: u64, takes: bool) -> NodeFigures {
    NodeFigures {
        workers: vec![WorkerFigures { free, open: free, spare: 0, total: 100_000 }],
        free_bits: 1 << 40,
        region: String::new(),
        zone: String::new(),
        over: Vec::new(),
        takes,
    }
}

/// Somebody with a camera comes; those whose names begin with s know how to move.
fn comes(room: &mut HomeRoom, of: &str, age: u64, at: &str, now: Instant) {
    let entry = PeerEntry { skein: of.starts_with('s'), ..peer(of, age, at, true) };
    room.hear(&node(at), change(RosterChange::Peer(entry)), now);
    let camera = ProducerEntry { sends: estimate::peer(), session: session(age), ..producer(of, of, at) };
    room.hear(&node(at), change(RosterChange::Producer(camera)), now);
}

/// A room with these on n1, which drains. And n2, with so much free.
fn draining(peers: &[&str], free: u64) -> (HomeRoom, Field, BTreeSet<NodeId>, Instant) {
    let (mut room, now) = room(9, false);
    for host in ["n1", "n2"] {
        room.attach(&node(host));
    }
    for (age, of) in (1..).zip(peers) {
        comes(&mut room, of, age, "n1", now);
    }
    let mut field = Field::default();
    field.hear(&node("n1"), figures(100_000, false), now);
    field.hear(&node("n2"), figures(free, true), now);
    (room, field, BTreeSet::from([node("n1")]), now)
}

fn asks(room: &mut HomeRoom, shifts: &[Shift], now: Instant) -> Vec<String> {
    let ask = |shift: &Shift| {
        assert_eq!(shift.to.node, node("n2"));
        let of = room.seats().get(&shift.session).expect("is there").peer.to_string();
        assert!(
            !room.ask_to_move(shift, format!("token of {of}"), Cause::Need("why"), now).is_empty(),
            "{of}"
        );
        of
    };
    let asked: Vec<_> = shifts.iter().map(ask).collect();
    room.asked_to_leave(asked.len(), now, &mut rand::rng());
    asked
}

#[test]
fn peers_leave_a_node_that_drains_a_few_at_once_and_those_who_dial_again_last() {
    let (mut room, field, drains, mut now) = draining(&["s1", "plain", "s2", "s3"], 100_000);
    let gone = |room: &mut HomeRoom, of: &str, age, now| {
        let moved = PeerEntry { from: Some(session(age)), skein: true, ..peer(of, age + 10, "n2", true) };
        room.hear(&node("n2"), change(RosterChange::Peer(moved)), now);
        room.hear(&node("n1"), change(RosterChange::PeerGone(name(of), session(age))), now);
    };
    let leave = |room: &mut HomeRoom, now| {
        let field = &field;
        room.leave(&drains, &[], field, 2, now, &mut rand::rng())
    };
    let first = leave(&mut room, now);
    assert!(leave(&mut room, now).is_empty(), "these are being asked");
    assert_eq!(asks(&mut room, &first, now), ["s1", "s2"]);
    now += Duration::from_secs(1);
    assert!(leave(&mut room, now).is_empty(), "two are on their way");
    gone(&mut room, "s1", 1, now);
    let next = leave(&mut room, now);
    assert_eq!(asks(&mut room, &next, now), ["s3"]);
    gone(&mut room, "s2", 3, now);
    now += Duration::from_secs(1);
    assert!(leave(&mut room, now).is_empty(), "s3 is still there");
    gone(&mut room, "s3", 4, now);
    let last = leave(&mut room, now);
    assert_eq!(asks(&mut room, &last, now), ["plain"]);
    room.hear(&node("n1"), change(RosterChange::PeerGone(name("plain"), session(2))), now);
    assert!(!room.is_on(&drains));
}

#[test]
fn who_refuses_is_asked_again_later_and_who_has_no_place_stays() {
    let (mut room, field, drains, now) = draining(&["s1"], 100_000);
    let shifts = room.leave(&drains, &[], &field, 4, now, &mut rand::rng());
    assert_eq!(asks(&mut room, &shifts, now), ["s1"]);
    room.hear(&node("n1"), HostMessage::MoveRefused(session(1)), now);
    let soon = now + Duration::from_secs(2);
    assert!(room.leave(&drains, &[], &field, 4, soon, &mut rand::rng()).is_empty());
    let late = now + Duration::from_secs(11);
    let mut field = field;
    field.hear(&node("n2"), figures(100_000, true), late);
    assert_eq!(room.leave(&drains, &[], &field, 4, late, &mut rand::rng()).len(), 1);

    let (mut room, mut field, drains, now) = draining(&["s1"], 10);
    assert!(room.leave(&drains, &[], &field, 4, now, &mut rand::rng()).is_empty());
    field.hear(&node("n2"), figures(100_000, true), now);
    assert!(room.leave(&drains, &[], &field, 4, now, &mut rand::rng()).is_empty(), "not at once");
    let later = now + Duration::from_secs(2);
    assert_eq!(room.leave(&drains, &[], &field, 4, later, &mut rand::rng()).len(), 1);
}

#[test]
fn where_room_is_kept_peers_leave_for_that_whatever_gossip_says() {
    let (mut room, mut field, drains, now) = draining(&["s1"], 100_000);
    field.hear(&node("n3"), figures(0, true), now);
    let shifts = room.leave(&drains, &[host("n3")], &field, 4, now, &mut rand::rng());
    assert_eq!(shifts.iter().map(|shift| shift.to.clone()).collect::<Vec<_>>(), [host("n3")]);
}

#[test]
fn a_new_home_hears_of_a_moving_peers_hosts_in_any_order() {
    for order in [["n1", "n2"], ["n2", "n1"]] {
        let (mut room, now) = room(9, true);
        let mut told = Vec::new();
        for host in order {
            told.extend(room.attach(&node(host)));
            let entry = if host == "n1" { peer("p", 1, "n1", true) } else { moving(2, "n2", 1, true) };
            let roster = Roster { peers: vec![entry], ..Roster::default() };
            let options = *room.options();
            told.extend(room.hear(
                &node(host),
                HostMessage::Snapshot { roster, pipes: Vec::new(), options },
                now,
            ));
        }
        let closes =
            |(_, message): &(NodeId, HomeMessage)| matches!(message, HomeMessage::CloseSession { .. });
        assert!(!told.iter().any(closes), "{order:?}: {told:?}");
        assert!(!room.tick(now + ORPHANED).iter().any(closes), "{order:?}");
        assert_eq!(room.roster.session(&name("p")), Some(session(1)));
        let told = room.hear(&node("n1"), gone(1), now);
        assert!(told.contains(&(node("n2"), HomeMessage::Arrived(session(2)))), "{told:?}");
    }
    // The older one ended before anybody said that it was there.
    let (mut room, now) = room(9, true);
    room.attach(&node("n2"));
    room.hear(&node("n2"), change(RosterChange::Peer(moving(2, "n2", 1, true))), now);
    let told = room.tick(now + ORPHANED);
    assert!(told.contains(&(node("n2"), HomeMessage::Arrived(session(2)))), "{told:?}");
    assert_eq!(room.roster.session(&name("p")), Some(session(2)));
}

#[test]
fn what_is_paused_costs_nothing_until_it_goes_on() {
    let (mut room, now) = room(9, false);
    room.attach(&node("n1"));
    room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", true))), now);
    let sends = |room: &HomeRoom| room.layout().sends();
    let entry = ProducerEntry { sends: estimate::peer(), ..producer("a", "p", "n1") };
    for (paused, expected) in [(false, estimate::peer()), (true, Sends::NOTHING), (false, estimate::peer())] {
        let entry = ProducerEntry { paused, ..entry.clone() };
        room.hear(&node("n1"), change(RosterChange::Producer(entry)), now);
        assert_eq!(sends(&room), expected);
    }
    room.hear(&node("n1"), change(RosterChange::ProducerGone(entry.id)), now);
    assert_eq!(sends(&room), Sends::NOTHING);
}

#[test]
fn in_a_full_mesh_others_make_way_for_the_remnant_of_a_room() {
    let (mut room, mut field, _, now) = draining(&["s1", "s2", "s3"], 500);
    comes(&mut room, "s4", 4, "n2", now);
    field.hear(&node("n1"), figures(500, true), now);
    field.hear(&node("n3"), figures(500, true), now);
    let better = room.better(&field, true, 4, now, &mut rand::rng());
    let Some(Better::Clear { at, packets, then, .. }) = better else { panic!("{better:?}") };
    assert_eq!((at.node, then.len()), (node("n1"), 1));
    assert_eq!((then[0].session, &then[0].from.node), (session(4), &node("n2")));
    // It comes to three more, and what it receives is sent there.
    assert!(packets + 500 >= 3 * estimate::peer().one.packets, "{packets}");
    room.grew = true;
    field.hear(&node("n3"), figures(100_000, true), now);
    let better = room.better(&field, true, 4, now, &mut rand::rng());
    assert!(matches!(better, None | Some(Better::Move(_))), "there is space: {better:?}");
}

#[test]
fn where_nobody_may_leave_one_crowded_worker_another_one_is_left() {
    for rests in [false, true] {
        let (mut room, mut field, _, now) = draining(&["s1"], 0);
        comes(&mut room, "s2", 2, "n2", now);
        field.hear(&node("n1"), figures(5_000, true), now);
        if rests {
            room.balanced.insert(name("s1"), now);
        }
        let better = room.better(&field, false, 4, now, &mut rand::rng());
        let moved = |better| match better {
            Some(Better::Move(shifts)) => shifts.iter().map(|shift| shift.session).collect(),
            _ => Vec::new(),
        };
        let expected = if rests { vec![session(2)] } else { Vec::new() };
        assert_eq!(moved(better), expected, "{rests}");
    }
}

#[test]
fn nobody_moves_twice_in_five_minutes_where_nobody_waits_for_it() {
    let (mut room, mut field, _, mut now) = draining(&["s1", "s2"], 100_000);
    let mut goes = |room: &mut HomeRoom, urgent, now| {
        field.hear(&node("n1"), figures(1_000, true), now);
        field.hear(&node("n2"), figures(100_000, true), now);
        let wish = MakeWay {
            room: room.id.clone(),
            at: host("n1"),
            packets: 1,
            avoid: Vec::new(),
            urgent,
            spreads: false,
        };
        room.make_way(&wish, &field, now, &mut rand::rng())
    };
    let ask = |room: &mut HomeRoom, cause, now| {
        let shift = room.shift_to(&name("s1"), &host("n2")).expect("it is on n1");
        assert!(!room.ask_to_move(&shift, "token".to_owned(), cause, now).is_empty());
        room.hear(&node("n1"), HostMessage::MoveRefused(session(1)), now);
    };
    ask(&mut room, Cause::Need("why"), now);
    assert_eq!(goes(&mut room, false, now).len(), 2, "that it had to move before does not count");
    ask(&mut room, Cause::Balance("why"), now);
    now += SETTLED_FOR;
    assert!(!room.may_move(&session(1), now) && room.may_move(&session(2), now));
    assert!(goes(&mut room, false, now).is_empty(), "one of the two has moved");
    assert_eq!(goes(&mut room, true, now).len(), 2, "somebody would be refused");
    now += Duration::from_secs(1);
    assert_eq!(goes(&mut room, false, now).len(), 2);
}

#[test]
fn in_a_full_mesh_a_room_alone_on_a_worker_goes_in_part_before_nobody_can() {
    let names: Vec<_> = (1..=13).map(|n| format!("s{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let sent = 13 * estimate::peer().one.packets;
    for (left, can) in [(sent - 1, false), (sent, true), (2 * sent - 1, true)] {
        // Elsewhere there is space for some of them.
        let (mut room, mut field, _, now) = draining(&names, 20_000);
        field.hear(&node("n1"), figures(left, true), now);
        let better = room.better(&field, true, 4, now, &mut rand::rng());
        if !can {
            assert_eq!(better, None, "too little is left to send it elsewhere");
            continue;
        }
        let Some(Better::Clear { at, then, otherwise, .. }) = better else { panic!("{left}: {better:?}") };
        assert_eq!((at, then.len()), (host("n1"), 0), "others leave, if they can");
        assert!((1..=4).contains(&otherwise.len()), "{left}: {otherwise:?}");
        assert!(otherwise.iter().all(|shift| shift.to == host("n2")));
    }
}
