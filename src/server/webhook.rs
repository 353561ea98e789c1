//! Webhooks of the forge. The signature is checked over the bytes as they came, before anything reads them; what they hint at makes the
//! controller look at the fleet repo, and no word of theirs goes further.

use super::Shared;
use super::errors::{Refused, no_route};
use crate::domain::forge::hook::{Deliveries, Delivery, Hint, hint};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse as _;
use std::sync::{Mutex, PoisonError};

/// Whether a signature is that of a body.
pub type Verify = Box<dyn Fn(&str, &[u8]) -> bool + Send + Sync>;

/// What the endpoint needs.
pub struct Hooks {
    verify: Verify,
    repository: String,
    deliveries: Mutex<Deliveries>,
}

impl Hooks {
    /// Takes webhooks of this repository whose signature this one accepts.
    pub fn new(repository: &str, verify: Verify) -> Self {
        Self { verify, repository: repository.to_owned(), deliveries: Mutex::default() }
    }
}

/// `POST /v1/webhook`: something may have changed on the forge.
pub async fn webhook(State(server): State<Shared>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let Some(hooks) = &server.hooks else { return no_route().await.into_response() };
    match take(&server, hooks, &headers, &body) {
        Ok(what) => (StatusCode::ACCEPTED, what).into_response(),
        Err(refused) => refused.into_response(),
    }
}

fn take(server: &Shared, hooks: &Hooks, headers: &HeaderMap, body: &[u8]) -> Result<&'static str, Refused> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let unsigned = || {
        Refused::new(
            StatusCode::UNAUTHORIZED,
            "bad-signature",
            "the webhook is not signed with the secret that is known here",
        )
        .hint("give the forge the secret that `forge.webhook_secret_file` names")
    };
    let signature = header("x-hub-signature-256").ok_or_else(unsigned)?;
    if !(hooks.verify)(signature, body) {
        return Err(unsigned());
    }
    let delivery = header("x-github-delivery").unwrap_or_default();
    let event = header("x-github-event").unwrap_or_default();
    let is_json = header("content-type").is_some_and(|kind| kind.split(';').next() == Some("application/json"));
    if !is_json {
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "the webhook's body is not JSON")
            .hint("set the webhook's content type to application/json"));
    }
    // A panic elsewhere cannot leave the list half written.
    let taken = hooks.deliveries.lock().unwrap_or_else(PoisonError::into_inner).take(delivery);
    match taken {
        Delivery::New => {}
        Delivery::Again => return Ok("known\n"),
        Delivery::Nameless => {
            return Err(Refused::new(StatusCode::BAD_REQUEST, "no-delivery", "the webhook has no id of a delivery"));
        }
    }
    let stages = server.options.stage_names();
    let hinted = hint(event, body, &hooks.repository, &stages)
        .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, "bad-event", error.to_string()))?;
    Ok(match hinted {
        Hint::Moved(stage) => {
            tracing::info!(%stage, "the forge says that a branch has moved; it is looked at now");
            server.watcher.wake();
            "looking\n"
        }
        Hint::Nothing => "nothing to do\n",
    })
}
