//! Which meshes run on this machine: one file a mesh, so that `skein down` and the next `skein up` know.

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::Process;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long nodes have to end when they are told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// One mesh that `skein up` started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshState {
    /// Its name.
    pub mesh: String,
    /// The first port.
    pub base_port: u16,
    /// Its nodes.
    pub nodes: Vec<NodeProcess>,
}

/// The process of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeProcess {
    /// The node's name.
    pub id: String,
    /// Address of its HTTP server.
    pub url: String,
    /// Address of its WebSocket.
    pub ws: String,
    /// Its process.
    pub pid: i32,
    /// When that process started, clock ticks since the machine did. With `boot` it makes sure that a process that has
    /// got the same number since is never taken for it.
    pub started: u64,
    /// Which start of the machine.
    pub boot: String,
}

/// When a process started and in which run of the machine, as [`NodeProcess`] keeps it.
///
/// # Errors
/// When the process has ended.
pub fn stamp_of(pid: i32) -> anyhow::Result<(u64, String)> {
    let stat = Process::new(pid).and_then(|process| process.stat()).context("the process has ended")?;
    Ok((stat.starttime, boot()))
}

fn boot() -> String {
    // Absent outside Linux, where nothing of this works.
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl NodeProcess {
    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        let stat = Process::new(self.pid).and_then(|process| process.stat());
        // A zombie has ended; its parent has not looked yet.
        stat.is_ok_and(|stat| stat.starttime == self.started && !matches!(stat.state, 'Z' | 'X'))
            && self.boot == boot()
    }

    fn signal(&self, signal: Signal) {
        if self.is_running() {
            // Fails when it ends in this very moment.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

impl MeshState {
    fn file(folder: &Path) -> PathBuf {
        folder.join("state.json")
    }

    /// Reads what was written to a mesh's folder, if anything was.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn load(folder: &Path) -> anyhow::Result<Option<Self>> {
        let file = Self::file(folder);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let state = serde_json::from_str(&text).with_context(|| {
            format!("{} is damaged; stop its nodes by hand and remove it", file.display())
        })?;
        Ok(Some(state))
    }

    /// Writes it to the mesh's folder, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn save(&self, folder: &Path) -> anyhow::Result<()> {
        let file = Self::file(folder);
        let draft = file.with_extension("new");
        let text = serde_json::to_string_pretty(self).context("cannot write JSON")?;
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Forgets the mesh. What is not there is forgotten.
    pub fn remove(folder: &Path) {
        let _ = fs::remove_file(Self::file(folder));
    }

    /// All meshes that have been written below a folder, by base port, with their folders.
    ///
    /// # Errors
    /// When one is damaged.
    pub fn all(kept: &Path) -> anyhow::Result<Vec<(PathBuf, Self)>> {
        let Ok(entries) = fs::read_dir(kept) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for folder in entries.flatten().map(|entry| entry.path()) {
            let is_mesh = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mesh-"));
            if is_mesh && let Some(state) = Self::load(&folder)? {
                found.push((folder, state));
            }
        }
        found.sort_by_key(|(_, state)| state.base_port);
        Ok(found)
    }

    /// The nodes that still run.
    pub fn running(&self) -> Vec<&NodeProcess> {
        self.nodes.iter().filter(|node| node.is_running()).collect()
    }
}

/// Ends processes: politely, and after a while not. By SIGINT, which nodes obey at once: told by SIGTERM, each would
/// first send its peers to the others. Answers with those that had to be killed.
pub async fn stop_all<'a>(nodes: impl IntoIterator<Item = &'a NodeProcess>) -> Vec<&'a NodeProcess> {
    stop_all_within(nodes, PATIENCE).await
}

async fn stop_all_within<'a>(
    nodes: impl IntoIterator<Item = &'a NodeProcess>,
    patience: Duration,
) -> Vec<&'a NodeProcess> {
    let mut left: Vec<_> = nodes.into_iter().filter(|node| node.is_running()).collect();
    left.iter().for_each(|node| node.signal(Signal::SIGINT));
    let asked = Instant::now();
    while !left.is_empty() && asked.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(50)).await;
        left.retain(|node| node.is_running());
    }
    left.iter().for_each(|node| node.signal(Signal::SIGKILL));
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn process(id: &str, pid: u32) -> NodeProcess {
        let pid = i32::try_from(pid).expect("a pid");
        let (started, boot) = stamp_of(pid).expect("runs");
        let (url, ws) = ("http://127.0.0.1:4440".to_owned(), "ws://127.0.0.1:4440".to_owned());
        NodeProcess { id: id.to_owned(), url, ws, pid, started, boot }
    }

    #[test]
    fn what_is_saved_is_found_again() {
        let kept = tempfile::tempdir().expect("a folder");
        let mut state = MeshState {
            mesh: "dev".to_owned(),
            base_port: 4540,
            nodes: vec![process("node-1", std::process::id())],
        };
        for port in [4540, 4440] {
            state.base_port = port;
            let folder = kept.path().join(format!("mesh-{port}"));
            fs::create_dir(&folder).expect("makes");
            state.save(&folder).expect("saves");
        }
        let all = MeshState::all(kept.path()).expect("reads");
        assert_eq!(all.iter().map(|(_, state)| state.base_port).collect::<Vec<_>>(), [4440, 4540]);
        assert_eq!(all[0].1, state);
        assert_eq!(all[0].1.running().len(), 1);
        MeshState::remove(&all[0].0);
        assert_eq!(MeshState::all(kept.path()).expect("reads").len(), 1);
    }

    #[test]
    fn a_recycled_pid_is_not_the_node() {
        let mut node = process("node-1", std::process::id());
        assert!(node.is_running());
        node.started += 1;
        assert!(!node.is_running());
        node.started -= 1;
        node.boot = "another".to_owned();
        assert!(!node.is_running());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("state.json"), "{").expect("writes");
        let error = MeshState::load(folder.path()).expect_err("damaged").to_string();
        assert!(error.contains("state.json is damaged"), "{error}");
    }

    #[tokio::test]
    async fn who_does_not_end_is_killed() {
        let mut polite = Command::new("sleep").arg("60").spawn().expect("starts");
        let mut deaf = Command::new("sh");
        deaf.args(["-c", "trap '' INT; echo; while :; do sleep 1; done"]);
        let mut deaf = deaf.stdout(std::process::Stdio::piped()).spawn().expect("starts");
        // Its line says that the trap is set.
        let mut line = [0];
        std::io::Read::read_exact(deaf.stdout.as_mut().expect("piped"), &mut line).expect("reads");
        let nodes = [process("polite", polite.id()), process("deaf", deaf.id())];
        let killed = stop_all_within(&nodes, Duration::from_millis(300)).await;
        assert_eq!(killed.iter().map(|node| node.id.as_str()).collect::<Vec<_>>(), ["deaf"]);
        polite.wait().expect("ends");
        deaf.wait().expect("ends");
        assert!(nodes.iter().all(|node| !node.is_running()));
    }
}
