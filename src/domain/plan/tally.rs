//! What a commit of one stage comes to, device by device, and counted together.
//!
//! Each device is judged by what is known of it and what the stages list for it, and by nothing else. So the count of one commit
//! is the count of the one before, except for the devices that something happened to.

use super::gate::{Action, PlannedChange};
use super::ground::{Found, List, visit};
use super::ownership::{claims_listed, claims_looked_up};
use super::pass::Scope;
use super::policy::StagePolicy;
use super::requires::{Unmet, unmet};
use super::ways::{Way, way};
use crate::domain::digest::Digest;
use crate::domain::fleet::DeviceRecord;
use crate::domain::ids::{DeviceId, StageName};
use crate::domain::spec::SealedSpec;
use std::collections::BTreeMap;

/// Everything that a commit comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Changes by device.
    pub(super) changes: BTreeMap<DeviceId, PlannedChange>,
    /// Devices that keep what they have although the commit concerns them, and why.
    pub(super) excluded: BTreeMap<DeviceId, String>,
    /// Devices that go through other releases first, and which.
    pub(super) detours: BTreeMap<DeviceId, String>,
    /// Through how many releases each of these goes first.
    pub(super) legs: BTreeMap<DeviceId, u32>,
    /// Devices that the stage would claim.
    pub(super) claimed: usize,
    /// Of those that it would own: devices that were assigned something before.
    pub(super) taken: usize,
    /// Devices that the stage claimed before.
    pub(super) before: usize,
    /// What each device counts for; devices that count for nothing are left out.
    marks: BTreeMap<DeviceId, Marks>,
}

/// What one device counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Marks {
    claimed: bool,
    taken: bool,
    before: bool,
}

/// What a commit means for one device.
enum Verdict {
    Nothing,
    Excluded(String),
    Changes(PlannedChange),
    ChangesOnTheWay(PlannedChange, Way),
}

impl Tally {
    /// Counts the devices of a scope again. `stages` are all of them, least gated first; the lists are theirs, with what the commit
    /// lists in the place of its `stage`.
    pub(super) fn count(
        &mut self,
        stage: &StageName,
        stages: &[StagePolicy],
        devices: &BTreeMap<DeviceId, DeviceRecord>,
        lists: &[List],
        scope: &Scope,
    ) {
        let Some(own) = stages.iter().position(|policy| policy.name == *stage) else { return };
        if matches!(scope, Scope::All) {
            *self = Self::default();
        }
        visit(devices, lists, scope, |found| {
            self.take_away(found.device);
            let (marks, verdict) = judge(own, stages, found);
            self.add(found.device, marks, verdict);
        });
    }

    fn take_away(&mut self, device: &DeviceId) {
        let Some(Marks { claimed, taken, before }) = self.marks.remove(device) else { return };
        self.claimed -= usize::from(claimed);
        self.taken -= usize::from(taken);
        self.before -= usize::from(before);
        self.changes.remove(device);
        self.excluded.remove(device);
        self.detours.remove(device);
        self.legs.remove(device);
    }

    fn add(&mut self, device: &DeviceId, marks: Marks, verdict: Verdict) {
        if marks == Marks::default() {
            return;
        }
        let Marks { claimed, taken, before } = marks;
        self.marks.insert(device.clone(), marks);
        self.claimed += usize::from(claimed);
        self.taken += usize::from(taken);
        self.before += usize::from(before);
        match verdict {
            Verdict::Nothing => {}
            Verdict::Excluded(why) => {
                self.excluded.insert(device.clone(), why);
            }
            Verdict::Changes(change) => {
                self.changes.insert(device.clone(), change);
            }
            Verdict::ChangesOnTheWay(change, way) => {
                self.changes.insert(device.clone(), change);
                self.detours.insert(device.clone(), way.to_string());
                self.legs.insert(device.clone(), u32::try_from(way.legs.len()).unwrap_or(u32::MAX));
            }
        }
    }
}

/// What the commit means for one device. A device that the stage neither claimed nor would claim counts for nothing.
fn judge(own: usize, stages: &[StagePolicy], found: &Found<'_>) -> (Marks, Verdict) {
    let Found { device, record, listed } = *found;
    let stage = &stages[own].name;
    let claims =
        |at: &usize| claims_looked_up(&stages[*at].name, listed[*at].map(|one| one.map(AsRef::as_ref)), record);
    let mut marks = Marks {
        claimed: false,
        taken: false,
        before: record.is_some_and(|record| record.control.claims.contains(stage)),
    };
    let here = listed[own].flatten();
    let Some(claimed) = here.filter(|one| claims_listed(stage, &one.branch, record)) else {
        if !marks.before {
            return (marks, Verdict::Nothing);
        }
        let Some(next) = (0..stages.len()).rev().filter(|at| *at != own).find(claims) else {
            // The words that people read in the status afterwards: whoever is listed anywhere is in transit.
            let action =
                if listed.iter().any(|one| one.flatten().is_some()) { Action::LetGo } else { Action::Unmanage };
            let change = PlannedChange { device: device.clone(), action, from: assigned_digest(record), to: None };
            return (marks, Verdict::Changes(change));
        };
        // Handing a device to another stage changes its content too, and it is this commit that does it.
        let theirs = listed[next].flatten().and_then(|one| one.spec.as_ref()).filter(|_| next < own);
        return (marks, theirs.map_or(Verdict::Nothing, |spec| content_change(device, record, spec)));
    };
    marks.claimed = true;
    if let Some(winner) = (own + 1..stages.len()).rev().find(claims) {
        return (marks, Verdict::Excluded(format!("stage {} claims it too and is more gated", stages[winner].name)));
    }
    marks.taken = record.is_some_and(|record| record.assignment.is_some());
    let verdict = match &claimed.spec {
        None => {
            let problem = claimed.problem.clone();
            Verdict::Excluded(problem.unwrap_or_else(|| "its files have findings".to_owned()))
        }
        Some(spec) => match record.and_then(|record| unmet(claimed, record).into_iter().next()) {
            Some(Unmet { message, hint, .. }) => Verdict::Excluded(format!("{message}; {hint}")),
            None => match (content_change(device, record, spec), way(claimed, record)) {
                (Verdict::Changes(change), Ok(way)) if !way.legs.is_empty() => Verdict::ChangesOnTheWay(change, way),
                (verdict, _) => verdict,
            },
        },
    };
    (marks, verdict)
}

/// What changes if a device is to have this content.
fn content_change(device: &DeviceId, record: Option<&DeviceRecord>, spec: &SealedSpec) -> Verdict {
    let from = assigned_digest(record);
    let action = if from.is_some() { Action::Retarget } else { Action::Assign };
    let to = Some(spec.digest);
    if from == to {
        Verdict::Nothing
    } else {
        Verdict::Changes(PlannedChange { device: device.clone(), action, from, to })
    }
}

fn assigned_digest(record: Option<&DeviceRecord>) -> Option<Digest> {
    Some(record?.assignment.as_ref()?.spec.digest)
}
