//! The fleet repo on this machine: a work tree, or a commit of a clone.

use super::fault::{Hint as _, usage};
use super::render::text::plain;
use crate::domain::ids::{CommitId, StageName};
use crate::domain::snapshot::{Head, Snapshot};
use crate::git::{GitClone, Merged, open_clone, read_worktree};
use crate::ports::repo::Repo as _;
use anyhow::{Context as _, anyhow};
use std::path::{Path, PathBuf};

/// Where a commit is looked for.
#[derive(Clone, Debug, clap::Args)]
pub struct RepoArgs {
    /// The clone of the fleet repo, bare or not
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub repo: PathBuf,
    /// The commit, in any form that Git understands
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub rev: String,
}

/// One commit of a clone.
pub struct Commit {
    /// The text that named it.
    pub rev: String,
    /// Commit and tree.
    pub head: Head,
    /// Its files.
    pub files: Snapshot,
    /// The commit that it would be merged into; `None` for one that is looked at as it is.
    pub onto: Option<CommitId>,
}

/// How many paths in conflict an error names before it counts the rest.
const NAMED_PATHS: usize = 10;

/// Opens a clone.
pub fn open(path: &Path) -> anyhow::Result<GitClone> {
    open_clone(path).hint("name a clone of the fleet repo with `--repo`")
}

/// Reads a commit of a clone.
pub fn commit(clone: &mut GitClone, rev: &str) -> anyhow::Result<Commit> {
    let id = clone.resolve_rev(rev).hint("fetch first, or name a branch, a tag or a commit")?;
    commit_by_id(clone, &id, rev)
}

/// Reads a commit of a clone by its id.
pub fn commit_by_id(clone: &mut GitClone, id: &CommitId, rev: &str) -> anyhow::Result<Commit> {
    let read = |clone: &mut GitClone| Ok::<_, anyhow::Error>((clone.head(id)?, clone.snapshot(id)?));
    let (head, files) = read(clone).with_context(|| format!("cannot read commit {} ({rev})", id.short()))?;
    Ok(Commit { rev: rev.to_owned(), head, files, onto: None })
}

/// What merging a commit into another would make: the files of the merge, under the id of the commit that would be merged.
pub fn merged(clone: &mut GitClone, base: &str, rev: &str) -> anyhow::Result<Commit> {
    let onto =
        clone.resolve_rev(base).hint("fetch the branch that it would be merged into, or name it with `--base`")?;
    let commit = clone.resolve_rev(rev).hint("fetch first, or name a branch, a tag or a commit")?;
    let attempted = || format!("cannot merge {} ({rev}) into {} ({base})", commit.short(), onto.short());
    let tree = match clone.merged(&onto, &commit).with_context(attempted)? {
        Merged::Tree(tree) => tree,
        Merged::Conflicts(paths) => {
            let paths = super::render::text::names(paths.iter().map(|path| plain(path)), NAMED_PATHS);
            let error = anyhow!("both changed {paths}").context(attempted());
            return Err(super::fault::with_hint(error, "bring the branch up to date and settle the conflicts there"));
        }
    };
    let files = clone.snapshot_of_tree(&tree).with_context(attempted)?;
    Ok(Commit { rev: rev.to_owned(), head: Head { commit, tree }, files, onto: Some(onto) })
}

/// Files to check, and where they are from.
pub struct Files {
    /// The files.
    pub snapshot: Snapshot,
    /// Where they are from, for people.
    pub origin: String,
}

/// The files of a folder as they are on disk; of a bare repository, or with a revision, those of a commit.
pub fn files(path: &Path, rev: Option<&str>) -> anyhow::Result<Files> {
    if !path.exists() {
        return Err(anyhow!("there is nothing at {}", path.display())).hint("name the folder of the fleet repo");
    }
    let clone = open_clone(path);
    let bare = clone.as_ref().is_ok_and(|clone| clone.work_tree().is_none());
    if rev.is_none() && !bare {
        let root = root_of(path, clone.as_ref().ok());
        let snapshot = read_worktree(&root).with_context(|| format!("cannot read {}", root.display()))?;
        return Ok(Files { snapshot, origin: format!("work tree {}", root.display()) });
    }
    let mut clone = clone.hint("name a clone of the fleet repo")?;
    let commit = commit(&mut clone, rev.unwrap_or("HEAD"))?;
    let origin = format!("commit {} ({}) of {}", commit.head.commit.short(), commit.rev, path.display());
    Ok(Files { snapshot: commit.files, origin })
}

/// The folder itself if it looks like a fleet repo, else the root of the work tree that contains it if that does.
pub fn root_of(path: &Path, clone: Option<&GitClone>) -> PathBuf {
    let looks_like_one = |path: &Path| path.join("inventory.yml").exists() || path.join("fleet.yml").exists();
    let above = clone.and_then(GitClone::work_tree).filter(|root| looks_like_one(root));
    match above {
        Some(root) if !looks_like_one(path) => root.to_owned(),
        _ => path.to_owned(),
    }
}

/// The stage that a plan is for: the one that was named, else the branch that the revision is.
pub fn stage(clone: &GitClone, named: Option<&StageName>, rev: &str) -> anyhow::Result<StageName> {
    if let Some(stage) = named {
        return Ok(stage.clone());
    }
    let branch = if rev == "HEAD" {
        clone.current_branch()
    } else {
        let named = rev.strip_prefix("origin/").unwrap_or(rev);
        StageName::new(named).ok().filter(|_| clone.resolve_rev(&format!("refs/heads/{named}")).is_ok() || named != rev)
    };
    branch.ok_or_else(|| usage(format!("{rev} is no branch, so the stage must be named: `--stage NAME`")))
}
