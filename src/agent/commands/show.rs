//! The device's status for people.

use crate::domain::condition::{Condition, ConditionStatus};
use crate::domain::device::local::{LocalService, LocalStatus, Verdict};
use crate::domain::device::locks::{Lock, Place};
use crate::domain::reported::{Health, Phase, ServiceState};
use crate::domain::time::{Timestamp, show_secs};

/// A few lines about the device, then its services and its conditions.
pub(super) fn status(status: &LocalStatus, now: Timestamp) -> String {
    let LocalStatus { device, agent_version, phase, .. } = status;
    let LocalStatus { assignment, failure, applied, services, os, conditions, locks, refused, .. } = status;
    let phase = match failure {
        Some(_) => "failing; it is tried again only when somebody asks for it",
        None => phase_of(*phase),
    };
    let mut facts = vec![("Device", device.to_string()), ("Agent", agent_version.clone()), ("Phase", phase.to_owned())];
    if let Some(end) = failure {
        facts.push(("Failed", format!("{} at attempt {}: {}", end.digest.short(), end.attempt, end.describe())));
    }
    let went_back = failure.as_ref().is_some_and(|end| end.rolled_back_to.is_some());
    match assignment {
        Some(one) => {
            let commit = one.commit.short();
            facts.push((
                if went_back { "Back at" } else { "Assigned" },
                format!("{} from {} at {commit}, {}", one.order, one.stage, one.digest.short()),
            ));
            let releases = one.releases.iter().map(|(app, version)| format!("{app} {version}")).collect::<Vec<_>>();
            facts.push(("Releases", if releases.is_empty() { "none".to_owned() } else { releases.join(", ") }));
            let reached = if *applied == Some(one.digest) { "yes" } else { "not yet" };
            facts.push(("Reached", reached.to_owned()));
        }
        None => facts.push(("Assigned", "nothing yet".to_owned())),
    }
    if let Some(os) = os {
        facts.push(("OS", format!("{} {}", os.name.as_deref().unwrap_or("unnamed"), os.version)));
    }
    if let Some(refusal) = refused {
        facts.push(("Refused", format!("{}: {}", refusal.reason, refusal.message)));
    }
    let mut text = columns(&facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect::<Vec<_>>());
    match services {
        None => text.push_str("\nThe container engine does not answer, so nothing is known of services.\n"),
        Some(services) if services.is_empty() => {}
        Some(services) => {
            let mut rows = vec![["SERVICE", "STATE", "HEALTH", "RESTARTS", "IMAGE"].map(str::to_owned).to_vec()];
            rows.extend(services.iter().map(|(name, service)| row(name, service, now)));
            text.push('\n');
            text.push_str(&columns(&rows));
        }
    }
    if !locks.is_empty() {
        text.push('\n');
        text.push_str(&self::locks(locks, now));
    }
    if !conditions.is_empty() {
        let mut rows = vec![["CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"].map(str::to_owned).to_vec()];
        rows.extend(conditions.iter().map(|condition| condition_row(condition, now)));
        text.push('\n');
        text.push_str(&columns(&rows));
    }
    text
}

/// Locks, one a line.
pub(super) fn locks(locks: &[Lock], now: Timestamp) -> String {
    let mut rows = vec![["LOCK", "OWNER", "AGE", "KEEPS FROM HAPPENING", "REASON"].map(str::to_owned).to_vec()];
    rows.extend(locks.iter().map(|lock| {
        let place = match &lock.place {
            Place::Device => "device".to_owned(),
            Place::Service { app, service } => format!("{app}/{service}"),
        };
        let age = lock.age_secs(now).map_or_else(|| "unknown".to_owned(), show_secs);
        let scope = lock.scope.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ");
        let words = [&lock.reason, &lock.trouble].into_iter().flatten().cloned().collect::<Vec<_>>().join("; ");
        vec![place, lock.owner.clone(), age, scope, words]
    }));
    columns(&rows)
}

fn phase_of(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting for an assignment",
        Phase::Applying => "applying",
        Phase::Settled => "settled",
        Phase::Failing => "failing; it is tried again",
    }
}

fn row(name: &str, service: &LocalService, now: Timestamp) -> Vec<String> {
    let LocalService { image, state, health, restarts, told } = service;
    let state = match state {
        None => "absent".to_owned(),
        Some(ServiceState::Created) => "created".to_owned(),
        Some(ServiceState::Running) => "running".to_owned(),
        Some(ServiceState::Restarting) => "restarting".to_owned(),
        Some(ServiceState::Paused) => "paused".to_owned(),
        Some(ServiceState::Exited(code)) => format!("exited {code}"),
        Some(ServiceState::Dead) => "dead".to_owned(),
    };
    let checked = match health {
        Health::Unchecked => None,
        Health::Starting => Some("starting"),
        Health::Healthy => Some("healthy"),
        Health::Unhealthy => Some("unhealthy"),
    };
    let said = told.as_ref().map(|told| match (told.verdict, told.until) {
        (Verdict::Healthy, Some(until)) if until <= now => "silent",
        (Verdict::Healthy, _) => "says healthy",
        (Verdict::Unhealthy, _) => "says unhealthy",
    });
    let health = [checked, said].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let health = if health.is_empty() { "-".to_owned() } else { health };
    vec![
        name.to_owned(),
        state,
        health,
        restarts.to_string(),
        image.clone().unwrap_or_else(|| "not assigned".to_owned()),
    ]
}

fn condition_row(condition: &Condition, now: Timestamp) -> Vec<String> {
    let Condition { kind, status, reason, message, since } = condition;
    let status = match status {
        ConditionStatus::True => "true",
        ConditionStatus::False => "false",
        ConditionStatus::Unknown => "unknown",
    };
    vec![kind.clone(), status.to_owned(), show_secs(now.secs_since(*since)), reason.clone(), message.clone()]
}

/// Rows with every column as wide as its widest cell; the last one as wide as it is.
fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column + 1 == row.len() {
            true => cell.clone(),
            false => format!("{cell:<0$}", width(column).unwrap_or(0)),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
