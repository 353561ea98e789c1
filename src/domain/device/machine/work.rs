//! The lane that looks, compares and mends.

use super::conditions::{DOWNLOADING, ENGINE_AVAILABLE, LAST_CHANGE, OS_UPDATER_AVAILABLE, READY};
use super::trial::{MAX_TRIES, Trial, is_the_assignments_fault};
use super::windows::within;
use super::{Effect, Life, Look, Machine, Timer};
use crate::domain::condition::ConditionStatus;
use crate::domain::device::action::{Action, Failure};
use crate::domain::device::backoff::{Backoff, next_poll_millis};
use crate::domain::device::health::{Ailment, ServiceId};
use crate::domain::device::host::HostAction;
use crate::domain::device::ledger::Held;
use crate::domain::device::locks::Respect;
use crate::domain::device::os;
use crate::domain::device::progress::Progress;
use crate::domain::device::steps::{Observed, Outlook, Situation, Turn, Wait, all_differences, app_turn, images};
use crate::domain::drift::{Difference, Layer};
use crate::domain::reported::{Found, ObservedOs, Phase};
use crate::domain::spec::DeviceSpec;
use crate::domain::time::{Timestamp, show_secs};
use std::collections::{BTreeSet, VecDeque};

/// Back-off after failures: often enough to notice a registry that is back, seldom enough for a metered link.
pub(super) const RETRY: Backoff = Backoff { base_millis: 1000, cap_millis: 900_000 };

/// How long services may wait for others before that counts as a failure, in seconds. Health checks come to an end by
/// themselves; what runs to its end, such as a migration of data, may take its time.
pub(super) const MAX_WAIT_SECS: i64 = 900;

/// How often it is told how far bringing images has come, in seconds. Reports are for people to look at now and then, and a fleet
/// that updates sends them all at once.
const PROGRESS_SECS: i64 = 20;

/// How many actions the condition that tells of the last change names.
const MAX_TOLD_ACTIONS: usize = 12;

/// Where the lane is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    /// Looks as soon as possible.
    Due(Before),
    /// A look is under way, for the assignment that the ledger held when it began.
    Looking(Option<Box<Held>>, Before),
    /// Steps are known; they wait for the ledger, and for what was found to be told.
    Ready {
        /// What they lead to.
        of: Box<Held>,
        /// The steps, at least one.
        steps: VecDeque<Action>,
    },
    /// The first of the steps is being performed.
    Acting {
        /// What they lead to.
        of: Box<Held>,
        /// The step.
        step: Action,
        /// What comes after it.
        rest: VecDeque<Action>,
        /// What was done in this turn.
        done: Vec<Action>,
    },
    /// Nothing to do until the timer, or an assignment, comes.
    Resting,
}

/// What came just before a look.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Before {
    /// Nothing that the look should confirm.
    Nothing,
    /// All of these were done; a look that asks for the same again says that they did not help.
    Did(Vec<Action>),
}

/// What a look comes to, given what is wanted.
struct Judgement {
    steps: Vec<Action>,
    differences: Vec<Difference>,
    standing: Standing,
}

/// How the services of a device stand.
pub(super) enum Standing {
    /// Everything is there.
    Settled,
    /// There are steps.
    Busy,
    /// Something has to become true first, and nothing says that it will not.
    Waiting(Failure),
    /// Somebody holds a lock, for as long as he likes.
    Locked(Failure),
    /// Something is not there, or not known to be.
    Lacking(Failure),
    /// Something that services wait for will not come true by itself any more.
    Bleak(Failure),
}

impl Work {
    pub(super) fn due() -> Self {
        Self::Due(Before::Nothing)
    }

    pub(super) fn timer_due(&mut self) {
        if *self == Self::Resting {
            *self = Self::due();
        }
    }

    pub(super) fn next_images(&self) -> BTreeSet<String> {
        let Self::Acting { rest, .. } = self else { return BTreeSet::new() };
        rest.iter().filter_map(image_of).cloned().collect()
    }

    pub(super) fn is_acting(&self) -> bool {
        matches!(self, Self::Acting { .. })
    }
}

