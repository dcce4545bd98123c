//! A cloud in memory, for tests: what goes wrong with a real one goes wrong here by seed or by order, and its clock
//! moves only when it is told to.
//!
//! Machines pass through their states as functions of that clock. Answers are as inconsistent as a cloud may give
//! them: each machine in each list may be shown as it was up to `settle` ago, so that a new one is missing, then
//! there, then missing again, while a younger one is there all along. After `settle` without a change it is shown as
//! it is.

use super::{Cloud, CloudError, Launch, Machine, MachineId, MachineState, node_of};
use async_trait::async_trait;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skein_proto::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

/// How the cloud behaves. The default has no failures; shares are from 0 to 1.
#[derive(Debug, Clone)]
pub struct FakeSettings {
    /// From a launch until the machine runs.
    pub boot: RangeInclusive<Duration>,
    /// From then until its node joined the mesh.
    pub join: RangeInclusive<Duration>,
    /// From the start of a stopped machine until it runs.
    pub start: RangeInclusive<Duration>,
    /// From a stop or the end until that is done.
    pub end: Duration,
    /// For so long after a change answers may be from before it.
    pub settle: Duration,
    /// Share of what is told within that time that is old.
    pub stale: f64,
    /// For so long after its end a machine is listed still.
    pub listed_after_end: Duration,
    /// Share of calls that are throttled.
    pub throttled: f64,
    /// Share of calls that never reach the cloud.
    pub lost_asking: f64,
    /// Share of calls that are done and whose answer never comes back.
    pub lost_answer: f64,
    /// Share of launches for which there is no machine.
    pub no_capacity: f64,
    /// Share of machines that run and never join.
    pub never_join: f64,
    /// The most machines at once, stopped ones among them.
    pub quota: usize,
    /// Whether a second launch of one number gives the first one's machine. A test that cannot fail without it tests
    /// no fence.
    pub tokens: bool,
    /// Whether each call gives way once before it is done and once before it answers, so that a test that polls by
    /// hand can put others in between, or drop the caller there.
    pub pauses: bool,
    /// What types cost an hour.
    pub prices: BTreeMap<String, f64>,
}

impl Default for FakeSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            boot: seconds(20)..=seconds(40),
            join: seconds(5)..=seconds(10),
            start: seconds(8)..=seconds(12),
            end: seconds(5),
            settle: Duration::ZERO,
            stale: 0.0,
            listed_after_end: seconds(3600),
            throttled: 0.0,
            lost_asking: 0.0,
            lost_answer: 0.0,
            no_capacity: 0.0,
            never_join: 0.0,
            quota: usize::MAX,
            tokens: true,
            pauses: false,
            prices: BTreeMap::new(),
        }
    }
}

impl FakeSettings {
    /// Everything that can go wrong does, often.
    pub fn rough() -> Self {
        Self {
            settle: Duration::from_secs(20),
            stale: 0.5,
            throttled: 0.1,
            lost_asking: 0.1,
            lost_answer: 0.2,
            no_capacity: 0.1,
            pauses: true,
            ..Self::default()
        }
    }

    /// The same cloud on a day on which nothing fails; tokens and times stay.
    pub fn calm(&self) -> Self {
        Self {
            stale: 0.0,
            throttled: 0.0,
            lost_asking: 0.0,
            lost_answer: 0.0,
            no_capacity: 0.0,
            never_join: 0.0,
            ..self.clone()
        }
    }
}

/// A call of the trait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// [`Cloud::list`].
    List,
    /// [`Cloud::launch`].
    Launch,
    /// [`Cloud::start`].
    Start,
    /// [`Cloud::stop`].
    Stop,
    /// [`Cloud::terminate`].
    Terminate,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// [`CloudError::Throttled`].
    Throttled,
    /// [`CloudError::NoCapacity`], of a launch that would have made a machine.
    NoCapacity,
    /// [`CloudError::Refused`].
    Refused,
    /// [`CloudError::Unknown`], of a call that names a machine.
    Unknown,
    /// [`CloudError::Unreachable`], and nothing was done.
    LostAsking,
    /// [`CloudError::Unreachable`], and it was done.
    LostAnswer,
}

/// A machine as it truly is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// What the cloud would list if it were consistent.
    pub machine: Machine,
    /// The node it is to become.
    pub node: NodeId,
    /// Whether its node is in the mesh.
    pub joined: bool,
}

impl Truth {
    /// Whether it exists and is not about to be gone: what a plan counts.
    pub fn alive(&self) -> bool {
        alive(self.machine.state)
    }
}

fn alive(state: MachineState) -> bool {
    !matches!(state, MachineState::Terminating | MachineState::Terminated)
}

