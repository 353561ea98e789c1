//! One input at work: the rollout, the moment, what is known of devices, and what comes of it.

use super::agenda::{Tally, count, turn};
use super::member::{Back, Exposure, Member, Phase, Timing, Wait};
use super::{Effect, Entry, Rollout, Status, StepStatus, Turn, World};
use crate::domain::ids::{Actor, DeviceId};
use crate::domain::planted::{Bug, planted};
use crate::domain::rollout::freeze::Weather;
use crate::domain::rollout::gate::{Counts, Failure};
use crate::domain::time::Timestamp;

/// How often devices that wait for others of their group are looked at again, in seconds: somebody may have come back without
/// the rollout being told.
const LOOK_AGAIN_SECS: i64 = 60;

pub(super) struct Work<'a, W: World + ?Sized> {
    pub(super) rollout: &'a mut Rollout,
    pub(super) now: Timestamp,
    pub(super) world: &'a W,
    pub(super) turn: Turn,
}

impl Rollout {
    /// Lets time pass.
    pub fn tick<W: World + ?Sized>(mut self, now: Timestamp, world: &W) -> (Self, Turn) {
        let mut work = Work::new(&mut self, now, world);
        work.settle();
        let turn = work.turn;
        (self, turn)
    }

    /// Leaves out the time from `from` to `now`, in which nobody let anything happen: whoever's turn came meanwhile does not come
    /// all at once, and nobody is lost for not having been heard.
    pub fn slept(mut self, from: Timestamp, now: Timestamp) -> (Self, Turn) {
        if let Some(step) = self.head.steps.get_mut(self.head.current) {
            step.clock = step.clock.without(from, now);
        }
        let gap = now.millis().saturating_sub(from.millis()).max(0);
        let later = |at: Timestamp| if at <= from { at.plus_millis(gap) } else { at.max(now) };
        let mut turn = Turn::default();
        let timed: Vec<DeviceId> = self.agenda.timers.iter().map(|(_, device)| device.clone()).collect();
        for device in timed {
            let Some(member) = self.members.get_mut(&device) else { continue };
            self.agenda.leave(&self.head, &device, member);
            match (&mut member.back, &mut member.phase) {
                (Some(Back::Offered { since, .. }), _) => *since = later(*since),
                // Nothing becomes of it by itself.
                (Some(Back::Waiting | Back::Away | Back::Done | Back::Kept), _) => {}
                (None, Phase::Offered { since }) => *since = later(*since),
                (None, Phase::InProgress { heard, healthy, .. }) => {
                    *heard = later(*heard);
                    *healthy = healthy.map(later);
                }
                (
                    None,
                    Phase::Queued { .. }
                    | Phase::Ready { .. }
                    | Phase::Succeeded { .. }
                    | Phase::Bad { .. }
                    | Phase::Superseded
                    | Phase::Canceled
                    | Phase::Excluded { .. },
                ) => {}
            }
            self.agenda.enter(&self.head, &device, member);
            turn.changed.insert(device);
        }
        (self, turn)
    }
}

impl<'a, W: World + ?Sized> Work<'a, W> {
    pub(super) fn new(rollout: &'a mut Rollout, now: Timestamp, world: &'a W) -> Self {
        if rollout.agenda.holding.is_none() {
            let held = rollout.members.iter().filter(|(_, member)| member.holds_slot());
            let held: Vec<DeviceId> = held.map(|(device, _)| device.clone()).collect();
            rollout.agenda.holding = Some(Default::default());
            for device in held {
                rollout.agenda.hold(&rollout.head, world, &device);
            }
        }
        Self { rollout, now, world, turn: Turn::default() }
    }

    /// Everything that follows from how things stand now.
    pub(super) fn settle(&mut self) {
        self.set_clock();
        self.wake();
        // Each round decides one step, so this ends.
        for _ in 0..=self.rollout.head.steps.len() {
            if !self.advance() {
                break;
            }
        }
        self.offer_late();
        self.send_back();
        self.set_clock();
    }

    /// The step's clock runs while the rollout goes on, its step runs, and no freeze is on.
    pub(super) fn set_clock(&mut self) {
        let head = &self.rollout.head;
        let paused = planted(Bug::RunWhilePaused) && matches!(head.status, Status::Paused { .. });
        let goes_on = (head.status == Status::Active || paused) && !self.world.freezes().is_frozen(self.now);
        let now = self.now;
        let head = &mut self.rollout.head;
        if let Some(step) = head.steps.get_mut(head.current) {
            let runs = goes_on && matches!(step.status, StepStatus::Running | StepStatus::Soaking);
            step.clock = if runs { step.clock.started(now) } else { step.clock.stopped(now) };
        }
    }

    /// Whether something new may be offered at all now.
    pub(super) fn is_frozen(&self) -> bool {
        matches!(self.world.freezes().weather(self.now), Weather::Frozen { .. })
    }

    /// What has become of devices, and of a pause, by itself.
    fn wake(&mut self) {
        if let Status::Paused { until: Some(until), .. } = self.rollout.head.status
            && until <= self.now
        {
            self.rollout.head.status = Status::Active;
            self.note("Resumed", "the pause is over".to_owned());
            self.set_clock();
        }
        while let Some((at, device)) = self.rollout.agenda.timers.first().filter(|(at, _)| *at <= self.now).cloned() {
            self.expire(at, &device);
        }
        if self.rollout.agenda.look_again.is_some_and(|at| at <= self.now) {
            self.rollout.agenda.look_again = None;
            let parked = std::mem::take(&mut self.rollout.agenda.parked);
            self.rollout.agenda.due.extend(parked.into_values().flatten());
        }
    }

