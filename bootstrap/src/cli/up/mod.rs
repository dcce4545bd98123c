//! `skein up`: a development mesh on this machine, from nothing.

mod layout;
mod nodes;
mod ports;
mod ready;

use super::build;
use super::checkout::Checkout;
use super::state::{MACHINES, MeshState};
use super::stop::Stop;
use super::tools::{self, Purpose};
use anyhow::{Context, bail, ensure};
use clap::Args;
use comfy_table::Table;
use layout::{Growth, Planned, Wish};
use nodes::Nodes;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Build and start a development mesh on this machine
///
/// Checks what is missing and installs it with apt where it may, builds the web page and the node, makes a private
/// certificate authority with a certificate for each node, starts the nodes on 127.0.0.1 and waits until all see each
/// other. Ctrl-C stops them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skein up                                       three nodes: http://127.0.0.1:4440, 4441 and 4442
  skein up --detach --json                       in the background; where they are, as JSON
  skein up --nodes 5 --base-port 6000            five, on other ports
  skein up --streams-per-worker 20 --set placement.prefer=entry --set media.workers=1
  skein up --nodes 1 --max-nodes 4 --streams-per-worker 12 --idle-minutes 0.5
                                                 one that grows to four when people come, and shrinks again

Ports, from the base port P: P, P+1… for HTTP and WebSocket (TCP) and between nodes (UDP); P+100, P+132… for media.
What it keeps is in target/skein/: certificates, configuration files and logs.")]
pub struct Up {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=i64::from(ports::MAX_NODES)))]
    nodes: u16,
    /// The first port
    #[arg(long, value_name = "P", default_value_t = 4440, value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
    /// How many streams a worker carries
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    streams_per_worker: Option<u32>,
    /// Let the mesh grow to so many nodes, and shrink again: a leader launches and retires them, as processes here
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u16).range(1..=64))]
    max_nodes: Option<u16>,
    /// Minutes for which a node must not have been needed before it is drained and retired
    #[arg(long, value_name = "MINUTES", requires = "max_nodes", value_parser = minutes)]
    idle_minutes: Option<f64>,
    /// Set something in every node's configuration; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Leave the mesh running, and return once it is ready; `skein down` stops it
    #[arg(long)]
    detach: bool,
    /// Print JSON when it is ready: {"mesh", "nodes": [{"id", "url", "ws", "pid"}]}
    #[arg(long)]
    json: bool,
    /// Start what was built before
    #[arg(long)]
    skip_build: bool,
    /// Start this program as a node, and build nothing; for tests of this command
    #[arg(long, value_name = "FILE", env = "SKEIN_NODE_BIN", hide = true)]
    node_bin: Option<PathBuf>,
}

impl Up {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let checkout = Checkout::find()?;
        let stop = Stop::listen()?;
        let folder = checkout.mesh(self.base_port);
        check_not_running(&checkout, &folder)?;
        // Mistakes come to light before the long build, not after it.
        let planned = layout::configure(&folder, &self.wish(&checkout))?;
        check_ports(&planned)?;
        let binary = self.binary(&checkout, &stop).await?;
        check_ports(&planned)?;
        layout::identify(&folder, &planned)?;
        self.start(&folder, &binary, &planned, &stop).await
    }

    fn wish(&self, checkout: &Checkout) -> Wish {
        Wish {
            nodes: self.nodes,
            base_port: self.base_port,
            streams_per_worker: self.streams_per_worker,
            calibration: Some(checkout.calibration()).filter(|file| file.is_file()),
            settings: self.settings.clone(),
            growth: self.max_nodes.map(|max_nodes| Growth { max_nodes, idle_minutes: self.idle_minutes }),
        }
    }

    /// The node's program, built where that is wanted.
    async fn binary(&self, checkout: &Checkout, stop: &Stop) -> anyhow::Result<PathBuf> {
        if let Some(given) = &self.node_bin {
            ensure!(given.is_file(), "--node-bin: {} is not there", given.display());
            return std::path::absolute(given).context("there is no working folder");
        }
        if self.skip_build {
            let built = checkout.program(build::NODE);
            ensure!(built.is_file(), "{} is not there; run it without --skip-build", checkout.shown(&built));
            return Ok(built);
        }
        tools::ensure(checkout, Purpose::Up, stop).await?;
        build::web(checkout, stop).await?;
        build::node(checkout, stop).await
    }

    async fn start(
        &self,
        folder: &Path,
        binary: &Path,
        planned: &[Planned],
        stop: &Stop,
    ) -> anyhow::Result<ExitCode> {
        let mesh = planned.first().map(|node| node.config.mesh.name.clone()).unwrap_or_default();
        forget_launched(folder)?;
        let mut nodes = Nodes::start(binary, planned, &self.settings, self.detach).await?;
        let state = nodes.state(&mesh, self.base_port);
        let ready = match state.save(folder) {
            Ok(()) => ready::wait(planned, &mut nodes, stop).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ready {
            stop_mesh(&state, folder).await?;
            MeshState::remove(folder);
            return Err(error);
        }
        if self.json {
            println!("{}", json(&state));
        } else {
            println!("{}", table(&state));
        }
        if self.detach {
            eprintln!(
                "The mesh runs; `cargo skein down` stops it. Logs: {}",
                folder.join("node-*.log").display()
            );
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("Ctrl-C stops the mesh. Logs: {}", folder.join("node-*.log").display());
        let code = watch(&mut nodes, stop).await;
        stop_mesh(&state, folder).await?;
        MeshState::remove(folder);
        Ok(code)
    }
}

/// Ends all that runs of a mesh.
async fn stop_mesh(state: &MeshState, folder: &Path) -> anyhow::Result<()> {
    for node in state.stop(folder).await? {
        eprintln!("{node} did not stop by itself and was killed");
    }
    Ok(())
}

/// Removes what an earlier mesh's leader wrote down; nothing of it runs.
fn forget_launched(folder: &Path) -> anyhow::Result<()> {
    let machines = folder.join(MACHINES);
    match std::fs::remove_dir_all(&machines) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", machines.display()))
        }
        _ => Ok(()),
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().map_err(|e| e.to_string())?;
    if (0.0..=10_000.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("is not between 0 and 10000".to_owned())
    }
}

