//! Machines that are processes on this one: the whole of growing and shrinking without an account anywhere.
//!
//! What is known of them is in one folder that all leaders share: a record for each number, whose creation is the fence,
//! since of two who create a file one succeeds. They outlive the leader that started them.
//!
//! A leader may die at any moment. So the process is there before its record, and becomes a node only after it: what is
//! written down has a process, or had one, and what is not written down ends with who started it.

use super::{Cloud, CloudError, Launch, Machine, MachineId, MachineState, node_of};
use crate::clock::now_ms;
use async_trait::async_trait;
use parking_lot::Mutex;
use skein_bootstrap::config::{CloudKind, Config, Enrol, MachineType, NodeRole};
use skein_bootstrap::identity::{Authority, write_secret};
use skein_bootstrap::process::{Record, SLOTS, Signal, Stamp, Wanted};
use skein_bootstrap::seeds::Seed;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};

/// Between the media ports of two processes.
const MEDIA_PORTS: u16 = 32;
/// How long a process may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(100);
/// For so long what is gone is still listed.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// What a process does first: it waits for a line, and ends where none comes. The process stays the same one when it
/// becomes the node. Arguments: the node's program, its configuration, its log.
const WAITS: &str = r#"read -r line && exec "$0" --config "$1" </dev/null >"$2" 2>&1"#;

/// Nodes as processes.
#[derive(Debug)]
pub struct ProcessCloud {
    program: PathBuf,
    config: Config,
    seeds: Mutex<Vec<SocketAddr>>,
}

/// A process that is to become a node. It ends when this is dropped before.
struct Waiting {
    process: Stamp,
    config: Config,
    stdin: ChildStdin,
}

fn refused(what: &str, problem: &dyn std::fmt::Display) -> CloudError {
    CloudError::Refused(format!("scaling.process: {what}: {problem}"))
}

impl ProcessCloud {
    /// Starts `program` with a configuration made of the leader's own.
    pub fn new(program: PathBuf, config: &Config) -> Self {
        Self { program, config: config.clone(), seeds: Mutex::default() }
    }

    fn folder(&self) -> &Path {
        &self.config.scaling.process.folder
    }

