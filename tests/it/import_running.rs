//! `bellwether import --running`: from a controller with a registry and devices to a repo that changes nothing, with the real
//! executables.

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::git::FleetRepo;
use crate::harness::process::{eventually, output_of};
use crate::harness::run::run;
use bellwether::domain::fleet::WaitingFor;
use bellwether::domain::generation::Order;
use bellwether::domain::ids::StageName;
use bellwether::domain::overview::export::{Content, ExportPage};
use bellwether::protocol::v1::operator::ApproveRequest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const COMPOSE: &str = "services:
  app:
    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06
    environment: { PRICE: $$5 }
    healthcheck: { test: [CMD, 'true'], interval: 1m30s }
    volumes: ['data:/data:ro', '/run/dbus:/host/dbus:ro']
    mem_limit: 64m
  debug:
    image: registry.example/debug@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06
    profiles: [lab]
    depends_on: [app]
volumes: { data: }
";

const FILES: &[(&str, &str)] = &[
    ("fleet.yml", "name: acme\ninventory: { registry: { vars: [site] } }\n"),
    (
        "group_vars/all.yml",
        "pins: { web: latest }\nvariables: { SITE: '{{ site | default(\"none\") }}', TOKEN: \"{{ secret('TOKEN') }}\" }\n\
         maintenance: { zone: Europe/Zurich, apply: [{ time: '02:00', duration: 20h }, { time: '20:00', duration: 20h }] }\n",
    ),
    ("group_vars/kiosks.yml", "branch: production\n"),
    ("group_vars/lab.yml", "branch: canary\nprofiles: [lab]\n"),
    ("releases/web/1.0.0/release.yml", "version: 1.0.0\n"),
    ("releases/web/1.0.0/compose.yml", COMPOSE),
];
const SECRET: &str = "canary-of-the-import";
const DEVICES: [&str; 3] = ["take-1", "take-2", "take-3"];

/// Three devices that run, and one that is registered and was never switched on.
fn start(name: &str) -> Fleet {
    let secrets = run().scratch(&format!("{name}-secrets"));
    std::fs::write(secrets.join("TOKEN"), SECRET).expect("write a secret");
    let line = |name: &str| format!("  - {{ name: {name}, max_unstaged: 100, host_paths: [/run/dbus] }}\n");
    let stages: String = ["main", "canary", "production"].map(line).concat();
    let settings = format!("stages:\n{stages}secrets: {{ directory: {} }}\n", secrets.display());
    let mut fleet = Fleet::configured(name, On::Simulated, &settings, FILES);
    for (device, groups, site) in [
        ("take-1", "kiosks", "zurich"),
        ("take-2", "kiosks", "bern"),
        ("take-3", "lab", "lab"),
        ("take-4", "kiosks", "chur"),
    ] {
        let body = json!({"set": {"groups": groups, "site": site, "owner": "ada"}, "listing": "listed"});
        fleet.act(&format!("/v1/devices/{device}/attributes"), &body);
    }
    eventually("all devices are listed", || {
        fleet.refresh();
        (stage(&fleet, "production") == 3 && stage(&fleet, "canary") == 1).then_some(())
    });
    fleet.enroll(&DEVICES);
    fleet.settled(&DEVICES);
    fleet
}

fn stage(fleet: &Fleet, name: &str) -> usize {
    fleet.stage(&StageName::new(name).expect("a name")).devices
}

