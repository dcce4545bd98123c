//! What others do: a fixed cluster, a group that is scaled to a mean load, and Jitsi's autoscaler.
//!
//! None of them has people wait, and none moves people from one machine to another: a machine that is to go takes no new
//! ones and is ended when the last has left.
//!
//! `cpu-target` is what a balancer's group does that is scaled to a target: load takes the place of CPU. Assumed: the mean
//! over all machines that take people, measured over a minute; so many machines that it would be 60 %; nothing is changed
//! within 300 s of the last change; joins go to the machine with the lowest load, and are refused where none has room.
//!
//! `jitsi` does what the program's own configuration example and source say: every 60 s the mean stress of all instances;
//! one more (`scaleUpQuantity`) when it was at `scaleUpThreshold` or above in each of the last 2 periods, one less when it
//! was below `scaleDownThreshold` in each of the last 4; not within 480 s (`gracePeriodTTLSec`) of the last change, and not
//! while a launch is unfinished. Assumed, since the example is for another kind of instance: the thresholds, 0.8 and 0.3;
//! that stress is what is spent of what a machine carries; that an instance that shuts down no longer counts; and that a
//! launch that never reports is given up after 10 minutes. Joins go to the instance under the least stress whether it
//! has room or not.

use super::fleet::{Fit, Fleet, Machine, Spec, State};
use super::scaler::{Action, Manners, Scaler, Waiting};
use std::collections::VecDeque;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// A machine that has not come up by then is replaced.
const GIVEN_UP: Duration = Duration::from_secs(600);

/// Ends machines that drained, and those that never came up.
fn clear_up(now: Duration, fleet: &Fleet) -> Vec<Action> {
    let over = |machine: &Machine| match machine.state {
        State::Draining => machine.peers() == 0,
        State::Booting => now.saturating_sub(machine.launched) >= GIVEN_UP,
        State::Ready | State::Ended => false,
    };
    fleet.present().filter(|(_, machine)| over(machine)).map(|(number, _)| Action::End(number)).collect()
}

/// The mean load of the machines that take people.
fn mean(fleet: &Fleet) -> f64 {
    let (mut used, mut ready) = (0.0, 0.0);
    for (_, machine) in fleet.in_state(State::Ready) {
        used += f64::from(machine.used);
        ready += 1.0;
    }
    used / (ready * f64::from(fleet.spec.streams)).max(1.0)
}

/// Launches or drains until there are so many.
fn come_to(wanted: u32, fleet: &Fleet, launched: &mut u64) -> Vec<Action> {
    let mut ready: Vec<_> = fleet.in_state(State::Ready).filter(|(number, _)| *number > 0).collect();
    let booting = fleet.in_state(State::Booting).count();
    let count = ready.len() + booting + 1;
    let wanted = wanted.max(1) as usize;
    if wanted >= count {
        let present = fleet.present().count();
        let room = (fleet.spec.most as usize).saturating_sub(present);
        let new = (wanted - count).min(room) as u64;
        let first = *launched + 1;
        *launched += new;
        return (first..first + new).map(Action::Launch).collect();
    }
    ready.sort_by_key(|(number, machine)| (machine.used, *number));
    ready.iter().take(count - wanted).map(|(number, _)| Action::Drain(*number)).collect()
}

/// A fixed cluster.
pub struct Fixed {
    machines: u32,
    launched: u64,
}

impl Fixed {
    /// As many as carry the highest load.
    pub fn make(spec: &Spec, highest: u64, _seed: u64) -> Box<dyn Scaler> {
        let machines = highest.div_ceil(u64::from(spec.streams.max(1)));
        Box::new(Self { machines: u32::try_from(machines).unwrap_or(u32::MAX).min(spec.most), launched: 0 })
    }
}

impl Scaler for Fixed {
    fn manners(&self) -> Manners {
        Manners { fit: Fit::Emptiest, patience: Duration::ZERO, moves: 0 }
    }

    fn interval(&self) -> Duration {
        MINUTE
    }

