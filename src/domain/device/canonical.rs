//! The one form in which a wanted service and a found container are compared.
//!
//! Both sides are brought to [`CanonicalService`]: what is wanted, by filling in what the image supplies by itself; what is
//! found, by reading the engine's description of the container. For every accepted key, applying a service and comparing
//! again must show no difference.

use super::concealing::conceal_service;
use crate::domain::ids::NetworkName;
use crate::domain::secret::SecretValues;
use crate::domain::spec::{
    Attachment, Bind, HealthCheck, HealthTest, Mount, Network, Options, Port, Restart, ServiceSpec,
};
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
    /// The image's health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// The signal by which the image wants to be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// A health check with nothing left to defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanonicalHealth {
    /// What is run; never [`HealthTest::Off`].
    pub test: HealthTest,
    /// Nanoseconds between two runs.
    pub interval_nanos: u64,
    /// Nanoseconds that one run may take.
    pub timeout_nanos: u64,
    /// Nanoseconds after the start in which failures do not count.
    pub start_period_nanos: u64,
    /// Nanoseconds between two runs in the start period.
    pub start_interval_nanos: u64,
    /// How many failures in a row make it unhealthy.
    pub retries: u32,
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
    ///
    /// Where a value holds a secret, the reference stands in its place.
    pub environment: BTreeMap<String, String>,
    /// Names of the variables whose values hold secrets. A literal that looks like a reference is not in here, so the two
    /// never compare as equal.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secret_variables: BTreeSet<String>,
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
    /// The app's networks that it joins; none is the default one alone, with nothing said about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<NetworkName, Attachment>,
    /// Mounted paths of the host by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub binds: BTreeMap<String, Bind>,
    /// The health check; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<CanonicalHealth>,
    /// The signal that stops it, with `SIG`; `None` is the usual one, `SIGTERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// What it asks of its container besides.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub options: Options,
    /// Where the folder of its update lock is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_folder: Option<String>,
}

fn is_plain(options: &Options) -> bool {
    *options == Options::default()
}

/// Brings a wanted service to its canonical form, given what its image supplies.
pub fn canonical(service: &ServiceSpec, image: &ImageDefaults) -> CanonicalService {
    let ServiceSpec {
        image: reference,
        entrypoint,
        command,
        environment,
        secret_environment,
        restart,
        ports,
        mounts,
        labels,
        user,
        working_dir,
        network,
        // Only the order of starting; it leaves no trace in the container.
        depends_on: _,
        networks,
        binds,
        healthcheck,
        stop_signal,
        options,
        // What the agent does from outside; neither leaves a trace in the container.
        update: _,
        probes: _,
        lock_folder,
    } = service;
    // An entry point of one's own also drops the image's command: the engine does the same.
    let command = match (command, entrypoint) {
        (Some(command), _) => command.clone(),
        (None, Some(_)) => Vec::new(),
        (None, None) => image.command.clone(),
    };
    let mut whole_environment = image.environment.clone();
    // Where both are there, values were put in for an engine: they win.
    whole_environment.extend(secret_environment.iter().map(|(name, text)| (name.to_string(), text.to_string())));
    whole_environment.extend(environment.iter().map(|(name, value)| (name.to_string(), value.clone())));
    let mut whole_labels = image.labels.clone();
    whole_labels.extend(labels.clone());
    CanonicalService {
        image: reference.clone(),
        entrypoint: entrypoint.clone().unwrap_or_else(|| image.entrypoint.clone()),
        command,
        environment: whole_environment,
        secret_variables: secret_environment.keys().map(ToString::to_string).collect(),
        labels: whole_labels,
        // Engines take an empty user or directory for one that was not given.
        user: user.clone().filter(|user| !user.is_empty()).unwrap_or_else(|| image.user.clone()),
        working_dir: working_dir.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| image.working_dir.clone()),
        restart: *restart,
        ports: ports.clone(),
        mounts: mounts.clone(),
        network: network.clone(),
        networks: networks_of(without_own_name(networks.clone(), options.hostname.as_deref())),
        binds: binds.clone(),
        healthcheck: health(healthcheck.as_ref(), image.healthcheck.as_ref()),
        stop_signal: signal(stop_signal.as_deref().or(image.stop_signal.as_deref())),
        options: options.clone().normalised(),
        lock_folder: lock_folder.clone(),
    }
}

/// Engines make the host name an alias by themselves, so as an alias it says nothing.
pub fn without_own_name(
    mut networks: BTreeMap<NetworkName, Attachment>,
    hostname: Option<&str>,
) -> BTreeMap<NetworkName, Attachment> {
    for attachment in networks.values_mut() {
        attachment.aliases.retain(|alias| Some(alias.as_str()) != hostname);
    }
    networks
}

/// Joining the default network alone, with nothing said about it, is the same as saying nothing.
pub fn networks_of(mut networks: BTreeMap<NetworkName, Attachment>) -> BTreeMap<NetworkName, Attachment> {
    if networks.len() == 1 && networks.get(&NetworkName::default_of_app()) == Some(&Attachment::default()) {
        networks.clear();
    }
    networks
}

