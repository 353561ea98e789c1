//! Changes that people ask for, shown as the lines that change and where.

use super::images::with_images;
use super::release::{About, Mark, create, mark};
use super::suggest::{Offered, suggest};
use super::*;
use crate::domain::drift::{Difference, Drift, Layer, LayerStatus, Verdict};
use crate::domain::overview::drift::{DeviceDrift, DriftReport, DriftTotals};
use crate::domain::plan::ownership::Standing;
use crate::domain::time::Timestamp;
use std::fmt::Write as _;

mod lists;

const COMPOSE: &str = "services:
  web:
    image: example.com/web@sha256:0000000000000000000000000000000000000000000000000000000000000000
    environment: { FROM: compose }
";
const NEWER: &str = "services:
  web:
    image: example.com/web@sha256:1111111111111111111111111111111111111111111111111111111111111111
";

fn snapshot(files: &[(&str, &str)]) -> Snapshot {
    let mut all = vec![
        (
            "inventory.yml",
            "all:\n  children:\n    kiosks:\n      hosts:\n        a:\n        b:\n    gateways:\n      hosts:\n        c:\n",
        ),
        ("group_vars/all.yml", "branch: main\npins: { app: 1.0.0 }\n"),
        ("releases/app/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/app/1.0.0/compose.yml", COMPOSE),
        ("releases/app/1.1.0/release.yml", "version: 1.1.0 # newer\n"),
        ("releases/app/1.1.0/compose.yml", NEWER),
    ];
    all.retain(|(path, _)| files.iter().all(|(other, _)| other != path));
    all.extend_from_slice(files);
    Snapshot::of_files(all.into_iter().filter(|(_, text)| *text != "-").map(|(path, text)| (path, text.as_bytes())))
}

/// Changed lines by file.
fn lines(desk: &Desk<'_>) -> String {
    let mut shown = String::new();
    for FileChange { path, before, after } in desk.files() {
        let _ = writeln!(shown, "{path}{}", if before.is_none() { " (new)" } else { "" });
        let before = before.unwrap_or_default();
        let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
        let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
        old[head..old.len() - tail].iter().for_each(|line| _ = writeln!(shown, "-{line}"));
        new[head..new.len() - tail].iter().for_each(|line| _ = writeln!(shown, "+{line}"));
    }
    shown
}

fn device(name: &str) -> Whose {
    Whose::Device(name.parse().expect("a device"))
}

fn group(name: &str) -> Whose {
    Whose::Group(name.to_owned())
}

/// Pins the app, and shows what changes and why there, or why not.
fn pin(files: &[(&str, &str)], whose: &Whose, version: Option<&str>) -> String {
    pin_on(&mut Desk::new(&snapshot(files)), whose, version)
}

fn pin_on(desk: &mut Desk<'_>, whose: &Whose, version: Option<&str>) -> String {
    let becomes = version.map_or(Becomes::Inherited, |version| Becomes::Text(version.to_owned()));
    let wish = Wish { path: vec!["pins".to_owned(), "app".to_owned()], becomes };
    let may = |device: &DeviceId, desired: &Desired| match whose {
        Whose::Device(one) => one == device,
        Whose::Group(group) => desired.devices[device].groups.contains(group) || group == "all",
    };
    let outcome =
        propose(desk, whose, &[wish]).and_then(|reasons| Ok((reasons, judge(desk, &mut Resolver::default(), may)?)));
    match outcome {
        Err(error) => {
            let mut text = format!("refused: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                let _ = write!(text, ": {error}");
                cause = error.source();
            }
            text
        }
        Ok((reasons, effect)) => {
            let names: Vec<&str> = effect.changed.iter().map(DeviceId::as_str).collect();
            format!("{}changes {}; {}", lines(desk), names.join(" "), reasons.join("; "))
        }
    }
}

