//! Machines that boot, fail to, drain and end, and who is on them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What machines are like. All are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spec {
    /// How many reference streams one carries.
    pub streams: u32,
    /// What one costs an hour.
    pub price: f64,
    /// How long most take to boot: half are faster.
    pub boot: Duration,
    /// The share of launches that never become a node.
    pub failures: f64,
    /// The most that there may be, with the seed.
    pub most: u32,
}

/// How a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It boots.
    Booting,
    /// It takes peers.
    Ready,
    /// It takes no new ones.
    Draining,
    /// It is gone.
    Ended,
}

/// A machine, and who is on it.
#[derive(Debug, Clone)]
pub struct Machine {
    /// How it is.
    pub state: State,
    /// When it was launched.
    pub launched: Duration,
    /// When it will take peers; never, where its launch fails.
    pub up: Option<Duration>,
    /// When it was ended.
    pub ended: Option<Duration>,
    /// What those on it cost, in reference streams.
    pub used: u32,
    /// How many came to it.
    pub joined: u64,
    peers: BTreeSet<u32>,
}

impl Machine {
    /// How many are on it.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }
}

/// All machines, by number. Number 0 is the seed: it is there from the beginning and never ends.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// What they are like.
    pub spec: Spec,
    /// The machines, those that are gone among them.
    pub machines: BTreeMap<u64, Machine>,
    at: BTreeMap<u32, (u64, u32)>,
}

/// Which machine somebody gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The fullest that it fits on.
    Fullest,
    /// The emptiest that it fits on.
    Emptiest,
    /// The emptiest, whether it fits or not.
    Regardless,
}

impl Fleet {
    /// The seed alone.
    pub fn new(spec: Spec) -> Self {
        let mut fleet = Self { spec, machines: BTreeMap::new(), at: BTreeMap::new() };
        fleet.launch(0, Duration::ZERO, Some(Duration::ZERO));
        if let Some(seed) = fleet.machines.get_mut(&0) {
            seed.state = State::Ready;
        }
        fleet
    }

    /// A machine is launched and takes peers from then on, or never.
    pub fn launch(&mut self, number: u64, now: Duration, up: Option<Duration>) {
        let machine = Machine {
            state: State::Booting,
            launched: now,
            up,
            ended: None,
            used: 0,
            joined: 0,
            peers: BTreeSet::new(),
        };
        self.machines.insert(number, machine);
    }

    /// The machines that are not gone.
    pub fn present(&self) -> impl Iterator<Item = (u64, &Machine)> {
        self.machines.iter().filter(|(_, machine)| machine.state != State::Ended).map(|(n, m)| (*n, m))
    }

    /// Those in this state.
    pub fn in_state(&self, state: State) -> impl Iterator<Item = (u64, &Machine)> {
        self.machines.iter().filter(move |(_, machine)| machine.state == state).map(|(n, m)| (*n, m))
    }

    /// What everybody costs together.
    pub fn used(&self) -> u64 {
        self.machines.values().map(|machine| u64::from(machine.used)).sum()
    }

    /// Machines that have booted take peers. How many did just now.
    pub fn boot(&mut self, now: Duration) -> usize {
        let mut up = 0;
        for machine in self.machines.values_mut() {
            if machine.state == State::Booting && machine.up.is_some_and(|at| at <= now) {
                machine.state = State::Ready;
                up += 1;
            }
        }
        up
    }

    /// Finds a place for somebody. Where there was one: whether it is full beyond what it carries.
    pub fn place(&mut self, peer: u32, streams: u32, fit: Fit) -> Option<bool> {
        let most = self.spec.streams;
        let fits = |machine: &Machine| machine.used + streams <= most || fit == Fit::Regardless;
        let ready = self.machines.iter_mut().filter(|(_, m)| m.state == State::Ready && fits(m));
        let (number, machine) = match fit {
            Fit::Fullest => ready.max_by_key(|(number, machine)| (machine.used, u64::MAX - **number)),
            Fit::Emptiest | Fit::Regardless => ready.min_by_key(|(number, machine)| (machine.used, **number)),
        }?;
        machine.used += streams;
        machine.joined += 1;
        machine.peers.insert(peer);
        let over = machine.used > most;
        self.at.insert(peer, (*number, streams));
        Some(over)
    }

