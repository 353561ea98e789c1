//! What a device says of the settings of its host: of those that are assigned, and no others.

use crate::domain::digest::Digest;
use crate::domain::spec::{DeviceConfig, FileMode, HostFile, Subject};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of a host as they were read from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedHost {
    /// What is there. A setting that is neither here nor in `unread` is not there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<Subject, ObservedValue>,
    /// What could not be read, and why, one sentence each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<Subject, String>,
    /// What the device's own configuration does not let anybody set, and why, one sentence each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<Subject, String>,
}

/// One setting as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ObservedValue {
    /// Of everything but files.
    Text(String),
    /// Of a file.
    File(ObservedFile),
}

/// A file as it was read. Nothing is told of a content that is not the assigned one: nobody knows what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedFile {
    /// Names the content as [`HostFile::key`] does, if it is the assigned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// Its permissions.
    pub mode: FileMode,
    /// Its length in bytes.
    pub bytes: u64,
}

impl ObservedFile {
    /// Whether it is what it shall be.
    pub fn is(&self, wanted: &HostFile) -> bool {
        self.content == Some(wanted.key()) && self.mode == wanted.mode
    }
}

/// The wanted text of a setting; `None` for a file, and for what is not wanted.
pub fn wanted_text(config: &DeviceConfig, subject: &Subject) -> Option<String> {
    match subject {
        Subject::Hostname => config.hostname.as_ref().map(ToString::to_string),
        Subject::TimeZone => config.time_zone.as_ref().map(ToString::to_string),
        Subject::PersistentLogging => config.persistent_logging.map(|flag| flag.to_string()),
        Subject::Sysctl(name) => config.sysctl.get(name).cloned(),
        Subject::File(_) => None,
    }
}

/// Whether a setting is what it shall be.
pub fn is_as_wanted(config: &DeviceConfig, subject: &Subject, found: Option<&ObservedValue>) -> bool {
    match (subject, found) {
        (_, None) => false,
        (Subject::File(path), Some(ObservedValue::File(file))) => {
            config.files.get(path).is_some_and(|wanted| file.is(wanted))
        }
        (_, Some(ObservedValue::Text(text))) => wanted_text(config, subject).as_ref() == Some(text),
        (_, Some(ObservedValue::File(_))) => false,
    }
}
