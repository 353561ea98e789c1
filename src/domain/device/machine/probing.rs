//! The lane that asks services from outside whether they are well.

use super::{Effect, Machine, Timer};
use crate::domain::device::health::{Ailment, ServiceId, is_current};
use crate::domain::device::ledger::Held;
use crate::domain::reported::{ObservedService, ServiceState};
use crate::domain::spec::{Probe, ProbeCheck};
use std::collections::BTreeMap;

/// A probe of a service of a device.
pub type ProbeId = (ServiceId, String);

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which probe.
    pub id: ProbeId,
    /// What is asked.
    pub check: ProbeCheck,
    /// How many seconds the answer may take.
    pub timeout_secs: u32,
}

/// What came of a question: yes, or what is wrong. `None`: it could not be asked, which says nothing.
pub type Answered = (ProbeId, Option<Result<(), String>>);

/// The lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Probing {
    state: State,
    records: BTreeMap<ProbeId, Record>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Asking,
    /// A timer is set, for then.
    Waiting(i64),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Record {
    /// When it is asked next.
    due: i64,
    /// Failures in a row.
    failures: u32,
    has_passed: bool,
    wrong: String,
}

impl Probing {
    pub(super) fn timer_due(&mut self) {
        if let State::Waiting(_) = self.state {
            self.state = State::Idle;
        }
    }
}

impl Machine {
    /// The probes of services that run, by what the last look found.
    fn probes(&self) -> BTreeMap<ProbeId, Probe> {
        let observed = self.seen.as_ref().and_then(|look| look.apps.as_ref().ok());
        let (Some(held), Some(observed)) = (self.target(), observed) else { return BTreeMap::new() };
        let mut all = BTreeMap::new();
        for (app, wanted) in &held.spec.spec.apps {
            for (service, wanted) in &wanted.services {
                let found = observed.apps.get(app).and_then(|app| app.services.get(service));
                let is_asked =
                    |found: &ObservedService| found.state == ServiceState::Running && is_current(wanted, found);
                if wanted.probes.is_empty() || !found.is_some_and(is_asked) {
                    continue;
                }
                let probe =
                    |(name, probe): (&String, &Probe)| (((app.clone(), service.clone()), name.clone()), probe.clone());
                all.extend(wanted.probes.iter().map(probe));
            }
        }
        all
    }

    pub(super) fn advance_probing(&mut self, effects: &mut Vec<Effect>) {
        if self.probing.state == State::Asking {
            return;
        }
        let probes = self.probes();
        let now = self.steady_millis;
        // What does not run is asked anew once it does.
        self.probing.records.retain(|id, _| probes.contains_key(id));
        for id in probes.keys() {
            self.probing.records.entry(id.clone()).or_insert_with(|| Record { due: now, ..Record::default() });
        }
        let Some(next) = self.probing.records.values().map(|record| record.due).min() else { return };
        if next > now {
            if self.probing.state != State::Waiting(next) {
                self.probing.state = State::Waiting(next);
                effects.push(Effect::Wake { timer: Timer::Probe, after_millis: next - now });
            }
            return;
        }
        let due = probes.into_iter().filter(|(id, _)| self.probing.records[id].due <= now);
        let questions = due.map(|(id, Probe { check, timeout_secs, .. })| Question { id, check, timeout_secs });
        effects.push(Effect::Probe(questions.collect()));
        self.probing.state = State::Asking;
    }

    pub(super) fn probed(&mut self, answers: Vec<Answered>) {
        if self.probing.state != State::Asking {
            return;
        }
        self.probing.state = State::Idle;
        let before = (self.probe_ailment(), self.have_probes_passed());
        let probes = self.probes();
        for (id, answer) in answers {
            let (Some(probe), Some(record)) = (probes.get(&id), self.probing.records.get_mut(&id)) else { continue };
            record.due = self.steady_millis.saturating_add(i64::from(probe.interval_secs) * 1000);
            match answer {
                Some(Ok(())) => {
                    record.failures = 0;
                    record.has_passed = true;
                }
                Some(Err(wrong)) => {
                    record.failures = record.failures.saturating_add(1);
                    record.wrong = wrong;
                }
                None => {}
            }
        }
        if before != (self.probe_ailment(), self.have_probes_passed()) {
            // The work decides what follows from it.
            self.work.timer_due();
        }
    }

    /// A service whose probe fails for too long.
    pub(super) fn probe_ailment(&self) -> Option<Ailment> {
        self.probes().into_iter().find_map(|(id, probe)| {
            let record = self.probing.records.get(&id).filter(|record| record.failures >= probe.threshold)?;
            let ((app, service), name) = id;
            let message = format!("its probe `{name}` fails: {}", record.wrong);
            Some(Ailment { component: format!("{app}/{service}"), reason: "ProbeFailed", message })
        })
    }

    /// Whether every probe of what runs has passed at least once.
    pub(super) fn have_probes_passed(&self) -> bool {
        let has_passed = |id: &ProbeId| self.probing.records.get(id).is_some_and(|record| record.has_passed);
        self.probes().keys().all(has_passed)
    }

    /// Whether an assignment has probes that say nothing yet.
    pub(super) fn awaits_probes(&self, held: &Held) -> bool {
        held.soak_secs > 0 && !self.have_probes_passed()
    }
}
