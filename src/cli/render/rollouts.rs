//! Rollouts for people.

mod left_out;
mod taken_back;

use super::table::{Cell, Table, row};
use super::text::{Tone, age, count, plain};
use crate::domain::device::dump::{CoreDump, MAX_DUMP_BYTES};
use crate::domain::device::progress::show_bytes;
use crate::domain::ids::DeviceId;
use crate::domain::overview::rollouts::{FailureRow, RolloutDetail, RolloutRow, StepRow};
use crate::domain::rollout::eta::Eta;
use crate::domain::rollout::machine::Drafted;
use crate::domain::time::Timestamp;
use std::fmt::Write as _;

fn toned(status: &str) -> Cell {
    let tone = match status {
        "DONE" | "PASSED" => Tone::Good,
        "ERROR" | "FAILED" | "ABORTED" | "ROLLED_BACK" => Tone::Bad,
        "PAUSED" | "ROLLING_BACK" | "PENDING_APPROVAL" => Tone::Unsure,
        _ => Tone::Plain,
    };
    Cell::new(status, tone)
}

/// A share of devices in whole percent, rounded down: 100 % only when it is all of them.
fn percent(part: usize, all: usize) -> String {
    (part * 100).checked_div(all).map_or_else(|| "-".to_owned(), |percent| format!("{percent}%"))
}

/// When it will be done, in a cell.
fn eta(eta: &Eta, now: Timestamp) -> Cell {
    match eta {
        Eta::Over => Cell::from("-"),
        Eta::At { expected, .. } => Cell::from(age(now, *expected)),
        Eta::Unknown { .. } => Cell::new("unknown", Tone::Unsure),
    }
}

/// The same in a sentence; `None` if it is over.
fn eta_fact(eta: &Eta, now: Timestamp) -> Option<Cell> {
    match eta {
        Eta::Over => None,
        Eta::At { expected, latest } => {
            Some(Cell::from(format!("{expected} ({}), at the latest {latest}", age(now, *expected))))
        }
        Eta::Unknown { why } => Some(Cell::new(format!("unknown: {why}"), Tone::Unsure)),
    }
}

/// A line for each.
pub fn list(rows: &[RolloutRow], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "ROLLOUT", "STATUS", "STEP", "PROGRESS", "SUCCESS", "FAILED", "DEVICES", "POLICY", "SINCE", "ETA",
    ]);
    for one in rows {
        let (reported, taking_part) = one.progress();
        // Where everything is taken back, that is what goes on.
        let (progress, success) = match taken_back::undone(one) {
            Some(back) => (percent(back.went_back, back.all()), "-".to_owned()),
            None => (percent(reported, taking_part), percent(one.ok, reported)),
        };
        table.row(row![
            &one.rollout,
            toned(&one.status),
            format!("{}/{}", one.step.min(one.steps), one.steps),
            progress,
            success,
            one.bad,
            one.devices,
            &one.policy,
            one.since.map_or_else(|| "-".to_owned(), |since| age(now, since)),
            eta(&one.eta, now)
        ]);
    }
    table
}

/// How many of a list of devices are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// A few; the rest is counted.
    Short,
    /// As many as the controller has told.
    Whole,
}

