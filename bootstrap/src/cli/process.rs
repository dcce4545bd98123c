//! Running other programs: with their output in a log behind a spinner, or with it on the terminal. Each gets a process
//! group of its own, so that it ends with all that it started when it is told to.

use super::checkout::Checkout;
use super::progress::Progress;
use super::stop::Stop;
use anyhow::{Context, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// How many of the last lines are shown when a program fails.
const TAIL_LINES: usize = 30;
/// How long a program has to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a line of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What is made of a program's output while it runs.
pub trait Watch {
    /// Takes a line. Whether it is for people, and so belongs into the log.
    fn line(&mut self, stream: Stream, line: &str) -> bool;
    /// What to show beside the spinner.
    fn describe(&self) -> String;
}

/// Shows the last line that a program wrote.
#[derive(Debug, Default)]
pub struct LastLine(String);

impl Watch for LastLine {
    fn line(&mut self, _: Stream, line: &str) -> bool {
        if !line.trim().is_empty() {
            line.trim().clone_into(&mut self.0);
        }
        true
    }

    fn describe(&self) -> String {
        self.0.clone()
    }
}

/// A program whose name and arguments make a step that a person would type.
pub fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).process_group(0);
    // What `cargo run` sets for this program means nothing to another, and confuses a cargo below this one.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text.starts_with("CARGO_BIN_")
        {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo that started this program, or the one in the path, at work on the checkout.
pub fn cargo(arguments: &[&str], checkout: &Checkout) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = command(program, arguments, checkout.root());
    // The variable may be relative to another folder than the one in which cargo starts here.
    command.env("CARGO_TARGET_DIR", checkout.target());
    command
}

/// A command as it would be typed.
pub fn typed(command: &Command) -> String {
    let command = command.as_std();
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// A program failed, and its last lines have been shown.
#[derive(Debug, thiserror::Error)]
#[error("`{typed}` failed ({status})")]
pub struct Failed {
    typed: String,
    status: ExitStatus,
    /// Its last lines.
    pub tail: Vec<String>,
}

/// Runs a program behind a spinner, its output in a log. When it fails its last lines are shown.
///
/// # Errors
/// [`Failed`] when it fails; another when it cannot be run or the program is told to stop.
pub async fn run_logged(
    mut command: Command,
    log: &Path,
    title: &str,
    watch: &mut impl Watch,
    stop: &Stop,
) -> anyhow::Result<()> {
    let typed = typed(&command);
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write the log {}", log.display()))?;
    writeln!(file, "\n$ {typed}").with_context(|| format!("cannot write the log {}", log.display()))?;

    let mut progress = Progress::start(title);
    let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            progress.failed();
            return Err(error).with_context(|| format!("cannot start `{typed}`"));
        }
    };
    let mut lines = lines_of(&mut child);
    let mut tail = VecDeque::with_capacity(TAIL_LINES);
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some((stream, line)) = line else { break };
                if watch.line(stream, &line) {
                    writeln!(file, "{line}").with_context(|| format!("cannot write the log {}", log.display()))?;
                    if tail.len() == TAIL_LINES {
                        tail.pop_front();
                    }
                    tail.push_back(line);
                }
                progress.detail(watch.describe());
            }
            _ = ticks.tick() => progress.tick(),
            reason = stop.requested() => {
                end(&mut child).await;
                progress.failed();
                bail!("stopped by {reason} during `{typed}`");
            }
        }
    }
    let status = child.wait().await.with_context(|| format!("lost sight of `{typed}`"))?;
    if status.success() {
        progress.done("done");
        return Ok(());
    }
    progress.failed();
    for line in &tail {
        eprintln!("  | {line}");
    }
    Err(Failed { typed, status, tail: tail.into() }.into())
}

/// The lines of a program's output, from both streams. Ends when both have ended.
fn lines_of(child: &mut Child) -> mpsc::Receiver<(Stream, String)> {
    let (sender, receiver) = mpsc::channel(1024);
    if let Some(out) = child.stdout.take() {
        tokio::spawn(forward(Stream::Out, BufReader::new(out), sender.clone()));
    }
    if let Some(err) = child.stderr.take() {
        tokio::spawn(forward(Stream::Err, BufReader::new(err), sender));
    }
    receiver
}

