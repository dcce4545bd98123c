//! A worker that is busier than its books say takes nobody more, and says so.

use anyhow::{Context, ensure};
use futures::future::{join_all, try_join_all};
use serde_json::json;
use skein_proto::operator::WorkerDetail;
use skein_tests::mesh::NodeProcess;
use skein_tests::peer::{Kind, Video};
use skein_tests::protoo::{Closed, ConnectOptions};
use skein_tests::{Mesh, MeshBuilder, Peer, PeerOptions, Protoo, SOON, run, wait};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many receivers come at once, and how many at most: 200,000 packets a second.
const AT_ONCE: usize = 8;
const MOST: usize = 96;
/// How long their coming may take, and how long each waits for a first packet.
const COME: Duration = Duration::from_secs(30);
const FIRST: Duration = Duration::from_secs(2);
/// With less than this share of all cores idle others take what the worker would need.
const TAKEN: f64 = 0.08;
/// A worker is closed when its thread used 90 % of a core for five seconds. Long enough for two tries of that.
const CLOSES: Duration = Duration::from_secs(14);
/// It is open again when it used less than 80 % for five seconds.
const OPENS: Duration = Duration::from_secs(15);

/// The node's busiest thread: its one worker's. None where the system does not say.
fn busiest(node: &NodeProcess) -> Option<PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid())).ok()?;
    let tasks = tasks.filter_map(Result::ok).map(|task| task.path());
    let ran = |task: &Path| {
        let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    tasks.filter_map(|task| Some((ran(&task)?, task))).max().map(|(_, task)| task)
}

/// Has a thread run before others, where the system allows that: what is measured is what it gets of a core.
fn prefer(task: &Path) {
    let Some(id) = task.file_name() else { return };
    let renice = std::process::Command::new("renice").args(["-n", "-15", "-p"]).arg(id).output();
    if !renice.is_ok_and(|output| output.status.success()) {
        eprintln!("the worker's thread takes its turn with all others");
    }
}

/// What all cores did since the machine started: in all, and of that nothing.
fn cores() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    // user, nice, system, idle, iowait and others, in ticks.
    let all: Vec<u64> =
        text.lines().next()?.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    Some([all.iter().take(8).sum(), all.get(3)? + all.get(4)?])
}

/// What share of all cores had nothing to do.
fn idle(before: Option<[u64; 2]>) -> Option<f64> {
    let ([all, idle], [all_before, idle_before]) = (cores()?, before?);
    Some((idle - idle_before) as f64 / (all - all_before).max(1) as f64)
}

async fn worker(mesh: &Mesh) -> anyhow::Result<WorkerDetail> {
    mesh.operator(0).node().await?.workers.pop().context("it has a worker")
}

/// Receivers of the heavy stream come until its worker can do no more. They read nothing of it: that it is sent suffices.
async fn overload(mesh: &Mesh) -> anyhow::Result<Vec<Peer>> {
    let ws = mesh.node(0).ws();
    let mut receivers = Vec::new();
    let until = Instant::now() + COME;
    while receivers.len() < MOST && Instant::now() < until {
        let joins = (0..AT_ONCE).map(|number| {
            let (ws, name) = (&ws, format!("l{}", receivers.len() + number));
            async move { Peer::join(ws, PeerOptions::new("heavy", &name)).await }
        });
        // A worker that is closed meanwhile takes them no more.
        let Ok(came) = try_join_all(joins).await else { break };
        // A worker that is too busy may not come to send them anything.
        let receive = came.iter().map(|peer| peer.expect_packets("heavy", Kind::Video, 1, FIRST));
        join_all(receive).await;
        for peer in &came {
            peer.vanish().await?;
        }
        receivers.extend(came);
        let detail = worker(mesh).await?;
        if detail.closed {
            break;
        }
    }
    Ok(receivers)
}

/// Somebody comes in by the first node: the node that hosts it, or why it is refused.
async fn enters(mesh: &Mesh, room: &str) -> anyhow::Result<Result<(Protoo, String), Closed>> {
    let client = Protoo::connect(&mesh.node(0).ws(), &ConnectOptions::new(room, "p")).await?;
    if client.request("getRouterRtpCapabilities", json!({})).await.is_err() {
        return Ok(Err(client.expect_close(SOON).await?));
    }
    let detail = mesh.operator(1).room(room).await?.context("the room is there")?;
    let host = detail.peers.first().context("it is in it")?.host.to_string();
    Ok(Ok((client, host)))
}

