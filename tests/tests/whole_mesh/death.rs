//! Nodes that die under a call: the others go on, and lose nobody but the dead node's own.

use anyhow::{Context, ensure};
use serde_json::json;
use skein_proto::ids::NodeId;
use skein_proto::operator::NodeState;
use skein_tests::peer::{Kind, Video, all_receive};
use skein_tests::protoo::ConnectOptions;
use skein_tests::{Mesh, MeshBuilder, Peer, PeerOptions, Protoo, SOON, run, wait};
use std::time::{Duration, Instant};

/// Death is noticed within 5 s, and a home that took over waits as long again before it believes in absence.
const OVER: Duration = Duration::from_secs(15);
const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const KINDS: [Kind; 2] = [Kind::Audio, Kind::Video];

/// A room whose home is, or is not, the node of this index.
async fn room_at(mesh: &Mesh, node: usize, at_home: bool) -> anyhow::Result<String> {
    for number in 0..100 {
        let room = format!("room-{number}");
        let probe = Protoo::connect(&mesh.node(node).ws(), &ConnectOptions::new(&room, "probe")).await?;
        probe.request("getRouterRtpCapabilities", json!({})).await?;
        let home = mesh.operator(node).room(&room).await?.context("the room is there")?.home;
        probe.close().await;
        if (home == *mesh.node(node).id()) == at_home {
            mesh.is_empty(SOON).await?;
            return Ok(room);
        }
    }
    anyhow::bail!("none of 100 rooms")
}

async fn flows(peers: &[&Peer]) -> anyhow::Result<()> {
    all_receive(peers, &KINDS, 30, SOON).await
}

fn consumers(peer: &Peer, of: &str) -> Vec<String> {
    let received = peer.stats().received;
    received.into_values().filter(|one| one.peer == of && !one.closed).map(|one| one.consumer).collect()
}

/// Each peer on its own node; the node of index 1 dies, which is or is not the room's home.
async fn a_host_dies(at_home: bool) -> anyhow::Result<()> {
    let mut mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
    let room = room_at(&mesh, 1, at_home).await?;
    let mut peers = Vec::new();
    for (number, name) in NAMES.into_iter().enumerate() {
        let options = PeerOptions::new(&room, name).audio().video(Video::Single);
        peers.push(Peer::join(&mesh.node(number).ws(), options).await?);
    }
    flows(&peers.iter().collect::<Vec<_>>()).await?;
    let (alice, bob, carol) = (&peers[0], &peers[1], &peers[2]);
    let before = [consumers(alice, "carol"), consumers(carol, "alice")];
    mesh.node_mut(1).kill()?;
    bob.protoo().expect_close(SOON).await?;
    for peer in [alice, carol] {
        peer.protoo().expect_notification("peerClosed", OVER, |told| told["peerId"] == "bob").await?;
    }
    mesh.agrees(OVER).await?;
    wait::until("both remaining nodes show both remaining peers", OVER, async || {
        for node in mesh.running() {
            let detail = node.operator().room(&room).await?.context("the room is there")?;
            let names: Vec<_> = detail.peers.iter().map(|peer| peer.id.to_string()).collect();
            ensure!(names == ["alice", "carol"], "{}: {names:?}", node.id());
            ensure!(detail.producers.len() == 4 && detail.pipes.len() == 4, "{detail:#?}");
            ensure!(mesh.running().any(|node| *node.id() == detail.home), "home {}", detail.home);
        }
        Ok(())
    })
    .await?;
    // The call went on: nobody else was told to be gone, and the same consumers still receive.
    flows(&[alice, carol]).await?;
    for peer in [alice, carol] {
        let gone: Vec<_> =
            peer.protoo().notifications().into_iter().filter(|told| told.method == "peerClosed").collect();
        ensure!(gone.len() == 1, "{}: {gone:?}", peer.id());
        ensure!(peer.protoo().is_closed().is_none(), "{} is closed", peer.id());
    }
    ensure!(before == [consumers(alice, "carol"), consumers(carol, "alice")], "consumers were replaced");
    // And newcomers find them, through any node.
    for (node, name) in [(0, "dave"), (2, "erin")] {
        let options = PeerOptions::new(&room, name).audio().video(Video::Single);
        let peer = Peer::join(&mesh.node(node).ws(), options).await?;
        ensure!(peer.found().starts_with(&["alice".to_owned(), "carol".to_owned()]), "{:?}", peer.found());
        flows(&[alice, carol, &peer]).await?;
        peers_leave(vec![peer]).await;
    }
    peers_leave(peers).await;
    mesh.is_empty(SOON).await
}

async fn peers_leave(peers: Vec<Peer>) {
    for peer in peers {
        peer.leave().await;
    }
}

#[test]
fn a_host_that_is_not_home_dies() {
    run(120, a_host_dies(false));
}

#[test]
fn the_home_dies() {
    run(120, a_host_dies(true));
}

