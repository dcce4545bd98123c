//! One node's process.

use super::{Ports, node_binary, skein_binary};
use crate::operator::Operator;
use crate::run::keep_log;
use crate::wait;
use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use skein_proto::ids::NodeId;
use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a node may take until it answers.
const START: Duration = Duration::from_secs(15);
/// How long a node may take to stop.
const STOP: Duration = Duration::from_secs(10);
/// How many lines of a log are shown.
const SHOWN_LINES: usize = 60;
/// Nodes log this much unless SKEIN_TEST_LOG says otherwise.
const LOG: &str = "info,skein_node=debug";

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal.
    pub signal: Option<i32>,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    // A variable of the caller's must not change what is tested.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SKEIN_")) {
        command.env_remove(name);
    }
    let filter = std::env::var("SKEIN_TEST_LOG").unwrap_or_else(|_| LOG.to_owned());
    command.env("RUST_LOG", filter).env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    command
}

/// Runs the node's program for as long as it lasts. Answers how it ended and all that it wrote.
///
/// # Errors
/// When it does not end in time; it is killed then.
///
/// # Panics
/// When the program is not there.
pub async fn run_node<A: AsRef<OsStr>>(
    arguments: &[A],
    deadline: Duration,
) -> anyhow::Result<(Exit, String)> {
    run_program(&node_binary(), arguments, deadline).await
}

/// Runs the program `skein` for as long as it lasts. Answers how it ended and all that it wrote.
///
/// # Errors
/// When it does not end in time; it is killed then.
///
/// # Panics
/// When the program is not there.
pub async fn run_skein<A: AsRef<OsStr>>(
    arguments: &[A],
    deadline: Duration,
) -> anyhow::Result<(Exit, String)> {
    run_program(&skein_binary(), arguments, deadline).await
}

async fn run_program<A: AsRef<OsStr>>(
    program: &Path,
    arguments: &[A],
    deadline: Duration,
) -> anyhow::Result<(Exit, String)> {
    let mut command = tokio::process::Command::from(command(program));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(deadline, command.output());
    let output =
        output.await.with_context(|| format!("{} still runs after {deadline:?}", program.display()))??;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok((output.status.into(), text))
}

/// A node's process. Dropping it kills it.
pub struct NodeProcess {
    id: NodeId,
    ports: Ports,
    operator: Operator,
    child: Child,
    exit: Option<Exit>,
    log: PathBuf,
}

impl NodeProcess {
    /// Starts a process with these settings; does not wait for anything.
    ///
    /// # Errors
    /// When it cannot be started.
    ///
    /// # Panics
    /// When the program is not there.
    pub fn start(
        id: &NodeId,
        folder: &Path,
        ports: Ports,
        settings: Vec<String>,
        operator_token: Option<String>,
    ) -> anyhow::Result<Self> {
        let arguments: Vec<_> =
            settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect();
        Self::start_with(id, folder, ports, &arguments, operator_token)
    }

    /// Starts a process with these arguments; does not wait for anything. They must say the name and the ports.
    ///
    /// # Errors
    /// When it cannot be started.
    ///
    /// # Panics
    /// When the program is not there.
    pub fn start_with(
        id: &NodeId,
        folder: &Path,
        mut ports: Ports,
        arguments: &[String],
        operator_token: Option<String>,
    ) -> anyhow::Result<Self> {
        let log = folder.join(format!("{id}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = command(&node_binary());
        command.args(arguments).stdout(file.try_clone()?).stderr(file);
        ports.release();
        let child = command.spawn().with_context(|| format!("cannot start {}", node_binary().display()))?;
        let operator = Operator::new(&format!("http://{}", ports.http), operator_token);
        Ok(Self { id: id.clone(), ports, operator, child, exit: None, log })
    }

    /// Waits until it answers HTTP.
    ///
    /// # Errors
    /// When it ended, or takes too long.
    pub async fn answers(&mut self) -> anyhow::Result<()> {
        let (operator, id) = (self.operator.clone(), self.id.clone());
        wait::until("a node answers", START, async || {
            if let Some(exit) = self.poll_exit()? {
                bail!("{id} ended: {exit:?}: {}", self.log());
            }
            let health = operator.get("/healthz").await?;
            ensure!(health.status == 200, "{health:?}");
            Ok(())
        })
        .await
    }

    /// Its name.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Its operator API.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Its address for nodes.
    pub fn mesh_addr(&self) -> SocketAddr {
        self.ports.mesh
    }

    /// Its address for clients, `ws://…`.
    pub fn ws(&self) -> String {
        format!("ws://{}", self.ports.http)
    }

    /// Its address for operators, `http://…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.ports.http)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether nobody ended it. It may have ended by itself; [`NodeProcess::poll_exit`] tells.
    pub fn is_running(&self) -> bool {
        self.exit.is_none()
    }

    /// Everything it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Looks whether it has ended.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn poll_exit(&mut self) -> anyhow::Result<Option<Exit>> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait()?.map(Exit::from);
        }
        Ok(self.exit)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ended(&mut self, deadline: Duration) -> anyhow::Result<Exit> {
        let id = self.id.clone();
        wait::until("a node ends", deadline, async || {
            self.poll_exit()?.with_context(|| format!("{id} still runs"))
        })
        .await
    }

    /// SIGINT, which it obeys at once, and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> anyhow::Result<Exit> {
        self.interrupt()?;
        self.ended(STOP).await
    }

    /// SIGTERM, without waiting: it sends its peers to other nodes first, where there are any.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// SIGINT, without waiting.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn interrupt(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGINT)
    }

    /// SIGSTOP: it does nothing any more until `resume`, and its connections stand.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn suspend(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT, after `suspend`.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        ensure!(self.poll_exit()?.is_none(), "{} has ended before", self.id);
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        Ok(())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if self.poll_exit()?.is_none() {
            self.child.kill()?;
            self.exit = Some(self.child.wait()?.into());
        }
        Ok(())
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let ended = self.poll_exit().ok().flatten();
        let _ = self.kill();
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let shown = lines.len().saturating_sub(SHOWN_LINES);
        let end = ended.map_or_else(|| "ran until now".to_owned(), |exit| format!("{exit:?}"));
        keep_log(format!(
            "--- {} ({end}), last of {} lines:\n{}",
            self.id,
            lines.len(),
            lines[shown..].join("\n")
        ));
    }
}
