//! Who of a room moves where: to make room on a worker that must carry more and cannot, to bring a room together on fewer
//! workers, and off a worker that carries more than it should.
//!
//! A move is make-before-break: for a while the peer is in both places, and that has to fit everywhere.

mod exchange;

pub use exchange::{exchange, pass_on};

use super::choose::is_roomy;
use super::field::{Field, Need};
use super::layout::{Costs, Layout, price};
use super::seats::{Seat, Seats};
use rand::Rng;
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{SessionId, WorkerAddress};
use skein_proto::rpc::MakeWay;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A worker may be filled so far by peers that are moved there only to bring a room together.
const COMFORTABLE: f64 = 0.8;
/// How many workers are considered as a place to move to.
const MOST_PLACES: usize = 6;
/// How many peers are moved at most to make room for one.
const MOST_MOVED: usize = 64;
/// How many peers of a room make way at once for another room.
const MAKE_WAY: usize = 6;

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

/// What has to be reserved for each of several peers that move at once, while it is in both places; nothing for one that
/// cannot go. What one of them needs the next does not need again.
pub fn demands(seats: &Seats, shifts: &[Shift]) -> Vec<Option<Vec<(WorkerAddress, Cost)>>> {
    let mut lies = seats.layout().clone();
    let each = |shift: &Shift| {
        let before = lies.costs();
        let (most, after) = moving(&lies, seats.get(&shift.session)?, &shift.to)?;
        lies = after;
        Some(price(&before, &most))
    };
    shifts.iter().map(each).collect()
}

/// The most that a room costs while one of its peers moves, and how it lies afterwards. What the peer receives comes to
/// both places; what it sends reaches the others from where it was until it has left that.
fn moving(layout: &Layout, seat: &Seat, to: &WorkerAddress) -> Option<(Costs, Layout)> {
    let sends = seat.sends();
    let mut lies = layout.clone();
    lies.add(to, Sends::NOTHING).ok()?;
    let mut most = lies.costs();
    // It does not receive what it sends itself; its producers, which nobody consumes yet, cost what they receive.
    let there = most.entry(to.clone()).or_default();
    *there = there.saturating_sub(sends.one) + sends.all.inside();
    lies.remove(&seat.at, sends);
    lies.send(to, Sends::NOTHING, sends).ok()?;
    for (at, cost) in lies.costs() {
        let known = most.entry(at).or_default();
        *known = known.max(cost);
    }
    Some((most, lies))
}

/// Whom to move off workers that would have to carry what one more peer sends, `sends`, and cannot: listeners first, and
/// as few as it takes for it to find a place. Empty where nothing helps. `may_move` leaves out who must stay.
pub fn make_room<R: Rng>(
    seats: &Seats,
    blocked: &WorkerAddress,
    sends: Sends,
    field: &Field,
    may_move: impl Fn(&SessionId) -> bool,
    now: Instant,
    rng: &mut R,
) -> Vec<Shift> {
    let layout = seats.layout();
    let mut movable: BTreeMap<&WorkerAddress, Vec<_>> = BTreeMap::new();
    for (id, seat) in seats.iter().filter(|(id, _)| may_move(id)) {
        movable.entry(&seat.at).or_default().push((id, seat));
    }
    for there in movable.values_mut() {
        // The last goes first.
        there.sort_by_key(|(id, seat)| std::cmp::Reverse((seat.sends().one.packets, **id)));
    }
    // The newcomer receives what all send, wherever it comes to.
    let least = layout.consumed(1, Sends::NOTHING).packets;
    let room = places(layout, blocked, least, &[], field, now, rng);
    let cleared = room.iter().find_map(|to| clear(layout, movable.clone(), to, sends, field, now));
    let there = movable.get(blocked).map(Vec::as_slice).unwrap_or_default();
    cleared.unwrap_or_else(|| ease(layout, there, blocked, sends, &room, field, now))
}

/// Moves peers off a worker until so much is left there that it can send one more peer's streams to all and go on
/// elsewhere: where no newcomer finds a place at once, it may find one after that.
fn ease(
    layout: &Layout,
    there: &[(&SessionId, &Seat)],
    from: &WorkerAddress,
    sends: Sends,
    places: &[WorkerAddress],
    field: &Field,
    now: Instant,
) -> Vec<Shift> {
    let left = field.left_for_others(from, now).unwrap_or_default().packets;
    let short = layout.to_go_on(from, sends).saturating_sub(left);
    let going: Vec<_> = there.iter().rev().take(how_many(layout, short)).copied().collect();
    let found = places.iter().find_map(|to| just_enough(layout, &going, from, to, sends, field, now));
    // Where the room could not go on from there either, the next step would only take them back.
    let helps = |before: &_, lies: &_, to: &_| goes_on(before, lies, &[to], sends, field, now);
    found.unwrap_or_else(|| part(layout, &going, from, places, helps, field, now))
}

