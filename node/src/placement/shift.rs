//! Who of a room moves where: to make room on a worker that must carry more and cannot, to bring a room together on fewer
//! workers, and off a worker that carries more than it should.
//!
//! A move is make-before-break: for a while the peer is in both places, and that has to fit everywhere.

use super::field::{Field, Need};
use super::layout::{Layout, price};
use super::seats::{Seat, Seats};
use rand::Rng;
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{SessionId, WorkerAddress};
use std::collections::BTreeSet;
use std::time::Instant;

/// A worker may be filled so far by peers that are moved there only to bring a room together.
const COMFORTABLE: f64 = 0.8;
/// How many workers are considered as a place to move to.
const MOST_PLACES: usize = 6;
/// How many peers are moved at most to make room for one.
const MOST_MOVED: usize = 64;

/// One peer that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// Its connection.
    pub session: SessionId,
    /// Where it is.
    pub from: WorkerAddress,
    /// Where it goes.
    pub to: WorkerAddress,
}

/// What has to be reserved while a peer is in both places.
pub fn demands(seats: &Seats, shift: &Shift) -> Option<Vec<(WorkerAddress, Cost)>> {
    let mut both = seats.layout().clone();
    both.add(&shift.to, seats.get(&shift.session)?.sends()).ok()?;
    Some(price(&seats.layout().costs(), &both.costs()))
}

/// Whom to move off a worker so that one more peer, who sends `sends`, finds its place there or elsewhere in the room:
/// listeners first, and as few as it takes. Empty where nothing helps. `may_move` leaves out who must stay.
pub fn make_room<R: Rng>(
    seats: &Seats,
    blocked: &WorkerAddress,
    sends: Sends,
    field: &Field,
    may_move: impl Fn(&SessionId) -> bool,
    now: Instant,
    rng: &mut R,
) -> Vec<Shift> {
    let there = movable(seats, blocked, may_move);
    let layout = seats.layout();
    for to in places(layout, blocked, field, now, rng) {
        let mut count = 1;
        while count <= there.len() {
            let going = there.get(..count).unwrap_or_default();
            if let Some(shifts) = try_moving(seats, going, &to, sends, field, now) {
                return shifts;
            }
            // All at once, where not even twice as many would do, so that a room that moves whole is found soon.
            count = if count == there.len() { count + 1 } else { (count * 2).min(there.len()) };
        }
    }
    Vec::new()
}

/// Who may move off a worker: those who send least first, and not more than [`MOST_MOVED`].
fn movable<'a>(
    seats: &'a Seats,
    at: &WorkerAddress,
    may_move: impl Fn(&SessionId) -> bool,
) -> Vec<(&'a SessionId, &'a Seat)> {
    let mut there: Vec<_> = seats.iter().filter(|(id, seat)| seat.at == *at && may_move(id)).collect();
    there.sort_by_key(|(id, seat)| (seat.sends().one.packets, **id));
    there.truncate(MOST_MOVED);
    there
}

/// Whether peers can go to another worker one after the other, each of them in both places for a while. Answers the
/// layout afterwards.
fn can_go(
    layout: &Layout,
    going: &[(&SessionId, &Seat)],
    to: &WorkerAddress,
    field: &Field,
    now: Instant,
) -> Option<Layout> {
    let before = layout.costs();
    let fits = |(at, cost): &(WorkerAddress, Cost)| {
        let left = if at == to { field.left_for_newcomers(at, now) } else { field.left(at, now) };
        left.is_none_or(|left| cost.fits(left))
    };
    let mut after = layout.clone();
    for (_, seat) in going {
        after.add(to, seat.sends()).ok()?;
        if !price(&before, &after.costs()).iter().all(fits) {
            return None;
        }
        after.remove(&seat.at, seat.sends());
    }
    Some(after)
}

/// Whether it helps when these go: afterwards the newcomer has to fit somewhere.
fn try_moving(
    seats: &Seats,
    going: &[(&SessionId, &Seat)],
    to: &WorkerAddress,
    sends: Sends,
    field: &Field,
    now: Instant,
) -> Option<Vec<Shift>> {
    let after = can_go(seats.layout(), going, to, field, now)?;
    let before = seats.layout().costs();
    let fits = |(at, cost): &(WorkerAddress, Cost)| field.left(at, now).is_none_or(|left| cost.fits(left));
    let places: Vec<_> = after.workers().map(|(at, _)| at.clone()).collect();
    let somewhere = places.iter().any(|at| {
        let mut with = after.clone();
        with.add(at, sends).is_ok() && price(&before, &with.costs()).iter().all(fits)
    });
    somewhere.then(|| shifts(going, to))
}

