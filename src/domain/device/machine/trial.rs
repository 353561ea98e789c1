//! The time in which a new assignment has to prove itself, and the way back if it does not.
//!
//! ```text
//! accepted ──► applying ──► soaking ──► good
//!                 │            │
//!                 └────────────┴──► failed for good ──► the last good one, or nothing: it stays
//! ```
//!
//! The end of an attempt is in the ledger before anything is done about it, so a device never goes back twice and never forth
//! again: after a failure its target is what was good, and what is there then is only mended. All times are on the clock that
//! never jumps. An agent that starts begins a soak anew: it cannot know what happened meanwhile.

use super::conditions::{HEALTHY, READY};
use super::{Effect, Look, Machine, Timer};
use crate::domain::device::action::Failure;
use crate::domain::device::health::{Ailment, ServiceId, ailments};
use crate::domain::device::ledger::Held;
use crate::domain::device::terminal::{FailedPhase, TerminalFailure};
use crate::domain::digest::Digest;
use crate::domain::planted::{Bug, planted};
use crate::domain::reported::{Phase, ServiceState};
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// How often in a row steps of an assignment may fail by its own fault before it has failed for good.
pub(super) const MAX_TRIES: u32 = 5;

/// What is remembered of a trial. Nothing of it outlives the agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Trial {
    /// The digest that soaks, and until when.
    soak: Option<(Digest, i64)>,
    /// Since when successors run.
    successors: BTreeMap<ServiceId, i64>,
}

impl Trial {
    /// What is not well has not soaked.
    pub(super) fn interrupt(&mut self) {
        self.soak = None;
    }
}

impl Machine {
    /// Whether an assignment has still to prove itself: with a soak, until it was good once, and not after its failure.
    pub(super) fn is_on_trial(&self, held: &Held) -> bool {
        let is_newest = self.wanted.mark() == Some(held.mark);
        let was_good = self.wanted.good == Some(held.mark.digest);
        held.soak_secs > 0 && is_newest && !was_good && self.wanted.end().is_none()
    }

    /// Whether the device has gone back to this.
    pub(super) fn went_back(&self, held: &Held) -> bool {
        self.durable.mark() != Some(held.mark)
    }

    /// What is not well, of what the last look found.
    pub(super) fn ailment(&mut self, held: &Held, now: Timestamp) -> Option<Ailment> {
        let observed = self.seen.as_ref().and_then(|look| look.apps.as_ref().ok())?;
        let found =
            ailments(&held.spec.spec, observed, &self.vigil).into_iter().next().or_else(|| self.probe_ailment());
        match &found {
            Some(Ailment { component, reason, message }) => {
                let failure = Failure { reason, message: format!("{component}: {message}") };
                self.conditions.fails(HEALTHY, &failure, now);
                self.trial.interrupt();
            }
            None => self.conditions.clear(HEALTHY),
        }
        found
    }

    /// Whether an assignment that is all there has been so for long enough.
    pub(super) fn has_soaked(&mut self, held: &Held, effects: &mut Vec<Effect>) -> bool {
        let digest = held.mark.digest;
        if self.wanted.end().is_some() {
            // The end is the end: only a higher attempt begins anew, whatever becomes of it while the device has nothing else.
            return false;
        }
        if held.soak_secs == 0 || self.wanted.good == Some(digest) || planted(Bug::SkipSoak) {
            return true;
        }
        if self.conditions.repeats(HEALTHY) > 0 || self.awaits_probes(held) {
            return false;
        }
        match self.trial.soak {
            Some((soaking, until)) if soaking == digest => self.steady_millis >= until,
            Some(_) | None => {
                let after_millis = i64::from(held.soak_secs) * 1000;
                self.trial.soak = Some((digest, self.steady_millis.saturating_add(after_millis)));
                effects.push(Effect::Wake { timer: Timer::Soak, after_millis });
                false
            }
        }
    }

    /// The newest assignment has failed for good. That is written down before anything is done about it; the target is another one
    /// then, if there is one.
    pub(super) fn fail_for_good(&mut self, held: &Held, ailment: &Ailment, now: Timestamp) {
        let Ailment { component, reason, message } = ailment.clone();
        let phase = if self.trial.soak.is_some() || self.durable.applied == Some(held.mark.digest) {
            FailedPhase::Soaking
        } else {
            FailedPhase::Applying
        };
        let logs = self.seen.as_ref().map(|look| &look.logs);
        let of_component = |(app, service): &ServiceId| format!("{app}/{service}") == component;
        let log = logs.and_then(|logs| logs.iter().find(|(id, _)| of_component(id))).map(|(_, log)| log.clone());
        self.wanted.fail(TerminalFailure {
            digest: held.mark.digest,
            attempt: held.attempt,
            phase,
            component,
            reason: reason.to_owned(),
            message,
            log: log.unwrap_or_default(),
            at: now,
            rolled_back_to: None,
        });
        self.trial.interrupt();
        self.show_end(now);
        self.work = super::work::Work::due();
    }

    /// The device has what it went back to. It stays there, whatever becomes of it: going on would be going round.
    pub(super) fn stay(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.show_end(now);
        self.rest(effects);
    }

    /// Says how the newest assignment failed for good, if it did.
    pub(super) fn show_end(&mut self, now: Timestamp) {
        let Some(end) = self.wanted.end() else { return };
        self.phase = Phase::Failing;
        let reason = if end.rolled_back_to.is_some() { "RolledBack" } else { "Failed" };
        let failure = Failure { reason, message: end.describe() };
        self.conditions.fails(READY, &failure, now);
    }

    /// Services whose successors need not be waited for any longer: they said so, or their time is up.
    pub(super) fn ripe(&mut self, held: Option<&Held>, look: &Look, effects: &mut Vec<Effect>) -> BTreeSet<ServiceId> {
        let mut ripe = look.locks.handed_over.clone();
        let (Some(held), Ok(observed)) = (held, &look.apps) else { return ripe };
        let mut running = BTreeMap::new();
        for (app, found) in &observed.apps {
            let wanted = held.spec.spec.apps.get(app);
            for (service, next) in &found.successors {
                let Some(wanted) = wanted.and_then(|app| app.services.get(service)) else { continue };
                if next.state != ServiceState::Running {
                    continue;
                }
                let id = (app.clone(), service.clone());
                let since = self.trial.successors.get(&id).copied().unwrap_or(self.steady_millis);
                let left = since + i64::from(wanted.update.handover_timeout_secs()) * 1000 - self.steady_millis;
                if left <= 0 {
                    ripe.insert(id.clone());
                } else {
                    effects.push(Effect::Wake { timer: Timer::HandOver, after_millis: left });
                }
                running.insert(id, since);
            }
        }
        self.trial.successors = running;
        ripe
    }
}

/// Whether a failure comes from what was assigned, so that trying it for ever is of no use. What comes from the world around the
/// device, such as a registry that is away, is waited for.
pub(super) fn is_the_assignments_fault(failure: &Failure) -> bool {
    matches!(failure.reason, "EngineRefused" | "NoEffect")
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
