//! Runs a scaler over a day and measures what comes of it.

use super::demand::{self, Visit};
use super::fleet::{Fit, Fleet, Machine, Spec};
use super::promises::Promises;
use super::scaler::{Action, Known, Scaler, Waiting};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// Boot times are log-normal, of this width.
const WIDTH: f64 = 0.25;
/// Who is placed within so long of a machine being up was placed at once.
const AT_ONCE: Duration = Duration::from_secs(10);
/// How many points a run leaves for plots.
const POINTS: u64 = 480;

/// What a run is of.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The day.
    pub day: &'static demand::Known,
    /// The seed of day, boots and scaler.
    pub seed: u64,
    /// The machines.
    pub spec: Spec,
}

/// What came of a scaler over a day. Shares are of 1; times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The scaler.
    pub scaler: String,
    /// The day.
    pub workload: String,
    /// The seed.
    pub seed: u64,
    /// How long it is.
    pub hours: f64,
    /// How many reference streams a machine carries.
    pub streams: u32,
    /// How many wanted in.
    pub joins: u64,
    /// How many were refused, at once or when their patience ended.
    pub refused: u64,
    /// How many were taken onto a machine that was over its budget just after.
    pub over_admitted: u64,
    /// How many were on a machine when it was ended.
    pub dropped: u64,
    /// How many waited for a place and got it.
    pub waited: u64,
    /// How long these waited on average.
    pub wait_mean_s: f64,
    /// How long 95 of 100 of these waited at most.
    pub wait_p95_s: f64,
    /// The share of these that got it within ten seconds of their own machine being up, or before it was. See
    /// [`Promises`].
    pub placed_at_once: Option<f64>,
    /// The share of these that got it within ten seconds of the first machine of all that came up while they waited, or
    /// before any did: those who did not have to wait for a second one.
    pub placed_with_first: Option<f64>,
    /// How many were moved to another machine.
    pub moves: u64,
    /// How many machines were launched.
    pub launches: u64,
    /// How many of them never came up.
    pub failed: u64,
    /// The most machines at any time, the seed among them.
    pub most_nodes: u32,
    /// Hours of machines, from launch to end, the seed's among them.
    pub node_hours: f64,
    /// The fewest that carry everybody, at each second, with no time to boot.
    pub fewest_node_hours: f64,
    /// The first over the second.
    pub over_fewest: f64,
    /// What they cost.
    pub cost: f64,
    /// How often it turned from growing to shrinking or back.
    pub reversals: u64,
    /// How often within the hour in which it did so most.
    pub reversals_worst_hour: u64,
    /// How long the run took, in real time.
    pub elapsed_s: f64,
}

/// One point of a run's course.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When, in virtual seconds.
    pub at_s: f64,
    /// How many machines there are.
    pub nodes: f64,
    /// The fewest that would carry everybody.
    pub fewest: f64,
}

/// A report, and how it came to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What came of it.
    pub report: Report,
    /// Its course.
    pub course: Vec<Point>,
}

/// How much wants to be there at each second, in reference streams.
fn wanted(visits: &[Visit], end: Duration) -> Vec<u64> {
    let seconds = usize::try_from(end.as_secs()).unwrap_or(0);
    let mut changes = vec![0_i64; seconds + 1];
    for visit in visits {
        let at = |time: Duration| usize::try_from(time.as_secs()).unwrap_or(seconds).min(seconds);
        changes[at(visit.at)] += i64::from(visit.streams);
        changes[at(visit.at + visit.stays)] -= i64::from(visit.streams);
    }
    let mut load = 0;
    let sum = |change: &i64| {
        load += change;
        u64::try_from(load).unwrap_or(0)
    };
    changes.iter().take(seconds).map(sum).collect()
}

/// Runs a scaler over a day.
pub fn run(setting: &Setting, known: &Known) -> Run {
    let begun = Instant::now();
    let visits = setting.day.visits(setting.seed);
    let load = wanted(&visits, setting.day.end());
    let highest = load.iter().copied().max().unwrap_or(0);
    let scaler = (known.make)(&setting.spec, highest, setting.seed);
    let mut engine = Engine::new(setting, &visits, scaler);
    let streams = u64::from(setting.spec.streams.max(1));
    let mut fewest_seconds = 0;
    let mut course = Vec::new();
    let each = (load.len() as u64 / POINTS).max(1);
    for (second, &load) in load.iter().enumerate() {
        let now = SECOND * u32::try_from(second).unwrap_or(u32::MAX);
        engine.second(now);
        let fewest = load.div_ceil(streams).max(1);
        fewest_seconds += fewest;
        if (second as u64).is_multiple_of(each) {
            let nodes = engine.fleet.present().count() as f64;
            course.push(Point { at_s: now.as_secs_f64(), nodes, fewest: fewest as f64 });
        }
    }
    let mut report = engine.report(known.name);
    report.fewest_node_hours = rounded(fewest_seconds as f64 / 3_600.0);
    report.over_fewest = rounded(report.node_hours / report.fewest_node_hours.max(f64::MIN_POSITIVE));
    report.elapsed_s = rounded(begun.elapsed().as_secs_f64());
    Run { report, course }
}

