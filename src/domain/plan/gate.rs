//! The gate in front of a stage: whether its newest commit may count, or a person must look first.

use crate::domain::desired::Desired;
use crate::domain::digest::Digest;
use crate::domain::fleet::{
    Approval, DeviceRecord, FleetState, HeldChange, HeldReason, StageRecord, Waiting, WaitingFor,
};
use crate::domain::ids::{CommitId, DeviceId, ObjectId, StageName};
use crate::domain::plan::along::Along;
use crate::domain::plan::ownership::{claims, claims_listed};
use crate::domain::plan::policy::StagePolicy;
use crate::domain::plan::requires::unmet;
use crate::domain::planted::{Bug, planted};
use crate::domain::snapshot::Head;
use crate::domain::spec::SealedSpec;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The newest commit of a stage, not yet the one that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Commit and tree.
    pub head: Head,
    /// Its meaning.
    pub desired: Arc<Desired>,
    /// The commit that counted when this one was read.
    pub base: Option<CommitId>,
    /// How it relates to that commit.
    pub lineage: Lineage,
}

/// How a commit relates to the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lineage {
    /// It contains it, or there is none yet.
    Extends,
    /// The branch was rewritten.
    Rewrites,
}

/// What stands in a plan for one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Its first content.
    Assign,
    /// Other content than it has.
    Retarget,
    /// The stage lets it go and no stage claims it, but one still lists it: it is in transit and keeps what it has.
    LetGo,
    /// No stage lists it any more: it keeps what it has.
    Unmanage,
}

/// One change of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// The device.
    pub device: DeviceId,
    /// What happens.
    pub action: Action,
    /// The digest of its content now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// The digest of its content then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Digest>,
}

/// The complete, ordered set of changes from current assignments to what a commit of one stage wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePlan {
    /// The stage.
    pub stage: StageName,
    /// The commit's tree.
    pub tree: ObjectId,
    /// Changes by device.
    pub changes: Vec<PlannedChange>,
    /// Devices that keep what they have although the commit concerns them, and why.
    pub excluded: BTreeMap<DeviceId, String>,
    /// Devices that the stage would claim.
    pub claimed: usize,
    /// Reasons for which a person must approve it.
    pub held: Vec<HeldReason>,
    /// What a person approves: stage, tree and changes, nothing else.
    pub digest: Digest,
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The stage.
    pub policy: &'a StagePolicy,
    /// All stages, least gated first.
    pub stages: &'a [StagePolicy],
    /// What is known.
    pub state: &'a FleetState,
    /// The accepted commits of all stages.
    pub accepted: &'a BTreeMap<StageName, Arc<Desired>>,
    /// The commit.
    pub candidate: &'a Candidate,
}

