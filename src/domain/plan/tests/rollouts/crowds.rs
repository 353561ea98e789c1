//! What is kept of groups between passes is what counting all devices gives.

use super::back::{hold, let_go};
use super::*;
use crate::domain::fleet::{Identity, IdentityStatus};
use crate::domain::ids::LabelName;
use crate::domain::plan::rollouts::FleetWorld;
use crate::domain::plan::tests::world::stage;
use crate::domain::rollout::machine::World as _;
use proptest::prelude::*;
use proptest::sample::select;

const BUDGETS: &str = "\
rollouts:
  careful:
    lost_after: 2m
    budgets: [{label: site, max_unavailable: 1, min_available: 1}]
    steps: [{name: canaries, group: canaries}]
    final: {soak: 1m, window: 10m}
  slow:
    budgets: [{label: site, max_unavailable: 2}]
    final: {soak: 1m, window: 10m}
rollout:
  - {stage: main, group: canaries, policy: careful}
  - {stage: main, policy: slow}
";
const NAMES: [&str; 3] = ["canary", "kiosk-1", "kiosk-2"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Poke {
    Later(i64),
    /// The clock is set back.
    Earlier(i64),
    /// It polls: nothing is written.
    Polls(&'static str),
    Well(&'static str),
    Fails(&'static str),
    Refused(&'static str),
    Enrolled(&'static str),
    Held(&'static str),
    Free(&'static str),
    Push(u8, [&'static str; 3]),
    Ask(Act),
}

fn any_poke() -> impl Strategy<Value = Poke> {
    let name = || select(NAMES.to_vec());
    let site = || select(vec!["bern", "chur"]);
    let act = select(vec![Act::Abort, Act::Rollback, Act::Retry(Which::Failed), Act::Lift]);
    prop_oneof![
        4 => (1_i64..400).prop_map(Poke::Later),
        1 => (1_i64..400).prop_map(Poke::Earlier),
        4 => name().prop_map(Poke::Polls),
        4 => name().prop_map(Poke::Well),
        2 => name().prop_map(Poke::Fails),
        1 => name().prop_map(Poke::Refused),
        1 => name().prop_map(Poke::Enrolled),
        1 => name().prop_map(Poke::Held),
        1 => name().prop_map(Poke::Free),
        2 => (1_u8..5, [site(), site(), site()]).prop_map(|(version, sites)| Poke::Push(version, sites)),
        1 => act.prop_map(Poke::Ask),
    ]
}

fn set_identity(world: &mut World, name: &str, status: IdentityStatus) {
    let identity = world.state.devices[name].identity.clone().expect("it is enrolled");
    let identity = Identity { status, ..Identity::clone(&identity) };
    world.apply(&[Change::Identity(device(name), Arc::new(identity))]);
}

fn poke(world: &mut World, number: u32, poke: &Poke) {
    let is_assigned = |world: &World, name: &str| world.state.devices[name].assignment.is_some();
    match poke {
        Poke::Later(secs) => _ = world.later(*secs),
        Poke::Earlier(secs) => world.now = world.now.plus_secs(-secs),
        Poke::Polls(name) => _ = world.heard.0.insert(device(name), world.now),
        Poke::Well(name) if is_assigned(world, name) => _ = world.is_well(name),
        Poke::Fails(name) if is_assigned(world, name) => _ = world.goes_back(name),
        Poke::Well(_) | Poke::Fails(_) => {}
        Poke::Refused(name) => set_identity(world, name, IdentityStatus::Rejected),
        Poke::Enrolled(name) => set_identity(world, name, IdentityStatus::Enrolled),
        Poke::Held(name) => hold(world, name),
        Poke::Free(name) => let_go(world, name),
        Poke::Push(version, sites) => {
            let mut desired = gated(&format!("v{version}"), BUDGETS);
            for (listed, site) in desired.devices.values_mut().zip(sites) {
                Arc::make_mut(listed).labels.insert("site".to_owned(), (*site).to_owned());
            }
            world.push_desired("main", number, desired, Lineage::Extends);
        }
        Poke::Ask(act) => {
            let names: Vec<String> = world.state.rollouts.keys().map(ToString::to_string).collect();
            names.iter().for_each(|name| _ = world.ask(name, act.clone()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_of_groups_is_what_counting_all_devices_gives(pokes in prop::collection::vec(any_poke(), 1..25)) {
        let mut world = running();
        world.heard.0.insert(device("canary"), world.now);
        let label = LabelName::new("site").expect("a label");
        poke(&mut world, 2, &Poke::Push(2, ["bern", "bern", "chur"]));
        for (number, one) in (3..).zip(&pokes) {
            poke(&mut world, number, one);
            let World { state, views, stages, now, passes, heard } = &world;
            let input = PassInput { now: *now, stages, state, views, contacts: heard };
            let Some(desired) = input.accepted(&stage("main")) else { continue };
            for record in state.rollouts.values() {
                let all = FleetWorld::new(&input, desired, record);
                let kept = FleetWorld::new(&input, desired, record).counting(passes.crowds());
                for value in ["bern", "chur", "olten"] {
                    prop_assert_eq!(kept.group(&label, value), all.group(&label, value), "{} at {} after {:?}", value, now, one);
                }
            }
        }
    }
}
