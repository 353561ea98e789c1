//! What holds for every repo.

use super::snapshot;
use crate::domain::desired::{Resolver, memo::KEPT_TURNS};
use crate::domain::snapshot::Snapshot;
use proptest::prelude::*;

/// Files that a random edit may write, each with several contents, good and bad.
const EDITS: &[(&str, &[&str])] = &[
    ("fleet.yml", &["name: x\n", "strict: true\n", "key_prefix: bw_\n", "defaults: {branch: canary}\n", "oops: 1\n"]),
    (
        "inventory.yml",
        &[
            "all: {children: {kiosks: {hosts: {a: , b: }}}}\n",
            "all: {children: {kiosks: {hosts: {a: {variables: {I: 1}}, b: }}, gateways: {hosts: {c: , a: }}}}\n",
            "\n\nall: {children: {kiosks: {hosts: {a: {variables: {I: 1}}, b: }}, gateways: {hosts: {c: , a: }}}}\n",
            "all: {vars: &v {variables: {I: 2}}, children: {kiosks: {vars: *v, hosts: {a: , d: *v}}}}\n",
            "all: {vars: &v {variables: {I: 3}}, children: {kiosks: {vars: *v, hosts: {a: , d: *v}}}}\n",
            "all: [\n",
        ],
    ),
    ("group_vars/all.yml", &["branch: main\n", "branch: main\npins: {app: latest}\n", "pins: {app: ^1}\n", "x: [\n"]),
    (
        "group_vars/kiosks.yml",
        &["variables: {A: 1}\n", "variables: {A: null}\n", "services: {web: {variables: {A: 2}}}\n"],
    ),
    ("group_vars/kiosks/x.yml", &["variables: {A: 5}\n", "branch: [\n"]),
    (
        "host_vars/a.yml",
        &["branch: canary\n", "\nbranch: canary\n", "pins: {app: 2.0.0}\n", "pins: {app: 7.0.0}\n", "-\n"],
    ),
    ("host_vars/a/x.yml", &["tags: {a: folder}\n", "branch: [\n"]),
    ("host_vars/a", &["tags: {a: bare}\n"]),
    ("host_vars/b.yaml", &["services: {wob: {variables: {A: 1}}}\n", "varaibles: {A: 1}\n"]),
    ("host_vars/nobody.yml", &["branch: main\n"]),
    ("host_vars/d.yml", &["tags: {a: b}\n", "os: img\ndevice_type: pi\n", "device_type: po\n"]),
    ("releases/app/2.0.0/release.yml", &["version: 2.0.0\n", "version: 2.0.0\ndraft: true\n", "version: 1\n"]),
    ("releases/app/2.0.0/compose.yml", &[super::COMPOSE, "services: {web: {image: 'a:1'}}\n", "services: 1\n"]),
    ("os/img.yml", &["pi: {version: 1}\n", "pi: {version: 2}\n", "pi: 1\n"]),
];

