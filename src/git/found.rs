//! A new fleet repo with a branch for each stage, for fleets that had none.

use super::object_id;
use crate::domain::ids::StageName;
use crate::ports::repo::Head;
use git2::build::CheckoutBuilder;
use git2::{Index, IndexEntry, IndexTime, Oid, Repository, RepositoryInitOptions, Signature};
use std::collections::BTreeMap;
use std::path::Path;

/// Who a commit is by where nobody told Git.
const NOBODY: (&str, &str) = ("bellwether", "bellwether@localhost");
const FILE_MODE: u32 = 0o100_644;

/// Why a repository could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// It has a branch already that would be made.
    #[error("the repository has a branch {0} already")]
    Branch(StageName),
    /// Git failed.
    #[error("{attempted} failed: {}", source.message())]
    Git {
        /// At what.
        attempted: &'static str,
        /// How.
        source: git2::Error,
    },
}

fn failed(attempted: &'static str) -> impl Fn(git2::Error) -> FoundError {
    move |source| FoundError::Git { attempted, source }
}

/// What becomes of files that are in the folder already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// They stay as they are.
    Kept,
    /// Those of the same names are replaced.
    Replaced,
}

/// Commits the files of each branch, every branch on top of the one before, and checks the last one out. A branch whose files
/// are those of the one before is the same commit: so they can be merged into each other from the first day.
pub fn found(
    folder: &Path,
    branches: &[(StageName, &BTreeMap<String, String>)],
    message: &str,
    existing: Existing,
) -> Result<BTreeMap<StageName, Head>, FoundError> {
    let mut options = RepositoryInitOptions::new();
    if let Some((last, _)) = branches.last() {
        options.initial_head(last.as_str());
    }
    let repo = match Repository::open(folder) {
        Ok(repo) => repo,
        Err(_) => Repository::init_opts(folder, &options).map_err(failed("making the repository"))?,
    };
    for (stage, _) in branches {
        if repo.find_reference(&reference(stage)).is_ok() {
            return Err(FoundError::Branch(stage.clone()));
        }
    }
    let signature = repo.signature().or_else(|_| Signature::now(NOBODY.0, NOBODY.1)).map_err(failed("signing"))?;
    let committing = failed("committing");
    let mut heads = BTreeMap::new();
    let mut before: Option<(Oid, Oid)> = None;
    for (stage, files) in branches {
        let tree = tree(&repo, files)?;
        let commit = match before.filter(|(_, same)| *same == tree) {
            Some((commit, _)) => commit,
            None => {
                let parent = before.map(|(commit, _)| repo.find_commit(commit)).transpose().map_err(&committing)?;
                let parents: Vec<_> = parent.iter().collect();
                let tree = repo.find_tree(tree).map_err(&committing)?;
                repo.commit(None, &signature, &signature, message, &tree, &parents).map_err(&committing)?
            }
        };
        repo.reference(&reference(stage), commit, false, message).map_err(failed("making a branch"))?;
        heads.insert(stage.clone(), Head { commit: object_id(commit), tree: object_id(tree) });
        before = Some((commit, tree));
    }
    if let Some((last, _)) = branches.last() {
        let mut checkout = CheckoutBuilder::new();
        match existing {
            Existing::Kept => checkout.safe(),
            Existing::Replaced => checkout.force(),
        };
        repo.set_head(&reference(last)).map_err(failed("checking a branch out"))?;
        repo.checkout_head(Some(&mut checkout)).map_err(failed("checking files out"))?;
    }
    Ok(heads)
}

fn reference(stage: &StageName) -> String {
    format!("refs/heads/{stage}")
}

fn tree(repo: &Repository, files: &BTreeMap<String, String>) -> Result<Oid, FoundError> {
    let writing = failed("writing files");
    let mut index = Index::new().map_err(&writing)?;
    for (path, text) in files {
        let entry = IndexEntry {
            ctime: IndexTime::new(0, 0),
            mtime: IndexTime::new(0, 0),
            dev: 0,
            ino: 0,
            mode: FILE_MODE,
            uid: 0,
            gid: 0,
            file_size: 0,
            id: repo.blob(text.as_bytes()).map_err(&writing)?,
            flags: 0,
            flags_extended: 0,
            path: path.as_bytes().to_vec(),
        };
        index.add(&entry).map_err(&writing)?;
    }
    index.write_tree_to(repo).map_err(&writing)
}