impl Machine {
    pub(super) fn advance_work(&mut self, effects: &mut Vec<Effect>) {
        if self.actions.is_running() {
            // Both change the same containers, and what a look saw would not hold.
            return;
        }
        match std::mem::replace(&mut self.work, Work::Resting) {
            Work::Due(before) => {
                let held = self.target().cloned().map(Box::new);
                let images = held.as_ref().map(|held| images(&held.spec.spec)).unwrap_or_default();
                effects.push(Effect::Look { images });
                self.work = Work::Looking(held, before);
            }
            Work::Ready { of, mut steps } if self.is_durable() && self.has_told_what_it_found() => {
                let step = steps.pop_front().expect("steps are ready only if there is at least one");
                effects.push(Effect::Act(step.clone()));
                self.work = Work::Acting { of, step, rest: steps, done: Vec::new() };
            }
            unchanged @ (Work::Looking(..) | Work::Ready { .. } | Work::Acting { .. } | Work::Resting) => {
                self.work = unchanged;
            }
        }
    }

    /// The ledger holds a newer assignment: whatever was planned for the old one is void.
    pub(super) fn adopt(&mut self, now: Timestamp) {
        self.unmended.clear();
        self.waiting_since = None;
        self.vigil.clear();
        self.trial = Trial::begun(now);
        self.host.begin_anew();
        self.phase = Phase::Applying;
        self.conditions.set(READY, ConditionStatus::False, "Applying", "a newer assignment was accepted", now);
        self.show_end(now);
        match self.work {
            Work::Resting | Work::Ready { .. } => self.work = Work::due(),
            // Both notice by themselves when they end.
            Work::Looking(..) | Work::Acting { .. } | Work::Due(_) => {}
        }
    }

    pub(super) fn looked(&mut self, look: Look, now: Timestamp, effects: &mut Vec<Effect>) {
        let Work::Looking(held, before) = std::mem::replace(&mut self.work, Work::Resting) else { return };
        self.note_availability(&look, held.as_deref(), now);
        self.note_engine(&look);
        self.judge_told_health(now);
        if let Ok(observed) = &look.apps {
            self.vigil.observe(observed, self.steady_millis);
        }
        let ripe = self.ripe(held.as_deref(), &look, effects);
        let judgement = held.as_ref().map(|held| judge(&held.spec.spec, &look, self.respect(), &ripe));
        let judgement = judgement.map(|judgement| self.in_windows(held.as_deref(), judgement, now));
        let (os, locks, host) = (look.os.clone(), look.locks.clone(), look.host.clone());
        self.seen = Some(look);
        if held.as_ref().map(|held| held.mark) != self.target().map(|held| held.mark) {
            self.work = Work::due();
            return;
        }
        let (Some(held), Some(Judgement { steps, differences, standing })) = (held, judgement) else {
            self.phase = Phase::Waiting;
            return self.rest(effects);
        };
        if let Some(ailment) = self.ailment(&held, now)
            && self.is_on_trial(&held)
        {
            return self.fail_for_good(&held, &ailment, now);
        }
        let mut differences = differences;
        differences.extend(host.differences(&held.spec.spec.config));
        if self.is_on_trial(&held) && self.fail_with_hook(&held, now) {
            return;
        }
        let planned = self.plan_host(&held, &host, &locks, &standing, now);
        // Services may need what the host is set to, and an OS has to wait for both.
        let before_os = if planned.is_act() { &Standing::Busy } else { &standing };
        // Only then the OS: an assignment that fails takes the OS with it that it brought.
        let os = match os {
            Ok(Some(found)) => self.os_turn(&held, &found, &locks, before_os, now, effects),
            Ok(None) if held.spec.spec.os.is_some() => os::Turn::GaveUp(no_updater()),
            Ok(None) => os::Turn::Settled,
            Err(failure) => os::Turn::GaveUp(failure),
        };
        if let Some(ailment) = self.failed_os(&held)
            && self.is_on_trial(&held)
        {
            return self.fail_for_good(&held, &ailment, now);
        }
        let (steps, os) = match os {
            os::Turn::Act(action) => (vec![action.clone()], os::Turn::Act(action)),
            os @ (os::Turn::Settled | os::Turn::Wait(_) | os::Turn::Retry(_) | os::Turn::GaveUp(_)) => {
                self.host_turn(planned, steps, os, now)
            }
        };
        if !steps.is_empty() && before == Before::Did(steps.clone()) {
            let message = format!("{} was done and has to be done again", steps[0]);
            return self.give_up(&held, &Failure { reason: "NoEffect", message }, now, effects);
        }
        if self.asks_no_more(&held, &steps) {
            return self.stay(now, effects);
        }
        self.note_found(&held, differences, &steps, now);
        match (steps.is_empty(), standing, os) {
            (true, Standing::Waiting(failure), _) => self.wait_for_others(&held, &failure, now, effects),
            (true, Standing::Locked(failure), _) => self.wait_for_lock(&failure, now, effects),
            (true, Standing::Lacking(failure), _) => self.wait_and_see(&failure, now, effects),
            (true, Standing::Bleak(failure), _) => self.cannot_come_true(&held, &failure, now, effects),
            (true, Standing::Settled | Standing::Busy, os) => match os {
                os::Turn::Settled | os::Turn::Act(_) => self.settle(&held, now, effects),
                // For a window, a lock, the updater, or the end of a trial: however long it takes.
                os::Turn::Wait(failure) => self.wait_for_lock(&failure, now, effects),
                os::Turn::Retry(failure) => self.give_up(&held, &failure, now, effects),
                os::Turn::GaveUp(failure) => self.wait_and_see(&failure, now, effects),
            },
            (false, _, _) => {
                if self.phase != Phase::Failing {
                    self.phase = Phase::Applying;
                    self.conditions.set(READY, ConditionStatus::False, "Applying", &show_steps(&steps), now);
                }
                self.work = Work::Ready { of: held, steps: steps.into() };
            }
        }
    }

