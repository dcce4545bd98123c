//! Rooms in which some send and many listen: relays, roles that change, and whose video is forwarded.

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use serde_json::json;
use skein_proto::ids::NodeId;
use skein_proto::operator::{RoomDetail, RoomPeer};
use skein_tests::peer::{Kind, Video, all_receive_from};
use skein_tests::{Mesh, MeshBuilder, Peer, PeerOptions, SOON, run, wait};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const LISTENERS: usize = 60;
/// How many come at once.
const AT_ONCE: usize = 12;
/// A dead node is out of every view within 5 s; what it passed on then comes another way.
const AROUND: Duration = Duration::from_secs(12);

async fn room(mesh: &Mesh, id: &str) -> anyhow::Result<RoomDetail> {
    let node = mesh.running().next().context("a node that runs")?;
    node.operator().room(id).await?.context("the room is there")
}

fn presenter(name: &str) -> PeerOptions {
    PeerOptions::new("stage", name)
        .audio()
        .video(Video::Declared)
        .query("mode", "stage")
        .query("role", "publish")
}

/// The nodes that pass on what is not theirs. No node sends a producer to more than `fan_out` others.
fn relays(room: &RoomDetail, fan_out: usize) -> anyhow::Result<BTreeSet<NodeId>> {
    let mut targets: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut relays = BTreeSet::new();
    for pipe in room.pipes.iter().filter(|pipe| pipe.from.node != pipe.to.node) {
        let to = targets.entry((&pipe.producer, &pipe.from.node)).or_default();
        ensure!(to.insert(&pipe.to.node), "one producer goes twice over {pipe:?}");
        ensure!(to.len() <= fan_out, "{} sends {} to {to:?}", pipe.from.node, pipe.producer);
        let origin = room.producers.iter().find(|one| one.id == pipe.producer);
        if origin.is_some_and(|origin| origin.host != pipe.from.node) {
            relays.insert(pipe.from.node.clone());
        }
    }
    Ok(relays)
}

#[test]
fn sixty_listeners_get_three_presenters_through_a_relay_and_go_on_when_it_dies() {
    run(60, async {
        let mut mesh =
            MeshBuilder::new().set("placement.prefer", "entry").set("placement.fan_out", "1").start().await?;
        let mut presenters = Vec::new();
        for name in ["p1", "p2", "p3"] {
            presenters.push(Peer::join(&mesh.node(0).ws(), presenter(name)).await?);
        }
        let mut listeners = Vec::new();
        for batch in (0..LISTENERS).collect::<Vec<_>>().chunks(AT_ONCE) {
            let joins = batch.iter().map(|number| {
                let (ws, name) = (mesh.node(number % 3).ws(), format!("l{number:02}"));
                async move { Peer::join(&ws, PeerOptions::new("stage", &name)).await }
            });
            listeners.extend(try_join_all(joins).await?);
        }
        let mut producers = Vec::new();
        for presenter in &presenters {
            producers.extend([presenter.producer(Kind::Audio)?, presenter.producer(Kind::Video)?]);
        }
        let pairs = |peers: &[&Peer]| {
            let all = peers.iter().flat_map(|peer| producers.iter().map(move |one| (*peer, one.as_str())));
            all.map(|(peer, producer)| (peer.id().to_owned(), producer)).collect::<Vec<_>>()
        };
        ensure!(pairs(&listeners.iter().collect::<Vec<_>>()).len() == LISTENERS * 6, "three send two each");
        let all = listeners.iter().flat_map(|peer| producers.iter().map(move |one| (peer, one.as_str())));
        all_receive_from(all, 20, SOON).await?;
        let relay = wait::until("one node passes on to another", SOON, async || {
            let room = room(&mesh, "stage").await?;
            ensure!(room.peers.len() == LISTENERS + 3 && room.hosts.len() == 3, "{:?}", room.hosts);
            ensure!(room.producers.len() == 6, "{:?}", room.producers);
            let relays = relays(&room, 1)?;
            ensure!(relays.len() == 1 && room.pipes.len() == 12, "{relays:?}: {:#?}", room.pipes);
            relays.into_iter().next().context("a relay")
        })
        .await?;
        let before = room(&mesh, "stage").await?;
        let relay = mesh.index_of(&relay)?;
        let third = 3 - relay;
        ensure!(relay != 0, "the presenters' own node is no relay");
        let is_at = |peer: &&Peer, node: usize| {
            let host = before.peers.iter().find(|one| one.id.as_str() == peer.id()).map(|one| &one.host);
            host == Some(mesh.node(node).id())
        };
        let behind: Vec<_> = listeners.iter().filter(|peer| is_at(peer, third)).collect();
        let near: Vec<_> = listeners.iter().filter(|peer| is_at(peer, 0)).collect();
        ensure!(behind.len() == LISTENERS / 3 && near.len() == LISTENERS / 3, "they are where they came in");
        mesh.node_mut(relay).kill()?;
        let killed = Instant::now();
        // What was on its way is through before anything is counted.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let pairs = behind.iter().flat_map(|peer| producers.iter().map(move |one| (*peer, one.as_str())));
        all_receive_from(pairs, 30, AROUND).await?;
        eprintln!("listeners behind the relay receive again {:?} after its death", killed.elapsed());
        let pairs = near.iter().flat_map(|peer| producers.iter().map(move |one| (*peer, one.as_str())));
        all_receive_from(pairs, 30, SOON).await?;
        wait::until("the origin sends to the third node itself", SOON, async || {
            let room = room(&mesh, "stage").await?;
            ensure!(relays(&room, 1)?.is_empty() && room.pipes.len() == 6, "{:#?}", room.pipes);
            Ok(())
        })
        .await?;
        for peer in behind.iter().chain(&near) {
            ensure!(peer.protoo().is_closed().is_none(), "{} is closed", peer.id());
        }
        Ok(())
    });
}

