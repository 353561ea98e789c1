//! What operators ask of a device once: kept while it is away, done once, and told.

use crate::harness::engine::Engine;
use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::eventually;
use crate::harness::run::run;
use bellwether::agent::engine::simulated::SimulatedEngine;
use std::os::unix::fs::PermissionsExt as _;

const FILES: &[(&str, &str)] = &[
    ("fleet.yml", "name: acme\n"),
    (
        "inventory.yml",
        "all:\n  hosts:\n    kiosk-1: { branch: main, pins: { web: 1.0.0 }, variables: { GREETING: hello } }\n",
    ),
    ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
    (
        "releases/web/1.0.0/compose.yml",
        "services:\n  nav:\n    image: registry.example/nav:1\n    volumes: [ 'cache:/cache' ]\n  db:\n    image: registry.example/db:1\nvolumes:\n  cache: {}\n",
    ),
];

fn cli(fleet: &Fleet, arguments: &[&str]) -> String {
    let (code, out, error) = outcome(&mut fleet.cli(arguments));
    assert_eq!(code, Some(0), "{arguments:?}: {error}");
    out
}

/// How each action stands, oldest first.
fn standings(fleet: &Fleet, device: &str) -> Vec<String> {
    let answer: serde_json::Value = fleet.get(&format!("/v1/devices/{device}/actions"));
    let actions = answer["actions"].as_array().expect("a list");
    let all = actions.iter().rev();
    all.map(|one| format!("{} {}", one["number"], one["standing"].as_str().unwrap_or_default())).collect()
}

fn done(fleet: &Fleet, wanted: &[&str]) {
    eventually("the actions have ended", || (standings(fleet, "kiosk-1") == wanted).then_some(()));
}

/// What the engine did since a point in its journal.
fn journal(fleet: &Fleet) -> Vec<String> {
    let engine = SimulatedEngine::open(&fleet.state_dir("kiosk-1").join("engine")).expect("an engine");
    engine.journal().expect("readable").into_iter().map(|entry| entry.operation).collect()
}

