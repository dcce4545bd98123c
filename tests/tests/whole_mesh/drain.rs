//! A node drains: its peers go to others in the middle of a call, nobody is dropped, and in the end it is empty.

use anyhow::{Context, ensure};
use serde_json::json;
use skein_proto::operator::{NodeState, NodeStatus, RoomPeer};
use skein_tests::mesh::Exit;
use skein_tests::peer::{Kind, Roamer, Video};
use skein_tests::protoo::ConnectOptions;
use skein_tests::stall::Stall;
use skein_tests::{Mesh, MeshBuilder, Peer, PeerOptions, Protoo, SOON, run, wait};
use std::time::Duration;

const KINDS: [Kind; 2] = [Kind::Audio, Kind::Video];
/// The longest time for which a client that moves may receive nothing, on a machine where it is not longer anyway.
const GAP: Duration = Duration::from_millis(200);
/// How long a node may take to become empty in these tests: a new home waits five seconds for all hosts, and a move takes
/// two.
const EMPTIES: Duration = Duration::from_secs(25);

/// When stragglers are told to dial again, seconds.
const DEADLINE: u32 = 8;

fn options(room: &str, name: &str) -> PeerOptions {
    PeerOptions::new(room, name).audio().video(Video::Single)
}

async fn status(mesh: &Mesh, asked: usize, node: usize) -> anyhow::Result<NodeStatus> {
    let id = mesh.node(node).id();
    let nodes = mesh.operator(asked).mesh().await?.nodes;
    nodes.into_iter().find(|one| one.id == *id).with_context(|| format!("{id} is gone"))
}

async fn is_empty(mesh: &Mesh, asked: usize, node: usize, within: Duration) -> anyhow::Result<()> {
    wait::until("the node is empty", within, async || {
        let status = status(mesh, asked, node).await?;
        ensure!(status.state == NodeState::Draining, "{status:?}");
        ensure!((status.peers, status.sockets) == (0, 0), "{status:?}");
        Ok(())
    })
    .await
}

async fn find(mesh: &Mesh, asked: usize, room: &str, peer: &str) -> anyhow::Result<RoomPeer> {
    let detail = mesh.operator(asked).room(room).await?.context("the room is there")?;
    let mut found = detail.peers.into_iter().filter(|one| one.id.as_str() == peer);
    let one = found.next().with_context(|| format!("{peer} is not in the room"))?;
    ensure!(found.next().is_none(), "{peer} is there twice");
    Ok(one)
}

/// The name of a room whose home a node is.
async fn room_at(mesh: &Mesh, node: usize) -> anyhow::Result<String> {
    for number in 0..40 {
        let room = format!("at-{number}");
        let client = Protoo::connect(&mesh.node(0).ws(), &ConnectOptions::new(&room, "nobody")).await?;
        let home = wait::until("the room is there", SOON, async || {
            Ok(mesh.operator(0).room(&room).await?.context("not yet")?.home)
        })
        .await?;
        client.close().await;
        if home == *mesh.node(node).id() {
            return Ok(room);
        }
    }
    anyhow::bail!("none of 40 rooms has its home there")
}

/// Waits until everyone receives everyone.
async fn all_flow(roamers: &[&Roamer]) -> anyhow::Result<()> {
    wait::until("everyone receives everyone", SOON, async || {
        for here in roamers {
            let here = here.peer();
            for there in roamers.iter().map(|there| there.peer()).filter(|there| there.id() != here.id()) {
                for kind in KINDS {
                    let one = here.received_from(&there.producer(kind)?);
                    let packets = one.filter(|one| !one.closed).map_or(0, |one| one.packets);
                    ensure!(packets > 10, "{} has {packets} of {}'s {kind:?}", here.id(), there.id());
                }
            }
        }
        Ok(())
    })
    .await
}

/// The longest gap at any of them, and what it is.
fn longest(roamers: &[&Roamer]) -> anyhow::Result<(Duration, String)> {
    let mut most = (Duration::ZERO, String::new());
    for here in roamers {
        for there in roamers.iter().map(|there| there.peer()) {
            if there.id() == here.peer().id() {
                continue;
            }
            for kind in KINDS {
                let what = format!("{}'s {} at {}", there.id(), kind.as_str(), here.peer().id());
                let gap = here.gap(there.id(), kind).with_context(|| format!("nothing of {what}"))?;
                if gap > GAP {
                    eprintln!("{gap:?} without {what}");
                }
                if gap > most.0 {
                    most = (gap, what);
                }
            }
        }
    }
    Ok(most)
}

