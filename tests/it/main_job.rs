//! The main job on real parts: a commit that is pushed with git changes the containers of that stage's devices, by digest
//! from a registry, and nothing else; and what people change by hand is told and mended.

use crate::harness::engine::Engine;
use crate::harness::fleet::{Fleet, On};
use crate::harness::process::eventually;
use crate::harness::text::redacted;
use std::collections::{BTreeMap, BTreeSet};

const FLEET: &str = "name: acme\napps: { web: {}, worker: {} }\n";

/// An inventory of devices with the stage that each follows.
fn inventory(devices: &[(&str, &str)]) -> String {
    let hosts = devices.iter().map(|(device, branch)| format!("    {device}: {{ branch: {branch} }}\n"));
    format!("all:\n  hosts:\n{}", hosts.collect::<String>())
}

/// A web server and something beside it, by digest.
fn web_and_side(engine: &Engine, web: usize) -> String {
    let registry = engine.registry();
    format!(
        "services:\n  app:\n    image: {}\n    environment: {{ GREETING: hello }}\n  side:\n    image: {}\n",
        registry.web[web].by_digest(),
        registry.worker[0].by_digest(),
    )
}

fn release(version: &str) -> String {
    format!("version: {version}\n")
}

/// Which containers are others than before.
fn replaced(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeSet<String> {
    let names = before.keys().chain(after.keys());
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

#[test]
fn a_commit_changes_the_containers_of_its_stage_only() {
    let Some(engine) = Engine::shared() else { return };
    const DEVICES: [&str; 3] = ["job-main", "job-canary", "job-production"];
    let inventory = inventory(&[(DEVICES[0], "main"), (DEVICES[1], "canary"), (DEVICES[2], "production")]);
    let first = web_and_side(engine, 0);
    let mut fleet = Fleet::start(
        "job",
        On::Engine(engine),
        &[
            ("fleet.yml", FLEET),
            ("inventory.yml", &inventory),
            ("group_vars/all.yml", "pins: { web: latest }\n"),
            ("releases/web/1.0.0/release.yml", &release("1.0.0")),
            ("releases/web/1.0.0/compose.yml", &first),
        ],
    );
    fleet.enroll(&DEVICES);
    fleet.settled(&DEVICES);
    redacted(|| {
        insta::assert_snapshot!(
            fleet.show("job-canary", "web/app"),
            @"running 127.0.0.1:[port]/web@sha256:[digest] GREETING=hello"
        )
    });

    let mut containers = DEVICES.map(|device| fleet.containers(device));
    // What each step replaced, by device.
    let mut story = String::new();
    let mut tell = |fleet: &Fleet, step: &str| {
        let now = DEVICES.map(|device| fleet.containers(device));
        story.push_str(&format!("{step}\n"));
        for (device, (before, after)) in DEVICES.iter().zip(containers.iter().zip(&now)) {
            let names: Vec<String> = replaced(before, after).into_iter().collect();
            let release = &fleet.device(device).row.apps["web"];
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            story.push_str(&format!("  {device} {release}: {names}\n"));
        }
        containers = now;
    };

    fleet.push(
        "main",
        "The same under another number",
        &[("releases/web/1.0.1/release.yml", &release("1.0.1")), ("releases/web/1.0.1/compose.yml", &first)],
    );
    fleet.settled_on("main", &DEVICES[..1]);
    tell(&fleet, "a new release id alone");

    let second = web_and_side(engine, 1);
    fleet.push(
        "main",
        "A new web server",
        &[("releases/web/1.1.0/release.yml", &release("1.1.0")), ("releases/web/1.1.0/compose.yml", &second)],
    );
    fleet.settled_on("main", &DEVICES[..1]);
    tell(&fleet, "a new image on main");

    fleet.promote("main", "canary");
    fleet.settled_on("canary", &DEVICES[1..2]);
    tell(&fleet, "main is merged to canary");

    fleet.promote("canary", "production");
    fleet.settled_on("production", &DEVICES[2..]);
    tell(&fleet, "canary is merged to production");

    fleet.push(
        "main",
        "Louder",
        &[("group_vars/all.yml", "pins: { web: latest }\nservices: { side: { variables: { LEVEL: loud } } }\n")],
    );
    fleet.settled_on("main", &DEVICES[..1]);
    tell(&fleet, "a variable of one service");

    fleet.push("production", "A note", &[("README.md", "Nobody runs this.\n")]);
    tell(&fleet, "a file that means nothing");

    insta::assert_snapshot!(story, @"
    a new release id alone
      job-main 1.0.1: nothing
      job-canary 1.0.0: nothing
      job-production 1.0.0: nothing
    a new image on main
      job-main 1.1.0: web/app
      job-canary 1.0.0: nothing
      job-production 1.0.0: nothing
    main is merged to canary
      job-main 1.1.0: nothing
      job-canary 1.1.0: web/app
      job-production 1.0.0: nothing
    canary is merged to production
      job-main 1.1.0: nothing
      job-canary 1.1.0: nothing
      job-production 1.1.0: web/app
    a variable of one service
      job-main 1.1.0: web/side
      job-canary 1.1.0: nothing
      job-production 1.1.0: nothing
    a file that means nothing
      job-main 1.1.0: nothing
      job-canary 1.1.0: nothing
      job-production 1.1.0: nothing
    ");
    assert_eq!(fleet.drift().totals.in_sync, 3);
}

#[test]
fn what_is_changed_by_hand_is_found_and_mended() {
    let Some(engine) = Engine::shared() else { return };
    const DEVICE: &str = "by-hand";
    let compose = web_and_side(engine, 0);
    let mut fleet = Fleet::start(
        DEVICE,
        On::Engine(engine),
        &[
            ("fleet.yml", FLEET),
            ("inventory.yml", &inventory(&[(DEVICE, "main")])),
            ("group_vars/all.yml", "pins: { web: 1.0.0 }\n"),
            ("releases/web/1.0.0/release.yml", &release("1.0.0")),
            ("releases/web/1.0.0/compose.yml", &compose),
        ],
    );
    // Things of other people on the same engine, named as if they were ours.
    let image = engine.registry().worker[0].by_tag();
    let foreign = engine.docker(&["run", "--detach", "--name", "bw-by-hand-web-foreign", &image]);
    engine.docker(&["volume", "create", "bw-by-hand-web-foreign"]);
    let network = engine.docker(&["network", "create", "bw-by-hand-web-foreign"]);

    fleet.enroll(&[DEVICE]);
    fleet.settled(&[DEVICE]);
    let mut story = String::new();
    let mut by_hand = |fleet: &mut Fleet, what: &str, tamper: &dyn Fn(&str, &str)| {
        let before = fleet.found(DEVICE);
        let containers = fleet.containers(DEVICE);
        // The agent stands still meanwhile: it is quicker than a person.
        fleet.agents[DEVICE].freeze();
        tamper(&containers["web/app"], &containers["web/side"]);
        fleet.agents[DEVICE].thaw();
        let lines = fleet.mended(DEVICE, &before);
        let names: Vec<String> = replaced(&containers, &fleet.containers(DEVICE)).into_iter().collect();
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        story.push_str(&format!("{what}\n  {}\n  replaced: {names}\n", lines.join("\n  ")));
    };

    by_hand(&mut fleet, "a container is removed", &|app, _| {
        engine.docker(&["rm", "--force", app]);
    });
    by_hand(&mut fleet, "a variable is changed", &|app, _| again_with(engine, app, "GREETING=goodbye"));
    by_hand(&mut fleet, "a service is stopped", &|_, side| {
        engine.docker(&["stop", side]);
    });
    by_hand(&mut fleet, "a variable is added", &|_, side| again_with(engine, side, "EXTRA=1"));
    redacted(|| {
        insta::assert_snapshot!(story, @"
    a container is removed
      apps: web/app: wanted present, found (nothing)
      replaced: web/app
    a variable is changed
      variables: web/app environment.GREETING: wanted hello, found goodbye
      replaced: web/app
    a service is stopped
      apps: web/side state: wanted running, found exited with status 0
      replaced: nothing
    a variable is added
      variables: web/side environment.EXTRA: wanted (nothing), found 1
      replaced: web/side
    ")
    });

    let states = |id: &str| engine.docker(&["inspect", "--format", "{{.State.Running}} {{.RestartCount}}", id]);
    assert_eq!(states(&foreign), "true 0", "a foreign container goes on");
    engine.docker(&["volume", "inspect", "bw-by-hand-web-foreign"]);
    engine.docker(&["network", "inspect", &network]);
    engine.docker(&["rm", "--force", &foreign]);
    engine.docker(&["volume", "rm", "bw-by-hand-web-foreign"]);
    engine.docker(&["network", "rm", &network]);
}

/// Makes a container again by hand: the same name, labels, network and image, with one more variable.
fn again_with(engine: &Engine, id: &str, variable: &str) {
    let inspected: serde_json::Value =
        serde_json::from_str(&engine.docker(&["inspect", id])).expect("the engine answers in JSON");
    let container = &inspected[0];
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let mut arguments = vec!["run".to_owned(), "--detach".to_owned(), "--name".to_owned(), text(&container["Name"])];
    for (name, value) in container["Config"]["Labels"].as_object().expect("labels") {
        arguments.extend(["--label".to_owned(), format!("{name}={}", text(value))]);
    }
    for value in container["Config"]["Env"].as_array().into_iter().flatten() {
        arguments.extend(["--env".to_owned(), text(value)]);
    }
    let (network, settings) =
        container["NetworkSettings"]["Networks"].as_object().and_then(|all| all.iter().next()).expect("a network");
    arguments.extend(["--network".to_owned(), network.clone()]);
    for alias in settings["Aliases"].as_array().into_iter().flatten() {
        let alias = text(alias);
        // The engine adds the id by itself.
        if !id.starts_with(&alias) {
            arguments.extend(["--network-alias".to_owned(), alias]);
        }
    }
    let policy = &container["HostConfig"]["RestartPolicy"];
    arguments.extend(["--restart".to_owned(), text(&policy["Name"])]);
    arguments.extend(["--env".to_owned(), variable.to_owned(), text(&container["Config"]["Image"])]);
    engine.docker(&["rm", "--force", id]);
    engine.docker(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn data_survives_updates_and_services_find_their_own_app_only() {
    let Some(engine) = Engine::shared() else { return };
    const DEVICES: [&str; 2] = ["net-one", "net-two"];
    let registry = engine.registry();
    let web = |version: usize, ports: &str| {
        format!(
            "services:\n  app:\n    image: {}\n    volumes: [\"files:/data\"]\n{ports}  side:\n    image: {}\nvolumes:\n  files:\n",
            registry.web[version].by_digest(),
            registry.worker[0].by_digest()
        )
    };
    let ports = "    ports: [\"127.0.0.1:18181:8080\"]\n";
    let alone = format!("services:\n  lone:\n    image: {}\n", registry.worker[1].by_digest());
    let mut fleet = Fleet::start(
        "net",
        On::Engine(engine),
        &[
            ("fleet.yml", FLEET),
            ("inventory.yml", &inventory(&[(DEVICES[0], "main"), (DEVICES[1], "main")])),
            // Only one of them publishes the port: both share the engine's loopback.
            ("host_vars/net-one.yml", "pins: { web: 1.0.0, worker: 1.0.0 }\n"),
            ("host_vars/net-two.yml", "pins: { web: 0.9.0 }\n"),
            ("releases/web/0.9.0/release.yml", &release("0.9.0")),
            ("releases/web/0.9.0/compose.yml", &web(1, "")),
            ("releases/web/1.0.0/release.yml", &release("1.0.0")),
            ("releases/web/1.0.0/compose.yml", &web(0, ports)),
            ("releases/worker/1.0.0/release.yml", &release("1.0.0")),
            ("releases/worker/1.0.0/compose.yml", &alone),
        ],
    );
    fleet.enroll(&DEVICES);
    fleet.settled(&DEVICES);
    let version = || eventually("the published port answers", || engine.http_get(18181, "/version").ok());
    assert!(version().ends_with("web 1.0.0\n"));

    let (one, two) = (fleet.containers(DEVICES[0]), fleet.containers(DEVICES[1]));
    // What `app` is, asked from inside a container; nothing where there is none.
    let app_from = |id: &str| {
        let ask = "printf 'GET /version HTTP/1.0\\r\\n\\r\\n' | nc -w 5 app 8080 | cat";
        let answer = engine.try_docker(&["exec", id, "sh", "-c", ask]).unwrap_or_default();
        answer.lines().last().unwrap_or_default().to_owned()
    };
    let first = eventually("the service serves", || Some(app_from(&one["web/side"])).filter(|text| !text.is_empty()));
    assert_eq!(first, "web 1.0.0", "in its app");
    let other = eventually("the other one does", || Some(app_from(&two["web/side"])).filter(|text| !text.is_empty()));
    assert_eq!(other, "web 1.1.0", "the same name on another device is that device's own");
    assert_eq!(app_from(&one["worker/lone"]), "", "another app of the same device does not see it");

    engine.docker(&["exec", &one["web/app"], "sh", "-c", "echo kept > /data/note"]);
    fleet.push(
        "main",
        "Update the web server",
        &[
            ("host_vars/net-one.yml", "pins: { web: 2.0.0, worker: 1.0.0 }\n"),
            ("releases/web/2.0.0/release.yml", &release("2.0.0")),
            ("releases/web/2.0.0/compose.yml", &web(2, ports)),
        ],
    );
    fleet.settled_on("main", &DEVICES[..1]);
    let after = fleet.containers(DEVICES[0]);
    assert_eq!(replaced(&one, &after), BTreeSet::from(["web/app".to_owned()]));
    assert_eq!(engine.docker(&["exec", &after["web/app"], "cat", "/data/note"]), "kept");
    let answer = eventually("the new web server answers", || {
        engine.http_get(18181, "/version").ok().filter(|text| !text.contains("1.0.0"))
    });
    assert!(answer.ends_with("web 2.0.0\n"), "{answer}");
    assert_eq!(fleet.containers(DEVICES[1]), two, "the other device goes on");

    fleet.push("main", "Drop the app", &[("host_vars/net-one.yml", "pins: { worker: 1.0.0 }\n")]);
    fleet.settled_on("main", &DEVICES[..1]);
    assert_eq!(fleet.containers(DEVICES[0]).into_keys().collect::<Vec<_>>(), ["worker/lone"]);
    let volumes = engine.docker(&["volume", "ls", "--quiet", "--filter", "label=bellwether.device=net-one"]);
    assert_eq!(volumes.lines().count(), 1, "data is not removed by implication: {volumes}");
}
