//! Leaders that only launch: the least that keeps the fence, and one that does not.

use super::{Known, Leader};
use crate::scaler::cloud::fake::FakeCloud;
use crate::scaler::cloud::{Cloud, CloudError, Launch, Machine, MachineState, node_of, number_of};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// The launch of a number; all leaders of a mesh make the same.
fn launch(number: u64) -> Launch {
    Launch {
        number,
        node: node_of("m", number).expect("a name"),
        kind: if number.is_multiple_of(2) { "large" } else { "small" }.to_owned(),
        user_data: format!("SKEIN_NUMBER={number}"),
    }
}

fn ended(machine: &Machine) -> bool {
    matches!(machine.state, MachineState::Terminating | MachineState::Terminated)
}

/// Counts each number up to the highest as a machine, unless it is known to be gone.
pub struct Minimal {
    cloud: Arc<FakeCloud>,
    /// Numbers that give no machine any more.
    gone: BTreeSet<u64>,
    /// Numbers of machines that it saw or that a launch was answered with.
    seen: BTreeMap<u64, SystemTime>,
}

impl Minimal {
    pub fn new(cloud: Arc<FakeCloud>) -> Self {
        Self { cloud, gone: BTreeSet::new(), seen: BTreeMap::new() }
    }

    /// The lowest number that is neither seen nor gone.
    fn next(&self) -> u64 {
        (1..).find(|number| !self.gone.contains(number) && !self.seen.contains_key(number)).unwrap_or(1)
    }
}

#[async_trait]
impl Leader for Minimal {
    async fn round(&mut self, known: &Known) {
        let Ok(list) = self.cloud.list().await else { return };
        let settled = |since: SystemTime| since + known.settle < known.now;
        for machine in &list {
            if ended(machine) {
                self.gone.insert(machine.number);
            } else if let Some(launched) = machine.launched {
                self.seen.insert(machine.number, launched);
            }
        }
        // Who is in the mesh has a machine, listed or not.
        for number in known.joined.iter().filter_map(|node| number_of("m", node)) {
            self.seen.entry(number).or_insert(known.now);
        }
        // Numbers go up: what is older than a machine that must be visible must be visible too, or is gone.
        let old = |machine: &&Machine| machine.launched.is_some_and(settled);
        let visible = list.iter().filter(old).map(|machine| machine.number).max().unwrap_or(0);
        let listed: BTreeSet<u64> = list.iter().map(|machine| machine.number).collect();
        let since = &self.seen;
        let lost = (1..=visible)
            .filter(|number| !listed.contains(number))
            .filter(|number| since.get(number).is_none_or(|at| settled(*at)));
        self.gone.extend(lost);
        self.seen.retain(|number, _| !self.gone.contains(number));
        while self.seen.len() < known.wanted {
            let number = self.next();
            match self.cloud.launch(&launch(number)).await {
                Ok(machine) => {
                    self.seen.insert(number, machine.launched.unwrap_or(known.now));
                }
                Err(CloudError::UsedUp(_)) => {
                    self.gone.insert(number);
                }
                Err(CloudError::Taken(_)) => {
                    self.seen.insert(number, known.now);
                }
                // Nothing is known of this number: it is the same number that is asked for again.
                Err(_) => return,
            }
        }
    }
}

/// Takes the list for the truth, and the number after the highest.
pub struct Naive {
    cloud: Arc<FakeCloud>,
}

impl Naive {
    pub fn new(cloud: Arc<FakeCloud>) -> Self {
        Self { cloud }
    }
}

#[async_trait]
impl Leader for Naive {
    async fn round(&mut self, known: &Known) {
        let Ok(list) = self.cloud.list().await else { return };
        let alive = list.iter().filter(|machine| !ended(machine)).count();
        let highest = list.iter().map(|machine| machine.number).max().unwrap_or(0);
        for number in highest + 1..=highest + known.wanted.saturating_sub(alive) as u64 {
            if self.cloud.launch(&launch(number)).await.is_err() {
                return;
            }
        }
    }
}