/// A health check with what is not said taken from the image's, and then from what engines do by themselves.
pub fn health(own: Option<&HealthCheck>, image: Option<&HealthCheck>) -> Option<CanonicalHealth> {
    const SECOND: u64 = 1_000_000_000;
    fn said<T: Clone>(checks: [Option<&HealthCheck>; 2], pick: impl Fn(&HealthCheck) -> Option<T>) -> Option<T> {
        checks.into_iter().flatten().find_map(pick)
    }
    // To an engine zero is the same as nothing.
    let checks = [own, image];
    let nanos = |pick: fn(&HealthCheck) -> Option<u64>, default: u64| {
        said(checks, |check| pick(check).filter(|nanos| *nanos > 0)).unwrap_or(default)
    };
    match said(checks, |check| check.test.clone())? {
        HealthTest::Off => None,
        test @ (HealthTest::Command(_) | HealthTest::Shell(_)) => Some(CanonicalHealth {
            test,
            interval_nanos: nanos(|check| check.interval_nanos, 30 * SECOND),
            timeout_nanos: nanos(|check| check.timeout_nanos, 30 * SECOND),
            start_period_nanos: nanos(|check| check.start_period_nanos, 0),
            start_interval_nanos: nanos(|check| check.start_interval_nanos, 5 * SECOND),
            retries: said(checks, |check| check.retries.filter(|retries| *retries > 0)).unwrap_or(3),
        }),
    }
}

/// A signal as engines name it; `None` for the usual one.
pub fn signal(name: Option<&str>) -> Option<String> {
    let name = name.filter(|name| !name.is_empty())?.to_ascii_uppercase();
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let name = if is_number || name.starts_with("SIG") { name } else { format!("SIG{name}") };
    (name != "SIGTERM" && name != "15").then_some(name)
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
        secret_variables,
        labels,
        user,
        working_dir,
        restart,
        ports,
        mounts,
        network,
        networks,
        binds,
        healthcheck,
        stop_signal,
        options,
        lock_folder,
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
    compare("secret_variables", show(secret_variables), show(&found.secret_variables));
    compare("stop_signal", show(stop_signal), show(&found.stop_signal));
    compare("lock_folder", show(lock_folder), show(&found.lock_folder));
    compare_maps("networks", networks, &found.networks, show, &mut all);
    compare_maps("mounts", mounts, &found.mounts, show, &mut all);
    compare_maps("binds", binds, &found.binds, show, &mut all);
    compare_parts("healthcheck", healthcheck, &found.healthcheck, &mut all);
    compare_parts("", options, &found.options, &mut all);
    compare_maps("labels", labels, &found.labels, String::clone, &mut all);
    compare_maps("environment", environment, &found.environment, String::clone, &mut all);
    all
}

fn compare_maps<K: Ord + std::fmt::Display, V: PartialEq>(
    field: &str,
    wanted: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
    show: impl Fn(&V) -> String,
    all: &mut Vec<FieldDifference>,
) {
    let keys: BTreeSet<&K> = wanted.keys().chain(found.keys()).collect();
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

/// Compares two values of one type key by key as they are written, and maps in them entry by entry. A key that is added to the
/// type cannot be forgotten here.
fn compare_parts<T: Serialize>(field: &str, wanted: &T, found: &T, all: &mut Vec<FieldDifference>) {
    let value = |part: &T| serde_json::to_value(part).expect("canonical values have only string keys");
    let (wanted, found) = (value(wanted), value(found));
    if wanted == found {
        return;
    }
    let (mut wants, mut has) = (BTreeMap::new(), BTreeMap::new());
    leaves(field, wanted, 0, &mut wants);
    leaves(field, found, 0, &mut has);
    let keys: BTreeSet<&String> = wants.keys().chain(has.keys()).collect();
    for key in keys.into_iter().filter(|key| wants.get(*key) != has.get(*key)) {
        all.push(FieldDifference { field: key.clone(), wanted: wants.get(key).cloned(), found: has.get(key).cloned() });
    }
}

/// How deep parts are taken apart: keys, and entries of maps under them. What is deeper is one value.
const MAX_PARTS: usize = 2;

fn leaves(path: &str, value: serde_json::Value, depth: usize, all: &mut BTreeMap<String, String>) {
    match value {
        serde_json::Value::Null => {}
        serde_json::Value::Object(fields) if depth < MAX_PARTS => {
            for (key, value) in fields {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                leaves(&path, value, depth + 1, all);
            }
        }
        serde_json::Value::String(text) => all.extend([(path.to_owned(), text)]),
        value => all.extend([(path.to_owned(), value.to_string())]),
    }
}

fn show<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("canonical values have only string keys, so they can be written as JSON")
}

/// What stands for a value that cannot be shown and is not the wanted one.
pub const HIDDEN: &str = "(hidden)";

/// Takes every secret out of what an engine found, before anybody else sees it: where the value is the wanted one, the
/// reference stands in its place, otherwise [`HIDDEN`].
///
/// Elsewhere somebody may have copied a value by hand. What is wanted literally stays as it is: the repo has it, and a text that
/// only happens to hold the same letters must not look changed.
pub fn conceal(
    found: &mut CanonicalService,
    image: &ImageDefaults,
    wanted: Option<&ServiceSpec>,
    values: &SecretValues,
) {
    let none = BTreeMap::new();
    let secrets = wanted.map_or(&none, |service| &service.secret_environment);
    let literal = wanted.map(|service| canonical(service, image));
    let literal = literal.as_ref();
    for (name, value) in &mut found.environment {
        match secrets.get(name.as_str()) {
            Some(text) if text.fill(values).as_deref() == Ok(value) => *value = text.to_string(),
            Some(_) => HIDDEN.clone_into(value),
            None if found.secret_variables.contains(name) => HIDDEN.clone_into(value),
            None if literal.and_then(|wanted| wanted.environment.get(name)) == Some(value) => {}
            None => *value = values.conceal(value),
        }
    }
    conceal_service(found, literal, values);
}
