//! The client's edge: a WebSocket on any node, relayed to the host that the room's home chose.

mod admit;
mod socket;
mod sockets;
#[cfg(test)]
mod tests;
mod waiting;

pub use sockets::Sockets;

use crate::media::Counts;
use crate::mesh::Mesh;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use skein_bootstrap::config;
use skein_bootstrap::token::Verifier;
use skein_proto::ids::{PeerId, RoomId};
use skein_proto::room::{RoomError, RoomWish};
use skein_proto::signaling::{Role, SUBPROTOCOL};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a WebSocket library takes at most before it gives up on the connection; frames over the configured limit but
/// within this one are answered with a close code and a reason.
const HARD_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// What the edge counts.
#[derive(Debug, Default)]
pub struct SignalingCounters {
    /// WebSockets taken.
    pub sockets_opened: AtomicU64,
    /// Upgrades refused with 400.
    pub malformed: AtomicU64,
    /// Upgrades refused with 401.
    pub unauthorized: AtomicU64,
    /// Joins that the mesh refused: room full, mesh full, no answer.
    pub refused: AtomicU64,
    /// Sockets closed because a frame was too large.
    pub frames_too_large: AtomicU64,
    /// Sockets closed because the client sent too much.
    pub floods: AtomicU64,
    /// Clients that went without a word.
    pub vanished: AtomicU64,
    /// Joins that waited for a machine until their time was up.
    pub impatient: AtomicU64,
    /// Clients that wait for a machine right now.
    pub waiting: AtomicUsize,
}

impl SignalingCounters {
    /// All of them by name.
    pub fn read(&self) -> Vec<(&'static str, u64)> {
        [
            ("sockets_opened", &self.sockets_opened),
            ("sockets_malformed", &self.malformed),
            ("sockets_unauthorized", &self.unauthorized),
            ("joins_refused", &self.refused),
            ("client_frames_too_large", &self.frames_too_large),
            ("client_floods", &self.floods),
            ("clients_vanished", &self.vanished),
            ("joins_waited_in_vain", &self.impatient),
        ]
        .into_iter()
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
        .collect()
    }
}

/// What the edge works with.
pub struct Signaling {
    /// The mesh.
    pub mesh: Mesh,
    /// Limits.
    pub limits: config::Signaling,
    /// What rooms are like.
    pub rooms: config::Room,
    /// How long a client that knows Skein's additions waits for a machine.
    pub patience: Duration,
    /// How many clients wait for one at most.
    pub max_waiting: usize,
    /// Checks client tokens, where the mesh asks for them.
    pub verifier: Option<Verifier>,
    /// The WebSockets that stand.
    pub sockets: Arc<Sockets>,
    /// What the node holds.
    pub counts: Arc<Counts>,
    /// What the edge counts.
    pub counters: SignalingCounters,
    /// Owns the sockets' tasks.
    pub tasks: TaskTracker,
    /// Ends them.
    pub cancel: CancellationToken,
}

/// A client's query parameters; unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Query {
    room_id: Option<String>,
    peer_id: Option<String>,
    token: Option<String>,
    skein: Option<String>,
    role: Option<String>,
    mode: Option<String>,
    size: Option<String>,
    guaranteed: Option<String>,
    last_n: Option<String>,
    #[serde(rename = "move")]
    moving: Option<String>,
}

/// A client that was let in.
struct Client {
    room: RoomId,
    peer: PeerId,
    /// The most that it may be.
    role: Role,
    /// What it asks to be, or its token says.
    asked: Option<Role>,
    /// What the room should be like.
    wish: RoomWish,
    /// The token of a move.
    moving: Option<String>,
    skein: bool,
}

fn refuse(status: StatusCode, reason: String) -> Response {
    (status, format!("{reason}\n")).into_response()
}

