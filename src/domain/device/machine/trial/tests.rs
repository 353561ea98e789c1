//! Assignments that prove themselves, and those that do not: scripts in, transcripts out.

use crate::domain::assignment::Force;
use crate::domain::device::dump::CoreDump;
use crate::domain::device::ledger::Held;
use crate::domain::device::locks::{Lock, LockText, Place};
use crate::domain::device::machine::bench::{Bench, app, held, service, web};
use crate::domain::device::machine::{Effect, Event, Timer};
use crate::domain::generation::Attempt;
use crate::domain::reported::{Health, Phase, ServiceState};
use crate::domain::spec::{DeviceSpec, Port, Probe, ProbeCheck, Strategy, Transport, Update};
use insta::assert_snapshot;
use std::collections::BTreeSet;

fn soaking(generation: u64, spec: DeviceSpec) -> Held {
    Held { soak_secs: 300, ..held(generation, spec) }
}

/// A device on which `hello` is good.
fn good() -> Bench {
    let mut bench = Bench::new();
    bench.run();
    bench.offer(soaking(1, web("hello")));
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Applying);
    assert!(bench.fire(Timer::Soak));
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Settled);
    bench.take_transcript();
    bench
}

/// What becomes of the containers of `app`.
fn set(bench: &mut Bench, state: ServiceState, restarts: u64, health: Health) {
    let found = bench.engine.apps.get_mut(&app("web")).and_then(|web| web.services.get_mut(&service("app")));
    let found = found.expect("it is there");
    (found.state, found.restarts, found.health) = (state, restarts, health);
}

fn look(bench: &mut Bench) {
    bench.fire(Timer::Work);
    bench.run();
}

#[test]
fn what_has_soaked_is_good() {
    let mut bench = good();
    bench.offer(soaking(2, web("bonjour")));
    bench.run();
    bench.since("a look in between");
    look(&mut bench);
    bench.since("the soak is over");
    bench.fire(Timer::Soak);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
      persist start 1, 1.2
      look (2 images)
      poll 1.2.6af6 for 60s
      report 1.5 Applying
          Ready False Applying: remove web/app (environment GREETING changed), and 2 more steps
      remove web/app (environment GREETING changed)
      create web/app
      start web/app
      look (2 images)
      wake Soak later
      wake Work later
      persist start 1, 1.2, reached
      report 1.6 Applying
          Ready False Soaking: everything is there and has to stay well for 5m
    a look in between
      look (2 images)
      wake Work later
    the soak is over
      look (2 images)
      wake Work later
      persist start 1, 1.2, reached
      report 1.7 Settled
    ");
    assert_eq!(bench.disk.good, bench.disk.mark().map(|mark| mark.digest));
}

#[test]
fn a_wall_clock_that_jumps_neither_ends_nor_stretches_a_soak() {
    let mut bench = good();
    bench.offer(soaking(2, web("bonjour")));
    bench.run();
    bench.jump(86_400_000);
    look(&mut bench);
    assert_eq!(bench.machine.phase(), Phase::Applying);
    bench.jump(-2 * 86_400_000);
    bench.fire(Timer::Soak);
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Settled);
}

#[test]
fn a_failure_names_the_newest_core_dump_of_its_own_attempt() {
    let check = |dumps: &[(&str, i64)], expected: Option<&str>| {
        let mut bench = good();
        bench.jump(60_000);
        bench.offer(soaking(2, web("crash")));
        bench.run();
        let dump = |(name, after): &(&str, i64)| CoreDump {
            name: (*name).to_owned().try_into().expect("a name"),
            bytes: 7,
            at: bench.wall().plus_millis(*after),
        };
        bench.dumps = dumps.iter().map(dump).collect();
        set(&mut bench, ServiceState::Running, 7, Health::Unchecked);
        assert_eq!(bench.machine.dump_to_send(), None, "nothing has failed");
        look(&mut bench);
        let sent = bench.machine.dump_to_send().map(|dump| dump.name.as_str());
        assert_eq!(sent, expected);
        assert_eq!(bench.disk.end().and_then(|end| end.core_dump.as_ref()).map(|dump| dump.name.as_str()), expected);
    };
    check(&[], None);
    check(&[("core.before", -60_000)], None);
    check(&[("core.before", -60_000), ("core.app", 1), ("core.other", 0)], Some("core.app"));
}

