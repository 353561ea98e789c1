//! A fake device around the machine, and a transcript of what it does: what scripts and laws are run on.

use super::*;
use crate::domain::assignment::Mark;
use crate::domain::condition::ConditionStatus;
use crate::domain::device::host::{HostAction, HostAsk};
use crate::domain::generation::{Attempt, Epoch, Generation, Order};
use crate::domain::ids::{AppName, CommitId, ServiceName, VariableName, Version};
use crate::domain::reported::ServiceState;
use crate::domain::spec::{AppSpec, DeviceSpec, SealedSpec, ServiceSpec};
use crate::ports::engine::fake::FakeEngine;
pub(super) use crate::ports::host::fake::{FakeEnding, FakeHost};
use crate::ports::os::fake::FakeOs;
use std::fmt::Write as _;

pub(super) fn app(name: &str) -> AppName {
    AppName::new(name).expect("an app name")
}

pub(super) fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a service name")
}

pub(super) fn held(generation: u64, spec: DeviceSpec) -> Held {
    let spec = SealedSpec::seal(spec);
    let order =
        Order { epoch: Epoch::FIRST, generation: Generation::new(generation).expect("generations are not zero") };
    Held {
        mark: Mark { order, digest: spec.digest },
        stage: StageName::new("main").expect("a stage name"),
        commit: CommitId::new(&"a".repeat(40)).expect("a commit id"),
        attempt: Attempt::FIRST,
        soak_secs: 0,
        force: None,
        spec,
    }
}

/// One app, `web`, whose service `app` depends on `db`.
pub(super) fn web(greeting: &str) -> DeviceSpec {
    let variable = VariableName::new("GREETING").expect("a variable name");
    let front = ServiceSpec {
        environment: BTreeMap::from([(variable, greeting.to_owned())]),
        depends_on: BTreeSet::from([service("db").into()]),
        ..ServiceSpec::of_image("example/app:1")
    };
    let services = BTreeMap::from([(service("app"), front), (service("db"), ServiceSpec::of_image("example/db:1"))]);
    let release = Version::new("1.0.0").expect("a version");
    let web = AppSpec { release, services, volumes: BTreeSet::new(), networks: BTreeMap::new() };
    DeviceSpec { apps: BTreeMap::from([(app("web"), web)]), ..DeviceSpec::default() }
}

fn about() -> About {
    About { device: DeviceId::new("kiosk-1").expect("a device name"), branch: None, attributes: BTreeMap::new() }
}