/// Plans a commit of a stage.
pub fn plan_stage(input: &PlanInput<'_>) -> StagePlan {
    let PlanInput { policy, stages, state, accepted, candidate } = *input;
    let stage = &policy.name;
    let gated_more: Vec<&StageName> =
        stages.iter().map(|one| &one.name).skip_while(|name| *name != stage).skip(1).collect();
    let others: Vec<&StageName> = stages.iter().map(|one| &one.name).filter(|name| *name != stage).collect();
    let claimed_by = |names: &[&StageName], device: &DeviceId| {
        let record = state.devices.get(device);
        names.iter().any(|name| claims(name, accepted.get(*name).map(Arc::as_ref), device, record))
    };

    let mut changes = Vec::new();
    let mut excluded = BTreeMap::new();
    let mut claimed = 0;
    let mut taken = 0;
    let mut records = Along::new(&state.devices);
    for (device, listed) in &candidate.desired.devices {
        let record = records.value(device);
        if !claims_listed(stage, &listed.branch, record) {
            continue;
        }
        claimed += 1;
        if let Some(winner) = gated_more.iter().rev().find(|name| claimed_by(&[**name], device)) {
            excluded.insert(device.clone(), format!("stage {winner} claims it too and is more gated"));
            continue;
        }
        let assignment = record.and_then(|record| record.assignment.as_ref());
        taken += usize::from(assignment.is_some());
        let Some(spec) = &listed.spec else {
            let problem = listed.problem.clone().unwrap_or_else(|| "its files have findings".to_owned());
            excluded.insert(device.clone(), problem);
            continue;
        };
        if let Some(unmet) = record.and_then(|record| unmet(listed, record).into_iter().next()) {
            excluded.insert(device.clone(), unmet.message);
            continue;
        }
        changes.extend(content_change(device, record, spec));
    }
    let mut listed = Along::new(&candidate.desired.devices);
    for (device, record) in claimed_before(state, stage) {
        let record = Some(record);
        if listed.value(device).is_some_and(|listed| claims_listed(stage, &listed.branch, record)) {
            continue;
        }
        let Some(next) = others.iter().rev().find(|name| claimed_by(&[**name], device)) else {
            // The words that people read in the status afterwards: whoever is listed anywhere is in transit.
            let listed_by =
                |name: &&StageName| accepted.get(*name).is_some_and(|desired| desired.devices.contains_key(device));
            let listed = candidate.desired.devices.contains_key(device) || others.iter().any(listed_by);
            let action = if listed { Action::LetGo } else { Action::Unmanage };
            let from = assigned_digest(record);
            changes.push(PlannedChange { device: device.clone(), action, from, to: None });
            continue;
        };
        // Handing a device to another stage changes its content too, and it is this commit that does it.
        let theirs = accepted.get(*next).and_then(|desired| desired.devices.get(device)?.spec.as_ref());
        if let Some(spec) = theirs.filter(|_| !gated_more.contains(next)) {
            changes.extend(content_change(device, record, spec));
        }
    }
    changes.sort_by(|a, b| a.device.cmp(&b.device));

    let held = held_reasons(input, &changes, claimed, taken);
    let digest = plan_digest(stage, &candidate.head.tree, &changes);
    StagePlan { stage: stage.clone(), tree: candidate.head.tree.clone(), changes, excluded, claimed, held, digest }
}

/// What changes if a device is to have this content; `None` if it has it.
fn content_change(device: &DeviceId, record: Option<&DeviceRecord>, spec: &SealedSpec) -> Option<PlannedChange> {
    let from = assigned_digest(record);
    let action = if from.is_some() { Action::Retarget } else { Action::Assign };
    let change = PlannedChange { device: device.clone(), action, from, to: Some(spec.digest) };
    (from != change.to).then_some(change)
}

fn assigned_digest(record: Option<&DeviceRecord>) -> Option<Digest> {
    Some(record?.assignment.as_ref()?.spec.digest)
}

fn claimed_before<'a>(
    state: &'a FleetState,
    stage: &'a StageName,
) -> impl Iterator<Item = (&'a DeviceId, &'a DeviceRecord)> {
    state.devices.iter().filter(|(_, record)| record.control.claims.contains(stage))
}

fn released(changes: &[PlannedChange]) -> impl Iterator<Item = &DeviceId> {
    changes
        .iter()
        .filter(|change| match change.action {
            Action::LetGo | Action::Unmanage => true,
            Action::Assign | Action::Retarget => false,
        })
        .map(|change| &change.device)
}

fn held_reasons(input: &PlanInput<'_>, changes: &[PlannedChange], claimed: usize, taken: usize) -> Vec<HeldReason> {
    let PlanInput { policy, state, candidate, .. } = *input;
    let record = state.stages.get(&policy.name);
    let accepted = record.and_then(|record| record.accepted.as_ref());
    let mut reasons = Vec::new();
    if let (Some(accepted), Lineage::Rewrites) = (accepted, candidate.lineage)
        && !planted(Bug::IgnoreRewrites)
    {
        reasons.push(HeldReason::HistoryRewritten { accepted: accepted.clone() });
    }
    if accepted.is_none() && taken > 0 {
        reasons.push(HeldReason::NewStage { taken });
    }
    if let Some(record) = record {
        let unmanaged = unmanaged_after(input, record, changes);
        let before = claimed_before(state, &policy.name).count();
        let allowed = policy.deletion_budget.of(record.baseline.max(before));
        let releases = released(changes).next().is_some() && !planted(Bug::IgnoreDeletionBudget);
        if releases && unmanaged.len() > allowed {
            reasons.push(HeldReason::DeletionBudget { unmanaged: unmanaged.len(), allowed });
        }
        if releases && claimed == 0 {
            reasons.push(HeldReason::LastDevice);
        }
    }
    let retargeted = changes.iter().filter(|change| change.action == Action::Retarget).count();
    let allowed = policy.unstaged_allowed(claimed, candidate.desired.limits);
    if retargeted > allowed && !planted(Bug::IgnoreBlastRadius) {
        reasons.push(HeldReason::BlastRadius { retargeted, allowed });
    }
    reasons
}

