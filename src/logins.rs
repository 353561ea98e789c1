//! Who we are at which registry: the file that `docker login` and `podman login` write.

pub mod challenge;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest file of credentials that is read, in bytes. One login has a hundred.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// One login.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token with which a token service gives others.
    Identity {
        /// The token.
        token: String,
    },
}

// Passwords and tokens are for nobody's eyes.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { user, .. } => f.debug_struct("Password").field("user", user).finish_non_exhaustive(),
            Self::Identity { .. } => f.debug_struct("Identity").finish_non_exhaustive(),
        }
    }
}

impl Login {
    /// The header that shows a name and a password.
    pub fn basic(&self) -> Option<HeaderValue> {
        let Self::Password { user, password } = self else { return None };
        let mut header =
            HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// It is no such file. What it holds is not shown: it may be a password.
    #[error("{path} is not a file as `docker login` writes it")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// Logins by registry, or by registry and the beginning of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    logins: BTreeMap<String, Login>,
    /// Programs that keep the logins of single registries, by registry.
    helpers: BTreeMap<String, String>,
    /// The program that keeps all others.
    store: Option<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Credentials {
    /// Reads a file of credentials.
    pub fn read(path: &Path) -> Result<Self, CredentialsError> {
        let failed = |source| CredentialsError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(failed(std::io::Error::other(format!("longer than {MAX_FILE_BYTES} bytes"))));
        }
        Self::parse(&bytes).ok_or_else(|| CredentialsError::Malformed { path: path.to_owned() })
    }

    /// The same from its bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        // A list would be taken for the fields in their order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let File { auths, helpers, store } = serde_json::from_slice(bytes).ok()?;
        let mut credentials = Self::default();
        for (key, auth) in auths {
            // An empty entry means that the store has it.
            if let Some(login) = login(auth)? {
                credentials.logins.insert(name(&key), login);
            }
        }
        credentials.helpers = helpers.into_iter().map(|(key, helper)| (name(&key), helper)).collect();
        credentials.store = store.filter(|store| !store.is_empty());
        Some(credentials)
    }

    /// The names of all programs that keep logins.
    pub fn helpers(&self) -> impl Iterator<Item = &str> {
        self.helpers.values().chain(&self.store).map(String::as_str)
    }

    /// The name of the program that keeps the login of a registry, and what it calls the registry.
    pub fn keeper<'a>(&'a self, registry: &'a str) -> Option<(&'a str, &'a str)> {
        let helper = self.helpers.get(registry).filter(|helper| !helper.is_empty()).or(self.store.as_ref())?;
        // Docker Hub is kept under the address that it had first.
        let called = if registry == "index.docker.io" { "https://index.docker.io/v1/" } else { registry };
        Some((helper, called))
    }

    /// The login for a repository of a registry: the one that says most about it.
    pub fn login(&self, registry: &str, repository: &str) -> Option<&Login> {
        let mut scope = format!("{registry}/{repository}");
        loop {
            if let Some(login) = self.logins.get(&scope) {
                return Some(login);
            }
            scope.truncate(scope.rfind('/')?);
        }
    }
}

/// `Some(None)` for an entry without a login; `None` for one that makes no sense.
fn login(auth: Auth) -> Option<Option<Login>> {
    let Auth { auth, username, password, identitytoken } = auth;
    if let Some(token) = identitytoken.filter(|token| !token.is_empty()) {
        return Some(Some(Login::Identity { token }));
    }
    if let Some(auth) = auth.filter(|auth| !auth.is_empty()) {
        let decoded = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        return Some(Some(Login::Password { user: user.to_owned(), password: password.to_owned() }));
    }
    Some(username.zip(password).map(|(user, password)| Login::Password { user, password }))
}

/// A key of the file as registries are called here: without scheme and version, and by Docker Hub's real name.
fn name(key: &str) -> String {
    let bare = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    match bare.split_once('/') {
        None if bare == "docker.io" => "index.docker.io".to_owned(),
        Some(("docker.io", rest)) => format!("index.docker.io/{rest}"),
        _ => bare.to_owned(),
    }
}
