//! The lane of device actions: one at a time, in the order of their numbers, each begun at most once.
//!
//! ```text
//! Idle ─► Noted ─► Running ─► Idle …            Running ─► Rebooting ─(timer)─► Idle
//! ```
//!
//! The number is in the ledger before anything is done, so a crash can lose what came of an action and never repeats one. Work
//! and actions exclude each other: both change the same containers.

use super::conditions::LAST_ACTION;
use super::work::Work;
use super::{Effect, Machine, Timer};
use crate::domain::actions::{
    ActionResult, ActionsReport, DeviceAction, LockRule, MAX_OPEN_ACTIONS, MAX_REPORTED_RESULTS, MAX_RESULT_BYTES,
    Outcome, RequestedAction, tag,
};
use crate::domain::condition::ConditionStatus;
use crate::domain::device::action::Failure;
use crate::domain::device::errand::{Errand, deed, errands, not_supported};
use crate::domain::device::ledger::Begun;
use crate::domain::device::local::VolumePath;
use crate::domain::device::locks::{Respect, locked};
use crate::domain::ids::Actor;
use crate::domain::planted::{Bug, planted};
use crate::domain::spec::DeviceSpec;
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// How long the machine may take to go down, in milliseconds: services stop in good order first, and then it has not worked.
const REBOOT_MILLIS: i64 = 600_000;
/// How long something that was asked for on the device may wait, in seconds.
const LOCAL_SECS: i64 = 600;

/// The number of what was asked for on the device itself. The controller's begin at 1.
const LOCAL: u64 = 0;

/// The lane's state, and what the controller listed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Actions {
    /// Open actions, as the controller listed them last.
    listed: Vec<RequestedAction>,
    state: State,
    /// What became of listed actions.
    results: BTreeMap<u64, ActionResult>,
    /// For what listed actions wait.
    waiting: BTreeMap<u64, String>,
    /// What somebody on the device asked for: one at a time, with number [`LOCAL`]. Whoever asked can ask again, so the ledger
    /// does not have it.
    local: Option<RequestedAction>,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum State {
    #[default]
    Idle,
    /// Waits for the ledger, and for the work lane to rest.
    Noted(Box<RequestedAction>),
    /// Under way.
    Running(Box<RequestedAction>),
    /// The machine was told to restart; if it does not, a timer ends the wait.
    Rebooting(Box<RequestedAction>),
}

impl Actions {
    /// Whether the device is being changed by an action.
    pub(super) fn is_running(&self) -> bool {
        match self.state {
            State::Idle | State::Noted(_) | State::Rebooting(_) => false,
            State::Running(_) => true,
        }
    }

    fn current(&self) -> Option<u64> {
        match &self.state {
            State::Idle => None,
            State::Noted(request) | State::Running(request) | State::Rebooting(request) => Some(request.number),
        }
    }
}

impl Machine {
    /// Names the list of actions that was believed last.
    pub fn actions_tag(&self) -> String {
        tag(&self.actions.listed)
    }

    /// What a new start knows of the action that was under way when the last one ended.
    pub(super) fn recall_action(&mut self, now: Timestamp) {
        let Some(Begun { number, reboot_from }) = self.wanted.actions.begun.clone() else { return };
        let restarted = reboot_from.is_some_and(|before| self.boot().is_some_and(|boot| boot != before));
        let (outcome, message) = if restarted {
            (Outcome::Done, "the machine restarted")
        } else {
            (Outcome::Interrupted, "the agent ended while it was at it")
        };
        self.conclude(number, outcome, &Failure { reason: word(outcome), message: message.to_owned() }, None, now);
    }

    /// The name of this run of the operating system, where it is known.
    fn boot(&self) -> Option<&str> {
        self.about.attributes.get("boot_id").map(String::as_str)
    }

