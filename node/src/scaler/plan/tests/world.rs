//! A cloud and a mesh that do at once what a plan says, with load that flows to wherever there is room.

use crate::scaler::cloud::MachineState;
use crate::scaler::plan::{
    Failure, Flight, Limits, MachineSeen, NodeSeen, Plan, Planner, Queued, Seen, Step, kind_of,
};
use skein_proto::gossip::Phase;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A peer costs so much.
const PEER: f64 = 4.0;

/// A node somewhere.
#[derive(Debug, Clone)]
struct Node {
    machine: Option<(String, MachineState, Instant)>,
    boot: Duration,
    joins: bool,
    total: f64,
    used: f64,
    came: f64,
    phase: Phase,
    up: bool,
    ended: Option<Instant>,
}

/// All of it.
pub struct World {
    pub now: Instant,
    pub limits: Limits,
    pub planner: Planner,
    /// What everybody together takes.
    pub load: f64,
    /// Launches fail to become nodes.
    pub broken: bool,
    /// Launches find no capacity.
    pub dry: bool,
    /// Figures stand still.
    pub frozen: Option<Instant>,
    pub listed: bool,
    /// When it turned from growing to shrinking or back, and every step once.
    pub turns: Vec<Instant>,
    pub log: Vec<(Instant, Step)>,
    /// What was launched or started since something was listed last.
    unlisted: Vec<u64>,
    grew: Option<bool>,
    nodes: BTreeMap<u64, Node>,
    seeds: u64,
    launched: u64,
    queued: f64,
}

/// Seeds have numbers from here on, and none in what is seen.
const SEED: u64 = 1 << 40;

impl World {
    pub fn new(limits: Limits, seeds: u64, seed_streams: f64) -> Self {
        let now = Instant::now();
        let seed = |_| Node {
            machine: None,
            boot: Duration::ZERO,
            joins: true,
            total: seed_streams,
            used: 0.0,
            came: 0.0,
            phase: Phase::Ready,
            up: true,
            ended: None,
        };
        Self {
            now,
            limits,
            planner: Planner::new(7),
            load: 0.0,
            broken: false,
            dry: false,
            frozen: None,
            listed: true,
            turns: Vec::new(),
            log: Vec::new(),
            unlisted: Vec::new(),
            grew: None,
            nodes: (0..seeds).map(|n| (SEED + n, seed(n))).collect(),
            seeds,
            launched: 0,
            queued: 0.0,
        }
    }

    /// Machines that have been there for long.
    pub fn with_machines(mut self, count: u64) -> Self {
        for number in 1..=count {
            self.add(number);
            let born = self.now - Duration::from_secs(90);
            if let Some(node) = self.nodes.get_mut(&number) {
                (node.up, node.phase) = (true, Phase::Ready);
                if let Some(machine) = &mut node.machine {
                    (machine.1, machine.2) = (MachineState::Running, born);
                }
            }
        }
        self
    }

    fn add(&mut self, number: u64) {
        let index = kind_of(number, self.limits.kinds.len()).expect("there are types");
        let kind = &self.limits.kinds[index];
        self.launched = self.launched.max(number);
        let node = Node {
            machine: Some((kind.name.clone(), MachineState::Pending, self.now)),
            boot: kind.boot,
            joins: !self.broken,
            total: f64::from(kind.streams),
            used: 0.0,
            came: 0.0,
            phase: Phase::Starting,
            up: false,
            ended: None,
        };
        self.nodes.insert(number, node);
    }

    /// What can be seen now.
    pub fn seen(&self) -> Seen {
        let (now, mut seen) = (self.now, Seen { launched: self.launched, ..Seen::default() });
        let mut machines = Vec::new();
        for (&number, node) in &self.nodes {
            if let Some((kind, state, born)) = &node.machine {
                let age = now - *born;
                let last_in_gossip =
                    if node.up { Some(Duration::ZERO) } else { node.ended.map(|at| now - at) };
                machines.push(MachineSeen { number, kind: kind.clone(), state: *state, age, last_in_gossip });
            }
            if !node.up {
                continue;
            }
            let launched = number < SEED;
            seen.nodes.push(NodeSeen {
                id: format!("mesh-{number}").parse().expect("a name"),
                number: launched.then_some(number),
                kind: node.machine.as_ref().map(|(kind, ..)| kind.clone()),
                phase: node.phase,
                free: (node.total - node.used).max(0.0) as u32,
                total: node.total as u32,
                peers: (node.used / PEER).ceil() as u32,
                rooms: 0,
                joined: node.came as u64,
                figures_age: self.frozen.map_or(Duration::ZERO, |since| now - since),
                suspect: false,
            });
        }
        seen.machines = self.listed.then_some(machines);
        let unlisted = self.unlisted.iter().filter_map(|number| {
            let (kind, _, born) = self.nodes.get(number)?.machine.clone()?;
            Some(Flight { number: *number, kind, age: now - born })
        });
        seen.flights = unlisted.collect();
        let joins = (self.queued / PEER).ceil() as u32;
        seen.queue = Queued { joins, streams: self.queued.ceil() as u32, guaranteed: 0 };
        seen
    }

    /// How many nodes there are or will be.
    pub fn count(&self) -> u64 {
        let gone = |node: &&Node| {
            node.machine.as_ref().is_some_and(|(_, state, _)| {
                matches!(state, MachineState::Stopped | MachineState::Terminated)
            })
        };
        self.nodes.values().filter(|node| !gone(node)).count() as u64
    }

    /// How many take peers.
    pub fn taking(&self) -> u64 {
        self.nodes.values().filter(|node| node.up && node.phase == Phase::Ready).count() as u64
    }

