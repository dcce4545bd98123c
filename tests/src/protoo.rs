//! A protoo client that shows everything: notifications and requests with their history, closes with code and reason,
//! raw frames, and, to be a bad client, raw sends and a frozen connection.

mod connection;

use anyhow::{Context, bail};
use connection::{Connection, Shared};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// protoo-client's own patience is 22.5 s; a test that waits longer than this waits for nothing.
const REQUEST_DEADLINE: Duration = Duration::from_secs(15);
/// How long the upgrade may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How many messages wait to be sent.
const QUEUE: usize = 1024;

/// Where and as whom to connect.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// `roomId`, unless it shall be missing.
    pub room: Option<String>,
    /// `peerId`, unless it shall be missing.
    pub peer: Option<String>,
    /// `token` in the query.
    pub query_token: Option<String>,
    /// `Authorization: Bearer …`.
    pub header_token: Option<String>,
    /// Whether to say `skein=1`.
    pub skein: bool,
    /// Anything else in the query.
    pub query: Vec<(String, String)>,
}

impl ConnectOptions {
    /// A peer of a room, without a token.
    pub fn new(room: &str, peer: &str) -> Self {
        Self { room: Some(room.to_owned()), peer: Some(peer.to_owned()), ..Self::default() }
    }

    /// With something more in the query.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> Self {
        self.query.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With a token, in the query.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.query_token = Some(token.to_owned());
        self
    }

    /// With `skein=1`.
    #[must_use]
    pub fn skein(mut self) -> Self {
        self.skein = true;
        self
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The node answered the upgrade with another status than 101.
    #[error("HTTP {status}: {body}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl ConnectError {
    /// The status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Failed(_) => None,
        }
    }
}

/// Why a request was not answered with success.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    /// A failure response.
    #[error("{code} {reason}")]
    Refused {
        /// protoo's errorCode.
        code: u64,
        /// protoo's errorReason.
        reason: String,
    },
    /// The socket closed first.
    #[error("closed: {0:?}")]
    Closed(Closed),
    /// Nothing came.
    #[error("no answer in time")]
    Deadline,
}

impl RequestError {
    /// errorCode and errorReason of a failure response.
    pub fn refusal(&self) -> Option<(u64, &str)> {
        match self {
            Self::Refused { code, reason } => Some((*code, reason)),
            _ => None,
        }
    }
}

/// How a socket closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The close code; 1006, as in browsers, where there was no closing handshake.
    pub code: u16,
    /// The reason.
    pub reason: String,
}

/// A notification or a request of the node's.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id, where it is a request.
    pub id: Option<u64>,
    /// Its method.
    pub method: String,
    /// Its body.
    pub data: Value,
}

/// A connected client. Clones are the same connection; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Protoo {
    shared: Arc<Shared>,
    out: mpsc::Sender<Out>,
}

/// What the connection's task is told.
enum Out {
    Send(tungstenite::Message),
    Flush(oneshot::Sender<()>),
    Freeze,
}

