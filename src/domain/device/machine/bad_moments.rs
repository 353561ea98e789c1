//! Bad moments of a device that has to prove what it was given: a silent controller, clocks that jump, a disk without room.

use super::bench::{Bench, app, held, service, web};
use super::*;
use crate::domain::reported::Health;
use crate::domain::spec::DeviceSpec;
use proptest::prelude::*;

const DAY_MILLIS: i64 = 86_400_000;

fn soaking(generation: u64, spec: DeviceSpec) -> Held {
    Held { soak_secs: 300, ..held(generation, spec) }
}

/// A device on which `hello` is good.
fn good() -> Bench {
    let mut bench = Bench::new();
    bench.run();
    bench.offer(soaking(1, web("hello")));
    bench.run();
    bench.fire(Timer::Soak);
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Settled);
    bench
}

fn set_health(bench: &mut Bench, health: Health) {
    let found = bench.engine.apps.get_mut(&app("web")).and_then(|web| web.services.get_mut(&service("app")));
    found.expect("it is there").health = health;
}

fn look(bench: &mut Bench) {
    bench.fire(Timer::Work);
    bench.run();
}

fn greeting(bench: &Bench) -> Option<String> {
    let found = bench.engine.apps.get(&app("web"))?.services.get(&service("app"))?;
    found.content.environment.values().next().cloned()
}

/// Every call to the controller comes to nothing.
fn cut_off(bench: &mut Bench) {
    let failure = || Failure { reason: "Unreachable", message: "no route".to_owned() };
    if bench.waiting.iter().any(|effect| matches!(effect, Effect::Poll { .. })) {
        bench.waiting.retain(|effect| !matches!(effect, Effect::Poll { .. }));
        bench.send(Event::LinkFailed { failure: failure(), retry_after_secs: None });
    }
    while let Some(place) = bench.waiting.iter().position(|effect| matches!(effect, Effect::Report(_))) {
        bench.waiting.remove(place);
        bench.send(Event::ReportFailed { failure: failure(), retry_after_secs: None });
    }
}

#[test]
fn a_controller_that_is_gone_for_days_changes_nothing_of_going_back_and_staying() {
    let mut bench = good();
    bench.offer(soaking(2, web("sick")));
    cut_off(&mut bench);
    bench.run();
    set_health(&mut bench, Health::Unhealthy);
    let mut operations = None;
    for hour in 0..96 {
        bench.pass(DAY_MILLIS / 24);
        for timer in [Timer::Work, Timer::Link, Timer::Report] {
            bench.fire(timer);
            cut_off(&mut bench);
            bench.run();
        }
        if bench.disk.end().is_some() && greeting(&bench).as_deref() == Some("hello") {
            let (since, before) = *operations.get_or_insert((hour, bench.engine.operations));
            assert!(since < 2, "it goes back at once");
            assert_eq!(bench.engine.operations, before, "it has nothing more to do");
        }
    }
    let end = bench.disk.end().expect("it failed for good");
    assert_eq!((end.component.as_str(), greeting(&bench).as_deref()), ("web/app", Some("hello")));
    // Once somebody listens, everything is told.
    bench.take_transcript();
    bench.fire(Timer::Link);
    bench.not_modified();
    bench.fire(Timer::Report);
    bench.run();
    assert!(bench.take_transcript().contains("failed while Soaking: web/app: its health check fails (Unhealthy)"));
}

#[test]
fn a_ledger_that_cannot_be_written_delays_everything_and_loses_nothing() {
    for room in 0..8 {
        let mut bench = good();
        let operations = bench.engine.operations;
        bench.room = Some(room);
        bench.offer(soaking(2, web("sick")));
        bench.run();
        set_health(&mut bench, if room == 0 { Health::Unchecked } else { Health::Unhealthy });
        look(&mut bench);
        look(&mut bench);
        if bench.disk.mark() != Some(bench.machine.ledger().mark().expect("it has one")) {
            panic!("the machine believes what the file does not hold");
        }
        if room == 0 {
            assert_eq!(bench.engine.operations, operations, "nothing is done that is not remembered");
        }
        // Power goes while there is no room, or it does not.
        if room % 2 == 0 {
            bench = Bench::on(bench.engine.clone(), bench.os.clone(), bench.disk.clone());
            bench.run();
            bench.fire(Timer::Link);
            bench.offer(soaking(2, web("sick")));
        }
        bench.room = None;
        for _ in 0..3 {
            bench.fire(Timer::Ledger);
            bench.run();
            if bench.disk.end().is_none() && greeting(&bench).as_deref() == Some("sick") {
                set_health(&mut bench, Health::Unhealthy);
            }
            look(&mut bench);
        }
        let end = bench.disk.end().map(|end| end.reason.clone());
        assert_eq!(
            (end.as_deref(), greeting(&bench).as_deref()),
            (Some("Unhealthy"), Some("hello")),
            "room for {room}"
        );
        let conditions = bench.machine.status().conditions;
        assert!(conditions.iter().all(|one| one.kind != "LedgerWritable"), "room for {room}: {conditions:?}");
    }
}

