//! The mesh's certificate authority and its nodes' certificates.
//!
//! A node's certificate carries two DNS names: [`mesh_name`], which every node of the mesh has and every dialler asks
//! for, and [`node_name`], which only that node has and which its hello must match.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use skein_proto::ids::NodeId;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use x509_parser::pem::Pem;

mod check;

pub use check::{Validity, carries, check, mesh_of, validity};

/// Largest certificate signing request that is looked at, bytes.
pub const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// How far a certificate reaches back at most before it was signed, for clocks that differ.
const BACKDATED: Duration = Duration::from_secs(300);

/// Why an identity cannot be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate cannot be made, or the authority's files are not what they should be.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Certificate, key and authority do not belong together, or not to the node, or not to this day.
    #[error("{0}")]
    Unfit(String),
}

/// The DNS name that every node of a mesh has.
pub fn mesh_name(mesh: &str) -> String {
    format!("{mesh}.mesh.skein.internal")
}

/// The DNS name that one node has.
pub fn node_name(mesh: &str, node: &NodeId) -> String {
    format!("{node}.node.{mesh}.mesh.skein.internal")
}

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    key_pem: String,
}

/// A certificate and its private key, as PEM.
pub struct Identity {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: String,
}

impl Authority {
    /// Makes a new authority for a mesh.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(mesh: &str) -> Result<Self, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{}{mesh}", check::AUTHORITY));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let key_pem = key.serialize_pem();
        let issuer = CertifiedIssuer::self_signed(params, key)?;
        let certificate_pem = issuer.pem();
        Self::from_pem(certificate_pem, key_pem)
    }

    /// Reads an authority that was written before. Of several certificates, as there are while one authority takes
    /// over from another, the one counts that the key is for.
    ///
    /// # Errors
    /// When the texts are not a certificate and its key.
    pub fn from_pem(certificate_pem: String, key_pem: String) -> Result<Self, IdentityError> {
        let key = KeyPair::from_pem(&key_pem)?;
        let own = Pem::iter_from_buffer(certificate_pem.as_bytes()).flatten().find(|pem| {
            pem.parse_x509().is_ok_and(|each| each.public_key().subject_public_key.data == key.der_bytes())
        });
        let Some(own) = own else {
            let problem = "the key is not the one of the authority's certificate";
            return Err(IdentityError::Unfit(problem.to_owned()));
        };
        let issuer = Issuer::from_ca_cert_der(&own.contents.into(), key)?;
        Ok(Self { issuer, certificate_pem, key_pem })
    }

    /// Reads `ca.pem` and `ca.key` of a folder.
    ///
    /// # Errors
    /// When they cannot be read, or are not a certificate and its key.
    pub fn read(folder: &Path) -> Result<Self, IdentityError> {
        Self::from_pem(read(&folder.join(CA))?, read(&folder.join(CA_KEY))?)
    }

    /// Writes `ca.pem` and `ca.key` into a folder, for its owner only.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), IdentityError> {
        write_secret(&folder.join(CA), &self.certificate_pem)?;
        write_secret(&folder.join(CA_KEY), &self.key_pem)
    }

    /// The authority's certificate, as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's private key, as PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Makes a key and signs a certificate for a node, one that does not end.
    ///
    /// # Errors
    /// When the names are not DNS names or the system has no randomness.
    pub fn issue(&self, mesh: &str, node: &NodeId) -> Result<Identity, IdentityError> {
        let key = KeyPair::generate()?;
        let certificate = params(mesh, node)?.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Makes a key and signs a certificate for a node that is good for as long as `life` from `now` on.
    ///
    /// # Errors
    /// See [`Authority::sign`].
    pub fn issue_for(
        &self,
        mesh: &str,
        node: &NodeId,
        now: SystemTime,
        life: Duration,
    ) -> Result<Identity, IdentityError> {
        let key = NodeKey::generate()?;
        let certificate_pem = self.sign(mesh, node, &key.request(mesh, node)?, now, life)?;
        Ok(Identity { certificate_pem, key_pem: key.pem() })
    }

    /// Signs a certificate for a node: for the key that a request (PKCS #10, DER) is signed with, and with nothing else
    /// of that request. It is good for as long as `life` from `now` on. Answers PEM.
    ///
    /// # Errors
    /// When the request is none, or too large, when the names are not DNS names, or the system has no randomness.
    pub fn sign(
        &self,
        mesh: &str,
        node: &NodeId,
        request: &[u8],
        now: SystemTime,
        life: Duration,
    ) -> Result<String, IdentityError> {
        let request = read_request(request)?;
        let mut params = params(mesh, node)?;
        params.not_before = (now - BACKDATED.min(life / 12)).into();
        params.not_after = (now + life).into();
        Ok(params.signed_by(&request.public_key, &self.issuer)?.pem())
    }
}

