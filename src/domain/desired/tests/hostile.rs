//! Bad input: a clear error for exactly what it touches, and everything else goes on.

use super::{resolved, show, snapshot};
use crate::domain::desired::Resolver;
use crate::domain::desired::findings::MAX_FINDINGS;
use crate::domain::snapshot::{Entry, RefusedEntry, Snapshot};

/// Resolves the usual snapshot with one more entry that was not read.
fn refused(path: &str, refused: RefusedEntry) -> String {
    let mut snapshot = snapshot(&[]);
    snapshot.entries.insert(path.into(), Entry::Refused(refused));
    show(&Resolver::default().resolve(&snapshot))
}

fn bytes(path: &str, bytes: &[u8]) -> String {
    let mut all = snapshot(&[]);
    let one = Snapshot::of_files([(path, bytes)]);
    all.entries.extend(one.entries);
    show(&Resolver::default().resolve(&all))
}

#[test]
fn a_broken_host_file_touches_that_host_only() {
    for (name, text) in [
        ("open bracket", "a: [1, 2\n"),
        ("tab", "a:\n\tb: 1\n"),
        ("list", "- a\n- b\n"),
        ("documents", "a: 1\n---\nb: 2\n"),
        ("self reference", "a: &a [*a]\n"),
        ("no anchor", "a: *nobody\n"),
        ("complex key", "? [a, b]\n: c\n"),
        ("bad branch", "branch: 'two words'\n"),
        ("two branches", "branch: main\nsubscribed_branch: canary\n"),
        ("branch twice", "branch: main\nbranch: canary\n"),
        ("bad merge", "<<: 5\n"),
    ] {
        let text = resolved(&[("host_vars/a.yml", text)]);
        assert!(text.contains("\na: ? (keeps what it has)\nb: main\nc: main\n"), "{name}:\n{text}");
        assert!(text.contains("host_vars/a.yml:") && text.contains(" [a]\n"), "{name}:\n{text}");
    }
}

