//! The way back: whose it is, what it leads to, and how it ends.

use super::*;
use crate::domain::fleet::{Hold, HoldScope};
use crate::domain::plan::rollouts::RolloutActError;

/// Ada holds a device.
pub(super) fn hold(world: &mut World, name: &str) {
    let (actor, reason) = (Actor::new("ada").expect("an actor"), "on a table".to_owned());
    let hold = Hold { since: world.now, until: None, actor, reason };
    world.apply(&[Change::Hold(HoldScope::Device(device(name)), hold)]);
}

pub(super) fn let_go(world: &mut World, name: &str) {
    world.apply(&[Change::HoldGone(HoldScope::Device(device(name)))]);
}

/// The canary has v2 and is well, kiosk-1 failed with it, kiosk-2 has said nothing.
fn failed_halfway() -> World {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.is_well("canary");
    for name in ["kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(601);
    world.goes_back("kiosk-1");
    world
}

#[test]
fn a_held_device_is_not_told_to_go_back_before_the_hold_ends() {
    let mut world = failed_halfway();
    hold(&mut world, "canary");
    world.ask("main-00000000", Act::Rollback);
    world.is_well("kiosk-1");
    world.later(60);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ROLLING_BACK (PASSED, FAILED)
      canary SUCCEEDED, back: Waiting
      kiosk-1 ROLLED_BACK, back: Done
      kiosk-2 CANCELED
    canary: 1.2 v2 from main
    kiosk-1: 1.3 v1 from main
    kiosk-2: 1.3 v1 from main
    ");
    let_go(&mut world, "canary");
    world.later(60);
    insta::assert_snapshot!(world.place("canary"), @"1.3 v1 from main");
    world.is_well("canary");
    assert!(world.stands().starts_with("main-00000000 ROLLED_BACK"), "{}", world.stands());
}

#[test]
fn a_newer_commit_does_not_wait_for_a_held_device_to_go_back() {
    let mut world = failed_halfway();
    hold(&mut world, "canary");
    world.ask("main-00000000", Act::Rollback);
    world.is_well("kiosk-1");
    push(&mut world, 3, "v3");
    world.later(60);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ABORTED (PASSED, FAILED)
      canary SUCCEEDED, back: Kept
      kiosk-1 ROLLED_BACK, back: Done
      kiosk-2 CANCELED
    main-00000000.2 ACTIVE (QUEUED, QUEUED)
      canary QUEUED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.3 v1 from main
    kiosk-2: 1.3 v1 from main
    ");
}

#[test]
fn a_device_that_another_stage_owns_by_now_is_left_to_it() {
    let mut world = failed_halfway();
    world.push("production", 9, "canary:production:v9");
    world.approve("production");
    world.is_well("canary");
    let has = world.place("canary");
    world.ask("main-00000000", Act::Rollback);
    assert_eq!(world.place("canary"), has);
    world.is_well("kiosk-1");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ROLLED_BACK (PASSED, FAILED)
      canary SUCCEEDED, back: Kept
      kiosk-1 ROLLED_BACK, back: Done
      kiosk-2 CANCELED
    canary: 1.3 v9 from production
    kiosk-1: 1.3 v1 from main
    kiosk-2: 1.3 v1 from main
    ");
}

#[test]
fn an_aborted_rollout_is_not_rolled_back_under_a_newer_commit() {
    let mut world = failed_halfway();
    world.ask("main-00000000", Act::Abort);
    world.push("main", 3, &FLEET.replace('V', "v3"));
    insta::assert_snapshot!(world.ask("main-00000000", Act::Rollback), @"main-00000000 has ended, and commit 00000000 counts by now: revert that one in Git");
}

#[test]
fn what_a_device_goes_back_to_is_never_what_failed_before() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    // It is assigned v2, which it could not do, and runs v1.
    push(&mut world, 3, "v3");
    world.goes_back("canary");
    world.ask("main-00000000.2", Act::Rollback);
    insta::assert_snapshot!(world.place("canary"), @"1.4 v1 from main");
}

