//! Update locks through the local API: the same files that a shell could write.

use super::{Answer, Desk, Fault, body, json, plain};
use crate::agent::locks::LockError;
use crate::clock;
use crate::domain::device::local::ServicePath;
use crate::domain::device::local::requests::{LockAsked, lock};
use crate::domain::device::locks::Place;
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use tokio::sync::oneshot;

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
            let LockAsked { service, text } = lock(&body(request).await?)?;
            let place = place(service, desk).await?;
            desk.locks.take(&place, &text, clock::now())?;
            done(desk).await
        }
        Method::DELETE => {
            let LockAsked { service, text } = lock(&body(request).await?)?;
            let place = place(service, desk).await?;
            desk.locks.release(&place, text.owner.as_deref(), clock::now())?;
            done(desk).await
        }
        _ => {
            let message = "/v1/locks takes GET, PUT and DELETE alone";
            Err(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", message))
        }
    }
}

async fn place(service: Option<ServicePath>, desk: &Desk) -> Result<Place, Fault> {
    let Some(path) = service else { return Ok(Place::Device) };
    let find = |answer: oneshot::Sender<_>| super::Request::Find(path, answer);
    let (app, service) = super::ask(desk, find).await??;
    Ok(Place::Service { app, service })
}

/// What waits for a lock, or is to be told of one, need not wait for the next look.
async fn done(desk: &Desk) -> Result<Answer, Fault> {
    super::act(desk, crate::domain::device::local::Ask::Check).await?;
    Ok(plain(StatusCode::NO_CONTENT, "application/json", String::new()))
}
