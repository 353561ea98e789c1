//! What people ask of a rollout.

use super::member::{Back, Member, Noted, Phase};
use super::refusal::{Acknowledge, Act, Refusal, SupersedeAt, Which};
use super::steps::number;
use super::work::Work;
use super::{Effect, Rollout, Status, Step, StepStatus, Turn, World};
use crate::domain::counted::counted;
use crate::domain::digest::Digest;
use crate::domain::ids::{Actor, CommitId, DeviceId};
use crate::domain::rollout::gate::Standing;
use crate::domain::rollout::policy::{MAX_STEPS, StepPolicy};
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;

/// How much more time for reports a step gets at the least when somebody resumes it after it ran out, in milliseconds.
const MIN_EXTRA_MS: u64 = 600_000;

impl Rollout {
    /// Does what somebody asks, or says why not; then nothing has changed.
    pub fn act<W: World + ?Sized>(
        mut self,
        now: Timestamp,
        world: &W,
        act: Act,
        actor: &Actor,
        reason: &str,
    ) -> (Self, Result<Turn, Refusal>) {
        let mut work = Work::new(&mut self, now, world);
        let done = work.act(act, actor, reason);
        if done.is_ok() {
            work.settle();
        }
        let turn = work.turn;
        (self, done.map(|()| turn))
    }
}

