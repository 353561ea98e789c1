//! One request at a time, with bounds: on time, on bytes, on tries, on waiting.
//!
//! octocrab knows GitHub: addresses, headers, logins, what an error says. What it leaves open is here.

use super::GitHubError;
use super::login::Token;
use crate::clock;
use crate::ports::forge::ForgeError;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use octocrab::Octocrab;
use reqwest::header::{ACCEPT, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Client, StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one request may take in all: a page of long comments over a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request is made.
const MAX_TRIES: u32 = 4;
/// The longest time that is waited for before a request is made again, in seconds. GitHub asks for a minute when many requests come
/// at once; what takes longer is told to whoever waits.
const MAX_WAIT_SECS: u64 = 75;
/// How long is waited where a limit is met and no time is named, in seconds: what GitHub advises.
const USUAL_WAIT_SECS: u64 = 60;
/// The longest answer that is read, in bytes: 100 comments of 64 Ki characters each.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// The longest error that is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// How much of a forge's own words is shown, in characters.
const MAX_SHOWN_CHARS: usize = 300;
/// How many answers are kept, so that asking again costs nothing of the limit while nothing has changed.
const MAX_KEPT: usize = 32;
/// The longest answer that is kept, in bytes.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// When a request may be made again of which no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Always: twice is the same as once.
    Always,
    /// Only if it was certainly not carried out.
    IfNotSent,
}

/// How something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Something new.
    Post,
    /// Something in another form.
    Patch,
}

/// The way to the API.
pub(super) struct Requests {
    octocrab: Octocrab,
    runtime: Runtime,
    /// Answers by address, with the marks by which GitHub tells that they have not changed. Only whole successes: octocrab's own
    /// cache also keeps errors and what came of an answer before the connection broke.
    kept: BTreeMap<String, (HeaderValue, Bytes)>,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
enum Sent<'a> {
    Get,
    Body(Method, &'a Value),
}

/// What octocrab answers with.
type Answer = axum::http::Response<BoxBody<Bytes, octocrab::Error>>;

/// What became of one try.
enum Tried {
    Done(Bytes),
    Failed(ForgeError),
    /// Nothing was carried out, and after so many seconds it can be tried again.
    Later(u64, ForgeError),
}

impl Requests {
    pub(super) fn new(api: &Url) -> Result<Self, GitHubError> {
        let library = |error: Box<dyn StdError + Send + Sync>| GitHubError::Library(error);
        // The program has chosen one already, and a test may not have.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A repository that has moved is told, not followed: the token is for one host.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| library(Box::new(error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| library(Box::new(error)))?;
        // It starts a task that hands requests on.
        let entered = runtime.enter();
        let octocrab = Octocrab::builder()
            .base_uri(api.as_str())
            .map_err(|error| library(Box::new(error)))?
            .add_header(ACCEPT, "application/vnd.github+json, application/json".to_owned())
            .build_with_reqwest(client)
            .map_err(|error| library(Box::new(error)))?;
        drop(entered);
        Ok(Self { octocrab, runtime, kept: BTreeMap::new() })
    }

    pub(super) fn get<T: DeserializeOwned>(
        &mut self,
        token: &Token,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ForgeError> {
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", super::segment(value))).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let address = format!("/{path}{mark}{}", query.join("&"));
        read(&self.ask(token, &address, Sent::Get, Again::Always)?)
    }

    pub(super) fn send<T: DeserializeOwned>(
        &mut self,
        token: &Token,
        method: Method,
        path: &str,
        body: &Value,
        again: Again,
    ) -> Result<T, ForgeError> {
        read(&self.ask(token, &format!("/{path}"), Sent::Body(method, body), again)?)
    }

    fn ask(&mut self, token: &Token, address: &str, sent: Sent<'_>, again: Again) -> Result<Bytes, ForgeError> {
        let Self { octocrab, runtime, kept } = self;
        let refused = |_| ForgeError::Denied { reason: "the token cannot be sent".to_owned() };
        let octocrab = octocrab.user_access_token(token.secret()).map_err(refused)?;
        runtime.block_on(async {
            let mut tries = 1;
            loop {
                let (wait_secs, error) = match once(&octocrab, kept, address, sent, again).await {
                    Tried::Done(bytes) => return Ok(bytes),
                    Tried::Failed(error) => return Err(error),
                    Tried::Later(wait_secs, error) => (wait_secs, error),
                };
                if tries == MAX_TRIES || wait_secs > MAX_WAIT_SECS {
                    return Err(error);
                }
                // Longer each time, for what names no time itself.
                tokio::time::sleep(Duration::from_secs(wait_secs.max(1 << (tries - 1)))).await;
                tries += 1;
            }
        })
    }
}

async fn once(
    octocrab: &Octocrab,
    kept: &mut BTreeMap<String, (HeaderValue, Bytes)>,
    address: &str,
    sent: Sent<'_>,
    again: Again,
) -> Tried {
    let before = kept.get(address);
    let answered = match sent {
        Sent::Get => {
            let marks = before.map(|(mark, _)| HeaderMap::from_iter([(IF_NONE_MATCH, mark.clone())]));
            octocrab._get_with_headers(address, marks).await
        }
        Sent::Body(Method::Post, body) => octocrab._post(address, Some(body)).await,
        Sent::Body(Method::Patch, body) => octocrab._patch(address, Some(body)).await,
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => {
            let unsent = cause(&error).is_some_and(reqwest::Error::is_connect);
            let error = ForgeError::Unavailable { reason: in_words(&error) };
            return if unsent || again == Again::Always { Tried::Later(0, error) } else { Tried::Failed(error) };
        }
    };
    let status = answer.status();
    if let (StatusCode::NOT_MODIFIED, Some((_, bytes))) = (status, before) {
        return Tried::Done(bytes.clone());
    }
    let mark = answer.headers().get(ETAG).cloned();
    let most = if status.is_success() { MAX_ANSWER_BYTES } else { MAX_ERROR_BYTES };
    match (bounded(answer, most).await, status.is_success()) {
        (Ok(answer), true) => {
            let bytes = answer.into_body();
            if let (Sent::Get, Some(mark)) = (sent, mark.filter(|_| bytes.len() <= MAX_KEPT_BYTES)) {
                if kept.len() >= MAX_KEPT {
                    kept.pop_first();
                }
                kept.insert(address.to_owned(), (mark, bytes.clone()));
            }
            Tried::Done(bytes)
        }
        (Ok(answer), false) => refused(answer, address, again).await,
        (Err(error), _) if again == Again::Always => Tried::Later(0, error),
        (Err(error), _) => Tried::Failed(error),
    }
}

/// An answer whose body is read, and no longer than this.
async fn bounded(answer: Answer, most: usize) -> Result<axum::http::Response<Bytes>, ForgeError> {
    let (head, body) = answer.into_parts();
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(axum::http::Response::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ForgeError::Answer { reason: format!("it is longer than {most} bytes") })
        }
        Err(error) => Err(ForgeError::Unavailable { reason: in_words(&*error) }),
    }
}

