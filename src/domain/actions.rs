//! Device actions: what an operator asks of one device once, beside its assignment. Restart, reboot, purge a volume, collect logs.
//!
//! An action has a number that only grows on its device. The device notes the numbers that it has seen, and the one that it is
//! about to carry out, before it does anything: whatever crashes, nothing is carried out twice.

use super::ids::{Actor, AppName, ServiceName, VolumeName};
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How many actions of one device may be open at once. A device that is away for a week needs no longer list to do on its return.
pub const MAX_OPEN_ACTIONS: usize = 16;
/// How many actions of one device are kept, the open ones included; the oldest that ended go first. The event log has them all.
pub const MAX_KEPT_ACTIONS: usize = 32;
/// The longest that an action stays open, in seconds: 30 days.
pub const MAX_ACTION_SECS: i64 = 30 * 86_400;
/// How long it stays open if nobody says, in seconds: a week.
pub const USUAL_ACTION_SECS: i64 = 7 * 86_400;
/// How many lines of a log can be asked for.
pub const MAX_ACTION_LOG_LINES: u32 = 500;
/// How many bytes of a log are sent; the newest are kept. Eight of them fit a report beside everything else.
pub const MAX_EXCERPT_BYTES: usize = 16 << 10;
/// How many results one report carries; the others follow in the next.
pub const MAX_REPORTED_RESULTS: usize = 8;
/// The longest sentence of a result, in bytes.
pub const MAX_RESULT_BYTES: usize = 1024;

/// What a device is asked to do once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DeviceAction {
    /// Stop a service and start it again, the same container.
    RestartService {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
    },
    /// The same with every service that is assigned.
    RestartAll,
    /// Restart the machine.
    Reboot,
    /// Remove a volume with its data. Services that use it are made anew, with an empty one.
    PurgeVolume {
        /// The app.
        app: AppName,
        /// The volume.
        volume: VolumeName,
    },
    /// Send the newest lines of a service's log.
    CollectLogs {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
        /// How many, 1 to [`MAX_ACTION_LOG_LINES`].
        lines: u32,
    },
    /// Something that this build does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for DeviceAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RestartService { app, service } => write!(f, "restart {app}/{service}"),
            Self::RestartAll => f.write_str("restart all services"),
            Self::Reboot => f.write_str("reboot"),
            Self::PurgeVolume { app, volume } => write!(f, "purge volume {volume} of {app}"),
            Self::CollectLogs { app, service, lines } => {
                write!(f, "collect {lines} lines of the log of {app}/{service}")
            }
            Self::Unknown => f.write_str("something unknown"),
        }
    }
}

/// Whether update locks count for an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockRule {
    /// It waits for them.
    #[default]
    Respected,
    /// An operator said that they do not.
    Overridden,
}

impl LockRule {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An action as it was asked for, and as the device gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedAction {
    /// Its number on this device, from 1.
    pub number: u64,
    /// What is to be done.
    pub action: DeviceAction,
    /// Whether locks count.
    #[serde(default, skip_serializing_if = "LockRule::is_default")]
    pub locks: LockRule,
    /// Who asked.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// When.
    pub requested_at: Timestamp,
    /// From when on it is not begun any more.
    pub expires: Timestamp,
}

/// How carrying out an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// It was tried and did not work.
    Failed,
    /// It was not begun.
    Refused,
    /// It was begun, and nobody knows what came of it; it is not begun again.
    Interrupted,
}

/// What became of an action, as the device reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResult {
    /// Which action.
    pub number: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// One word for programs: `Done`, `NotSupported`, `Expired`, `EngineUnavailable`, …
    pub reason: String,
    /// One sentence for people; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it ended, by the device's clock.
    pub at: Timestamp,
    /// What was asked for, if that was a log. At most [`MAX_EXCERPT_BYTES`], values of secrets concealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// What a device says of actions. That it says anything says that it knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionsReport {
    /// The largest number that it has seen.
    #[serde(default)]
    pub last: u64,
    /// For what open actions wait, by number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting: BTreeMap<u64, String>,
    /// Results that the controller still lists as open, at most [`MAX_REPORTED_RESULTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<ActionResult>,
}

/// Everything that the controller keeps of one device's actions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actions {
    /// The largest number that was ever given.
    pub last: u64,
    /// By number, at most [`MAX_KEPT_ACTIONS`].
    pub list: Vec<ActionRecord>,
}

/// One action, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRecord {
    /// As it was asked for.
    #[serde(flatten)]
    pub request: RequestedAction,
    /// What became of it.
    pub state: ActionState,
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionState {
    /// Nothing yet.
    Open,
    /// Somebody took it back. A device that had begun may still have carried it out.
    Canceled {
        /// Who.
        actor: Actor,
        /// When.
        at: Timestamp,
    },
    /// The device did not come for it in time.
    Expired,
    /// The device reported.
    Ended(ActionResult),
}

impl ActionRecord {
    /// Whether a device may still begin it.
    pub fn is_open(&self, now: Timestamp) -> bool {
        matches!(self.state, ActionState::Open) && now < self.request.expires
    }
}

impl Actions {
    /// What a device may still begin, by number.
    pub fn open(&self, now: Timestamp) -> Vec<RequestedAction> {
        self.list.iter().filter(|record| record.is_open(now)).map(|record| record.request.clone()).collect()
    }

    /// Drops the oldest that ended beyond what is kept.
    pub fn bound(&mut self) {
        while self.list.len() > MAX_KEPT_ACTIONS {
            let ended = self.list.iter().position(|record| !matches!(record.state, ActionState::Open));
            self.list.remove(ended.unwrap_or(0));
        }
    }
}

/// Names a list of open actions: what a poll carries and an answer is compared with. `none` for an empty list.
pub fn tag<'a>(open: impl IntoIterator<Item = &'a RequestedAction>) -> String {
    let numbers: Vec<String> = open.into_iter().map(|action| action.number.to_string()).collect();
    if numbers.is_empty() { "none".to_owned() } else { numbers.join(".") }
}
