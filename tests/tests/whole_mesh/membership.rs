//! Who is in the mesh, and who says so.

use anyhow::ensure;
use skein_proto::operator::NodeState;
use skein_tests::mesh::{Exit, reserve};
use skein_tests::peer::Video;
use skein_tests::{MeshBuilder, Peer, PeerOptions, SOON, run, wait};
use std::time::{Duration, Instant};

/// Gossip reaches everyone within a second or so; a leaving node says so first.
const LEFT: Duration = Duration::from_secs(2);
/// A dead node is out of every view within 5 s.
const DEAD: Duration = Duration::from_secs(6);

#[test]
fn three_nodes_see_each_other() {
    run(60, async {
        let mesh = MeshBuilder::new()
            .set("media.workers", "2")
            .set("media.streams_per_worker", "40")
            .set_node(1, "node.region", "eu-central-1")
            .start()
            .await?;
        for node in mesh.nodes() {
            let status = node.operator().mesh().await?;
            assert_eq!(status.mesh, "test");
            assert_eq!(status.node, *node.id());
            assert_eq!(status.leader, None);
            assert_eq!(status.rooms, 0);
            let roles: Vec<_> = status.nodes.iter().map(|node| node.role.as_str()).collect();
            assert_eq!(roles, ["seed", "node", "node"]);
            let regions: Vec<_> = status.nodes.iter().map(|node| node.region.as_str()).collect();
            assert_eq!(regions, ["local", "eu-central-1", "local"]);
            for (seen, real) in status.nodes.iter().zip(mesh.nodes()) {
                assert_eq!(seen.id, *real.id());
                assert_eq!(seen.state, NodeState::Alive);
                assert_eq!(seen.url, real.url());
                assert_eq!((seen.free_streams, seen.total_streams), (80, 80));
                assert_eq!(seen.workers, [40, 40]);
                assert_eq!(seen.peers, 0);
            }
        }
        Ok(())
    });
}

#[test]
fn everyone_knows_how_much_is_free() {
    run(60, async {
        let mesh = MeshBuilder::new().set("media.streams_per_worker", "40").start().await?;
        let peer =
            Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "alice").audio().video(Video::Single))
                .await?;
        wait::until("everyone sees that one node has less", SOON, async || {
            for node in mesh.nodes() {
                let status = node.operator().mesh().await?;
                let free: Vec<_> = status.nodes.iter().map(|node| node.free_streams).collect();
                let peers: u32 = status.nodes.iter().map(|node| node.peers).sum();
                // How much less is first what is expected of the peer, and then what is measured: less than a stream
                // of video and one of sound, and more than nothing.
                let taken: Vec<_> = free.iter().map(|free| 40 - free).filter(|taken| *taken > 0).collect();
                ensure!(matches!(taken[..], [1 | 2]), "{} sees {free:?}", node.id());
                ensure!(peers == 1 && status.rooms == 1, "{} sees {status:?}", node.id());
            }
            Ok(())
        })
        .await?;
        peer.leave().await;
        mesh.is_empty(SOON).await
    });
}

#[test]
fn a_fourth_joins_through_any_one_seed() {
    run(90, async {
        let mut mesh = MeshBuilder::new().start().await?;
        let last = mesh.node(2).mesh_addr();
        mesh.add_node(Some(vec![last])).await?;
        // Of several seeds one that answers is enough.
        let nobody = reserve()?.mesh;
        let newest = mesh.node(3).mesh_addr();
        mesh.add_node(Some(vec![nobody, newest])).await?;
        assert_eq!(mesh.operator(0).mesh().await?.nodes.len(), 5);
        Ok(())
    });
}

#[test]
fn a_node_that_stops_leaves_at_once() {
    run(60, async {
        let mut mesh = MeshBuilder::new().start().await?;
        mesh.node_mut(1).terminate()?;
        let asked = Instant::now();
        let exit = mesh.node_mut(1).ended(SOON).await?;
        assert_eq!(exit, Exit { code: Some(0), signal: None });
        assert!(asked.elapsed() < Duration::from_secs(4), "it takes {:?}", asked.elapsed());
        mesh.agrees(LEFT).await
    });
}

#[test]
fn a_node_that_dies_is_gone_within_seconds() {
    run(60, async {
        let mut mesh = MeshBuilder::new().start().await?;
        mesh.node_mut(2).kill()?;
        mesh.agrees(DEAD).await?;
        // The seed, too, is a node like any other once the mesh stands.
        mesh.node_mut(0).kill()?;
        mesh.agrees(DEAD).await?;
        mesh.add_node(None).await?;
        Ok(())
    });
}
