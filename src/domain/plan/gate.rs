//! The gate in front of a stage: whether its newest commit may count, or a person must look first.

use crate::domain::desired::Desired;
use crate::domain::digest::Digest;
use crate::domain::fleet::{
    Approval, FleetState, HeldChange, HeldReason, Revision, RolloutRecord, StageRecord, Staged, StagedProgress,
    Waiting, WaitingFor,
};
use crate::domain::ids::{DeviceId, ObjectId, PolicyName, StageName};
use crate::domain::plan::ground::List;
use crate::domain::plan::ownership::{claims, claims_listed};
use crate::domain::plan::pass::Scope;
use crate::domain::plan::policy::StagePolicy;
use crate::domain::plan::staged::{Claimed, policy_of, selects};
use crate::domain::plan::tally::Tally;
use crate::domain::plan::verified::unverified;
use crate::domain::planted::{Bug, planted};
use crate::domain::rollout::forecast::{Crowd, StepForecast, forecast};
use crate::domain::snapshot::Head;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The newest commit of a stage, not yet the one that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Commit and tree.
    pub head: Head,
    /// SHA-256 of the list of devices that it was read with; `None` where it lists them itself.
    pub inventory: Option<Digest>,
    /// Its meaning.
    pub desired: Arc<Desired>,
    /// What counted when this one was read.
    pub base: Option<Revision>,
    /// How it relates to that commit.
    pub lineage: Lineage,
}

impl Candidate {
    /// What would count.
    pub fn revision(&self) -> Revision {
        Revision { commit: self.head.commit.clone(), inventory: self.inventory }
    }
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
    /// SHA-256 of the list of devices; `None` where the commit lists them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Digest>,
    /// Changes by device.
    pub changes: Vec<PlannedChange>,
    /// Devices that keep what they have although the commit concerns them, and why.
    pub excluded: BTreeMap<DeviceId, String>,
    /// Devices that go through other releases before they get what the commit wants, and which.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detours: BTreeMap<DeviceId, String>,
    /// Devices that the stage would claim.
    pub claimed: usize,
    /// Reasons for which a person must approve it.
    pub held: Vec<HeldReason>,
    /// What a person approves: stage, tree, list of devices and changes, nothing else.
    pub digest: Digest,
    /// Devices that get their content step by step, by the policy that they follow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rollouts: BTreeMap<PolicyName, PlannedRollout>,
}

/// Devices that follow one policy, and what each of its steps comes to for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRollout {
    /// The devices.
    pub devices: BTreeSet<DeviceId>,
    /// The steps, the last one included. Devices that are held when a step begins, or cannot take the change, are counted here.
    pub steps: Vec<StepForecast>,
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
    let mut tally = Tally::default();
    tally.count(&input.policy.name, input.stages, &input.state.devices, &lists(input), &Scope::All);
    planned(input, &tally)
}

/// What the stages list once the candidate counts.
pub(super) fn lists(input: &PlanInput<'_>) -> Vec<List> {
    let PlanInput { policy, stages, accepted, candidate, .. } = *input;
    let of_stage = |one: &StagePolicy| {
        let desired = if one.name == policy.name { Some(&candidate.desired) } else { accepted.get(&one.name) };
        desired.map(|desired| desired.devices.clone())
    };
    stages.iter().map(of_stage).collect()
}

/// The plan that comes of what was counted.
pub(super) fn planned(input: &PlanInput<'_>, tally: &Tally) -> StagePlan {
    let stage = &input.policy.name;
    let tree = &input.candidate.head.tree;
    let changes: Vec<PlannedChange> = tally.changes.values().cloned().collect();
    let rollouts = by_policy(input, &changes, &tally.legs);
    let held = held_reasons(input, &changes, &rollouts, tally);
    let inventory = input.candidate.inventory;
    let digest = plan_digest(stage, tree, inventory.as_ref(), &changes);
    let (excluded, claimed) = (tally.excluded.clone(), tally.claimed);
    StagePlan {
        stage: stage.clone(),
        tree: tree.clone(),
        inventory,
        changes,
        excluded,
        detours: tally.detours.clone(),
        claimed,
        held,
        digest,
        rollouts,
    }
}