/// How long nothing comes where nobody moves. From then on it is watched what the machine itself is late by.
async fn rest(roamers: &[&Roamer]) -> anyhow::Result<(Duration, Stall)> {
    // What came in at the start of the call is not even.
    tokio::time::sleep(Duration::from_secs(1)).await;
    roamers.iter().for_each(|roamer| roamer.forget_gaps());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (rest, what) = longest(roamers)?;
    roamers.iter().for_each(|roamer| roamer.forget_gaps());
    eprintln!("at rest at most {rest:?} ({what})");
    Ok((rest, Stall::watch()))
}

fn is_even(roamers: &[&Roamer], (rest, stall): &(Duration, Stall)) -> anyhow::Result<()> {
    let (gap, what) = longest(roamers)?;
    let stall = stall.longest();
    eprintln!("while they moved at most {gap:?} ({what}); the machine stood still for {stall:?}");
    let most = GAP.max(2 * *rest) + stall;
    ensure!(
        gap <= most,
        "{gap:?} without {what}; at rest {rest:?}, and the machine stood still for {stall:?}"
    );
    for roamer in roamers {
        ensure!(roamer.failed().is_empty(), "{}: {:?}", roamer.peer().id(), roamer.failed());
        let closed = roamer.peer().protoo().is_closed();
        ensure!(closed.is_none(), "{}: {closed:?}", roamer.peer().id());
        let told = roamer.peer().protoo().notifications();
        let is_of_them = |peer: &serde_json::Value| roamers.iter().any(|one| *peer == one.peer().id());
        let went = told.iter().find(|told| told.method == "peerClosed" && is_of_them(&told.data["peerId"]));
        ensure!(went.is_none(), "{} hears {went:?}", roamer.peer().id());
    }
    Ok(())
}

#[test]
fn a_node_drains_in_a_call_and_nobody_notices() {
    run(120, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        // The worst case: the node is also the room's home.
        let room = room_at(&mesh, 0).await?;
        let ann = Roamer::join(&mesh.node(0).ws(), options(&room, "ann")).await?;
        let ben = Roamer::join(&mesh.node(1).ws(), options(&room, "ben")).await?;
        let cat = Roamer::join(&mesh.node(0).ws(), options(&room, "cat")).await?;
        let all = [&ann, &ben, &cat];
        let pia = Peer::join(&mesh.node(0).ws(), options(&room, "pia")).await?;
        all_flow(&all).await?;
        let rest = rest(&all).await?;
        let answer = mesh.operator(1).drain("n1", None).await?;
        ensure!(answer.status == 202, "{answer:?}");
        wait::until("it says that it drains", SOON, async || {
            ensure!(status(&mesh, 1, 0).await?.state == NodeState::Draining, "not yet");
            let ready = mesh.operator(0).get("/readyz").await?;
            ensure!(ready.status == 503, "{ready:?}");
            Ok(())
        })
        .await?;
        // Whoever dials it still gets in, and is hosted elsewhere.
        let dan = Roamer::join(&mesh.node(0).ws(), options("other", "dan")).await?;
        ensure!(
            find(&mesh, 1, "other", "dan").await?.host.as_str() != "n1",
            "dan is on the node that drains"
        );
        // Who has to dial again goes last.
        let closed = pia.protoo().expect_close(EMPTIES).await?;
        ensure!(closed.code == 1012 && !closed.reason.is_empty(), "{closed:?}");
        for peer in ["ann", "cat"] {
            ensure!(find(&mesh, 1, &room, peer).await?.host.as_str() != "n1", "{peer} is still there");
        }
        drop(pia);
        let pia = Peer::join(&mesh.node(1).ws(), options(&room, "pia")).await?;
        is_empty(&mesh, 1, 0, EMPTIES).await?;
        let all = [&ann, &ben, &cat];
        all_flow(&all).await?;
        is_even(&all, &rest)?;
        ensure!((ann.moves(), ben.moves(), cat.moves()) == (1, 0, 1), "{} {}", ann.moves(), cat.moves());
        ensure!(dan.moves() == 1 && dan.failed().is_empty(), "{} {:?}", dan.moves(), dan.failed());
        for peer in ["ann", "ben", "cat", "pia"] {
            ensure!(find(&mesh, 0, &room, peer).await?.host.as_str() != "n1", "{peer}");
        }
        // It takes peers again when it is told to, and is home of its rooms again; nobody notices that either.
        let answer = mesh.operator(2).undrain("n1").await?;
        ensure!(answer.status == 202, "{answer:?}");
        mesh.ready().await?;
        let eva = Roamer::join(&mesh.node(0).ws(), options(&room, "eva")).await?;
        wait::until("the new one is on it", SOON, async || {
            ensure!(find(&mesh, 1, &room, "eva").await?.host.as_str() == "n1", "eva is elsewhere");
            Ok(())
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(6)).await;
        is_even(&[&ann, &ben, &cat], &rest)?;
        all_flow(&[&ann, &ben, &cat, &eva]).await?;
        pia.leave().await;
        for roamer in [ann, ben, cat, dan, eva] {
            roamer.leave().await;
        }
        mesh.is_empty(SOON).await
    });
}

