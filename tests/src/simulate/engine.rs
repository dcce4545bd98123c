//! Runs a policy over a workload and measures what comes of it.

use super::policy::{Media, MeshSpec, Outcome, PeerKey, Policy, RoomSpec, Sample};
use super::workload::{Event, EventKind};
use serde::Serialize;
use skein_proto::capacity::REFERENCE;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many points a run leaves for plots, at most.
pub const POINTS: u32 = 400;
/// After so many events the progress is told.
const TELL_EVERY: u64 = 4096;

/// How often who waits asks again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a run is of.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The workload's name, or the file's.
    pub workload: String,
    /// The seed of both workload and policy.
    pub seed: u64,
    /// The machines.
    pub mesh: MeshSpec,
    /// When the workload ends, in virtual time.
    pub end: Duration,
}

/// What came of a policy over a workload. Shares are of 1; times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The policy.
    pub policy: String,
    /// The workload.
    pub workload: String,
    /// The seed.
    pub seed: u64,
    /// How many nodes there were.
    pub nodes: u32,
    /// How many peers wanted to join.
    pub joins: u64,
    /// How many of them were refused.
    pub refused: u64,
    /// Delivered of capacity when the first was refused. Nothing where nobody was.
    pub efficiency: Option<f64>,
    /// Not spent, of capacity, when the first was refused. Nothing where nobody was.
    pub free_at_first_refusal: Option<f64>,
    /// The highest delivered of capacity.
    pub peak: f64,
    /// What the node with the highest load spends, over what nodes spend on average, at the peak.
    pub max_over_mean: f64,
    /// How many joins were admitted onto a worker or node that was over budget just after.
    pub over_admitted: u64,
    /// Packets into pipes of all packets spent, at the peak.
    pub pipe_share: f64,
    /// How many peers were moved to another host.
    pub moves: u64,
    /// The 99th percentile of how long admitted peers waited for their answer, in virtual time.
    pub wait_p99_s: f64,
    /// When the first was refused, in virtual time.
    pub first_refusal_at_s: Option<f64>,
    /// How long the run took, in real time.
    pub elapsed_s: f64,
    /// What the mesh can carry, in reference streams.
    pub capacity: u64,
}

/// One point of a run's course.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When, in virtual seconds.
    pub at_s: f64,
    /// Delivered of capacity.
    pub utilisation: f64,
    /// What is not spent, in reference streams. Nothing below nothing.
    pub free: f64,
    /// How many have been refused so far.
    pub refused: u64,
}

/// A report, and how it came to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What came of it.
    pub report: Report,
    /// Its course, at fixed intervals.
    pub course: Vec<Point>,
}

/// Runs a policy over events. `done` is told now and then how many more events are behind.
pub fn run(
    setting: &Setting,
    policy: &mut dyn Policy,
    events: impl Iterator<Item = Event>,
    done: &AtomicU64,
) -> Run {
    let mut engine = Engine::new(setting, policy);
    let mut untold = 0;
    for event in events {
        engine.pass_to(event.at);
        engine.handle(&event);
        untold += 1;
        if untold == TELL_EVERY {
            done.fetch_add(untold, Ordering::Relaxed);
            untold = 0;
        }
    }
    done.fetch_add(untold, Ordering::Relaxed);
    engine.finish()
}

/// A join that found no place and waits for one.
struct Waiting {
    room: RoomSpec,
    media: Media,
    since: Duration,
}

struct Engine<'a> {
    setting: &'a Setting,
    policy: &'a mut dyn Policy,
    capacity: u64,
    begun: Instant,
    admitted: HashSet<PeerKey>,
    waiting: HashMap<PeerKey, Waiting>,
    /// When who waits asks again.
    asks: VecDeque<(Duration, PeerKey)>,
    course: Vec<Point>,
    interval: Duration,
    next_point: Duration,
    joins: u64,
    refused: u64,
    over_admitted: u64,
    over: u64,
    first_refusal: Option<(Duration, Sample)>,
    peak: Sample,
    waits: BTreeMap<Duration, u64>,
}

impl<'a> Engine<'a> {
    fn new(setting: &'a Setting, policy: &'a mut dyn Policy) -> Self {
        Self {
            setting,
            policy,
            capacity: setting.mesh.packets().max(1),
            begun: Instant::now(),
            admitted: HashSet::new(),
            waiting: HashMap::new(),
            asks: VecDeque::new(),
            course: Vec::with_capacity(POINTS as usize + 2),
            interval: (setting.end / POINTS).max(Duration::from_millis(10)),
            next_point: Duration::ZERO,
            joins: 0,
            refused: 0,
            over_admitted: 0,
            over: 0,
            first_refusal: None,
            peak: Sample::default(),
            waits: BTreeMap::new(),
        }
    }

