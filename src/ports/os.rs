//! The OS updater of a device, as the agent needs it.

use super::engine::Answer;
use crate::domain::device::action::Failure;
use crate::domain::reported::ObservedOs;
use crate::domain::spec::OsSpec;

/// Why the OS updater could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OsError {
    /// It could not be asked.
    #[error("the OS updater does not answer: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// An image could not be installed.
    #[error("OS {name} {version} could not be installed: {reason}")]
    Install {
        /// The image's name.
        name: String,
        /// Its version.
        version: String,
        /// Why.
        reason: String,
    },
}

impl OsError {
    /// The error as conditions tell it.
    pub fn failure(&self) -> Failure {
        let reason = match self {
            Self::Unavailable { .. } => "UpdaterUnavailable",
            Self::Install { .. } => "InstallFailed",
        };
        Failure { reason, message: self.to_string() }
    }
}

/// An OS updater.
pub trait Os: Send + Sync {
    /// What runs; `None` on a device without an updater.
    fn look(&self) -> Answer<'_, Option<ObservedOs>, OsError>;

    /// Installs an image. When this returns, a look tells its version, over restarts of the agent too.
    fn install<'a>(&'a self, os: &'a OsSpec) -> Answer<'a, (), OsError>;
}
