//! What the home does of its own: it moves peers to make room, to bring rooms together and off workers that carry too
//! much, and keeps up what rooms are guaranteed.

use super::reserve::Kept;
use super::{Home, HomeRoom, Homes};
use crate::placement::choose::{self, Wish};
use crate::placement::ledger::GUARANTEE_LIFE;
use crate::placement::shift::Shift;
use crate::room::home::{Better, Cause};
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{NodeId, RoomId, SessionId, WorkerAddress};
use skein_proto::rpc::{Call, Claim, Clear, MakeWay, MovePeer, Outlook, Refusal, Reply};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a room is looked at for whether it could lie better.
const BALANCE: Duration = Duration::from_secs(2);
/// How often a guarantee is renewed.
const RENEW: Duration = Duration::from_secs(5);
/// How long peers may take to leave, where a newcomer waits for their place.
const LEAVE: Duration = Duration::from_secs(5);
/// How long a host may take to have other rooms leave a worker.
const CLEAR_DEADLINE: Duration = Duration::from_secs(5);
/// How many peers the rooms of a home have on their way off nodes that drain, at most.
const LEAVING: usize = 32;
/// How many places are asked for a peer of which only the entry goes.
const OTHERWISE: usize = 3;
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(50);

/// What is kept for a room at any time, and for its peers that are about to move.
#[derive(Debug, Default)]
pub(super) struct Promise {
    demands: Vec<(WorkerAddress, Cost)>,
    renewed: Option<Instant>,
    tried: Option<Instant>,
    moves: HashMap<SessionId, Kept>,
}

impl Promise {
    /// The workers on which something is kept for the room, those with the fewest of its peers first.
    pub(super) fn places(&self, room: &HomeRoom) -> Vec<WorkerAddress> {
        let mut places: Vec<_> = self.demands.iter().map(|(at, _)| at.clone()).collect();
        places.sort_by_key(|at| room.layout().peers_at(at));
        places
    }

    /// Whether nothing is kept, and that was not tried just now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.renewed.is_none() && self.tried.is_none_or(|at| now.saturating_duration_since(at) >= RENEW)
    }

    fn kept_at(&self, at: &WorkerAddress) -> Cost {
        self.demands.iter().find(|(other, _)| other == at).map_or(Cost::ZERO, |(_, cost)| *cost)
    }

    /// What nodes that drain keep has to be kept elsewhere.
    fn leave(&mut self, drains: &BTreeSet<NodeId>) {
        let before = self.demands.len();
        self.demands.retain(|(at, _)| !drains.contains(&at.node));
        if self.demands.len() < before {
            (self.renewed, self.tried) = (None, None);
        }
    }

    /// Takes what is kept for a peer's move.
    pub(super) fn claim(&mut self, session: SessionId) -> Option<Kept> {
        self.moves.remove(&session)
    }

    /// Takes what is kept for moves that are not to be any more.
    fn given_up(&mut self, room: &HomeRoom) -> Vec<Kept> {
        self.moves.extract_if(|session, _| !room.is_to_move(session)).map(|(_, kept)| kept).collect()
    }

    /// The nodes that keep something for the room.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.demands.iter().map(|(at, _)| at.node.clone()).collect();
        nodes.dedup();
        nodes
    }
}

