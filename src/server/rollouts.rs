//! Rollouts: reading how they stand, and asking something of them.

use super::Shared;
use super::auth::Operator;
use super::errors::Refused;
use super::request::{Body, Named};
use crate::clock;
use crate::controller::owner::CommandError;
use crate::domain::acts::operator::{ActError, check_reason};
use crate::domain::fleet::Change;
use crate::domain::ids::RolloutName;
use crate::domain::overview::rollouts::{RolloutDetail, RolloutRow, detail, rows};
use crate::domain::plan::pass::PassInput;
use crate::domain::rollout::machine::{Acknowledge, Act, Which};
use crate::protocol::v1::operator::{Done, RolloutAsk, RolloutRequest};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

async fn look<T: Send + 'static>(
    server: Shared,
    look: impl FnOnce(&PassInput<'_>) -> T + Send + 'static,
) -> Result<T, Refused> {
    let looked = tokio::task::spawn_blocking(move || {
        let world = server.world.read();
        look(&PassInput { contacts: &*server.published, ..world.pass_input(&server.options, clock::now()) })
    });
    looked.await.map_err(|_| {
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the controller failed at this request")
    })
}

/// `GET /v1/rollouts`
pub async fn list(State(server): State<Shared>, _: Operator) -> Result<Json<Vec<RolloutRow>>, Refused> {
    Ok(Json(look(server, rows).await?))
}

/// `GET /v1/rollouts/{rollout}`
pub async fn one(
    State(server): State<Shared>,
    _: Operator,
    Named(name): Named<RolloutName>,
) -> Result<Json<RolloutDetail>, Refused> {
    let found = look(server, {
        let name = name.clone();
        move |input| detail(input, &name)
    })
    .await?;
    found.map(Json).ok_or_else(|| {
        Refused::new(StatusCode::NOT_FOUND, "unknown-rollout", format!("there is no rollout {name}"))
            .hint("`bellwether rollouts` lists all")
    })
}

/// `POST /v1/rollouts/{rollout}`
pub async fn ask(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Named(name): Named<RolloutName>,
    Body(RolloutRequest { ask, reason }): Body<RolloutRequest>,
) -> Result<Json<Done>, Refused> {
    check_reason(&reason).map_err(|error: ActError| CommandError::from(error))?;
    let act = match ask {
        RolloutAsk::Approve => Act::Approve,
        RolloutAsk::Pause { until } => Act::Pause { until },
        RolloutAsk::Resume => Act::Resume { acknowledge: Acknowledge::Nothing },
        RolloutAsk::ResumeAcknowledging => Act::Resume { acknowledge: Acknowledge::Failures },
        RolloutAsk::Abort => Act::Abort,
        RolloutAsk::Retry { devices } if devices.is_empty() => {
            let message = "no devices to retry are named";
            return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "malformed", message)
                .hint("`retry-failed` asks for all that failed"));
        }
        RolloutAsk::RetryFailed => Act::Retry(Which::Failed),
        RolloutAsk::Lift => Act::Lift,
        RolloutAsk::Retry { devices } => Act::Retry(Which::Devices(devices)),
        RolloutAsk::Rollback => Act::Rollback,
    };
    let changes = server.owner.rollout(actor, name, act, reason).await?;
    let events = changes.into_iter().filter_map(|change| match change {
        Change::Event(event) => Some(event),
        _ => None,
    });
    Ok(Json(Done { events: events.collect() }))
}
