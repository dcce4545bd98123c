//! Media between nodes and between the workers of one: what arrives, how many pipes there are, and what crosses them.

use anyhow::{Context, ensure};
use serde_json::json;
use skein_proto::operator::{Pipe, RoomDetail};
use skein_tests::peer::{Kind, Simulcast, Video, all_receive};
use skein_tests::{Mesh, MeshBuilder, Peer, PeerOptions, SOON, run, wait};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const KINDS: [Kind; 2] = [Kind::Audio, Kind::Video];

async fn everyone_receives_everyone(peers: &[Peer], kinds: &[Kind]) -> anyhow::Result<()> {
    all_receive(&peers.iter().collect::<Vec<_>>(), kinds, 20, SOON).await
}

async fn room(mesh: &Mesh) -> anyhow::Result<RoomDetail> {
    mesh.operator(0).room("r").await?.context("the room is there")
}

/// Every worker with a peer of the room gets every producer once; of those pipes exactly one per producer and other
/// node crosses the network; the home knows of the same pipes as the nodes themselves.
async fn pipes_are_as_few_as_can_be(mesh: &Mesh) -> anyhow::Result<Vec<Pipe>> {
    wait::until("one pipe per producer and node", SOON, async || {
        let room = room(mesh).await?;
        let places: BTreeSet<_> = room.peers.iter().map(|peer| (peer.host.clone(), peer.worker)).collect();
        let mut arriving: BTreeMap<_, u32> = BTreeMap::new();
        let mut crossing: BTreeMap<_, u32> = BTreeMap::new();
        for pipe in &room.pipes {
            *arriving.entry((pipe.producer.clone(), pipe.to.node.clone(), pipe.to.worker)).or_default() += 1;
            if pipe.from.node != pipe.to.node {
                *crossing.entry((pipe.producer.clone(), pipe.to.node.clone())).or_default() += 1;
            }
        }
        let mut wanted = BTreeSet::new();
        let mut wanted_across = BTreeSet::new();
        for producer in &room.producers {
            for (node, worker) in
                places.iter().filter(|place| (&place.0, place.1) != (&producer.host, producer.worker))
            {
                wanted.insert((producer.id.clone(), node.clone(), *worker));
                if *node != producer.host {
                    wanted_across.insert((producer.id.clone(), node.clone()));
                }
            }
        }
        ensure!(arriving.keys().cloned().collect::<BTreeSet<_>>() == wanted, "{room:#?}");
        ensure!(crossing.keys().cloned().collect::<BTreeSet<_>>() == wanted_across, "{room:#?}");
        ensure!(arriving.values().chain(crossing.values()).all(|number| *number == 1), "{room:#?}");
        let mut own = Vec::new();
        for node in mesh.running() {
            own.extend(node.operator().node().await?.pipes);
        }
        let sorted = |mut pipes: Vec<Pipe>| {
            pipes.sort_by_key(|pipe| format!("{pipe:?}"));
            pipes
        };
        ensure!(
            sorted(own.clone()) == sorted(room.pipes.clone()),
            "nodes: {own:#?}, home: {:#?}",
            room.pipes
        );
        Ok(room.pipes)
    })
    .await
}

async fn one_peer_a_node(mesh: &Mesh, video: Video) -> anyhow::Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for (number, name) in ["alice", "bob", "carol"].into_iter().enumerate().take(mesh.nodes().len()) {
        let options = PeerOptions::new("r", name).audio().video(video).data();
        peers.push(Peer::join(&mesh.node(number).ws(), options).await?);
    }
    Ok(peers)
}

async fn all_leave(mesh: &Mesh, peers: Vec<Peer>) -> anyhow::Result<()> {
    for peer in peers {
        peer.leave().await;
    }
    mesh.is_empty(SOON).await
}

#[test]
fn three_nodes_three_peers() {
    run(90, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let peers = one_peer_a_node(&mesh, Video::Single).await?;
        everyone_receives_everyone(&peers, &KINDS).await?;
        let pipes = pipes_are_as_few_as_can_be(&mesh).await?;
        assert_eq!(pipes.len(), 12);
        for node in mesh.nodes() {
            let detail = node.operator().node().await?;
            assert_eq!(detail.pipes.len(), 4, "{detail:?}");
            assert_eq!(detail.sessions, 1, "{detail:?}");
            // One pair of transports to and one from each of the two others, whatever goes through them.
            assert_eq!(detail.pipe_transports, 4, "{detail:?}");
        }
        all_leave(&mesh, peers).await
    });
}

