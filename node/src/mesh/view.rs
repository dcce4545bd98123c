//! The mesh as one node sees it.

use super::home::home;
use skein_proto::gossip::{Facts, Lead, Load, Phase, Queue};
use skein_proto::ids::{NodeId, RoomId};
use skein_proto::operator::NodeState;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The mesh as this node sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Name of the mesh.
    pub mesh: String,
    /// The node whose view it is.
    pub own: NodeId,
    /// All nodes that are not dead, by name. The own node is always among them.
    pub nodes: BTreeMap<NodeId, Member>,
}

/// A node, as another one sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its name.
    pub id: NodeId,
    /// How it is: by its phase, or suspect when only one of gossip and QUIC reaches it.
    pub state: NodeState,
    /// Where others reach it, UDP.
    pub addr: SocketAddr,
    /// Start of its process, milliseconds since 1970 on its clock. When it changes, everything that the process held
    /// is gone, even if the node was never missing from the view.
    pub generation: u64,
    /// What hardly ever changes.
    pub facts: Facts,
    /// What changes all the time, as last heard.
    pub load: Load,
    /// What it is about to do, as last heard.
    pub phase: Phase,
    /// What it knows of who leads, as last heard.
    pub lead: Lead,
    /// Who waits at its homes, as last heard.
    pub queue: Queue,
}

impl View {
    /// The node that keeps a room's roster: by rendezvous hashing over all live nodes that are [`Phase::Ready`], so
    /// neither starting nor draining ones. A suspect node stays home until it is dead: suspicion passes, and rooms
    /// that move with every lost heartbeat would pay for it. Where all drain, over these: what is left of a room stays
    /// one room. The own node where there is none. Nodes with the same view agree.
    pub fn home(&self, room: &RoomId) -> &NodeId {
        let of = |phase| home(room, self.in_phase(phase));
        of(Phase::Ready).or_else(|| of(Phase::Draining)).unwrap_or(&self.own)
    }

    /// The nodes that say of themselves that they are in a phase.
    pub fn in_phase(&self, phase: Phase) -> impl Iterator<Item = &NodeId> {
        self.nodes.values().filter(move |node| node.phase == phase).map(|node| &node.id)
    }

    /// Whether a node other than the own one takes peers.
    pub fn others_take(&self) -> bool {
        self.nodes.values().any(|node| node.id != self.own && node.state == NodeState::Alive)
    }

    /// The node that leads, as far as gossip can say: the one that says so for the highest term.
    pub fn leader(&self) -> Option<&Member> {
        self.nodes.values().filter(|node| node.lead.holds).max_by_key(|node| node.lead.term)
    }

    /// The node, where it is not dead.
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.nodes.get(node)
    }
}

/// What a node's phase makes of it, as long as it is reached.
pub(super) fn state(phase: Phase) -> NodeState {
    match phase {
        Phase::Starting => NodeState::Starting,
        Phase::Ready => NodeState::Alive,
        Phase::Draining | Phase::Leaving => NodeState::Draining,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(phases: &[(&str, Phase)]) -> View {
        let member = |(id, phase): &(&str, Phase)| {
            let id: NodeId = id.parse().expect("a name");
            let facts = Facts {
                role: "node".to_owned(),
                region: "r".to_owned(),
                zone: String::new(),
                url: "http://x".to_owned(),
                version: "1".to_owned(),
            };
            let member = Member {
                id: id.clone(),
                state: state(*phase),
                addr: ([127, 0, 0, 1], 1).into(),
                generation: 1,
                facts,
                load: Load::default(),
                phase: *phase,
                lead: Lead::default(),
                queue: Queue::default(),
            };
            (id, member)
        };
        let own = "a".parse().expect("a name");
        View { mesh: "m".to_owned(), own, nodes: phases.iter().map(member).collect() }
    }

    #[test]
    fn a_node_that_drains_is_home_of_nothing_while_another_is_ready() {
        let rooms: Vec<RoomId> = (0..20).map(|n| format!("r{n}").parse().expect("a name")).collect();
        let homes = |view: &View| rooms.iter().map(|room| view.home(room).to_string()).collect::<Vec<_>>();
        let some = view(&[("a", Phase::Draining), ("b", Phase::Ready), ("c", Phase::Starting)]);
        assert!(homes(&some).iter().all(|home| home == "b") && some.others_take());
        // Where all drain, all still agree.
        let all = [("a", Phase::Draining), ("b", Phase::Draining)];
        let (mut here, there) = (view(&all), view(&all));
        here.own = "b".parse().expect("a name");
        assert_eq!(homes(&here), homes(&there));
        assert!(!here.others_take());
    }
}
