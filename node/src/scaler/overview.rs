//! The machines that the leader launched, as operators see them.

use super::cloud::{MachineState as InCloud, node_of};
use super::plan::Seen;
use skein_proto::gossip::Phase;
use skein_proto::operator::{MachineState, ScalingMachine};
use std::collections::BTreeMap;
use std::time::Duration;

/// All that are not gone, by their numbers; none where the cloud's list is missing.
pub(super) fn machines(mesh: &str, seen: &Seen) -> Option<Vec<ScalingMachine>> {
    let listed = seen.machines.as_ref()?;
    let phases: BTreeMap<_, _> =
        seen.nodes.iter().filter_map(|node| Some((node.number?, node.phase))).collect();
    let asked = seen.flights.iter().map(|flight| {
        // What is asked for and listed all the same is a stopped machine that is to be started.
        (flight.number, (flight.kind.as_str(), MachineState::Starting, flight.age))
    });
    let listed = listed.iter().filter_map(|machine| {
        let state = match (machine.state, phases.get(&machine.number)) {
            (InCloud::Terminated, _) => return None,
            (InCloud::Terminating, _) => MachineState::Ending,
            (InCloud::Stopping | InCloud::Stopped, _) => MachineState::Stopped,
            (_, Some(Phase::Ready)) => MachineState::Serving,
            (_, Some(Phase::Draining | Phase::Leaving)) => MachineState::Draining,
            (_, Some(Phase::Starting)) => MachineState::Starting,
            (_, None) if machine.last_in_gossip.is_some() => MachineState::Lost,
            (InCloud::Pending | InCloud::Running, None) => MachineState::Starting,
        };
        Some((machine.number, (machine.kind.as_str(), state, machine.age)))
    });
    let all: BTreeMap<_, _> = listed.chain(asked).collect();
    Some(
        all.into_iter()
            .filter_map(|(number, (kind, state, age))| shown(mesh, number, kind, state, age))
            .collect(),
    )
}

fn shown(mesh: &str, number: u64, kind: &str, state: MachineState, age: Duration) -> Option<ScalingMachine> {
    let age_s = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
    // The mesh's name makes names, or nothing could have been launched.
    Some(ScalingMachine { node: node_of(mesh, number).ok()?, kind: kind.to_owned(), state, age_s })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaler::plan::{Flight, MachineSeen, NodeSeen};

    const AGE: Duration = Duration::from_secs(90);

    fn machine(number: u64, state: InCloud, last_in_gossip: Option<Duration>) -> MachineSeen {
        MachineSeen { number, kind: "m".to_owned(), state, age: AGE, last_in_gossip }
    }

    fn node(number: Option<u64>, phase: Phase) -> NodeSeen {
        NodeSeen {
            id: format!("n-{}", number.unwrap_or_default()).parse().expect("a name"),
            number,
            kind: None,
            phase,
            free: 0,
            total: 0,
            peers: 0,
            rooms: 0,
            joined: 0,
            figures_age: Duration::ZERO,
            suspect: false,
        }
    }

    #[test]
    fn a_machine_is_what_its_cloud_and_its_node_say_together() {
        let here = Some(Duration::ZERO);
        let listed = vec![
            machine(1, InCloud::Running, here),
            machine(2, InCloud::Running, here),
            machine(3, InCloud::Running, here),
            machine(4, InCloud::Running, None),
            machine(5, InCloud::Pending, None),
            machine(6, InCloud::Running, Some(AGE)),
            machine(7, InCloud::Stopped, None),
            machine(8, InCloud::Terminating, here),
            machine(9, InCloud::Terminated, None),
            machine(10, InCloud::Stopped, None),
        ];
        let nodes = [(1, Phase::Ready), (2, Phase::Draining), (3, Phase::Starting), (8, Phase::Leaving)];
        let nodes = nodes.map(|(number, phase)| node(Some(number), phase));
        let asked = |number| Flight { number, kind: "m".to_owned(), age: Duration::from_secs(2) };
        let seen = Seen {
            machines: Some(listed),
            nodes: nodes.into_iter().chain([node(None, Phase::Ready)]).collect(),
            flights: vec![asked(10), asked(11)],
            ..Seen::default()
        };
        let shown = machines("dev", &seen).expect("there is a list");
        let shown: Vec<_> =
            shown.iter().map(|machine| (machine.node.as_str(), machine.state, machine.age_s)).collect();
        let expected = [
            ("dev-1", MachineState::Serving, 90),
            ("dev-2", MachineState::Draining, 90),
            ("dev-3", MachineState::Starting, 90),
            ("dev-4", MachineState::Starting, 90),
            ("dev-5", MachineState::Starting, 90),
            ("dev-6", MachineState::Lost, 90),
            ("dev-7", MachineState::Stopped, 90),
            ("dev-8", MachineState::Ending, 90),
            ("dev-10", MachineState::Starting, 2),
            ("dev-11", MachineState::Starting, 2),
        ];
        assert_eq!(shown, expected);
        assert_eq!(machines("dev", &Seen { machines: None, ..seen }), None);
    }
}
