//! Rollouts in a pass: what is heard of devices goes in, what they decide becomes assignments.
//!
//! What is stored is what [`FleetState`](crate::domain::fleet::FleetState) has. Beside it the machines are kept at work between
//! passes, so that a pass costs what happened and not what exists. Whenever the stored head or a device differs from what a machine
//! has, the machine is made anew from what is stored.

mod carry;
mod make;
mod words;
mod world;

pub use world::{Contacts, FleetWorld, NoContacts, last_seen};

use super::pass::{PassInput, PassOutput, Scope};
use crate::domain::fleet::{Change, Content, RolloutChange, RolloutRecord};
use crate::domain::ids::{Actor, DeviceId, RolloutName};
use crate::domain::rollout::machine::member::Timing;
use crate::domain::rollout::machine::{
    Act, Head, Member, Phase, Refusal, Rollout, Status, StepStatus, Turn, Wait, Word, World,
};
use crate::domain::time::Timestamp;
use carry::Carried;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use words::{is_news, word};

/// How often devices that are waited for are looked for, in milliseconds: a poll is no event of its own.
const LOOK_MILLIS: i64 = 5000;
/// How often the controller notes that it runs while a rollout is under way, in seconds.
pub const HEARTBEAT_SECS: i64 = 60;

/// Rollouts at work.
#[derive(Debug, Default)]
pub(super) struct Machines {
    live: BTreeMap<RolloutName, Live>,
    /// When time alone changes something next.
    pub(super) due: Option<Timestamp>,
}

/// A rollout at work, and which of its devices are looked at.
#[derive(Debug)]
struct Live {
    machine: Rollout,
    /// Devices that wait to be heard of.
    silent: BTreeSet<DeviceId>,
    /// Devices that were offered something and of which more is to come.
    open: BTreeSet<DeviceId>,
    /// Devices that are kept out, and may come back.
    out: BTreeSet<DeviceId>,
    /// Nothing was looked at since it was loaded.
    first: First,
    /// When time alone changes something next, as it was seen at the last look.
    next: Option<Timestamp>,
}

#[derive(Debug, PartialEq)]
enum First {
    Look,
    Done,
}

/// A device that wants to be part of a rollout that is under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// The rollout.
    pub(super) rollout: RolloutName,
    /// The device.
    pub(super) device: DeviceId,
    /// What it shall have.
    pub(super) content: Arc<Content>,
}

/// Why a rollout does not do what somebody asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolloutActError {
    /// No such rollout.
    #[error("there is no rollout {0}")]
    Unknown(RolloutName),
    /// Its stage's commit has not been read since the start, so nothing can be said of its devices.
    #[error("the commit of stage {0} has not been read yet; try again in a moment")]
    Unread(crate::domain::ids::StageName),
    /// A newer rollout of the stage has taken over.
    #[error("{newer} has taken the place of {asked}")]
    Replaced {
        /// What was asked.
        asked: RolloutName,
        /// The newer one.
        newer: RolloutName,
    },
    /// It refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Whether anything more can become of a rollout.
pub fn is_under_way(status: &Status) -> bool {
    match status {
        Status::PendingApproval
        | Status::Active
        | Status::Paused { .. }
        | Status::Done { .. }
        | Status::Error { .. }
        | Status::RollingBack { .. } => true,
        Status::Draft | Status::Aborted { .. } | Status::Superseded { .. } | Status::RolledBack { .. } => false,
    }
}

impl Live {
    fn load(record: &RolloutRecord) -> Self {
        Self::of(record.load())
    }

    fn of(machine: Rollout) -> Self {
        let mut live = Self {
            machine,
            silent: BTreeSet::new(),
            open: BTreeSet::new(),
            out: BTreeSet::new(),
            first: First::Look,
            next: None,
        };
        let all: Vec<DeviceId> = live.machine.members().keys().cloned().collect();
        all.iter().for_each(|device| live.sort(device));
        live
    }

    /// Puts a device where it is looked at.
    fn sort(&mut self, device: &DeviceId) {
        let Some(member) = self.machine.members().get(device) else { return };
        let step = member.step.and_then(|step| self.machine.head().steps.get(step as usize));
        let is_over = step.is_some_and(|step| {
            step.status == StepStatus::Passed || (member.timing == Timing::Joined && step.started.is_some())
        });
        // Whoever did not get its turn in its step has to be heard of as well.
        let silent = match member.phase {
            Phase::Queued { wait: Wait::Word } => true,
            Phase::Queued { wait: Wait::Turn } => is_over,
            _ => false,
        };
        let open = matches!(member.phase, Phase::Offered { .. } | Phase::InProgress { .. } | Phase::Ready { .. })
            || member.back.is_some();
        let out = matches!(member.phase, Phase::Excluded { .. });
        for (set, belongs) in [(&mut self.silent, silent), (&mut self.open, open), (&mut self.out, out)] {
            if belongs {
                set.insert(device.clone());
            } else {
                set.remove(device);
            }
        }
    }