/// A room whose three presenters, who send some 80 packets a second each, are on a worker of 24 streams of 170, with as many
/// listeners as it takes, and one listener on each node more. Answers how all of it is piped.
async fn beyond_a_full_node(mesh: &Mesh, workers: usize) -> anyhow::Result<RoomDetail> {
    let mut presenters = Vec::new();
    for name in ["p1", "p2", "p3"] {
        presenters.push(Peer::join(&mesh.node(0).ws(), presenter(name)).await?);
    }
    let mut listeners = Vec::new();
    let join = async |entry: usize, number: usize| {
        Peer::join(&mesh.node(entry).ws(), PeerOptions::new("stage", &format!("l{number:02}"))).await
    };
    let at_the_origin = async |worker: Option<u16>| {
        let room = room(mesh, "stage").await?;
        let here = |peer: &&RoomPeer| {
            peer.host == *mesh.node(0).id() && worker.is_none_or(|worker| peer.worker == worker)
        };
        anyhow::Ok(room.peers.iter().filter(here).count())
    };
    ensure!(at_the_origin(Some(0)).await? == 3, "the presenters are together");
    while at_the_origin(Some(0)).await? == 3 + listeners.len() {
        ensure!(listeners.len() < 20, "a worker of 24 streams takes 20 who receive three");
        listeners.push(join(0, listeners.len()).await?);
    }
    let before = at_the_origin(None).await?;
    for entry in 1..mesh.nodes().len() {
        listeners.push(join(entry, listeners.len()).await?);
    }
    let mut producers = Vec::new();
    for presenter in &presenters {
        producers.extend([presenter.producer(Kind::Audio)?, presenter.producer(Kind::Video)?]);
    }
    let all = listeners.iter().flat_map(|peer| producers.iter().map(move |one| (peer, one.as_str())));
    all_receive_from(all, 20, SOON).await?;
    let found = wait::until("all of it is everywhere", SOON, async || {
        let room = room(mesh, "stage").await?;
        let elsewhere = mesh.nodes().len() + workers - 2;
        ensure!(room.pipes.len() == 6 * elsewhere, "{:#?}", room.pipes);
        Ok(room)
    })
    .await?;
    ensure!(at_the_origin(None).await? == before, "nobody had to leave");
    Ok(found)
}

