//! A client wants in, or a peer wants to send more: where that fits is found and reserved, or it is refused.

use super::reserve::Kept;
use super::{Homes, TAKEOVER};
use crate::clock::now_ms;
use crate::placement::choose::{Proposal, ROOM_MADE, Search, Step, TRIES, Wish, outlook};
use crate::placement::queue::Need;
use parking_lot::Mutex;
use skein_proto::capacity::Sends;
use skein_proto::ids::{PeerId, RoomId, SessionId, WorkerAddress};
use skein_proto::room::RoomOptions;
use skein_proto::rpc::{Admit, Admitted, Claim, Publish, Refusal, Reply};
use skein_proto::signaling::Role;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long it may take to find a place, with all that has to move for it. Who asks waits a little longer.
const ADMIT_DEADLINE: Duration = Duration::from_secs(7);
/// The same, for somebody who is there and wants to send more.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(10);
/// How long a home that takes over from one that is gone waits for a host to say what the room is like, where who comes
/// does not.
const OPTIONS_DEADLINE: Duration = Duration::from_millis(600);
const OPTIONS_POLL: Duration = Duration::from_millis(50);

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
pub(super) struct Considered {
    session: SessionId,
    role: Role,
    options: RoomOptions,
    wish: Wish,
    /// Where it goes and from which of its connections, where it moves.
    moves: Option<(WorkerAddress, SessionId)>,
    /// What is kept for it there.
    kept: Option<Kept>,
    /// Whether it is here already, or something is kept for it.
    first: bool,
    /// What it needs, where it has to wait.
    pub(super) need: Need,
}

impl Considered {
    /// Whether it need not wait for those who came before it: it takes nothing from them.
    pub(super) fn goes_first(&self) -> bool {
        self.first || self.moves.is_some() || self.kept.is_some()
    }
}

/// A newcomer to a room, until it has a place.
#[derive(Clone, Copy)]
struct Newcomer<'a> {
    room: &'a RoomId,
    peer: &'a PeerId,
    session: SessionId,
}

impl Homes {
    /// A client wants in: finds a worker that keeps room for it, or lets it wait where the mesh can grow.
    pub async fn admit(&self, admit: Admit) -> Reply {
        if let Some(home) = self.elsewhere(&admit.room) {
            return Reply::NotHome(home);
        }
        self.catch_up();
        self.wait_for_options(&admit).await;
        if let Some(line) = admit.line {
            return self.ask_again(&admit, line).await;
        }
        let considered = match self.consider(&admit, None) {
            Ok(considered) => considered,
            Err(refusal) => return Reply::Refused(refusal),
        };
        let (session, need) = (considered.session, considered.need);
        if self.has_to_queue(&admit, &considered) {
            self.dismiss(&admit, session);
            return self.wait(&admit, session, need, None).await;
        }
        let (moves, level) = (considered.moves.is_some(), self.level());
        let reply = self.find_place(&admit, considered).await;
        if reply == Reply::Refused(Refusal::MeshFull) && !moves && self.may_begin_to_wait(&admit, &need) {
            return self.wait(&admit, session, need, Some(level)).await;
        }
        reply
    }

    /// Finds a worker that keeps room for a peer that is counted in.
    pub(super) async fn find_place(&self, admit: &Admit, considered: Considered) -> Reply {
        let Considered { session, role, options, mut wish, moves, kept, .. } = considered;
        let who = Newcomer { room: &admit.room, peer: &admit.peer, session };
        let from = moves.as_ref().map(|(_, from)| *from);
        let place = async {
            match &moves {
                Some((to, from)) => self.place_at(who, *from, &wish, to, kept).await,
                None if options.guaranteed && !self.promise(&admit.room, &admit.entry).await => None,
                None if options.guaranteed => {
                    // Before, it may not have been known where.
                    wish.first.extend(self.promised(&admit.room));
                    self.place(who, wish, kept).await.map(|host| (host, false))
                }
                None => self.place(who, wish, kept).await.map(|host| (host, false)),
            }
        };
        let place = timeout(ADMIT_DEADLINE, place).await.ok().flatten();
        let mut reply = Reply::Refused(Refusal::MeshFull);
        self.with_room(&admit.room, |room| match place {
            _ if room.session(&admit.peer).is_some_and(|newest| newest > session) => {
                reply = Reply::Refused(Refusal::Superseded);
                room.stand_up(session);
                Vec::new()
            }
            // Unless it was waited for no longer.
            Some((host, quiet)) if room.is_expected(&admit.peer, session) => {
                let told = room.admitted(&admit.peer, session, from);
                let options = *room.options();
                reply = Reply::Admitted(Admitted { session, host, role, options, from, quiet });
                told
            }
            _ => {
                room.refused(&admit.peer, session);
                room.stand_up(session);
                Vec::new()
            }
        });
        reply
    }

    /// A peer that was counted in is not any more.
    pub(super) fn dismiss(&self, admit: &Admit, session: SessionId) {
        self.with_room(&admit.room, |room| {
            room.refused(&admit.peer, session);
            Vec::new()
        });
    }

