//! What devices are led from, and go back to: only what they have proven, wherever they were meanwhile.

use super::ways::{STEPS, commit, on_the_first};
use super::*;
use crate::domain::desired::Branch;

impl World {
    /// Another stage gives a device what that commit says, and lets it go again.
    fn visits_production(&mut self, name: &str, number: u32, desired: &Desired) {
        let mut theirs = Desired::clone(desired);
        let own = theirs.devices.get(&device(name)).expect("it is listed").clone();
        theirs.devices = Default::default();
        theirs.devices.insert(device(name), own);
        let own = Arc::make_mut(theirs.devices.get_mut(&device(name)).expect("it was just put there"));
        own.branch = Branch::Stage("production".parse().expect("a stage"));
        self.push_desired("production", number, theirs, Lineage::Extends);
        self.approve("production");
        self.is_well(name);
        // The stage that lists it as well gets it back.
        self.push("production", number + 1, "");
        self.report_with(name, |_| {});
        self.later(1);
    }

    fn release(&self, name: &str) -> String {
        let assigned = self.state.devices[name].assignment.as_ref().expect("something is assigned");
        format!("{} {}", assigned.order, assigned.spec.spec.apps["web"].release)
    }

    fn phase(&self, rollout: &str, name: &str) -> String {
        let member = &self.state.rollouts[rollout].members[name];
        match &member.phase {
            crate::domain::rollout::machine::Phase::Excluded { reason } => format!("EXCLUDED: {reason}"),
            phase => phase.as_str().to_owned(),
        }
    }

    /// It has accepted what it was assigned, and is at it.
    fn begins(&mut self, name: &str) {
        let mark = self.state.devices[name].assignment.as_ref().expect("something is assigned").mark();
        self.report_with(name, |report| {
            report.observed = Some(mark);
            report.phase = Phase::Applying;
        });
        self.pass();
    }

    fn all_are_heard_of(&mut self) {
        for name in ["canary", "kiosk-1", "kiosk-2"] {
            self.report_with(name, |_| {});
        }
    }
}

/// Devices on 1.9.0; the canary has been offered 2.0.0, which is reached from there only.
fn offered_after_1_9() -> World {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("1.9.0", "1.0.0 1.9.0", ""), Lineage::Extends);
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.is_well(name);
    }
    world.push_desired("main", 3, commit("2.0.0", "1.0.0 1.9.0 2.0.0<1.9.0", STEPS), Lineage::Extends);
    world
}

#[test]
fn a_device_that_was_elsewhere_meanwhile_is_led_from_what_it_has_now() {
    let mut world = offered_after_1_9();
    assert_eq!(world.release("canary"), "1.3 2.0.0");
    world.visits_production("canary", 9, &commit("1.0.0", "1.0.0", ""));
    let told = format!("{}, {}", world.release("canary"), world.phase("main-00000000", "canary"));
    insta::assert_snapshot!(told, @"1.4 1.0.0, EXCLUDED: it has something else than when the rollout was made, and would have to go another way");
}

#[test]
fn a_device_that_was_elsewhere_meanwhile_goes_back_to_what_it_had_there() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.is_well("canary");
    world.all_are_heard_of();
    world.later(601);
    assert_eq!(world.place("kiosk-1"), "1.2 v2 from main");
    world.visits_production("kiosk-1", 9, &super::super::world::desired("kiosk-1:production:v9"));
    assert_eq!(world.place("kiosk-1"), "1.4 v2 from main", "it takes part again");
    world.goes_back("kiosk-1");
    world.ask("main-00000000", Act::Rollback);
    insta::assert_snapshot!(world.place("kiosk-1"), @"1.5 v9 from main");
}

#[test]
fn a_device_does_not_go_back_before_what_is_irreversible_and_it_got_elsewhere() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("1.5.0", "1.0.0 1.2.0 1.5.0", STEPS), Lineage::Extends);
    world.is_well("canary");
    for _ in 0..2 {
        world.all_are_heard_of();
        world.later(301);
    }
    world.visits_production("kiosk-1", 9, &commit("1.4.0", "1.0.0 1.4.0? 1.5.0", ""));
    world.goes_back("kiosk-1");
    world.ask("main-00000000", Act::Rollback);
    insta::assert_snapshot!(world.release("kiosk-1"), @"1.5 1.4.0");
}