impl Protoo {
    /// Connects to a node's `ws://` address.
    ///
    /// # Errors
    /// When the node refuses the upgrade or does not answer.
    pub async fn connect(url: &str, options: &ConnectOptions) -> Result<Self, ConnectError> {
        let failed = |error: &dyn std::fmt::Display| ConnectError::Failed(error.to_string());
        let mut query = Vec::new();
        let mut add = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                query.push(format!("{key}={}", percent_encode(value)));
            }
        };
        add("roomId", &options.room);
        add("peerId", &options.peer);
        add("token", &options.query_token);
        add("skein", &options.skein.then(|| "1".to_owned()));
        for (key, value) in &options.query {
            add(key, &Some(value.clone()));
        }
        let url = format!("{}/?{}", url.trim_end_matches('/'), query.join("&"));
        let mut request = url.into_client_request().map_err(|e| failed(&e))?;
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static("protoo"));
        if let Some(token) = &options.header_token {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|e| failed(&e))?;
            headers.insert("Authorization", value);
        }
        let connecting = tokio_tungstenite::connect_async(request);
        let socket = match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
            Ok(Ok((socket, _))) => socket,
            Ok(Err(tungstenite::Error::Http(response))) => {
                let status = response.status().as_u16();
                let body =
                    response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                return Err(ConnectError::Refused { status, body });
            }
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_) => return Err(failed(&"no answer in time")),
        };
        let (out, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        tokio::spawn(Connection { socket, queue, shared: Arc::clone(&shared) }.run());
        Ok(Self { shared, out })
    }

    async fn tell(&self, out: Out) {
        // A closed connection takes nothing; whoever waits for an answer hears of the close.
        let _ = self.out.send(out).await;
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When the node refuses, the socket closes or nothing comes within 15 s.
    pub async fn request(&self, method: &str, data: Value) -> Result<Value, RequestError> {
        let (id, answer) = self.shared.expect_answer();
        let frame = json!({ "request": true, "id": id, "method": method, "data": data });
        self.tell(Out::Send(tungstenite::Message::text(frame.to_string()))).await;
        tokio::select! {
            // An answer that came before the close is an answer.
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(RequestError::Closed(self.shared.close_seen()))),
            closed = self.closed() => Err(RequestError::Closed(closed)),
            () = tokio::time::sleep(REQUEST_DEADLINE) => Err(RequestError::Deadline),
        }
    }

    /// Asks for what must be refused. Answers code and reason.
    ///
    /// # Errors
    /// When it is not refused.
    pub async fn refused(&self, method: &str, data: Value) -> anyhow::Result<(u64, String)> {
        match self.request(method, data.clone()).await {
            Err(RequestError::Refused { code, reason }) => Ok((code, reason)),
            other => bail!("{method} {data} is not refused but {other:?}"),
        }
    }

    /// Accepts a request of the node's.
    pub async fn accept(&self, id: u64) {
        self.send_text(json!({ "response": true, "id": id, "ok": true, "data": {} }).to_string()).await;
    }

    /// Rejects a request of the node's: 403 says that it is not wanted, 500 that it could not be done.
    pub async fn reject(&self, id: u64, code: u16, reason: &str) {
        let frame =
            json!({ "response": true, "id": id, "ok": false, "errorCode": code, "errorReason": reason });
        self.send_text(frame.to_string()).await;
    }

    /// Sends any text.
    pub async fn send_text(&self, text: impl Into<String>) {
        self.tell(Out::Send(tungstenite::Message::text(text.into()))).await;
    }

    /// Sends any WebSocket message.
    pub async fn send_message(&self, message: tungstenite::Message) {
        self.tell(Out::Send(message)).await;
    }

    /// Waits until everything before was handed to the system.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        self.tell(Out::Flush(done)).await;
        let _ = wait.await;
    }

    /// From here on nothing is read and no ping answered; the connection stays open.
    pub async fn freeze(&self) {
        self.tell(Out::Freeze).await;
    }

    /// Closes the socket as a leaving client does.
    pub async fn close(&self) {
        let frame = tungstenite::protocol::CloseFrame { code: 1000.into(), reason: "bye".into() };
        self.tell(Out::Send(tungstenite::Message::Close(Some(frame)))).await;
    }

    /// Waits until the socket is closed.
    pub async fn closed(&self) -> Closed {
        let mut changes = self.shared.changes();
        loop {
            if let Some(closed) = self.shared.is_closed() {
                return closed;
            }
            if changes.changed().await.is_err() {
                return self.shared.close_seen();
            }
        }
    }

    /// Waits until the node closes the socket.
    ///
    /// # Errors
    /// When it stays open.
    pub async fn expect_close(&self, deadline: Duration) -> anyhow::Result<Closed> {
        let closed = tokio::time::timeout(deadline, self.closed()).await;
        closed.with_context(|| format!("the socket is still open after {deadline:?}"))
    }

    /// How the socket closed, if it did.
    pub fn is_closed(&self) -> Option<Closed> {
        self.shared.is_closed()
    }

    /// All notifications so far; the oldest go when there are very many.
    pub fn notifications(&self) -> Vec<Message> {
        self.shared.notifications()
    }

    /// All requests of the node's so far.
    pub fn server_requests(&self) -> Vec<Message> {
        self.shared.requests()
    }

    /// All text frames so far.
    pub fn frames(&self) -> Vec<String> {
        self.shared.frames()
    }

    /// The stream of the node's requests, to answer them, and notifications; whoever takes it first has it.
    pub fn take_messages(&self) -> Option<mpsc::Receiver<Message>> {
        self.shared.take_messages()
    }

    /// Waits for something in the history, which is looked at again whenever something comes.
    async fn expect<T>(&self, deadline: Duration, look: impl Fn() -> Option<T>) -> Option<T> {
        let mut changes = self.shared.changes();
        let search = async {
            loop {
                if let Some(found) = look() {
                    return Some(found);
                }
                if changes.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(deadline, search).await.ok().flatten()
    }

    /// Waits for a notification, which may have come before.
    ///
    /// # Errors
    /// When none that fits comes in time; tells which others came.
    pub async fn expect_notification(
        &self,
        method: &str,
        deadline: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let look = || {
            let all = self.notifications();
            all.into_iter().find(|n| n.method == method && fits(&n.data)).map(|n| n.data)
        };
        self.expect(deadline, look).await.with_context(|| {
            let of_it: Vec<_> = self.notifications().into_iter().filter(|n| n.method == method).collect();
            format!(
                "no {method} that fits within {deadline:?}, only {of_it:?}; closed: {:?}",
                self.is_closed()
            )
        })
    }

    /// Waits for a request of the node's, which may have come before.
    ///
    /// # Errors
    /// When none that fits comes in time.
    pub async fn expect_request(
        &self,
        method: &str,
        deadline: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Message> {
        let look = || self.server_requests().into_iter().find(|r| r.method == method && fits(&r.data));
        self.expect(deadline, look).await.with_context(|| {
            format!("no request {method} that fits within {deadline:?}, only {:?}", self.server_requests())
        })
    }

    /// Waits for a text frame, which may have come before.
    ///
    /// # Errors
    /// When none that fits comes in time.
    pub async fn expect_frame(
        &self,
        what: &str,
        deadline: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let look = || {
            let all = self.frames();
            all.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok()).find(|frame| fits(frame))
        };
        let found = self.expect(deadline, look).await;
        found.with_context(|| {
            format!("no frame for {what} within {deadline:?}; closed: {:?}", self.is_closed())
        })
    }
}

fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