#[test]
fn pause_resume_and_close_cross() {
    run(90, async {
        let mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
        let peers = one_peer_a_node(&mesh, Video::Single).await?;
        everyone_receives_everyone(&peers, &KINDS).await?;
        let [alice, bob] = &peers[..] else { anyhow::bail!("two peers") };
        for kind in KINDS {
            let consumer = bob.expect_consumer("alice", kind, SOON).await?.consumer;
            alice.pause(kind, true).await?;
            bob.protoo()
                .expect_notification("consumerPaused", SOON, |told| told["consumerId"] == consumer)
                .await?;
            bob.expect_silence("alice", kind, Duration::from_millis(500)).await?;
            let shown = |paused: bool| {
                let mesh = &mesh;
                async move {
                    let room = room(mesh).await?;
                    let producer = room
                        .producers
                        .iter()
                        .find(|one| one.peer.as_str() == "alice" && one.kind.to_string() == kind.as_str());
                    ensure!(producer.context("alice's producer")?.paused == paused, "{room:?}");
                    anyhow::Ok(())
                }
            };
            wait::until("the home knows", SOON, async || shown(true).await).await?;
            alice.pause(kind, false).await?;
            bob.protoo()
                .expect_notification("consumerResumed", SOON, |told| told["consumerId"] == consumer)
                .await?;
            bob.expect_packets("alice", kind, 20, SOON).await?;
            wait::until("the home knows", SOON, async || shown(false).await).await?;
        }
        // Who comes while a producer is paused is told so, and hears it once it is resumed.
        alice.pause(Kind::Audio, true).await?;
        let dave = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "dave")).await?;
        let received = dave.expect_consumer("alice", Kind::Audio, SOON).await?;
        ensure!(received.paused, "{received:?}");
        alice.pause(Kind::Audio, false).await?;
        dave.expect_packets("alice", Kind::Audio, 20, SOON).await?;
        let consumer = bob.expect_consumer("alice", Kind::Video, SOON).await?.consumer;
        alice.close_producer(Kind::Video).await?;
        bob.protoo()
            .expect_notification("consumerClosed", SOON, |told| told["consumerId"] == consumer)
            .await?;
        let pipes = pipes_are_as_few_as_can_be(&mesh).await?;
        assert_eq!(pipes.len(), 3, "{pipes:?}");
        // And again: the far side gets a new consumer.
        alice.produce_video(Video::Single).await?;
        bob.expect_packets("alice", Kind::Video, 20, SOON).await?;
        dave.leave().await;
        all_leave(&mesh, peers).await
    });
}

#[test]
fn a_pipe_rests_while_nobody_listens() {
    run(90, async {
        let mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
        let alice =
            Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "alice").audio().send_only()).await?;
        let bob = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "bob")).await?;
        bob.expect_packets("alice", Kind::Audio, 10, SOON).await?;
        bob.leave().await;
        wait::until("the pipe is gone after its linger", SOON, async || {
            let room = room(&mesh).await?;
            ensure!(room.pipes.is_empty() && room.hosts.len() == 1, "{room:?}");
            for node in mesh.nodes() {
                let detail = node.operator().node().await?;
                ensure!(detail.pipe_transports == 0 && detail.pipes.is_empty(), "{detail:?}");
            }
            Ok(())
        })
        .await?;
        let bob = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "bob")).await?;
        bob.expect_packets("alice", Kind::Audio, 10, SOON).await?;
        all_leave(&mesh, vec![alice, bob]).await
    });
}

/// What the senders' node sends, packets a second. They receive nothing, so it is what crosses the pipe.
async fn crosses(mesh: &Mesh) -> anyhow::Result<u64> {
    Ok(mesh.node(0).operator().node().await?.workers.iter().map(|worker| worker.packets).sum())
}

