//! Rollouts in a pass: what is heard of devices goes in, what they decide becomes assignments.
//!
//! What is stored is what [`FleetState`] has. Beside it the machines are kept at work between
//! passes, so that a pass costs what happened and not what exists. Whenever the stored head or a device differs from what a machine
//! has, the machine is made anew from what is stored.

mod carry;
mod crowds;
mod draft;
mod live;
mod make;
mod siblings;
mod words;
mod world;

pub use draft::{DraftError, DraftSteps, MAX_DRAFTS, NewDraft, keeps};
pub use words::has_settled;
pub use world::{Contacts, FleetWorld, NoContacts, last_seen};

use super::pass::{PassInput, PassOutput, Scope};
use super::reroute::{RerouteError, reroute};
use crate::domain::desired::Variant;
use crate::domain::fleet::{Change, Content, FleetState, RolloutChange, RolloutRecord};
use crate::domain::ids::{Actor, DeviceId, RolloutName};
use crate::domain::rollout::machine::{Act, Head, Member, Refusal, Status, Turn, Which, Word};
use crate::domain::time::Timestamp;
use carry::Carried;
pub(super) use crowds::Crowds;
use live::{First, LOOK_MILLIS, Live};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How often the controller notes that it runs while a rollout is under way, in seconds.
pub const HEARTBEAT_SECS: i64 = 60;

/// Rollouts at work.
#[derive(Debug, Default)]
pub(super) struct Machines {
    live: BTreeMap<RolloutName, Live>,
    /// What is counted for budgets.
    crowds: Crowds,
    /// When time alone changes something next.
    pub(super) due: Option<Timestamp>,
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
    /// A newer commit of the stage counts, and devices have what that says.
    #[error("{asked} has ended, and commit {} counts by now: revert that one in Git", commit.short())]
    Outdated {
        /// What was asked.
        asked: RolloutName,
        /// The commit that counts.
        commit: crate::domain::ids::CommitId,
    },
    /// Devices cannot go where they were to be led.
    #[error(transparent)]
    Reroute(#[from] RerouteError),
    /// A draft is not made, changed or begun.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// It refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What can be asked of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum RolloutAsked {
    /// That it acts.
    Act(Act),
    /// That a draft is forgotten.
    Delete,
}

impl From<Act> for RolloutAsked {
    fn from(act: Act) -> Self {
        Self::Act(act)
    }
}

impl Machines {
    /// Notes what is about to become of the state.
    pub(super) fn note(&mut self, before: &FleetState, changes: &[Change]) {
        self.crowds.note(before, changes);
        for change in changes {
            if let Change::Rollout(name, change) = change
                && self.live.get(name).is_some_and(|live| !live.is_as_stored(change))
            {
                self.live.remove(name);
            }
        }
    }

    /// What is counted for budgets.
    #[cfg(test)]
    pub(super) fn crowds(&self) -> &Crowds {
        &self.crowds
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
        let mut fallen = Vec::new();
        let under_way = input.state.rollouts.iter().filter(|(_, record)| record.head.is_under_way());
        for (name, record) in under_way {
            if carried.touched(name) {
                continue;
            }
            let Some(desired) = input.accepted(&record.head.stage) else { continue };
            let mut live = self.live.remove(name).unwrap_or_else(|| Live::load(record));
            let world = FleetWorld::new(input, desired, record).beside(carried.taken()).counting(&self.crowds);
            let words = live.words(input, &world, scope);
            let record = &*with_anew(input, record, &words, &mut carried);
            let due = live.next.into_iter().chain(live.machine().next(input.now, &world)).any(|at| at <= input.now);
            let first = std::mem::replace(&mut live.first, First::Done) == First::Look;
            let mut turns = Turn::default();
            if !words.is_empty() {
                live.turn(&mut turns, |machine| machine.hear_all(input.now, &world, words));
            }
            if due || first {
                live.turn(&mut turns, |machine| machine.tick(input.now, &world));
            }
            if live.machine().head().current != record.head.current {
                live = Live::of(live.into_machine());
                live.first = First::Done;
            }
            carried.carry_out(record, live.machine(), turns);
            let head = live.machine().head();
            active |= matches!(head.status, Status::Active | Status::RollingBack { .. });
            if head.is_quarantined() && !record.head.is_quarantined() {
                fallen.push(name.clone());
            }
            let next = live.machine().next(input.now, &world);
            let look = (!live.silent.is_empty()).then(|| input.now.plus_millis(LOOK_MILLIS));
            live.next = next;
            self.due = self.due.into_iter().chain(next).chain(look).min();
            self.live.insert(name.clone(), live);
        }
        for name in fallen {
            siblings::pause(self, input, &name, &mut carried);
        }
        if active {
            let beat =
                input.state.heartbeat.map(|last| last.plus_secs(HEARTBEAT_SECS)).filter(|next| *next > input.now);
            if beat.is_none() {
                output.changes.push(Change::Heartbeat(input.now));
            }
            // It is noted also where nothing else happens.
            let next = beat.unwrap_or_else(|| input.now.plus_secs(HEARTBEAT_SECS));
            self.due = self.due.into_iter().chain([next]).min();
        }
        self.live.retain(|name, live| input.state.rollouts.contains_key(name) || live.first == First::Look);
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
            carried.carry_out(&before, live.machine(), turns);
            self.live.insert(rollout, live);
        }
        carried.finish(output);
    }

