//! A roster, indexed, and what a change of it means to those who watch. Pure.

use skein_proto::ids::{DataProducerId, NodeId, PeerId, ProducerId, SessionId};
use skein_proto::rpc::{DataProducerEntry, PeerEntry, ProducerEntry, Roster, RosterChange};
use std::collections::BTreeMap;

/// A roster by name. Applying a change twice changes nothing more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RosterIndex {
    /// All peers.
    pub peers: BTreeMap<PeerId, PeerEntry>,
    /// All producers.
    pub producers: BTreeMap<ProducerId, ProducerEntry>,
    /// All data producers.
    pub data_producers: BTreeMap<DataProducerId, DataProducerEntry>,
}

impl RosterIndex {
    /// Applies a change. Answers the changes that it really made, in an order in which they make sense one by one: a
    /// peer goes after what it sends, and comes again where its session is another.
    pub fn apply(&mut self, change: RosterChange) -> Vec<RosterChange> {
        match change {
            RosterChange::Peer(entry) => self.put_peer(entry),
            RosterChange::PeerGone(peer, session) => match self.peers.get(&peer) {
                Some(known) if known.session == session => {
                    let mut made = self.take_producers(&peer, session);
                    self.peers.remove(&peer);
                    made.push(RosterChange::PeerGone(peer, session));
                    made
                }
                // Of a connection that was on its way to take another's place only what it sent is known.
                _ => self.take_producers(&peer, session),
            },
            RosterChange::PeerMoved(entry) => {
                if self.peers.get(&entry.peer) == Some(&entry) {
                    return Vec::new();
                }
                let mut made = match self.peers.get(&entry.peer) {
                    Some(known) if known.session != entry.session => {
                        self.take_producers(&entry.peer, known.session)
                    }
                    _ => Vec::new(),
                };
                self.peers.insert(entry.peer.clone(), entry.clone());
                made.push(RosterChange::PeerMoved(entry));
                made
            }
            RosterChange::Producer(entry) => {
                if self.producers.get(&entry.id) == Some(&entry) {
                    return Vec::new();
                }
                self.producers.insert(entry.id.clone(), entry.clone());
                vec![RosterChange::Producer(entry)]
            }
            RosterChange::ProducerGone(id) => match self.producers.remove(&id) {
                Some(_) => vec![RosterChange::ProducerGone(id)],
                None => Vec::new(),
            },
            RosterChange::DataProducer(entry) => {
                if self.data_producers.get(&entry.id) == Some(&entry) {
                    return Vec::new();
                }
                self.data_producers.insert(entry.id.clone(), entry.clone());
                vec![RosterChange::DataProducer(entry)]
            }
            RosterChange::DataProducerGone(id) => match self.data_producers.remove(&id) {
                Some(_) => vec![RosterChange::DataProducerGone(id)],
                None => Vec::new(),
            },
        }
    }

    fn put_peer(&mut self, entry: PeerEntry) -> Vec<RosterChange> {
        let mut made = Vec::new();
        match self.peers.get(&entry.peer) {
            Some(known) if *known == entry => return made,
            // What a connection says that was replaced already no longer counts.
            Some(known) if known.session > entry.session => return made,
            Some(known) if known.session != entry.session => {
                let gone = RosterChange::PeerGone(entry.peer.clone(), known.session);
                made = self.apply(gone);
            }
            _ => {}
        }
        self.peers.insert(entry.peer.clone(), entry.clone());
        made.push(RosterChange::Peer(entry));
        made
    }

    /// Takes out what a peer sends by one of its connections.
    fn take_producers(&mut self, peer: &PeerId, session: SessionId) -> Vec<RosterChange> {
        let mut made = Vec::new();
        self.producers.retain(|id, entry| {
            let stays = entry.peer != *peer || entry.session != session;
            if !stays {
                made.push(RosterChange::ProducerGone(id.clone()));
            }
            stays
        });
        self.data_producers.retain(|id, entry| {
            let stays = entry.peer != *peer || entry.session != session;
            if !stays {
                made.push(RosterChange::DataProducerGone(id.clone()));
            }
            stays
        });
        made
    }

