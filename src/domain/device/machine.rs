//! The agent's state machine: an event in, the next state and effects out. It performs nothing and knows no clock.
//!
//! Four lanes run side by side, each an enum of its own, because a slow pull must not stop polls and a silent controller
//! must not stop repairs:
//!
//! ```text
//! work       Due ─► Looking ─► Ready ─► Acting ─► Due …        Resting ─(timer)─► Due
//! link       Due ─► Polling ─► AfterWrite ─► Due …             Paused ─(timer)─► Due
//! probing    Idle ─► Asking ─► Idle …                          Waiting ─(timer)─► Idle
//! reporting  Idle ─► Sending ─► Idle …                         Waiting ─(timer)─► Idle
//! ```
//!
//! What holds whatever happens:
//! - an assignment is in the ledger before anything is done for it ([`Effect::Persist`] is answered before [`Effect::Act`]);
//! - steps come from a look of the same turn, and every turn ends with another look: nothing is believed because it was done;
//! - a difference from something that had been reached is reported before it is mended;
//! - a report says only what a look returned;
//! - with no assignment nothing is touched.

mod actions;
mod conditions;
mod host;
mod link;
mod local;
mod os;
mod probing;
mod reporting;
mod told;
mod trial;
mod windows;
mod work;

#[cfg(test)]
mod actions_tests;
#[cfg(test)]
mod bad_moments;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod images;
#[cfg(test)]
mod kill_matrix;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod os_tests;
#[cfg(test)]
mod tests;

use super::action::{Action, Failure};
use super::backoff::Draws;
use super::dump::CoreDump;
use super::errand::Errand;
use super::health::{ServiceId, Vigil};
use super::host::{FoundHost, HookEnd, HookFailure};
use super::ledger::{Held, Ledger};
use super::local::{HealthTold, VolumePath};
use super::locks::{Locks, Respect, locked};
use super::os::FoundOs;
use super::progress::Progress;
use super::steps::Observed;
use crate::domain::actions::RequestedAction;
use crate::domain::drift::Difference;
use crate::domain::ids::{AppName, DeviceId, ServiceName, StageName};
use crate::domain::reported::{Found, Phase, Refusal, Report, ReportId};
use crate::domain::spec::Subject;
use crate::domain::time::Timestamp;
use actions::Actions;
use conditions::Conditions;
use host::HostLane;
use link::Link;
use local::Local;
use os::OsLane;
use probing::Probing;
pub use probing::{Answered, ProbeId, Question};
use reporting::Reporting;
use std::collections::{BTreeMap, BTreeSet};
pub use trial::Excerpts;
use trial::Trial;
use work::Work;

/// What the agent says of itself in every report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The device.
    pub device: DeviceId,
    /// The stage that it chooses, for `branch: {from: device}`.
    pub branch: Option<StageName>,
    /// Facts such as `arch` or `agent_version`.
    pub attributes: BTreeMap<String, String>,
}

/// How often things are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Whether polls are held open.
    pub poll: PollMode,
    /// Seconds between polls at start, after errors and in plain mode. A spec's `poll_interval_secs` goes before it.
    pub poll_interval_secs: u32,
    /// Seconds between looks while everything is as it should be.
    pub look_interval_secs: u32,
    /// Seconds for which everything has to be well before an OS on trial is kept.
    pub os_soak_secs: u32,
    /// Seconds after which an OS on trial that has not proved itself is left again.
    pub os_trial_secs: u32,
    /// Seconds that a device may take to go down and come back before it is looked at again.
    pub reboot_secs: u32,
}

