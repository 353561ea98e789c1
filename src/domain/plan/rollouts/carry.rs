//! What rollouts decide becomes changes: assignments, withdrawn ones, and what is remembered.

use crate::domain::assignment::Assignment;
use crate::domain::digest::Digest;
use crate::domain::fleet::{Change, Content, Control, Event, RolloutChange, RolloutMoment, RolloutRecord, StageRecord};
use crate::domain::generation::Attempt;
use crate::domain::ids::{Actor, DeviceId, RolloutName, StageName};
use crate::domain::plan::pass::{PassInput, PassOutput, next_order};
use crate::domain::plan::policy::MAX_SOAK_SECS;
use crate::domain::rollout::machine::{Effect, Entry, Rollout, Turn};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be written of rollouts.
pub(super) struct Carried<'a> {
    input: &'a PassInput<'a>,
    /// What devices are assigned; `None` for one from which its first content is taken back. The last word of a pass counts.
    assigned: BTreeMap<DeviceId, Option<Assignment>>,
    heads: BTreeSet<RolloutName>,
    changes: Vec<Change>,
}

/// Which content, and how.
struct Offer<'a> {
    device: &'a DeviceId,
    digest: Digest,
    attempt: Attempt,
    soak_secs: u32,
    /// Whether the device's word on it is the rollout's.
    belongs: Belongs,
}

#[derive(PartialEq)]
enum Belongs {
    ToTheRollout,
    ToNone,
}

impl<'a> Carried<'a> {
    pub(super) fn new(input: &'a PassInput<'a>) -> Self {
        Self { input, assigned: BTreeMap::new(), heads: BTreeSet::new(), changes: Vec::new() }
    }

    /// Whether something of this rollout is to be written already.
    pub(super) fn touched(&self, name: &RolloutName) -> bool {
        self.heads.contains(name)
    }

    /// Devices that get something in this pass, and are unavailable for it.
    pub(super) fn taken(&self) -> BTreeSet<DeviceId> {
        self.assigned.iter().filter(|(_, assignment)| assignment.is_some()).map(|(device, _)| device.clone()).collect()
    }

