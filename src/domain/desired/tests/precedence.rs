//! Which of several values wins.

use super::resolved;

#[test]
fn sources_are_laid_over_each_other_as_ansible_does() {
    // Inline all < inline groups < group_vars/all < group_vars/<group> < inline host < host_vars.
    let inventory = "
all:
  vars: {variables: {A: inline-all, B: inline-all, C: inline-all, D: inline-all, E: inline-all, F: inline-all}}
  children:
    g:
      vars: {variables: {B: inline-group, C: inline-group, D: inline-group, E: inline-group, F: inline-group}}
      hosts:
        h: {variables: {E: inline-host, F: inline-host}}
";
    insta::assert_snapshot!(resolved(&[
        ("inventory.yml", inventory),
        ("group_vars/all.yml", "pins: {app: latest}\nvariables: {C: file-all, D: file-all, E: file-all, F: file-all}\n"),
        ("group_vars/g.yml", "variables: {D: file-group, E: file-group, F: file-group}\n"),
        ("host_vars/h.yml", "variables: {F: file-host}\n"),
    ]), @"h: - app 1.0.0 web[A=inline-all B=inline-group C=file-all D=file-group E=inline-host F=file-host FROM=compose]");
}

#[test]
fn groups_go_by_depth_then_priority_then_name() {
    let inventory = "
all:
  children:
    parent: {children: {aaa: {hosts: {h: }}}}
    zeta: {vars: {ansible_group_priority: 10}, hosts: {h: }}
    alpha: {vars: {ansible_group_priority: 5}, hosts: {h: }}
    Upper: {hosts: {h: }}
    lower: {hosts: {h: }}
";
    let files = ["parent", "aaa", "zeta", "alpha", "Upper", "lower"]
        .map(|name| (format!("group_vars/{name}.yml"), format!("variables: {{LAST: {name}}}\n")));
    let mut all: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    all.extend([("inventory.yml", inventory), ("group_vars/all.yml", "pins: {app: latest}\n")]);
    let text = resolved(&all);
    assert!(text.contains("LAST=aaa"), "the deepest group wins, whatever the priorities: {text}");
    all.retain(|(path, _)| *path != "group_vars/aaa.yml");
    assert!(resolved(&all).contains("LAST=zeta"), "then the highest priority");
    all.retain(|(path, _)| !["group_vars/zeta.yml", "group_vars/alpha.yml"].contains(path));
    assert!(resolved(&all).contains("LAST=parent"), "then the last name by code point");
    all.retain(|(path, _)| *path != "group_vars/parent.yml");
    assert!(resolved(&all).contains("LAST=lower"), "in which capitals come first");
}

#[test]
fn variables_of_a_service_beat_variables_of_the_same_layer_and_lose_to_the_next() {
    insta::assert_snapshot!(resolved(&[
        ("fleet.yml", "defaults: {branch: main, variables: {FROM: fleet, ONLY: fleet}}\n"),
        ("group_vars/all.yml", "pins: {app: latest}\nservices: {web: {variables: {FROM: all-service}}}\nvariables: {FROM: all}\n"),
        ("group_vars/kiosks.yml", "variables: {FROM: group}\n"),
        ("host_vars/b.yml", "services: {app/web: {variables: {FROM: host-app-service}}, web: {variables: {FROM: host-service}}}\n"),
    ]), @"
    a: main app 1.0.0 web[FROM=group ONLY=fleet]
    b: main app 1.0.0 web[FROM=host-app-service ONLY=fleet]
    c: main app 1.0.0 web[FROM=all-service ONLY=fleet]
    ");
}

#[test]
fn null_removes_what_was_inherited() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: {app: latest}\nvariables: {A: all, B: all}\nservices: {web: {variables: {S: all}}}\n"),
        ("host_vars/a.yml", "variables: {A: null, FROM: null}\nservices: {web: null}\n"),
        ("host_vars/b.yml", "variables: null\nbranch: null\n"),
        ("host_vars/c.yml", "pins: null\n"),
    ]), @"
    a: main app 1.0.0 web[B=all]
    b: - app 1.0.0 web[FROM=compose S=all]
    c: main
    ");
}

