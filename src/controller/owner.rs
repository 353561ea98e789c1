//! The owner of the state: one thread that takes commands, lets pure functions decide, writes, applies and publishes.
//!
//! Commands are taken in batches, so that many reports share one transaction. An answer is sent only after the transaction
//! that it speaks of is durable.

mod handle;

pub use handle::{Handle, WeakHandle};

use super::alarm::Alarm;
use super::published::Published;
use super::watch::News;
use super::{Options, SharedWorld};
use crate::clock;
use crate::domain::acts::enroll::{EnrollError, enroll};
use crate::domain::acts::operator::{ActError, Acting};
use crate::domain::acts::report::{Recorded, ReportError, report};
use crate::domain::desired::Variant;
use crate::domain::fleet::{Change, Event, FleetState};
use crate::domain::ids::{Actor, DeviceId, RolloutName, StageName};
use crate::domain::plan::pass::{MAX_PASSES, Meaning, PassInput, Scope};
use crate::domain::plan::passes::Passes;
use crate::domain::plan::rollouts::{NewDraft, RolloutActError, RolloutAsked, awake};
use crate::domain::reported::Report;
use crate::domain::rollout::machine::Which;
use crate::domain::time::Timestamp;
use crate::ports::store::{Store, StoreError};
use crate::protocol::v1::messages::{EnrollRequest, EnrollStatus, ReportAnswer};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How many commands may wait. Senders wait beyond that; reports are the only ones that come in crowds.
const QUEUE: usize = 4096;
/// How many commands share one transaction at most: enough to make an fsync cheap, few enough to answer soon.
const BATCH: usize = 512;
/// How soon a rollout is looked at again at the soonest, in milliseconds, whatever it waits for.
const SOONEST_MILLIS: i64 = 200;
/// When rollouts are looked at again after the store did not take a transaction.
const AFTER_STORE_FAILURE: Duration = Duration::from_secs(5);
/// The same after a pass that panicked, which may well do so again.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// An operator's act: a pure function from the state to changes.
pub type Act = Box<dyn FnOnce(&FleetState, &[StageName], &Acting) -> Result<Vec<Change>, ActError> + Send>;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The act was refused.
    #[error(transparent)]
    Act(#[from] ActError),
    /// The enrollment was refused.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// The report was refused.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The rollout does not do that.
    #[error(transparent)]
    Rollout(#[from] RolloutActError),
    /// It could not be written; nothing was changed.
    #[error("the store did not take the change: {0}")]
    Store(String),
    /// A bug of ours.
    #[error("the controller failed at this request; nothing was changed")]
    Failed,
    /// The controller is stopping.
    #[error("the controller is stopping")]
    Stopping,
}

type Answer<T> = oneshot::Sender<Result<T, CommandError>>;

enum Command {
    Report(Pending),
    Enroll {
        request: Box<EnrollRequest>,
        answer: Answer<EnrollStatus>,
    },
    Act {
        act: Act,
        actor: Actor,
        answer: Answer<Vec<Change>>,
    },
    Rollout {
        name: RolloutName,
        act: RolloutAsked,
        reason: String,
        actor: Actor,
        answer: Answer<Vec<Change>>,
    },
    Reroute {
        name: RolloutName,
        which: Which,
        variant: Box<Variant>,
        reason: String,
        actor: Actor,
        answer: Answer<Vec<Change>>,
    },
    Draft {
        draft: Box<NewDraft>,
        reason: String,
        actor: Actor,
        answer: Answer<Vec<Change>>,
    },
    Note {
        changes: Vec<Change>,
        answer: Answer<()>,
    },
    Events {
        subject: Option<String>,
        limit: usize,
        answer: Answer<Vec<Event>>,
    },
    News(News),
    Tick,
    Stop,
}

/// A report that waits for its transaction.
struct Pending {
    device: DeviceId,
    report: Box<Report>,
    answer: Answer<ReportAnswer>,
}

/// Counts of what the owner did, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Passes run.
    pub passes: AtomicU64,
    /// Transactions written.
    pub transactions: AtomicU64,
    /// Changes written.
    pub changes: AtomicU64,
    /// Assignments made.
    pub assignments: AtomicU64,
    /// Reports recorded.
    pub reports: AtomicU64,
    /// Reports that were ignored as stale.
    pub stale_reports: AtomicU64,
    /// Commands that were refused.
    pub refused: AtomicU64,
    /// Transactions that failed.
    pub store_failures: AtomicU64,
    /// Panics that were caught; each is a bug.
    pub panics: AtomicU64,
}

