//! Seeds by tags, asked of the strict fake.

use super::*;
use crate::mesh::tests::{LONG, World};
use crate::mesh::{Mesh, MeshSettings};
use crate::scaler::cloud::ec2::seeds::TaggedSeeds;
use skein_bootstrap::config::Config;
use skein_bootstrap::seeds::SeedSource;
use std::sync::Arc;

pub(super) async fn source(endpoint: &str, which: &str, limits: Limits) -> TaggedSeeds {
    source_at(4477, endpoint, which, limits).await
}

async fn source_at(port: u16, endpoint: &str, which: &str, limits: Limits) -> TaggedSeeds {
    let settings = [
        "node.id=n1",
        "mesh.name=m",
        "mesh.ca=ca.pem",
        "mesh.cert=c.pem",
        "mesh.key=k.pem",
        &format!("mesh.listen=127.0.0.1:{port}"),
        "scaling.ec2.region=eu-central-1",
        &format!("scaling.ec2.endpoint={endpoint}"),
        &format!("mesh.seeds_from_ec2={which}"),
    ]
    .map(str::to_owned);
    let config = Config::load(None, [], &settings).expect("loads");
    let made = TaggedSeeds::with(&config, limits, Some(credentials())).await.expect("has a region");
    made.expect("is configured")
}

fn sockets(addresses: &[&str]) -> Vec<std::net::SocketAddr> {
    addresses.iter().map(|address| format!("{address}:4477").parse().expect("an address")).collect()
}

#[tokio::test]
async fn machines_of_the_mesh_that_run_are_seeds_and_no_others() {
    // The lists have several pages.
    let (fake, cloud) = setup(Rules { page: 2, ..Rules::default() }).await;
    let seeds = source(&fake.url(), "seeds", limits()).await;
    let all = source(&fake.url(), "all", limits()).await;
    assert_eq!(seeds.find().await, Ok(Vec::new()), "nobody is there yet");

    fake.add(&[]);
    fake.add(&[(MESH_TAG, "other"), (ROLE_TAG, SEED_ROLE)]);
    fake.add(&[(ROLE_TAG, SEED_ROLE)]);
    cloud.launch(&launch(1, LARGE)).await.expect("is launched");
    fake.advance(Duration::from_secs(60));
    cloud.launch(&launch(2, LARGE)).await.expect("is launched");
    let first = fake.add(&[(MESH_TAG, "m"), (ROLE_TAG, SEED_ROLE)]);
    fake.advance(Duration::from_secs(1));
    fake.add(&[(MESH_TAG, "m"), (ROLE_TAG, SEED_ROLE)]);

    let (one, two) = ("10.0.0.9", "10.0.0.10");
    assert_eq!(seeds.find().await, Ok(sockets(&[one, two])));
    assert_eq!(all.find().await, Ok(sockets(&[one, two, "10.0.0.7"])), "seeds first; the second boots");
    fake.advance(Duration::from_secs(60));
    assert_eq!(all.find().await, Ok(sockets(&[one, two, "10.0.0.7", "10.0.0.8"])), "and who runs longest");
    fake.kill(&first);
    assert_eq!(seeds.find().await, Ok(sockets(&[two])));
}

#[tokio::test]
async fn a_large_mesh_is_not_dialled_whole() {
    let (fake, _) = setup(Rules::default()).await;
    for _ in 0..70 {
        fake.add(&[(MESH_TAG, "m"), (ROLE_TAG, NODE_ROLE)]);
    }
    fake.add(&[(MESH_TAG, "m"), (ROLE_TAG, SEED_ROLE)]);
    let found = source(&fake.url(), "all", limits()).await.find().await.expect("a list");
    assert_eq!((found.len(), found[0].to_string().as_str()), (64, "10.0.0.74:4477"));
}

#[tokio::test]
async fn what_keeps_seeds_from_being_found_is_told_with_its_key_and_in_the_same_words() {
    let (fake, _) = setup(Rules::default()).await;
    fake.add(&[(MESH_TAG, "m"), (ROLE_TAG, SEED_ROLE)]);
    let seeds = source(&fake.url(), "seeds", limits()).await;
    fake.fail_next("DescribeInstances", [Failure::LostAnswer, Failure::LostAsking]);
    assert_eq!(seeds.find().await.map(|found| found.len()), Ok(1), "it is asked again");
    let denied = "You are not authorized. Encoded authorization failure message: ";
    let mut told = BTreeSet::new();
    for code in ["a1", "b2"] {
        let message = format!("{denied}{code}");
        fake.fail_next("DescribeInstances", [Failure::Denied { message: message.leak() }]);
        told.insert(seeds.find().await.expect_err("is denied"));
    }
    let [told] = &Vec::from_iter(told)[..] else { panic!("two texts would be logged twice") };
    assert!(told.starts_with("mesh.seeds_from_ec2: ") && told.contains("UnauthorizedOperation"), "{told}");
    let short = Limits { call: Duration::from_millis(300), attempt: Duration::from_millis(100), ..limits() };
    let hasty = source(&fake.url(), "seeds", short).await;
    fake.fail_next("DescribeInstances", vec![Failure::Silence; 8]);
    let begun = Instant::now();
    assert!(hasty.find().await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_node_without_a_list_of_seeds_joins_through_one_that_is_tagged() {
    let world = World::new();
    let (a, _streams) = world.mesh("a", &[]).await;
    // It fails at first, and one of the seeds that are found is nobody.
    let (fake, _) = setup(Rules::default()).await;
    fake.fail_next("DescribeInstances", [error("UnauthorizedOperation")]);
    for address in ["127.0.0.9", "127.0.0.1"] {
        let machine = fake.add(&[(MESH_TAG, "m"), (ROLE_TAG, SEED_ROLE)]);
        fake.set_address(&machine, address);
    }
    let source = source_at(a.addr().port(), &fake.url(), "seeds", limits()).await;
    let settings = MeshSettings { sources: vec![Arc::new(source)], ..world.settings("b", &[]) };
    let (b, _streams) = Mesh::start(settings).await.expect("starts");
    for mesh in [&a, &b] {
        let mut view = mesh.view();
        let both = view.wait_for(|view| view.nodes.len() == 2);
        tokio::time::timeout(LONG, both).await.expect("in time").expect("it runs");
    }
    // Not alone any more: it is not asked every few seconds.
    assert_eq!(fake.calls("DescribeInstances"), 2);
}