    /// A home that takes over a room from one that is gone knows what that is like when a host has said it.
    async fn wait_for_options(&self, admit: &Admit) {
        let until = Instant::now() + OPTIONS_DEADLINE;
        let took_over = self.members.lock().lost.is_some_and(|at| at.elapsed() < TAKEOVER);
        while took_over && admit.wish.is_empty() && Instant::now() < until {
            let knows = {
                let mut rooms = self.rooms.lock();
                self.open(&mut rooms, &admit.room).room.knows_options()
            };
            if knows {
                return;
            }
            tokio::time::sleep(OPTIONS_POLL).await;
        }
    }

    /// Counts the peer in and settles what it is. `waited` is the name of its connection, where that has one already.
    pub(super) fn consider(&self, admit: &Admit, waited: Option<SessionId>) -> Result<Considered, Refusal> {
        let before = if waited.is_none() { self.waits(admit) } else { None };
        let mut rooms = self.rooms.lock();
        let home = self.open(&mut rooms, &admit.room);
        let room = &mut home.room;
        room.agree(&admit.wish, &self.settings.options, self.settings.max_size)?;
        let moves = match &admit.moving {
            Some(token) => Some(room.moving_to(&admit.peer, token).ok_or_else(|| {
                Refusal::NotAllowed(
                    "move: the token is not that of a move of this peer, or too old".to_owned(),
                )
            })?),
            None => None,
        };
        // Who moves stays what it is.
        let role = match moves.as_ref().and_then(|_| room.role_of(&admit.peer)) {
            Some(role) => role,
            None => room.role(&admit.peer, admit.role, admit.asked)?,
        };
        let known = room.session(&admit.peer);
        let session = match waited {
            // While it waited the peer came by another connection.
            Some(session) if known.is_some_and(|newest| newest > session) => {
                return Err(Refusal::Superseded);
            }
            Some(session) => session,
            None => {
                let mut session = SessionId { admitted_ms: now_ms(), nonce: rand::random() };
                // Newer than the one it replaces, also when another home with another clock admitted that.
                if let Some(old) = known.max(before) {
                    session.admitted_ms = session.admitted_ms.max(old.admitted_ms + 1);
                }
                session
            }
        };
        room.expect(&admit.peer, session, Instant::now())?;
        let mut wish = room.wish(&admit.peer, &admit.entry, role, self.entry_first(), self.typical_peers());
        let promised = home.guaranteed.places(room);
        let first = known.is_some() || !promised.is_empty();
        let need = room.need(&wish, promised.is_empty());
        wish.first.extend(promised);
        let before = moves.as_ref().map(|(_, from)| *from);
        let before = before.or(room.sent_to(&admit.peer).map(|(_, from)| from));
        let kept = before.and_then(|before| home.guaranteed.claim(before));
        Ok(Considered { session, role, options: *room.options(), wish, moves, kept, first, need })
    }

    /// The one place that a moving peer was promised, and whether what it sends from there must wait until it has left the
    /// other.
    async fn place_at(
        &self,
        who: Newcomer<'_>,
        from: SessionId,
        wish: &Wish,
        to: &WorkerAddress,
        kept: Option<Kept>,
    ) -> Option<(WorkerAddress, bool)> {
        let (demands, outlook) = {
            let mut rooms = self.rooms.lock();
            let room = &mut rooms.get_mut(who.room)?.room;
            let outlook = outlook(wish, room.layout(), to)?;
            (room.sit_beside(who.peer, who.session, from, to, Instant::now())?, outlook)
        };
        let place = Some((to.clone(), outlook));
        if let Err(by) = self.reserve(who.room, who.session, &demands, place, Claim::Move, kept).await {
            tracing::debug!(room = %who.room, peer = %who.peer, %to, %by, ?demands, "who moves finds its place taken");
            return None;
        }
        let more = {
            let rooms = self.rooms.lock();
            let field = self.field.lock();
            rooms.get(who.room)?.room.to_speak_up(&who.session, &field.field, Instant::now())
        };
        let Some(more) = more else { return Some((to.clone(), true)) };
        let speaks = self.reserve(who.room, who.session, &more, None, Claim::Place, None).await.is_ok();
        if speaks && let Some(home) = self.rooms.lock().get_mut(who.room) {
            home.room.speak_up(&who.session);
        }
        Some((to.clone(), !speaks))
    }

