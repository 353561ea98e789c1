//! The OS updater of a device, as the agent needs it.

#[cfg(any(test, feature = "testing", feature = "agent"))]
pub mod fake;

use super::engine::Answer;
use crate::domain::device::action::{Action, Failure};
use crate::domain::device::os::FoundOs;
use crate::domain::ids::Version;
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
    /// It is at work for somebody else.
    #[error("the OS updater is at work for somebody else: {reason}")]
    Busy {
        /// What it says.
        reason: String,
    },
    /// The image says where it comes from in no way that can be used.
    #[error("OS {name} {version} cannot be fetched: {reason}")]
    NoAddress {
        /// The image's name.
        name: String,
        /// Its version.
        version: Version,
        /// Why.
        reason: String,
    },
    /// An image could not be downloaded; what is there stays, and the next try goes on from there.
    #[error("OS {name} {version} could not be downloaded: {reason}")]
    Download {
        /// The image's name.
        name: String,
        /// Its version.
        version: Version,
        /// Why.
        reason: String,
    },
    /// There is no room for the image.
    #[error(
        "OS {name} {version} needs {needed} more bytes, and {free} are free beyond the {reserve} that are kept for emergencies"
    )]
    NoRoom {
        /// The image's name.
        name: String,
        /// Its version.
        version: Version,
        /// How many bytes are still to come.
        needed: u64,
        /// How many may be used.
        free: u64,
        /// How many are kept free.
        reserve: u64,
    },
    /// What was downloaded is not what was assigned.
    #[error("OS {name} {version} was downloaded whole, and has the digest {found} in place of {wanted}")]
    WrongDigest {
        /// The image's name.
        name: String,
        /// Its version.
        version: Version,
        /// What was assigned.
        wanted: String,
        /// What came.
        found: String,
    },
    /// The updater does not take this image, now or later: its signature, its device type, its version.
    #[error("OS {name} {version} was refused: {reason}")]
    Refused {
        /// The image's name.
        name: String,
        /// Its version.
        version: Version,
        /// Why.
        reason: String,
    },
    /// An image could not be installed.
    #[error("OS {name} {version} could not be installed: {reason}")]
    Install {
        /// The image's name.
        name: String,
        /// Its version.
        version: Version,
        /// Why.
        reason: String,
    },
    /// A slot could not be marked.
    #[error("the OS updater could not {attempted}: {reason}")]
    Mark {
        /// What was tried.
        attempted: &'static str,
        /// Why not.
        reason: String,
    },
    /// The device could not be rebooted.
    #[error("the device could not be rebooted: {reason}")]
    Reboot {
        /// Why.
        reason: String,
    },
}

impl OsError {
    /// The error as conditions tell it.
    pub fn failure(&self) -> Failure {
        let reason = match self {
            Self::Unavailable { .. } => "UpdaterUnavailable",
            Self::Busy { .. } => "UpdaterBusy",
            Self::NoAddress { .. } => "NoAddress",
            Self::Download { .. } => "DownloadFailed",
            Self::NoRoom { .. } => "NoRoom",
            Self::WrongDigest { .. } => "DigestMismatch",
            Self::Refused { .. } => "ImageRefused",
            Self::Install { .. } => "InstallFailed",
            Self::Mark { .. } => "MarkFailed",
            Self::Reboot { .. } => "RebootFailed",
        };
        Failure { reason, message: self.to_string() }
    }
}

/// An OS updater. Every operation is safe to repeat: a crash may have left it half done.
pub trait Os: Send + Sync {
    /// What runs, what is in the slots, and what the updater is doing; `None` on a device without an updater.
    fn look(&self) -> Answer<'_, Option<FoundOs>, OsError>;

    /// Brings more of an image to the device. It returns when the image is whole, or after a while with more of it than before.
    fn fetch<'a>(&'a self, os: &'a OsSpec) -> Answer<'a, (), OsError>;

    /// Installs an image beside what runs. When this returns well, it is installed, or the updater goes on with it by itself and
    /// a look tells how far it is.
    fn install<'a>(&'a self, os: &'a OsSpec) -> Answer<'a, (), OsError>;

    /// Keeps what runs for good.
    fn confirm(&self) -> Answer<'_, (), OsError>;

    /// Has the slot from before booted next, and the running one no more.
    fn fall_back(&self) -> Answer<'_, (), OsError>;

    /// Has the running slot booted next.
    fn keep(&self) -> Answer<'_, (), OsError>;

    /// Removes what was downloaded.
    fn discard(&self) -> Answer<'_, (), OsError>;

    /// Has the device rebooted. It returns before the device goes down.
    fn reboot(&self) -> Answer<'_, (), OsError>;
}

/// Performs one of the actions that concern the OS; `None` for one that concerns the container engine.
pub fn perform<'a>(os: &'a dyn Os, action: &'a Action) -> Option<Answer<'a, (), OsError>> {
    Some(match action {
        Action::FetchOs { os: wanted, from_bytes: _ } => os.fetch(wanted),
        Action::InstallOs { os: wanted } => os.install(wanted),
        Action::Reboot { why: _ } => os.reboot(),
        Action::ConfirmOs { version: _ } => os.confirm(),
        Action::FallBackOs { version: _ } => os.fall_back(),
        Action::KeepOs => os.keep(),
        Action::DiscardOs => os.discard(),
        Action::Host(_)
        | Action::CreateNetwork { .. }
        | Action::CreateVolume { .. }
        | Action::Pull { .. }
        | Action::RemoveService { .. }
        | Action::CreateService { .. }
        | Action::StartService { .. }
        | Action::AdjustService { .. }
        | Action::CreateSuccessor { .. }
        | Action::StartSuccessor { .. }
        | Action::Promote { .. }
        | Action::RemoveSuccessor { .. }
        | Action::RemoveImage { .. }
        | Action::RemoveNetwork { .. } => return None,
    })
}
