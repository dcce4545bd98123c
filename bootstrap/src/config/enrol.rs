//! How nodes get their certificates.

use super::{ConfigError, Election, wrong};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// How nodes get their certificates. Seeds have the files; other nodes need nothing of this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Enrol {
    /// File with the mesh's enrolment secret, as `skein init` makes it. With it new machines can enrol through this
    /// node.
    pub secret_file: Option<PathBuf>,
    /// File with the private key of the mesh's authority, whose certificate is in `mesh.ca`. With it the node renews
    /// certificates, the own too.
    pub authority_key: Option<PathBuf>,
    /// Minutes after its launch within which a machine can enrol.
    pub window_minutes: f64,
    /// Hours for which the certificates are good that this node signs.
    pub certificate_hours: f64,
}

impl Default for Enrol {
    fn default() -> Self {
        Self { secret_file: None, authority_key: None, window_minutes: 15.0, certificate_hours: 24.0 }
    }
}

impl Enrol {
    /// [`Enrol::window_minutes`].
    pub fn window(&self) -> Duration {
        Duration::from_secs_f64(self.window_minutes * 60.0)
    }

    /// [`Enrol::certificate_hours`].
    pub fn certificate_life(&self) -> Duration {
        Duration::from_secs_f64(self.certificate_hours * 3600.0)
    }

    /// The files.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.secret_file.iter_mut().chain(self.authority_key.as_mut())
    }

    pub(super) fn check(&self, election: &Election) -> Result<(), ConfigError> {
        if !(0.1..=1440.0).contains(&self.window_minutes) {
            return Err(wrong("enrol.window_minutes", "is not between 0.1 and 1440"));
        }
        // Two seconds: what a certificate says of its time is in whole seconds.
        if !(2.0 / 3600.0..=8784.0).contains(&self.certificate_hours) {
            return Err(wrong("enrol.certificate_hours", "is not between 0.00056 and 8784"));
        }
        if self.secret_file.is_none() {
            return Ok(());
        }
        if self.authority_key.is_none() {
            return Err(wrong("enrol.authority_key", "is missing, and enrol.secret_file is there"));
        }
        if election.voters.is_empty() {
            let problem = "is empty, and enrol.secret_file needs voters, who know which tokens were used";
            return Err(wrong("election.voters", problem));
        }
        Ok(())
    }
}
