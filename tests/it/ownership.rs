//! Who owns a device, through real processes and real Git: no branch takes what a more gated one claims, nothing is wiped by
//! deleting a line, and nobody raises a limit by a commit.

use crate::harness::fleet::{Fleet, On, STAGES};
use crate::harness::process::eventually;
use bellwether::agent::engine::simulated::SimulatedEngine;
use bellwether::domain::fleet::WaitingFor;
use bellwether::domain::overview::status::StageStatus;
use bellwether::protocol::v1::operator::ApproveRequest;

const FLEET: &str = "name: acme\n";
const RELEASE: &str = "version: 1.0.0\n";
const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";

/// An inventory of devices with the stage that each follows.
fn inventory(devices: &[(&str, &str)]) -> String {
    let hosts = devices.iter().map(|(device, branch)| format!("    {device}: {{ branch: {branch} }}\n"));
    format!("all:\n  hosts:\n{}", hosts.collect::<String>())
}

fn start(name: &str, inventory: &str) -> Fleet {
    start_with(name, "stages: [main, canary, production]\n", inventory)
}

fn start_with(name: &str, settings: &str, inventory: &str) -> Fleet {
    let files = [
        ("fleet.yml", FLEET),
        ("inventory.yml", inventory),
        ("group_vars/all.yml", "pins: { web: latest }\nvariables: { STEP: first }\n"),
        ("releases/web/1.0.0/release.yml", RELEASE),
        ("releases/web/1.0.0/compose.yml", COMPOSE),
    ];
    Fleet::configured(name, On::Simulated, settings, &files)
}

/// How a device stands and what it was assigned last.
fn place(fleet: &Fleet, device: &str) -> String {
    let row = fleet.device(device).row;
    format!("{}, assigned {}", row.standing, row.assigned.map_or("nothing".to_owned(), |order| order.to_string()))
}

