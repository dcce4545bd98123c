//! Who is admitted to a room, as what, and what that needs on which workers.

use super::{HomeRoom, PENDING_LIFE, Pending, Told, superseded};
use crate::placement::choose::Wish;
use crate::placement::estimate;
use crate::placement::field::Field;
use crate::placement::layout::Layout;
use crate::placement::queue::Need;
use crate::placement::relay::TooWide;
use crate::placement::seats::Seats;
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{NodeId, PeerId, SessionId, WorkerAddress};
use skein_proto::room::{RoomMode, RoomOptions, RoomWish};
use skein_proto::rpc::{HomeMessage, Refusal};
use skein_proto::signaling::Role;
use std::time::Instant;

/// How many times more peers a stage has than other rooms.
const AUDIENCE: u64 = 10;

fn not_allowed(why: impl std::fmt::Display) -> Refusal {
    Refusal::NotAllowed(why.to_string())
}

/// What a peer is expected to send at first.
pub fn expected(role: Role) -> Sends {
    if role.may_publish() { estimate::peer() } else { Sends::NOTHING }
}

impl HomeRoom {
    /// Settles what the room is like, or checks that it is what somebody who joins takes it for.
    ///
    /// # Errors
    /// Names the option that is wrong or another; nothing has changed then.
    pub fn agree(&mut self, wish: &RoomWish, default: &RoomOptions, max_size: u32) -> Result<(), Refusal> {
        if self.options_known {
            return wish.check(&self.options).map_err(not_allowed);
        }
        let options = wish.options(default, max_size).map_err(not_allowed)?;
        // Of a room that was another home's until now a host will say what it is like.
        if self.settling_until.is_none() || !wish.is_empty() {
            self.set_options(options);
        }
        Ok(())
    }

    /// What a peer is in the room: what it asked to be, if it may; else what the room's mode makes of it.
    ///
    /// # Errors
    /// When it asks for more than it may have.
    pub fn role(&self, peer: &PeerId, most: Role, asked: Option<Role>) -> Result<Role, Refusal> {
        match (asked, self.roles.get(peer)) {
            (Some(asked), _) if asked > most => {
                Err(not_allowed(format!("role: is {asked}, and the token allows {most} at most")))
            }
            (_, Some(given)) => Ok((*given).min(most)),
            (Some(asked), None) => Ok(asked),
            (None, None) if self.options.mode == RoomMode::Stage => Ok(Role::Listen),
            (None, None) => Ok(most),
        }
    }

    /// What a peer is that is in the room.
    pub fn role_of(&self, peer: &PeerId) -> Option<Role> {
        self.roster.peers.get(peer).map(|entry| entry.role)
    }

    /// Whether it is known what the room is like, or nobody will say it.
    pub fn knows_options(&self) -> bool {
        self.options_known || self.is_settled()
    }

    /// Whether all hosts have had the time to say who is there.
    pub fn is_settled(&self) -> bool {
        self.settling_until.is_none()
    }

    /// Whether a peer is waited for, by this connection.
    pub fn is_expected(&self, peer: &PeerId, session: SessionId) -> bool {
        self.pending.get(peer).is_some_and(|pending| pending.session == session)
            || self.roster.session(peer) == Some(session)
    }

    /// The newest session of a peer, connected or on its way.
    pub fn session(&self, peer: &PeerId) -> Option<SessionId> {
        let arriving = self.arriving.get(peer).map(|entry| entry.session);
        let pending = self.pending.get(peer).map(|pending| pending.session);
        self.roster.session(peer).max(arriving).max(pending)
    }

    /// How many peers there are or will be in a moment.
    fn names(&self) -> usize {
        let coming = self.pending.keys().filter(|peer| !self.roster.peers.contains_key(peer)).count();
        self.roster.peers.len() + coming
    }

