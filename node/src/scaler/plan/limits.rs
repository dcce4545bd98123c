//! What the plan has to keep to, and what it can choose from.

use skein_bootstrap::config::{MachineType, Scaling};
use std::time::Duration;

/// A type of machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// The cloud's name for it.
    pub name: String,
    /// How many reference streams it carries.
    pub streams: u32,
    /// What it costs an hour.
    pub price: f64,
    /// From launch until it takes peers, before any launch has shown it.
    pub boot: Duration,
}

/// What the plan has to keep to, and what it can choose from.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The fewest nodes, with those that the leader did not launch.
    pub min_nodes: u32,
    /// The most nodes, with those that the leader did not launch.
    pub max_nodes: u32,
    /// What all machines that the leader launched may cost an hour together.
    pub cost_per_hour: Option<f64>,
    /// How many reference streams are kept free for those who come next.
    pub spare: u32,
    /// For how long a node must not have been needed before it is drained.
    pub idle: Duration,
    /// How long a node is drained before those who are still there are told to dial another.
    pub drain: Duration,
    /// Within which a launched machine has to join the mesh.
    pub join_deadline: Duration,
    /// For how long gossip must not have heard of a machine before it is replaced.
    pub lost: Duration,
    /// How many stopped machines are kept.
    pub warm: u32,
    /// What can be launched.
    pub kinds: Vec<Kind>,
    /// In how many zones.
    pub zones: u64,
}

impl Limits {
    /// As configured, for rooms of so many peers, with machines in so many zones.
    ///
    /// Where the configuration does not say how much is kept free, it is what a room of the default size takes when
    /// everybody in it sends a video to everybody else, but at most half of the largest machine: a mesh of one node
    /// would otherwise never be without a second one that nobody is on.
    pub fn new(scaling: &Scaling, room_size: u32, zones: u64) -> Self {
        let minutes = |minutes: f64| seconds(minutes * 60.0);
        let kinds: Vec<Kind> = scaling.types.iter().map(Kind::from).collect();
        let largest = kinds.iter().map(|kind| kind.streams).max().unwrap_or(0);
        let room = room_size.saturating_mul(room_size.saturating_sub(1));
        Self {
            min_nodes: scaling.min_nodes,
            max_nodes: scaling.max_nodes,
            cost_per_hour: scaling.max_cost_per_hour,
            spare: scaling.spare_streams.unwrap_or_else(|| room.min(largest / 2)),
            idle: minutes(scaling.idle_minutes),
            drain: minutes(scaling.drain_minutes),
            join_deadline: seconds(scaling.join_deadline_s),
            lost: minutes(scaling.lost_minutes),
            warm: scaling.warm,
            kinds,
            zones: zones.max(1),
        }
    }

    /// Takes the cloud's price for a type, which counts before the configured one.
    pub fn price(&mut self, kind: &str, price: f64) {
        if price.is_finite() && price >= 0.0 {
            self.kinds.iter_mut().filter(|known| known.name == kind).for_each(|known| known.price = price);
        }
    }

    /// The type of this name.
    pub fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// The type of a launch; none where there are no types.
    pub fn kind_at(&self, number: u64) -> Option<&Kind> {
        self.kinds.get(kind_of(number, self.kinds.len())?)
    }

    /// The streams of the largest type; none where there are no types.
    pub fn largest(&self) -> u32 {
        self.kinds.iter().map(|kind| kind.streams).max().unwrap_or(0)
    }

    /// What a machine of a type costs an hour. A type that is no longer configured costs as much as the dearest.
    pub fn price_of(&self, name: &str) -> f64 {
        let dearest = || self.kinds.iter().map(|kind| kind.price).fold(0.0, f64::max);
        self.kind(name).map_or_else(dearest, |kind| kind.price)
    }
}

