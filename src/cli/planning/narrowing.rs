//! Showing the part of a plan that is about some devices.
//!
//! The plan itself stays whole: whether the commit is held is decided by all that it changes. What cannot be told is shown rather
//! than hidden, and so is every device that the commit lets go.

use super::Planned;
use crate::cli::fault::{usage, with_hint};
use crate::cli::render::text::count;
use crate::cli::selecting::FilterArgs;
use crate::domain::desired::Branch;
use crate::domain::filter::{Answer, Filter, Test};
use crate::domain::ids::DeviceId;
use crate::domain::overview::query::{git_index, index_matches};
use crate::domain::plan::ownership::claims_listed;
use std::collections::BTreeSet;

/// Leaves what a filter and a pattern mean, as far as the commit alone can tell.
pub fn narrow(planned: &mut Planned, args: &FilterArgs, limit: Option<&BTreeSet<DeviceId>>) -> anyhow::Result<()> {
    let (index, test) = (git_index(&planned.desired), test(planned, args)?);
    let found = index_matches(&index, &test, &planned.desired.saved.groups);
    let slips = index.slips(&test).into_iter();
    planned.notes.extend(slips.map(|(name, near)| format!("no device has `{name}`; did you mean `{near}`?")));
    let meant: BTreeSet<DeviceId> = found.yes.into_iter().collect();
    let undetermined: BTreeSet<DeviceId> = found.unknown.into_iter().collect();
    let listed = &planned.desired.devices;
    let is_shown = |device: &DeviceId| {
        let limited = limit.is_none_or(|limit| limit.contains(device));
        !listed.contains_key(device) || limited && (meant.contains(device) || undetermined.contains(device))
    };
    let claimed = listed.keys().filter(|device| is_shown(device) && is_claimed(planned, device)).count();
    let all = planned.plan.changes.len();
    planned.plan.changes.retain(|change| is_shown(&change.device));
    planned.plan.excluded.retain(|device, _| is_shown(device));
    planned.plan.claimed = claimed;
    let shown = &planned.plan.changes;
    let open = shown.iter().filter(|change| undetermined.contains(&change.device)).count();
    let gone = shown.iter().filter(|change| !listed.contains_key(&change.device)).count();
    if all > shown.len() {
        let hidden = count(all - shown.len(), "change");
        planned
            .notes
            .push(format!("{hidden} of other devices not shown; whether the commit is held is decided by all"));
    }
    if gone > 0 {
        planned.notes.push(format!("{} that the commit does not list is always shown", count(gone, "device")));
    }
    if open > 0 {
        let devices = count(open, "device");
        planned.unknown.push(format!("whether {devices} among these are meant: a commit says nothing of what decides"));
    }
    Ok(())
}

/// Whether the plan counts a device among those that the stage would claim.
fn is_claimed(planned: &Planned, device: &DeviceId) -> bool {
    let Some(listed) = planned.desired.devices.get(device) else { return false };
    let stage = &planned.plan.stage;
    let branch = match &listed.branch {
        // A commit does not say what a device chose: the last claim counts.
        Branch::FromDevice { allowed } if allowed.contains(stage) => &Branch::Unknown,
        branch => branch,
    };
    claims_listed(stage, branch, planned.state.devices.get(device))
}

fn test(planned: &Planned, args: &FilterArgs) -> anyhow::Result<Test> {
    let saved = &planned.desired.saved;
    let mut tests = Vec::new();
    if let Some(name) = &args.view {
        let Some(view) = saved.views.get(name.as_str()) else {
            let names: Vec<&str> = saved.views.keys().map(|name| &**name).collect();
            let hint = match names.is_empty() {
                true => "fleet.yml of the commit names none under `views:`".to_owned(),
                false => format!("views of the commit: {}", names.join(", ")),
            };
            return Err(with_hint(usage(format!("there is no view `{name}`")), hint));
        };
        tests.extend(view.filter.as_ref().map(|filter| filter.test.clone()));
    }
    if let Some(text) = &args.filter {
        let filter = Filter::new(text, &saved.groups).map_err(|error| {
            let shown = usage(format!("{}\n{}", error.message, error.underlined(text)));
            match error.hint {
                Some(hint) => with_hint(shown, hint),
                None => shown,
            }
        })?;
        tests.push(filter.test);
    }
    Ok(if tests.is_empty() { Test::Is(Answer::Yes) } else { Test::All(tests) })
}
