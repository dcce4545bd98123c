//! Who of a room goes to another of its workers once other rooms have left that.

use super::{MAKE_WAY, Shift, fewest_first, how_many, movable, moving, shifts};
use crate::placement::field::Field;
use crate::placement::layout::{Costs, Layout, price};
use crate::placement::seats::{Seat, Seats};
use skein_proto::capacity::Sends;
use skein_proto::ids::{SessionId, WorkerAddress};
use std::time::Instant;

/// How many peers of a room other rooms make way for at most, where that only brings it together.
pub(super) const REMNANT: u64 = 10;

/// Who had better go to another worker of the room, once others have left that: all of the worker with the fewest of its
/// peers whom that can be said of, at most [`REMNANT`]. Answers also where to, and how much more has to be left there,
/// packets a second: where that is least. What is kept there for those who leave is left alone, and the room can go on from
/// there when one more comes, who sends `next`.
pub fn exchange(
    seats: &Seats,
    next: Sends,
    field: &Field,
    may_move: impl Fn(&SessionId) -> bool,
    now: Instant,
) -> Option<(Vec<Shift>, WorkerAddress, u64)> {
    let layout = seats.layout();
    let workers = fewest_first(layout);
    let before = layout.costs();
    workers.iter().filter(|(peers, _)| *peers <= REMNANT).find_map(|(_, from)| {
        let there: Vec<_> = seats.iter().filter(|(_, seat)| seat.at == *from).collect();
        let all = there.iter().all(|(id, _)| may_move(id));
        all.then(|| to_another(&before, layout, &there, from, next, field, now)).flatten()
    })
}

/// Who goes from a worker where `packets` a second are missing to another one of the room, once others have left that; those
/// who send least first, and at most [`MAKE_WAY`]. Answers the same as [`exchange`].
pub fn pass_on(
    seats: &Seats,
    from: &WorkerAddress,
    packets: u64,
    next: Sends,
    field: &Field,
    may_move: impl Fn(&SessionId) -> bool,
    now: Instant,
) -> Option<(Vec<Shift>, WorkerAddress, u64)> {
    let layout = seats.layout();
    let mut going = movable(seats, from, may_move);
    going.truncate(how_many(layout, packets).min(MAKE_WAY));
    let somebody = !going.is_empty();
    somebody.then(|| to_another(&layout.costs(), layout, &going, from, next, field, now)).flatten()
}

/// To which other worker of the room these had better go, and how much more has to be left there: where that is least.
fn to_another(
    before: &Costs,
    layout: &Layout,
    going: &[(&SessionId, &Seat)],
    from: &WorkerAddress,
    next: Sends,
    field: &Field,
    now: Instant,
) -> Option<(Vec<Shift>, WorkerAddress, u64)> {
    let others = layout.workers().map(|(at, _)| at).filter(|at| *at != from && field.takes(&at.node, now));
    let lacking = others.filter_map(|to| {
        Some((to, field.lacks(to, taken(before, layout, going, to, next, field, now)?, now)?))
    });
    let (to, packets) = lacking.min_by_key(|(_, packets)| *packets)?;
    Some((shifts(going, to), to.clone(), packets))
}

/// What it takes at most on a worker that these go to, one after the other, and for the room to go on from there then,
/// packets a second: else it could fill the worker so that it cannot leave it again. None where it is another worker that has
/// too little left for that.
fn taken(
    before: &Costs,
    layout: &Layout,
    going: &[(&SessionId, &Seat)],
    to: &WorkerAddress,
    next: Sends,
    field: &Field,
    now: Instant,
) -> Option<u64> {
    let (mut lies, mut takes) = (layout.clone(), 0);
    for (_, seat) in going {
        let (most, after) = moving(&lies, seat, to)?;
        for (at, cost) in price(before, &most) {
            if at == *to {
                takes = takes.max(cost.packets);
            } else if field.left(&at, now).is_some_and(|left| !cost.fits(left)) {
                return None;
            }
        }
        lies = after;
    }
    let more = price(before, &lies.costs()).into_iter().find(|(at, _)| at == to);
    let stays = more.map_or(0, |(_, cost)| cost.packets);
    Some(takes.max(stays + lies.to_go_on(to, next)))
}
