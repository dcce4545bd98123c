//! What classic policies know of rooms and nodes, and the counting of costs that they share.
//!
//! A node is one budget here: all of its workers together. That is kinder than a real node, where a room that does not
//! fit onto one worker pays for pipes between workers, and where streams do not divide evenly. Every part of a room
//! sends its streams once to every other part.

use super::policy::{AUDIO, Media, MeshSpec, PeerKey, Sample, VIDEO};
use skein_proto::capacity::Cost;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The streams of some peers, and those who receive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many peers there are.
    pub peers: u64,
    /// How many of them send audio.
    pub audio: u64,
    /// How many of them send video.
    pub video: u64,
}

impl Tally {
    /// What one receiver of all their streams costs.
    pub fn streams(&self) -> Cost {
        AUDIO * self.audio + VIDEO * self.video
    }

    /// What it costs that these peers receive all streams of their room but their own.
    pub fn receive(&self, room: &Self) -> Cost {
        (room.streams() * self.peers).saturating_sub(self.streams())
    }

    /// One peer more.
    pub fn add(&mut self, media: Media) {
        self.peers += 1;
        self.audio += u64::from(media.sends_audio());
        self.video += u64::from(media.sends_video());
    }

    /// One peer less.
    pub fn remove(&mut self, media: Media) {
        self.peers -= 1;
        self.audio -= u64::from(media.sends_audio());
        self.video -= u64::from(media.sends_video());
    }
}

/// The part of a room that one node hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The node.
    pub node: u32,
    /// Its peers of this room; at least one.
    pub tally: Tally,
}

#[derive(Debug, Default)]
struct Room {
    all: Tally,
    parts: Vec<Part>,
}

/// Who is where, and what it costs.
#[derive(Debug)]
pub struct Ledger {
    budget: Cost,
    nodes: Vec<Cost>,
    rooms: HashMap<u32, Room>,
    peers: HashMap<PeerKey, (Media, u32)>,
    delivered: u64,
    piped: u64,
    spent: u64,
    over: u64,
}

impl Ledger {
    /// Empty nodes.
    pub fn new(mesh: &MeshSpec) -> Self {
        Self {
            budget: mesh.node(),
            nodes: vec![Cost::ZERO; mesh.nodes as usize],
            rooms: HashMap::new(),
            peers: HashMap::new(),
            delivered: 0,
            piped: 0,
            spent: 0,
            over: 0,
        }
    }

    /// Puts a new peer on a node. One that is in already is moved there and sends `media`.
    pub fn add(&mut self, peer: PeerKey, media: Media, node: u32) {
        self.remove(peer);
        self.peers.insert(peer, (media, node));
        self.with_room(peer.room, |room| {
            room.all.add(media);
            match room.parts.iter_mut().find(|part| part.node == node) {
                Some(part) => part.tally.add(media),
                None => {
                    let mut tally = Tally::default();
                    tally.add(media);
                    room.parts.push(Part { node, tally });
                }
            }
        });
    }

    /// Takes a peer away, and says on which node it was.
    pub fn remove(&mut self, peer: PeerKey) -> Option<u32> {
        let (media, node) = self.peers.remove(&peer)?;
        self.with_room(peer.room, |room| {
            room.all.remove(media);
            if let Some(at) = room.parts.iter().position(|part| part.node == node) {
                room.parts[at].tally.remove(media);
                if room.parts[at].tally.peers == 0 {
                    room.parts.remove(at);
                }
            }
        });
        Some(node)
    }

    /// A peer sends something else than before.
    pub fn change(&mut self, peer: PeerKey, media: Media) {
        if let Some(&(_, node)) = self.peers.get(&peer) {
            self.add(peer, media, node);
        }
    }

    /// The nodes that host peers of a room, in the order in which they came to it.
    pub fn parts(&self, room: u32) -> &[Part] {
        self.rooms.get(&room).map_or(&[], |room| &room.parts)
    }

    /// What a node spends.
    pub fn node(&self, node: u32) -> Cost {
        self.nodes.get(node as usize).copied().unwrap_or_default()
    }

    /// What every node may spend.
    pub const fn budget(&self) -> Cost {
        self.budget
    }

    /// Which part of its budget a node spends: the larger of packets and bits. 1 is full.
    pub fn load(&self, node: u32) -> f64 {
        let spent = self.node(node);
        let packets = spent.packets as f64 / self.budget.packets.max(1) as f64;
        packets.max(spent.bits as f64 / self.budget.bits.max(1) as f64)
    }

