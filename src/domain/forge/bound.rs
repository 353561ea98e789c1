//! A plan is bound to one commit and one stage. It is said of no other merge request.

use crate::domain::ids::{CommitId, StageName};

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound<'a> {
    /// The commit that was planned.
    pub commit: &'a CommitId,
    /// The stage.
    pub stage: &'a StageName,
}

/// Why a plan is not said of a merge request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Somebody has pushed since, or the plan is of another merge request.
    #[error("the plan is of commit {}, and the merge request is at {}", planned.short(), head.short())]
    OtherCommit {
        /// The commit that was planned.
        planned: CommitId,
        /// What the merge request would merge.
        head: CommitId,
    },
    /// It would be merged into another branch.
    #[error("the plan is for stage {planned}, and the merge request for branch `{base}`")]
    OtherBranch {
        /// The stage.
        planned: StageName,
        /// The branch.
        base: String,
    },
}

impl Bound<'_> {
    /// Whether the plan is of what a merge request would merge.
    pub fn fits(&self, head: &CommitId, base: &str) -> Result<(), Misfit> {
        if self.commit != head {
            return Err(Misfit::OtherCommit { planned: self.commit.clone(), head: head.clone() });
        }
        if self.stage.as_str() != base {
            return Err(Misfit::OtherBranch { planned: self.stage.clone(), base: base.to_owned() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_said_only_of_the_commit_and_the_branch_that_it_is_for() {
        let (commit, stage) = ("1a2b3c4d".repeat(5).parse().expect("a commit"), "main".parse().expect("a stage"));
        let bound = Bound { commit: &commit, stage: &stage };
        let newer: CommitId = "99887766".repeat(5).parse().expect("a commit");
        let shown = |answer: Result<(), Misfit>| answer.map_or_else(|error| error.to_string(), |()| "fits".to_owned());
        assert_eq!(shown(bound.fits(&commit, "main")), "fits");
        assert_eq!(
            shown(bound.fits(&newer, "main")),
            "the plan is of commit 1a2b3c4d, and the merge request is at 99887766"
        );
        assert_eq!(
            shown(bound.fits(&commit, "x`y")),
            "the plan is for stage main, and the merge request for branch `x`y`"
        );
    }
}
