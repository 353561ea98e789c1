//! What each device shall fetch, in memory: where long polls wait.

use crate::domain::actions::Actions;
use crate::domain::assignment::Assignment;
use crate::domain::digest::Digest;
use crate::domain::fleet::{Change, FleetState, Identity, IdentityStatus, Reported, RolloutChange};
use crate::domain::ids::DeviceId;
use crate::domain::plan::rollouts::Contacts;
use crate::domain::reported::ReportId;
use crate::domain::time::Timestamp;
use arc_swap::ArcSwapOption;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Notify;

/// One device's place: what it shall fetch, and when it was last here.
#[derive(Debug)]
pub struct Slot {
    /// The device.
    pub device: DeviceId,
    /// What it shall reach.
    pub assignment: ArcSwapOption<Assignment>,
    /// What it shall do once.
    pub actions: ArcSwapOption<Actions>,
    /// Wakes its polls.
    pub news: Notify,
    last_seen_millis: AtomicI64,
    /// The newest report that is durable.
    recorded: ArcSwapOption<ReportId>,
}

impl Slot {
    fn new(device: DeviceId) -> Self {
        Self {
            device,
            assignment: ArcSwapOption::empty(),
            actions: ArcSwapOption::empty(),
            news: Notify::new(),
            last_seen_millis: AtomicI64::new(i64::MIN),
            recorded: ArcSwapOption::empty(),
        }
    }

    /// Notes that the device was here.
    pub fn seen(&self, now: Timestamp) {
        self.last_seen_millis.fetch_max(now.millis(), Ordering::Relaxed);
    }

    /// The newest report that is durable.
    pub fn recorded(&self) -> ReportId {
        self.recorded.load().as_deref().copied().unwrap_or_default()
    }

    fn has_recorded(&self, reported: Option<&Reported>) {
        self.recorded.store(reported.map(|reported| Arc::new(reported.freshness.newest())));
    }

    /// When the device was last here.
    pub fn last_seen(&self) -> Option<Timestamp> {
        match self.last_seen_millis.load(Ordering::Relaxed) {
            i64::MIN => None,
            millis => Some(Timestamp::from_millis(millis)),
        }
    }
}

/// Who a key belongs to.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// The device's place.
    pub slot: Arc<Slot>,
    /// Whether it belongs to the fleet.
    pub status: IdentityStatus,
}

#[derive(Debug, Default)]
struct Tables {
    slots: BTreeMap<DeviceId, Arc<Slot>>,
    keys: BTreeMap<Digest, Speaker>,
    key_of: BTreeMap<DeviceId, Digest>,
}

/// All devices' places.
#[derive(Debug, Default)]
pub struct Published {
    tables: RwLock<Tables>,
    /// Polls that are held open now.
    pub open_polls: AtomicU64,
    /// Since when it is noted who was here; `None` in tests that know it from the beginning.
    since: Option<Timestamp>,
}

impl Published {
    /// Of a controller that begins to listen now.
    pub fn noting_since(since: Timestamp) -> Self {
        Self { since: Some(since), ..Self::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything of a state that was just loaded.
    pub fn fill(&self, state: &FleetState) {
        self.write().fill(state);
    }

    /// Everything of a state that was loaded anew, in place of what was known. In one step: a key that is missing for a moment would
    /// send its device away.
    pub fn replace(&self, state: &FleetState) {
        let slots: Vec<Arc<Slot>> = {
            let mut tables = self.write();
            tables.keys.clear();
            tables.key_of.clear();
            tables.slots.retain(|device, _| state.devices.contains_key(device));
            tables.slots.values().for_each(|slot| slot.has_recorded(None));
            tables.fill(state);
            tables.slots.values().cloned().collect()
        };
        for slot in slots {
            slot.news.notify_waiters();
        }
    }

    /// Makes changes visible to polls that the store has written.
    pub fn apply(&self, changes: &[Change]) {
        let mut woken = Vec::new();
        {
            let mut tables = self.write();
            for change in changes {
                match change {
                    Change::Assignment(assignment) => {
                        let slot = tables.slot(&assignment.device);
                        slot.assignment.store(Some(assignment.clone()));
                        woken.push(slot);
                    }
                    Change::Unassigned(device) => {
                        let slot = tables.slot(device);
                        slot.assignment.store(None);
                        woken.push(slot);
                    }
                    // What was kept back may be handed out now.
                    Change::Rollout(_, RolloutChange::Member(device, _)) => {
                        woken.extend(tables.slots.get(device).cloned())
                    }
                    Change::Actions(device, actions) => {
                        let slot = tables.slot(device);
                        slot.actions.store(Some(actions.clone()));
                        woken.push(slot);
                    }
                    Change::Identity(device, identity) => {
                        tables.know(device, identity);
                        woken.push(tables.slot(device));
                    }
                    Change::Reported(device, reported) => tables.slot(device).has_recorded(Some(reported)),
                    Change::Unreported(device) => tables.slot(device).has_recorded(None),
                    Change::Forget(device) => tables.forget(device),
                    _ => {}
                }
            }
        }
        for slot in woken {
            slot.news.notify_waiters();
        }
    }

    /// Who a key belongs to.
    pub fn speaker(&self, key: &Digest) -> Option<Speaker> {
        self.read().keys.get(key).cloned()
    }

    /// When a device was last here, as far as is known.
    pub fn last_seen(&self, device: &DeviceId) -> Option<Timestamp> {
        self.read().slots.get(device).and_then(|slot| slot.last_seen())
    }

    /// When each device was last here, as far as is known.
    pub fn all_last_seen(&self) -> BTreeMap<DeviceId, Timestamp> {
        let tables = self.read();
        tables.slots.iter().filter_map(|(device, slot)| Some((device.clone(), slot.last_seen()?))).collect()
    }

    /// Wakes every poll, so that a server that stops can answer them.
    pub fn wake_all(&self) {
        for slot in self.read().slots.values() {
            slot.news.notify_waiters();
        }
    }
}

impl Contacts for Published {
    fn last_seen(&self, device: &DeviceId) -> Option<Timestamp> {
        Self::last_seen(self, device)
    }

    fn since(&self) -> Option<Timestamp> {
        self.since
    }
}

impl Tables {
    fn fill(&mut self, state: &FleetState) {
        for (device, record) in &state.devices {
            let slot = self.slot(device);
            slot.assignment.store(record.assignment.clone());
            slot.actions.store(record.actions.clone());
            if let Some(reported) = &record.reported {
                slot.seen(reported.received_at);
                slot.has_recorded(Some(reported));
            }
            if let Some(identity) = &record.identity {
                self.know(device, identity);
            }
        }
    }

    fn slot(&mut self, device: &DeviceId) -> Arc<Slot> {
        self.slots.entry(device.clone()).or_insert_with(|| Arc::new(Slot::new(device.clone()))).clone()
    }

    fn know(&mut self, device: &DeviceId, identity: &Identity) {
        if let Some(old) = self.key_of.insert(device.clone(), identity.key_hash)
            && old != identity.key_hash
        {
            self.keys.remove(&old);
        }
        let slot = self.slot(device);
        self.keys.insert(identity.key_hash, Speaker { slot, status: identity.status });
    }

    fn forget(&mut self, device: &DeviceId) {
        if let Some(key) = self.key_of.remove(device) {
            self.keys.remove(&key);
        }
        self.slots.remove(device);
    }
}
