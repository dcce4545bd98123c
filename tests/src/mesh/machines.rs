//! Nodes that the leader of a test's mesh launches, as processes.

use crate::run::keep_log;
use anyhow::Context;
use rand::Rng;
use skein_bootstrap::process::{Record, Signal};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where they are written down, below the mesh's folder.
pub(super) const FOLDER: &str = "machines";
/// Their ports, below those of the other nodes: one each, and from a hundred above that 32 each for media.
const PORTS: std::ops::Range<u16> = 10_000..17_000;

/// How many lines of a log are shown.
const SHOWN_LINES: usize = 60;

/// How a test's mesh grows.
#[derive(Debug, Clone)]
pub struct Growth {
    /// How many of the first nodes vote: 1, 3 or 5.
    pub voters: usize,
    /// The most nodes.
    pub max_nodes: u32,
    /// How many streams a node carries.
    pub streams: u32,
    /// How many of these are kept free.
    pub spare: u32,
    /// Seconds after which a node that is not needed is drained.
    pub idle_s: f64,
}

impl Growth {
    pub(super) fn settings(&self, nodes: usize) -> BTreeMap<String, String> {
        let voters: Vec<_> = (1..=self.voters).map(|n| format!("\"n{n}\"")).collect();
        let port = rand::rng().random_range(PORTS);
        let kind = format!(
            r#"[{{ name = "process", streams = {}, workers = 1, price = 1.0, boot_s = 2.0 }}]"#,
            self.streams
        );
        [
            ("media.workers", "1".to_owned()),
            ("media.pipe_linger_s", "0.5".to_owned()),
            ("media.streams_per_worker", self.streams.to_string()),
            ("election.voters", format!("[{}]", voters.join(","))),
            ("election.lease_s", "2.0".to_owned()),
            ("election.renew_s", "0.5".to_owned()),
            ("scaling.cloud", "process".to_owned()),
            ("scaling.min_nodes", nodes.to_string()),
            ("scaling.max_nodes", self.max_nodes.to_string()),
            ("scaling.spare_streams", self.spare.to_string()),
            ("scaling.idle_minutes", (self.idle_s / 60.0).to_string()),
            ("scaling.interval_s", "0.5".to_owned()),
            ("scaling.types", kind),
            ("scaling.process.base_port", port.to_string()),
            ("scaling.process.media_port", (port + 100).to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// What a mesh's leader has launched. Dropping it kills what still runs.
#[derive(Debug)]
pub(super) struct Machines {
    folder: PathBuf,
}

impl Machines {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(super) fn all(&self) -> anyhow::Result<Vec<Record>> {
        Record::all(&self.folder).context("the records of what was launched")
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        let Ok(records) = self.all() else { return };
        for record in &records {
            record.process.signal(Signal::SIGKILL);
        }
        let Ok(files) = std::fs::read_dir(&self.folder) else { return };
        let logs = files.flatten().map(|file| file.path());
        for log in logs.filter(|path| path.extension().is_some_and(|end| end == "log")) {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            keep_log(format!("--- {} (launched)\n{}", log.display(), last.join("\n")));
        }
    }
}
