//! Several rollouts at a time.

use super::*;

const TWO: &str = "\
rollouts:
  careful: {steps: [], final: {soak: 10m, window: 1h, min_success: 100%}}
  slow: {final: {soak: 10m, window: 1h}}
rollout:
  - {stage: main, group: canaries, policy: careful}
  - {stage: main, policy: slow}
";

/// What is written once the canary, which has a policy of its own, went back.
fn one_of_two_fails() -> World {
    let mut world = running();
    world.push_desired("main", 2, gated("v2", TWO), Lineage::Extends);
    world.later(1800);
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(1);
    world.goes_back("canary");
    world
}

#[test]
fn what_goes_wrong_in_one_rollout_of_a_commit_pauses_the_others() {
    let mut world = one_of_two_fails();
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000-careful ERROR (FAILED)
      canary ROLLED_BACK
    main-00000000-slow PAUSED (RUNNING)
      kiosk-1 OFFERED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.2 v2 from main (kept back)
    kiosk-2: 1.1 v1 from main
    ");
    // A person who looked may let it go on.
    insta::assert_snapshot!(world.ask("main-00000000-slow", Act::Resume { acknowledge: Acknowledge::Nothing }), @r"
    main-00000000-careful ERROR (FAILED)
      canary ROLLED_BACK
    main-00000000-slow ACTIVE (RUNNING)
      kiosk-1 OFFERED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.1 v1 from main
    ");
    world.later(60);
    assert!(world.stands().contains("main-00000000-slow ACTIVE"), "{}", world.stands());
}

#[test]
fn an_abort_pauses_the_others_as_well() {
    let mut world = running();
    world.push_desired("main", 2, gated("v2", TWO), Lineage::Extends);
    world.ask("main-00000000-careful", Act::Abort);
    assert!(world.stands().contains("main-00000000-slow PAUSED"), "{}", world.stands());
}

/// All devices at one site, of which one may be away.
fn sited(version: &str, policy: &str) -> Desired {
    let mut desired = gated(version, policy);
    for listed in desired.devices.values_mut() {
        Arc::make_mut(listed).labels.insert("site".to_owned(), "bern".to_owned());
    }
    desired
}

const BUDGETS: &str = "\
rollouts:
  careful: {budgets: [{label: site, max_unavailable: 1}], final: {soak: 10m}}
  slow: {budgets: [{label: site, max_unavailable: 1}], final: {soak: 10m}}
rollout:
  - {stage: main, group: canaries, policy: careful}
  - {stage: main, policy: slow}
";

fn offered(world: &World) -> String {
    let mut lines: Vec<String> =
        world.stands().lines().filter(|line| line.ends_with("OFFERED")).map(str::to_owned).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn two_rollouts_share_a_budget_also_within_one_pass() {
    let mut world = running();
    world.push_desired("main", 2, sited("v2", BUDGETS), Lineage::Extends);
    assert_eq!(offered(&world).lines().count(), 1, "{}", world.stands());
}

#[test]
fn a_rollout_that_was_stopped_gives_its_slots_back() {
    let mut world = running();
    world.push_desired("main", 2, sited("v2", BUDGETS), Lineage::Extends);
    // The one at work is never heard of again.
    let busy = offered(&world).split_whitespace().next().expect("one is offered it").to_owned();
    let assignment = world.state.devices[busy.as_str()].assignment.clone().expect("it is assigned");
    world.report_with(&busy, |report| {
        report.observed = Some(assignment.mark());
        report.phase = Phase::Applying;
    });
    world.pass();
    let rollouts: Vec<String> = world.state.rollouts.keys().map(ToString::to_string).collect();
    for name in &rollouts {
        world.ask(name, Act::Abort);
    }
    world.push_desired("main", 3, sited("v3", BUDGETS), Lineage::Extends);
    assert_eq!(offered(&world), "", "it is still at work");
    world.now = world.now.plus_secs(901);
    for name in ["canary", "kiosk-1", "kiosk-2"].into_iter().filter(|name| *name != busy) {
        world.report_with(name, |_| {});
    }
    world.pass();
    world.later(61);
    assert_eq!(offered(&world).lines().count(), 1, "{}", world.stands());
}

#[test]
fn no_rollout_gets_the_name_of_another_of_the_same_pass_or_of_one_that_cannot_be_read() {
    let mut world = running();
    let lost = crate::domain::fleet::Quarantined {
        kind: "rollout",
        subject: "main-00000000".to_owned(),
        detail: "expected value at line 1".to_owned(),
    };
    world.state.quarantined.push(lost);
    push(&mut world, 2, "v2");
    assert_eq!(world.state.rollouts.keys().map(ToString::to_string).collect::<Vec<_>>(), ["main-00000000.2"]);
}

#[test]
fn a_policy_that_gives_everybody_everything_at_once_does_not_get_around_the_limit() {
    let mut world = running();
    world.stages[0].max_unstaged = crate::domain::plan::policy::Limit { at_least: 1, per_ten_thousand: 0 };
    let policy = "rollouts: {everybody: {final: {soak: 1m}}}\nrollout: [{stage: main, policy: everybody}]\n";
    insta::assert_snapshot!(world.push_desired("main", 2, gated("v2", policy), Lineage::Extends), @"hold main: 3 devices would get other content at once; 1 may without a rollout");
    let policy = "rollouts: {everybody: {final: {window: 1h}}}\nrollout: [{stage: main, policy: everybody}]\n";
    let pushed = world.push_desired("main", 3, gated("v3", policy), Lineage::Extends);
    assert!(pushed.starts_with("accept main 0003"), "{pushed}");
}
