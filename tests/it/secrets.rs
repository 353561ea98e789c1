//! Values of secrets reach containers, and stand nowhere else: not in files, logs or answers.

use crate::harness::canary::{answers, database};
use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::eventually;
use crate::harness::run::run;
use base64::Engine as _;
use bellwether::agent::engine::simulated::SimulatedEngine;
use bellwether::domain::overview::rollouts::RolloutRow;
use bellwether::ports::engine::fake::Tamper;
use std::path::{Path, PathBuf};

const DEVICE: &str = "secret-one";
/// Its secret is kept nowhere.
const LACKING: &str = "secret-none";
const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";
/// With characters that every encoding writes in another way.
const FROM_ENVIRONMENT: &str = "canary/environment+\"quoted\" 7f3a";
const FIRST: &str = "canary/folder+\"first\" 91bc";
const SECOND: &str = "canary/folder+\"second\" 28de";

/// Every way in which a value may be written.
fn written(value: &str) -> Vec<String> {
    let json = serde_json::Value::from(value).to_string();
    let percent = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    let percent: String = value.bytes().map(percent).collect();
    vec![
        value.to_owned(),
        json[1..json.len() - 1].to_owned(),
        percent,
        base64::engine::general_purpose::STANDARD.encode(value),
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value),
    ]
}

/// Panics if one of the values stands in there.
#[track_caller]
fn assert_clean(whose: &str, bytes: &[u8]) {
    for value in [FROM_ENVIRONMENT, FIRST, SECOND] {
        for form in written(value) {
            let found = bytes.windows(form.len()).any(|part| part == form.as_bytes());
            assert!(!found, "{whose} holds {form:?}");
        }
    }
}

fn files_below(folder: &Path, all: &mut Vec<PathBuf>) {
    // The mirror packs its objects while it runs, and a folder may go.
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        match path.is_dir() {
            true => files_below(&path, all),
            false => all.push(path),
        }
    }
}

/// Every byte that controller and agent wrote, apart from the file that is for values and the engine's own state.
#[track_caller]
fn assert_nothing_written(fleet: &Fleet) {
    let mut files = Vec::new();
    files_below(&fleet.data_dir(), &mut files);
    let controller = files.len();
    files_below(&fleet.state_dir(DEVICE), &mut files);
    let state = fleet.state_dir(DEVICE);
    let meant = [state.join("secrets"), state.join("engine/engine.json")];
    assert!(meant.iter().all(|path| files.contains(path)) && controller > 3, "{files:?}");
    for path in files.iter().filter(|path| !meant.contains(path)) {
        // Files of a running database come and go.
        if let Ok(bytes) = std::fs::read(path) {
            assert_clean(&path.display().to_string(), &bytes);
        }
    }
    for (table, value) in database(fleet) {
        assert_clean(&table, &value);
    }
    assert_clean("the controller's log", fleet.controller_log().as_bytes());
    for (device, agent) in &fleet.agents {
        assert_clean(&format!("the log of {device}"), agent.log().as_bytes());
    }
}

/// What people can ask for.
#[track_caller]
fn assert_nothing_shown(fleet: &Fleet) {
    for device in [DEVICE, LACKING] {
        for (what, answer) in answers(fleet, device) {
            assert_clean(&what, &answer);
        }
    }
    for command in ["plan", "diff"] {
        let (_, stdout, stderr) = outcome(fleet.cli(&[command, "--stage", "main"]).current_dir(fleet.repo.work()));
        assert_clean(command, format!("{stdout}{stderr}").as_bytes());
        assert!(format!("{stdout}{stderr}").contains("values of secrets"), "{stdout}{stderr}");
        assert!(!stdout.contains(DEVICE), "nothing of it changes: {stdout}{stderr}");
    }
}

/// The environment of the device's container, as its engine has it.
fn environment(fleet: &Fleet) -> Option<String> {
    let engine = SimulatedEngine::open(&fleet.state_dir(DEVICE).join("engine")).expect("open the engine");
    let found = serde_json::to_value(engine.contents().ok()?).expect("the engine's state is JSON");
    let all = found.pointer("/apps/web/services/app/content/environment")?.as_object()?.clone();
    let wanted = ["ENCODED", "TOKEN", "URL"];
    Some(
        wanted
            .iter()
            .map(|name| format!("{name}={}\n", all.get(*name).and_then(|v| v.as_str()).unwrap_or("-")))
            .collect(),
    )
}

fn expected(token: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(token);
    format!("ENCODED={encoded}\nTOKEN={token}\nURL=https://bern.example/?key={FROM_ENVIRONMENT}\n")
}

