//! The trees that counted for a stage, and what became of each: what may go on to the next stage, and to what a stage may go back.

use super::StageRecord;
use crate::domain::ids::{Actor, CommitId, ObjectId};
use crate::domain::snapshot::Head;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How many trees of a stage are remembered; the oldest go first. A promotion that takes longer than so many commits needs an approval,
/// and all of them together are some kilobytes.
pub const MAX_TREES: usize = 64;

/// A tree that counted for a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedTree {
    /// The tree.
    pub tree: ObjectId,
    /// The newest commit with it that counted.
    pub commit: CommitId,
    /// Who approved that it counts, where it was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<Actor>,
    /// What became of it there.
    #[serde(flatten)]
    pub outcome: TreeOutcome,
}

/// What became of a tree on a stage. It is only followed where somebody waits for it: on a stage that takes verified trees alone, and on the
/// one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum TreeOutcome {
    /// It has not finished, or something else counted before it did, or nobody followed it.
    Trying,
    /// Everything that it changed is there and well.
    Finished {
        /// When.
        at: Timestamp,
        /// On how many devices it was tried.
        exercised: usize,
    },
    /// A rollout of it failed, was aborted or went back.
    WentWrong {
        /// When.
        at: Timestamp,
    },
}

/// Why a tree does not count as verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unverified {
    /// It never counted in the stage before: something was edited, rebased or merged with something else on the way.
    Unknown,
    /// It has not finished there.
    Trying,
    /// It went wrong there.
    WentWrong,
}

impl StageRecord {
    /// The tree that counts; `None` where nothing does, or the record is older than the list of trees.
    pub fn counting_tree(&self) -> Option<&CountedTree> {
        self.trees.last().filter(|newest| Some(&newest.commit) == self.accepted.as_ref())
    }

    /// What became of a tree here; `None` if it never counted, or too long ago.
    pub fn outcome_of(&self, tree: &ObjectId) -> Option<&TreeOutcome> {
        self.trees.iter().find(|one| one.tree == *tree).map(|one| &one.outcome)
    }

    /// Notes that a tree counts from now on. What finished once stays finished until it goes wrong; what went wrong is tried anew.
    pub fn note_tree(&mut self, head: &Head, approved_by: Option<Actor>) {
        let known = self.trees.iter().position(|one| one.tree == head.tree);
        let outcome = match known.map(|place| self.trees.remove(place).outcome) {
            Some(finished @ TreeOutcome::Finished { .. }) => finished,
            Some(TreeOutcome::Trying | TreeOutcome::WentWrong { .. }) | None => TreeOutcome::Trying,
        };
        let Head { commit, tree } = head.clone();
        self.trees.push(CountedTree { tree, commit, approved_by, outcome });
        let surplus = self.trees.len().saturating_sub(MAX_TREES);
        self.trees.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn head(number: usize) -> Head {
        let id = |number: usize| ObjectId::new(&format!("{number:040x}")).expect("an id");
        let commit = CommitId::new(&format!("{number:040x}")).expect("an id");
        Head { commit, tree: id(number % 100) }
    }

    fn record() -> StageRecord {
        StageRecord {
            accepted: None,
            inventory: None,
            waiting: None,
            unmanaged: BTreeSet::new(),
            baseline: 0,
            staged: None,
            trees: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_trees_are_forgotten_and_one_that_comes_back_is_the_newest() {
        let mut record = record();
        (1..=MAX_TREES + 1).for_each(|number| record.note_tree(&head(number), None));
        assert_eq!(record.trees.len(), MAX_TREES);
        assert_eq!(
            (record.outcome_of(&head(1).tree), record.outcome_of(&head(2).tree)),
            (None, Some(&TreeOutcome::Trying))
        );
        record.note_tree(&head(102), None);
        assert_eq!(
            (record.trees.len(), record.trees.last().map(|one| &one.commit)),
            (MAX_TREES, Some(&head(102).commit))
        );
    }

    #[test]
    fn what_finished_stays_finished_and_what_went_wrong_is_tried_anew() {
        let mut record = record();
        let at = Timestamp::EPOCH;
        for (outcome, then) in [
            (TreeOutcome::Finished { at, exercised: 3 }, TreeOutcome::Finished { at, exercised: 3 }),
            (TreeOutcome::WentWrong { at }, TreeOutcome::Trying),
        ] {
            record.note_tree(&head(1), None);
            record.trees.last_mut().expect("it was noted").outcome = outcome;
            record.note_tree(&head(101), None);
            assert_eq!(record.outcome_of(&head(1).tree), Some(&then));
        }
    }
}
