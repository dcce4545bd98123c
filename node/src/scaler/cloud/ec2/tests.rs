//! The SDK itself, against the strict fake, against moto, and against a fake metadata service.

mod instance;
mod moto;
mod seeds;

use super::*;
use crate::scaler::cloud::fake_ec2::{Failure, FakeEc2, Rules};
use crate::scaler::cloud::node_of;
use aws_sdk_ec2::config::Credentials;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

fn limits() -> Limits {
    Limits {
        call: Duration::from_secs(5),
        attempt: Duration::from_secs(2),
        attempts: 4,
        backoff: Duration::from_millis(5),
        page: 5,
    }
}

fn settings(endpoint: String) -> Ec2Cloud {
    Ec2Cloud {
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(endpoint),
        launch_template: "lt-0123456789abcdef0".to_owned(),
        launch_template_version: "3".to_owned(),
        subnets: vec!["subnet-a".to_owned(), "subnet-b".to_owned()],
        ..Ec2Cloud::default()
    }
}

fn credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("AKIDFAKE", "hidden", None, None, "test"))
}

async fn ec2(settings: &Ec2Cloud, limits: Limits) -> Ec2 {
    Ec2::with("m", settings, 2, limits, Some(credentials())).await.expect("a cloud")
}

async fn setup(rules: Rules) -> (FakeEc2, Ec2) {
    let fake = FakeEc2::start(rules).await.expect("a port");
    let cloud = ec2(&settings(fake.url()), limits()).await;
    (fake, cloud)
}

fn launch(number: u64, kind: &str) -> Launch {
    let node = node_of("m", number).expect("a name");
    Launch { number, node, kind: kind.to_owned(), user_data: format!("SKEIN_NUMBER={number}\n") }
}

const LARGE: &str = "c7a.large";
const XLARGE: &str = "c7a.xlarge";

fn error(code: &'static str) -> Failure {
    Failure::Error { status: 400, code }
}

#[tokio::test]
async fn a_launch_carries_what_its_number_says() {
    let (fake, cloud) = setup(Rules::default()).await;
    let cloud = Ec2 { settings: Ec2Cloud { spot: true, ..cloud.settings.clone() }, ..cloud };
    let machine = cloud.launch(&launch(6, LARGE)).await.expect("is launched");
    assert_eq!((machine.number, machine.kind.as_str(), machine.state), (6, LARGE, MachineState::Pending));
    assert!(machine.launched.is_some() && machine.address.is_some(), "{machine:?}");
    let made = &fake.instances()[0];
    // Two types: 6 / 2 = 3, and the fourth turn of two subnets is the second.
    assert_eq!(
        (made.subnet.as_str(), made.spot, made.id.as_str()),
        ("subnet-b", true, machine.id.0.as_str())
    );
    let tags = [("Name", "m-6"), (MESH_TAG, "m"), (NUMBER_TAG, "6"), (ROLE_TAG, "node")];
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!((&made.tags, &made.volume_tags), (&tags, &tags));
    assert_eq!(made.user_data, aws_smithy_types::base64::encode("SKEIN_NUMBER=6\n"));
    let subnets: Vec<_> = (0..6).map(|number| cloud.subnet(number)).collect();
    assert_eq!(subnets, ["subnet-a", "subnet-a", "subnet-b", "subnet-b", "subnet-a", "subnet-a"]);
}

#[tokio::test]
async fn a_number_that_is_launched_again_gives_the_same_machine() {
    let (fake, cloud) = setup(Rules::default()).await;
    let first = cloud.launch(&launch(1, LARGE)).await.expect("is launched");
    let other_leader = ec2(&settings(fake.url()), limits()).await;
    let (again, new) = (launch(1, LARGE), launch(2, XLARGE));
    let (one, two, three) =
        tokio::join!(other_leader.launch(&again), cloud.launch(&new), other_leader.launch(&new));
    assert_eq!(one, Ok(first));
    assert_eq!(two.expect("is launched"), three.expect("is launched"));
    assert_eq!(cloud.launch(&launch(1, XLARGE)).await, Err(CloudError::Taken(1)));
    assert_eq!(fake.instances().len(), 2);
}