impl Homes {
    /// Looks after all rooms.
    pub(super) fn balance(self: &Arc<Self>, now: Instant) {
        let mut rooms = self.rooms.lock();
        let drains = self.field.lock().drains.clone();
        let leaving = || rooms.values().map(|home| home.room.leaving(&drains)).sum();
        let mut leave = if drains.is_empty() { 0 } else { LEAVING.saturating_sub(leaving()) };
        for (id, home) in rooms.iter_mut().filter(|(_, home)| !home.left) {
            home.guaranteed.leave(&drains);
            home.guaranteed.given_up(&home.room).into_iter().for_each(|kept| self.release(kept));
            if home.guaranteed.renewed.is_some_and(|at| now.duration_since(at) >= RENEW) {
                home.guaranteed.renewed = Some(now);
                let (homes, id, demands) = (Arc::clone(self), id.clone(), home.guaranteed.demands.clone());
                self.tasks.spawn(async move {
                    if !homes.guarantee(&id, &demands).await {
                        tracing::warn!(room = %id, "what the room is guaranteed has to be kept elsewhere");
                        homes.forget_promise(&id);
                    }
                });
            } else if home.needs_promise(now) {
                // Its home was another until now, or a host of it is gone.
                let (homes, id, settled) = (Arc::clone(self), id.clone(), home.room.is_settled());
                self.tasks.spawn(async move {
                    // Before all hosts have said what they have it is not known what to keep, only what is kept.
                    if !settled {
                        homes.inherit(&id).await;
                    } else if !homes.promise(&id, homes.mesh.id()).await {
                        tracing::warn!(room = %id, "what the room is guaranteed is not to be had");
                    }
                });
            }
            if !drains.is_empty() && home.room.is_on(&drains) {
                leave = leave.saturating_sub(self.leave(id, home, &drains, leave, now));
                continue;
            }
            if now.duration_since(home.balanced) < BALANCE && !home.room.grew() {
                continue;
            }
            home.balanced = now;
            let most = self.settings.placement.moves_at_once as usize;
            let together = self.settings.placement.together && !self.entry_first();
            let better = home.room.better(&self.field.lock().field, together, most, now, &mut rand::rng());
            if let Some(better) = better {
                let (homes, id) = (Arc::clone(self), id.clone());
                self.tasks.spawn(async move { homes.lie_better(&id, better).await });
            }
        }
    }

    async fn lie_better(&self, room: &RoomId, better: Better) {
        match better {
            Better::Move(shifts) => {
                self.begin_moves(room, &shifts, Cause::BETTER).await;
            }
            Better::Clear { at, packets, then, otherwise } => {
                let leaves = then.first().map(|shift| &shift.from);
                if packets == 0 || self.have_cleared(room, &at, packets, leaves, false).await {
                    self.move_together(room, &then, Cause::BETTER).await;
                } else {
                    self.begin_moves(room, &otherwise, Cause::BETTER).await;
                }
            }
        }
    }

    /// Has peers of a room leave nodes that drain, at most `most`. Answers how many.
    fn leave(
        self: &Arc<Self>,
        id: &RoomId,
        home: &mut Home,
        drains: &BTreeSet<NodeId>,
        most: usize,
        now: Instant,
    ) -> usize {
        let most = most.min(self.settings.placement.moves_at_once as usize);
        let first = home.guaranteed.places(&home.room);
        let field = self.field.lock();
        let shifts = home.room.leave(drains, &first, &field.field, most, now, &mut rand::rng());
        let count = shifts.len();
        if count > 0 {
            let (homes, id) = (Arc::clone(self), id.clone());
            self.tasks.spawn(async move {
                let asked = homes.begin_moves(&id, &shifts, Cause::Need("its host goes")).await.len();
                if let Some(home) = homes.rooms.lock().get_mut(&id) {
                    home.room.asked_to_leave(asked, Instant::now(), &mut rand::rng());
                }
            });
        }
        count
    }

    fn forget_promise(&self, room: &RoomId) {
        if let Some(home) = self.rooms.lock().get_mut(room) {
            home.guaranteed.renewed = None;
        }
    }

    /// The workers on which something is kept for a room.
    pub(super) fn promised(&self, room: &RoomId) -> Vec<WorkerAddress> {
        let rooms = self.rooms.lock();
        rooms.get(room).map_or_else(Vec::new, |home| home.guaranteed.places(&home.room))
    }

    /// Goes on with what nodes keep for a room since another was its home, while they do. Says whether it is all that the
    /// room is guaranteed; what there is besides is known from now on.
    async fn inherit(&self, room: &RoomId) -> bool {
        if self.members.lock().changed.elapsed() > GUARANTEE_LIFE {
            return false;
        }
        if let Some(home) = self.rooms.lock().get_mut(room) {
            home.guaranteed.tried = Some(Instant::now());
        }
        let mut kept = self.guaranteed(room).await;
        // In the order in which it was spread: where one more peer is to go, more is kept.
        kept.sort_by_key(|(_, cost)| Reverse(cost.packets));
        let is_all = {
            let mut rooms = self.rooms.lock();
            let drains = self.field.lock().drains.clone();
            kept.retain(|(at, _)| !drains.contains(&at.node));
            match rooms.get_mut(room) {
                Some(home) if home.guaranteed.renewed.is_none() && !kept.is_empty() => {
                    home.guaranteed.demands.clone_from(&kept);
                    home.room.full_size(&kept).is_some()
                }
                _ => false,
            }
        };
        tracing::debug!(%room, is_all, ?kept, "nodes keep this for a room from before");
        if !is_all || !self.guarantee(room, &kept).await {
            return false;
        }
        if let Some(home) = self.rooms.lock().get_mut(room) {
            home.guaranteed.renewed = Some(Instant::now());
        }
        true
    }

