//! Against moto, which answers EC2's API as others understand it.
//!
//! Where moto differs from EC2, and what is therefore tested against the strict fake only: one client token launches
//! twice, nothing is ever throttled, full or late, an instance runs at once, and a launch template that does not exist
//! is a server's error.

use super::*;
use aws_sdk_ec2::types::RequestLaunchTemplateData;
use skein_bootstrap::seeds::SeedSource;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Names moto's program, `moto_server`.
const PROGRAM: &str = "SKEIN_MOTO";

/// The server, ended with this value.
struct Moto {
    url: String,
    _server: Child,
    _log: tokio::task::JoinHandle<()>,
}

async fn start(program: &str) -> Moto {
    let mut server = Command::new(program)
        .args(["-H", "127.0.0.1", "-p", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{PROGRAM}={program}: {error}"));
    let mut lines = BufReader::new(server.stderr.take().expect("is piped")).lines();
    let url = async {
        // The port is its own choice, and told in its greeting.
        while let Some(line) = lines.next_line().await.expect("is readable") {
            if let Some((_, address)) = line.split_once("Running on ") {
                return address.trim().to_owned();
            }
        }
        panic!("moto ended before it listened");
    };
    let url = tokio::time::timeout(Duration::from_secs(60), url).await.expect("moto starts");
    // It writes a line a request, and stops when nobody reads them.
    let log = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Moto { url, _server: server, _log: log }
}

#[tokio::test]
async fn machines_on_moto_are_launched_listed_stopped_and_ended() {
    let Ok(program) = std::env::var(PROGRAM) else {
        eprintln!("left out: {PROGRAM} does not name moto's program (skein test --only rust sets it up)");
        return;
    };
    let moto = start(&program).await;
    // It reads what images and types there are when it is first asked.
    let patient = Limits { call: Duration::from_secs(60), attempt: Duration::from_secs(55), ..limits() };
    let plain = ec2(&settings(moto.url.clone()), patient.clone()).await.api.client;
    let images = plain.describe_images().send().await.expect("images");
    let image = images.images()[0].image_id().expect("an id").to_owned();
    let data = RequestLaunchTemplateData::builder().image_id(&image).build();
    let template = plain.create_launch_template().launch_template_name("m").launch_template_data(data);
    let template = template.send().await.expect("a template");
    let template =
        template.launch_template().and_then(|made| made.launch_template_id()).expect("an id").to_owned();
    let subnets = plain.describe_subnets().send().await.expect("subnets");
    let subnets: Vec<_> =
        subnets.subnets().iter().filter_map(|net| net.subnet_id()).take(2).map(str::to_owned).collect();

    let settings = Ec2Cloud {
        launch_template: template,
        launch_template_version: "1".to_owned(),
        subnets: subnets.clone(),
        ..settings(moto.url.clone())
    };
    let cloud = ec2(&settings, patient.clone()).await;
    // More than two pages of five.
    for number in 1..=12 {
        let machine = cloud.launch(&launch(number, LARGE)).await.expect("is launched");
        assert_eq!((machine.number, machine.kind.as_str()), (number, LARGE));
    }
    let stranger =
        plain.run_instances().image_id(&image).min_count(1).max_count(1).send().await.expect("runs");
    let stranger = MachineId(stranger.instances()[0].instance_id().expect("an id").to_owned());
    let list = cloud.list().await.expect("a list");
    let numbers: BTreeSet<_> = list.iter().map(|machine| machine.number).collect();
    assert_eq!((list.len(), numbers), (12, (1..=12).collect()));
    let of = |number: u64| list.iter().find(|machine| machine.number == number).expect("is listed");
    assert!(list.iter().all(|machine| machine.launched.is_some() && machine.address.is_some()), "{list:?}");

    // What was launched is what was meant, read without our own code.
    let third = plain.describe_instances().instance_ids(&of(3).id.0).send().await.expect("an answer");
    let third = &third.reservations()[0].instances()[0];
    assert_eq!(third.subnet_id(), Some(subnets[1].as_str()));
    assert_eq!((third.image_id(), value(third, "Name")), (Some(image.as_str()), Some("m-3")));
    let volume = third.block_device_mappings()[0].ebs().and_then(|disk| disk.volume_id()).expect("a volume");
    let volume = plain.describe_volumes().volume_ids(volume).send().await.expect("an answer");
    let tagged: BTreeSet<_> = volume.volumes()[0].tags().iter().filter_map(Tag::key).collect();
    assert_eq!(tagged, ["Name", MESH_TAG, NUMBER_TAG, ROLE_TAG].into());
    let user_data = plain.describe_instance_attribute().instance_id(&of(3).id.0);
    let user_data = user_data.attribute("userData".into()).send().await.expect("an answer");
    let user_data = user_data.user_data().and_then(|data| data.value()).expect("user data");
    assert_eq!(user_data, aws_smithy_types::base64::encode("SKEIN_NUMBER=3\n"));

    // Nodes that look for the mesh find the same machines, and no seed among them.
    let all = super::seeds::source(&moto.url, "all", patient.clone()).await.find().await.expect("a list");
    let addresses: BTreeSet<_> = list.iter().filter_map(|machine| machine.address).collect();
    assert_eq!(all.iter().map(|seed| seed.ip()).collect::<BTreeSet<_>>(), addresses);
    let seeds = super::seeds::source(&moto.url, "seeds", patient.clone()).await;
    assert_eq!(seeds.find().await, Ok(Vec::new()));

    let state = async |number: u64| {
        let list = cloud.list().await.expect("a list");
        list.into_iter().find(|machine| machine.number == number).map(|machine| machine.state)
    };
    cloud.stop(&of(1).id).await.expect("is stopped");
    assert_eq!(state(1).await, Some(MachineState::Stopped));
    cloud.start(&of(1).id).await.expect("is started");
    assert_eq!(state(1).await, Some(MachineState::Running));
    cloud.terminate(&of(2).id).await.expect("is ended");
    cloud.terminate(&of(2).id).await.expect("is gone");
    assert_eq!(state(2).await, Some(MachineState::Terminated));
    assert_eq!(cloud.terminate(&stranger).await, Err(CloudError::NotOurs(stranger.clone())));
    let never = MachineId("i-0123456789abcdef0".to_owned());
    assert_eq!(cloud.terminate(&never).await, Err(CloudError::Unknown(never)));
    let nowhere = Ec2Cloud { subnets: vec!["subnet-00000000".to_owned()], ..settings };
    let refused = ec2(&nowhere, patient).await.launch(&launch(13, LARGE)).await;
    assert!(
        matches!(&refused, Err(CloudError::Refused(why)) if why.contains("InvalidSubnet")),
        "{refused:?}"
    );
}
