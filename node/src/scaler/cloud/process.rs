//! Machines that are processes on this one: the whole of growing and shrinking without an account anywhere.
//!
//! What is known of them is in one folder that all leaders share: a record for each number, whose creation is the fence,
//! since of two who create a file one succeeds. They outlive the leader that started them.

use super::{Cloud, CloudError, Launch, Machine, MachineId, MachineState, node_of};
use crate::clock::now_ms;
use async_trait::async_trait;
use skein_bootstrap::config::{CloudKind, Config, Enrol, MachineType, NodeRole};
use skein_bootstrap::identity::{Authority, write_secret};
use skein_bootstrap::process::{Record, SLOTS, Signal, Stamp, Wanted};
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};
use tokio::process::Command;

/// Between the media ports of two processes.
const MEDIA_PORTS: u16 = 32;
/// How long a process may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(100);
/// For so long what is gone is still listed.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Nodes as processes.
#[derive(Debug)]
pub struct ProcessCloud {
    program: PathBuf,
    config: Config,
}

impl ProcessCloud {
    /// Starts `program` with a configuration made of the leader's own.
    pub fn new(program: PathBuf, config: &Config) -> Self {
        Self { program, config: config.clone() }
    }

    fn folder(&self) -> &Path {
        &self.config.scaling.process.folder
    }

    fn machine(&self, record: &Record) -> Machine {
        let state = match (record.wanted, record.is_running()) {
            (Wanted::Running, true) => MachineState::Running,
            // It ended on its own, and is not started again.
            (Wanted::Running, false) if record.process.is_some() => MachineState::Terminated,
            (Wanted::Running, false) => MachineState::Pending,
            (Wanted::Stopped, true) => MachineState::Stopping,
            (Wanted::Stopped, false) => MachineState::Stopped,
            (Wanted::Gone, true) => MachineState::Terminating,
            (Wanted::Gone, false) => MachineState::Terminated,
        };
        Machine {
            id: MachineId(format!("process-{}", record.number)),
            number: record.number,
            kind: record.kind.clone(),
            state,
            launched: UNIX_EPOCH.checked_add(Duration::from_millis(record.launched_ms)),
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        }
    }

    /// The configuration of a process.
    fn config_of(&self, number: u64, kind: &MachineType) -> Result<Config, CloudError> {
        let mesh = &self.config.mesh;
        let node = node_of(&mesh.name, number).map_err(|e| CloudError::Refused(e.to_string()))?;
        let slot = slot(number);
        let process = &self.config.scaling.process;
        let http = process.base_port.checked_add(slot);
        let media = process.media_port.checked_add(slot * MEDIA_PORTS.max(kind.workers));
        let (Some(http), Some(media)) = (http, media) else {
            return Err(CloudError::Refused(format!("scaling.process: no port is left for number {number}")));
        };
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut config = self.config.clone();
        config.mesh.seeds.insert(0, mesh.advertised().into());
        config.mesh.listen = local(http);
        config.mesh.advertise = None;
        config.mesh.cert = self.folder().join(format!("{node}.pem"));
        config.mesh.key = self.folder().join(format!("{node}.key"));
        config.node.id = node;
        config.node.role = NodeRole::Node;
        config.http.listen = local(http);
        config.http.url = None;
        config.media.port = media;
        config.media.workers = kind.workers;
        config.media.streams_per_worker = Some((kind.streams / u32::from(kind.workers)).max(1));
        config.scaling.cloud = CloudKind::None;
        config.enrol = Enrol::default();
        config
            .make_absolute()
            .map_err(|e| CloudError::Refused(format!("there is no working folder: {e}")))?;
        Ok(config)
    }

    /// Starts the process of a record and writes that down.
    async fn run(&self, mut record: Record) -> Result<Record, CloudError> {
        let refused = |what: &str, problem: &dyn std::fmt::Display| {
            CloudError::Refused(format!("scaling.process: {what}: {problem}"))
        };
        let kind = self.config.scaling.types.iter().find(|kind| kind.name == record.kind);
        let kind = kind.ok_or_else(|| {
            CloudError::Refused(format!("scaling.types: {} is not among them", record.kind))
        })?;
        let config = self.config_of(record.number, kind)?;
        let authority = &self.config.scaling.process.authority;
        let authority = Authority::read(authority).map_err(|e| refused("the authority", &e))?;
        let identity = authority
            .issue(&config.mesh.name, &config.node.id)
            .map_err(|e| refused("the certificate", &e))?;
        let file = self.folder().join(format!("{}.toml", config.node.id));
        let text = toml::to_string(&config).map_err(|e| refused("the configuration", &e))?;
        for (file, text) in [
            (&config.mesh.key, &identity.key_pem),
            (&config.mesh.cert, &identity.certificate_pem),
            (&file, &text),
        ] {
            write_secret(file, text).map_err(|e| refused("cannot write", &e))?;
        }
        let log = self.folder().join(format!("{}.log", config.node.id));
        let log = File::create(&log).map_err(|e| refused("cannot write the log", &e))?;
        let log_too = log.try_clone().map_err(|e| refused("cannot write the log", &e))?;
        let mut child = Command::new(&self.program)
            .arg("--config")
            .arg(&file)
            // A group of its own: what ends the leader's does not end it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .spawn()
            .map_err(|e| refused("cannot start the node's program", &e))?;
        record.process = child.id().and_then(|pid| Stamp::of(pid).ok());
        // Waited for, so that it is not left as a zombie while the leader lives.
        tokio::spawn(async move { child.wait().await });
        record.save(self.folder()).map_err(|e| refused("cannot write the record", &e))?;
        Ok(record)
    }

