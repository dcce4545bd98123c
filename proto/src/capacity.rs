//! What streams cost and what machines can carry, in the two budgets that can be the wall: packets that a worker sends
//! each second, and bits that a node sends into the network each second.
//!
//! Sending is what is counted: each packet is encrypted and sent once for every consumer, and received once. A worker's
//! budget is measured with one consumer for each producer, so that what it receives is paid for by what it sends. A
//! producer that nobody consumes costs what it receives.

use serde::{Deserialize, Serialize};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

/// What a stream takes of the budgets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cost {
    /// Of its worker's: packets a second.
    pub packets: u64,
    /// Of its node's: bits a second into the network. Nothing for what stays inside the node.
    pub bits: u64,
}

/// The stream that capacity is told in: a 720p VP8 video at 1.5 Mbit/s, which is about 170 packets a second.
pub const REFERENCE: Cost = Cost { packets: 170, bits: 1_500_000 };

impl Cost {
    /// Nothing.
    pub const ZERO: Self = Self { packets: 0, bits: 0 };

    /// A cost of so many packets and bits a second.
    pub const fn new(packets: u64, bits: u64) -> Self {
        Self { packets, bits }
    }

    /// What it costs where it does not leave the node.
    pub const fn inside(self) -> Self {
        Self { packets: self.packets, bits: 0 }
    }

    /// What is left when `other` is taken away; nothing below nothing.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(other.packets),
            bits: self.bits.saturating_sub(other.bits),
        }
    }

    /// The smaller of each.
    pub fn min(self, other: Self) -> Self {
        Self { packets: self.packets.min(other.packets), bits: self.bits.min(other.bits) }
    }

    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        Self { packets: self.packets.max(other.packets), bits: self.bits.max(other.bits) }
    }

    /// Whether it is within `budget` in both.
    pub const fn fits(self, budget: Self) -> bool {
        self.packets <= budget.packets && self.bits <= budget.bits
    }

    /// How many whole reference streams it is worth: as many as fit into both.
    pub const fn streams(self) -> u64 {
        let (by_packets, by_bits) = (self.packets / REFERENCE.packets, self.bits / REFERENCE.bits);
        if by_packets < by_bits { by_packets } else { by_bits }
    }
}

impl Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            bits: self.bits.saturating_add(other.bits),
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<u64> for Cost {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self { packets: self.packets.saturating_mul(times), bits: self.bits.saturating_mul(times) }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

/// What a peer sends, or several do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sends {
    /// With all layers: what arrives from it, and what a pipe takes.
    pub all: Cost,
    /// What one consumer of all its producers takes.
    pub one: Cost,
}

impl Sends {
    /// Nothing.
    pub const NOTHING: Self = Self { all: Cost::ZERO, one: Cost::ZERO };

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self { all: self.all + other.all, one: self.one + other.one }
    }

    /// Without a part of it.
    pub fn minus(self, other: Self) -> Self {
        Self { all: self.all.saturating_sub(other.all), one: self.one.saturating_sub(other.one) }
    }

    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        Self { all: self.all.max(other.all), one: self.one.max(other.one) }
    }
}
