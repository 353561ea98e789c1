//! One device of a rollout.

use crate::domain::device::terminal::FailedPhase;
use crate::domain::digest::Digest;
use crate::domain::generation::{Attempt, Order};
use crate::domain::planted::{Bug, planted};
use crate::domain::rollout::gate::Failure;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a rollout changes on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it shall have.
    pub target: Digest,
    /// What it had; `None` if this is its first content.
    pub previous: Option<Digest>,
    /// What it must go through first, in order.
    pub detour: Vec<Digest>,
    /// Whether it can go back.
    pub reversal: Reversal,
}

/// Whether a device can go back to what it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reversal {
    /// It can.
    #[default]
    Possible,
    /// It cannot: a release on the way is irreversible.
    Impossible,
}

/// One device of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its step; `None` before any step has taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// How far it is.
    pub phase: Phase,
    /// What it shall have.
    pub target: Digest,
    /// What it had before the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// What it still goes through before the target, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detour: Vec<Digest>,
    /// The last of what it went through before the target and runs since; `None` if it still has what it had before the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Box<Digest>>,
    /// Whether it can go back.
    #[serde(default)]
    pub reversal: Reversal,
    /// How often its content is offered: 1 at first, one more for each retry.
    pub attempt: Attempt,
    /// How many of the retries of the policy were used.
    #[serde(default)]
    pub retries: u8,
    /// When its turn is, on its step's clock, in milliseconds.
    #[serde(default)]
    pub due_ms: u64,
    /// Whether it was ever offered anything of this rollout.
    #[serde(default)]
    pub exposure: Exposure,
    /// Whether a person has taken note of its failure, which then decides nothing any more.
    #[serde(default)]
    pub note: Noted,
    /// Whether its outcome counts at its step's gate.
    #[serde(default)]
    pub timing: Timing,
    /// The site that it shares its fate with, where its step has sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Box<str>>,
    /// Where it is on its way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Back>,
    /// When in its life what it was given failed, as it said with its newest failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_in: Option<FailedPhase>,
    /// The place of what it failed with, if that was assigned by the rollout: what it has since may be something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Box<Order>>,
    /// What it sent with its newest failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Box<Excerpt>>,
}

/// The last lines of output of what failed on a device, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt(pub Vec<String>);

/// Whether an outcome counts at a step's gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// It does.
    #[default]
    InTime,
    /// It came when the step was decided: it counts against the budget of late ones.
    Late,
    /// The device joined when its step was under way: it is none of the step's `N`, and counts as late.
    Joined,
}

/// Whether a device was ever offered anything of a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exposure {
    /// Never.
    #[default]
    None,
    /// It was offered something.
    Offered,
    /// It acknowledged that: it has it, or had it.
    Acknowledged,
}

/// Whether a person has taken note of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Noted {
    /// Nobody has.
    #[default]
    No,
    /// Somebody has.
    Acknowledged,
}

impl Noted {
    /// Whether nobody has taken note of it.
    pub fn is_no(&self) -> bool {
        match self {
            Self::No => true,
            Self::Acknowledged => false,
        }
    }
}

/// How far a device is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// Its turn has not come, or it waits for something.
    Queued {
        /// What it waits for.
        wait: Wait,
    },
    /// It was offered its content and has not said anything of it.
    Offered {
        /// When.
        since: Timestamp,
    },
    /// It has acknowledged it.
    InProgress {
        /// Since when.
        since: Timestamp,
        /// When it was heard of last.
        heard: Timestamp,
        /// Since when it runs it and is healthy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        healthy: Option<Timestamp>,
        /// Whether it holds a slot of its budgets.
        slot: Slot,
    },
    /// It runs it, has been healthy for long enough, and waits for the rest of its site.
    Ready {
        /// Since when.
        since: Timestamp,
    },
    /// It has it, and was healthy for long enough.
    Succeeded {
        /// Since when.
        at: Timestamp,
    },
    /// It failed for good.
    Bad {
        /// How.
        failure: Failure,
        /// When.
        at: Timestamp,
        /// What it said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<Box<str>>,
    },
    /// A newer commit took the rollout's place before it was its turn.
    Superseded,
    /// The rollout was stopped before it was its turn.
    Canceled,
    /// It is kept out.
    Excluded {
        /// Why.
        reason: Box<str>,
    },
}

/// What a device in a queue waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// Its turn, and then whatever is free.
    Turn,
    /// A moment: its window opens, or enough time has passed since it failed.
    Until(Timestamp),
    /// To be heard of: it is away, or has not answered.
    Word,
    /// The catching up of those who were away; it was heard of then.
    CatchUp(Timestamp),
}

/// What a phase counts as in its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Takes part; its outcome is not known.
    Unreported,
    /// Succeeded.
    Ok,
    /// Failed for good.
    Bad(Failure),
    /// Does not take part.
    Out,
}

/// Where a device is on its way back to what it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "back", rename_all = "kebab-case")]
pub enum Back {
    /// It waits for its turn.
    Waiting,
    /// It was told to go back.
    Offered {
        /// When.
        since: Timestamp,
        /// Whether it was available until then, and so holds a slot of its budgets.
        slot: Slot,
    },
    /// It was told to, and has not been heard of since. It is told again when it asks; nobody waits for it.
    Away,
    /// It has what it had.
    Done,
    /// It keeps what it got: it had nothing before, or there is no way back.
    Kept,
}

/// Whether a device holds a slot of its budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// It does.
    Held,
    /// It was away already, or gave it back.
    Free,
}

