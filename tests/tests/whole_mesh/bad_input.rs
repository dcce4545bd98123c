//! What bad input from clients gets: a clear answer, and nothing else changes.

use super::trust::{SECRET, token};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use skein_proto::signaling::Role;
use skein_tests::peer::{Kind, Video};
use skein_tests::protoo::ConnectOptions;
use skein_tests::{MeshBuilder, Peer, PeerOptions, Protoo, SOON, run, wait};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// The largest frame a client may send.
const FRAME: usize = 1024 * 1024;
/// A client that vanishes is gone from every roster within 15 s.
const VANISHED: Duration = Duration::from_secs(15);

async fn works(client: &Protoo) -> anyhow::Result<()> {
    client.request("getRouterRtpCapabilities", json!({})).await.context("the session does not go on")?;
    Ok(())
}

#[test]
fn malformed_names_are_refused_before_the_upgrade() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(1).start().await?;
        let ws = mesh.node(0).ws();
        let long = "x".repeat(129);
        let (some, none) = (|text: &str| Some(text.to_owned()), None::<String>);
        let cases = [
            (none.clone(), some("p"), "roomId"),
            (some(""), some("p"), "roomId"),
            (some("a b"), some("p"), "roomId"),
            (some("a/b"), some("p"), "roomId"),
            (some(&long), some("p"), "roomId"),
            (some("r"), none, "peerId"),
            (some("r"), some(""), "peerId"),
            (some("r"), some("<p>"), "peerId"),
            (some("r"), some(&long), "peerId"),
            (some("r"), some("a\u{0}b"), "peerId"),
        ];
        let number = cases.len() as u64;
        for (room, peer, field) in cases {
            let options =
                ConnectOptions { room: room.clone(), peer: peer.clone(), ..ConnectOptions::default() };
            let error = Protoo::connect(&ws, &options).await.err();
            let error = error.with_context(|| format!("{room:?} {peer:?} is let in"))?;
            ensure!(error.status() == Some(400), "{room:?} {peer:?}: {error}");
            ensure!(error.to_string().contains(field), "{room:?} {peer:?}: {error} does not name {field}");
        }
        assert_eq!(mesh.operator(0).counter("sockets_malformed").await?, number);
        let raw = mesh.operator(0).get("/?roomId=r&peerId=p").await?;
        ensure!(raw.status < 500, "a page request with room and peer: {raw:?}");
        mesh.is_empty(SOON).await
    });
}

