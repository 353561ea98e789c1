//! Commits that go out step by step.

mod at_once;
mod back;
mod crowds;
mod devices;
mod drafts;
mod held;
mod irreversible;
mod later;
mod newcomers;
mod proof;
mod quarantined;
mod reroute;
mod several;
mod verified;
mod ways;

use super::super::gate::{Candidate, Lineage, PlanInput, plan_stage};
use super::super::pass::{PassInput, Scope, pass};
use super::super::passes::Passes;
use super::super::rollouts::{NoContacts, awake};
use super::world::{World, commit_id, desired, device};
use crate::domain::condition::{Condition, ConditionStatus};
use crate::domain::desired::Desired;
use crate::domain::device::terminal::{FailedPhase, TerminalFailure};
use crate::domain::digest::Digest;
use crate::domain::fleet::{Change, RolloutChange};
use crate::domain::ids::{Actor, RolloutName};
use crate::domain::manifest::fleet_file::FleetFile;
use crate::domain::reported::Phase;
use crate::domain::rollout::machine::{Acknowledge, Act, Which};
use crate::domain::snapshot::Head;
use std::collections::BTreeSet;
use std::sync::Arc;

const CAREFUL: &str = "\
rollouts:
  careful:
    steps: [{name: canaries, group: canaries, min_success: 100%, soak: 10m}]
    final: {soak: 1m}
rollout: [{stage: main, policy: careful}]
";
const FLEET: &str = "canary:main:V kiosk-1:main:V kiosk-2:main:V";

fn gated(version: &str, policy: &str) -> Desired {
    let mut desired = desired(&FLEET.replace('V', version));
    let file = FleetFile::read(&Arc::from("fleet.yml"), policy.as_bytes());
    assert_eq!(file.findings, [], "the policy is right");
    desired.rollouts = file.rollouts;
    let canary = Arc::make_mut(desired.devices.get_mut(&device("canary")).expect("it is listed"));
    canary.groups = BTreeSet::from(["canaries".to_owned()]);
    desired
}

/// Three devices that run v1, and have said so.
fn running() -> World {
    let mut world = World::with_devices("canary kiosk-1 kiosk-2");
    world.push("main", 1, &FLEET.replace('V', "v1"));
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.is_well(name);
    }
    world
}

fn push(world: &mut World, number: u32, version: &str) -> String {
    world.push_desired("main", number, gated(version, CAREFUL), Lineage::Extends)
}

impl World {
    /// The device has what it was assigned, and is well.
    fn is_well(&mut self, name: &str) -> String {
        let assignment = self.state.devices[name].assignment.clone().expect("something is assigned");
        let now = self.now;
        self.report_with(name, |report| {
            report.observed = Some(assignment.mark());
            report.applied = Some(assignment.spec.digest);
            report.phase = Phase::Settled;
            report.failure = None;
            let ready = Condition {
                kind: "Ready".to_owned(),
                status: ConditionStatus::True,
                reason: "Settled".to_owned(),
                message: String::new(),
                since: now,
            };
            report.conditions = vec![ready];
        });
        self.pass()
    }

    /// The device has what it was assigned, and has to stay well for a while before it says so.
    fn soaks(&mut self, name: &str) -> String {
        let assignment = self.state.devices[name].assignment.clone().expect("something is assigned");
        let since = self.now;
        self.report_with(name, |report| {
            report.observed = Some(assignment.mark());
            report.applied = Some(assignment.spec.digest);
            report.phase = Phase::Applying;
            report.failure = None;
            let (kind, reason, message) = ("Ready".to_owned(), "Soaking".to_owned(), String::new());
            report.conditions = vec![Condition { kind, status: ConditionStatus::False, reason, message, since }];
        });
        self.pass()
    }

