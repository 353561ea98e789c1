//! What devices can be pointed at: releases and OS images, the same for every device of a commit.

use super::picking::passed_over;
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, DeviceType};
use crate::domain::manifest::fleet_file::FleetFile;
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::os::{OsEntry, OsImage};
use crate::domain::manifest::problems::{Draft, show};
use crate::domain::manifest::release::requires::FromVersions;
use crate::domain::manifest::release::{Release, ReleaseStatus, Reversibility};
use crate::domain::manifest::vars::{Pin, ServiceKey};
use crate::domain::manifest::yaml::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Releases and OS images of one commit.
#[derive(Debug, Default)]
pub struct World {
    /// `fleet.yml`.
    pub fleet: Arc<FleetFile>,
    /// Releases by app, oldest first.
    pub releases: BTreeMap<AppName, Vec<Arc<Release>>>,
    /// OS images by name.
    pub os: BTreeMap<String, Arc<OsImage>>,
    /// Device types that some image or release names.
    pub device_types: BTreeSet<DeviceType>,
}

/// Where a device asks for something.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked<T> {
    /// What it asks for.
    pub value: T,
    /// The file.
    pub file: Arc<str>,
    /// Where in it.
    pub span: Span,
}

impl<T> Asked<T> {
    fn error(&self, code: crate::domain::finding::Code, message: String) -> Draft {
        Draft::error(&self.file, self.span, code, message)
    }
}

impl World {
    /// Puts releases and images together.
    pub fn new(fleet: Arc<FleetFile>, releases: Vec<Arc<Release>>, os: BTreeMap<String, Arc<OsImage>>) -> Self {
        let mut world = Self { fleet, os, ..Self::default() };
        for release in releases {
            world.device_types.extend(release.requires.device_types.iter().cloned());
            world.releases.entry(release.app.clone()).or_default().push(release);
        }
        for releases in world.releases.values_mut() {
            releases.sort_by(|a, b| a.precedence.cmp(&b.precedence));
        }
        for image in world.os.values() {
            world.device_types.extend(image.entries.keys().cloned());
        }
        world
    }

    /// Whether both are made of the very same values.
    pub fn same(&self, other: &Self) -> bool {
        // The types are those that images and releases name.
        let Self { fleet, releases, os, device_types: _ } = other;
        let same_releases = |ours: &[Arc<Release>], theirs: &[Arc<Release>]| {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
        };
        Arc::ptr_eq(&self.fleet, fleet)
            && self.releases.len() == releases.len()
            && self.releases.iter().zip(releases).all(|(ours, theirs)| same_releases(ours.1, theirs.1))
            && self.os.len() == os.len()
            && self.os.iter().zip(os).all(|(ours, theirs)| ours.0 == theirs.0 && Arc::ptr_eq(ours.1, theirs.1))
    }

    /// The release that a pin means.
    pub fn pick(&self, app: &AppName, pin: &Asked<Pin>) -> Result<Arc<Release>, Box<Draft>> {
        let Some(releases) = self.releases.get(app) else {
            let near = nearest(app.as_str(), self.releases.keys().map(AppName::as_str));
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            let draft = pin.error(codes::UNKNOWN_APP, format!("no app is called `{app}`"));
            return Err(Box::new(draft.maybe_hint(hint)));
        };
        let found = match &pin.value {
            // A draft, and one that turned out to be bad, can still be named.
            Pin::Exact(version) => releases.iter().find(|release| release.version == *version).cloned(),
            choice @ (Pin::Latest | Pin::Range { .. }) => {
                releases.iter().rev().find(|release| passed_over(release, choice).is_none()).cloned()
            }
        };
        let Some(release) = found else { return Err(Box::new(self.no_release(app, releases, pin))) };
        if release.broken {
            let message = format!("release {} of `{app}` has errors", release.version);
            let draft = pin.error(codes::RELEASE_BROKEN, message);
            return Err(Box::new(draft.hint("`bellwether check` lists them")));
        }
        Ok(release)
    }

