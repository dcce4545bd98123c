//! A room at its home. Pure: what comes in and the time go in, what to tell which host comes out.
//!
//! | module | what it is |
//! | --- | --- |
//! | this one | the roster: what hosts say, and what the others hear of it |
//! | [`seating`] | who is admitted, as what, and what that needs where |
//! | [`moves`] | peers that go from one host to another |
//! | [`leave`] | who leaves a node that drains |
//! | [`floor`] | who speaks, and whose media is forwarded |
//! | [`report`] | the room as operators see it |

pub mod floor;
pub mod leave;
pub mod moves;
mod report;
pub mod seating;
#[cfg(test)]
mod tests;

use super::roster::RosterIndex;
use crate::placement::estimate;
use crate::placement::seats::Seats;
use floor::Floor;
use moves::Plan;
pub use moves::{Better, Cause};
use skein_proto::capacity::Sends;
use skein_proto::ids::{NodeId, PeerId, RoomId, SessionId, WorkerAddress};
use skein_proto::room::{RoomMode, RoomOptions};
use skein_proto::rpc::{HomeMessage, HostMessage, PeerEntry, PipeEntry, Roster, RosterChange};
use skein_proto::signaling::{CLOSE_FOR_GOOD, Role};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// How long an admitted session may take to show up at its host.
const PENDING_LIFE: Duration = Duration::from_secs(10);
/// How long a home that took over waits to hear of the connection whose place a newer one of the same peer is to take.
const ORPHANED: Duration = Duration::from_secs(2);
/// How long a home that took over waits for the other hosts to announce themselves. A host notices a dead home within
/// the QUIC idle timeout of 3 s.
pub const SETTLING: Duration = Duration::from_secs(5);

/// What to tell which host.
pub type Told = Vec<(NodeId, HomeMessage)>;

#[derive(Debug, Default)]
struct HostPart {
    pipes: BTreeSet<(String, WorkerAddress, WorkerAddress)>,
    /// What it was told last of relays; none where it may still go by what another home told it.
    relays: Option<Vec<(NodeId, WorkerAddress)>>,
}

#[derive(Debug)]
struct Pending {
    session: SessionId,
    until: Instant,
}

/// A room at its home.
#[derive(Debug)]
pub struct HomeRoom {
    id: RoomId,
    options: RoomOptions,
    /// Whether somebody who should know said what the room is like.
    options_known: bool,
    roster: RosterIndex,
    /// Connections that are to take the place of others of the same peers.
    arriving: BTreeMap<PeerId, PeerEntry>,
    hosts: BTreeMap<NodeId, HostPart>,
    pending: HashMap<PeerId, Pending>,
    seats: Seats,
    relays_told: u64,
    roles: BTreeMap<PeerId, Role>,
    plans: BTreeMap<PeerId, Plan>,
    /// When peers were last asked to move.
    moved: HashMap<PeerId, Instant>,
    /// The same, where it was only to have a room lie better.
    balanced: HashMap<PeerId, Instant>,
    floor: Floor,
    /// How many peers there were when it was looked at last for whether it lies well.
    peers_then: usize,
    peak: usize,
    /// Whether somebody came since the room was last looked at for whether it lies well.
    grew: bool,
    /// When to look at that again, where nothing better was found.
    look_at: Option<Instant>,
    /// How often in a row nothing was found.
    in_vain: u32,
    leaving: leave::Leaving,
    settling_until: Option<Instant>,
    /// Until when connections that are to take the place of others that nobody has announced yet wait for those.
    orphans_until: Option<Instant>,
}

impl HomeRoom {
    /// A room with nobody in it. `settling` says that other hosts may have peers in it that they have yet to announce;
    /// `fan_out` is how many other nodes one node sends a producer to at most.
    pub fn new(id: RoomId, options: RoomOptions, fan_out: usize, settling: bool, now: Instant) -> Self {
        let mut room = Self {
            id,
            options,
            options_known: false,
            roster: RosterIndex::default(),
            arriving: BTreeMap::new(),
            hosts: BTreeMap::new(),
            pending: HashMap::new(),
            seats: Seats::new(fan_out),
            relays_told: 0,
            roles: BTreeMap::new(),
            plans: BTreeMap::new(),
            moved: HashMap::new(),
            balanced: HashMap::new(),
            floor: Floor::default(),
            peers_then: 0,
            peak: 0,
            grew: false,
            look_at: None,
            in_vain: 0,
            leaving: leave::Leaving::default(),
            settling_until: settling.then(|| now + SETTLING),
            orphans_until: None,
        };
        room.set_options(options);
        room.options_known = false;
        room
    }