#[test]
fn told_to_stop_a_node_drains_first_and_then_ends() {
    run(90, async {
        let mut mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
        let room = room_at(&mesh, 1).await?;
        let ann = Roamer::join(&mesh.node(0).ws(), options(&room, "ann")).await?;
        let ben = Roamer::join(&mesh.node(1).ws(), options(&room, "ben")).await?;
        all_flow(&[&ann, &ben]).await?;
        let rest = rest(&[&ann, &ben]).await?;
        mesh.node_mut(0).terminate()?;
        let exit = mesh.node_mut(0).ended(EMPTIES).await?;
        ensure!(exit == Exit { code: Some(0), signal: None }, "{exit:?}");
        ensure!(ann.moves() == 1, "{}", ann.moves());
        all_flow(&[&ann, &ben]).await?;
        is_even(&[&ann, &ben], &rest)?;
        // The last one has nobody to send them to: it ends at once.
        mesh.agrees(SOON).await?;
        mesh.node_mut(1).terminate()?;
        let exit = mesh.node_mut(1).ended(SOON).await?;
        ensure!(exit == Exit { code: Some(0), signal: None }, "{exit:?}");
        Ok(())
    });
}

#[test]
fn told_twice_or_all_together_nodes_stop_at_once() {
    run(60, async {
        let mut mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let stays = Peer::join(&mesh.node(2).ws(), options("r", "stays").skein().stays()).await?;
        mesh.node_mut(2).terminate()?;
        wait::until("it drains", SOON, async || {
            ensure!(status(&mesh, 0, 2).await?.state == NodeState::Draining, "not yet");
            Ok(())
        })
        .await?;
        let answer = mesh.operator(0).undrain("n3").await?;
        ensure!(answer.status == 409 && answer.error()?.contains("told to stop"), "{answer:?}");
        mesh.node_mut(2).terminate()?;
        mesh.node_mut(2).ended(SOON).await?;
        stays.protoo().expect_close(SOON).await?;
        mesh.agrees(SOON).await?;
        let _peer = Peer::join(&mesh.node(0).ws(), options("s", "stays").skein().stays()).await?;
        for node in [0, 1] {
            mesh.node_mut(node).terminate()?;
        }
        for node in [0, 1] {
            let exit = mesh.node_mut(node).ended(SOON).await?;
            ensure!(exit == Exit { code: Some(0), signal: None }, "{exit:?}");
        }
        Ok(())
    });
}

