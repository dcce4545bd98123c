use super::*;

#[tokio::test]
async fn another_authority_is_refused_by_both_sides_and_logged_once() {
    let log = Log::new();
    let world = World::new();
    let a = world.node("a", &[]).await;
    let stranger = World::new().node("b", &[a.mesh.addr()]).await;
    // It tries again and again: 0.1 s, 0.2 s, ...
    stranger.counted("connections_refused", 3).await;
    a.counted("connections_refused", 3).await;
    assert_eq!(a.mesh.view().borrow().nodes.len(), 1);
    assert_eq!(stranger.mesh.view().borrow().nodes.len(), 1);
    // The dialler sees that the other's certificate is wrong, and the other side that it was refused.
    assert_eq!(log.lines("refused: its certificate is not from the mesh's authority").len(), 1);
    assert_eq!(log.lines("the other side refused this node").len(), 1);
    assert_eq!(log.lines("WARN").len(), 2, "{:?}", log.lines("WARN"));
}

#[tokio::test]
async fn a_client_of_another_authority_is_refused_after_it_thinks_that_it_is_connected() {
    let log = Log::new();
    let world = World::new();
    let a = world.node("a", &[]).await;
    // Trusts the mesh's authority, but its own certificate is from another one with the same names.
    let mut settings = world.settings("b", &[]);
    let other = Authority::generate("dev").expect("an authority").issue("dev", &id("b")).expect("issues");
    overwrite(&settings.config.cert, &other.certificate_pem);
    overwrite(&settings.config.key, &other.key_pem);
    settings.config.seeds = vec![a.mesh.addr().into()];
    let b = Node::start(settings).await;
    b.counted("connections_refused", 3).await;
    a.counted("connections_refused", 3).await;
    assert_eq!(a.mesh.view().borrow().nodes.len(), 1);
    assert_eq!(log.lines("refused: its certificate is not from the mesh's authority").len(), 1);
    let told = log.lines("the other side refused this node");
    assert!(told.len() == 1 && told[0].contains("not from the mesh's authority"), "{told:?}");
}

/// Connects without a certificate; with what the connection ended.
async fn without_certificate(world: &World, to: &Node, alpn: &[u8]) -> quinn::ConnectionError {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        let pem = world.authority.certificate_pem().as_bytes();
        roots.add(CertificateDer::from_pem_slice(pem).expect("reads")).expect("is a root");
        roots
    };
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.to_vec()];
    let client = quinn::crypto::rustls::QuicClientConfig::try_from(client).expect("is for QUIC");
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("binds");
    let client = quinn::ClientConfig::new(Arc::new(client));
    let connecting = endpoint.connect_with(client, to.mesh.addr(), "dev.mesh.skein.internal").expect("tries");
    match connecting.await {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    }
}

#[tokio::test]
async fn no_certificate_at_all_is_refused() {
    let world = World::new();
    let a = world.node("a", &[]).await;
    let error = without_certificate(&world, &a, b"skein/1").await;
    assert!(matches!(&error, quinn::ConnectionError::ConnectionClosed(_)), "{error}");
    a.counted("connections_refused", 1).await;
    // Nor may machines ask for one here.
    let error = without_certificate(&world, &a, skein_proto::rpc::ENROL_ALPN).await;
    assert!(matches!(&error, quinn::ConnectionError::ConnectionClosed(_)), "{error}");
    a.counted("connections_refused", 2).await;
}

#[tokio::test]
async fn where_machines_may_enrol_nodes_still_need_a_certificate() {
    let log = Log::new();
    let world = World::new();
    let a = Node::start(MeshSettings { enrols: true, ..world.settings("a", &[]) }).await;
    let error = without_certificate(&world, &a, b"skein/1").await;
    assert_eq!(closed_with(error), Refusal::Tls.code().into_inner());
    a.counted("connections_refused", 1).await;
    assert_eq!(log.lines("its certificate is missing").len(), 1);
    assert_eq!(a.count("enrolments_refused"), 0);

    // One of another authority is as bad as before, and a good one as good.
    let mut settings = world.settings("b", &[a.mesh.addr()]);
    let other = Authority::generate("dev").expect("an authority").issue("dev", &id("b")).expect("issues");
    overwrite(&settings.config.cert, &other.certificate_pem);
    overwrite(&settings.config.key, &other.key_pem);
    let b = Node::start(settings.clone()).await;
    b.counted("connections_refused", 1).await;
    a.counted("connections_refused", 2).await;
    assert_eq!(a.mesh.view().borrow().nodes.len(), 1);
    settings.node = id("c");
    let c = world.node("c", &[a.mesh.addr()]).await;
    a.sees(&["a", "c"]).await;
    c.sees(&["a", "c"]).await;
}