    /// The newest irreversible release at or before this one: from there on nobody goes back before it.
    pub fn no_way_back(&self, release: &Release) -> Option<semver::Version> {
        let before = self.releases.get(&release.app)?.iter().rev().filter(|one| one.precedence <= release.precedence);
        let mut irreversible = before.filter(|one| one.reversibility == Reversibility::Irreversible);
        irreversible.next().map(|one| one.precedence.clone())
    }

    fn no_release(&self, app: &AppName, releases: &[Arc<Release>], pin: &Asked<Pin>) -> Draft {
        let message = match &pin.value {
            Pin::Latest => format!("`{app}` has no final release"),
            Pin::Exact(version) => format!("`{app}` has no release {version}"),
            Pin::Range { text, .. } => format!("`{app}` has no final release in `{}`", show(text)),
        };
        let newest: Vec<&str> = releases.iter().rev().take(5).map(|release| release.version.as_str()).collect();
        pin.error(codes::MISSING_RELEASE, message).hint(format!("newest releases: {}", newest.join(", ")))
    }

    /// Whether a release runs on a device of this type.
    pub fn runs_on(
        &self,
        release: &Release,
        pin: &Asked<Pin>,
        device_type: Option<&DeviceType>,
    ) -> Result<(), Box<Draft>> {
        if release.requires.device_types.is_empty()
            || device_type.is_some_and(|own| release.requires.device_types.contains(own))
        {
            return Ok(());
        }
        let wanted: Vec<&str> = release.requires.device_types.iter().map(DeviceType::as_str).collect();
        let own = device_type.map_or("without `device_type`".to_owned(), |own| format!("of type `{own}`"));
        let message = format!("release {} of `{}` does not run on devices {own}", release.version, release.app);
        Err(Box::new(pin.error(codes::NOT_FOR_DEVICE_TYPE, message).hint(format!("it runs on {}", wanted.join(", ")))))
    }

    /// The image that a name means for a device type.
    pub fn image(&self, name: &Asked<String>, device_type: Option<&DeviceType>) -> Result<Arc<OsEntry>, Box<Draft>> {
        let error = |message: String| name.error(codes::MISSING_OS_IMAGE, message);
        let Some(image) = self.os.get(&name.value) else {
            let near = nearest(&name.value, self.os.keys().map(String::as_str));
            let hint =
                near.map_or_else(|| "images are `os/<name>.yml`".to_owned(), |near| format!("did you mean `{near}`?"));
            return Err(Box::new(error(format!("the OS catalog has no image `{}`", show(&name.value))).hint(hint)));
        };
        if image.broken {
            let draft = error(format!("the image `{}` has errors", show(&name.value)));
            return Err(Box::new(draft.hint("`bellwether check` lists them")));
        }
        let Some(own) = device_type else {
            return Err(Box::new(error("a device with `os` needs a `device_type`".to_owned())));
        };
        image.entries.get(own).cloned().ok_or_else(|| {
            let types: Vec<&str> = image.entries.keys().map(DeviceType::as_str).collect();
            let draft = error(format!("the image `{}` is not built for `{own}`", show(&name.value)));
            Box::new(draft.hint(format!("it is built for {}", types.join(", "))))
        })
    }

