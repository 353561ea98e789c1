//! Devices on their way through other releases, and changes that are tried before they are merged: with real processes, real Git, and
//! where something has to fail, a real engine.

use crate::harness::engine::Engine;
use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::eventually;
use bellwether::domain::overview::rollouts::{RolloutDetail, RolloutRow};

const STAGES: &str = "stages: [main, canary, production]\n";
const FLEET: &str = "name: acme\nrollouts: {careful: {steps: [{name: canaries, group: canaries, min_success: 100%, soak: 10s}], final: {soak: 10s}}}\n";
const INVENTORY: &str = "all:\n  children:\n    canaries: {hosts: {CANARY: }}\n    others: {hosts: {REST: }}\n";

fn inventory(canary: &str, rest: &str) -> String {
    INVENTORY.replace("CANARY", canary).replace("REST", rest)
}

fn all(pin: &str) -> String {
    format!("branch: main\npins: {{ web: {pin} }}\n")
}

fn stands(fleet: &Fleet, name: &str, status: &str) -> RolloutRow {
    eventually(&format!("rollout {name} is {status}"), || {
        let rows = fleet.try_get::<Vec<RolloutRow>>("/v1/rollouts").ok()?;
        rows.into_iter().find(|row| row.rollout.as_str() == name && row.status == status)
    })
}

/// The newest rollout once it is another one than this.
fn newer(fleet: &Fleet, than: &str) -> String {
    let row = || fleet.try_get::<Vec<RolloutRow>>("/v1/rollouts").ok()?.into_iter().next();
    let newer = || row().filter(|row| row.rollout.as_str() != than);
    eventually("there is a rollout", newer).rollout.to_string()
}

fn release(fleet: &Fleet, device: &str) -> String {
    let apps = fleet.rows()[device].apps.clone();
    apps.values().map(ToString::to_string).collect()
}

/// The digest of what a device was assigned last.
fn content(fleet: &Fleet, device: &str) -> String {
    fleet.device(device).assignment.expect("something is assigned").digest.to_string()
}

/// Why the stage is degraded, if it is.
fn degraded(fleet: &Fleet) -> Option<String> {
    let stage = fleet.stage(&"main".parse().expect("a stage"));
    stage.conditions.into_iter().find(|one| one.kind == "Degraded").map(|one| one.message)
}

/// Runs a command that must succeed; what it says.
#[track_caller]
fn said(fleet: &Fleet, arguments: &[&str]) -> String {
    let (status, stdout, stderr) = outcome(&mut fleet.cli(arguments));
    assert_eq!(status, Some(0), "{arguments:?}: {stdout}{stderr}");
    format!("{stdout}{stderr}")
}

/// Runs a command that must be refused; what it says.
#[track_caller]
fn refused(fleet: &Fleet, arguments: &[&str]) -> String {
    let (status, stdout, stderr) = outcome(&mut fleet.cli(arguments));
    assert_ne!(status, Some(0), "{arguments:?}: {stdout}{stderr}");
    stderr
}

