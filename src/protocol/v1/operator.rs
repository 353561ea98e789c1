//! Requests and answers of the operators' side: over the controller's Unix socket, or over TLS with a named key.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/status?filter=&view=` | [`Status`] and how the repo was found: [`StatusAnswer`] |
//! | `GET /v1/devices` | list of [`DeviceRow`](crate::domain::overview::device::DeviceRow) |
//! | `GET /v1/select?filter=&view=&from=&limit=` | [`SelectAnswer`]; 422 `bad-filter` with where in it |
//! | `GET /v1/groups?path=` | [`Folder`](crate::domain::overview::query::Folder) of the tree of dynamic groups |
//! | `GET /v1/devices/{device}` | [`DeviceDetail`] |
//! | `GET /v1/devices/{device}/why` | [`WhyAnswer`] |
//! | `GET /v1/drift` | [`DriftReport`](crate::domain::overview::drift::DriftReport) |
//! | `GET /v1/inventory?digest=` or `?registry=NAME,…` or `?url=` | a list of devices: JSON of the shape of `ansible-inventory --list` |
//! | `GET /v1/baseline` | [`Baseline`](crate::domain::overview::baseline::Baseline) |
//! | `GET /v1/export?after=DEVICE&limit=` | [`ExportPage`](crate::domain::overview::export::ExportPage): what devices are told to run, a page at a time; secrets are references |
//! | `GET /v1/events?subject=&limit=` | list of [`Event`] |
//! | `POST /v1/approvals` with [`ApproveRequest`] | [`Done`] |
//! | `POST /v1/devices/{device}/approve`, `…/reject` | [`Done`] |
//! | `POST /v1/devices/{device}/attributes` with [`AttributesRequest`] | [`Done`], empty if nothing changed |
//! | `GET /v1/devices/{device}/actions` | [`DeviceActions`](crate::domain::overview::actions::DeviceActions) |
//! | `POST /v1/devices/{device}/actions` with [`ActionRequest`], `…/actions/cancel` with [`CancelRequest`] | [`Done`] |
//! | `POST /v1/holds` with [`HoldRequest`]; `POST /v1/resume` with [`ResumeRequest`] | [`Done`] |
//! | `POST /v1/holds/devices` with [`HoldDevicesRequest`]; `POST /v1/resume/devices` with [`ResumeDevicesRequest`] | [`Done`] |
//! | `POST /v1/devices/{device}/retry` with [`RetryRequest`] | [`Done`] |
//! | `GET /v1/rollouts`, `GET /v1/rollouts/{rollout}` | list of [`RolloutRow`](crate::domain::overview::rollouts::RolloutRow); [`RolloutDetail`](crate::domain::overview::rollouts::RolloutDetail) |
//! | `POST /v1/rollouts` with [`DraftRequest`] | [`Done`] |
//! | `POST /v1/rollouts/{rollout}` with [`RolloutRequest`] | [`Done`] |
//! | `POST /v1/tokens` with [`TokenRequest`] | [`TokenAnswer`] |
//! | `POST /v1/epoch` with [`EpochRequest`]; `POST /v1/refresh` | [`Done`] |
//!
//! Errors have a body of [`ErrorBody`](super::messages::ErrorBody).

use crate::domain::actions::{DeviceAction, LockRule};
use crate::domain::acts::retry::OverLocks;
use crate::domain::desired::Explanation;
use crate::domain::digest::Digest;
use crate::domain::fleet::{Event, HoldScope, Listing, TokenBound};
use crate::domain::generation::Epoch;
use crate::domain::ids::{
    AppName, AttributeName, CommitId, DeviceId, FleetName, PolicyName, RolloutName, StageName, Version,
};
use crate::domain::overview::device::DeviceDetail;
use crate::domain::overview::query::{Undetermined, ViewRow};
use crate::domain::overview::status::Status;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// How many devices one page of a selection has at most.
pub const MAX_PAGE: usize = 5000;
/// The longest request that names devices, in bytes: as many as one act takes, with names of 128 characters, their quotes and
/// commas, are 655,000; the reason comes on top.
pub const MAX_DEVICES_REQUEST_BYTES: usize = 1 << 20;
/// How many events one request answers at most.
pub const MAX_EVENTS_ANSWER: usize = 1000;