    /// Leaves out what the maintenance windows do not allow now. Only what is new waits for them.
    fn in_windows(&self, held: Option<&Held>, judgement: Judgement, now: Timestamp) -> Judgement {
        let is_new = |held: &&Held| !self.went_back(held) && self.durable.applied != Some(held.mark.digest);
        let Some(held) = held.filter(is_new) else { return judgement };
        let before = self.durable.previous.as_ref().map(|before| before.spec.spec.as_ref());
        let Judgement { steps, differences, standing } = judgement;
        let (steps, waits) = within(steps, &held.spec.spec.maintenance, before, now);
        let standing = waits.map_or(standing, Standing::Locked);
        Judgement { steps, differences, standing }
    }

    pub(super) fn done(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Work::Acting { of, step, mut rest, mut done } = std::mem::replace(&mut self.work, Work::Resting) else {
            return;
        };
        self.os_done(&step);
        self.local.told.done(&step);
        done.push(step);
        if let Some(Action::Reboot { why: _ } | Action::Host(HostAction::Reboot { hook: _ })) = done.last() {
            // The next boot is another look; should it not come, this one tries again.
            self.note_done(&done, now);
            self.work = Work::Resting;
            effects.push(Effect::Wake { timer: Timer::Work, after_millis: i64::from(self.pace.reboot_secs) * 1000 });
            return;
        }
        if rest.front().and_then(image_of).is_none() {
            self.end_progress();
        }
        if self.life != Life::Running || self.target().map(|held| held.mark) != Some(of.mark) || !self.is_durable() {
            self.note_done(&done, now);
            self.work = Work::due();
            return;
        }
        match rest.pop_front() {
            Some(step) => {
                effects.push(Effect::Act(step.clone()));
                self.work = Work::Acting { of, step, rest, done };
            }
            None => {
                self.note_done(&done, now);
                self.work = Work::Due(Before::Did(done));
            }
        }
    }

