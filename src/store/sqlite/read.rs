//! Reading. A record that cannot be read is set apart; the rest is read.

use super::{failed, rollouts};
use crate::domain::fleet::{
    Conflict, DeviceRecord, Event, FleetState, Hold, HoldScope, POISONED, Quarantined, Told, Topic,
};
use crate::domain::ids::{Actor, DeviceId};
use crate::domain::time::Timestamp;
use crate::ports::store::{MAX_EVENTS, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

/// The whole state.
pub(super) fn load(connection: &Connection) -> Result<FleetState, StoreError> {
    let mut quarantined = Vec::new();
    Ok(FleetState {
        epoch: epoch(connection)?,
        devices: devices(connection, &mut quarantined)?,
        stages: documents(connection, "stage", "SELECT stage, document FROM stages", &mut quarantined)?,
        tokens: documents(connection, "token", "SELECT token, document FROM tokens", &mut quarantined)?,
        approvals: documents(connection, "approval", "SELECT digest, document FROM approvals", &mut quarantined)?,
        holds: holds(connection, &mut quarantined)?,
        rollouts: rollouts::load(connection, &mut quarantined)?,
        heartbeat: heartbeat(connection)?,
        told: told(connection)?,
        quarantined,
    })
}

/// Without the epoch nothing can be decided about any device, so here a bad document is an error.
fn epoch(connection: &Connection) -> Result<Option<crate::domain::generation::Epoch>, StoreError> {
    let document: Option<String> = connection
        .query_row("SELECT document FROM meta WHERE name = 'epoch'", [], |row| row.get(0))
        .optional()
        .map_err(failed("read the epoch"))?;
    let Some(document) = document else { return Ok(None) };
    serde_json::from_str(&document).map(Some).map_err(|error| StoreError::BadDocument {
        kind: "epoch",
        subject: "the fleet".to_owned(),
        detail: error.to_string(),
    })
}

/// When the controller was last known to run. One that cannot be read is none: then all of the time that passed counts.
fn heartbeat(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let document: Option<String> = connection
        .query_row("SELECT document FROM meta WHERE name = 'heartbeat'", [], |row| row.get(0))
        .optional()
        .map_err(failed("read the heartbeat"))?;
    Ok(document.and_then(|document| serde_json::from_str(&document).ok()))
}

/// What was said on the forge. What cannot be read counts as not said: before something is said again, it is looked for there.
fn told(connection: &Connection) -> Result<BTreeMap<Topic, Told>, StoreError> {
    let all = pairs(connection, "SELECT topic, document FROM told")?;
    let read =
        |(topic, told): (String, String)| Some((serde_json::from_str(&topic).ok()?, serde_json::from_str(&told).ok()?));
    Ok(all.into_iter().filter_map(read).collect())
}

fn devices(
    connection: &Connection,
    quarantined: &mut Vec<Quarantined>,
) -> Result<BTreeMap<DeviceId, DeviceRecord>, StoreError> {
    let attempted = failed("read the devices");
    let mut statement = connection
        .prepare(
            "SELECT device, identity, control, assignment, reported, registry, actions FROM devices ORDER BY device",
        )
        .map_err(&attempted)?;
    let mut rows = statement.query([]).map_err(&attempted)?;
    let mut devices = BTreeMap::new();
    while let Some(row) = rows.next().map_err(&attempted)? {
        let name = text(row, 0).map_err(&attempted)?;
        match DeviceId::new(&name) {
            Ok(device) => {
                let record = device_record(row, &name, quarantined).map_err(&attempted)?;
                devices.insert(device, record);
            }
            Err(error) => quarantined.push(Quarantined { kind: "device", subject: name, detail: error.to_string() }),
        }
    }
    Ok(devices)
}

fn device_record(row: &Row<'_>, device: &str, quarantined: &mut Vec<Quarantined>) -> rusqlite::Result<DeviceRecord> {
    let before = quarantined.len();
    let identity = part(row, 1, "identity", device, quarantined)?;
    let control = part(row, 2, "control", device, quarantined)?;
    let assignment = part(row, 3, "assignment", device, quarantined)?;
    // What decides about the device is gone if any of the three is. A report that cannot be read is only late: the next
    // one takes its place.
    let poisoned = quarantined.get(before).cloned();
    let reported = part(row, 4, "reported", device, quarantined)?;
    // What operators say of it decides nothing: the device goes on, and the quarantine shows what was lost.
    let registry = part(row, 5, "registry", device, quarantined)?;
    // An action that cannot be read is not done. Its number is not used again: the device reports the largest that it has seen.
    let actions = part(row, 6, "actions", device, quarantined)?;
    let control = control.unwrap_or_default();
    let mut record = DeviceRecord { identity, control, assignment, reported, registry, actions };
    if let Some(poisoned) = poisoned {
        let conflict = conflict(&record, &poisoned);
        Arc::make_mut(&mut record.control).conflict.get_or_insert(conflict);
    }
    Ok(record)
}

fn conflict(record: &DeviceRecord, poisoned: &Quarantined) -> Conflict {
    // No clock here: the last thing that is known to have happened is close enough, and the same at each start.
    let received = record.reported.as_ref().map(|reported| reported.received_at);
    let assigned = record.assignment.as_ref().map(|assignment| assignment.assigned_at);
    Conflict {
        since: received.max(assigned).unwrap_or(Timestamp::EPOCH),
        reason: POISONED.to_owned(),
        message: format!("the device's {} cannot be read from the store", poisoned.kind),
        device: None,
    }
}

fn part<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
    kind: &'static str,
    device: &str,
    quarantined: &mut Vec<Quarantined>,
) -> rusqlite::Result<Option<Arc<T>>> {
    // As bytes: text that is not UTF-8 is one more way for a document to be unreadable.
    let Some(document) = row.get_ref(column)?.as_bytes_or_null()? else { return Ok(None) };
    match serde_json::from_slice(document) {
        Ok(value) => Ok(Some(Arc::new(value))),
        Err(error) => {
            quarantined.push(Quarantined { kind, subject: device.to_owned(), detail: error.to_string() });
            Ok(None)
        }
    }
}

