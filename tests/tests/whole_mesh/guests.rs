//! Nodes with a valid certificate that misbehave: their connection is closed, it is counted, and nothing changes.

use anyhow::{Context, bail, ensure};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use skein_bootstrap::identity::mesh_name;
use skein_proto::codec::encode;
use skein_proto::ids::NodeId;
use skein_proto::rpc::{Call, Hello, Open, VERSION};
use skein_tests::mesh::Mesh;
use skein_tests::{MeshBuilder, Peer, PeerOptions, SOON, run, wait};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A QUIC client with a certificate of the mesh's.
struct Guest {
    id: NodeId,
    mesh: String,
    endpoint: quinn::Endpoint,
}

fn frame(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut all = u32::try_from(bytes.len())?.to_be_bytes().to_vec();
    all.extend_from_slice(bytes);
    Ok(all)
}

impl Guest {
    fn new(mesh: &Mesh, id: &str) -> anyhow::Result<Self> {
        let id: NodeId = id.parse()?;
        let identity = mesh.authority().issue(mesh.name(), &id)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(mesh.authority().certificate_pem().as_bytes())?)?;
        let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
        let mut tls = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
        tls.alpn_protocols = vec![b"skein/1".to_vec()];
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        endpoint
            .set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
        Ok(Self { id, mesh: mesh.name().to_owned(), endpoint })
    }

    async fn dial(&self, to: SocketAddr) -> anyhow::Result<quinn::Connection> {
        Ok(self.endpoint.connect(to, &mesh_name(&self.mesh))?.await?)
    }

    fn hello(&self) -> Hello {
        // An old process: it must not take over from anyone.
        Hello { version: VERSION, mesh: self.mesh.clone(), node: self.id.clone(), generation: 1 }
    }

    /// Dials and says hello, as a node does.
    async fn enter(&self, to: SocketAddr) -> anyhow::Result<quinn::Connection> {
        let connection = self.dial(to).await?;
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(&frame(&encode(&Open::Hello(self.hello()))?)?).await?;
        let mut length = [0; 4];
        receive.read_exact(&mut length).await.context("no hello back")?;
        Ok(connection)
    }
}

async fn is_closed(connection: &quinn::Connection) -> anyhow::Result<String> {
    match tokio::time::timeout(SOON, connection.closed()).await {
        Ok(quinn::ConnectionError::ApplicationClosed(close)) => {
            Ok(String::from_utf8_lossy(&close.reason).into_owned())
        }
        Ok(other) => bail!("the connection ended otherwise: {other}"),
        Err(_) => bail!("the connection is still open"),
    }
}

async fn counted(mesh: &Mesh, counter: &str, more_than: u64) -> anyhow::Result<()> {
    wait::until(&format!("{counter} grows"), SOON, async || {
        let now = mesh.operator(0).counter(counter).await?;
        ensure!(now > more_than, "{counter} is {now}");
        Ok(())
    })
    .await
}

/// Runs one kind of misbehaviour against a mesh with a call in it, and checks what it leads to.
fn misbehaves<F>(counter: &'static str, misbehaviour: F)
where
    F: AsyncFnOnce(&Guest, SocketAddr) -> anyhow::Result<quinn::Connection>,
{
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).start().await?;
        let peer = Peer::join(&mesh.node(1).ws(), PeerOptions::new("r", "alice").audio()).await?;
        let rooms = wait::until("the home knows of the producer", SOON, async || {
            let rooms = mesh.operator(0).rooms().await?;
            ensure!(rooms.rooms.len() == 1 && rooms.rooms[0].producers == 1, "{rooms:?}");
            Ok(rooms)
        })
        .await?;
        let before = mesh.operator(0).counter(counter).await?;
        let guest = Guest::new(&mesh, "guest")?;
        let connection = misbehaviour(&guest, mesh.node(0).mesh_addr()).await?;
        let reason = is_closed(&connection).await?;
        ensure!(!reason.is_empty(), "closed without a reason");
        counted(&mesh, counter, before).await?;
        // Nothing changed, and the node is as well as before.
        mesh.agrees(Duration::from_secs(2)).await.context("the mesh changed")?;
        assert_eq!(mesh.operator(0).rooms().await?, rooms);
        let other = Peer::join(&mesh.node(0).ws(), PeerOptions::new("r", "bob")).await?;
        other.expect_packets("alice", skein_tests::peer::Kind::Audio, 5, SOON).await?;
        ensure!(peer.protoo().is_closed().is_none(), "alice's socket closed");
        Ok(())
    });
}

