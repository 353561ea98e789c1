//! What went wrong elsewhere and must not here. Where Bellwether differs from Ansible on purpose, it does so here.

use super::bellwether;
use crate::harness::run::run;
use std::path::PathBuf;

fn repo(purpose: &str, files: &[(&str, &str)]) -> PathBuf {
    let root = run().scratch(purpose);
    std::fs::create_dir_all(root.join("empty")).expect("make a folder");
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("make a folder");
        std::fs::write(path, text).expect("write a file");
    }
    root
}

fn asked(root: &std::path::Path, arguments: &str) -> (i32, String, String) {
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let answer = bellwether(root, &arguments);
    (answer.status, answer.stdout, answer.stderr)
}

#[test]
fn a_malformed_inventory_never_exits_green() {
    let root = repo(
        "inventory-malformed",
        &[
            ("inventory.yml", "all:\n  hosts: [\n"),
            ("empty.yml", ""),
            ("scalar.yml", "all: 5\n"),
            ("words.yml", "all: hosts\nweb: [a, b]\nshop: 5\n"),
            ("partly.yml", "all: {hosts: {a: }}\nweb: 5\n"),
            ("hosts", "web1\nweb2\n"),
        ],
    );
    let (status, stdout, stderr) = asked(&root, "-i ../inventory.yml --list");
    assert_eq!(
        (status, stdout.as_str()),
        (1, ""),
        "nothing is printed that could be taken for a fleet without devices"
    );
    assert!(stderr.contains("../inventory.yml:3:1") || stderr.contains("../inventory.yml:2:"), "{stderr}");
    // Ansible takes nothing at all for an inventory in its INI format.
    assert_eq!(asked(&root, "-i ../empty.yml --list").0, 1);
    // Where no group is one, Ansible goes on without hosts, and with its 0.
    for file in ["scalar.yml", "words.yml"] {
        let (status, stdout, stderr) = asked(&root, &format!("-i ../{file} --list"));
        assert_eq!((status, stdout.as_str()), (1, ""), "{file}: {stderr}");
        assert!(stderr.contains("nothing in this inventory is a group"), "{file}: {stderr}");
        assert!(stderr.contains("must be a mapping, not a single value"), "{file}: {stderr}");
    }
    let (status, stdout, stderr) = asked(&root, "-i ../partly.yml --list");
    assert!(status == 0 && stdout.contains("\"a\""), "as Ansible does: {stdout}");
    assert!(stderr.contains("the group `web` must be a mapping"), "{stderr}");
    let (status, _, stderr) = asked(&root, "-i ../hosts --list");
    assert!(status == 1 && stderr.contains("INI") && stderr.contains("--export --yaml"), "{stderr}");
}

#[test]
fn duplicate_names_are_told() {
    let root =
        repo("inventory-duplicates", &[("inventory.yml", "all:\n  hosts:\n    a:\n      x: 1\n      x: 2\n    a:\n")]);
    let (status, stdout, stderr) = asked(&root, "-i ../inventory.yml --list");
    // Ansible's answer, which is the last one, and not in silence; `check` calls it an error.
    assert!(status == 0 && stdout.contains("\"a\""), "{stdout}");
    assert!(stderr.contains("duplicate-key") && stderr.contains("../inventory.yml:6:5"), "{stderr}");
}

#[test]
fn string_flags_stay_strings() {
    let root = repo("inventory-flags", &[("inventory.yml", "all: {hosts: {a: {enabled: \"false\", real: false}}}\n")]);
    let (_, stdout, _) = asked(&root, "-i ../inventory.yml --host a");
    insta::assert_snapshot!(stdout, @r#"
    {
        "enabled": "false",
        "real": false
    }
    "#);
}

#[test]
fn one_bad_host_file_does_not_hide_the_fleet() {
    let root = repo(
        "inventory-bad-host",
        &[
            ("inventory.yml", "all: {hosts: {bad: , good: , odd: 5}}\n"),
            ("host_vars/bad.yml", "a: [1, 2\n"),
            ("host_vars/good.yml", "a: 1\n"),
        ],
    );
    let (status, stdout, stderr) = asked(&root, "-i ../inventory.yml --list");
    assert_eq!(status, 1, "what could not be read is told by the exit code");
    assert!(stdout.contains("\"good\": {") && stdout.contains("\"odd\"") && stdout.contains("\"bad\""), "{stdout}");
    assert!(stderr.contains("../host_vars/bad.yml:2:1") || stderr.contains("../host_vars/bad.yml:1:"), "{stderr}");
    assert!(stderr.contains("the variables of `odd` must be a mapping"), "{stderr}");
}

#[test]
fn a_slip_in_a_pattern_never_selects_everything() {
    let root = repo("inventory-slip", &[("inventory.yml", "all: {hosts: {a: , b: }}\n")]);
    let (status, stdout, stderr) = asked(&root, "-i ../inventory.yml --list --limit all:!typo");
    assert_eq!((status, stdout.as_str()), (1, ""));
    assert!(stderr.contains("`typo` matches no host and no group"), "{stderr}");
}

#[test]
fn variables_in_the_current_folder_are_not_read_by_chance() {
    let root =
        repo("inventory-cwd", &[("inventory.yml", "all: {hosts: {a: }}\n"), ("empty/host_vars/a.yml", "x: 1\n")]);
    assert_eq!(asked(&root, "-i ../inventory.yml --host a").1, "{}\n");
    assert!(asked(&root, "-i ../inventory.yml --host a --playbook-dir .").1.contains("\"x\": 1"));
}

#[test]
fn programs_are_not_run() {
    let root = repo("inventory-program", &[("hosts", "#!/bin/sh\ntouch ran\n"), ("plugin.yml", "plugin: aws_ec2\n")]);
    for source in ["../hosts", "../plugin.yml"] {
        let (status, _, stderr) = asked(&root, &format!("-i {source} --list"));
        assert!(status == 1 && stderr.contains("not-an-inventory"), "{stderr}");
    }
    assert!(!root.join("empty/ran").exists());
}
