//! What a request to the local API says, from its query and body on. Anybody who may open the socket makes them up.

use super::{Ask, MAX_LOG_LINES, ServicePath, ServicePathError, Verdict, VolumePath, VolumePathError};
use crate::domain::device::locks::{LockText, Scope};
use serde::Deserialize;
use std::collections::BTreeSet;

/// How many lines of a log are given if nobody says.
const USUAL_LOG_LINES: u32 = 100;
/// The longest owner or reason of a lock, in bytes.
const MAX_WORDS_BYTES: usize = 200;

/// Why a request is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The body is not JSON of the right shape.
    #[error("the body is not what is expected: {0}")]
    Body(String),
    /// The query is not what is expected.
    #[error("{0}")]
    Query(&'static str),
    /// Something is not the name of a service.
    #[error(transparent)]
    Service(#[from] ServicePathError),
    /// Something is not the name of a volume.
    #[error(transparent)]
    Volume(#[from] VolumePathError),
    /// A lock says too much.
    #[error("owner and reason must have at most {MAX_WORDS_BYTES} bytes")]
    Wordy,
}

/// A lock that is taken or given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockAsked {
    /// The service; `None` is the device's lock.
    pub service: Option<ServicePath>,
    /// What the lock says. Its owner alone counts where it is given back.
    pub text: LockText,
}

/// Lines of a log that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogAsked {
    /// The service.
    pub service: ServicePath,
    /// How many, 1 to [`MAX_LOG_LINES`].
    pub lines: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthBody {
    service: String,
    status: Verdict,
    #[serde(default)]
    message: String,
    #[serde(default)]
    for_secs: Option<u32>,
}

/// It names the volume, so that nobody purges one by a slip of the path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeBody {
    volume: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockBody {
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    scope: Option<BTreeSet<Scope>>,
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RequestError> {
    serde_json::from_slice(body).map_err(|error| RequestError::Body(error.to_string()))
}

/// The body of `PUT /v1/health`.
pub fn health(body: &[u8]) -> Result<Ask, RequestError> {
    let HealthBody { service, status, message, for_secs } = read(body)?;
    Ok(Ask::TellHealth { service: service.parse()?, verdict: status, message, for_secs })
}

/// The body of `POST /v1/purge`.
pub fn purge(body: &[u8]) -> Result<Ask, RequestError> {
    let PurgeBody { volume } = read(body)?;
    let volume: VolumePath = volume.parse()?;
    Ok(Ask::Purge(volume))
}

/// The body of `PUT` and `DELETE /v1/locks`.
pub fn lock(body: &[u8]) -> Result<LockAsked, RequestError> {
    let LockBody { service, owner, reason, scope } = read(body)?;
    let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > MAX_WORDS_BYTES);
    if long(&owner) || long(&reason) {
        return Err(RequestError::Wordy);
    }
    let service = service.map(|service| service.parse()).transpose()?;
    Ok(LockAsked { service, text: LockText { owner, scope, reason } })
}

/// The query of `GET /v1/logs`.
pub fn logs(query: &str) -> Result<LogAsked, RequestError> {
    let (mut service, mut lines) = (None, USUAL_LOG_LINES);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("service", value)) => service = Some(value.replace("%2F", "/").parse()?),
            Some(("lines", value)) => {
                let number = value.parse().ok().filter(|number| (1..=MAX_LOG_LINES).contains(number));
                lines = number.ok_or(RequestError::Query("lines must be from 1 to 5000"))?;
            }
            Some(_) | None => return Err(RequestError::Query("the query has service and lines, and nothing else")),
        }
    }
    let service = service.ok_or(RequestError::Query("say which service: ?service=APP/SERVICE"))?;
    Ok(LogAsked { service, lines })
}
