use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// What somebody needs who comes to a room of its own.
const ONE: u64 = 220;

fn who(name: &str) -> Who {
    let (room, peer) = name.split_once('/').unwrap_or((name, "p"));
    Who { room: room.parse().expect("a name"), peer: peer.parse().expect("a name") }
}

fn session(number: u64) -> SessionId {
    SessionId { admitted_ms: number, nonce: 0 }
}

fn need(least: u64) -> Need {
    Need { least, cost: Cost::new(least, 0), one: Cost::new(10, 0), guaranteed: None }
}

/// One worker with so much free.
fn free(packets: u64) -> Level {
    Level { best: packets, free: Cost::new(packets, u64::MAX), largest: 10_000, total: 10_000 }
}

/// A queue whose wakers are names, and how it is told what happens.
struct World {
    queue: Queue<String>,
    now: Instant,
    free: u64,
}

impl World {
    fn new() -> Self {
        Self { queue: Queue::new(5000), now: Instant::now(), free: 0 }
    }

    fn stand_with(&mut self, name: &str, number: u64, need: Need) {
        let newcomer = Newcomer {
            who: who(name),
            session: session(number),
            since_ms: number,
            need,
            tried: None,
            waker: name.to_owned(),
        };
        self.queue.stand(newcomer, self.now).expect("there is a place");
    }

    fn stand(&mut self, name: &str, number: u64, least: u64) {
        self.stand_with(name, number, need(least));
    }

    fn call(&mut self) -> Vec<String> {
        self.queue.call(free(self.free), self.now)
    }

    /// Calls, and lets who is called take what is there. Who got something, and how many looked in vain.
    fn serve(&mut self) -> (Vec<String>, usize) {
        let (mut placed, mut in_vain) = (Vec::new(), 0);
        for name in self.call() {
            let who = who(&name);
            let session = self.queue.session(&who).expect("it waits");
            let need = self.queue.place(&who).expect("it waits").need;
            assert_eq!(self.queue.ask(&who, session, self.now), Turn::Now);
            let needs = need.guaranteed.map_or(need.least, |full| full.packets);
            if needs <= self.free {
                self.free -= needs;
                self.queue.placed(&who, session, self.now);
                placed.push(name);
            } else {
                self.queue.failed(&who, session, self.now);
                in_vain += 1;
            }
        }
        (placed, in_vain)
    }

    /// Everyone who waits asks now and then.
    fn all_ask(&mut self) {
        let all: Vec<_> = self.queue.places.values().map(|p| (p.who.clone(), p.session)).collect();
        for (who, session) in all {
            let _ = self.queue.ask(&who, session, self.now);
        }
    }
}

#[test]
fn who_came_first_is_called_first_whatever_the_room() {
    let mut world = World::new();
    world.stand("c", 3, ONE);
    world.stand("a", 1, ONE);
    world.stand("b", 2, ONE);
    assert!(world.call().is_empty(), "nothing is free");
    world.free = 2 * ONE;
    assert_eq!(world.serve().0, ["a", "b"]);
    assert!(world.call().is_empty());
    assert_eq!(world.queue.totals().joins, 1);
}

#[test]
fn who_needs_more_than_there_is_does_not_keep_others_waiting() {
    let mut world = World::new();
    let large = Need { guaranteed: Some(Cost::new(5000, 0)), ..need(ONE) };
    world.stand_with("large", 1, large);
    world.stand("small", 2, ONE);
    world.free = 1000;
    assert_eq!(world.serve(), (vec!["small".to_owned()], 0));
    assert_eq!(world.queue.totals().guaranteed, Cost::new(5000, 0));
    world.free = 5000;
    assert_eq!(world.serve().0, ["large"]);
    assert_eq!(world.queue.totals(), gossip::Queue::default());
}

#[test]
fn who_needs_much_gets_it_in_the_end_and_the_others_go_on() {
    let mut world = World::new();
    let large = Need { guaranteed: Some(Cost::new(4000, 0)), ..need(ONE) };
    world.stand_with("large", 1, large);
    let mut longest = Duration::ZERO;
    let mut last_small = world.now;
    let mut number = 10;
    let start = world.now;
    let mut took = None;
    // Each 100 ms one of many small ones leaves, and another one comes.
    for _ in 0..6000 {
        world.now += 100 * MS;
        world.free += ONE;
        number += 1;
        world.stand(&format!("s{number}"), number, ONE);
        world.all_ask();
        for name in world.serve().0 {
            if name == "large" {
                took = Some(world.now - start);
            } else {
                longest = longest.max(world.now - last_small);
                last_small = world.now;
            }
        }
        if took.is_some() {
            break;
        }
    }
    assert!(took.is_some_and(|took| took < Duration::from_secs(120)), "{took:?}");
    assert!(longest <= HOLD_MOST + SECOND, "{longest:?}");
}

#[test]
fn who_would_never_fit_holds_up_nobody() {
    let mut world = World::new();
    world.stand_with("huge", 1, Need { guaranteed: Some(Cost::new(20_000, 0)), ..need(ONE) });
    for number in 2..200 {
        world.now += SECOND;
        world.stand("small", number, ONE);
        world.free = ONE;
        world.all_ask();
        assert_eq!(world.serve().0, ["small"], "after {number} s");
    }
}

