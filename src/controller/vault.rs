//! The values of secrets, in memory alone, and the digests by which everybody else knows them.

use super::published::Published;
use crate::domain::desired::{SecretState, SecretTable};
use crate::domain::ids::SecretName;
use crate::domain::overview::secrets::{Looked, SecretValue};
use crate::domain::secret::{KeyedDigest, MAX_SECRET_BYTES, MAX_SECRETS_BYTES, SecretRef, SecretValues};
use crate::domain::spec::DeviceSpec;
use crate::ports::secrets::{Chain, Found, SecretFiles, Secrets};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

/// How many values are kept. Older ones are needed while devices that were away still have to fetch them.
const MAX_VALUES: usize = 100_000;

/// Values of secrets: asked for here, and handed out with envelopes.
pub struct Vault {
    key: ring::hmac::Key,
    providers: Box<dyn Secrets>,
    values: RwLock<SecretValues>,
    published: Arc<Published>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// A vault that asks these providers. `key` makes the digests; polls are woken through `published` when values arrive.
    pub fn new(key: &[u8; 32], providers: Box<dyn Secrets>, published: Arc<Published>) -> Self {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        Self { key, providers, values: RwLock::default(), published }
    }

    /// A vault without providers: every secret is missing.
    pub fn empty() -> Self {
        Self::new(&[0; 32], Box::new(Chain::default()), Arc::default())
    }

    /// Asks for these secrets in the light of one commit, and keeps the values.
    pub fn table(&self, files: &SecretFiles, names: &BTreeSet<SecretName>) -> SecretTable {
        let mut fresh = SecretValues::default();
        let mut states = BTreeMap::new();
        for (name, found) in self.providers.ask(files, names) {
            let state = match found {
                Found::Missing => SecretState::Missing,
                Found::Unavailable { provider, reason } => {
                    SecretState::Unavailable(format!("{provider}: {reason}").into())
                }
                Found::Unusable { provider, reason } => SecretState::Unusable(format!("{provider}: {reason}").into()),
                Found::Value { provider: _, value } => match usable(&value) {
                    Err(state) => state,
                    Ok(()) => {
                        let digest = self.digest(&name, &value);
                        fresh.0.insert(SecretRef { name: name.clone(), digest: Some(digest) }, value);
                        SecretState::Known(digest)
                    }
                },
            };
            states.insert(name, state);
        }
        self.keep(fresh);
        SecretTable::Asked(states)
    }

    /// What each of these secrets comes to, without values: who has it, or why nobody does.
    pub fn look(&self, files: &SecretFiles, names: &BTreeSet<SecretName>) -> BTreeMap<SecretName, Looked> {
        self.providers.ask(files, names).into_iter().map(|(name, found)| (name, looked(found))).collect()
    }

    fn keep(&self, fresh: SecretValues) {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        let new = fresh.0.iter().any(|(reference, _)| !values.0.contains_key(reference));
        if !new {
            return;
        }
        if values.0.len() + fresh.0.len() > MAX_VALUES {
            values.0.clear();
        }
        values.extend(fresh);
        drop(values);
        // Polls may have waited for them.
        self.published.wake_all();
    }

    /// The values that a device needs; the first that is not known here otherwise, or that would be too much for an envelope.
    pub fn values(&self, spec: &DeviceSpec) -> Result<SecretValues, SecretRef> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        let mut size = 0;
        let pair = |reference: SecretRef| match values.0.get(&reference) {
            Some(value) if size + value.len() <= MAX_SECRETS_BYTES => {
                size += value.len();
                Ok((reference, value.clone()))
            }
            Some(_) | None => Err(reference),
        };
        spec.secrets().into_iter().map(pair).collect::<Result<_, _>>().map(SecretValues)
    }

    /// The name is part of it, so that two secrets with one value do not show that they have.
    fn digest(&self, name: &SecretName, value: &str) -> KeyedDigest {
        let mut context = ring::hmac::Context::with_key(&self.key);
        context.update(&(name.as_str().len() as u64).to_be_bytes());
        context.update(name.as_str().as_bytes());
        context.update(value.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&context.sign().as_ref()[..8]);
        KeyedDigest::from_bytes(first)
    }
}