    /// Has those that wait for others looked at again, at a moment that does not depend on when a controller started.
    pub(super) fn look_again(&mut self) {
        let pace = LOOK_AGAIN_SECS * 1000;
        let next = (self.now.millis().div_euclid(pace) + 1).saturating_mul(pace);
        self.rollout.agenda.look_again.get_or_insert(Timestamp::from_millis(next));
    }

    /// A device's timer has run out.
    fn expire(&mut self, at: Timestamp, device: &DeviceId) {
        let member = self.rollout.members[device].clone();
        if member.back.is_some() {
            return self.back_expired(device, member);
        }
        let lost_after = i64::from(self.rollout.head.policy.lost_after_secs);
        match member.phase {
            Phase::Queued { .. } => {
                self.set(device, Phase::QUEUED);
                self.line_up(device);
            }
            // It is away. What it was offered is not its any more; it asks again when it is back.
            Phase::Offered { .. } => {
                self.set(device, Phase::Queued { wait: Wait::Word });
                self.turn.effects.push(Effect::Withdraw { device: device.clone() });
            }
            Phase::InProgress { heard, .. } if heard.plus_secs(lost_after) <= at => {
                let message = format!("not heard of since {heard}");
                self.fail(device, Failure::Lost, Some(&message));
            }
            Phase::InProgress { .. } => self.soaked(device),
            Phase::Ready { .. }
            | Phase::Succeeded { .. }
            | Phase::Bad { .. }
            | Phase::Superseded
            | Phase::Canceled
            | Phase::Excluded { .. } => unreachable!("these have no timer"),
        }
    }

    /// Puts a device whose turn may have come where it is looked at.
    pub(super) fn line_up(&mut self, device: &DeviceId) {
        let member = &self.rollout.members[device];
        if member.phase != Phase::QUEUED || member.back.is_some() {
            return;
        }
        if self.is_late(member) && self.had_its_turn(member) {
            let wait = Wait::CatchUp(self.now);
            return self.set(device, Phase::Queued { wait });
        }
        let head = &self.rollout.head;
        let its_turn = member.step.map(|step| step as usize) == Some(head.current);
        let turn = turn(head, device, member);
        let parked = self.rollout.agenda.parked.values().any(|waiting| waiting.contains(&turn));
        if its_turn && head.steps[head.current].started.is_some() && !parked {
            self.rollout.agenda.due.insert(turn);
        }
    }

    /// Whether a device's step is over, or was under way when it joined.
    pub(super) fn is_late(&self, member: &Member) -> bool {
        let decided = member
            .step
            .and_then(|step| self.rollout.head.steps.get(step as usize))
            .is_some_and(|step| step.status == StepStatus::Passed);
        decided || (member.timing == Timing::Joined && self.step_began(member))
    }

    /// Whether the turn of a device that joined late has come: nobody who is new gets ahead of those who were there.
    pub(super) fn had_its_turn(&self, member: &Member) -> bool {
        let step = member.step.and_then(|step| self.rollout.head.steps.get(step as usize));
        step.is_none_or(|step| {
            let runs = matches!(step.status, StepStatus::Running | StepStatus::Soaking | StepStatus::Failed);
            !runs || member.due_ms <= step.clock.shown_ms(self.now) || planted(Bug::JoinAtOnce)
        })
    }

    fn step_began(&self, member: &Member) -> bool {
        let step = member.step.and_then(|step| self.rollout.head.steps.get(step as usize));
        step.is_some_and(|step| step.started.is_some())
    }

    /// Changes a device's record, and everything that follows from it.
    pub(super) fn put(&mut self, device: &DeviceId, member: Member) {
        let Rollout { head, members, agenda } = &mut *self.rollout;
        let before = members.get(device);
        let held = before.is_some_and(Member::holds_slot);
        if let Some(before) = before {
            count(head, before, Tally::Take);
            agenda.leave(head, device, before);
        }
        count(head, &member, Tally::Add);
        agenda.enter(head, device, &member);
        match (held, member.holds_slot()) {
            (false, true) => agenda.hold(head, self.world, device),
            (true, false) => agenda.release(device),
            (true, true) | (false, false) => {}
        }
        members.insert(device.clone(), member);
        self.turn.changed.insert(device.clone());
    }

    /// Changes how far a device is.
    pub(super) fn set(&mut self, device: &DeviceId, phase: Phase) {
        let mut member = self.rollout.members[device].clone();
        let decided = member
            .step
            .and_then(|step| self.rollout.head.steps.get(step as usize))
            .is_some_and(|step| step.status == StepStatus::Passed);
        let outcome = matches!(phase, Phase::Succeeded { .. } | Phase::Bad { .. });
        if decided && outcome && member.timing == Timing::InTime && !member.phase.is_outcome() {
            member.timing = Timing::Late;
        }
        if matches!(phase, Phase::Offered { .. }) && member.exposure == Exposure::None {
            member.exposure = Exposure::Offered;
            self.rollout.head.exposed += 1;
        }
        if phase.is_acknowledged() {
            if member.exposure == Exposure::None {
                self.rollout.head.exposed += 1;
            }
            member.exposure = Exposure::Acknowledged;
        }
        member.phase = phase;
        self.put(device, member);
    }

    pub(super) fn note(&mut self, kind: &str, message: String) {
        self.note_by(&Actor::controller(), kind, message);
    }

    pub(super) fn note_by(&mut self, actor: &Actor, kind: &str, message: String) {
        let head = &self.rollout.head;
        let counts = head.steps.get(head.current).map_or_else(Counts::default, |step| step.counts);
        self.turn.effects.push(Effect::Note(Entry {
            at: self.now,
            actor: actor.clone(),
            kind: kind.to_owned(),
            message,
            status: head.status.as_str().to_owned(),
            step: head.current,
            counts,
        }));
    }
}
