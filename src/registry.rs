//! Image registries: what a tag names now, asked over the OCI distribution API.
//!
//! Only one question is ever asked, and every answer is bounded: in time, in bytes and in redirects. Credentials go to nobody but the
//! registry that they are for and the token service that it names, and never in the clear unless the registry was named as one
//! that speaks no TLS. That is why names are parsed by `oci-client` and requests are made here: its client reads bodies of any
//! length, follows redirects out of TLS, and shows a password to whatever token service an answer names.

mod helper;
#[cfg(test)]
mod tests;

use crate::domain::digest::Digest;
use crate::logins::challenge::{self, Challenge};
use crate::logins::{Credentials, Login};
use helper::HelperError;
use oci_client::Reference;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one request may take in all. An answer is a few kilobytes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often one request is sent elsewhere. Registries do so once, for blobs.
const MAX_REDIRECTS: usize = 5;
/// The longest manifest that is read, in bytes: what registries themselves accept at most.
const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// The longest answer of a token service, in bytes. A token has a few kilobytes.
const MAX_TOKEN_BYTES: usize = 64 << 10;
/// How much of a registry's own words is shown, in characters.
const MAX_SHOWN: usize = 200;

/// What a manifest can be. Indexes come first: a digest of one serves every kind of device.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// Why a tag could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text names no image.
    #[error("`{image}` names no image: {reason}")]
    BadReference {
        /// The text.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such image, as far as we may see.
    #[error("{registry} has no image `{image}`")]
    NotFound {
        /// The registry.
        registry: String,
        /// The image.
        image: String,
    },
    /// The registry does not show the image to us. Some answer so for images that do not exist.
    #[error("{registry} does not give access to `{image}`, or has no such image ({with})")]
    NoAccess {
        /// The registry.
        registry: String,
        /// The image.
        image: String,
        /// As whom it was asked.
        with: String,
    },
    /// Nobody answers.
    #[error("{registry} cannot be reached")]
    Unreachable {
        /// The registry.
        registry: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// The program that keeps our login gave none.
    #[error("the login for {registry} could not be had")]
    Helper {
        /// The registry.
        registry: String,
        /// What failed.
        #[source]
        source: HelperError,
    },
    /// The file of logins names a helper that cannot be one.
    #[error("`{helper}` is not the name of a program that keeps logins")]
    BadHelper {
        /// The name.
        helper: String,
    },
    /// Too many requests.
    #[error("{registry} answers no more for now: too many requests")]
    TooMany {
        /// The registry.
        registry: String,
    },
    /// An answer that makes no sense.
    #[error("{registry} answered in a way that cannot be used: {reason}")]
    BadAnswer {
        /// The registry.
        registry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The library refuses its settings.
    #[error("cannot make requests to registries")]
    Library(#[source] reqwest::Error),
}

impl RegistryError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoAccess { .. } => {
                Some("log in with `docker login`, or name a file with credentials with `--registry-config`")
            }
            Self::Unreachable { .. } => {
                Some("check its name and the network; one that speaks no TLS must be named: `--plain-http HOST:PORT`")
            }
            Self::Helper { .. } | Self::BadHelper { .. } => {
                Some("log in with `docker login`, or name another file with logins with `--registry-config`")
            }
            Self::TooMany { .. } => Some("wait, or log in"),
            Self::NotFound { .. } => Some("push the image first"),
            Self::BadReference { .. } | Self::BadAnswer { .. } | Self::Library(_) => None,
        }
    }
}

/// How registries are asked.
#[derive(Debug, Default)]
pub struct RegistrySettings {
    /// Registries that speak no TLS, as `host:port`.
    pub plain_http: BTreeSet<String>,
    /// Authorities to believe beside those of this machine, in PEM.
    pub authorities: Vec<reqwest::Certificate>,
    /// Who we are.
    pub credentials: Credentials,
}

/// Registries that can be asked.
pub struct Registries {
    http: reqwest::Client,
    plain_http: BTreeSet<String>,
    credentials: Credentials,
    /// What programs that keep logins have said, by registry: each is run once.
    kept: Mutex<BTreeMap<String, Option<Login>>>,
}

