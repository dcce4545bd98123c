//! Every course of events that a few voters can take within bounds, walked through by a model checker: never two
//! holders at once. The voters are the node's own code; around them, any message may be lost, come late, in any order
//! and many times, any voter may restart, be late, and have a clock that goes wrong.
//!
//! `SKEIN_ELECTION_STATES=50000000` makes [`no_course_has_two_holders`] take so many steps from state to state, and
//! `--ignored` adds a walk of some minutes.

use super::timing::Rules;
use super::{Election, Input, Output, Timing};
use skein_proto::ids::NodeId;
use skein_proto::rpc::lease::{Answer, Request, Term};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::Duration;

/// How many steps from state to state an ordinary run takes where the bounds allow more than it can walk through.
const STEPS_WALKED: usize = 2_000_000;

/// What one clock goes while another goes [`FAST`].
const SLOW: u8 = 2;
const FAST: u8 = 3;

/// The lease lasts two steps of time by the fastest clock, and the holder's part of it two by the slowest: the largest
/// error of clocks that the early stop covers, with nothing to spare.
const TIMING: Timing = Timing {
    lease: Duration::from_millis(3 * 2),
    early: Duration::from_millis(2),
    renew: Duration::from_millis(2),
    patience: Duration::from_millis(2),
    // Ticks may come as late as the checker likes, so nothing is gained by random waits.
    back_off: Duration::ZERO,
};

/// How far the checker goes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    voters: usize,
    /// How many of them, from the first, ask for the lease.
    ask: usize,
    /// Attempts by ballots of so many different rounds.
    rounds: u64,
    restarts: u8,
    /// Steps of time.
    steps: u8,
    /// Whether clocks go differently.
    drift: bool,
    /// Whether holders resign.
    resign: bool,
    /// Whether refusals arrive; without them, attempts fail by time alone.
    refusals: bool,
    timing: Timing,
    rules: Rules,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Body {
    Request(Request),
    Answer(Answer),
}

/// A message that was said once, and may be heard at any time from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Said {
    from: u8,
    to: u8,
    body: Body,
}

#[derive(Debug, Clone, PartialEq, Hash)]
struct World {
    voters: Vec<Election>,
    /// What each voter's clock shows.
    clocks: Vec<u8>,
    /// What each voter's clock goes in one step of time.
    rates: Vec<u8>,
    said: Vec<Said>,
    restarts: u8,
    steps: u8,
    /// The latest holder and its term.
    last: Option<(u8, Term)>,
    /// Whether there was a holder after another.
    changed: bool,
    /// Whether a term did not rise although nobody had restarted.
    fell: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Tick(u8),
    Hear(Said),
    Restart(u8),
    Resign(u8),
    /// Time goes by.
    Pass,
}

fn name(place: u8) -> NodeId {
    format!("v{place}").parse().expect("a name")
}

impl Bounds {
    fn start(&self, place: u8, now: Duration, life: u8) -> Election {
        let voters = (0..self.voters).map(|place| name(place as u8)).collect();
        let seed = u64::from(place) << 8 | u64::from(life);
        // Wall clocks say the same at each start: nothing here may rest on them.
        let mut voter = Election::with_rules(&name(place), voters, self.timing, now, 0, seed, self.rules)
            .expect("a sound configuration");
        voter.stands = usize::from(place) < self.ask;
        voter
    }
}

impl Election {
    /// Forgets what no longer makes a difference at `now`: how long ago things are over.
    fn tidy(&mut self, now: Duration) {
        let past = |at: Duration| if at <= now { Duration::ZERO } else { at };
        self.now = now;
        self.failures = 0;
        self.next_try = if self.stands { past(self.next_try) } else { Duration::ZERO };
        if let Some(tenure) = &mut self.tenure {
            tenure.renew_at = past(tenure.renew_at);
        }
        self.acceptor.tidy(now);
    }

    /// Whether the answer can still be one that this voter counts.
    fn may_count(&self, from: u8, answer: &Answer) -> bool {
        let counts = |ballot, proposed| {
            self.attempt
                .is_some_and(|a| a.ballot == ballot && a.proposed == proposed && a.yes & (1 << from) == 0)
        };
        match answer {
            Answer::Promised { ballot } => counts(*ballot, false),
            Answer::Accepted { ballot } => counts(*ballot, true),
            Answer::Refused { ballot, .. } => self.attempt.is_some_and(|a| a.ballot == *ballot),
            Answer::Released { .. } => false,
        }
    }
}

impl World {
    fn now(&self, place: u8) -> Duration {
        Duration::from_millis(self.clocks[usize::from(place)].into())
    }