    /// Does what somebody asks of a rollout.
    pub(super) fn act(
        &mut self,
        input: &PassInput<'_>,
        name: &RolloutName,
        asked: RolloutAsked,
        actor: &Actor,
        reason: &str,
    ) -> Result<Vec<Change>, RolloutActError> {
        let record = input.state.rollouts.get(name).ok_or_else(|| RolloutActError::Unknown(name.clone()))?;
        let act = match asked {
            RolloutAsked::Delete => return Ok(draft::delete(input, record, actor, reason)?),
            RolloutAsked::Act(act) => act,
        };
        match &act {
            Act::Activate => draft::may_begin(input, record)?,
            Act::AddStep { step, .. } => {
                let desired = input.accepted(&record.head.stage);
                draft::check_step(desired.ok_or_else(|| RolloutActError::Unread(record.head.stage.clone()))?, step)?;
            }
            _ => {}
        }
        self.act_with(input, name, act, Vec::new(), actor, reason)
    }

    /// Lets devices that failed go through another release, and then get the same content again.
    pub(super) fn reroute(
        &mut self,
        input: &PassInput<'_>,
        name: &RolloutName,
        (which, variant): (&Which, &Variant),
        actor: &Actor,
        reason: &str,
    ) -> Result<Vec<Change>, RolloutActError> {
        let record = input.state.rollouts.get(name).ok_or_else(|| RolloutActError::Unknown(name.clone()))?;
        let (act, contents) = reroute(input, record, which, variant)?;
        self.act_with(input, name, act, contents, actor, reason)
    }

    /// The same, with content that the rollout did not know before.
    fn act_with(
        &mut self,
        input: &PassInput<'_>,
        name: &RolloutName,
        act: Act,
        contents: Vec<Arc<Content>>,
        actor: &Actor,
        reason: &str,
    ) -> Result<Vec<Change>, RolloutActError> {
        let record = input.state.rollouts.get(name).ok_or_else(|| RolloutActError::Unknown(name.clone()))?;
        let stage = &record.head.stage;
        let desired = input.accepted(stage).ok_or_else(|| RolloutActError::Unread(stage.clone()))?;
        let newer = |other: &&RolloutRecord| {
            let Head { stage, created, commit, draft, .. } = &*other.head;
            // A draft takes nobody's place.
            draft.is_none()
                && stage == &record.head.stage
                && *created > record.head.created
                && commit != &record.head.commit
        };
        let is_free = matches!(act, Act::Abort | Act::Lift);
        if let Some(newer) = input.state.rollouts.values().find(newer).filter(|_| !is_free) {
            return Err(RolloutActError::Replaced { asked: name.clone(), newer: newer.head.name.clone() });
        }
        let counts = input.state.stages.get(stage).and_then(|stage| stage.accepted.as_ref());
        let own = record.head.draft.as_deref().map_or(&record.head.commit, |draft| &draft.base);
        let other = counts.filter(|commit| *commit != own);
        if let (Some(commit), Act::Rollback, Status::Aborted { .. }) = (other, &act, &record.head.status) {
            return Err(RolloutActError::Outdated { asked: name.clone(), commit: commit.clone() });
        }
        let mut carried = Carried::new(input);
        let mut with = record.clone();
        carried.keep(&mut with, name, contents);
        let record = &with;
        let mut live = self.live.remove(name).unwrap_or_else(|| Live::load(record));
        let world = FleetWorld::new(input, desired, record);
        let lifts = act == Act::Lift;
        // Whoever was heard of meanwhile is not given up because somebody asks for something.
        let mut turn = Turn::default();
        let words = live.words(input, &world, &Scope::Devices(BTreeSet::new()));
        let record = &*with_anew(input, record, &words, &mut carried);
        if !words.is_empty() {
            live.turn(&mut turn, |machine| machine.hear_all(input.now, &world, words));
        }
        let (machine, done) = live.into_machine().act(input.now, &world, act, actor, reason);
        let acted = done?;
        turn.effects.extend(acted.effects);
        turn.changed.extend(acted.changed);
        carried.carry_out(record, &machine, turn);
        let begins = record.head.status == Status::PendingApproval && machine.head().status == Status::Active;
        let falls = machine.head().is_quarantined() && !record.head.is_quarantined();
        self.live.insert(name.clone(), Live::of(machine));
        if begins && let Some(other) = siblings::fallen(input, record) {
            siblings::pause_one(self, input, name, record, other, &mut carried);
        }
        if falls {
            siblings::pause(self, input, name, &mut carried);
        }
        // What a draft brought is in no commit that counts.
        if lifts && record.head.draft.is_none() {
            make::owe_again(input, stage, &mut carried);
        }
        let mut output = PassOutput::default();
        carried.finish(&mut output);
        Ok(output.changes)
    }
}

/// A rollout that also keeps what devices have that are back from elsewhere: it is what they go back to.
fn with_anew<'a>(
    input: &PassInput<'_>,
    record: &'a RolloutRecord,
    words: &[(DeviceId, Word)],
    carried: &mut Carried<'_>,
) -> Cow<'a, RolloutRecord> {
    let mut record = Cow::Borrowed(record);
    for (device, word) in words {
        let Word::BackWith { change } = word else { continue };
        let (Some(desired), Some(content)) =
            (input.accepted(&record.head.stage), record.contents.get(&change.target).cloned())
        else {
            continue;
        };
        let (name, contents) = (record.head.name.clone(), make::contents(input, desired, device, &content));
        carried.keep(record.to_mut(), &name, contents);
    }
    record
}

/// Leaves out the time in which no controller ran: whoever's turn came meanwhile does not come all at once.
pub fn awake(state: &crate::domain::fleet::FleetState, now: Timestamp) -> Vec<Change> {
    let Some(from) = state.heartbeat.filter(|from| from.plus_secs(2 * HEARTBEAT_SECS) < now) else { return Vec::new() };
    let mut changes = Vec::new();
    for (name, record) in state.rollouts.iter().filter(|(_, record)| record.head.is_under_way()) {
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
