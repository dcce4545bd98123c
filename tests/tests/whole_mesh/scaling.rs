//! A mesh that grows when people come and shrinks when they leave, with nodes that are processes here.

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use skein_bootstrap::process::Record;
use skein_proto::ids::NodeId;
use skein_proto::operator::{MeshStatus, NodeState, Scaling};
use skein_tests::mesh::Growth;
use skein_tests::peer::{Roamer, Video};
use skein_tests::{Mesh, MeshBuilder, PeerOptions, SOON, run, wait};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How long a mesh may take to launch what it needs: a lease, a look, and the start of a process.
const GROWS: Duration = Duration::from_secs(40);
/// How long it may take to let go of what it does not need.
const SHRINKS: Duration = Duration::from_secs(60);

/// How many reference streams a node carries. A room of four takes 6: 12 times 80 packets a second.
const STREAMS: u32 = 16;

fn growth(voters: usize, max_nodes: u32) -> Growth {
    Growth { voters, max_nodes, streams: STREAMS, spare: 2, idle_s: 3.0 }
}

async fn status(mesh: &Mesh) -> anyhow::Result<MeshStatus> {
    mesh.running().next().context("a node runs")?.operator().mesh().await
}

/// Waits until all nodes know who leads: one that does not yet refuses whom it has no place for.
async fn leader(mesh: &Mesh) -> anyhow::Result<NodeId> {
    wait::until("a node leads, and all know it", GROWS, async || {
        let mut leader = None;
        for node in mesh.running() {
            let named = node.operator().mesh().await?.leader.context("nobody leads")?;
            ensure!(*leader.get_or_insert(named.clone()) == named, "{leader:?} or {named}");
        }
        leader.context("no node runs")
    })
    .await
}

/// Waits until so many nodes take peers.
async fn has(mesh: &Mesh, nodes: usize, deadline: Duration) -> anyhow::Result<()> {
    wait::until("the mesh has as many nodes as it needs", deadline, async || {
        let status = status(mesh).await?;
        let alive = status.nodes.iter().filter(|node| node.state == NodeState::Alive).count();
        ensure!(alive == nodes && status.nodes.len() == nodes, "{:?}", brief(&status));
        Ok(())
    })
    .await
}

fn brief(status: &MeshStatus) -> Vec<String> {
    let brief = |node: &skein_proto::operator::NodeStatus| {
        format!(
            "{} {:?} {} peers {} of {} free",
            node.id, node.state, node.peers, node.free_streams, node.total_streams
        )
    };
    status.nodes.iter().map(brief).collect()
}

fn running(mesh: &Mesh) -> anyhow::Result<Vec<Record>> {
    Ok(mesh.launched()?.into_iter().filter(Record::is_running).collect())
}

/// So many rooms, one after the other. Who is refused, or has waited for long, comes again.
async fn rooms(mesh: &Mesh, names: std::ops::Range<usize>, each: usize) -> anyhow::Result<Vec<Roamer>> {
    let ws = mesh.running().next().context("a node runs")?.ws();
    let join = async |room: usize, peer: usize| {
        let options =
            PeerOptions::new(&format!("r{room}"), &format!("p{peer}")).audio().video(Video::Declared);
        wait::until("a place", GROWS, async || Roamer::join(&ws, options.clone()).await).await
    };
    let mut all = Vec::new();
    for room in names {
        all.extend(try_join_all((0..each).map(|peer| join(room, peer))).await?);
    }
    Ok(all)
}

