//! The own certificate, renewed before it ends.

use super::Enrol;
use rand::seq::SliceRandom;
use skein_bootstrap::config::NodeRole;
use skein_bootstrap::identity::{NodeKey, Validity};
use skein_proto::ids::NodeId;
use skein_proto::rpc::{Call, Reply};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often the files are looked at, in case somebody changed them, and the clock.
const LOOK: Duration = Duration::from_secs(60);
/// Shortest wait between two tries to renew.
const RETRY: Duration = Duration::from_millis(200);
/// For a seed's answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How many seeds are asked in one try.
const ASKED: usize = 5;

/// When to renew a certificate: after two thirds of its life.
fn due(validity: Validity) -> SystemTime {
    validity.from + validity.life() / 3 * 2
}

/// How long to wait before the next look or try. `failed`: the last try to renew did.
fn wait(validity: Validity, now: SystemTime, failed: bool) -> Duration {
    if failed {
        return (validity.life() / 60).clamp(RETRY, LOOK);
    }
    // At least a little, should the certificate be due again already.
    due(validity).duration_since(now).unwrap_or_default().clamp(RETRY, LOOK)
}

/// When a certificate that nobody renews is worth a warning: at once, and then whenever half of what was left is gone.
#[derive(Default)]
struct Warnings {
    left: Option<Duration>,
    expired: bool,
}

impl Warnings {
    fn is_due(&mut self, left: Duration) -> bool {
        if left.is_zero() {
            return !std::mem::replace(&mut self.expired, true);
        }
        let is_due = self.left.is_none_or(|before| left <= before / 2);
        if is_due {
            self.left = Some(left);
        }
        is_due
    }
}

impl Enrol {
    /// Runs until it is dropped.
    pub(super) async fn rotate(self: &Arc<Self>) {
        let mut warnings = Warnings::default();
        let mut failed = false;
        let mut damaged = false;
        loop {
            tokio::time::sleep(wait(self.mesh.certificate(), SystemTime::now(), failed)).await;
            let mesh = self.mesh.clone();
            match tokio::task::spawn_blocking(move || mesh.reread()).await {
                Ok(Ok(true)) => {
                    tracing::info!("the certificate's files have changed; the new ones are in use")
                }
                Ok(Ok(false)) => damaged = false,
                // Said once: half of a change may be there.
                Ok(Err(error)) if !std::mem::replace(&mut damaged, true) => {
                    tracing::warn!(%error, "the certificate's files have changed and cannot be used");
                }
                Ok(Err(_)) | Err(_) => {}
            }
            let now = SystemTime::now();
            let validity = self.mesh.certificate();
            if now < due(validity) {
                (failed, warnings) = (false, Warnings::default());
                continue;
            }
            match self.renew_own().await {
                Ok(validity) => {
                    tracing::info!(seconds = validity.left(now).as_secs(), "certificate renewed");
                    (failed, warnings) = (false, Warnings::default());
                }
                Err(problem) => {
                    failed = true;
                    let left = validity.left(SystemTime::now());
                    if warnings.is_due(left) {
                        warn(left, &problem);
                    }
                }
            }
        }
    }

    async fn renew_own(&self) -> Result<Validity, String> {
        let own = self.mesh.id().clone();
        let mesh = self.mesh.view().borrow().mesh.clone();
        let key = NodeKey::from_pem(&self.mesh.key_pem()).map_err(|e| e.to_string())?;
        let request = key.request(&mesh, &own).map_err(|e| e.to_string())?;
        let certificate = match &self.signer {
            Some(signer) => signer.sign(&mesh, &own, &request).map_err(|e| e.to_string())?,
            None => self.ask_seeds(request).await?,
        };
        let mesh = self.mesh.clone();
        match tokio::task::spawn_blocking(move || mesh.adopt(certificate)).await {
            Ok(adopted) => adopted.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn ask_seeds(&self, request: Vec<u8>) -> Result<String, String> {
        let mut problem = "no seed is in the mesh".to_owned();
        for seed in self.signers() {
            match self.mesh.call(&seed, Call::Renew(request.clone()), ANSWER).await {
                Ok(Reply::Signed(certificate)) => return Ok(certificate),
                Ok(Reply::Failed(why)) => problem = format!("{seed}: {why}"),
                Ok(other) => problem = format!("{seed} answered {other:?}"),
                Err(error) => problem = error.to_string(),
            }
        }
        Err(problem)
    }

    /// Who may have the authority's key: seeds, and voters. In any order, so that they share the work.
    fn signers(&self) -> Vec<NodeId> {
        let view = self.mesh.view();
        let view = view.borrow();
        let is_seed = |id: &&NodeId| {
            view.get(id).is_some_and(|node| node.facts.role == NodeRole::Seed.as_str())
                || self.voters.contains(id)
        };
        let all: BTreeSet<&NodeId> = view.nodes.keys().filter(|id| **id != view.own).collect();
        let mut all: Vec<_> = all.into_iter().filter(is_seed).cloned().collect();
        all.shuffle(&mut rand::rng());
        all.truncate(ASKED);
        all
    }
}

fn warn(left: Duration, problem: &str) {
    if left.is_zero() {
        tracing::error!(problem, "the certificate has expired: nodes refuse new connections with this one");
    } else {
        let left = humantime::format_duration(Duration::from_secs(left.as_secs())).to_string();
        tracing::warn!(problem, left, "the certificate is about to expire and nobody renews it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let now = SystemTime::now();
        let validity = Validity { from: now, until: now + DAY };
        assert_eq!(due(validity), now + DAY / 3 * 2);
        assert_eq!(wait(validity, now, false), LOOK, "the files are looked at before");
        assert_eq!(wait(validity, due(validity) - Duration::from_secs(7), false), Duration::from_secs(7));
        assert_eq!(wait(validity, due(validity) + DAY, false), RETRY);
        assert_eq!(wait(validity, now, true), LOOK);
        let short = Validity { from: now, until: now + Duration::from_secs(6) };
        assert_eq!(wait(short, now, true), RETRY);
    }

    #[test]
    fn warnings_come_more_often_towards_the_end_and_do_not_flood() {
        let mut warnings = Warnings::default();
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let warned: Vec<u64> = (0..=480).rev().filter(|left| warnings.is_due(minutes(*left))).collect();
        assert_eq!(warned, [480, 240, 120, 60, 30, 15, 7, 3, 1, 0]);
        assert!(!warnings.is_due(Duration::ZERO));
    }
}
