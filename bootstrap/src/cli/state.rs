//! Which meshes run on this machine: one file a mesh, so that `skein down` and the next `skein up` know.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use skein_bootstrap::process::{Record, Signal, Stamp};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long nodes have to end when they are told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Folder of what a mesh's leader launches, below the mesh's.
pub const MACHINES: &str = "machines";

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
    #[serde(flatten)]
    pub process: Stamp,
}

impl NodeProcess {
    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.process.is_running()
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

    /// The nodes that still run, with those that its leader launched; `folder` is the mesh's.
    ///
    /// # Errors
    /// When what the leader wrote down is damaged.
    pub fn running(&self, folder: &Path) -> anyhow::Result<Vec<NodeProcess>> {
        let launched = Record::all(&folder.join(MACHINES)).context("cannot read what the leader launched")?;
        let launched = launched.into_iter().map(|record| {
            let id = format!("{}-{}", self.mesh, record.number);
            NodeProcess { id, url: String::new(), ws: String::new(), process: record.process }
        });
        Ok(self.nodes.iter().cloned().chain(launched).filter(NodeProcess::is_running).collect())
    }

    /// Ends all nodes, with those that its leader launched. Answers with those that had to be killed.
    ///
    /// # Errors
    /// When what the leader wrote down is damaged.
    pub async fn stop(&self, folder: &Path) -> anyhow::Result<Vec<String>> {
        let mut killed = Vec::new();
        // A leader may have launched another while it was told to end.
        for _ in 0..2 {
            let running = self.running(folder)?;
            killed.extend(stop_all(&running).await.into_iter().map(|node| node.id.clone()));
        }
        Ok(killed)
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
    left.iter().for_each(|node| node.process.signal(Signal::SIGINT));
    let asked = Instant::now();
    while !left.is_empty() && asked.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(50)).await;
        left.retain(|node| node.is_running());
    }
    left.iter().for_each(|node| node.process.signal(Signal::SIGKILL));
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn process(id: &str, pid: u32) -> NodeProcess {
        let process = Stamp::of(pid).expect("runs");
        let (url, ws) = ("http://127.0.0.1:4440".to_owned(), "ws://127.0.0.1:4440".to_owned());
        NodeProcess { id: id.to_owned(), url, ws, process }
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
        assert_eq!(all[0].1.running(&all[0].0).expect("reads").len(), 1);
        MeshState::remove(&all[0].0);
        assert_eq!(MeshState::all(kept.path()).expect("reads").len(), 1);
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
