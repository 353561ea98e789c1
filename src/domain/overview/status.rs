//! The fleet on one screen.

use super::OverviewInput;
use super::device::{DEGRADED, device_drift, devices};
use crate::domain::condition::{Condition, ConditionStatus};
use crate::domain::digest::Digest;
use crate::domain::drift::{Layer, LayerStatus, Verdict};
use crate::domain::finding::{Affects, Finding, Place, Severity, codes};
use crate::domain::fleet::{CountedTree, Hold, HoldScope, IdentityStatus, StageRecord, Waiting};
use crate::domain::generation::Epoch;
use crate::domain::ids::{CommitId, DeviceId, StageName};
use crate::domain::plan::ownership::Standing;
use crate::domain::plan::policy::{Promotion, StagePolicy};
use crate::domain::plan::waits::standing;
use crate::domain::reported::Phase;
use crate::domain::rollout::machine::{Head, Status as RolloutStatus};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many findings of one commit a status carries; `check` shows all.
const MAX_FINDINGS: usize = 100;
/// How many commits that counted before a status names: whoever waits for one of them began minutes ago.
const MAX_EARLIER: usize = 10;

/// The fleet on one screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When it was made.
    pub at: Timestamp,
    /// The epoch of new assignments.
    pub epoch: Epoch,
    /// Stages, least gated first.
    pub stages: Vec<StageStatus>,
    /// Devices that no stage owns.
    pub in_transit: Vec<DeviceId>,
    /// Devices that no stage lists.
    pub unmanaged: Vec<DeviceId>,
    /// Devices that wait for approval.
    pub pending: Vec<DeviceId>,
    /// Devices in conflict, and why.
    pub conflicts: BTreeMap<DeviceId, String>,
    /// Devices that more than one stage claims, and who owns them.
    pub claim_conflicts: BTreeMap<DeviceId, Vec<StageName>>,
    /// Pauses.
    pub holds: Vec<HoldRow>,
}

/// One pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRow {
    /// What it pauses.
    pub on: HoldScope,
    /// Why, who and until when.
    #[serde(flatten)]
    pub hold: Hold,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    /// Its branch.
    pub stage: StageName,
    /// The commit that counts.
    pub accepted: Option<CommitId>,
    /// SHA-256 of the list of devices that counts with it, where the commit does not list them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Digest>,
    /// A newer commit that does not count yet.
    pub waiting: Option<Waiting>,
    /// The tree that counts and what became of it, where that is known; see [`TreeOutcome`](crate::domain::fleet::TreeOutcome).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counting: Option<CountedTree>,
    /// Commits that counted before, the newest first, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<CommitId>,
    /// What its branch may bring.
    #[serde(default, skip_serializing_if = "Promotion::is_any")]
    pub promotion: Promotion,
    /// What is not well with it as a whole: `Degraded` while what it would bring is in quarantine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Devices that it owns.
    pub devices: usize,
    /// Of those, how many have acknowledged and reached what they were assigned.
    pub settled: usize,
    /// Of those, how many failed at it.
    pub failing: usize,
    /// Of those, how many are silent.
    pub offline: usize,
    /// Of those, how many drift.
    pub drifted: usize,
    /// Of those, how many are not known well enough.
    pub unknown: usize,
    /// Findings of the newest commit that was read, at most 100.
    pub findings: Vec<Finding>,
}

impl Status {
    /// Tells of stages whose branch the remote does not have: a slip in the configuration, or somebody deleted it.
    pub fn with_missing(mut self, missing: &[StageName]) -> Self {
        for stage in self.stages.iter_mut().filter(|one| missing.contains(&one.stage)) {
            let message = match &stage.accepted {
                Some(commit) => format!(
                    "the remote has no branch `{}` any more; commit {} goes on counting",
                    stage.stage,
                    commit.short()
                ),
                None => format!("the remote has no branch `{}`", stage.stage),
            };
            stage.findings.insert(
                0,
                Finding {
                    place: Place::file(&format!("branch {}", stage.stage)),
                    severity: Severity::Warning,
                    code: codes::MISSING_BRANCH.name.to_owned(),
                    message,
                    hint: Some(
                        "push the branch again, or correct `stages` in the controller's configuration".to_owned(),
                    ),
                    excerpt: None,
                    affects: Affects::Nothing,
                },
            );
            stage.findings.truncate(MAX_FINDINGS);
        }
        self
    }
}

