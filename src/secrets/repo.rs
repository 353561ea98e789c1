//! Secrets in the fleet repo, encrypted to the controller: `secrets/*.sops.yml` and `secrets/NAME.age`.

use super::age::{AgeError, decrypt};
use super::directory::text;
use super::sops;
use crate::domain::digest::Digest;
use crate::domain::ids::SecretName;
use crate::ports::secrets::{Provider, ProviderError, SECRETS_FOLDER, SecretFiles};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many decrypted files are remembered. Each look would decrypt them anew otherwise.
const MAX_REMEMBERED: usize = 256;
/// The longest file of identities, in bytes.
const MAX_IDENTITY_BYTES: u64 = 1 << 20;

/// The age identities of the controller.
pub struct Identities(Vec<Box<dyn ::age::Identity + Send + Sync>>);

/// Why the identities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read.
    #[error("the age identity {path} could not be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// There is no identity in it.
    #[error("{path} is not a file of age identities, which are lines that begin with AGE-SECRET-KEY-1")]
    Malformed {
        /// Which.
        path: PathBuf,
    },
}

impl Identities {
    /// Reads them from a file, as `age-keygen` writes it.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        use std::io::Read as _;
        let unreadable = |source| IdentityError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(MAX_IDENTITY_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
        // What the parser says could quote a key.
        let malformed = || IdentityError::Malformed { path: path.to_owned() };
        let file = ::age::IdentityFile::from_buffer(bytes.as_slice()).map_err(|_| malformed())?;
        let identities = file.into_identities().map_err(|_| malformed())?;
        if identities.is_empty() { Err(malformed()) } else { Ok(Self(identities)) }
    }
}

/// What one file holds.
type Content = Result<BTreeMap<String, String>, ProviderError>;

/// Secrets in files of the commit.
pub struct RepoFiles {
    identities: Identities,
    remembered: Mutex<BTreeMap<Digest, Arc<Content>>>,
}

impl RepoFiles {
    /// Decrypts with these identities.
    pub fn new(identities: Identities) -> Self {
        Self { identities, remembered: Mutex::default() }
    }

    fn content(&self, path: &str, bytes: &[u8]) -> Arc<Content> {
        let key = Digest::of_parts([path.as_bytes(), bytes]);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = remembered.get(&key) {
            return content.clone();
        }
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        let unusable = |reason: String| ProviderError::Unusable(format!("{path}: {reason}"));
        let content = match path.strip_prefix(SECRETS_FOLDER).and_then(|name| name.strip_suffix(".age")) {
            Some(name) => decrypt(bytes, &self.identities.0)
                .map_err(|error: AgeError| unusable(error.to_string()))
                .and_then(text)
                .map(|value| BTreeMap::from([(name.to_owned(), value)])),
            None => sops::values(bytes, &self.identities.0).map_err(|error| unusable(error.to_string())),
        };
        let content = Arc::new(content);
        remembered.insert(key, content.clone());
        content
    }
}

impl Provider for RepoFiles {
    fn name(&self) -> &str {
        "fleet repo"
    }

    /// A file of SOPS that cannot be decrypted may be the one that has the secret, so then nobody says "missing".
    fn value(&self, files: &SecretFiles, name: &SecretName) -> Result<Option<String>, ProviderError> {
        let own = format!("{SECRETS_FOLDER}{name}.age");
        if let Some(bytes) = files.get(own.as_str()) {
            return self.content(&own, bytes).as_ref().clone().map(|mut values| values.remove(name.as_str()));
        }
        let mut broken = None;
        for (path, bytes) in files.iter().filter(|(path, _)| is_sops(path)) {
            match self.content(path, bytes).as_ref() {
                Ok(values) => {
                    if let Some(value) = values.get(name.as_str()) {
                        return Ok(Some(value.clone()));
                    }
                }
                Err(error) => broken = broken.or_else(|| Some(error.clone())),
            }
        }
        broken.map_or(Ok(None), Err)
    }
}

fn is_sops(path: &str) -> bool {
    path.ends_with(".sops.yml") || path.ends_with(".sops.yaml")
}

#[cfg(test)]
mod tests;
