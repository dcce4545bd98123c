//! The processes of a mesh: starting them, noticing that one ends.

use super::layout::Planned;
use crate::cli::process::tail_of;
use crate::cli::state::{MeshState, NodeProcess, stop_all};
use anyhow::Context;
use skein_bootstrap::process::Stamp;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::process::Command;
use tokio::sync::mpsc;

/// How many of a node's last lines are shown when it ends.
const TAIL_LINES: usize = 12;

/// Node processes that this program started.
pub struct Nodes {
    /// What is known of each.
    pub processes: Vec<NodeProcess>,
    logs: Vec<PathBuf>,
    ended: mpsc::Receiver<Ended>,
}

/// A node process has ended.
#[derive(Debug)]
pub struct Ended {
    /// Which, from 0.
    pub index: usize,
    /// How; nothing where that is not known.
    pub status: Option<ExitStatus>,
}

impl Ended {
    /// For people.
    pub fn how(&self) -> String {
        self.status.map_or_else(|| "nobody knows how".to_owned(), |status| status.to_string())
    }
}

impl Nodes {
    /// Starts all nodes. When one cannot be started, those before it are stopped.
    ///
    /// # Errors
    /// When one cannot be started.
    pub async fn start(
        binary: &Path,
        planned: &[Planned],
        settings: &[String],
        apart: bool,
    ) -> anyhow::Result<Self> {
        let (sender, ended) = mpsc::channel(planned.len().max(1));
        let mut nodes = Self { processes: Vec::new(), logs: Vec::new(), ended };
        for (index, node) in planned.iter().enumerate() {
            match start_one(binary, node, settings, apart) {
                Ok((process, mut child)) => {
                    nodes.processes.push(process);
                    nodes.logs.push(node.log.clone());
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        let status = child.wait().await.ok();
                        // Fails when nobody watches any more.
                        let _ = sender.send(Ended { index, status }).await;
                    });
                }
                Err(error) => {
                    nodes.stop().await;
                    return Err(error);
                }
            }
        }
        Ok(nodes)
    }

    /// Waits for the next node to end. Never comes back when all have. Safe to cancel.
    pub async fn next_end(&mut self) -> Ended {
        match self.ended.recv().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// Shows the last lines that a node logged.
    pub fn show_log(&self, index: usize) {
        for line in tail_of(&self.logs[index], TAIL_LINES) {
            eprintln!("  | {line}");
        }
    }

    /// Stops all that still run.
    pub async fn stop(&self) {
        for node in stop_all(&self.processes).await {
            eprintln!("{} did not stop by itself and was killed", node.id);
        }
    }

    /// What is written down of the mesh.
    pub fn state(&self, mesh: &str, base_port: u16) -> MeshState {
        MeshState { mesh: mesh.to_owned(), base_port, nodes: self.processes.clone() }
    }
}

fn start_one(
    binary: &Path,
    node: &Planned,
    settings: &[String],
    apart: bool,
) -> anyhow::Result<(NodeProcess, tokio::process::Child)> {
    let id = node.id();
    let log =
        File::create(&node.log).with_context(|| format!("cannot write the log {}", node.log.display()))?;
    let log_too = log.try_clone().context("cannot share a log between stdout and stderr")?;
    let mut command = command(binary, apart);
    command.arg("--config").arg(&node.file);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.stdin(Stdio::null()).stdout(log).stderr(log_too);
    let child =
        command.spawn().with_context(|| format!("cannot start {id}: {} does not run", binary.display()))?;
    // Not yet waited for, so the number is its own even if it has ended by now.
    let pid = child.id().context("a process without a number")?;
    let process = Stamp::of(pid).context("the process has ended")?;
    Ok((NodeProcess { id: id.to_string(), url: node.url(), ws: node.ws(), process }, child))
}

/// The node's program in a process group of its own, so that Ctrl-C reaches this program first; `apart` in a session of
/// its own, so that it outlives the terminal.
fn command(binary: &Path, apart: bool) -> Command {
    // `setsid` (util-linux, on every Debian) turns into the program it is given: same process, same number.
    if apart && let Ok(setsid) = which::which("setsid") {
        let mut command = Command::new(setsid);
        command.arg(binary);
        return command;
    }
    let mut command = Command::new(binary);
    command.process_group(0);
    command
}