/// How many of a room's peers have to leave a worker until so many packets a second more are left there.
fn how_many(layout: &Layout, packets: u64) -> usize {
    packets.div_ceil(layout.received().packets.max(1)) as usize
}

/// Whether a room that comes to lie so could go on elsewhere from each of these, also when one more peer sends `sends`.
fn goes_on(
    before: &Costs,
    lies: &Layout,
    workers: &[&WorkerAddress],
    sends: Sends,
    field: &Field,
    now: Instant,
) -> bool {
    let after = lies.costs();
    workers.iter().all(|at| {
        let packets = |costs: &Costs| costs.get(*at).map_or(0, |cost| cost.packets);
        let left = field.left_for_others(at, now).unwrap_or_default().packets + packets(before);
        left >= packets(&after) + lies.to_go_on(at, sends)
    })
}

/// As few of these as it takes until the room can go on elsewhere from both workers. None where that cannot be.
fn just_enough(
    layout: &Layout,
    going: &[(&SessionId, &Seat)],
    from: &WorkerAddress,
    to: &WorkerAddress,
    sends: Sends,
    field: &Field,
    now: Instant,
) -> Option<Vec<Shift>> {
    let before = layout.costs();
    let mut lies = layout.clone();
    for (index, (_, seat)) in going.iter().enumerate() {
        lies = can_go(&before, &lies, seat, to, |at| field.left(at, now), field, now)?;
        if goes_on(&before, &lies, &[from, to], sends, field, now) {
            return Some(shifts(going.get(..=index)?, to));
        }
    }
    None
}

/// As many of these as can go together to one of the places: to one where the room is already, unless it has much on the
/// worker that they leave. What is little had better go as a whole. `helps` says of what the room costs now, of how it lies
/// then, and of a place, whether that is of any use.
fn part(
    layout: &Layout,
    going: &[(&SessionId, &Seat)],
    from: &WorkerAddress,
    places: &[WorkerAddress],
    helps: impl Fn(&Costs, &Layout, &WorkerAddress) -> bool,
    field: &Field,
    now: Instant,
) -> Vec<Shift> {
    let before = layout.costs();
    let is_large = before.get(from).is_some_and(|cost| cost.packets > field.large());
    let places = places.iter().filter(|to| is_large || layout.peers_at(to) > 0);
    let mut best = Vec::new();
    for to in places {
        let left = |at: &WorkerAddress| field.left(at, now);
        let (count, lies) = can_some_go(&before, layout, going, to, left, field, now);
        if count > best.len() && helps(&before, &lies, to) {
            best = shifts(going.get(..count).unwrap_or_default(), to);
        }
        if best.len() == going.len() {
            break;
        }
    }
    best
}

/// Moves peers to a worker, one by one, from wherever too little is left, until a newcomer fits there.
fn clear(
    layout: &Layout,
    mut movable: BTreeMap<&WorkerAddress, Vec<(&SessionId, &Seat)>>,
    to: &WorkerAddress,
    sends: Sends,
    field: &Field,
    now: Instant,
) -> Option<Vec<Shift>> {
    let before = layout.costs();
    let (mut lies, mut found) = (layout.clone(), Vec::new());
    while found.len() <= MOST_MOVED {
        let mut with = lies.clone();
        with.add(to, sends).ok()?;
        let price = price(&before, &with.costs());
        let lacks = |at: &WorkerAddress, cost: &Cost| {
            let left = field.left_for_others(at, now)?;
            (!cost.fits(left)).then(|| cost.packets.saturating_sub(left.packets))
        };
        let Some((worst, _)) =
            price.iter().filter_map(|(at, cost)| Some((at, lacks(at, cost)?))).max_by_key(|(_, lack)| *lack)
        else {
            return Some(found);
        };
        if worst == to {
            return None;
        }
        let (id, seat) = movable.get_mut(worst)?.pop()?;
        lies = can_go(&before, &lies, seat, to, |at| field.left(at, now), field, now)?;
        found.push(Shift { session: *id, from: seat.at.clone(), to: to.clone() });
    }
    None
}

