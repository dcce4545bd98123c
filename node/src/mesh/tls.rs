//! The node's identity as TLS and QUIC want it.

use super::{MeshError, limits};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use skein_bootstrap::config::Mesh;
use skein_bootstrap::identity::{Validity, node_name, validity};
use skein_proto::ids::NodeId;
use skein_proto::rpc::ENROL_ALPN;
use std::path::Path;
use std::sync::Arc;

/// Application protocol, so that nothing else that speaks QUIC is taken for a node.
const ALPN: &[u8] = b"skein/1";

/// Both ends of a connection, from the same certificate.
#[derive(Clone)]
pub(super) struct Identity {
    pub client: quinn::ClientConfig,
    pub server: quinn::ServerConfig,
    pub texts: Texts,
    /// From when until when the certificate is good.
    pub validity: Validity,
}

/// What an identity was made of, PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Texts {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

impl Texts {
    /// Reads the files that the configuration names.
    pub(super) fn read(config: &Mesh) -> Result<Self, MeshError> {
        let read = |key, path| std::fs::read_to_string(path).map_err(|e| file(key, path, e));
        Ok(Self {
            authority: read("mesh.ca", &config.ca)?,
            certificate: read("mesh.cert", &config.cert)?,
            key: read("mesh.key", &config.key)?,
        })
    }
}

impl Identity {
    /// Checks that authority, certificate and key, which come from the files that the configuration names, belong
    /// together and to the node. `enrols`: machines without a certificate may ask for one on the same port.
    pub(super) fn new(config: &Mesh, node: &NodeId, texts: Texts, enrols: bool) -> Result<Self, MeshError> {
        let authority = certificates("mesh.ca", &config.ca, &texts.authority)?;
        let chain = certificates("mesh.cert", &config.cert, &texts.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(texts.key.as_bytes())
            .map_err(|e| file("mesh.key", &config.key, e))?;
        if !chain.first().is_some_and(|own| is_for(own, &config.name, node)) {
            let problem = format!("the certificate is not for the node {node} of the mesh {}", config.name);
            return Err(file("mesh.cert", &config.cert, problem));
        }
        let validity = validity(&texts.certificate).map_err(|e| file("mesh.cert", &config.cert, e))?;
        let mut roots = RootCertStore::empty();
        for certificate in authority {
            roots.add(certificate).map_err(|e| file("mesh.ca", &config.ca, e))?;
        }
        let (client, server) = build(Arc::new(roots), chain, key, enrols)?;
        Ok(Self { client, server, texts, validity })
    }
}

/// Makes both configurations. Resumption and tickets are off: a resumed connection would keep an identity that was
/// rotated since.
fn build(
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    enrols: bool,
) -> Result<(quinn::ClientConfig, quinn::ServerConfig), MeshError> {
    let tls = |e: &dyn std::fmt::Display| MeshError::Tls(e.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    // TLS asks for a certificate before it is known what the connection is for. Where none may do, who shows none and
    // does not want to enrol is sent away right after the handshake; one that is shown must be good in any case.
    let verifier = if enrols { verifier.allow_unauthenticated() } else { verifier };
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| tls(&e))?
        .with_client_cert_verifier(verifier.build().map_err(|e| tls(&e))?)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(|e| tls(&e))?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    if enrols {
        server.alpn_protocols.push(ENROL_ALPN.to_vec());
    }
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| tls(&e))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|e| tls(&e))?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();

    let transport = Arc::new(transport());
    let server = QuicServerConfig::try_from(server).map_err(|e| tls(&e))?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(transport.clone()).max_incoming(limits::HANDSHAKES);
    let client = QuicClientConfig::try_from(client).map_err(|e| tls(&e))?;
    let mut client = quinn::ClientConfig::new(Arc::new(client));
    client.transport_config(transport);
    Ok((client, server))
}

/// Whether the other side is a machine that asks for a certificate.
pub(super) fn wants_to_enrol(connection: &quinn::Connection) -> bool {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    data.is_some_and(|data| data.protocol.as_deref() == Some(ENROL_ALPN))
}

