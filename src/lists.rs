//! Lists of devices over HTTPS, from addresses that the controller's configuration names.
//!
//! Everything is bounded: time, bytes, redirects. A list counts only if it is signed by a key of the configuration, or if client and
//! server have shown each other certificates of authorities that the configuration names.

mod signature;

pub use signature::{KeyError, NAMESPACE, Signers};

use crate::domain::manifest::inventory::MAX_LIST_BYTES;
use crate::ports::lists::{Answer, ListSource};
use crate::trust::{self, TrustError};
use reqwest::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may send nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one request may take in all: the longest list over a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// How often one request is sent elsewhere on the same host.
const MAX_REDIRECTS: usize = 3;
/// The longest signature, in bytes. SSH signatures have a few hundred.
const MAX_SIGNATURE_BYTES: usize = 16 << 10;
/// The longest mark of a list that is kept, in bytes.
const MAX_ETAG_BYTES: usize = 1024;
/// The largest file of the configuration that is read, in bytes: a handful of certificates or keys.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// One source as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// The address of the list, by which fleet repos name it.
    pub url: String,
    /// The file with the keys whose signatures count.
    pub signed_by: Option<PathBuf>,
    /// The address of the signature; `None` for that of the list with `.sig` behind it.
    pub signature: Option<String>,
    /// The file with the authorities that vouch for the server; `None` for those of this machine.
    pub ca: Option<PathBuf>,
    /// The certificate that the controller shows, and its key.
    pub client: Option<ClientFiles>,
}

/// A certificate and its private key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate, and those that lead to its authority.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Why a source cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file could not be read.
    #[error("{path} could not be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// The authorities cannot be used.
    #[error("{path} cannot be used")]
    Authorities {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// The client's certificate or key cannot be used.
    #[error("the certificate {cert} with its key cannot be used: {reason}")]
    Certificate {
        /// Which.
        cert: PathBuf,
        /// Why. It never holds the key.
        reason: String,
    },
    /// The keys that sign cannot be used.
    #[error("{path} cannot be used")]
    Keys {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The address is none.
    #[error("`{0}` is not an address")]
    Address(String),
    /// The library or the system refuses.
    #[error("cannot make requests")]
    Library(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A source that is asked over HTTPS.
pub struct HttpSource {
    url: String,
    address: Url,
    signature: Option<(Url, Signers)>,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl HttpSource {
    /// Reads the files that the settings name.
    pub fn new(settings: &SourceSettings) -> Result<Self, SourceError> {
        let SourceSettings { url, signed_by, signature, ca, client } = settings;
        let address = parse(url)?;
        let signature = match signed_by {
            None => None,
            Some(path) => {
                let signers =
                    Signers::parse(&read(path)?).map_err(|source| SourceError::Keys { path: path.clone(), source })?;
                let at = signature.clone().unwrap_or_else(|| format!("{url}.sig"));
                Some((parse(&at)?, signers))
            }
        };
        let mut builder = Client::builder()
            .https_only(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(same_host(&address))
            .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = ca {
            let authorities = |source| SourceError::Authorities { path: path.clone(), source };
            let certificates = trust::parse_pem(&read(path)?).map_err(authorities)?;
            let config = match client {
                None => trust::by_authorities(&certificates).map_err(authorities)?,
                Some(ClientFiles { cert, key }) => trust::with_certificate(&certificates, &read(cert)?, &read(key)?)
                    .map_err(|error| SourceError::Certificate { cert: cert.clone(), reason: error.to_string() })?,
            };
            builder = builder.tls_backend_preconfigured(config);
        }
        let client = builder.build().map_err(|error| SourceError::Library(Box::new(error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SourceError::Library(Box::new(error)))?;
        Ok(Self { url: url.clone(), address, signature, client, runtime })
    }
}

impl ListSource for HttpSource {
    fn url(&self) -> &str {
        &self.url
    }

    fn ask(&mut self, etag: Option<&str>) -> Answer {
        let asked = ask(&self.client, &self.address, self.signature.as_ref(), etag);
        self.runtime.block_on(asked).unwrap_or_else(|trouble| trouble)
    }
}

async fn ask(
    client: &Client,
    address: &Url,
    signature: Option<&(Url, Signers)>,
    etag: Option<&str>,
) -> Result<Answer, Answer> {
    let mut request = client.get(address.clone());
    if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let response = request.send().await.map_err(unavailable)?;
    if response.status() == StatusCode::NOT_MODIFIED && etag.is_some() {
        return Ok(Answer::NotModified);
    }
    let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
    let etag = etag.filter(|etag| etag.len() <= MAX_ETAG_BYTES).map(str::to_owned);
    let bytes = body(response, "the list", MAX_LIST_BYTES).await?;
    if let Some((at, signers)) = signature {
        let response = client.get(at.clone()).send().await.map_err(unavailable)?;
        let signature = body(response, "the signature", MAX_SIGNATURE_BYTES).await.map_err(|answer| match answer {
            Answer::Unavailable(why) => Answer::Refused(format!("the list is not signed: {why}")),
            other => other,
        })?;
        signers.check(&bytes, &signature).map_err(Answer::Refused)?;
    }
    Ok(Answer::List { bytes, etag })
}

/// The body of a good answer, if it is short enough.
async fn body(mut response: Response, what: &str, most: usize) -> Result<Vec<u8>, Answer> {
    if response.status() != StatusCode::OK {
        return Err(Answer::Unavailable(format!(
            "the server answered {} to the request for {what}",
            response.status()
        )));
    }
    let too_long = || Answer::Refused(format!("{what} is longer than {most} bytes"));
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
        if bytes.len() + chunk.len() > most {
            return Err(too_long());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The library's error with everything that caused it, without the address: that may hold a key.
fn unavailable(error: reqwest::Error) -> Answer {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    Answer::Unavailable(text)
}

fn parse(text: &str) -> Result<Url, SourceError> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.has_host());
    url.ok_or_else(|| SourceError::Address(text.to_owned()))
}

/// Credentials are for one host, so nothing is followed to another.
fn same_host(address: &Url) -> redirect::Policy {
    let origin = address.origin();
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("the server sends the request on and on")
        } else if attempt.url().origin() != origin {
            attempt.error("the server sends the request to another host")
        } else {
            attempt.follow()
        }
    })
}

fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    use std::io::Read as _;
    let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
