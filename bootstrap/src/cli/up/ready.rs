//! Waiting until every node sees every other.

use super::layout::Planned;
use super::nodes::Nodes;
use crate::cli::http_client;
use crate::cli::progress::Progress;
use crate::cli::stop::Stop;
use anyhow::bail;
use futures::future::join_all;
use skein_proto::operator::{MeshStatus, NodeState};
use std::time::{Duration, Instant};

/// How long a mesh may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often nodes are asked.
const INTERVAL: Duration = Duration::from_millis(200);

/// How far one node is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// It does not answer yet.
    Silent,
    /// It answers, and not as it should.
    Answers(String),
    /// It is ready, and sees this many nodes alive.
    Ready(usize),
}

/// Waits until all nodes are ready and see each other.
///
/// # Errors
/// When one ends, when it takes too long, or when the program is told to stop. The nodes go on.
pub async fn wait(planned: &[Planned], nodes: &mut Nodes, stop: &Stop) -> anyhow::Result<()> {
    let client = http_client(Duration::from_secs(2), true)?;
    let mut progress = Progress::start(title(planned.len()));
    let started = Instant::now();
    loop {
        let asked = planned.iter().map(|node| ask(&client, node));
        let seen = tokio::select! {
            seen = join_all(asked) => seen,
            ended = nodes.next_end() => {
                progress.failed();
                nodes.show_log(ended.index);
                let id = planned[ended.index].id();
                bail!("{id} ended at its start ({}); what it logged is above and in {}", ended.how(), planned[ended.index].log.display());
            }
            reason = stop.requested() => {
                progress.failed();
                bail!("stopped by {reason} while the mesh started");
            }
        };
        if is_complete(&seen) {
            progress.done("done");
            return Ok(());
        }
        let text = describe(planned, &seen);
        if started.elapsed() >= DEADLINE {
            progress.failed();
            let index = seen.iter().position(|one| *one != Seen::Ready(seen.len())).unwrap_or_default();
            nodes.show_log(index);
            bail!(
                "the mesh is not ready after {} s: {text}; the last lines of {} are above, all logs in {}",
                DEADLINE.as_secs(),
                planned[index].id(),
                planned[index].log.with_file_name("node-*.log").display()
            );
        }
        progress.detail(text);
        progress.tick();
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn ask(client: &reqwest::Client, node: &Planned) -> Seen {
    let url = node.local_url();
    match client.get(format!("{url}/readyz")).send().await {
        Err(_) => return Seen::Silent,
        Ok(answer) if answer.status() != 200 => {
            return Seen::Answers(format!("/readyz says {}", answer.status()));
        }
        Ok(_) => {}
    }
    let mut request = client.get(format!("{url}/v1/mesh"));
    if let Some(token) = &node.config.auth.operator_token {
        request = request.bearer_auth(token);
    }
    match request.send().await {
        Err(_) => Seen::Silent,
        Ok(answer) if answer.status() != 200 => Seen::Answers(format!("/v1/mesh says {}", answer.status())),
        Ok(answer) => match answer.json::<MeshStatus>().await {
            Ok(mesh) => Seen::Ready(mesh.nodes.iter().filter(|node| node.state == NodeState::Alive).count()),
            Err(error) => Seen::Answers(format!("/v1/mesh is not what it should be: {error}")),
        },
    }
}

fn is_complete(seen: &[Seen]) -> bool {
    // More than there should be are a mesh too: somebody joined it.
    seen.iter().all(|one| matches!(one, Seen::Ready(alive) if *alive >= seen.len()))
}

fn describe(planned: &[Planned], seen: &[Seen]) -> String {
    let names = planned.iter().map(|node| node.id().to_string());
    let all = seen.len();
    let lines = names.zip(seen).map(|(id, one)| match one {
        Seen::Silent => format!("{id} does not answer"),
        Seen::Answers(text) => format!("{id}: {text}"),
        Seen::Ready(alive) => format!("{id} sees {alive} of {all}"),
    });
    lines.collect::<Vec<_>>().join(", ")
}

fn title(nodes: usize) -> String {
    match nodes {
        1 => "waiting until the node is ready".to_owned(),
        _ => format!("waiting until {nodes} nodes see each other"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_is_complete_when_everybody_sees_everybody() {
        assert!(is_complete(&[Seen::Ready(2), Seen::Ready(2)]));
        assert!(is_complete(&[Seen::Ready(2), Seen::Ready(3)]));
        assert!(!is_complete(&[Seen::Ready(2), Seen::Ready(1)]));
        assert!(!is_complete(&[Seen::Ready(2), Seen::Silent]));
        assert!(!is_complete(&[Seen::Ready(2), Seen::Answers("503".to_owned())]));
    }
}