impl<W: World + ?Sized> Work<'_, W> {
    fn act(&mut self, act: Act, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        match act {
            Act::Activate => self.activate(actor, reason),
            Act::Approve => self.approve(actor, reason),
            Act::Pause { until } => self.pause(until, actor, reason),
            Act::Resume { acknowledge } => self.resume(acknowledge, actor, reason),
            Act::Abort => self.abort(actor, reason),
            Act::Retry(which) => self.retry(&which, actor, reason),
            Act::Reroute { via, release } => self.reroute(via, &release, actor, reason),
            Act::Rollback => self.rollback(actor, reason),
            Act::Lift => self.lift(actor, reason),
            Act::Supersede { by, at } => self.supersede(by, at, actor, reason),
            Act::AddStep { at, step } => self.add_step(at, *step, actor, reason),
            Act::DeleteStep { at } => self.delete_step(at, actor, reason),
        }
    }

    fn wrong<T>(&self, what: &'static str, needs: &'static str) -> Result<T, Refusal> {
        Err(Refusal::WrongStatus { what, status: self.rollout.head.status.as_str(), needs })
    }

    fn activate(&mut self, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        if self.rollout.head.status != Status::Draft {
            return self.wrong("activated", "DRAFT");
        }
        let missing = self.rollout.head.policy.approvals;
        self.rollout.head.status = if missing == 0 { Status::Active } else { Status::PendingApproval };
        self.note_by(actor, "Activated", reason.to_owned());
        if missing > 0 {
            self.note("ApprovalAsked", format!("approvals needed before it begins: {missing}"));
            self.turn.effects.push(Effect::AskApproval { step: None, missing });
        }
        Ok(())
    }

    fn approve(&mut self, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        let head = &mut self.rollout.head;
        let (approved_by, needed) = match head.status {
            Status::PendingApproval => (&mut head.approved_by, head.policy.approvals),
            Status::Active => {
                let needed = head.policy.step(head.current).approvals;
                let step = head.steps.get_mut(head.current).filter(|step| step.status == StepStatus::Queued);
                let waits = step.filter(|step| step.approved_by.len() < usize::from(needed));
                (&mut waits.ok_or(Refusal::NothingToApprove)?.approved_by, needed)
            }
            _ => return Err(Refusal::NothingToApprove),
        };
        if !approved_by.insert(actor.clone()) {
            return Err(Refusal::ApprovedAlready { actor: actor.to_string() });
        }
        let enough = approved_by.len() >= usize::from(needed);
        if enough && head.status == Status::PendingApproval {
            head.status = Status::Active;
        }
        self.note_by(actor, "Approved", reason.to_owned());
        Ok(())
    }

    fn pause(&mut self, until: Option<Timestamp>, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        match (&self.rollout.head.status, until) {
            (Status::Active | Status::Paused { .. }, _) => {}
            // What goes on then is the catching up of those that were away.
            (Status::Done { .. }, None) => {
                self.rollout.head.late.stopped.get_or_insert(self.now);
                self.note_by(actor, "LateStopped", reason.to_owned());
                return Ok(());
            }
            _ => return self.wrong("paused", "ACTIVE"),
        }
        self.rollout.head.status = Status::Paused { why: reason.to_owned(), since: self.now, until };
        self.set_clock();
        self.note_by(actor, "Paused", reason.to_owned());
        Ok(())
    }

    fn resume(&mut self, acknowledge: Acknowledge, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        let was_done = match self.rollout.head.status {
            Status::Paused { .. } | Status::Error { .. } => false,
            // What goes on then is the catching up of those that were away.
            Status::Active | Status::Done { .. } if self.rollout.head.late.stopped.is_some() => true,
            _ => return self.wrong("resumed", "PAUSED or ERROR"),
        };
        if acknowledge == Acknowledge::Nothing {
            self.would_stop_again()?;
        }
        let what = match acknowledge {
            Acknowledge::Failures => format!("{} acknowledged: ", counted(self.acknowledge(), "failure")),
            Acknowledge::Nothing => String::new(),
        };
        self.rollout.head.late.stopped = None;
        if !was_done {
            self.go_on();
        }
        self.note_by(actor, "Resumed", format!("{what}{reason}"));
        Ok(())
    }

    /// Whether going on would only lead to the same end.
    fn would_stop_again(&self) -> Result<(), Refusal> {
        let head = &self.rollout.head;
        let (bad, all) = (head.late.bad, head.late.bad + head.late.ok);
        let allowed = head.policy.late.max_failures.floor_of(all);
        if head.late.stopped.is_some() && bad > allowed {
            return Err(Refusal::WouldFailAtOnce { bad, allowed });
        }
        let Some(step) = head.steps.get(head.current).filter(|step| step.started.is_some()) else { return Ok(()) };
        let policy = head.policy.step(head.current);
        if let Some(rule) = policy.abort.iter().find(|rule| rule.is_met(&step.counts)) {
            return Err(Refusal::WouldStopAtOnce { rule: rule.to_string() });
        }
        match policy.gate.standing(&step.counts) {
            Standing::Hopeless { bad, allowed } => Err(Refusal::WouldFailAtOnce { bad, allowed }),
            Standing::Passing | Standing::TooFewReports { .. } | Standing::TooFewSuccesses { .. } => Ok(()),
        }
    }

    /// The failures so far decide nothing any more; how many there were.
    fn acknowledge(&mut self) -> usize {
        let bad = self.rollout.members.iter();
        let bad = bad.filter(|(_, member)| matches!(member.phase, Phase::Bad { .. }) && member.note == Noted::No);
        let bad: Vec<DeviceId> = bad.map(|(device, _)| device.clone()).collect();
        for device in &bad {
            let member = self.rollout.members[device].clone();
            self.put(device, Member { note: Noted::Acknowledged, ..member });
        }
        bad.len()
    }

    /// Active again, where it stopped. A step whose time had run out gets some more.
    fn go_on(&mut self) {
        let now = self.now;
        let head = &mut self.rollout.head;
        head.status = Status::Active;
        let policy = head.policy.step(head.current).clone();
        if let Some(step) = head.steps.get_mut(head.current) {
            if step.status == StepStatus::Failed {
                step.status = StepStatus::Running;
                step.ended = None;
            }
            let shown = step.clock.shown_ms(now);
            if step.started.is_some() && shown >= policy.deadline_ms() + step.extra_ms {
                let more = (u64::from(policy.timeout_secs) * 1000).max(MIN_EXTRA_MS);
                step.extra_ms = shown - policy.deadline_ms() + more;
            }
        }
        self.set_clock();
    }

    fn abort(&mut self, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        match self.rollout.head.status {
            Status::Draft | Status::PendingApproval | Status::Active | Status::Paused { .. } | Status::Error { .. } => {
            }
            Status::RollingBack { .. } => self.keep_the_rest(),
            Status::Done { .. } => return Err(Refusal::Done),
            Status::Aborted { .. } | Status::Superseded { .. } | Status::RolledBack { .. } => {
                return self.wrong("aborted", "under way");
            }
        }
        self.rollout.head.status = Status::Aborted { why: reason.to_owned(), at: self.now };
        self.set_clock();
        self.withdraw(&Phase::Canceled);
        self.note_by(actor, "Aborted", reason.to_owned());
        Ok(())
    }

    /// Whoever still waits for its turn to go back keeps what it has.
    fn keep_the_rest(&mut self) {
        let waiting: Vec<DeviceId> =
            self.rollout.agenda.returning.iter().map(|(_, _, device)| device.clone()).collect();
        for device in waiting {
            let member = self.rollout.members[&device].clone();
            self.put(&device, Member { back: Some(Back::Kept), ..member });
        }
    }

    /// What went wrong may be assigned again. The rollout itself stays as it ended.
    fn lift(&mut self, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        match self.rollout.head.status {
            Status::Aborted { .. } | Status::RolledBack { .. } if self.rollout.head.lifted.is_none() => {}
            Status::Error { .. } | Status::RollingBack { .. } => return self.wrong("lifted", "ABORTED or ROLLED_BACK"),
            _ => return Err(Refusal::NotQuarantined),
        }
        self.rollout.head.lifted = Some(self.now);
        self.note_by(actor, "Lifted", format!("what it brought may be assigned again: {reason}"));
        Ok(())
    }

    fn failed_devices(&self, which: &Which) -> Vec<DeviceId> {
        let failed = self.rollout.members.iter().filter(|(device, member)| {
            let asked = match which {
                Which::Failed => true,
                Which::Devices(devices) => devices.contains(*device),
            };
            asked && matches!(member.phase, Phase::Bad { .. })
        });
        failed.map(|(device, _)| device.clone()).collect()
    }

    fn retry(&mut self, which: &Which, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        let failed = self.failed_devices(which);
        self.may_try_again(failed.len())?;
        let count = failed.len();
        for device in failed {
            self.try_again(&device, None);
        }
        self.go_on_after_failures();
        self.note_by(actor, "Retried", format!("{}: {reason}", counted(count, "device")));
        Ok(())
    }

    fn may_try_again(&self, failed: usize) -> Result<(), Refusal> {
        match self.rollout.head.status {
            Status::Active | Status::Paused { .. } | Status::Error { .. } | Status::Done { .. } if failed > 0 => Ok(()),
            Status::Active | Status::Paused { .. } | Status::Error { .. } | Status::Done { .. } => {
                Err(Refusal::NobodyFailed)
            }
            _ => self.wrong("retried", "ACTIVE, PAUSED, ERROR or DONE"),
        }
    }

    fn try_again(&mut self, device: &DeviceId, via: Option<Vec<Digest>>) {
        let member = self.rollout.members[device].clone();
        let attempt = member.attempt.next();
        let detour = via.unwrap_or_else(|| member.detour.clone());
        let queued = Member { phase: Phase::QUEUED, attempt, detour, note: Noted::No, back: None, ..member };
        self.put(device, queued);
        self.line_up(device);
    }

    /// An error that retries have undone is none any more.
    fn go_on_after_failures(&mut self) {
        if matches!(self.rollout.head.status, Status::Error { .. }) && self.would_stop_again().is_ok() {
            self.go_on();
        }
        let head = &mut self.rollout.head;
        let late = &mut head.late;
        if late.bad <= head.policy.late.max_failures.floor_of(late.ok + late.bad) {
            late.stopped = None;
        }
    }

    fn reroute(
        &mut self,
        via: BTreeMap<DeviceId, Vec<Digest>>,
        release: &str,
        actor: &Actor,
        reason: &str,
    ) -> Result<(), Refusal> {
        let failed = self.failed_devices(&Which::Devices(via.keys().cloned().collect()));
        self.may_try_again(failed.len())?;
        let count = failed.len();
        for device in failed {
            self.try_again(&device, via.get(&device).cloned());
        }
        self.go_on_after_failures();
        self.note_by(actor, "Rerouted", format!("{} through {release}: {reason}", counted(count, "device")));
        Ok(())
    }

    fn rollback(&mut self, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        match self.rollout.head.status {
            Status::Active | Status::Paused { .. } | Status::Error { .. } | Status::Aborted { .. } => {}
            Status::Done { .. } => return Err(Refusal::Done),
            _ => return self.wrong("rolled back", "ACTIVE, PAUSED, ERROR or ABORTED"),
        }
        self.note_by(actor, "RollbackAsked", reason.to_owned());
        self.roll_back();
        Ok(())
    }

    fn supersede(&mut self, by: CommitId, at: SupersedeAt, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        let between = self.rollout.head.steps.get(self.rollout.head.current).is_none_or(|step| step.started.is_none());
        let now = match (&self.rollout.head.status, at) {
            (Status::Draft | Status::PendingApproval | Status::Paused { .. } | Status::Error { .. }, _) => true,
            (Status::Active | Status::Done { .. }, SupersedeAt::Now) | (Status::Done { .. }, SupersedeAt::StepEnd) => {
                true
            }
            (Status::Active, SupersedeAt::StepEnd) => between,
            _ => return self.wrong("superseded", "under way"),
        };
        // What is done stays done; whoever has not got it yet gets what the newer one brings.
        if matches!(self.rollout.head.status, Status::Done { .. }) {
            self.rollout.head.superseded_by = Some(by.clone());
            self.withdraw(&Phase::Superseded);
            self.note_by(actor, "Followed", format!("commit {}: {reason}", by.short()));
            return Ok(());
        }
        self.note_by(actor, "SupersededBy", format!("commit {}: {reason}", by.short()));
        match now {
            true => self.superseded(by),
            false => self.rollout.head.superseded_by = Some(by),
        }
        Ok(())
    }

    /// A newer commit takes the rollout's place. Devices at work go on; the others get what the newer one brings.
    pub(super) fn superseded(&mut self, by: CommitId) {
        let message = format!("commit {} takes its place", by.short());
        self.rollout.head.status = Status::Superseded { by, at: self.now };
        self.set_clock();
        self.withdraw(&Phase::Superseded);
        self.note("Superseded", message);
    }

    fn add_step(&mut self, at: usize, step: StepPolicy, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        if self.rollout.head.status != Status::Draft {
            return self.wrong("changed", "DRAFT");
        }
        let steps = self.rollout.head.policy.steps.len();
        if at > steps {
            return Err(Refusal::NoSuchStep { at: at + 1, steps });
        }
        if steps >= MAX_STEPS {
            return Err(Refusal::TooManySteps { most: MAX_STEPS });
        }
        let name = step.name.clone();
        self.rollout.head.policy.steps.insert(at, step);
        self.renumber();
        self.note_by(actor, "StepAdded", format!("step {} ({name}): {reason}", at + 1));
        Ok(())
    }

    fn delete_step(&mut self, at: usize, actor: &Actor, reason: &str) -> Result<(), Refusal> {
        if self.rollout.head.status != Status::Draft {
            return self.wrong("changed", "DRAFT");
        }
        let steps = self.rollout.head.policy.steps.len();
        if at >= steps {
            return Err(Refusal::NoSuchStep { at: at + 1, steps });
        }
        let gone = self.rollout.head.policy.steps.remove(at);
        self.renumber();
        self.note_by(actor, "StepDeleted", format!("step {} ({}): {reason}", at + 1, gone.name));
        Ok(())
    }

    /// A draft's steps have nothing to remember; devices that joined it are in the last one.
    fn renumber(&mut self) {
        let count = self.rollout.head.policy.count();
        self.rollout.head.steps = vec![Step::default(); count];
        let joined = self.rollout.members.iter().filter(|(_, member)| member.step.is_some());
        let joined: Vec<DeviceId> = joined.map(|(device, _)| device.clone()).collect();
        for device in joined {
            let member = self.rollout.members[&device].clone();
            self.put(&device, Member { step: Some(number(count - 1)), ..member });
        }
    }
}
