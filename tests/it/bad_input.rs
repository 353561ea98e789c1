//! Bad input through real Git: each problem is a finding for exactly what it touches, and everything else goes on.

use crate::harness::fleet::{Fleet, On};
use bellwether::domain::finding::{Affects, Finding};
use bellwether::domain::fleet::WaitingFor;
use bellwether::domain::overview::status::StageStatus;
use bellwether::domain::snapshot::MAX_FILE_BYTES;
use std::os::unix::fs::symlink;

const COMPOSE: &str = "services:\n  app:\n    image: registry.example/web@sha256:bfc4bbe052410038418838a5751f3498e6fdfcd41316f963335790516ec96a06\n";

/// One device for each thing that can be wrong, and one that is right.
const DEVICES: [&str; 13] = [
    "bad-alias",
    "bad-bytes",
    "bad-deep",
    "bad-dir",
    "bad-link",
    "bad-long",
    "bad-pin",
    "bad-secretive",
    "bad-shape",
    "bad-type",
    "bad-version",
    "bad-yaml",
    "good",
];

fn inventory() -> String {
    let hosts: String = DEVICES.iter().map(|device| format!("    {device}:\n")).collect();
    format!("all:\n  vars: {{ branch: main, device_type: raspberrypi4 }}\n  hosts:\n{hosts}")
}

fn all(step: &str) -> String {
    format!("pins: {{ web: 1.0.0 }}\nvariables: {{ STEP: {step} }}\n")
}

fn start(name: &str, inventory: &str) -> Fleet {
    let files = [
        ("fleet.yml", "name: acme\n"),
        ("inventory.yml", inventory),
        ("group_vars/all.yml", &all("first")),
        (
            "releases/web/1.0.0/release.yml",
            "version: 1.0.0\nrequires: { device_types: [raspberrypi4, raspberrypi5] }\n",
        ),
        ("releases/web/1.0.0/compose.yml", COMPOSE),
        (
            "os/lindenhof.yml",
            "raspberrypi4:\n  version: 1.0.0\n  url: https://images.example/1.raucb\n  digest: sha256:7e97a7b27ed83c5959fca1acd89ab2ff540ca643e7654e53d14bd8a85929320b\n",
        ),
    ];
    let stages = "stages:\n  - { name: main, max_unstaged: 100 }\n  - canary\n  - production\n";
    Fleet::configured(name, On::Simulated, stages, &files)
}

