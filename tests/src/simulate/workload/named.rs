//! The workloads there are, by name.
//!
//! People come until demand passes the mesh's capacity, somewhere after the middle; rooms begin and end, people mute,
//! leave and come back throughout. What a workload draws at random is drawn from its seed alone.

use super::Events;
use super::generator::{Arrivals, Generator, Group};
use super::script::{MINUTE, Shape, exponential};
use crate::simulate::demand::{Load, OVERLOAD};
use crate::simulate::policy::Mode;
use rand::Rng;
use rand::rngs::StdRng;
use std::ops::RangeInclusive;

/// A workload that can be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// What it is called.
    pub name: &'static str,
    /// What happens in it, in one line.
    pub about: &'static str,
    /// How many rooms it has where nothing else is asked for.
    pub rooms: u32,
    /// On how many nodes it runs where nothing else is asked for.
    pub nodes: u32,
    /// How much of the mesh it asks for at its peak, where workers are made for it.
    pub load: Load,
    /// How many peers a room has when it is full.
    pub sizes: Sizes,
    parts: &'static [Part],
}

/// The smallest and the largest.
pub type Sizes = (u32, u32);

/// Rooms of one kind, and how many of them to how many of the others.
#[derive(Debug, Clone, Copy)]
struct Part {
    rooms: u32,
    arrivals: Arrivals,
    shape: fn(&mut StdRng) -> Shape,
}

impl Known {
    /// Its events, with so many rooms.
    pub fn events(&self, rooms: u32, seed: u64) -> Events<'static> {
        Box::new(Generator::new(&self.groups(rooms), seed))
    }

    /// How many peers a room may have when it is full.
    pub const fn sizes(&self) -> RangeInclusive<u32> {
        self.sizes.0..=self.sizes.1
    }

    fn groups(&self, rooms: u32) -> Vec<Group> {
        let all: u32 = self.parts.iter().map(|part| part.rooms).sum();
        let mut left = rooms;
        let last = self.parts.len().saturating_sub(1);
        let mut groups = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let share = (u64::from(rooms) * u64::from(part.rooms) / u64::from(all.max(1))) as u32;
            // Every kind has one at least, as long as there are as many rooms as kinds.
            let others = (last - index) as u32;
            let share = if index == last { left } else { share.max(1).min(left.saturating_sub(others)) };
            left -= share;
            groups.push(Group { rooms: share, arrivals: part.arrivals, shape: part.shape });
        }
        groups
    }
}

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.name == name)
}

const CONTACT_CENTRE: Part =
    Part { rooms: 500, arrivals: Arrivals::Ramp(30.0 * MINUTE), shape: contact_centre };
const SCHOOL: Part = Part { rooms: 10, arrivals: Arrivals::Ramp(20.0 * MINUTE), shape: school };
const WEBINARS: Part = Part { rooms: 6, arrivals: Arrivals::Ramp(30.0 * MINUTE), shape: webinar };
const TEACHING: Part = Part { rooms: 300, arrivals: Arrivals::Random(210.0 * MINUTE), shape: teaching };