#[test]
fn other_nodes_pass_on_what_the_presenters_node_has_no_space_to_send() {
    run(90, async {
        let small = MeshBuilder::new().nodes(4).set("placement.prefer", "entry");
        let mesh = small.set_node(0, "media.streams_per_worker", "24").start().await?;
        let room = beyond_a_full_node(&mesh, 1).await?;
        ensure!(!relays(&room, 3)?.is_empty(), "{:#?}", room.pipes);
        Ok(())
    });
}

#[test]
fn another_worker_sends_on_what_the_presenters_has_no_space_to_send() {
    run(90, async {
        let small = MeshBuilder::new().nodes(2).set("placement.prefer", "entry");
        let small = small.set_node(0, "media.workers", "2");
        let mesh = small.set_node(0, "media.streams_per_worker", "24").start().await?;
        let room = beyond_a_full_node(&mesh, 2).await?;
        let far = room.pipes.iter().filter(|pipe| pipe.to.node != *mesh.node(0).id());
        let from: BTreeSet<_> = far.map(|pipe| (&pipe.from.node, pipe.from.worker)).collect();
        ensure!(from == BTreeSet::from([(mesh.node(0).id(), 1)]), "{:#?}", room.pipes);
        Ok(())
    });
}

#[test]
fn a_listener_sends_once_it_is_promoted_and_no_more_when_it_is_demoted() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
        let [near, far] = [mesh.node(0).ws(), mesh.node(1).ws()];
        let boss = PeerOptions::new("stage", "boss").query("mode", "stage").query("role", "moderate");
        let boss = Peer::join(&near, boss.skein()).await?;
        let presenter = Peer::join(&far, presenter("presenter")).await?;
        let ear = Peer::join(&far, PeerOptions::new("stage", "ear").data().skein()).await?;
        ear.expect_packets("presenter", Kind::Audio, 10, SOON).await?;
        let refused = async || {
            for refused in [ear.produce_audio().await, ear.produce_data(1, "chat").await] {
                let error = format!("{:#}", refused.err().context("a listener may not send")?);
                ensure!(error.contains("403") && error.contains("role"), "{error}");
            }
            anyhow::Ok(())
        };
        refused().await?;
        for method in ["promote", "demote"] {
            let (code, reason) = boss.protoo().refused(method, json!({ "peerId": "nobody" })).await?;
            ensure!((400..500).contains(&code) && reason.contains("nobody"), "{method}: {code} {reason}");
            for who in [&presenter, &ear] {
                let (code, reason) = who.protoo().refused(method, json!({ "peerId": "ear" })).await?;
                ensure!(code == 403, "{} by {}: {code} {reason}", method, who.id());
            }
        }
        let changed = async |role: &str| {
            for peer in [&boss, &ear] {
                let told = peer.protoo().expect_notification("roleChanged", SOON, |told| {
                    told["peerId"] == "ear" && told["role"] == role
                });
                told.await?;
            }
            anyhow::Ok(())
        };
        for round in 0..2 {
            boss.protoo().request("promote", json!({ "peerId": "ear" })).await?;
            if round == 0 {
                changed("publish").await?;
            }
            wait::until("the host knows of it", SOON, async || ear.produce_audio().await).await?;
            let producer = ear.producer(Kind::Audio)?;
            for peer in [&boss, &presenter] {
                peer.expect_from(&producer, 20, SOON).await?;
            }
            let consumers: Vec<_> =
                [&boss, &presenter].map(|peer| peer.received_from(&producer).map(|one| one.consumer)).into();
            boss.protoo().request("demote", json!({ "peerId": "ear" })).await?;
            if round == 0 {
                changed("listen").await?;
            }
            for (peer, consumer) in [&boss, &presenter].into_iter().zip(consumers) {
                let consumer = consumer.context("a consumer")?;
                peer.protoo()
                    .expect_notification("consumerClosed", SOON, |told| told["consumerId"] == consumer)
                    .await?;
            }
            wait::until("its producer is gone", SOON, async || {
                let room = room(&mesh, "stage").await?;
                let its = room.producers.iter().filter(|one| one.peer.as_str() == "ear").count();
                ensure!(its == 0 && room.producers.len() == 2, "{:?}", room.producers);
                Ok(())
            })
            .await?;
            refused().await?;
        }
        // It still hears.
        ear.expect_packets("presenter", Kind::Audio, 10, SOON).await?;
        let plain = presenter.protoo().notifications();
        ensure!(plain.iter().all(|told| told.method != "roleChanged"), "a plain client is told: {plain:?}");
        for peer in [boss, presenter, ear] {
            peer.leave().await;
        }
        mesh.is_empty(SOON).await
    });
}

