//! Who leads when the mesh falls apart and comes together again.

use anyhow::{Context, ensure};
use skein_proto::ids::NodeId;
use skein_tests::{Mesh, MeshBuilder, run, wait};
use std::time::Duration;

/// How long an election may take after the lease of the one before: 2 s here.
const ELECTION: Duration = Duration::from_secs(30);

/// Whom a node takes for the leader.
async fn leader_at(mesh: &Mesh, index: usize) -> anyhow::Result<Option<NodeId>> {
    Ok(mesh.operator(index).mesh().await?.leader)
}

/// Waits until all of these nodes name the same leader, one of these.
async fn agree(mesh: &Mesh, nodes: &[usize]) -> anyhow::Result<usize> {
    wait::until("they agree who leads", ELECTION, async || {
        let mut named = Vec::new();
        for index in nodes {
            named.push(leader_at(mesh, *index).await?.with_context(|| format!("{index} names nobody"))?);
        }
        named.dedup();
        ensure!(named.len() == 1, "{named:?}");
        let leader = mesh.index_of(&named[0])?;
        ensure!(nodes.contains(&leader), "{leader} is not one of {nodes:?}");
        Ok(leader)
    })
    .await
}

/// Three nodes whose wires can be cut, with the index of the one that leads and those of the others.
async fn three_that_vote() -> anyhow::Result<(Mesh, usize, Vec<usize>)> {
    let mesh = MeshBuilder::new()
        .wired()
        .set("election.voters", r#"["n1", "n2", "n3"]"#)
        .set("election.lease_s", "2.0")
        .set("election.renew_s", "0.5")
        .start()
        .await?;
    let first = agree(&mesh, &[0, 1, 2]).await?;
    let others = (0..3).filter(|index| *index != first).collect();
    Ok((mesh, first, others))
}

#[test]
fn a_leader_that_is_cut_off_is_succeeded_and_follows_when_it_is_back() {
    run(120, async {
        let (mesh, first, others) = three_that_vote().await?;
        mesh.cut_off(first);
        let second = agree(&mesh, &others).await?;
        // It let go of the lease before anybody else could have it.
        let own = mesh.node(first).id();
        let named = leader_at(&mesh, first).await?;
        ensure!(named.as_ref() != Some(own), "{own} is alone and says that it leads");
        // Alone it does not lead again, however long it tries: a few leases.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let named = leader_at(&mesh, first).await?;
            ensure!(named.as_ref() != Some(own), "{own} is alone and says that it leads");
            ensure!(leader_at(&mesh, others[0]).await?.as_ref() != Some(own), "{own} leads from afar");
        }
        mesh.mend();
        mesh.agrees(ELECTION).await?;
        let third = agree(&mesh, &[0, 1, 2]).await?;
        ensure!(third == second, "{third} leads, and {second} did when the wire was mended");
        Ok(())
    });
}

#[test]
fn a_follower_that_is_cut_off_changes_nothing_for_the_others() {
    run(120, async {
        let (mesh, first, others) = three_that_vote().await?;
        mesh.cut_off(others[0]);
        let pair = [first, others[1]];
        wait::until("it is missed", ELECTION, async || {
            let seen = mesh.operator(first).mesh().await?.nodes.len();
            ensure!(seen == 2, "{seen} nodes are seen");
            Ok(())
        })
        .await?;
        ensure!(agree(&mesh, &pair).await? == first, "the lead changed hands");
        mesh.mend();
        mesh.agrees(ELECTION).await?;
        ensure!(agree(&mesh, &[0, 1, 2]).await? == first, "the lead changed hands");
        Ok(())
    });
}
