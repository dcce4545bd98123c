//! `fixed-room`: the classic balancer. A room reserves what it will need when it is full, when it begins.
//!
//! A room goes whole to the fullest node on which it fits; one that fits nowhere spills over: its seats are reserved on
//! several nodes, the freest first, together with the pipes between them. A join takes one of the room's seats and is
//! refused when none is left. A room that could not reserve all its seats tries again whenever somebody finds none.
//! What is reserved is held until the room's last peer leaves, however few are in it.
//!
//! Assumed here: a seat's streams are one audio and one video from every other publisher; in a conference everybody
//! publishes, on a stage 8 do, or 4 where it has more than 1,000 seats, and they may sit on any part of it.
//! Reservations count packets, since what is reserved meets that limit first. Figures are live, so that nothing is
//! reserved twice.

use super::ledger::Ledger;
use super::policy::{AUDIO, Media, MeshSpec, Mode, Outcome, PeerKey, Policy, RoomSpec, Sample, VIDEO};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// How many publish on a stage.
const ON_STAGE: u64 = 8;
/// How many publish on a large one: fewer, since each of them is sent to so many.
const ON_LARGE_STAGE: u64 = 4;
/// A stage with more seats is large.
const LARGE: u64 = 1_000;
/// What one publisher costs each of those who receive it: packets a second.
const PUBLISHER: u64 = AUDIO.packets + VIDEO.packets;

/// What a room that is full needs.
#[derive(Debug, Clone, Copy)]
struct Full {
    seats: u64,
    publishers: u64,
}

impl Full {
    fn of(room: &RoomSpec) -> Self {
        let seats = u64::from(room.size.max(1));
        let on_stage = if seats > LARGE { ON_LARGE_STAGE } else { ON_STAGE };
        let publishers = if room.mode == Mode::Stage { seats.min(on_stage) } else { seats };
        Self { seats, publishers }
    }

    /// What a part with so many seats needs in a room of so many parts.
    fn packets(&self, seats: u64, parts: u64) -> u64 {
        let own = seats.min(self.publishers) * PUBLISHER;
        let received = seats * self.publishers * PUBLISHER - own;
        // One who is alone in the smallest room still sends to the node.
        (received + own * (parts - 1)).max(own.min(PUBLISHER))
    }

