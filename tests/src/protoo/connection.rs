//! The task that owns a WebSocket, and what it shares with its handles.

use super::{Closed, Message, Out, RequestError};
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};

/// How much of each history is kept.
const HISTORY: usize = 10_000;
/// How many of the node's messages may wait to be taken; more are lost to the taker.
const MESSAGES: usize = 10_000;

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
    Closed { code: 1006, reason: reason.to_string() }
}

/// Owns the socket.
pub(super) struct Connection {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub queue: mpsc::Receiver<Out>,
    pub shared: Arc<Shared>,
}

impl Connection {
    pub(super) async fn run(mut self) {
        let closed = self.work().await;
        self.shared.close(closed);
    }

    async fn work(&mut self) -> Closed {
        let mut frozen = false;
        loop {
            tokio::select! {
                out = self.queue.recv() => match out {
                    Some(Out::Send(message)) => {
                        if let Err(error) = self.send(message).await {
                            return error;
                        }
                    }
                    Some(Out::Flush(done)) => {
                        let _ = done.send(());
                    }
                    Some(Out::Freeze) => frozen = true,
                    // All handles are gone: the socket is dropped, without a closing handshake.
                    None => return lost("dropped"),
                },
                message = self.socket.next(), if !frozen => match message {
                    Some(Ok(tungstenite::Message::Text(text))) => self.shared.hear(text.as_str().to_owned()),
                    Some(Ok(tungstenite::Message::Close(frame))) => {
                        let closed = frame.map_or_else(
                            || Closed { code: 1005, reason: String::new() },
                            |frame| Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() },
                        );
                        // Answers the node's close frame.
                        let _ = self.socket.flush().await;
                        return closed;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return lost(error),
                    None => return lost("the connection ended"),
                },
            }
        }
    }

    /// Sends, and reads meanwhile: a node that closes the connection because of what is being sent says why first.
    async fn send(&mut self, message: tungstenite::Message) -> Result<(), Closed> {
        let Err(error) = self.socket.send(message).await else { return Ok(()) };
        while let Some(Ok(message)) = self.socket.next().await {
            if let tungstenite::Message::Close(Some(frame)) = message {
                return Err(Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() });
            }
        }
        Err(lost(error))
    }
}
