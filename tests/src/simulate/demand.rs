//! What a workload asks for at its peak, were everybody admitted, and how large workers are made for it.

use super::ledger::Tally;
use super::policy::{Media, PeerKey};
use super::workload::{Event, EventKind};
use skein_proto::capacity::REFERENCE;
use std::collections::HashMap;
use std::time::Duration;

/// The smallest worker that is made for a workload, in reference streams.
pub const SMALLEST_WORKER: u64 = 40;
/// What a workload asks for at its peak, over what the mesh carries that it is given.
pub type Load = (u64, u64);
/// Too much, so that it shows how full the mesh gets.
pub const OVERLOAD: Load = (6, 5);

/// What a workload asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// How many events there are.
    pub events: u64,
    /// How many of them are joins.
    pub joins: u64,
    /// When the last one happens.
    pub end: Duration,
    /// The most that all consumers together cost at any time, without pipes, in packets a second.
    pub peak: u64,
}

impl Demand {
    /// Goes through a workload once.
    pub fn of(events: impl Iterator<Item = Event>) -> Self {
        let (mut demand, mut audience) = (Self::default(), Audience::default());
        for event in events {
            demand.events += 1;
            demand.joins += u64::from(matches!(event.kind, EventKind::Join { .. }));
            demand.end = event.at;
            audience.apply(&event);
            demand.peak = demand.peak.max(audience.delivered());
        }
        demand
    }

    /// How many reference streams each of so many workers carries, so that the demand's peak is `load` times what they
    /// carry together. At least [`SMALLEST_WORKER`].
    pub fn streams_per_worker(&self, workers: u64, load: Load) -> u64 {
        let streams = self.peak as f64 / REFERENCE.packets as f64;
        let share = streams * load.1 as f64 / load.0 as f64 / workers.max(1) as f64;
        (share.ceil() as u64).max(SMALLEST_WORKER)
    }
}

/// What a set of peers receives, wherever they are.
#[derive(Debug, Default)]
pub struct Audience {
    rooms: HashMap<u32, Tally>,
    peers: HashMap<PeerKey, Media>,
    delivered: u64,
}

impl Audience {
    /// Takes part in an event. A change or leave of one who is not here changes nothing.
    pub fn apply(&mut self, event: &Event) {
        let before = self.peers.get(&event.peer).copied();
        let after = match event.kind {
            EventKind::Join { media, .. } => Some(media),
            EventKind::Leave => None,
            EventKind::Change(media) => before.map(|_| media),
        };
        let room = self.rooms.entry(event.peer.room).or_default();
        self.delivered -= room.receive(room).packets;
        if let Some(media) = before {
            room.remove(media);
        }
        if let Some(media) = after {
            room.add(media);
        }
        self.delivered += room.receive(room).packets;
        if room.peers == 0 {
            self.rooms.remove(&event.peer.room);
        }
        match after {
            Some(media) => self.peers.insert(event.peer, media),
            None => self.peers.remove(&event.peer),
        };
    }

    /// Packets a second to all of them.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Whether this one is here.
    pub fn contains(&self, peer: PeerKey) -> bool {
        self.peers.contains_key(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::policy::MeshSpec;
    use crate::simulate::workload::named;

    #[test]
    fn workers_are_made_so_that_the_peak_is_a_fifth_too_much() {
        // 24,000 reference streams on 20 workers.
        let demand = Demand { peak: 24_000 * 170, ..Demand::default() };
        assert_eq!(demand.streams_per_worker(20, OVERLOAD), 1_000);
        assert_eq!(demand.streams_per_worker(24_000, OVERLOAD), SMALLEST_WORKER);
    }

    #[test]
    fn most_is_asked_for_after_the_middle_of_what_is_offered() {
        for known in named::ALL.iter().filter(|known| known.name != "million") {
            let events: Vec<_> = known.events(known.rooms, 1).collect();
            let demand = Demand::of(events.iter().copied());
            let workers = u64::from(known.nodes) * 2;
            let mesh = MeshSpec::of_streams(known.nodes, 2, demand.streams_per_worker(workers, known.load));
            let (mut audience, mut joins, mut passed) = (Audience::default(), 0, None);
            for event in &events {
                audience.apply(event);
                joins += u64::from(matches!(event.kind, EventKind::Join { .. }));
                if audience.delivered() > mesh.packets() {
                    passed.get_or_insert(joins);
                }
            }
            assert_eq!(audience.delivered(), 0, "{}: some never leave", known.name);
            let passed = passed.unwrap_or_default();
            assert!(2 * passed > demand.joins, "{}: at {passed} of {} joins", known.name, demand.joins);
        }
    }
}
