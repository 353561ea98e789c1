//! How a service is updated, and how it is found out from outside whether it is well.

use super::is_default;
use serde::{Deserialize, Serialize};

/// How long a hand-over waits for the new container unless the release says otherwise, in seconds.
pub const HANDOVER_TIMEOUT_SECS: u32 = 60;
/// The longest that a hand-over may wait, in seconds. Two versions of a service side by side are meant to be a passage.
pub const MAX_HANDOVER_TIMEOUT_SECS: u32 = 3600;
/// How many probes a service has at most: each is work on the device that never ends.
pub const MAX_PROBES: usize = 8;

/// How a container gives way to the one that follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// In which order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub strategy: Strategy,
    /// Seconds that a hand-over waits for the new container to be well; `None` is [`HANDOVER_TIMEOUT_SECS`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub handover_timeout_secs: Option<u32>,
}

impl Update {
    /// Seconds that a hand-over waits.
    pub fn handover_timeout_secs(&self) -> u32 {
        self.handover_timeout_secs.unwrap_or(HANDOVER_TIMEOUT_SECS)
    }
}

/// In which order a service is updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// All images are there before the old container stops: the shortest interruption that one container allows.
    #[default]
    DownloadThenKill,
    /// The old container stops first: for a device without the memory or the bandwidth for both.
    KillThenDownload,
    /// The old container and its image go first: for a device without the disk for two images.
    DeleteThenDownload,
    /// The new container runs beside the old one until it is well: no interruption.
    HandOver,
}

/// Something that the agent asks a service from outside, over and over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What is asked.
    pub check: ProbeCheck,
    /// Seconds between two tries.
    #[serde(default = "usual_interval", skip_serializing_if = "is_usual_interval")]
    pub interval_secs: u32,
    /// Seconds that one try may take.
    #[serde(default = "usual_timeout", skip_serializing_if = "is_usual_timeout")]
    pub timeout_secs: u32,
    /// How many tries in a row must fail until the service counts as not well.
    #[serde(default = "usual_threshold", skip_serializing_if = "is_usual_threshold")]
    pub threshold: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ProbeCheck {
    /// A program in the container ends with status 0.
    Exec(Vec<String>),
    /// `GET` of a path at a port of the container answers with a status from 200 to 399.
    Http {
        /// The container's port.
        port: u16,
        /// The path, with `/` at its beginning.
        path: String,
    },
    /// A file in the container is there.
    File {
        /// Its absolute path.
        path: String,
        /// How old it may be, in seconds since it was last written; `None` does not mind.
        #[serde(default, skip_serializing_if = "is_default")]
        max_age_secs: Option<u32>,
    },
}

impl Probe {
    /// A probe with the usual times.
    pub fn of(check: ProbeCheck) -> Self {
        let (interval_secs, timeout_secs) = (usual_interval(), usual_timeout());
        Self { check, interval_secs, timeout_secs, threshold: usual_threshold() }
    }
}

fn usual_interval() -> u32 {
    30
}

fn is_usual_interval(secs: &u32) -> bool {
    *secs == usual_interval()
}

fn usual_timeout() -> u32 {
    5
}

fn is_usual_timeout(secs: &u32) -> bool {
    *secs == usual_timeout()
}

fn usual_threshold() -> u32 {
    3
}

fn is_usual_threshold(count: &u32) -> bool {
    *count == usual_threshold()
}
