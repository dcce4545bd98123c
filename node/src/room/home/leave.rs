//! A node drains: who of a room leaves it, in which order, and how fast.

use super::HomeRoom;
use crate::placement::field::Field;
use crate::placement::shift::{self, Shift};
use rand::Rng;
use skein_proto::ids::{NodeId, SessionId, WorkerAddress};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Who was asked to leave and is still there is asked again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// What was found is asked for within this time.
const ASKING: Duration = Duration::from_secs(10);
/// The time from one asking to the next.
const PACE: Duration = Duration::from_millis(500);
/// How long nobody is asked after there was no place for anybody.
const IN_VAIN: Duration = Duration::from_secs(1);
/// So often that is doubled.
const LATER: u32 = 4;

/// When the next ones are asked to leave.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    at: Option<Instant>,
    /// How often in a row there was no place.
    in_vain: u32,
}

impl HomeRoom {
    /// Whether somebody is on a node that drains.
    pub fn is_on(&self, drains: &BTreeSet<NodeId>) -> bool {
        self.layout().workers().any(|(at, _)| drains.contains(&at.node))
            || self.seats().iter().any(|(_, seat)| drains.contains(&seat.at.node))
    }

    /// How many are asked to leave such a node and are still there.
    pub fn leaving(&self, drains: &BTreeSet<NodeId>) -> usize {
        let there = self.seats().iter().filter(|(_, seat)| drains.contains(&seat.at.node));
        there.filter(|(session, _)| self.is_to_move(session)).count()
    }

    /// Who leaves the nodes that drain next, at most `most` at once. Clients that would have to dial again go when no
    /// other is left, one at a time. `first` are places where room is kept for them.
    pub fn leave<R: Rng>(
        &mut self,
        drains: &BTreeSet<NodeId>,
        first: &[WorkerAddress],
        field: &Field,
        most: usize,
        now: Instant,
        rng: &mut R,
    ) -> Vec<Shift> {
        if !self.is_on(drains) {
            self.leaving = Leaving::default();
            return Vec::new();
        }
        // Before all hosts have said who is there it is not known what a move costs.
        if !self.is_settled() || self.leaving.at.is_some_and(|at| at > now) {
            return Vec::new();
        }
        self.heed(field, now);
        let under_way = self.leaving(drains);
        let lately = |at: &Instant| now.saturating_duration_since(*at) < ASK_AGAIN;
        let mut may_go: Vec<_> = self
            .seats()
            .iter()
            .filter(|(session, seat)| {
                drains.contains(&seat.at.node)
                    && self.can_move(session)
                    && !self.moved.get(&seat.peer).is_some_and(lately)
            })
            .collect();
        may_go.sort_by_key(|(session, seat)| (seat.sends().one.packets, **session));
        let (moves, dials): (Vec<SessionId>, Vec<SessionId>) =
            may_go.into_iter().map(|(session, _)| *session).partition(|session| self.is_skein(session));
        let mut going = if moves.is_empty() && under_way == 0 { dials } else { moves };
        let most =
            if going.first().is_some_and(|session| !self.is_skein(session)) { most.min(1) } else { most };
        going.truncate(most.saturating_sub(under_way));
        if going.is_empty() {
            return Vec::new();
        }
        // Where what is kept turned out not to be, any place will do.
        let first = if self.leaving.in_vain.is_multiple_of(2) { first } else { &[] };
        let shifts = shift::leave(self.seats(), &going, first, field, now, rng);
        if shifts.is_empty() {
            self.asked_to_leave(0, now, rng);
        } else {
            self.leaving.at = Some(now + ASKING);
        }
        shifts
    }

    /// So many were asked to leave; where it is nobody, there was no place.
    pub fn asked_to_leave<R: Rng>(&mut self, asked: usize, now: Instant, rng: &mut R) {
        let rest = if asked > 0 {
            self.leaving.in_vain = 0;
            PACE
        } else {
            let rest = IN_VAIN.mul_f64(rng.random_range(0.5..1.5)) * (1 << self.leaving.in_vain.min(LATER));
            self.leaving.in_vain += 1;
            rest
        };
        self.leaving.at = Some(now + rest);
    }
}