#[test]
fn an_entry_dies() {
    run(90, async {
        let mut mesh = MeshBuilder::new().start().await?;
        let mut peers = Vec::new();
        for (number, name) in NAMES.into_iter().enumerate() {
            peers.push(Peer::join(&mesh.node(number).ws(), PeerOptions::new("r", name).audio()).await?);
        }
        let room = mesh.operator(0).room("r").await?.context("the room is there")?;
        let host = &room.hosts[0];
        // A node that only holds a socket.
        let entry =
            (0..3).find(|index| mesh.node(*index).id() != host && *mesh.node(*index).id() != room.home);
        let entry = entry.context("three nodes, of which one is host and one home")?;
        mesh.node_mut(entry).kill()?;
        for (number, peer) in peers.iter().enumerate().filter(|(number, _)| *number != entry) {
            let gone = NAMES[entry];
            peer.protoo().expect_notification("peerClosed", OVER, |told| told["peerId"] == gone).await?;
            let other = NAMES.into_iter().enumerate().find(|(other, _)| *other != number && *other != entry);
            peer.expect_packets(other.context("one more")?.1, Kind::Audio, 20, SOON).await?;
        }
        // It dials another node, as protoo-client does, and is back.
        let again = if entry == 0 { 1 } else { 0 };
        let back = Peer::join(&mesh.node(again).ws(), PeerOptions::new("r", NAMES[entry]).audio()).await?;
        ensure!(back.found().len() == 2, "{:?}", back.found());
        back.expect_packets(NAMES[again], Kind::Audio, 20, SOON).await?;
        Ok(())
    });
}

#[test]
fn a_node_that_stops_says_so_to_its_clients() {
    run(90, async {
        let mut mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let mut peers = Vec::new();
        for (number, name) in NAMES.into_iter().enumerate() {
            peers.push(Peer::join(&mesh.node(number).ws(), PeerOptions::new("r", name).audio()).await?);
        }
        let stopped: NodeId = mesh.node(1).id().clone();
        mesh.node_mut(1).interrupt()?;
        let closed = peers[1].protoo().expect_close(SOON).await?;
        // Any code but 4000: the client shall dial again.
        ensure!(closed.code != 4000 && closed.code != 1006 && !closed.reason.is_empty(), "{closed:?}");
        for peer in [&peers[0], &peers[2]] {
            peer.protoo()
                .expect_notification("peerClosed", Duration::from_secs(3), |t| t["peerId"] == "bob")
                .await?;
        }
        let exit = mesh.node_mut(1).ended(SOON).await?;
        ensure!(exit.code == Some(0), "{exit:?}");
        mesh.agrees(SOON).await?;
        peers[0].expect_packets("carol", Kind::Audio, 20, SOON).await?;
        let room = mesh.operator(0).room("r").await?.context("the room is there")?;
        ensure!(room.home != stopped && !room.hosts.contains(&stopped), "{room:?}");
        Ok(())
    });
}

#[test]
fn a_publish_that_waits_for_a_silent_home_keeps_nothing_else_waiting() {
    run(60, async {
        let mut mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
        let room = room_at(&mesh, 0, true).await?;
        let alice = Peer::join(&mesh.node(1).ws(), PeerOptions::new(&room, "alice").audio()).await?;
        let (sending, _) = alice.transports();
        let transport = json!({ "transportId": sending.context("a transport")? });
        let opus = json!({ "mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2 });
        // Nothing was kept for a second voice.
        let voice = json!({
            "transportId": transport["transportId"], "kind": "audio", "appData": {},
            "rtpParameters": { "mid": "more", "codecs": [opus], "encodings": [{ "ssrc": 4711 }] },
        });
        mesh.node_mut(0).suspend()?;
        let (published, told) =
            tokio::join!(async { (alice.protoo().request("produce", voice).await, Instant::now()) }, async {
                let told = alice.protoo().request("getTransportStats", transport.clone()).await;
                (told.map(|_| Instant::now()), mesh.node_mut(0).resume())
            });
        let ((answer, published), (told, resumed)) = (published, told);
        resumed?;
        answer.context("to publish")?;
        ensure!(told? < published, "the other answer came after it");
        Ok(())
    });
}

/// A client that only takes a place, and the node that hosts it.
async fn hosted(mesh: &Mesh, entry: usize, room: &str) -> anyhow::Result<(Protoo, NodeId)> {
    let client = Protoo::connect(&mesh.node(entry).ws(), &ConnectOptions::new(room, "p")).await?;
    client.request("getRouterRtpCapabilities", json!({})).await.with_context(|| room.to_owned())?;
    let detail = mesh.operator(entry).room(room).await?.context("the room is there")?;
    Ok((client, detail.peers.first().context("somebody is in it")?.host.clone()))
}

#[test]
fn nobody_is_sent_to_a_node_that_is_silent() {
    run(60, async {
        // The fullest that a room fits on comes first: the second, which is a little smaller.
        let builder = MeshBuilder::new().set("placement.typical_peers", "2");
        let mut mesh = builder.set_node(1, "media.streams_per_worker", "400").start().await?;
        let home = room_at(&mesh, 0, true).await?;
        let (before, host) = hosted(&mesh, 0, &home).await?;
        ensure!(host == *mesh.node(1).id(), "before, it is on {host}");
        before.close().await;
        mesh.is_empty(SOON).await?;
        mesh.node_mut(1).suspend()?;
        wait::until("both others suspect it", SOON, async || {
            for node in [0, 2] {
                let nodes = mesh.operator(node).mesh().await?.nodes;
                let status = nodes.iter().find(|one| one.id == *mesh.node(1).id());
                let alive = status.filter(|status| status.state == NodeState::Alive);
                ensure!(alive.is_none(), "{alive:?}");
            }
            Ok(())
        })
        .await?;
        let mut clients = Vec::new();
        for (entry, room) in [(0, home), (2, "other".to_owned()), (0, "another".to_owned())] {
            // A home that is silent as well is missed before long.
            let (client, host) =
                wait::until("it gets in", OVER, async || hosted(&mesh, entry, &room).await).await?;
            ensure!(host != *mesh.node(1).id(), "{room} is on the node that is silent");
            clients.push(client);
        }
        mesh.node_mut(1).resume()?;
        mesh.agrees(OVER).await?;
        for client in clients {
            client.close().await;
        }
        Ok(())
    });
}
