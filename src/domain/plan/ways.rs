//! What a device goes through before it gets what its stage's commit wants for it.
//!
//! Each release on the way is content of its own: the content that the commit wants, with the app as it is in that release. A device
//! is given the next one when it has said that it runs the one before.

use super::requires::{Unmet, contradictions};
use crate::domain::desired::{DesiredDevice, Waypoint};
use crate::domain::digest::Digest;
use crate::domain::fleet::DeviceRecord;
use crate::domain::ids::{AppName, Version};
use crate::domain::manifest::release::requires::Requirements;
use crate::domain::rollout::path::{NoWay, Reach, Releases};
use crate::domain::spec::{DeviceSpec, MAX_SPEC_BYTES, SealedSpec};
use std::collections::{BTreeMap, BTreeSet};

/// The way of a device to what its stage's commit wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    /// What it goes through first, in order; empty if it needs nothing in between.
    pub legs: Vec<SealedSpec>,
    /// The releases of each app on it, what the device has and what it shall have included; apps without a leg are left out.
    pub releases: BTreeMap<AppName, Vec<Version>>,
}

impl std::fmt::Display for Way {
    /// `web 1.0.0 → 1.9.0 → 2.0.0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, (app, releases)) in self.releases.iter().enumerate() {
            let names: Vec<&str> = releases.iter().map(Version::as_str).collect();
            write!(f, "{}{app} {}", if number > 0 { "; " } else { "" }, names.join(" → "))?;
        }
        Ok(())
    }
}

/// Whether a device runs what it was assigned, as far as it has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// It says so, or has never said anything.
    Given,
    /// It has not got there.
    Missing,
    /// It tried, and could not.
    Failed,
}

/// Works out the way of a device from what it was assigned last. What is in the way otherwise is not looked at.
pub fn way(listed: &DesiredDevice, record: Option<&DeviceRecord>) -> Result<Way, Vec<Unmet>> {
    from(listed, record, Start::Proven)
}

/// The way that a device takes once it runs what it was assigned last, whether or not it has got there.
pub fn supposed_way(listed: &DesiredDevice, record: Option<&DeviceRecord>) -> Result<Way, Vec<Unmet>> {
    from(listed, record, Start::Supposed)
}

/// Where a way begins.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// At what the device has proven to run.
    Proven,
    /// At what it was assigned.
    Supposed,
}

fn from(listed: &DesiredDevice, record: Option<&DeviceRecord>, start: Start) -> Result<Way, Vec<Unmet>> {
    let mut way = Way::default();
    let mut unmet = Vec::new();
    let assigned = record.and_then(|record| record.assignment.as_ref());
    let (Some(record), Some(assigned), Some(target)) = (record, assigned, listed.spec.as_ref()) else {
        return Ok(way);
    };
    let mut through: BTreeMap<&AppName, Vec<&Waypoint>> = BTreeMap::new();
    for (app, requires) in listed.requires.iter().filter(|(_, requires)| !requires.from.is_empty()) {
        let release = |spec: &DeviceSpec| spec.apps.get(app).map(|app| app.release.clone());
        let (Some(wanted), Some(current)) = (release(&target.spec), release(&assigned.spec.spec)) else { continue };
        if wanted == current {
            continue;
        }
        if start == Start::Proven
            && let Some(missing) = unproven(app, &wanted, &current, record)
        {
            unmet.push(missing);
            continue;
        }
        let waypoints = listed.ways.get(app).map_or(&[][..], |waypoints| waypoints);
        let barrier = listed.no_way_back.get(app);
        match through_releases(app, &wanted, requires, &current, &Between { waypoints, barrier }, record) {
            Err(no_way) => unmet.push(no_way),
            Ok(legs) if legs.is_empty() => {}
            Ok(legs) => {
                let between = legs.iter().map(|leg| leg.release.clone());
                way.releases.insert(app.clone(), std::iter::once(current).chain(between).chain([wanted]).collect());
                through.insert(app, legs);
            }
        }
    }
    if !unmet.is_empty() {
        return Err(unmet);
    }
    let count = through.values().map(Vec::len).max().unwrap_or(0);
    way.legs = (0..count).map(|number| leg(&target.spec, &through, number)).collect();
    // A device that has never said anything may have got its first content or not. It gets no second one before it says so.
    if start == Start::Proven
        && record.reported.is_none()
        && let Some((app, releases)) = way.releases.iter().next()
        && let [current, .., wanted] = releases.as_slice()
    {
        return Err(vec![no_proof(app, wanted, current)]);
    }
    match way.legs.iter().find(|leg| leg.payload.len() > MAX_SPEC_BYTES) {
        None => Ok(way),
        Some(leg) => Err(vec![Unmet {
            code: "requires-from",
            message: format!(
                "on its way ({way}) its content would be {} bytes long; at most {MAX_SPEC_BYTES} are accepted",
                leg.payload.len()
            ),
            hint: "change one app at a time",
        }]),
    }
}

