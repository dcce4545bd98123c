//! Joins that wait, at homes in a mesh in this process. Hosts are no more than a number of packets a second.

use super::*;
use crate::mesh::{self, Incoming};
use crate::placement::estimate;
use crate::placement::seats::Seat;
use crate::placement::shift::Shift;
use skein_proto::capacity::Cost;
use skein_proto::gossip::{Lead, Load, WorkerLoad};
use skein_proto::ids::{SessionId, WorkerAddress};
use skein_proto::room::RoomWish;
use skein_proto::rpc::{Admit, Call, InLine, Open, Refusal, Reply, Unwait};
use skein_proto::signaling::Role;
use std::sync::atomic::{AtomicU64, Ordering};

const LONG: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(1);
const TOTAL: u64 = 1_000_000;
const BITS: u64 = 1_000_000_000_000;

/// What a peer takes that is alone in its room.
fn one() -> u64 {
    estimate::peer().all.packets
}

/// What a host has left.
#[derive(Default)]
struct Host {
    free: Mutex<u64>,
    kept: Mutex<HashMap<u64, u64>>,
    asked: AtomicU64,
    /// What other rooms leave when they are asked to.
    leaves: Mutex<u64>,
}

impl Host {
    fn answer(&self, call: Call) -> Reply {
        match call {
            Call::Reserve(reserve) => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                let needs: u64 = reserve.demands.iter().map(|(_, cost)| cost.packets).sum();
                let mut free = self.free.lock();
                if needs > *free {
                    return Reply::Full { worker: 0, left: *free };
                }
                *free -= needs;
                self.kept.lock().insert(reserve.ticket.0, needs);
                Reply::Reserved { left: vec![(0, *free)] }
            }
            Call::Clear(_) => {
                let mut free = self.free.lock();
                *free += std::mem::take(&mut *self.leaves.lock());
                Reply::Left { packets: *free }
            }
            Call::Release(ticket) => {
                *self.free.lock() += self.kept.lock().remove(&ticket.0).unwrap_or_default();
                Reply::Done
            }
            _ => Reply::Done,
        }
    }
}

struct Node {
    mesh: Mesh,
    homes: Arc<Homes>,
    host: Arc<Host>,
    cancel: CancellationToken,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

struct World(mesh::tests::World);

impl World {
    fn new() -> Self {
        Self(mesh::tests::World::new())
    }

    /// One whose joins wait only where the mesh grows.
    async fn node(&self, name: &str, seeds: &[&Node]) -> Node {
        self.node_that_waits(0.0, name, seeds).await
    }

