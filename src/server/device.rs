//! The device plane: enroll, fetch the assignment, report.

use super::Shared;
use super::auth::Device;
use super::errors::Refused;
use super::request::{Asked, Body};
use crate::clock;
use crate::controller::published::Slot;
use crate::domain::actions::tag;
use crate::domain::assignment::Assignment;
use crate::domain::digest::hex;
use crate::domain::reported::Report;
use crate::protocol::v1::actions::{self, ACTIONS_HEADER, ActionsStatement};
use crate::protocol::v1::envelope::{Statement, sign};
use crate::protocol::v1::messages::{EnrollAnswer, EnrollRequest, MAX_WAIT_SECS, RECORDED_HEADER, ReportAnswer};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many polls are held open at once. Each costs a few kilobytes; more devices than this want a second controller.
const MAX_OPEN_POLLS: u64 = 200_000;

/// `POST /v1/enroll`
pub async fn enroll(
    State(server): State<Shared>,
    Body(request): Body<EnrollRequest>,
) -> Result<Json<EnrollAnswer>, Refused> {
    let status = server.owner.enroll(request).await?;
    server.watcher.lists_changed();
    Ok(Json(EnrollAnswer {
        status,
        fleet: server.options.fleet.clone(),
        public_key: hex(server.key.verifying_key().as_bytes()),
    }))
}

/// How long a poll wants to wait.
#[derive(Debug, Deserialize)]
pub struct Wait {
    /// Seconds, at most [`MAX_WAIT_SECS`]; 0 answers at once.
    #[serde(default)]
    wait: u64,
}

/// `GET /v1/assignment`
pub async fn assignment(
    State(server): State<Shared>,
    Device(slot): Device,
    Asked(Wait { wait }): Asked<Wait>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let answer = answer_poll(&server, &slot, wait, &headers).await?;
    let recorded = slot.recorded().to_string();
    Ok(([(HeaderName::from_static(RECORDED_HEADER), recorded)], answer).into_response())
}

async fn answer_poll(server: &Shared, slot: &Arc<Slot>, wait: u64, headers: &HeaderMap) -> Result<Response, Refused> {
    slot.seen(clock::now());
    let known =
        headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).map(|tag| tag.trim_matches('"'));
    let actions = headers.get(ACTIONS_HEADER).and_then(|value| value.to_str().ok());
    let news = slot.news.notified();
    tokio::pin!(news);
    // Listen before looking, so that nothing published in between is missed.
    news.as_mut().enable();
    if let Some(response) = fresh(server, slot, known).or_else(|| listed(server, slot, actions)) {
        return Ok(response);
    }
    if wait > 0 {
        let _open = OpenPoll::begin(&server.published.open_polls)?;
        let longest = Duration::from_secs(wait.min(MAX_WAIT_SECS));
        tokio::select! {
            () = news => {}
            () = server.stopping.cancelled() => {}
            () = tokio::time::sleep(longest) => {}
        }
        slot.seen(clock::now());
        if let Some(response) = fresh(server, slot, known).or_else(|| listed(server, slot, actions)) {
            return Ok(response);
        }
    }
    let assigned = slot.assignment.load_full();
    let has_something = assigned.is_some_and(|one| known.is_some() || serves(server, &one));
    let unchanged = if has_something { StatusCode::NOT_MODIFIED } else { StatusCode::NO_CONTENT };
    Ok(unchanged.into_response())
}

/// The assignment, signed now, if it is not the one that the device has.
fn fresh(server: &Shared, slot: &Arc<Slot>, known: Option<&str>) -> Option<Response> {
    let assignment = slot.assignment.load_full()?;
    let etag = assignment.mark().etag();
    // What a rollout offered and the device has not acknowledged is only handed out while the rollout goes on.
    if known == Some(etag.as_str()) || !serves(server, &assignment) {
        return None;
    }
    let secrets = match server.vault.values(&assignment.spec.spec) {
        Ok(secrets) => secrets,
        Err(missing) => {
            // Nothing is delivered with a gap in it: the device keeps what it has until the value is there.
            tracing::warn!(device.id = %slot.device, secret = %missing, "an assignment waits for the value of a secret");
            return None;
        }
    };
    let statement = Statement { secrets, ..Statement::of(&server.options.fleet, &assignment, clock::now()) };
    let envelope = sign(&statement, &server.key);
    Some(([(header::ETAG, format!("\"{etag}\""))], Json(envelope)).into_response())
}

fn serves(server: &Shared, assignment: &Assignment) -> bool {
    assignment.rollout.is_none() || server.world.read().state.serves(assignment)
}

/// The open actions, signed now, if they are not those that the device has. An agent that does not say which it has knows none.
fn listed(server: &Shared, slot: &Arc<Slot>, known: Option<&str>) -> Option<Response> {
    let known = known?;
    let now = clock::now();
    let open = slot.actions.load().as_ref().map(|actions| actions.open(now)).unwrap_or_default();
    let tag = tag(&open);
    if known == tag {
        return None;
    }
    let statement = ActionsStatement::of(&server.options.fleet, &slot.device, open, now);
    let envelope = actions::sign(&statement, &server.key);
    Some(([(HeaderName::from_static(ACTIONS_HEADER), tag)], Json(envelope)).into_response())
}

/// Counts a poll as open for as long as it lives.
struct OpenPoll<'a>(&'a AtomicU64);

impl<'a> OpenPoll<'a> {
    fn begin(open: &'a AtomicU64) -> Result<Self, Refused> {
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_OPEN_POLLS {
            open.fetch_sub(1, Ordering::Relaxed);
            let refused = Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-polls", "too many polls are open");
            return Err(refused.retry_after(30));
        }
        Ok(Self(open))
    }
}

impl Drop for OpenPoll<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `POST /v1/report`
pub async fn report(
    State(server): State<Shared>,
    Device(slot): Device,
    Body(report): Body<Report>,
) -> Result<Json<ReportAnswer>, Refused> {
    slot.seen(clock::now());
    Ok(Json(server.owner.report(slot.device.clone(), report).await?))
}
