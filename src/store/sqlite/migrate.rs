//! The steps by which the schema came about. A step that was released is never edited: its digest is in every database.

use super::failed;
use crate::domain::digest::Digest;
use crate::ports::store::StoreError;
use rusqlite::{Connection, OptionalExtension as _, params};

/// One step.
pub(super) struct Migration {
    /// What it is called, for people.
    pub(super) name: &'static str,
    /// Its statements.
    pub(super) sql: &'static str,
}

/// All steps in order; the first is number 1.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { name: "first", sql: include_str!("migrations/0001_first.sql") },
    Migration { name: "registry", sql: include_str!("migrations/0002_registry.sql") },
    Migration { name: "actions", sql: include_str!("migrations/0003_actions.sql") },
    Migration { name: "rollouts", sql: include_str!("migrations/0004_rollouts.sql") },
    Migration { name: "moments", sql: include_str!("migrations/0005_moments.sql") },
    Migration { name: "told", sql: include_str!("migrations/0006_told.sql") },
];

const RECORD: &str = "CREATE TABLE IF NOT EXISTS migrations (
    step   INTEGER NOT NULL PRIMARY KEY,
    name   TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT";

/// Brings the schema up to date, each step in a transaction of its own. A database from a newer build, or one whose steps were
/// others, is left untouched.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    run(connection, MIGRATIONS)
}

pub(super) fn run(connection: &mut Connection, migrations: &[Migration]) -> Result<(), StoreError> {
    let done = done(connection)?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if let Some((found, _)) = done.last()
        && *found > known
    {
        return Err(StoreError::NewerSchema { found: *found, known });
    }
    for (step, migration) in (1..).zip(migrations) {
        let digest = Digest::of(migration.sql.as_bytes()).to_string();
        match done.iter().find(|(number, _)| *number == step) {
            Some((_, recorded)) if *recorded == digest => {}
            Some(_) => return Err(StoreError::ForeignSchema { step }),
            None => apply(connection, step, migration, &digest)?,
        }
    }
    Ok(())
}

/// Steps that were done, with the digests that they had.
fn done(connection: &Connection) -> Result<Vec<(u32, String)>, StoreError> {
    let attempted = failed("read its schema version");
    let exists: Option<i64> = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'", [], |row| row.get(0))
        .optional()
        .map_err(&attempted)?;
    if exists.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT step, digest FROM migrations ORDER BY step").map_err(&attempted)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(&attempted)?;
    rows.collect::<Result<_, _>>().map_err(&attempted)
}

fn apply(connection: &mut Connection, step: u32, migration: &Migration, digest: &str) -> Result<(), StoreError> {
    let attempted = failed("change its schema");
    let transaction = connection.transaction().map_err(&attempted)?;
    transaction.execute_batch(RECORD).map_err(&attempted)?;
    transaction.execute_batch(migration.sql).map_err(&attempted)?;
    transaction
        .execute(
            "INSERT INTO migrations (step, name, digest) VALUES (?1, ?2, ?3)",
            params![step, migration.name, digest],
        )
        .map_err(&attempted)?;
    transaction.commit().map_err(&attempted)
}
