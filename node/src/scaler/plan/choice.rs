//! Which types of machines to launch for what is missing.

/// A type that can be had.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offer {
    /// Its index among all types.
    pub kind: usize,
    /// How many reference streams it carries; more than none.
    pub streams: u32,
    /// What it costs an hour.
    pub price: f64,
}

/// What may be launched at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    /// How many machines.
    pub machines: u32,
    /// For how much an hour together.
    pub cost: f64,
}

impl Room {
    /// Whether one of these may still be launched.
    pub fn holds(&self, offer: &Offer) -> bool {
        // Prices are sums of decimals: the last machine under a ceiling must not fail by a rounding.
        self.machines > 0 && offer.price <= self.cost + 1e-9
    }

    /// Takes one of these away.
    pub fn take(&mut self, offer: &Offer) {
        self.machines = self.machines.saturating_sub(1);
        self.cost -= offer.price;
    }
}

/// The table goes up to so many steps; what is missing beyond that is filled with the type of the best price.
const STEPS: u64 = 2_048;

/// The cheapest machines that carry so much together; of equal cost the fewest, and of these the smallest. Where
/// there is not room for all of it, as much as there is room for.
pub fn cheapest(missing: u64, offers: &[Offer], room: Room) -> Vec<Offer> {
    let chosen = unlimited(missing, offers);
    let cost: f64 = chosen.iter().map(|offer| offer.price).sum();
    if chosen.len() as u64 <= u64::from(room.machines) && cost <= room.cost + 1e-9 {
        return chosen;
    }
    most(missing, offers, room)
}

/// For a room of which everything has to be on one machine: the cheapest that carries it; of equal price the smallest.
pub fn one_for(streams: u32, offers: &[Offer], room: Room) -> Option<Offer> {
    let fit = offers.iter().filter(|offer| offer.streams >= streams && room.holds(offer));
    fit.min_by(|a, b| a.price.total_cmp(&b.price).then(a.streams.cmp(&b.streams))).copied()
}

/// The offer of the best price for each stream; of equal ones the larger.
fn best(offers: &[Offer]) -> Option<Offer> {
    let each = |offer: &Offer| offer.price / f64::from(offer.streams.max(1));
    offers.iter().min_by(|a, b| each(a).total_cmp(&each(b)).then(b.streams.cmp(&a.streams))).copied()
}

fn unlimited(missing: u64, offers: &[Offer]) -> Vec<Offer> {
    let Some(best) = best(offers) else { return Vec::new() };
    let largest = u64::from(offers.iter().map(|offer| offer.streams).max().unwrap_or(1)).max(1);
    // How much is filled with the best price hardly matters to the total where it is many machines; only the rest
    // needs the table.
    let many = missing.saturating_sub(STEPS.max(8 * largest)) / u64::from(best.streams.max(1));
    let rest = missing - many * u64::from(best.streams);
    let step = rest.div_ceil(STEPS).max(1);
    let steps = usize::try_from(rest.div_ceil(step)).unwrap_or(0);
    // What is cheapest for each number of steps: cost, machines, streams, and the last one taken.
    let mut table: Vec<(f64, u32, u64, Option<Offer>)> = vec![(0.0, 0, 0, None)];
    for at in 1..=steps {
        let with = |offer: &Offer| {
            let carries = usize::try_from(u64::from(offer.streams) / step).unwrap_or(usize::MAX);
            let before = table.get(at.saturating_sub(carries)).filter(|_| carries > 0)?;
            Some((before.0 + offer.price, before.1 + 1, before.2 + u64::from(offer.streams), Some(*offer)))
        };
        let cheaper = |a: &(f64, u32, u64, _), b: &(f64, u32, u64, _)| {
            a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2))
        };
        let Some(found) = offers.iter().filter_map(with).min_by(cheaper) else { break };
        table.push(found);
    }
    let mut chosen = vec![best; usize::try_from(many).unwrap_or(0)];
    let mut at = table.len() - 1;
    while let Some(&(.., Some(offer))) = table.get(at) {
        chosen.push(offer);
        at = at.saturating_sub(usize::try_from(u64::from(offer.streams) / step).unwrap_or(usize::MAX));
    }
    chosen.sort_by(|a, b| b.streams.cmp(&a.streams).then(a.kind.cmp(&b.kind)));
    chosen
}