/// Whether polls are held open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMode {
    /// The controller holds a poll until there is news.
    Long,
    /// Every poll is answered at once.
    Plain,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: PollMode::Long,
            poll_interval_secs: 60,
            look_interval_secs: 30,
            os_soak_secs: 60,
            os_trial_secs: 900,
            // Services are given time to end.
            reboot_secs: 300,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The controller offered an assignment, and its envelope was believed.
    Offered(Box<Held>),
    /// The controller offered something that was not believed.
    Refused(Refusal),
    /// Comes before an answer to a poll: the newest report that the controller has.
    Recorded(ReportId),
    /// The controller has nothing newer than the entity tag that the poll carried.
    NotModified,
    /// The controller has nothing for this device.
    NothingAssigned,
    /// A poll came to nothing.
    LinkFailed {
        /// Why.
        failure: Failure,
        /// `Retry-After`, if the answer had one.
        retry_after_secs: Option<u64>,
    },
    /// A look ended.
    Looked(Box<Look>),
    /// Images are on their way.
    Brought(Progress),
    /// The action was performed.
    Done,
    /// The action failed.
    Failed(Failure),
    /// The host was changed, apart from what is listed with why it could not be.
    HostChanged(BTreeMap<Subject, Failure>),
    /// A hook ended.
    HookEnded(Result<HookEnd, HookFailure>),
    /// The ledger was written, durably.
    Persisted,
    /// The ledger could not be written; the previous one stands.
    PersistFailed(Failure),
    /// The controller took the report.
    ReportAnswered,
    /// The report came to nothing.
    ReportFailed {
        /// Why.
        failure: Failure,
        /// `Retry-After`, if the answer had one.
        retry_after_secs: Option<u64>,
    },
    /// Services were asked whether they are well.
    Probed(Vec<Answered>),
    /// A timer ran out.
    TimerDue(Timer),
    /// The controller listed the open actions, and its envelope was believed.
    ActionsListed(Vec<RequestedAction>),
    /// The controller listed the open actions, and its envelope was not believed.
    ActionsRefused {
        /// What the controller calls the list.
        tag: String,
        /// Why.
        failure: Failure,
    },
    /// An action's errands ended: with a log, if that was asked for, or with the first failure.
    ErrandsEnded(Result<Option<String>, Failure>),
    /// Somebody on the device asked for a look and a poll.
    CheckRequested,
    /// Somebody on the device asked for a volume to be removed with its data.
    PurgeRequested(VolumePath),
    /// A service said how it is.
    HealthTold {
        /// Its app.
        app: AppName,
        /// The service.
        service: ServiceName,
        /// What it said.
        told: Box<HealthTold>,
    },
    /// The process was asked to stop.
    StopRequested,
}

/// What a look at engine and OS returned.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// What the container engine has.
    pub apps: Result<Observed, Failure>,
    /// What the OS updater has; `None` without an updater.
    pub os: Result<Option<FoundOs>, Failure>,
    /// The update locks that are held.
    pub locks: Locks,
    /// The last lines of the output of services that may not be well, without secrets.
    pub logs: BTreeMap<ServiceId, Vec<String>>,
    /// The newest core dumps of the device, at most [`MAX_DUMPS`](super::dump::MAX_DUMPS); none if nobody said where they are.
    pub dumps: Vec<CoreDump>,
    /// What the host is set to, as far as that is of interest.
    pub host: FoundHost,
}

/// When something happens, on both clocks of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock, which may be wrong and may jump: for people, and for what people agreed on.
    pub wall: Timestamp,
    /// Milliseconds on a clock that never jumps, from any beginning: for every duration.
    pub steady_millis: i64,
}

impl Moment {
    /// A moment at which both clocks agree, for those who have only one.
    pub fn at(now: Timestamp) -> Self {
        Self { wall: now, steady_millis: now.millis() }
    }
}

/// What the shell shall do. Effects are performed in order; each of the first five but [`Effect::Tidy`] is answered by one event.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write the ledger durably. Answered before anything else is done with the machine.
    Persist(Box<Ledger>),
    /// Look at engine and OS.
    Look {
        /// The images whose presence is of interest.
        images: BTreeSet<String>,
    },
    /// Change the device.
    Act(Action),
    /// Do what an operator asked for, in order. Answered by one event, like the effects above.
    Errands(Vec<Errand>),
    /// Ask services whether they are well, all at once. Answered by one event.
    Probe(Vec<Question>),
    /// Send a report.
    Report(Box<Report>),
    /// Remove images that this agent brought and nobody needs. Nothing answers: it is tried again when the next change is done.
    Tidy {
        /// Images that must stay.
        keep: BTreeSet<String>,
    },
    /// Ask for news.
    Poll {
        /// The entity tag of what the ledger holds.
        etag: Option<String>,
        /// How long the controller may hold the poll, in seconds; 0 asks for an answer at once.
        wait_secs: u64,
    },
    /// Set a timer. It replaces an earlier one of the same name.
    Wake {
        /// Which.
        timer: Timer,
        /// Milliseconds from now, on a clock that never jumps.
        after_millis: i64,
    },
    /// End the process.
    Exit,
}

/// The names of timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The next look.
    Work,
    /// The next poll.
    Link,
    /// The next report.
    Report,
    /// The next try to write the ledger.
    Ledger,
    /// The end of waiting for the machine to go down.
    Reboot,
    /// An OS on trial has soaked.
    OsSoak,
    /// An OS on trial had its time.
    OsTrial,
    /// The next question to a service.
    Probe,
    /// The end of a soak.
    Soak,
    /// The end of the time that a hand-over may take.
    HandOver,
}

