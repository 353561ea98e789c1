//! `compose.yml` of a release: the keys of the Compose specification that agents apply.
//!
//! [`table`] says what becomes of each key. Nothing is dropped silently. What reaches from a container to the host (bind mounts,
//! `privileged`) is refused, unless the controller's configuration allows it ([`HostRights`]).

mod depends;
mod forms;
mod health;
mod host;
mod mounts;
mod network;
mod own;
mod ports;
mod resources;
mod rights;
mod service;
pub mod table;
#[cfg(test)]
mod tests;
pub(super) mod units;
mod words;

pub use rights::{HostRights, Privileged};
pub use service::Rules;
pub use words::{Defaulted, FillError, Filled, fill, set};

use super::problems::{Problems, show};
use super::read::{self, Setting};
use super::yaml::{Field, Kind, Node, Span, parse};
use crate::domain::finding::codes;
use crate::domain::ids::{NetworkName, ServiceName, VariableName, VolumeName};
use crate::domain::spec::{Dependency, Mount, Network, NetworkSpec, ServiceSpec};
use std::collections::{BTreeMap, BTreeSet};

/// What the one service of the short form is called.
pub const SHORT_FORM_SERVICE: &str = "main";

/// The services of a release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compose {
    /// Services by name.
    pub services: BTreeMap<ServiceName, Service>,
    /// Declared volumes.
    pub volumes: BTreeSet<VolumeName>,
    /// Networks that are not as plain as they could be.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// `networks` and `volumes` at the top level as written, for people.
    pub declared: Vec<Field>,
}

/// One service as the release describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Where it is named.
    pub span: Span,
    /// Everything but the environment, which is left empty.
    pub spec: ServiceSpec,
    /// The environment that the release sets, with places.
    pub environment: BTreeMap<VariableName, Setting<String>>,
    /// It runs only where the device has one of these profiles; everywhere, if there are none.
    pub profiles: BTreeSet<String>,
    /// Dependencies that may be missing.
    pub optional: BTreeSet<ServiceName>,
    /// Its keys as written, for people; those that are handed to nobody are left out.
    pub written: Vec<Field>,
    /// Whether `network_mode` was written, for the short form.
    names_network_mode: bool,
}

impl Service {
    fn new(span: Span) -> Self {
        Self {
            span,
            spec: ServiceSpec::of_image(""),
            environment: BTreeMap::new(),
            profiles: BTreeSet::new(),
            optional: BTreeSet::new(),
            written: Vec::new(),
            names_network_mode: false,
        }
    }

    /// Whether it runs on a device with these profiles.
    pub fn runs_with(&self, profiles: &BTreeSet<String>) -> bool {
        self.profiles.is_empty() || !self.profiles.is_disjoint(profiles)
    }
}

/// Reads a Compose file. With errors among `problems` the result must not be used.
pub fn read(bytes: &[u8], rules: Rules<'_>, problems: &mut Problems) -> Compose {
    match parse(bytes) {
        Ok(Some(node)) if !node.is_null() => file(&node, rules, problems),
        Ok(_) => {
            read::missing(Span::default(), "the Compose file", "services", problems);
            Compose::default()
        }
        Err(error) => {
            problems.yaml(error);
            Compose::default()
        }
    }
}

fn file(node: &Node, rules: Rules<'_>, problems: &mut Problems) -> Compose {
    if let Kind::Map(map) = &node.kind
        && map.value("services").is_none()
        && map.value("image").is_some()
    {
        return short_form(node, rules, problems);
    }
    let mut compose = Compose::default();
    let mut named = false;
    let mut networks = BTreeSet::new();
    for field in table::FILE.fields(node, problems).unwrap_or_default() {
        if &*field.key.text != "services" {
            compose.declared.push(field.clone());
        }
        match &*field.key.text {
            "services" => {
                named = true;
                compose.services = services(&field.value, rules, problems);
            }
            "volumes" => compose.volumes = volumes(&field.value, problems),
            _ => (networks, compose.networks) = network::declared(&field.value, problems),
        }
    }
    if !named {
        read::missing(node.span, "the Compose file", "services", problems);
    }
    check_volumes(&compose, problems);
    check_networks(&compose.services, &networks, problems);
    check_dependencies(&mut compose.services, problems);
    compose
}

/// One service without `services`: on the host's network, with its data at `/data`.
fn short_form(node: &Node, rules: Rules<'_>, problems: &mut Problems) -> Compose {
    let name = ServiceName::new(SHORT_FORM_SERVICE).expect("a fixed text that keeps the rule");
    let Some(mut service) = service::read(node.span, node, rules, problems) else { return Compose::default() };
    let Kind::Map(map) = &node.kind else { return Compose::default() };
    let spec = &mut service.spec;
    if !service.names_network_mode && spec.ports.is_empty() && map.value("networks").is_none() {
        spec.network = Network::Host;
    }
    if map.value("volumes").is_none() {
        let volume = VolumeName::new("data").expect("a fixed text that keeps the rule");
        let (access, seeding) = Default::default();
        spec.mounts.insert("/data".to_owned(), Mount { volume, access, seeding });
    }
    let volumes = spec.mounts.values().map(|mount| mount.volume.clone()).collect();
    let mut compose = Compose { services: [(name, service)].into(), volumes, ..Compose::default() };
    check_networks(&compose.services, &BTreeSet::new(), problems);
    check_dependencies(&mut compose.services, problems);
    compose
}

