//! What rollouts are told of devices while they decide.

use super::crowds::Crowds;
use super::words::word;
use crate::domain::desired::{Desired, DesiredDevice};
use crate::domain::digest::Digest;
use crate::domain::fleet::{DeviceRecord, RolloutRecord};
use crate::domain::generation::Order;
use crate::domain::ids::{DeviceId, LabelName, StageName};
use crate::domain::plan::ownership::owner;
use crate::domain::plan::pass::{PassInput, hold_on, is_enrolled};
use crate::domain::plan::requires::{contradicted, unmet};
use crate::domain::plan::staged::{Claimed, selects};
use crate::domain::plan::ways::way;
use crate::domain::rollout::budget::Group;
use crate::domain::rollout::freeze::Freezes;
use crate::domain::rollout::machine::member::Exposure;
use crate::domain::rollout::machine::{Member, Phase, Returns, Word, World};
use crate::domain::rollout::policy::Selector;
use crate::domain::spec::Purpose;
use crate::domain::time::Timestamp;
use crate::domain::window::Opening;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Who knows when devices were last heard of. Polls are not durable, so the state does not say.
pub trait Contacts: fmt::Debug {
    /// When a device was last heard of, by whatever way.
    fn last_seen(&self, device: &DeviceId) -> Option<Timestamp>;

    /// Since when that is noted: what devices polled before, nobody knows any more. `None` if it was always.
    fn since(&self) -> Option<Timestamp> {
        None
    }
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
    /// Devices that other rollouts take in this very pass.
    taken: BTreeSet<DeviceId>,
    /// What is kept of groups between passes; without it, all of them are counted.
    crowds: Option<&'a Crowds>,
    groups: RefCell<BTreeMap<LabelName, Values>>,
    slots: RefCell<BTreeMap<LabelName, BTreeMap<String, u32>>>,
}

impl<'a> FleetWorld<'a> {
    /// `desired` is what counts for the rollout's stage now.
    pub fn new(input: &'a PassInput<'a>, desired: &'a Arc<Desired>, rollout: &'a RolloutRecord) -> Self {
        let (groups, slots) = (RefCell::default(), RefCell::default());
        Self { input, desired, rollout, taken: BTreeSet::new(), crowds: None, groups, slots }
    }

    /// Beside rollouts that take these devices in the same pass.
    pub fn beside(self, taken: BTreeSet<DeviceId>) -> Self {
        Self { taken, ..self }
    }

    /// With what is kept of groups. Every change of the state must have been noted there.
    pub(in crate::domain::plan) fn counting(self, crowds: &'a Crowds) -> Self {
        Self { crowds: Some(crowds), ..self }
    }

    /// The stage, from how long a silence on a device is away, the moment, and what counts.
    pub(super) fn place(&self) -> (&StageName, u32, Timestamp, &Arc<Desired>) {
        let head = &self.rollout.head;
        (&head.stage, head.policy.lost_after_secs, self.input.now, self.desired)
    }

    /// When a device is away if it is not heard of again; `None` if it never was heard of, or is nobody's.
    pub(super) fn online_until(&self, device: &DeviceId) -> Option<Timestamp> {
        let lost_after = i64::from(self.rollout.head.policy.lost_after_secs);
        self.record(device).filter(|record| is_enrolled(record))?;
        Some(last_seen(self.input, device)?.plus_secs(lost_after))
    }