#[tokio::test]
async fn a_number_whose_machine_is_gone_is_used_up() {
    let (fake, cloud) = setup(Rules::default()).await;
    let machine = cloud.launch(&launch(1, LARGE)).await.expect("is launched");
    cloud.terminate(&machine.id).await.expect("is ended");
    assert_eq!(cloud.launch(&launch(1, LARGE)).await, Err(CloudError::UsedUp(1)), "while it ends");
    fake.advance(Duration::from_secs(60));
    assert_eq!(cloud.launch(&launch(1, LARGE)).await, Err(CloudError::UsedUp(1)), "as an instance");
    fake.change(|rules| rules.ended_is_error = true);
    assert_eq!(cloud.launch(&launch(1, LARGE)).await, Err(CloudError::UsedUp(1)), "as an error");
    assert_eq!(fake.instances().len(), 1);
}

#[tokio::test]
async fn lost_answers_make_no_second_machine() {
    let (fake, cloud) = setup(Rules::default()).await;
    fake.fail_next("RunInstances", [Failure::LostAnswer, Failure::LostAsking]);
    cloud.launch(&launch(1, LARGE)).await.expect("is asked again with the same token");
    assert_eq!((fake.instances().len(), fake.calls("RunInstances")), (1, 3));
    fake.fail_next("RunInstances", vec![Failure::LostAnswer; 4]);
    let lost = cloud.launch(&launch(2, LARGE)).await;
    assert!(matches!(lost, Err(CloudError::Unreachable(_))), "{lost:?}");
    assert_eq!(fake.instances().len(), 2, "it was done");
    cloud.launch(&launch(2, LARGE)).await.expect("is the same");
    assert_eq!(fake.instances().len(), 2);
}

