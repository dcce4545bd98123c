//! The fence under schedules that a seed makes: two leaders at once, leaders killed within a call, answers lost, lists
//! that are old. There are never more machines than the larger of the two plans, none is lost and none is doubled.

mod minimal;

use super::fake::{Call, FakeCloud, FakeSettings};
use async_trait::async_trait;
use futures::FutureExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skein_proto::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

/// What a leader knows at the start of a round, beside what its cloud tells it.
#[derive(Debug, Clone)]
pub struct Known {
    /// How many machines its plan wants.
    pub wanted: usize,
    /// The nodes in the mesh, as gossip tells.
    pub joined: BTreeSet<NodeId>,
    /// The cloud's clock.
    pub now: SystemTime,
    /// For so long after a change the cloud's answers may be from before it.
    pub settle: Duration,
}

/// A leader under test. It keeps what it remembers from round to round in itself, and loses it when it is killed.
#[async_trait]
pub trait Leader: Send {
    /// One look at what exists, and one step towards what is wanted. It may be dropped wherever it calls the cloud.
    async fn round(&mut self, known: &Known);
}

/// Makes a leader that has just won the lease and remembers nothing.
pub type Make = dyn Fn(Arc<FakeCloud>) -> Box<dyn Leader>;

/// How one schedule went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Leaders that were killed within a round.
    pub killed: u32,
    /// Of these, how many in a launch that was done and not yet answered.
    pub killed_before_record: u32,
    /// Steps at which both leaders were within a round.
    pub at_once: u32,
    /// Launches that reached the cloud, and how many machines they made.
    pub launches: u64,
    /// Machines that were made.
    pub made: usize,
}

type Round = Pin<Box<dyn Future<Output = Box<dyn Leader>>>>;

enum Seat {
    Rests(Box<dyn Leader>),
    Acts(Round),
}

struct Schedule<'a> {
    cloud: Arc<FakeCloud>,
    random: StdRng,
    make: &'a Make,
    settings: FakeSettings,
    plans: [usize; 2],
    seats: [Option<Seat>; 2],
    outcome: Outcome,
}

/// Runs one schedule of `steps` steps on a cloud of these settings, then lets one leader alone bring things in order.
///
/// # Errors
/// What was broken, in words, with the machines.
pub fn schedule(seed: u64, settings: &FakeSettings, steps: usize, make: &Make) -> Result<Outcome, String> {
    let settings = FakeSettings { pauses: true, ..settings.clone() };
    let cloud = Arc::new(FakeCloud::new(settings.clone(), seed));
    let seats = [(); 2].map(|()| Some(Seat::Rests(make(Arc::clone(&cloud)))));
    let random = StdRng::seed_from_u64(seed ^ 0x5eed);
    let mut schedule =
        Schedule { cloud, random, make, settings, plans: [1, 1], seats, outcome: Outcome::default() };
    let stranger = schedule.cloud.add_stranger();
    for step in 0..steps {
        schedule.step();
        schedule.check().map_err(|what| format!("seed {seed}, step {step}: {what}"))?;
    }
    let cloud = Arc::clone(&schedule.cloud);
    schedule.settle().map_err(|what| format!("seed {seed}, at the end: {what}"))?;
    if cloud.state_of(&stranger) != Some(super::MachineState::Running) {
        return Err(format!("seed {seed}: a machine that is not ours was touched"));
    }
    let mut outcome = schedule.outcome;
    outcome.launches = cloud.calls(Call::Launch);
    outcome.made = cloud.truth().len();
    Ok(outcome)
}

