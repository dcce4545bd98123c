//! What machines of each kind carry: the file that `skein calibrate` writes and a node's `media.calibration` names.
//!
//! ```toml
//! [machines."c7i.large"]
//! packets_per_worker = 90000
//! node_bits = 1584000000
//! bits_from = "packets"
//! workers = 2
//! measured = "2026-11-21T07:00:00Z"
//! mediasoup = "0.33.1"
//! ```

use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The kind of a machine that no cloud names.
pub const LOCAL: &str = "local";

/// The table in the file that has an entry for each kind of machine.
const MACHINES: &str = "machines";

/// What is written above the entries. Other comments are not kept.
const HEADER: &str = "# What machines carry, by kind; `skein calibrate` measures and writes it. A node reads it as media.calibration.\n\n";

/// Bits on the wire of one packet of the reference stream: 1,100 bytes.
pub const PACKET_BITS: u64 = 8_800;

/// What one kind of machine carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Packets a second that one worker sends at the stated utilisation, each received once.
    pub packets_per_worker: u64,
    /// Bits a second that the machine sends into the network.
    pub node_bits: u64,
    /// Where `node_bits` is from.
    pub bits_from: BitsFrom,
    /// How many workers it was measured for: one per core.
    pub workers: u16,
    /// When, in UTC, as RFC 3339 has it.
    pub measured: String,
    /// Version of mediasoup's crate that was measured.
    pub mediasoup: String,
}

/// Where a machine's bits a second are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BitsFrom {
    /// The speed of the interface of its default route.
    Interface,
    /// What its workers can send; no wall of its own.
    Packets,
}

impl Machine {
    /// Bits a second for a node with so many workers: as the interface has them, or as the workers can send.
    pub fn bits(&self, workers: usize) -> u64 {
        match self.bits_from {
            BitsFrom::Interface => self.node_bits,
            BitsFrom::Packets => bits_of_packets(self.packets_per_worker, workers),
        }
    }
}

/// What so many workers send, in bits a second, when all packets are the reference stream's.
pub fn bits_of_packets(packets_per_worker: u64, workers: usize) -> u64 {
    packets_per_worker.saturating_mul(workers as u64).saturating_mul(PACKET_BITS)
}

/// Why a file of what machines carry is none, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("{}: {source}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// An entry is not one.
    #[error("{}: {key}: {problem}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Which, with dots.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The file, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    path: PathBuf,
    // As it is in the file, so that what this version does not know is kept.
    table: Table,
}