fn places(fleet: &Fleet) -> BTreeMap<&'static str, (Order, String)> {
    let place = |device| {
        let assignment = fleet.device(device).assignment.expect("it was assigned something");
        (device, (assignment.order, assignment.digest.to_string()))
    };
    DEVICES.map(place).into()
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    output_of(Command::new("git").args(arguments).current_dir(folder)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_running_fleet_becomes_a_repo_that_changes_nothing_on_any_device() {
    let mut fleet = start("import-running");
    let before = places(&fleet);
    let folder = run().scratch("import-running-repo").join("fleet");
    let path = folder.display().to_string();
    let (code, shown, said) = outcome(&mut fleet.cli(&["import", "--running", &path]));
    assert_eq!(code, Some(0), "{shown}\n{said}");
    assert_eq!(shown.matches("no changes").count(), 3, "one for each stage: {shown}");
    assert!(said.contains("proven: its plans are empty"), "{said}");
    assert!(said.contains("4 devices written"), "{said}");

    // What a person finds.
    assert_eq!(
        git(&folder, &["branch", "--format=%(refname:short)"]).split_whitespace().collect::<Vec<_>>(),
        ["canary", "main", "production"]
    );
    assert_eq!(git(&folder, &["status", "--porcelain"]), "");
    let read =
        |path: &str| std::fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(read("inventory.yml").contains("kiosks:"), "{}", read("inventory.yml"));
    assert!(read("host_vars/take-3.yml").contains("owner: ada"), "{}", read("host_vars/take-3.yml"));
    assert!(read("group_vars/all.yml").contains("{{ secret('TOKEN') }}"), "{}", read("group_vars/all.yml"));
    let leaked =
        Command::new("git").args(["log", "-p", "--all", "-S", SECRET]).current_dir(&folder).output().expect("git runs");
    assert!(leaked.stdout.is_empty(), "the value of a secret is in the repo");
    let (code, _, checked) = outcome(fleet.cli(&["check", "--host-path", "/run/dbus"]).current_dir(&folder));
    assert_eq!(code, Some(0), "{checked}");

    // A plan asks for no more than the controller: what a stage allows is allowed.
    fleet.repo.switch("production");
    let work = fleet.repo.work().display().to_string();
    let (code, shown, said) = outcome(&mut fleet.cli(&["plan", "--stage", "production", "--repo", &work]));
    assert!(code == Some(0) && shown.contains("1 to assign, 2 unchanged"), "{shown}\n{said}");

    // A second time it would write over it.
    let (code, _, said) = outcome(&mut fleet.cli(&["import", "--running", &path]));
    assert_eq!(code, Some(1));
    assert!(said.contains("is not empty") && said.contains("--force"), "{said}");

    // The controller goes on with the new repo.
    let repo = FleetRepo::new("import-running-new");
    git(&folder, &["push", "--quiet", &repo.bare().display().to_string(), "main", "canary", "production"]);
    fleet.stop_controller();
    fleet.repo = repo;
    fleet.start_controller();
    for name in ["main", "canary", "production"] {
        let stage = StageName::new(name).expect("a name");
        let digest = eventually(&format!("{name} waits for a person"), || {
            fleet.refresh();
            match fleet.stage(&stage).waiting?.why {
                WaitingFor::Approval { digest, reasons, changes } => {
                    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                    assert!(reasons.iter().all(|reason| reason.contains("the branch was rewritten")), "{reasons:?}");
                    let changes: Vec<_> = changes.iter().filter(|change| change.from.is_some()).collect();
                    assert!(changes.is_empty(), "{changes:?}");
                    Some(digest)
                }
                WaitingFor::Repair { message } => panic!("{message}"),
            }
        });
        fleet.act("/v1/approvals", &ApproveRequest { digest: digest.to_string() });
        let tip = git(&folder, &["rev-parse", name]);
        eventually(&format!("{name} is accepted"), || {
            fleet.stage(&stage).accepted.is_some_and(|accepted| accepted.as_str() == tip.trim()).then_some(())
        });
    }
    fleet.settled(&DEVICES);
    assert_eq!(places(&fleet), before, "nothing is assigned anew");
    // The one that was never switched on gets what it would have got.
    fleet.enroll(&["take-4"]);
    fleet.settled(&["take-4"]);
}

#[test]
fn a_repo_that_would_change_the_fleet_is_not_passed_off_as_proven() {
    let fleet = start("import-unproven");
    let pages: ExportPage = fleet.get("/v1/export?limit=1");
    assert_eq!(pages.devices.len(), 1);
    let next: ExportPage = fleet.get(&format!("/v1/export?limit=9&after={}", pages.next.expect("more follow")));
    assert_eq!(next.devices.len(), 3);
    assert!(next.next.is_none());
    let wanted = next.devices.iter().filter(|one| matches!(one.content, Some(Content::Wanted(_))));
    assert_eq!(wanted.map(|one| one.device.as_str()).collect::<Vec<_>>(), ["take-4"]);
    let text = serde_json::to_string(&next).expect("JSON");
    assert!(text.contains("TOKEN") && !text.contains(SECRET));

    // Held devices keep what a commit said that is gone: the release of one name is two things within a stage.
    fleet.act("/v1/holds", &json!({"on": {"scope": "device", "name": "take-1"}, "reason": "it stays"}));
    fleet.repo.switch("production");
    fleet.repo.commit(
        "Another image",
        &[("releases/web/1.0.0/compose.yml", &COMPOSE.replace("example/web", "example/newer"))],
    );
    fleet.repo.push("production");
    eventually("the other device follows", || {
        fleet.refresh();
        let spec = fleet.device("take-2").assignment?.digest;
        (spec != fleet.device("take-1").assignment?.digest
            && fleet.get::<ExportPage>("/v1/export").devices.iter().any(|one| {
                one.device.as_str() == "take-2"
                    && one.content.as_ref().is_some_and(|one| one.spec().payload.contains("newer"))
            }))
        .then_some(())
    });
    let folder = run().scratch("import-unproven-repo");
    let path = folder.display().to_string();
    let (code, shown, said) = outcome(&mut fleet.cli(&["import", "--running", &path, "-o", "json"]));
    assert_eq!(code, Some(1), "{shown}\n{said}");
    let answer: Value = serde_json::from_str(&shown).expect("JSON");
    let production = answer["plans"].as_array().expect("plans").iter().find(|plan| plan["stage"] == "production");
    let changes = &production.expect("a plan")["changes"];
    assert_eq!(changes.as_array().map(Vec::len), Some(1), "{changes}");
    assert!(
        said.contains("not proven") && said.contains("another device has the release with this service made otherwise"),
        "{said}"
    );
    assert!(folder.join("fleet.yml").exists(), "the files stay to be looked at");
}