    /// Lets time pass: who waits asks again, and the points that are due are left.
    fn pass_to(&mut self, now: Duration) {
        while let Some((at, peer)) = self.asks.front().copied().filter(|(at, _)| *at <= now) {
            self.asks.pop_front();
            self.advance(at);
            if let Some(waiting) = self.waiting.remove(&peer) {
                self.try_to_join(at, peer, waiting);
            }
        }
        self.advance(now);
    }

    fn advance(&mut self, now: Duration) {
        while self.next_point <= now {
            self.policy.advance(self.next_point);
            self.point(self.next_point);
            self.next_point += self.interval;
        }
        self.policy.advance(now);
    }

    fn point(&mut self, at: Duration) {
        let sample = self.look();
        self.course.push(Point {
            at_s: at.as_secs_f64(),
            utilisation: sample.delivered as f64 / self.capacity as f64,
            free: self.capacity.saturating_sub(sample.spent) as f64 / REFERENCE.packets as f64,
            refused: self.refused,
        });
    }

    fn look(&mut self) -> Sample {
        let sample = self.policy.sample();
        if sample.delivered > self.peak.delivered {
            self.peak = sample;
        }
        sample
    }

    fn handle(&mut self, event: &Event) {
        match event.kind {
            EventKind::Join { room, media } => {
                // One who joins again has left, whether anybody noticed or not.
                self.leave(event.at, event.peer);
                self.joins += 1;
                self.try_to_join(event.at, event.peer, Waiting { room, media, since: event.at });
            }
            EventKind::Change(media) => {
                if let Some(waiting) = self.waiting.get_mut(&event.peer) {
                    waiting.media = media;
                } else if self.admitted.contains(&event.peer) {
                    self.policy.change(event.at, event.peer, media);
                    self.over = self.look().over;
                }
            }
            EventKind::Leave => self.leave(event.at, event.peer),
        }
    }

    fn leave(&mut self, now: Duration, peer: PeerKey) {
        if self.waiting.remove(&peer).is_some() {
            let sample = self.look();
            self.refuse(now, sample);
        } else if self.admitted.remove(&peer) {
            self.policy.leave(now, peer);
            self.over = self.policy.sample().over;
        }
    }

    fn refuse(&mut self, now: Duration, sample: Sample) {
        self.refused += 1;
        self.first_refusal.get_or_insert((now, sample));
    }

    fn try_to_join(&mut self, now: Duration, peer: PeerKey, waiting: Waiting) {
        let outcome = self.policy.join(now, &waiting.room, peer, waiting.media);
        let sample = self.look();
        match outcome {
            Outcome::Admitted { waited } => {
                self.admitted.insert(peer);
                *self.waits.entry(now - waiting.since + waited).or_default() += 1;
                let overloads = self.policy.last_join_overloads().unwrap_or(sample.over > self.over);
                self.over_admitted += u64::from(overloads);
            }
            Outcome::Refused { .. } if now < waiting.since + self.policy.patience() => {
                self.waiting.insert(peer, waiting);
                self.asks.push_back((now + ASK_AGAIN, peer));
            }
            Outcome::Refused { .. } => self.refuse(now, sample),
        }
        self.over = sample.over;
    }

    fn finish(mut self) -> Run {
        // A course ends with what is left after the last event.
        if self.course.last().is_some_and(|point| point.at_s >= self.setting.end.as_secs_f64()) {
            self.course.pop();
        }
        self.point(self.setting.end);
        let of_capacity = |packets: u64| packets as f64 / self.capacity as f64;
        let (mesh, peak) = (&self.setting.mesh, &self.peak);
        let mean = peak.spent as f64 / f64::from(mesh.nodes.max(1));
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        let report = Report {
            policy: self.policy.name().to_owned(),
            workload: self.setting.workload.clone(),
            seed: self.setting.seed,
            nodes: mesh.nodes,
            joins: self.joins,
            refused: self.refused,
            efficiency: self.first_refusal.map(|(_, sample)| rounded(of_capacity(sample.delivered))),
            free_at_first_refusal: self
                .first_refusal
                .map(|(_, sample)| rounded(of_capacity(self.capacity.saturating_sub(sample.spent)))),
            peak: rounded(of_capacity(peak.delivered)),
            max_over_mean: rounded(share(peak.highest_node as f64, mean)),
            over_admitted: self.over_admitted,
            pipe_share: rounded(share(peak.piped as f64, peak.spent as f64)),
            moves: self.policy.sample().moves,
            wait_p99_s: rounded(percentile(&self.waits, 0.99).as_secs_f64()),
            first_refusal_at_s: self.first_refusal.map(|(at, _)| rounded(at.as_secs_f64())),
            elapsed_s: rounded(self.begun.elapsed().as_secs_f64()),
            capacity: mesh.streams(),
        };
        Run { report, course: self.course }
    }
}

