//! A fleet repo in memory, for tests and the simulation: a remote whose branches are moved by hand, and the controller's mirror
//! of it, which knows only what it has fetched.

use super::{Fetch, Head, Repo, RepoError, Signature};
use crate::domain::digest::Digest;
use crate::domain::ids::{CommitId, ObjectId, StageName};
use crate::domain::snapshot::{Entry, Snapshot};
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The remote. Clones are the same remote.
#[derive(Clone, Debug, Default)]
pub struct FakeRemote {
    contents: Arc<Mutex<Contents>>,
}

#[derive(Debug, Default)]
struct Contents {
    commits: BTreeMap<CommitId, Commit>,
    branches: BTreeMap<StageName, CommitId>,
    outage: Option<String>,
    /// Commits that a stage does not take, and why.
    unsigned: BTreeMap<(StageName, CommitId), String>,
}

#[derive(Clone, Debug)]
struct Commit {
    parents: Vec<CommitId>,
    tree: ObjectId,
    snapshot: Snapshot,
}

impl FakeRemote {
    /// A remote without commits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a commit that no branch points at yet. The same files and parents twice make two commits.
    pub fn commit(&self, parents: &[&CommitId], files: &[(&str, &str)]) -> CommitId {
        let entries = files.iter().map(|(path, text)| (Arc::from(*path), file(text.as_bytes()))).collect();
        self.commit_snapshot(parents, Snapshot { entries })
    }

    /// Makes a commit of a whole snapshot, refused entries included.
    pub fn commit_snapshot(&self, parents: &[&CommitId], snapshot: Snapshot) -> CommitId {
        let mut contents = self.contents();
        let tree = tree_id(&snapshot);
        // The number makes equal commits differ, as the time does in Git.
        let number = contents.commits.len().to_be_bytes();
        let parts = [&b"commit"[..], tree.as_str().as_bytes(), &number];
        let parents: Vec<CommitId> = parents.iter().map(|parent| (*parent).clone()).collect();
        let id = object_id(parts.into_iter().chain(parents.iter().map(|parent| parent.as_str().as_bytes())));
        contents.commits.insert(id.clone(), Commit { parents, tree, snapshot });
        id
    }

    /// Makes a commit on top of a branch and moves the branch to it; the branch begins with it if it is not there.
    pub fn push(&self, branch: &str, files: &[(&str, &str)]) -> CommitId {
        let tip = self.tip(branch);
        let commit = self.commit(&tip.iter().collect::<Vec<_>>(), files);
        self.point(branch, &commit);
        commit
    }

    /// Makes a commit that changes these files of a branch, and moves the branch to it. `None` removes a file.
    pub fn change(&self, branch: &str, files: &[(&str, Option<&str>)]) -> CommitId {
        let tip = self.tip(branch);
        let base = tip.as_ref().map(|tip| self.contents().commits[tip].snapshot.clone());
        let mut snapshot = base.unwrap_or_default();
        for (path, text) in files {
            match text {
                Some(text) => snapshot.entries.insert(Arc::from(*path), file(text.as_bytes())),
                None => snapshot.entries.remove(*path),
            };
        }
        let commit = self.commit_snapshot(&tip.iter().collect::<Vec<_>>(), snapshot);
        self.point(branch, &commit);
        commit
    }

    /// Merges one branch into another, taking its files: what promotion does. The result's parents are both tips.
    pub fn merge(&self, from: &str, into: &str) -> CommitId {
        let theirs = self.tip(from).expect("the branch that is merged has a commit");
        let ours = self.tip(into);
        let snapshot = self.contents().commits[&theirs].snapshot.clone();
        let parents: Vec<&CommitId> = ours.iter().chain([&theirs]).collect();
        let commit = self.commit_snapshot(&parents, snapshot);
        self.point(into, &commit);
        commit
    }

    /// Moves a branch to any commit, forwards or not.
    pub fn point(&self, branch: &str, commit: &CommitId) {
        let branch = branch.parse().expect("tests name branches that can be stages");
        self.contents().branches.insert(branch, commit.clone());
    }

    /// Deletes a branch.
    pub fn delete(&self, branch: &str) {
        self.contents().branches.remove(branch);
    }

    /// The commit that a branch points at.
    pub fn tip(&self, branch: &str) -> Option<CommitId> {
        self.contents().branches.get(branch).cloned()
    }

    /// From now on a stage that asks for signatures does not take this commit, for this reason.
    pub fn unsign(&self, stage: &str, commit: &CommitId, why: &str) {
        let stage = stage.parse().expect("tests name branches that can be stages");
        self.contents().unsigned.insert((stage, commit.clone()), why.to_owned());
    }

    /// From now on every stage takes every commit again.
    pub fn sign_all(&self) {
        self.contents().unsigned.clear();
    }

    /// From now on the remote cannot be asked, for this reason.
    pub fn go_away(&self, reason: &str) {
        self.contents().outage = Some(reason.to_owned());
    }

    /// The remote can be asked again.
    pub fn come_back(&self) {
        self.contents().outage = None;
    }