fn services(node: &Node, rules: Rules<'_>, problems: &mut Problems) -> BTreeMap<ServiceName, Service> {
    let mut services = BTreeMap::new();
    let Some(map) = read::map(node, "`services`", problems) else { return services };
    if map.entries.is_empty() {
        problems.error(node.span, codes::MISSING_KEY, "`services` names no service");
    }
    for field in map.entries.iter().filter(|field| !field.key.text.starts_with("x-")) {
        let name = read::parse_name::<ServiceName>(&field.key.text, field.key.span, problems);
        let service = service::read(field.key.span, &field.value, rules, problems);
        if let (Some(name), Some(service)) = (name, service) {
            services.insert(name, service);
        }
    }
    services
}

/// Top-level `volumes`: names with nothing to say about them.
fn volumes(node: &Node, problems: &mut Problems) -> BTreeSet<VolumeName> {
    let mut volumes = BTreeSet::new();
    if node.is_null() {
        return volumes;
    }
    let Some(map) = read::map(node, "`volumes`", problems) else { return volumes };
    for field in map.entries.iter().filter(|field| !field.key.text.starts_with("x-")) {
        let fields = if field.value.is_null() { None } else { table::VOLUME_DEFINITION.fields(&field.value, problems) };
        for driver in fields.unwrap_or_default() {
            network::only(&driver.value, "local", problems);
        }
        volumes.extend(read::parse_name::<VolumeName>(&field.key.text, field.key.span, problems));
    }
    volumes
}

fn check_volumes(compose: &Compose, problems: &mut Problems) {
    for (name, service) in &compose.services {
        for mount in service.spec.mounts.values() {
            if !compose.volumes.contains(&mount.volume) {
                let message =
                    format!("the service `{name}` mounts the volume `{}`, which is not declared", mount.volume);
                let hint = format!("add `{}:` under `volumes:` at the top level", mount.volume);
                problems.error_hint(service.span, codes::UNDECLARED_VOLUME, message, hint);
            }
        }
    }
}

/// Networks must be declared. The default one is there anyway.
fn check_networks(
    services: &BTreeMap<ServiceName, Service>,
    declared: &BTreeSet<NetworkName>,
    problems: &mut Problems,
) {
    for (name, service) in services {
        let default = NetworkName::default_of_app();
        for network in service.spec.networks.keys().filter(|name| !declared.contains(*name) && **name != default) {
            let message = format!("the service `{name}` joins the network `{network}`, which is not declared");
            let hint = format!("add `{network}:` under `networks:` at the top level");
            problems.error_hint(service.span, codes::UNDECLARED_NETWORK, message, hint);
        }
    }
}

/// Dependencies must exist, and not go round in a circle. Those that may be missing, and are, are dropped.
fn check_dependencies(services: &mut BTreeMap<ServiceName, Service>, problems: &mut Problems) {
    let names: BTreeSet<ServiceName> = services.keys().cloned().collect();
    for service in services.values_mut() {
        let Service { spec, optional, .. } = service;
        spec.depends_on.retain(|Dependency { service, .. }| names.contains(service) || !optional.contains(service));
    }
    let mut left: BTreeMap<&ServiceName, BTreeSet<&ServiceName>> = BTreeMap::new();
    for (name, service) in &*services {
        let needed = service.spec.needed();
        for wanted in needed.iter().filter(|wanted| !names.contains(**wanted)) {
            let message = format!("the service `{name}` depends on `{wanted}`, which does not exist");
            let near = super::near::nearest(wanted.as_str(), names.iter().map(ServiceName::as_str));
            let hint =
                near.map_or_else(|| "name a service of this file".to_owned(), |near| format!("did you mean `{near}`?"));
            problems.error_hint(service.span, codes::COMPOSE_DEPENDENCY, message, hint);
        }
        left.insert(name, needed.into_iter().filter(|wanted| names.contains(*wanted)).collect());
    }
    while let Some(name) = left.iter().find(|(_, wanted)| wanted.is_empty()).map(|(name, _)| *name) {
        left.remove(name);
        left.values_mut().for_each(|wanted| {
            wanted.remove(name);
        });
    }
    check_hand_overs(services, problems);
    if let Some(name) = left.keys().next() {
        let around: Vec<&str> = left.keys().map(|name| name.as_str()).collect();
        let message = format!("these services wait for each other: {}", show(&around.join(", ")));
        let span = services.get(*name).map_or(Span::default(), |service| service.span);
        problems.error(span, codes::COMPOSE_DEPENDENCY, message);
    }
}

fn check_hand_overs(services: &BTreeMap<ServiceName, Service>, problems: &mut Problems) {
    let specs: Vec<(&ServiceName, &ServiceSpec)> =
        services.iter().map(|(name, service)| (name, &service.spec)).collect();
    for (name, service) in services {
        own::check_hand_over(name, service.span, &specs, problems);
    }
}
