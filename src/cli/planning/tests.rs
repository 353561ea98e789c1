//! What a plan is made against where no controller is asked, on real repositories.

use super::*;
use crate::domain::desired::Resolver;
use crate::example;
use crate::git::index_entry;
use git2::{FileMode, Oid, Repository, Signature, Time};
use tempfile::TempDir;

/// A repository with commits of the example, each with other pins of the kiosks.
struct Fleet {
    folder: TempDir,
    repo: Repository,
}

impl Fleet {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let repo = Repository::init_bare(folder.path()).expect("a repository");
        Self { folder, repo }
    }

    fn commit(&self, pin: &str, parents: &[Oid]) -> Oid {
        let mut index = git2::Index::new().expect("an index");
        for (path, text) in example::FILES {
            let changed = format!("pins: {{ signage: {pin} }}\n");
            let text = if *path == "group_vars/kiosks.yml" { &changed } else { *text };
            let content = self.repo.blob(text.as_bytes()).expect("a blob");
            index.add(&index_entry(path, content, FileMode::Blob)).expect("an entry");
        }
        let tree = self.repo.find_tree(index.write_tree_to(&self.repo).expect("a tree")).expect("the tree");
        let who = Signature::new("anna", "anna@example.org", &Time::new(0, 0)).expect("a signature");
        let parents: Vec<_> = parents.iter().map(|id| self.repo.find_commit(*id).expect("a parent")).collect();
        self.repo.commit(None, &who, &who, pin, &tree, &parents.iter().collect::<Vec<_>>()).expect("a commit")
    }

    fn point(&self, reference: &str, commit: Oid) {
        self.repo.reference(reference, commit, true, "test").expect("a reference");
    }

    /// What planning `rev` for `production` says that it was made against, and how many devices change.
    fn check(&self, rev: &str) -> String {
        let stage: StageName = "production".parse().expect("a stage");
        let mut clone = local::open(self.folder.path()).expect("a clone");
        let commit = local::commit(&mut clone, rev).expect("a commit");
        let desired = Resolver::default().resolve(&commit.files);
        let base = local_base(&mut clone, &stage, &commit, &desired, &FoundList::default()).expect("a base");
        let planned = ground_against(&mut clone, &stage, commit, desired, base, &FoundList::default(), None)
            .expect("a plan")
            .plan();
        let named = match planned.against {
            Against::Commit { named, .. } => named,
            other => other.to_string(),
        };
        format!(
            "{named}: {} changes, {} held, {} unknown",
            planned.plan.changes.len(),
            planned.plan.held.len(),
            planned.unknown.len()
        )
    }
}

#[test]
fn a_first_commit_is_planned_against_nothing() {
    let fleet = Fleet::new();
    let first = fleet.commit("^1.4", &[]);
    fleet.point("refs/heads/production", first);
    assert_eq!(fleet.check("production"), "nothing: the commit has no parent: 4 changes, 0 held, 0 unknown");
}

#[test]
fn without_a_remote_the_commit_before_is_what_a_plan_is_made_against() {
    let fleet = Fleet::new();
    let first = fleet.commit("^1.4", &[]);
    let second = fleet.commit("2.0.0", &[first]);
    fleet.point("refs/heads/production", second);
    assert_eq!(fleet.check("production"), "production^: 2 changes, 0 held, 0 unknown");
}

#[test]
fn what_was_fetched_of_the_stage_comes_before_the_commit_before() {
    let fleet = Fleet::new();
    let first = fleet.commit("^1.4", &[]);
    let second = fleet.commit("1.4.2", &[first]);
    let third = fleet.commit("1.4.2", &[second]);
    fleet.point("refs/heads/topic", third);
    fleet.point("refs/remotes/origin/production", first);
    assert_eq!(fleet.check("topic"), "origin/production: 2 changes, 0 held, 0 unknown");
}

#[test]
fn a_branch_that_fell_behind_is_planned_from_where_it_parted() {
    let fleet = Fleet::new();
    let first = fleet.commit("^1.4", &[]);
    let theirs = fleet.commit("2.0.0", &[first]);
    let ours = fleet.commit("1.4.2", &[first]);
    fleet.point("refs/heads/topic", ours);
    fleet.point("refs/remotes/origin/production", theirs);
    assert_eq!(fleet.check("topic"), "where topic and origin/production parted: 2 changes, 0 held, 0 unknown");
}

#[test]
fn a_baseline_whose_commits_the_clone_lacks_leaves_something_unknown() {
    let fleet = Fleet::new();
    let first = fleet.commit("^1.4", &[]);
    fleet.point("refs/heads/production", first);
    let stage: StageName = "production".parse().expect("a stage");
    let mut clone = local::open(fleet.folder.path()).expect("a clone");
    let commit = local::commit(&mut clone, "production").expect("a commit");
    let desired = Resolver::default().resolve(&commit.files);
    let mut base = local_base(&mut clone, &stage, &commit, &desired, &FoundList::default()).expect("a base");
    let elsewhere: CommitId = "0123abcd".repeat(5).parse().expect("a commit");
    for name in ["main", "production"] {
        let name: StageName = name.parse().expect("a stage");
        let record = crate::domain::fleet::StageRecord {
            accepted: Some(elsewhere.clone()),
            inventory: None,
            waiting: None,
            unmanaged: BTreeSet::new(),
            baseline: 0,
            staged: None,
            trees: Vec::new(),
        };
        base.baseline.records.insert(name, record);
    }
    base.baseline.stages.insert(0, StagePolicy::with_defaults("main".parse().expect("a stage")));
    let planned =
        ground_against(&mut clone, &stage, commit, desired, base, &FoundList::default(), None).expect("a plan").plan();
    assert_eq!(
        planned.unknown,
        [
            "whether the commit extends 0123abcd, which counts for production: this clone does not have it; fetch first",
            "what stage main claims now: this clone does not have its commit 0123abcd; its last claims count",
        ]
    );
}
