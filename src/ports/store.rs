//! The store: what the controller must not forget.

use crate::domain::fleet::{Change, Event, FleetState};

/// How many events a store keeps; the oldest go first. About a year of a busy thousand-device fleet.
pub const MAX_EVENTS: usize = 100_000;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is damaged.
    #[error("the database is damaged: {detail}")]
    Damaged {
        /// What the check said.
        detail: String,
    },
    /// Made by a newer Bellwether.
    #[error("the database has schema version {found}; this build knows versions up to {known}")]
    NewerSchema {
        /// The version that it has.
        found: u32,
        /// The newest that this build knows.
        known: u32,
    },
    /// Another process has it open.
    #[error("another controller has the database open")]
    InUse,
    /// A document in it cannot be read.
    #[error("the {kind} document of {subject} cannot be read: {detail}")]
    BadDocument {
        /// Which kind of document.
        kind: &'static str,
        /// Of what.
        subject: String,
        /// What the parser said.
        detail: String,
    },
    /// The file system or the database engine failed.
    #[error("the database could not {attempted}")]
    Failed {
        /// What was attempted.
        attempted: &'static str,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A store. One process owns it at a time.
pub trait Store: Send {
    /// The whole state, as the last transaction left it.
    fn load(&mut self) -> Result<FleetState, StoreError>;

    /// Writes all changes in one transaction, durably: when this returns, they survive a crash. An empty list writes nothing.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// The newest events, newest first, at most `limit`; only those about `subject` if one is given.
    fn events(&mut self, subject: Option<&str>, limit: usize) -> Result<Vec<Event>, StoreError>;
}
