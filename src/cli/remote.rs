//! A running controller, asked from a command that waits for the answer.

use super::Global;
use super::client::{Client, ClientError, Trust};
use super::fault::{cause, usage, with_hint};
use crate::config::{DEFAULT_DATA_DIR, SOCKET_NAME};
use crate::domain::digest::Digest;
use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

/// The socket of a controller that was started in the same folder without a word about where to keep its data.
fn default_socket() -> PathBuf {
    Path::new(DEFAULT_DATA_DIR).join(SOCKET_NAME)
}

/// A running controller.
pub struct Controller {
    client: Client,
    runtime: Runtime,
    trust: Option<Trust>,
}

/// Whether a controller was named, or is only where one would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// With `--server` or in the environment.
    Explicitly,
    /// The default socket.
    ByDefault,
}

impl Global {
    /// Whether a controller was named.
    pub fn named(&self) -> Named {
        if self.server.is_some() { Named::Explicitly } else { Named::ByDefault }
    }

    /// The controller that the flags name. Nothing is sent yet.
    pub fn controller(&self) -> anyhow::Result<Controller> {
        let mut trust = None;
        let client = match self.server.as_deref() {
            None => Client::unix(&default_socket()),
            Some(server) => match server.strip_prefix("unix:") {
                Some(path) => Client::unix(Path::new(path)),
                None if server.starts_with("https://") => {
                    Client::https(server, self.key_file.as_deref(), trust.insert(self.trust()?))
                }
                None => return Err(usage(format!("--server {server}: write `https://HOST:PORT` or `unix:PATH`"))),
            },
        };
        let client = client.map_err(hinted).context("cannot use the controller's address")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime for network requests")?;
        Ok(Controller { client, runtime, trust })
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        match (&self.ca_file, &self.ca_fingerprint) {
            (Some(path), _) => Ok(Trust::File(path.clone())),
            (None, Some(text)) => parse_fingerprint(text).map(Trust::Fingerprint),
            (None, None) => Ok(Trust::System),
        }
    }
}

fn parse_fingerprint(text: &str) -> anyhow::Result<Digest> {
    let lower = text.trim().to_ascii_lowercase().replace(':', "");
    let digits = lower.strip_prefix("sha256").unwrap_or(&lower);
    format!("sha256:{digits}")
        .parse()
        .map_err(|_| usage(format!("--ca-fingerprint {text}: write the 64 hexadecimal digits of a SHA-256")))
}

impl Controller {
    /// Asks for something; `attempted` completes "cannot …".
    pub fn get<T: DeserializeOwned>(&self, path: &str, attempted: &str) -> anyhow::Result<T> {
        self.runtime
            .block_on(self.client.get(path))
            .map_err(|error| self.hinted(error))
            .with_context(|| format!("cannot {attempted}"))
    }

    /// Waits before asking again.
    pub fn pause(&self, time: std::time::Duration) {
        // A sleep can only be made where a runtime is.
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Asks for something that is not understood here; `attempted` completes "cannot …".
    pub fn bytes(&self, path: &str, attempted: &str) -> anyhow::Result<Vec<u8>> {
        self.runtime
            .block_on(self.client.bytes(path))
            .map_err(|error| self.hinted(error))
            .with_context(|| format!("cannot {attempted}"))
    }

    /// Asks the controller to do something; `attempted` completes "cannot …".
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize, attempted: &str) -> anyhow::Result<T> {
        self.runtime
            .block_on(self.client.post(path, body))
            .map_err(|error| self.hinted(error))
            .with_context(|| format!("cannot {attempted}"))
    }

    fn hinted(&self, error: ClientError) -> anyhow::Error {
        match (&error, &self.trust) {
            // Most controllers make their own certificate, which no machine trusts by itself.
            (ClientError::Unreachable { .. }, Some(Trust::System)) => with_hint(
                error.into(),
                "if the controller made its own certificate, name it with `--ca-file` or `--ca-fingerprint`",
            ),
            _ => hinted(error),
        }
    }

    /// Where it is, for messages.
    pub fn address(&self) -> &str {
        self.client.address()
    }
}

fn hinted(error: ClientError) -> anyhow::Error {
    match error.hint() {
        None => error.into(),
        Some(hint) => with_hint(error.into(), hint),
    }
}

/// What a controller refused with, if that is why something failed: one word for programs.
pub fn refusal(error: &anyhow::Error) -> Option<&str> {
    match cause::<ClientError>(error)? {
        ClientError::Refused { body, .. } => Some(&body.code),
        _ => None,
    }
}

/// Whether nobody listens where the controller would be.
pub fn is_absent(error: &anyhow::Error) -> bool {
    matches!(cause::<ClientError>(error), Some(ClientError::NotRunning { .. }))
}

/// A text as one part of a path or query.
pub fn encoded(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            shown.push(char::from(byte));
        } else {
            shown.push_str(&format!("%{byte:02X}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_may_be_written_as_tools_print_it() {
        let digits = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        let wanted: Digest = format!("sha256:{digits}").parse().expect("a digest");
        for text in [digits.clone(), colons, format!("sha256:{digits}")] {
            assert_eq!(parse_fingerprint(&text).expect("a fingerprint"), wanted, "{text}");
        }
        assert!(parse_fingerprint("ab").is_err());
    }

    #[test]
    fn whatever_has_a_meaning_in_an_address_is_encoded() {
        assert_eq!(encoded("uid 0/é?"), "uid%200%2F%C3%A9%3F");
    }
}
