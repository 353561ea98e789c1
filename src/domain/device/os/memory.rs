//! What the ledger remembers of OS updates.

use super::judge::Offer;
use super::{FoundOs, MAX_TRIES};
use crate::domain::device::action::{Action, Failure};
use crate::domain::digest::Digest;
use crate::domain::generation::Attempt;
use crate::domain::ids::Version;
use crate::domain::reported::OsStage;
use crate::domain::spec::OsSpec;
use serde::{Deserialize, Serialize};

/// How many failed images are remembered; the oldest go first. A device sees a handful between two good ones.
pub const MAX_FAILED_IMAGES: usize = 4;

/// Failures after which trying again with the same image is of no use.
const FINAL: [&str; 3] = ["ImageRefused", "NoAddress", "StreamingNotSupported"];

/// What is remembered of OS updates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsMemory {
    /// The update that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underway: Option<OsTry>,
    /// Images that failed, oldest first, at most [`MAX_FAILED_IMAGES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedOs>,
}

/// An update that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsTry {
    /// The image, as [`OsSpec::key`] names it.
    pub image: Digest,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The assignment that brought it.
    pub of: Digest,
    /// The assignment's attempt.
    pub attempt: Attempt,
    /// How many installations were begun; counted before they begin.
    pub tries: u32,
    /// Where it stands.
    pub stage: TryStage,
}

/// Where an update stands, as far as a look cannot tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum TryStage {
    /// Nothing was begun.
    Waiting,
    /// An installation was begun.
    Installing,
    /// The last installation came to nothing.
    Tried {
        /// One word.
        reason: String,
        /// One sentence.
        message: String,
    },
    /// The device was told to reboot from here.
    Rebooting {
        /// What ran before.
        from: Boot,
    },
    /// The image was booted.
    Trial {
        /// What ran before.
        from: Boot,
        /// The boot in which it runs.
        boot_id: String,
    },
    /// The image did not prove itself; the slot from before is to be made the one that is booted next.
    Returning {
        /// What ran before.
        from: Boot,
        /// The boot in which the image runs.
        boot_id: String,
    },
    /// That was done, and the device has to reboot.
    Leaving {
        /// What ran before.
        from: Boot,
        /// The boot in which the image runs.
        boot_id: String,
    },
}

/// A boot of the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// Its name.
    pub id: String,
    /// The slot that ran; `None` where there are no slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
}

/// An image that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedOs {
    /// What was tried.
    pub tried: OsTry,
    /// The stage in which it failed.
    pub failed_in: OsStage,
    /// One word.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

impl Boot {
    /// The boot that a look saw.
    pub fn of(found: &FoundOs) -> Self {
        Self { id: found.boot_id.clone(), slot: found.running.booted.clone() }
    }
}

impl OsTry {
    /// An update of which nothing was begun.
    pub fn new(wanted: &OsSpec, offer: Offer) -> Self {
        Self {
            image: wanted.key(),
            name: wanted.name.clone(),
            version: wanted.version.clone(),
            of: offer.digest,
            attempt: offer.attempt,
            tries: 0,
            stage: TryStage::Waiting,
        }
    }

    /// Whether an offer asks to try again what was tried before. Content that is new brings its count of attempts anew: then
    /// only a second attempt is one that somebody asked for.
    pub fn is_asked_again(&self, offer: Offer) -> bool {
        if self.of == offer.digest { offer.attempt > self.attempt } else { offer.attempt > Attempt::FIRST }
    }

    /// Whether the device is in the image, or on its way there or back.
    pub fn has_left(&self) -> bool {
        match self.stage {
            TryStage::Waiting | TryStage::Installing | TryStage::Tried { .. } => false,
            TryStage::Rebooting { .. }
            | TryStage::Trial { .. }
            | TryStage::Returning { .. }
            | TryStage::Leaving { .. } => true,
        }
    }

    fn came_to_nothing(&mut self, failure: &Failure) {
        self.stage = TryStage::Tried { reason: failure.reason.to_owned(), message: failure.message.clone() };
    }
}

impl OsMemory {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The failure of an image.
    pub fn failure_of(&self, image: Digest) -> Option<&FailedOs> {
        self.failed.iter().find(|one| one.tried.image == image)
    }

    /// Remembers that an image failed.
    pub fn fail(&mut self, tried: OsTry, failed_in: OsStage, reason: &str, message: &str) {
        self.forget_failure(tried.image);
        let (reason, message) = (reason.to_owned(), message.to_owned());
        self.failed.push(FailedOs { tried, failed_in, reason, message });
        let surplus = self.failed.len().saturating_sub(MAX_FAILED_IMAGES);
        self.failed.drain(..surplus);
    }

    /// Forgets the failure of an image that was reached.
    pub fn forget_failure(&mut self, image: Digest) {
        self.failed.retain(|one| one.tried.image != image);
    }

    /// Notes that an action was done.
    pub fn done(&mut self, action: &Action) {
        match action {
            Action::ConfirmOs { version: _ } => {
                if let Some(tried) = self.underway.take() {
                    self.forget_failure(tried.image);
                }
            }
            Action::KeepOs => self.underway = None,
            Action::FallBackOs { version: _ } => {
                if let Some(OsTry { stage, .. }) = &mut self.underway
                    && let TryStage::Returning { from, boot_id } = stage
                {
                    *stage = TryStage::Leaving { from: from.clone(), boot_id: boot_id.clone() };
                }
            }
            _ => {}
        }
    }

    /// Notes that an action failed.
    pub fn failed(&mut self, action: &Action, failure: &Failure, offer: Offer) {
        let (os, failed_in) = match action {
            Action::InstallOs { os } => (os, OsStage::Installing),
            // Only a download that was whole and wrong counts; a link that is down is nobody's fault.
            Action::FetchOs { os, from_bytes: _ } if failure.reason == "DigestMismatch" => (os, OsStage::Downloading),
            Action::FetchOs { os, from_bytes: _ } if FINAL.contains(&failure.reason) => (os, OsStage::Downloading),
            _ => return,
        };
        let known = self.underway.take().filter(|one| one.image == os.key());
        let mut tried = known.unwrap_or_else(|| OsTry::new(os, offer));
        if failed_in == OsStage::Downloading {
            tried.tries = tried.tries.saturating_add(1);
        }
        if FINAL.contains(&failure.reason) || tried.tries >= MAX_TRIES {
            return self.fail(tried, failed_in, failure.reason, &failure.message);
        }
        tried.came_to_nothing(failure);
        self.underway = Some(tried);
    }
}