#[test]
fn bad_frames_get_a_failure_and_the_session_goes_on() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).start().await?;
        for node in mesh.nodes() {
            // One of the two clients is relayed, for both are on one host.
            let options = ConnectOptions::new("r", node.id().as_str());
            let client = Protoo::connect(&node.ws(), &options).await?;
            let frames = [
                ("this is not JSON", 0, "JSON"),
                ("", 0, "JSON"),
                ("[1,2]", 0, "object"),
                ("{}", 0, "request"),
                (r#"{"request":true}"#, 0, "id"),
                (r#"{"request":true,"id":-1,"method":"join"}"#, 0, "id"),
                (r#"{"request":true,"id":501}"#, 501, "method"),
                (r#"{"request":true,"id":502,"method":7}"#, 502, "method"),
                (r#"{"request":true,"id":503,"method":"join","data":[]}"#, 503, "data"),
                (r#"{"request":true,"id":504,"method":"fly","data":{}}"#, 504, "fly"),
                (r#"{"request":true,"id":505,"method":"join","data":{}}"#, 505, "displayName"),
            ];
            let mut seen = client.frames().len();
            for (frame, id, word) in frames {
                client.send_text(frame).await;
                wait::until(&format!("{frame} is answered"), SOON, async || {
                    let frames = client.frames();
                    let new = frames.get(seen..).unwrap_or_default();
                    let failure = new.iter().find_map(|text| {
                        let value: Value = serde_json::from_str(text).ok()?;
                        (value["response"] == true && value["ok"] == false).then_some(value)
                    });
                    let failure = failure.with_context(|| format!("{new:?}"))?;
                    ensure!(failure["id"] == id, "{failure}");
                    ensure!(failure["errorCode"] == 400, "{failure}");
                    ensure!(
                        failure["errorReason"].as_str().is_some_and(|reason| reason.contains(word)),
                        "{failure}"
                    );
                    seen = frames.len();
                    Ok(())
                })
                .await?;
            }
            // Answers to what was never asked, and notifications, mean nothing.
            client.send_text(r#"{"response":true,"id":99,"ok":true,"data":{}}"#).await;
            client.send_text(r#"{"response":true,"id":99,"ok":false,"errorCode":1,"errorReason":"x"}"#).await;
            client.send_text(r#"{"notification":true,"method":"x","data":{}}"#).await;
            works(&client).await?;
        }
        Ok(())
    });
}

#[test]
fn bad_requests_name_the_field() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).start().await?;
        let _other = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "other").audio()).await?;
        let early = Protoo::connect(&mesh.node(1).ws(), &ConnectOptions::new("r", "early")).await?;
        let before_join = [
            "produce",
            "produceData",
            "closeProducer",
            "pauseProducer",
            "resumeProducer",
            "pauseConsumer",
            "resumeConsumer",
            "requestConsumerKeyFrame",
            "setConsumerPreferredLayers",
            "setConsumerPriority",
            "changeDisplayName",
            "getProducerStats",
            "getConsumerStats",
            "getDataProducerStats",
            "getDataConsumerStats",
            "kick",
            "closeRoom",
        ];
        // A body that fits all of them.
        let body = json!({
            "transportId": "t", "kind": "audio", "rtpParameters": {}, "sctpStreamParameters": {}, "producerId": "p",
            "consumerId": "c", "dataProducerId": "d", "dataConsumerId": "d", "spatialLayer": 0, "priority": 1,
            "displayName": "x", "peerId": "other",
        });
        for method in before_join {
            let (code, reason) = early.refused(method, body.clone()).await?;
            ensure!(code == 409 && reason.contains("join"), "{method}: {code} {reason}");
        }
        works(&early).await?;

        let peer = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "peer").audio()).await?;
        let transport = peer.transports().0.context("a transport")?.to_owned();
        let producer = peer.producer(Kind::Audio)?;
        let good_opus = json!({
            "mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2, "parameters": {},
            "rtcpFeedback": [],
        });
        let rtp = |codecs: Value, encodings: Value| json!({ "codecs": codecs, "headerExtensions": [], "encodings": encodings, "rtcp": { "cname": "c" } });
        let produce = |kind: &str, parameters: Value| json!({ "transportId": transport, "kind": kind, "rtpParameters": parameters, "appData": {} });
        let cases = [
            ("join", json!({ "displayName": 7 }), "displayName"),
            ("join", json!({ "displayName": "again" }), "join"),
            ("createWebRtcTransport", json!({ "forceTcp": "yes" }), "forceTcp"),
            ("connectWebRtcTransport", json!({ "transportId": transport }), "dtlsParameters"),
            ("connectWebRtcTransport", json!({ "transportId": "nope", "dtlsParameters": {} }), "transportId"),
            ("restartIce", json!({ "transportId": "nope" }), "transportId"),
            ("restartIce", json!({ "transportId": 5 }), "transportId"),
            ("produce", produce("smell", json!({})), "kind"),
            ("produce", produce("audio", json!({})), "codecs"),
            ("produce", produce("audio", json!([])), "rtpParameters"),
            ("produce", produce("audio", rtp(json!([]), json!([{ "ssrc": 7 }]))), "codec"),
            ("produce", produce("audio", rtp(json!([good_opus]), json!("x"))), "encodings"),
            ("produce", produce("video", rtp(json!([good_opus]), json!([{ "ssrc": 8 }]))), ""),
            (
                "produce",
                json!({ "transportId": "nope", "kind": "audio", "rtpParameters": {} }),
                "transportId",
            ),
            ("produce", json!({ "kind": "audio", "rtpParameters": {} }), "transportId"),
            (
                "produce",
                json!({ "transportId": transport, "kind": "audio", "rtpParameters": {}, "appData": 7 }),
                "appData",
            ),
            (
                "produce",
                json!({
                    "transportId": transport, "kind": "audio", "rtpParameters": {},
                    "appData": { "much": "x".repeat(5000) },
                }),
                "appData",
            ),
            ("closeProducer", json!({ "producerId": "nope" }), "producerId"),
            ("closeProducer", json!({}), "producerId"),
            ("pauseProducer", json!({ "producerId": "nope" }), "producerId"),
            ("resumeProducer", json!({ "producerId": "nope" }), "producerId"),
            ("pauseConsumer", json!({ "consumerId": "nope" }), "consumerId"),
            ("resumeConsumer", json!({ "consumerId": "nope" }), "consumerId"),
            ("requestConsumerKeyFrame", json!({ "consumerId": "nope" }), "consumerId"),
            ("setConsumerPreferredLayers", json!({ "consumerId": "nope", "spatialLayer": 1 }), "consumerId"),
            ("setConsumerPreferredLayers", json!({ "consumerId": "c", "spatialLayer": -1 }), "spatialLayer"),
            ("setConsumerPreferredLayers", json!({ "consumerId": "c", "spatialLayer": 256 }), "spatialLayer"),
            ("setConsumerPriority", json!({ "consumerId": "nope", "priority": 1 }), "consumerId"),
            ("setConsumerPriority", json!({ "consumerId": "c", "priority": 0 }), "priority"),
            ("setConsumerPriority", json!({ "consumerId": "c", "priority": 256 }), "priority"),
            ("produceData", json!({ "transportId": transport, "label": "x" }), "sctpStreamParameters"),
            ("produceData", json!({ "transportId": "nope", "sctpStreamParameters": {} }), "transportId"),
            (
                "produceData",
                json!({ "transportId": transport, "sctpStreamParameters": { "streamId": 1 } }),
                "",
            ),
            (
                "produceData",
                json!({
                    "transportId": transport, "label": "x".repeat(300), "protocol": "",
                    "sctpStreamParameters": { "streamId": 1 },
                }),
                "label",
            ),
            ("changeDisplayName", json!({}), "displayName"),
            ("changeDisplayName", json!({ "displayName": "x".repeat(257) }), "displayName"),
            ("getTransportStats", json!({ "transportId": "nope" }), "transportId"),
            ("getProducerStats", json!({ "producerId": "nope" }), "producerId"),
            ("getConsumerStats", json!({ "consumerId": "nope" }), "consumerId"),
            ("getDataProducerStats", json!({ "dataProducerId": "nope" }), "dataProducerId"),
            ("getDataConsumerStats", json!({ "dataConsumerId": "nope" }), "dataConsumerId"),
            ("kick", json!({ "peerId": "nobody" }), "peerId"),
            ("kick", json!({ "peerId": "a b" }), "peerId"),
            ("applyNetworkThrottle", json!({}), "throttle"),
            ("resetNetworkThrottle", json!({}), "throttle"),
        ];
        for (method, data, word) in cases {
            let (code, reason) = peer.protoo().refused(method, data.clone()).await?;
            ensure!((400..500).contains(&code), "{method} {data}: {code} {reason}");
            ensure!(reason.contains(word), "{method} {data}: {reason:?} does not name {word:?}");
        }
        // All of it changed nothing.
        works(peer.protoo()).await?;
        let room = mesh.operator(0).room("r").await?.context("the room")?;
        assert_eq!(room.producers.len(), 2, "{room:?}");
        peer.protoo().request("getProducerStats", json!({ "producerId": producer })).await?;
        let other = peer.expect_packets("other", Kind::Audio, 10, SOON).await?;
        let (code, _) = peer
            .protoo()
            .refused("setConsumerPriority", json!({ "consumerId": other.consumer, "priority": 0 }))
            .await?;
        assert_eq!(code, 400);
        Ok(())
    });
}