fn check_not_running(checkout: &Checkout, folder: &Path) -> anyhow::Result<()> {
    if let Some(state) = MeshState::load(folder)? {
        let running = state.running(folder)?.len();
        if running > 0 {
            bail!(
                "a mesh of {} runs at port {} already; `cargo skein down --base-port {}` stops it, --base-port starts another \
                 beside it (logs: {})",
                super::count(running as u64, "node"),
                state.base_port,
                state.base_port,
                checkout.shown(folder)
            );
        }
    }
    Ok(())
}

fn check_ports(planned: &[Planned]) -> anyhow::Result<()> {
    let wanted: Vec<_> = planned.iter().flat_map(|node| ports::wanted(&node.config)).collect();
    ports::check(&wanted)
}

/// Watches over the nodes until all have ended or the program is told to stop.
async fn watch(nodes: &mut Nodes, stop: &Stop) -> ExitCode {
    let mut left = nodes.processes.len();
    let mut all_well = true;
    while left > 0 {
        tokio::select! {
            ended = nodes.next_end() => {
                left -= 1;
                let id = nodes.processes[ended.index].id.clone();
                if ended.status.is_some_and(|status| status.success()) {
                    eprintln!("{id} has stopped");
                } else {
                    all_well = false;
                    nodes.show_log(ended.index);
                    eprintln!("{id} died ({}); its last lines are above. The others go on: {left}", ended.how());
                }
            }
            reason = stop.requested() => {
                eprintln!("{reason}: stopping the mesh");
                return ExitCode::SUCCESS;
            }
        }
    }
    eprintln!("all nodes have stopped");
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn json(state: &MeshState) -> serde_json::Value {
    let nodes: Vec<_> = state
        .nodes
        .iter()
        .map(|node| serde_json::json!({ "id": node.id, "url": node.url, "ws": node.ws, "pid": node.process.pid }))
        .collect();
    serde_json::json!({ "mesh": state.mesh, "nodes": nodes })
}

fn table(state: &MeshState) -> Table {
    let mut table = super::table(["node", "room page", "console"]);
    for node in &state.nodes {
        table.add_row([node.id.clone(), format!("{}/", node.url), format!("{}/console", node.url)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::state::NodeProcess;
    use skein_bootstrap::process::Stamp;

    fn state() -> MeshState {
        let node = |index: u16| NodeProcess {
            id: format!("node-{index}"),
            url: format!("http://127.0.0.1:{}", 4439 + index),
            ws: format!("ws://127.0.0.1:{}", 4439 + index),
            process: Stamp { pid: 7, started: 1, boot: String::new() },
        };
        MeshState { mesh: "dev".to_owned(), base_port: 4440, nodes: vec![node(1), node(2)] }
    }

    #[test]
    fn json_has_the_names_of_the_issue() {
        let json = json(&state());
        assert_eq!(json["mesh"], "dev");
        assert_eq!(json["nodes"][1]["id"], "node-2");
        assert_eq!(json["nodes"][1]["url"], "http://127.0.0.1:4441");
        assert_eq!(json["nodes"][1]["ws"], "ws://127.0.0.1:4441");
    }

    #[test]
    fn the_table_shows_pages_of_every_node() {
        let shown = table(&state()).to_string();
        for page in ["http://127.0.0.1:4440/ ", "http://127.0.0.1:4441/console"] {
            assert!(shown.contains(page), "{shown}");
        }
    }
}
