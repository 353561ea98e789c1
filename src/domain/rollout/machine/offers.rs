//! Who is offered the change now, and what everybody else waits for.

use super::agenda::{GroupKey, keys, turn};
use super::member::{Member, Phase, Timing, Wait};
use super::work::Work;
use super::{Effect, Status, World};
use crate::domain::ids::DeviceId;
use crate::domain::planted::{Bug, planted};
use crate::domain::rollout::budget::{Group, Shortage};
use crate::domain::rollout::policy::StepPolicy;
use crate::domain::rollout::rate::Bucket;
use crate::domain::time::Timestamp;
use crate::domain::window::Opening;
use std::collections::{BTreeMap, BTreeSet};

/// When to ask again about windows that are not known to open within nine years.
const FAR_SECS: i64 = 86_400;

/// What keeps a device whose turn has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is not heard of.
    Offline,
    /// Its maintenance window is closed.
    Window {
        /// When it opens, if it is known to.
        opens: Option<Timestamp>,
    },
    /// Its group has no slot free.
    Budget {
        /// Which budget, by its place in the policy.
        budget: usize,
        /// Which group.
        value: String,
        /// What is short.
        shortage: Shortage,
    },
    /// It cannot take part any more: held, unmanaged.
    Excluded {
        /// Why.
        reason: String,
    },
    /// Another device of its site waits for something.
    Site {
        /// Which.
        device: DeviceId,
    },
}

