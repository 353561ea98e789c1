//! What people do at the command line, against a running controller with real agents.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::eventually;
use crate::harness::run::run;
use bellwether::agent::engine::simulated::SimulatedEngine;
use bellwether::agent::faults::{Fault, Faults};
use bellwether::domain::digest::Digest;
use bellwether::ports::engine::fake::Tamper;

const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";

fn step(word: &str) -> String {
    format!("pins: {{ web: latest }}\nvariables: {{ STEP: {word} }}\n")
}

fn start(name: &str, settings: &str, devices: &[(&str, &str)]) -> Fleet {
    let hosts: String =
        devices.iter().map(|(device, stage)| format!("    {device}: {{ branch: {stage} }}\n")).collect();
    let inventory = format!("all:\n  hosts:\n{hosts}");
    let files = [
        ("fleet.yml", "name: acme\n"),
        ("inventory.yml", &inventory),
        ("group_vars/all.yml", &step("first")),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", COMPOSE),
    ];
    Fleet::configured(name, On::Simulated, settings, &files)
}

const STAGES: &str = "stages: [main, canary, production]\n";

/// What a command prints that must end with this status.
#[track_caller]
fn run_cli(fleet: &Fleet, arguments: &[&str], expected: i32) -> String {
    let (status, stdout, stderr) = outcome(&mut fleet.cli(arguments));
    assert_eq!(status, Some(expected), "{arguments:?}\n{stdout}\n{stderr}");
    assert!(!stdout.contains('\u{1b}'), "no colours without a terminal: {stdout}");
    if expected == 1 { stderr } else { stdout }
}

#[test]
fn drift_is_reported_while_it_lasts_and_gone_when_it_is_mended() {
    let mut fleet = start("cli-drift", STAGES, &[("cli-kiosk", "main"), ("cli-shop", "production")]);
    // A token made at the command line is all that a device needs.
    let token = run_cli(&fleet, &["enroll", "cli-kiosk"], 0);
    let token = token.trim();
    assert!(
        token.starts_with("bwt1_") && !token.contains(char::is_whitespace),
        "only the token is on stdout: {token:?}"
    );
    fleet.start_agent("cli-kiosk", &["--token", token]);
    fleet.settled(&["cli-kiosk"]);
    run_cli(&fleet, &["drift", "cli-kiosk", "--exit-code"], 0);
    // Nobody has heard of the other one: unknown is not in sync.
    let report = run_cli(&fleet, &["drift", "--exit-code"], 4);
    assert!(report.contains("unknown"), "{report}");

    // The container is gone, and cannot be made again.
    let engine = SimulatedEngine::open(&fleet.state_dir("cli-kiosk").join("engine")).expect("open the engine");
    let fault = Fault { operation: "create".to_owned(), after: 0, times: 1_000_000, message: "disk full".to_owned() };
    engine.set_faults(&Faults { rules: vec![fault] }).expect("write faults");
    let (app, service) = ("web".parse().expect("an app"), "app".parse().expect("a service"));
    assert!(engine.tamper(&Tamper::Remove { app, service }).expect("tamper"));
    let report = eventually("the drift is reported", || {
        let (status, stdout, _) = outcome(&mut fleet.cli(&["drift", "cli-kiosk", "--exit-code"]));
        (status == Some(3)).then_some(stdout)
    });
    assert!(report.contains("cli-kiosk") && report.contains("web/app"), "{report}");
    let why = eventually("the reason is told", || {
        Some(run_cli(&fleet, &["why", "cli-kiosk"], 0)).filter(|why| why.contains("disk full"))
    });
    assert!(why.contains("STEP"), "{why}");
    for form in ["json", "yaml", "md", "html", "junit", "sarif"] {
        let report = run_cli(&fleet, &["drift", "cli-kiosk", "-o", form], 0);
        assert!(report.contains("web/app"), "{form}: {report}");
    }

    engine.set_faults(&Faults::default()).expect("write faults");
    fleet.settled(&["cli-kiosk"]);
    run_cli(&fleet, &["drift", "cli-kiosk", "--exit-code"], 0);
    let detail = run_cli(&fleet, &["device", "cli-kiosk"], 0);
    assert!(detail.contains("web/app"), "what was found stays on record: {detail}");
}

