//! An OS updater with two slots and its boot loader as values.
//!
//! Tests and the simulation use it as it is; the agent's simulated updater keeps one in a file. Its boot loader is of the
//! strict kind: an image that does not start is marked bad at once, and one that is still on trial has a single boot.

use super::OsError;
use crate::domain::device::action::Action;
use crate::domain::device::os::FoundOs;
use crate::domain::ids::Version;
use crate::domain::reported::{BootState, ObservedOs, ObservedSlot};
use crate::domain::spec::OsSpec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The version that a fake updater reports before anything was installed.
pub const FACTORY_VERSION: &str = "factory";

/// An OS updater as a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeOs {
    /// What runs.
    pub running: ObservedOs,
    /// How often something was installed.
    #[serde(default)]
    pub installs: u64,
    /// How often the device was booted again.
    #[serde(default)]
    pub boots: u64,
    /// Names of images by slot.
    #[serde(default)]
    names: BTreeMap<String, String>,
    /// The slot to go back to while the running one is on trial.
    #[serde(default)]
    trial_from: Option<String>,
    /// Versions that do not start.
    #[serde(default)]
    pub duds: BTreeSet<Version>,
}

impl Default for FakeOs {
    fn default() -> Self {
        let version = Version::new(FACTORY_VERSION).expect("the constant is a version");
        let slot = |version| ObservedSlot { version, boot: BootState::Good };
        let slots = [("A".to_owned(), slot(Some(version.clone()))), ("B".to_owned(), slot(None))];
        let (booted, primary) = (Some("A".to_owned()), Some("A".to_owned()));
        let running = ObservedOs { name: None, version, booted, primary, slots: slots.into() };
        let (names, duds) = (BTreeMap::new(), BTreeSet::new());
        Self { running, installs: 0, boots: 0, names, trial_from: None, duds }
    }
}

impl FakeOs {
    /// What a look finds.
    pub fn look(&self) -> FoundOs {
        FoundOs::idle(self.running.clone(), format!("boot-{}", self.boots))
    }

    /// Performs an action; one for the container engine is none of its business.
    pub fn perform(&mut self, action: &Action) -> Result<(), OsError> {
        match action {
            Action::InstallOs { os } => return self.install(os),
            Action::Reboot { why: _ } => self.reboot(),
            Action::ConfirmOs { version: _ } => self.trial_from = None,
            Action::FallBackOs { version: _ } => {
                let booted = self.running.booted.clone();
                self.mark(booted.as_ref(), BootState::Bad);
                self.running.primary = self.other();
            }
            Action::KeepOs => self.running.primary = self.running.booted.clone(),
            _ => {}
        }
        Ok(())
    }

    /// Installs an image into the other slot; it runs after a reboot.
    pub fn install(&mut self, os: &OsSpec) -> Result<(), OsError> {
        let other = self.other();
        if let Some(slot) = other.as_ref().and_then(|other| self.running.slots.get_mut(other)) {
            *slot = ObservedSlot { version: Some(os.version.clone()), boot: BootState::Good };
        }
        self.names.extend(other.clone().map(|other| (other, os.name.clone())));
        self.running.primary = other;
        self.installs += 1;
        Ok(())
    }

    /// What a reboot comes to, also one that nobody asked for.
    pub fn reboot(&mut self) {
        self.boots += 1;
        let from = self.running.booted.clone();
        if let Some(back) = self.trial_from.take() {
            // Not confirmed in its one boot.
            self.mark(from.as_ref(), BootState::Bad);
            self.running.primary = Some(back);
        }
        let next = self.running.primary.clone();
        let version = next.as_ref().and_then(|slot| self.running.slots.get(slot)?.version.clone());
        match version {
            Some(version) if !self.duds.contains(&version) => {
                if next != from && self.is_good(from.as_ref()) {
                    self.trial_from = from;
                }
                self.running.name = next.as_ref().and_then(|slot| self.names.get(slot).cloned());
                (self.running.booted, self.running.version) = (next, version);
            }
            Some(_) | None => {
                self.mark(next.as_ref(), BootState::Bad);
                self.running.primary = from;
            }
        }
    }

    fn is_good(&self, slot: Option<&String>) -> bool {
        slot.and_then(|slot| self.running.slots.get(slot)).is_some_and(|slot| slot.boot == BootState::Good)
    }

    fn mark(&mut self, slot: Option<&String>, boot: BootState) {
        if let Some(slot) = slot.and_then(|slot| self.running.slots.get_mut(slot)) {
            slot.boot = boot;
        }
    }

    fn other(&self) -> Option<String> {
        self.running.slots.keys().find(|slot| Some(*slot) != self.running.booted.as_ref()).cloned()
    }
}