#[test]
fn what_nobody_there_is_to_get_does_not_cross() {
    run(150, async {
        let mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
        let names = ["ann", "ben", "cem"];
        let mut peers = Vec::new();
        for name in names {
            let options = PeerOptions::new("r", name).video(Video::Single).send_only().query("lastN", "1");
            peers.push(Peer::join(&mesh.node(0).ws(), options).await?);
        }
        let viewer = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "viewer")).await?;
        // What is measured is a mean of some seconds.
        let settles = Duration::from_secs(40);
        viewer.protoo().request("pin", json!({ "peerIds": names })).await?;
        for name in names {
            viewer.expect_packets(name, Kind::Video, 100, settles).await?;
        }
        let all = crosses(&mesh).await?;
        viewer.protoo().request("pin", json!({ "peerIds": [] })).await?;
        let one = wait::until("one of three crosses", settles, async || {
            let one = crosses(&mesh).await?;
            ensure!(one > 0 && one * 5 < all * 2, "{one} packets a second, of {all}");
            Ok(one)
        })
        .await?;
        ensure!(room(&mesh).await?.pipes.len() == 3, "the others only rest");
        let seen = wait::until("somebody is seen", SOON, async || {
            let is_seen = |name: &&str| viewer.received(name, Kind::Video).is_some_and(|one| !one.paused);
            names.into_iter().find(is_seen).context("nobody is")
        })
        .await?;
        let consumer = viewer.expect_consumer(seen, Kind::Video, SOON).await?.consumer;
        viewer.protoo().request("pauseConsumer", json!({ "consumerId": consumer })).await?;
        wait::until("nothing crosses", settles, async || {
            let now = crosses(&mesh).await?;
            ensure!(now * 3 < one, "{now} packets a second, of {one}");
            Ok(())
        })
        .await?;
        let key_frames = |name: &str| viewer.received(name, Kind::Video).map_or(0, |one| one.key_frames);
        let before = key_frames(seen);
        viewer.protoo().request("resumeConsumer", json!({ "consumerId": consumer })).await?;
        viewer.expect_packets(seen, Kind::Video, 10, SOON).await?;
        wait::until("it begins with a key frame", SOON, async || {
            ensure!(key_frames(seen) > before, "{before} key frames, as before");
            Ok(())
        })
        .await?;
        peers.push(viewer);
        all_leave(&mesh, peers).await
    });
}

#[test]
fn key_frame_requests_cross() {
    run(90, async {
        let mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
        let alice =
            Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "alice").video(Video::Single)).await?;
        let bob = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "bob")).await?;
        let received = bob.expect_packets("alice", Kind::Video, 30, SOON).await?;
        ensure!(received.key_frames > 0, "{received:?}");
        for by_rtcp in [false, true] {
            let (asked, got) = (alice.stats().key_frame_requests[0], received_key_frames(&bob)?);
            if by_rtcp {
                bob.send_pli(&received.consumer).await?;
            } else {
                let data = json!({ "consumerId": received.consumer });
                bob.protoo().request("requestConsumerKeyFrame", data).await?;
            }
            let what = if by_rtcp { "a PLI crosses" } else { "requestConsumerKeyFrame crosses" };
            wait::until(what, SOON, async || {
                let now = alice.stats().key_frame_requests[0];
                ensure!(now > asked, "alice heard of {now} requests, as before");
                let frames = received_key_frames(&bob)?;
                ensure!(frames > got, "bob has {frames} key frames, as before");
                Ok(())
            })
            .await?;
        }
        all_leave(&mesh, vec![alice, bob]).await
    });
}

fn received_key_frames(peer: &Peer) -> anyhow::Result<u64> {
    Ok(peer.received("alice", Kind::Video).context("a consumer")?.key_frames)
}

async fn wants_layer(peer: &Peer, layer: u8) -> anyhow::Result<()> {
    let consumer = peer.expect_consumer("alice", Kind::Video, SOON).await?.consumer;
    let data = json!({ "consumerId": consumer, "spatialLayer": layer, "temporalLayer": 0 });
    peer.protoo().request("setConsumerPreferredLayers", data).await?;
    Ok(())
}

