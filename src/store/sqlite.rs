//! The embedded store: one SQLite file, owned by one process.
//!
//! Durable means durable: write-ahead log with `synchronous=FULL`, so that a commit is on the disk when it returns. One
//! transaction per commit, and none for an empty one. The file is checked whole when it is opened.

mod lock;
mod migrate;
mod read;
mod rollouts;
mod write;

use crate::domain::fleet::{Change, Event, FleetState};
use crate::ports::store::{MAX_EVENTS, Store, StoreError};
use lock::Lock;
use rusqlite::{Connection, ErrorCode};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a statement waits for a lock inside SQLite. The lock file keeps other controllers out, so only a backup tool or
/// a person's shell can be in the way, and briefly.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many prepared statements are kept; more than this file has.
const STATEMENTS: usize = 32;

/// A SQLite store that this process owns.
pub struct SqliteStore {
    connection: Connection,
    /// Records that could not be read: whoever overwrites one keeps the old text in the table `quarantine`.
    poisoned: BTreeSet<(&'static str, String)>,
    keep_events: usize,
    // After the connection, so that it is released last.
    _lock: Lock,
}

impl SqliteStore {
    /// Opens the database file, or makes it. Takes ownership, checks the whole file and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = Lock::take(&beside(path, ".lock"))?;
        make_private(path).map_err(|error| io("make its file", error))?;
        let mut connection = Connection::open(path).map_err(failed("open its file"))?;
        prepare(&connection)?;
        quick_check(&connection)?;
        migrate::migrate(&mut connection)?;
        Ok(Self { connection, poisoned: BTreeSet::new(), keep_events: MAX_EVENTS, _lock: lock })
    }

    /// Writes a consistent copy of the database to a file that does not exist yet, while the store stays in use.
    pub fn backup(&mut self, path: &Path) -> Result<(), StoreError> {
        let attempted = "write a backup";
        let Some(name) = path.to_str() else {
            return Err(StoreError::Failed { attempted, source: "the path is not UTF-8".into() });
        };
        self.connection.execute("VACUUM INTO ?1", [name]).map_err(failed(attempted))?;
        let file = std::fs::File::open(path).map_err(|error| io(attempted, error))?;
        file.sync_all().map_err(|error| io(attempted, error))
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<FleetState, StoreError> {
        let state = read::load(&self.connection)?;
        self.poisoned = state.quarantined.iter().map(|one| (one.kind, one.subject.clone())).collect();
        Ok(state)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction().map_err(failed("begin a transaction"))?;
        let replaced = write::write_all(&transaction, changes, &self.poisoned, self.keep_events)?;
        // Dropping the transaction without a commit rolls it back, so every `?` above leaves nothing behind.
        transaction.commit().map_err(failed("commit a transaction"))?;
        for poisoned in replaced {
            self.poisoned.remove(&poisoned);
        }
        Ok(())
    }

    fn events(&mut self, subject: Option<&str>, limit: usize) -> Result<Vec<Event>, StoreError> {
        read::events(&self.connection, subject, limit)
    }
}

/// Makes the file if it is not there, for this user's eyes only: variables of devices are nobody else's business. SQLite gives
/// its log the same mode. The folder is synced, or a crash could lose the file's name with everything in it.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::File::options().create(true).append(true).mode(0o600).open(path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::File::open(folder)?.sync_all(),
        _ => std::fs::File::open(".")?.sync_all(),
    }
}

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed("set its busy timeout"))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    for (pragma, value) in [("journal_mode", "WAL"), ("synchronous", "FULL"), ("foreign_keys", "ON")] {
        connection.pragma_update(None, pragma, value).map_err(failed("set its journal mode"))?;
    }
    Ok(())
}

/// Reads every page. Slower than trusting the file, and done once per start: a controller that assigns from a damaged file
/// does more harm than one that does not start.
fn quick_check(connection: &Connection) -> Result<(), StoreError> {
    let detail: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed("check its file"))?;
    if detail == "ok" { Ok(()) } else { Err(StoreError::Damaged { detail }) }
}

/// Turns an error of SQLite into one of the store. Damage is damage wherever it is noticed.
fn failed(attempted: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged { detail: error.to_string() },
        Some(ErrorCode::DatabaseLocked | ErrorCode::DatabaseBusy) => StoreError::InUse,
        _ => StoreError::Failed { attempted, source: Box::new(error) },
    }
}

fn io(attempted: &'static str, error: std::io::Error) -> StoreError {
    StoreError::Failed { attempted, source: Box::new(error) }
}

/// The path with something added to its last part.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