/// All of them.
pub const ALL: &[Known] = &[
    Known {
        name: "contact-centre",
        about: "500 conferences of 2 to 4 begin over 1 h, more and more often, and last 25 min on average",
        rooms: 500,
        nodes: 10,
        load: OVERLOAD,
        sizes: (2, 4),
        parts: &[CONTACT_CENTRE],
    },
    Known {
        name: "school",
        about: "10 classes of 20 to 60 who all send video fill up over 40 min and last 60 to 75 min",
        rooms: 10,
        nodes: 10,
        load: OVERLOAD,
        sizes: (20, 60),
        parts: &[SCHOOL],
    },
    Known {
        name: "webinars",
        about: "6 stages of 8 presenters and 250 listeners each, who come over 30 min; each lasts 60 min",
        rooms: 6,
        nodes: 10,
        load: OVERLOAD,
        sizes: (258, 258),
        parts: &[WEBINARS],
    },
    Known {
        name: "teaching",
        about: "300 lessons of 2 to 40, mostly small, begin unpredictably over 3.5 h; most last 35 min, some 3 h",
        rooms: 300,
        nodes: 10,
        load: OVERLOAD,
        sizes: (2, 40),
        parts: &[TEACHING],
    },
    Known {
        name: "one-giant",
        about: "one stage of 10,000: 4 presenters who hand over to guests at times, an audience that comes over 1 h",
        rooms: 1,
        nodes: 10,
        load: OVERLOAD,
        sizes: (10_000, 10_000),
        parts: &[Part { rooms: 1, arrivals: Arrivals::Together, shape: one_giant }],
    },
    Known {
        name: "burst",
        about: "500 joins within 10 s: 100 conferences of 5, mingled at random, that last a minute",
        rooms: 100,
        nodes: 10,
        load: OVERLOAD,
        sizes: (5, 5),
        parts: &[Part { rooms: 100, arrivals: Arrivals::Together, shape: burst }],
    },
    Known {
        name: "churn",
        about: "120 conferences that grow tenfold, from 2 to 6 to 20 to 60, and empty again, four times in 1 h",
        rooms: 120,
        nodes: 10,
        load: OVERLOAD,
        sizes: (20, 60),
        parts: &[Part { rooms: 120, arrivals: Arrivals::Ramp(150.0 * MINUTE), shape: churn }],
    },
    Known {
        name: "mixed",
        about: "contact-centre, school, webinars and teaching together, all of them beginning over 3.5 h",
        rooms: 816,
        nodes: 10,
        load: OVERLOAD,
        sizes: (2, 258),
        parts: &[
            // Spread out, so that all kinds are there when most is asked for.
            Part { arrivals: Arrivals::Ramp(200.0 * MINUTE), ..CONTACT_CENTRE },
            Part { arrivals: Arrivals::Ramp(180.0 * MINUTE), ..SCHOOL },
            Part { arrivals: Arrivals::Ramp(190.0 * MINUTE), ..WEBINARS },
            TEACHING,
        ],
    },
    Known {
        name: "million",
        about: "a million conferences of 2 to 4 over 4 h, always as many, which last 15 min on average",
        rooms: 1_000_000,
        nodes: 2_000,
        // It is about how much a run can be of. A mesh that is full to the brim moves somebody for each who comes.
        load: (4, 5),
        sizes: (2, 4),
        parts: &[Part { rooms: 1_000_000, arrivals: Arrivals::Steady(240.0 * MINUTE), shape: million }],
    },
];

fn contact_centre(rng: &mut StdRng) -> Shape {
    let size = rng.random_range(2..=4);
    let life = exponential(rng, 60.0 * MINUTE).clamp(20.0 * MINUTE, 120.0 * MINUTE);
    Shape { camera: 0.8, ..Shape::conference(size, MINUTE, life) }
}

fn school(rng: &mut StdRng) -> Shape {
    let (size, life) = (rng.random_range(20..=60), rng.random_range(60.0..75.0) * MINUTE);
    let toggle = 10.0 * MINUTE;
    Shape { early: 0.15, returns: 0.5, camera: 0.95, toggle, ..Shape::conference(size, 40.0 * MINUTE, life) }
}

fn webinar(_: &mut StdRng) -> Shape {
    Shape { returns: 0.4, guests: 8, ..Shape::stage(8, 250, 30.0 * MINUTE, 60.0 * MINUTE) }
}

fn teaching(rng: &mut StdRng) -> Shape {
    // Squared, so that most are small.
    let size = (2.0 * 20_f64.powf(rng.random::<f64>().powi(2))).round().clamp(2.0, 40.0) as u32;
    let life = (35.0 * MINUTE * (0.8 * normal(rng)).exp()).clamp(5.0 * MINUTE, 180.0 * MINUTE);
    let mode = if size == 2 { Mode::OneToOne } else { Mode::Conference };
    // In large classes cameras are mostly off.
    let camera = if size <= 8 { 0.95 } else { 0.6 };
    let gather = rng.random_range(2.0..10.0) * MINUTE;
    Shape { mode, camera, ..Shape::conference(size, gather, life) }
}

fn one_giant(_: &mut StdRng) -> Shape {
    Shape { guests: 40, ..Shape::stage(4, 9_996, 60.0 * MINUTE, 100.0 * MINUTE) }
}

fn burst(_: &mut StdRng) -> Shape {
    Shape { early: 0.0, camera: 1.0, toggle: MINUTE, ..Shape::conference(5, 10.0, MINUTE) }
}

