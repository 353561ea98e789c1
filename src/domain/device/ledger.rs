//! The ledger: what a device must not forget and cannot find out by looking.
//!
//! Its text is one line with the digest of the rest, then JSON. A file that was cut short or changed by hand is told apart
//! from a sound one with certainty, and is never taken for an empty one.

use super::os::OsMemory;
use super::steps::images;
use crate::domain::assignment::{Assignment, Mark};
use crate::domain::digest::Digest;
use crate::domain::generation::Attempt;
use crate::domain::ids::{CommitId, StageName};
use crate::domain::spec::{MAX_SPEC_BYTES, SealedSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The newest version of the ledger's shape that this build knows.
pub const LEDGER_SCHEMA: u32 = 1;
/// The longest ledger that is read, in bytes: a payload written as a JSON string can double, and the rest is small.
pub const MAX_LEDGER_BYTES: usize = 2 * MAX_SPEC_BYTES + (64 << 10);
/// How many failed digests are remembered; the oldest go first. A device sees a handful of releases between two good ones.
pub const MAX_FAILED: usize = 8;
/// Failures are counted up to here: the wait between tries has long reached its cap, and counting on would only wear the flash.
pub const MAX_COUNTED_FAILURES: u32 = 16;

/// How the first line begins.
const HEADER: &str = "bellwether-ledger";

/// What a device must not forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Version of this shape, [`LEDGER_SCHEMA`].
    pub schema: u32,
    /// How often the agent has started.
    pub starts: u64,
    /// The newest assignment that was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Held>,
    /// The digest whose content was last reached completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Digest>,
    /// Digests that failed, oldest first, at most [`MAX_FAILED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedDigest>,
    /// Updates of the OS.
    #[serde(default, skip_serializing_if = "OsMemory::is_empty")]
    pub os: OsMemory,
    /// Which actions of operators were seen, and which was begun.
    #[serde(default, skip_serializing_if = "ActionLedger::is_default")]
    pub actions: ActionLedger,
}

/// What a device must not forget of actions, so that none is begun twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionLedger {
    /// The largest number that was ever seen.
    pub last: u64,
    /// Numbers up to it that may still be begun.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub open: BTreeSet<u64>,
    /// The one that was begun last, while the controller still lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Begun>,
}

/// An action that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// Its number.
    pub number: u64,
    /// For a reboot, the run of the operating system that it was to end; empty where that has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_from: Option<String>,
}

impl ActionLedger {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An assignment as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Its place and digest.
    pub mark: Mark,
    /// The stage that owned the device.
    pub stage: StageName,
    /// The commit whose content it is.
    pub commit: CommitId,
    /// How often the digest was offered.
    pub attempt: Attempt,
    /// The payload, verbatim.
    pub spec: SealedSpec,
}

/// A digest that could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedDigest {
    /// The digest.
    pub digest: Digest,
    /// The attempt at which it failed. A higher one starts counting anew.
    pub attempt: Attempt,
    /// Failures in a row, at most [`MAX_COUNTED_FAILURES`].
    pub failures: u32,
}

/// Why a text is not a ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The first line is not that of a ledger.
    #[error("it does not begin with a ledger's first line")]
    NoHeader,
    /// Written by a newer agent.
    #[error("it has schema version {found}; this agent knows versions up to {LEDGER_SCHEMA}")]
    NewerSchema {
        /// The version that it names.
        found: u32,
    },
    /// Cut short or changed.
    #[error("its content does not have the digest that its first line states: it was cut short or changed")]
    Damaged,
    /// Whole, but not of the expected shape.
    #[error("it is not of the expected shape: {reason}")]
    Malformed {
        /// What the parser said.
        reason: String,
    },
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            schema: LEDGER_SCHEMA,
            starts: 0,
            accepted: None,
            applied: None,
            failed: Vec::new(),
            actions: ActionLedger::default(),
            os: OsMemory::default(),
        }
    }
}

