//! The lane that reports: whole, only when something changed, and not too often.

use super::work::Work;
use super::{Effect, Machine, Timer, Write};
use crate::domain::device::backoff::{Backoff, Draws};
use crate::domain::ids::DeviceId;
use crate::domain::planted::{Bug, planted};
use crate::domain::reported::{MAX_FOUND, Report, ReportId};

/// Reports that may go out one after the other.
const BURST: i64 = 10;
/// Milliseconds after which one more may go: ten a minute, however much a device flaps.
const REFILL_MILLIS: i64 = 6000;
/// Back-off after errors.
const RETRY: Backoff = Backoff { base_millis: 1000, cap_millis: 300_000 };

/// The lane's state and its counters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reporting {
    state: State,
    draws: Draws,
    seq: u64,
    failures: u32,
    demand: Demand,
    /// What the controller last took, with `seq` 0, and which report that was.
    answered: Option<(ReportId, Box<Report>)>,
    /// How many differences were found when the last report that came to an end was made.
    told: u64,
    bucket: Bucket,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Idle,
    Sending {
        content: Box<Report>,
        found: u64,
    },
    /// A timer is set.
    Waiting,
}

/// Whether a report goes out even if it says the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    IfChanged,
    Anyway,
}

impl Reporting {
    pub(super) fn new(device: &DeviceId, start: u64, steady_millis: i64) -> Self {
        Self {
            state: State::Idle,
            draws: Draws::new(device, start, "report"),
            seq: 0,
            failures: 0,
            demand: Demand::Anyway,
            answered: None,
            told: 0,
            bucket: Bucket { tokens_millis: BURST * REFILL_MILLIS, filled_at: steady_millis },
        }
    }

    /// The next report goes out even if nothing changed.
    pub(super) fn force(&mut self) {
        self.demand = Demand::Anyway;
    }

    /// The newest report that the controller has taken.
    pub(super) fn taken(&self) -> Option<&Report> {
        self.answered.as_ref().map(|(_, content)| &**content)
    }

    pub(super) fn answered(&mut self) {
        if let State::Sending { content, found } = std::mem::replace(&mut self.state, State::Idle) {
            self.answered = Some((ReportId { start: content.start, seq: self.seq }, content));
            self.told = found;
            self.failures = 0;
        }
    }

    /// A controller that took a report and has only older ones was restored from a backup.
    pub(super) fn recorded(&mut self, newest: ReportId) {
        if self.answered.as_ref().is_some_and(|(taken, _)| newest < *taken) {
            self.force();
        }
    }

    pub(super) fn failed(&mut self, retry_after_secs: Option<u64>, effects: &mut Vec<Effect>) {
        let State::Sending { found, .. } = self.state else { return };
        // An unreachable controller must not keep a device from being mended: what was found stays in the next report.
        self.told = found;
        self.failures = self.failures.saturating_add(1);
        // Whether it arrived is not known, nor whether it was only sent to be sure: it goes out again whatever it says then.
        self.demand = Demand::Anyway;
        self.state = State::Waiting;
        let after_millis = RETRY.wait_honouring(self.failures, self.draws.draw(), retry_after_secs);
        effects.push(Effect::Wake { timer: Timer::Report, after_millis });
    }

    pub(super) fn timer_due(&mut self) {
        if self.state == State::Waiting {
            self.state = State::Idle;
        }
    }
}

impl Machine {
    /// Whether everything that was found has been sent, or could not be.
    pub(super) fn has_told_what_it_found(&self) -> bool {
        self.reporting.told >= self.found_total || planted(Bug::MendUntold)
    }

    pub(super) fn advance_reporting(&mut self, effects: &mut Vec<Effect>) {
        // Nothing is known before the first look, and a start whose number is not durable must not be told.
        if self.seen.is_none() || self.durable.starts != self.wanted.starts {
            return;
        }
        // What is being written or looked at is told in the same report: both end soon.
        if matches!(self.write, Write::Writing(_)) || matches!(self.work, Work::Due(_) | Work::Looking(..)) {
            return;
        }
        let urgent = matches!(self.work, Work::Ready { .. }) && !self.has_told_what_it_found();
        match self.reporting.state {
            State::Idle => {}
            State::Waiting if urgent => {}
            State::Waiting | State::Sending { .. } => return,
        }
        let content = self.report();
        let changed = self.reporting.answered.as_ref().map(|(_, taken)| taken.as_ref()) != Some(&content);
        if !changed && self.reporting.demand == Demand::IfChanged {
            return;
        }
        if !urgent && let Err(after_millis) = self.reporting.bucket.take(self.steady_millis) {
            self.reporting.state = State::Waiting;
            effects.push(Effect::Wake { timer: Timer::Report, after_millis });
            return;
        }
        self.reporting.seq += 1;
        self.reporting.demand = Demand::IfChanged;
        let report = Report { seq: self.reporting.seq, ..content.clone() };
        self.reporting.state = State::Sending { content: Box::new(content), found: self.found_total };
        effects.push(Effect::Report(Box::new(report)));
    }

    /// Everything that there is to say, with `seq` 0. What the device runs comes from the last look alone.
    fn report(&self) -> Report {
        let look = self.seen.as_ref();
        Report {
            start: self.durable.starts,
            start_id: self.start_id.clone(),
            seq: 0,
            observed: self.durable.mark(),
            applied: self.durable.applied,
            phase: self.phase,
            conditions: self.conditions.all(),
            apps: look.and_then(|look| look.apps.as_ref().ok()).map(|observed| observed.apps.clone()),
            os: look.and_then(|look| look.os.as_ref().ok()?.as_ref()).map(|found| found.running.clone()),
            os_update: self.os.told.clone(),
            host: self.observed_host(),
            found: self.found.clone(),
            refused: self.refused.clone(),
            failure: self.durable.end().cloned().or_else(|| self.host_failure()),
            locks: look.map(|look| look.locks.held.clone()).unwrap_or_default(),
            actions: Some(self.actions_report()),
            branch: self.about.branch.clone(),
            attributes: self.about.attributes.clone(),
        }
    }

    /// Keeps the newest differences.
    pub(super) fn bound_found(&mut self) {
        let surplus = self.found.len().saturating_sub(MAX_FOUND);
        self.found.drain(..surplus);
    }
}

/// How many reports may go out, counted in milliseconds of refilling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    tokens_millis: i64,
    /// On the clock that never jumps.
    filled_at: i64,
}

impl Bucket {
    /// Takes one, or says in how many milliseconds there is one.
    fn take(&mut self, steady_millis: i64) -> Result<(), i64> {
        let passed = steady_millis.saturating_sub(self.filled_at).max(0);
        self.tokens_millis = self.tokens_millis.saturating_add(passed).min(BURST * REFILL_MILLIS);
        self.filled_at = steady_millis;
        if self.tokens_millis < REFILL_MILLIS {
            return Err(REFILL_MILLIS - self.tokens_millis);
        }
        self.tokens_millis -= REFILL_MILLIS;
        Ok(())
    }
}
