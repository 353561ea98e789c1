//! Who holds a slot, and for how long.

use super::*;
use crate::domain::ids::LabelName;
use crate::domain::rollout::budget::Budget;

/// One of a site may be away at once.
fn one_of_a_site(policy: Policy) -> Policy {
    let label = LabelName::new("site").expect("a label");
    let budget = Budget { label, max_unavailable: Some(Amount::Count(1)), min_available: None };
    Policy { budgets: vec![budget], ..policy }
}

fn at_bern(manner: Manner) -> Device {
    Device::good().label("site", "bern").manner(manner)
}

fn hold(bench: &mut Bench, name: &str) {
    bench.fleet.devices.get_mut(name).expect("a device").excluded = Some("held".to_owned());
    bench.hear(name, Word::Left { reason: "held".to_owned() });
}

#[test]
fn a_device_that_is_held_while_it_works_gives_its_slot_back_and_still_counts() {
    let mut bench = Bench::of(one_of_a_site(policy()), 2, &at_bern(Manner::Good(400))).active();
    bench.run_for(5);
    let (_, first) = bench.offered()[0].clone();
    assert_eq!(bench.count_offered(), 1);
    hold(&mut bench, &first);
    assert_eq!(bench.count_offered(), 2, "nobody waits for one that is held");
    assert_eq!((bench.step(0).counts.members, bench.member(&first).phase.as_str()), (2, "IN_PROGRESS"));
    bench.run_for(3600);
    assert_eq!(bench.step(0).counts.ok, 2, "it had begun, and went on");
}

/// Two of three devices have the change, and go back one after the other.
fn going_back(manner: Manner) -> Bench {
    let last = StepPolicy { window_secs: 600, ..StepPolicy::last() };
    let mut bench = Bench::of(one_of_a_site(Policy { last, ..policy() }), 3, &at_bern(Manner::Good(5))).active();
    bench.run_for(400);
    assert_eq!(bench.step(0).counts.ok, 2);
    bench.fleet.devices.values_mut().for_each(|one| one.manner = manner);
    bench.act(Act::Rollback).expect("it is active");
    bench
}

fn sent_back(bench: &Bench) -> Vec<String> {
    let sent = bench.effects.iter().filter_map(|(_, effect)| match effect {
        Effect::GoBack { device, .. } => Some(device.to_string()),
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_device_that_is_held_on_its_way_back_gives_its_slot_back() {
    let mut bench = going_back(Manner::Good(400));
    bench.run_for(5);
    let [first] = &sent_back(&bench)[..] else { panic!("one at a time: {:?}", sent_back(&bench)) };
    hold(&mut bench, first);
    assert_eq!(sent_back(&bench).len(), 2);
}

#[test]
fn a_controller_that_was_away_does_not_give_up_who_goes_back_and_sends_nobody_early() {
    let mut bench = going_back(Manner::Good(600));
    bench.run_for(10);
    let down = bench.now;
    bench.now = bench.now.plus_secs(86_400);
    let (rollout, turn) = bench.rollout.take().expect("a rollout").slept(down, bench.now);
    let first = sent_back(&bench).remove(0);
    assert!(turn.changed.contains(first.as_str()), "it is written");
    bench.rollout = Some(rollout);
    bench.tick();
    assert_eq!((bench.status(), sent_back(&bench).len()), ("ROLLING_BACK", 1), "it still has the slot of its site");
    assert!(matches!(bench.member(&first).back, Some(Back::Offered { .. })), "{:?}", bench.member(&first).back);
    bench.run_for(800);
    assert_eq!(sent_back(&bench).len(), 2, "its word was heard, and it was the other's turn");
    bench.run_for(800);
    assert_eq!(bench.status(), "ROLLED_BACK");
    let done = bench.rollout().members().values().filter(|one| one.back == Some(Back::Done)).count();
    assert_eq!(done, 2, "nobody was given up");
}
