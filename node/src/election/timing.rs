//! How long a lease is, and what voters must agree on.

use skein_proto::ids::NodeId;
use skein_proto::rpc::lease::MAX_VOTERS;
use std::time::Duration;

/// The lease's times. [`Self::lease`] must be the same on every voter (one that has another is refused); the rest may
/// differ without two ever holding the lease at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    /// For how long a voter grants the lease, and how long it says nothing after its start. Counts in whole
    /// milliseconds.
    pub lease: Duration,
    /// How much earlier than its voters the holder stops. Clocks may go wrong by `early / (2 * lease - early)`, each:
    /// a tenth of the lease covers 5.2 %.
    pub early: Duration,
    /// How long after the start of an attempt that won the holder begins the next one.
    pub renew: Duration,
    /// How long one attempt may take: two round trips to a majority. Also the deadline of one request.
    pub patience: Duration,
    /// Longest random wait before a first attempt, and between attempts; up to four times as long after failures.
    /// With 0, voters that fail ask again at once, without end.
    pub back_off: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            early: Duration::from_secs(1),
            renew: Duration::from_secs(3),
            patience: Duration::from_secs(1),
            back_off: Duration::from_secs(1),
        }
    }
}

impl Timing {
    /// For how long the holder counts on the lease, from before it asked.
    #[must_use]
    pub fn tenure(&self) -> Duration {
        self.lease.saturating_sub(self.early)
    }

    /// The lease in milliseconds.
    pub(super) fn lease_ms(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX)
    }

    fn check(&self) -> Result<(), ElectionError> {
        let whole = Duration::from_millis(self.lease_ms()) == self.lease;
        if !whole || self.lease.is_zero() || self.lease > MAX_LEASE {
            return Err(ElectionError::Lease(self.lease));
        }
        if self.renew.is_zero()
            || self.patience.is_zero()
            || self.renew.saturating_add(self.patience) > self.tenure()
        {
            return Err(ElectionError::Renewal { timing: *self, tenure: self.tenure() });
        }
        Ok(())
    }
}

/// Longest lease that may be configured.
const MAX_LEASE: Duration = Duration::from_secs(3600);

/// Why an election cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElectionError {
    /// Not 1, 3 or 5.
    #[error("{0} voters are configured; 1, 3 or 5 are allowed")]
    Voters(usize),
    /// Named twice.
    #[error("the voter {0} is configured twice")]
    Twice(NodeId),
    /// The node has no vote.
    #[error("the node {0} is not among the voters")]
    NotAVoter(NodeId),
    /// A lease that is no whole number of milliseconds, none, or far too long.
    #[error("the lease is {0:?}; whole milliseconds from 1 ms to {MAX_LEASE:?} are allowed")]
    Lease(Duration),
    /// No renewal would be through before the lease ends.
    #[error(
        "a renewal after {:?} that may take {:?} does not fit into {tenure:?} (the lease without the early stop)",
        timing.renew, timing.patience
    )]
    Renewal {
        /// What was configured.
        timing: Timing,
        /// How long the holder may count on one lease.
        tenure: Duration,
    },
}

/// Checks what is configured; returns the voters in order of their names, and the place of `own` among them.
pub(super) fn set_up(
    own: &NodeId,
    mut voters: Vec<NodeId>,
    timing: &Timing,
) -> Result<(Vec<NodeId>, u8), ElectionError> {
    timing.check()?;
    voters.sort();
    if let Some(pair) = voters.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(ElectionError::Twice(pair[0].clone()));
    }
    if voters.len() > MAX_VOTERS || voters.len().is_multiple_of(2) {
        return Err(ElectionError::Voters(voters.len()));
    }
    let place = voters.iter().position(|voter| voter == own).and_then(|place| u8::try_from(place).ok());
    let place = place.ok_or_else(|| ElectionError::NotAVoter(own.clone()))?;
    Ok((voters, place))
}

/// What exclusivity rests on, so that tests can take each part away and see the checker find out. A node always has
/// [`Self::SOUND`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rules {
    /// A voter that started says nothing for one lease.
    pub silent_at_start: bool,
    /// The holder counts from before it asked, not from when it was granted the lease.
    pub count_from_before: bool,
    /// No ballot of an earlier life is one of this life.
    pub lives_differ: bool,
    /// A voter that granted the lease hears nobody else until it ends.
    pub one_claimant: bool,
    /// A holder whose renewal fails leaves the votes that it has.
    pub keep_votes: bool,
}

impl Rules {
    /// All of them.
    pub const SOUND: Self = Self {
        silent_at_start: true,
        count_from_before: true,
        lives_differ: true,
        one_claimant: true,
        keep_votes: true,
    };
}