    fn decide(&mut self, now: Duration, fleet: &Fleet, _waiting: Waiting) -> Vec<Action> {
        let mut actions = clear_up(now, fleet);
        actions.extend(come_to(self.machines, fleet, &mut self.launched));
        actions
    }
}

/// A group that is scaled to a mean load.
pub struct CpuTarget {
    changed: Option<Duration>,
    launched: u64,
    sum: f64,
    samples: u32,
    next: Duration,
}

impl CpuTarget {
    const TARGET: f64 = 0.6;
    const COOL_DOWN: Duration = Duration::from_secs(300);

    /// For any machines.
    pub fn make(_spec: &Spec, _highest: u64, _seed: u64) -> Box<dyn Scaler> {
        Box::new(Self { changed: None, launched: 0, sum: 0.0, samples: 0, next: MINUTE })
    }
}

impl Scaler for CpuTarget {
    fn manners(&self) -> Manners {
        Manners { fit: Fit::Emptiest, patience: Duration::ZERO, moves: 0 }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn decide(&mut self, now: Duration, fleet: &Fleet, _waiting: Waiting) -> Vec<Action> {
        let mut actions = clear_up(now, fleet);
        self.sum += mean(fleet);
        self.samples += 1;
        if now < self.next {
            return actions;
        }
        self.next = now + MINUTE;
        let load = self.sum / f64::from(self.samples.max(1));
        (self.sum, self.samples) = (0.0, 0);
        if self.changed.is_some_and(|at| now < at + Self::COOL_DOWN) {
            return actions;
        }
        let ready = fleet.in_state(State::Ready).count();
        let wanted = (ready as f64 * load / Self::TARGET).ceil() as u32;
        let change = come_to(wanted, fleet, &mut self.launched);
        if !change.is_empty() {
            self.changed = Some(now);
        }
        actions.extend(change);
        actions
    }
}

/// Jitsi's autoscaler.
pub struct Stress {
    periods: VecDeque<f64>,
    sum: f64,
    samples: u32,
    next: Duration,
    changed: Option<Duration>,
    desired: u32,
    launched: u64,
}

impl Stress {
    const UP: (f64, usize) = (0.8, 2);
    const DOWN: (f64, usize) = (0.3, 4);
    const GRACE: Duration = Duration::from_secs(480);

    /// For any machines.
    pub fn make(_spec: &Spec, _highest: u64, _seed: u64) -> Box<dyn Scaler> {
        Box::new(Self {
            periods: VecDeque::new(),
            sum: 0.0,
            samples: 0,
            next: MINUTE,
            changed: None,
            desired: 1,
            launched: 0,
        })
    }
}

impl Scaler for Stress {
    fn manners(&self) -> Manners {
        Manners { fit: Fit::Regardless, patience: Duration::ZERO, moves: 0 }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn decide(&mut self, now: Duration, fleet: &Fleet, _waiting: Waiting) -> Vec<Action> {
        let mut actions = clear_up(now, fleet);
        self.sum += mean(fleet);
        self.samples += 1;
        if now < self.next {
            return actions;
        }
        self.next = now + MINUTE;
        self.periods.push_front(self.sum / f64::from(self.samples.max(1)));
        self.periods.truncate(Self::DOWN.1);
        (self.sum, self.samples) = (0.0, 0);
        let count = fleet.in_state(State::Ready).count() as u32;
        let graced = self.changed.is_some_and(|at| now < at + Self::GRACE);
        if !graced && count == self.desired {
            let all = |(limit, periods): (f64, usize), passes: fn(f64, f64) -> bool| {
                self.periods.len() >= periods
                    && self.periods.iter().take(periods).all(|&mean| passes(mean, limit))
            };
            if all(Self::UP, |mean, limit| mean >= limit) {
                self.desired = (self.desired + 1).min(fleet.spec.most);
                self.changed = Some(now);
            } else if all(Self::DOWN, |mean, limit| mean < limit) && self.desired > 1 {
                self.desired -= 1;
                self.changed = Some(now);
            }
        }
        actions.extend(come_to(self.desired, fleet, &mut self.launched));
        actions
    }
}
