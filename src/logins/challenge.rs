//! How a registry says what it wants to see, and what a token service gives.

use reqwest::header::HeaderValue;

/// The longest token that is sent, in bytes: what servers accept as one header.
const MAX_TOKEN_LENGTH: usize = 16 << 10;

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token of this service.
    Bearer {
        /// The service's address.
        realm: String,
        /// What the service calls the registry.
        service: Option<String>,
    },
    /// A name and a password.
    Basic,
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header; `None` if it asks for something else.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
        }
        realm.map(|realm| Self::Bearer { realm, service })
    }
}

/// `name="value"` or `name=value`, with commas between them.
fn parameters(mut rest: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_owned();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => until_quote(quoted),
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        all.push((name, value));
        rest = next;
    }
    all
}

/// The text up to the closing quote, and what comes after it.
fn until_quote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// The header that shows the token of an answer; `None` if there is none in it.
pub fn token_header(body: &[u8]) -> Option<HeaderValue> {
    /// Services use one name or the other, or both.
    #[derive(serde::Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let Answer { token, access_token } = serde_json::from_slice(body).ok()?;
    let token = token.filter(|token| !token.is_empty()).or(access_token)?;
    if token.is_empty() || token.len() > MAX_TOKEN_LENGTH {
        return None;
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}
