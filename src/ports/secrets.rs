//! Where the values of secrets come from, as the controller needs it.
//!
//! A provider that cannot be asked says so: unavailable is never empty and never gone.

use crate::domain::ids::SecretName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The folder of the fleet repo whose files providers may read.
pub const SECRETS_FOLDER: &str = "secrets/";

/// The files of one commit below [`SECRETS_FOLDER`], by path. They are encrypted.
pub type SecretFiles = BTreeMap<Arc<str>, Arc<[u8]>>;

/// What became of asking for one secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Found {
    /// Its value.
    Value {
        /// The provider that has it.
        provider: Arc<str>,
        /// The value, as it goes into a service.
        value: String,
    },
    /// Every provider was asked, and none has it.
    Missing,
    /// A provider has it, and it cannot be used.
    Unusable {
        /// The provider that has it.
        provider: Arc<str>,
        /// Why, without the value.
        reason: String,
    },
    /// A provider that comes first could not be asked.
    Unavailable {
        /// The provider that did not answer.
        provider: Arc<str>,
        /// Why.
        reason: String,
    },
}

/// Without the value.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { provider, value: _ } => write!(f, "value from {provider}"),
            Self::Missing => f.write_str("missing"),
            Self::Unusable { provider, reason } => write!(f, "unusable in {provider}: {reason}"),
            Self::Unavailable { provider, reason } => write!(f, "unavailable from {provider}: {reason}"),
        }
    }
}

/// All providers, in their order.
pub trait Secrets: Send + Sync {
    /// Asks for these secrets in the light of one commit. Every name has an answer.
    fn ask(&self, files: &SecretFiles, names: &BTreeSet<SecretName>) -> BTreeMap<SecretName, Found>;
}

/// One provider.
pub trait Provider: Send + Sync {
    /// What it is called, for people.
    fn name(&self) -> &str;

    /// The value of one secret; `None` if it has none of that name.
    fn value(&self, files: &SecretFiles, name: &SecretName) -> Result<Option<String>, ProviderError>;
}

/// Why a provider gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It could not be asked; asking again may help.
    #[error("{0}")]
    Unavailable(String),
    /// It has a value that cannot be used.
    #[error("{0}")]
    Unusable(String),
}

/// Providers one after the other: the first that has a secret gives its value. One that cannot be asked ends the search, because
/// a value of a later one could be another.
#[derive(Default)]
pub struct Chain(pub Vec<Box<dyn Provider>>);

impl Secrets for Chain {
    fn ask(&self, files: &SecretFiles, names: &BTreeSet<SecretName>) -> BTreeMap<SecretName, Found> {
        names.iter().map(|name| (name.clone(), self.one(files, name))).collect()
    }
}

impl Chain {
    fn one(&self, files: &SecretFiles, name: &SecretName) -> Found {
        for asked in &self.0 {
            let provider: Arc<str> = asked.name().into();
            match asked.value(files, name) {
                Ok(Some(value)) => return Found::Value { provider, value },
                Ok(None) => {}
                Err(ProviderError::Unavailable(reason)) => return Found::Unavailable { provider, reason },
                Err(ProviderError::Unusable(reason)) => return Found::Unusable { provider, reason },
            }
        }
        Found::Missing
    }
}

/// A provider in memory, for tests.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone, Debug, Default)]
pub struct FakeProvider {
    /// Its values.
    pub values: BTreeMap<SecretName, String>,
    /// Why it cannot be asked.
    pub unavailable: Option<String>,
}

#[cfg(any(test, feature = "testing"))]
impl Provider for FakeProvider {
    fn name(&self) -> &str {
        "fake"
    }

    fn value(&self, _: &SecretFiles, name: &SecretName) -> Result<Option<String>, ProviderError> {
        match &self.unavailable {
            Some(reason) => Err(ProviderError::Unavailable(reason.clone())),
            None => Ok(self.values.get(name).cloned()),
        }
    }
}