#[test]
fn nodes_are_born_when_people_come_and_retired_when_they_leave() {
    run(200, async {
        let mesh = MeshBuilder::new().nodes(1).grows(&growth(1, 6)).start().await?;
        leader(&mesh).await?;
        // 30 streams and what they are expected to grow to: two nodes do not carry that.
        let begun = Instant::now();
        let peers = rooms(&mesh, 0..5, 4).await?;
        eprintln!("all have a place after {:?}", begun.elapsed());
        wait::until("a third node is there", GROWS, async || {
            let status = status(&mesh).await?;
            let alive = status.nodes.iter().filter(|node| node.state == NodeState::Alive).count();
            ensure!(alive >= 3, "{:?}", brief(&status));
            Ok(())
        })
        .await?;
        for roamer in &peers {
            ensure!(roamer.peer().protoo().is_closed().is_none(), "{} was dropped", roamer.peer().id());
        }
        for peer in peers {
            peer.leave().await;
        }
        has(&mesh, 1, SHRINKS).await?;
        wait::until("their processes have ended", SOON, async || {
            let left = running(&mesh)?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .await?;
        let launched = mesh.launched()?;
        ensure!((2..=5).contains(&launched.len()), "{launched:?}");
        mesh.is_empty(SOON).await
    });
}

/// Fills the mesh until somebody is refused; answers why.
async fn refused(mesh: &Mesh) -> anyhow::Result<String> {
    let ws = mesh.running().next().context("a node runs")?.ws();
    let mut all = Vec::new();
    for number in 0..100 {
        let name = format!("p{number}");
        let options = PeerOptions::new(&format!("more{}", number / 4), &name).audio().video(Video::Declared);
        match Roamer::join(&ws, options).await {
            Ok(roamer) => all.push(roamer),
            Err(error) => return Ok(format!("{error:#}")),
        }
    }
    anyhow::bail!("a hundred found a place")
}

/// Fills the mesh: it grows to two nodes, and then refuses. Answers who made it grow.
async fn grows_to_two(mesh: &Mesh) -> anyhow::Result<Vec<Roamer>> {
    leader(mesh).await?;
    let kept = rooms(mesh, 0..2, 4).await?;
    has(mesh, 2, GROWS).await?;
    let refused = refused(mesh).await?;
    ensure!(refused.contains("mesh full"), "{refused}");
    ensure!(mesh.launched()?.len() == 1, "{:?}", mesh.launched()?);
    Ok(kept)
}

#[test]
fn beyond_its_ceiling_a_mesh_does_not_grow_and_says_so() {
    run(120, async {
        let mesh = MeshBuilder::new().nodes(1).grows(&growth(1, 2)).start().await?;
        let _kept = grows_to_two(&mesh).await?;
        let scaling = mesh.operator(0).get("/v1/scaling").await?;
        ensure!(scaling.status == 200 && scaling.body.contains("\"grows\":false"), "{scaling:?}");
        Ok(())
    });
}

#[test]
fn a_cost_ceiling_holds() {
    run(120, async {
        let mesh = MeshBuilder::new()
            .nodes(1)
            .grows(&growth(1, 5))
            .set("scaling.max_cost_per_hour", "1.5")
            .start()
            .await?;
        let _kept = grows_to_two(&mesh).await?;
        Ok(())
    });
}

/// Three nodes that vote, and are filled by fewer than what two machines more carry.
async fn three_that_vote() -> anyhow::Result<Mesh> {
    MeshBuilder::new().nodes(3).grows(&Growth { streams: 8, ..growth(3, 5) }).start().await
}

/// Twenty who want in, by nodes other than this one.
async fn crowd(mesh: &Mesh, but: &NodeId) -> Vec<JoinHandle<anyhow::Result<Roamer>>> {
    let entries: Vec<_> = mesh.running().filter(|node| node.id() != but).map(|node| node.ws()).collect();
    let join = |number: usize| {
        let (room, peer) = (number / 4, number % 4);
        let options =
            PeerOptions::new(&format!("r{room}"), &format!("p{peer}")).audio().video(Video::Declared);
        let ws = entries[number % entries.len()].clone();
        tokio::spawn(async move { Roamer::join(&ws, options).await })
    };
    (0..20).map(join).collect()
}

/// Kills the leader, and waits until another leads and there are as many nodes as are needed.
async fn is_succeeded(mesh: &mut Mesh, first: &NodeId) -> anyhow::Result<()> {
    let index = mesh.index_of(first)?;
    mesh.node_mut(index).kill()?;
    let second = wait::until("another leads", GROWS, async || {
        let leader = status(mesh).await?.leader.context("nobody leads")?;
        ensure!(leader != *first, "{leader} is dead");
        Ok(leader)
    })
    .await?;
    eprintln!("{first} led, then {second}");
    wait::until("each machine is a node, and there are enough", GROWS, async || {
        let (running, status) = (running(mesh)?, status(mesh).await?);
        let nodes = status.nodes.iter().filter(|node| node.state == NodeState::Alive).count();
        ensure!(nodes == 2 + running.len() && nodes >= 3, "{:?} and {running:?}", brief(&status));
        Ok(())
    })
    .await?;
    let launched = mesh.launched()?;
    let numbers: BTreeSet<_> = launched.iter().map(|record| record.number).collect();
    ensure!(numbers.len() == launched.len(), "{launched:?}");
    Ok(())
}

/// The leader is killed when something of this is seen, while people come. Nobody is refused.
async fn dies_while_it_grows(seen: impl AsyncFn(&Mesh) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut mesh = three_that_vote().await?;
    let first = leader(&mesh).await?;
    let joins = crowd(&mesh, &first).await;
    wait::until("the moment has come", GROWS, async || seen(&mesh).await).await?;
    is_succeeded(&mut mesh, &first).await?;
    // The floor of three, and one for what does not fit there; never more than the ceiling. One whose process the leader
    // had not let go when it died has ended, and may have been replaced.
    let running = running(&mesh)?;
    ensure!((1..=3).contains(&running.len()), "{:?}", mesh.launched()?);
    for join in joins {
        if !join.is_finished() {
            // The mesh is full: it waits still.
            join.abort();
        } else if let Err(error) = join.await? {
            let error = format!("{error:#}");
            ensure!(!error.contains("mesh full"), "{error}");
        }
    }
    Ok(())
}

/// The leader is killed when it has done this, after all have left.
async fn dies_while_it_shrinks(did: &str) -> anyhow::Result<()> {
    let mut mesh = three_that_vote().await?;
    let first = leader(&mesh).await?;
    let mut peers = Vec::new();
    let mut nodes = 3;
    // As many as it takes, and no more: the mesh is not to be full.
    for room in 0..6 {
        if nodes == 3 {
            peers.extend(rooms(&mesh, room..room + 1, 3).await?);
            nodes = status(&mesh).await?.nodes.len();
        }
    }
    ensure!(nodes > 3, "{:?}", brief(&status(&mesh).await?));
    for peer in peers {
        peer.leave().await;
    }
    let index = mesh.index_of(&first)?;
    wait::until("the moment has come", SHRINKS, async || {
        let scaling: Scaling = serde_json::from_str(&mesh.operator(index).get("/v1/scaling").await?.body)?;
        ensure!(scaling.steps.iter().any(|step| step.step.starts_with(did)), "{scaling:?}");
        Ok(())
    })
    .await?;
    is_succeeded(&mut mesh, &first).await?;
    has(&mesh, 3, SHRINKS).await?;
    wait::until("what is not needed has ended", SOON, async || {
        let running = running(&mesh)?;
        ensure!(running.len() == 1, "{running:?}");
        Ok(())
    })
    .await
}

#[test]
fn a_leader_that_dies_as_it_launches_leaves_nothing_lost_and_nothing_doubled() {
    run(200, async {
        dies_while_it_grows(async |mesh| {
            ensure!(!mesh.launched()?.is_empty(), "nothing is launched yet");
            Ok(())
        })
        .await
    });
}

#[test]
fn a_leader_that_dies_as_a_machine_joins_leaves_nothing_lost_and_nothing_doubled() {
    run(200, async {
        dies_while_it_grows(async |mesh| {
            let status = status(mesh).await?;
            ensure!(status.nodes.len() > 3, "{:?}", brief(&status));
            Ok(())
        })
        .await
    });
}

#[test]
fn a_leader_that_dies_as_it_drains_leaves_nothing_lost_and_nothing_doubled() {
    run(200, async { dies_while_it_shrinks("drain").await });
}

#[test]
fn a_leader_that_dies_as_it_retires_leaves_nothing_lost_and_nothing_doubled() {
    run(200, async { dies_while_it_shrinks("retire").await });
}
