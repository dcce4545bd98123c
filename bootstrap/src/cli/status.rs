//! `skein status`: what a node knows of its mesh.

use super::checkout::Checkout;
use super::http_client;
use super::state::MeshState;
use anyhow::{Context, anyhow, bail};
use clap::Args;
use comfy_table::{Cell, CellAlignment, Color, Table};
use reqwest::StatusCode;
use skein_proto::operator::{ApiError, MeshStatus, NodeState, NodeStatus};
use std::process::ExitCode;
use std::time::Duration;

/// The node that is asked where nothing else is known.
const DEFAULT_URL: &str = "http://127.0.0.1:4440";
/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How wide the bar of used streams is.
const BAR_WIDTH: u32 = 12;

/// Show what a node knows of its mesh: nodes, free streams, peers, rooms and the leader
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skein status
  skein status --url http://127.0.0.1:4441
  skein status --json | jq '.nodes[] | {id, free_streams}'")]
pub struct Status {
    /// Print the node's answer as it is: {"mesh", "leader", "nodes": [{"id", "state", "free_streams", …}], "rooms"}
    #[arg(long)]
    json: bool,
    /// Any node of the mesh [default: a node that `skein up` started, or http://127.0.0.1:4440]
    #[arg(long)]
    url: Option<String>,
    /// The mesh's operator token, where it has one
    #[arg(long, env = "SKEIN_OPERATOR_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Status {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let url = node_url(self.url.as_deref());
        let text = fetch(&url, self.token.as_deref()).await?;
        if self.json {
            println!("{}", text.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        let status: MeshStatus = serde_json::from_str(&text)
            .with_context(|| format!("{url} answers, but not as a node of this version does"))?;
        println!("{}", summary(&status));
        println!("{}", table(&status));
        Ok(ExitCode::SUCCESS)
    }
}

/// The node to ask: the one that is named, or one that runs here, or the default.
pub(super) fn node_url(named: Option<&str>) -> String {
    match named {
        Some(url) if url.contains("://") => url.trim_end_matches('/').to_owned(),
        Some(address) => format!("http://{}", address.trim_end_matches('/')),
        None => running_node().unwrap_or_else(|| DEFAULT_URL.to_owned()),
    }
}

/// A node that `skein up` started. A damaged note of it is no reason not to ask the default.
fn running_node() -> Option<String> {
    let meshes = MeshState::all(&Checkout::find().ok()?.kept()).ok()?;
    meshes
        .iter()
        .find_map(|(_, mesh)| mesh.nodes.iter().find(|node| node.is_running()).map(|node| node.url.clone()))
}

/// Asks a node for `/v1/mesh`.
pub(super) async fn fetch(url: &str, token: Option<&str>) -> anyhow::Result<String> {
    let client = http_client(PATIENCE, false)?;
    let mut request = client.get(format!("{url}/v1/mesh"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.map_err(|error| unreachable(url, error))?;
    let status = answer.status();
    let text = answer.text().await.with_context(|| format!("{url} broke off its answer"))?;
    match status {
        StatusCode::OK => Ok(text),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(unauthorized(url, token)),
        _ => {
            let reason = serde_json::from_str::<ApiError>(&text).map(|error| format!(": {}", error.error));
            bail!("{url}/v1/mesh says {status}{}; is this a Skein node?", reason.unwrap_or_default())
        }
    }
}

pub(super) fn unauthorized(url: &str, token: Option<&str>) -> anyhow::Error {
    let hint = if token.is_some() { "refuses this operator token" } else { "wants the operator token" };
    anyhow!("{url} {hint}; give the mesh's `auth.operator_token` by --token or SKEIN_OPERATOR_TOKEN")
}

pub(super) fn unreachable(url: &str, error: reqwest::Error) -> anyhow::Error {
    if error.is_builder() {
        anyhow!("--url {url}: this is no address; write it like {DEFAULT_URL}")
    } else if error.is_timeout() {
        anyhow!("{url} does not answer within {} s", PATIENCE.as_secs())
    } else if error.is_connect() {
        let why = innermost(&error);
        anyhow!(
            "{url} cannot be reached ({why}); `cargo skein up` starts a mesh, --url names a node of another"
        )
    } else {
        anyhow!("cannot ask {url}: {}", innermost(&error))
    }
}

/// The cause of all causes: the reason.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn summary(status: &MeshStatus) -> String {
    let leader =
        status.leader.as_ref().map_or_else(|| "no leader".to_owned(), |leader| format!("leader {leader}"));
    let waiting = match status.waiting {
        0 => String::new(),
        joins => format!(", {} waiting for a machine", super::count(joins.into(), "join")),
    };
    let total = |of: fn(&NodeStatus) -> u32| status.nodes.iter().map(of).map(u64::from).sum::<u64>();
    format!(
        "mesh {}, as {} sees it: {}, {leader}, {}, {}, {} of {} streams free{waiting}",
        status.mesh,
        status.node,
        super::count(status.nodes.len() as u64, "node"),
        super::count(status.rooms.into(), "room"),
        super::count(total(|node| node.peers), "peer"),
        total(|node| node.free_streams),
        total(|node| node.total_streams),
    )
}

fn table(status: &MeshStatus) -> Table {
    let mut table =
        super::table(["node", "state", "role", "region", "used", "free", "of", "peers", "rooms", "address"]);
    for node in &status.nodes {
        let leads = status.leader.as_ref() == Some(&node.id);
        let number = |number: u32| Cell::new(number).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(if leads { format!("{} ★", node.id) } else { node.id.to_string() }),
            state(node.state),
            Cell::new(&node.role),
            Cell::new(if node.zone.is_empty() {
                node.region.clone()
            } else {
                format!("{}/{}", node.region, node.zone)
            }),
            Cell::new(bar(node.free_streams, node.total_streams)),
            number(node.free_streams),
            number(node.total_streams),
            number(node.peers),
            number(node.rooms),
            Cell::new(&node.url),
        ]);
    }
    table
}