/// Devices that are let go since the last approval once the candidate counts. One that a stage claims again is forgiven; one that
/// is only listed is not, or a stage could be emptied one device and two commits at a time.
fn unmanaged_after(input: &PlanInput<'_>, record: &StageRecord, changes: &[PlannedChange]) -> BTreeSet<DeviceId> {
    let PlanInput { policy, stages, state, accepted, candidate } = *input;
    let claimed_again = |device: &DeviceId| {
        stages.iter().map(|one| &one.name).any(|name| {
            let others = accepted.get(name).map(Arc::as_ref);
            let desired = if *name == policy.name { Some(candidate.desired.as_ref()) } else { others };
            claims(name, desired, device, state.devices.get(device))
        })
    };
    let mut all: BTreeSet<DeviceId> =
        record.unmanaged.iter().filter(|device| !claimed_again(device)).cloned().collect();
    all.extend(released(changes).cloned());
    all
}

/// The digest that a person approves.
fn plan_digest(stage: &StageName, tree: &ObjectId, changes: &[PlannedChange]) -> Digest {
    let changes = serde_json::to_vec(changes).expect("planned changes have only string keys");
    Digest::of_parts([b"bellwether.plan.v1".as_slice(), stage.as_str().as_bytes(), tree.as_str().as_bytes(), &changes])
}

/// What becomes of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It counts from now on.
    Accepted {
        /// What is remembered of the stage.
        record: StageRecord,
        /// The plan.
        plan: Box<StagePlan>,
        /// The approval that let it through, which is used up.
        approval: Option<(Digest, Approval)>,
    },
    /// It waits; the commit that counted before goes on counting.
    Waits {
        /// What is remembered of the stage.
        record: StageRecord,
    },
}

/// Judges a stage's newest commit.
pub fn judge(input: &PlanInput<'_>, now: Timestamp) -> Judgement {
    let PlanInput { policy, state, candidate, .. } = *input;
    let before = state.stages.get(&policy.name);
    let mut record = before.cloned().unwrap_or_else(|| StageRecord {
        accepted: None,
        waiting: None,
        unmanaged: BTreeSet::new(),
        baseline: 0,
    });
    let wait = |mut record: StageRecord, why: WaitingFor| {
        // A commit that goes on waiting for the same thing has waited since then.
        let since = record
            .waiting
            .as_ref()
            .filter(|waiting| waiting.commit == candidate.head.commit && waiting.why == why)
            .map_or(now, |waiting| waiting.since);
        let Head { commit, tree } = candidate.head.clone();
        record.waiting = Some(Waiting { commit, tree, since, why });
        Judgement::Waits { record }
    };
    if let Some(finding) = candidate.desired.rejection().filter(|_| !planted(Bug::AcceptBroken)) {
        let message = format!("{}: {}", finding.place, finding.message);
        return wait(record, WaitingFor::Repair { message });
    }
    let plan = plan_stage(input);
    let approval = state.approvals.get(&plan.digest).filter(|approval| approval.stage == policy.name);
    if !plan.held.is_empty() && approval.is_none() {
        let changes = plan.changes.iter().map(|change| HeldChange {
            device: change.device.clone(),
            from: change.from,
            to: change.to,
        });
        let why = WaitingFor::Approval { digest: plan.digest, reasons: plan.held.clone(), changes: changes.collect() };
        return wait(record, why);
    }
    let approval = approval.filter(|_| !plan.held.is_empty()).map(|approval| (plan.digest, approval.clone()));
    let unmanaged = unmanaged_after(input, &record, &plan.changes);
    record.accepted = Some(candidate.head.commit.clone());
    record.waiting = None;
    if approval.is_some() {
        record.unmanaged = BTreeSet::new();
        record.baseline = plan.claimed;
    } else {
        record.unmanaged = unmanaged;
        record.baseline = record.baseline.max(plan.claimed);
    }
    Judgement::Accepted { record, plan: Box::new(plan), approval }
}