    /// What the launched machines cost an hour.
    pub fn cost(&self) -> f64 {
        let costs = |(kind, state, _): &(String, MachineState, Instant)| {
            let gone = matches!(state, MachineState::Stopped | MachineState::Terminated);
            if gone { 0.0 } else { self.limits.price_of(kind) }
        };
        self.nodes.values().filter_map(|node| node.machine.as_ref()).map(costs).sum()
    }

    /// How much waits.
    pub fn queued(&self) -> f64 {
        self.queued
    }

    /// A node vanishes from gossip, and its machine runs on.
    pub fn lose(&mut self, number: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            (node.up, node.ended, node.used, node.joins) = (false, Some(self.now), 0.0, false);
        }
    }

    /// Lets time pass, plans, and does it.
    pub fn pass(&mut self, time: Duration) -> Plan {
        self.now += time;
        for (_, node) in self.nodes.iter_mut() {
            let Some((_, state, born)) = &mut node.machine else { continue };
            match *state {
                MachineState::Pending => *state = MachineState::Running,
                MachineState::Stopping => *state = MachineState::Stopped,
                MachineState::Terminating => *state = MachineState::Terminated,
                _ => {}
            }
            if *state == MachineState::Running && node.joins && !node.up && self.now - *born >= node.boot {
                (node.up, node.phase) = (true, Phase::Ready);
            }
        }
        if self.listed {
            self.unlisted.clear();
        }
        self.flow();
        let seen = self.seen();
        let before = self.planner.clone();
        let plan = self.planner.plan(self.now, &seen, &self.limits);
        // Asked again it answers the same, and with the launches under way it launches nothing more.
        let again = self.planner.plan(self.now, &seen, &self.limits);
        assert_eq!(super::done(&plan), super::done(&again), "asked twice");
        let mut other = before;
        assert_eq!(plan, other.plan(self.now, &seen, &self.limits), "is a function of what it is told");
        let flights = plan.steps.iter().filter_map(|step| match step {
            Step::Launch { number, kind, .. } | Step::Start { number, kind, .. } => {
                Some(Flight { number: *number, kind: kind.clone(), age: Duration::ZERO })
            }
            _ => None,
        });
        let with = Seen { flights: seen.flights.iter().cloned().chain(flights).collect(), ..seen };
        let after = other.plan(self.now, &with, &self.limits);
        let launches = |step: &&Step| matches!(step, Step::Launch { .. } | Step::Start { .. });
        // No plan launches more than a few, and the next one goes on.
        if plan.steps.iter().filter(launches).count() < 20 {
            assert_eq!(after.steps.iter().find(launches), None, "launches under way count: {:?}", plan.steps);
        }
        for step in plan.steps.clone() {
            self.act(step);
        }
        plan
    }

    pub fn run(&mut self, time: Duration, each: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.pass(each);
        }
    }

    fn flow(&mut self) {
        // Draining nodes move what they can, at once.
        let takes = |node: &Node| node.up && node.phase == Phase::Ready;
        let capacity: f64 = self.nodes.values().filter(|node| takes(node)).map(|node| node.total).sum();
        let placed = self.load.min(capacity);
        let before: f64 = self.nodes.values().filter(|node| node.up).map(|node| node.used).sum();
        self.queued = self.load - placed;
        let newcomers = (placed - before).max(0.0);
        for node in self.nodes.values_mut() {
            let used = if takes(node) && capacity > 0.0 { placed * node.total / capacity } else { 0.0 };
            if takes(node) && capacity > 0.0 {
                // Who moves here from elsewhere has come here too.
                node.came += (used - node.used).max(0.0).max(newcomers * node.total / capacity) / PEER;
            }
            node.used = used;
        }
    }

    fn act(&mut self, step: Step) {
        let number = step.number();
        assert!(number < SEED, "a seed is left alone: {step}");
        assert!(!step.reason().is_empty());
        if self.dry && matches!(step, Step::Launch { .. }) {
            self.planner.failed(number, Failure::Capacity, &self.limits, self.now);
            self.log.push((self.now, step));
            return;
        }
        let now = self.now;
        let change = match &step {
            Step::Launch { kind, .. } => {
                let index = kind_of(number, self.limits.kinds.len()).expect("there are types");
                assert_eq!(self.limits.kinds[index].name, *kind, "the number says the type");
                assert!(number > self.launched, "a number is never used again");
                self.add(number);
                true
            }
            _ => {
                let node = self.nodes.get_mut(&number).expect("it is there");
                let machine = node.machine.as_mut().expect("it was launched");
                match step {
                    Step::Start { .. } => {
                        (machine.1, machine.2) = (MachineState::Pending, now);
                        true
                    }
                    Step::Drain { .. } => {
                        std::mem::replace(&mut node.phase, Phase::Draining) != Phase::Draining
                    }
                    Step::Undrain { .. } => std::mem::replace(&mut node.phase, Phase::Ready) != Phase::Ready,
                    Step::Stop { .. } => {
                        (node.up, node.ended) = (false, Some(now));
                        machine.1 = MachineState::Stopping;
                        false
                    }
                    _ => {
                        node.up = false;
                        machine.1 = MachineState::Terminating;
                        false
                    }
                }
            }
        };
        // Also when there are lists: the next one may be missing.
        if matches!(step, Step::Launch { .. } | Step::Start { .. }) {
            self.unlisted.push(number);
        }
        let grows = step.grows();
        if change {
            if self.grew.is_some_and(|grew| grew != grows) {
                self.turns.push(now);
            }
            self.grew = Some(grows);
        }
        self.log.push((now, step));
    }

    /// How often a kind of step was taken.
    pub fn steps(&self, of: impl Fn(&Step) -> bool) -> usize {
        self.log.iter().filter(|(_, step)| of(step)).count()
    }

    pub fn seeds(&self) -> u64 {
        self.seeds
    }
}
