//! Peers that go from one host to another, make-before-break: the home plans it and asks, the client connects to the other
//! host too, and when its first connection ends the second has its place.

use super::{HomeRoom, Told};
use crate::placement::estimate;
use crate::placement::field::Field;
use crate::placement::seats::Seat;
use crate::placement::shift::{self, Shift};
use rand::Rng;
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{PeerId, SessionId, WorkerAddress};
use skein_proto::room::RoomMode;
use skein_proto::rpc::{HomeMessage, MakeWay};
use std::time::{Duration, Instant};

/// How long a client may take to connect to its new host.
pub const MOVE_LIFE: Duration = Duration::from_secs(10);
/// A peer that moved so that a room lies better is left alone for so long, unless somebody would be refused otherwise.
pub const SETTLED_FOR: Duration = Duration::from_secs(300);
/// A worker that is fuller than this is left, where others are less full.
const CROWDED: f64 = 0.9;
/// About how long a room that lies as well as it can is left alone. All rooms on a crowded worker see that at the same
/// time; each looks at a time of its own, and so they do not all run to the same free one.
const LOOK_AGAIN: Duration = Duration::from_secs(8);
/// So often that is doubled while nothing better is found and nobody comes, unless everything is full and the room is on
/// several workers.
const LOOK_LATER: u32 = 3;
/// How likely a room is to look where it could soon not go on, each time that it is asked. Where everything is full it always
/// does: a few who go on to send are enough, and nobody can leave the worker any more.
const RELIEF: f64 = 0.25;
/// A room that nobody makes way for leaves a worker in part before less than so many times is left there of what it takes
/// to leave it.
const LAST_CALL: u64 = 2;
/// WebSocket close code 1012: the service restarts, so the client dials again (IANA's registry).
const CLOSE_RESTART: u16 = 1012;

/// How a room comes to lie better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Better {
    /// These of its peers move.
    Move(Vec<Shift>),
    /// Other rooms leave a worker, if they can.
    Clear {
        /// Which worker.
        at: WorkerAddress,
        /// How much more has to be left there, packets a second.
        packets: u64,
        /// Who of the room moves there then, from one worker that it is about to leave.
        then: Vec<Shift>,
        /// Who moves if they cannot.
        otherwise: Vec<Shift>,
    },
}

/// Why a peer moves, in words for whoever reads what its client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody would be refused otherwise, its host or its entry goes, or an operator wants it.
    Need(&'static str),
    /// Its room lies better then, or another room does.
    Balance(&'static str),
}

impl Cause {
    /// Its room lies better then.
    pub const BETTER: Self = Self::Balance("the room is better elsewhere");
    /// A newcomer to its room, or somebody there who wants to send more, finds no place otherwise.
    pub const NEWCOMER: Self = Self::Need("another peer needs the place");

    /// It makes way for another room, where somebody waits if that is `urgent`.
    pub const fn makes_way(urgent: bool) -> Self {
        let text = "another room needs the place";
        if urgent { Self::Need(text) } else { Self::Balance(text) }
    }

    /// The words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Need(text) | Self::Balance(text) => text,
        }
    }
}

/// A peer that is to move.
#[derive(Debug)]
pub struct Plan {
    session: SessionId,
    to: WorkerAddress,
    token: Option<String>,
    until: Instant,
}

impl HomeRoom {
    /// Whether a connection may be moved for no need of its room.
    pub fn may_move(&self, session: &SessionId, now: Instant) -> bool {
        let rested = |at: &Instant| now.saturating_duration_since(*at) > SETTLED_FOR;
        self.can_move(session)
            && self.seats.get(session).is_some_and(|seat| self.balanced.get(&seat.peer).is_none_or(rested))
    }

    /// Whether a connection's client knows how to move without a gap.
    pub(super) fn is_skein(&self, session: &SessionId) -> bool {
        let peer = self.seats.get(session).and_then(|seat| self.roster.peers.get(&seat.peer));
        peer.is_some_and(|entry| entry.skein)
    }