async fn has_layer(peer: &Peer, layer: u8) -> anyhow::Result<()> {
    let what = format!("{} receives layer {layer}", peer.id());
    wait::until(&what, Duration::from_secs(20), async || {
        let received = peer.received("alice", Kind::Video).context("a consumer")?;
        ensure!(received.last_layer == Some(layer), "{received:?}");
        Ok(())
    })
    .await?;
    // It stays so.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let received = peer.received("alice", Kind::Video).context("a consumer")?;
    ensure!(received.last_layer == Some(layer), "{what} no longer: {received:?}");
    Ok(())
}

async fn layers_are_chosen_on_the_far_side(by: Simulcast) -> anyhow::Result<()> {
    let mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
    let alice =
        Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "alice").video(Video::Simulcast(by))).await?;
    let near = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "near")).await?;
    let far = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "far")).await?;
    for peer in [&near, &far] {
        let received = peer.expect_packets("alice", Kind::Video, 10, SOON).await?;
        assert_eq!(received.consumer_type, "simulcast");
        has_layer(peer, 2).await?;
    }
    wants_layer(&far, 0).await?;
    has_layer(&far, 0).await?;
    has_layer(&near, 2).await?;
    far.protoo().expect_notification("consumerLayersChanged", SOON, |told| told["spatialLayer"] == 0).await?;
    wants_layer(&far, 1).await?;
    wants_layer(&near, 0).await?;
    has_layer(&far, 1).await?;
    has_layer(&near, 0).await?;
    wants_layer(&far, 2).await?;
    has_layer(&far, 2).await?;
    // All layers go through one pipe.
    assert_eq!(room(&mesh).await?.pipes.len(), 1);
    all_leave(&mesh, vec![alice, near, far]).await
}

#[test]
fn layers_told_apart_by_rid_are_chosen_on_the_far_side() {
    run(120, layers_are_chosen_on_the_far_side(Simulcast::Rid));
}

#[test]
fn layers_told_apart_by_ssrc_are_chosen_on_the_far_side() {
    run(120, layers_are_chosen_on_the_far_side(Simulcast::Ssrc));
}

#[test]
fn inside_a_node_media_goes_from_worker_to_worker() {
    run(120, async {
        let mesh = MeshBuilder::new()
            .nodes(2)
            .set("placement.prefer", "entry")
            .set("media.workers", "2")
            .start()
            .await?;
        let mut peers = Vec::new();
        for (name, node) in [("p1", 0), ("p2", 0), ("p3", 0), ("q1", 1), ("q2", 1)] {
            let options = PeerOptions::new("r", name).audio();
            peers.push(Peer::join(&mesh.node(node).ws(), options.clone()).await?);
            everyone_receives_everyone(&peers, &[Kind::Audio]).await?;
            if !["p3", "q2"].contains(&name) {
                continue;
            }
            // A peer of each node goes to the other worker there.
            let answer = mesh.operator(0).move_peer("r", name, Some(mesh.node(node).id().as_str())).await?;
            ensure!(answer.status == 202, "{answer:?}");
            let here = peers.pop().context("it has just come")?;
            ensure!(here.protoo().expect_close(SOON).await?.code == 1012, "it is to dial again");
            peers.push(Peer::join(&mesh.node(node).ws(), options).await?);
            everyone_receives_everyone(&peers, &[Kind::Audio]).await?;
        }
        let places: BTreeSet<_> =
            room(&mesh).await?.peers.iter().map(|peer| (peer.host.to_string(), peer.worker)).collect();
        let nodes: BTreeSet<_> = places.iter().map(|(node, _)| node).collect();
        ensure!(nodes.len() == 2 && places.len() == 4, "the peers are on {places:?}");
        let pipes = pipes_are_as_few_as_can_be(&mesh).await?;
        ensure!(pipes.iter().any(|pipe| pipe.from.node == pipe.to.node), "{pipes:?}");
        ensure!(pipes.iter().any(|pipe| pipe.from.node != pipe.to.node), "{pipes:?}");
        all_leave(&mesh, peers).await
    });
}

