//! Rollouts as people see them.

pub mod left_out;
pub mod taken_back;

use left_out::LeftOutRow;
use taken_back::{BackCounts, BackRow};

use crate::domain::device::dump::CoreDump;
use crate::domain::device::terminal::FailedPhase;
use crate::domain::fleet::{DeviceRecord, RolloutRecord};
use crate::domain::generation::Order;
use crate::domain::ids::{Actor, CommitId, DeviceId, PolicyName, RolloutName, StageName};
use crate::domain::plan::pass::PassInput;
use crate::domain::plan::rollouts::FleetWorld;
use crate::domain::plan::waits::Wait;
use crate::domain::rollout::eta::{Eta, devices_ahead, eta};
use crate::domain::rollout::freeze::Freezes;
use crate::domain::rollout::gate::{Counts, Failure};
use crate::domain::rollout::machine::{Awaited, Drafted, Member, Noted, Phase, Status};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many failures an answer carries; the rest is counted.
pub const MAX_FAILURES: usize = 1000;
/// How many devices that take no part, or that something is taken back from, an answer carries; the rest is counted.
pub const MAX_LISTED: usize = 1000;

/// One line about a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutRow {
    /// Its name.
    pub rollout: RolloutName,
    /// The stage.
    pub stage: StageName,
    /// The commit.
    pub commit: CommitId,
    /// The policy.
    pub policy: PolicyName,
    /// Where it stands: one word.
    pub status: String,
    /// Why, where that says more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Which step it is at, from 1; one more than there are once all have passed.
    pub step: usize,
    /// How many steps there are.
    pub steps: usize,
    /// Its devices.
    pub devices: usize,
    /// Those of them that are kept out.
    #[serde(default)]
    pub excluded: usize,
    /// Devices that succeeded, and have not gone back with the rollout since.
    pub ok: usize,
    /// Devices that failed.
    pub bad: usize,
    /// Devices that were ever offered its content.
    pub exposed: u32,
    /// When it was made.
    pub created: Timestamp,
    /// When its first step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it will be done.
    pub eta: Eta,
    /// Where devices are from which its content is taken back; `None` if it is from none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<BackCounts>,
}

impl RolloutRow {
    /// Devices that have reported, and those that are to: whoever is kept out is not waited for.
    pub fn progress(&self) -> (usize, usize) {
        (self.ok + self.bad, self.devices.saturating_sub(self.excluded))
    }
}

/// Everything about a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutDetail {
    /// The line that listings show.
    #[serde(flatten)]
    pub row: RolloutRow,
    /// The branch that it was drafted on, and what that changes; `None` if it is a commit of its stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<Drafted>,
    /// Who approved that it began.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approved_by: BTreeSet<Actor>,
    /// Its steps.
    pub all_steps: Vec<StepRow>,
    /// How many devices are in which state.
    pub phases: BTreeMap<String, usize>,
    /// What the next transition waits for, the most fundamental first.
    pub waits: Vec<Awaited>,
    /// When something is decided next although nothing is heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// Devices that failed, by name, at most [`MAX_FAILURES`].
    pub failures: Vec<FailureRow>,
    /// Devices that take no part, by name, at most [`MAX_LISTED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutRow>,
    /// Devices that something is taken back from, those first that are not back, at most [`MAX_LISTED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_back: Vec<BackRow>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRow {
    /// What people call it.
    pub name: String,
    /// Where it stands: one word.
    pub status: String,
    /// Which devices it takes.
    pub devices: String,
    /// What has become of them.
    pub counts: Counts,
    /// How many of its devices failed and count no more, because somebody took note of that.
    #[serde(default)]
    pub acknowledged: u32,
    /// How many were kept out.
    pub excluded: u32,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

/// A device that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRow {
    /// The device.
    pub device: DeviceId,
    /// The place of what it failed with; `None` if nobody knows that any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// How.
    pub failure: Failure,
    /// When in its life what it was assigned failed; `None` if the device did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<FailedPhase>,
    /// Whether a person has taken note of it, so that it counts no more.
    #[serde(default, skip_serializing_if = "Noted::is_no")]
    pub note: Noted,
    /// When.
    pub at: Timestamp,
    /// What it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The last lines of output that it sent with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// The core dump that it named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_dump: Option<CoreDump>,
}

