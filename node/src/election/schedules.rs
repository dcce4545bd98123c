//! Long runs of voters with real times: clocks that go wrong by up to 5 %, messages that are lost, late, doubled and
//! reordered, links that break, voters that restart and forget, are late, resign and stand again.

use super::timing::Rules;
use super::{Election, Input, Output, Timing};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skein_proto::ids::NodeId;
use skein_proto::rpc::lease::{Answer, Request, Term};
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND: u64 = 1_000_000;

/// What may go wrong.
#[derive(Debug, Clone, Copy)]
struct Faults {
    /// Share of the messages that are lost, in percent.
    lost: u32,
    /// That are heard twice.
    doubled: u32,
    /// That take up to half a minute.
    late: u32,
    /// Longest way of the others, in microseconds.
    way: u64,
    /// Seconds between two events of a worse kind: restarts, broken links, resignations; never, where 0.
    every: u64,
    /// Latest that a voter notices that it is time, in microseconds.
    lag: u64,
}

const NONE: Faults = Faults { lost: 0, doubled: 0, late: 0, way: 20_000, every: 0, lag: 1_000 };

#[derive(Debug, Clone, Copy)]
enum Body {
    Request(Request),
    Answer(Answer),
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A voter's timer; void if the voter restarted since.
    Tick {
        voter: usize,
        life: u32,
    },
    Hear {
        from: usize,
        to: usize,
        body: Body,
    },
    Fault,
}

struct Voter {
    election: Election,
    /// When its process started.
    born: u64,
    /// How its clock goes, in millionths of the true one.
    rate: u64,
    /// How wrong its wall clock is, in milliseconds.
    skew: u64,
    life: u32,
    /// Whether it runs and hears others.
    linked: bool,
}

impl Voter {
    fn now(&self, time: u64) -> Duration {
        Duration::from_nanos((time - self.born) * self.rate / 1_000)
    }

    /// The true time at which its clock shows `at`, or a little later.
    fn time(&self, at: Duration) -> u64 {
        let nanos = u64::try_from(at.as_nanos()).expect("a short run");
        self.born + nanos * 1_000 / self.rate + 1
    }
}

struct Run {
    timing: Timing,
    rules: Rules,
    faults: Faults,
    voters: Vec<Voter>,
    names: Vec<NodeId>,
    time: u64,
    events: BTreeMap<(u64, u64), Event>,
    made: u64,
    random: StdRng,
    /// Every holder's term and the time of its election.
    elected: Vec<(Term, usize, u64)>,
    /// Attempts begun.
    attempts: usize,
}

impl Run {
    fn new(voters: usize, seed: u64, faults: Faults) -> Self {
        Self::with_rules(voters, seed, faults, Timing::default(), Rules::SOUND)
    }

    fn with_rules(voters: usize, seed: u64, faults: Faults, timing: Timing, rules: Rules) -> Self {
        let names: Vec<NodeId> = (0..voters).map(|n| format!("v{n}").parse().expect("a name")).collect();
        let mut random = StdRng::seed_from_u64(seed);
        let voters = (0..voters)
            .map(|n| {
                let skew = random.random_range(0..4_000);
                let election = Election::with_rules(
                    &names[n],
                    names.clone(),
                    timing,
                    Duration::ZERO,
                    skew,
                    random.random(),
                    rules,
                )
                .expect("a sound configuration");
                let rate = match random.random_range(0..4) {
                    0 => 950_000,
                    1 => 1_050_000,
                    _ => random.random_range(950_000..=1_050_000),
                };
                Voter { election, born: 0, rate, skew, life: 0, linked: true }
            })
            .collect();
        let mut run = Self {
            timing,
            rules,
            faults,
            voters,
            names,
            time: 0,
            events: BTreeMap::new(),
            made: 0,
            random,
            elected: Vec::new(),
            attempts: 0,
        };
        for voter in 0..run.voters.len() {
            run.wake(voter);
        }
        if faults.every > 0 {
            run.at(SECOND, Event::Fault);
        }
        run
    }

    fn at(&mut self, time: u64, event: Event) {
        self.made += 1;
        self.events.insert((time.max(self.time), self.made), event);
    }

