//! What services say of themselves counts like a health check.

use crate::domain::device::ledger::Held;
use crate::domain::device::local::Ask;
use crate::domain::device::local::Verdict::{self, Healthy, Unhealthy};
use crate::domain::device::machine::bench::{Bench, held, web};
use crate::domain::device::machine::{Phase, Timer};
use crate::domain::spec::DeviceSpec;

fn soaking(generation: u64, spec: DeviceSpec) -> Held {
    Held { soak_secs: 300, ..held(generation, spec) }
}

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

/// `app` speaks for itself.
fn say(bench: &mut Bench, verdict: Verdict, message: &str, for_secs: Option<u32>) {
    let service = "web/app".parse().expect("a service");
    let ask = Ask::TellHealth { service, verdict, message: message.to_owned(), for_secs };
    let event = bench.machine.asked(ask, bench.wall()).expect("it may");
    bench.send(event);
    bench.run();
}

fn look(bench: &mut Bench) {
    bench.fire(Timer::Work);
    bench.run();
}

#[test]
fn a_service_that_says_that_it_is_not_well_leads_back_at_once() {
    let mut bench = good();
    bench.offer(soaking(2, web("bonjour")));
    bench.run();
    say(&mut bench, Unhealthy, "no satellites", None);
    let end = bench.disk.end().expect("it failed for good");
    assert_eq!(
        end.describe(),
        "web/app: it says that it is not well: no satellites (ToldUnhealthy); went back to 687701ea39aa"
    );
    assert_eq!(bench.machine.phase(), Phase::Failing);
    look(&mut bench);
    assert_eq!(bench.machine.target().map(|held| held.mark.order.to_string()), Some("1.1".to_owned()));
}

#[test]
fn what_the_container_before_said_is_not_held_against_the_next_one() {
    let mut bench = good();
    say(&mut bench, Unhealthy, "no satellites", None);
    look(&mut bench);
    assert_eq!(bench.machine.phase(), Phase::Settled, "what was good is left alone");
    bench.offer(soaking(2, web("bonjour")));
    bench.run();
    assert!(bench.disk.end().is_none(), "{:?}", bench.disk.end());
    assert!(
        bench.machine.status().conditions.iter().all(|one| one.kind != "ServicesHealthy"),
        "it has said nothing yet"
    );
    bench.fire(Timer::Soak);
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Settled);
}

#[test]
fn a_service_that_owes_a_word_has_not_soaked_and_fails_after_a_quarter_of_an_hour() {
    let mut bench = good();
    bench.offer(soaking(2, web("bonjour")));
    bench.run();
    say(&mut bench, Healthy, "", Some(60));
    bench.fire(Timer::Soak);
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Applying, "it has been silent for four minutes");
    // Whatever somebody does to the wall clock.
    bench.jump(-86_400_000);
    look(&mut bench);
    say(&mut bench, Healthy, "", Some(60));
    look(&mut bench);
    assert_eq!(bench.machine.phase(), Phase::Applying, "it soaks anew");
    assert!(bench.disk.end().is_none());
    bench.pass(16 * 60_000 + 60_000);
    look(&mut bench);
    let end = bench.disk.end().expect("it failed for good");
    assert_eq!((end.component.as_str(), end.reason.as_str()), ("web/app", "Silent"));
}

#[test]
fn a_service_that_keeps_its_word_soaks() {
    let mut bench = good();
    bench.offer(soaking(2, web("bonjour")));
    bench.run();
    for _ in 0..6 {
        say(&mut bench, Healthy, "", Some(120));
        bench.pass(60_000);
        look(&mut bench);
    }
    assert_eq!(bench.machine.phase(), Phase::Settled);
}
