//! What is seen, put together: which machine is which node, what boots, what is lost, what can be counted on.

use super::limits::Limits;
use super::seen::{Flight, MachineSeen, NodeSeen, Seen};
use super::watch::Watch;
use crate::scaler::cloud::MachineState;
use skein_proto::gossip::Phase;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A machine that is on its way to being a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Booting {
    pub number: u64,
    pub kind: String,
    pub age: Duration,
    /// It was stopped and is started, rather than launched.
    pub started: bool,
}

/// What is seen, put together.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    pub seen: &'a Seen,
    pub limits: &'a Limits,
    pub now: Instant,
    /// Whether the cloud's list is whole and fresh; without one nothing is ended.
    pub fresh: bool,
    /// Whether there ever was a list; without one nothing is launched, since nobody knows what runs.
    pub listed: bool,
    /// The launched nodes in gossip, by number.
    pub nodes: BTreeMap<u64, &'a NodeSeen>,
    /// Machines that run or are about to.
    pub running: BTreeSet<u64>,
    pub booting: Vec<Booting>,
    /// Machines that did not join within the deadline, and calls that no list has shown within it.
    pub overdue: Vec<u64>,
    /// Machines that gossip has not heard of for too long: their types, and for how long.
    pub lost: BTreeMap<u64, (String, Duration)>,
    /// Machines that gossip does not hear of, but not for so long yet.
    pub unheard: BTreeSet<u64>,
    /// Stopped machines, and their types.
    pub warm: BTreeMap<u64, String>,
    /// How many machines are about to be stopped.
    pub stopping: u32,
    /// How many nodes there are or will be, for the ceiling.
    pub nodes_counted: u32,
    /// What the launched machines among them cost an hour.
    pub cost: f64,
    /// The highest number of a launch.
    pub highest: u64,
}

impl<'a> Sight<'a> {
    pub fn new(
        seen: &'a Seen,
        machines: &[MachineSeen],
        (listed, fresh): (bool, bool),
        watch: &Watch,
        limits: &'a Limits,
        now: Instant,
    ) -> Self {
        let nodes: BTreeMap<_, _> = seen.nodes.iter().filter_map(|node| Some((node.number?, node))).collect();
        let mut sight = Self {
            seen,
            limits,
            now,
            fresh,
            listed,
            nodes,
            running: BTreeSet::new(),
            booting: Vec::new(),
            overdue: Vec::new(),
            lost: BTreeMap::new(),
            unheard: BTreeSet::new(),
            warm: BTreeMap::new(),
            stopping: 0,
            nodes_counted: 0,
            cost: 0.0,
            highest: seen.launched,
        };
        let mut counted: BTreeMap<u64, &str> = BTreeMap::new();
        let mut gone = BTreeSet::new();
        let flights: BTreeMap<u64, &Flight> =
            seen.flights.iter().map(|flight| (flight.number, flight)).collect();
        for machine in machines {
            match machine.state {
                MachineState::Pending | MachineState::Running => {
                    sight.running.insert(machine.number);
                    counted.insert(machine.number, &machine.kind);
                    sight.sort(machine, watch);
                }
                MachineState::Stopping => {
                    sight.stopping += 1;
                    counted.insert(machine.number, &machine.kind);
                }
                MachineState::Terminating => {
                    counted.insert(machine.number, &machine.kind);
                }
                MachineState::Stopped if flights.contains_key(&machine.number) => {}
                MachineState::Stopped => {
                    sight.warm.insert(machine.number, machine.kind.clone());
                    gone.insert(machine.number);
                }
                MachineState::Terminated => {
                    gone.insert(machine.number);
                }
            }
        }
        let listed_numbers: BTreeSet<_> = counted.keys().copied().chain(gone.iter().copied()).collect();
        for flight in &seen.flights {
            if listed_numbers.contains(&flight.number) {
                continue;
            }
            counted.insert(flight.number, &flight.kind);
            if sight.nodes.get(&flight.number).is_some_and(|node| node.phase != Phase::Starting) {
                continue;
            }
            let (number, age) = (flight.number, watch.age(flight.number, now).unwrap_or(flight.age));
            if age >= limits.join_deadline {
                // It may be there or not; nobody should wait for it any longer.
                sight.overdue.push(number);
                continue;
            }
            let started = watch.started(number);
            sight.booting.push(Booting { number, kind: flight.kind.clone(), age, started });
        }
        for (number, node) in &sight.nodes {
            // A list may be behind what gossip knows, but not behind what it says itself is gone.
            if !gone.contains(number) {
                counted.entry(*number).or_insert(node.kind.as_deref().unwrap_or_default());
            }
        }
        let by_hand = seen.nodes.iter().filter(|node| node.number.is_none()).count();
        sight.nodes_counted = u32::try_from(by_hand + counted.len()).unwrap_or(u32::MAX);
        sight.cost = counted.values().map(|kind| limits.price_of(kind)).sum();
        let numbers = machines.iter().map(|machine| machine.number).chain(counted.keys().copied());
        sight.highest = numbers.fold(sight.highest, u64::max);
        sight.booting.sort_by_key(|booting| booting.number);
        sight
    }

    /// Says of a machine that runs what it is on the way to.
    fn sort(&mut self, machine: &MachineSeen, watch: &Watch) {
        let number = machine.number;
        let age = watch.age(number, self.now).unwrap_or(machine.age);
        match self.nodes.get(&number).map(|node| node.phase) {
            Some(Phase::Ready | Phase::Draining | Phase::Leaving) => return,
            Some(Phase::Starting) | None => {}
        }
        let joined = watch.joined(number) || machine.last_in_gossip.is_some_and(|ago| ago < age);
        let starting = self.nodes.contains_key(&number);
        let deadline = self.limits.join_deadline;
        // A leader that found a machine old does not know whether it is late, or was a node and starts again.
        let watched_long =
            watch.returned_within(number, deadline) || watch.watched(number, self.now) >= deadline;
        if !joined && age < deadline || starting && (joined || !watched_long) {
            self.booting.push(Booting {
                number,
                kind: machine.kind.clone(),
                age,
                started: watch.started(number),
            });
        } else if !joined && (starting || watch.returned_within(number, deadline)) {
            self.overdue.push(number);
        } else {
            // Where this leader came when the machine was old already, nobody knows whether it ever was a node.
            let watched = watch.watched(number, self.now);
            let unheard = machine.last_in_gossip.filter(|ago| *ago < age).unwrap_or(watched);
            if unheard >= self.limits.lost {
                self.lost.insert(number, (machine.kind.clone(), unheard));
            } else {
                self.unheard.insert(number);
            }
        }
    }

    /// How many reference streams a machine that boots will carry; none where its type is not known.
    pub fn streams_of(&self, kind: &str) -> u32 {
        self.limits.kind(kind).map_or(0, |kind| kind.streams)
    }

    /// How many are on their way.
    pub fn booting_streams(&self) -> u64 {
        self.booting.iter().map(|booting| u64::from(self.streams_of(&booting.kind))).sum()
    }

    /// Whether every node's figures can be relied upon, and nobody is missing.
    pub fn complete(&self) -> bool {
        let told = |node: &NodeSeen| node.phase == Phase::Leaving || node.trusted();
        self.seen.nodes.iter().all(told) && self.lost.is_empty() && self.unheard.is_empty()
    }
}