#[derive(Debug)]
struct Made {
    machine: Machine,
    node: NodeId,
    user_data: String,
    ours: bool,
    /// When it was or will be how, in order; the first is its launch.
    changes: Vec<(SystemTime, MachineState)>,
    joins: Option<SystemTime>,
    silent: bool,
}

impl Made {
    fn state(&self, at: SystemTime) -> Option<MachineState> {
        self.changes.iter().rev().find(|(when, _)| *when <= at).map(|(_, state)| *state)
    }

    /// From now on it goes this way, whatever was to come.
    fn goes(&mut self, now: SystemTime, changes: &[(Duration, MachineState)]) {
        self.changes.retain(|(when, _)| *when <= now);
        self.changes.extend(changes.iter().map(|(after, state)| (now + *after, *state)));
        self.joins = None;
    }

    fn seen(&self, at: SystemTime) -> Option<Machine> {
        self.state(at).map(|state| Machine { state, ..self.machine.clone() })
    }
}

#[derive(Debug)]
struct State {
    settings: FakeSettings,
    random: StdRng,
    now: SystemTime,
    made: Vec<Made>,
    orders: VecDeque<(Call, Fault)>,
    calls: BTreeMap<Call, u64>,
    /// Calls that are done and not yet answered.
    unanswered: BTreeMap<Call, u64>,
}

/// The cloud. Leaders share it behind an `Arc`.
#[derive(Debug)]
pub struct FakeCloud {
    state: Mutex<State>,
}

impl FakeCloud {
    /// An empty cloud; the same seed and the same calls give the same answers.
    pub fn new(settings: FakeSettings, seed: u64) -> Self {
        let state = State {
            settings,
            random: StdRng::seed_from_u64(seed),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            made: Vec::new(),
            orders: VecDeque::new(),
            calls: BTreeMap::new(),
            unanswered: BTreeMap::new(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Its clock.
    pub fn now(&self) -> SystemTime {
        self.state.lock().now
    }

    /// Moves its clock.
    pub fn advance(&self, by: Duration) {
        self.state.lock().now += by;
    }

    /// Changes how it behaves from here on.
    pub fn set(&self, change: impl FnOnce(&mut FakeSettings)) {
        change(&mut self.state.lock().settings);
    }

    /// The next call of this kind fails so; more of them in their order.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        self.state.lock().orders.push_back((call, fault));
    }

    /// All machines of the mesh that ever were, as they are, in the order of their launch.
    pub fn truth(&self) -> Vec<Truth> {
        let state = self.state.lock();
        state.made.iter().filter(|made| made.ours).map(|made| state.truth(made)).collect()
    }

    /// How many machines exist and are not about to be gone.
    pub fn alive(&self) -> usize {
        self.state.lock().alive()
    }

    /// The nodes that are in the mesh: what gossip would have.
    pub fn joined(&self) -> BTreeSet<NodeId> {
        self.truth().into_iter().filter(|truth| truth.joined).map(|truth| truth.node).collect()
    }

    /// How many calls of this kind arrived, failed ones among them.
    pub fn calls(&self, call: Call) -> u64 {
        self.state.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// How many calls of this kind are done and not yet answered, which is seen only between pauses. A caller that is
    /// dropped there never hears of it.
    pub fn unanswered(&self, call: Call) -> u64 {
        self.state.lock().unanswered.get(&call).copied().unwrap_or(0)
    }

    /// The cloud takes a machine away at once, as it may with a spot instance. False where there is none such.
    pub fn kill(&self, id: &MachineId) -> bool {
        let mut state = self.state.lock();
        let now = state.now;
        let Some(made) = state.made.iter_mut().find(|made| made.machine.id == *id) else { return false };
        made.goes(now, &[(Duration::ZERO, MachineState::Terminated)]);
        true
    }

    /// A machine's node is gone from the mesh for good, while the machine runs on. False where there is none such.
    pub fn silence(&self, id: &MachineId) -> bool {
        let mut state = self.state.lock();
        let Some(made) = state.made.iter_mut().find(|made| made.machine.id == *id) else { return false };
        made.silent = true;
        true
    }

    /// A running machine of somebody else, which must stay as it is.
    pub fn add_stranger(&self) -> MachineId {
        let mut state = self.state.lock();
        let now = state.now;
        let id = MachineId(format!("stranger-{}", state.made.len()));
        let machine = Machine {
            id: id.clone(),
            number: 0,
            kind: "large".to_owned(),
            state: MachineState::Running,
            launched: Some(now),
            address: None,
        };
        let node = node_of("stranger", state.made.len() as u64).expect("a name");
        let changes = vec![(now, MachineState::Running)];
        let (user_data, joins) = (String::new(), None);
        state.made.push(Made { machine, node, user_data, ours: false, changes, joins, silent: false });
        id
    }

    /// How a machine is, whose ever it is.
    pub fn state_of(&self, id: &MachineId) -> Option<MachineState> {
        let state = self.state.lock();
        state.made.iter().find(|made| made.machine.id == *id).and_then(|made| made.state(state.now))
    }

    /// Does a call with all that can go wrong around it.
    async fn call<T>(
        &self,
        call: Call,
        names: Option<&MachineId>,
        act: impl FnOnce(&mut State, Option<Fault>) -> Result<T, CloudError> + Send,
    ) -> Result<T, CloudError> {
        self.pause().await;
        let (fault, done) = {
            let mut state = self.state.lock();
            *state.calls.entry(call).or_default() += 1;
            let fault = state.fault(call);
            match fault {
                Some(Fault::Throttled) => return Err(CloudError::Throttled("asked too often".to_owned())),
                Some(Fault::Refused) => return Err(CloudError::Refused("not allowed".to_owned())),
                Some(Fault::LostAsking) => return Err(CloudError::Unreachable("lost on the way".to_owned())),
                _ => {}
            }
            if let (Some(Fault::Unknown), Some(id)) = (fault, names) {
                return Err(CloudError::Unknown(id.clone()));
            }
            *state.unanswered.entry(call).or_default() += 1;
            (fault, act(&mut state, fault))
        };
        let _answering = Answering { cloud: self, call };
        self.pause().await;
        if fault == Some(Fault::LostAnswer) {
            return Err(CloudError::Unreachable("the answer was lost".to_owned()));
        }
        done
    }

    async fn pause(&self) {
        let pauses = self.state.lock().settings.pauses;
        if pauses {
            tokio::task::yield_now().await;
        }
    }
}

/// Counts a call as unanswered until it is answered or its caller is gone.
struct Answering<'a> {
    cloud: &'a FakeCloud,
    call: Call,
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.cloud.state.lock().unanswered.get_mut(&self.call) {
            *count = count.saturating_sub(1);
        }
    }
}

impl State {
    fn fault(&mut self, call: Call) -> Option<Fault> {
        if let Some(at) = self.orders.iter().position(|(of, _)| *of == call) {
            return self.orders.remove(at).map(|(_, fault)| fault);
        }
        let shares = [
            (self.settings.throttled, Fault::Throttled),
            (self.settings.lost_asking, Fault::LostAsking),
            (self.settings.lost_answer, Fault::LostAnswer),
            (if call == Call::Launch { self.settings.no_capacity } else { 0.0 }, Fault::NoCapacity),
        ];
        let mut drawn: f64 = self.random.random();
        shares.into_iter().find_map(|(share, fault)| {
            drawn -= share;
            (drawn < 0.0).then_some(fault)
        })
    }

