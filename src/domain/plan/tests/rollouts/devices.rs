//! Devices that come, and those that follow no policy.

use super::*;
use crate::domain::fleet::{CLONE, Conflict, Control};

#[test]
fn another_list_of_devices_lifts_no_quarantine() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    world.enroll("kiosk-3");
    world.is_listed(2, "v2", &["kiosk-3"]);
    world.pass();
    world.later(86_400);
    insta::assert_snapshot!(world.stands(), @r#"
    main-00000000 ERROR (FAILED, QUEUED)
      canary ROLLED_BACK
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    "#);
}

#[test]
fn devices_that_join_in_one_pass_are_one_turn_of_the_rollout() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.is_well("canary");
    world.later(601);
    for name in ["kiosk-1", "kiosk-2"] {
        world.is_well(name);
    }
    world.later(61);
    for name in ["kiosk-3", "kiosk-4"] {
        world.enroll(name);
        world.report_with(name, |_| {});
    }
    world.is_listed(2, "v2", &["kiosk-3", "kiosk-4"]);
    let mut most = 0;
    loop {
        let (stages, state, views) = (&world.stages, &world.state, &world.views);
        let input = PassInput { now: world.now, stages, state, views, contacts: &NoContacts };
        let changes = pass(&input, &Scope::All).changes;
        let is_head = |change: &&Change| matches!(change, Change::Rollout(_, RolloutChange::Head { .. }));
        most = changes.iter().filter(is_head).count().max(most);
        if changes.is_empty() || world.pass() == "nothing" {
            break;
        }
    }
    assert!(most <= 1, "the head is written {most} times in a pass");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 DONE (PASSED, PASSED)
      canary SUCCEEDED
      kiosk-1 SUCCEEDED
      kiosk-2 SUCCEEDED
      kiosk-3 QUEUED
      kiosk-4 OFFERED
    canary: 1.2 v2 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.2 v2 from main
    ");
}

#[test]
fn a_device_that_is_new_joins_what_is_under_way() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.enroll("kiosk-3");
    world.is_listed(2, "v2", &["kiosk-3"]);
    world.pass();
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
      kiosk-3 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}

#[test]
fn devices_of_no_rule_get_everything_at_once_and_a_freeze_holds_everybody() {
    let mut world = running();
    let policy = "rollout: [{stage: main, group: canaries, policy: cautious}]\nfreezes: [{reason: end of year, from: 1970-01-01T00:10:00Z, until: 1970-01-01T01:00:00Z}]\n";
    world.push_desired("main", 2, gated("v2", policy), Lineage::Extends);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED, QUEUED)
      canary QUEUED
    canary: 1.1 v1 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.2 v2 from main
    ");
    world.later(600);
    world.push_desired("main", 3, gated("v3", policy), Lineage::Extends);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED, QUEUED)
      canary QUEUED
    canary: 1.1 v1 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.2 v2 from main
    ");
    world.later(3600);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED, QUEUED)
      canary QUEUED
    canary: 1.1 v1 from main
    kiosk-1: 1.3 v3 from main
    kiosk-2: 1.3 v3 from main
    ");
}

#[test]
fn a_rollback_takes_nothing_from_a_device_that_is_in_doubt() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.is_well("canary");
    for name in ["kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(601);
    world.goes_back("kiosk-1");
    let mut control = Control::clone(&world.state.devices["canary"].control);
    let (reason, message) = (CLONE.to_owned(), "two agents report".to_owned());
    control.conflict = Some(Conflict { reason, message, since: world.now, device: None });
    world.apply(&[Change::Control(device("canary"), Arc::new(control))]);
    insta::assert_snapshot!(world.ask("main-00000000", Act::Rollback), @r"
    main-00000000 ROLLING_BACK (PASSED, FAILED)
      canary SUCCEEDED, back: Kept
      kiosk-1 ROLLED_BACK, back: Offered
      kiosk-2 CANCELED
    canary: 1.2 v2 from main
    kiosk-1: 1.3 v1 from main
    kiosk-2: 1.3 v1 from main
    ");
    // It holds nobody up either.
    for name in ["kiosk-1", "kiosk-2"] {
        world.is_well(name);
    }
    world.later(86_400);
    assert!(world.stands().starts_with("main-00000000 ROLLED_BACK"), "{}", world.stands());
}

#[test]
fn a_commit_takes_the_place_of_the_one_before_at_the_end_of_its_step_or_at_once_where_the_policy_forces_it() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.is_well("canary");
    let mut forced = world.clone();
    push(&mut world, 3, "v3");
    insta::assert_snapshot!(world.stands(), @"
    main-00000000 ACTIVE (SOAKING, QUEUED)
      canary IN_PROGRESS
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    let policy = CAREFUL.replace("final:", "supersede: force\n    final:");
    forced.push_desired("main", 3, gated("v3", &policy), Lineage::Extends);
    insta::assert_snapshot!(forced.stands(), @"
    main-00000000 SUPERSEDED (SOAKING, QUEUED)
      canary IN_PROGRESS
      kiosk-1 SUPERSEDED
      kiosk-2 SUPERSEDED
    main-00000000.2 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.3 v3 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}
