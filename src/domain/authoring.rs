//! A fleet repo written from what devices were assigned: inventory, vars files, releases and OS images that mean just that.
//!
//! What devices share is written once: in a release, for all, or for a group; the rest stands with the device. A file is not
//! taken at its word: whoever writes one reads it back, and compares digests. What no file can say is listed with the reason.

pub mod compose;
mod fields;
#[cfg(test)]
mod laws;
mod layers;
mod own;
mod releases;
#[cfg(test)]
mod tests;
mod tree;
mod windows;
mod words;

use super::ids::{AppName, AttributeName, DeviceId, FleetName, ServiceName, StageName, Version};
use super::manifest::compose::{HostRights, Privileged};
use super::manifest::yaml::print::to_yaml;
use super::registered::{BRANCH, GROUPS, group_names};
use super::spec::{DeviceSpec, Switch};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One device of a running fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    /// The stage that owns it; `None` if none does.
    pub stage: Option<StageName>,
    /// What operators say of it.
    pub attributes: BTreeMap<AttributeName, String>,
    /// What it was told to run; `None` if nothing yet.
    pub spec: Option<Arc<DeviceSpec>>,
}

impl Member {
    fn groups(&self) -> BTreeSet<&str> {
        let text = self.attributes.iter().find(|(name, _)| name.as_str() == GROUPS).map(|(_, text)| text.as_str());
        // These two are there anyway.
        group_names(text.unwrap_or_default()).filter(|name| !matches!(*name, "all" | "ungrouped")).collect()
    }
}

/// Something that the files do not say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unsaid {
    /// The device that misses it; `None` if it is nobody's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// What it is.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// The files of one stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authored {
    /// Contents by path.
    pub files: BTreeMap<String, String>,
    /// What they do not say.
    pub unsaid: BTreeSet<Unsaid>,
}

impl Authored {
    fn write(&mut self, path: String, about: &str, content: &Value) {
        self.files.insert(path, format!("{about}{}", to_yaml(content)));
    }

    fn leave(&mut self, device: Option<&DeviceId>, subject: impl Into<String>, reason: impl Into<String>) {
        self.unsaid.insert(Unsaid { device: device.cloned(), subject: subject.into(), reason: reason.into() });
    }
}

/// What devices have of their hosts already: nobody has to allow it anew to read the files.
pub fn rights<'a>(specs: impl IntoIterator<Item = &'a DeviceSpec>) -> HostRights {
    let mut rights = HostRights::default();
    for service in specs.into_iter().flat_map(|spec| spec.apps.values()).flat_map(|app| app.services.values()) {
        rights.host_paths.extend(service.binds.values().map(|bind| bind.source.clone()));
        if service.options.switches.contains(&Switch::Privileged) {
            rights.privileged = Privileged::Allowed;
        }
    }
    rights
}

/// The files of a stage's branch. Where devices have different things under one name, those that the stage owns are right: what
/// other stages have of that name stands on their branches.
pub fn author(fleet: &FleetName, members: &BTreeMap<DeviceId, Member>, stage: &StageName) -> Authored {
    let mut authored = Authored::default();
    let mut ranked: Vec<(&DeviceId, &Member)> = members.iter().collect();
    ranked.sort_by_key(|(_, member)| member.stage.as_ref() != Some(stage));
    let is_ours = |device: &DeviceId| members.get(device).is_some_and(|member| member.stage.as_ref() == Some(stage));
    let specs: Vec<(&DeviceId, &DeviceSpec)> =
        ranked.iter().filter_map(|(device, member)| Some((*device, member.spec.as_deref()?))).collect();

    let blends = releases::blend(&specs, &is_ours, &mut authored);
    releases::write(&blends, &mut authored);
    tree::images(&specs, &is_ours, &mut authored);
    let names = layers::service_names(&blends);
    let mut said = BTreeMap::new();
    for (device, spec) in &specs {
        let stage = members.get(*device).and_then(|member| member.stage.as_ref());
        let mut own = Authored::default();
        let reading = layers::Reading {
            blends: &blends,
            names: &names,
            device,
            authored: &mut own,
            said: layers::Said::default(),
        };
        said.insert((*device).clone(), reading.of(spec, stage));
        if is_ours(device) {
            authored.unsaid.append(&mut own.unsaid);
        }
    }
    let groups = tree::groups(members, &mut authored);
    let layers = layers::lay(&said, &tree::with_files(&groups));
    tree::inventory(members, &groups, &mut authored);
    tree::vars(members, &layers, &mut authored);
    tree::fleet_file(fleet, &mut authored);
    authored
}

/// One release of one app.
type ReleaseId = (AppName, Version);
/// One service of one app, whatever the release.
type ServiceId = (AppName, ServiceName);
