//! `skein`: what the mesh's nodes do, by their own code: rooms' homes decide with [`HomeRoom`], [`Search`] and what gossip
//! says ([`Field`](skein_node::placement::field::Field)); hosts grant or refuse by their books ([`Ledger`](skein_node::placement::ledger::Ledger)).
//!
//! What is simulated is what lies between: gossip that is late, clients whose media begins when they are admitted, moves
//! that take a while, and the media itself, which costs what [`Layout`] says. A node says small changes of its capacity
//! every 500 ms and large ones at once; others hear of it 200 ms later. Homes know nothing but that: what a host
//! answered one home, no home remembers here, although a node's home does.

mod hosts;
mod place;

use super::policy::{AUDIO, Media, MeshSpec, Mode, Outcome, PeerKey, Policy, RoomSpec, Sample, VIDEO};
use hosts::Hosts;
use rand::SeedableRng;
use rand::rngs::StdRng;
use skein_node::placement::layout::{Costs, Layout};
use skein_node::room::home::{Better, Cause, HomeRoom};
use skein_proto::capacity::Sends;
use skein_proto::ids::{NodeId, PeerId, ProducerId, RoomId, SessionId, WorkerAddress};
use skein_proto::room::{RoomMode, RoomOptions, RoomWish};
use skein_proto::rpc::{HostMessage, Json, PeerEntry, ProducerEntry, RosterChange};
use skein_proto::signaling::{Device, MediaKind, Role};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// What the node's configuration has.
const FAN_OUT: usize = 8;
const MOVES_AT_ONCE: usize = 4;
/// How large rooms are that do not say it, as in the node's configuration. The simulator knows how large a room will
/// be; nodes are not told.
const SIZE: u32 = 500;

/// How long a join waits for a place, as in the node's configuration.
const WAIT: Duration = Duration::from_secs(5);

/// How long it takes to ask hosts and hear their answers.
const ASK: Duration = Duration::from_millis(2);
/// How long a client takes to move.
const MOVE: Duration = Duration::from_millis(1500);
/// How often rooms on several workers are looked at.
const BALANCE: Duration = Duration::from_secs(2);

/// How often a peer that was promoted asks again whether it may send.
const ASK_AGAIN: Duration = Duration::from_secs(20);

struct Seat {
    session: SessionId,
    at: WorkerAddress,
    role: Role,
    media: Media,
    /// What its host says that it sends: from where it moves to, before that reaches anybody.
    says: Media,
}

impl Seat {
    /// What the peer sends, as its host tells the home. Somebody who may send has both producers; what it does not send
    /// is paused.
    fn producers(&self, peer: u32) -> [ProducerEntry; 2] {
        let producer = |kind, cost, sends: bool| ProducerEntry {
            id: ProducerId(format!("{}-{kind}", self.session.admitted_ms)),
            peer: name(format!("p{peer}")),
            session: self.session,
            host: self.at.clone(),
            kind,
            sends: Sends { all: cost, one: cost },
            paused: !sends,
            quiet: false,
            app_data: Json::new(&()).expect("null is JSON"),
        };
        [
            producer(MediaKind::Audio, AUDIO, self.says.sends_audio()),
            producer(MediaKind::Video, VIDEO, self.says.sends_video()),
        ]
    }
}

struct Room {
    home: HomeRoom,
    /// Which node is its home.
    home_at: usize,
    peers: HashMap<u32, Seat>,
    truth: Layout,
    costs: Costs,
    delivered: u64,
    /// Of producers that nobody consumes.
    lonely: u64,
    spent: u64,
    hosts: HashMap<usize, u32>,
    /// When it is looked at next for whether it could lie better, where it is to be.
    looks_at: Option<Instant>,
}

/// The mesh.
pub struct Skein {
    start: Instant,
    now: Instant,
    hosts: Hosts,
    rooms: HashMap<u32, Room>,
    /// Rooms that may lie better, by when they are looked at. Only those are that are on several workers or on a crowded
    /// one; homes look at all, and find nothing for the others.
    looks: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Which rooms each worker has.
    on: HashMap<WorkerAddress, BTreeSet<u32>>,
    /// Which rooms have more of each worker than can go anywhere at once.
    sizeable: HashMap<WorkerAddress, BTreeSet<u32>>,
    /// Peers that were promoted, and may not send yet.
    waiting: BTreeMap<PeerKey, Media>,
    balance_at: Instant,
    ask_again_at: Instant,
    rng: StdRng,
    sessions: u64,
    delivered: u64,
    lonely: u64,
    spent: u64,
    moves: u64,
    overloads: bool,
}