    /// A peer wants in: counted from now on, until its host announces it or it fails to show up.
    ///
    /// # Errors
    /// When the room is full.
    pub fn expect(&mut self, peer: &PeerId, session: SessionId, now: Instant) -> Result<(), Refusal> {
        let is_in = self.roster.peers.contains_key(peer) || self.pending.contains_key(peer);
        if !is_in && self.names() >= self.options.size as usize {
            return Err(Refusal::RoomFull);
        }
        // One that is still on its way is not waited for any more.
        if let Some(old) = self.pending.get(peer).map(|pending| pending.session) {
            self.refused(peer, old);
        }
        self.pending.insert(peer.clone(), Pending { session, until: now + PENDING_LIFE });
        Ok(())
    }

    /// What placement needs to know of a peer. `typical` is how many peers rooms have that are not told apart.
    pub fn wish(&self, peer: &PeerId, entry: &NodeId, role: Role, entry_first: bool, typical: u64) -> Wish {
        let expected_peers = match self.options.mode {
            RoomMode::Stage => (AUDIENCE * typical).min(u64::from(self.options.size)),
            RoomMode::OneToOne => 2,
            RoomMode::Conference => typical.min(u64::from(self.options.size)),
        };
        Wish {
            entry: entry.clone(),
            sends: expected(role),
            entry_first,
            audience: self.options.mode == RoomMode::Stage,
            expected_peers,
            first: self.sent_to(peer).map(|(to, _)| to.clone()).into_iter().collect(),
        }
    }

    /// What a peer that waits for a place needs; with all that the room is guaranteed where nothing is kept for it yet.
    pub fn need(&self, wish: &Wish, first: bool) -> Need {
        let (layout, sends) = (self.seats.layout(), wish.sends);
        let received = layout.received();
        let alone = sends.all.inside();
        Need {
            // Wherever it goes it gets what all send; who is alone costs what it sends.
            least: if layout.peers() > 0 { received.packets } else { alone.packets },
            cost: (received + sends.one * layout.peers()).max(alone),
            one: sends.one,
            guaranteed: (first && self.options.guaranteed).then(|| self.full_cost()).flatten(),
        }
    }

    /// What the room needs when it is full, on one worker.
    fn full_cost(&self) -> Option<Cost> {
        // Where does not matter.
        let anywhere = WorkerAddress { node: "anywhere".parse().ok()?, worker: 0 };
        let all = Cost::new(u64::MAX, u64::MAX);
        Some(self.spread(&[(anywhere, all)])?.costs().into_values().sum())
    }

    /// Takes note of what the room's workers have left, before a place is sought; see [`Layout::heed`].
    pub fn heed(&mut self, field: &Field, now: Instant) {
        self.seats.heed(field, now);
    }

    /// How the room lies over workers, with those who are on their way.
    pub fn layout(&self) -> &Layout {
        self.seats.layout()
    }

    /// Who sits where.
    pub fn seats(&self) -> &Seats {
        &self.seats
    }

    /// Counts a peer in on a worker while its place there is being reserved.
    ///
    /// # Errors
    /// When the room's producers cannot reach there.
    pub fn sit(
        &mut self,
        peer: &PeerId,
        session: SessionId,
        at: &WorkerAddress,
        sends: Sends,
        now: Instant,
    ) -> Result<(), TooWide> {
        self.seats.sit(session, peer, at, sends, now)
    }

    /// It is not to be there.
    pub fn stand_up(&mut self, session: SessionId) {
        self.seats.stand_up(&session);
    }

    /// Its place is reserved: its older connection, if any, is closed, unless it moves from there.
    pub fn admitted(&self, peer: &PeerId, session: SessionId, from: Option<SessionId>) -> Told {
        let known = self.roster.peers.get(peer).into_iter().chain(self.arriving.get(peer));
        known.filter(|old| old.session < session && Some(old.session) != from).map(superseded).collect()
    }