async fn forward(
    stream: Stream,
    mut reader: impl tokio::io::AsyncBufRead + Unpin,
    sender: mpsc::Sender<(Stream, String)>,
) {
    let mut bytes = Vec::new();
    // A pipe that breaks has ended.
    while reader.read_until(b'\n', &mut bytes).await.is_ok_and(|read| read > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        if sender.send((stream, line)).await.is_err() {
            return;
        }
    }
}

/// Runs a program with its output on the terminal.
///
/// # Errors
/// When it fails, cannot be run, takes longer than `limit`, or this program is told to stop.
pub async fn run_live(mut command: Command, limit: Duration, stop: &Stop) -> anyhow::Result<()> {
    let typed = typed(&command);
    eprintln!("$ {typed}");
    let mut child = command.spawn().with_context(|| format!("cannot start `{typed}`"))?;
    tokio::select! {
        status = child.wait() => {
            let status = status.with_context(|| format!("lost sight of `{typed}`"))?;
            if !status.success() {
                bail!("`{typed}` failed ({status})");
            }
            Ok(())
        }
        () = tokio::time::sleep(limit) => {
            end(&mut child).await;
            bail!("`{typed}` took longer than {}", super::progress::brief(limit));
        }
        reason = stop.requested() => {
            end(&mut child).await;
            bail!("stopped by {reason} during `{typed}`");
        }
    }
}

/// Ends a program and all of its process group: politely, then not.
async fn end(child: &mut Child) {
    // Without an id it has ended and been waited for.
    let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else { return };
    // Fails when the group is gone.
    let _ = killpg(group, Signal::SIGTERM);
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        let _ = killpg(group, Signal::SIGKILL);
        let _ = child.wait().await;
    }
}

/// What a program prints, trimmed; nothing where it is missing or fails.
pub async fn output_of(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The last lines of a file, for showing why something failed.
pub fn tail_of(file: &Path, lines: usize) -> Vec<String> {
    // Lossy, since a process that dies may leave half a character.
    let Ok(bytes) = std::fs::read(file) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_typed() {
        let command = command("/usr/bin/npm", &["run", "build"], Path::new("/"));
        assert_eq!(typed(&command), "npm run build");
    }

    #[test]
    fn the_tail_of_a_file_is_its_last_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("log");
        std::fs::write(&file, "a\nb\n\nc\n").expect("writes");
        assert_eq!(tail_of(&file, 2), ["b", "c"]);
        assert_eq!(tail_of(&file, 9), ["a", "b", "c"]);
        assert!(tail_of(&folder.path().join("none"), 9).is_empty());
    }

    #[tokio::test]
    async fn a_program_that_fails_leaves_its_last_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let stop = Stop::never();
        let script = "echo out; echo err >&2; exit 3";
        let command = command("sh", &["-c", script], folder.path());
        let error =
            run_logged(command, &log, "a test", &mut LastLine::default(), &stop).await.expect_err("fails");
        let failed = error.downcast_ref::<Failed>().expect("the program failed");
        assert_eq!(failed.tail.len(), 2);
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert!(std::fs::read_to_string(&log).expect("is there").contains("out\n"));
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_ends_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let stop = Stop::never();
        let command = command("sh", &["-c", "sleep 60 & echo $! > pid; wait"], folder.path());
        let error = run_live(command, Duration::from_millis(500), &stop).await.expect_err("takes too long");
        assert!(error.to_string().contains("took longer"), "{error}");
        let pid = std::fs::read_to_string(folder.path().join("pid")).expect("is there");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let alive = procfs::process::Process::new(pid.trim().parse().expect("a number"))
            .and_then(|process| process.stat())
            .is_ok_and(|stat| stat.state != 'Z');
        assert!(!alive, "the grandchild {pid} still runs");
    }
}
