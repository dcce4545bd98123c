//! Which node is not needed, and what becomes of nodes that were drained.

use super::joins;
use super::seen::NodeSeen;
use super::sight::Sight;
use super::step::{Plan, Step};
use super::{Asked, Planner};
use skein_proto::gossip::Phase;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The load is remembered in pieces of this length,
const PIECE: Duration = Duration::from_secs(60);
/// so many of them.
const PIECES: u32 = 61;
/// By how much more a load may grow at once than it is now, without a node that was drained: from a fifth below a mean
/// to a fifth above it is half as much again.
const GROWTH: f64 = 0.5;
/// What stays free beyond all that is wanted: this share of what is left.
const MARGIN: f64 = 0.05;
/// After those who are still on a draining node were told to dial another, they have so long to do it.
const FAREWELL: Duration = Duration::from_secs(15);

/// The most that there was of something, in reference streams.
#[derive(Debug, Clone, Copy, Default)]
struct Most {
    /// What ran and what waited.
    load: f64,
    /// This, with what was to be free beside it.
    wanted: f64,
}

impl Most {
    fn max(self, other: Self) -> Self {
        Self { load: self.load.max(other.load), wanted: self.wanted.max(other.wanted) }
    }
}

/// The most that there was within the last hour.
#[derive(Debug, Clone, Default)]
pub(super) struct Peaks {
    pieces: VecDeque<(Instant, Most)>,
    since: Option<Instant>,
}

impl Peaks {
    /// Takes in what there is now.
    fn see(&mut self, now: Instant, load: Most) {
        self.since.get_or_insert(now);
        match self.pieces.back_mut() {
            Some((begun, most)) if now.saturating_duration_since(*begun) < PIECE => *most = most.max(load),
            _ => self.pieces.push_back((now, load)),
        }
        let span = PIECE * PIECES;
        while self.pieces.front().is_some_and(|(begun, _)| now.saturating_duration_since(*begun) > span) {
            self.pieces.pop_front();
        }
    }

    /// The most within the last hour; nothing before an hour has been seen.
    fn most(&self, now: Instant) -> Option<Most> {
        let span = PIECE * (PIECES - 1);
        self.since.filter(|since| now.saturating_duration_since(*since) >= span)?;
        self.pieces.iter().map(|(_, most)| *most).reduce(Most::max)
    }
}

impl Planner {
    /// Retires what is drained, and drains what is not needed.
    pub(super) fn shrink(&mut self, sight: &Sight<'_>, missing: f64, plan: &mut Plan) {
        let used: f64 = sight.seen.nodes.iter().map(load).sum();
        let wanted = self.wanted(sight);
        self.peaks.see(sight.now, Most { load: used + wanted.queued, wanted: used + wanted.all() });
        if sight.fresh {
            self.retire(sight, plan);
        } else if sight.listed {
            plan.reasons.push("the cloud's list is missing, so nothing is drained or ended".to_owned());
        }
        let growing = missing > 0.0
            || sight.seen.queue.joins > 0
            || !sight.booting.is_empty()
            || !sight.seen.flights.is_empty()
            || plan.steps.iter().any(Step::grows);
        if growing || !sight.fresh || !sight.complete() {
            self.unneeded.clear();
            if !growing && sight.fresh {
                plan.reasons
                    .push("figures of some nodes are missing or old, so nothing is drained".to_owned());
            }
            return;
        }

        // Those who come at once also look, for a while, as if as many came again in each boot.
        let again = (self.longest_boot(sight).as_secs_f64() / joins::OVER.as_secs_f64()).max(1.0);
        let coming = |load: f64| wanted.coming.max((load - used) * again);
        let at_once = |load: f64| load + coming(load) + wanted.queued + wanted.spare;
        let grown = at_once(used * (1.0 + GROWTH));
        let again = self.peaks.most(sight.now).map(|hour| at_once(hour.load.max(used)).max(hour.wanted));
        let needed = again.map_or(grown, |again| grown.min(again));
        let capacity: f64 = self.taking(sight).map(|node| f64::from(node.total)).sum();
        let mut idle = Vec::new();
        for node in self.taking(sight) {
            let Some(number) = node.number.filter(|number| sight.running.contains(number)) else { continue };
            let left = capacity - f64::from(node.total);
            if left * (1.0 - MARGIN) >= needed && left > 0.0 {
                idle.push((number, node, left));
            }
        }
        self.unneeded.retain(|number, _| idle.iter().any(|(other, ..)| other == number));
        for (number, ..) in &idle {
            self.unneeded.entry(*number).or_insert(sight.now);
        }
        // One at a time, whoever drains it; but what was asked for is repeated until it is heard.
        for (&number, asked) in self.asked.iter().filter(|(_, asked)| asked.undone.is_none()) {
            let Some(node) = sight.nodes.get(&number).filter(|node| node.phase == Phase::Ready) else {
                continue;
            };
            plan.steps.push(Step::Drain { node: node.id.clone(), number, reason: asked.reason.clone() });
        }
        let drains = sight.seen.nodes.iter().any(|node| node.phase == Phase::Draining);
        if drains || !self.asked.is_empty() {
            return;
        }
        self.drain_one(sight, &idle, needed, plan);
    }

