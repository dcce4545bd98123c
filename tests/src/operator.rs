//! The operator API of a node, typed.

use anyhow::{Context, bail};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use skein_proto::operator::{ApiError, Event, MeshStatus, NodeDetail, RoomDetail, Rooms};
use std::sync::Once;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// How long an answer may take. A node gives others 2 s when it asks them itself.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many events may wait to be read.
const EVENTS: usize = 1024;

/// Makes sure that rustls has its one provider.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Another one may be there already; any will do.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// A node's operator API.
#[derive(Debug, Clone)]
pub struct Operator {
    base: String,
    token: Option<String>,
    client: reqwest::Client,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The content type, or nothing.
    pub content_type: String,
    /// The body.
    pub body: String,
}

impl Answer {
    async fn read(response: reqwest::Response) -> anyhow::Result<Self> {
        let status = response.status().as_u16();
        let content_type = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = response.text().await.context("the answer's body")?;
        Ok(Self { status, content_type, body })
    }

    /// The error of a refused request.
    ///
    /// # Errors
    /// When the body is not the API's error.
    pub fn error(&self) -> anyhow::Result<String> {
        let error: ApiError = serde_json::from_str(&self.body).with_context(|| format!("{self:?}"))?;
        Ok(error.error)
    }
}

impl Operator {
    /// `base` is the node's `http://` address.
    ///
    /// # Panics
    /// When the system cannot make an HTTP client at all.
    pub fn new(base: &str, token: Option<String>) -> Self {
        install_crypto();
        let client = reqwest::Client::builder()
            .timeout(DEADLINE)
            .no_proxy()
            .build()
            .expect("an HTTP client without special wishes can be made");
        Self { base: base.trim_end_matches('/').to_owned(), token, client }
    }

    /// The same API with another token, or none.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    fn request(&self, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.get(format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Any path, whatever the status.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        Answer::read(self.request(path).send().await.with_context(|| format!("GET {path}"))?).await
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.get(path).await?;
        if answer.status != 200 {
            bail!("GET {path}: {} {}", answer.status, answer.body);
        }
        serde_json::from_str(&answer.body).with_context(|| format!("GET {path}: {}", answer.body))
    }

    /// `/v1/mesh`.
    ///
    /// # Errors
    /// When the node does not answer or the answer is not what it should be.
    pub async fn mesh(&self) -> anyhow::Result<MeshStatus> {
        self.json("/v1/mesh").await
    }

    /// `/v1/rooms`.
    ///
    /// # Errors
    /// As [`Operator::mesh`].
    pub async fn rooms(&self) -> anyhow::Result<Rooms> {
        self.json("/v1/rooms").await
    }

    /// `/v1/rooms/{id}`; `None` where there is no such room.
    ///
    /// # Errors
    /// As [`Operator::mesh`].
    pub async fn room(&self, id: &str) -> anyhow::Result<Option<RoomDetail>> {
        let path = format!("/v1/rooms/{id}");
        let answer = self.get(&path).await?;
        match answer.status {
            200 => Ok(Some(serde_json::from_str(&answer.body).with_context(|| answer.body.clone())?)),
            404 => Ok(None),
            status => bail!("GET {path}: {status} {}", answer.body),
        }
    }

    /// `/v1/node`.
    ///
    /// # Errors
    /// As [`Operator::mesh`].
    pub async fn node(&self) -> anyhow::Result<NodeDetail> {
        self.json("/v1/node").await
    }

    /// Any POST with a JSON body, whatever the status.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn post(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<Answer> {
        let mut request = self.client.post(format!("{}{path}", self.base)).json(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        Answer::read(request.send().await.with_context(|| format!("POST {path}"))?).await
    }

    /// Moves a peer, to a node or to wherever there is room.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn move_peer(&self, room: &str, peer: &str, node: Option<&str>) -> anyhow::Result<Answer> {
        let body = node.map_or_else(|| serde_json::json!({}), |node| serde_json::json!({ "node": node }));
        self.post(&format!("/v1/rooms/{room}/peers/{peer}/move"), &body).await
    }

    /// Drains a node.
    ///
    /// # Errors
    /// When the node that is asked does not answer.
    pub async fn drain(&self, node: &str, deadline_s: Option<u32>) -> anyhow::Result<Answer> {
        let body = serde_json::json!({ "deadline_s": deadline_s });
        self.post(&format!("/v1/nodes/{node}/drain"), &body).await
    }

    /// Has a node take peers again.
    ///
    /// # Errors
    /// When the node that is asked does not answer.
    pub async fn undrain(&self, node: &str) -> anyhow::Result<Answer> {
        self.post(&format!("/v1/nodes/{node}/undrain"), &serde_json::json!({})).await
    }

    /// One of the node's counters.
    ///
    /// # Errors
    /// Also when there is no counter of this name.
    pub async fn counter(&self, name: &str) -> anyhow::Result<u64> {
        let node = self.node().await?;
        node.counters.get(name).copied().with_context(|| format!("no counter {name} in {:?}", node.counters))
    }

    /// Watches `/v1/events`.
    ///
    /// # Errors
    /// When the node does not answer with an event stream.
    pub async fn events(&self) -> anyhow::Result<Events> {
        // A stream lasts longer than any request may.
        let request = self.request("/v1/events").timeout(Duration::from_secs(24 * 3600));
        let response = request.send().await.context("GET /v1/events")?.error_for_status()?;
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
        if !kind.starts_with("text/event-stream") {
            bail!("/v1/events is {kind:?}");
        }
        let (sender, receiver) = mpsc::channel(EVENTS);
        let task = tokio::spawn(async move {
            let mut body = response.bytes_stream();
            let mut buffer = Vec::new();
            while let Some(Ok(bytes)) = body.next().await {
                buffer.extend_from_slice(&bytes);
                while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                    let block: Vec<u8> = buffer.drain(..end + 2).collect();
                    if let Some(event) = parse_event(&String::from_utf8_lossy(&block))
                        && sender.send(event).await.is_err()
                    {
                        return;
                    }
                }
            }
        });
        Ok(Events { receiver, _task: AbortOnDropHandle::new(task) })
    }
}

fn parse_event(block: &str) -> Option<anyhow::Result<(String, Event)>> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|text| text.trim().to_owned())
    };
    let data = field("data")?;
    let event = serde_json::from_str(&data).with_context(|| format!("an event that cannot be read: {data}"));
    Some(event.map(|event| (field("event").unwrap_or_default(), event)))
}

/// Events as they come.
pub struct Events {
    receiver: mpsc::Receiver<anyhow::Result<(String, Event)>>,
    _task: AbortOnDropHandle<()>,
}

impl Events {
    /// Waits for an event that fits; others are passed over.
    ///
    /// # Errors
    /// When none comes in time, or the stream ends.
    pub async fn expect(
        &mut self,
        what: &str,
        deadline: Duration,
        fits: impl Fn(&str, &Event) -> bool,
    ) -> anyhow::Result<Event> {
        let mut passed = Vec::new();
        let found = tokio::time::timeout(deadline, async {
            loop {
                let (name, event) = self.receiver.recv().await.context("the event stream ended")??;
                if fits(&name, &event) {
                    return Ok(event);
                }
                passed.push(event);
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| bail!("no event for {what} within {deadline:?}, only {passed:?}"))
    }
}
