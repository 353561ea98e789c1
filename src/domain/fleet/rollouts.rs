//! What the controller remembers of rollouts: a head each, a record per device, and the content that they bring and take back.

use crate::domain::digest::Digest;
use crate::domain::ids::{CommitId, DeviceId, RolloutName};
use crate::domain::rollout::gate::Counts;
use crate::domain::rollout::machine::{Head, Member, Rollout, quarantines, quarantines_all, serves};
use crate::domain::spec::SealedSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is remembered of one rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutRecord {
    /// How often the head was written. A head is only written over the one before it.
    pub version: u64,
    /// Everything but devices.
    pub head: Arc<Head>,
    /// Its devices.
    pub members: BTreeMap<DeviceId, Arc<Member>>,
    /// What its devices get and what they had, by digest: neither commit may be at hand when it is needed.
    pub contents: BTreeMap<Digest, Arc<Content>>,
}

/// Content of a device, and the commit that it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The content.
    pub spec: SealedSpec,
    /// Its commit.
    pub commit: CommitId,
}

/// Where a rollout stood when something happened to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutMoment {
    /// The commit that it brings.
    pub commit: CommitId,
    /// Where it stood afterwards: one word.
    pub status: String,
    /// Which step it was at, from 1.
    pub step: usize,
    /// How many steps it has.
    pub steps: usize,
    /// What had become of the devices of that step.
    pub counts: Counts,
}

/// One change of what is remembered of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum RolloutChange {
    /// Its head; the first one makes it.
    Head {
        /// One more than the version before; 1 for the first.
        version: u64,
        /// The head.
        head: Arc<Head>,
    },
    /// One of its devices.
    Member(DeviceId, Arc<Member>),
    /// Content that it brings or takes back.
    Content(Arc<Content>),
    /// It is forgotten.
    Gone,
}

impl RolloutRecord {
    /// One of which nothing but its head is known.
    pub fn new(version: u64, head: Arc<Head>) -> Self {
        Self { version, head, members: BTreeMap::new(), contents: BTreeMap::new() }
    }

    /// The rollout, at work.
    pub fn load(&self) -> Rollout {
        let members = self.members.iter().map(|(device, member)| (device.clone(), Member::clone(member)));
        Rollout::load(Head::clone(&self.head), members.collect())
    }

    /// The rollout with this device, those of its site, and those that hold slots of budgets: whoever asks what one device waits for
    /// does not wait for a million to be copied.
    pub fn load_near(&self, device: &DeviceId) -> Rollout {
        let site = self.members.get(device).and_then(|member| member.site.as_deref());
        let near = self.members.iter().filter(|(other, member)| {
            *other == device || member.holds_slot() || (site.is_some() && member.site.as_deref() == site)
        });
        let near = near.map(|(device, member)| (device.clone(), Member::clone(member)));
        Rollout::load(Head::clone(&self.head), near.collect())
    }

    /// Whether what a device was offered and has not acknowledged may be handed to it.
    pub fn serves(&self, device: &DeviceId) -> bool {
        self.members.get(device).is_some_and(|member| serves(&self.head.status, member))
    }

    /// Whether this content must not be assigned outside of this rollout, because it went wrong with it: to no device of the stage,
    /// also to one that was none of its devices.
    pub fn quarantines(&self, device: &DeviceId, commit: &CommitId, digest: &Digest) -> bool {
        let member = self.members.get(device).map(Arc::as_ref);
        quarantines(&self.head, member, commit, digest) || (quarantines_all(&self.head) && self.brought(digest))
    }

    /// Whether it means this content for any device, or meant it.
    pub fn brought(&self, digest: &Digest) -> bool {
        // What devices had before is from other commits, so hardly anybody is asked in vain. Releases on the way are from this one.
        let is_its = self.contents.get(digest).is_some_and(|content| content.commit == self.head.commit);
        is_its && self.members.values().any(|member| member.target == *digest)
    }

    fn apply(&mut self, change: RolloutChange) {
        match change {
            RolloutChange::Head { version, head } => {
                self.version = version;
                self.head = head;
            }
            RolloutChange::Member(device, member) => {
                self.members.insert(device, member);
            }
            RolloutChange::Content(content) => {
                self.contents.insert(content.spec.digest, content);
            }
            RolloutChange::Gone => {}
        }
    }
}

/// Makes a change visible. What is said of a rollout that is not there, other than its first head, is nothing.
pub(super) fn apply(rollouts: &mut BTreeMap<RolloutName, RolloutRecord>, name: RolloutName, change: RolloutChange) {
    match (change, rollouts.get_mut(&name)) {
        (RolloutChange::Gone, _) => {
            rollouts.remove(&name);
        }
        (RolloutChange::Head { version, head }, None) => {
            rollouts.insert(name, RolloutRecord::new(version, head));
        }
        (change, Some(record)) => record.apply(change),
        (RolloutChange::Member(..) | RolloutChange::Content(_), None) => {}
    }
}
