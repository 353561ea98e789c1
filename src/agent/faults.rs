//! Failures that tests and demonstrations put in the way of the simulated engine and updater.

use super::files::{read_bounded, write_whole};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The longest file of faults that is read, in bytes: written by hand or by a test.
const MAX_FAULTS_BYTES: usize = 64 << 10;

/// Failures to come, counted in operations and not in time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// The rules; each operation is failed by the first that fits.
    pub rules: Vec<Fault>,
}

/// One kind of failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The beginning of the operation's name: `look`, `pull`, `create web/app`, `install`.
    pub operation: String,
    /// How many such operations work before.
    #[serde(default)]
    pub after: u32,
    /// How many then fail.
    pub times: u32,
    /// What is said.
    #[serde(default)]
    pub message: String,
}

/// The faults in a directory, `faults.json`. There need not be any.
#[derive(Clone, Debug)]
pub(super) struct FaultFile {
    path: PathBuf,
}

impl FaultFile {
    pub(super) fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join("faults.json") }
    }

    pub(super) fn write(&self, faults: &Faults) -> io::Result<()> {
        write_whole(&self.path, &serde_json::to_vec_pretty(faults)?)
    }

    /// Counts an operation; what it fails with, if it shall fail.
    pub(super) fn strike(&self, operation: &str) -> io::Result<Option<String>> {
        let Some(bytes) = read_bounded(&self.path, MAX_FAULTS_BYTES)? else { return Ok(None) };
        let mut faults: Faults = serde_json::from_slice(&bytes)?;
        let Some(rule) = faults.rules.iter_mut().find(|rule| rule.times > 0 && operation.starts_with(&rule.operation))
        else {
            return Ok(None);
        };
        let message = if rule.after > 0 {
            rule.after -= 1;
            None
        } else {
            rule.times -= 1;
            Some(if rule.message.is_empty() { "an injected failure".to_owned() } else { rule.message.clone() })
        };
        self.write(&faults)?;
        Ok(message)
    }
}