#[test]
fn a_faulty_host_file_keeps_its_branch() {
    insta::assert_snapshot!(resolved(&[(
        "host_vars/a.yml",
        "device_type: two words
pins: [app]
variables: {1A: x, BELLWETHER_X: y, OK: [1], T: '{{ x }}'}
config: {poll_interval_secs: 0, persistent_logging: yes, colour: red, x-y: 1}
tags: {site: {a: b}}
hold: {until: tomorrow}
services: {web: {variabels: {}}}
maintenance: []
motd: {a: 1, a: 2}
os: !secret x
",
    )]), @r"
    host_vars/a.yml:1:14: error bad-name: `two words` is not a device type (a device type is 1 to 64 letters, digits, `_`, `.` or `-`, beginning with a letter or digit) [a]
    host_vars/a.yml:2:7: error wrong-type: `pins` must be a mapping, not a list [a]
    host_vars/a.yml:3:13: error bad-name: `1A` is not a variable name (a variable name is a letter or `_`, then letters, digits or `_`, at most 256 in all) [a]
    host_vars/a.yml:3:20: error reserved-name: `BELLWETHER_X` begins with `BELLWETHER_`, which belongs to Bellwether [a]
    host_vars/a.yml:3:41: error wrong-type: a variable must be text, not a list [a]
    host_vars/a.yml:4:30: error bad-number: `poll_interval_secs` must be a whole number from 1 to 86400, not `0` [a]
    host_vars/a.yml:4:53: error wrong-type: `persistent_logging` must be true or false, not `yes` (write `true` or `false`) [a]
    host_vars/a.yml:4:58: error unknown-key: `config` has no key `colour` (known keys: poll_interval_secs, persistent_logging, hostname, time_zone, sysctl, files, hooks) [a]
    host_vars/a.yml:5:14: error wrong-type: a tag must be text, not a mapping [a]
    host_vars/a.yml:6:15: error bad-date: `until` must be a date and time, not `tomorrow` (write it as 2026-12-01T18:00:00Z) [a]
    host_vars/a.yml:7:18: error unknown-key: a service has no key `variabels` (did you mean `variables`?) [a]
    host_vars/a.yml:8:14: error wrong-type: `maintenance` must be a mapping, not a list [a]
    host_vars/a.yml:9:8: error duplicate-key: the key `a` stands here and again further down (keep one of them) [a]
    host_vars/a.yml:10:13: error unsupported-tag: the tag `!secret` has no meaning for `os` [a]
    a: main (keeps what it has)
    b: main
    c: main
    ");
}

#[test]
fn a_broken_group_file_touches_its_members() {
    insta::assert_snapshot!(resolved(&[("group_vars/kiosks.yml", "a: [\n")]), @"
    group_vars/kiosks.yml:1:4: error yaml-syntax: unclosed bracket '[' [a b]
    a: ? (keeps what it has)
    b: ? (keeps what it has)
    c: main
    ");
    insta::assert_snapshot!(resolved(&[("group_vars/kiosks.yml", "pins: 5\n")]), @"
    group_vars/kiosks.yml:1:7: error wrong-type: `pins` must be a mapping, not a single value [a b]
    a: main (keeps what it has)
    b: main (keeps what it has)
    c: main
    ");
}

#[test]
fn an_inventory_that_cannot_be_read_refuses_the_commit() {
    insta::assert_snapshot!(resolved(&[("inventory.yml", "")]), @"inventory.yml: error empty-inventory: the inventory is empty [commit]");
    insta::assert_snapshot!(resolved(&[("inventory.yml", "# nothing\n")]), @"inventory.yml: error empty-inventory: the inventory is empty [commit]");
    insta::assert_snapshot!(resolved(&[("inventory.yml", "all: {hosts: [a, b]}\n")]), @"inventory.yml:1:14: error wrong-type: `hosts` must be a mapping, not a list (write `name:` with a colon for each host) [commit]");
    insta::assert_snapshot!(resolved(&[("inventory.yml", "all: {hosts: {a: }\n")]), @"inventory.yml:1:6: error yaml-syntax: unclosed bracket '{' [commit]");
    insta::assert_snapshot!(resolved(&[("inventory.yml", "- a\n")]), @"inventory.yml:1:1: error wrong-type: the inventory must be a mapping of groups, not a list [commit]");
    insta::assert_snapshot!(resolved(&[("inventory.yml", "all: {host: {a: }, children: {g: {hosts: {b: }}}}\n")]), @"inventory.yml:1:7: error unknown-key: a group has no key `host` (did you mean `hosts`?) [commit]");
    insta::assert_snapshot!(resolved(&[("inventory.yml", "all: {children: {g: {hosts: {a: }}, g: {hosts: {b: }}}}\n")]), @"inventory.yml:1:18: error duplicate-key: the key `g` stands here and again further down (keep one of them) [commit]");
    let cycle = "all: {children: {x: {children: {y: {children: {z: {hosts: {a: }}}}}}, z: {children: {x: }}}}\n";
    insta::assert_snapshot!(resolved(&[("inventory.yml", cycle)]), @"inventory.yml:1:18: error group-cycle: the group `x` contains itself: x > y > z > x [commit]");
}

#[test]
fn a_missing_inventory_refuses_the_commit() {
    let mut snapshot = snapshot(&[]);
    snapshot.entries.remove("inventory.yml");
    insta::assert_snapshot!(show(&Resolver::default().resolve(&snapshot)), @"inventory.yml: error inventory-missing: there is no inventory.yml (list the devices there, in Ansible's YAML inventory format) [commit]");
}

#[test]
fn bad_hosts_touch_themselves() {
    let inventory = "all: {hosts: {ok: , 'two words': , ../evil: , twice: {x: 1}, twice: {x: 2}, listed: [1], 'w[1:2]': , 'x[': }}\n";
    insta::assert_snapshot!(resolved(&[("inventory.yml", inventory)]), @"
    inventory.yml:1:21: error bad-name: `two words` is not a device name (a device name is 1 to 128 letters, digits, `_`, `.` or `-`, beginning with a letter or digit)
    inventory.yml:1:36: error bad-name: `../evil` is not a device name (a device name is 1 to 128 letters, digits, `_`, `.` or `-`, beginning with a letter or digit)
    inventory.yml:1:62: error duplicate-key: the host `twice` stands twice in this mapping (keep one of them) [twice]
    inventory.yml:1:85: error wrong-type: the variables of `listed` must be a mapping, not a list [listed]
    inventory.yml:1:102: error bad-name: `x[` is not a host range such as `web[01:50]` [commit]
    ");
}

#[test]
fn entries_that_were_not_read_touch_what_they_are_for() {
    insta::assert_snapshot!(refused("host_vars/a.yml", RefusedEntry::Symlink), @"
    host_vars/a.yml: error not-regular: this is a symbolic link, which is never followed (put the file itself here) [a]
    a: ? (keeps what it has)
    b: main
    c: main
    ");
    insta::assert_snapshot!(refused("host_vars/b", RefusedEntry::Submodule), @"
    host_vars/b: error not-regular: this is a submodule, which is never followed (put the files themselves here) [b]
    a: main
    b: ? (keeps what it has)
    c: main
    ");
    insta::assert_snapshot!(refused("group_vars/kiosks/x.yml", RefusedEntry::TooLong { size: 100_000_000 }), @"
    group_vars/kiosks/x.yml: error file-too-long: the file is 100000000 bytes long; at most 33554432 are read [a b]
    a: ? (keeps what it has)
    b: ? (keeps what it has)
    c: main
    ");
    insta::assert_snapshot!(refused("inventory.yml", RefusedEntry::Unreadable), @"inventory.yml: error unreadable: the content could not be read from the repository [commit]");
    insta::assert_snapshot!(refused("host_vars", RefusedEntry::Symlink), @"host_vars: error not-regular: this is a symbolic link, which is never followed (put the file itself here) [commit]");
    insta::assert_snapshot!(refused("fleet.yml", RefusedEntry::Symlink), @"fleet.yml: error not-regular: this is a symbolic link, which is never followed (put the file itself here) [commit]");
    insta::assert_snapshot!(refused("releases/app/2.0.0", RefusedEntry::Symlink), @"
    releases/app/2.0.0: error not-regular: this is a symbolic link, which is never followed (put the file itself here)
    a: main
    b: main
    c: main
    ");
    insta::assert_snapshot!(refused("releases/app/../../x", RefusedEntry::BadPath), @"
    releases/app/../../x: error bad-path: the path is not UTF-8, or leaves the tree
    a: main
    b: main
    c: main
    ");
    insta::assert_snapshot!(refused("os/deep/er", RefusedEntry::TooDeep), @"
    os/deep/er: error too-deep: the folder is nested deeper than can be meant
    a: main
    b: main
    c: main
    ");
}

#[test]
fn what_is_not_utf8_is_shown_with_its_place() {
    insta::assert_snapshot!(bytes("host_vars/a.yml", b"branch: main\nmotd: gr\xfc\xdfe\n"), @"
    host_vars/a.yml:2:9: error not-utf8: the file is not UTF-8: byte 0xfc cannot stand here (save the file with the encoding UTF-8) [a]
    a: ? (keeps what it has)
    b: main
    c: main
    ");
}

#[test]
fn a_byte_order_mark_is_no_problem() {
    insta::assert_snapshot!(bytes("host_vars/a.yml", b"\xef\xbb\xbfbranch: canary\nos: 'x\ty'\n"), @"
    host_vars/a.yml:2:5: error bad-value: `os` must have 1 to 256 characters without control characters [a]
    a: canary (keeps what it has)
    b: main
    c: main
    ");
}

#[test]
fn bombs_are_errors_and_not_memory() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let chain: String = (1..40).fold("a0: &a0 [x]\n".to_owned(), |all, level| {
        format!("{all}a{level}: &a{level} {}*a{}{}\n", "[".repeat(40), level - 1, "]".repeat(40))
    });
    for (name, text, code) in [
        ("laughs", laughs, "alias-bomb"),
        ("chain", chain, "too-deep"),
        ("flow", "[".repeat(100_000), "too-deep"),
        ("block", (0..5000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(), "too-deep"),
        ("sequence", "- ".repeat(10_000), "too-deep"),
        ("scalar", format!("branch: main\nvariables: {{A: {}}}\n", "x".repeat(1_000_000)), "too-large"),
        (
            "many",
            format!("variables: {{{}}}\n", (0..2000).map(|n| format!("V{n}: x, ")).collect::<String>()),
            "too-large",
        ),
        ("long key", format!("{}: 1\nbranch: [\n", "k".repeat(5000)), "yaml-syntax"),
    ] {
        let text = resolved(&[("host_vars/a.yml", &text)]);
        assert!(text.contains(code) && text.ends_with("b: main\nc: main\n"), "{name}:\n{text}");
        assert!(text.len() < 2000, "{name}: somebody's text is shown in full");
    }
}

#[test]
fn a_spec_that_no_device_would_accept_is_an_error() {
    let variables: String = (0..40).map(|n| format!("  V{n}: {}\n", "x".repeat(30_000))).collect();
    let text = resolved(&[("host_vars/a.yml", &format!("pins: {{app: latest}}\nvariables:\n{variables}"))]);
    assert!(text.contains("spec-too-long") && text.contains("a: main (keeps what it has)"), "{text}");
}

#[test]
fn thousands_of_findings_are_bounded_and_say_so() {
    let unknown: String = (0..900).map(|n| format!("nonsense{n}: 1\n")).collect();
    let desired = Resolver::default().resolve(&snapshot(&[("fleet.yml", &unknown)]));
    let last =
        desired.findings.iter().map(|finding| finding.message.as_str()).find(|message| message.contains("not shown"));
    assert_eq!(last, Some("800 more findings in this file are not shown"));
    assert!(desired.rejection().is_some());

    let files: Vec<(String, String)> = (0..5000).map(|n| (format!("host_vars/gone{n}.yml"), String::new())).collect();
    let mut files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.push(("inventory.yml", "zzz: {hosts: {a: }, host: }\n"));
    let desired = Resolver::default().resolve(&snapshot(&files));
    assert_eq!(desired.findings.len(), MAX_FINDINGS + 1);
    assert!(desired.rejection().is_some(), "the bound must not hide what refuses the commit");
}

#[test]
fn many_groups_and_long_chains_of_groups_are_bounded() {
    let chain: String = (0..3000).map(|n| format!("g{n}: {{children: {{g{}: }}}}\n", n + 1)).collect();
    let text = resolved(&[("inventory.yml", &format!("{chain}g3000: {{hosts: {{a: }}}}\n"))]);
    assert!(text.contains("a: main"), "{text}");
    let many: String = (0..5000).map(|n| format!("g{n}: {{hosts: {{a: }}}}\n")).collect();
    assert!(resolved(&[("inventory.yml", &many)]).contains("more than 4096 groups"));
}