    pub(super) fn failed(&mut self, failure: &Failure, now: Timestamp, effects: &mut Vec<Effect>) {
        let Work::Acting { of, step, rest: _, done } = std::mem::replace(&mut self.work, Work::Resting) else {
            return;
        };
        self.note_done(&done, now);
        self.end_progress();
        if failure.reason == LOCKED {
            // Somebody took a lock since the look. That is no failure: the next look waits for it.
            self.work = Work::due();
            return;
        }
        if let Action::Host(action) = &step {
            self.host_failed(action, failure, &of, now);
            self.work = Work::due();
            return;
        }
        self.os_failed(&step, failure, &of);
        let failure = Failure { reason: failure.reason, message: format!("{step}: {}", failure.message) };
        if self.wanted.target().map(|held| held.mark) != Some(of.mark) {
            // It was for an assignment that a newer one replaced.
            self.work = Work::due();
            return;
        }
        self.give_up(&of, &failure, now, effects);
    }

    /// Tells now and then how far it has come.
    pub(super) fn brought(&mut self, progress: Progress, now: Timestamp) {
        let Work::Acting { step, .. } = &self.work else { return };
        // A clock that was set back must not silence it.
        let is_fresh = self.progress_told.is_some_and(|told| (0..PROGRESS_SECS).contains(&now.secs_since(told)));
        if image_of(step).is_some() && !is_fresh {
            self.progress_told = Some(now);
            self.conditions.set(DOWNLOADING, ConditionStatus::True, "Pulling", &progress.to_string(), now);
        }
    }

    /// Nothing is on its way any more.
    fn end_progress(&mut self) {
        self.progress_told = None;
        self.conditions.clear(DOWNLOADING);
    }

    /// Everything is there: remembers it, and looks again after a while.
    fn settle(&mut self, held: &Held, now: Timestamp, effects: &mut Vec<Effect>) {
        self.unmended.clear();
        self.waiting_since = None;
        let digest = held.mark.digest;
        self.wanted.applied = Some(digest);
        if self.went_back(held) {
            return self.stay(now, effects);
        }
        if !self.has_soaked(held, effects) {
            if self.wanted.end().is_some() {
                return self.stay(now, effects);
            }
            self.phase = Phase::Applying;
            let message = format!("everything is there and has to stay well for {}", show_secs(held.soak_secs.into()));
            self.conditions.set(READY, ConditionStatus::False, "Soaking", &message, now);
            return self.rest(effects);
        }
        if self.phase != Phase::Settled {
            effects.push(Effect::Tidy { keep: self.wanted.images() });
        }
        self.wanted.good = Some(digest);
        self.wanted.forget_failures(digest);
        self.phase = Phase::Settled;
        self.conditions.holds(READY, "Settled", now);
        self.rest(effects);
    }

    /// Services wait for others. That is part of applying, until it takes longer than anybody would wait.
    fn wait_for_others(&mut self, held: &Held, failure: &Failure, now: Timestamp, effects: &mut Vec<Effect>) {
        let since = *self.waiting_since.get_or_insert(self.steady_millis);
        if self.steady_millis.saturating_sub(since) > MAX_WAIT_SECS * 1000 {
            let message = format!("{} for more than {}", failure.message, show_secs(MAX_WAIT_SECS));
            return self.cannot_come_true(held, &Failure { reason: failure.reason, message }, now, effects);
        }
        if self.phase != Phase::Failing {
            self.phase = Phase::Applying;
        }
        self.conditions.fails(READY, failure, now);
        self.look_again_soon(effects);
    }

    /// Somebody said "not now". That is part of applying however long it takes.
    fn wait_for_lock(&mut self, failure: &Failure, now: Timestamp, effects: &mut Vec<Effect>) {
        self.waiting_since = None;
        if self.phase != Phase::Failing {
            self.phase = Phase::Applying;
        }
        self.conditions.fails(READY, failure, now);
        self.look_again_soon(effects);
    }

    /// Services wait for what has failed.
    fn cannot_come_true(&mut self, held: &Held, failure: &Failure, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.is_on_trial(held) {
            let Failure { reason, message } = failure.clone();
            let component = message.split(' ').next().unwrap_or_default().to_owned();
            return self.fail_for_good(held, &Ailment { component, reason, message }, now);
        }
        self.wait_and_see(failure, now, effects);
    }

