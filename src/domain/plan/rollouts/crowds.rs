//! How many devices groups have, how many of them are away, and who holds slots: kept up to date between passes, so that a tick of a
//! rollout with budgets costs what changed and not what exists.
//!
//! Polls are no changes of the state, so who is away is found out again each time: only they can have come back unseen. Whoever was
//! here stays here until its silence has lasted for long enough since it was looked at last, and is looked at again then.

use super::world::FleetWorld;
use crate::domain::desired::Desired;
use crate::domain::fleet::{Change, FleetState, RolloutChange};
use crate::domain::ids::{DeviceId, LabelName, RolloutName, StageName};
use crate::domain::rollout::machine::Member;
use crate::domain::time::Timestamp;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

/// What is counted for budgets.
#[derive(Debug, Default)]
pub(in crate::domain::plan) struct Crowds(RefCell<Kept>);

#[derive(Debug, Default)]
struct Kept {
    groups: BTreeMap<(StageName, LabelName, u32), Groups>,
    /// Who holds a slot as far as the rollout knows, by rollout. `None` until somebody asks.
    holders: Option<BTreeMap<RolloutName, BTreeSet<DeviceId>>>,
    /// The moment of the last look.
    at: Option<Timestamp>,
}

/// The devices of a stage by their value of a label.
#[derive(Debug)]
struct Groups {
    /// Whose list it is. It is not kept alive for this.
    desired: Weak<Desired>,
    by_value: BTreeMap<String, Crowd>,
    /// Devices that are to be looked at whether or not their time is over.
    touched: BTreeSet<DeviceId>,
}

#[derive(Debug, Default)]
struct Crowd {
    /// Those that were here, by when they are away if they are not heard of again.
    here: BTreeSet<(Timestamp, DeviceId)>,
    away: BTreeSet<DeviceId>,
}

impl Crowds {
    /// Notes what is about to become of the state.
    pub(in crate::domain::plan) fn note(&mut self, before: &FleetState, changes: &[Change]) {
        let Kept { groups, holders, at: _ } = self.0.get_mut();
        for change in changes {
            if let Some(device) = unsettled(before, change) {
                groups.values_mut().for_each(|groups| _ = groups.touched.insert(device.clone()));
            }
            let (Change::Rollout(name, change), Some(holders)) = (change, holders.as_mut()) else { continue };
            match change {
                RolloutChange::Member(device, member) if holds(member) => {
                    holders.entry(name.clone()).or_default().insert(device.clone());
                }
                RolloutChange::Member(device, _) => {
                    if let Some(of_rollout) = holders.get_mut(name) {
                        of_rollout.remove(device);
                    }
                }
                RolloutChange::Gone => _ = holders.remove(name),
                RolloutChange::Head { .. } | RolloutChange::Content(_) => {}
            }
        }
    }

    /// How many devices have this value of a label, and how many of them are away.
    pub(super) fn count(&self, world: &FleetWorld<'_>, label: &LabelName, value: &str) -> (u32, u32) {
        let (stage, lost_after_secs, now, desired) = world.place();
        let mut kept = self.0.borrow_mut();
        // A clock that was set back may have moved what was noted as well.
        if kept.at.is_some_and(|at| now < at) {
            kept.groups.clear();
        }
        kept.at = Some(now);
        kept.groups
            .retain(|(of, ..), groups| of != stage || std::ptr::eq(groups.desired.as_ptr(), Arc::as_ptr(desired)));
        let key = (stage.clone(), label.clone(), lost_after_secs);
        let groups = kept.groups.entry(key).or_insert_with(|| Groups::of(desired, label));
        groups.count(world, label, value)
    }

    /// The devices that hold a slot as far as a rollout knows.
    pub(super) fn holders(&self, state: &FleetState, rollout: &RolloutName) -> Vec<DeviceId> {
        let mut kept = self.0.borrow_mut();
        let holders = kept.holders.get_or_insert_with(|| {
            let all = state.rollouts.iter().map(|(name, record)| {
                let holding = record.members.iter().filter(|(_, member)| holds(member));
                (name.clone(), holding.map(|(device, _)| device.clone()).collect())
            });
            all.collect()
        });
        holders.get(rollout).into_iter().flatten().cloned().collect()
    }
}

/// A device that may be away from now on although its time is not over.
fn unsettled<'a>(before: &FleetState, change: &'a Change) -> Option<&'a DeviceId> {
    match change {
        Change::Identity(device, _) | Change::Unreported(device) | Change::Forget(device) => Some(device),
        Change::Reported(device, reported) => {
            let known = before.devices.get(device).and_then(|record| record.reported.as_ref());
            known.is_some_and(|known| reported.received_at < known.received_at).then_some(device)
        }
        _ => None,
    }
}

fn holds(member: &Member) -> bool {
    member.slot_since().is_some()
}

impl Groups {
    fn of(desired: &Arc<Desired>, label: &LabelName) -> Self {
        let mut by_value: BTreeMap<String, Crowd> = BTreeMap::new();
        for (device, listed) in &desired.devices {
            let Some(value) = listed.labels.get(label.as_str()) else { continue };
            // The first count finds out who is here.
            match by_value.get_mut(value) {
                Some(crowd) => _ = crowd.away.insert(device.clone()),
                None => by_value.entry(value.clone()).or_default().away = BTreeSet::from([device.clone()]),
            }
        }
        Self { desired: Arc::downgrade(desired), by_value, touched: BTreeSet::new() }
    }

    fn count(&mut self, world: &FleetWorld<'_>, label: &LabelName, value: &str) -> (u32, u32) {
        let (_, lost_after_secs, now, _) = world.place();
        for device in std::mem::take(&mut self.touched) {
            let of = world.listed(&device).and_then(|listed| listed.labels.get(label.as_str()));
            if let Some(crowd) = of.and_then(|value| self.by_value.get_mut(value)) {
                crowd.here.retain(|(_, one)| *one != device);
                crowd.away.insert(device);
            }
        }
        let Some(Crowd { here, away }) = self.by_value.get_mut(value) else { return (0, 0) };
        while let Some((_, device)) = here.first().filter(|(until, _)| *until <= now).cloned() {
            here.pop_first();
            away.insert(device);
        }
        let latest = now.plus_secs(lost_after_secs.into());
        away.retain(|device| match world.online_until(device).filter(|until| now < *until) {
            Some(until) => {
                // What was heard in the future, by a clock that was set back since, may be heard anew at an earlier moment.
                here.insert((until.min(latest), device.clone()));
                false
            }
            None => true,
        });
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (number(here.len() + away.len()), number(away.len()))
    }
}
