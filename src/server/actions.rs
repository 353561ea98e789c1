//! The operators' side of device actions.

use super::Shared;
use super::auth::Operator;
use super::errors::Refused;
use super::operator::act;
use super::request::{Body, Named};
use crate::clock;
use crate::domain::acts::actions::{NewAction, cancel, request};
use crate::domain::ids::DeviceId;
use crate::domain::overview::actions::DeviceActions;
use crate::protocol::v1::operator::{ActionRequest, CancelRequest, Done};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

/// `GET /v1/devices/{device}/actions`
pub async fn list(
    State(server): State<Shared>,
    _: Operator,
    Named(device): Named,
) -> Result<Json<DeviceActions>, Refused> {
    let unknown = |device: &DeviceId| {
        Refused::new(StatusCode::NOT_FOUND, "unknown-device", format!("device {device} is not known"))
            .hint("`bellwether devices` lists all")
    };
    let world = server.world.read();
    let record = world.state.devices.get(&device).ok_or_else(|| unknown(&device))?;
    Ok(Json(DeviceActions::of(record, clock::now())))
}

/// `POST /v1/devices/{device}/actions`
pub async fn ask(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Named(device): Named,
    Body(ActionRequest { action, locks, reason, valid_secs }): Body<ActionRequest>,
) -> Result<Json<Done>, Refused> {
    let new = NewAction { action, locks, reason, valid_secs };
    act(&server, actor, Box::new(move |state, _, acting| request(state, &device, new, acting))).await
}

/// `POST /v1/devices/{device}/actions/cancel`
pub async fn take_back(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Named(device): Named,
    Body(CancelRequest { number }): Body<CancelRequest>,
) -> Result<Json<Done>, Refused> {
    act(&server, actor, Box::new(move |state, _, acting| cancel(state, &device, number, acting))).await
}