#[test]
fn operators_ask_devices_to_do_something_once() {
    let mut fleet = Fleet::start("device-actions", On::Simulated, FILES);
    fleet.enroll(&["kiosk-1"]);
    fleet.settled(&["kiosk-1"]);
    let before = journal(&fleet).len();

    let out = cli(&fleet, &["device", "restart", "kiosk-1", "web/nav", "--reason", "black screen"]);
    assert!(out.contains("ActionRequested kiosk-1: action 1: restart web/nav, within 7d: black screen"), "{out}");
    done(&fleet, &["1 done"]);
    assert_eq!(journal(&fleet)[before..], ["restart web/nav"]);

    cli(&fleet, &["device", "logs", "kiosk-1", "web/nav", "--reason", "ticket 1"]);
    done(&fleet, &["1 done", "2 done"]);
    let log = cli(&fleet, &["device", "actions", "kiosk-1", "--log", "2"]);
    assert!(log.contains("GREETING=hello"), "{log}");

    let before = journal(&fleet).len();
    cli(&fleet, &["device", "purge", "kiosk-1", "web/cache", "--yes", "--reason", "full"]);
    done(&fleet, &["1 done", "2 done", "3 done"]);
    eventually("what was purged is made anew", || {
        let journal = journal(&fleet)[before..].join("; ");
        let wanted = "remove web/nav (not assigned); purge volume cache of web; create volume cache of web; create web/nav; start web/nav";
        (journal == wanted).then_some(())
    });

    // Mistakes are told at once.
    let (code, _, error) = outcome(&mut fleet.cli(&["device", "restart", "kiosk-1", "web/none", "--reason", "x"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("nothing called web/none is assigned to device kiosk-1"), "{error}");
    let (code, _, error) = outcome(&mut fleet.cli(&["device", "purge", "kiosk-1", "web/cache", "--reason", "x"]));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("--yes"), "{error}");

    // A device that is away does it when it comes back; what was taken back meanwhile it does not do.
    fleet.agents.remove("kiosk-1");
    let before = journal(&fleet).len();
    cli(&fleet, &["device", "restart", "kiosk-1", "--reason", "after the move"]);
    cli(&fleet, &["device", "restart", "kiosk-1", "web/db", "--reason", "not meant"]);
    cli(&fleet, &["device", "cancel", "kiosk-1", "5"]);
    let shown = cli(&fleet, &["device", "actions", "kiosk-1"]);
    assert!(shown.contains("restart all services") && shown.contains("canceled"), "{shown}");
    let authority = fleet.ca_file().display().to_string();
    fleet.start_agent("kiosk-1", &["--ca-file", &authority]);
    done(&fleet, &["1 done", "2 done", "3 done", "4 done", "5 canceled"]);
    assert_eq!(journal(&fleet)[before..], ["restart web/db", "restart web/nav"]);
    let events = cli(&fleet, &["events", "kiosk-1"]);
    for kind in ["ActionRequested", "ActionDone", "ActionCanceled"] {
        assert!(events.contains(kind), "{kind} in {events}");
    }
}

/// The same on a real engine, on a machine whose restart is a program.
#[test]
fn what_is_asked_of_a_device_is_done_once_on_its_engine() {
    let Some(engine) = Engine::shared() else { return };
    const DEVICE: &str = "asked-1";
    let image = engine.registry().worker[0].by_digest();
    let line = "echo started; trap 'exit 0' TERM; sleep 86400 & wait";
    let service = format!("    image: {image}\n    command: [/bin/sh, -c, \"{line}\"]\n");
    let compose = format!(
        "services:\n  nav:\n{service}    volumes: ['cache:/cache']\n  db:\n{service}volumes: {{ cache: {{}} }}\n"
    );
    let files = [
        ("fleet.yml", "name: acme\n"),
        ("inventory.yml", &format!("all:\n  hosts:\n    {DEVICE}: {{ branch: main, pins: {{ web: 1.0.0 }} }}\n")),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", &compose),
    ];
    let mut fleet = Fleet::start("asked", On::Engine(engine), &files);
    let machine = run().scratch("asked-machine");
    let (boot_id, restart) = (machine.join("boot_id"), machine.join("restart"));
    std::fs::write(&boot_id, "first boot\n").expect("written");
    std::fs::write(&restart, "#!/bin/sh\necho asked >> \"$0.ed\"\n").expect("written");
    std::fs::set_permissions(&restart, std::fs::Permissions::from_mode(0o755)).expect("made a program");
    let flags = ["--boot-id-file", &boot_id.display().to_string(), "--reboot-command", &restart.display().to_string()];
    fleet.agent_flags = flags.map(str::to_owned).to_vec();
    fleet.enroll(&[DEVICE]);
    fleet.settled(&[DEVICE]);
    let started = |fleet: &Fleet, service: &str| {
        let id = &fleet.containers(DEVICE)[service];
        (id.clone(), engine.docker(&["inspect", "--format", "{{.State.StartedAt}}", id]))
    };
    let ended = |fleet: &Fleet, wanted: &[&str]| {
        eventually("the actions have ended", || (standings(fleet, DEVICE) == wanted).then_some(()));
    };

    let (nav, db) = (started(&fleet, "web/nav"), started(&fleet, "web/db"));
    cli(&fleet, &["device", "restart", DEVICE, "web/nav", "--reason", "black screen"]);
    ended(&fleet, &["1 done"]);
    let again = started(&fleet, "web/nav");
    assert_eq!((&again.0, started(&fleet, "web/db")), (&nav.0, db.clone()), "the same container, and no other");
    assert_ne!(again.1, nav.1, "started anew");

    let said = || engine.docker(&["logs", &nav.0]).matches("started").count();
    eventually("it said so again", || (said() == 2).then_some(()));
    cli(&fleet, &["device", "logs", DEVICE, "web/nav", "--reason", "ticket 1"]);
    ended(&fleet, &["1 done", "2 done"]);
    let log = cli(&fleet, &["device", "actions", DEVICE, "--log", "2"]);
    assert_eq!(log.matches("started").count(), 2, "{log}");

    let data =
        |fleet: &Fleet, line: &str| engine.try_docker(&["exec", &started(fleet, "web/nav").0, "/bin/sh", "-c", line]);
    data(&fleet, "echo kept > /cache/file").expect("written");
    cli(&fleet, &["device", "purge", DEVICE, "web/cache", "--yes", "--reason", "full"]);
    ended(&fleet, &["1 done", "2 done", "3 done"]);
    eventually("what used it is made anew", || {
        let containers = fleet.containers(DEVICE);
        containers.get("web/nav").filter(|id| **id != nav.0).map(drop)
    });
    fleet.settled(&[DEVICE]);
    data(&fleet, "cat /cache/file").expect_err("it is empty");
    assert_eq!(started(&fleet, "web/db"), db);

    // It is away; what was asked meanwhile is done once it is back.
    fleet.agents.remove(DEVICE);
    let before = started(&fleet, "web/nav");
    cli(&fleet, &["device", "restart", DEVICE, "web/db", "--within", "1h", "--reason", "after the move"]);
    let shown = cli(&fleet, &["device", "actions", DEVICE]);
    assert!(shown.contains("waiting") && shown.contains("after the move"), "{shown}");
    let authority = fleet.ca_file().display().to_string();
    fleet.start_agent(DEVICE, &["--ca-file", &authority]);
    ended(&fleet, &["1 done", "2 done", "3 done", "4 done"]);
    assert_ne!(started(&fleet, "web/db").1, db.1);
    cli(&fleet, &["device", "reboot", DEVICE, "--reason", "does not see its screen"]);
    eventually("the machine is told to restart", || {
        std::fs::read_to_string(machine.join("restart.ed")).ok().filter(|text| text == "asked\n").map(drop)
    });
    fleet.agents.get_mut(DEVICE).expect("it runs").kill();
    std::fs::write(&boot_id, "second boot\n").expect("written");
    fleet.start_agent(DEVICE, &["--ca-file", &authority]);
    ended(&fleet, &["1 done", "2 done", "3 done", "4 done", "5 done"]);
    assert_eq!(std::fs::read_to_string(machine.join("restart.ed")).expect("read"), "asked\n", "once");
    assert_eq!(started(&fleet, "web/nav"), before);

    let shown = cli(&fleet, &["device", "actions", DEVICE, "-o", "json"]);
    let actors = shown.matches("\"actor\"").count();
    assert!(actors >= 5, "each says who asked: {shown}");
}
