//! Which way a device gets what its stage's commit wants: at once, or by a rollout.

use crate::domain::desired::{Desired, DesiredDevice};
use crate::domain::filter::{Answer, Filter, evaluate};
use crate::domain::fleet::{DeviceRecord, FleetState, RolloutRecord, Staged};
use crate::domain::ids::{CommitId, DeviceId, PolicyName, RolloutName, StageName};
use crate::domain::manifest::rollouts::Rollouts;
use crate::domain::overview::query::owned_facts;
use crate::domain::plan::rollouts::keeps;
use crate::domain::planted::{Bug, planted};
use crate::domain::rollout::machine::{Phase, Status};
use crate::domain::rollout::policy::Selector;
use crate::domain::rollout::ready::Ready;
use crate::domain::time::Timestamp;

/// A device that a stage owns, and what its commit lists for it.
#[derive(Clone, Copy, Debug)]
pub struct Claimed<'a> {
    /// The stage.
    pub stage: &'a StageName,
    /// The device.
    pub device: &'a DeviceId,
    /// What the commit lists for it.
    pub listed: &'a DesiredDevice,
    /// What is known of it.
    pub record: Option<&'a DeviceRecord>,
}

/// Which way a device gets what its stage wants for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// As soon as possible.
    AtOnce,
    /// It becomes part of this rollout, which is under way.
    Joins(RolloutName),
    /// Not now: a rollout decides when, or one said that it must not.
    NotNow,
}

/// The policy that a device follows; `None` if it gets everything at once.
pub fn policy_of(desired: &Desired, claimed: &Claimed<'_>) -> Option<PolicyName> {
    let rules = &desired.rollouts.rules;
    let mut of_stage = rules.iter().filter(|rule| rule.stage.as_ref().is_none_or(|stage| stage == claimed.stage));
    let rule = of_stage.find(|rule| selects(desired, &rule.devices, claimed))?;
    (!is_immediate(&desired.rollouts, &rule.policy)).then(|| rule.policy.clone())
}

/// Whether a policy is the ready one that assigns everything at once, and nobody wrote another under its name.
fn is_immediate(rollouts: &Rollouts, policy: &PolicyName) -> bool {
    policy.as_str() == Ready::Immediate.name() && !rollouts.policies.contains_key(policy)
}

/// Whether a selector means a device.
pub fn selects(desired: &Desired, selector: &Selector, claimed: &Claimed<'_>) -> bool {
    let groups = &desired.saved.groups;
    let answer = |filter: &Filter| {
        let facts = owned_facts(claimed.stage, claimed.device, claimed.listed, claimed.record);
        evaluate(&filter.test, &facts, groups) == Answer::Yes
    };
    match (selector, desired.rollouts.selectors.get(selector)) {
        (Selector::All, _) => true,
        (Selector::Group(_) | Selector::Filter(_), Some(filter)) => answer(filter),
        (Selector::Group(group), None) => {
            Filter::new(&format!("{group:?} in groups"), groups).is_ok_and(|filter| answer(&filter))
        }
        (Selector::Filter(text), None) => Filter::new(text, groups).is_ok_and(|filter| answer(&filter)),
    }
}

/// The way of a device whose content differs from what its stage wants.
pub fn way(
    state: &FleetState,
    desired: &Desired,
    staged: Option<&Staged>,
    commit: &CommitId,
    claimed: &Claimed<'_>,
    now: Timestamp,
) -> Way {
    let Rollouts { rules, freezes, .. } = &*desired.rollouts;
    if freezes.is_frozen(now) {
        return Way::NotNow;
    }
    if state.rollouts.is_empty() && rules.is_empty() {
        return Way::AtOnce;
    }
    let Some(digest) = claimed.listed.spec.as_ref().map(|spec| spec.digest) else { return Way::NotNow };
    let of_stage = || state.rollouts.iter().filter(|(_, record)| record.head.stage == *claimed.stage);
    if of_stage().any(|(_, record)| record.quarantines(claimed.device, commit, &digest)) {
        return Way::NotNow;
    }
    if of_stage().any(|(_, record)| keeps(record, claimed.device, commit)) {
        return Way::NotNow;
    }
    let policy = policy_of(desired, claimed).filter(|_| !planted(Bug::AssignAround));
    match (policy, staged.filter(|staged| staged.commit == *commit)) {
        (Some(policy), Some(_)) => {
            let mut open: Vec<_> =
                of_stage().filter(|(_, one)| one.head.commit == *commit && takes_more(one)).collect();
            open.sort_by_key(|(_, record)| (record.head.policy.name == policy, record.head.created));
            match open.last() {
                Some((name, record)) if may_join(record, claimed) => Way::Joins((*name).clone()),
                Some(_) | None => Way::NotNow,
            }
        }
        (None, _) | (Some(_), None) => match of_stage().any(|(_, record)| has_a_say(record, claimed.device)) {
            true => Way::NotNow,
            false => Way::AtOnce,
        },
    }
}

/// Whether a device is none of a rollout's, or has left it for something else and is back.
fn may_join(record: &RolloutRecord, claimed: &Claimed<'_>) -> bool {
    let assigned = claimed.record.and_then(|record| record.assignment.as_ref());
    let is_its = assigned.and_then(|one| one.rollout.as_deref()) == Some(record.head.name.as_str());
    record.members.get(claimed.device).is_none_or(|member| !is_its && member.may_join_again())
}

/// Whether devices may join a rollout.
fn takes_more(record: &RolloutRecord) -> bool {
    match record.head.status {
        Status::PendingApproval | Status::Active | Status::Paused { .. } => true,
        Status::Done { .. } => record.head.is_under_way(),
        Status::Draft
        | Status::Error { .. }
        | Status::Aborted { .. }
        | Status::Superseded { .. }
        | Status::RollingBack { .. }
        | Status::RolledBack { .. } => false,
    }
}

/// Whether a device is one of an unfinished rollout.
pub fn has_a_say(record: &RolloutRecord, device: &DeviceId) -> bool {
    let unfinished = match record.head.status {
        Status::PendingApproval
        | Status::Active
        | Status::Paused { .. }
        | Status::Error { .. }
        | Status::RollingBack { .. } => true,
        Status::Draft
        | Status::Done { .. }
        | Status::Aborted { .. }
        | Status::Superseded { .. }
        | Status::RolledBack { .. } => false,
    };
    let takes_part = |phase: &Phase| !matches!(phase, Phase::Excluded { .. });
    unfinished && record.members.get(device).is_some_and(|member| takes_part(&member.phase))
}
