//! Peers that go from one host to another in the middle of a call, and nobody sees it.

use anyhow::{Context, ensure};
use serde_json::Value;
use skein_proto::operator::{RoomDetail, RoomPeer};
use skein_tests::mesh::leftovers;
use skein_tests::peer::{Kind, Video, all_receive};
use skein_tests::protoo::ConnectOptions;
use skein_tests::{Mesh, MeshBuilder, Peer, PeerOptions, Protoo, SOON, run, wait};
use std::collections::BTreeSet;
use std::time::Duration;

const KINDS: [Kind; 2] = [Kind::Audio, Kind::Video];
/// How long the token of a move is good, and a little more.
const STALE: Duration = Duration::from_millis(11_500);

async fn room(mesh: &Mesh) -> anyhow::Result<RoomDetail> {
    mesh.operator(0).room("r").await?.context("the room is there")
}

async fn find(mesh: &Mesh, peer: &str) -> anyhow::Result<RoomPeer> {
    let peers = room(mesh).await?.peers;
    let mut found = peers.into_iter().filter(|one| one.id.as_str() == peer);
    let one = found.next().with_context(|| format!("{peer} is not in the room"))?;
    ensure!(found.next().is_none(), "{peer} is there twice");
    Ok(one)
}

fn options(name: &str) -> PeerOptions {
    PeerOptions::new("r", name).audio().video(Video::Single)
}

async fn call(mesh: &Mesh, names: &[&str]) -> anyhow::Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let ws = mesh.node(number % mesh.nodes().len()).ws();
        peers.push(Peer::join(&ws, options(name).skein()).await?);
    }
    all_receive(&peers.iter().collect::<Vec<_>>(), &KINDS, 20, SOON).await?;
    Ok(peers)
}

/// Asks for a move; answers what the client is asked.
async fn is_asked(mesh: &Mesh, peer: &Peer, node: Option<&str>, before: usize) -> anyhow::Result<Value> {
    let answer = mesh.operator(0).move_peer("r", peer.id(), node).await?;
    ensure!(answer.status == 202, "{answer:?}");
    nth_move(peer, before).await
}

async fn nth_move(peer: &Peer, number: usize) -> anyhow::Result<Value> {
    wait::until("the client is asked to move", SOON, async || {
        let asked = peer.protoo().server_requests();
        let mut moves = asked.into_iter().filter(|request| request.method == "move");
        moves.nth(number).map(|request| request.data).context("it is not asked")
    })
    .await
}

fn token(asked: &Value) -> anyhow::Result<&str> {
    asked["token"].as_str().with_context(|| format!("no token in {asked}"))
}

fn heard_of(peer: &Peer, method: &str, field: &str, who: &str) -> usize {
    let told = peer.protoo().notifications();
    told.iter().filter(|told| told.method == method && told.data[field] == who).count()
}

