//! Passes that remember: nothing is decided again that nothing happened to.
//!
//! A device is decided about from its own record, what the stages list for it, and a few things that concern all: the order of the
//! stages, the epoch, holds, and time where a hold ends. Whoever neither changed nor was listed otherwise since a pass that had
//! nothing to change for it needs no second look. So a commit of one file costs what that file costs, however large the fleet is.
//!
//! Whatever is remembered, the answer is the one of [`pass`](super::pass::pass), which remembers nothing.

use super::gate::{PlanInput, StagePlan, lists, planned};
use super::ground::{List, moved, visit};
use super::pass::{
    Counting, PassInput, PassOutput, Scope, decide_device, drop_void_approvals, judge_candidates, widened,
};
use super::rollouts::{Machines, NewDraft, RolloutActError, RolloutAsked};
use super::tally::Tally;
use super::verified::Proving;
use crate::domain::desired::{Desired, Variant};
use crate::domain::fleet::{Change, FleetState, Hold, HoldScope, RolloutChange, StageRecord};
use crate::domain::generation::Epoch;
use crate::domain::ids::{Actor, CommitId, DeviceId, RolloutName, StageName};
use crate::domain::reported::Report;
use crate::domain::rollout::freeze::Weather;
use crate::domain::rollout::machine::Which;
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// If more than one in so many devices are to be looked at, walking along all of them is cheaper than finding each.
const WALK_FROM: usize = 4;

/// Passes over one state. Every change of the state must be [noted](Passes::note), or everything [forgotten](Passes::forget).
#[derive(Debug, Default)]
pub struct Passes {
    /// The stages that everything is about, least gated first.
    stages: Vec<StageName>,
    planned: BTreeMap<StageName, Planned>,
    decided: Option<Decided>,
    machines: Machines,
    proving: Proving,
}

/// What a stage's newest commit came to.
#[derive(Debug)]
struct Planned {
    lists: Vec<List>,
    tally: Tally,
    /// Devices that something happened to since then.
    touched: BTreeSet<DeviceId>,
}

/// What the last pass over all devices decided from. It had nothing to change for any device that was not touched since then.
#[derive(Debug)]
struct Decided {
    lists: Vec<List>,
    epoch: Epoch,
    holds: BTreeMap<HoldScope, Hold>,
    at: Timestamp,
    /// When the next hold ends by itself.
    due: Option<Timestamp>,
    touched: BTreeSet<DeviceId>,
}

impl Passes {
    /// Decides everything that is to be decided now.
    pub fn pass(&mut self, input: &PassInput<'_>, scope: &Scope) -> PassOutput {
        if !self.stages.iter().eq(input.stages.iter().map(|policy| &policy.name)) {
            self.forget();
            self.stages = input.stages.iter().map(|policy| policy.name.clone()).collect();
        }
        let mut output = PassOutput::default();
        let mut accepted: BTreeMap<StageName, Arc<Desired>> = input
            .stages
            .iter()
            .filter_map(|policy| Some((policy.name.clone(), input.accepted(&policy.name)?.clone())))
            .collect();
        match widened(input, scope) {
            Scope::All => {
                judge_candidates(input, &mut accepted, &mut output, |commit| self.plan(commit));
                drop_void_approvals(input, &mut output);
                // What counts from now on is carried out by the next pass.
                let taken = match output.accepted.is_empty() {
                    true => self.machines.drive(input, &Scope::All, &mut output),
                    false => BTreeSet::new(),
                };
                self.decide_all(input, &accepted, taken, &mut output);
            }
            scope @ Scope::Devices(_) => {
                let taken = self.machines.drive(input, scope, &mut output);
                let lists = listed(input, &accepted);
                let counting = counting(input, accepted, taken, &output);
                visit(&input.state.devices, &lists, scope, |found| decide_device(input, &counting, found, &mut output));
            }
        }
        if !output.joins.is_empty() {
            let joins = std::mem::take(&mut output.joins);
            self.machines.join(input, joins, &mut output);
        }
        self.proving.prove(input, &mut output.changes);
        output
    }

    /// Notes what is about to become of the state: whatever happens to a device may change what is decided about it.
    pub fn note(&mut self, before: &FleetState, changes: &[Change]) {
        self.machines.note(before, changes);
        if changes.iter().any(|change| opens_ways(before, change)) {
            self.decided = None;
        }
        let touched = self.planned.values_mut().map(|planned| &mut planned.touched);
        let mut touched: Vec<_> = touched.chain(self.decided.as_mut().map(|decided| &mut decided.touched)).collect();
        for device in changes.iter().filter_map(|change| decisive(before, change)) {
            touched.iter_mut().for_each(|touched| _ = touched.insert(device.clone()));
        }
    }

