//! Finding places, and having peers move for them, as a node's homes do it by asking hosts and each other.

use super::hosts::Hosts;
use super::{ASK, MOVE, Room, Seat, Skein, name};
use crate::simulate::policy::Media;
use skein_node::placement::choose::{self, ROOM_MADE, Search, Step, TRIES, Wish};
use skein_node::placement::shift::Shift;
use skein_node::room::home::Cause;
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{PeerId, RoomId, SessionId, WorkerAddress};
use skein_proto::rpc::{Claim, MakeWay, Outlook};
use skein_proto::signaling::Role;
use std::iter::once;
use std::time::Duration;

/// What a room's home takes a peer for.
fn wish(room: &Room, hosts: &mut Hosts, peer: &PeerId, role: Role) -> Wish {
    let typical = hosts.typical(room.home_at).peers();
    room.home.wish(peer, hosts.id(room.home_at), role, false, typical)
}

impl Skein {
    /// Searches a place for a peer until one is reserved.
    pub(super) fn place(
        &mut self,
        key: u32,
        id: &PeerId,
        session: SessionId,
        role: Role,
    ) -> (Option<WorkerAddress>, Duration) {
        let room_id: RoomId = name(format!("r{key}"));
        let (mut waited, mut room_made) = (Duration::ZERO, 0);
        let now = self.now;
        let Some(room) = self.rooms.get(&key) else { return (None, waited) };
        let wish = wish(room, &mut self.hosts, id, role);
        let mut search = Search::new(wish.clone(), room.home.layout(), &self.hosts.field, now, &mut self.rng);
        let mut tried = 0;
        while tried < TRIES {
            let Some(room) = self.rooms.get_mut(&key) else { break };
            room.home.heed(&self.hosts.field, now);
            match search.next(room.home.layout(), &self.hosts.field, now) {
                Step::Ask(proposal) => {
                    tried += 1;
                    waited += ASK;
                    if room.home.sit(id, session, &proposal.at, wish.sends, now).is_err() {
                        continue;
                    }
                    let place = Some((&proposal.at, proposal.outlook));
                    match self.hosts.reserve(&room_id, session, &proposal.demands, place, proposal.claim, now)
                    {
                        Ok(_) => return (Some(proposal.at), waited),
                        Err(by) => {
                            if let Some(room) = self.rooms.get_mut(&key) {
                                room.home.stand_up(session);
                            }
                            search.refused(&proposal.at, &by);
                        }
                    }
                }
                Step::MakeRoom(_) if room_made == ROOM_MADE => {}
                Step::MakeRoom(blocked) => {
                    let field = &self.hosts.field;
                    let lacks = choose::lacks(&wish, room.home.layout(), &blocked, field, now);
                    waited += ASK;
                    let made = self.make_way(key, &blocked, lacks, None, true)
                        || self.make_room(key, &blocked, wish.sends, None)
                        || self.pass_on(key, &blocked, wish.sends);
                    if made {
                        waited += MOVE;
                        room_made += 1;
                        self.hosts.hear_until(now + MOVE, now);
                        let Some(room) = self.rooms.get(&key) else { break };
                        search = Search::new(
                            wish.clone(),
                            room.home.layout(),
                            &self.hosts.field,
                            now,
                            &mut self.rng,
                        );
                    }
                }
                Step::GiveUp => break,
            }
        }
        (None, waited)
    }

    /// Has room made and reserved for what a promoted peer is going to send. Says whether it may.
    pub(super) fn may_publish(&mut self, key: u32, session: SessionId, sends: Sends) -> bool {
        let (now, room_id) = (self.now, name::<RoomId>(format!("r{key}")));
        for _ in 0..=ROOM_MADE {
            let Some(room) = self.rooms.get_mut(&key) else { return false };
            let Ok(demands) = room.home.publish(session, sends, now) else { return false };
            let Err(by) = self.hosts.reserve(&room_id, session, &demands, None, Claim::Place, now) else {
                return true;
            };
            let Some(room) = self.rooms.get_mut(&key) else { return false };
            room.home.unpublish(session, now);
            if !self.make_room(key, &by, sends, Some(session)) {
                return false;
            }
        }
        false
    }

    /// Moves peers of the room, but not `but`, off a worker. Says whether any went.
    fn make_room(&mut self, key: u32, blocked: &WorkerAddress, sends: Sends, but: Option<SessionId>) -> bool {
        let Some(room) = self.rooms.get_mut(&key) else { return false };
        let shifts = room.home.make_room(blocked, sends, but, &self.hosts.field, self.now, &mut self.rng);
        self.shift(key, &shifts, Cause::NEWCOMER, false)
    }

    /// Moves peers of the room to another worker of its own that others leave for that. Says whether any went.
    fn pass_on(&mut self, key: u32, blocked: &WorkerAddress, sends: Sends) -> bool {
        let found = self
            .rooms
            .get_mut(&key)
            .and_then(|room| room.home.pass_on(blocked, sends, &self.hosts.field, self.now));
        let Some((shifts, to, packets)) = found else { return false };
        (packets == 0 || self.make_way(key, &to, packets, None, true))
            && self.shift(key, &shifts, Cause::NEWCOMER, true)
    }

