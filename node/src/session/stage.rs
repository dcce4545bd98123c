//! Who may send, and whose media is forwarded to the peer.

use super::request::{Answer, Failure, done};
use super::{End, Receiving, Session};
use skein_proto::ids::{ConsumerId, PeerId, SessionId};
use skein_proto::rpc::{HostMessage, RosterChange};
use skein_proto::signaling::{MediaKind, Notification, Role};

/// How many peers a client may pin.
const MAX_PINS: usize = 32;

impl Session {
    /// A moderator lets another send, or only listen.
    pub(super) fn set_role(&mut self, peer: PeerId, role: Role) -> Answer {
        self.moderates()?;
        match self.room.role(&peer) {
            None => return Err(Failure::missing("peerId", &peer)),
            Some(now) if now == role => {
                return Err(Failure::state(&format!("peerId: {peer} has the role {role} already")));
            }
            Some(Role::Moderate) => {
                return Err(Failure::forbidden("peerId: a moderator is neither promoted nor demoted"));
            }
            Some(_) => {}
        }
        self.room.tell_home(HostMessage::SetRole(peer, role));
        done()
    }

    /// Somebody may do something else; the peer itself, if it may only listen now, sends nothing any more.
    pub(super) async fn role_changed(&mut self, peer: PeerId, role: Role) -> Result<(), End> {
        if peer == self.open.peer {
            self.open.role = role;
            if !role.may_publish() {
                for id in self.producers.keys() {
                    self.room.change(RosterChange::ProducerGone(id.clone()));
                }
                for id in self.data_producers.keys() {
                    self.room.change(RosterChange::DataProducerGone(id.clone()));
                }
                self.producers.clear();
                self.data_producers.clear();
            }
        }
        if !self.open.skein {
            return Ok(());
        }
        self.notify(Notification::RoleChanged { peer_id: peer, role }).await
    }

    /// The client wants the video of these peers, whoever speaks.
    pub(super) async fn pin(&mut self, peers: Vec<PeerId>) -> Answer {
        if peers.len() > MAX_PINS {
            return Err(Failure::bad(format!("peerIds: are {}, and {MAX_PINS} may be pinned", peers.len())));
        }
        if let Some(missing) = peers.iter().find(|peer| !self.room.has_peer(peer)) {
            return Err(Failure::missing("peerIds", missing));
        }
        self.pins = peers.into_iter().collect();
        match self.refresh_forwarded().await {
            Ok(()) => done(),
            Err(_) => Err(Failure::state("pin: the session ends")),
        }
    }

    /// Whether the room forwards what a connection of a peer sends of a kind to this peer.
    pub(super) fn is_forwarded(&self, kind: MediaKind, peer: &PeerId, quiet: Option<SessionId>) -> bool {
        if quiet.is_some_and(|session| self.room.is_arriving(peer, session)) {
            return false;
        }
        self.passes(kind, peer)
    }

    /// Whether the room passes on to this peer what another sends of a kind.
    pub(super) fn passes(&self, kind: MediaKind, peer: &PeerId) -> bool {
        (kind == MediaKind::Video && self.pins.contains(peer)) || self.room.passes(kind, peer)
    }

    /// The consumers that are forwarded now and were not, or the other way round.
    fn forward_changes(&self) -> Vec<(ConsumerId, bool)> {
        let now = |receiving: &Receiving| self.is_forwarded(receiving.kind, &receiving.peer, receiving.quiet);
        let changed = self.consumers.iter().filter(|(_, receiving)| now(receiving) != receiving.forwarded);
        changed.map(|(id, receiving)| (id.clone(), now(receiving))).collect()
    }

    /// Says of what comes through a pipe whether it is to flow for this peer: what the client does not want now, or the room
    /// does not pass on to it, need not. What only waits for a mover to arrive flows already.
    pub(super) fn flow(&self, receiving: &Receiving) {
        if let Some(lease) = &receiving.lease {
            lease.flow(!receiving.paused_by_client && self.passes(receiving.kind, &receiving.peer));
        }
    }

    /// Pauses and resumes consumers by whose media is forwarded now, and tells the client.
    pub(super) async fn refresh_forwarded(&mut self) -> Result<(), End> {
        self.consumers.values().for_each(|receiving| self.flow(receiving));
        for (consumer_id, now) in self.forward_changes() {
            let Some(receiving) = self.consumers.get_mut(&consumer_id) else { continue };
            receiving.forwarded = now;
            if !receiving.accepted || receiving.paused_by_client {
                continue;
            }
            let done = if now { receiving.consumer.resume().await } else { receiving.consumer.pause().await };
            if let Err(error) = done {
                tracing::debug!(session = %self.open.session, consumer = %consumer_id, %error, "cannot pause or resume");
            }
            let producer_paused = receiving.consumer.producer_paused();
            self.watch_stalled(&consumer_id);
            if producer_paused {
                // It stays paused to the client, now for its sender's sake.
                continue;
            }
            self.notify(if now {
                Notification::ConsumerResumed { consumer_id }
            } else {
                Notification::ConsumerPaused { consumer_id }
            })
            .await?;
        }
        Ok(())
    }
}
