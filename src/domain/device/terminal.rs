//! How an attempt at a digest ended for good.

use super::dump::CoreDump;
use crate::domain::digest::Digest;
use crate::domain::generation::Attempt;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How many lines of a container's output a failure carries: the last ones, which mostly say why.
pub const MAX_LOG_LINES: usize = 20;
/// The longest line of them, in bytes. Longer ones are cut.
pub const MAX_LOG_LINE_BYTES: usize = 256;

/// An attempt at a digest that failed for good: the same digest is tried again only at a higher attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalFailure {
    /// The digest.
    pub digest: Digest,
    /// The attempt.
    pub attempt: Attempt,
    /// When in its life it failed.
    pub phase: FailedPhase,
    /// What failed, such as `web/app`, or `device`.
    pub component: String,
    /// One word for programs, such as `CrashLoop`.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
    /// The last lines of the component's output, oldest first, without secrets, at most [`MAX_LOG_LINES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// The newest core dump of the attempt, if the device says where its dumps are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_dump: Option<CoreDump>,
    /// When, by the device's clock.
    pub at: Timestamp,
    /// The digest that the device went back to. `None`: there was none that had been good, and it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_to: Option<Digest>,
}

/// When in its life an assignment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailedPhase {
    /// Before everything was there.
    Applying,
    /// Everything was there, but did not stay well long enough.
    Soaking,
}

impl FailedPhase {
    /// The word for people and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Soaking => "soaking",
        }
    }
}

impl TerminalFailure {
    /// One sentence for people: what failed and what became of it.
    pub fn describe(&self) -> String {
        let Self { component, reason, message, rolled_back_to, .. } = self;
        let then = match rolled_back_to {
            Some(digest) => format!("went back to {}", digest.short()),
            None => "there is nothing good to go back to".to_owned(),
        };
        format!("{component}: {message} ({reason}); {then}")
    }
}

/// A line of output, fit to be reported.
pub fn excerpt(line: &str) -> String {
    let plain: String = line.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain[..plain.floor_char_boundary(MAX_LOG_LINE_BYTES)].to_owned()
}
