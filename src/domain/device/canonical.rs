//! The one form in which a wanted service and a found container are compared.
//!
//! Both sides are brought to [`CanonicalService`]: what is wanted, by filling in what the image supplies by itself; what is
//! found, by reading the engine's description of the container. For every accepted key, applying a service and comparing
//! again must show no difference.

use crate::domain::spec::{Mount, Network, Port, Restart, ServiceSpec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What an image supplies when a service does not say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDefaults {
    /// The image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The image's command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The image's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The image's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The image's user, empty for root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The image's working directory, empty for `/`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
}

/// A service with nothing left to defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanonicalService {
    /// The reference that the container was made from.
    pub image: String,
    /// The entry point.
    pub entrypoint: Vec<String>,
    /// The command.
    pub command: Vec<String>,
    /// The whole environment, the image's included.
    pub environment: BTreeMap<String, String>,
    /// Labels without Bellwether's own.
    pub labels: BTreeMap<String, String>,
    /// The user.
    pub user: String,
    /// The working directory.
    pub working_dir: String,
    /// The restart policy.
    pub restart: Restart,
    /// Published ports.
    pub ports: BTreeSet<Port>,
    /// Mounted volumes by path.
    pub mounts: BTreeMap<String, Mount>,
    /// How it is connected.
    pub network: Network,
}

/// Brings a wanted service to its canonical form, given what its image supplies.
pub fn canonical(service: &ServiceSpec, image: &ImageDefaults) -> CanonicalService {
    let ServiceSpec {
        image: reference,
        entrypoint,
        command,
        environment,
        restart,
        ports,
        mounts,
        labels,
        user,
        working_dir,
        network,
        // Only the order of starting; it leaves no trace in the container.
        depends_on: _,
    } = service;
    // An entry point of one's own also drops the image's command: the engine does the same.
    let command = match (command, entrypoint) {
        (Some(command), _) => command.clone(),
        (None, Some(_)) => Vec::new(),
        (None, None) => image.command.clone(),
    };
    let mut whole_environment = image.environment.clone();
    whole_environment.extend(environment.iter().map(|(name, value)| (name.to_string(), value.clone())));
    let mut whole_labels = image.labels.clone();
    whole_labels.extend(labels.clone());
    CanonicalService {
        image: reference.clone(),
        entrypoint: entrypoint.clone().unwrap_or_else(|| image.entrypoint.clone()),
        command,
        environment: whole_environment,
        labels: whole_labels,
        // Engines take an empty user or directory for one that was not given.
        user: user.clone().filter(|user| !user.is_empty()).unwrap_or_else(|| image.user.clone()),
        working_dir: working_dir.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| image.working_dir.clone()),
        restart: *restart,
        ports: ports.clone(),
        mounts: mounts.clone(),
        network: *network,
    }
}

/// One field in which two canonical services differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDifference {
    /// Which field: `image`, `command`, … and for maps with the key: `environment.FOO`, `mounts./data`.
    pub field: String,
    /// What is wanted; `None` if nothing should be there.
    pub wanted: Option<String>,
    /// What was found; `None` if nothing is there.
    pub found: Option<String>,
}

/// Every field in which what was found differs from what is wanted, in a fixed order.
pub fn differences(wanted: &CanonicalService, found: &CanonicalService) -> Vec<FieldDifference> {
    let CanonicalService {
        image,
        entrypoint,
        command,
        environment,
        labels,
        user,
        working_dir,
        restart,
        ports,
        mounts,
        network,
    } = wanted;
    let mut all = Vec::new();
    let mut compare = |field: &str, wanted: String, found: String| {
        if wanted != found {
            all.push(FieldDifference { field: field.to_owned(), wanted: Some(wanted), found: Some(found) });
        }
    };
    compare("image", image.clone(), found.image.clone());
    compare("entrypoint", show(entrypoint), show(&found.entrypoint));
    compare("command", show(command), show(&found.command));
    compare("user", user.clone(), found.user.clone());
    compare("working_dir", working_dir.clone(), found.working_dir.clone());
    compare("restart", show(restart), show(&found.restart));
    compare("ports", show(ports), show(&found.ports));
    compare("network", show(network), show(&found.network));
    compare_maps("mounts", mounts, &found.mounts, show, &mut all);
    compare_maps("labels", labels, &found.labels, String::clone, &mut all);
    compare_maps("environment", environment, &found.environment, String::clone, &mut all);
    all
}

fn compare_maps<V: PartialEq>(
    field: &str,
    wanted: &BTreeMap<String, V>,
    found: &BTreeMap<String, V>,
    show: impl Fn(&V) -> String,
    all: &mut Vec<FieldDifference>,
) {
    let keys: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    for key in keys {
        let (want, have) = (wanted.get(key), found.get(key));
        if want != have {
            all.push(FieldDifference {
                field: format!("{field}.{key}"),
                wanted: want.map(&show),
                found: have.map(&show),
            });
        }
    }
}

fn show<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("canonical values have only string keys, so they can be written as JSON")
}
