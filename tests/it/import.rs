//! `bellwether import` of Ansible inventories: nothing that Ansible reads is touched, and what is written says the same to the real
//! `ansible-inventory`.

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
    folder_of(name, FILES)
}

fn folder_of(name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
    let folder = run().scratch(name);
    for (path, text) in files {
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
    ansible(folder, &["-i", "inventory.yml", "--list"])
}

fn ansible(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let (code, listed, said) = outcome(ansible_inventory().args(arguments).current_dir(folder));
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&listed).expect("JSON")
}

fn ansible_inventory() -> std::process::Command {
    program(&interpreter().with_file_name("ansible-inventory").display().to_string())
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

/// What stands in a folder, for what must not change.
fn contents(folder: &Path) -> String {
    let (code, listed, said) = outcome(program("find").args([".", "-type", "f"]).current_dir(folder));
    assert_eq!(code, Some(0), "{said}");
    let mut paths: Vec<&str> = listed.lines().collect();
    paths.sort_unstable();
    let text = |path: &str| std::fs::read_to_string(folder.join(path)).expect("a file");
    paths.iter().map(|path| format!("== {path}\n{}", text(path))).collect()
}

#[test]
fn a_single_inventory_of_another_name_is_taken_as_it_is() {
    let mut files = FILES.to_vec();
    let text = format!("# The kiosks.\n{}", files[0].1);
    files[0] = ("hosts.yaml", &text);
    let folder = folder_of("import-other-name", &files);
    let before = ansible(&folder, &["-i", "hosts.yaml", "--list"]);
    let (code, _, said) = bellwether(&folder, &["import", "--name", "acme"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("`bellwether import -i hosts.yaml`"), "{said}");
    let (code, _, said) = bellwether(&folder, &["import", "-i", "hosts.yaml", "--name", "acme"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(std::fs::read_to_string(folder.join("inventory.yml")).expect("the file"), text);
    assert_eq!(as_ansible_sees(&folder), before);
    let (code, _, said) = bellwether(&folder, &["check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("4 devices (main 4)"), "{said}");
}

/// Two inventories with files of variables each, in a folder of inventories and beside it.
const SEVERAL: &[(&str, &str)] = &[
    (
        "sites/a.yml",
        "all:\n  vars: { ntp: a.example, level: 1 }\n  children:\n    web:\n      hosts:\n        web[01:03].example: { version: 1.10, answer: no }\n        web02.example: { motd: !unsafe '{{ raw }}', key: !vault \"$ANSIBLE_VAULT;1.1;AES256\\n6162\\n\" }\n      vars: { ansible_group_priority: 5, nested: { list: [1, [2, {a: 017}], 12:30] } }\n",
    ),
    (
        "sites/b.json",
        "{\"web\": {\"vars\": {\"level\": 2}}, \"edge\": {\"children\": {\"web\": {}}, \"hosts\": {\"edge1:2222\": {\"lines\": \"one\\ntwo\\n\"}}}}\n",
    ),
    ("sites/group_vars/all.yml", "ntp: [a.example, b.example]\n"),
    ("sites/group_vars/web/main.yml", "level: 3\nfrom: sites\n"),
    ("sites/host_vars/edge1.yml", "from: sites\n"),
    ("more/hosts", "all:\n  hosts:\n    alone: { level: 9 }\n    web01.example: { level: 10 }\n"),
    ("more/group_vars/web.yml", "from: more\n"),
    ("more/group_vars/edge", "edge: yes\n"),
    ("more/host_vars/alone.yml", "from: more\n"),
];
const SOURCES: &[&str] = &["-i", "sites", "-i", "more/hosts", "-i", "named.example,other.example"];

#[test]
fn several_inventories_become_one_repo_that_says_the_same() {
    let folder = folder_of("import-several", SEVERAL);
    let sources = contents(&folder);
    let before = ansible(&folder, &[SOURCES, &["--list"]].concat());
    let trial = [&["import"], SOURCES, &["repo", "--name", "acme", "--dry-run"]].concat();
    let (code, _, said) = bellwether(&folder, &trial);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(contents(&folder), sources, "a trial leaves no trace");
    let (code, _, said) = bellwether(&folder, &[&["import"], SOURCES, &["repo", "--name", "acme"]].concat());
    assert_eq!(code, Some(0), "{said}");
    let repo = folder.join("repo");
    assert_eq!(as_ansible_sees(&repo), before);
    let written = contents(&repo);
    std::fs::remove_dir_all(&repo).expect("remove the repo");
    assert_eq!(contents(&folder), sources, "sources stay as they are");
    insta::assert_snapshot!(written, @r#"
    == ./fleet.yml
    # What holds for the whole fleet. `bellwether schema fleet` lists every key.
    name: acme

    # Below what groups and devices say. A device follows the branch that its `branch` names; stages and their order are
    # the controller's configuration. Let a group follow another one to try changes there first.
    defaults:
      branch: main
    == ./group_vars/all.yml
    ntp: [a.example, b.example]
    == ./group_vars/edge
    edge: yes
    == ./group_vars/web/0000/main.yml
    level: 3
    from: sites
    == ./group_vars/web/0001/vars.yml
    from: more
    == ./host_vars/alone.yml
    from: more
    == ./host_vars/edge1.yml
    from: sites
    == ./inventory.yml
    # Written down from several inventories. What each said of a group or host is here; files of variables stand beside.
    all:
      vars:
        ntp: a.example
        level: 1
      children:
        ungrouped:
          hosts:
            named.example:
            other.example:
            alone:
              level: 9
        web:
          vars:
            ansible_group_priority: 5
            nested:
              list:
                - 1
                - - 2
                  - a: 017
                - 12:30
            'level': 2
          hosts:
            web01.example:
              version: 1.10
              answer: no
              level: 10
            web02.example:
              version: 1.10
              answer: no
              motd: !unsafe '{{ raw }}'
              key: !vault |
                $ANSIBLE_VAULT;1.1;AES256
                6162
            web03.example:
              version: 1.10
              answer: no
        edge:
          hosts:
            edge1:
              ansible_port: 2222
              'lines': |
                one
                two
          children:
            web:
    "#);
}

#[test]
fn what_one_folder_cannot_say_is_refused_and_nothing_is_written() {
    let files = &[
        ("a/hosts.yml", "all: {children: {outer: {children: {inner: {hosts: {h1: }}}}}}\n"),
        ("a/group_vars/inner.yml", "level: inner\n"),
        ("b/hosts.yml", "all: {hosts: {h1: }}\n"),
        ("b/group_vars/outer.yml", "level: outer\n"),
    ];
    let folder = folder_of("import-unsayable", files);
    let (code, _, said) =
        bellwether(&folder, &["import", "-i", "a/hosts.yml", "-i", "b/hosts.yml", "repo", "--name", "acme"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("1 host would have other values, such as h1, so nothing is written"), "{said}");
    assert!(said.contains("all of one folder beat all of another"), "{said}");
    assert!(!folder.join("repo").exists());
}

#[test]
fn an_inventory_in_the_other_format_comes_with_the_command_that_converts_it() {
    let files = &[
        ("hosts.ini", "[web]\nweb[01:03] version=1.10 port=80\n\n[web:vars]\nlevel=2\n\n[edge:children]\nweb\n"),
        ("group_vars/all.yml", "level: 1\n"),
        ("host_vars/web02.yml", "port: 8080\n"),
    ];
    let folder = folder_of("import-ini", files);
    let before = ansible(&folder, &["-i", "hosts.ini", "--list"]);
    let (code, _, said) = bellwether(&folder, &["import", "-i", "hosts.ini", "--name", "acme"]);
    assert_eq!(code, Some(1));
    let command = said.split('`').find(|piece| piece.starts_with("ansible-inventory -i hosts.ini")).expect("a command");
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    let (code, _, said) = outcome(ansible_inventory().args(arguments).current_dir(&folder));
    assert_eq!(code, Some(0), "{said}");
    let (code, _, said) = bellwether(&folder, &["import", "--name", "acme"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(as_ansible_sees(&folder), before);
}

#[test]
fn a_repo_that_has_an_inventory_keeps_it() {
    let mut files = FILES.to_vec();
    files.push(("hosts.yml", "all: {hosts: {other: }}\n"));
    let folder = folder_of("import-taken", &files);
    let before = contents(&folder);
    let (code, _, said) = bellwether(&folder, &["import", "-i", "hosts.yml", "--name", "acme"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("inventory.yml is there already"), "{said}");
    assert_eq!(contents(&folder), before);
}
