//! Settings of the host in the files of a fleet repo.

use super::{Resolver, show, snapshot};
use crate::domain::desired::explain;
use crate::domain::spec::{MAX_HOST_FILES, MAX_HOST_FILES_BYTES};
use proptest::prelude::*;
use std::fmt::Write as _;

/// What every device's host shall be, after what was found.
fn config(files: &[(&str, &str)]) -> String {
    let desired = Resolver::default().resolve(&snapshot(files));
    let mut text: String =
        show(&desired).lines().filter(|line| line.contains(".yml:")).fold(String::new(), |all, line| all + line + "\n");
    for (name, device) in &desired.devices {
        match &device.spec {
            Some(sealed) => {
                let config = serde_json::to_string(&sealed.spec.config).expect("it can be written");
                let _ = writeln!(text, "{name}: {config}");
            }
            None => {
                let _ = writeln!(text, "{name}: keeps what it has");
            }
        }
    }
    text
}

#[test]
fn every_leaf_is_inherited_by_itself_and_null_removes() {
    insta::assert_snapshot!(config(&[
        (
            "group_vars/all.yml",
            "branch: main\nsite: bern\nconfig:\n  poll_interval_secs: 30\n  hostname: '{{ inventory_hostname }}.{{ site }}'\n  \
             time_zone: Europe/Zurich\n  sysctl: {net.ipv4.ip_forward: 1, net.ipv4.tcp_rmem: \"4096\\t87380  6291456\"}\n  \
             files:\n    motd: {content: \"Welcome to {{ site }}\\n\"}\n    chrony/chrony.conf: {content: pool, mode: 640}\n  \
             hooks: {reload-chrony: [files/chrony, time_zone]}\n",
        ),
        (
            "host_vars/a.yml",
            "config: {sysctl: {net.ipv4.ip_forward: null, vm.swappiness: 10}, files: {chrony/chrony.conf: {content: server}}}\n",
        ),
        ("host_vars/b.yml", "config: {sysctl: null, files: {motd: null}, hooks: null, hostname: null}\n"),
        ("host_vars/c.yml", "config: null\n"),
    ]), @r#"
    a: {"poll_interval_secs":30,"hostname":"a.bern","time_zone":"Europe/Zurich","sysctl":{"net.ipv4.tcp_rmem":"4096 87380 6291456","vm.swappiness":"10"},"files":{"chrony/chrony.conf":{"content":"server","mode":"0640"},"motd":{"content":"Welcome to bern\n"}},"hooks":{"reload-chrony":["time_zone","files/chrony"]}}
    b: {"poll_interval_secs":30,"time_zone":"Europe/Zurich","files":{"chrony/chrony.conf":{"content":"pool","mode":"0640"}}}
    c: {}
    "#);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    insta::assert_snapshot!(config(&[(
        "host_vars/a.yml",
        "config:
  hostnam: x
  hostname: two words
  time_zone: Europe/Zürich
  sysctl: {forward: 1, net.ipv4.x: \"a\\nb\\x01\", vm./etc: 1}
  files:
    /etc/passwd: {content: x}
    ../up: {content: x}
    .hidden: {content: x}
    good: {contnt: x}
    modest: {content: x, mode: 4755}
    short: text
  hooks: {a b: [files], late: [], lost: [file/motd]}
",
    )]), @r#"
    host_vars/a.yml:2:3: error unknown-key: `config` has no key `hostnam` (did you mean `hostname`?) [a]
    host_vars/a.yml:3:13: error bad-name: `two words` is not a host name (a host name is 1 to 64 letters, digits and `-` in parts of at most 63 with dots between them, no part beginning or ending with `-`) [a]
    host_vars/a.yml:4:14: error bad-value: there is no time zone `Europe/Zürich` (did you mean `Europe/Zurich`?) [a]
    host_vars/a.yml:5:12: error bad-name: `forward` is not a kernel setting (a kernel setting is 2 or more names of letters, digits, `_` and `-` with dots between them, such as `net.ipv4.ip_forward`) [a]
    host_vars/a.yml:5:36: error bad-value: a kernel setting has 1 to 256 printable ASCII characters [a]
    host_vars/a.yml:5:48: error bad-name: `vm./etc` is not a kernel setting (a kernel setting is 2 or more names of letters, digits, `_` and `-` with dots between them, such as `net.ipv4.ip_forward`) [a]
    host_vars/a.yml:7:5: error bad-name: `/etc/passwd` is not a path of a file (a path of a file is 1 to 8 names with `/` between them, relative, each of 1 to 100 letters, digits, `_`, `.`, `@`, `+` or `-`, not beginning with `.` or `-`) [a]
    host_vars/a.yml:8:5: error bad-name: `../up` is not a path of a file (a path of a file is 1 to 8 names with `/` between them, relative, each of 1 to 100 letters, digits, `_`, `.`, `@`, `+` or `-`, not beginning with `.` or `-`) [a]
    host_vars/a.yml:9:5: error bad-name: `.hidden` is not a path of a file (a path of a file is 1 to 8 names with `/` between them, relative, each of 1 to 100 letters, digits, `_`, `.`, `@`, `+` or `-`, not beginning with `.` or `-`) [a]
    host_vars/a.yml:10:12: error unknown-key: a file has no key `contnt` (did you mean `content`?) [a]
    host_vars/a.yml:11:32: error bad-value: `4755` is no mode of a file (write three octal digits, such as 644 or 0600) [a]
    host_vars/a.yml:12:12: error wrong-type: a file must be a mapping, not a single value [a]
    host_vars/a.yml:13:11: error bad-name: `a b` is not a hook name (a hook name is 1 to 64 letters, digits, `_`, `.` or `-`, beginning with a letter or digit) [a]
    host_vars/a.yml:13:31: error bad-value: the hook runs for nothing (write what it runs for, such as `files`) [a]
    host_vars/a.yml:13:42: error bad-value: `file/motd` is nothing that a hook can run for (it is `hostname`, `time_zone`, `persistent_logging`, `sysctl`, `sysctl/NAME`, `files` or `files/PATH`) [a]
    a: keeps what it has
    b: {}
    c: {}
    "#);
    insta::assert_snapshot!(config(&[(
        "host_vars/a.yml",
        "config: {time_zone: europe/zurich, files: {only: {mode: 600}, a: {content: x}, a/b: {content: y}}, hooks: {h: [files/anly, hostname]}}\n",
    )]), @r#"
    host_vars/a.yml:1:21: error bad-value: there is no time zone `europe/zurich` (did you mean `Europe/Zurich`?) [a]
    host_vars/a.yml:1:51: error missing-key: the file `only` has a mode and no content (write `content`) [a]
    host_vars/a.yml:1:86: error bad-value: `a` cannot be a file and the folder of `a/b` (give one of them another name) [a]
    host_vars/a.yml:1:108: warning idle-hook: the hook runs when `files/anly` changes, which `config` does not set (set it, or take it away)
    host_vars/a.yml:1:108: warning idle-hook: the hook runs when `hostname` changes, which `config` does not set (set it, or take it away)
    a: keeps what it has
    b: {}
    c: {}
    "#);
}

