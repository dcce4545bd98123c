//! A client until there is a place for it. One that knows Skein's additions is told that it waits and for how long, and
//! keeps its socket for as long as its patience is set to. Any other's first request stays open for a while; then its socket is closed
//! so that it dials again, and its place in line is kept until it does.

use super::admit;
use super::socket::{End, Inlet, POLICY, TRY_AGAIN, close, place as place_now};
use super::sockets::Seat;
use super::{Client, Signaling};
use crate::mesh::MeshStream;
use axum::extract::ws::{Message, WebSocket};
use futures::stream::{SplitSink, SplitStream};
use skein_proto::rpc::{Unwait, Wait};
use skein_proto::signaling::{CLOSE_FOR_GOOD, Notification, notification};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a client that does not know Skein's additions is left without an answer: protoo-client waits for 22.5 s.
const PLAIN_PATIENCE: Duration = Duration::from_secs(20);
/// How often an estimate is told at most.
const TELL: Duration = Duration::from_secs(1);
/// How many frames, and bytes in them, are kept of a client before there is a place for it. The first request of all
/// wants an answer before there can be a second.
const EARLY_FRAMES: usize = 64;
const EARLY_BYTES: usize = 256 * 1024;

/// What a client is told that it waits for: where the mesh grows, and where it cannot.
const MACHINE: &str = "a machine is being started";
const FULL: &str = "the mesh is full just now";

/// What a client sent before there was a place for it.
#[derive(Debug, Default)]
pub(super) struct Early {
    frames: VecDeque<String>,
    bytes: usize,
    end: Option<End>,
}

impl Early {
    fn push(&mut self, text: String) {
        self.bytes += text.len();
        self.frames.push_back(text);
    }

    fn is_full(&self) -> bool {
        self.frames.len() >= EARLY_FRAMES || self.bytes >= EARLY_BYTES
    }

    /// What it sent next; nothing any more when all of that was taken.
    ///
    /// # Errors
    /// How it ended, where it did.
    pub(super) fn next(&mut self) -> Result<Option<String>, End> {
        match self.frames.pop_front() {
            Some(text) => Ok(Some(text)),
            None => self.end.take().map_or(Ok(None), Err),
        }
    }
}

/// Counts a client that waits, while it does.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(edge: &'a Signaling) -> Option<Self> {
        let waiting = &edge.counters.waiting;
        let counted = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < edge.max_waiting).then_some(counted)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gets the client admitted, however long that may take, and opens its session. Answers also what it sent meanwhile.
///
/// # Errors
/// How its socket ends: it is refused, has waited for too long, sent what it must not, or is gone.
pub(super) async fn place(
    edge: &Signaling,
    client: &Client,
    seat: &Seat,
    inlet: &Inlet<'_>,
    sink: &mut SplitSink<WebSocket, Message>,
    frames: &mut SplitStream<WebSocket>,
) -> Result<(MeshStream, Early), End> {
    let waits = watch::Sender::new(None);
    let mut early = Early::default();
    let (end, keeps) = tokio::select! {
        placed = place_now(edge, client, seat, &waits) => match placed {
            Ok(stream) => return Ok((stream, early)),
            // It has no place in line then.
            Err(end) => return Err(end),
        },
        end = hear(inlet, frames, &mut early, waits.subscribe()) => (end, false),
        (end, keeps) = tell(edge, client, inlet, sink, waits.subscribe()) => (end, keeps),
    };
    let line = waits.borrow().as_ref().map(|wait| wait.line);
    if let Some(line) = line
        && !keeps
    {
        let (room, peer) = (client.room.clone(), client.peer.clone());
        edge.tasks.spawn(admit::unwait(edge.mesh.clone(), Unwait { room, peer, session: line.session }));
    }
    Err(end)
}

