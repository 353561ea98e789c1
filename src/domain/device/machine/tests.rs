//! The machine beside a fake device: scripts in, a transcript that a person can read out.

use super::*;
use crate::domain::assignment::Mark;
use crate::domain::condition::ConditionStatus;
use crate::domain::generation::{Attempt, Epoch, Generation, Order};
use crate::domain::ids::{AppName, CommitId, ServiceName, VariableName, Version};
use crate::domain::spec::{AppSpec, DeviceSpec, OsSpec, SealedSpec, ServiceSpec};
use crate::ports::engine::fake::{FakeEngine, FakeOs, Tamper};
use insta::assert_snapshot;
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
        spec,
    }
}

/// One app, `web`, whose service `app` depends on `db`.
pub(super) fn web(greeting: &str) -> DeviceSpec {
    let variable = VariableName::new("GREETING").expect("a variable name");
    let front = ServiceSpec {
        environment: BTreeMap::from([(variable, greeting.to_owned())]),
        depends_on: BTreeSet::from([service("db")]),
        ..ServiceSpec::of_image("example/app:1")
    };
    let services = BTreeMap::from([(service("app"), front), (service("db"), ServiceSpec::of_image("example/db:1"))]);
    let release = Version::new("1.0.0").expect("a version");
    let web = AppSpec { release, services, volumes: BTreeSet::new() };
    DeviceSpec { apps: BTreeMap::from([(app("web"), web)]), ..DeviceSpec::default() }
}

fn about() -> About {
    About { device: DeviceId::new("kiosk-1").expect("a device name"), branch: None, attributes: BTreeMap::new() }
}