    /// Whether a connection may be moved when somebody would be refused otherwise.
    pub fn can_move(&self, session: &SessionId) -> bool {
        let Some(seat) = self.seats.get(session) else { return false };
        let is_in = self.roster.peers.get(&seat.peer).is_some_and(|e| e.session == *session && e.joined);
        is_in && !self.plans.contains_key(&seat.peer) && !self.arriving.contains_key(&seat.peer)
    }

    /// Whether peers are on the way to another host.
    pub fn is_moving(&self) -> bool {
        !self.plans.is_empty() || !self.arriving.is_empty()
    }

    /// Who has to move, but not `but`, so that a newcomer who sends `sends` finds its place although `blocked` is full.
    pub fn make_room<R: Rng>(
        &mut self,
        blocked: &WorkerAddress,
        sends: Sends,
        but: Option<SessionId>,
        field: &Field,
        now: Instant,
        rng: &mut R,
    ) -> Vec<Shift> {
        self.heed(field, now);
        let may_go = |id: &SessionId| Some(*id) != but && self.can_move(id);
        shift::make_room(&self.seats, blocked, sends, field, may_go, now, rng)
    }

    /// Who goes from a worker where a newcomer who sends `sends` is in want to another one of the room, once other rooms have
    /// left so many packets a second more there.
    pub fn pass_on(
        &mut self,
        blocked: &WorkerAddress,
        sends: Sends,
        field: &Field,
        now: Instant,
    ) -> Option<(Vec<Shift>, WorkerAddress, u64)> {
        self.heed(field, now);
        let left = field.left(blocked, now)?.packets;
        let short = self.layout().to_go_on(blocked, sends).saturating_sub(left);
        let goes = |id: &SessionId| self.can_move(id) && self.is_skein(id);
        shift::pass_on(&self.seats, blocked, short, sends, field, goes, now)
    }

    /// Who has to move so that another room finds more on a worker; all of them, or it is in vain.
    /// Clients that would have to dial again stay, and where nobody waits for it so does who moved lately.
    pub fn make_way<R: Rng>(
        &mut self,
        wish: &MakeWay,
        field: &Field,
        now: Instant,
        rng: &mut R,
    ) -> Vec<Shift> {
        if self.is_moving() || !self.pending.is_empty() || !self.is_settled() {
            return Vec::new();
        }
        self.heed(field, now);
        let may_go = |id: &SessionId| if wish.urgent { self.can_move(id) } else { self.may_move(id, now) };
        let goes = |id: &SessionId| may_go(id) && self.is_skein(id);
        shift::make_way(&self.seats, wish, field, goes, now, rng)
    }

    /// The workers that those who make way for the room had better not go to: it would be in want there next. One that it
    /// leaves for that, `leaves`, is as good as any other: two rooms change places so.
    pub fn avoids(&self, leaves: Option<&WorkerAddress>) -> Vec<WorkerAddress> {
        let workers = self.layout().workers().map(|(at, _)| at);
        workers.filter(|at| Some(*at) != leaves).cloned().collect()
    }

    /// About what is free on a worker, packets a second, when so many peers have left it.
    pub fn frees(&self, peers: usize) -> u64 {
        self.layout().received().packets * peers as u64
    }

