//! The ledger: what a device must not forget and cannot find out by looking.
//!
//! Its text is one line with the digest of the rest, then JSON. A file that was cut short or changed by hand is told apart
//! from a sound one with certainty, and is never taken for an empty one.

use super::host::HostMemory;
use super::os::OsMemory;
use super::steps::images;
use super::terminal::TerminalFailure;
use crate::domain::assignment::{Assignment, Force, Mark};
use crate::domain::digest::Digest;
use crate::domain::generation::Attempt;
use crate::domain::ids::{CommitId, StageName};
use crate::domain::planted::{Bug, planted};
use crate::domain::spec::{MAX_SPEC_BYTES, SealedSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The newest version of the ledger's shape that this build knows. Version 2 brought what a device can go back to.
pub const LEDGER_SCHEMA: u32 = 2;
/// The longest ledger that is read, in bytes: two payloads, which can double when they are written as JSON strings, and the
/// ends of failed attempts, of which the newest carries the last lines of a container; then what is remembered of files and hooks
/// of the host.
pub const MAX_LEDGER_BYTES: usize = 4 * MAX_SPEC_BYTES + (320 << 10);
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
    /// The last assignment before it that was good, for going back. Never the accepted one's own content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Held>,
    /// The digest whose content was last reached completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Digest>,
    /// The digest that was last good: reached, and well for as long as it had to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Digest>,
    /// Digests that failed, oldest first, at most [`MAX_FAILED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedDigest>,
    /// Updates of the OS.
    #[serde(default, skip_serializing_if = "OsMemory::is_empty")]
    pub os: OsMemory,
    /// Settings of the host.
    #[serde(default, skip_serializing_if = "HostMemory::is_empty")]
    pub host: HostMemory,
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
    /// How many seconds it must be well before it counts as good. 0: at once, and nothing is ever rolled back for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub soak_secs: u32,
    /// An operator's word that locks do not count for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Force>,
    /// The payload, verbatim.
    pub spec: SealedSpec,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
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
    /// How it ended, if it failed for good at that attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Box<TerminalFailure>>,
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
            previous: None,
            applied: None,
            good: None,
            failed: Vec::new(),
            actions: ActionLedger::default(),
            os: OsMemory::default(),
            host: HostMemory::default(),
        }
    }
}

impl Ledger {
    /// Every image that something in it needs.
    pub fn images(&self) -> BTreeSet<String> {
        // A field that holds another spec must be thought of here: its images would be removed.
        let Self {
            schema: _,
            starts: _,
            accepted,
            previous,
            applied: _,
            good: _,
            failed: _,
            actions: _,
            os: _,
            host: _,
        } = self;
        accepted.iter().chain(previous).flat_map(|held| images(&held.spec.spec)).collect()
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
        let mut ledger: Self = serde_json::from_str(body).map_err(|error| malformed(error.to_string()))?;
        if ledger.schema != schema {
            // It would be written back as one that nobody can read.
            return Err(malformed(format!("its first line says schema {schema}, it says {}", ledger.schema)));
        }
        // An older shape is a newer one that leaves out what it does not know.
        ledger.schema = LEDGER_SCHEMA;
        if schema == 1 {
            // What was reached then was good: there was no other word for it.
            ledger.good = ledger.applied;
        }
        let is_sound = |held: &Held| held.spec.digest == held.mark.digest;
        match ledger.accepted.iter().chain(&ledger.previous).all(is_sound) {
            true => Ok(ledger),
            false => Err(malformed("the payload does not have the digest of its assignment".to_owned())),
        }
    }

    /// Accepts an assignment. What was good until now is kept to go back to.
    pub fn accept(&mut self, held: Held) {
        let before = self.accepted.replace(held);
        if before.as_ref().is_some_and(|before| self.good == Some(before.mark.digest)) {
            self.previous = before;
        }
        let digest = self.mark().map(|mark| mark.digest);
        self.previous.take_if(|previous| Some(previous.mark.digest) == digest);
        // What failed before at this attempt is not tried again; by now something else may be the last that was good.
        let back = self.previous.as_ref().map(|previous| previous.mark.digest);
        let attempt = self.accepted.as_ref().map(|held| held.attempt);
        let failed = self.failed.iter_mut().find(|one| Some(one.digest) == digest && Some(one.attempt) >= attempt);
        if let Some(end) = failed.and_then(|failed| failed.end.as_mut()) {
            end.rolled_back_to = back;
        }
    }

    /// What the device has to reach: the newest assignment, or after its failure the last good one.
    pub fn target(&self) -> Option<&Held> {
        let accepted = self.accepted.as_ref()?;
        match (self.end(), &self.previous) {
            (Some(TerminalFailure { rolled_back_to: Some(digest), .. }), Some(previous))
                if *digest == previous.mark.digest && !planted(Bug::RetryFailedDigest) =>
            {
                Some(previous)
            }
            (Some(_) | None, _) => Some(accepted),
        }
    }

    /// How the newest assignment failed for good, at its attempt or a higher one.
    pub fn end(&self) -> Option<&TerminalFailure> {
        let held = self.accepted.as_ref()?;
        let failed = self.failed.iter().find(|one| one.digest == held.mark.digest && one.attempt >= held.attempt)?;
        failed.end.as_deref()
    }

    /// Remembers that the newest assignment failed for good. The device goes back to what was good before, if there is something.
    pub fn fail(&mut self, mut end: TerminalFailure) {
        let (digest, attempt) = (end.digest, end.attempt);
        end.rolled_back_to = self.previous.as_ref().map(|previous| previous.mark.digest);
        let failures = self.failures(digest, attempt).max(1);
        for one in &mut self.failed {
            // Only the newest keeps the lines of a log and names a core dump: the ledger is small.
            one.end.iter_mut().for_each(|end| {
                end.log.clear();
                end.core_dump = None;
            });
        }
        self.remember(FailedDigest { digest, attempt, failures, end: Some(Box::new(end)) });
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
        let known = self.failed.iter().find(|one| one.digest == digest && one.attempt >= attempt);
        let end = known.and_then(|one| one.end.clone());
        self.remember(FailedDigest { digest, attempt, failures, end });
    }

    fn remember(&mut self, failed: FailedDigest) {
        self.forget_failures(failed.digest);
        self.failed.push(failed);
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
            soak_secs: assignment.soak_secs,
            force: assignment.force.clone(),
            spec: assignment.spec.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_of_an_older_agent_is_read_and_what_it_reached_was_good() {
        let digest = Digest::of(b"one");
        let body = format!(r#"{{"schema":1,"starts":3,"applied":"{digest}"}}"#);
        let text = format!("{HEADER} 1 {}\n{body}\n", Digest::of(body.as_bytes()));
        let read = Ledger::parse(&text).expect("it is sound");
        assert_eq!((read.schema, read.good), (LEDGER_SCHEMA, Some(digest)));
        assert_eq!(Ledger::parse(&read.to_text()), Ok(read));
    }

    #[test]
    fn a_ledger_whose_two_schemas_differ_is_refused() {
        // Taken for a good one, it would be written back with a first line that this very agent refuses.
        let body = r#"{"schema": 3, "starts": 3}"#;
        let text = format!("{HEADER} 1 {}\n{body}\n", Digest::of(body.as_bytes()));
        let reason = "its first line says schema 1, it says 3".to_owned();
        assert_eq!(Ledger::parse(&text), Err(LedgerError::Malformed { reason }));
    }
}