    fn machine(&self, record: &Record) -> Machine {
        let state = match (record.wanted, record.is_running()) {
            (Wanted::Running, true) => MachineState::Running,
            // It ended on its own, and is not started again.
            (Wanted::Running, false) => MachineState::Terminated,
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
        // The leader may be dead before the process has found it.
        config.mesh.seeds.extend(self.seeds.lock().iter().copied().map(Seed::from));
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

    /// Starts what is to become the node of a number.
    fn wait(&self, number: u64, kind: &str) -> Result<Waiting, CloudError> {
        let kind = self
            .config
            .scaling
            .types
            .iter()
            .find(|known| known.name == kind)
            .ok_or_else(|| CloudError::Refused(format!("scaling.types: {kind} is not among them")))?;
        let config = self.config_of(number, kind)?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", WAITS])
            .arg(&self.program)
            .arg(self.file(&config, "toml"))
            .arg(self.file(&config, "log"))
            // A group of its own: what ends the leader's does not end it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| refused("cannot start a process", &e))?;
        let (pid, stdin) = (child.id(), child.stdin.take());
        // Waited for, so that it is not left as a zombie while the leader lives.
        tokio::spawn(async move { child.wait().await });
        let ended = || refused("cannot start a process", &"it ended at once");
        let process = pid.and_then(|pid| Stamp::of(pid).ok()).ok_or_else(ended)?;
        Ok(Waiting { process, config, stdin: stdin.ok_or_else(ended)? })
    }

    /// Has it become the node.
    async fn go(&self, waiting: Waiting) -> Result<(), CloudError> {
        let Waiting { config, mut stdin, .. } = waiting;
        let authority = &self.config.scaling.process.authority;
        let authority = Authority::read(authority).map_err(|e| refused("the authority", &e))?;
        let identity = authority
            .issue(&config.mesh.name, &config.node.id)
            .map_err(|e| refused("the certificate", &e))?;
        let text = toml::to_string(&config).map_err(|e| refused("the configuration", &e))?;
        for (file, text) in [
            (&config.mesh.key, &identity.key_pem),
            (&config.mesh.cert, &identity.certificate_pem),
            (&self.file(&config, "toml"), &text),
        ] {
            write_secret(file, text).map_err(|e| refused("cannot write", &e))?;
        }
        stdin.write_all(b"go\n").await.map_err(|e| refused("the process ended early", &e))
    }

    fn file(&self, config: &Config, ending: &str) -> PathBuf {
        self.folder().join(format!("{}.{ending}", config.node.id))
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
        let process = record.process.clone();
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
        let waiting = self.wait(launch.number, &launch.kind)?;
        let record = Record {
            number: launch.number,
            kind: launch.kind.clone(),
            launched_ms: now_ms(),
            process: waiting.process.clone(),
            wanted: Wanted::Running,
        };
        match record.create(folder) {
            Ok(()) => {
                self.go(waiting).await?;
                Ok(self.machine(&record))
            }
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
                let waiting = self.wait(record.number, &record.kind)?;
                let process = waiting.process.clone();
                self.save(&Record { wanted: Wanted::Running, process, launched_ms: now_ms(), ..record })?;
                self.go(waiting).await
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

    fn set_seeds(&self, seeds: &[SocketAddr]) {
        seeds.clone_into(&mut self.seeds.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const SOON: Duration = Duration::from_secs(10);

    /// A cloud whose nodes write down that they began, and then do nothing.
    fn cloud(folder: &TempDir) -> ProcessCloud {
        let path = |name: &str| folder.path().join(name).display().to_string();
        Authority::generate("dev").expect("makes").write(folder.path()).expect("writes");
        let program = folder.path().join("node");
        fs::write(&program, "#!/bin/sh\necho \"$@\" >>\"$(dirname \"$0\")/began\"\nexec sleep 60\n")
            .expect("writes");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("sets");
        let settings = [
            "node.id=n1".to_owned(),
            "mesh.listen=127.0.0.1:1".to_owned(),
            format!("mesh.ca={}", path("ca.pem")),
            format!("mesh.cert={}", path("c.pem")),
            format!("mesh.key={}", path("c.key")),
            "election.voters=[\"n1\"]".to_owned(),
            "scaling.cloud=process".to_owned(),
            format!("scaling.process.folder={}", path("machines")),
            format!("scaling.process.authority={}", path("")),
            "scaling.process.base_port=20000".to_owned(),
            "scaling.process.media_port=30000".to_owned(),
            "scaling.types=[{ name = \"p\", streams = 10 }]".to_owned(),
        ];
        ProcessCloud::new(program, &Config::load(None, [], &settings).expect("is right"))
    }

    fn launch(number: u64) -> Launch {
        let node = node_of("dev", number).expect("a name");
        Launch { number, node, kind: "p".to_owned(), user_data: String::new() }
    }

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let begun = tokio::time::Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < SOON, "{what}");
            tokio::time::sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn of_two_who_launch_the_same_one_process_becomes_the_node() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (cloud(&folder), cloud(&folder));
        let (one, two) = (launch(3), launch(3));
        let (one, two) = tokio::join!(first.launch(&one), second.launch(&two));
        let (one, two) = (one.expect("launches"), two.expect("launches"));
        assert_eq!((one.number, &one.id), (two.number, &two.id));
        let began = || fs::read_to_string(folder.path().join("began")).unwrap_or_default();
        until("it begins", || !began().is_empty()).await;
        let record = Record::load(first.folder(), 3).expect("is written down");
        assert!(record.is_running(), "{record:?}");
        first.terminate(&one.id).await.expect("ends");
        until("it ends", || !record.is_running()).await;
        assert_eq!(began().lines().count(), 1, "{}", began());
    }

    #[tokio::test]
    async fn what_a_leader_began_and_died_over_does_not_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let cloud = cloud(&folder);
        let waiting = cloud.wait(3, "p").expect("starts");
        let process = waiting.process.clone();
        let record = Record {
            number: 3,
            kind: "p".to_owned(),
            launched_ms: now_ms(),
            process: process.clone(),
            wanted: Wanted::Running,
        };
        fs::create_dir_all(cloud.folder()).expect("makes");
        record.create(cloud.folder()).expect("is new");
        assert_eq!(cloud.machine(&record).state, MachineState::Running);
        // As the system does it with what belongs to a process that is killed.
        drop(waiting);
        until("it ends", || !process.is_running()).await;
        assert_eq!(cloud.list().await.expect("lists")[0].state, MachineState::Terminated);
        assert_eq!(cloud.launch(&launch(3)).await, Err(CloudError::UsedUp(3)));
        assert!(!folder.path().join("began").exists());
    }

    #[test]
    fn a_process_is_told_of_all_through_whom_it_may_join() {
        let folder = tempfile::tempdir().expect("a folder");
        let cloud = cloud(&folder);
        cloud.set_seeds(&[([127, 0, 0, 1], 2).into()]);
        let kind = &cloud.config.scaling.types[0];
        let seeds = cloud.config_of(3, kind).expect("has ports").mesh.seeds;
        let seeds: Vec<_> = seeds.iter().map(ToString::to_string).collect();
        assert_eq!(seeds, ["127.0.0.1:1", "127.0.0.1:2"]);
    }
}