/// To four digits, so that results are easy to read and to compare.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The smallest of these that so large a share is not above. Nothing where there are none.
fn percentile(counted: &BTreeMap<Duration, u64>, share: f64) -> Duration {
    let all: u64 = counted.values().sum();
    let wanted = (all as f64 * share).ceil() as u64;
    let mut seen = 0;
    for (&value, &count) in counted {
        seen += count;
        if seen >= wanted {
            return value;
        }
    }
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::policy::{Media, Mode, RoomSpec};
    use crate::simulate::single_node::SingleNode;

    fn event(second: u64, room: u32, peer: u32, kind: EventKind) -> Event {
        Event { at: Duration::from_secs(second), peer: PeerKey { room, peer }, kind }
    }

    fn join(media: Media) -> EventKind {
        EventKind::Join { room: RoomSpec { mode: Mode::OneToOne, size: 2 }, media }
    }

    #[test]
    fn a_tiny_case_has_the_figures_worked_out_by_hand() {
        let mesh = MeshSpec::of_streams(2, 1, 2);
        let setting = Setting { workload: "tiny".to_owned(), seed: 1, mesh, end: Duration::from_secs(40) };
        let events = [
            event(0, 1, 1, join(Media::BOTH)),
            event(1, 1, 2, join(Media::BOTH)),
            event(10, 1, 3, join(Media::BOTH)),
            event(11, 1, 3, EventKind::Change(Media::NOTHING)),
            event(12, 1, 3, EventKind::Leave),
            event(20, 1, 2, EventKind::Leave),
            event(40, 1, 1, EventKind::Leave),
        ];
        let mut policy = SingleNode::new(&mesh, 1);
        let run = run(&setting, &mut policy, events.into_iter(), &AtomicU64::new(0));
        let report = run.report;
        // Two who send 220 packets to each other on a node of 340: that is over, and the third is refused.
        assert_eq!((report.joins, report.refused, report.capacity), (3, 1, 4));
        assert_eq!(report.peak, 0.6471, "440 of 680");
        assert_eq!(report.efficiency, Some(0.6471));
        assert_eq!(report.free_at_first_refusal, Some(0.3529));
        assert_eq!(report.first_refusal_at_s, Some(10.0));
        assert_eq!(report.max_over_mean, 2.0, "one of two nodes carries everything");
        assert_eq!((report.pipe_share, report.moves, report.over_admitted), (0.0, 0, 1));
        assert!(run.course.len() <= 500);
        assert_eq!(run.course.last().map(|point| (point.free, point.refused)), Some((4.0, 1)));
        assert_eq!(policy.sample(), Sample::default(), "nobody is left");
    }

    /// Full until the third second, and patient for three.
    #[derive(Default)]
    struct Patient(Vec<(Duration, PeerKey, Media)>);

    impl Policy for Patient {
        fn name(&self) -> &'static str {
            "patient"
        }

        fn advance(&mut self, _: Duration) {}

        fn join(&mut self, now: Duration, _: &RoomSpec, peer: PeerKey, media: Media) -> Outcome {
            if now < Duration::from_secs(3) {
                return Outcome::Refused { reason: "full" };
            }
            self.0.push((now, peer, media));
            Outcome::Admitted { waited: Duration::from_secs(1) }
        }

        fn patience(&self) -> Duration {
            Duration::from_secs(3)
        }

        fn leave(&mut self, _: Duration, _: PeerKey) {}

        fn change(&mut self, _: Duration, _: PeerKey, _: Media) {}

        fn sample(&self) -> Sample {
            Sample::default()
        }
    }

    #[test]
    fn who_finds_no_place_asks_again_until_it_loses_patience_or_goes() {
        let mesh = MeshSpec::of_streams(1, 1, 2);
        let setting = Setting { workload: "tiny".to_owned(), seed: 1, mesh, end: Duration::from_secs(9) };
        let events = [
            event(0, 1, 1, join(Media::BOTH)),
            event(1, 1, 1, EventKind::Change(Media::NOTHING)),
            event(1, 1, 2, join(Media::BOTH)),
            event(2, 1, 2, EventKind::Leave),
            event(9, 1, 1, EventKind::Leave),
        ];
        let mut policy = Patient::default();
        let report = run(&setting, &mut policy, events.into_iter(), &AtomicU64::new(0)).report;
        let admitted = (Duration::from_secs(3), PeerKey { room: 1, peer: 1 }, Media::NOTHING);
        assert_eq!(policy.0, [admitted], "as it is by then");
        assert_eq!((report.joins, report.refused, report.wait_p99_s), (2, 1, 4.0));
        assert_eq!(report.first_refusal_at_s, Some(2.0), "who goes in vain was refused");
    }

    #[test]
    fn a_percentile_is_not_below_its_share() {
        let waits =
            BTreeMap::from([(Duration::ZERO, 98), (Duration::from_secs(1), 1), (Duration::from_secs(2), 1)]);
        assert_eq!(percentile(&waits, 0.99), Duration::from_secs(1));
        assert_eq!(percentile(&BTreeMap::new(), 0.99), Duration::ZERO);
    }
}
