//! The mesh's certificate authority and its nodes' certificates.
//!
//! A node's certificate carries two DNS names: [`mesh_name`], which every node of the mesh has and every dialler asks
//! for, and [`node_name`], which only that node has and which its hello must match.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use skein_proto::ids::NodeId;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
        params.distinguished_name.push(DnType::CommonName, format!("Skein mesh {mesh}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let key_pem = key.serialize_pem();
        let issuer = CertifiedIssuer::self_signed(params, key)?;
        let certificate_pem = issuer.pem();
        Self::from_pem(certificate_pem, key_pem)
    }

    /// Reads an authority that was written before.
    ///
    /// # Errors
    /// When the texts are not a certificate and its key.
    pub fn from_pem(certificate_pem: String, key_pem: String) -> Result<Self, IdentityError> {
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, KeyPair::from_pem(&key_pem)?)?;
        Ok(Self { issuer, certificate_pem, key_pem })
    }

    /// The authority's certificate, as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's private key, as PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Signs a certificate for a node.
    ///
    /// # Errors
    /// When the names are not DNS names or the system has no randomness.
    pub fn issue(&self, mesh: &str, node: &NodeId) -> Result<Identity, IdentityError> {
        let mut params = CertificateParams::new(vec![mesh_name(mesh), node_name(mesh, node)])?;
        params.distinguished_name.push(DnType::CommonName, node.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
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
    fn secrets_are_for_the_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        write_secret(&path, "secret").expect("writes");
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
    }
}