#[test]
fn who_lost_its_next_leg_goes_back_all_the_way() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("2.0.0", "1.0.0 1.9.0 2.0.0<1.9.0", STEPS), Lineage::Extends);
    world.is_well("canary");
    for _ in 0..2 {
        world.report_with("canary", |_| {});
        world.later(301);
    }
    let mut told = vec![world.release("canary")];
    world.ask("main-00000000", Act::Abort);
    told.push(world.release("canary"));
    world.ask("main-00000000", Act::Rollback);
    told.push(world.release("canary"));
    insta::assert_snapshot!(told.join("\n"), @r#"
    1.3 2.0.0
    1.4 1.9.0
    1.5 1.0.0
    "#);
}

#[test]
fn a_site_that_goes_back_takes_those_between_two_releases_along() {
    let mut world = on_the_first();
    let policy = "\
rollouts: {careful: {steps: [{name: canaries, group: canaries, soak: 1m}], final: {site: shop, soak: 1m, min_success: 1%}}}
rollout: [{stage: main, policy: careful}]
";
    let mut desired = commit("2.0.0", "1.0.0 1.9.0 2.0.0<1.9.0", policy);
    for name in ["kiosk-1", "kiosk-2"] {
        let listed = Arc::make_mut(desired.devices.get_mut(&device(name)).expect("it is listed"));
        listed.labels.insert("shop".to_owned(), "bern".to_owned());
    }
    world.push_desired("main", 2, desired, Lineage::Extends);
    for _ in 0..2 {
        world.is_well("canary");
        world.all_are_heard_of();
        world.later(61);
    }
    world.is_well("kiosk-1");
    world.report_with("kiosk-1", |_| {});
    world.later(61);
    let mut told = vec![world.on_the_way()];
    world.goes_back("kiosk-2");
    told.push(world.on_the_way());
    insta::assert_snapshot!(told.join("\n\n"), @r#"
    main-00000000 ACTIVE
    canary 1.3: 2.0.0, SUCCEEDED, 0 to go first
    kiosk-1 1.3: 2.0.0, OFFERED, 0 to go first
    kiosk-2 1.2: 1.9.0, OFFERED, 1 to go first; release 2.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.9.0

    main-00000000 ERROR
    canary 1.3: 2.0.0, SUCCEEDED, 0 to go first
    kiosk-1 1.4: 1.0.0, ROLLED_BACK, 0 to go first; release 2.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.0.0
    kiosk-2 1.3: 1.0.0, ROLLED_BACK, 1 to go first
    "#);
}

#[test]
fn lifting_a_quarantine_reaches_those_whom_a_commit_that_is_done_left_out() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    world.ask("main-00000000", Act::Abort);
    // A commit with other content for all but one.
    let mut desired = gated("v3", CAREFUL);
    let same = gated("v2", CAREFUL).devices.get(&device("kiosk-2")).expect("it is listed").clone();
    desired.devices.insert(device("kiosk-2"), same);
    world.all_are_heard_of();
    world.push_desired("main", 3, desired, Lineage::Extends);
    for name in ["canary", "kiosk-1"] {
        world.is_well(name);
        world.all_are_heard_of();
        world.later(601);
    }
    let mut told = vec![world.stands()];
    told.push(world.ask("main-00000000", Act::Lift));
    insta::assert_snapshot!(told.join("\n\n"), @r#"
    main-00000000 ABORTED (FAILED, QUEUED)
      canary ROLLED_BACK
      kiosk-1 CANCELED
      kiosk-2 CANCELED
    main-00000000.2 DONE (PASSED, PASSED)
      canary SUCCEEDED
      kiosk-1 SUCCEEDED
    canary: 1.3 v3 from main
    kiosk-1: 1.2 v3 from main
    kiosk-2: 1.1 v1 from main

    main-00000000 ABORTED (FAILED, QUEUED)
      canary ROLLED_BACK
      kiosk-1 CANCELED
      kiosk-2 CANCELED
    main-00000000.2 DONE (PASSED, PASSED)
      canary SUCCEEDED
      kiosk-1 SUCCEEDED
      kiosk-2 OFFERED
    canary: 1.3 v3 from main
    kiosk-1: 1.2 v3 from main
    kiosk-2: 1.2 v2 from main
    "#);
}

#[test]
fn a_rollback_never_leads_to_a_leg_that_failed() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("2.0.0", "1.0.0 1.9.0 2.0.0<1.9.0", STEPS), Lineage::Extends);
    world.goes_back("canary");
    assert_eq!(world.release("canary"), "1.2 1.9.0", "the leg failed");
    world.push_desired("main", 3, commit("1.2.0", "1.0.0 1.2.0", STEPS), Lineage::Extends);
    world.report_with("canary", |_| {});
    world.later(1);
    world.goes_back("canary");
    world.ask("main-00000000.2", Act::Rollback);
    insta::assert_snapshot!(world.release("canary"), @"1.4 1.0.0");
}

