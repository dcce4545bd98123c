//! Rooms whose full size is kept for them from the start, whatever others take meanwhile.

use super::capacity::within_budget;
use anyhow::{Context, ensure};
use serde_json::json;
use skein_tests::peer::{Kind, Video, all_receive};
use skein_tests::protoo::ConnectOptions;
use skein_tests::{Mesh, MeshBuilder, Peer, PeerOptions, Protoo, SOON, run, wait};
use std::time::Duration;
use tokio::time::Instant;

const KINDS: [Kind; 2] = [Kind::Audio, Kind::Video];

/// Who sends, in a room whose full size is kept for it.
fn member(room: &str, name: &str, size: u32) -> PeerOptions {
    let options = PeerOptions::new(room, name).audio().video(Video::Declared);
    options.query("guaranteed", "1").query("size", &size.to_string())
}

/// The first of such a room, who sends nothing yet.
async fn guaranteed(ws: &str, room: &str, size: u32) -> anyhow::Result<Protoo> {
    let options =
        ConnectOptions::new(room, "first").query("guaranteed", "1").query("size", &size.to_string());
    Ok(Protoo::connect(ws, &options).await?)
}

#[test]
fn a_room_that_fits_on_no_worker_is_guaranteed_over_several_nodes() {
    run(90, async {
        let mesh = MeshBuilder::new()
            .nodes(3)
            .set("media.streams_per_worker", "40")
            .set("placement.wait_s", "0")
            .start()
            .await?;
        let member = |name: &str| member("g", name, 8);
        let mut peers = vec![Peer::join(&mesh.node(0).ws(), member("g0")).await?];
        let mut others = Vec::new();
        let refusal = loop {
            ensure!(others.len() < 60, "60 others fit beside what is kept");
            let number = others.len();
            let options = PeerOptions::new(&format!("o{}", number / 3), &format!("o{number}"));
            match Peer::join(&mesh.node(number % 3).ws(), options.audio().video(Video::Declared)).await {
                Ok(peer) => others.push(peer),
                Err(error) => break format!("{error:#}"),
            }
        };
        ensure!(refusal.contains("mesh full"), "{refusal}");
        for number in 1..8 {
            let ws = mesh.node(number % 3).ws();
            peers.push(Peer::join(&ws, member(&format!("g{number}"))).await?);
        }
        let all: Vec<_> = peers.iter().collect();
        all_receive(&all, &KINDS, 20, SOON).await?;
        let room = mesh.operator(1).room("g").await?.context("the room")?;
        ensure!(room.hosts.len() > 1, "{room:#?}");
        for node in 0..3 {
            within_budget(mesh.operator(node)).await?;
        }
        for peer in peers.into_iter().chain(others) {
            peer.leave().await;
        }
        mesh.is_empty(SOON).await
    });
}

#[test]
fn what_a_room_is_guaranteed_is_kept_for_it_from_its_first_peer_to_its_last() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(1).set("media.streams_per_worker", "40").start().await?;
        // 20 who send to each other do not fit: nobody waits for long to hear that.
        let none = guaranteed(&mesh.node(0).ws(), "large", 20).await?;
        let closed = none.expect_close(Duration::from_secs(3)).await?;
        ensure!((closed.code, closed.reason.as_str()) == (1013, "mesh full"), "{closed:?}");
        let ws = mesh.node(0).ws();
        let member = |name: &str| member("g", name, 5);
        let mut peers = vec![Peer::join(&ws, member("g0")).await?];
        let mut others = Vec::new();
        let refusal = loop {
            ensure!(others.len() < 20, "20 others fit beside what is kept");
            let options =
                PeerOptions::new("others", &format!("o{}", others.len())).audio().video(Video::Declared);
            match Peer::join(&ws, options).await {
                Ok(peer) => others.push(peer),
                Err(error) => break format!("{error:#}"),
            }
        };
        ensure!(refusal.contains("mesh full"), "{refusal}");
        let worker = mesh.operator(0).node().await?.workers.remove(0);
        ensure!(worker.packets < worker.total_packets * 2 / 3, "it is full without what is kept: {worker:?}");
        for number in 1..5 {
            peers.push(Peer::join(&ws, member(&format!("g{number}"))).await?);
        }
        let all: Vec<_> = peers.iter().collect();
        all_receive(&all, &KINDS, 20, SOON).await?;
        let sixth = Protoo::connect(&ws, &ConnectOptions::new("g", "g5")).await?;
        let closed = sixth.expect_close(SOON).await?;
        ensure!((closed.code, closed.reason.as_str()) == (1013, "room full"), "{closed:?}");
        within_budget(mesh.operator(0)).await?;
        let before = mesh.operator(0).node().await?.workers.remove(0);
        for peer in peers {
            peer.leave().await;
        }
        // Well before what is not renewed would expire.
        wait::until("what was kept is free again", Duration::from_secs(4), async || {
            let worker = mesh.operator(0).node().await?.workers.remove(0);
            ensure!(worker.free_packets >= before.free_packets + 2500, "{worker:?}, before {before:?}");
            Ok(())
        })
        .await?;
        others.push(Peer::join(&ws, PeerOptions::new("others", "late").audio()).await?);
        for peer in others {
            peer.leave().await;
        }
        mesh.is_empty(SOON).await
    });
}

