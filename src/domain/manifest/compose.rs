//! `compose.yml` of a release: the keys of the Compose specification that agents apply.
//!
//! Every other key is a finding that names it; nothing is dropped silently. What reaches from a container to the host (bind
//! mounts, `privileged`) is refused.

mod keys;
mod mounts;
mod ports;
mod service;
#[cfg(test)]
mod tests;
mod words;

use super::problems::{Problems, show};
use super::read::{self, Extensions, Keys, Setting};
use super::vars::Strictness;
use super::yaml::{Node, Span, parse};
use crate::domain::finding::codes;
use crate::domain::ids::{ServiceName, VariableName, VolumeName};
use crate::domain::spec::ServiceSpec;
use std::collections::{BTreeMap, BTreeSet};

/// The services of a release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compose {
    /// Services by name.
    pub services: BTreeMap<ServiceName, Service>,
    /// Declared volumes.
    pub volumes: BTreeSet<VolumeName>,
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
}

/// Reads a Compose file. With errors among `problems` the result must not be used.
pub fn read(bytes: &[u8], strictness: Strictness, problems: &mut Problems) -> Compose {
    match parse(bytes) {
        Ok(Some(node)) if !node.is_null() => file(&node, strictness, problems),
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

fn file(node: &Node, strictness: Strictness, problems: &mut Problems) -> Compose {
    const KEYS: Keys = Keys {
        what: "a Compose file",
        known: &["services", "volumes", "networks", "name", "version"],
        later: &["configs", "secrets", "include", "models"],
        extensions: Extensions::Ignored,
    };
    let mut compose = Compose::default();
    let mut named = false;
    for field in read::fields(node, &KEYS, problems).unwrap_or_default() {
        match &*field.key.text {
            "services" => {
                named = true;
                compose.services = services(&field.value, strictness, problems);
            }
            "volumes" => compose.volumes = volumes(&field.value, problems),
            "networks" => networks(&field.value, problems),
            // The project's name and the old format's version: Compose itself ignores the second, and apps have names here.
            _ => {
                read::text(&field.value, "this", problems);
            }
        }
    }
    if !named {
        read::missing(node.span, "the Compose file", "services", problems);
    }
    check_volumes(&compose, problems);
    check_dependencies(&compose.services, problems);
    compose
}

fn services(node: &Node, strictness: Strictness, problems: &mut Problems) -> BTreeMap<ServiceName, Service> {
    let mut services = BTreeMap::new();
    let Some(map) = read::map(node, "`services`", problems) else { return services };
    if map.entries.is_empty() {
        problems.error(node.span, codes::MISSING_KEY, "`services` names no service");
    }
    for field in &map.entries {
        let name = read::parse_name::<ServiceName>(&field.key.text, field.key.span, problems);
        let service = service::read(field, strictness, problems);
        if let (Some(name), Some(service)) = (name, service) {
            services.insert(name, service);
        }
    }
    services
}

/// Top-level `volumes`: names with nothing to say about them.
fn volumes(node: &Node, problems: &mut Problems) -> BTreeSet<VolumeName> {
    const KEYS: Keys = Keys {
        what: "a volume",
        known: &[],
        later: &["driver", "driver_opts", "external", "labels", "name"],
        extensions: Extensions::Ignored,
    };
    let mut volumes = BTreeSet::new();
    if node.is_null() {
        return volumes;
    }
    let Some(map) = read::map(node, "`volumes`", problems) else { return volumes };
    for field in &map.entries {
        if !field.value.is_null() {
            read::fields(&field.value, &KEYS, problems);
        }
        volumes.extend(read::parse_name::<VolumeName>(&field.key.text, field.key.span, problems));
    }
    volumes
}

/// Top-level `networks`: only the default one, which every app has anyway.
fn networks(node: &Node, problems: &mut Problems) {
    const KEYS: Keys = Keys { what: "`networks`", known: &["default"], later: &[], extensions: Extensions::Ignored };
    const NETWORK: Keys = Keys {
        what: "a network",
        known: &["name"],
        later: &[
            "driver",
            "driver_opts",
            "attachable",
            "enable_ipv4",
            "enable_ipv6",
            "external",
            "internal",
            "ipam",
            "labels",
        ],
        extensions: Extensions::Ignored,
    };
    if node.is_null() {
        return;
    }
    for field in read::fields(node, &KEYS, problems).unwrap_or_default() {
        if !field.value.is_null() {
            for name in read::fields(&field.value, &NETWORK, problems).unwrap_or_default() {
                read::text(&name.value, "the network's name", problems);
            }
        }
    }
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

/// Dependencies must exist, and not go round in a circle.
fn check_dependencies(services: &BTreeMap<ServiceName, Service>, problems: &mut Problems) {
    let mut left: BTreeMap<&ServiceName, BTreeSet<&ServiceName>> = BTreeMap::new();
    for (name, service) in services {
        for wanted in &service.spec.depends_on {
            if !services.contains_key(wanted) {
                let message = format!("the service `{name}` depends on `{wanted}`, which does not exist");
                let near = super::near::nearest(wanted.as_str(), services.keys().map(ServiceName::as_str));
                let hint = near
                    .map_or_else(|| "name a service of this file".to_owned(), |near| format!("did you mean `{near}`?"));
                problems.error_hint(service.span, codes::COMPOSE_DEPENDENCY, message, hint);
            }
        }
        left.insert(name, service.spec.depends_on.iter().filter(|wanted| services.contains_key(*wanted)).collect());
    }
    while let Some(name) = left.iter().find(|(_, wanted)| wanted.is_empty()).map(|(name, _)| *name) {
        left.remove(name);
        left.values_mut().for_each(|wanted| {
            wanted.remove(name);
        });
    }
    if let Some(name) = left.keys().next() {
        let around: Vec<&str> = left.keys().map(|name| name.as_str()).collect();
        let message = format!("these services wait for each other: {}", show(&around.join(", ")));
        let span = services.get(*name).map_or(Span::default(), |service| service.span);
        problems.error(span, codes::COMPOSE_DEPENDENCY, message);
    }
}
