//! What one device shall run: the one shape that planner, store, wire and ledger share.
//!
//! A spec holds content only: no commit, stage, time or rollout. Its digest is the SHA-256 of its payload bytes, in which
//! defaults are omitted; golden files pin it, because an upgrade of Bellwether must not retarget a fleet. Maps are ordered,
//! so the same content always has the same bytes.

mod host;
mod maintenance;
mod network;
mod options;
mod service;
#[cfg(test)]
mod tests;
mod update;

pub use host::{
    DeviceConfig, FileMode, FileModeError, HostFile, MAX_HOOKS, MAX_HOST_FILE_BYTES, MAX_HOST_FILES,
    MAX_HOST_FILES_BYTES, MAX_SYSCTL_BYTES, MAX_SYSCTLS, Subject, Trigger, TriggerError,
};
pub use maintenance::{Maintenance, Purpose};
pub use network::{Attachment, Network, NetworkSpec, NetworkSwitch, Subnet};
pub use options::{DeviceNode, Logging, MAX_STOP_GRACE_SECS, Namespace, Options, Switch, Ulimit};
pub use service::{
    Access, Bind, Dependency, HealthCheck, HealthTest, HostPath, Mount, Port, Renewal, Restart, Seeding, ServiceSpec,
    Transport, Until,
};
pub use update::{HANDOVER_TIMEOUT_SECS, MAX_HANDOVER_TIMEOUT_SECS, MAX_PROBES, Probe, ProbeCheck, Strategy, Update};

use super::digest::Digest;
use super::ids::{AppName, DeviceType, NetworkName, ServiceName, Version, VolumeName};
use super::secret::SecretRef;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The newest version of the spec's schema that this build knows. Agents refuse newer ones.
pub const SPEC_SCHEMA: u32 = 1;

/// The longest payload of one device's spec, in bytes. A device document is configuration, not data; a larger one is a
/// finding in the repo and a refusal on the device.
pub const MAX_SPEC_BYTES: usize = 1 << 20;

/// Everything that one device shall run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Version of this shape, [`SPEC_SCHEMA`].
    pub schema: u32,
    /// The kind of hardware, where the repo names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_type: Option<DeviceType>,
    /// The apps, each one release.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apps: BTreeMap<AppName, AppSpec>,
    /// The OS image; `None` leaves the OS alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<OsSpec>,
    /// Settings of the host and the agent.
    #[serde(default, skip_serializing_if = "DeviceConfig::is_default")]
    pub config: DeviceConfig,
    /// When things may be fetched and changed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub maintenance: Maintenance,
}

impl Default for DeviceSpec {
    fn default() -> Self {
        Self {
            schema: SPEC_SCHEMA,
            device_type: None,
            apps: BTreeMap::new(),
            os: None,
            config: DeviceConfig::default(),
            maintenance: Maintenance::default(),
        }
    }
}

/// One app at one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSpec {
    /// The release's version. A new version alone never restarts a service.
    pub release: Version,
    /// The services by name.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// Named volumes that the app declares.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<VolumeName>,
    /// Networks that are not as plain as they could be, by name. One that a service uses and that is not listed has every
    /// default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
}

impl AppSpec {
    /// The networks that services of the app use.
    pub fn used_networks(&self) -> BTreeMap<NetworkName, NetworkSpec> {
        let names = self.services.values().flat_map(ServiceSpec::network_names);
        names.map(|name| (name.clone(), self.networks.get(&name).cloned().unwrap_or_default())).collect()
    }
}

impl DeviceSpec {
    /// Every secret that the device needs.
    pub fn secrets(&self) -> BTreeSet<SecretRef> {
        let services = self.apps.values().flat_map(|app| app.services.values());
        let variables = services.flat_map(|service| service.secret_environment.values());
        let files = self.config.files.values().filter_map(|file| file.secret_content.as_ref());
        variables.chain(files).flat_map(|text| text.references().cloned()).collect()
    }
}

