//! Verified promotion: a stage takes only trees that have finished in the stage before, and those that it had itself.
//!
//! It is the tree that is verified and not the commit: a merge and a squash of a promotion end with the tree that was tried, whatever the
//! commit is called, and a rebase or an edit ends with another. A stage may always go back to a tree that counted there before and did
//! not go wrong; in trouble nobody should have to wait for a stage that is less gated.

use crate::domain::assignment::Assignment;
use crate::domain::desired::Desired;
use crate::domain::digest::Digest;
use crate::domain::fleet::{
    Change, DeviceRecord, Event, HeldReason, RolloutRecord, StageRecord, StagedProgress, TreeOutcome, Unverified,
};
use crate::domain::ids::{Actor, CommitId, DeviceId, ObjectId, StageName};
use crate::domain::plan::gate::PlanInput;
use crate::domain::plan::ownership::owner;
use crate::domain::plan::pass::{PassInput, hold_on, is_enrolled};
use crate::domain::plan::policy::{Promotion, StagePolicy};
use crate::domain::plan::requires::unmet;
use crate::domain::plan::rollouts::{has_settled, keeps};
use crate::domain::plan::staged::{Claimed, policy_of};
use crate::domain::rollout::machine::{Phase, Status};
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Why a commit is held whose tree is not verified; `None` if it is, or needs not be.
pub(super) fn unverified(input: &PlanInput<'_>) -> Option<HeldReason> {
    let PlanInput { policy, stages, state, candidate, .. } = *input;
    match policy.promotion {
        Promotion::Any => return None,
        Promotion::Verified => {}
    }
    let tree = &candidate.head.tree;
    let own = state.stages.get(&policy.name);
    let counts = own.is_some_and(|own| {
        // A record that is older than the list of trees knows its commit all the same.
        own.accepted.as_ref() == Some(&candidate.head.commit)
            || own.counting_tree().is_some_and(|counting| counting.tree == *tree)
    });
    let was_here = match own.and_then(|own| own.outcome_of(tree)) {
        Some(TreeOutcome::Trying | TreeOutcome::Finished { .. }) => true,
        Some(TreeOutcome::WentWrong { .. }) | None => false,
    };
    if counts || was_here {
        return None;
    }
    let before = before(stages, policy)?;
    let why = match state.stages.get(before).and_then(|record| record.outcome_of(tree)) {
        Some(TreeOutcome::Finished { .. }) => return None,
        Some(TreeOutcome::Trying) => Unverified::Trying,
        Some(TreeOutcome::WentWrong { .. }) => Unverified::WentWrong,
        None => Unverified::Unknown,
    };
    Some(HeldReason::Unverified { before: before.clone(), why })
}

/// The stage before one; `None` for the first, which gets what is to be tried.
fn before<'a>(stages: &'a [StagePolicy], policy: &StagePolicy) -> Option<&'a StageName> {
    let place = stages.iter().position(|one| one.name == policy.name)?;
    Some(&stages.get(place.checked_sub(1)?)?.name)
}

/// Follows what counts until it has finished.
#[derive(Debug, Default)]
pub(super) struct Proving {
    /// Of a stage whose commit has not finished: a device for which it waits. As long as it does, nobody else needs to be looked at.
    waits: BTreeMap<StageName, (CommitId, DeviceId)>,
}

/// What one device means for whether a commit has finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Nothing: the commit changed nothing on it, or a rollout speaks for it.
    None,
    /// It has what the commit changed, and is well.
    Exercised,
    /// It keeps what it has for a while, because it is held or cannot take the change.
    Spared,
    /// It has not got there.
    Awaited,
}

