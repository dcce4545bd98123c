//! What is missing, and what is done about it; and what is ended because it is no use.

use super::Planner;
use super::choice::{self, Offer, Room};
use super::joins::cost_per_peer;
use super::limits::{Kind, next_number};
use super::seen::NodeSeen;
use super::sight::Sight;
use super::step::{Plan, Step};
use skein_proto::gossip::Phase;
use std::time::{Duration, Instant};

/// For so long after a node begins to take peers, what it has free is for those who wait.
const SETTLE: Duration = Duration::from_secs(20);
/// Who waits for so long although enough seems to be free does not fit into the pieces that it is free in.
const IN_PIECES: Duration = Duration::from_secs(5);
/// For so long a node may be away, to start again, before another is launched for the fewest there have to be.
const AWAY: Duration = Duration::from_secs(20);
/// No plan launches more than so many.
const AT_ONCE: u32 = 20;

/// What a plan may still launch.
struct Means {
    room: Room,
    highest: u64,
    launches: u32,
}

/// What should be free, in whole reference streams: what is said to be missing is then what its parts come to.
pub(super) struct Wanted {
    pub queued: f64,
    pub coming: f64,
    pub spare: f64,
}

impl Wanted {
    pub fn all(&self) -> f64 {
        self.queued + self.coming + self.spare
    }
}

impl Planner {
    /// What should be free now.
    pub(super) fn wanted(&self, sight: &Sight<'_>) -> Wanted {
        let queue = sight.seen.queue;
        let cost = cost_per_peer(&sight.seen.nodes);
        Wanted {
            queued: f64::from(queue.streams.max(queue.guaranteed).max(queue.joins)),
            coming: (self.joins.most_within(self.longest_boot(sight)) * cost).ceil(),
            spare: f64::from(sight.limits.spare),
        }
    }

    /// How long the type that takes longest boots. Which one is launched is decided by what is missing, and that by
    /// this; the longest is on the safe side.
    pub(super) fn longest_boot(&self, sight: &Sight<'_>) -> Duration {
        let boots = sight.limits.kinds.iter().map(|kind| self.boots.expected(kind, false));
        boots.max().unwrap_or_default()
    }

    /// Machines that never joined, or are lost and were replaced, or are more than are kept stopped.
    pub(super) fn end_what_failed(&mut self, sight: &Sight<'_>, plan: &mut Plan) {
        for &number in &sight.overdue {
            if self.watch.overdue(number) {
                self.breaker.failed(sight.now);
            }
            // One that no list shows cannot be ended, only given up.
            if sight.fresh && sight.running.contains(&number) {
                let deadline = sight.limits.join_deadline.as_secs();
                let reason = format!("it did not join the mesh within {deadline} s");
                plan.steps.push(Step::Terminate { number, reason });
            }
        }
        if sight.fresh {
            let kept = usize::try_from(sight.limits.warm).unwrap_or(usize::MAX);
            for &number in sight.warm.keys().skip(kept) {
                let reason = format!("{kept} stopped machines are kept and there are {}", sight.warm.len());
                plan.steps.push(Step::Terminate { number, reason });
            }
        }
    }

    /// Adds what is missing, and says how much is missing still.
    pub(super) fn grow(&mut self, sight: &Sight<'_>, plan: &mut Plan) -> f64 {
        let wanted = self.wanted(sight);
        let free = self.free(sight);
        let booting = sight.booting_streams();
        let mut missing = wanted.all() - free - booting as f64;
        let pieces = self.in_pieces(sight, wanted.queued - booting as f64);
        let in_pieces = pieces > missing.max(0.0);
        missing = missing.max(pieces);
        plan.wanted = wanted.all().ceil() as u32;
        plan.free = free as u32;
        plan.booting = u32::try_from(booting).unwrap_or(u32::MAX);
        let why = |missing: f64| {
            if in_pieces {
                return format!("{} joins wait and do not fit into what is free", sight.seen.queue.joins);
            }
            let Wanted { queued, coming, spare } = &wanted;
            format!(
                "{missing:.0} streams are missing: {queued:.0} wait, {coming:.0} come while a machine boots, {spare:.0} \
                 are kept free; {free:.0} are free, {booting} boot"
            )
        };

        let mut forbids = Vec::new();
        let mut means = self.means(sight, &mut forbids);
        let mut short = self.short(sight);
        self.undrain(sight, &mut missing, &mut short, &why, plan);
        self.start(sight, &mut means, &mut missing, &mut short, &why, plan);
        self.launch_large(sight, &mut means, &mut missing, &mut short, plan);
        self.replace(sight, &mut means, &mut missing, &mut short, plan);
        self.launch_short(sight, &mut means, &mut missing, &mut short, plan);
        self.launch_missing(sight, &mut means, &mut missing, &why, plan);
        if missing > 0.0 || short > 0 {
            plan.reasons.push(if missing > 0.0 { why(missing) } else { too_few(sight) });
            plan.reasons.append(&mut forbids);
        }
        self.tell(sight, &means, missing, plan);
        missing
    }

