//! What the machine adds to the settings of the host: when they may be changed, and what failed a moment ago.

use super::Machine;
use super::conditions::HOST_CONFIGURED;
use super::work::{RETRY, Standing, Work};
use crate::domain::condition::ConditionStatus;
use crate::domain::device::action::{Action, Failure};
use crate::domain::device::host::{Case, FoundHost, HeldBack, HookEnd, HookFailure, HostAction, Turn, Verdict, judge};
use crate::domain::device::ledger::Held;
use crate::domain::device::locks::{Deed, Locks, locked};
use crate::domain::device::os::{self, Offer, Permit};
use crate::domain::device::terminal::TerminalFailure;
use crate::domain::reported::{ObservedHost, is_as_wanted};
use crate::domain::spec::{DeviceConfig, Purpose, Subject};
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What the machine keeps about the host between two looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HostLane {
    held_back: HeldBack,
    /// When that is tried again, on the steady clock.
    until: i64,
    /// Failures in a row.
    failures: u32,
    /// What was changed in the turn before, as far as anybody said.
    made: BTreeSet<Subject>,
}

impl HostLane {
    /// Another assignment: what failed under the old one is tried at once.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }
}

/// What is to be done about the host. Nothing is remembered of it before [`Machine::host_turn`].
pub(super) struct Planned {
    verdict: Verdict,
    wanted: DeviceConfig,
}

impl Planned {
    /// Whether something is to be done before services are looked after.
    pub(super) fn is_act(&self) -> bool {
        matches!(self.verdict.turn, Turn::Act(_))
    }
}

impl Machine {
    /// Decides about the host and changes nothing.
    pub(super) fn plan_host(
        &mut self,
        held: &Held,
        found: &FoundHost,
        locks: &Locks,
        apps: &Standing,
        now: Timestamp,
    ) -> Planned {
        let wanted = &held.spec.spec.config;
        if self.steady_millis >= self.host.until {
            self.host.held_back = HeldBack::default();
        }
        self.judge_effect(wanted, found);
        let offer = Offer { digest: held.mark.digest, attempt: held.attempt };
        let within = || match held.spec.spec.maintenance.closed(Purpose::Apply, now) {
            Some(message) => Err(Failure { reason: "WindowClosed", message }),
            None => Ok(()),
        };
        // What somebody changed by hand is mended at once, as services are, and nobody goes back by appointment.
        let is_new = !self.went_back(held) && self.durable.applied != Some(held.mark.digest);
        let apply: Permit = if is_new { within() } else { Ok(()) };
        let reboot = match apps {
            Standing::Busy => Err(Failure {
                reason: "ServicesFirst",
                message: "services are brought to what is assigned before the device reboots".to_owned(),
            }),
            Standing::Settled
            | Standing::Waiting(_)
            | Standing::Locked(_)
            | Standing::Lacking(_)
            | Standing::Bleak(_) => {
                locks.in_the_way(Deed::Reboot, self.respect()).map_or_else(within, |lock| Err(locked(lock)))
            }
        };
        let (memory, held_back) = (&self.wanted.host, &self.host.held_back);
        let verdict = judge(&Case { wanted, offer, found, memory, held_back, apply, reboot });
        Planned { verdict, wanted: wanted.clone() }
    }

    /// What was changed and is not so after all would otherwise be changed in a circle.
    fn judge_effect(&mut self, wanted: &DeviceConfig, found: &FoundHost) {
        let observed = found.observed(wanted);
        let made = std::mem::take(&mut self.host.made);
        let is_undone = |subject: &Subject| !is_as_wanted(wanted, subject, observed.values.get(subject));
        let wanted_still = wanted.subjects();
        for subject in made.into_iter().filter(|one| wanted_still.contains(one)).filter(is_undone) {
            let message = "it was set, and is something else again".to_owned();
            self.hold_back_subject(subject, Failure { reason: "NoEffect", message });
        }
    }

    fn hold_back_subject(&mut self, subject: Subject, failure: Failure) {
        self.host.held_back.subjects.insert(subject, failure);
        self.wait_with_host();
    }

    fn wait_with_host(&mut self) {
        self.host.failures = self.host.failures.saturating_add(1);
        let wait_millis = RETRY.wait_millis(self.host.failures, self.draws.draw());
        self.host.until = self.steady_millis.saturating_add(wait_millis);
    }

    /// Takes what was planned for the host together with what services and OS ask for: the steps to take, and what is to be said
    /// if there are none.
    pub(super) fn host_turn(
        &mut self,
        planned: Planned,
        steps: Vec<Action>,
        os: os::Turn,
        now: Timestamp,
    ) -> (Vec<Action>, os::Turn) {
        let Planned { verdict: Verdict { memory, turn, left }, wanted } = planned;
        // Another boot in the middle of an update of the OS could be taken for its end.
        let os_is_done = matches!(os, os::Turn::Settled | os::Turn::GaveUp(_));
        let is_reboot = matches!(turn, Turn::Reboot(_));
        if is_reboot && (!os_is_done || !steps.is_empty()) {
            return (steps, os);
        }
        self.wanted.host = memory;
        self.tell_host(&turn, &wanted, &left, now);
        let said = |turn| if os == os::Turn::Settled { turn } else { os.clone() };
        match turn {
            Turn::Settled => {
                self.host.failures = 0;
                (steps, os)
            }
            Turn::Act(action) | Turn::Reboot(action) => (vec![Action::Host(action)], os),
            Turn::Wait(failure) => (steps, said(os::Turn::Wait(failure))),
            Turn::Lacking(failure) => (steps, said(os::Turn::GaveUp(failure))),
        }
    }