    /// A new, empty mirror of it.
    pub fn mirror(&self) -> FakeRepo {
        FakeRepo { remote: self.clone(), fetched: BTreeSet::new(), last: None }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // A test that panicked while it held the lock has failed already; the others may go on.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mirror of a [`FakeRemote`].
#[derive(Clone, Debug)]
pub struct FakeRepo {
    remote: FakeRemote,
    fetched: BTreeSet<CommitId>,
    last: Option<BTreeMap<StageName, Head>>,
}

impl FakeRepo {
    /// The same mirror in a new process: it has the commits, and does not remember what it answered last.
    pub fn restart(&mut self) {
        self.last = None;
    }

    fn bring(&mut self, contents: &Contents, commit: &CommitId) {
        let mut wanted = vec![commit.clone()];
        while let Some(commit) = wanted.pop() {
            if self.fetched.insert(commit.clone()) {
                wanted.extend(contents.commits[&commit].parents.iter().cloned());
            }
        }
    }

    fn read<T>(&self, commit: &CommitId, read: impl FnOnce(&Commit) -> T) -> Result<T, RepoError> {
        let contents = self.remote.contents();
        match contents.commits.get(commit).filter(|_| self.fetched.contains(commit)) {
            Some(found) => Ok(read(found)),
            None => Err(RepoError::NoCommit(commit.clone())),
        }
    }
}

impl Repo for FakeRepo {
    fn fetch(&mut self, stages: &[StageName]) -> Fetch {
        let remote = self.remote.clone();
        let contents = remote.contents();
        if let Some(reason) = &contents.outage {
            return Fetch::Unavailable { reason: reason.clone() };
        }
        if contents.branches.is_empty() {
            return Fetch::Unavailable { reason: "the repository has no branch at all".to_owned() };
        }
        let mut heads = BTreeMap::new();
        for stage in stages {
            if let Some(commit) = contents.branches.get(stage) {
                self.bring(&contents, commit);
                let tree = contents.commits[commit].tree.clone();
                heads.insert(stage.clone(), Head { commit: commit.clone(), tree });
            }
        }
        if self.last.as_ref() == Some(&heads) {
            return Fetch::NotModified;
        }
        self.last = Some(heads.clone());
        Fetch::Fetched(heads)
    }

    fn snapshot(&mut self, commit: &CommitId) -> Result<Snapshot, RepoError> {
        self.read(commit, |found| found.snapshot.clone())
    }

    fn head(&mut self, commit: &CommitId) -> Result<Head, RepoError> {
        self.read(commit, |found| Head { commit: commit.clone(), tree: found.tree.clone() })
    }

    fn signature(&mut self, stage: &StageName, commit: &CommitId, _: Timestamp) -> Result<Signature, RepoError> {
        let unsigned = self.remote.contents().unsigned.get(&(stage.clone(), commit.clone())).cloned();
        self.read(commit, |_| match unsigned {
            None => Signature::NotAsked,
            Some(why) => Signature::Refused { why, wanted: "ada".to_owned() },
        })
    }

    fn contains(&mut self, newer: &CommitId, older: &CommitId) -> Result<bool, RepoError> {
        let mut wanted = vec![newer.clone()];
        let mut seen = BTreeSet::new();
        while let Some(commit) = wanted.pop() {
            if commit == *older {
                return Ok(true);
            }
            let parents = self.read(&commit, |found| found.parents.clone())?;
            wanted.extend(parents.into_iter().filter(|parent| seen.insert(parent.clone())));
        }
        Ok(false)
    }
}

/// A file with its id.
pub fn file(bytes: &[u8]) -> Entry {
    Entry::File { id: object_id([&b"blob"[..], bytes].into_iter()), bytes: bytes.into() }
}

fn tree_id(snapshot: &Snapshot) -> ObjectId {
    let entries = snapshot.entries.iter().map(|(path, entry)| match entry {
        Entry::File { id, .. } => format!("{path} {id}"),
        Entry::Refused(refused) => format!("{path} {refused:?}"),
    });
    let entries: Vec<String> = entries.collect();
    object_id(std::iter::once(&b"tree"[..]).chain(entries.iter().map(|entry| entry.as_bytes())))
}

fn object_id<'a>(parts: impl Iterator<Item = &'a [u8]>) -> ObjectId {
    ObjectId::new(&Digest::of_parts(parts).hex()).expect("64 hexadecimal digits are an object id")
}

#[cfg(test)]
mod tests {
    use super::super::contract::{self, Files, Harness};
    use super::*;

    struct InMemory(FakeRemote);

    impl Harness for InMemory {
        type Repo = FakeRepo;
        fn repo(&mut self) -> FakeRepo {
            self.0.mirror()
        }
        fn commit(&mut self, parents: &[&CommitId], files: Files<'_>) -> CommitId {
            self.0.commit(parents, files)
        }
        fn point(&mut self, branch: &str, commit: &CommitId) {
            self.0.point(branch, commit);
        }
        fn delete(&mut self, branch: &str) {
            self.0.delete(branch);
        }
        fn go_away(&mut self) {
            self.0.go_away("planned outage");
        }
        fn come_back(&mut self) {
            self.0.come_back();
        }
    }

    contract::tests!(InMemory(FakeRemote::new()));

    #[test]
    fn merging_takes_the_files_and_keeps_both_histories() {
        let remote = FakeRemote::new();
        remote.push("main", &[("fleet.yml", "a")]);
        let main = remote.change("main", &[("inventory.yml", Some("b")), ("fleet.yml", None)]);
        let before = remote.push("canary", &[("fleet.yml", "old")]);
        let merged = remote.merge("main", "canary");
        let mut repo = remote.mirror();
        repo.fetch(&["main".parse().unwrap(), "canary".parse().unwrap()]);
        assert_eq!(repo.head(&merged).unwrap().tree, repo.head(&main).unwrap().tree);
        assert!(repo.contains(&merged, &main).unwrap() && repo.contains(&merged, &before).unwrap());
        assert_eq!(
            repo.snapshot(&merged).unwrap().entries.keys().map(|path| &**path).collect::<Vec<_>>(),
            ["inventory.yml"]
        );
    }
}
