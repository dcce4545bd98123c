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
    for (node, other) in [(&a, &b), (&b, &a)] {
        eventually("it may dial again", async || match node.mesh.shared.dial(other.mesh.addr()) {
            Ok(mut dialled) => dialled.wait_for(Option::is_some).await.is_ok(),
            Err(_) => false,
        })
        .await;
    }
    a.counted("connections", 2).await;
    // Both use the one that a dialled, and what runs over the other one goes on.
    let used = |node: &Node, other: &str| node.mesh.shared.peers.get(&id(other)).expect("connected");
    let (at_a, at_b) = (used(&a, "b"), used(&b, "a"));
    assert!(at_a.dialled && !at_b.dialled);
    let spares = a.mesh.shared.peers.spares(&id("b"));
    let spare = spares.iter().find(|link| link.is_open()).expect("a spare");
    assert!(!spare.dialled);
    let mut stream = spare.open(&a.mesh.shared).await.expect("opens");
    let open = Open::Session(streams::session());
    stream.send(&open).await.expect("sends");
    tokio::time::sleep(limits::DRAIN + limits::OBSERVE * 2).await;
    let frame = SessionFrame::Text("still".to_owned());
    stream.send(&frame).await.expect("sends");
    assert_eq!(stream.recv::<SessionFrame>().await.expect("echoes"), Some(frame));
    drop(stream);
    for (node, other) in [(&a, "b"), (&b, "a")] {
        eventually("one connection is left", async || node.count("connections") == 1).await;
        assert!(used(node, other).is_open());
        node.reaches(other).await;
    }
    assert!(at_a.is_open() && at_b.is_open());
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
    settings.config.seeds =
        [[127, 0, 0, 1], [127, 0, 0, 2]].map(|ip| SocketAddr::from((ip, port)).into()).into();
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
    let load = Load { free_bits: 3, total_bits: 5, peers: 2, rooms: 1, ..Load::default() };
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
    let load = Load { free_bits: 1, ..Load::default() };
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

#[tokio::test]
async fn many_who_connect_and_say_nothing_keep_nobody_out() {
    let world = World::new();
    let a = world.node("a", &[]).await;
    let raw = world.raw("raw");
    // Enough that newcomers must prove their address first.
    let count = limits::HANDSHAKES_BEFORE_RETRY + 16;
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(raw.connect(&a).await);
    }
    let b = world.node("b", &[a.mesh.addr()]).await;
    a.sees(&["a", "b"]).await;
    b.sees(&["a", "b"]).await;
    assert!(silent.iter().any(|connection| connection.close_reason().is_none()), "they were still there");
    a.counted("connections_refused", count as u64).await;
}

/// Two nodes that reach each other only through proxies, whose addresses they advertise.
async fn behind_proxies(world: &World) -> ([Node; 2], [Proxy; 2]) {
    let (mut settings_a, mut settings_b) = (world.settings("a", &[]), world.settings("b", &[]));
    let proxies = [Proxy::start(&mut settings_a.config).await, Proxy::start(&mut settings_b.config).await];
    settings_a.config.seeds = vec![proxies[1].addr.into()];
    settings_b.config.seeds = vec![proxies[0].addr.into()];
    let nodes = [Node::start(settings_a).await, Node::start(settings_b).await];
    for node in &nodes {
        node.sees(&["a", "b"]).await;
    }
    (nodes, proxies)
}

#[tokio::test]
async fn addresses_that_packets_do_not_come_from_are_no_reason_to_dial_again() {
    let world = World::new();
    let ([a, b], proxies) = behind_proxies(&world).await;
    assert_ne!(
        a.mesh.shared.peers.get(&id("b")).expect("connected").remote,
        b.mesh.shared.endpoint.local_addr().expect("is bound")
    );
    tokio::time::sleep(limits::DRAIN + limits::OBSERVE * 2).await;
    for node in [&a, &b] {
        eventually("one connection is left", async || node.count("connections") == 1).await;
    }
    let links = || {
        [(&a, "b"), (&b, "a")].map(|(node, other)| node.mesh.shared.peers.get(&id(other)).expect("connected"))
    };
    let before = links();
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (before, after) in before.iter().zip(links()) {
        assert!(Arc::ptr_eq(before, &after));
    }
    assert_eq!((a.count("connections"), b.count("connections")), (1, 1));
    drop(proxies);
}

#[tokio::test]
async fn a_partition_parts_the_mesh_and_heals() {
    let world = World::new();
    let ([a, b], proxies) = behind_proxies(&world).await;
    proxies.iter().for_each(|proxy| proxy.cut(true));
    let start = Instant::now();
    a.sees(&["a"]).await;
    b.sees(&["b"]).await;
    println!("parted after {:?}", start.elapsed());
    assert!(a.ask("b").await.is_err());
    proxies.iter().for_each(|proxy| proxy.cut(false));
    let start = Instant::now();
    a.sees(&["a", "b"]).await;
    b.sees(&["a", "b"]).await;
    println!("healed after {:?}", start.elapsed());
    a.reaches("b").await;
    b.reaches("a").await;
}

#[tokio::test]
async fn lost_packets_part_nobody() {
    let world = World::new();
    let ([a, b], proxies) = behind_proxies(&world).await;
    proxies.iter().for_each(|proxy| proxy.lose(10));
    let (mut seen_by_a, mut seen_by_b) = (a.mesh.view(), b.mesh.view());
    let calls = async {
        for _ in 0..40 {
            a.ask("b").await.expect("answers");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = calls => {}
        _ = seen_by_a.wait_for(|view| view.nodes.len() < 2) => panic!("a lost b"),
        _ = seen_by_b.wait_for(|view| view.nodes.len() < 2) => panic!("b lost a"),
    }
}