    /// Has other rooms leave a worker until so much more is left there. `urgent` says that somebody waits for it; `leaves` is
    /// the worker that this room leaves for it, if any. Says whether any did.
    pub(super) fn make_way(
        &mut self,
        key: u32,
        at: &WorkerAddress,
        packets: u64,
        leaves: Option<&WorkerAddress>,
        urgent: bool,
    ) -> bool {
        let (now, mut left) = (self.now, packets);
        let Some(room) = self.rooms.get(&key).filter(|_| packets > 0) else { return false };
        let avoid = room.home.avoids(leaves);
        let mut in_the_way = self.hosts.in_the_way(at, &name(format!("r{key}")), packets);
        for spreads in once(false).chain(urgent.then_some(true)) {
            let mut stay = Vec::new();
            for (id, cost) in in_the_way {
                if left == 0 {
                    return true;
                }
                let other = id.as_str().trim_start_matches('r').parse().unwrap_or_default();
                let Some(room) = self.rooms.get_mut(&other) else { continue };
                room.home.tick(now);
                let (room_id, at, avoid) = (id.clone(), at.clone(), avoid.clone());
                let wish = MakeWay { room: room_id, at, packets: left, avoid, urgent, spreads };
                let shifts = room.home.make_way(&wish, &self.hosts.field, now, &mut self.rng);
                let frees = room.home.frees(shifts.len());
                if self.shift(other, &shifts, Cause::makes_way(urgent), true) {
                    left = left.saturating_sub(frees.min(cost));
                } else {
                    stay.push((id, cost));
                }
            }
            in_the_way = stay;
        }
        left < packets
    }

    /// Has a place kept for a peer that is to move, and says for which connection, and what.
    fn keep_place(
        &mut self,
        key: u32,
        shift: &Shift,
        demands: Option<Vec<(WorkerAddress, Cost)>>,
    ) -> Option<(SessionId, Vec<(WorkerAddress, Cost)>)> {
        let (demands, session) = (demands?, self.session());
        let place = Some((&shift.to, self.outlook(key, shift).unwrap_or_default()));
        let room = name(format!("r{key}"));
        self.hosts.reserve(&room, session, &demands, place, Claim::Move, self.now).ok()?;
        Some((session, demands))
    }

    /// What its room may need where a peer moves to: the home says it when the peer comes there.
    fn outlook(&mut self, key: u32, shift: &Shift) -> Option<Outlook> {
        let room = self.rooms.get(&key)?;
        let (peer, seat) = room.peers.iter().find(|(_, seat)| seat.session == shift.session)?;
        let wish = wish(room, &mut self.hosts, &name(format!("p{peer}")), seat.role);
        choose::outlook(&wish, room.home.layout(), &shift.to)
    }

    /// Moves peers, make-before-break; with `whole` all of them or none. Says whether somebody moved.
    pub(super) fn shift(&mut self, key: u32, shifts: &[Shift], cause: Cause, whole: bool) -> bool {
        let mut moved = false;
        let Some(room) = self.rooms.get(&key) else { return moved };
        let mut kept = Vec::new();
        for (shift, demands) in shifts.iter().zip(room.home.move_demands(shifts)).filter(|_| whole) {
            let Some(place) = self.keep_place(key, shift, demands) else {
                kept.iter()
                    .for_each(|(session, demands): &(_, Vec<_>)| self.hosts.release(demands, *session));
                return false;
            };
            kept.push(place);
        }
        let mut kept = kept.into_iter();
        for shift in shifts {
            let now = self.now;
            let Some(room) = self.rooms.get(&key) else { return moved };
            let Some(peer) = room.peers.iter().find(|(_, s)| s.session == shift.session).map(|(p, _)| *p)
            else {
                continue;
            };
            let place = match kept.next() {
                Some(place) => Some(place),
                None => {
                    let demands = room.home.move_demands(std::slice::from_ref(shift)).pop().flatten();
                    self.keep_place(key, shift, demands)
                }
            };
            let Some((session, _)) = place else { continue };
            let id: PeerId = name(format!("p{peer}"));
            let Some(room) = self.rooms.get_mut(&key) else { return moved };
            let token = session.to_string();
            room.home.ask_to_move(shift, token.clone(), cause, now);
            let Some((to, from)) = room.home.moving_to(&id, &token) else { continue };
            let Some(old) = room.peers.remove(&peer) else { continue };
            let taken = room.home.expect(&id, session, now).is_ok()
                && room.home.sit_beside(&id, session, from, &to, now).is_some();
            if !taken {
                room.peers.insert(peer, old);
                continue;
            }
            room.home.admitted(&id, session, Some(from));
            let seat = Seat { session, at: to, role: old.role, media: old.media, says: old.media };
            // The new connection receives from now on; what it sends reaches others when the old one is closed.
            let silent = Media { audio: false, video: false, ..old.media };
            let (at, media) = (seat.at.clone(), seat.media);
            self.arrive(key, peer, Seat { media: silent, ..seat }, Some(from));
            self.depart(key, peer, &old);
            self.speak_up(key, peer, &at, media);
            self.hosts.settle(&at, session, now);
            self.moves += 1;
            moved = true;
        }
        if moved {
            self.look_later(key);
        }
        moved
    }
}
