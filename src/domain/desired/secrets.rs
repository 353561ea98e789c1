//! What is known of the secrets that a commit refers to: never their values.

use crate::domain::ids::SecretName;
use crate::domain::secret::{KeyedDigest, SecretRef};
use crate::domain::spec::DeviceSpec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// Nobody was asked: a bare clone.
    Unasked,
    /// It has a value.
    Known(KeyedDigest),
    /// Its value is empty, which is never meant.
    Empty,
    /// No provider has it.
    Missing,
    /// It has a value that cannot be used: too long, or not text.
    Unusable(Arc<str>),
    /// It could not be found out.
    Unavailable(Arc<str>),
}

/// What is known of all secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SecretTable {
    /// Nobody was asked.
    #[default]
    Unasked,
    /// The answers.
    Asked(BTreeMap<SecretName, SecretState>),
    /// Nobody was asked, but these are known by what devices were assigned: a clone beside a controller.
    Assigned(BTreeMap<SecretName, KeyedDigest>),
}

impl SecretTable {
    /// The secrets that these specs hold. Where they differ, a later one counts.
    pub fn assigned<'a>(specs: impl IntoIterator<Item = &'a DeviceSpec>) -> Self {
        let references = specs.into_iter().flat_map(DeviceSpec::secrets);
        Self::Assigned(references.filter_map(|SecretRef { name, digest }| Some((name, digest?))).collect())
    }

    /// What is known of one.
    pub fn state(&self, name: &SecretName) -> SecretState {
        match self {
            Self::Unasked => SecretState::Unasked,
            Self::Assigned(digests) => digests.get(name).copied().map_or(SecretState::Unasked, SecretState::Known),
            Self::Asked(states) => {
                let not_yet = || SecretState::Unavailable("it has not been asked for yet".into());
                states.get(name).cloned().unwrap_or_else(not_yet)
            }
        }
    }
}
