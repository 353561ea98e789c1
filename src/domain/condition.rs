//! Conditions: what is true of a device, since when, and why.

use super::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Whether a condition holds. `Unknown` is an answer of its own and never means `True` or `False`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It could not be found out.
    Unknown,
}

/// One statement about a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What the statement is about, such as `Ready` or `SpecValid`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word for programs, such as `EngineUnavailable`.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
    /// Since when the status has been what it is.
    pub since: Timestamp,
}
