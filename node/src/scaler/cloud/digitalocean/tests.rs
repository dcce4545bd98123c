//! Against the fake API.

use super::*;
use crate::scaler::cloud::fake_digitalocean::{Failure, FakeDigitalOcean, Rules};
use crate::scaler::cloud::node_of;
use axum::http::Method;
use serde_json::json;
use std::io::Write as _;
use std::time::Duration;

fn limits() -> Limits {
    let milliseconds = Duration::from_millis;
    Limits { call: milliseconds(5000), request: milliseconds(2000), backoff: milliseconds(5) }
}

struct Setup {
    fake: FakeDigitalOcean,
    cloud: DigitalOcean,
    settings: DigitalOceanCloud,
    _token: tempfile::NamedTempFile,
}

async fn setup(rules: Rules) -> Setup {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut token = tempfile::NamedTempFile::new().expect("a file");
    writeln!(token, "dop_v1_fake").expect("is written");
    let fake = FakeDigitalOcean::start(rules).await.expect("a port");
    let settings = DigitalOceanCloud {
        endpoint: Some(fake.url()),
        token_file: token.path().to_owned(),
        region: "fra1".to_owned(),
        image: "4711".to_owned(),
        ssh_keys: vec!["12".to_owned(), "ab:cd".to_owned()],
        vpc: Some("vpc-1".to_owned()),
        ..DigitalOceanCloud::default()
    };
    let cloud = DigitalOcean::with("m", &settings, limits()).await.expect("a cloud");
    Setup { fake, cloud, settings, _token: token }
}

fn launch(number: u64, kind: &str) -> Launch {
    let node = node_of("m", number).expect("a name");
    Launch { number, node, kind: kind.to_owned(), user_data: format!("SKEIN_NUMBER={number}\n") }
}

fn droplet(name: &str, number: u64) -> serde_json::Value {
    let tags = ["skein-node".to_owned(), "skein-mesh-m".to_owned(), format!("skein-number-{number}")];
    json!({ "name": name, "size": "c-4", "tags": tags })
}

#[tokio::test]
async fn a_droplet_goes_all_its_way() {
    let Setup { fake, cloud, .. } = setup(Rules::default()).await;
    let machine = cloud.launch(&launch(7, "c-4")).await.expect("is launched");
    assert_eq!((machine.number, machine.kind.as_str(), machine.state), (7, "c-4", MachineState::Pending));
    assert_eq!(machine.address.map(|address| address.to_string()), Some("10.1.0.1".to_owned()));
    let asked = &fake.droplets()[0].asked;
    let expected = json!({
        "name": "m-7", "region": "fra1", "size": "c-4", "image": 4711, "ssh_keys": [12, "ab:cd"],
        "vpc_uuid": "vpc-1", "user_data": "SKEIN_NUMBER=7\n",
        "tags": ["skein-node", "skein-mesh-m", "skein-number-7"],
    });
    assert_eq!(*asked, expected);
    fake.advance(Duration::from_secs(40));
    let state = async || cloud.list().await.expect("a list").first().map(|machine| machine.state);
    assert_eq!(state().await, Some(MachineState::Running));
    cloud.start(&machine.id).await.expect("runs already");
    cloud.stop(&machine.id).await.expect("is stopped");
    cloud.stop(&machine.id).await.expect("is stopped already");
    assert_eq!(state().await, Some(MachineState::Stopped));
    cloud.start(&machine.id).await.expect("is started");
    assert_eq!(state().await, Some(MachineState::Running));
    cloud.terminate(&machine.id).await.expect("is ended");
    assert_eq!(state().await, None);
    assert_eq!(cloud.terminate(&machine.id).await, Err(CloudError::Unknown(machine.id)));
}

