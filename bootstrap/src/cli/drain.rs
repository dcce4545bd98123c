//! `skein drain` and `skein undrain`: a node sends its peers to others, or takes peers again.

use super::status::{fetch, node_url, unauthorized, unreachable};
use super::{count, http_client};
use anyhow::{Context, bail};
use clap::Args;
use reqwest::StatusCode;
use serde::Serialize;
use skein_proto::ids::NodeId;
use skein_proto::operator::{ApiError, DrainRequest, MeshStatus, NodeState, NodeStatus, UndrainRequest};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked who is left.
const LOOK: Duration = Duration::from_millis(500);
/// How long the node that is asked may take to hear that another one drains.
const HEARD: Duration = Duration::from_secs(10);
/// How many looks in a row may fail.
const FAILURES: u32 = 20;

/// Have a node take no more peers, and send those that it has to other nodes
///
/// Clients that know Skein's additions move without a gap; others are told to dial again. Who is still there at the
/// deadline is told to dial another node.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skein drain node-2
  skein drain node-2 --wait --url http://127.0.0.1:4440
  skein drain node-2 --deadline 90s
  skein undrain node-2               it takes peers again")]
pub struct Drain {
    /// The node's name
    node: NodeId,
    /// Also when no other node takes peers
    #[arg(long)]
    force: bool,
    /// Show who is left until nobody is
    #[arg(long)]
    wait: bool,
    /// When those who are still there are told to dial again, such as 90s or 10m [default: the node's
    /// `scaling.drain_minutes`]
    #[arg(long, value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
    #[command(flatten)]
    asked: Asked,
}

/// Have a node that drains take peers again
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skein undrain node-2")]
pub struct Undrain {
    /// The node's name
    node: NodeId,
    #[command(flatten)]
    asked: Asked,
}

/// Which node is asked.
#[derive(Debug, Args)]
struct Asked {
    /// Any node of the mesh [default: a node that `skein up` started, or http://127.0.0.1:4440]
    #[arg(long)]
    url: Option<String>,
    /// The mesh's operator token, where it has one
    #[arg(long, env = "SKEIN_OPERATOR_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Drain {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let url = node_url(self.asked.url.as_deref());
        let token = self.asked.token.as_deref();
        let deadline_s = self.deadline.map(|deadline| u32::try_from(deadline.as_secs()).unwrap_or(u32::MAX));
        let request = DrainRequest { force: self.force, deadline_s };
        post(&url, token, &self.node, "drain", &request).await?;
        eprintln!("{} drains", self.node);
        if self.wait {
            wait(&url, token, &self.node).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Undrain {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let url = node_url(self.asked.url.as_deref());
        post(&url, self.asked.token.as_deref(), &self.node, "undrain", &UndrainRequest {}).await?;
        eprintln!("{} takes peers again", self.node);
        Ok(ExitCode::SUCCESS)
    }
}

async fn post(
    url: &str,
    token: Option<&str>,
    node: &NodeId,
    what: &str,
    body: &impl Serialize,
) -> anyhow::Result<()> {
    let client = http_client(PATIENCE, false)?;
    let mut request = client.post(format!("{url}/v1/nodes/{node}/{what}")).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.map_err(|error| unreachable(url, error))?;
    let status = answer.status();
    let text = answer.text().await.with_context(|| format!("{url} broke off its answer"))?;
    match status {
        StatusCode::ACCEPTED => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(unauthorized(url, token)),
        _ => {
            let reason = serde_json::from_str::<ApiError>(&text).map_or(text, |error| error.error);
            bail!("{url} does not {what} {node}: {}", reason.trim())
        }
    }
}

/// Shows who is left on a node, each time that it is somebody else, until nobody is.
async fn wait(url: &str, token: Option<&str>, node: &NodeId) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (mut shown, mut drains, mut failures) = (String::new(), false, 0);
    loop {
        tokio::time::sleep(LOOK).await;
        let text = match fetch(url, token).await {
            Ok(text) => text,
            // The node that is asked may be the one that drains, and stop when it is empty.
            Err(error) if failures >= FAILURES => return Err(error),
            Err(_) => {
                failures += 1;
                continue;
            }
        };
        failures = 0;
        let status: MeshStatus = serde_json::from_str(&text)
            .with_context(|| format!("{url} answers, but not as a node of this version does"))?;
        let Some(now) = status.nodes.iter().find(|one| one.id == *node) else {
            eprintln!("{node} is gone");
            return Ok(());
        };
        drains |= now.state == NodeState::Draining;
        if drains && matches!(now.state, NodeState::Alive | NodeState::Starting) {
            bail!("{node} takes peers again: it no longer drains");
        }
        if !drains {
            if begun.elapsed() > HEARD {
                bail!("{url} does not see that {node} drains");
            }
            continue;
        }
        let left = left(now);
        if left != shown {
            eprintln!("{:>4} s  {left}", begun.elapsed().as_secs());
            shown = left;
        }
        if now.peers == 0 && now.sockets == 0 {
            return Ok(());
        }
    }
}

