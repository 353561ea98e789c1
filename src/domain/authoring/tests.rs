//! Files as people will find them.

use super::laws::{meant, named};
use super::*;
use crate::domain::secret::{Encoding, KeyedDigest, Piece, SecretRef, SecretText};
use crate::domain::spec::{AppSpec, OsSpec, Probe, ProbeCheck, SealedSpec, ServiceSpec};

/// A device of a shop, with a screen that says where it stands.
fn member(stage: &str, attributes: &[(&str, &str)], version: &str, place: &str) -> Member {
    let secret = SecretRef { name: named("TOKEN"), digest: Some(KeyedDigest::from_bytes([7; 8])) };
    let token = SecretText(vec![
        Piece::Text("Bearer {".to_owned()),
        Piece::Secret { reference: secret, encoding: Encoding::Plain },
        Piece::Text("}".to_owned()),
    ]);
    let screen = ServiceSpec {
        environment: [("PLACE", place), ("PRICE", "$5"), ("VERSION", "1.10"), ("TEMPLATE", "{{ x }}")]
            .map(|(name, value)| (named(name), value.to_owned()))
            .into(),
        secret_environment: [(named("AUTH"), token)].into(),
        command: Some(vec!["play".to_owned(), "$HOME".to_owned()]),
        ..ServiceSpec::of_image("registry.example.com/screen:1")
    };
    let app = AppSpec {
        release: named(version),
        services: [(named("screen"), screen)].into(),
        volumes: BTreeSet::new(),
        networks: BTreeMap::new(),
    };
    let spec = DeviceSpec {
        device_type: Some(named("pi4")),
        apps: [(named("shop"), app)].into(),
        os: Some(OsSpec::named("base", named("2026.1"))),
        ..DeviceSpec::default()
    };
    let attributes = attributes.iter().map(|(name, value)| (named(name), (*value).to_owned())).collect();
    Member { stage: Some(named(stage)), attributes, spec: Some(Arc::new(spec)) }
}

fn fleet() -> BTreeMap<DeviceId, Member> {
    [
        ("a", member("production", &[("groups", "zurich, kiosks"), ("owner", "ada")], "1.0.0", "zurich")),
        ("b", member("production", &[("groups", "zurich")], "1.0.0", "zurich")),
        ("c", member("production", &[("hold", "never")], "1.0.0", "bern")),
        ("d", member("canary", &[("groups", "all, not/a shelf")], "1.1.0", "lab")),
    ]
    .map(|(device, member)| (named(device), member))
    .into()
}

fn shown(authored: &Authored) -> String {
    authored.files.iter().map(|(path, text)| format!("== {path}\n{text}")).collect()
}

#[track_caller]
fn assert_all_meant(members: &BTreeMap<DeviceId, Member>, stage: &str) -> Authored {
    let (authored, meant) = meant(members, &named(stage));
    let meant = meant.unwrap_or_else(|error| panic!("{error}\n{}", shown(&authored)));
    for (device, member) in members {
        let spec = DeviceSpec::clone(member.spec.as_deref().expect("all have one"));
        assert_eq!(meant.get(device).map(|one| one.digest), Some(SealedSpec::seal(spec).digest), "{device}");
    }
    authored
}