    fn step(&mut self, place: u8, input: Input, asker: u8, bounds: &Bounds) {
        let now = self.now(place);
        for output in self.voters[usize::from(place)].step(now, input) {
            match output {
                Output::Ask { to, request } => {
                    let to = to.as_str()[1..].parse().expect("a place");
                    self.say(Said { from: place, to, body: Body::Request(request) });
                }
                Output::Answer(Answer::Refused { .. }) if !bounds.refusals => {}
                Output::Answer(answer) => {
                    self.say(Said { from: place, to: asker, body: Body::Answer(answer) });
                }
                Output::Elected { term, .. } => {
                    self.changed |= self.last.is_some_and(|(last, _)| last != place);
                    self.fell |= self.restarts == 0 && self.last.is_some_and(|(_, last)| last >= term);
                    self.last = Some((place, term));
                }
                Output::Renewed { .. } | Output::Lost { .. } => {}
            }
        }
    }

    fn say(&mut self, said: Said) {
        if let Err(place) = self.said.binary_search(&said) {
            self.said.insert(place, said);
        }
    }

    /// Makes worlds the same that nothing can tell apart from here on, so that they are walked through once.
    fn tidy(&mut self, bounds: &Bounds) {
        for (place, voter) in self.voters.iter_mut().enumerate() {
            let now = Duration::from_millis(self.clocks[place].into());
            voter.tidy(now);
        }
        if bounds.rules.lives_differ {
            let voters = &self.voters;
            self.said.retain(|said| match said.body {
                Body::Answer(answer) => voters[usize::from(said.to)].may_count(said.from, &answer),
                Body::Request(_) => true,
            });
        }
    }

    fn holders(&self) -> usize {
        (0..).zip(&self.voters).filter(|(place, voter)| voter.is_holder(self.now(*place))).count()
    }
}

impl Model for Bounds {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let voters: Vec<_> =
            (0..self.voters).map(|place| self.start(place as u8, Duration::ZERO, 0)).collect();
        // The first silence is over for all.
        let lease = u8::try_from(self.timing.lease.as_millis()).expect("a short lease");
        vec![World {
            clocks: vec![lease; self.voters],
            // The worst for the first voter, should it be the holder.
            rates: (0..self.voters).map(|place| if self.drift && place > 0 { FAST } else { SLOW }).collect(),
            voters,
            said: Vec::new(),
            restarts: 0,
            steps: 0,
            last: None,
            changed: false,
            fell: false,
        }]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        for (place, voter) in (0..).zip(&world.voters) {
            if voter.wake_at().is_some_and(|at| at <= world.now(place)) {
                events.push(Event::Tick(place));
            }
            if world.restarts < self.restarts {
                events.push(Event::Restart(place));
            }
            if self.resign && voter.is_holder(world.now(place)) {
                events.push(Event::Resign(place));
            }
        }
        events.extend(world.said.iter().map(|said| Event::Hear(*said)));
        if world.steps < self.steps {
            events.push(Event::Pass);
        }
    }

    fn next_state(&self, last: &World, event: Event) -> Option<World> {
        let mut world = last.clone();
        match event {
            Event::Tick(place) => world.step(place, Input::Tick, place, self),
            Event::Resign(place) => world.step(place, Input::Resign, place, self),
            Event::Hear(Said { from, to, body }) => {
                let input = match body {
                    Body::Request(request) => Input::Request { from: name(from), request },
                    Body::Answer(answer) => Input::Answer { from: name(from), answer },
                };
                world.step(to, input, from, self);
            }
            Event::Restart(place) => {
                world.restarts += 1;
                let now = world.now(place);
                world.voters[usize::from(place)] = self.start(place, now, world.restarts);
            }
            Event::Pass => {
                world.steps += 1;
                for (clock, rate) in world.clocks.iter_mut().zip(&world.rates) {
                    *clock += rate;
                }
            }
        }
        world.tidy(self);
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE, |_, world: &World| world.holders() <= 1),
            Property::always(TERMS, |_, world: &World| !world.fell),
            Property::sometimes(SOME, |_, world: &World| world.last.is_some()),
            Property::sometimes(NEXT, |_, world: &World| world.changed),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        let highest = world.voters.iter().map(|voter| voter.round).max().unwrap_or(0);
        highest <= self.timing.lease_ms() + self.rounds
    }
}

const ONE: &str = "never two holders at once";
const TERMS: &str = "terms rise while nobody restarts";
const SOME: &str = "somebody is elected";
const NEXT: &str = "somebody is elected after another";

