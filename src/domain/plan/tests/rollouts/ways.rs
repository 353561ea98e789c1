//! Devices that go through other releases on their way.

use super::*;
use crate::domain::desired::Resolver;
use crate::domain::plan::waits::waits;
use crate::domain::snapshot::Snapshot;
use proptest::prelude::*;

const COMPOSE: &str = "services: {web: {image: \
     example.com/web@sha256:0000000000000000000000000000000000000000000000000000000000000000}}";
/// The canaries of three devices go first.
pub(super) const STEPS: &str = "\
rollouts: {careful: {steps: [{name: canaries, group: canaries, min_success: 100%, soak: 10m, timeout: 6h}], final: {soak: 1m}}}
rollout: [{stage: main, policy: careful}]
";

/// A commit in which devices shall have this release of `web`. `2.0.0<1.9.0,^1.5` is reached from those.
pub(super) fn commit(pin: &str, releases: &str, policy: &str) -> Desired {
    let desired = Resolver::default().resolve(&files(pin, releases, policy));
    let errors = desired.findings.iter().filter(|one| one.severity == crate::domain::finding::Severity::Error);
    assert_eq!(errors.count(), 0, "{:?}", desired.findings);
    Desired::clone(&desired)
}

/// The same as files. `2.0.0!` was invalidated, `2.0.0?` is irreversible.
pub(super) fn files(pin: &str, releases: &str, policy: &str) -> Snapshot {
    let mut files = vec![
        ("fleet.yml".to_owned(), format!("name: test\napps: {{web: {{}}}}\n{policy}")),
        (
            "inventory.yml".to_owned(),
            "all: {children: {canaries: {hosts: {canary: }}, others: {hosts: {kiosk-1: , kiosk-2: }}}}\n".to_owned(),
        ),
        ("group_vars/all.yml".to_owned(), format!("branch: main\npins: {{web: {pin}}}\n")),
    ];
    for word in releases.split(' ') {
        let (version, from) = word.split_once('<').unwrap_or((word, ""));
        let marks = [('!', "invalidated: {reason: bad}\n"), ('?', "irreversible: true\n")];
        let bad: String = marks.iter().filter(|(mark, _)| version.contains(*mark)).map(|(_, text)| *text).collect();
        let version = version.trim_end_matches(['!', '?']);
        let from = if from.is_empty() {
            String::new()
        } else {
            format!("requires: {{from: [{}]}}\n", from.replace(',', ", "))
        };
        files.push((format!("releases/web/{version}/release.yml"), format!("version: {version}\n{bad}{from}")));
        files.push((format!("releases/web/{version}/compose.yml"), COMPOSE.to_owned()));
    }
    Snapshot::of_files(files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())))
}

/// Three devices that run release 1.0.0, and have said so.
pub(super) fn on_the_first() -> World {
    let mut world = World::with_devices("canary kiosk-1 kiosk-2");
    world.push_desired("main", 1, commit("1.0.0", "1.0.0", ""), Lineage::Extends);
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.is_well(name);
    }
    world
}

impl World {
    /// The release that each device was assigned, how it stands in its rollout, and what it waits for there.
    pub(super) fn on_the_way(&self) -> String {
        let input = PassInput {
            now: self.now,
            stages: &self.stages,
            state: &self.state,
            views: &self.views,
            contacts: &NoContacts,
        };
        let mut lines: Vec<String> =
            self.state.rollouts.iter().map(|(name, one)| format!("{name} {}", one.head.status)).collect();
        for name in ["canary", "kiosk-1", "kiosk-2"] {
            let assigned = self.state.devices[name].assignment.as_ref().expect("something is assigned");
            let release = &assigned.spec.spec.apps["web"].release;
            let members = self.state.rollouts.values().filter_map(|one| one.members.get(name));
            let phases: Vec<String> =
                members.map(|one| format!(", {}, {} to go first", one.phase.as_str(), one.detour.len())).collect();
            let waits = waits(&input, &device(name)).into_iter().find(|wait| wait.code.starts_with("requires"));
            let waits = waits.map(|wait| format!("; {}", wait.message)).unwrap_or_default();
            lines.push(format!("{name} {}: {release}{}{waits}", assigned.order, phases.concat()));
        }
        lines.join("\n")
    }
}

