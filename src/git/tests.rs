//! Tests against real repositories in temporary folders.

mod blame;
mod copying;
mod damage;
mod hostile;
mod network;
mod program;
mod same;
#[path = "../../tests/it/harness/git_servers.rs"]
mod servers;
mod signatures;

use super::*;
use crate::domain::ids::{CommitId, StageName};
use crate::domain::snapshot::{Entry, Snapshot};
use crate::ports::repo::contract::{self, Files, Harness};
use crate::ports::repo::{Fetch, Repo as _};
use git2::{FileMode, Signature, Time};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A remote and the mirrors of it.
struct OnDisk {
    folder: TempDir,
    remote: Repository,
    commits: i64,
    mirrors: usize,
}

impl OnDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let remote = Repository::init_bare(folder.path().join("fleet.git")).unwrap();
        Self { folder, remote, commits: 0, mirrors: 0 }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("fleet.git")
    }

    fn mirror(&self, name: &str) -> GitMirror {
        GitMirror::open(&self.folder.path().join(name), RemoteUrl::Local(self.path())).unwrap()
    }

    /// A mirror that has fetched `main`, which points at this tree.
    fn mirror_of(&mut self, tree: Oid) -> (GitMirror, CommitId) {
        let commit = self.commit_tree(tree, &[]);
        self.point("main", &commit);
        let mut mirror = self.repo();
        assert!(matches!(mirror.fetch(&["main".parse().unwrap()]), Fetch::Fetched(_)));
        (mirror, commit)
    }

    fn blob(&self, bytes: &[u8]) -> Oid {
        self.remote.blob(bytes).unwrap()
    }

    /// Writes a tree as it is given, however wrong, past libgit2's checks.
    fn raw_tree(&self, entries: &[(&str, &[u8], Oid)]) -> Oid {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(id.as_bytes());
        }
        self.remote.odb().unwrap().write(git2::ObjectType::Tree, &bytes).unwrap()
    }

    fn tree(&self, files: Files<'_>) -> Oid {
        let mut index = git2::Index::new().unwrap();
        for (path, text) in files {
            index.add(&index_entry(path, self.blob(text.as_bytes()), FileMode::Blob)).unwrap();
        }
        index.write_tree_to(&self.remote).unwrap()
    }

    fn commit_tree(&mut self, tree: Oid, parents: &[&CommitId]) -> CommitId {
        // Each commit a second later, so that equal ones differ.
        self.commits += 1;
        let who = Signature::new("anna", "anna@example.org", &Time::new(1_700_000_000 + self.commits, 0)).unwrap();
        let tree = self.remote.find_tree(tree).unwrap();
        let parents: Vec<_> = parents.iter().map(|id| self.remote.find_commit(oid(id).unwrap()).unwrap()).collect();
        let parents: Vec<_> = parents.iter().collect();
        object_id(self.remote.commit(None, &who, &who, "a change", &tree, &parents).unwrap())
    }
}

impl Harness for OnDisk {
    type Repo = GitMirror;

    fn repo(&mut self) -> GitMirror {
        self.mirrors += 1;
        self.mirror(&format!("mirror-{}", self.mirrors))
    }

    fn commit(&mut self, parents: &[&CommitId], files: Files<'_>) -> CommitId {
        let tree = self.tree(files);
        self.commit_tree(tree, parents)
    }

    fn point(&mut self, branch: &str, commit: &CommitId) {
        self.remote.reference(&format!("refs/heads/{branch}"), oid(commit).unwrap(), true, "test").unwrap();
    }

    fn delete(&mut self, branch: &str) {
        self.remote.find_reference(&format!("refs/heads/{branch}")).unwrap().delete().unwrap();
    }

    fn go_away(&mut self) {
        std::fs::rename(self.path(), self.folder.path().join("away")).unwrap();
    }

    fn come_back(&mut self) {
        std::fs::rename(self.folder.path().join("away"), self.path()).unwrap();
    }
}

contract::tests!(OnDisk::new());

fn main() -> Vec<StageName> {
    vec!["main".parse().unwrap()]
}

/// A snapshot as text, one line for each path.
fn show(snapshot: &Snapshot) -> String {
    let line = |(path, entry): (&std::sync::Arc<str>, &Entry)| match entry {
        Entry::File { bytes, .. } if bytes.len() > 40 => format!("{path}: {} bytes", bytes.len()),
        Entry::File { bytes, .. } => format!("{path}: {:?}", String::from_utf8_lossy(bytes)),
        Entry::Refused(refused) => format!("{path}: {refused:?}"),
    };
    snapshot.entries.iter().map(line).collect::<Vec<_>>().join("\n")
}
