//! Why a device does not have what its stage's newest commit wants: an ordered list of reasons, as data.

use crate::domain::desired::{Branch, Desired, DesiredDevice};
use crate::domain::finding::{Finding, Place};
use crate::domain::fleet::{DeviceRecord, FleetState, IdentityStatus, WaitingFor};
use crate::domain::ids::{DeviceId, StageName};
use crate::domain::plan::ownership::{Standing, claims, owner};
use crate::domain::plan::pass::{HoldOn, PassInput, hold_on, show_waiting};
use crate::domain::plan::requires::{Unmet, unmet};
use crate::domain::plan::staged::{Claimed, Way, way};
use crate::domain::reported::{OsStage, Phase};
use crate::domain::rollout::freeze::Weather;
use crate::domain::spec::{Maintenance, Purpose};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One reason for which a device waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// One word for programs, in kebab case.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// What to do about it, where anything can be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where in the fleet repo it can be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Since when; `None` where nobody noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

fn wait(code: &str, message: String, hint: Option<String>) -> Wait {
    Wait { code: code.to_owned(), message, hint, place: None, since: None }
}

impl Wait {
    fn since(self, since: impl Into<Option<Timestamp>>) -> Self {
        Self { since: since.into(), ..self }
    }

    fn at(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }
}

/// How a device stands between the stages, with the claims of all stages as they are now.
pub fn standing(input: &PassInput<'_>, device: &DeviceId) -> (Standing, BTreeSet<StageName>) {
    let record = input.state.devices.get(device);
    let desired = |stage: &StageName| -> Option<&Desired> { input.accepted(stage).map(Arc::as_ref) };
    let claimed: BTreeSet<StageName> = input
        .stages
        .iter()
        .map(|policy| policy.name.clone())
        .filter(|stage| claims(stage, desired(stage), device, record))
        .collect();
    let listed = input.stages.iter().any(|policy| match desired(&policy.name) {
        Some(desired) => desired.devices.contains_key(device),
        // Unavailable never means empty.
        None => record.is_some_and(|record| record.control.claims.contains(&policy.name)),
    });
    let standing = match owner(input.stages, &claimed) {
        Some(stage) => Standing::Owned(stage.clone()),
        None if listed => Standing::InTransit,
        None => Standing::Unmanaged,
    };
    (standing, claimed)
}

/// Everything that a device waits for, most fundamental first. Empty if it has all that its stage wants.
pub fn waits(input: &PassInput<'_>, device: &DeviceId) -> Vec<Wait> {
    let unknown = DeviceRecord::default();
    let record = input.state.devices.get(device).unwrap_or(&unknown);
    let (standing, claimed) = standing(input, device);
    let mut all = Vec::new();
    identity_waits(record, device, &mut all);
    if let Some(conflict) = &record.control.conflict {
        let hint = format!("look at the device, then `bellwether resume device {device}`");
        all.push(wait("conflict", conflict.message.clone(), Some(hint)).since(conflict.since));
    }
    match &standing {
        Standing::Unmanaged => all.push(wait(
            "unmanaged",
            "no stage lists the device; it keeps what it has".to_owned(),
            Some("add it to `inventory.yml` of the stage that shall own it".to_owned()),
        )),
        Standing::InTransit => all.push(in_transit(input, device, record)),
        Standing::Owned(stage) => owned_waits(input, record, device, stage, &claimed, &mut all),
    }
    all
}

/// Why no stage claims a device that is listed: in the middle of a move, or it has not chosen, or chose what it may not.
fn in_transit(input: &PassInput<'_>, device: &DeviceId, record: &DeviceRecord) -> Wait {
    let listed = input.stages.iter().filter_map(|policy| {
        let listed = input.accepted(&policy.name)?.devices.get(device)?;
        Some((&policy.name, &listed.branch))
    });
    // A stage only lets a device choose itself: what others allow there is nothing to it.
    let own = listed.filter_map(|(stage, branch)| match branch {
        Branch::FromDevice { allowed } => allowed.contains(stage).then_some(stage.as_str()),
        Branch::Stage(_) | Branch::Unset | Branch::Unknown => None,
    });
    let open = own.collect::<Vec<_>>().join(", ");
    let choice = record.reported.as_ref().and_then(|reported| reported.report.branch.as_ref());
    match (open.is_empty(), choice) {
        (true, _) => wait(
            "in-transit",
            "no stage claims the device; it keeps what it has".to_owned(),
            Some("merge the change of its `branch` to the stage that shall own it".to_owned()),
        ),
        (false, Some(choice)) => wait(
            "branch-not-allowed",
            format!("the device chooses `{choice}`, and may choose among {open}; it keeps what it has"),
            Some("set the agent's `branch` to one of them, or add the branch to `allowed` on that branch".to_owned()),
        ),
        (false, None) => wait(
            "branch-not-chosen",
            format!("the device may choose among {open}, and has chosen none"),
            Some("set the agent's `branch` to one of them".to_owned()),
        ),
    }
}