    fn drain_one(&mut self, sight: &Sight<'_>, idle: &[(u64, &NodeSeen, f64)], needed: f64, plan: &mut Plan) {
        let nodes = self.taking(sight).count();
        if nodes <= usize::try_from(sight.limits.min_nodes).unwrap_or(usize::MAX) {
            return;
        }
        let price = |node: &NodeSeen| {
            let price = sight.limits.price_of(node.kind.as_deref().unwrap_or_default());
            price / f64::from(node.total.max(1))
        };
        let long = |number: &u64| {
            let since = self.unneeded.get(number).copied();
            since.is_some_and(|since| sight.now.saturating_duration_since(since) >= sight.limits.idle)
        };
        let first = idle.iter().filter(|(number, ..)| long(number)).min_by(|(a, left, _), (b, right, _)| {
            let emptier = left.used().cmp(&right.used());
            emptier.then(price(right).total_cmp(&price(left))).then(b.cmp(a))
        });
        let Some((number, node, left)) = first else { return };
        let minutes = sight.limits.idle.as_secs_f64() / 60.0;
        let reason = format!(
            "it was not needed for {minutes:.1} minutes: the others carry {left:.0} streams, of which {needed:.0} are wanted"
        );
        let asked = Asked { reason: reason.clone(), ..Asked::default() };
        plan.steps.push(Step::Drain { node: node.id.clone(), number: *number, reason });
        self.asked.insert(*number, asked);
    }

    /// The nodes that take peers and whose figures can be relied upon.
    fn taking<'a>(&self, sight: &Sight<'a>) -> impl Iterator<Item = &'a NodeSeen> + use<'a, '_> {
        sight.seen.nodes.iter().filter(|node| self.takes(node) && node.trusted())
    }

    /// Ends the machines of nodes that are drained, or stops them where some are kept.
    fn retire(&mut self, sight: &Sight<'_>, plan: &mut Plan) {
        let mut kept = u32::try_from(sight.warm.len()).unwrap_or(u32::MAX).saturating_add(sight.stopping);
        let mut over = Vec::new();
        for (&number, &since) in &self.draining {
            let undone = self.asked.get(&number).is_some_and(|asked| asked.undone.is_some());
            let Some(node) = sight.nodes.get(&number).filter(|_| !undone) else { continue };
            let long = sight.now.saturating_duration_since(since);
            if !node.trusted() || !sight.running.contains(&number) {
                continue;
            }
            if node.peers == 0 && node.rooms == 0 {
                over.push((number, format!("it was drained and is empty, after {} s", long.as_secs())));
            } else if long >= sight.limits.drain.saturating_add(FAREWELL) {
                let minutes = sight.limits.drain.as_secs_f64() / 60.0;
                let reason = format!(
                    "{} peers were still on it {minutes:.1} minutes after it began to drain",
                    node.peers
                );
                over.push((number, reason));
            }
        }
        // A node that was to drain and has gone is done with.
        for &number in sight.unheard.iter().chain(sight.lost.keys()) {
            if self.drains(number) {
                over.push((number, "it was drained and its node has ended".to_owned()));
            }
        }
        plan.steps.retain(|step| !over.iter().any(|(number, _)| *number == step.number()));
        for (number, reason) in over {
            self.watch.end(number);
            if kept < sight.limits.warm {
                kept += 1;
                plan.steps.push(Step::Stop { number, reason });
            } else {
                plan.steps.push(Step::Retire { number, reason });
            }
        }
    }
}

/// What runs on a node. Of one whose figures are old as much as can.
fn load(node: &NodeSeen) -> f64 {
    f64::from(if node.trusted() { node.used() } else { node.total })
}