struct Engine<'a> {
    setting: &'a Setting,
    visits: &'a [Visit],
    scaler: Box<dyn Scaler>,
    fleet: Fleet,
    rng: StdRng,
    next: usize,
    leaves: BinaryHeap<Reverse<(Duration, u32)>>,
    waiting: VecDeque<u32>,
    next_decision: Duration,
    /// When machines came up.
    ups: Vec<Duration>,
    waits: Vec<Duration>,
    promises: Promises,
    placed_at_once: u64,
    placed_with_first: u64,
    refused: u64,
    over: u64,
    dropped: u64,
    moves: u64,
    launches: u64,
    failed: u64,
    most: usize,
    grew: Option<bool>,
    turns: Vec<Duration>,
}

impl<'a> Engine<'a> {
    fn new(setting: &'a Setting, visits: &'a [Visit], scaler: Box<dyn Scaler>) -> Self {
        Self {
            setting,
            visits,
            scaler,
            fleet: Fleet::new(setting.spec),
            rng: StdRng::seed_from_u64(setting.seed ^ 0x6d61_6368),
            next: 0,
            leaves: BinaryHeap::new(),
            waiting: VecDeque::new(),
            next_decision: Duration::ZERO,
            ups: Vec::new(),
            waits: Vec::new(),
            promises: Promises::default(),
            placed_at_once: 0,
            placed_with_first: 0,
            refused: 0,
            over: 0,
            dropped: 0,
            moves: 0,
            launches: 0,
            failed: 0,
            most: 1,
            grew: None,
            turns: Vec::new(),
        }
    }

    fn second(&mut self, now: Duration) {
        let manners = self.scaler.manners();
        while let Some(&Reverse((at, peer))) = self.leaves.peek() {
            if at > now {
                break;
            }
            self.leaves.pop();
            self.fleet.leave(peer);
        }
        if self.fleet.boot(now) > 0 {
            self.ups.push(now);
        }
        self.moves += self.fleet.move_away(manners.moves);
        self.place_waiting(now, manners.fit, manners.patience);
        while let Some(visit) = self.visits.get(self.next).filter(|visit| visit.at <= now) {
            let peer = u32::try_from(self.next).unwrap_or(u32::MAX);
            self.next += 1;
            let placed = self.fleet.place(peer, visit.streams, manners.fit);
            match placed {
                Some(over) => {
                    self.over += u64::from(over);
                    self.leaves.push(Reverse((now + visit.stays, peer)));
                }
                None if manners.patience.is_zero() || !self.scaler.grows() => self.refused += 1,
                None => self.waiting.push_back(peer),
            }
        }
        if now >= self.next_decision {
            self.next_decision = now + self.scaler.interval();
            let streams = self.waiting.iter().map(|peer| self.visit(*peer).streams).sum();
            let joins = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
            for action in self.scaler.decide(now, &self.fleet, Waiting { joins, streams }) {
                self.act(now, action);
            }
            self.promises.make(&self.waiting, self.visits, &self.fleet);
        }
        self.most = self.most.max(self.fleet.present().count());
    }

    fn visit(&self, peer: u32) -> Visit {
        self.visits[peer as usize]
    }

    /// Those who wait, in their order; a smaller one may pass a larger one that does not fit.
    fn place_waiting(&mut self, now: Duration, fit: Fit, patience: Duration) {
        let waiting = std::mem::take(&mut self.waiting);
        for peer in waiting {
            let visit = self.visit(peer);
            let waited = now.saturating_sub(visit.at);
            if self.fleet.place(peer, visit.streams, fit).is_some() {
                self.leaves.push(Reverse((now + visit.stays, peer)));
                self.waits.push(waited);
                let soon = |up: Option<Duration>| up.is_none_or(|up| now.saturating_sub(up) <= AT_ONCE);
                let first = soon(self.ups.get(self.ups.partition_point(|up| *up < visit.at)).copied());
                self.placed_with_first += u64::from(first);
                let own = match self.promises.kept(peer).and_then(|number| self.fleet.machines.get(&number)) {
                    // One that never comes up says nothing.
                    None | Some(Machine { up: None, .. }) => first,
                    Some(machine) => soon(machine.up.filter(|up| *up <= now)),
                };
                self.placed_at_once += u64::from(own);
            } else if waited >= patience {
                self.refused += 1;
                self.promises.kept(peer);
            } else {
                self.waiting.push_back(peer);
            }
        }
    }

