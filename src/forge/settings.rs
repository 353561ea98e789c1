//! Which repository on which forge, and as whom: as files, read when it is needed.

use super::github::{GitHub, Login, Token};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest token, key or secret that is read, in bytes: RSA keys of 16,384 bits are a few kilobytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;
/// The shortest secret of webhooks, in bytes: one that can be guessed is none.
const MIN_SECRET_BYTES: usize = 16;

/// Which repository on which forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgeSettings {
    /// The API: `https://api.github.com`, or `https://HOST/api/v3` of an enterprise server.
    pub api: String,
    /// OWNER/NAME.
    pub repository: String,
    /// As whom.
    pub login: LoginFiles,
}

/// As whom a forge is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginFiles {
    /// With the token in this file.
    Token(PathBuf),
    /// As an app.
    App {
        /// Its id.
        id: u64,
        /// The file with its private key.
        key: PathBuf,
    },
}

/// Why a forge cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ForgeSettingsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{path} holds no {what}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The adapter refuses.
    #[error(transparent)]
    GitHub(#[from] super::github::GitHubError),
}

impl ForgeSettings {
    /// The forge. Its files are read now; nothing is sent yet.
    pub fn open(&self) -> Result<GitHub, ForgeSettingsError> {
        let Self { api, repository, login } = self;
        let login = match login {
            LoginFiles::Token(path) => {
                let text = String::from_utf8(read(path)?).unwrap_or_default();
                let none = || ForgeSettingsError::Content { path: path.clone(), what: "token" };
                Login::Token(Token::new(&text).ok_or_else(none)?)
            }
            LoginFiles::App { id, key } => Login::App { id: *id, key: read(key)? },
        };
        Ok(GitHub::new(api, repository, login)?)
    }
}

/// The check of webhooks' signatures with the secret of a file. The comparison takes the same time whatever is wrong.
pub fn verifier(path: &Path) -> Result<impl Fn(&str, &[u8]) -> bool + Send + Sync + use<>, ForgeSettingsError> {
    let bytes = read(path)?;
    let secret = bytes.trim_ascii();
    if secret.len() < MIN_SECRET_BYTES {
        let what = "secret of at least 16 bytes";
        return Err(ForgeSettingsError::Content { path: path.to_owned(), what });
    }
    let verifier = octocrab::models::webhook_events::verification::WebhookVerifier::new(secret);
    Ok(move |signature: &str, body: &[u8]| verifier.verify(signature, body).is_ok())
}

fn read(path: &Path) -> Result<Vec<u8>, ForgeSettingsError> {
    let failed = |source| ForgeSettingsError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_SECRET_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_of_other_bytes_another_secret_or_another_kind_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "It's a Secret to Everybody\n").expect("write");
        let verify = verifier(&path).expect("a secret");
        // The example of GitHub's own documentation.
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(verify(good, b"Hello, World!"));
        for (signature, body) in [
            (good, &b"Hello, World?"[..]),
            (good, b""),
            ("sha256=", b"Hello, World!"),
            ("", b"Hello, World!"),
            ("757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", b"Hello, World!"),
            ("sha1=2a6f81a7cf73cfb841e25eecb23e75e927595c55", b"Hello, World!"),
            ("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e18", b"Hello, World!"),
        ] {
            assert!(!verify(signature, body), "{signature}");
        }
        std::fs::write(&path, "short\n").expect("write");
        assert!(matches!(verifier(&path).err(), Some(ForgeSettingsError::Content { .. })));
        assert!(matches!(verifier(&folder.path().join("none")).err(), Some(ForgeSettingsError::File { .. })));
    }
}
