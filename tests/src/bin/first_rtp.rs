//! Measures one mesh on this machine: how long a client waits for its first RTP, and what an idle node costs.
//!
//! "Local": sender and receiver on one node. "Piped": on two nodes, with a pipe that nobody needed before. The clock
//! starts when the receiver begins to open its WebSocket, and stops at the first audio packet out of SRTP.

use anyhow::{Context, ensure};
use clap::Parser;
use procfs::Current;
use procfs::process::Process;
use serde::Serialize;
use skein_tests::peer::Kind;
use skein_tests::{Mesh, MeshBuilder, Peer, PeerOptions, SOON, wait};
use std::process::ExitCode;
use std::time::Duration;

/// Targets, from the issue that asked for them.
const LOCAL_P50_MS: f64 = 250.0;
const PIPED_MORE_MS: f64 = 150.0;
const IDLE_CPU_PERCENT: f64 = 1.0;
const IDLE_RSS_MB: f64 = 80.0;

/// Measures time to first RTP, and an idle node.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds of each kind.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Seconds for which idle nodes are watched.
    #[arg(long, default_value_t = 10)]
    idle_seconds: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// End with an error when a target is missed.
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Serialize)]
struct Times {
    rounds: usize,
    p50_ms: f64,
    p95_ms: f64,
    max_ms: f64,
}

#[derive(Debug, Serialize)]
struct Idle {
    /// Of one core, of the busiest node.
    cpu_percent: f64,
    /// Resident memory of the largest node.
    rss_mb: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    local: Times,
    piped: Times,
    idle: Idle,
    /// How busy the machine was: runnable tasks, by the kernel's average of a minute.
    load: f32,
    cores: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&arguments))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    let missed = arguments.strict && verdicts(&report).iter().any(|(.., met)| !met);
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    ensure!(arguments.rounds > 0, "--rounds is 0");
    let mesh = MeshBuilder::new().nodes(2).set("placement.prefer", "entry").start().await?;
    // Idle first: a mesh that has just found itself, before anything ran on it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = watch_idle(&mesh, Duration::from_secs(arguments.idle_seconds)).await?;
    let local = first_packets(&mesh, 0, arguments.rounds).await?;
    let piped = first_packets(&mesh, 1, arguments.rounds).await?;
    let load = procfs::LoadAverage::current()?.one;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Report { local, piped, idle, load, cores })
}

/// One sender on node 0; receivers on another node, or the same, come and go one by one.
async fn first_packets(mesh: &Mesh, receiver_node: usize, rounds: usize) -> anyhow::Result<Times> {
    let mut times = Vec::new();
    for round in 0..rounds {
        let room = format!("round-{receiver_node}-{round}");
        let sender =
            Peer::join(&mesh.node(0).ws(), PeerOptions::new(&room, "sender").audio().send_only()).await?;
        wait::until("the sender sends", SOON, async || {
            ensure!(sender.stats().packets_sent > 2, "nothing yet");
            Ok(())
        })
        .await?;
        let receiver =
            Peer::join(&mesh.node(receiver_node).ws(), PeerOptions::new(&room, "receiver")).await?;
        let received = receiver.expect_packets("sender", Kind::Audio, 1, SOON).await?;
        let first = received.first_packet.context("a packet has a time")?;
        times.push(first.duration_since(receiver.opened()).as_secs_f64() * 1000.0);
        receiver.leave().await;
        sender.leave().await;
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    Ok(Times { rounds: times.len(), p50_ms: at(0.5), p95_ms: at(0.95), max_ms: at(1.0) })
}

async fn watch_idle(mesh: &Mesh, time: Duration) -> anyhow::Result<Idle> {
    let processes =
        mesh.nodes().iter().map(|node| Process::new(i32::try_from(node.pid())?).context("a node's process"));
    let processes: Vec<_> = processes.collect::<anyhow::Result<_>>()?;
    let ticks = |process: &Process| -> anyhow::Result<u64> {
        let stat = process.stat()?;
        Ok(stat.utime + stat.stime)
    };
    let before: Vec<_> = processes.iter().map(ticks).collect::<anyhow::Result<_>>()?;
    tokio::time::sleep(time).await;
    let mut idle = Idle { cpu_percent: 0.0, rss_mb: 0.0 };
    for (process, before) in processes.iter().zip(before) {
        let seconds = (ticks(process)? - before) as f64 / procfs::ticks_per_second() as f64;
        idle.cpu_percent = idle.cpu_percent.max(seconds / time.as_secs_f64() * 100.0);
        let pages = process.stat()?.rss as f64;
        idle.rss_mb = idle.rss_mb.max(pages * procfs::page_size() as f64 / 1e6);
    }
    Ok(idle)
}

/// What was measured, what it should be at most, and whether it is.
fn verdicts(report: &Report) -> Vec<(&'static str, f64, f64, bool)> {
    let piped_target = report.local.p50_ms + PIPED_MORE_MS;
    let rows = [
        ("first RTP, local, p50, ms", report.local.p50_ms, LOCAL_P50_MS),
        ("first RTP, piped, p50, ms", report.piped.p50_ms, piped_target),
        ("idle node, CPU, % of a core", report.idle.cpu_percent, IDLE_CPU_PERCENT),
        ("idle node, memory, MB", report.idle.rss_mb, IDLE_RSS_MB),
    ];
    rows.into_iter().map(|(what, value, target)| (what, value, target, value <= target)).collect()
}

fn print(report: &Report) {
    println!("{:<30} {:>10} {:>10}", "", "measured", "at most");
    for (what, value, target, met) in verdicts(report) {
        println!("{what:<30} {value:>10.1} {target:>10.1}  {}", if met { "ok" } else { "MISSED" });
    }
    for (what, times) in [("local", &report.local), ("piped", &report.piped)] {
        println!(
            "{:<30} {:>10.1} {:>10}  slowest {:.1}, {} rounds",
            format!("first RTP, {what}, p95, ms"),
            times.p95_ms,
            "-",
            times.max_ms,
            times.rounds
        );
    }
    println!("on {} cores, load {:.1}", report.cores, report.load);
}
