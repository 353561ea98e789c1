//! The ledger's file. A damaged one stops the agent before it does anything: what runs keeps running.
//!
//! Beside it is the number of the last start, in a file of its own: people may move a ledger away or restore an older one.

use super::files::{StateDirectory, read_bounded, write_durably};
use crate::domain::device::ledger::{Ledger, LedgerError, MAX_LEDGER_BYTES};
use std::io;
use std::path::PathBuf;

/// The file's name in the state directory.
pub(super) const LEDGER_FILE: &str = "ledger";

/// The file of one agent's ledger.
#[derive(Debug)]
pub struct LedgerFile {
    path: PathBuf,
}

/// Why a ledger's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerFileError {
    /// It cannot be read.
    #[error("could not read the ledger {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// It is not a ledger, or not a whole one.
    #[error(
        "the ledger {path} cannot be used; nothing was changed and everything keeps running. \
         Restore it, or move it away to have the device take its assignment anew"
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: LedgerError,
    },
}

impl LedgerFile {
    /// The ledger in a state directory.
    pub fn of(directory: &StateDirectory) -> Self {
        Self { path: directory.file(LEDGER_FILE) }
    }

    /// Reads it; an empty ledger if there is none yet.
    pub fn read(&self) -> Result<Ledger, LedgerFileError> {
        let path = || self.path.clone();
        let bytes = read_bounded(&self.path, MAX_LEDGER_BYTES)
            .map_err(|source| LedgerFileError::Unreadable { path: path(), source })?;
        let Some(bytes) = bytes else { return Ok(Ledger::default()) };
        std::str::from_utf8(&bytes)
            .map_err(|_| LedgerError::Damaged)
            .and_then(Ledger::parse)
            .map_err(|source| LedgerFileError::Unusable { path: path(), source })
    }

    /// Writes it durably. After an error the previous one stands.
    pub fn write(&self, ledger: &Ledger) -> io::Result<()> {
        write_durably(&self.path, ledger.to_text().as_bytes())
    }
}

/// The longest number of a start, in bytes, with the end of its line.
const MAX_STARTS_BYTES: usize = 21;

/// Lets the count of starts go on where the ledger is younger than the device: without this, a device whose ledger was moved
/// away would report with numbers that the controller has long seen, and be taken for late packets or for a clone of itself.
///
/// What cannot be read counts as nothing; the ledger has a count as well.
pub(super) fn catch_up_starts(directory: &StateDirectory, ledger: &mut Ledger) -> io::Result<()> {
    let path = directory.file("starts");
    let kept = read_bounded(&path, MAX_STARTS_BYTES).ok().flatten();
    let kept: Option<u64> = kept.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim_end().parse().ok());
    ledger.starts = ledger.starts.max(kept.unwrap_or(0));
    write_durably(&path, format!("{}\n", ledger.starts.saturating_add(1)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &[u8], expected: &str) {
        let place = tempfile::tempdir().expect("a directory");
        let directory = StateDirectory::open(place.path()).expect("not in use");
        std::fs::write(directory.file("ledger"), content).expect("written");
        let error = LedgerFile::of(&directory).read().expect_err("not a ledger");
        let source = std::error::Error::source(&error).expect("a reason").to_string();
        assert_eq!(source, expected);
        let kept = std::fs::read(directory.file("ledger")).expect("still there");
        assert_eq!(kept, content, "a damaged ledger is left for people to look at");
    }

    #[test]
    fn a_ledger_is_read_as_it_was_written() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = StateDirectory::open(place.path()).expect("not in use");
        let file = LedgerFile::of(&directory);
        assert_eq!(file.read().expect("none yet"), Ledger::default());
        let ledger = Ledger { starts: 7, ..Ledger::default() };
        file.write(&ledger).expect("written");
        assert_eq!(file.read().expect("a ledger"), ledger);
    }

    #[test]
    fn a_damaged_ledger_stops_the_agent_and_is_not_touched() {
        let whole = Ledger { starts: 7, ..Ledger::default() }.to_text();
        let damaged = "its content does not have the digest that its first line states: it was cut short or changed";
        check(b"", "it does not begin with a ledger's first line");
        check(b"\xff\xfe", damaged);
        check(&whole.as_bytes()[..whole.len() - 4], damaged);
        check(whole.replace("\"starts\":7", "\"starts\":1").as_bytes(), damaged);
        check(
            whole.replace("bellwether-ledger 2", "bellwether-ledger 9").as_bytes(),
            "it has schema version 9; this agent knows versions up to 2",
        );
    }

    #[test]
    fn starts_are_counted_on_without_a_ledger_and_with_an_older_one() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = StateDirectory::open(place.path()).expect("not in use");
        let before = |starts: u64| {
            let mut ledger = Ledger { starts, ..Ledger::default() };
            catch_up_starts(&directory, &mut ledger).expect("written");
            ledger.starts
        };
        assert_eq!(before(0), 0, "the first start");
        assert_eq!(before(1), 1, "the ledger counts as well");
        assert_eq!(before(0), 2, "moved away");
        assert_eq!(before(1), 3, "an older one restored");
        assert_eq!(before(9), 9, "the ledger knows more");
        std::fs::write(directory.file("starts"), "\u{fffd} no number, and far too long").expect("written");
        assert_eq!(before(10), 10);
        assert_eq!(before(0), 11, "it was made whole again");
    }
}
