//! The voter as one who is asked: what it promised, and to whom it granted the lease.

use super::timing::{Rules, Timing};
use skein_proto::rpc::lease::{Answer, Ballot, MAX_ROUND, Refusal, Request, Term};
use std::time::Duration;

/// A lease as it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Vote {
    /// To which attempt.
    pub ballot: Ballot,
    /// The term that its voter has, or will have if it wins.
    pub term: Term,
    /// When the voter is free again, on its own clock.
    pub until: Duration,
}

impl Vote {
    /// Whether its voter said that it held the lease when it asked for this vote.
    pub fn renewed(&self) -> bool {
        self.term != self.ballot.term()
    }
}

/// One voter's memory. Nothing of it survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Acceptor {
    silent_until: Duration,
    /// No ballot below this one gets anything.
    promised: Ballot,
    /// Whether `promised` itself may still be granted the lease. Each ballot is granted it once.
    open: bool,
    vote: Option<Vote>,
}

impl Acceptor {
    /// A voter that says nothing before `silent_until`, and never takes a ballot of a round up to `floor`.
    pub fn new(silent_until: Duration, floor: u64) -> Self {
        Self { silent_until, promised: above(floor), open: false, vote: None }
    }

    /// The vote that binds at `now`.
    pub fn vote(&self, now: Duration) -> Option<&Vote> {
        self.vote.as_ref().filter(|vote| now < vote.until)
    }

    /// Takes no ballot any more of a round up to `round`.
    pub fn raise(&mut self, round: u64) {
        if self.promised < above(round) {
            self.close(above(round));
        }
    }

    /// Forgets what no longer makes a difference at `now`.
    #[cfg(test)]
    pub fn tidy(&mut self, now: Duration) {
        self.vote = self.vote.filter(|vote| now < vote.until);
        if self.silent_until <= now {
            self.silent_until = Duration::ZERO;
        }
    }

    /// Answers a request whose form was checked.
    pub fn answer(&mut self, now: Duration, request: &Request, timing: &Timing, rules: Rules) -> Answer {
        let ballot = request.ballot();
        match *request {
            Request::Release { .. } => {
                self.release(ballot);
                return Answer::Released { ballot };
            }
            // What is refused now may have been promised before the restart, so nothing lower will do afterwards.
            Request::Prepare { .. } | Request::Propose { .. } if now < self.silent_until => {
                if self.promised < ballot {
                    self.close(ballot);
                }
                return Answer::Refused { ballot, why: Refusal::Silent };
            }
            _ => {}
        }
        if rules.one_claimant
            && let Some(vote) = self.vote(now).filter(|vote| !vote.ballot.same_claimant(ballot))
        {
            let left = (vote.until - now).min(timing.lease).as_millis();
            let for_ms = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1);
            return Answer::Refused { ballot, why: Refusal::Held { for_ms } };
        }
        let granted = match *request {
            Request::Prepare { .. } if ballot > self.promised => {
                self.promised = ballot;
                self.open = true;
                Some(Answer::Promised { ballot })
            }
            // The network may say a thing twice.
            Request::Prepare { .. } => {
                (self.open && ballot == self.promised).then_some(Answer::Promised { ballot })
            }
            Request::Propose { term, .. } => self.grant(now, ballot, term, timing),
            Request::Release { .. } => None,
        };
        let why = Refusal::Outbid { round: self.promised.round };
        granted.unwrap_or(Answer::Refused { ballot, why })
    }

    fn grant(&mut self, now: Duration, ballot: Ballot, term: Term, timing: &Timing) -> Option<Answer> {
        // Said twice: the vote holds from the first time, which is after the asker began to count.
        if self.vote(now).is_some_and(|vote| vote.ballot == ballot) {
            return Some(Answer::Accepted { ballot });
        }
        (self.open && ballot == self.promised).then(|| {
            self.close(ballot);
            self.vote = Some(Vote { ballot, term, until: now + timing.lease });
            Answer::Accepted { ballot }
        })
    }

    /// Forgets the votes for this and earlier ballots of one claimant, and grants those nothing any more, however
    /// late their proposals come.
    fn release(&mut self, ballot: Ballot) {
        if self.promised <= ballot {
            self.close(ballot);
        }
        self.vote = self.vote.filter(|vote| !(vote.ballot.same_claimant(ballot) && vote.ballot <= ballot));
    }

    fn close(&mut self, ballot: Ballot) {
        self.promised = ballot;
        self.open = false;
    }
}

/// Above every ballot of this round.
fn above(round: u64) -> Ballot {
    Ballot { round: round.min(MAX_ROUND), voter: u8::MAX, life: u64::MAX }
}