/// Makes the policy.
pub fn make(spec: &MeshSpec, seed: u64) -> Box<dyn Policy + Send> {
    Box::new(Skein::new(spec, seed))
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(name: String) -> T {
    name.parse().expect("made of letters and digits")
}

fn sends(media: Media) -> Sends {
    Sends { all: media.cost(), one: media.cost() }
}

impl Skein {
    fn new(spec: &MeshSpec, seed: u64) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            hosts: Hosts::new(spec, start),
            rooms: HashMap::new(),
            looks: BinaryHeap::new(),
            on: HashMap::new(),
            sizeable: HashMap::new(),
            waiting: BTreeMap::new(),
            balance_at: start + BALANCE,
            ask_again_at: start,
            rng: StdRng::seed_from_u64(seed),
            sessions: 0,
            delivered: 0,
            lonely: 0,
            spent: 0,
            moves: 0,
            overloads: false,
        }
    }

    /// Charges the hosts what the room's media costs now.
    fn charge(&mut self, key: u32) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        let id: RoomId = name(format!("r{key}"));
        room.truth.go_as(room.home.layout());
        let after = room.truth.costs();
        let before = std::mem::replace(&mut room.costs, after.clone());
        let peers = room.truth.peers();
        let total: u64 = after.values().map(|cost| cost.packets).sum();
        let delivered = room.truth.sends().one.packets * peers.saturating_sub(1);
        self.delivered = self.delivered + delivered - room.delivered;
        self.spent = self.spent + total - room.spent;
        let lonely = if peers == 1 { total } else { 0 };
        self.lonely = self.lonely + lonely - room.lonely;
        (room.delivered, room.lonely, room.spent) = (delivered, lonely, total);
        let places: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
        for at in places {
            let (was, is) =
                (before.get(&at).copied().unwrap_or_default(), after.get(&at).copied().unwrap_or_default());
            if was == is {
                continue;
            }
            self.overloads |= self.hosts.charge(&id, &at, was, is, self.now);
            if is.packets > self.hosts.field.sizeable() {
                self.sizeable.entry(at).or_default().insert(key);
            } else if let Some(rooms) = self.sizeable.get_mut(&at) {
                rooms.remove(&key);
            }
        }
        for at in before.keys().filter(|at| !after.contains_key(*at)) {
            if let Some(rooms) = self.on.get_mut(at) {
                rooms.remove(&key);
            }
        }
        let mut looks = false;
        for at in after.keys().filter(|at| !before.contains_key(*at)) {
            looks |= after.len() > 1 || self.hosts.crowded.contains(at);
            self.on.entry(at.clone()).or_default().insert(key);
        }
        if looks {
            self.look_later(key);
        }
    }

    /// A room is to be looked at for whether it could lie better, as soon as its home would.
    fn look_later(&mut self, key: u32) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        let at = room.home.looks_at().unwrap_or(self.now);
        if room.looks_at.is_none_or(|known| at < known) {
            room.looks_at = Some(at);
            self.looks.push(Reverse((at, key)));
        }
    }

    /// The rooms whose turn it is to be looked at.
    fn take_due(&mut self) -> BTreeSet<u32> {
        for at in std::mem::take(&mut self.hosts.crowded_lately) {
            for key in self.on.get(&at).cloned().unwrap_or_default() {
                self.look_later(key);
            }
        }
        let mut due = BTreeSet::new();
        while self.looks.peek().is_some_and(|Reverse((at, _))| *at <= self.now)
            && let Some(Reverse((at, key))) = self.looks.pop()
        {
            let Some(room) = self.rooms.get_mut(&key).filter(|room| room.looks_at == Some(at)) else {
                continue;
            };
            room.looks_at = None;
            if room.costs.len() > 1 || room.costs.keys().any(|at| self.hosts.crowded.contains(at)) {
                due.insert(key);
            }
        }
        due.extend(self.hosts.overloaded.iter().filter_map(|at| self.on.get(at)).flatten());
        due.extend(self.hosts.crowded.iter().filter_map(|at| self.sizeable.get(at)).flatten());
        due
    }

    fn session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId { admitted_ms: self.sessions, nonce: 0 }
    }

    /// What a host tells the home.
    fn tell(&mut self, key: u32, host: &NodeId, message: HostMessage) {
        let now = self.now;
        if let Some(room) = self.rooms.get_mut(&key) {
            room.home.hear(host, message, now);
        }
    }

    /// A client's media begins on a host.
    fn arrive(&mut self, key: u32, peer: u32, seat: Seat, from: Option<SessionId>) {
        let index = self.hosts.index(&seat.at);
        let Some(room) = self.rooms.get_mut(&key) else { return };
        let id: PeerId = name(format!("p{peer}"));
        let host = seat.at.node.clone();
        let count = room.hosts.entry(index).or_default();
        *count += 1;
        if *count == 1 {
            room.home.attach(&host);
        }
        let entry = PeerEntry {
            peer: id.clone(),
            session: seat.session,
            host: seat.at.clone(),
            display_name: String::new(),
            device: Device::default(),
            joined: true,
            role: seat.role,
            skein: true,
            from,
        };
        let _ = room.truth.add(&seat.at, sends(seat.media));
        let producers = seat.role.may_publish().then(|| seat.producers(peer));
        room.peers.insert(peer, seat);
        self.tell(key, &host, HostMessage::Change(RosterChange::Peer(entry)));
        for producer in producers.into_iter().flatten() {
            self.tell(key, &host, HostMessage::Change(RosterChange::Producer(producer)));
        }
        self.charge(key);
    }

    /// What a client that has moved sends reaches the others.
    fn speak_up(&mut self, key: u32, peer: u32, at: &WorkerAddress, media: Media) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        let Some(seat) = room.peers.get_mut(&peer) else { return };
        let before = std::mem::replace(&mut seat.media, media);
        let _ = room.truth.send(at, sends(before), sends(media));
        self.charge(key);
    }

    /// A client's media ends on a host.
    fn depart(&mut self, key: u32, peer: u32, seat: &Seat) {
        let host = seat.at.node.clone();
        let gone = RosterChange::PeerGone(name(format!("p{peer}")), seat.session);
        self.tell(key, &host, HostMessage::Change(gone));
        let index = self.hosts.index(&seat.at);
        let Some(room) = self.rooms.get_mut(&key) else { return };
        room.truth.remove(&seat.at, sends(seat.media));
        let count = room.hosts.entry(index).or_default();
        *count = count.saturating_sub(1);
        if *count == 0 {
            room.hosts.remove(&index);
            room.home.detach(&host);
            self.hosts.forget(index, &name(format!("r{key}")));
        }
    }

    fn balance(&mut self) {
        if self.now >= self.ask_again_at {
            self.ask_again_at = self.now + ASK_AGAIN;
            for (key, media) in self.waiting.clone() {
                self.change(Duration::ZERO, key, media);
            }
        }
        for key in self.take_due() {
            self.better(key);
            self.look_later(key);
        }
    }

    /// Moves a room's peers to where they had better be.
    fn better(&mut self, key: u32) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&key) else { return };
        if !room.home.looks(&self.hosts.field, now) {
            return;
        }
        room.home.tick(now);
        match room.home.better(&self.hosts.field, true, MOVES_AT_ONCE, now, &mut self.rng) {
            Some(Better::Move(shifts)) => {
                self.shift(key, &shifts, Cause::BETTER, false);
            }
            Some(Better::Clear { at, packets, then, otherwise }) => {
                let leaves = then.first().map(|shift| shift.from.clone());
                if packets == 0 || self.make_way(key, &at, packets, leaves.as_ref(), false) {
                    self.shift(key, &then, Cause::BETTER, true);
                } else {
                    self.shift(key, &otherwise, Cause::BETTER, false);
                }
            }
            None => {}
        }
    }

    fn open(&mut self, key: u32, spec: &RoomSpec) {
        let mode = match spec.mode {
            Mode::Conference => RoomMode::Conference,
            Mode::Stage => RoomMode::Stage,
            Mode::OneToOne => RoomMode::OneToOne,
        };
        let size = if mode == RoomMode::OneToOne { 2 } else { spec.size.max(SIZE) };
        let options = RoomOptions { mode, size, guaranteed: false, last_n: 0 };
        let mut home = HomeRoom::new(name(format!("r{key}")), options, FAN_OUT, false, self.now);
        home.agree(&RoomWish::default(), &options, u32::MAX).expect("the simulator's options are good");
        let room = Room {
            home,
            home_at: key as usize % self.hosts.len(),
            peers: HashMap::new(),
            truth: Layout::new(FAN_OUT),
            costs: Costs::new(),
            delivered: 0,
            lonely: 0,
            spent: 0,
            hosts: HashMap::new(),
            looks_at: None,
        };
        self.rooms.insert(key, room);
    }

    fn close_if_empty(&mut self, key: u32) {
        if self.rooms.get(&key).is_some_and(|room| room.peers.is_empty())
            && let Some(room) = self.rooms.remove(&key)
        {
            self.hosts.typical(room.home_at).ended(room.home.peak());
        }
    }
}