impl Signaling {
    /// Answers a WebSocket upgrade: 400 names what is missing or malformed, 401 says nothing.
    pub fn upgrade(
        self: Arc<Self>,
        upgrade: WebSocketUpgrade,
        headers: &HeaderMap,
        query: &Query,
    ) -> Response {
        let room = match parse::<RoomId>("roomId", query.room_id.as_deref()) {
            Ok(room) => room,
            Err(reason) => return self.malformed(reason),
        };
        let peer = match parse::<PeerId>("peerId", query.peer_id.as_deref()) {
            Ok(peer) => peer,
            Err(reason) => return self.malformed(reason),
        };
        let role = match self.role(headers, query, &room, &peer) {
            Some(role) => role,
            None => {
                self.counters.unauthorized.fetch_add(1, Ordering::Relaxed);
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                return (StatusCode::UNAUTHORIZED, challenge, "not authorized\n").into_response();
            }
        };
        if self.sockets.are_closed() {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "the node goes: dial another".to_owned());
        }
        if self.counts.sockets.load(Ordering::Relaxed) >= self.limits.max_sockets {
            return refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "the node holds as many clients as it may".to_owned(),
            );
        }
        let asked = match query.role.as_deref().map(str::parse::<Role>).transpose() {
            Ok(asked) => asked,
            Err(reason) => return self.malformed(reason),
        };
        if let Some(asked) = asked.filter(|asked| *asked > role) {
            let reason = format!("role: is {asked}, and the token allows {role} at most");
            return refuse(StatusCode::FORBIDDEN, reason);
        }
        let wish = match query.wish(&self.rooms) {
            Ok(wish) => wish,
            Err(reason) => return self.malformed(reason),
        };
        if !wish.is_empty() && !role.may_moderate() {
            let reason =
                "mode, size, guaranteed, lastN: the token does not allow to say what the room is like";
            return refuse(StatusCode::FORBIDDEN, reason.to_owned());
        }
        // What a token says a peer is, it is; without tokens the room's mode decides.
        let asked = asked.or(self.verifier.as_ref().map(|_| role));
        let skein = query.skein.as_deref() == Some("1");
        let client = Client { room, peer, role, asked, wish, moving: query.moving.clone(), skein };
        let edge = Arc::clone(&self);
        upgrade
            .protocols([SUBPROTOCOL])
            .max_message_size(HARD_FRAME_BYTES)
            .max_frame_size(HARD_FRAME_BYTES)
            .on_upgrade(move |socket| async move {
                let tasks = edge.tasks.clone();
                // A task of the node's own, so that its shutdown waits for it.
                let _ = tasks.spawn(socket::serve(edge, client, socket)).await;
            })
    }

    fn malformed(&self, reason: String) -> Response {
        self.counters.malformed.fetch_add(1, Ordering::Relaxed);
        refuse(StatusCode::BAD_REQUEST, reason)
    }

    fn role(&self, headers: &HeaderMap, query: &Query, room: &RoomId, peer: &PeerId) -> Option<Role> {
        let Some(verifier) = &self.verifier else { return Some(Role::Moderate) };
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
        let token = query.token.as_deref().or(bearer)?;
        match verifier.verify(token, room, peer) {
            Ok(claims) => Some(claims.role),
            Err(error) => {
                tracing::debug!(%room, %peer, %error, "a client's token is refused");
                None
            }
        }
    }
}

impl Query {
    /// What the room should be like.
    fn wish(&self, rooms: &config::Room) -> Result<RoomWish, String> {
        let number = |name: &str, value: &Option<String>| {
            let parse = |text: &String| {
                text.parse::<u32>()
                    .map_err(|_| format!("{name}: {text:?} is not a number from 0 to {}", u32::MAX))
            };
            value.as_ref().map(parse).transpose()
        };
        let guaranteed = match self.guaranteed.as_deref() {
            None => None,
            Some("1" | "true") => Some(true),
            Some("0" | "false") => Some(false),
            Some(other) => return Err(format!("guaranteed: {other:?} is neither true nor false")),
        };
        let mode = self.mode.as_deref().map(str::parse).transpose().map_err(|e: RoomError| e.to_string())?;
        let wish = RoomWish {
            mode,
            size: number("size", &self.size)?,
            guaranteed,
            last_n: number("lastN", &self.last_n)?,
        };
        wish.options(&rooms.options(), rooms.max_size).map_err(|error| error.to_string())?;
        Ok(wish)
    }
}

fn parse<T: std::str::FromStr<Err = skein_proto::ids::NameError>>(
    name: &str,
    value: Option<&str>,
) -> Result<T, String> {
    value
        .ok_or_else(|| format!("{name} is missing"))
        .and_then(|value| value.parse().map_err(|error| format!("{name} {error}")))
}
