//! Who is in the mesh: from what gossip and QUIC know to a view. Pure.
//!
//! | gossip | QUIC | the node is |
//! | --- | --- | --- |
//! | live | up | alive, starting or draining, as it says |
//! | live | down | suspect; not there yet if it was discovered less than [`limits::GRACE`] ago |
//! | dead | up | suspect; not there yet if nobody has gossiped about it |
//! | dead | down | gone |
//! | said that it leaves, by either | | gone |
//!
//! All of that is about one generation of a node: the highest that gossip or QUIC reaches. An older one is gone.

use super::limits;
use super::peers::Quic;
use super::view::{Member, View, state};
use skein_proto::gossip::{Facts, Lead, Load, Phase, Queue};
use skein_proto::ids::NodeId;
use skein_proto::operator::NodeState;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

/// One process of a node that gossip thinks is live.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub id: NodeId,
    pub generation: u64,
    pub addr: SocketAddr,
    /// Not there until they have come and could be read.
    pub facts: Option<Facts>,
    pub load: Load,
    pub lead: Lead,
    pub queue: Queue,
    /// As [`Heard::facts`]. Values come in order: whoever has the phase has the rest.
    pub phase: Option<Phase>,
    /// When it was first heard of as live.
    pub since: Instant,
}

/// The view that follows from what is known now and from the view before.
pub(super) fn view(
    own: &Member,
    heard: &[Heard],
    quic: &BTreeMap<NodeId, Quic>,
    before: &View,
    now: Instant,
) -> View {
    let heard = newest(heard);
    let mut nodes = BTreeMap::from([(own.id.clone(), own.clone())]);
    let names: BTreeSet<&NodeId> = heard.keys().copied().chain(before.nodes.keys()).collect();
    for id in names.into_iter().filter(|id| **id != own.id) {
        let quic = quic.get(id).copied().unwrap_or_default();
        if let Some(member) = member(heard.get(id).copied(), quic, before.nodes.get(id), now) {
            nodes.insert(id.clone(), member);
        }
    }
    View { mesh: before.mesh.clone(), own: own.id.clone(), nodes }
}

/// Nodes that gossip reaches and QUIC does not, and where they should be dialled.
pub(super) fn wanted<'a>(
    own: &NodeId,
    heard: &'a [Heard],
    quic: &BTreeMap<NodeId, Quic>,
) -> Vec<(&'a NodeId, SocketAddr)> {
    let mut heard = newest(heard);
    heard.retain(|id, heard| {
        let quic = quic.get(*id).copied().unwrap_or_default();
        *id != own
            && heard.phase != Some(Phase::Leaving)
            && quic.up.is_none_or(|up| up < heard.generation)
            && quic.left.is_none_or(|left| left < heard.generation)
    });
    heard.into_iter().map(|(id, heard)| (id, heard.addr)).collect()
}

/// The highest generation of each node.
fn newest(heard: &[Heard]) -> BTreeMap<&NodeId, &Heard> {
    let mut newest: BTreeMap<&NodeId, &Heard> = BTreeMap::new();
    for each in heard {
        let kept = newest.entry(&each.id).or_insert(each);
        if each.generation > kept.generation {
            *kept = each;
        }
    }
    newest
}

fn member(heard: Option<&Heard>, quic: Quic, before: Option<&Member>, now: Instant) -> Option<Member> {
    let generation = heard.map(|heard| heard.generation).max(quic.up)?;
    if quic.left.is_some_and(|left| left >= generation) {
        return None;
    }
    let heard = heard.filter(|heard| heard.generation == generation);
    let before = before.filter(|before| before.generation == generation);
    let up = quic.up == Some(generation);
    let Some(heard) = heard else {
        // Only QUIC reaches it.
        return before.map(|before| Member { state: NodeState::Suspect, ..before.clone() });
    };
    // Without its phase it is not known well enough to be used for anything.
    let (facts, phase) = (heard.facts.clone()?, heard.phase?);
    if phase == Phase::Leaving {
        return None;
    }
    let state = match (up, before) {
        (true, _) => state(phase),
        (false, None) if now.duration_since(heard.since) < limits::GRACE => return None,
        (false, _) => NodeState::Suspect,
    };
    Some(Member {
        id: heard.id.clone(),
        state,
        addr: heard.addr,
        generation,
        facts,
        load: heard.load.clone(),
        phase,
        lead: heard.lead,
        queue: heard.queue,
    })
}

