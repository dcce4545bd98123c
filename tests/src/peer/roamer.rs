//! A peer that goes where the mesh asks it to, as a browser with the SDK does: it connects to the other host too, and
//! lets go of the first when everything flows there.

use super::{Kind, Peer, PeerOptions};
use anyhow::Context;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// How long what is received may take to flow on the other host before the first is left all the same.
const LIMIT: Duration = Duration::from_secs(5);
/// How long both go on once all flows, so that the others can change over as well.
const OVERLAP: Duration = Duration::from_millis(500);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The close code that tells a client to dial again.
const RESTART: u16 = 1012;
/// As good as for ever.
const DAY: Duration = Duration::from_secs(24 * 3600);

struct State {
    peer: Arc<Peer>,
    moves: u32,
    failed: Vec<String>,
    /// The longest times without a packet on the connections before, by sender and kind.
    gaps: BTreeMap<(String, String), Duration>,
}

/// A peer that moves when it is asked to. Dropping it drops its connection.
pub struct Roamer {
    state: Arc<Mutex<State>>,
    _task: AbortOnDropHandle<()>,
}

impl Roamer {
    /// As [`Peer::join`], with `skein=1`.
    ///
    /// # Errors
    /// When the node refuses something.
    pub async fn join(url: &str, options: PeerOptions) -> anyhow::Result<Self> {
        let options = options.skein();
        let peer = Arc::new(Peer::join(url, options.clone()).await?);
        let state = Arc::new(Mutex::new(State { peer, moves: 0, failed: Vec::new(), gaps: BTreeMap::new() }));
        let task = tokio::spawn(roam(url.to_owned(), options, Arc::clone(&state)));
        Ok(Self { state, _task: AbortOnDropHandle::new(task) })
    }

    /// The peer, where it is now.
    pub fn peer(&self) -> Arc<Peer> {
        Arc::clone(&self.state.lock().peer)
    }

    /// How often it has moved.
    pub fn moves(&self) -> u32 {
        self.state.lock().moves
    }

    /// Why it could not move when it was asked to, each time.
    pub fn failed(&self) -> Vec<String> {
        self.state.lock().failed.clone()
    }

    /// The longest time for which nothing came of a peer, since [`Roamer::forget_gaps`], whatever it moved meanwhile: its
    /// connections overlap. None where nothing came at all.
    pub fn gap(&self, of: &str, kind: Kind) -> Option<Duration> {
        let of = (of.to_owned(), kind.as_str().to_owned());
        let state = self.state.lock();
        let now = state.peer.stats().evenness.get(&of).map(|even| even.gap(Instant::now().into_std()));
        now.max(state.gaps.get(&of).copied())
    }

    /// Counts anew from now on.
    pub fn forget_gaps(&self) {
        let mut state = self.state.lock();
        state.gaps.clear();
        state.peer.forget_gaps();
    }

    /// Leaves with a closing handshake.
    pub async fn leave(self) {
        drop(self._task);
        let peer = Arc::clone(&self.state.lock().peer);
        leave(&peer).await;
    }
}

async fn leave(peer: &Peer) {
    peer.protoo().close().await;
    let _ = peer.protoo().expect_close(Duration::from_secs(3)).await;
}

async fn roam(mut url: String, options: PeerOptions, state: Arc<Mutex<State>>) {
    let mut shown = BTreeSet::new();
    loop {
        let old = Arc::clone(&state.lock().peer);
        let token = tokio::select! {
            closed = old.protoo().closed() => {
                if closed.code != RESTART {
                    return;
                }
                None
            }
            asked = old.protoo().expect_request("move", DAY, |data| !shown.contains(&data["token"].to_string())) => {
                let Ok(asked) = asked else { continue };
                shown.insert(asked.data["token"].to_string());
                // Its entry goes: it comes by another from now on.
                if let Some(other) = asked.data["endpoints"][0].as_str() {
                    other.clone_into(&mut url);
                }
                asked.data["token"].as_str().map(str::to_owned)
            }
        };
        match follow(&url, &options, &old, token.as_deref()).await {
            Ok(next) => {
                let mut state = state.lock();
                let now = Instant::now().into_std();
                for (of, even) in old.stats().evenness {
                    let gap = state.gaps.entry(of).or_default();
                    *gap = even.gap(now).max(*gap);
                }
                state.peer = Arc::new(next);
                state.moves += 1;
            }
            Err(error) => {
                state.lock().failed.push(format!("{error:#}"));
                if token.is_none() {
                    return;
                }
                continue;
            }
        }
        leave(&old).await;
    }
}

async fn follow(url: &str, options: &PeerOptions, old: &Peer, token: Option<&str>) -> anyhow::Result<Peer> {
    let Some(token) = token else { return Peer::join(url, options.clone()).await };
    let next = Peer::join(url, options.clone().query("move", token)).await.context("move")?;
    let until = Instant::now() + LIMIT;
    while Instant::now() < until && !flows(old, &next) {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(OVERLAP).await;
    Ok(next)
}

/// Whether all that flows to one connection flows to the other.
fn flows(old: &Peer, next: &Peer) -> bool {
    let open: Vec<_> = old
        .stats()
        .received
        .into_values()
        .filter(|one| !one.closed && !one.paused && one.packets > 0)
        .collect();
    open.iter().all(|one| next.received_from(&one.producer).is_some_and(|one| one.packets > 0))
}