/// The same without the value.
fn looked(found: Found) -> Looked {
    let said = |value, provider: Arc<str>, reason: Option<String>| Looked {
        value,
        provider: Some(provider.to_string()),
        reason,
    };
    match found {
        Found::Missing => Looked { value: SecretValue::Missing, provider: None, reason: None },
        Found::Unavailable { provider, reason } => said(SecretValue::Unavailable, provider, Some(reason)),
        Found::Unusable { provider, reason } => said(SecretValue::Unusable, provider, Some(reason)),
        Found::Value { provider, value } => match usable(&value) {
            Ok(()) => said(SecretValue::Present, provider, None),
            Err(SecretState::Unusable(reason) | SecretState::Unavailable(reason)) => {
                said(SecretValue::Unusable, provider, Some(reason.to_string()))
            }
            Err(SecretState::Empty | SecretState::Missing | SecretState::Unasked | SecretState::Known(_)) => {
                said(SecretValue::Empty, provider, None)
            }
        },
    }
}

fn usable(value: &str) -> Result<(), SecretState> {
    if value.is_empty() {
        return Err(SecretState::Empty);
    }
    if value.len() > MAX_SECRET_BYTES {
        // How long it is, is nobody's business either.
        let reason = format!("it has more than {MAX_SECRET_BYTES} bytes, which is the most that is delivered");
        return Err(SecretState::Unusable(reason.into()));
    }
    if value.contains('\0') {
        return Err(SecretState::Unusable("it has a NUL character, which no environment can hold".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::secrets::{FakeProvider, Provider};

    fn vault(key: u8, providers: Vec<FakeProvider>) -> Vault {
        let boxed = |provider| Box::new(provider) as Box<dyn Provider>;
        Vault::new(&[key; 32], Box::new(Chain(providers.into_iter().map(boxed).collect())), Arc::default())
    }

    fn name(text: &str) -> SecretName {
        text.parse().expect("a name")
    }

    fn with(pairs: &[(&str, &str)]) -> FakeProvider {
        let values = pairs.iter().map(|(key, value)| (name(key), (*value).to_owned())).collect();
        FakeProvider { values, unavailable: None }
    }

    fn state(vault: &Vault, of: &str) -> SecretState {
        vault.table(&SecretFiles::new(), &[name(of)].into()).state(&name(of))
    }

    #[test]
    fn a_digest_changes_with_value_name_and_key() {
        let first = state(&vault(1, vec![with(&[("T", "a")])]), "T");
        assert!(matches!(first, SecretState::Known(_)));
        assert_eq!(first, state(&vault(1, vec![with(&[("T", "a")])]), "T"));
        assert_ne!(first, state(&vault(1, vec![with(&[("T", "b")])]), "T"));
        assert_ne!(first, state(&vault(1, vec![with(&[("U", "a")])]), "U"));
        assert_ne!(first, state(&vault(2, vec![with(&[("T", "a")])]), "T"));
    }

    #[test]
    fn the_first_provider_that_has_a_secret_gives_it() {
        let both = vault(1, vec![with(&[("T", "first")]), with(&[("T", "second"), ("U", "second")])]);
        assert_eq!(state(&both, "T"), state(&vault(1, vec![with(&[("T", "first")])]), "T"));
        assert!(matches!(state(&both, "U"), SecretState::Known(_)));
        assert_eq!(state(&both, "V"), SecretState::Missing);
    }

    #[test]
    fn a_provider_that_cannot_be_asked_ends_the_search() {
        let away = FakeProvider { unavailable: Some("not mounted".to_owned()), ..FakeProvider::default() };
        let both = vault(1, vec![away, with(&[("T", "another")])]);
        assert_eq!(state(&both, "T"), SecretState::Unavailable("fake: not mounted".into()));
    }

    #[test]
    fn values_that_cannot_be_used_are_told_apart() {
        let long = "x".repeat(MAX_SECRET_BYTES + 1);
        let odd = vault(1, vec![with(&[("EMPTY", ""), ("NUL", "a\0b"), ("LONG", &long)])]);
        assert_eq!(state(&odd, "EMPTY"), SecretState::Empty);
        assert!(matches!(state(&odd, "NUL"), SecretState::Unusable(_)));
        assert!(matches!(state(&odd, "LONG"), SecretState::Unusable(_)));
    }
}