/// A machine with a device around it. Effects are performed when the script says so; ledger writes at once, as shells do.
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) engine: FakeEngine,
    pub(super) os: FakeOs,
    /// The ledger's file.
    pub(super) disk: Ledger,
    pub(super) waiting: Vec<Effect>,
    now: Timestamp,
    pub(super) transcript: String,
    /// Answers to actions that come next, before the engine is asked.
    pub(super) faults: Vec<Failure>,
    /// Whether the disk can be written.
    pub(super) disk_works: Result<(), Failure>,
    pub(super) engine_answers: Result<(), Failure>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::on(FakeEngine::default(), FakeOs::default(), Ledger::default())
    }

    /// A start of the agent on a device as it was left.
    pub(super) fn on(engine: FakeEngine, os: FakeOs, disk: Ledger) -> Self {
        let now = Timestamp::EPOCH;
        let start_id = format!("{:032x}", disk.starts + 1);
        let (machine, effects) = Machine::start(about(), Pace::default(), disk.clone(), start_id, now);
        let (transcript, disk_works, engine_answers) = (String::new(), Ok(()), Ok(()));
        let (waiting, faults) = (Vec::new(), Vec::new());
        let mut bench =
            Self { machine, engine, os, disk, waiting, now, transcript, faults, disk_works, engine_answers };
        bench.take(effects);
        bench
    }

    pub(super) fn send(&mut self, event: Event) {
        let (machine, effects) = self.machine.clone().step(event, self.now);
        self.machine = machine;
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let _ = writeln!(self.transcript, "  {}", show(&effect));
            match effect {
                Effect::Persist(ledger) => {
                    let answer = match &self.disk_works {
                        Ok(()) => {
                            self.disk = *ledger;
                            Event::Persisted
                        }
                        Err(failure) => Event::PersistFailed(failure.clone()),
                    };
                    self.send(answer);
                }
                Effect::Wake { timer, .. } => {
                    self.waiting.retain(|one| !matches!(one, Effect::Wake { timer: other, .. } if *other == timer));
                    self.waiting.push(effect);
                }
                Effect::Look { .. } | Effect::Act(_) | Effect::Report(_) | Effect::Poll { .. } | Effect::Exit => {
                    self.waiting.push(effect);
                }
            }
        }
    }

    /// Performs the first waiting look, action or report; `false` if there is none.
    pub(super) fn perform_one(&mut self) -> bool {
        let busy = |effect: &Effect| matches!(effect, Effect::Look { .. } | Effect::Act(_) | Effect::Report(_));
        let Some(place) = self.waiting.iter().position(busy) else { return false };
        let event = match self.waiting.remove(place) {
            Effect::Look { images } => Event::Looked(Box::new(Look {
                apps: self.engine_answers.clone().map(|()| self.engine.look(&images)),
                os: Ok(Some(self.os.running.clone())),
            })),
            Effect::Act(action) => self.act(&action),
            _ => Event::ReportAnswered,
        };
        self.send(event);
        true
    }

    fn act(&mut self, action: &Action) -> Event {
        if !self.faults.is_empty() {
            return Event::Failed(self.faults.remove(0));
        }
        let answer = match action {
            Action::InstallOs { os } => self.os.install(os).map_err(|error| error.failure()),
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

    pub(super) fn pass(&mut self, millis: i64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Answers the poll under way.
    pub(super) fn offer(&mut self, held: Held) {
        self.waiting.retain(|effect| !matches!(effect, Effect::Poll { .. }));
        self.send(Event::Offered(Box::new(held)));
    }

    fn not_modified(&mut self) {
        self.waiting.retain(|effect| !matches!(effect, Effect::Poll { .. }));
        self.send(Event::NotModified);
    }

    fn since(&mut self, title: &str) {
        let _ = writeln!(self.transcript, "{title}");
    }

    fn take_transcript(&mut self) -> String {
        std::mem::take(&mut self.transcript)
    }
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
        Effect::Look { images } => format!("look ({} images)", images.len()),
        Effect::Act(action) => action.to_string(),
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
    if let Some(refusal) = &report.refused {
        let _ = write!(text, "\n      refused {}: {}", refusal.reason, refusal.message);
    }
    for one in report.conditions.iter().filter(|one| one.status != ConditionStatus::True) {
        let _ = write!(text, "\n      {} {:?} {}: {}", one.kind, one.status, one.reason, one.message);
    }
    text
}

/// A device that has reached its first assignment.
fn settled() -> Bench {
    let mut bench = Bench::new();
    bench.run();
    bench.offer(held(1, web("hello")));
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Settled);
    bench.take_transcript();
    bench
}

#[test]
fn a_new_device_accepts_remembers_applies_and_reports() {
    let mut bench = Bench::new();
    bench.since("started");
    bench.run();
    bench.since("offered 1.1");
    bench.offer(held(1, web("hello")));
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
      persist start 1, nothing
      look (0 images)
      poll without tag for 60s
    started
      wake Work later
      report 1.1 Waiting
    offered 1.1
      persist start 1, 1.1
      look (2 images)
      poll 1.1.6877 for 60s
      report 1.2 Applying
          Ready False Applying: create network of web, and 6 more steps
      create network of web
      pull example/app:1
      pull example/db:1
      create web/db
      start web/db
      create web/app
      start web/app
      look (2 images)
      wake Work later
      persist start 1, 1.1, reached
      report 1.3 Settled
    ");
}

#[test]
fn an_unchanged_look_does_and_says_nothing() {
    let mut bench = settled();
    bench.fire(Timer::Work);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
    look (2 images)
    wake Work later
    ");
}

#[test]
fn only_the_changed_service_is_made_anew() {
    let mut bench = settled();
    bench.offer(held(2, web("good morning")));
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
    persist start 1, 1.2
    look (2 images)
    poll 1.2.b6a1 for 60s
    report 1.4 Applying
        Ready False Applying: remove web/app (differs in environment.GREETING), and 2 more steps
    remove web/app (differs in environment.GREETING)
    create web/app
    start web/app
    look (2 images)
    wake Work later
    persist start 1, 1.2, reached
    report 1.5 Settled
    ");
}

#[test]
fn a_new_release_without_other_content_restarts_nothing() {
    let mut bench = settled();
    let mut spec = web("hello");
    spec.apps.get_mut(&app("web")).expect("the app is there").release = Version::new("2.0.0").expect("a version");
    bench.offer(held(2, spec));
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
    persist start 1, 1.2
    look (2 images)
    poll 1.2.06a6 for 60s
    wake Work later
    persist start 1, 1.2, reached
    report 1.4 Settled
    ");
}

#[test]
fn drift_is_reported_before_it_is_mended() {
    let mut bench = settled();
    let (app, service) = (app("web"), service("app"));
    let name = VariableName::new("GREETING").expect("a variable name");
    bench.engine.tamper(&Tamper::SetVariable { app, service, name, value: "tampered".to_owned() });
    bench.fire(Timer::Work);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
    look (2 images)
    report 1.4 Applying
        found web/app environment.GREETING: tampered instead of hello
        Ready False Applying: remove web/app (differs in environment.GREETING), and 2 more steps
    remove web/app (differs in environment.GREETING)
    create web/app
    start web/app
    look (2 images)
    wake Work later
    report 1.5 Settled
        found web/app environment.GREETING: tampered instead of hello
    ");
}

#[test]
fn a_stopped_service_is_started_and_not_made_anew() {
    let mut bench = settled();
    bench.engine.tamper(&Tamper::Stop { app: app("web"), service: service("db") });
    bench.fire(Timer::Work);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
    look (2 images)
    report 1.4 Applying
        found web/db state: exited with status 137 instead of running
        Ready False Applying: start web/db
    start web/db
    look (2 images)
    wake Work later
    report 1.5 Settled
        found web/db state: exited with status 137 instead of running
    ");
}

#[test]
fn an_unreachable_controller_does_not_keep_drift_from_being_mended() {
    let mut bench = settled();
    bench.engine.tamper(&Tamper::Remove { app: app("web"), service: service("app") });
    bench.fire(Timer::Work);
    // The look, then the report, which gets no answer.
    bench.perform_one();
    bench.waiting.retain(|effect| !matches!(effect, Effect::Report(_)));
    let failure = Failure { reason: "Unreachable", message: "connection refused".to_owned() };
    bench.send(Event::ReportFailed { failure, retry_after_secs: None });
    bench.run();
    bench.since("the controller is back");
    bench.fire(Timer::Report);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
      look (2 images)
      report 1.4 Applying
          found web/app: - instead of present
          Ready False Applying: create web/app, and 1 more steps
      wake Report later
      create web/app
      start web/app
      look (2 images)
      wake Work later
    the controller is back
      report 1.5 Settled
          found web/app: - instead of present
    ");
}

#[test]
fn older_and_changed_assignments_are_refused_and_nothing_is_touched() {
    let mut bench = settled();
    bench.offer(held(3, web("third")));
    bench.run();
    let before = (bench.engine.clone(), bench.disk.clone());
    bench.take_transcript();
    bench.since("an older one");
    bench.fire(Timer::Link);
    bench.offer(held(2, web("second")));
    bench.run();
    bench.since("the same generation with other content");
    bench.fire(Timer::Link);
    bench.offer(held(3, web("other")));
    bench.run();
    bench.since("not modified");
    bench.fire(Timer::Link);
    bench.pass(60_000);
    bench.not_modified();
    bench.run();
    assert_eq!((&bench.engine, &bench.disk), (&before.0, &before.1));
    assert_snapshot!(bench.take_transcript(), @"
    an older one
      wake Link later
      report 1.6 Settled
          refused Outdated: 1.2 is older than 1.3, which is already in the ledger
          AssignmentAccepted False Outdated: 1.2 is older than 1.3, which is already in the ledger
    the same generation with other content
      poll 1.3.f308 for 60s
      wake Link later
      report 1.7 Settled
          refused ContentChanged: 1.3 was accepted before with different content
          AssignmentAccepted False ContentChanged: 1.3 was accepted before with different content
    not modified
      poll 1.3.f308 for 60s
      report 1.8 Settled
      poll 1.3.f308 for 60s
    ");
}

#[test]
fn an_app_that_is_not_assigned_any_more_goes_and_leaves_its_volumes() {
    let mut bench = settled();
    bench.engine.apps.get_mut(&app("web")).expect("it is there").volumes =
        BTreeSet::from(["data".parse().expect("a volume name")]);
    bench.offer(held(2, DeviceSpec::default()));
    bench.run();
    assert_eq!(bench.engine.apps[&app("web")].volumes.len(), 1);
    assert_snapshot!(bench.take_transcript(), @"
    persist start 1, 1.2
    look (0 images)
    poll 1.2.67d6 for 60s
    report 1.4 Applying
        Ready False Applying: remove web/app (not assigned), and 2 more steps
    remove web/app (not assigned)
    remove web/db (not assigned)
    remove network of web
    look (0 images)
    wake Work later
    persist start 1, 1.2, reached
    report 1.5 Settled
    ");
}

#[test]
fn without_an_assignment_nothing_is_touched() {
    let mut donor = settled();
    donor.run();
    let mut bench = Bench::on(donor.engine.clone(), FakeOs::default(), Ledger::default());
    bench.run();
    bench.pass(60_000);
    bench.send(Event::NothingAssigned);
    bench.run();
    assert_eq!(bench.engine, donor.engine);
    assert_snapshot!(bench.take_transcript(), @"
    persist start 1, nothing
    look (0 images)
    poll without tag for 60s
    wake Work later
    report 1.1 Waiting
    poll without tag for 60s
    ");
}

#[test]
fn a_failing_pull_is_tried_again_and_counted_in_the_ledger() {
    let mut bench = settled();
    let mut spec = web("hello");
    let web = spec.apps.get_mut(&app("web")).expect("the app is there");
    web.services.get_mut(&service("db")).expect("it is there").image = "example/db:2".to_owned();
    bench.faults = vec![Failure { reason: "PullFailed", message: "no route to host".to_owned() }; 2];
    bench.offer(held(2, spec));
    bench.run();
    bench.since("second try");
    bench.fire(Timer::Work);
    bench.run();
    bench.since("third try");
    bench.fire(Timer::Work);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
      persist start 1, 1.2
      look (2 images)
      poll 1.2.8f7d for 60s
      report 1.4 Applying
          Ready False Applying: pull example/db:2, and 3 more steps
      pull example/db:2
      wake Work later
      persist start 1, 1.2, failed 1×
      report 1.5 Failing
          Ready False PullFailed: pull example/db:2: no route to host
    second try
      look (2 images)
      pull example/db:2
      wake Work later
      persist start 1, 1.2, failed 2×
    third try
      look (2 images)
      pull example/db:2
      remove web/db (differs in image)
      create web/db
      start web/db
      look (2 images)
      wake Work later
      persist start 1, 1.2, reached
      report 1.6 Settled
    ");
}

#[test]
fn nothing_is_done_before_the_ledger_is_written() {
    let mut bench = settled();
    bench.disk_works = Err(Failure { reason: "LedgerNotWritten", message: "no space left on device".to_owned() });
    bench.offer(held(2, web("second")));
    bench.run();
    bench.since("there is room again");
    bench.disk_works = Ok(());
    bench.fire(Timer::Ledger);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
      persist start 1, 1.2
      wake Ledger later
      wake Link later
      report 1.4 Settled
          LedgerWritable False LedgerNotWritten: no space left on device
    there is room again
      persist start 1, 1.2
      look (2 images)
      report 1.5 Applying
          Ready False Applying: remove web/app (differs in environment.GREETING), and 2 more steps
      remove web/app (differs in environment.GREETING)
      create web/app
      start web/app
      look (2 images)
      wake Work later
      persist start 1, 1.2, reached
      report 1.6 Settled
    ");
}

#[test]
fn an_engine_that_does_not_answer_is_not_an_empty_engine() {
    let mut bench = settled();
    bench.engine_answers = Err(Failure { reason: "EngineUnavailable", message: "connection refused".to_owned() });
    bench.fire(Timer::Work);
    bench.run();
    bench.since("it answers again");
    bench.engine_answers = Ok(());
    bench.fire(Timer::Work);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
      look (2 images)
      wake Work later
      report 1.4 Failing
          EngineAvailable False EngineUnavailable: connection refused
          Ready False EngineUnavailable: connection refused
    it answers again
      look (2 images)
      wake Work later
      report 1.5 Settled
    ");
}

#[test]
fn a_newer_assignment_replaces_the_steps_of_an_older_one() {
    let mut bench = Bench::new();
    bench.run();
    bench.offer(held(1, web("first")));
    // The look, the report and the first step are done; then something newer comes.
    for _ in 0..3 {
        bench.perform_one();
    }
    bench.since("offered 1.2");
    bench.offer(held(2, web("second")));
    bench.run();
    let creates: Vec<u64> = bench.engine.creates.values().copied().collect();
    assert_eq!(creates, [1, 1], "the first greeting was never made");
    assert_snapshot!(bench.take_transcript(), @"
      persist start 1, nothing
      look (0 images)
      poll without tag for 60s
      wake Work later
      report 1.1 Waiting
      persist start 1, 1.1
      look (2 images)
      poll 1.1.8aef for 60s
      report 1.2 Applying
          Ready False Applying: create network of web, and 6 more steps
      create network of web
      pull example/app:1
    offered 1.2
      persist start 1, 1.2
      report 1.3 Applying
          Ready False Applying: a newer assignment was accepted
      poll 1.2.8eb5 for 60s
      look (2 images)
      report 1.4 Applying
          Ready False Applying: pull example/db:1, and 4 more steps
      pull example/db:1
      create web/db
      start web/db
      create web/app
      start web/app
      look (2 images)
      wake Work later
      persist start 1, 1.2, reached
      report 1.5 Settled
    ");
}

#[test]
fn the_os_comes_last_and_touches_no_service() {
    let mut bench = settled();
    let mut spec = web("hello");
    let version = Version::new("2026.11").expect("a version");
    spec.os = Some(OsSpec { name: "kiosk-os".to_owned(), version, url: None, digest: None });
    bench.offer(held(2, spec));
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
    persist start 1, 1.2
    look (2 images)
    poll 1.2.2b16 for 60s
    report 1.4 Applying
        Ready False Applying: install OS kiosk-os 2026.11
    install OS kiosk-os 2026.11
    look (2 images)
    wake Work later
    persist start 1, 1.2, reached
    report 1.5 Settled
    ");
}

#[test]
fn a_stop_waits_for_the_action_under_way_and_for_nothing_else() {
    let mut bench = Bench::new();
    bench.run();
    bench.offer(held(1, web("hello")));
    bench.perform_one();
    bench.take_transcript();
    bench.since("asked to stop");
    bench.send(Event::StopRequested);
    bench.since("the action ends");
    bench.run();
    bench.send(Event::NotModified);
    assert_snapshot!(bench.take_transcript(), @"
    asked to stop
    the action ends
      exit
    ");
}

#[test]
fn a_controller_that_cannot_hold_polls_is_not_asked_in_a_circle() {
    let mut bench = settled();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        bench.not_modified();
        let wait = bench.waiting.iter().find_map(|effect| match effect {
            Effect::Wake { timer: Timer::Link, after_millis } => Some(*after_millis),
            _ => None,
        });
        pauses.push(wait.expect("a pause"));
        bench.fire(Timer::Link);
    }
    assert!(pauses.iter().all(|millis| (100..=60_000).contains(millis)), "{pauses:?}");
    assert!(pauses.iter().sum::<i64>() > 5_000, "{pauses:?}");
}
