//! Exclusive ownership of the database: a lock file beside it.
//!
//! SQLite would let several processes take turns. Two controllers taking turns would each decide from a state that the other
//! has changed, so the second one must not start at all. The kernel drops the lock when its owner dies, however it dies.

use super::{StoreError, io};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::Path;

/// Held as long as this lives.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says that somebody else has it.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let attempted = "open its lock file";
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|error| io(attempted, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse),
            Err(error) => Err(io(attempted, error.into())),
        }
    }
}
