//! One request at a time, with bounds: on time, on bytes, on tries, on waiting.

use super::GitHubError;
use super::login::Token;
use crate::clock;
use crate::ports::forge::ForgeError;
use reqwest::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
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

/// The way to the API.
pub(super) struct Requests {
    api: Url,
    client: Client,
    runtime: Runtime,
    /// Answers by address, with the marks by which GitHub tells that they have not changed.
    kept: BTreeMap<String, (HeaderValue, Vec<u8>)>,
}

/// What became of one try.
enum Tried {
    Done(Vec<u8>),
    Failed(ForgeError),
    /// Nothing was carried out, and after so many seconds it can be tried again.
    Later(u64, ForgeError),
}

impl Requests {
    pub(super) fn new(mut api: Url) -> Result<Self, GitHubError> {
        let library = |error: Box<dyn std::error::Error + Send + Sync>| GitHubError::Library(error);
        if !api.path().ends_with('/') {
            api.set_path(&format!("{}/", api.path()));
        }
        // The program has chosen one already, and a test may not have.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A repository that has moved is told, not followed: the token is for one host.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| library(Box::new(error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| library(Box::new(error)))?;
        Ok(Self { api, client, runtime, kept: BTreeMap::new() })
    }

    pub(super) fn get<T: DeserializeOwned>(
        &mut self,
        token: &Token,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ForgeError> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let bytes = self.ask(token, &Method::GET, &url, None, Again::Always)?;
        read(&bytes)
    }

    pub(super) fn send<T: DeserializeOwned>(
        &mut self,
        token: &Token,
        method: Method,
        path: &str,
        body: &Value,
        again: Again,
    ) -> Result<T, ForgeError> {
        let url = self.url(path)?;
        let bytes = self.ask(token, &method, &url, Some(body), again)?;
        read(&bytes)
    }

    fn url(&self, path: &str) -> Result<Url, ForgeError> {
        self.api.join(path).map_err(|error| ForgeError::Answer { reason: error.to_string() })
    }

    fn ask(
        &mut self,
        token: &Token,
        method: &Method,
        url: &Url,
        body: Option<&Value>,
        again: Again,
    ) -> Result<Vec<u8>, ForgeError> {
        let Self { client, runtime, kept, .. } = self;
        runtime.block_on(async {
            let mut tries = 1;
            loop {
                let (wait_secs, error) = match once(client, kept, token, method, url, body, again).await {
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
    client: &Client,
    kept: &mut BTreeMap<String, (HeaderValue, Vec<u8>)>,
    token: &Token,
    method: &Method,
    url: &Url,
    body: Option<&Value>,
    again: Again,
) -> Tried {
    let Ok(mut authorization) = HeaderValue::from_str(&token.bearer()) else {
        return Tried::Failed(ForgeError::Denied { reason: "the token cannot be sent".to_owned() });
    };
    authorization.set_sensitive(true);
    let mut request = client
        .request(method.clone(), url.clone())
        .header(AUTHORIZATION, authorization)
        .header(ACCEPT, "application/vnd.github+json, application/json")
        .header("x-github-api-version", "2022-11-28");
    if let Some((mark, _)) = kept.get(url.as_str()).filter(|_| method == Method::GET) {
        request = request.header(IF_NONE_MATCH, mark);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            let unsent = error.is_connect();
            let error = ForgeError::Unavailable { reason: in_words(error) };
            return if unsent || again == Again::Always { Tried::Later(0, error) } else { Tried::Failed(error) };
        }
    };
    let (status, headers) = (response.status(), response.headers().clone());
    if status == StatusCode::NOT_MODIFIED
        && let Some((_, bytes)) = kept.get(url.as_str())
    {
        return Tried::Done(bytes.clone());
    }
    let most = if status.is_success() { MAX_ANSWER_BYTES } else { MAX_ERROR_BYTES };
    match (body_of(response, most).await, status.is_success()) {
        (Ok(bytes), true) => {
            if let Some(mark) = headers.get(ETAG).filter(|_| method == Method::GET && bytes.len() <= MAX_KEPT_BYTES) {
                if kept.len() >= MAX_KEPT {
                    kept.pop_first();
                }
                kept.insert(url.to_string(), (mark.clone(), bytes.clone()));
            }
            Tried::Done(bytes)
        }
        (Err(error), true) if again == Again::Always => Tried::Later(0, error),
        (Err(error), true) => Tried::Failed(error),
        (bytes, false) => refused(status, &headers, &bytes.unwrap_or_default(), url, again),
    }
}

/// What an answer that is no success means.
fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8], url: &Url, again: Again) -> Tried {
    let reason = said(body).unwrap_or_else(|| status.to_string());
    if let Some(wait_secs) = limited(status, headers, &reason) {
        return Tried::Later(wait_secs, ForgeError::RateLimited { wait_secs });
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Tried::Failed(ForgeError::Denied { reason }),
        StatusCode::NOT_FOUND | StatusCode::GONE => Tried::Failed(ForgeError::NotFound { what: url.path().to_owned() }),
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
pub(super) fn said(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
        #[serde(default)]
        errors: Vec<Value>,
    }
    let Refusal { message, errors } = serde_json::from_slice(body).ok()?;
    let detail = |one: &Value| {
        let text = one.as_str().or_else(|| one.get("message").and_then(Value::as_str));
        text.map_or_else(|| one.to_string(), str::to_owned)
    };
    let whole = errors.iter().take(3).fold(message, |text, one| format!("{text}; {}", detail(one)));
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    Some(whole.chars().take(MAX_SHOWN_CHARS).map(visible).collect())
}

async fn body_of(mut response: Response, most: usize) -> Result<Vec<u8>, ForgeError> {
    let mut bytes = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| ForgeError::Unavailable { reason: in_words(error) })?
    {
        if bytes.len() + chunk.len() > most {
            return Err(ForgeError::Answer { reason: format!("it is longer than {most} bytes") });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ForgeError> {
    serde_json::from_slice(bytes).map_err(|error| ForgeError::Answer { reason: error.to_string() })
}

/// The library's error with everything that caused it.
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