/// The fleet on one screen, and how its repo was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// The fleet.
    pub fleet: FleetName,
    /// Version of the controller.
    pub version: String,
    /// Where devices reach it: the address that it listens on.
    pub address: Option<SocketAddr>,
    /// The fleet.
    #[serde(flatten)]
    pub status: Status,
    /// How the fleet repo was found at the last look.
    pub repo: RepoAnswer,
    /// Of which devices it speaks, if not of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<Selected>,
}

/// Of which devices an answer speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selected {
    /// How many are meant.
    pub total: usize,
    /// Devices of which it cannot be told.
    pub undetermined: Undetermined,
    /// Names in the filter that no device has, each with the one that was probably meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slips: Vec<(String, String)>,
}

/// Devices that a filter or view means, a page at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectAnswer {
    /// How many there are in all.
    pub total: usize,
    /// The columns of the view; empty for the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The devices of this page: by name, or in the order of the view.
    pub devices: Vec<ViewRow>,
    /// Devices of which it cannot be told, because something that decides is not known.
    pub undetermined: Undetermined,
    /// Names in the filter that no device has, each with the one that was probably meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slips: Vec<(String, String)>,
    /// Where the next page begins; `None` after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
}

/// How the fleet repo was found at the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoAnswer {
    /// When it last answered.
    pub last_contact: Option<Timestamp>,
    /// Why it does not answer, if it does not.
    pub unavailable: Option<String>,
    /// Stages whose branch the remote does not have.
    pub missing: Vec<StageName>,
    /// Stages whose commit could not be read, and why.
    pub unreadable: BTreeMap<StageName, String>,
    /// Lists of devices from outside the repo, by address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<String, ListAnswer>,
}

/// How one source of lists of devices was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListAnswer {
    /// SHA-256 of the list that it gave last.
    pub newest: Option<Digest>,
    /// When it gave that list.
    pub since: Option<Timestamp>,
    /// When it last answered as it should, since the controller's start.
    pub last_contact: Option<Timestamp>,
    /// Why its answer does not count, or why there is none. The list that it gave last stands.
    pub trouble: Option<String>,
}

/// Where a device's values come from, and what it waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyAnswer {
    /// The device.
    pub device: DeviceDetail,
    /// The stage whose commit is explained: its owner, or for a device in transit the most gated one that lists it.
    #[serde(default)]
    pub stage: Option<StageName>,
    /// The commit that the values come from.
    pub commit: Option<CommitId>,
    /// SHA-256 of the list of devices that counts with it, where the commit does not list them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Digest>,
    /// Where its values come from; `None` if no stage lists it or its commit cannot be read now.
    pub explanation: Option<Explanation>,
}

/// Approves a held commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// The digest, or at least its first eight hexadecimal digits.
    pub digest: String,
}

/// Sets and removes attributes of a device: `registry.*` in filters and views, and what the registry's list says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributesRequest {
    /// Names and values of 1 to 256 characters, at most 64 on a device.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<AttributeName, String>,
    /// Names; those that are not there do not matter.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub remove: BTreeSet<AttributeName>,
    /// Whether the registry lists the device from now on; a device that is not known becomes so by being listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<Listing>,
}

/// Asks a device to do something once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionRequest {
    /// What.
    pub action: DeviceAction,
    /// Whether update locks count.
    #[serde(default)]
    pub locks: LockRule,
    /// Why, 1 to 500 characters.
    pub reason: String,
    /// For how many seconds the device may come for it, 60 to 2592000.
    pub valid_secs: i64,
}

/// Takes an action back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Its number.
    pub number: u64,
}

/// Pauses a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// What to pause.
    pub on: HoldScope,
    /// Why, 1 to 500 characters.
    pub reason: String,
    /// Until when; `None` until it is resumed.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

/// Ends a pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// What to resume.
    pub on: HoldScope,
}

