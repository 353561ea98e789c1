//! Devices that are listed outside Git: in the controller's registry, or by a server. Through real processes and real TLS.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::lists::{Asks, ListServer};
use crate::harness::process::{BELLWETHER, eventually, program};
use bellwether::domain::fleet::WaitingFor;
use bellwether::domain::ids::StageName;
use bellwether::domain::overview::status::StageStatus;
use bellwether::protocol::v1::operator::{ApproveRequest, Done};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";

/// The files of a fleet repo that lists no devices itself.
fn files(fleet: &str) -> Vec<(&str, &str)> {
    vec![
        ("fleet.yml", fleet),
        ("group_vars/all.yml", "pins: { web: latest }\nvariables: { SITE: '{{ site | default(\"none\") }}' }\n"),
        ("group_vars/kiosks.yml", "branch: production\n"),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", COMPOSE),
    ]
}

fn production(fleet: &Fleet) -> StageStatus {
    fleet.stage(&StageName::new("production").expect("a name"))
}

/// Waits until the production stage is as wanted.
#[track_caller]
fn until(fleet: &Fleet, what: &str, wanted: impl Fn(&StageStatus) -> bool) -> StageStatus {
    eventually(what, || {
        fleet.refresh();
        Some(production(fleet)).filter(|stage| wanted(stage))
    })
}

/// Waits until the stages that the list takes nothing from have accepted it: whether they list a device too is part of what is held.
#[track_caller]
fn others_follow(fleet: &Fleet, held: &StageStatus) -> StageStatus {
    let list = held.waiting.as_ref().expect("it waits").inventory;
    eventually("the other stages have accepted the list", || {
        let status = fleet.status().status;
        let follow = status.stages.iter().filter(|one| one.stage != held.stage).all(|one| one.inventory == list);
        follow.then(|| {
            fleet.decided();
            production(fleet)
        })
    })
}

