//! A room on a host: its own sessions and what they send, what it knows of the others', and its routers.

mod events;

pub use events::RoomEvent;

use super::clear;
use super::data::DataPipes;
use super::pipes::Pipes;
use super::roster::RosterIndex;
use crate::media::{Heard, MediaError, Router, SpeakerObserver, Workers};
use crate::mesh::Mesh;
use events::{Local, State, broadcast, close, info, is_outdated, others_change, publish};
use parking_lot::Mutex;
use skein_proto::ids::{DataProducerId, NodeId, PeerId, ProducerId, RoomId, SessionId, WorkerAddress};
use skein_proto::room::RoomOptions;
use skein_proto::rpc::{
    DataProducerEntry, HomeMessage, HostMessage, PeerEntry, ProducerEntry, Roster, RosterChange, SessionOpen,
    Speaker,
};
use skein_proto::signaling::{CLOSE_FOR_GOOD, Device, MediaKind, Move, PeerInfo, Role};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many events may wait for a session. One that falls further behind is closed: its client dials again.
const EVENTS: usize = 4096;
/// How many messages may wait for the room's home; past that the host starts over with a snapshot.
const OUTBOX: usize = 4096;

/// Why a session ends when its peer has a newer one.
const SUPERSEDED: &str = "the peer connected again";

/// Everything that rooms on a host share.
pub struct Context {
    /// The mesh.
    pub mesh: Mesh,
    /// The node's workers.
    pub workers: Workers,
    /// How long a pipe that nobody uses is kept.
    pub linger: Duration,
    /// How many requests a client may send a second, with twice as many at once.
    pub requests_per_second: NonZeroU32,
    /// Owns the rooms' tasks.
    pub tasks: TaskTracker,
    /// Ends them.
    pub cancel: CancellationToken,
}

/// All rooms that have sessions on the host.
pub struct Rooms {
    context: Arc<Context>,
    rooms: Mutex<HashMap<RoomId, Arc<HostRoom>>>,
    /// One permit for each worker that may be cleared at once.
    pub(super) clearing: Semaphore,
}

impl Rooms {
    /// No rooms yet.
    pub fn new(context: Context) -> Self {
        Self {
            context: Arc::new(context),
            rooms: Mutex::new(HashMap::new()),
            clearing: Semaphore::new(clear::AT_ONCE),
        }
    }

    /// What they share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// A room that has sessions here.
    pub fn get(&self, room: &RoomId) -> Option<Arc<HostRoom>> {
        self.rooms.lock().get(room).cloned()
    }

    /// All rooms that have sessions here.
    pub fn all(&self) -> Vec<Arc<HostRoom>> {
        self.rooms.lock().values().cloned().collect()
    }

    /// A session begins. An older one of the same peer ends.
    pub fn enter(&self, open: &SessionOpen) -> (Arc<HostRoom>, mpsc::Receiver<RoomEvent>) {
        let mut rooms = self.rooms.lock();
        let room = rooms
            .entry(open.room.clone())
            .or_insert_with(|| HostRoom::start(Arc::clone(&self.context), open.room.clone(), open.options));
        let events = room.enter(open);
        (Arc::clone(room), events)
    }

    /// A session ended. The room ends with its last one.
    pub fn leave(&self, room: &Arc<HostRoom>, session: SessionId) {
        let mut rooms = self.rooms.lock();
        if room.leave(session) {
            room.cancel.cancel();
            self.context.workers.accounts().forget(&room.id);
            if rooms.get(&room.id).is_some_and(|known| Arc::ptr_eq(known, room)) {
                rooms.remove(&room.id);
            }
        }
    }
}

/// What a room has on one worker.
pub struct Stage {
    /// Its router.
    pub router: Router,
    observer: SpeakerObserver,
}

/// A room on a host.
pub struct HostRoom {
    /// Its name.
    pub id: RoomId,
    /// What it is like.
    pub options: RoomOptions,
    pub(super) context: Arc<Context>,
    pub(super) cancel: CancellationToken,
    pub(super) pipes: Pipes,
    pub(super) data: DataPipes,
    state: Mutex<State>,
    stages: Vec<OnceCell<Stage>>,
    heard: mpsc::Sender<Heard>,
    outbox: mpsc::Sender<HostMessage>,
    behind: AtomicBool,
}

