//! Operators ask devices to do something once, and devices say what became of it.

use super::operator::{ActError, Acting, check_reason};
use crate::domain::actions::{
    ActionRecord, ActionResult, ActionState, Actions, DeviceAction, LockRule, MAX_ACTION_LOG_LINES, MAX_ACTION_SECS,
    MAX_EXCERPT_BYTES, MAX_OPEN_ACTIONS, MAX_RESULT_BYTES, Outcome, RequestedAction,
};
use crate::domain::fleet::{Change, DeviceRecord, Event, FleetState, IdentityStatus};
use crate::domain::ids::{Actor, DeviceId};
use crate::domain::reported::Report;
use crate::domain::time::{Timestamp, show_secs};
use std::sync::Arc;

/// An action to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAction {
    /// What is to be done.
    pub action: DeviceAction,
    /// Whether locks count.
    pub locks: LockRule,
    /// Why.
    pub reason: String,
    /// For how many seconds it stays open, 60 to [`MAX_ACTION_SECS`].
    pub valid_secs: i64,
}

/// Asks a device for an action. It is kept until the device comes for it, or until it expires.
pub fn request(
    state: &FleetState,
    device: &DeviceId,
    new: NewAction,
    acting: &Acting,
) -> Result<Vec<Change>, ActError> {
    let record = known(state, device)?;
    let NewAction { action, locks, reason, valid_secs } = new;
    check_reason(&reason)?;
    if !(60..=MAX_ACTION_SECS).contains(&valid_secs) {
        return Err(ActError::OutOfRange { what: "the time for which an action stays open", range: "from 60s to 30d" });
    }
    check_action(record, device, &action)?;
    let mut actions = record.actions.as_deref().cloned().unwrap_or_default();
    expire(&mut actions, acting.now);
    if actions.open(acting.now).len() >= MAX_OPEN_ACTIONS {
        return Err(ActError::OutOfRange { what: "the number of open actions of a device", range: "at most 16" });
    }
    // A controller that was restored from a backup has forgotten numbers that the device has seen.
    let seen =
        record.reported.as_ref().and_then(|reported| reported.report.actions.as_ref()).map_or(0, |told| told.last);
    let number = actions.last.max(seen).checked_add(1);
    let number = number.ok_or(ActError::OutOfRange { what: "the number of an action", range: "below 2^64" })?;
    let expires = acting.now.plus_secs(valid_secs);
    let forced = match locks {
        LockRule::Respected => "",
        LockRule::Overridden => ", whoever holds a lock",
    };
    let message = format!("action {number}: {action}{forced}, within {}: {reason}", show_secs(valid_secs));
    let request = RequestedAction {
        number,
        action,
        locks,
        actor: acting.actor.clone(),
        reason,
        requested_at: acting.now,
        expires,
    };
    actions.last = number;
    actions.list.push(ActionRecord { request, state: ActionState::Open });
    actions.bound();
    Ok(vec![Change::Actions(device.clone(), Arc::new(actions)), acting.event("ActionRequested", device, message)])
}

/// Takes an action back that has not ended. A device that had begun may still carry it out.
pub fn cancel(state: &FleetState, device: &DeviceId, number: u64, acting: &Acting) -> Result<Vec<Change>, ActError> {
    let record = known(state, device)?;
    let mut actions = record.actions.as_deref().cloned().unwrap_or_default();
    let open = actions.list.iter_mut().find(|one| one.request.number == number && one.is_open(acting.now));
    let one = open.ok_or_else(|| ActError::NoOpenAction { device: device.clone(), number })?;
    one.state = ActionState::Canceled { actor: acting.actor.clone(), at: acting.now };
    let message = format!("action {number} was taken back: {}", one.request.action);
    Ok(vec![Change::Actions(device.clone(), Arc::new(actions)), acting.event("ActionCanceled", device, message)])
}

fn known<'a>(state: &'a FleetState, device: &DeviceId) -> Result<&'a DeviceRecord, ActError> {
    let record = state.devices.get(device).ok_or_else(|| ActError::UnknownDevice(device.clone()))?;
    match record.identity.as_ref().map(|identity| identity.status) {
        Some(IdentityStatus::Enrolled) => Ok(record),
        Some(IdentityStatus::Pending | IdentityStatus::Rejected) | None => Err(ActError::NotEnrolled(device.clone())),
    }
}

