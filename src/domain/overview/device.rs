//! One device, as people see it.

use super::OverviewInput;
use super::rollouts::device_waits;
use crate::domain::assignment::{Assignment, Mark};
use crate::domain::condition::{Condition, ConditionStatus};
use crate::domain::device::locks::Lock;
use crate::domain::device::terminal::TerminalFailure;
use crate::domain::digest::Digest;
use crate::domain::drift::{Drift, DriftInput, Verdict, drift};
use crate::domain::fleet::{Conflict, IdentityStatus, RegistryAttribute};
use crate::domain::generation::{Attempt, Order};
use crate::domain::ids::{Actor, AppName, AttributeName, CommitId, DeviceId, DeviceType, StageName, Version};
use crate::domain::plan::ownership::Standing;
use crate::domain::plan::waits::{Wait, standing, waits};
use crate::domain::reported::{Found, ObservedOs, OsUpdate, PLAIN_POLL, POLL_ATTRIBUTE, Phase, Report};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One line of a listing of devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// The device.
    pub device: DeviceId,
    /// Who owns it.
    pub standing: Standing,
    /// Its type, where the repo names it.
    pub device_type: Option<DeviceType>,
    /// The releases that it was assigned, by app.
    pub apps: BTreeMap<AppName, Version>,
    /// The version of the OS image that it was assigned.
    pub os: Option<Version>,
    /// The place of its assignment.
    pub assigned: Option<Order>,
    /// The place that it has acknowledged.
    pub observed: Option<Order>,
    /// What its agent is doing.
    pub phase: Option<Phase>,
    /// Drift, all layers together.
    pub drift: Verdict,
    /// When it was last heard from.
    pub last_seen: Option<Timestamp>,
    /// The first thing that it waits for.
    pub waits_for: Option<String>,
    /// Groups of the inventory.
    pub groups: BTreeSet<String>,
    /// Free metadata.
    pub tags: BTreeMap<String, String>,
}

/// Everything about one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceDetail {
    /// The line that listings show.
    #[serde(flatten)]
    pub row: DeviceRow,
    /// Stages that claim it.
    pub claims: BTreeSet<StageName>,
    /// Whether it may speak to the controller.
    pub identity: Option<IdentityDetail>,
    /// What it was told to reach.
    pub assignment: Option<AssignmentDetail>,
    /// The newest assignment in its ledger.
    pub ledger: Option<Mark>,
    /// The digest that it last reached completely.
    pub applied: Option<Digest>,
    /// Layers of drift.
    pub layers: Drift,
    /// Everything that it waits for.
    pub waits: Vec<Wait>,
    /// A disagreement that needs a person.
    pub conflict: Option<Conflict>,
    /// Conditions, its own and the controller's.
    pub conditions: Vec<Condition>,
    /// Differences that its agent found before it mended them.
    pub found: Vec<Found>,
    /// The OS that runs, and its slots; `None` where the updater could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<ObservedOs>,
    /// How far an update of the OS is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_update: Option<OsUpdate>,
    /// How its newest assignment failed for good, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TerminalFailure>,
    /// The update locks that are held on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
    /// Facts that it states of itself: `reported.*` in filters.
    pub attributes: BTreeMap<String, String>,
    /// What operators say of it: `registry.*` in filters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub registry: BTreeMap<AttributeName, RegistryAttribute>,
}

/// Whether a device may speak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityDetail {
    /// Whether it belongs to the fleet.
    pub status: IdentityStatus,
    /// Since when.
    pub since: Timestamp,
    /// Who let it in.
    pub actor: Option<Actor>,
}

/// What a device was told to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentDetail {
    /// The stage that owned it then.
    pub stage: StageName,
    /// The commit.
    pub commit: CommitId,
    /// Its place.
    pub order: Order,
    /// How often this digest was offered.
    pub attempt: Attempt,
    /// The content's digest.
    pub digest: Digest,
    /// When.
    pub assigned_at: Timestamp,
}

/// The layers of drift of one device.
pub fn device_drift(input: &OverviewInput<'_>, device: &DeviceId) -> Drift {
    let record = input.pass.state.devices.get(device);
    let assignment = record.and_then(|record| record.assignment.as_deref());
    let report = record.and_then(|record| record.reported.as_ref()).map(|reported| &reported.report);
    drift(&DriftInput {
        assignment,
        report,
        last_seen: input.last_seen(device),
        offline_after_secs: patience_secs(input.offline_after_secs, assignment, report),
        now: input.pass.now,
    })
}

/// How many polls may be missed by a device that polls now and then before it counts as silent.
const MISSED_POLLS: i64 = 3;

/// How long a device may be silent. One that holds no polls open is heard from once in its interval, so that counts if it is
/// long.
fn patience_secs(usual: i64, assignment: Option<&Assignment>, report: Option<&Report>) -> i64 {
    let is_plain = |report: &&Report| report.attributes.get(POLL_ATTRIBUTE).is_some_and(|poll| poll == PLAIN_POLL);
    let interval = assignment.and_then(|assignment| assignment.spec.spec.config.poll_interval_secs);
    match (report.filter(is_plain), interval) {
        (Some(_), Some(secs)) => usual.max(MISSED_POLLS * i64::from(secs)),
        (Some(_) | None, _) => usual,
    }
}

