//! Another certificate for the same node, while it runs.
//!
//! New connections, dialled or accepted, show the new certificate from then on. Those that are up stay up until they
//! break: each side was checked when it was made, and to close them would break every stream that they carry.

use super::{Mesh, MeshError, Shared, tls};
use skein_bootstrap::identity::{Validity, check, write_secret};
use std::time::SystemTime;

impl Mesh {
    /// From when until when the node's certificate is good.
    pub fn certificate(&self) -> Validity {
        self.shared.identity.read().validity
    }

    /// The node's private key, PEM.
    pub(crate) fn key_pem(&self) -> String {
        self.shared.identity.read().texts.key.clone()
    }

    /// Takes another certificate, PEM, for the node's key, and writes it where the configuration says. Reads and writes
    /// files.
    ///
    /// # Errors
    /// When the mesh would not accept the certificate now: nothing has changed then. When it cannot be written: it is
    /// in use all the same.
    pub fn adopt(&self, certificate: String) -> Result<Validity, MeshError> {
        let shared = &self.shared;
        let texts = tls::Texts { certificate, ..shared.identity.read().texts.clone() };
        let validity = shared.exchange(texts.clone())?;
        let path = &shared.config.cert;
        write_secret(path, &texts.certificate).map_err(|error| MeshError::File {
            key: "mesh.cert",
            path: path.clone(),
            problem: error.to_string(),
        })?;
        Ok(validity)
    }

    /// Takes authority, certificate and key from their files where somebody has changed those. Answers whether.
    ///
    /// # Errors
    /// When the files cannot be read or do not belong together: nothing has changed then.
    pub fn reread(&self) -> Result<bool, MeshError> {
        let texts = tls::Texts::read(&self.shared.config)?;
        if texts == self.shared.identity.read().texts {
            return Ok(false);
        }
        self.shared.exchange(texts).map(|_| true)
    }
}

impl Shared {
    /// Shows another identity from now on.
    fn exchange(&self, texts: tls::Texts) -> Result<Validity, MeshError> {
        check(&texts.certificate, &texts.key, &texts.authority, &self.mesh, &self.id, SystemTime::now())
            .map_err(|error| MeshError::Tls(error.to_string()))?;
        let identity = tls::Identity::new(&self.config, &self.id, texts, self.desk.is_some())?;
        let validity = identity.validity;
        self.endpoint.set_server_config(Some(identity.server.clone()));
        *self.identity.write() = identity;
        Ok(validity)
    }
}
