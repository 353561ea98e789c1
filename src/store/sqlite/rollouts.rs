//! Rollouts: a head each, with a version, a row per device, and contents.

use super::failed;
use super::write::json;
use crate::domain::fleet::{Content, Quarantined, RolloutChange, RolloutRecord};
use crate::domain::ids::{DeviceId, RolloutName};
use crate::domain::rollout::machine::{Head, Member};
use crate::ports::store::StoreError;
use rusqlite::{Connection, ToSql, params};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All rollouts. One of which anything cannot be read is left out as a whole, and what follows it stands still: half of a rollout
/// would offer what it has offered before.
pub(super) fn load(
    connection: &Connection,
    quarantined: &mut Vec<Quarantined>,
) -> Result<BTreeMap<RolloutName, RolloutRecord>, StoreError> {
    let mut rollouts: BTreeMap<String, RolloutRecord> = BTreeMap::new();
    let mut bad: BTreeSet<(String, String)> = BTreeSet::new();
    rows(connection, "SELECT rollout, version, document FROM rollouts", |name, version, document| {
        match (version.parse(), serde_json::from_str::<Head>(&document)) {
            (Ok(version), Ok(head)) => {
                rollouts.insert(name, RolloutRecord::new(version, Arc::new(head)));
            }
            (_, Err(error)) => _ = bad.insert((name, error.to_string())),
            (Err(_), Ok(_)) => _ = bad.insert((name, "its version is not a number".to_owned())),
        }
    })?;
    rows(connection, "SELECT rollout, device, document FROM rollout_members", |name, device, document| {
        let Some(record) = rollouts.get_mut(&name) else { return };
        match (DeviceId::new(&device), serde_json::from_str::<Member>(&document)) {
            (Ok(device), Ok(member)) => _ = record.members.insert(device, Arc::new(member)),
            (_, Err(error)) => _ = bad.insert((name, format!("{device}: {error}"))),
            (Err(error), Ok(_)) => _ = bad.insert((name, error.to_string())),
        }
    })?;
    rows(connection, "SELECT rollout, digest, document FROM rollout_contents", |name, digest, document| {
        let Some(record) = rollouts.get_mut(&name) else { return };
        match serde_json::from_str::<Content>(&document) {
            Ok(content) => _ = record.contents.insert(content.spec.digest, Arc::new(content)),
            Err(error) => _ = bad.insert((name, format!("{digest}: {error}"))),
        }
    })?;
    for (subject, detail) in bad {
        rollouts.remove(&subject);
        quarantined.push(Quarantined { kind: "rollout", subject, detail });
    }
    let named = rollouts.into_iter().filter_map(|(name, record)| Some((RolloutName::new(&name).ok()?, record)));
    Ok(named.collect())
}

fn rows(connection: &Connection, sql: &str, mut each: impl FnMut(String, String, String)) -> Result<(), StoreError> {
    let attempted = failed("read the rollouts");
    let mut statement = connection.prepare(sql).map_err(&attempted)?;
    let mut rows = statement.query([]).map_err(&attempted)?;
    while let Some(row) = rows.next().map_err(&attempted)? {
        let text = |column: usize| -> rusqlite::Result<String> {
            Ok(match row.get_ref(column)? {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                other => String::from_utf8_lossy(other.as_bytes()?).into_owned(),
            })
        };
        let (first, second, third) = (text(0), text(1), text(2));
        each(first.map_err(&attempted)?, second.map_err(&attempted)?, third.map_err(&attempted)?);
    }
    Ok(())
}

/// Writes one change. A head only takes the place of the one that it was made from.
pub(super) fn write(transaction: &Connection, name: &RolloutName, change: &RolloutChange) -> Result<(), StoreError> {
    let name = name.as_str();
    match change {
        RolloutChange::Head { version, head } => {
            let number = i64::try_from(*version).unwrap_or(i64::MAX);
            let written = run(
                transaction,
                "INSERT INTO rollouts (rollout, version, document) VALUES (?1, ?2, ?3)
                 ON CONFLICT (rollout) DO UPDATE SET version = excluded.version, document = excluded.document
                 WHERE rollouts.version = excluded.version - 1",
                params![name, number, json(head)],
            )?;
            if written == 0 {
                let source = format!("rollout {name} is not at version {}", version.saturating_sub(1));
                return Err(StoreError::Failed { attempted: "write a rollout", source: source.into() });
            }
        }
        RolloutChange::Member(device, member) => {
            let sql = "INSERT INTO rollout_members (rollout, device, document) VALUES (?1, ?2, ?3)
                 ON CONFLICT (rollout, device) DO UPDATE SET document = excluded.document";
            run(transaction, sql, params![name, device.as_str(), json(member)])?;
        }
        RolloutChange::Content(content) => {
            let sql = "INSERT INTO rollout_contents (rollout, digest, document) VALUES (?1, ?2, ?3)
                 ON CONFLICT (rollout, digest) DO UPDATE SET document = excluded.document";
            run(transaction, sql, params![name, content.spec.digest.to_string(), json(content)])?;
        }
        RolloutChange::Gone => {
            run(transaction, "DELETE FROM rollouts WHERE rollout = ?1", params![name])?;
        }
    }
    Ok(())
}

fn run(transaction: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<usize, StoreError> {
    let attempted = failed("write a rollout");
    let mut statement = transaction.prepare_cached(sql).map_err(&attempted)?;
    statement.execute(values).map_err(&attempted)
}
