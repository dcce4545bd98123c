//! One client's WebSocket: frames pass between it and the session on its host.

use super::admit::{self, AdmitError};
use super::sockets::Seat;
use super::waiting::{self, Early};
use super::{Client, Signaling};
use crate::mesh::{MeshReceiver, MeshSender, MeshStream};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use skein_proto::rpc::{Admit, Admitted, Open, Refusal, SessionFrame, SessionOpen, Wait};
use skein_proto::signaling::CLOSE_FOR_GOOD;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a client may take nothing before it is cut off.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// How long the closing handshake may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// How long a host that takes nothing any more is heard for why.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How often a client may be placed again when the host that it was given is gone already.
const PLACEMENTS: u32 = 3;
/// How many times more frames than requests a client may send: its answers to ours are frames too, one for each
/// consumer in a room.
const FRAMES_PER_REQUEST: NonZeroU32 = NonZeroU32::new(20).expect("not zero");

/// Close codes of RFC 6455, section 7.4.1, and of IANA's registry.
const GOING_AWAY: u16 = 1001;
const UNSUPPORTED: u16 = 1003;
pub(super) const POLICY: u16 = 1008;
const TOO_LARGE: u16 = 1009;
const INTERNAL: u16 = 1011;
const RESTART: u16 = 1012;
pub(super) const TRY_AGAIN: u16 = 1013;

/// How a socket ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client closed it or is gone.
    Client(String),
    /// The node closes it.
    Close(u16, String),
}

pub(super) fn close(code: u16, reason: impl Into<String>) -> End {
    End::Close(code, reason.into())
}

/// Serves a client for as long as its socket lasts.
pub(super) async fn serve(edge: Arc<Signaling>, client: Client, socket: WebSocket) {
    let _counted = edge.counts.hold(|counts| &counts.sockets);
    let seat = edge.sockets.hold(&client);
    edge.counters.sockets_opened.fetch_add(1, Ordering::Relaxed);
    let (mut sink, mut frames) = socket.split();
    let (room, peer) = (client.room.clone(), client.peer.clone());
    let cancel = edge.cancel.clone();
    let end = tokio::select! {
        () = cancel.cancelled() => close(GOING_AWAY, "the node stops"),
        () = seat.told_to_go() => close(RESTART, "the node goes: dial another"),
        end = relay(&edge, &client, &seat, &mut sink, &mut frames) => end,
    };
    match end {
        End::Close(code, reason) => {
            tracing::debug!(%room, %peer, code, reason, "closing a client's socket");
            let frame = CloseFrame { code, reason: bounded(reason).into() };
            // The closing handshake: what the client still sends is read, or the reset would overtake our reason.
            let _ = tokio::time::timeout(CLOSE_DEADLINE, async {
                let _ = sink.send(Message::Close(Some(frame))).await;
                while let Some(Ok(_)) = frames.next().await {}
            })
            .await;
        }
        End::Client(how) => {
            // The library has put our half of the closing handshake into the sink; it still has to be sent.
            let _ = tokio::time::timeout(CLOSE_DEADLINE, sink.close()).await;
            tracing::debug!(%room, %peer, how, "a client's socket closed");
        }
    }
}