impl Phase {
    /// Waiting for its turn, for nothing in particular.
    pub const QUEUED: Self = Self::Queued { wait: Wait::Turn };

    /// The word for people.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "QUEUED",
            Self::Offered { .. } => "OFFERED",
            Self::InProgress { .. } | Self::Ready { .. } => "IN_PROGRESS",
            Self::Succeeded { .. } => "SUCCEEDED",
            Self::Bad { failure, .. } => match failure {
                Failure::Failed => "FAILED",
                Failure::Rejected => "REJECTED",
                Failure::TimedOut => "TIMED_OUT",
                Failure::RolledBack => "ROLLED_BACK",
                Failure::Lost => "LOST",
            },
            Self::Superseded => "SUPERSEDED",
            Self::Canceled => "CANCELED",
            Self::Excluded { .. } => "EXCLUDED",
        }
    }

    /// Whether the device has acknowledged what it was offered.
    pub fn is_acknowledged(&self) -> bool {
        match self {
            Self::InProgress { .. } | Self::Ready { .. } | Self::Succeeded { .. } | Self::Bad { .. } => true,
            Self::Queued { .. } | Self::Offered { .. } | Self::Superseded | Self::Canceled | Self::Excluded { .. } => {
                false
            }
        }
    }

    /// Whether it is known what became of the device.
    pub fn is_outcome(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Bad { .. })
    }

    /// Whether a device in it holds a slot of its budgets: it may be away, and because of us.
    pub(super) fn holds_slot(&self) -> bool {
        match self {
            Self::Bad { .. } if planted(Bug::KeepSlots) => true,
            Self::InProgress { healthy: None, .. } if planted(Bug::FreeSickSlots) => false,
            Self::Offered { .. } | Self::InProgress { slot: Slot::Held, .. } => true,
            Self::InProgress { slot: Slot::Free, .. }
            | Self::Queued { .. }
            | Self::Ready { .. }
            | Self::Succeeded { .. }
            | Self::Bad { .. }
            | Self::Superseded
            | Self::Canceled
            | Self::Excluded { .. } => false,
        }
    }

    pub(super) fn counted(&self) -> Counted {
        match self {
            Self::Queued { .. } | Self::Offered { .. } | Self::InProgress { .. } | Self::Ready { .. } => {
                Counted::Unreported
            }
            Self::Succeeded { .. } => Counted::Ok,
            Self::Bad { failure, .. } => Counted::Bad(*failure),
            // Whoever was not reached when the rollout ended took part and has not reported.
            Self::Superseded | Self::Canceled => Counted::Unreported,
            Self::Excluded { .. } => Counted::Out,
        }
    }
}

impl Member {
    /// A device that is about to join a rollout.
    pub fn joining(change: Change) -> Self {
        Self::new(change)
    }

    pub(super) fn new(change: Change) -> Self {
        let Change { target, previous, detour, reversal } = change;
        Self {
            step: None,
            phase: Phase::QUEUED,
            target,
            previous,
            detour,
            reached: None,
            reversal,
            attempt: Attempt::FIRST,
            retries: 0,
            due_ms: 0,
            exposure: Exposure::None,
            note: Noted::No,
            timing: Timing::InTime,
            site: None,
            back: None,
            failed_in: None,
            order: None,
            log: None,
        }
    }

    /// What it is, or is to be, offered now: the next release on its way.
    pub fn leg(&self) -> Digest {
        self.detour.first().copied().unwrap_or(self.target)
    }

    /// Whether a rollout means this content for it, or found it bad for it on its way.
    pub fn was_to_have(&self, digest: &Digest) -> bool {
        self.target == *digest || (matches!(self.phase, Phase::Bad { .. }) && self.leg() == *digest)
    }

    /// What it is to have again if what it was offered is withdrawn: what it has proven to run, or what it had.
    pub fn ground(&self) -> Option<Digest> {
        self.reached.as_deref().copied().or(self.previous)
    }

    /// Whether a device that has left for something else takes part again when it comes back: not where it said that it failed.
    pub fn may_join_again(&self) -> bool {
        let ended = match &self.phase {
            Phase::Succeeded { .. } => true,
            Phase::Bad { failure, .. } => match failure {
                Failure::Lost | Failure::TimedOut => true,
                Failure::Failed | Failure::Rejected | Failure::RolledBack => false,
            },
            Phase::Queued { .. }
            | Phase::Offered { .. }
            | Phase::InProgress { .. }
            | Phase::Ready { .. }
            | Phase::Superseded
            | Phase::Canceled
            | Phase::Excluded { .. } => false,
        };
        ended && self.back.is_none()
    }

    /// When it was heard of last, as far as that is known here, if it holds a slot of its budgets.
    pub fn slot_since(&self) -> Option<Timestamp> {
        match (self.holds_slot(), &self.back, &self.phase) {
            (false, _, _) => None,
            (true, Some(Back::Offered { since, .. }), _) => Some(*since),
            (true, _, Phase::Offered { since }) => Some(*since),
            (true, _, Phase::InProgress { heard, .. }) => Some(*heard),
            (true, _, _) => None,
        }
    }

    /// Whether it holds a slot of its budgets.
    pub fn holds_slot(&self) -> bool {
        match self.back {
            None => self.phase.holds_slot(),
            Some(Back::Offered { slot: Slot::Held, .. }) => true,
            Some(Back::Offered { slot: Slot::Free, .. } | Back::Waiting | Back::Away | Back::Done | Back::Kept) => {
                false
            }
        }
    }
}
