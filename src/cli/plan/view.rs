//! A plan as it is shown and kept: the same for the same commits and the same baseline, whoever makes it.

use crate::cli::planning::{Against, Planned};
use crate::cli::render::udiff;
use crate::domain::finding::Finding;
use crate::domain::ids::CommitId;
use crate::domain::overview::changes::{ChangeGroup, field_changes, group_changes};
use crate::domain::plan::conflicts::ClaimConflict;
use crate::domain::plan::gate::StagePlan;
use crate::domain::spec::SealedSpec;
use serde::{Deserialize, Serialize};

/// How many groups are shown line by line too: nobody reads more, and each costs work.
const MAX_DIFFS: usize = 200;
/// The longest content that is compared line by line, in bytes. Ordinary devices have a few kilobytes.
const MAX_COMPARED_BYTES: usize = 256 << 10;
/// The longest diff that is kept, in bytes: some hundred lines.
const MAX_DIFF_BYTES: usize = 16 << 10;

/// A plan as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// The commit.
    pub commit: CommitId,
    /// The commit that it would be merged into: what is planned is the merge. `None` for a commit that is planned as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onto: Option<CommitId>,
    /// What it was planned against.
    pub against: Against,
    /// The plan.
    #[serde(flatten)]
    pub plan: StagePlan,
    /// Equal changes together, field by field.
    pub groups: Vec<GroupView>,
    /// Devices that other stages would claim too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ClaimConflict>,
    /// What is wrong with the commit.
    pub findings: Vec<Finding>,
    /// What whoever reads the plan should know of how it was made.
    pub notes: Vec<String>,
    /// What could not be determined.
    pub unknown: Vec<String>,
}

/// Devices for which the same happens, as they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// The devices and their fields.
    #[serde(flatten)]
    pub group: ChangeGroup,
    /// The content of the first of them before and after, as `diff -u` shows it. `None` where it keeps what it has, and where
    /// that would be too much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

impl PlanView {
    /// The plan for showing it.
    pub fn new(planned: Planned) -> Self {
        let changes = planned.plan.changes.iter().map(|change| {
            let device = &change.device;
            let from = planned.assigned(device).map(|spec| &*spec.spec);
            // A device that is let go keeps what it has: nothing of it changes.
            let fields = match change.to {
                Some(_) => field_changes(from, planned.wanted(device).map(|spec| &*spec.spec)),
                None => Vec::new(),
            };
            (device.clone(), change.action, fields)
        });
        let groups = group_changes(changes).into_iter().enumerate();
        let groups = groups.map(|(number, group)| {
            let diff = if number < MAX_DIFFS { diff(&planned, &group) } else { None };
            GroupView { group, diff }
        });
        let groups = groups.collect();
        let Planned { plan, commit, onto, desired, against, conflicts, notes, unknown, .. } = planned;
        Self { commit, onto, against, plan, groups, conflicts, findings: desired.findings.clone(), notes, unknown }
    }
}

fn diff(planned: &Planned, group: &ChangeGroup) -> Option<String> {
    let device = group.devices.first().filter(|_| !group.fields.is_empty())?;
    let (before, after) = (planned.assigned(device), planned.wanted(device));
    let name = |side: &str, spec: Option<&SealedSpec>| match spec {
        Some(spec) => format!("{device} {side} {}", spec.digest.short()),
        None => format!("{device} {side} nothing"),
    };
    let (old, new) = (udiff::pretty(before), udiff::pretty(after));
    if old.len() > MAX_COMPARED_BYTES || new.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let text = udiff::unified(&old, &new, &name("assigned", before), &name("desired", after));
    let text = anstream::adapter::strip_str(&text).to_string();
    Some(text).filter(|text| !text.is_empty() && text.len() <= MAX_DIFF_BYTES)
}