/// One image at its registry.
struct Image {
    reference: Reference,
    registry: String,
    url: Url,
    login: Option<Login>,
}

impl Registries {
    /// Prepares to ask. Nothing is sent yet.
    pub fn new(settings: RegistrySettings) -> Result<Self, RegistryError> {
        let RegistrySettings { plain_http, authorities, credentials } = settings;
        // The library asks the process for its cryptography here. Somebody may have said it before: the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redirect = reqwest::redirect::Policy::custom(|attempt| {
            let was_safe = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
            if attempt.previous().len() > MAX_REDIRECTS {
                attempt.error("redirected too often")
            } else if was_safe && attempt.url().scheme() != "https" {
                attempt.error("redirected to an address without TLS")
            } else {
                attempt.follow()
            }
        });
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect)
            .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(authorities)
            .build()
            .map_err(RegistryError::Library)?;
        Ok(Self { http, plain_http, credentials, kept: Mutex::default() })
    }

    /// The digest that an image has now: of the index where there is one, else of the only manifest.
    pub async fn digest(&self, image: &str) -> Result<Digest, RegistryError> {
        let mut image = self.image(image)?;
        let mut response = self.ask(&image, Method::HEAD, None).await?;
        let mut authorization = None;
        if response.status() == StatusCode::UNAUTHORIZED {
            let kept = self.kept(&image.registry).await;
            image.login = kept.as_ref().ok().cloned().flatten().or(image.login);
            // What everybody may see needs no login, so a helper that fails only matters where access is not given.
            let instead = |error| match (error, kept) {
                (RegistryError::NoAccess { .. }, Err(failed)) => failed,
                (error, _) => error,
            };
            let answer = self.authorization(&image, response.headers()).await;
            authorization = match answer.and_then(|answer| answer.ok_or_else(|| image.no_access())) {
                Ok(answer) => Some(answer),
                Err(error) => return Err(instead(error)),
            };
            response = self.ask(&image, Method::HEAD, authorization.clone()).await?;
            if let Err(error) = image.accepted(response.status()) {
                return Err(instead(error));
            }
        }
        image.accepted(response.status())?;
        if let Some(digest) = response.headers().get("docker-content-digest") {
            return image.checked(digest.to_str().unwrap_or_default());
        }
        // An old registry says it nowhere, so it is computed.
        let response = self.ask(&image, Method::GET, authorization).await?;
        image.accepted(response.status())?;
        let body = image.body(response, MAX_MANIFEST_BYTES).await?;
        image.checked(&Digest::of(&body).to_string())
    }

    /// The login that a program keeps for a registry. It is only run for a registry that asks for one.
    async fn kept(&self, registry: &str) -> Result<Option<Login>, RegistryError> {
        let Some((helper, called)) = self.credentials.keeper(registry) else { return Ok(None) };
        let mut kept = self.kept.lock().await;
        if let Some(login) = kept.get(registry) {
            return Ok(login.clone());
        }
        let bad = || RegistryError::BadHelper { helper: helper.chars().take(MAX_SHOWN).collect() };
        let program = helper::program(helper).ok_or_else(bad)?;
        let failed = |source| RegistryError::Helper { registry: registry.to_owned(), source };
        let login = helper::login(&program, called).await.map_err(failed)?;
        kept.insert(registry.to_owned(), login.clone());
        Ok(login)
    }

    fn image(&self, text: &str) -> Result<Image, RegistryError> {
        let bad =
            |reason: String| RegistryError::BadReference { image: text.chars().take(MAX_SHOWN).collect(), reason };
        let reference: Reference = text.parse().map_err(|error: oci_client::ParseError| bad(error.to_string()))?;
        let registry = reference.resolve_registry().to_owned();
        let scheme = if self.plain_http.contains(&registry) { "http" } else { "https" };
        let which = reference.digest().or(reference.tag()).unwrap_or("latest");
        let url = format!("{scheme}://{registry}/v2/{}/manifests/{which}", reference.repository());
        let url = Url::parse(&url).map_err(|error| bad(error.to_string()))?;
        let login = self.credentials.login(&registry, reference.repository()).cloned();
        Ok(Image { reference, registry, url, login })
    }

    async fn ask(&self, image: &Image, method: Method, with: Option<HeaderValue>) -> Result<Response, RegistryError> {
        let mut request = self.http.request(method, image.url.clone()).header(ACCEPT, MANIFEST_TYPES);
        if let Some(authorization) = with {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|source| image.unreachable(source))
    }

    /// What answers the registry's challenge; `None` if we have nothing.
    async fn authorization(&self, image: &Image, headers: &HeaderMap) -> Result<Option<HeaderValue>, RegistryError> {
        let challenges: Vec<Challenge> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .collect();
        for challenge in challenges {
            match (challenge, &image.login) {
                (Challenge::Bearer { realm, service }, login) => {
                    return self.token(image, &realm, service.as_deref(), login.as_ref()).await.map(Some);
                }
                (Challenge::Basic, Some(login)) => return Ok(login.basic()),
                (Challenge::Basic, None) => {}
            }
        }
        Ok(None)
    }

    async fn token(
        &self,
        image: &Image,
        realm: &str,
        service: Option<&str>,
        login: Option<&Login>,
    ) -> Result<HeaderValue, RegistryError> {
        let mut url = Url::parse(realm).map_err(|_| image.bad("its token service has no address".to_owned()))?;
        // A password must not travel in the clear because a registry says so.
        if url.scheme() != "https" && !(url.scheme() == "http" && self.plain_http.contains(&image.registry)) {
            return Err(image.bad("its token service has an address without TLS".to_owned()));
        }
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &format!("repository:{}:pull", image.reference.repository()));
        let mut request = self.http.get(url.clone());
        match login {
            Some(Login::Password { .. }) => {
                if let Some(basic) = login.and_then(Login::basic) {
                    request = request.header(AUTHORIZATION, basic);
                }
            }
            Some(Login::Identity { token }) => {
                url.query_pairs_mut().append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
                // What a form's body holds is written as a query is; a token must not stand in an address.
                let form = url.query().unwrap_or_default().to_owned();
                url.set_query(None);
                request = self.http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
            }
            None => {}
        }
        let response = request.send().await.map_err(|source| image.unreachable(source))?;
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) {
            return Err(image.no_access());
        }
        image.accepted(response.status())?;
        let body = image.body(response, MAX_TOKEN_BYTES).await?;
        challenge::token_header(&body).ok_or_else(|| image.bad("its token service gave no token".to_owned()))
    }
}

