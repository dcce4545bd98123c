//! Who leads, in practice: drives the election on a voter, tells gossip what is known, and has the node that holds the
//! lease reconcile.

#[cfg(feature = "digitalocean")]
use super::cloud::digitalocean::DigitalOcean;
#[cfg(feature = "ec2")]
use super::cloud::ec2::Ec2;
use super::cloud::{Cloud, CloudError, process::ProcessCloud};
use super::plan::{Limits, Planner};
use super::reconcile::{Nodes, Outcome, Reconciler, SETTLE};
use super::user_data::{UserData, UserDataError};
use crate::clock::now_ms;
use crate::election::{Election, ElectionError, Input, Output, Timing};
use crate::mesh::{Mesh, View};
use async_trait::async_trait;
use parking_lot::Mutex;
use skein_bootstrap::config::{CloudKind, Config};
use skein_proto::gossip::{Lead, Phase};
use skein_proto::ids::NodeId;
use skein_proto::operator::{Scaling, ScalingMachine, ScalingStep};
use skein_proto::rpc::lease::{Answer, Request, Term};
use skein_proto::rpc::{Call, Reply};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many requests and answers may wait for the election.
const EVENTS: usize = 256;
/// Two looks are so far apart at least, however much happens.
const AT_LEAST: Duration = Duration::from_millis(250);
/// How long a node may take to answer an order.
const ORDER: Duration = Duration::from_secs(2);
/// How many of the last steps operators can see.
const STEPS: usize = 50;

