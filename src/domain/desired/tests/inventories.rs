//! What the inventory and free variables mean to a fleet.

use super::{resolved, show, snapshot};
use crate::domain::desired::{InventorySource, Resolver};
use crate::domain::manifest::inventory::Inventory;
use crate::domain::manifest::vars::KeyRules;
use std::sync::Arc;

#[test]
fn free_values_that_surprise_are_warned_of_and_typed_keys_are_not() {
    insta::assert_snapshot!(resolved(&[(
        "group_vars/all.yml",
        "branch: main\nvariables: {A: NO, B: 1.10}\ncountry: NO\nfirmware: 1.10\nmode: 017\nfine: [yes, true, 5, 1.5, text, 'NO']\n",
    )]), @"");
}

#[test]
fn what_ansible_refuses_in_a_vars_file_touches_its_devices() {
    insta::assert_snapshot!(resolved(&[
        ("host_vars/a.yml", "day: 2025-02-31\n"),
        ("host_vars/b.yml", "value: !secret x\n"),
        ("host_vars/c.yml", "$ANSIBLE_VAULT;1.1;AES256\n3132\n"),
    ]), @"");
}

#[test]
fn hosts_and_groups_may_not_be_mixed_up_in_silence() {
    insta::assert_snapshot!(resolved(&[(
        "inventory.yml",
        "all: {hosts: {a: , b: {branch: canary}}, children: {b: {hosts: {c: }}}}\n",
    )]), @"");
    insta::assert_snapshot!(resolved(&[("inventory.yml", "all: {hosts: {1: }}\n")]), @"");
    insta::assert_snapshot!(resolved(&[("inventory.yml", "plugin: aws_ec2\n")]), @"");
}

#[test]
fn an_inventory_from_elsewhere_means_the_same() {
    let text = "all: {children: {kiosks: {vars: {branch: canary}, hosts: {a: , b: {branch: main}}}}}\n";
    let files = snapshot(&[("inventory.yml", text), ("group_vars/all.yml", "pins: {app: latest}\n")]);
    let given = InventorySource::Given(Arc::new(Inventory::read_once(text.as_bytes(), &KeyRules::default())));
    let mut warm = Resolver::default();
    let desired = warm.resolve_with(&files, &given);
    assert_eq!(show(&desired), show(&Resolver::default().resolve(&files)));
    assert!(show(&desired).contains("a: canary app 1.0.0"), "{}", show(&desired));
    // The same value again is nothing new.
    let again = warm.resolve_with(&files, &given);
    let same = desired.devices.iter().zip(&again.devices).all(|((_, one), (_, other))| Arc::ptr_eq(one, other));
    assert!(same, "what is given twice is worked out once");
}
