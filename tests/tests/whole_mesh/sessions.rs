//! One peer, one session: the newest wins. And all the requests that a client of mediasoup-demo sends.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use skein_tests::peer::{Kind, Simulcast, Video};
use skein_tests::protoo::ConnectOptions;
use skein_tests::{Mesh, MeshBuilder, Peer, PeerOptions, Protoo, SOON, run, wait};
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn the_newest_connection_of_a_peer_wins() {
    run(90, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let watcher = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "watcher")).await?;
        let mut current = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "twin").audio()).await?;
        watcher.expect_packets("twin", Kind::Audio, 5, SOON).await?;
        // The same node, then others.
        for node in [1, 2, 0, 1] {
            let next = Peer::join(&mesh.node(node).ws(), PeerOptions::new("r", "twin").audio()).await?;
            let closed = current.protoo().expect_close(SOON).await?;
            ensure!(closed.code == 4000, "to node {node}: {closed:?}");
            current = next;
            wait::until("the newer one is heard", SOON, async || {
                let received = watcher.received("twin", Kind::Audio).context("a consumer")?;
                ensure!(
                    !received.closed && received.producer == current.producer(Kind::Audio)?,
                    "{received:?}"
                );
                ensure!(received.packets > 5, "{received:?}");
                Ok(())
            })
            .await?;
            for shown in mesh.nodes() {
                let room = shown.operator().room("r").await?.context("the room")?;
                let twins = room.peers.iter().filter(|peer| peer.id.as_str() == "twin").count();
                ensure!(twins == 1 && room.producers.len() == 1, "{}: {room:?}", shown.id());
            }
        }
        ensure!(current.protoo().is_closed().is_none(), "the newest is closed too");
        watcher.leave().await;
        current.leave().await;
        mesh.is_empty(SOON).await
    });
}

#[test]
fn many_at_once_leave_one() {
    run(60, async {
        let mesh = MeshBuilder::new().start().await?;
        let connects = (0..9).map(|number| {
            let ws = mesh.node(number % 3).ws();
            async move { Protoo::connect(&ws, &ConnectOptions::new("r", "twin")).await }
        });
        let clients = futures::future::try_join_all(connects).await?;
        wait::until("one is left", SOON, async || {
            let open = clients.iter().filter(|client| client.is_closed().is_none()).count();
            ensure!(open == 1, "{open} are open");
            Ok(())
        })
        .await?;
        let open = clients.iter().find(|client| client.is_closed().is_none()).context("one")?;
        open.request("getRouterRtpCapabilities", json!({})).await?;
        for closed in clients.iter().filter_map(Protoo::is_closed) {
            ensure!(closed.code == 4000, "{closed:?}");
        }
        Ok(())
    });
}

#[test]
fn a_client_of_mediasoup_demo_gets_what_it_asks_for() {
    run(90, async {
        // Relayed: alice's entry is not her host.
        let mesh = MeshBuilder::new().start().await?;
        let simulcast = Video::Simulcast(Simulcast::Rid);
        let bob =
            Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "bob").audio().video(simulcast).data())
                .await?;
        bob.produce_data(1, "chat").await?;
        for entry in [1, 2] {
            let options = PeerOptions::new("r", "alice").audio().video(Video::Single).data();
            let alice = Peer::join(&mesh.node(entry).ws(), options).await?;
            let protoo = alice.protoo();
            let first = protoo.notifications();
            assert_eq!(
                first.first().map(|told| told.method.as_str()),
                Some("mediasoup-version"),
                "{first:?}"
            );
            ensure!(
                !first.iter().any(|told| told.method == "welcome"),
                "a plain client is not told Skein's own"
            );
            let data = alice.produce_data(1, "chat").await?;
            let received = alice.expect_packets("bob", Kind::Video, 20, SOON).await?;
            let (consumer, producer) = (json!(received.consumer), json!(alice.producer(Kind::Video)?));
            let (send, receive) = alice.transports();

            for transport in [send, receive] {
                let ice = protoo.request("restartIce", json!({ "transportId": transport })).await?;
                ensure!(ice["usernameFragment"].is_string() && ice["password"].is_string(), "{ice}");
                let stats = protoo.request("getTransportStats", json!({ "transportId": transport })).await?;
                ensure!(stats[0]["type"] == "webrtc-transport", "{stats}");
            }
            let stats = protoo.request("getProducerStats", json!({ "producerId": producer })).await?;
            ensure!(stats[0]["type"] == "inbound-rtp", "{stats}");
            let stats = protoo.request("getConsumerStats", json!({ "consumerId": consumer })).await?;
            ensure!(stats[0]["type"] == "outbound-rtp", "{stats}");
            let stats = protoo.request("getDataProducerStats", json!({ "dataProducerId": data })).await?;
            ensure!(stats[0]["type"] == "data-producer", "{stats}");
            let asked = protoo
                .expect_request("newDataConsumer", SOON, |request| request["label"] == "chat")
                .await?
                .data;
            let stats =
                protoo.request("getDataConsumerStats", json!({ "dataConsumerId": asked["id"] })).await?;
            ensure!(stats[0]["type"] == "data-consumer", "{stats}");

            protoo.request("setConsumerPriority", json!({ "consumerId": consumer, "priority": 255 })).await?;
            let layers = json!({ "consumerId": consumer, "spatialLayer": 0 });
            protoo.request("setConsumerPreferredLayers", layers).await?;
            protoo.request("requestConsumerKeyFrame", json!({ "consumerId": consumer })).await?;
            protoo.request("pauseConsumer", json!({ "consumerId": consumer })).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            alice.expect_silence("bob", Kind::Video, Duration::from_millis(300)).await?;
            protoo.request("resumeConsumer", json!({ "consumerId": consumer })).await?;
            alice.expect_packets("bob", Kind::Video, 20, SOON).await?;

            protoo.request("changeDisplayName", json!({ "displayName": "Alice A." })).await?;
            let told = bob
                .protoo()
                .expect_notification("peerDisplayNameChanged", SOON, |told| told["displayName"] == "Alice A.")
                .await?;
            assert_eq!((&told["peerId"], &told["oldDisplayName"]), (&json!("alice"), &json!("alice")));
            protoo.expect_notification("producerScore", SOON, |told| told["producerId"] == producer).await?;
            protoo.expect_notification("consumerScore", SOON, |told| told["consumerId"] == consumer).await?;
            protoo
                .expect_notification("downlinkBwe", SOON, |told| told["availableBitrate"].is_number())
                .await?;
            alice.leave().await;
            bob.protoo().expect_notification("peerClosed", SOON, |told| told["peerId"] == "alice").await?;
        }
        Ok(())
    });
}

