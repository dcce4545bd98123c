//! A room on a host: its own sessions and what they send, what it knows of the others', and its routers.

use super::data::DataPipes;
use super::pipes::Pipes;
use super::roster::RosterIndex;
use crate::media::{Heard, MediaError, Router, SpeakerObserver, Workers};
use crate::mesh::Mesh;
use parking_lot::Mutex;
use skein_proto::ids::{DataProducerId, NodeId, PeerId, ProducerId, RoomId, SessionId, WorkerAddress};
use skein_proto::rpc::{
    DataProducerEntry, HomeMessage, HostMessage, PeerEntry, ProducerEntry, Roster, RosterChange, SessionOpen,
    Speaker,
};
use skein_proto::signaling::{CLOSE_FOR_GOOD, Device, PeerInfo};
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many events may wait for a session. One that falls further behind is closed: its client dials again.
const EVENTS: usize = 4096;
/// How many messages may wait for the room's home; past that the host starts over with a snapshot.
const OUTBOX: usize = 4096;

/// Why a session ends when its peer has a newer one.
const SUPERSEDED: &str = "the peer connected again";

/// What a session hears of its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomEvent {
    /// Somebody joined.
    PeerJoined(PeerInfo),
    /// Somebody left.
    PeerLeft(PeerId),
    /// Somebody has another name.
    PeerRenamed {
        /// Who.
        peer: PeerId,
        /// The new name.
        to: String,
        /// The one before.
        from: String,
    },
    /// Somebody sends something, or paused or resumed it.
    Producer(ProducerEntry),
    /// It ended.
    ProducerGone(ProducerId),
    /// Somebody sends a data channel.
    DataProducer(DataProducerEntry),
    /// It ended.
    DataProducerGone(DataProducerId),
    /// Who speaks.
    Speaker(Option<Speaker>),
    /// The session ends.
    Close {
        /// WebSocket close code.
        code: u16,
        /// For people.
        reason: String,
    },
}

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
}

impl Rooms {
    /// No rooms yet.
    pub fn new(context: Context) -> Self {
        Self { context: Arc::new(context), rooms: Mutex::new(HashMap::new()) }
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
            .or_insert_with(|| HostRoom::start(Arc::clone(&self.context), open.room.clone()));
        let events = room.enter(open);
        (Arc::clone(room), events)
    }

