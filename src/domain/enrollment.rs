//! Enrollment: the token with which a device gets into the fleet.
//!
//! A person copies one string, `bwt1_<id>_<secret>_<fingerprint>`, from the controller to the device. The fingerprint is that
//! of the controller's certificate authority: with it the device knows whom it talks to before anything secret is sent. It
//! stays on the device; only `bwt1_<id>_<secret>` travels.

use super::digest::{Digest, hex, unhex};
use std::fmt;
use std::str::FromStr;

/// How every token begins: its kind and version.
const PREFIX: &str = "bwt1";
/// Hexadecimal digits of a token's id.
const ID_DIGITS: usize = 12;

/// A token as people copy it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Names the token in lists and logs, 12 hexadecimal digits. Not secret.
    pub id: TokenId,
    /// What proves that the device was given the token.
    pub secret: TokenSecret,
    /// SHA-256 of the certificate (DER) of the controller's authority.
    pub ca: Digest,
}

/// The public name of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 6]);

/// The secret of a token. It is never shown by `Debug` or `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret([u8; 32]);

/// The text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Another kind of text, or one of a newer version.
    #[error("a token begins with `{PREFIX}_`")]
    NoToken,
    /// Something is missing or too much, as after a copy that lost its end.
    #[error("a token has {wanted} parts between `_`, this has {found}")]
    Parts {
        /// How many there should be.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// A part is not the right number of hexadecimal digits.
    #[error("the {part} of the token is not {digits} lower-case hexadecimal digits")]
    Digits {
        /// Which part.
        part: &'static str,
        /// How many digits it should have.
        digits: usize,
    },
}

impl TokenId {
    /// The id from its bytes.
    pub fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }
}

impl TokenSecret {
    /// The secret from 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest under which a controller stores the secret.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl JoinToken {
    /// The whole string that people copy. Secret.
    pub fn reveal(&self) -> String {
        format!("{}_{}", self.credential(), self.ca.hex())
    }

    /// What travels in an enrollment: the token without the fingerprint. Secret.
    pub fn credential(&self) -> String {
        credential(self.id, &self.secret)
    }
}

/// The string for an id and its secret that travels in an enrollment. Secret.
pub fn credential(id: TokenId, secret: &TokenSecret) -> String {
    format!("{PREFIX}_{id}_{}", hex(&secret.0))
}

/// Reads what travels in an enrollment: the token without the fingerprint.
pub fn parse_credential(text: &str) -> Result<(TokenId, TokenSecret), TokenError> {
    let [id, secret] = parts(text)?;
    Ok((id.parse()?, secret_of(secret)?))
}

impl FromStr for JoinToken {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let [id, secret, ca] = parts(text)?;
        Ok(Self { id: id.parse()?, secret: secret_of(secret)?, ca: Digest::from_bytes(digits("fingerprint", ca)?) })
    }
}

impl FromStr for TokenId {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        digits("id", text).map(Self)
    }
}

fn secret_of(text: &str) -> Result<TokenSecret, TokenError> {
    digits("secret", text).map(TokenSecret)
}

/// The parts after the prefix, exactly `N`.
fn parts<const N: usize>(text: &str) -> Result<[&str; N], TokenError> {
    let rest = text.trim().strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('_')).ok_or(TokenError::NoToken)?;
    let parts: Vec<&str> = rest.split('_').collect();
    let found = parts.len() + 1;
    parts.try_into().map_err(|_| TokenError::Parts { wanted: N + 1, found })
}

fn digits<const N: usize>(part: &'static str, text: &str) -> Result<[u8; N], TokenError> {
    unhex(text).and_then(|bytes| bytes.try_into().ok()).ok_or(TokenError::Digits { part, digits: N * 2 })
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_assert_eq!(self.0.len() * 2, ID_DIGITS);
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Shows which token it is, without its secret.
impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}_{}_…", self.id)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            id: TokenId::from_bytes([1, 2, 3, 4, 5, 0xff]),
            secret: TokenSecret::from_bytes([7; 32]),
            ca: Digest::of(b"authority"),
        }
    }

    fn check(text: &str, expected: &str) {
        let answer = match text.parse::<JoinToken>() {
            Ok(token) => format!("{token}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(answer, expected, "for {text:?}");
    }

    #[test]
    fn a_token_survives_being_copied_with_white_space_around_it() {
        let text = format!("  {}\n", token().reveal());
        assert_eq!(text.parse::<JoinToken>(), Ok(token()));
        assert_eq!(parse_credential(&token().credential()), Ok((token().id, token().secret)));
    }

    #[test]
    fn what_is_wrong_with_a_token_is_said() {
        check("", "a token begins with `bwt1_`");
        check("bwt2_00", "a token begins with `bwt1_`");
        check("bwt1_0102030405ff", "a token has 4 parts between `_`, this has 2");
        check(&token().credential(), "a token has 4 parts between `_`, this has 3");
        check("bwt1_01_02_03", "the id of the token is not 12 lower-case hexadecimal digits");
        let cut = token().reveal();
        check(&cut[..cut.len() - 1], "the fingerprint of the token is not 64 lower-case hexadecimal digits");
    }

    #[test]
    fn a_token_shown_in_any_way_keeps_its_secret() {
        let shown = format!("{0} {0:?} {1:?}", token(), token().secret);
        assert_eq!(shown, "bwt1_0102030405ff_… bwt1_0102030405ff_… (secret)");
    }
}
