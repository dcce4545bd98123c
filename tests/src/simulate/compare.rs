//! What is asked of the simulator, checked before anything runs, and several policies over the same workload.

use super::demand::{Demand, Load, OVERLOAD};
use super::engine::{self, Run, Setting};
use super::machines::{demand, scaler};
use super::policies;
use super::policy::MeshSpec;
use super::workload::csv::{self, CsvError};
use super::workload::{Event, Events, named};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// How many policies run at once.
const THREADS: usize = 2;
/// The most of everything that can be asked for, so that what is computed stays within its numbers.
const MOST_NODES: u32 = 100_000;
/// A worker carries at least so many reference streams on machines of today.
const USUAL_STREAMS: u64 = 250;
const MOST_WORKERS: u16 = 1_024;
const MOST_STREAMS: u64 = 10_000_000;
const MOST_ROOMS: u32 = 10_000_000;
/// How many nodes a workload out of a file runs on where nothing else is asked for.
const NODES_FOR_FILES: u32 = 10;

/// Why what is asked for cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// There is no such workload.
    #[error("unknown workload `{0}`; known are {known}", known = names(named::ALL.iter().map(|known| known.name)))]
    UnknownWorkload(String),
    /// There is no such policy.
    #[error("unknown policy `{0}`; known are {known}, and `all`", known = names(policies::ALL.iter().map(|known| known.name)))]
    UnknownPolicy(String),
    /// A number is too small or too large.
    #[error("{option} is {given}, but has to be within {least} and {most}")]
    OutOfRange {
        /// What it was given as.
        option: &'static str,
        /// The number.
        given: u64,
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// There is no such workload for machines that come and go.
    #[error("unknown workload `{0}` for --machines; known are {known}", known = names(demand::ALL.iter().map(|known| known.name)))]
    UnknownDay(String),
    /// There is no such scaler.
    #[error("unknown policy `{0}` for --machines; known are {known}, and `all`", known = names(scaler::ALL.iter().map(|known| known.name)))]
    UnknownScaler(String),
    /// A number is too small or too large.
    #[error("{option} is {given}, but has to be within 0 and {most}")]
    NotBetween {
        /// What it was given as.
        option: &'static str,
        /// The number.
        given: f64,
        /// The largest.
        most: f64,
    },
    /// The file has as many rooms as it has.
    #[error("--rooms is for named workloads; a file has the rooms that are in it")]
    RoomsOfFile,
    /// The file is no workload.
    #[error(transparent)]
    Csv(#[from] CsvError),
}

fn names(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Where events come from.
#[derive(Debug)]
pub enum Source {
    /// Generated.
    Named {
        /// How.
        known: &'static named::Known,
        /// How many rooms.
        rooms: u32,
    },
    /// Read from a file.
    File {
        /// Its name without folder and ending.
        name: String,
        /// What is in it.
        events: Vec<Event>,
    },
}

impl Source {
    /// A named workload.
    ///
    /// # Errors
    /// When there is none of this name, or it cannot have so many rooms.
    pub fn named(name: &str, rooms: Option<u32>) -> Result<Self, Problem> {
        let known = named::find(name).ok_or_else(|| Problem::UnknownWorkload(name.to_owned()))?;
        let rooms = rooms.unwrap_or(known.rooms);
        within("--rooms", rooms.into(), MOST_ROOMS.into())?;
        Ok(Self::Named { known, rooms })
    }

    /// A workload out of a file.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn file(path: &Path) -> Result<Self, Problem> {
        let events = csv::read(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::File { name, events })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Named { known, .. } => known.name,
            Self::File { name, .. } => name,
        }
    }

    /// How many nodes it runs on where nothing else is asked for.
    pub const fn nodes(&self) -> u32 {
        match self {
            Self::Named { known, .. } => known.nodes,
            Self::File { .. } => NODES_FOR_FILES,
        }
    }

    /// How much of the mesh it asks for at its peak, where workers are made for it.
    const fn load(&self) -> Load {
        match self {
            Self::Named { known, .. } => known.load,
            Self::File { .. } => OVERLOAD,
        }
    }

    /// What happens.
    pub fn events(&self, seed: u64) -> Events<'_> {
        match self {
            Self::Named { known, rooms } => known.events(*rooms, seed),
            Self::File { events, .. } => Box::new(events.iter().copied()),
        }
    }
}

/// What the machines shall be.
#[derive(Debug, Clone, Copy)]
pub struct Machines {
    /// How many nodes; the workload knows where nothing is said.
    pub nodes: Option<u32>,
    /// How many workers each has; two where that makes workers of a usual size, or else one.
    pub workers: Option<u16>,
    /// How many reference streams each of these carries; out of the workload's peak where nothing is said.
    pub streams: Option<u64>,
}