    /// A session ended. The room ends with its last one.
    pub fn leave(&self, room: &Arc<HostRoom>, session: SessionId) {
        let mut rooms = self.rooms.lock();
        if room.leave(session) {
            room.cancel.cancel();
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

#[derive(Default)]
struct State {
    sessions: BTreeMap<SessionId, Local>,
    own: RosterIndex,
    others: RosterIndex,
    speakers: BTreeMap<u16, Speaker>,
}

struct Local {
    peer: PeerId,
    joined: bool,
    /// None once it fell behind.
    events: Option<mpsc::Sender<RoomEvent>>,
}

impl HostRoom {
    fn start(context: Arc<Context>, id: RoomId) -> Arc<Self> {
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        // An observer reports about once a second; what is lost is said again.
        let (heard, hearing) = mpsc::channel(64);
        let room = Arc::new(Self {
            id,
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
            let router = worker.create_router().await?;
            let observer = router.create_speaker_observer(self.heard.clone()).await?;
            Ok(Stage { router, observer })
        })
        .await
    }

    fn enter(&self, open: &SessionOpen) -> mpsc::Receiver<RoomEvent> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let mut state = self.state.lock();
        match state.own.session(&open.peer) {
            Some(old) if old < open.session => {
                close(&mut state, old, CLOSE_FOR_GOOD, SUPERSEDED);
                self.remove(&mut state, old);
            }
            Some(newer) if newer > open.session => {
                // Several at once, and the streams came in another order: this one ends before it began.
                let _ =
                    events.try_send(RoomEvent::Close { code: CLOSE_FOR_GOOD, reason: SUPERSEDED.to_owned() });
                return receiver;
            }
            _ => {}
        }
        state
            .sessions
            .insert(open.session, Local { peer: open.peer.clone(), joined: false, events: Some(events) });
        let entry = PeerEntry {
            peer: open.peer.clone(),
            session: open.session,
            host: WorkerAddress { node: self.node().clone(), worker: open.worker },
            display_name: String::new(),
            device: Device::default(),
            joined: false,
        };
        // What is still known of an older connection of it elsewhere, whose host may be gone, ends first: told later, it
        // would be taken for the end of this one.
        if let Some(old) = state.others.session(&open.peer).filter(|old| *old < open.session) {
            let gone = RosterChange::PeerGone(open.peer.clone(), old);
            let before = state.others.clone_for(&gone);
            let made = state.others.apply(gone);
            publish(&mut state, &before, made);
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
        if let Some(local) = state.sessions.remove(&session) {
            self.own_change(state, RosterChange::PeerGone(local.peer, session));
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
        let entry = state.own.peers.get(&peer).filter(|entry| entry.session == session)?.clone();
        if let Some(local) = state.sessions.get_mut(&session) {
            local.joined = true;
        }
        self.own_change(
            &mut state,
            RosterChange::Peer(PeerEntry { joined: true, display_name, device, ..entry }),
        );
        let others = |entry: &&PeerEntry| entry.joined && entry.peer != peer;
        let peers =
            state.own.peers.values().chain(state.others.peers.values()).filter(others).map(info).collect();
        let mut roster = state.own.snapshot();
        roster.producers.retain(|entry| entry.peer != peer);
        roster.data_producers.retain(|entry| entry.peer != peer);
        roster.producers.extend(state.others.producers.values().cloned());
        roster.data_producers.extend(state.others.data_producers.values().cloned());
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

    /// Whether something was lost on the way to the home since the last time it was asked.
    pub(super) fn take_behind(&self) -> bool {
        self.behind.swap(false, Ordering::AcqRel)
    }

    /// All that the home has to know.
    pub(super) fn snapshot(&self) -> HostMessage {
        let roster = self.state.lock().own.snapshot();
        HostMessage::Snapshot { roster, pipes: self.pipes.list() }
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
    pub(super) fn heard(&self, heard: Heard) -> Option<Speaker> {
        let mut state = self.state.lock();
        let speaker = heard.loudest.and_then(|(producer, volume)| {
            let peer = state.own.producers.get(&producer)?.peer.clone();
            Some(Speaker { peer, volume })
        });
        match speaker {
            Some(speaker) => {
                state.speakers.insert(heard.worker, speaker);
            }
            None => {
                state.speakers.remove(&heard.worker);
            }
        }
        state.speakers.values().max_by_key(|speaker| speaker.volume).cloned()
    }

    /// What the home said.
    pub(super) fn hear_home(&self, message: HomeMessage) {
        let mut state = self.state.lock();
        match message {
            HomeMessage::Roster { mut roster, settling } => {
                roster.peers.retain(|entry| !is_outdated(&state, entry));
                let before = state.others.clone();
                let made = state.others.replace(roster, settling);
                publish(&mut state, &before, made);
            }
            HomeMessage::Change(RosterChange::Peer(entry)) if is_outdated(&state, &entry) => {}
            HomeMessage::Change(change) => {
                let before = state.others.clone_for(&change);
                let made = state.others.apply(change);
                publish(&mut state, &before, made);
            }
            HomeMessage::Speaker(speaker) => {
                broadcast(&mut state, None, &RoomEvent::Speaker(speaker));
            }
            HomeMessage::CloseSession { session, code, reason } => close(&mut state, session, code, &reason),
            HomeMessage::NotHome(_) => {}
        }
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

impl RosterIndex {
    /// As much of the roster as [`publish`] needs to tell what a change means.
    fn clone_for(&self, change: &RosterChange) -> Self {
        let mut before = Self::default();
        let peer = match change {
            RosterChange::Peer(entry) => &entry.peer,
            RosterChange::PeerGone(peer, _) => peer,
            _ => return before,
        };
        before.peers.extend(self.peers.get_key_value(peer).map(|(k, v)| (k.clone(), v.clone())));
        before
    }
}

/// Whether a peer elsewhere is one that has connected here since.
fn is_outdated(state: &State, entry: &PeerEntry) -> bool {
    state.own.session(&entry.peer).is_some_and(|own| own > entry.session)
}

fn info(entry: &PeerEntry) -> PeerInfo {
    PeerInfo {
        id: entry.peer.clone(),
        display_name: entry.display_name.clone(),
        device: entry.device.clone(),
    }
}

/// Tells the sessions here what changes of a roster mean to them. `before` has the peers as they were.
fn publish(state: &mut State, before: &RosterIndex, made: Vec<RosterChange>) {
    let mut gone = Vec::new();
    for change in made {
        let (about, event) = match change {
            RosterChange::Peer(entry) => {
                let old =
                    before.peers.get(&entry.peer).filter(|old| old.joined && !gone.contains(&entry.peer));
                let event = match old {
                    _ if !entry.joined => continue,
                    None => RoomEvent::PeerJoined(info(&entry)),
                    Some(old) if old.display_name == entry.display_name => continue,
                    Some(old) => RoomEvent::PeerRenamed {
                        peer: entry.peer.clone(),
                        to: entry.display_name.clone(),
                        from: old.display_name.clone(),
                    },
                };
                (Some(entry.peer), event)
            }
            RosterChange::PeerGone(peer, _) => {
                gone.push(peer.clone());
                if !before.peers.get(&peer).is_some_and(|old| old.joined) {
                    continue;
                }
                (Some(peer.clone()), RoomEvent::PeerLeft(peer))
            }
            RosterChange::Producer(entry) => (Some(entry.peer.clone()), RoomEvent::Producer(entry)),
            RosterChange::ProducerGone(id) => (None, RoomEvent::ProducerGone(id)),
            RosterChange::DataProducer(entry) => (Some(entry.peer.clone()), RoomEvent::DataProducer(entry)),
            RosterChange::DataProducerGone(id) => (None, RoomEvent::DataProducerGone(id)),
        };
        broadcast(state, about.as_ref(), &event);
    }
}

/// Tells all sessions that have joined, but not those of the peer that it is about.
fn broadcast(state: &mut State, about: Option<&PeerId>, event: &RoomEvent) {
    for (session, local) in &mut state.sessions {
        if !local.joined || about == Some(&local.peer) {
            continue;
        }
        let full = |events: &mpsc::Sender<RoomEvent>| events.try_send(event.clone()).is_err();
        if local.events.take_if(|events| full(events)).is_some() {
            // Its queue ends here: the session sees that and closes its socket.
            tracing::warn!(%session, "a session does not keep up with its room");
        }
    }
}

fn close(state: &mut State, session: SessionId, code: u16, reason: &str) {
    if let Some(events) = state.sessions.get(&session).and_then(|local| local.events.as_ref()) {
        let _ = events.try_send(RoomEvent::Close { code, reason: reason.to_owned() });
    }
}