#[test]
fn a_thousand_who_wait_are_called_no_more_often_than_is_bounded() {
    let mut world = World::new();
    for number in 0..1000 {
        world.stand(&format!("r{number}"), number, ONE);
    }
    // There seems to be enough for each, and is for none.
    let mut in_vain = 0;
    for _ in 0..200 {
        world.now += 50 * MS;
        world.all_ask();
        for name in world.queue.call(free(900), world.now) {
            let (who, session) = (who(&name), world.queue.session(&who(&name)).expect("it waits"));
            assert_eq!(world.queue.ask(&who, session, world.now), Turn::Now);
            world.queue.failed(&who, session, world.now);
            in_vain += 1;
        }
    }
    assert!(in_vain <= 11 * IN_VAIN, "{in_vain} in ten seconds");
    // A machine comes for all of them.
    world.free = 1000 * ONE;
    let mut rounds = 0;
    while !world.queue.is_empty() {
        world.now += 50 * MS;
        rounds += 1;
        assert_eq!(world.serve().1, 0);
        assert!(rounds < 100, "{} still wait", world.queue.len());
    }
}

#[test]
fn a_place_that_becomes_free_is_given_within_a_second_however_often_that_was_in_vain() {
    let mut world = World::new();
    world.stand("a", 1, ONE);
    let mut level = free(ONE + 80);
    for _ in 0..100 {
        world.now += 100 * MS;
        world.all_ask();
        if !world.queue.call(level, world.now).is_empty() {
            assert_eq!(world.queue.ask(&who("a"), session(1), world.now), Turn::Now);
            world.queue.failed(&who("a"), session(1), world.now);
        }
        // What is reserved and given up again looks like something that became free.
        level = if level.best > ONE { free(10) } else { free(ONE + 80) };
    }
    let start = world.now;
    let _ = world.queue.call(free(10), world.now);
    while world.queue.call(free(ONE + 80), world.now).is_empty() {
        world.now += 50 * MS;
        assert!(world.now - start < SECOND);
    }
}

#[test]
fn a_room_where_one_found_nothing_is_not_tried_for_each_who_waits_for_it() {
    let mut world = World::new();
    for number in 0..20 {
        world.stand(&format!("r/p{number}"), number, ONE);
    }
    let level = free(ONE);
    assert_eq!(world.queue.call(level, world.now), ["r/p0"], "there is room for one");
    assert_eq!(world.queue.ask(&who("r/p0"), session(0), world.now), Turn::Now);
    world.queue.failed(&who("r/p0"), session(0), world.now);
    assert!(world.queue.call(level, world.now + SECOND).is_empty());
    let totals = world.queue.totals();
    assert_eq!((totals.joins, totals.cost), (20, Cost::new(20 * ONE + 19 * 20 * 10, 0)));
}

#[test]
fn a_newer_connection_has_the_place_of_an_older_one() {
    let mut world = World::new();
    world.stand("a", 1, ONE);
    world.stand("b", 2, ONE);
    let mut newer = |number| {
        let newcomer = Newcomer {
            who: who("a"),
            session: session(number),
            since_ms: number,
            need: need(ONE),
            tried: None,
            waker: format!("a{number}"),
        };
        world.queue.stand(newcomer, world.now)
    };
    assert_eq!(newer(9), Ok((1, Some("a".to_owned()))));
    assert_eq!(newer(5), Err(NoPlace::Superseded));
    assert_eq!(world.queue.ask(&who("a"), session(1), world.now), Turn::Superseded);
    assert!(!world.queue.leave(&who("a"), session(1)), "it is another's now");
    world.free = ONE;
    assert_eq!(world.call(), ["a9"], "it is the first still");
}

#[test]
fn who_does_not_come_when_called_lets_the_next_one_have_it() {
    let mut world = World::new();
    world.stand("a", 1, ONE);
    world.stand("b", 2, ONE);
    world.free = ONE;
    assert_eq!(world.call(), ["a"]);
    world.now += CALL_LIFE + MS;
    assert_eq!(world.call(), ["b"]);
    // It dials again: its place is the first still.
    assert_eq!(world.queue.ask(&who("a"), session(1), world.now), Turn::Wait("a".to_owned()));
    world.free = 2 * ONE;
    assert_eq!(world.call(), ["a"]);
}

#[test]
fn who_asks_no_more_is_forgotten() {
    let mut world = World::new();
    world.stand("a", 1, ONE);
    world.stand("b", 2, ONE);
    world.now += FORGET;
    assert_eq!(world.queue.ask(&who("b"), session(2), world.now), Turn::Wait("b".to_owned()));
    world.now += MS;
    assert_eq!(world.queue.forget(world.now), 1);
    assert_eq!(world.queue.ask(&who("a"), session(1), world.now), Turn::Unknown);
    assert_eq!(world.queue.dismiss(|_| true), ["b"]);
    assert!(world.queue.is_empty());
}

#[test]
fn no_more_wait_than_may() {
    let mut queue = Queue::new(1);
    let now = Instant::now();
    let mut stand = |name: &str| {
        let (who, session, need) = (who(name), session(1), need(1));
        queue.stand(Newcomer { who, session, since_ms: 1, need, tried: None, waker: () }, now)
    };
    assert_eq!(stand("a"), Ok((1, None)));
    assert_eq!(stand("b"), Err(NoPlace::Full));
    assert_eq!(stand("a"), Ok((1, Some(()))), "it has its place");
}