impl Machines {
    /// Checks the numbers.
    ///
    /// # Errors
    /// When one is too small or too large.
    pub fn check(&self) -> Result<(), Problem> {
        if let Some(workers) = self.workers {
            within("--workers-per-node", workers.into(), MOST_WORKERS.into())?;
        }
        self.nodes.map_or(Ok(()), |nodes| within("--nodes", nodes.into(), MOST_NODES.into()))?;
        self.streams.map_or(Ok(()), |streams| within("--streams-per-worker", streams, MOST_STREAMS))
    }

    /// The mesh for a workload.
    pub fn mesh(&self, source: &Source, demand: &Demand) -> MeshSpec {
        let nodes = self.nodes.unwrap_or_else(|| source.nodes());
        let streams = |workers: u16| {
            let all = u64::from(nodes) * u64::from(workers);
            self.streams.unwrap_or_else(|| demand.streams_per_worker(all, source.load()))
        };
        let workers = self.workers.unwrap_or(if streams(2) >= USUAL_STREAMS { 2 } else { 1 });
        MeshSpec::of_streams(nodes, workers, streams(workers))
    }
}

/// Checks a number.
pub(super) fn within(option: &'static str, given: u64, most: u64) -> Result<(), Problem> {
    if (1..=most).contains(&given) {
        return Ok(());
    }
    Err(Problem::OutOfRange { option, given, least: 1, most })
}

/// The policies of these names, each once; `all` is all of them.
///
/// # Errors
/// When there is none of a name.
pub fn choose(names: &[String]) -> Result<Vec<&'static policies::Known>, Problem> {
    let mut chosen: Vec<&'static policies::Known> = Vec::new();
    for name in names {
        let found: &[policies::Known] = match policies::find(name) {
            Some(known) => std::slice::from_ref(known),
            None if name == "all" => policies::ALL,
            None => return Err(Problem::UnknownPolicy(name.clone())),
        };
        for known in found {
            if chosen.iter().all(|other| other.name != known.name) {
                chosen.push(known);
            }
        }
    }
    Ok(chosen)
}

/// Runs each policy over the workload, a few at once. `done` counts the events that are behind, of all of them.
pub fn run(
    source: &Source,
    setting: &Setting,
    chosen: &[&'static policies::Known],
    done: &AtomicU64,
) -> Vec<Run> {
    let next = AtomicUsize::new(0);
    let runs = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS.min(chosen.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(known) = chosen.get(index) else { break };
                    let mut policy = (known.make)(&setting.mesh, setting.seed);
                    let run = engine::run(setting, &mut *policy, source.events(setting.seed), done);
                    runs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((index, run));
                }
            });
        }
    });
    let mut runs = runs.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    runs.sort_by_key(|(index, _)| *index);
    runs.into_iter().map(|(_, run)| run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = Source::named("circus", None).expect_err("is unknown").to_string();
        assert!(error.starts_with("unknown workload `circus`; known are contact-centre, "), "{error}");
        let error = choose(&owned(&["fixed-room", "best"])).expect_err("is unknown").to_string();
        assert!(error.starts_with("unknown policy `best`; known are "), "{error}");
        let error = Source::named("burst", Some(0)).expect_err("too few").to_string();
        assert_eq!(error, "--rooms is 0, but has to be within 1 and 10000000");
        let machines = Machines { nodes: Some(0), workers: Some(2), streams: None };
        let error = machines.check().expect_err("too few").to_string();
        assert!(error.starts_with("--nodes is 0"), "{error}");
        let machines = Machines { nodes: None, workers: Some(2), streams: Some(0) };
        let error = machines.check().expect_err("nothing to spend").to_string();
        assert!(error.starts_with("--streams-per-worker is 0"), "{error}");
    }

    #[test]
    fn policies_are_chosen_once() {
        let names = |chosen: Vec<&'static policies::Known>| {
            chosen.into_iter().map(|known| known.name).collect::<Vec<_>>()
        };
        let all: Vec<_> = policies::ALL.iter().map(|known| known.name).collect();
        assert_eq!(choose(&owned(&["all"])).map(names).expect("known"), all);
        let two = owned(&["single-node", "fixed-room", "single-node"]);
        assert_eq!(choose(&two).map(names).expect("known"), ["single-node", "fixed-room"]);
    }

    #[test]
    fn the_same_seed_gives_the_same_results() {
        let source = Source::named("burst", Some(30)).expect("known");
        let demand = Demand::of(source.events(4));
        let mesh = Machines { nodes: Some(4), workers: Some(2), streams: None }.mesh(&source, &demand);
        let setting = Setting { workload: "burst".to_owned(), seed: 4, mesh, end: demand.end };
        let chosen = choose(&owned(&["all"])).expect("known");
        let results = || {
            let runs = run(&source, &setting, &chosen, &AtomicU64::new(0));
            let reports = runs.into_iter().map(|run| engine::Report { elapsed_s: 0.0, ..run.report });
            reports.collect::<Vec<_>>()
        };
        let first = results();
        assert_eq!(first, results());
        assert!(first.iter().all(|report| report.joins == demand.joins));
    }
}
