//! Writing. One statement per change, prepared once.

use super::{failed, rollouts};
use crate::domain::fleet::{Change, Event};
use crate::ports::store::StoreError;
use rusqlite::{Connection, params};
use serde::Serialize;
use std::collections::BTreeSet;

/// Which record, as `FleetState::quarantined` names it: kind and subject.
type RecordName = (&'static str, String);

/// Writes all changes, and says which poisoned records something newer took the place of.
pub(super) fn write_all(
    transaction: &Connection,
    changes: &[Change],
    poisoned: &BTreeSet<RecordName>,
    keep_events: usize,
) -> Result<Vec<RecordName>, StoreError> {
    let mut replaced = Vec::new();
    if !poisoned.is_empty() {
        for record in changes.iter().flat_map(records) {
            if poisoned.contains(&record) {
                keep_aside(transaction, &record)?;
                replaced.push(record);
            }
        }
    }
    let mut events = Events::None;
    for change in changes {
        if let Written::Event = write(transaction, change)? {
            events = Events::Some;
        }
    }
    if let Events::Some = events {
        trim(transaction, keep_events)?;
    }
    Ok(replaced)
}

enum Events {
    None,
    Some,
}

enum Written {
    Record,
    Event,
}

fn write(transaction: &Connection, change: &Change) -> Result<Written, StoreError> {
    let write = Write { transaction };
    match change {
        Change::Epoch(epoch) => write.put("meta", "name", "epoch", epoch)?,
        Change::Identity(device, identity) => write.part("identity", device.as_str(), identity)?,
        Change::Control(device, control) => write.part("control", device.as_str(), control)?,
        Change::Assignment(assignment) => write.part("assignment", assignment.device.as_str(), assignment)?,
        Change::Reported(device, reported) => write.part("reported", device.as_str(), reported)?,
        Change::Unreported(device) => write.no_part("reported", device.as_str())?,
        Change::Registry(device, registry) => write.part("registry", device.as_str(), registry)?,
        Change::Actions(device, actions) => write.part("actions", device.as_str(), actions)?,
        Change::Forget(device) => write.delete("devices", "device", device.as_str())?,
        Change::Stage(stage, record) => write.put("stages", "stage", stage.as_str(), record)?,
        Change::Token(id, record) => write.put("tokens", "token", id, record)?,
        Change::TokenGone(id) => write.delete("tokens", "token", id)?,
        Change::Approval(digest, approval) => write.put("approvals", "digest", &digest.to_string(), approval)?,
        Change::ApprovalGone(digest) => write.delete("approvals", "digest", &digest.to_string())?,
        Change::Hold(scope, hold) => write.put("holds", "scope", &json(scope), hold)?,
        Change::HoldGone(scope) => write.delete("holds", "scope", &json(scope))?,
        Change::Unassigned(device) => write.no_part("assignment", device.as_str())?,
        Change::Rollout(name, change) => rollouts::write(transaction, name, change)?,
        Change::Heartbeat(at) => write.put("meta", "name", "heartbeat", at)?,
        Change::Told(topic, told) => write.put("told", "topic", &json(topic), told)?,
        Change::ToldGone(topic) => write.delete("told", "topic", &json(topic))?,
        Change::Event(event) => {
            write.event(event)?;
            return Ok(Written::Event);
        }
    }
    Ok(Written::Record)
}

/// The statements. Table and column names are this file's own constants, never input.
struct Write<'a> {
    transaction: &'a Connection,
}

