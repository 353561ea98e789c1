//! Whether what one stage runs may go on to the next, and what speaks for it.

use crate::domain::fleet::TreeOutcome;
use crate::domain::ids::{Actor, CommitId, ObjectId, PolicyName, RolloutName, StageName};
use crate::domain::overview::rollouts::RolloutDetail;
use crate::domain::overview::status::StageStatus;
use crate::domain::plan::policy::Promotion;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is known of the stage from which something is to go on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// How it stands.
    pub from: &'a StageStatus,
    /// Its rollouts, of whatever commits.
    pub rollouts: &'a [RolloutDetail],
    /// When that was so.
    pub at: Timestamp,
    /// What the next stage takes.
    pub takes: Promotion,
}

/// What speaks for a commit: what it was tried on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The stage that runs it.
    pub from: StageName,
    /// The stage that it is to go on to.
    pub to: StageName,
    /// The commit.
    pub commit: CommitId,
    /// When this was so.
    pub at: Timestamp,
    /// Devices of the stage.
    pub devices: usize,
    /// Of those, how many have reached what they were assigned.
    pub settled: usize,
    /// Of those, how many failed at it.
    pub failing: usize,
    /// Of those, how many are silent.
    pub offline: usize,
    /// Who approved that the commit counts although it was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<Actor>,
    /// When its tree finished, where that is followed, and on how many devices it was tried then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Finished>,
    /// The rollouts of the commit.
    pub rollouts: Vec<Exercised>,
}

/// A tree that has finished on a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// When.
    pub at: Timestamp,
    /// On how many devices it was tried.
    pub exercised: usize,
}

/// What one rollout of a commit came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exercised {
    /// The rollout.
    pub rollout: RolloutName,
    /// Its policy.
    pub policy: PolicyName,
    /// Where it stands: one word.
    pub status: String,
    /// Its devices.
    pub devices: usize,
    /// Devices on which it succeeded.
    pub ok: usize,
    /// Devices on which it failed.
    pub bad: usize,
    /// Who approved that it began.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approved_by: BTreeSet<Actor>,
    /// When its first step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// When its last step was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

/// What speaks against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Objection {
    /// A rollout is not over.
    #[error("rollout {rollout} is {status}")]
    UnderWay {
        /// The rollout.
        rollout: RolloutName,
        /// Where it stands.
        status: String,
    },
    /// A rollout went wrong.
    #[error("rollout {rollout} ended as {status}{}", why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    WentWrong {
        /// The rollout.
        rollout: RolloutName,
        /// How it ended.
        status: String,
        /// Why.
        why: Option<String>,
    },
    /// Devices failed at it.
    #[error("{failing} of {devices} devices of the stage fail")]
    Failing {
        /// How many.
        failing: usize,
        /// Of how many.
        devices: usize,
    },
    /// Devices that can be heard have not reached it yet.
    #[error("{waiting} of {devices} devices of the stage are not there yet")]
    NotThereYet {
        /// How many, at least.
        waiting: usize,
        /// Of how many.
        devices: usize,
    },
    /// The next stage takes only what has finished, and this has not.
    #[error("commit {} has not finished in {stage}, and the next stage takes nothing else", commit.short())]
    Unfinished {
        /// The commit.
        commit: CommitId,
        /// The stage.
        stage: StageName,
    },
}

/// Why there is nothing to promote at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NothingToPromote {
    /// No commit counts for the stage.
    #[error("no commit counts for stage {0} yet")]
    NoCommit(StageName),
}