const BOUNDS: Bounds = Bounds {
    voters: 3,
    ask: 2,
    rounds: 2,
    restarts: 0,
    steps: 2,
    drift: true,
    resign: false,
    refusals: false,
    timing: TIMING,
    rules: Rules::SOUND,
};

/// Walks through all that the bounds allow, and expects at least so many states.
fn holds(bounds: Bounds, least: usize) {
    let checker = bounds.checker().spawn_dfs().join();
    println!("all {} states, up to {} events long", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
    assert!(checker.unique_state_count() >= least, "{} states", checker.unique_state_count());
}

/// Expects a course of events, as short as can be, with two holders at once.
fn fails(bounds: Bounds) {
    let checker = bounds.checker().finish_when(HasDiscoveries::AnyOf([ONE].into())).spawn_bfs().join();
    let course = checker.discovery(ONE).expect("two holders at once");
    println!("{} states: {:?}", checker.unique_state_count(), course.into_actions());
}

#[test]
fn no_course_has_two_holders() {
    let far = std::env::var("SKEIN_ELECTION_STATES").ok();
    let steps = far.map_or(STEPS_WALKED, |far| far.parse().expect("SKEIN_ELECTION_STATES is a number"));
    let bounds = Bounds { restarts: 1, steps: 3, refusals: true, resign: true, ..BOUNDS };
    let checker = bounds.checker().target_state_count(steps).spawn_dfs().join();
    println!("{} states, up to {} events long", checker.unique_state_count(), checker.max_depth());
    checker.assert_no_discovery(ONE);
    checker.assert_no_discovery(TERMS);
    checker.assert_any_discovery(SOME);
    checker.assert_any_discovery(NEXT);
    assert!(checker.unique_state_count() >= 100_000, "{} states", checker.unique_state_count());
}

#[test]
fn no_course_without_restarts_has_two_holders() {
    holds(BOUNDS, 100_000);
}

#[test]
fn no_course_with_a_restart_and_an_attempt_each_has_two_holders() {
    holds(Bounds { rounds: 1, restarts: 1, steps: 3, ..BOUNDS }, 150_000);
}

#[test]
fn no_course_with_resignations_has_two_holders() {
    holds(Bounds { resign: true, ..BOUNDS }, 100_000);
}

#[test]
fn one_voter_restarts_and_is_elected_again() {
    let bounds = Bounds { voters: 1, ask: 1, rounds: 20, restarts: 2, steps: 12, ..BOUNDS };
    let checker = bounds.checker().spawn_dfs().join();
    checker.assert_no_discovery(ONE);
    checker.assert_any_discovery(SOME);
}

/// Minutes: everything that two attempts, a restart and three steps of time allow.
#[test]
#[ignore = "takes minutes"]
fn no_course_with_a_restart_has_two_holders() {
    holds(Bounds { restarts: 1, steps: 3, ..BOUNDS }, 3_000_000);
}

#[test]
fn a_voter_that_votes_at_once_after_a_restart_makes_two_holders() {
    let rules = Rules { silent_at_start: false, ..Rules::SOUND };
    fails(Bounds { restarts: 1, steps: 0, drift: false, rules, ..BOUNDS });
}

#[test]
fn a_holder_that_counts_from_the_answers_makes_two_holders() {
    let rules = Rules { count_from_before: false, ..Rules::SOUND };
    fails(Bounds { steps: 3, drift: false, rules, ..BOUNDS });
}

#[test]
fn a_holder_that_does_not_stop_early_makes_two_holders() {
    fails(Bounds { timing: Timing { early: Duration::ZERO, ..TIMING }, ..BOUNDS });
    // Not where all clocks go alike.
    let even = Timing { early: Duration::ZERO, ..TIMING };
    holds(Bounds { timing: even, drift: false, steps: 3, rounds: 1, ..BOUNDS }, 5_000);
}

#[test]
fn a_voter_that_hears_others_while_its_grant_lasts_makes_two_holders() {
    let rules = Rules { one_claimant: false, ..Rules::SOUND };
    fails(Bounds { steps: 0, drift: false, rules, ..BOUNDS });
}

#[test]
fn a_holder_that_takes_back_a_failed_renewal_makes_two_holders() {
    let rules = Rules { keep_votes: false, ..Rules::SOUND };
    // A lease of three steps, so that a renewal can fail while it lasts.
    let timing = Timing { lease: Duration::from_millis(9), early: Duration::from_millis(3), ..TIMING };
    fails(Bounds { rounds: 3, drift: false, timing, rules, ..BOUNDS });
}