impl HostRoom {
    fn start(context: Arc<Context>, id: RoomId, options: RoomOptions) -> Arc<Self> {
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        // An observer reports about once a second; what is lost is said again.
        let (heard, hearing) = mpsc::channel(64);
        let room = Arc::new(Self {
            id,
            options,
            cancel: context.cancel.child_token(),
            pipes: Pipes::default(),
            data: DataPipes::default(),
            state: Mutex::new(State::default()),
            stages: context.workers.iter().map(|_| OnceCell::new()).collect(),
            heard,
            outbox,
            behind: AtomicBool::new(false),
            context,
        });
        room.context.tasks.spawn(super::link::run(Arc::clone(&room), outgoing, hearing));
        room
    }

    /// The mesh.
    pub fn mesh(&self) -> &Mesh {
        &self.context.mesh
    }

    /// The node it is on.
    pub fn node(&self) -> &NodeId {
        self.context.mesh.id()
    }

    /// What the room has on a worker, made when it is first asked for.
    ///
    /// # Errors
    /// When there is no such worker or it is gone.
    pub async fn stage(&self, worker: u16) -> Result<&Stage, MediaError> {
        let missing = || MediaError::Refused(format!("worker {worker}: there is none"));
        let cell = self.stages.get(usize::from(worker)).ok_or_else(missing)?;
        let worker = self.context.workers.get(worker).ok_or_else(missing)?;
        cell.get_or_try_init(|| async {
            let router = worker.create_router(&self.id).await?;
            let observer = router.create_speaker_observer(self.heard.clone()).await?;
            Ok(Stage { router, observer })
        })
        .await
    }

