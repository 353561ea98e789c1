//! What operators ask of a device once: kept while it is away, done once, and told.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::eventually;
use bellwether::agent::engine::simulated::SimulatedEngine;

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
fn standings(fleet: &Fleet) -> Vec<String> {
    let answer: serde_json::Value = fleet.get("/v1/devices/kiosk-1/actions");
    let actions = answer["actions"].as_array().expect("a list");
    let all = actions.iter().rev();
    all.map(|one| format!("{} {}", one["number"], one["standing"].as_str().unwrap_or_default())).collect()
}

fn done(fleet: &Fleet, wanted: &[&str]) {
    eventually("the actions have ended", || (standings(fleet) == wanted).then_some(()));
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
