//! What rollouts are told of devices while they decide.

use crate::domain::desired::{Desired, DesiredDevice};
use crate::domain::fleet::{DeviceRecord, RolloutRecord};
use crate::domain::ids::{DeviceId, LabelName};
use crate::domain::plan::ownership::owner;
use crate::domain::plan::pass::{PassInput, hold_on, is_enrolled};
use crate::domain::plan::requires::{contradicted, unmet};
use crate::domain::plan::staged::{Claimed, selects};
use crate::domain::rollout::budget::Group;
use crate::domain::rollout::freeze::Freezes;
use crate::domain::rollout::machine::member::Exposure;
use crate::domain::rollout::machine::{Phase, World};
use crate::domain::rollout::policy::Selector;
use crate::domain::spec::Purpose;
use crate::domain::time::Timestamp;
use crate::domain::window::Opening;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Who knows when devices were last heard of. Polls are not durable, so the state does not say.
pub trait Contacts: fmt::Debug {
    /// When a device was last heard of, by whatever way.
    fn last_seen(&self, device: &DeviceId) -> Option<Timestamp>;
}

/// Only reports tell when a device was heard of.
#[derive(Debug)]
pub struct NoContacts;

impl Contacts for NoContacts {
    fn last_seen(&self, _: &DeviceId) -> Option<Timestamp> {
        None
    }
}

/// When a device was last heard of.
pub fn last_seen(input: &PassInput<'_>, device: &DeviceId) -> Option<Timestamp> {
    let record = input.state.devices.get(device);
    let reported = record.and_then(|record| record.reported.as_ref()).map(|reported| reported.received_at);
    input.contacts.last_seen(device).max(reported)
}

/// By value of a label: how many devices there are, and how many of them are away.
type Values = BTreeMap<String, (u32, u32)>;

/// What is known of the devices of one rollout.
pub struct FleetWorld<'a> {
    input: &'a PassInput<'a>,
    desired: &'a Arc<Desired>,
    rollout: &'a RolloutRecord,
    groups: RefCell<BTreeMap<LabelName, Values>>,
}

impl<'a> FleetWorld<'a> {
    /// `desired` is what counts for the rollout's stage now.
    pub fn new(input: &'a PassInput<'a>, desired: &'a Arc<Desired>, rollout: &'a RolloutRecord) -> Self {
        Self { input, desired, rollout, groups: RefCell::default() }
    }

    fn listed(&self, device: &DeviceId) -> Option<&'a Arc<DesiredDevice>> {
        self.desired.devices.get(device)
    }

    fn record(&self, device: &DeviceId) -> Option<&'a DeviceRecord> {
        self.input.state.devices.get(device)
    }

    /// Why a device that is listed cannot take what the rollout brings, as long as the rollout's commit is the one that counts.
    fn unfit(&self, device: &DeviceId, listed: Option<&DesiredDevice>, record: &DeviceRecord) -> Option<String> {
        let head = &self.rollout.head;
        let counts = self.input.state.stages.get(&head.stage).and_then(|stage| stage.accepted.as_ref());
        let member = self.rollout.members.get(device);
        if counts != Some(&head.commit) {
            // What it lacks cannot be told any more; who takes part already goes on.
            let is_out = member.is_some_and(|member| matches!(member.phase, Phase::Excluded { .. }));
            return is_out.then(|| "a newer commit counts".to_owned());
        }
        let Some(listed) = listed else { return Some(format!("stage {} does not list it", head.stage)) };
        let Some(spec) = &listed.spec else {
            return Some(listed.problem.clone().unwrap_or_else(|| "its files have findings".to_owned()));
        };
        if member.is_some_and(|member| member.target != spec.digest) {
            return Some("its stage wants other content for it by now".to_owned());
        }
        // Its way was settled when it was taken in; on it, it has releases that no other one would be led to from.
        let on_its_way = member.is_some_and(|member| member.exposure != Exposure::None);
        let unmet = if on_its_way { contradicted(listed, record) } else { unmet(listed, record) };
        unmet.into_iter().next().map(|unmet| unmet.message)
    }

    fn counted(&self, label: &LabelName) -> Values {
        let mut values = Values::new();
        for (device, listed) in &self.desired.devices {
            let Some(value) = listed.labels.get(label.as_str()) else { continue };
            let (members, away) = values.entry(value.clone()).or_default();
            *members += 1;
            *away += u32::from(!self.is_online(device));
        }
        values
    }

    fn slots_of_others(&self, label: &LabelName, value: &str) -> u32 {
        let others = self.input.state.rollouts.values().filter(|other| other.head.name != self.rollout.head.name);
        let held = others.flat_map(|other| {
            let desired = self.input.accepted(&other.head.stage);
            let labelled = move |device: &DeviceId| {
                let listed = desired.and_then(|desired| desired.devices.get(device));
                listed.and_then(|listed| listed.labels.get(label.as_str())).is_some_and(|one| one == value)
            };
            other.members.iter().filter(move |(device, member)| member.holds_slot() && labelled(device))
        });
        u32::try_from(held.count()).unwrap_or(u32::MAX)
    }
}

impl World for FleetWorld<'_> {
    fn selects(&self, selector: &Selector, device: &DeviceId) -> bool {
        let Some(listed) = self.listed(device) else { return false };
        let record = self.record(device);
        selects(self.desired, selector, &Claimed { stage: &self.rollout.head.stage, device, listed, record })
    }

    fn excluded(&self, device: &DeviceId) -> Option<String> {
        let record = self.record(device)?;
        if let Some(conflict) = &record.control.conflict {
            return Some(conflict.message.clone());
        }
        let stage = &self.rollout.head.stage;
        match owner(self.input.stages, &record.control.claims) {
            Some(owner) if owner == stage => {}
            Some(owner) => return Some(format!("stage {owner} owns it")),
            None => return Some("no stage claims it".to_owned()),
        }
        let listed = self.listed(device).map(Arc::as_ref);
        if let Some(hold) = hold_on(self.input.state, device, Some(stage), listed, self.input.now) {
            return Some(hold.message);
        }
        self.unfit(device, listed, record)
    }

    fn is_online(&self, device: &DeviceId) -> bool {
        let lost_after = i64::from(self.rollout.head.policy.lost_after_secs);
        self.record(device).is_some_and(is_enrolled)
            && last_seen(self.input, device).is_some_and(|seen| self.input.now < seen.plus_secs(lost_after))
    }

    fn opening(&self, device: &DeviceId, now: Timestamp) -> Opening {
        let target = self.rollout.members.get(device).map(|member| member.target);
        let content = target.and_then(|target| self.rollout.contents.get(&target));
        content
            .map_or(Opening::Unrestricted, |content| content.spec.spec.maintenance.windows(Purpose::Apply).opening(now))
    }

    fn label<'a>(&'a self, label: &LabelName, device: &DeviceId) -> Option<&'a str> {
        self.desired.devices.get(device)?.labels.get(label.as_str()).map(String::as_str)
    }

    fn group(&self, label: &LabelName, value: &str) -> Group {
        let mut groups = self.groups.borrow_mut();
        let values = groups.entry(label.clone()).or_insert_with(|| self.counted(label));
        let (members, away) = values.get(value).copied().unwrap_or_default();
        Group { members, away, slots: self.slots_of_others(label, value) }
    }

    fn freezes(&self) -> &Freezes {
        &self.desired.rollouts.freezes
    }
}
