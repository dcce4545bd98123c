//! The node's identity as TLS and QUIC want it.

use super::{MeshError, limits};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use skein_bootstrap::config::Mesh;
use skein_bootstrap::identity::node_name;
use skein_proto::ids::NodeId;
use std::path::Path;
use std::sync::Arc;

/// Application protocol, so that nothing else that speaks QUIC is taken for a node.
const ALPN: &[u8] = b"skein/1";

/// Both ends of a connection, from the same certificate.
#[derive(Clone)]
pub(super) struct Identity {
    pub client: quinn::ClientConfig,
    pub server: quinn::ServerConfig,
}

impl Identity {
    /// Reads authority, certificate and key from the files that the configuration names, and checks that they belong
    /// together and to the node.
    pub(super) fn read(config: &Mesh, node: &NodeId) -> Result<Self, MeshError> {
        let authority = certificates("mesh.ca", &config.ca)?;
        let chain = certificates("mesh.cert", &config.cert)?;
        let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|e| file("mesh.key", &config.key, e))?;
        if !chain.first().is_some_and(|own| is_for(own, &config.name, node)) {
            let problem = format!("the certificate is not for the node {node} of the mesh {}", config.name);
            return Err(file("mesh.cert", &config.cert, problem));
        }
        let mut roots = RootCertStore::empty();
        for certificate in authority {
            roots.add(certificate).map_err(|e| file("mesh.ca", &config.ca, e))?;
        }
        Self::build(Arc::new(roots), chain, key)
    }

    /// Makes both configurations. Resumption and tickets are off: a resumed connection would keep an identity that
    /// was rotated since.
    pub(super) fn build(
        roots: Arc<RootCertStore>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, MeshError> {
        let tls = |e: &dyn std::fmt::Display| MeshError::Tls(e.to_string());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|e| tls(&e))?;
        let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| tls(&e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|e| tls(&e))?;
        server.alpn_protocols = vec![ALPN.to_vec()];
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
        Ok(Self { client, server })
    }
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
        .receive_window(VarInt::from_u32(limits::CONNECTION_WINDOW))
        .send_window(limits::SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    transport
}

fn file(key: &'static str, path: &Path, problem: impl std::fmt::Display) -> MeshError {
    MeshError::File { key, path: path.to_owned(), problem: problem.to_string() }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, MeshError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
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
        let problem = |config: &Mesh| match Identity::read(config, &node) {
            Err(error) => error.to_string(),
            Ok(_) => "none".to_owned(),
        };
        assert!(problem(&config).starts_with("mesh.ca: "), "{}", problem(&config));

        let authority = Authority::generate("dev").expect("an authority");
        let write = |path: &Path, text: &str| std::fs::write(path, text).expect("writes");
        write(&config.ca, authority.certificate_pem());
        write(&config.cert, "nothing");
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
