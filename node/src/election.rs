//! Who leads: a lease among a fixed set of voters, in the manner of PaxosLease (Trencseni, Gazso and Reinhardt 2012),
//! with nothing on disk. Pure: no clock, no I/O; time and randomness are arguments, so a model checker runs the very
//! code that a node runs.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`skein_proto::rpc::lease`] | what voters ask each other |
//! | [`timing`] | how long the lease is, and what voters must agree on |
//! | `acceptor` | a voter's memory: what it promised, to whom it granted the lease |
//!
//! **How.** A voter that wants the lease takes a ballot above all that it knows, asks all voters to promise to take no
//! lower one (prepare), and when a majority did, asks all to grant it the lease (propose). When a majority did that, it
//! is the holder for the lease less the early stop, counted from before it asked for the promises. Its voters count the
//! whole lease from when they granted it. A renewal is the same again, under a new ballot.
//!
//! **Never two at once.** Be P the holder by ballot b, asked first at s, and P' another by b' > b, asked first at s'. A
//! voter of the majority that granted b is also of the majority that promised b'. If it granted b first, then it still
//! knew of P when it was asked for b' (its grant lasts until after P stopped; had it restarted, it would have been
//! silent until after P stopped), and a voter that has granted the lease promises nothing to others. If it promised b'
//! first, then it granted b only because it had forgotten that, so it had been silent for one lease since, and P', who
//! counts from before that promise, had stopped.
//!
//! Two things differ from the paper to make this hold however late messages come: the holder counts from before it asked
//! for the promises, in renewals too, so that a promise has to be remembered for one lease only; and a voter promises
//! nothing to others while its grant lasts, where the paper leaves that to the asker. A third, that a voter grants the
//! lease only to the very ballot that it promised last, and once, keeps late copies from tying voters to attempts that
//! are over.
//!
//! **It rests on** clocks that go evenly within a bound (see [`Timing::early`]), on every process of one voter being
//! gone before the next one starts, and on the same voters and the same lease being configured on all. It does not rest
//! on wall clocks, on delays, on the order of messages, nor on their being said only once. A machine that stands still
//! with its clock (a suspended virtual machine) is outside that bound, and whatever a holder began to do may have its
//! effect after it stopped: what must not happen twice needs a fence of its own. To change the
//! voters, stop all of them before the first one starts again.
//!
//! **Terms** rise with every change of holder as long as, of each majority, one voter remembers. Where all forgot, they
//! rise if wall clocks at the starts of voters differ by less than one lease: a voter's first round is the wall clock's
//! milliseconds at its start and one lease more, and later rounds go up by one at a time, more slowly than clocks. What
//! a silent voter is asked meanwhile, and what gossip says ([`Input::Heard`]), raises its rounds as well.
//!
//! **One voter** is its own majority, and is silent for one lease like any other: what its earlier process began may
//! still be under way.

mod acceptor;
#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
pub mod timing;

use acceptor::Acceptor;
use skein_proto::ids::NodeId;
use skein_proto::rpc::lease::{Answer, Ballot, MAX_ROUND, Refusal, Request, Term};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use timing::Rules;
pub use timing::{ElectionError, Timing};