impl Schedule<'_> {
    fn step(&mut self) {
        let which = self.random.random_range(0..2);
        match self.random.random_range(0..100) {
            0..70 => self.act(which),
            70..85 => {
                let by = self.random.random_range(0..8000);
                self.cloud.advance(Duration::from_millis(by));
            }
            85..91 => self.plans[which] = (self.plans[which] + self.random.random_range(0..=2)).min(8),
            91..98 => self.kill(which),
            _ => {
                let alive: Vec<_> = self.cloud.truth().into_iter().filter(|truth| truth.alive()).collect();
                if !alive.is_empty() {
                    let unlucky = &alive[self.random.random_range(0..alive.len())];
                    self.cloud.kill(&unlucky.machine.id);
                }
            }
        }
    }

    /// Lets one leader go on up to its next pause.
    fn act(&mut self, which: usize) {
        let mut round = match self.seats[which].take() {
            Some(Seat::Acts(round)) => round,
            Some(Seat::Rests(leader)) => self.begin(leader, self.plans[which]),
            None => {
                let leader = (self.make)(Arc::clone(&self.cloud));
                self.begin(leader, self.plans[which])
            }
        };
        if matches!(self.seats[1 - which], Some(Seat::Acts(_))) {
            self.outcome.at_once += 1;
        }
        self.seats[which] = Some(match round.poll_unpin(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(leader) => Seat::Rests(leader),
            Poll::Pending => Seat::Acts(round),
        });
    }

    fn begin(&self, mut leader: Box<dyn Leader>, wanted: usize) -> Round {
        let (joined, now, settle) = (self.cloud.joined(), self.cloud.now(), self.settings.settle);
        Box::pin(async move {
            leader.round(&Known { wanted, joined, now, settle }).await;
            leader
        })
    }

    fn kill(&mut self, which: usize) {
        if let Some(Seat::Acts(round)) = self.seats[which].take() {
            let before = self.cloud.unanswered(Call::Launch);
            drop(round);
            self.outcome.killed += 1;
            self.outcome.killed_before_record += u32::from(self.cloud.unanswered(Call::Launch) < before);
        }
    }

    fn check(&self) -> Result<(), String> {
        let most = self.plans[0].max(self.plans[1]);
        let truth = self.cloud.truth();
        let alive: Vec<_> = truth.iter().filter(|truth| truth.alive()).collect();
        if alive.len() > most {
            return Err(format!("{} machines, and the larger plan wants {most}: {alive:#?}", alive.len()));
        }
        let mut numbers = BTreeMap::new();
        for truth in &truth {
            if let Some(before) = numbers.insert(truth.machine.number, truth) {
                return Err(format!("number {} is doubled: {before:?}", truth.machine.number));
            }
        }
        Ok(())
    }

    /// The failures end, and so does one of the leaders; the other has the larger plan.
    fn settle(&mut self) -> Result<(), String> {
        let most = self.plans[0].max(self.plans[1]);
        self.plans = [most; 2];
        self.kill(1);
        let calm = self.settings.calm();
        self.cloud.set(|settings| *settings = calm);
        // A machine in a round: a look and a launch of two pauses each; numbers that are used up take rounds too.
        for _ in 0..4000 {
            self.act(0);
            self.check()?;
            if matches!(self.seats[0], Some(Seat::Rests(_))) {
                self.cloud.advance(Duration::from_secs(3));
                if self.cloud.joined().len() == most && self.cloud.alive() == most {
                    return Ok(());
                }
            }
        }
        let truth = self.cloud.truth();
        let alive: Vec<_> = truth.iter().filter(|truth| truth.alive()).collect();
        Err(format!("{} of {most} machines joined or are alive: {alive:#?}", self.cloud.joined().len()))
    }
}

fn minimal() -> Box<Make> {
    Box::new(|cloud| Box::new(minimal::Minimal::new(cloud)))
}

#[test]
fn a_thousand_schedules_hold_the_fence() {
    let mut all = Outcome::default();
    for seed in 0..1000 {
        let went =
            schedule(seed, &FakeSettings::rough(), 300, &*minimal()).unwrap_or_else(|what| panic!("{what}"));
        all.killed += went.killed;
        all.killed_before_record += went.killed_before_record;
        all.at_once += went.at_once;
        all.launches += went.launches;
        all.made += went.made;
    }
    println!("{all:?}");
    // What the schedules are for did happen.
    assert!(all.killed_before_record > 500 && all.at_once > 10_000, "{all:?}");
    assert!(2 * all.launches > 3 * all.made as u64, "{all:?}");
}

#[test]
fn without_tokens_the_schedules_find_the_double() {
    let settings = FakeSettings { tokens: false, ..FakeSettings::rough() };
    let broken = (0..20).filter(|seed| schedule(*seed, &settings, 300, &*minimal()).is_err()).count();
    assert!(broken > 10, "{broken} of 20");
}

#[test]
fn a_leader_that_counts_what_is_listed_is_found_out() {
    let make: Box<Make> = Box::new(|cloud| Box::new(minimal::Naive::new(cloud)));
    let broken =
        (0..100).filter(|seed| schedule(*seed, &FakeSettings::rough(), 300, &*make).is_err()).count();
    assert!(broken > 10, "{broken} of 100");
}
