//! What comes when a rollout is under way or done.

use super::*;
use crate::domain::ids::DeviceId;
use crate::domain::ids::{AppName, Version};
use crate::domain::manifest::release::requires::Requirements;
use crate::domain::plan::rollouts::Contacts;
use crate::domain::spec::{AppSpec, DeviceSpec, SealedSpec};
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;

/// All three have v2.
fn done() -> World {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.is_well("canary");
    for name in ["kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(601);
    world.is_well("kiosk-1");
    world.is_well("kiosk-2");
    world.later(61);
    world
}

#[test]
fn what_is_done_stays_done_when_a_newer_commit_counts() {
    let mut world = done();
    push(&mut world, 3, "v3");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 DONE (PASSED, PASSED)
      canary SUCCEEDED
      kiosk-1 SUCCEEDED
      kiosk-2 SUCCEEDED
    main-00000000.2 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.3 v3 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.2 v2 from main
    ");
}

#[test]
fn who_comes_late_gets_what_the_newer_commit_brings() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.is_well("canary");
    world.report_with("kiosk-1", |_| {});
    world.later(601);
    world.is_well("kiosk-1");
    // The other one is never heard of, and the step does not wait for it.
    world.later(6000);
    push(&mut world, 3, "v3");
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(61);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 DONE (PASSED, PASSED)
      canary SUCCEEDED
      kiosk-1 SUCCEEDED
      kiosk-2 SUPERSEDED
    main-00000000.2 ACTIVE (QUEUED, QUEUED)
      canary QUEUED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.3 v1 from main
    ");
}