/// Writes or removes one file.
fn edit(snapshot: &mut Snapshot, file: usize, content: usize) {
    let (path, contents) = EDITS[file % EDITS.len()];
    match contents.get(content % (contents.len() + 1)) {
        Some(text) => snapshot.entries.extend(Snapshot::of_files([(path, text.as_bytes())]).entries),
        None => {
            snapshot.entries.remove(path);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_warm_resolver_gives_what_a_new_one_gives(edits in prop::collection::vec((0usize..100, 0usize..100), 1..40)) {
        let mut warm = Resolver::default();
        let mut at = snapshot(&[]);
        for (file, content) in edits {
            edit(&mut at, file, content);
            let desired = warm.resolve(&at);
            prop_assert_eq!(&desired, &Resolver::default().resolve(&at));
            let explained = |resolver: &mut Resolver| {
                desired.devices.keys().map(|device| resolver.explain(&at, device)).collect::<Vec<_>>()
            };
            prop_assert_eq!(explained(&mut warm), explained(&mut Resolver::default()));
        }
    }

    #[test]
    fn explanations_say_what_devices_get(edits in prop::collection::vec((0usize..100, 0usize..100), 1..20)) {
        let mut at = snapshot(&[("group_vars/all.yml", "branch: main\npins: {app: latest}\nvariables: {Z: z}\n")]);
        edits.into_iter().for_each(|(file, content)| edit(&mut at, file, content));
        let mut resolver = Resolver::default();
        let desired = resolver.resolve(&at);
        for (name, device) in &desired.devices {
            let Some(sealed) = &device.spec else { continue };
            let explanation = resolver.explain(&at, name).expect("the device is listed");
            let prefix = "app/web.environment.";
            let explained: Vec<(String, String)> = explanation
                .values
                .iter()
                .filter(|value| value.value != crate::domain::desired::REMOVED)
                .filter_map(|value| Some((value.key.strip_prefix(prefix)?.to_owned(), value.value.clone())))
                .collect();
            let environments = sealed.spec.apps.values().flat_map(|app| app.services.values()).map(|service| &service.environment);
            let gets: Vec<(String, String)> =
                environments.flatten().map(|(name, value)| (name.to_string(), value.clone())).collect();
            prop_assert_eq!(explained, gets);
        }
    }

    #[test]
    fn no_bytes_anywhere_make_it_panic(
        file in 0..EDITS.len(),
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[-a-z0-9:{}\\[\\]&*<>|!?#'\",\n \t.%@`=~]{0,120}".prop_map(String::into_bytes),
            ("(all|branch|pins|variables|services|hosts|children|vars|image|ports|version): ", "[-a-z0-9:{}\\[\\], \n]{0,60}")
                .prop_map(|(key, rest)| format!("{key}{rest}").into_bytes()),
        ],
    ) {
        let mut at = snapshot(&[]);
        at.entries.extend(Snapshot::of_files([(EDITS[file].0, bytes.as_slice())]).entries);
        let desired = Resolver::default().resolve(&at);
        crate::domain::finding::render_findings(&desired.findings);
    }

    #[test]
    fn no_path_makes_it_panic(path in "(group_vars|host_vars|releases|os|inventory)(/[a-z.~ -]{0,8}){0,5}", text in ".{0,20}") {
        let mut at = snapshot(&[]);
        at.entries.extend(Snapshot::of_files([(path.as_str(), text.as_bytes())]).entries);
        Resolver::default().resolve(&at);
    }
}

#[test]
fn what_is_not_used_any_more_is_forgotten() {
    let mut resolver = Resolver::default();
    let plain = snapshot(&[]);
    resolver.resolve(&plain);
    let kept = resolver.kept();
    for n in 0..100 {
        let text = format!("variables: {{A: {n}}}\n");
        resolver.resolve(&snapshot(&[("group_vars/all.yml", &text), ("host_vars/a.yml", &text)]));
    }
    // Several values change with each of these commits, and each lives for a number of turns.
    assert!(resolver.kept() <= kept + 10 * KEPT_TURNS as usize, "{} values are kept", resolver.kept());
    (0..2 * KEPT_TURNS).for_each(|_| {
        resolver.resolve(&plain);
    });
    assert_eq!(resolver.kept(), kept);
}

#[test]
fn equal_content_is_shared_and_not_made_again() {
    let mut resolver = Resolver::default();
    let before = resolver.resolve(&snapshot(&[]));
    let after = resolver.resolve(&snapshot(&[("host_vars/a.yml", "variables: {A: 1}\n")]));
    for (device, shared) in [("a", false), ("b", true), ("c", true)] {
        let device = device.parse::<super::DeviceId>().expect("a name");
        let same = std::sync::Arc::ptr_eq(&before.devices[&device], &after.devices[&device]);
        assert_eq!(same, shared, "{device}");
    }
}

#[test]
fn devices_that_say_nothing_of_their_own_share_one_outcome_unless_a_template_could_tell_them_apart() {
    let shared = |text: &str| {
        let files =
            [("group_vars/all.yml", text), ("inventory.yml", "all: {hosts: {a: , b: , c: {tags: {own: yes}}}}\n")];
        let desired = Resolver::default().resolve(&snapshot(&files));
        let at = |device: &str| desired.devices[&device.parse::<super::DeviceId>().expect("a name")].clone();
        (std::sync::Arc::ptr_eq(&at("a"), &at("b")), std::sync::Arc::ptr_eq(&at("a"), &at("c")))
    };
    assert_eq!(shared("branch: main\n"), (true, false));
    assert_eq!(shared("branch: main\nfree: '{{ inventory_hostname }}'\n"), (false, false));
}
