//! The list of devices that the controller's registry makes, for fleet repos that say `inventory: registry`.
//!
//! It has the shape of `ansible-inventory --list`, so that it is read, kept, compared and shown like any other list. Only what a repo
//! lets count is in it: two states of the registry that mean the same to the repo are the same bytes.

use super::fleet::{DeviceRecord, FleetState, Listing};
use super::ids::{AttributeName, DeviceId};
use super::manifest::listed_by::RegistryRules;
use super::plan::pass::is_enrolled;
use std::collections::{BTreeMap, BTreeSet};

/// The attribute that names a device's groups, with commas between them.
pub const GROUPS: &str = "groups";
/// The attribute that names the stage that a device follows.
pub const BRANCH: &str = "branch";
/// What the group of devices without a group is called.
const UNGROUPED: &str = "ungrouped";

/// Whether the registry lists a device: what an operator said, else whether it is enrolled.
pub fn is_listed(record: &DeviceRecord) -> bool {
    match record.registry.as_ref().and_then(|registry| registry.registered.as_ref()) {
        Some(registered) => match registered.listing {
            Listing::Listed => true,
            Listing::Unlisted => false,
        },
        None => is_enrolled(record),
    }
}

/// The names in the text of [`GROUPS`].
pub fn group_names(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|name| !name.is_empty())
}

/// Writes the list.
pub fn list(state: &FleetState, rules: &RegistryRules) -> String {
    let mut groups: BTreeMap<&str, Vec<&DeviceId>> = BTreeMap::new();
    let mut vars = String::new();
    for (device, record) in state.devices.iter().filter(|(_, record)| is_listed(record)) {
        let attribute = |name: &str| {
            let attributes = &record.registry.as_ref()?.attributes;
            attributes.iter().find(|(known, _)| known.as_str() == name).map(|(_, attribute)| attribute.value.as_str())
        };
        let named: BTreeSet<&str> = attribute(GROUPS).into_iter().flat_map(group_names).collect();
        for group in &named {
            groups.entry(group).or_default().push(device);
        }
        if named.is_empty() {
            groups.entry(UNGROUPED).or_default().push(device);
        }
        host_vars(device, record, rules, &mut vars);
    }
    let mut text = format!("{{\"_meta\":{{\"hostvars\":{{{vars}}}}}");
    for (group, devices) in groups {
        text.push(',');
        quoted(group, &mut text);
        text.push_str(":{\"hosts\":[");
        for (index, device) in devices.into_iter().enumerate() {
            text.push_str(if index == 0 { "\n" } else { ",\n" });
            quoted(device.as_str(), &mut text);
        }
        text.push_str("]}");
    }
    text.push_str("}\n");
    text
}

/// The attributes of a device that are its variables, if there are any.
fn host_vars(device: &DeviceId, record: &DeviceRecord, rules: &RegistryRules, out: &mut String) {
    let Some(registry) = &record.registry else { return };
    let counts = |name: &AttributeName| name.as_str() == BRANCH || rules.vars.contains(name);
    let mut any = false;
    for (name, attribute) in registry.attributes.iter().filter(|(name, _)| counts(name)) {
        if any {
            out.push(',');
        } else {
            out.push_str(if out.is_empty() { "\n" } else { ",\n" });
            quoted(device.as_str(), out);
            out.push_str(":{");
            any = true;
        }
        quoted(name.as_str(), out);
        out.push(':');
        quoted(&attribute.value, out);
    }
    if any {
        out.push('}');
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).expect("a text can be written as JSON"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Digest;
    use crate::domain::fleet::{Identity, IdentityStatus, Registered, Registry, RegistryAttribute};
    use crate::domain::ids::Actor;
    use crate::domain::time::Timestamp;
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn record(status: Option<IdentityStatus>, attributes: &[(&str, &str)], listing: Option<Listing>) -> DeviceRecord {
        let identity = status.map(|status| {
            let key_hash = Digest::of(b"key");
            Arc::new(Identity {
                key_hash,
                status,
                since: NOW,
                actor: None,
                attributes: BTreeMap::new(),
                contender: None,
            })
        });
        let attribute =
            |value: &str| RegistryAttribute { value: value.to_owned(), actor: Actor::controller(), since: NOW };
        let registry = Registry {
            attributes: attributes.iter().map(|(name, value)| (name.parse().unwrap(), attribute(value))).collect(),
            registered: listing.map(|listing| Registered { listing, actor: Actor::controller(), since: NOW }),
        };
        DeviceRecord { identity, registry: Some(Arc::new(registry)), ..DeviceRecord::default() }
    }

    #[test]
    fn it_lists_what_is_enrolled_or_registered_and_says_only_what_counts() {
        let mut state = FleetState::default();
        let enrolled = Some(IdentityStatus::Enrolled);
        for (device, record) in [
            ("a", record(enrolled, &[("groups", "kiosks, zurich"), ("branch", "canary"), ("rack", "4")], None)),
            ("b", record(enrolled, &[("site", "x\"y"), ("owner", "me")], None)),
            ("c", record(Some(IdentityStatus::Pending), &[("groups", "kiosks")], None)),
            ("d", record(None, &[("groups", "kiosks")], Some(Listing::Listed))),
            ("e", record(enrolled, &[("groups", "kiosks")], Some(Listing::Unlisted))),
            ("f", record(None, &[], None)),
        ] {
            state.devices.insert(device.parse().unwrap(), record);
        }
        let rules = RegistryRules { vars: BTreeSet::from(["site".parse().unwrap()]) };
        insta::assert_snapshot!(list(&state, &rules), @r#"
        {"_meta":{"hostvars":{
        "a":{"branch":"canary"},
        "b":{"site":"x\"y"}}},"kiosks":{"hosts":[
        "a",
        "d"]},"ungrouped":{"hosts":[
        "b"]},"zurich":{"hosts":[
        "a"]}}
        "#);
        insta::assert_snapshot!(list(&FleetState::default(), &rules), @r#"{"_meta":{"hostvars":{}}}"#);
    }
}