#[test]
fn a_crash_loop_within_the_soak_leads_back_without_the_controller() {
    let mut bench = good();
    bench.offer(soaking(2, web("crash")));
    bench.run();
    bench.take_transcript();
    bench.logs = [((app("web"), service("app")), vec!["panic: no greeting of this name".to_owned()])].into();
    set(&mut bench, ServiceState::Running, 7, Health::Unchecked);
    look(&mut bench);
    assert_snapshot!(bench.take_transcript(), @"
    look (2 images)
    persist start 1, 1.2, reached, failed 1×
    look (2 images)
    look (2 images)
    report 1.7 Failing
        failed while Soaking: web/app: it ended 5 times or more within 10 minutes (CrashLoop); went back to 687701ea39aa
          | panic: no greeting of this name
        Ready False RolledBack: web/app: it ended 5 times or more within 10 minutes (CrashLoop); went back to 687701ea39aa
    remove web/app (environment GREETING changed)
    create web/app
    start web/app
    look (2 images)
    wake Work later
    persist start 1, 1.2, failed 1×
    report 1.8 Failing
        failed while Soaking: web/app: it ended 5 times or more within 10 minutes (CrashLoop); went back to 687701ea39aa
          | panic: no greeting of this name
        Ready False RolledBack: web/app: it ended 5 times or more within 10 minutes (CrashLoop); went back to 687701ea39aa
    ");
    bench.since("the agent starts again: it stays");
    bench = Bench::on(bench.engine.clone(), bench.os.clone(), bench.disk.clone());
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
    wake Link later
    persist start 2, 1.2, failed 1×
    look (2 images)
    wake Work later
    report 2.1 Failing
        failed while Soaking: web/app: it ended 5 times or more within 10 minutes (CrashLoop); went back to 687701ea39aa
          | panic: no greeting of this name
        Ready False RolledBack: web/app: it ended 5 times or more within 10 minutes (CrashLoop); went back to 687701ea39aa
    ");
}

#[test]
fn a_digest_that_failed_is_tried_again_only_at_a_higher_attempt() {
    let mut bench = good();
    bench.offer(soaking(2, web("crash")));
    bench.run();
    set(&mut bench, ServiceState::Running, 7, Health::Unchecked);
    look(&mut bench);
    let operations = bench.engine.operations;
    bench.fire(Timer::Link);
    bench.offer(soaking(3, web("crash")));
    bench.run();
    assert_eq!(bench.engine.operations, operations, "the same attempt at another place is the same attempt");
    bench.take_transcript();
    let second = Attempt::FIRST.next();
    bench.fire(Timer::Link);
    bench.offer(Held { attempt: second, ..soaking(4, web("crash")) });
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
    persist start 1, 1.4, failed 1×
    look (2 images)
    poll 1.4.0ccb for 60s
    report 1.10 Applying
        Ready False Applying: remove web/app (environment GREETING changed), and 2 more steps
    remove web/app (environment GREETING changed)
    create web/app
    start web/app
    look (2 images)
    wake Soak later
    wake Work later
    persist start 1, 1.4, reached, failed 1×
    report 1.11 Applying
        Ready False Soaking: everything is there and has to stay well for 5m
    ");
}

#[test]
fn what_was_good_and_is_not_any_more_is_not_left_again() {
    let mut bench = good();
    bench.offer(soaking(2, web("crash")));
    bench.run();
    set(&mut bench, ServiceState::Running, 7, Health::Unchecked);
    look(&mut bench);
    let operations = bench.engine.operations;
    for restarts in [3, 6, 9, 12, 15] {
        set(&mut bench, ServiceState::Running, restarts, Health::Unchecked);
        look(&mut bench);
    }
    assert_eq!(bench.engine.operations, operations, "it stays, whatever becomes of it");
    assert_eq!(bench.machine.phase(), Phase::Failing);
    bench.take_transcript();
    bench.since("another assignment is another chance");
    bench.fire(Timer::Link);
    bench.offer(soaking(3, web("bonjour")));
    bench.run();
    bench.fire(Timer::Soak);
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Settled);
}