    /// How many seats fit into so many packets, in a room of so many parts.
    fn seats_within(&self, packets: u64, parts: u64) -> u64 {
        let (mut fits, mut too_many) = (0, self.seats + 1);
        while too_many - fits > 1 {
            let middle = fits.midpoint(too_many);
            if self.packets(middle, parts) <= packets {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        fits
    }
}

/// A room's seats on one node.
#[derive(Debug, Clone, Copy)]
struct Block {
    node: u32,
    seats: u64,
    taken: u64,
    packets: u64,
}

#[derive(Debug)]
struct Room {
    full: Full,
    blocks: Vec<Block>,
}

impl Room {
    fn free_seat(&self) -> Option<usize> {
        self.blocks.iter().position(|block| block.taken < block.seats)
    }

    fn seats(&self) -> u64 {
        self.blocks.iter().map(|block| block.seats).sum()
    }
}

/// Rooms that reserve their full size.
#[derive(Debug)]
pub struct FixedRoom {
    ledger: Ledger,
    rooms: HashMap<u32, Room>,
    /// What each node has not reserved, in packets a second.
    free: Vec<u64>,
    /// The nodes in the order of it.
    order: BTreeSet<(u64, u32)>,
    last_overloads: bool,
}

impl FixedRoom {
    /// Over an empty mesh.
    pub fn new(mesh: &MeshSpec) -> Self {
        let free = vec![mesh.node().packets; mesh.nodes as usize];
        let order = (0..mesh.nodes).map(|node| (mesh.node().packets, node)).collect();
        Self { ledger: Ledger::new(mesh), rooms: HashMap::new(), free, order, last_overloads: false }
    }

    /// Makes one for the simulator. Nothing here is random.
    pub fn make(mesh: &MeshSpec, _: u64) -> Box<dyn Policy + Send> {
        Box::new(Self::new(mesh))
    }

    fn set_free(&mut self, node: u32, packets: u64) {
        let free = &mut self.free[node as usize];
        self.order.remove(&(*free, node));
        *free = packets;
        self.order.insert((packets, node));
    }

    fn take(&mut self, node: u32, packets: u64) {
        self.set_free(node, self.free[node as usize].saturating_sub(packets));
    }

    /// Reserves the seats of a room that begins: all on one node, or else on as few as have them.
    fn begin(&mut self, full: Full) -> Vec<Block> {
        let whole = full.packets(full.seats, 1);
        if let Some(&(_, node)) = self.order.range((whole, 0)..).next() {
            self.take(node, whole);
            return vec![Block { node, seats: full.seats, taken: 0, packets: whole }];
        }
        let (mut most, mut best) = (0, Vec::new());
        for parts in 2..=self.free.len() as u64 {
            let offers = self.offers(full, parts);
            let (count, seats) = (offers.len() as u64, offers.iter().map(|&(_, seats)| seats).sum::<u64>());
            if seats > most {
                (most, best) = (seats, offers);
            }
            // More parts only help while each of them has seats.
            if most >= full.seats || count < parts {
                break;
            }
        }
        let (parts, mut left) = (best.len() as u64, full.seats);
        let mut blocks = Vec::new();
        for (node, seats) in best {
            let seats = seats.min(left);
            left -= seats;
            let packets = full.packets(seats, parts);
            self.take(node, packets);
            blocks.push(Block { node, seats, taken: 0, packets });
        }
        blocks
    }

    /// How many seats the freest nodes have for a room of so many parts.
    fn offers(&self, full: Full, parts: u64) -> Vec<(u32, u64)> {
        let freest = self.order.iter().rev().take(parts as usize);
        let seats = freest.map(|&(free, node)| (node, full.seats_within(free, parts)));
        seats.take_while(|&(_, seats)| seats > 0).collect()
    }

    /// Reserves another seat for a room that does not have all of its own.
    fn extend(&mut self, room: &mut Room) {
        let Full { seats, publishers } = room.full;
        let (full, parts) = (room.full, room.blocks.len() as u64);
        let missing = seats.saturating_sub(room.seats());
        if missing == 0 {
            return;
        }
        for block in &mut room.blocks {
            let packets = full.packets(block.seats + 1, parts);
            if packets - block.packets <= self.free[block.node as usize] {
                self.take(block.node, packets - block.packets);
                (block.seats, block.packets) = (block.seats + 1, packets);
                return;
            }
        }
        let used = |node: u32| room.blocks.iter().any(|block| block.node == node);
        let Some(&(free, node)) = self.order.iter().rev().find(|&&(_, node)| !used(node)) else { return };
        let new = full.seats_within(free, parts + 1).min(missing);
        let pipe = |block: &Block| block.seats.min(publishers) * PUBLISHER;
        if new == 0 || room.blocks.iter().any(|block| pipe(block) > self.free[block.node as usize]) {
            return;
        }
        for block in &mut room.blocks {
            let more = block.seats.min(publishers) * PUBLISHER;
            self.take(block.node, more);
            block.packets += more;
        }
        let packets = full.packets(new, parts + 1);
        self.take(node, packets);
        room.blocks.push(Block { node, seats: new, taken: 0, packets });
    }
}

impl Policy for FixedRoom {
    fn name(&self) -> &'static str {
        "fixed-room"
    }

    fn advance(&mut self, _: Duration) {}

    fn join(&mut self, _: Duration, spec: &RoomSpec, peer: PeerKey, media: Media) -> Outcome {
        let mut room = match self.rooms.remove(&peer.room) {
            Some(room) => room,
            None => {
                let full = Full::of(spec);
                Room { full, blocks: self.begin(full) }
            }
        };
        if room.blocks.is_empty() {
            return Outcome::Refused { reason: "no node has seats for a new room" };
        }
        if room.free_seat().is_none() {
            self.extend(&mut room);
        }
        let seat = room.free_seat();
        if let Some(block) = seat.and_then(|seat| room.blocks.get_mut(seat)) {
            block.taken += 1;
            self.ledger.add(peer, media, block.node);
            self.last_overloads = self.ledger.is_over(block.node);
        }
        self.rooms.insert(peer.room, room);
        match seat {
            Some(_) => Outcome::Admitted { waited: Duration::ZERO },
            None => Outcome::Refused { reason: "the room has no seat left" },
        }
    }

    fn leave(&mut self, _: Duration, peer: PeerKey) {
        let Some(node) = self.ledger.remove(peer) else { return };
        let Some(room) = self.rooms.get_mut(&peer.room) else { return };
        if let Some(block) = room.blocks.iter_mut().find(|block| block.node == node) {
            block.taken = block.taken.saturating_sub(1);
        }
        if room.blocks.iter().all(|block| block.taken == 0)
            && let Some(room) = self.rooms.remove(&peer.room)
        {
            for block in room.blocks {
                self.set_free(block.node, self.free[block.node as usize] + block.packets);
            }
        }
    }

    fn change(&mut self, _: Duration, peer: PeerKey, media: Media) {
        self.ledger.change(peer, media);
    }

    fn sample(&self) -> Sample {
        self.ledger.sample()
    }

    fn last_join_overloads(&self) -> Option<bool> {
        Some(self.last_overloads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(policy: &mut FixedRoom, size: u32, room: u32, peer: u32) -> bool {
        let spec = RoomSpec { mode: Mode::Conference, size };
        let outcome = policy.join(Duration::ZERO, &spec, PeerKey { room, peer }, Media::BOTH);
        matches!(outcome, Outcome::Admitted { .. })
    }

    #[test]
    fn a_room_holds_its_full_size_however_few_are_in_it() {
        // A node carries 40 streams, 6,800 packets; a full room of 5 needs 5 × 4 × 220 = 4,400.
        let mut policy = FixedRoom::new(&MeshSpec::of_streams(2, 1, 40));
        assert!(join(&mut policy, 5, 1, 0));
        assert!(join(&mut policy, 5, 2, 0));
        assert!(policy.sample().spent < 500, "next to nothing is spent");
        assert_ne!(policy.ledger.parts(1)[0].node, policy.ledger.parts(2)[0].node);
        // 2,400 are left on each: 2 seats of a room of 5 in two parts need 2 × 4 × 220 + 2 × 220 = 2,200.
        assert!(join(&mut policy, 5, 3, 0));
        assert_eq!(policy.rooms[&3].seats(), 4);
        assert!(!join(&mut policy, 5, 4, 0), "nothing is left to reserve");

        policy.leave(Duration::ZERO, PeerKey { room: 1, peer: 0 });
        assert!(join(&mut policy, 5, 4, 0), "what was reserved is free when the room ends");
    }

    #[test]
    fn a_room_that_fits_nowhere_whole_spills_over() {
        let mut policy = FixedRoom::new(&MeshSpec::of_streams(3, 1, 40));
        // Whole it needs 8 × 7 × 220 = 12,320. In two parts a node has 3 seats of 8 × 220, pipes among them; in three
        // also, with a pipe more.
        assert!((0..8).all(|peer| join(&mut policy, 8, 1, peer)));
        assert!(!join(&mut policy, 8, 1, 8), "it has no ninth seat");
        assert_eq!(policy.ledger.parts(1).len(), 3);
        let sample = policy.sample();
        assert!(sample.piped > 0);
        assert_eq!(sample.over, 0, "what is reserved suffices");
        for peer in 0..8 {
            policy.leave(Duration::ZERO, PeerKey { room: 1, peer });
        }
        assert_eq!(policy.free, [6_800; 3]);
    }
}
