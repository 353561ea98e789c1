//! Who comes next and when: worked out from what is stored, and kept up to date as it changes.

use super::Head;
use super::member::{Back, Counted, Member, Noted, Phase, Timing, Wait};
use super::{StepStatus, World};
use crate::domain::ids::DeviceId;
use crate::domain::rollout::spread::place;
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A budget by its place in the policy, and one value of its label.
pub(super) type GroupKey = (usize, String);

/// Whose turn is when: the moment, the place in the order of the step, and the name where even that is the same. Whoever a budget
/// or a rate lets start first is so another one in every rollout, also where all turns come at once.
pub(super) type Queue<T> = BTreeSet<(T, u64, DeviceId)>;

/// Everything that a tick looks at instead of looking at all devices.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    /// Devices of the running step that can be offered something when their turn comes, by that.
    pub(super) due: Queue<u64>,
    /// When something becomes of a device by itself.
    pub(super) timers: BTreeSet<(Timestamp, DeviceId)>,
    /// Devices whose turn has come, and whose group has no slot free.
    pub(super) parked: BTreeMap<GroupKey, Queue<u64>>,
    /// Devices that have a slot, and where. `None` until the world was asked after loading.
    pub(super) holding: Option<BTreeMap<DeviceId, Vec<GroupKey>>>,
    /// Who has the slots of each group.
    pub(super) slots: BTreeMap<GroupKey, BTreeSet<DeviceId>>,
    /// Devices whose step is over and that were heard of, first come first served.
    pub(super) late: Queue<Timestamp>,
    /// Devices at work that are not healthy yet, by step.
    pub(super) working: BTreeSet<(u32, DeviceId)>,
    /// Devices of which only the soak remains, by step.
    pub(super) soaking: BTreeMap<u32, u32>,
    /// Devices that wait for their turn to go back: those that are away already first.
    pub(super) returning: Queue<Turnback>,
    /// Devices by site, in steps that have sites.
    pub(super) sites: BTreeMap<(u32, Box<str>), BTreeSet<DeviceId>>,
    /// When those that wait for their group are looked at again, whoever came back meanwhile.
    pub(super) look_again: Option<Timestamp>,
}

/// The order in which devices go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turnback {
    /// Nothing is lost: it is not well.
    Sick,
    /// It works, and goes down for this.
    Well,
}

impl Agenda {
    pub(super) fn of(head: &Head, members: &BTreeMap<DeviceId, Member>) -> Self {
        let mut agenda = Self::default();
        for (device, member) in members {
            agenda.enter(head, device, member);
        }
        agenda
    }

    /// Everything about a device that follows from its record.
    pub(super) fn enter(&mut self, head: &Head, device: &DeviceId, member: &Member) {
        let step = member.step.unwrap_or(0);
        if let Some(at) = timer(head, member) {
            self.timers.insert((at, device.clone()));
        }
        if waits_in_step(head, member) {
            self.due.insert(turn(head, device, member));
        }
        match member.phase {
            Phase::Queued { wait: Wait::CatchUp(since) } => {
                self.late.insert((since, rank(head, device, member), device.clone()));
            }
            Phase::InProgress { healthy: None, .. } => _ = self.working.insert((step, device.clone())),
            Phase::InProgress { healthy: Some(_), .. } | Phase::Ready { .. } => {
                *self.soaking.entry(step).or_default() += 1;
            }
            _ => {}
        }
        if member.back == Some(Back::Waiting) {
            self.returning.insert((turnback(member), rank(head, device, member), device.clone()));
        }
        if let Some(site) = &member.site {
            self.sites.entry((step, site.clone())).or_default().insert(device.clone());
        }
    }

    /// Takes all that back, before the record changes.
    pub(super) fn leave(&mut self, head: &Head, device: &DeviceId, member: &Member) {
        let step = member.step.unwrap_or(0);
        if let Some(at) = timer(head, member) {
            self.timers.remove(&(at, device.clone()));
        }
        // Only who is queued in a step waits for its turn.
        if member.step.is_some() && matches!(member.phase, Phase::Queued { .. }) {
            let turn = turn(head, device, member);
            if !self.due.remove(&turn) && !self.parked.is_empty() {
                self.parked.retain(|_, waiting| {
                    waiting.remove(&turn);
                    !waiting.is_empty()
                });
            }
        }
        match member.phase {
            Phase::Queued { wait: Wait::CatchUp(since) } => {
                self.late.remove(&(since, rank(head, device, member), device.clone()));
            }
            Phase::InProgress { healthy: None, .. } => _ = self.working.remove(&(step, device.clone())),
            Phase::InProgress { healthy: Some(_), .. } | Phase::Ready { .. } => {
                if let Some(count) = self.soaking.get_mut(&step) {
                    *count = count.saturating_sub(1);
                }
            }
            _ => {}
        }
        if member.back == Some(Back::Waiting) {
            self.returning.remove(&(turnback(member), rank(head, device, member), device.clone()));
        }
        if let Some(site) = &member.site
            && let Some(devices) = self.sites.get_mut(&(step, site.clone()))
        {
            devices.remove(device);
        }
    }

