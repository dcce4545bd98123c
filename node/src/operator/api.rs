//! The routes.

use super::gather::AskError;
use super::{Operator, metrics, pages};
use crate::signaling::Query as ClientQuery;
use axum::Router;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use futures::stream::{self, Stream, StreamExt};
use skein_proto::ids::{NodeId, PeerId, RoomId};
use skein_proto::operator::{ApiError, DrainRequest, Event, MoveRequest, NodeState, UndrainRequest};
use skein_proto::rpc::{Call, MovePeer};
use std::convert::Infallible;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio::sync::broadcast::error::RecvError;

/// All routes of a node.
pub fn routes(operator: Arc<Operator>) -> Router {
    let guarded = Router::new()
        .route("/v1/mesh", get(mesh))
        .route("/v1/scaling", get(scaling))
        .route("/v1/rooms", get(rooms))
        .route("/v1/rooms/{id}", get(room))
        .route("/v1/rooms/{id}/peers/{peer}/move", post(move_peer))
        .route("/v1/nodes/{id}/drain", post(drain))
        .route("/v1/nodes/{id}/undrain", post(undrain))
        .route("/v1/node", get(node))
        .route("/v1/events", get(events))
        .route("/metrics", get(metrics_text))
        .layer(from_fn_with_state(Arc::clone(&operator), authorize));
    Router::new()
        .route("/", get(root))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(guarded)
        .fallback(get(other))
        .with_state(operator)
}

fn error(status: StatusCode, text: impl Into<String>) -> Response {
    (status, Json(ApiError { error: text.into() })).into_response()
}

async fn authorize(State(operator): State<Arc<Operator>>, request: Request, next: Next) -> Response {
    if let Some(token) = &operator.token {
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
        if !bool::from(given.as_bytes().ct_eq(token.as_bytes())) {
            let mut response = error(StatusCode::UNAUTHORIZED, "not authorized");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            return response;
        }
    }
    next.run(request).await
}

/// A client's WebSocket, or the room page.
async fn root(
    State(operator): State<Arc<Operator>>,
    headers: HeaderMap,
    query: Result<Query<ClientQuery>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let wants_socket = headers
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    if !wants_socket {
        return pages::serve("index.html");
    }
    match (upgrade, query) {
        (Ok(upgrade), Ok(Query(query))) => Arc::clone(&operator.signaling).upgrade(upgrade, &headers, &query),
        (_, Err(rejection)) => (StatusCode::BAD_REQUEST, format!("{rejection}\n")).into_response(),
        (Err(rejection), _) => rejection.into_response(),
    }
}

/// A page, or nothing.
async fn other(uri: Uri) -> Response {
    if uri.path() == "/v1" || uri.path().starts_with("/v1/") {
        return error(StatusCode::NOT_FOUND, format!("{} does not exist", uri.path()));
    }
    pages::page(&uri)
}

async fn mesh(State(operator): State<Arc<Operator>>) -> Response {
    Json(operator.mesh_status()).into_response()
}

/// What the leader knows and did.
async fn scaling(State(operator): State<Arc<Operator>>) -> Response {
    match operator.scaling().await {
        Ok(Some(scaling)) => Json(scaling).into_response(),
        Ok(None) => {
            error(StatusCode::NOT_FOUND, "nobody scales this mesh: it has no leader, or no scaling.cloud")
        }
        Err(problem) => error(StatusCode::BAD_GATEWAY, problem.to_string()),
    }
}

async fn rooms(State(operator): State<Arc<Operator>>) -> Response {
    Json(operator.room_list().await).into_response()
}

async fn room(State(operator): State<Arc<Operator>>, path: Result<Path<String>, PathRejection>) -> Response {
    let id = match path {
        Ok(Path(id)) => id,
        Err(rejection) => return error(StatusCode::BAD_REQUEST, rejection.body_text()),
    };
    let room: RoomId = match id.parse() {
        Ok(room) => room,
        Err(problem) => return error(StatusCode::BAD_REQUEST, format!("room {problem}")),
    };
    match operator.room_detail(&room).await {
        Ok(Some(detail)) => Json(detail).into_response(),
        Ok(None) => error(StatusCode::NOT_FOUND, format!("room {room} does not exist")),
        Err(problem) => error(StatusCode::BAD_GATEWAY, problem.to_string()),
    }
}

