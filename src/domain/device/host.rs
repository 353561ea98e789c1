//! The settings of a device's host: what a look asks for and finds, and what can be done.
//!
//! What is found is read from the host every turn; what differs is reported before it is mended. A key that is no longer
//! assigned leaves the host as it is. Only a file that Bellwether wrote and nobody changed since is removed with its key.

mod memory;
mod plan;

pub use memory::{FailedHook, HookRun, HostMemory, MAX_HOOK_LOG_LINES, MAX_HOOK_TRIES, RebootDue, WrittenFile};
pub use plan::{Case, HeldBack, Turn, Verdict, judge};

use super::action::Failure;
use super::ledger::Ledger;
use crate::domain::digest::Digest;
use crate::domain::drift::{Difference, host_differences};
use crate::domain::ids::{FilePath, HookName, Hostname, SysctlName, ZoneName};
use crate::domain::reported::{ObservedFile, ObservedHost, ObservedValue};
use crate::domain::spec::{DeviceConfig, FileMode, HostFile, Subject};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a look at the host is to find out. Nothing else of it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAsk {
    /// Settings that are wanted, and files that were written.
    pub subjects: BTreeSet<Subject>,
    /// Hooks that may have to run.
    pub hooks: BTreeSet<HookName>,
}

impl HostAsk {
    /// What is of interest with this ledger: also what was assigned and is not aimed at, because reports tell of it.
    pub fn of(ledger: &Ledger) -> Self {
        let written = ledger.host.files.keys().cloned().map(Subject::File);
        let held = ledger.accepted.iter().chain(ledger.target());
        let configs: Vec<&DeviceConfig> = held.map(|held| &held.spec.spec.config).collect();
        let wanted = configs.iter().flat_map(|config| config.subjects());
        let hooks = configs.iter().flat_map(|config| config.hooks.keys().cloned());
        Self { subjects: wanted.chain(written).collect(), hooks: hooks.collect() }
    }

    /// Whether there is nothing to be found out.
    pub fn is_empty(&self) -> bool {
        let Self { subjects, hooks } = self;
        subjects.is_empty() && hooks.is_empty()
    }
}

/// What a look at the host found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundHost {
    /// Names this boot of the device; empty if it has no name.
    pub boot_id: String,
    /// What is there of what was asked for.
    pub values: BTreeMap<Subject, FoundValue>,
    /// What could not be read.
    pub unread: BTreeMap<Subject, Failure>,
    /// What the device's own configuration does not let anybody set.
    pub refused: BTreeMap<Subject, Failure>,
    /// Hooks that the device does not have, or that it will not run.
    pub refused_hooks: BTreeMap<HookName, Failure>,
    /// For files with secrets: the digest of the bytes that they shall have. Missing while a value is.
    pub secret_files: BTreeMap<FilePath, Digest>,
}

/// One setting as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundValue {
    /// Of everything but files.
    Text(String),
    /// Of a file.
    File(FoundFile),
}

/// A file as it is. The digest is of its bytes and never leaves the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its permissions.
    pub mode: FileMode,
    /// Its length in bytes.
    pub bytes: u64,
}

impl FoundHost {
    /// A wanted file's digest of bytes; `None` while the value of a secret in it is missing.
    pub fn wanted_digest(&self, path: &FilePath, wanted: &HostFile) -> Option<Digest> {
        match wanted.secret_content {
            None => Some(wanted.key()),
            Some(_) => self.secret_files.get(path).copied(),
        }
    }

    fn file(&self, path: &FilePath) -> Option<&FoundFile> {
        match self.values.get(&Subject::File(path.clone())) {
            Some(FoundValue::File(file)) => Some(file),
            Some(FoundValue::Text(_)) | None => None,
        }
    }

    /// What is told of it: of assigned settings alone.
    pub fn observed(&self, config: &DeviceConfig) -> ObservedHost {
        let mut observed = ObservedHost::default();
        for subject in config.subjects() {
            let value = self.values.get(&subject).map(|value| self.observed_value(config, &subject, value));
            let told = |failures: &BTreeMap<Subject, Failure>| failures.get(&subject).map(|one| one.message.clone());
            let (unread, refused) = (told(&self.unread), told(&self.refused));
            observed.values.extend(value.map(|value| (subject.clone(), value)));
            observed.unread.extend(unread.map(|why| (subject.clone(), why)));
            observed.refused.extend(refused.map(|why| (subject.clone(), why)));
        }
        observed
    }