/// What can be told to be a mistake here. The device has the last word.
fn check_action(record: &DeviceRecord, device: &DeviceId, action: &DeviceAction) -> Result<(), ActError> {
    let assigned = record.assignment.as_ref().map(|assignment| &assignment.spec.spec.apps);
    match action {
        DeviceAction::RestartService { app, service } | DeviceAction::CollectLogs { app, service, .. } => {
            let is_there = |apps: &std::collections::BTreeMap<_, crate::domain::spec::AppSpec>| {
                apps.get(app).is_some_and(|app| app.services.contains_key(service))
            };
            if assigned.is_some_and(|apps| !is_there(apps)) {
                return Err(ActError::NoSuchService { device: device.clone(), name: format!("{app}/{service}") });
            }
        }
        DeviceAction::RestartAll | DeviceAction::Reboot | DeviceAction::PurgeVolume { .. } => {}
        DeviceAction::Unknown => {
            let range = "restart-service, restart-all, reboot, purge-volume or collect-logs";
            return Err(ActError::OutOfRange { what: "the kind of an action", range });
        }
    }
    if let DeviceAction::CollectLogs { lines, .. } = action
        && !(1..=MAX_ACTION_LOG_LINES).contains(lines)
    {
        return Err(ActError::OutOfRange { what: "the number of lines", range: "from 1 to 500" });
    }
    Ok(())
}

fn expire(actions: &mut Actions, now: Timestamp) {
    for record in &mut actions.list {
        if matches!(record.state, ActionState::Open) && !record.is_open(now) {
            record.state = ActionState::Expired;
        }
    }
}

/// What a report changes of a device's actions: results of those that are open, nothing else.
pub fn results(record: Option<&DeviceRecord>, device: &DeviceId, report: &Report, now: Timestamp) -> Vec<Change> {
    let (Some(actions), Some(told)) = (record.and_then(|record| record.actions.as_ref()), &report.actions) else {
        return Vec::new();
    };
    let mut actions = Actions::clone(actions);
    let mut events = Vec::new();
    for result in &told.results {
        let open = |one: &&mut ActionRecord| {
            // One that expired meanwhile was still begun in time, by the device's clock.
            one.request.number == result.number && matches!(one.state, ActionState::Open | ActionState::Expired)
        };
        let Some(one) = actions.list.iter_mut().find(open) else { continue };
        let result = bounded(result);
        events.push(event(device, one, &result, now));
        one.state = ActionState::Ended(result);
    }
    if events.is_empty() {
        return events;
    }
    expire(&mut actions, now);
    let mut changes = vec![Change::Actions(device.clone(), Arc::new(actions))];
    changes.append(&mut events);
    changes
}

/// A result may come from anybody who has the device's key.
fn bounded(result: &ActionResult) -> ActionResult {
    let head = |text: &str, most: usize| text[..text.floor_char_boundary(most)].to_owned();
    ActionResult {
        number: result.number,
        outcome: result.outcome,
        reason: head(&result.reason, 64),
        message: head(&result.message, MAX_RESULT_BYTES),
        at: result.at,
        log: result
            .log
            .as_ref()
            .map(|log| log[log.ceil_char_boundary(log.len().saturating_sub(MAX_EXCERPT_BYTES))..].to_owned()),
    }
}

fn event(device: &DeviceId, one: &ActionRecord, result: &ActionResult, now: Timestamp) -> Change {
    let kind = match result.outcome {
        Outcome::Done => "ActionDone",
        Outcome::Failed => "ActionFailed",
        Outcome::Refused => "ActionRefused",
        Outcome::Interrupted => "ActionInterrupted",
    };
    let RequestedAction { number, action, actor, .. } = &one.request;
    let words = if result.message.is_empty() { String::new() } else { format!(": {}", result.message) };
    let message = format!("action {number} of {actor}: {action}{words}");
    Change::Event(Event {
        at: now,
        actor: Actor::controller(),
        kind: kind.to_owned(),
        subject: device.to_string(),
        message,
        rollout: None,
    })
}