    /// The same commit arrives with a list of devices that has more.
    fn is_listed(&mut self, commit: u32, version: &str, more: &[&str]) {
        let mut desired = gated(version, CAREFUL);
        for name in more {
            let new = super::world::desired(&format!("{name}:main:{version}"));
            desired.devices.insert(device(name), new.devices.get(&device(name)).expect("it is listed").clone());
        }
        self.arrives("main", commit, desired, Lineage::Extends);
        let candidate = self.views.get_mut("main").and_then(|view| view.candidate.as_mut()).expect("it has arrived");
        candidate.inventory = Some(Digest::of(more.join(" ").as_bytes()));
    }

    /// The device could not do what it was assigned, and went back to what it had.
    fn goes_back(&mut self, name: &str) -> String {
        let assignment = self.state.devices[name].assignment.clone().expect("something is assigned");
        let at = self.now;
        self.report_with(name, |report| {
            report.observed = Some(assignment.mark());
            report.failure = Some(TerminalFailure {
                digest: assignment.spec.digest,
                attempt: assignment.attempt,
                phase: FailedPhase::Soaking,
                component: "web/app".to_owned(),
                reason: "CrashLoop".to_owned(),
                message: "it ended four times".to_owned(),
                log: Vec::new(),
                core_dump: None,
                at,
                rolled_back_to: report.applied,
            });
        });
        self.pass()
    }

    /// Nothing is heard for a while, and time passes.
    fn later(&mut self, secs: i64) -> String {
        self.now = self.now.plus_secs(secs);
        self.pass()
    }

    fn ask(&mut self, rollout: &str, act: Act) -> String {
        let name: RolloutName = rollout.parse().expect("a name");
        let mut passes = Passes::default();
        let input = PassInput {
            now: self.now,
            stages: &self.stages,
            state: &self.state,
            views: &self.views,
            contacts: &self.heard,
        };
        let actor = Actor::new("ada").expect("an actor");
        match passes.act(&input, &name, act, &actor, "because") {
            Ok(changes) => {
                self.apply(&changes);
                self.pass();
                self.stands()
            }
            Err(error) => error.to_string(),
        }
    }

    /// Rollouts with their devices, and what each device is assigned.
    fn stands(&self) -> String {
        let mut lines = Vec::new();
        for (name, record) in &self.state.rollouts {
            let head = &record.head;
            let steps: Vec<String> = head.steps.iter().map(|step| step.status.as_str().to_owned()).collect();
            lines.push(format!("{name} {} ({})", head.status, steps.join(", ")));
            for (device, member) in &record.members {
                let back = member.back.map(|back| format!(", back: {back:?}")).unwrap_or_default();
                let back = back.split(" {").next().unwrap_or_default();
                lines.push(format!("  {device} {}{back}", member.phase.as_str()));
            }
        }
        for name in ["canary", "kiosk-1", "kiosk-2"] {
            let served = self.state.devices[name].assignment.as_ref().is_some_and(|one| self.state.serves(one));
            let kept = if served { "" } else { " (kept back)" };
            lines.push(format!("{name}: {}{kept}", self.place(name)));
        }
        lines.join("\n")
    }
}

#[test]
fn a_good_commit_goes_through_its_canaries_to_everybody() {
    let mut world = running();
    push(&mut world, 2, "v2");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    world.is_well("canary");
    world.later(300);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (SOAKING, QUEUED)
      canary IN_PROGRESS
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    for name in ["kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(301);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (PASSED, RUNNING)
      canary SUCCEEDED
      kiosk-1 OFFERED
      kiosk-2 OFFERED
    canary: 1.2 v2 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.2 v2 from main
    ");
    world.is_well("kiosk-1");
    world.is_well("kiosk-2");
    world.later(61);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 DONE (PASSED, PASSED)
      canary SUCCEEDED
      kiosk-1 SUCCEEDED
      kiosk-2 SUCCEEDED
    canary: 1.2 v2 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.2 v2 from main
    ");
    assert_eq!(world.pass(), "nothing");
}

#[test]
fn a_canary_that_fails_stops_the_commit_and_the_rest_is_untouched() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ERROR (FAILED, QUEUED)
      canary ROLLED_BACK
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    for secs in [60, 3600, 86_400] {
        world.report_with("kiosk-1", |_| {});
        assert_eq!(world.later(secs), "nothing", "nothing is assigned from it");
    }
    // The same content in a newer commit is no better for those that it was meant for.
    push(&mut world, 3, "v2");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ABORTED (FAILED, QUEUED)
      canary ROLLED_BACK
      kiosk-1 CANCELED
      kiosk-2 CANCELED
    canary: 1.2 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    // Other content goes its way.
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    push(&mut world, 4, "v3");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ABORTED (FAILED, QUEUED)
      canary ROLLED_BACK
      kiosk-1 CANCELED
      kiosk-2 CANCELED
    main-00000000.2 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.3 v3 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}

