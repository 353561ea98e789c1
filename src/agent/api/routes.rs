//! From a request to its answer. Nothing is decided here but which question it is.

mod locks;

use super::{Desk, Request};
use crate::domain::device::local::requests::{self, LogAsked, RequestError};
use crate::domain::device::local::{Ask, AskError, MAX_LOG_BYTES};
use crate::ports::engine::{EngineError, LogBound};
use crate::protocol::v1::messages::ErrorBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use std::time::Duration;
use tokio::sync::oneshot;

/// The longest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 4 << 10;
/// How long a body may take to come, and a log to be fetched.
const PATIENCE: Duration = Duration::from_secs(20);

type Answer = Response<Full<Bytes>>;

/// What went wrong, as the client is told.
struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: Option<&'static str>,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: None }
    }

    fn hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }
}

impl From<AskError> for Fault {
    fn from(error: AskError) -> Self {
        let message = error.to_string();
        match error {
            AskError::UnknownService(_) => Self::new(StatusCode::NOT_FOUND, "unknown-service", message)
                .hint("`bellwether-agent status` and GET /v1/status list the services"),
            AskError::AmbiguousService(_) => {
                Self::new(StatusCode::CONFLICT, "ambiguous-service", message).hint("write APP/SERVICE")
            }
            AskError::UnknownVolume(_) => Self::new(StatusCode::NOT_FOUND, "unknown-volume", message),
            AskError::TooMany => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message),
            AskError::OutOfRange { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "out-of-range", message),
        }
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "engine", error.to_string())
    }
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        let (status, code) = match error {
            RequestError::Body(_) => (StatusCode::BAD_REQUEST, "bad-body"),
            RequestError::Query(_) => (StatusCode::BAD_REQUEST, "bad-query"),
            RequestError::Service(_) => (StatusCode::BAD_REQUEST, "bad-service"),
            RequestError::Volume(_) => (StatusCode::BAD_REQUEST, "bad-volume"),
            RequestError::Wordy => (StatusCode::UNPROCESSABLE_ENTITY, "out-of-range"),
        };
        Self::new(status, code, message)
    }
}

/// Answers a request, whatever it is.
pub(super) async fn answer(request: hyper::Request<Incoming>, desk: &Desk) -> Answer {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    if path == "/v1/locks" {
        return locks::answer(request, desk).await.unwrap_or_else(refuse);
    }
    let allowed = match path.as_str() {
        "/v1/status" | "/v1/assignment" | "/v1/logs" => Method::GET,
        "/v1/check" | "/v1/purge" => Method::POST,
        "/v1/health" => Method::PUT,
        _ => {
            let fault = Fault::new(StatusCode::NOT_FOUND, "no-such-path", "there is nothing at this path");
            return refuse(fault.hint(
                "there are /v1/status, /v1/assignment, /v1/check, /v1/health, /v1/locks, /v1/logs and /v1/purge",
            ));
        }
    };
    if method != allowed {
        let message = format!("{path} takes {allowed} alone");
        let mut answer = refuse(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", message));
        if let Ok(value) = HeaderValue::from_str(allowed.as_str()) {
            answer.headers_mut().insert(ALLOW, value);
        }
        return answer;
    }
    let answered = match path.as_str() {
        "/v1/assignment" => assignment(desk).await,
        "/v1/check" => act(desk, Ask::Check).await,
        "/v1/health" => health(request, desk).await,
        "/v1/purge" => purge(request, desk).await,
        "/v1/logs" => logs(request.uri().query().unwrap_or_default(), desk).await,
        _ => status(desk).await,
    };
    answered.unwrap_or_else(refuse)
}

async fn status(desk: &Desk) -> Result<Answer, Fault> {
    json(StatusCode::OK, &ask(desk, Request::Status).await?)
}

async fn assignment(desk: &Desk) -> Result<Answer, Fault> {
    // The payload as it was signed: its digest is the assignment's, and values of secrets are not in it.
    Ok(match ask(desk, Request::Assignment).await? {
        Some(sealed) => plain(StatusCode::OK, "application/json", sealed.payload.to_string()),
        None => plain(StatusCode::NO_CONTENT, "application/json", String::new()),
    })
}

async fn act(desk: &Desk, what: Ask) -> Result<Answer, Fault> {
    ask(desk, |answer| Request::Act(what, answer)).await??;
    Ok(plain(StatusCode::NO_CONTENT, "application/json", String::new()))
}

async fn health(request: hyper::Request<Incoming>, desk: &Desk) -> Result<Answer, Fault> {
    act(desk, requests::health(&body(request).await?)?).await
}

async fn purge(request: hyper::Request<Incoming>, desk: &Desk) -> Result<Answer, Fault> {
    act(desk, requests::purge(&body(request).await?)?).await
}

async fn logs(query: &str, desk: &Desk) -> Result<Answer, Fault> {
    let LogAsked { service, lines } = requests::logs(query)?;
    let (app, service) = ask(desk, |answer| Request::Find(service, answer)).await??;
    let bound = LogBound { lines, bytes: MAX_LOG_BYTES };
    let text = tokio::time::timeout(PATIENCE, desk.engine.logs(&app, &service, bound)).await;
    let text =
        text.map_err(|_| Fault::new(StatusCode::GATEWAY_TIMEOUT, "engine", "the engine did not answer in time"))??;
    Ok(plain(StatusCode::OK, "text/plain; charset=utf-8", desk.secrets.values().conceal(&text)))
}

/// Asks the agent's loop and waits for its answer.
async fn ask<T>(desk: &Desk, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Fault> {
    let busy = || Fault::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the agent has too much to answer; try again");
    let (sender, receiver) = oneshot::channel();
    desk.requests.try_send(request(sender)).map_err(|_| busy())?;
    receiver.await.map_err(|_| Fault::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the agent is stopping"))
}

async fn body(request: hyper::Request<Incoming>) -> Result<Bytes, Fault> {
    let bad = |message: String| Fault::new(StatusCode::BAD_REQUEST, "bad-body", message);
    let collected = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), MAX_BODY_BYTES).collect()).await;
    let collected = collected.map_err(|_| bad("the body did not come in time".to_owned()))?;
    let broken = |_| bad(format!("the body broke off or is longer than {MAX_BODY_BYTES} bytes"));
    Ok(collected.map_err(broken)?.to_bytes())
}

fn json(status: StatusCode, value: &impl Serialize) -> Result<Answer, Fault> {
    let text = serde_json::to_string(value)
        .map_err(|error| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    Ok(plain(status, "application/json", text))
}

fn plain(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn refuse(Fault { status, code, message, hint }: Fault) -> Answer {
    let body = ErrorBody { code: code.to_owned(), message, hint: hint.map(str::to_owned) };
    let text = serde_json::to_string(&body).unwrap_or_default();
    plain(status, "application/json", text)
}