impl<W: World + ?Sized> Work<'_, W> {
    /// Offers the change to everybody of the step whose turn has come, as far as it may be.
    pub(super) fn offer(&mut self) {
        if self.is_frozen() {
            return;
        }
        let current = self.rollout.head.current;
        let shown = self.rollout.head.steps[current].clock.shown_ms(self.now);
        let shown = if planted(Bug::ReleaseAtOnce) { u64::MAX } else { shown };
        while let Some((_, _, device)) = self.rollout.agenda.due.first().filter(|(due, ..)| *due <= shown).cloned() {
            if self.rollout.members[&device].timing == Timing::Joined {
                // It comes like those that were away: none of the step's devices, with the failure budget of the late ones.
                self.set(&device, Phase::Queued { wait: Wait::CatchUp(self.now) });
                continue;
            }
            let unit = self.unit(&device);
            match self.kept(&device, &unit) {
                None => {
                    if !self.take_token(unit.len(), shown) {
                        break;
                    }
                    unit.iter().for_each(|device| self.offer_one(device));
                }
                Some(kept) => self.set_aside(&device, kept),
            }
        }
    }

    /// Offers devices that were away when their step was decided what they missed.
    pub(super) fn offer_late(&mut self) {
        let head = &self.rollout.head;
        let goes_on = matches!(head.status, Status::Active | Status::Done { .. }) && head.is_under_way();
        if !goes_on || head.late.stopped.is_some() || self.is_frozen() {
            return;
        }
        let clock = u64::try_from(self.now.millis()).unwrap_or(0);
        while let Some((_, _, device)) = &self.rollout.agenda.late.first().cloned() {
            let unit = self.unit(device);
            match self.kept_late(device, &unit) {
                Some(kept) => self.set_aside(device, kept),
                None => {
                    let late = &mut self.rollout.head.late;
                    if let Some(rate) = self.rollout.head.policy.late.catchup_rate {
                        let bucket = late.bucket.get_or_insert_with(|| Bucket::new(clock));
                        let count = u32::try_from(unit.len()).unwrap_or(u32::MAX);
                        if !bucket.take(rate.per_min(late.ok), count, clock) {
                            break;
                        }
                    }
                    unit.iter().for_each(|device| self.offer_one(device));
                }
            }
        }
    }

    /// What keeps a device, if anything does. All of its unit must be free.
    pub(super) fn kept(&self, device: &DeviceId, unit: &[DeviceId]) -> Option<Kept> {
        if let Some(kept) = self.kept_alone(device) {
            return Some(kept);
        }
        if let Some(other) = unit.iter().find(|one| *one != device && self.kept_alone(one).is_some()) {
            return Some(Kept::Site { device: other.clone() });
        }
        let mut wanted: BTreeMap<GroupKey, u32> = BTreeMap::new();
        for key in unit.iter().flat_map(|device| keys(&self.rollout.head, self.world, device)) {
            *wanted.entry(key).or_default() += 1;
        }
        wanted.into_iter().find_map(|((at, value), more)| {
            let shortage = self.shortage(at, &value, more)?;
            Some(Kept::Budget { budget: at, value, shortage })
        })
    }

    pub(super) fn kept_alone(&self, device: &DeviceId) -> Option<Kept> {
        if let Some(reason) = self.world.excluded(device) {
            return Some(Kept::Excluded { reason });
        }
        if !self.world.is_online(device) {
            return Some(Kept::Offline);
        }
        match (&self.rollout.members[device].phase, self.world.opening(device, self.now)) {
            (Phase::Queued { wait: Wait::Until(at) }, _) if *at > self.now => Some(Kept::Window { opens: Some(*at) }),
            (_, Opening::Closed { opens }) => Some(Kept::Window { opens }),
            (_, Opening::Unrestricted | Opening::Open { .. }) => None,
        }
    }

    /// What is short if `more` devices of a group are taken.
    pub(super) fn shortage(&self, at: usize, value: &str, more: u32) -> Option<Shortage> {
        let budget = self.rollout.head.policy.budgets.get(at)?;
        let outside = self.world.group(&budget.label, value);
        let own = self.rollout.agenda.slots.get(&(at, value.to_owned()));
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let slots = outside.slots.saturating_add(count(own.map_or(0, BTreeSet::len)));
        // Whoever has a slot is counted there, whether or not it can be reached just now.
        let counted = own.into_iter().flatten().filter(|device| !self.world.is_online(device)).count();
        let away = outside.away.saturating_sub(count(counted));
        let shortage = budget.allows(Group { slots, away, ..outside }, more).err();
        shortage.filter(|_| !planted(Bug::ForgetBudgets))
    }

    fn take_token(&mut self, count: usize, shown: u64) -> bool {
        let current = self.rollout.head.current;
        let Some(rate) = self.rollout.head.policy.step(current).rate else { return true };
        let step = &mut self.rollout.head.steps[current];
        let bucket = step.bucket.get_or_insert_with(|| Bucket::new(shown));
        bucket.take(rate.per_min(step.counts.ok), u32::try_from(count).unwrap_or(u32::MAX), shown)
    }

    fn offer_one(&mut self, device: &DeviceId) {
        self.set(device, Phase::Offered { since: self.now });
        let member = &self.rollout.members[device];
        let Member { attempt, step, .. } = member;
        let StepPolicy { soak_secs, .. } = self.rollout.head.policy.step(step.unwrap_or(0) as usize);
        self.turn.effects.push(Effect::Offer {
            device: device.clone(),
            digest: member.leg(),
            attempt: *attempt,
            soak_secs: *soak_secs,
        });
    }

    /// Notes what a device waits for, so that it is looked at again when that comes, and not before.
    fn set_aside(&mut self, device: &DeviceId, kept: Kept) {
        let turn = turn(&self.rollout.head, device, &self.rollout.members[device]);
        self.rollout.agenda.due.remove(&turn);
        match kept {
            Kept::Offline => self.set(device, Phase::Queued { wait: Wait::Word }),
            Kept::Window { opens } => {
                let at = opens.filter(|at| *at > self.now).unwrap_or_else(|| self.now.plus_secs(FAR_SECS));
                self.set(device, Phase::Queued { wait: Wait::Until(at) });
            }
            // One that catches up asks again when it is heard of next.
            Kept::Budget { .. } | Kept::Site { .. } if self.is_late(&self.rollout.members[device]) => {
                self.set(device, Phase::Queued { wait: Wait::Word });
            }
            Kept::Budget { budget, value, .. } => {
                self.look_again();
                self.rollout.agenda.parked.entry((budget, value)).or_default().insert(turn);
            }
            Kept::Excluded { reason } => self.exclude(device, reason),
            // Whatever brings the other one back looks at all of the site.
            Kept::Site { .. } => {}
        }
    }
}