/// Why a node cannot take part in leading.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// The voters or the lease.
    #[error("election: {0}")]
    Election(#[from] ElectionError),
    /// The cloud.
    #[error("scaling: {0}")]
    Cloud(#[from] CloudError),
    /// What launched machines are told.
    #[error(transparent)]
    UserData(#[from] UserDataError),
}

/// What this node does about leading.
pub struct Leader {
    mesh: Mesh,
    lead: Mutex<Lead>,
    /// The highest numbers of launches that were heard of, and when: one that is old, and all since.
    announced: Mutex<BTreeMap<u64, Instant>>,
    /// How long an attempt to get the lease may take.
    patience: Duration,
    /// Until when this node holds the lease, and in which term.
    tenure: watch::Sender<Option<Tenure>>,
    /// To the election; none where this node does not vote.
    events: Option<mpsc::Sender<Event>>,
    /// Whether this node launches machines while it leads.
    launches: bool,
    /// The fewest nodes and the most, as configured.
    bounds: (u32, u32),
    /// What the last look came to.
    last: Mutex<Last>,
    tasks: TaskTracker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tenure {
    term: Term,
    until: Instant,
}

#[derive(Default)]
struct Last {
    outcome: Option<Outcome>,
    steps: VecDeque<ScalingStep>,
    /// As the cloud listed them last.
    machines: Vec<ScalingMachine>,
}

enum Event {
    Asked { from: NodeId, request: Request, answer: oneshot::Sender<Answer> },
    Answered { from: NodeId, answer: Answer },
}

/// Opens the cloud that is configured.
///
/// # Errors
/// When it cannot be used as it is configured.
pub async fn open(config: &Config) -> Result<Option<Arc<dyn Cloud>>, CloudError> {
    let (scaling, mesh) = (&config.scaling, &config.mesh.name);
    Ok(match scaling.cloud {
        CloudKind::None => None,
        CloudKind::Process => {
            let program = std::env::current_exe()
                .map_err(|e| CloudError::Refused(format!("the node's own program is not known: {e}")))?;
            Some(Arc::new(ProcessCloud::new(program, config)))
        }
        #[cfg(feature = "ec2")]
        CloudKind::Ec2 => Some(Arc::new(Ec2::new(mesh, &scaling.ec2, scaling.types.len()).await?)),
        #[cfg(feature = "digitalocean")]
        CloudKind::DigitalOcean => Some(Arc::new(DigitalOcean::new(mesh, &scaling.digitalocean).await?)),
        #[cfg(not(all(feature = "ec2", feature = "digitalocean")))]
        other => {
            let problem = format!("scaling.cloud: this program was built without {other:?} of mesh {mesh}");
            return Err(CloudError::Refused(problem));
        }
    })
}

impl Leader {
    /// Starts what this node has to do about leading: nothing but to pass on what gossip says, where it does not vote.
    ///
    /// # Errors
    /// When voters, lease or cloud are not as they must be.
    pub fn start(
        config: &Config,
        mesh: Mesh,
        cloud: Option<Arc<dyn Cloud>>,
        tasks: TaskTracker,
        cancel: &CancellationToken,
    ) -> Result<Arc<Self>, LeaderError> {
        let votes = config.election.voters.contains(&config.node.id);
        let base = Instant::now();
        let election = votes.then(|| election(config)).transpose()?;
        let (events, incoming) = mpsc::channel(EVENTS);
        let leader = Arc::new(Self {
            lead: Mutex::new(Lead::default()),
            announced: Mutex::new(BTreeMap::new()),
            patience: timing(config).patience,
            tenure: watch::Sender::new(None),
            events: votes.then_some(events),
            launches: votes && cloud.is_some(),
            bounds: (config.scaling.min_nodes, config.scaling.max_nodes),
            last: Mutex::new(Last::default()),
            mesh,
            tasks: tasks.clone(),
        });
        tasks.spawn(Arc::clone(&leader).listen(cancel.clone()));
        if let Some(election) = election {
            tasks.spawn(Arc::clone(&leader).elect(election, base, incoming, cancel.clone()));
        }
        if let Some(cloud) = cloud.filter(|_| votes) {
            let user_data = Arc::new(UserData::read(config)?);
            tasks.spawn(Arc::clone(&leader).scale(config.clone(), cloud, user_data, cancel.clone()));
        }
        Ok(leader)
    }

    /// Another voter asks.
    pub async fn asked(&self, from: NodeId, request: Request) -> Reply {
        let not_here = || Reply::Failed("this node does not vote".to_owned());
        let Some(events) = &self.events else { return not_here() };
        let (answer, answered) = oneshot::channel();
        // A voter that cannot keep up says nothing, which is always safe.
        if events.try_send(Event::Asked { from, request, answer }).is_err() {
            return Reply::Failed("this voter is busy".to_owned());
        }
        answered.await.map_or_else(|_| not_here(), Reply::Lease)
    }

    /// The term in which this node holds the lease now.
    pub fn term(&self) -> Option<Term> {
        self.tenure.borrow().filter(|tenure| Instant::now() < tenure.until).map(|tenure| tenure.term)
    }

    /// What the leader knows and did; none where this node does not lead or there is nothing to launch.
    pub fn scaling(&self) -> Option<Scaling> {
        let term = self.term()?;
        let last = self.last.lock();
        let plan = &last.outcome.as_ref()?.plan;
        Some(Scaling {
            leader: self.mesh.id().clone(),
            term: term.0,
            wanted_streams: plan.wanted,
            free_streams: plan.free,
            booting_streams: plan.booting,
            grows: plan.grows,
            eta_s: plan.eta_s,
            alarm: plan.alarm.clone(),
            reasons: plan.reasons.clone(),
            steps: last.steps.iter().cloned().collect(),
            min_nodes: self.bounds.0,
            max_nodes: self.bounds.1,
            machines: last.machines.clone(),
        })
    }

    fn say(&self, change: impl FnOnce(&mut Lead)) {
        let mut lead = self.lead.lock();
        change(&mut lead);
        self.mesh.set_lead(*lead);
    }

    /// A number was used, here or elsewhere.
    fn announce(&self, launched: u64) {
        let now = Instant::now();
        let settled = self.settled();
        let mut announced = self.announced.lock();
        announced.retain(|number, _| *number >= settled);
        announced.entry(launched).or_insert(now);
        drop(announced);
        self.say(|lead| lead.launched = lead.launched.max(launched));
    }

    /// The highest number that was heard of so long ago that the cloud lists what there is of it.
    fn settled(&self) -> u64 {
        let now = Instant::now();
        let announced = self.announced.lock();
        let old = announced.iter().rev().find(|(_, at)| now.saturating_duration_since(**at) >= SETTLE);
        old.map(|(number, _)| *number).unwrap_or_default()
    }

    /// Passes on the highest launch number that was heard of, so that it outlives who said it first.
    async fn listen(self: Arc<Self>, cancel: CancellationToken) {
        let mut view = self.mesh.view();
        loop {
            let highest = view.borrow_and_update().nodes.values().map(|node| node.lead.launched).max();
            let highest = highest.unwrap_or_default();
            if highest > self.lead.lock().launched {
                self.announce(highest);
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = view.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn elect(
        self: Arc<Self>,
        mut election: Election,
        base: Instant,
        mut events: mpsc::Receiver<Event>,
        cancel: CancellationToken,
    ) {
        let mut view = self.mesh.view();
        let (mut heard, mut stands) = (Term(0), true);
        loop {
            let wake = async {
                match election.wake_at() {
                    Some(at) => tokio::time::sleep_until((base + at).into()).await,
                    None => std::future::pending().await,
                }
            };
            let mut asks = None;
            let input = tokio::select! {
                () = cancel.cancelled() => {
                    let out = election.step(base.elapsed(), Input::Resign);
                    self.act(out, base, None);
                    return;
                }
                () = wake => Input::Tick,
                Some(event) = events.recv() => match event {
                    Event::Asked { from, request, answer } => {
                        asks = Some(answer);
                        Input::Request { from, request }
                    }
                    Event::Answered { from, answer } => Input::Answer { from, answer },
                },
                Ok(()) = view.changed() => {
                    let view = view.borrow_and_update().clone();
                    let terms = view.nodes.values().map(|node| node.lead.term).max();
                    let drains = view.get(self.mesh.id()).is_some_and(|own| own.phase == Phase::Draining);
                    match terms.map(Term).filter(|term| *term > heard) {
                        Some(term) => {
                            heard = term;
                            Input::Heard(term)
                        }
                        // Who drains does not lead, but goes on to vote.
                        None if drains == stands => {
                            stands = !drains;
                            if stands { Input::Stand } else { Input::Resign }
                        }
                        None => continue,
                    }
                }
            };
            let out = election.step(base.elapsed(), input);
            self.act(out, base, asks);
        }
    }

    fn act(self: &Arc<Self>, out: Vec<Output>, base: Instant, mut asks: Option<oneshot::Sender<Answer>>) {
        for output in out {
            match output {
                Output::Ask { to, request } => {
                    let leader = Arc::clone(self);
                    self.tasks.spawn(async move { leader.ask(to, request).await });
                }
                Output::Answer(answer) => {
                    if let Some(asks) = asks.take() {
                        // Who asked may not wait any more.
                        let _ = asks.send(answer);
                    }
                }
                Output::Elected { term, until } => {
                    tracing::info!(%term, "this node leads the mesh");
                    self.tenure.send_replace(Some(Tenure { term, until: base + until }));
                    // Until the first look says otherwise, so that who comes before it waits for that.
                    let grows = self.launches;
                    self.say(|lead| *lead = Lead { term: term.0, holds: true, grows, eta_s: 0, ..*lead });
                }
                Output::Renewed { term, until } => {
                    self.tenure.send_replace(Some(Tenure { term, until: base + until }));
                }
                Output::Lost { term } => {
                    tracing::info!(%term, "this node does not lead the mesh any more");
                    self.tenure.send_replace(None);
                    self.say(|lead| *lead = Lead { holds: false, grows: false, eta_s: 0, ..*lead });
                }
            }
        }
    }

    async fn ask(self: Arc<Self>, to: NodeId, request: Request) {
        let Ok(Reply::Lease(answer)) = self.mesh.call(&to, Call::Lease(request), self.patience).await else {
            return;
        };
        if let Some(events) = &self.events {
            // An answer that finds no room is one that got lost.
            let _ = events.try_send(Event::Answered { from: to, answer });
        }
    }

    /// Reconciles while this node leads.
    async fn scale(
        self: Arc<Self>,
        config: Config,
        cloud: Arc<dyn Cloud>,
        user_data: Arc<UserData>,
        cancel: CancellationToken,
    ) {
        let mut tenure = self.tenure.subscribe();
        loop {
            let elected = async {
                // The sender lives as long as this task.
                let held = tenure.wait_for(Option::is_some).await.ok().and_then(|tenure| *tenure);
                match held {
                    Some(tenure) => tenure.term,
                    None => std::future::pending().await,
                }
            };
            let term = tokio::select! {
                () = cancel.cancelled() => return,
                term = elected => term,
            };
            let lost = {
                let mut tenure = self.tenure.subscribe();
                async move {
                    let _ = tenure.wait_for(|tenure| tenure.is_none_or(|tenure| tenure.term != term)).await;
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = lost => {}
                () = self.reconcile(&config, &cloud, &user_data, term) => {}
            }
            *self.last.lock() = Last::default();
        }
    }

    async fn reconcile(
        self: &Arc<Self>,
        config: &Config,
        cloud: &Arc<dyn Cloud>,
        user_data: &Arc<UserData>,
        term: Term,
    ) {
        let zones = match config.scaling.cloud {
            CloudKind::Ec2 => config.scaling.ec2.subnets.len() as u64,
            _ => 1,
        };
        let mut limits = Limits::new(&config.scaling, config.room.size, zones);
        for kind in &config.scaling.types {
            if let Some(price) = cloud.price(&kind.name).await {
                limits.price(&kind.name, price);
            }
        }
        let orders = Arc::new(Orders { leader: Arc::clone(self), term });
        let user_data = Arc::clone(user_data);
        let user_data = Box::new(move |number| user_data.of(number));
        let mesh = &config.mesh.name;
        let mut reconciler =
            Reconciler::new(mesh, Arc::clone(cloud), orders, limits, Planner::new(rand::random()), user_data);
        reconciler.inherit(self.settled());
        let mut view = self.mesh.view();
        let interval = Duration::from_secs_f64(config.scaling.interval_s);
        loop {
            let now = view.borrow_and_update().clone();
            let waiting = waiting(&now);
            let outcome = reconciler.look(&now, Instant::now(), SystemTime::now()).await;
            self.say(|lead| {
                lead.grows = outcome.plan.grows;
                // Where nothing is on its way and nothing can be, those who wait are told so.
                let comes = outcome.plan.grows || outcome.plan.booting > 0;
                lead.eta_s = if comes { outcome.plan.eta_s } else { 0 };
            });
            self.keep(outcome);
            tokio::time::sleep(AT_LEAST).await;
            // Somebody who waits is heard at once.
            let more = view.wait_for(|view| self::waiting(view) > waiting);
            let _ = tokio::time::timeout(interval.saturating_sub(AT_LEAST), more).await;
        }
    }

    fn keep(&self, mut outcome: Outcome) {
        let at_ms = now_ms();
        let mut last = self.last.lock();
        for step in &outcome.done {
            if last.steps.len() >= STEPS {
                last.steps.pop_front();
            }
            last.steps.push_back(ScalingStep { at_ms, step: step.to_string() });
        }
        if let Some(alarm) = &outcome.plan.alarm
            && last.outcome.as_ref().is_none_or(|before| before.plan.alarm.as_ref() != Some(alarm))
        {
            tracing::error!(alarm, "scaling needs somebody to look at it");
        }
        if let Some(machines) = outcome.machines.take() {
            last.machines = machines;
        }
        last.outcome = Some(outcome);
    }
}

fn waiting(view: &View) -> u32 {
    view.nodes.values().map(|node| node.queue.joins).fold(0, u32::saturating_add)
}

/// As configured; an attempt may take as long as it does by default, but a renewal must be through in time.
fn timing(config: &Config) -> Timing {
    let lease = Duration::from_secs_f64(config.election.lease_s);
    let lease = Duration::from_millis(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
    let (early, renew) = (lease / 10, Duration::from_secs_f64(config.election.renew_s));
    let usual = Timing::default();
    let patience = usual.patience.min(lease.saturating_sub(early + renew) / 2);
    Timing { lease, early, renew, patience, back_off: usual.back_off.min(lease / 4) }
}

fn election(config: &Config) -> Result<Election, ElectionError> {
    let timing = timing(config);
    let voters = config.election.voters.clone();
    Election::new(&config.node.id, voters, timing, Duration::ZERO, now_ms(), rand::random())
}

/// What the leader of one term has done to nodes.
struct Orders {
    leader: Arc<Leader>,
    term: Term,
}

#[async_trait]
impl Nodes for Orders {
    async fn drain(&self, node: &NodeId, on: bool) -> bool {
        let call = Call::Drain { on, deadline_s: None, force: false };
        match self.leader.mesh.call(node, call, ORDER).await {
            Ok(Reply::Done) => true,
            Ok(other) => {
                tracing::warn!(%node, on, ?other, "a node does not take the order to drain");
                false
            }
            Err(error) => {
                tracing::warn!(%node, on, %error, "a node does not hear the order to drain");
                false
            }
        }
    }

    fn leads(&self) -> bool {
        self.leader.term() == Some(self.term)
    }

    fn announce(&self, launched: u64) {
        self.leader.announce(launched);
    }
}
