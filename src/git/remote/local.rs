//! A remote on this machine, read directly rather than through libgit2's local transport, which looks at every reference of the
//! remote at each question and sends the history of all of them at each fetch.

use super::RemoteError;
use crate::domain::ids::StageName;
use crate::git::Tips;
use git2::{ErrorCode, Repository};
use std::path::Path;

/// A repository in this machine's file system.
pub(in crate::git) struct Local {
    repo: Repository,
}

impl Local {
    pub(super) fn open(path: &Path) -> Result<Self, RemoteError> {
        let open = |source| RemoteError::Open { path: path.to_owned(), source };
        Ok(Self { repo: Repository::open(path).map_err(open)? })
    }

    pub(super) fn heads(&self, stages: &[StageName]) -> Result<Tips, RemoteError> {
        let mut heads = Tips::new();
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

    pub(super) fn bring(&self, mirror: &Repository, wanted: Tips, known: &Tips) -> Result<Tips, RemoteError> {
        self.copy(mirror, &wanted, known).map_err(RemoteError::Copy)?;
        Ok(wanted)
    }

    /// libgit2 compares each object with its id as it reads it, so a damaged one is an error here and not in the mirror.
    fn copy(&self, mirror: &Repository, wanted: &Tips, known: &Tips) -> Result<(), git2::Error> {
        let mut walk = self.repo.revwalk()?;
        for commit in wanted.values() {
            walk.push(*commit)?;
        }
        for commit in known.values() {
            // The remote may have forgotten it, after a forced push.
            if self.repo.find_commit(*commit).is_ok() {
                walk.hide(*commit)?;
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