    /// What is free on nodes that take peers and whose figures can be relied upon.
    fn free(&self, sight: &Sight<'_>) -> f64 {
        let nodes = sight.seen.nodes.iter().filter(|node| self.takes(node) && node.trusted());
        nodes.map(|node| u64::from(node.free)).sum::<u64>() as f64
    }

    /// How much of those who wait does not fit into the pieces that it is free in, beside what boots.
    ///
    /// Where one node has all of it free they wait for something else than a machine, or are placed in a moment.
    fn in_pieces(&self, sight: &Sight<'_>, queued: f64) -> f64 {
        let long = |since: Instant| sight.now.saturating_duration_since(since);
        if self.queued.is_none_or(|since| long(since) < IN_PIECES) {
            return 0.0;
        }
        let (mut largest, mut new) = (0.0_f64, 0.0);
        for node in sight.seen.nodes.iter().filter(|node| self.takes(node) && node.trusted()) {
            let free = f64::from(node.free);
            largest = largest.max(free);
            if self.ready.get(&node.id).is_none_or(|since| long(*since) < SETTLE) {
                new += free;
            }
        }
        queued - largest.max(new)
    }

    /// How many nodes there are too few, for long enough that none is just starting again.
    fn short(&mut self, sight: &Sight<'_>) -> u32 {
        let here = |node: &&NodeSeen| match node.phase {
            Phase::Ready | Phase::Draining => self.takes(node),
            // Of a launched one its machine counts, which boots.
            Phase::Starting => node.number.is_none(),
            Phase::Leaving => false,
        };
        let nodes = sight.seen.nodes.iter().filter(here).count() + sight.booting.len();
        let short = sight.limits.min_nodes.saturating_sub(u32::try_from(nodes).unwrap_or(u32::MAX));
        self.short = (short > 0).then(|| self.short.unwrap_or(sight.now));
        let long = self.short.is_some_and(|since| sight.now.saturating_duration_since(since) >= AWAY);
        if long { short } else { 0 }
    }

    /// What may be launched and started, and why not more.
    fn means(&self, sight: &Sight<'_>, forbids: &mut Vec<String>) -> Means {
        let limits = sight.limits;
        let mut launches = self.breaker.allows(sight.now, sight.booting.len()).min(AT_ONCE);
        if launches == 0 {
            forbids.push("launches are stopped, because machines do not join".to_owned());
        }
        if !sight.listed {
            launches = 0;
            forbids.push("the cloud has not yet said which machines there are".to_owned());
        }
        if let Some(left) = self.backoff.cloud_wait(sight.now) {
            launches = 0;
            forbids.push(format!("the cloud is asked again in {} s", left.as_secs() + 1));
        }
        let room = Room {
            machines: limits.max_nodes.saturating_sub(sight.nodes_counted),
            cost: limits.cost_per_hour.map_or(f64::INFINITY, |most| most - sight.cost),
        };
        if room.machines == 0 {
            forbids.push(format!("there are {} of {} nodes", sight.nodes_counted, limits.max_nodes));
        } else if let Some(most) = limits.cost_per_hour.filter(|_| self.offers(sight, &room).is_empty()) {
            forbids.push(format!("machines cost {:.2} of {most:.2} an hour", sight.cost));
        }
        Means { room, highest: sight.highest, launches }
    }