    fn record(&self, machine: &MachineId) -> Result<Record, CloudError> {
        let number = machine.0.strip_prefix("process-").and_then(|number| number.parse().ok());
        let unknown = || CloudError::Unknown(machine.clone());
        Record::load(self.folder(), number.ok_or_else(unknown)?).map_err(|_| unknown())
    }

    fn save(&self, record: &Record) -> Result<(), CloudError> {
        record.save(self.folder()).map_err(|e| CloudError::Unreachable(e.to_string()))
    }

    /// Ends a process: politely, and after a while not.
    async fn end(&self, record: &Record) {
        let Some(process) = record.process.clone() else { return };
        process.signal(Signal::SIGTERM);
        tokio::spawn(async move {
            for step in [Signal::SIGTERM, Signal::SIGKILL] {
                let asked = tokio::time::Instant::now();
                while process.is_running() && asked.elapsed() < PATIENCE {
                    tokio::time::sleep(POLL).await;
                }
                process.signal(step);
            }
        });
    }

    /// Forgets what has been gone for long, but never the highest number.
    fn forget(&self, records: &mut Vec<Record>) {
        let highest = records.iter().map(|record| record.number).max();
        records.retain(|record| {
            let age = Duration::from_millis(now_ms().saturating_sub(record.launched_ms));
            let is_old = age > REMEMBERED
                && Some(record.number) != highest
                && self.machine(record).state == MachineState::Terminated;
            if is_old {
                // Another leader may have been faster.
                let _ = fs::remove_file(Record::file(self.folder(), record.number));
            }
            !is_old
        });
    }
}

/// Which ports a number has.
fn slot(number: u64) -> u16 {
    u16::try_from(number % u64::from(SLOTS)).unwrap_or_default()
}

#[async_trait]
impl Cloud for ProcessCloud {
    async fn list(&self) -> Result<Vec<Machine>, CloudError> {
        let mut records = Record::all(self.folder()).map_err(|e| CloudError::Unreachable(e.to_string()))?;
        self.forget(&mut records);
        Ok(records.iter().map(|record| self.machine(record)).collect())
    }

    async fn launch(&self, launch: &Launch) -> Result<Machine, CloudError> {
        let folder = self.folder();
        fs::create_dir_all(folder)
            .map_err(|e| CloudError::Refused(format!("scaling.process.folder {}: {e}", folder.display())))?;
        let records = Record::all(folder).map_err(|e| CloudError::Unreachable(e.to_string()))?;
        let in_slot = |record: &&Record| {
            record.number != launch.number
                && slot(record.number) == slot(launch.number)
                && record.is_running()
        };
        if let Some(other) = records.iter().find(in_slot) {
            return Err(CloudError::NoCapacity(format!("number {} still has its ports", other.number)));
        }
        let record = Record {
            number: launch.number,
            kind: launch.kind.clone(),
            launched_ms: now_ms(),
            process: None,
            wanted: Wanted::Running,
        };
        match record.create(folder) {
            Ok(()) => Ok(self.machine(&self.run(record).await?)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let record = Record::load(folder, launch.number)
                    .map_err(|e| CloudError::Unreachable(e.to_string()))?;
                if record.kind != launch.kind {
                    return Err(CloudError::Taken(launch.number));
                }
                match self.machine(&record) {
                    Machine { state: MachineState::Terminating | MachineState::Terminated, .. } => {
                        Err(CloudError::UsedUp(launch.number))
                    }
                    machine => Ok(machine),
                }
            }
            Err(error) => Err(CloudError::Unreachable(error.to_string())),
        }
    }

    async fn start(&self, machine: &MachineId) -> Result<(), CloudError> {
        let record = self.record(machine)?;
        match (record.wanted, record.is_running()) {
            (Wanted::Gone, _) => Err(CloudError::Refused(format!("{machine} is gone"))),
            (Wanted::Running, true) => Ok(()),
            (_, true) => Err(CloudError::NoCapacity(format!("{machine} has not stopped yet"))),
            (_, false) => {
                let record =
                    Record { wanted: Wanted::Running, process: None, launched_ms: now_ms(), ..record };
                self.save(&record)?;
                self.run(record).await.map(drop)
            }
        }
    }

    async fn stop(&self, machine: &MachineId) -> Result<(), CloudError> {
        let record = self.record(machine)?;
        if record.wanted == Wanted::Running {
            self.save(&Record { wanted: Wanted::Stopped, ..record.clone() })?;
            self.end(&record).await;
        }
        Ok(())
    }

    async fn terminate(&self, machine: &MachineId) -> Result<(), CloudError> {
        let record = self.record(machine)?;
        if record.wanted != Wanted::Gone {
            self.save(&Record { wanted: Wanted::Gone, ..record.clone() })?;
            self.end(&record).await;
        }
        Ok(())
    }

    async fn price(&self, _: &str) -> Option<f64> {
        None
    }
}
