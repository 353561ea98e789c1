//! Devices that join while a rollout is under way, and devices that are silent for too long.

use super::*;
use crate::domain::ids::DeviceId;
use crate::domain::plan::rollouts::Contacts;
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;

const SLOW: &str = "\
rollouts:
  slow:
    lost_after: 10m
    steps: [{name: canaries, group: canaries, min_success: 100%, soak: 10m}]
    final: {window: 1h, soak: 1m, min_success: 50%}
rollout: [{stage: main, policy: slow}]
";
const NEW: [&str; 3] = ["new-1", "new-2", "new-3"];

/// v2 goes out; three devices are listed that nobody has enrolled so far.
fn with_three_more() -> World {
    let mut world = running();
    let mut desired = gated("v2", SLOW);
    for name in NEW {
        let new = super::super::world::desired(&format!("{name}:main:v2"));
        desired.devices.insert(device(name), new.devices.get(&device(name)).expect("it is listed").clone());
    }
    world.push_desired("main", 2, desired, Lineage::Extends);
    world
}

fn has(world: &World, name: &str) -> String {
    world.place(name).split(' ').nth(1).unwrap_or("nothing").to_owned()
}

#[test]
fn a_newcomer_gets_nothing_before_the_last_step_reaches_it() {
    let mut world = with_three_more();
    for name in NEW {
        world.enroll(name);
        world.report_with(name, |_| {});
    }
    world.later(60);
    assert_eq!(NEW.map(|name| has(&world, name)), ["nothing"; 3], "the canary has not proven anything");
    world.is_well("canary");
    world.later(601);
    // Every five minutes: how many of the others have been given it.
    let mut counts = Vec::new();
    for _ in 0..13 {
        for name in ["kiosk-1", "kiosk-2"].iter().chain(&NEW) {
            world.report_with(name, |_| {});
        }
        let given = ["kiosk-1", "kiosk-2"].iter().chain(&NEW).filter(|name| has(&world, name) == "v2").count();
        counts.push(given.to_string());
        world.later(299);
    }
    insta::assert_snapshot!(counts.join(" "), @"0 0 1 1 2 2 3 3 3 4 4 5 5");
}

#[test]
fn who_joins_the_last_step_does_not_get_ahead_of_those_who_were_there() {
    let mut world = with_three_more();
    world.is_well("canary");
    world.later(601);
    let begins = world.now;
    for name in NEW {
        world.enroll(name);
    }
    let mut turns = Vec::new();
    let mut given = BTreeSet::new();
    for _ in 0..62 {
        for name in ["kiosk-1", "kiosk-2"].iter().chain(&NEW) {
            world.report_with(name, |_| {});
        }
        world.later(59);
        for name in NEW {
            if has(&world, name) == "v2" && given.insert(name) {
                turns.push(format!("{name} after {} min", world.now.secs_since(begins) / 60));
            }
        }
    }
    insta::assert_snapshot!(turns.join("\n"), @r#"
    new-2 after 30 min
    new-1 after 42 min
    new-3 after 54 min
    "#);
}

/// When devices polled last, and since when anybody listens.
#[derive(Debug)]
struct Polled(BTreeMap<DeviceId, Timestamp>, Option<Timestamp>);

impl Contacts for Polled {
    fn last_seen(&self, device: &DeviceId) -> Option<Timestamp> {
        self.0.get(device).copied()
    }

    fn since(&self) -> Option<Timestamp> {
        self.1
    }
}

/// The canary begins, polls for so long, and is silent then: after how many seconds of silence it is LOST.
fn lost_after(polls_for: i64, since: Option<i64>) -> i64 {
    let mut world = with_three_more();
    let mark = world.state.devices["canary"].assignment.as_ref().expect("it is offered v2").mark();
    world.report_with("canary", |report| {
        report.observed = Some(mark);
        report.phase = Phase::Applying;
    });
    world.pass();
    let last = world.now.plus_secs(polls_for);
    let polled = Polled(BTreeMap::from([(device("canary"), last)]), since.map(|secs| world.now.plus_secs(secs)));
    let mut passes = Passes::default();
    world.now = last;
    for _ in 0..10_000 {
        let input = PassInput {
            now: world.now,
            stages: &world.stages,
            state: &world.state,
            views: &world.views,
            contacts: &polled,
        };
        let changes = passes.pass(&input, &Scope::Devices(BTreeSet::new())).changes;
        passes.note(&world.state, &changes);
        world.state.apply(&changes);
        if world.stands().contains("canary LOST") {
            return world.now.secs_since(last);
        }
        world.now = world.now.plus_secs(5);
    }
    panic!("it is never lost");
}

#[test]
fn a_silent_device_is_lost_when_it_has_been_silent_for_long_enough_and_not_later() {
    let cases =
        [1, 200, 599, 601, 900].map(|secs| format!("polled for {secs}s: lost after {}s", lost_after(secs, None)));
    insta::assert_snapshot!(cases.join("\n"), @r#"
    polled for 1s: lost after 600s
    polled for 200s: lost after 600s
    polled for 599s: lost after 600s
    polled for 601s: lost after 600s
    polled for 900s: lost after 600s
    "#);
}

#[test]
fn nobody_is_lost_for_what_it_said_to_a_controller_that_has_forgotten_it() {
    // Polls are not durable: this one started 300 s after the device was heard of, and the device may have polled until then.
    let secs = lost_after(0, Some(300));
    assert!((900..=905).contains(&secs), "{secs}");
}