    fn tell_host(&mut self, turn: &Turn, wanted: &DeviceConfig, left: &BTreeSet<Subject>, now: Timestamp) {
        let names: Vec<String> = left.iter().map(ToString::to_string).collect();
        let stays = match names.as_slice() {
            [] => String::new(),
            names => format!("no longer assigned, and left as it is: {}", names.join(", ")),
        };
        let (status, reason, message) = match turn {
            Turn::Settled if wanted.subjects().is_empty() && left.is_empty() => {
                return self.conditions.clear(HOST_CONFIGURED);
            }
            Turn::Settled => (ConditionStatus::True, "Settled", stays),
            Turn::Act(action) | Turn::Reboot(action) => (ConditionStatus::False, "Applying", action.to_string()),
            Turn::Wait(failure) | Turn::Lacking(failure) => {
                (ConditionStatus::False, failure.reason, failure.message.clone())
            }
        };
        self.conditions.set(HOST_CONFIGURED, status, reason, &message, now);
    }

    /// The host was changed, apart from what is listed.
    pub(super) fn host_changed(&mut self, troubles: &BTreeMap<Subject, Failure>, now: Timestamp) {
        let Some((_, step)) = self.end_host_step() else { return };
        let HostAction::Change(changes) = &step else { return };
        let is_made = |subject: &Subject| !troubles.contains_key(subject);
        let made: Vec<_> = changes.iter().filter(|change| is_made(&change.subject())).cloned().collect();
        for change in &made {
            self.wanted.host.changed(change);
            self.host.made.insert(change.subject());
        }
        for (subject, failure) in troubles {
            self.host.held_back.subjects.insert(subject.clone(), failure.clone());
        }
        if !troubles.is_empty() {
            self.wait_with_host();
        }
        if !made.is_empty() {
            self.note_done(&[Action::Host(HostAction::Change(made))], now);
        }
    }

    /// A hook ended.
    pub(super) fn hook_ended(&mut self, ended: Result<HookEnd, HookFailure>, now: Timestamp) {
        let Some((of, step)) = self.end_host_step() else { return };
        let HostAction::RunHook { hook, because: _ } = &step else { return };
        match ended {
            Ok(end) => {
                let boot_id = self.seen.as_ref().map(|look| look.host.boot_id.clone()).unwrap_or_default();
                self.wanted.host.hook_ended(hook, end, &boot_id);
                self.note_done(&[Action::Host(step)], now);
            }
            Err(why) => {
                self.wanted.host.hook_failed(hook, &why, of.mark.digest, of.attempt, now);
                self.host.held_back.hooks.insert(hook.clone(), why.failure);
                self.wait_with_host();
            }
        }
    }

    /// An action for the host came to nothing as a whole.
    pub(super) fn host_failed(&mut self, action: &HostAction, failure: &Failure, of: &Held, now: Timestamp) {
        match action {
            HostAction::Change(changes) => {
                for change in changes {
                    self.host.held_back.subjects.insert(change.subject(), failure.clone());
                }
            }
            HostAction::RunHook { hook, because: _ } => {
                let why = HookFailure { failure: failure.clone(), log: Vec::new() };
                self.wanted.host.hook_failed(hook, &why, of.mark.digest, of.attempt, now);
                self.host.held_back.hooks.insert(hook.clone(), failure.clone());
            }
            HostAction::Reboot { hook: _ } => self.host.held_back.reboot = Some(failure.clone()),
        }
        self.wait_with_host();
    }

    /// The step for the host that was under way; another look comes after it. `None` if there was no such step.
    fn end_host_step(&mut self) -> Option<(Box<Held>, HostAction)> {
        match std::mem::replace(&mut self.work, Work::Resting) {
            Work::Acting { of, step: Action::Host(action), rest: _, done: _ } => {
                self.work = Work::due();
                Some((of, action))
            }
            other => {
                self.work = other;
                None
            }
        }
    }

    /// Ends an assignment whose hook failed for good; whether there is such a hook.
    pub(super) fn fail_with_hook(&mut self, held: &Held, now: Timestamp) -> bool {
        let is_its = |end: &TerminalFailure| end.attempt >= held.attempt;
        let Some(end) = self.wanted.host.failure_of(held.mark.digest).filter(is_its) else { return false };
        self.wanted.fail(end);
        self.show_end(now);
        self.work = Work::due();
        true
    }

    /// What is told of the host.
    pub(super) fn observed_host(&self) -> Option<ObservedHost> {
        let config = &self.durable.accepted.as_ref()?.spec.spec.config;
        let look = self.seen.as_ref().filter(|_| !config.subjects().is_empty())?;
        Some(look.host.observed(config))
    }

    /// A hook that failed for good under the newest assignment.
    pub(super) fn host_failure(&self) -> Option<TerminalFailure> {
        self.durable.host.failure_of(self.durable.accepted.as_ref()?.mark.digest)
    }
}

#[cfg(test)]
mod tests;
