//! The agent's side of the device plane.

use super::identity::{Enrollment, Identity};
use crate::clock;
use crate::domain::actions::MAX_OPEN_ACTIONS;
use crate::domain::device::action::Failure;
use crate::domain::device::dump::DumpName;
use crate::domain::device::machine::Event;
use crate::domain::enrollment::JoinToken;
use crate::domain::reported::{Report, ReportId};
use crate::domain::secret::SecretValues;
use crate::domain::time::Timestamp;
use crate::protocol::v1::actions::{self, ACTIONS_HEADER};
use crate::protocol::v1::envelope::{self, MAX_ENVELOPE_BYTES, Trust};
use crate::protocol::v1::messages::{DumpAnswer, EnrollAnswer, EnrollRequest, ErrorBody, RECORDED_HEADER};
use crate::trust;
use reqwest::header::{AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a connection may take. Long enough for a satellite link, short enough to go on with the work.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an answer may take beyond the time that the controller was asked to hold it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long sending a part of a core dump may take: a quarter of a megabyte over a link of a few kilobytes in a second.
const PART_TIMEOUT: Duration = Duration::from_secs(300);
/// The longest error or answer other than an envelope that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// The longest name of a list of actions, in bytes: the numbers of all, with a dot behind each.
const MAX_TAG_BYTES: usize = MAX_OPEN_ACTIONS * 21;
/// Before this moment (2026-01-01) the device's clock cannot be right: a board without a battery wakes up in 1970.
const EARLIEST_PLAUSIBLE: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// A connection to the controller.
#[derive(Clone, Debug)]
pub struct Link {
    client: Client,
    server: String,
    bearer: HeaderValue,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address, the key or the trust cannot be used.
    #[error("the link to {server} cannot be set up")]
    Setup {
        /// The controller's address.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer.
    #[error("the controller cannot be reached: {reason}")]
    Unreachable {
        /// What failed, innermost last.
        reason: String,
    },
    /// An answer that says no.
    #[error("the controller answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// `Retry-After`, in seconds.
        retry_after_secs: Option<u64>,
    },
    /// An answer that cannot be read.
    #[error("the controller's answer cannot be used: {reason}")]
    BadAnswer {
        /// Why.
        reason: String,
    },
}

impl From<LinkError> for Event {
    /// A poll that came to nothing.
    fn from(error: LinkError) -> Self {
        let (failure, retry_after_secs) = error.told();
        Self::LinkFailed { failure, retry_after_secs }
    }
}

impl LinkError {
    fn told(&self) -> (Failure, Option<u64>) {
        let (reason, retry_after_secs) = match self {
            Self::Setup { .. } => ("LinkNotSetUp", None),
            Self::Unreachable { .. } => ("Unreachable", None),
            Self::Refused { status: 401, retry_after_secs, .. } => ("NotEnrolled", *retry_after_secs),
            Self::Refused { status: 403, retry_after_secs, .. } => ("NotApproved", *retry_after_secs),
            Self::Refused { retry_after_secs, .. } => ("ControllerRefused", *retry_after_secs),
            Self::BadAnswer { .. } => ("BadAnswer", None),
        };
        (Failure { reason, message: self.to_string() }, retry_after_secs)
    }

    /// When the controller wants to be asked again, if it said so.
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.told().1
    }

    /// Whether asking again can help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Setup { .. } => true,
            Self::Refused { status, .. } => matches!(status, 400 | 401 | 403 | 404 | 413),
            Self::Unreachable { .. } | Self::BadAnswer { .. } => false,
        }
    }
}

/// What a poll came to.
#[derive(Debug)]
pub struct Polled {
    /// The newest report that the controller has, if it said so.
    pub recorded: Option<ReportId>,
    /// The answer.
    pub answer: Event,
    /// Values that came with it.
    pub secrets: SecretValues,
}

impl Link {
    /// The link of a device that belongs to a fleet.
    pub fn of(identity: &Identity) -> Result<Self, LinkError> {
        let config = trust::by_authorities(&identity.authorities()).map_err(|error| setup(identity, error))?;
        Self::with(identity, config)
    }

