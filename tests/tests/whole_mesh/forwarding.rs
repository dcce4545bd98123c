//! With room to spare a room's peers are on one host, whichever node they connect to.

use anyhow::{Context, ensure};
use skein_tests::mesh::leftovers;
use skein_tests::peer::{Kind, Simulcast, Video, all_receive};
use skein_tests::{MeshBuilder, Peer, PeerOptions, SOON, run};

#[test]
fn peers_of_different_entries_meet_on_one_host() {
    run(60, async {
        let mesh = MeshBuilder::new().start().await?;
        let names = ["alice", "bob", "carol"];
        let mut peers = Vec::new();
        for (number, name) in names.into_iter().enumerate() {
            let options = PeerOptions::new("r", name).audio().video(Video::Single).skein();
            peers.push(Peer::join(&mesh.node(number).ws(), options).await?);
        }
        let mut hosts = Vec::new();
        for (number, peer) in peers.iter().enumerate() {
            let welcome = peer.protoo().expect_notification("welcome", SOON, |_| true).await?;
            assert_eq!(welcome["node"], mesh.node(number).id().as_str());
            assert_eq!(welcome["endpoints"].as_array().map(Vec::len), Some(3), "{welcome}");
            assert_eq!(welcome["endpoints"][0], mesh.node(number).ws());
            hosts.push(welcome["host"].as_str().context("a host")?.to_owned());
        }
        ensure!(hosts.iter().all(|host| *host == hosts[0]), "{hosts:?}");
        all_receive(&peers.iter().collect::<Vec<_>>(), &[Kind::Audio, Kind::Video], 20, SOON).await?;
        let room = mesh.operator(0).room("r").await?.context("the room is there")?;
        assert_eq!(room.hosts.len(), 1, "{room:?}");
        assert_eq!(room.producers.len(), 6, "{room:?}");
        assert_eq!(room.pipes, [], "{room:?}");
        for node in mesh.nodes() {
            let detail = node.operator().node().await?;
            assert_eq!(detail.sockets, 1, "each entry keeps its client: {detail:?}");
            let hosting = node.id().as_str() == hosts[0];
            let expected = if hosting { (3, 6, 6, 12, 1) } else { (0, 0, 0, 0, 0) };
            let held =
                (detail.sessions, detail.transports, detail.producers, detail.consumers, detail.routers);
            assert_eq!(held, expected, "{detail:?}");
        }
        for peer in peers {
            peer.leave().await;
        }
        mesh.is_empty(SOON).await
    });
}

#[test]
fn leaving_is_seen_and_takes_everything_along() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).start().await?;
        let alice =
            Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "alice").audio().video(Video::Single))
                .await?;
        let simulcast = Video::Simulcast(Simulcast::Ssrc);
        let bob =
            Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "bob").audio().video(simulcast)).await?;
        for kind in [Kind::Audio, Kind::Video] {
            alice.expect_packets("bob", kind, 10, SOON).await?;
            bob.expect_packets("alice", kind, 10, SOON).await?;
        }
        let consumers = alice.stats().received.len();
        bob.leave().await;
        alice.protoo().expect_notification("peerClosed", SOON, |told| told["peerId"] == "bob").await?;
        skein_tests::wait::until("the consumers are closed", SOON, async || {
            let received = alice.stats().received;
            ensure!(received.len() == consumers && received.values().all(|one| one.closed), "{received:?}");
            Ok(())
        })
        .await?;
        // What is left is alice, and nothing else.
        skein_tests::wait::until("one peer is left", SOON, async || {
            let mut sessions = 0;
            for node in mesh.nodes() {
                let held = leftovers(&node.operator().node().await?);
                ensure!(!held.contains_key("consumers"), "{held:?}");
                sessions += held.get("sessions").copied().unwrap_or(0);
            }
            ensure!(sessions == 1, "{sessions} sessions");
            Ok(())
        })
        .await?;
        alice.leave().await;
        mesh.is_empty(SOON).await
    });
}
