//! Commits that go out step by step, through real processes, real Git and a real engine: a bad release is caught by its canary.

use crate::harness::engine::Engine;
use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::eventually;
use bellwether::domain::overview::rollouts::{RolloutDetail, RolloutRow};

const STAGES: &str = "stages: [main, canary, production]\n";
const FLEET: &str = "name: acme\n";
const POLICY: &str = "\
name: acme
rollouts:
  careful:
    steps: [{name: canaries, group: canaries, min_success: 100%, soak: 10s}]
    final: {soak: 1s}
rollout: [{stage: main, policy: careful}]
";
const GOOD: &str = "trap 'exit 0' TERM; sleep 86400 & wait";
const BETTER: &str = "trap 'exit 0' TERM; sleep 86399 & wait";
const CRASHING: &str = "echo there is no such display; exit 3";

fn compose(image: &str, line: &str) -> String {
    // What ends stays ended, so the next look sees it, however fast the machine is.
    format!("services:\n  app:\n    image: {image}\n    restart: 'no'\n    command: [/bin/sh, -c, \"{line}\"]\n")
}

/// The only rollout there is, or the newest one.
fn newest(fleet: &Fleet) -> Option<RolloutRow> {
    fleet.try_get::<Vec<RolloutRow>>("/v1/rollouts").ok()?.into_iter().next()
}

/// The digest of what a device was assigned last.
fn content(fleet: &Fleet, device: &str) -> String {
    fleet.device(device).assignment.expect("something is assigned").digest.to_string()
}

fn stands(fleet: &Fleet, status: &str) -> RolloutRow {
    eventually(&format!("the rollout is {status}"), || newest(fleet).filter(|row| row.status == status))
}

#[test]
fn a_bad_release_is_caught_by_its_canary_goes_back_and_the_good_one_goes_through() {
    let Some(engine) = Engine::shared() else { return };
    let (canary, rest) = ("roll-canary", "roll-rest");
    let image = engine.registry().worker[0].by_digest();
    let inventory =
        format!("all:\n  children:\n    canaries: {{hosts: {{{canary}: }}}}\n    others: {{hosts: {{{rest}: }}}}\n");
    let files = [
        ("fleet.yml", FLEET),
        ("inventory.yml", &inventory),
        ("group_vars/all.yml", "branch: main\npins: { web: 1.0.0 }\n"),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", &compose(image.as_str(), GOOD)),
    ];
    let mut fleet = Fleet::configured("rolls", On::Engine(engine), STAGES, &files);
    fleet.enroll(&[canary, rest]);
    fleet.settled(&[canary, rest]);
    let (ran, untouched) = (content(&fleet, canary), fleet.show(rest, "web/app"));
    let before = fleet.assigned(rest);

    let bad = compose(image.as_str(), CRASHING);
    fleet.push("main", "Break it, carefully", &[("fleet.yml", POLICY), ("releases/web/1.0.0/compose.yml", &bad)]);
    eventually("the canary is offered it", || newest(&fleet).filter(|row| row.exposed == 1));
    // A power cut in the middle changes nothing but time.
    fleet.kill_controller();
    fleet.start_controller();
    let name = stands(&fleet, "ERROR").rollout;
    let detail: RolloutDetail = fleet.get(&format!("/v1/rollouts/{name}"));
    let [failure] = &detail.failures[..] else { panic!("one device failed: {detail:?}") };
    assert_eq!(failure.device.as_str(), canary);
    assert!(failure.log.iter().any(|line| line.ends_with("there is no such display")), "{failure:?}");
    assert_eq!(
        (fleet.assigned(rest), fleet.show(rest, "web/app")),
        (before.clone(), untouched.clone()),
        "the rest is untouched"
    );
    // Looking at the same commit again makes nothing new.
    fleet.refresh();
    fleet.kill_controller();
    fleet.start_controller();
    fleet.has_read();
    fleet.refresh();
    assert_eq!(fleet.get::<Vec<RolloutRow>>("/v1/rollouts").len(), 1);
    assert_eq!(fleet.assigned(rest), before);

    let (status, shown, _) = outcome(&mut fleet.cli(&["rollout", name.as_str()]));
    assert!(status == Some(0) && shown.contains("ERROR") && shown.contains("FAILED"), "{shown}");
    let (status, _, _) = outcome(&mut fleet.cli(&["rollout", name.as_str(), "--watch"]));
    assert_eq!(status, Some(1), "it did not go out");
    let (_, shown, _) = outcome(&mut fleet.cli(&["rollout", "failures", name.as_str()]));
    assert!(shown.contains("no such display"), "{shown}");
    let (_, shown, _) = outcome(&mut fleet.cli(&["why", rest]));
    assert!(shown.contains("ERROR"), "{shown}");
    let (status, _, stderr) = outcome(&mut fleet.cli(&["rollout", "resume", name.as_str(), "--reason", "go on"]));
    assert!(status == Some(1) && stderr.contains("would fail again at once"), "{stderr}");
    let rollback = ["rollout", "rollback", name.as_str(), "--reason", "screens stay dark"];
    let (status, shown, stderr) = outcome(&mut fleet.cli(&rollback));
    assert!(status == Some(0) && shown.contains("screens stay dark"), "{shown}{stderr}");
    stands(&fleet, "ROLLED_BACK");
    assert_eq!(content(&fleet, canary), ran);
    fleet.settled(&[canary, rest]);
    assert_eq!(fleet.assigned(rest), before, "nothing fights the rollback");

    fleet.push("main", "Mend it", &[("releases/web/1.0.0/compose.yml", &compose(image.as_str(), BETTER))]);
    let good = stands(&fleet, "ACTIVE").rollout;
    assert_ne!(good, name);
    let (status, shown, stderr) = outcome(&mut fleet.cli(&["rollout", good.as_str(), "--watch"]));
    assert!(status == Some(0) && shown.contains("RUNNING") && shown.contains("DONE"), "{shown}{stderr}");
    let good = stands(&fleet, "DONE");
    assert_eq!((good.devices, good.ok, good.bad), (2, 2, 0));
    assert_ne!(fleet.assigned(rest), before);
    assert_eq!(content(&fleet, rest), content(&fleet, canary));
    let (_, shown, _) = outcome(&mut fleet.cli(&["rollout", good.rollout.as_str(), "--history"]));
    assert!(shown.contains("StepPassed") && shown.contains("Activated"), "{shown}");
}
