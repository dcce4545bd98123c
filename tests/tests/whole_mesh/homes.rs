//! One home a room, whoever is asked; one roster a room, wherever its peers come in.

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use skein_tests::peer::Video;
use skein_tests::protoo::ConnectOptions;
use skein_tests::{MeshBuilder, Peer, PeerOptions, Protoo, SOON, run, wait};
use std::collections::BTreeMap;

#[test]
fn all_nodes_name_the_same_home() {
    run(60, async {
        let mesh = MeshBuilder::new().start().await?;
        let rooms: Vec<_> = (0..30).map(|number| format!("room-{number}")).collect();
        let clients = rooms.iter().enumerate().map(|(number, room)| {
            let ws = mesh.node(number % 3).ws();
            async move { Protoo::connect(&ws, &ConnectOptions::new(room, "p")).await }
        });
        let _clients = try_join_all(clients).await?;
        let mut homes = BTreeMap::new();
        for room in &rooms {
            let home = wait::until("every node knows the room", SOON, async || {
                let mut named = Vec::new();
                for node in mesh.nodes() {
                    let detail = node.operator().room(room).await?;
                    named.push(detail.with_context(|| format!("{} does not know {room}", node.id()))?.home);
                }
                ensure!(named.iter().all(|home| *home == named[0]), "{room}: {named:?}");
                Ok(named.swap_remove(0))
            })
            .await?;
            *homes.entry(home).or_insert(0) += 1;
        }
        // Hashing spreads them: a node without any of 30 is a chance of 1 in 60,000.
        ensure!(homes.len() == 3, "{homes:?}");
        for node in mesh.nodes() {
            let list = node.operator().rooms().await?;
            ensure!(list.missing.is_empty() && list.rooms.len() == 30, "{}: {list:?}", node.id());
        }
        Ok(())
    });
}

#[test]
fn a_room_has_one_roster() {
    run(60, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let mut peers = Vec::new();
        for (number, name) in ["alice", "bob", "carol"].into_iter().enumerate() {
            let peer = Peer::join(&mesh.node(number).ws(), PeerOptions::new("r", name)).await?;
            assert_eq!(peer.found().len(), number, "{name} finds {:?}", peer.found());
            peers.push(peer);
        }
        peers[0].protoo().expect_notification("newPeer", SOON, |peer| peer["id"] == "bob").await?;
        peers[0].protoo().expect_notification("newPeer", SOON, |peer| peer["id"] == "carol").await?;
        peers[1].protoo().expect_notification("newPeer", SOON, |peer| peer["id"] == "carol").await?;
        let roster = wait::until("all nodes show the same roster", SOON, async || {
            let mut rosters = Vec::new();
            for node in mesh.nodes() {
                rosters.push(node.operator().room("r").await?.context("the room is there")?);
            }
            ensure!(rosters.iter().all(|roster| *roster == rosters[0]), "{rosters:#?}");
            ensure!(rosters[0].peers.len() == 3, "{rosters:#?}");
            Ok(rosters.swap_remove(0))
        })
        .await?;
        let mut hosts: Vec<_> =
            roster.peers.iter().map(|peer| (peer.id.as_str(), peer.host.as_str())).collect();
        hosts.sort_unstable();
        assert_eq!(hosts, [("alice", "n1"), ("bob", "n2"), ("carol", "n3")]);
        assert!(roster.peers.iter().all(|peer| peer.joined && peer.device.flag.as_deref() == Some("str0m")));
        let carol = peers.pop().context("three peers")?;
        carol.leave().await;
        for peer in &peers {
            peer.protoo().expect_notification("peerClosed", SOON, |peer| peer["peerId"] == "carol").await?;
            let told = peer.protoo().notifications();
            let closed = told.iter().filter(|told| told.method == "peerClosed").count();
            ensure!(closed == 1, "{told:?}");
        }
        for peer in peers {
            peer.leave().await;
        }
        mesh.is_empty(SOON).await
    });
}

#[test]
fn who_comes_to_a_full_mesh_has_the_place_of_who_leaves() {
    run(60, async {
        let mesh = MeshBuilder::new()
            .nodes(1)
            .set("placement.wait_s", "15")
            .set("media.streams_per_worker", "4")
            .start()
            .await?;
        let ws = mesh.node(0).ws();
        let options = |peer: &str| PeerOptions::new("pair", peer).audio().video(Video::Declared);
        let pair = [Peer::join(&ws, options("alice")).await?, Peer::join(&ws, options("bob")).await?];
        // What two send to each other is 440 of 680 packets a second; for who may send 220 are needed, and some stay free.
        let late = Protoo::connect(&ws, &ConnectOptions::new("other", "carol").skein()).await?;
        let told = late.expect_notification("waiting", SOON, |_| true).await?;
        ensure!(told["reason"] == "the mesh is full just now", "{told:?}");
        for peer in pair {
            peer.leave().await;
        }
        late.request("getRouterRtpCapabilities", serde_json::json!({})).await?;
        Ok(())
    });
}

#[test]
fn a_full_room_and_a_full_mesh_say_so() {
    run(60, async {
        let mesh = MeshBuilder::new()
            .nodes(2)
            .set("room.size", "2")
            .set("placement.wait_s", "0")
            .set("media.streams_per_worker", "4")
            .start()
            .await?;
        let _pair = [
            Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "alice")).await?,
            Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "bob")).await?,
        ];
        let third = Protoo::connect(&mesh.node(0).ws(), &ConnectOptions::new("r", "carol")).await?;
        let closed = third.expect_close(SOON).await?;
        assert_eq!((closed.code, closed.reason.as_str()), (1013, "room full"));
        // Each worker carries 680 packets a second, and for who may send 220 are kept for a while, even when it does not.
        let mut full = None;
        let mut kept = Vec::new();
        for number in 0..6 {
            let options = ConnectOptions::new(&format!("other-{number}"), "p");
            let client = Protoo::connect(&mesh.node(number % 2).ws(), &options).await?;
            match client.request("getRouterRtpCapabilities", serde_json::json!({})).await {
                Ok(_) => kept.push(client),
                Err(_) => full = Some(client.expect_close(SOON).await?),
            }
        }
        let full = full.context("eight who may send fit on two such workers")?;
        assert_eq!((full.code, full.reason.as_str()), (1013, "mesh full"));
        Ok(())
    });
}
