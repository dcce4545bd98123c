//! What exists, what is wanted, one step: the leader's loop around the plan.
//!
//! Nothing is written down. What exists is the cloud's list, joined with gossip and with what this leader asked for and
//! no list has shown yet; so a leader that dies between two calls leaves nothing that the next one does not find. A launch
//! whose answer was lost is made again under the same number, which gives the same machine.

#[cfg(test)]
mod tests;

use super::cloud::{Cloud, CloudError, Launch, Machine, MachineId, MachineState, node_of, number_of};
use super::overview;
use super::plan::{Flight, Limits, MachineSeen, NodeSeen, Plan, Planner, Queued, Seen, Step};
use crate::mesh::View;
use async_trait::async_trait;
use skein_proto::capacity::{Cost, REFERENCE};
use skein_proto::gossip::Queue;
use skein_proto::ids::NodeId;
use skein_proto::operator::{NodeState, ScalingMachine};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What the cloud said it launched is waited for in its list for so long.
const UNLISTED: Duration = Duration::from_secs(600);
/// So many launches of others may be hidden from a list at most.
const HIDDEN: u64 = 32;
/// So many nodes a machine is told of to join through.
const SEEDS: usize = 8;
/// Lists may be so old: what was there is not gone because one list does not have it.
pub const SETTLE: Duration = Duration::from_secs(60);

/// What the leader can have done to nodes.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Has a node drain, or take peers again. Says whether it took the order.
    async fn drain(&self, node: &NodeId, on: bool) -> bool;
    /// Whether this node holds the lease still. Asked before each call that changes anything.
    fn leads(&self) -> bool;
    /// Tells the others that a number is used.
    fn announce(&self, launched: u64);
}

/// Brings about what the plan wants.
pub struct Reconciler {
    mesh: String,
    cloud: Arc<dyn Cloud>,
    nodes: Arc<dyn Nodes>,
    limits: Limits,
    planner: Planner,
    user_data: Box<dyn Fn(u64) -> String + Send + Sync>,
    flights: BTreeMap<u64, Asked>,
    /// By the number of the launch: as it was listed last, and when.
    listed: BTreeMap<u64, (Machine, Instant)>,
    /// By the number of the launch: when gossip last had its node.
    heard: HashMap<u64, Instant>,
    /// By node: what its figures were, and since when.
    figures: HashMap<NodeId, (u64, u64, Instant)>,
    launched: u64,
    /// Up to here it is known of each number whether there is a machine.
    known: u64,
    /// What was said already, so that one trouble is logged once.
    troubles: BTreeSet<String>,
}

/// A launch that was asked for.
struct Asked {
    kind: String,
    at: Instant,
    /// Until when it is waited for in the cloud's list.
    until: Instant,
    /// Whether it is not to be asked for again: the cloud answered, or it is another's.
    answered: bool,
}

/// What a look came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was planned.
    pub plan: Plan,
    /// What of it was done.
    pub done: Vec<Step>,
    /// The machines that there were before; none where the cloud's list was missing.
    pub machines: Option<Vec<ScalingMachine>>,
}

impl Reconciler {
    /// `user_data` makes what a machine needs of the number of its launch, and nothing else.
    pub fn new(
        mesh: &str,
        cloud: Arc<dyn Cloud>,
        nodes: Arc<dyn Nodes>,
        limits: Limits,
        planner: Planner,
        user_data: Box<dyn Fn(u64) -> String + Send + Sync>,
    ) -> Self {
        Self {
            mesh: mesh.to_owned(),
            cloud,
            nodes,
            limits,
            planner,
            user_data,
            flights: BTreeMap::new(),
            listed: BTreeMap::new(),
            heard: HashMap::new(),
            figures: HashMap::new(),
            launched: 0,
            known: 0,
            troubles: BTreeSet::new(),
        }
    }

    /// Takes over from an earlier leader: numbers up to `settled` are old enough that the cloud lists what there is of
    /// them.
    pub fn inherit(&mut self, settled: u64) {
        self.known = self.known.max(settled);
        self.launched = self.launched.max(settled);
    }

    /// Counts what others may have launched and the list does not show yet. A list is put together of answers that are
    /// of different age: one that has 3 and 5 may hide a 4.
    fn count_hidden(&mut self, now: Instant, wall: SystemTime) {
        let listed = || self.listed.values().map(|(machine, _)| machine);
        // Numbers go up: what is older than a machine that must be listed must be listed too, or is gone.
        let is_old = |machine: &&Machine| {
            let age = machine.launched.and_then(|at| wall.duration_since(at).ok());
            age.is_some_and(|age| age >= SETTLE)
        };
        let visible = listed().filter(is_old).map(|machine| machine.number).max().unwrap_or_default();
        let first = self.known.max(visible).max(self.launched.saturating_sub(HIDDEN)) + 1;
        for number in (first..=self.launched).filter(|number| !self.listed.contains_key(number)) {
            if let Some(kind) = self.limits.kind_at(number) {
                let asked = Asked { kind: kind.name.clone(), at: now, until: now + SETTLE, answered: true };
                self.flights.entry(number).or_insert(asked);
            }
        }
        self.known = self.launched;
    }