#[test]
fn typed_keys_take_the_text_as_written() {
    insta::assert_snapshot!(resolved(&[(
        "group_vars/all.yml",
        "branch: main\npins: {app: latest}\nvariables: {A: 1.10, B: NO, C: 017, D: 12:30, E: 'null', F: \"\", G: 2025-10-10}\n",
    )]), @"
    a: main app 1.0.0 web[A=1.10 B=NO C=017 D=12:30 E=null F= FROM=compose G=2025-10-10]
    b: main app 1.0.0 web[A=1.10 B=NO C=017 D=12:30 E=null F= FROM=compose G=2025-10-10]
    c: main app 1.0.0 web[A=1.10 B=NO C=017 D=12:30 E=null F= FROM=compose G=2025-10-10]
    ");
}

#[test]
fn a_folder_of_variables_hides_the_file_and_merges_in_byte_order() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: {app: latest}\n"),
        ("group_vars/kiosks.yml", "variables: {A: hidden}\n"),
        ("group_vars/kiosks/10.yml", "variables: {A: ten, B: ten}\n"),
        ("group_vars/kiosks/9.yml", "variables: {A: nine}\n"),
        ("group_vars/kiosks/.hidden.yml", "variables: {A: dot}\n"),
        ("group_vars/kiosks/old.yml~", "variables: {A: tilde}\n"),
        ("group_vars/kiosks/notes.txt", "nothing"),
        ("group_vars/kiosks/sub/z.json", "{\"variables\": {\"C\": \"json\"}}"),
        ("host_vars/c", "variables: {A: no-extension}\n"),
        ("host_vars/gone.yml", "variables: {A: nobody}\n"),
        ("host_vars/aa.yml", "{}"),
        ("group_vars/kiosk.yml", "{}"),
    ]), @"
    group_vars/kiosk.yml: warning orphan-vars-file: the inventory has no group `kiosk`, so nothing reads this file (did you mean `kiosks`?)
    group_vars/kiosks.yml: warning hidden-vars-file: another file or folder for `kiosks` comes first, so this file is not read (move what it says into the other one)
    host_vars/aa.yml: warning orphan-vars-file: the inventory has no device `aa`, so nothing reads this file
    host_vars/gone.yml: warning orphan-vars-file: the inventory has no device `gone`, so nothing reads this file
    a: main app 1.0.0 web[A=nine B=ten C=json FROM=compose]
    b: main app 1.0.0 web[A=nine B=ten C=json FROM=compose]
    c: main app 1.0.0 web[A=no-extension FROM=compose]
    ");
}

