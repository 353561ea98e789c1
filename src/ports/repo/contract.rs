//! What every fleet repo must do. One set of tests, run on each.

#![allow(missing_docs, reason = "each function is a test, and its name is the sentence")]

use super::{Fetch, Repo, RepoError};
use crate::domain::ids::{CommitId, ObjectId, StageName};
use crate::domain::snapshot::{Entry, Snapshot};

/// Files by path.
pub type Files<'a> = &'a [(&'a str, &'a str)];

/// How a test reaches the repo that it is about, and its remote.
pub trait Harness {
    /// The repo.
    type Repo: Repo;
    /// A new mirror of the remote, which has fetched nothing.
    fn repo(&mut self) -> Self::Repo;
    /// Makes a commit in the remote.
    fn commit(&mut self, parents: &[&CommitId], files: Files<'_>) -> CommitId;
    /// Moves a branch of the remote.
    fn point(&mut self, branch: &str, commit: &CommitId);
    /// Deletes a branch of the remote.
    fn delete(&mut self, branch: &str);
    /// The remote cannot be asked any more.
    fn go_away(&mut self);
    /// It can be asked again.
    fn come_back(&mut self);
}

/// Makes the contract's tests for a harness.
macro_rules! tests {
    ($harness:expr) => {
        $crate::ports::repo::contract::tests!($harness;
            the_first_fetch_tells_everything_and_the_next_nothing,
            only_asked_branches_are_told_and_missing_ones_are_left_out,
            a_branch_that_moves_back_is_told,
            a_deleted_branch_is_told,
            a_branch_can_make_place_for_one_below_its_name,
            a_remote_that_is_away_says_so_and_changes_nothing,
            a_remote_without_branches_is_unavailable,
            a_snapshot_has_the_files_that_matter,
            equal_files_make_equal_trees_and_ids,
            history_is_known_across_merges,
            a_commit_that_was_never_fetched_is_not_there,
            a_commit_stays_readable_after_its_branch_was_rewritten,
        );
    };
    ($harness:expr; $($name:ident,)*) => {
        $(#[test]
        fn $name() {
            $crate::ports::repo::contract::$name(&mut $harness);
        })*
    };
}
pub(crate) use tests;

fn stages(names: &[&str]) -> Vec<StageName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Fetches and shows the answer, commits by the letters that the test gave them.
fn fetched(repo: &mut impl Repo, names: &[&str], letters: &[(&str, &CommitId)]) -> String {
    let letter = |commit: &CommitId| letters.iter().find(|(_, one)| *one == commit).map_or("?", |(letter, _)| letter);
    match repo.fetch(&stages(names)) {
        Fetch::NotModified => "not modified".to_owned(),
        Fetch::Unavailable { .. } => "unavailable".to_owned(),
        Fetch::Fetched(heads) => {
            let heads = heads.iter().map(|(stage, head)| format!("{stage}={}", letter(&head.commit)));
            heads.collect::<Vec<_>>().join(" ")
        }
    }
}

fn texts(snapshot: &Snapshot) -> String {
    let show = |(path, entry): (_, &Entry)| match entry {
        Entry::File { bytes, .. } => format!("{path}: {}", String::from_utf8_lossy(bytes)),
        Entry::Refused(refused) => format!("{path}: {refused:?}"),
    };
    snapshot.entries.iter().map(show).collect::<Vec<_>>().join("\n")
}

pub fn the_first_fetch_tells_everything_and_the_next_nothing(harness: &mut impl Harness) {
    let a = harness.commit(&[], &[("fleet.yml", "1")]);
    let b = harness.commit(&[&a], &[("fleet.yml", "2")]);
    let letters = [("a", &a), ("b", &b)];
    harness.point("main", &a);
    harness.point("production", &a);
    let names = ["main", "production"];
    let mut repo = harness.repo();
    assert_eq!(fetched(&mut repo, &names, &letters), "main=a production=a");
    assert_eq!(fetched(&mut repo, &names, &letters), "not modified");
    harness.point("main", &b);
    assert_eq!(fetched(&mut repo, &names, &letters), "main=b production=a");
    assert_eq!(fetched(&mut repo, &names, &letters), "not modified");
    let mut restarted = harness.repo();
    assert_eq!(fetched(&mut restarted, &names, &letters), "main=b production=a");
}

pub fn only_asked_branches_are_told_and_missing_ones_are_left_out(harness: &mut impl Harness) {
    let a = harness.commit(&[], &[("fleet.yml", "1")]);
    harness.point("main", &a);
    harness.point("feature", &a);
    let mut repo = harness.repo();
    assert_eq!(fetched(&mut repo, &["main", "production"], &[("a", &a)]), "main=a");
    // News of a branch that nobody asks about is no news.
    let b = harness.commit(&[&a], &[("fleet.yml", "2")]);
    harness.point("feature", &b);
    assert_eq!(fetched(&mut repo, &["main", "production"], &[]), "not modified");
    assert_eq!(fetched(&mut repo, &["production"], &[]), "", "that the only stage is gone is an answer, and empty");
}

pub fn a_branch_that_moves_back_is_told(harness: &mut impl Harness) {
    let a = harness.commit(&[], &[("fleet.yml", "1")]);
    let b = harness.commit(&[&a], &[("fleet.yml", "2")]);
    let letters = [("a", &a), ("b", &b)];
    harness.point("main", &b);
    let mut repo = harness.repo();
    assert_eq!(fetched(&mut repo, &["main"], &letters), "main=b");
    harness.point("main", &a);
    assert_eq!(fetched(&mut repo, &["main"], &letters), "main=a");
    assert!(repo.contains(&b, &a).unwrap());
    assert!(!repo.contains(&a, &b).unwrap());
}

pub fn a_deleted_branch_is_told(harness: &mut impl Harness) {
    let a = harness.commit(&[], &[("fleet.yml", "1")]);
    harness.point("main", &a);
    harness.point("canary", &a);
    let mut repo = harness.repo();
    assert_eq!(fetched(&mut repo, &["main", "canary"], &[("a", &a)]), "canary=a main=a");
    harness.delete("canary");
    assert_eq!(fetched(&mut repo, &["main", "canary"], &[("a", &a)]), "main=a");
    assert_eq!(texts(&repo.snapshot(&a).unwrap()), "fleet.yml: 1");
}

pub fn a_branch_can_make_place_for_one_below_its_name(harness: &mut impl Harness) {
    let a = harness.commit(&[], &[("fleet.yml", "1")]);
    harness.point("site", &a);
    let mut repo = harness.repo();
    let names = ["site", "site/zurich"];
    assert_eq!(fetched(&mut repo, &names, &[("a", &a)]), "site=a");
    harness.delete("site");
    harness.point("site/zurich", &a);
    assert_eq!(fetched(&mut repo, &names, &[("a", &a)]), "site/zurich=a");
}

pub fn a_remote_that_is_away_says_so_and_changes_nothing(harness: &mut impl Harness) {
    let a = harness.commit(&[], &[("fleet.yml", "1")]);
    harness.point("main", &a);
    let mut repo = harness.repo();
    harness.go_away();
    assert_eq!(fetched(&mut repo, &["main"], &[]), "unavailable");
    harness.come_back();
    assert_eq!(fetched(&mut repo, &["main"], &[("a", &a)]), "main=a");
    harness.go_away();
    assert_eq!(fetched(&mut repo, &["main"], &[]), "unavailable");
    assert_eq!(texts(&repo.snapshot(&a).unwrap()), "fleet.yml: 1");
    harness.come_back();
    assert_eq!(fetched(&mut repo, &["main"], &[]), "not modified");
}

pub fn a_remote_without_branches_is_unavailable(harness: &mut impl Harness) {
    let mut repo = harness.repo();
    assert_eq!(fetched(&mut repo, &["main"], &[]), "unavailable");
    let a = harness.commit(&[], &[("fleet.yml", "1")]);
    harness.point("main", &a);
    assert_eq!(fetched(&mut repo, &["main"], &[("a", &a)]), "main=a");
    harness.delete("main");
    assert_eq!(fetched(&mut repo, &["main"], &[]), "unavailable", "it does not mean that every stage is gone");
}

pub fn a_snapshot_has_the_files_that_matter(harness: &mut impl Harness) {
    let files = [
        ("fleet.yml", "f"),
        ("group_vars/all.yml", "g"),
        ("host_vars/kiosk-1/net.yml", "h"),
        ("inventory.yml", "i"),
        ("releases/kiosk/1.0.0/compose.yml", "c"),
    ];
    let a = harness.commit(&[], &files);
    harness.point("main", &a);
    let mut repo = harness.repo();
    repo.fetch(&stages(&["main"]));
    let shown = texts(&repo.snapshot(&a).unwrap());
    assert_eq!(
        shown,
        "fleet.yml: f\ngroup_vars/all.yml: g\nhost_vars/kiosk-1/net.yml: h\ninventory.yml: i\n\
         releases/kiosk/1.0.0/compose.yml: c"
    );
}

pub fn equal_files_make_equal_trees_and_ids(harness: &mut impl Harness) {
    let files = [("fleet.yml", "same"), ("inventory.yml", "same")];
    let a = harness.commit(&[], &files);
    let b = harness.commit(&[&a], &files);
    let c = harness.commit(&[&b], &[("fleet.yml", "same"), ("inventory.yml", "other")]);
    harness.point("main", &c);
    let mut repo = harness.repo();
    repo.fetch(&stages(&["main"]));
    let tree = |repo: &mut dyn Repo, commit| repo.head(commit).unwrap().tree;
    assert_ne!(a, b);
    assert_eq!(tree(&mut repo, &a), tree(&mut repo, &b));
    assert_ne!(tree(&mut repo, &b), tree(&mut repo, &c));
    assert_eq!(repo.snapshot(&a).unwrap(), repo.snapshot(&b).unwrap());
    let snapshot = repo.snapshot(&c).unwrap();
    let id = |path: &str| match &snapshot.entries[path] {
        Entry::File { id, .. } => id.clone(),
        Entry::Refused(refused) => panic!("{path}: {refused:?}"),
    };
    assert_ne!(id("fleet.yml"), id("inventory.yml"));
    assert!(
        matches!(&repo.snapshot(&a).unwrap().entries["inventory.yml"], Entry::File { id: one, .. } if *one == id("fleet.yml"))
    );
}

pub fn history_is_known_across_merges(harness: &mut impl Harness) {
    let a = harness.commit(&[], &[("fleet.yml", "a")]);
    let left = harness.commit(&[&a], &[("fleet.yml", "left")]);
    let right = harness.commit(&[&a], &[("fleet.yml", "right")]);
    let merged = harness.commit(&[&left, &right], &[("fleet.yml", "right")]);
    harness.point("main", &merged);
    let mut repo = harness.repo();
    repo.fetch(&stages(&["main"]));
    for older in [&a, &left, &right, &merged] {
        assert!(repo.contains(&merged, older).unwrap());
    }
    assert!(!repo.contains(&left, &right).unwrap());
}

pub fn a_commit_that_was_never_fetched_is_not_there(harness: &mut impl Harness) {
    let a = harness.commit(&[], &[("fleet.yml", "a")]);
    let elsewhere = harness.commit(&[&a], &[("fleet.yml", "b")]);
    harness.point("main", &a);
    harness.point("feature", &elsewhere);
    let mut repo = harness.repo();
    repo.fetch(&stages(&["main"]));
    for digits in [40, 64] {
        let unknown = ObjectId::new(&"0123456789".repeat(7)[..digits]).unwrap();
        for commit in [&unknown, &elsewhere] {
            assert!(matches!(repo.snapshot(commit), Err(RepoError::NoCommit(one)) if one == *commit));
            assert!(matches!(repo.head(commit), Err(RepoError::NoCommit(_))));
            assert!(matches!(repo.contains(commit, &a), Err(RepoError::NoCommit(_))));
            assert!(!repo.contains(&a, commit).unwrap(), "an older commit that is gone is not contained");
        }
    }
}

pub fn a_commit_stays_readable_after_its_branch_was_rewritten(harness: &mut impl Harness) {
    let a = harness.commit(&[], &[("fleet.yml", "a")]);
    let b = harness.commit(&[], &[("fleet.yml", "b")]);
    harness.point("main", &a);
    let mut repo = harness.repo();
    assert_eq!(fetched(&mut repo, &["main"], &[("a", &a)]), "main=a");
    harness.point("main", &b);
    assert_eq!(fetched(&mut repo, &["main"], &[("b", &b)]), "main=b");
    assert!(!repo.contains(&b, &a).unwrap());
    assert_eq!(texts(&repo.snapshot(&a).unwrap()), "fleet.yml: a");
}