/// Makes the status of a fleet.
pub fn status(input: &OverviewInput<'_>) -> Status {
    status_among(input, |_| true)
}

/// The same, counting and naming only some devices. What is said of stages as a whole stays.
pub fn status_among(input: &OverviewInput<'_>, is_meant: impl Fn(&DeviceId) -> bool) -> Status {
    let state = input.pass.state;
    let mut stages: Vec<StageStatus> = input.pass.stages.iter().map(|policy| empty_stage(input, policy)).collect();
    let mut result = Status {
        at: input.pass.now,
        epoch: state.epoch(),
        stages: Vec::new(),
        in_transit: Vec::new(),
        unmanaged: Vec::new(),
        pending: Vec::new(),
        conflicts: BTreeMap::new(),
        claim_conflicts: BTreeMap::new(),
        holds: state
            .holds
            .iter()
            .filter(|(scope, hold)| hold.holds(input.pass.now) && concerns(scope, &is_meant))
            .map(|(scope, hold)| HoldRow { on: scope.clone(), hold: hold.clone() })
            .collect(),
    };
    for device in devices(input).into_iter().filter(|device| is_meant(device)) {
        let (standing, claims) = standing(&input.pass, device);
        if claims.len() > 1 {
            result.claim_conflicts.insert(device.clone(), claims.into_iter().collect());
        }
        if let Some(record) = state.devices.get(device) {
            if let Some(conflict) = &record.control.conflict {
                result.conflicts.insert(device.clone(), conflict.message.clone());
            }
            let asks = record
                .identity
                .as_ref()
                .is_some_and(|identity| identity.status == IdentityStatus::Pending || identity.contender.is_some());
            if asks {
                result.pending.push(device.clone());
            }
        }
        match standing {
            Standing::InTransit => result.in_transit.push(device.clone()),
            Standing::Unmanaged => result.unmanaged.push(device.clone()),
            Standing::Owned(stage) => {
                if let Some(stage) = stages.iter_mut().find(|one| one.stage == stage) {
                    count_device(input, device, stage);
                }
            }
        }
    }
    result.stages = stages;
    result
}

fn concerns(scope: &HoldScope, is_meant: impl Fn(&DeviceId) -> bool) -> bool {
    match scope {
        HoldScope::Device(device) => is_meant(device),
        HoldScope::Fleet | HoldScope::Stage(_) => true,
    }
}

fn empty_stage(input: &OverviewInput<'_>, policy: &StagePolicy) -> StageStatus {
    let stage = &policy.name;
    let record = input.pass.state.stages.get(stage);
    let view = input.pass.views.get(stage);
    let newest = view.and_then(|view| {
        let candidate = view.candidate.as_ref().map(|candidate| &candidate.desired);
        candidate.or(view.accepted.as_ref().map(|meaning| &meaning.desired))
    });
    StageStatus {
        stage: stage.clone(),
        accepted: record.and_then(|record| record.accepted.clone()),
        inventory: record.and_then(|record| record.inventory),
        waiting: record.and_then(|record| record.waiting.clone()),
        counting: record.and_then(|record| record.counting_tree().cloned()),
        earlier: record
            .into_iter()
            .flat_map(|record| record.trees.iter().rev().map(|one| &one.commit))
            .filter(|commit| record.and_then(|record| record.accepted.as_ref()) != Some(*commit))
            .take(MAX_EARLIER)
            .cloned()
            .collect(),
        promotion: policy.promotion,
        conditions: record.map(|record| degraded(input, stage, record)).unwrap_or_default(),
        devices: 0,
        settled: 0,
        failing: 0,
        offline: 0,
        drifted: 0,
        unknown: 0,
        findings: newest
            .map(|desired| desired.findings.iter().take(MAX_FINDINGS).cloned().collect())
            .unwrap_or_default(),
    }
}

