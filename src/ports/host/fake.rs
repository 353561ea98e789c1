//! A host as a value, on which everything is allowed.
//!
//! Tests and the simulation use it as it is; the agent's simulated host keeps one in a file.

use crate::domain::device::action::Failure;
use crate::domain::device::host::{Change, FoundFile, FoundHost, FoundValue, HookEnd, HookFailure, HostAsk};
use crate::domain::digest::Digest;
use crate::domain::ids::{FilePath, HookName, SysctlName};
use crate::domain::spec::{FileMode, Subject};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A host as a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeHost {
    /// Its name.
    pub hostname: String,
    /// Its time zone.
    pub time_zone: String,
    /// Whether its logs are kept.
    pub persistent_logging: bool,
    /// Settings of its kernel that somebody set.
    #[serde(default)]
    pub sysctl: BTreeMap<SysctlName, String>,
    /// Its files.
    #[serde(default)]
    pub files: BTreeMap<FilePath, FakeFile>,
    /// How often something was changed.
    #[serde(default)]
    pub changes: u64,
    /// How often it was booted again.
    #[serde(default)]
    pub boots: u64,
    /// How often each hook was run.
    #[serde(default)]
    pub ran: BTreeMap<HookName, u64>,
    /// How hooks end that do not end well.
    #[serde(default)]
    pub endings: BTreeMap<HookName, FakeEnding>,
    /// What cannot be changed, with why.
    #[serde(default)]
    pub stuck: BTreeMap<Subject, String>,
    /// What may not be changed, with why.
    #[serde(default)]
    pub refused: BTreeMap<Subject, String>,
}

/// A file of a fake host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeFile {
    /// Its content.
    pub content: String,
    /// Its permissions.
    pub mode: FileMode,
}

/// How a hook of a fake host ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FakeEnding {
    /// It asks for a reboot.
    RebootRequired,
    /// It fails.
    Failed,
    /// There is no such program.
    Missing,
}

impl Default for FakeHost {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            time_zone: "UTC".to_owned(),
            persistent_logging: false,
            sysctl: BTreeMap::new(),
            files: BTreeMap::new(),
            changes: 0,
            boots: 0,
            ran: BTreeMap::new(),
            endings: BTreeMap::new(),
            stuck: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }
}

impl FakeHost {
    /// What a look finds.
    pub fn look(&self, ask: &HostAsk) -> FoundHost {
        let value = |subject: &Subject| Some((subject.clone(), self.value(subject)?));
        let refused = self.refused.iter().filter(|(subject, _)| ask.subjects.contains(*subject));
        let not_allowed = |message: &String| Failure { reason: "NotAllowed", message: message.clone() };
        let missing = |hook: &&HookName| self.endings.get(*hook) == Some(&FakeEnding::Missing);
        let not_there = || Failure { reason: "HookNotThere", message: "there is no such program".to_owned() };
        FoundHost {
            boot_id: format!("boot-{}", self.boots),
            values: ask.subjects.iter().filter_map(value).collect(),
            unread: BTreeMap::new(),
            refused: refused.map(|(subject, why)| (subject.clone(), not_allowed(why))).collect(),
            refused_hooks: ask.hooks.iter().filter(missing).map(|hook| (hook.clone(), not_there())).collect(),
            secret_files: BTreeMap::new(),
        }
    }

    fn value(&self, subject: &Subject) -> Option<FoundValue> {
        Some(FoundValue::Text(match subject {
            Subject::Hostname => self.hostname.clone(),
            Subject::TimeZone => self.time_zone.clone(),
            Subject::PersistentLogging => self.persistent_logging.to_string(),
            Subject::Sysctl(name) => self.sysctl.get(name)?.clone(),
            Subject::File(path) => {
                let FakeFile { content, mode } = self.files.get(path)?;
                let (digest, bytes) = (Digest::of(content.as_bytes()), content.len() as u64);
                return Some(FoundValue::File(FoundFile { digest, mode: *mode, bytes }));
            }
        }))
    }

    /// Makes changes; what is stuck is in the answer.
    pub fn change(&mut self, changes: &[Change]) -> BTreeMap<Subject, Failure> {
        let mut troubles = BTreeMap::new();
        for change in changes {
            let subject = change.subject();
            if let Some(why) = self.stuck.get(&subject) {
                troubles.insert(subject, Failure { reason: "HostNotChanged", message: why.clone() });
                continue;
            }
            self.changes += 1;
            match change.clone() {
                Change::Hostname(name) => self.hostname = name.to_string(),
                Change::TimeZone(zone) => self.time_zone = zone.to_string(),
                Change::PersistentLogging(logging) => self.persistent_logging = logging.flag(),
                Change::Sysctl(name, value) => _ = self.sysctl.insert(name, value),
                Change::Write(path, file) => {
                    self.files.insert(path, FakeFile { content: file.content, mode: file.mode });
                }
                Change::Remove(path) => _ = self.files.remove(&path),
            }
        }
        troubles
    }

    /// Runs a hook.
    pub fn run_hook(&mut self, hook: &HookName) -> Result<HookEnd, HookFailure> {
        *self.ran.entry(hook.clone()).or_default() += 1;
        match self.endings.get(hook) {
            None => Ok(HookEnd::Done),
            Some(FakeEnding::RebootRequired) => Ok(HookEnd::RebootRequired),
            Some(FakeEnding::Failed | FakeEnding::Missing) => Err(HookFailure {
                failure: Failure { reason: "HookFailed", message: "it ended with 1".to_owned() },
                log: vec!["cannot reload".to_owned()],
            }),
        }
    }

    /// What a reboot comes to: settings of the kernel are gone.
    pub fn reboot(&mut self) {
        self.boots += 1;
        self.sysctl.clear();
    }
}