    /// The types that can be had and paid.
    fn offers(&self, sight: &Sight<'_>, room: &Room) -> Vec<Offer> {
        let zones = sight.limits.zones.max(1);
        let kinds = sight.limits.kinds.iter().enumerate();
        let offer = |(index, kind): (usize, &Kind)| {
            Some(Offer { kind: index, streams: kind.streams, price: kind.price })
                .filter(|offer| offer.streams > 0 && room.holds(offer))
                .filter(|_| (0..zones).any(|zone| self.backoff.allows(&kind.name, zone, sight.now)))
        };
        kinds.filter_map(offer).collect()
    }

    /// Launches one machine of a type. Whether it could.
    fn launch(
        &self,
        sight: &Sight<'_>,
        means: &mut Means,
        offer: &Offer,
        reason: String,
        plan: &mut Plan,
    ) -> bool {
        let limits = sight.limits;
        let (Some(kind), true) = (limits.kinds.get(offer.kind), means.launches > 0) else { return false };
        let allowed = |zone| self.backoff.allows(&kind.name, zone, sight.now);
        let types = limits.kinds.len();
        let number = next_number(means.highest, offer.kind, types, limits.zones, allowed);
        let Some(number) = number.filter(|_| means.room.holds(offer)) else { return false };
        means.launches -= 1;
        means.highest = number;
        means.room.take(offer);
        let zone = super::zone_of(number, types, limits.zones);
        plan.steps.push(Step::Launch { number, kind: kind.name.clone(), zone, reason });
        true
    }

    /// Takes draining nodes back, which is cheaper and faster than anything else.
    fn undrain(
        &mut self,
        sight: &Sight<'_>,
        missing: &mut f64,
        short: &mut u32,
        why: &dyn Fn(f64) -> String,
        plan: &mut Plan,
    ) {
        let mine = self.asked.iter().filter(|(_, asked)| asked.undone.is_none());
        let mine = mine.filter_map(|(number, _)| sight.nodes.get(number).copied());
        let mut mine: Vec<_> = mine
            .filter(|node| matches!(node.phase, Phase::Ready | Phase::Draining) && node.trusted())
            .collect();
        mine.sort_by(|a, b| b.free.cmp(&a.free).then(a.number.cmp(&b.number)));
        for node in mine {
            if *missing <= 0.0 && *short == 0 {
                break;
            }
            if let Some(asked) = node.number.and_then(|number| self.asked.get_mut(&number)) {
                asked.undone = Some(sight.now);
                asked.reason = if *missing > 0.0 { why(*missing) } else { too_few(sight) };
            }
            *missing -= f64::from(node.free);
            *short = short.saturating_sub(1);
        }
        // Until it is heard.
        for (&number, asked) in self.asked.iter().filter(|(_, asked)| asked.undone.is_some()) {
            // Where it was not heard of yet that it drains, that may come still.
            let early = asked.undone == Some(sight.now) && !asked.begun;
            let hears = |node: &&&NodeSeen| node.phase == Phase::Draining || early;
            let Some(node) = sight.nodes.get(&number).filter(hears) else { continue };
            plan.steps.push(Step::Undrain { node: node.id.clone(), number, reason: asked.reason.clone() });
        }
    }