#[test]
fn a_pin_goes_where_the_device_says_it_already() {
    let check = |path: &str, text: &str| pin(&[(path, text)], &device("a"), Some("1.1.0"));
    insta::assert_snapshot!(check("host_vars/a.yml", "# mine\npins:\n  app: '1.0.0' # for now\n"), @r"
    host_vars/a.yml
    -  app: '1.0.0' # for now
    +  app: '1.1.0' # for now
    changes a; host_vars/a.yml says it now
    ");
    insta::assert_snapshot!(check("host_vars/a/pins.yml", "pins: {app: 1.0.0}\n"), @r"
    host_vars/a/pins.yml
    -pins: {app: 1.0.0}
    +pins: {app: 1.1.0}
    changes a; host_vars/a/pins.yml says it now
    ");
    let inline = "all:\n  hosts:\n    a: { pins: { app: 1.0.0 } } # the oldest\n    b:\n    c:\n";
    insta::assert_snapshot!(check("inventory.yml", inline), @r"
    inventory.yml
    -    a: { pins: { app: 1.0.0 } } # the oldest
    +    a: { pins: { app: 1.1.0 } } # the oldest
    changes a; inventory.yml says it now
    ");
    let both = [("inventory.yml", inline), ("host_vars/a.yml", "pins: {app: 1.0.0}\n")];
    insta::assert_snapshot!(pin(&both, &device("a"), Some("1.1.0")), @r"
    host_vars/a.yml
    -pins: {app: 1.0.0}
    +pins: {app: 1.1.0}
    changes a; host_vars/a.yml says it now
    ");
}

#[test]
fn a_pin_that_only_a_group_says_becomes_the_devices_own() {
    insta::assert_snapshot!(pin(&[], &device("a"), Some("1.1.0")), @r"
    host_vars/a.yml (new)
    +pins:
    +  app: 1.1.0
    changes a; host_vars/a.yml is new: nothing is written there yet
    ");
    insta::assert_snapshot!(pin(&[("host_vars/a.yml", "tags: {x: y}\n")], &device("a"), Some("1.1.0")), @r"
    host_vars/a.yml
    +pins:
    +  app: 1.1.0
    changes a; host_vars/a.yml is read last
    ");
    let folders = [("host_vars/b/main.yml", "tags: {x: y}\n")];
    insta::assert_snapshot!(pin(&folders, &device("a"), Some("1.1.0")), @r"
    host_vars/a/main.yml (new)
    +pins:
    +  app: 1.1.0
    changes a; host_vars/a/main.yml is new: nothing is written there yet
    ");
    let several = [("host_vars/a/10-tags.yml", "tags: {x: y}\n"), ("host_vars/a/20-notes.yml", "motd: hi\n")];
    insta::assert_snapshot!(pin(&several, &device("a"), Some("1.1.0")), @r"
    host_vars/a/20-notes.yml
    +pins:
    +  app: 1.1.0
    changes a; host_vars/a/20-notes.yml is read last
    ");
    let inline = [("inventory.yml", "all:\n  hosts:\n    a:\n    b: { tags: { x: y } }\n    c:\n")];
    insta::assert_snapshot!(pin(&inline, &device("a"), Some("1.1.0")), @r"
    inventory.yml
    +      pins:
    +        app: 1.1.0
    changes a; this repo keeps such values in inventory.yml
    ");
    let schema = [("host_vars/b.yml", "# yaml-language-server: $schema=../schemas/vars.json\ntags: {x: y}\n")];
    insta::assert_snapshot!(pin(&schema, &device("a"), Some("1.1.0")), @r"
    host_vars/a.yml (new)
    +# yaml-language-server: $schema=../schemas/vars.json
    +pins:
    +  app: 1.1.0
    changes a; host_vars/a.yml is new: nothing is written there yet
    ");
    let range = [("inventory.yml", "all:\n  hosts:\n    k[1:3]:\n")];
    insta::assert_snapshot!(pin(&range, &device("k2"), Some("1.1.0")), @r"
    host_vars/k2.yml (new)
    +pins:
    +  app: 1.1.0
    changes k2; host_vars/k2.yml is new: nothing is written there yet
    ");
    let prefix =
        [("fleet.yml", "key_prefix: bw_\n"), ("group_vars/all.yml", "bw_branch: main\nbw_pins: {app: 1.0.0}\n")];
    insta::assert_snapshot!(pin(&prefix, &device("a"), Some("1.1.0")), @r"
    host_vars/a.yml (new)
    +bw_pins:
    +  app: 1.1.0
    changes a; host_vars/a.yml is new: nothing is written there yet
    ");
}

#[test]
fn a_group_is_pinned_in_its_own_file() {
    insta::assert_snapshot!(pin(&[], &group("all"), Some("1.1.0")), @r"
    group_vars/all.yml
    -pins: { app: 1.0.0 }
    +pins: { app: 1.1.0 }
    changes a b c; group_vars/all.yml says it now
    ");
    insta::assert_snapshot!(pin(&[], &group("kiosks"), Some("1.1.0")), @r"
    group_vars/kiosks.yml (new)
    +pins:
    +  app: 1.1.0
    changes a b; group_vars/kiosks.yml is new: nothing is written there yet
    ");
    let inline = "all:\n  children:\n    kiosks:\n      vars:\n        pins: {app: 1.0.0}\n      hosts:\n        a:\n        b:\n";
    insta::assert_snapshot!(pin(&[("inventory.yml", inline), ("group_vars/all.yml", "branch: main\n")], &group("kiosks"), Some("1.1.0")), @r"
    inventory.yml
    -        pins: {app: 1.0.0}
    +        pins: {app: 1.1.0}
    changes a b; inventory.yml says it now
    ");
}

#[test]
fn a_pin_is_taken_away_with_everything_that_would_be_left_empty() {
    insta::assert_snapshot!(pin(&[("host_vars/a.yml", "# mine\npins:\n  app: 1.1.0\ntags: {x: y}\n")], &device("a"), None), @r"
    host_vars/a.yml
    -pins:
    -  app: 1.1.0
    changes a; host_vars/a.yml sets it
    ");
    insta::assert_snapshot!(pin(&[("inventory.yml", "all:\n  hosts:\n    a: { pins: { app: 1.1.0 } }\n    b:\n")], &device("a"), None), @r"
    inventory.yml
    -    a: { pins: { app: 1.1.0 } }
    +    a: {}
    changes a; inventory.yml sets it
    ");
    insta::assert_snapshot!(pin(&[], &device("a"), None), @"refused: device a does not set `pins.app` itself");
}

#[test]
fn what_would_break_something_or_reach_others_is_refused() {
    insta::assert_snapshot!(pin(&[], &device("a"), Some("9.9.9")), @"refused: the change would be an error: host_vars/a.yml:2:3: `app` has no release 9.9.9");
    insta::assert_snapshot!(pin(&[], &device("nobody"), Some("1.1.0")), @"refused: the inventory has no device nobody");
    insta::assert_snapshot!(pin(&[], &group("nobody"), Some("1.1.0")), @"refused: the inventory has no group nobody");
    insta::assert_snapshot!(pin(&[("host_vars/a.yml", "pins: [1\n")], &device("a"), Some("1.1.0")), @"refused: host_vars/a.yml cannot be edited: the file is not YAML: line 1: unclosed bracket '['");
    insta::assert_snapshot!(pin(&[("host_vars/a.yml", "pins:\n")], &device("a"), Some("1.1.0")), @"refused: `pins` in host_vars/a.yml is written as nothing, which takes away everything inherited; change that by hand");
    insta::assert_snapshot!(pin(&[("host_vars/a.yml", "x: &p {app: 1.0.0}\npins: *p\n")], &device("a"), Some("1.1.0")), @"refused: host_vars/a.yml cannot be edited: `pins` is an alias of something that is written elsewhere");
    let anchored = "all:\n  hosts:\n    a: &same\n      pins: {app: 1.0.0}\n    b: *same\n    c:\n";
    insta::assert_snapshot!(pin(&[("inventory.yml", anchored)], &device("a"), Some("1.1.0")), @"refused: inventory.yml cannot be edited: changing `all.hosts.a.pins.app` would change something else too");
}

/// A peer's tool rewrites the whole file and loses what people wrote around the value.
#[test]
fn a_pin_keeps_comments_order_quotes_and_line_ends() {
    let text = "# first\r\n\r\nmotd: \"don't\" # a\r\npins: # b\r\n    # c\r\n    other: '2'\r\n    app: \"1.0.0\"   # d\r\n\r\n# e\r\nzone: NO\r\n";
    let files = [
        ("host_vars/a.yml", text),
        ("releases/other/2.0.0/release.yml", "version: 2.0.0\n"),
        ("releases/other/2.0.0/compose.yml", NEWER),
    ];
    let snapshot = snapshot(&files);
    let mut desk = Desk::new(&snapshot);
    let wish = Wish { path: vec!["pins".to_owned(), "app".to_owned()], becomes: Becomes::Text("1.1.0".to_owned()) };
    propose(&mut desk, &device("a"), &[wish]).expect("a proposal");
    assert_eq!(desk.files()[0].after, text.replace("\"1.0.0\"", "\"1.1.0\""));
}

#[test]
fn invalidating_a_release_moves_those_who_track_it_and_can_be_taken_back() {
    let snapshot = snapshot(&[("group_vars/all.yml", "branch: main\npins: {app: latest}\n")]);
    let (app, version) = ("app".parse().expect("an app"), "1.1.0".parse().expect("a version"));
    let mut desk = Desk::new(&snapshot);
    let bad = Mark::Invalidated { reason: "eats the disk: \"all\" of it".to_owned() };
    mark(&mut desk, &app, &version, &bad).expect("the release is there");
    let effect = judge(&desk, &mut Resolver::default(), |_, _| true).expect("it breaks nothing");
    assert_eq!(effect.changed.len(), 3);
    let release =
        |desired: &Desired| desired.devices["a"].spec.as_ref().map(|one| one.spec.apps[&app].release.to_string());
    assert_eq!((release(&effect.before), release(&effect.after)), (Some("1.1.0".to_owned()), Some("1.0.0".to_owned())));
    insta::assert_snapshot!(lines(&desk), @r#"
    releases/app/1.1.0/release.yml
    +invalidated:
    +  reason: 'eats the disk: "all" of it'
    "#);
    mark(&mut desk, &app, &version, &Mark::Good).expect("it is marked");
    insta::assert_snapshot!(lines(&desk), @"");
    let nobody = mark(&mut desk, &app, &"7.0.0".parse().expect("a version"), &bad);
    insta::assert_snapshot!(nobody.expect_err("there is none"), @"there is no release 7.0.0 of `app`");
}

/// Lists as people write them, with words beside them: nothing of it moves.
#[test]
fn marking_a_release_leaves_lists_comments_and_order_alone() {
    for text in [
        "version: 1.1.0 # first\nrequires:\n  device_types:   # with a screen\n    - pi4\n    - pi5   # new\n  from: [1.0.0, 0.8.0]\ntags: {team: a}\n# last words\n",
        "version: 1.1.0\nrequires:\n  from:\n  - 1.0.0 # by hand\n\n  - 0.8.0\n",
        "version: 1.1.0\nrequires:\n  from:\n  - 1.0.0",
        "version: 1.1.0\r\nrequires:\r\n  from:\r\n  - 1.0.0\r\n",
        "requires: {from: [\n  1.0.0, # a\n  0.8.0 ]}\nversion: 1.1.0\nx-list: [a,\n  b]\n",
        "{version: 1.1.0, requires: {from: [1.0.0, 0.8.0]}, tags: {a: b}}\n",
    ] {
        let snapshot = snapshot(&[("releases/app/1.1.0/release.yml", text)]);
        let (app, version) = ("app".parse().expect("an app"), "1.1.0".parse().expect("a version"));
        let mut desk = Desk::new(&snapshot);
        mark(&mut desk, &app, &version, &Mark::Invalidated { reason: "bad".to_owned() }).expect("it can be edited");
        let after = desk.files()[0].after.clone();
        // What is new stands in one place, and everything else around it.
        let head = text.bytes().zip(after.bytes()).take_while(|(before, after)| before == after).count();
        assert!(after.ends_with(&text[head..]) && after.len() > text.len(), "{text}\nbecame\n{after}");
        mark(&mut desk, &app, &version, &Mark::Good).expect("it can be taken back");
        assert!(desk.files().is_empty(), "{:?}", desk.files());
    }
}

#[test]
fn a_bad_release_can_be_stopped_even_if_a_device_is_left_without_one() {
    let files = [
        ("group_vars/all.yml", "branch: main\npins: {app: latest}\n"),
        ("releases/app/1.0.0/release.yml", "version: 1.0.0\nrequires: {device_types: [pi4]}\n"),
    ];
    let snapshot = snapshot(&files);
    let mut desk = Desk::new(&snapshot);
    let bad = Mark::Invalidated { reason: "bad".to_owned() };
    mark(&mut desk, &"app".parse().expect("an app"), &"1.1.0".parse().expect("a version"), &bad).expect("a release");
    let effect = effect(&desk, &mut Resolver::default());
    let messages: Vec<&str> = effect.errors.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(messages, ["release 1.0.0 of `app` does not run on devices without `device_type`"]);
    assert!(effect.after.devices["a"].spec.is_none(), "it keeps what it has");
}

#[test]
fn a_new_release_keeps_the_compose_file_and_never_overwrites_one() {
    let snapshot = snapshot(&[]);
    let mut desk = Desk::new(&snapshot);
    let app = "app".parse().expect("an app");
    let about = About {
        draft: true,
        notes: Some("two\nlines".to_owned()),
        tags: BTreeMap::from([("build".to_owned(), "0017".to_owned())]),
        device_types: BTreeSet::from(["pi4".parse().expect("a type")]),
    };
    let compose = "# ours\nservices:\n  web: # the page\n    image: example.com/web:1.2 # newest\n";
    let image = format!("example.com/web:1.2@sha256:{}", "2".repeat(64));
    let images = BTreeMap::from([("web".to_owned(), image)]);
    let compose = with_images(compose, &images).expect("the file has a place for it");
    create(&mut desk, &app, &"1.2.0".parse().expect("a version"), &about, &compose).expect("a release");
    insta::assert_snapshot!(lines(&desk), @r#"
    releases/app/1.2.0/compose.yml (new)
    +# ours
    +services:
    +  web: # the page
    +    image: example.com/web:1.2@sha256:2222222222222222222222222222222222222222222222222222222222222222 # newest
    releases/app/1.2.0/release.yml (new)
    +version: 1.2.0
    +notes: "two\nlines"
    +tags:
    +  build: "0017"
    +draft: true
    +requires:
    +  device_types: [pi4]
    "#);
    let judged =
        judge(&desk, &mut Resolver::default(), |_, _| false).expect("it is a good release, and nobody gets it yet");
    assert!(judged.changed.is_empty());
    let again = create(&mut desk, &app, &"1.0.0".parse().expect("a version"), &about, &compose);
    insta::assert_snapshot!(again.expect_err("it is there"), @"release 1.0.0 of `app` exists already");
}

fn difference(layer: Layer, subject: &str, wanted: Option<&str>, found: Option<&str>) -> Difference {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Difference { layer, subject: subject.to_owned(), wanted: owned(wanted), found: owned(found) }
}

/// A report in which devices differ like this.
fn report(devices: &[(&str, Vec<Difference>)]) -> DriftReport {
    let one = |(name, differences): &(&str, Vec<Difference>)| {
        let mut layers: BTreeMap<Layer, LayerStatus> = BTreeMap::new();
        for difference in differences {
            match layers.entry(difference.layer).or_insert_with(|| LayerStatus::Drifted { differences: Vec::new() }) {
                LayerStatus::Drifted { differences } => differences.push(difference.clone()),
                LayerStatus::InSync | LayerStatus::Unknown { .. } => {}
            }
        }
        let (standing, drift) = (Standing::InTransit, Drift { layers });
        let drift = DeviceDrift { standing, verdict: Verdict::Drifted, drift, mended: Vec::new() };
        (name.parse().expect("a device"), drift)
    };
    DriftReport { at: Timestamp::EPOCH, totals: DriftTotals::default(), devices: devices.iter().map(one).collect() }
}

#[test]
fn a_suggestion_makes_what_was_found_the_desired_state() {
    let snapshot =
        snapshot(&[("host_vars/a.yml", "# a kiosk\nservices: { web: { variables: { OLD: x } } } # by hand\n")]);
    let newer = NEWER.split("image: ").nth(1).expect("an image").trim();
    let found = report(&[
        (
            "a",
            vec![
                difference(Layer::Variables, "app/web environment.FROM", Some("compose"), Some("a person: #1")),
                difference(Layer::Variables, "app/web environment.OLD", Some("x"), None),
                difference(Layer::Variables, "app/web environment.BELLWETHER_X", None, Some("y")),
                difference(Layer::Variables, "app/web environment.TOKEN", Some("secret:T@1"), Some("hunter2")),
                difference(Layer::Apps, "app/web state", Some("running"), Some("exited with status 1")),
                difference(Layer::Apps, "app/web command", Some("[]"), Some("[\"sh\"]")),
                difference(Layer::Apps, "app volume data", Some("present"), None),
            ],
        ),
        ("b", vec![difference(Layer::Apps, "app/web image", Some("x"), Some(newer))]),
        ("c", vec![difference(Layer::Apps, "app/web image", Some("x"), Some("example.com/web:mine"))]),
        ("gone", vec![difference(Layer::Apps, "app/web", None, Some("present"))]),
    ]);
    let mut desk = Desk::new(&snapshot);
    let suggestion =
        suggest(&mut desk, &mut Resolver::default(), &found, Offered::Standing).expect("the devices are known");
    let left: Vec<String> =
        suggestion.left.iter().map(|left| format!("{} {}: {}", left.device, left.subject, left.reason)).collect();
    assert!(!lines(&desk).contains("hunter2"), "a secret never gets into the repo");
    insta::assert_snapshot!(format!("{}\n{}\n\n{}", lines(&desk), suggestion.accepted.join("\n"), left.join("\n")), @r#"
    host_vars/a.yml
    -services: { web: { variables: { OLD: x } } } # by hand
    +services: { web: { variables: { FROM: "a person: #1" } } } # by hand
    host_vars/b.yml (new)
    +pins:
    +  app: 1.1.0

    a: app/web gets FROM=a person: #1
    a: app/web loses OLD
    b: app is pinned to 1.1.0

    a app/web state: a service that does not run cannot be written down: the repo says what runs, and only that
    a app/web command: this is part of the release; make another one with `bellwether release new`
    a app volume data: volumes and networks are made and kept by the agent; the repo only names them
    a app/web environment.BELLWETHER_X: names that begin with BELLWETHER_ belong to Bellwether
    a app/web environment.TOKEN: it is a secret, which the repo never holds
    c app/web image: no release of `app` has example.com/web:mine there; make one with `bellwether release new`
    gone the device: these files do not list it
    "#);
    // Applied and resolved again, what was accepted is no difference any more.
    let after = Resolver::default().resolve(&desk.snapshot());
    let a = &after.devices["a"].spec.as_ref().expect("content").spec.apps["app"].services["web"].environment;
    assert_eq!(a.get("FROM").map(String::as_str), Some("a person: #1"));
    assert_eq!(a.get("OLD"), None);
    let b = &after.devices["b"].spec.as_ref().expect("content").spec.apps["app"];
    assert_eq!(b.services["web"].image, newer);
}

fn suggested(snapshot: &Snapshot, found: &DriftReport, offered: Offered) -> String {
    let mut desk = Desk::new(snapshot);
    let suggestion = suggest(&mut desk, &mut Resolver::default(), found, offered).expect("the devices are known");
    let left: Vec<String> =
        suggestion.left.iter().map(|left| format!("{} {}: {}", left.device, left.subject, left.reason)).collect();
    format!("{}\n{}\n\n{}", lines(&desk), suggestion.accepted.join("\n"), left.join("\n"))
}

#[test]
fn what_was_mended_is_offered_if_asked_for_and_said_to_be_that() {
    let snapshot = snapshot(&[]);
    let mut found =
        report(&[("a", vec![difference(Layer::Apps, "app/web state", Some("running"), None)]), ("b", Vec::new())]);
    let mark = crate::domain::assignment::Mark {
        order: crate::domain::generation::Order::FIRST,
        digest: crate::domain::digest::Digest::of(b"x"),
    };
    for (name, one) in &mut found.devices {
        let mended_in = |layer, subject: &str, found: Option<&str>| crate::domain::reported::Found {
            at: Timestamp::from_millis(1000),
            observed: mark,
            difference: difference(layer, subject, Some("compose"), found),
        };
        let mended = |subject: &str, found| mended_in(Layer::Variables, subject, found);
        one.mended = vec![
            mended("app/web environment.FROM", Some(name.as_str())),
            mended("app/web environment.BELLWETHER_X", None),
            mended_in(Layer::Host, "sysctl/net.ipv4.ip_forward", Some("0")),
        ];
    }
    found.devices.get_mut(&"b".parse::<DeviceId>().expect("a device")).expect("b is there").verdict = Verdict::InSync;
    insta::assert_snapshot!(suggested(&snapshot, &found, Offered::Standing), @"a app/web state: a service that does not run cannot be written down: the repo says what runs, and only that");
    insta::assert_snapshot!(suggested(&snapshot, &found, Offered::AndMended), @r"
    host_vars/a.yml (new)
    +services:
    +  web:
    +    variables:
    +      FROM: a
    host_vars/b.yml (new)
    +services:
    +  web:
    +    variables:
    +      FROM: b

    a: app/web gets FROM=a (was mended at 1970-01-01T00:00:01Z)
    b: app/web gets FROM=b (was mended at 1970-01-01T00:00:01Z)

    a app/web state: a service that does not run cannot be written down: the repo says what runs, and only that
    a app/web environment.BELLWETHER_X (was mended at 1970-01-01T00:00:01Z): names that begin with BELLWETHER_ belong to Bellwether
    a sysctl/net.ipv4.ip_forward (was mended at 1970-01-01T00:00:01Z): the kernel begins with its own value at each boot; nobody need have written it
    b app/web environment.BELLWETHER_X (was mended at 1970-01-01T00:00:01Z): names that begin with BELLWETHER_ belong to Bellwether
    b sysctl/net.ipv4.ip_forward (was mended at 1970-01-01T00:00:01Z): the kernel begins with its own value at each boot; nobody need have written it
    ");
}

#[test]
fn settings_of_the_host_are_suggested_where_config_can_say_them() {
    let config = "config:\n  hostname: a-told\n  persistent_logging: true\n  sysctl: { net.ipv4.ip_forward: 1 }\n  files:\n    chrony.conf: { content: x, mode: 640 }\n    motd: { content: hello }\n";
    let snapshot = snapshot(&[
        ("host_vars/a.yml", config),
        ("group_vars/all.yml", "branch: main\npins: { app: latest }\nconfig: { time_zone: Europe/Zurich }\n"),
    ]);
    let host =
        |subject: &str, wanted: Option<&str>, found: Option<&str>| difference(Layer::Host, subject, wanted, found);
    let found = report(&[(
        "a",
        vec![
            host("hostname", Some("a-told"), Some("by-hand")),
            host("time_zone", Some("Europe/Zurich"), Some("UTC")),
            host("persistent_logging", Some("true"), Some("false")),
            host("sysctl/net.ipv4.ip_forward", Some("1"), Some("0")),
            host("files/chrony.conf mode", Some("0640"), Some("0600")),
            host("files/chrony.conf content", Some("1a2b"), Some("another one of 7 bytes")),
            host("files/motd", Some("present"), None),
        ],
    )]);
    insta::assert_snapshot!(suggested(&snapshot, &found, Offered::Standing), @r#"
    host_vars/a.yml
    -  hostname: a-told
    -  persistent_logging: true
    -  sysctl: { net.ipv4.ip_forward: 1 }
    -  files:
    -    chrony.conf: { content: x, mode: 640 }
    -    motd: { content: hello }
    +  hostname: by-hand
    +  persistent_logging: false
    +  sysctl: { net.ipv4.ip_forward: 0 }
    +  files:
    +    chrony.conf: { content: x, mode: "0600" }
    +  time_zone: UTC

    a: `config.hostname` is by-hand
    a: `config.time_zone` is UTC
    a: `config.persistent_logging` is false
    a: `config.sysctl.net.ipv4.ip_forward` is 0
    a: `config.files.chrony.conf.mode` is 0600
    a: `config.files.motd` is asked for no longer

    a files/chrony.conf content: nobody is told what is in the file; copy it from the device into `config.files`
    "#);
}
