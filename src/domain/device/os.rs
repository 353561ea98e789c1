//! The update of a device's OS: from what is wanted, what a look found and what the ledger remembers to the next step.
//!
//! ```text
//! downloading ─► installing ─► installed ─► rebooting ─► trial ─► kept
//!                                               │           └─► returning ─┐
//!                                               └──── fell back ───────────┴─► failed, until a higher attempt
//! ```
//!
//! What runs, what is booted next and what is in the slots is read from the updater in every turn. The ledger holds only what
//! cannot be read there: how many installations were begun (counted before they begin), from which boot the device was
//! sent away, and which images failed. So a crash anywhere is recovered by looking again.

mod judge;
mod memory;
#[cfg(test)]
mod tests;

pub use judge::{Case, Offer, Permit, Proof, Turn, Verdict, judge};
pub use memory::{Boot, FailedOs, MAX_FAILED_IMAGES, OsMemory, OsTry, TryStage};

use crate::domain::digest::Digest;
use crate::domain::ids::Version;
use crate::domain::reported::{BootState, ObservedOs};

/// How many installations of one image are begun at one attempt. A flash that fails three times fails a fourth time as well,
/// and writing wears it.
pub const MAX_TRIES: u32 = 3;

/// What a look at the OS updater found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundOs {
    /// What runs, and what is in the slots.
    pub running: ObservedOs,
    /// What the updater is doing.
    pub operation: Operation,
    /// Names this boot of the device; another boot has another name.
    pub boot_id: String,
    /// How much of an image was downloaded.
    pub file: ImageFile,
    /// The version that runs after the next boot, where another one was installed.
    pub pending: Option<Version>,
}

/// What an updater is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nothing.
    Idle {
        /// Why its last installation failed, if it did and it remembers.
        last_error: Option<String>,
    },
    /// It installs something.
    Installing {
        /// How much is done.
        percent: Option<u8>,
    },
}

/// The downloaded image. There is at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFile {
    /// The updater brings images by itself.
    NotNeeded,
    /// Nothing was downloaded.
    Absent,
    /// The beginning of this image is there.
    Partly {
        /// Which, as [`OsSpec::key`](crate::domain::spec::OsSpec::key) names it.
        image: Digest,
        /// So many bytes.
        bytes: u64,
        /// Of so many, if that is known.
        total: Option<u64>,
    },
    /// This image is there, and is what it should be.
    Whole {
        /// Which.
        image: Digest,
    },
}

impl FoundOs {
    /// What a look finds on a device whose updater is idle and brings images by itself.
    pub fn idle(running: ObservedOs, boot_id: String) -> Self {
        let pending = pending(&running);
        Self { running, operation: Operation::Idle { last_error: None }, boot_id, file: ImageFile::NotNeeded, pending }
    }
}

/// The version that runs after the next boot, as the slots tell: that of the slot that is booted next, unless the boot loader
/// calls it bad. An updater that was killed while it copied leaves the old version's name on the slot, but a bad state.
pub fn pending(running: &ObservedOs) -> Option<Version> {
    let slot = running.slots.get(running.other_primary()?)?;
    match slot.boot {
        BootState::Good | BootState::Unknown => slot.version.clone(),
        BootState::Bad => None,
    }
}