#[test]
fn a_commit_that_changes_nothing_more_goes_on_behind_the_canaries_that_passed() {
    let mut world = running();
    push(&mut world, 2, "v2");
    // Somebody mends a README meanwhile.
    push(&mut world, 3, "v2");
    world.is_well("canary");
    for name in ["kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(601);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 SUPERSEDED (PASSED, QUEUED)
      canary SUCCEEDED
      kiosk-1 SUPERSEDED
      kiosk-2 SUPERSEDED
    main-00000000.2 ACTIVE (PASSED, RUNNING)
      kiosk-1 OFFERED
      kiosk-2 OFFERED
    canary: 1.2 v2 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.2 v2 from main
    ");
}

#[test]
fn a_commit_that_brings_others_something_else_begins_with_the_canaries_again() {
    let mut world = running();
    push(&mut world, 2, "v2");
    let mut desired = gated("v2", CAREFUL);
    let kiosk = desired.devices.get_mut(&device("kiosk-2")).expect("it is listed");
    Arc::make_mut(kiosk).spec = Some(super::super::world::content("v3"));
    world.push_desired("main", 3, desired, Lineage::Extends);
    world.is_well("canary");
    for name in ["kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(601);
    world.later(86_400);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 SUPERSEDED (PASSED, QUEUED)
      canary SUCCEEDED
      kiosk-1 SUPERSEDED
      kiosk-2 SUPERSEDED
    main-00000000.2 ACTIVE (QUEUED, QUEUED)
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}

#[test]
fn a_device_that_leaves_and_comes_back_gets_the_content_again() {
    let mut world = done();
    world.push("production", 9, "kiosk-1:production:v9");
    world.approve("production");
    world.is_well("kiosk-1");
    let away = world.place("kiosk-1");
    world.push("production", 10, "kiosk-9:production:v9");
    world.report_with("kiosk-1", |_| {});
    world.later(1);
    insta::assert_snapshot!(format!("{away}\n{}", world.stands()), @r"
    1.3 v9 from production
    main-00000000 DONE (PASSED, PASSED)
      canary SUCCEEDED
      kiosk-1 OFFERED
      kiosk-2 SUCCEEDED
    canary: 1.2 v2 from main
    kiosk-1: 1.4 v2 from main
    kiosk-2: 1.2 v2 from main
    ");
}

#[test]
fn a_device_that_leaves_while_it_is_at_work_is_waited_for_no_more() {
    let mut world = running();
    push(&mut world, 2, "v2");
    let assignment = world.state.devices["canary"].assignment.clone().expect("it is offered v2");
    world.report_with("canary", |report| {
        report.observed = Some(assignment.mark());
        report.phase = Phase::Applying;
    });
    world.pass();
    world.push("production", 9, "canary:production:v9");
    world.approve("production");
    world.later(60);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED)
      canary EXCLUDED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.3 v9 from production
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}

#[test]
fn the_controller_notes_that_it_runs_also_where_nothing_else_happens() {
    let mut world = running();
    push(&mut world, 2, "v2");
    let (stages, state, views) = (&world.stages, &world.state, &world.views);
    let input = PassInput { now: world.now, stages, state, views, contacts: &NoContacts };
    let mut passes = Passes::default();
    assert_eq!(passes.pass(&input, &Scope::All).changes, []);
    let beat = world.state.heartbeat.expect("a rollout is under way");
    assert!(passes.rollouts_due().is_some_and(|due| due <= beat.plus_secs(60)), "{:?}", passes.rollouts_due());
}

/// Everybody was heard of just now.
#[derive(Debug)]
struct AllHere(Timestamp);

impl Contacts for AllHere {
    fn last_seen(&self, _: &DeviceId) -> Option<Timestamp> {
        Some(self.0)
    }
}

#[test]
fn devices_that_poll_are_not_lost_when_several_are_looked_for_at_once() {
    let mut world = running();
    let policy =
        "rollouts: {slow: {lost_after: 5m, final: {soak: 1h, window: 1s}}}\nrollout: [{stage: main, policy: slow}]\n";
    world.push_desired("main", 2, gated("v2", policy), Lineage::Extends);
    world.later(2);
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.is_well(name);
    }
    world.now = world.now.plus_secs(400);
    let seen = AllHere(world.now);
    let input =
        PassInput { now: world.now, stages: &world.stages, state: &world.state, views: &world.views, contacts: &seen };
    let changes = Passes::default().pass(&input, &Scope::Devices(BTreeSet::new())).changes;
    world.apply(&changes);
    assert!(!world.stands().contains("LOST"), "{}", world.stands());
    let input =
        PassInput { now: world.now, stages: &world.stages, state: &world.state, views: &world.views, contacts: &seen };
    let (name, act) = ("main-00000000".parse().expect("a name"), Act::Pause { until: None });
    let asked = Passes::default().act(&input, &name, act, &Actor::new("ada").expect("an actor"), "because");
    world.apply(&asked.expect("it is active"));
    assert!(!world.stands().contains("LOST"), "{}", world.stands());
}

/// `web` at a version that no agent there is good enough for.
fn asking(version: &str, agent: Option<&str>) -> Desired {
    let app: AppName = "web".parse().expect("a name");
    let release = AppSpec {
        release: Version::new(version).expect("a version"),
        services: BTreeMap::new(),
        volumes: BTreeSet::new(),
        networks: BTreeMap::new(),
    };
    let spec = DeviceSpec { apps: BTreeMap::from([(app.clone(), release)]), ..DeviceSpec::default() };
    let mut desired = gated("v1", CAREFUL);
    let min_agent = agent.map(|version| version.parse().expect("a version"));
    let requires = Arc::new(Requirements { min_agent, ..Requirements::default() });
    for one in desired.devices.values_mut() {
        let one = Arc::make_mut(one);
        one.spec = Some(SealedSpec::seal(spec.clone()));
        one.requires = BTreeMap::from([(app.clone(), requires.clone())]);
    }
    desired
}

#[test]
fn a_commit_that_nobody_can_take_yet_goes_out_by_a_rollout_once_they_can() {
    let mut world = running();
    let agent = |world: &mut World, version: &str| {
        for name in ["canary", "kiosk-1", "kiosk-2"] {
            world.report_with(name, |report| {
                _ = report.attributes.insert("agent_version".to_owned(), version.to_owned())
            });
        }
    };
    agent(&mut world, "0.1.0");
    world.push_desired("main", 2, asking("2.0.0", Some("0.2.0")), Lineage::Extends);
    agent(&mut world, "0.2.0");
    world.later(601);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2  from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}