/// Evidence for what counts on a stage, and what speaks against its going on. Silent devices speak against nothing: they are counted, and
/// people judge.
pub fn examine(facts: &Facts<'_>, to: &StageName) -> Result<(Evidence, Vec<Objection>), NothingToPromote> {
    let StageStatus { stage, accepted, devices, settled, failing, offline, .. } = facts.from;
    let commit = accepted.as_ref().ok_or_else(|| NothingToPromote::NoCommit(stage.clone()))?;
    let of_commit = |one: &&RolloutDetail| one.row.stage == *stage && one.row.commit == *commit;
    let rollouts: Vec<&RolloutDetail> = facts.rollouts.iter().filter(of_commit).collect();
    let mut objections: Vec<Objection> = rollouts.iter().filter_map(|one| objection(one)).collect();
    if *failing > 0 {
        objections.push(Objection::Failing { failing: *failing, devices: *devices });
    }
    let waiting = devices.saturating_sub(settled + failing + offline);
    if waiting > 0 {
        objections.push(Objection::NotThereYet { waiting, devices: *devices });
    }
    let counting = facts.from.counting.as_ref().filter(|one| one.commit == *commit);
    let finished = counting.and_then(|one| match one.outcome {
        TreeOutcome::Finished { at, exercised } => Some(Finished { at, exercised }),
        TreeOutcome::Trying | TreeOutcome::WentWrong { .. } => None,
    });
    match facts.takes {
        Promotion::Verified if finished.is_none() && objections.is_empty() => {
            objections.push(Objection::Unfinished { commit: commit.clone(), stage: stage.clone() });
        }
        Promotion::Verified | Promotion::Any => {}
    }
    let evidence = Evidence {
        approved_by: counting.and_then(|one| one.approved_by.clone()),
        finished,
        from: stage.clone(),
        to: to.clone(),
        commit: commit.clone(),
        at: facts.at,
        devices: *devices,
        settled: *settled,
        failing: *failing,
        offline: *offline,
        rollouts: rollouts.into_iter().map(exercised).collect(),
    };
    Ok((evidence, objections))
}

fn objection(one: &RolloutDetail) -> Option<Objection> {
    let (rollout, status) = (one.row.rollout.clone(), one.row.status.clone());
    match status.as_str() {
        "DONE" => None,
        // A newer rollout of the same commit stands beside it, or another commit counts by now.
        "SUPERSEDED" => None,
        "ERROR" | "ABORTED" | "ROLLING_BACK" | "ROLLED_BACK" => {
            Some(Objection::WentWrong { rollout, status, why: one.row.why.clone() })
        }
        // Whatever else there is, or will be, is not over.
        _ => Some(Objection::UnderWay { rollout, status }),
    }
}

fn exercised(one: &RolloutDetail) -> Exercised {
    Exercised {
        rollout: one.row.rollout.clone(),
        policy: one.row.policy.clone(),
        status: one.row.status.clone(),
        devices: one.row.devices,
        ok: one.row.ok,
        bad: one.row.bad,
        approved_by: one.approved_by.clone(),
        began: one.all_steps.iter().filter_map(|step| step.started).min(),
        ended: one.all_steps.iter().filter_map(|step| step.ended).max(),
    }
}

impl Evidence {
    /// Who approved what on the way here, in words.
    pub fn approvals(&self) -> Vec<String> {
        let commit = self.approved_by.iter().map(|actor| format!("the commit, by {actor}"));
        let rollouts = self
            .rollouts
            .iter()
            .flat_map(|one| one.approved_by.iter().map(move |actor| format!("rollout {}, by {actor}", one.rollout)));
        commit.chain(rollouts).collect()
    }

    /// On how many devices the commit was really tried. None of them is told, not hidden.
    pub fn exercised(&self) -> usize {
        let by_rollout = self.rollouts.iter().map(|one| one.ok).sum();
        self.finished.as_ref().map_or(by_rollout, |finished| finished.exercised)
    }
}

/// A commit that carries exactly what was verified to the next stage: the verified tree, with the stage's tip and the verified commit as parents, so that no
/// merge can change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// The verified tree.
    pub tree: ObjectId,
    /// The tip of the next stage, and the verified commit.
    pub parents: Vec<CommitId>,
}

impl Carrier {
    /// What carries a verified commit on; `None` if the next stage has that tree already.
    pub fn new(verified: (&CommitId, &ObjectId), tip: (&CommitId, &ObjectId)) -> Option<Self> {
        (verified.1 != tip.1)
            .then(|| Self { tree: verified.1.clone(), parents: vec![tip.0.clone(), verified.0.clone()] })
    }

    /// What brings a stage back to an earlier tree of its own; `None` if it has that tree.
    pub fn back(tip: (&CommitId, &ObjectId), earlier: &ObjectId) -> Option<Self> {
        (tip.1 != earlier).then(|| Self { tree: earlier.clone(), parents: vec![tip.0.clone()] })
    }

    /// Whether a commit is this one already.
    pub fn is(&self, tree: &ObjectId, parents: &[CommitId]) -> bool {
        self.tree == *tree && self.parents == parents
    }
}

#[cfg(test)]
mod tests;
