//! A room at its home. Pure: what comes in and the time go in, what to tell which host comes out.

use super::roster::RosterIndex;
use skein_proto::ids::{NodeId, PeerId, RoomId, SessionId, WorkerAddress};
use skein_proto::operator::{Pipe, RoomDataProducer, RoomDetail, RoomPeer, RoomProducer, RoomSummary};
use skein_proto::rpc::{HomeMessage, HostMessage, PipeEntry, Refusal, RosterChange, Speaker};
use skein_proto::signaling::CLOSE_FOR_GOOD;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// How long an admitted session may take to show up at its host.
const PENDING_LIFE: Duration = Duration::from_secs(10);
/// How long a home that took over waits for the other hosts to announce themselves. A host notices a dead home within
/// the QUIC idle timeout of 3 s.
pub const SETTLING: Duration = Duration::from_secs(5);

/// What to tell which host.
pub type Told = Vec<(NodeId, HomeMessage)>;

#[derive(Debug, Default)]
struct HostPart {
    pipes: BTreeSet<(String, WorkerAddress, WorkerAddress)>,
    speaker: Option<Speaker>,
}

#[derive(Debug)]
struct Pending {
    session: SessionId,
    host: Option<WorkerAddress>,
    until: Instant,
}

/// A room at its home.
#[derive(Debug)]
pub struct HomeRoom {
    id: RoomId,
    size: u32,
    roster: RosterIndex,
    hosts: BTreeMap<NodeId, HostPart>,
    pending: HashMap<PeerId, Pending>,
    settling_until: Option<Instant>,
    speaker: Option<Speaker>,
}

impl HomeRoom {
    /// A room with nobody in it. `settling` says that other hosts may have peers in it that they have yet to announce.
    pub fn new(id: RoomId, size: u32, settling: bool, now: Instant) -> Self {
        Self {
            id,
            size,
            roster: RosterIndex::default(),
            hosts: BTreeMap::new(),
            pending: HashMap::new(),
            settling_until: settling.then(|| now + SETTLING),
            speaker: None,
        }
    }

