//! The conditions of one device: `since` moves only when a status changes.

use crate::domain::condition::{Condition, ConditionStatus};
use crate::domain::device::action::Failure;
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;

/// Whether everything that is assigned is there and runs.
pub(super) const READY: &str = "Ready";
/// Whether what runs is well; only there when something is not.
pub(super) const HEALTHY: &str = "Healthy";
/// Whether the container engine answers.
pub(super) const ENGINE_AVAILABLE: &str = "EngineAvailable";
/// Whether the OS updater answers.
pub(super) const OS_UPDATER_AVAILABLE: &str = "OsUpdaterAvailable";
/// Whether the newest offer was accepted; only there after a refusal.
pub(super) const ASSIGNMENT_ACCEPTED: &str = "AssignmentAccepted";
/// Whether the newest list of actions was believed; only there when it was not.
pub(super) const ACTIONS_ACCEPTED: &str = "ActionsAccepted";
/// How an update of the OS stands; only there while it is not as assigned.
pub(super) const OS_UPDATED: &str = "OsUpdated";
/// Whether the host is set as assigned; only there while something of it is assigned or was.
pub(super) const HOST_CONFIGURED: &str = "HostConfigured";
/// Whether the ledger can be written; only there when it cannot.
pub(super) const LEDGER_WRITABLE: &str = "LedgerWritable";
/// How far bringing images has come; only there while they are on their way.
pub(super) const DOWNLOADING: &str = "Downloading";
/// What services say of their own health; only there if any said something.
pub(super) const SERVICES_HEALTHY: &str = "ServicesHealthy";
/// What became of the last action that somebody on the device asked for; only there if anybody did.
pub(super) const LAST_ACTION: &str = "LastAction";
/// What the agent last did, and why.
pub(super) const LAST_CHANGE: &str = "LastChange";

/// The longest message of a condition, in bytes: a report has room for many, and people read one line.
const MAX_MESSAGE_BYTES: usize = 1024;

/// Conditions by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conditions {
    by_kind: BTreeMap<&'static str, Condition>,
    /// How often each failing condition was set to failing in a row.
    failures: BTreeMap<&'static str, u32>,
}

impl Conditions {
    pub(super) fn set(
        &mut self,
        kind: &'static str,
        status: ConditionStatus,
        reason: &str,
        message: &str,
        now: Timestamp,
    ) {
        let since = match self.by_kind.get(kind) {
            Some(before) if before.status == status => before.since,
            Some(_) | None => now,
        };
        match status {
            ConditionStatus::True => self.failures.remove(kind).map_or((), drop),
            ConditionStatus::False | ConditionStatus::Unknown => {
                let count = self.failures.entry(kind).or_default();
                *count = count.saturating_add(1);
            }
        }
        let (kind_name, reason, message) = (kind.to_owned(), reason.to_owned(), cut(message).to_owned());
        self.by_kind.insert(kind, Condition { kind: kind_name, status, reason, message, since });
    }

    pub(super) fn holds(&mut self, kind: &'static str, reason: &str, now: Timestamp) {
        self.set(kind, ConditionStatus::True, reason, "", now);
    }

    pub(super) fn fails(&mut self, kind: &'static str, failure: &Failure, now: Timestamp) {
        self.set(kind, ConditionStatus::False, failure.reason, &failure.message, now);
    }

    pub(super) fn clear(&mut self, kind: &'static str) {
        self.by_kind.remove(kind);
        self.failures.remove(kind);
    }

    /// How often in a row the condition was set without holding.
    pub(super) fn repeats(&self, kind: &'static str) -> u32 {
        self.failures.get(kind).copied().unwrap_or(0)
    }

    /// The reason of a condition, if it is there.
    pub(super) fn reason(&self, kind: &'static str) -> Option<&str> {
        self.by_kind.get(kind).map(|condition| condition.reason.as_str())
    }

    pub(super) fn all(&self) -> Vec<Condition> {
        self.by_kind.values().cloned().collect()
    }
}

/// The beginning of a text, cut where a character ends.
fn cut(message: &str) -> &str {
    match message.len() {
        0..=MAX_MESSAGE_BYTES => message,
        _ => &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)],
    }
}
