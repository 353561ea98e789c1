//! Secrets that reach `git`, and keeping them out of everything that people read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest token or password, in bytes. The longest tokens in use, signed ones of workload identities, have a few thousand.
const MAX_SECRET_BYTES: u64 = 16 << 10;
/// The longest text of a program that is shown, in characters.
const MAX_SHOWN: usize = 600;
/// How many of a program's last lines are shown.
const MAX_LINES: usize = 6;
/// What stands in place of a secret.
const HIDDEN: &str = "[hidden]";

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Why a secret cannot be used. It never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Nothing is there.
    #[error("{0} is empty")]
    Empty(String),
    /// It has a line break or another control character inside.
    #[error("{0} holds more than one line, or a control character")]
    Unfit(String),
    /// Its file could not be read.
    #[error("the token's file {path} could not be read: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What failed; its text is in the message.
        source: std::io::Error,
    },
}

impl Secret {
    /// Takes a text; white space around it does not count. `from` says where it stands, for the error.
    pub fn new(text: &str, from: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SecretError::Empty(from.to_owned()));
        }
        if text.chars().any(char::is_control) {
            return Err(SecretError::Unfit(from.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    fn read(path: &Path) -> Result<Self, SecretError> {
        let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_SECRET_BYTES {
            return Err(unreadable(std::io::Error::other(format!("longer than {MAX_SECRET_BYTES} bytes"))));
        }
        let text = String::from_utf8(bytes).map_err(|_| unreadable(std::io::ErrorKind::InvalidData.into()))?;
        Self::new(&text, &path.display().to_string())
    }

    /// The value of the header `Authorization` for a user with this password.
    pub(super) fn authorization(&self, user: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{user}:{}", self.0)))
    }

    /// Every form in which it could be seen.
    pub(super) fn forms(&self, user: &str) -> Vec<String> {
        vec![self.0.clone(), STANDARD.encode(format!("{user}:{}", self.0)), STANDARD.encode(&self.0)]
    }
}

/// Where a token or password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file, read anew at each fetch, so that it can be replaced while the controller runs.
    File(PathBuf),
    /// A text of the environment.
    Text(Secret),
}

impl SecretSource {
    /// The secret as it is now.
    pub(super) fn secret(&self) -> Result<Secret, SecretError> {
        match self {
            Self::File(path) => Secret::read(path),
            Self::Text(secret) => Ok(secret.clone()),
        }
    }
}

/// What a program said, fit to be shown: its last lines in one, without secrets, without what stands between `://` and `@` of an
/// address (a proxy's password, for one), without control characters, and not too long.
pub(super) fn scrub(said: &[u8], secrets: &[String]) -> String {
    let mut text = String::from_utf8_lossy(said).into_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), HIDDEN);
    }
    let lines: Vec<String> = text.lines().map(plain).filter(|line| !line.is_empty()).collect();
    let lines = lines[lines.len().saturating_sub(MAX_LINES)..].join("; ");
    let shown = without_userinfo(&lines);
    let from = shown.char_indices().rev().nth(MAX_SHOWN - 1).map_or(0, |(at, _)| at);
    shown[from..].to_owned()
}

fn plain(line: &str) -> String {
    line.trim().chars().filter(|char| !char.is_control()).collect()
}

fn without_userinfo(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let authority = part.find(['/', ' ', '\'', '"', '?', '#']).unwrap_or(part.len());
        match part[..authority].rfind('@') {
            Some(at) => {
                shown.push_str(HIDDEN);
                shown.push_str(&part[at..]);
            }
            None => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_neither_secrets_nor_control_characters() {
        let token = Secret::new("bw-canary\n", "a test").unwrap();
        let said = format!(
            "remote: \u{1b}[31mno\u{1b}[0m\nfatal: Authorization: {} for 'https://x:y@git.example/f' bw-canary\n",
            token.authorization("ada")
        );
        assert_eq!(
            scrub(said.as_bytes(), &token.forms("ada")),
            "remote: [31mno[0m; fatal: Authorization: Basic [hidden] for 'https://[hidden]@git.example/f' [hidden]"
        );
        assert_eq!(format!("{token:?}"), "[hidden]");
        assert_eq!(scrub("ü".repeat(700).as_bytes(), &[]).chars().count(), MAX_SHOWN);
        assert_eq!(scrub(b"", &[]), "");
    }

    #[test]
    fn a_secret_is_one_line_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let read = SecretSource::File(path.clone()).secret();
            read.map(|secret| secret.0).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "token"))
        };
        assert_eq!(read(b"abc\n").unwrap(), "abc");
        assert_eq!(read(b" \n").unwrap_err(), "token is empty");
        assert_eq!(read(b"a\nb").unwrap_err(), "token holds more than one line, or a control character");
        assert!(read(b"\xff").unwrap_err().starts_with("the token's file token could not be read"));
        assert!(read(&[b'a'; 20_000]).unwrap_err().ends_with("longer than 16384 bytes"));
        std::fs::remove_file(&path).unwrap();
        assert!(SecretSource::File(path.clone()).secret().unwrap_err().to_string().contains("No such file"));
    }
}