/// Another release, whose image nobody has put into the registry.
fn with_image(image: &str) -> DeviceSpec {
    let mut spec = web("bonjour");
    let front = spec.apps.get_mut(&app("web")).and_then(|web| web.services.get_mut(&service("app")));
    front.expect("it is there").image = image.to_owned();
    spec
}

/// How often an image was asked for in so many days in which the registry says that it has none.
fn asked_for(bench: &mut Bench, image: &str, days: i64) -> usize {
    bench.take_transcript();
    let until = bench.wall().millis() + days * DAY_MILLIS;
    while bench.wall().millis() < until {
        bench.faults = vec![Failure { reason: "NoSuchImage", message: format!("{image}: manifest unknown") }];
        look(bench);
        bench.faults.clear();
    }
    let pull = format!("pull {image}");
    bench.take_transcript().lines().filter(|line| line.trim() == pull).count()
}

#[test]
fn an_image_that_is_nowhere_is_asked_for_in_vain_for_an_hour_and_then_only_at_a_higher_attempt() {
    let mut bench = good();
    let image = "example/app:lost";
    bench.faults = vec![Failure { reason: "NoSuchImage", message: format!("{image}: manifest unknown") }];
    bench.offer(held(2, with_image(image)));
    bench.run();
    let before = bench.wall();
    assert_eq!(asked_for(&mut bench, image, 1), 15, "sixteen times in all");
    let end = bench.disk.end().cloned().expect("it failed for good, without a soak too");
    assert_eq!((end.component.as_str(), end.reason.as_str()), ("images", "NoSuchImage"));
    assert!((600..7_200).contains(&end.at.secs_since(before)), "after {} seconds", end.at.secs_since(before));
    assert_eq!(greeting(&bench).as_deref(), Some("hello"), "nothing has been touched");
    assert_eq!(asked_for(&mut bench, image, 3), 0);
    // A device that starts again does not begin anew, nor does another push of the same content.
    let mut bench = Bench::on(bench.engine.clone(), bench.os.clone(), bench.disk.clone());
    bench.run();
    bench.fire(Timer::Link);
    bench.offer(held(3, with_image(image)));
    bench.run();
    assert_eq!(asked_for(&mut bench, image, 1), 0);
    assert_eq!(bench.machine.phase(), Phase::Failing);
    // Somebody has put it there, and says so.
    bench.fire(Timer::Link);
    bench.offer(Held { attempt: crate::domain::generation::Attempt::FIRST.next(), ..held(4, with_image(image)) });
    bench.run();
    assert_eq!((bench.machine.phase(), greeting(&bench).as_deref()), (Phase::Settled, Some("bonjour")));
}

#[test]
fn a_device_without_anything_good_stops_asking_for_an_image_that_is_nowhere_too() {
    let mut bench = Bench::new();
    bench.run();
    bench.faults = vec![Failure { reason: "NoSuchImage", message: "manifest unknown".to_owned() }];
    bench.offer(held(1, with_image("example/app:lost")));
    bench.run();
    asked_for(&mut bench, "example/app:lost", 1);
    assert_eq!(asked_for(&mut bench, "example/app:lost", 1), 0);
    assert_eq!(bench.disk.end().map(|end| end.reason.as_str()), Some("NoSuchImage"));
}