#[test]
fn frames_that_are_too_large_close_the_socket_with_a_reason() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(1).start().await?;
        let ws = mesh.node(0).ws();
        let fits = Protoo::connect(&ws, &ConnectOptions::new("r", "fits")).await?;
        let frame =
            json!({ "request": true, "id": 1, "method": "fly", "data": {}, "padding": "" }).to_string();
        fits.send_text(
            frame
                .replace("\"padding\":\"\"", &format!("\"padding\":\"{}\"", "x".repeat(FRAME - frame.len()))),
        )
        .await;
        fits.expect_frame("the largest that is allowed", SOON, |answer| answer["ok"] == false).await?;
        works(&fits).await?;
        let mut closed = 0;
        for size in [FRAME + 1, 5 * FRAME] {
            for text in [true, false] {
                let client = Protoo::connect(&ws, &ConnectOptions::new("r", "large")).await?;
                works(&client).await?;
                let message =
                    if text { Message::text("x".repeat(size)) } else { Message::binary(vec![0; size]) };
                client.send_message(message).await;
                let close = client.expect_close(SOON).await?;
                ensure!(close.code == 1009, "{size} bytes: {close:?}");
                ensure!(close.reason.contains("1048576"), "{size} bytes: {close:?}");
                closed += 1;
            }
        }
        assert_eq!(mesh.operator(0).counter("client_frames_too_large").await?, closed);
        let binary = Protoo::connect(&ws, &ConnectOptions::new("r", "binary")).await?;
        works(&binary).await?;
        binary.send_message(Message::binary(vec![1, 2, 3])).await;
        let close = binary.expect_close(SOON).await?;
        ensure!(close.code == 1003, "{close:?}");
        works(&fits).await
    });
}