    /// Looks once, and does what there is to do. `now` is this process' clock, `wall` the one that the cloud's is compared
    /// with.
    pub async fn look(&mut self, view: &View, now: Instant, wall: SystemTime) -> Outcome {
        let listed = match self.cloud.list().await {
            Ok(machines) => {
                self.trouble_over("list");
                Some(self.settled(machines, now))
            }
            Err(error) => {
                self.trouble("list", &error);
                None
            }
        };
        let seen = self.seen(view, listed.as_deref(), now, wall);
        let plan = self.planner.plan(now, &seen, &self.limits);
        let alive = view.nodes.values().filter(|node| node.state == NodeState::Alive);
        self.cloud.set_seeds(&alive.map(|node| node.addr).take(SEEDS).collect::<Vec<_>>());
        let machines = overview::machines(&self.mesh, &seen);
        let mut done = Vec::new();
        self.launch_again(now).await;
        let ids: BTreeMap<u64, MachineId> =
            listed.iter().flatten().map(|machine| (machine.number, machine.id.clone())).collect();
        for step in &plan.steps {
            if !self.nodes.leads() {
                break;
            }
            if self.take(step, &ids, now).await {
                tracing::info!(step = %step, "scaling");
                done.push(step.clone());
            } else if matches!(step, Step::Launch { .. }) {
                // A number that was not used is the next one again: a gap could be filled by another leader.
                break;
            }
        }
        Outcome { plan, done, machines }
    }

    /// A list with what was in one before, not long ago: each machine is shown as it was at a time of its own, so one
    /// that was there may be missing again.
    fn settled(&mut self, machines: Vec<Machine>, now: Instant) -> Vec<Machine> {
        for machine in machines {
            self.listed.insert(machine.number, (machine, now));
        }
        self.listed.retain(|_, (_, at)| now.saturating_duration_since(*at) < SETTLE);
        self.listed.values().map(|(machine, _)| machine.clone()).collect()
    }

    fn seen(&mut self, view: &View, listed: Option<&[Machine]>, now: Instant, wall: SystemTime) -> Seen {
        let kinds: HashMap<u64, &str> = listed
            .unwrap_or_default()
            .iter()
            .map(|machine| (machine.number, machine.kind.as_str()))
            .collect();
        let listed_highest = kinds.keys().copied().max().unwrap_or_default();
        let gossiped = view.nodes.values().map(|node| node.lead.launched).max().unwrap_or_default();
        self.launched = self.launched.max(listed_highest).max(gossiped);
        if listed.is_some() || !self.listed.is_empty() {
            self.count_hidden(now, wall);
        }
        self.figures.retain(|id, _| view.nodes.contains_key(id));
        let mut nodes = Vec::new();
        for member in view.nodes.values() {
            let figures = (member.generation, member.load.said);
            let entry = self.figures.entry(member.id.clone()).or_insert((figures.0, figures.1, now));
            if (entry.0, entry.1) != figures {
                *entry = (figures.0, figures.1, now);
            }
            // A name alone makes no machine of ours: somebody may have called a node of his own so.
            let number = number_of(&self.mesh, &member.id).filter(|number| self.listed.contains_key(number));
            if let Some(number) = number {
                self.heard.insert(number, now);
            }
            nodes.push(NodeSeen {
                id: member.id.clone(),
                number,
                kind: number.and_then(|number| kinds.get(&number)).map(|kind| (*kind).to_owned()),
                phase: member.phase,
                free: member.load.free_streams(),
                total: member.load.total_streams(),
                peers: member.load.peers,
                rooms: member.load.rooms,
                joined: member.load.joined,
                figures_age: now.saturating_duration_since(entry.2),
                suspect: member.state == NodeState::Suspect,
            });
        }
        if listed.is_some() {
            let is_there = |number: &u64| kinds.contains_key(number);
            // A machine that was to be started is there all along.
            let rests =
                |machine: &&Machine| matches!(machine.state, MachineState::Stopping | MachineState::Stopped);
            let resting: BTreeSet<u64> =
                listed.into_iter().flatten().filter(rests).map(|machine| machine.number).collect();
            self.flights
                .retain(|number, asked| (!is_there(number) || resting.contains(number)) && now < asked.until);
            self.heard.retain(|number, at| is_there(number) || *at == now);
        }
        let machine = |machine: &Machine| MachineSeen {
            number: machine.number,
            kind: machine.kind.clone(),
            state: machine.state,
            age: machine.launched.and_then(|at| wall.duration_since(at).ok()).unwrap_or_default(),
            last_in_gossip: self.heard.get(&machine.number).map(|at| now.saturating_duration_since(*at)),
        };
        Seen {
            machines: listed.map(|listed| listed.iter().map(machine).collect()),
            flights: self
                .flights
                .iter()
                .map(|(number, asked)| Flight {
                    number: *number,
                    kind: asked.kind.clone(),
                    age: now.saturating_duration_since(asked.at),
                })
                .collect(),
            queue: queued(view.nodes.values().map(|member| &member.queue)),
            launched: self.launched,
            nodes,
        }
    }