impl Image {
    fn accepted(&self, status: StatusCode) -> Result<(), RegistryError> {
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::NOT_FOUND => {
                Err(RegistryError::NotFound { registry: self.registry.clone(), image: self.reference.to_string() })
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.no_access()),
            StatusCode::TOO_MANY_REQUESTS => Err(RegistryError::TooMany { registry: self.registry.clone() }),
            other => Err(self.bad(format!("status {other}"))),
        }
    }

    /// The registry's answer as a digest: the one that was asked for, if one was.
    fn checked(&self, text: &str) -> Result<Digest, RegistryError> {
        let digest: Digest = text.trim().parse().map_err(|_| {
            self.bad(format!("`{}` is no SHA-256", text.chars().take(MAX_SHOWN).collect::<String>().escape_debug()))
        })?;
        match self.reference.digest() {
            Some(wanted) if wanted != digest.to_string() => {
                Err(self.bad(format!("asked for {wanted}, it gave {digest}")))
            }
            Some(_) | None => Ok(digest),
        }
    }

    async fn body(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| self.unreachable(source))? {
            if body.len() + chunk.len() > limit {
                return Err(self.bad(format!("the answer is longer than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, source: reqwest::Error) -> RegistryError {
        RegistryError::Unreachable { registry: self.registry.clone(), source: source.without_url() }
    }

    fn bad(&self, reason: String) -> RegistryError {
        RegistryError::BadAnswer { registry: self.registry.clone(), reason }
    }

    fn no_access(&self) -> RegistryError {
        let with = match &self.login {
            Some(Login::Password { user, .. }) => format!("asked as {user}"),
            Some(Login::Identity { .. }) => "asked with a token of yours".to_owned(),
            None => "asked without credentials".to_owned(),
        };
        RegistryError::NoAccess { registry: self.registry.clone(), image: self.reference.to_string(), with }
    }
}
