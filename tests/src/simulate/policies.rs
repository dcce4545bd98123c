//! The policies there are, by name.

use super::fixed_room::FixedRoom;
use super::least_stress::LeastStress;
use super::policy::MakePolicy;
use super::single_node::SingleNode;
use super::skein;

/// A policy that can be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// What it is called.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Makes one.
    pub make: MakePolicy,
}

/// All of them, in the order in which results are shown.
pub const ALL: &[Known] = &[
    Known { name: "skein", about: "what the mesh's nodes do, by their own code", make: skein::make },
    Known {
        name: "fixed-room",
        about: "a room reserves its full size when it begins, on one node or spilling over to others",
        make: FixedRoom::make,
    },
    Known {
        name: "single-node",
        about: "a room lives on one node, chosen at random among those below 90 % load (LiveKit)",
        make: SingleNode::make,
    },
    Known {
        name: "least-stress",
        about: "each join goes to the node under the least stress, by figures 5 s old; none is refused (Jitsi)",
        make: LeastStress::make,
    },
];

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::demand::Audience;
    use crate::simulate::policy::{MeshSpec, Outcome, Sample};
    use crate::simulate::workload::{Event, EventKind, named};
    use std::time::Duration;

    /// Runs a workload and compares what the policy says it delivers with what those it admitted should receive.
    fn audit(known: &Known, events: impl Iterator<Item = Event>, mesh: &MeshSpec) {
        let mut policy = (known.make)(mesh, 5);
        let mut audience = Audience::default();
        let (mut left, mut last) = (0_u32, Duration::ZERO);
        for event in events {
            last = event.at;
            policy.advance(event.at);
            match event.kind {
                EventKind::Join { room, media } => {
                    if let Outcome::Admitted { .. } = policy.join(event.at, &room, event.peer, media) {
                        audience.apply(&event);
                    }
                }
                EventKind::Change(media) if audience.contains(event.peer) => {
                    policy.change(event.at, event.peer, media);
                    audience.apply(&event);
                }
                EventKind::Leave if audience.contains(event.peer) => {
                    policy.leave(event.at, event.peer);
                    audience.apply(&event);
                    left += 1;
                }
                _ => {}
            }
            let sample = policy.sample();
            // The mesh lets nobody send for whom there is no room: who is promoted may have to wait.
            let waits = known.name == "skein" && sample.delivered <= audience.delivered();
            assert!(waits || sample.delivered == audience.delivered(), "{} at {:?}", known.name, event.at);
            assert!(sample.spent >= sample.delivered + sample.piped);
            assert!(sample.highest_node <= sample.spent);
        }
        assert!(left > 0, "{}: nobody was admitted", known.name);
        // Pipes may linger for a while.
        policy.advance(last + Duration::from_secs(3600));
        assert_eq!(Sample { moves: 0, ..policy.sample() }, Sample::default(), "everybody has left");
    }

    #[test]
    fn no_policy_loses_a_peer() {
        for known in ALL {
            for (name, rooms) in [("burst", 40), ("churn", 6), ("contact-centre", 80), ("webinars", 1)] {
                let workload = named::find(name).expect("is known");
                audit(known, workload.events(rooms, 3), &MeshSpec::of_streams(5, 2, 60));
            }
        }
    }

    #[test]
    fn names_are_found() {
        for known in ALL {
            assert_eq!(find(known.name).map(|found| found.about), Some(known.about));
            assert_eq!((known.make)(&MeshSpec::of_streams(1, 1, 40), 1).name(), known.name);
        }
        assert!(find("nobody").is_none());
    }
}