/// Everything about one.
pub fn detail(found: &RolloutDetail, lists: Lists, width: Option<u16>, now: Timestamp) -> String {
    let RolloutDetail { row: one, all_steps, phases, failures: failed, .. } = found;
    let mut facts = Table::new(&[]);
    facts.fact("rollout", Cell::from(&one.rollout));
    facts.fact("status", toned(&one.status));
    if let Some(why) = &one.why {
        facts.fact("why", Cell::from(why));
    }
    facts.fact("stage", Cell::from(&one.stage));
    facts.fact("commit", Cell::from(one.commit.short()));
    if let Some(draft) = &found.draft {
        let Drafted { branch, base, devices, change } = draft;
        facts.fact("drafted", Cell::from(format!("on {branch}, from {}: {change}", base.short())));
        facts.fact("for", Cell::from(format!("devices with {devices}")));
    }
    facts.fact("policy", Cell::from(&one.policy));
    facts.fact("made", Cell::from(age(now, one.created)));
    if let Some(since) = one.since {
        facts.fact("running", Cell::from(format!("since {since} ({})", age(now, since))));
    }
    let (reported, taking_part) = one.progress();
    let progress = match reported {
        0 => "nobody has reported".to_owned(),
        _ => {
            let (progress, success) = (percent(reported, taking_part), percent(one.ok, reported));
            format!("{progress} of the devices have reported, {success} of these succeeded")
        }
    };
    match taken_back::undone(one) {
        Some(back) => facts.fact("taken back", Cell::from(taken_back::sentence(back))),
        None => facts.fact("progress", Cell::from(progress)),
    }
    if let Some(eta) = eta_fact(&one.eta, now) {
        facts.fact("eta", eta);
    }
    facts.fact("exposed", Cell::from(format!("{} of {} devices", one.exposed, one.devices)));
    let states: Vec<String> = phases.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
    facts.fact("devices", Cell::from(states.join(", ")));
    let mut steps = Table::new(&["STEP", "STATUS", "DEVICES", "N", "OK", "FAILED", "OPEN", "LEFT OUT", "TAKES"]);
    for (number, step) in all_steps.iter().enumerate() {
        let counts = &step.counts;
        let reported = counts.reported();
        let began = step.started.is_some();
        let number_of = |count: u32| if began { count.to_string() } else { "-".to_owned() };
        steps.row(row![
            number + 1,
            toned(&step.status),
            &step.name,
            number_of(counts.members),
            number_of(counts.ok),
            failed_of(step, number_of(reported - counts.ok)),
            number_of(counts.members.saturating_sub(reported)),
            number_of(step.excluded),
            &step.devices
        ]);
    }
    let mut text = format!("{}\n{}", facts.text(width), steps.text(width));
    text.push_str(&taken_back::list(found, lists));
    text.push_str(&left_out::list(found, lists));
    let waits = explained(found, now);
    if !waits.is_empty() {
        let _ = write!(text, "\nwaits for:\n{waits}");
    }
    if !failed.is_empty() {
        let _ = writeln!(text, "\n{} devices failed: `bellwether rollout failures {}`", one.bad, one.rollout);
    }
    text
}

/// What the next transition waits for, in order.
pub fn explained(found: &RolloutDetail, now: Timestamp) -> String {
    let mut text = String::new();
    for (number, wait) in found.waits.iter().enumerate() {
        let at = wait.at.filter(|at| *at > now).map(|at| format!(" (evaluated at {at})")).unwrap_or_default();
        let _ = writeln!(text, "  {}. {}{at}", number + 1, plain(&wait.message));
        if let Some(hint) = &wait.hint {
            let _ = writeln!(text, "     {}", plain(hint));
        }
    }
    text
}

/// How many devices of a step failed; those of which somebody took note count no more, and are shown beside.
fn failed_of(step: &StepRow, failed: String) -> String {
    match step.acknowledged {
        0 => failed,
        noted => format!("{failed} (+{noted} acked)"),
    }
}

/// A core dump, and the command that brings it.
pub fn core_dump(dump: &CoreDump, device: &DeviceId) -> String {
    let CoreDump { name, bytes, at: _ } = dump;
    let (name, size) = (plain(name.as_str()), show_bytes(*bytes));
    match dump.is_sent() {
        true => format!("core dump {name} ({size}): `bellwether device core-dump {device} --to FILE`"),
        false => {
            format!("core dump {name} ({size}) stays on the device: at most {} are sent", show_bytes(MAX_DUMP_BYTES))
        }
    }
}

/// Devices that failed, with what they said and the last lines of output.
pub fn failures(failures: &[FailureRow], now: Timestamp) -> String {
    let mut text = String::new();
    for one in failures {
        let FailureRow { device, order, failure, phase, note, at, message: _, log: _, core_dump: _ } = one;
        let generation = order.map(|order| format!(" at {order}")).unwrap_or_default();
        let phase = phase.map(|phase| format!(" while {}", phase.as_str())).unwrap_or_default();
        let noted = if note.is_no() { "" } else { ", acknowledged" };
        let _ = writeln!(text, "{device} {failure}{generation}{phase}, {}{noted}", age(now, *at));
        if let Some(message) = &one.message {
            let _ = writeln!(text, "  {}", plain(message));
        }
        for line in &one.log {
            let _ = writeln!(text, "  | {}", plain(line));
        }
        if let Some(dump) = &one.core_dump {
            let _ = writeln!(text, "  {}", core_dump(dump, &one.device));
        }
    }
    text
}

/// What is said where more devices failed than are listed; `None` if all are.
pub fn not_listed(found: &RolloutDetail) -> Option<String> {
    let (all, listed) = (found.row.bad, found.failures.len());
    (all > listed)
        .then(|| format!("the first {listed} of {} by name; {} more failed", count(all, "device"), all - listed))
}