#[test]
fn without_anything_good_before_it_stays_and_says_so() {
    let mut bench = Bench::new();
    bench.run();
    bench.offer(soaking(1, web("crash")));
    bench.run();
    bench.take_transcript();
    set(&mut bench, ServiceState::Running, 7, Health::Unchecked);
    look(&mut bench);
    assert_snapshot!(bench.take_transcript(), @"
    look (2 images)
    persist start 1, 1.1, reached, failed 1×
    look (2 images)
    wake Work later
    report 1.4 Failing
        failed while Soaking: web/app: it ended 5 times or more within 10 minutes (CrashLoop); there is nothing good to go back to
        Healthy False CrashLoop: web/app: it ended 5 times or more within 10 minutes
        Ready False Failed: web/app: it ended 5 times or more within 10 minutes (CrashLoop); there is nothing good to go back to
    ");
}

#[test]
fn an_unhealthy_service_leads_back_and_one_that_is_not_on_trial_does_not() {
    let mut bench = good();
    set(&mut bench, ServiceState::Running, 0, Health::Unhealthy);
    look(&mut bench);
    assert!(bench.disk.end().is_none(), "what was good is mended, not left");
    set(&mut bench, ServiceState::Running, 0, Health::Unchecked);
    bench.offer(soaking(2, web("sick")));
    bench.run();
    set(&mut bench, ServiceState::Running, 0, Health::Unhealthy);
    look(&mut bench);
    let end = bench.disk.end().expect("it failed for good");
    assert_eq!((end.component.as_str(), end.reason.as_str()), ("web/app", "Unhealthy"));
}

#[test]
fn without_a_soak_nothing_leads_back() {
    let mut bench = good();
    bench.offer(held(2, web("crash")));
    bench.run();
    set(&mut bench, ServiceState::Running, 99, Health::Unhealthy);
    look(&mut bench);
    assert_eq!(bench.disk.end(), None);
}

#[test]
fn probes_decide_when_a_soak_begins_and_whether_it_ends_well() {
    let mut spec = web("probed");
    let front =
        spec.apps.get_mut(&app("web")).and_then(|web| web.services.get_mut(&service("app"))).expect("it is there");
    front.probes = [("page".to_owned(), Probe::of(ProbeCheck::Http { port: 80, path: "/".to_owned() }))].into();
    let mut bench = good();
    bench.offer(soaking(2, spec));
    bench.run();
    bench.since("three tries fail");
    bench.wrong = [("page", "/ answers with status 500")].into();
    for _ in 0..3 {
        bench.fire(Timer::Probe);
        bench.run();
    }
    assert_snapshot!(bench.take_transcript(), @"
      persist start 1, 1.2
      look (2 images)
      poll 1.2.caa1 for 60s
      report 1.5 Applying
          Ready False Applying: remove web/app (environment GREETING changed), and 2 more steps
      remove web/app (environment GREETING changed)
      create web/app
      start web/app
      look (2 images)
      wake Work later
      persist start 1, 1.2, reached
      report 1.6 Applying
          Ready False Soaking: everything is there and has to stay well for 5m
      probe page
      look (2 images)
      wake Probe later
      wake Soak later
      wake Work later
    three tries fail
      probe page
      wake Probe later
      probe page
      wake Probe later
      probe page
      look (2 images)
      wake Probe later
      persist start 1, 1.2, reached, failed 1×
      look (2 images)
      look (2 images)
      report 1.7 Failing
          failed while Soaking: web/app: its probe `page` fails: / answers with status 500 (ProbeFailed); went back to 687701ea39aa
          Ready False RolledBack: web/app: its probe `page` fails: / answers with status 500 (ProbeFailed); went back to 687701ea39aa
      remove web/app (environment GREETING changed)
      create web/app
      start web/app
      look (2 images)
      wake Work later
      persist start 1, 1.2, failed 1×
      report 1.8 Failing
          failed while Soaking: web/app: its probe `page` fails: / answers with status 500 (ProbeFailed); went back to 687701ea39aa
          Ready False RolledBack: web/app: its probe `page` fails: / answers with status 500 (ProbeFailed); went back to 687701ea39aa
    ");
}

fn hand_over(greeting: &str) -> DeviceSpec {
    let mut spec = web(greeting);
    let front = spec.apps.get_mut(&app("web")).and_then(|web| web.services.get_mut(&service("app")));
    let update = Update { strategy: Strategy::HandOver, handover_timeout_secs: Some(20) };
    front.expect("it is there").update = update;
    spec
}

#[test]
fn a_hand_over_that_was_cut_off_when_the_old_one_had_stopped_is_ended_and_not_begun_anew() {
    let mut bench = good();
    bench.offer(held(2, hand_over("bonjour")));
    bench.run();
    let web = bench.engine.apps.get_mut(&app("web")).expect("it is there");
    assert!(web.successors.contains_key(&service("app")));
    web.services.get_mut(&service("app")).expect("it is there").state = ServiceState::Exited(0);
    let mut bench = Bench::on(bench.engine.clone(), bench.os.clone(), bench.disk.clone());
    bench.run();
    let told = bench.take_transcript();
    assert!(told.contains("hand over web/app (environment GREETING changed)"), "{told}");
    assert!(!told.contains("remove ") && !told.contains("create "), "what stands in for it stays: {told}");
    assert_eq!(bench.machine.phase(), Phase::Settled, "{told}");
}

#[test]
fn a_service_whose_port_another_one_needs_gives_way_at_once_though_it_is_handed_over_otherwise() {
    let port =
        || BTreeSet::from([Port { target: 80, transport: Transport::Tcp, published: Some(8080), host_ip: None }]);
    let owned_by = |mut spec: DeviceSpec, owner: &str| {
        let web = spec.apps.get_mut(&app("web")).expect("it is there");
        web.services.get_mut(&service(owner)).expect("it is there").ports = port();
        spec
    };
    let mut bench = Bench::new();
    bench.run();
    bench.offer(held(1, owned_by(web("hello"), "app")));
    bench.run();
    bench.take_transcript();
    // `app` depends on `db`, which cannot start before `app` has let go of the port.
    bench.offer(held(2, owned_by(hand_over("hello"), "db")));
    bench.run();
    let told = bench.take_transcript();
    assert!(told.contains("remove web/app (ports changed)"), "{told}");
    assert_eq!(bench.machine.phase(), Phase::Settled, "{told}");
}

#[test]
fn a_service_is_handed_over_when_the_next_one_is_ready_or_its_time_is_up() {
    let mut bench = good();
    bench.offer(held(2, hand_over("bonjour")));
    bench.run();
    bench.since("its time is up");
    bench.fire(Timer::HandOver);
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
      persist start 1, 1.2
      look (2 images)
      poll 1.2.4c8d for 60s
      report 1.5 Applying
          Ready False Applying: create the next web/app, and 1 more steps
      create the next web/app
      start the next web/app
      look (2 images)
      wake HandOver later
      wake Work later
      report 1.6 Applying
          Ready False WaitingForServices: web/app waits for the next container to take over
    its time is up
      look (2 images)
      report 1.7 Applying
          Ready False Applying: hand over web/app (environment GREETING changed)
      hand over web/app (environment GREETING changed)
      look (2 images)
      wake Work later
      persist start 1, 1.2, reached
      report 1.8 Settled
    ");
    bench.since("the next one says so");
    bench.fire(Timer::Link);
    bench.offer(held(3, hand_over("salut")));
    bench.run();
    bench.locks.handed_over.insert((app("web"), service("app")));
    look(&mut bench);
    assert_eq!(bench.machine.phase(), Phase::Settled);
    bench.locks.handed_over.clear();
    bench.take_transcript();
    bench.since("killed in the middle, and asked for something else meanwhile");
    bench.fire(Timer::Link);
    bench.offer(held(4, hand_over("hallo")));
    bench.run();
    let mut bench = Bench::on(bench.engine.clone(), bench.os.clone(), bench.disk.clone());
    bench.run();
    bench.offer(held(5, hand_over("salut")));
    bench.run();
    assert_snapshot!(bench.take_transcript(), @"
    wake Link later
    persist start 2, 1.4
    look (2 images)
    wake HandOver later
    wake Work later
    report 2.1 Applying
        Ready False WaitingForServices: web/app waits for the next container to take over
    persist start 2, 1.5, reached
    look (2 images)
    poll 1.5.213c for 60s
    wake HandOver later
    report 2.2 Applying
        found web/app next container: present instead of -
        Ready False Applying: remove the next web/app
    remove the next web/app
    look (2 images)
    wake Work later
    report 2.3 Settled
        found web/app next container: present instead of -
    ");
    assert_eq!(bench.machine.phase(), Phase::Settled);
}

#[test]
fn a_lock_is_waited_for_told_and_gone_over_by_force() {
    let mut bench = good();
    let place = Place::Service { app: app("web"), service: service("app") };
    let text = LockText { owner: Some("route guidance".to_owned()), ..LockText::default() }.to_text();
    bench.locks.held = vec![Lock::of_file(place, None, Ok(text.as_bytes()))];
    bench.offer(held(2, web("bonjour")));
    bench.run();
    bench.since("a day later");
    bench.pass(86_400_000);
    look(&mut bench);
    assert_snapshot!(bench.take_transcript(), @"
      persist start 1, 1.2
      look (2 images)
      poll 1.2.6af6 for 60s
      wake Work later
      report 1.5 Applying
          the lock of web/app is held by `route guidance`
          Ready False Locked: web/app waits for the lock of web/app, held by `route guidance`
    a day later
      look (2 images)
      wake Work later
    ");
    bench.since("an operator goes over it");
    let force = Force { actor: "ada".parse().expect("an actor"), reason: "the road is closed".to_owned() };
    bench.fire(Timer::Link);
    bench.offer(Held { force: Some(force), ..held(3, web("bonjour")) });
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Settled);
    assert_snapshot!(bench.take_transcript(), @"
    an operator goes over it
      persist start 1, 1.3
      look (2 images)
      poll 1.3.6af6 for 60s
      report 1.6 Applying
          the lock of web/app is held by `route guidance`
          Ready False Applying: remove web/app (environment GREETING changed), and 2 more steps
      remove web/app (environment GREETING changed)
      create web/app
      start web/app
      look (2 images)
      wake Work later
      persist start 1, 1.3, reached
      report 1.7 Settled
          the lock of web/app is held by `route guidance`
    ");
}

#[test]
fn a_lock_that_is_taken_right_before_an_action_keeps_it_off() {
    let mut bench = good();
    bench.offer(held(2, web("bonjour")));
    // The look, the report; the removal is asked for and not performed yet.
    bench.perform_one();
    bench.perform_one();
    let asked = bench.waiting.iter().position(|effect| matches!(effect, Effect::Act(_))).expect("it acts");
    let Effect::Act(action) = bench.waiting.remove(asked) else { return };
    let place = Place::Service { app: app("web"), service: service("app") };
    bench.locks.held = vec![Lock::of_file(place, None, Ok(b""))];
    let failure = bench.machine.forbids(&action, &bench.locks).expect("it is locked");
    let operations = bench.engine.operations;
    bench.send(Event::Failed(failure));
    bench.run();
    assert_eq!(bench.engine.operations, operations);
    assert_eq!(bench.machine.phase(), Phase::Applying, "that is no failure");
}