/// As much as there is room for: the largest where machines are short, the best price where money is.
fn most(missing: u64, offers: &[Offer], mut room: Room) -> Vec<Offer> {
    let (mut chosen, mut left) = (Vec::new(), missing);
    while left > 0 {
        let held: Vec<_> = offers.iter().filter(|offer| room.holds(offer)).copied().collect();
        let Some(best) = best(&held) else { break };
        let by_best = u64::from(room.machines) * u64::from(best.streams);
        let largest = held.iter().max_by(|a, b| a.streams.cmp(&b.streams).then(b.price.total_cmp(&a.price)));
        let offer = match largest {
            Some(largest) if by_best < left => *largest,
            _ => best,
        };
        room.take(&offer);
        left = left.saturating_sub(u64::from(offer.streams));
        chosen.push(offer);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY: Room = Room { machines: u32::MAX, cost: f64::INFINITY };

    fn offers(types: &[(u32, f64)]) -> Vec<Offer> {
        let offer = |(kind, &(streams, price))| Offer { kind, streams, price };
        types.iter().enumerate().map(offer).collect()
    }

    fn kinds(chosen: &[Offer]) -> Vec<usize> {
        chosen.iter().map(|offer| offer.kind).collect()
    }

    #[test]
    fn price_for_each_stream_decides_and_smaller_ones_fill_up() {
        let types = offers(&[(1_000, 1.0), (250, 0.3)]);
        assert_eq!(kinds(&cheapest(900, &types, ANY)), [0]);
        assert_eq!(kinds(&cheapest(1_200, &types, ANY)), [0, 1]);
        assert_eq!(kinds(&cheapest(1_900, &types, ANY)), [0, 0]);
        assert_eq!(kinds(&cheapest(200, &types, ANY)), [1]);
        assert!(cheapest(0, &types, ANY).is_empty());
        assert!(cheapest(1, &[], ANY).is_empty());
        assert_eq!(cheapest(1_000_000, &types, ANY).len(), 1_000);
    }

    #[test]
    fn what_costs_nothing_is_the_fewest_machines_and_the_smallest_of_these() {
        let types = offers(&[(100, 0.0), (400, 0.0), (200, 0.0)]);
        assert_eq!(kinds(&cheapest(150, &types, ANY)), [2]);
        assert_eq!(kinds(&cheapest(500, &types, ANY)), [1, 0]);
    }

    #[test]
    fn under_a_ceiling_it_is_as_much_as_can_be() {
        let types = offers(&[(1_000, 1.5), (250, 0.3)]);
        assert_eq!(kinds(&cheapest(900, &types, ANY)), [1, 1, 1, 1]);
        assert_eq!(kinds(&cheapest(900, &types, Room { machines: 1, ..ANY })), [0]);
        assert_eq!(kinds(&cheapest(900, &types, Room { machines: 9, cost: 0.7 })), [1, 1]);
        assert!(cheapest(900, &types, Room { machines: 0, ..ANY }).is_empty());
        assert!(cheapest(900, &types, Room { machines: 9, cost: 0.2 }).is_empty());
    }

    #[test]
    fn a_large_room_gets_the_cheapest_machine_that_carries_it() {
        let types = offers(&[(1_000, 1.0), (2_000, 3.0), (2_000, 2.5)]);
        assert_eq!(one_for(1_200, &types, ANY).map(|offer| offer.kind), Some(2));
        assert_eq!(one_for(900, &types, ANY).map(|offer| offer.kind), Some(0));
        assert_eq!(one_for(2_001, &types, ANY), None);
        assert_eq!(one_for(1_200, &types, Room { machines: 1, cost: 2.0 }), None);
    }

    /// The cheapest by trying everything.
    fn tried(missing: i64, offers: &[Offer]) -> f64 {
        if missing <= 0 {
            return 0.0;
        }
        offers.iter().fold(f64::INFINITY, |least, offer| {
            least.min(offer.price + tried(missing - i64::from(offer.streams), offers))
        })
    }

    proptest! {
        #[test]
        fn nothing_cheaper_is_found_by_trying_everything(
            types in prop::collection::vec((20..60_u32, 0.0..3.0_f64), 1..4), missing in 0..160_u64,
        ) {
            let types = offers(&types);
            let chosen = cheapest(missing, &types, ANY);
            prop_assert!(chosen.iter().map(|offer| u64::from(offer.streams)).sum::<u64>() >= missing);
            let cost: f64 = chosen.iter().map(|offer| offer.price).sum();
            prop_assert!((cost - tried(missing as i64, &types)).abs() < 1e-6);
        }

        #[test]
        fn there_is_always_room_for_what_is_chosen(
            types in prop::collection::vec((1..5_000_u32, 0.0..3.0_f64), 1..5), missing in 0..2_000_000_u64,
            machines in 0..2_000_u32, cost in 0.0..2_000.0_f64,
        ) {
            let chosen = cheapest(missing, &offers(&types), Room { machines, cost });
            prop_assert!(chosen.len() <= machines as usize);
            prop_assert!(chosen.iter().map(|offer| offer.price).sum::<f64>() <= cost + 1e-6);
        }
    }
}