/// Longer than a home that is gone is missed, a new one waits for what hosts say, and what is not renewed is kept.
const LONG_AFTER: Duration = Duration::from_secs(25);

/// The name of a room whose home a node is.
async fn room_at(mesh: &Mesh, node: usize) -> anyhow::Result<String> {
    for number in 0..100 {
        let room = format!("g-{number}");
        let probe = Protoo::connect(&mesh.node(0).ws(), &ConnectOptions::new(&room, "probe")).await?;
        probe.request("getRouterRtpCapabilities", json!({})).await?;
        let home = mesh.operator(0).room(&room).await?.context("the room is there")?.home;
        probe.close().await;
        if home == *mesh.node(node).id() {
            mesh.is_empty(SOON).await?;
            return Ok(room);
        }
    }
    anyhow::bail!("none of 100 rooms has its home there")
}

/// A room for two who need not come for what they need to be kept. None where there is no space, as far as is known.
async fn takes_space(ws: &str, room: &str) -> anyhow::Result<Option<Protoo>> {
    let client = guaranteed(ws, room, 2).await?;
    match client.request("getRouterRtpCapabilities", json!({})).await {
        Ok(_) => Ok(Some(client)),
        Err(_) => {
            client.expect_close(SOON).await?;
            Ok(None)
        }
    }
}

#[test]
fn what_a_room_is_guaranteed_outlives_its_home() {
    run(120, async {
        // The smallest that the room fits on whole is where it is kept.
        let mut mesh = MeshBuilder::new()
            .set("media.streams_per_worker", "45")
            .set_node(0, "media.streams_per_worker", "40")
            .start()
            .await?;
        let [host, home, other] = [0, 1, 2];
        let room = room_at(&mesh, home).await?;
        let member = |name: &str| member(&room, name, 5);
        let mut peers = vec![Peer::join(&mesh.node(host).ws(), member("g0")).await?];
        let detail = mesh.operator(other).room(&room).await?.context("the room")?;
        ensure!(detail.hosts == [mesh.node(host).id().clone()], "{detail:?}");
        ensure!(detail.home == *mesh.node(home).id(), "{detail:?}");
        // Others take all that is left, then and from then on.
        let (mut others, mut number) = (Vec::new(), 0);
        let mut fill = async |mesh: &Mesh| {
            // What nodes say that they have left is a little old.
            let mut in_vain = 0;
            while in_vain < 3 {
                number += 1;
                let ws = mesh.node([host, other][number % 2]).ws();
                match takes_space(&ws, &format!("other-{number}")).await? {
                    Some(client) => {
                        others.push(client);
                        in_vain = 0;
                    }
                    None => {
                        in_vain += 1;
                        tokio::time::sleep(Duration::from_millis(600)).await;
                    }
                }
            }
            anyhow::Ok(others.len())
        };
        let count = fill(&mesh).await?;
        ensure!(count > 20, "only {count} others fit");
        mesh.node_mut(home).kill()?;
        let killed = Instant::now();
        mesh.agrees(SOON).await?;
        let mut more = count;
        while killed.elapsed() < LONG_AFTER {
            more = fill(&mesh).await?;
        }
        eprintln!("{count} others before, {more} came in the end");
        ensure!(peers[0].protoo().is_closed().is_none(), "{:?}", peers[0].protoo().is_closed());
        for number in 1..5 {
            let ws = mesh.node([host, other][number % 2]).ws();
            let peer = Peer::join(&ws, member(&format!("g{number}"))).await;
            peers.push(peer.with_context(|| format!("{number} of 5, {:?} after", killed.elapsed()))?);
        }
        all_receive(&peers.iter().collect::<Vec<_>>(), &KINDS, 20, SOON).await?;
        let detail = mesh.operator(other).room(&room).await?.context("the room")?;
        ensure!(detail.peers.len() == 5 && detail.home != *mesh.node(home).id(), "{detail:?}");
        ensure!(detail.options.guaranteed && detail.options.size == 5, "{detail:?}");
        for node in [host, other] {
            within_budget(mesh.operator(node)).await?;
        }
        for peer in peers {
            peer.leave().await;
        }
        for client in others {
            client.close().await;
        }
        mesh.is_empty(SOON).await
    });
}