async fn forwards(peer: &Peer, of: &[&str], not: &[&str]) -> anyhow::Result<()> {
    let what = format!("{} gets the video of {of:?} and not of {not:?}", peer.id());
    wait::until(&what, SOON, async || {
        for (others, paused) in [(of, false), (not, true)] {
            for other in others {
                let one = peer.received(other, Kind::Video).context("a consumer")?;
                ensure!(one.paused == paused, "{one:?}");
            }
        }
        Ok(())
    })
    .await?;
    for other in of {
        peer.expect_packets(other, Kind::Video, 10, SOON).await.with_context(|| what.clone())?;
    }
    for other in not {
        peer.expect_silence(other, Kind::Video, Duration::from_millis(300))
            .await
            .with_context(|| what.clone())?;
    }
    Ok(())
}

#[test]
fn only_who_spoke_last_is_seen_and_who_is_pinned() {
    run(60, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let mut peers = Vec::new();
        for (number, name) in ["ann", "ben", "cem"].into_iter().enumerate() {
            let options =
                PeerOptions::new("r", name).silent().video(Video::Declared).query("lastN", "1").skein();
            peers.push(Peer::join(&mesh.node(number).ws(), options).await?);
        }
        let viewer = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "viewer")).await?;
        let [ann, ben, cem] = &peers[..] else { anyhow::bail!("three peers") };
        let told = cem.protoo().expect_notification("welcome", SOON, |_| true).await?;
        ensure!(told["room"]["lastN"] == 1, "{told}");
        for (speaker, others) in [(ben, [ann, cem]), (cem, [ann, ben]), (ann, [ben, cem])] {
            speaker.speak(true).await?;
            for peer in others.into_iter().chain([&viewer]) {
                let not: Vec<_> =
                    others.iter().map(|other| other.id()).filter(|other| *other != peer.id()).collect();
                forwards(peer, &[speaker.id()], &not).await?;
            }
            // Who is seen by all sees nobody.
            forwards(speaker, &[], &others.map(Peer::id)).await?;
            // Everyone is heard.
            viewer.expect_packets(others[0].id(), Kind::Audio, 10, SOON).await?;
            speaker.speak(false).await?;
            viewer
                .protoo()
                .expect_notification("activeSpeaker", SOON, |told| told["peerId"].is_null())
                .await?;
        }
        // Ann spoke last.
        viewer.protoo().request("pin", json!({ "peerIds": ["cem"] })).await?;
        forwards(&viewer, &["ann", "cem"], &["ben"]).await?;
        ben.speak(true).await?;
        forwards(&viewer, &["ben", "cem"], &["ann"]).await?;
        forwards(ann, &["ben"], &["cem"]).await?;
        viewer.protoo().request("pin", json!({ "peerIds": [] })).await?;
        forwards(&viewer, &["ben"], &["ann", "cem"]).await?;
        let (code, reason) = viewer.protoo().refused("pin", json!({ "peerIds": ["nobody"] })).await?;
        ensure!((400..500).contains(&code) && reason.contains("nobody"), "{code} {reason}");
        Ok(())
    });
}
