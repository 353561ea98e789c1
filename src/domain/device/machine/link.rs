//! The lane that asks for news and accepts or refuses what is offered.

use super::conditions::{ACTIONS_ACCEPTED, ASSIGNMENT_ACCEPTED};
use super::{Effect, Machine, PollMode, Timer};
use crate::domain::actions::RequestedAction;
use crate::domain::assignment::{AcceptError, Accepted, Mark, accept};
use crate::domain::condition::ConditionStatus;
use crate::domain::device::action::Failure;
use crate::domain::device::backoff::{Backoff, Draws, first_poll_millis, next_poll_millis};
use crate::domain::device::ledger::Held;
use crate::domain::ids::DeviceId;
use crate::domain::planted::{Bug, planted};
use crate::domain::reported::Refusal;
use crate::domain::time::Timestamp;

/// How long the controller may hold a poll, in seconds. Its own bound is the same.
const WAIT_SECS: u64 = 60;

/// Back-off after errors. A controller that comes back is noticed within five minutes by everybody.
const RETRY: Backoff = Backoff { base_millis: 1000, cap_millis: 300_000 };

/// How long a list of actions that was not believed is not asked for again: a clock that was wrong may be right by then.
const UNBELIEVED_MILLIS: i64 = 300_000;

/// An answer that brought nothing new sooner than this after its poll was not held: the next poll waits with back-off, or a
/// controller that cannot hold polls would be asked in a circle.
const MIN_HELD_MILLIS: i64 = 500;

/// The lane's state and its counters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    state: State,
    draws: Draws,
    /// Errors and refusals in a row.
    failures: u32,
    /// Answers in a row that came too soon.
    hasty: u32,
    /// The name of a list of actions that was not believed, and until when on the steady clock it counts as known.
    unbelieved: Option<(String, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A timer is set.
    Paused,
    /// Polls as soon as possible.
    Due,
    /// A poll is under way since then, on the clock that never jumps.
    Polling(i64),
    /// Polls once the ledger holds what was accepted, so that the poll carries its tag.
    AfterWrite,
}

impl Link {
    pub(super) fn new(device: &DeviceId, start: u64) -> Self {
        Self { state: State::Due, draws: Draws::new(device, start, "poll"), failures: 0, hasty: 0, unbelieved: None }
    }

    pub(super) fn timer_due(&mut self) {
        if self.state == State::Paused {
            self.state = State::Due;
        }
    }

    fn pause(&mut self, after_millis: i64, effects: &mut Vec<Effect>) {
        self.state = State::Paused;
        effects.push(Effect::Wake { timer: Timer::Link, after_millis });
    }
}

impl Machine {
    /// Polls are spread after a start; a device that never had an assignment asks at once, somebody is waiting for it.
    pub(super) fn begin_polling(&mut self, effects: &mut Vec<Effect>) {
        if self.wanted.accepted.is_none() && self.wanted.starts <= 1 {
            return;
        }
        let share = self.link.draws.draw();
        let after_millis = first_poll_millis(self.poll_interval_secs(), share);
        self.link.pause(after_millis, effects);
    }

    pub(super) fn advance_link(&mut self, effects: &mut Vec<Effect>) {
        if self.link.state == State::AfterWrite && self.is_durable() {
            self.link.state = State::Due;
        }
        if self.link.state != State::Due {
            return;
        }
        self.link.state = State::Polling(self.steady_millis);
        self.link.unbelieved.take_if(|(_, until)| *until <= self.steady_millis);
        let wait_secs = match self.pace.poll {
            PollMode::Long => WAIT_SECS,
            PollMode::Plain => 0,
        };
        effects.push(Effect::Poll { etag: self.durable.mark().map(|mark| mark.etag()), wait_secs });
    }

    pub(super) fn offered(&mut self, held: Held, now: Timestamp, effects: &mut Vec<Effect>) {
        let offered = held.mark;
        match accept(self.wanted.mark().as_ref(), &offered) {
            Ok(Accepted::Newer) => {
                self.answered_well(now);
                self.wanted.accept(held);
                if planted(Bug::SkipLedger) {
                    self.durable.accepted.clone_from(&self.wanted.accepted);
                }
                self.link.hasty = 0;
                self.after_answer(State::AfterWrite, effects);
            }
            // The controller did not know that it is here already: tell it again.
            Ok(Accepted::Same) => {
                self.answered_well(now);
                self.reporting.force();
                self.after_held_answer(effects);
            }
            Err(error) => self.refuse(refusal(offered, &error), now, effects),
        }
    }

    pub(super) fn not_modified(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.answered_well(now);
        if self.link.unbelieved.is_none() {
            self.conditions.clear(ACTIONS_ACCEPTED);
        }
        self.after_held_answer(effects);
    }

    pub(super) fn nothing_assigned(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.answered_well(now);
        self.after_held_answer(effects);
    }

