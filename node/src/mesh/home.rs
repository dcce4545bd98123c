//! Which node is a room's home: rendezvous (highest random weight) hashing. Pure.
//!
//! Every node computes it from its own view. Nodes with the same view agree; when a node comes or goes only the rooms
//! move that it gets or had.

use skein_proto::ids::{NodeId, RoomId};
use xxhash_rust::xxh3::xxh3_64;

/// No name contains it, so that no two pairs of names give the same bytes.
const SEPARATOR: u8 = 0;

/// The node with the highest weight for the room; none if there are no nodes. The order of the nodes does not matter.
pub(super) fn home<'a>(room: &RoomId, nodes: impl IntoIterator<Item = &'a NodeId>) -> Option<&'a NodeId> {
    let mut bytes = Vec::with_capacity(2 * skein_proto::ids::MAX_NAME_BYTES + 1);
    bytes.extend_from_slice(room.as_str().as_bytes());
    bytes.push(SEPARATOR);
    let prefix = bytes.len();
    // The name breaks the tie, should two weights ever be equal.
    nodes.into_iter().max_by_key(|node| {
        bytes.truncate(prefix);
        bytes.extend_from_slice(node.as_str().as_bytes());
        (xxh3_64(&bytes), *node)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn nodes(count: usize) -> Vec<NodeId> {
        (0..count).map(|n| format!("node-{n}").parse().expect("a name")).collect()
    }

    fn rooms(count: usize) -> Vec<RoomId> {
        (0..count).map(|n| format!("room-{n}").parse().expect("a name")).collect()
    }

    #[test]
    fn all_agree_whatever_the_order() {
        let nodes = nodes(7);
        for room in rooms(200) {
            let forwards = home(&room, &nodes);
            let backwards = home(&room, nodes.iter().rev());
            assert_eq!(forwards, backwards);
        }
        assert_eq!(home(&rooms(1)[0], &[]), None);
    }

    #[test]
    fn the_hash_is_the_one_that_other_versions_use() {
        // Nodes of different builds must agree, so this must not change without a new protocol version.
        let nodes = nodes(3);
        let homes: Vec<_> = rooms(8).iter().map(|room| home(room, &nodes).map(NodeId::as_str)).collect();
        assert_eq!(homes, EXPECTED.map(Some));
    }

    const EXPECTED: [&str; 8] =
        ["node-2", "node-0", "node-0", "node-0", "node-2", "node-1", "node-1", "node-0"];

    #[test]
    fn only_the_rooms_of_a_leaving_node_move() {
        let all = nodes(8);
        let (gone, rest) = all.split_last().expect("eight nodes");
        let mut moved = 0;
        for room in rooms(4000) {
            let before = home(&room, &all);
            let after = home(&room, rest);
            if before == Some(gone) {
                moved += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!((350..650).contains(&moved), "an eighth of 4000 rooms: {moved}");
    }

    #[test]
    fn rooms_are_spread_evenly() {
        let nodes = nodes(10);
        let mut load: HashMap<&NodeId, u32> = HashMap::new();
        for room in rooms(10_000) {
            *load.entry(home(&room, &nodes).expect("ten nodes")).or_default() += 1;
        }
        assert_eq!(load.len(), 10);
        for (node, rooms) in load {
            assert!((850..1150).contains(&rooms), "{node} has {rooms} of 10000");
        }
    }

    #[test]
    fn names_that_run_into_each_other_are_told_apart() {
        let nodes: Vec<NodeId> = ["ba", "a"].map(|name| name.parse().expect("a name")).into();
        // Without a separator "x" + "ba" and "xb" + "a" would be the same bytes.
        let weights: Vec<u64> = [("x", "ba"), ("xb", "a")]
            .map(|(room, node)| {
                let mut bytes = room.as_bytes().to_vec();
                bytes.push(SEPARATOR);
                bytes.extend_from_slice(node.as_bytes());
                xxh3_64(&bytes)
            })
            .into();
        assert_ne!(weights[0], weights[1]);
        assert!(home(&"x".parse().expect("a name"), &nodes).is_some());
    }
}