/// Devices whose content changes and that follow a policy.
fn by_policy(
    input: &PlanInput<'_>,
    changes: &[PlannedChange],
    legs: &BTreeMap<DeviceId, u32>,
) -> BTreeMap<PolicyName, PlannedRollout> {
    let PlanInput { policy: StagePolicy { name: stage, .. }, state, candidate, .. } = *input;
    let desired = &*candidate.desired;
    let mut rollouts: BTreeMap<PolicyName, PlannedRollout> = BTreeMap::new();
    if desired.rollouts.rules.is_empty() {
        return rollouts;
    }
    for PlannedChange { device, action, .. } in changes {
        let listed = match action {
            Action::Assign | Action::Retarget => desired.devices.get(device),
            Action::LetGo | Action::Unmanage => None,
        };
        let record = state.devices.get(device);
        // One that goes on to another stage is none of this one's.
        let Some(listed) = listed.filter(|listed| claims_listed(stage, &listed.branch, record)) else { continue };
        let claimed = Claimed { stage, device, listed, record };
        if let Some(policy) = policy_of(desired, &claimed) {
            rollouts.entry(policy).or_default().devices.insert(device.clone());
        }
    }
    for (policy, planned) in &mut rollouts {
        planned.steps = steps(input, policy, &planned.devices, legs);
    }
    rollouts
}

/// What each step of a policy comes to. Which devices a step with `take` takes is only known when it begins; how many is known now.
fn steps(
    input: &PlanInput<'_>,
    policy: &PolicyName,
    devices: &BTreeSet<DeviceId>,
    legs: &BTreeMap<DeviceId, u32>,
) -> Vec<StepForecast> {
    let PlanInput { policy: StagePolicy { name: stage, .. }, state, candidate, .. } = *input;
    let desired = &*candidate.desired;
    let Some(policy) = desired.rollouts.policy(policy) else { return Vec::new() };
    let all = u32::try_from(devices.len()).unwrap_or(u32::MAX);
    let mut left: BTreeSet<&DeviceId> = devices.iter().collect();
    let mut members = Vec::with_capacity(policy.count());
    for step in &policy.steps {
        let selected = left.iter().copied().filter(|device| {
            let listed = desired.devices.get(*device);
            listed.is_some_and(|listed| {
                selects(desired, &step.selector, &Claimed { stage, device, listed, record: state.devices.get(*device) })
            })
        });
        let most = step.take.map_or(usize::MAX, |take| take.ceil_of(all) as usize);
        let taken: Vec<&DeviceId> = selected.take(most).collect();
        taken.iter().for_each(|device| _ = left.remove(device));
        members.push(crowd(&taken, legs));
    }
    members.push(crowd(&left.into_iter().collect::<Vec<_>>(), legs));
    forecast(&policy, &members)
}

fn crowd(devices: &[&DeviceId], legs: &BTreeMap<DeviceId, u32>) -> Crowd {
    let legs = devices.iter().filter_map(|device| legs.get(*device)).max().copied().unwrap_or(0);
    Crowd { devices: u32::try_from(devices.len()).unwrap_or(u32::MAX), legs }
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

fn held_reasons(
    input: &PlanInput<'_>,
    changes: &[PlannedChange],
    rollouts: &BTreeMap<PolicyName, PlannedRollout>,
    tally: &Tally,
) -> Vec<HeldReason> {
    let PlanInput { policy, state, candidate, .. } = *input;
    let Tally { claimed, taken, before, .. } = *tally;
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
        let allowed = policy.deletion_budget.of(record.baseline.max(before));
        let releases = released(changes).next().is_some() && !planted(Bug::IgnoreDeletionBudget);
        if releases && unmanaged.len() > allowed {
            reasons.push(HeldReason::DeletionBudget { unmanaged: unmanaged.len(), allowed });
        }
        if releases && claimed == 0 {
            reasons.push(HeldReason::LastDevice);
        }
    }
    let retargeted = retargeted_at_once(&candidate.desired, changes, rollouts);
    let allowed = policy.unstaged_allowed(claimed, candidate.desired.limits);
    if retargeted > allowed && !planted(Bug::IgnoreBlastRadius) {
        reasons.push(HeldReason::BlastRadius { retargeted, allowed });
    }
    reasons.extend(unverified(input));
    reasons
}

