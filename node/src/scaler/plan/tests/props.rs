//! What holds whatever happens.

use super::world::World;
use super::{kind, limits};
use crate::scaler::plan::{Limits, Step};
use proptest::prelude::*;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn some_limits() -> impl Strategy<Value = Limits> {
    let types = prop::collection::vec((50..500_u32, 0.1..2.0_f64, 10..200_u64), 1..4);
    (types, 1..4_u32, 0..10_u32, prop::option::of(0.5..10.0_f64), 0..200_u32, 0..3_u32, 1..4_u64).prop_map(
        |(types, min, more, cost, spare, warm, zones)| Limits {
            min_nodes: min,
            max_nodes: min + more,
            cost_per_hour: cost,
            spare,
            warm,
            zones,
            kinds: types
                .iter()
                .enumerate()
                .map(|(n, &(streams, price, boot))| kind(&format!("k{n}"), streams, price, boot))
                .collect(),
            ..limits()
        },
    )
}

/// What happens in between: more or less load, or something breaks or is whole again.
fn weather() -> impl Strategy<Value = Vec<(f64, u8)>> {
    prop::collection::vec((0.0..3_000.0_f64, 0..12_u8), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn ceilings_and_floor_hold_and_old_figures_shrink_nothing(
        limits in some_limits(), seeds in 1..4_u64, before in 0..6_u64, weather in weather(),
    ) {
        let mut world = World::new(limits, seeds, 200.0).with_machines(before);
        for (load, kind) in weather {
            match kind {
                0 => world.broken = !world.broken,
                1 => world.dry = !world.dry,
                2 => world.frozen = Some(world.now - Duration::from_secs(11)),
                3 => world.listed = !world.listed,
                4 => world.lose(1),
                5 => world.lose(2),
                _ => world.frozen = None,
            }
            world.load = load;
            for _ in 0..40 {
                let (nodes, cost, taking) = (world.count(), world.cost(), world.taking());
                let plan = world.pass(Duration::from_secs(20));
                let most = u64::from(world.limits.max_nodes);
                prop_assert!(world.count() <= nodes.max(most), "{} of {most}: {:?}", world.count(), plan.steps);
                let ceiling = world.limits.cost_per_hour.unwrap_or(f64::INFINITY);
                prop_assert!(world.cost() <= cost.max(ceiling) + 1e-6, "{} of {ceiling}", world.cost());
                let drained = plan.steps.iter().any(|step| matches!(step, Step::Drain { .. }));
                prop_assert!(!drained || world.taking() >= u64::from(world.limits.min_nodes), "{taking}");
                let ends = |step: &Step| {
                    matches!(step, Step::Drain { .. } | Step::Retire { .. } | Step::Stop { .. })
                };
                prop_assert!(world.frozen.is_none() || !plan.steps.iter().any(ends), "{:?}", plan.steps);
                let ends = |step: &Step| ends(step) || matches!(step, Step::Terminate { .. });
                prop_assert!(world.listed || !plan.steps.iter().any(ends), "{:?}", plan.steps);
let drains = plan.steps.iter().filter(|step| matches!(step, Step::Drain { .. })).count();
                prop_assert!(drains <= 1, "{:?}", plan.steps);
            }
        }
        prop_assert!(world.seeds() >= 1);
    }

    #[test]
    fn a_square_wave_turns_the_mesh_around_once_an_hour_at_most(
        mean in 100.0..4_000.0_f64, period in 1..=120_u64, before in 0..12_u64, low_first: bool,
        streams in 100..600_u32, boot in 20..180_u64, idle in prop::sample::select(vec![1_u64, 3, 10, 20]),
    ) {
        let kinds = vec![kind("a", streams, 0.4, boot), kind("b", streams * 2, 0.7, boot + 20)];
        let limits = Limits {
            max_nodes: 100,
            spare: streams / 2,
            idle: MINUTE * u32::try_from(idle).unwrap_or(1),
            kinds,
            ..limits()
        };
        let mut world = World::new(limits, 1, 200.0).with_machines(before);
        let (begun, half) = (world.now, MINUTE * u32::try_from(period).unwrap_or(1) / 2);
        while world.now - begun < MINUTE * 60 * 7 {
            let halves = (world.now - begun).as_secs() / half.as_secs();
            world.load = mean * if halves.is_multiple_of(2) == low_first { 0.8 } else { 1.2 };
            world.pass(Duration::from_secs(10));
        }
        for pair in world.turns.windows(2) {
            prop_assert!(pair[1] - pair[0] >= MINUTE * 60, "{:?}\n{:#?}", pair[1] - pair[0],
                world.log.iter().map(|(at, step)| ((*at - begun).as_secs(), step.to_string())).collect::<Vec<_>>());
        }
    }

    #[test]
    fn load_is_carried_in_the_end_and_let_go_in_the_end(load in 0.0..5_000.0_f64, seeds in 1..3_u64) {
        let limits = Limits { max_nodes: 100, cost_per_hour: None, ..limits() };
        let mut world = World::new(limits, seeds, 200.0);
        world.load = load;
        world.run(MINUTE * 10, Duration::from_secs(5));
        prop_assert_eq!(world.queued(), 0.0);
        world.load = 0.0;
        world.run(MINUTE * 60 * 3, Duration::from_secs(10));
        prop_assert_eq!(world.count(), seeds, "{:?}", world.log.last());
    }
}