#[test]
fn values_of_secrets_stand_in_containers_and_nowhere_else() {
    let kept = run().scratch("secrets-kept");
    std::fs::write(kept.join("TOKEN"), format!("{FIRST}\n")).expect("keep a secret");
    let settings = format!(
        "stages: [main, canary, production]\nlog: {{ level: debug }}\nsecrets: {{ env: 'FLEET_*', directory: {} }}\n",
        kept.display()
    );
    let inventory = format!("all:\n  hosts:\n    {DEVICE}: {{ branch: main }}\n    {LACKING}: {{ branch: main }}\n");
    let mut fleet = Fleet::configured(
        "secrets",
        On::Simulated,
        &settings,
        &[
            ("fleet.yml", "name: acme\napps: { web: {} }\n"),
            ("inventory.yml", &inventory),
            (
                "group_vars/all.yml",
                "pins: { web: latest }\nsite: bern\nvariables:\n  URL: \"https://{{ site }}.example/?key={{ secret('FLEET_KEY') }}\"\n  \
                 TOKEN: \"{{ lookup('env', 'TOKEN') }}\"\n  ENCODED: \"{{ secret('TOKEN') | b64encode }}\"\n",
            ),
            ("host_vars/secret-none.yml", "variables: { OTHER: \"{{ secret('NOBODY_HAS_IT') }}\" }\n"),
            ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
            ("releases/web/1.0.0/compose.yml", COMPOSE),
        ],
    );
    // The first start had no such variable, so nobody could be assigned anything.
    fleet.stop_controller();
    fleet.controller_environment.insert("FLEET_KEY".to_owned(), FROM_ENVIRONMENT.to_owned());
    fleet.start_controller();
    fleet.agent_flags = ["--log", "debug"].map(str::to_owned).to_vec();
    fleet.enroll(&[DEVICE, LACKING]);

    fleet.settled(&[DEVICE]);
    assert_eq!(environment(&fleet), Some(expected(FIRST)));
    let problem = fleet.device(LACKING).row.assigned;
    assert_eq!(problem, None, "a device without its secret gets nothing");
    let (_, why, _) = outcome(&mut fleet.cli(&["why", LACKING]));
    assert!(why.contains("no provider has the secret `NOBODY_HAS_IT`"), "{why}");
    assert_nothing_shown(&fleet);
    assert_nothing_written(&fleet);

    // Another value is another reference: the container is made anew. The old value is kept with what the device could go back to,
    // and forgotten once that is something else.
    std::fs::write(kept.join("TOKEN"), format!("{SECOND}\n")).expect("rotate a secret");
    fleet.refresh();
    eventually("the container has the new value", || (environment(&fleet)? == expected(SECOND)).then_some(()));
    fleet.settled(&[DEVICE]);
    fleet.push("main", "Ask seldom", &[("host_vars/secret-one.yml", "config: { poll_interval_secs: 5 }\n")]);
    fleet.settled(&[DEVICE]);
    let mut values = String::new();
    eventually("the old value is forgotten", || {
        values = std::fs::read_to_string(fleet.state_dir(DEVICE).join("secrets")).ok()?;
        (!values.contains(&written(FIRST)[1])).then_some(())
    });
    assert!(values.contains(&written(SECOND)[1]), "the new value is kept");

    // What people do by hand is told with references alone.
    let before = fleet.found(DEVICE);
    let engine = SimulatedEngine::open(&fleet.state_dir(DEVICE).join("engine")).expect("open the engine");
    let (app, service) = ("web".parse().expect("an app"), "app".parse().expect("a service"));
    let name = "TOKEN".parse().expect("a name");
    assert!(engine.tamper(&Tamper::SetVariable { app, service, name, value: FIRST.to_owned() }).expect("tamper"));
    let mended = fleet.mended(DEVICE, &before).join("\n");
    assert!(
        mended.contains("environment.TOKEN: wanted secret:TOKEN@") && mended.contains("found (hidden)"),
        "{mended}"
    );
    assert_eq!(environment(&fleet), Some(expected(SECOND)));
    assert_nothing_shown(&fleet);
    assert_nothing_written(&fleet);

    // A change that goes out in a rollout, with another value in it, and cannot go on: nobody is in its first step.
    let policy =
        "rollouts: { careful: { steps: [{ name: canaries, group: canaries, soak: 1m }] } }\nrollout: careful\n";
    let file = "config: { poll_interval_secs: 5 }\nvariables: { TOKEN: \"{{ secret('FLEET_KEY') }}\" }\n";
    let fleet_file = format!("name: acme\napps: {{ web: {{}} }}\n{policy}");
    fleet.push("main", "Go slowly", &[("fleet.yml", &fleet_file), ("host_vars/secret-one.yml", file)]);
    let rollouts: Vec<RolloutRow> = eventually("there is a rollout", || {
        fleet.try_get("/v1/rollouts").ok().filter(|rollouts: &Vec<RolloutRow>| !rollouts.is_empty())
    });
    assert_ne!(rollouts[0].status, "DONE");
    for (what, answer) in answers(&fleet, DEVICE) {
        assert_clean(&what, &answer);
    }
    assert_nothing_written(&fleet);
}
