//! A remote on this machine, read directly rather than through libgit2's local transport, which looks at every reference of the
//! remote at each question and sends the history of all of them at each fetch.

use super::RemoteError;
use super::missing::Missing;
use crate::domain::ids::StageName;
use crate::git::Tips;
use crate::git::trees::Trees;
use git2::{ErrorCode, Oid, PackBuilder, Repository, Sort};
use std::path::Path;

/// How many objects of a fetch are copied one by one; more become a pack. Git draws the same line when it is pushed to.
const MOST_LOOSE: usize = 100;

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

    pub(super) fn bring(
        &self,
        mirror: &Repository,
        wanted: Tips,
        known: &Tips,
        trees: &mut Trees,
    ) -> Result<Tips, RemoteError> {
        self.copy(mirror, &wanted, known, trees).map_err(RemoteError::Copy)?;
        Ok(wanted)
    }

    /// libgit2 compares each object with its id as it reads it, so a damaged one is an error here and not in the mirror.
    fn copy(&self, mirror: &Repository, wanted: &Tips, known: &Tips, trees: &mut Trees) -> Result<(), git2::Error> {
        let mut walk = self.repo.revwalk()?;
        for commit in wanted.values() {
            walk.push(*commit)?;
        }
        let mut anything = false;
        for commit in known.values() {
            // The remote may have forgotten it, after a forced push.
            if self.repo.find_commit(*commit).is_ok() {
                walk.hide(*commit)?;
                anything = true;
            }
        }
        let mut pack = self.repo.packbuilder()?;
        // As many as there are processors: comparing thousands of files with each other takes longest.
        pack.set_threads(0);
        if anything {
            walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
            let missing = Missing::after(&self.repo, mirror, walk, trees)?;
            if missing.len() <= MOST_LOOSE {
                return missing.iter().try_for_each(|object| self.copy_loose(mirror, *object));
            }
            missing.iter().try_for_each(|object| pack.insert_object(*object, None))?;
        } else {
            pack.insert_walk(&mut walk)?;
        }
        write_pack(&mut pack, mirror)
    }

    /// Copies one object that was compared with its id. The remote's own file is taken as it is: packing a folder of 100,000 files
    /// again takes longer than all else that a commit of one file needs.
    fn copy_loose(&self, mirror: &Repository, object: Oid) -> Result<(), git2::Error> {
        let id = object.to_string();
        let place = |repo: &Repository| repo.commondir().join("objects").join(&id[..2]).join(&id[2..]);
        let (from, to) = (place(&self.repo), place(mirror));
        if !from.exists() {
            let odb = self.repo.odb()?;
            let found = odb.read(object)?;
            return mirror.odb()?.write(found.kind(), found.data()).map(|_| ());
        }
        // Half a copy is swept away together with half-written packs.
        let half = mirror.commondir().join("objects/pack").join(format!("tmp_{id}"));
        let copied = std::fs::create_dir_all(to.parent().unwrap_or(&to))
            .and_then(|()| std::fs::create_dir_all(half.parent().unwrap_or(&half)))
            .and_then(|()| std::fs::copy(&from, &half))
            .and_then(|_| std::fs::rename(&half, &to));
        copied.map_err(|error| git2::Error::from_str(&format!("object {id} could not be copied: {error}")))
    }
}

fn write_pack(pack: &mut PackBuilder<'_>, mirror: &Repository) -> Result<(), git2::Error> {
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
