//! What holds whatever happens.

use super::super::pass::{PassInput, Scope, pass};
use super::super::rollouts::NoContacts;
use super::world::{World, content, device, stage};
use crate::domain::assignment::Mark;
use crate::domain::generation::{Epoch, Generation, Order};
use crate::domain::ids::DeviceId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// One random step of a story.
#[derive(Clone, Debug)]
enum Step {
    Push { on: usize, devices: Vec<(usize, usize, u8)> },
    Report { device: usize, generation: u64, version: u8 },
    Choose { device: usize, on: usize },
}

const NAMES: [&str; 3] = ["main", "canary", "production"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3usize, proptest::collection::vec((0..4usize, 0..5usize, 0..3u8), 0..4))
            .prop_map(|(on, devices)| Step::Push { on, devices }),
        (0..4usize, 1..6u64, 0..3u8).prop_map(|(device, generation, version)| Step::Report {
            device,
            generation,
            version
        }),
        (0..4usize, 0..3usize).prop_map(|(device, on)| Step::Choose { device, on }),
    ]
}

fn tell(world: &mut World, number: u32, step: &Step) {
    match step {
        Step::Push { on, devices } => {
            let branch = |index: usize| ["main", "canary", "production", "?", "device"][index];
            let text: Vec<String> =
                devices.iter().map(|(name, on, version)| format!("d{name}:{}:v{version}", branch(*on))).collect();
            world.push(NAMES[*on], number, &text.join(" "));
        }
        Step::Report { device, generation, version } => {
            world.reports(&format!("d{device}"), *generation, &format!("v{version}"));
        }
        Step::Choose { device, on } => {
            world.report_with(&format!("d{device}"), |report| report.branch = Some(stage(NAMES[*on])));
            world.pass();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_generations_only_grow_and_a_second_pass_writes_nothing(
        steps in proptest::collection::vec(step(), 1..12)
    ) {
        let mut world = World::with_devices("d0 d1 d2 d3");
        let mut places: BTreeMap<DeviceId, Order> = BTreeMap::new();
        for (number, step) in (1u32..).zip(&steps) {
            tell(&mut world, number, step);
            prop_assert_eq!(world.pass(), "nothing");
            for (device, record) in &world.state.devices {
                let Some(assignment) = &record.assignment else { continue };
                let before = places.insert(device.clone(), assignment.order);
                prop_assert!(before.is_none_or(|before| before <= assignment.order));
            }
        }
    }

    #[test]
    fn a_narrowed_pass_decides_what_a_full_pass_would(
        steps in proptest::collection::vec(step(), 1..10),
        dirty in 0..4usize,
        generation in 1..8u64,
        choice in proptest::option::of(0..3usize),
    ) {
        let mut world = World::with_devices("d0 d1 d2 d3");
        for (number, step) in (1u32..).zip(&steps) {
            tell(&mut world, number, step);
        }
        let name = format!("d{dirty}");
        let order = Order { epoch: Epoch::FIRST, generation: Generation::new(generation).unwrap() };
        world.report_with(&name, |report| {
            report.observed = Some(Mark { order, digest: content("v1").digest });
            report.branch = choice.map(|on| stage(NAMES[on]));
        });
        let input = PassInput { now: world.now, stages: &world.stages, state: &world.state, views: &world.views, contacts: &NoContacts };
        let full = pass(&input, &Scope::All);
        let narrowed = pass(&input, &Scope::Devices(BTreeSet::from([device(&name)])));
        prop_assert_eq!(full.changes, narrowed.changes);
    }
}