    /// Open actions. A list that was known already came because the controller cannot hold polls.
    pub(super) fn actions_offered(&mut self, list: Vec<RequestedAction>, now: Timestamp, effects: &mut Vec<Effect>) {
        self.answered_well(now);
        self.link.unbelieved = None;
        self.conditions.clear(ACTIONS_ACCEPTED);
        let before = self.actions_tag();
        self.list_actions(list, now);
        if self.actions_tag() == before {
            return self.after_held_answer(effects);
        }
        self.link.hasty = 0;
        self.after_answer(State::Due, effects);
    }

    /// A list of actions that was not believed, such as by a device whose clock is wrong. What the list is called counts as known for
    /// a while: polls are held again, and an assignment comes as soon as there is one.
    pub(super) fn actions_refused(
        &mut self,
        tag: String,
        failure: &Failure,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        // Told once: the words of the next refusal may differ by nothing but the time.
        if self.conditions.reason(ACTIONS_ACCEPTED) != Some(failure.reason) {
            self.conditions.fails(ACTIONS_ACCEPTED, failure, now);
        }
        self.link.unbelieved = Some((tag, self.steady_millis.saturating_add(UNBELIEVED_MILLIS)));
        self.after_held_answer(effects);
    }

    /// Names the list of actions that need not be sent, for polls.
    pub fn known_actions(&self) -> String {
        self.link.unbelieved.as_ref().map_or_else(|| self.actions_tag(), |(tag, _)| tag.clone())
    }

    /// Keeps what runs, says why, and asks again later.
    pub(super) fn refuse(&mut self, refusal: Refusal, now: Timestamp, effects: &mut Vec<Effect>) {
        self.conditions.set(ASSIGNMENT_ACCEPTED, ConditionStatus::False, &refusal.reason, &refusal.message, now);
        self.refused = Some(refusal);
        self.reporting.force();
        self.retry_poll(None, effects);
    }

    pub(super) fn link_failed(&mut self, retry_after_secs: Option<u64>, effects: &mut Vec<Effect>) {
        self.retry_poll(retry_after_secs, effects);
    }

    /// The write that a poll waited for failed: poll all the same, with the old tag, after a pause.
    pub(super) fn release_after_failed_write(&mut self, effects: &mut Vec<Effect>) {
        if self.link.state == State::AfterWrite {
            self.pause_an_interval(effects);
        }
    }

    fn retry_poll(&mut self, retry_after_secs: Option<u64>, effects: &mut Vec<Effect>) {
        self.link.failures = self.link.failures.saturating_add(1);
        let share = self.link.draws.draw();
        let after_millis = RETRY.wait_honouring(self.link.failures, share, retry_after_secs);
        self.link.pause(after_millis, effects);
    }

    fn answered_well(&mut self, now: Timestamp) {
        if self.link.failures > 0 {
            // The controller may have been restored meanwhile and not know the last report. It is there again: no need to wait.
            self.reporting.force();
            self.reporting.timer_due();
        }
        self.link.failures = 0;
        if self.refused.take().is_some() {
            self.conditions.holds(ASSIGNMENT_ACCEPTED, "Accepted", now);
        }
    }

    /// After an answer without news: at once if the poll was held, later if it was not.
    fn after_held_answer(&mut self, effects: &mut Vec<Effect>) {
        let hasty = match self.link.state {
            State::Polling(since) => self.steady_millis.saturating_sub(since) < MIN_HELD_MILLIS,
            State::Paused | State::Due | State::AfterWrite => false,
        };
        if !hasty || self.pace.poll == PollMode::Plain {
            self.link.hasty = 0;
            return self.after_answer(State::Due, effects);
        }
        self.link.hasty = self.link.hasty.saturating_add(1);
        let share = self.link.draws.draw();
        let cap_millis = i64::from(self.poll_interval_secs()) * 1000;
        let after_millis = Backoff { base_millis: RETRY.base_millis, cap_millis }.wait_millis(self.link.hasty, share);
        self.link.pause(after_millis, effects);
    }

    fn after_answer(&mut self, next: State, effects: &mut Vec<Effect>) {
        match self.pace.poll {
            PollMode::Long => self.link.state = next,
            PollMode::Plain => self.pause_an_interval(effects),
        }
    }

    fn pause_an_interval(&mut self, effects: &mut Vec<Effect>) {
        let share = self.link.draws.draw();
        let after_millis = next_poll_millis(self.poll_interval_secs(), share);
        self.link.pause(after_millis, effects);
    }

    /// The spec's interval before the agent's own. What failed has no say any more.
    fn poll_interval_secs(&self) -> u32 {
        // One that was just accepted counts: the pause that begins now may be the last long one.
        let assigned = self.wanted.target().and_then(|held| held.spec.spec.config.poll_interval_secs);
        assigned.unwrap_or(self.pace.poll_interval_secs).clamp(1, 86_400)
    }
}

/// A refusal as it is reported.
fn refusal(offered: Mark, error: &AcceptError) -> Refusal {
    let reason = match error {
        AcceptError::Outdated { .. } => "Outdated",
        AcceptError::ContentChanged { .. } => "ContentChanged",
    };
    Refusal { offered: Some(offered), reason: reason.to_owned(), message: error.to_string() }
}
