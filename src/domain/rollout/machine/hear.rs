//! What is heard of devices.

use super::agenda::keys;
use super::member::{Back, Change, Excerpt, Member, Phase, Reversal, Slot, Timing, Wait};
use super::steps::{BLOCKED_STIR_SECS, number};
use super::work::Work;
use super::{Blocked, Effect, Rollout, Status, Turn, World};
use crate::domain::counted::counted;
use crate::domain::device::terminal::{FailedPhase, MAX_LOG_LINE_BYTES, MAX_LOG_LINES};
use crate::domain::digest::Digest;
use crate::domain::generation::Attempt;
use crate::domain::ids::DeviceId;
use crate::domain::planted::{Bug, planted};
use crate::domain::rollout::gate::Failure;
use crate::domain::rollout::spread::{hash_offset, place};
use crate::domain::time::Timestamp;

/// What is heard of a device, or of its place in the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It was heard of, and has nothing to say about the change.
    Contact,
    /// It was heard of at that moment, and not since.
    Seen {
        /// When.
        at: Timestamp,
    },
    /// It has accepted this content.
    Acknowledged {
        /// The content.
        digest: Digest,
    },
    /// It runs this content and is healthy.
    Healthy {
        /// The content.
        digest: Digest,
        /// Since when, as far as it is known here.
        since: Timestamp,
    },
    /// It runs this content, or tries to, and is not healthy; it may become so.
    Unhealthy {
        /// The content.
        digest: Digest,
    },
    /// It could not, or would not.
    Failed {
        /// The content.
        digest: Digest,
        /// How.
        failure: Failure,
        /// When in its life what it was given failed; `None` if it did not say.
        phase: Option<FailedPhase>,
        /// What it said.
        message: String,
        /// The last lines of output that it sent with it.
        log: Vec<String>,
    },
    /// It is held, or no stage claims it any more.
    Left {
        /// Why.
        reason: String,
    },
    /// It was assigned something else, by somebody else.
    Gone {
        /// Why.
        reason: String,
    },
    /// It is back from that.
    Back,
    /// It is back from that with something else than when the rollout took it in.
    BackWith {
        /// What the rollout changes on it now.
        change: Box<Change>,
    },
}

impl Rollout {
    /// Takes note of what is heard of a device. Of devices that are none of this rollout's, nothing is noted.
    pub fn hear<W: World + ?Sized>(mut self, now: Timestamp, world: &W, device: &DeviceId, word: Word) -> (Self, Turn) {
        let mut work = Work::new(&mut self, now, world);
        if work.rollout.members.contains_key(device) {
            work.hear(device, word);
        }
        work.settle();
        let turn = work.turn;
        (self, turn)
    }

    /// Takes note of all that is heard at a moment before anything follows from it: nobody is given up as silent whose word is there.
    pub fn hear_all<W: World + ?Sized>(
        mut self,
        now: Timestamp,
        world: &W,
        words: Vec<(DeviceId, Word)>,
    ) -> (Self, Turn) {
        let mut work = Work::new(&mut self, now, world);
        for (device, word) in words {
            if work.rollout.members.contains_key(&device) {
                work.hear(&device, word);
            }
        }
        work.settle();
        let turn = work.turn;
        (self, turn)
    }

    /// A device becomes part of the rollout while it is under way: new, moved here, back from a hold. It joins the last step.
    pub fn join<W: World + ?Sized>(
        mut self,
        now: Timestamp,
        world: &W,
        device: &DeviceId,
        change: Change,
    ) -> (Self, Turn) {
        let mut work = Work::new(&mut self, now, world);
        let before = work.rollout.members.get(device);
        if before.is_none_or(Member::may_join_again) {
            // What it had of this before it left, it may have again.
            let attempt = before.map_or(Attempt::FIRST, |before| before.attempt);
            work.joins(device, Member { attempt, ..Member::new(change) });
        }
        work.settle();
        let turn = work.turn;
        (self, turn)
    }
}