/// A finding on one line: where, how bad, what, and what it touches.
fn line(finding: &Finding) -> String {
    let touched = match &finding.affects {
        Affects::Commit => "the commit".to_owned(),
        Affects::Nothing => "nothing".to_owned(),
        Affects::Devices(devices) if devices.len() == DEVICES.len() => "all".to_owned(),
        Affects::Devices(devices) => devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let severity = format!("{:?}", finding.severity).to_lowercase();
    format!("{} {severity} {} touches {touched}", finding.place, finding.code)
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn repair(status: &StageStatus) -> String {
    match status.waiting.as_ref().map(|waiting| &waiting.why) {
        Some(WaitingFor::Repair { message }) => message.clone(),
        other => panic!("the commit should wait for repair, not {other:?}"),
    }
}

#[test]
fn each_bad_file_keeps_back_its_own_device_and_all_others_go_on() {
    let mut fleet = start("bad", &inventory());
    fleet.enroll(&DEVICES);
    fleet.settled(&DEVICES);

    let deep = format!("note: {}{}\n", "[".repeat(5000), "]".repeat(5000));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", ")));
    }
    const { assert!(MAX_FILE_BYTES < 100 << 20, "a file of 100 MB is beyond the cap, as this one is") };
    let long = format!("#{}\n", "x".repeat(usize::try_from(MAX_FILE_BYTES).expect("a length")));
    let work = fleet.repo.work().to_owned();
    fleet.repo.write(&[
        ("group_vars/all.yml", &all("second")),
        ("host_vars/bad-alias.yml", &bomb),
        ("host_vars/bad-deep.yml", &deep),
        ("host_vars/bad-long.yml", &long),
        ("host_vars/bad-pin.yml", "pins: { web: 9.9.9 }\n"),
        ("host_vars/bad-secretive.yml", "variables: { BELLWETHER_DEVICE: me }\n"),
        ("host_vars/bad-shape.yml", "variables: [A, B]\npins: web\n"),
        ("host_vars/bad-type.yml", "device_type: toaster\nos: lindenhof\n"),
        ("host_vars/bad-version.yml", "pins: { web: newest-of-all }\n"),
        ("host_vars/bad-yaml.yml", "variables: { A: [1, 2\n"),
        ("host_vars/bad-dir/vars.yml", "variables: { A: 1 }\n"),
        ("secret", "variables: { A: from elsewhere }\n"),
    ]);
    symlink("../secret", work.join("host_vars/bad-link.yml")).expect("make a link");
    symlink("../../secret", work.join("host_vars/bad-dir/link.yml")).expect("make a link");
    std::fs::write(work.join("host_vars/bad-bytes.yml"), b"variables: { A: caf\xe9 }\n").expect("write bytes");
    let status = fleet.push("main", "Everything that can be wrong", &[]);
    assert_eq!(status.waiting, None, "a bad host file holds nothing up");
    insta::assert_snapshot!(lines(&status.findings), @"
    group_vars/all.yml:1:9 error not-for-device-type touches bad-type
    host_vars/bad-alias.yml:5:40 error alias-bomb touches bad-alias
    host_vars/bad-bytes.yml:1:20 error not-utf8 touches bad-bytes
    host_vars/bad-deep.yml:1:71 error too-deep touches bad-deep
    host_vars/bad-dir/link.yml error not-regular touches bad-dir
    host_vars/bad-link.yml error not-regular touches bad-link
    host_vars/bad-long.yml error file-too-long touches bad-long
    host_vars/bad-pin.yml:1:9 error missing-release touches bad-pin
    host_vars/bad-secretive.yml:1:14 error reserved-name touches bad-secretive
    host_vars/bad-shape.yml:1:12 error wrong-type touches bad-shape
    host_vars/bad-shape.yml:2:7 error wrong-type touches bad-shape
    host_vars/bad-type.yml:1:14 error unknown-device-type touches bad-type
    host_vars/bad-type.yml:2:5 error missing-os-image touches bad-type
    host_vars/bad-version.yml:1:14 error bad-version touches bad-version
    host_vars/bad-yaml.yml:1:17 error yaml-syntax touches bad-yaml
    ");

    fleet.settled_on("main", &["good"]);
    for device in DEVICES.iter().filter(|device| **device != "good") {
        let detail = fleet.device(device);
        assert_eq!(detail.row.assigned.expect("an assignment").to_string(), "1.1", "{device} keeps what it has");
        assert!(detail.waits.iter().any(|wait| wait.code == "spec-invalid"), "{device} says why: {:?}", detail.waits);
        assert_eq!(detail.row.standing.to_string(), "main", "{device} keeps its stage");
    }
    let log = fleet.controller_log();
    assert!(!log.contains("panicked") && !log.contains("from elsewhere"), "{log}");
}

