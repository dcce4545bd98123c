//! Events: nodes and rooms coming, changing and going. Made only while somebody watches.

use super::Operator;
use skein_proto::ids::{NodeId, RoomId};
use skein_proto::operator::{Change, Event, NodeStatus, RoomSummary};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often nodes and rooms are compared with how they were.
const INTERVAL: Duration = Duration::from_millis(500);

/// Nodes and rooms as they were told last.
#[derive(Debug, Default)]
pub struct Seen {
    nodes: BTreeMap<NodeId, NodeStatus>,
    rooms: BTreeMap<RoomId, RoomSummary>,
}

impl Seen {
    /// Takes in how things are now and tells what is different.
    pub fn update(&mut self, nodes: Vec<NodeStatus>, rooms: Vec<RoomSummary>) -> Vec<Event> {
        let nodes: BTreeMap<_, _> = nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
        let rooms: BTreeMap<_, _> = rooms.into_iter().map(|room| (room.id.clone(), room)).collect();
        let mut events = Vec::new();
        difference(&self.nodes, &nodes, |change, id: &NodeId, status| {
            events.push(Event::Node { change, id: id.clone(), status: status.cloned() });
        });
        difference(&self.rooms, &rooms, |change, id: &RoomId, summary| {
            events.push(Event::Room { change, id: id.clone(), summary: summary.cloned() });
        });
        *self = Self { nodes, rooms };
        events
    }
}

fn difference<K: Ord, V: PartialEq>(
    before: &BTreeMap<K, V>,
    now: &BTreeMap<K, V>,
    mut tell: impl FnMut(Change, &K, Option<&V>),
) {
    for (key, value) in now {
        match before.get(key) {
            None => tell(Change::Added, key, Some(value)),
            Some(old) if old != value => tell(Change::Changed, key, Some(value)),
            Some(_) => {}
        }
    }
    for key in before.keys().filter(|key| !now.contains_key(key)) {
        tell(Change::Removed, key, None);
    }
}

/// Makes events for whoever watches, until it is cancelled.
pub async fn run(operator: Arc<Operator>, cancel: CancellationToken) {
    let mut seen = Seen::default();
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if operator.events.receiver_count() == 0 {
            continue;
        }
        let nodes = operator.mesh_status().nodes;
        let rooms = operator.room_list().await;
        if !rooms.missing.is_empty() {
            // Absence means nothing while a home does not answer.
            continue;
        }
        for event in seen.update(nodes, rooms.rooms) {
            let _ = operator.events.send(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(id: &str, peers: u32) -> RoomSummary {
        RoomSummary {
            id: id.parse().expect("a name"),
            home: "n".parse().expect("a name"),
            peers,
            hosts: BTreeMap::new(),
            producers: 0,
            pipes: 0,
        }
    }

    #[test]
    fn what_is_different_is_told_once() {
        let mut seen = Seen::default();
        let change = |events: Vec<Event>| match &events[..] {
            [Event::Room { change, .. }] => Some(*change),
            _ => None,
        };
        assert_eq!(change(seen.update(vec![], vec![room("r", 1)])), Some(Change::Added));
        assert!(seen.update(vec![], vec![room("r", 1)]).is_empty());
        assert_eq!(change(seen.update(vec![], vec![room("r", 2)])), Some(Change::Changed));
        assert_eq!(change(seen.update(vec![], vec![])), Some(Change::Removed));
    }
}