    /// Launches once more what may have been launched: the answer never came.
    async fn launch_again(&mut self, now: Instant) {
        let unanswered: Vec<_> = self
            .flights
            .iter()
            .filter(|(_, asked)| !asked.answered)
            .map(|(number, asked)| (*number, asked.kind.clone()))
            .collect();
        for (number, kind) in unanswered {
            if self.nodes.leads() {
                self.launch(number, &kind, now).await;
            }
        }
    }

    async fn launch(&mut self, number: u64, kind: &str, now: Instant) -> bool {
        let node = match node_of(&self.mesh, number) {
            Ok(node) => node,
            Err(error) => {
                self.trouble("launch", &error);
                return false;
            }
        };
        let launch = Launch { number, node, kind: kind.to_owned(), user_data: (self.user_data)(number) };
        let repeated = self.flights.contains_key(&number);
        // Counted before it is asked for: the answer may get lost.
        let asked = Asked { kind: kind.to_owned(), at: now, until: now + UNLISTED, answered: false };
        self.flights.entry(number).or_insert(asked);
        let launched = self.cloud.launch(&launch).await;
        let unused = matches!(
            launched,
            Err(CloudError::Throttled(_) | CloudError::NoCapacity(_) | CloudError::Refused(_))
        );
        if !unused {
            // Said afterwards: another leader meanwhile takes the same number, and so gets the same machine, where a number
            // that was said and not used would have it take the next.
            self.launched = self.launched.max(number);
            self.known = self.known.max(number);
            self.nodes.announce(self.launched);
        }
        match launched {
            Ok(_) => {
                if let Some(asked) = self.flights.get_mut(&number) {
                    asked.answered = true;
                }
                self.trouble_over("launch");
                true
            }
            // There is or was such a machine, whoever made it; a list will tell.
            Err(error @ CloudError::Taken(_)) => {
                self.trouble("launch", &error);
                if let Some(asked) = self.flights.get_mut(&number) {
                    asked.answered = true;
                }
                false
            }
            Err(error @ CloudError::Unreachable(_)) => {
                self.trouble("launch", &error);
                true
            }
            // That nothing was done now says nothing of the time before.
            Err(error @ (CloudError::Throttled(_) | CloudError::Refused(_))) if repeated => {
                self.trouble("launch", &error);
                false
            }
            Err(error) => {
                self.trouble("launch", &error);
                self.flights.remove(&number);
                self.planner.failed(number, (&error).into(), &self.limits, now);
                false
            }
        }
    }

    /// Takes one step. Says whether it was taken.
    async fn take(&mut self, step: &Step, ids: &BTreeMap<u64, MachineId>, now: Instant) -> bool {
        let id = ids.get(&step.number());
        let (what, taken) = match (step, id) {
            (Step::Launch { number, kind, .. }, _) => return self.launch(*number, kind, now).await,
            (Step::Start { number, kind, .. }, Some(id)) => {
                let asked = Asked { kind: kind.clone(), at: now, until: now + UNLISTED, answered: true };
                self.flights.insert(*number, asked);
                let started = self.cloud.start(id).await;
                if started.as_ref().is_err_and(|error| !matches!(error, CloudError::Unreachable(_))) {
                    self.flights.remove(number);
                }
                ("start", started)
            }
            (Step::Drain { node, .. }, _) => return self.nodes.drain(node, true).await,
            (Step::Undrain { node, .. }, _) => return self.nodes.drain(node, false).await,
            // The plan names only what is listed.
            (_, None) => return false,
            (Step::Stop { .. }, Some(id)) => ("stop", self.cloud.stop(id).await),
            (Step::Retire { .. } | Step::Terminate { .. }, Some(id)) => {
                ("terminate", self.cloud.terminate(id).await)
            }
        };
        match taken {
            Ok(()) => {
                self.trouble_over(what);
                true
            }
            Err(error) => {
                self.trouble(what, &error);
                self.planner.failed(step.number(), (&error).into(), &self.limits, now);
                false
            }
        }
    }

    /// Logs what goes wrong when it begins, not each time that it goes on.
    fn trouble(&mut self, what: &str, error: &dyn std::fmt::Display) {
        if self.troubles.insert(what.to_owned()) {
            tracing::warn!(%error, "the cloud does not {what}");
        }
    }

    fn trouble_over(&mut self, what: &str) {
        if self.troubles.remove(what) {
            tracing::info!("the cloud does {what} again");
        }
    }
}

/// All who wait, in reference streams.
fn queued<'a>(queues: impl Iterator<Item = &'a Queue>) -> Queued {
    let mut all = Queue::default();
    for queue in queues {
        all.joins = all.joins.saturating_add(queue.joins);
        all.cost += queue.cost;
        all.guaranteed = all.guaranteed.max(queue.guaranteed);
    }
    let streams = |cost: Cost| {
        let needed = cost.packets.div_ceil(REFERENCE.packets).max(cost.bits.div_ceil(REFERENCE.bits));
        u32::try_from(needed).unwrap_or(u32::MAX)
    };
    Queued { joins: all.joins, streams: streams(all.cost), guaranteed: streams(all.guaranteed) }
}
