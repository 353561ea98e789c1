//! One rollout: a state that is taken by value. Time, what is heard of devices and what people ask for go in; the next state and
//! what is to be done come out.
//!
//! ```text
//! DRAFT → (PENDING_APPROVAL) → ACTIVE ⇄ PAUSED → DONE | ERROR | ABORTED | SUPERSEDED
//!                              ERROR → ACTIVE (resume, retry) | ROLLING_BACK → ROLLED_BACK
//! ```
//!
//! What is stored is the [`Head`], which is small, and one [`Member`] per device, which changes only when something happens to that
//! device. Everything else, above all who comes next and when, is worked out again from these when a rollout is loaded, and kept
//! up to date afterwards, so that a tick costs what changed and not what exists.
//!
//! Reading order: [`member`], this file, [`world`], `work`, `steps`, `offers`, `hear`, `acts`, `back`, `next`.

mod acts;
mod agenda;
mod back;
pub mod explain;
mod hear;
pub mod member;
mod next;
mod offers;
mod refusal;
mod sites;
mod steps;
#[cfg(test)]
mod tests;
mod work;
pub mod world;

pub use explain::Awaited;
pub use hear::Word;
pub use member::{Back, Change, Member, Noted, Phase, Reversal, Wait};
pub use refusal::{Acknowledge, Act, Refusal, SupersedeAt, Which};
pub(super) use steps::none_online;
pub use world::{Returns, World};

use super::clock::ActiveClock;
use super::gate::Counts;
use super::policy::{Policy, StepPolicy};
use super::rate::Bucket;
use crate::domain::digest::Digest;
use crate::domain::generation::Attempt;
use crate::domain::ids::{Actor, CommitId, DeviceId, RolloutName, StageName};
use crate::domain::planted::{Bug, planted};
use crate::domain::time::Timestamp;
use agenda::Agenda;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A rollout.
#[derive(Clone, Debug)]
pub struct Rollout {
    head: Head,
    members: BTreeMap<DeviceId, Member>,
    agenda: Agenda,
}

/// What is remembered of a rollout besides its devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its name, which salts the order of devices.
    pub name: RolloutName,
    /// The stage.
    pub stage: StageName,
    /// The commit whose content it brings. A rollout stays with it when the branch moves on.
    pub commit: CommitId,
    /// The policy, as it was when the rollout was made.
    pub policy: Policy,
    /// Where it stands.
    pub status: Status,
    /// Who has approved that it begins.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approved_by: BTreeSet<Actor>,
    /// Its steps; the last one is the step of everybody else.
    pub steps: Vec<Step>,
    /// Which step it is at, from 0; as many as there are steps once all have passed.
    pub current: usize,
    /// When it was made.
    pub created: Timestamp,
    /// How many devices were ever offered its content. Only grows.
    pub exposed: u32,
    /// The newer commit that takes its place at the end of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<CommitId>,
    /// What became of devices whose step was over before.
    pub late: LateCounts,
    /// When somebody lifted the quarantine of its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Timestamp>,
    /// The branch that somebody drafted it on; `None` if it is a commit of its stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<Box<Drafted>>,
}

impl Head {
    /// Whether anything more can become of it.
    pub fn is_under_way(&self) -> bool {
        match self.status {
            Status::PendingApproval
            | Status::Active
            | Status::Paused { .. }
            | Status::Error { .. }
            | Status::RollingBack { .. } => true,
            // Whoever comes late gets what a newer commit brings.
            Status::Done { .. } => self.superseded_by.is_none(),
            Status::Draft | Status::Aborted { .. } | Status::Superseded { .. } | Status::RolledBack { .. } => false,
        }
    }

    /// Whether it is done, and a newer commit is what devices get by now.
    pub fn is_followed(&self) -> bool {
        matches!(self.status, Status::Done { .. }) && self.superseded_by.is_some()
    }

    /// Whether what it brought went wrong, and nobody has gone on with it or lifted that since.
    pub fn is_quarantined(&self) -> bool {
        match self.status {
            Status::Error { .. } | Status::Aborted { .. } | Status::RollingBack { .. } | Status::RolledBack { .. } => {
                self.lifted.is_none()
            }
            Status::Draft
            | Status::PendingApproval
            | Status::Active
            | Status::Paused { .. }
            | Status::Done { .. }
            | Status::Superseded { .. } => false,
        }
    }
}