    /// Makes sure that the full size of a room is kept for it. Says whether it is.
    pub(super) async fn promise(&self, room: &RoomId, entry: &NodeId) -> bool {
        if self.rooms.lock().get(room).is_some_and(|home| home.guaranteed.renewed.is_some())
            || self.inherit(room).await
        {
            return true;
        }
        let demands = {
            let mut rooms = self.rooms.lock();
            let Some(home) = rooms.get_mut(room) else { return false };
            let field = self.field.lock();
            let field = &field.field;
            let now = Instant::now();
            home.guaranteed.tried = Some(now);
            let costs = home.room.layout().costs();
            // What the room uses there, or is promised, it need not find free.
            let own = |at: &WorkerAddress| {
                costs.get(at).copied().unwrap_or_default().max(home.guaranteed.kept_at(at))
            };
            let (mut places, mut others): (Vec<(WorkerAddress, Cost)>, Vec<_>) = (Vec::new(), Vec::new());
            let mut fullest_first = Vec::new();
            for region in field.regions(field.region(entry)) {
                let all = field.freest(region, usize::MAX, now);
                let left = |at: WorkerAddress| Some((at.clone(), field.left(&at, now)? + own(&at)));
                let has_peers = |(at, _): &(WorkerAddress, Cost)| home.room.layout().peers_at(at) > 0;
                let (here, elsewhere): (Vec<_>, Vec<_>) =
                    all.into_iter().filter_map(left).partition(has_peers);
                places.extend(here);
                fullest_first.extend(elsewhere.iter().rev().cloned());
                others.extend(elsewhere);
            }
            // Where it is, or the fullest of the entry's region, then of others, that it fits on whole, or else as few as
            // it fits on.
            let mut singly = places.iter().chain(&fullest_first);
            let whole = singly.find_map(|place| home.room.full_size(std::slice::from_ref(place)));
            places.extend(others);
            whole.or_else(|| home.room.full_size(&places))
        };
        let Some(demands) = demands else { return false };
        self.keep_promise(room, demands).await
    }

    async fn keep_promise(&self, room: &RoomId, demands: Vec<(WorkerAddress, Cost)>) -> bool {
        if !self.guarantee(room, &demands).await {
            self.unguarantee(room, demands.into_iter().map(|(at, _)| at.node).collect());
            return false;
        }
        if let Some(home) = self.rooms.lock().get_mut(room) {
            home.guaranteed.demands = demands;
            home.guaranteed.renewed = Some(Instant::now());
        }
        true
    }

    /// Moves peers of the room off a worker, or whoever is in the way of a newcomer, and waits until they have left. Says
    /// whether somebody did.
    pub(super) async fn make_room(
        &self,
        room: &RoomId,
        blocked: &WorkerAddress,
        sends: Sends,
        but: Option<SessionId>,
    ) -> bool {
        let shifts = {
            let mut rooms = self.rooms.lock();
            let Some(home) = rooms.get_mut(room) else { return false };
            let field = self.field.lock();
            home.room.make_room(blocked, sends, but, &field.field, Instant::now(), &mut rand::rng())
        };
        let asked = self.begin_moves(room, &shifts, Cause::NEWCOMER).await;
        self.have_left(room, &asked).await
    }

    /// Has peers of the room go from a worker where a newcomer is in want to another one of the room, which other rooms leave
    /// for that, and waits until they have gone. Says whether somebody did.
    pub(super) async fn pass_on(&self, room: &RoomId, blocked: &WorkerAddress, sends: Sends) -> bool {
        let found = {
            let mut rooms = self.rooms.lock();
            let Some(home) = rooms.get_mut(room) else { return false };
            home.room.pass_on(blocked, sends, &self.field.lock().field, Instant::now())
        };
        let Some((shifts, to, packets)) = found else { return false };
        if packets > 0 && !self.have_cleared(room, &to, packets, None, true).await {
            return false;
        }
        let asked = self.move_together(room, &shifts, Cause::NEWCOMER).await;
        self.have_left(room, &asked).await
    }