#[tokio::test]
async fn a_certificate_with_another_nodes_name_is_refused() {
    let log = Log::new();
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    let thief = world.raw("thief");
    for _ in 0..3 {
        let (_, outcome) = thief.greet(&a, hello("b", u64::MAX)).await;
        assert_eq!(closed_with(outcome.expect_err("is refused")), Refusal::Name.code().into_inner());
    }
    assert_eq!(a.count("connections_refused"), 3);
    assert_eq!(log.lines("does not carry the node name").len(), 1);
    // Nothing has changed for the real one.
    a.sees(&["a", "b"]).await;
    assert!(a.ask("b").await.is_ok() && b.ask("a").await.is_ok());

    // With its own name it is welcome.
    let (_connection, outcome) = thief.greet(&a, hello("thief", 1)).await;
    outcome.expect("is welcome");
}

#[tokio::test]
async fn a_node_that_is_dialled_is_checked_as_well() {
    let world = World::new();
    let thief = world.raw("thief");
    let a = world.node("a", &[thief.endpoint.local_addr().expect("is bound")]).await;
    let connection = thief.endpoint.accept().await.expect("is dialled").await.expect("connects");
    let (mut writer, _reader) = connection.accept_bi().await.expect("says hello");
    writer.write_all(&framed(&codec::encode(&hello("b", 1)).expect("encodes"))).await.expect("writes");
    assert_eq!(closed_with(connection.closed().await), Refusal::Name.code().into_inner());
    a.counted("connections_refused", 1).await;
    assert_eq!(a.mesh.view().borrow().nodes.len(), 1);
}

#[tokio::test]
async fn another_mesh_of_the_same_authority_is_refused() {
    let log = Log::new();
    let world = World::new();
    let a = world.node("a", &[]).await;
    let other = Node::start(world.settings_in("other", "b", &[a.mesh.addr()])).await;
    a.counted("connections_refused", 2).await;
    other.counted("connections_refused", 2).await;
    assert_eq!(log.lines("it belongs to another mesh").len(), 2, "one line of each side");
    assert_eq!(a.mesh.view().borrow().nodes.len(), 1);
}

