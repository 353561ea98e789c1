//! Files around the releases: inventory, vars files, OS images, `fleet.yml`.

use super::fields::Fields;
use super::layers::{Layers, Values};
use super::{Authored, BRANCH, GROUPS, Member};
use crate::domain::ids::{DeviceId, DeviceType, FleetName};
use crate::domain::manifest::inventory::INVENTORY_FILE;
use crate::domain::manifest::vars::is_typed_key;
use crate::domain::spec::{DeviceSpec, OsSpec, Transfer};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const FLEET: &str = "\
# What holds for the whole fleet. `bellwether schema fleet` lists every key.
# These files were written from a running fleet: they say what its devices were assigned.
";
const ALL: &str = "# What most devices have in common; groups and devices say what differs.\n";

/// The groups that operators named, with their devices.
pub(super) fn groups(
    members: &BTreeMap<DeviceId, Member>,
    authored: &mut Authored,
) -> BTreeMap<String, BTreeSet<DeviceId>> {
    let mut groups: BTreeMap<String, BTreeSet<DeviceId>> = BTreeMap::new();
    for (device, member) in members {
        for group in member.groups() {
            let unfit = group.len() > 128 || group.contains('/') || group.chars().any(char::is_control);
            if unfit {
                authored.leave(Some(device), format!("group {group}"), "an inventory has no group of this name");
            } else if group.parse().is_ok_and(|name: DeviceId| members.contains_key(&name)) {
                authored.leave(Some(device), format!("group {group}"), "a device has this name");
            } else {
                groups.entry(group.to_owned()).or_default().insert(device.clone());
            }
        }
    }
    groups
}

/// Whether a group of this name can have a file.
fn can_have_file(group: &str) -> bool {
    group.len() <= 200
        && group.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && group.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

pub(super) fn fleet_file(fleet: &FleetName, authored: &mut Authored) {
    authored.write("fleet.yml".to_owned(), FLEET, &json!({ "name": fleet.as_str() }));
}

pub(super) fn inventory(
    members: &BTreeMap<DeviceId, Member>,
    groups: &BTreeMap<String, BTreeSet<DeviceId>>,
    authored: &mut Authored,
) {
    let hosts = |devices: &mut dyn Iterator<Item = &DeviceId>| -> Map<String, Value> {
        devices.map(|device| (device.to_string(), Value::Null)).collect()
    };
    let grouped: BTreeSet<&DeviceId> = groups.values().flatten().collect();
    let mut all = Fields::default();
    all.map("hosts", hosts(&mut members.keys().filter(|device| !grouped.contains(device))));
    let child = |(group, devices): (&String, &BTreeSet<DeviceId>)| {
        (group.clone(), json!({ "hosts": hosts(&mut devices.iter()) }))
    };
    all.map("children", groups.iter().map(child));
    authored.write(INVENTORY_FILE.to_owned(), "", &json!({ "all": Value::from(all) }));
}

pub(super) fn vars(members: &BTreeMap<DeviceId, Member>, layers: &Layers, authored: &mut Authored) {
    let Layers { all, groups, devices } = layers;
    if !all.is_empty() {
        authored.write("group_vars/all.yml".to_owned(), ALL, &nested(all));
    }
    for (group, values) in groups {
        authored.write(format!("group_vars/{group}.yml"), "", &nested(values));
    }
    for (device, member) in members {
        let mut content = devices.get(device).map(nested).unwrap_or_default();
        for (name, value) in &member.attributes {
            match name.as_str() {
                GROUPS | BRANCH => {}
                typed if is_typed_key(typed) => {
                    let reason = "as a variable the attribute would have a meaning of its own";
                    authored.leave(Some(device), format!("registry.{typed}"), reason);
                }
                free => insert(&mut content, &[free.to_owned()], Value::from(value.as_str())),
            }
        }
        if member.spec.is_none() && member.stage.is_some() {
            let reason = "nothing was assigned to it when the repo was written";
            insert(&mut content, &["hold".to_owned()], json!({ "reason": reason }));
            let stage = member.stage.as_ref().map(|stage| Value::from(stage.as_str()));
            insert(&mut content, &["branch".to_owned()], stage.unwrap_or_default());
            authored.leave(Some(device), "the device", "nothing was assigned to it; the files put it on hold");
        }
        if !content.is_null() {
            authored.write(format!("host_vars/{device}.yml"), "", &content);
        }
    }
}

fn nested(values: &Values) -> Value {
    let mut content = Value::Null;
    for (path, value) in values {
        insert(&mut content, path, value.clone());
    }
    content
}

fn insert(content: &mut Value, path: &[String], value: Value) {
    let Some((key, rest)) = path.split_first() else {
        *content = value;
        return;
    };
    if !content.is_object() {
        *content = Value::Object(Map::new());
    }
    if let Value::Object(fields) = content {
        insert(fields.entry(key.clone()).or_insert(Value::Null), rest, value);
    }
}

/// One file for each name of an image, with an entry for each type of device.
pub(super) fn images(specs: &[(&DeviceId, &DeviceSpec)], is_ours: &dyn Fn(&DeviceId) -> bool, authored: &mut Authored) {
    let mut images: BTreeMap<&str, BTreeMap<&DeviceType, &OsSpec>> = BTreeMap::new();
    for (device, spec) in specs {
        let (Some(os), Some(own)) = (&spec.os, &spec.device_type) else { continue };
        let taken = *images.entry(&os.name).or_default().entry(own).or_insert(os);
        if taken != os && is_ours(device) {
            authored.leave(Some(*device), format!("os {}", os.name), "another device has another image of this name");
        }
    }
    for (name, entries) in images {
        let entries: Map<String, Value> = entries.into_iter().map(|(own, os)| (own.to_string(), image(os))).collect();
        authored.write(format!("os/{name}.yml"), "", &Value::Object(entries));
    }
}

fn image(os: &OsSpec) -> Value {
    let OsSpec { name: _, version, url, digest, size_bytes, transfer } = os;
    let mut fields = Fields::default();
    fields.some("version", Some(version.as_str()));
    fields.some("url", url.as_deref());
    fields.some("digest", digest.map(|digest| digest.to_string()));
    fields.some("size", *size_bytes);
    fields.some("streaming", (*transfer == Transfer::Stream).then_some(true));
    fields.into()
}

/// Leaves out the groups that can have no file of their own.
pub(super) fn with_files(groups: &BTreeMap<String, BTreeSet<DeviceId>>) -> BTreeMap<String, BTreeSet<DeviceId>> {
    groups
        .iter()
        .filter(|(group, _)| can_have_file(group))
        .map(|(name, devices)| (name.clone(), devices.clone()))
        .collect()
}