#[test]
fn a_worker_that_is_too_busy_takes_nobody_until_it_has_air_again() {
    run(120, async {
        let mesh = MeshBuilder::new()
            .nodes(2)
            .set("placement.prefer", "entry")
            // By its books the first could carry ten times as much.
            .set_node(0, "media.packets_per_worker", "1000000")
            .set_node(0, "media.egress_bits", "100000000000")
            // The second has space for one who may send.
            .set_node(1, "media.packets_per_worker", "300")
            // Who reads nothing answers no pings.
            .set("signaling.ping_timeout_s", "100")
            .start()
            .await?;
        let options = PeerOptions::new("heavy", "heavy").query("mode", "stage").query("role", "publish");
        let sender = Peer::join(&mesh.node(0).ws(), options.send_only().video(Video::Heavy)).await?;
        wait::until("it sends", SOON, async || {
            ensure!(sender.stats().packets_sent > 5000, "{:?}", sender.stats().packets_sent);
            Ok(())
        })
        .await?;
        let thread = busiest(mesh.node(0));
        thread.as_deref().inspect(|thread| prefer(thread));
        let receivers = overload(&mesh).await?;
        let before = cores();
        let closes = wait::until("the worker is closed", CLOSES, async || {
            let detail = worker(&mesh).await?;
            ensure!(detail.closed, "{detail:?}");
            Ok(detail)
        });
        let detail = match (closes.await, idle(before)) {
            (Ok(detail), _) => detail,
            // A machine that has nothing left for the worker or its sender shows nothing of either.
            (Err(error), Some(idle)) if idle < TAKEN => {
                eprintln!("NOT SHOWN, with {idle:.2} of all cores left by others: {error:#}");
                return Ok(());
            }
            (Err(error), idle) => {
                return Err(error.context(format!("with {} receivers and {idle:?} idle", receivers.len())));
            }
        };
        eprintln!("closed with {} receivers: {detail:?}", receivers.len());
        ensure!(detail.free_packets == 0, "it still promises something: {detail:?}");
        ensure!(detail.packets < detail.total_packets / 2, "by its books it is full: {detail:?}");
        let alarm = |log: &str| log.lines().any(|line| line.contains("WARN") && line.contains("too busy"));
        ensure!(alarm(&mesh.node(0).log()), "there is no alarm in the log");
        wait::until("the other knows", SOON, async || {
            let nodes = mesh.operator(1).mesh().await?.nodes;
            let status = nodes.iter().find(|one| one.id == *mesh.node(0).id()).context("it is there")?;
            ensure!(status.free_streams == 0, "{status:?}");
            Ok(())
        })
        .await?;
        // Its entry comes first and would have space.
        let (first, host) = match enters(&mesh, "first").await? {
            Ok(entered) => entered,
            Err(closed) => anyhow::bail!("refused with space on the other node: {closed:?}"),
        };
        ensure!(host == mesh.node(1).id().as_str(), "on {host}");
        let second = enters(&mesh, "second").await?.err().context("there is no space, and it is let in")?;
        ensure!((second.code, second.reason.as_str()) == (1013, "mesh full"), "{second:?}");
        // Who is there stays.
        ensure!(sender.protoo().is_closed().is_none(), "{:?}", sender.protoo().is_closed());
        sender.close_producer(Kind::Video).await?;
        wait::until("the worker is open again", OPENS, async || {
            let detail = worker(&mesh).await?;
            ensure!(!detail.closed && detail.free_packets > 0, "{detail:?}");
            Ok(())
        })
        .await?;
        let (third, host) = wait::until("people come to it again", SOON, async || {
            let entered = enters(&mesh, "third").await?;
            entered.map_err(|closed| anyhow::anyhow!("{closed:?}"))
        })
        .await?;
        ensure!(host == mesh.node(0).id().as_str(), "on {host}");
        first.close().await;
        third.close().await;
        Ok(())
    });
}