/// A table of one document per key.
fn documents<K: FromStr<Err: std::fmt::Display> + Ord, V: DeserializeOwned>(
    connection: &Connection,
    kind: &'static str,
    sql: &str,
    quarantined: &mut Vec<Quarantined>,
) -> Result<BTreeMap<K, V>, StoreError> {
    let mut values = BTreeMap::new();
    for (key, document) in pairs(connection, sql)? {
        let parsed = key.parse::<K>().map_err(|error| error.to_string()).and_then(|name| {
            serde_json::from_str::<V>(&document).map(|value| (name, value)).map_err(|e| e.to_string())
        });
        match parsed {
            Ok((name, value)) => {
                values.insert(name, value);
            }
            Err(detail) => quarantined.push(Quarantined { kind, subject: key, detail }),
        }
    }
    Ok(values)
}

/// Holds fail to the safe side: one that cannot be read still holds, and one whose scope cannot be read holds the fleet.
fn holds(connection: &Connection, quarantined: &mut Vec<Quarantined>) -> Result<BTreeMap<HoldScope, Hold>, StoreError> {
    let mut holds = BTreeMap::new();
    for (key, document) in pairs(connection, "SELECT scope, document FROM holds")? {
        let scope = serde_json::from_str::<HoldScope>(&key).map_err(|error| error.to_string());
        let hold = serde_json::from_str::<Hold>(&document).map_err(|error| error.to_string());
        let problem = scope.as_ref().err().or(hold.as_ref().err()).cloned();
        if let Some(detail) = problem {
            quarantined.push(Quarantined { kind: "hold", subject: key, detail });
        }
        holds.insert(scope.unwrap_or(HoldScope::Fleet), hold.unwrap_or_else(|_| unreadable_hold()));
    }
    Ok(holds)
}

fn unreadable_hold() -> Hold {
    Hold {
        reason: "the record of this hold cannot be read from the store".to_owned(),
        actor: Actor::new("bellwether").expect("a plain word is an actor"),
        since: Timestamp::EPOCH,
        until: None,
    }
}

fn pairs(connection: &Connection, sql: &str) -> Result<Vec<(String, String)>, StoreError> {
    let attempted = failed("read its documents");
    let mut statement = connection.prepare(sql).map_err(&attempted)?;
    let rows = statement.query_map([], |row| Ok((text(row, 0)?, text(row, 1)?))).map_err(&attempted)?;
    rows.collect::<Result<_, _>>().map_err(&attempted)
}

/// A column's text. What is not UTF-8 is replaced, so that it fails as a name or document rather than as a row.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(column)?.as_bytes()?).into_owned())
}

/// The newest events, newest first.
pub(super) fn events(connection: &Connection, subject: Option<&str>, limit: usize) -> Result<Vec<Event>, StoreError> {
    let attempted = failed("read the events");
    let limit = i64::try_from(limit.min(MAX_EVENTS)).expect("the bound on events is far below 2^63");
    let columns = "SELECT at, actor, kind, subject, message, rollout FROM events";
    let sql = match subject {
        Some(_) => format!("{columns} WHERE subject = ?2 ORDER BY id DESC LIMIT ?1"),
        None => format!("{columns} WHERE ?2 IS NULL ORDER BY id DESC LIMIT ?1"),
    };
    let mut statement = connection.prepare_cached(&sql).map_err(&attempted)?;
    let rows = statement.query_map(params![limit, subject], event).map_err(&attempted)?;
    rows.collect::<Result<_, _>>().map_err(&attempted)
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let actor: String = row.get(1)?;
    Ok(Event {
        at: Timestamp::from_millis(row.get(0)?),
        // Events are for people. One whose actor was spoilt is still worth reading.
        actor: Actor::new(&actor).unwrap_or_else(|_| Actor::new("unknown").expect("a plain word is an actor")),
        kind: row.get(2)?,
        subject: row.get(3)?,
        message: row.get(4)?,
        // What cannot be read any more is still told by the message.
        rollout: row.get::<_, Option<String>>(5)?.and_then(|text| serde_json::from_str(&text).ok()),
    })
}
