//! Git: the mirror of the fleet repo that the controller owns, ordinary clones, and work trees.
//!
//! Content is read straight from Git objects, never from a checkout, so nothing in a commit can make anything appear in the
//! file system. What a commit or a folder means in files is decided in one place each, `objects` and [`worktree`], and
//! both answer with the same [`Snapshot`](crate::domain::snapshot::Snapshot).
//!
//! libgit2 waits for ever by default, and its time-outs can only be set by an `unsafe` call. It reads remotes on this machine,
//! which do not need them; those behind a network are fetched by the `git` program, which can be given up and killed
//! (`docs/decisions`, "Fetching over a network").

pub mod access;
mod blame;
pub mod clone;
pub mod found;
#[cfg(test)]
pub(crate) mod history;
pub mod mirror;
mod objects;
mod program;
pub mod propose;
pub mod remote;
pub mod secret;
pub mod signature;
mod trees;
mod upkeep;
pub mod worktree;

pub use access::Access;
pub use clone::{GitClone, Merged, open_clone};
pub use mirror::{GitMirror, MirrorError};
pub use program::Stop;
pub use remote::{RemoteUrl, Transport};
pub use worktree::read_worktree;

use crate::domain::ids::{ObjectId, StageName};
use crate::ports::repo::{Head, RepoError};
use git2::{Oid, Repository};
use std::collections::BTreeMap;

/// The newest commits of branches.
type Tips = BTreeMap<StageName, Oid>;

/// How deep folders may be nested. Nothing that Bellwether reads lies deeper than four.
pub const MAX_DEPTH: usize = 32;

/// How long the files of one commit may be together, in bytes. Ten times what the largest fleets need; it bounds what a small
/// but well compressed commit can make the controller keep in memory.
pub const MAX_SNAPSHOT_BYTES: u64 = 1 << 30;

fn object_id(oid: Oid) -> ObjectId {
    ObjectId::new(&oid.to_string()).expect("libgit2 writes ids as lower-case hexadecimal digits")
}

/// The id as libgit2 takes it; `None` for one that no repository of this build's format can have.
fn oid(id: &ObjectId) -> Option<Oid> {
    Oid::from_str(id.as_str()).ok()
}

fn failed(attempted: &'static str) -> impl Fn(git2::Error) -> RepoError {
    move |error| RepoError::Failed { attempted, source: Box::new(error) }
}

fn find_commit<'repo>(repo: &'repo Repository, commit: &ObjectId) -> Result<git2::Commit<'repo>, RepoError> {
    let missing = || RepoError::NoCommit(commit.clone());
    repo.find_commit(oid(commit).ok_or_else(missing)?).map_err(|error| match error.code() {
        git2::ErrorCode::NotFound => missing(),
        _ => failed("read a commit")(error),
    })
}

fn head_of(repo: &Repository, commit: &ObjectId) -> Result<Head, RepoError> {
    let found = find_commit(repo, commit)?;
    Ok(Head { commit: object_id(found.id()), tree: object_id(found.tree_id()) })
}

fn contains(repo: &Repository, newer: &ObjectId, older: &ObjectId) -> Result<bool, RepoError> {
    let newer = find_commit(repo, newer)?;
    let older = match find_commit(repo, older) {
        Ok(older) => older,
        Err(RepoError::NoCommit(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    if newer.id() == older.id() {
        return Ok(true);
    }
    repo.graph_descendant_of(newer.id(), older.id()).map_err(failed("walk its history"))
}

/// A file for an index that is made in memory: only its path, content and mode mean anything.
pub(crate) fn index_entry(path: &str, id: Oid, mode: git2::FileMode) -> git2::IndexEntry {
    let time = git2::IndexTime::new(0, 0);
    git2::IndexEntry {
        ctime: time,
        mtime: time,
        dev: 0,
        ino: 0,
        mode: mode.into(),
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_vec(),
    }
}

/// Why a name of a file or folder is not taken into a snapshot, or the name.
///
/// Control characters and backslashes are refused with the rest: the former write on people's terminals, the latter are what
/// refused names are escaped with, so that no two paths of a commit have one key.
fn file_name(name: &[u8]) -> Result<&str, String> {
    let escaped = || name.escape_ascii().to_string();
    let text = std::str::from_utf8(name).map_err(|_| escaped())?;
    let leaves_the_tree = matches!(text, "" | "." | "..") || text.eq_ignore_ascii_case(".git");
    if leaves_the_tree || text.contains(['/', '\\']) || text.chars().any(char::is_control) {
        return Err(escaped());
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
