use super::*;
use skein_bootstrap::enrolment::{EnrolError, enrol};
use skein_bootstrap::identity::check;
use skein_proto::rpc::{ENROL_ALPN, MAX_ENROL_BYTES};

#[tokio::test]
async fn a_launched_machine_enrols_and_joins() {
    let fleet = Fleet::new(&["s1", "s2", "s3"]);
    let cloud = Listed::new(vec![machine(7)]);
    let s1 = fleet.seed("s1", &[], Some(cloud.clone())).await;
    let s2 = fleet.seed("s2", &[&s1], Some(cloud.clone())).await;
    let s3 = fleet.seed("s3", &[&s1], Some(cloud)).await;
    s1.sees(&["s1", "s2", "s3"]).await;
    let ticket = fleet.ticket(7, &[&s1, &s2, &s3]);
    let key = NodeKey::generate().expect("makes");
    let request = key.request("dev", &ticket.node).expect("requests");
    let certificate = enrol(&ticket, &request, LONG).await.expect("enrols");
    // The answer may get lost: it asks again.
    enrol(&ticket, &request, LONG).await.expect("enrols again");
    let now = SystemTime::now();
    let ca = fleet.world.authority.certificate_pem();
    let validity = check(&certificate, &key.pem(), ca, "dev", &ticket.node, now).expect("fits");
    assert!(validity.left(now) <= fleet.life && validity.left(now) > fleet.life / 2);

    let settings = fleet.world.settings("dev-7", &[s2.mesh.addr()]);
    crate::mesh::tests::overwrite(&settings.config.cert, &certificate);
    crate::mesh::tests::overwrite(&settings.config.key, &key.pem());
    let node = fleet.start(settings, false, None).await;
    for each in [&s1, &s2, &s3, &node] {
        each.sees(&["dev-7", "s1", "s2", "s3"]).await;
    }
    let signed: u64 = [&s1, &s2, &s3].map(|seed| seed.count("enrolments_signed")).iter().sum();
    assert_eq!(signed, 2);

    // Who found its token has another key.
    let thief = NodeKey::generate().expect("makes").request("dev", &ticket.node).expect("requests");
    let error = enrol(&ticket, &thief, Duration::from_secs(3)).await.expect_err("is refused");
    assert!(error.to_string().contains("is in the mesh"), "{error}");
    drop(node);
}

#[tokio::test]
async fn refusals_reach_the_machine() {
    let fleet = Fleet::new(&["s1"]);
    let seed = fleet.seed("s1", &[], Some(Listed::new(vec![machine(1)]))).await;
    let key = NodeKey::generate().expect("makes");
    let ask = async |ticket: &Ticket| {
        let request = key.request("dev", &ticket.node).expect("requests");
        enrol(ticket, &request, Duration::from_secs(10)).await
    };
    let good = fleet.ticket(1, &[&seed]);
    let bad = Ticket { token: "launch.00".to_owned(), ..good.clone() };
    let error = ask(&bad).await.expect_err("is refused");
    let addr = seed.mesh.addr();
    assert_eq!(error, EnrolError::Refused { seed: addr, why: EnrolRefusal::Token });
    // Another mesh of the same authority has another name in TLS already.
    let bad = Ticket { mesh: "other".to_owned(), ..good.clone() };
    let request = key.request("other", &bad.node).expect("requests");
    let error = enrol(&bad, &request, Duration::from_secs(2)).await.expect_err("is another");
    assert!(matches!(error, EnrolError::Deadline { .. }), "{error}");
    // Whoever is not of the mesh's authority is told nothing.
    let other = skein_bootstrap::identity::Authority::generate("dev").expect("makes");
    let bad = Ticket { authority_pem: other.certificate_pem().to_owned(), ..good.clone() };
    let request = key.request("dev", &bad.node).expect("requests");
    let error = enrol(&bad, &request, Duration::from_secs(2)).await.expect_err("is another");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(ask(&good).await.is_ok());
    assert_eq!(seed.count("enrolments_refused"), 1);
}

/// A connection as a machine makes it.
async fn connect(fleet: &Fleet, seed: &Seed) -> quinn::Connection {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    let ca = fleet.world.authority.certificate_pem().as_bytes();
    roots.add(CertificateDer::from_pem_slice(ca).expect("reads")).expect("is a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![ENROL_ALPN.to_vec()];
    let client = quinn::crypto::rustls::QuicClientConfig::try_from(client).expect("is for QUIC");
    let client = quinn::ClientConfig::new(Arc::new(client));
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("binds");
    let connecting =
        endpoint.connect_with(client, seed.mesh.addr(), "dev.mesh.skein.internal").expect("tries");
    connecting.await.expect("connects")
}

#[tokio::test]
async fn what_is_no_request_ends_the_connection_and_nothing_else() {
    let fleet = Fleet::new(&["s1"]);
    let seed = fleet.seed("s1", &[], Some(Listed::new(vec![machine(1)]))).await;
    for bytes in [vec![], vec![0xff; 100], vec![0; MAX_ENROL_BYTES + 1]] {
        let connection = connect(&fleet, &seed).await;
        let (mut writer, _reader) = connection.open_bi().await.expect("opens");
        // May fail when the seed has read enough.
        let _ = writer.write_all(&bytes).await;
        let _ = writer.finish();
        let closed = tokio::time::timeout(LONG, connection.closed()).await.expect("ends");
        assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed}");
    }
    // Who says nothing does not stay.
    let silent = connect(&fleet, &seed).await;
    let closed = tokio::time::timeout(LONG, silent.closed()).await.expect("ends");
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed}");
    eventually("four are counted", async || seed.count("enrolments_refused") == 4).await;
    let ticket = fleet.ticket(1, &[&seed]);
    let request = NodeKey::generate().expect("makes").request("dev", &ticket.node).expect("requests");
    enrol(&ticket, &request, LONG).await.expect("enrols");
}

#[tokio::test]
async fn more_than_a_few_at_once_are_sent_away_and_come_back() {
    let fleet = Fleet::new(&["s1"]);
    let seed = fleet.seed("s1", &[], Some(Listed::new(vec![machine(1)]))).await;
    // They say nothing, and so hold their places until their deadline.
    let silent = futures::future::join_all((0..12).map(|_| connect(&fleet, &seed))).await;
    let closed = silent.iter().map(|each| async {
        match tokio::time::timeout(LONG, each.closed()).await.expect("ends") {
            quinn::ConnectionError::ApplicationClosed(close) => close.reason,
            other => panic!("ended otherwise: {other}"),
        }
    });
    let words = EnrolRefusal::Busy.to_string();
    let closed = futures::future::join_all(closed).await;
    let busy = closed.iter().filter(|reason| reason[..] == *words.as_bytes()).count();
    assert!((1..=4).contains(&busy), "{busy} of 12 were sent away, and 8 may be there");
    let ticket = fleet.ticket(1, &[&seed]);
    let request = NodeKey::generate().expect("makes").request("dev", &ticket.node).expect("requests");
    enrol(&ticket, &request, LONG).await.expect("enrols");
}
