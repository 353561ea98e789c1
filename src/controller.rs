//! The controller's shell: it wakes passes, writes what they decide, and publishes.
//!
//! One thread owns the state ([`owner`]); everything that wants a change sends it a command and waits for the answer. One
//! thread watches the fleet repo ([`watch`]). Neither decides anything: decisions are pure functions of [`crate::domain`].
//! What devices are assigned is published in [`published`], where polls wait.

pub mod alarm;
pub mod arranged;
pub mod dumps;
pub mod fetching;
pub mod lists;
pub mod owner;
pub mod published;
pub mod telling;
pub mod vault;
pub mod watch;

#[cfg(test)]
mod tests;

use crate::domain::fleet::FleetState;
use crate::domain::ids::{FleetName, StageName};
use crate::domain::plan::pass::{PassInput, StageView};
use crate::domain::plan::policy::StagePolicy;
use crate::domain::plan::rollouts::NoContacts;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What the controller is told once, at start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The fleet's name.
    pub fleet: FleetName,
    /// All stages, least gated first.
    pub stages: Vec<StagePolicy>,
    /// Seconds between two looks at the fleet repo.
    pub poll_secs: u64,
    /// Seconds of silence after which a device counts as offline.
    pub offline_after_secs: i64,
}

impl Options {
    /// The stages' names, least gated first.
    pub fn stage_names(&self) -> Vec<StageName> {
        self.stages.iter().map(|stage| stage.name.clone()).collect()
    }
}

/// Everything that is known at one moment: the durable state, and what the stages' commits mean.
#[derive(Debug, Default)]
pub struct World {
    /// What the store holds.
    pub state: FleetState,
    /// What the commits of the stages mean.
    pub views: BTreeMap<StageName, StageView>,
    /// Counts changes of what the registry lists since the start.
    pub registry_version: u64,
    /// How the fleet repo was found at the last look.
    pub repo: RepoStatus,
    /// All devices arranged for filters.
    pub arranged: arranged::Arranged,
}

/// How the fleet repo was found at the last look. Not durable: it is found out again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoStatus {
    /// When it last answered.
    pub last_contact: Option<Timestamp>,
    /// Why it does not answer, if it does not.
    pub unavailable: Option<String>,
    /// Stages whose branch the remote does not have.
    pub missing: Vec<StageName>,
    /// Stages whose commit could not be read, and why.
    pub unreadable: BTreeMap<StageName, String>,
}

/// The world, shared: the owner writes, everybody reads.
#[derive(Clone, Debug, Default)]
pub struct SharedWorld(Arc<RwLock<World>>);

impl SharedWorld {
    /// A look at the world. Hold it briefly, and never across an `await`.
    pub fn read(&self) -> RwLockReadGuard<'_, World> {
        // A thread that panicked while it held the lock left a whole value: changes are applied one by one and each is whole.
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, World> {
        self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl World {
    /// What a pass reads.
    pub fn pass_input<'a>(&'a self, options: &'a Options, now: Timestamp) -> PassInput<'a> {
        PassInput { now, stages: &options.stages, state: &self.state, views: &self.views, contacts: &NoContacts }
    }
}