/// Whether a peer can go to another worker, where the others have so much left for that. Answers how the room lies afterwards.
fn can_go(
    before: &Costs,
    lies: &Layout,
    seat: &Seat,
    to: &WorkerAddress,
    left: impl Fn(&WorkerAddress) -> Option<Cost>,
    field: &Field,
    now: Instant,
) -> Option<Layout> {
    let (most, after) = moving(lies, seat, to)?;
    let fits = |(at, cost): &(WorkerAddress, Cost)| {
        let left = if at == to { field.left_for_others(at, now) } else { left(at) };
        left.is_none_or(|left| cost.fits(left))
    };
    price(before, &most).iter().all(fits).then_some(after)
}

/// How many of these can go, one after the other, until one cannot. Answers how the room lies then, too.
fn can_some_go(
    before: &Costs,
    layout: &Layout,
    going: &[(&SessionId, &Seat)],
    to: &WorkerAddress,
    left: impl Fn(&WorkerAddress) -> Option<Cost>,
    field: &Field,
    now: Instant,
) -> (usize, Layout) {
    let (mut lies, mut count) = (layout.clone(), 0);
    for (_, seat) in going {
        let Some(after) = can_go(before, &lies, seat, to, &left, field, now) else { break };
        (lies, count) = (after, count + 1);
    }
    (count, lies)
}