#[test]
fn a_guest_that_behaves_is_let_in() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(1).start().await?;
        let guest = Guest::new(&mesh, "guest")?;
        let connection = guest.enter(mesh.node(0).mesh_addr()).await?;
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(&frame(&encode(&Open::Call(Call::Rooms))?)?).await?;
        send.finish()?;
        let answer = receive.read_to_end(1024).await?;
        ensure!(answer.len() > 4, "{answer:?}");
        ensure!(connection.close_reason().is_none(), "{:?}", connection.close_reason());
        Ok(())
    });
}

#[test]
fn junk_on_a_stream() {
    misbehaves("rpc_decode_errors", async |guest, to| {
        let connection = guest.enter(to).await?;
        let (mut send, _receive) = connection.open_bi().await?;
        send.write_all(&frame(&[0xff; 64])?).await?;
        Ok(connection)
    });
}

#[test]
fn a_frame_with_something_behind_it() {
    misbehaves("rpc_decode_errors", async |guest, to| {
        let connection = guest.enter(to).await?;
        let (mut send, _receive) = connection.open_bi().await?;
        let mut bytes = encode(&Open::Call(Call::Rooms))?.to_vec();
        bytes.push(0);
        send.write_all(&frame(&bytes)?).await?;
        Ok(connection)
    });
}

#[test]
fn a_frame_that_says_it_is_too_long() {
    misbehaves("frames_too_large", async |guest, to| {
        let connection = guest.enter(to).await?;
        let (mut send, _receive) = connection.open_bi().await?;
        send.write_all(&u32::MAX.to_be_bytes()).await?;
        Ok(connection)
    });
}

#[test]
fn junk_as_gossip() {
    misbehaves("gossip_decode_errors", async |guest, to| {
        let connection = guest.enter(to).await?;
        let mut send = connection.open_uni().await?;
        send.write_all(&[0xff; 300]).await?;
        send.finish()?;
        Ok(connection)
    });
}

#[test]
fn gossip_that_is_too_long() {
    misbehaves("frames_too_large", async |guest, to| {
        let connection = guest.enter(to).await?;
        let mut send = connection.open_uni().await?;
        // It may be stopped before all of it is written.
        let _ = send.write_all(&vec![0; 200_000]).await;
        let _ = send.finish();
        Ok(connection)
    });
}

#[test]
fn junk_instead_of_a_hello() {
    misbehaves("connections_refused", async |guest, to| {
        let connection = guest.dial(to).await?;
        let (mut send, _receive) = connection.open_bi().await?;
        send.write_all(&frame(b"hello, I am a node, honestly")?).await?;
        Ok(connection)
    });
}

#[test]
fn somebody_elses_name() {
    misbehaves("connections_refused", async |guest, to| {
        let connection = guest.dial(to).await?;
        let (mut send, _receive) = connection.open_bi().await?;
        // A member, and newer than it.
        let hello = Hello { node: "n2".parse()?, generation: u64::MAX, ..guest.hello() };
        send.write_all(&frame(&encode(&Open::Hello(hello))?)?).await?;
        Ok(connection)
    });
}

#[test]
fn no_hello_at_all() {
    misbehaves("connections_refused", async |guest, to| guest.dial(to).await);
}
