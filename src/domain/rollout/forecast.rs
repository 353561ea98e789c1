//! What a policy comes to for so many devices, before anything begins: who is exposed when, and which failure rates are seen.

use super::policy::{Policy, Selector, StepPolicy};
use super::share::Share;
use crate::domain::time::show_secs;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One step, before it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepForecast {
    /// What people call it.
    pub name: String,
    /// Which devices, in words.
    pub devices: String,
    /// How many.
    pub members: u32,
    /// How many devices of the rollout were offered the change when it ends, those of earlier steps included.
    pub exposed: u32,
    /// How many of its devices may fail; one more stops it.
    pub allowed_failures: u32,
    /// The smallest share of failing devices that stops it; anything less passes.
    pub smallest_visible: Share,
    /// When it can end, at the earliest, in seconds after the rollout began: all succeed at once.
    pub earliest_secs: u64,
    /// When it ends at the latest, pauses, closed windows and freezes left out: all report at the last moment.
    pub latest_secs: u64,
}

/// Who is in a step, as far as that is known before it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    /// How many devices.
    pub devices: u32,
    /// Through how many releases one of them goes first, at the most. Each must prove itself like the last one.
    pub legs: u32,
}

impl Crowd {
    /// So many devices that go nowhere else first.
    pub fn of(devices: u32) -> Self {
        Self { devices, legs: 0 }
    }
}

/// What each step of a policy comes to; `crowds` says who is in each, the last step included. Nobody is in steps that are left out.
pub fn forecast(policy: &Policy, crowds: &[Crowd]) -> Vec<StepForecast> {
    let (mut exposed, mut earliest_secs, mut latest_secs) = (0_u32, 0_u64, 0_u64);
    let mut all = Vec::with_capacity(policy.count());
    for number in 0..policy.count() {
        let step = policy.step(number);
        let crowd = crowds.get(number).copied().unwrap_or_default();
        let (members, takes) = (crowd.devices, span(step, crowd));
        earliest_secs += takes.earliest_secs;
        latest_secs += takes.latest_secs;
        exposed = exposed.saturating_add(members);
        all.push(StepForecast {
            name: step.name.clone(),
            devices: devices(step, number == policy.steps.len()),
            members,
            exposed,
            allowed_failures: step.gate.allowed_failures(members),
            smallest_visible: step.gate.smallest_visible(members),
            earliest_secs,
            latest_secs,
        });
    }
    all
}

/// How long a step takes, in seconds, pauses, closed windows and freezes left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// All succeed at once.
    pub earliest_secs: u64,
    /// All report at the last moment.
    pub latest_secs: u64,
}

/// How long a step with such devices takes; one without takes no time.
pub fn span(step: &StepPolicy, crowd: Crowd) -> Span {
    let StepPolicy { window_secs, timeout_secs, soak_secs, .. } = *step;
    let (window, timeout, soak) = (u64::from(window_secs), u64::from(timeout_secs), u64::from(soak_secs));
    match crowd.devices.checked_sub(1) {
        None => Span::default(),
        Some(last) => {
            // The last one comes half a place before the end of the window.
            let begins = super::spread::rank_offset(last, crowd.devices, window);
            let earliest_secs = begins + soak * u64::from(crowd.legs.saturating_add(1));
            Span { earliest_secs, latest_secs: (window + timeout + soak).max(earliest_secs) }
        }
    }
}

fn devices(step: &StepPolicy, is_last: bool) -> String {
    match (is_last, &step.take, &step.selector) {
        (true, _, _) => "all others".to_owned(),
        (false, None, selector) => selector.to_string(),
        (false, Some(take), Selector::All) => format!("{take} of all devices"),
        (false, Some(take), selector) => format!("{take} of {selector}"),
    }
}

/// One line: `canaries (group canaries): 5 devices, 0 may fail, seen from 20%, ends after 30m to 4h 30m`.
impl fmt::Display for StepForecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, devices, members, allowed_failures, smallest_visible, earliest_secs, latest_secs, .. } = self;
        let show = |secs: &u64| show_secs(i64::try_from(*secs).unwrap_or(i64::MAX));
        let (earliest, latest) = (show(earliest_secs), show(latest_secs));
        let noun = if *members == 1 { "device" } else { "devices" };
        write!(f, "{name} ({devices}): {members} {noun}, {allowed_failures} may fail, ")?;
        write!(f, "seen from {smallest_visible}, ends after {earliest} to {latest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rollout::ready::Ready;

    /// How many devices of a fleet of so many each step takes, with a hundredth of them in `canaries`.
    fn crowds(policy: &Policy, fleet: u32) -> Vec<Crowd> {
        let mut left = fleet;
        let mut all: Vec<Crowd> = policy
            .steps
            .iter()
            .map(|step| {
                let matching = if step.selector == Selector::All { fleet } else { fleet / 100 };
                let taken = step.take.map_or(matching, |take| take.ceil_of(fleet)).min(left);
                left -= taken;
                Crowd::of(taken)
            })
            .collect();
        all.push(Crowd::of(left));
        all
    }

    #[test]
    fn the_documentation_says_what_the_ready_policies_come_to() {
        let document = include_str!("../../../docs/rollouts.md");
        for ready in Ready::ALL {
            let policy = ready.policy();
            let lines = forecast(&policy, &crowds(&policy, 1000)).into_iter().map(|step| step.to_string());
            let text = format!("{}\n  {}\n", ready.name(), lines.collect::<Vec<_>>().join("\n  "));
            assert!(document.contains(&text), "docs/rollouts.md does not say:\n{text}");
        }
    }

    #[test]
    fn a_step_without_devices_takes_no_time() {
        let policy = Ready::Cautious.policy();
        let all = forecast(&policy, &[0, 0, 10].map(Crowd::of));
        assert_eq!((all[1].exposed, all[1].latest_secs), (0, 0));
        assert_eq!(all[2].exposed, 10);
    }
}