fn identity_waits(record: &DeviceRecord, device: &DeviceId, all: &mut Vec<Wait>) {
    let approve = || Some(format!("`bellwether approve {device}` if you know it"));
    match record.identity.as_deref() {
        None => all.push(wait(
            "not-enrolled",
            "the device has never enrolled".to_owned(),
            Some(format!("make a token with `bellwether enroll {device}` and give it to the device")),
        )),
        Some(identity) => match identity.status {
            IdentityStatus::Pending => {
                all.push(wait("pending", "the device waits for approval".to_owned(), approve()).since(identity.since));
            }
            IdentityStatus::Rejected => {
                all.push(wait("rejected", "the device was rejected".to_owned(), approve()).since(identity.since));
            }
            IdentityStatus::Enrolled => all.extend(identity.contender.as_ref().map(|contender| {
                wait("contender", "another key asks for this device's name".to_owned(), approve())
                    .since(contender.since)
            })),
        },
    }
}

fn owned_waits(
    input: &PassInput<'_>,
    record: &DeviceRecord,
    device: &DeviceId,
    stage: &StageName,
    claimed: &BTreeSet<StageName>,
    all: &mut Vec<Wait>,
) {
    if claimed.len() > 1 {
        let names = claimed.iter().map(StageName::as_str).collect::<Vec<_>>().join(", ");
        all.push(wait(
            "claim-conflict",
            format!("stages {names} claim the device; {stage} is the most gated and owns it"),
            Some("let only one branch name itself in the device's `branch`".to_owned()),
        ));
    }
    stage_waits(input.state, stage, all);
    let listed: Option<&Arc<DesiredDevice>> = input.accepted(stage).and_then(|desired| desired.devices.get(device));
    if listed.is_none() {
        all.push(wait("stage-unread", format!("the commit of stage {stage} has not been read yet"), None));
    }
    if let Some(problem) = listed.filter(|listed| listed.spec.is_none()).map(|listed| &listed.problem) {
        let message = problem.clone().unwrap_or_else(|| "its files have findings".to_owned());
        let place = input.accepted(stage).and_then(|desired| place_of(desired, &message));
        all.push(wait("spec-invalid", message, Some("see `bellwether check`".to_owned())).at(place));
    }
    let wanted = listed.and_then(|listed| listed.spec.as_ref()).map(|spec| spec.digest);
    let assigned = record.assignment.as_ref().map(|assignment| assignment.spec.digest);
    let listed_now = listed.filter(|_| wanted.is_some() && wanted != assigned);
    for Unmet { code, message, hint } in listed_now.map(|listed| unmet(listed, record)).unwrap_or_default() {
        all.push(wait(code, message, Some(hint.to_owned())));
    }
    if wanted.is_some()
        && wanted != assigned
        && let Some(HoldOn { message, since, hint }) =
            hold_on(input.state, device, Some(stage), listed.map(Arc::as_ref), input.now)
    {
        all.push(wait("held", message, Some(hint)).since(since));
    }
    if wanted.is_some()
        && wanted != assigned
        && let (Some(listed), Some(desired)) = (listed, input.accepted(stage))
    {
        all.extend(staged_wait(input, desired, record, device, stage, listed));
    }
    report_waits(input, record, all);
}

/// Why a device does not get at once what its stage wants for it. How a rollout stands with it is told elsewhere: that costs a look
/// at the whole rollout.
fn staged_wait(
    input: &PassInput<'_>,
    desired: &Desired,
    record: &DeviceRecord,
    device: &DeviceId,
    stage: &StageName,
    listed: &DesiredDevice,
) -> Option<Wait> {
    if let Weather::Frozen { reason, until } = desired.rollouts.freezes.weather(input.now) {
        let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
        return Some(wait("frozen", format!("nothing new is assigned{until}: {reason}"), None));
    }
    let known = input.state.stages.get(stage)?;
    let commit = known.accepted.as_ref()?;
    let claimed = Claimed { stage, device, listed, record: Some(record) };
    match way(input.state, desired, known.staged.as_ref(), commit, &claimed, input.now) {
        Way::AtOnce => None,
        Way::Joins(_) | Way::NotNow => {
            let of_stage = input.state.rollouts.values().filter(|one| one.head.stage == *stage);
            let newest = of_stage.filter(|one| one.members.contains_key(device)).max_by_key(|one| one.head.created);
            let Some(newest) = newest else {
                let message = "its rollout begins when the one before it has come to the end of a step".to_owned();
                return Some(wait("rollout", message, Some("`bellwether rollouts` lists all".to_owned())));
            };
            let name = &newest.head.name;
            let message = format!("rollout {name} is {}", newest.head.status);
            Some(wait(
                "rollout",
                message,
                Some(format!("`bellwether rollout {name} --explain` says what it waits for")),
            ))
        }
    }
}

