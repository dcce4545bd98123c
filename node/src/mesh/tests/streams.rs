use super::*;
use skein_proto::codec::MAX_FRAME_BYTES;
use skein_proto::ids::SessionId;
use skein_proto::room::{RoomMode, RoomOptions};
use skein_proto::rpc::SessionOpen;
use skein_proto::signaling::Role;

pub(super) fn session() -> SessionOpen {
    SessionOpen {
        session: SessionId { admitted_ms: 1, nonce: 2 },
        room: "r".parse().expect("a name"),
        peer: "p".parse().expect("a name"),
        worker: 0,
        role: Role::Publish,
        skein: false,
        options: RoomOptions { mode: RoomMode::Conference, size: 9, guaranteed: false, last_n: 0 },
        from: None,
        quiet: false,
    }
}

fn text(length: usize) -> SessionFrame {
    SessionFrame::Text("x".repeat(length))
}

#[tokio::test]
async fn calls_are_answered_by_others_and_by_the_own_node() {
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    for (from, name) in [(&a, "a"), (&b, "b")] {
        for to in ["a", "b"] {
            let Ok(Reply::Json(answer)) = from.ask(to).await else {
                panic!("no answer from {to} to {name}");
            };
            assert_eq!(answer.read::<(String, String)>().expect("reads"), (to.to_owned(), name.to_owned()));
        }
    }
    let short = Duration::from_millis(50);
    for to in ["a", "b"] {
        let error = a.mesh.call(&id(to), Call::Rooms, short).await.expect_err("nobody answers");
        assert_eq!(error, MeshError::Deadline { node: id(to), deadline: short });
    }
    assert_eq!(a.ask("nobody").await, Err(MeshError::Unknown(id("nobody"))));
}

#[tokio::test]
async fn streams_carry_frames_both_ways_until_they_end() {
    let world = World::new();
    let [a, _b] = world.nodes(["a", "b"]).await;
    for to in ["a", "b"] {
        let mut stream = a.mesh.open(&id(to), &Open::Session(session())).await.expect("opens");
        assert_eq!(stream.node(), &id(to));
        for length in [0, 1, 100_000, MAX_FRAME_BYTES - 100] {
            let (frame, echo) = (text(length), async { stream.send(&text(length)).await });
            echo.await.expect("sends");
            assert_eq!(stream.recv::<SessionFrame>().await.expect("echoes"), Some(frame));
        }
        let error = stream.send(&text(MAX_FRAME_BYTES)).await.expect_err("too large");
        assert!(matches!(error, MeshError::Encode { .. }), "{error}");
        // Nothing was sent, and the stream is as before.
        stream.send(&text(3)).await.expect("sends");
        assert_eq!(stream.recv::<SessionFrame>().await.expect("echoes"), Some(text(3)));

        let (sender, mut receiver) = stream.split();
        sender.finish().await;
        assert_eq!(receiver.recv::<SessionFrame>().await.expect("ends well"), None);
    }
    assert_eq!(a.count("frames_too_large") + a.count("rpc_decode_errors"), 0);
}

#[tokio::test]
async fn one_half_that_is_dropped_is_noticed_at_the_other_end() {
    let world = World::new();
    let (mesh, mut incoming) = Mesh::start(world.settings("a", &[])).await.expect("starts");
    let b = world.node("b", &[mesh.addr()]).await;
    b.sees(&["a", "b"]).await;
    for from in [mesh.clone(), b.mesh.clone()] {
        let (mut sender, receiver) =
            from.open(&id("a"), &Open::Session(session())).await.expect("opens").split();
        let (node, open, stream) = incoming.accept().await.expect("a stream");
        assert_eq!((&node, open), (from.id(), Open::Session(session())));
        let (mut far_sender, mut far_receiver) = stream.split();
        // What was sent before the end arrives before the end.
        sender.send(&text(1)).await.expect("sends");
        drop(sender);
        assert_eq!(far_receiver.recv().await.expect("arrives"), Some(text(1)));
        assert_eq!(far_receiver.recv::<SessionFrame>().await.expect("ends"), None);
        drop(receiver);
        eventually("sending fails", async || far_sender.send(&text(1)).await.is_err()).await;
    }
}

#[tokio::test]
async fn waiting_for_a_frame_can_be_given_up_without_losing_one() {
    let world = World::new();
    let [a, _b] = world.nodes(["a", "b"]).await;
    for to in ["a", "b"] {
        let (mut sender, mut receiver) =
            a.mesh.open(&id(to), &Open::Session(session())).await.expect("opens").split();
        let sending = tokio::spawn(async move {
            for length in 0..300 {
                sender.send(&text(length * 100)).await.expect("sends");
            }
        });
        let mut next = 0;
        while next < 300 {
            // Given up at once, over and over.
            if let Ok(frame) = timeout(Duration::from_micros(20), receiver.recv::<SessionFrame>()).await {
                assert_eq!(frame.expect("arrives"), Some(text(next * 100)));
                next += 1;
            }
        }
        sending.await.expect("sends all");
    }
}

#[tokio::test]
async fn who_opens_and_says_nothing_holds_up_nobody() {
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    let link = a.mesh.shared.peers.get(&id("b")).expect("connected");
    let mut silent = Vec::new();
    for _ in 0..100 {
        let (mut writer, reader) = link.connection.open_bi().await.expect("opens");
        // The length of a frame that never comes.
        writer.write_all(&[0, 0, 1, 0]).await.expect("writes");
        silent.push((writer, reader));
    }
    a.reaches("b").await;
    b.counted("streams_refused", 100).await;
    a.reaches("b").await;
    assert_eq!(b.count("connections_refused") + b.count("rpc_decode_errors"), 0);
}

#[tokio::test]
async fn streams_that_nobody_takes_are_given_up() {
    let world = World::new();
    let (mesh, mut incoming) = Mesh::start(world.settings("a", &[])).await.expect("starts");
    let mut streams = Vec::new();
    for _ in 0..limits::INCOMING_QUEUE + 10 {
        streams.push(mesh.open(&id("a"), &Open::Session(session())).await.expect("opens"));
    }
    let refused = &mesh.counters().streams_refused;
    eventually("ten are given up", async || refused.load(Relaxed) == 10).await;
    let mut ended = 0;
    for mut stream in streams {
        if let Ok(Ok(None)) = timeout(Duration::from_millis(1), stream.recv::<SessionFrame>()).await {
            ended += 1;
        }
    }
    assert_eq!(ended, 10);
    assert!(incoming.accept().await.is_some());
}