/// A close reason has 123 bytes at most (RFC 6455, section 5.5).
fn bounded(mut reason: String) -> String {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

async fn relay(
    edge: &Signaling,
    client: &Client,
    seat: &Seat,
    sink: &mut SplitSink<WebSocket, Message>,
    frames: &mut SplitStream<WebSocket>,
) -> End {
    let inlet = Inlet::new(edge);
    let (stream, early) = match waiting::place(edge, client, seat, &inlet, sink, frames).await {
        Ok(placed) => placed,
        Err(end) => return end,
    };
    let (mut sender, mut receiver) = stream.split();
    let end = tokio::select! {
        end = up(&inlet, early, frames, &mut sender) => end,
        end = down(&inlet, sink, &mut receiver) => end,
    };
    // The host hears of it at once, and not only when the stream ends.
    let frame = match &end {
        End::Client(how) => SessionFrame::Close { code: GOING_AWAY, reason: how.clone() },
        End::Close(code, reason) => SessionFrame::Close { code: *code, reason: reason.clone() },
    };
    let _ = tokio::time::timeout(CLOSE_DEADLINE, async {
        let _ = sender.send(&frame).await;
        sender.finish().await;
    })
    .await;
    end
}

/// Gets the client admitted and opens its session on the host. While there is no place, `waits` is told.
pub(super) async fn place(
    edge: &Signaling,
    client: &Client,
    seat: &Seat,
    waits: &watch::Sender<Option<Wait>>,
) -> Result<MeshStream, End> {
    let mut wish = Admit {
        room: client.room.clone(),
        peer: client.peer.clone(),
        entry: edge.mesh.id().clone(),
        role: client.role,
        asked: client.asked,
        wish: client.wish,
        moving: client.moving.clone(),
        skein: client.skein,
        line: None,
    };
    let mut problem = String::new();
    for _ in 0..PLACEMENTS {
        let Admitted { session, host, role, options, from, quiet } =
            admit::admit(&edge.mesh, &mut wish, waits).await.map_err(|error| {
                edge.counters.refused.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(room = %client.room, peer = %client.peer, %error, "a join is refused");
                match error {
                    AdmitError::Refused(refusal @ (Refusal::NotAllowed(_) | Refusal::Superseded)) => {
                        close(CLOSE_FOR_GOOD, refusal.to_string())
                    }
                    AdmitError::Refused(refusal) => close(TRY_AGAIN, refusal.to_string()),
                    AdmitError::Unreachable(_) => close(INTERNAL, error.to_string()),
                }
            })?;
        let open = SessionOpen {
            session,
            room: client.room.clone(),
            peer: client.peer.clone(),
            worker: host.worker,
            role,
            skein: client.skein,
            options,
            from,
            quiet,
        };
        match edge.mesh.open(&host.node, &Open::Session(open)).await {
            Ok(stream) => {
                seat.hosted(&host.node);
                return Ok(stream);
            }
            Err(error) => problem = error.to_string(),
        }
        wish.line = None;
    }
    Err(close(INTERNAL, format!("the host does not answer: {problem}")))
}

/// What is checked of everything that a client sends.
pub(super) struct Inlet<'a> {
    edge: &'a Signaling,
    rate: DefaultDirectRateLimiter,
    last_heard: Mutex<Instant>,
}

impl<'a> Inlet<'a> {
    fn new(edge: &'a Signaling) -> Self {
        let requests = NonZeroU32::new(edge.limits.requests_per_second).unwrap_or(NonZeroU32::MIN);
        let rate = RateLimiter::direct(Quota::per_second(requests.saturating_mul(FRAMES_PER_REQUEST)));
        Self { edge, rate, last_heard: Mutex::new(Instant::now()) }
    }