/// How many devices get other content at once: those that follow no policy, and those that a policy gives it to before it has learned
/// anything. A group or a filter that means everybody holds back nobody.
fn retargeted_at_once(
    desired: &Desired,
    changes: &[PlannedChange],
    rollouts: &BTreeMap<PolicyName, PlannedRollout>,
) -> usize {
    let retargeted = || changes.iter().filter(|one| one.action == Action::Retarget).map(|one| &one.device);
    let of_no_policy = |device: &&DeviceId| !rollouts.values().any(|planned| planned.devices.contains(*device));
    let of_policies = rollouts.iter().map(|(policy, planned)| {
        let members: Vec<u32> = planned.steps.iter().map(|step| step.members).collect();
        let first = desired.rollouts.policy(policy).map_or(0, |policy| policy.at_once(&members));
        // Those that get their first content cannot be told from the others in a step that takes a share.
        (first as usize).min(retargeted().filter(|device| planned.devices.contains(*device)).count())
    });
    of_policies.sum::<usize>() + retargeted().filter(of_no_policy).count()
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
fn plan_digest(stage: &StageName, tree: &ObjectId, inventory: Option<&Digest>, changes: &[PlannedChange]) -> Digest {
    let changes = serde_json::to_vec(changes).expect("planned changes have only string keys");
    let parts = [b"bellwether.plan.v1".as_slice(), stage.as_str().as_bytes(), tree.as_str().as_bytes(), &changes];
    match inventory {
        None => Digest::of_parts(parts),
        Some(inventory) => Digest::of_parts(parts.into_iter().chain([inventory.to_string().as_bytes()])),
    }
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

/// Whether the candidate goes out by rollouts once it counts. The same commit with another list of devices goes on as before unless
/// devices get other content: those that are new join what is under way.
///
/// Rollouts that are under way end for a newer commit also if it has none of its own.
fn staged_after(input: &PlanInput<'_>, record: &StageRecord, plan: &StagePlan) -> Option<Staged> {
    let commit = &input.candidate.head.commit;
    let under_way = |one: &RolloutRecord| one.head.stage == input.policy.name && one.head.is_under_way();
    let earlier = input.state.rollouts.values().any(under_way);
    // What a rollout of this commit brings already, or brought and found bad, is nothing new.
    let is_known = |change: &PlannedChange| {
        let mut of_commit = input.state.rollouts.values().filter(|one| one.head.commit == *commit);
        of_commit.any(|one| one.members.get(&change.device).is_some_and(|member| Some(member.target) == change.to))
    };
    let retargets = |planned: &PlannedRollout| {
        let changes = plan.changes.iter().filter(|change| change.action == Action::Retarget);
        changes.filter(|change| planned.devices.contains(&change.device)).any(|change| !is_known(change))
    };
    let same = record.accepted.as_ref() == Some(commit);
    if (plan.rollouts.is_empty() && !follows_later(input, plan) && (same || !earlier))
        || (same && !plan.rollouts.values().any(retargets))
    {
        return record.staged.clone().filter(|staged| same && staged.commit == *commit);
    }
    Some(Staged { commit: commit.clone(), progress: StagedProgress::Owed })
}

/// Whether devices follow a policy that cannot take the change yet: once they can, they get it by a rollout as well.
fn follows_later(input: &PlanInput<'_>, plan: &StagePlan) -> bool {
    let PlanInput { policy: StagePolicy { name: stage, .. }, state, candidate, .. } = *input;
    let desired = &*candidate.desired;
    plan.excluded.keys().any(|device| {
        let (listed, record) = (desired.devices.get(device), state.devices.get(device));
        listed.is_some_and(|listed| {
            let claimed = Claimed { stage, device, listed, record };
            listed.spec.is_some()
                && claims_listed(stage, &listed.branch, record)
                && policy_of(desired, &claimed).is_some()
        })
    })
}

/// Judges a stage's newest commit; `plan` is asked for its plan unless it is broken.
pub fn judge(input: &PlanInput<'_>, now: Timestamp, plan: impl FnOnce(&PlanInput<'_>) -> StagePlan) -> Judgement {
    let PlanInput { policy, state, candidate, .. } = *input;
    let before = state.stages.get(&policy.name);
    let mut record = before.cloned().unwrap_or_else(|| StageRecord {
        accepted: None,
        inventory: None,
        waiting: None,
        unmanaged: BTreeSet::new(),
        baseline: 0,
        staged: None,
        trees: Vec::new(),
    });
    let wait = |mut record: StageRecord, why: WaitingFor| {
        // A commit that goes on waiting for the same thing has waited since then.
        let since = record
            .waiting
            .as_ref()
            .filter(|waiting| waiting.revision() == candidate.revision() && waiting.why == why)
            .map_or(now, |waiting| waiting.since);
        let Head { commit, tree } = candidate.head.clone();
        record.waiting = Some(Waiting { commit, tree, inventory: candidate.inventory, since, why });
        Judgement::Waits { record }
    };
    if let Some(finding) = candidate.desired.rejection().filter(|_| !planted(Bug::AcceptBroken)) {
        let message = format!("{}: {}", finding.place, finding.message);
        return wait(record, WaitingFor::Repair { message });
    }
    let plan = plan(input);
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
    record.staged = staged_after(input, &record, &plan);
    record.accepted = Some(candidate.head.commit.clone());
    record.inventory = candidate.inventory;
    record.note_tree(&candidate.head, approval.as_ref().map(|(_, approval)| approval.actor.clone()));
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
