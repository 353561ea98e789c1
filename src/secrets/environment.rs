//! Secrets in the environment of the controller: only variables that its configuration lists.

use crate::domain::ids::SecretName;
use crate::ports::secrets::{Provider, ProviderError, SecretFiles};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// How many variables a list may name.
const MAX_PATTERNS: usize = 256;

/// Which variables may be secrets: names, and beginnings of names with `*` behind them.
///
/// Without a list nobody who writes to the fleet repo could be kept from reading `PATH`, or the controller's own tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList(Vec<String>);

/// The text is not a list of variables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither the name of a variable nor the beginning of one with `*` behind it")]
pub struct BadPattern(pub String);

impl std::str::FromStr for AllowList {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let mut patterns = Vec::new();
        for pattern in text.split(',').map(str::trim) {
            let name = pattern.strip_suffix('*').unwrap_or(pattern);
            // The controller's own settings are never secrets of services.
            let fits = SecretName::new(name).is_ok() && !name.starts_with("BELLWETHER");
            if !fits || patterns.len() >= MAX_PATTERNS {
                return Err(BadPattern(pattern.chars().take(80).collect()));
            }
            patterns.push(pattern.to_owned());
        }
        Ok(Self(patterns))
    }
}

impl AllowList {
    fn allows(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning) && !name.starts_with("BELLWETHER"),
            None => name == pattern,
        })
    }
}

/// The variables that may be secrets, as they were at start.
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Those of this process.
    #[allow(clippy::disallowed_methods, reason = "this provider is where secrets in the environment are read")]
    pub fn of_process(allowed: AllowList) -> Self {
        Self::of(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))), &allowed)
    }

    fn of(variables: impl Iterator<Item = (String, OsString)>, allowed: &AllowList) -> Self {
        Self(variables.filter(|(name, _)| allowed.allows(name)).collect())
    }
}

impl Provider for Environment {
    fn name(&self) -> &str {
        "environment"
    }

    fn value(&self, _: &SecretFiles, name: &SecretName) -> Result<Option<String>, ProviderError> {
        let Some(value) = self.0.get(name.as_str()) else { return Ok(None) };
        let text = value.to_str().ok_or_else(|| ProviderError::Unusable("it is not UTF-8".to_owned()))?;
        Ok(Some(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_variables_can_be_read() {
        let variables = [("FLEET_A", "1"), ("PATH", "/bin"), ("TOKEN", "t"), ("FLEET", "2"), ("BELLWETHER_KEY", "3")];
        let pairs = || variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        let readable = |list: &str| {
            let environment = Environment::of(pairs(), &list.parse().expect("a list"));
            environment.0.keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(readable("FLEET_*"), "FLEET_A");
        assert_eq!(readable("TOKEN, FLEET*"), "FLEET FLEET_A TOKEN");
        assert_eq!(readable("B*"), "");
        for list in ["*", "", "FLEET_*,", "A B", "BELLWETHER_*", "1X"] {
            assert!(list.parse::<AllowList>().is_err(), "{list:?}");
        }
    }
}