fn churn(rng: &mut StdRng) -> Shape {
    let size = 10 * rng.random_range(2..=6);
    Shape { waves: 4, ..Shape::conference(size, 5.0 * MINUTE, 60.0 * MINUTE) }
}

fn million(rng: &mut StdRng) -> Shape {
    let size = rng.random_range(2..=4);
    let life = exponential(rng, 15.0 * MINUTE).clamp(MINUTE, 60.0 * MINUTE);
    Shape { toggle: 10.0 * MINUTE, ..Shape::conference(size, 30.0, life) }
}

/// Of the normal distribution, by Box and Muller.
fn normal(rng: &mut StdRng) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::policy::{Media, PeerKey};
    use crate::simulate::workload::{Event, EventKind};
    use std::collections::{HashMap, HashSet};
    use std::time::Duration;

    /// Each workload with few rooms, so that tests are quick.
    fn small(known: &Known, seed: u64) -> Vec<Event> {
        known.events(known.rooms.min(40), seed).collect()
    }

    #[test]
    fn a_seed_makes_the_same_events_and_another_makes_others() {
        for known in ALL {
            assert_eq!(small(known, 1), small(known, 1), "{}", known.name);
            assert_ne!(small(known, 1), small(known, 2), "{}", known.name);
        }
    }

    #[test]
    fn rooms_are_within_their_sizes_and_events_make_sense() {
        for known in ALL {
            let mut last = Duration::ZERO;
            let mut present: HashMap<PeerKey, Media> = HashMap::new();
            let mut inside: HashMap<u32, u32> = HashMap::new();
            let mut rooms = HashSet::new();
            let (mut mutes, mut promotions) = (0, 0);
            for event in small(known, 3) {
                assert!(event.at >= last, "{}: time goes back", known.name);
                last = event.at;
                match event.kind {
                    EventKind::Join { room, media } => {
                        assert!(known.sizes().contains(&room.size), "{}: {}", known.name, room.size);
                        assert!(event.peer.peer < room.size);
                        assert_eq!(present.insert(event.peer, media), None, "{}: joins twice", known.name);
                        rooms.insert(event.peer.room);
                        let inside = inside.entry(event.peer.room).or_default();
                        *inside += 1;
                        assert!(*inside <= room.size, "{}: more than its size", known.name);
                    }
                    EventKind::Leave => {
                        assert!(present.remove(&event.peer).is_some(), "{}: is not in", known.name);
                        *inside.entry(event.peer.room).or_default() -= 1;
                    }
                    EventKind::Change(media) => {
                        let before = present.insert(event.peer, media);
                        let before = before.unwrap_or_else(|| panic!("{}: is not in", known.name));
                        mutes += u32::from(before.cost() != media.cost());
                        promotions += u32::from(media.publishes && !before.publishes);
                    }
                }
            }
            assert!(present.is_empty(), "{}: some never leave", known.name);
            assert_eq!(rooms.len() as u32, known.rooms.min(40), "{}", known.name);
            assert!(mutes > 0, "{}: nobody mutes", known.name);
            let stage = known.name == "webinars" || known.name == "one-giant";
            assert_eq!(promotions > 0, stage || known.name == "mixed", "{}", known.name);
        }
    }

    #[test]
    fn a_burst_is_over_in_ten_seconds() {
        let known = find("burst").expect("is known");
        let events = known.events(known.rooms, 1);
        let joins: Vec<_> = events.filter(|event| matches!(event.kind, EventKind::Join { .. })).collect();
        assert_eq!(joins.len(), 500);
        assert!(joins.iter().all(|event| event.at < Duration::from_secs(10)));
        let mingled = joins.windows(2).filter(|pair| pair[0].peer.room != pair[1].peer.room).count();
        assert!(mingled > 450, "rooms do not come one after the other");
    }

    #[test]
    fn every_kind_of_room_is_in_the_mixture() {
        let known = find("mixed").expect("is known");
        for rooms in [4, 40, known.rooms] {
            let groups = known.groups(rooms);
            assert_eq!(groups.iter().map(|group| group.rooms).sum::<u32>(), rooms);
            assert!(groups.iter().all(|group| group.rooms > 0));
        }
        let all: u32 = known.parts.iter().map(|part| part.rooms).sum();
        assert_eq!(all, known.rooms);
    }
}
