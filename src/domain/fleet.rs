//! What the controller knows: one document per device, one per stage, and a few small ones.
//!
//! The whole state is a value. A pass reads it and returns [`Change`]s; the store writes those in one transaction; then
//! [`FleetState::apply`] makes them visible. Nothing else changes it.

mod registry;
mod rollouts;
mod told;
mod trees;

pub use registry::{Listing, Registered, Registry, RegistryAttribute};
pub use rollouts::{Content, RolloutChange, RolloutMoment, RolloutRecord};
pub use told::{Certainty, Standing, Told, Topic};
pub use trees::{CountedTree, MAX_TREES, TreeOutcome, Unverified};

use super::actions::Actions;
use super::assignment::{Assignment, Mark};
use super::digest::Digest;
use super::generation::{Epoch, Order};
use super::ids::{Actor, CommitId, DeviceId, ObjectId, RolloutName, StageName};
use super::reported::{Freshness, Report};
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many devices may wait for approval at once. Anyone who reaches the port can ask; this bounds what they can fill.
pub const MAX_PENDING: usize = 1000;

/// Everything that the controller knows and must not forget.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetState {
    /// The epoch of new assignments.
    pub epoch: Option<Epoch>,
    /// Devices by name.
    pub devices: BTreeMap<DeviceId, DeviceRecord>,
    /// Stages by name.
    pub stages: BTreeMap<StageName, StageRecord>,
    /// Enrollment tokens by their public id.
    pub tokens: BTreeMap<String, TokenRecord>,
    /// Approved digests of held changes.
    pub approvals: BTreeMap<Digest, Approval>,
    /// Pauses by scope.
    pub holds: BTreeMap<HoldScope, Hold>,
    /// Rollouts by name.
    pub rollouts: BTreeMap<RolloutName, RolloutRecord>,
    /// When the controller was last known to run while a rollout was under way.
    pub heartbeat: Option<Timestamp>,
    /// What was said on the forge.
    pub told: BTreeMap<Topic, Told>,
    /// Records of the store that could not be read.
    ///
    /// Whatever such a record is about stands still rather than being decided anew: a device shows a [`Conflict`] with reason
    /// [`POISONED`] until a person resumes it, a stage is as if it were new, a token or approval does not count, and a hold
    /// holds without end.
    pub quarantined: Vec<Quarantined>,
}

/// The reason of the conflict of a device with whose identity two agents report.
pub const CLONE: &str = "Clone";
/// The reason of the conflict of a device whose record could not be read.
pub const POISONED: &str = "PoisonedRecord";

/// A record of the store that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Which kind of record: `identity`, `control`, `assignment`, `reported`, `registry`, `actions`, `device`, `stage`, `token`, `approval`, `hold`, `rollout`.
    pub kind: &'static str,
    /// Of what, as it is written in the store.
    pub subject: String,
    /// What the parser said.
    pub detail: String,
}

/// One device's document. The parts change at different times and are written apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceRecord {
    /// Who may speak for it.
    pub identity: Option<Arc<Identity>>,
    /// Who owns it and what was decided about it.
    pub control: Arc<Control>,
    /// What it was told to reach.
    pub assignment: Option<Arc<Assignment>>,
    /// What it said last.
    pub reported: Option<Arc<Reported>>,
    /// What operators say of it.
    pub registry: Option<Arc<Registry>>,
    /// What operators asked it to do once.
    pub actions: Option<Arc<Actions>>,
}

/// Who may speak for a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// SHA-256 of the device's key.
    pub key_hash: Digest,
    /// Whether it belongs to the fleet.
    pub status: IdentityStatus,
    /// When it asked.
    pub since: Timestamp,
    /// Who let it in: a token, or the person who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// What it said of itself when it asked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// A second key that asks for the same name and waits for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contender: Option<Contender>,
}

/// A key that asks for a name that another key holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contender {
    /// SHA-256 of its key.
    pub key_hash: Digest,
    /// When it asked first.
    pub since: Timestamp,
}

/// Whether a device belongs to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityStatus {
    /// Waits for a person.
    Pending,
    /// Belongs to the fleet.
    Enrolled,
    /// A person said no.
    Rejected,
}

