//! Whether the newest commit of a stage was signed by somebody whom the controller's configuration names.
//!
//! Only that one commit is looked at. Its signature covers its tree, which is all that devices are given, and its parents. Who
//! may sign stands in files that the configuration names, never in the repo, and they are read anew each time. A signer must be
//! valid now, not when the commit says it was made: whoever holds an expired key can write any date.

mod allowed;
mod openpgp;
mod ssh;

use super::program::{ProgramError, Stop};
use crate::domain::ids::CommitId;
use crate::domain::time::Timestamp;
use crate::ports::repo::{RepoError, Signature};
use git2::Repository;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest file of signers, in bytes. A key has some hundred bytes, one of OpenPGP with many signatures some hundred
/// thousand.
const MAX_SIGNERS_BYTES: u64 = 8 << 20;
/// How many signers are named to people.
const MAX_NAMED: usize = 5;

/// Who may sign the newest commit of a stage. One good signature of either kind is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signers {
    /// A file of allowed signers, as ssh-keygen(1) describes it.
    ssh: Option<PathBuf>,
    /// A file with OpenPGP public keys, armored or not.
    openpgp: Option<PathBuf>,
}

/// Why a signature could not be judged. Then the commit waits.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("the file of signers {path} could not be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: {problem}")]
    Line { path: PathBuf, line: usize, problem: &'static str },
    #[error("{0} holds no OpenPGP public key")]
    NoKeys(PathBuf),
    #[error("a folder for gpg could not be made: {0}")]
    Folder(std::io::Error),
    #[error("the commit could not be read: {}", .0.message())]
    Commit(git2::Error),
    #[error("{0} (hint: signatures with OpenPGP keys are checked by GnuPG)")]
    Gpg(ProgramError),
}

/// What became of one kind of signature.
enum Judged {
    By(String),
    Refused(String),
}

impl Signers {
    /// Signers of these files; `None` if there is neither.
    pub fn of(ssh: Option<PathBuf>, openpgp: Option<PathBuf>) -> Option<Self> {
        (ssh.is_some() || openpgp.is_some()).then_some(Self { ssh, openpgp })
    }

    /// Judges a commit's signature.
    pub(super) fn judge(
        &self,
        repo: &Repository,
        commit: &CommitId,
        now: Timestamp,
        stop: &Stop,
    ) -> Result<Signature, RepoError> {
        self.check(repo, commit, now, stop)
            .map_err(|error| RepoError::Failed { attempted: "check a commit's signature", source: Box::new(error) })
    }

    fn check(
        &self,
        repo: &Repository,
        commit: &CommitId,
        now: Timestamp,
        stop: &Stop,
    ) -> Result<Signature, CheckError> {
        let allowed = self.ssh.as_deref().map(allowed::read).transpose()?;
        let keyring = self.openpgp.as_deref().map(|path| openpgp::Keyring::import(path, now, stop)).transpose()?;
        let judged = match signed(repo, commit)? {
            None => Judged::Refused("it is not signed".to_owned()),
            Some(Signed { signature, content }) => match (kind(&signature), &allowed, &keyring) {
                (Kind::Ssh, Some(allowed), _) => ssh::judge(&signature, &content, allowed, now),
                (Kind::Ssh, None, _) => refused("it is signed with an SSH key, and only OpenPGP keys are accepted"),
                (Kind::OpenPgp, _, Some(keyring)) => keyring.judge(&signature, &content, stop)?,
                (Kind::OpenPgp, _, None) => refused("it is signed with an OpenPGP key, and only SSH keys are accepted"),
                (Kind::Other, _, _) => refused("its signature is neither of SSH nor of OpenPGP"),
            },
        };
        Ok(match judged {
            Judged::By(signer) => Signature::By(signer),
            Judged::Refused(why) => {
                let ssh = allowed.iter().flat_map(|allowed| allowed::names(allowed, now));
                let openpgp = keyring.iter().flat_map(|keyring| keyring.names().iter().cloned());
                Signature::Refused { why, wanted: listed(ssh.chain(openpgp)) }
            }
        })
    }
}

fn refused(why: &str) -> Judged {
    Judged::Refused(why.to_owned())
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.dedup();
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    match (names.is_empty(), more) {
        (true, _) => "nobody: no signer is valid now".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

/// A commit's signature and the bytes that it is about: everything else in the commit.
struct Signed {
    signature: Vec<u8>,
    content: Vec<u8>,
}

fn signed(repo: &Repository, commit: &CommitId) -> Result<Option<Signed>, CheckError> {
    let missing = || CheckError::Commit(git2::Error::from_str("no such commit"));
    let id = super::oid(commit).ok_or_else(missing)?;
    match repo.extract_signature(&id, None) {
        Ok((signature, content)) => Ok(Some(Signed { signature: signature.to_vec(), content: content.to_vec() })),
        Err(error) if error.code() == git2::ErrorCode::NotFound && error.class() == git2::ErrorClass::Object => {
            // Both a commit without a signature and no commit at all are "not found".
            repo.find_commit(id).map(|_| None).map_err(CheckError::Commit)
        }
        Err(error) => Err(CheckError::Commit(error)),
    }
}

enum Kind {
    Ssh,
    OpenPgp,
    Other,
}

fn kind(signature: &[u8]) -> Kind {
    let begins = |text: &[u8]| signature.trim_ascii_start().starts_with(text);
    if begins(b"-----BEGIN SSH SIGNATURE-----") {
        Kind::Ssh
    } else if begins(b"-----BEGIN PGP SIGNATURE-----") || begins(b"-----BEGIN PGP MESSAGE-----") {
        Kind::OpenPgp
    } else {
        Kind::Other
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, CheckError> {
    let unreadable = |source| CheckError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_SIGNERS_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SIGNERS_BYTES {
        return Err(unreadable(std::io::Error::other(format!("longer than {MAX_SIGNERS_BYTES} bytes"))));
    }
    Ok(bytes)
}
