//! Choosing devices by filter, view and host pattern, at the command line against a running controller with real agents.

use crate::harness::fleet::{Fleet, On, outcome};
use bellwether::domain::acts::several::MAX_DEVICES_OF_AN_ACT;
use bellwether::domain::fleet::HoldScope;
use bellwether::domain::ids::DeviceId;
use bellwether::protocol::v1::operator::{Done, ResumeDevicesRequest};
use std::collections::BTreeSet;

const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";

const FLEET: &str = r#"name: acme
groups:
  hk:
    description: Hong Kong
    filter: tags.site.startsWith("hk")
    groups:
      loud: vars.kiosk.volume > 4
  kiosks: '"kiosks" in groups'
  facilities: registry.owner == "facilities"
views:
  by-site:
    filter: '"kiosks" in groups'
    columns: [device, tags.site]
    sort: [-tags.site]
"#;

const INVENTORY: &str = "all:
  children:
    kiosks:
      hosts:
        kiosk-1: { branch: main, tags: { site: hk-1 }, kiosk: { volume: 7 } }
        kiosk-2: { branch: main, tags: { site: sg-1 }, kiosk: { volume: 3 } }
    shops:
      hosts:
        shop-1: { branch: main, tags: { site: hk-2 } }
        shop-2: { branch: main, tags: { site: sg-2 } }
";

fn step(word: &str) -> String {
    format!("pins: {{ web: latest }}\nvariables: {{ STEP: {word} }}\n")
}

/// Four devices, of which the first three run.
fn start(name: &str) -> Fleet {
    let files = [
        ("fleet.yml", FLEET),
        ("inventory.yml", INVENTORY),
        ("group_vars/all.yml", &step("first")),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/web/1.0.0/compose.yml", COMPOSE),
    ];
    let stages = "stages:\n  - { name: main, max_unstaged: 100 }\n  - canary\n  - production\n";
    let mut fleet = Fleet::configured(name, On::Simulated, stages, &files);
    fleet.enroll(&["kiosk-1", "kiosk-2", "shop-1"]);
    fleet.settled(&["kiosk-1", "kiosk-2", "shop-1"]);
    fleet
}

