//! How nodes of the mesh get their certificates and keep them good.
//!
//! ```text
//! machine ── token, request ──► seed ──► cloud: did the leader launch it, lately, there?
//!                                 │
//!                                 ├────► voters: this token for this key, and for no other
//!                                 ▼
//!                            certificate, good for a day
//!
//! node ── request ──► seed        every 16 hours, over the connection that they have
//! ```
//!
//! A node that has the authority's key signs, for others and for itself; one that has the mesh's secret as well lets new
//! machines in. Every node answers as a voter, since the seed asks only those that the configuration names.

mod machine;
mod record;
mod rotate;
mod signer;
#[cfg(test)]
mod tests;

pub use signer::{Signer, SignerError};

use crate::mesh::{Enrolment, Enrolments, Mesh};
use crate::scaler::cloud::Cloud;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use record::Record;
use skein_bootstrap::config::{Config, is_label};
use skein_bootstrap::enrolment::{Entitlement, sha256};
use skein_bootstrap::identity::request_key;
use skein_proto::ids::NodeId;
use skein_proto::rpc::{Call, EnrolRefusal, EnrolRequest, Reply, TokenUse};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For the cloud's list.
const LIST: Duration = Duration::from_secs(6);
/// For a voter's answer.
const VOTE: Duration = Duration::from_secs(3);

/// The node's part in giving certificates.
pub struct Enrol {
    mesh: Mesh,
    voters: Vec<NodeId>,
    window: Duration,
    signer: Option<Signer>,
    cloud: Option<Arc<dyn Cloud>>,
    record: Mutex<Record>,
}

impl Enrol {
    /// `cloud` lists the machines that the leader launched; without it only invitations are taken.
    pub fn new(
        mesh: Mesh,
        config: &Config,
        signer: Option<Signer>,
        cloud: Option<Arc<dyn Cloud>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            mesh,
            voters: config.election.voters.clone(),
            window: config.enrol.window(),
            signer,
            cloud,
            record: Mutex::default(),
        })
    }

    /// Answers machines and keeps the own certificate good, until the end.
    pub async fn run(self: Arc<Self>, tasks: TaskTracker, cancel: CancellationToken) {
        let enrolments = self.mesh.enrolments();
        let serve = async {
            match enrolments {
                Some(enrolments) => self.serve(enrolments, tasks).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = serve => {}
            () = self.rotate() => {}
        }
    }

    /// Their number is bounded by who hands them over, and each ends by its deadlines.
    async fn serve(self: &Arc<Self>, mut enrolments: Enrolments, tasks: TaskTracker) {
        while let Some(enrolment) = enrolments.next().await {
            let this = Arc::clone(self);
            tasks.spawn(async move { this.answer(enrolment).await });
        }
    }

    async fn answer(&self, enrolment: Enrolment) {
        let answer = self.decide(&enrolment.request, enrolment.from).await;
        if answer.is_ok() {
            tracing::info!(node = %enrolment.request.node, from = %enrolment.from, "machine enrolled");
        }
        enrolment.answer(answer);
    }

    async fn decide(&self, request: &EnrolRequest, from: IpAddr) -> Result<String, EnrolRefusal> {
        let EnrolRequest { mesh, node, token, request } = request;
        let Some((signer, secret)) = self.signer.as_ref().and_then(|each| Some((each, each.secret()?)))
        else {
            return Err(EnrolRefusal::Unavailable);
        };
        let own = self.mesh.view().borrow().mesh.clone();
        if *mesh != own {
            return Err(EnrolRefusal::Mesh);
        }
        // First, so that who has no token costs nothing more and hears of nothing else.
        let entitled = secret.check(mesh, node, token, SystemTime::now()).ok_or(EnrolRefusal::Token)?;
        let key = request_key(request).map_err(|_| EnrolRefusal::Request)?;
        if !is_label(node.as_str()) {
            return Err(EnrolRefusal::Request);
        }
        if self.mesh.view().borrow().get(node).is_some() {
            return Err(EnrolRefusal::Alive);
        }
        if let Entitlement::Launch(number) = entitled {
            self.is_launched(number, from).await?;
        }
        self.use_once(TokenUse { token: sha256(token.as_bytes()), key: sha256(&key) }).await?;
        signer.sign(mesh, node, request).map_err(|error| {
            tracing::error!(%node, %error, "a certificate cannot be signed");
            EnrolRefusal::Request
        })
    }

    async fn is_launched(&self, number: u64, from: IpAddr) -> Result<(), EnrolRefusal> {
        let cloud = self.cloud.as_ref().ok_or(EnrolRefusal::NoCloud)?;
        let machines = match timeout(LIST, cloud.list()).await {
            Ok(Ok(machines)) => machines,
            Ok(Err(error)) => {
                tracing::warn!(%error, number, "the cloud does not list its machines to enrol one");
                return Err(EnrolRefusal::Unavailable);
            }
            Err(_) => return Err(EnrolRefusal::Unavailable),
        };
        machine::check(&machines, number, from, SystemTime::now(), self.window)
    }

    /// Has a majority of the voters take the key for the token. Any two majorities share a voter, and a voter takes one
    /// key only, so no two seeds sign two keys.
    async fn use_once(&self, token_use: TokenUse) -> Result<(), EnrolRefusal> {
        let majority = self.voters.len() / 2 + 1;
        let mut asked: FuturesUnordered<_> =
            self.voters.iter().map(|voter| self.mesh.call(voter, Call::UseToken(token_use), VOTE)).collect();
        let (mut taken, mut refused) = (0, 0);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(Reply::Done) => taken += 1,
                Ok(Reply::Taken) => refused += 1,
                Ok(other) => tracing::debug!(?other, "a voter's answer means nothing"),
                Err(error) => tracing::debug!(%error, "a voter does not answer"),
            }
            if taken >= majority {
                return Ok(());
            }
            if refused > self.voters.len() - majority {
                return Err(EnrolRefusal::Used);
            }
        }
        Err(EnrolRefusal::Unavailable)
    }

    /// A seed asks this node as a voter.
    pub fn use_token(&self, token_use: TokenUse) -> Reply {
        if self.record.lock().take(token_use) { Reply::Done } else { Reply::Taken }
    }

    /// A node asks for another certificate: for its own name, which its connection was checked for.
    pub fn renew(&self, node: &NodeId, request: &[u8]) -> Reply {
        let Some(signer) = &self.signer else {
            return Reply::Failed("this node does not have the authority's key".to_owned());
        };
        let mesh = self.mesh.view().borrow().mesh.clone();
        match signer.sign(&mesh, node, request) {
            Ok(certificate) => {
                tracing::debug!(%node, "certificate renewed");
                Reply::Signed(certificate)
            }
            Err(error) => Reply::Failed(error.to_string()),
        }
    }
}