    /// Starts stopped machines.
    fn start(
        &mut self,
        sight: &Sight<'_>,
        means: &mut Means,
        missing: &mut f64,
        short: &mut u32,
        why: &dyn Fn(f64) -> String,
        plan: &mut Plan,
    ) {
        let kept = usize::try_from(sight.limits.warm).unwrap_or(usize::MAX);
        let mut warm: Vec<_> = sight.warm.iter().take(kept).collect();
        while *missing > 0.0 || *short > 0 {
            // The smallest that carries what is missing, or else the largest.
            let streams = |kind: &str| f64::from(sight.streams_of(kind));
            let place = warm
                .iter()
                .enumerate()
                .filter(|(_, (number, _))| self.backoff.allows_start(**number, sight.now))
                .filter(|(_, (_, kind))| streams(kind) > 0.0)
                .min_by(|(_, (a, left)), (_, (b, right))| {
                    let rank = |kind: &str| {
                        let carries = streams(kind);
                        if carries >= *missing { (false, carries) } else { (true, -carries) }
                    };
                    let (left, right) = (rank(left), rank(right));
                    left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)).then(a.cmp(b))
                })
                .map(|(place, _)| place);
            let Some(place) = place.filter(|_| means.launches > 0) else { break };
            let (&number, kind) = warm.remove(place);
            let price = sight.limits.price_of(kind);
            let offer = Offer { kind: 0, streams: sight.streams_of(kind), price };
            if !means.room.holds(&offer) {
                continue;
            }
            means.room.take(&offer);
            means.launches -= 1;
            let reason = if *missing > 0.0 { why(*missing) } else { too_few(sight) };
            plan.steps.push(Step::Start { number, kind: kind.clone(), reason });
            self.watch.start(number);
            *missing -= f64::from(offer.streams);
            *short = short.saturating_sub(1);
        }
    }

    /// For a room that has to be on one machine: a machine that carries it, if any does.
    fn launch_large(
        &mut self,
        sight: &Sight<'_>,
        means: &mut Means,
        missing: &mut f64,
        short: &mut u32,
        plan: &mut Plan,
    ) {
        let room = sight.seen.queue.guaranteed;
        let mut carried = sight.seen.nodes.iter().filter(|node| self.takes(node) && node.trusted());
        let boots = sight.booting.iter().map(|booting| booting.kind.as_str());
        let starts = plan.steps.iter().filter_map(|step| match step {
            Step::Start { kind, .. } => Some(kind.as_str()),
            _ => None,
        });
        let fits = carried.any(|node| node.free >= room)
            || boots.chain(starts).any(|kind| sight.streams_of(kind) >= room);
        if room == 0 || fits || sight.limits.largest() < room {
            return;
        }
        let Some(offer) = choice::one_for(room, &self.offers(sight, &means.room), means.room) else { return };
        let reason = format!("a room waits whose {room} guaranteed streams have to be on one machine");
        if self.launch(sight, means, &offer, reason, plan) {
            *missing -= f64::from(offer.streams);
            *short = short.saturating_sub(1);
        }
    }

    /// Replaces machines that are lost, and ends them when that is done.
    fn replace(
        &mut self,
        sight: &Sight<'_>,
        means: &mut Means,
        missing: &mut f64,
        short: &mut u32,
        plan: &mut Plan,
    ) {
        // Whatever was launched after a machine was lost has replaced it, whoever launched it: so that a new leader
        // does not launch another.
        let mut taken = Vec::new();
        for (&number, (kind, ago)) in sight.lost.iter().filter(|(number, _)| !self.drains(**number)) {
            let after = |other: u64| {
                other > number
                    && !taken.contains(&other)
                    && self.watch.age(other, sight.now).is_some_and(|age| age < *ago)
            };
            let ready = |node: &&NodeSeen| self.takes(node) && node.number.is_some_and(after);
            let minutes = ago.as_secs_f64() / 60.0;
            let lost = format!("gossip has not heard of it for {minutes:.1} minutes");
            if let Some(node) = sight.seen.nodes.iter().find(ready) {
                taken.extend(node.number);
                if sight.fresh {
                    let reason = format!("{lost}, and {} has taken its place", node.id);
                    plan.steps.push(Step::Terminate { number, reason });
                }
                continue;
            }
            if let Some(booting) = sight.booting.iter().find(|booting| after(booting.number)) {
                taken.push(booting.number);
                continue;
            }
            let offers = self.offers(sight, &means.room);
            let same = offers.iter().find(|offer| {
                sight.limits.kinds.get(offer.kind).is_some_and(|offered| offered.name == *kind)
            });
            let streams = u64::from(sight.streams_of(kind));
            let offer =
                same.copied().or_else(|| choice::cheapest(streams, &offers, means.room).first().copied());
            let reason = format!(
                "it replaces launch {number}, of which gossip has not heard for {minutes:.1} minutes"
            );
            match offer {
                Some(offer) if self.launch(sight, means, &offer, reason, plan) => {
                    *missing -= f64::from(offer.streams);
                    *short = short.saturating_sub(1);
                }
                // It stands in its replacement's way.
                _ if sight.fresh && !means.room_for_any(sight) => {
                    let reason = format!("{lost}, and there is no room for another beside it");
                    plan.steps.push(Step::Terminate { number, reason });
                }
                _ => plan.reasons.push(format!("launch {number} is lost and cannot be replaced now")),
            }
        }
    }

    /// The cheapest machines for the fewest nodes that there have to be.
    fn launch_short(
        &mut self,
        sight: &Sight<'_>,
        means: &mut Means,
        missing: &mut f64,
        short: &mut u32,
        plan: &mut Plan,
    ) {
        while *short > 0 {
            // What is missing anyway is launched below, and may be enough.
            let offers = self.offers(sight, &means.room);
            let will = choice::cheapest(missing.max(0.0).ceil() as u64, &offers, means.room).len();
            if u32::try_from(will).is_ok_and(|will| will >= *short) {
                break;
            }
            let least =
                offers.iter().min_by(|a, b| a.price.total_cmp(&b.price).then(a.streams.cmp(&b.streams)));
            let Some(offer) = least.copied() else { break };
            if !self.launch(sight, means, &offer, too_few(sight), plan) {
                break;
            }
            *missing -= f64::from(offer.streams);
            *short -= 1;
        }
    }

    /// The cheapest machines for what is missing.
    fn launch_missing(
        &mut self,
        sight: &Sight<'_>,
        means: &mut Means,
        missing: &mut f64,
        why: &dyn Fn(f64) -> String,
        plan: &mut Plan,
    ) {
        if *missing <= 0.0 {
            return;
        }
        let offers = self.offers(sight, &means.room);
        let reason = why(*missing);
        for offer in choice::cheapest(missing.ceil() as u64, &offers, means.room) {
            if !self.launch(sight, means, &offer, reason.clone(), plan) {
                break;
            }
            *missing -= f64::from(offer.streams);
        }
    }

    /// What those who wait can be told.
    fn tell(&self, sight: &Sight<'_>, means: &Means, missing: f64, plan: &mut Plan) {
        let kind = |name: &str| sight.limits.kind(name);
        let expected = |name: &str, started| kind(name).map(|kind| self.boots.expected(kind, started));
        let boots = sight.booting.iter().filter_map(|booting| {
            let expected = expected(&booting.kind, booting.started)?;
            // One that is late comes soon, or not at all.
            let soon = (expected / 10).max(Duration::from_secs(5));
            Some(expected.saturating_sub(booting.age).max(soon.min(expected)))
        });
        let steps = plan.steps.iter().filter_map(|step| match step {
            Step::Launch { kind, .. } => expected(kind, false),
            Step::Start { kind, .. } => expected(kind, true),
            _ => None,
        });
        let next = boots.chain(steps).min();
        let offers = self.offers(sight, &means.room);
        let another = || {
            let wait = self.backoff.cloud_wait(sight.now).unwrap_or_default();
            let kinds = sight.limits.kinds.iter().map(|kind| self.boots.expected(kind, false));
            wait + kinds.min().unwrap_or_default()
        };
        let eta = next.unwrap_or_else(another);
        plan.eta_s = u32::try_from(eta.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);

        let launched: u64 = plan.steps.iter().map(|step| self.carries(sight, step)).sum();
        let coming = sight.booting_streams() + launched;
        let queue = sight.seen.queue;
        let more = self.breaker.allows(sight.now, sight.booting.len()) > 0 && !offers.is_empty();
        let placed = coming > u64::from(queue.streams.max(queue.joins));
        plan.grows = more || placed || (missing <= 0.0 && launched > 0);
    }

    /// What a step adds, in reference streams.
    fn carries(&self, sight: &Sight<'_>, step: &Step) -> u64 {
        match step {
            Step::Launch { kind, .. } | Step::Start { kind, .. } => u64::from(sight.streams_of(kind)),
            Step::Undrain { number, .. } => sight.nodes.get(number).map_or(0, |node| u64::from(node.free)),
            _ => 0,
        }
    }
}

impl Means {
    /// Whether the ceilings leave room for a machine of any type.
    fn room_for_any(&self, sight: &Sight<'_>) -> bool {
        let offer = |kind: &Kind| Offer { kind: 0, streams: kind.streams, price: kind.price };
        sight.limits.kinds.iter().any(|kind| self.room.holds(&offer(kind)))
    }
}

fn too_few(sight: &Sight<'_>) -> String {
    format!("there have to be {} nodes at least", sight.limits.min_nodes)
}
