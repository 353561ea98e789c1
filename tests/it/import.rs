//! `bellwether import` of an Ansible inventory: nothing that Ansible reads is touched, and both go on saying the same.

use crate::ansible::interpreter;
use crate::harness::fleet::outcome;
use crate::harness::process::{BELLWETHER, program};
use crate::harness::run::run;
use std::path::Path;

/// An inventory that uses names which have a meaning to Bellwether.
const FILES: &[(&str, &str)] = &[
    (
        "inventory.yml",
        "all:\n  children:\n    web:\n      hosts:\n        web[01:03].example: { tags: [blue, green] }\n    db:\n      hosts: { db1.example: { ansible_port: 2222 } }\n      vars: { services: postgres }\n",
    ),
    ("group_vars/all.yml", "ntp: [a.example, b.example]\nversion: 1.10\n"),
    ("group_vars/web/main.yml", "hold: no\nports: { http: 80 }\n"),
    ("host_vars/db1.example.yml", "motd: \"{{ inventory_hostname }}\"\n"),
];

fn folder(name: &str) -> std::path::PathBuf {
    let folder = run().scratch(name);
    for (path, text) in FILES {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        std::fs::write(path, text).expect("write a file");
    }
    folder
}

fn bellwether(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    outcome(program(BELLWETHER).args(arguments).current_dir(folder))
}

fn as_ansible_sees(folder: &Path) -> serde_json::Value {
    let mut command = program(&interpreter().with_file_name("ansible-inventory").display().to_string());
    let (code, listed, said) = outcome(command.args(["-i", "inventory.yml", "--list"]).current_dir(folder));
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&listed).expect("JSON")
}

fn as_we_see(folder: &Path) -> serde_json::Value {
    let (code, listed, said) = bellwether(folder, &["inventory", "--list"]);
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&listed).expect("JSON")
}

#[test]
fn an_imported_inventory_says_what_it_said_before() {
    let folder = folder("import-ansible");
    let before = (as_ansible_sees(&folder), as_we_see(&folder));
    assert_eq!(before.0, before.1);
    let (code, shown, said) = bellwether(&folder, &["import", "--name", "acme", "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.contains("key_prefix: bw_"), "{shown}");
    assert!(!folder.join("fleet.yml").exists(), "nothing is written yet");
    let (code, _, said) = bellwether(&folder, &["import", "--name", "acme"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((as_ansible_sees(&folder), as_we_see(&folder)), before);
    let (code, _, said) = bellwether(&folder, &["check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("4 devices (main 4)"), "{said}");
}

#[test]
fn what_is_there_already_is_not_overwritten() {
    let folder = folder("import-twice");
    std::fs::write(folder.join("fleet.yml"), "name: mine\n").expect("write a file");
    let (code, _, said) = bellwether(&folder, &["import", "--name", "acme"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("is there already"), "{said}");
    assert_eq!(std::fs::read_to_string(folder.join("fleet.yml")).expect("the file"), "name: mine\n");
}

#[test]
fn an_inventory_that_cannot_be_read_is_not_imported() {
    let folder = folder("import-broken");
    std::fs::write(folder.join("inventory.yml"), "all: [\n").expect("write a file");
    let (code, _, said) = bellwether(&folder, &["import", "--name", "acme"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(!folder.join("fleet.yml").exists());
}
