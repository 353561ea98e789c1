//! Secrets as everybody but the device sees them: references, never values.
//!
//! A reference is `secret:NAME@DIGEST`. The digest is keyed with something that only the controller knows, so a changed value
//! changes the reference, and nobody can try out values against it. A text that holds secrets is a list of [`Piece`]s, in which
//! literal text and references are different things: text that looks like a reference stays text, and nothing is ever escaped.

use super::ids::SecretName;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// The longest value of one secret, in bytes: more than any key or certificate chain, less than would fit an environment.
pub const MAX_SECRET_BYTES: usize = 64 << 10;
/// How many bytes the secrets of one device may have in all. Together with the longest spec they fit an envelope.
pub const MAX_SECRETS_BYTES: usize = 1 << 20;

/// The first 64 bits of an HMAC-SHA-256 over a secret's name and value, keyed by the controller, as 16 hexadecimal digits.
///
/// 64 bits are plenty to notice a change, and without the key they tell nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyedDigest([u8; 8]);

impl KeyedDigest {
    /// From the first bytes of the code.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for KeyedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::digest::hex(&self.0))
    }
}

impl fmt::Debug for KeyedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyedDigest {
    type Err = SecretRefError;
    fn from_str(text: &str) -> Result<Self, SecretRefError> {
        let fits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let number = fits.then(|| u64::from_str_radix(text, 16).ok()).flatten().ok_or(SecretRefError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// A reference to one value of one secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretRef {
    /// Which secret.
    pub name: SecretName,
    /// Which value; `None` where values are not known, as in a bare clone.
    pub digest: Option<KeyedDigest>,
}

/// The text is not `secret:NAME` or `secret:NAME@DIGEST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reference is `secret:`, a name, `@` and 16 lower-case hexadecimal digits")]
pub struct SecretRefError;

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.digest {
            Some(digest) => write!(f, "secret:{}@{digest}", self.name),
            None => write!(f, "secret:{}", self.name),
        }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SecretRef {
    type Err = SecretRefError;
    fn from_str(text: &str) -> Result<Self, SecretRefError> {
        let rest = text.strip_prefix("secret:").ok_or(SecretRefError)?;
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (rest, None),
        };
        Ok(Self { name: name.parse().map_err(|_| SecretRefError)?, digest })
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How a value is written where it is put in. The device does this, because nobody else has the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// As it is.
    #[default]
    Plain,
    /// As the inside of a JSON string, so that quotes and line ends in a value cannot break out of it.
    Json,
    /// In base64, with padding.
    Base64,
}

impl Encoding {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn apply(self, value: &str) -> String {
        use base64::Engine as _;
        match self {
            Self::Plain => value.to_owned(),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            Self::Base64 => base64::engine::general_purpose::STANDARD.encode(value),
        }
    }
}

/// A part of a text: literal, or a secret. In JSON a text is a string and a secret an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// A secret's value.
    Secret {
        /// Which.
        reference: SecretRef,
        /// How it is written here.
        #[serde(default, skip_serializing_if = "Encoding::is_default")]
        encoding: Encoding,
    },
}

/// A text that holds at least one secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub Vec<Piece>);

impl SecretText {
    /// The secrets in it.
    pub fn references(&self) -> impl Iterator<Item = &SecretRef> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Secret { reference, encoding: _ } => Some(reference),
        })
    }

    /// The text with all values put in; the first reference without a value otherwise.
    pub fn fill<'a>(&'a self, values: &SecretValues) -> Result<String, &'a SecretRef> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Secret { reference, encoding } => {
                    text.push_str(&encoding.apply(values.0.get(reference).ok_or(reference)?));
                }
            }
        }
        Ok(text)
    }
}

/// For people: references stand where the values go.
impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Secret { reference, encoding: _ } => write!(f, "{reference}"),
        })
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

/// Values of secrets. They are never shown: `Debug` lists references alone.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretValues(pub BTreeMap<SecretRef, String>);

impl fmt::Debug for SecretValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl SecretValues {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of another set.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Keeps these and drops all others.
    pub fn keep(&mut self, wanted: &BTreeSet<SecretRef>) {
        self.0.retain(|reference, _| wanted.contains(reference));
    }

    /// A text in which no value stands any more. For messages that come from elsewhere, such as an engine's.
    ///
    /// Values of fewer than four characters are too common in other words to be told apart.
    pub fn conceal(&self, text: &str) -> String {
        self.conceal_as(text, ToString::to_string)
    }

    /// The same, with something else than the reference in the place of a value.
    pub fn conceal_as(&self, text: &str, stand_in: impl Fn(&SecretRef) -> String) -> String {
        let mut text = text.to_owned();
        for (reference, value) in self.0.iter().filter(|(_, value)| value.len() >= 4) {
            for encoding in [Encoding::Plain, Encoding::Json, Encoding::Base64] {
                let written = encoding.apply(value);
                if text.contains(&written) {
                    text = text.replace(&written, &stand_in(reference));
                }
            }
        }
        text
    }
}
