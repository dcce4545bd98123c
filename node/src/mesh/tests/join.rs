use super::*;

#[tokio::test]
async fn three_nodes_meet_through_one_seed_and_a_late_one_through_any() {
    let world = World::new();
    let [a, b, c] = world.nodes(["a", "b", "c"]).await;
    let late = world.node("d", &[c.mesh.addr()]).await;
    for node in [&a, &b, &c, &late] {
        let view = node.sees(&["a", "b", "c", "d"]).await;
        let member = view.get(&id("d")).expect("is there");
        assert_eq!(member.facts.url, "http://d");
        assert_eq!((member.addr, member.generation), (late.mesh.addr(), late.mesh.generation()));
        for other in ["a", "b", "c", "d"] {
            node.reaches(other).await;
        }
    }
    for node in [&a, &b, &c, &late] {
        assert_eq!(node.count("connections_refused"), 0);
        assert_eq!(node.count("gossip_decode_errors"), 0);
    }
}

#[tokio::test]
async fn one_connection_stays_of_two_that_were_dialled_at_once() {
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    // Both dial, whoever did before.
    let _ = (a.mesh.shared.dial(b.mesh.addr()), b.mesh.shared.dial(a.mesh.addr()));
    for (node, other) in [(&a, "b"), (&b, "a")] {
        eventually("one connection is left", async || node.count("connections") == 1).await;
        let link = node.mesh.shared.peers.get(&id(other)).expect("connected");
        assert!(link.is_open());
        node.reaches(other).await;
    }
    a.sees(&["a", "b"]).await;
    b.sees(&["a", "b"]).await;
}

#[tokio::test]
async fn alone_is_fine_and_seeds_may_come_later() {
    let world = World::new();
    let later = world.settings("b", &[]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
    let seed = socket.local_addr().expect("is bound");
    drop(socket);
    let a = world.node("a", &[seed]).await;
    let alone = a.sees(&["a"]).await;
    assert_eq!(alone.home(&"r".parse().expect("a name")), &id("a"));
    a.counted("dials_failed", 2).await;
    let mut settings = later;
    settings.config.listen = seed;
    let b = Node::start(settings).await;
    a.sees(&["a", "b"]).await;
    b.sees(&["a", "b"]).await;
}

#[tokio::test]
async fn the_own_address_among_the_seeds_is_skipped() {
    let world = World::new();
    let log = Log::new();
    let mut settings = world.settings("a", &[]);
    // Another address of the same socket, so that it cannot be told from a seed without dialling it.
    settings.config.listen = ([0, 0, 0, 0], 0).into();
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("binds");
    settings.config.listen.set_port(socket.local_addr().expect("is bound").port());
    drop(socket);
    let port = settings.config.listen.port();
    settings.config.advertise = Some(([127, 0, 0, 1], port).into());
    settings.config.seeds = vec![([127, 0, 0, 1], port).into(), ([127, 0, 0, 2], port).into()];
    let a = Node::start(settings).await;
    let b = world.node("b", &[a.mesh.addr()]).await;
    a.sees(&["a", "b"]).await;
    b.sees(&["a", "b"]).await;
    assert_eq!(a.count("connections_refused"), 0);
    assert_eq!(log.lines("WARN"), [""; 0]);
}

#[tokio::test]
async fn load_and_phase_reach_everyone() {
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    let load = Load { free: vec![3, 4], total: vec![5, 5], peers: 2, rooms: 1 };
    a.mesh.set_load(&load);
    for node in [&a, &b] {
        node.until("the load", |view| view.nodes.get(&id("a")).is_some_and(|a| a.load == load)).await;
    }
    a.mesh.set_phase(Phase::Draining);
    for node in [&a, &b] {
        let view = node
            .until("draining", |view| {
                view.nodes.get(&id("a")).is_some_and(|a| a.state == NodeState::Draining)
            })
            .await;
        for room in 0..50 {
            assert_eq!(view.home(&format!("r{room}").parse().expect("a name")), &id("b"));
        }
    }
    a.mesh.set_phase(Phase::Ready);
    b.sees(&["a", "b"]).await;
}

#[tokio::test]
async fn a_load_that_is_set_at_once_is_gossiped() {
    let world = World::new();
    let a = world.node("a", &[]).await;
    let load = Load { free: vec![1], ..Load::default() };
    a.mesh.set_load(&load);
    let b = world.node("b", &[a.mesh.addr()]).await;
    b.until("the load", |view| view.nodes.get(&id("a")).is_some_and(|a| a.load == load)).await;
}

#[tokio::test]
async fn the_hash_has_one_answer_on_all_nodes() {
    let world = World::new();
    let nodes = world.nodes(["a", "b", "c"]).await;
    let views: Vec<_> = nodes.iter().map(|node| node.mesh.view().borrow().clone()).collect();
    for room in 0..100 {
        let room = format!("r{room}").parse().expect("a name");
        assert!(views.iter().all(|view| view.home(&room) == views[0].home(&room)));
    }
}
