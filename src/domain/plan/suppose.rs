//! A commit as if it counted already: the rollouts that the controller would make of it, to let them run in virtual time.

use super::gate::{Candidate, PlanInput, plan_stage};
use super::pass::{Meaning, PassInput, Scope, StageView, pass, show_waiting};
use super::policy::StagePolicy;
use super::rollouts::{FleetWorld, NoContacts};
use crate::domain::desired::Desired;
use crate::domain::fleet::{Approval, FleetState, RolloutRecord, StagedProgress};
use crate::domain::ids::{Actor, CommitId, DeviceId, PolicyName, StageName};
use crate::domain::manifest::rollouts::{Rollouts, Rule};
use crate::domain::manifest::yaml::Span;
use crate::domain::rollout::machine::{Change, Status};
use crate::domain::rollout::policy::Selector;
use crate::domain::rollout::simulate::{Odds, Run, Simulation, simulate};
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// After how many passes a commit must count and its rollouts be made: one for each, one that finds what counts to have finished, and one
/// that finds nothing more to do.
const MAX_PASSES: usize = 5;

/// What is supposed besides that the commit counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supposition {
    /// That all devices follow this policy, whatever the fleet repo says.
    pub policy: Option<PolicyName>,
    /// Which devices change.
    pub changing: Changing,
}

/// Which devices are supposed to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Changing {
    /// Those that the commit changes.
    #[default]
    ByCommit,
    /// All of its stage.
    All,
}

/// Why nothing can be supposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SupposeError {
    /// No such policy.
    #[error("there is no rollout policy {0}")]
    UnknownPolicy(PolicyName),
    /// It would not count.
    #[error("commit {} would not count: {why}", commit.short())]
    Waits {
        /// The commit.
        commit: CommitId,
        /// Why.
        why: String,
    },
}

/// A fleet in which a commit counts.
#[derive(Debug)]
pub struct Supposed {
    stage: StageName,
    stages: Vec<StagePolicy>,
    state: FleetState,
    views: BTreeMap<StageName, StageView>,
    at: Timestamp,
    at_once: usize,
}

/// Supposes that a commit counts from `now` on; whoever would have to approve it has.
pub fn suppose(input: &PlanInput<'_>, supposition: &Supposition, now: Timestamp) -> Result<Supposed, SupposeError> {
    let PlanInput { policy, stages, accepted, candidate, .. } = *input;
    let stage = policy.name.clone();
    let mut state = input.state.clone();
    let mut base = candidate.base.clone();
    if supposition.changing == Changing::All {
        // As if nothing of it had ever counted.
        state.devices.values_mut().for_each(|record| record.assignment = None);
        state.stages.remove(&stage);
        base = None;
    }
    let desired = match &supposition.policy {
        Some(policy) => Arc::new(following(&candidate.desired, policy)?),
        None => candidate.desired.clone(),
    };
    let candidate = Candidate { desired: desired.clone(), base, ..candidate.clone() };
    let plan = plan_stage(&PlanInput { candidate: &candidate, state: &state, ..*input });
    if !plan.held.is_empty() {
        state.approvals.insert(plan.digest, Approval { actor: Actor::controller(), at: now, stage: stage.clone() });
    }
    let counting = accepted.iter().filter_map(|(other, desired)| {
        let revision = state.stages.get(other)?.counts()?;
        let accepted = Some(Meaning { revision, desired: desired.clone() });
        Some((other.clone(), StageView { accepted, candidate: None }))
    });
    let mut views: BTreeMap<StageName, StageView> = counting.filter(|(other, _)| *other != stage).collect();
    let revision = candidate.revision();
    let accepted = Some(Meaning { revision: revision.clone(), desired });
    views.insert(stage.clone(), StageView { accepted, candidate: Some(candidate) });
    let changed = plan.changes.iter().filter(|change| change.to.is_some()).count();
    let by_rollout: usize = plan.rollouts.values().map(|rollout| rollout.devices.len()).sum();
    let at_once = changed.saturating_sub(by_rollout);
    let mut supposed = Supposed { stage: stage.clone(), stages: stages.to_vec(), state, views, at: now, at_once };
    for _ in 0..MAX_PASSES {
        let output = pass(&supposed.input(), &Scope::All);
        if output.changes.is_empty() {
            break;
        }
        supposed.state.apply(&output.changes);
        let staged = supposed.state.stages.get(&stage).and_then(|record| record.staged.as_ref());
        if staged.is_some_and(|staged| staged.progress == StagedProgress::Made) {
            break;
        }
    }
    let record = supposed.state.stages.get(&stage);
    if record.and_then(|record| record.counts()).as_ref() != Some(&revision) {
        let waiting = record.and_then(|record| record.waiting.as_ref()).map(|waiting| show_waiting(&waiting.why));
        let why = waiting.unwrap_or_else(|| "it has findings".to_owned());
        return Err(SupposeError::Waits { commit: revision.commit, why });
    }
    Ok(supposed)
}

/// The same meaning with one rule: all devices follow this policy.
fn following(desired: &Desired, name: &PolicyName) -> Result<Desired, SupposeError> {
    let policy = desired.rollouts.policy(name).ok_or_else(|| SupposeError::UnknownPolicy(name.clone()))?;
    let mut rollouts = Rollouts::clone(&desired.rollouts);
    rollouts.rules = vec![Rule { stage: None, devices: Selector::All, policy: name.clone(), span: Span::default() }];
    // Written out, so that `immediate` is a rollout too.
    rollouts.policies.insert(name.clone(), policy);
    Ok(Desired { rollouts: Arc::new(rollouts), ..desired.clone() })
}

impl Supposed {
    /// What the passes of the controller would see.
    fn input(&self) -> PassInput<'_> {
        let Self { stage: _, stages, state, views, at, at_once: _ } = self;
        PassInput { now: *at, stages, state, views, contacts: &NoContacts }
    }

    /// Devices that the commit changes and that follow no policy.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    /// The rollouts that the commit makes, by their policy.
    pub fn rollouts(&self) -> impl Iterator<Item = &RolloutRecord> {
        self.state.rollouts.values().filter(|record| {
            let new = match record.head.status {
                Status::Draft | Status::PendingApproval | Status::Active => true,
                Status::Paused { .. }
                | Status::Done { .. }
                | Status::Error { .. }
                | Status::Aborted { .. }
                | Status::Superseded { .. }
                | Status::RollingBack { .. }
                | Status::RolledBack { .. } => false,
            };
            new && record.head.stage == self.stage
        })
    }

    /// What a rollout changes on each of its devices.
    pub fn changes(rollout: &RolloutRecord) -> BTreeMap<DeviceId, Change> {
        let changes = rollout.members.iter().map(|(device, member)| {
            let (target, previous) = (member.target, member.previous);
            (device.clone(), Change { target, previous, detour: member.detour.clone(), reversal: member.reversal })
        });
        changes.collect()
    }

    /// Lets one of its rollouts run in virtual time.
    pub fn simulate(
        &self,
        rollout: &RolloutRecord,
        changes: &BTreeMap<DeviceId, Change>,
        odds: Odds,
        seed: u64,
    ) -> Option<Run> {
        let input = self.input();
        let desired = input.accepted(&self.stage)?;
        let world = FleetWorld::new(&input, desired, rollout);
        let head = &rollout.head;
        let simulation = Simulation {
            stage: &self.stage,
            commit: &head.commit,
            policy: &head.policy,
            changes,
            world: &world,
            odds,
            start: self.at,
        };
        Some(simulate(&simulation, seed))
    }
}