/// Why the newest commit of a stage does not count, for people, and the digest that would let it through.
fn held(status: &StageStatus) -> (String, String) {
    match &status.waiting.as_ref().expect("a commit waits").why {
        WaitingFor::Repair { message } => (format!("repair: {message}"), String::new()),
        WaitingFor::Approval { digest, reasons, .. } => {
            (reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "), digest.to_string())
        }
    }
}

fn waits(fleet: &Fleet, device: &str) -> Vec<String> {
    fleet.device(device).waits.into_iter().map(|wait| format!("{}: {}", wait.code, wait.message)).collect()
}

/// What the device's own engine runs.
fn variables(fleet: &Fleet, device: &str) -> String {
    let engine = SimulatedEngine::open(&fleet.state_dir(device).join("engine")).expect("open the simulated engine");
    let contents = engine.contents().expect("read the simulated engine");
    let service = contents.apps.values().flat_map(|app| app.services.values()).next().expect("a container");
    let own =
        service.content.environment.iter().filter(|(name, _)| !service.image_defaults.environment.contains_key(*name));
    own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

const STEP: &str = "group_vars/all.yml";

fn step(word: &str) -> String {
    format!("pins: {{ web: latest }}\nvariables: {{ STEP: {word} }}\n")
}

#[test]
fn two_branches_that_claim_a_device_never_alternate() {
    let mut fleet = start("claims", &inventory(&[("claimed", "main"), ("other", "main")]));
    fleet.enroll(&["claimed"]);
    fleet.settled(&["claimed"]);
    // Production says that the device is its own, and main goes on saying that it is main's.
    fleet.push(
        "production",
        "Take it",
        &[("inventory.yml", &inventory(&[("claimed", "production"), ("other", "main")]))],
    );
    fleet.settled(&["claimed"]);
    fleet.push("production", "Change it", &[(STEP, &step("production"))]);
    fleet.settled_on("production", &["claimed"]);
    let before = place(&fleet, "claimed");
    assert!(before.starts_with("production"), "{before}");
    for round in 0..8 {
        fleet.push("main", "Want it back", &[(STEP, &step(&format!("main-{round}")))]);
        fleet.push("canary", "Nothing of interest", &[("README.md", &round.to_string())]);
        assert_eq!(place(&fleet, "claimed"), before, "in round {round}");
    }
    assert_eq!(variables(&fleet, "claimed"), "STEP=production");
    let status = fleet.status().status;
    let conflicts: Vec<String> = status
        .claim_conflicts
        .iter()
        .map(|(device, stages)| {
            format!("{device}: {}", stages.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        })
        .collect();
    assert_eq!(conflicts, ["claimed: main, production"]);
}

#[test]
fn a_device_moves_between_stages_through_transit() {
    let mut fleet = start("moves", &inventory(&[("mover", "production"), ("stayer", "production")]));
    fleet.enroll(&["mover"]);
    fleet.settled(&["mover"]);
    let moved = inventory(&[("mover", "main"), ("stayer", "production")]);
    let mut story = vec![place(&fleet, "mover")];
    // Main wants it, but production has not let it go.
    fleet.push("main", "Move it to main", &[("inventory.yml", &moved), (STEP, &step("main"))]);
    story.push(place(&fleet, "mover"));
    // Another branch follows it nowhere: first production lets go of it for canary, which does not list it as its own.
    let to_canary = inventory(&[("mover", "canary"), ("stayer", "production")]);
    fleet.push("main", "Main has it no longer", &[("inventory.yml", &to_canary)]);
    fleet.push("production", "Let it go", &[("inventory.yml", &to_canary), (STEP, &step("production"))]);
    story.push(place(&fleet, "mover"));
    assert_eq!(waits(&fleet, "mover"), ["in-transit: no stage claims the device; it keeps what it has"]);
    assert_eq!(variables(&fleet, "mover"), "STEP=first", "it keeps what it has");
    fleet.push("canary", "Take it", &[("inventory.yml", &to_canary), (STEP, &step("canary"))]);
    fleet.settled_on("canary", &["mover"]);
    story.push(place(&fleet, "mover"));
    insta::assert_snapshot!(story.join("\n"), @"
    production, assigned 1.1
    production, assigned 1.1
    in transit, assigned 1.1
    canary, assigned 1.2
    ");
    assert_eq!(variables(&fleet, "mover"), "STEP=canary");
}

#[test]
fn deleting_lines_wipes_nothing_and_deleting_many_is_held() {
    let four = [("gone-1", "main"), ("gone-2", "main"), ("gone-3", "main"), ("gone-4", "main")];
    let mut fleet = start("gone", &inventory(&four));
    fleet.enroll(&["gone-1", "gone-2"]);
    fleet.settled(&["gone-1", "gone-2"]);

    let status = fleet.push("main", "Drop one", &[("inventory.yml", &inventory(&four[1..]))]);
    assert_eq!(status.waiting, None, "one is in the budget");
    // The other branches list it still, as nobody's.
    for stage in &STAGES[1..] {
        fleet.push(stage, "Drop one", &[("inventory.yml", &inventory(&four[1..]))]);
    }
    assert_eq!(place(&fleet, "gone-1"), "unmanaged, assigned 1.1");
    fleet.push("main", "Change what it no longer gets", &[(STEP, &step("second"))]);
    fleet.settled_on("main", &["gone-2"]);
    assert_eq!(variables(&fleet, "gone-1"), "STEP=first", "it keeps running what it has");
    assert_eq!(place(&fleet, "gone-1"), "unmanaged, assigned 1.1");

    // A second one is beyond the budget, also with the budget's own file in the same commit.
    let raised = "name: acme\nlimits: { max_unstaged: 1000 }\n";
    let status =
        fleet.push("main", "Drop another", &[("inventory.yml", &inventory(&four[2..])), ("fleet.yml", raised)]);
    let (reason, digest) = held(&status);
    assert_eq!(reason, "2 devices would be unmanaged since the last approval; 1 may be");
    // While it waits, what counted goes on counting.
    assert_eq!(place(&fleet, "gone-2"), "main, assigned 1.2");
    let refused =
        fleet.try_post::<serde_json::Value>("/v1/approvals", &ApproveRequest { digest: "sha256:00000000".into() });
    assert!(refused.is_err(), "another digest approves nothing: {refused:?}");
    fleet.act("/v1/approvals", &ApproveRequest { digest });
    fleet.refresh();
    eventually("the approved commit counts", || (fleet.seen("main").waiting.is_none()).then_some(()));
    assert_eq!(place(&fleet, "gone-2"), "in transit, assigned 1.2", "canary and production list it still");

    // Emptying and deleting the inventory never means that there are no devices.
    let status = fleet.push("main", "Empty", &[("inventory.yml", "")]);
    insta::assert_snapshot!(held(&status).0, @"repair: inventory.yml: the inventory is empty");
    let status = fleet.push("main", "Only a comment", &[("inventory.yml", "all:\n  hosts:\n")]);
    insta::assert_snapshot!(held(&status).0, @"repair: inventory.yml: the inventory lists no devices");
    fleet.repo.delete("Delete the inventory", &["inventory.yml"]);
    fleet.repo.push("main");
    let status = fleet.seen("main");
    insta::assert_snapshot!(held(&status).0, @"repair: inventory.yml: there is no inventory.yml");
    assert_eq!(fleet.rows().len(), 4, "all are known");
}

#[test]
fn a_commit_cannot_raise_its_own_limits() {
    let two = [("limit-1", "main"), ("limit-2", "main")];
    let settings = "stages:\n  - { name: main, max_unstaged: 1 }\n  - canary\n  - production\n";
    let mut fleet = start_with("limit", settings, &inventory(&two));
    fleet.enroll(&["limit-1", "limit-2"]);
    fleet.settled(&["limit-1", "limit-2"]);
    let raised = "name: acme\nlimits: { max_unstaged: 1000 }\n";
    let status = fleet.push("main", "Change all, and the limit", &[("fleet.yml", raised), (STEP, &step("second"))]);
    let (reason, digest) = held(&status);
    assert_eq!(reason, "2 devices would get other content at once; 1 may without a rollout");
    assert_eq!(variables(&fleet, "limit-1"), "STEP=first");
    // The digest stays while people look at it, and changes with the content.
    fleet.refresh();
    assert_eq!(held(&fleet.seen("main")).1, digest);
    let status = fleet.push("main", "Change it again", &[(STEP, &step("third"))]);
    let (_, newer) = held(&status);
    assert_ne!(newer, digest);
    assert!(
        fleet.try_post::<serde_json::Value>("/v1/approvals", &ApproveRequest { digest }).is_err(),
        "an approval of what nobody wants any more"
    );
    fleet.act("/v1/approvals", &ApproveRequest { digest: newer });
    fleet.settled_on("main", &["limit-1", "limit-2"]);
    assert_eq!(variables(&fleet, "limit-1"), "STEP=third");
}

#[test]
fn an_unreachable_remote_changes_nothing_and_is_told() {
    let mut fleet = start("unreachable", &inventory(&[("far", "main")]));
    fleet.enroll(&["far"]);
    fleet.settled(&["far"]);
    let before = place(&fleet, "far");
    let (bare, away) = (fleet.repo.bare().to_owned(), fleet.repo.bare().with_extension("away"));
    std::fs::rename(&bare, &away).expect("move the repository away");
    fleet.refresh();
    let reason = eventually("the status says that the remote is unreachable", || fleet.status().repo.unavailable);
    assert!(!reason.is_empty());
    assert_eq!(place(&fleet, "far"), before);
    // Also for a controller that starts without its remote.
    fleet.stop_controller();
    fleet.start_controller();
    fleet.settled(&["far"]);
    assert_eq!(place(&fleet, "far"), before);
    assert!(fleet.status().status.unmanaged.is_empty());
    std::fs::rename(&away, &bare).expect("move the repository back");
    fleet.push("main", "Go on", &[(STEP, &step("second"))]);
    fleet.settled_on("main", &["far"]);
    assert_eq!(fleet.status().repo.unavailable, None);
}

#[test]
fn a_branch_that_is_deleted_or_rewritten_changes_nothing_by_itself() {
    let mut fleet = start("rewritten", &inventory(&[("steady", "main")]));
    fleet.enroll(&["steady"]);
    fleet.settled(&["steady"]);
    fleet.push("main", "Second", &[(STEP, &step("second"))]);
    fleet.settled_on("main", &["steady"]);
    let before = place(&fleet, "steady");

    let bare = fleet.repo.bare().display().to_string();
    fleet.repo.git(&["-C", &bare, "update-ref", "-d", "refs/heads/main"]);
    fleet.refresh();
    eventually("the missing branch is told", || (!fleet.status().repo.missing.is_empty()).then_some(()));
    assert_eq!(place(&fleet, "steady"), before, "gone is not empty");
    let status = fleet.status().status;
    let main = status.stages.iter().find(|one| one.stage.as_str() == "main").expect("the stage is shown");
    let told: Vec<String> =
        main.findings.iter().map(|one| format!("{} {}: {}", one.place, one.code, one.message)).collect();
    let commit = main.accepted.as_ref().expect("a commit counts").short();
    assert_eq!(
        told,
        [format!(
            "branch main missing-branch: the remote has no branch `main` any more; commit {commit} goes on counting"
        )]
    );

    fleet.repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    fleet.repo.commit("Another second", &[(STEP, &step("rewritten"))]);
    fleet.repo.git(&["push", "--quiet", "--force", "origin", "main"]);
    let (reason, digest) = held(&fleet.seen("main"));
    assert!(reason.starts_with("the branch was rewritten: it no longer contains "), "{reason}");
    assert_eq!((place(&fleet, "steady"), variables(&fleet, "steady")), (before, "STEP=second".to_owned()));
    fleet.act("/v1/approvals", &ApproveRequest { digest });
    fleet.settled_on("main", &["steady"]);
    assert_eq!(variables(&fleet, "steady"), "STEP=rewritten");
}

#[test]
fn a_broken_host_file_on_production_does_not_hand_the_device_to_main() {
    let mut fleet = start("broken-host", &inventory(&[("shop", "production"), ("other-shop", "production")]));
    fleet.enroll(&["shop", "other-shop"]);
    fleet.settled(&["shop", "other-shop"]);
    let taken = inventory(&[("shop", "main"), ("other-shop", "production")]);
    fleet.push("main", "Main wants it", &[("inventory.yml", &taken)]);
    fleet.push("production", "Break it", &[("host_vars/shop.yml", "branch: [production\n"), (STEP, &step("second"))]);
    fleet.settled_on("production", &["other-shop"]);
    assert_eq!(place(&fleet, "shop"), "production, assigned 1.1");
    assert_eq!(variables(&fleet, "shop"), "STEP=first");
    let why = fleet.why("shop");
    let waits: Vec<String> = why.device.waits.iter().map(|wait| format!("{}: {}", wait.code, wait.message)).collect();
    insta::assert_snapshot!(waits.join("\n"), @"
    claim-conflict: stages main, production claim the device; production is the most gated and owns it
    spec-invalid: host_vars/shop.yml:1:9: unclosed bracket '['
    ");
    fleet.push("production", "Mend it", &[("host_vars/shop.yml", "variables: { MENDED: 'yes' }\n")]);
    fleet.settled_on("production", &["shop"]);
    assert_eq!(variables(&fleet, "shop"), "MENDED=yes STEP=second");
}
