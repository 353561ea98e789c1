//! An app of devices as it is in another release than the one that they shall have.

use super::Resolver;
use crate::domain::desired::device::merge;
use crate::domain::desired::picture::{common, of_device};
use crate::domain::desired::secrets::SecretTable;
use crate::domain::desired::tree::Tree;
use crate::domain::desired::ways::app_in;
use crate::domain::desired::{InventorySource, Variant};
use crate::domain::ids::{AppName, DeviceId, Version};
use crate::domain::manifest::release::{Release, ReleaseStatus, Reversibility};
use crate::domain::snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why there is no such release that devices could be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoVariant {
    /// No such app.
    #[error("the commit has no app `{0}`")]
    UnknownApp(AppName),
    /// No such release.
    #[error("the commit has no release {release} of `{app}`; its newest are {newest}")]
    UnknownRelease {
        /// The app.
        app: AppName,
        /// The release.
        release: Version,
        /// The newest ones there are.
        newest: String,
    },
    /// It turned out to be bad.
    #[error("release {release} of `{app}` was invalidated: {reason}")]
    Invalidated {
        /// The app.
        app: AppName,
        /// The release.
        release: Version,
        /// Why.
        reason: String,
    },
    /// Its files have errors.
    #[error("release {release} of `{app}` has errors")]
    Broken {
        /// The app.
        app: AppName,
        /// The release.
        release: Version,
    },
}

impl Resolver {
    /// What an app is on devices when they have this release of it, with everything else that the snapshot says of them.
    pub fn variant(
        &mut self,
        snapshot: &Snapshot,
        source: &InventorySource,
        secrets: &SecretTable,
        (app, version): (&AppName, &Version),
        devices: &BTreeSet<DeviceId>,
    ) -> Result<Variant, NoVariant> {
        self.turn += 1;
        let super::Prepared { ground, gathered: _ } = self.prepare(&Tree::of_paths(common(snapshot)), source);
        let releases = ground.world.releases.get(app).ok_or_else(|| NoVariant::UnknownApp(app.clone()))?;
        let release = named(app, version, releases)?.clone();
        let irreversible = releases.iter().filter(|one| one.reversibility == Reversibility::Irreversible);
        let irreversible = irreversible.map(|one| one.precedence.clone()).collect();
        let mut variant = Variant {
            app: app.clone(),
            release: release.version.clone(),
            requires: release.requires.clone(),
            irreversible,
            reached_from: releases.iter().map(|one| (one.version.clone(), one.requires.clone())).collect(),
            apps: BTreeMap::new(),
            secrets: BTreeSet::new(),
        };
        for device in devices {
            let Some(host) = ground.inventory.hosts.get(device) else { continue };
            let tree = Tree::of_paths(of_device(snapshot, device.as_str()));
            let inputs = self.inputs(device, host, &ground.stacks, &tree.host_vars, &ground.world.fleet.rules);
            let merged = merge(device, &inputs);
            let types = &release.requires.device_types;
            let own = merged.device_type.as_ref().map(|asked| &asked.value);
            if !types.is_empty() && !own.is_some_and(|own| types.contains(own)) {
                variant.apps.insert(device.clone(), Err("it does not run on devices of its type".to_owned()));
                continue;
            }
            let (made, used) = app_in(device, &inputs, &merged, &release, secrets);
            variant.secrets.extend(used);
            variant.apps.insert(device.clone(), made);
        }
        Ok(variant)
    }
}

fn named<'a>(app: &AppName, version: &Version, releases: &'a [Arc<Release>]) -> Result<&'a Arc<Release>, NoVariant> {
    let (app, wanted) = (app.clone(), version.clone());
    let Some(release) = releases.iter().find(|one| one.version == *version) else {
        let newest: Vec<&str> = releases.iter().rev().take(5).map(|one| one.version.as_str()).collect();
        return Err(NoVariant::UnknownRelease { app, release: wanted, newest: newest.join(", ") });
    };
    match &release.status {
        _ if release.broken => Err(NoVariant::Broken { app, release: wanted }),
        ReleaseStatus::Invalidated { reason } => {
            Err(NoVariant::Invalidated { app, release: wanted, reason: reason.clone() })
        }
        ReleaseStatus::Final | ReleaseStatus::Draft => Ok(release),
    }
}
