//! When a rollout will be done, if nothing goes wrong: from the same forecast as a plan's, and from how far it has come.

use super::forecast::{Crowd, Span, span};
use super::freeze::{Freezes, Weather};
use super::machine::{Blocked, Head, Member, Phase, Status, Step, StepStatus, World, none_online};
use super::policy::StepPolicy;
use crate::domain::counted::counted;
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

/// Who a step still waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Who will be in it, if it has not begun.
    pub crowd: Crowd,
    /// If it has begun, and devices of it go through other releases: for how many seconds the slowest of these must still be healthy.
    pub on_the_way_secs: Option<u64>,
}

/// When a rollout will be done. `ahead` says who each step waits for, by [`devices_ahead`].
pub fn eta(head: &Head, ahead: &[Ahead], freezes: &Freezes, now: Timestamp) -> Eta {
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
        let Ahead { crowd, on_the_way_secs } = ahead.get(number).copied().unwrap_or_default();
        let left = match step.started {
            Some(_) => left(policy, step, on_the_way_secs, now),
            None => span(policy, crowd),
        };
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
                Some(format!("{title} does not begin: {}", none_online(*devices)))
            }
            Some(Blocked::Approval { missing }) => Some(format!("{title} waits for {}", counted(*missing, "approval"))),
            None if step.started.is_none() && approved < policy.approvals => {
                Some(format!("{title} will wait for {}", counted(policy.approvals - approved, "approval")))
            }
            None => None,
        }
    })
}

/// What is left of a step that has begun.
fn left(policy: &StepPolicy, step: &Step, on_the_way_secs: Option<u64>, now: Timestamp) -> Span {
    let shown = step.clock.shown_ms(now) / 1000;
    let deadline = (policy.deadline_ms() + step.extra_ms) / 1000;
    let soak = u64::from(policy.soak_secs);
    let whole = span(policy, Crowd::of(step.counts.members));
    let latest_secs = (deadline + soak).saturating_sub(shown);
    if let Some(secs) = on_the_way_secs {
        let last_begins = whole.earliest_secs.saturating_sub(soak);
        let earliest_secs = last_begins.saturating_sub(shown) + secs;
        return Span { earliest_secs, latest_secs: latest_secs.max(earliest_secs) };
    }
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

/// Who each step waits for as things stand: those to come by selector and share, as a plan counts them.
pub fn devices_ahead<'a, W: World + ?Sized>(
    head: &Head,
    members: impl Iterator<Item = (&'a DeviceId, &'a Member)>,
    world: &W,
    now: Timestamp,
) -> Vec<Ahead> {
    let mut ahead = vec![Ahead::default(); head.steps.len()];
    let mut free: Vec<(&DeviceId, &Member)> = Vec::new();
    for (device, member) in members {
        match member.step.map(|step| step as usize) {
            None if matches!(member.phase, Phase::Queued { .. }) => free.push((device, member)),
            None => {}
            Some(step) => {
                let secs = still_to_prove(head.policy.step(step), member, now);
                let Some(ahead) = ahead.get_mut(step) else { continue };
                ahead.on_the_way_secs = ahead.on_the_way_secs.max(secs);
            }
        }
    }
    let in_steps: u32 = head.steps.iter().map(|step| step.counts.members + step.excluded).sum();
    let all = u32::try_from(free.len()).unwrap_or(u32::MAX).saturating_add(in_steps);
    let last = head.steps.len().saturating_sub(1);
    for (number, _) in head.steps.iter().enumerate().filter(|(_, step)| step.started.is_none()) {
        let policy = head.policy.step(number);
        let mut most = match (number == last, policy.take) {
            (false, Some(take)) => take.ceil_of(all),
            (false, None) | (true, _) => u32::MAX,
        };
        let Crowd { devices, legs } = &mut ahead[number].crowd;
        free.retain(|(device, member)| {
            let taken = most > 0 && (number == last || world.selects(&policy.selector, device));
            most -= u32::from(taken);
            *devices += u32::from(taken);
            if taken {
                *legs = u32::try_from(member.detour.len()).unwrap_or(u32::MAX).max(*legs);
            }
            !taken
        });
    }
    ahead
}

/// For how many seconds a device must still be healthy, releases in between included; `None` if it goes through none, or is done.
fn still_to_prove(policy: &StepPolicy, member: &Member, now: Timestamp) -> Option<u64> {
    let soak = u64::from(policy.soak_secs);
    let this_one = match &member.phase {
        Phase::InProgress { healthy: Some(since), .. } => {
            soak.saturating_sub(u64::try_from(now.secs_since(*since)).unwrap_or(0))
        }
        Phase::Queued { .. } | Phase::Offered { .. } | Phase::InProgress { healthy: None, .. } => soak,
        Phase::Ready { .. }
        | Phase::Succeeded { .. }
        | Phase::Bad { .. }
        | Phase::Superseded
        | Phase::Canceled
        | Phase::Excluded { .. } => return None,
    };
    let on_its_way = !member.detour.is_empty() || member.reached.is_some();
    let legs = u64::try_from(member.detour.len()).unwrap_or(u64::MAX);
    on_its_way.then(|| this_one.saturating_add(soak.saturating_mul(legs)))
}

#[cfg(test)]
mod tests;