/// Moves a peer to another node. A body that is not `application/json` is refused, so no web page of another origin can
/// have a browser send it.
async fn move_peer(
    State(operator): State<Arc<Operator>>,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Json<MoveRequest>, JsonRejection>,
) -> Response {
    let (room, peer) = match path {
        Ok(Path(path)) => path,
        Err(rejection) => return error(StatusCode::BAD_REQUEST, rejection.body_text()),
    };
    let room: RoomId = match room.parse() {
        Ok(room) => room,
        Err(problem) => return error(StatusCode::BAD_REQUEST, format!("room {problem}")),
    };
    let peer: PeerId = match peer.parse() {
        Ok(peer) => peer,
        Err(problem) => return error(StatusCode::BAD_REQUEST, format!("peer {problem}")),
    };
    let MoveRequest { node } = match body {
        Ok(Json(body)) => body,
        Err(rejection) => return error(rejection.status(), rejection.body_text()),
    };
    match operator.move_peer(MovePeer { room, peer, node, same_host: false }).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(AskError::Refused(why)) => error(StatusCode::CONFLICT, why),
        Err(problem) => error(StatusCode::BAD_GATEWAY, problem.to_string()),
    }
}

/// Drains a node. Of the body the same holds as of [`move_peer`]'s.
async fn drain(
    State(operator): State<Arc<Operator>>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<DrainRequest>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(DrainRequest { force, deadline_s })) => {
            tell_to_drain(&operator, path, Call::Drain { on: true, deadline_s, force }).await
        }
        Err(rejection) => error(rejection.status(), rejection.body_text()),
    }
}

/// Has a node take peers again.
async fn undrain(
    State(operator): State<Arc<Operator>>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<UndrainRequest>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(UndrainRequest {})) => {
            tell_to_drain(&operator, path, Call::Drain { on: false, deadline_s: None, force: false }).await
        }
        Err(rejection) => error(rejection.status(), rejection.body_text()),
    }
}

async fn tell_to_drain(
    operator: &Operator,
    path: Result<Path<String>, PathRejection>,
    call: Call,
) -> Response {
    let id = match path {
        Ok(Path(id)) => id,
        Err(rejection) => return error(StatusCode::BAD_REQUEST, rejection.body_text()),
    };
    let node: NodeId = match id.parse() {
        Ok(node) => node,
        Err(problem) => return error(StatusCode::BAD_REQUEST, format!("node {problem}")),
    };
    if operator.mesh.view().borrow().get(&node).is_none() {
        return error(StatusCode::NOT_FOUND, format!("node {node} does not exist"));
    }
    match operator.tell(&node, call).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(AskError::Refused(why)) => error(StatusCode::CONFLICT, format!("node {node}: {why}")),
        Err(problem) => error(StatusCode::BAD_GATEWAY, problem.to_string()),
    }
}

async fn node(State(operator): State<Arc<Operator>>) -> Response {
    Json(operator.node_detail()).into_response()
}

/// Ready: the node takes rooms and peers.
async fn ready(State(operator): State<Arc<Operator>>) -> Response {
    let view = operator.mesh.view().borrow().clone();
    match view.nodes.get(operator.mesh.id()).map(|member| member.state) {
        Some(NodeState::Alive) => "ready\n".into_response(),
        state => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {state:?}\n")).into_response(),
    }
}

async fn metrics_text(State(operator): State<Arc<Operator>>) -> Response {
    match metrics::text(&operator) {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
            (kind, text).into_response()
        }
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, problem.to_string()),
    }
}

/// First everything that is there, as if it had just come; then every change.
async fn events(
    State(operator): State<Arc<Operator>>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    // Watched before it is looked at, so that nothing is missed in between; told twice does no harm.
    let changes = operator.events.subscribe();
    let list = operator.room_list().await;
    let now = super::watch::Seen::default().update(operator.mesh_status().nodes, list.rooms);
    let changes = stream::unfold(changes, |mut changes| async move {
        match changes.recv().await {
            Ok(event) => Some((event, changes)),
            // Who falls behind starts over: the stream ends, and an EventSource opens it again.
            Err(RecvError::Lagged(_) | RecvError::Closed) => None,
        }
    });
    let told = stream::iter(now).chain(changes).map(|event| {
        let name = match event {
            Event::Node { .. } => "node",
            Event::Room { .. } => "room",
        };
        let made = sse::Event::default().event(name).json_data(&event);
        Ok(made.unwrap_or_else(|_| sse::Event::default().comment("unreadable")))
    });
    let ended = operator.signaling.cancel.clone();
    Sse::new(told.take_until(async move { ended.cancelled().await })).keep_alive(KeepAlive::default())
}
