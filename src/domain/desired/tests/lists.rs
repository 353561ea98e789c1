//! Devices that are listed outside the commit.

use super::{show, snapshot};
use crate::domain::desired::{Desired, InventorySource, Resolver};
use crate::domain::manifest::inventory::{Kept, read_list};
use crate::domain::manifest::vars::KeyRules;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const ELSEWHERE: (&str, &str) = ("fleet.yml", "inventory: {http: 'https://cmdb.example/fleet.json'}\n");

/// What the repo means with a list.
fn with_list(list: &str) -> String {
    let files = snapshot(&[ELSEWHERE]);
    let mut files = files;
    files.entries.remove("inventory.yml");
    let inventory = read_list(
        &"https://cmdb.example/fleet.json".into(),
        list.as_bytes(),
        &KeyRules::default(),
        &mut Kept::default(),
    );
    show(&Resolver::default().resolve_with(&files, &InventorySource::Given(Arc::new(inventory))))
}

#[test]
fn a_list_of_the_shape_of_ansibles_is_an_inventory() {
    let list = r#"{
        "_meta": {"hostvars": {"a": {"branch": "canary"}, "b": {"pins": {"app": "1.0.0"}}, "z": {"branch": "main"}}},
        "all": {"children": ["kiosks", "ungrouped"]},
        "kiosks": {"hosts": ["a", "b"], "vars": {"pins": {"app": "latest"}}},
        "spare": ["c"],
        "ungrouped": {}
    }"#;
    insta::assert_snapshot!(with_list(list), @r"
    https://cmdb.example/fleet.json:2:92: warning host-in-no-group: `z` has variables, and no group lists it (a device belongs into a group, such as `ungrouped`)
    a: canary app 1.0.0 web[FROM=compose]
    b: main app 1.0.0 web[FROM=compose]
    c: main
    ");
}