fn state(state: NodeState) -> Cell {
    match state {
        NodeState::Starting => Cell::new("starting").fg(Color::Cyan),
        NodeState::Alive => Cell::new("alive").fg(Color::Green),
        NodeState::Suspect => Cell::new("suspect").fg(Color::Red),
        NodeState::Draining => Cell::new("draining").fg(Color::Yellow),
    }
}

/// A bar of how much is used. Something used is never shown as nothing, and something free never as full.
fn bar(free: u32, total: u32) -> String {
    let used = total.saturating_sub(free);
    let width = u64::from(BAR_WIDTH);
    let cells = match (u64::from(used) * width + u64::from(total) / 2).checked_div(u64::from(total)) {
        Some(_) if used == 0 => 0,
        Some(_) if free == 0 => width,
        Some(cells) => cells.clamp(1, width - 1),
        None => 0,
    };
    let cells = usize::try_from(cells).unwrap_or_default();
    format!("{}{}", "█".repeat(cells), "░".repeat(BAR_WIDTH as usize - cells))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::one_line;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn status() -> MeshStatus {
        let node = |id: &str, free| NodeStatus {
            id: id.parse().expect("a name"),
            state: NodeState::Alive,
            role: "seed".to_owned(),
            region: "local".to_owned(),
            zone: String::new(),
            free_streams: free,
            total_streams: 1000,
            workers: vec![free],
            peers: 3,
            sockets: 3,
            rooms: 1,
            waiting: 0,
            url: "http://127.0.0.1:4440".to_owned(),
            version: "0.1.0".to_owned(),
        };
        MeshStatus {
            mesh: "dev".to_owned(),
            node: "node-1".parse().expect("a name"),
            leader: Some("node-2".parse().expect("a name")),
            nodes: vec![node("node-1", 250), node("node-2", 1000)],
            rooms: 2,
            waiting: 0,
        }
    }

    #[test]
    fn who_waits_is_shown_when_somebody_does() {
        assert!(!summary(&status()).contains("waiting"));
        let waiting = MeshStatus { waiting: 3, ..status() };
        assert!(summary(&waiting).ends_with("streams free, 3 joins waiting for a machine"), "{waiting:?}");
    }

    /// A server that answers one request.
    async fn serve(head: &'static str, body: String) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("accepts");
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await.expect("reads");
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            socket.write_all(answer.as_bytes()).await.expect("writes");
        });
        url
    }

    #[test]
    fn the_table_shows_nodes_and_their_leader() {
        let shown = format!("{}\n{}", summary(&status()), table(&status()));
        for part in
            ["mesh dev", "1250 of 2000 streams free", "2 rooms", "node-2 ★", "█████████░░░", "127.0.0.1:4440"]
        {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }

    #[test]
    fn the_bar_is_honest_at_its_ends() {
        assert_eq!(bar(1000, 1000), "░░░░░░░░░░░░");
        assert_eq!(bar(999, 1000), "█░░░░░░░░░░░");
        assert_eq!(bar(1, 1000), "███████████░");
        assert_eq!(bar(0, 1000), "████████████");
        assert_eq!(bar(0, 0), "░░░░░░░░░░░░");
        assert_eq!(bar(u32::MAX, 1), "░░░░░░░░░░░░");
    }

    #[tokio::test]
    async fn the_answer_is_given_as_it_is() {
        let body = serde_json::to_string(&status()).expect("is JSON");
        let url = serve("200 OK", body.clone()).await;
        assert_eq!(fetch(&url, None).await.expect("answers"), body);
    }

    #[tokio::test]
    async fn failures_say_what_to_do() {
        let url = serve("401 Unauthorized", String::new()).await;
        let error = one_line(&fetch(&url, None).await.expect_err("refuses"));
        assert!(
            error.contains("wants the operator token") && error.contains("SKEIN_OPERATOR_TOKEN"),
            "{error}"
        );
        let url = serve("503 Service Unavailable", r#"{"error":"it starts"}"#.to_owned()).await;
        let error = one_line(&fetch(&url, None).await.expect_err("refuses"));
        assert!(error.contains("503") && error.contains("it starts"), "{error}");
        // A port that was free a moment ago.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        drop(listener);
        let error = one_line(&fetch(&url, None).await.expect_err("nobody is there"));
        assert!(error.contains("cannot be reached (Connection refused"), "{error}");
        let error = one_line(&fetch("no address", None).await.expect_err("is none"));
        assert!(error.contains("--url no address"), "{error}");
    }
}