    fn enter(&self, open: &SessionOpen) -> mpsc::Receiver<RoomEvent> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let mut state = self.state.lock();
        let local = Local { peer: open.peer.clone(), joined: false, moving: false, events: Some(events) };
        let mut entry = PeerEntry {
            peer: open.peer.clone(),
            session: open.session,
            host: WorkerAddress { node: self.node().clone(), worker: open.worker },
            display_name: String::new(),
            device: Device::default(),
            joined: false,
            role: open.role,
            skein: open.skein,
            from: open.from,
        };
        let current = state.own.session(&open.peer).or_else(|| state.others.session(&open.peer));
        // A host that is new to the room knows nobody yet: whose place it is to take is for the home to say.
        if entry.from.is_some() && (entry.from == current || current.is_none()) {
            state.sessions.insert(open.session, local);
            self.tell_home(HostMessage::Change(RosterChange::Peer(entry.clone())));
            state.arriving.insert(open.peer.clone(), entry);
            return receiver;
        }
        entry.from = None;
        match state.own.session(&open.peer) {
            Some(old) if old < open.session => {
                close(&mut state, old, CLOSE_FOR_GOOD, SUPERSEDED);
                self.remove(&mut state, old);
            }
            Some(newer) if newer > open.session => {
                // Several at once, and the streams came in another order: this one ends before it began.
                let close = RoomEvent::Close { code: CLOSE_FOR_GOOD, reason: SUPERSEDED.to_owned() };
                if let Some(events) = &local.events {
                    let _ = events.try_send(close);
                }
                return receiver;
            }
            _ => {}
        }
        state.sessions.insert(open.session, local);
        // What is still known of an older connection of it elsewhere, whose host may be gone, ends first: told later, it
        // would be taken for the end of this one.
        if let Some(old) = state.others.session(&open.peer).filter(|old| *old < open.session) {
            others_change(&mut state, RosterChange::PeerGone(open.peer.clone(), old));
        }
        self.own_change(&mut state, RosterChange::Peer(entry));
        receiver
    }

    /// Takes a session out. Answers whether it was the last one.
    fn leave(&self, session: SessionId) -> bool {
        let mut state = self.state.lock();
        self.remove(&mut state, session);
        state.sessions.is_empty()
    }

    fn remove(&self, state: &mut State, session: SessionId) {
        let Some(Local { peer, moving, .. }) = state.sessions.remove(&session) else { return };
        let gone = RosterChange::PeerGone(peer.clone(), session);
        match state.arriving.remove(&peer) {
            // It was to take another's place, and does not.
            Some(entry) if entry.session == session => {
                self.own_change(state, gone.clone());
                self.tell_home(HostMessage::Change(gone));
            }
            // Its place is taken, here.
            Some(entry) if entry.from == Some(session) => {
                self.context.workers.accounts().settle(entry.session);
                let entry = PeerEntry { from: None, ..entry };
                if !entry.joined {
                    // Nobody knows it yet: to them the peer is gone until it joins.
                    self.own_change(state, gone);
                    self.own_change(state, RosterChange::Peer(entry));
                    return;
                }
                self.tell_home(HostMessage::Change(gone));
                let made = state.own.apply(RosterChange::PeerMoved(entry));
                publish(state, &RosterIndex::default(), made);
            }
            other => {
                if let Some(entry) = other {
                    state.arriving.insert(peer.clone(), entry);
                }
                let known = state.own.peers.get(&peer).filter(|entry| entry.session == session).cloned();
                let elsewhere = state.others.session(&peer);
                let is_elsewhere = elsewhere.is_some_and(|other| other > session);
                match known.filter(|_| moving || is_elsewhere) {
                    // It is elsewhere already, or the home will say whether it is or is gone.
                    Some(entry) => {
                        let mut made = state.own.apply(gone.clone());
                        made.retain(|change| *change != gone);
                        for change in &made {
                            self.tell_home(HostMessage::Change(change.clone()));
                        }
                        self.tell_home(HostMessage::Change(gone));
                        publish(state, &RosterIndex::default(), made);
                        if !is_elsewhere {
                            state.others.peers.insert(peer, entry);
                        }
                    }
                    None => self.own_change(state, gone),
                }
            }
        }
    }

    /// A peer joins: others hear of it, and from now on it hears of the others. Answers who and what is there. `None`
    /// when the session is no longer the peer's.
    pub fn join(
        &self,
        session: SessionId,
        display_name: String,
        device: Device,
    ) -> Option<(Vec<PeerInfo>, Roster)> {
        let mut state = self.state.lock();
        let peer = state.sessions.get(&session)?.peer.clone();
        let known = state.own.peers.get(&peer).into_iter().chain(state.arriving.get(&peer));
        let entry = known.into_iter().find(|entry| entry.session == session)?.clone();
        if let Some(local) = state.sessions.get_mut(&session) {
            local.joined = true;
        }
        let entry = PeerEntry { joined: true, display_name, device, ..entry };
        if entry.from.is_some() {
            state.arriving.insert(peer.clone(), entry.clone());
            self.tell_home(HostMessage::Change(RosterChange::Peer(entry)));
        } else {
            self.own_change(&mut state, RosterChange::Peer(entry));
        }
        let others = |entry: &&PeerEntry| entry.joined && entry.peer != peer;
        let peers =
            state.own.peers.values().chain(state.others.peers.values()).filter(others).map(info).collect();
        let mut roster = state.own.snapshot();
        roster.producers.extend(state.others.producers.values().cloned());
        roster.data_producers.extend(state.others.data_producers.values().cloned());
        roster.producers.retain(|entry| entry.peer != peer);
        roster.data_producers.retain(|entry| entry.peer != peer);
        Some((peers, roster))
    }

    /// A change by one of the host's own sessions: the others here and the home hear of it.
    pub fn change(&self, change: RosterChange) {
        self.own_change(&mut self.state.lock(), change);
    }

    /// A new name for a peer of the host's.
    pub fn rename(&self, session: SessionId, display_name: String) {
        let mut state = self.state.lock();
        let entry = state.sessions.get(&session).and_then(|local| state.own.peers.get(&local.peer));
        if let Some(entry) = entry.filter(|entry| entry.session == session).cloned() {
            self.own_change(&mut state, RosterChange::Peer(PeerEntry { display_name, ..entry }));
        }
    }

    /// Observes an audio producer of the host's for who speaks.
    ///
    /// # Errors
    /// When the producer is gone.
    pub async fn observe(&self, worker: u16, producer: &ProducerId) -> Result<(), MediaError> {
        self.stage(worker).await?.observer.add(producer).await
    }

    /// Says something to the room's home.
    pub fn tell_home(&self, message: HostMessage) {
        if self.outbox.try_send(message).is_err() {
            self.behind.store(true, Ordering::Release);
        }
    }

    /// Whether something was lost on the way to the home.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }

    /// What was lost until now is made up for.
    pub(super) fn caught_up(&self) {
        self.behind.store(false, Ordering::Release);
    }

    /// All that the home has to know.
    pub(super) fn snapshot(&self) -> HostMessage {
        let mut roster = {
            let state = self.state.lock();
            let mut roster = state.own.snapshot();
            // After those whose place they are to take.
            roster.peers.extend(state.arriving.values().cloned());
            roster
        };
        roster.peers.sort_by_key(|entry| entry.from.is_some());
        HostMessage::Snapshot { roster, pipes: self.pipes.list(), options: self.options }
    }

    /// The worker that passes on another node's producers to this node, where it does not get them from there.
    pub(super) fn relay(&self, origin: &NodeId) -> Option<WorkerAddress> {
        self.state.lock().relays.get(origin).cloned()
    }

    /// Whether a connection is to take the place of an older one of its peer and has not yet. Until then what it sends
    /// goes to nobody, where there is no room for both: the others still receive the same from the older one.
    pub fn is_arriving(&self, peer: &PeerId, session: SessionId) -> bool {
        let state = self.state.lock();
        let counts = state.own.session(peer).max(state.others.session(peer));
        counts.is_some_and(|counts| counts < session)
    }

    /// Whether everyone is passed on what a peer sends of a kind; not so in a room that passes on the latest and the loudest
    /// only, unless the peer is one of those.
    pub fn passes(&self, kind: MediaKind, peer: &PeerId) -> bool {
        self.state.lock().forward.as_ref().is_none_or(|forward| match kind {
            MediaKind::Video => forward.video.contains(peer),
            MediaKind::Audio => forward.audio.contains(peer),
        })
    }

    /// Ends sessions, at most `most`, with this close code and reason. Answers how many.
    pub fn send_away(&self, most: usize, code: u16, reason: &str) -> usize {
        let mut state = self.state.lock();
        let sessions: Vec<_> = state.sessions.keys().copied().take(most).collect();
        sessions.iter().for_each(|session| close(&mut state, *session, code, reason));
        sessions.len()
    }

    /// A session does not move after all.
    pub fn stay(&self, session: SessionId) {
        if let Some(local) = self.state.lock().sessions.get_mut(&session) {
            local.moving = false;
        }
        self.tell_home(HostMessage::MoveRefused(session));
    }

    /// What all rooms of the host share.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What a peer of the room may do.
    pub fn role(&self, peer: &PeerId) -> Option<Role> {
        let state = self.state.lock();
        state.own.peers.get(peer).or_else(|| state.others.peers.get(peer)).map(|entry| entry.role)
    }

    /// Whether a peer is in the room.
    pub fn has_peer(&self, peer: &PeerId) -> bool {
        let state = self.state.lock();
        state.own.peers.contains_key(peer) || state.others.peers.contains_key(peer)
    }

    /// A producer of the room, wherever it is.
    pub fn producer(&self, id: &ProducerId) -> Option<ProducerEntry> {
        let state = self.state.lock();
        state.own.producers.get(id).or_else(|| state.others.producers.get(id)).cloned()
    }

    /// A data producer of the host's own peers.
    pub fn own_data_producer(&self, id: &DataProducerId) -> Option<DataProducerEntry> {
        self.state.lock().own.data_producers.get(id).cloned()
    }

    /// The pipes that end here, each one producer to one worker.
    pub fn arrivals(&self) -> Vec<skein_proto::rpc::PipeEntry> {
        self.pipes.list()
    }

    /// What an observer heard. Answers what to tell the home.
    pub(super) fn heard(&self, heard: Heard) -> Vec<Speaker> {
        let mut state = self.state.lock();
        let speakers: Vec<_> = heard
            .loudest
            .into_iter()
            .filter_map(|(producer, volume)| {
                let peer = state.own.producers.get(&producer)?.peer.clone();
                Some(Speaker { peer, volume })
            })
            .collect();
        state.speakers.insert(heard.worker, speakers);
        let mut all: Vec<_> = state.speakers.values().flatten().cloned().collect();
        all.sort_by_key(|speaker| std::cmp::Reverse(speaker.volume));
        all
    }

    /// What the home said.
    pub(super) fn hear_home(&self, message: HomeMessage) {
        let mut state = self.state.lock();
        match message {
            HomeMessage::Roster { mut roster, settling } => {
                roster.peers.retain(|entry| !is_outdated(&state, entry));
                roster.peers.iter().for_each(|entry| self.give_way(&mut state, entry));
                let before = state.others.clone();
                let made = state.others.replace(roster, settling);
                publish(&mut state, &before, made);
            }
            HomeMessage::Change(RosterChange::Peer(entry)) if is_outdated(&state, &entry) => {}
            HomeMessage::Change(RosterChange::PeerGone(peer, session)) => {
                // With it go older connections of which it was to take the place.
                let known = state.others.session(&peer).filter(|known| *known < session);
                for session in [Some(session), known].into_iter().flatten() {
                    others_change(&mut state, RosterChange::PeerGone(peer.clone(), session));
                }
            }
            HomeMessage::Change(change) => {
                if let RosterChange::Peer(entry) = &change {
                    self.give_way(&mut state, entry);
                }
                others_change(&mut state, change);
            }
            HomeMessage::Speaker(speaker) => {
                broadcast(&mut state, None, &RoomEvent::Speaker(speaker));
            }
            HomeMessage::CloseSession { session, code, reason } => close(&mut state, session, code, &reason),
            HomeMessage::Move { session, token, host, seconds, reason } => {
                if let Some(local) = state.sessions.get_mut(&session)
                    && let Some(events) = &local.events
                {
                    local.moving = true;
                    let endpoints = Vec::new();
                    let asked = Move { token, seconds, host, reason, endpoints };
                    let _ = events.try_send(RoomEvent::Move(asked));
                }
            }
            HomeMessage::Arrived(session) => self.arrived(&mut state, session),
            HomeMessage::Role(peer, role) => {
                if let Some(entry) = state.own.peers.get(&peer).filter(|entry| entry.role != role).cloned() {
                    self.own_change(&mut state, RosterChange::Peer(PeerEntry { role, ..entry }));
                }
                if let Some(entry) = state.arriving.get_mut(&peer) {
                    entry.role = role;
                }
                let event = RoomEvent::Role(peer.clone(), role);
                // Its own connections hear of it also before they have joined.
                for local in state.sessions.values().filter(|local| local.peer == peer && !local.joined) {
                    if let Some(events) = &local.events {
                        let _ = events.try_send(event.clone());
                    }
                }
                broadcast(&mut state, None, &event);
            }
            HomeMessage::Relays(relays) => state.relays = relays.into_iter().collect(),
            HomeMessage::Forward(forward) => {
                state.forward = Some(forward.clone());
                broadcast(&mut state, None, &RoomEvent::Forward(forward));
            }
            HomeMessage::NotHome(_) => {}
        }
    }

    /// A peer that has a connection here has connected again elsewhere: the one here, which the home ends, is gone before
    /// the other is there.
    fn give_way(&self, state: &mut State, entry: &PeerEntry) {
        if let Some(own) = state.own.session(&entry.peer).filter(|own| *own < entry.session) {
            self.own_change(state, RosterChange::PeerGone(entry.peer.clone(), own));
        }
    }

    /// A session has the place that it came to take.
    fn arrived(&self, state: &mut State, session: SessionId) {
        let peer =
            state.arriving.values().find(|entry| entry.session == session).map(|entry| entry.peer.clone());
        let Some(entry) = peer.and_then(|peer| state.arriving.remove(&peer)) else { return };
        // The connection before it was elsewhere: what that sent is gone by the home's word, and the peer is here now.
        state.others.peers.remove(&entry.peer);
        self.context.workers.accounts().settle(session);
        let made = state.own.apply(RosterChange::PeerMoved(PeerEntry { from: None, ..entry }));
        publish(state, &RosterIndex::default(), made);
    }

    fn own_change(&self, state: &mut State, change: RosterChange) {
        let before = state.own.clone_for(&change);
        let made = state.own.apply(change);
        for change in &made {
            self.tell_home(HostMessage::Change(change.clone()));
        }
        publish(state, &before, made);
    }
}