#[test]
fn a_held_device_waits_says_why_and_goes_on_when_it_is_resumed() {
    let mut fleet = start("cli-hold", STAGES, &[("cli-held", "main"), ("cli-free", "main")]);
    fleet.enroll(&["cli-held", "cli-free"]);
    fleet.settled(&["cli-held", "cli-free"]);
    run_cli(&fleet, &["hold", "device", "cli-held", "--reason", "being repaired"], 0);
    fleet.push("main", "Second", &[("group_vars/all.yml", &step("second"))]);
    fleet.settled_on("main", &["cli-free"]);
    assert_eq!(fleet.assigned("cli-held").as_deref(), Some("1.1"));
    let why = run_cli(&fleet, &["why", "cli-held"], 0);
    assert!(why.contains("being repaired"), "{why}");
    assert!(run_cli(&fleet, &["status"], 0).contains("being repaired"));
    run_cli(&fleet, &["resume", "device", "cli-held"], 0);
    fleet.settled_on("main", &["cli-held"]);
    run_cli(&fleet, &["resume", "device", "cli-held"], 1);
    let events = run_cli(&fleet, &["events"], 0);
    assert!(events.contains("being repaired"), "{events}");
}

#[test]
fn a_held_commit_is_shown_and_approved_by_the_beginning_of_its_digest() {
    let settings = "stages:\n  - { name: main, max_unstaged: 1 }\n  - canary\n  - production\n";
    let mut fleet = start("cli-approve", settings, &[("cli-one", "main"), ("cli-two", "main")]);
    fleet.enroll(&["cli-one", "cli-two"]);
    fleet.settled(&["cli-one", "cli-two"]);
    let held = fleet.push("main", "Both at once", &[("group_vars/all.yml", &step("second"))]);
    let json = serde_json::to_value(held.waiting.expect("it is held")).expect("JSON");
    let digest = json["why"]["digest"].as_str().expect("a digest").trim_start_matches("sha256:").to_owned();
    let status = run_cli(&fleet, &["status"], 0);
    assert!(status.contains(&digest[..8]), "the status shows what to approve: {status}");
    let plan = run_cli(&fleet, &["plan", "--help"], 0);
    assert!(plan.contains("Examples"), "{plan}");
    run_cli(&fleet, &["approve", "00000000"], 1);
    run_cli(&fleet, &["approve", &digest[..12]], 0);
    fleet.settled_on("main", &["cli-one", "cli-two"]);
}

#[test]
fn operators_act_over_tls_with_a_key_and_under_their_name() {
    let key = "a-long-and-random-key-of-ada-0123456789";
    let settings =
        format!("{STAGES}operators:\n  - {{ name: ada, key_sha256: {} }}\n", Digest::of(key.as_bytes()).hex());
    let fleet = start("cli-tls", &settings, &[("cli-far", "main")]);
    let folder = run().scratch("cli-keys");
    let (good, bad) = (folder.join("ada.key"), folder.join("eve.key"));
    std::fs::write(&good, format!("{key}\n")).expect("write a key");
    std::fs::write(&bad, "another-key-0123456789\n").expect("write a key");
    let (url, ca) = (fleet.url(), fleet.ca_file().display().to_string());
    let over_tls = |key: &std::path::Path, arguments: &[&str]| {
        let key = key.display().to_string();
        let connection = ["--server", &url, "--ca-file", &ca, "--key-file", &key];
        outcome(&mut fleet.cli(&[arguments, &connection].concat()))
    };
    let (status, stdout, stderr) = over_tls(&good, &["hold", "fleet", "--reason", "trade fair"]);
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    assert_eq!(fleet.status().status.holds[0].hold.actor.as_str(), "ada");
    let (status, stdout, stderr) = over_tls(&bad, &["resume", "fleet"]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("key"), "{stderr}");
    assert!(!stderr.contains("another-key"), "no key is ever shown: {stderr}");
    assert_eq!(fleet.status().status.holds.len(), 1);
    // Whom it cannot believe, it tells nothing.
    let (status, _, stderr) =
        outcome(&mut fleet.cli(&["status", "--server", &url, "--ca-fingerprint", &"0".repeat(64)]));
    assert_eq!(status, Some(1), "{stderr}");
}

#[test]
fn a_command_without_a_controller_says_so() {
    let mut fleet = start("cli-alone", STAGES, &[("cli-alone", "main")]);
    fleet.stop_controller();
    let error = run_cli(&fleet, &["status"], 1);
    assert!(error.contains("no controller answers"), "{error}");
    let (status, stdout, _) = outcome(&mut fleet.cli(&["no-such-command"]));
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
}