    /// Whether anything knows this device type. A repo that names no device types at all has nothing to compare with.
    pub fn knows(&self, device_type: &Asked<DeviceType>) -> Result<(), Box<Draft>> {
        if self.device_types.is_empty() || self.device_types.contains(&device_type.value) {
            return Ok(());
        }
        let near = nearest(device_type.value.as_str(), self.device_types.iter().map(DeviceType::as_str));
        let hint = near.map_or_else(
            || "name it in an OS image or in `requires` of a release".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("neither an OS image nor a release names the device type `{}`", device_type.value);
        Err(Box::new(device_type.error(codes::UNKNOWN_DEVICE_TYPE, message).hint(hint)))
    }

    /// Whether some release has this service.
    pub fn has_service(&self, key: &ServiceKey) -> bool {
        self.releases
            .iter()
            .filter(|(app, _)| key.app.as_ref().is_none_or(|wanted| wanted == *app))
            .any(|(_, releases)| releases.iter().any(|release| release.services.contains_key(&key.service)))
    }

    /// A service that is spelled almost like this one.
    pub fn near_service(&self, key: &ServiceKey) -> Option<String> {
        let names: BTreeSet<&str> = self
            .releases
            .values()
            .flatten()
            .flat_map(|release| release.services.keys().map(|name| name.as_str()))
            .collect();
        nearest(key.service.as_str(), names).map(str::to_owned)
    }

    /// Releases that can only be reached from releases that the tree does not have.
    pub fn unreachable_releases(&self) -> Vec<Draft> {
        let mut all = Vec::new();
        for release in self.releases.values().flatten() {
            let known = |from: &FromVersions| {
                let earlier = |other: &&Arc<Release>| other.precedence < release.precedence;
                let others = self.releases.get(&release.app).into_iter().flatten();
                others.filter(earlier).any(|other| from.allows(&other.precedence))
            };
            for from in release.requires.from.iter().filter(|from| !known(&from.which)) {
                let message = format!("`{}` has no release {} before {}", release.app, from.which, release.version);
                let hint = "devices that still run such a release can come from it; no other release leads here";
                all.push(Draft::warning(&release.file, from.span, codes::UNKNOWN_FROM, message).hint(hint));
            }
            all.extend(self.dead_end(release));
        }
        all
    }

    /// A release that some release leads to, but none that devices may be led through.
    fn dead_end(&self, release: &Release) -> Option<Draft> {
        let from = &release.requires.from;
        let others = self.releases.get(&release.app)?.iter();
        let earlier = others.filter(|other| other.precedence < release.precedence);
        let leads: Vec<&Arc<Release>> =
            earlier.filter(|other| from.iter().any(|one| one.which.allows(&other.precedence))).collect();
        let good = |other: &&Arc<Release>| other.status == ReleaseStatus::Final && !other.broken;
        if release.status != ReleaseStatus::Final || leads.is_empty() || leads.iter().any(good) {
            return None;
        }
        let names: Vec<&str> = leads.iter().map(|other| other.version.as_str()).collect();
        let message = format!(
            "no device can be led to {} of `{}`: what it is reached from ({}) is a draft, was invalidated or has errors",
            release.version,
            release.app,
            names.join(", ")
        );
        let hint = "only devices that run such a release already can come from it; name another one in `from`";
        Some(Draft::warning(&release.file, from.first()?.span, codes::DEAD_END, message).hint(hint))
    }

    /// Apps that `fleet.yml` lists without releases, and releases of apps that it does not list.
    pub fn app_findings(&self) -> Vec<Draft> {
        let Some(listed) = &self.fleet.apps else { return Vec::new() };
        let file: Arc<str> = "fleet.yml".into();
        let mut all: Vec<Draft> = listed
            .iter()
            .filter(|(name, _)| !self.releases.contains_key(*name))
            .map(|(name, app)| {
                let message = format!("the app `{name}` has no releases");
                Draft::warning(&file, app.span, codes::APP_WITHOUT_RELEASES, message)
            })
            .collect();
        for (name, releases) in self.releases.iter().filter(|(name, _)| !listed.contains_key(*name)) {
            let near = nearest(name.as_str(), listed.keys().map(AppName::as_str));
            let hint =
                near.map_or_else(|| "list it under `apps:`".to_owned(), |near| format!("did you mean `{near}`?"));
            let message = format!("fleet.yml does not list the app `{name}`");
            all.extend(
                releases.first().map(|release| {
                    Draft::warning(&release.file, Span::default(), codes::UNKNOWN_APP, message).hint(hint)
                }),
            );
        }
        all
    }
}