/// What the commit that counts brings went wrong, or a draft that was made from it: nothing is assigned from that until a newer one
/// counts, or somebody goes on. A commit may have several rollouts, and drafts say nothing of it.
fn degraded(input: &OverviewInput<'_>, stage: &StageName, record: &StageRecord) -> Vec<Condition> {
    let of_stage = input.pass.state.rollouts.values().map(|one| &*one.head);
    let counting = of_stage.filter(|head| {
        let counts = head.draft.as_ref().map_or(&head.commit, |draft| &draft.base);
        head.stage == *stage && record.accepted.as_ref() == Some(counts) && head.status != RolloutStatus::Draft
    });
    let (drafts, own): (Vec<&Head>, Vec<&Head>) = counting.partition(|head| head.draft.is_some());
    // People try drafts until one is good: only the newest one says anything.
    let tried = drafts.into_iter().max_by_key(|head| head.created);
    let own = quarantined("Quarantined", own.into_iter().filter(|head| head.is_quarantined()));
    let tried = quarantined("DraftQuarantined", tried.into_iter().filter(|head| head.is_quarantined()));
    own.into_iter().chain(tried).collect()
}

/// One condition for all of them, the newest first.
fn quarantined<'a>(reason: &str, bad: impl Iterator<Item = &'a Head>) -> Option<Condition> {
    let mut bad: Vec<&Head> = bad.collect();
    bad.sort_by(|one, other| other.created.cmp(&one.created).then_with(|| one.name.cmp(&other.name)));
    let since = bad.iter().filter_map(|head| went_wrong(head)).map(|(since, _)| since).min()?;
    let named = bad.iter().map(|head| {
        let why = went_wrong(head).and_then(|(_, why)| why).map(|why| format!(": {why}")).unwrap_or_default();
        format!("rollout {} is {}{why}", head.name, head.status.as_str())
    });
    let named: Vec<String> = named.collect();
    Some(Condition {
        kind: DEGRADED.to_owned(),
        status: ConditionStatus::True,
        reason: reason.to_owned(),
        message: format!("{}; nothing is assigned from it", named.join("; ")),
        since,
    })
}

/// Since when a rollout's content is in quarantine, and why.
fn went_wrong(head: &Head) -> Option<(Timestamp, Option<&str>)> {
    match &head.status {
        RolloutStatus::Error { why, at } | RolloutStatus::Aborted { why, at } => Some((*at, Some(why))),
        RolloutStatus::RollingBack { since } => Some((*since, None)),
        RolloutStatus::RolledBack { at } => Some((*at, None)),
        RolloutStatus::Draft
        | RolloutStatus::PendingApproval
        | RolloutStatus::Active
        | RolloutStatus::Paused { .. }
        | RolloutStatus::Done { .. }
        | RolloutStatus::Superseded { .. } => None,
    }
}

fn count_device(input: &OverviewInput<'_>, device: &DeviceId, stage: &mut StageStatus) {
    stage.devices += 1;
    let record = input.pass.state.devices.get(device);
    let assignment = record.and_then(|record| record.assignment.as_ref());
    if let (Some(assignment), Some(reported)) = (assignment, record.and_then(|record| record.reported.as_ref()))
        && reported.report.observed == Some(assignment.mark())
    {
        match reported.report.phase {
            Phase::Settled => stage.settled += 1,
            Phase::Failing => stage.failing += 1,
            Phase::Waiting | Phase::Applying => {}
        }
    }
    let drift = device_drift(input, device);
    match drift.verdict() {
        Verdict::InSync => {}
        Verdict::Drifted => stage.drifted += 1,
        Verdict::Unknown => stage.unknown += 1,
    }
    if matches!(drift.layers.get(&Layer::Connectivity), Some(LayerStatus::Drifted { .. })) {
        stage.offline += 1;
    }
}
