//! Ways in which software of this kind has failed people, as far as what a commit means is concerned. The whole list of them, with
//! the test that shows each, is in `tests/it/peers.rs`.

use super::*;

/// Inventories that say something else than they seem to, each with its findings.
fn inventory(text: &str) -> String {
    resolved(&[("inventory.yml", text)])
}

#[test]
fn a_mistyped_key_of_the_inventory_does_not_empty_it() {
    // A tool that skips what it does not know finds no devices here, and takes that for a wish.
    insta::assert_snapshot!(inventory("all: { children: { kiosks: { host: { a: , b: } } } }\n"), @"inventory.yml:1:30: error unknown-key: a group has no key `host` (did you mean `hosts`?) [commit]");
    insta::assert_snapshot!(inventory("all: { childern: { kiosks: { hosts: { a: , b: } } } }\n"), @"inventory.yml:1:8: error unknown-key: a group has no key `childern` (did you mean `children`?) [commit]");
}

#[test]
fn an_inventory_under_another_name_is_missing_and_not_empty() {
    let files = [("inventory.yml.bak", "all: { hosts: { a: } }\n"), ("fleet.yml", "name: acme\n")];
    let snapshot = Snapshot::of_files(files.map(|(path, text)| (path, text.as_bytes())));
    insta::assert_snapshot!(show(&Resolver::default().resolve(&snapshot)), @"inventory.yml: error inventory-missing: there is no inventory.yml (list the devices there, in Ansible's YAML inventory format) [commit]");
}

#[test]
fn a_page_of_a_server_under_maintenance_is_no_inventory() {
    let page =
        "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head><body>We will be back soon.</body></html>\n";
    insta::assert_snapshot!(inventory(page), @"inventory.yml:1:1: error wrong-type: the inventory must be a mapping of groups, not a single value [commit]");
    insta::assert_snapshot!(resolved(&[("host_vars/a.yml", page)]), @r"
    host_vars/a.yml:1:1: error wrong-type: variables must be a mapping, not a single value [a]
    a: ? (keeps what it has)
    b: main
    c: main
    ");
    insta::assert_snapshot!(resolved(&[("fleet.yml", page)]), @"fleet.yml:1:1: error wrong-type: fleet.yml must be a mapping, not a single value [commit]");
}

#[test]
fn a_group_or_host_that_stands_twice_is_an_error_and_nobody_is_dropped() {
    insta::assert_snapshot!(inventory("all:\n  children:\n    g: { hosts: { a: } }\n    g: { hosts: { b: } }\n"), @"inventory.yml:3:5: error duplicate-key: the key `g` stands here and again further down (keep one of them) [commit]");
    insta::assert_snapshot!(inventory("all: { hosts: { a: { x: 1 }, a: { x: 2 } } }\n"), @r"
    inventory.yml:1:30: error duplicate-key: the host `a` stands twice in this mapping (keep one of them) [a]
    a: ? (keeps what it has)
    ");
}

#[test]
fn one_name_in_two_files_does_not_silently_take_the_last() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/kiosks.yml", "variables: { A: yml }\n"),
        ("group_vars/kiosks.yaml", "variables: { A: yaml }\n"),
    ]), @r"
    group_vars/kiosks.yaml: warning hidden-vars-file: another file or folder for `kiosks` comes first, so this file is not read (move what it says into the other one)
    a: main
    b: main
    c: main
    ");
}