/// A machine with a device around it. Effects are performed when the script says so; ledger writes at once, as shells do.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) engine: FakeEngine,
    pub(super) os: FakeOs,
    pub(super) host: FakeHost,
    /// The ledger's file.
    pub(super) disk: Ledger,
    pub(super) waiting: Vec<Effect>,
    now: Timestamp,
    skew: i64,
    pub(super) transcript: String,
    /// Answers to actions that come next, before the engine is asked.
    pub(super) faults: Vec<Failure>,
    /// Whether the disk can be written.
    pub(super) disk_works: Result<(), Failure>,
    /// How many more ledgers find room on the disk; `None`: any number.
    pub(super) room: Option<u32>,
    pub(super) engine_answers: Result<(), Failure>,
    pub(super) locks: Locks,
    /// What stays whenever images are tidied up.
    pub(super) tidied: Vec<BTreeSet<String>>,
    /// Running services that were stopped, each with the images that were there.
    pub(super) stops: Vec<(ServiceId, BTreeSet<String>)>,
    /// Probes that fail, by name, and what they say.
    pub(super) wrong: BTreeMap<&'static str, &'static str>,
    /// What services have written last.
    pub(super) logs: BTreeMap<ServiceId, Vec<String>>,
    /// Core dumps on the device.
    pub(super) dumps: Vec<CoreDump>,
    /// The boundary of an effect at which the agent is killed.
    kill_at: Option<usize>,
    /// How many boundaries there were.
    boundaries: usize,
    /// Whether it was killed.
    pub(super) is_dead: bool,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::on(FakeEngine::default(), FakeOs::default(), Ledger::default())
    }

    /// A start of the agent on a device as it was left.
    pub(super) fn on(engine: FakeEngine, os: FakeOs, disk: Ledger) -> Self {
        Self::with_host(engine, os, FakeHost::default(), disk)
    }

    /// The same with a host as it was left.
    pub(super) fn with_host(engine: FakeEngine, os: FakeOs, host: FakeHost, disk: Ledger) -> Self {
        let now = Timestamp::EPOCH;
        let start_id = format!("{:032x}", disk.starts + 1);
        let (machine, effects) = Machine::start(about(), Pace::default(), disk.clone(), start_id, Moment::at(now));
        let (transcript, disk_works, engine_answers) = (String::new(), Ok(()), Ok(()));
        let (waiting, faults, tidied, locks) = Default::default();
        let mut bench = Self {
            machine,
            engine,
            os,
            host,
            disk,
            waiting,
            now,
            skew: 0,
            transcript,
            faults,
            disk_works,
            room: None,
            engine_answers,
            locks,
            tidied,
            stops: Vec::new(),
            wrong: BTreeMap::new(),
            logs: BTreeMap::new(),
            dumps: Vec::new(),
            kill_at: None,
            boundaries: 0,
            is_dead: false,
        };
        bench.take(effects);
        bench
    }

    /// From now on the agent lives for so many boundaries: one is before each effect, one after it.
    pub(super) fn kill_at(&mut self, boundary: usize) {
        (self.kill_at, self.boundaries) = (Some(boundary), 0);
    }

    /// Whether the agent is dead at a boundary.
    fn is_struck(&mut self) -> bool {
        self.boundaries += 1;
        self.is_dead |= self.kill_at == Some(self.boundaries);
        self.is_dead
    }

    /// The next start of the agent, in the same world.
    pub(super) fn reborn(self) -> Self {
        let next = Self::with_host(self.engine, self.os, self.host, self.disk);
        Self {
            wrong: self.wrong,
            logs: self.logs,
            dumps: self.dumps,
            locks: self.locks,
            transcript: self.transcript + "killed\n" + &next.transcript,
            ..next
        }
    }

    pub(super) fn send(&mut self, event: Event) {
        if self.is_dead {
            return;
        }
        let (machine, effects) = self.machine.clone().step(event, self.moment());
        self.machine = machine;
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if self.is_dead {
                return;
            }
            if let Effect::Tidy { keep } = effect {
                // It changes nothing that a script could be about.
                self.tidied.push(keep);
                continue;
            }
            let _ = writeln!(self.transcript, "  {}", show(&effect));
            match effect {
                Effect::Persist(_) if self.is_struck() => return,
                Effect::Persist(ledger) => {
                    let full = || Failure { reason: "LedgerNotWritten", message: "no space left on device".to_owned() };
                    let works = if self.room == Some(0) { Err(full()) } else { self.disk_works.clone() };
                    let answer = match works {
                        Ok(()) => {
                            self.room = self.room.map(|room| room - 1);
                            self.disk = *ledger;
                            Event::Persisted
                        }
                        Err(failure) => Event::PersistFailed(failure),
                    };
                    if self.is_struck() {
                        return;
                    }
                    self.send(answer);
                }
                Effect::Wake { timer, .. } => {
                    self.waiting.retain(|one| !matches!(one, Effect::Wake { timer: other, .. } if *other == timer));
                    self.waiting.push(effect);
                }
                Effect::Tidy { .. }
                | Effect::Look { .. }
                | Effect::Act(_)
                | Effect::Errands(_)
                | Effect::Probe(_)
                | Effect::Report(_)
                | Effect::Poll { .. }
                | Effect::Exit => {
                    self.waiting.push(effect);
                }
            }
        }
    }

    /// Performs the first waiting look, action or report; `false` if there is none.
    pub(super) fn perform_one(&mut self) -> bool {
        let busy = |effect: &Effect| {
            matches!(effect, Effect::Look { .. } | Effect::Act(_) | Effect::Report(_) | Effect::Probe(_))
        };
        let Some(place) = self.waiting.iter().position(busy) else { return false };
        if self.is_struck() {
            return false;
        }
        let event = match self.waiting.remove(place) {
            Effect::Look { images } => Event::Looked(Box::new(Look {
                apps: self.engine_answers.clone().map(|()| self.engine.look(&images)),
                os: Ok(Some(self.os.look())),
                locks: self.locks.clone(),
                logs: self.logs.clone(),
                dumps: self.dumps.clone(),
                host: self.host.look(&self.ask()),
            })),
            Effect::Act(action) => self.act(&action),
            Effect::Probe(questions) => Event::Probed(questions.into_iter().map(|one| self.answer(one)).collect()),
            _ => Event::ReportAnswered,
        };
        if self.is_struck() {
            return false;
        }
        self.send(event);
        true
    }

    fn answer(&self, question: Question) -> Answered {
        let ((app, service), name) = &question.id;
        let answer = match self.wrong.get(name.as_str()) {
            Some(wrong) => Err((*wrong).to_owned()),
            None => self.engine.probe(app, service),
        };
        (question.id, Some(answer))
    }

    /// What a shell asks of the host.
    fn ask(&self) -> HostAsk {
        HostAsk::of(self.machine.ledger())
    }

    fn act(&mut self, action: &Action) -> Event {
        self.stops.extend(stopped(action, &self.engine).map(|id| (id, self.engine.images.clone())));
        if !self.faults.is_empty() {
            return Event::Failed(self.faults.remove(0));
        }
        let answer = match action {
            Action::Host(HostAction::Change(changes)) => return Event::HostChanged(self.host.change(changes)),
            Action::Host(HostAction::RunHook { hook, .. }) => return Event::HookEnded(self.host.run_hook(hook)),
            Action::Host(HostAction::Reboot { hook: _ }) => {
                self.host.reboot();
                Ok(())
            }
            other if other.is_for_os() => self.os.perform(other).map_err(|error| error.failure()),
            other => self.engine.perform(other).map_err(|error| error.failure()),
        };
        answer.map_or_else(Event::Failed, |()| Event::Done)
    }

    /// Performs looks, actions and reports until only polls and timers are left.
    pub(super) fn run(&mut self) {
        for _ in 0..1000 {
            if !self.perform_one() {
                return;
            }
        }
        panic!("the machine does not come to rest:\n{}", self.transcript);
    }

    /// Lets a timer run out, if it is set.
    pub(super) fn fire(&mut self, wanted: Timer) -> bool {
        let set = |effect: &Effect| matches!(effect, Effect::Wake { timer, .. } if *timer == wanted);
        let Some(place) = self.waiting.iter().position(set) else { return false };
        if let Effect::Wake { after_millis, .. } = self.waiting.remove(place) {
            self.now = self.now.plus_millis(after_millis);
        }
        self.send(Event::TimerDue(wanted));
        true
    }

    /// Both clocks, of which one may be wrong.
    fn moment(&self) -> Moment {
        Moment { wall: self.now.plus_millis(self.skew), steady_millis: self.now.millis() }
    }

    /// What the wall clock shows.
    pub(super) fn wall(&self) -> Timestamp {
        self.moment().wall
    }

    /// Somebody sets the wall clock.
    pub(super) fn jump(&mut self, millis: i64) {
        self.skew += millis;
    }

    pub(super) fn pass(&mut self, millis: i64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Answers the poll under way.
    pub(super) fn offer(&mut self, held: Held) {
        self.waiting.retain(|effect| !matches!(effect, Effect::Poll { .. }));
        self.send(Event::Offered(Box::new(held)));
    }

    pub(super) fn not_modified(&mut self) {
        self.waiting.retain(|effect| !matches!(effect, Effect::Poll { .. }));
        self.send(Event::NotModified);
    }

    pub(super) fn since(&mut self, title: &str) {
        let _ = writeln!(self.transcript, "{title}");
    }

    pub(super) fn take_transcript(&mut self) -> String {
        std::mem::take(&mut self.transcript)
    }
}