    /// What the room had better do: leave a worker that is crowded, or else come together on fewer workers, where
    /// `together` says so. At most `most` move at once.
    pub fn better<R: Rng>(
        &mut self,
        field: &Field,
        together: bool,
        most: usize,
        now: Instant,
        rng: &mut R,
    ) -> Option<Better> {
        if self.is_moving() || !self.pending.is_empty() {
            return None;
        }
        let grew = std::mem::take(&mut self.grew);
        // Who passes on for another pays for it: that is for those in want.
        self.seats.heed_nothing();
        let is_tight = field.is_tight();
        let looks =
            if self.is_pressed(field, now) { is_tight || rng.random_bool(RELIEF) } else { self.is_due(now) };
        if !grew && !looks {
            return None;
        }
        self.peers_then = self.roster.peers.len();
        // A room leaves before the worker is so full that it cannot any more: the larger it is, the earlier.
        let needs = |at: &WorkerAddress| self.layout().to_go_on(at, estimate::peer());
        let crowded = |at: &WorkerAddress| {
            field.is_over(at)
                || field.left_for_newcomers(at, now).is_some_and(|left| left.packets == 0)
                || field.fullness_with(at, 0, now).is_some_and(|full| full > CROWDED)
                || field.left(at, now).is_some_and(|left| left.packets < needs(at))
        };
        let pressed: Vec<_> = self.layout().workers().map(|(at, _)| at).filter(|at| crowded(at)).collect();
        let relief = self.leaves(&pressed, field, now).find_map(|at| self.relief(at, most, field, now, rng));
        let union = || self.union(!pressed.is_empty(), most, field, now);
        let better = relief.or_else(|| if together { union() } else { None });
        let moves = matches!(better, Some(Better::Move(_)));
        if grew || moves || (is_tight && self.layout().workers().nth(1).is_some()) {
            self.in_vain = 0;
        }
        let rest = LOOK_AGAIN.mul_f64(rng.random_range(0.5..1.5)) * (1 << self.in_vain);
        self.in_vain = (self.in_vain + 1).min(LOOK_LATER);
        self.look_at = (!moves).then(|| now + rest);
        better
    }