#[test]
fn variables_of_a_host_that_nobody_lists_are_told() {
    insta::assert_snapshot!(resolved(&[("host_vars/forgotten.yml", "variables: { A: 1 }\n")]), @r"
    host_vars/forgotten.yml: warning orphan-vars-file: the inventory has no device `forgotten`, so nothing reads this file
    a: main
    b: main
    c: main
    ");
}

#[test]
fn false_in_quotes_is_false_and_no_does_not_become_anything() {
    let config = |value: &str| {
        let text = format!("config: {{ persistent_logging: {value} }}\n");
        let snapshot = snapshot(&[("host_vars/a.yml", &text)]);
        let desired = Resolver::default().resolve(&snapshot);
        let spec = desired.devices["a"].spec.as_ref();
        spec.map_or_else(
            || show(&desired).lines().next().unwrap_or_default().to_owned(),
            |spec| format!("{:?}", spec.spec.config.persistent_logging),
        )
    };
    assert_eq!(config("false"), "Some(false)");
    assert_eq!(config("'false'"), "Some(false)");
    assert_eq!(config("true"), "Some(true)");
    insta::assert_snapshot!(config("'no'"), @"host_vars/a.yml:1:31: error wrong-type: `persistent_logging` must be true or false, not `no` (write `true` or `false`) [a]");
    insta::assert_snapshot!(config("0"), @"host_vars/a.yml:1:31: error wrong-type: `persistent_logging` must be true or false, not `0` (write `true` or `false`) [a]");
    insta::assert_snapshot!(config("''"), @"host_vars/a.yml:1:31: error wrong-type: `persistent_logging` must be true or false, not `` (write `true` or `false`) [a]");
}

#[test]
fn a_label_or_tag_with_a_hyphen_is_a_label_like_any_other() {
    let files = [("host_vars/a.yml", "labels: { site-name: zurich-hb }\ntags: { rack-unit: '07' }\n")];
    let desired = Resolver::default().resolve(&snapshot(&files));
    let device = &desired.devices["a"];
    assert_eq!(device.labels.get("site-name").map(String::as_str), Some("zurich-hb"));
    assert_eq!(device.tags.get("rack-unit").map(String::as_str), Some("07"));
}

#[test]
fn a_quote_in_a_value_neither_breaks_nor_adds_anything() {
    let value = r#"x", "PRIVILEGED": "yes"#;
    let text = format!("variables: {{ URL: '{value}', VERSION: 1.10, SWITCH: NO }}\n");
    let desired = Resolver::default().resolve(&snapshot(&[
        ("host_vars/a.yml", &text),
        ("group_vars/all.yml", "branch: main\npins: { app: latest }\n"),
    ]));
    let spec = desired.devices["a"].spec.as_ref().expect("content");
    let environment = &spec.spec.apps["app"].services["web"].environment;
    let environment: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(environment, ["FROM=compose", "SWITCH=NO", &format!("URL={value}"), "VERSION=1.10"]);
    // What travels says the same again.
    let again = crate::domain::spec::SealedSpec::open(&spec.payload).expect("it was sealed by us");
    assert_eq!(again.spec, spec.spec);
}

#[test]
fn a_release_that_is_missing_keeps_what_its_devices_have_and_nobody_elses() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: { app: 1.0.0 }\n"),
        ("host_vars/a.yml", "pins: { app: 9.9.9 }\n"),
    ]), @r"
    host_vars/a.yml:1:9: error missing-release: `app` has no release 9.9.9 (newest releases: 1.0.0) [a]
    a: main (keeps what it has)
    b: main app 1.0.0 web[FROM=compose]
    c: main app 1.0.0 web[FROM=compose]
    ");
}

#[test]
fn a_key_that_is_not_known_is_never_dropped_in_silence() {
    insta::assert_snapshot!(resolved(&[
        ("fleet.yml", "name: acme\nstricct: true\n"),
        ("host_vars/a.yml", "varaibles: { A: 1 }\n"),
        ("releases/app/1.0.0/release.yml", "version: 1.0.0\nirreversable: true\n"),
        ("releases/app/1.0.0/compose.yml", "services: { web: { image: 'web:1', restrat: always } }\n"),
    ]), @r"
    fleet.yml:2:1: error unknown-key: fleet.yml has no key `stricct` (did you mean `strict`?) [commit]
    host_vars/a.yml:1:1: warning near-typed-key: `varaibles` is a free variable, but spelled almost like a key with a meaning (did you mean `variables`?)
    releases/app/1.0.0/compose.yml:1:27: warning image-by-tag: `web:1` is named by a tag, which can move (name it by digest: `name@sha256:…`)
    releases/app/1.0.0/compose.yml:1:36: error unknown-key: a service has no key `restrat` (did you mean `restart`?)
    releases/app/1.0.0/release.yml:2:1: error unknown-key: a release has no key `irreversable` (did you mean `irreversible`?)
    ");
}

#[test]
fn a_device_without_a_type_keeps_back_only_itself() {
    insta::assert_snapshot!(resolved(&[
        ("os/image.yml", "pi: { version: 1 }\n"),
        ("group_vars/all.yml", "branch: main\nos: image\n"),
        ("host_vars/a.yml", "device_type: pi\n"),
    ]), @r"
    group_vars/all.yml:2:5: error missing-os-image: a device with `os` needs a `device_type` [b c]
    a: main os image 1
    b: main (keeps what it has)
    c: main (keeps what it has)
    ");
}

#[test]
fn a_bad_duration_keeps_back_what_it_is_for_and_nobody_else() {
    // A window of one device, and how often a container of the release of another is looked at.
    let slow = "services:\n  web:\n    image: web@sha256:0000000000000000000000000000000000000000000000000000000000000000\n    healthcheck: { test: [CMD, ok], interval: soon }\n";
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: { app: 1.0.0 }\n"),
        ("host_vars/a.yml", "maintenance: { apply: [{ time: 02:00, duration: long, zone: UTC }] }\n"),
        ("host_vars/b.yml", "pins: { app: 1.1.0 }\n"),
        ("releases/app/1.1.0/release.yml", "version: 1.1.0\n"),
        ("releases/app/1.1.0/compose.yml", slow),
    ]), @r"
    host_vars/a.yml:1:49: error bad-window: `long` is no duration (write `90m`, `2h` or `1d`, at most 7 days) [a]
    host_vars/b.yml:1:9: error release-broken: release 1.1.0 of `app` has errors (`bellwether check` lists them) [b]
    releases/app/1.1.0/compose.yml:4:47: error bad-value: `soon` cannot be `interval` (write a duration such as 1m30s, of at least a millisecond)
    a: main (keeps what it has)
    b: main (keeps what it has)
    c: main app 1.0.0 web[FROM=compose]
    ");
}
