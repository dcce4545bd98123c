//! The task that keeps the view: it reads gossip and QUIC, publishes what follows, and dials who is missing.

use super::counters::count;
use super::membership::{self, Change, Heard};
use super::view::{Member, state};
use super::{Shared, gossip, limits};
use chitchat::{ChitchatHandle, ChitchatId, NodeState as Gossiped};
use serde::de::DeserializeOwned;
use skein_proto::gossip::{FACTS, Facts, LEAD, LOAD, Lead, Load, PHASE, Phase, QUEUE, Queue};
use std::collections::{BTreeMap, HashMap, hash_map};
use std::sync::Arc;
use std::time::Instant;
use tokio::time::MissedTickBehavior;

impl Shared {
    /// Runs until the mesh is shut down, and gossip ends with it.
    pub(super) async fn observe(self: Arc<Self>, gossip: ChitchatHandle, facts: Facts) {
        let mut live = gossip.with_chitchat(|chitchat| chitchat.live_nodes_watcher()).await;
        let mut links = self.peers.changed();
        let mut own = self.own.subscribe();
        // What was said before this task first ran has not been gossiped.
        own.mark_changed();
        let mut tick = tokio::time::interval(limits::OBSERVE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut greeted = Instant::now();
        let mut book = Book::default();
        loop {
            // The senders of all of these live as long as this task.
            tokio::select! {
                Ok(()) = live.changed() => {}
                Ok(()) = links.changed() => {}
                Ok(()) = own.changed() => self.publish_own(&gossip).await,
                _ = tick.tick() => {
                    let now = Instant::now();
                    self.peers.sweep(now);
                    if now.duration_since(greeted) >= limits::SEEDS_GREETED {
                        greeted = now;
                        self.greet_found(&gossip);
                    }
                }
                () = self.cancel.cancelled() => break,
            }
            links.mark_unchanged();
            let now = Instant::now();
            let heard = book.read(&live.borrow_and_update(), now, |id, problem| {
                count(&self.counters.gossip_decode_errors);
                if self.gossiped.first(id.node_id.clone(), now) {
                    tracing::warn!(node = %id.node_id, addr = %id.gossip_advertise_addr, problem, "bad gossip ignored");
                }
            });
            self.look(&facts, &heard, now);
        }
        if let Err(error) = gossip.shutdown().await {
            tracing::debug!(%error, "gossip ended with an error");
        }
    }

    /// Tells gossip what the node says about itself now. When that is that it leaves, everyone is told at once and
    /// not when their turn comes.
    async fn publish_own(&self, gossip: &ChitchatHandle) {
        let own = self.own.borrow().clone();
        if let Err(error) = gossip::publish(gossip, &own).await {
            tracing::error!(%error, "the own load cannot be gossiped");
        }
        if own.phase == Phase::Leaving {
            let view = self.view.borrow().clone();
            for member in view.nodes.values().filter(|member| member.id != self.id) {
                // Fails only when gossip has ended, which is noticed elsewhere.
                let _ = gossip.gossip(member.addr);
            }
        }
    }

    fn look(self: &Arc<Self>, facts: &Facts, heard: &[Heard], now: Instant) {
        let quic = self.peers.status();
        for each in heard {
            self.peers.locate(&each.id, each.generation, each.addr);
            if each.id == self.id
                && each.generation > self.generation
                && self.misbehaviour.first(self.id.clone(), now)
            {
                tracing::error!(node = %self.id, addr = %each.addr, "a later process uses this node's name");
            }
        }
        for (_, addr) in membership::wanted(&self.id, heard, &quic) {
            // Nothing to wait for: when it comes up, `links` says so.
            let _ = self.dial(addr);
        }
        let own = self.member(facts.clone());
        let before = self.view.borrow().clone();
        let after = membership::view(&own, heard, &quic, &before, now);
        for change in membership::changes(&before, &after) {
            log(&change);
        }
        if *before != after {
            self.view.send_replace(Arc::new(after));
        }
    }

    /// The own node, as it says it is.
    pub(super) fn member(&self, facts: Facts) -> Member {
        let own = self.own.borrow();
        Member {
            id: self.id.clone(),
            state: state(own.phase),
            addr: self.addr,
            generation: self.generation,
            facts,
            load: own.load.clone(),
            phase: own.phase,
            lead: own.lead,
            queue: own.queue,
        }
    }
}

fn log(change: &Change<'_>) {
    match change {
        Change::Joined(node) => {
            tracing::info!(node = %node.id, addr = %node.addr, state = ?node.state, "node joined");
        }
        Change::Restarted(node) => {
            tracing::info!(node = %node.id, addr = %node.addr, state = ?node.state, "node restarted");
        }
        Change::Became(node, before) => {
            tracing::info!(node = %node.id, state = ?node.state, ?before, "node changed");
        }
        Change::Gone(node) => tracing::info!(node = %node.id, addr = %node.addr, "node gone"),
    }
}

/// What live nodes gossip, read once for each change of it.
#[derive(Default)]
struct Book {
    entries: HashMap<ChitchatId, Entry>,
}

struct Entry {
    version: u64,
    /// None where the name is not a node's.
    heard: Option<Heard>,
    /// Since when the failure detector takes it for dead.
    silent_since: Option<Instant>,
}

impl Book {
    /// Everything that live nodes say, or said until less than [`limits::SILENCE`] ago, and the last that could be read
    /// where something cannot. `bad` hears of each value that cannot, once.
    fn read(
        &mut self,
        live: &BTreeMap<ChitchatId, Gossiped>,
        now: Instant,
        mut bad: impl FnMut(&ChitchatId, &str),
    ) -> Vec<Heard> {
        self.entries.retain(|id, entry| {
            entry.silent_since = (!live.contains_key(id)).then(|| entry.silent_since.unwrap_or(now));
            entry.silent_since.is_none_or(|since| now.duration_since(since) < limits::SILENCE)
        });
        for (id, gossiped) in live {
            let version = gossiped.max_version();
            let entry = match self.entries.entry(id.clone()) {
                hash_map::Entry::Occupied(entry) if entry.get().version == version => continue,
                hash_map::Entry::Occupied(entry) => entry.into_mut(),
                hash_map::Entry::Vacant(entry) => {
                    entry.insert(Entry { version, heard: heard(id, now), silent_since: None })
                }
            };
            entry.version = version;
            match &mut entry.heard {
                Some(heard) => heard.take(gossiped, |problem| bad(id, problem)),
                // No node that said hello has such a name: somebody made it up.
                None => bad(id, "its name is not a node's"),
            }
        }
        self.entries.values().filter_map(|entry| entry.heard.clone()).collect()
    }
}

fn heard(id: &ChitchatId, now: Instant) -> Option<Heard> {
    Some(Heard {
        id: id.node_id.parse().ok()?,
        generation: id.generation_id,
        addr: id.gossip_advertise_addr,
        facts: None,
        load: Load::default(),
        lead: Lead::default(),
        queue: Queue::default(),
        phase: None,
        since: now,
    })
}

impl Heard {
    /// Takes what can be read and keeps what it had for the rest.
    fn take(&mut self, gossiped: &Gossiped, mut bad: impl FnMut(&str)) {
        if let Some(facts) = value(gossiped, FACTS, &mut bad) {
            self.facts = Some(facts);
        }
        if let Some(load) = value(gossiped, LOAD, &mut bad) {
            self.load = load;
        }
        if let Some(lead) = value(gossiped, LEAD, &mut bad) {
            self.lead = lead;
        }
        if let Some(queue) = value(gossiped, QUEUE, &mut bad) {
            self.queue = queue;
        }
        if let Some(phase) = value(gossiped, PHASE, &mut bad) {
            self.phase = Some(phase);
        }
    }
}

fn value<T: DeserializeOwned>(gossiped: &Gossiped, key: &str, bad: &mut impl FnMut(&str)) -> Option<T> {
    match serde_json::from_str(gossiped.get(key)?) {
        Ok(value) => Some(value),
        Err(error) => {
            bad(&format!("{key}: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(free_bits: u64) -> String {
        serde_json::to_string(&Load { free_bits, ..Load::default() }).expect("JSON")
    }

    #[test]
    fn the_last_good_value_is_kept() {
        let id = ChitchatId::new("n1", 1, ([127, 0, 0, 1], 1).into());
        let mut gossiped = Gossiped::for_test();
        let mut book = Book::default();
        let mut read = |gossiped: &Gossiped| {
            let mut problems = Vec::new();
            let live = BTreeMap::from([(id.clone(), gossiped.clone())]);
            let mut heard = book.read(&live, Instant::now(), |_, problem| problems.push(problem.to_owned()));
            (heard.pop().expect("one node"), problems)
        };
        gossiped.set(LOAD, load(7));
        gossiped.set(PHASE, r#""ready""#);
        let (heard, problems) = read(&gossiped);
        assert_eq!((heard.load.free_bits, heard.phase, heard.facts), (7, Some(Phase::Ready), None));
        assert!(problems.is_empty());

        gossiped.set(LOAD, "{");
        gossiped.set(PHASE, r#""asleep""#);
        let (heard, problems) = read(&gossiped);
        assert_eq!((heard.load.free_bits, heard.phase), (7, Some(Phase::Ready)));
        assert_eq!(problems.len(), 2);
        assert!(problems[0].starts_with("load: ") && problems[1].starts_with("phase: "), "{problems:?}");
        assert_eq!(read(&gossiped).1.len(), 0, "what did not change is not read again");

        gossiped.set(LOAD, load(8));
        assert_eq!(read(&gossiped).0.load.free_bits, 8);
    }

    #[test]
    fn silence_counts_when_it_lasts() {
        let id = ChitchatId::new("n1", 1, ([127, 0, 0, 1], 1).into());
        let live = BTreeMap::from([(id, Gossiped::for_test())]);
        let nobody = BTreeMap::new();
        let (mut book, start) = (Book::default(), Instant::now());
        let mut count = |live: &BTreeMap<_, _>, at| book.read(live, at, |_, _| {}).len();
        assert_eq!(count(&live, start), 1);
        assert_eq!(count(&nobody, start), 1);
        assert_eq!(count(&live, start + limits::SILENCE), 1, "it was back in time");
        assert_eq!(count(&nobody, start + limits::SILENCE), 1);
        assert_eq!(count(&nobody, start + limits::SILENCE * 2), 0);
    }

    #[test]
    fn a_name_that_is_none_is_left_out() {
        let id = ChitchatId::new("a b", 1, ([127, 0, 0, 1], 1).into());
        let live = BTreeMap::from([(id, Gossiped::for_test())]);
        let mut problems = 0;
        assert!(Book::default().read(&live, Instant::now(), |_, _| problems += 1).is_empty());
        assert_eq!(problems, 1);
    }
}
