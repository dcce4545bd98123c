//! How long machines take to boot, and what happens when they do not.

use super::limits::Kind;
use super::seen::Failure;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// How many of the last boots of a type count.
const REMEMBERED: usize = 8;
/// Of these, so many are not longer than what is expected.
const SHARE: f64 = 0.8;
/// So many machines in a row that never joined stop launches.
pub const IN_A_ROW: u32 = 3;
/// For how long, the first time; twice as long each time after.
const PAUSE: Duration = Duration::from_secs(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// How long machines took from launch until they took peers.
#[derive(Debug, Clone, Default)]
pub struct Boots {
    /// By type, and whether they were started rather than launched.
    taken: BTreeMap<(String, bool), VecDeque<Duration>>,
}

impl Boots {
    /// A machine took so long.
    pub fn learn(&mut self, kind: &str, started: bool, took: Duration) {
        let taken = self.taken.entry((kind.to_owned(), started)).or_default();
        if taken.len() == REMEMBERED {
            taken.pop_front();
        }
        taken.push_back(took);
    }

    /// How long the next will take, most likely not longer. What is configured, before any has shown it.
    pub fn expected(&self, kind: &Kind, started: bool) -> Duration {
        let Some(taken) = self.taken.get(&(kind.name.clone(), started)) else { return kind.boot };
        let mut sorted: Vec<_> = taken.iter().copied().collect();
        sorted.sort_unstable();
        let at = (sorted.len() as f64 * SHARE).ceil() as usize;
        sorted.get(at.saturating_sub(1)).copied().unwrap_or(kind.boot)
    }
}

/// Stops launches when machines do not become nodes.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    in_a_row: u32,
    opened: u32,
    until: Option<Instant>,
}

impl Breaker {
    /// A machine never joined.
    pub fn failed(&mut self, now: Instant) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row >= IN_A_ROW && self.until.is_none_or(|until| until <= now) {
            let pause = PAUSE.saturating_mul(1 << self.opened.min(10)).min(LONGEST_PAUSE);
            self.opened = self.opened.saturating_add(1);
            self.until = Some(now + pause);
        }
    }

    /// A machine joined.
    pub fn joined(&mut self) {
        *self = Self::default();
    }

    /// How many machines may be launched now, where so many boot: all, none, or one to try.
    pub fn allows(&self, now: Instant, booting: usize) -> u32 {
        match self.until {
            None => u32::MAX,
            Some(until) if until > now => 0,
            Some(_) => u32::from(booting == 0),
        }
    }

    /// What an operator has to know, while launches are stopped.
    pub fn alarm(&self, now: Instant) -> Option<String> {
        let until = self.until?;
        let left = until.saturating_duration_since(now).as_secs();
        let next = match left {
            0 => "one is tried now".to_owned(),
            left => format!("the next is tried in {left} s"),
        };
        Some(format!("{} machines in a row never joined the mesh; {next}", self.in_a_row))
    }
}

/// What cannot be had for now.
#[derive(Debug, Clone)]
pub struct Backoff {
    seed: u64,
    /// By type and zone: until when, and how often in a row.
    places: BTreeMap<(String, u64), (Instant, u32)>,
    /// Types that the cloud refuses.
    kinds: BTreeMap<String, (Instant, u32)>,
    /// Stopped machines that do not start.
    machines: BTreeMap<u64, (Instant, u32)>,
    /// The cloud itself.
    cloud: Option<(Instant, u32)>,
    answered: BTreeSet<u64>,
}

impl Backoff {
    /// Nothing has failed. The seed is what waits differ by.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            places: BTreeMap::new(),
            kinds: BTreeMap::new(),
            machines: BTreeMap::new(),
            cloud: None,
            answered: BTreeSet::new(),
        }
    }

    /// A launch of this type in this zone failed.
    pub fn launch_failed(&mut self, number: u64, kind: &str, zone: u64, failure: Failure, now: Instant) {
        let seed = self.seed ^ number.rotate_left(32);
        let place = || (kind.to_owned(), zone);
        match failure {
            Failure::Capacity => {
                let times = self.places.get(&place()).map_or(0, |(_, times)| *times);
                self.places.insert(place(), wait(now, times, 15, 900, seed));
            }
            Failure::Busy => self.busy(seed, now),
            Failure::Refused => {
                let times = self.kinds.get(kind).map_or(0, |(_, times)| *times);
                self.kinds.insert(kind.to_owned(), wait(now, times, 120, 3_600, seed));
            }
            // The next number is free of what was launched under this one.
            Failure::Taken => {}
        }
    }

    /// A stopped machine did not start.
    pub fn start_failed(&mut self, number: u64, failure: Failure, now: Instant) {
        let seed = self.seed ^ number.rotate_left(16);
        if failure == Failure::Busy {
            return self.busy(seed, now);
        }
        let times = self.machines.get(&number).map_or(0, |(_, times)| *times);
        self.machines.insert(number, wait(now, times, 30, 1_800, seed));
    }

    fn busy(&mut self, seed: u64, now: Instant) {
        let times = self.cloud.map_or(0, |(_, times)| times);
        self.cloud = Some(wait(now, times, 1, 60, seed));
    }

    /// A list shows a machine that came to be: what was launched can be had.
    pub fn came(&mut self, number: u64, kind: &str, zone: u64) {
        if self.answered.insert(number) {
            self.places.remove(&(kind.to_owned(), zone));
            self.kinds.remove(kind);
            self.cloud = None;
        }
    }

    /// Forgets machines that are no more, and of those that run that they did not start.
    pub fn keep(&mut self, exists: impl Fn(u64) -> bool, stopped: impl Fn(u64) -> bool) {
        self.answered.retain(|number| exists(*number));
        self.machines.retain(|number, _| stopped(*number));
    }

    /// For how long nothing should be asked of the cloud.
    pub fn cloud_wait(&self, now: Instant) -> Option<Duration> {
        self.cloud.and_then(|(until, _)| until.checked_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Whether a machine of this type may be asked for in this zone.
    pub fn allows(&self, kind: &str, zone: u64, now: Instant) -> bool {
        let passed = |wait: Option<&(Instant, u32)>| wait.is_none_or(|(until, _)| *until <= now);
        passed(self.places.get(&(kind.to_owned(), zone))) && passed(self.kinds.get(kind))
    }

    /// Whether this stopped machine may be started.
    pub fn allows_start(&self, number: u64, now: Instant) -> bool {
        self.machines.get(&number).is_none_or(|(until, _)| *until <= now)
    }

    /// Types that the cloud refuses: what an operator has to put right.
    pub fn refused(&self, now: Instant) -> impl Iterator<Item = &str> {
        self.kinds.iter().filter(move |(_, (until, _))| *until > now).map(|(kind, _)| kind.as_str())
    }
}

/// Until when to wait after so many failures, in seconds that double, with up to half of it on top: leaders and types
/// that failed together then do not try again together.
fn wait(now: Instant, times: u32, first: u64, most: u64, seed: u64) -> (Instant, u32) {
    let seconds = first.saturating_mul(1 << times.min(16)).min(most) as f64;
    let jitter = mixed(seed.wrapping_add(u64::from(times))) as f64 / u64::MAX as f64;
    (now + Duration::from_secs_f64(seconds * (1.0 + jitter / 2.0)), times.saturating_add(1))
}

/// SplitMix64: numbers next to each other come out far from each other.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