/// A peer moves as asked, and the others only see other producers. Answers the peer where it is now.
async fn moves(mesh: &Mesh, old: Peer, others: &[&Peer], ws: &str, asked: &Value) -> anyhow::Result<Peer> {
    let id = old.id().to_owned();
    ensure!(asked["seconds"].as_u64().is_some_and(|seconds| seconds > 0), "{asked}");
    ensure!(asked["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{asked}");
    let came: Vec<_> = others.iter().map(|other| heard_of(other, "newPeer", "id", &id)).collect();
    let went: Vec<_> = others.iter().map(|other| heard_of(other, "peerClosed", "peerId", &id)).collect();
    let before = room(mesh).await?;
    let next = Peer::join(ws, options(&id).skein().query("move", token(asked)?)).await?;
    let mut found: Vec<_> = others.iter().map(|other| other.id().to_owned()).collect();
    found.sort();
    ensure!(next.found() == found, "{id} finds {:?}", next.found());
    // Both connections stand, and everything flows both ways through both: there is room for it.
    for other in others {
        for kind in KINDS {
            next.expect_from(&other.producer(kind)?, 20, SOON).await.context("on the new host")?;
            old.expect_from(&other.producer(kind)?, 20, SOON).await.context("on the old host")?;
            other.expect_from(&old.producer(kind)?, 20, SOON).await.context("from the old host")?;
            other.expect_from(&next.producer(kind)?, 20, SOON).await.context("from the new host")?;
        }
    }
    ensure!(
        old.protoo().is_closed().is_none(),
        "the old connection is closed: {:?}",
        old.protoo().is_closed()
    );
    let mut consumers = Vec::new();
    for other in others {
        for kind in KINDS {
            let one = other.received_from(&old.producer(kind)?).context("a consumer of the old producer")?;
            consumers.push((*other, one.consumer));
        }
    }
    old.leave().await;
    for (other, consumer) in consumers {
        other
            .protoo()
            .expect_notification("consumerClosed", SOON, |told| told["consumerId"] == consumer)
            .await?;
    }
    let before = before.peers.into_iter().find(|one| one.id.as_str() == id).context("it was there")?;
    wait::until("the room shows it on its new host, and there alone", SOON, async || {
        let detail = room(mesh).await?;
        let now = find(mesh, &id).await?;
        ensure!((&now.host, now.worker) != (&before.host, before.worker), "{now:?}");
        ensure!(asked["host"] == now.host.as_str(), "{now:?} and not {asked}");
        ensure!(now.joined && now.role == before.role && now.display_name == before.display_name, "{now:?}");
        let own: BTreeSet<_> = detail
            .producers
            .iter()
            .filter(|one| one.peer.as_str() == id)
            .map(|one| one.id.0.clone())
            .collect();
        ensure!(
            own == BTreeSet::from([next.producer(Kind::Audio)?, next.producer(Kind::Video)?]),
            "{detail:#?}"
        );
        let nodes: BTreeSet<_> = detail.peers.iter().map(|one| &one.host).collect();
        ensure!(nodes == detail.hosts.iter().collect(), "{detail:#?}");
        Ok(())
    })
    .await?;
    for other in others {
        for kind in KINDS {
            next.expect_from(&other.producer(kind)?, 20, SOON).await?;
            other.expect_from(&next.producer(kind)?, 20, SOON).await?;
        }
    }
    let came_now: Vec<_> = others.iter().map(|other| heard_of(other, "newPeer", "id", &id)).collect();
    let went_now: Vec<_> = others.iter().map(|other| heard_of(other, "peerClosed", "peerId", &id)).collect();
    ensure!((came_now, went_now) == (came, went), "the others heard that {id} came or went");
    ensure!(next.protoo().is_closed().is_none(), "{:?}", next.protoo().is_closed());
    Ok(next)
}

#[test]
fn a_peer_moves_to_another_node_and_nobody_sees_it() {
    run(60, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let mut peers = call(&mesh, &["alice", "bob"]).await?;
        let (bob, alice) = (peers.pop().context("two")?, peers.pop().context("two")?);
        ensure!(find(&mesh, "alice").await?.host == *mesh.node(0).id(), "alice is where she came in");
        // Wherever there is room, which is where nobody is.
        let asked = is_asked(&mesh, &alice, None, 0).await?;
        ensure!(asked["host"] != "n1", "{asked}");
        let alice = moves(&mesh, alice, &[&bob], &mesh.node(0).ws(), &asked).await?;
        wait::until("nothing is left on the old host but her socket", SOON, async || {
            let mut held = leftovers(&mesh.operator(0).node().await?);
            ensure!(held.remove("sockets") == Some(1), "she is still connected to it");
            ensure!(held.is_empty(), "{held:?}");
            Ok(())
        })
        .await?;
        // And to one that is named, through another entry.
        for (number, to) in ["n1", "n3"].into_iter().enumerate() {
            if find(&mesh, "bob").await?.host.as_str() == to {
                continue;
            }
            let asked = is_asked(&mesh, &bob, Some(to), 0).await.with_context(|| format!("move {number}"))?;
            ensure!(asked["host"] == to, "{asked}");
            let bob = moves(&mesh, bob, &[&alice], &mesh.node(2).ws(), &asked).await?;
            ensure!(find(&mesh, "bob").await?.host.as_str() == to, "bob is on {to}");
            bob.leave().await;
            break;
        }
        alice.leave().await;
        mesh.is_empty(SOON).await
    });
}

