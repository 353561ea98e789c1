//! A rollout at work, and which of its devices are looked at.

use super::make;
use super::words::{is_news, word};
use super::world::FleetWorld;
use crate::domain::fleet::{RolloutChange, RolloutRecord};
use crate::domain::ids::DeviceId;
use crate::domain::plan::pass::{PassInput, Scope};
use crate::domain::plan::rollouts::last_seen;
use crate::domain::planted::{Bug, planted};
use crate::domain::rollout::machine::member::Timing;
use crate::domain::rollout::machine::{Member, Phase, Returns, Rollout, StepStatus, Turn, Wait, Word, World};
use crate::domain::time::Timestamp;
use std::collections::BTreeSet;

/// How often devices that are waited for are looked for, in milliseconds: a poll is no event of its own.
pub(super) const LOOK_MILLIS: i64 = 5000;

/// A rollout at work, and which of its devices are looked at.
#[derive(Debug)]
pub(super) struct Live {
    /// `None` only while the machine takes an input.
    machine: Option<Rollout>,
    /// Devices that wait to be heard of.
    pub(super) silent: BTreeSet<DeviceId>,
    /// Devices that were offered something and of which more is to come, and those whose turn has come and that wait for something
    /// of their own.
    open: BTreeSet<DeviceId>,
    /// Devices that are kept out, and may come back.
    out: BTreeSet<DeviceId>,
    /// Nothing was looked at since it was loaded.
    pub(super) first: First,
    /// When all that wait to be heard of were looked at last.
    looked: Option<Timestamp>,
    /// When time alone changes something next, as it was seen at the last look.
    pub(super) next: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum First {
    /// So everything is looked at.
    Look,
    /// It was.
    Done,
}

impl Live {
    pub(super) fn load(record: &RolloutRecord) -> Self {
        Self::of(record.load())
    }

    pub(super) fn of(machine: Rollout) -> Self {
        let mut live = Self {
            machine: Some(machine),
            silent: BTreeSet::new(),
            open: BTreeSet::new(),
            out: BTreeSet::new(),
            first: First::Look,
            looked: None,
            next: None,
        };
        let all: Vec<DeviceId> = live.machine().members().keys().cloned().collect();
        all.iter().for_each(|device| live.sort(device));
        live
    }

    /// The machine.
    pub(super) fn machine(&self) -> &Rollout {
        self.machine.as_ref().expect("between inputs there is a machine")
    }

    /// Puts a device where it is looked at.
    fn sort(&mut self, device: &DeviceId) {
        let machine = self.machine();
        let Some(member) = machine.members().get(device) else { return };
        let step = member.step.and_then(|step| machine.head().steps.get(step as usize));
        let is_over = step.is_some_and(|step| {
            step.status == StepStatus::Passed || (member.timing == Timing::Joined && step.started.is_some())
        });
        // Whoever did not get its turn in its step has to be heard of as well.
        let silent = match member.phase {
            Phase::Queued { wait: Wait::Word } => !planted(Bug::ForgetTheSilent),
            Phase::Queued { wait: Wait::Turn } => is_over,
            _ => false,
        };
        let open = match member.phase {
            Phase::Offered { .. } | Phase::InProgress { .. } | Phase::Ready { .. } => true,
            Phase::Queued { wait: Wait::Word | Wait::Until(_) } => true,
            Phase::Queued { wait: Wait::Turn | Wait::CatchUp(_) }
            | Phase::Succeeded { .. }
            | Phase::Bad { .. }
            | Phase::Superseded
            | Phase::Canceled
            | Phase::Excluded { .. } => member.back.is_some(),
        };
        let out = matches!(member.phase, Phase::Excluded { .. });
        for (set, belongs) in [(&mut self.silent, silent), (&mut self.open, open), (&mut self.out, out)] {
            if belongs {
                set.insert(device.clone());
            } else {
                set.remove(device);
            }
        }
    }

    pub(super) fn is_as_stored(&self, change: &RolloutChange) -> bool {
        match change {
            RolloutChange::Head { head, .. } => self.machine().head() == &**head,
            RolloutChange::Member(device, member) => self.machine().members().get(device) == Some(&**member),
            RolloutChange::Content(_) => true,
            RolloutChange::Gone => false,
        }
    }