    /// The slots of a device, as the world has its labels.
    pub(super) fn hold<W: World + ?Sized>(&mut self, head: &Head, world: &W, device: &DeviceId) {
        let keys = keys(head, world, device);
        if keys.is_empty() {
            return;
        }
        for key in &keys {
            self.slots.entry(key.clone()).or_default().insert(device.clone());
        }
        self.holding.get_or_insert_default().insert(device.clone(), keys);
    }

    /// Gives the slots of a device back, and lets those that wait for them have another look.
    pub(super) fn release(&mut self, device: &DeviceId) {
        let Some(keys) = self.holding.as_mut().and_then(|holding| holding.remove(device)) else { return };
        for key in keys {
            if let Some(taken) = self.slots.get_mut(&key) {
                taken.remove(device);
            }
            self.due.extend(self.parked.remove(&key).unwrap_or_default());
        }
    }
}

/// The groups whose slots a device takes.
pub(super) fn keys<W: World + ?Sized>(head: &Head, world: &W, device: &DeviceId) -> Vec<GroupKey> {
    let budgets = head.policy.budgets.iter().enumerate();
    let of = |(at, budget): (usize, &crate::domain::rollout::budget::Budget)| {
        Some((at, world.label(&budget.label, device)?.to_owned()))
    };
    budgets.filter_map(of).collect()
}

/// When a device's turn is, and who comes first among those whose turn comes together.
pub(super) fn turn(head: &Head, device: &DeviceId, member: &Member) -> (u64, u64, DeviceId) {
    (member.due_ms, rank(head, device, member), device.clone())
}

/// The place of a device in the order of its step.
fn rank(head: &Head, device: &DeviceId, member: &Member) -> u64 {
    place(&head.name, member.step.unwrap_or(0), device).first_u64()
}

pub(super) fn turnback(member: &Member) -> Turnback {
    match member.phase {
        Phase::Succeeded { .. } | Phase::Ready { .. } => Turnback::Well,
        _ => Turnback::Sick,
    }
}

/// Whether a device waits for its turn in the step that is running, and for nothing else.
fn waits_in_step(head: &Head, member: &Member) -> bool {
    let its_turn = member.step.map(|step| step as usize) == Some(head.current);
    let runs = head.steps.get(head.current).is_some_and(|step| match step.status {
        StepStatus::Running | StepStatus::Soaking | StepStatus::Failed => true,
        StepStatus::Queued | StepStatus::Passed => false,
    });
    its_turn && runs && member.phase == Phase::QUEUED && member.back.is_none()
}

/// When something becomes of a device by itself.
pub(super) fn timer(head: &Head, member: &Member) -> Option<Timestamp> {
    let lost_after = i64::from(head.policy.lost_after_secs);
    if let Some(back) = member.back {
        return match back {
            Back::Offered { since, .. } => Some(since.plus_secs(lost_after)),
            Back::Waiting | Back::Away | Back::Done | Back::Kept => None,
        };
    }
    match member.phase {
        Phase::Queued { wait: Wait::Until(at) } => Some(at),
        Phase::Offered { since } => Some(since.plus_secs(lost_after)),
        Phase::InProgress { heard, healthy, .. } => {
            let lost = heard.plus_secs(lost_after);
            Some(healthy.map_or(lost, |since| since.plus_secs(soak_secs(head, member)).min(lost)))
        }
        Phase::Queued { wait: Wait::Turn | Wait::Word | Wait::CatchUp(_) }
        | Phase::Ready { .. }
        | Phase::Succeeded { .. }
        | Phase::Bad { .. }
        | Phase::Superseded
        | Phase::Canceled
        | Phase::Excluded { .. } => None,
    }
}

/// How long a device must be healthy.
pub(super) fn soak_secs(head: &Head, member: &Member) -> i64 {
    i64::from(head.policy.step(member.step.unwrap_or(0) as usize).soak_secs)
}

/// Adds a device to the counters, or takes it away from them.
pub(super) fn count(head: &mut Head, member: &Member, by: Tally) {
    let add = |counter: &mut u32| match by {
        Tally::Add => *counter += 1,
        Tally::Take => *counter = counter.saturating_sub(1),
    };
    let counted = member.phase.counted();
    if member.timing != Timing::InTime && member.note == Noted::No {
        match counted {
            Counted::Ok => add(&mut head.late.ok),
            Counted::Bad(_) => add(&mut head.late.bad),
            Counted::Unreported | Counted::Out => {}
        }
    }
    let Some(step) = member.step.and_then(|step| head.steps.get_mut(step as usize)) else { return };
    // Before its turn, or joined later: not one of the step's devices.
    if step.started.is_none() || member.timing == Timing::Joined {
        return;
    }
    match counted {
        Counted::Unreported => add(&mut step.counts.members),
        Counted::Ok => {
            add(&mut step.counts.members);
            add(&mut step.counts.ok);
        }
        Counted::Bad(failure) => match member.note {
            Noted::No => {
                add(&mut step.counts.members);
                add(step.counts.of_mut(failure));
            }
            Noted::Acknowledged => add(&mut step.acknowledged),
        },
        Counted::Out => add(&mut step.excluded),
    }
}

/// Which way a counter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tally {
    /// One more.
    Add,
    /// One less.
    Take,
}