impl Proving {
    /// Notes what has become of the trees that count, as far as that is new, beside whatever else the pass decided.
    pub(super) fn prove(&mut self, input: &PassInput<'_>, changes: &mut Vec<Change>) {
        for (place, policy) in input.stages.iter().enumerate() {
            let next = input.stages.get(place + 1);
            let asks = |one: &StagePolicy| one.promotion == Promotion::Verified;
            let Some(record) = input.state.stages.get(&policy.name) else { continue };
            if !asks(policy) && !next.is_some_and(asks) {
                continue;
            }
            let Some(outcome) = self.outcome(input, &policy.name, record) else { continue };
            let Some(tree) = record.trees.last() else { continue };
            let message = match &outcome {
                TreeOutcome::Trying => continue,
                TreeOutcome::Finished { exercised, .. } => {
                    format!("commit {} has finished: {exercised} devices exercised", tree.commit.short())
                }
                TreeOutcome::WentWrong { .. } => format!("commit {} went wrong", tree.commit.short()),
            };
            changes.push(Change::Event(Event {
                at: input.now,
                actor: Actor::controller(),
                kind: "Tried".to_owned(),
                subject: policy.name.to_string(),
                message,
                rollout: None,
            }));
            // What is remembered of a stage is written once in a pass.
            let written = changes.iter_mut().find_map(|change| match change {
                Change::Stage(stage, record) if *stage == policy.name => Some(record),
                _ => None,
            });
            match written {
                Some(written) => became(written, &tree.tree, &outcome),
                None => {
                    let mut record = record.clone();
                    became(&mut record, &tree.tree, &outcome);
                    changes.push(Change::Stage(policy.name.clone(), record));
                }
            }
        }
    }

    /// What has become of the tree that counts; `None` if that is what is known already.
    fn outcome(&mut self, input: &PassInput<'_>, stage: &StageName, record: &StageRecord) -> Option<TreeOutcome> {
        let counting = record.counting_tree()?;
        let commit = &counting.commit;
        let rollouts: Vec<&RolloutRecord> =
            input.state.rollouts.values().filter(|one| is_of(one, stage, commit)).collect();
        if rollouts.iter().any(|one| one.head.is_quarantined()) {
            let known = matches!(counting.outcome, TreeOutcome::WentWrong { .. });
            return (!known).then_some(TreeOutcome::WentWrong { at: input.now });
        }
        let owed = record.staged.as_ref().is_some_and(|staged| staged.progress == StagedProgress::Owed);
        let under_way = !rollouts.iter().all(|one| has_ended(one, commit));
        if matches!(counting.outcome, TreeOutcome::Finished { .. }) || owed || under_way {
            return None;
        }
        let desired = input.accepted(stage)?;
        let finished = record.trees.iter().filter_map(|one| match one.outcome {
            TreeOutcome::Finished { at, .. } => Some(at),
            TreeOutcome::Trying | TreeOutcome::WentWrong { .. } => None,
        });
        let looks = Looks { input, stage, record, desired, commit, finished: finished.max() };
        let devices = self.devices(&looks)?;
        let by_rollout = rollouts.iter().flat_map(|one| one.members.values());
        let by_rollout = by_rollout.filter(|member| matches!(member.phase, Phase::Succeeded { .. })).count();
        let exercised = devices.exercised + by_rollout;
        // It was wanted on devices, and tried on none.
        (exercised > 0 || devices.spared == 0).then_some(TreeOutcome::Finished { at: input.now, exercised })
    }

    /// How the devices stand that get what they get at once; `None` if one of them has not got there.
    fn devices(&mut self, looks: &Looks<'_>) -> Option<Count> {
        // From the one on that was waited for last: those before it were there when they were looked at, so that everybody is looked
        // at a few times at most until all are there. What is answered does not depend on where it begins.
        let known = self.waits.remove(looks.stage).filter(|(commit, _)| commit == looks.commit);
        let from = known.map(|(_, device)| device);
        let devices = &looks.input.state.devices;
        let (rest, first): (Vec<_>, Vec<_>) = match &from {
            Some(from) => (
                vec![devices.range::<DeviceId, _>(from..)],
                vec![devices.range::<DeviceId, _>((Bound::Unbounded, Bound::Excluded(from)))],
            ),
            None => (vec![devices.range::<DeviceId, _>(..)], Vec::new()),
        };
        let mut count = Count::default();
        for (device, record) in rest.into_iter().chain(first).flatten() {
            match looks.part(device, record) {
                Part::None => {}
                Part::Exercised => count.exercised += 1,
                Part::Spared => count.spared += 1,
                Part::Awaited => {
                    self.waits.insert(looks.stage.clone(), (looks.commit.clone(), device.clone()));
                    return None;
                }
            }
        }
        Some(count)
    }
}