#[test]
fn floods_close_the_socket_with_a_reason() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).set("signaling.requests_per_second", "20").start().await?;
        let calm = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "calm").audio()).await?;
        for node in mesh.nodes() {
            // As many at once as twice the rate are fine.
            let client = Protoo::connect(&node.ws(), &ConnectOptions::new("r", "flood")).await?;
            for id in 1..=30 {
                client.send_text(json!({ "request": true, "id": id, "method": "fly" }).to_string()).await;
            }
            client.expect_frame("the thirtieth", SOON, |answer| answer["id"] == 30).await?;
            for id in 31..=200 {
                client.send_text(json!({ "request": true, "id": id, "method": "fly" }).to_string()).await;
            }
            let close = client.expect_close(SOON).await?;
            ensure!(close.code == 1008 && !close.reason.is_empty(), "{close:?}");
            // What is not even JSON counts too.
            let client = Protoo::connect(&node.ws(), &ConnectOptions::new("r", "noise")).await?;
            for _ in 0..200 {
                client.send_text("noise").await;
            }
            let close = client.expect_close(SOON).await?;
            ensure!(close.code == 1008 && !close.reason.is_empty(), "{close:?}");
        }
        works(calm.protoo()).await
    });
}

#[test]
fn who_vanishes_is_gone_from_every_roster() {
    run(90, async {
        let mesh = MeshBuilder::new().start().await?;
        let watcher = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "watcher")).await?;
        // One of them at least is relayed.
        let mut vanishing = Vec::new();
        for (node, name) in [(1, "v1"), (2, "v2")] {
            let options = PeerOptions::new("r", name).audio().video(Video::Single);
            let peer = Peer::join(&mesh.node(node).ws(), options).await?;
            watcher.expect_packets(name, Kind::Audio, 5, SOON).await?;
            vanishing.push(peer);
        }
        for peer in &vanishing {
            peer.vanish().await?;
        }
        let gone = Instant::now();
        for peer in &vanishing {
            watcher
                .protoo()
                .expect_notification("peerClosed", VANISHED, |told| told["peerId"] == peer.id())
                .await?;
        }
        wait::until("the rosters have one peer", VANISHED.saturating_sub(gone.elapsed()), async || {
            for node in mesh.nodes() {
                let room = node.operator().room("r").await?.context("the room")?;
                ensure!(room.peers.len() == 1 && room.producers.is_empty(), "{room:?}");
            }
            Ok(())
        })
        .await?;
        let sockets: u32 = {
            let mut sockets = 0;
            for node in mesh.nodes() {
                sockets += node.operator().node().await?.sockets;
            }
            sockets
        };
        ensure!(sockets <= 3, "{sockets}");
        watcher.leave().await;
        mesh.is_empty(SOON).await
    });
}