/// What the controller has decided about a device besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Stages whose last accepted commit claims the device.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claims: BTreeSet<StageName>,
    /// The largest place that the device was ever seen at; the next assignment goes beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Order>,
    /// How often in a row an assignment was issued again because the device was ahead.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reissues: u32,
    /// The device and the controller disagree in a way that needs a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// A disagreement that is left alone until a person resumes the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Since when.
    pub since: Timestamp,
    /// One word: `DeviceAhead`, `NewerEpoch`, [`CLONE`], [`POISONED`].
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// What the device says that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Mark>,
}

/// What a device said last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// When it arrived.
    pub received_at: Timestamp,
    /// For telling later reports from earlier ones.
    pub freshness: Freshness,
    /// The report.
    pub report: Report,
}

/// What decides what a stage means: a commit, and the list of devices where that is not in the commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Revision {
    /// The commit.
    pub commit: CommitId,
    /// SHA-256 of the list; `None` where the devices are listed in the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Digest>,
}

impl Revision {
    /// A commit that lists its devices itself.
    pub fn of_commit(commit: CommitId) -> Self {
        Self { commit, inventory: None }
    }

    /// `1a2b3c4d`, or `1a2b3c4d with inventory 5e6f7a8b`.
    pub fn short(&self) -> String {
        match &self.inventory {
            None => self.commit.short().to_owned(),
            Some(inventory) => format!("{} with inventory {}", self.commit.short(), inventory.short()),
        }
    }
}

/// What the controller remembers of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRecord {
    /// The commit that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<CommitId>,
    /// SHA-256 of the list of devices that counts with it; `None` where the commit lists its devices itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Digest>,
    /// A newer commit that does not count yet, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Devices that were unmanaged since a person last approved a commit of this stage.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unmanaged: BTreeSet<DeviceId>,
    /// How many devices the stage had then: what the deletion budget is a share of.
    #[serde(default)]
    pub baseline: usize,
    /// The commit that goes out by rollouts; `None` if what counts changed nothing that would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// The trees that counted, the newest last; at most [`MAX_TREES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trees: Vec<CountedTree>,
}

/// A commit that goes out by rollouts. Devices that follow a policy get its content from those and in no other way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The commit.
    pub commit: CommitId,
    /// Whether its rollouts have been made.
    pub progress: StagedProgress,
}

/// Whether the rollouts of a commit have been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StagedProgress {
    /// They wait for the ones before them.
    Owed,
    /// They have.
    Made,
}

impl StageRecord {
    /// What counts.
    pub fn counts(&self) -> Option<Revision> {
        Some(Revision { commit: self.accepted.clone()?, inventory: self.inventory })
    }
}

/// Why the newest commit of a stage does not count yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The commit.
    pub commit: CommitId,
    /// Its tree.
    pub tree: ObjectId,
    /// SHA-256 of the list of devices that would count with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Digest>,
    /// Since when.
    pub since: Timestamp,
    /// What keeps it.
    pub why: WaitingFor,
}

impl Waiting {
    /// What waits.
    pub fn revision(&self) -> Revision {
        Revision { commit: self.commit.clone(), inventory: self.inventory }
    }
}

/// What keeps a commit from counting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum WaitingFor {
    /// It has findings that concern the commit as a whole.
    Repair {
        /// The first of them, for listings.
        message: String,
    },
    /// A person must approve the digest.
    Approval {
        /// What `bellwether approve` takes.
        digest: Digest,
        /// Every reason for which it is held.
        reasons: Vec<HeldReason>,
        /// The changes that it would make, sorted.
        changes: Vec<HeldChange>,
    },
}