/// What a rollout brings that somebody drafted by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drafted {
    /// The branch that its commit was read from.
    pub branch: StageName,
    /// The commit of the stage that it was made from. As long as that one counts, devices keep what they got.
    pub base: CommitId,
    /// Which devices may get it: a filter.
    pub devices: String,
    /// What it changes, for people.
    pub change: String,
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Status {
    /// It can still be changed, and does nothing.
    Draft,
    /// People must approve it.
    PendingApproval,
    /// It goes on.
    Active,
    /// It offers nothing new until somebody resumes it.
    Paused {
        /// Why.
        why: String,
        /// Since when.
        since: Timestamp,
        /// When it goes on by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// All steps have passed. Devices that were away still converge.
    Done {
        /// When.
        at: Timestamp,
    },
    /// A step failed. Nothing new is offered.
    Error {
        /// Why.
        why: String,
        /// When.
        at: Timestamp,
    },
    /// Somebody stopped it for good.
    Aborted {
        /// Why.
        why: String,
        /// When.
        at: Timestamp,
    },
    /// A newer commit took its place.
    Superseded {
        /// The newer commit.
        by: CommitId,
        /// When.
        at: Timestamp,
    },
    /// Devices go back to what they had.
    RollingBack {
        /// Since when.
        since: Timestamp,
    },
    /// All that can have gone back.
    RolledBack {
        /// When.
        at: Timestamp,
    },
}

impl Status {
    /// The word for people.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::PendingApproval => "PENDING_APPROVAL",
            Self::Active => "ACTIVE",
            Self::Paused { .. } => "PAUSED",
            Self::Done { .. } => "DONE",
            Self::Error { .. } => "ERROR",
            Self::Aborted { .. } => "ABORTED",
            Self::Superseded { .. } => "SUPERSEDED",
            Self::RollingBack { .. } => "ROLLING_BACK",
            Self::RolledBack { .. } => "ROLLED_BACK",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One step as it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Where it stands.
    pub status: StepStatus,
    /// How long it has been running.
    pub clock: ActiveClock,
    /// What has become of its devices.
    pub counts: Counts,
    /// How many of its failures were acknowledged; they are not in the counts any more.
    #[serde(default)]
    pub acknowledged: u32,
    /// How many devices were kept out of it, with reasons.
    #[serde(default)]
    pub excluded: u32,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why it does not begin although it is its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// Who has approved that it begins.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approved_by: BTreeSet<Actor>,
    /// More time for reports than the policy gives, in milliseconds: somebody resumed it after it ran out.
    #[serde(default)]
    pub extra_ms: u64,
    /// What may start now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// Its turn has not come, or it is blocked.
    #[default]
    Queued,
    /// Its devices get the change.
    Running,
    /// Only soaks remain.
    Soaking,
    /// Good.
    Passed,
    /// Not good.
    Failed,
}

impl StepStatus {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Soaking => "SOAKING",
            Self::Passed => "PASSED",
            Self::Failed => "FAILED",
        }
    }
}

/// Why a step does not begin although it is its turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blocked {
    /// Nobody is in it.
    Empty {
        /// When that is looked at again; sooner if a device is heard of.
        again: Timestamp,
    },
    /// Somebody is in it, and nobody of them is online.
    AllOffline {
        /// How many there are.
        devices: u32,
        /// When that is looked at again; sooner if a device is heard of.
        again: Timestamp,
    },
    /// So many more people must approve.
    Approval {
        /// How many.
        missing: u8,
    },
}

/// What became of devices whose step was over before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateCounts {
    /// How many succeeded.
    pub ok: u32,
    /// How many failed for good, those acknowledged left out.
    pub bad: u32,
    /// Since when no further one is offered anything, because too many failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Timestamp>,
    /// What may start now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Assign a device this content.
    Offer {
        /// The device.
        device: DeviceId,
        /// The content.
        digest: Digest,
        /// How often it is offered.
        attempt: Attempt,
        /// How long the device must be healthy, in seconds.
        soak_secs: u32,
    },
    /// What a device was offered and has not acknowledged is not to be served any more.
    Withdraw {
        /// The device.
        device: DeviceId,
    },
    /// Assign a device what it had before the rollout.
    GoBack {
        /// The device.
        device: DeviceId,
        /// What it had.
        digest: Digest,
    },
    /// People must approve before it goes on.
    AskApproval {
        /// Which step waits; `None` for the rollout as a whole.
        step: Option<usize>,
        /// How many more people.
        missing: u8,
    },
    /// Something for the history.
    Note(Entry),
}

/// One entry of a rollout's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// One word: `Activated`, `StepStarted`, `Paused`, …
    pub kind: String,
    /// What happened and why, one sentence.
    pub message: String,
    /// Where the rollout stood afterwards.
    pub status: String,
    /// The step that it was at, from 0.
    pub step: usize,
    /// That step's counts.
    pub counts: Counts,
}

