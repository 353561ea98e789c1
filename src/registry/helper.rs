//! Programs that keep logins: `docker-credential-NAME get`, as Docker runs them.
//!
//! The program is run as it is, without a shell, with the registry's name on its input; its answer is bounded in time and length.

use crate::logins::Login;
use serde::Deserialize;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// How long a helper may take. Some fetch a token over the network, others wait for a person to unlock a key ring.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest answer, in bytes. Tokens have a few kilobytes.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
/// How much of a helper's own words is shown, in characters.
const MAX_SHOWN: usize = 200;
/// What a helper says when it has no login.
const NOT_FOUND: &str = "credentials not found";
/// The name under which a token with which a token service gives others is kept.
const TOKEN_USER: &str = "<token>";

/// Why a helper gave no login.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// It is not there, or may not be run.
    #[error("`{program}` cannot be run")]
    NotRun {
        /// The program.
        program: String,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// It said that it failed.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// The program.
        program: String,
        /// Its words.
        said: String,
    },
    /// It did not answer.
    #[error("`{program}` did not answer within {} seconds", LIMIT.as_secs())]
    Silent {
        /// The program.
        program: String,
    },
    /// Its answer makes no sense. It is not shown: it may hold a password.
    #[error("`{program}` answered in a way that cannot be used")]
    BadAnswer {
        /// The program.
        program: String,
    },
}

/// The program of a helper's name; `None` for a name that would lead elsewhere.
pub(super) fn program(name: &str) -> Option<OsString> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(plain);
    fits.then(|| format!("docker-credential-{name}").into())
}

/// Asks a program for the login at a registry; `None` if it has none.
pub(super) async fn login(program: &OsString, registry: &str) -> Result<Option<Login>, HelperError> {
    let named = || program.to_string_lossy().into_owned();
    match tokio::time::timeout(LIMIT, ask(program, registry)).await {
        Err(_) => Err(HelperError::Silent { program: named() }),
        Ok(Err(source)) => Err(HelperError::NotRun { program: named(), source }),
        Ok(Ok((Ended::Well, answer))) => {
            understood(&answer).map(Some).ok_or_else(|| HelperError::BadAnswer { program: named() })
        }
        Ok(Ok((Ended::Badly, answer))) => {
            let said: String = String::from_utf8_lossy(&answer).trim().chars().take(MAX_SHOWN).collect();
            if said.to_ascii_lowercase().contains(NOT_FOUND) {
                return Ok(None);
            }
            let said = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            Err(HelperError::Failed { program: named(), said })
        }
    }
}

enum Ended {
    Well,
    Badly,
}

async fn ask(program: &OsString, registry: &str) -> std::io::Result<(Ended, Vec<u8>)> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let input = child.stdin.take();
    let output = child.stdout.take();
    if let Some(mut input) = input {
        // A helper that has ended without reading says so by its status.
        let _ = input.write_all(registry.as_bytes()).await;
    }
    let mut answer = Vec::new();
    if let Some(output) = output {
        output.take(MAX_ANSWER_BYTES + 1).read_to_end(&mut answer).await?;
    }
    if answer.len() as u64 > MAX_ANSWER_BYTES {
        answer.clear();
        return Ok((Ended::Well, answer));
    }
    let status = child.wait().await?;
    Ok((if status.success() { Ended::Well } else { Ended::Badly }, answer))
}

fn understood(answer: &[u8]) -> Option<Login> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "Username")]
        user: String,
        #[serde(rename = "Secret")]
        secret: String,
    }
    let Answer { user, secret } = serde_json::from_slice(answer).ok()?;
    Some(match user.as_str() {
        TOKEN_USER => Login::Identity { token: secret },
        _ => Login::Password { user, password: secret },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// What comes of a helper that is this script.
    fn check(script: &str, wanted: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write the helper");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("make it a program");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let shown = match runtime.block_on(login(&path.clone().into(), "registry.example")) {
            Ok(Some(Login::Password { user, password })) => format!("{user} {password}"),
            Ok(Some(Login::Identity { token })) => format!("token {token}"),
            Ok(None) => "nothing".to_owned(),
            Err(error) => error.to_string().replace(&*path.to_string_lossy(), "HELPER"),
        };
        assert_eq!(shown, wanted, "{script}");
    }

    #[test]
    fn a_helper_gives_a_login_nothing_or_an_error() {
        check(
            r#"read name; echo "{\"ServerURL\":\"$name\",\"Username\":\"ada $1 $name\",\"Secret\":\"pw\"}""#,
            "ada get registry.example pw",
        );
        check(r#"echo '{"Username":"<token>","Secret":"t0k"}'"#, "token t0k");
        check("echo credentials not found in native keychain; exit 1", "nothing");
        check("echo the key ring is locked; exit 1", "`HELPER` failed: the key ring is locked");
        check("echo secret-but-no-json", "`HELPER` answered in a way that cannot be used");
        check("head -c 100000 /dev/zero", "`HELPER` answered in a way that cannot be used");
    }

    #[test]
    fn the_name_of_a_helper_leads_nowhere_else() {
        assert_eq!(program("pass"), Some("docker-credential-pass".into()));
        for name in ["", "../x", "a b", "a/b", "a;b", &"a".repeat(65)] {
            assert_eq!(program(name), None, "{name}");
        }
    }
}