    /// Finds a place and has all that it needs reserved: at first beside others who come; where that fails, one after the
    /// other, so that none is in the way of another who is refused in the end.
    async fn place(&self, who: Newcomer<'_>, wish: Wish, mut kept: Option<Kept>) -> Option<WorkerAddress> {
        let line = Arc::clone(&self.rooms.lock().get(who.room)?.line);
        {
            let _turn = line.turns.acquire().await.ok()?;
            let mut search = self.search(who.room, wish.clone())?;
            if let Step::Ask(mut first) = self.next(who, &mut search, wish.sends)? {
                if kept.is_some() && wish.first.contains(&first.at) {
                    // It was sent there, and what it needs is kept.
                    first.claim = Claim::Move;
                }
                if let Ok(at) = self.ask(who, first, kept.take()).await {
                    return Some(at);
                }
            }
        }
        kept.into_iter().for_each(|kept| self.release(kept));
        let since = Instant::now();
        let _turns = line.turns.acquire_many(TURNS).await.ok()?;
        // What one of them did not find meanwhile, the others would not find either.
        let in_vain = |last: &(Instant, Sends)| last.0 >= since && last.1 == wish.sends;
        if line.in_vain.lock().as_ref().is_some_and(in_vain) {
            return None;
        }
        let sends = wish.sends;
        let place = self.place_alone(who, wish).await;
        if place.is_none() && self.is_expected(who) {
            *line.in_vain.lock() = Some((Instant::now(), sends));
        }
        place
    }

    async fn place_alone(&self, who: Newcomer<'_>, wish: Wish) -> Option<WorkerAddress> {
        let sends = wish.sends;
        let mut search = self.search(who.room, wish.clone())?;
        let (mut asked, mut made) = (0, 0);
        while asked < TRIES {
            match self.next(who, &mut search, sends)? {
                Step::Ask(proposal) => {
                    asked += 1;
                    let at = proposal.at.clone();
                    match self.ask(who, proposal, None).await {
                        Ok(at) => return Some(at),
                        Err(by) => search.refused(&at, &by),
                    }
                }
                Step::MakeRoom(blocked) if made < ROOM_MADE => {
                    if self.clear(who.room, &wish, &blocked).await
                        || self.make_room(who.room, &blocked, sends, None).await
                        || self.pass_on(who.room, &blocked, sends).await
                    {
                        made += 1;
                        search = self.search(who.room, wish.clone())?;
                    }
                }
                Step::MakeRoom(_) => {}
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
        who: Newcomer<'_>,
        proposal: Proposal,
        kept: Option<Kept>,
    ) -> Result<WorkerAddress, WorkerAddress> {
        let Proposal { at, demands, outlook, claim } = proposal;
        let place = Some((at.clone(), outlook));
        match self.reserve(who.room, who.session, &demands, place, claim, kept).await {
            Ok(_) => Ok(at),
            Err(by) => {
                if let Some(home) = self.rooms.lock().get_mut(who.room) {
                    home.room.stand_up(who.session);
                }
                Err(by)
            }
        }
    }

    fn is_expected(&self, who: Newcomer<'_>) -> bool {
        self.rooms.lock().get(who.room).is_some_and(|home| home.room.is_expected(who.peer, who.session))
    }

    fn search(&self, room: &RoomId, wish: Wish) -> Option<Search> {
        let rooms = self.rooms.lock();
        let field = self.field.lock();
        let layout = rooms.get(room)?.room.layout();
        Some(Search::new(wish, layout, &field.field, Instant::now(), &mut rand::rng()))
    }

    /// The next step; the peer is counted in where it is to be asked for, so that others who come meanwhile are placed with
    /// that in mind. None when the peer is not waited for any more.
    fn next(&self, who: Newcomer<'_>, search: &mut Search, sends: Sends) -> Option<Step> {
        let mut rooms = self.rooms.lock();
        let room = &mut rooms.get_mut(who.room)?.room;
        if !room.is_expected(who.peer, who.session) {
            return None;
        }
        let (field, now) = (self.field.lock(), Instant::now());
        room.heed(&field.field, now);
        let step = search.next(room.layout(), &field.field, now);
        if let Step::Ask(proposal) = &step {
            room.sit(who.peer, who.session, &proposal.at, sends, now).ok()?;
        }
        Some(step)
    }

    /// A peer wants to send something for which nothing was kept when it came.
    pub async fn publish(&self, publish: Publish) -> Reply {
        let Publish { room, session, sends } = publish;
        if let Some(home) = self.elsewhere(&room) {
            return Reply::NotHome(home);
        }
        match timeout(PUBLISH_DEADLINE, self.make_publish(&room, session, sends)).await {
            Ok(reply) => reply,
            Err(_) => {
                self.unpublish(&room, session);
                Reply::Refused(Refusal::MeshFull)
            }
        }
    }

    async fn make_publish(&self, room: &RoomId, session: SessionId, sends: Sends) -> Reply {
        for _ in 0..=ROOM_MADE {
            let demands = match self.rooms.lock().get_mut(room) {
                Some(home) => home.room.publish(session, sends, Instant::now()),
                None => return Reply::Failed("the room is not here".to_owned()),
            };
            let demands = match demands {
                Ok(demands) => demands,
                Err(refusal) => return Reply::Refused(refusal),
            };
            let Err(by) = self.reserve(room, session, &demands, None, Claim::Place, None).await else {
                return Reply::Granted;
            };
            self.unpublish(room, session);
            if !self.make_room(room, &by, sends, Some(session)).await {
                break;
            }
        }
        Reply::Refused(Refusal::MeshFull)
    }

    fn unpublish(&self, room: &RoomId, session: SessionId) {
        if let Some(home) = self.rooms.lock().get_mut(room) {
            home.room.unpublish(session, Instant::now());
        }
    }
}