/// What came of one input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// What is to be done, in order.
    pub effects: Vec<Effect>,
    /// Devices whose record changed.
    pub changed: BTreeSet<DeviceId>,
}

impl Rollout {
    /// A rollout that nothing has happened to yet.
    pub fn draft(
        name: RolloutName,
        stage: StageName,
        commit: CommitId,
        policy: Policy,
        changes: impl IntoIterator<Item = (DeviceId, Change)>,
        now: Timestamp,
    ) -> Self {
        let steps = vec![Step::default(); policy.count()];
        let head = Head {
            name,
            stage,
            commit,
            policy,
            status: Status::Draft,
            approved_by: BTreeSet::new(),
            steps,
            current: 0,
            created: now,
            exposed: 0,
            superseded_by: None,
            late: LateCounts::default(),
            lifted: None,
            draft: None,
        };
        let members = changes.into_iter().map(|(device, change)| (device, Member::new(change))).collect();
        Self::load(head, members)
    }

    /// The same draft with devices that were offered the same before: they get it at these attempts.
    pub fn trying_again(mut self, attempts: BTreeMap<DeviceId, Attempt>) -> Self {
        for (device, attempt) in attempts {
            if let Some(member) = self.members.get_mut(&device) {
                member.attempt = attempt;
            }
        }
        self
    }

    /// The same draft with its first steps passed already, by a rollout that brought the same.
    pub fn carrying_on(mut self, passed: Vec<Step>) -> Self {
        let count = passed.len().min(self.head.steps.len().saturating_sub(1));
        self.head.current = count;
        self.head.steps.splice(..count, passed.into_iter().take(count));
        self
    }

    /// The same, of a branch that somebody made for it.
    pub fn drafted(mut self, draft: Drafted) -> Self {
        self.head.draft = Some(Box::new(draft));
        self
    }

    /// A rollout as it was stored.
    pub fn load(head: Head, members: BTreeMap<DeviceId, Member>) -> Self {
        let agenda = Agenda::of(&head, &members);
        Self { head, members, agenda }
    }

    /// What is stored besides devices.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The devices.
    pub fn members(&self) -> &BTreeMap<DeviceId, Member> {
        &self.members
    }

    /// The policy of the step that it is at; `None` once all have passed.
    pub fn current(&self) -> Option<(&StepPolicy, &Step)> {
        let step = self.head.steps.get(self.head.current)?;
        Some((self.head.policy.step(self.head.current), step))
    }

    /// Whether what a device was offered and has not acknowledged may be handed to it. A device that slept through a bad release
    /// does not get it on waking.
    pub fn serves(&self, device: &DeviceId) -> bool {
        self.members.get(device).is_some_and(|member| serves(&self.head.status, member))
    }

    /// Whether this content must not be assigned outside of this rollout, because it went wrong with it: until a newer commit
    /// brings other content, or somebody goes on with this one.
    pub fn quarantines(&self, device: &DeviceId, commit: &CommitId, digest: &Digest) -> bool {
        quarantines(&self.head, self.members.get(device), commit, digest)
    }

    /// Devices whose timer has run out although they may have been heard of: those that are at work.
    pub fn overdue(&self, now: Timestamp) -> Vec<DeviceId> {
        let due = self.agenda.timers.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, device)| device.clone()).collect()
    }
}

/// Whether what a member was offered and has not acknowledged may be handed to it while its rollout stands so.
pub fn serves(status: &Status, member: &Member) -> bool {
    match (status, &member.back, &member.phase) {
        // What it had before is good for it whatever becomes of the rollout.
        (_, Some(Back::Offered { .. } | Back::Away), _) => true,
        (Status::Active | Status::Done { .. }, None, Phase::Offered { .. }) => true,
        (_, _, Phase::Offered { .. }) if planted(Bug::ServeStopped) => true,
        // What it has acknowledged, it has.
        (_, _, phase) => phase.is_acknowledged(),
    }
}

/// Whether content must not be assigned to a device outside of a rollout, because it went wrong with it. `member` is what the
/// rollout knows of the device.
pub fn quarantines(head: &Head, member: Option<&Member>, commit: &CommitId, digest: &Digest) -> bool {
    quarantines_all(head) && (member.is_some_and(|member| member.was_to_have(digest)) || *commit == head.commit)
}

/// Whether what a rollout brought must not be assigned outside of it at all.
pub fn quarantines_all(head: &Head) -> bool {
    head.is_quarantined() && !planted(Bug::IgnoreQuarantine)
}
