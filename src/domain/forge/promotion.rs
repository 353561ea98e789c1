//! Whether what one stage runs may go on to the next, and what speaks for it.

use crate::domain::ids::{CommitId, ObjectId, PolicyName, RolloutName, StageName};
use crate::domain::overview::rollouts::RolloutDetail;
use crate::domain::overview::status::StageStatus;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What is known of the stage from which something is to go on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// How it stands.
    pub from: &'a StageStatus,
    /// Its rollouts, of whatever commits.
    pub rollouts: &'a [RolloutDetail],
    /// When that was so.
    pub at: Timestamp,
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
    /// The rollouts of the commit.
    pub rollouts: Vec<Exercised>,
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
    let evidence = Evidence {
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
        began: one.all_steps.iter().filter_map(|step| step.started).min(),
        ended: one.all_steps.iter().filter_map(|step| step.ended).max(),
    }
}

impl Evidence {
    /// On how many devices the commit was really tried. None of them is told, not hidden.
    pub fn exercised(&self) -> usize {
        self.rollouts.iter().map(|one| one.ok).sum()
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
