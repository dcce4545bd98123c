//! What the mesh should do next: launch machines, drain and retire nodes, or nothing. Pure: time is an argument, and
//! whatever is known comes in as [`Seen`].
//!
//! | module | what it is |
//! | --- | --- |
//! | [`limits`] | what the plan keeps to, what it can choose from, and what a launch's number means |
//! | [`seen`] | what is known: nodes, machines, calls that are under way, who waits |
//! | [`step`] | what comes of it: steps, each with its reason |
//! | [`joins`] | how fast people come, and what one of them costs |
//! | [`boots`] | how long machines take, what cannot be had, and when to stop trying |
//! | [`choice`] | which types are the cheapest for what is missing |
//!
//! # When it grows
//! Wanted free are: what waits, what comes while a machine boots, and a spare. What comes is the most that came within
//! such a time lately. What nodes with fresh figures have free and what machines that boot will carry is
//! taken from that; the rest is missing. A node that is still draining is taken back first, then a stopped machine is
//! started, then machines are launched, the cheapest that carry it.
//!
//! # When it shrinks
//! When a node was not needed for a while, all figures are fresh, nothing waits and nothing boots, the emptiest node is
//! drained, one at a time. Not needed means that the others carry the load also when it grows by half at once, or to the
//! highest that was there and wanted within the last hour, where that is less, with what is launched when it grows so. So
//! a load that goes up and down by a fifth around its mean, which from its lowest is half as much again, does not turn the
//! mesh around; most of a load that has gone is followed within the idle time, and the rest after an hour.

pub mod boots;
pub mod choice;
mod grow;
pub mod joins;
pub mod limits;
pub mod seen;
mod shrink;
mod sight;
pub mod step;
#[cfg(test)]
mod tests;
mod watch;

pub use limits::{Kind, Limits, kind_of, zone_of};
pub use seen::{Failure, Flight, MachineSeen, NodeSeen, Queued, Seen};
pub use step::{Plan, Step};

use boots::{Backoff, Boots, Breaker};
use joins::Joins;
use shrink::Peaks;
use sight::Sight;
use skein_proto::gossip::Phase;
use skein_proto::ids::NodeId;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use watch::Watch;

/// For so long a drain that was taken back can still be heard of.
const ECHO: Duration = Duration::from_secs(30);

/// A drain that this leader asked for.
#[derive(Debug, Clone, Default)]
struct Asked {
    /// Why it is to drain, or to take peers again.
    reason: String,
    /// The node has begun to drain.
    begun: bool,
    /// Since when it is to take peers again.
    undone: Option<Instant>,
}

/// Plans, and keeps what has to be remembered from one plan to the next. A new leader begins with a new one: it knows
/// no less of what exists, but it waits anew before it shrinks.
#[derive(Debug, Clone)]
pub struct Planner {
    joins: Joins,
    boots: Boots,
    breaker: Breaker,
    backoff: Backoff,
    watch: Watch,
    peaks: Peaks,
    /// The last whole list of machines.
    list: Option<(Instant, Vec<MachineSeen>)>,
    /// Since when nodes take peers.
    ready: HashMap<NodeId, Instant>,
    /// Since when launched nodes drain.
    draining: BTreeMap<u64, Instant>,
    asked: BTreeMap<u64, Asked>,
    /// Since when launched nodes are not needed.
    unneeded: BTreeMap<u64, Instant>,
    /// Since when somebody waits.
    queued: Option<Instant>,
    /// Since when there are fewer nodes than there have to be.
    short: Option<Instant>,
}

impl Planner {
    /// Knows nothing yet. The seed is what waits after failures differ by; any number.
    pub fn new(seed: u64) -> Self {
        Self {
            joins: Joins::default(),
            boots: Boots::default(),
            breaker: Breaker::default(),
            backoff: Backoff::new(seed),
            watch: Watch::default(),
            peaks: Peaks::default(),
            list: None,
            ready: HashMap::new(),
            draining: BTreeMap::new(),
            asked: BTreeMap::new(),
            unneeded: BTreeMap::new(),
            queued: None,
            short: None,
        }
    }

    /// What is to be done now. Asked again about the same at the same time, it answers the same; what it said should
    /// be launched has to be among the [`Seen::flights`] from then on.
    pub fn plan(&mut self, now: Instant, seen: &Seen, limits: &Limits) -> Plan {
        self.joins.see(now, &seen.nodes);
        let machines = self.machines(now, seen);
        let learners = (&mut self.boots, &mut self.breaker);
        self.watch.see(seen, &machines, limits.join_deadline, now, learners);
        let lists = (self.list.is_some(), seen.machines.is_some());
        let sight = Sight::new(seen, &machines, lists, &self.watch, limits, now);
        self.remember(&sight, &machines);

        let mut plan = Plan::default();
        self.end_what_failed(&sight, &mut plan);
        let missing = self.grow(&sight, &mut plan);
        self.shrink(&sight, missing, &mut plan);
        let alarm = self.breaker.alarm(now);
        let refused = self.backoff.refused(now).collect::<Vec<_>>().join(", ");
        let refused = (!refused.is_empty()).then(|| format!("the cloud refuses to launch {refused}"));
        plan.alarm = alarm.or(refused);
        plan
    }

