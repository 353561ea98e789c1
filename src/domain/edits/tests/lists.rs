//! Changes of a fleet repo whose devices are listed elsewhere.

use super::*;
use crate::domain::manifest::inventory::{Inventory, Kept, read_list};
use crate::domain::manifest::vars::KeyRules;

const ELSEWHERE: (&str, &str) = ("fleet.yml", "inventory: registry\n");
const LIST: &str = r#"{"_meta": {"hostvars": {"b": {"branch": "main"}}}, "kiosks": {"hosts": ["a", "b"]}, "ungrouped": {"hosts": ["c"]}}"#;

fn listed() -> InventorySource {
    let inventory = read_list(&"registry".into(), LIST.as_bytes(), &KeyRules::default(), &mut Kept::default());
    InventorySource::Given(Arc::new(inventory))
}

fn missing() -> InventorySource {
    let why = FleetFile::read(&"fleet.yml".into(), ELSEWHERE.1.as_bytes()).listed_by.missing("nobody answers");
    InventorySource::Given(Arc::new(Inventory::missing(why)))
}

fn check(source: InventorySource, files: &[(&str, &str)], whose: &Whose) -> String {
    let files: Vec<(&str, &str)> = files.iter().copied().chain([ELSEWHERE]).collect();
    pin_on(&mut Desk::with_devices(&snapshot(&files), source), whose, Some("1.1.0"))
}

#[test]
fn a_change_is_judged_by_the_devices_of_the_list() {
    let none = [("inventory.yml", "-")];
    insta::assert_snapshot!(check(listed(), &none, &device("a")), @r"
    host_vars/a.yml (new)
    +pins:
    +  app: 1.1.0
    changes a; host_vars/a.yml is new: nothing is written there yet
    ");
    insta::assert_snapshot!(check(listed(), &none, &group("kiosks")), @r"
    group_vars/kiosks.yml (new)
    +pins:
    +  app: 1.1.0
    changes a b; group_vars/kiosks.yml is new: nothing is written there yet
    ");
    insta::assert_snapshot!(check(listed(), &none, &group("all")), @r"
    group_vars/all.yml
    -pins: { app: 1.0.0 }
    +pins: { app: 1.1.0 }
    changes a b c; group_vars/all.yml says it now
    ");
    insta::assert_snapshot!(check(listed(), &none, &device("d")), @"refused: the inventory has no device d");
    insta::assert_snapshot!(check(listed(), &none, &group("gateways")), @"refused: the inventory has no group gateways");
    // An inventory that nobody reads is not where a pin goes, and lists nobody.
    let unread = [("inventory.yml", "all:\n  hosts:\n    a: { pins: { app: 1.0.0 } }\n    d:\n")];
    insta::assert_snapshot!(check(listed(), &unread, &device("a")), @r"
    host_vars/a.yml (new)
    +pins:
    +  app: 1.1.0
    changes a; host_vars/a.yml is new: nothing is written there yet
    ");
    insta::assert_snapshot!(check(listed(), &unread, &device("d")), @"refused: the inventory has no device d");
}

#[test]
fn without_the_list_it_is_unknown_what_a_change_would_reach() {
    let none = [("inventory.yml", "-")];
    insta::assert_snapshot!(check(missing(), &none, &device("a")), @"refused: which devices it concerns is unknown: registry: the devices are listed by the controller's registry, and that list is not at hand: nobody answers");
    insta::assert_snapshot!(check(missing(), &none, &group("kiosks")), @"refused: which devices it concerns is unknown: registry: the devices are listed by the controller's registry, and that list is not at hand: nobody answers");
    insta::assert_snapshot!(check(missing(), &none, &group("all")), @"refused: which devices it concerns is unknown: registry: the devices are listed by the controller's registry, and that list is not at hand: nobody answers");

    let files = snapshot(&[("inventory.yml", "-"), ELSEWHERE]);
    let mut desk = Desk::with_devices(&files, missing());
    let found = report(&[("a", vec![difference(Layer::Apps, "app/web image", None, Some("x"))])]);
    let refused =
        suggest(&mut desk, &mut Resolver::default(), &found, Offered::Standing).expect_err("who is listed is unknown");
    insta::assert_snapshot!(refused, @"which devices it concerns is unknown: registry: the devices are listed by the controller's registry, and that list is not at hand: nobody answers");
    // A bad release is stopped all the same, and a new one made.
    let bad = Mark::Invalidated { reason: "eats the disk".to_owned() };
    let (app, version) = ("app".parse().expect("an app"), "1.1.0".parse().expect("a version"));
    mark(&mut desk, &app, &version, &bad).expect("the release is there");
    let effect = sound(&desk, &mut Resolver::default()).expect("it breaks nothing");
    assert!(effect.unknown().is_some_and(|finding| finding.code == "inventory-unavailable"));
}
