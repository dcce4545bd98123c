//! The operator API.

use anyhow::{Context, ensure};
use skein_proto::operator::{Change, Event, NodeState};
use skein_tests::peer::Kind;
use skein_tests::{MeshBuilder, Peer, PeerOptions, SOON, run, wait};
use std::collections::BTreeMap;

#[test]
fn health_and_readiness() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(1).start().await?;
        for path in ["/healthz", "/readyz"] {
            let answer = mesh.operator(0).get(path).await?;
            ensure!(answer.status == 200, "{answer:?}");
        }
        let node = mesh.operator(0).node().await?;
        assert_eq!(node.id.as_str(), "n1");
        assert!(node.uptime_s > 0.0 && node.uptime_s < 60.0, "{node:?}");
        assert!(node.workers[0].port > 0, "{node:?}");
        Ok(())
    });
}

#[test]
fn what_is_not_there_is_said_in_json() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).start().await?;
        let operator = mesh.operator(0);
        for (path, status, word) in [
            ("/v1/rooms/nowhere", 404, "nowhere"),
            ("/v1/rooms/a%20b", 400, "character"),
            ("/v1/rooms/%ff", 400, ""),
            ("/v1/nothing", 404, ""),
            ("/v1/rooms/r/nothing", 404, ""),
        ] {
            let answer = operator.get(path).await?;
            ensure!(answer.status == status, "{path}: {answer:?}");
            let error =
                answer.error().with_context(|| format!("{path} is not answered with the API's error"))?;
            ensure!(error.contains(word), "{path}: {error}");
        }
        let long = format!("/v1/rooms/{}", "x".repeat(200));
        assert_eq!(operator.get(&long).await?.status, 400);
        Ok(())
    });
}

/// Samples by name and labels. Fails on what OpenMetrics does not allow.
fn parse_metrics(text: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    ensure!(text.ends_with("# EOF\n"), "no end");
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            if words.next() == Some("TYPE") {
                let name = words.next().context("a name")?.to_owned();
                let kind = words.next().context("a type")?.to_owned();
                ensure!(types.insert(name, kind).is_none(), "two types: {line}");
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
        let family = name.split('{').next().unwrap_or(name);
        let known = types.get(family).map(String::as_str) == Some("gauge")
            || family.strip_suffix("_total").and_then(|base| types.get(base)).map(String::as_str)
                == Some("counter");
        ensure!(known, "a sample without its type: {line}");
        let value: f64 = value.parse().with_context(|| line.to_owned())?;
        ensure!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
    }
    Ok(samples)
}

#[test]
fn metrics_say_what_the_api_says() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
        let alice = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "alice").audio()).await?;
        let bob = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "bob").audio()).await?;
        alice.expect_packets("bob", Kind::Audio, 5, SOON).await?;
        bob.expect_packets("alice", Kind::Audio, 5, SOON).await?;
        let answer = mesh.operator(0).get("/metrics").await?;
        ensure!(answer.status == 200 && answer.content_type.contains("openmetrics-text"), "{answer:?}");
        let samples = parse_metrics(&answer.body)?;
        let node = mesh.operator(0).node().await?;
        let expected = [
            ("skein_sessions", node.sessions),
            ("skein_sockets", node.sockets),
            ("skein_routers", node.routers),
            ("skein_transports", node.transports),
            ("skein_producers", node.producers),
            ("skein_consumers", node.consumers),
            ("skein_pipe_transports", node.pipe_transports),
            ("skein_piped_producers", 1),
            ("skein_mesh_nodes", 2),
            ("skein_worker_total_streams{worker=\"0\"}", node.workers[0].total_streams),
        ];
        for (name, value) in expected {
            let sample = samples.get(name).with_context(|| format!("no {name} in {:?}", samples.keys()))?;
            ensure!((sample - f64::from(value)).abs() < 0.5, "{name} is {sample} and not {value}");
        }
        for name in node.counters.keys() {
            let counter = format!("skein_{name}");
            ensure!(
                samples.contains_key(&counter) || samples.contains_key(&format!("{counter}_total")),
                "no {counter} in {:?}",
                samples.keys()
            );
        }
        Ok(())
    });
}

#[test]
fn events_tell_of_nodes_and_rooms() {
    run(90, async {
        let mut mesh = MeshBuilder::new().nodes(2).start().await?;
        let mut watch = Vec::new();
        for node in mesh.nodes() {
            watch.push(node.operator().events().await?);
        }
        for events in &mut watch {
            // What is there is told first, as if it had just come.
            for id in ["n1", "n2"] {
                events
                    .expect("the nodes that are there", SOON, |name, event| {
                        name == "node"
                            && matches!(event, Event::Node { change: Change::Added, id: node, status: Some(status) }
                                if node.as_str() == id && status.state == NodeState::Alive)
                    })
                    .await?;
            }
        }
        let peer = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "alice")).await?;
        for events in &mut watch {
            events
                .expect("the new room", SOON, |name, event| {
                    name == "room"
                        && matches!(event, Event::Room { change: Change::Added, id, summary: Some(_) }
                            if id.as_str() == "r")
                })
                .await?;
        }
        let bob = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "bob").audio()).await?;
        for events in &mut watch {
            events
                .expect("the second peer", SOON, |_, event| {
                    matches!(event, Event::Room { change: Change::Changed, summary: Some(summary), .. }
                        if summary.peers == 2 && summary.producers == 1)
                })
                .await?;
        }
        bob.leave().await;
        peer.leave().await;
        for events in &mut watch {
            events
                .expect("the room's end", SOON, |_, event| {
                    matches!(event, Event::Room { change: Change::Removed, id, .. } if id.as_str() == "r")
                })
                .await?;
        }
        let third = mesh.add_node(None).await?;
        for events in &mut watch {
            events
                .expect("the third node", SOON, |_, event| {
                    matches!(event, Event::Node { change: Change::Added, id, .. } if id.as_str() == "n3")
                })
                .await?;
        }
        mesh.node_mut(third).stop().await?;
        for events in &mut watch {
            events
                .expect("the third node's end", SOON, |_, event| {
                    matches!(event, Event::Node { change: Change::Removed, id, .. } if id.as_str() == "n3")
                })
                .await?;
        }
        Ok(())
    });
}

#[test]
fn rooms_are_listed_by_every_node() {
    run(60, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let mut peers = Vec::new();
        for (node, room) in [(0, "a"), (1, "a"), (2, "b")] {
            peers.push(
                Peer::join(&mesh.node(node).ws(), PeerOptions::new(room, &format!("p{node}")).audio())
                    .await?,
            );
        }
        wait::until("all nodes list both rooms", SOON, async || {
            for node in mesh.nodes() {
                let list = node.operator().rooms().await?;
                let [a, b] = &list.rooms[..] else { anyhow::bail!("{list:?}") };
                ensure!((a.id.as_str(), a.peers, a.producers, a.pipes) == ("a", 2, 2, 2), "{a:?}");
                let hosts: Vec<_> = a.hosts.iter().map(|(node, peers)| (node.as_str(), *peers)).collect();
                ensure!(hosts == [("n1", 1), ("n2", 1)], "{a:?}");
                ensure!((b.id.as_str(), b.peers, b.producers, b.pipes) == ("b", 1, 1, 0), "{b:?}");
                let status = node.operator().mesh().await?;
                ensure!(status.rooms == 2, "{status:?}");
            }
            Ok(())
        })
        .await
    });
}