impl Ledger {
    /// Every image that something in it needs.
    pub fn images(&self) -> BTreeSet<String> {
        // A field that holds another spec must be thought of here: its images would be removed.
        let Self { schema: _, starts: _, accepted, applied: _, failed: _, actions: _, os: _ } = self;
        accepted.iter().flat_map(|held| images(&held.spec.spec)).collect()
    }

    /// The place and digest of the newest accepted assignment.
    pub fn mark(&self) -> Option<Mark> {
        self.accepted.as_ref().map(|held| held.mark)
    }

    /// The text to write.
    pub fn to_text(&self) -> String {
        let body = serde_json::to_string(self).expect("a ledger has only string keys, so it can be written as JSON");
        format!("{HEADER} {} {}\n{body}\n", self.schema, Digest::of(body.as_bytes()))
    }

    /// Reads a ledger's text back.
    pub fn parse(text: &str) -> Result<Self, LedgerError> {
        let (first, rest) = text.split_once('\n').ok_or(LedgerError::NoHeader)?;
        let mut words = first.split(' ');
        let (Some(HEADER), Some(schema), Some(digest), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(LedgerError::NoHeader);
        };
        let schema: u32 = schema.parse().map_err(|_| LedgerError::NoHeader)?;
        let digest: Digest = digest.parse().map_err(|_| LedgerError::NoHeader)?;
        if schema > LEDGER_SCHEMA {
            return Err(LedgerError::NewerSchema { found: schema });
        }
        let body = rest.strip_suffix('\n').ok_or(LedgerError::Damaged)?;
        if Digest::of(body.as_bytes()) != digest {
            return Err(LedgerError::Damaged);
        }
        let malformed = |reason: String| LedgerError::Malformed { reason };
        let ledger: Self = serde_json::from_str(body).map_err(|error| malformed(error.to_string()))?;
        if ledger.schema != schema {
            // It would be written back as one that nobody can read.
            return Err(malformed(format!("its first line says schema {schema}, it says {}", ledger.schema)));
        }
        match &ledger.accepted {
            Some(held) if held.spec.digest != held.mark.digest => {
                Err(malformed("the payload does not have the digest of its assignment".to_owned()))
            }
            Some(_) | None => Ok(ledger),
        }
    }

    /// How often the digest failed at this attempt.
    pub fn failures(&self, digest: Digest, attempt: Attempt) -> u32 {
        self.failed.iter().find(|one| one.digest == digest && one.attempt >= attempt).map_or(0, |one| one.failures)
    }

    /// Counts one more failure.
    pub fn count_failure(&mut self, digest: Digest, attempt: Attempt) {
        let failures = self.failures(digest, attempt).saturating_add(1).min(MAX_COUNTED_FAILURES);
        if failures == self.failures(digest, attempt) {
            return;
        }
        self.forget_failures(digest);
        self.failed.push(FailedDigest { digest, attempt, failures });
        let surplus = self.failed.len().saturating_sub(MAX_FAILED);
        self.failed.drain(..surplus);
    }

    /// Forgets the failures of a digest that was reached.
    pub fn forget_failures(&mut self, digest: Digest) {
        self.failed.retain(|one| one.digest != digest);
    }
}

impl Held {
    /// An assignment as a ledger would hold it.
    pub fn of(assignment: &Assignment) -> Self {
        Self {
            mark: assignment.mark(),
            stage: assignment.stage.clone(),
            commit: assignment.commit.clone(),
            attempt: assignment.attempt,
            spec: assignment.spec.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_whose_two_schemas_differ_is_refused() {
        // Taken for a good one, it would be written back with a first line that this very agent refuses.
        let body = r#"{"schema": 2, "starts": 3}"#;
        let text = format!("{HEADER} 1 {}\n{body}\n", Digest::of(body.as_bytes()));
        let reason = "its first line says schema 1, it says 2".to_owned();
        assert_eq!(Ledger::parse(&text), Err(LedgerError::Malformed { reason }));
    }
}
