//! The command line's way to a controller: over its Unix socket, or over HTTPS with a named key.

mod error;

pub use error::ClientError;

use crate::domain::digest::Digest;
use crate::protocol::v1::messages::ErrorBody;
use crate::trust;
use error::reached;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long connecting may take. A controller that does not answer in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one request may take in all. The longest, a whole fleet's drift, takes seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// The longest answer that is read, in bytes: about 2 KiB for each of 100,000 devices.
const MAX_ANSWER_BYTES: usize = 256 << 20;
/// The longest error body that is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// The longest file with a key, in bytes. Keys have 64 characters.
const MAX_KEY_BYTES: u64 = 4096;

/// Whom the client believes to be the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities in this PEM file.
    File(PathBuf),
    /// The authority whose certificate has this SHA-256.
    Fingerprint(Digest),
    /// Those that this machine trusts.
    System,
}

/// A controller that can be asked.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// What paths are appended to, without a `/` at the end.
    base: String,
    /// Where that is, for messages.
    address: String,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// The controller that listens on this socket. Who may use the socket may act; no key is needed.
    pub fn unix(socket: &Path) -> Result<Self, ClientError> {
        // No TLS is spoken here, but the library wants to be ready for it.
        let nobody = trust::by_authorities(&[]).map_err(ClientError::Trust)?;
        let http = builder().unix_socket(socket).no_proxy().tls_backend_preconfigured(nobody);
        Ok(Self {
            http: http.build().map_err(ClientError::Library)?,
            base: "http://controller".to_owned(),
            address: socket.display().to_string(),
            authorization: None,
        })
    }

    /// The controller at `https://HOST[:PORT]`.
    pub fn https(url: &str, key_file: Option<&Path>, trust: &Trust) -> Result<Self, ClientError> {
        let base = url.trim_end_matches('/');
        let bad = || ClientError::BadUrl { url: url.chars().take(200).collect() };
        let parsed = reqwest::Url::parse(base).map_err(|_| bad())?;
        // A key must not travel in the clear, nor a password in an address that ends up in messages.
        let plain = parsed.username().is_empty() && parsed.password().is_none() && parsed.query().is_none();
        if parsed.scheme() != "https" || !plain || parsed.fragment().is_some() {
            return Err(bad());
        }
        let authorization = key_file.map(read_key).transpose()?;
        Ok(Self {
            http: tls(builder().https_only(true), trust)?.build().map_err(ClientError::Library)?,
            base: base.to_owned(),
            address: base.to_owned(),
            authorization,
        })
    }

    /// Asks for something. The path begins with `/` and carries its query.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Asks for something that is not understood here.
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let request = self.request(Method::GET, path);
        let response = request.send().await.map_err(|error| reached(&self.address, error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(status, response).await);
        }
        self.body(response, MAX_ANSWER_BYTES).await
    }

    /// Asks the controller to do something.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Asks the controller to remove something.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// The address, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.authorization {
            Some(key) => request.header(AUTHORIZATION, key.clone()),
            None => request,
        }
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = request.send().await.map_err(|error| reached(&self.address, error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(status, response).await);
        }
        let body = self.body(response, MAX_ANSWER_BYTES).await?;
        serde_json::from_slice(&body).map_err(|source| ClientError::Misunderstood { status: status.as_u16(), source })
    }

    async fn refused(&self, status: StatusCode, response: Response) -> ClientError {
        let body = match self.body(response, MAX_ERROR_BYTES).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => ClientError::Refused { status: status.as_u16(), body },
            Err(source) => ClientError::Misunderstood { status: status.as_u16(), source },
        }
    }

    async fn body(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| reached(&self.address, error))? {
            if body.len() + chunk.len() > limit {
                return Err(ClientError::TooLong { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        // A redirect would carry the key to somewhere else.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")))
}

fn tls(builder: reqwest::ClientBuilder, trust: &Trust) -> Result<reqwest::ClientBuilder, ClientError> {
    let config = match trust {
        Trust::File(path) => {
            let text = read(path, trust::MAX_CA_FILE_BYTES as u64)?;
            let authorities = trust::parse_pem(&text).map_err(ClientError::Trust)?;
            trust::by_authorities(&authorities).map_err(ClientError::Trust)?
        }
        Trust::Fingerprint(fingerprint) => trust::by_fingerprint(*fingerprint).map_err(ClientError::Trust)?.0,
        Trust::System => {
            // The library asks the process for its cryptography here. Somebody may have said it before: the same.
            let _ = rustls::crypto::ring::default_provider().install_default();
            return Ok(builder);
        }
    };
    Ok(builder.tls_backend_preconfigured(config))
}

/// The header that proves who asks.
fn read_key(path: &Path) -> Result<HeaderValue, ClientError> {
    let bytes = read(path, MAX_KEY_BYTES)?;
    let bad = || ClientError::BadKey { path: path.to_owned() };
    let key = std::str::from_utf8(&bytes).map_err(|_| bad())?.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad());
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| bad())?;
    header.set_sensitive(true);
    Ok(header)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ClientError> {
    let failed = |source| ClientError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(std::io::Error::other(format!("longer than {limit} bytes"))));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
