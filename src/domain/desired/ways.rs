//! Releases that a device may have to go through on its way to the one that it shall have.
//!
//! A release can say from which ones it is reached. Which of those between a device needs depends on what it has, which a commit does
//! not know; so all that any device could need are kept with it, the nearest to the target first.

use super::device::{Environments, Inputs, Merged, Picked, app_spec};
use super::layers::Layers;
use super::scope::Scope;
use super::secrets::SecretTable;
use super::world::World;
use crate::domain::ids::{AppName, DeviceId, DeviceType, SecretName, Version};
use crate::domain::manifest::release::requires::Requirements;
use crate::domain::manifest::release::{Release, ReleaseStatus};
use crate::domain::spec::AppSpec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How many releases before a target are kept for each app of a device, the nearest first. Each costs what the app itself costs; a
/// way that needs more is a mistake.
pub const MAX_WAYPOINTS: usize = 16;

/// A release that a device may go through.
#[derive(Clone, Debug, PartialEq)]
pub struct Waypoint {
    /// The release.
    pub release: Version,
    /// What it asks for, above all where it is reached from itself.
    pub requires: Arc<Requirements>,
    /// What the app is then, with the variables that the commit has for the device.
    pub app: AppSpec,
}

/// An app of some devices as it is in one release, whatever they shall have.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The app.
    pub app: AppName,
    /// The release.
    pub release: Version,
    /// What it asks for.
    pub requires: Arc<Requirements>,
    /// All irreversible releases of the app, oldest first.
    pub irreversible: Vec<semver::Version>,
    /// What each release of the app asks for, above all where it is reached from.
    pub reached_from: BTreeMap<Version, Arc<Requirements>>,
    /// What it is on each device, or why it cannot be had there. Devices that the commit does not list are left out.
    pub apps: BTreeMap<DeviceId, Result<AppSpec, String>>,
    /// Secrets in it.
    pub secrets: BTreeSet<SecretName>,
}

/// Releases that devices may go through, by app.
pub type Ways = BTreeMap<AppName, Arc<[Waypoint]>>;

impl World {
    /// The releases through which this one may have to be reached, the nearest first. Nobody is led through a draft, or through one
    /// that turned out to be bad.
    pub fn before(&self, target: &Release, own: Option<&DeviceType>) -> Vec<Arc<Release>> {
        let mut found: Vec<Arc<Release>> = Vec::new();
        let Some(releases) = self.releases.get(&target.app) else { return found };
        let mut open = VecDeque::from([target.requires.clone()]);
        while let Some(requires) = open.pop_front() {
            // It is reached from every release, so nothing before it is ever needed.
            if requires.from.is_empty() {
                break;
            }
            for release in releases.iter().rev().filter(|one| leads_on(one, own)) {
                let known = |one: &Arc<Release>| Arc::ptr_eq(one, release);
                if release.precedence == target.precedence
                    || !requires.reachable_from(&release.version)
                    || found.iter().any(known)
                {
                    continue;
                }
                if found.len() == MAX_WAYPOINTS {
                    return found;
                }
                found.push(release.clone());
                open.push_back(release.requires.clone());
            }
        }
        found
    }
}

/// Whether devices of a type can be led through a release.
fn leads_on(release: &Release, own: Option<&DeviceType>) -> bool {
    let types = &release.requires.device_types;
    let runs = types.is_empty() || own.is_some_and(|own| types.contains(own));
    release.status == ReleaseStatus::Final && !release.broken && runs
}

/// What the apps of a device are on the ways to its releases. A release whose variables cannot be rendered leads nowhere.
pub(super) fn ways(layers: &Layers<'_>, merged: &Merged, picked: &Picked, environments: &mut Environments<'_>) -> Ways {
    let mut ways = Ways::new();
    for (app, before) in &picked.before {
        let mut waypoints = Vec::new();
        for release in before {
            let known = environments.drafts.len();
            let spec = app_spec(layers, merged, app, release, environments);
            let broken = environments.drafts.len() > known;
            environments.drafts.truncate(known);
            if !broken {
                let (release, requires) = (release.version.clone(), release.requires.clone());
                waypoints.push(Waypoint { release, requires, app: spec });
            }
        }
        if !waypoints.is_empty() {
            ways.insert(app.clone(), waypoints.into());
        }
    }
    ways
}

/// An app as it is on a device in some release, and the secrets in it.
pub(super) fn app_in(
    device: &DeviceId,
    inputs: &Inputs,
    merged: &Merged,
    release: &Release,
    secrets: &SecretTable,
) -> (Result<AppSpec, String>, BTreeSet<SecretName>) {
    let layers = inputs.layers();
    let scope = Scope::new(device, &inputs.stack.groups, &layers);
    let mut environments = Environments::new(&scope, secrets);
    let spec = app_spec(&layers, merged, &release.app, release, &mut environments);
    let made = environments.drafts.first().map_or(Ok(spec), |draft| Err(super::findings::sentence(draft)));
    (made, environments.used.into_keys().collect())
}
