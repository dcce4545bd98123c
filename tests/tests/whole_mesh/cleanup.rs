//! When everyone has left, nothing is left, however they left.

use anyhow::ensure;
use skein_tests::mesh::leftovers;
use skein_tests::peer::{Kind, Simulcast, Video};
use skein_tests::{MeshBuilder, Peer, PeerOptions, SOON, run};

#[test]
fn nothing_is_left_when_everyone_has_left() {
    run(120, async {
        let mesh = MeshBuilder::new()
            .set("placement.prefer", "entry")
            .set("media.workers", "2")
            .set("media.streams_per_worker", "60")
            .start()
            .await?;
        for round in 0..2 {
            let mut peers = Vec::new();
            for number in 0..6 {
                let name = format!("p{number}");
                let room = if number < 4 { "big" } else { "small" };
                let mut options = PeerOptions::new(room, &name).audio().data();
                if number % 2 == 0 {
                    options = options.video(Video::Simulcast(Simulcast::Rid));
                }
                let peer = Peer::join(&mesh.node(number % 3).ws(), options).await?;
                peer.produce_data(1, "chat").await?;
                peers.push(peer);
            }
            for (receiver, sender) in [(0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4)] {
                let name = format!("p{sender}");
                peers[receiver].expect_packets(&name, Kind::Audio, 10, SOON).await?;
                peers[receiver].expect_data_consumer(&name, "chat", SOON).await?;
            }
            for node in mesh.nodes() {
                let held = leftovers(&node.operator().node().await?);
                ensure!(held.len() >= 10, "round {round}: {} holds only {held:?}", node.id());
            }
            for (number, peer) in peers.into_iter().enumerate() {
                if number % 2 == 0 {
                    peer.leave().await;
                } else {
                    // Without a closing handshake, as a crashed client.
                    drop(peer);
                }
            }
            mesh.is_empty(SOON).await?;
        }
        Ok(())
    });
}

#[test]
fn clients_that_never_join_leave_nothing() {
    run(60, async {
        let mesh = MeshBuilder::new().start().await?;
        for number in 0..9 {
            let options = skein_tests::protoo::ConnectOptions::new("r", &format!("p{number}"));
            let client = skein_tests::Protoo::connect(&mesh.node(number % 3).ws(), &options).await?;
            if number % 3 > 0 {
                client.request("getRouterRtpCapabilities", serde_json::json!({})).await?;
            }
            if number % 3 > 1 {
                let wish = serde_json::json!({ "forceTcp": false, "producing": true, "consuming": true });
                client.request("createWebRtcTransport", wish).await?;
            }
        }
        mesh.is_empty(SOON + SOON).await
    });
}