fn transport() -> TransportConfig {
    let idle = VarInt::from_u32(limits::IDLE_TIMEOUT.as_millis() as u32);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        .keep_alive_interval(Some(limits::KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(limits::STREAMS_AT_FIRST))
        .max_concurrent_uni_streams(VarInt::from_u32(limits::GOSSIP_STREAMS))
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW))
        .receive_window(VarInt::from_u32(limits::STRANGER_WINDOW))
        .send_window(limits::SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    transport
}

fn file(key: &'static str, path: &Path, problem: impl std::fmt::Display) -> MeshError {
    MeshError::File { key, path: path.to_owned(), problem: problem.to_string() }
}

fn certificates(
    key: &'static str,
    path: &Path,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, MeshError> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| file(key, path, e))?;
    if certificates.is_empty() {
        return Err(file(key, path, "has no certificate"));
    }
    Ok(certificates)
}

/// Whether the certificate carries the name of a node.
pub(super) fn is_for(certificate: &CertificateDer<'_>, mesh: &str, node: &NodeId) -> bool {
    // A node's name may have characters that no DNS name has; no certificate carries it then.
    let Ok(name) = ServerName::try_from(node_name(mesh, node)) else {
        return false;
    };
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
}

/// The certificate that the other side of a connection showed.
pub(super) fn peer_certificate(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skein_bootstrap::identity::Authority;

    fn config(folder: &Path) -> Mesh {
        Mesh {
            name: "dev".to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
            advertise: None,
            seeds: Vec::new(),
            seeds_from_ec2: skein_bootstrap::config::Ec2Seeds::None,
            ca: folder.join("ca.pem"),
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        }
    }

    #[test]
    fn mistakes_in_files_name_the_key_and_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let node: NodeId = "n1".parse().expect("a name");
        let read = |config: &Mesh| Identity::new(config, &node, Texts::read(config)?, false);
        let problem = |config: &Mesh| match read(config) {
            Err(error) => error.to_string(),
            Ok(_) => "none".to_owned(),
        };
        assert!(problem(&config).starts_with("mesh.ca: "), "{}", problem(&config));

        let authority = Authority::generate("dev").expect("an authority");
        let write = |path: &Path, text: &str| std::fs::write(path, text).expect("writes");
        write(&config.ca, authority.certificate_pem());
        assert!(problem(&config).starts_with("mesh.cert: "), "{}", problem(&config));
        write(&config.cert, "nothing");
        assert!(problem(&config).starts_with("mesh.key: "), "{}", problem(&config));
        write(&config.key, "nothing");
        assert!(problem(&config).starts_with("mesh.cert: "), "{}", problem(&config));

        let other = authority.issue("dev", &"n2".parse().expect("a name")).expect("issues");
        write(&config.cert, &other.certificate_pem);
        assert!(problem(&config).starts_with("mesh.key: "), "{}", problem(&config));
        write(&config.key, &other.key_pem);
        assert!(problem(&config).contains("not for the node n1"), "{}", problem(&config));

        let own = authority.issue("dev", &node).expect("issues");
        write(&config.cert, &own.certificate_pem);
        assert!(problem(&config).starts_with("mesh.key"), "the key is another's: {}", problem(&config));
        write(&config.key, &own.key_pem);
        assert_eq!(problem(&config), "none");
    }

    #[test]
    fn a_certificate_is_for_one_node_of_one_mesh() {
        let authority = Authority::generate("dev").expect("an authority");
        let node: NodeId = "n1".parse().expect("a name");
        let pem = authority.issue("dev", &node).expect("issues").certificate_pem;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("reads");
        assert!(is_for(&certificate, "dev", &node));
        assert!(!is_for(&certificate, "other", &node));
        assert!(!is_for(&certificate, "dev", &"n2".parse().expect("a name")));
        assert!(!is_for(&certificate, "dev", &"n1@x".parse().expect("a name")));
    }
}
