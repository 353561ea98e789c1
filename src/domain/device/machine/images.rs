//! What the agent does about images around bringing them.

use super::bench::{Bench, held, web};
use super::{Effect, Event};
use crate::domain::device::action::Action;
use crate::domain::device::progress::Progress;
use crate::domain::reported::Report;
use std::collections::BTreeSet;

/// Performs what waits until an image is being brought.
fn bringing() -> Bench {
    let mut bench = Bench::new();
    bench.offer(held(1, web("hello")));
    while !bench.waiting.iter().any(|effect| matches!(effect, Effect::Act(Action::Pull { .. }))) {
        assert!(bench.perform_one(), "it comes to pulling:\n{}", bench.transcript);
    }
    bench.waiting.retain(|effect| !matches!(effect, Effect::Report(_)));
    bench.send(Event::ReportAnswered);
    bench
}

fn progress(done_bytes: u64) -> Event {
    Event::Brought(Progress { images: 2, done_bytes, total_bytes: 40_000_000 })
}

/// What the reports that wait say of downloads, and that none waits any more.
fn told(bench: &mut Bench) -> Vec<String> {
    let told = |report: &Report| {
        let mut conditions = report.conditions.iter().filter(|one| one.kind == "Downloading");
        conditions.next().map_or_else(|| "nothing".to_owned(), |one| one.message.clone())
    };
    let reports = bench.waiting.iter().filter_map(|effect| match effect {
        Effect::Report(report) => Some(told(report)),
        _ => None,
    });
    let reports: Vec<String> = reports.collect();
    bench.waiting.retain(|effect| !matches!(effect, Effect::Report(_)));
    if !reports.is_empty() {
        bench.send(Event::ReportAnswered);
    }
    reports
}

#[test]
fn it_is_told_now_and_then_how_far_images_have_come() {
    let mut bench = bringing();
    assert_eq!(bench.machine.next_images(), BTreeSet::from(["example/db:1".to_owned()]), "two at a time");
    bench.send(progress(1_000_000));
    assert_eq!(told(&mut bench), ["1.0 MB of 40.0 MB of 2 images"]);
    for second in 1..20 {
        bench.pass(1000);
        bench.send(progress(1_000_000 + second));
    }
    assert_eq!(told(&mut bench), [""; 0], "not every second");
    bench.pass(1000);
    bench.send(progress(25_000_000));
    assert_eq!(told(&mut bench), ["25.0 MB of 40.0 MB of 2 images"]);
    bench.run();
    bench.send(progress(40_000_000));
    assert_eq!(told(&mut bench), [""; 0], "nothing is on its way any more");
}

#[test]
fn images_are_tidied_up_once_after_each_change_and_those_of_the_ledger_stay() {
    let mut bench = Bench::new();
    bench.offer(held(1, web("hello")));
    bench.run();
    let images = BTreeSet::from(["example/app:1", "example/db:1"].map(str::to_owned));
    assert_eq!(bench.tidied, std::slice::from_ref(&images));
    bench.fire(super::Timer::Work);
    bench.run();
    assert_eq!(bench.tidied.len(), 1, "not at every look");
    bench.offer(held(2, web("good morning")));
    bench.run();
    assert_eq!(bench.tidied, [images.clone(), images]);
}
