//! The authority's key and the mesh's secret, where the node has them.

use skein_bootstrap::config::Config;
use skein_bootstrap::enrolment::{Secret, SecretError};
use skein_bootstrap::identity::{Authority, IdentityError, NodeKey, check, validity, write_secret};
use skein_proto::ids::NodeId;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Why a node cannot sign although it is to.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The authority's files.
    #[error("enrol.authority_key: {}: {problem}", path.display())]
    Authority {
        /// The key's file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The secret's file.
    #[error("enrol.secret_file: {0}")]
    Secret(#[from] SecretError),
}

/// Signs certificates.
pub struct Signer {
    authority: Authority,
    secret: Option<Secret>,
    life: Duration,
}

impl Signer {
    /// Reads the files that the configuration names; none where it names none.
    ///
    /// # Errors
    /// Names the key whose file cannot be read or is not what it should be.
    pub fn read(config: &Config) -> Result<Option<Self>, SignerError> {
        let Some(path) = &config.enrol.authority_key else { return Ok(None) };
        let error = |problem: String| SignerError::Authority { path: path.clone(), problem };
        let key = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
        let ca = std::fs::read_to_string(&config.mesh.ca)
            .map_err(|e| error(format!("{}: {e}", config.mesh.ca.display())))?;
        let authority = Authority::from_pem(ca, key).map_err(|e| error(e.to_string()))?;
        let secret = config.enrol.secret_file.as_deref().map(Secret::read).transpose()?;
        Ok(Some(Self { authority, secret, life: config.enrol.certificate_life() }))
    }

    /// The mesh's secret: with it new machines can enrol here.
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// Signs a certificate for a node with the key of a request.
    pub(super) fn sign(&self, mesh: &str, node: &NodeId, request: &[u8]) -> Result<String, IdentityError> {
        self.authority.sign(mesh, node, request, SystemTime::now(), self.life)
    }

    /// Signs a new certificate for the own node before it starts, where the old one has expired while nothing ran.
    /// Other mistakes in the files are left to who reads them next.
    pub fn refresh(&self, config: &Config) {
        let (mesh, node) = (&config.mesh, &config.node.id);
        let files = [&mesh.cert, &mesh.key].map(std::fs::read_to_string);
        let [Ok(certificate), Ok(key)] = files else { return };
        let now = SystemTime::now();
        // Whatever else may be wrong with it, only its time is for this to mend.
        if !validity(&certificate).is_ok_and(|validity| validity.until <= now) {
            return;
        }
        let renewed = NodeKey::from_pem(&key).and_then(|own| {
            let renewed = self.sign(&mesh.name, node, &own.request(&mesh.name, node)?)?;
            check(&renewed, &key, self.authority.certificate_pem(), &mesh.name, node, now)?;
            write_secret(&mesh.cert, &renewed)
        });
        match renewed {
            Ok(()) => tracing::info!(%node, "the certificate had expired and was renewed"),
            Err(error) => tracing::warn!(%node, %error, "the certificate has expired and cannot be renewed"),
        }
    }
}
