//! What the agent tells applications and people on the device, and what they may ask of it.

pub mod requests;

use super::locks::Lock;
use super::terminal::TerminalFailure;
use crate::domain::condition::Condition;
use crate::domain::digest::Digest;
use crate::domain::generation::{Attempt, Order};
use crate::domain::ids::{AppName, CommitId, DeviceId, ServiceName, StageName, Version, VolumeName};
use crate::domain::reported::{Health, ObservedOs, Phase, Refusal, ServiceState};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The longest message of a statement about health, in bytes: one line for people.
pub const MAX_HEALTH_MESSAGE_BYTES: usize = 512;
/// The longest that a statement about health counts, in seconds: a day. What says nothing for longer is not watched.
pub const MAX_HEALTH_SECS: u32 = 86_400;
/// How many lines of a log are given at most. Whoever needs more reads the engine's own log.
pub const MAX_LOG_LINES: u32 = 5000;
/// How many bytes of a log are given at most; the newest are kept.
pub const MAX_LOG_BYTES: usize = 256 << 10;

/// The device as its agent sees it now: from the last look and the ledger, without secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalStatus {
    /// The device.
    pub device: DeviceId,
    /// The agent's version.
    pub agent_version: String,
    /// What the agent is doing.
    pub phase: Phase,
    /// What the device has to reach; `None` before the first assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<LocalAssignment>,
    /// How the newest assignment failed for good, if it did; then `assignment` is what the device went back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TerminalFailure>,
    /// The digest whose content was last reached completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Digest>,
    /// Services that are assigned or found, by `app/service`. `None` while the engine does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeMap<String, LocalService>>,
    /// What the OS updater says, if there is one and it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<ObservedOs>,
    /// Conditions, as they are reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The update locks that are held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
    /// The last assignment that was refused, if the newest offer was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

/// What the device was told to reach, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAssignment {
    /// Epoch and generation.
    #[serde(flatten)]
    pub order: Order,
    /// The content's digest.
    pub digest: Digest,
    /// The stage that owned the device.
    pub stage: StageName,
    /// The commit whose content it is.
    pub commit: CommitId,
    /// How often the digest was offered.
    pub attempt: Attempt,
    /// The release of each app.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub releases: BTreeMap<AppName, Version>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalService {
    /// The image that is assigned; `None` for a service that is there and not assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether its container runs; `None` without a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ServiceState>,
    /// What the container's own health check says.
    #[serde(default)]
    pub health: Health,
    /// How often the engine restarted it.
    #[serde(default)]
    pub restarts: u64,
    /// What it said of itself, through the local API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<HealthTold>,
}

/// Whether a service says that it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is.
    Healthy,
    /// It is not.
    Unhealthy,
}

/// What a service said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthTold {
    /// Whether it is well.
    pub verdict: Verdict,
    /// Why, in its own words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it said so.
    pub at: Timestamp,
    /// From when on its silence counts as not knowing; `None` if it need not repeat itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A service by its name, alone or behind its app's: `nav` or `web/nav`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePath {
    /// The app; `None` if the service's name says enough.
    pub app: Option<AppName>,
    /// The service.
    pub service: ServiceName,
}

/// The text is neither `SERVICE` nor `APP/SERVICE`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a service: write SERVICE or APP/SERVICE")]
pub struct ServicePathError(pub String);

impl std::str::FromStr for ServicePath {
    type Err = ServicePathError;
    fn from_str(text: &str) -> Result<Self, ServicePathError> {
        // Cut: it may come from anybody.
        let bad = || ServicePathError(text.chars().take(100).collect());
        let (app, service) = match text.split_once('/') {
            Some((app, service)) => (Some(app.parse().map_err(|_| bad())?), service),
            None => (None, text),
        };
        Ok(Self { app, service: service.parse().map_err(|_| bad())? })
    }
}

impl fmt::Display for ServicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.app {
            Some(app) => write!(f, "{app}/{}", self.service),
            None => write!(f, "{}", self.service),
        }
    }
}

/// A volume by its app and name: `web/cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePath {
    /// The app.
    pub app: AppName,
    /// The volume.
    pub volume: VolumeName,
}

/// The text is not `APP/VOLUME`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a volume: write APP/VOLUME")]
pub struct VolumePathError(pub String);

impl std::str::FromStr for VolumePath {
    type Err = VolumePathError;
    fn from_str(text: &str) -> Result<Self, VolumePathError> {
        let bad = || VolumePathError(text.chars().take(100).collect());
        let (app, volume) = text.split_once('/').ok_or_else(bad)?;
        Ok(Self { app: app.parse().map_err(|_| bad())?, volume: volume.parse().map_err(|_| bad())? })
    }
}

impl fmt::Display for VolumePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.volume)
    }
}

/// What applications and people on the device may ask of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Look at the device and ask the controller for news, now.
    Check,
    /// Remove a volume with its data.
    Purge(VolumePath),
    /// Note what a service says of its health.
    TellHealth {
        /// The service.
        service: ServicePath,
        /// Whether it is well.
        verdict: Verdict,
        /// Why, at most [`MAX_HEALTH_MESSAGE_BYTES`].
        message: String,
        /// For how long that counts, in seconds, at most [`MAX_HEALTH_SECS`]; `None` until it says something else.
        for_secs: Option<u32>,
    },
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No service has the name.
    #[error("no service {0} is assigned to this device")]
    UnknownService(ServicePath),
    /// More than one has it.
    #[error("more than one app has a service {0}")]
    AmbiguousService(ServicePath),
    /// No such volume is there.
    #[error("there is no volume {0} on this device")]
    UnknownVolume(VolumePath),
    /// Too much was asked for that is not done yet.
    #[error("what was asked for before is not done yet; try again")]
    TooMany,
    /// A value is out of its range.
    #[error("{what} must be {range}")]
    OutOfRange {
        /// Which value.
        what: &'static str,
        /// Its range, in words.
        range: &'static str,
    },
}

/// Finds the one service that a path means among those that there are.
pub fn find<'a>(
    path: &ServicePath,
    services: impl IntoIterator<Item = (&'a AppName, &'a ServiceName)>,
) -> Result<(AppName, ServiceName), AskError> {
    let fits = |(app, service): &(&AppName, &ServiceName)| {
        **service == path.service && path.app.as_ref().is_none_or(|wanted| wanted == *app)
    };
    let mut fitting = services.into_iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some((app, service)), None) => Ok((app.clone(), service.clone())),
        (Some(_), Some(_)) => Err(AskError::AmbiguousService(path.clone())),
        (None, _) => Err(AskError::UnknownService(path.clone())),
    }
}