#[test]
fn a_peer_moves_to_another_worker_of_its_node() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(1).set("media.workers", "2").start().await?;
        let mut peers = call(&mesh, &["alice", "bob"]).await?;
        let (bob, alice) = (peers.pop().context("two")?, peers.pop().context("two")?);
        let before = find(&mesh, "alice").await?.worker;
        ensure!(find(&mesh, "bob").await?.worker == before, "two peers are on one worker");
        let answer = mesh.operator(0).move_peer("r", "alice", None).await?;
        ensure!(answer.status == 409, "there is no other node: {answer:?}");
        let asked = is_asked(&mesh, &alice, Some("n1"), 0).await?;
        let alice = moves(&mesh, alice, &[&bob], &mesh.node(0).ws(), &asked).await?;
        ensure!(find(&mesh, "alice").await?.worker != before, "alice is on the other worker");
        alice.leave().await;
        bob.leave().await;
        mesh.is_empty(SOON).await
    });
}

#[test]
fn a_refused_move_leaves_all_as_it_was() {
    run(60, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let alice = Peer::join(&mesh.node(0).ws(), options("alice").skein().stays()).await?;
        let bob = Peer::join(&mesh.node(1).ws(), options("bob").skein()).await?;
        all_receive(&[&alice, &bob], &KINDS, 20, SOON).await?;
        for (path, status, word) in [
            ("r/peers/nobody", 409, "nobody"),
            ("nowhere/peers/alice", 409, "nowhere"),
            ("a%20b/peers/alice", 400, "room"),
        ] {
            let path = format!("/v1/rooms/{path}/move");
            let answer = mesh.operator(1).post(&path, &serde_json::json!({})).await?;
            ensure!(answer.status == status && answer.error()?.contains(word), "{path}: {answer:?}");
        }
        let answer = mesh.operator(1).move_peer("r", "alice", Some("n9")).await?;
        ensure!(answer.status == 409 && answer.error()?.contains("n9"), "{answer:?}");
        let before = wait::until("the room has both", SOON, async || {
            let room = room(&mesh).await?;
            ensure!(room.producers.len() == 4 && room.pipes.len() == 4, "{room:#?}");
            Ok(room)
        })
        .await?;
        let consumers = |peer: &Peer| peer.stats().received.into_keys().collect::<BTreeSet<_>>();
        let had = [consumers(&alice), consumers(&bob)];
        let mut last = String::new();
        for number in 0..2 {
            // That she refused the one before may be on its way to the home.
            wait::until("she may be asked", Duration::from_secs(5), async || {
                let answer = mesh.operator(0).move_peer("r", "alice", Some("n3")).await?;
                ensure!(answer.status == 202, "{answer:?}");
                Ok(())
            })
            .await?;
            let asked = nth_move(&alice, number).await?;
            ensure!(token(&asked)? != last, "a token is given twice");
            token(&asked)?.clone_into(&mut last);
        }
        // With the token of what she refused she does not get there.
        wait::until("the token is worth nothing", Duration::from_secs(5), async || {
            let connect = ConnectOptions::new("r", "alice").skein().query("move", &last);
            let late = Protoo::connect(&mesh.node(0).ws(), &connect).await?;
            let closed = late.expect_close(SOON).await?;
            ensure!(closed.code == 4000 && closed.reason.contains("move"), "{closed:?}");
            Ok(())
        })
        .await?;
        all_receive(&[&alice, &bob], &KINDS, 30, SOON).await?;
        let now = room(&mesh).await?;
        ensure!(
            now.peers == before.peers && now.producers == before.producers,
            "{now:#?}, before {before:#?}"
        );
        let pipes =
            |room: RoomDetail| room.pipes.iter().map(|pipe| format!("{pipe:?}")).collect::<BTreeSet<_>>();
        ensure!(pipes(now) == pipes(before), "other pipes");
        ensure!(had == [consumers(&alice), consumers(&bob)], "consumers changed");
        let held = leftovers(&mesh.operator(2).node().await?);
        ensure!(!held.contains_key("transports") && !held.contains_key("sessions"), "{held:?}");
        alice.leave().await;
        bob.leave().await;
        mesh.is_empty(SOON).await
    });
}