/// One difference between two views, about another node than the own.
#[derive(Debug, PartialEq)]
pub(super) enum Change<'a> {
    Joined(&'a Member),
    Restarted(&'a Member),
    Became(&'a Member, NodeState),
    Gone(&'a Member),
}

/// What is different, apart from load and facts.
pub(super) fn changes<'a>(before: &'a View, after: &'a View) -> Vec<Change<'a>> {
    let gone = before.nodes.iter().filter(|(id, _)| !after.nodes.contains_key(*id));
    let mut changes: Vec<_> = gone.map(|(_, member)| Change::Gone(member)).collect();
    for (id, member) in &after.nodes {
        match before.nodes.get(id) {
            None => changes.push(Change::Joined(member)),
            Some(old) if old.generation != member.generation => changes.push(Change::Restarted(member)),
            Some(old) if old.state != member.state => changes.push(Change::Became(member, old.state)),
            Some(_) => {}
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn id(name: &str) -> NodeId {
        name.parse().expect("a name")
    }

    fn facts() -> Facts {
        Facts {
            role: "node".to_owned(),
            region: "r".to_owned(),
            zone: "z".to_owned(),
            url: "http://x".to_owned(),
            version: "1".to_owned(),
        }
    }

    fn addr() -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }

    fn own() -> Member {
        Member {
            id: id("own"),
            state: NodeState::Alive,
            addr: addr(),
            generation: 1,
            facts: facts(),
            load: Load::default(),
            phase: Phase::Ready,
            lead: Lead::default(),
            queue: Queue::default(),
        }
    }

    /// A mesh in which time passes and one other node, `n`, is heard of.
    struct Scene {
        now: Instant,
        view: View,
        heard: Vec<Heard>,
        quic: BTreeMap<NodeId, Quic>,
    }

    impl Scene {
        fn new() -> Self {
            let nodes = BTreeMap::from([(id("own"), own())]);
            Self {
                now: Instant::now(),
                view: View { mesh: "m".to_owned(), own: id("own"), nodes },
                heard: Vec::new(),
                quic: BTreeMap::new(),
            }
        }

        fn live(mut self, generation: u64, phase: Phase) -> Self {
            self.heard.retain(|heard| heard.generation != generation);
            self.heard.push(Heard {
                id: id("n"),
                generation,
                addr: addr(),
                facts: Some(facts()),
                load: Load::default(),
                lead: Lead::default(),
                queue: Queue::default(),
                phase: Some(phase),
                since: self.now,
            });
            self
        }

        fn dead(mut self, generation: u64) -> Self {
            self.heard.retain(|heard| heard.generation != generation);
            self
        }

        fn quic(mut self, up: Option<u64>, left: Option<u64>) -> Self {
            self.quic.insert(id("n"), Quic { up, left });
            self
        }

        fn after(mut self, time: Duration) -> Self {
            self.now += time;
            self
        }

        /// Makes the next view and says how `n` is in it.
        #[track_caller]
        fn sees(mut self, expected: Option<(NodeState, u64)>) -> Self {
            self.view = view(&own(), &self.heard, &self.quic, &self.view, self.now);
            assert_eq!(self.view.nodes.get(&id("own")), Some(&own()));
            assert_eq!(self.view.nodes.get(&id("n")).map(|n| (n.state, n.generation)), expected);
            self
        }

        #[track_caller]
        fn wants(self, expected: bool) -> Self {
            assert_eq!(!wanted(&id("own"), &self.heard, &self.quic).is_empty(), expected);
            self
        }
    }

    const ALIVE: NodeState = NodeState::Alive;
    const SUSPECT: NodeState = NodeState::Suspect;
    const TICK: Duration = Duration::from_millis(200);

    #[test]
    fn both_alive_one_suspect_none_gone() {
        let alive = || Scene::new().live(5, Phase::Ready).quic(Some(5), None).sees(Some((ALIVE, 5)));
        alive().quic(None, None).sees(Some((SUSPECT, 5))).dead(5).sees(None);
        alive().dead(5).sees(Some((SUSPECT, 5))).quic(None, None).sees(None);
        alive().dead(5).quic(None, None).sees(None);
        alive().dead(5).sees(Some((SUSPECT, 5))).live(5, Phase::Ready).sees(Some((ALIVE, 5)));
    }

    #[test]
    fn what_was_just_discovered_does_not_flap() {
        Scene::new()
            .live(5, Phase::Ready)
            .sees(None)
            .wants(true)
            .after(TICK)
            .sees(None)
            .quic(Some(5), None)
            .wants(false)
            .sees(Some((ALIVE, 5)));
        // It never says hello.
        Scene::new().live(5, Phase::Ready).after(limits::GRACE).sees(Some((SUSPECT, 5))).wants(true);
        // It said hello, and gossip has not come yet.
        Scene::new()
            .quic(Some(5), None)
            .after(limits::GRACE)
            .sees(None)
            .live(5, Phase::Ready)
            .sees(Some((ALIVE, 5)));
    }

    #[test]
    fn it_is_what_it_says_it_is() {
        let scene = Scene::new().quic(Some(5), None);
        scene
            .live(5, Phase::Starting)
            .sees(Some((NodeState::Starting, 5)))
            .live(5, Phase::Ready)
            .sees(Some((ALIVE, 5)))
            .live(5, Phase::Draining)
            .sees(Some((NodeState::Draining, 5)))
            .dead(5)
            .sees(Some((SUSPECT, 5)))
            .live(5, Phase::Leaving)
            .wants(false)
            .sees(None);
    }

    #[test]
    fn who_left_is_gone_at_once_and_until_it_starts_again() {
        Scene::new()
            .live(5, Phase::Ready)
            .quic(Some(5), None)
            .sees(Some((ALIVE, 5)))
            .quic(None, Some(5))
            .sees(None)
            .wants(false)
            .after(limits::GRACE * 2)
            .sees(None)
            .live(6, Phase::Ready)
            .wants(true)
            .quic(Some(6), Some(5))
            .sees(Some((ALIVE, 6)));
    }

    #[test]
    fn the_highest_generation_is_the_live_one() {
        // Gossip still thinks that the old process lives when the new one says hello.
        Scene::new()
            .live(5, Phase::Ready)
            .quic(Some(5), None)
            .sees(Some((ALIVE, 5)))
            .quic(Some(6), None)
            .sees(None)
            .wants(false)
            .live(6, Phase::Ready)
            .sees(Some((ALIVE, 6)))
            .dead(5)
            .sees(Some((ALIVE, 6)));
        // Gossip hears of the new process before QUIC does.
        Scene::new()
            .live(5, Phase::Ready)
            .quic(Some(5), None)
            .sees(Some((ALIVE, 5)))
            .live(6, Phase::Ready)
            .sees(None)
            .wants(true)
            .quic(Some(6), None)
            .sees(Some((ALIVE, 6)));
        // A clock that went back: the old process is used until both know that it is dead.
        Scene::new()
            .live(5, Phase::Ready)
            .quic(Some(5), None)
            .live(4, Phase::Ready)
            .sees(Some((ALIVE, 5)))
            .dead(5)
            .sees(Some((SUSPECT, 5)))
            .quic(Some(4), None)
            .sees(Some((ALIVE, 4)));
    }

    #[test]
    fn values_that_have_not_come_keep_it_out() {
        let mut scene = Scene::new().live(5, Phase::Ready).quic(Some(5), None);
        scene.heard[0].phase = None;
        let mut scene = scene.sees(None);
        scene.heard[0].phase = Some(Phase::Ready);
        scene.heard[0].facts = None;
        scene.sees(None);
    }

    #[test]
    fn the_own_node_is_what_it_says_whatever_others_say() {
        let mut scene = Scene::new().live(9, Phase::Leaving);
        scene.heard[0].id = id("own");
        scene.wants(false).sees(None);
    }

    #[test]
    fn differences_are_named() {
        let before = Scene::new().sees(None).view;
        let scene = Scene::new().live(5, Phase::Ready).quic(Some(5), None).sees(Some((ALIVE, 5)));
        let joined = scene.view.clone();
        let n = joined.get(&id("n")).expect("is there");
        assert_eq!(changes(&before, &joined), [Change::Joined(n)]);
        assert_eq!(changes(&joined, &before), [Change::Gone(n)]);
        assert_eq!(changes(&joined, &joined), []);
        let suspect = scene.dead(5).sees(Some((SUSPECT, 5))).view;
        assert_eq!(changes(&joined, &suspect), [Change::Became(&suspect.nodes[&id("n")], ALIVE)]);
    }
}