#[test]
fn a_list_that_cannot_be_read_is_no_fleet_and_says_why() {
    insta::assert_snapshot!(with_list("{\"kiosks\": {\"hosts\": [\"a\","), @"https://cmdb.example/fleet.json:1:27: error bad-json: this is no value of JSON (the list that was accepted last goes on counting) [commit]");
    insta::assert_snapshot!(with_list("<html>Bad gateway</html>"), @"https://cmdb.example/fleet.json:1:1: error bad-json: the list must be an object of groups [commit]");
    insta::assert_snapshot!(with_list(""), @"https://cmdb.example/fleet.json:1:1: error bad-json: the list must be an object of groups [commit]");
    insta::assert_snapshot!(with_list("{}"), @"https://cmdb.example/fleet.json: error empty-inventory: the inventory lists no devices (name them under `hosts:` of a group) [commit]");
    insta::assert_snapshot!(with_list("{\"_meta\": {\"hostvars\": {}}, \"kiosks\": {\"hosts\": []}}"), @"https://cmdb.example/fleet.json: error empty-inventory: the inventory lists no devices (name them under `hosts:` of a group) [commit]");
    insta::assert_snapshot!(with_list("{\"kiosks\": {\"host\": [\"a\"]}, \"b\": {\"hosts\": [1], \"children\": \"c\"}, \"d\": 1}"), @r"
    https://cmdb.example/fleet.json:1:13: error unknown-key: a group has no key `host` (known keys: children, hosts, vars) [commit]
    https://cmdb.example/fleet.json:1:45: error wrong-type: `hosts` must be a list of names [commit]
    https://cmdb.example/fleet.json:1:61: error wrong-type: `children` must be a list of names [commit]
    https://cmdb.example/fleet.json:1:72: error wrong-type: the group `d` must be an object or a list of hosts [commit]
    ");
}

#[test]
fn a_bad_value_of_one_host_touches_that_host_alone() {
    let list = r#"{"_meta": {"hostvars": {"a": {"branch": ["x"]}}}, "kiosks": {"hosts": ["a", "b"]}}"#;
    insta::assert_snapshot!(with_list(list), @r"
    https://cmdb.example/fleet.json:1:41: error branch-form: `branch` is a list (write a branch name, or `{from: device, allowed: [main, canary]}`) [a]
    a: ? (keeps what it has)
    b: main
    ");
}

#[test]
fn without_the_list_no_device_is_known_and_that_is_an_error() {
    insta::assert_snapshot!(super::resolved(&[ELSEWHERE]), @r"
    https://cmdb.example/fleet.json: error inventory-unavailable: the devices are listed by https://cmdb.example/fleet.json, and that list is not at hand: nobody gave one [commit]
    inventory.yml: warning inventory-ignored: the devices are listed by https://cmdb.example/fleet.json, so this file is not read (take it away, or take `inventory` out of fleet.yml)
    ");
    insta::assert_snapshot!(super::resolved(&[("fleet.yml", "inventory: registry\n")]), @r"
    inventory.yml: warning inventory-ignored: the devices are listed by the controller's registry, so this file is not read (take it away, or take `inventory` out of fleet.yml)
    registry: error inventory-unavailable: the devices are listed by the controller's registry, and that list is not at hand: nobody gave one [commit]
    ");
    insta::assert_snapshot!(super::resolved(&[("fleet.yml", "inventory: {http: 'http://plain.example/'}\n")]), @"fleet.yml:1:19: error bad-value: this is not an address that a list can be fetched from (write `https://…`; credentials belong into the controller's configuration) [commit]");
    insta::assert_snapshot!(super::resolved(&[("fleet.yml", "inventory: {http: 'https://me:secret@example/'}\n")]), @"fleet.yml:1:19: error bad-value: this is not an address that a list can be fetched from (write `https://…`; credentials belong into the controller's configuration) [commit]");
    insta::assert_snapshot!(super::resolved(&[("fleet.yml", "inventory: {registry: {vars: ['two words']}}\n")]), @"fleet.yml:1:31: error bad-name: `two words` is not a attribute name (a attribute name is a letter or `_`, then letters, digits or `_`, at most 64 in all) [commit]");
    insta::assert_snapshot!(super::resolved(&[("fleet.yml", "inventory: nowhere\n")]), @"fleet.yml:1:12: error bad-value: `nowhere` is no place where devices are listed (write `registry`, or `{http: https://…}`, or leave `inventory` out for inventory.yml) [commit]");
}

#[test]
fn devices_of_which_a_list_says_the_same_share_what_they_come_to() {
    let list = |c: &str| {
        format!(
            r#"{{"_meta": {{"hostvars": {{"a": {{"branch": "canary"}}, "b": {{"branch": "canary"}}, "c": {{"tags": {{"x": "{c}"}}}}}}}}, "g": ["a", "b", "c"]}}"#
        )
    };
    let mut files = snapshot(&[ELSEWHERE]);
    files.entries.remove("inventory.yml");
    let (mut resolver, mut kept) = (Resolver::default(), Kept::default());
    let mut resolve = |list: String, resolver: &mut Resolver| {
        let inventory = read_list(&"list".into(), list.as_bytes(), &KeyRules::default(), &mut kept);
        kept.sweep();
        resolver.resolve_with(&files, &InventorySource::Given(Arc::new(inventory)))
    };
    let one = resolve(list("one"), &mut resolver);
    assert!(Arc::ptr_eq(&one.devices["a"], &one.devices["b"]), "worked out once");
    assert_eq!(one.devices["c"].tags["x"], "one");
    // What a list no longer says is not kept for ever.
    let mut most = 0;
    for number in 0..40 {
        let next = resolve(list(&number.to_string()), &mut resolver);
        assert_eq!(next.devices["c"].tags["x"], number.to_string());
        assert!(Arc::ptr_eq(&one.devices["a"], &next.devices["a"]), "nothing is said anew of it");
        most = most.max(resolver.kept());
    }
    assert!(most < 40, "{most} values are kept");
}

#[test]
fn a_list_that_changes_in_one_place_gives_the_same_values_for_the_others() {
    let mut kept = Kept::default();
    let mut read = |b: &str| {
        let list = format!(
            r#"{{"_meta": {{"hostvars": {{"b": {{"tags": {{"x": "{b}"}}}}, "a": {{"tags": {{"y": "1"}}}}, "c": {{"tags": {{"y": "1"}}}}}}}}, "g": ["a", "b", "c"]}}"#
        );
        let inventory = read_list(&"list".into(), list.as_bytes(), &KeyRules::default(), &mut kept);
        kept.sweep();
        inventory
    };
    let (before, after) = (read("one"), read("another"));
    assert!(Arc::ptr_eq(&before.hosts["a"].vars[0], &after.hosts["a"].vars[0]), "kept from the list before");
    assert!(Arc::ptr_eq(&after.hosts["a"].vars[0], &after.hosts["c"].vars[0]), "written alike, so one value");
    assert!(!Arc::ptr_eq(&before.hosts["b"].vars[0], &after.hosts["b"].vars[0]));
}

/// Groups by number: hosts, children (only larger numbers), variables.
type Model = (BTreeMap<u8, (Vec<u8>, Vec<u8>, Map<String, Value>)>, BTreeMap<u8, Map<String, Value>>);

fn variables() -> impl Strategy<Value = Map<String, Value>> {
    let one = prop_oneof![
        prop_oneof![Just("main"), Just("canary")].prop_map(|stage| ("branch", json!(stage))),
        prop_oneof![Just("latest"), Just("1.0.0")].prop_map(|pin| ("pins", json!({"app": pin}))),
        any::<i16>().prop_map(|number| ("variables", json!({"N": number.to_string(), "T": "{{ site }}"}))),
        "[a-z]{1,4}".prop_map(|text| ("site", json!(text))),
        any::<i8>().prop_map(|number| ("ansible_group_priority", json!(number))),
    ];
    prop::collection::vec(one, 0..4)
        .prop_map(|all| all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn model() -> impl Strategy<Value = Model> {
    let group = (prop::collection::vec(0u8..8, 0..5), prop::collection::vec(1u8..6, 0..3), variables());
    let groups = prop::collection::btree_map(0u8..6, group, 1..6);
    let host = variables().prop_map(|mut vars| {
        vars.remove("ansible_group_priority");
        vars
    });
    (groups, prop::collection::btree_map(0u8..8, host, 0..8)).prop_map(|(mut groups, hosts)| {
        groups.entry(0).or_insert_with(|| (vec![0], Vec::new(), Map::new())).0.push(0);
        for (number, (_, children, _)) in &mut groups {
            children.retain(|child| child > number);
        }
        (groups, hosts)
    })
}

/// As `inventory.yml`; JSON is YAML.
fn as_inventory((groups, hosts): &Model) -> String {
    let vars_of = |host: &u8| hosts.get(host).cloned().unwrap_or_default();
    let named =
        |names: &[u8]| -> Map<String, Value> { names.iter().map(|name| (format!("g{name}"), json!({}))).collect() };
    let groups: Map<String, Value> = groups
        .iter()
        .map(|(number, (members, children, vars))| {
            let hosts: Map<String, Value> =
                members.iter().map(|host| (format!("h{host}"), json!(vars_of(host)))).collect();
            (format!("g{number}"), json!({"hosts": hosts, "children": named(children), "vars": vars}))
        })
        .collect();
    json!({"all": {"children": groups}}).to_string()
}

/// As a list.
fn as_list((groups, hosts): &Model) -> String {
    let mut list: Map<String, Value> = groups
        .iter()
        .map(|(number, (members, children, vars))| {
            let hosts: Vec<String> = members.iter().map(|host| format!("h{host}")).collect();
            let children: Vec<String> = children.iter().map(|child| format!("g{child}")).collect();
            (format!("g{number}"), json!({"hosts": hosts, "children": children, "vars": vars}))
        })
        .collect();
    let listed = |host: &u8| groups.values().any(|(members, _, _)| members.contains(host));
    let hostvars: Map<String, Value> =
        hosts.iter().filter(|(host, _)| listed(host)).map(|(host, vars)| (format!("h{host}"), json!(vars))).collect();
    list.insert("_meta".to_owned(), json!({"hostvars": hostvars}));
    Value::Object(list).to_string()
}

proptest! {
    #[test]
    fn a_list_of_the_same_content_as_an_inventory_means_the_same(model in model()) {
        let in_commit = snapshot(&[("inventory.yml", &as_inventory(&model)), ("group_vars/all.yml", "site: none\n")]);
        let expected = Resolver::default().resolve(&in_commit);
        let mut files = snapshot(&[ELSEWHERE, ("group_vars/all.yml", "site: none\n")]);
        files.entries.remove("inventory.yml");
        let list = as_list(&model);
        let inventory = read_list(&"list".into(), list.as_bytes(), &KeyRules::default(), &mut Kept::default());
        let found = Resolver::default().resolve_with(&files, &InventorySource::Given(Arc::new(inventory)));
        prop_assert!(found.rejection().is_none(), "{}", show(&found));
        // All but where things are written.
        let content = |desired: &Desired| -> Vec<_> {
            let devices = desired.devices.iter();
            devices.map(|(name, one)| (name.clone(), one.branch.clone(), one.spec.clone(), one.groups.clone())).collect()
        };
        prop_assert_eq!(content(&expected), content(&found));
    }

    #[test]
    fn no_list_makes_it_panic(list in "[\\[\\]{}:,\" a_metahostvars0-9]{0,80}") {
        let inventory = read_list(&"list".into(), list.as_bytes(), &KeyRules::default(), &mut Kept::default());
        prop_assert!(!inventory.findings.is_empty() || !inventory.hosts.is_empty());
    }
}