impl Policy for Skein {
    fn name(&self) -> &'static str {
        "skein"
    }

    fn patience(&self) -> Duration {
        WAIT
    }

    fn advance(&mut self, now: Duration) {
        let until = self.start + now;
        loop {
            let gossip = self.hosts.next_gossip();
            let next = gossip.map_or(self.balance_at, |due| due.min(self.balance_at));
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if Some(next) == gossip {
                self.hosts.hear_until(next, self.now);
            } else {
                self.balance_at = next + BALANCE;
                self.balance();
            }
        }
        self.now = self.now.max(until);
    }

    fn join(&mut self, _now: Duration, spec: &RoomSpec, key: PeerKey, media: Media) -> Outcome {
        if !self.rooms.contains_key(&key.room) {
            self.open(key.room, spec);
        }
        let id: PeerId = name(format!("p{}", key.peer));
        let session = self.session();
        let role = if media.publishes { Role::Publish } else { Role::Listen };
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&key.room) else { return Outcome::Refused { reason: "no room" } };
        room.home.tick(now);
        if room.home.expect(&id, session, now).is_err() {
            return Outcome::Refused { reason: "room full" };
        }
        let (place, waited) = self.place(key.room, &id, session, role);
        let Some(room) = self.rooms.get_mut(&key.room) else { return Outcome::Refused { reason: "no room" } };
        match place {
            Some(at) => {
                room.home.admitted(&id, session, None);
                let seat = Seat { session, at, role, media, says: media };
                // Only what the newcomer brings counts, not what it takes to have others leave.
                self.overloads = false;
                self.arrive(key.room, key.peer, seat, None);
                let overloads = self.overloads;
                self.better(key.room);
                self.overloads = overloads;
                Outcome::Admitted { waited }
            }
            None => {
                room.home.refused(&id, session);
                self.close_if_empty(key.room);
                Outcome::Refused { reason: "mesh full" }
            }
        }
    }

    fn leave(&mut self, _now: Duration, key: PeerKey) {
        let Some(seat) = self.rooms.get_mut(&key.room).and_then(|room| room.peers.remove(&key.peer)) else {
            return;
        };
        self.waiting.remove(&key);
        self.depart(key.room, key.peer, &seat);
        self.charge(key.room);
        self.close_if_empty(key.room);
    }

    fn change(&mut self, _now: Duration, key: PeerKey, media: Media) {
        let Some(room) = self.rooms.get_mut(&key.room) else { return };
        let Some(seat) = room.peers.get_mut(&key.peer) else { return };
        let (before, after) = (sends(seat.media), sends(media));
        let (at, session, host) = (seat.at.clone(), seat.session, seat.at.node.clone());
        let promoted = media.publishes && !seat.role.may_publish();
        let demoted = !media.publishes && seat.role.may_publish();
        let full = sends(Media { publishes: true, audio: true, video: true });
        // Who is promoted asks before it sends, and asks again until it may.
        self.waiting.remove(&key);
        if promoted && !self.may_publish(key.room, session, full) {
            self.waiting.insert(key, media);
            return;
        }
        let Some(room) = self.rooms.get_mut(&key.room) else { return };
        let Some(seat) = room.peers.get_mut(&key.peer) else { return };
        (seat.media, seat.says) = (media, media);
        if promoted || demoted {
            seat.role = if promoted { Role::Publish } else { Role::Listen };
        }
        let producers = seat.producers(key.peer);
        let _ = room.truth.send(&at, before, after);
        for producer in producers.into_iter().filter(|_| media.publishes || demoted) {
            let change = if demoted {
                RosterChange::ProducerGone(producer.id)
            } else {
                RosterChange::Producer(producer)
            };
            self.tell(key.room, &host, HostMessage::Change(change));
        }
        self.charge(key.room);
    }

    fn sample(&self) -> Sample {
        Sample {
            delivered: self.delivered,
            piped: self.spent.saturating_sub(self.delivered + self.lonely),
            spent: self.spent,
            highest_node: self.hosts.highest(),
            moves: self.moves,
            over: self.hosts.over(),
        }
    }

    fn last_join_overloads(&self) -> Option<bool> {
        Some(self.overloads)
    }
}