#[test]
fn a_prefix_moves_typed_keys_out_of_the_way() {
    insta::assert_snapshot!(resolved(&[
        ("fleet.yml", "key_prefix: bw_\n"),
        ("group_vars/all.yml", "branch: [not, ours]\nvariables: 5\nbw_branch: main\nbw_pins: {app: latest}\nbw_varaibles: {}\n"),
    ]), @"
    group_vars/all.yml:5:1: warning near-typed-key: `bw_varaibles` is a free variable, but spelled almost like a key with a meaning (did you mean `bw_variables`?)
    a: main app 1.0.0 web[FROM=compose]
    b: main app 1.0.0 web[FROM=compose]
    c: main app 1.0.0 web[FROM=compose]
    ");
}

#[test]
fn slips_are_noticed_and_strict_refuses_what_has_no_meaning() {
    let vars = [("group_vars/all.yml", "branch: main\nvaraibles: {A: 1}\nmotd: hello\nansible_user: root\n")];
    insta::assert_snapshot!(resolved(&vars), @"
    group_vars/all.yml:2:1: warning near-typed-key: `varaibles` is a free variable, but spelled almost like a key with a meaning (did you mean `variables`?)
    a: main
    b: main
    c: main
    ");
    insta::assert_snapshot!(resolved(&[vars[0], ("fleet.yml", "strict: true\n")]), @"
    group_vars/all.yml:2:1: error strict-unknown-key: `varaibles` has no meaning here, and `strict` is set in fleet.yml (did you mean `variables`?) [a b c]
    group_vars/all.yml:3:1: error strict-unknown-key: `motd` has no meaning here, and `strict` is set in fleet.yml (take the key away, or `strict`) [a b c]
    a: main (keeps what it has)
    b: main (keeps what it has)
    c: main (keeps what it has)
    ");
}

#[test]
fn a_device_can_choose_its_branch_and_a_hold_says_why() {
    let vars = "branch: {from: device, allowed: [develop, main]}\nhold: {reason: tour, until: 2026-12-01T00:00:00Z}\n";
    let snapshot = super::snapshot(&[("host_vars/a.yml", vars)]);
    let desired = super::Resolver::default().resolve(&snapshot);
    insta::assert_snapshot!(super::show(&desired), @r#"
    a: {"develop", "main"}
    b: main
    c: main
    "#);
    let hold = desired.devices[&"a".parse::<super::DeviceId>().expect("a name")].hold.clone();
    insta::assert_debug_snapshot!(hold, @r#"
    Some(
        RepoHold {
            reason: "tour",
            until: Some(
                2026-12-01T00:00:00Z,
            ),
        },
    )
    "#);
}

#[test]
fn keys_of_branch_and_hold_are_inherited_one_by_one() {
    let choice = "branch: {from: device, allowed: [main, canary]}\n";
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", choice),
        ("group_vars/kiosks.yml", "branch: {allowed: [canary, develop]}\n"),
        ("host_vars/b.yml", "branch: main\n"),
        ("host_vars/c.yml", "branch: {from: null, allowed: null}\n"),
    ]), @r#"
    a: {"canary", "develop"}
    b: main
    c: -
    "#);
    // Half of a choice is none: the device keeps its claim and what it has.
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\n"),
        ("group_vars/kiosks.yml", "branch: {allowed: [canary]}\n"),
        ("host_vars/b.yml", "branch: {from: device}\n"),
        ("host_vars/c.yml", "branch: {from: device}\n"),
    ]), @r#"
    group_vars/kiosks.yml:1:10: error branch-form: `branch` has `allowed`, and nothing says `from: device` (write a branch name, or `{from: device, allowed: [main, canary]}`) [a]
    host_vars/c.yml:1:10: error branch-form: `branch` is `from: device`, and nothing says what is `allowed` (write a branch name, or `{from: device, allowed: [main, canary]}`) [c]
    a: ? (keeps what it has)
    b: {"canary"}
    c: ? (keeps what it has)
    "#);
    let vars = [
        ("group_vars/all.yml", "branch: main\nhold: {reason: tour, until: 2026-12-01T00:00:00Z}\n"),
        ("host_vars/a.yml", "hold: {until: null}\n"),
        ("host_vars/b.yml", "hold: {until: 2027-01-01T00:00:00Z}\n"),
        ("host_vars/c.yml", "hold: null\n"),
    ];
    let desired = super::Resolver::default().resolve(&super::snapshot(&vars));
    let holds: Vec<String> = desired.devices.iter().map(|(name, device)| format!("{name} {:?}", device.hold)).collect();
    insta::assert_snapshot!(holds.join("\n"), @r#"
    a Some(RepoHold { reason: "tour", until: None })
    b Some(RepoHold { reason: "tour", until: Some(2027-01-01T00:00:00Z) })
    c None
    "#);
    // Without a reason there is none to take the end from, and an end alone is a slip; what was given can be taken away.
    insta::assert_snapshot!(resolved(&[
        ("host_vars/a.yml", "hold: {until: null}\n"),
        ("host_vars/b.yml", "hold: {until: 2027-01-01T00:00:00Z}\n"),
        ("host_vars/c.yml", "hold: {reason: }\n"),
    ]), @r"
    host_vars/a.yml:1:7: error missing-key: `hold` has no `reason` (give a `reason`, or write `hold: null` where nothing is to hold the device) [a]
    host_vars/b.yml:1:8: error missing-key: `hold` has no `reason` [b]
    host_vars/c.yml:1:7: error missing-key: `hold` has no `reason` (give a `reason`, or write `hold: null` where nothing is to hold the device) [c]
    a: main (keeps what it has)
    b: main (keeps what it has)
    c: main (keeps what it has)
    ");
}

#[test]
fn why_shows_each_key_of_branch_and_hold_with_what_it_overrode() {
    let shown = |files: &[(&str, &str)]| {
        let explanation = super::Resolver::default().explain(&super::snapshot(files), &"a".parse().expect("a name"));
        let values = explanation.expect("it is listed").values;
        let line = |one: crate::domain::desired::Explained| {
            let over: Vec<String> =
                one.overridden.iter().map(|over| format!(" over {} {}", over.value, over.place)).collect();
            format!("{}: {} {}{}", one.key, one.value, one.place, over.concat())
        };
        values.into_iter().map(line).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(shown(&[
        ("fleet.yml", "defaults: {branch: develop}\n"),
        ("group_vars/all.yml", "branch: {from: device, allowed: [main]}\nhold: {reason: tour, until: 2026-12-01T00:00:00Z}\n"),
        ("host_vars/a.yml", "branch: {allowed: [main, canary]}\nhold: {until: null}\n"),
    ]), @r"
    branch.allowed: canary, main host_vars/a.yml:1:10 over main group_vars/all.yml:1:24
    branch.from: device group_vars/all.yml:1:10 over develop fleet.yml:1:20
    hold.reason: tour group_vars/all.yml:2:8
    hold.until: (removed) host_vars/a.yml:2:8 over 2026-12-01T00:00:00Z group_vars/all.yml:2:22
    ");
    insta::assert_snapshot!(shown(&[
        ("group_vars/all.yml", "branch: {from: device, allowed: [main]}\n"),
        ("host_vars/a.yml", "branch: main\n"),
    ]), @"branch: main host_vars/a.yml:1:9 over main group_vars/all.yml:1:24 over device group_vars/all.yml:1:10");
}
