//! Where the fleet repo is, and bringing its commits from there.
//!
//! A remote on this machine is read directly rather than through libgit2's local transport, which looks at every reference
//! of the remote at each question and sends the history of all of them at each fetch.

use crate::domain::ids::StageName;
use git2::{ErrorCode, Oid, Repository};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// A fleet repo's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteUrl {
    /// A repository in this machine's file system.
    Local(PathBuf),
}

/// Why a text is not an address that this build can fetch from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteUrlError {
    /// Nothing is there.
    #[error("the address of the fleet repo is empty")]
    Empty,
    /// A transport that a later build brings.
    #[error("fetching over {scheme} comes with a later build; this one takes a path or file://…")]
    Later {
        /// The transport.
        scheme: String,
    },
    /// `file://` with a host, or with a broken escape.
    #[error("{0:?} is not a file:// address: it needs an absolute path, with %XX for special characters")]
    Malformed(String),
}

impl RemoteUrl {
    /// Reads an address as Git writes them: a path, `file://…`, another scheme, or `host:path` for ssh.
    pub fn parse(text: &str) -> Result<Self, RemoteUrlError> {
        if text.trim().is_empty() {
            return Err(RemoteUrlError::Empty);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "file" => file_path(rest).map(Self::Local).ok_or_else(|| RemoteUrlError::Malformed(text.to_owned())),
                scheme => Err(RemoteUrlError::Later { scheme: scheme.chars().take(20).collect() }),
            };
        }
        match (text.find(':'), text.find('/')) {
            (Some(colon), slash) if slash.is_none_or(|slash| colon < slash) => {
                Err(RemoteUrlError::Later { scheme: "ssh".to_owned() })
            }
            _ => Ok(Self::Local(PathBuf::from(text))),
        }
    }

    /// The same address with a relative path taken from this folder.
    pub fn relative_to(self, folder: &Path) -> Self {
        match self {
            Self::Local(path) => Self::Local(folder.join(path)),
        }
    }
}

impl std::fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
        }
    }
}

fn file_path(rest: &str) -> Option<PathBuf> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return None;
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'%' => crate::domain::digest::unhex(
                &String::from_utf8(vec![left.next()?, left.next()?]).ok()?.to_ascii_lowercase(),
            )?[0],
            byte => byte,
        });
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

/// Why a remote could not be asked. Shown to people; none of it is a reason to believe that anything is gone.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("{path} could not be opened as a Git repository: {}", source.message())]
    Open { path: PathBuf, source: git2::Error },
    #[error("branch {branch} could not be read: {}", source.message())]
    Branch { branch: StageName, source: git2::Error },
    #[error("the repository has no branch at all")]
    NoBranches,
    #[error("its commits could not be copied: {}", .0.message())]
    Copy(git2::Error),
}

/// A remote that answers.
pub(super) struct Remote {
    repo: Repository,
}

impl Remote {
    pub(super) fn connect(url: &RemoteUrl) -> Result<Self, RemoteError> {
        let RemoteUrl::Local(path) = url;
        let open = |source| RemoteError::Open { path: path.clone(), source };
        Ok(Self { repo: Repository::open(path).map_err(open)? })
    }

    /// The heads of these branches. A branch that does not exist is left out, unless no branch exists at all: then something
    /// is wrong with the remote, and saying that every stage is gone would be a guess.
    pub(super) fn heads(&self, stages: &[StageName]) -> Result<BTreeMap<StageName, Oid>, RemoteError> {
        let mut heads = BTreeMap::new();
        for stage in stages {
            let failed = |source| RemoteError::Branch { branch: stage.clone(), source };
            match self.repo.find_reference(&format!("refs/heads/{stage}")) {
                Ok(reference) => {
                    let commit = reference.peel_to_commit().map_err(failed)?;
                    heads.insert(stage.clone(), commit.id());
                }
                Err(error) if error.code() == ErrorCode::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if heads.is_empty() && !self.has_branches()? {
            return Err(RemoteError::NoBranches);
        }
        Ok(heads)
    }

    fn has_branches(&self) -> Result<bool, RemoteError> {
        let mut branches = self.repo.references_glob("refs/heads/*").map_err(RemoteError::Copy)?;
        Ok(branches.next().is_some())
    }

    /// Copies the commits that lead to `wanted` into `mirror`, except those that lead to `had`. libgit2 compares each object
    /// with its id as it reads it, so a damaged one is an error here and not in the mirror.
    pub(super) fn bring(
        &self,
        mirror: &Repository,
        wanted: impl Iterator<Item = Oid>,
        had: impl Iterator<Item = Oid>,
    ) -> Result<(), git2::Error> {
        let mut walk = self.repo.revwalk()?;
        for commit in wanted {
            walk.push(commit)?;
        }
        for commit in had {
            // The remote may have forgotten it, after a forced push.
            if self.repo.find_commit(commit).is_ok() {
                walk.hide(commit)?;
            }
        }
        let mut pack = self.repo.packbuilder()?;
        pack.insert_walk(&mut walk)?;
        if pack.object_count() == 0 {
            return Ok(());
        }
        let odb = mirror.odb()?;
        let mut writer = odb.packwriter()?;
        let mut written = Ok(());
        pack.foreach(|bytes| {
            written = std::io::Write::write_all(&mut writer, bytes);
            written.is_ok()
        })?;
        written.map_err(|error| git2::Error::from_str(&error.to_string()))?;
        writer.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match RemoteUrl::parse(text) {
            Ok(url) => format!("{url:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn addresses_are_read_as_git_writes_them() {
        check("/srv/fleet.git", r#"Local("/srv/fleet.git")"#);
        check("../fleet.git", r#"Local("../fleet.git")"#);
        check("./odd:name", r#"Local("./odd:name")"#);
        check("file:///srv/fleet.git", r#"Local("/srv/fleet.git")"#);
        check("file://localhost/srv/a%20b%C3%BC", r#"Local("/srv/a bü")"#);
        check("FILE:///srv", r#"Local("/srv")"#);
    }

    #[test]
    fn addresses_of_later_transports_are_named() {
        let later =
            |scheme| format!("fetching over {scheme} comes with a later build; this one takes a path or file://…");
        check("https://user:secret@git.example/fleet.git", &later("https"));
        check("ssh://git@git.example/fleet.git", &later("ssh"));
        check("git@git.example:fleet.git", &later("ssh"));
        check("host:fleet", &later("ssh"));
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        check("", "the address of the fleet repo is empty");
        check(" ", "the address of the fleet repo is empty");
        let malformed = |text| {
            format!("{text:?} is not a file:// address: it needs an absolute path, with %XX for special characters")
        };
        for text in ["file://host/srv", "file://srv", "file:///a%2", "file:///a%zz", "file:///a%ü"] {
            check(text, &malformed(text));
        }
    }

    #[test]
    fn relative_paths_are_taken_from_a_folder() {
        let path = |text| RemoteUrl::parse(text).unwrap().relative_to(Path::new("/etc/bellwether")).to_string();
        assert_eq!(path("fleet.git"), "/etc/bellwether/fleet.git");
        assert_eq!(path("/srv/fleet.git"), "/srv/fleet.git");
    }
}