fn left(node: &NodeStatus) -> String {
    if node.peers == 0 && node.sockets == 0 {
        return format!("{} is empty", node.id);
    }
    let (peers, sockets) = (count(node.peers.into(), "peer"), count(node.sockets.into(), "WebSocket"));
    format!("{peers} and {sockets} are left")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::one_line;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn name() -> NodeId {
        "node-2".parse().expect("a name")
    }

    /// A server that gives these answers, one after the other, and shows what it was asked.
    async fn serve(answers: Vec<(&'static str, String)>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let task = tokio::spawn(async move {
            let mut asked = Vec::new();
            for (head, body) in answers {
                let (mut socket, _) = listener.accept().await.expect("accepts");
                let mut request = String::new();
                let is_whole = |request: &str| {
                    request.ends_with('}') || request.starts_with("GET") && request.ends_with("\r\n\r\n")
                };
                while !is_whole(&request) {
                    let mut part = [0; 4096];
                    let length = socket.read(&mut part).await.expect("reads");
                    request.push_str(&String::from_utf8_lossy(&part[..length]));
                }
                asked.push(request);
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                socket.write_all(answer.as_bytes()).await.expect("writes");
            }
            asked
        });
        (url, task)
    }

    fn status(state: NodeState, peers: u32, sockets: u32) -> String {
        let node = NodeStatus {
            id: name(),
            state,
            role: "node".to_owned(),
            region: "local".to_owned(),
            zone: String::new(),
            free_streams: 1,
            total_streams: 1,
            workers: vec![1],
            peers,
            sockets,
            waiting: 0,
            rooms: 0,
            url: "http://127.0.0.1:4440".to_owned(),
            version: "0.1.0".to_owned(),
        };
        let (mesh, asked) = ("dev".to_owned(), "node-1".parse().expect("a name"));
        let status = MeshStatus { mesh, node: asked, leader: None, nodes: vec![node], rooms: 0, waiting: 0 };
        serde_json::to_string(&status).expect("is JSON")
    }

    #[tokio::test]
    async fn a_refusal_is_shown_with_its_reason() {
        let body = r#"{"error":"no other node takes peers"}"#.to_owned();
        let (url, asked) = serve(vec![("409 Conflict", body)]).await;
        let request = DrainRequest { force: false, deadline_s: None };
        let error =
            one_line(&post(&url, Some("secret"), &name(), "drain", &request).await.expect_err("refused"));
        assert!(error.contains("no other node takes peers"), "{error}");
        let asked = asked.await.expect("served").remove(0).to_lowercase();
        assert!(asked.starts_with("post /v1/nodes/node-2/drain "), "{asked}");
        for part in ["content-type: application/json", "authorization: bearer secret"] {
            assert!(asked.contains(part), "{part} is missing in {asked}");
        }
    }

    #[tokio::test]
    async fn it_is_waited_until_neither_peers_nor_sockets_are_left() {
        let ok = |body| ("200 OK", body);
        let answers = vec![
            ok(status(NodeState::Alive, 2, 2)),
            ok(status(NodeState::Draining, 2, 2)),
            ok(status(NodeState::Draining, 0, 1)),
            ok(status(NodeState::Draining, 0, 0)),
        ];
        let (url, asked) = serve(answers).await;
        wait(&url, None, &name()).await.expect("it empties");
        assert_eq!(asked.await.expect("served").len(), 4);
        let (url, _asked) =
            serve(vec![ok(status(NodeState::Draining, 2, 2)), ok(status(NodeState::Alive, 2, 2))]).await;
        let error = one_line(&wait(&url, None, &name()).await.expect_err("it is undone"));
        assert!(error.contains("takes peers again"), "{error}");
    }

    #[test]
    fn what_is_left_is_counted() {
        let status: MeshStatus = serde_json::from_str(&status(NodeState::Draining, 1, 3)).expect("is JSON");
        assert_eq!(left(&status.nodes[0]), "1 peer and 3 WebSockets are left");
    }
}