#[test]
fn devices_go_through_what_their_release_is_reached_from_and_what_failed_is_led_through_another() {
    let Some(engine) = Engine::shared() else { return };
    let (canary, rest) = ("way-canary", "way-rest");
    let image = engine.registry().worker[0].by_digest();
    // 2.0.0 needs what 1.9.0 has prepared, and 1.5.0 prepares nothing.
    let compose = |line: &str| {
        let line = format!("{line}; trap 'exit 0' TERM; sleep 86400 & wait");
        format!(
            "services:\n  app:\n    image: {}\n    command: [/bin/sh, -c, \"{line}\"]\n    volumes: ['data:/data']\nvolumes: {{ data: {{}} }}\n",
            image.as_str()
        )
    };
    let (plain, moves) = (compose("true"), compose("touch /data/moved"));
    let needs = compose("[ -e /data/moved ] || { echo the data has not moved; exit 3; }");
    let files = [
        ("fleet.yml", FLEET),
        ("inventory.yml", &inventory(canary, rest)),
        ("group_vars/all.yml", &all("1.0.0")),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", &plain),
        ("releases/web/1.9.0/release.yml", "version: 1.9.0\n"),
        ("releases/web/1.9.0/compose.yml", &moves),
        ("releases/web/2.0.0/release.yml", "version: 2.0.0\n"),
        ("releases/web/2.0.0/compose.yml", &needs),
        ("releases/web/3.0.0/release.yml", "version: 3.0.0\nrequires: { from: [2.0.0] }\n"),
        ("releases/web/3.0.0/compose.yml", &compose("true; true")),
    ];
    let mut fleet = Fleet::configured("ways", On::Engine(engine), STAGES, &files);
    fleet.enroll(&[canary, rest]);
    fleet.settled(&[canary, rest]);

    // Nothing says that 2.0.0 needs 1.9.0: the canary finds out, and somebody leads it there.
    let staged = format!("{FLEET}rollout: [{{stage: main, policy: careful}}]\n");
    fleet.push("main", "To 2.0.0", &[("fleet.yml", &staged), ("group_vars/all.yml", &all("2.0.0"))]);
    let name = newer(&fleet, "");
    stands(&fleet, &name, "ERROR");
    assert!(degraded(&fleet).is_some_and(|why| why.contains(&name)), "nothing is assigned from it");
    let ask = ["rollout", "reroute", name.as_str(), "--reason", "the data moves first"];
    for (more, why) in [
        (&["--failed", "--via", "web=1.7.0"][..], "no release 1.7.0"),
        (&[rest, "--via", "web=1.9.0"], "has not failed"),
        (&["--failed", "--via", "web=2.0.0"], "shall have"),
    ] {
        let stderr = refused(&fleet, &[&ask[..], more].concat());
        assert!(stderr.contains(why), "{more:?}: {stderr}");
    }
    said(&fleet, &[&ask[..], &["--failed", "--via", "web=1.9.0"]].concat());
    // A power cut in the middle changes nothing but time.
    fleet.kill_controller();
    fleet.start_controller();
    // Its other device finds out as well, and goes the same way.
    eventually("the canary is through", || (release(&fleet, canary) == "2.0.0").then_some(()));
    stands(&fleet, &name, "ERROR");
    let detail: RolloutDetail = fleet.get(&format!("/v1/rollouts/{name}"));
    let failed: Vec<&str> = detail.failures.iter().map(|failure| failure.device.as_str()).collect();
    assert_eq!(failed, [rest], "the canary has succeeded");
    assert!(detail.failures[0].log.iter().any(|line| line.ends_with("the data has not moved")), "{detail:?}");
    said(&fleet, &[&ask[..], &[rest, "--via", "web=1.9.0"]].concat());
    stands(&fleet, &name, "DONE");
    assert_eq!(degraded(&fleet), None);
    let history = said(&fleet, &["rollout", &name, "--history"]);
    assert!(history.contains("Rerouted") && history.contains("web 1.9.0"), "{history}");

    // 3.0.0 says what it is reached from.
    fleet.push("main", "Back to 1.0.0", &[("fleet.yml", FLEET), ("group_vars/all.yml", &all("1.0.0"))]);
    fleet.settled(&[canary, rest]);
    fleet.push("main", "To 3.0.0", &[("fleet.yml", &staged), ("group_vars/all.yml", &all("3.0.0"))]);
    let name = newer(&fleet, &name);
    stands(&fleet, &name, "DONE");
    assert_eq!([release(&fleet, canary), release(&fleet, rest)], ["3.0.0", "3.0.0"]);
    let log = fleet.controller_log();
    let assigned = log.lines().filter(|line| line.contains("assigned") && line.contains(canary));
    assert!(assigned.count() >= 4, "it got 2.0.0 before 3.0.0:\n{log}");
}

