//! Devices that somebody holds while a rollout is under way, and what is shown of those that failed.

use super::back::hold;
use super::*;
use crate::domain::overview::OverviewInput;
use crate::domain::overview::rollouts::detail;
use crate::domain::overview::status::status;
use crate::domain::plan::tests::world::stage;
use std::collections::BTreeMap;

const BUDGET: &str = "\
rollouts:
  careful:
    budgets: [{label: site, max_unavailable: 1}]
    final: {soak: 1m, window: 0s, min_reports: 100%}
rollout: [{stage: main, policy: careful}]
";

fn sited(version: &str) -> Desired {
    let mut desired = gated(version, BUDGET);
    for listed in desired.devices.values_mut() {
        Arc::make_mut(listed).labels.insert("site".to_owned(), "bern".to_owned());
    }
    desired
}

fn offered(world: &World) -> Vec<String> {
    let rollout = world.state.rollouts.values().next().expect("a rollout");
    let open = rollout.members.iter().filter(|(_, one)| !matches!(one.phase.as_str(), "QUEUED" | "EXCLUDED"));
    open.map(|(device, _)| device.to_string()).collect()
}

impl World {
    /// The device has accepted what it was assigned, and works on it.
    fn works(&mut self, name: &str) {
        let assignment = self.state.devices[name].assignment.clone().expect("something is assigned");
        self.report_with(name, |report| {
            report.observed = Some(assignment.mark());
            report.phase = Phase::Applying;
            report.conditions = Vec::new();
        });
        self.pass();
    }

    fn look<T>(&self, look: impl FnOnce(&OverviewInput<'_>) -> T) -> T {
        let (stages, state, views) = (&self.stages, &self.state, &self.views);
        let pass = PassInput { now: self.now, stages, state, views, contacts: &NoContacts };
        look(&OverviewInput { pass, last_seen: &BTreeMap::new(), offline_after_secs: 300 })
    }

    /// The conditions of main.
    fn conditions(&self) -> String {
        let of_main = |input: &OverviewInput<'_>| {
            let stages = status(input).stages.into_iter().filter(|one| one.stage == stage("main"));
            let lines = stages.flat_map(|one| one.conditions);
            lines.map(|one| format!("{} {}: {}", one.kind, one.reason, one.message)).collect::<Vec<_>>().join("\n")
        };
        self.look(of_main)
    }

    /// Who failed, and with which generation.
    fn failures(&self, rollout: &str) -> String {
        let name: RolloutName = rollout.parse().expect("a name");
        let detail = self.look(|input| detail(&input.pass, &name)).expect("there is one");
        let line = |row: &crate::domain::overview::rollouts::FailureRow| {
            let order = row.order.map_or("-".to_owned(), |order| order.to_string());
            format!("{} {:?} with {order}", row.device, row.failure)
        };
        detail.failures.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn a_hold_on_a_device_at_work_lets_another_of_its_site_start() {
    let mut world = running();
    world.push_desired("main", 2, sited("v2"), Lineage::Extends);
    let [first] = &offered(&world)[..] else { panic!("one at a time: {:?}", offered(&world)) };
    let first = first.clone();
    world.works(&first);
    world.later(60);
    assert_eq!(offered(&world), std::slice::from_ref(&first));
    hold(&mut world, &first);
    world.pass();
    assert_eq!(offered(&world).len(), 2, "{}", world.stands());
    // It had begun: its word still counts.
    world.is_well(&first);
    world.later(61);
    assert!(world.stands().contains(&format!("{first} SUCCEEDED")), "{}", world.stands());
}

#[test]
fn a_device_that_is_away_and_held_leaves_the_step() {
    let mut world = running();
    world.later(3600);
    for name in ["canary", "kiosk-1"] {
        world.report_with(name, |_| {});
    }
    let policy = CAREFUL.replace("group: canaries, min_success: 100%", "min_reports: 100%");
    world.push_desired("main", 2, gated("v2", &policy), Lineage::Extends);
    for name in ["canary", "kiosk-1"] {
        world.is_well(name);
    }
    world.later(601);
    assert!(world.stands().contains("ACTIVE (RUNNING, QUEUED)"), "kiosk-2 is away: {}", world.stands());
    hold(&mut world, "kiosk-2");
    world.pass();
    assert!(world.stands().contains("(PASSED, PASSED)"), "{}", world.stands());
    assert!(world.stands().contains("kiosk-2 EXCLUDED"), "{}", world.stands());
}

#[test]
fn a_failure_is_shown_with_the_generation_that_failed_also_after_a_rollback() {
    let mut world = running();
    push(&mut world, 2, "v2");
    world.goes_back("canary");
    assert_eq!(world.failures("main-00000000"), "canary RolledBack with 1.2");
    world.ask("main-00000000", Act::Rollback);
    assert_eq!(world.place("canary"), "1.3 v1 from main");
    assert_eq!(world.failures("main-00000000"), "canary RolledBack with 1.2");
}

const TWO: &str = "\
rollouts:
  careful: {final: {soak: 10m, window: 1h, min_success: 100%}}
  slow: {final: {soak: 10m, window: 1h}}
rollout:
  - {stage: main, group: canaries, policy: careful}
  - {stage: main, policy: slow}
";

#[test]
fn a_stage_is_degraded_if_any_rollout_of_its_commit_went_wrong() {
    let mut world = running();
    world.push_desired("main", 2, gated("v2", TWO), Lineage::Extends);
    assert_eq!(world.conditions(), "");
    world.later(1800);
    for name in ["canary", "kiosk-1", "kiosk-2"] {
        world.report_with(name, |_| {});
    }
    world.later(1);
    world.goes_back("canary");
    assert!(world.stands().contains("main-00000000-slow PAUSED"), "{}", world.stands());
    let one = world.conditions();
    assert!(one.starts_with("Degraded Quarantined: rollout main-00000000-careful is ERROR: "), "{one}");
    assert!(!one.contains("main-00000000-slow"), "{one}");
    world.ask("main-00000000-slow", Act::Abort);
    let both = world.conditions();
    assert!(both.contains("main-00000000-careful is ERROR"), "{both}");
    assert!(both.ends_with("; rollout main-00000000-slow is ABORTED: because; nothing is assigned from it"), "{both}");
    world.push_desired("main", 3, gated("v3", TWO), Lineage::Extends);
    world.pass();
    assert_eq!(world.conditions(), "", "another commit counts");
}