fn became(record: &mut StageRecord, tree: &ObjectId, outcome: &TreeOutcome) {
    if let Some(known) = record.trees.iter_mut().find(|one| one.tree == *tree) {
        known.outcome = outcome.clone();
    }
}

#[derive(Debug, Default)]
struct Count {
    exercised: usize,
    spared: usize,
}

/// What devices are looked at for.
struct Looks<'a> {
    input: &'a PassInput<'a>,
    stage: &'a StageName,
    record: &'a StageRecord,
    desired: &'a Desired,
    commit: &'a CommitId,
    /// When something of the stage finished last. What was assigned since then has never been seen to be well, also where the commit
    /// that counts by now did not bring it.
    finished: Option<Timestamp>,
}

impl Looks<'_> {
    fn part(&self, device: &DeviceId, record: &DeviceRecord) -> Part {
        let Self { input, stage, desired, commit, .. } = *self;
        let listed = desired.devices.get(device);
        let spec = listed.and_then(|listed| Some((listed, listed.spec.as_ref()?)));
        let Some((listed, spec)) = spec.filter(|_| is_enrolled(record)) else { return Part::None };
        if owner(input.stages, &record.control.claims) != Some(stage) {
            return Part::None;
        }
        let assigned = record.assignment.as_deref();
        let has_it = assigned.is_some_and(|assigned| assigned.spec.digest == spec.digest);
        if self.went_wrong(device, &spec.digest) {
            return Part::Awaited;
        }
        let claimed = Claimed { stage, device, listed, record: Some(record) };
        let staged = self.record.staged.as_ref().is_some_and(|staged| staged.commit == *commit);
        if staged && policy_of(desired, &claimed).is_some() {
            return Part::None;
        }
        let is_new = |assigned: &Assignment| {
            assigned.rollout.is_none() && self.finished.is_none_or(|finished| finished <= assigned.assigned_at)
        };
        match (has_it, assigned.is_some_and(is_new)) {
            (true, true) if has_settled(record) => Part::Exercised,
            (true, true) => Part::Awaited,
            (true, false) => Part::None,
            (false, _) => {
                let held = hold_on(input.state, device, Some(stage), Some(listed), input.now).is_some();
                let drafted = || input.state.rollouts.values().any(|one| keeps(one, device, commit));
                let spared =
                    held || record.control.conflict.is_some() || !unmet(listed, record).is_empty() || drafted();
                if spared { Part::Spared } else { Part::Awaited }
            }
        }
    }

    /// Whether what a device would get went wrong with it, in whatever rollout of the stage, and is kept from it.
    fn went_wrong(&self, device: &DeviceId, digest: &Digest) -> bool {
        let of_stage = self.input.state.rollouts.values().filter(|one| one.head.stage == *self.stage);
        of_stage.filter(|one| one.head.is_quarantined()).any(|one| one.quarantines(device, self.commit, digest))
    }
}

fn is_of(rollout: &RolloutRecord, stage: &StageName, commit: &CommitId) -> bool {
    let head = &rollout.head;
    head.stage == *stage && head.commit == *commit && head.draft.is_none()
}

/// Whether nothing more is waited for. A rollout whose place another one of the same commit took has handed its devices on.
fn has_ended(rollout: &RolloutRecord, commit: &CommitId) -> bool {
    match &rollout.head.status {
        Status::Done { .. } => true,
        Status::Superseded { by, .. } => by == commit,
        Status::Draft
        | Status::PendingApproval
        | Status::Active
        | Status::Paused { .. }
        | Status::Error { .. }
        | Status::Aborted { .. }
        | Status::RollingBack { .. }
        | Status::RolledBack { .. } => false,
    }
}
