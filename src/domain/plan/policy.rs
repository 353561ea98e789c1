//! What the controller's own configuration says about stages. The repo may only tighten it.

use crate::domain::desired::RepoLimits;
use crate::domain::ids::StageName;
use crate::domain::manifest::compose::HostRights;
use serde::{Deserialize, Serialize};

/// A number of devices that is the larger of a fixed count and a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Allowed in any case.
    pub at_least: usize,
    /// A share per ten thousand, 0 to 10000.
    pub per_ten_thousand: u32,
}

impl Limit {
    /// How many of `count` devices are allowed, rounded down.
    pub fn of(self, count: usize) -> usize {
        let share = (count as u128) * u128::from(self.per_ten_thousand) / 10_000;
        self.at_least.max(usize::try_from(share).unwrap_or(usize::MAX))
    }
}

/// One stage as the controller is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePolicy {
    /// Its branch.
    pub name: StageName,
    /// How many devices may get other content at once without a rollout.
    pub max_unstaged: Limit,
    /// How many devices may become unmanaged since the last approval.
    pub deletion_budget: Limit,
    /// What services of its devices may have of the host.
    #[serde(default, skip_serializing_if = "HostRights::are_none")]
    pub host: HostRights,
    /// How many seconds its devices must be well with new content before it counts as good; until then they go back by themselves
    /// when they are not. 0: at once, and nothing is rolled back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub soak_secs: u32,
    /// What its branch may bring.
    #[serde(default, skip_serializing_if = "Promotion::is_any")]
    pub promotion: Promotion,
}

/// What the branch of a stage may bring without an approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Promotion {
    /// Whatever people merge into it.
    #[default]
    Any,
    /// Trees that have finished in the stage before, and those that it had itself.
    Verified,
}

impl Promotion {
    /// Whether it is the default.
    pub fn is_any(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Verified => false,
        }
    }
}

/// The longest soak, in seconds: a week. Longer is not a trial but a life.
pub const MAX_SOAK_SECS: u32 = 7 * 86_400;

fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl StagePolicy {
    /// Five devices or one in a hundred: enough for daily work by hand, too few to break a fleet at once.
    pub const MAX_UNSTAGED: Limit = Limit { at_least: 5, per_ten_thousand: 100 };
    /// One device or one in a hundred.
    pub const DELETION_BUDGET: Limit = Limit { at_least: 1, per_ten_thousand: 100 };

    /// A stage with the default limits.
    pub fn with_defaults(name: StageName) -> Self {
        Self {
            name,
            max_unstaged: Self::MAX_UNSTAGED,
            deletion_budget: Self::DELETION_BUDGET,
            host: HostRights::default(),
            soak_secs: 0,
            promotion: Promotion::Any,
        }
    }

    /// How many of `count` devices may get other content at once, the repo's own limit included where it is tighter.
    pub fn unstaged_allowed(&self, count: usize, repo: RepoLimits) -> usize {
        let own = self.max_unstaged.of(count);
        repo.max_unstaged.map_or(own, |limit| limit.min(own))
    }
}
