//! What merging one commit into another would make, found out without writing anything.

use super::super::{failed, find_commit, object_id};
use super::GitClone;
use crate::domain::ids::{CommitId, ObjectId};
use crate::domain::snapshot::Snapshot;
use crate::ports::repo::RepoError;
use std::collections::BTreeSet;

/// The priority of the objects that are kept in memory: above those of the disk, which libgit2 gives 1 and 2, so that whatever is
/// written goes there.
const IN_MEMORY: i32 = 1000;

/// What merging makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// A tree. Its new objects are in memory only, as long as the clone is open.
    Tree(ObjectId),
    /// Nothing: both sides changed these paths, each in its own way. A path that is not UTF-8 is shown with replacement characters.
    Conflicts(BTreeSet<String>),
}

impl GitClone {
    /// What merging `head` into `base` would make: the tree that a merge commit, a squash and a rebase all end with.
    pub fn merged(&self, base: &CommitId, head: &CommitId) -> Result<Merged, RepoError> {
        let attempted = failed("merge two commits");
        let (ours, theirs) = (find_commit(&self.repo, base)?, find_commit(&self.repo, head)?);
        match self.repo.merge_base(ours.id(), theirs.id()) {
            Ok(common) if common == ours.id() => return Ok(Merged::Tree(object_id(theirs.tree_id()))),
            Ok(common) if common == theirs.id() => return Ok(Merged::Tree(object_id(ours.tree_id()))),
            // Histories that share nothing can be merged too; Git asks once more before it does so, and so does a reviewer.
            Ok(_) | Err(_) => {}
        }
        let odb = self.repo.odb().map_err(&attempted)?;
        let _memory = odb.add_new_mempack_backend(IN_MEMORY).map_err(&attempted)?;
        let mut index = self.repo.merge_commits(&ours, &theirs, None).map_err(&attempted)?;
        if !index.has_conflicts() {
            return index.write_tree_to(&self.repo).map(|tree| Merged::Tree(object_id(tree))).map_err(&attempted);
        }
        let mut paths = BTreeSet::new();
        for conflict in index.conflicts().map_err(&attempted)? {
            let conflict = conflict.map_err(&attempted)?;
            let sides = [conflict.our, conflict.their, conflict.ancestor].into_iter().flatten();
            paths.extend(sides.map(|side| String::from_utf8_lossy(&side.path).into_owned()));
        }
        Ok(Merged::Conflicts(paths))
    }

    /// The files of a tree.
    pub fn snapshot_of_tree(&mut self, tree: &ObjectId) -> Result<Snapshot, RepoError> {
        let attempted = "read the files of a tree";
        let missing = || RepoError::NoCommit(tree.clone());
        let id = super::super::oid(tree).ok_or_else(missing)?;
        match self.snapshots.read(&self.repo, id) {
            Ok((snapshot, _)) => Ok(snapshot),
            Err(error) => Err(RepoError::Failed { attempted, source: Box::new(error) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{index_entry, open_clone};
    use git2::{FileMode, Oid, Repository, Signature, Time};
    use tempfile::TempDir;

    struct Repo {
        folder: TempDir,
        repo: Repository,
    }

    impl Repo {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let repo = Repository::init_bare(folder.path()).expect("a repository");
            Self { folder, repo }
        }

        fn commit(&self, files: &[(&str, &str)], parents: &[Oid]) -> CommitId {
            let mut index = git2::Index::new().expect("an index");
            for (path, text) in files {
                let content = self.repo.blob(text.as_bytes()).expect("a blob");
                index.add(&index_entry(path, content, FileMode::Blob)).expect("an entry");
            }
            let tree = self.repo.find_tree(index.write_tree_to(&self.repo).expect("a tree")).expect("the tree");
            let who = Signature::new("anna", "anna@example.org", &Time::new(0, 0)).expect("a signature");
            let parents: Vec<_> = parents.iter().map(|id| self.repo.find_commit(*id).expect("a parent")).collect();
            let parents: Vec<_> = parents.iter().collect();
            object_id(self.repo.commit(None, &who, &who, "a", &tree, &parents).expect("a commit"))
        }

        /// The files that merging makes, or the paths in conflict; and whether anything was written.
        fn check(&self, base: &CommitId, head: &CommitId) -> String {
            let files = || walk(&self.folder.path().join("objects"));
            let before = files();
            let mut clone = open_clone(self.folder.path()).expect("a clone");
            let shown = match clone.merged(base, head).expect("an answer") {
                Merged::Conflicts(paths) => format!("conflicts {paths:?}"),
                Merged::Tree(tree) => {
                    let files = clone.snapshot_of_tree(&tree).expect("the files");
                    files.entries.iter().map(|(path, entry)| format!("{path}: {}\n", text(entry))).collect()
                }
            };
            assert_eq!(before, files(), "nothing is written");
            shown
        }
    }

    fn text(entry: &crate::domain::snapshot::Entry) -> String {
        match entry {
            crate::domain::snapshot::Entry::File { bytes, .. } => String::from_utf8_lossy(bytes).replace('\n', " "),
            other => format!("{other:?}"),
        }
    }

    fn walk(folder: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
    }

    fn oid(id: &CommitId) -> Oid {
        Oid::from_str(id.as_str()).expect("an id")
    }

    #[test]
    fn a_merge_keeps_what_both_sides_changed_and_writes_nothing() {
        let repo = Repo::new();
        let first = repo.commit(&[("host_vars/a.yml", "a: 1\n"), ("host_vars/b.yml", "b: 1\n")], &[]);
        let base = repo.commit(&[("host_vars/a.yml", "a: 2\n"), ("host_vars/b.yml", "b: 1\n")], &[oid(&first)]);
        let head = repo.commit(&[("host_vars/a.yml", "a: 1\n"), ("host_vars/b.yml", "b: 2\n")], &[oid(&first)]);
        insta::assert_snapshot!(repo.check(&base, &head), @"
        host_vars/a.yml: a: 2 
        host_vars/b.yml: b: 2
        ");
        assert_eq!(repo.check(&base, &head), repo.check(&head, &base));
    }

    #[test]
    fn a_branch_that_is_ahead_or_behind_needs_no_merge() {
        let repo = Repo::new();
        let first = repo.commit(&[("fleet.yml", "a: 1\n")], &[]);
        let second = repo.commit(&[("fleet.yml", "a: 2\n")], &[oid(&first)]);
        assert_eq!(repo.check(&first, &second), "fleet.yml: a: 2 \n");
        assert_eq!(repo.check(&second, &first), "fleet.yml: a: 2 \n");
    }

    #[test]
    fn a_conflict_names_the_paths() {
        let repo = Repo::new();
        let first = repo.commit(&[("fleet.yml", "a: 1\n"), ("inventory.yml", "a: 1\n")], &[]);
        let base = repo.commit(&[("fleet.yml", "a: 2\n"), ("inventory.yml", "a: 1\n")], &[oid(&first)]);
        let head = repo.commit(&[("fleet.yml", "a: 3\n"), ("inventory.yml", "a: 3\n")], &[oid(&first)]);
        assert_eq!(repo.check(&base, &head), r#"conflicts {"fleet.yml"}"#);
    }

    #[test]
    fn histories_that_share_nothing_are_merged_as_far_as_their_files_agree() {
        let repo = Repo::new();
        let (one, other) = (repo.commit(&[("fleet.yml", "a: 1\n")], &[]), repo.commit(&[("os/a.yml", "a: 1\n")], &[]));
        assert_eq!(repo.check(&one, &other), "fleet.yml: a: 1 \nos/a.yml: a: 1 \n");
    }
}