impl From<&MachineType> for Kind {
    fn from(configured: &MachineType) -> Self {
        Self {
            name: configured.name.clone(),
            streams: configured.streams,
            price: configured.price,
            boot: seconds(configured.boot_s),
        }
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
}

/// The index of the type of launch `number` among so many. None where there are none.
///
/// Everything about a launch is a function of its number, so that two leaders who both make launch n ask for the same
/// machine, and a cloud that keeps launches apart by their numbers gives both the same one. Whoever wants a certain
/// type therefore takes a number that means that type, and leaves out those that do not.
pub fn kind_of(number: u64, types: usize) -> Option<usize> {
    usize::try_from(number.checked_rem(types as u64)?).ok()
}

/// The index of the zone of launch `number`, with so many types and zones. See [`kind_of`].
pub fn zone_of(number: u64, types: usize, zones: u64) -> u64 {
    (number / (types as u64).max(1)) % zones.max(1)
}

/// The smallest number above `highest` that means this type, in a zone that `allowed` names. None where no zone is.
pub fn next_number(
    highest: u64,
    kind: usize,
    types: usize,
    zones: u64,
    allowed: impl Fn(u64) -> bool,
) -> Option<u64> {
    let (types_count, zones) = (types as u64, zones.max(1));
    let first = highest.checked_add(1)?;
    // The numbers of one type are `types` apart, and each step is another zone until all have had their turn.
    let to_kind = (kind as u64 + types_count).checked_sub(first.checked_rem(types_count)?)? % types_count;
    let first = first.checked_add(to_kind)?;
    (0..zones)
        .filter_map(|step| first.checked_add(step.checked_mul(types_count)?))
        .find(|&number| allowed(zone_of(number, types, zones)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_type_and_zone() {
        assert_eq!((0..5).filter_map(|n| kind_of(n, 2)).collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
        assert_eq!((0..8).map(|n| zone_of(n, 2, 3)).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2, 0, 0]);
        assert_eq!(kind_of(7, 0), None);
        assert_eq!(zone_of(7, 0, 0), 0);
    }

    #[test]
    fn the_next_number_is_the_smallest_that_means_what_is_wanted() {
        assert_eq!(next_number(0, 0, 1, 1, |_| true), Some(1));
        assert_eq!(next_number(4, 1, 3, 1, |_| true), Some(7));
        assert_eq!(next_number(6, 1, 3, 1, |_| true), Some(7));
        assert_eq!(next_number(7, 1, 3, 1, |_| true), Some(10));
        // Number 7 is zone 0 of 2.
        assert_eq!(zone_of(7, 3, 2), 0);
        assert_eq!(next_number(6, 1, 3, 2, |zone| zone == 1), Some(10));
        assert_eq!(next_number(6, 1, 3, 2, |_| false), None);
        assert_eq!(next_number(6, 0, 0, 2, |_| true), None);
        assert_eq!(next_number(u64::MAX, 0, 1, 1, |_| true), None);
    }

    #[test]
    fn spare_is_a_room_but_at_most_half_a_machine() {
        let kind = |name: &str, streams| MachineType {
            name: name.to_owned(),
            streams,
            workers: 1,
            price: 1.0,
            boot_s: 60.0,
        };
        let mut scaling = Scaling { types: vec![kind("a", 400), kind("b", 1_000)], ..Scaling::default() };
        assert_eq!(Limits::new(&scaling, 10, 1).spare, 90);
        assert_eq!(Limits::new(&scaling, 500, 1).spare, 500);
        scaling.spare_streams = Some(700);
        assert_eq!(Limits::new(&scaling, 500, 1).spare, 700);
    }

    #[test]
    fn the_clouds_price_counts_before_the_configured_one() {
        let kind = Kind { name: "a".to_owned(), streams: 1, price: 1.0, boot: Duration::ZERO };
        let mut limits = Limits { kinds: vec![kind], ..Limits::new(&Scaling::default(), 1, 1) };
        limits.price("a", 2.0);
        limits.price("a", f64::NAN);
        assert_eq!((limits.price_of("a"), limits.price_of("gone")), (2.0, 2.0));
    }
}
