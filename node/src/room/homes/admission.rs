//! A client wants in, or a peer wants to send more: where that fits is found and reserved, or it is refused.

use super::Homes;
use crate::placement::choose::{Search, Step, Wish, propose};
use skein_proto::capacity::Sends;
use skein_proto::ids::{PeerId, RoomId, SessionId, WorkerAddress};
use skein_proto::room::RoomOptions;
use skein_proto::rpc::{Admit, Admitted, Publish, Refusal, Reply};
use skein_proto::signaling::Role;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How many places are asked before the mesh counts as full.
const TRIES: usize = 16;
/// How often peers are moved to make room for one newcomer.
const ROOM_MADE: usize = 2;

/// What is settled about a newcomer before it has a place.
struct Considered {
    session: SessionId,
    role: Role,
    options: RoomOptions,
    wish: Wish,
    /// Where it goes and from which of its connections, where it moves.
    moves: Option<(WorkerAddress, SessionId)>,
}

impl Homes {
    /// A client wants in: finds a worker that keeps room for it.
    pub async fn admit(&self, admit: Admit) -> Reply {
        if let Some(home) = self.elsewhere(&admit.room) {
            return Reply::NotHome(home);
        }
        self.catch_up();
        let considered = match self.consider(&admit) {
            Ok(considered) => considered,
            Err(refusal) => return Reply::Refused(refusal),
        };
        let Considered { session, role, options, wish, moves } = considered;
        let place = match &moves {
            Some((to, _)) => self.place_at(&admit, session, &wish, to).await,
            None if options.guaranteed && !self.promise(&admit.room, &admit.entry).await => None,
            None => self.place(&admit.room, &admit.peer, session, wish).await,
        };
        let mut reply = Reply::Refused(Refusal::MeshFull);
        self.with_room(&admit.room, |room| match place {
            Some(host) => {
                let from = moves.map(|(_, from)| from);
                let told = room.admitted(&admit.peer, session, from);
                let options = *room.options();
                reply = Reply::Admitted(Admitted { session, host, role, options, from });
                told
            }
            None => {
                room.refused(&admit.peer, session);
                Vec::new()
            }
        });
        reply
    }

    /// Counts the peer in and settles what it is.
    fn consider(&self, admit: &Admit) -> Result<Considered, Refusal> {
        let mut rooms = self.rooms.lock();
        let home = self.open(&mut rooms, &admit.room);
        let room = &mut home.room;
        room.agree(&admit.wish, &self.settings.options, self.settings.max_size)?;
        let role = room.role(&admit.peer, admit.role, admit.asked)?;
        let moves = match &admit.moving {
            Some(token) => Some(room.moving_to(&admit.peer, token).ok_or_else(|| {
                Refusal::NotAllowed(
                    "move: the token is not that of a move of this peer, or too old".to_owned(),
                )
            })?),
            None => None,
        };
        let mut session = SessionId { admitted_ms: now_ms(), nonce: rand::random() };
        if let Some(old) = room.session(&admit.peer) {
            // Newer than the one it replaces, also when another home with another clock admitted that.
            session.admitted_ms = session.admitted_ms.max(old.admitted_ms + 1);
        }
        room.expect(&admit.peer, session, Instant::now())?;
        let mut wish = room.wish(&admit.peer, &admit.entry, role, self.entry_first(), self.typical_peers());
        wish.first.extend(home.guaranteed.places());
        if let Some(kept) = moves.as_ref().and_then(|(_, from)| home.guaranteed.claim(*from)) {
            self.release(kept);
        }
        Ok(Considered { session, role, options: *room.options(), wish, moves })
    }

    /// The one place that a moving peer was promised.
    async fn place_at(
        &self,
        admit: &Admit,
        session: SessionId,
        wish: &Wish,
        to: &WorkerAddress,
    ) -> Option<WorkerAddress> {
        let demands = {
            let mut rooms = self.rooms.lock();
            let room = &mut rooms.get_mut(&admit.room)?.room;
            let proposal = propose(wish, room.layout(), &room.layout().costs(), to)?;
            room.sit(&admit.peer, session, to, wish.sends, Instant::now()).ok()?;
            (proposal.demands, proposal.outlook)
        };
        let (demands, outlook) = demands;
        self.reserve(&admit.room, session, &demands, Some((to.clone(), outlook)), true)
            .await
            .ok()
            .map(|_| to.clone())
    }

    /// Finds a place and has all that it needs reserved.
    async fn place(
        &self,
        room: &RoomId,
        peer: &PeerId,
        session: SessionId,
        wish: Wish,
    ) -> Option<WorkerAddress> {
        let sends = wish.sends;
        let mut search = self.search(room, wish.clone())?;
        let mut room_made = 0;
        for _ in 0..TRIES {
            match self.next(room, peer, session, &mut search, sends)? {
                Step::Ask(proposal) => {
                    let place = Some((proposal.at.clone(), proposal.outlook));
                    match self.reserve(room, session, &proposal.demands, place, false).await {
                        Ok(_) => return Some(proposal.at),
                        Err(by) => {
                            self.rooms.lock().get_mut(room)?.room.stand_up(session);
                            search.refused(&proposal.at, &by);
                        }
                    }
                }
                Step::MakeRoom(blocked) => {
                    if room_made < ROOM_MADE && self.make_room(room, &blocked, sends, None).await {
                        room_made += 1;
                        search = self.search(room, wish.clone())?;
                    }
                }
                Step::GiveUp => return None,
            }
        }
        None
    }

    fn search(&self, room: &RoomId, wish: Wish) -> Option<Search> {
        let rooms = self.rooms.lock();
        let field = self.field.lock();
        let layout = rooms.get(room)?.room.layout();
        Some(Search::new(wish, layout, &field.field, Instant::now(), &mut rand::rng()))
    }

    /// The next step; the peer is counted in where it is to be asked for, so that others who come meanwhile are placed with
    /// that in mind.
    fn next(
        &self,
        room: &RoomId,
        peer: &PeerId,
        session: SessionId,
        search: &mut Search,
        sends: Sends,
    ) -> Option<Step> {
        let mut rooms = self.rooms.lock();
        let room = &mut rooms.get_mut(room)?.room;
        let now = Instant::now();
        let step = search.next(room.layout(), &self.field.lock().field, now);
        if let Step::Ask(proposal) = &step {
            room.sit(peer, session, &proposal.at, sends, now).ok()?;
        }
        Some(step)
    }

    /// A peer wants to send something for which nothing was kept when it came.
    pub async fn publish(&self, publish: Publish) -> Reply {
        let Publish { room, session, sends } = publish;
        if let Some(home) = self.elsewhere(&room) {
            return Reply::NotHome(home);
        }
        for _ in 0..=ROOM_MADE {
            let demands = match self.rooms.lock().get_mut(&room) {
                Some(home) => home.room.publish(session, sends, Instant::now()),
                None => return Reply::Failed("the room is not here".to_owned()),
            };
            let demands = match demands {
                Ok(demands) => demands,
                Err(refusal) => return Reply::Refused(refusal),
            };
            let Err(by) = self.reserve(&room, session, &demands, None, false).await else {
                return Reply::Granted;
            };
            self.with_room(&room, |room| {
                room.unpublish(session, Instant::now());
                Vec::new()
            });
            if !self.make_room(&room, &by, sends, Some(session)).await {
                break;
            }
        }
        Reply::Refused(Refusal::MeshFull)
    }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
