//! What people can ask of a rollout, and why it may say no.

use crate::domain::counted::counted;
use crate::domain::digest::Digest;
use crate::domain::ids::{CommitId, DeviceId};
use crate::domain::rollout::policy::StepPolicy;
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What a person, or the controller, asks of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A draft becomes active, or waits for approval.
    Activate,
    /// One more person agrees to what waits for approval.
    Approve,
    /// Offer nothing new.
    Pause {
        /// Until then; `None` until somebody resumes it.
        until: Option<Timestamp>,
    },
    /// Go on.
    Resume {
        /// What is taken note of.
        acknowledge: Acknowledge,
    },
    /// Stop for good. Devices keep what they have.
    Abort,
    /// Offer the same content again, at a higher attempt.
    Retry(Which),
    /// Let devices that failed go through something else first, and then get the same content again.
    Reroute {
        /// What each goes through, in order.
        via: BTreeMap<DeviceId, Vec<Digest>>,
        /// What that is, for the history.
        release: String,
    },
    /// Each device goes back to what it had.
    Rollback,
    /// What went wrong may be assigned again, by a rollout of its own.
    Lift,
    /// A newer commit takes its place.
    Supersede {
        /// The newer commit.
        by: CommitId,
        /// When.
        at: SupersedeAt,
    },
    /// A draft gets one more step.
    AddStep {
        /// Where, from 0.
        at: usize,
        /// The step.
        step: Box<StepPolicy>,
    },
    /// A draft loses a step.
    DeleteStep {
        /// Which, from 0.
        at: usize,
    },
}

/// What somebody takes note of when a rollout goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Nothing.
    Nothing,
    /// All failures so far: only further ones count.
    Failures,
}

/// When a newer commit takes a rollout's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupersedeAt {
    /// When its step is decided; at once if it stands still.
    StepEnd,
    /// At once.
    Now,
}

/// Which devices are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All that failed.
    Failed,
    /// Those of these that failed.
    Devices(BTreeSet<DeviceId>),
}

/// Why a rollout does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not in a state in which that can be done.
    #[error("a rollout that is {status} cannot be {what}; it must be {needs}")]
    WrongStatus {
        /// What was asked, as a participle.
        what: &'static str,
        /// Where it stands.
        status: &'static str,
        /// Where it would have to stand.
        needs: &'static str,
    },
    /// Nothing waits for approval.
    #[error("nothing waits for approval")]
    NothingToApprove,
    /// The same person twice.
    #[error("{actor} has approved already; somebody else must")]
    ApprovedAlready {
        /// Who.
        actor: String,
    },
    /// It would fail again at once.
    #[error("it would fail again at once: {} failed, {allowed} may; acknowledge them, or try them again", counted(*bad, "device"))]
    WouldFailAtOnce {
        /// How many failed.
        bad: u32,
        /// How many may.
        allowed: u32,
    },
    /// A reason to stop still holds.
    #[error("it would stop again at once: {rule}; acknowledge the failures, or try them again")]
    WouldStopAtOnce {
        /// The rule that is met.
        rule: String,
    },
    /// Its content is not in quarantine.
    #[error("what it brought is not in quarantine")]
    NotQuarantined,
    /// Nobody of those failed.
    #[error("none of these devices has failed in this rollout")]
    NobodyFailed,
    /// No such step.
    #[error("there is no step {at}; the draft has {steps} besides the last one, which cannot be moved")]
    NoSuchStep {
        /// Which, from 1.
        at: usize,
        /// How many there are.
        steps: usize,
    },
    /// Too many steps.
    #[error("a rollout has at most {most} steps")]
    TooManySteps {
        /// The bound.
        most: usize,
    },
    /// Content has come and gone since.
    #[error("it is done: to go back, revert the commit in Git")]
    Done,
}
