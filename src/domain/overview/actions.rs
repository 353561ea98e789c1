//! Actions of one device, as people look at them.

use crate::domain::actions::{ActionRecord, ActionState};
use crate::domain::fleet::DeviceRecord;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Everything about the actions of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceActions {
    /// Whether its agent knows actions.
    pub support: Support,
    /// The newest first.
    pub actions: Vec<ActionRow>,
}

/// Whether an agent knows actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Support {
    /// It does.
    Yes,
    /// It is older than actions.
    No,
    /// It has not reported yet.
    Unknown,
}

/// One action, and how it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRow {
    /// What is kept of it.
    #[serde(flatten)]
    pub record: ActionRecord,
    /// How it stands: `waiting`, `done`, `failed`, `refused`, `interrupted`, `canceled`, `expired` or `not supported`.
    pub standing: String,
    /// For what it waits, or what became of it, in words; may be empty.
    pub words: String,
}

impl DeviceActions {
    /// The actions of a device.
    pub fn of(record: &DeviceRecord, now: Timestamp) -> Self {
        let report = record.reported.as_ref().map(|reported| &reported.report);
        let told = report.and_then(|report| report.actions.as_ref());
        let support = match (report, told) {
            (_, Some(_)) => Support::Yes,
            (Some(_), None) => Support::No,
            (None, None) => Support::Unknown,
        };
        let row = |record: &ActionRecord| {
            let (standing, words) = match (&record.state, support) {
                (ActionState::Open, _) if !record.is_open(now) => {
                    ("expired", "the device did not come for it".to_owned())
                }
                (ActionState::Open, Support::No) => ("not supported", "the agent is older than actions".to_owned()),
                (ActionState::Open, Support::Unknown) => ("waiting", "for the device's first report".to_owned()),
                (ActionState::Open, Support::Yes) => {
                    let what = told.and_then(|told| told.waiting.get(&record.request.number).cloned());
                    let seen = told.is_some_and(|told| told.last >= record.request.number);
                    let usual = if seen { "the device has it" } else { "for the device to come for it" };
                    ("waiting", what.unwrap_or_else(|| usual.to_owned()))
                }
                (ActionState::Canceled { actor, .. }, _) => ("canceled", format!("by {actor}")),
                (ActionState::Expired, _) => ("expired", "the device did not come for it".to_owned()),
                (ActionState::Ended(result), _) => (standing_of(result.outcome), result.message.clone()),
            };
            ActionRow { record: record.clone(), standing: standing.to_owned(), words }
        };
        let actions = record.actions.iter().flat_map(|actions| actions.list.iter().rev().map(row)).collect();
        Self { support, actions }
    }
}

fn standing_of(outcome: crate::domain::actions::Outcome) -> &'static str {
    match outcome {
        crate::domain::actions::Outcome::Done => "done",
        crate::domain::actions::Outcome::Failed => "failed",
        crate::domain::actions::Outcome::Refused => "refused",
        crate::domain::actions::Outcome::Interrupted => "interrupted",
    }
}
