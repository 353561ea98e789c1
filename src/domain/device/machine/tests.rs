//! The machine beside a fake device: scripts in, a transcript that a person can read out.

use super::bench::{Bench, app, held, service, web};
use super::*;
use crate::domain::ids::{VariableName, Version};
use crate::domain::spec::DeviceSpec;
use crate::ports::engine::fake::Tamper;
use crate::ports::os::fake::FakeOs;
use insta::assert_snapshot;

/// A device that has reached its first assignment.
pub(super) fn settled() -> Bench {
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
        Ready False Applying: remove web/app (environment GREETING changed), and 2 more steps
    remove web/app (environment GREETING changed)
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
        Ready False Applying: remove web/app (environment GREETING changed), and 2 more steps
    remove web/app (environment GREETING changed)
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
fn a_report_that_was_asked_for_and_failed_goes_out_again() {
    let mut bench = settled();
    bench.since("the controller offers what is here already");
    bench.pass(60_000);
    bench.offer(held(1, web("hello")));
    bench.waiting.retain(|effect| !matches!(effect, Effect::Report(_)));
    let failure = Failure { reason: "Unreachable", message: "connection refused".to_owned() };
    bench.send(Event::ReportFailed { failure, retry_after_secs: None });
    bench.fire(Timer::Report);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
    the controller offers what is here already
      report 1.4 Settled
      poll 1.1.6877 for 60s
      wake Report later
      report 1.5 Settled
    ");
}

#[test]
fn a_controller_that_forgot_a_report_is_told_again() {
    let mut bench = settled();
    let mut polled = |title: &str, seq| {
        bench.since(title);
        bench.pass(60_000);
        bench.send(Event::Recorded(ReportId { start: 1, seq }));
        bench.not_modified();
        bench.run();
    };
    polled("it has the newest", 3);
    polled("it was restored from a backup", 2);
    polled("it has the newest again", 4);
    assert_snapshot!(bench.take_transcript(), @"
    it has the newest
      poll 1.1.6877 for 60s
    it was restored from a backup
      report 1.4 Settled
      poll 1.1.6877 for 60s
    it has the newest again
      poll 1.1.6877 for 60s
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
      remove web/db (image changed)
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
          Ready False Applying: remove web/app (environment GREETING changed), and 2 more steps
      remove web/app (environment GREETING changed)
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
