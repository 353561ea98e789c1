//! Metrics, without a label per device, and readiness.

use super::Shared;
use super::errors::Refused;
use crate::clock;
use crate::domain::overview::OverviewInput;
use crate::domain::overview::status::status;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU64, Ordering};

/// `GET /readyz`: whether every configured stage's commit is known, so that answers are about the whole fleet.
pub async fn readyz(State(server): State<Shared>) -> Result<&'static str, Refused> {
    let world = server.world.read();
    let contact = world.repo.last_contact.is_some();
    let unread = server.options.stages.iter().find(|policy| {
        let accepted = world.state.stages.get(&policy.name).is_some_and(|record| record.accepted.is_some());
        accepted && world.pass_input(&server.options, clock::now()).accepted(&policy.name).is_none()
    });
    match (contact, unread) {
        (true, None) => Ok("ready\n"),
        (false, _) => {
            Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "the fleet repo has not been reached yet"))
        }
        (true, Some(policy)) => Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            format!("the commit of stage {} has not been read yet", policy.name),
        )),
    }
}

type ByStage = Family<Vec<(String, String)>, Gauge>;

/// `GET /metrics`, in the OpenMetrics text format.
pub async fn metrics(State(server): State<Shared>) -> Result<impl IntoResponse, Refused> {
    let text = tokio::task::spawn_blocking(move || render(&server)).await.ok().flatten();
    let text = text.ok_or_else(|| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no metrics"))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

fn render(server: &Shared) -> Option<String> {
    let mut registry = Registry::with_prefix("bellwether");
    let counters = &server.counters;
    let mut counter = |name: &str, help: &str, value: &AtomicU64| {
        let metric: Counter = Counter::default();
        metric.inc_by(value.load(Ordering::Relaxed));
        registry.register(name, help, metric);
    };
    counter("passes", "Passes run", &counters.passes);
    counter("transactions", "Transactions written", &counters.transactions);
    counter("changes", "Changes written", &counters.changes);
    counter("assignments", "Assignments made", &counters.assignments);
    counter("reports", "Reports recorded", &counters.reports);
    counter("stale_reports", "Reports ignored as stale", &counters.stale_reports);
    counter("refused_requests", "Requests refused", &counters.refused);
    counter("store_failures", "Transactions that failed", &counters.store_failures);
    counter("panics", "Panics that were caught", &counters.panics);
    let polls: Gauge = Gauge::default();
    polls.set(whole(server.published.open_polls.load(Ordering::Relaxed)));
    registry.register("open_polls", "Polls that are held open", polls);

    let last_seen = server.published.all_last_seen();
    let now = clock::now();
    let world = server.world.read();
    let repo: Gauge = Gauge::default();
    repo.set(i64::from(world.repo.unavailable.is_none() && world.repo.last_contact.is_some()));
    registry.register("repo_available", "Whether the fleet repo answered at the last look", repo);
    let status = status(&OverviewInput {
        pass: world.pass_input(&server.options, now),
        last_seen: &last_seen,
        offline_after_secs: server.options.offline_after_secs,
    });
    drop(world);
    let devices = ByStage::default();
    let held = ByStage::default();
    for stage in &status.stages {
        let label =
            |state: &str| vec![("stage".to_owned(), stage.stage.to_string()), ("state".to_owned(), state.to_owned())];
        for (state, count) in [
            ("owned", stage.devices),
            ("settled", stage.settled),
            ("failing", stage.failing),
            ("offline", stage.offline),
            ("drifted", stage.drifted),
            ("unknown", stage.unknown),
        ] {
            devices.get_or_create(&label(state)).set(whole(count as u64));
        }
        held.get_or_create(&vec![("stage".to_owned(), stage.stage.to_string())])
            .set(i64::from(stage.waiting.is_some()));
    }
    registry.register("devices", "Devices of a stage, by state", devices);
    registry.register("commit_waiting", "Whether a newer commit of the stage does not count yet", held);
    for (name, help, count) in [
        ("devices_in_transit", "Devices that no stage claims", status.in_transit.len()),
        ("devices_unmanaged", "Devices that no stage lists", status.unmanaged.len()),
        ("devices_pending", "Devices that wait for approval", status.pending.len()),
        ("devices_in_conflict", "Devices that need a person", status.conflicts.len()),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(whole(count as u64));
        registry.register(name, help, gauge);
    }
    let mut text = String::new();
    encode(&mut text, &registry).ok()?;
    Some(text)
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
