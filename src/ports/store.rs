//! The store: what the controller must not forget.

use crate::domain::fleet::{Change, Event, FleetState};

#[cfg(test)]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod fake;

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
    /// A step by which its schema came about is not the one that this build knows.
    #[error("schema step {step} of the database is not the one that this build knows")]
    ForeignSchema {
        /// The step's number.
        step: u32,
    },
    /// A document in it cannot be read, and nothing can be done without it.
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

impl StoreError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Damaged { .. } | Self::BadDocument { .. } => {
                Some("restore the newest backup; devices tell the controller what it missed since then")
            }
            Self::NewerSchema { .. } => Some("run the Bellwether that wrote it, or a newer one"),
            Self::ForeignSchema { .. } => Some("it was made by another build; run that one, or restore a backup"),
            Self::InUse => Some("stop the other controller, or give this one a data_dir of its own"),
            Self::Failed { .. } => None,
        }
    }
}

/// A store. One process owns it at a time.
pub trait Store: Send {
    /// The whole state, as the last transaction left it.
    ///
    /// A record that cannot be read does not keep the others from being read: it is listed in [`FleetState::quarantined`],
    /// and what it is about is left alone (see there). It stays in the store until something newer is written in its place.
    fn load(&mut self) -> Result<FleetState, StoreError>;

    /// Writes all changes in one transaction, durably: when this returns, they survive a crash. An empty list writes nothing.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// The newest events, newest first, at most `limit`; only those about `subject` if one is given.
    fn events(&mut self, subject: Option<&str>, limit: usize) -> Result<Vec<Event>, StoreError>;
}