    /// Whether a rollout of this name is made in this pass.
    pub(super) fn makes(&self, name: &RolloutName) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change, Change::Rollout(one, RolloutChange::Head { version: 1, .. }) if one == name))
    }

    pub(super) fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(super) fn event(&mut self, kind: &str, subject: String, message: String) {
        let (at, actor) = (self.input.now, Actor::controller());
        self.changes.push(Change::Event(Event { at, actor, kind: kind.to_owned(), subject, message, rollout: None }));
    }

    pub(super) fn stage(&mut self, stage: &StageName, record: StageRecord) {
        self.changes.push(Change::Stage(stage.clone(), record));
    }

    /// Keeps content that a rollout may need when its commit is not at hand.
    pub(super) fn keep(&mut self, record: &mut RolloutRecord, name: &RolloutName, contents: Vec<Arc<Content>>) {
        for content in contents {
            if record.contents.insert(content.spec.digest, content.clone()).is_none() {
                self.changes.push(Change::Rollout(name.clone(), RolloutChange::Content(content)));
            }
        }
    }

    /// Carries out what a rollout decided. `record` is what was known of it before, `rollout` what it is now.
    pub(super) fn carry_out(&mut self, record: &RolloutRecord, rollout: &Rollout, turn: Turn) {
        let name = &rollout.head().name;
        if rollout.head() != &*record.head || self.touched(name) {
            let (version, head) = (record.version + 1, Arc::new(rollout.head().clone()));
            // What happens to it twice in a pass is written once.
            let is_its =
                |change: &Change| matches!(change, Change::Rollout(one, RolloutChange::Head { .. }) if one == name);
            self.changes.retain(|change| !self.heads.contains(name) || !is_its(change));
            self.changes.push(Change::Rollout(name.clone(), RolloutChange::Head { version, head }));
            self.heads.insert(name.clone());
        }
        for device in turn.changed {
            let Some(member) = rollout.members().get(&device) else { continue };
            if record.members.get(&device).map(Arc::as_ref) != Some(member) || record.version == 0 {
                let member = Arc::new(member.clone());
                self.changes.push(Change::Rollout(name.clone(), RolloutChange::Member(device, member)));
            }
        }
        for effect in turn.effects {
            self.effect(record, rollout, effect);
        }
    }

    fn effect(&mut self, record: &RolloutRecord, rollout: &Rollout, effect: Effect) {
        match effect {
            Effect::Offer { device, digest, attempt, soak_secs } => {
                let belongs = Belongs::ToTheRollout;
                self.offer(record, &Offer { device: &device, digest, attempt, soak_secs, belongs });
            }
            Effect::GoBack { device, digest } => {
                let (attempt, belongs) = (Attempt::FIRST, Belongs::ToTheRollout);
                self.offer(record, &Offer { device: &device, digest, attempt, soak_secs: 0, belongs });
            }
            Effect::Withdraw { device } => self.withdraw(record, rollout, &device),
            Effect::AskApproval { .. } => {}
            Effect::Note(entry) => self.note(rollout, entry),
        }
    }

    fn offer(&mut self, record: &RolloutRecord, offer: &Offer<'_>) {
        let Offer { device, digest, attempt, soak_secs, ref belongs } = *offer;
        let state = self.input.state;
        let (Some(known), Some(content)) = (state.devices.get(device), record.contents.get(&digest)) else { return };
        let stage = &record.head.stage;
        let of_stage =
            self.input.stages.iter().find(|policy| policy.name == *stage).map_or(0, |policy| policy.soak_secs);
        // Somebody may have asked for one more attempt beside the rollout: what failed then is not offered as if it were new.
        let again =
            known.assignment.as_ref().filter(|one| one.spec.digest == digest && *belongs == Belongs::ToTheRollout);
        let attempt = again.map_or(attempt, |again| attempt.max(again.attempt.next()));
        let assignment = Assignment {
            device: device.clone(),
            stage: stage.clone(),
            commit: content.commit.clone(),
            order: next_order(state, known, &known.control),
            attempt,
            spec: content.spec.clone(),
            rollout: (*belongs == Belongs::ToTheRollout).then(|| record.head.name.to_string()),
            assigned_at: self.input.now,
            soak_secs: soak_secs.max(of_stage).min(MAX_SOAK_SECS),
            force: None,
        };
        self.assigned.insert(device.clone(), Some(assignment));
    }

    /// What a device was offered and has not acknowledged is not its any more. It gets what it had, at a new place: should it
    /// have fetched the other after all, it goes back.
    fn withdraw(&mut self, record: &RolloutRecord, rollout: &Rollout, device: &DeviceId) {
        let Some(known) = self.input.state.devices.get(device) else { return };
        let name = record.head.name.as_str();
        let current = known.assignment.as_ref().filter(|one| one.rollout.as_deref() == Some(name));
        if self.assigned.remove(device).is_some() && current.is_none() {
            // It was offered in this very pass, and nobody has seen it.
            return;
        }
        let (Some(current), Some(member)) = (current, rollout.members().get(device)) else { return };
        match member.ground() {
            Some(digest) => {
                let (attempt, belongs) = (Attempt::FIRST, Belongs::ToNone);
                self.offer(record, &Offer { device, digest, attempt, soak_secs: 0, belongs });
            }
            None => {
                let floor = known.control.floor.max(Some(current.order));
                let control = Control { floor, ..Control::clone(&known.control) };
                self.changes.push(Change::Control(device.clone(), Arc::new(control)));
                self.assigned.insert(device.clone(), None);
            }
        }
    }

    fn note(&mut self, rollout: &Rollout, entry: Entry) {
        let Entry { at, actor, kind, message, status, step, counts } = entry;
        let (head, steps) = (rollout.head(), rollout.head().steps.len());
        let (ok, bad, members) = (counts.ok, counts.reported() - counts.ok, counts.members);
        let step = (step + 1).min(steps);
        let message = format!("{message} [{status}, step {step}: {ok} ok, {bad} bad of {members}]");
        let moment = RolloutMoment { commit: head.commit.clone(), status, step, steps, counts };
        let (subject, rollout) = (subject(&head.name), Some(Box::new(moment)));
        self.changes.push(Change::Event(Event { at, actor, kind, subject, message, rollout }));
    }

    /// Everything that is to be written; the devices whose assignments change.
    pub(super) fn finish(self, output: &mut PassOutput) -> BTreeSet<DeviceId> {
        let devices = self.assigned.keys().cloned().collect();
        output.changes.extend(self.changes);
        output.changes.extend(self.assigned.into_iter().map(|(device, assignment)| match assignment {
            Some(assignment) => Change::Assignment(Arc::new(assignment)),
            None => Change::Unassigned(device),
        }));
        devices
    }
}

/// What the events of a rollout are about.
fn subject(name: &RolloutName) -> String {
    format!("rollout {name}")
}