    /// Which of its crowded workers the room may leave: the first, and while nobody there may move such others as hardly
    /// anybody could leave any more. To leave several at once costs more than it brings.
    fn leaves<'a>(
        &'a self,
        crowded: &'a [&'a WorkerAddress],
        field: &'a Field,
        now: Instant,
    ) -> impl Iterator<Item = &'a WorkerAddress> {
        let (first, others) = crowded.split_at(crowded.len().min(1));
        let goes = |(id, seat): (&SessionId, &Seat)| {
            first.contains(&&seat.at) && self.may_leave(id, &seat.at, field, now)
        };
        let others = if others.is_empty() || self.seats.iter().any(goes) { &[] } else { others };
        let is_hardly_left = move |at: &&&WorkerAddress| {
            let way_out = self.layout().way_out(at);
            field.is_over(at) || field.left(at, now).is_some_and(|left| left.packets < way_out)
        };
        first.iter().chain(others.iter().filter(is_hardly_left)).copied()
    }

    /// Whether a connection may leave a crowded worker. Who would have to dial again is left alone, unless more is carried
    /// there than can be.
    fn may_leave(&self, session: &SessionId, at: &WorkerAddress, field: &Field, now: Instant) -> bool {
        self.may_move(session, now) && (field.is_over(at) || self.is_skein(session))
    }

    /// How the room leaves a worker, or how there comes to be more on it.
    fn relief<R: Rng>(
        &self,
        at: &WorkerAddress,
        most: usize,
        field: &Field,
        now: Instant,
        rng: &mut R,
    ) -> Option<Better> {
        let goes = |id: &SessionId| self.may_leave(id, at, field, now);
        let mut shifts = shift::relieve(&self.seats, at, self.next(), field, goes, now, rng);
        let to = &shifts.first()?.to;
        let splits = self.layout().peers_at(to) == 0 && (shifts.len() as u64) < self.layout().peers_at(at);
        shifts.truncate(most);
        if splits && field.is_tight() && !field.is_over(at) {
            // Where everything is full, one worker more costs others their place. They have less to move.
            let left = field.left(at, now).unwrap_or_default().packets;
            let packets = self.layout().to_go_on(at, estimate::peer()).saturating_sub(left);
            if packets == 0 {
                return None;
            }
            // Soon nobody could leave any more, when a few who are muted go on to send.
            let is_last_call = left < self.layout().way_out(at) * LAST_CALL;
            let otherwise = if is_last_call { shifts } else { Vec::new() };
            return Some(Better::Clear { at: at.clone(), packets, then: Vec::new(), otherwise });
        }
        Some(Better::Move(shifts))
    }

    /// How the room comes together on fewer workers.
    fn union(&self, is_crowded: bool, most: usize, field: &Field, now: Instant) -> Option<Better> {
        let is_stage = self.options.mode == RoomMode::Stage;
        // An audience stays spread: another presenter takes as much of each worker as that has listeners.
        if is_crowded && is_stage {
            return None;
        }
        let goes = |id: &SessionId| self.may_move(id, now) && self.is_skein(id);
        let mut shifts = shift::bring_together(&self.seats, field, goes, now);
        if !shifts.is_empty() {
            shifts.truncate(most);
            return Some(Better::Move(shifts));
        }
        if is_stage || !field.is_tight() {
            return None;
        }
        let (mut then, at, packets) = shift::exchange(&self.seats, self.next(), field, goes, now)?;
        then.truncate(most);
        Some(Better::Clear { at, packets, then, otherwise: Vec::new() })
    }

    /// What the next who comes is expected to send.
    fn next(&self) -> Sends {
        if self.options.mode == RoomMode::Stage { Sends::NOTHING } else { estimate::peer() }
    }

    /// Whether a worker of the room carries more than it should, or so much that the room could soon not go on elsewhere.
    fn is_pressed(&self, field: &Field, now: Instant) -> bool {
        self.layout().workers().any(|(at, peers)| {
            let goes_on = self.layout().to_go_on(at, self.next());
            let is_sizeable = self.layout().received().packets * peers > field.sizeable();
            field.is_over(at)
                || (is_sizeable && field.left(at, now).is_some_and(|left| left.packets < goes_on))
        })
    }

    fn is_due(&self, now: Instant) -> bool {
        self.look_at.is_none_or(|at| at <= now)
    }

    /// Whether [`Self::better`] would look for anything.
    pub fn looks(&self, field: &Field, now: Instant) -> bool {
        self.grew || self.is_due(now) || self.is_pressed(field, now)
    }

    /// From when on [`Self::better`] would look; none where it would at once.
    pub fn looks_at(&self) -> Option<Instant> {
        self.look_at.filter(|_| !self.grew)
    }

    /// Whether somebody came since it was looked at last for whether it lies well.
    pub fn grew(&self) -> bool {
        self.grew
    }

    /// What has to be reserved for each of several peers that move at once; see [`shift::demands`].
    pub fn move_demands(&self, shifts: &[Shift]) -> Vec<Option<Vec<(WorkerAddress, Cost)>>> {
        shift::demands(&self.seats, shifts)
    }

    /// The shift that takes a peer to a worker; none when it is there, or cannot move now.
    pub fn shift_to(&self, peer: &PeerId, to: &WorkerAddress) -> Option<Shift> {
        let entry = self.roster.peers.get(peer)?;
        let shift = Shift { session: entry.session, from: entry.host.clone(), to: to.clone() };
        (shift.from != shift.to && self.can_move(&shift.session)).then_some(shift)
    }

    /// The shift that has a peer connect once more to where it is; none when it cannot move now.
    pub fn shift_again(&self, peer: &PeerId) -> Option<Shift> {
        let entry = self.roster.peers.get(peer)?;
        let shift = Shift { session: entry.session, from: entry.host.clone(), to: entry.host.clone() };
        self.can_move(&shift.session).then_some(shift)
    }

    /// Where a peer is.
    pub fn host_of(&self, peer: &PeerId) -> Option<&WorkerAddress> {
        self.roster.peers.get(peer).map(|entry| &entry.host)
    }

    /// Asks a peer to move. `token` is what its new connection shows. A client that does not know moves is told to dial
    /// again, and then goes there.
    pub fn ask_to_move(&mut self, shift: &Shift, token: String, cause: Cause, now: Instant) -> Told {
        let Some(seat) = self.seats.get(&shift.session) else { return Vec::new() };
        let peer = seat.peer.clone();
        if self.plans.contains_key(&peer) {
            return Vec::new();
        }
        let Some(entry) = self.roster.peers.get(&peer).filter(|entry| entry.session == shift.session) else {
            return Vec::new();
        };
        let (session, reason) = (shift.session, cause.text().to_owned());
        let message = if entry.skein {
            let seconds = u32::try_from(MOVE_LIFE.as_secs()).unwrap_or(u32::MAX);
            HomeMessage::Move { session, token: token.clone(), host: shift.to.node.clone(), seconds, reason }
        } else {
            HomeMessage::CloseSession { session, code: CLOSE_RESTART, reason }
        };
        let token = entry.skein.then_some(token);
        let told = vec![(entry.host.node.clone(), message)];
        self.moved.insert(peer.clone(), now);
        if matches!(cause, Cause::Balance(_)) {
            self.balanced.insert(peer.clone(), now);
        }
        self.plans.insert(peer, Plan { session, to: shift.to.clone(), token, until: now + MOVE_LIFE });
        told
    }

    /// Where a peer that comes with the token of a move goes, and from which of its connections.
    pub fn moving_to(&self, peer: &PeerId, token: &str) -> Option<(WorkerAddress, SessionId)> {
        let plan = self.plans.get(peer)?;
        (plan.token.as_deref() == Some(token)).then(|| (plan.to.clone(), plan.session))
    }

    /// Counts a peer in where it moves to. Answers what has to be reserved until it has left the place of `from`; none
    /// where it cannot go there any more.
    pub fn sit_beside(
        &mut self,
        peer: &PeerId,
        session: SessionId,
        from: SessionId,
        to: &WorkerAddress,
        now: Instant,
    ) -> Option<Vec<(WorkerAddress, Cost)>> {
        let seat = self.seats.get(&from)?;
        let sends = seat.sends();
        let shift = Shift { session: from, from: seat.at.clone(), to: to.clone() };
        let demands = self.move_demands(&[shift]).pop()??;
        self.seats.sit_quietly(session, peer, to, sends, now).ok()?;
        Some(demands)
    }

    /// What it needs more that the others receive what a peer sends from where it moves to before it has left the other
    /// place. None where that would crowd anything: then they go without for a moment.
    pub fn to_speak_up(
        &self,
        session: &SessionId,
        field: &Field,
        now: Instant,
    ) -> Option<Vec<(WorkerAddress, Cost)>> {
        let seat = self.seats.get(session)?;
        let more = self.seats.to_send(seat, seat.will_send()).ok()?;
        let crowds = |(at, cost): &(WorkerAddress, Cost)| {
            field.fullness_with(at, cost.packets, now).is_none_or(|full| full > CROWDED)
        };
        (!more.iter().any(crowds)).then_some(more)
    }

    /// What a peer sends from where it moves to is counted from now on.
    pub fn speak_up(&mut self, session: &SessionId) {
        self.seats.speak_up(session);
    }

    /// Where a peer that was told to dial again had better go, and which of its connections was there before.
    pub fn sent_to(&self, peer: &PeerId) -> Option<(&WorkerAddress, SessionId)> {
        self.plans.get(peer).filter(|plan| plan.token.is_none()).map(|plan| (&plan.to, plan.session))
    }

    /// Whether a peer is to move away from this connection.
    pub fn is_to_move(&self, session: &SessionId) -> bool {
        self.plans.values().any(|plan| plan.session == *session)
    }

    pub(super) fn move_refused(&mut self, session: SessionId) {
        self.plans.retain(|_, plan| plan.session != session);
    }

    pub(super) fn tick_moves(&mut self, now: Instant) {
        let arriving = &self.arriving;
        self.plans.retain(|peer, plan| plan.until > now || arriving.contains_key(peer));
        for moved in [&mut self.moved, &mut self.balanced] {
            moved.retain(|_, at| now.saturating_duration_since(*at) <= SETTLED_FOR);
        }
    }
}
