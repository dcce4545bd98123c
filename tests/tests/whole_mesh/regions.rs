//! Where a mesh has nodes in several regions and zones, people are hosted near where they come in.

use anyhow::{Context, ensure};
use serde_json::json;
use skein_tests::protoo::ConnectOptions;
use skein_tests::{Mesh, MeshBuilder, Protoo, SOON, run, wait};

/// What a worker carries, and what eight who send to each other take of it: too little is left for one more.
const BUDGET: u64 = 13_000;
const EIGHT: u64 = 8 * 7 * 220;
/// In the other region: what seven take leaves space for some, and is fuller than anything else.
const SEVEN: u32 = 7;

/// The first peer of a room, and the node that hosts it.
async fn enters(mesh: &Mesh, entry: usize, options: &ConnectOptions) -> anyhow::Result<(Protoo, usize)> {
    let room = options.room.as_deref().context("a room")?;
    let client = Protoo::connect(&mesh.node(entry).ws(), options).await?;
    client.request("getRouterRtpCapabilities", json!({})).await.with_context(|| room.to_owned())?;
    let host = wait::until("the room is there", SOON, async || {
        let detail = mesh.operator(0).room(room).await?.context("not yet")?;
        Ok(detail.peers.first().context("nobody is in it")?.host.clone())
    })
    .await?;
    Ok((client, mesh.index_of(&host)?))
}

async fn guaranteed(mesh: &Mesh, entry: usize, room: &str, size: u32) -> anyhow::Result<(Protoo, usize)> {
    let options = ConnectOptions::new(room, "first").query("guaranteed", "1");
    enters(mesh, entry, &options.query("size", &size.to_string())).await
}

/// Waits until all nodes know what is left on one.
async fn is_known(mesh: &Mesh, node: usize, fits: impl Fn(u32) -> bool) -> anyhow::Result<()> {
    let id = mesh.node(node).id();
    wait::until("all know what is left there", SOON, async || {
        for other in mesh.nodes() {
            let nodes = other.operator().mesh().await?.nodes;
            let status = nodes.into_iter().find(|one| one.id == *id).context("it is there")?;
            ensure!(fits(status.free_streams), "{} of {id}: {}", other.id(), status.free_streams);
        }
        Ok(())
    })
    .await
}

#[test]
fn people_are_hosted_in_their_entrys_region_and_zone_while_there_is_space() {
    run(60, async {
        let mut mesh = MeshBuilder::new()
            .nodes(4)
            .set("media.packets_per_worker", &BUDGET.to_string())
            // A room that is not expected to grow goes to the fullest worker at once.
            .set("placement.typical_peers", "1");
        // The third is where people come in and carries nobody.
        for (node, region, zone) in [(0, "west", "a"), (1, "east", "a"), (2, "east", "b"), (3, "east", "b")] {
            mesh = mesh.set_node(node, "node.region", region).set_node(node, "node.zone", zone);
        }
        let mesh = mesh.set_node(2, "media.packets_per_worker", "170").start().await?;
        let [far, other, entry, near] = [0, 1, 2, 3];
        let mut clients = Vec::new();
        let (client, host) = guaranteed(&mesh, far, "west", SEVEN).await?;
        ensure!(host == far, "the western room is on {host}");
        clients.push(client);
        is_known(&mesh, far, |free| free < 30).await?;
        // By best fit alone it would be the fuller one in the west, and in the east any of two that are alike.
        for number in 0..3 {
            let (client, host) =
                enters(&mesh, entry, &ConnectOptions::new(&format!("zone-{number}"), "p")).await?;
            ensure!(host == near, "room {number} is on {host}");
            clients.push(client);
        }
        let zone = clients.split_off(1);
        for client in &zone {
            client.close().await;
        }
        is_known(&mesh, near, |free| u64::from(free) == BUDGET / 170).await?;
        // What takes all that is there is in the east too, as long as there is as much.
        let mut hosts = Vec::new();
        for number in 0..2 {
            let (client, host) = guaranteed(&mesh, entry, &format!("east-{number}"), 8).await?;
            clients.push(client);
            hosts.push(host);
            is_known(&mesh, host, |free| u64::from(free) <= (BUDGET - EIGHT) / 170).await?;
        }
        hosts.sort_unstable();
        ensure!(hosts == [other, near], "the eastern rooms are on {hosts:?}");
        // Now there is space in the west alone.
        let (client, host) = enters(&mesh, entry, &ConnectOptions::new("late", "p")).await?;
        ensure!(host == far, "who came last is on {host}");
        clients.push(client);
        for client in &clients {
            client.close().await;
        }
        mesh.is_empty(SOON).await
    });
}