#[test]
fn what_a_room_cannot_be_is_refused_before_the_upgrade() {
    run(60, async {
        let mesh =
            MeshBuilder::new().nodes(1).set("room.size", "20").set("room.max_size", "50").start().await?;
        let ws = mesh.node(0).ws();
        let cases = [
            (vec![("size", "0")], "size"),
            (vec![("size", "51")], "size"),
            (vec![("size", "-1")], "size"),
            (vec![("size", "many")], "size"),
            (vec![("size", "")], "size"),
            (vec![("mode", "one-to-one"), ("size", "3")], "size"),
            (vec![("mode", "one-to-one"), ("size", "1")], "size"),
            (vec![("mode", "auditorium")], "mode"),
            (vec![("mode", "")], "mode"),
            (vec![("mode", "one-to-one"), ("lastN", "2")], "lastN"),
            (vec![("lastN", "-1")], "lastN"),
            (vec![("lastN", "all")], "lastN"),
            (vec![("guaranteed", "perhaps")], "guaranteed"),
            (vec![("role", "king")], "role"),
        ];
        let number = cases.len() as u64;
        for (query, field) in cases {
            let options = query
                .iter()
                .fold(ConnectOptions::new("r", "p"), |options, (key, value)| options.query(key, value));
            let error = Protoo::connect(&ws, &options).await.err();
            let error = error.with_context(|| format!("{query:?} is let in"))?;
            ensure!(error.status() == Some(400), "{query:?}: {error}");
            ensure!(error.to_string().contains(field), "{query:?}: {error} does not name {field}");
        }
        assert_eq!(mesh.operator(0).counter("sockets_malformed").await?, number);
        mesh.is_empty(SOON).await
    });
}

#[test]
fn what_is_refused_leaves_a_room_as_it_was_and_makes_none() {
    run(60, async {
        let builder = MeshBuilder::new().nodes(2).set("auth.client_key", SECRET);
        let mesh = builder.set("room.size", "20").set("room.max_size", "50").start().await?;
        let options = |room: &str, peer: &str, role: Role, query: &[(&str, &str)]| {
            let options = ConnectOptions::new(room, peer).token(&token(SECRET, room, role)?);
            anyhow::Ok(query.iter().fold(options, |options, (key, value)| options.query(key, value)))
        };
        let member = |peer: &str, role: Role| {
            anyhow::Ok(PeerOptions::new("r", peer).skein().token(&token(SECRET, "r", role)?))
        };
        let boss = member("boss", Role::Moderate)?.query("mode", "stage").query("size", "5");
        let boss = Peer::join(&mesh.node(0).ws(), boss.query("role", "moderate")).await?;
        let bob = member("bob", Role::Publish)?.query("role", "publish").silent();
        let bob = Peer::join(&mesh.node(1).ws(), bob).await?;
        boss.expect_packets("bob", Kind::Audio, 5, SOON).await?;
        let before = mesh.operator(0).room("r").await?.context("the room is there")?;
        ensure!(before.peers.len() == 2 && before.producers.len() == 1, "{before:#?}");
        let told = || {
            let told = boss.protoo().notifications().into_iter();
            told.filter(|told| ["newPeer", "peerClosed", "roleChanged"].contains(&told.method.as_str()))
                .count()
        };
        let heard = told();
        for room in ["r", "other"] {
            for (role, query, status, word) in [
                (Role::Moderate, &[("size", "0")][..], 400, "size"),
                (Role::Moderate, &[("size", "51")], 400, "size"),
                (Role::Moderate, &[("mode", "one-to-one"), ("size", "3")], 400, "size"),
                (Role::Moderate, &[("mode", "one-to-one"), ("lastN", "2")], 400, "lastN"),
                (Role::Listen, &[("role", "publish")], 403, "role"),
                (Role::Publish, &[("role", "moderate")], 403, "role"),
            ] {
                // Also where the peer is one that is there.
                for peer in ["carol", "bob"] {
                    let error =
                        Protoo::connect(&mesh.node(1).ws(), &options(room, peer, role, query)?).await.err();
                    let error = error.with_context(|| format!("{query:?} is let in"))?;
                    ensure!(error.status() == Some(status), "{query:?}: {error}");
                    ensure!(error.to_string().contains(word), "{query:?}: {error} does not name {word}");
                }
            }
        }
        for query in [("mode", "conference"), ("size", "4"), ("guaranteed", "1")] {
            let options = options("r", "carol", Role::Moderate, &[query])?;
            let closed = Protoo::connect(&mesh.node(1).ws(), &options).await?.expect_close(SOON).await?;
            ensure!(closed.code == 4000 && closed.reason.contains(query.0), "{query:?}: {closed:?}");
        }
        for method in ["promote", "demote"] {
            for (who, peer, expected) in [(&boss, "nobody", 400..500), (&bob, "boss", 403..404)] {
                let (code, reason) = who.protoo().refused(method, json!({ "peerId": peer })).await?;
                ensure!(expected.contains(&code), "{method} {peer}: {code} {reason}");
                ensure!(code == 403 || reason.contains(peer), "{method} {peer}: {code} {reason}");
            }
        }
        ensure!(mesh.operator(1).room("other").await?.is_none(), "there is another room");
        let after = mesh.operator(0).room("r").await?.context("the room is there")?;
        ensure!(after == before, "{after:#?}, before {before:#?}");
        boss.expect_packets("bob", Kind::Audio, 10, SOON).await?;
        ensure!(told() == heard, "{:?}", boss.protoo().notifications());
        boss.leave().await;
        bob.leave().await;
        mesh.is_empty(SOON).await
    });
}

