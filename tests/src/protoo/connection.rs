//! The task that owns a WebSocket, and what it shares with its handles.

use super::{Closed, Message, Out, RequestError};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};
use tokio_util::sync::CancellationToken;

/// How much of each history is kept.
const HISTORY: usize = 10_000;
/// How many of the node's messages may wait to be taken; more are lost to the taker.
const MESSAGES: usize = 10_000;

/// How long it may take to answer a close frame.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);
/// How long a connection that takes nothing any more is read.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The close codes that are never sent (RFC 6455, section 7.4.1).
const NO_CODE: u16 = 1005;
const ABNORMAL: u16 = 1006;

type Answer = Result<Value, RequestError>;

/// What the task shares with its handles.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    messages: mpsc::Sender<Message>,
}

struct State {
    last_id: u64,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    notifications: VecDeque<Message>,
    requests: VecDeque<Message>,
    frames: VecDeque<String>,
    closed: Option<Closed>,
    taken: Option<mpsc::Receiver<Message>>,
}

impl Default for Shared {
    fn default() -> Self {
        let (messages, taken) = mpsc::channel(MESSAGES);
        let state = State {
            last_id: 0,
            waiting: HashMap::new(),
            notifications: VecDeque::new(),
            requests: VecDeque::new(),
            frames: VecDeque::new(),
            closed: None,
            taken: Some(taken),
        };
        Self { state: Mutex::new(state), changed: watch::Sender::new(0), messages }
    }
}

fn push<T>(history: &mut VecDeque<T>, item: T) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    history.push_back(item);
}

impl Shared {
    pub(super) fn expect_answer(&self) -> (u64, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.waiting.insert(id, sender);
        (id, receiver)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn is_closed(&self) -> Option<Closed> {
        self.state.lock().closed.clone()
    }

    pub(super) fn close_seen(&self) -> Closed {
        self.is_closed().unwrap_or_else(|| lost("the connection's task ended"))
    }

    pub(super) fn notifications(&self) -> Vec<Message> {
        self.state.lock().notifications.iter().cloned().collect()
    }

    pub(super) fn requests(&self) -> Vec<Message> {
        self.state.lock().requests.iter().cloned().collect()
    }

    pub(super) fn frames(&self) -> Vec<String> {
        self.state.lock().frames.iter().cloned().collect()
    }

    pub(super) fn take_messages(&self) -> Option<mpsc::Receiver<Message>> {
        self.state.lock().taken.take()
    }

    fn hear(&self, text: String) {
        {
            let mut state = self.state.lock();
            if let Ok(frame) = serde_json::from_str::<Value>(&text) {
                self.sort(&mut state, &frame);
            }
            push(&mut state.frames, text);
        }
        self.changed.send_modify(|version| *version += 1);
    }

    fn sort(&self, state: &mut State, frame: &Value) {
        let is = |key: &str| frame[key].as_bool() == Some(true);
        let id = frame["id"].as_u64();
        if is("response") {
            let Some(waiting) = id.and_then(|id| state.waiting.remove(&id)) else { return };
            let answer = if is("ok") {
                Ok(frame["data"].clone())
            } else {
                let code = frame["errorCode"].as_u64().unwrap_or(0);
                let reason = frame["errorReason"].as_str().unwrap_or("").to_owned();
                Err(RequestError::Refused { code, reason })
            };
            let _ = waiting.send(answer);
            return;
        }
        let method = frame["method"].as_str().unwrap_or("").to_owned();
        let message = Message { id, method, data: frame["data"].clone() };
        if is("request") {
            let _ = self.messages.try_send(message.clone());
            push(&mut state.requests, message);
        } else if is("notification") {
            let message = Message { id: None, ..message };
            let _ = self.messages.try_send(message.clone());
            push(&mut state.notifications, message);
        }
    }

    fn close(&self, closed: Closed) {
        {
            let mut state = self.state.lock();
            state.closed.get_or_insert(closed);
            state.waiting.clear();
        }
        self.changed.send_modify(|version| *version += 1);
    }
}

fn lost(reason: impl ToString) -> Closed {
    Closed { code: ABNORMAL, reason: reason.to_string() }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Owns the socket.
pub(super) struct Connection {
    pub socket: Socket,
    pub queue: mpsc::Receiver<Out>,
    pub shared: Arc<Shared>,
}

impl Connection {
    /// Reads and writes at the same time: a node that closes the connection because of what is being sent says why
    /// while it is still being sent.
    pub(super) async fn run(self) {
        let (mut sink, mut stream) = self.socket.split();
        let frozen = CancellationToken::new();
        let shared = Arc::clone(&self.shared);
        let mut queue = self.queue;
        let closed = tokio::select! {
            closed = read(&mut stream, &shared, &frozen) => closed,
            closed = write(&mut sink, &mut queue, &frozen) => closed,
        };
        if closed.code != ABNORMAL {
            // Answers the node's close frame.
            let _ = tokio::time::timeout(CLOSE_DEADLINE, sink.flush()).await;
        }
        self.shared.close(closed);
    }
}

async fn read(stream: &mut SplitStream<Socket>, shared: &Shared, frozen: &CancellationToken) -> Closed {
    loop {
        let message = tokio::select! {
            biased;
            () = frozen.cancelled() => return std::future::pending().await,
            message = stream.next() => message,
        };
        match message {
            Some(Ok(tungstenite::Message::Text(text))) => shared.hear(text.as_str().to_owned()),
            Some(Ok(tungstenite::Message::Close(Some(frame)))) => {
                return Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() };
            }
            Some(Ok(tungstenite::Message::Close(None))) => {
                return Closed { code: NO_CODE, reason: String::new() };
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return lost(error),
            None => return lost("the connection ended"),
        }
    }
}

async fn write(
    sink: &mut SplitSink<Socket, tungstenite::Message>,
    queue: &mut mpsc::Receiver<Out>,
    frozen: &CancellationToken,
) -> Closed {
    while let Some(out) = queue.recv().await {
        match out {
            Out::Send(message) => {
                if let Err(error) = sink.send(message).await {
                    // What the node said before it closed the connection is read first, if it can be.
                    tokio::time::sleep(LAST_WORD).await;
                    return lost(error);
                }
            }
            Out::Flush(done) => {
                let _ = done.send(());
            }
            Out::Freeze => frozen.cancel(),
        }
    }
    // All handles are gone: the socket is dropped, without a closing handshake.
    lost("dropped")
}