    /// It did not come to that.
    pub fn refused(&mut self, peer: &PeerId, session: SessionId) {
        if self.pending.get(peer).is_some_and(|pending| pending.session == session) {
            self.pending.remove(peer);
            self.seats.stand_up(&session);
        }
    }

    /// What it needs where that a peer sends something more. It is counted from now on, as what is expected of it.
    ///
    /// # Errors
    /// When the peer is not here, or its producers could not reach everyone.
    pub fn publish(
        &mut self,
        session: SessionId,
        more: Sends,
        now: Instant,
    ) -> Result<Vec<(WorkerAddress, Cost)>, Refusal> {
        let seat = self.seats.get(&session).ok_or_else(|| not_allowed("the peer is not in the room"))?;
        let all = seat.sends().plus(more);
        if self.is_again(&session, more) {
            // It sends the same from where it is about to leave: that is paid for, and what moving needs is kept.
            self.seats.foretell(&session, more, now);
            return Ok(Vec::new());
        }
        let demands = self.seats.to_send(seat, all).map_err(|_| Refusal::MeshFull)?;
        self.seats.expect(&session, all, now);
        Ok(demands)
    }

    /// Whether what a peer wants to send from a place that it moves to is no more than what it sends from the one before.
    fn is_again(&self, session: &SessionId, more: Sends) -> bool {
        let Some(seat) = self.seats.get(session) else { return false };
        let before = self.roster.session(&seat.peer).filter(|before| before != session);
        let Some(before) = before.and_then(|before| self.seats.get(&before)) else { return false };
        let (will, does) = (seat.actual().plus(more), before.sends());
        will.max(does) == does
    }

    /// It may not: nothing more is expected of it than what it sends.
    pub fn unpublish(&mut self, session: SessionId, now: Instant) {
        self.seats.expect(&session, Sends::NOTHING, now);
    }

    /// A moderator lets a peer do something else.
    pub(super) fn set_role(&mut self, peer: PeerId, role: Role, now: Instant) -> Told {
        let Some(entry) = self.roster.peers.get(&peer) else { return Vec::new() };
        // A role that was given stays with the peer when it connects again.
        self.roles.insert(peer.clone(), role);
        let session = entry.session;
        if !role.may_publish() {
            self.seats.expect(&session, Sends::NOTHING, now);
        }
        self.hosts.keys().map(|host| (host.clone(), HomeMessage::Role(peer.clone(), role))).collect()
    }

    /// What the room would need, full, on workers with so much `left`: so much is reserved for a room whose capacity is
    /// guaranteed. On as few of them as it fits on, as many peers on each; none where it does not fit.
    pub fn full_size(&self, left: &[(WorkerAddress, Cost)]) -> Option<Vec<(WorkerAddress, Cost)>> {
        let spreads = std::iter::successors(Some(1), |count| Some(count * 2));
        let spreads = spreads.take_while(|count| *count < left.len()).chain([left.len()]);
        spreads.filter_map(|count| left.get(..count)).find_map(|places| {
            let costs = self.spread(places)?.costs();
            let fits = |(at, cost): (&WorkerAddress, &Cost)| {
                places.iter().any(|(other, left)| other == at && cost.fits(*left))
            };
            costs.iter().all(fits).then(|| costs.into_iter().collect())
        })
    }

    /// How the room lies when it is full and spread evenly.
    fn spread(&self, places: &[(WorkerAddress, Cost)]) -> Option<Layout> {
        let senders = match self.options.mode {
            // Of a stage's peers one in ten sends, and at least one.
            RoomMode::Stage => (self.options.size / 10).max(1),
            _ => self.options.size,
        };
        let mut layout = self.seats.layout().empty();
        for (n, (at, _)) in (0..self.options.size).zip(places.iter().cycle()) {
            let sends = if n < senders { estimate::peer() } else { Sends::NOTHING };
            layout.add(at, sends).ok()?;
        }
        Some(layout)
    }
}
