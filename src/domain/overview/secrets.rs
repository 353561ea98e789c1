//! Which secrets a fleet refers to, and who uses them. Values are not known here, nor anything about them.

use crate::domain::desired::{Branch, Desired};
use crate::domain::ids::{DeviceId, SecretName, StageName};
use crate::domain::spec::DeviceSpec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many devices are named for one secret. All are counted.
pub const MAX_NAMED: usize = 1000;

/// A secret that devices of a stage refer to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRow {
    /// Its name.
    pub name: SecretName,
    /// The stage whose commit refers to it.
    pub stage: StageName,
    /// Whether there is a value that can be delivered.
    pub value: SecretValue,
    /// The provider that has it, or that could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Why there is no value, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Services that get it, as `app/service`, on any device.
    pub services: BTreeSet<String>,
    /// How many devices use it.
    pub device_count: usize,
    /// The devices that use it, at most [`MAX_NAMED`].
    pub devices: BTreeSet<DeviceId>,
}

/// The secrets of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsAnswer {
    /// By stage and name.
    pub secrets: Vec<SecretRow>,
    /// Stages whose commit has not been read, so that nothing is known of their secrets.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unread: BTreeSet<StageName>,
}

/// Whether there is a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretValue {
    /// There is.
    Present,
    /// Every provider was asked, and none has it.
    Missing,
    /// A provider has it, and nothing is in it.
    Empty,
    /// A provider has it, and it cannot be delivered.
    Unusable,
    /// A provider could not be asked, so it is not known.
    Unavailable,
}

impl SecretValue {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::Unusable => "unusable",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What providers say of a secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Whether there is a value.
    pub value: SecretValue,
    /// The provider that has it, or that could not be asked.
    pub provider: Option<String>,
    /// Why there is no value.
    pub reason: Option<String>,
}

/// Who uses a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// Services, as `app/service`.
    pub services: BTreeSet<String>,
    /// Devices.
    pub devices: BTreeSet<DeviceId>,
}

/// Who uses each secret in what the commit of a stage means: devices that follow the stage, may choose it, or whose branch is not
/// known. A device without content is counted with the secrets that its files name.
pub fn users(desired: &Desired, stage: &StageName) -> BTreeMap<SecretName, Users> {
    let mut all: BTreeMap<SecretName, Users> = BTreeMap::new();
    let follows = |branch: &Branch| match branch {
        Branch::Stage(own) => own == stage,
        Branch::FromDevice { allowed } => allowed.contains(stage),
        Branch::Unknown => true,
        Branch::Unset => false,
    };
    for (id, device) in desired.devices.iter().filter(|(_, device)| follows(&device.branch)) {
        for name in &device.secrets {
            all.entry(name.clone()).or_default().devices.insert(id.clone());
        }
        for (service, name) in device.spec.iter().flat_map(|sealed| references(&sealed.spec)) {
            all.entry(name.clone()).or_default().services.insert(service);
        }
    }
    all
}

/// Each service of a device with each secret that it gets.
fn references(spec: &DeviceSpec) -> Vec<(String, &SecretName)> {
    let mut found = Vec::new();
    for (app, app_spec) in &spec.apps {
        for (service, service_spec) in &app_spec.services {
            let references = service_spec.secret_environment.values().flat_map(|text| text.references());
            found.extend(references.map(|reference| (format!("{app}/{service}"), &reference.name)));
        }
    }
    found
}

impl SecretRow {
    /// A row of these users.
    pub fn new(name: SecretName, stage: StageName, looked: Looked, users: Users) -> Self {
        let Users { services, devices } = users;
        let Looked { value, provider, reason } = looked;
        Self {
            name,
            stage,
            value,
            provider,
            reason,
            services,
            device_count: devices.len(),
            devices: devices.into_iter().take(MAX_NAMED).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::desired::Resolver;
    use crate::domain::snapshot::Snapshot;

    #[test]
    fn every_device_and_service_that_gets_a_secret_is_listed_with_it() {
        let compose = "services: {web: {image: 'web:1'}, db: {image: 'db:1'}}\n";
        let files = [
            ("inventory.yml", "all: {hosts: {a: , b: , c: , d: }}\n"),
            (
                "group_vars/all.yml",
                "branch: main\npins: {app: latest}\nservices: {web: {variables: {T: \"{{ secret('TOKEN') }}\"}}}\n",
            ),
            ("host_vars/b.yml", "variables: {K: \"{{ secret('KEY') }} {{ secret('TOKEN') }}\"}\n"),
            ("host_vars/c.yml", "services: {web: {variables: {T: null}}}\n"),
            ("host_vars/d.yml", "branch: other\n"),
            ("releases/app/1.0.0/release.yml", "version: 1.0.0\n"),
            ("releases/app/1.0.0/compose.yml", compose),
        ];
        let snapshot = Snapshot::of_files(files.into_iter().map(|(path, text)| (path, text.as_bytes())));
        let stage = "main".parse().expect("a stage");
        let shown = |(name, users): (SecretName, Users)| {
            let services: Vec<&str> = users.services.iter().map(String::as_str).collect();
            let devices: Vec<&str> = users.devices.iter().map(DeviceId::as_str).collect();
            format!("{name}: {} on {}", services.join(", "), devices.join(", "))
        };
        let all: Vec<String> = users(&Resolver::default().resolve(&snapshot), &stage).into_iter().map(shown).collect();
        assert_eq!(all, ["KEY: app/db, app/web on b", "TOKEN: app/db, app/web on a, b"]);
    }
}
