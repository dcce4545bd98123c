//! What a leader remembers of machines: since when it watches each, and whether it became a node.

use super::boots::{Boots, Breaker};
use super::seen::{MachineSeen, Seen};
use crate::scaler::cloud::MachineState;
use skein_proto::gossip::Phase;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A machine that no list has shown for so long is gone.
const UNLISTED: Duration = Duration::from_secs(120);

/// A machine since it was launched or started last.
#[derive(Debug, Clone)]
struct Watched {
    since: Instant,
    last: Instant,
    /// How old it was when it was first seen.
    age: Duration,
    kind: String,
    started: bool,
    joined: bool,
    /// That it did not join has been counted, or it was ended on purpose.
    settled: bool,
}

impl Watched {
    fn age(&self, now: Instant) -> Duration {
        self.age + now.saturating_duration_since(self.since)
    }
}

/// All of them, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    machines: BTreeMap<u64, Watched>,
    /// Those that were asked to start.
    starts: BTreeSet<u64>,
}

impl Watch {
    /// Takes in what is there now, and learns from those that became nodes and those that did not.
    pub fn see(
        &mut self,
        seen: &Seen,
        machines: &[MachineSeen],
        deadline: Duration,
        now: Instant,
        (boots, breaker): (&mut Boots, &mut Breaker),
    ) {
        for flight in &seen.flights {
            self.begin(flight.number, &flight.kind, flight.age, now);
        }
        let stopped = |machine: &&MachineSeen| machine.state == MachineState::Stopped;
        let asked = |number: u64| seen.flights.iter().any(|flight| flight.number == number);
        for machine in machines {
            match machine.state {
                MachineState::Pending | MachineState::Running => {
                    self.begin(machine.number, &machine.kind, machine.age, now);
                }
                _ if asked(machine.number) => {}
                _ => {
                    let watched = self.machines.get_mut(&machine.number);
                    if let Some(watched) = watched.filter(|watched| !watched.joined && !watched.settled) {
                        watched.settled = true;
                        breaker.failed(now);
                    }
                }
            }
        }
        for node in seen.nodes.iter().filter(|node| matches!(node.phase, Phase::Ready | Phase::Draining)) {
            let Some(watched) = node.number.and_then(|number| self.machines.get_mut(&number)) else {
                continue;
            };
            // Seen for the first time together with its node, nothing is known of how long it took.
            if !watched.joined && watched.since < now && watched.age < deadline {
                boots.learn(&watched.kind, watched.started, watched.age(now));
                breaker.joined();
            }
            watched.joined = true;
        }
        for machine in machines.iter().filter(stopped).filter(|machine| !asked(machine.number)) {
            self.machines.remove(&machine.number);
        }
        // What no list shows any more is gone, but lists can lag behind.
        for watched in self.machines.values_mut().filter(|watched| !watched.joined && !watched.settled) {
            if now.saturating_duration_since(watched.last) >= UNLISTED {
                watched.settled = true;
                breaker.failed(now);
            }
        }
        self.machines.retain(|_, watched| now.saturating_duration_since(watched.last) < 2 * UNLISTED);
        let machines = &self.machines;
        self.starts.retain(|number| machines.contains_key(number) || asked(*number));
    }

    fn begin(&mut self, number: u64, kind: &str, age: Duration, now: Instant) {
        let started = self.starts.contains(&number);
        let watched = self.machines.entry(number).or_insert_with(|| Watched {
            since: now,
            last: now,
            age,
            kind: kind.to_owned(),
            started,
            joined: false,
            settled: false,
        });
        watched.last = now;
    }

    /// A stopped machine is asked to start.
    pub fn start(&mut self, number: u64) {
        self.starts.insert(number);
    }

    /// A machine is ended on purpose.
    pub fn end(&mut self, number: u64) {
        if let Some(watched) = self.machines.get_mut(&number) {
            watched.settled = true;
        }
    }

    /// A machine did not join within the deadline. Whether that is news.
    pub fn overdue(&mut self, number: u64) -> bool {
        let watched = self.machines.get_mut(&number);
        watched.is_some_and(|watched| !std::mem::replace(&mut watched.settled, true))
    }

    /// How old a machine is, since it was launched or started last, by this leader's clock.
    pub fn age(&self, number: u64, now: Instant) -> Option<Duration> {
        Some(self.machines.get(&number)?.age(now))
    }

    /// For how long this leader has watched a machine.
    pub fn watched(&self, number: u64, now: Instant) -> Duration {
        self.machines
            .get(&number)
            .map_or(Duration::ZERO, |watched| now.saturating_duration_since(watched.since))
    }

    /// Whether a machine was a node since it was launched or started last, as far as this leader saw.
    pub fn joined(&self, number: u64) -> bool {
        self.machines.get(&number).is_some_and(|watched| watched.joined)
    }

    /// Whether this leader has watched a machine since it was younger than the deadline.
    pub fn returned_within(&self, number: u64, deadline: Duration) -> bool {
        self.machines.get(&number).is_some_and(|watched| watched.age < deadline)
    }

    /// Whether a machine was started rather than launched.
    pub fn started(&self, number: u64) -> bool {
        self.machines.get(&number).is_some_and(|watched| watched.started) || self.starts.contains(&number)
    }
}