    fn draw(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        self.random.random_range(range.clone())
    }

    fn chance(&mut self, share: f64) -> bool {
        self.random.random::<f64>() < share
    }

    /// The time from which one machine is told of.
    fn view(&mut self) -> SystemTime {
        let settle = self.settings.settle;
        let back = if self.chance(self.settings.stale) {
            self.draw(&(Duration::ZERO..=settle))
        } else {
            Duration::ZERO
        };
        self.now - back
    }

    fn alive(&self) -> usize {
        let ours = self.made.iter().filter(|made| made.ours);
        ours.filter(|made| made.state(self.now).is_some_and(alive)).count()
    }

    fn truth(&self, made: &Made) -> Truth {
        // A launch is in the past, so there is always a state.
        let state = made.state(self.now).unwrap_or(MachineState::Terminated);
        let joined =
            state == MachineState::Running && !made.silent && made.joins.is_some_and(|at| at <= self.now);
        Truth { machine: Machine { state, ..made.machine.clone() }, node: made.node.clone(), joined }
    }

    fn list(&mut self) -> Vec<Machine> {
        let mut list = Vec::new();
        for index in 0..self.made.len() {
            let (view, made) = (self.view(), &self.made[index]);
            let ended = made.changes.iter().find(|(_, state)| *state == MachineState::Terminated);
            let forgotten = ended.is_some_and(|(at, _)| *at + self.settings.listed_after_end <= view);
            if made.ours && !forgotten {
                list.extend(made.seen(view));
            }
        }
        list
    }

