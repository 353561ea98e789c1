//! Signatures with OpenPGP keys, checked by `gpg` in a home that is made for the purpose and removed afterwards, so that neither
//! anybody's keyring nor anybody's trust has a say.

use super::{CheckError, Judged, read_bounded};
use crate::domain::time::Timestamp;
use crate::git::program::{Bounds, Program, Stop};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How long `gpg` may take. Its work takes milliseconds.
const WALL: Duration = Duration::from_secs(30);
/// How much it may answer, in bytes: a few lines for each key.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Digests that are broken, as OpenPGP numbers them: MD5, SHA-1, RIPE-MD/160.
const BROKEN_DIGESTS: [&str; 3] = ["1", "2", "3"];
/// How its status lines begin.
const STATUS: &str = "[GNUPG:] ";

/// The public keys of those who may sign.
pub(super) struct Keyring {
    home: TempDir,
    names: Vec<String>,
    now: Timestamp,
}

impl Keyring {
    /// Imports the keys of a file.
    pub(super) fn import(path: &Path, now: Timestamp, stop: &Stop) -> Result<Self, CheckError> {
        let keys = read_bounded(path)?;
        // A new folder is its owner's alone, which gpg insists on.
        let home = tempfile::Builder::new().prefix("bellwether-gpg-").tempdir().map_err(CheckError::Folder)?;
        let file = home.path().join("keys");
        std::fs::write(&file, keys).map_err(CheckError::Folder)?;
        let mut keyring = Self { home, names: Vec::new(), now };
        let bounds = Bounds { wall: WALL, answer_bytes: MAX_ANSWER_BYTES };
        // It fails if it likes one of the keys less than the others.
        let status = keyring.program(&["--import", "--", "keys"]).run_whatever_comes(bounds, stop);
        let status = status.map_err(CheckError::Gpg)?;
        let status = String::from_utf8_lossy(&status);
        let imported = status.lines().filter_map(|line| line.strip_prefix(STATUS)?.strip_prefix("IMPORTED "));
        // A key's id, and its owner's name.
        keyring.names = imported
            .map(|line| line.split_once(' ').map_or(line, |(_, name)| name))
            .map(|name| name.chars().filter(|char| !char.is_control()).collect())
            .collect();
        if keyring.names.is_empty() { Err(CheckError::NoKeys(path.to_owned())) } else { Ok(keyring) }
    }

    /// The owners of the keys.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Judges a signature.
    pub(super) fn judge(&self, signature: &[u8], content: &[u8], stop: &Stop) -> Result<Judged, CheckError> {
        let write = |name: &str, bytes| std::fs::write(self.home.path().join(name), bytes).map_err(CheckError::Folder);
        write("signature", signature)?;
        write("content", content)?;
        // It fails for every signature that is not good, and says in its status why.
        let bounds = Bounds { wall: WALL, answer_bytes: MAX_ANSWER_BYTES };
        let program = self.program(&["--verify", "--", "signature", "content"]);
        let status = program.run_whatever_comes(bounds, stop).map_err(CheckError::Gpg)?;
        Ok(judge_status(&String::from_utf8_lossy(&status)))
    }

    fn program(&self, arguments: &[&str]) -> Program {
        let home = self.home.path();
        let in_home = |argument: &&str| match *argument {
            "keys" | "signature" | "content" => home.join(argument).into_os_string(),
            other => other.into(),
        };
        let time = self.now.millis().max(0) / 1000;
        Program::new("gpg", home)
            .args(["--homedir".into(), home.as_os_str().to_owned()])
            .args([
                "--no-options",
                "--batch",
                "--no-tty",
                "--no-autostart",
                "--no-auto-key-retrieve",
                "--no-auto-check-trustdb",
            ])
            .args(["--trust-model", "always", "--weak-digest", "SHA1", "--status-fd", "1"])
            .args(["--faked-system-time", &time.to_string()])
            .args(arguments.iter().map(in_home))
    }
}

/// Reads the status lines of `gpg --verify`; see DETAILS in its documentation.
fn judge_status(status: &str) -> Judged {
    let mut signatures = 0;
    let (mut good, mut valid) = (None, false);
    let mut refused = None;
    for line in status.lines().filter_map(|line| line.strip_prefix(STATUS)) {
        let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
        let signer = rest.split_once(' ').map_or(rest, |(_, name)| name);
        let signer: String = signer.chars().filter(|char| !char.is_control()).take(200).collect();
        let key = rest.split(' ').next().unwrap_or_default();
        match keyword {
            "NEWSIG" => signatures += 1,
            "GOODSIG" => good = Some(signer),
            // fingerprint, date, time, expiry, version, reserved, key's algorithm, digest's algorithm, …
            "VALIDSIG" => {
                let digest = rest.split(' ').nth(7).unwrap_or_default();
                if BROKEN_DIGESTS.contains(&digest) {
                    refused.get_or_insert_with(|| "its OpenPGP signature uses a broken digest".to_owned());
                }
                valid = true;
            }
            "BADSIG" => {
                refused = Some(format!("its OpenPGP signature by {signer} does not fit it; was the commit altered?"));
            }
            "EXPSIG" => refused = Some(format!("its OpenPGP signature by {signer} is no longer valid")),
            "EXPKEYSIG" => refused = Some(format!("it is signed by {signer}, whose key is no longer valid")),
            "REVKEYSIG" => refused = Some(format!("it is signed by {signer}, whose key was revoked")),
            "ERRSIG" => {
                refused.get_or_insert_with(|| {
                    format!("it is signed with the OpenPGP key {key}, which is not an allowed signer or cannot be used")
                });
            }
            _ => {}
        }
    }
    match (refused, good, valid, signatures) {
        (Some(why), ..) => Judged::Refused(why),
        (None, Some(signer), true, 1) => Judged::By(signer),
        (None, _, _, 2..) => Judged::Refused("it has several OpenPGP signatures".to_owned()),
        (None, ..) => Judged::Refused("its OpenPGP signature cannot be read".to_owned()),
    }
}