#[test]
fn a_rollback_gives_everybody_what_they_had_and_nothing_fights_it() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    insta::assert_snapshot!(world.ask("main-00000000", Act::Rollback), @r"
    main-00000000 ROLLING_BACK (FAILED, QUEUED)
      canary ROLLED_BACK, back: Offered
      kiosk-1 CANCELED
      kiosk-2 CANCELED
    canary: 1.3 v1 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    world.is_well("canary");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ROLLED_BACK (FAILED, QUEUED)
      canary ROLLED_BACK, back: Done
      kiosk-1 CANCELED
      kiosk-2 CANCELED
    canary: 1.3 v1 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    assert_eq!(world.later(3600), "nothing");
}

#[test]
fn a_retry_offers_the_same_once_more() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    insta::assert_snapshot!(world.ask("main-00000000", Act::Resume { acknowledge: Acknowledge::Nothing }), @"it would fail again at once: 1 device failed, 0 may; acknowledge them, or try them again");
    insta::assert_snapshot!(world.ask("main-00000000", Act::Retry(Which::Failed)), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.3 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    world.is_well("canary");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (SOAKING, QUEUED)
      canary IN_PROGRESS
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.3 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}

#[test]
fn what_a_device_slept_through_is_not_handed_out_when_it_wakes() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.is_well("canary");
    for name in ["kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(601);
    // Both are offered it; one says nothing and the other fails.
    world.goes_back("kiosk-1");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ERROR (PASSED, FAILED)
      canary SUCCEEDED
      kiosk-1 ROLLED_BACK
      kiosk-2 OFFERED
    canary: 1.2 v2 from main
    kiosk-1: 1.2 v2 from main
    kiosk-2: 1.2 v2 from main (kept back)
    ");
    assert!(!world.state.serves(world.state.devices["kiosk-2"].assignment.as_ref().expect("it is assigned")));
}

#[test]
fn who_does_not_acknowledge_gets_what_it_had_and_is_offered_it_again_when_it_is_heard_of() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.later(901);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED)
      canary QUEUED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.3 v1 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    world.report_with("canary", |_| {});
    world.later(1);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.4 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}

#[test]
fn a_newer_commit_takes_the_place_of_one_that_stands_still() {
    let mut world = running();
    push(&mut world, 2, "v2");
    push(&mut world, 3, "v3");
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
    world.ask("main-00000000", Act::Pause { until: None });
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 SUPERSEDED (RUNNING, QUEUED)
      canary SUPERSEDED
      kiosk-1 SUPERSEDED
      kiosk-2 SUPERSEDED
    main-00000000.2 ACTIVE (RUNNING, QUEUED)
      canary OFFERED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.4 v3 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}

#[test]
fn a_controller_that_starts_again_goes_on_where_it_was() {
    let mut one = running();
    let mut other = running();
    for step in 0..6 {
        for world in [&mut one, &mut other] {
            match step {
                0 => push(world, 2, "v2"),
                1 => world.is_well("canary"),
                2 => world.later(300),
                3 => world.later(301),
                4 => world.is_well("kiosk-1"),
                _ => world.is_well("kiosk-2"),
            };
        }
        // This one dies after each step.
        let state = other.state.clone();
        other.restore(state);
        other.pass();
        assert_eq!(one.stands(), other.stands(), "after step {step}");
    }
}