#[test]
fn who_speaks_is_told_to_everyone_once() {
    run(60, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let mut peers = Vec::new();
        for (number, name) in ["silent", "alice", "listener"].into_iter().enumerate() {
            let options = PeerOptions::new("r", name);
            let options = if name == "alice" { options.audio() } else { options };
            peers.push(Peer::join(&mesh.node(number).ws(), options).await?);
        }
        for peer in &peers {
            let told = peer
                .protoo()
                .expect_notification("activeSpeaker", SOON, |told| told["peerId"] == "alice")
                .await?;
            ensure!(told["volume"].as_i64().is_some_and(|volume| (-127..=0).contains(&volume)), "{told}");
        }
        for node in mesh.nodes() {
            let room = node.operator().room("r").await?.context("the room")?;
            ensure!(room.speaker.as_ref().is_some_and(|peer| peer.as_str() == "alice"), "{room:?}");
        }
        peers[1].close_producer(Kind::Audio).await?;
        for peer in &peers {
            peer.protoo().expect_notification("activeSpeaker", SOON, |told| told["peerId"].is_null()).await?;
        }
        Ok(())
    });
}

/// One who sends a voice, and one who is offered it over the mesh and answers by itself.
async fn one_who_answers() -> anyhow::Result<(Mesh, Peer, Protoo)> {
    let mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
    let alice = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "alice").audio()).await?;
    let other = Protoo::connect(&mesh.node(1).ws(), &ConnectOptions::new("r", "other")).await?;
    let capabilities = other.request("getRouterRtpCapabilities", json!({})).await?;
    other.request("createWebRtcTransport", json!({ "producing": false, "consuming": true })).await?;
    other.request("join", json!({ "displayName": "other", "rtpCapabilities": capabilities })).await?;
    Ok((mesh, alice, other))
}

/// The consumer is closed, and after so many offers there is no other.
async fn is_closed_for_good(mesh: &Mesh, client: &Protoo, offers: usize) -> anyhow::Result<()> {
    wait::until("the consumer is closed", SOON, async || {
        let node = mesh.operator(1).node().await?;
        ensure!(node.consumers == 0, "{node:?}");
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(client.server_requests().len(), offers);
    Ok(())
}

#[test]
fn a_consumer_that_is_not_wanted_is_closed_and_not_offered_again() {
    run(60, async {
        let (mesh, alice, picky) = one_who_answers().await?;
        let request = picky.expect_request("newConsumer", SOON, |_| true).await?;
        assert_eq!(request.data["producerId"], json!(alice.producer(Kind::Audio)?));
        assert_eq!(request.data["peerId"], "alice");
        picky.reject(request.id.context("an id")?, 403, "no, thanks").await;
        is_closed_for_good(&mesh, &picky, 1).await
    });
}

#[test]
fn a_consumer_that_a_client_failed_to_make_is_offered_again_but_not_for_ever() {
    run(60, async {
        let (mesh, _alice, clumsy) = one_who_answers().await?;
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let is_new = |data: &Value| data["id"].as_str().is_some_and(|id| !seen.contains(id));
            let request = clumsy.expect_request("newConsumer", SOON, is_new).await?;
            seen.insert(request.data["id"].as_str().context("an id")?.to_owned());
            clumsy.reject(request.id.context("an id")?, 500, "it fell").await;
        }
        is_closed_for_good(&mesh, &clumsy, 3).await
    });
}

#[test]
fn a_client_that_is_slow_to_answer_is_told_that_a_consumer_is_closed_and_gets_another() {
    run(90, async {
        let (_mesh, alice, slow) = one_who_answers().await?;
        let first = slow.expect_request("newConsumer", SOON, |_| true).await?;
        let late = Duration::from_secs(30);
        slow.expect_notification("consumerClosed", late, |told| told["consumerId"] == first.data["id"])
            .await?;
        let is_next = |data: &Value| data["id"] != first.data["id"];
        let second = slow.expect_request("newConsumer", SOON, is_next).await?;
        assert_eq!(second.data["producerId"], json!(alice.producer(Kind::Audio)?));
        // An answer that comes too late is about nothing.
        slow.accept(first.id.context("an id")?).await;
        slow.accept(second.id.context("an id")?).await;
        let consumer = json!({ "consumerId": second.data["id"] });
        wait::until("the second one sends", SOON, async || {
            let stats = slow.request("getConsumerStats", consumer.clone()).await?;
            ensure!(stats[0]["type"] == "outbound-rtp", "{stats}");
            Ok(())
        })
        .await
    });
}