    /// Waits until peers that were asked to move have left. Says whether somebody did.
    async fn have_left(&self, room: &RoomId, asked: &[SessionId]) -> bool {
        let until = Instant::now() + LEAVE;
        loop {
            let left = {
                let rooms = self.rooms.lock();
                let Some(home) = rooms.get(room) else { return false };
                let stays = |session: &&SessionId| {
                    home.room.is_to_move(session) && home.room.seats().get(session).is_some()
                };
                asked.iter().filter(stays).count()
            };
            if left == 0 || Instant::now() >= until {
                return left < asked.len();
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Has other rooms leave a worker where a newcomer to this one finds no place. Says whether more is left there now.
    pub(super) async fn clear(&self, room: &RoomId, wish: &Wish, at: &WorkerAddress) -> bool {
        let packets = {
            let rooms = self.rooms.lock();
            let Some(home) = rooms.get(room) else { return false };
            let field = self.field.lock();
            choose::lacks(wish, home.room.layout(), at, &field.field, Instant::now())
        };
        packets > 0 && self.have_cleared(room, at, packets, None, true).await
    }

    /// Has other rooms leave a worker until so much more is left there, and the room leaves another one, `leaves`, for it.
    /// Says whether any more is left there now.
    async fn have_cleared(
        &self,
        room: &RoomId,
        at: &WorkerAddress,
        packets: u64,
        leaves: Option<&WorkerAddress>,
        urgent: bool,
    ) -> bool {
        let (avoid, before) = {
            let rooms = self.rooms.lock();
            let Some(home) = rooms.get(room) else { return false };
            let field = self.field.lock();
            (home.room.avoids(leaves), field.field.left(at, Instant::now()).unwrap_or_default().packets)
        };
        let clear = Clear { room: room.clone(), worker: at.worker, packets, avoid, urgent };
        match self.mesh.call(&at.node, Call::Clear(clear), CLEAR_DEADLINE).await {
            Ok(Reply::Left { packets }) => {
                self.field.lock().field.correct(at, packets);
                packets > before
            }
            other => {
                tracing::debug!(%at, ?other, "no answer to whether others can leave");
                false
            }
        }
    }

    /// Another room needs what this one has on a worker: its peers there move, if they can.
    pub async fn make_way(&self, wish: MakeWay) -> Reply {
        let room = &wish.room;
        if let Some(home) = self.elsewhere(room) {
            return Reply::NotHome(home);
        }
        let shifts = match self.rooms.lock().get_mut(room) {
            Some(home) => {
                let field = self.field.lock();
                home.room.make_way(&wish, &field.field, Instant::now(), &mut rand::rng())
            }
            None => Vec::new(),
        };
        let asked = self.move_together(room, &shifts, Cause::makes_way(wish.urgent)).await;
        let packets = self.rooms.lock().get(room).map_or(0, |home| home.room.frees(asked.len()));
        Reply::Leaving { packets }
    }

    /// Asks peers to move for all of whom a place is kept, or none. Answers which.
    async fn move_together(&self, room: &RoomId, shifts: &[Shift], cause: Cause) -> Vec<SessionId> {
        let kept = self.keep_places(room, shifts, true).await;
        if kept.len() < shifts.len() {
            kept.into_iter().for_each(|(_, kept)| self.release(kept));
            return Vec::new();
        }
        self.ask_to_move(room, kept, cause)
    }

    /// Has places kept for peers that are to move, and asks those to move that have one. Answers which.
    pub(super) async fn begin_moves(&self, room: &RoomId, shifts: &[Shift], cause: Cause) -> Vec<SessionId> {
        let kept = self.keep_places(room, shifts, false).await;
        self.ask_to_move(room, kept, cause)
    }

    /// Has places kept for peers that are to move at once. Who finds none is left out, and the others are priced anew, since
    /// the first to leave a worker pays for what all need to follow; where `all` are wanted it ends there.
    pub(super) async fn keep_places(&self, room: &RoomId, shifts: &[Shift], all: bool) -> Vec<(Shift, Kept)> {
        let mut going = shifts.to_vec();
        let mut found = Vec::with_capacity(going.len());
        while found.len() < going.len() {
            let demands = self.rooms.lock().get(room).map(|home| home.room.move_demands(&going));
            let Some(demands) = demands else { break };
            for demands in demands.into_iter().skip(found.len()) {
                let kept = match (going.get(found.len()), demands) {
                    (Some(shift), Some(demands)) => self.keep_place(room, &shift.to, &demands).await,
                    _ => None,
                };
                if kept.is_none() {
                    going.remove(found.len());
                    break;
                }
                found.extend(kept);
            }
            if going.len() < shifts.len() && all {
                break;
            }
        }
        going.into_iter().zip(found).collect()
    }

    async fn keep_place(
        &self,
        room: &RoomId,
        to: &WorkerAddress,
        demands: &[(WorkerAddress, Cost)],
    ) -> Option<Kept> {
        // Under a name of its own: when the peer comes, its place is reserved in place of this.
        let nobody = SessionId::nobody(rand::random());
        let place = Some((to.clone(), Outlook::default()));
        self.reserve(room, nobody, demands, place, Claim::Move, None).await.ok()
    }

    /// Asks those to move for whom a place is kept. Answers which.
    fn ask_to_move(&self, room: &RoomId, found: Vec<(Shift, Kept)>, cause: Cause) -> Vec<SessionId> {
        let mut asked = Vec::new();
        for (shift, kept) in found {
            let token = format!("{:032x}", rand::random::<u128>());
            let mut rooms = self.rooms.lock();
            let Some(home) = rooms.get_mut(room) else { continue };
            let told = home.room.ask_to_move(&shift, token, cause, Instant::now());
            if told.is_empty() {
                drop(rooms);
                self.release(kept);
                continue;
            }
            asked.push(shift.session);
            tracing::debug!(%room, session = %shift.session, to = %shift.to, ?cause, "a peer is to move");
            home.guaranteed.moves.insert(shift.session, kept);
            home.deliver(told);
        }
        asked
    }

    /// An operator moves a peer, or its entry wants to be rid of it.
    pub async fn move_peer(&self, wish: MovePeer) -> Reply {
        if let Some(home) = self.elsewhere(&wish.room) {
            return Reply::NotHome(home);
        }
        let cause = Cause::Need(if wish.same_host { "its entry goes" } else { "an operator moves it" });
        let shifts = match self.shifts_for(&wish) {
            Ok(shifts) => shifts,
            Err(refusal) => return Reply::Refused(refusal),
        };
        let mut full = Vec::new();
        for shift in shifts {
            let to = shift.to.to_string();
            if !self.begin_moves(&wish.room, &[shift], cause).await.is_empty() {
                return Reply::Done;
            }
            full.push(to);
        }
        Reply::Refused(Refusal::NotAllowed(format!("{} has no room for it", full.join(", "))))
    }

    /// Where a peer could go, the best place first.
    fn shifts_for(&self, wish: &MovePeer) -> Result<Vec<Shift>, Refusal> {
        let MovePeer { room, peer, node, same_host } = wish;
        let refuse = |why: String| Err(Refusal::NotAllowed(why));
        let rooms = self.rooms.lock();
        let Some(home) = rooms.get(room) else { return refuse(format!("room {room}: there is none")) };
        let Some(at) = home.room.host_of(peer) else {
            return refuse(format!("peer {peer}: is not in the room"));
        };
        let (field, now) = (self.field.lock(), Instant::now());
        let field = &field.field;
        if let Some(node) = node
            && !field.takes(node, now)
        {
            return refuse(format!("node {node}: takes no peers"));
        }
        let places: Vec<_> = match node {
            Some(node) => field.workers(node).collect(),
            None => {
                field.regions(None).iter().flat_map(|region| field.freest(region, usize::MAX, now)).collect()
            }
        };
        let free = |at: &WorkerAddress| Reverse(field.left(at, now).unwrap_or_default().packets);
        let elsewhere =
            places.into_iter().filter(|to| if node.is_some() { to != at } else { to.node != at.node });
        let mut elsewhere: Vec<_> = elsewhere.collect();
        elsewhere.sort_by_key(free);
        elsewhere.truncate(if *same_host { OTHERWISE } else { 1 });
        let stays = *same_host && field.takes(&at.node, now);
        if elsewhere.is_empty() && !stays {
            return refuse("there is no other worker".to_owned());
        }
        let again = if stays { home.room.shift_again(peer) } else { None };
        let shifts = elsewhere.iter().filter_map(|to| home.room.shift_to(peer, to));
        let shifts: Vec<_> = again.into_iter().chain(shifts).collect();
        if shifts.is_empty() {
            return refuse(format!("peer {peer}: is on its way already"));
        }
        Ok(shifts)
    }
}
