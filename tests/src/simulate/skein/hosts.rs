//! The mesh's nodes: their books, and what they say of themselves.

use super::super::policy::MeshSpec;
use super::name;
use skein_node::placement::field::{Field, NodeFigures, WorkerFigures};
use skein_node::placement::ledger::{Budget, Figures, Ledger};
use skein_node::placement::typical::Typical;
use skein_proto::capacity::Cost;
use skein_proto::ids::{NodeId, RoomId, SessionId, WorkerAddress};
use skein_proto::rpc::{Claim, Outlook, Reserve, Ticket};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// What the node's configuration has.
const TYPICAL_PEERS: u32 = 4;
/// How late gossip is.
const GOSSIP: Duration = Duration::from_millis(200);
const SMALL_CHANGES: Duration = Duration::from_millis(500);

struct Node {
    id: NodeId,
    ledger: Ledger,
    /// What it sends, packets a second.
    spent: u64,
    /// Whether one of its workers sends more than it should.
    over: bool,
    said: Vec<u64>,
    said_at: Instant,
    /// When what it says next is heard.
    due: Option<Instant>,
    typical: Typical,
}

/// All nodes, and what is known of them by gossip.
pub struct Hosts {
    spec: MeshSpec,
    nodes: Vec<Node>,
    by_id: HashMap<NodeId, usize>,
    /// What homes know.
    pub field: Field,
    /// Workers that are crowded.
    pub crowded: BTreeSet<WorkerAddress>,
    /// Those of them that were not when this was last taken.
    pub crowded_lately: Vec<WorkerAddress>,
    /// Workers that said that they carry more than they should.
    pub overloaded: BTreeSet<WorkerAddress>,
    /// When which node's figures are heard.
    gossip: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Nodes say their figures once a second even when nothing changes, so they never get old.
    never_old: Instant,
    /// What each node sends.
    loads: BTreeSet<(u64, usize)>,
    over: u64,
    tickets: u64,
}

