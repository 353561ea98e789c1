//! What was said on the forge, as it is remembered: so that nothing is said twice and nothing is forgotten, whenever the controller
//! was stopped.

use crate::domain::digest::Digest;
use crate::domain::ids::{CommitId, RolloutName, StageName};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What something is said about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Topic {
    /// How far a commit has come in a stage: a status of the commit, and a deployment.
    Progress {
        /// The stage.
        stage: StageName,
        /// The commit.
        commit: CommitId,
    },
    /// A commit is held until somebody approves it: a comment on its merge request.
    Held {
        /// The stage.
        stage: StageName,
        /// The commit.
        commit: CommitId,
    },
    /// A rollout waits for somebody: a comment on the merge request of its commit.
    Rollout {
        /// The rollout.
        rollout: RolloutName,
        /// Its stage.
        stage: StageName,
        /// Its commit.
        commit: CommitId,
    },
}

impl Topic {
    /// The stage.
    pub fn stage(&self) -> &StageName {
        match self {
            Self::Progress { stage, .. } | Self::Held { stage, .. } | Self::Rollout { stage, .. } => stage,
        }
    }

    /// The commit.
    pub fn commit(&self) -> &CommitId {
        match self {
            Self::Progress { commit, .. } | Self::Held { commit, .. } | Self::Rollout { commit, .. } => commit,
        }
    }

    /// By what it is told from all others on the forge, and found again there.
    pub fn mark(&self) -> String {
        match self {
            Self::Progress { stage, commit } => format!("{stage} {commit}"),
            Self::Held { stage, commit } => format!("held {stage} {commit}"),
            Self::Rollout { rollout, stage, .. } => format!("rollout {stage} {rollout}"),
        }
    }
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It waits for its turn, or for a person.
    Waiting,
    /// It goes on.
    UnderWay,
    /// It is good and over. Of something that a person had to do: nobody has to any more.
    Success,
    /// It went wrong.
    Failure,
    /// Another commit took its place before it was over.
    Superseded,
}

impl Standing {
    /// Whether nothing more is expected.
    pub fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::UnderWay => false,
            Self::Success | Self::Failure | Self::Superseded => true,
        }
    }
}

/// What was said about a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// How it stood.
    pub standing: Standing,
    /// What was news in it.
    pub news: Digest,
    /// When.
    pub at: Timestamp,
    /// How often something was said about the topic.
    pub times: u32,
    /// Whether it is there.
    pub certainty: Certainty,
    /// What the forge calls the deployment, or the comment; `None` as long as there is none that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
}

/// Whether what was said is on the forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// It was about to be said; it may be there or not.
    Intended,
    /// The forge has confirmed it.
    Said,
}
