//! What a certificate says, and whether it is one that a node can use.

use super::{IdentityError, mesh_name, node_name};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use skein_proto::ids::NodeId;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::{Pem, parse_x509_pem};

/// What the common name of an authority that Skein makes starts with; the mesh's name follows.
pub(super) const AUTHORITY: &str = "Skein mesh ";

/// From when until when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: SystemTime,
    /// The last second.
    pub until: SystemTime,
}

impl Validity {
    /// For how long.
    pub fn life(&self) -> Duration {
        self.until.duration_since(self.from).unwrap_or_default()
    }

    /// How much of it is left.
    pub fn left(&self, now: SystemTime) -> Duration {
        self.until.duration_since(now).unwrap_or_default()
    }
}

fn unfit(problem: impl ToString) -> IdentityError {
    IdentityError::Unfit(problem.to_string())
}

fn pem_of(text: &str) -> Result<Pem, IdentityError> {
    parse_x509_pem(text.as_bytes()).map(|(_, pem)| pem).map_err(|_| unfit("is not a certificate in PEM"))
}

/// From when until when a certificate, PEM, is good. One that ends beyond what this machine can tell ends there.
///
/// # Errors
/// When it is no certificate.
pub fn validity(certificate_pem: &str) -> Result<Validity, IdentityError> {
    let pem = pem_of(certificate_pem)?;
    let certificate = pem.parse_x509().map_err(|_| unfit("is not an X.509 certificate"))?;
    let at = |seconds: i64| {
        let since = Duration::from_secs(seconds.unsigned_abs());
        let moment = if seconds < 0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
        moment.unwrap_or(UNIX_EPOCH)
    };
    let validity = certificate.validity();
    Ok(Validity { from: at(validity.not_before.timestamp()), until: at(validity.not_after.timestamp()) })
}

/// Whether a certificate, PEM, carries a DNS name. One that cannot be read carries none.
pub fn carries(certificate_pem: &str, name: &str) -> bool {
    let Ok(pem) = pem_of(certificate_pem) else { return false };
    let Ok(certificate) = pem.parse_x509() else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names
        .value
        .general_names
        .iter()
        .any(|general| matches!(general, GeneralName::DNSName(dns) if *dns == name))
}

/// The mesh that an authority was made for, as its certificate, PEM, says; none where something else made it.
pub fn mesh_of(authority_pem: &str) -> Option<String> {
    let pem = pem_of(authority_pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    name.strip_prefix(AUTHORITY).map(str::to_owned)
}

/// Whether a node can use a certificate now: it is signed by the authority and in date, carries the names of the mesh
/// and the node, and the key is its own. All are PEM. Answers from when until when it is good.
///
/// # Errors
/// Says what is wrong.
pub fn check(
    certificate_pem: &str,
    key_pem: &str,
    authority_pem: &str,
    mesh: &str,
    node: &NodeId,
    now: SystemTime,
) -> Result<Validity, IdentityError> {
    for name in [mesh_name(mesh), node_name(mesh, node)] {
        if !carries(certificate_pem, &name) {
            return Err(unfit(format!("the certificate does not carry the name {name}")));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(unfit)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(unfit)?;
    CertifiedKey::from_der(vec![certificate.clone()], key, &provider)
        .map_err(|error| unfit(format!("certificate and key: {error}")))?;
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
        roots.add(authority.map_err(unfit)?).map_err(unfit)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(unfit)?;
    let since = now.duration_since(UNIX_EPOCH).map_err(unfit)?;
    verifier.verify_client_cert(&certificate, &[], UnixTime::since_unix_epoch(since)).map_err(unfit)?;
    validity(certificate_pem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Authority;

    #[test]
    fn a_certificate_is_for_its_node_its_key_and_its_time() {
        let authority = Authority::generate("dev").expect("makes");
        let (node, other): (NodeId, NodeId) = ("n1".parse().expect("a name"), "n2".parse().expect("a name"));
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
        let own = authority.issue_for("dev", &node, now, hour).expect("issues");
        let next = authority.issue_for("dev", &node, now, hour).expect("issues");
        let stranger = Authority::generate("dev").expect("makes");
        let ca = authority.certificate_pem();
        let problem = |key: &str, ca: &str, mesh: &str, node: &NodeId, now: SystemTime| {
            check(&own.certificate_pem, key, ca, mesh, node, now).err().map(|error| error.to_string())
        };
        assert_eq!(problem(&own.key_pem, ca, "dev", &node, now), None);
        assert!(problem(&next.key_pem, ca, "dev", &node, now).is_some(), "another key");
        assert!(problem(&own.key_pem, stranger.certificate_pem(), "dev", &node, now).is_some());
        assert!(problem(&own.key_pem, ca, "dev", &other, now).is_some_and(|text| text.contains("n2.node")));
        assert!(problem(&own.key_pem, ca, "other", &node, now).is_some());
        assert!(
            problem(&own.key_pem, ca, "dev", &node, now + 2 * hour).is_some_and(|e| e.contains("xpired"))
        );
        assert!(problem(&own.key_pem, ca, "dev", &node, now - hour).is_some());
        assert!(check("nothing", &own.key_pem, ca, "dev", &node, now).is_err());
    }

    #[test]
    fn an_authority_says_which_mesh_it_is_for() {
        let authority = Authority::generate("prod-eu").expect("makes");
        assert_eq!(mesh_of(authority.certificate_pem()).as_deref(), Some("prod-eu"));
        let node = "n1".parse().expect("a name");
        assert_eq!(mesh_of(&authority.issue("prod-eu", &node).expect("issues").certificate_pem), None);
        assert_eq!(mesh_of("nothing"), None);
    }

    #[test]
    fn a_certificate_that_does_not_end_has_a_long_life() {
        let authority = Authority::generate("dev").expect("makes");
        let identity = authority.issue("dev", &"n1".parse().expect("a name")).expect("issues");
        let validity = validity(&identity.certificate_pem).expect("reads");
        assert!(validity.life() > Duration::from_secs(1000 * 365 * 24 * 3600));
    }
}