#[tokio::test]
async fn silence_ends_with_the_deadline() {
    let (fake, _) = setup(Rules::default()).await;
    let milliseconds = Duration::from_millis;
    let short = Limits { call: milliseconds(400), attempt: milliseconds(150), ..limits() };
    let cloud = ec2(&settings(fake.url()), short).await;
    fake.fail_next("DescribeInstances", vec![Failure::Silence; 8]);
    let begun = Instant::now();
    let silent = cloud.list().await;
    assert!(matches!(silent, Err(CloudError::Unreachable(_))), "{silent:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    drop(fake);
    let gone = cloud.list().await;
    assert!(matches!(gone, Err(CloudError::Unreachable(_))), "{gone:?}");
}

#[tokio::test]
async fn throttling_is_waited_out_and_then_told() {
    let (fake, cloud) = setup(Rules { throttle_every: Some(2), ..Rules::default() }).await;
    for number in 1..=4 {
        cloud.launch(&launch(number, LARGE)).await.expect("is launched");
    }
    assert_eq!(cloud.list().await.map(|list| list.len()), Ok(4));
    fake.change(|rules| rules.throttle_every = Some(1));
    let (listed, launched) = (cloud.list().await, cloud.launch(&launch(5, LARGE)).await);
    assert!(matches!(&listed, Err(CloudError::Throttled(why)) if why.contains("RequestLimit")), "{listed:?}");
    assert!(matches!(launched, Err(CloudError::Throttled(_))), "{launched:?}");
    assert_eq!(fake.instances().len(), 4);
}

#[tokio::test]
async fn no_capacity_is_told_at_once_and_only_of_that_zone_and_type() {
    let (fake, cloud) = setup(Rules::default()).await;
    fake.change(|rules| rules.no_capacity = [("zone-a".to_owned(), LARGE.to_owned())].into());
    let none = cloud.launch(&launch(1, LARGE)).await;
    assert!(matches!(&none, Err(CloudError::NoCapacity(why)) if why.contains("zone-a")), "{none:?}");
    assert_eq!(fake.calls("RunInstances"), 1, "it is HTTP 500, and not asked again");
    // Nothing was done, so the number is free for another type.
    cloud.launch(&launch(1, XLARGE)).await.expect("is launched");
    cloud.launch(&launch(2, LARGE)).await.expect("is launched in the other zone");
    fake.change(|rules| rules.quota = 2);
    let full = cloud.launch(&launch(3, LARGE)).await;
    assert!(matches!(&full, Err(CloudError::NoCapacity(why)) if why.contains("Vcpu")), "{full:?}");
    for code in ["InstanceLimitExceeded", "MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow", "Unsupported"]
    {
        fake.fail_next("RunInstances", [error(code)]);
        let none = cloud.launch(&launch(9, LARGE)).await;
        assert!(matches!(none, Err(CloudError::NoCapacity(_))), "{code}: {none:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_name() {
    let (fake, cloud) = setup(Rules::default()).await;
    for code in ["UnauthorizedOperation", "InvalidParameterValue", "AuthFailure", "OptInRequired"] {
        fake.fail_next("RunInstances", [error(code)]);
        let refused = cloud.launch(&launch(1, LARGE)).await;
        assert!(matches!(&refused, Err(CloudError::Refused(why)) if why.contains(code)), "{refused:?}");
    }
    let refused = cloud.launch(&launch(1, "m1.huge")).await;
    assert!(matches!(&refused, Err(CloudError::Refused(why)) if why.contains("m1.huge")), "{refused:?}");
    let long = Launch { user_data: "x".repeat(MAX_USER_DATA + 1), ..launch(1, LARGE) };
    assert!(matches!(cloud.launch(&long).await, Err(CloudError::Refused(_))));
    let template = Ec2Cloud { launch_template_version: "4".to_owned(), ..settings(fake.url()) };
    let refused = ec2(&template, limits()).await.launch(&launch(1, LARGE)).await;
    assert!(matches!(&refused, Err(CloudError::Refused(why)) if why.contains("version 4")), "{refused:?}");
    fake.change(|rules| rules.access_key = "AKIDOTHER".to_owned());
    let refused = cloud.list().await;
    assert!(matches!(&refused, Err(CloudError::Refused(why)) if why.contains("AuthFailure")), "{refused:?}");
    assert!(!format!("{cloud:?} {refused:?}").contains("hidden"), "the secret is said nowhere");
    assert!(fake.instances().is_empty());
}

#[tokio::test]
async fn a_name_that_makes_no_client_token_is_refused() {
    for (mesh, fits) in [("a".repeat(43), true), ("a".repeat(44), false), ("netz-ü".to_owned(), false)] {
        let made = Ec2::new(&mesh, &settings("http://127.0.0.1:9".to_owned()), 1).await;
        assert_eq!(made.is_ok(), fits, "{mesh}");
    }
}

#[tokio::test]
async fn a_list_of_many_pages_is_whole_and_only_ours() {
    let (fake, cloud) = setup(Rules { page: 3, ..Rules::default() }).await;
    for number in 1..=10 {
        cloud.launch(&launch(number, LARGE)).await.expect("is launched");
    }
    let tags = |number| [(MESH_TAG, "m"), (ROLE_TAG, "node"), (NUMBER_TAG, number)];
    let mut strange =
        vec![fake.add(&[]), fake.add(&[(MESH_TAG, "m"), (ROLE_TAG, "seed"), (NUMBER_TAG, "1")])];
    strange.push(fake.add(&[(MESH_TAG, "other"), (ROLE_TAG, "node"), (NUMBER_TAG, "1")]));
    strange.extend(["", "-1", "007", "1x", "99999999999999999999"].map(|number| fake.add(&tags(number))));
    let list = cloud.list().await.expect("a list");
    assert_eq!(list.iter().map(|machine| machine.number).collect::<Vec<_>>(), Vec::from_iter(1..=10));
    for id in strange.into_iter().map(MachineId) {
        for done in [cloud.terminate(&id).await, cloud.stop(&id).await, cloud.start(&id).await] {
            assert_eq!(done, Err(CloudError::NotOurs(id.clone())));
        }
    }
    assert_eq!((fake.calls("TerminateInstances"), fake.calls("StopInstances")), (0, 0));
    // A page that fails in the middle leaves no half of a list. The first answer is whole, the others are refused.
    fake.fail_next("DescribeInstances", [Failure::LostAsking]);
    assert_eq!(cloud.list().await.map(|list| list.len()), Ok(10));
    fake.change(|rules| rules.throttle_every = Some(2));
    let once = Limits { attempts: 1, ..limits() };
    let half = ec2(&settings(fake.url()), once).await.list().await;
    assert!(matches!(half, Err(CloudError::Throttled(_))), "{half:?}");
}

#[tokio::test]
async fn what_is_not_visible_yet_is_unknown_and_never_gone() {
    let (fake, cloud) = setup(Rules { unseen: 3, ..Rules::default() }).await;
    let machine = cloud.launch(&launch(1, LARGE)).await.expect("is launched");
    assert_eq!(cloud.list().await, Ok(Vec::new()));
    assert_eq!(cloud.terminate(&machine.id).await, Err(CloudError::Unknown(machine.id.clone())));
    assert_eq!(cloud.launch(&launch(1, LARGE)).await, Ok(machine.clone()), "the token knows it");
    assert_eq!(cloud.list().await, Ok(Vec::new()));
    assert_eq!(cloud.list().await, Ok(vec![machine.clone()]));
    cloud.terminate(&machine.id).await.expect("is ended");
    let never = MachineId("i-00000000000000099".to_owned());
    assert_eq!(cloud.terminate(&never).await, Err(CloudError::Unknown(never)));
    assert_eq!(fake.instances().len(), 1);
}

#[tokio::test]
async fn a_machine_goes_through_its_states() {
    let (fake, cloud) = setup(Rules::default()).await;
    let machine = cloud.launch(&launch(1, LARGE)).await.expect("is launched");
    let state = async || cloud.list().await.expect("a list").first().map(|machine| machine.state);
    let minute = Duration::from_secs(60);
    cloud.start(&machine.id).await.expect("is about to run");
    let early = cloud.stop(&machine.id).await;
    assert!(matches!(early, Err(CloudError::Refused(_))), "{early:?}");
    fake.advance(minute);
    assert_eq!(state().await, Some(MachineState::Running));
    cloud.stop(&machine.id).await.expect("is stopped");
    assert_eq!(state().await, Some(MachineState::Stopping));
    cloud.stop(&machine.id).await.expect("is about to be stopped");
    fake.advance(minute);
    assert_eq!(state().await, Some(MachineState::Stopped));
    cloud.start(&machine.id).await.expect("is started");
    assert_eq!(state().await, Some(MachineState::Pending));
    let again = cloud.list().await.expect("a list")[0].launched;
    assert!(again > machine.launched, "a start counts as a launch");
    cloud.terminate(&machine.id).await.expect("is ended");
    assert_eq!(state().await, Some(MachineState::Terminating));
    cloud.terminate(&machine.id).await.expect("is about to be gone");
    fake.advance(minute);
    assert_eq!((state().await, fake.instances()[0].state), (Some(MachineState::Terminated), "terminated"));
    cloud.terminate(&machine.id).await.expect("is gone");
    fake.advance(2 * 60 * minute);
    assert_eq!(state().await, None);
    let other = cloud.launch(&launch(2, LARGE)).await.expect("is launched");
    fake.kill(&other.id.0);
    assert_eq!(state().await, Some(MachineState::Terminated), "taken away by the cloud");
    assert_eq!((fake.calls("TerminateInstances"), fake.calls("StartInstances")), (1, 1));
}

#[tokio::test]
async fn leaders_at_once_get_one_machine_a_number_whatever_is_lost() {
    let rules = Rules { throttle_every: Some(7), unseen: 2, ..Rules::default() };
    let (fake, _) = setup(rules).await;
    fake.fail_next("RunInstances", [Failure::LostAnswer, Failure::LostAsking].repeat(4));
    let leaders = (0..3).map(|_| async {
        let cloud = ec2(&settings(fake.url()), limits()).await;
        for number in 1..=8 {
            // Until it is answered: a leader that gives up on a number does not go on to the next.
            for _ in 0..20 {
                if cloud.launch(&launch(number, LARGE)).await.is_ok() {
                    break;
                }
            }
        }
    });
    futures::future::join_all(leaders).await;
    let numbers: BTreeSet<_> = fake.instances().iter().map(|made| made.tags[NUMBER_TAG].clone()).collect();
    assert_eq!((fake.instances().len(), numbers.len()), (8, 8));
}
