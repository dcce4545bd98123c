//! A room as operators see it.

use super::HomeRoom;
use skein_proto::ids::NodeId;
use skein_proto::operator::{Pipe, RoomDataProducer, RoomDetail, RoomPeer, RoomProducer, RoomSummary};
use std::collections::{BTreeMap, BTreeSet};

impl HomeRoom {
    fn pipes(&self) -> u32 {
        self.hosts.values().map(|part| u32::try_from(part.pipes.len()).unwrap_or(u32::MAX)).sum()
    }

    /// The room in short.
    pub fn summary(&self, home: &NodeId) -> RoomSummary {
        let mut hosts = BTreeMap::new();
        for entry in self.roster.peers.values() {
            *hosts.entry(entry.host.node.clone()).or_insert(0) += 1;
        }
        RoomSummary {
            id: self.id.clone(),
            home: home.clone(),
            peers: u32::try_from(self.roster.peers.len()).unwrap_or(u32::MAX),
            hosts,
            producers: u32::try_from(self.roster.producers.len()).unwrap_or(u32::MAX),
            pipes: self.pipes(),
        }
    }

    /// The room as operators see it.
    pub fn detail(&self, home: &NodeId) -> RoomDetail {
        let roster = &self.roster;
        RoomDetail {
            id: self.id.clone(),
            home: home.clone(),
            hosts: roster
                .peers
                .values()
                .map(|p| p.host.node.clone())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            peers: roster
                .peers
                .values()
                .map(|entry| RoomPeer {
                    id: entry.peer.clone(),
                    display_name: entry.display_name.clone(),
                    device: entry.device.clone(),
                    joined: entry.joined,
                    role: entry.role,
                    host: entry.host.node.clone(),
                    worker: entry.host.worker,
                })
                .collect(),
            producers: roster
                .producers
                .values()
                .map(|entry| RoomProducer {
                    id: entry.id.clone(),
                    peer: entry.peer.clone(),
                    kind: entry.kind,
                    paused: entry.paused,
                    host: entry.host.node.clone(),
                    worker: entry.host.worker,
                })
                .collect(),
            data_producers: roster
                .data_producers
                .values()
                .map(|entry| RoomDataProducer {
                    id: entry.id.clone(),
                    peer: entry.peer.clone(),
                    label: entry.label.clone(),
                    host: entry.host.node.clone(),
                })
                .collect(),
            pipes: self
                .hosts
                .values()
                .flat_map(|part| &part.pipes)
                .map(|(producer, from, to)| Pipe {
                    room: self.id.clone(),
                    producer: skein_proto::ids::ProducerId(producer.clone()),
                    from: from.clone().into(),
                    to: to.clone().into(),
                })
                .collect(),
            options: self.options,
            speaker: self.floor.speaker().map(|speaker| speaker.peer.clone()),
        }
    }
}