#[tokio::test]
async fn a_number_that_is_launched_again_gives_the_same_droplet() {
    let Setup { fake, cloud, .. } = setup(Rules::default()).await;
    let first = cloud.launch(&launch(1, "c-4")).await.expect("is launched");
    assert_eq!(cloud.launch(&launch(1, "c-4")).await, Ok(first));
    assert_eq!(cloud.launch(&launch(1, "s-1vcpu-1gb")).await, Err(CloudError::Taken(1)));
    assert_eq!(fake.droplets().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_droplet() {
    let Setup { fake, cloud, .. } = setup(Rules::default()).await;
    fake.fail_next(&Method::POST, [Failure::LostAnswer]);
    let lost = cloud.launch(&launch(1, "c-4")).await;
    assert!(matches!(lost, Err(CloudError::Unreachable(_))), "{lost:?}");
    assert_eq!(fake.droplets().len(), 1);
    cloud.launch(&launch(1, "c-4")).await.expect("is found");
    assert_eq!(fake.droplets().len(), 1);
}

#[tokio::test]
async fn of_two_droplets_of_one_number_the_older_stays() {
    let Setup { fake, cloud, .. } = setup(Rules { unseen: 2, ..Rules::default() }).await;
    // Neither look shows it, so each leader makes one of its own.
    let first = cloud.launch(&launch(1, "c-4")).await.expect("is launched");
    fake.change(|rules| rules.unseen = 0);
    let second = cloud.launch(&launch(1, "c-4")).await.expect("is launched");
    assert_eq!((&second.id, fake.droplets().len()), (&first.id, 1));

    fake.add(droplet("m-5", 5));
    fake.add(droplet("m-5", 5));
    let list = cloud.list().await.expect("a list");
    assert_eq!(list.iter().map(|machine| machine.number).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(fake.droplets().iter().map(|droplet| droplet.id % 10).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn two_leaders_at_once_end_with_one_droplet_a_number() {
    let Setup { fake, cloud, .. } = setup(Rules { unseen: 1, ..Rules::default() }).await;
    let leader = || async {
        for number in 1..=4 {
            let _ = cloud.launch(&launch(number, "c-4")).await;
        }
    };
    tokio::join!(leader(), leader());
    for _ in 0..3 {
        cloud.list().await.expect("a list");
    }
    let names: Vec<_> = fake.droplets().iter().map(|droplet| droplet.asked["name"].clone()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(cloud.list().await.expect("a list").len(), 4);
}

#[tokio::test]
async fn a_list_of_many_pages_is_whole_and_only_ours() {
    let Setup { fake, cloud, .. } = setup(Rules { page: 3, ..Rules::default() }).await;
    for number in 1..=10 {
        fake.add(droplet(&format!("m-{number}"), number));
    }
    // By hand: tagged, and not of the form that a launch has.
    let strange =
        [fake.add(droplet("m-11", 12)), fake.add(json!({ "name": "db", "size": "c-4", "tags": [] }))];
    let list = cloud.list().await.expect("a list");
    assert_eq!(list.iter().map(|machine| machine.number).collect::<Vec<_>>(), Vec::from_iter(1..=10));
    for id in strange.map(|id| MachineId(id.to_string())) {
        assert_eq!(cloud.terminate(&id).await, Err(CloudError::NotOurs(id.clone())));
        assert_eq!(cloud.stop(&id).await, Err(CloudError::NotOurs(id)));
    }
    fake.fail_next(&Method::GET, [Failure::Status(200, None)]);
    let half = cloud.list().await;
    assert!(matches!(half, Err(CloudError::Unreachable(_))), "{half:?}");
    assert_eq!(
        cloud.terminate(&MachineId("99".to_owned())).await,
        Err(CloudError::Unknown(MachineId("99".to_owned())))
    );
}

#[tokio::test]
async fn throttling_is_waited_for_within_the_deadline() {
    let Setup { fake, cloud, .. } = setup(Rules::default()).await;
    fake.fail_next(&Method::GET, [Failure::Status(429, Some(1)), Failure::Status(429, None)]);
    let begun = Instant::now();
    cloud.list().await.expect("a list, after a while");
    assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After is kept");
    fake.fail_next(&Method::GET, [Failure::Status(429, Some(3600))]);
    let throttled = cloud.list().await;
    assert!(matches!(throttled, Err(CloudError::Throttled(_))), "{throttled:?}");
    fake.fail_next(&Method::POST, [Failure::Status(429, None)]);
    cloud.launch(&launch(1, "c-4")).await.expect("nothing was done the first time");
    assert_eq!(fake.droplets().len(), 1);
}

#[tokio::test]
async fn each_refusal_has_its_meaning() {
    let Setup { fake, cloud, settings, .. } = setup(Rules { limit: 1, ..Rules::default() }).await;
    let wrong_size = cloud.launch(&launch(1, "huge")).await;
    assert!(matches!(wrong_size, Err(CloudError::Refused(_))), "{wrong_size:?}");
    let long = Launch { user_data: "x".repeat(MAX_USER_DATA + 1), ..launch(1, "c-4") };
    assert!(matches!(cloud.launch(&long).await, Err(CloudError::Refused(_))));
    cloud.launch(&launch(1, "c-4")).await.expect("is launched");
    let full = cloud.launch(&launch(2, "c-4")).await;
    assert!(matches!(full, Err(CloudError::NoCapacity(_))), "{full:?}");
    fake.fail_next(&Method::GET, [Failure::Status(403, None)]);
    assert!(matches!(cloud.list().await, Err(CloudError::Refused(_))));
    fake.fail_next(&Method::GET, [Failure::Status(502, None), Failure::LostAsking]);
    assert_eq!(cloud.list().await.map(|list| list.len()), Ok(1), "is asked again");
    fake.fail_next(&Method::POST, [Failure::Status(502, None)]);
    fake.change(|rules| rules.limit = 9);
    assert!(matches!(cloud.launch(&launch(2, "c-4")).await, Err(CloudError::Unreachable(_))));
    let made = fake.requests().iter().filter(|request| *request == "POST /v2/droplets").count();
    assert_eq!((made, fake.droplets().len()), (4, 1), "what may have been done is not sent again");

    fake.change(|rules| rules.token = "another".to_owned());
    let unknown = cloud.list().await;
    assert!(matches!(unknown, Err(CloudError::Refused(_))), "{unknown:?}");
    assert!(!format!("{cloud:?} {unknown:?}").contains("dop_v1_fake"), "the token is said nowhere");
    let mesh = DigitalOcean::with("Großes Netz", &settings, limits()).await;
    assert!(matches!(mesh, Err(CloudError::Refused(_))), "{mesh:?}");
    let no_file = DigitalOceanCloud { token_file: "/nowhere".into(), ..settings };
    let without = DigitalOcean::with("m", &no_file, limits()).await.expect_err("there is no token");
    assert!(without.to_string().contains("/nowhere"), "{without}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let Setup { fake, cloud, .. } = setup(Rules::default()).await;
    fake.fail_next(&Method::GET, [Failure::Endless]);
    let endless = cloud.list().await;
    assert!(matches!(&endless, Err(CloudError::Unreachable(why)) if why.contains("bytes")), "{endless:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_in_time() {
    let Setup { fake, cloud, .. } = setup(Rules::default()).await;
    drop(fake);
    let gone = cloud.list().await;
    assert!(matches!(gone, Err(CloudError::Unreachable(_))), "{gone:?}");
}

#[tokio::test]
async fn the_price_is_the_size_s() {
    let Setup { fake: _fake, cloud, .. } = setup(Rules::default()).await;
    assert_eq!((cloud.price("c-4").await, cloud.price("huge").await), (Some(0.125), None));
}