/// Keeps what the client sends. Ends when it closes its socket, or sends what it must not.
async fn hear(
    inlet: &Inlet<'_>,
    frames: &mut SplitStream<WebSocket>,
    early: &mut Early,
    mut waits: watch::Receiver<Option<Wait>>,
) -> End {
    loop {
        if early.is_full() {
            // Most are placed in a moment: what they send then waits in the socket.
            if waits.wait_for(Option::is_some).await.is_err() {
                return std::future::pending().await;
            }
            return close(POLICY, "too much was sent before there was a place");
        }
        match inlet.next(frames).await {
            Ok(text) => early.push(text),
            Err(end) => {
                // Who is about to be placed is, and its host hears that it is gone: so nothing is kept for it in vain.
                early.end = Some(end);
                let _ = waits.wait_for(Option::is_some).await;
                return match early.end.take() {
                    Some(end) => end,
                    None => std::future::pending().await,
                };
            }
        }
    }
}

/// Tells a client that it waits, as long as it has patience. Answers how that ends, and whether it keeps its place in line.
async fn tell(
    edge: &Signaling,
    client: &Client,
    inlet: &Inlet<'_>,
    sink: &mut SplitSink<WebSocket, Message>,
    mut waits: watch::Receiver<Option<Wait>>,
) -> (End, bool) {
    let began = Instant::now();
    let first = match waits.wait_for(Option::is_some).await.ok().and_then(|wait| *wait) {
        Some(wait) => wait,
        // Cannot be: who places it says so.
        None => return std::future::pending().await,
    };
    let Some(_counted) = Waits::begin(edge) else {
        edge.counters.refused.fetch_add(1, Ordering::Relaxed);
        return (close(TRY_AGAIN, "mesh full"), false);
    };
    tracing::debug!(room = %client.room, peer = %client.peer, eta_s = first.eta_s, "a join waits");
    let patience = if client.skein { edge.patience } else { edge.patience.min(PLAIN_PATIENCE) };
    let over = tokio::time::sleep_until(began + patience);
    tokio::pin!(over);
    let (mut ticks, mut pings) = (tokio::time::interval(TELL), inlet.pings());
    let mut eta = (first.eta_s > 0).then_some(first.eta_s);
    let mut told = None;
    loop {
        let message = tokio::select! {
            () = &mut over => {
                edge.counters.impatient.fetch_add(1, Ordering::Relaxed);
                return match client.skein {
                    true => (close(CLOSE_FOR_GOOD, given_up(patience)), false),
                    false => (close(TRY_AGAIN, "no place yet, try again"), true),
                };
            }
            _ = ticks.tick() => {
                eta = estimate(edge, eta);
                if !client.skein || told == Some(eta) {
                    continue;
                }
                told = Some(eta);
                let reason = if eta.is_some() || grows(edge) { MACHINE } else { FULL };
                let waiting = Notification::Waiting { reason: reason.to_owned(), eta_seconds: eta };
                Message::Text(notification(&waiting).into())
            }
            _ = pings.tick() => match inlet.ping() {
                Ok(ping) => ping,
                Err(end) => return (end, false),
            },
        };
        if let Err(end) = inlet.send(sink, message).await {
            return (end, false);
        }
    }
}

/// Whether somebody leads who says that there will be more room.
fn grows(edge: &Signaling) -> bool {
    edge.mesh.view().borrow().leader().is_some_and(|leader| leader.lead.promises_room())
}

fn given_up(patience: Duration) -> String {
    format!("no machine came within {} s", patience.as_secs_f64().round())
}

/// In how many seconds a place can be expected: what the leader says, or what was heard last where nobody leads.
fn estimate(edge: &Signaling, last: Option<u32>) -> Option<u32> {
    match edge.mesh.view().borrow().leader() {
        Some(leader) => (leader.lead.eta_s > 0).then_some(leader.lead.eta_s),
        None => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_early_is_kept_in_order_and_bounded() {
        let mut early = Early::default();
        for number in 0..EARLY_FRAMES {
            assert!(!early.is_full());
            early.push(number.to_string());
        }
        assert!(early.is_full());
        assert!(matches!(early.next(), Ok(Some(text)) if text == "0"));
        early.end = Some(End::Client("gone".to_owned()));
        for _ in 1..EARLY_FRAMES {
            assert!(matches!(early.next(), Ok(Some(_))));
        }
        assert!(matches!(early.next(), Err(End::Client(_))));
        assert!(matches!(early.next(), Ok(None)));
        let mut early = Early::default();
        early.push("x".repeat(EARLY_BYTES));
        assert!(early.is_full());
    }
}