    /// Forgets everything. The next pass looks at all devices, and rollouts are due.
    pub fn forget(&mut self) {
        *self = Self::default();
        self.machines.due = Some(Timestamp::from_millis(0));
    }

    /// What is counted for budgets.
    #[cfg(test)]
    pub(super) fn crowds(&self) -> &super::rollouts::Crowds {
        self.machines.crowds()
    }

    /// When the next hold or freeze ends by itself, in the controller's memory or in a fleet repo, as the last pass over everything
    /// saw it.
    pub fn due(&self) -> Option<Timestamp> {
        self.decided.as_ref()?.due
    }

    /// When a rollout is to be looked at again although nothing was heard.
    pub fn rollouts_due(&self) -> Option<Timestamp> {
        self.machines.due
    }

    /// Does what somebody asks of a rollout.
    pub fn act(
        &mut self,
        input: &PassInput<'_>,
        rollout: &RolloutName,
        asked: impl Into<RolloutAsked>,
        actor: &Actor,
        reason: &str,
    ) -> Result<Vec<Change>, RolloutActError> {
        self.machines.act(input, rollout, asked.into(), actor, reason)
    }

    /// Makes a rollout that somebody drafted.
    pub fn draft(
        &mut self,
        input: &PassInput<'_>,
        draft: &NewDraft,
        actor: &Actor,
        reason: &str,
    ) -> Result<Vec<Change>, RolloutActError> {
        Ok(self.machines.draft(input, draft, actor, reason)?)
    }

    /// Lets devices of a rollout that failed go through another release first.
    pub fn reroute(
        &mut self,
        input: &PassInput<'_>,
        rollout: &RolloutName,
        which_through: (&Which, &Variant),
        actor: &Actor,
        reason: &str,
    ) -> Result<Vec<Change>, RolloutActError> {
        self.machines.reroute(input, rollout, which_through, actor, reason)
    }

    fn plan(&mut self, input: &PlanInput<'_>) -> StagePlan {
        let stage = &input.policy.name;
        let lists = lists(input);
        let (mut tally, scope) = match self.planned.remove(stage) {
            Some(Planned { lists: before, tally, touched }) => (tally, moved(&before, &lists, touched)),
            None => (Tally::default(), Scope::All),
        };
        let devices = &input.state.devices;
        tally.count(stage, input.stages, devices, &lists, &worthwhile(scope, devices.len()));
        let plan = planned(input, &tally);
        self.planned.insert(stage.clone(), Planned { lists, tally, touched: BTreeSet::new() });
        plan
    }

    fn decide_all(
        &mut self,
        input: &PassInput<'_>,
        accepted: &BTreeMap<StageName, Arc<Desired>>,
        taken: BTreeSet<DeviceId>,
        output: &mut PassOutput,
    ) {
        let PassInput { now, state, .. } = *input;
        let lists = listed(input, accepted);
        let thaws = accepted.values().filter_map(|desired| match desired.rollouts.freezes.weather(now) {
            Weather::Fair { until } | Weather::Frozen { until, .. } => until,
        });
        let thaws = thaws.filter(|until| *until > now).min();
        let same = |last: &Decided| {
            let in_time = last.at <= now && last.due.is_none_or(|due| now < due);
            in_time && last.epoch == state.epoch() && last.holds == state.holds
        };
        let (scope, mut due) = match self.decided.take().filter(same) {
            Some(last) => (moved(&last.lists, &lists, last.touched), last.due),
            None => (Scope::All, state.holds.values().filter_map(|hold| hold.until).filter(|until| *until > now).min()),
        };
        due = due.into_iter().chain(thaws).min();
        let counting = counting(input, accepted.clone(), taken, output);
        let decided = output.changes.len();
        visit(&state.devices, &lists, &worthwhile(scope, state.devices.len()), |found| {
            let holds = found.listed.iter().filter_map(|listed| listed.as_ref()?.as_ref()?.hold.as_ref()?.until);
            due = holds.filter(|until| *until > now).chain(due).min();
            decide_device(input, &counting, found, output);
        });
        // What is decided now is not written yet, and may never be.
        let touched: BTreeSet<DeviceId> = output.changes[decided..]
            .iter()
            .filter_map(|change| decisive(state, change))
            .cloned()
            .chain(counting.taken)
            .chain(output.joins.iter().map(|join| join.device.clone()))
            .collect();
        self.decided = Some(Decided { lists, epoch: state.epoch(), holds: state.holds.clone(), at: now, due, touched });
    }
}

fn worthwhile(scope: Scope, devices: usize) -> Scope {
    match scope {
        Scope::Devices(some) if some.len().saturating_mul(WALK_FROM) > devices => Scope::All,
        Scope::Devices(_) | Scope::All => scope,
    }
}

