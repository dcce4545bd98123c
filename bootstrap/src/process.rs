//! Processes that outlive who started them, and how they are told from others that get their numbers later.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use procfs::process::Process;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use nix::sys::signal::Signal;

/// How many ports nodes that are launched as processes use in turn. One whose ports are still in use by an earlier one
/// cannot be launched.
pub const SLOTS: u16 = 64;

/// One process, named so that one that has got the same number since is never taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its number.
    pub pid: i32,
    /// When it started, clock ticks since the machine did.
    pub started: u64,
    /// Which start of the machine.
    pub boot: String,
}

impl Stamp {
    /// The process that has a number now.
    ///
    /// # Errors
    /// When it has ended.
    pub fn of(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let stat = Process::new(pid).and_then(|process| process.stat()).map_err(io::Error::other)?;
        Ok(Self { pid, started: stat.starttime, boot: boot() })
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        let stat = Process::new(self.pid).and_then(|process| process.stat());
        // A zombie has ended; its parent has not looked yet.
        stat.is_ok_and(|stat| stat.starttime == self.started && !matches!(stat.state, 'Z' | 'X'))
            && self.boot == boot()
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&self, signal: Signal) {
        if self.is_running() {
            // Fails when it ends in this very moment.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

fn boot() -> String {
    // Absent outside Linux, where nothing of this works.
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A node that a leader started as a process, as it is written down in the folder that all leaders share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The number of its launch.
    pub number: u64,
    /// The name of its machine type.
    pub kind: String,
    /// When it was launched or started last, milliseconds since 1970.
    pub launched_ms: u64,
    /// Its process, or the last that it had.
    pub process: Stamp,
    /// What is to become of it.
    pub wanted: Wanted,
}

/// What is to become of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// It runs.
    Running,
    /// It is stopped, and can be started again.
    Stopped,
    /// It is gone for good.
    Gone,
}

impl Record {
    /// The file of a number.
    pub fn file(folder: &Path, number: u64) -> PathBuf {
        folder.join(format!("machine-{number}.json"))
    }

    /// Writes it down for the first time. Of several who do that at the same time one succeeds.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the number was used before.
    pub fn create(&self, folder: &Path) -> io::Result<()> {
        // Whole or not at all: a link to a finished file fails where the name is taken.
        let draft = self.draft(folder)?;
        let made = fs::hard_link(&draft, Self::file(folder, self.number));
        let _ = fs::remove_file(&draft);
        made
    }

    /// Writes it down anew.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let draft = self.draft(folder)?;
        fs::rename(&draft, Self::file(folder, self.number))
    }

    fn draft(&self, folder: &Path) -> io::Result<PathBuf> {
        let draft = folder.join(format!(".machine-{}.{}", self.number, std::process::id()));
        fs::write(&draft, serde_json::to_string_pretty(self).map_err(io::Error::other)?)?;
        Ok(draft)
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub fn load(folder: &Path, number: u64) -> io::Result<Self> {
        let text = fs::read_to_string(Self::file(folder, number))?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }

    /// All that are written down in a folder, by number. A folder that is not there has none.
    ///
    /// # Errors
    /// When one cannot be read; its file is named.
    pub fn all(folder: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("machine-")?.strip_suffix(".json"));
            let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
            match Self::load(folder, number) {
                Ok(record) => all.push(record),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let file = Self::file(folder, number);
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", file.display())));
                }
            }
        }
        all.sort_by_key(|record| record.number);
        Ok(all)
    }

    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> Record {
        let process = Stamp { pid: 1, started: 1, boot: "b".to_owned() };
        Record { number, kind: "k".to_owned(), launched_ms: 1, process, wanted: Wanted::Running }
    }

    #[test]
    fn a_recycled_number_is_not_the_process() {
        let own = Stamp::of(std::process::id()).expect("runs");
        assert!(own.is_running());
        assert!(!Stamp { started: own.started + 1, ..own.clone() }.is_running());
        assert!(!Stamp { boot: "another".to_owned(), ..own }.is_running());
    }

    #[test]
    fn a_number_is_used_once() {
        let folder = tempfile::tempdir().expect("a folder");
        record(3).create(folder.path()).expect("is new");
        let again = record(3).create(folder.path()).expect_err("is used");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let stopped = Record { wanted: Wanted::Stopped, ..record(3) };
        stopped.save(folder.path()).expect("saves");
        record(1).create(folder.path()).expect("is new");
        assert_eq!(Record::all(folder.path()).expect("reads"), [record(1), stopped]);
        assert!(Record::all(&folder.path().join("none")).expect("has none").is_empty());
    }

    #[test]
    fn a_damaged_record_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(Record::file(folder.path(), 7), "{").expect("writes");
        let error = Record::all(folder.path()).expect_err("is damaged").to_string();
        assert!(error.contains("machine-7.json"), "{error}");
    }
}