#[test]
fn a_device_goes_through_what_its_release_is_reached_from_and_proves_each_before_the_next() {
    let mut world = on_the_first();
    let desired = commit("3.0.0", "1.0.0 1.8.0 1.9.0 2.0.0<^1.9 3.0.0<2.0.0", STEPS);
    let planned = world.planned_detours("main", &desired);
    insta::assert_snapshot!(planned, @"
    canary: web 1.0.0 → 1.9.0 → 2.0.0 → 3.0.0
    kiosk-1: web 1.0.0 → 1.9.0 → 2.0.0 → 3.0.0
    kiosk-2: web 1.0.0 → 1.9.0 → 2.0.0 → 3.0.0
    ");
    world.push_desired("main", 2, desired, Lineage::Extends);
    insta::assert_snapshot!(world.on_the_way(), @"
    main-00000000 ACTIVE
    canary 1.2: 1.9.0, OFFERED, 2 to go first; release 3.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.9.0
    kiosk-1 1.1: 1.0.0, QUEUED, 2 to go first
    kiosk-2 1.1: 1.0.0, QUEUED, 2 to go first
    ");
    world.is_well("canary");
    world.later(300);
    insta::assert_snapshot!(world.on_the_way(), @"
    main-00000000 ACTIVE
    canary 1.2: 1.9.0, IN_PROGRESS, 2 to go first
    kiosk-1 1.1: 1.0.0, QUEUED, 2 to go first
    kiosk-2 1.1: 1.0.0, QUEUED, 2 to go first
    ");
    world.report_with("canary", |_| {});
    world.later(301);
    insta::assert_snapshot!(world.on_the_way(), @"
    main-00000000 ACTIVE
    canary 1.3: 2.0.0, OFFERED, 1 to go first; release 3.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 2.0.0
    kiosk-1 1.1: 1.0.0, QUEUED, 2 to go first
    kiosk-2 1.1: 1.0.0, QUEUED, 2 to go first
    ");
    // It is silent for a while before it takes the next one: it keeps what it has proven, and gets no other way.
    world.later(3600);
    insta::assert_snapshot!(world.on_the_way(), @"
    main-00000000 ACTIVE
    canary 1.4: 1.9.0, QUEUED, 1 to go first
    kiosk-1 1.1: 1.0.0, QUEUED, 2 to go first
    kiosk-2 1.1: 1.0.0, QUEUED, 2 to go first
    ");
    for _ in 0..2 {
        world.report_with("canary", |_| {});
        world.pass();
        world.is_well("canary");
        for name in ["kiosk-1", "kiosk-2"] {
            world.report_with(name, |_| {});
        }
        world.later(601);
    }
    insta::assert_snapshot!(world.on_the_way(), @"
    main-00000000 ACTIVE
    canary 1.6: 3.0.0, SUCCEEDED, 0 to go first
    kiosk-1 1.2: 1.9.0, OFFERED, 2 to go first; release 3.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.9.0
    kiosk-2 1.2: 1.9.0, OFFERED, 2 to go first; release 3.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.9.0
    ");
}

#[test]
fn a_device_that_follows_no_policy_goes_the_same_way() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("2.0.0", "1.0.0 1.9.0 2.0.0<1.9.0", ""), Lineage::Extends);
    insta::assert_snapshot!(world.on_the_way(), @"
    canary 1.2: 1.9.0; release 2.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.9.0
    kiosk-1 1.2: 1.9.0; release 2.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.9.0
    kiosk-2 1.2: 1.9.0; release 2.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.9.0
    ");
    world.is_well("canary");
    world.goes_back("kiosk-1");
    insta::assert_snapshot!(world.on_the_way(), @"
    canary 1.3: 2.0.0
    kiosk-1 1.2: 1.9.0; release 2.0.0 of `web` is not reached from everywhere, and the device failed to get to 1.9.0
    kiosk-2 1.2: 1.9.0; release 2.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.9.0
    ");
    assert_eq!(world.pass(), "nothing", "nobody is pushed on");
}

#[test]
fn nobody_is_led_back_before_an_irreversible_release() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("2.5.0", "1.0.0 2.4.0 2.5.0?", ""), Lineage::Extends);
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.is_well(name);
    }
    // What they have turned out to be bad, so it leads nowhere; what does lies before it.
    let planned = world.planned_detours("main", &commit("2.6.0", "2.4.0 2.5.0?! 2.6.0<2.4.0", STEPS));
    insta::assert_snapshot!(planned, @"
    canary: release 2.6.0 of `web` is reached from 2.4.0, the device has 2.5.0; pin one of those first
    kiosk-1: release 2.6.0 of `web` is reached from 2.4.0, the device has 2.5.0; pin one of those first
    kiosk-2: release 2.6.0 of `web` is reached from 2.4.0, the device has 2.5.0; pin one of those first
    ");
    let planned = world.planned_detours("main", &commit("2.6.0", "2.4.0 2.5.0! 2.6.0<2.4.0", STEPS));
    insta::assert_snapshot!(planned, @"
    canary: web 2.5.0 → 2.4.0 → 2.6.0
    kiosk-1: web 2.5.0 → 2.4.0 → 2.6.0
    kiosk-2: web 2.5.0 → 2.4.0 → 2.6.0
    ");
}

#[test]
fn where_no_way_leads_the_device_keeps_what_it_has_and_everybody_is_told() {
    let mut world = on_the_first();
    let told = |world: &mut World, number: u32, releases: &str| {
        let desired = commit("3.0.0", releases, STEPS);
        let planned = world.planned_detours("main", &desired);
        world.push_desired("main", number, desired, Lineage::Extends);
        format!("{planned}\n{}", world.on_the_way())
    };
    insta::assert_snapshot!(told(&mut world, 2, "1.0.0 2.0.0<1.9.0 3.0.0<2.0.0"), @"
    canary: release 3.0.0 of `web`: no way leads from 1.0.0 to 3.0.0: 3.0.0 is reached from 2.0.0, and none of that from 1.0.0; name what the device has in `from` of one of those releases, or pin another one
    kiosk-1: release 3.0.0 of `web`: no way leads from 1.0.0 to 3.0.0: 3.0.0 is reached from 2.0.0, and none of that from 1.0.0; name what the device has in `from` of one of those releases, or pin another one
    kiosk-2: release 3.0.0 of `web`: no way leads from 1.0.0 to 3.0.0: 3.0.0 is reached from 2.0.0, and none of that from 1.0.0; name what the device has in `from` of one of those releases, or pin another one
    main-00000000 ACTIVE
    canary 1.1: 1.0.0, QUEUED, 0 to go first; release 3.0.0 of `web`: no way leads from 1.0.0 to 3.0.0: 3.0.0 is reached from 2.0.0, and none of that from 1.0.0
    kiosk-1 1.1: 1.0.0, QUEUED, 0 to go first; release 3.0.0 of `web`: no way leads from 1.0.0 to 3.0.0: 3.0.0 is reached from 2.0.0, and none of that from 1.0.0
    kiosk-2 1.1: 1.0.0, QUEUED, 0 to go first; release 3.0.0 of `web`: no way leads from 1.0.0 to 3.0.0: 3.0.0 is reached from 2.0.0, and none of that from 1.0.0
    ");
    insta::assert_snapshot!(told(&mut world, 3, "1.0.0 2.0.0! 3.0.0<2.0.0"), @"
    canary: release 3.0.0 of `web` is reached from 2.0.0, the device has 1.0.0; pin one of those first
    kiosk-1: release 3.0.0 of `web` is reached from 2.0.0, the device has 1.0.0; pin one of those first
    kiosk-2: release 3.0.0 of `web` is reached from 2.0.0, the device has 1.0.0; pin one of those first
    main-00000000 SUPERSEDED
    main-00000000.2 ACTIVE
    canary 1.1: 1.0.0, SUPERSEDED, 0 to go first, QUEUED, 0 to go first; release 3.0.0 of `web` is reached from 2.0.0, the device has 1.0.0
    kiosk-1 1.1: 1.0.0, SUPERSEDED, 0 to go first, QUEUED, 0 to go first; release 3.0.0 of `web` is reached from 2.0.0, the device has 1.0.0
    kiosk-2 1.1: 1.0.0, SUPERSEDED, 0 to go first, QUEUED, 0 to go first; release 3.0.0 of `web` is reached from 2.0.0, the device has 1.0.0
    ");
}

#[test]
fn a_device_that_has_not_proven_where_it_is_goes_its_way_from_there_once_it_has() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("1.5.0", "1.0.0 1.5.0", ""), Lineage::Extends);
    let desired = commit("2.0.0", "1.0.0 1.5.0 1.9.0<^1.5 2.0.0<1.9.0", STEPS);
    world.push_desired("main", 3, desired, Lineage::Extends);
    let release = |world: &World| {
        world.state.devices["canary"].assignment.as_ref().map(|one| one.spec.spec.apps["web"].release.to_string())
    };
    assert_eq!(release(&world).as_deref(), Some("1.5.0"), "it has not said that it is there");
    world.is_well("canary");
    for _ in 0..12 {
        world.report_with("canary", |_| {});
        world.later(60);
    }
    assert_eq!(release(&world).as_deref(), Some("1.9.0"), "it is led there from where it is, and no other way");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_release_that_a_device_is_given_is_reached_from_the_one_that_it_runs(
        from in prop::collection::vec(prop::collection::btree_set(1_usize..6, 0..3), 5),
    ) {
        // Release n is reached from those of a list that are earlier, and from all where there are none.
        let earlier = |release: usize| -> Vec<usize> {
            let list = release.checked_sub(2).and_then(|at| from.get(at));
            list.into_iter().flatten().copied().filter(|one| *one < release).collect()
        };
        let reaches = |from: usize, to: usize| earlier(to).is_empty() || earlier(to).contains(&from);
        let word = |release: usize| {
            let list: Vec<String> = earlier(release).iter().map(|one| format!("{one}.0.0")).collect();
            let list = if list.is_empty() { String::new() } else { format!("<{}", list.join(",")) };
            format!("{release}.0.0{list}")
        };
        let words: Vec<String> = (1..=6).map(word).collect();
        let mut world = on_the_first();
        world.push_desired("main", 2, commit("6.0.0", &words.join(" "), ""), Lineage::Extends);
        let release = |world: &World| -> usize {
            let assigned = world.state.devices["canary"].assignment.as_ref().expect("something is assigned");
            assigned.spec.spec.apps["web"].release.as_str()[..1].parse().expect("a digit")
        };
        let mut at = 1;
        while release(&world) != at {
            let next = release(&world);
            prop_assert!(reaches(at, next), "{at} does not lead to {next}: {words:?}");
            prop_assert!(next > at, "{words:?}");
            at = next;
            world.is_well("canary");
        }
        let mut reached = BTreeSet::from([1]);
        while let Some(more) = (2..=6).find(|to| !reached.contains(to) && reached.iter().any(|from| reaches(*from, *to))) {
            reached.insert(more);
        }
        prop_assert_eq!(at == 6, reached.contains(&6), "{:?}", words);
    }
}