/// All rollouts, the newest first.
pub fn rows(input: &PassInput<'_>) -> Vec<RolloutRow> {
    let mut rows: Vec<RolloutRow> = input.state.rollouts.values().map(|record| row(input, record)).collect();
    rows.sort_by(|one, other| other.created.cmp(&one.created).then_with(|| one.rollout.cmp(&other.rollout)));
    rows
}

fn row(input: &PassInput<'_>, record: &RolloutRecord) -> RolloutRow {
    let head = &record.head;
    let count = |which: fn(&Phase) -> bool| record.members.values().filter(|member| which(&member.phase)).count();
    let why = match &head.status {
        Status::Paused { why, .. } | Status::Error { why, .. } | Status::Aborted { why, .. } => Some(why.clone()),
        Status::Superseded { by, .. } => Some(format!("commit {} took its place", by.short())),
        Status::Draft
        | Status::PendingApproval
        | Status::Active
        | Status::Done { .. }
        | Status::RollingBack { .. }
        | Status::RolledBack { .. } => None,
    };
    RolloutRow {
        rollout: head.name.clone(),
        stage: head.stage.clone(),
        commit: head.commit.clone(),
        policy: head.policy.name.clone(),
        status: head.status.as_str().to_owned(),
        why,
        step: head.current + 1,
        steps: head.steps.len(),
        devices: record.members.len(),
        excluded: count(|phase| matches!(phase, Phase::Excluded { .. })),
        ok: record.members.values().filter(|member| taken_back::has_succeeded(&head.status, member)).count(),
        bad: count(|phase| matches!(phase, Phase::Bad { .. })),
        exposed: head.exposed,
        created: head.created,
        since: head.steps.iter().filter_map(|step| step.started).min(),
        eta: eta_of(input, record),
        back: taken_back::counts(record),
    }
}

fn eta_of(input: &PassInput<'_>, record: &RolloutRecord) -> Eta {
    let head = &record.head;
    let Some(desired) = input.accepted(&head.stage).filter(|_| head.is_under_way()) else {
        return match head.is_under_way() {
            true => Eta::Unknown { why: format!("the commit of stage {} has not been read yet", head.stage) },
            false => eta(head, &[], &Freezes::default(), input.now),
        };
    };
    let world = FleetWorld::new(input, desired, record);
    let members = record.members.iter().map(|(device, member)| (device, &**member));
    // Who is in a step that has begun is settled; only what is to come has to be worked out.
    let ahead = match head.status {
        Status::Active | Status::Paused { .. } => devices_ahead(head, members, &world, input.now),
        _ => Vec::new(),
    };
    eta(head, &ahead, &desired.rollouts.freezes, input.now)
}

/// Everything about a rollout; `None` if there is none of that name.
pub fn detail(input: &PassInput<'_>, name: &RolloutName) -> Option<RolloutDetail> {
    let record = input.state.rollouts.get(name)?;
    let head = &record.head;
    let steps = head.steps.iter().enumerate().map(|(number, step)| {
        let policy = head.policy.step(number);
        let is_last = number + 1 == head.steps.len();
        let devices = if is_last { "all others".to_owned() } else { policy.selector.to_string() };
        StepRow {
            name: policy.name.clone(),
            status: step.status.as_str().to_owned(),
            devices,
            counts: step.counts,
            acknowledged: step.acknowledged,
            excluded: step.excluded,
            started: step.started,
            ended: step.ended,
        }
    });
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for member in record.members.values() {
        *phases.entry(taken_back::word(&head.status, member).to_owned()).or_default() += 1;
    }
    let desired = input.accepted(&head.stage);
    let world = desired.map(|desired| FleetWorld::new(input, desired, record));
    let (waits, next) = match &world {
        Some(world) => {
            let rollout = record.load();
            (rollout.explain(input.now, world), rollout.next(input.now, world))
        }
        None => (Vec::new(), None),
    };
    let failures = record.members.iter().filter_map(|(device, member)| {
        let Phase::Bad { failure, at, message } = &member.phase else { return None };
        let known = input.state.devices.get(device);
        Some(FailureRow {
            device: device.clone(),
            order: member.order.as_deref().copied().or_else(|| order(head.name.as_str(), member, known?)),
            failure: *failure,
            phase: member.failed_in.filter(|_| matches!(failure, Failure::Failed | Failure::RolledBack)),
            note: member.note,
            at: *at,
            message: message.as_deref().map(str::to_owned),
            log: known.map(|known| log(member, known)).unwrap_or_default(),
            core_dump: known.and_then(|known| core_dump(member, known)),
        })
    });
    Some(RolloutDetail {
        row: row(input, record),
        draft: head.draft.as_deref().cloned(),
        approved_by: head.approved_by.clone(),
        all_steps: steps.collect(),
        phases,
        waits,
        next: next.filter(|_| head.is_under_way()),
        failures: failures.take(MAX_FAILURES).collect(),
        left_out: left_out::rows(record, MAX_LISTED),
        taken_back: taken_back::rows(record, world.as_ref(), MAX_LISTED),
    })
}

