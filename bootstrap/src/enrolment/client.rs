//! The machine's side of enrolment. The only code here that names quinn.

use super::Ticket;
use crate::identity::mesh_name;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, IdleTimeout, TransportConfig, VarInt};
use rand::seq::SliceRandom;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS13;
use skein_proto::codec;
use skein_proto::rpc::{ENROL_ALPN, EnrolRefusal, EnrolReply, EnrolRequest, MAX_ENROL_BYTES};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// For one try at one address: longer than a seed takes to ask the cloud and the voters.
const TRY: Duration = Duration::from_secs(15);
/// A seed that does not answer at all is given up after this long.
const IDLE: Duration = Duration::from_secs(5);
/// First wait after nobody signed; doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// Why a machine has no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// A seed refused, and another or a later one would too.
    #[error("{seed} refused: {why}")]
    Refused {
        /// Which.
        seed: SocketAddr,
        /// Why.
        why: EnrolRefusal,
    },
    /// Nobody signed within the time.
    #[error("no seed signed within {patience:?}; the last one: {problem}")]
    Deadline {
        /// The time.
        patience: Duration,
        /// What the last try ended with.
        problem: String,
    },
    /// The authority's certificate cannot be used.
    #[error("the authority's certificate: {0}")]
    Authority(String),
}

/// Asks the seeds of a ticket, one after the other and again and again, to sign a certificate request (PKCS #10, DER).
/// Answers the certificate, PEM.
///
/// # Errors
/// When a seed refuses for good, or none signs within `patience`.
pub async fn enrol(ticket: &Ticket, request: &[u8], patience: Duration) -> Result<String, EnrolError> {
    let client = client(&ticket.authority_pem).map_err(EnrolError::Authority)?;
    let deadline = Instant::now() + patience;
    let late = |problem: String| EnrolError::Deadline { patience, problem };
    let mut problem = "no seed has an address".to_owned();
    let mut backoff = BACKOFF_FIRST;
    loop {
        let mut addresses = Vec::new();
        for seed in &ticket.seeds {
            match timeout_at(deadline, seed.resolve()).await {
                Ok(Ok(found)) => addresses.extend(found),
                Ok(Err(error)) => problem = error,
                Err(_) => return Err(late(problem)),
            }
        }
        // So that not all machines of a burst ask the same one.
        addresses.shuffle(&mut rand::rng());
        for seed in addresses {
            match timeout_at(deadline, timeout(TRY, ask(&client, seed, ticket, request))).await {
                Err(_) => return Err(late(problem)),
                Ok(Err(_)) => problem = format!("{seed} did not answer within {TRY:?}"),
                Ok(Ok(Err(error))) => problem = format!("{seed}: {error}"),
                Ok(Ok(Ok(EnrolReply::Signed(pem)))) => return Ok(pem),
                Ok(Ok(Ok(EnrolReply::Refused(why)))) if why.is_final() => {
                    return Err(EnrolError::Refused { seed, why });
                }
                Ok(Ok(Ok(EnrolReply::Refused(why)))) => problem = format!("{seed} refused: {why}"),
            }
            tracing::debug!(problem, "not enrolled yet");
        }
        let wait = backoff.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        if Instant::now() + wait >= deadline {
            return Err(late(problem));
        }
        tokio::time::sleep(wait).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

fn client(authority_pem: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    if roots.is_empty() {
        return Err("is not a certificate in PEM".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ENROL_ALPN.to_vec()];
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(|e| e.to_string())?));
    let mut transport = TransportConfig::default();
    let idle = VarInt::from_u32(IDLE.as_millis() as u32);
    // The answer takes as long as the cloud does.
    transport.max_idle_timeout(Some(IdleTimeout::from(idle))).keep_alive_interval(Some(IDLE / 3));
    client.transport_config(Arc::new(transport));
    Ok(client)
}

async fn ask(
    client: &ClientConfig,
    seed: SocketAddr,
    ticket: &Ticket,
    request: &[u8],
) -> Result<EnrolReply, String> {
    let any = match seed {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = Endpoint::client(any).map_err(|e| e.to_string())?;
    let connecting =
        endpoint.connect_with(client.clone(), seed, &mesh_name(&ticket.mesh)).map_err(|e| e.to_string())?;
    let connection = connecting.await.map_err(|e| e.to_string())?;
    let request = EnrolRequest {
        mesh: ticket.mesh.clone(),
        node: ticket.node.clone(),
        token: ticket.token.clone(),
        request: request.to_vec(),
    };
    let frame = codec::encode(&request).map_err(|e| e.to_string())?;
    let (mut writer, mut reader) = connection.open_bi().await.map_err(|e| e.to_string())?;
    writer.write_all(&frame).await.map_err(|e| e.to_string())?;
    writer.finish().map_err(|e| e.to_string())?;
    let answer =
        reader.read_to_end(MAX_ENROL_BYTES).await.map_err(|error| match connection.close_reason() {
            Some(reason) => reason.to_string(),
            None => error.to_string(),
        })?;
    connection.close(VarInt::from_u32(0), b"done");
    // So that the close gets out.
    endpoint.wait_idle().await;
    codec::decode(&answer).map_err(|e| e.to_string())
}