#[test]
fn what_devices_share_is_written_once() {
    let authored = assert_all_meant(&fleet(), "production");
    insta::assert_snapshot!(shown(&authored), @r#"
    == fleet.yml
    # What holds for the whole fleet. `bellwether schema fleet` lists every key.
    # These files were written from a running fleet: they say what its devices were assigned.
    name: acme
    == group_vars/all.yml
    # What most devices have in common; groups and devices say what differs.
    branch: production
    device_type: pi4
    os: base
    pins:
      shop: "1.0.0"
    services:
      screen:
        variables:
          AUTH: "Bearer {{ '{' }}{{ secret('TOKEN') }}}"
    == group_vars/zurich.yml
    services:
      screen:
        variables:
          PLACE: zurich
    == host_vars/a.yml
    owner: ada
    == host_vars/c.yml
    services:
      screen:
        variables:
          PLACE: bern
    == host_vars/d.yml
    branch: canary
    pins:
      shop: "1.1.0"
    == inventory.yml
    all:
      children:
        kiosks:
          hosts:
            a: null
        shelf:
          hosts:
            d: null
        zurich:
          hosts:
            a: null
            b: null
      hosts:
        c: null
    == os/base.yml
    pi4:
      version: "2026.1"
    == releases/shop/1.0.0/compose.yml
    services:
      screen:
        command:
          - play
          - "$$HOME"
        environment:
          PRICE: "$$5"
          TEMPLATE: "{{ x }}"
          VERSION: "1.10"
        image: "registry.example.com/screen:1"
    == releases/shop/1.0.0/release.yml
    version: "1.0.0"
    == releases/shop/1.1.0/compose.yml
    services:
      screen:
        command:
          - play
          - "$$HOME"
        environment:
          PLACE: lab
          PRICE: "$$5"
          TEMPLATE: "{{ x }}"
          VERSION: "1.10"
        image: "registry.example.com/screen:1"
    == releases/shop/1.1.0/release.yml
    version: "1.1.0"
    "#);
    let unsaid: Vec<String> =
        authored.unsaid.iter().map(|one| format!("{:?} {}: {}", one.device, one.subject, one.reason)).collect();
    insta::assert_snapshot!(unsaid.join("\n"), @r#"
    Some("c") registry.hold: as a variable the attribute would have a meaning of its own
    Some("d") group not/a: an inventory has no group of this name
    "#);
}

#[test]
fn of_two_stages_with_other_things_under_one_name_each_gets_its_own_branch() {
    let mut members = fleet();
    let production = DeviceSpec::clone(members["a"].spec.as_deref().expect("a spec"));
    let mut newer = production.clone();
    newer.os = Some(OsSpec::named("base", named("2026.2")));
    let service = newer.apps.get_mut("shop").and_then(|app| app.services.get_mut("screen")).expect("a service");
    service.image = "registry.example.com/screen:2".to_owned();
    let canary = Member { spec: Some(Arc::new(newer)), stage: Some(named("canary")), ..Member::default() };
    members.insert(named("d"), canary);
    for (stage, image) in [("production", "screen:1"), ("canary", "screen:2")] {
        let (authored, meant) = meant(&members, &named(stage));
        let meant = meant.expect("all files can be read");
        assert!(authored.unsaid.iter().all(|one| one.subject == "registry.hold"), "{:?}", authored.unsaid);
        assert!(authored.files["releases/shop/1.0.0/compose.yml"].contains(image), "{stage}");
        for (device, member) in members.iter().filter(|(_, member)| member.stage == Some(named(stage))) {
            let spec = DeviceSpec::clone(member.spec.as_deref().expect("all have one"));
            assert_eq!(meant[device].digest, SealedSpec::seal(spec).digest, "{device} on {stage}");
        }
    }
}

#[test]
fn what_no_file_can_say_is_named() {
    let mut members = fleet();
    let mut spec = DeviceSpec::clone(members["a"].spec.as_deref().expect("a spec"));
    let app = spec.apps.get_mut("shop").expect("an app");
    let service = app.services.get_mut("screen").expect("a service");
    service.image = "registry.example.com/screen:7".to_owned();
    service.probes.insert("up".to_owned(), Probe::of(ProbeCheck::Exec(vec!["true".to_owned()])));
    service.environment.insert(named("LONG"), "{{".repeat(5000));
    members.insert(named("e"), Member { spec: Some(Arc::new(spec)), ..members["a"].clone() });
    members.insert(named("f"), Member { stage: Some(named("production")), ..Member::default() });
    let (authored, _) = meant(&members, &named("production"));
    let unsaid = authored.unsaid.iter().filter(|one| one.subject != "registry.hold");
    let unsaid: Vec<String> = unsaid.map(|one| format!("{:?} {}: {}", one.device, one.subject, one.reason)).collect();
    insta::assert_snapshot!(unsaid.join("\n"), @r#"
    Some("d") group not/a: an inventory has no group of this name
    Some("e") services.screen.variables.LONG: the text has braces in it and is too long for a template
    Some("e") shop/screen: another device has the release with this service made otherwise
    Some("f") the device: nothing was assigned to it; the files put it on hold
    "#);
    insta::assert_snapshot!(authored.files["host_vars/f.yml"], @r#"
    branch: production
    hold:
      reason: "nothing was assigned to it when the repo was written"
    "#);
}

/// The specs whose bytes are pinned. The service of one of them publishes ports on the host's network, which reading a file
/// refuses: it is taken as far as a file can say it.
#[test]
fn specs_whose_bytes_are_pinned_can_be_written_and_read() {
    let golden = include_str!("../../../tests/golden/specs.txt").lines();
    let specs =
        golden.filter_map(|line| line.splitn(3, ' ').nth(2)).map(|payload| SealedSpec::open(payload).expect("a spec"));
    let mut members = BTreeMap::new();
    for (index, sealed) in specs.enumerate() {
        let mut spec = DeviceSpec::clone(&sealed.spec);
        for service in spec.apps.values_mut().flat_map(|app| app.services.values_mut()) {
            if service.network != crate::domain::spec::Network::App {
                service.ports.clear();
            }
        }
        members.insert(
            named(&format!("golden-{index}")),
            Member { stage: Some(named("main")), spec: Some(Arc::new(spec)), ..Member::default() },
        );
    }
    assert!(members.len() >= 3);
    assert_all_meant(&members, "main");
}