/// The place of what a device is assigned, if that is what it failed with.
fn order(rollout: &str, member: &Member, record: &DeviceRecord) -> Option<Order> {
    let assignment = record.assignment.as_ref()?;
    let is_its = assignment.rollout.as_deref() == Some(rollout) && assignment.spec.digest == member.leg();
    is_its.then_some(assignment.order)
}

/// What the device sent with the failure of this content: as it reports it, or as it was kept when it reports something else.
fn log(member: &Member, record: &DeviceRecord) -> Vec<String> {
    let failure = record.reported.as_ref().and_then(|reported| reported.report.failure.as_ref());
    let reported = failure.filter(|failure| failure.digest == member.leg()).map(|failure| failure.log.clone());
    let kept = || member.log.as_ref().map(|kept| kept.0.clone()).unwrap_or_default();
    reported.filter(|log| !log.is_empty()).unwrap_or_else(kept)
}

fn core_dump(member: &Member, record: &DeviceRecord) -> Option<CoreDump> {
    let failure = record.reported.as_ref()?.report.failure.as_ref()?;
    failure.core_dump.clone().filter(|_| failure.digest == member.leg())
}

/// `on its way through web 1.9.0, then 2.0.0: `; `None` for a device that goes straight to what it shall have.
fn on_the_way(record: &RolloutRecord, member: &Member) -> Option<String> {
    let next = member.detour.first()?;
    let target = &record.contents.get(&member.target)?.spec.spec;
    let apps = target.apps.iter().filter_map(|(app, wanted)| {
        let mut releases: Vec<&str> = Vec::new();
        for digest in &member.detour {
            let on_leg = record.contents.get(digest)?.spec.spec.apps.get(app)?;
            releases.push(on_leg.release.as_str());
        }
        releases.push(wanted.release.as_str());
        releases.dedup();
        (releases.len() > 1).then(|| format!("{app} {}", releases.join(", then ")))
    });
    let apps: Vec<String> = apps.collect();
    let left = member.detour.len();
    let what = if apps.is_empty() { next.short() } else { apps.join("; ") };
    let leg = if left == 1 { "one more".to_owned() } else { format!("{left} more") };
    Some(format!("on its way through {what} ({leg} before the last): "))
}

/// What a device waits for in the rollouts of its stage, each in detail.
pub fn device_waits(input: &PassInput<'_>, stage: &StageName, device: &DeviceId) -> Vec<Wait> {
    let Some(desired) = input.accepted(stage) else { return Vec::new() };
    let of_stage = input.state.rollouts.values().filter(|record| {
        record.head.stage == *stage && record.head.is_under_way() && record.members.contains_key(device)
    });
    let explained = of_stage.filter_map(|record| {
        let world = FleetWorld::new(input, desired, record);
        let awaited = record.load_near(device).explain_device(device, input.now, &world)?;
        let on_the_way = record.members.get(device).and_then(|member| on_the_way(record, member)).unwrap_or_default();
        let message = format!("rollout {}: {on_the_way}{}", record.head.name, awaited.message);
        Some(Wait { code: awaited.code, message, hint: awaited.hint, place: None, since: None })
    });
    explained.collect()
}