impl Hosts {
    /// Nodes that carry nothing.
    pub fn new(spec: &MeshSpec, start: Instant) -> Self {
        let budget = Budget { worker_packets: spec.worker.packets, node_bits: spec.node_bits };
        let nodes: Vec<_> = (0..spec.nodes)
            .map(|n| Node {
                id: name(format!("n{n}")),
                ledger: Ledger::new(budget, usize::from(spec.workers)),
                spent: 0,
                over: false,
                said: vec![spec.worker.packets; usize::from(spec.workers)],
                said_at: start,
                due: None,
                typical: Typical::new(TYPICAL_PEERS),
            })
            .collect();
        let mut hosts = Self {
            spec: *spec,
            by_id: nodes.iter().enumerate().map(|(index, node)| (node.id.clone(), index)).collect(),
            loads: (0..nodes.len()).map(|node| (0, node)).collect(),
            nodes,
            field: Field::default(),
            crowded: BTreeSet::new(),
            crowded_lately: Vec::new(),
            overloaded: BTreeSet::new(),
            gossip: BinaryHeap::new(),
            never_old: start + Duration::from_secs(1 << 32),
            over: 0,
            tickets: 0,
        };
        (0..hosts.nodes.len()).for_each(|node| hosts.hear(node, start));
        hosts
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node's index.
    pub fn index(&self, at: &WorkerAddress) -> usize {
        self.by_id.get(&at.node).copied().unwrap_or_default()
    }

    /// A node's name.
    pub fn id(&self, index: usize) -> &NodeId {
        &self.nodes[index].id
    }

    /// How large the rooms came to be whose home a node is.
    pub fn typical(&mut self, index: usize) -> &mut Typical {
        &mut self.nodes[index].typical
    }

    /// What the busiest node sends, packets a second.
    pub fn highest(&self) -> u64 {
        self.loads.last().map_or(0, |(spent, _)| *spent)
    }

    /// How many nodes have a worker that sends more than it should.
    pub fn over(&self) -> u64 {
        self.over
    }

    /// When something is heard next.
    pub fn next_gossip(&self) -> Option<Instant> {
        self.gossip.peek().map(|Reverse((due, _))| *due)
    }

    /// All that is said until then arrives.
    pub fn hear_until(&mut self, until: Instant, now: Instant) {
        while self.next_gossip().is_some_and(|due| due <= until)
            && let Some(Reverse((due, node))) = self.gossip.pop()
        {
            if self.nodes[node].due == Some(due) {
                self.hear(node, now);
            }
        }
    }

    /// A node's figures reach everyone.
    fn hear(&mut self, index: usize, now: Instant) {
        let node = &mut self.nodes[index];
        node.ledger.expire(now);
        let figures: Vec<_> = (0..self.spec.workers).map(|worker| node.ledger.figures(worker)).collect();
        for (f, worker) in figures.iter().zip(0..) {
            let at = WorkerAddress { node: node.id.clone(), worker };
            if f.used > f.total {
                self.overloaded.insert(at.clone());
            } else {
                self.overloaded.remove(&at);
            }
            if f.free * 4 >= f.total {
                self.crowded.remove(&at);
            } else if self.crowded.insert(at.clone()) {
                self.crowded_lately.push(at);
            }
        }
        let over =
            figures.iter().zip(0..).filter(|(f, _)| f.used > f.total).map(|(_, worker)| worker).collect();
        let worker =
            |f: &Figures| WorkerFigures { free: f.free, open: f.open, spare: f.spare, total: f.total };
        let workers: Vec<_> = figures.iter().map(worker).collect();
        node.said = workers.iter().map(|worker| worker.free).collect();
        node.said_at = now;
        node.due = None;
        let figures = NodeFigures {
            workers,
            free_bits: node.ledger.free_bits(),
            region: "here".to_owned(),
            zone: String::new(),
            over,
            takes: true,
        };
        self.field.hear(&node.id, figures, self.never_old);
    }

    /// Something changed on a node: it will say so.
    fn changed(&mut self, index: usize, now: Instant) {
        let node = &mut self.nodes[index];
        let total = self.spec.worker.packets;
        let large = (0..self.spec.workers)
            .zip(&node.said)
            .any(|(worker, said)| node.ledger.free(worker).abs_diff(*said) * 10 > total);
        let due = if large { now } else { now.max(node.said_at + SMALL_CHANGES) } + GOSSIP;
        if node.due.is_none_or(|known| due < known) {
            node.due = Some(due);
            self.gossip.push(Reverse((due, index)));
        }
    }

    /// Asks the hosts; all keep what is needed, or none.
    ///
    /// # Errors
    /// Which of them refuses.
    pub fn reserve(
        &mut self,
        room: &RoomId,
        session: SessionId,
        demands: &[(WorkerAddress, Cost)],
        place: Option<(&WorkerAddress, Outlook)>,
        claim: Claim,
        now: Instant,
    ) -> Result<(), WorkerAddress> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut kept = Vec::new();
        for (at, cost) in demands {
            let index = self.index(at);
            let place =
                place.filter(|(place, _)| *place == at).map(|(place, outlook)| (place.worker, outlook));
            let demands = vec![(at.worker, *cost)];
            let wish =
                Reserve { ticket, session, room: room.clone(), demands, at: place, claim, replaces: None };
            if let Err(full) = self.nodes[index].ledger.reserve(&wish, now) {
                // A host that refuses says what it has left.
                self.field.correct(at, full.left.packets);
                for index in kept {
                    let node: &mut Node = &mut self.nodes[index];
                    node.ledger.release_ticket(ticket);
                }
                return Err(at.clone());
            }
            kept.push(index);
        }
        kept.into_iter().for_each(|index| self.changed(index, now));
        Ok(())
    }

    /// Rooms that might leave a worker so that so much more is left there.
    pub fn in_the_way(&self, at: &WorkerAddress, but: &RoomId, packets: u64) -> Vec<(RoomId, u64)> {
        self.nodes[self.index(at)].ledger.in_the_way(at.worker, but, packets)
    }

    /// Gives up what is kept for a session.
    pub fn release(&mut self, demands: &[(WorkerAddress, Cost)], session: SessionId) {
        for (at, _) in demands {
            let index = self.index(at);
            self.nodes[index].ledger.release(session);
        }
    }

    /// What a room's media costs on a worker is another. Says whether the worker now sends more than it should, and
    /// more than before.
    pub fn charge(&mut self, room: &RoomId, at: &WorkerAddress, was: Cost, is: Cost, now: Instant) -> bool {
        let index = self.index(at);
        let node = &mut self.nodes[index];
        node.ledger.charge(room, at.worker, was, is);
        self.loads.remove(&(node.spent, index));
        node.spent = node.spent + is.packets - was.packets;
        self.loads.insert((node.spent, index));
        let budget = self.spec.worker.packets;
        let over = (0..self.spec.workers).any(|worker| node.ledger.used(worker) > budget);
        self.over = self.over + u64::from(over) - u64::from(node.over);
        node.over = over;
        let overloads = is.packets > was.packets && node.ledger.used(at.worker) > budget;
        self.changed(index, now);
        overloads
    }

    /// A peer that moved has arrived.
    pub fn settle(&mut self, at: &WorkerAddress, session: SessionId, now: Instant) {
        let index = self.index(at);
        self.nodes[index].ledger.settle(session, now);
    }

    /// A room has nothing on a node any more.
    pub fn forget(&mut self, index: usize, room: &RoomId) {
        self.nodes[index].ledger.forget(room);
    }
}
