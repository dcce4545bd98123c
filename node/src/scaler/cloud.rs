//! Where machines come from.
//!
//! A launch is named by its number, and everything about it is a function of that number and the configuration: which
//! type, which zone, which name. So two leaders who both launch number n ask for the same, and a cloud that keeps
//! them apart by the number gives both the same machine.

#[cfg(feature = "digitalocean")]
pub mod digitalocean;
#[cfg(feature = "ec2")]
pub mod ec2;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(all(test, feature = "digitalocean"))]
mod fake_digitalocean;
#[cfg(all(test, feature = "ec2"))]
mod fake_ec2;
#[cfg(test)]
pub(crate) mod fence;
pub mod process;

use async_trait::async_trait;
use skein_proto::ids::NodeId;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

/// A cloud's own name of a machine, such as `i-0123456789abcdef0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineId(pub String);

impl std::fmt::Display for MachineId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a machine is, as its cloud says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MachineState {
    /// It was asked for, and does not run yet.
    Pending,
    /// It runs, which does not say that its node does.
    Running,
    /// It is about to be stopped.
    Stopping,
    /// It can be started again.
    Stopped,
    /// It is about to be gone.
    Terminating,
    /// It is gone.
    Terminated,
}

/// A machine of this mesh that the leader launched. A cloud never lists others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What the cloud calls it.
    pub id: MachineId,
    /// The number of its launch.
    pub number: u64,
    /// The name of its type.
    pub kind: String,
    /// How it is.
    pub state: MachineState,
    /// When it was launched, or started last, on the cloud's clock.
    pub launched: Option<SystemTime>,
    /// Its address in the network that the nodes share.
    pub address: Option<IpAddr>,
}

/// What is to be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Its number, by which the cloud tells a repeated call from a second machine.
    pub number: u64,
    /// The node that will run there: [`node_of`] the mesh and the number.
    pub node: NodeId,
    /// The name of its type, one of the configured.
    pub kind: String,
    /// What the machine needs to become that node, beside what its image has: lines of `KEY=value` for its environment.
    pub user_data: String,
}

/// Why a cloud did not do what it was asked. Nothing of it says that nothing was done, unless it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudError {
    /// Asked too often. Nothing was done.
    #[error("throttled: {0}")]
    Throttled(String),
    /// No machine of that type is to be had there now, or no more of them on this account. Nothing was done.
    #[error("no capacity: {0}")]
    NoCapacity(String),
    /// The number was used for a launch with other parameters: there is or was a machine of this number. Nothing was
    /// done.
    #[error("launch {0} was already made with other parameters")]
    Taken(u64),
    /// The launch was made before, and the machine that came of it is gone or about to be: the number gives no machine
    /// any more. Nothing was done.
    #[error("launch {0} was already made, and its machine is gone")]
    UsedUp(u64),
    /// The machine is not known, or not yet: answers are eventually consistent, so this never means that it is gone.
    #[error("{0} is not known")]
    Unknown(MachineId),
    /// The machine is not one of this mesh. Nothing was done.
    #[error("{0} is not a machine of this mesh")]
    NotOurs(MachineId),
    /// The call is wrong or not allowed, and will be the next time too. Nothing was done.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer, or one that means nothing. It may have been done.
    #[error("unreachable: {0}")]
    Unreachable(String),
}

/// Where machines come from. Every call ends within a deadline of its own, and retries what is worth it within that.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// All machines of this mesh, also those that are gone and still listed.
    ///
    /// # Errors
    /// When the list is not whole: half a list is none.
    async fn list(&self) -> Result<Vec<Machine>, CloudError>;

    /// Launches a machine, or answers with the one that has this number already.
    ///
    /// # Errors
    /// See [`CloudError`].
    async fn launch(&self, launch: &Launch) -> Result<Machine, CloudError>;

    /// Starts a stopped machine. Nothing to do where it runs.
    ///
    /// # Errors
    /// See [`CloudError`].
    async fn start(&self, machine: &MachineId) -> Result<(), CloudError>;

    /// Stops a machine so that it can be started again. Nothing to do where it is stopped.
    ///
    /// # Errors
    /// See [`CloudError`].
    async fn stop(&self, machine: &MachineId) -> Result<(), CloudError>;

    /// Ends a machine, after a look at whether it is one of this mesh. Nothing to do where it is gone.
    ///
    /// # Errors
    /// See [`CloudError`].
    async fn terminate(&self, machine: &MachineId) -> Result<(), CloudError>;

    /// What a type costs an hour, where the cloud can say; the configuration's price counts otherwise.
    async fn price(&self, kind: &str) -> Option<f64>;

    /// Says through which nodes a machine may join from now on, beside those that are configured. Only for clouds that
    /// tell machines so themselves: user data is the same whoever launches.
    fn set_seeds(&self, _seeds: &[SocketAddr]) {}
}

/// The name of the node that launch `number` of a mesh becomes.
///
/// # Errors
/// When the mesh's name makes none.
pub fn node_of(mesh: &str, number: u64) -> Result<NodeId, skein_proto::ids::NameError> {
    format!("{mesh}-{number}").parse()
}

/// The number of the launch that a node came from; none where its name is not of that form.
pub fn number_of(mesh: &str, node: &NodeId) -> Option<u64> {
    let digits = node.as_str().strip_prefix(mesh)?.strip_prefix('-')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
