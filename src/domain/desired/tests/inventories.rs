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
    )]), @r#"
    group_vars/all.yml:3:10: warning surprising-type: `NO` without quotes is false in YAML 1.1 (write "NO" for the text, or false for what it is)
    group_vars/all.yml:4:11: warning surprising-type: `1.10` without quotes is 1.1 in YAML 1.1 (write "1.10" for the text, or 1.1 for what it is)
    group_vars/all.yml:5:7: warning surprising-type: `017` without quotes is 15 in YAML 1.1 (write "017" for the text, or 15 for what it is)
    group_vars/all.yml:6:8: warning surprising-type: `yes` without quotes is true in YAML 1.1 (write "yes" for the text, or true for what it is)
    a: main
    b: main
    c: main
    "#);
}

#[test]
fn what_ansible_refuses_in_a_vars_file_touches_its_devices() {
    insta::assert_snapshot!(resolved(&[
        ("host_vars/a.yml", "day: 2025-02-31\n"),
        ("host_vars/b.yml", "value: !secret x\n"),
        ("host_vars/c.yml", "$ANSIBLE_VAULT;1.1;AES256\n3132\n"),
    ]), @r"
    host_vars/a.yml:1:6: error bad-date: `2025-02-31` looks like a date, and there is none such (put it in quotes) [a]
    host_vars/b.yml:1:16: error unsupported-tag: Ansible does not know the tag `!secret` [b]
    host_vars/c.yml:1:1: error encrypted-file: the file is encrypted with Ansible Vault as a whole (encrypt single values with `ansible-vault encrypt_string`, or use `secret('NAME')`) [c]
    a: main (keeps what it has)
    b: main (keeps what it has)
    c: ? (keeps what it has)
    ");
}

#[test]
fn hosts_and_groups_may_not_be_mixed_up_in_silence() {
    insta::assert_snapshot!(resolved(&[(
        "inventory.yml",
        "all: {hosts: {a: , b: {branch: canary}}, children: {b: {hosts: {c: }}}}\n",
    )]), @r"
    inventory.yml:1:20: warning host-named-as-group: `b` is both a host and a group (Ansible gives the host's inline variables to the group)
    a: main
    b: canary
    c: main
    ");
    insta::assert_snapshot!(resolved(&[("inventory.yml", "all: {hosts: {1: }}\n")]), @"inventory.yml:1:15: error bad-name: `1` is not text in YAML, so it cannot name a host (put it in quotes) [commit]");
    insta::assert_snapshot!(resolved(&[("inventory.yml", "plugin: aws_ec2\n")]), @"inventory.yml:1:1: error not-an-inventory: this configures an inventory plugin, which only Ansible can run (write down what it finds: ansible-inventory --list --export --yaml) [commit]");
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