#[test]
fn a_list_of_actions_that_is_not_believed_slows_no_assignment() {
    let mut bench = good();
    let refused = |bench: &mut Bench| {
        bench.waiting.retain(|effect| !matches!(effect, Effect::Poll { .. }));
        let failure = Failure { reason: "Expired", message: "it expired in 1970".to_owned() };
        bench.send(Event::ActionsRefused { tag: "7.8".to_owned(), failure });
        bench.run();
    };
    let polls = |bench: &Bench| bench.waiting.iter().any(|effect| matches!(effect, Effect::Poll { .. }));
    bench.fire(Timer::Link);
    bench.pass(1_000);
    refused(&mut bench);
    assert!(polls(&bench), "it asks again at once");
    assert_eq!(bench.machine.known_actions(), "7.8", "and is not sent the same again");
    let said = |bench: &Bench| {
        bench.machine.status().conditions.into_iter().find(|one| one.kind == "ActionsAccepted").map(|one| one.message)
    };
    assert_eq!(said(&bench).as_deref(), Some("it expired in 1970"));
    bench.pass(60_000);
    bench.not_modified();
    assert!(said(&bench).is_some(), "nothing says that the clock is right now");
    assert!(polls(&bench));
    bench.offer(held(2, web("bonjour")));
    bench.run();
    assert_eq!(bench.disk.mark().map(|mark| mark.order.to_string()), Some("1.2".to_owned()));
    // After a while it asks for the list again.
    bench.pass(300_000);
    bench.not_modified();
    assert_eq!(bench.machine.known_actions(), "none");
    bench.waiting.retain(|effect| !matches!(effect, Effect::Poll { .. }));
    bench.send(Event::ActionsListed(Vec::new()));
    assert_eq!(said(&bench), None);
    // A controller that sends it again and again without holding the poll is not asked in a circle.
    for _ in 0..3 {
        bench.fire(Timer::Link);
        refused(&mut bench);
    }
    assert!(!polls(&bench));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_happens_in_a_soak_does_not_depend_on_the_wall_clock(
        jumps in proptest::collection::vec(-4_000 * DAY_MILLIS..4_000 * DAY_MILLIS, 12),
        sick_at in 0usize..14,
    ) {
        let outcome = |jumps: Option<&[i64]>| {
            let mut bench = good();
            bench.offer(soaking(2, web("bonjour")));
            bench.run();
            let mut phases = Vec::new();
            for minute in 0..12 {
                bench.jump(jumps.map_or(0, |jumps| jumps[minute]));
                if minute == sick_at && greeting(&bench).as_deref() == Some("bonjour") {
                    set_health(&mut bench, Health::Unhealthy);
                }
                bench.pass(29_000);
                look(&mut bench);
                phases.push((bench.machine.phase(), bench.disk.good, bench.disk.end().map(|end| end.reason.clone())));
            }
            (phases, greeting(&bench), bench.engine.operations)
        };
        prop_assert_eq!(outcome(Some(&jumps)), outcome(None));
    }

    #[test]
    fn a_wall_clock_that_jumps_opens_and_closes_windows_and_spoils_nothing(
        jumps in proptest::collection::vec(-40 * DAY_MILLIS..40 * DAY_MILLIS, 1..8),
    ) {
        let mut bench = good();
        let windows = r#"{"apply": [{"opens": "0 2 * * *", "minutes": 60, "zone": "UTC0"}]}"#;
        let maintenance: crate::domain::spec::Maintenance = serde_json::from_str(windows).expect("windows");
        bench.offer(soaking(2, DeviceSpec { maintenance: maintenance.clone(), ..web("bonjour") }));
        bench.run();
        for jump in jumps {
            bench.jump(jump);
            look(&mut bench);
            let open = maintenance.closed(crate::domain::spec::Purpose::Apply, bench.wall()).is_none();
            let running = bench.engine.apps[&app("web")].services.len();
            prop_assert_eq!(running, 2, "no service is lost");
            prop_assert!(greeting(&bench).as_deref() == Some("hello") || open || bench.disk.applied == bench.disk.mark().map(|mark| mark.digest));
        }
        // The clock is right again, and the window comes.
        let wall = bench.wall().millis();
        bench.jump(2 * 3_600_000 + 60_000 - wall.rem_euclid(DAY_MILLIS));
        look(&mut bench);
        look(&mut bench);
        prop_assert!(greeting(&bench).is_some_and(|said| said == "bonjour"));
    }
}
