//! Core dumps that devices attach to a failure.

use super::Shared;
use super::auth::{Device, Operator};
use super::errors::Refused;
use super::request::{Asked, Named};
use crate::clock;
use crate::domain::device::dump::{CoreDump, DumpName, MAX_DUMP_BYTES};
use crate::domain::device::terminal::TerminalFailure;
use crate::domain::ids::DeviceId;
use crate::protocol::v1::messages::DumpAnswer;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::io::Read as _;

/// Which part of which dump.
#[derive(Debug, Deserialize)]
pub struct Part {
    /// The dump, as the failure names it.
    name: DumpName,
    /// Where the part begins.
    from: u64,
}

/// `PUT /v1/core-dump`
pub async fn take(
    State(server): State<Shared>,
    Device(slot): Device,
    Asked(Part { name, from }): Asked<Part>,
    part: Bytes,
) -> Result<Json<DumpAnswer>, Refused> {
    slot.seen(clock::now());
    let device = slot.device.clone();
    let named = named_by(&server, &device).filter(|(_, dump)| dump.name == name);
    let (failure, dump) = named.ok_or_else(|| {
        Refused::new(StatusCode::NOT_FOUND, "no-such-dump", "the device's newest report names no such core dump")
    })?;
    if !dump.is_sent() {
        let message = format!("core dumps of 1 to {MAX_DUMP_BYTES} bytes are taken");
        return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message));
    }
    let taken = tokio::task::spawn_blocking(move || server.dumps.take(&device, &failure, &dump, from, &part));
    match taken.await {
        Ok(Ok(have)) => Ok(Json(DumpAnswer { have })),
        Ok(Err(error)) => {
            tracing::warn!(device.id = %slot.device, %error, "a core dump could not be kept");
            Err(unwritable())
        }
        Err(_) => Err(unwritable()),
    }
}

/// `GET /v1/devices/{device}/core-dump`
pub async fn one(State(server): State<Shared>, _: Operator, Named(device): Named) -> Result<Response, Refused> {
    let absent = match named_by(&server, &device) {
        Some((_, dump)) if dump.is_sent() => "its failure names one that has not come yet",
        Some(_) => "its failure names one that is too large to be sent",
        None => "it has sent none",
    };
    let asked = device.clone();
    let found = tokio::task::spawn_blocking(move || {
        let mut content = Vec::new();
        let file = server.dumps.of(&asked)?;
        file.map(|file| file.take(MAX_DUMP_BYTES).read_to_end(&mut content).map(|_| content)).transpose()
    });
    match found.await {
        Ok(Ok(Some(content))) => {
            Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from(content)).into_response())
        }
        Ok(Ok(None)) => {
            let message = format!("there is no core dump of device {device}: {absent}");
            Err(Refused::new(StatusCode::NOT_FOUND, "no-core-dump", message)
                .hint("agents send one with a failure if `core_dumps` of their configuration says where the device leaves them"))
        }
        Ok(Err(error)) => {
            tracing::warn!(device.id = %device, %error, "a core dump could not be read");
            Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", "the core dump cannot be read"))
        }
        Err(_) => Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", "the core dump cannot be read")),
    }
}

/// The dump that a device's newest report names.
fn named_by(server: &Shared, device: &DeviceId) -> Option<(TerminalFailure, CoreDump)> {
    let world = server.world.read();
    let failure = world.state.devices.get(device)?.reported.as_ref()?.report.failure.clone()?;
    let dump = failure.core_dump.clone()?;
    Some((failure, dump))
}

fn unwritable() -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "unwritable", "the core dump cannot be kept now").retry_after(600)
}