/// The agent.
#[derive(Clone, Debug)]
pub struct Machine {
    about: About,
    pace: Pace,
    start_id: String,
    /// What the ledger's file holds.
    durable: Ledger,
    /// What it shall hold.
    wanted: Ledger,
    write: Write,
    work: Work,
    link: Link,
    reporting: Reporting,
    life: Life,
    /// The clock that never jumps, as of the event under way.
    steady_millis: i64,
    phase: Phase,
    conditions: Conditions,
    /// The last look.
    seen: Option<Look>,
    found: Vec<Found>,
    /// How many differences were ever found in this start.
    found_total: u64,
    /// What was found and is not mended yet.
    unmended: Vec<Difference>,
    refused: Option<Refusal>,
    /// Since when services have been waiting for others, on the steady clock.
    waiting_since: Option<i64>,
    /// When it was last told how far bringing images has come.
    progress_told: Option<Timestamp>,
    os: OsLane,
    /// What is remembered of services from look to look.
    vigil: Vigil,
    trial: Trial,
    probing: Probing,
    host: HostLane,
    draws: Draws,
    local: Local,
    actions: Actions,
}

/// How writing the ledger stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Write {
    /// Nothing is being written.
    Idle,
    /// This is being written.
    Writing(Box<Ledger>),
    /// The last try failed, as often in a row; a timer is set.
    Failed(u32),
}

/// Whether the agent goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// Asked to stop; waits for the action or the write under way.
    Stopping,
    Ended,
}

impl Machine {
    /// A start of the agent with the ledger as it was found. The first effect writes the start's number.
    pub fn start(about: About, pace: Pace, ledger: Ledger, start_id: String, now: Moment) -> (Self, Vec<Effect>) {
        let Moment { wall: now, steady_millis } = now;
        let mut wanted = ledger.clone();
        wanted.starts = wanted.starts.saturating_add(1);
        let start = wanted.starts;
        let mut machine = Self {
            link: Link::new(&about.device, start),
            reporting: Reporting::new(&about.device, start, steady_millis),
            draws: Draws::new(&about.device, start, "work"),
            about,
            pace,
            start_id,
            durable: ledger,
            wanted,
            write: Write::Idle,
            work: Work::due(),
            life: Life::Running,
            steady_millis,
            phase: Phase::Waiting,
            conditions: Conditions::default(),
            seen: None,
            found: Vec::new(),
            found_total: 0,
            unmended: Vec::new(),
            refused: None,
            waiting_since: None,
            progress_told: None,
            local: Local::default(),
            actions: Actions::default(),
            os: OsLane::default(),
            vigil: Vigil::default(),
            trial: Trial::begun(now),
            probing: Probing::default(),
            host: HostLane::default(),
        };
        machine.recall_action(now);
        if machine.wanted.accepted.is_some() {
            machine.phase = Phase::Applying;
        }
        let mut effects = Vec::new();
        machine.begin_polling(&mut effects);
        machine.advance(now, &mut effects);
        (machine, effects)
    }

    /// Takes an event; returns the next state and what is to be done. Events that answer nothing are ignored.
    pub fn step(mut self, event: Event, now: Moment) -> (Self, Vec<Effect>) {
        let mut effects = Vec::new();
        let Moment { wall: now, steady_millis } = now;
        self.steady_millis = steady_millis;
        if self.life == Life::Ended {
            return (self, effects);
        }
        match event {
            Event::Offered(held) => self.offered(*held, now, &mut effects),
            Event::Refused(refusal) => self.refuse(refusal, now, &mut effects),
            Event::Recorded(newest) => self.reporting.recorded(newest),
            Event::NotModified => self.not_modified(now, &mut effects),
            Event::NothingAssigned => self.nothing_assigned(now, &mut effects),
            Event::LinkFailed { failure: _, retry_after_secs } => self.link_failed(retry_after_secs, &mut effects),
            Event::Looked(look) => self.looked(*look, now, &mut effects),
            Event::Brought(progress) => self.brought(progress, now),
            Event::Done => self.done(now, &mut effects),
            Event::Failed(failure) => self.failed(&failure, now, &mut effects),
            Event::HostChanged(troubles) => self.host_changed(&troubles, now),
            Event::HookEnded(ended) => self.hook_ended(ended, now),
            Event::Persisted => self.persisted(now),
            Event::PersistFailed(failure) => self.persist_failed(&failure, now, &mut effects),
            Event::ReportAnswered => self.reporting.answered(),
            Event::ReportFailed { failure: _, retry_after_secs } => {
                self.reporting.failed(retry_after_secs, &mut effects);
            }
            Event::TimerDue(Timer::Work) => self.work.timer_due(),
            Event::Probed(answers) => self.probed(answers),
            Event::TimerDue(Timer::Probe) => self.probing.timer_due(),
            Event::TimerDue(Timer::Link) => self.link.timer_due(),
            Event::TimerDue(Timer::Report) => self.reporting.timer_due(),
            Event::TimerDue(Timer::Ledger) => self.ledger_timer_due(),
            Event::TimerDue(Timer::Reboot) => self.reboot_timer_due(now),
            Event::ActionsListed(list) => self.actions_offered(list, now, &mut effects),
            Event::ActionsRefused { tag, failure } => self.actions_refused(tag, &failure, now, &mut effects),
            Event::ErrandsEnded(ended) => self.errands_ended(ended, now, &mut effects),
            Event::PurgeRequested(path) => self.ask_locally(path, now),
            Event::CheckRequested => self.check(now),
            Event::HealthTold { app, service, told } => self.health_told(app, service, *told, now),
            Event::TimerDue(Timer::OsSoak) => self.os_has_soaked(),
            Event::TimerDue(Timer::OsTrial) => self.os_had_its_time(),
            // Each is asked for at a look: how long it has been is known by then.
            Event::TimerDue(Timer::Soak | Timer::HandOver) => self.work.timer_due(),
            Event::StopRequested => self.life = Life::Stopping,
        }
        self.advance(now, &mut effects);
        (self, effects)
    }