impl<W: World + ?Sized> Work<'_, W> {
    fn hear(&mut self, device: &DeviceId, word: Word) {
        if let Word::Seen { at } = word {
            return self.seen_at(device, at);
        }
        self.seen(device);
        match word {
            Word::Contact | Word::Seen { .. } => {}
            Word::Acknowledged { digest } => self.at(device, digest, |work, member| {
                if !matches!(member.phase, Phase::InProgress { .. } | Phase::Ready { .. } | Phase::Succeeded { .. }) {
                    work.begins(device, None);
                }
            }),
            Word::Healthy { digest, since } => {
                if self.is_back(device, digest) {
                    return self.came_back(device);
                }
                self.at(device, digest, |work, member| work.healthy(device, member, since));
            }
            Word::Unhealthy { digest } => self.at(device, digest, |work, member| {
                if !matches!(member.phase, Phase::InProgress { healthy: None, .. } | Phase::Bad { .. }) {
                    work.begins(device, None);
                }
            }),
            Word::Failed { digest, failure, phase, message, log } => self.at(device, digest, |work, member| {
                if !matches!(member.phase, Phase::Bad { .. }) {
                    work.fail(device, failure, Some(&message));
                    work.keep_word(device, phase, log);
                }
            }),
            Word::Left { reason } => self.left(device, reason),
            Word::Gone { reason } => self.gone(device, reason),
            // Once a newer commit took its place, that one is what a device comes back to.
            Word::Back | Word::BackWith { .. } if self.rollout.head.is_followed() => {}
            Word::Back => self.back(device, |member| member),
            // What it had, and whether it can go back to that, is not what it was.
            Word::BackWith { change } => self.back(device, |member| {
                let Change { target, previous, detour, reversal } = *change;
                Member { target, previous, detour, reversal, reached: None, ..member }
            }),
        }
    }

    /// A device that was kept out takes part again, with the last step.
    fn back(&mut self, device: &DeviceId, change: impl FnOnce(Member) -> Member) {
        let member = &self.rollout.members[device];
        if !matches!(member.phase, Phase::Excluded { .. }) {
            return;
        }
        let member = Member { phase: Phase::QUEUED, ..change(member.clone()) };
        self.joins(device, member);
    }

    /// A device is one of the last step. Where that is under way already, its turn is by its own place in the window: nobody knew of
    /// it when ranks were given, and what has not been proven reaches it no sooner than others.
    fn joins(&mut self, device: &DeviceId, member: Member) {
        let head = &self.rollout.head;
        let last = head.steps.len().saturating_sub(1);
        let place = place(&head.name, number(last), device);
        let due_ms = hash_offset(&place, head.policy.step(last).window_ms());
        let site = self.site_to_join(device);
        self.put(device, Member { step: Some(number(last)), timing: Timing::Joined, due_ms, site, ..member });
        self.line_up(device);
    }

    /// A device at work was heard of a while ago: it is given up when it has been silent for long enough since then.
    fn seen_at(&mut self, device: &DeviceId, at: Timestamp) {
        if let Phase::InProgress { since, heard, healthy, slot } = self.rollout.members[device].phase
            && heard < at
        {
            self.set(device, Phase::InProgress { since, heard: at.min(self.now), healthy, slot });
        }
    }

    /// The device was heard of, whatever it said.
    fn seen(&mut self, device: &DeviceId) {
        let member = &self.rollout.members[device];
        let quarter = i64::from(self.rollout.head.policy.lost_after_secs) / 4;
        match member.phase {
            // Noted now and then, so that being heard of every minute is not written every minute.
            Phase::InProgress { since, heard, healthy, slot } if heard.plus_secs(quarter) <= self.now => {
                self.set(device, Phase::InProgress { since, heard: self.now, healthy, slot });
            }
            Phase::Queued { wait: Wait::Word } => {
                self.set(device, Phase::QUEUED);
                self.line_up(device);
            }
            Phase::Queued { wait: Wait::Turn } => self.line_up(device),
            _ => {}
        }
        // Its group has one more that is available.
        if !self.rollout.agenda.parked.is_empty() {
            for key in keys(&self.rollout.head, self.world, device) {
                let waiting = self.rollout.agenda.parked.remove(&key).unwrap_or_default();
                self.rollout.agenda.due.extend(waiting);
            }
        }
        let soon = self.now.plus_secs(BLOCKED_STIR_SECS);
        let head = &mut self.rollout.head;
        let blocked = head.steps.get_mut(head.current).and_then(|step| step.blocked.as_mut());
        if let Some(Blocked::Empty { again } | Blocked::AllOffline { again, .. }) = blocked {
            *again = soon.min(*again);
        }
    }

    /// What a device says of other content than it is to have now is no news of this rollout.
    fn at(&mut self, device: &DeviceId, digest: Digest, then: impl FnOnce(&mut Self, Member)) {
        let member = self.rollout.members[device].clone();
        let takes_part = !matches!(member.phase, Phase::Excluded { .. });
        if member.leg() == digest && member.back.is_none() && takes_part {
            then(self, member);
        }
    }

    fn begins(&mut self, device: &DeviceId, healthy: Option<Timestamp>) {
        // One that was given up, and goes on after all, has no slot: another may have it.
        let slot = if self.rollout.members[device].holds_slot() { Slot::Held } else { Slot::Free };
        self.set(device, Phase::InProgress { since: self.now, heard: self.now, healthy, slot });
    }

    fn healthy(&mut self, device: &DeviceId, member: Member, since: Timestamp) {
        let began = match member.phase {
            Phase::Succeeded { .. } | Phase::Ready { .. } => return,
            Phase::InProgress { healthy: Some(_), .. } => return,
            // It said that it failed. A retry, and nothing else, brings it back.
            Phase::Bad { failure: Failure::Failed | Failure::Rejected | Failure::RolledBack, .. } => return,
            Phase::InProgress { since, .. } | Phase::Offered { since } => since,
            Phase::Queued { .. }
            | Phase::Bad { failure: Failure::Lost | Failure::TimedOut, .. }
            | Phase::Superseded
            | Phase::Canceled
            | Phase::Excluded { .. } => self.now,
        };
        let since = since.clamp(began.min(self.now), self.now);
        self.begins(device, Some(since));
        let soak = super::agenda::soak_secs(&self.rollout.head, &self.rollout.members[device]);
        if since.plus_secs(soak) <= self.now {
            self.soaked(device);
        }
    }

    /// A device has been healthy for long enough.
    pub(super) fn soaked(&mut self, device: &DeviceId) {
        let member = self.rollout.members[device].clone();
        if !member.detour.is_empty() {
            // On to the next release of its way. It has had its turn, so it is next.
            let (detour, reached) = (member.detour[1..].to_vec(), Some(Box::new(member.detour[0])));
            self.put(device, Member { detour, reached, phase: Phase::QUEUED, ..member });
            self.line_up(device);
            return;
        }
        if member.site.is_none() || planted(Bug::SplitSites) {
            return self.set(device, Phase::Succeeded { at: self.now });
        }
        self.set(device, Phase::Ready { since: self.now });
        self.settle_site(&member);
    }

    fn site_of(&self, member: &Member) -> Vec<DeviceId> {
        let key = member.site.clone().map(|site| (member.step.unwrap_or(0), site));
        let devices = key.and_then(|key| self.rollout.agenda.sites.get(&key)).into_iter().flatten();
        let takes_part = |device: &&DeviceId| !matches!(self.rollout.members[*device].phase, Phase::Excluded { .. });
        devices.filter(takes_part).cloned().collect()
    }

    /// A site succeeds when all of it is ready.
    fn settle_site(&mut self, member: &Member) {
        let site = self.site_of(member);
        let ready = |device: &DeviceId| {
            matches!(self.rollout.members[device].phase, Phase::Ready { .. } | Phase::Succeeded { .. })
        };
        if site.iter().all(ready) && !site.iter().all(|device| self.rollout.members[device].phase.is_outcome()) {
            for device in site {
                self.set(&device, Phase::Succeeded { at: self.now });
            }
        }
    }

    /// A device failed: it is tried again if the policy says so, and is bad otherwise.
    pub(super) fn fail(&mut self, device: &DeviceId, failure: Failure, message: Option<&str>) {
        let member = self.rollout.members[device].clone();
        let retry = self.rollout.head.policy.step(member.step.unwrap_or(0) as usize).retry;
        let again = match failure {
            Failure::Failed | Failure::RolledBack => member.retries < retry.max && member.site.is_none(),
            // A no is a no, and whoever is silent cannot be asked again.
            Failure::Rejected | Failure::TimedOut | Failure::Lost => false,
        };
        if again {
            let wait = Wait::Until(self.now.plus_secs(i64::from(retry.backoff_secs)));
            let attempt = member.attempt.next();
            let retries = member.retries + 1;
            return self.put(device, Member { phase: Phase::Queued { wait }, attempt, retries, ..member });
        }
        self.give_up(device, bad(failure, self.now, message));
        self.count_late_failure();
        if member.site.is_some() {
            self.fail_site(device, &member);
        }
    }

    /// A device is bad for good. What it is assigned may be something else soon.
    fn give_up(&mut self, device: &DeviceId, bad: Phase) {
        let member = self.rollout.members[device].clone();
        let order = self.world.order(device, &member.leg()).map(Box::new);
        self.put(device, Member { order, ..member });
        self.set(device, bad);
    }

    /// Keeps what a device sent with its failure: its next report may say something else.
    fn keep_word(&mut self, device: &DeviceId, phase: Option<FailedPhase>, log: Vec<String>) {
        let member = self.rollout.members[device].clone();
        let cut = |line: String| line[..line.floor_char_boundary(MAX_LOG_LINE_BYTES)].to_owned();
        let first = log.len().saturating_sub(MAX_LOG_LINES);
        let lines: Vec<String> = log.into_iter().skip(first).map(cut).collect();
        let log = if lines.is_empty() { member.log.clone() } else { Some(Box::new(Excerpt(lines))) };
        self.put(device, Member { failed_in: phase, log, ..member });
    }

    /// Too many of those that came late failed: nobody else is offered it.
    fn count_late_failure(&mut self) {
        let head = &mut self.rollout.head;
        let late = &mut head.late;
        let allowed = head.policy.late.max_failures.floor_of(late.ok + late.bad);
        if late.stopped.is_none() && late.bad > allowed {
            late.stopped = Some(self.now);
            let (bad, all) = (late.bad, late.bad + late.ok);
            self.note(
                "LateStopped",
                format!("{bad} of {} that came late failed; {allowed} may", counted(all, "device")),
            );
        }
    }

    /// One device of a site failed: all of it goes back.
    fn fail_site(&mut self, failed: &DeviceId, member: &Member) {
        let message = format!("{failed} of the same site failed");
        for device in self.site_of(member) {
            let other = self.rollout.members[&device].clone();
            // Between two releases of its way it has one of the rollout's, too.
            if other.phase.is_acknowledged() || other.reached.is_some() {
                let phase = match other.phase {
                    bad @ Phase::Bad { .. } => bad,
                    _ => bad(Failure::RolledBack, self.now, Some(&message)),
                };
                self.give_up(&device, phase);
                self.return_one(&device, Slot::Free);
            } else {
                if matches!(other.phase, Phase::Offered { .. }) {
                    self.turn.effects.push(Effect::Withdraw { device: device.clone() });
                }
                self.set(&device, bad(Failure::RolledBack, self.now, Some(&message)));
            }
        }
    }

    /// A device is held or belongs to nobody any more. Only one that has not begun leaves; the others go on without a slot.
    fn left(&mut self, device: &DeviceId, reason: String) {
        self.give_slot_back(device);
        let phase = &self.rollout.members[device].phase;
        if matches!(phase, Phase::Offered { .. }) {
            self.turn.effects.push(Effect::Withdraw { device: device.clone() });
        }
        if matches!(phase, Phase::Queued { .. } | Phase::Offered { .. }) && !self.is_over() {
            self.exclude(device, reason);
        } else if matches!(phase, Phase::Excluded { .. }) && !self.is_over() {
            self.set(device, Phase::Excluded { reason: reason.into() });
        }
    }

    /// Slots are leases: whoever is at work while somebody holds it keeps nobody else from starting.
    fn give_slot_back(&mut self, device: &DeviceId) {
        let member = self.rollout.members[device].clone();
        match (member.back, &member.phase) {
            (Some(Back::Offered { since, slot: Slot::Held }), _) => {
                self.put(device, Member { back: Some(Back::Offered { since, slot: Slot::Free }), ..member });
            }
            (None, Phase::InProgress { since, heard, healthy, slot: Slot::Held }) => {
                let (since, heard, healthy) = (*since, *heard, *healthy);
                self.set(device, Phase::InProgress { since, heard, healthy, slot: Slot::Free });
            }
            (None | Some(_), _) => {}
        }
    }

    /// A device has something else, and its word on this will never come: what became of it before stays as it is.
    fn gone(&mut self, device: &DeviceId, reason: String) {
        let member = &self.rollout.members[device];
        let is_open = match &member.phase {
            Phase::Queued { .. } | Phase::Offered { .. } | Phase::InProgress { .. } | Phase::Ready { .. } => true,
            Phase::Succeeded { .. }
            | Phase::Bad { .. }
            | Phase::Superseded
            | Phase::Canceled
            | Phase::Excluded { .. } => false,
        };
        if is_open && member.back.is_none() && !self.is_over() {
            self.exclude(device, reason);
        }
    }

    /// A device takes part no more. Its site may have waited for it.
    pub(super) fn exclude(&mut self, device: &DeviceId, reason: String) {
        self.set(device, Phase::Excluded { reason: reason.into() });
        let member = self.rollout.members[device].clone();
        for other in self.site_of(&member) {
            self.line_up(&other);
        }
        if member.site.is_some() {
            self.settle_site(&member);
        }
    }

    fn is_over(&self) -> bool {
        match self.rollout.head.status {
            Status::Aborted { .. }
            | Status::Superseded { .. }
            | Status::RollingBack { .. }
            | Status::RolledBack { .. } => true,
            Status::Draft
            | Status::PendingApproval
            | Status::Active
            | Status::Paused { .. }
            | Status::Done { .. }
            | Status::Error { .. } => false,
        }
    }

    fn is_back(&self, device: &DeviceId, digest: Digest) -> bool {
        let member = &self.rollout.members[device];
        let under_way = matches!(member.back, Some(Back::Offered { .. } | Back::Away | Back::Waiting));
        under_way && member.previous == Some(digest) && member.reversal == Reversal::Possible
    }
}

fn bad(failure: Failure, at: Timestamp, message: Option<&str>) -> Phase {
    Phase::Bad { failure, at, message: message.map(|text| text.chars().take(MAX_MESSAGE).collect::<String>().into()) }
}

/// How much of what a device says of its failure is kept with the rollout, in characters. The report has the rest.
const MAX_MESSAGE: usize = 500;