#[test]
fn going_back_that_comes_to_no_end_can_be_aborted() {
    let mut world = running();
    let policy = CAREFUL.replace("    final", "    budgets: [{label: site, min_available: 3}]\n    final");
    let sited = |version: &str| {
        let mut desired = gated(version, &policy);
        for listed in desired.devices.values_mut() {
            Arc::make_mut(listed).labels.insert("site".to_owned(), "bern".to_owned());
        }
        desired
    };
    world.push_desired("main", 2, sited("v2"), Lineage::Extends);
    let before = world.stands();
    world.state.rollouts.values_mut().for_each(|record| Arc::make_mut(&mut record.head).policy.budgets.clear());
    let state = world.state.clone();
    world.restore(state);
    world.later(1);
    world.is_well("canary");
    for name in ["kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(601);
    let budgets = sited("v2").rollouts.policies["careful"].budgets.clone();
    world
        .state
        .rollouts
        .values_mut()
        .for_each(|record| Arc::make_mut(&mut record.head).policy.budgets = budgets.clone());
    let state = world.state.clone();
    world.restore(state);
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.ask("main-00000000", Act::Rollback);
    world.later(60);
    insta::assert_snapshot!(format!("{before}\n\n{}", world.stands()), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED)
      canary QUEUED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.1 v1 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main

    main-00000000 ROLLING_BACK (PASSED, RUNNING)
      canary SUCCEEDED, back: Waiting
      kiosk-1 CANCELED
      kiosk-2 CANCELED
    canary: 1.2 v2 from main
    kiosk-1: 1.3 v1 from main
    kiosk-2: 1.3 v1 from main
    ");
    insta::assert_snapshot!(world.ask("main-00000000", Act::Abort), @r"
    main-00000000 ABORTED (PASSED, RUNNING)
      canary SUCCEEDED, back: Kept
      kiosk-1 CANCELED
      kiosk-2 CANCELED
    canary: 1.2 v2 from main
    kiosk-1: 1.3 v1 from main
    kiosk-2: 1.3 v1 from main
    ");
}

#[test]
fn a_quarantine_is_lifted_by_a_person_and_the_content_goes_out_by_a_rollout_of_its_own() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    assert_eq!(
        world.ask("main-00000000", Act::Lift),
        "a rollout that is ERROR cannot be lifted; it must be ABORTED or ROLLED_BACK"
    );
    // A commit that has nothing to do with it brings the same content.
    push(&mut world, 3, "v2");
    world.report_with("canary", |_| {});
    insta::assert_snapshot!(world.ask("main-00000000", Act::Lift), @r"
    main-00000000 ABORTED (FAILED, QUEUED)
      canary ROLLED_BACK
      kiosk-1 CANCELED
      kiosk-2 CANCELED
    main-00000000.2 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.3 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    let attempt = world.state.devices["canary"].assignment.as_ref().map(|one| one.attempt.to_string());
    assert_eq!(attempt.as_deref(), Some("2"), "the device said that it could not do the first");
    assert_eq!(world.ask("main-00000000", Act::Lift), "what it brought is not in quarantine");
}

#[test]
fn an_assignment_of_a_rollout_that_cannot_be_read_is_not_handed_out() {
    let mut world = running();
    push(&mut world, 2, "v2");
    let assignment = world.state.devices["canary"].assignment.clone().expect("it is offered v2");
    assert!(world.state.serves(&assignment));
    world.state.rollouts.clear();
    assert!(!world.state.serves(&assignment), "nobody knows whether it was stopped");
    assert!(
        world.waits("canary").contains("rollout-unreadable: rollout main-00000000, which offered 1.2, cannot be read")
    );
    let retried = crate::domain::acts::retry::retry(
        &world.state,
        &device("canary"),
        crate::domain::acts::retry::OverLocks::No,
        "it is good",
        &world.acting(),
    );
    world.apply(&retried.expect("it is assigned"));
    let assignment = world.state.devices["canary"].assignment.clone().expect("it is assigned");
    assert!(world.state.serves(&assignment), "a person said so");
}

#[test]
fn one_more_attempt_beside_the_rollout_is_not_given_out_twice() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    let once_more = crate::domain::acts::retry::retry(
        &world.state,
        &device("canary"),
        crate::domain::acts::retry::OverLocks::No,
        "look again",
        &world.acting(),
    );
    world.apply(&once_more.expect("it is assigned"));
    world.goes_back("canary");
    world.ask("main-00000000", Act::Retry(Which::Failed));
    let attempt = world.state.devices["canary"].assignment.as_ref().map(|one| one.attempt.to_string());
    assert_eq!(attempt.as_deref(), Some("3"));
}

#[test]
fn what_was_acknowledged_is_in_the_history() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    let name: RolloutName = "main-00000000".parse().expect("a name");
    let (stages, state, views) = (&world.stages, &world.state, &world.views);
    let input = PassInput { now: world.now, stages, state, views, contacts: &NoContacts };
    let act = Act::Resume { acknowledge: Acknowledge::Failures };
    let done: Result<_, RolloutActError> =
        Passes::default().act(&input, &name, act, &Actor::new("ada").expect("an actor"), "two broken fans");
    let said = done.expect("it is in an error").into_iter().find_map(|change| match change {
        Change::Event(event) if event.kind == "Resumed" => Some(event.message),
        _ => None,
    });
    insta::assert_snapshot!(said.unwrap_or_default(), @"1 failure acknowledged: two broken fans [ACTIVE, step 1: 0 ok, 0 bad of 0]");
}
