use super::*;
use crate::mesh::tests::overwrite;
use skein_bootstrap::identity::{Identity, validity};
use skein_proto::rpc::{SessionFrame, SessionOpen};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Gives a node a certificate that ends soon.
fn short_lived(fleet: &Fleet, settings: &MeshSettings) -> Identity {
    let identity = fleet
        .world
        .authority
        .issue_for("dev", &settings.node, SystemTime::now(), fleet.life)
        .expect("issues");
    overwrite(&settings.config.cert, &identity.certificate_pem);
    overwrite(&settings.config.key, &identity.key_pem);
    identity
}

fn session() -> Open {
    Open::Session(SessionOpen {
        session: skein_proto::ids::SessionId { admitted_ms: 1, nonce: 2 },
        room: "r".parse().expect("a name"),
        peer: "p".parse().expect("a name"),
        worker: 0,
        role: skein_proto::signaling::Role::Publish,
        skein: false,
        options: skein_bootstrap::config::Room::default().options(),
        from: None,
        quiet: false,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_seconds_rotate_under_traffic_and_nothing_is_lost() {
    let mut fleet = Fleet::new(&["s1"]);
    fleet.life = Duration::from_secs(6);
    let settings = fleet.world.settings("s1", &[]);
    short_lived(&fleet, &settings);
    let seed = fleet.start(settings, true, None).await;
    let settings = fleet.world.settings("n1", &[seed.mesh.addr()]);
    let files = settings.config.clone();
    let first = short_lived(&fleet, &settings);
    let node = fleet.start(settings, false, None).await;
    seed.sees(&["n1", "s1"]).await;
    node.sees(&["n1", "s1"]).await;

    let calls = Arc::new(AtomicU64::new(0));
    let traffic: Vec<_> = [(&seed, "n1"), (&node, "s1")]
        .into_iter()
        .map(|(from, to)| {
            let (mesh, calls) = (from.mesh.clone(), calls.clone());
            tokio::spawn(async move {
                loop {
                    mesh.call(&id(to), Call::Rooms, LONG).await.expect("answers");
                    calls.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
        })
        .collect();
    let mut stream = node.mesh.open(&id("s1"), &session()).await.expect("opens");
    for each in [&seed, &node] {
        let start = each.mesh.certificate();
        let mut last = start;
        for _ in 0..3 {
            eventually("another certificate", async || each.mesh.certificate().until > last.until).await;
            last = each.mesh.certificate();
        }
    }
    assert!(traffic.iter().all(|task| !task.is_finished()), "a call was lost");
    assert!(calls.load(Relaxed) > 20);
    let frame = SessionFrame::Text("still".to_owned());
    stream.send(&frame).await.expect("sends");
    assert_eq!(stream.recv::<SessionFrame>().await.expect("echoes"), Some(frame));
    traffic.iter().for_each(tokio::task::JoinHandle::abort);

    // The file has the new one; the key stays.
    let now = SystemTime::now();
    let written = std::fs::read_to_string(&files.cert).expect("is there");
    assert!(
        validity(&written).expect("reads").until > validity(&first.certificate_pem).expect("reads").until
    );
    assert_eq!(std::fs::read_to_string(&files.key).expect("is there"), first.key_pem);
    assert!(validity(&first.certificate_pem).expect("reads").until < now, "the first has expired");
    // Who comes only now sees the new ones.
    let late = fleet.start(fleet.world.settings("n2", &[node.mesh.addr()]), false, None).await;
    for each in [&seed, &node, &late] {
        each.sees(&["n1", "n2", "s1"]).await;
    }
}

#[tokio::test]
async fn a_node_renews_its_own_certificate_only() {
    let fleet = Fleet::new(&["s1"]);
    let seed = fleet.seed("s1", &[], None).await;
    let settings = fleet.world.settings("n1", &[seed.mesh.addr()]);
    let node = fleet.start(settings, false, None).await;
    node.sees(&["n1", "s1"]).await;
    let ask = async |of: &str| {
        let request = NodeKey::generate().expect("makes").request("dev", &id(of)).expect("requests");
        node.mesh.call(&id("s1"), Call::Renew(request), LONG).await.expect("answers")
    };
    let names = skein_bootstrap::identity::node_name;
    let Reply::Signed(certificate) = ask("s1").await else { panic!("is not signed") };
    assert!(skein_bootstrap::identity::carries(&certificate, &names("dev", &id("n1"))));
    assert!(!skein_bootstrap::identity::carries(&certificate, &names("dev", &id("s1"))));
    let reply = node.mesh.call(&id("s1"), Call::Renew(vec![1; 10]), LONG).await.expect("answers");
    assert!(matches!(reply, Reply::Failed(_)), "{reply:?}");
    // Who has no key says so.
    let request = NodeKey::generate().expect("makes").request("dev", &id("s1")).expect("requests");
    let reply = seed.mesh.call(&id("n1"), Call::Renew(request), LONG).await.expect("answers");
    assert!(matches!(&reply, Reply::Failed(why) if why.contains("authority")), "{reply:?}");
}

#[tokio::test]
async fn files_that_somebody_changed_are_taken_when_they_fit() {
    let fleet = Fleet::new(&["s1"]);
    let settings = fleet.world.settings("n1", &[]);
    let files = settings.config.clone();
    let node = fleet.start(settings.clone(), false, None).await;
    assert_eq!(node.mesh.reread(), Ok(false));
    let before = node.mesh.certificate();
    // The certificate without its key.
    let key = std::fs::read_to_string(&files.key).expect("is there");
    let next = short_lived(&fleet, &settings);
    overwrite(&files.key, &key);
    assert!(node.mesh.reread().is_err());
    assert_eq!(node.mesh.certificate(), before);
    overwrite(&files.key, &next.key_pem);
    assert_eq!(node.mesh.reread(), Ok(true));
    assert_eq!(node.mesh.certificate(), validity(&next.certificate_pem).expect("reads"));
    let other = fleet.start(fleet.world.settings("n2", &[node.mesh.addr()]), false, None).await;
    other.sees(&["n1", "n2"]).await;
}

#[tokio::test]
async fn a_seed_whose_certificate_ended_while_it_was_off_signs_itself_another() {
    let fleet = Fleet::new(&["s1"]);
    let settings = fleet.world.settings("s1", &[]);
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    let old = fleet
        .world
        .authority
        .issue_for("dev", &settings.node, long_ago, Duration::from_secs(3600))
        .expect("issues");
    overwrite(&settings.config.cert, &old.certificate_pem);
    overwrite(&settings.config.key, &old.key_pem);
    let config = fleet.config(&settings, true);
    let signer = Signer::read(&config).expect("reads").expect("has the key");
    signer.refresh(&config);
    let written = std::fs::read_to_string(&settings.config.cert).expect("is there");
    assert!(validity(&written).expect("reads").until > SystemTime::now());
    signer.refresh(&config);
    assert_eq!(std::fs::read_to_string(&settings.config.cert).expect("is there"), written);
}
