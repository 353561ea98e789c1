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
use crate::domain::device::action::{Action, Failure};
use crate::domain::device::dump::CoreDump;
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

/// How often it is tried to bring an image of which the registry says that it is not there. With the pauses in between this takes
/// about an hour: an image may be published after the release that names it.
const MAX_IMAGE_TRIES: u32 = 16;

/// What is remembered of a trial. Nothing of it outlives the agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Trial {
    /// When it began, by the wall clock; an agent that starts begins it anew. `None`: before anything was to be tried.
    since: Option<Timestamp>,
    /// The digest that soaks, and until when.
    soak: Option<(Digest, i64)>,
    /// Since when successors run.
    successors: BTreeMap<ServiceId, i64>,
    /// What was not well at the last look.
    ailing: Option<Ailment>,
    /// How often a registry said that it has no such image.
    absent_images: u32,
}

/// Whether a look reads the last lines of what may not be well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excerpts {
    /// A failure would carry them.
    Wanted,
    /// Nothing can fail now, and reading them at every look would keep an idle device busy.
    Unwanted,
}

impl Trial {
    /// A trial that begins.
    pub(super) fn begun(now: Timestamp) -> Self {
        Self { since: Some(now), ..Self::default() }
    }

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

    /// Whether the next look shall read the last lines of what may not be well.
    pub fn excerpts(&self) -> Excerpts {
        match self.target().is_some_and(|held| self.is_on_trial(held)) {
            true => Excerpts::Wanted,
            false => Excerpts::Unwanted,
        }
    }

    /// The core dump that the newest failure names, if the controller shall have it. It has to have heard of the failure first.
    pub fn dump_to_send(&self) -> Option<&CoreDump> {
        self.reporting.taken()?.failure.as_ref()?.core_dump.as_ref().filter(|dump| dump.is_sent())
    }

    /// Whether the device has gone back to this.
    pub(super) fn went_back(&self, held: &Held) -> bool {
        self.durable.mark() != Some(held.mark)
    }

    /// What is not well, of what the last look found.
    pub(super) fn ailment(&mut self, held: &Held, now: Timestamp) -> Option<Ailment> {
        let observed = self.seen.as_ref().and_then(|look| look.apps.as_ref().ok())?;
        let of_engine = ailments(&held.spec.spec, observed, &self.vigil).into_iter().next();
        let found = of_engine.or_else(|| self.probe_ailment()).or_else(|| self.told_ailment(held));
        match &found {
            Some(Ailment { component, reason, message }) => {
                let failure = Failure { reason, message: format!("{component}: {message}") };
                self.conditions.fails(HEALTHY, &failure, now);
                self.trial.interrupt();
            }
            None => self.conditions.clear(HEALTHY),
        }
        self.trial.ailing.clone_from(&found);
        found
    }

    /// What was not well at the last look, whoever is to judge it.
    pub(super) fn ailing(&self) -> Option<Failure> {
        let Ailment { component, reason, message } = self.trial.ailing.as_ref()?;
        Some(Failure { reason, message: format!("{component}: {message}") })
    }

    /// The OS that an assignment brought, if it failed for good: what it is a part of cannot be reached any more. One that failed
    /// before is no news, and keeps nothing else from being brought.
    pub(super) fn failed_os(&self, held: &Held) -> Option<Ailment> {
        let os = held.spec.spec.os.as_ref()?;
        let failed = self.wanted.os.failure_of(os.key()).filter(|one| one.tried.of == held.mark.digest)?;
        // While the device is on its way back, that comes first.
        if self.wanted.os.underway.is_some() {
            return None;
        }
        let message = format!("{} {} {}: {}", os.name, os.version, failed.reason, failed.message);
        Some(Ailment { component: "os".to_owned(), reason: "OsUpdateFailed", message })
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
        if self.trial.ailing.is_some() || self.awaits_probes(held) {
            return false;
        }
        if self.awaits_words(held) {
            self.trial.interrupt();
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
        let dumps = self.seen.as_ref().map(|look| look.dumps.as_slice()).unwrap_or_default();
        let core_dump = self.trial.since.and_then(|since| CoreDump::of_attempt(dumps, since)).cloned();
        self.wanted.fail(TerminalFailure {
            digest: held.mark.digest,
            attempt: held.attempt,
            phase,
            component,
            reason: reason.to_owned(),
            message,
            log: log.unwrap_or_default(),
            core_dump,
            at: now,
            rolled_back_to: None,
        });
        self.trial.interrupt();
        self.show_end(now);
        self.work = super::work::Work::due();
    }

    /// Counts that an image is not there, and says whether that has been so for too long. All images come before anything is
    /// changed, so an assignment that fails by this has changed nothing, and it fails with and without a soak.
    pub(super) fn lacks_an_image_for_good(&mut self, held: &Held, failure: &Failure) -> bool {
        let was_good = self.wanted.good == Some(held.mark.digest);
        if failure.reason != NO_SUCH_IMAGE || self.wanted.mark() != Some(held.mark) || was_good {
            return false;
        }
        self.trial.absent_images = self.trial.absent_images.saturating_add(1);
        self.trial.absent_images >= MAX_IMAGE_TRIES
    }

    /// Whether an assignment failed for want of an image and the device has nothing to go back to: then it does not ask again.
    pub(super) fn asks_no_more(&self, held: &Held, steps: &[Action]) -> bool {
        let is_end_of_it = |end: &TerminalFailure| end.digest == held.mark.digest && end.reason == NO_SUCH_IMAGE;
        self.wanted.end().is_some_and(is_end_of_it) && steps.iter().any(|step| matches!(step, Action::Pull { .. }))
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

/// The reason of a failure that says that an image which an assignment names is not there.
const NO_SUCH_IMAGE: &str = "NoSuchImage";

#[cfg(test)]
mod laws;
#[cfg(test)]
mod os;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod words;