#[test]
fn a_full_node_sends_the_fifth_peer_elsewhere() {
    run(120, async {
        // Four who send 80 packets a second to each other and a fifth who is expected to send 220 do not fit into 3,230,
        // with as much left as it takes to go on elsewhere.
        let mesh = MeshBuilder::new().set("media.streams_per_worker", "19").start().await?;
        let mut peers = Vec::new();
        for (number, name) in ["p1", "p2", "p3", "p4", "p5"].into_iter().enumerate() {
            wait::until("what was kept for the one before is free again", SOON, async || {
                for node in mesh.nodes() {
                    let workers = node.operator().node().await?.workers;
                    let none_kept = workers
                        .iter()
                        .all(|worker| worker.packets + worker.free_packets == worker.total_packets);
                    ensure!(none_kept, "{workers:?}");
                }
                Ok(())
            })
            .await?;
            let options = PeerOptions::new("r", name).audio().video(Video::Declared);
            peers.push(Peer::join(&mesh.node(number % 3).ws(), options).await?);
            everyone_receives_everyone(&peers, &KINDS).await?;
        }
        let room = room(&mesh).await?;
        let mut on: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for peer in &room.peers {
            on.entry(peer.host.to_string()).or_default().push(peer.id.to_string());
        }
        ensure!(on.len() == 2, "{on:?}");
        ensure!(on.values().any(|peers| peers.starts_with(&["p1".to_owned(), "p2".to_owned()])), "{on:?}");
        ensure!(
            !on.values()
                .any(|peers| peers.starts_with(&["p1".to_owned()]) && peers.contains(&"p5".to_owned())),
            "{on:?}"
        );
        pipes_are_as_few_as_can_be(&mesh).await?;
        all_leave(&mesh, peers).await
    });
}

#[test]
fn messages_cross_nodes() {
    run(90, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let mut peers = Vec::new();
        for (number, name) in ["alice", "bob", "carol"].into_iter().enumerate() {
            peers.push(Peer::join(&mesh.node(number).ws(), PeerOptions::new("r", name).data()).await?);
        }
        for peer in &peers {
            peer.produce_data(1, "chat").await?;
        }
        for sender in &peers {
            let text = format!("{} says hello", sender.id());
            let others = || peers.iter().filter(|peer| peer.id() != sender.id());
            for other in others() {
                other.expect_data_consumer(sender.id(), "chat", SOON).await?;
            }
            // What the far side is not ready for yet is lost: said again until it is heard.
            for other in others() {
                wait::until("a message crosses", SOON, async || {
                    sender.send_data(1, &text).await?;
                    other.expect_message(sender.id(), "chat", &text, Duration::from_millis(500)).await
                })
                .await?;
            }
        }
        for node in mesh.nodes() {
            let detail = node.operator().node().await?;
            assert_eq!(
                (detail.data_producers, detail.data_consumers, detail.data_pipes),
                (1, 2, 2),
                "{detail:?}"
            );
            assert_eq!(detail.pipe_transports, 0, "data does not go through pipes: {detail:?}");
        }
        all_leave(&mesh, peers).await
    });
}

#[test]
fn media_crosses_nodes_over_ipv6() {
    run(90, async {
        let mesh = MeshBuilder::new()
            .nodes(2)
            .set("placement.prefer", "entry")
            .set("media.listen", "[{ip=\"::1\"}]")
            .set("media.pipe", "{ip=\"::1\"}")
            .start()
            .await?;
        let peers = one_peer_a_node(&mesh, Video::Single).await?;
        everyone_receives_everyone(&peers, &KINDS).await?;
        let pipes = pipes_are_as_few_as_can_be(&mesh).await?;
        assert_eq!(pipes.len(), 4, "{pipes:?}");
        for peer in &peers {
            for transport in [peer.transports().0, peer.transports().1] {
                let transport = transport.context("a transport")?;
                let stats =
                    peer.protoo().request("getTransportStats", json!({ "transportId": transport })).await?;
                let tuple = &stats[0]["iceSelectedTuple"];
                let local = tuple["localAddress"].as_str().or_else(|| tuple["localIp"].as_str());
                ensure!(local == Some("::1"), "{stats}");
            }
        }
        all_leave(&mesh, peers).await
    });
}
