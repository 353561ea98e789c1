//! Maintenance windows from the fleet repo to the device: what is new waits for them, says so, and goes on once one opens.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::eventually;
use bellwether::agent::engine::simulated::SimulatedEngine;

const DEVICE: &str = "kiosk-1";
/// Windows that no test sees open, unless it runs on the first minute of a leap day.
const SHUT: &str = "{cron: '0 0 29 2 *', duration: 1m}";
/// Windows that follow each other.
const OPEN: &str = "{cron: '* * * * *', duration: 1m}";

fn vars(download: &str, apply: &str, greeting: &str) -> String {
    let windows = format!("maintenance: {{zone: UTC, download: [{download}], apply: [{apply}]}}\n");
    format!("branch: main\npins: {{ web: 1.0.0 }}\nvariables: {{ GREETING: {greeting} }}\n{windows}")
}

fn compose(image: &str) -> String {
    format!("services:\n  app:\n    image: registry.example/app:{image}\n")
}

#[test]
fn what_is_new_waits_for_the_windows_of_the_newest_commit() {
    let files = [
        ("fleet.yml", "name: acme\n"),
        ("inventory.yml", "all:\n  hosts:\n    kiosk-1:\n"),
        ("group_vars/all.yml", &vars(OPEN, OPEN, "hello")),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", &compose("1")),
    ];
    let mut fleet = Fleet::start("windows", On::Simulated, &files);
    fleet.enroll(&[DEVICE]);
    fleet.settled(&[DEVICE]);
    let engine = SimulatedEngine::open(&fleet.state_dir(DEVICE).join("engine")).expect("an engine");
    let journal = || engine.journal().expect("readable").into_iter().map(|entry| entry.operation).collect::<Vec<_>>();
    let before = journal();
    let waits = |what: &str| {
        eventually(&format!("it waits for a window to {what}"), || {
            let (_, shown, _) = outcome(&mut fleet.cli(&["why", DEVICE]));
            (shown.contains("window") && shown.contains("-02-29")).then_some(shown)
        })
    };

    fleet.push("main", "While nothing may change", &[("group_vars/all.yml", &vars(OPEN, SHUT, "goodbye"))]);
    let shown = waits("change what runs");
    assert_eq!(journal(), before, "{shown}");

    fleet.push(
        "main",
        "While nothing may be fetched",
        &[("group_vars/all.yml", &vars(SHUT, OPEN, "goodbye")), ("releases/web/1.0.0/compose.yml", &compose("2"))],
    );
    let shown = waits("fetch images");
    assert_eq!(journal(), before, "{shown}");

    fleet.push("main", "At any time", &[("group_vars/all.yml", &vars(OPEN, OPEN, "goodbye"))]);
    fleet.settled_on("main", &[DEVICE]);
    let done = journal()[before.len()..].join("; ");
    insta::assert_snapshot!(done, @"pull registry.example/app:2; remove web/app (not assigned); create web/app; start web/app");
}