    fn is_as_stored(&self, change: &RolloutChange) -> bool {
        match change {
            RolloutChange::Head { head, .. } => self.machine.head() == &**head,
            RolloutChange::Member(device, member) => self.machine.members().get(device) == Some(&**member),
            RolloutChange::Content(_) => true,
            RolloutChange::Gone => false,
        }
    }

    /// What is to be heard of devices now.
    fn words(&self, input: &PassInput<'_>, world: &dyn World, scope: &Scope) -> Vec<(DeviceId, Word)> {
        let everything = self.first == First::Look || *scope == Scope::All;
        let mut words = Vec::new();
        let members = self.machine.members();
        let mut look = |device: &DeviceId| {
            let Some(member) = members.get(device) else { return };
            words.extend(self.word_of(input, world, device, member).map(|word| (device.clone(), word)));
        };
        match (everything, scope) {
            (true, _) | (false, Scope::All) => self.open.iter().chain(&self.out).for_each(&mut look),
            (false, Scope::Devices(some)) => some.iter().for_each(&mut look),
        }
        let blocked = self.machine.current().is_some_and(|(_, step)| step.blocked.is_some());
        if let (true, Scope::Devices(some)) = (blocked, scope) {
            let here = some.iter().filter(|device| members.contains_key(*device) && world.is_online(device));
            words.extend(here.map(|device| (device.clone(), Word::Contact)));
        }
        let overdue = self.machine.overdue(input.now);
        for device in self.silent.iter().filter(|device| world.is_online(device)) {
            words.push((device.clone(), Word::Contact));
        }
        for device in overdue {
            let heard = match members.get(&device).map(|member| &member.phase) {
                Some(Phase::InProgress { heard, .. }) => *heard,
                Some(_) | None => continue,
            };
            if last_seen(input, &device).is_some_and(|seen| seen > heard) && world.is_online(&device) {
                words.push((device, Word::Contact));
            }
        }
        words
    }

    fn word_of(&self, input: &PassInput<'_>, world: &dyn World, device: &DeviceId, member: &Member) -> Option<Word> {
        match &member.phase {
            Phase::Excluded { .. } => world.excluded(device).is_none().then_some(Word::Back),
            Phase::Offered { .. } | Phase::Queued { .. } if world.excluded(device).is_some() => {
                let reason = world.excluded(device)?;
                matches!(member.phase, Phase::Offered { .. }).then_some(Word::Left { reason })
            }
            _ => {
                let record = input.state.devices.get(device)?;
                word(&self.machine.head().name, record).filter(|word| is_news(member, word))
            }
        }
    }
}