    /// What is to be heard of devices now.
    pub(super) fn words(
        &mut self,
        input: &PassInput<'_>,
        world: &FleetWorld<'_>,
        scope: &Scope,
    ) -> Vec<(DeviceId, Word)> {
        let everything = self.first == First::Look || *scope == Scope::All;
        let is_due = self.looked.is_none_or(|at| at.plus_millis(LOOK_MILLIS) <= input.now || input.now < at);
        let looks = everything || is_due;
        if looks {
            self.looked = Some(input.now);
        }
        let mut words = Vec::new();
        let members = self.machine().members();
        let mut look = |device: &DeviceId| {
            let Some(member) = members.get(device) else { return };
            words.extend(self.word_of(input, world, device, member).map(|word| (device.clone(), word)));
            words.extend(held_at_work(world, device, member).map(|word| (device.clone(), word)));
        };
        match (everything, scope) {
            (true, _) | (false, Scope::All) => self.open.iter().chain(&self.out).for_each(&mut look),
            (false, Scope::Devices(some)) => some.iter().for_each(&mut look),
        }
        let blocked = self.machine().current().is_some_and(|(_, step)| step.blocked.is_some());
        if let (true, Scope::Devices(some)) = (blocked, scope) {
            let here = some.iter().filter(|device| members.contains_key(*device) && world.is_online(device));
            words.extend(here.map(|device| (device.clone(), Word::Contact)));
        }
        let overdue = self.machine().overdue(input.now);
        let silent: Box<dyn Iterator<Item = &DeviceId>> = match scope {
            Scope::Devices(some) if !looks => Box::new(some.iter().filter(|device| self.silent.contains(*device))),
            Scope::Devices(_) | Scope::All => Box::new(self.silent.iter()),
        };
        for device in silent.filter(|device| world.is_online(device)) {
            words.push((device.clone(), Word::Contact));
        }
        for device in overdue {
            let heard = match members.get(&device).map(|member| &member.phase) {
                Some(Phase::InProgress { heard, .. }) if !planted(Bug::LoseTheHeard) => *heard,
                Some(_) | None => continue,
            };
            // It may have been heard of until the controller started, and polls are not durable.
            let at = last_seen(input, &device).max(input.contacts.since());
            words.extend(at.filter(|at| *at > heard).map(|at| (device, Word::Seen { at })));
        }
        words
    }

    fn word_of(
        &self,
        input: &PassInput<'_>,
        world: &FleetWorld<'_>,
        device: &DeviceId,
        member: &Member,
    ) -> Option<Word> {
        match &member.phase {
            Phase::Excluded { reason: known } => match world.excluded(device) {
                None => Some(self.back(input, world, device, member)),
                // It may be kept out for another reason by now.
                Some(reason) => (*reason != **known).then_some(Word::Left { reason }),
            },
            Phase::Offered { .. } | Phase::Queued { .. } if world.excluded(device).is_some() => {
                let reason = world.excluded(device)?;
                let leaves = match member.phase {
                    Phase::Offered { .. } => true,
                    // It has had its turn, and would not be asked before whatever it waits for comes.
                    Phase::Queued { wait: Wait::Word | Wait::Until(_) } => self.is_in_running_step(member),
                    _ => false,
                };
                leaves.then_some(Word::Left { reason })
            }
            Phase::Offered { .. } | Phase::InProgress { .. } | Phase::Ready { .. }
                if member.back.is_none() && self.is_elsewhere(input, device) =>
            {
                world.excluded(device).map(|reason| Word::Gone { reason })
            }
            _ => {
                let record = input.state.devices.get(device)?;
                word(&self.machine().head().name, record).filter(|word| is_news(member, word))
            }
        }
    }
}

/// Somebody holds a device that is at work, or on its way back: others need not wait for it.
fn held_at_work(world: &dyn World, device: &DeviceId, member: &Member) -> Option<Word> {
    let at_work = member.holds_slot() && (member.back.is_some() || member.phase.is_acknowledged());
    let held = at_work && world.returns(device) == Returns::Held;
    let reason = || world.excluded(device).unwrap_or_else(|| "held".to_owned());
    held.then(|| Word::Left { reason: reason() })
}

impl Live {
    fn is_in_running_step(&self, member: &Member) -> bool {
        let head = self.machine().head();
        let runs = head.steps.get(head.current).is_some_and(|step| step.started.is_some());
        runs && member.step.map(|step| step as usize) == Some(head.current) && member.timing == Timing::InTime
    }

    /// A device takes part again. What it goes back to is what it has by now, if that is nothing of the rollout's.
    fn back(&self, input: &PassInput<'_>, world: &FleetWorld<'_>, device: &DeviceId, member: &Member) -> Word {
        let head = self.machine().head();
        let is_its = input.state.devices.get(device).is_none_or(|record| world.has_its(record, member));
        match input.accepted(&head.stage).filter(|_| !is_its && head.draft.is_none()) {
            Some(desired) => {
                let change = make::change_to(input, desired, device, member.target);
                Word::BackWith { change: Box::new(change) }
            }
            None => Word::Back,
        }
    }

    /// Whether a device was assigned something else, by somebody else.
    fn is_elsewhere(&self, input: &PassInput<'_>, device: &DeviceId) -> bool {
        let assignment = input.state.devices.get(device).and_then(|record| record.assignment.as_ref());
        let rollout = assignment.map(|assignment| assignment.rollout.as_deref());
        rollout.is_some_and(|rollout| rollout != Some(self.machine().head().name.as_str()))
    }

    /// The machine, and nothing that is looked at.
    pub(super) fn into_machine(self) -> Rollout {
        self.machine.expect("between inputs there is a machine")
    }

    pub(super) fn turn(&mut self, turns: &mut Turn, input: impl FnOnce(Rollout) -> (Rollout, Turn)) {
        // The machine is taken by value.
        let machine = self.machine.take().expect("between inputs there is a machine");
        let (machine, turn) = input(machine);
        self.machine = Some(machine);
        turn.changed.iter().for_each(|device| self.sort(device));
        turns.effects.extend(turn.effects);
        turns.changed.extend(turn.changed);
    }
}