    fn with(identity: &Identity, config: ClientConfig) -> Result<Self, LinkError> {
        let client = Client::builder()
            .tls_backend_preconfigured(config)
            .connect_timeout(CONNECT_TIMEOUT)
            // The device plane never redirects; following one would hand the device's key to somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .https_only(true)
            .no_proxy()
            .user_agent(concat!("bellwether-agent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| setup(identity, error))?;
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", identity.key())).map_err(|error| setup(identity, error))?;
        bearer.set_sensitive(true);
        Ok(Self { client, server: identity.server.trim_end_matches('/').to_owned(), bearer })
    }

    /// Asks for news.
    pub async fn poll(&self, trust: &Trust, etag: Option<&str>, actions: &str, wait_secs: u64) -> Polled {
        let failed = |error| Polled { recorded: None, answer: Event::from(error), secrets: SecretValues::default() };
        self.try_poll(trust, etag, actions, wait_secs).await.unwrap_or_else(failed)
    }

    async fn try_poll(
        &self,
        trust: &Trust,
        etag: Option<&str>,
        actions: &str,
        wait_secs: u64,
    ) -> Result<Polled, LinkError> {
        let mut request = self
            .client
            .get(format!("{}/v1/assignment?wait={wait_secs}", self.server))
            .header(AUTHORIZATION, &self.bearer)
            .header(ACTIONS_HEADER, actions)
            .timeout(Duration::from_secs(wait_secs) + ANSWER_TIMEOUT);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, format!("\"{etag}\""));
        }
        let answer = request.send().await.map_err(unreachable_because)?;
        let recorded = answer.headers().get(RECORDED_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut secrets = SecretValues::default();
        let answer = match answer.status() {
            StatusCode::NOT_MODIFIED => Event::NotModified,
            StatusCode::NO_CONTENT => Event::NothingAssigned,
            StatusCode::OK if answer.headers().contains_key(ACTIONS_HEADER) => {
                let tag = tag(&answer)?;
                listed(tag, &body(answer, MAX_ENVELOPE_BYTES).await?, trust)
            }
            StatusCode::OK => {
                let tag = answer.headers().get(ETAG).cloned();
                let bytes = body(answer, MAX_ENVELOPE_BYTES).await?;
                let clock = plausible_now();
                tracing::debug!(etag = ?tag, bytes = bytes.len(), "an assignment was offered");
                match envelope::offered(&bytes, trust, clock) {
                    Ok((held, values)) => {
                        secrets = values;
                        Event::Offered(Box::new(held))
                    }
                    Err(refusal) => Event::Refused(refusal),
                }
            }
            _ => return Err(refused(answer).await),
        };
        Ok(Polled { recorded, answer, secrets })
    }

    /// Sends a report.
    pub async fn report(&self, report: &Report) -> Event {
        match self.try_report(report).await {
            Ok(()) => Event::ReportAnswered,
            Err(error) => {
                let (failure, retry_after_secs) = error.told();
                Event::ReportFailed { failure, retry_after_secs }
            }
        }
    }

    /// Sends a part of a core dump; how much of it the controller has.
    pub(super) async fn send_dump(&self, name: &DumpName, from: u64, part: Vec<u8>) -> Result<u64, LinkError> {
        let about = [("name", name.as_str()), ("from", &from.to_string())];
        let address = Url::parse_with_params(&format!("{}/v1/core-dump", self.server), about)
            .map_err(|error| LinkError::Setup { server: self.server.clone(), source: error.into() })?;
        let request = self.client.put(address).header(AUTHORIZATION, &self.bearer).timeout(PART_TIMEOUT).body(part);
        let answer = request.send().await.map_err(unreachable_because)?;
        if answer.status() != StatusCode::OK {
            return Err(refused(answer).await);
        }
        let bytes = body(answer, MAX_ANSWER_BYTES).await?;
        let bad = |error: serde_json::Error| LinkError::BadAnswer { reason: error.to_string() };
        serde_json::from_slice(&bytes).map(|DumpAnswer { have }| have).map_err(bad)
    }

    async fn try_report(&self, report: &Report) -> Result<(), LinkError> {
        let request = self
            .client
            .post(format!("{}/v1/report", self.server))
            .header(AUTHORIZATION, &self.bearer)
            .timeout(ANSWER_TIMEOUT)
            .json(report);
        let answer = request.send().await.map_err(unreachable_because)?;
        match answer.status() {
            // Recorded or stale: either way the controller knows at least as much.
            StatusCode::OK => body(answer, MAX_ANSWER_BYTES).await.map(drop),
            _ => Err(refused(answer).await),
        }
    }
}

/// Asks to belong to the fleet; pins the authority and what the controller answers in the identity, which the caller writes.
pub async fn enroll(
    identity: &mut Identity,
    token: Option<&JoinToken>,
    attributes: &BTreeMap<String, String>,
) -> Result<(), LinkError> {
    let (config, met) = config_to_enroll(identity, token)?;
    let link = Link::with(identity, config)?;
    let request = EnrollRequest {
        device: identity.device.clone(),
        key: identity.key().to_owned(),
        token: token.map(JoinToken::credential),
        attributes: attributes.clone(),
    };
    let request = link.client.post(format!("{}/v1/enroll", link.server)).timeout(ANSWER_TIMEOUT).json(&request);
    let answer = request.send().await.map_err(unreachable_because)?;
    if answer.status() != StatusCode::OK {
        return Err(refused(answer).await);
    }
    let bytes = body(answer, MAX_ANSWER_BYTES).await?;
    let answer: EnrollAnswer =
        serde_json::from_slice(&bytes).map_err(|error| LinkError::BadAnswer { reason: error.to_string() })?;
    if let Some(authority) = met.get() {
        identity.pin(std::slice::from_ref(authority));
    }
    let EnrollAnswer { status, fleet, public_key } = answer;
    identity.enrollment = Some(Enrollment { status, fleet, public_key });
    Ok(())
}

/// Authorities that are pinned already go before a token's fingerprint.
#[allow(clippy::type_complexity, reason = "a pair that only its one caller takes apart")]
fn config_to_enroll(
    identity: &Identity,
    token: Option<&JoinToken>,
) -> Result<(ClientConfig, Arc<OnceLock<CertificateDer<'static>>>), LinkError> {
    let authorities = identity.authorities();
    match token {
        Some(token) if authorities.is_empty() => {
            trust::by_fingerprint(token.ca).map_err(|error| setup(identity, error))
        }
        Some(_) | None => {
            let config = trust::by_authorities(&authorities).map_err(|error| setup(identity, error))?;
            Ok((config, Arc::new(OnceLock::new())))
        }
    }
}

/// What an answer calls the list of actions that it brings.
fn tag(answer: &Response) -> Result<String, LinkError> {
    let tag = answer.headers().get(ACTIONS_HEADER).and_then(|value| value.to_str().ok());
    let tag = tag.filter(|tag| tag.len() <= MAX_TAG_BYTES).map(str::to_owned);
    tag.ok_or_else(|| LinkError::BadAnswer { reason: "its list of actions has no name that could be one".to_owned() })
}

/// A list of actions, if it can be believed.
fn listed(tag: String, bytes: &[u8], trust: &Trust) -> Event {
    match actions::verify(bytes, trust, plausible_now()) {
        Ok(list) => Event::ActionsListed(list),
        Err(error) => Event::ActionsRefused {
            tag,
            failure: Failure { reason: error.reason(), message: format!("the list of actions: {error}") },
        },
    }
}

/// The time, if it can be right.
fn plausible_now() -> Option<Timestamp> {
    let now = clock::now();
    (now >= EARLIEST_PLAUSIBLE).then_some(now)
}

fn setup(identity: &Identity, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LinkError {
    LinkError::Setup { server: identity.server.clone(), source: source.into() }
}

/// The reasons of a failed request, from the outside in, without its address.
fn unreachable_because(error: reqwest::Error) -> LinkError {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    LinkError::Unreachable { reason }
}

async fn refused(answer: Response) -> LinkError {
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let message = match body(answer, MAX_ANSWER_BYTES).await {
        Ok(bytes) => match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(ErrorBody { message, hint: Some(hint), .. }) => format!("{message} ({hint})"),
            Ok(ErrorBody { message, hint: None, .. }) => message,
            Err(_) => "without a reason".to_owned(),
        },
        Err(_) => "without a reason".to_owned(),
    };
    LinkError::Refused { status, message, retry_after_secs: retry_after }
}

/// An answer's body, if it is not longer than it may be.
async fn body(mut answer: Response, longest: usize) -> Result<Vec<u8>, LinkError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable_because)? {
        if bytes.len() + chunk.len() > longest {
            return Err(LinkError::BadAnswer { reason: format!("longer than {longest} bytes") });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