#[test]
fn what_concerns_the_whole_commit_waits_for_repair_and_the_commit_before_counts() {
    let good = "all:\n  vars: { branch: main, device_type: raspberrypi4 }\n  hosts:\n    whole:\n";
    let mut fleet = start("whole", good);
    fleet.enroll(&["whole"]);
    fleet.settled(&["whole"]);
    let accepted = fleet.status().status.stages[0].accepted.clone();
    let deep = format!("all: {}{}\n", "{a: ".repeat(5000), "}".repeat(5000));
    let cases = [
        ("broken YAML", "inventory.yml", "all: [\n"),
        (
            "a cycle of groups",
            "inventory.yml",
            "all:\n  children:\n    a: { children: { b: { children: { a: } } }, hosts: { whole: } }\n",
        ),
        ("another type", "inventory.yml", "- whole\n"),
        ("too deep", "inventory.yml", &deep),
        ("no devices", "inventory.yml", "all: {}\n"),
        ("a name that is none", "inventory.yml", "all:\n  hosts:\n    \"../etc\":\n"),
        ("a broken fleet file", "fleet.yml", "name: [acme\n"),
        ("a wrong type in the fleet file", "fleet.yml", "name: { a: b }\n"),
        ("another fleet", "fleet.yml", "name: somebody-else\n"),
    ];
    let mut told = Vec::new();
    for (what, path, content) in cases {
        let status = fleet.push("main", what, &[(path, content)]);
        told.push(match status.waiting {
            Some(_) => format!("{what}: {}", repair(&status)),
            None => format!("{what}: counts, with {}", lines(&status.findings)),
        });
        if status.waiting.is_some() {
            assert_eq!(status.accepted, accepted, "{what}");
        }
        fleet.repo.write(&[("inventory.yml", good), ("fleet.yml", "name: acme\n")]);
    }
    insta::assert_snapshot!(told.join("\n"), @"
    broken YAML: inventory.yml:1:6: unclosed bracket '['
    a cycle of groups: inventory.yml:3:5: the group `a` contains itself: a > b > a
    another type: inventory.yml:1:1: the inventory must be a mapping of groups, not a list
    too deep: inventory.yml:1:258: the document is nested deeper than 64 levels
    no devices: inventory.yml: the inventory lists no devices
    a name that is none: inventory.yml: the inventory lists no devices
    a broken fleet file: fleet.yml:1:7: unclosed bracket '['
    a wrong type in the fleet file: fleet.yml:1:7: `name` must be text, not a mapping
    another fleet: fleet.yml: the repo is of the fleet `somebody-else`, the controller of `acme`
    ");
    fleet.push("main", "Good again", &[("group_vars/all.yml", &all("second"))]);
    fleet.settled_on("main", &["whole"]);
}

#[test]
fn hostile_trees_that_git_itself_would_not_make_are_findings() {
    let good = "all:\n  vars: { branch: main, device_type: raspberrypi4 }\n  hosts:\n    tree:\n    other:\n";
    let mut fleet = start("tree", good);
    fleet.enroll(&["tree", "other"]);
    fleet.settled(&["tree", "other"]);
    let repo = &fleet.repo;
    repo.write(&[("group_vars/all.yml", &all("second"))]);
    repo.git(&["add", "--all"]);
    let blob = repo.git_with(&["hash-object", "-w", "--stdin"], b"variables: { A: 1 }\n");
    let inner = repo.git_with(&["mktree"], format!("100644 blob {blob}\tpasswd\n").as_bytes());
    let submodule = repo.tip("HEAD");
    let vars = format!(
        "040000 tree {inner}\t..\n040000 tree {inner}\t.git\n100644 blob {blob}\tback\\slash.yml\n160000 commit {submodule}\ttree\n"
    );
    let vars = repo.git_with(&["mktree", "--missing"], vars.as_bytes());
    let root = repo.git(&["ls-tree", &repo.git(&["write-tree"])]);
    let root = repo.git_with(&["mktree"], format!("{root}\n040000 tree {vars}\thost_vars\n").as_bytes());
    let commit = repo.git(&["commit-tree", &root, "-p", "HEAD", "-m", "Leave the tree"]);
    repo.git(&["update-ref", "refs/heads/main", &commit]);
    repo.git(&["push", "--quiet", "origin", "main"]);
    let status = fleet.seen("main");
    insta::assert_snapshot!(lines(&status.findings), @r"
    host_vars/.. error bad-path touches nothing
    host_vars/.git error bad-path touches nothing
    host_vars/back\\slash.yml warning orphan-vars-file touches nothing
    host_vars/tree error not-regular touches tree
    ");
    fleet.settled_on("main", &["other"]);
}
