//! Everything about one device.

use super::drift;
use super::rollouts::core_dump;
use super::table::{Cell, Table, escaped, row};
use super::text::{Tone, age, age_or_never, names, phase, plain, verdict};
use crate::domain::condition::ConditionStatus;
use crate::domain::fleet::IdentityStatus;
use crate::domain::overview::device::{DEGRADED, DeviceDetail};
use crate::domain::plan::waits::Wait;
use crate::domain::reported::OsStage;
use crate::domain::time::{Timestamp, show_secs};
use std::fmt::Write as _;

/// How many names one line names before it counts the rest.
const NAMED: usize = 20;

/// A device as a screen of text.
pub fn text(detail: &DeviceDetail, now: Timestamp, width: Option<u16>) -> String {
    let mut text = facts(detail, now).text(width);
    section(&mut text, "waits for", &waits(&detail.waits, now));
    let layers = drift::layers(&detail.layers);
    if !layers.is_empty() {
        section(&mut text, "drift", &layers.text(width));
    }
    let conditions = conditions(detail, now);
    if !conditions.is_empty() {
        section(&mut text, "conditions", &conditions.text(width));
    }
    let locks = locks(detail, now);
    if !locks.is_empty() {
        section(&mut text, "update locks", &locks.text(width));
    }
    section(&mut text, "last words", &last_words(detail));
    let found = found(detail, now);
    if !found.is_empty() {
        section(&mut text, "found and mended", &found.text(width));
    }
    text
}

/// The same as Markdown.
pub fn markdown(detail: &DeviceDetail, now: Timestamp) -> String {
    let mut text = format!("## Device {}\n\n{}", escaped(detail.row.device.as_str()), facts(detail, now).markdown());
    if !detail.waits.is_empty() {
        let _ = write!(text, "\n### Waits for\n\n{}", waits_markdown(&detail.waits, now));
    }
    let tables = [
        ("Drift", drift::layers(&detail.layers)),
        ("Conditions", conditions(detail, now)),
        ("Update locks", locks(detail, now)),
        ("Found and mended", found(detail, now)),
    ];
    for (title, table) in tables.iter().filter(|(_, table)| !table.is_empty()) {
        let _ = write!(text, "\n### {title}\n\n{}", table.markdown());
    }
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(text, "\n{}\n{body}", Tone::Strong.paint(title));
    }
}

/// What a device waits for, in the order in which it would be unblocked.
pub fn waits(waits: &[Wait], now: Timestamp) -> String {
    let mut text = String::new();
    for (index, Wait { code, message, hint, place, since }) in waits.iter().enumerate() {
        let quiet = |text: String| Tone::Quiet.paint(text);
        let since =
            since.map(|since| quiet(format!(" for {}", show_secs(now.secs_since(since).max(0))))).unwrap_or_default();
        let code = quiet(format!("[{}]", plain(code)));
        let _ = writeln!(text, "  {}. {} {code}{since}", index + 1, plain(message));
        if let Some(place) = place {
            let _ = writeln!(text, "     {}", quiet(format!("at {}", plain(&place.to_string()))));
        }
        if let Some(hint) = hint {
            let _ = writeln!(text, "     {}", quiet(plain(hint)));
        }
    }
    text
}

/// The same as a numbered list of Markdown.
pub fn waits_markdown(waits: &[Wait], now: Timestamp) -> String {
    let mut text = String::new();
    for (index, Wait { code, message, hint, place, since }) in waits.iter().enumerate() {
        let since = since.map(|since| format!(", for {}", show_secs(now.secs_since(since).max(0)))).unwrap_or_default();
        let _ = write!(text, "{}. {} ({}{since})", index + 1, escaped(message), escaped(code));
        let below = place.iter().map(|place| format!("at {place}")).chain(hint.clone());
        text.extend(below.map(|line| format!("<br>{}", escaped(&line))));
        text.push('\n');
    }
    text
}