/// Why a commit is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HeldReason {
    /// More devices would become unmanaged than the budget allows.
    DeletionBudget {
        /// How many since the last approval, this commit included.
        unmanaged: usize,
        /// How many are allowed.
        allowed: usize,
    },
    /// The stage's last device would become unmanaged.
    LastDevice,
    /// More devices would get other content than may without a rollout.
    BlastRadius {
        /// How many.
        retargeted: usize,
        /// How many are allowed.
        allowed: usize,
    },
    /// The branch no longer contains the commit that counted.
    HistoryRewritten {
        /// The commit that counted.
        accepted: CommitId,
    },
    /// The stage is new and would take devices that run something already.
    NewStage {
        /// How many.
        taken: usize,
    },
    /// The stage takes only trees that have finished in the one before.
    Unverified {
        /// The stage before.
        before: StageName,
        /// What is known of the tree there.
        why: Unverified,
    },
}

impl std::fmt::Display for HeldReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DeletionBudget { unmanaged, allowed } => {
                write!(f, "{unmanaged} devices would be unmanaged since the last approval; {allowed} may be")
            }
            Self::LastDevice => f.write_str("the stage's last device would be unmanaged"),
            Self::BlastRadius { retargeted, allowed } => {
                write!(f, "{retargeted} devices would get other content at once; {allowed} may without a rollout")
            }
            Self::HistoryRewritten { accepted } => {
                write!(f, "the branch was rewritten: it no longer contains {}", accepted.short())
            }
            Self::NewStage { taken } => {
                write!(f, "the stage is new and would take {taken} devices that run something already")
            }
            Self::Unverified { before, why } => match why {
                Unverified::Unknown => write!(
                    f,
                    "its tree was never what counted in {before}; merge or squash what `bellwether promote` opens, which has exactly such a tree"
                ),
                Unverified::Trying => write!(f, "its tree has not finished in {before} yet"),
                Unverified::WentWrong => write!(f, "its tree went wrong in {before}"),
            },
        }
    }
}

/// One change that a held commit would make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldChange {
    /// The device.
    pub device: DeviceId,
    /// Its content now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// Its content then; `None` if it would be unmanaged or in transit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Digest>,
}

/// A person's yes to a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// For which stage it was given.
    pub stage: StageName,
}

/// What a hold pauses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "scope", content = "name", rename_all = "kebab-case")]
pub enum HoldScope {
    /// The whole fleet.
    Fleet,
    /// Every device of a stage.
    Stage(StageName),
    /// One device.
    Device(DeviceId),
}

impl std::fmt::Display for HoldScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fleet => f.write_str("fleet"),
            Self::Stage(stage) => write!(f, "stage {stage}"),
            Self::Device(device) => write!(f, "device {device}"),
        }
    }
}

/// An operator's pause: nothing new is assigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: Actor,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` until somebody resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Hold {
    /// Whether the hold still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// An enrollment token. The secret part is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// SHA-256 of the secret part.
    pub secret_hash: Digest,
    /// How many more devices it lets in.
    pub uses_left: u32,
    /// Until when.
    pub expires: Timestamp,
    /// Which names it lets in.
    pub bound: TokenBound,
    /// Who made it.
    pub actor: Actor,
}

/// Which devices a token lets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenBound {
    /// These names only.
    Names(BTreeSet<DeviceId>),
    /// Names that match a pattern, where `*` stands for any text.
    Selector(String),
}

/// One thing that happened, for people: appended, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// One word: `Assigned`, `Held`, `Approved`, `Enrolled`, …
    pub kind: String,
    /// What it is about: a device, a stage, a token.
    pub subject: String,
    /// One sentence.
    pub message: String,
    /// Where the rollout stood that it is about, for programs; `None` if it is about something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<RolloutMoment>>,
}

