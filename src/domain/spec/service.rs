//! One service of an app.

use super::is_default;
use super::network::{Attachment, Network};
use super::options::Options;
use super::update::{Probe, Update};
use crate::domain::ids::{NetworkName, ServiceName, VariableName, VolumeName};
use crate::domain::secret::{SecretRef, SecretText, SecretValues};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// One service: one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// The image's reference, by digest (`host/name@sha256:…`) or by tag.
    pub image: String,
    /// Replaces the image's entry point. `None` keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command. `None` keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The effective environment: Compose, fleet, groups and host already merged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<VariableName, String>,
    /// Variables whose values hold secrets. None of them is in `environment`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_environment: BTreeMap<VariableName, SecretText>,
    /// What happens when the service ends.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: Restart,
    /// Published ports, sorted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ports: BTreeSet<Port>,
    /// Named volumes by the path where they are mounted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<String, Mount>,
    /// Labels of the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// User, or user and group, as Compose writes it. `None` keeps the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Working directory. `None` keeps the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// How the service is connected.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Network,
    /// Services of the same app that are started before this one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub depends_on: BTreeSet<Dependency>,
    /// The app's networks that it joins, where `network` is [`Network::App`]; none is the app's default one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub networks: BTreeMap<NetworkName, Attachment>,
    /// Paths of the host by the path where they are mounted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub binds: BTreeMap<String, Bind>,
    /// How it is found out whether it is well. `None` keeps the image's way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub healthcheck: Option<HealthCheck>,
    /// The signal that asks it to stop. `None` keeps the image's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop_signal: Option<String>,
    /// What it asks of its container besides.
    #[serde(default, skip_serializing_if = "is_default")]
    pub options: Options,
    /// How it gives way to a newer version of itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub update: Update,
    /// Where the folder of its update lock is mounted. `None` does not mount it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lock_folder: Option<String>,
    /// What the agent asks it from outside, by name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub probes: BTreeMap<String, Probe>,
}

impl ServiceSpec {
    /// A service that runs an image with every default.
    pub fn of_image(image: &str) -> Self {
        Self {
            image: image.to_owned(),
            entrypoint: None,
            command: None,
            environment: BTreeMap::new(),
            secret_environment: BTreeMap::new(),
            restart: Restart::default(),
            ports: BTreeSet::new(),
            mounts: BTreeMap::new(),
            labels: BTreeMap::new(),
            user: None,
            working_dir: None,
            network: Network::default(),
            depends_on: BTreeSet::new(),
            networks: BTreeMap::new(),
            binds: BTreeMap::new(),
            healthcheck: None,
            stop_signal: None,
            options: Options::default(),
            update: Update::default(),
            lock_folder: None,
            probes: BTreeMap::new(),
        }
    }

    /// The same service with values put in, as an engine gets it. The names of the variables that hold secrets stay in
    /// `secret_environment`, so that the engine can note them.
    pub fn with_secrets(&self, values: &SecretValues) -> Result<Self, SecretRef> {
        let mut filled = self.clone();
        for (name, text) in &self.secret_environment {
            filled.environment.insert(name.clone(), text.fill(values).map_err(SecretRef::clone)?);
        }
        Ok(filled)
    }

    /// The app's networks that it joins.
    pub fn network_names(&self) -> Vec<NetworkName> {
        match (&self.network, self.networks.is_empty()) {
            (Network::App, true) => vec![NetworkName::default_of_app()],
            (Network::App, false) => self.networks.keys().cloned().collect(),
            (Network::Host | Network::None | Network::Service(_), _) => Vec::new(),
        }
    }

    /// The services whose namespaces it joins. When one of them is made anew, so must this one.
    pub fn joined(&self) -> BTreeSet<&ServiceName> {
        let network = match &self.network {
            Network::Service(service) => Some(service),
            Network::App | Network::Host | Network::None => None,
        };
        network.into_iter().chain(self.options.joined()).collect()
    }

    /// Every service that must be there before this one is started.
    pub fn needed(&self) -> BTreeSet<&ServiceName> {
        self.depends_on.iter().map(|dependency| &dependency.service).chain(self.joined()).collect()
    }
}

/// Another service that is started before this one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// The other service.
    pub service: ServiceName,
    /// What has to be true of it.
    pub until: Until,
    /// What happens to this service when the other one is made anew.
    pub renewal: Renewal,
}

/// What has to be true of a service before those that depend on it are started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// It was started.
    #[default]
    Started,
    /// Its health check says that it is well.
    Healthy,
    /// It ran to its end, with status 0.
    Completed,
}