/// The running service that an action stops.
fn stopped(action: &Action, engine: &FakeEngine) -> Option<ServiceId> {
    let (Action::RemoveService { app, service, .. } | Action::Promote { app, service, .. }) = action else {
        return None;
    };
    let found = engine.apps.get(app)?.services.get(service)?;
    (found.state == ServiceState::Running).then(|| (app.clone(), service.clone()))
}

fn show(effect: &Effect) -> String {
    match effect {
        Effect::Persist(ledger) => {
            let mark = ledger.mark().map_or("nothing".to_owned(), |mark| mark.order.to_string());
            let applied = if ledger.applied.is_some() && ledger.applied == ledger.mark().map(|mark| mark.digest) {
                ", reached"
            } else {
                ""
            };
            let failures: u32 = ledger.failed.iter().map(|one| one.failures).sum();
            let failed = if failures > 0 { format!(", failed {failures}×") } else { String::new() };
            format!("persist start {}, {mark}{applied}{failed}", ledger.starts)
        }
        Effect::Tidy { keep } => format!("tidy ({} images stay)", keep.len()),
        Effect::Look { images } => format!("look ({} images)", images.len()),
        Effect::Act(action) => action.to_string(),
        Effect::Errands(errands) => format!("errands {errands:?}"),
        Effect::Probe(questions) => {
            let names: Vec<&str> = questions.iter().map(|one| one.id.1.as_str()).collect();
            format!("probe {}", names.join(", "))
        }
        Effect::Report(report) => show_report(report),
        Effect::Poll { etag, wait_secs } => {
            format!("poll {} for {wait_secs}s", etag.as_ref().map_or("without tag", |tag| &tag[..8]))
        }
        Effect::Wake { timer, .. } => format!("wake {timer:?} later"),
        Effect::Exit => "exit".to_owned(),
    }
}

fn show_report(report: &Report) -> String {
    let mut text = format!("report {}.{} {:?}", report.start, report.seq, report.phase);
    for found in &report.found {
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        let Difference { subject, wanted, found, .. } = &found.difference;
        let _ = write!(text, "\n      found {subject}: {} instead of {}", side(found), side(wanted));
    }
    if let Some(failure) = &report.failure {
        let _ = write!(text, "\n      failed while {:?}: {}", failure.phase, failure.describe());
        for line in &failure.log {
            let _ = write!(text, "\n        | {line}");
        }
    }
    for lock in &report.locks {
        let _ = write!(text, "\n      {}", lock.told());
    }
    if let Some(refusal) = &report.refused {
        let _ = write!(text, "\n      refused {}: {}", refusal.reason, refusal.message);
    }
    for one in report.conditions.iter().filter(|one| one.status != ConditionStatus::True) {
        let _ = write!(text, "\n      {} {:?} {}: {}", one.kind, one.status, one.reason, one.message);
    }
    text
}