    /// What the device has to reach: the newest assignment that was accepted, or what it went back to.
    pub fn target(&self) -> Option<&Held> {
        self.durable.target()
    }

    /// What the agent is doing, for logs and tests.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Images that are to be brought next, after the one that is being brought.
    pub fn next_images(&self) -> BTreeSet<String> {
        self.work.next_images()
    }

    /// The ledger as its file holds it.
    pub fn ledger(&self) -> &Ledger {
        &self.durable
    }

    /// What keeps an action from being performed now, given the locks as they are right before it.
    pub fn forbids(&self, action: &Action, locks: &Locks) -> Option<Failure> {
        let observed = self.seen.as_ref().and_then(|look| look.apps.as_ref().ok());
        locks.against(action, observed, self.respect()).map(locked)
    }

    /// Whether locks count for what is assigned now.
    fn respect(&self) -> Respect {
        let forced = self.target().and_then(|held| held.force.as_ref());
        forced.map_or(Respect::Locks, |_| Respect::Nothing)
    }

    /// Starts whatever can start now, lane by lane. Every event ends here, so no lane can be forgotten.
    fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.life == Life::Stopping {
            if !self.work.is_acting() && !matches!(self.write, Write::Writing(_)) {
                self.life = Life::Ended;
                effects.push(Effect::Exit);
            }
            return;
        }
        self.pick_action(now);
        if self.write == Write::Idle && self.wanted != self.durable {
            self.write = Write::Writing(Box::new(self.wanted.clone()));
            effects.push(Effect::Persist(Box::new(self.wanted.clone())));
        }
        // Before the work: what was found must go out before the first mending action.
        self.advance_reporting(effects);
        self.begin_action(now, effects);
        self.advance_work(effects);
        self.advance_link(effects);
        self.advance_probing(effects);
    }

    /// Whether everything that must not be forgotten is in the file.
    fn is_durable(&self) -> bool {
        self.wanted == self.durable
    }

    fn persisted(&mut self, now: Timestamp) {
        if let Write::Writing(written) = std::mem::replace(&mut self.write, Write::Idle) {
            let mark = |ledger: &Ledger| ledger.target().map(|held| held.mark);
            let moved = (written.mark(), mark(&written)) != (self.durable.mark(), mark(&self.durable));
            self.durable = *written;
            self.conditions.clear(conditions::LEDGER_WRITABLE);
            if moved {
                self.adopt(now);
            }
        }
    }

    fn persist_failed(&mut self, failure: &Failure, now: Timestamp, effects: &mut Vec<Effect>) {
        let failures = match self.write {
            // A failed write was retried by its timer, which made it idle; the condition tells how it stood before.
            Write::Idle | Write::Writing(_) => self.conditions.repeats(conditions::LEDGER_WRITABLE) + 1,
            Write::Failed(failures) => failures,
        };
        self.write = Write::Failed(failures);
        self.conditions.fails(conditions::LEDGER_WRITABLE, failure, now);
        let after_millis = work::RETRY.wait_millis(failures, self.draws.draw());
        effects.push(Effect::Wake { timer: Timer::Ledger, after_millis });
        self.release_after_failed_write(effects);
    }

    fn ledger_timer_due(&mut self) {
        if matches!(self.write, Write::Failed(_)) {
            self.write = Write::Idle;
        }
    }
}
