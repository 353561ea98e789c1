//! Asking a running agent through its socket.

use crate::protocol::v1::messages::ErrorBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// The longest answer that is read, in bytes: a status or an assignment of the largest spec.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// How long an answer may take: as long as the agent gives the engine for a log, and a little.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Why the agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskingError {
    /// Nobody listens at the socket.
    #[error(
        "no agent answers at {path}. If it should run, start it (`systemctl start bellwether-agent`); if it runs and still \
         waits to be let into its fleet, its log says so (`journalctl -u bellwether-agent`); if it uses another state \
         directory or socket, say so with --state-dir or --api-socket"
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The user may not.
    #[error("the socket {path} may not be used by this user: use the agent's user, or a member of its `api_group`")]
    Forbidden {
        /// The socket.
        path: PathBuf,
    },
    /// The local API is turned off.
    #[error("the agent's settings turn the local API off (`api_socket` is `none`)")]
    TurnedOff,
    /// It broke off.
    #[error("the agent's answer broke off: {0}")]
    Broken(String),
    /// It said no.
    #[error("the agent says: {message}{hint}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// What to do about it, in brackets, or nothing.
        hint: String,
    },
}

/// Sends one request and returns the answer's body; `None` for an answer without one.
pub async fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<String>,
) -> Result<Option<String>, AskingError> {
    match tokio::time::timeout(ANSWER_LIMIT, asked(socket, method, path, body)).await {
        Ok(answer) => answer,
        Err(_) => Err(AskingError::Broken(format!("nothing came for {} seconds", ANSWER_LIMIT.as_secs()))),
    }
}

async fn asked(socket: &Path, method: Method, path: &str, body: Option<String>) -> Result<Option<String>, AskingError> {
    let broken = |error: hyper::Error| AskingError::Broken(error.to_string());
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => AskingError::Forbidden { path: socket.to_owned() },
        _ => AskingError::NotRunning { path: socket.to_owned() },
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "agent")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(|error| AskingError::Broken(error.to_string()))?;
    // The connection ends with the answer: nothing is asked twice.
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    let bytes = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    driving.abort();
    let bytes = bytes.map_err(|error| AskingError::Broken(error.to_string()))?.to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if status.is_success() {
        return Ok(Some(text).filter(|text| !text.is_empty()));
    }
    let body = serde_json::from_str(&text).unwrap_or(ErrorBody {
        code: String::new(),
        message: format!("{status}"),
        hint: None,
    });
    let hint = body.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    Err(AskingError::Refused { status: status.as_u16(), message: body.message, hint })
}