impl Calibration {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not there, is not TOML, or its `machines` is not a table.
    pub fn read(path: &Path) -> Result<Self, CalibrationError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| CalibrationError::Read { path: path.to_owned(), source })?;
        let table = text
            .parse()
            .map_err(|source| CalibrationError::Toml { path: path.to_owned(), source: Box::new(source) })?;
        let file = Self { path: path.to_owned(), table };
        if file.table.get(MACHINES).is_some_and(|machines| !machines.is_table()) {
            return Err(file.wrong(MACHINES.to_owned(), "is not a table"));
        }
        Ok(file)
    }

    /// Reads a file, or begins one that is not there yet.
    ///
    /// # Errors
    /// When it is there and is no such file.
    pub fn read_or_new(path: &Path) -> Result<Self, CalibrationError> {
        match Self::read(path) {
            Err(CalibrationError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self { path: path.to_owned(), table: Table::new() })
            }
            other => other,
        }
    }

    fn wrong(&self, key: String, problem: impl Into<String>) -> CalibrationError {
        CalibrationError::Entry { path: self.path.clone(), key, problem: problem.into() }
    }

    /// What a kind of machine carries; nothing where it was not measured.
    ///
    /// # Errors
    /// When its entry is not one.
    pub fn machine(&self, kind: &str) -> Result<Option<Machine>, CalibrationError> {
        let Some(machines) = self.table.get(MACHINES) else { return Ok(None) };
        let machines =
            machines.as_table().ok_or_else(|| self.wrong(MACHINES.to_owned(), "is not a table"))?;
        let Some(entry) = machines.get(kind) else { return Ok(None) };
        let key = format!("{MACHINES}.{kind:?}");
        let machine: Machine = serde_path_to_error::deserialize(entry.clone()).map_err(|error| {
            let key = format!("{key}.{}", error.path());
            self.wrong(key.trim_end_matches("..").to_owned(), error.into_inner().to_string().trim())
        })?;
        for (name, value) in
            [("packets_per_worker", machine.packets_per_worker), ("node_bits", machine.node_bits)]
        {
            if value == 0 {
                return Err(self.wrong(format!("{key}.{name}"), "is 0; a machine must carry something"));
            }
        }
        Ok(Some(machine))
    }

    /// Puts in what a kind of machine carries, in place of what was there for it.
    ///
    /// # Errors
    /// When the file's `machines` is not a table, or a figure is too large for TOML.
    pub fn set(&mut self, kind: &str, machine: &Machine) -> Result<(), CalibrationError> {
        let value = Value::try_from(machine).map_err(|e| self.wrong(kind.to_owned(), e.to_string()))?;
        let machines = self.table.entry(MACHINES).or_insert_with(|| Value::Table(Table::new()));
        match machines.as_table_mut() {
            Some(machines) => {
                machines.insert(kind.to_owned(), value);
                Ok(())
            }
            None => Err(self.wrong(MACHINES.to_owned(), "is not a table")),
        }
    }

    /// Writes the file: whole or not at all, so that a node that starts meanwhile reads the old one or the new one.
    /// Makes its folder where that is missing.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(&self) -> Result<(), CalibrationError> {
        let write = |source| CalibrationError::Write { path: self.path.clone(), source };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(write)?;
        let text = toml::to_string(&self.table).map_err(|e| write(std::io::Error::other(e)))?;
        let mut file = tempfile::Builder::new()
            // Nodes run as another user, and nothing in it is secret.
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(folder)
            .map_err(write)?;
        file.write_all(HEADER.as_bytes()).map_err(write)?;
        file.write_all(text.as_bytes()).map_err(write)?;
        file.as_file().sync_all().map_err(write)?;
        file.persist(&self.path).map_err(|error| write(error.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(packets_per_worker: u64) -> Machine {
        Machine {
            packets_per_worker,
            node_bits: 1_000_000_000,
            bits_from: BitsFrom::Interface,
            workers: 2,
            measured: "2026-11-21T07:00:00Z".to_owned(),
            mediasoup: "0.33.1".to_owned(),
        }
    }

    #[test]
    fn entries_of_other_machines_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/calibration.toml");
        for (kind, packets) in [("c7i.large", 1), (LOCAL, 2), ("c7i.large", 3)] {
            let mut file = Calibration::read_or_new(&path).expect("reads");
            file.set(kind, &machine(packets)).expect("sets");
            file.write().expect("writes");
        }
        let file = Calibration::read(&path).expect("reads");
        assert_eq!(file.machine("c7i.large").expect("is one"), Some(machine(3)));
        assert_eq!(file.machine(LOCAL).expect("is one"), Some(machine(2)));
        assert_eq!(file.machine("m5.large").expect("is none"), None);
        let left = std::fs::read_dir(folder.path().join("new")).expect("lists").count();
        assert_eq!(left, 1, "a temporary file is left");
        let mode = std::fs::metadata(&path).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }

    #[test]
    fn what_this_version_does_not_know_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calibration.toml");
        std::fs::write(&path, "note = \"x\"\n[machines.a]\nlater = 1\n").expect("writes");
        let mut file = Calibration::read(&path).expect("reads");
        file.set(LOCAL, &machine(1)).expect("sets");
        file.write().expect("writes");
        let text = std::fs::read_to_string(&path).expect("reads");
        assert!(text.contains("note = \"x\"") && text.contains("later = 1"), "{text}");
    }

    #[test]
    fn mistakes_name_file_and_key_and_change_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calibration.toml");
        assert!(Calibration::read(&path).is_err());
        for (text, names) in [
            ("[machines.local]\npackets_per_worker = 1\n", "machines.\"local\""),
            (
                "[machines.local]\npackets_per_worker = 0\nnode_bits = 1\nbits_from = \"packets\"\nworkers = 1\n\
                 measured = \"\"\nmediasoup = \"\"\n",
                "packets_per_worker",
            ),
            ("[machines.local]\npackets_per_worker = -5\n", "packets_per_worker"),
            ("machines = 3\n", "machines"),
        ] {
            std::fs::write(&path, text).expect("writes");
            let read = Calibration::read(&path).and_then(|file| file.machine(LOCAL));
            let error = read.expect_err("a mistake").to_string();
            assert!(error.contains(names) && error.contains("calibration.toml"), "{error}");
        }
        std::fs::write(&path, "machines =").expect("writes");
        assert!(matches!(Calibration::read_or_new(&path), Err(CalibrationError::Toml { .. })));
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), "machines =");
    }

    #[test]
    fn bits_that_are_no_wall_grow_with_the_workers() {
        let mut one = machine(1_000);
        assert_eq!(one.bits(4), 1_000_000_000);
        one.bits_from = BitsFrom::Packets;
        assert_eq!(one.bits(4), 4 * 1_000 * 8_800);
    }
}