    /// The client's next frame. Cancel-safe.
    pub(super) async fn next(&self, frames: &mut SplitStream<WebSocket>) -> Result<String, End> {
        let edge = self.edge;
        loop {
            let message = match frames.next().await {
                Some(Ok(message)) => message,
                // The library's own, much higher limit.
                Some(Err(error)) if error.to_string().contains("too long") => return Err(too_large(edge)),
                Some(Err(error)) => return Err(End::Client(error.to_string())),
                None => return Err(End::Client("the connection ended".to_owned())),
            };
            *self.last_heard.lock() = Instant::now();
            if self.rate.check().is_err() {
                edge.counters.floods.fetch_add(1, Ordering::Relaxed);
                return Err(close(POLICY, "too many frames a second"));
            }
            match message {
                Message::Text(text) if text.len() > edge.limits.max_frame_bytes => {
                    return Err(too_large(edge));
                }
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Binary(bytes) if bytes.len() > edge.limits.max_frame_bytes => {
                    return Err(too_large(edge));
                }
                Message::Binary(_) => return Err(close(UNSUPPORTED, "protoo frames are text")),
                Message::Close(frame) => {
                    let how =
                        frame.map_or_else(String::new, |frame| format!("{} {}", frame.code, frame.reason));
                    return Err(End::Client(format!("closed by the client: {how}")));
                }
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }

    /// A ping that is due, unless the client has not been heard of for too long: one that vanished sends no close.
    pub(super) fn ping(&self) -> Result<Message, End> {
        let patience = Duration::from_secs_f64(self.edge.limits.ping_timeout_s);
        if self.last_heard.lock().elapsed() > patience {
            self.edge.counters.vanished.fetch_add(1, Ordering::Relaxed);
            return Err(End::Client("vanished".to_owned()));
        }
        Ok(Message::Ping(Vec::new().into()))
    }

    /// When pings are due.
    pub(super) fn pings(&self) -> tokio::time::Interval {
        tokio::time::interval(Duration::from_secs_f64(self.edge.limits.ping_interval_s))
    }

    /// Sends the client something.
    ///
    /// # Errors
    /// When it is gone, or takes nothing.
    pub(super) async fn send(
        &self,
        sink: &mut SplitSink<WebSocket, Message>,
        message: Message,
    ) -> Result<(), End> {
        match tokio::time::timeout(SEND_DEADLINE, sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Client(error.to_string())),
            Err(_) => {
                self.edge.counters.vanished.fetch_add(1, Ordering::Relaxed);
                Err(End::Client("takes nothing".to_owned()))
            }
        }
    }
}

/// From the client to its host: what it sent before there was one, then everything.
async fn up(
    inlet: &Inlet<'_>,
    mut early: Early,
    frames: &mut SplitStream<WebSocket>,
    sender: &mut MeshSender,
) -> End {
    loop {
        let text = match early.next() {
            Ok(Some(text)) => text,
            Ok(None) => match inlet.next(frames).await {
                Ok(text) => text,
                Err(end) => return end,
            },
            Err(end) => return end,
        };
        match tokio::time::timeout(SEND_DEADLINE, sender.send(&SessionFrame::Text(text))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                // Its last word, with the code and the reason, may still be on the way to `down`.
                tokio::time::sleep(LAST_WORD).await;
                return close(RESTART, format!("the host is gone: {error}"));
            }
            Err(_) => return close(RESTART, "the host takes nothing"),
        }
    }
}

fn too_large(edge: &Signaling) -> End {
    edge.counters.frames_too_large.fetch_add(1, Ordering::Relaxed);
    close(TOO_LARGE, format!("a frame over {} bytes", edge.limits.max_frame_bytes))
}

/// From the host to the client; and pings.
async fn down(
    inlet: &Inlet<'_>,
    sink: &mut SplitSink<WebSocket, Message>,
    receiver: &mut MeshReceiver,
) -> End {
    let mut pings = inlet.pings();
    loop {
        let message = tokio::select! {
            frame = receiver.recv::<SessionFrame>() => match frame {
                Ok(Some(SessionFrame::Text(text))) => Message::Text(text.into()),
                Ok(Some(SessionFrame::Close { code, reason })) => {
                    if code == POLICY {
                        inlet.edge.counters.floods.fetch_add(1, Ordering::Relaxed);
                    }
                    return close(code, reason);
                }
                Ok(None) => return close(RESTART, "the host ended the session"),
                Err(error) => return close(RESTART, format!("the host is gone: {error}")),
            },
            _ = pings.tick() => match inlet.ping() {
                Ok(ping) => ping,
                Err(end) => return end,
            },
        };
        if let Err(end) = inlet.send(sink, message).await {
            return end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bounded;

    #[test]
    fn reasons_fit_a_close_frame() {
        assert_eq!(bounded("short".to_owned()), "short");
        assert_eq!(bounded("ä".repeat(100)).len(), 122);
    }
}
