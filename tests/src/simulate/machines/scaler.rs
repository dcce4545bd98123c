//! What a scaler is to the simulation: it sees the machines and who waits, and says what to launch, drain and end.

use super::fleet::{Fit, Fleet, Spec};
use super::mesh::Mesh;
use super::others::{CpuTarget, Fixed, Stress};
use std::time::Duration;

/// What is done about a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is launched. Its number was never used before.
    Launch(u64),
    /// It takes no new ones.
    Drain(u64),
    /// It takes new ones again.
    Undrain(u64),
    /// It is ended, with whoever is on it.
    End(u64),
}

/// Those who wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub joins: u32,
    /// What they need, in reference streams.
    pub streams: u32,
}

/// How a scaler's service takes people in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// Which machine they get.
    pub fit: Fit,
    /// For how long they wait for a place; not at all, where this is nothing.
    pub patience: Duration,
    /// How many are moved from each draining machine a second.
    pub moves: usize,
}

/// Decides how many machines there are.
pub trait Scaler {
    /// How people are taken in.
    fn manners(&self) -> Manners;

    /// How often it decides.
    fn interval(&self) -> Duration;

    /// What it decides.
    fn decide(&mut self, now: Duration, fleet: &Fleet, waiting: Waiting) -> Vec<Action>;

    /// Whether those who find no place now may wait for one.
    fn grows(&self) -> bool {
        true
    }
}

/// Makes a scaler, for machines like this, a demand whose highest is so many reference streams, and a seed.
pub type MakeScaler = fn(&Spec, u64, u64) -> Box<dyn Scaler>;

/// A scaler that can be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// What it is called.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Makes one.
    pub make: MakeScaler,
}

/// All of them, in the order in which results are shown.
pub const ALL: &[Known] = &[
    Known { name: "skein", about: "what the mesh's leader does, by its own plan", make: Mesh::make },
    Known { name: "fixed", about: "a fixed cluster that carries the day's highest load", make: Fixed::make },
    Known {
        name: "cpu-target",
        about: "a balancer's group, scaled to a mean load of 60 % with a cool-down of 300 s",
        make: CpuTarget::make,
    },
    Known {
        name: "jitsi",
        about: "Jitsi's autoscaler: mean stress over 2 min up, over 4 min down, one at a time, 480 s grace",
        make: Stress::make,
    },
];

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.name == name)
}