    fn act(&mut self, now: Duration, action: Action) {
        let grows = match action {
            Action::Launch(number) => {
                self.launches += 1;
                let fails = self.rng.random_bool(self.setting.spec.failures.clamp(0.0, 1.0));
                self.failed += u64::from(fails);
                let normal = (0..12).map(|_| self.rng.random::<f64>()).sum::<f64>() - 6.0;
                let boot = self.setting.spec.boot.mul_f64((WIDTH * normal).exp());
                self.fleet.launch(number, now, (!fails).then_some(now + boot));
                true
            }
            Action::Undrain(number) => {
                self.fleet.drain(number, false);
                true
            }
            Action::Drain(number) => {
                self.fleet.drain(number, true);
                false
            }
            Action::End(number) => {
                self.dropped += self.fleet.end(number, now) as u64;
                return;
            }
        };
        if self.grew.is_some_and(|grew| grew != grows) {
            self.turns.push(now);
        }
        self.grew = Some(grows);
    }

    fn report(mut self, name: &str) -> Report {
        let setting = self.setting;
        let node_hours = self.fleet.hours(setting.day.end());
        self.waits.sort_unstable();
        let waited = self.waits.len();
        let share = |placed: u64| (waited > 0).then(|| rounded(placed as f64 / waited as f64));
        let mean = self.waits.iter().sum::<Duration>().as_secs_f64() / (waited.max(1) as f64);
        let p95 = self.waits.get((waited as f64 * 0.95).ceil() as usize - usize::from(waited > 0));
        let hour = Duration::from_secs(3_600);
        let within =
            |at: &Duration| self.turns.iter().filter(|turn| **turn >= *at && **turn < *at + hour).count();
        let worst = self.turns.iter().map(within).max().unwrap_or(0);
        Report {
            scaler: name.to_owned(),
            workload: setting.day.name.to_owned(),
            seed: setting.seed,
            hours: setting.day.end().as_secs_f64() / 3_600.0,
            streams: setting.spec.streams,
            joins: self.visits.len() as u64,
            refused: self.refused,
            over_admitted: self.over,
            dropped: self.dropped,
            waited: waited as u64,
            wait_mean_s: rounded(mean),
            wait_p95_s: rounded(p95.map_or(0.0, Duration::as_secs_f64)),
            placed_at_once: share(self.placed_at_once),
            placed_with_first: share(self.placed_with_first),
            moves: self.moves,
            launches: self.launches,
            failed: self.failed,
            most_nodes: u32::try_from(self.most).unwrap_or(u32::MAX),
            node_hours: rounded(node_hours),
            fewest_node_hours: 0.0,
            over_fewest: 0.0,
            cost: rounded(node_hours * setting.spec.price),
            reversals: self.turns.len() as u64,
            reversals_worst_hour: worst as u64,
            elapsed_s: 0.0,
        }
    }
}

/// To two digits, so that results are easy to read and to compare.
fn rounded(value: f64) -> f64 {
    (value * 1e2).round() / 1e2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::machines::scaler;

    fn setting(day: &str) -> Setting {
        let boot = Duration::from_secs(60);
        let spec = Spec { streams: 500, price: 0.2, boot, failures: 0.02, most: 100 };
        Setting { day: demand::find(day).expect("is known"), seed: 1, spec }
    }

    fn report(day: &str, scaler: &str) -> Report {
        run(&setting(day), scaler::find(scaler).expect("is known")).report
    }

    #[test]
    fn a_day_costs_less_than_a_fixed_cluster_and_drops_nobody() {
        let (skein, fixed) = (report("day", "skein"), report("day", "fixed"));
        assert!(skein.node_hours < 0.6 * fixed.node_hours, "{skein:?}\n{fixed:?}");
        assert!(skein.node_hours >= skein.fewest_node_hours, "{skein:?}");
        assert_eq!((skein.refused, skein.dropped, skein.over_admitted), (0, 0, 0), "{skein:?}");
        assert!(skein.placed_at_once.is_none_or(|share| share >= 0.95), "{skein:?}");
    }

    #[test]
    fn a_square_wave_turns_it_around_once_an_hour_at_most() {
        let skein = report("square", "skein");
        assert!(skein.reversals_worst_hour <= 1, "{skein:?}");
        assert!(skein.placed_at_once.is_none_or(|share| share >= 0.95), "{skein:?}");
        assert_eq!(skein.refused, 0, "{skein:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_report() {
        for known in scaler::ALL {
            let once = || Report { elapsed_s: 0.0, ..run(&setting("night"), known).report };
            assert_eq!(once(), once());
        }
    }

    #[test]
    fn what_is_wanted_is_counted_by_the_second() {
        let visit =
            |at, stays| Visit { at: Duration::from_secs(at), stays: Duration::from_secs(stays), streams: 3 };
        assert_eq!(wanted(&[visit(1, 2), visit(2, 9)], SECOND * 4), [0, 3, 6, 3]);
    }
}