    /// Whether a node spends more than it may.
    pub fn is_over(&self, node: u32) -> bool {
        !self.node(node).fits(self.budget)
    }

    /// How many peers there are.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// What all nodes spend.
    pub fn sample(&self) -> Sample {
        Sample {
            delivered: self.delivered,
            piped: self.piped,
            spent: self.spent,
            highest_node: self.nodes.iter().map(|spent| spent.packets).max().unwrap_or(0),
            moves: 0,
            over: self.over,
        }
    }

    /// Changes a room and counts again what it costs. A room is made when it is new, and goes when nobody is in it.
    fn with_room(&mut self, id: u32, change: impl FnOnce(&mut Room)) {
        let mut room = match self.rooms.entry(id) {
            Entry::Occupied(room) => room.remove(),
            Entry::Vacant(_) => Room::default(),
        };
        self.count(&room, false);
        change(&mut room);
        self.count(&room, true);
        if !room.parts.is_empty() {
            self.rooms.insert(id, room);
        }
    }

    fn count(&mut self, room: &Room, add: bool) {
        let others = room.parts.len().saturating_sub(1) as u64;
        for part in &room.parts {
            let to_clients = part.tally.receive(&room.all);
            let piped = part.tally.streams() * others;
            // Nobody consumes the streams of one who is alone; they are received all the same.
            let alone = if room.all.peers == 1 { part.tally.streams().inside() } else { Cost::ZERO };
            let cost = to_clients + piped + alone;
            let node = &mut self.nodes[part.node as usize];
            let was_over = !node.fits(self.budget);
            if add {
                *node += cost;
                self.delivered += to_clients.packets;
                self.piped += piped.packets;
                self.spent += cost.packets;
            } else {
                *node = node.saturating_sub(cost);
                self.delivered -= to_clients.packets;
                self.piped -= piped.packets;
                self.spent -= cost.packets;
            }
            match (was_over, !node.fits(self.budget)) {
                (false, true) => self.over += 1,
                (true, false) => self.over -= 1,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(room: u32, peer: u32) -> PeerKey {
        PeerKey { room, peer }
    }

    #[test]
    fn two_in_a_room_cost_each_others_streams() {
        let mut ledger = Ledger::new(&MeshSpec::of_streams(2, 1, 100));
        ledger.add(key(1, 1), Media::BOTH, 0);
        let alone = ledger.sample();
        assert_eq!((alone.delivered, alone.piped, alone.spent), (0, 0, 220), "received, and sent to nobody");
        assert_eq!(ledger.node(0).bits, 0);

        ledger.add(key(1, 2), Media::BOTH, 0);
        let both = ledger.sample();
        assert_eq!((both.delivered, both.piped, both.spent), (2 * 220, 0, 2 * 220));
        assert_eq!(ledger.node(0).bits, 2 * 1_540_000);

        ledger.remove(key(1, 2));
        assert_eq!(ledger.sample(), alone);
        ledger.remove(key(1, 1));
        assert_eq!(ledger.sample(), Sample::default());
        assert!(ledger.parts(1).is_empty());
    }

    #[test]
    fn two_parts_of_a_room_pay_for_pipes() {
        let mut ledger = Ledger::new(&MeshSpec::of_streams(2, 1, 100));
        ledger.add(key(1, 1), Media::BOTH, 0);
        ledger.add(key(1, 2), Media::NOTHING, 0);
        ledger.add(key(1, 3), Media::NOTHING, 1);
        let sample = ledger.sample();
        assert_eq!((sample.delivered, sample.piped, sample.spent), (2 * 220, 220, 3 * 220));
        assert_eq!((ledger.node(0).packets, ledger.node(1).packets), (2 * 220, 220));
        ledger.change(key(1, 1), Media { video: false, ..Media::BOTH });
        assert_eq!(ledger.sample().spent, 3 * 50);
    }

    #[test]
    fn nodes_over_budget_are_counted() {
        let mut ledger = Ledger::new(&MeshSpec::of_streams(1, 1, 2));
        for peer in 0..2 {
            ledger.add(key(1, peer), Media { audio: false, ..Media::BOTH }, 0);
        }
        assert_eq!(ledger.sample().over, 0, "full is not over");
        ledger.add(key(2, 0), Media::BOTH, 0);
        assert!(ledger.is_over(0));
        assert_eq!(ledger.sample().over, 1);
        ledger.remove(key(2, 0));
        assert_eq!(ledger.sample().over, 0);
    }
}
