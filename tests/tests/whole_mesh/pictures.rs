//! Pictures come, whenever their sender begins to send them.

use skein_tests::peer::{Kind, Video};
use skein_tests::{MeshBuilder, Peer, PeerOptions, SOON, run};
use std::time::Duration;

/// How long a receiver's bandwidth estimator may take to come to rest: each news of it makes the worker look again at what
/// it sends, and so would hide that nothing else does.
const REST: Duration = Duration::from_secs(5);

#[test]
fn pictures_come_however_late_their_sender_begins() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
        let alice = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "alice").data()).await?;
        let near = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "near").data()).await?;
        let far = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "far").data()).await?;
        alice.produce_video_later(Video::Temporal).await?;
        for peer in [&near, &far] {
            peer.expect_consumer("alice", Kind::Video, SOON).await?;
        }
        tokio::time::sleep(REST).await;
        alice.begin(Kind::Video).await?;
        for peer in [&near, &far] {
            let received = peer.expect_packets("alice", Kind::Video, 20, SOON).await?;
            assert_eq!(received.consumer_type, "svc", "{received:?}");
        }
        for peer in [alice, near, far] {
            peer.leave().await;
        }
        mesh.is_empty(SOON).await
    });
}
