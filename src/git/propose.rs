//! A commit on a branch of its own, made in somebody's clone and pushed from there.
//!
//! Neither the work tree nor the branch that is checked out is touched. The commit is written and pushed by the installed `git`, with
//! the person's own name, key, signature, hooks and credentials.

use super::{GitClone, failed, find_commit, object_id, oid};
use crate::domain::ids::{CommitId, ObjectId, StageName};
use crate::ports::repo::RepoError;
use git2::build::TreeUpdateBuilder;
use git2::{Diff, FileMode, Oid, Repository};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// How a commit differs from the one before it.
#[derive(Clone, Debug)]
pub enum TreeChange {
    /// These files have these contents; the others stay.
    Files(Vec<(String, String)>),
    /// What a patch says, as `git diff` writes it.
    Patch(Vec<u8>),
}

/// Why a branch could not be made or pushed.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    /// The commit that it starts from, or the change, could not be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The patch does not fit.
    #[error("the patch does not fit commit {base}: {}", source.message())]
    Patch {
        /// The first digits of the commit.
        base: String,
        /// What libgit2 said; its text is in the message.
        source: git2::Error,
    },
    /// Nothing would change.
    #[error("nothing would change: commit {0} says so already")]
    Nothing(String),
    /// The branch is there.
    #[error("there is a branch {0} already")]
    Exists(StageName),
    /// `git` could not be started.
    #[error("`git` could not be started")]
    NotStarted(#[source] std::io::Error),
    /// `git` refused.
    #[error("`git {attempted}` failed{said}")]
    Git {
        /// Its subcommand.
        attempted: String,
        /// What it said.
        said: String,
    },
}

impl GitClone {
    /// Makes a branch with one commit on top of `base`, and pushes it to `remote`.
    pub fn push_change(
        &self,
        base: &CommitId,
        change: &TreeChange,
        branch: &StageName,
        message: &str,
        remote: &str,
    ) -> Result<CommitId, BranchError> {
        let repo = self.repository();
        let reference = format!("refs/heads/{branch}");
        if repo.find_reference(&reference).is_ok() {
            return Err(BranchError::Exists(branch.clone()));
        }
        let before = find_commit(repo, base)?.tree().map_err(failed("read the files of a commit"))?;
        let tree = changed_tree(repo, base, &before, change)?;
        if tree == before.id() {
            return Err(BranchError::Nothing(base.short().to_owned()));
        }
        let folder = repo.path();
        let mut arguments = vec!["commit-tree".to_owned(), tree.to_string(), "-p".to_owned(), base.to_string()];
        let signs = repo.config().and_then(|config| config.get_bool("commit.gpgsign")).unwrap_or(false);
        arguments.extend(signs.then(|| "-S".to_owned()));
        arguments.extend(["-m".to_owned(), message.to_owned()]);
        let written = git(folder, &arguments, Heard::Answer)?;
        let commit = CommitId::new(written.trim()).map_err(|_| BranchError::Git {
            attempted: "commit-tree".to_owned(),
            said: ": it named no commit".to_owned(),
        })?;
        let spec = format!("{commit}:{reference}");
        git(folder, &["push".to_owned(), "--quiet".to_owned(), remote.to_owned(), spec], Heard::Nothing)?;
        let id = oid(&commit).ok_or_else(|| RepoError::NoCommit(commit.clone()))?;
        repo.reference(&reference, id, false, "drafted").map_err(failed("make a branch"))?;
        Ok(object_id(id))
    }
}

impl GitClone {
    /// The tree that a commit with these changes would have. Its objects are written into the clone.
    pub fn tree_with(&self, base: &CommitId, change: &TreeChange) -> Result<ObjectId, BranchError> {
        let repo = self.repository();
        let before = find_commit(repo, base)?.tree().map_err(failed("read the files of a commit"))?;
        let tree = changed_tree(repo, base, &before, change)?;
        if tree == before.id() {
            return Err(BranchError::Nothing(base.short().to_owned()));
        }
        Ok(object_id(tree))
    }

    /// Makes a commit with this tree on top of `base`, and pushes it to a branch of `remote` that is at `was` there, or is not there. No branch
    /// of the clone moves.
    pub fn push_tree(
        &self,
        base: &CommitId,
        tree: &ObjectId,
        message: &str,
        (remote, branch): (&str, &str),
        was: Option<&CommitId>,
    ) -> Result<CommitId, BranchError> {
        let repo = self.repository();
        let folder = repo.path();
        let mut arguments = vec!["commit-tree".to_owned(), tree.to_string(), "-p".to_owned(), base.to_string()];
        let signs = repo.config().and_then(|config| config.get_bool("commit.gpgsign")).unwrap_or(false);
        arguments.extend(signs.then(|| "-S".to_owned()));
        arguments.extend(["-m".to_owned(), message.to_owned()]);
        let written = git(folder, &arguments, Heard::Answer)?;
        let commit = CommitId::new(written.trim()).map_err(|_| BranchError::Git {
            attempted: "commit-tree".to_owned(),
            said: ": it named no commit".to_owned(),
        })?;
        // Only over what was looked at: somebody else may have pushed there meanwhile.
        let was = was.map_or(String::new(), ToString::to_string);
        let lease = format!("--force-with-lease=refs/heads/{branch}:{was}");
        let spec = format!("{commit}:refs/heads/{branch}");
        let arguments = ["push", "--quiet", &lease, remote, &spec].map(str::to_owned);
        git(folder, &arguments, Heard::Nothing)?;
        Ok(commit)
    }
}

fn changed_tree(
    repo: &Repository,
    base: &CommitId,
    before: &git2::Tree<'_>,
    change: &TreeChange,
) -> Result<Oid, BranchError> {
    let attempted = failed("write the files of a commit");
    match change {
        TreeChange::Files(files) => {
            let mut update = TreeUpdateBuilder::new();
            for (path, text) in files {
                let blob = repo.blob(text.as_bytes()).map_err(&attempted)?;
                update.upsert(path.as_str(), blob, FileMode::Blob);
            }
            Ok(update.create_updated(repo, before).map_err(&attempted)?)
        }
        TreeChange::Patch(patch) => {
            let unfit = |source| BranchError::Patch { base: base.short().to_owned(), source };
            let diff = Diff::from_buffer(patch).map_err(unfit)?;
            let mut index = repo.apply_to_tree(before, &diff, None).map_err(unfit)?;
            Ok(index.write_tree_to(repo).map_err(&attempted)?)
        }
    }
}

/// What is wanted of a program's output.
#[derive(Clone, Copy, PartialEq)]
enum Heard {
    Answer,
    Nothing,
}

/// Runs the person's `git`, which may ask on the terminal.
fn git(folder: &Path, arguments: &[String], heard: Heard) -> Result<String, BranchError> {
    let mut command = Command::new("git");
    command.arg("--git-dir").arg::<&OsStr>(folder.as_ref()).args(arguments).stdin(Stdio::inherit());
    command.stderr(Stdio::inherit());
    let output = match heard {
        Heard::Answer => command.stdout(Stdio::piped()),
        Heard::Nothing => command.stdout(Stdio::null()),
    };
    let output = output.output().map_err(BranchError::NotStarted)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let attempted = arguments.first().cloned().unwrap_or_default();
    Err(BranchError::Git { attempted, said: "; what it said is above".to_owned() })
}
