//! Steps: when one begins, and what decides it.

use super::agenda::{Tally, count};
use super::member::{Member, Phase, Timing};
use super::work::Work;
use super::{Blocked, Effect, Status, StepStatus, World};
use crate::domain::counted::{counted, more_people};
use crate::domain::ids::DeviceId;
use crate::domain::planted::{Bug, planted};
use crate::domain::rollout::gate::{Failure, Standing};
use crate::domain::rollout::policy::{OnError, OnInsufficient, StepPolicy, WhenEmpty};
use crate::domain::rollout::rate::Bucket;
use crate::domain::rollout::spread::{Spread, hash_offset, place, rank_offset};
use std::collections::BTreeMap;

/// When a blocked step is looked at again although nobody was heard of, in seconds. Looking asks about every device.
pub(super) const BLOCKED_LOOK_SECS: i64 = 600;
/// When it is looked at again after somebody was heard of, in seconds.
pub(super) const BLOCKED_STIR_SECS: i64 = 60;

impl<W: World + ?Sized> Work<'_, W> {
    /// Takes the rollout one step further, if it can go; whether it did.
    pub(super) fn advance(&mut self) -> bool {
        let paused = planted(Bug::OfferWhilePaused) && matches!(self.rollout.head.status, Status::Paused { .. });
        if self.rollout.head.status != Status::Active && !paused {
            return false;
        }
        let current = self.rollout.head.current;
        let Some(step) = self.rollout.head.steps.get(current) else {
            self.rollout.head.status = Status::Done { at: self.now };
            self.note("Done", "every step has passed".to_owned());
            return false;
        };
        match step.status {
            StepStatus::Queued => self.begin(),
            StepStatus::Running | StepStatus::Soaking => {
                // What cannot pass any more is offered to nobody else.
                if let Some(why) = self.hopeless() {
                    self.failed(why);
                    return false;
                }
                self.offer();
                self.decide()
            }
            StepStatus::Passed | StepStatus::Failed => false,
        }
    }

    fn begin(&mut self) -> bool {
        let current = self.rollout.head.current;
        let policy = self.rollout.head.policy.step(current).clone();
        let is_last = current + 1 == self.rollout.head.steps.len();
        if let Some(by) = self.rollout.head.superseded_by.clone() {
            self.superseded(by);
            return false;
        }
        if self.is_frozen() {
            return false;
        }
        let approved = u8::try_from(self.rollout.head.steps[current].approved_by.len()).unwrap_or(u8::MAX);
        if approved < policy.approvals {
            let missing = policy.approvals - approved;
            self.block(Blocked::Approval { missing });
            return false;
        }
        if !self.is_time_to_look() {
            return false;
        }
        let (chosen, excluded) = self.choose(current, is_last, &policy);
        let online = chosen.iter().any(|device| self.world.is_online(device));
        let again = self.now.plus_secs(BLOCKED_LOOK_SECS);
        let nobody_is_left = chosen.is_empty() && self.everybody_had_a_turn(current);
        match (chosen.is_empty(), online, policy.when_empty) {
            (true, _, WhenEmpty::Block) if nobody_is_left || planted(Bug::PassEmptySteps) => {}
            (true, _, WhenEmpty::Block) => {
                self.block(Blocked::Empty { again });
                return false;
            }
            (false, false, WhenEmpty::Block) => {
                let devices = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
                self.block(Blocked::AllOffline { devices, again });
                return false;
            }
            (_, _, WhenEmpty::Pass) | (false, true, WhenEmpty::Block) => {}
        }
        self.enter(current, &policy, chosen, excluded);
        let step = &self.rollout.head.steps[current];
        let (members, out) = (step.counts.members, step.excluded);
        self.note(
            "StepStarted",
            format!("step {} ({}): {}, {out} excluded", current + 1, policy.name, counted(members, "device")),
        );
        if members == 0 {
            self.passed(if nobody_is_left { "everybody was in a step before it" } else { "nobody is in it" });
        }
        true
    }

    /// Whether earlier steps had all devices that can take the change: what an empty step would have tried, they have tried.
    fn everybody_had_a_turn(&self, current: usize) -> bool {
        let had_some = self.rollout.head.steps[..current].iter().any(|step| step.counts.members > 0);
        let is_left = |(device, member): (&DeviceId, &Member)| {
            member.step.is_none() && member.phase == Phase::QUEUED && self.world.excluded(device).is_none()
        };
        had_some && !self.rollout.members.iter().any(is_left)
    }

    fn is_time_to_look(&self) -> bool {
        match self.rollout.head.steps[self.rollout.head.current].blocked {
            Some(Blocked::Empty { again } | Blocked::AllOffline { again, .. }) => self.now >= again,
            Some(Blocked::Approval { .. }) | None => true,
        }
    }

    fn block(&mut self, blocked: Blocked) {
        let current = self.rollout.head.current;
        let name = self.rollout.head.policy.step(current).name.clone();
        let before = self.rollout.head.steps[current].blocked.replace(blocked.clone());
        if before.as_ref().map(std::mem::discriminant) == Some(std::mem::discriminant(&blocked)) {
            return;
        }
        let why = match blocked {
            Blocked::Empty { .. } => "nobody is in it".to_owned(),
            Blocked::AllOffline { devices, .. } => none_online(devices),
            Blocked::Approval { missing } => {
                self.turn.effects.push(Effect::AskApproval { step: Some(current), missing });
                format!("{} must approve it", more_people(missing))
            }
        };
        self.note("StepBlocked", format!("step {} ({name}) does not begin: {why}", current + 1));
    }

    /// The devices of a step in the order of their rank, and those that are kept out with the reason.
    fn choose(&self, current: usize, is_last: bool, policy: &StepPolicy) -> (Vec<DeviceId>, Vec<(DeviceId, String)>) {
        let mine = |member: &Member| match member.step {
            None => true,
            Some(step) => step as usize == current,
        };
        let free = self.rollout.members.iter().filter(|(_, member)| mine(member) && member.phase == Phase::QUEUED);
        let selected =
            free.map(|(device, _)| device).filter(|device| is_last || self.world.selects(&policy.selector, device));
        let (mut chosen, mut excluded) = (Vec::new(), Vec::new());
        for device in selected {
            match self.world.excluded(device) {
                None => chosen.push(device.clone()),
                Some(reason) => excluded.push((device.clone(), reason)),
            }
        }
        let name = &self.rollout.head.name;
        let number = u32::try_from(current).unwrap_or(u32::MAX);
        let mut placed: Vec<_> =
            chosen.into_iter().map(|device| (*place(name, number, &device).bytes(), device)).collect();
        placed.sort_unstable();
        let mut chosen: Vec<DeviceId> = placed.into_iter().map(|(_, device)| device).collect();
        if let Some(take) = policy.take.filter(|_| !is_last) {
            let all = u32::try_from(self.rollout.members.len()).unwrap_or(u32::MAX);
            chosen.truncate(take.ceil_of(all) as usize);
        }
        (chosen, excluded)
    }

    /// Begins a step with these devices.
    fn enter(&mut self, current: usize, policy: &StepPolicy, chosen: Vec<DeviceId>, excluded: Vec<(DeviceId, String)>) {
        let number = u32::try_from(current).unwrap_or(u32::MAX);
        let sites: Vec<Option<Box<str>>> = chosen
            .iter()
            .map(|device| policy.site.as_ref().and_then(|label| self.world.label(label, device)).map(Box::from))
            .collect();
        // A site comes when the first of its devices does, and counts once.
        let mut ranks: BTreeMap<&str, u32> = BTreeMap::new();
        let mut count_of_units = 0;
        let mut unit_of = Vec::with_capacity(chosen.len());
        for site in &sites {
            let next = count_of_units;
            let rank = site.as_deref().map_or(next, |site| *ranks.entry(site).or_insert(next));
            count_of_units += u32::from(rank == next);
            unit_of.push(rank);
        }
        let step = &mut self.rollout.head.steps[current];
        step.started = Some(self.now);
        step.status = StepStatus::Running;
        step.blocked = None;
        step.bucket = policy.rate.map(|_| Bucket::new(0));
        let window = policy.window_ms();
        let name = self.rollout.head.name.clone();
        for ((device, site), unit) in chosen.iter().zip(&sites).zip(unit_of) {
            let due_ms = match (policy.spread, site) {
                (Spread::Hash, None) => hash_offset(&place(&name, number, device), window),
                (Spread::Rank, _) | (Spread::Hash, Some(_)) => rank_offset(unit, count_of_units, window),
            };
            self.take_in(device, number, |member| Member { due_ms, site: site.clone(), ..member });
        }
        for (device, reason) in excluded {
            self.take_in(&device, number, |member| Member {
                phase: Phase::Excluded { reason: reason.into() },
                ..member
            });
        }
        self.set_clock();
    }

    fn take_in(&mut self, device: &DeviceId, step: u32, change: impl FnOnce(Member) -> Member) {
        let member = self.rollout.members[device].clone();
        // It was in no step, so it is nobody's to be taken away from.
        count(&mut self.rollout.head, &Member { timing: Timing::Joined, ..member.clone() }, Tally::Take);
        let member = change(Member { step: Some(step), timing: Timing::InTime, ..member });
        let super::Rollout { head, members, agenda } = &mut *self.rollout;
        agenda.leave(head, device, &members[device]);
        count(head, &member, Tally::Add);
        agenda.enter(head, device, &member);
        members.insert(device.clone(), member);
        self.turn.changed.insert(device.clone());
    }

    /// Why the step that runs must stop at once, if it must.
    fn hopeless(&self) -> Option<String> {
        let head = &self.rollout.head;
        let (policy, counts) = (head.policy.step(head.current), &head.steps[head.current].counts);
        if let Some(rule) = policy.abort.iter().find(|rule| rule.is_met(counts)) {
            return Some(format!("{} of {} reports meet the rule: {rule}", rule.count(counts), counts.reported()));
        }
        match policy.gate.standing(counts) {
            Standing::Hopeless { bad, allowed } => Some(format!("{} failed, {allowed} may", counted(bad, "device"))),
            Standing::Passing | Standing::TooFewReports { .. } | Standing::TooFewSuccesses { .. } => None,
        }
    }

    /// Decides the step that runs, if it can be decided; whether the next one may begin.
    fn decide(&mut self) -> bool {
        let current = self.rollout.head.current;
        let policy = self.rollout.head.policy.step(current).clone();
        if let Some(why) = self.hopeless() {
            self.failed(why);
            return false;
        }
        let step = &self.rollout.head.steps[current];
        let shown = step.clock.shown_ms(self.now);
        let standing = policy.gate.standing(&step.counts);
        let unheard = planted(Bug::PassUnreported) && matches!(standing, Standing::TooFewReports { .. });
        let unmet = unheard || planted(Bug::PassUnmetSteps) && step.counts.reported() > 0;
        if unmet || standing == Standing::Passing {
            let everybody = step.counts.reported() >= step.counts.members;
            if everybody || shown >= policy.window_ms() {
                self.passed(if everybody { "everybody has reported" } else { "its window is over" });
                return true;
            }
        }
        if shown < policy.deadline_ms().saturating_add(step.extra_ms) {
            self.show_soaking();
            return false;
        }
        self.time_out(current);
        let stands = policy.gate.standing(&self.rollout.head.steps[current].counts);
        let open = matches!(stands, Standing::TooFewReports { .. } | Standing::TooFewSuccesses { .. });
        if open && self.rollout.agenda.soaking.get(&number(current)).is_some_and(|count| *count > 0) {
            self.rollout.head.steps[current].status = StepStatus::Soaking;
            return false;
        }
        self.decide_at_the_end(&policy)
    }

    /// Whoever began and is not done is out of time.
    fn time_out(&mut self, current: usize) {
        let step = number(current);
        let working = self.rollout.agenda.working.iter().filter(|(of, _)| *of == step).map(|(_, device)| device);
        let counts = |device: &&DeviceId| self.rollout.members[*device].timing == Timing::InTime;
        let late: Vec<DeviceId> = working.filter(counts).cloned().collect();
        for device in late {
            self.fail(&device, Failure::TimedOut, Some("not done when the time of its step was over"));
        }
    }

    fn decide_at_the_end(&mut self, policy: &StepPolicy) -> bool {
        if let Some(why) = self.hopeless() {
            self.failed(why);
            return false;
        }
        let head = &self.rollout.head;
        let counts = head.steps[head.current].counts;
        let is_last = head.current + 1 == head.steps.len();
        match policy.gate.standing(&counts) {
            Standing::Passing => {
                self.passed("its time is over");
                true
            }
            Standing::Hopeless { .. } => unreachable!("looked at above"),
            Standing::TooFewSuccesses { missing } => {
                let reported = counts.reported();
                self.failed(format!("{} of {reported} succeeded; {missing} more would have to", counts.ok));
                false
            }
            Standing::TooFewReports { missing } => {
                let reported = counts.reported();
                let enough = policy.gate.min_success.is_reached(counts.ok, reported);
                let all = counted(counts.members, "device");
                let why = format!("{reported} of {all} {} reported; {missing} more must", have(counts.members));
                match policy.on_insufficient_reports {
                    OnInsufficient::Advance if enough && (reported > 0 || is_last) => {
                        self.passed("its time is over, and whoever has not reported is not waited for");
                        true
                    }
                    OnInsufficient::Error => {
                        self.failed(why);
                        false
                    }
                    OnInsufficient::Advance if !enough => {
                        self.failed(format!("{} of {reported} succeeded", counts.ok));
                        false
                    }
                    OnInsufficient::Pause | OnInsufficient::Advance => {
                        self.rollout.head.status = Status::Paused { why: why.clone(), since: self.now, until: None };
                        self.note("Paused", why);
                        false
                    }
                }
            }
        }
    }

    fn show_soaking(&mut self) {
        let current = self.rollout.head.current;
        let soaking = self.rollout.agenda.soaking.get(&number(current)).copied().unwrap_or(0);
        let step = &mut self.rollout.head.steps[current];
        let open = step.counts.members - step.counts.reported();
        step.status = if soaking > 0 && soaking >= open { StepStatus::Soaking } else { StepStatus::Running };
    }

    /// The step is good: the next one is next.
    fn passed(&mut self, why: &str) {
        let current = self.rollout.head.current;
        let step = &mut self.rollout.head.steps[current];
        step.status = StepStatus::Passed;
        step.ended = Some(self.now);
        step.clock = step.clock.stopped(self.now);
        let (ok, reported, members) = (step.counts.ok, step.counts.reported(), step.counts.members);
        self.note(
            "StepPassed",
            format!(
                "step {}: {ok} of {} of {}, {why}",
                current + 1,
                counted(reported, "report"),
                counted(members, "device")
            ),
        );
        self.rollout.head.current += 1;
        // Whoever waits for a group's slot or for its turn is late now; being heard of brings it back.
        self.rollout.agenda.due.clear();
        self.rollout.agenda.parked.clear();
        if let Some(by) = self.rollout.head.superseded_by.clone() {
            self.superseded(by);
        }
    }

    /// The step is not good.
    pub(super) fn failed(&mut self, why: String) {
        let current = self.rollout.head.current;
        let now = self.now;
        let step = &mut self.rollout.head.steps[current];
        step.status = StepStatus::Failed;
        step.ended = Some(now);
        step.clock = step.clock.stopped(now);
        self.rollout.head.status = Status::Error { why: why.clone(), at: now };
        self.note("Error", format!("step {} failed: {why}", current + 1));
        // A newer commit that waits for it aborts it then: what went wrong stays in quarantine.
        match self.rollout.head.policy.on_error {
            OnError::Rollback => self.roll_back(),
            OnError::Pause => {}
        }
    }
}

/// `none of its 3 devices is online`.
pub(in crate::domain::rollout) fn none_online(devices: u32) -> String {
    match devices {
        1 => "its only device is not online".to_owned(),
        _ => format!("none of its {devices} devices is online"),
    }
}

/// `1 device has reported`, `2 devices have reported`.
pub(super) fn have(number: u32) -> &'static str {
    if number == 1 { "has" } else { "have" }
}

pub(super) fn number(step: usize) -> u32 {
    u32::try_from(step).unwrap_or(u32::MAX)
}