/// What happens to a service when one that it depends on is made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Renewal {
    /// Nothing.
    #[default]
    Kept,
    /// It is made anew as well.
    Restarted,
}

impl From<ServiceName> for Dependency {
    fn from(service: ServiceName) -> Self {
        Self { service, until: Until::default(), renewal: Renewal::default() }
    }
}

/// A plain dependency is a name alone, as it was before there were others: bytes of specs must not change.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenDependency {
    Plain(ServiceName),
    Full(FullDependency),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullDependency {
    service: ServiceName,
    #[serde(default, skip_serializing_if = "is_default")]
    until: Until,
    #[serde(default, skip_serializing_if = "is_default")]
    renewal: Renewal,
}

impl Serialize for Dependency {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let Self { service, until, renewal } = self.clone();
        match (until, renewal) {
            (Until::Started, Renewal::Kept) => WrittenDependency::Plain(service),
            (until, renewal) => WrittenDependency::Full(FullDependency { service, until, renewal }),
        }
        .serialize(output)
    }
}

impl<'de> Deserialize<'de> for Dependency {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Ok(match WrittenDependency::deserialize(input)? {
            WrittenDependency::Plain(service) => service.into(),
            WrittenDependency::Full(FullDependency { service, until, renewal }) => Self { service, until, renewal },
        })
    }
}

/// What happens when a service ends.
///
/// The default is `always`, unlike Compose's `no`: a device runs unattended, and a service that nobody restarts is a service
/// that nobody notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Started again whenever it ends.
    #[default]
    Always,
    /// Started again unless somebody stopped it by hand.
    UnlessStopped,
    /// Started again when it fails, at most this often; 0 is without limit.
    OnFailure(u32),
    /// Never started again: a service that runs to its end.
    No,
}

/// The transport of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The container's port.
    pub target: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// The host's port; `None` lets the engine choose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<u16>,
    /// The host's address; `None` is every address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<std::net::IpAddr>,
}

impl Port {
    /// Whether a host cannot publish both for two containers.
    pub fn clashes_with(&self, other: &Self) -> bool {
        let is_everywhere = self.host_ip.is_none() || other.host_ip.is_none();
        self.published.is_some()
            && self.published == other.published
            && self.transport == other.transport
            && (is_everywhere || self.host_ip == other.host_ip)
    }
}

/// Whether a mount can be written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Can be read and written.
    #[default]
    ReadWrite,
    /// Can only be read.
    ReadOnly,
}

/// A named volume at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// One of the app's volumes.
    pub volume: VolumeName,
    /// Whether it can be written to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access: Access,
    /// What a new volume begins with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seeding: Seeding,
}

/// What a volume begins with when it is mounted for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seeding {
    /// What the image has at that path.
    #[default]
    FromImage,
    /// Nothing.
    Empty,
}

/// A path of the host at a path of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// The path on the host.
    pub source: String,
    /// Whether it can be written to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access: Access,
    /// What happens when the host has no such path.
    #[serde(default, skip_serializing_if = "is_default")]
    pub host_path: HostPath,
    /// How mounts below it are handed on, such as `rslave`; `None` is `rprivate`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub propagation: Option<String>,
}

impl Bind {
    /// A path of the host that is there, to be read and written.
    pub fn of(source: &str) -> Self {
        let access = Access::ReadWrite;
        Self { source: source.to_owned(), access, host_path: HostPath::Required, propagation: None }
    }
}

/// What happens when the host does not have a path that is to be mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostPath {
    /// It is made, as a directory.
    #[default]
    Made,
    /// The service cannot be made.
    Required,
}

/// How it is found out whether a service is well. What is `None` is the image's, or else the engine's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What is run in the container.
    #[serde(default, skip_serializing_if = "is_default")]
    pub test: Option<HealthTest>,
    /// Nanoseconds between two runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interval_nanos: Option<u64>,
    /// Nanoseconds that one run may take.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeout_nanos: Option<u64>,
    /// Nanoseconds after the start in which failures do not count.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_period_nanos: Option<u64>,
    /// Nanoseconds between two runs in the start period.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_interval_nanos: Option<u64>,
    /// How many failures in a row make it unhealthy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: Option<u32>,
}

/// What a health check runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthTest {
    /// Nothing: there is no health check, whatever the image says.
    Off,
    /// A program with its arguments.
    Command(Vec<String>),
    /// A line for the image's shell.
    Shell(String),
}
