//! The demo's fleet repo: a bare Git repository made from the embedded example, and the commits that the story needs.

use crate::git::index_entry;
use anyhow::Context as _;
use git2::{FileMode, Oid, Repository, Signature};
use std::path::{Path, PathBuf};

/// Who commits in the demo.
const AUTHOR: (&str, &str) = ("Bellwether demo", "demo@bellwether.invalid");

/// A bare repository with a branch per stage.
pub struct DemoRepo {
    repo: Repository,
    path: PathBuf,
}

/// A file to be written by a commit: its path and its text.
pub type Edit = (String, String);

impl DemoRepo {
    /// Makes the repository with one commit on every branch.
    pub fn create(path: &Path, files: &[Edit], branches: &[&str]) -> anyhow::Result<Self> {
        let repo = Repository::init_bare(path).context("cannot make the demo's fleet repo")?;
        let demo = Self { repo, path: path.to_owned() };
        let commit = demo.write("The fleet of Lindenhof", &[], files)?;
        for branch in branches {
            demo.point(branch, commit)?;
        }
        demo.repo.set_head(&format!("refs/heads/{}", branches[0]))?;
        Ok(demo)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Commits edits to a branch.
    pub fn commit(&self, branch: &str, message: &str, edits: &[Edit]) -> anyhow::Result<String> {
        let parent = self.tip(branch)?;
        let commit = self.write(message, &[parent], edits)?;
        self.point(branch, commit)?;
        Ok(short(commit))
    }

    /// Merges a branch into the next one, as a merge request would: the tree of `from`, both tips as parents.
    pub fn merge(&self, from: &str, into: &str) -> anyhow::Result<String> {
        let (theirs, ours) = (self.tip(from)?, self.tip(into)?);
        let tree = self.repo.find_commit(theirs)?.tree()?;
        let author = Signature::now(AUTHOR.0, AUTHOR.1)?;
        let parents = [&self.repo.find_commit(ours)?, &self.repo.find_commit(theirs)?];
        let message = format!("Merge {from} into {into}");
        let commit = self.repo.commit(None, &author, &author, &message, &tree, &parents)?;
        self.point(into, commit)?;
        Ok(short(commit))
    }

    fn tip(&self, branch: &str) -> anyhow::Result<Oid> {
        let reference = self.repo.find_reference(&format!("refs/heads/{branch}"))?;
        reference.target().with_context(|| format!("branch {branch} points at nothing"))
    }

    fn point(&self, branch: &str, commit: Oid) -> anyhow::Result<()> {
        self.repo.reference(&format!("refs/heads/{branch}"), commit, true, "demo")?;
        Ok(())
    }

    /// Writes a commit with the first parent's files and the edits over them.
    fn write(&self, message: &str, parents: &[Oid], edits: &[Edit]) -> anyhow::Result<Oid> {
        let parents = parents.iter().map(|id| self.repo.find_commit(*id)).collect::<Result<Vec<_>, _>>()?;
        let mut index = git2::Index::new()?;
        if let Some(parent) = parents.first() {
            index.read_tree(&parent.tree()?)?;
        }
        for (path, text) in edits {
            index.add(&index_entry(path, self.repo.blob(text.as_bytes())?, FileMode::Blob))?;
        }
        let tree = self.repo.find_tree(index.write_tree_to(&self.repo)?)?;
        let author = Signature::now(AUTHOR.0, AUTHOR.1)?;
        let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
        Ok(self.repo.commit(None, &author, &author, message, &tree, &parents)?)
    }
}

fn short(commit: Oid) -> String {
    commit.to_string()[..8].to_owned()
}