/// The thread's own things.
struct Owner {
    options: Arc<Options>,
    store: Box<dyn Store>,
    world: SharedWorld,
    published: Arc<Published>,
    counters: Arc<Counters>,
    passes: Passes,
    alarm: Alarm,
    /// Whether what the store holds is what is known here.
    memory: Memory,
}

/// Whether the state in memory is the one that the store holds.
#[derive(PartialEq)]
enum Memory {
    Sure,
    /// A transaction failed. Its answer may have been lost after everything was written.
    InDoubt,
}

/// A running owner.
pub struct Running {
    /// For commands.
    pub handle: Handle,
    /// For reading.
    pub world: SharedWorld,
    /// For polls.
    pub published: Arc<Published>,
    /// For metrics.
    pub counters: Arc<Counters>,
    /// The thread.
    pub thread: std::thread::JoinHandle<()>,
}

/// Loads the state and starts the owner's thread.
pub fn start(options: Arc<Options>, mut store: Box<dyn Store>) -> Result<Running, StoreError> {
    let mut state = store.load()?;
    // What passed while no controller ran does not count.
    let slept =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| awake(&state, clock::now()))).unwrap_or_else(|_| {
            tracing::error!("the time in which no controller ran could not be left out; please report this");
            Vec::new()
        });
    store.commit(&slept)?;
    state.apply(&slept);
    let world = SharedWorld::default();
    let published = Arc::new(Published::noting_since(clock::now()));
    let counters = Arc::new(Counters::default());
    published.fill(&state);
    world.write().state = state;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let handle = Handle::new(sender);
    let failed = |source| StoreError::Failed { attempted: "start its thread", source: Box::new(source) };
    let owner = Owner {
        alarm: Alarm::start(&handle).map_err(failed)?,
        options,
        store,
        world: world.clone(),
        published: published.clone(),
        counters: counters.clone(),
        passes: Passes::default(),
        memory: Memory::Sure,
    };
    let thread =
        std::thread::Builder::new().name("owner".to_owned()).spawn(move || owner.run(receiver)).map_err(failed)?;
    Ok(Running { handle, world, published, counters, thread })
}

