//! Assignments: what a device has been told to reach, and the rule by which it accepts a newer one.

use super::digest::Digest;
use super::generation::{Attempt, Order};
use super::ids::{Actor, CommitId, DeviceId, StageName};
use super::planted::{Bug, planted};
use super::spec::SealedSpec;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a device has been told to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The device.
    pub device: DeviceId,
    /// The stage that owned the device when this was decided.
    pub stage: StageName,
    /// The commit whose content this is.
    pub commit: CommitId,
    /// Its place in the order of the device's assignments.
    pub order: Order,
    /// How often this digest was offered.
    pub attempt: Attempt,
    /// The content.
    pub spec: SealedSpec,
    /// The rollout that released it, once there are rollouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// When it was decided.
    pub assigned_at: Timestamp,
    /// How many seconds the device must be well with it before it counts as good; 0 is at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub soak_secs: u32,
    /// An operator's word that update locks do not count for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Force>,
}

/// An operator's word that update locks do not count for one assignment. It is no content: it travels beside the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Force {
    /// Who said so.
    pub actor: Actor,
    /// Why.
    pub reason: String,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Assignment {
    /// The assignment's place and digest, as a ledger keeps them.
    pub fn mark(&self) -> Mark {
        Mark { order: self.order, digest: self.spec.digest }
    }
}

/// The place and digest of an assignment: what ledgers, reports and entity tags carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// Epoch and generation.
    #[serde(flatten)]
    pub order: Order,
    /// The spec's digest.
    pub digest: Digest,
}

impl Mark {
    /// The entity tag, `epoch.generation.digest`, without quotes.
    pub fn etag(&self) -> String {
        format!("{}.{}", self.order, self.digest.hex())
    }
}

/// Why a device refused an assignment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Older than what the ledger holds.
    #[error("{offered} is older than {current}, which is already in the ledger")]
    Outdated {
        /// What was offered.
        offered: Order,
        /// What the ledger holds.
        current: Order,
    },
    /// The same place with other content.
    #[error("{order} was accepted before with different content")]
    ContentChanged {
        /// The place.
        order: Order,
    },
}

/// What accepting comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is newer: it must be in the ledger before anything is done.
    Newer,
    /// It is what the ledger holds already.
    Same,
}

/// Decides whether a device accepts an assignment, given the newest one in its ledger.
pub fn accept(current: Option<&Mark>, offered: &Mark) -> Result<Accepted, AcceptError> {
    let Some(current) = current else { return Ok(Accepted::Newer) };
    match offered.order.cmp(&current.order) {
        std::cmp::Ordering::Less if planted(Bug::AcceptOlder) => Ok(Accepted::Newer),
        std::cmp::Ordering::Less => Err(AcceptError::Outdated { offered: offered.order, current: current.order }),
        std::cmp::Ordering::Equal if offered.digest == current.digest => Ok(Accepted::Same),
        std::cmp::Ordering::Equal if planted(Bug::AcceptChangedContent) => Ok(Accepted::Newer),
        std::cmp::Ordering::Equal => Err(AcceptError::ContentChanged { order: offered.order }),
        std::cmp::Ordering::Greater => Ok(Accepted::Newer),
    }
}