/// What every certificate of a node says.
fn params(mesh: &str, node: &NodeId) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::new(vec![mesh_name(mesh), node_name(mesh, node)])?;
    params.distinguished_name.push(DnType::CommonName, node.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    // By default it is made of the key, and a node keeps that through many certificates. Positive: the first bit is 0.
    let mut serial: [u8; 16] = rand::random();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn read_request(request: &[u8]) -> Result<CertificateSigningRequestParams, IdentityError> {
    if request.len() > MAX_REQUEST_BYTES {
        return Err(IdentityError::Unfit("the certificate request is too large".to_owned()));
    }
    Ok(CertificateSigningRequestParams::from_der(&request.into())?)
}

/// The public key that a certificate signing request (PKCS #10, DER) is for and signed with.
///
/// # Errors
/// When it is none, too large, or not signed by that key.
pub fn request_key(request: &[u8]) -> Result<Vec<u8>, IdentityError> {
    Ok(read_request(request)?.public_key.der_bytes().to_vec())
}

/// A node's private key. It is made on the node's machine and stays there, through all of its certificates.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// Makes one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self(KeyPair::generate()?))
    }

    /// Reads one.
    ///
    /// # Errors
    /// When the text is no key.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        Ok(Self(KeyPair::from_pem(pem)?))
    }

    /// As PEM.
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// A certificate signing request (PKCS #10) for a node, DER.
    ///
    /// # Errors
    /// When the names are not DNS names.
    pub fn request(&self, mesh: &str, node: &NodeId) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::new(vec![mesh_name(mesh), node_name(mesh, node)])?;
        params.distinguished_name.push(DnType::CommonName, node.as_str());
        Ok(params.serialize_request(&self.0)?.der().to_vec())
    }
}

/// Name of the file with an authority's certificate.
pub const CA: &str = "ca.pem";
/// Name of the file with an authority's key.
pub const CA_KEY: &str = "ca.key";

fn read(path: &Path) -> Result<String, IdentityError> {
    fs::read_to_string(path)
        .map_err(|source| IdentityError::File { path: path.display().to_string(), source })
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// When the folder cannot be written to.
pub fn write_secret(path: &Path, text: &str) -> Result<(), IdentityError> {
    let error = |source| IdentityError::File { path: path.display().to_string(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    // A draft that was left behind keeps the mode that it has.
    if let Err(problem) = fs::remove_file(&draft)
        && problem.kind() != io::ErrorKind::NotFound
    {
        return Err(error(problem));
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(error)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(error)?;
    fs::rename(&draft, path).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_the_same_after_reading() {
        let made = Authority::generate("dev").expect("makes");
        let read =
            Authority::from_pem(made.certificate_pem().to_owned(), made.key_pem().to_owned()).expect("reads");
        let node = "node-1".parse().expect("a name");
        assert!(read.issue("dev", &node).expect("issues").certificate_pem.contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn an_authority_is_read_with_its_own_key_only() {
        let (old, new) =
            (Authority::generate("dev").expect("makes"), Authority::generate("dev").expect("makes"));
        assert!(Authority::from_pem(old.certificate_pem().to_owned(), new.key_pem().to_owned()).is_err());
        let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());
        let read = Authority::from_pem(both, new.key_pem().to_owned()).expect("one of them is the key's");
        let node = "n1".parse().expect("a name");
        let now = SystemTime::now();
        let made = read.issue_for("dev", &node, now, Duration::from_secs(60)).expect("issues");
        let fits = |ca: &str| check(&made.certificate_pem, &made.key_pem, ca, "dev", &node, now).is_ok();
        assert!(fits(new.certificate_pem()) && !fits(old.certificate_pem()));
    }

    #[test]
    fn only_the_key_of_a_request_counts() {
        let authority = Authority::generate("dev").expect("makes");
        let (node, other) = ("n1".parse().expect("a name"), "n2".parse().expect("a name"));
        let key = NodeKey::generate().expect("makes");
        let request = key.request("dev", &other).expect("requests");
        let now = SystemTime::now();
        let life = Duration::from_secs(3600);
        let first = authority.sign("dev", &node, &request, now, life).expect("signs");
        assert!(carries(&first, &node_name("dev", &node)) && !carries(&first, &node_name("dev", &other)));
        let valid = validity(&first).expect("reads");
        assert!(valid.from <= now && valid.until > now + life - Duration::from_secs(2));
        assert!(valid.until <= now + life);
        assert_ne!(first, authority.sign("dev", &node, &request, now, life).expect("signs"), "same number");

        // Signed by another key than the one that it is for.
        let mut forged = request.clone();
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
        }
        assert!(request_key(&request).is_ok() && request_key(&forged).is_err());
        assert!(authority.sign("dev", &node, &forged, now, life).is_err());
        assert!(request_key(&vec![0; MAX_REQUEST_BYTES + 1]).is_err());
    }

    #[test]
    fn secrets_are_for_the_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        write_secret(&path, "secret").expect("writes");
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
    }
}
