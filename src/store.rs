//! Stores: adapters of [`crate::ports::store::Store`]. The contract tests beside the port run on each.

pub mod sqlite;

pub use sqlite::SqliteStore;