    /// There is nothing to do about it but to look again, sooner than while everything is well.
    fn wait_and_see(&mut self, failure: &Failure, now: Timestamp, effects: &mut Vec<Effect>) {
        self.trial.interrupt();
        self.phase = Phase::Failing;
        self.conditions.fails(READY, failure, now);
        self.look_again_soon(effects);
    }

    pub(super) fn look_again_soon(&mut self, effects: &mut Vec<Effect>) {
        let cap_millis = i64::from(self.pace.look_interval_secs) * 1000;
        let backoff = Backoff { base_millis: RETRY.base_millis, cap_millis };
        let after_millis = backoff.wait_millis(self.conditions.repeats(READY), self.draws.draw());
        self.work = Work::Resting;
        effects.push(Effect::Wake { timer: Timer::Work, after_millis });
    }

    /// Leaves the device as it is, counts the failure, and tries again later.
    fn give_up(&mut self, held: &Held, failure: &Failure, now: Timestamp, effects: &mut Vec<Effect>) {
        self.phase = Phase::Failing;
        self.conditions.fails(READY, failure, now);
        let digest = held.mark.digest;
        if self.wanted.mark() == Some(held.mark) {
            self.wanted.count_failure(digest, held.attempt);
        }
        let failures = self.wanted.failures(digest, held.attempt);
        if failures >= MAX_TRIES && is_the_assignments_fault(failure) && self.is_on_trial(held) {
            let Failure { reason, message } = failure.clone();
            return self.fail_for_good(held, &Ailment { component: "device".to_owned(), reason, message }, now);
        }
        if self.lacks_an_image_for_good(held, failure) {
            let Failure { reason, message } = failure.clone();
            return self.fail_for_good(held, &Ailment { component: "images".to_owned(), reason, message }, now);
        }
        let after_millis = RETRY.wait_millis(failures, self.draws.draw());
        self.work = Work::Resting;
        effects.push(Effect::Wake { timer: Timer::Work, after_millis });
    }

    pub(super) fn rest(&mut self, effects: &mut Vec<Effect>) {
        self.work = Work::Resting;
        let after_millis = next_poll_millis(self.pace.look_interval_secs, self.draws.draw());
        effects.push(Effect::Wake { timer: Timer::Work, after_millis });
    }

    /// Records what differs from something that had been reached, once until it is mended.
    fn note_found(&mut self, held: &Held, differences: Vec<Difference>, steps: &[Action], now: Timestamp) {
        if self.durable.applied != Some(held.mark.digest) || steps.is_empty() {
            return;
        }
        for difference in differences {
            if self.unmended.contains(&difference) {
                continue;
            }
            self.unmended.push(difference.clone());
            self.found.push(Found { at: now, observed: held.mark, difference });
            self.found_total += 1;
        }
        self.bound_found();
    }

    pub(super) fn note_done(&mut self, done: &[Action], now: Timestamp) {
        if done.is_empty() {
            return;
        }
        let mut told: Vec<String> = done.iter().take(MAX_TOLD_ACTIONS).map(Action::to_string).collect();
        if let more @ 1.. = done.len().saturating_sub(MAX_TOLD_ACTIONS) {
            told.push(format!("{more} more"));
        }
        self.conditions.set(LAST_CHANGE, ConditionStatus::True, "Done", &told.join("; "), now);
    }

    fn note_availability(&mut self, look: &Look, held: Option<&Held>, now: Timestamp) {
        match &look.apps {
            Ok(_) => self.conditions.holds(ENGINE_AVAILABLE, "Answers", now),
            Err(failure) => self.conditions.fails(ENGINE_AVAILABLE, failure, now),
        }
        let wants_os = held.is_some_and(|held| held.spec.spec.os.is_some());
        match &look.os {
            Ok(Some(_)) => self.conditions.holds(OS_UPDATER_AVAILABLE, "Answers", now),
            Ok(None) if wants_os => self.conditions.fails(OS_UPDATER_AVAILABLE, &no_updater(), now),
            Ok(None) => self.conditions.clear(OS_UPDATER_AVAILABLE),
            Err(failure) => self.conditions.fails(OS_UPDATER_AVAILABLE, failure, now),
        }
    }
}

