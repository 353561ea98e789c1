//! `branch: {from: device}`: a device chooses among the branches that the repo names, and moves itself in no other way.

use crate::harness::fleet::{Fleet, On};
use crate::harness::process::eventually;

const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";

fn standing(fleet: &Fleet, device: &str) -> String {
    fleet.device(device).row.standing.to_string()
}

fn waits(fleet: &Fleet, device: &str) -> String {
    let waits = fleet.why(device).device.waits;
    waits.iter().map(|wait| format!("{}: {}", wait.code, wait.message)).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_device_chooses_among_the_branches_that_the_repo_names_and_moves_itself_in_no_other_way() {
    let chooses = "{ branch: { from: device, allowed: [main, canary] } }";
    let inventory = format!(
        "all:\n  hosts:\n    chooses-canary: {chooses}\n    chooses-too-much: {chooses}\n    chooses-nothing: {chooses}\n    \
         may-not-choose: {{ branch: main }}\n"
    );
    let mut fleet = Fleet::start(
        "branches",
        On::Simulated,
        &[
            ("fleet.yml", "name: acme\n"),
            ("inventory.yml", &inventory),
            ("group_vars/all.yml", "pins: { web: latest }\n"),
            ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
            ("releases/web/1.0.0/compose.yml", COMPOSE),
        ],
    );
    let choices = [("chooses-canary", "canary"), ("chooses-too-much", "production"), ("may-not-choose", "canary")];
    let token = fleet.token(&["chooses-canary", "chooses-too-much", "chooses-nothing", "may-not-choose"]);
    for (device, branch) in choices {
        fleet.start_agent(device, &["--token", &token, "--branch", branch]);
    }
    fleet.start_agent("chooses-nothing", &["--token", &token]);

    fleet.settled(&["chooses-canary", "may-not-choose"]);
    assert_eq!(standing(&fleet, "chooses-canary"), "canary");
    assert_eq!(standing(&fleet, "may-not-choose"), "main", "what a device reports moves nothing");
    for (device, why) in [
        (
            "chooses-too-much",
            "branch-not-allowed: the device chooses `production`, and may choose among main, canary; it keeps what it has",
        ),
        ("chooses-nothing", "branch-not-chosen: the device may choose among main, canary, and has chosen none"),
    ] {
        eventually(&format!("{device} has reported"), || (waits(&fleet, device) == why).then_some(()));
        assert_eq!((standing(&fleet, device), fleet.assigned(device)), ("in transit".to_owned(), None));
    }

    // Another choice moves it: the new stage's content comes, and the old stage has no say any more.
    let before = fleet.assigned("chooses-canary");
    drop(fleet.agents.remove("chooses-canary"));
    fleet.push(
        "main",
        "Main is ahead",
        &[("group_vars/all.yml", "pins: { web: latest }\nvariables: { FROM: main }\n")],
    );
    fleet.start_agent("chooses-canary", &["--token", &token, "--branch", "main"]);
    fleet.settled_on("main", &["chooses-canary"]);
    assert_eq!(standing(&fleet, "chooses-canary"), "main");
    assert_ne!(fleet.assigned("chooses-canary"), before);

    // A branch that withdraws the choice keeps no device that has chosen it.
    let withdrawn = inventory.replace(
        "chooses-canary: { branch: { from: device, allowed: [main, canary] } }",
        "chooses-canary: { branch: { from: device, allowed: [canary] } }",
    );
    assert_ne!(withdrawn, inventory);
    let assigned = fleet.assigned("chooses-canary");
    fleet.push("main", "Main is for others", &[("inventory.yml", &withdrawn)]);
    let why = "branch-not-allowed: the device chooses `main`, and may choose among canary; it keeps what it has";
    eventually("the choice is refused", || (waits(&fleet, "chooses-canary") == why).then_some(()));
    assert_eq!(fleet.assigned("chooses-canary"), assigned, "it keeps what it has");
}