#[tokio::test]
async fn other_versions_meshes_and_first_words_are_refused() {
    let world = World::new();
    let a = world.node("a", &[]).await;
    let raw = world.raw("b");
    let version = Hello { version: VERSION + 1, ..hello("b", 1) };
    let mesh = Hello { mesh: "other".to_owned(), ..hello("b", 1) };
    for (hello, refusal) in
        [(version, Refusal::Version), (mesh, Refusal::Mesh), (hello("a", 1), Refusal::Name)]
    {
        let (_, outcome) = raw.greet(&a, hello).await;
        assert_eq!(closed_with(outcome.expect_err("is refused")), refusal.code().into_inner());
    }
    let call = framed(&codec::encode(&Open::Call(Call::Rooms)).expect("encodes"));
    for words in [&call[..], &[0, 0, 0, 3, 255, 255, 255], &[255; 8], b"GET / HTTP/1.1\r\n\r\n"] {
        let connection = raw.connect(&a).await;
        let (mut writer, _reader) = connection.open_bi().await.expect("opens");
        writer.write_all(words).await.expect("writes");
        assert_eq!(closed_with(connection.closed().await), Refusal::NoHello.code().into_inner());
    }
    assert_eq!(a.count("connections_refused"), 7);
    assert_eq!(a.streams.load(Relaxed), 0);
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_sent_away() {
    let world = World::new();
    let a = world.node("a", &[]).await;
    let raw = world.raw("b");
    let connection = raw.connect(&a).await;
    // Gossip and calls before the hello are not heard.
    let mut gossip = connection.open_uni().await.expect("opens");
    gossip.write_all(b"anything").await.expect("writes");
    gossip.finish().expect("finishes");
    let start = Instant::now();
    assert_eq!(closed_with(connection.closed().await), Refusal::Late.code().into_inner());
    assert!(start.elapsed() < limits::HELLO_DEADLINE * 2);
    assert_eq!(a.count("gossip_messages_in") + a.count("gossip_decode_errors"), 0);
}

/// Sends bytes on a connection that is up and waits until the other side has closed it because of them.
async fn send_garbage(from: &Node, to: &str, bytes: &[u8], gossip: bool) {
    let link = from.mesh.shared.peers.get(&id(to)).expect("connected");
    let mut kept = None;
    let mut writer = if gossip {
        link.connection.open_uni().await.expect("opens")
    } else {
        let (writer, reader) = link.connection.open_bi().await.expect("opens");
        kept = Some(reader);
        writer
    };
    // The other side may close before all of it is written.
    let _ = writer.write_all(bytes).await;
    let _ = writer.finish();
    let error = timeout(LONG, link.connection.closed()).await.expect("closes");
    assert_eq!(closed_with(error), code::PROTOCOL.into_inner());
    drop(kept);
}

#[tokio::test]
async fn garbage_closes_the_connection_changes_nothing_and_is_got_over() {
    let log = Log::new();
    let world = World::new();
    let [a, b] = world.nodes(["a", "b"]).await;
    let hello = framed(&codec::encode(&Open::Hello(hello("c", 1))).expect("encodes"));
    let mut trailing = codec::encode(&Open::Call(Call::Rooms)).expect("encodes").to_vec();
    trailing.push(0);
    let mut large =
        u32::try_from(codec::MAX_FRAME_BYTES + 1).expect("fits its length").to_be_bytes().to_vec();
    large.push(0);
    let cases: [(&[u8], bool, &str); 7] = [
        (&[0, 0, 0, 2, 250, 250], false, "rpc_decode_errors"),
        (&framed(&trailing), false, "rpc_decode_errors"),
        (&hello, false, "rpc_decode_errors"),
        (&large, false, "frames_too_large"),
        (&[255; 100], false, "frames_too_large"),
        (b"not gossip", true, "gossip_decode_errors"),
        (&vec![0; limits::GOSSIP_MESSAGE_BYTES + 1], true, "frames_too_large"),
    ];
    let mut counted = BTreeMap::new();
    for (bytes, gossip, counter) in cases {
        for node in [&a, &b] {
            node.sees(&["a", "b"]).await;
        }
        a.reaches("b").await;
        send_garbage(&a, "b", bytes, gossip).await;
        *counted.entry(counter).or_insert(0) += 1;
    }
    for node in [&a, &b] {
        node.sees(&["a", "b"]).await;
    }
    a.reaches("b").await;
    b.reaches("a").await;
    for (counter, times) in counted {
        assert_eq!(b.count(counter), times, "{counter}");
        assert_eq!(a.count(counter), 0, "{counter}");
    }
    assert_eq!(log.lines("unreadable data; connection closed").len(), 1);
    assert_eq!(b.mesh.view().borrow().nodes.len(), 2);
}

#[tokio::test]
async fn a_frame_of_the_wrong_kind_later_in_a_stream_closes_the_connection_too() {
    let world = World::new();
    let (mesh, mut incoming) = Mesh::start(world.settings("a", &[])).await.expect("starts");
    let b = world.node("b", &[mesh.addr()]).await;
    b.sees(&["a", "b"]).await;
    let room = Open::Room(skein_proto::rpc::RoomOpen { room: "r".parse().expect("a name") });
    let mut stream = b.mesh.open(&id("a"), &room).await.expect("opens");
    let (_, _, mut far) = incoming.accept().await.expect("a stream");
    stream.send(&u64::MAX).await.expect("sends");
    let error = far.recv::<SessionFrame>().await.expect_err("is no such frame");
    assert!(matches!(error, MeshError::Protocol { .. }), "{error}");
    let error = stream.recv::<SessionFrame>().await.expect_err("is closed");
    assert!(matches!(error, MeshError::Lost { .. }), "{error}");
    assert_eq!(mesh.counters().rpc_decode_errors.load(Relaxed), 1);
    let asking = b.mesh.call(&id("a"), Call::Rooms, Duration::from_millis(1)).await;
    assert!(asking.is_err());
    b.sees(&["a", "b"]).await;
}
