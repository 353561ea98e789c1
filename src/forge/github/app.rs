//! An app proves who it is by a short-lived token that it signs itself (RFC 7519, RS256).

use super::GitHubError;
use super::login::Token;
use crate::domain::time::Timestamp;
use crate::ports::forge::ForgeError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

/// How far clocks may differ, in seconds: GitHub takes no token from the future.
const CLOCK_SECS: i64 = 60;
/// How long a token counts, in seconds. GitHub takes none that counts for more than ten minutes.
const VALID_SECS: i64 = 300;

/// The private key of an app.
pub(super) struct AppKey(RsaKeyPair);

impl AppKey {
    /// A key in PEM, as GitHub gives it or as PKCS#8.
    pub(super) fn new(pem: &[u8]) -> Result<Self, GitHubError> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| GitHubError::Key("it is no private key in PEM"))?;
        let pair = match &key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(GitHubError::Key("it is no key of RSA")),
        };
        pair.map(Self).map_err(|_| GitHubError::Key("it is no key of RSA, or too short"))
    }

    /// The public half.
    #[cfg(test)]
    pub(super) fn public_key(&self) -> Vec<u8> {
        use ring::signature::KeyPair as _;
        self.0.public_key().as_ref().to_vec()
    }

    /// A token with which the app speaks for itself.
    pub(super) fn token(&self, id: u64, now: Timestamp) -> Result<Token, ForgeError> {
        let now = now.millis() / 1000;
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({ "alg": "RS256", "typ": "JWT" }));
        let claims = part(json!({ "iat": now - CLOCK_SECS, "exp": now + VALID_SECS, "iss": id.to_string() }));
        let text = format!("{head}.{claims}");
        let mut signature = vec![0; self.0.public().modulus_len()];
        let unsigned = |_| ForgeError::Denied { reason: "the key of the app signs nothing".to_owned() };
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).map_err(unsigned)?;
        let whole = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
        Token::new(&whole).ok_or_else(|| ForgeError::Denied { reason: "the key of the app is too long".to_owned() })
    }
}
