//! What voters ask each other about the lease.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Most voters that a mesh may have.
pub const MAX_VOTERS: usize = 5;

/// How many terms one round has: one for each place that a voter may have in the list, rounded up to a power of two.
const TERMS_PER_ROUND: u64 = 8;

/// Largest round that a voter takes or accepts: a term is below 2^53, so that JSON carries it exactly.
pub const MAX_ROUND: u64 = (1 << 50) - 1;

/// One tenure of one holder of the lease. Rises with each change of holder, so that it can fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u64);

impl Term {
    /// The round of the ballot that the holder was elected with.
    #[must_use]
    pub const fn round(self) -> u64 {
        self.0 / TERMS_PER_ROUND
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one attempt of one voter to get or to renew the lease. No two attempts have the same; the higher goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ballot {
    /// Above every round that the voter knows of; at most [`MAX_ROUND`].
    pub round: u64,
    /// The voter's place in the list of voters, ordered by name.
    pub voter: u8,
    /// A random number that the voter drew when it started: one that restarted and forgot everything may come to the
    /// same round again, but never takes an answer to its earlier life for its own.
    pub life: u64,
}

impl Ballot {
    /// The term that begins where this ballot is the first that its voter wins.
    #[must_use]
    pub const fn term(self) -> Term {
        Term(self.round * TERMS_PER_ROUND + self.voter as u64)
    }

    /// Whether the same voter in the same life made both.
    #[must_use]
    pub const fn same_claimant(self, other: Self) -> bool {
        self.voter == other.voter && self.life == other.life
    }
}

/// What one voter asks of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Request {
    /// Take no lower ballot from now on, unless somebody else has the lease.
    Prepare {
        /// The attempt.
        ballot: Ballot,
        /// How long the lease is, in milliseconds; all voters must agree on it.
        lease_ms: u64,
    },
    /// Grant the lease. Only to a ballot that was promised.
    Propose {
        /// The attempt.
        ballot: Ballot,
        /// The ballot's own term; an earlier one where the asker holds the lease and renews it.
        term: Term,
    },
    /// The asker holds nothing and counts no answer any more to this ballot or to earlier ones of its life.
    Release {
        /// The latest attempt.
        ballot: Ballot,
    },
}

impl Request {
    /// The attempt that it belongs to.
    #[must_use]
    pub const fn ballot(&self) -> Ballot {
        match self {
            Self::Prepare { ballot, .. } | Self::Propose { ballot, .. } | Self::Release { ballot } => *ballot,
        }
    }
}

/// Why a voter does not do what it was asked. Promises nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Refusal {
    /// The two are not configured alike: the asker is not in the answerer's list of voters, or at another place of it,
    /// or the lease has another length; or the request has figures that no voter sends.
    Mismatch,
    /// The voter started less than one lease ago, and may have forgotten what it promised before.
    Silent,
    /// The voter has promised a higher ballot, or has not promised this one.
    Outbid {
        /// The round to be above.
        round: u64,
    },
    /// The voter granted the lease to somebody else.
    Held {
        /// For how long yet, in milliseconds, at most.
        for_ms: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch => f.write_str("other voters or another lease configured"),
            Self::Silent => f.write_str("started less than one lease ago"),
            Self::Outbid { round } => write!(f, "promised round {round}"),
            Self::Held { for_ms } => write!(f, "granted to another voter for {for_ms} ms yet"),
        }
    }
}

/// What a voter answers. Each request gets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Request::Prepare`]: yes.
    Promised {
        /// The attempt.
        ballot: Ballot,
    },
    /// To [`Request::Propose`]: yes.
    Accepted {
        /// The attempt.
        ballot: Ballot,
    },
    /// To [`Request::Release`].
    Released {
        /// The attempt.
        ballot: Ballot,
    },
    /// No, to any request.
    Refused {
        /// The attempt.
        ballot: Ballot,
        /// Why.
        why: Refusal,
    },
}