/// The content of one leg. Apps whose own way is shorter have arrived by then.
fn leg(target: &DeviceSpec, through: &BTreeMap<&AppName, Vec<&Waypoint>>, number: usize) -> SealedSpec {
    let mut spec = target.clone();
    for (app, waypoint) in through.iter().filter_map(|(app, legs)| Some((*app, *legs.get(number)?))) {
        spec.apps.insert(app.clone(), waypoint.app.clone());
    }
    SealedSpec::seal(spec)
}

/// Why it is not known that a device runs the release that it was assigned.
fn unproven(app: &AppName, wanted: &Version, current: &Version, record: &DeviceRecord) -> Option<Unmet> {
    match proof(record) {
        Proof::Given => None,
        Proof::Missing => Some(no_proof(app, wanted, current)),
        Proof::Failed => Some(Unmet {
            code: "requires-proof",
            message: format!(
                "release {wanted} of `{app}` is not reached from everywhere, and the device failed to get to {current}"
            ),
            hint: "let it get there with `bellwether retry`, or take it back first: `bellwether rollout rollback`, or pin what it runs",
        }),
    }
}

fn no_proof(app: &AppName, wanted: &Version, current: &Version) -> Unmet {
    Unmet {
        code: "requires-proof",
        message: format!(
            "release {wanted} of `{app}` is not reached from everywhere, and the device has not said yet that it runs {current}"
        ),
        hint: "it goes on when the device says so",
    }
}

fn proof(record: &DeviceRecord) -> Proof {
    let (Some(assigned), Some(reported)) = (&record.assignment, &record.reported) else { return Proof::Given };
    let digest: Digest = assigned.spec.digest;
    let report = &reported.report;
    match &report.failure {
        Some(failure) if failure.digest == digest => Proof::Failed,
        Some(_) | None if report.applied == Some(digest) => Proof::Given,
        Some(_) | None => Proof::Missing,
    }
}

/// What an app may be led through.
struct Between<'a> {
    waypoints: &'a [Waypoint],
    /// Its newest irreversible release.
    barrier: Option<&'a semver::Version>,
}

/// The releases that an app goes through.
fn through_releases<'a>(
    app: &AppName,
    wanted: &Version,
    requires: &Requirements,
    current: &Version,
    between: &Between<'a>,
    record: &DeviceRecord,
) -> Result<Vec<&'a Waypoint>, Unmet> {
    let refused = |message: String, hint: &'static str| Unmet { code: "requires-from", message, hint };
    let names: Vec<String> = requires.from.iter().map(|from| from.which.to_string()).collect();
    let plainly = format!("release {wanted} of `{app}` is reached from {}, the device has {current}", names.join(", "));
    let parse = |version: &Version| semver::Version::parse(version.as_str()).ok();
    let (Some(from), Some(to)) = (parse(current), parse(wanted)) else {
        return Err(refused(plainly, "pin one of those first"));
    };
    // What the device says that it cannot run leads nowhere for it.
    let usable =
        between.waypoints.iter().filter(|one| contradictions(app, &one.release, &one.requires, record).is_empty());
    // Nobody goes back before an irreversible release, not even on the way to a newer one.
    let barrier = between.barrier.filter(|first| from >= **first);
    let usable: BTreeMap<semver::Version, &Waypoint> = usable
        .filter_map(|one| Some((parse(&one.release)?, one)))
        .filter(|(version, _)| barrier.is_none_or(|first| version >= first))
        .collect();
    let places: Vec<&semver::Version> = usable.keys().chain([&from]).collect();
    let reach = |requires: &Requirements| match requires.from.as_slice() {
        [] => Reach::Anywhere,
        some => {
            let allowed = |place: &&&semver::Version| some.iter().any(|one| one.which.allows(place));
            Reach::From(places.iter().filter(allowed).map(|place| (*place).clone()).collect::<BTreeSet<_>>())
        }
    };
    let mut releases: BTreeMap<semver::Version, Reach<semver::Version>> =
        usable.iter().map(|(version, one)| (version.clone(), reach(&one.requires))).collect();
    releases.insert(to.clone(), reach(requires));
    let legs = Releases(releases).way(&from, &to).map_err(|no_way| match no_way {
        NoWay::DeadEnd { .. } if usable.is_empty() => refused(plainly, "pin one of those first"),
        NoWay::DeadEnd { .. } | NoWay::Circle { .. } | NoWay::TooLong { .. } | NoWay::Unknown(_) => refused(
            format!("release {wanted} of `{app}`: {no_way}"),
            "name what the device has in `from` of one of those releases, or pin another one",
        ),
    })?;
    Ok(legs.iter().filter_map(|version| usable.get(version).copied()).collect())
}

/// What a device is to be assigned next on its way, where nobody leads it: the first leg, or the target itself.
pub fn next(listed: &DesiredDevice, record: &DeviceRecord) -> Result<Option<SealedSpec>, Vec<Unmet>> {
    way(listed, Some(record)).map(|way| way.legs.into_iter().next())
}
