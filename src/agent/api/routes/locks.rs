//! Update locks through the local API: the same files that a shell could write.

use super::{Answer, Desk, Fault, body, json, plain};
use crate::agent::locks::LockError;
use crate::clock;
use crate::domain::device::local::ServicePath;
use crate::domain::device::locks::{LockText, Place, Scope};
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// The longest owner or reason, in bytes.
const MAX_WORDS_BYTES: usize = 200;

/// The body of `PUT` and `DELETE /v1/locks`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockBody {
    /// `None` is the device's lock.
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    scope: Option<BTreeSet<Scope>>,
}

impl From<LockError> for Fault {
    fn from(error: LockError) -> Self {
        let message = error.to_string();
        match error {
            LockError::Held(..) => Self::new(StatusCode::CONFLICT, "locked", message),
            LockError::NotHeld(_) => Self::new(StatusCode::NOT_FOUND, "not-locked", message),
            LockError::File { .. } => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "lock-file", message),
        }
    }
}

pub(super) async fn answer(request: hyper::Request<Incoming>, desk: &Desk) -> Result<Answer, Fault> {
    match *request.method() {
        Method::GET => json(StatusCode::OK, &desk.locks.look().held),
        Method::PUT => {
            let LockBody { service, owner, reason, scope } = body(request).await?;
            let place = place(service, desk).await?;
            let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > MAX_WORDS_BYTES);
            if long(&owner) || long(&reason) {
                let message = "owner and reason must have at most 200 bytes";
                return Err(Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "out-of-range", message));
            }
            desk.locks.take(&place, &LockText { owner, scope, reason }, clock::now())?;
            done(desk).await
        }
        Method::DELETE => {
            let LockBody { service, owner, .. } = body(request).await?;
            let place = place(service, desk).await?;
            desk.locks.release(&place, owner.as_deref(), clock::now())?;
            done(desk).await
        }
        _ => {
            let message = "/v1/locks takes GET, PUT and DELETE alone";
            Err(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", message))
        }
    }
}

async fn place(service: Option<String>, desk: &Desk) -> Result<Place, Fault> {
    let Some(service) = service else { return Ok(Place::Device) };
    let path: ServicePath = super::path_of(&service)?;
    let find = |answer: oneshot::Sender<_>| super::Request::Find(path, answer);
    let (app, service) = super::ask(desk, find).await??;
    Ok(Place::Service { app, service })
}

/// What waits for a lock, or is to be told of one, need not wait for the next look.
async fn done(desk: &Desk) -> Result<Answer, Fault> {
    super::act(desk, crate::domain::device::local::Ask::Check).await?;
    Ok(plain(StatusCode::NO_CONTENT, "application/json", String::new()))
}
