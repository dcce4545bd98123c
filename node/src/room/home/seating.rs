//! Who is admitted to a room, as what, and what that needs on which workers.

use super::{HomeRoom, PENDING_LIFE, Pending, Told, superseded};
use crate::placement::choose::Wish;
use crate::placement::estimate;
use crate::placement::layout::{Layout, price};
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
            first: self.sent_to(peer).cloned().into_iter().collect(),
        }
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
        let before = self.seats.layout().costs();
        let mut after = self.seats.layout().clone();
        after.send(&seat.at, seat.sends(), all).map_err(|_| Refusal::MeshFull)?;
        let demands = price(&before, &after.costs());
        self.seats.expect(&session, all, now);
        Ok(demands)
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

    /// What the room would need, full, on workers that are filled one after the other with `left` on each: so much is
    /// reserved for a room whose capacity is guaranteed. None where it does not fit on them.
    pub fn full_size(&self, left: &[(WorkerAddress, Cost)]) -> Option<Vec<(WorkerAddress, Cost)>> {
        let (senders, listeners) = match self.options.mode {
            // Of a stage's peers one in ten sends, and at least one.
            RoomMode::Stage => {
                let senders = (self.options.size / 10).max(1);
                (senders, self.options.size - senders)
            }
            _ => (self.options.size, 0),
        };
        let mut layout = Layout::new(usize::MAX);
        let fits = |layout: &Layout| {
            layout
                .costs()
                .iter()
                .all(|(at, cost)| left.iter().any(|(other, left)| other == at && cost.fits(*left)))
        };
        let mut places = left.iter();
        let mut place = places.next()?;
        for n in 0..senders + listeners {
            let sends = if n < senders { estimate::peer() } else { Sends::NOTHING };
            loop {
                let mut with = layout.clone();
                if with.add(&place.0, sends).is_ok() && fits(&with) {
                    layout = with;
                    break;
                }
                place = places.next()?;
            }
        }
        Some(layout.costs().into_iter().collect())
    }
}