    fn launch(&mut self, launch: &Launch, fault: Option<Fault>) -> Result<Machine, CloudError> {
        let now = self.now;
        let before = self.made.iter().find(|made| made.ours && made.machine.number == launch.number);
        if let Some(made) = before.filter(|_| self.settings.tokens) {
            let same = made.machine.kind == launch.kind
                && made.user_data == launch.user_data
                && made.node == launch.node;
            return match made.seen(now) {
                _ if !same => Err(CloudError::Taken(launch.number)),
                Some(machine) if alive(machine.state) => Ok(machine),
                _ => Err(CloudError::UsedUp(launch.number)),
            };
        }
        if fault == Some(Fault::NoCapacity) {
            return Err(CloudError::NoCapacity(format!("no {} to be had", launch.kind)));
        }
        if self.alive() >= self.settings.quota {
            return Err(CloudError::NoCapacity("the account's limit is reached".to_owned()));
        }
        let index = self.made.len();
        let machine = Machine {
            id: MachineId(format!("fake-{index}")),
            number: launch.number,
            kind: launch.kind.clone(),
            state: MachineState::Pending,
            launched: Some(now),
            address: Some([10, 0, (index >> 8) as u8, index as u8].into()),
        };
        let (boot, join) = (self.settings.boot.clone(), self.settings.join.clone());
        let runs = now + self.draw(&boot);
        let joins = Some(runs + self.draw(&join)).filter(|_| !self.chance(self.settings.never_join));
        self.made.push(Made {
            machine: machine.clone(),
            node: launch.node.clone(),
            user_data: launch.user_data.clone(),
            ours: true,
            changes: vec![(now, MachineState::Pending), (runs, MachineState::Running)],
            joins,
            silent: false,
        });
        Ok(machine)
    }

    /// The machine that a call names, and how it is.
    fn named(&mut self, id: &MachineId) -> Result<(usize, MachineState), CloudError> {
        let view = self.view();
        let Some(index) = self.made.iter().position(|made| made.machine.id == *id) else {
            return Err(CloudError::Unknown(id.clone()));
        };
        let made = &self.made[index];
        // The lookup that comes before each change is eventually consistent, the change itself is not.
        if made.state(view).is_none() {
            return Err(CloudError::Unknown(id.clone()));
        }
        if !made.ours {
            return Err(CloudError::NotOurs(id.clone()));
        }
        made.state(self.now).map(|state| (index, state)).ok_or_else(|| CloudError::Unknown(id.clone()))
    }

    fn start(&mut self, id: &MachineId) -> Result<(), CloudError> {
        let (index, state) = self.named(id)?;
        match state {
            MachineState::Pending | MachineState::Running => Ok(()),
            MachineState::Stopped => {
                let (start, join) = (self.settings.start.clone(), self.settings.join.clone());
                let runs = self.draw(&start);
                let joins = self.draw(&join);
                let never = self.chance(self.settings.never_join);
                let now = self.now;
                let made = &mut self.made[index];
                made.goes(now, &[(Duration::ZERO, MachineState::Pending), (runs, MachineState::Running)]);
                made.machine.launched = Some(now);
                made.joins = Some(now + runs + joins).filter(|_| !never);
                Ok(())
            }
            _ => Err(CloudError::Refused(format!("{id} cannot be started now"))),
        }
    }

    fn stop(&mut self, id: &MachineId) -> Result<(), CloudError> {
        let (index, state) = self.named(id)?;
        match state {
            MachineState::Stopping | MachineState::Stopped => Ok(()),
            MachineState::Pending | MachineState::Running => {
                let (now, end) = (self.now, self.settings.end);
                let changes = [(Duration::ZERO, MachineState::Stopping), (end, MachineState::Stopped)];
                self.made[index].goes(now, &changes);
                Ok(())
            }
            _ => Err(CloudError::Refused(format!("{id} cannot be stopped now"))),
        }
    }

    fn terminate(&mut self, id: &MachineId) -> Result<(), CloudError> {
        let (index, state) = self.named(id)?;
        if alive(state) {
            let (now, end) = (self.now, self.settings.end);
            let changes = [(Duration::ZERO, MachineState::Terminating), (end, MachineState::Terminated)];
            self.made[index].goes(now, &changes);
        }
        Ok(())
    }
}

#[async_trait]
impl Cloud for FakeCloud {
    async fn list(&self) -> Result<Vec<Machine>, CloudError> {
        self.call(Call::List, None, |state, _| Ok(state.list())).await
    }

    async fn launch(&self, launch: &Launch) -> Result<Machine, CloudError> {
        self.call(Call::Launch, None, |state, fault| state.launch(launch, fault)).await
    }

    async fn start(&self, machine: &MachineId) -> Result<(), CloudError> {
        self.call(Call::Start, Some(machine), |state, _| state.start(machine)).await
    }

    async fn stop(&self, machine: &MachineId) -> Result<(), CloudError> {
        self.call(Call::Stop, Some(machine), |state, _| state.stop(machine)).await
    }

    async fn terminate(&self, machine: &MachineId) -> Result<(), CloudError> {
        self.call(Call::Terminate, Some(machine), |state, _| state.terminate(machine)).await
    }

    async fn price(&self, kind: &str) -> Option<f64> {
        self.state.lock().settings.prices.get(kind).copied()
    }
}