/// Every device that is known or listed, by name.
pub fn devices<'a>(input: &OverviewInput<'a>) -> BTreeSet<&'a DeviceId> {
    let pass = input.pass;
    let listed = pass.stages.iter().filter_map(|policy| {
        let counts = pass.state.stages.get(&policy.name)?.counts()?;
        let meaning = pass.views.get(&policy.name)?.accepted.as_ref()?;
        (meaning.revision == counts).then_some(&meaning.desired)
    });
    pass.state.devices.keys().chain(listed.flat_map(|desired| desired.devices.keys())).collect()
}

/// One line about a device.
pub fn row(input: &OverviewInput<'_>, device: &DeviceId) -> DeviceRow {
    let record = input.pass.state.devices.get(device);
    let (standing, _) = standing(&input.pass, device);
    let listed = match &standing {
        Standing::Owned(stage) => input.pass.accepted(stage).and_then(|desired| desired.devices.get(device)),
        Standing::InTransit | Standing::Unmanaged => None,
    };
    let assignment = record.and_then(|record| record.assignment.as_deref());
    let spec = assignment.map(|assignment| &assignment.spec.spec);
    let report = record.and_then(|record| record.reported.as_ref()).map(|reported| &reported.report);
    let wanted = listed.and_then(|listed| listed.spec.as_ref()).map(|sealed| &sealed.spec);
    DeviceRow {
        device: device.clone(),
        standing,
        device_type: spec.or(wanted).and_then(|spec| spec.device_type.clone()),
        apps: spec
            .map(|spec| spec.apps.iter().map(|(app, one)| (app.clone(), one.release.clone())).collect())
            .unwrap_or_default(),
        os: spec.and_then(|spec| spec.os.as_ref()).map(|os| os.version.clone()),
        assigned: assignment.map(|assignment| assignment.order),
        observed: report.and_then(|report| report.observed).map(|mark| mark.order),
        phase: report.map(|report| report.phase),
        drift: device_drift(input, device).verdict(),
        last_seen: input.last_seen(device),
        waits_for: waits(&input.pass, device).into_iter().next().map(|wait| wait.message),
        groups: listed.map(|listed| listed.groups.clone()).unwrap_or_default(),
        tags: listed.map(|listed| listed.tags.clone()).unwrap_or_default(),
    }
}

/// Everything about a device; `None` if nobody has heard of it.
pub fn detail(input: &OverviewInput<'_>, device: &DeviceId) -> Option<DeviceDetail> {
    if !devices(input).contains(device) {
        return None;
    }
    let record = input.pass.state.devices.get(device);
    let report = record.and_then(|record| record.reported.as_ref()).map(|reported| &reported.report);
    let (_, claims) = standing(&input.pass, device);
    Some(DeviceDetail {
        row: row(input, device),
        claims,
        identity: record.and_then(|record| record.identity.as_deref()).map(|identity| IdentityDetail {
            status: identity.status,
            since: identity.since,
            actor: identity.actor.clone(),
        }),
        assignment: record.and_then(|record| record.assignment.as_deref()).map(|assignment| AssignmentDetail {
            stage: assignment.stage.clone(),
            commit: assignment.commit.clone(),
            order: assignment.order,
            attempt: assignment.attempt,
            digest: assignment.spec.digest,
            assigned_at: assignment.assigned_at,
        }),
        ledger: report.and_then(|report| report.observed),
        applied: report.and_then(|report| report.applied),
        layers: device_drift(input, device),
        waits: waits_in_detail(input, device),
        conflict: record.and_then(|record| record.control.conflict.clone()),
        conditions: report.map(conditions).unwrap_or_default(),
        found: report.map(|report| report.found.clone()).unwrap_or_default(),
        runs: report.and_then(|report| report.os.clone()),
        os_update: report.and_then(|report| report.os_update.clone()),
        failure: report.and_then(|report| report.failure.clone()),
        locks: report.map(|report| report.locks.clone()).unwrap_or_default(),
        attributes: report.map(|report| report.attributes.clone()).unwrap_or_default(),
        registry: record
            .and_then(|record| record.registry.as_deref())
            .map(|registry| registry.attributes.clone())
            .unwrap_or_default(),
    })
}

/// What a device waits for, with its place in a rollout in the place of the rollout's name alone.
fn waits_in_detail(input: &OverviewInput<'_>, device: &DeviceId) -> Vec<Wait> {
    let mut all = waits(&input.pass, device);
    let (Standing::Owned(stage), _) = standing(&input.pass, device) else { return all };
    let detailed = device_waits(&input.pass, &stage, device);
    if !detailed.is_empty() {
        let at = all.iter().position(|wait| wait.code == "rollout").unwrap_or(all.len());
        all.retain(|wait| wait.code != "rollout");
        all.splice(at..at, detailed);
    }
    all
}

/// What the device says of itself, and what follows from it.
fn conditions(report: &Report) -> Vec<Condition> {
    let degraded = report.failure.as_ref().map(|failure| Condition {
        kind: DEGRADED.to_owned(),
        status: ConditionStatus::True,
        reason: if failure.rolled_back_to.is_some() { "RolledBack" } else { "Failed" }.to_owned(),
        message: failure.describe(),
        since: failure.at,
    });
    report.conditions.iter().cloned().chain(degraded).collect()
}

/// The condition of a device on which what it was assigned has failed for good.
pub const DEGRADED: &str = "Degraded";

#[cfg(test)]
mod tests;