#[test]
fn a_rollback_leads_to_nothing_that_was_never_proven() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.begins("canary");
    world.ask("main-00000000", Act::Pause { until: None });
    push(&mut world, 3, "v3");
    assert_eq!(world.phase("main-00000000", "canary"), "IN_PROGRESS", "nobody hears any more how it went with v2");
    world.goes_back("canary");
    world.ask("main-00000000.2", Act::Rollback);
    insta::assert_snapshot!(world.place("canary"), @"1.4 v1 from main");
}

#[test]
fn a_leg_that_failed_is_in_quarantine_where_it_did() {
    let mut world = on_the_first();
    world.push_desired("main", 2, commit("2.0.0", "1.0.0 1.9.0 2.0.0<1.9.0", STEPS), Lineage::Extends);
    world.goes_back("canary");
    let desired = commit("1.9.0", "1.0.0 1.9.0 2.0.0<1.9.0", STEPS);
    world.arrives("main", 3, desired, Lineage::Extends);
    let mut kept: Vec<String> = Vec::new();
    for _ in 0..4 {
        kept.extend(world.one_pass().into_iter().filter_map(|change| match change {
            Change::Event(event) if event.kind == "Quarantined" => Some(event.message),
            _ => None,
        }));
    }
    let members: Vec<&str> = world.state.rollouts["main-00000000.2"].members.keys().map(|one| one.as_str()).collect();
    insta::assert_snapshot!(format!("{}\nof the newer one: {}", kept.join("\n"), members.join(", ")), @r#"
    1 device keeps what it has: what it would get went wrong before
    of the newer one: kiosk-1, kiosk-2
    "#);
}

#[test]
fn a_device_that_never_said_anything_is_not_led_on() {
    let mut world = World::with_devices("canary kiosk-1 kiosk-2");
    world.push_desired("main", 1, commit("1.0.0", "1.0.0", ""), Lineage::Extends);
    world.push_desired("main", 2, commit("2.0.0", "1.0.0 1.9.0 2.0.0<1.9.0", ""), Lineage::Extends);
    insta::assert_snapshot!(world.on_the_way(), @r#"
    canary 1.1: 1.0.0; release 2.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.0.0
    kiosk-1 1.1: 1.0.0; release 2.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.0.0
    kiosk-2 1.1: 1.0.0; release 2.0.0 of `web` is not reached from everywhere, and the device has not said yet that it runs 1.0.0
    "#);
    world.is_well("canary");
    assert_eq!(world.release("canary"), "1.2 1.9.0", "it has said so");
}

#[test]
fn a_plan_counts_each_release_on_the_way() {
    let world = on_the_first();
    let plan = |releases: &str| {
        let head = Head { commit: commit_id(9), tree: commit_id(1009) };
        let desired = Arc::new(commit("3.0.0", releases, STEPS));
        let candidate = Candidate { head, inventory: None, desired, base: None, lineage: Lineage::Extends };
        let accepted = Default::default();
        let (stages, state) = (&world.stages, &world.state);
        let policy = &stages[0];
        let plan = plan_stage(&PlanInput { policy, stages, state, accepted: &accepted, candidate: &candidate });
        let steps: Vec<String> = plan.rollouts["careful"].steps.iter().map(ToString::to_string).collect();
        steps.join("\n")
    };
    insta::assert_snapshot!(plan("1.0.0 3.0.0"), @r#"
    canaries (group canaries): 1 device, 0 may fail, seen from 100%, ends after 10m to 6h 10m
    final (all others): 2 devices, 0 may fail, seen from 50%, ends after 11m to 6h 41m
    "#);
    insta::assert_snapshot!(plan("1.0.0 1.9.0 2.0.0<1.9.0 3.0.0<2.0.0"), @r#"
    canaries (group canaries): 1 device, 0 may fail, seen from 100%, ends after 30m to 6h 10m
    final (all others): 2 devices, 0 may fail, seen from 50%, ends after 33m to 6h 41m
    "#);
}