#[test]
fn the_time_in_which_no_controller_ran_is_left_out() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.is_well("canary");
    world.later(60);
    let from = world.now;
    world.now = world.now.plus_secs(86_400);
    let slept = awake(&world.state, world.now);
    assert!(slept.iter().any(|change| matches!(change, Change::Rollout(..))), "{slept:?}");
    world.apply(&slept);
    assert!(world.state.heartbeat.is_some_and(|beat| beat > from));
    world.pass();
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (SOAKING, QUEUED)
      canary IN_PROGRESS
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.2 v2 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}

#[test]
fn a_device_that_soaks_is_well_and_is_not_timed_out() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.soaks("canary");
    let mut stands = vec![world.stands()];
    for secs in [300, 290, 12] {
        world.later(secs);
        stands.push(world.stands());
    }
    let canary = stands.iter().map(|text| text.lines().take(2).collect::<Vec<_>>().join(",")).collect::<Vec<_>>();
    insta::assert_snapshot!(canary.join("\n"), @r#"
    main-00000000 ACTIVE (SOAKING, QUEUED),  canary IN_PROGRESS
    main-00000000 ACTIVE (SOAKING, QUEUED),  canary IN_PROGRESS
    main-00000000 ACTIVE (SOAKING, QUEUED),  canary IN_PROGRESS
    main-00000000 ACTIVE (PASSED, RUNNING),  canary SUCCEEDED
    "#);
}

#[test]
fn an_empty_canary_step_never_passes() {
    let mut world = running();
    let mut desired = gated("v2", CAREFUL);
    let canary = desired.devices.get_mut(&device("canary")).expect("it is listed");
    Arc::make_mut(canary).groups = BTreeSet::new();
    world.push_desired("main", 2, desired, Lineage::Extends);
    world.later(86_400);
    insta::assert_snapshot!(world.stands(), @r"
    main-00000000 ACTIVE (QUEUED, QUEUED)
      canary QUEUED
      kiosk-1 QUEUED
      kiosk-2 QUEUED
    canary: 1.1 v1 from main
    kiosk-1: 1.1 v1 from main
    kiosk-2: 1.1 v1 from main
    ");
}

#[test]
fn a_pass_over_everything_decides_what_one_that_remembers_does() {
    // `World::one_pass` compares the two at every pass of every story here; this one looks at rest.
    let mut world = running();
    push(&mut world, 2, "v2");
    world.later(700);
    let input = PassInput {
        now: world.now,
        stages: &world.stages,
        state: &world.state,
        views: &world.views,
        contacts: &NoContacts,
    };
    assert_eq!(pass(&input, &Scope::All).changes, []);
}

#[test]
fn a_commit_without_rules_does_not_wait_for_a_rollout_that_stands_still() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    world.push("main", 3, &FLEET.replace('V', "v3"));
    let places = ["canary", "kiosk-1", "kiosk-2"].map(|name| world.place(name));
    assert_eq!(places, ["1.3 v3 from main", "1.2 v3 from main", "1.2 v3 from main"]);
}

#[test]
fn a_plan_says_what_each_step_comes_to() {
    let world = running();
    let head = Head { commit: commit_id(9), tree: commit_id(1009) };
    let desired = Arc::new(gated("v2", CAREFUL));
    let candidate = Candidate { head, inventory: None, desired, base: None, lineage: Lineage::Extends };
    let plan = plan_stage(&PlanInput {
        policy: &world.stages[0],
        stages: &world.stages,
        state: &world.state,
        accepted: &Default::default(),
        candidate: &candidate,
    });
    let planned = &plan.rollouts["careful"];
    let steps: Vec<String> = planned.steps.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(steps.join("\n"), @r#"
    canaries (group canaries): 1 device, 0 may fail, seen from 100%, ends after 10m to 40m
    final (all others): 2 devices, 0 may fail, seen from 50%, ends after 11m to 71m
    "#);
    assert_eq!(planned.devices.len(), 3);
}