fn facts(detail: &DeviceDetail, now: Timestamp) -> Table {
    let row = &detail.row;
    let mut table = Table::new(&[]);
    let mut fact = |name: &str, value: Cell| table.fact(name, value);
    fact("device", Cell::new(row.device.as_str(), Tone::Strong));
    fact("stage", Cell::from(&row.standing));
    if detail.claims.len() > 1 {
        fact("claimed by", Cell::new(names(&detail.claims, NAMED), Tone::Unsure));
    }
    if let Some(device_type) = &row.device_type {
        fact("type", Cell::from(device_type));
    }
    match &detail.identity {
        None => fact("identity", Cell::new("never enrolled", Tone::Unsure)),
        Some(identity) => {
            let (word, tone) = match identity.status {
                IdentityStatus::Enrolled => ("enrolled", Tone::Good),
                IdentityStatus::Pending => ("pending", Tone::Unsure),
                IdentityStatus::Rejected => ("rejected", Tone::Bad),
            };
            let actor = identity.actor.as_ref().map(|actor| format!(", by {actor}")).unwrap_or_default();
            fact("identity", Cell::new(format!("{word} {}{actor}", age(now, identity.since)), tone));
        }
    }
    let (state, tone) = phase(row.phase);
    fact("state", Cell::new(state, tone));
    let (word, tone) = verdict(row.drift);
    fact("drift", Cell::new(word, tone));
    fact("last seen", Cell::from(age_or_never(now, row.last_seen)));
    match &detail.assignment {
        None => fact("assigned", Cell::new("nothing", Tone::Quiet)),
        Some(one) => fact(
            "assigned",
            Cell::from(format!(
                "{} {} by commit {} of {}, {}",
                one.order,
                one.digest.short(),
                one.commit.short(),
                one.stage,
                age(now, one.assigned_at)
            )),
        ),
    }
    if let Some(mark) = &detail.ledger {
        fact("in its ledger", Cell::from(format!("{} {}", mark.order, mark.digest.short())));
    }
    if let Some(applied) = &detail.applied {
        fact("applied", Cell::from(applied.short()));
    }
    for (app, release) in &row.apps {
        fact("app", Cell::from(format!("{app} {release}")));
    }
    if let Some(os) = &row.os {
        fact("os", Cell::from(os));
    }
    if let Some(runs) = &detail.runs {
        fact("runs", Cell::from(runs.to_string()));
        for (name, slot) in &runs.slots {
            fact("slot", Cell::from(format!("{name}: {slot}")));
        }
    }
    if let Some(update) = &detail.os_update {
        let tone = if update.stage == OsStage::Failed { Tone::Bad } else { Tone::Unsure };
        fact("os update", Cell::new(update.to_string(), tone));
    }
    if let Some(conflict) = &detail.conflict {
        let message = format!("{} ({}): {}", conflict.reason, age(now, conflict.since), conflict.message);
        fact("conflict", Cell::new(message, Tone::Bad));
    }
    if !row.groups.is_empty() {
        fact("groups", Cell::from(names(&row.groups, NAMED)));
    }
    for (key, value) in &row.tags {
        fact("tag", Cell::from(format!("{key}={value}")));
    }
    for (key, value) in &detail.attributes {
        fact("reported", Cell::from(format!("{key}={value}")));
    }
    for (key, attribute) in &detail.registry {
        let by = format!("{key}={}, by {} {}", attribute.value, attribute.actor, age(now, attribute.since));
        fact("registry", Cell::from(by));
    }
    table
}

fn conditions(detail: &DeviceDetail, now: Timestamp) -> Table {
    let mut table = Table::new(&["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for one in &detail.conditions {
        let (word, tone) = match one.status {
            ConditionStatus::True if one.kind == DEGRADED => ("True", Tone::Bad),
            ConditionStatus::True => ("True", Tone::Good),
            ConditionStatus::False => ("False", Tone::Bad),
            ConditionStatus::Unknown => ("Unknown", Tone::Unsure),
        };
        table.row(row![&one.kind, Cell::new(word, tone), &one.reason, age(now, one.since), &one.message]);
    }
    table
}

fn locks(detail: &DeviceDetail, now: Timestamp) -> Table {
    let mut table = Table::new(&["LOCK", "OWNER", "SCOPE", "SINCE", "REASON"]);
    for lock in &detail.locks {
        let scope: Vec<&str> = lock.scope.iter().map(|scope| scope.name()).collect();
        let since = lock.since.map_or_else(|| "unknown".to_owned(), |since| age(now, since));
        let reason = lock.trouble.as_ref().or(lock.reason.as_ref()).cloned().unwrap_or_default();
        table.row(row![lock.place.to_string(), &lock.owner, scope.join(", "), since, reason]);
    }
    table
}

/// The last lines of what failed for good.
fn last_words(detail: &DeviceDetail) -> String {
    let lines = detail.failure.iter().flat_map(|failure| &failure.log);
    let log: String = lines.map(|line| format!("  {}\n", plain(line))).collect();
    let dump = detail.failure.as_ref().and_then(|failure| failure.core_dump.as_ref());
    let dump = dump.map(|dump| format!("  {}\n", core_dump(dump, &detail.row.device))).unwrap_or_default();
    log + &dump
}

fn found(detail: &DeviceDetail, now: Timestamp) -> Table {
    let mut table = Table::new(&["WHEN", "LAYER", "WHAT", "WANTED", "FOUND"]);
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    for one in detail.found.iter().rev() {
        let difference = &one.difference;
        table.row(row![
            age(now, one.at),
            difference.layer.name(),
            &difference.subject,
            shown(&difference.wanted),
            shown(&difference.found),
        ]);
    }
    table
}
