//! An ordinary clone on this machine, for planning without a controller. It is only read.

mod merging;

pub use merging::Merged;

use super::objects::Snapshots;
use super::{blame, contains, failed, find_commit, head_of, object_id};
use crate::domain::history::{LastChanges, Lines};
use crate::domain::ids::{CommitId, StageName};
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::ports::repo::{Fetch, Head, Repo, RepoError, Signature};
use git2::{Delta, ErrorCode, Oid, Repository};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Why a clone could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// No repository is there, nor in a folder above.
    #[error("{path} is not inside a Git repository: {}", source.message())]
    NoRepository {
        /// Where it was looked for.
        path: PathBuf,
        /// What libgit2 said; its text is in the message.
        source: git2::Error,
    },
    /// The text names no commit.
    #[error("{rev:?} names no commit: {}", source.message())]
    NoSuchRev {
        /// The text.
        rev: String,
        /// What libgit2 said; its text is in the message.
        source: git2::Error,
    },
}

/// A clone.
pub struct GitClone {
    repo: Repository,
    snapshots: Snapshots,
    last: Option<BTreeMap<StageName, Head>>,
}

/// Opens the repository that contains a path: a bare one, a clone, or any folder inside a work tree.
pub fn open_clone(path: &Path) -> Result<GitClone, CloneError> {
    let repo =
        Repository::discover(path).map_err(|source| CloneError::NoRepository { path: path.to_owned(), source })?;
    Ok(GitClone { repo, snapshots: Snapshots::default(), last: None })
}

impl GitClone {
    /// The commit that a branch, tag, id or any of Git's expressions (`main~2`, `HEAD`) names.
    pub fn resolve_rev(&self, rev: &str) -> Result<CommitId, CloneError> {
        let commit = self.repo.revparse_single(rev).and_then(|object| object.peel_to_commit());
        let commit = commit.map_err(|source| CloneError::NoSuchRev { rev: rev.chars().take(200).collect(), source })?;
        Ok(object_id(commit.id()))
    }

    /// When a commit was made, as whoever made it says.
    pub fn made_at(&self, commit: &CommitId) -> Result<Timestamp, RepoError> {
        Ok(Timestamp::from_millis(find_commit(&self.repo, commit)?.time().seconds().saturating_mul(1000)))
    }

    /// The newest commit that two have in common: what a branch is compared with when it is reviewed. `None` if they share none.
    pub fn merge_base(&self, one: &CommitId, other: &CommitId) -> Result<Option<CommitId>, RepoError> {
        let (one, other) = (find_commit(&self.repo, one)?.id(), find_commit(&self.repo, other)?.id());
        match self.repo.merge_base(one, other) {
            Ok(base) => Ok(Some(object_id(base))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(failed("walk its history")(error)),
        }
    }

    /// Paths that differ between two commits, whether or not they mean anything to Bellwether. A path that is not UTF-8 is
    /// shown with replacement characters.
    pub fn changed_paths(&self, base: &CommitId, head: &CommitId) -> Result<BTreeSet<String>, RepoError> {
        let attempted = failed("compare two commits");
        let old = find_commit(&self.repo, base)?.tree().map_err(&attempted)?;
        let new = find_commit(&self.repo, head)?.tree().map_err(&attempted)?;
        let diff = self.repo.diff_tree_to_tree(Some(&old), Some(&new), None).map_err(&attempted)?;
        let changed = diff.deltas().filter(|delta| delta.status() != Delta::Unmodified);
        let sides = changed.flat_map(|delta| {
            [delta.old_file().path_bytes(), delta.new_file().path_bytes()]
                .map(|path| path.map(|path| String::from_utf8_lossy(path).into_owned()))
        });
        Ok(sides.flatten().collect())
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repo
    }

    /// The branch that is checked out, where it can be a stage.
    pub fn current_branch(&self) -> Option<StageName> {
        let head = self.repo.head().ok()?;
        StageName::new(head.name().ok()?.strip_prefix("refs/heads/")?).ok()
    }

    /// The folder with the checked-out files; `None` for a bare repository.
    pub fn work_tree(&self) -> Option<&Path> {
        self.repo.workdir()
    }

    /// A stage's head: the local branch, else the one of `origin` as it was fetched last.
    fn branch(&self, stage: &StageName) -> Result<Option<Oid>, git2::Error> {
        for name in [format!("refs/heads/{stage}"), format!("refs/remotes/origin/{stage}")] {
            match self.repo.find_reference(&name) {
                Ok(reference) => return Ok(Some(reference.peel_to_commit()?.id())),
                Err(error) if error.code() == ErrorCode::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn heads(&self, stages: &[StageName]) -> Result<BTreeMap<StageName, Head>, RepoError> {
        let mut heads = BTreeMap::new();
        for stage in stages {
            if let Some(commit) = self.branch(stage).map_err(failed("read a branch"))? {
                heads.insert(stage.clone(), head_of(&self.repo, &object_id(commit))?);
            }
        }
        Ok(heads)
    }
}

/// A clone as the fleet repo. Nothing is fetched from anywhere: news is what the clone's own branches say.
impl Repo for GitClone {
    fn fetch(&mut self, stages: &[StageName]) -> Fetch {
        self.snapshots.keep(stages.len() + 1);
        match self.heads(stages) {
            Ok(heads) if self.last.as_ref() == Some(&heads) => Fetch::NotModified,
            Ok(heads) => {
                self.last = Some(heads.clone());
                Fetch::Fetched(heads)
            }
            Err(error) => Fetch::Unavailable { reason: error.to_string() },
        }
    }

    fn snapshot(&mut self, commit: &CommitId) -> Result<Snapshot, RepoError> {
        let tree = find_commit(&self.repo, commit)?.tree_id();
        let attempted = "read the files of a commit";
        match self.snapshots.read(&self.repo, tree) {
            Ok((snapshot, _)) => Ok(snapshot),
            Err(error) => Err(RepoError::Failed { attempted, source: Box::new(error) }),
        }
    }

    fn head(&mut self, commit: &CommitId) -> Result<Head, RepoError> {
        head_of(&self.repo, commit)
    }

    fn last_changes(&mut self, commit: &CommitId, files: &Snapshot, lines: &Lines) -> Result<LastChanges, RepoError> {
        blame::last_changes(&self.repo, commit, files, lines)
    }

    fn contains(&mut self, newer: &CommitId, older: &CommitId) -> Result<bool, RepoError> {
        contains(&self.repo, newer, older)
    }

    /// Whose signatures count is the controller's business.
    fn signature(&mut self, _: &StageName, commit: &CommitId, _: Timestamp) -> Result<Signature, RepoError> {
        find_commit(&self.repo, commit).map(|_| Signature::NotAsked)
    }
}