impl Write<'_> {
    fn part(&self, column: &'static str, device: &str, document: &impl Serialize) -> Result<(), StoreError> {
        self.run(
            &format!(
                "INSERT INTO devices (device, {column}) VALUES (?1, ?2)
                 ON CONFLICT (device) DO UPDATE SET {column} = excluded.{column}"
            ),
            params![device, json(document)],
        )
    }

    fn no_part(&self, column: &'static str, device: &str) -> Result<(), StoreError> {
        self.run(&format!("UPDATE devices SET {column} = NULL WHERE device = ?1"), params![device])
    }

    fn put(
        &self,
        table: &'static str,
        key: &'static str,
        name: &str,
        document: &impl Serialize,
    ) -> Result<(), StoreError> {
        self.run(
            &format!(
                "INSERT INTO {table} ({key}, document) VALUES (?1, ?2)
                 ON CONFLICT ({key}) DO UPDATE SET document = excluded.document"
            ),
            params![name, json(document)],
        )
    }

    fn delete(&self, table: &'static str, key: &'static str, name: &str) -> Result<(), StoreError> {
        self.run(&format!("DELETE FROM {table} WHERE {key} = ?1"), params![name])
    }

    fn event(&self, event: &Event) -> Result<(), StoreError> {
        let Event { at, actor, kind, subject, message, rollout } = event;
        self.run(
            "INSERT INTO events (at, actor, kind, subject, message, rollout) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![at.millis(), actor.as_str(), kind, subject, message, rollout.as_deref().map(json)],
        )
    }

    fn run(&self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), StoreError> {
        let attempted = failed("write a change");
        let mut statement = self.transaction.prepare_cached(sql).map_err(&attempted)?;
        statement.execute(values).map_err(&attempted)?;
        Ok(())
    }
}

/// Ids are given in order without gaps, so the oldest surplus ones are those far enough below the newest.
fn trim(transaction: &Connection, keep: usize) -> Result<(), StoreError> {
    let keep = i64::try_from(keep).expect("the bound on events is far below 2^63");
    Write { transaction }.run("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?1", params![keep])
}

/// Which records a change overwrites or removes.
fn records(change: &Change) -> Vec<RecordName> {
    match change {
        Change::Identity(device, _) => vec![("identity", device.to_string())],
        Change::Control(device, _) => vec![("control", device.to_string())],
        Change::Assignment(assignment) => vec![("assignment", assignment.device.to_string())],
        Change::Reported(device, _) | Change::Unreported(device) => vec![("reported", device.to_string())],
        Change::Registry(device, _) => vec![("registry", device.to_string())],
        Change::Actions(device, _) => vec![("actions", device.to_string())],
        Change::Forget(device) => DEVICE_PARTS.iter().map(|part| (*part, device.to_string())).collect(),
        Change::Stage(stage, _) => vec![("stage", stage.to_string())],
        Change::Token(id, _) | Change::TokenGone(id) => vec![("token", id.clone())],
        Change::Approval(digest, _) | Change::ApprovalGone(digest) => vec![("approval", digest.to_string())],
        Change::Hold(scope, _) | Change::HoldGone(scope) => vec![("hold", json(scope))],
        Change::Unassigned(device) => vec![("assignment", device.to_string())],
        Change::Rollout(name, _) => vec![("rollout", name.to_string())],
        // What was said on the forge is found there again: nothing is lost with what cannot be read.
        Change::Epoch(_) | Change::Heartbeat(_) | Change::Told(..) | Change::ToldGone(_) | Change::Event(_) => {
            Vec::new()
        }
    }
}

const DEVICE_PARTS: [&str; 6] = ["identity", "control", "assignment", "reported", "registry", "actions"];

/// Copies a document that could not be read to the table `quarantine` before something newer takes its place.
fn keep_aside(transaction: &Connection, (kind, subject): &RecordName) -> Result<(), StoreError> {
    let source = match *kind {
        "identity" => "SELECT ?1, ?2, identity FROM devices WHERE device = ?2",
        "control" => "SELECT ?1, ?2, control FROM devices WHERE device = ?2",
        "assignment" => "SELECT ?1, ?2, assignment FROM devices WHERE device = ?2",
        "reported" => "SELECT ?1, ?2, reported FROM devices WHERE device = ?2",
        "registry" => "SELECT ?1, ?2, registry FROM devices WHERE device = ?2",
        "actions" => "SELECT ?1, ?2, actions FROM devices WHERE device = ?2",
        "stage" => "SELECT ?1, ?2, document FROM stages WHERE stage = ?2",
        "token" => "SELECT ?1, ?2, document FROM tokens WHERE token = ?2",
        "approval" => "SELECT ?1, ?2, document FROM approvals WHERE digest = ?2",
        "hold" => "SELECT ?1, ?2, document FROM holds WHERE scope = ?2",
        // A row whose key is no device name: nothing can name it, so nothing overwrites it.
        _ => return Ok(()),
    };
    Write { transaction }
        .run(&format!("INSERT INTO quarantine (kind, subject, document) {source}"), params![kind, subject])
}

pub(super) fn json(document: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(document).expect("documents have only string keys, so they can be written as JSON")
}
