//! A hundred come at once and send: as many get in as can be carried, and nobody is promised more than there is.

use anyhow::ensure;
use futures::future::{join_all, try_join_all};
use skein_proto::capacity::REFERENCE;
use skein_tests::peer::{Kind, Roamer, Video};
use skein_tests::{Mesh, MeshBuilder, PeerOptions, run, wait};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const JOINS: usize = 100;
/// What each node carries: together less than all of them send to each other in the end, in rooms of their own.
const STREAMS: u64 = 34;
/// Rooms of two, three and four, again and again.
const PEERS_OF_THREE_ROOMS: usize = 2 + 3 + 4;
/// What each sends: a voice, and a small picture that says how small it is.
const KINDS: [Kind; 2] = [Kind::Audio, Kind::Video];
/// What is kept for somebody expires after five seconds: on a machine on which a join takes as long, more can go wrong.
const SLOW: Duration = Duration::from_secs(5);
/// How much more than it can a worker may count for a moment, one part in so many: on such a machine what is kept for a
/// peer may expire while it moves.
const MOVING: u64 = 6;
/// For so long who is refused comes again, and how soon. What peers are expected to send at first is then no longer kept
/// for them.
const AGAIN: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_secs(2);
/// How long it takes at most until all media flows, with peers that still move.
const FLOWS: Duration = Duration::from_secs(40);

fn room(number: usize) -> usize {
    let first = number / PEERS_OF_THREE_ROOMS * 3;
    first + [0, 0, 1, 1, 1, 2, 2, 2, 2][number % PEERS_OF_THREE_ROOMS]
}

struct Guest {
    room: usize,
    id: String,
    roamer: Roamer,
}

/// What became of one who came.
struct Outcome {
    guest: Option<Guest>,
    /// How often it was told that the mesh is full.
    refused: u32,
    /// How long it waited at most for that, or to be in.
    slowest: Duration,
}