    fn wake(&mut self, voter: usize) {
        let Voter { election, life, .. } = &self.voters[voter];
        let life = *life;
        if let Some(at) = election.wake_at() {
            let lag = self.random.random_range(0..=self.faults.lag);
            let time = self.voters[voter].time(at) + lag;
            self.at(time, Event::Tick { voter, life });
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn send(&mut self, from: usize, to: usize, body: Body) {
        if self.chance(self.faults.lost) {
            return;
        }
        let copies = if self.chance(self.faults.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.chance(self.faults.late);
            let way = self.random.random_range(50..if late { 30 * SECOND } else { self.faults.way });
            self.at(self.time + way, Event::Hear { from, to, body });
        }
    }

    fn step(&mut self, voter: usize, input: Input, asker: usize) -> Result<(), TestCaseError> {
        let now = self.voters[voter].now(self.time);
        let before =
            self.voters[voter].election.holder(now).filter(|_| self.voters[voter].election.is_holder(now));
        for output in self.voters[voter].election.step(now, input) {
            match output {
                Output::Ask { to, request } => {
                    let to = self.names.iter().position(|name| *name == to).expect("a voter");
                    self.send(voter, to, Body::Request(request));
                    let first = usize::from(voter == 0);
                    self.attempts += usize::from(matches!(request, Request::Prepare { .. }) && to == first);
                }
                Output::Answer(answer) => self.send(voter, asker, Body::Answer(answer)),
                Output::Elected { term, until } => {
                    prop_assert!(now < until);
                    let last = self.elected.last().map(|(term, ..)| *term);
                    prop_assert!(last < Some(term), "term {term} after {last:?}");
                    self.elected.push((term, voter, self.time));
                }
                Output::Renewed { term, until } => {
                    prop_assert!(now < until);
                    prop_assert_eq!(before.as_ref().map(|(term, _)| *term), Some(term));
                }
                Output::Lost { .. } => {}
            }
        }
        let holders = self.holders();
        prop_assert!(holders.len() <= 1, "at {} µs {holders:?} hold the lease at once", self.time);
        self.wake(voter);
        Ok(())
    }

    fn holders(&self) -> Vec<usize> {
        let holds = |voter: &Voter| voter.election.is_holder(voter.now(self.time));
        (0..self.voters.len()).filter(|n| holds(&self.voters[*n])).collect()
    }

    fn restart(&mut self, n: usize) {
        let wall = self.time / 1_000 + self.voters[n].skew;
        let seed = self.random.random();
        let voter = &mut self.voters[n];
        voter.born = self.time;
        voter.life += 1;
        voter.election = Election::with_rules(
            &self.names[n],
            self.names.clone(),
            self.timing,
            Duration::ZERO,
            wall,
            seed,
            self.rules,
        )
        .expect("a sound configuration");
        self.wake(n);
    }

    fn fault(&mut self) -> Result<(), TestCaseError> {
        let n = self.random.random_range(0..self.voters.len());
        match self.random.random_range(0..6) {
            0 | 1 => self.restart(n),
            2 | 3 => self.voters[n].linked ^= true,
            4 => self.step(n, Input::Resign, n)?,
            _ => self.step(n, Input::Stand, n)?,
        }
        let next = self.random.random_range(0..self.faults.every * 2 * SECOND);
        self.at(self.time + next, Event::Fault);
        Ok(())
    }

    /// Goes on until `until`, or until `enough`.
    fn go(&mut self, until: u64, enough: impl Fn(&Self) -> bool) -> Result<(), TestCaseError> {
        while let Some(next) = self.events.first_entry().filter(|next| next.key().0 <= until) {
            let (time, _) = *next.key();
            let event = next.remove();
            self.time = time;
            match event {
                Event::Tick { voter, life } => {
                    let now = self.voters[voter].now(time);
                    let Voter { election, life: current, .. } = &self.voters[voter];
                    if *current == life && election.wake_at().is_some_and(|at| at <= now) {
                        self.step(voter, Input::Tick, voter)?;
                    }
                }
                Event::Hear { from, to, body } if self.voters[from].linked && self.voters[to].linked => {
                    let from_name = self.names[from].clone();
                    let input = match body {
                        Body::Request(request) => Input::Request { from: from_name, request },
                        Body::Answer(answer) => Input::Answer { from: from_name, answer },
                    };
                    self.step(to, input, from)?;
                }
                Event::Hear { .. } => {}
                Event::Fault if self.faults.every > 0 => self.fault()?,
                Event::Fault => {}
            }
            if enough(self) {
                return Ok(());
            }
        }
        self.time = until;
        Ok(())
    }
}

fn faults() -> impl Strategy<Value = Faults> {
    (0..40u32, 0..20u32, 0..10u32, 1_000..400_000u64, 1..20u64, 0..4 * SECOND)
        .prop_map(|(lost, doubled, late, way, every, lag)| Faults { lost, doubled, late, way, every, lag })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn never_two_holders_and_a_connected_majority_gets_one(
        voters in prop_oneof![Just(1usize), Just(3), Just(5)],
        seed: u64,
        faults in faults(),
    ) {
        let mut run = Run::new(voters, seed, faults);
        run.go(300 * SECOND, |_| false)?;

        // A bare majority is left, some of it just restarted, with what was said before still on its way.
        run.faults = NONE;
        for n in 0..voters {
            run.voters[n].linked = n <= voters / 2;
            if n <= voters / 2 {
                run.step(n, Input::Stand, n)?;
            }
        }
        run.restart(0);
        let before = run.elected.len();
        let end = run.time + 40 * SECOND;
        run.go(end, |_| false)?;
        let holders = run.holders();
        prop_assert!(holders.len() == 1 && holders[0] <= voters / 2, "{holders:?} after 40 s of peace");
        // Who holds it keeps it.
        let elected = run.elected.len();
        prop_assert!(elected - before <= 2, "{} elections", elected - before);
        run.go(end + 60 * SECOND, |_| false)?;
        prop_assert_eq!(run.elected.len(), elected);
    }
}

#[test]
fn voters_that_start_at_once_settle() {
    for voters in [3, 5] {
        let (mut slowest, mut most) = (0, 0);
        for seed in 0..300 {
            let mut run = Run::new(voters, seed, NONE);
            for voter in &mut run.voters {
                voter.rate = 1_000_000;
                let (own, names) = (voter.election.setup.own, run.names.clone());
                voter.election = Election::new(
                    &names[usize::from(own)],
                    names.clone(),
                    run.timing,
                    Duration::ZERO,
                    0,
                    seed * 8 + u64::from(own),
                )
                .expect("a sound configuration");
            }
            run.events.clear();
            (0..voters).for_each(|voter| run.wake(voter));
            run.go(60 * SECOND, |run| !run.elected.is_empty()).expect("a sound run");
            let (.., time) = *run.elected.first().expect("an election within a minute");
            slowest = slowest.max(time - 10 * SECOND);
            most = most.max(run.attempts);
        }
        println!(
            "{voters} voters: elected within {slowest} µs of the silence, after {most} attempts at most"
        );
        assert!(slowest < 3 * SECOND && most <= 2 * voters, "{slowest} µs, {most} attempts");
    }
}

#[test]
fn the_next_takes_over_at_once_when_the_holder_resigns_and_after_a_lease_when_it_dies() {
    for seed in 0..100 {
        let mut run = Run::new(3, seed, NONE);
        run.go(60 * SECOND, |run| !run.elected.is_empty()).expect("a sound run");
        run.go(run.time + 20 * SECOND, |_| false).expect("a sound run");
        let [first] = run.holders()[..] else { panic!("one holder") };
        run.step(first, Input::Resign, first).expect("a sound run");
        let resigned = run.time;
        run.go(resigned + 60 * SECOND, |run| run.elected.len() > 1).expect("a sound run");
        assert!(run.time - resigned < 3 * SECOND, "{} µs", run.time - resigned);

        let [second] = run.holders()[..] else { panic!("one holder") };
        assert_ne!(first, second);
        run.step(first, Input::Stand, first).expect("a sound run");
        run.go(run.time + 20 * SECOND, |_| false).expect("a sound run");
        run.voters[second].linked = false;
        let cut = run.time;
        run.go(cut + 60 * SECOND, |run| run.elected.len() > 2).expect("a sound run");
        assert!(run.time - cut < 15 * SECOND, "{} µs", run.time - cut);
    }
}

/// The faults above find what is wrong, where something is.
#[test]
fn without_its_rules_there_are_two_holders() {
    // Who takes over early is sooner where it should not be.
    let sound = Timing { back_off: Duration::from_millis(200), ..Timing::default() };
    let broken = [
        ("silence", sound, Rules { silent_at_start: false, ..Rules::SOUND }),
        // Attempts are over too soon otherwise for it to matter.
        (
            "counting from before",
            Timing { patience: Duration::from_secs(6), ..sound },
            Rules { count_from_before: false, ..Rules::SOUND },
        ),
        ("the early stop", Timing { early: Duration::ZERO, ..sound }, Rules::SOUND),
        ("one claimant", sound, Rules { one_claimant: false, ..Rules::SOUND }),
        ("keeping votes", sound, Rules { keep_votes: false, ..Rules::SOUND }),
    ];
    let slow = Faults { lost: 20, doubled: 10, late: 5, way: 800_000, every: 5, lag: SECOND };
    let quick = Faults { lost: 5, way: 20_000, lag: 1_000, ..slow };
    for (what, timing, rules) in broken {
        let fails = |seed| {
            let faults = if seed % 2 == 0 { slow } else { quick };
            let mut run = Run::with_rules(3, seed, faults, timing, rules);
            run.go(300 * SECOND, |_| false).is_err_and(|error| error.to_string().contains("at once"))
        };
        let seed = (0..5_000).find(|seed| fails(*seed));
        println!("without {what}: two holders with seed {seed:?}");
        assert!(seed.is_some(), "without {what}");
    }
}