#[test]
fn a_change_is_tried_on_some_devices_before_it_is_merged() {
    let (canary, rest) = ("try-canary", "try-rest");
    let files = [
        ("fleet.yml", FLEET),
        ("inventory.yml", &inventory(canary, rest)),
        ("group_vars/all.yml", &all("1.0.0")),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", "services: { app: { image: registry.example/web:1 } }\n"),
        ("releases/web/2.0.0/release.yml", "version: 2.0.0\n"),
        ("releases/web/2.0.0/compose.yml", "services: { app: { image: registry.example/web:2 } }\n"),
    ];
    let mut fleet = Fleet::configured("drafts", On::Simulated, STAGES, &files);
    fleet.enroll(&[canary, rest]);
    fleet.settled(&[canary, rest]);
    let work = fleet.repo.work().display().to_string();
    for (key, value) in [("user.name", "Ada"), ("user.email", "ada@fleet.example")] {
        fleet.repo.git(&["config", key, value]);
    }
    let (base, before) = (fleet.repo.tip("HEAD"), fleet.assigned(canary));

    let filter = format!("device == \"{canary}\"");
    let draft = |name: &str, more: &[&str]| {
        let start = ["rollout", "draft", name, "--repo", &work, "--devices", &filter, "--reason", "to try it"];
        let words: Vec<String> = start.iter().chain(more).map(|word| (*word).to_owned()).collect();
        words
    };
    let run = |fleet: &Fleet, words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        said(fleet, &words)
    };
    let made = run(&fleet, &draft("two", &["--change", "pin web=2.0.0", "--step", "{name: one, take: 1, soak: 1s}"]));
    assert!(made.contains("does nothing yet"), "{made}");
    assert_eq!(fleet.repo.tip("HEAD"), base, "what is checked out is left alone");
    assert_eq!(fleet.repo.git(&["status", "--porcelain"]), "");
    fleet.refresh();
    assert_eq!(fleet.assigned(canary), before, "a draft does nothing");
    let shown = said(&fleet, &["rollout", "two"]);
    assert!(shown.contains("DRAFT") && shown.contains("draft/two"), "{shown}");
    said(&fleet, &["rollout", "step", "add", "two", "{name: later, window: 1h}", "--reason", "slowly"]);
    said(&fleet, &["rollout", "step", "delete", "two", "2", "--reason", "one is enough"]);
    said(&fleet, &["rollout", "activate", "two", "--reason", "go"]);
    fleet.kill_controller();
    fleet.start_controller();
    stands(&fleet, "two", "DONE");
    assert_eq!([release(&fleet, canary), release(&fleet, rest)], ["2.0.0", "1.0.0"]);
    fleet.refresh();
    assert_eq!(release(&fleet, canary), "2.0.0", "the stage does not take it back");
    let shown = said(&fleet, &["rollout", "two"]);
    assert!(shown.contains("takes it back unless it has it"), "{shown}");
    let history = said(&fleet, &["rollout", "two", "--history"]);
    for kind in ["Drafted", "StepAdded", "StepDeleted", "Activated", "StepPassed", "Done"] {
        assert!(history.contains(kind), "{kind}: {history}");
    }
    let stderr = refused(&fleet, &["rollout", "delete", "two", "--reason", "tidy up"]);
    assert!(stderr.contains("only a DRAFT can"), "{stderr}");

    // Merged, it stays as it is; the next change that lacks it takes it back.
    let assigned = fleet.assigned(canary);
    fleet.repo.switch("main");
    fleet.repo.merge("draft/two", "main");
    fleet.seen("main");
    assert_eq!(fleet.assigned(canary), assigned, "nothing changes for it");
    let merged = content(&fleet, canary);
    let made = run(&fleet, &draft("var", &["--change", "var SPEED=5", "--step", "{name: all, soak: 1s}"]));
    assert!(made.contains("Drafted"), "{made}");
    said(&fleet, &["rollout", "activate", "var", "--reason", "go"]);
    stands(&fleet, "var", "DONE");
    assert_ne!(content(&fleet, canary), merged);
    fleet.push("main", "Something else", &[("group_vars/others.yml", "tags: { a: b }\n")]);
    eventually("it is taken back", || (content(&fleet, canary) == merged).then_some(()));

    // What reaches further than it says is refused, and leaves a branch that is named.
    let patch = fleet.data_dir().join("wide.patch");
    let text = "diff --git a/group_vars/all.yml b/group_vars/all.yml\n--- a/group_vars/all.yml\n+++ b/group_vars/all.yml\n@@ -1,2 +1,2 @@\n branch: main\n-pins: { web: 1.0.0 }\n+pins: { web: 2.0.0 }\n";
    std::fs::write(&patch, text).expect("write a patch");
    let words = draft("wide", &["--change", &patch.display().to_string(), "--policy", "cautious"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let stderr = refused(&fleet, &words);
    assert!(stderr.contains(rest) && stderr.contains("--delete draft/wide"), "{stderr}");
}