    /// Somebody leaves.
    pub fn leave(&mut self, peer: u32) {
        let Some((number, streams)) = self.at.remove(&peer) else { return };
        if let Some(machine) = self.machines.get_mut(&number) {
            machine.used -= streams;
            machine.peers.remove(&peer);
        }
    }

    /// Moves up to so many from each draining machine to others. How many were moved.
    pub fn move_away(&mut self, most: usize) -> u64 {
        let mut moved = 0;
        let draining: Vec<u64> = self.in_state(State::Draining).map(|(number, _)| number).collect();
        for number in draining {
            let Some(machine) = self.machines.get(&number) else { continue };
            let peers: Vec<u32> = machine.peers.iter().copied().take(most).collect();
            for peer in peers {
                let Some(&(_, streams)) = self.at.get(&peer) else { continue };
                if self.place(peer, streams, Fit::Fullest).is_none() {
                    break;
                }
                if let Some(machine) = self.machines.get_mut(&number) {
                    machine.used -= streams;
                    machine.peers.remove(&peer);
                }
                moved += 1;
            }
        }
        moved
    }

    /// Begins or takes back a drain.
    pub fn drain(&mut self, number: u64, drains: bool) {
        if let Some(machine) = self.machines.get_mut(&number).filter(|m| m.up.is_some() && number > 0) {
            match (machine.state, drains) {
                (State::Ready, true) => machine.state = State::Draining,
                (State::Draining, false) => machine.state = State::Ready,
                _ => {}
            }
        }
    }

    /// Ends a machine. How many were on it.
    pub fn end(&mut self, number: u64, now: Duration) -> usize {
        let Some(machine) = self.machines.get_mut(&number).filter(|_| number > 0) else { return 0 };
        machine.state = State::Ended;
        machine.ended.get_or_insert(now);
        machine.used = 0;
        let dropped = std::mem::take(&mut machine.peers);
        for peer in &dropped {
            self.at.remove(peer);
        }
        dropped.len()
    }

    /// For how many hours machines were there, together, from launch to end.
    pub fn hours(&self, end: Duration) -> f64 {
        let time = |machine: &Machine| machine.ended.unwrap_or(end).saturating_sub(machine.launched);
        self.machines.values().map(|machine| time(machine).as_secs_f64()).sum::<f64>() / 3_600.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Fleet {
        let boot = Duration::from_secs(60);
        let mut fleet = Fleet::new(Spec { streams: 10, price: 1.0, boot, failures: 0.0, most: 9 });
        fleet.launch(1, Duration::ZERO, Some(boot));
        fleet.launch(2, Duration::ZERO, None);
        fleet
    }

    #[test]
    fn who_comes_gets_a_place_where_there_is_one() {
        let mut fleet = fleet();
        assert_eq!(fleet.place(1, 8, Fit::Fullest), Some(false));
        assert_eq!(fleet.place(2, 8, Fit::Fullest), None);
        assert_eq!(fleet.place(2, 8, Fit::Regardless), Some(true));
        assert_eq!(fleet.boot(Duration::from_secs(60)), 1, "the other never does");
        assert_eq!(fleet.place(3, 4, Fit::Emptiest), Some(false));
        fleet.leave(2);
        fleet.leave(2);
        assert_eq!(fleet.used(), 12);
        assert_eq!(fleet.place(4, 2, Fit::Fullest), Some(false));
        assert_eq!(fleet.machines.get(&0).map(|machine| machine.used), Some(10));
    }

    #[test]
    fn a_machine_drains_and_ends_and_has_cost_its_time() {
        let mut fleet = fleet();
        fleet.boot(Duration::from_secs(60));
        fleet.place(1, 8, Fit::Fullest);
        fleet.place(2, 5, Fit::Fullest);
        fleet.drain(0, true);
        assert_eq!(fleet.in_state(State::Draining).count(), 0, "the seed stays");
        fleet.drain(1, true);
        assert_eq!(fleet.move_away(9), 0, "there is no room");
        fleet.leave(1);
        assert_eq!(fleet.move_away(9), 1);
        assert_eq!(fleet.end(1, Duration::from_secs(1_800)), 0);
        fleet.end(2, Duration::from_secs(3_600));
        assert_eq!(fleet.hours(Duration::from_secs(7_200)), 2.0 + 0.5 + 1.0);
        assert_eq!(fleet.used(), 5);
    }
}