impl Owner {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH);
        while commands.blocking_recv_many(&mut batch, BATCH) > 0 {
            let mut reports = Vec::new();
            for command in batch.drain(..) {
                if let Command::Report(report) = command {
                    reports.push(report);
                    continue;
                }
                self.take_reports(std::mem::take(&mut reports));
                if self.take(command) == Next::Stop {
                    return;
                }
            }
            self.take_reports(reports);
        }
    }

    fn take(&mut self, command: Command) -> Next {
        match command {
            Command::Report(report) => self.take_reports(vec![report]),
            Command::Enroll { request, answer } => {
                let _ = answer.send(self.take_enrollment(&request));
            }
            Command::Act { act, actor, answer } => {
                let _ = answer.send(self.take_act(act, actor));
            }
            Command::Rollout { name, act, reason, actor, answer } => {
                let _ = answer.send(self.take_rollout(|passes, input| passes.act(input, &name, act, &actor, &reason)));
            }
            Command::Reroute { name, which, variant, reason, actor, answer } => {
                let asked = (&which, &*variant);
                let taken = self.take_rollout(|passes, input| passes.reroute(input, &name, asked, &actor, &reason));
                let _ = answer.send(taken);
            }
            Command::Draft { draft, reason, actor, answer } => {
                let _ = answer.send(self.take_rollout(|passes, input| passes.draft(input, &draft, &actor, &reason)));
            }
            Command::Note { changes, answer } => {
                let _ = answer.send(self.write(&changes));
            }
            Command::Events { subject, limit, answer } => {
                let events = self.store.events(subject.as_deref(), limit);
                let _ = answer.send(events.map_err(|error| CommandError::Store(show_chain(&error))));
            }
            Command::News(news) => self.take_news(news),
            Command::Tick => {
                let now = clock::now();
                let is_due = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
                // A rollout that changed something may let others begin.
                let changed = if is_due(self.passes.rollouts_due()) {
                    self.run_pass(&Scope::Devices(BTreeSet::new())) == Changed::Something
                } else {
                    self.set_alarm(now);
                    false
                };
                if changed || is_due(self.passes.due()) {
                    self.run_passes();
                }
            }
            Command::Stop => return Next::Stop,
        }
        Next::GoOn
    }

    fn take_enrollment(&mut self, request: &EnrollRequest) -> Result<EnrollStatus, CommandError> {
        let decided = enroll(&self.world.read().state, request, clock::now());
        let (changes, status) = decided.inspect_err(|_| count(&self.counters.refused))?;
        if !changes.is_empty() {
            self.write(&changes)?;
            match status {
                EnrollStatus::Enrolled => {
                    tracing::info!(device.id = %request.device, "enrolled");
                    self.run_pass(&Scope::Devices(BTreeSet::from([request.device.clone()])));
                }
                EnrollStatus::Pending => tracing::warn!(device.id = %request.device, "waits for approval"),
            }
        }
        Ok(status)
    }

    fn take_act(&mut self, act: Act, actor: Actor) -> Result<Vec<Change>, CommandError> {
        let acting = Acting { actor, now: clock::now() };
        let stages = self.options.stage_names();
        let decided = act(&self.world.read().state, &stages, &acting);
        let changes = decided.inspect_err(|_| count(&self.counters.refused))?;
        self.write(&changes)?;
        for change in &changes {
            if let Change::Event(event) = change {
                tracing::info!(actor = %event.actor, subject = %event.subject, "{}: {}", event.kind, event.message);
            }
        }
        self.run_passes();
        Ok(changes)
    }

    fn take_rollout(
        &mut self,
        act: impl FnOnce(&mut Passes, &PassInput<'_>) -> Result<Vec<Change>, RolloutActError>,
    ) -> Result<Vec<Change>, CommandError> {
        let decided = {
            let world = self.world.read();
            let input = PassInput { contacts: &*self.published, ..world.pass_input(&self.options, clock::now()) };
            let passes = &mut self.passes;
            let acts = std::panic::AssertUnwindSafe(|| act(passes, &input));
            std::panic::catch_unwind(acts)
        };
        let Ok(decided) = decided else {
            self.passes.forget();
            count(&self.counters.panics);
            tracing::error!("an act of a rollout panicked; nothing was changed, please report this");
            self.alarm.set(Some(AFTER_PANIC));
            return Err(CommandError::Failed);
        };
        let changes = decided.inspect_err(|_| count(&self.counters.refused))?;
        self.write(&changes)?;
        self.log_pass(&changes);
        self.run_passes();
        Ok(changes)
    }

    /// Records reports in one transaction. A second report of a device waits for the next one, because it must be judged
    /// by what the first one said.
    fn take_reports(&mut self, mut waiting: Vec<Pending>) {
        while !waiting.is_empty() {
            let now = clock::now();
            let mut later = Vec::new();
            let mut changes = Vec::new();
            let mut answers = Vec::new();
            let mut dirty = BTreeSet::new();
            {
                let world = self.world.read();
                for pending in waiting {
                    if dirty.contains(&pending.device) {
                        later.push(pending);
                        continue;
                    }
                    let Pending { device, report: body, answer } = pending;
                    match report(&world.state, &device, *body, now) {
                        Ok(Recorded::Newer(more)) => {
                            changes.extend(more);
                            dirty.insert(device);
                            answers.push(answer);
                        }
                        Ok(Recorded::Stale) => {
                            count(&self.counters.stale_reports);
                            let _ = answer.send(Ok(ReportAnswer::Stale));
                        }
                        Err(error) => {
                            count(&self.counters.refused);
                            let _ = answer.send(Err(error.into()));
                        }
                    }
                }
            }
            let written = if changes.is_empty() { Ok(()) } else { self.write(&changes) };
            for answer in answers {
                count(&self.counters.reports);
                let _ = answer.send(match &written {
                    Ok(()) => Ok(ReportAnswer::Recorded),
                    Err(error) => Err(CommandError::Store(error.to_string())),
                });
            }
            if written.is_ok() && !dirty.is_empty() && self.run_pass(&Scope::Devices(dirty)) == Changed::Something {
                // A device that chose another stage may have changed what is held.
                self.run_passes();
            }
            waiting = later;
        }
    }

    fn take_news(&mut self, news: News) {
        let News { views, status } = news;
        {
            let mut world = self.world.write();
            world.repo = status;
            world.arranged.forget();
            let Some(mut views) = views else { return };
            for candidate in views.values_mut().filter_map(|view| view.candidate.as_mut()) {
                candidate.desired = candidate.desired.clone().for_fleet(&self.options.fleet);
            }
            world.views = views;
        }
        self.run_passes();
    }

    /// Runs passes until one changes nothing, and writes what they decide.
    fn run_passes(&mut self) {
        for _ in 0..MAX_PASSES {
            if self.run_pass(&Scope::All) == Changed::Nothing {
                return;
            }
        }
    }

    /// Runs a pass and writes what it decided. A panic is a bug of ours: it is counted, logged, and the state stays as it was.
    fn run_pass(&mut self, scope: &Scope) -> Changed {
        count(&self.counters.passes);
        let now = clock::now();
        let decided = {
            let world = self.world.read();
            let input = PassInput { contacts: &*self.published, ..world.pass_input(&self.options, now) };
            let passes = &mut self.passes;
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| passes.pass(&input, scope)))
        };
        self.set_alarm(now);
        let Ok(output) = decided else {
            self.passes.forget();
            count(&self.counters.panics);
            tracing::error!("a pass panicked; nothing was changed, please report this");
            self.alarm.set(Some(AFTER_PANIC));
            return Changed::Nothing;
        };
        if output.changes.is_empty() || self.write(&output.changes).is_err() {
            return Changed::Nothing;
        }
        self.log_pass(&output.changes);
        if !output.accepted.is_empty() {
            let mut world = self.world.write();
            world.arranged.forget();
            for stage in &output.accepted {
                if let Some(view) = world.views.get_mut(stage)
                    && let Some(candidate) = view.candidate.take()
                {
                    view.accepted = Some(Meaning { revision: candidate.revision(), desired: candidate.desired });
                }
            }
        }
        Changed::Something
    }

    fn set_alarm(&self, now: Timestamp) {
        let millis =
            self.passes.rollouts_due().map(|due| due.millis().saturating_sub(now.millis()).max(SOONEST_MILLIS));
        self.alarm.set(millis.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))));
    }

    fn log_pass(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Assignment(assignment) => {
                    count(&self.counters.assignments);
                    tracing::info!(
                        device.id = %assignment.device,
                        generation = %assignment.order,
                        commit = assignment.commit.short(),
                        stage = %assignment.stage,
                        digest = assignment.spec.digest.short(),
                        "assigned"
                    );
                }
                Change::Event(event) if matches!(event.kind.as_str(), "Held" | "Conflict") => {
                    tracing::warn!(subject = %event.subject, "{}: {}", event.kind, event.message);
                }
                Change::Event(event) => {
                    tracing::info!(subject = %event.subject, "{}: {}", event.kind, event.message);
                }
                _ => {}
            }
        }
    }

    /// Writes changes, then makes them visible. On failure nothing is visible, and the next pass decides again.
    fn write(&mut self, changes: &[Change]) -> Result<(), CommandError> {
        if self.memory == Memory::InDoubt {
            // What is to be written was decided from a memory that may be wrong: it is decided again from the right one.
            self.alarm.set(Some(AFTER_STORE_FAILURE));
            let message =
                self.reload().map_or_else(|error| show_chain(&error), |()| "an earlier transaction failed".to_owned());
            return Err(CommandError::Store(message));
        }
        if let Err(error) = self.store.commit(changes) {
            count(&self.counters.store_failures);
            let message = show_chain(&error);
            tracing::error!(error = %message, "the store did not take a transaction");
            self.memory = Memory::InDoubt;
            // Rollouts go on even if nothing else happens.
            self.alarm.set(Some(AFTER_STORE_FAILURE));
            if let Err(error) = self.reload() {
                tracing::error!(error = %show_chain(&error), "nothing is written until the store can be read again");
            }
            return Err(CommandError::Store(message));
        }
        count(&self.counters.transactions);
        self.counters.changes.fetch_add(changes.len() as u64, Ordering::Relaxed);
        {
            let mut world = self.world.write();
            self.passes.note(&world.state, changes);
            world.state.apply(changes);
            world.registry_version += u64::from(changes.iter().any(concerns_registry));
            world.arranged.note(changes);
        }
        self.published.apply(changes);
        Ok(())
    }

    /// Takes what the store holds for the truth. Deciding from a memory that differs would write over what is there.
    fn reload(&mut self) -> Result<(), StoreError> {
        let state = self.store.load()?;
        self.passes.forget();
        self.published.replace(&state);
        let mut world = self.world.write();
        world.state = state;
        world.registry_version += 1;
        world.arranged.forget();
        self.memory = Memory::Sure;
        Ok(())
    }
}

/// Whether a pass changed anything.
#[derive(PartialEq)]
enum Changed {
    Something,
    Nothing,
}

/// Whether the owner's thread goes on.
#[derive(PartialEq)]
enum Next {
    GoOn,
    Stop,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Whether a change can be one of the registry's list.
fn concerns_registry(change: &Change) -> bool {
    matches!(change, Change::Identity(..) | Change::Registry(..) | Change::Forget(_))
}

/// An error with everything that caused it, on one line.
pub fn show_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