    /// The controller's list. Numbers that were never seen are open; all others were begun or taken back before.
    pub(super) fn list_actions(&mut self, mut list: Vec<RequestedAction>, now: Timestamp) {
        list.sort_by_key(|action| action.number);
        list.truncate(MAX_OPEN_ACTIONS);
        let numbers: BTreeSet<u64> = list.iter().map(|action| action.number).collect();
        let current = self.actions.current();
        let ledger = &mut self.wanted.actions;
        let seen = ledger.last;
        ledger.open.extend(numbers.iter().filter(|number| **number > seen));
        ledger.open.retain(|number| numbers.contains(number));
        ledger.last = seen.max(numbers.last().copied().unwrap_or(0));
        if ledger.begun.as_ref().is_some_and(|begun| !numbers.contains(&begun.number) && current != Some(begun.number))
        {
            ledger.begun = None;
        }
        self.actions.results.retain(|number, _| numbers.contains(number));
        self.actions.waiting.retain(|number, _| numbers.contains(number));
        self.actions.listed = list;
        for number in numbers {
            let is_known = self.wanted.actions.open.contains(&number)
                || self.actions.results.contains_key(&number)
                || current == Some(number);
            if !is_known {
                let message = "it was begun before, and what came of it is not known any more".to_owned();
                let failure = Failure { reason: word(Outcome::Interrupted), message };
                self.conclude(number, Outcome::Interrupted, &failure, None, now);
            }
        }
    }

    /// Whether something that was asked for on the device is not done yet.
    pub(super) fn has_local_action(&self) -> bool {
        self.actions.local.is_some() || self.actions.current() == Some(LOCAL)
    }

    /// Takes what somebody on the device asked for.
    pub(super) fn ask_locally(&mut self, VolumePath { app, volume }: VolumePath, now: Timestamp) {
        if self.has_local_action() {
            return;
        }
        self.actions.local = Some(RequestedAction {
            number: LOCAL,
            action: DeviceAction::PurgeVolume { app, volume },
            locks: LockRule::Respected,
            actor: Actor::controller(),
            reason: String::new(),
            requested_at: now,
            expires: now.plus_secs(LOCAL_SECS),
        });
        self.work.timer_due();
    }

    /// Notes the next action in the ledger, before the ledger is written.
    pub(super) fn pick_action(&mut self, now: Timestamp) {
        if self.actions.state != State::Idle || self.seen.is_none() || self.work != Work::Resting {
            return;
        }
        if let Some(request) = self.actions.local.take() {
            self.actions.state = State::Noted(Box::new(request));
            return;
        }
        let open: Vec<RequestedAction> =
            self.actions.listed.iter().filter(|one| self.wanted.actions.open.contains(&one.number)).cloned().collect();
        for request in open {
            let number = request.number;
            if request.expires <= now {
                let message = format!("it expired at {}", request.expires);
                self.refuse_action(number, &Failure { reason: "Expired", message }, now);
                continue;
            }
            if request.action == DeviceAction::Unknown {
                self.refuse_action(number, &not_supported(), now);
                continue;
            }
            if let Some(why) = self.action_waits_for(&request) {
                self.actions.waiting.insert(number, why);
                continue;
            }
            self.actions.waiting.remove(&number);
            if !planted(Bug::RepeatActions) {
                self.wanted.actions.open.remove(&number);
            }
            let reboot_from = match request.action {
                DeviceAction::Reboot => Some(self.boot().unwrap_or_default().to_owned()),
                DeviceAction::RestartService { .. }
                | DeviceAction::RestartAll
                | DeviceAction::PurgeVolume { .. }
                | DeviceAction::CollectLogs { .. }
                | DeviceAction::Unknown => None,
            };
            self.wanted.actions.begun = Some(Begun { number, reboot_from });
            self.actions.state = State::Noted(Box::new(request));
            return;
        }
    }

    /// What keeps an action from being begun now.
    fn action_waits_for(&self, request: &RequestedAction) -> Option<String> {
        let Some(look) = &self.seen else { return Some("the first look at the device".to_owned()) };
        match (&request.action, &look.apps) {
            (DeviceAction::Reboot | DeviceAction::Unknown, _) | (_, Ok(_)) => {}
            (_, Err(failure)) => return Some(failure.to_string()),
        }
        let respect = match request.locks {
            LockRule::Respected => Respect::Locks,
            LockRule::Overridden => Respect::Nothing,
        };
        // What cannot be done at all is found out when it is begun.
        let errands = self.errands_of(request).unwrap_or_default();
        let lock = errands.iter().filter_map(deed).find_map(|deed| look.locks.in_the_way(deed, respect))?;
        Some(locked(lock).to_string())
    }