/// What an answer that is no success means.
async fn refused(answer: axum::http::Response<Bytes>, address: &str, again: Again) -> Tried {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let whole = answer.map(|bytes| Full::new(bytes).map_err(|never| match never {}).boxed());
    let reason = match octocrab::map_github_error(whole).await {
        Err(octocrab::Error::GitHub { source, .. }) => {
            said(&source.message, source.errors.as_deref().unwrap_or_default())
        }
        Err(error) => in_words(&error),
        Ok(_) => status.to_string(),
    };
    if let Some(wait_secs) = limited(status, &headers, &reason) {
        return Tried::Later(wait_secs, ForgeError::RateLimited { wait_secs });
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Tried::Failed(ForgeError::Denied { reason }),
        StatusCode::NOT_FOUND | StatusCode::GONE => Tried::Failed(ForgeError::NotFound { what: path(address) }),
        status if status.is_redirection() => {
            let reason = "what was asked for has moved; name the repository by its new name".to_owned();
            Tried::Failed(ForgeError::Refused { status: status.as_u16(), reason })
        }
        status if status.is_server_error() => {
            let error = ForgeError::Unavailable { reason: format!("{status}: {reason}") };
            // It may have been carried out all the same.
            if again == Again::Always { Tried::Later(0, error) } else { Tried::Failed(error) }
        }
        status => Tried::Failed(ForgeError::Refused { status: status.as_u16(), reason }),
    }
}

fn path(address: &str) -> String {
    address.split('?').next().unwrap_or_default().to_owned()
}

/// For how many seconds nothing more is answered, where that is why a request was refused. Nothing was carried out then.
pub(super) fn limited(status: StatusCode, headers: &HeaderMap, reason: &str) -> Option<u64> {
    if !matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
        return None;
    }
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    if let Some(secs) = number("retry-after") {
        return Some(secs);
    }
    if number("x-ratelimit-remaining") == Some(0) {
        let now = u64::try_from(clock::now().millis() / 1000).unwrap_or(0);
        return Some(number("x-ratelimit-reset").map_or(USUAL_WAIT_SECS, |reset| reset.saturating_sub(now)));
    }
    let is_limit = status == StatusCode::TOO_MANY_REQUESTS || reason.to_ascii_lowercase().contains("rate limit");
    is_limit.then_some(USUAL_WAIT_SECS)
}

/// What a refusal says, on one line of bounded length.
pub(super) fn said(message: &str, errors: &[Value]) -> String {
    let detail = |one: &Value| {
        let text = one.as_str().or_else(|| one.get("message").and_then(Value::as_str));
        text.map_or_else(|| one.to_string(), str::to_owned)
    };
    let whole = errors.iter().take(3).fold(message.to_owned(), |text, one| format!("{text}; {}", detail(one)));
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    whole.chars().take(MAX_SHOWN_CHARS).map(visible).collect()
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ForgeError> {
    serde_json::from_slice(bytes).map_err(|error| ForgeError::Answer { reason: error.to_string() })
}

/// Why the client failed, somewhere below what octocrab says.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a reqwest::Error> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| StdError::source(*error))
}

/// An error with everything that caused it. From the client on: what octocrab says above it is only that it was the client.
fn in_words(error: &(dyn StdError + 'static)) -> String {
    let first: &(dyn StdError + 'static) = cause(error).map_or(error, |error| error);
    let words: Vec<String> = chain(first).map(ToString::to_string).collect();
    said(&words.join(": "), &[])
}