    fn observed_value(&self, config: &DeviceConfig, subject: &Subject, value: &FoundValue) -> ObservedValue {
        let FoundFile { digest, mode, bytes } = match value {
            FoundValue::Text(text) => return ObservedValue::Text(text.clone()),
            FoundValue::File(file) => *file,
        };
        let wanted = match subject {
            Subject::File(path) => config.files.get_key_value(path),
            _ => None,
        };
        let is_as_wanted = |(path, file): &(&FilePath, &HostFile)| self.wanted_digest(path, file) == Some(digest);
        let content = wanted.filter(is_as_wanted).map(|(_, file)| file.key());
        ObservedValue::File(ObservedFile { content, mode, bytes })
    }

    /// In what it differs from what is wanted. What could not be read is not known to differ.
    pub fn differences(&self, config: &DeviceConfig) -> Vec<Difference> {
        host_differences(config, &self.observed(config))
    }
}

/// What can be done to a host. Each is safe to repeat: a crash may have left it half done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAction {
    /// Make these changes; one that fails keeps none of the others from being made.
    Change(Vec<Change>),
    /// Run a program of the device.
    RunHook {
        /// Which.
        hook: HookName,
        /// What has changed.
        because: BTreeSet<Subject>,
    },
    /// Reboot the device.
    Reboot {
        /// The hook that asked for it.
        hook: HookName,
    },
}

/// One change of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Give the host this name, for now and for the next boot.
    Hostname(Hostname),
    /// Put the host into this time zone.
    TimeZone(ZoneName),
    /// Have logs kept over a reboot, or not.
    PersistentLogging(Logging),
    /// Set something of the kernel.
    Sysctl(SysctlName, String),
    /// Write a file.
    Write(FilePath, Box<HostFile>),
    /// Remove a file that Bellwether wrote.
    Remove(FilePath),
}

/// Where a host keeps its logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logging {
    /// On its disk.
    Persistent,
    /// In memory.
    Volatile,
}

/// How a hook ended that ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEnd {
    /// What has changed is in effect.
    Done,
    /// It is in effect after a reboot.
    RebootRequired,
}

/// A hook that did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookFailure {
    /// Why.
    pub failure: Failure,
    /// The last lines of what it wrote, oldest first, without secrets.
    pub log: Vec<String>,
}

impl Change {
    /// What it changes.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Hostname(_) => Subject::Hostname,
            Self::TimeZone(_) => Subject::TimeZone,
            Self::PersistentLogging(_) => Subject::PersistentLogging,
            Self::Sysctl(name, _) => Subject::Sysctl(name.clone()),
            Self::Write(path, _) | Self::Remove(path) => Subject::File(path.clone()),
        }
    }
}

impl Logging {
    /// As `persistent_logging` says it.
    pub fn of_flag(flag: bool) -> Self {
        if flag { Self::Persistent } else { Self::Volatile }
    }

    /// As `persistent_logging` says it.
    pub fn flag(self) -> bool {
        self == Self::Persistent
    }
}

/// How many changes are named; the rest are counted.
const MAX_SHOWN: usize = 6;

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(path, _) => write!(f, "write files/{path}"),
            Self::Remove(path) => write!(f, "remove files/{path}"),
            other => write!(f, "set {}", other.subject()),
        }
    }
}

impl fmt::Display for HostAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(changes) => {
                let shown: Vec<String> = changes.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
                f.write_str(&shown.join(", "))?;
                match changes.len().saturating_sub(MAX_SHOWN) {
                    0 => Ok(()),
                    more => write!(f, ", and {more} more"),
                }
            }
            Self::RunHook { hook, because } => {
                let because: Vec<String> = because.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
                write!(f, "run hook {hook} ({} changed)", because.join(", "))
            }
            Self::Reboot { hook } => write!(f, "reboot, as hook {hook} asked"),
        }
    }
}