#[test]
fn the_name_of_a_host_cannot_be_a_secret_and_a_file_can_hold_one() {
    insta::assert_snapshot!(config(&[
        ("host_vars/a.yml", "config: {files: {key: {content: \"token={{ secret('T') }}\\n\"}, open: {content: \"{{ secret('T') }}\", mode: 644}}}\n"),
        ("host_vars/b.yml", "config: {hostname: \"{{ secret('T') }}\"}\n"),
    ]), @r#"
    host_vars/b.yml:1:20: error secret: `hostname` cannot hold the secret `T` (secrets can stand in `variables` and in contents of `config.files`) [b]
    a: {"files":{"key":{"secret_content":["token=",{"reference":"secret:T"},"\n"],"mode":"0600"},"open":{"secret_content":[{"reference":"secret:T"}]}}}
    b: keeps what it has
    c: {}
    "#);
}

#[test]
fn files_are_bounded_in_number_and_in_all() {
    let files = |count: usize, bytes: usize| {
        let one = |index: usize| format!("    f{index}: {{content: {}}}\n", "x".repeat(bytes));
        let all: String = (0..count).map(one).collect();
        let text = format!("config:\n  files:\n{all}");
        config(&[("host_vars/a.yml", &text)]).lines().next().unwrap_or_default().chars().take(200).collect::<String>()
    };
    assert!(files(MAX_HOST_FILES, MAX_HOST_FILES_BYTES / MAX_HOST_FILES).starts_with("a: {"));
    insta::assert_snapshot!(files(MAX_HOST_FILES + 1, 1), @"host_vars/a.yml:12:10: error too-large: the device has 65 files in `config`; at most 64 are accepted [a]");
    insta::assert_snapshot!(files(9, MAX_HOST_FILES_BYTES / 8), @"host_vars/a.yml:11:10: error too-large: the files of the device have 294912 bytes in all; at most 262144 are accepted (put them into an image or a release) [a]");
}

#[test]
fn an_explanation_names_every_leaf() {
    let files = [
        (
            "group_vars/all.yml",
            "branch: main\nconfig: {files: {motd: {content: \"{{ inventory_hostname }}\\n\"}}, sysctl: {vm.swappiness: 10}}\n",
        ),
        ("host_vars/a.yml", "config: {sysctl: {vm.swappiness: 20}, files: {motd: {mode: 600}}}\n"),
    ];
    let explanation = explain(&snapshot(&files), &"a".parse().expect("a name")).expect("it is listed");
    let shown: String = explanation
        .values
        .iter()
        .filter(|value| value.key.starts_with("config."))
        .map(|value| format!("{} = {:?} ({}) {:?}\n", value.key, value.value, value.place, value.rendered))
        .collect();
    insta::assert_snapshot!(shown, @r#"
    config.files.motd.content = "{{ inventory_hostname }}\n" (group_vars/all.yml:2:25) Some("a")
    config.files.motd.mode = "0600" (host_vars/a.yml:1:54) None
    config.sysctl.vm.swappiness = "20" (host_vars/a.yml:1:19) None
    "#);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_path_of_a_file_leads_out_of_its_directory(path in "[a-zA-Z0-9_./@+~ -]{1,24}") {
        use crate::domain::ids::FilePath;
        if let Ok(path) = path.parse::<FilePath>() {
            let path = std::path::Path::new(path.as_str());
            let is_plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
            prop_assert!(path.components().all(is_plain) && path.is_relative());
        }
    }

    #[test]
    fn triggers_are_read_as_they_are_written(text in "(hostname|time_zone|persistent_logging|sysctl|files|sysctl/net\\.[a-z]{1,5}|files/[a-z]{1,5}(/[a-z]{1,5})?)") {
        use crate::domain::spec::Trigger;
        let trigger: Trigger = text.parse().expect("it is one");
        prop_assert_eq!(trigger.to_string(), text);
    }
}