/// The changes that wait for a person, and the digest that lets them through.
fn held(stage: &StageStatus) -> (String, String) {
    match stage.waiting.as_ref().map(|waiting| &waiting.why) {
        Some(WaitingFor::Approval { digest, reasons, .. }) => {
            (reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "), digest.to_string())
        }
        Some(WaitingFor::Repair { message }) => (format!("repair: {message}"), String::new()),
        None => ("nothing".to_owned(), String::new()),
    }
}

fn set(fleet: &Fleet, device: &str, body: Value) -> Done {
    fleet.act(&format!("/v1/devices/{device}/attributes"), &body)
}

#[test]
fn devices_of_the_registry_are_enrolled_listed_and_let_go_through_the_gates() {
    let mut fleet =
        Fleet::start("registry", On::Simulated, &files("name: acme\ninventory: { registry: { vars: [site] } }\n"));
    // Nobody is enrolled: that is no empty fleet, it is one that nobody has listed yet.
    let stage = until(&fleet, "the empty registry is told", |stage| stage.waiting.is_some());
    assert!(held(&stage).0.contains("the inventory lists no devices"), "{}", held(&stage).0);
    fleet.enroll(&["reg-1"]);
    eventually("the device is enrolled", || fleet.rows().contains_key("reg-1").then_some(()));
    let done = set(&fleet, "reg-1", json!({"set": {"groups": "kiosks", "site": "zurich"}}));
    assert_eq!(done.events.len(), 1);
    fleet.settled(&["reg-1"]);
    // Registered before they are switched on; what operators say counts when they come.
    for device in ["reg-2", "reg-3", "reg-4"] {
        set(&fleet, device, json!({"set": {"groups": "kiosks", "site": "bern", "owner": "ada"}, "listing": "listed"}));
    }
    let stage = until(&fleet, "all four are listed", |stage| stage.devices == 4 && stage.waiting.is_none());
    let four = stage.inventory.expect("a list counts");
    fleet.enroll(&["reg-2"]);
    fleet.settled(&["reg-2"]);
    let why = fleet.why("reg-2");
    assert_eq!(why.inventory, Some(four), "the list that counts, which enrolling did not change");
    let explained = why.explanation.expect("an explanation");
    let site = explained.values.iter().find(|one| one.key == "vars.site").expect("a site");
    assert_eq!((site.value.as_str(), &*site.place.file), ("bern", "registry"));
    assert!(explained.values.iter().all(|one| one.key != "vars.owner"), "the repo does not let `owner` count");

    // Two of four at once are more than the budget of one.
    set(&fleet, "reg-3", json!({"listing": "unlisted"}));
    let stage = until(&fleet, "one leaves", |stage| stage.devices == 3);
    assert_ne!(stage.inventory, Some(four));
    for device in ["reg-1", "reg-2"] {
        set(&fleet, device, json!({"listing": "unlisted"}));
    }
    let stage = until(&fleet, "the shrink is held", |stage| held(stage).0.contains("3 devices would be unmanaged"));
    let stage = others_follow(&fleet, &stage);
    let (reasons, digest) = held(&stage);
    assert_ne!(stage.waiting.as_ref().expect("it waits").inventory, stage.inventory);
    assert!(reasons.contains("3 devices would be unmanaged since the last approval; 1 may be"), "{reasons}");
    assert_eq!(stage.devices, 3, "they go on being managed");
    // What does not count for the repo voids no digest that people look at.
    set(&fleet, "reg-4", json!({"set": {"owner": "bob"}}));
    fleet.refresh();
    assert_eq!(held(&production(&fleet)).1, digest);
    // A restart finds the same list that counts, and the same that waits.
    fleet.kill_controller();
    fleet.start_controller();
    let again =
        until(&fleet, "the controller has read the stage again", |stage| stage.waiting.is_some() && stage.devices == 3);
    assert_eq!((held(&again).1, again.inventory), (digest.clone(), stage.inventory));
    fleet.act("/v1/approvals", &ApproveRequest { digest });
    until(&fleet, "what was approved counts", |stage| stage.devices == 1 && stage.waiting.is_none());
    assert_eq!(fleet.device("reg-1").row.standing.to_string(), "unmanaged");
}

/// A list of kiosks, each with its site.
fn list(devices: &[(&str, &str)]) -> String {
    let names: Vec<&str> = devices.iter().map(|(device, _)| *device).collect();
    let vars: BTreeMap<&str, Value> = devices.iter().map(|(device, site)| (*device, json!({"site": site}))).collect();
    json!({"_meta": {"hostvars": vars}, "all": {"children": ["kiosks"]}, "kiosks": {"hosts": names}}).to_string()
}

#[test]
fn a_signed_list_counts_whatever_becomes_of_its_server_and_a_shrink_waits_for_a_person() {
    let mut server = ListServer::start("list-server", Asks::Nobody);
    let url = server.url();
    let one = ("list-1", "zurich");
    server.publish(&list(&[one, ("list-2", "bern"), ("list-3", "basel"), ("list-4", "chur")]));
    let settings = format!(
        "stages: [main, canary, production]\ninventories:\n  - url: {url}\n    signed_by: {}\n    ca: {}\n",
        server.file("lists.pub"),
        server.file("ca.pem")
    );
    let fleet_file = format!("name: acme\ninventory: {{ http: '{url}' }}\n");
    let mut fleet = Fleet::configured("list-fleet", On::Simulated, &settings, &files(&fleet_file));
    let first = until(&fleet, "the list counts", |stage| stage.devices == 4);
    fleet.enroll(&["list-1"]);
    fleet.settled(&["list-1"]);
    // Asked again and again, sent no more.
    let sent = server.answers().0;
    eventually("the list is asked for again", || {
        fleet.refresh();
        (server.answers().1 > 5).then_some(())
    });
    assert_eq!(server.answers().0, sent);

    // Unsigned: the signature is of the list before.
    server.publish_unsigned(&list(&[one]));
    let trouble =
        |fleet: &Fleet| fleet.status().repo.lists.get(&url).and_then(|list| list.trouble.clone()).unwrap_or_default();
    eventually("the unsigned list is refused", || {
        fleet.refresh();
        trouble(&fleet).contains("refused: the signature is by none of the keys").then_some(())
    });
    assert_eq!((production(&fleet).inventory, production(&fleet).devices), (first.inventory, 4));
    // Signed, and no JSON: a finding, and the list before counts on.
    server.publish("{\"kiosks\": {\"hosts\": [");
    let stage = until(&fleet, "the broken list is told", |stage| stage.waiting.is_some());
    assert!(held(&stage).0.contains("this is no value of JSON"), "{}", held(&stage).0);
    assert_eq!((stage.inventory, stage.devices), (first.inventory, 4));
    assert!(stage.findings.iter().any(|finding| finding.code == "bad-json" && *finding.place.file == *url));
    // Signed, and empty.
    server.publish("{}");
    let stage = until(&fleet, "the empty list is told", |stage| held(stage).0.contains("lists no devices"));
    assert_eq!((stage.inventory, stage.devices), (first.inventory, 4));
    // A mass shrink is held.
    server.publish(&list(&[one]));
    let stage =
        until(&fleet, "the shrink is held", |stage| held(stage).0.contains("unmanaged since the last approval"));
    others_follow(&fleet, &stage);
    assert_eq!((stage.inventory, stage.devices), (first.inventory, 4));

    // The server is gone, and the controller is killed: it starts with the lists that it has.
    server.stop();
    fleet.kill_controller();
    fleet.start_controller();
    let stage =
        until(&fleet, "the controller has read the stage again", |stage| stage.waiting.is_some() && stage.devices == 4);
    assert_eq!(stage.inventory, first.inventory);
    // What is approved is what is held now: it covers what the other stages do with the devices.
    let (_, digest) = held(&others_follow(&fleet, &stage));
    eventually("the status says that the server is gone", || {
        fleet.refresh();
        trouble(&fleet).starts_with("unavailable: ").then_some(())
    });
    let (_, shown, _) = outcome(&mut fleet.cli(&["status"]));
    assert!(shown.contains("inventory") && shown.contains("stands"), "{shown}");
    fleet.settled(&["list-1"]);
    fleet.act("/v1/approvals", &ApproveRequest { digest });
    let stage = until(&fleet, "what was approved counts", |stage| stage.devices == 1 && stage.waiting.is_none());
    assert_ne!(stage.inventory, first.inventory);
    assert_eq!(fleet.device("list-2").row.standing.to_string(), "unmanaged");
}

#[test]
fn a_list_over_mtls_needs_no_signature_and_nobody_else_is_let_in() {
    let server = ListServer::start("mtls-server", Asks::EveryClient);
    let url = server.url();
    server.publish_unsigned(&list(&[("mtls-1", "zurich")]));
    let (ca, cert, key) = (server.file("ca.pem"), server.file("client.pem"), server.file("client.key"));
    let with = |lines: &str| {
        format!("stages: [main, canary, production]\ninventories:\n  - url: {url}\n    ca: {ca}\n{lines}")
    };
    let fleet_file = format!("name: acme\ninventory: {{ http: '{url}' }}\n");
    let known = with(&format!("    cert: {cert}\n    key: {key}\n"));
    let fleet = Fleet::configured("mtls-fleet", On::Simulated, &known, &files(&fleet_file));
    until(&fleet, "the list counts", |stage| stage.devices == 1);
    let stranger = with(&format!("    signed_by: {}\n", server.file("lists.pub")));
    let fleet = Fleet::configured("mtls-stranger", On::Simulated, &stranger, &files(&fleet_file));
    let stage = until(&fleet, "the refusal is told", |stage| held(stage).0.contains("not at hand: unavailable"));
    assert_eq!(stage.devices, 0);
    // An address that the configuration does not name is not asked.
    let elsewhere = "name: acme\ninventory: { http: 'https://elsewhere.example/fleet.json' }\n";
    let fleet = Fleet::configured("mtls-elsewhere", On::Simulated, &known, &files(elsewhere));
    until(&fleet, "the unknown address is told", |stage| {
        held(stage).0.contains("does not name it under `inventories`")
    });
}

#[test]
fn a_clone_takes_the_list_from_a_file_or_from_the_controller() {
    let fleet = Fleet::start("clone-list", On::Simulated, &files("name: acme\ninventory: registry\n"));
    set(&fleet, "clone-1", json!({"set": {"groups": "kiosks"}, "listing": "listed"}));
    until(&fleet, "the device is listed", |stage| stage.devices == 1);
    fleet.repo.switch("production");
    let clone = fleet.repo.work().to_owned();
    let folder = clone.display().to_string();
    let (code, _, said) = outcome(fleet.cli(&["check", &folder]).current_dir(&clone));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 device") && said.contains("from the controller"), "{said}");
    let nobody = |arguments: &[&str]| {
        let mut command = fleet.cli(arguments);
        command.env("BELLWETHER_SERVER", "unix:/nowhere/s").current_dir(&clone);
        outcome(&mut command)
    };
    let (code, shown, said) = nobody(&["check", "."]);
    assert_eq!(code, Some(1), "{said}");
    assert!(shown.contains("inventory-unavailable") && shown.contains("--inventory"), "{shown}");
    let file = clone.parent().expect("a folder").join("clone-list.json");
    std::fs::write(&file, list(&[("clone-1", "bern"), ("clone-2", "chur")])).expect("write a list");
    let file = file.display().to_string();
    let (code, _, said) = nobody(&["check", ".", "--inventory", &file]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 devices"), "{said}");
    let (code, shown, said) = nobody(&["why", "clone-2", "site", "--repo", ".", "--inventory", &file]);
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.contains("chur"), "{shown}");
    // The plan against the controller sees the device that its list does not have.
    let (code, shown, said) = outcome(fleet.cli(&["plan", "--exit-code", "--inventory", &file]).current_dir(&clone));
    assert_eq!(code, Some(3), "{said}");
    assert!(shown.contains("clone-2") && shown.contains("inventory"), "{shown}");
    let (code, shown, said) = outcome(fleet.cli(&["plan", "--exit-code"]).current_dir(&clone));
    assert!(!shown.contains("clone-2"), "{shown} {said} {code:?}");
}

#[test]
fn edits_and_releases_go_by_the_devices_of_the_list() {
    let fleet = Fleet::start("edit-list", On::Simulated, &files("name: acme\ninventory: registry\n"));
    set(&fleet, "edit-1", json!({"set": {"groups": "kiosks"}, "listing": "listed"}));
    until(&fleet, "the device is listed", |stage| stage.devices == 1);
    fleet.repo.switch("production");
    fleet.repo.commit(
        "Release web 1.1.0",
        &[("releases/web/1.1.0/release.yml", "version: 1.1.0\n"), ("releases/web/1.1.0/compose.yml", COMPOSE)],
    );
    let clone = fleet.repo.work().to_owned();
    let told = |mut command: Command, expected: i32| {
        let (code, shown, said) = outcome(command.current_dir(&clone));
        assert_eq!(code, Some(expected), "{shown}\n{said}");
        (shown, said)
    };
    let asking = |arguments: &[&str], expected: i32| told(fleet.cli(arguments), expected);
    let alone = |arguments: &[&str], expected: i32| {
        let mut command = program(BELLWETHER);
        command.args(arguments);
        told(command, expected)
    };
    let json = |shown: &str| serde_json::from_str::<Value>(shown).expect("JSON");

    // With the controller's list they know which devices there are.
    let moves = "edit-1: web 1.1.0 becomes 1.0.0";
    for arguments in [
        &["pin", "edit-1", "web", "1.0.0", "--dry-run"][..],
        &["pin", "--group", "kiosks", "web", "1.0.0", "--dry-run"],
        &["pin", "--group", "all", "web", "1.0.0", "--dry-run"],
        &["release", "invalidate", "web", "1.1.0", "--reason", "bad", "--dry-run"],
    ] {
        let (patch, said) = asking(arguments, 0);
        assert!(patch.starts_with("diff --git") && said.contains(moves), "{arguments:?}\n{patch}\n{said}");
        assert!(said.contains("from the controller"), "{said}");
    }
    let (patch, _) = asking(&["tag", "edit-1", "floor=2", "--dry-run"], 0);
    assert!(patch.contains("host_vars/edit-1.yml"), "{patch}");
    let (_, said) = asking(&["pin", "edit-2", "web", "1.0.0", "--dry-run"], 1);
    assert!(said.contains("the inventory has no device edit-2"), "{said}");
    let (shown, _) = asking(&["release", "list", "-o", "json"], 0);
    assert_eq!((&json(&shown)[0]["version"], &json(&shown)[0]["devices"]), (&json!("1.1.0"), &json!(1)));
    let (shown, _) = asking(&["release", "show", "web", "1.1.0", "-o", "json"], 0);
    assert_eq!(json(&shown)["wanted"], json!({"production": ["edit-1"]}));

    // Without it that is unknown, which is not the same as none.
    for arguments in [
        &["pin", "edit-1", "web", "1.0.0", "--yes"][..],
        &["pin", "--group", "all", "web", "1.0.0", "--yes"],
        &["tag", "edit-1", "floor=2", "--yes"],
    ] {
        let (patch, said) = alone(arguments, 1);
        assert!(patch.is_empty() && said.contains("unknown") && said.contains("--inventory"), "{patch}{said}");
    }
    let (shown, said) = alone(&["release", "list", "-o", "json"], 0);
    assert_eq!(json(&shown)[0]["devices"], Value::Null);
    assert!(said.contains("unknown") && said.contains("--inventory"), "{said}");
    let (shown, _) = alone(&["release", "list"], 0);
    assert!(shown.contains("unknown"), "{shown}");
    let (shown, _) = alone(&["release", "show", "web", "1.1.0", "-o", "json"], 0);
    assert_eq!(json(&shown)["wanted"], Value::Null);
    let (shown, _) = alone(&["release", "show", "web", "1.1.0"], 0);
    assert!(shown.contains("unknown") && !shown.contains("by no device"), "{shown}");
    // A bad release is stopped all the same.
    let (patch, said) = alone(&["release", "invalidate", "web", "1.1.0", "--reason", "bad", "--dry-run"], 0);
    assert!(patch.contains("+invalidated:") && said.contains("which devices change is unknown"), "{patch}{said}");
    assert_eq!(fleet.repo.git(&["status", "--porcelain"]), "", "nothing was written");

    // A file says it as well as the controller.
    let file = clone.parent().expect("a folder").join("edit-list.json");
    std::fs::write(&file, list(&[("edit-1", "bern"), ("edit-2", "chur")])).expect("write a list");
    let file = file.display().to_string();
    let (_, said) = alone(&["pin", "--group", "kiosks", "web", "1.0.0", "--yes", "--inventory", &file], 0);
    assert!(said.contains("2 devices: web 1.1.0 becomes 1.0.0"), "{said}");
    assert_eq!(fleet.repo.git(&["status", "--porcelain"]).trim(), "M group_vars/kiosks.yml");
    let (shown, _) = alone(&["release", "list", "-o", "json", "--inventory", &file], 0);
    assert_eq!((&json(&shown)[1]["version"], &json(&shown)[1]["devices"]), (&json!("1.0.0"), &json!(2)));
}
