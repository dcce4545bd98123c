//! Which machine was launched with whom in mind.

use super::demand::Visit;
use super::fleet::{Fleet, State};
use std::collections::{BTreeMap, VecDeque};

/// For each of those who wait, the machine that was launched with them in mind: after each decision whoever has none yet,
/// in the order in which they wait, gets the one that was launched first of those that boot and are not promised in full to
/// others. It stays theirs, whoever takes the place on it in the end. Only one that has ended is replaced by another.
#[derive(Debug, Clone, Default)]
pub struct Promises {
    machines: BTreeMap<u32, u64>,
}

impl Promises {
    /// Promises machines that boot to those who wait and have none.
    pub fn make(&mut self, waiting: &VecDeque<u32>, visits: &[Visit], fleet: &Fleet) {
        if waiting.is_empty() {
            return;
        }
        let there =
            |number: &u64| fleet.machines.get(number).is_some_and(|machine| machine.state != State::Ended);
        self.machines.retain(|_, number| there(number));
        let streams = |peer: &u32| visits.get(*peer as usize).map_or(0, |visit| visit.streams);
        let mut left: BTreeMap<u64, u32> =
            fleet.in_state(State::Booting).map(|(number, _)| (number, fleet.spec.streams)).collect();
        for (peer, number) in &self.machines {
            if let Some(left) = left.get_mut(number) {
                *left = left.saturating_sub(streams(peer));
            }
        }
        for peer in waiting {
            if self.machines.contains_key(peer) {
                continue;
            }
            let needs = streams(peer);
            if let Some((number, left)) = left.iter_mut().find(|(_, left)| **left >= needs) {
                *left -= needs;
                self.machines.insert(*peer, *number);
            }
        }
    }

    /// Who has waited is placed, or gives up. The machine that was theirs.
    pub fn kept(&mut self, peer: u32) -> Option<u64> {
        self.machines.remove(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::machines::fleet::Spec;
    use std::time::Duration;

    #[test]
    fn a_machine_is_promised_to_as_many_as_it_carries() {
        let boot = Duration::from_secs(60);
        let mut fleet = Fleet::new(Spec { streams: 10, price: 1.0, boot, failures: 0.0, most: 9 });
        let visits = [Visit { at: Duration::ZERO, stays: boot, streams: 4 }; 6];
        let waiting: VecDeque<u32> = (0..6).collect();
        let mut promises = Promises::default();
        promises.make(&waiting, &visits, &fleet);
        assert_eq!(promises.kept(0), None, "none boots");
        fleet.launch(1, Duration::ZERO, Some(boot));
        fleet.launch(2, Duration::ZERO, Some(boot * 2));
        promises.make(&waiting, &visits, &fleet);
        fleet.boot(boot);
        promises.make(&waiting, &visits, &fleet);
        assert_eq!(promises.machines, BTreeMap::from([(0, 1), (1, 1), (2, 2), (3, 2)]));
        // What was promised and is gone is promised anew.
        fleet.end(2, boot);
        fleet.launch(3, boot, Some(boot * 2));
        assert_eq!(promises.kept(0), Some(1));
        promises.make(&waiting, &visits, &fleet);
        assert_eq!(promises.machines, BTreeMap::from([(0, 3), (1, 1), (2, 3)]));
    }
}
