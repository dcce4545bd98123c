//! A client wants in, or a peer wants to send more: where that fits is found and reserved, or it is refused.

use super::Homes;
use crate::placement::choose::{Proposal, Search, Step, Wish, propose};
use parking_lot::Mutex;
use skein_proto::capacity::Sends;
use skein_proto::ids::{PeerId, RoomId, SessionId, WorkerAddress};
use skein_proto::room::RoomOptions;
use skein_proto::rpc::{Admit, Admitted, Claim, Publish, Refusal, Reply};
use skein_proto::signaling::Role;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;

/// How many places are asked before the mesh counts as full.
const TRIES: usize = 16;
/// How often peers are moved to make room for one newcomer.
const ROOM_MADE: usize = 2;

/// How many newcomers to a room are placed at once.
const TURNS: u32 = 8;

/// Newcomers to a room who wait for their turn to be placed.
#[derive(Debug)]
pub(super) struct Line {
    turns: Semaphore,
    /// When a search for somebody who sends so much ended without a place.
    in_vain: Mutex<Option<(Instant, Sends)>>,
}

impl Default for Line {
    fn default() -> Self {
        Self { turns: Semaphore::new(TURNS as usize), in_vain: Mutex::new(None) }
    }
}

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
            Some((to, from)) => self.place_at(&admit, session, *from, &wish, to).await,
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
        from: SessionId,
        wish: &Wish,
        to: &WorkerAddress,
    ) -> Option<WorkerAddress> {
        let (demands, outlook) = {
            let mut rooms = self.rooms.lock();
            let room = &mut rooms.get_mut(&admit.room)?.room;
            let outlook = propose(wish, room.layout(), &room.layout().costs(), to)?.outlook;
            (room.sit_beside(&admit.peer, session, from, to, Instant::now())?, outlook)
        };
        self.reserve(&admit.room, session, &demands, Some((to.clone(), outlook)), Claim::Move)
            .await
            .ok()
            .map(|_| to.clone())
    }

    /// Finds a place and has all that it needs reserved: at first beside others who come; where that fails, one after the
    /// other, so that none is in the way of another who is refused in the end.
    async fn place(
        &self,
        room: &RoomId,
        peer: &PeerId,
        session: SessionId,
        wish: Wish,
    ) -> Option<WorkerAddress> {
        let line = Arc::clone(&self.rooms.lock().get(room)?.line);
        {
            let _turn = line.turns.acquire().await.ok()?;
            let mut search = self.search(room, wish.clone())?;
            if let Step::Ask(first) = self.next(room, peer, session, &mut search, wish.sends)?
                && let Ok(at) = self.ask(room, session, first).await
            {
                return Some(at);
            }
        }
        let since = Instant::now();
        let _turns = line.turns.acquire_many(TURNS).await.ok()?;
        // What one of them did not find meanwhile, the others would not find either.
        let in_vain = |last: &(Instant, Sends)| last.0 >= since && last.1 == wish.sends;
        if line.in_vain.lock().as_ref().is_some_and(in_vain) {
            return None;
        }
        let sends = wish.sends;
        let place = self.place_alone(room, peer, session, wish).await;
        if place.is_none() {
            *line.in_vain.lock() = Some((Instant::now(), sends));
        }
        place
    }

    async fn place_alone(
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
                    let at = proposal.at.clone();
                    match self.ask(room, session, proposal).await {
                        Ok(at) => return Some(at),
                        Err(by) => search.refused(&at, &by),
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

    /// Has what a proposal needs reserved.
    ///
    /// # Errors
    /// Names a worker that has no room; then the peer is not counted in there any more.
    async fn ask(
        &self,
        room: &RoomId,
        session: SessionId,
        proposal: Proposal,
    ) -> Result<WorkerAddress, WorkerAddress> {
        let Proposal { at, demands, outlook, claim } = proposal;
        match self.reserve(room, session, &demands, Some((at.clone(), outlook)), claim).await {
            Ok(_) => Ok(at),
            Err(by) => {
                if let Some(home) = self.rooms.lock().get_mut(room) {
                    home.room.stand_up(session);
                }
                Err(by)
            }
        }
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
            let Err(by) = self.reserve(&room, session, &demands, None, Claim::Place).await else {
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