/// Pauses several devices, or none if one of them cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldDevicesRequest {
    /// 1 to 5000 devices.
    pub devices: BTreeSet<DeviceId>,
    /// Why, 1 to 500 characters.
    pub reason: String,
    /// Until when; `None` until they are resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Ends the pauses and conflicts of several devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeDevicesRequest {
    /// 1 to 5000 devices; those that are not held do not matter.
    pub devices: BTreeSet<DeviceId>,
}

/// Offers a device what it was assigned once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// Why, 1 to 500 characters.
    pub reason: String,
    /// Whether update locks count.
    #[serde(default)]
    pub over_locks: OverLocks,
}

/// Asks something of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutRequest {
    /// What.
    pub ask: RolloutAsk,
    /// Why, 1 to 500 characters.
    pub reason: String,
}

/// What is asked of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutAsk {
    /// One more person agrees to what waits for approval.
    Approve,
    /// Offer nothing new.
    Pause {
        /// Until then; `None` until it is resumed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Go on.
    Resume,
    /// Go on, and count only further failures.
    ResumeAcknowledging,
    /// Stop for good; devices keep what they have.
    Abort,
    /// Offer the same again to these of the devices that failed.
    Retry {
        /// The devices, at least one.
        devices: BTreeSet<DeviceId>,
    },
    /// Offer the same again to all devices that failed.
    RetryFailed,
    /// Lets these of the devices that failed go through another release first, and then offers them the same again.
    Reroute {
        /// The devices.
        devices: BTreeSet<DeviceId>,
        /// The app.
        app: AppName,
        /// The release in between.
        via: Version,
    },
    /// The same for all devices that failed.
    RerouteFailed {
        /// The app.
        app: AppName,
        /// The release in between.
        via: Version,
    },
    /// Each device goes back to what it had.
    Rollback,
    /// What went wrong may be assigned again.
    Lift,
    /// A draft begins.
    Activate,
    /// A draft gets one more step.
    AddStep {
        /// Before which step, from 1; `None` after all the others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<usize>,
        /// The step as a policy in `fleet.yml` has it, in YAML.
        step: String,
    },
    /// A draft loses a step.
    DeleteStep {
        /// Which, from 1.
        at: usize,
    },
    /// A draft is forgotten.
    Delete,
}

/// Drafts a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftRequest {
    /// Its name.
    pub name: RolloutName,
    /// The stage whose devices it is for.
    pub stage: StageName,
    /// The branch that has the change. It must contain the commit that counts for the stage.
    pub branch: StageName,
    /// The commit that the branch is at.
    pub commit: CommitId,
    /// Which devices may change: a filter.
    pub devices: String,
    /// A policy of `fleet.yml`, or a ready one, instead of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// Steps as a policy has them, each in YAML.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// What changes, 1 to 500 characters.
    pub change: String,
    /// Why, 1 to 500 characters.
    pub reason: String,
}

/// Raises the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRequest {
    /// The epoch that the operator saw; if it is another by now, nothing happens.
    pub from: Epoch,
    /// Why, 1 to 500 characters.
    pub reason: String,
}

/// Makes an enrollment token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Which devices it lets in.
    pub bound: TokenBound,
    /// How many devices it lets in.
    pub uses: u32,
    /// Seconds for which it is valid.
    pub valid_secs: i64,
}

/// A token that was made. It is shown once.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenAnswer {
    /// What the device is given, fingerprint included.
    pub token: String,
    /// Its public id.
    pub id: String,
    /// Until when it is valid.
    pub expires: Timestamp,
}

// The token is a secret.
impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What an act did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was recorded, with its actor.
    pub events: Vec<Event>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_failed_are_only_retried_where_somebody_says_so() {
        let read = |text: &str| serde_json::from_str::<RolloutRequest>(text).map(|request| request.ask);
        assert!(read(r#"{"ask":{"retry":{}},"reason":"again"}"#).is_err());
        assert_eq!(
            read(r#"{"ask":"retry-failed","reason":"again"}"#).expect("it is asked for"),
            RolloutAsk::RetryFailed
        );
    }
}
