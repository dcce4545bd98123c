use super::*;
use tokio::runtime::{Builder, Runtime};

/// A node in a runtime of its own, so that it can be killed: nothing of it runs any more and nothing is said.
struct Mortal {
    node: Node,
    runtime: Runtime,
}

impl Mortal {
    async fn start(settings: MeshSettings) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let node = runtime.spawn(Node::start(settings)).await.expect("starts");
        Self { node, runtime }
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

#[tokio::test]
async fn a_node_that_is_killed_is_suspect_and_then_gone() {
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    let victim = Mortal::start(world.settings("v", &[a.mesh.addr()])).await;
    for node in [&a, &b, &victim.node] {
        node.sees(&["a", "b", "v"]).await;
    }
    victim.kill();
    let start = Instant::now();
    a.until("suspect", |view| view.nodes.get(&id("v")).is_none_or(|v| v.state == NodeState::Suspect)).await;
    let suspected = start.elapsed();
    a.sees(&["a", "b"]).await;
    b.sees(&["a", "b"]).await;
    println!("suspect after {suspected:?}, gone after {:?}", start.elapsed());
    // 3 s of silence for QUIC, less for gossip; the rest is for a slow machine.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(matches!(a.ask("v").await, Err(MeshError::Unknown(_))));
    assert_eq!(a.count("connections"), 1);
}

#[tokio::test]
async fn a_node_that_shuts_down_is_gone_at_once() {
    let world = World::new();
    let [a, b, c] = world.nodes(["a", "b", "c"]).await;
    let start = Instant::now();
    let (_, ()) = tokio::join!(c.mesh.shutdown(), async {
        a.sees(&["a", "b"]).await;
        b.sees(&["a", "b"]).await;
    });
    println!("gone and shut down after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(c.mesh.open(&id("c"), &Open::Call(Call::Rooms)).await.err(), Some(MeshError::ShutDown));
    assert!(c.ask("a").await.is_err());
    // It does not come back by what others remember.
    tokio::time::sleep(Duration::from_secs(1)).await;
    a.sees(&["a", "b"]).await;
    assert!(timeout(Duration::from_millis(1), c.mesh.failed()).await.is_err(), "a shutdown is no failure");
}

#[tokio::test]
async fn a_node_that_starts_again_is_taken_with_its_new_generation() {
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    let old = Mortal::start(world.settings("v", &[a.mesh.addr()])).await;
    b.sees(&["a", "b", "v"]).await;
    let (generation, addr) = (old.node.mesh.generation(), old.node.mesh.addr());
    old.kill();
    // At once, and at the same address, as a supervisor does it.
    let mut settings = world.settings("v", &[a.mesh.addr()]);
    settings.config.listen = addr;
    eventually("the address is free", async || std::net::UdpSocket::bind(addr).is_ok()).await;
    let start = Instant::now();
    let new = Node::start(settings).await;
    assert!(new.mesh.generation() > generation);
    for node in [&a, &b, &new] {
        node.until("the new process", |view| {
            view.nodes
                .get(&id("v"))
                .is_some_and(|v| v.state == NodeState::Alive && v.generation == new.mesh.generation())
        })
        .await;
        node.sees(&["a", "b", "v"]).await;
        node.reaches("v").await;
    }
    println!("taken after {:?}", start.elapsed());
    new.reaches("b").await;
}

#[tokio::test]
async fn a_node_that_shuts_down_and_starts_again_is_taken() {
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    let mut settings = world.settings("b", &[a.mesh.addr()]);
    settings.config.listen = b.mesh.addr();
    b.mesh.shutdown().await;
    a.sees(&["a"]).await;
    drop(b);
    eventually("the address is free", async || std::net::UdpSocket::bind(settings.config.listen).is_ok())
        .await;
    let again = Node::start(settings).await;
    a.sees(&["a", "b"]).await;
    again.sees(&["a", "b"]).await;
    a.reaches("b").await;
}

#[tokio::test]
async fn of_two_processes_with_one_name_the_later_is_the_live_one() {
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    let first = world.node("v", &[a.mesh.addr()]).await;
    b.sees(&["a", "b", "v"]).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let second = world.node("v", &[a.mesh.addr()]).await;
    for node in [&a, &b] {
        node.until("the later one", |view| {
            view.nodes
                .get(&id("v"))
                .is_some_and(|v| v.state == NodeState::Alive && v.generation == second.mesh.generation())
        })
        .await;
    }
    // The first one is refused from now on, and the second one's place is not taken.
    first.counted("connections_refused", 2).await;
    for node in [&a, &b] {
        let view = node.mesh.view().borrow().clone();
        assert_eq!(view.get(&id("v")).map(|v| v.generation), Some(second.mesh.generation()));
    }
}

#[tokio::test]
async fn a_node_that_stands_still_is_gone_and_comes_back() {
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    let frozen = Mortal::start(world.settings("v", &[a.mesh.addr()])).await;
    for node in [&a, &b, &frozen.node] {
        node.sees(&["a", "b", "v"]).await;
    }
    // Its only thread does nothing else, as when a machine is paused.
    #[allow(clippy::disallowed_methods, reason = "to block the thread is the point")]
    frozen.runtime.spawn(async { std::thread::sleep(Duration::from_secs(5)) });
    for node in [&a, &b] {
        node.sees(&["a", "b"]).await;
    }
    for node in [&a, &b, &frozen.node] {
        node.sees(&["a", "b", "v"]).await;
        node.reaches("v").await;
    }
    frozen.kill();
}

#[tokio::test]
async fn a_handle_that_is_dropped_ends_everything() {
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    let addr = b.mesh.addr();
    drop(b);
    a.sees(&["a"]).await;
    eventually("the socket is closed", async || std::net::UdpSocket::bind(addr).is_ok()).await;
}

#[tokio::test]
async fn gossip_that_dies_is_a_failure() {
    let world = World::new();
    let a = world.node("a", &[]).await;
    a.mesh.shared.fail(MeshError::Ended("gossip"));
    assert_eq!(a.mesh.failed().await, MeshError::Ended("gossip"));
    a.mesh.shutdown().await;
}
