//! The library itself: one node, two peers, sound, pictures and messages.

use skein_tests::peer::{Kind, Simulcast, Video};
use skein_tests::{MeshBuilder, Peer, PeerOptions, SOON, run};

#[test]
fn two_peers_of_one_node_hear_see_and_message_each_other() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(1).start().await?;
        let ws = mesh.node(0).ws();
        let alice =
            Peer::join(&ws, PeerOptions::new("r", "alice").audio().video(Video::Single).data()).await?;
        let bob = Peer::join(
            &ws,
            PeerOptions::new("r", "bob").audio().video(Video::Simulcast(Simulcast::Rid)).data(),
        )
        .await?;
        for kind in [Kind::Audio, Kind::Video] {
            alice.expect_packets("bob", kind, 20, SOON).await?;
            bob.expect_packets("alice", kind, 20, SOON).await?;
        }
        alice.produce_data(1, "chat").await?;
        bob.expect_data_consumer("alice", "chat", SOON).await?;
        alice.send_data(1, "hello").await?;
        bob.expect_message("alice", "chat", "hello", SOON).await?;
        alice.leave().await;
        bob.leave().await;
        mesh.is_empty(SOON).await
    });
}
