//! What holds for updates by any strategy, under any locks, and whatever becomes of what was assigned.

use crate::domain::device::ledger::Held;
use crate::domain::device::locks::{Lock, Place};
use crate::domain::device::machine::bench::{Bench, app, held, service, web};
use crate::domain::device::machine::laws::{any_spec, is_reached};
use crate::domain::device::machine::{Phase, Timer};
use crate::domain::device::steps::images;
use crate::domain::generation::Attempt;
use crate::domain::reported::Health;
use crate::domain::spec::{DeviceSpec, Strategy as UpdateStrategy};
use proptest::prelude::*;

fn any_strategy() -> impl Strategy<Value = UpdateStrategy> {
    prop_oneof![
        Just(UpdateStrategy::DownloadThenKill),
        Just(UpdateStrategy::KillThenDownload),
        Just(UpdateStrategy::DeleteThenDownload),
        Just(UpdateStrategy::HandOver),
    ]
}

/// A spec in which each service has a strategy of its own.
fn any_strategic_spec() -> impl Strategy<Value = DeviceSpec> {
    (any_spec(), proptest::collection::vec(any_strategy(), 6)).prop_map(|(mut spec, strategies)| {
        let services = spec.apps.values_mut().flat_map(|app| app.services.values_mut());
        for (service, strategy) in services.zip(strategies) {
            service.update.strategy = strategy;
        }
        spec
    })
}

/// Lets time pass until nothing is under way any more.
fn settle(bench: &mut Bench) {
    bench.run();
    for timer in [Timer::HandOver, Timer::Work, Timer::HandOver, Timer::Work, Timer::Soak] {
        bench.fire(timer);
        bench.run();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_strategy_ends_at_what_is_wanted_whenever_the_agent_is_killed(
        first in any_strategic_spec(),
        second in any_strategic_spec(),
        kills in proptest::collection::vec(0usize..12, 0..4),
    ) {
        let mut bench = Bench::new();
        bench.run();
        bench.offer(held(1, first));
        settle(&mut bench);
        bench.offer(held(2, second.clone()));
        for kill in kills {
            for _ in 0..kill {
                bench.perform_one();
            }
            bench = Bench::on(bench.engine.clone(), bench.os.clone(), bench.disk.clone());
        }
        settle(&mut bench);
        prop_assert!(is_reached(&second, &bench.engine), "{}", bench.transcript);
        prop_assert!(bench.engine.apps.values().all(|app| app.successors.is_empty()));
        prop_assert_eq!(bench.machine.phase(), Phase::Settled);
    }

    #[test]
    fn nothing_stops_before_all_images_are_there(first in any_spec(), second in any_spec()) {
        let mut bench = Bench::new();
        bench.run();
        bench.offer(held(1, first));
        bench.run();
        bench.stops.clear();
        bench.offer(held(2, second.clone()));
        bench.run();
        for (id, present) in &bench.stops {
            prop_assert!(images(&second).is_subset(present), "{id:?} stopped too early");
        }
    }

    #[test]
    fn what_is_locked_runs_on_and_everything_comes_once_it_is_not(
        first in any_strategic_spec(),
        second in any_strategic_spec(),
        locked in proptest::collection::vec((0u8..2, 0u8..3), 0..3),
    ) {
        let mut bench = Bench::new();
        bench.run();
        bench.offer(held(1, first));
        settle(&mut bench);
        let place = |(a, s): (u8, u8)| (app(["one", "two"][usize::from(a)]), service(&format!("s{s}")));
        let locked: Vec<_> = locked.into_iter().map(place).collect();
        let lock = |(app, service): &(_, _)| {
            let (app, service) = (Clone::clone(app), Clone::clone(service));
            Lock::of_file(Place::Service { app, service }, None, Ok(b""))
        };
        bench.locks.held = locked.iter().map(lock).collect();
        bench.stops.clear();
        bench.offer(held(2, second.clone()));
        settle(&mut bench);
        prop_assert!(bench.stops.iter().all(|(id, _)| !locked.contains(id)), "{:?} of {locked:?}", bench.stops);
        bench.locks.held.clear();
        settle(&mut bench);
        prop_assert!(is_reached(&second, &bench.engine), "{}", bench.transcript);
    }

    #[test]
    fn what_failed_for_good_is_left_once_and_not_tried_again(
        events in proptest::collection::vec((0u8..4, 0u8..3, any::<bool>()), 1..12),
    ) {
        let mut bench = Bench::new();
        bench.run();
        let mut generation = 0;
        for (event, content, sick) in events {
            match event {
                // Something is assigned; now and then what had failed, at the same attempt.
                0 | 1 => {
                    generation += 1;
                    bench.fire(Timer::Link);
                    bench.offer(Held { soak_secs: 60, ..held(generation, web(&format!("{content}"))) });
                }
                2 => {
                    let found = bench.engine.apps.get_mut(&app("web")).and_then(|web| web.services.get_mut(&service("app")));
                    if let Some(found) = found {
                        found.health = if sick { Health::Unhealthy } else { Health::Unchecked };
                    }
                }
                _ => {
                    bench.fire(Timer::Soak);
                }
            }
            bench.run();
            bench.fire(Timer::Work);
            bench.run();
            let Some(target) = bench.machine.target() else { continue };
            let failed = bench.disk.failed.iter().find(|one| one.digest == target.mark.digest);
            let end = failed.filter(|one| one.attempt >= Attempt::FIRST).and_then(|one| one.end.as_ref());
            let left = end.filter(|end| end.rolled_back_to.is_some());
            // What was good later on is good, whatever it was before.
            prop_assert!(left.is_none() || bench.disk.good == Some(target.mark.digest), "{}", bench.transcript);
            prop_assert!(bench.disk.previous.as_ref().map(|one| one.mark.digest) != bench.disk.mark().map(|one| one.digest));
        }
    }
}
