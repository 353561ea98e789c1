//! What people ask of a rollout, each by its command, through the server, to a rollout of real devices.

use crate::harness::engine::Engine;
use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::eventually;
use bellwether::domain::overview::rollouts::RolloutRow;

const STAGES: &str = "stages: [main]\n";
const FLEET: &str = "name: acme\n";
const POLICY: &str = "\
name: acme
rollouts:
  careful:
    approvals: 1
    steps: [{name: canaries, group: canaries, min_success: 100%, soak: 3s}]
    final: {soak: 1s}
rollout: [{stage: main, policy: careful}]
";
const GOOD: &str = "trap 'exit 0' TERM; sleep 86400 & wait";
const CRASHING: &str = "exit 3";

fn compose(image: &str, line: &str) -> String {
    format!("services:\n  app:\n    image: {image}\n    command: [/bin/sh, -c, \"{line}\"]\n")
}

fn stands(fleet: &Fleet, name: &str, status: &str) -> RolloutRow {
    eventually(&format!("rollout {name} is {status}"), || {
        let rows = fleet.try_get::<Vec<RolloutRow>>("/v1/rollouts").ok()?;
        rows.into_iter().find(|row| row.rollout.as_str() == name && row.status == status)
    })
}

/// Asks something of a rollout, which must succeed.
#[track_caller]
fn ask(fleet: &Fleet, act: &str, name: &str, more: &[&str]) {
    let reason = format!("because of {act}");
    let arguments = [&["rollout", act, name][..], more, &["--reason", &reason]].concat();
    let (status, stdout, stderr) = outcome(&mut fleet.cli(&arguments));
    assert_eq!(status, Some(0), "{arguments:?}: {stdout}{stderr}");
}

fn is_degraded(fleet: &Fleet) -> bool {
    let stage = fleet.stage(&"main".parse().expect("a stage"));
    stage.conditions.iter().any(|one| one.kind == "Degraded")
}

#[test]
fn whatever_people_ask_of_a_rollout_reaches_it_and_is_in_its_history() {
    let Some(engine) = Engine::shared() else { return };
    let (canary, rest) = ("ask-canary", "ask-rest");
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
    let mut fleet = Fleet::configured("asked", On::Engine(engine), STAGES, &files);
    fleet.enroll(&[canary, rest]);
    fleet.settled(&[canary, rest]);

    let bad = compose(image.as_str(), CRASHING);
    fleet.push("main", "Break it", &[("fleet.yml", POLICY), ("releases/web/1.0.0/compose.yml", &bad)]);
    let rows = || fleet.try_get::<Vec<RolloutRow>>("/v1/rollouts").ok().filter(|rows| !rows.is_empty());
    let name = eventually("there is a rollout", rows)[0].rollout.to_string();
    stands(&fleet, &name, "PENDING_APPROVAL");
    ask(&fleet, "approve", &name, &[]);
    stands(&fleet, &name, "ERROR");

    let attempt = || fleet.device(canary).assignment.expect("something is assigned").attempt.value();
    assert_eq!(attempt(), 1);
    ask(&fleet, "retry", &name, &[canary]);
    eventually("the canary is offered it again", || (attempt() == 2).then_some(()));
    stands(&fleet, &name, "ERROR");

    ask(&fleet, "resume", &name, &["--ack"]);
    stands(&fleet, &name, "ACTIVE");
    ask(&fleet, "pause", &name, &["--until", "2199-01-01T00:00:00Z"]);
    stands(&fleet, &name, "PAUSED");
    let (_, shown, _) = outcome(&mut fleet.cli(&["rollout", &name]));
    assert!(shown.contains("2199-01-01"), "{shown}");
    ask(&fleet, "abort", &name, &[]);
    stands(&fleet, &name, "ABORTED");
    assert!(is_degraded(&fleet), "nothing is assigned from it");
    ask(&fleet, "lift", &name, &[]);
    stands(&fleet, &format!("{name}.2"), "PENDING_APPROVAL");
    assert!(!is_degraded(&fleet));

    let (_, history, _) = outcome(&mut fleet.cli(&["rollout", &name, "--history"]));
    for (kind, act) in [
        ("Approved", "approve"),
        ("Retried", "retry"),
        ("Resumed", "resume"),
        ("Paused", "pause"),
        ("Aborted", "abort"),
        ("Lifted", "lift"),
    ] {
        let line = history.lines().find(|line| line.contains(kind) && line.contains(&format!("because of {act}")));
        assert!(line.is_some(), "{kind}:\n{history}");
    }
    assert!(history.contains("ApprovalAsked"), "{history}");
}