/// What the stages list, as far as their commits have been read.
fn listed(input: &PassInput<'_>, accepted: &BTreeMap<StageName, Arc<Desired>>) -> Vec<List> {
    let of_stage = |name| accepted.get(name).map(|desired: &Arc<Desired>| desired.devices.clone());
    input.stages.iter().map(|policy| of_stage(&policy.name)).collect()
}

/// What counts, what counts from now on included.
fn counting(
    input: &PassInput<'_>,
    desired: BTreeMap<StageName, Arc<Desired>>,
    taken: BTreeSet<DeviceId>,
    output: &PassOutput,
) -> Counting {
    let records = input.state.stages.iter();
    let written = output.changes.iter().filter_map(|change| match change {
        Change::Stage(stage, record) => Some((stage, record)),
        _ => None,
    });
    let latest: BTreeMap<&StageName, &StageRecord> = records.chain(written).collect();
    let staged = latest.into_iter().filter_map(|(stage, record)| Some((stage.clone(), record.staged.clone()?)));
    Counting { commits: commits(input, output), desired, staged: staged.collect(), taken }
}

/// Whether a change may let devices get content in another way than before, whether or not their content is listed otherwise.
fn opens_ways(before: &FleetState, change: &Change) -> bool {
    match change {
        Change::Rollout(name, RolloutChange::Head { head, .. }) => {
            let known = before.rollouts.get(name).map(|record| &record.head);
            known.map(|known| std::mem::discriminant(&known.status)) != Some(std::mem::discriminant(&head.status))
                || known.is_some_and(|known| known.lifted != head.lifted)
        }
        Change::Rollout(_, RolloutChange::Gone) => true,
        Change::Stage(stage, record) => {
            let known = before.stages.get(stage);
            let staged = known.and_then(|known| known.staged.as_ref());
            staged != record.staged.as_ref()
                || (staged.is_some() && known.map(|known| &known.accepted) != Some(&record.accepted))
        }
        _ => false,
    }
}

/// The commits that count, those included that count from now on.
fn commits(input: &PassInput<'_>, output: &PassOutput) -> BTreeMap<StageName, CommitId> {
    let stages = input.state.stages.iter();
    let mut commits: BTreeMap<_, _> =
        stages.filter_map(|(stage, record)| Some((stage.clone(), record.accepted.clone()?))).collect();
    for stage in &output.accepted {
        let candidate = input.views.get(stage).and_then(|view| view.candidate.as_ref());
        commits.extend(candidate.map(|candidate| (stage.clone(), candidate.head.commit.clone())));
    }
    commits
}

/// The device about which a change may change a decision.
fn decisive<'a>(before: &FleetState, change: &'a Change) -> Option<&'a DeviceId> {
    match change {
        Change::Identity(device, _)
        | Change::Control(device, _)
        // Filters of policies and groups read what the registry says of a device.
        | Change::Registry(device, _)
        | Change::Unreported(device)
        | Change::Forget(device) => Some(device),
        Change::Assignment(assignment) => Some(&assignment.device),
        Change::Unassigned(device) | Change::Rollout(_, RolloutChange::Member(device, _)) => Some(device),
        Change::Reported(device, reported) => {
            let known = before.devices.get(device).and_then(|record| record.reported.as_ref());
            let alike = known.is_some_and(|known| heard_alike(&known.report, &reported.report));
            (!alike).then_some(device)
        }
        // No decision about a device reads these, or all of them are compared as a whole.
        Change::Epoch(_)
        | Change::Actions(..)
        | Change::Stage(..)
        | Change::Token(..)
        | Change::TokenGone(_)
        | Change::Approval(..)
        | Change::ApprovalGone(_)
        | Change::Hold(..)
        | Change::HoldGone(_)
        | Change::Rollout(_, RolloutChange::Head { .. } | RolloutChange::Content(_) | RolloutChange::Gone)
        | Change::Heartbeat(_)
        | Change::Told(..)
        | Change::ToldGone(_)
        | Change::Event(_) => None,
    }
}

/// Whether two reports say the same of all that a decision about the device reads: its place, what it has reached or failed to, its
/// choice of a stage, and what releases may require. How it fares changes far more often.
fn heard_alike(one: &Report, other: &Report) -> bool {
    let os = |report: &Report| report.os.as_ref().map(|os| os.version.clone());
    let failed = |report: &Report| report.failure.as_ref().map(|failure| failure.digest);
    one.observed == other.observed
        && one.applied == other.applied
        && failed(one) == failed(other)
        && one.attributes == other.attributes
        && one.branch == other.branch
        && os(one) == os(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_registry_says_of_a_device_may_change_which_policy_it_follows() {
        let device: DeviceId = "kiosk-1".parse().expect("a device");
        let change = Change::Registry(device.clone(), Arc::default());
        assert_eq!(decisive(&FleetState::default(), &change), Some(&device));
    }
}
