//! Days, by name. What a day draws at random is drawn from its seed alone.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;

/// Somebody who wants to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Visit {
    /// When.
    pub at: Duration,
    /// For how long, from when there is a place.
    pub stays: Duration,
    /// What it costs where it is, in reference streams.
    pub streams: u32,
}

/// A day that can be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// What it is called.
    pub name: &'static str,
    /// What happens in it, in one line.
    pub about: &'static str,
    /// How many hours it has.
    pub hours: u32,
    make: fn(&mut Day),
}

/// All of them.
pub const ALL: &[Known] = &[
    Known {
        name: "day",
        about: "24 h of meetings: nearly none at night, a morning's rise, a lunch dip, an afternoon, half of them on the quarter of an hour",
        hours: 24,
        make: working_day,
    },
    Known {
        name: "bursts",
        about: "8 h of a quiet service with five webinars of 400, who come within 10 min and leave within 5",
        hours: 8,
        make: bursts,
    },
    Known {
        name: "square",
        about: "8 h of a load that goes from a fifth below its mean to a fifth above it and back, every 30 min",
        hours: 8,
        make: square,
    },
    Known { name: "night", about: "12 h of as few as ever, coming and going", hours: 12, make: night },
];

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.name == name)
}

impl Known {
    /// Who wants to come, in the order of time.
    pub fn visits(&self, seed: u64) -> Vec<Visit> {
        let mut day = Day { rng: StdRng::seed_from_u64(seed), visits: Vec::new() };
        (self.make)(&mut day);
        let end = self.end();
        day.visits.retain(|visit| visit.at < end);
        day.visits.sort_by_key(|visit| visit.at);
        day.visits
    }

    /// When it ends.
    pub fn end(&self) -> Duration {
        Duration::from_secs(u64::from(self.hours) * 3_600)
    }
}

struct Day {
    rng: StdRng,
    visits: Vec<Visit>,
}

impl Day {
    fn between(&mut self, from: f64, to: f64) -> f64 {
        self.rng.random_range(from..to)
    }

    fn visit(&mut self, at: f64, stays: f64, streams: u32) {
        let seconds = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0));
        self.visits.push(Visit { at: seconds(at), stays: seconds(stays.max(10.0)), streams });
    }

    /// A normal number: the sum of twelve even ones.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.rng.random::<f64>()).sum::<f64>() - 6.0
    }

    /// A meeting of a few, most of them 2 to 5, of whom each sees up to nine others.
    fn meeting(&mut self, at: f64) {
        let size = 2 + (self.between(0.0, 1.0).powi(3) * 11.0) as u32;
        let lasts = (30.0 * MINUTE * (0.6 * self.normal()).exp()).clamp(5.0 * MINUTE, 3.0 * HOUR);
        for _ in 0..size {
            let late = self.between(0.0, 1.0).powi(2) * 3.0 * MINUTE;
            let early = self.between(0.0, 1.0).powi(4) * 5.0 * MINUTE;
            self.visit(at + late, lasts - late - early, (size - 1).min(9));
        }
    }

    /// Meetings, so many an hour at this time.
    fn meetings(&mut self, hours: f64, each_hour: impl Fn(f64) -> f64) {
        let mut at = 0.0;
        while at < hours * HOUR {
            let rate = each_hour(at / HOUR).max(1.0);
            let gap = -(1.0 - self.rng.random::<f64>()).ln() * HOUR / rate;
            // Where hardly any come, the rate may have changed by then.
            if gap > 10.0 * MINUTE {
                at += 10.0 * MINUTE;
                continue;
            }
            at += gap;
            let quarter = 15.0 * MINUTE;
            let begins = if self.rng.random_bool(0.5) {
                (at / quarter).ceil() * quarter + self.between(-1.0, 2.0) * MINUTE
            } else {
                at
            };
            self.meeting(begins);
        }
    }
}

/// Between these points in straight lines.
fn curve(points: &[(f64, f64)], at: f64) -> f64 {
    let mut before = points.first().copied().unwrap_or((0.0, 0.0));
    for &point in points {
        if at < point.0 {
            let share = (at - before.0) / (point.0 - before.0).max(f64::MIN_POSITIVE);
            return before.1 + (point.1 - before.1) * share.max(0.0);
        }
        before = point;
    }
    before.1
}

fn working_day(day: &mut Day) {
    const EACH_HOUR: [(f64, f64); 11] = [
        (0.0, 20.0),
        (6.0, 20.0),
        (7.5, 200.0),
        (9.0, 1_000.0),
        (11.5, 1_100.0),
        (12.5, 550.0),
        (13.5, 900.0),
        (16.0, 1_000.0),
        (17.5, 400.0),
        (20.0, 80.0),
        (24.0, 20.0),
    ];
    day.meetings(24.0, |hour| curve(&EACH_HOUR, hour));
}

fn bursts(day: &mut Day) {
    day.meetings(8.0, |_| 120.0);
    for begins in [1.0, 2.25, 3.5, 5.0, 6.25] {
        let begins = begins * HOUR;
        let ends = begins + 50.0 * MINUTE;
        for _ in 0..400 {
            let at = begins + day.between(-7.0, 3.0) * MINUTE;
            let leaves = ends + day.between(0.0, 5.0) * MINUTE;
            day.visit(at, leaves - at, 8);
        }
    }
}

fn square(day: &mut Day) {
    const MEAN: u32 = 1_000;
    const STREAMS: u32 = 4;
    let stay = 8.0 * HOUR;
    for _ in 0..MEAN * 4 / 5 {
        let at = day.between(0.0, 10.0 * MINUTE);
        day.visit(at, stay, STREAMS);
    }
    for wave in 0..16 {
        let begins = 30.0 * MINUTE * (1.0 + 2.0 * f64::from(wave));
        for _ in 0..MEAN * 2 / 5 {
            let (comes, goes) = (day.between(0.0, MINUTE), day.between(0.0, MINUTE));
            day.visit(begins + comes, 30.0 * MINUTE - comes + goes, STREAMS);
        }
    }
}

fn night(day: &mut Day) {
    day.meetings(12.0, |_| 40.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_day_and_another_another() {
        for known in ALL {
            let visits = known.visits(1);
            assert_eq!(visits, known.visits(1), "{}", known.name);
            assert_ne!(visits, known.visits(2), "{}", known.name);
            assert!(visits.windows(2).all(|pair| pair[0].at <= pair[1].at));
            assert!(visits.iter().all(|visit| visit.at < known.end() && visit.streams > 0));
        }
    }

    #[test]
    fn a_curve_goes_through_its_points() {
        let points = [(0.0, 2.0), (4.0, 10.0)];
        assert_eq!([curve(&points, 0.0), curve(&points, 1.0), curve(&points, 9.0)], [2.0, 4.0, 10.0]);
    }
}