    /// It is home again after another was for a moment: what hosts said to that is not known here.
    pub fn settle(&mut self, now: Instant) {
        self.settling_until = Some(now + SETTLING);
        self.orphans_until = None;
    }

    fn set_options(&mut self, options: RoomOptions) {
        self.options = options;
        self.options_known = true;
        if let Some(most) = floor::most_forwarded(&options) {
            self.seats.limit(most);
        }
        if options.mode == RoomMode::Stage {
            // Whoever comes before the first speaker will receive one.
            self.seats.foresee(estimate::peer().one);
        }
    }

    /// What the room is like.
    pub fn options(&self) -> &RoomOptions {
        &self.options
    }

    /// Whether nobody is in it or on the way.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.pending.is_empty()
    }

    /// The most peers that it had at once.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// Time passes.
    pub fn tick(&mut self, now: Instant) -> Told {
        let late: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, p)| p.until <= now)
            .map(|(peer, p)| (peer.clone(), p.session))
            .collect();
        for (peer, session) in late {
            self.refused(&peer, session);
        }
        self.seats.tick(now);
        self.tick_moves(now);
        let mut told = Vec::new();
        let settled = self.settling_until.is_some_and(|until| until <= now);
        if settled {
            // What has not been announced by now is not there.
            self.orphans_until = self.orphans_until.map(|_| now);
        }
        self.adopt(now, &mut told);
        told.extend(self.relay_changes());
        if settled {
            self.settling_until = None;
            self.orphans_until = None;
            told.extend(self.hosts.keys().map(|host| (host.clone(), self.roster_for(host))));
            let _ = self.floor.refresh(&self.options, &self.roster, &self.hosts);
            for message in self.floor.introduce(&self.options, false) {
                told.extend(self.hosts.keys().map(|host| (host.clone(), message.clone())));
            }
        }
        told
    }

    fn roster_for(&self, host: &NodeId) -> HomeMessage {
        HomeMessage::Roster { roster: self.roster.without(host), settling: self.settling_until.is_some() }
    }

    /// A host opened its stream, or opened another one in place of it.
    pub fn attach(&mut self, host: &NodeId) -> Told {
        self.hosts.entry(host.clone()).or_default().relays = None;
        self.relays_told = u64::MAX;
        let mut told = vec![(host.clone(), self.roster_for(host))];
        let settling = self.settling_until.is_some();
        told.extend(
            self.floor.introduce(&self.options, settling).into_iter().map(|message| (host.clone(), message)),
        );
        told.extend(self.relay_changes());
        told
    }

    /// A host's stream ended: what it had is gone.
    pub fn detach(&mut self, host: &NodeId) -> Told {
        self.hosts.remove(host);
        let mut told = Vec::new();
        let gone: Vec<_> = self
            .arriving
            .values()
            .chain(self.roster.peers.values())
            .filter(|entry| entry.host.node == *host)
            .map(|entry| (entry.peer.clone(), entry.session))
            .collect();
        for (peer, session) in gone {
            self.peer_gone(host, &peer, session, &mut told);
        }
        told.extend(self.floor.silence(host, &self.options, &self.roster, &self.hosts));
        told.extend(self.relay_changes());
        told
    }

    /// A host said something.
    pub fn hear(&mut self, host: &NodeId, message: HostMessage, now: Instant) -> Told {
        let mut told = Vec::new();
        match message {
            HostMessage::Snapshot { roster, pipes, options } => {
                if !self.options_known {
                    self.set_options(options);
                }
                self.replace(host, roster, now, &mut told);
                if let Some(part) = self.hosts.get_mut(host) {
                    part.pipes = pipes.into_iter().map(key).collect();
                }
            }
            HostMessage::Change(change) => self.change(host, change, now, &mut told),
            HostMessage::PipeUp(pipe) => {
                if let Some(part) = self.hosts.get_mut(host) {
                    part.pipes.insert(key(pipe));
                }
            }
            HostMessage::PipeDown(pipe) => {
                if let Some(part) = self.hosts.get_mut(host) {
                    part.pipes.remove(&key(pipe));
                }
            }
            HostMessage::Speakers(speakers) => {
                told = self.floor.hear(host, speakers, &self.options, &self.roster, &self.hosts);
            }
            HostMessage::Kick(peer) => {
                let connections = self.roster.peers.get(&peer).into_iter().chain(self.arriving.get(&peer));
                told.extend(connections.map(|entry| for_good(entry, "sent away by a moderator")));
            }
            HostMessage::CloseRoom => {
                let everyone = self.roster.peers.values().chain(self.arriving.values());
                told.extend(everyone.map(|entry| for_good(entry, "room closed by a moderator")));
            }
            HostMessage::SetRole(peer, role) => told = self.set_role(peer, role, now),
            HostMessage::MoveRefused(session) => self.move_refused(session),
            // Its stream ends, which is not for the room to judge.
            HostMessage::Elsewhere => {}
        }
        if self.options.last_n > 0 && self.settling_until.is_none() {
            told.extend(self.floor.refresh(&self.options, &self.roster, &self.hosts));
        }
        told.extend(self.relay_changes());
        told
    }

    /// All that a host has, in place of what was known of it. What others have is not for it to say.
    fn replace(&mut self, host: &NodeId, snapshot: Roster, now: Instant, told: &mut Told) {
        let sessions: BTreeSet<_> = snapshot.peers.iter().map(|entry| entry.session).collect();
        let gone: Vec<_> = self
            .arriving
            .values()
            .chain(self.roster.peers.values())
            .filter(|entry| entry.host.node == *host && !sessions.contains(&entry.session))
            .map(|entry| RosterChange::PeerGone(entry.peer.clone(), entry.session))
            .collect();
        let producers: BTreeSet<_> = snapshot.producers.iter().map(|entry| &entry.id).collect();
        let is_gone = |entry: &&skein_proto::rpc::ProducerEntry| {
            entry.host.node == *host && !producers.contains(&entry.id)
        };
        let gone_producers: Vec<_> =
            self.roster.producers.values().filter(is_gone).map(|p| p.id.clone()).collect();
        let data: BTreeSet<_> = snapshot.data_producers.iter().map(|entry| &entry.id).collect();
        let is_gone = |entry: &&skein_proto::rpc::DataProducerEntry| {
            entry.host.node == *host && !data.contains(&entry.id)
        };
        let gone_data: Vec<_> =
            self.roster.data_producers.values().filter(is_gone).map(|p| p.id.clone()).collect();
        let changes = gone
            .into_iter()
            .chain(gone_producers.into_iter().map(RosterChange::ProducerGone))
            .chain(gone_data.into_iter().map(RosterChange::DataProducerGone))
            .chain(snapshot.peers.into_iter().map(RosterChange::Peer))
            .chain(snapshot.producers.into_iter().map(RosterChange::Producer))
            .chain(snapshot.data_producers.into_iter().map(RosterChange::DataProducer));
        for change in changes {
            self.change(host, change, now, told);
        }
    }

    fn change(&mut self, host: &NodeId, change: RosterChange, now: Instant, told: &mut Told) {
        match &change {
            RosterChange::Peer(entry) => {
                if entry.host.node == *host {
                    self.peer(host, entry.clone(), now, told);
                }
                return;
            }
            RosterChange::PeerGone(peer, session) => {
                let is_its = |entry: &PeerEntry| entry.session == *session && entry.host.node == *host;
                let known =
                    self.roster.peers.get(peer).into_iter().chain(self.arriving.get(peer)).any(is_its);
                if known {
                    self.peer_gone(host, peer, *session, told);
                }
                return;
            }
            // A producer counts while its peer's connection is the host's: not after a newer one took the peer elsewhere.
            RosterChange::Producer(entry) => {
                if entry.host.node != *host || !self.is_at(&entry.peer, entry.session, host) {
                    return;
                }
                // What is paused costs nothing now. On a stage, whose audience grows by it, it is about to go on.
                let is_off = entry.paused && self.options.mode != RoomMode::Stage;
                let sends = if is_off { Sends::NOTHING } else { entry.sends };
                self.seats.send(&entry.session, &entry.id, sends);
            }
            RosterChange::DataProducer(entry) => {
                if entry.host.node != *host || !self.is_at(&entry.peer, entry.session, host) {
                    return;
                }
            }
            RosterChange::ProducerGone(id) => {
                if let Some(session) = self.seats.sender(id) {
                    self.seats.send(&session, id, Sends::NOTHING);
                }
            }
            RosterChange::DataProducerGone(_) => {}
            // What became of a move is for the home to say.
            RosterChange::PeerMoved(_) => return,
        }
        let made = self.roster.apply(change);
        self.tell_others(host, made, told);
    }

    /// A peer's connection came or changed.
    fn peer(&mut self, host: &NodeId, mut entry: PeerEntry, now: Instant, told: &mut Told) {
        let (peer, session) = (entry.peer.clone(), entry.session);
        if self.pending.get(&peer).is_some_and(|pending| pending.session <= session) {
            self.pending.remove(&peer);
        }
        if entry.from.is_some() {
            let is_orphan = !self.roster.peers.contains_key(&peer) && self.is_orphan(now);
            match self.roster.peers.get(&peer) {
                _ if is_orphan => {
                    let _ = self.seats.sit_quietly(session, &peer, &entry.host, Sends::NOTHING, now);
                    self.arriving.insert(peer, entry);
                    return;
                }
                Some(old) if Some(old.session) == entry.from => {
                    let _ = self.seats.sit_quietly(session, &peer, &entry.host, Sends::NOTHING, now);
                    if let Some(other) = self.arriving.insert(peer, entry).filter(|o| o.session != session) {
                        // It tried more than once: the last one counts.
                        told.push(superseded(&other));
                        self.seats.stand_up(&other.session);
                    }
                    return;
                }
                // The one that it was to take the place of is gone already: it has it.
                _ => {
                    entry.from = None;
                    told.push((host.clone(), HomeMessage::Arrived(session)));
                }
            }
        }
        match self.roster.peers.get(&peer) {
            // The newest session wins, whichever is heard of first.
            Some(known) if known.session > session => {
                told.push(superseded(&entry));
                return;
            }
            Some(known) if known.session < session => {
                told.push(superseded(known));
                let old = known.session;
                self.seats.stand_up(&old);
                if let Some(arriving) = self.arriving.remove(&peer).filter(|other| other.session != session) {
                    told.push(superseded(&arriving));
                    self.seats.stand_up(&arriving.session);
                }
            }
            _ => {}
        }
        if self.seats.get(&session).is_none_or(|seat| seat.at != entry.host) {
            // A room too wide for it was refused at the door; who is there is there.
            let _ = self.seats.sit(session, &peer, &entry.host, Sends::NOTHING, now);
        }
        self.seats.speak_up(&session);
        let made = self.roster.apply(RosterChange::Peer(entry));
        self.grew |= self.roster.peers.len() > self.peers_then;
        self.peak = self.peak.max(self.roster.peers.len());
        self.tell_others(host, made, told);
    }

    /// Whether a connection whose older one nobody has announced waits for that: the two hosts of a peer that moves do not
    /// reach a new home in the same instant.
    fn is_orphan(&mut self, now: Instant) -> bool {
        self.settling_until.is_some() && now < *self.orphans_until.get_or_insert(now + ORPHANED)
    }

    /// What has waited for an older connection for so long has its place.
    fn adopt(&mut self, now: Instant, told: &mut Told) {
        if self.orphans_until.is_none_or(|until| until > now) {
            return;
        }
        let is_orphan = |entry: &&PeerEntry| !self.roster.peers.contains_key(&entry.peer);
        let orphans: Vec<_> = self.arriving.values().filter(is_orphan).cloned().collect();
        for entry in orphans {
            self.arriving.remove(&entry.peer);
            let host = entry.host.node.clone();
            self.peer(&host, entry, now, told);
        }
    }

    /// A peer's connection ended. If another one was there to take its place, it has it now.
    fn peer_gone(&mut self, host: &NodeId, peer: &PeerId, session: SessionId, told: &mut Told) {
        self.seats.stand_up(&session);
        let is_known = self.roster.session(peer) == Some(session);
        let made = match self.arriving.remove(peer) {
            Some(arriving) if is_known && arriving.session != session => {
                self.plans.remove(peer);
                self.seats.speak_up(&arriving.session);
                let entry = PeerEntry { from: None, ..arriving };
                let node = entry.host.node.clone();
                let arrived = (node.clone(), HomeMessage::Arrived(entry.session));
                if !entry.joined {
                    // Nobody knows it yet: to them the peer is gone until it joins.
                    let made = self.roster.apply(RosterChange::PeerGone(peer.clone(), session));
                    self.tell_gone(host, made, told);
                    self.roster.apply(RosterChange::Peer(entry));
                    told.push(arrived);
                    return;
                }
                told.push(arrived);
                for change in self.roster.apply(RosterChange::PeerMoved(entry)) {
                    let knows = if matches!(change, RosterChange::PeerMoved(_)) { &node } else { host };
                    self.tell_others(knows, vec![change], told);
                }
                return;
            }
            Some(other) if other.session != session => {
                self.arriving.insert(peer.clone(), other);
                self.roster.apply(RosterChange::PeerGone(peer.clone(), session))
            }
            // A move that came to nothing.
            Some(_) => {
                self.plans.remove(peer);
                self.roster.apply(RosterChange::PeerGone(peer.clone(), session))
            }
            None => self.roster.apply(RosterChange::PeerGone(peer.clone(), session)),
        };
        self.tell_gone(host, made, told);
    }

    /// Tells all that a peer is gone, its own host too: had it been about to move, that waits for what became of it.
    fn tell_gone(&self, host: &NodeId, made: Vec<RosterChange>, told: &mut Told) {
        let gone = made.iter().filter(|change| matches!(change, RosterChange::PeerGone(..)));
        if self.hosts.contains_key(host) {
            told.extend(gone.map(|change| (host.clone(), HomeMessage::Change(change.clone()))));
        }
        self.tell_others(host, made, told);
    }

    /// Whether a peer has this connection at a host.
    fn is_at(&self, peer: &PeerId, session: SessionId, host: &NodeId) -> bool {
        let connections = self.roster.peers.get(peer).into_iter().chain(self.arriving.get(peer));
        connections.into_iter().any(|entry| entry.session == session && entry.host.node == *host)
    }

    fn tell_others(&self, host: &NodeId, made: Vec<RosterChange>, told: &mut Told) {
        for change in made {
            if matches!(&change, RosterChange::Peer(entry) if !entry.joined) {
                continue;
            }
            for other in self.hosts.keys().filter(|other| *other != host) {
                told.push((other.clone(), HomeMessage::Change(change.clone())));
            }
        }
    }

    /// Tells hosts from whom to get producers, where that is another than it was.
    fn relay_changes(&mut self) -> Told {
        let layout = self.seats.layout();
        if self.relays_told == layout.version() {
            return Vec::new();
        }
        self.relays_told = layout.version();
        let mut told = Vec::new();
        for (host, part) in &mut self.hosts {
            let relays: Vec<_> = layout.relays(host).into_iter().collect();
            if part.relays.as_ref() != Some(&relays) {
                part.relays = Some(relays.clone());
                told.push((host.clone(), HomeMessage::Relays(relays)));
            }
        }
        told
    }
}

fn key(pipe: PipeEntry) -> (String, WorkerAddress, WorkerAddress) {
    (pipe.producer.0, pipe.from, pipe.to)
}

fn for_good(entry: &PeerEntry, reason: &str) -> (NodeId, HomeMessage) {
    let (session, reason) = (entry.session, reason.to_owned());
    (entry.host.node.clone(), HomeMessage::CloseSession { session, code: CLOSE_FOR_GOOD, reason })
}

fn superseded(entry: &PeerEntry) -> (NodeId, HomeMessage) {
    for_good(entry, "the peer connected again elsewhere")
}
