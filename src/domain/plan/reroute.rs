//! Rerouting: devices that failed go through another release first, and then get the same content again.

use super::requires::contradictions;
use crate::domain::desired::Variant;
use crate::domain::fleet::{Content, DeviceRecord, RolloutRecord};
use crate::domain::ids::{AppName, DeviceId, Version};
use crate::domain::manifest::release::requires::comparable;
use crate::domain::plan::pass::PassInput;
use crate::domain::rollout::machine::{Act, Member, Phase, Which};
use crate::domain::spec::{DeviceSpec, MAX_SPEC_BYTES, SealedSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many devices one act reroutes at most: the content of each is made for it alone.
pub const MAX_REROUTED: usize = 10_000;

/// Why devices cannot go through a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RerouteError {
    /// A device that was named has not failed.
    #[error("{0} has not failed in this rollout")]
    NotFailed(DeviceId),
    /// Too many at once.
    #[error("{0} devices are to be rerouted; at most {MAX_REROUTED} are at once")]
    TooMany(usize),
    /// A device cannot have the release.
    #[error("{device} cannot go through {release} of `{app}`: {why}")]
    NoWay {
        /// The device.
        device: DeviceId,
        /// The app.
        app: AppName,
        /// The release.
        release: Version,
        /// Why not.
        why: String,
    },
}

/// The devices of a rollout that would be rerouted: those that failed, or those of them that are named. One that is named and has not
/// failed is refused.
pub fn rerouted(record: &RolloutRecord, which: &Which) -> Result<BTreeSet<DeviceId>, RerouteError> {
    let failed =
        |device: &DeviceId| record.members.get(device).is_some_and(|member| matches!(member.phase, Phase::Bad { .. }));
    let devices: BTreeSet<DeviceId> = match which {
        Which::Failed => record.members.keys().filter(|device| failed(device)).cloned().collect(),
        Which::Devices(devices) => devices.clone(),
    };
    match devices.iter().find(|device| !failed(device)) {
        Some(other) => Err(RerouteError::NotFailed(other.clone())),
        None if devices.len() > MAX_REROUTED => Err(RerouteError::TooMany(devices.len())),
        None => Ok(devices),
    }
}

/// What is to be asked of the rollout, and the content that it has to keep for that.
pub fn reroute(
    input: &PassInput<'_>,
    record: &RolloutRecord,
    which: &Which,
    variant: &Variant,
) -> Result<(Act, Vec<Arc<Content>>), RerouteError> {
    let mut via = BTreeMap::new();
    let mut contents = Vec::new();
    for device in rerouted(record, which)? {
        let (app, release) = (variant.app.clone(), variant.release.clone());
        let refused = |why: String| RerouteError::NoWay { device: device.clone(), app, release, why };
        let content = leg(input, record, &device, variant).map_err(refused)?;
        via.insert(device, vec![content.spec.digest]);
        contents.push(content);
    }
    let release = format!("{} {}", variant.app, variant.release);
    Ok((Act::Reroute { via, release }, contents))
}

/// What one device gets in between.
fn leg(
    input: &PassInput<'_>,
    record: &RolloutRecord,
    device: &DeviceId,
    variant: &Variant,
) -> Result<Arc<Content>, String> {
    let Variant { app, release, requires, apps, .. } = variant;
    let member = record.members.get(device).ok_or("it is none of the rollout's devices")?;
    let target = record.contents.get(&member.target).ok_or("what it shall have is not known any more")?;
    let Some(wanted) = target.spec.spec.apps.get(app).map(|app| &app.release) else {
        return Err(format!("it shall not have `{app}` at all"));
    };
    if wanted == release {
        return Err("that is the release that it shall have; `rollout retry` offers it again".to_owned());
    }
    let known = input.state.devices.get(device).ok_or("nothing is known of it")?;
    let unmet = contradictions(app, release, requires, known);
    if let Some(unmet) = unmet.into_iter().next() {
        return Err(unmet.message);
    }
    let has = has(record, member, known, app);
    if let Some(first) = crossed(variant, &has) {
        return Err(format!(
            "release {first} is irreversible, and the device has or had it: nobody goes back before it"
        ));
    }
    if let Some(first) = beyond(variant, wanted) {
        return Err(format!("release {first} is irreversible, and {wanted}, which it shall have, lies before it"));
    }
    let fits = |from: &Version| requires.reachable_from(from);
    if !has.is_empty() && !has.iter().any(fits) {
        let names: Vec<&str> = has.iter().map(Version::as_str).collect();
        return Err(format!("it is not reached from {}, which the device has", names.join(" or ")));
    }
    leads_on(variant, wanted)?;
    let made = apps.get(device).ok_or("the commit does not list it")?.clone()?;
    let mut spec: DeviceSpec = (*target.spec.spec).clone();
    spec.apps.insert(app.clone(), made);
    let spec = SealedSpec::seal(spec);
    if spec.payload.len() > MAX_SPEC_BYTES {
        return Err(format!(
            "its content would be {} bytes long; at most {MAX_SPEC_BYTES} are accepted",
            spec.payload.len()
        ));
    }
    Ok(Arc::new(Content { spec, commit: target.commit.clone() }))
}

/// The releases of an app that a device may have now: the one that it says it runs, or else all that it was given.
fn has(record: &RolloutRecord, member: &Member, known: &DeviceRecord, app: &AppName) -> Vec<Version> {
    let applied = known.reported.as_ref().and_then(|reported| reported.report.applied);
    let given = [member.previous, member.ground(), Some(member.target)].into_iter().flatten();
    let proven: Vec<_> = given.clone().filter(|digest| Some(*digest) == applied).take(1).collect();
    let all: Vec<_> = if proven.is_empty() { given.collect() } else { proven };
    let releases = all.into_iter().filter_map(|digest| {
        let content = record.contents.get(&digest)?;
        content.spec.spec.apps.get(app).map(|app| app.release.clone())
    });
    let mut releases: Vec<Version> = releases.collect();
    releases.dedup();
    releases
}

/// The first irreversible release between the one in between and what a device has.
fn crossed(variant: &Variant, has: &[Version]) -> Option<semver::Version> {
    let via = comparable(variant.release.as_str())?;
    let newest = has.iter().filter_map(|release| comparable(release.as_str())).max()?;
    variant.irreversible.iter().find(|one| via < **one && **one <= newest).cloned()
}

/// The first irreversible release behind which the one in between would lead a device, if what it shall have lies before it.
fn beyond(variant: &Variant, wanted: &Version) -> Option<semver::Version> {
    let (via, to) = (comparable(variant.release.as_str())?, comparable(wanted.as_str())?);
    variant.irreversible.iter().find(|one| to < **one && **one <= via).cloned()
}

/// Whether the release that a device shall have is reached from the one in between, in the words of the rollout's own commit: the one
/// that counts may want another release, which is reached from elsewhere.
fn leads_on(variant: &Variant, wanted: &Version) -> Result<(), String> {
    let requires = variant.reached_from.get(wanted);
    match requires.filter(|requires| !requires.reachable_from(&variant.release)) {
        None => Ok(()),
        Some(requires) => {
            let from: Vec<String> = requires.from.iter().map(|from| from.which.to_string()).collect();
            Err(format!("what it shall have is reached from {} only", from.join(", ")))
        }
    }
}
