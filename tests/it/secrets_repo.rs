//! Secrets that the fleet repo keeps itself, encrypted with age and by SOPS, through the real executables.

use crate::harness::canary::{answers, database};
use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::eventually;
use crate::harness::run::run;
use age::secrecy::ExposeSecret as _;
use bellwether::agent::engine::simulated::SimulatedEngine;
use std::path::{Path, PathBuf};

const USER: &str = "repo-secret-user";
const OTHER: &str = "repo-secret-other";
const LACKING: &str = "repo-secret-lacking";
const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";
/// What the original implementation of SOPS wrote, and the identity that it is for.
const SOPS: &str = include_str!("../../src/secrets/repo/fixture/values.sops.yml");
const SOPS_IDENTITY: &str = include_str!("../../src/secrets/repo/fixture/identity.txt");
const SOPS_VALUE: &str = "sops-canary-7f3a";
const FIRST: &str = "age-canary-first-4c1d";
const SECOND: &str = "age-canary-second-77ab";

fn encrypted(identity: &age::x25519::Identity, value: &str) -> String {
    age::encrypt_and_armor(&identity.to_public(), value.as_bytes()).expect("age encrypts")
}

#[track_caller]
fn assert_clean(whose: &str, text: &[u8]) {
    for value in [SOPS_VALUE, FIRST, SECOND] {
        assert!(!text.windows(value.len()).any(|part| part == value.as_bytes()), "{whose} holds {value}");
    }
}

/// No value stands in what was written or can be asked for, apart from the device's own file of values and its engine.
#[track_caller]
fn assert_nothing_leaks(fleet: &Fleet) {
    let mut folders = vec![fleet.data_dir(), fleet.state_dir(USER)];
    let meant = [fleet.state_dir(USER).join("secrets"), fleet.state_dir(USER).join("engine/engine.json")];
    while let Some(folder) = folders.pop() {
        // The mirror packs its objects while it runs, and a folder may go.
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            match std::fs::read(&path) {
                _ if path.is_dir() => folders.push(path),
                Ok(bytes) if !meant.contains(&path) => assert_clean(&path.display().to_string(), &bytes),
                Ok(_) | Err(_) => {}
            }
        }
    }
    assert_clean("the controller's log", fleet.controller_log().as_bytes());
    for (what, answer) in answers(fleet, USER).into_iter().chain(database(fleet)) {
        assert_clean(&what, &answer);
    }
}

/// The environment of the device's container, as its engine has it.
fn environment(fleet: &Fleet, device: &str) -> Option<String> {
    let engine = SimulatedEngine::open(&fleet.state_dir(device).join("engine")).expect("open the engine");
    let found = serde_json::to_value(engine.contents().ok()?).expect("the engine's state is JSON");
    let all = found.pointer("/apps/web/services/app/content/environment")?.as_object()?.clone();
    let shown = |name: &str| format!("{name}={}", all.get(name).and_then(|value| value.as_str()).unwrap_or("-"));
    Some(["AGE", "SOPS"].map(shown).join(" "))
}

fn identity_file(folder: &Path, identity: &age::x25519::Identity) -> PathBuf {
    let path = folder.join("identity.txt");
    std::fs::write(&path, format!("{}\n{SOPS_IDENTITY}", identity.to_string().expose_secret()))
        .expect("keep an identity");
    path
}

#[test]
fn secrets_that_the_repo_keeps_encrypted_reach_their_devices_and_are_rotated_by_a_commit() {
    let identity = age::x25519::Identity::generate();
    let path = identity_file(&run().scratch("repo-secrets-kept"), &identity);
    let settings = format!(
        "stages: [main, canary, production]\nlog: {{ level: debug }}\nsecrets: {{ identity: {} }}\n",
        path.display()
    );
    let inventory = format!(
        "all:\n  hosts:\n    {USER}: {{ branch: main }}\n    {OTHER}: {{ branch: main }}\n    {LACKING}: {{ branch: main }}\n"
    );
    let mut fleet = Fleet::configured(
        "repo-secrets",
        On::Simulated,
        &settings,
        &[
            ("fleet.yml", "name: acme\n"),
            ("inventory.yml", &inventory),
            ("group_vars/all.yml", "pins: { web: latest }\n"),
            (
                "host_vars/repo-secret-user.yml",
                "variables:\n  AGE: \"{{ secret('TOKEN') }}\"\n  SOPS: \"{{ secret('API_TOKEN') }}\"\n",
            ),
            (
                "host_vars/repo-secret-lacking.yml",
                "variables: { A: \"{{ secret('EMPTY') }}\", B: \"{{ secret('NOWHERE') }}\" }\n",
            ),
            ("secrets/TOKEN.age", &encrypted(&identity, FIRST)),
            ("secrets/values.sops.yml", SOPS),
            ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
            ("releases/web/1.0.0/compose.yml", COMPOSE),
        ],
    );
    fleet.enroll(&[USER, OTHER, LACKING]);
    fleet.settled(&[USER, OTHER]);
    assert_eq!(environment(&fleet, USER), Some(format!("AGE={FIRST} SOPS={SOPS_VALUE}")));
    assert_eq!(fleet.assigned(LACKING), None, "a device without its secrets gets nothing");
    assert_nothing_leaks(&fleet);

    let (status, listed, noted) = outcome(fleet.cli(&["secret", "list"]).args(["--stage", "main", "-o", "wide"]));
    assert_eq!(status, Some(0), "{noted}");
    for (name, value, uses) in [
        ("API_TOKEN", "present", "web/app"),
        ("EMPTY", "empty", LACKING),
        ("NOWHERE", "missing", LACKING),
        ("TOKEN", "present", USER),
    ] {
        let line = listed.lines().find(|line| line.starts_with(&format!("{name} "))).expect("each is listed");
        assert!(line.contains(value) && line.contains(uses), "{listed}");
    }
    assert!(noted.contains("2 secrets without a value"), "{noted}");

    // A new value is a commit like any other: only the device that uses it is assigned anew, and its service is made again.
    let (user, other) = (fleet.assigned(USER), fleet.assigned(OTHER));
    fleet.push("main", "Rotate TOKEN", &[("secrets/TOKEN.age", &encrypted(&identity, SECOND))]);
    eventually("the container has the new value", || {
        (environment(&fleet, USER)? == format!("AGE={SECOND} SOPS={SOPS_VALUE}")).then_some(())
    });
    fleet.settled(&[USER]);
    assert_ne!(fleet.assigned(USER), user, "another value is another assignment");
    assert_eq!(fleet.assigned(OTHER), other, "nobody else is touched");
    let log = fleet.agents[USER].log();
    assert!(log.contains("environment AGE changed"), "the agent says why it makes the service again: {log}");
    assert_nothing_leaks(&fleet);
}
