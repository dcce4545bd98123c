//! What a host knows of a room, and what its sessions hear of it.

use super::super::roster::RosterIndex;
use skein_proto::ids::{DataProducerId, NodeId, PeerId, ProducerId, SessionId, WorkerAddress};
use skein_proto::rpc::{DataProducerEntry, Forward, PeerEntry, ProducerEntry, RosterChange, Speaker};
use skein_proto::signaling::{Move, PeerInfo, Role};
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// What a session hears of its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomEvent {
    /// Somebody joined.
    PeerJoined(PeerInfo),
    /// Somebody left.
    PeerLeft(PeerId),
    /// Somebody's newer connection has the place of the one before.
    PeerMoved(PeerId),
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
    /// Somebody, perhaps the session's own peer, may do something else.
    Role(PeerId, Role),
    /// Whose media is forwarded.
    Forward(Forward),
    /// The session is to move to another host.
    Move(Move),
    /// The session ends.
    Close {
        /// WebSocket close code.
        code: u16,
        /// For people.
        reason: String,
    },
}

#[derive(Default)]
pub(super) struct State {
    pub(super) sessions: BTreeMap<SessionId, Local>,
    pub(super) own: RosterIndex,
    pub(super) others: RosterIndex,
    /// Connections that are to take the place of others of their peers, here or elsewhere.
    pub(super) arriving: BTreeMap<PeerId, PeerEntry>,
    pub(super) speakers: BTreeMap<u16, Vec<Speaker>>,
    pub(super) relays: BTreeMap<NodeId, WorkerAddress>,
    pub(super) forward: Option<Forward>,
}

pub(super) struct Local {
    pub(super) peer: PeerId,
    pub(super) joined: bool,
    /// Whether it was asked to move: its end is then no news before the home says what became of the peer.
    pub(super) moving: bool,
    /// None once it fell behind.
    pub(super) events: Option<mpsc::Sender<RoomEvent>>,
}

impl RosterIndex {
    /// As much of the roster as [`publish`] needs to tell what a change means.
    pub(super) fn clone_for(&self, change: &RosterChange) -> Self {
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
pub(super) fn is_outdated(state: &State, entry: &PeerEntry) -> bool {
    state.own.session(&entry.peer).is_some_and(|own| own > entry.session)
}

pub(super) fn info(entry: &PeerEntry) -> PeerInfo {
    PeerInfo {
        id: entry.peer.clone(),
        display_name: entry.display_name.clone(),
        device: entry.device.clone(),
    }
}

/// Tells the sessions here what changes of a roster mean to them. `before` has the peers as they were.
pub(super) fn publish(state: &mut State, before: &RosterIndex, made: Vec<RosterChange>) {
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
            RosterChange::PeerMoved(entry) => (Some(entry.peer.clone()), RoomEvent::PeerMoved(entry.peer)),
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

/// Something changed elsewhere: the sessions here hear of it.
pub(super) fn others_change(state: &mut State, change: RosterChange) {
    let before = state.others.clone_for(&change);
    let made = state.others.apply(change);
    publish(state, &before, made);
}

/// Tells all sessions that have joined, but not those of the peer that it is about.
pub(super) fn broadcast(state: &mut State, about: Option<&PeerId>, event: &RoomEvent) {
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

pub(super) fn close(state: &mut State, session: SessionId, code: u16, reason: &str) {
    if let Some(events) = state.sessions.get(&session).and_then(|local| local.events.as_ref()) {
        let _ = events.try_send(RoomEvent::Close { code, reason: reason.to_owned() });
    }
}