    fn errands_of(&self, request: &RequestedAction) -> Result<Vec<Errand>, Failure> {
        let nothing = DeviceSpec::default();
        let spec = self.target().map_or(&nothing, |held| &held.spec.spec);
        let none = BTreeMap::new();
        let look = self.seen.as_ref().and_then(|look| look.apps.as_ref().ok());
        errands(&request.action, spec, look.map_or(&none, |observed| &observed.apps))
    }

    /// Begins what the ledger holds.
    pub(super) fn begin_action(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.is_durable() || self.work != Work::Resting {
            return;
        }
        match std::mem::take(&mut self.actions.state) {
            State::Noted(request) => match self.errands_of(&request) {
                Ok(errands) => {
                    effects.push(Effect::Errands(errands));
                    self.actions.state = State::Running(request);
                }
                Err(failure) => self.conclude(request.number, Outcome::Failed, &failure, None, now),
            },
            other @ (State::Idle | State::Running(_) | State::Rebooting(_)) => self.actions.state = other,
        }
    }

    pub(super) fn errands_ended(
        &mut self,
        ended: Result<Option<String>, Failure>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let request = match std::mem::take(&mut self.actions.state) {
            State::Running(request) => request,
            other @ (State::Idle | State::Noted(_) | State::Rebooting(_)) => {
                self.actions.state = other;
                return;
            }
        };
        match ended {
            // That it was asked for is not that it happened; the next start of the agent tells.
            Ok(_) if request.action == DeviceAction::Reboot && self.boot().is_some() => {
                effects.push(Effect::Wake { timer: Timer::Reboot, after_millis: REBOOT_MILLIS });
                self.actions.state = State::Rebooting(request);
                return;
            }
            Ok(log) => {
                let done = Failure { reason: word(Outcome::Done), message: String::new() };
                self.conclude(request.number, Outcome::Done, &done, log, now);
            }
            Err(failure) => self.conclude(request.number, Outcome::Failed, &failure, None, now),
        }
        // What the action did is looked at, and what it took down is mended.
        self.work.timer_due();
    }

    pub(super) fn reboot_timer_due(&mut self, now: Timestamp) {
        if let State::Rebooting(request) = &self.actions.state {
            let number = request.number;
            self.actions.state = State::Idle;
            let message = "the machine was told to restart and has not done so for ten minutes".to_owned();
            self.conclude(number, Outcome::Failed, &Failure { reason: "NotRestarted", message }, None, now);
        }
    }

    fn refuse_action(&mut self, number: u64, failure: &Failure, now: Timestamp) {
        self.wanted.actions.open.remove(&number);
        self.conclude(number, Outcome::Refused, failure, None, now);
    }

    fn conclude(&mut self, number: u64, outcome: Outcome, why: &Failure, log: Option<String>, now: Timestamp) {
        let message = why.message[..why.message.floor_char_boundary(MAX_RESULT_BYTES)].to_owned();
        self.actions.waiting.remove(&number);
        if number == LOCAL {
            let status = if outcome == Outcome::Done { ConditionStatus::True } else { ConditionStatus::False };
            return self.conditions.set(LAST_ACTION, status, why.reason, &message, now);
        }
        let result = ActionResult { number, outcome, reason: why.reason.to_owned(), message, at: now, log };
        self.actions.results.insert(number, result);
    }

    pub(super) fn actions_report(&self) -> ActionsReport {
        ActionsReport {
            last: self.durable.actions.last,
            waiting: self.actions.waiting.clone(),
            results: self.actions.results.values().take(MAX_REPORTED_RESULTS).cloned().collect(),
        }
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "Done",
        Outcome::Failed => "Failed",
        Outcome::Refused => "Refused",
        Outcome::Interrupted => "Interrupted",
    }
}