    /// Becomes what a snapshot says. Answers the changes that it made; with `keep`, what the snapshot does not name
    /// stays.
    pub fn replace(&mut self, snapshot: Roster, keep: bool) -> Vec<RosterChange> {
        let mut made = Vec::new();
        if !keep {
            let producers: Vec<_> = self
                .producers
                .keys()
                .filter(|id| !snapshot.producers.iter().any(|entry| entry.id == **id))
                .cloned()
                .collect();
            let data_producers: Vec<_> = self
                .data_producers
                .keys()
                .filter(|id| !snapshot.data_producers.iter().any(|entry| entry.id == **id))
                .cloned()
                .collect();
            let peers: Vec<_> = self
                .peers
                .values()
                .filter(|known| !snapshot.peers.iter().any(|entry| entry.peer == known.peer))
                .map(|known| (known.peer.clone(), known.session))
                .collect();
            made.extend(producers.into_iter().flat_map(|id| self.apply(RosterChange::ProducerGone(id))));
            made.extend(
                data_producers.into_iter().flat_map(|id| self.apply(RosterChange::DataProducerGone(id))),
            );
            made.extend(
                peers
                    .into_iter()
                    .flat_map(|(peer, session)| self.apply(RosterChange::PeerGone(peer, session))),
            );
        }
        made.extend(snapshot.peers.into_iter().flat_map(|entry| self.apply(RosterChange::Peer(entry))));
        made.extend(
            snapshot.producers.into_iter().flat_map(|entry| self.apply(RosterChange::Producer(entry))),
        );
        made.extend(
            snapshot
                .data_producers
                .into_iter()
                .flat_map(|entry| self.apply(RosterChange::DataProducer(entry))),
        );
        made
    }

    /// All of it.
    pub fn snapshot(&self) -> Roster {
        Roster {
            peers: self.peers.values().cloned().collect(),
            producers: self.producers.values().cloned().collect(),
            data_producers: self.data_producers.values().cloned().collect(),
        }
    }

    /// What the hosts other than `host` have, and only of peers that have joined: what `host` is to know.
    pub fn without(&self, host: &NodeId) -> Roster {
        Roster {
            peers: self.peers.values().filter(|p| p.joined && p.host.node != *host).cloned().collect(),
            producers: self.producers.values().filter(|p| p.host.node != *host).cloned().collect(),
            data_producers: self.data_producers.values().filter(|p| p.host.node != *host).cloned().collect(),
        }
    }

    /// The session of a peer.
    pub fn session(&self, peer: &PeerId) -> Option<SessionId> {
        self.peers.get(peer).map(|entry| entry.session)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use skein_proto::capacity::Sends;
    use skein_proto::ids::WorkerAddress;
    use skein_proto::rpc::Json;
    use skein_proto::signaling::{Device, MediaKind, Role};

    pub fn host(node: &str) -> WorkerAddress {
        WorkerAddress { node: node.parse().expect("a name"), worker: 0 }
    }

    pub fn session(age: u64) -> SessionId {
        SessionId { admitted_ms: age, nonce: 0 }
    }

    pub fn peer(name: &str, age: u64, node: &str, joined: bool) -> PeerEntry {
        PeerEntry {
            peer: name.parse().expect("a name"),
            session: session(age),
            host: host(node),
            display_name: name.to_owned(),
            device: Device::default(),
            joined,
            role: Role::Publish,
            skein: true,
            from: None,
        }
    }

    pub fn producer(id: &str, of: &str, node: &str) -> ProducerEntry {
        ProducerEntry {
            id: ProducerId(id.to_owned()),
            peer: of.parse().expect("a name"),
            session: session(1),
            host: host(node),
            kind: MediaKind::Audio,
            sends: Sends::NOTHING,
            paused: false,
            quiet: false,
            app_data: Json::new(&serde_json::json!({})).expect("JSON"),
        }
    }

    #[test]
    fn a_change_made_twice_is_made_once() {
        let mut roster = RosterIndex::default();
        let change = RosterChange::Peer(peer("p", 1, "n1", true));
        assert_eq!(roster.apply(change.clone()).len(), 1);
        assert!(roster.apply(change).is_empty());
        assert_eq!(roster.apply(RosterChange::PeerGone("p".parse().expect("a name"), session(1))).len(), 1);
        assert!(roster.apply(RosterChange::PeerGone("p".parse().expect("a name"), session(1))).is_empty());
    }

    #[test]
    fn a_newer_session_takes_the_peers_producers_with_it() {
        let mut roster = RosterIndex::default();
        roster.apply(RosterChange::Peer(peer("p", 1, "n1", true)));
        roster.apply(RosterChange::Producer(producer("a", "p", "n1")));
        let made = roster.apply(RosterChange::Peer(peer("p", 2, "n2", true)));
        assert!(matches!(made[0], RosterChange::ProducerGone(_)), "{made:?}");
        assert!(matches!(made[1], RosterChange::PeerGone(..)), "{made:?}");
        assert!(matches!(made[2], RosterChange::Peer(_)), "{made:?}");
        // The end of the old session comes late and changes nothing.
        assert!(roster.apply(RosterChange::PeerGone("p".parse().expect("a name"), session(1))).is_empty());
        assert!(roster.apply(RosterChange::Peer(peer("p", 1, "n1", true))).is_empty());
    }

    #[test]
    fn a_settling_home_takes_nothing_away() {
        let mut roster = RosterIndex::default();
        roster.apply(RosterChange::Peer(peer("p", 1, "n1", true)));
        assert!(roster.replace(Roster::default(), true).is_empty());
        assert_eq!(roster.replace(Roster::default(), false).len(), 1);
    }
}