fn shifts(going: &[(&SessionId, &Seat)], to: &WorkerAddress) -> Vec<Shift> {
    going.iter().map(|(id, seat)| Shift { session: **id, from: seat.at.clone(), to: to.clone() }).collect()
}

/// Whom to move off a worker that has too little left: all of the room that is there, where that fits elsewhere, or else
/// somebody.
pub fn relieve<R: Rng>(
    seats: &Seats,
    pressed: &WorkerAddress,
    field: &Field,
    may_move: impl Fn(&SessionId) -> bool,
    now: Instant,
    rng: &mut R,
) -> Vec<Shift> {
    let there = movable(seats, pressed, &may_move);
    let before = seats.layout().costs();
    let over = field.is_over(pressed);
    for to in places(seats.layout(), pressed, field, now, rng) {
        let Some(after) = can_go(seats.layout(), &there, &to, field, now) else { continue };
        let more =
            price(&before, &after.costs()).iter().find(|(at, _)| *at == to).map_or(0, |(_, c)| c.packets);
        let comfortable =
            field.left_for_newcomers(&to, now).is_some_and(|l| l.packets >= more + field.comfort());
        if over || comfortable {
            return shifts(&there, &to);
        }
    }
    if over {
        return make_room(seats, pressed, Sends::NOTHING, field, may_move, now, rng);
    }
    Vec::new()
}

/// Where peers of a room could go instead of `from`: to its other workers, then to where it fits whole, then to where
/// most is left.
fn places<R: Rng>(
    layout: &Layout,
    from: &WorkerAddress,
    field: &Field,
    now: Instant,
    rng: &mut R,
) -> Vec<WorkerAddress> {
    let mut seen = BTreeSet::from([from.clone()]);
    let mut found: Vec<_> = layout
        .workers()
        .filter(|(at, _)| field.takes(&at.node, now))
        .map(|(at, _)| at.clone())
        .filter(|at| seen.insert(at.clone()))
        .collect();
    let whole: Cost = layout.costs().values().copied().sum();
    for region in field.regions(field.region(&from.node)) {
        let need = Need { now: whole, later: whole.packets + field.comfort(), near: &from.node };
        let fits = field.best_fit(region, &need, MOST_PLACES, now, rng);
        let most = field.freest(region, MOST_PLACES, now);
        found.extend(fits.into_iter().chain(most).filter(|at| seen.insert(at.clone())));
    }
    found.truncate(2 * MOST_PLACES);
    found
}

/// Whom to move so that a room that lies on several workers lies on one fewer, without filling any beyond 80 %: all of
/// the worker with the fewest of its peers. Empty where that cannot be, or a peer of those must stay.
pub fn bring_together(
    seats: &Seats,
    field: &Field,
    may_move: impl Fn(&SessionId) -> bool,
    now: Instant,
) -> Vec<Shift> {
    let layout = seats.layout();
    let mut workers: Vec<_> = layout.workers().map(|(at, peers)| (peers, at.clone())).collect();
    workers.sort();
    let Some(((_, from), others)) = workers.split_first() else { return Vec::new() };
    let there: Vec<_> = seats.iter().filter(|(_, seat)| seat.at == *from).collect();
    if others.is_empty() || there.len() > MOST_MOVED || !there.iter().all(|(id, _)| may_move(id)) {
        return Vec::new();
    }
    let before = layout.costs();
    for (_, to) in others.iter().rev().filter(|(_, at)| field.takes(&at.node, now)) {
        let Some(after) = can_go(layout, &there, to, field, now) else { continue };
        let comfortable = price(&before, &after.costs()).iter().all(|(at, more)| {
            field.fullness_with(at, more.packets, now).is_some_and(|full| full <= COMFORTABLE)
        });
        if comfortable {
            return shifts(&there, to);
        }
    }
    Vec::new()
}