/// Where the problem that keeps a device from having content is written.
fn place_of(desired: &Desired, problem: &str) -> Option<Place> {
    let is_it = |finding: &&Finding| problem == format!("{}: {}", finding.place, finding.message);
    desired.findings.iter().find(is_it).map(|finding| finding.place.clone())
}

fn stage_waits(state: &FleetState, stage: &StageName, all: &mut Vec<Wait>) {
    let Some(waiting) = state.stages.get(stage).and_then(|record| record.waiting.as_ref()) else { return };
    let commit = waiting.commit.short();
    all.push(
        match &waiting.why {
            WaitingFor::Repair { .. } => wait(
                "commit-broken",
                format!("commit {commit} of {stage} cannot be used: {}", show_waiting(&waiting.why)),
                Some("repair it and push; until then the commit before counts".to_owned()),
            ),
            WaitingFor::Approval { digest, .. } => wait(
                "commit-held",
                format!("commit {commit} of {stage} is held: {}", show_waiting(&waiting.why)),
                Some(format!("`bellwether approve {}` if this is meant", digest.short())),
            ),
        }
        .since(waiting.since),
    );
}

fn report_waits(input: &PassInput<'_>, record: &DeviceRecord, all: &mut Vec<Wait>) {
    let Some(assignment) = &record.assignment else { return };
    let observed = record.reported.as_ref().and_then(|reported| reported.report.observed);
    if let Some(name) = &assignment.rollout
        && observed != Some(assignment.mark())
        && !input.state.rollouts.contains_key(name.as_str())
    {
        let message =
            format!("rollout {name}, which offered {}, cannot be read: it is not handed out", assignment.order);
        let hint = "push other content, or `bellwether retry` to offer it without the rollout".to_owned();
        all.push(wait("rollout-unreadable", message, Some(hint)).since(assignment.assigned_at));
    }
    let Some(reported) = &record.reported else {
        let message = "the device has not reported yet".to_owned();
        all.push(wait("unreported", message, None).since(assignment.assigned_at));
        return;
    };
    let report = &reported.report;
    if let Some(refusal) = &report.refused {
        all.push(wait("refused", format!("the device refused an assignment: {}", refusal.message), None));
    }
    if report.observed != Some(assignment.mark()) {
        let message = format!("assigned {}, not yet acknowledged by the device", assignment.order);
        all.push(wait("not-acknowledged", message, None).since(assignment.assigned_at));
        return;
    }
    if report.phase != Phase::Settled {
        all.extend(window_waits(&assignment.spec.spec.maintenance, input.now));
        for lock in &report.locks {
            let hint = "its owner gives it back, or `bellwether retry --force` goes over it".to_owned();
            all.push(wait("locked", lock.told(), Some(hint)).since(lock.since));
        }
    }
    if let Some(failure) = &report.failure {
        let hint = "push something else, or `bellwether retry` to try the same once more".to_owned();
        let code = if failure.rolled_back_to.is_some() { "rolled-back" } else { "failed" };
        all.push(wait(code, failure.describe(), Some(hint)).since(Some(failure.at)));
        return;
    }
    if let Some(update) = &report.os_update {
        let since = report.conditions.iter().find(|one| one.kind == "OsUpdated").map(|one| one.since);
        let (code, hint) = match update.stage {
            OsStage::Failed => ("os-failed", Some("assign another image, or offer this one again".to_owned())),
            OsStage::Downloading
            | OsStage::Installing
            | OsStage::Installed
            | OsStage::Rebooting
            | OsStage::Trial
            | OsStage::Returning => ("os-update", None),
        };
        all.push(wait(code, format!("OS {update}"), hint).since(since));
    }
    match report.phase {
        Phase::Settled => {}
        Phase::Waiting | Phase::Applying => {
            let message = format!("the device is applying {}", assignment.order);
            all.push(wait("applying", message, None).since(assignment.assigned_at));
        }
        Phase::Failing => {
            let why = report.conditions.iter().find(|one| one.kind == "Ready");
            let message =
                why.map_or_else(|| "the device could not apply its assignment".to_owned(), |why| why.message.clone());
            all.push(wait("failing", message, None).since(why.map(|why| why.since)));
        }
    }
}

/// Windows that are closed while the device has something to do. It goes by its own clock; this says what the clock here says.
fn window_waits(maintenance: &Maintenance, now: Timestamp) -> impl Iterator<Item = Wait> + use<> {
    let closed = [Purpose::Download, Purpose::Apply].map(|purpose| maintenance.closed(purpose, now));
    let hint = "a commit that changes the device's `maintenance` opens a window at once";
    closed.into_iter().flatten().map(|message| wait("window-closed", message, Some(hint.to_owned())))
}
