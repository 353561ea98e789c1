//! When a rollout will be done, if nothing goes wrong: from the same forecast as a plan's, and from how far it has come.

use super::forecast::{Span, span};
use super::freeze::{Freezes, Weather};
use super::machine::{Blocked, Head, Member, Phase, Status, Step, StepStatus, World};
use super::policy::StepPolicy;
use crate::domain::ids::DeviceId;
use crate::domain::time::{Timestamp, show_secs};
use serde::{Deserialize, Serialize};

/// When a rollout will be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Eta {
    /// Nothing more becomes of it.
    Over,
    /// Then, if nothing goes wrong. Maintenance windows that are closed meanwhile are left out.
    At {
        /// If all devices answer at once.
        expected: Timestamp,
        /// If all of them take as long as they may.
        latest: Timestamp,
    },
    /// That cannot be said.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Eta {
    fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }
}

/// When a rollout will be done. `ahead` says how many devices each step will have, those to come by [`devices_ahead`].
pub fn eta(head: &Head, ahead: &[u32], freezes: &Freezes, now: Timestamp) -> Eta {
    let begins = match &head.status {
        Status::Done { .. } | Status::Aborted { .. } | Status::Superseded { .. } | Status::RolledBack { .. } => {
            return Eta::Over;
        }
        Status::Draft => return Eta::unknown("it has not been activated"),
        Status::PendingApproval => return Eta::unknown("it waits for people to approve it"),
        Status::Error { .. } => return Eta::unknown("it stopped at an error, and waits for a person"),
        Status::RollingBack { .. } => return Eta::unknown("devices go back to what they had"),
        Status::Paused { until: None, .. } => return Eta::unknown("it is paused until somebody resumes it"),
        Status::Paused { until: Some(until), .. } => now.max(*until),
        Status::Active => now,
    };
    if let Some(why) = waiting_for_people(head) {
        return Eta::unknown(why);
    }
    let (begins, fair_until) = match freezes.weather(begins) {
        Weather::Frozen { reason, until: None } => return Eta::unknown(format!("nothing new is offered: {reason}")),
        Weather::Frozen { until: Some(until), .. } => match freezes.weather(until) {
            Weather::Fair { until: next } => (until, next),
            Weather::Frozen { reason, .. } => return Eta::unknown(format!("nothing new is offered: {reason}")),
        },
        Weather::Fair { until } => (begins, until),
    };
    let (mut earliest, mut latest) = (0_u64, 0_u64);
    for (number, step) in head.steps.iter().enumerate().skip(head.current) {
        let policy = head.policy.step(number);
        let members =
            if step.started.is_some() { step.counts.members } else { ahead.get(number).copied().unwrap_or(0) };
        let whole = span(policy, members);
        let left = if step.started.is_some() { left(policy, step, whole, now) } else { whole };
        earliest = earliest.saturating_add(left.earliest_secs);
        latest = latest.saturating_add(left.latest_secs);
    }
    let after = |secs: u64| begins.plus_secs(i64::try_from(secs).unwrap_or(i64::MAX));
    let (expected, latest) = (after(earliest), after(latest.max(earliest)));
    match fair_until.filter(|from| *from < expected) {
        Some(from) => {
            let left = show_secs(expected.secs_since(from));
            Eta::unknown(format!("a freeze begins at {from}, with {left} to go"))
        }
        None => Eta::At { expected, latest },
    }
}

/// Who has to do something before it can end, if anybody has.
fn waiting_for_people(head: &Head) -> Option<String> {
    head.steps.iter().enumerate().skip(head.current).find_map(|(number, step)| {
        let policy = head.policy.step(number);
        let title = format!("step {} ({})", number + 1, policy.name);
        let approved = u8::try_from(step.approved_by.len()).unwrap_or(u8::MAX);
        match &step.blocked {
            Some(Blocked::Empty { .. }) => Some(format!("{title} does not begin: nobody is in it")),
            Some(Blocked::AllOffline { devices, .. }) => {
                Some(format!("{title} does not begin: none of its {devices} devices is online"))
            }
            Some(Blocked::Approval { missing }) => Some(format!("{title} waits for {missing} approvals")),
            None if step.started.is_none() && approved < policy.approvals => {
                Some(format!("{title} will wait for {} approvals", policy.approvals - approved))
            }
            None => None,
        }
    })
}

/// What is left of a step that has begun.
fn left(policy: &StepPolicy, step: &Step, whole: Span, now: Timestamp) -> Span {
    let shown = step.clock.shown_ms(now) / 1000;
    let deadline = (policy.deadline_ms() + step.extra_ms) / 1000;
    let soak = u64::from(policy.soak_secs);
    let latest_secs = (deadline + soak).saturating_sub(shown);
    let earliest_secs = match step.status {
        // The last one became healthy by now.
        StepStatus::Soaking => soak.min(latest_secs),
        StepStatus::Queued | StepStatus::Running | StepStatus::Passed | StepStatus::Failed => {
            if shown < whole.earliest_secs {
                whole.earliest_secs - shown
            } else if shown < u64::from(policy.window_secs) {
                u64::from(policy.window_secs) - shown
            } else {
                // Some take longer than the quickest; until when they may is known.
                deadline.saturating_sub(shown)
            }
        }
    };
    Span { earliest_secs, latest_secs }
}

/// How many devices each step that is to come would have as things stand: by selector and share, as a plan counts them.
pub fn devices_ahead<'a, W: World + ?Sized>(
    head: &Head,
    members: impl Iterator<Item = (&'a DeviceId, &'a Member)>,
    world: &W,
) -> Vec<u32> {
    let mut free: Vec<&DeviceId> = members
        .filter(|(_, member)| member.step.is_none() && matches!(member.phase, Phase::Queued { .. }))
        .map(|(device, _)| device)
        .collect();
    let in_steps: u32 = head.steps.iter().map(|step| step.counts.members + step.excluded).sum();
    let all = u32::try_from(free.len()).unwrap_or(u32::MAX).saturating_add(in_steps);
    let last = head.steps.len().saturating_sub(1);
    let mut ahead = vec![0; head.steps.len()];
    for (number, _) in head.steps.iter().enumerate().filter(|(_, step)| step.started.is_none()) {
        let policy = head.policy.step(number);
        let mut most = match (number == last, policy.take) {
            (false, Some(take)) => take.ceil_of(all),
            (false, None) | (true, _) => u32::MAX,
        };
        free.retain(|device| {
            let taken = most > 0 && (number == last || world.selects(&policy.selector, device));
            most -= u32::from(taken);
            ahead[number] += u32::from(taken);
            !taken
        });
    }
    ahead
}

#[cfg(test)]
mod tests;
