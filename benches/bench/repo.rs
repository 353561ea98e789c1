//! A bare Git repository with a generated fleet in it.

use super::fleet;
use bellwether::domain::ids::CommitId;
use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Repository, Signature, Tree};
use serde_json::Value;
use std::path::Path;

/// The remote that a controller watches.
pub struct Remote(Repository);

impl Remote {
    /// Makes one with a first commit of a fleet of this size.
    pub fn make(folder: &Path, devices: usize) -> anyhow::Result<Self> {
        let remote = Self(Repository::init_bare(folder)?);
        let files = fleet::files(devices);
        remote.commit(files)?;
        Ok(remote)
    }

    /// Opens one that was made.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(Repository::open_bare(folder)?))
    }

    /// The newest commit of the stage's branch.
    pub fn tip(&self) -> anyhow::Result<CommitId> {
        let commit = self.0.find_reference(&branch())?.peel_to_commit()?.id();
        Ok(CommitId::new(&commit.to_string())?)
    }

    /// Commits files on top of the stage's branch.
    pub fn commit(&self, files: impl IntoIterator<Item = (String, Value)>) -> anyhow::Result<CommitId> {
        let Self(repo) = self;
        let parent = repo.find_reference(&branch()).ok().map(|branch| branch.peel_to_commit()).transpose()?;
        let mut changes = TreeUpdateBuilder::new();
        for (path, content) in files {
            changes.upsert(path, repo.blob(fleet::yaml(&content).as_bytes())?, FileMode::Blob);
        }
        let base = match &parent {
            Some(parent) => parent.tree()?,
            None => empty(repo)?,
        };
        let tree = repo.find_tree(changes.create_updated(repo, &base)?)?;
        let author = Signature::now("Bench", "bench@fleet.example")?;
        let commit = repo.commit(Some(&branch()), &author, &author, "Change", &tree, parent.as_ref().as_slice())?;
        Ok(CommitId::new(&commit.to_string())?)
    }
}

fn branch() -> String {
    format!("refs/heads/{}", fleet::stage())
}

fn empty(repo: &Repository) -> Result<Tree<'_>, git2::Error> {
    repo.find_tree(repo.treebuilder(None)?.write()?)
}