    /// A launch or start, of the machine of this number, failed for certain.
    pub fn failed(&mut self, number: u64, failure: Failure, limits: &Limits, now: Instant) {
        let stopped = self.list.iter().flat_map(|(_, list)| list).any(|machine| machine.number == number);
        let kind = limits.kind_at(number);
        match kind {
            _ if stopped => self.backoff.start_failed(number, failure, now),
            Some(kind) => {
                let zone = zone_of(number, limits.kinds.len(), limits.zones);
                self.backoff.launch_failed(number, &kind.name, zone, failure, now);
            }
            None => {}
        }
        self.watch.end(number);
    }

    /// How long a machine of a type takes from launch until it takes peers, most likely not longer.
    pub fn boot(&self, kind: &Kind) -> Duration {
        self.boots.expected(kind, false)
    }

    /// The list, or the last one that there was, made older.
    fn machines(&mut self, now: Instant, seen: &Seen) -> Vec<MachineSeen> {
        if let Some(machines) = &seen.machines {
            self.list = Some((now, machines.clone()));
            return machines.clone();
        }
        let Some((at, machines)) = &self.list else { return Vec::new() };
        let passed = now.saturating_duration_since(*at);
        let older = |machine: &MachineSeen| {
            let here = seen.nodes.iter().any(|node| node.number == Some(machine.number));
            let last = machine.last_in_gossip.map(|ago| ago + passed);
            let last_in_gossip = if here { Some(Duration::ZERO) } else { last };
            MachineSeen { age: machine.age + passed, last_in_gossip, ..machine.clone() }
        };
        machines.iter().map(older).collect()
    }

    /// Keeps since when things are as they are.
    fn remember(&mut self, sight: &Sight<'_>, machines: &[MachineSeen]) {
        let (now, seen) = (sight.now, sight.seen);
        let is_ready = |node: &&NodeSeen| node.phase == Phase::Ready;
        self.ready.retain(|id, _| seen.nodes.iter().filter(is_ready).any(|node| node.id == *id));
        for node in seen.nodes.iter().filter(is_ready) {
            self.ready.entry(node.id.clone()).or_insert(now);
        }
        let drains = |number: &u64| sight.nodes.get(number).is_some_and(|node| node.phase == Phase::Draining);
        self.draining.retain(|number, _| drains(number));
        for number in sight.nodes.keys().filter(|number| drains(number)) {
            self.draining.entry(*number).or_insert(now);
        }
        let unneeded = &mut self.unneeded;
        self.asked.retain(|number, asked| {
            let phase = sight.nodes.get(number).map(|node| node.phase);
            asked.begun |= phase == Some(Phase::Draining);
            // A node that drained and takes peers again was told so, by this leader or by hand.
            let echoed = asked.undone.is_some_and(|since| now.saturating_duration_since(since) >= ECHO);
            let over = phase == Some(Phase::Ready) && (asked.begun || echoed);
            if over {
                unneeded.remove(number);
            }
            !over && (phase.is_some() || sight.running.contains(number))
        });
        self.queued = (seen.queue.joins > 0).then(|| self.queued.unwrap_or(now));
        for machine in machines.iter().filter(|machine| sight.running.contains(&machine.number)) {
            let zone = zone_of(machine.number, sight.limits.kinds.len(), sight.limits.zones);
            self.backoff.came(machine.number, &machine.kind, zone);
        }
        let exists = |number| machines.iter().any(|machine| machine.number == number);
        self.backoff.keep(exists, |number| sight.warm.contains_key(&number));
    }

    /// Whether a node is about to drain, or does, because this leader said so.
    fn drains(&self, number: u64) -> bool {
        self.asked.get(&number).is_some_and(|asked| asked.undone.is_none())
    }

    /// Whether a node takes peers, or will in a moment.
    fn takes(&self, node: &NodeSeen) -> bool {
        let asked = node.number.and_then(|number| self.asked.get(&number));
        match (node.phase, asked) {
            (Phase::Ready | Phase::Draining, Some(asked)) => asked.undone.is_some(),
            (Phase::Ready, None) => true,
            _ => false,
        }
    }
}
