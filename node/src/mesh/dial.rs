//! Dialling: once at a time for each address, and ever less often where nobody answers or nobody wants this node.

use super::counters::count;
use super::hello::{NoLink, canonical};
use super::link::Link;
use super::refusal::Refusal;
use super::{MeshError, Shared, limits};
use parking_lot::Mutex;
use skein_bootstrap::identity::mesh_name;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

type Outcome = Result<Arc<Link>, MeshError>;

/// What is known of the addresses that were dialled.
#[derive(Default)]
pub(super) struct Dialer {
    targets: Mutex<HashMap<SocketAddr, Target>>,
}

struct Target {
    /// A dial that is under way.
    dialling: Option<watch::Receiver<Option<Outcome>>>,
    /// Dials in a row that failed, or whose connection did not last.
    failures: u32,
    /// When the last dial ended.
    ended: Instant,
    /// Not before this.
    next: Instant,
    /// How the last dial failed.
    problem: String,
}

impl Target {
    fn new(now: Instant) -> Self {
        Self { dialling: None, failures: 0, ended: now, next: now, problem: String::new() }
    }

    /// Whether it says anything that is still of use.
    fn is_worth_keeping(&self, now: Instant) -> bool {
        self.dialling.is_some() || now.duration_since(self.ended) < limits::LOGGED_FOR
    }

    /// Counts a dial that ended; whether it reached someone does not matter until the connection has lasted.
    fn end(&mut self, now: Instant, problem: String) {
        self.dialling = None;
        self.failures = self.failures.saturating_add(1);
        self.ended = now;
        self.next = now + backoff(self.failures, rand::random());
        self.problem = problem;
    }
}

/// How long to wait after so many failures in a row; `random` from 0 to 1 spreads those who failed together.
fn backoff(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = limits::BACKOFF_FIRST.saturating_mul(1 << doublings).min(limits::BACKOFF_MAX);
    longest.mul_f64(0.5 + random / 2.0)
}

impl Shared {
    /// The connection to whoever is at an address: the one there is, or a new one. Fails at once while it is too early
    /// to dial again.
    pub(super) async fn reach(self: &Arc<Self>, addr: SocketAddr) -> Outcome {
        if let Some(link) = self.peers.at(addr) {
            return Ok(link);
        }
        let mut outcome = self.dial(addr)?;
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(MeshError::ShutDown),
        }
    }

    /// Starts to dial, or joins the dial that is under way.
    pub(super) fn dial(
        self: &Arc<Self>,
        addr: SocketAddr,
    ) -> Result<watch::Receiver<Option<Outcome>>, MeshError> {
        let now = Instant::now();
        let unreachable = |problem: &str| MeshError::Unreachable { addr, problem: problem.to_owned() };
        if addr == self.addr {
            return Err(unreachable("it is this node"));
        }
        let mut targets = self.dialer.targets.lock();
        if targets.len() >= limits::DIAL_TARGETS && !targets.contains_key(&addr) {
            targets.retain(|_, target| target.is_worth_keeping(now));
            if targets.len() >= limits::DIAL_TARGETS {
                return Err(unreachable("too many addresses cannot be reached"));
            }
        }
        let target = targets.entry(addr).or_insert_with(|| Target::new(now));
        if let Some(dialling) = &target.dialling {
            return Ok(dialling.clone());
        }
        if now < target.next {
            return Err(unreachable(&target.problem));
        }
        // A connection that lasted is forgiven everything before it.
        if now.duration_since(target.ended) > 2 * limits::BACKOFF_MAX {
            target.failures = 0;
        }
        let (done, outcome) = watch::channel(None);
        target.dialling = Some(outcome.clone());
        drop(targets);
        let shared = self.clone();
        self.spawn(async move {
            let outcome = shared.try_dial(addr).await;
            done.send_replace(Some(outcome));
        });
        Ok(outcome)
    }

    async fn try_dial(self: &Arc<Self>, addr: SocketAddr) -> Outcome {
        let client = self.identity.read().client.clone();
        let name = mesh_name(&self.mesh);
        let outcome = match self.endpoint.connect_with(client, addr, &name) {
            Ok(connecting) => self.greet(connecting).await,
            Err(error) => Err(NoLink::Lost(error.to_string())),
        };
        let problem = match &outcome {
            Ok(_) => "the last connection did not last".to_owned(),
            Err(NoLink::Lost(problem)) => problem.clone(),
            Err(NoLink::Refused(refused)) => refused.to_string(),
        };
        {
            let mut targets = self.dialer.targets.lock();
            if let Some(target) = targets.get_mut(&addr) {
                target.end(Instant::now(), problem.clone());
                if matches!(&outcome, Err(NoLink::Refused(refused)) if refused.why == Refusal::Own) {
                    target.next = Instant::now() + limits::OWN_AGAIN;
                }
            }
        }
        match outcome {
            Ok(link) => {
                // The node may advertise an address that its packets do not come from.
                self.peers.locate(&link.node, link.generation, canonical(addr));
                return Ok(link);
            }
            Err(NoLink::Lost(problem)) => {
                count(&self.counters.dials_failed);
                tracing::debug!(%addr, problem, "cannot be reached");
            }
            Err(NoLink::Refused(refused)) => self.refused(addr, refused),
        }
        Err(MeshError::Unreachable { addr, problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_spread() {
        assert_eq!(backoff(1, 1.0), limits::BACKOFF_FIRST);
        assert_eq!(backoff(1, 0.0), limits::BACKOFF_FIRST / 2);
        assert_eq!(backoff(3, 1.0), limits::BACKOFF_FIRST * 4);
        assert_eq!(backoff(u32::MAX, 1.0), limits::BACKOFF_MAX);
    }
}
