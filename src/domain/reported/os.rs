//! What a device says of its OS: what runs, its slots, and how far an update of it is.

use crate::domain::generation::Attempt;
use crate::domain::ids::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many slots a report tells of; a device has two, or two and a rescue system.
pub const MAX_SLOTS: usize = 16;

/// What the OS updater says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedOs {
    /// Name of the running image, where the updater knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Version of the running image.
    pub version: Version,
    /// The slot that was booted; `None` where there are no slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booted: Option<String>,
    /// The slot that is booted next; `None` where there are no slots, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The slots that can be booted, by name; at most [`MAX_SLOTS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slots: BTreeMap<String, ObservedSlot>,
}

impl ObservedOs {
    /// What runs on a device without slots.
    pub fn running(name: Option<String>, version: Version) -> Self {
        Self { name, version, booted: None, primary: None, slots: BTreeMap::new() }
    }

    /// The slot that is booted next, if it is another one than the one that was booted.
    pub fn other_primary(&self) -> Option<&String> {
        self.primary.as_ref().filter(|primary| self.booted.as_ref() != Some(*primary))
    }
}

/// One slot that can be booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSlot {
    /// What was installed there last, as far as the updater knows. After a crash in the middle of an installation it may
    /// still name what was there before: then `boot` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Whether the boot loader would boot it.
    pub boot: BootState,
}

/// What the boot loader thinks of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootState {
    /// It would boot it.
    Good,
    /// It would not.
    Bad,
    /// It does not say.
    Unknown,
}

/// How far an update of the OS is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsUpdate {
    /// Name of the image.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Where it stands.
    pub stage: OsStage,
    /// The attempt at which the image was offered.
    pub attempt: Attempt,
    /// How many installations were begun at this attempt.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub tries: u32,
    /// How much of the stage is done, in percent; `None` where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What it waits for, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<OsCause>,
}

fn is_none_yet(tries: &u32) -> bool {
    *tries == 0
}

/// The stages of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OsStage {
    /// The image is being fetched, or waits to be.
    Downloading,
    /// It is being written to the other slot, or waits to be.
    Installing,
    /// It is installed and waits for the reboot.
    Installed,
    /// The device was told to reboot.
    Rebooting,
    /// It runs, and has to prove itself before it is kept.
    Trial,
    /// It did not prove itself: the device goes back to the slot from before.
    Returning,
    /// It failed, and is not tried again before a higher attempt.
    Failed,
}

impl OsStage {
    /// The word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Downloading => "downloading",
            Self::Installing => "installing",
            Self::Installed => "installed",
            Self::Rebooting => "rebooting",
            Self::Trial => "trial",
            Self::Returning => "returning",
            Self::Failed => "failed",
        }
    }
}

/// What an update waits for, or why it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsCause {
    /// The stage in which it failed; `None` for something that is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_in: Option<OsStage>,
    /// One word for programs, such as `FellBack`.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

impl std::fmt::Display for ObservedOs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} ")?;
        }
        write!(f, "{}", self.version)?;
        if let Some(booted) = &self.booted {
            write!(f, " from slot {booted}")?;
        }
        match self.other_primary() {
            Some(primary) => write!(f, ", the next boot is from slot {primary}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for ObservedSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{version}")?,
            None => f.write_str("unknown version")?,
        }
        f.write_str(match self.boot {
            BootState::Good => ", good",
            BootState::Bad => ", bad",
            BootState::Unknown => "",
        })
    }
}

impl std::fmt::Display for OsUpdate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.name, self.version, self.stage.as_str())?;
        if let Some(percent) = self.percent {
            write!(f, " {percent} %")?;
        }
        if let Some(stage) = self.cause.as_ref().and_then(|cause| cause.failed_in) {
            match stage {
                OsStage::Trial => f.write_str(" on trial")?,
                other => write!(f, " while {}", other.as_str())?,
            }
        }
        if self.tries > 1 || self.attempt > Attempt::FIRST {
            write!(f, ", attempt {}, installation {}", self.attempt, self.tries)?;
        }
        match &self.cause {
            Some(OsCause { failed_in: _, reason, message }) => write!(f, ": {message} ({reason})"),
            None => Ok(()),
        }
    }
}