/// What a command prints on both sides that must end with this status.
#[track_caller]
fn run_cli(fleet: &Fleet, arguments: &[&str], expected: i32) -> (String, String) {
    let (status, stdout, stderr) = outcome(&mut fleet.cli(arguments));
    assert_eq!(status, Some(expected), "{arguments:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

#[track_caller]
fn json(fleet: &Fleet, arguments: &[&str]) -> serde_json::Value {
    let (stdout, _) = run_cli(fleet, &[arguments, &["-o", "json"]].concat(), 0);
    serde_json::from_str(&stdout).expect("the answer is JSON")
}

/// The devices that `devices` lists, in its order.
#[track_caller]
fn devices(fleet: &Fleet, arguments: &[&str]) -> String {
    named(&json(fleet, &[&["devices"], arguments].concat()))
}

fn named(rows: &serde_json::Value) -> String {
    let rows = rows.as_array().expect("a list");
    rows.iter().map(|row| row["device"].as_str().expect("a name")).collect::<Vec<_>>().join(" ")
}

#[test]
fn devices_are_found_by_what_git_operators_and_devices_say() {
    let fleet = start("filters-devices");
    for (filter, meant) in [
        ("tags.site.startsWith(\"hk\")", "kiosk-1 shop-1"),
        ("\"kiosks\" in groups && tags.site != \"hk-1\"", "kiosk-2"),
        ("vars.kiosk.volume > 2", "kiosk-1 kiosk-2"),
        ("in_group(\"hk/loud\")", "kiosk-1"),
        ("has(registry.owner)", ""),
        // Nobody knows what a device says that never said anything: that is not a no.
        ("has(reported.agent_version)", "kiosk-1 kiosk-2 shop-1"),
        ("!has(reported.agent_version)", ""),
    ] {
        assert_eq!(devices(&fleet, &["--filter", filter]), meant, "{filter}");
    }
    let (_, said) = run_cli(&fleet, &["devices", "--filter", "has(reported.agent_version)"], 0);
    assert!(said.contains("1 device it cannot be told") && said.contains("shop-2"), "{said}");

    // A name that no device has is no error, but no silence either.
    for (filter, slip) in [
        ("vars.kiosc.volume > 2", "no device has `vars.kiosc`; did you mean `vars.kiosk`?"),
        ("tags.sites == \"hk-1\"", "no device has `tags.sites`; did you mean `tags.site`?"),
    ] {
        for command in ["devices", "status"] {
            let (_, said) = run_cli(&fleet, &[command, "--filter", filter], 0);
            assert!(said.contains(slip), "{command}: {said}");
        }
    }
    assert_eq!(devices(&fleet, &["--limit", "shops:kiosk-*:!kiosk-2"]), "kiosk-1 shop-1 shop-2");
    assert_eq!(devices(&fleet, &["--limit", "shops", "--filter", "tags.site.startsWith(\"hk\")"]), "shop-1");
    let (_, said) = run_cli(&fleet, &["devices", "--limit", "all:!typo"], 1);
    assert!(said.contains("typo"), "{said}");

    assert_eq!(devices(&fleet, &["--view", "by-site"]), "kiosk-2 kiosk-1");
    let (table, _) = run_cli(&fleet, &["devices", "--view", "by-site"], 0);
    assert!(table.starts_with("DEVICE") && table.contains("TAGS.SITE") && table.contains("sg-1"), "{table}");
    let (_, said) = run_cli(&fleet, &["devices", "--view", "by-sit"], 1);
    assert!(said.contains("by-site"), "{said}");
}

#[test]
fn operators_keep_attributes_that_filters_and_the_tree_of_groups_go_by() {
    let fleet = start("filters-tree");
    let (top, _) = run_cli(&fleet, &["ls"], 0);
    assert!(top.contains("hk") && top.contains("kiosks") && top.contains("Hong Kong"), "{top}");
    run_cli(&fleet, &["device", "set", "kiosk-1", "owner=facilities", "rack=4"], 0);
    assert_eq!(devices(&fleet, &["--filter", "registry.owner == \"facilities\" && int(registry.rack) > 3"]), "kiosk-1");
    // Who said it is told where values are explained, and it is never taken for one of the repo's.
    let (why, _) = run_cli(&fleet, &["why", "kiosk-1"], 0);
    let line = |start: &str| why.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(line("ATTRIBUTE").ends_with("SAID BY"), "{why}");
    let owner = line("registry.owner");
    let words: Vec<&str> = owner.split_whitespace().collect();
    assert_eq!(words[..2], ["registry.owner", "facilities"], "{why}");
    let asked = json(&fleet, &["why", "kiosk-1"]);
    let actor = asked["registry"]["owner"]["actor"].as_str().expect("an actor");
    assert!(!actor.is_empty() && words[2..].join(" ").starts_with(&format!("{actor}, ")), "{why}{asked}");
    assert!(line("reported.arch").ends_with("the device") || asked["reported"] == serde_json::json!({}), "{why}");
    let of_repo = asked["values"].as_array().expect("values");
    assert!(!of_repo.is_empty() && of_repo.iter().all(|one| !one["key"].to_string().contains("owner")), "{asked}");
    // One device is in several places at once.
    for folder in ["/hk", "/hk/loud", "/kiosks", "/facilities"] {
        let listed = json(&fleet, &["ls", folder])["devices"].to_string();
        assert!(listed.contains("kiosk-1"), "{folder}: {listed}");
    }
    assert_eq!(json(&fleet, &["ls", "/hk"])["groups"][0]["devices"], 1);
    run_cli(&fleet, &["device", "set", "kiosk-1", "owner-"], 0);
    assert_eq!(devices(&fleet, &["--filter", "has(registry.owner)"]), "");
    assert_eq!(json(&fleet, &["ls", "/facilities"])["devices"], serde_json::json!([]));
    let (_, said) = run_cli(&fleet, &["ls", "/nobody"], 1);
    assert!(said.contains("nobody"), "{said}");
}

#[test]
fn what_is_wrong_with_a_filter_is_shown_in_the_expression() {
    let fleet = start("filters-wrong");
    let filter = "tags.site == \"hk\" && reproted.arch == \"mips\"";
    for command in
        [&["devices"][..], &["status"], &["drift"], &["hold", "--reason", "storm", "--yes"], &["resume", "--yes"]]
    {
        let (stdout, said) = run_cli(&fleet, &[command, &["--filter", filter]].concat(), 1);
        assert_eq!(stdout, "", "{command:?}");
        let lines: Vec<&str> = said.lines().collect();
        let shown = lines.iter().position(|line| line.contains(filter)).expect(&said);
        let (start, mark) = (lines[shown].find("reproted"), lines[shown + 1].find("^^^^^^^^"));
        assert!(start.is_some() && start == mark, "{said}");
        assert!(said.contains("did you mean `reported`?"), "{said}");
    }
    assert_eq!(fleet.status().status.holds.len(), 0);
}

#[test]
fn what_a_filter_means_is_held_and_resumed_device_by_device() {
    let mut fleet = start("filters-hold");
    let filter = "tags.site.startsWith(\"hk\")";
    // Without a terminal nobody can say yes.
    let (_, said) = run_cli(&fleet, &["hold", "--filter", filter, "--reason", "storm"], 2);
    assert!(said.contains("kiosk-1, shop-1") && said.contains("--yes"), "{said}");
    assert!(fleet.status().status.holds.is_empty());
    run_cli(&fleet, &["hold", "fleet", "--filter", filter, "--reason", "storm"], 2);
    run_cli(&fleet, &["hold", "--reason", "storm"], 2);
    run_cli(&fleet, &["hold", "--filter", "device == \"nobody\"", "--reason", "storm", "--yes"], 1);
    run_cli(&fleet, &["hold", "--filter", filter, "--reason", "storm", "--yes"], 0);
    let held = |fleet: &Fleet| -> BTreeSet<String> {
        let holds = fleet.status().status.holds;
        holds
            .into_iter()
            .map(|hold| match hold.on {
                HoldScope::Device(device) => device.to_string(),
                HoldScope::Stage(_) | HoldScope::Fleet => panic!("only devices are held"),
            })
            .collect()
    };
    assert_eq!(held(&fleet), BTreeSet::from(["kiosk-1".to_owned(), "shop-1".to_owned()]));
    fleet.push("main", "Second", &[("group_vars/all.yml", &step("second"))]);
    fleet.settled_on("main", &["kiosk-2"]);
    assert_eq!(fleet.assigned("shop-1").as_deref(), Some("1.1"));
    run_cli(&fleet, &["resume", "--filter", "\"shops\" in groups", "--yes"], 0);
    assert_eq!(held(&fleet), BTreeSet::from(["kiosk-1".to_owned()]));
    run_cli(&fleet, &["resume", "--view", "by-site", "--yes"], 0);
    fleet.settled_on("main", &["kiosk-1", "shop-1"]);
    fleet.stop_controller();
}

#[test]
fn status_drift_and_plan_speak_of_the_devices_that_are_meant() {
    let fleet = start("filters-narrow");
    let hk = "tags.site.startsWith(\"hk\")";
    let status = json(&fleet, &["status", "--filter", hk]);
    assert_eq!(status["selected"]["total"], 2, "{status}");
    assert_eq!(json(&fleet, &["status"])["selected"], serde_json::Value::Null);
    let reported = |arguments: &[&str]| -> String {
        let report = json(&fleet, &[&["drift"], arguments].concat());
        let devices = report["devices"].as_object().expect("devices by name");
        devices.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(reported(&["--filter", hk]), "kiosk-1 shop-1");
    assert_eq!(reported(&["--limit", "kiosks"]), "kiosk-1 kiosk-2");
    assert_eq!(reported(&["--view", "by-site", "--limit", "*-1"]), "kiosk-1");
    // Of these nothing is unknown, though of the fleet it is.
    run_cli(&fleet, &["drift", "--filter", hk, "--exit-code"], 0);
    run_cli(&fleet, &["drift", "--exit-code"], 4);

    fleet.repo.switch("main");
    fleet.repo.commit("Everybody changes", &[("group_vars/all.yml", &step("second"))]);
    let work = fleet.repo.work().display().to_string();
    let planned =
        |arguments: &[&str]| json(&fleet, &[&["plan", "--stage", "main", "--repo", &work], arguments].concat());
    let all = planned(&[]);
    let part = planned(&["--filter", hk]);
    assert_eq!(named(&part["changes"]), "kiosk-1 shop-1");
    assert_eq!(named(&planned(&["--limit", "kiosks"])["changes"]), "kiosk-1 kiosk-2");
    assert_eq!(named(&planned(&["--filter", hk, "--limit", "shops"])["changes"]), "shop-1");
    assert!(part["notes"].to_string().contains("whether the commit is held is decided by all"), "{part}");
    assert_eq!(part["digest"], all["digest"], "the plan is the same, whatever is shown of it");
    let (shown, _) = run_cli(&fleet, &["plan", "--stage", "main", "--repo", &work, "--filter", hk], 0);
    assert!(shown.contains(": 2 to retarget, 0 unchanged\n"), "what is not shown is not counted as unchanged: {shown}");
    // A commit does not say what devices do: they stay, and it is said that this is not known.
    let open = planned(&["--filter", "reported.arch == \"mips\""]);
    assert_eq!(named(&open["changes"]), named(&all["changes"]));
    assert!(open["unknown"].to_string().contains("a commit says nothing of what decides"), "{open}");
}

#[test]
fn an_act_takes_as_many_devices_as_it_may_name_however_long_their_names_are() {
    let fleet = start("filters-bound");
    let names = |count: usize| -> BTreeSet<DeviceId> {
        (0..count).map(|at| format!("{at:0>128}").parse().expect("a name")).collect()
    };
    let resume = |count: usize| {
        let body = ResumeDevicesRequest { devices: names(count) };
        fleet.try_post::<Done>("/v1/resume/devices", &body)
    };
    assert!(resume(MAX_DEVICES_OF_AN_ACT).expect("all of them are taken").events.is_empty());
    let refused = resume(MAX_DEVICES_OF_AN_ACT + 1).expect_err("one too many").to_string();
    assert!(refused.contains("5000"), "{refused}");
    // Whoever sends that much may be hung up on before the end of it, and then reads no answer.
    resume(3 * MAX_DEVICES_OF_AN_ACT).expect_err("far too many");
}