#[test]
fn with_no_space_elsewhere_peers_stay_until_the_deadline() {
    run(90, async {
        let mesh = MeshBuilder::new()
            .nodes(2)
            .set("placement.prefer", "entry")
            .set_node(1, "media.streams_per_worker", "1")
            .start()
            .await?;
        let ann = Peer::join(&mesh.node(0).ws(), options("r", "ann").skein()).await?;
        let pia = Peer::join(&mesh.node(0).ws(), options("r", "pia")).await?;
        skein_tests::peer::all_receive(&[&ann, &pia], &KINDS, 20, SOON).await?;
        for (path, body, status, word) in [
            ("/v1/nodes/n9/drain", json!({}), 404, "n9"),
            ("/v1/nodes/a%20b/drain", json!({}), 400, "node"),
            ("/v1/nodes/n1/drain", json!({ "now": true }), 422, "now"),
            ("/v1/nodes/n1/undrain", json!({ "force": true }), 422, "force"),
        ] {
            let answer = mesh.operator(1).post(path, &body).await?;
            ensure!(answer.status == status && answer.error()?.contains(word), "{path}: {answer:?}");
        }
        let begun = tokio::time::Instant::now();
        let answer = mesh.operator(1).drain("n1", Some(DEADLINE)).await?;
        ensure!(answer.status == 202, "{answer:?}");
        wait::until("all see that it drains", SOON, async || {
            ensure!(status(&mesh, 1, 0).await?.state == NodeState::Draining, "not yet");
            Ok(())
        })
        .await?;
        // The other one is the last that takes peers.
        let answer = mesh.operator(0).drain("n2", None).await?;
        ensure!(answer.status == 409 && answer.error()?.contains("no other node"), "{answer:?}");
        tokio::time::sleep_until(begun + Duration::from_secs((DEADLINE - 1).into())).await;
        for peer in [&ann, &pia] {
            ensure!(peer.protoo().is_closed().is_none(), "{}: {:?}", peer.id(), peer.protoo().is_closed());
        }
        skein_tests::peer::all_receive(&[&ann, &pia], &KINDS, 10, SOON).await?;
        for peer in [&ann, &pia] {
            let closed = peer.protoo().expect_close(SOON).await?;
            ensure!(closed.code == 1012 && !closed.reason.is_empty(), "{}: {closed:?}", peer.id());
        }
        is_empty(&mesh, 1, 0, SOON).await?;
        let late = Protoo::connect(&mesh.node(0).ws(), &ConnectOptions::new("r", "late")).await;
        let late = late.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(late.contains("503"), "{late}");
        ensure!(mesh.operator(1).undrain("n1").await?.status == 202);
        wait::until("it takes peers again", SOON, async || {
            let again = Peer::join(&mesh.node(0).ws(), options("r", "ann")).await?;
            again.leave().await;
            Ok(())
        })
        .await
    });
}

#[test]
fn who_only_comes_in_by_a_node_that_drains_comes_in_by_another() {
    run(90, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let ann = Roamer::join(&mesh.node(0).ws(), options("r", "ann")).await?;
        let ben = Roamer::join(&mesh.node(1).ws(), options("r", "ben")).await?;
        let pia = Peer::join(&mesh.node(0).ws(), options("r", "pia")).await?;
        all_flow(&[&ann, &ben]).await?;
        for (peer, to) in [("ann", "n2"), ("pia", "n3")] {
            ensure!(mesh.operator(0).move_peer("r", peer, Some(to)).await?.status == 202, "{peer}");
        }
        pia.protoo().expect_close(SOON).await?;
        drop(pia);
        let pia = Peer::join(&mesh.node(0).ws(), options("r", "pia")).await?;
        wait::until("both are hosted elsewhere", SOON, async || {
            let node = mesh.operator(0).node().await?;
            ensure!((node.sessions, node.sockets) == (0, 2), "{node:?}");
            Ok(())
        })
        .await?;
        ensure!(ann.moves() == 1, "{} {:?}", ann.moves(), ann.failed());
        let before = find(&mesh, 1, "r", "ann").await?;
        let rest = rest(&[&ann, &ben]).await?;
        ensure!(mesh.operator(2).drain("n1", None).await?.status == 202);
        // She can connect by another node and stays on her host; pia has to dial again, when she has.
        let closed = pia.protoo().expect_close(EMPTIES).await?;
        ensure!(closed.code == 1012, "{closed:?}");
        is_empty(&mesh, 1, 0, EMPTIES).await?;
        let after = find(&mesh, 1, "r", "ann").await?;
        ensure!((&after.host, after.worker) == (&before.host, before.worker), "{before:?}, then {after:?}");
        ensure!(ann.moves() == 2, "{} {:?}", ann.moves(), ann.failed());
        all_flow(&[&ann, &ben]).await?;
        is_even(&[&ann, &ben], &rest)?;
        ann.leave().await;
        ben.leave().await;
        drop(pia);
        mesh.is_empty(SOON).await
    });
}
