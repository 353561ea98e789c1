//! What a device must not forget of its host: what it wrote, what it began, and which hooks have to run.

use super::{Change, HookEnd, HookFailure};
use crate::domain::device::terminal::{FailedPhase, MAX_LOG_LINE_BYTES, TerminalFailure};
use crate::domain::digest::Digest;
use crate::domain::generation::Attempt;
use crate::domain::ids::{FilePath, HookName};
use crate::domain::spec::{MAX_HOST_FILES, MAX_SYSCTLS, Subject};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How often a hook is run for the same changes before it has failed for good.
pub const MAX_HOOK_TRIES: u32 = 3;
/// How many lines of a failed hook's output are kept: the ledger is small.
pub const MAX_HOOK_LOG_LINES: usize = 8;
/// How many files and settings are remembered that are no longer assigned; what is forgotten stays as it is.
const MAX_REMEMBERED: usize = MAX_HOST_FILES + MAX_SYSCTLS + 64;

/// What is remembered of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostMemory {
    /// Files that Bellwether wrote.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<FilePath, WrittenFile>,
    /// Other settings that Bellwether set.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub set: BTreeSet<Subject>,
    /// Changes that were begun. They are made again until one is known to be whole.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub begun: BTreeSet<Subject>,
    /// Hooks that have to run, or that failed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<HookName, HookRun>,
    /// A reboot that a hook asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<RebootDue>,
}

/// A file that Bellwether wrote, or was about to write. Digests are of bytes, secrets included; the ledger never leaves the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenFile {
    /// What it was to hold.
    pub digest: Digest,
    /// What it held before, while it is not known whether it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
}

/// A hook that has to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookRun {
    /// What has changed.
    pub because: BTreeSet<Subject>,
    /// How often it was begun for that; counted before it begins.
    #[serde(default)]
    pub tries: u32,
    /// How it failed for good, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Box<FailedHook>>,
}

/// A hook that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedHook {
    /// The assignment under which it was run.
    pub digest: Digest,
    /// Its attempt. A higher one runs the hook again.
    pub attempt: Attempt,
    /// One word.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// The last lines of what it wrote, at most [`MAX_HOOK_LOG_LINES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// When.
    pub at: Timestamp,
}

/// A reboot that a hook asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebootDue {
    /// The boot that it is to end.
    pub from: String,
    /// Who asked for it first.
    pub hook: HookName,
    /// How often it was asked for; counted before.
    #[serde(default)]
    pub tries: u32,
}

impl WrittenFile {
    /// Whether these are bytes that Bellwether wrote.
    pub fn is(&self, digest: Digest) -> bool {
        self.digest == digest || self.before == Some(digest)
    }
}

impl HostMemory {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Changes are about to be made. `digest` names the bytes that a file shall have.
    pub(super) fn begin(&mut self, change: &Change, digest: Option<Digest>) {
        let subject = change.subject();
        match (&subject, digest) {
            (Subject::File(path), Some(digest)) => {
                let before = self.files.get(path).map(|known| known.digest).filter(|before| *before != digest);
                self.files.insert(path.clone(), WrittenFile { digest, before });
            }
            (Subject::File(_), None) => {}
            (_, _) => {
                self.set.insert(subject.clone());
            }
        }
        self.begun.insert(subject);
    }

    /// A change was made.
    pub fn changed(&mut self, change: &Change) {
        self.begun.remove(&change.subject());
        match change {
            Change::Remove(path) => {
                self.files.remove(path);
            }
            Change::Write(path, _) => {
                if let Some(file) = self.files.get_mut(path) {
                    file.before = None;
                }
            }
            Change::Hostname(_) | Change::TimeZone(_) | Change::PersistentLogging(_) | Change::Sysctl(..) => {}
        }
    }

    /// A hook ended.
    pub fn hook_ended(&mut self, hook: &HookName, end: HookEnd, boot_id: &str) {
        self.hooks.remove(hook);
        if end == HookEnd::RebootRequired && self.reboot.is_none() {
            self.reboot = Some(RebootDue { from: boot_id.to_owned(), hook: hook.clone(), tries: 0 });
        }
    }

    /// A hook failed. After the last try that is how it stays.
    pub fn hook_failed(&mut self, hook: &HookName, why: &HookFailure, digest: Digest, attempt: Attempt, at: Timestamp) {
        let Some(run) = self.hooks.get_mut(hook).filter(|run| run.tries >= MAX_HOOK_TRIES) else { return };
        let cut = |line: &String| line[..line.floor_char_boundary(MAX_LOG_LINE_BYTES)].to_owned();
        let log = why.log.iter().rev().take(MAX_HOOK_LOG_LINES).rev().map(cut).collect();
        let (reason, message) = (why.failure.reason.to_owned(), why.failure.message.clone());
        let message = message[..message.floor_char_boundary(2 * MAX_LOG_LINE_BYTES)].to_owned();
        run.failed = Some(Box::new(FailedHook { digest, attempt, reason, message, log, at }));
    }

    /// The hook that failed for good under this assignment.
    pub fn failure_of(&self, digest: Digest) -> Option<TerminalFailure> {
        let failed = |(hook, run): (&HookName, &HookRun)| Some((hook.clone(), run.failed.clone()?));
        let (hook, failed) = self.hooks.iter().filter_map(failed).find(|(_, failed)| failed.digest == digest)?;
        let FailedHook { digest, attempt, reason, message, log, at } = *failed;
        let component = format!("hook {hook}");
        let phase = FailedPhase::Applying;
        let (core_dump, rolled_back_to) = (None, None);
        Some(TerminalFailure { digest, attempt, phase, component, reason, message, log, core_dump, at, rolled_back_to })
    }

    /// Forgets what is beyond the bound, of what is not wanted any more.
    pub(super) fn bound(&mut self, is_wanted: impl Fn(&Subject) -> bool) {
        for _ in 0..(self.files.len() + self.set.len()).saturating_sub(MAX_REMEMBERED) {
            let file = self.files.keys().find(|path| !is_wanted(&Subject::File((*path).clone()))).cloned();
            let other = self.set.iter().find(|subject| !is_wanted(subject)).cloned();
            match (file, other) {
                (Some(path), _) => _ = self.files.remove(&path),
                (None, Some(subject)) => _ = self.set.remove(&subject),
                (None, None) => return,
            }
        }
    }
}
