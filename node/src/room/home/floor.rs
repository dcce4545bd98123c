//! Who speaks in a room, and whose media is forwarded where not all is.

use super::{HostPart, Told};
use crate::placement::estimate;
use crate::room::roster::RosterIndex;
use skein_proto::capacity::{Cost, REFERENCE};
use skein_proto::ids::{NodeId, PeerId};
use skein_proto::room::RoomOptions;
use skein_proto::rpc::{Forward, HomeMessage, ProducerEntry, Speaker};
use skein_proto::signaling::MediaKind;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Of how many peers audio is forwarded in a room that does not forward all: as many as speak at once in any talk that
/// can be followed, and those who spoke last, so that they are not cut off when they go on.
const LOUDEST: usize = 5;

/// The most that one peer of a room gets at once, where not all is forwarded.
pub fn most_forwarded(options: &RoomOptions) -> Option<Cost> {
    (options.last_n > 0).then(|| REFERENCE * u64::from(options.last_n) + estimate::AUDIO * LOUDEST as u64)
}

/// Who speaks, as the room's hosts hear it.
#[derive(Debug, Default)]
pub struct Floor {
    heard: BTreeMap<NodeId, Vec<Speaker>>,
    speaker: Option<Speaker>,
    /// Who spoke, the last one first.
    order: VecDeque<PeerId>,
    forward: Forward,
}

impl Floor {
    /// Who speaks.
    pub fn speaker(&self) -> Option<&Speaker> {
        self.speaker.as_ref()
    }

    /// What a host that is new is told. While a home does not know who is there, hosts go on forwarding what they do.
    pub(super) fn introduce(&self, options: &RoomOptions, settling: bool) -> Vec<HomeMessage> {
        let speaker = self.speaker.is_some().then(|| HomeMessage::Speaker(self.speaker.clone()));
        let forward = (options.last_n > 0 && !settling).then(|| HomeMessage::Forward(self.forward.clone()));
        speaker.into_iter().chain(forward).collect()
    }

    /// A host hears these of its peers, the loudest first.
    pub(super) fn hear(
        &mut self,
        host: &NodeId,
        mut speakers: Vec<Speaker>,
        options: &RoomOptions,
        roster: &RosterIndex,
        hosts: &BTreeMap<NodeId, HostPart>,
    ) -> Told {
        speakers.truncate(LOUDEST);
        let speaks = !speakers.is_empty();
        // The quietest first, so that the loudest ends up in front.
        for speaker in speakers.iter().rev() {
            self.order.retain(|peer| *peer != speaker.peer);
            self.order.push_front(speaker.peer.clone());
        }
        self.heard.insert(host.clone(), speakers);
        self.decide(speaks, options, roster, hosts)
    }

    /// A host is gone.
    pub(super) fn silence(
        &mut self,
        host: &NodeId,
        options: &RoomOptions,
        roster: &RosterIndex,
        hosts: &BTreeMap<NodeId, HostPart>,
    ) -> Told {
        self.heard.remove(host);
        self.decide(false, options, roster, hosts)
    }

    /// One speaker for the room: the loudest of what the hosts hear. Told when it is another, and with `again` when
    /// somebody still speaks, for the volume.
    fn decide(
        &mut self,
        again: bool,
        options: &RoomOptions,
        roster: &RosterIndex,
        hosts: &BTreeMap<NodeId, HostPart>,
    ) -> Told {
        let loudest = self.heard.values().flatten().max_by_key(|speaker| speaker.volume).cloned();
        let same = loudest.as_ref().map(|s| &s.peer) == self.speaker.as_ref().map(|s| &s.peer);
        self.speaker = loudest;
        let mut told = Vec::new();
        if !same || (again && self.speaker.is_some()) {
            told.extend(hosts.keys().map(|host| (host.clone(), HomeMessage::Speaker(self.speaker.clone()))));
        }
        told.extend(self.refresh(options, roster, hosts));
        told
    }

    /// Whose media is forwarded; told when it is other peers' than before.
    pub(super) fn refresh(
        &mut self,
        options: &RoomOptions,
        roster: &RosterIndex,
        hosts: &BTreeMap<NodeId, HostPart>,
    ) -> Told {
        self.order.retain(|peer| roster.peers.contains_key(peer));
        if options.last_n == 0 {
            return Vec::new();
        }
        let forward = Forward {
            video: self.latest(MediaKind::Video, options.last_n as usize, roster),
            audio: self.latest(MediaKind::Audio, LOUDEST, roster),
        };
        if forward == self.forward {
            return Vec::new();
        }
        self.forward = forward;
        hosts.keys().map(|host| (host.clone(), HomeMessage::Forward(self.forward.clone()))).collect()
    }

    /// Those who spoke last among those who send media of a kind; where too few spoke, others by name.
    fn latest(&self, kind: MediaKind, most: usize, roster: &RosterIndex) -> Vec<PeerId> {
        let sends = |entry: &&ProducerEntry| entry.kind == kind && !entry.paused;
        let senders: BTreeSet<_> = roster.producers.values().filter(sends).map(|entry| &entry.peer).collect();
        let spoke = self.order.iter().filter(|peer| senders.contains(peer));
        let silent = senders.iter().copied().filter(|peer| !self.order.contains(peer));
        spoke.chain(silent).take(most).cloned().collect()
    }
}
