//! What services say of their own health through the local API, and what it counts for.
//!
//! A word counts for the container that can have said it: what is made anew has said nothing yet, and what is about to be made anew
//! says nothing of what comes after it. How long a word lasts is counted on the clock that never jumps.

use super::Machine;
use super::conditions::SERVICES_HEALTHY;
use super::work::MAX_WAIT_SECS;
use crate::domain::condition::ConditionStatus;
use crate::domain::device::action::Action;
use crate::domain::device::health::{Ailment, ServiceId, is_current};
use crate::domain::device::ledger::Held;
use crate::domain::device::local::{HealthTold, Verdict};
use crate::domain::ids::{AppName, ServiceName};
use crate::domain::time::{Timestamp, show_secs};
use std::collections::BTreeMap;

/// What services said of themselves; at most one entry for each that is assigned. Nothing of it outlives the agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    by_service: BTreeMap<ServiceId, Word>,
}

#[derive(Clone, Debug, PartialEq)]
struct Word {
    told: HealthTold,
    /// From when on its silence counts, on the steady clock; `None` if it need not repeat itself.
    silent_from: Option<i64>,
}

impl Told {
    pub(super) fn of(&self, app: &AppName, service: &ServiceName) -> Option<&HealthTold> {
        self.by_service.get(&(app.clone(), service.clone())).map(|word| &word.told)
    }

    /// A step was done. A container that is new has said nothing.
    pub(super) fn done(&mut self, step: &Action) {
        if let Action::RemoveService { app, service, .. }
        | Action::CreateService { app, service, .. }
        | Action::CreateSuccessor { app, service, .. } = step
        {
            self.by_service.remove(&(app.clone(), service.clone()));
        }
    }
}

impl Word {
    /// For how many milliseconds it has said nothing that it should have said.
    fn silence(&self, steady_millis: i64) -> Option<i64> {
        self.silent_from.map(|from| steady_millis.saturating_sub(from)).filter(|millis| *millis >= 0)
    }

    fn complaint(&self) -> String {
        let words = if self.told.message.is_empty() { "without a word why" } else { &self.told.message };
        format!("says that it is not well: {words}")
    }
}

impl Machine {
    pub(super) fn health_told(&mut self, app: AppName, service: ServiceName, told: HealthTold, now: Timestamp) {
        let lasts = |until: Timestamp| until.millis().saturating_sub(told.at.millis());
        let silent_from = told.until.map(|until| self.steady_millis.saturating_add(lasts(until)));
        let is_bad = told.verdict == Verdict::Unhealthy;
        self.local.told.by_service.insert((app, service), Word { told, silent_from });
        self.judge_told_health(now);
        // Outside of a trial nothing follows from it, and whoever says it over and over must not make the device look over and over.
        if is_bad && self.target().is_some_and(|held| self.is_on_trial(held)) {
            self.work.timer_due();
        }
    }

    /// What services said, as one condition; only there if any said something.
    pub(super) fn judge_told_health(&mut self, now: Timestamp) {
        let spec = self.durable.target().map(|held| &held.spec.spec);
        let is_assigned = |(app, service): &ServiceId| {
            spec.and_then(|spec| spec.apps.get(app)).is_some_and(|app| app.services.contains_key(service))
        };
        self.local.told.by_service.retain(|id, _| is_assigned(id));
        let all = &self.local.told.by_service;
        let unwell = all.iter().find(|(_, word)| word.told.verdict == Verdict::Unhealthy);
        let silent = all.iter().find(|(_, word)| word.silence(self.steady_millis).is_some());
        match (unwell, silent, all.is_empty()) {
            (Some(((app, service), word)), _, _) => {
                let message = format!("{app}/{service} {}", word.complaint());
                self.conditions.set(SERVICES_HEALTHY, ConditionStatus::False, "ToldUnhealthy", &message, now);
            }
            (None, Some(((app, service), _)), _) => {
                let message = format!("{app}/{service} has not said for too long that it is well");
                self.conditions.set(SERVICES_HEALTHY, ConditionStatus::Unknown, "Silent", &message, now);
            }
            (None, None, false) => self.conditions.holds(SERVICES_HEALTHY, "ToldHealthy", now),
            (None, None, true) => self.conditions.clear(SERVICES_HEALTHY),
        }
    }

    /// The words of containers that are what is wanted.
    fn words(&self, held: &Held) -> impl Iterator<Item = (&ServiceId, &Word)> {
        let observed = self.seen.as_ref().and_then(|look| look.apps.as_ref().ok());
        let counts = move |(app, service): &ServiceId| {
            let wanted = held.spec.spec.apps.get(app).and_then(|app| app.services.get(service));
            let found = observed.and_then(|observed| observed.apps.get(app)).and_then(|app| app.services.get(service));
            wanted.zip(found).is_some_and(|(wanted, found)| is_current(wanted, found))
        };
        self.local.told.by_service.iter().filter(move |(id, _)| counts(id))
    }

    /// A service that says that it is not well, or that has been silent for longer than anybody waits.
    pub(super) fn told_ailment(&self, held: &Held) -> Option<Ailment> {
        self.words(held).find_map(|((app, service), word)| {
            let component = format!("{app}/{service}");
            if word.told.verdict == Verdict::Unhealthy {
                return Some(Ailment {
                    component,
                    reason: "ToldUnhealthy",
                    message: format!("it {}", word.complaint()),
                });
            }
            word.silence(self.steady_millis).filter(|millis| *millis > MAX_WAIT_SECS * 1000).map(|_| {
                let message = format!(
                    "it should have said that it is well, and has been silent for {}",
                    show_secs(MAX_WAIT_SECS)
                );
                Ailment { component, reason: "Silent", message }
            })
        })
    }

    /// Whether a service owes a word: what is not known to be well has not soaked.
    pub(super) fn awaits_words(&self, held: &Held) -> bool {
        self.words(held).any(|(_, word)| word.silence(self.steady_millis).is_some())
    }
}