/// One change of the state. Everything that a pass decides is a list of these, written in one transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The epoch of new assignments.
    Epoch(Epoch),
    /// Who may speak for a device.
    Identity(DeviceId, Arc<Identity>),
    /// What was decided about a device.
    Control(DeviceId, Arc<Control>),
    /// What a device was told to reach.
    Assignment(Arc<Assignment>),
    /// What a device said.
    Reported(DeviceId, Arc<Reported>),
    /// What a device said does not count any more: from now on something else may speak in its name.
    Unreported(DeviceId),
    /// What operators say of a device.
    Registry(DeviceId, Arc<Registry>),
    /// What operators asked a device to do once, and what became of it.
    Actions(DeviceId, Arc<Actions>),
    /// A device is forgotten altogether: only a rejected or pending one that nothing was ever assigned to.
    Forget(DeviceId),
    /// What is remembered of a stage.
    Stage(StageName, StageRecord),
    /// A token was made or used.
    Token(String, TokenRecord),
    /// A token is used up or revoked.
    TokenGone(String),
    /// A digest was approved.
    Approval(Digest, Approval),
    /// An approval was used or is void.
    ApprovalGone(Digest),
    /// A pause begins.
    Hold(HoldScope, Hold),
    /// A pause ends.
    HoldGone(HoldScope),
    /// What a device was assigned first of all was taken back before it said anything of it: nothing is assigned to it.
    Unassigned(DeviceId),
    /// Something about a rollout.
    Rollout(RolloutName, RolloutChange),
    /// The controller runs while a rollout is under way.
    Heartbeat(Timestamp),
    /// Something was said on the forge, or is about to be.
    Told(Topic, Told),
    /// What was said on the forge is over, and nothing asks about it any more.
    ToldGone(Topic),
    /// Something happened that people may want to read later.
    Event(Event),
}

impl FleetState {
    /// The epoch of new assignments.
    pub fn epoch(&self) -> Epoch {
        self.epoch.unwrap_or(Epoch::FIRST)
    }

    /// Whether an assignment may be handed to its device: one that the device has not acknowledged only while its rollout goes on.
    pub fn serves(&self, assignment: &Assignment) -> bool {
        let Some(name) = &assignment.rollout else { return true };
        // Of one that cannot be read nobody knows whether it was stopped.
        let goes_on = self.rollouts.get(name.as_str()).is_some_and(|rollout| rollout.serves(&assignment.device));
        let reported = self.devices.get(&assignment.device).and_then(|record| record.reported.as_ref());
        let acknowledged = || reported.and_then(|reported| reported.report.observed) == Some(assignment.mark());
        goes_on || acknowledged()
    }

    /// Makes changes visible that the store has written.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change.clone() {
                Change::Epoch(epoch) => self.epoch = Some(epoch),
                Change::Identity(device, identity) => {
                    self.devices.entry(device).or_default().identity = Some(identity);
                }
                Change::Control(device, control) => self.devices.entry(device).or_default().control = control,
                Change::Assignment(assignment) => {
                    let device = assignment.device.clone();
                    self.devices.entry(device).or_default().assignment = Some(assignment);
                }
                Change::Reported(device, reported) => {
                    self.devices.entry(device).or_default().reported = Some(reported);
                }
                Change::Unreported(device) => {
                    if let Some(record) = self.devices.get_mut(&device) {
                        record.reported = None;
                    }
                }
                Change::Actions(device, actions) => self.devices.entry(device).or_default().actions = Some(actions),
                Change::Registry(device, registry) => self.devices.entry(device).or_default().registry = Some(registry),
                Change::Forget(device) => {
                    self.devices.remove(&device);
                }
                Change::Stage(stage, record) => {
                    self.stages.insert(stage, record);
                }
                Change::Token(id, record) => {
                    self.tokens.insert(id, record);
                }
                Change::TokenGone(id) => {
                    self.tokens.remove(&id);
                }
                Change::Approval(digest, approval) => {
                    self.approvals.insert(digest, approval);
                }
                Change::ApprovalGone(digest) => {
                    self.approvals.remove(&digest);
                }
                Change::Hold(scope, hold) => {
                    self.holds.insert(scope, hold);
                }
                Change::HoldGone(scope) => {
                    self.holds.remove(&scope);
                }
                Change::Unassigned(device) => {
                    if let Some(record) = self.devices.get_mut(&device) {
                        record.assignment = None;
                    }
                }
                Change::Rollout(name, change) => rollouts::apply(&mut self.rollouts, name, change),
                Change::Heartbeat(at) => self.heartbeat = Some(at),
                Change::Told(topic, told) => {
                    self.told.insert(topic, told);
                }
                Change::ToldGone(topic) => {
                    self.told.remove(&topic);
                }
                // Events are for people; no decision reads them.
                Change::Event(_) => {}
            }
        }
    }
}
