//! Which release a pin means.

use super::{COMPOSE, resolved};

const RELEASES: [(&str, &str); 7] = [
    ("1.0.0", "version: 1.0.0\n"),
    ("1.4.0", "version: 1.4.0\n"),
    ("1.10.0", "version: 1.10.0\n"),
    ("1.11.0", "version: 1.11.0\ninvalidated: {reason: eats the disk}\n"),
    ("1.12.0-rc.1", "version: 1.12.0-rc.1\n"),
    ("2.0.0", "version: 2.0.0\nrequires: {device_types: [pi4]}\n"),
    ("3.0.0", "version: 3.0.0\ndraft: true\n"),
];

fn check(vars: &str) -> String {
    let mut files: Vec<(String, String)> = vec![("host_vars/a.yml".to_owned(), vars.to_owned())];
    for (version, release) in RELEASES {
        files.push((format!("releases/app/{version}/release.yml"), release.to_owned()));
        files.push((format!("releases/app/{version}/compose.yml"), COMPOSE.to_owned()));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    resolved(&files)
        .lines()
        .filter(|line| !line.starts_with("b:") && !line.starts_with("c:"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn pins_pick_the_release_that_they_mean() {
    insta::assert_snapshot!(check("device_type: pi4\npins: {app: latest}"), @"a: main app 2.0.0 web[FROM=compose]");
    insta::assert_snapshot!(check("pins: {app: ^1.0}"), @"a: main app 1.10.0 web[FROM=compose]");
    insta::assert_snapshot!(check("pins: {app: '>=1.2, <1.9'}"), @"a: main app 1.4.0 web[FROM=compose]");
    insta::assert_snapshot!(check("pins: {app: 1.*}"), @"a: main app 1.10.0 web[FROM=compose]");
    insta::assert_snapshot!(check("pins: {app: 3.0.0}"), @r"
    host_vars/a.yml:1:8: warning draft-release: release 3.0.0 of `app` is a draft (this is fine while it is tried)
    a: main app 3.0.0 web[FROM=compose]
    ");
    insta::assert_snapshot!(check("pins: {app: 1.12.0-rc.1}"), @"a: main app 1.12.0-rc.1 web[FROM=compose]");
}

#[test]
fn pins_that_cannot_be_met_are_errors_of_the_device() {
    insta::assert_snapshot!(check("pins: {app: 9.9.9}"), @"
    host_vars/a.yml:1:8: error missing-release: `app` has no release 9.9.9 (newest releases: 3.0.0, 2.0.0, 1.12.0-rc.1, 1.11.0, 1.10.0) [a]
    a: main (keeps what it has)
    ");
    insta::assert_snapshot!(check("pins: {app: ^4}"), @"
    host_vars/a.yml:1:8: error missing-release: `app` has no final release in `^4` (newest releases: 3.0.0, 2.0.0, 1.12.0-rc.1, 1.11.0, 1.10.0) [a]
    a: main (keeps what it has)
    ");
    insta::assert_snapshot!(check("pins: {app: latest}"), @"
    host_vars/a.yml:1:8: error not-for-device-type: release 2.0.0 of `app` does not run on devices without `device_type` (it runs on pi4) [a]
    a: main (keeps what it has)
    ");
    insta::assert_snapshot!(check("pins: {app: newest}"), @"
    host_vars/a.yml:1:13: error bad-version: `newest` is neither a version nor a range (write `latest`, a version such as `1.4.2`, or a range such as `^1.4` or `>=1.2, <2`) [a]
    a: main (keeps what it has)
    ");
    insta::assert_snapshot!(check("pins: {app: 1.4}"), @"
    host_vars/a.yml:1:13: error bad-version: `1.4` is neither a version nor a range (write `latest`, a version such as `1.4.2`, or a range such as `^1.4` or `>=1.2, <2`) [a]
    a: main (keeps what it has)
    ");
    insta::assert_snapshot!(check("pins: {spp: latest}"), @"
    host_vars/a.yml:1:8: error unknown-app: no app is called `spp` (did you mean `app`?) [a]
    a: main (keeps what it has)
    ");
    insta::assert_snapshot!(check("pins: {app: 1.11.0}"), @"
    host_vars/a.yml:1:8: warning invalidated-release: release 1.11.0 of `app` was invalidated: eats the disk (pin another one, or `latest`)
    a: main app 1.11.0 web[FROM=compose]
    ");
}

#[test]
fn a_range_takes_a_pre_release_only_if_it_asks_for_one() {
    insta::assert_snapshot!(check("pins: {app: '>=1.12.0-rc.0, <2'}"), @"a: main app 1.12.0-rc.1 web[FROM=compose]");
    insta::assert_snapshot!(check("pins: {app: '>=1.11, <2'}"), @r"
    host_vars/a.yml:1:8: error missing-release: `app` has no final release in `>=1.11, <2` (newest releases: 3.0.0, 2.0.0, 1.12.0-rc.1, 1.11.0, 1.10.0) [a]
    a: main (keeps what it has)
    ");
}

/// Findings about a release 2.0.0 with these requirements, beside 1.0.0 and 1.4.0.
fn check_requires(requires: &str) -> String {
    let release = format!("version: 2.0.0\nrequires: {requires}\n");
    resolved(&[
        ("releases/app/1.4.0/release.yml", "version: 1.4.0\n"),
        ("releases/app/1.4.0/compose.yml", COMPOSE),
        ("releases/app/2.0.0/release.yml", &release),
        ("releases/app/2.0.0/compose.yml", COMPOSE),
    ])
    .lines()
    .filter(|line| line.contains("release.yml"))
    .collect::<Vec<_>>()
    .join("\n")
}

#[test]
fn requirements_are_read_and_checked() {
    insta::assert_snapshot!(check_requires("{min_agent: 0.2.0, os: '>=2.3, <4', from: [1.4.0, ^1.0]}"), @"");
    insta::assert_snapshot!(check_requires("{min_agent: 2, os: 2.3, from: [x]}"), @r"
    releases/app/2.0.0/release.yml:2:23: error bad-version: `2` is not a semantic version (write it as 1.4.2)
    releases/app/2.0.0/release.yml:2:30: error bad-version: `2.3` is not a range of versions (write it as `>=2.3, <4`)
    releases/app/2.0.0/release.yml:2:42: error bad-version: `x` is neither a version nor a range (write a version such as `1.4.2`, or a range such as `^1.4`)
    ");
    insta::assert_snapshot!(check_requires("{form: [1.4.0]}"), @"releases/app/2.0.0/release.yml:2:12: error unknown-key: `requires` has no key `form` (did you mean `from`?)");
}

#[test]
fn a_release_cannot_be_reached_from_nowhere_or_in_a_circle() {
    insta::assert_snapshot!(check_requires("{from: []}"), @"releases/app/2.0.0/release.yml:2:18: error bad-from: `from` names no release, so no device could get this one (leave it out if any release will do)");
    insta::assert_snapshot!(check_requires("{from: [2.0.0, 3.0.0]}"), @r"
    releases/app/2.0.0/release.yml:2:19: error bad-from: `from` names 2.0.0, which is not earlier than 2.0.0 (name earlier releases; a release cannot be reached from itself or from a later one)
    releases/app/2.0.0/release.yml:2:26: error bad-from: `from` names 3.0.0, which is not earlier than 2.0.0 (name earlier releases; a release cannot be reached from itself or from a later one)
    ");
    insta::assert_snapshot!(check_requires("{from: [0.9.0, ~1.3]}"), @r"
    releases/app/2.0.0/release.yml:2:19: warning unknown-from: `app` has no release 0.9.0 before 2.0.0 (devices that still run such a release can come from it; no other release leads here)
    releases/app/2.0.0/release.yml:2:26: warning unknown-from: `app` has no release ~1.3 before 2.0.0 (devices that still run such a release can come from it; no other release leads here)
    ");
}

#[test]
fn invalidating_what_latest_picked_moves_trackers_back_to_the_newest_good_one() {
    let with = |state: &str| {
        let release = format!("version: 1.1.0\n{state}");
        resolved(&[
            ("releases/app/1.1.0/release.yml", &release),
            ("releases/app/1.1.0/compose.yml", COMPOSE),
            ("group_vars/all.yml", "branch: main\npins: {app: latest}\n"),
        ])
    };
    insta::assert_snapshot!(with(""), @r"
    a: main app 1.1.0 web[FROM=compose]
    b: main app 1.1.0 web[FROM=compose]
    c: main app 1.1.0 web[FROM=compose]
    ");
    insta::assert_snapshot!(with("invalidated: {reason: eats the disk}\n"), @r"
    a: main app 1.0.0 web[FROM=compose]
    b: main app 1.0.0 web[FROM=compose]
    c: main app 1.0.0 web[FROM=compose]
    ");
    // Whatever is wrong with the reason, it must not be taken for a good one.
    insta::assert_snapshot!(with("invalidated: true\n"), @r"
    releases/app/1.1.0/release.yml:2:14: error missing-key: `invalidated` has no `reason`
    releases/app/1.1.0/release.yml:2:14: error wrong-type: `invalidated` must be a mapping, not a single value
    a: main app 1.0.0 web[FROM=compose]
    b: main app 1.0.0 web[FROM=compose]
    c: main app 1.0.0 web[FROM=compose]
    ");
}

#[test]
fn a_broken_release_touches_who_is_pinned_to_it() {
    insta::assert_snapshot!(resolved(&[
        ("releases/app/1.1.0/release.yml", "version: 1.1.1\n"),
        ("releases/app/1.1.0/compose.yml", "services: {web: {image: UPPER@x, build: ., privilegd: true}}\n"),
        ("releases/app/1.2.0/release.yml", "version: 1.2.0\ndraft: true\n"),
        ("releases/app/banana/release.yml", "version: banana\n"),
        ("group_vars/all.yml", "branch: main\npins: {app: 1.0.0}\n"),
        ("host_vars/a.yml", "pins: {app: latest}\n"),
        ("host_vars/b.yml", "pins: {app: 1.2.0}\n"),
    ]), @r"
    host_vars/a.yml:1:8: error release-broken: release 1.1.0 of `app` has errors (`bellwether check` lists them) [a]
    host_vars/b.yml:1:8: error release-broken: release 1.2.0 of `app` has errors (`bellwether check` lists them) [b]
    releases/app/1.1.0/compose.yml:1:25: error bad-image: `UPPER@x` is not the reference of an image (write `registry/name@sha256:` and 64 hexadecimal digits)
    releases/app/1.1.0/compose.yml:1:34: error unsupported-key: `build` is not supported: agents do not build (build in CI, and name the image by digest)
    releases/app/1.1.0/compose.yml:1:44: error unknown-key: a service has no key `privilegd` (did you mean `privileged`?)
    releases/app/1.1.0/release.yml:1:10: error version-mismatch: the version is `1.1.1`, but the folder is `1.1.0`
    releases/app/1.2.0/compose.yml: error missing-file: the release has no compose.yml
    releases/app/banana/compose.yml: error missing-file: the release has no compose.yml
    releases/app/banana/release.yml: error bad-version: the folder `banana` is not a semantic version: unexpected character 'b' while parsing major version number (write it as 1.4.2)
    a: main (keeps what it has)
    b: main (keeps what it has)
    c: main app 1.0.0 web[FROM=compose]
    ");
}

#[test]
fn images_are_chosen_by_device_type() {
    let catalog = "pi4: {version: 1.10, url: 'https://example.com/pi4'}\npi5: {version: 2}\n";
    let spec = |vars: &str| resolved(&[("os/linden.yml", catalog), ("host_vars/a.yml", vars)]);
    insta::assert_snapshot!(spec("{device_type: pi4, os: linden}"), @"
    a: main os linden 1.10
    b: main
    c: main
    ");
    insta::assert_snapshot!(spec("{device_type: pi3, os: linden}"), @"
    host_vars/a.yml:1:15: error unknown-device-type: neither an OS image nor a release names the device type `pi3` (did you mean `pi4`?) [a]
    host_vars/a.yml:1:24: error missing-os-image: the image `linden` is not built for `pi3` (it is built for pi4, pi5) [a]
    a: main (keeps what it has)
    b: main
    c: main
    ");
    insta::assert_snapshot!(spec("{device_type: pi6}"), @"
    host_vars/a.yml:1:15: error unknown-device-type: neither an OS image nor a release names the device type `pi6` (did you mean `pi4`?) [a]
    a: main (keeps what it has)
    b: main
    c: main
    ");
    insta::assert_snapshot!(spec("{os: linden}"), @"
    host_vars/a.yml:1:6: error missing-os-image: a device with `os` needs a `device_type` [a]
    a: main (keeps what it has)
    b: main
    c: main
    ");
    insta::assert_snapshot!(spec("{device_type: pi4, os: lindne}"), @"
    host_vars/a.yml:1:24: error missing-os-image: the OS catalog has no image `lindne` (did you mean `linden`?) [a]
    a: main (keeps what it has)
    b: main
    c: main
    ");
}

#[test]
fn a_service_name_that_two_apps_share_needs_the_app() {
    insta::assert_snapshot!(resolved(&[
        ("releases/other/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/other/1.0.0/compose.yml", COMPOSE),
        ("group_vars/all.yml", "branch: main\npins: {app: latest, other: latest}\n"),
        ("host_vars/a.yml", "services: {web: {variables: {A: 1}}}\n"),
        ("host_vars/b.yml", "services: {other/web: {variables: {A: 1}}, webb: {variables: {A: 1}}}\n"),
    ]), @"
    host_vars/a.yml:1:12: error ambiguous-service: the apps app, other all have a service `web` (write `app/web`) [a]
    host_vars/b.yml:1:44: warning unknown-service: no release has a service `webb` (did you mean `web`?)
    a: main (keeps what it has)
    b: main app 1.0.0 web[FROM=compose] other 1.0.0 web[A=1 FROM=compose]
    c: main app 1.0.0 web[FROM=compose] other 1.0.0 web[FROM=compose]
    ");
}