#[test]
fn a_room_stays_what_its_first_peer_made_it() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).start().await?;
        let connect = async |node: usize, peer: &str, query: &[(&str, &str)]| {
            let options = query
                .iter()
                .fold(ConnectOptions::new("r", peer), |options, (key, value)| options.query(key, value));
            Protoo::connect(&mesh.node(node).ws(), &options).await
        };
        let first = connect(0, "first", &[("mode", "stage"), ("size", "3"), ("role", "publish")]).await?;
        works(&first).await?;
        for (query, option, is) in [
            (("mode", "conference"), "mode", "stage"),
            (("size", "4"), "size", "3"),
            (("guaranteed", "1"), "guaranteed", "false"),
            (("lastN", "2"), "lastN", "0"),
        ] {
            let other = connect(1, "other", &[query]).await?;
            let closed = other.expect_close(SOON).await?;
            ensure!(closed.code == 4000, "{query:?}: {closed:?}");
            ensure!(closed.reason.contains(option) && closed.reason.contains(is), "{query:?}: {closed:?}");
        }
        // Who says the same, or nothing, is in.
        let second = connect(1, "second", &[("mode", "stage"), ("size", "3")]).await?;
        works(&second).await?;
        let third = connect(0, "third", &[]).await?;
        works(&third).await?;
        let room = mesh.operator(1).room("r").await?.context("the room is there")?;
        ensure!(room.options.size == 3 && room.peers.len() == 3, "{room:?}");
        for client in [first, second, third] {
            client.close().await;
        }
        mesh.is_empty(SOON).await
    });
}

#[test]
fn a_third_finds_a_room_for_two_full() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).start().await?;
        let mut pair = Vec::new();
        for (node, name) in [(0, "alice"), (1, "bob")] {
            let options = PeerOptions::new("r", name).audio().query("mode", "one-to-one");
            pair.push(Peer::join(&mesh.node(node).ws(), options).await?);
        }
        for node in mesh.nodes() {
            let third = Protoo::connect(&node.ws(), &ConnectOptions::new("r", "carol")).await?;
            let closed = third.expect_close(SOON).await?;
            assert_eq!((closed.code, closed.reason.as_str()), (1013, "room full"));
        }
        // One of the two may come again; it takes its own place.
        let again = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "alice").audio()).await?;
        ensure!(pair[0].protoo().expect_close(SOON).await?.code == 4000, "it was replaced");
        again.expect_packets("bob", Kind::Audio, 10, SOON).await?;
        let [_, bob] = &pair[..] else { anyhow::bail!("two peers") };
        bob.expect_consumer("alice", Kind::Audio, SOON).await?;
        bob.expect_packets("alice", Kind::Audio, 10, SOON).await?;
        Ok(())
    });
}