    async fn node_that_waits(&self, wait_s: f64, name: &str, seeds: &[&Node]) -> Node {
        let seeds: Vec<_> = seeds.iter().map(|node| node.mesh.addr()).collect();
        let (mesh, incoming) = self.0.mesh(name, &seeds).await;
        let settings = HomeSettings {
            options: config::Room::default().options(),
            max_size: 20_000,
            placement: config::Placement { wait_s, ..config::Placement::default() },
            max_waiting: 2000,
        };
        let homes = Homes::new(mesh.clone(), settings, TaskTracker::new());
        let (host, cancel) = (Arc::new(Host::default()), CancellationToken::new());
        tokio::spawn(Arc::clone(&homes).run(cancel.clone()));
        tokio::spawn(say(mesh.clone(), Arc::clone(&host), cancel.clone()));
        tokio::spawn(serve(Arc::clone(&homes), Arc::clone(&host), incoming));
        Node { mesh, homes, host, cancel }
    }
}

/// Says what is left.
async fn say(mesh: Mesh, host: Arc<Host>, cancel: CancellationToken) {
    let mut said = 0;
    while !cancel.is_cancelled() {
        said += 1;
        let free = *host.free.lock();
        let workers = vec![WorkerLoad { free, open: free, spare: 0, total: TOTAL }];
        mesh.set_load(&Load { workers, free_bits: BITS, total_bits: BITS, said, ..Load::default() });
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn serve(homes: Arc<Homes>, host: Arc<Host>, mut incoming: Incoming) {
    while let Some((_, open, mut stream)) = incoming.accept().await {
        let Open::Call(call) = open else { continue };
        let (homes, host) = (Arc::clone(&homes), Arc::clone(&host));
        tokio::spawn(async move {
            let reply = match call {
                Call::Admit(admit) => homes.admit(admit).await,
                call => host.answer(call),
            };
            let _ = stream.send(&reply).await;
        });
    }
}

impl Node {
    fn admit_with(&self, room: &str, peer: &str, wish: RoomWish) -> Admit {
        Admit {
            room: room.parse().expect("a name"),
            peer: peer.parse().expect("a name"),
            entry: self.mesh.id().clone(),
            role: Role::Moderate,
            asked: None,
            wish,
            moving: None,
            skein: true,
            line: None,
        }
    }

    fn admit(&self, room: &str) -> Admit {
        self.admit_with(room, "p", RoomWish::default())
    }

    /// Somebody leads, and says so.
    async fn leads(&self, grows: bool) {
        self.mesh.set_lead(Lead {
            term: 1,
            holds: true,
            launched: 0,
            grows,
            eta_s: if grows { 40 } else { 0 },
        });
        eventually("the leader is seen", async || {
            self.mesh.view().borrow().leader().is_some_and(|leader| leader.lead.grows == grows)
        })
        .await;
    }

    /// Comes until there is an answer other than that it waits.
    async fn comes(&self, mut admit: Admit) -> Reply {
        loop {
            match self.homes.admit(admit.clone()).await {
                Reply::Wait(wait) => admit.line = Some(wait.line),
                reply => return reply,
            }
        }
    }

    /// Somebody comes and is told to wait.
    async fn waits(&self, mut admit: Admit) -> Admit {
        match self.homes.admit(admit.clone()).await {
            Reply::Wait(wait) => admit.line = Some(wait.line),
            other => panic!("{other:?}"),
        }
        admit
    }

    fn told(&self) -> skein_proto::gossip::Queue {
        let view = self.mesh.view().borrow().clone();
        view.nodes.get(self.mesh.id()).expect("is there").queue
    }

    async fn tells(&self, joins: u32) {
        eventually(&format!("{joins} wait"), async || self.told().joins == joins).await;
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < LONG, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn admitted(reply: &Reply) -> bool {
    matches!(reply, Reply::Admitted(_))
}

const FULL: Reply = Reply::Refused(Refusal::MeshFull);

#[tokio::test]
async fn where_nobody_leads_or_the_leader_says_no_a_join_is_refused() {
    let world = World::new();
    let node = world.node("n1", &[]).await;
    assert_eq!(node.homes.admit(node.admit("a")).await, FULL);
    node.leads(false).await;
    assert_eq!(node.homes.admit(node.admit("a")).await, FULL);
    assert_eq!(node.homes.waiting(), 0);
}

#[tokio::test]
async fn others_leave_a_full_worker_for_a_newcomer_to_one_of_its_rooms() {
    let world = World::new();
    let node = world.node("n1", &[]).await;
    *node.host.free.lock() = one();
    eventually("what is left is heard", async || node.homes.level().free.packets == one()).await;
    let first = node.homes.admit(node.admit_with("a", "p", RoomWish::default())).await;
    assert!(admitted(&first), "{first:?}");
    let second = node.admit_with("a", "q", RoomWish::default());
    assert_eq!(node.homes.admit(second.clone()).await, FULL);
    *node.host.leaves.lock() = TOTAL / 2;
    let reply = node.homes.admit(second).await;
    assert!(admitted(&reply), "{reply:?}");
}

#[tokio::test]
async fn where_the_first_who_is_to_move_finds_no_place_the_next_pays_what_he_would_have() {
    let world = World::new();
    let node = world.node("n1", &[]).await;
    *node.host.free.lock() = TOTAL;
    eventually("what is left is heard", async || node.homes.level().free.packets == TOTAL).await;
    for peer in ["p", "q"] {
        let reply = node.homes.admit(node.admit_with("a", peer, RoomWish::default())).await;
        assert!(admitted(&reply), "{reply:?}");
    }
    let room = "a".parse().expect("a name");
    let to = WorkerAddress { node: node.mesh.id().clone(), worker: 1 };
    let (shifts, needs) = {
        let rooms = node.homes.rooms.lock();
        let home = &rooms.get(&room).expect("is there").room;
        let shift = |(session, seat): (&SessionId, &Seat)| Shift {
            session: *session,
            from: seat.at.clone(),
            to: to.clone(),
        };
        let shifts: Vec<_> = home.seats().iter().map(shift).collect();
        let packets =
            |demands: &Vec<(WorkerAddress, Cost)>| demands.iter().map(|(_, cost)| cost.packets).sum();
        let needs: Vec<u64> = home.move_demands(&shifts).iter().flatten().map(packets).collect();
        (shifts, needs)
    };
    let [first, second] = needs[..] else { panic!("{needs:?}") };
    assert!(first > second, "{first} and then {second}: the first has what all send come along");
    *node.host.free.lock() = first - 1;
    assert_eq!(node.homes.keep_places(&room, &shifts, false).await.len(), 0);
    *node.host.free.lock() = first;
    assert_eq!(node.homes.keep_places(&room, &shifts, false).await.len(), 1);
    *node.host.free.lock() = first + second;
    assert_eq!(node.homes.keep_places(&room, &shifts, true).await.len(), 2);
    assert_eq!(*node.host.free.lock(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_waits_until_something_is_free_and_has_it_within_a_second() {
    let world = World::new();
    let node = world.node("n1", &[]).await;
    node.leads(true).await;
    let admit = node.waits(node.admit("a")).await;
    node.tells(1).await;
    assert_eq!(node.told().cost.packets, one());
    // A waiter is no peer of its room.
    assert!(node.homes.rooms.lock().get(&admit.room).is_none_or(|home| home.room.is_empty()));
    let homes = Arc::clone(&node.homes);
    let asks = tokio::spawn(async move { homes.admit(admit).await });
    tokio::time::sleep(Duration::from_millis(400)).await;
    let freed = Instant::now();
    *node.host.free.lock() += one();
    let reply = timeout_soon(asks).await;
    assert!(admitted(&reply), "{reply:?}");
    assert!(freed.elapsed() < SOON, "{:?}", freed.elapsed());
    node.tells(0).await;
    assert_eq!(node.homes.counters()[0], ("joins_waited", 1));
}

async fn timeout_soon(asks: tokio::task::JoinHandle<Reply>) -> Reply {
    tokio::time::timeout(LONG, asks).await.expect("in time").expect("does not panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_came_first_is_placed_first_and_newcomers_stand_behind() {
    let world = World::new();
    let node = Arc::new(world.node("n1", &[]).await);
    node.leads(true).await;
    let (order, done) = (Arc::new(Mutex::new(Vec::new())), TaskTracker::new());
    for room in ["a", "b", "c"] {
        let admit = node.waits(node.admit(room)).await;
        let (node, order) = (Arc::clone(&node), Arc::clone(&order));
        done.spawn(async move {
            assert!(admitted(&node.comes(admit).await));
            order.lock().push(room);
        });
    }
    node.tells(3).await;
    for placed in 1..=3 {
        // Who comes now is told to wait, too, though there may be enough for it.
        *node.host.free.lock() += one();
        eventually("the next one is placed", async || order.lock().len() == placed).await;
    }
    assert_eq!(*order.lock(), ["a", "b", "c"]);
    done.close();
    done.wait().await;
    *node.host.free.lock() += one();
    assert!(admitted(&node.comes(node.admit("d")).await), "nobody waits any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_connection_of_a_peer_supersedes_one_that_waits() {
    let world = World::new();
    let node = world.node("n1", &[]).await;
    node.leads(true).await;
    let first = node.waits(node.admit("a")).await;
    let homes = Arc::clone(&node.homes);
    let old = first.clone();
    let asks = tokio::spawn(async move { homes.admit(old).await });
    let second = node.waits(node.admit("a")).await;
    assert_eq!(timeout_soon(asks).await, Reply::Refused(Refusal::Superseded));
    let (old, new) = (first.line.expect("waits"), second.line.expect("waits"));
    assert!(new.session > old.session);
    assert_eq!(new.since_ms, old.since_ms, "its place in line is the same");
    node.tells(1).await;
    *node.host.free.lock() += one();
    let reply = node.comes(second).await;
    assert!(matches!(&reply, Reply::Admitted(admitted) if admitted.session == new.session), "{reply:?}");
    assert_eq!(node.homes.admit(first).await, Reply::Refused(Refusal::Superseded));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_mesh_that_cannot_grow_a_join_waits_a_moment() {
    let world = World::new();
    let node = world.node_that_waits(1.0, "n1", &[]).await;
    let begun = Instant::now();
    assert_eq!(node.comes(node.admit("a")).await, Reply::Refused(Refusal::MeshFull));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    node.tells(0).await;
    let admit = node.waits(node.admit("b")).await;
    *node.host.free.lock() += one();
    let reply = node.comes(admit).await;
    assert!(admitted(&reply), "somebody left: {reply:?}");
    *node.host.free.lock() = 0;
    let wish = RoomWish { guaranteed: Some(true), ..RoomWish::default() };
    let reply = node.homes.admit(node.admit_with("c", "p", wish)).await;
    assert_eq!(reply, Reply::Refused(Refusal::MeshFull), "what is guaranteed is there or is not");
}

#[tokio::test]
async fn who_goes_away_leaves_the_line_at_once() {
    let world = World::new();
    let node = world.node("n1", &[]).await;
    node.leads(true).await;
    let admit = node.waits(node.admit("a")).await;
    let session = admit.line.expect("waits").session;
    let unwait = |session| Unwait { room: admit.room.clone(), peer: admit.peer.clone(), session };
    let older = SessionId { admitted_ms: 1, nonce: 1 };
    assert_eq!(node.homes.unwait(unwait(older)), Reply::Done);
    assert_eq!(node.homes.waiting(), 1, "an older connection has no say");
    assert_eq!(node.homes.unwait(unwait(session)), Reply::Done);
    assert_eq!(node.homes.waiting(), 0);
    node.tells(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_guaranteed_room_that_waits_keeps_small_ones_from_nothing() {
    let world = World::new();
    let node = world.node("n1", &[]).await;
    node.leads(true).await;
    let wish = RoomWish { guaranteed: Some(true), size: Some(50), ..RoomWish::default() };
    let large = node.waits(node.admit_with("large", "p", wish)).await;
    node.tells(1).await;
    let full = node.told().guaranteed;
    assert!(full.packets >= 49 * 50 * estimate::peer().one.packets, "{full:?}");
    *node.host.free.lock() += 2 * one();
    assert!(admitted(&node.comes(node.admit("small")).await));
    assert_eq!(node.homes.waiting(), 1);
    *node.host.free.lock() += 2 * full.packets;
    assert!(admitted(&node.comes(large).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_wait_cost_little_and_are_all_placed_when_a_machine_comes() {
    const JOINS: u64 = 1000;
    let world = World::new();
    let node = Arc::new(world.node("n1", &[]).await);
    node.leads(true).await;
    let joins = TaskTracker::new();
    let placed = Arc::new(AtomicU64::new(0));
    for number in 0..JOINS {
        let (node, placed) = (Arc::clone(&node), Arc::clone(&placed));
        joins.spawn(async move {
            let reply = node.comes(node.admit(&format!("r{number}"))).await;
            assert!(admitted(&reply), "{reply:?}");
            placed.fetch_add(1, Ordering::Relaxed);
        });
    }
    eventually("all wait", async || node.homes.waiting() == JOINS as usize).await;
    node.tells(JOINS as u32).await;
    let asked = node.host.asked.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let more = node.host.asked.load(Ordering::Relaxed) - asked;
    assert!(more < 200, "{more} asked for what is not there");
    let came = Instant::now();
    *node.host.free.lock() += JOINS * one();
    joins.close();
    tokio::time::timeout(LONG, joins.wait()).await.expect("in time");
    assert_eq!(placed.load(Ordering::Relaxed), JOINS);
    eprintln!("{JOINS} placed within {:?}; {more} reservations asked for in vain in 2 s", came.elapsed());
    node.tells(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_keeps_its_place_when_the_home_changes() {
    let world = World::new();
    let one_node = world.node("n1", &[]).await;
    one_node.leads(true).await;
    let two = world.node("n2", &[&one_node]).await;
    eventually("both see each other", async || {
        [&one_node, &two].iter().all(|node| node.mesh.view().borrow().nodes.len() == 2)
    })
    .await;
    eventually("the leader is seen", async || two.mesh.view().borrow().leader().is_some()).await;
    let view = one_node.mesh.view().borrow().clone();
    let room = (0..100).map(|n| format!("r{n}"));
    let room = room
        .into_iter()
        .find(|room| view.home(&room.parse().expect("a name")) == one_node.mesh.id())
        .expect("one of them");
    let admit = one_node.waits(one_node.admit(&room)).await;
    let InLine { session, since_ms } = admit.line.expect("waits");
    one_node.mesh.set_phase(Phase::Draining);
    eventually("the home is another", async || {
        [&one_node, &two].iter().all(|node| node.mesh.view().borrow().home(&admit.room) == two.mesh.id())
    })
    .await;
    assert_eq!(one_node.homes.admit(admit.clone()).await, Reply::NotHome(two.mesh.id().clone()));
    one_node.tells(0).await;
    match two.homes.admit(admit.clone()).await {
        Reply::Wait(wait) => assert_eq!(wait.line, InLine { session, since_ms }),
        other => panic!("{other:?}"),
    }
    *two.host.free.lock() += one();
    assert!(admitted(&two.comes(admit).await));
}

#[tokio::test]
async fn what_is_wrong_with_a_join_is_said_at_once_and_not_after_it_waited() {
    let world = World::new();
    let node = world.node("n1", &[]).await;
    node.leads(true).await;
    let _first = node.waits(node.admit("a")).await;
    let wish = RoomWish { size: Some(1_000_000), ..RoomWish::default() };
    let reply = node.homes.admit(node.admit_with("b", "p", wish)).await;
    assert!(matches!(reply, Reply::Refused(Refusal::NotAllowed(_))), "{reply:?}");
    assert_eq!(node.homes.waiting(), 1);
}
