//! Releases, put together from the devices that have them.

use super::compose::{Blend, Part, compose};
use super::{Authored, ReleaseId};
use crate::domain::digest::Digest;
use crate::domain::ids::{AppName, DeviceId, ServiceName, VariableName, Version};
use crate::domain::spec::{AppSpec, Dependency, DeviceSpec, ServiceSpec};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// All releases.
pub(super) type Blends = BTreeMap<ReleaseId, Blend>;

/// What the devices of one release have of it.
type Having<'a> = Vec<(&'a DeviceId, &'a AppSpec)>;

/// Puts releases together. Of different things under one name that counts which most devices have.
pub(super) fn blend(
    specs: &[(&DeviceId, &DeviceSpec)],
    is_ours: &dyn Fn(&DeviceId) -> bool,
    authored: &mut Authored,
) -> Blends {
    let mut having: BTreeMap<ReleaseId, Having<'_>> = BTreeMap::new();
    for (device, spec) in specs {
        for (app, of_app) in &spec.apps {
            having.entry((app.clone(), of_app.release.clone())).or_default().push((device, of_app));
        }
    }
    having.into_iter().map(|(id, having)| (id.clone(), release(&id, &having, is_ours, authored))).collect()
}

fn release(
    (app, _): &ReleaseId,
    having: &Having<'_>,
    is_ours: &dyn Fn(&DeviceId) -> bool,
    authored: &mut Authored,
) -> Blend {
    let mut blend = Blend::default();
    let mut run_by: BTreeMap<&ServiceName, usize> = BTreeMap::new();
    if let Some((_, first)) = having.first() {
        (blend.volumes, blend.networks) = (first.volumes.clone(), first.networks.clone());
    }
    let ours: Having<'_> = having.iter().filter(|(device, _)| is_ours(device)).copied().collect();
    for (name, service) in usual(having).into_iter().chain(usual(&ours)) {
        blend.services.insert(name.clone(), Part::of(service));
    }
    for (device, of_app) in having {
        if is_ours(device) && (blend.volumes != of_app.volumes || blend.networks != of_app.networks) {
            authored.leave(Some(device), app.as_str(), "another device has the release with other volumes or networks");
        }
        for (name, service) in &of_app.services {
            *run_by.entry(name).or_default() += 1;
            add(&mut blend, name, service, of_app);
        }
    }
    for (name, part) in &mut blend.services {
        part.profile = (run_by.get(name) != Some(&having.len())).then(|| profile(app, name));
    }
    for (device, of_app) in having.iter().filter(|(device, _)| is_ours(device)) {
        for (name, service) in &of_app.services {
            let subject = format!("{app}/{name}");
            if blend.services.get(name).is_some_and(|part| !is_same(part, service, of_app)) {
                authored.leave(
                    Some(device),
                    &subject,
                    "another device has the release with this service made otherwise",
                );
            }
        }
    }
    if blend.services.is_empty() {
        authored.leave(None, app.as_str(), "no device runs a service of the release, and a release has at least one");
    }
    blend
}

/// The name of a profile that one service alone has.
fn profile(app: &AppName, service: &ServiceName) -> String {
    let name = format!("{app}.{service}");
    if ServiceName::new(&name).is_ok() { name } else { format!("service-{}", Digest::of(name.as_bytes()).short()) }
}

/// Each service as most of these devices have it.
fn usual<'a>(having: &Having<'a>) -> BTreeMap<&'a ServiceName, &'a ServiceSpec> {
    let mut votes: BTreeMap<&ServiceName, BTreeMap<String, (usize, &ServiceSpec)>> = BTreeMap::new();
    for (name, service) in having.iter().flat_map(|(_, of_app)| &of_app.services) {
        let written = serde_json::to_string(&plain(service)).expect("a service has text keys");
        votes.entry(name).or_default().entry(written).or_insert((0, service)).0 += 1;
    }
    let most = |of_one: BTreeMap<String, (usize, &'a ServiceSpec)>| {
        of_one.into_values().max_by_key(|(votes, _)| *votes).map(|(_, service)| service)
    };
    votes.into_iter().filter_map(|(name, of_one)| Some((name, most(of_one)?))).collect()
}

/// A service without what vars files say.
fn plain(spec: &ServiceSpec) -> ServiceSpec {
    ServiceSpec { environment: BTreeMap::new(), secret_environment: BTreeMap::new(), ..spec.clone() }
}

/// Takes in what one device has of a service.
fn add(blend: &mut Blend, name: &ServiceName, service: &ServiceSpec, of_app: &AppSpec) {
    let part = blend.services.entry(name.clone()).or_insert_with(|| Part::of(service));
    // The environment is what all have in common.
    part.spec.environment.retain(|name, value| service.environment.get(name) == Some(&*value));
    let known: BTreeSet<ServiceName> = part.spec.depends_on.iter().map(|one| one.service.clone()).collect();
    part.optional.extend(known.into_iter().filter(|other| !of_app.services.contains_key(other)));
    for dependency in &service.depends_on {
        if !part.spec.depends_on.iter().any(|one| one.service == dependency.service) {
            part.spec.depends_on.insert(dependency.clone());
            // A device before this one does without it.
            part.optional.insert(dependency.service.clone());
        }
    }
}

/// Whether the release gives the device this service, but for its environment.
fn is_same(part: &Part, service: &ServiceSpec, of_app: &AppSpec) -> bool {
    let beside = |one: &&Dependency| of_app.services.contains_key(&one.service);
    let depends_on = part.spec.depends_on.iter().filter(beside).cloned().collect();
    plain(&ServiceSpec { depends_on, ..part.spec.clone() }) == plain(service)
}

/// What a release gives a service by itself.
pub(super) fn given<'a>(
    blends: &'a Blends,
    app: &AppName,
    version: &Version,
    service: &ServiceName,
) -> Option<&'a BTreeMap<VariableName, String>> {
    Some(&blends.get(&(app.clone(), version.clone()))?.services.get(service)?.spec.environment)
}

/// Writes both files of every release.
pub(super) fn write(blends: &Blends, authored: &mut Authored) {
    for ((app, version), blend) in blends {
        let folder = format!("releases/{app}/{version}");
        authored.write(format!("{folder}/release.yml"), "", &json!({ "version": version.as_str() }));
        authored.write(format!("{folder}/compose.yml"), "", &compose(blend));
    }
}
