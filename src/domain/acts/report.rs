//! A device reports.

use crate::domain::actions::{MAX_OPEN_ACTIONS, MAX_REPORTED_RESULTS};
use crate::domain::acts::actions::results;
use crate::domain::fleet::{CLONE, Change, Conflict, Control, Event, FleetState, Reported};
use crate::domain::ids::{Actor, DeviceId};
use crate::domain::reported::{Admission, MAX_FOUND, Report, admit};
use crate::domain::time::Timestamp;
use std::sync::Arc;

/// How many conditions a report may carry. More is not a description of a device.
pub const MAX_CONDITIONS: usize = 64;
/// How many attributes a report may carry.
pub const MAX_ATTRIBUTES: usize = 256;

/// Why a report is not recorded. The device goes on as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// A list in it is longer than allowed.
    #[error("the report has {count} {what}; at most {most} are accepted")]
    TooMany {
        /// Which list.
        what: &'static str,
        /// How long it is.
        count: usize,
        /// How long it may be.
        most: usize,
    },
    /// Its start has no proper name.
    #[error("the report's start_id is not 32 hexadecimal digits")]
    BadStart,
}

/// What a report comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// It is newer than what is known.
    Newer(Vec<Change>),
    /// It was seen before, or is older: ignored.
    Stale,
}

/// Decides whether a report is recorded.
///
/// `known` is what the state says, or what an earlier report of the same transaction made of it.
pub fn report(state: &FleetState, device: &DeviceId, report: Report, now: Timestamp) -> Result<Recorded, ReportError> {
    check_bounds(&report)?;
    let record = state.devices.get(device);
    let known = record.and_then(|record| record.reported.as_ref()).map(|reported| &reported.freshness);
    match admit(known, report.start, &report.start_id, report.seq) {
        Admission::Stale => Ok(Recorded::Stale),
        Admission::Newer(freshness) => {
            let mut ended = results(record, device, &report, now);
            let reported = Reported { received_at: now, freshness, report };
            let mut changes = vec![Change::Reported(device.clone(), Arc::new(reported))];
            changes.append(&mut ended);
            Ok(Recorded::Newer(changes))
        }
        Admission::Clone => {
            let control = record.map(|record| record.control.clone()).unwrap_or_default();
            if control.conflict.is_some() {
                return Ok(Recorded::Stale);
            }
            let message = "two agents report with this device's identity".to_owned();
            let conflict =
                Conflict { since: now, reason: CLONE.to_owned(), message: message.clone(), device: report.observed };
            Ok(Recorded::Newer(vec![
                Change::Control(
                    device.clone(),
                    Arc::new(Control { conflict: Some(conflict), ..Control::clone(&control) }),
                ),
                Change::Event(Event {
                    at: now,
                    actor: Actor::controller(),
                    kind: "Conflict".to_owned(),
                    subject: device.to_string(),
                    message,
                    rollout: None,
                }),
            ]))
        }
    }
}

fn check_bounds(report: &Report) -> Result<(), ReportError> {
    let bound = |what, count: usize, most: usize| {
        if count > most { Err(ReportError::TooMany { what, count, most }) } else { Ok(()) }
    };
    bound("conditions", report.conditions.len(), MAX_CONDITIONS)?;
    bound("differences", report.found.len(), MAX_FOUND)?;
    bound("attributes", report.attributes.len(), MAX_ATTRIBUTES)?;
    if let Some(actions) = &report.actions {
        bound("results of actions", actions.results.len(), MAX_REPORTED_RESULTS)?;
        bound("waiting actions", actions.waiting.len(), MAX_OPEN_ACTIONS)?;
    }
    let hexadecimal = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if report.start_id.len() != 32 || !hexadecimal(&report.start_id) {
        return Err(ReportError::BadStart);
    }
    Ok(())
}