    /// Whether nobody is in it or on the way.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.pending.is_empty()
    }

    /// Nodes that have peers of the room, or will in a moment.
    pub fn nodes(&self) -> BTreeSet<WorkerAddress> {
        let pending = self.pending.values().filter_map(|pending| pending.host.clone());
        self.roster.peers.values().map(|entry| entry.host.clone()).chain(pending).collect()
    }

    /// How many streams a new peer will receive, and how many it will cost others on its host for each of its own.
    pub fn producers(&self) -> u32 {
        u32::try_from(self.roster.producers.len()).unwrap_or(u32::MAX)
    }

    /// The newest session of a peer, connected or on its way.
    pub fn session(&self, peer: &PeerId) -> Option<SessionId> {
        self.roster.session(peer).max(self.pending.get(peer).map(|pending| pending.session))
    }

    /// How many peers are on a node.
    pub fn peers_on(&self, node: &NodeId) -> u32 {
        let here = self.roster.peers.values().filter(|entry| entry.host.node == *node).count();
        u32::try_from(here).unwrap_or(u32::MAX)
    }

    /// A peer wants in: counted from now on, until its host announces it or it fails to show up.
    ///
    /// # Errors
    /// When the room is full.
    pub fn expect(&mut self, peer: &PeerId, session: SessionId, now: Instant) -> Result<(), Refusal> {
        let others = |name: &PeerId| name != peer;
        let names: BTreeSet<_> =
            self.roster.peers.keys().chain(self.pending.keys()).filter(|name| others(name)).collect();
        if names.len() >= self.size as usize {
            return Err(Refusal::RoomFull);
        }
        self.pending.insert(peer.clone(), Pending { session, host: None, until: now + PENDING_LIFE });
        Ok(())
    }

    /// A worker keeps room for it: its older connection, if any, is closed.
    pub fn admitted(&mut self, peer: &PeerId, session: SessionId, host: WorkerAddress) -> Told {
        if let Some(pending) = self.pending.get_mut(peer).filter(|pending| pending.session == session) {
            pending.host = Some(host);
        }
        match self.roster.peers.get(peer) {
            Some(old) if old.session < session => vec![(old.host.node.clone(), superseded(old.session))],
            _ => Vec::new(),
        }
    }

    /// It did not come to that.
    pub fn refused(&mut self, peer: &PeerId, session: SessionId) {
        if self.pending.get(peer).is_some_and(|pending| pending.session == session) {
            self.pending.remove(peer);
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: Instant) -> Told {
        self.pending.retain(|_, pending| pending.until > now);
        match self.settling_until {
            Some(until) if until <= now => {
                self.settling_until = None;
                self.hosts.keys().map(|host| (host.clone(), self.roster_for(host))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn roster_for(&self, host: &NodeId) -> HomeMessage {
        HomeMessage::Roster { roster: self.roster.without(host), settling: self.settling_until.is_some() }
    }

    /// A host opened its stream, or opened another one in place of it.
    pub fn attach(&mut self, host: &NodeId) -> Told {
        self.hosts.entry(host.clone()).or_default();
        let mut told = vec![(host.clone(), self.roster_for(host))];
        if self.speaker.is_some() {
            told.push((host.clone(), HomeMessage::Speaker(self.speaker.clone())));
        }
        told
    }

    /// A host's stream ended: what it had is gone.
    pub fn detach(&mut self, host: &NodeId) -> Told {
        self.hosts.remove(host);
        let gone: Vec<_> = self
            .roster
            .peers
            .values()
            .filter(|entry| entry.host.node == *host)
            .map(|entry| RosterChange::PeerGone(entry.peer.clone(), entry.session))
            .collect();
        let mut told = Vec::new();
        for change in gone {
            let made = self.roster.apply(change);
            self.tell_others(host, made, &mut told);
        }
        told.extend(self.decide_speaker(false));
        told
    }

    /// A host said something.
    pub fn hear(&mut self, host: &NodeId, message: HostMessage) -> Told {
        let mut told = Vec::new();
        match message {
            HostMessage::Snapshot { roster, pipes } => {
                // Of the host's own part only: what others have is not for it to say.
                let named: BTreeSet<_> = roster.peers.iter().map(|entry| entry.peer.clone()).collect();
                let gone: Vec<_> = self
                    .roster
                    .peers
                    .values()
                    .filter(|entry| entry.host.node == *host && !named.contains(&entry.peer))
                    .map(|entry| RosterChange::PeerGone(entry.peer.clone(), entry.session))
                    .collect();
                let gone_producers: Vec<_> = self
                    .roster
                    .producers
                    .values()
                    .filter(|known| {
                        known.host.node == *host && !roster.producers.iter().any(|p| p.id == known.id)
                    })
                    .map(|known| RosterChange::ProducerGone(known.id.clone()))
                    .collect();
                let gone_data: Vec<_> = self
                    .roster
                    .data_producers
                    .values()
                    .filter(|known| {
                        known.host.node == *host && !roster.data_producers.iter().any(|p| p.id == known.id)
                    })
                    .map(|known| RosterChange::DataProducerGone(known.id.clone()))
                    .collect();
                let come = roster
                    .peers
                    .into_iter()
                    .map(RosterChange::Peer)
                    .chain(roster.producers.into_iter().map(RosterChange::Producer))
                    .chain(roster.data_producers.into_iter().map(RosterChange::DataProducer));
                for change in gone.into_iter().chain(gone_producers).chain(gone_data).chain(come) {
                    self.change(host, change, &mut told);
                }
                if let Some(part) = self.hosts.get_mut(host) {
                    part.pipes = pipes.into_iter().map(key).collect();
                }
            }
            HostMessage::Change(change) => self.change(host, change, &mut told),
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
            HostMessage::Speaker(speaker) => {
                let speaks = speaker.is_some();
                if let Some(part) = self.hosts.get_mut(host) {
                    part.speaker = speaker;
                }
                told.extend(self.decide_speaker(speaks));
            }
            HostMessage::Kick(peer) => {
                if let Some(entry) = self.roster.peers.get(&peer) {
                    told.push((entry.host.node.clone(), for_good(entry.session, "sent away by a moderator")));
                }
            }
            HostMessage::CloseRoom => {
                for entry in self.roster.peers.values() {
                    told.push((
                        entry.host.node.clone(),
                        for_good(entry.session, "room closed by a moderator"),
                    ));
                }
            }
        }
        told
    }

    fn change(&mut self, host: &NodeId, change: RosterChange, told: &mut Told) {
        match &change {
            RosterChange::Peer(entry) => {
                if entry.host.node != *host {
                    return;
                }
                if self.pending.get(&entry.peer).is_some_and(|pending| pending.session <= entry.session) {
                    self.pending.remove(&entry.peer);
                }
                match self.roster.peers.get(&entry.peer) {
                    // The newest session wins, whichever is heard of first.
                    Some(known) if known.session > entry.session => {
                        told.push((host.clone(), superseded(entry.session)));
                        return;
                    }
                    Some(known) if known.session < entry.session => {
                        told.push((known.host.node.clone(), superseded(known.session)));
                    }
                    _ => {}
                }
            }
            // A producer counts while its peer is the host's: not after a newer session took the peer elsewhere.
            RosterChange::Producer(entry) if !self.is_at(&entry.peer, &entry.host.node, host) => return,
            RosterChange::DataProducer(entry) if !self.is_at(&entry.peer, &entry.host.node, host) => return,
            _ => {}
        }
        let made = self.roster.apply(change);
        self.tell_others(host, made, told);
    }

    /// Whether what `host` says to be at `place` is, as is the peer that it belongs to.
    fn is_at(&self, peer: &PeerId, place: &NodeId, host: &NodeId) -> bool {
        place == host && self.roster.peers.get(peer).is_some_and(|entry| entry.host.node == *host)
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

    /// One speaker for the room: the loudest of what the hosts hear. Told when it is another, and with `again` when
    /// somebody still speaks, for the volume.
    fn decide_speaker(&mut self, again: bool) -> Told {
        let loudest = self
            .hosts
            .values()
            .filter_map(|part| part.speaker.as_ref())
            .max_by_key(|speaker| speaker.volume)
            .cloned();
        let same = loudest.as_ref().map(|s| &s.peer) == self.speaker.as_ref().map(|s| &s.peer);
        self.speaker = loudest;
        if same && !(again && self.speaker.is_some()) {
            return Vec::new();
        }
        self.hosts.keys().map(|host| (host.clone(), HomeMessage::Speaker(self.speaker.clone()))).collect()
    }

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
            producers: self.producers(),
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
            speaker: self.speaker.as_ref().map(|speaker| speaker.peer.clone()),
        }
    }
}

fn key(pipe: PipeEntry) -> (String, WorkerAddress, WorkerAddress) {
    (pipe.producer.0, pipe.from, pipe.to)
}

fn for_good(session: SessionId, reason: &str) -> HomeMessage {
    HomeMessage::CloseSession { session, code: CLOSE_FOR_GOOD, reason: reason.to_owned() }
}

fn superseded(session: SessionId) -> HomeMessage {
    for_good(session, "the peer connected again elsewhere")
}

#[cfg(test)]
mod tests {
    use super::super::roster::tests::{host, peer, producer, session};
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().expect("a name")
    }

    fn name(name: &str) -> PeerId {
        name.parse().expect("a name")
    }

    fn room(size: u32, settling: bool) -> (HomeRoom, Instant) {
        let now = Instant::now();
        (HomeRoom::new("r".parse().expect("a name"), size, settling, now), now)
    }

    fn change(change: RosterChange) -> HostMessage {
        HostMessage::Change(change)
    }

    #[test]
    fn what_one_host_says_the_others_hear() {
        let (mut room, _) = room(9, false);
        room.attach(&node("n1"));
        room.attach(&node("n2"));
        let told = room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", false))));
        assert!(told.is_empty(), "who has not joined is nobody's business: {told:?}");
        let told = room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", true))));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, node("n2"));
        let told = room.hear(&node("n1"), change(RosterChange::Producer(producer("a", "p", "n1"))));
        assert_eq!(told.len(), 1);
        let told = room.detach(&node("n1"));
        assert_eq!(told.len(), 2, "the producer and the peer: {told:?}");
    }

    #[test]
    fn the_newest_session_wins_whichever_is_heard_first() {
        for order in [[1, 2], [2, 1]] {
            let (mut room, _) = room(9, false);
            room.attach(&node("n1"));
            room.attach(&node("n2"));
            let mut closed = Vec::new();
            for age in order {
                let at = format!("n{age}");
                let told = room.hear(&node(&at), change(RosterChange::Peer(peer("p", age, &at, true))));
                closed.extend(told.into_iter().filter_map(|(_, message)| match message {
                    HomeMessage::CloseSession { session, .. } => Some(session),
                    _ => None,
                }));
            }
            assert_eq!(closed, [session(1)]);
            assert_eq!(room.roster.session(&name("p")), Some(session(2)));
        }
    }

    #[test]
    fn a_host_speaks_only_for_its_own_peers() {
        let (mut room, _) = room(9, false);
        room.attach(&node("n1"));
        room.attach(&node("n2"));
        room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", true))));
        let told = room.hear(&node("n2"), change(RosterChange::Producer(producer("x", "p", "n2"))));
        assert!(told.is_empty());
        assert_eq!(room.producers(), 0);
    }

    #[test]
    fn size_counts_those_on_the_way_until_they_fail_to_show_up() {
        let (mut room, now) = room(1, false);
        assert!(room.expect(&name("p"), session(1), now).is_ok());
        assert_eq!(room.expect(&name("q"), session(2), now), Err(Refusal::RoomFull));
        assert!(room.expect(&name("p"), session(3), now).is_ok(), "the same peer again takes its own place");
        room.tick(now + PENDING_LIFE);
        assert!(room.expect(&name("q"), session(4), now).is_ok());
    }

    #[test]
    fn a_home_that_took_over_says_when_it_knows_everyone() {
        let (mut room, now) = room(9, true);
        let told = room.attach(&node("n1"));
        assert!(matches!(told[0].1, HomeMessage::Roster { settling: true, .. }));
        assert!(room.tick(now).is_empty());
        let told = room.tick(now + SETTLING);
        assert!(matches!(told[0].1, HomeMessage::Roster { settling: false, .. }));
    }

    #[test]
    fn the_loudest_of_all_hosts_speaks() {
        let (mut room, _) = room(9, false);
        room.attach(&node("n1"));
        room.attach(&node("n2"));
        let speak = |peer: &str, volume| HostMessage::Speaker(Some(Speaker { peer: name(peer), volume }));
        assert_eq!(room.hear(&node("n1"), speak("p", -40)).len(), 2);
        room.hear(&node("n2"), speak("q", -20));
        assert_eq!(room.detail(&node("n1")).speaker, Some(name("q")));
        let told = room.hear(&node("n2"), HostMessage::Speaker(None));
        assert_eq!(told.len(), 2);
        assert_eq!(room.detail(&node("n1")).speaker, Some(name("p")));
        room.hear(&node("n1"), HostMessage::Speaker(None));
        assert_eq!(room.detail(&node("n1")).speaker, None);
    }

    #[test]
    fn moderators_reach_everyone() {
        let (mut room, _) = room(9, false);
        room.attach(&node("n1"));
        room.attach(&node("n2"));
        room.hear(&node("n1"), change(RosterChange::Peer(peer("p", 1, "n1", true))));
        room.hear(&node("n2"), change(RosterChange::Peer(peer("q", 1, "n2", true))));
        let told = room.hear(&node("n1"), HostMessage::Kick(name("q")));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, node("n2"));
        assert_eq!(room.hear(&node("n1"), HostMessage::CloseRoom).len(), 2);
    }

    #[test]
    fn pipes_are_what_hosts_announce() {
        let (mut room, _) = room(9, false);
        room.attach(&node("n2"));
        let pipe = PipeEntry { producer: producer("a", "p", "n1").id, from: host("n1"), to: host("n2") };
        room.hear(&node("n2"), HostMessage::PipeUp(pipe.clone()));
        assert_eq!(room.summary(&node("n1")).pipes, 1);
        room.hear(&node("n2"), HostMessage::PipeDown(pipe));
        assert_eq!(room.summary(&node("n1")).pipes, 0);
    }
}