/// Connects with a token that must not be good.
async fn is_turned_away(mesh: &Mesh, peer: &str, token: &str) -> anyhow::Result<()> {
    let connect = ConnectOptions::new("r", peer).skein().query("move", token);
    let client = Protoo::connect(&mesh.node(0).ws(), &connect).await?;
    let closed = client.expect_close(SOON).await?;
    ensure!(closed.code == 4000 && closed.reason.contains("move:"), "{peer}: {closed:?}");
    Ok(())
}

#[test]
fn a_wrong_or_stale_token_opens_nothing() {
    run(60, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let mut peers = call(&mesh, &["alice", "bob"]).await?;
        let (bob, alice) = (peers.pop().context("two")?, peers.pop().context("two")?);
        is_turned_away(&mesh, "alice", "guessed").await?;
        is_turned_away(&mesh, "alice", "").await?;
        let asked = is_asked(&mesh, &alice, Some("n3"), 0).await?;
        // It is hers alone.
        is_turned_away(&mesh, "bob", token(&asked)?).await?;
        is_turned_away(&mesh, "carol", token(&asked)?).await?;
        tokio::time::sleep(STALE).await;
        is_turned_away(&mesh, "alice", token(&asked)?).await?;
        all_receive(&[&alice, &bob], &KINDS, 20, SOON).await?;
        // A new one is good, once.
        let asked = is_asked(&mesh, &alice, Some("n3"), 1).await?;
        let alice = moves(&mesh, alice, &[&bob], &mesh.node(0).ws(), &asked).await?;
        is_turned_away(&mesh, "alice", token(&asked)?).await?;
        for kind in KINDS {
            alice.expect_from(&bob.producer(kind)?, 20, SOON).await?;
        }
        alice.leave().await;
        bob.leave().await;
        mesh.is_empty(SOON).await
    });
}

#[test]
fn a_client_that_knows_no_moves_is_sent_there_by_dialling_again() {
    run(60, async {
        let mesh = MeshBuilder::new().set("placement.prefer", "entry").start().await?;
        let alice = Peer::join(&mesh.node(0).ws(), options("alice")).await?;
        let bob = Peer::join(&mesh.node(1).ws(), options("bob")).await?;
        all_receive(&[&alice, &bob], &KINDS, 20, SOON).await?;
        let answer = mesh.operator(2).move_peer("r", "alice", Some("n3")).await?;
        ensure!(answer.status == 202, "{answer:?}");
        let closed = alice.protoo().expect_close(SOON).await?;
        ensure!(closed.code == 1012 && !closed.reason.is_empty(), "{closed:?}");
        let asked = alice.protoo().server_requests();
        ensure!(asked.iter().all(|request| request.method != "move"), "{asked:?}");
        drop(alice);
        // Its entry comes first for others, and not for it.
        let alice = Peer::join(&mesh.node(0).ws(), options("alice")).await?;
        ensure!(alice.found() == ["bob"], "{:?}", alice.found());
        all_receive(&[&alice, &bob], &KINDS, 20, SOON).await?;
        ensure!(find(&mesh, "alice").await?.host.as_str() == "n3", "{:?}", find(&mesh, "alice").await?);
        alice.leave().await;
        bob.leave().await;
        mesh.is_empty(SOON).await
    });
}