impl Machines {
    /// Notes what is about to become of the state.
    pub(super) fn note(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Rollout(name, change) = change
                && self.live.get(name).is_some_and(|live| !live.is_as_stored(change))
            {
                self.live.remove(name);
            }
        }
    }

    /// Lets every rollout that is under way hear what there is to hear, and decide what is due. Devices that were assigned
    /// something by it are not decided about otherwise in the same pass.
    pub(super) fn drive(
        &mut self,
        input: &PassInput<'_>,
        scope: &Scope,
        output: &mut PassOutput,
    ) -> BTreeSet<DeviceId> {
        let mut carried = Carried::new(input);
        self.due = None;
        if *scope == Scope::All {
            make::succeed(self, input, &mut carried);
        }
        let mut active = false;
        let under_way = input.state.rollouts.iter().filter(|(_, record)| is_under_way(&record.head.status));
        for (name, record) in under_way {
            if carried.touched(name) {
                continue;
            }
            let Some(desired) = input.accepted(&record.head.stage) else { continue };
            let mut live = self.live.remove(name).unwrap_or_else(|| Live::load(record));
            let world = FleetWorld::new(input, desired, record);
            let words = live.words(input, &world, scope);
            let due = live.next.into_iter().chain(live.machine.next(input.now, &world)).any(|at| at <= input.now);
            let first = std::mem::replace(&mut live.first, First::Done) == First::Look;
            let mut turns = Turn::default();
            for (device, word) in words {
                live.turn(&mut turns, |machine| machine.hear(input.now, &world, &device, word));
            }
            if due || first {
                live.turn(&mut turns, |machine| machine.tick(input.now, &world));
            }
            if live.machine.head().current != record.head.current {
                live = Live { first: First::Done, ..Live::of(live.machine) };
            }
            carried.carry_out(record, &live.machine, turns);
            active |= matches!(live.machine.head().status, Status::Active | Status::RollingBack { .. });
            let next = live.machine.next(input.now, &world);
            let look = (!live.silent.is_empty()).then(|| input.now.plus_millis(LOOK_MILLIS));
            live.next = next;
            self.due = self.due.into_iter().chain(next).chain(look).min();
            self.live.insert(name.clone(), live);
        }
        if active && input.state.heartbeat.is_none_or(|last| last.plus_secs(HEARTBEAT_SECS) <= input.now) {
            output.changes.push(Change::Heartbeat(input.now));
        }
        let names: BTreeSet<RolloutName> = input.state.rollouts.keys().cloned().collect();
        self.live.retain(|name, live| names.contains(name) || live.first == First::Look);
        carried.finish(output)
    }

    /// Lets devices join rollouts that are under way.
    pub(super) fn join(&mut self, input: &PassInput<'_>, joins: Vec<Join>, output: &mut PassOutput) {
        let mut carried = Carried::new(input);
        let mut by_rollout: BTreeMap<RolloutName, Vec<(DeviceId, Arc<Content>)>> = BTreeMap::new();
        for Join { rollout, device, content } in joins {
            by_rollout.entry(rollout).or_default().push((device, content));
        }
        for (rollout, devices) in by_rollout {
            // What was written in this pass already is written once more in the next one.
            let is_head = |change: &Change| matches!(change, Change::Rollout(name, RolloutChange::Head { .. }) if *name == rollout);
            let (Some(record), false) = (input.state.rollouts.get(&rollout), output.changes.iter().any(is_head)) else {
                continue;
            };
            let Some(desired) = input.accepted(&record.head.stage) else { continue };
            let mut live = self.live.remove(&rollout).unwrap_or_else(|| Live::load(record));
            let mut before = record.clone();
            let mut changes = Vec::new();
            for (device, content) in devices {
                carried.keep(&mut before, &rollout, make::contents(input, desired, &device, &content));
                changes.push((device.clone(), make::change(input, desired, &device, &content)));
            }
            let mut with = before.clone();
            for (device, change) in &changes {
                with.members.insert(device.clone(), Arc::new(Member::joining(change.clone())));
            }
            let world = FleetWorld::new(input, desired, &with);
            // One turn for all of them: the head is written once.
            let mut turns = Turn::default();
            for (device, change) in changes {
                live.turn(&mut turns, |machine| machine.join(input.now, &world, &device, change));
            }
            carried.carry_out(&before, &live.machine, turns);
            self.live.insert(rollout, live);
        }
        carried.finish(output);
    }

    /// Does what somebody asks of a rollout.
    pub(super) fn act(
        &mut self,
        input: &PassInput<'_>,
        name: &RolloutName,
        act: Act,
        actor: &Actor,
        reason: &str,
    ) -> Result<Vec<Change>, RolloutActError> {
        let record = input.state.rollouts.get(name).ok_or_else(|| RolloutActError::Unknown(name.clone()))?;
        let stage = &record.head.stage;
        let desired = input.accepted(stage).ok_or_else(|| RolloutActError::Unread(stage.clone()))?;
        let newer = |other: &&RolloutRecord| {
            let Head { stage, created, commit, .. } = &*other.head;
            stage == &record.head.stage && *created > record.head.created && commit != &record.head.commit
        };
        if let Some(newer) = input.state.rollouts.values().find(newer).filter(|_| act != Act::Abort) {
            return Err(RolloutActError::Replaced { asked: name.clone(), newer: newer.head.name.clone() });
        }
        let live = self.live.remove(name).unwrap_or_else(|| Live::load(record));
        let world = FleetWorld::new(input, desired, record);
        let (machine, done) = live.machine.act(input.now, &world, act, actor, reason);
        let turn = done?;
        let mut carried = Carried::new(input);
        carried.carry_out(record, &machine, turn);
        self.live.insert(name.clone(), Live::of(machine));
        let mut output = PassOutput::default();
        carried.finish(&mut output);
        Ok(output.changes)
    }
}

impl Live {
    fn turn(&mut self, turns: &mut Turn, input: impl FnOnce(Rollout) -> (Rollout, Turn)) {
        // The machine is taken by value, so something must stand in its place meanwhile.
        let empty = Rollout::load(self.machine.head().clone(), BTreeMap::new());
        let (machine, turn) = input(std::mem::replace(&mut self.machine, empty));
        self.machine = machine;
        turn.changed.iter().for_each(|device| self.sort(device));
        turns.effects.extend(turn.effects);
        turns.changed.extend(turn.changed);
    }
}

/// Leaves out the time in which no controller ran: whoever's turn came meanwhile does not come all at once.
pub fn awake(state: &crate::domain::fleet::FleetState, now: Timestamp) -> Vec<Change> {
    let Some(from) = state.heartbeat.filter(|from| from.plus_secs(2 * HEARTBEAT_SECS) < now) else { return Vec::new() };
    let mut changes = Vec::new();
    for (name, record) in state.rollouts.iter().filter(|(_, record)| is_under_way(&record.head.status)) {
        let (rollout, turn) = record.load().slept(from, now);
        if rollout.head() != &*record.head {
            let version = record.version + 1;
            let head = Arc::new(rollout.head().clone());
            changes.push(Change::Rollout(name.clone(), RolloutChange::Head { version, head }));
        }
        for device in turn.changed {
            let member = rollout.members()[&device].clone();
            changes.push(Change::Rollout(name.clone(), RolloutChange::Member(device, Arc::new(member))));
        }
    }
    if !changes.is_empty() {
        changes.push(Change::Heartbeat(now));
    }
    changes
}