/// Something that happened to a voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time went by; due at [`Election::wake_at`], harmless at any other time.
    Tick,
    /// Another node asks.
    Request {
        /// Who, as its certificate says.
        from: NodeId,
        /// What.
        request: Request,
    },
    /// Another node answered a request.
    Answer {
        /// Who, as its certificate says.
        from: NodeId,
        /// What.
        answer: Answer,
    },
    /// The node drains or leaves: it gives the lease up, so that the next one can take over at once, and does not want
    /// it again. It goes on to vote.
    Resign,
    /// The node wants the lease again.
    Stand,
    /// Gossip says that there was this term: later ones are above it. Only from nodes that are trusted; a term far too
    /// high cannot be taken back.
    Heard(Term),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask another voter; its answer comes back as [`Input::Answer`], or never.
    Ask {
        /// Whom.
        to: NodeId,
        /// What.
        request: Request,
    },
    /// The answer to [`Input::Request`]; there is exactly one for each.
    Answer(Answer),
    /// This voter holds the lease from now on.
    Elected {
        /// Above the term of every holder before.
        term: Term,
        /// For how long at least, on the clock that [`Election::step`] is given.
        until: Duration,
    },
    /// This voter holds the lease for longer.
    Renewed {
        /// As when it was elected.
        term: Term,
        /// For how long now.
        until: Duration,
    },
    /// This voter no longer holds the lease.
    Lost {
        /// As when it was elected.
        term: Term,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Attempt {
    ballot: Ballot,
    started: Duration,
    term: Term,
    /// Whether a majority promised.
    proposed: bool,
    /// Who promised, or once it is proposed who granted; one bit for each voter.
    yes: u8,
    /// Who refused.
    no: u8,
    /// When the last of those who granted the lease to somebody else is free.
    held_until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Tenure {
    term: Term,
    until: Duration,
    renew_at: Duration,
}

#[derive(Debug)]
struct Setup {
    /// Ordered by name.
    voters: Vec<NodeId>,
    own: u8,
    timing: Timing,
    rules: Rules,
}

/// One voter: it asks for the lease, and it grants it.
///
/// Times are durations since any moment at or before the process' start, by a clock that never goes back and that
/// nobody sets (on Linux CLOCK_MONOTONIC, which `Instant` reads; not the wall clock).
#[derive(Debug, Clone)]
pub struct Election {
    setup: Arc<Setup>,
    acceptor: Acceptor,
    now: Duration,
    random: u64,
    life: u64,
    /// Highest round known.
    round: u64,
    /// The highest ballot of this life.
    latest: Option<Ballot>,
    stands: bool,
    next_try: Duration,
    failures: u32,
    attempt: Option<Attempt>,
    tenure: Option<Tenure>,
}

impl PartialEq for Election {
    fn eq(&self, other: &Self) -> bool {
        self.memory() == other.memory()
    }
}

impl Hash for Election {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.memory().hash(state);
    }
}

impl Election {
    /// A voter named `own` that starts at `now`. `wall_ms` is the wall clock in milliseconds (only the order of terms
    /// profits from it, see the module), `seed` must be drawn anew from the operating system's randomness at each start:
    /// two lives of one voter with the same seed might take each other's answers for their own.
    ///
    /// # Errors
    /// When the voters are not 1, 3 or 5 different names, `own` is none of them, or the times do not fit together.
    pub fn new(
        own: &NodeId,
        voters: Vec<NodeId>,
        timing: Timing,
        now: Duration,
        wall_ms: u64,
        seed: u64,
    ) -> Result<Self, ElectionError> {
        Self::with_rules(own, voters, timing, now, wall_ms, seed, Rules::SOUND)
    }

    fn with_rules(
        own: &NodeId,
        voters: Vec<NodeId>,
        timing: Timing,
        now: Duration,
        wall_ms: u64,
        seed: u64,
        rules: Rules,
    ) -> Result<Self, ElectionError> {
        let (voters, own) = timing::set_up(own, voters, &timing)?;
        // Half of all rounds are left to go up from the wall clock, however wrong that is.
        let round = wall_ms.min(MAX_ROUND / 2) + timing.lease_ms();
        let silent_until = if rules.silent_at_start { now + timing.lease } else { now };
        let mut election = Self {
            setup: Arc::new(Setup { voters, own, timing, rules }),
            acceptor: Acceptor::new(silent_until, round),
            now,
            random: seed,
            life: 0,
            round,
            latest: None,
            stands: true,
            next_try: silent_until,
            failures: 0,
            attempt: None,
            tenure: None,
        };
        if rules.lives_differ {
            election.life = election.draw();
        }
        election.next_try = silent_until + election.wait();
        Ok(election)
    }

    /// What can change, without what is configured.
    fn memory(&self) -> impl PartialEq + Hash {
        let asks = (self.latest, self.stands, self.next_try, self.failures, self.attempt, self.tenure);
        (self.acceptor, self.now, self.random, self.life, self.round, asks)
    }

    /// Takes in what happened and says what is to be done, in that order.
    ///
    /// `now` must be read after the input has come, not before: a grant counts from it. One that is earlier than that of
    /// a step before counts as that.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Output> {
        self.now = self.now.max(now);
        let mut out = Vec::new();
        if self.tenure.is_some_and(|tenure| tenure.until <= self.now) {
            self.give_up(&mut out);
        }
        match input {
            Input::Tick => self.tick(&mut out),
            Input::Request { from, request } => self.asked(&from, &request, &mut out),
            Input::Answer { from, answer } => {
                if let Some(place) = self.place(&from).filter(|place| *place != self.setup.own) {
                    self.answered(place, answer, &mut out);
                }
            }
            Input::Resign => {
                self.stands = false;
                self.give_up(&mut out);
            }
            Input::Stand => {
                if !self.stands {
                    self.stands = true;
                    self.next_try = self.next_try.max(self.now + self.wait());
                }
            }
            Input::Heard(term) => {
                let round = term.round().min(MAX_ROUND);
                self.round = self.round.max(round);
                self.acceptor.raise(round);
            }
        }
        out
    }

    /// When the next [`Input::Tick`] is due; never, where there is nothing to wait for. Changes with each step.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        let overdue = self.attempt.map(|attempt| attempt.started + self.setup.timing.patience);
        match self.tenure {
            Some(tenure) => Some(tenure.until.min(overdue.unwrap_or(tenure.renew_at))),
            None => overdue.or(self.stands.then_some(self.next_try)),
        }
    }

    /// Whether this voter holds the lease at `now`: to be asked with a fresh `now` before anything is done as leader.
    #[must_use]
    pub fn is_holder(&self, now: Duration) -> bool {
        self.tenure.is_some_and(|tenure| now.max(self.now) < tenure.until)
    }

    /// Who holds the lease, as far as this voter knows: itself, or whoever it last granted a renewal that has not run
    /// out. Others learn of a new holder from its first renewal, or from gossip before that.
    #[must_use]
    pub fn holder(&self, now: Duration) -> Option<(Term, NodeId)> {
        let now = now.max(self.now);
        let own = self.setup.own;
        let (term, place) = match self.tenure.filter(|tenure| now < tenure.until) {
            Some(tenure) => (tenure.term, own),
            None => {
                let others = |vote: &&acceptor::Vote| vote.renewed() && vote.ballot.voter != own;
                let vote = self.acceptor.vote(now).filter(others)?;
                (vote.term, vote.ballot.voter)
            }
        };
        self.setup.voters.get(usize::from(place)).map(|name| (term, name.clone()))
    }

    /// The voters, ordered by name.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.setup.voters
    }

    fn place(&self, name: &NodeId) -> Option<u8> {
        self.setup.voters.binary_search(name).ok().and_then(|place| u8::try_from(place).ok())
    }

    fn majority(&self) -> usize {
        self.setup.voters.len() / 2 + 1
    }

    /// The next random number (splitmix64).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random time to wait, longer after failures, so that voters who want the same do not go on meeting.
    fn wait(&mut self) -> Duration {
        let longest = self.setup.timing.back_off * (1 << self.failures.min(2));
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        if longest == 0 || self.setup.voters.len() == 1 {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.draw() % longest)
    }

    fn ask_all(&self, request: Request, out: &mut Vec<Output>) {
        let own = usize::from(self.setup.own);
        let others = self.setup.voters.iter().enumerate().filter(|(place, _)| *place != own);
        out.extend(others.map(|(_, to)| Output::Ask { to: to.clone(), request }));
    }

    /// The answer of this voter to itself.
    fn ask_own(&mut self, request: Request) -> Answer {
        self.acceptor.answer(self.now, &request, &self.setup.timing, self.setup.rules)
    }

    fn tick(&mut self, out: &mut Vec<Output>) {
        if self.attempt.is_some_and(|attempt| attempt.started + self.setup.timing.patience <= self.now) {
            self.abandon(out);
        }
        if self.attempt.is_some() {
            return;
        }
        match self.tenure {
            Some(tenure) if tenure.renew_at <= self.now => self.attempt(tenure.term.into(), out),
            None if self.stands && self.next_try <= self.now => match self.acceptor.vote(self.now) {
                Some(vote) => self.next_try = vote.until + self.wait(),
                None => self.attempt(None, out),
            },
            _ => {}
        }
    }

    /// Begins to get the lease, or to renew the one of this term.
    fn attempt(&mut self, term: Option<Term>, out: &mut Vec<Output>) {
        if self.round >= MAX_ROUND {
            // Never in practice; voters that came here by a fault have to be restarted together.
            let later = self.now + self.setup.timing.lease;
            self.next_try = later;
            if let Some(tenure) = &mut self.tenure {
                tenure.renew_at = later;
            }
            return;
        }
        self.round += 1;
        let ballot = Ballot { round: self.round, voter: self.setup.own, life: self.life };
        self.latest = Some(ballot);
        self.attempt = Some(Attempt {
            ballot,
            started: self.now,
            term: term.unwrap_or(ballot.term()),
            proposed: false,
            yes: 0,
            no: 0,
            held_until: self.now,
        });
        let prepare = Request::Prepare { ballot, lease_ms: self.setup.timing.lease_ms() };
        self.ask_all(prepare, out);
        let answer = self.ask_own(prepare);
        self.answered(self.setup.own, answer, out);
    }

    fn asked(&mut self, from: &NodeId, request: &Request, out: &mut Vec<Output>) {
        let ballot = request.ballot();
        if !self.place(from).is_some_and(|place| self.sane(place, request)) {
            out.push(Output::Answer(Answer::Refused { ballot, why: Refusal::Mismatch }));
            return;
        }
        self.round = self.round.max(ballot.round);
        let had_vote = self.acceptor.vote(self.now).is_some();
        let answer = self.ask_own(*request);
        out.push(Output::Answer(answer));
        let timing = self.setup.timing;
        match answer {
            // Somebody else is about to get the lease, or has it: no use in wanting it as well.
            Answer::Promised { .. } => {
                self.next_try = self.next_try.max(self.now + timing.patience + self.wait());
            }
            Answer::Accepted { .. } => {
                self.failures = 0;
                self.next_try = self.next_try.max(self.now + timing.lease + self.wait());
            }
            Answer::Released { .. } if had_vote && self.acceptor.vote(self.now).is_none() => {
                self.failures = 0;
                self.next_try = self.now + self.wait();
            }
            Answer::Released { .. } | Answer::Refused { .. } => {}
        }
    }

    /// Whether the request is one that the voter at this place may send.
    fn sane(&self, place: u8, request: &Request) -> bool {
        let ballot = request.ballot();
        let figures = match request {
            Request::Prepare { lease_ms, .. } => *lease_ms == self.setup.timing.lease_ms(),
            Request::Propose { term, .. } => {
                *term <= ballot.term() && *term == Ballot { round: term.round(), ..ballot }.term()
            }
            Request::Release { .. } => true,
        };
        figures && place != self.setup.own && ballot.voter == place && ballot.round <= MAX_ROUND
    }

    fn answered(&mut self, place: u8, answer: Answer, out: &mut Vec<Output>) {
        let bit = 1 << place;
        match answer {
            Answer::Promised { ballot } => {
                let Some(attempt) = self.attempt.as_mut().filter(|a| a.ballot == ballot && !a.proposed)
                else {
                    return;
                };
                attempt.yes |= bit;
                if attempt.yes.count_ones() as usize >= self.majority() {
                    self.propose(out);
                }
            }
            Answer::Accepted { ballot } => {
                let Some(attempt) = self.attempt.as_mut().filter(|a| a.ballot == ballot && a.proposed) else {
                    return;
                };
                attempt.yes |= bit;
                let attempt = *attempt;
                if attempt.yes.count_ones() as usize >= self.majority() {
                    self.won(attempt, out);
                }
            }
            Answer::Refused { ballot, why } => self.refused(bit, ballot, why, out),
            Answer::Released { .. } => {}
        }
    }

    fn propose(&mut self, out: &mut Vec<Output>) {
        let Some(attempt) = self.attempt.as_mut() else { return };
        attempt.proposed = true;
        attempt.yes = 0;
        attempt.no = 0;
        let propose = Request::Propose { ballot: attempt.ballot, term: attempt.term };
        self.ask_all(propose, out);
        let answer = self.ask_own(propose);
        self.answered(self.setup.own, answer, out);
    }

    fn won(&mut self, attempt: Attempt, out: &mut Vec<Output>) {
        let timing = self.setup.timing;
        let from = if self.setup.rules.count_from_before { attempt.started } else { self.now };
        let until = from + timing.tenure();
        if until <= self.now {
            self.abandon(out);
            return;
        }
        let term = attempt.term;
        let renewed = self.tenure.is_some();
        self.attempt = None;
        self.failures = 0;
        self.tenure = Some(Tenure { term, until, renew_at: attempt.started + timing.renew });
        out.push(if renewed { Output::Renewed { term, until } } else { Output::Elected { term, until } });
    }

    fn refused(&mut self, bit: u8, ballot: Ballot, why: Refusal, out: &mut Vec<Output>) {
        if let Refusal::Outbid { round } = why {
            self.round = self.round.max(round.min(MAX_ROUND));
        }
        let (now, voters, majority) = (self.now, self.setup.voters.len(), self.majority());
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.ballot == ballot) else { return };
        if let Refusal::Held { for_ms } = why {
            let free = now + Duration::from_millis(for_ms).min(self.setup.timing.lease);
            attempt.held_until = attempt.held_until.max(free);
        }
        // Who said yes to the same meant this for a copy of the request.
        attempt.no |= bit & !attempt.yes;
        if attempt.no.count_ones() as usize > voters - majority {
            self.abandon(out);
        }
    }

    /// Ends an attempt that failed, and says when the next one begins.
    fn abandon(&mut self, out: &mut Vec<Output>) {
        let Some(attempt) = self.attempt.take() else { return };
        // What voters granted of a renewal took the place of what they granted before, which the holder counts on.
        if attempt.proposed && (self.tenure.is_none() || !self.setup.rules.keep_votes) {
            self.release(out);
        }
        if self.tenure.is_some() {
            let again = self.now + self.wait();
            if let Some(tenure) = &mut self.tenure {
                tenure.renew_at = again;
            }
        } else {
            self.failures = self.failures.saturating_add(1);
            let free = attempt.held_until.max(self.now) + self.wait();
            self.next_try = self.next_try.max(free);
        }
    }

    /// Holds nothing and asks for nothing any more, and tells those who may have granted something.
    fn give_up(&mut self, out: &mut Vec<Output>) {
        let attempt = self.attempt.take();
        let tenure = self.tenure.take();
        if let Some(tenure) = tenure {
            out.push(Output::Lost { term: tenure.term });
        }
        if tenure.is_some() || attempt.is_some_and(|attempt| attempt.proposed) {
            self.release(out);
        }
        self.next_try = self.next_try.max(self.now + self.wait());
    }

    fn release(&mut self, out: &mut Vec<Output>) {
        if let Some(ballot) = self.latest {
            let release = Request::Release { ballot };
            self.ask_all(release, out);
            self.ask_own(release);
        }
    }
}