/// Comes again while it is refused, as people do.
async fn comes(mesh: &Mesh, number: usize, until: Instant) -> anyhow::Result<Outcome> {
    let (room, id) = (room(number), format!("p{number}"));
    let options = PeerOptions::new(&format!("room-{room}"), &id).audio().video(Video::Declared);
    let mut outcome = Outcome { guest: None, refused: 0, slowest: Duration::ZERO };
    loop {
        let begun = Instant::now();
        let joined = Roamer::join(&mesh.node(number % 3).ws(), options.clone()).await;
        outcome.slowest = outcome.slowest.max(begun.elapsed());
        let error = match joined {
            Ok(roamer) => return Ok(Outcome { guest: Some(Guest { room, id, roamer }), ..outcome }),
            Err(error) => format!("{error:#}"),
        };
        if error.contains("mesh full") {
            outcome.refused += 1;
        } else {
            // Told to dial again it is sent elsewhere; and a machine may be too slow for a hundred at once.
            ensure!(error.contains("1012") || outcome.slowest > SLOW, "{error}");
        }
        if Instant::now() >= until {
            return Ok(outcome);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How much more the worker carries and promises than it can, packets a second.
async fn over(mesh: &Mesh) -> anyhow::Result<(u64, String)> {
    let mut most = (0, String::new());
    for node in mesh.nodes() {
        for worker in node.operator().node().await?.workers {
            let over = (worker.packets + worker.free_packets).saturating_sub(worker.total_packets);
            if over > most.0 {
                most = (over, format!("{}: {worker:?}", node.id()));
            }
        }
    }
    Ok(most)
}

/// How many packets everyone has of everyone else in its room.
fn packets(guests: &[Guest]) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for guest in guests {
        let peer = guest.roamer.peer();
        ensure!(peer.protoo().is_closed().is_none(), "{}: {:?}", guest.id, peer.protoo().is_closed());
        for other in guests.iter().filter(|other| other.room == guest.room && other.id != guest.id) {
            for kind in KINDS {
                let what = format!("{}'s {} at {}", other.id, kind.as_str(), guest.id);
                // While it moves there are two.
                let received = peer.stats().received.into_values();
                let its = received.filter(|one| one.peer == other.id && one.kind == kind.as_str());
                all.insert(what, its.map(|one| one.packets).sum());
            }
        }
    }
    Ok(all)
}

/// Waits until everyone has received something of everyone else in its room. Answers how many packets came in a second.
async fn all_flow(guests: &[Guest]) -> anyhow::Result<u64> {
    let mut waiting: BTreeSet<_> = packets(guests)?.into_keys().collect();
    wait::until("all media flows", FLOWS, async || {
        let (before, since) = (packets(guests)?, Instant::now());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (after, time) = (packets(guests)?, since.elapsed());
        // Some are always on their way; who moved counts from its first packet on.
        waiting.retain(|what| after.get(what) == before.get(what));
        ensure!(waiting.is_empty(), "{} of {} stand still: {waiting:?}", waiting.len(), before.len());
        let more =
            |(what, now): (&String, &u64)| now.saturating_sub(before.get(what).copied().unwrap_or(*now));
        let more: u64 = after.iter().map(more).sum();
        Ok((more as f64 / time.as_secs_f64()) as u64)
    })
    .await
}

/// What the nodes say that they send, packets a second.
async fn carried(mesh: &Mesh) -> anyhow::Result<Vec<u64>> {
    let nodes = try_join_all(mesh.nodes().iter().map(|node| node.operator().node())).await?;
    Ok(nodes.iter().map(|node| node.workers.iter().map(|worker| worker.packets).sum()).collect())
}

#[test]
fn a_burst_of_a_hundred_who_send_overloads_no_worker() {
    run(180, async {
        let mesh = MeshBuilder::new()
            .set("media.streams_per_worker", &STREAMS.to_string())
            // A machine that is busy with more than this is no reason to take anybody for gone.
            .set("signaling.ping_timeout_s", "60")
            // Who is refused comes again.
            .set("placement.wait_s", "0")
            .start()
            .await?;
        let done = AtomicBool::new(false);
        let watch = async {
            let (mut samples, mut most) = (0, (0, String::new()));
            while !done.load(Ordering::Relaxed) {
                // Of a machine that is too slow to answer in time there are fewer.
                if let Ok(now) = over(&mesh).await {
                    most = most.max(now);
                    samples += mesh.nodes().len();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok((samples, most))
        };
        let burst = async {
            let until = Instant::now() + AGAIN;
            let outcomes = join_all((0..JOINS).map(|number| comes(&mesh, number, until))).await;
            let (mut guests, mut refused, mut slowest) = (Vec::new(), Vec::new(), Duration::ZERO);
            for outcome in outcomes {
                let outcome = outcome?;
                slowest = slowest.max(outcome.slowest);
                match outcome.guest {
                    Some(guest) => guests.push(guest),
                    None => refused.push(outcome.refused),
                }
            }
            eprintln!("{} in, the others refused {refused:?} times, answers in {slowest:?}", guests.len());
            ensure!(!refused.is_empty(), "they all fit");
            let enough = if slowest > SLOW { JOINS / 10 } else { 2 * JOINS / 3 };
            ensure!(guests.len() >= enough, "only {} are in", guests.len());
            ensure!(slowest > SLOW || refused.iter().all(|times| *times > 0), "{refused:?}");
            // What the nodes count is what the clients count, and what goes through pipes.
            let (received, carried) = wait::until("the load is that of the media", 2 * FLOWS, async || {
                let (received, carried) = (all_flow(&guests).await?, carried(&mesh).await?);
                let sum: u64 = carried.iter().sum();
                ensure!(carried.iter().all(|packets| *packets > 0), "{carried:?}");
                ensure!(sum > received / 2 && sum < received * 2, "{carried:?}, and {received} arrive");
                Ok((received, carried))
            })
            .await?;
            eprintln!("{received} packets a second arrive, {carried:?} are counted");
            let much = 3 * STREAMS * REFERENCE.packets / 4;
            ensure!(slowest > SLOW || received > much, "hardly anything is sent: {received}");
            anyhow::Ok((guests, slowest))
        };
        let burst = async {
            let guests = burst.await;
            done.store(true, Ordering::Relaxed);
            guests
        };
        let (samples, guests) = futures::future::join(watch, burst).await;
        let ((samples, (over, worker)), (guests, slowest)) = (samples?, guests?);
        let moves: u32 = guests.iter().map(|guest| guest.roamer.moves()).sum();
        ensure!(samples >= 20, "only {samples} samples");
        eprintln!("{samples} samples, {moves} moves, at most {over} too many");
        ensure!(
            over <= STREAMS * REFERENCE.packets / MOVING,
            "{over} packets a second too many, with answers in {slowest:?}: {worker}"
        );
        // Once nobody moves nothing is too much.
        wait::until("all are within their budgets", FLOWS, async || {
            let (over, worker) = self::over(&mesh).await?;
            ensure!(over == 0, "{over} packets a second too many: {worker}");
            Ok(())
        })
        .await?;
        join_all(guests.into_iter().map(|guest| guest.roamer.leave())).await;
        mesh.is_empty(FLOWS).await
    });
}