impl Machine {
    /// Tells which engine it is, once that is known. What the settings say of it wins.
    fn note_engine(&mut self, look: &Look) {
        for (name, value) in look.apps.iter().flat_map(|observed| &observed.engine) {
            let told = self.about.attributes.get(name).map(String::as_str);
            if told.is_none_or(|told| told == UNKNOWN_ENGINE) {
                self.about.attributes.insert(name.clone(), value.clone());
            }
        }
    }
}

/// What an engine is called that has not answered yet: any that speaks the language of Docker's API.
const UNKNOWN_ENGINE: &str = "docker";
/// The reason of a failure that is only a lock.
pub(super) const LOCKED: &str = "Locked";

/// Compares what is wanted with what was found. An engine that does not answer does not keep the OS from being mended, nor
/// the other way round; what is to be done about the OS is decided apart from this.
fn judge(spec: &DeviceSpec, look: &Look, respect: Respect, ripe: &BTreeSet<ServiceId>) -> Judgement {
    let observed: Option<&Observed> = look.apps.as_ref().ok();
    let os: Option<&ObservedOs> = look.os.as_ref().ok().and_then(Option::as_ref).map(|found| &found.running);
    let situation = |observed| Situation { spec, observed, locks: &look.locks, respect, ripe };
    let Turn { steps, waits } = observed.map(|observed| app_turn(&situation(observed))).unwrap_or_default();
    let differences = all_differences(spec, observed, os);
    let of_apps: Vec<&Difference> = differences.iter().filter(|one| one.layer != Layer::Os).collect();
    let standing = match &look.apps {
        Err(failure) => Standing::Lacking(failure.clone()),
        Ok(_) if !steps.is_empty() => Standing::Busy,
        Ok(_) => match (waiting(&waits), of_apps.first()) {
            (Some(standing), _) => standing,
            (None, None) => Standing::Settled,
            (None, Some(first)) => Standing::Lacking(not_running(first, of_apps.len())),
        },
    };
    Judgement { steps, differences, standing }
}

/// How a device stands whose services wait: what cannot come true any more is told first.
fn waiting(waits: &[Wait]) -> Option<Standing> {
    let with = |outlook: Outlook| waits.iter().find(|wait| wait.outlook == outlook);
    let first = with(Outlook::Bleak).or(with(Outlook::Open)).or(waits.first())?;
    let more = if waits.len() > 1 { format!(", and {} more wait", waits.len() - 1) } else { String::new() };
    let message = format!("{} waits for {}{more}", first.subject, first.what);
    Some(match first.outlook {
        Outlook::Bleak => Standing::Bleak(Failure { reason: "DependencyFailed", message }),
        Outlook::Open => Standing::Waiting(Failure { reason: "WaitingForServices", message }),
        Outlook::Locked => Standing::Locked(Failure { reason: LOCKED, message }),
    })
}

/// The image that a step brings.
fn image_of(step: &Action) -> Option<&String> {
    match step {
        Action::Pull { image } => Some(image),
        _ => None,
    }
}

fn show_steps(steps: &[Action]) -> String {
    match steps {
        [] => "no steps".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first}, and {} more steps", rest.len()),
    }
}

fn no_updater() -> Failure {
    Failure { reason: "NoUpdater", message: "an OS is assigned, but the agent has no OS updater".to_owned() }
}

/// Differences without steps: containers that the engine itself keeps restarting.
fn not_running(first: &Difference, all: usize) -> Failure {
    let found = first.found.as_deref().unwrap_or("absent");
    let more = if all > 1 { format!(", and {} more", all - 1) } else { String::new() };
    Failure { reason: "ServicesNotRunning", message: format!("{}: {found}{more}", first.subject) }
}