/// Whether all of these, which is all that the room has on a worker, can go, one after the other; also where that carries
/// more than it should. Answers how the room lies afterwards.
fn can_all_go(
    before: &Costs,
    layout: &Layout,
    going: &[(&SessionId, &Seat)],
    to: &WorkerAddress,
    field: &Field,
    now: Instant,
) -> Option<Layout> {
    let left = |at: &WorkerAddress| field.left_to_leave(at, now);
    let (count, lies) = can_some_go(before, layout, going, to, left, field, now);
    (count == going.len()).then_some(lies)
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

/// What they send together.
fn sent(going: &[(&SessionId, &Seat)]) -> Sends {
    going.iter().fold(Sends::NOTHING, |sum, (_, seat)| sum.plus(seat.sends()))
}

/// What it takes at least where these come to that has nothing of their room, packets a second: the most is while the last
/// of them is still in both places, and is sent what the others send.
fn landing(layout: &Layout, going: &[(&SessionId, &Seat)]) -> u64 {
    let last = going.last().map_or(Sends::NOTHING, |(_, seat)| seat.sends());
    let others = sent(going).minus(last);
    let received = layout.consumed(going.len() as u64, others).saturating_sub(last.one);
    (received + last.all + others.all).packets
}

fn shifts(going: &[(&SessionId, &Seat)], to: &WorkerAddress) -> Vec<Shift> {
    going.iter().map(|(id, seat)| Shift { session: **id, from: seat.at.clone(), to: to.clone() }).collect()
}

/// Whom to move off a worker that has too little left: all of the room that is there, where that fits elsewhere, or else,
/// where more is carried than should be, as many as that helps with; or, where the next who comes, and sends `next`, could
/// soon not be placed elsewhere either, as many as have to go ahead.
pub fn relieve<R: Rng>(
    seats: &Seats,
    pressed: &WorkerAddress,
    next: Sends,
    field: &Field,
    may_move: impl Fn(&SessionId) -> bool,
    now: Instant,
    rng: &mut R,
) -> Vec<Shift> {
    let there = movable(seats, pressed, &may_move);
    if there.is_empty() {
        return Vec::new();
    }
    let before = seats.layout().costs();
    let is_over = field.is_over(pressed);
    let must = is_over || field.left_for_newcomers(pressed, now).is_some_and(|left| left.packets == 0);
    let cost = |costs: &Costs, at: &WorkerAddress| costs.get(at).map_or(0, |cost| cost.packets);
    let one = seats.layout().received().packets;
    let is_large = cost(&before, pressed) > field.large();
    let is_stuck = !seats.layout().workers().any(|(at, _)| is_roomy(at, 0, one, field, now));
    // How many would have to go ahead, so that the others can follow.
    let goes_on = seats.layout().to_go_on(pressed, next);
    let short = field.left(pressed, now).map_or(0, |left| goes_on.saturating_sub(left.packets));
    let few = if is_large { short.div_ceil(one.max(1)).min(there.len() as u64 / 2) } else { 0 };
    let mut some = Vec::new();
    // So much is left wherever all that are there come to; few places have that, and it is soon seen.
    let least = landing(seats.layout(), &there) + if must { 0 } else { field.comfort() };
    let helps_in_part = is_over || (is_stuck && is_large) || few > 0;
    let least = if helps_in_part { 0 } else { least };
    for to in places(seats.layout(), pressed, least, &[], field, now, rng) {
        let left = field.left_for_newcomers(&to, now).unwrap_or_default();
        if seats.layout().peers_at(&to) == 0 && left.packets < least {
            continue;
        }
        let some_go = |left: &dyn Fn(&WorkerAddress) -> Option<Cost>| {
            can_some_go(&before, seats.layout(), &there, &to, left, field, now)
        };
        let (mut count, mut lies) = some_go(&|at| field.left_to_leave(at, now));
        if count < there.len() && is_over && field.is_tight() {
            // Where everything is full, one worker more costs others their place: only who goes altogether may do it at
            // the cost of a worker that carries too much already.
            (count, lies) = some_go(&|at| field.left(at, now));
        }
        let after = lies.costs();
        if count == there.len() {
            let more = cost(&after, &to).saturating_sub(cost(&before, &to));
            if left.packets >= more + if must { 0 } else { field.comfort() } {
                return shifts(&there, &to);
            }
        } else if is_over && some.is_empty() && cost(&after, pressed) < cost(&before, pressed) {
            some = shifts(there.get(..count).unwrap_or_default(), &to);
        } else if is_stuck && is_large && some.is_empty() && count > 0 && is_roomy(&to, one, one, field, now)
        {
            // One goes ahead while there is still a way.
            some = shifts(there.get(..1).unwrap_or_default(), &to);
        } else if some.is_empty() {
            let fits = |few: &u64| is_roomy(&to, one * few, one, field, now);
            let few = (1..=few.min(count as u64)).rev().find(fits).unwrap_or_default();
            some = shifts(there.get(..few as usize).unwrap_or_default(), &to);
        }
    }
    some
}

/// Whom to move off a worker so that another room finds more there: all of the room that is there, to one other worker,
/// where that is at most [`MAKE_WAY`] peers and fits somewhere, or else as many as it takes. These go where the room is
/// already, or, where the wish says that it may spread, to one worker more.
pub fn make_way<R: Rng>(
    seats: &Seats,
    wish: &MakeWay,
    field: &Field,
    may_move: impl Fn(&SessionId) -> bool,
    now: Instant,
    rng: &mut R,
) -> Vec<Shift> {
    let MakeWay { at: from, packets, avoid, urgent, spreads, .. } = wish;
    let layout = seats.layout();
    let there = movable(seats, from, may_move);
    if there.len() as u64 == layout.peers_at(from) && there.len() <= MAKE_WAY {
        let (before, least) = (layout.costs(), landing(layout, &there));
        let places = places(layout, from, least, avoid, field, now, rng);
        // What rooms there need to go on elsewhere they keep: else those would be the next ones to be in want. Unless
        // somebody is in want now.
        let is_spared =
            |to: &WorkerAddress| field.left_for_newcomers(to, now).is_none_or(|left| left.packets >= least);
        let fits = |to: &&WorkerAddress| {
            (*urgent || is_spared(to)) && can_all_go(&before, layout, &there, to, field, now).is_some()
        };
        if let Some(to) = places.iter().find(fits) {
            return shifts(&there, to);
        }
    }
    let going: Vec<_> = there.into_iter().take(how_many(layout, *packets).min(MAKE_WAY)).collect();
    let mut places = places(layout, from, 0, avoid, field, now, rng);
    places.retain(|to| *spreads || layout.peers_at(to) > 0);
    part(layout, &going, from, &places, |_, _, _| true, field, now)
}

/// Where those go who have to leave the workers that they are on, one after the other: to one of `first`, where room is kept
/// for them, or else to the first place that fits. Who fits nowhere is left out.
pub fn leave<R: Rng>(
    seats: &Seats,
    going: &[SessionId],
    first: &[WorkerAddress],
    field: &Field,
    now: Instant,
    rng: &mut R,
) -> Vec<Shift> {
    let layout = seats.layout();
    let before = layout.costs();
    let (mut lies, mut found) = (layout.clone(), Vec::new());
    let mut known: BTreeMap<&WorkerAddress, Vec<WorkerAddress>> = BTreeMap::new();
    for id in going {
        let Some(seat) = seats.get(id) else { continue };
        let kept = first.iter().filter(|to| **to != seat.at && field.takes(&to.node, now));
        let kept = kept.min_by_key(|to| lies.peers_at(to));
        let kept = kept.and_then(|to| Some((to, moving(&lies, seat, to)?.1)));
        let places =
            known.entry(&seat.at).or_insert_with(|| places(layout, &seat.at, 0, &[], field, now, rng));
        let place = kept.or_else(|| {
            let go = |to| can_go(&before, &lies, seat, to, |at| field.left_to_leave(at, now), field, now);
            places.iter().find_map(|to| Some((to, go(to)?)))
        });
        if let Some((to, after)) = place {
            found.push(Shift { session: *id, from: seat.at.clone(), to: to.clone() });
            lies = after;
        }
    }
    found
}

/// Where peers of a room could go instead of `from`: to its other workers, then to where it fits whole, then to where
/// most is left, but to none of `avoid`. Those where the room is not yet have `least` packets a second left.
fn places<R: Rng>(
    layout: &Layout,
    from: &WorkerAddress,
    least: u64,
    avoid: &[WorkerAddress],
    field: &Field,
    now: Instant,
    rng: &mut R,
) -> Vec<WorkerAddress> {
    let mut seen: BTreeSet<_> = avoid.iter().chain([from]).cloned().collect();
    let count = MOST_PLACES + avoid.len();
    let mut found: Vec<_> = layout
        .workers()
        .filter(|(at, _)| field.takes(&at.node, now))
        .map(|(at, _)| at.clone())
        .filter(|at| seen.insert(at.clone()))
        .collect();
    if !can_spread(layout, field, now) {
        return found;
    }
    let in_all = found.len().max(MOST_PLACES) + MOST_PLACES;
    let regions = field.regions(field.region(&from.node));
    let mut regions = regions.into_iter().filter(|region| field.most_left(region) >= least).peekable();
    let whole = regions.peek().map(|_| layout.costs().into_values().sum()).unwrap_or_default();
    for region in regions {
        let need = Need { now: whole, later: whole.packets + field.comfort(), near: &from.node };
        let fits = field.best_fit(region, &need, count, now, rng);
        let most = field.freest(region, count, now);
        let has_least =
            |at: &WorkerAddress| field.left_for_others(at, now).is_none_or(|left| left.packets >= least);
        found.extend(fits.into_iter().chain(most).filter(|at| has_least(at) && seen.insert(at.clone())));
    }
    found.truncate(in_all);
    found
}

/// Whether each worker of a room can send to one more. That is what a full mesh lacks first, and it is soon seen.
fn can_spread(layout: &Layout, field: &Field, now: Instant) -> bool {
    let can_send = |at: &WorkerAddress| {
        field.left_to_leave(at, now).is_none_or(|left| layout.way_out(at) <= left.packets)
    };
    layout.peers() <= 1 || layout.has_relays() || layout.workers().all(|(at, _)| can_send(at))
}

/// The workers of a room, that with the fewest of its peers first.
fn fewest_first(layout: &Layout) -> Vec<(u64, WorkerAddress)> {
    let mut workers: Vec<_> = layout.workers().map(|(at, peers)| (peers, at.clone())).collect();
    workers.sort();
    workers
}

/// Whom to move so that a room that lies on several workers lies on one fewer: all of one of them, that with the fewest
/// of its peers first. No worker is filled beyond 80 % by it. Empty where that cannot be, or a peer of those must stay.
pub fn bring_together(
    seats: &Seats,
    field: &Field,
    may_move: impl Fn(&SessionId) -> bool,
    now: Instant,
) -> Vec<Shift> {
    let layout = seats.layout();
    let workers = fewest_first(layout);
    if workers.len() < 2 {
        return Vec::new();
    }
    let before = layout.costs();
    let has_space = |at: &WorkerAddress, more: u64| {
        field.fullness_with(at, more, now).is_some_and(|full| full <= COMFORTABLE)
    };
    for (_, from) in &workers {
        let there: Vec<_> = seats.iter().filter(|(_, seat)| seat.at == *from).collect();
        if there.len() > MOST_MOVED || !there.iter().all(|(id, _)| may_move(id)) {
            continue;
        }
        let others = workers.iter().rev().filter(|(_, at)| at != from && field.takes(&at.node, now));
        for (peers, to) in others {
            // What their consumers take more than the whole room does there now. Mostly that is too much already.
            let together = layout.sends_at(to).plus(sent(&there));
            let together = layout.consumed(peers + there.len() as u64, together);
            let least = together.saturating_sub(before.get(to).copied().unwrap_or_default()).packets;
            if least > 0 && !has_space(to, least) {
                continue;
            }
            let Some(after) = can_all_go(&before, layout, &there, to, field, now) else { continue };
            if price(&before, &after.costs()).iter().all(|(at, more)| has_space(at, more.packets)) {
                return shifts(&there, to);
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests;
