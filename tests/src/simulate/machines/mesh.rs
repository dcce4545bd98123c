//! `skein`: what the mesh's leader does, by its own plan.

use super::fleet::{Fit, Fleet, Machine, Spec, State};
use super::scaler::{Action, Manners, Scaler, Waiting};
use skein_bootstrap::config::{MachineType, Room, Scaling};
use skein_node::scaler::cloud::MachineState;
use skein_node::scaler::plan::{Limits, MachineSeen, NodeSeen, Planner, Queued, Seen, Step};
use skein_proto::gossip::Phase;
use skein_proto::ids::NodeId;
use std::time::{Duration, Instant};

/// The name of the only type.
const KIND: &str = "machine";
/// How many peers a draining node moves a second.
const MOVES: usize = 50;

/// The mesh's own plan, with the configuration's defaults.
pub struct Mesh {
    planner: Planner,
    limits: Limits,
    scaling: Scaling,
    begun: Instant,
    grows: bool,
    launched: u64,
}

impl Mesh {
    /// For machines like this.
    pub fn make(spec: &Spec, _highest: u64, seed: u64) -> Box<dyn Scaler> {
        let kind = MachineType {
            name: KIND.to_owned(),
            streams: spec.streams,
            workers: 1,
            price: spec.price,
            boot_s: spec.boot.as_secs_f64(),
        };
        let scaling = Scaling { max_nodes: spec.most, types: vec![kind], ..Scaling::default() };
        let limits = Limits::new(&scaling, Room::default().size, 1);
        let begun = Instant::now();
        Box::new(Self { planner: Planner::new(seed), limits, scaling, begun, grows: true, launched: 0 })
    }
}

fn node(number: u64, machine: &Machine, total: u32) -> Option<NodeSeen> {
    let phase = match machine.state {
        State::Ready => Phase::Ready,
        State::Draining => Phase::Draining,
        State::Booting | State::Ended => return None,
    };
    let id: NodeId = format!("mesh-{number}").parse().ok()?;
    let launched = number > 0;
    Some(NodeSeen {
        id,
        number: launched.then_some(number),
        kind: launched.then(|| KIND.to_owned()),
        phase,
        free: total.saturating_sub(machine.used),
        total,
        peers: u32::try_from(machine.peers()).unwrap_or(u32::MAX),
        rooms: 0,
        joined: machine.joined,
        figures_age: Duration::ZERO,
        suspect: false,
    })
}

impl Scaler for Mesh {
    fn manners(&self) -> Manners {
        let patience = Duration::from_secs_f64(self.scaling.patience_s);
        Manners { fit: Fit::Fullest, patience, moves: MOVES }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.scaling.interval_s)
    }

    fn decide(&mut self, now: Duration, fleet: &Fleet, waiting: Waiting) -> Vec<Action> {
        let machines = fleet.present().filter(|(number, _)| *number > 0).map(|(number, machine)| {
            let here = matches!(machine.state, State::Ready | State::Draining);
            MachineSeen {
                number,
                kind: KIND.to_owned(),
                state: MachineState::Running,
                age: now.saturating_sub(machine.launched),
                last_in_gossip: here.then_some(Duration::ZERO),
            }
        });
        let nodes = fleet.present().filter_map(|(number, machine)| node(number, machine, fleet.spec.streams));
        let seen = Seen {
            nodes: nodes.collect(),
            machines: Some(machines.collect()),
            flights: Vec::new(),
            queue: Queued { joins: waiting.joins, streams: waiting.streams, guaranteed: 0 },
            launched: self.launched,
        };
        let plan = self.planner.plan(self.begun + now, &seen, &self.limits);
        self.grows = plan.grows;
        let mut actions = Vec::new();
        for step in &plan.steps {
            actions.push(match step {
                Step::Launch { number, .. } => {
                    self.launched = self.launched.max(*number);
                    Action::Launch(*number)
                }
                Step::Drain { number, .. } => Action::Drain(*number),
                Step::Undrain { number, .. } => Action::Undrain(*number),
                Step::Retire { number, .. } | Step::Stop { number, .. } | Step::Terminate { number, .. } => {
                    Action::End(*number)
                }
                // No machine is kept stopped here.
                Step::Start { .. } => continue,
            });
        }
        actions
    }

    fn grows(&self) -> bool {
        self.grows
    }
}