/// Whether a field has its default and is left out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The OS image that a device shall run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsSpec {
    /// The image's name in the catalog.
    pub name: String,
    /// The version that the device reports once the image runs.
    pub version: Version,
    /// Where the image is fetched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The image's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Its size in bytes, where the catalog states it; room is made sure of before the first byte is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Who brings the image to the device.
    #[serde(default, skip_serializing_if = "Transfer::is_download")]
    pub transfer: Transfer,
}

impl OsSpec {
    /// What tells images apart: the digest of its bytes, or without one, of everything that is said of it.
    pub fn key(&self) -> Digest {
        let said = || serde_json::to_string(self).expect("an image is a JSON object with text keys");
        self.digest.unwrap_or_else(|| Digest::of(said().as_bytes()))
    }

    /// An image of which nothing is known but name and version.
    pub fn named(name: &str, version: Version) -> Self {
        let transfer = Transfer::default();
        Self { name: name.to_owned(), version, url: None, digest: None, size_bytes: None, transfer }
    }
}

/// Who brings an OS image to the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transfer {
    /// The agent downloads it whole, and the updater installs the file.
    #[default]
    Download,
    /// The updater is given the address and reads what it needs, without room for the whole image.
    Stream,
}

impl Transfer {
    fn is_download(&self) -> bool {
        *self == Self::Download
    }
}

/// A spec with the exact bytes that its digest covers. Agents keep the bytes verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSpec {
    /// The meaning of the bytes.
    pub spec: Arc<DeviceSpec>,
    /// The bytes, JSON in UTF-8.
    pub payload: Arc<str>,
    /// SHA-256 of the bytes.
    pub digest: Digest,
}

/// Why bytes are not a spec that this build can run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Longer than [`MAX_SPEC_BYTES`].
    #[error("the spec is {size} bytes long; at most {MAX_SPEC_BYTES} are accepted")]
    TooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// Made by a newer Bellwether.
    #[error("the spec has schema version {schema}; this build knows versions up to {SPEC_SCHEMA}")]
    NewerSchema {
        /// The version that it names.
        schema: u64,
    },
    /// Not of the spec's shape.
    #[error("the spec is not of the expected shape: {reason}")]
    Malformed {
        /// What the parser said.
        reason: String,
    },
}

impl SealedSpec {
    /// Seals a spec: writes its payload and takes its digest.
    pub fn seal(spec: DeviceSpec) -> Self {
        let payload = serde_json::to_string(&spec).expect("a spec has only string keys, so it can be written as JSON");
        let digest = Digest::of(payload.as_bytes());
        Self { spec: Arc::new(spec), payload: payload.into(), digest }
    }

    /// Reads sealed bytes back. The bytes are kept as they are.
    pub fn open(payload: &str) -> Result<Self, SpecError> {
        if payload.len() > MAX_SPEC_BYTES {
            return Err(SpecError::TooLong { size: payload.len() });
        }
        /// Only the version, so that a newer shape is told apart from a broken one.
        #[derive(Deserialize)]
        struct Header {
            schema: u64,
        }
        let malformed = |error: serde_json::Error| SpecError::Malformed { reason: error.to_string() };
        let Header { schema } = serde_json::from_str(payload).map_err(malformed)?;
        if schema > u64::from(SPEC_SCHEMA) {
            return Err(SpecError::NewerSchema { schema });
        }
        let spec: DeviceSpec = serde_json::from_str(payload).map_err(malformed)?;
        Ok(Self { spec: Arc::new(spec), payload: payload.into(), digest: Digest::of(payload.as_bytes()) })
    }
}

impl Serialize for SealedSpec {
    fn serialize<S: serde::Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_str(&self.payload)
    }
}

impl<'de> Deserialize<'de> for SealedSpec {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let payload = std::borrow::Cow::<'de, str>::deserialize(input)?;
        Self::open(&payload).map_err(serde::de::Error::custom)
    }
}