    pub(super) fn listed(&self, device: &DeviceId) -> Option<&'a Arc<DesiredDevice>> {
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
        if let Some(drafted) = head.draft.as_deref().filter(|drafted| counts == Some(&drafted.base)) {
            // What it brings is in no commit that counts; whoever cannot take it was left out when it was drafted.
            let is_out = member.is_some_and(|member| matches!(member.phase, Phase::Excluded { .. }));
            let gone = || format!("stage {} does not list it, which {} was made from", head.stage, drafted.branch);
            // What it would go back to is not what it had then; the draft's own commit, which would say, is not at hand.
            let other = member.filter(|member| is_out && !self.has_its(record, member));
            let other = other.map(|_| "it has something else than when the draft was made".to_owned());
            return other.or_else(|| (listed.is_none() && !is_out).then(gone));
        }
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
        let on_its_way = member.is_some_and(|member| member.exposure != Exposure::None && self.has_its(record, member));
        let unmet = if on_its_way { contradicted(listed, record) } else { unmet(listed, record) };
        let unmet = unmet.into_iter().next().map(|unmet| unmet.message);
        unmet.or_else(|| member.filter(|_| !on_its_way).and_then(|member| elsewhere(listed, record, member)))
    }

    /// Whether a device has what the rollout gave it, or what it had before.
    pub(super) fn has_its(&self, record: &DeviceRecord, member: &Member) -> bool {
        let assignment = record.assignment.as_ref();
        let rollout = assignment.and_then(|one| one.rollout.as_deref());
        rollout == Some(self.rollout.head.name.as_str()) || assignment.map(|one| one.spec.digest) == member.ground()
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

    /// The slots of groups that other rollouts hold, by value of a label.
    fn slots_of_others(&self, label: &LabelName) -> BTreeMap<String, u32> {
        let mut values: BTreeMap<String, u32> = BTreeMap::new();
        let others = self.input.state.rollouts.values().filter(|other| other.head.name != self.rollout.head.name);
        for other in others {
            let desired = self.input.accepted(&other.head.stage);
            let open: Vec<DeviceId> = match self.crowds {
                Some(crowds) => crowds.holders(self.input.state, &other.head.name),
                None => other.members.keys().cloned().collect(),
            };
            let holds = |device: &&DeviceId| {
                other.members.get(*device).is_some_and(|member| self.holds_slot(other, device, member))
            };
            for device in open.iter().filter(holds).filter(|device| !self.taken.contains(*device)) {
                let listed = desired.and_then(|desired| desired.devices.get(device));
                let value = listed.and_then(|listed| listed.labels.get(label.as_str()));
                value.into_iter().for_each(|value| *values.entry(value.clone()).or_default() += 1);
            }
        }
        for device in &self.taken {
            let value = self.listed(device).and_then(|listed| listed.labels.get(label.as_str()));
            value.into_iter().for_each(|value| *values.entry(value.clone()).or_default() += 1);
        }
        values
    }

    /// Whether a device of another rollout holds a slot. Of one that has ended nothing more is heard: a device that was at work in
    /// it holds its slot until it has told how it went, or is not heard of for long enough to be lost.
    fn holds_slot(&self, other: &RolloutRecord, device: &DeviceId, member: &Member) -> bool {
        let Some(since) = member.slot_since() else { return false };
        if other.head.is_under_way() {
            return true;
        }
        let Some(record) = self.record(device) else { return false };
        let stage = &other.head.stage;
        let listed = self.input.accepted(stage).and_then(|desired| desired.devices.get(device)).map(Arc::as_ref);
        if hold_on(self.input.state, device, Some(stage), listed, self.input.now).is_some() {
            return false;
        }
        let rollout = record.assignment.as_ref().and_then(|assignment| assignment.rollout.as_deref());
        let done = match word(&other.head.name, record) {
            Some(Word::Healthy { .. } | Word::Failed { .. }) => true,
            Some(
                Word::Contact
                | Word::Seen { .. }
                | Word::Acknowledged { .. }
                | Word::Unhealthy { .. }
                | Word::Left { .. }
                | Word::Gone { .. }
                | Word::Back
                | Word::BackWith { .. },
            )
            | None => false,
        };
        let lost = since.plus_secs(i64::from(other.head.policy.lost_after_secs)) <= self.input.now;
        rollout == Some(other.head.name.as_str()) && !done && !lost
    }
}

/// A device that has something else than when its way was settled goes no other way than that.
fn elsewhere(listed: &DesiredDevice, record: &DeviceRecord, member: &Member) -> Option<String> {
    if listed.requires.is_empty() {
        return None;
    }
    let way = way(listed, Some(record)).ok()?;
    let is_its = way.legs.iter().map(|leg| &leg.digest).eq(&member.detour);
    (!is_its)
        .then(|| "it has something else than when the rollout was made, and would have to go another way".to_owned())
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

    fn returns(&self, device: &DeviceId) -> Returns {
        let Some(record) = self.record(device) else { return Returns::Never };
        let stage = &self.rollout.head.stage;
        let rollout = record.assignment.as_ref().and_then(|assignment| assignment.rollout.as_deref());
        let member = self.rollout.members.get(device);
        // What it has proven on its way is the rollout's as well, also after the next leg was taken back.
        let is_on_its_way = record.assignment.as_ref().is_some_and(|one| {
            one.rollout.is_none() && member.is_some_and(|member| member.reached.as_deref() == Some(&one.spec.digest))
        });
        let is_its = (rollout == Some(self.rollout.head.name.as_str()) || is_on_its_way)
            && record.control.conflict.is_none()
            && owner(self.input.stages, &record.control.claims) == Some(stage);
        if !is_its {
            return Returns::Never;
        }
        let listed = self.listed(device).map(Arc::as_ref);
        match hold_on(self.input.state, device, Some(stage), listed, self.input.now) {
            Some(_) => Returns::Held,
            None => Returns::Now,
        }
    }

    fn order(&self, device: &DeviceId, digest: &Digest) -> Option<Order> {
        let assignment = self.record(device)?.assignment.as_ref()?;
        let is_its = assignment.rollout.as_deref() == Some(self.rollout.head.name.as_str());
        (is_its && assignment.spec.digest == *digest).then_some(assignment.order)
    }

    fn is_online(&self, device: &DeviceId) -> bool {
        self.online_until(device).is_some_and(|until| self.input.now < until)
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
        let all = || self.crowds.map_or_else(|| self.counted(label), |_| Values::new());
        let values = groups.entry(label.clone()).or_insert_with(all);
        let (members, away) = match (values.get(value).copied(), self.crowds) {
            (Some(counted), _) => counted,
            (None, Some(crowds)) => *values.entry(value.to_owned()).or_insert(crowds.count(self, label, value)),
            (None, None) => (0, 0),
        };
        let mut slots = self.slots.borrow_mut();
        let slots = slots.entry(label.clone()).or_insert_with(|| self.slots_of_others(label));
        Group { members, away, slots: slots.get(value).copied().unwrap_or_default() }
    }

    fn freezes(&self) -> &Freezes {
        &self.desired.rollouts.freezes
    }
}
