//! Sites whose devices are late, or join.

use super::*;
use crate::domain::ids::LabelName;

/// Sites in the last step; `percent` of all must report.
fn by_site(percent: u16, window_secs: u32) -> Policy {
    let site = Some(LabelName::new("site").expect("a label"));
    let gate = Gate { min_reports: Share::percent(percent), min_success: Share::NONE };
    let late = crate::domain::rollout::policy::Late { catchup_rate: None, max_failures: Amount::Count(9) };
    Policy { last: StepPolicy { site, gate, window_secs, soak_secs: 0, ..StepPolicy::last() }, late, ..policy() }
}

fn at(site: &str, number: usize, manner: Manner) -> (String, Device) {
    (format!("{site}-{number}"), Device::good().label("site", site).manner(manner))
}

/// Chur has it, and both of bern were away.
fn bern_was_away(second: Manner) -> Bench {
    let mut devices = vec![at("bern", 0, Manner::Good(5)), at("bern", 1, second), at("chur", 0, Manner::Good(5))];
    devices.iter_mut().take(2).for_each(|(_, one)| one.online = false);
    let mut bench = Bench::new(by_site(30, 0), devices).active();
    bench.run_for(60);
    assert_eq!((bench.status(), bench.count_offered()), ("DONE", 1));
    bench
}

fn join(bench: &mut Bench, name: &str, one: Device) {
    bench.fleet.devices.insert(device(name), one);
    let rollout = bench.rollout.take().expect("a rollout");
    let (rollout, turn) = rollout.join(bench.now, &bench.fleet, &device(name), change(name));
    bench.after(rollout, turn);
}

fn shown(bench: &Bench, name: &str) -> (&'static str, Option<Back>) {
    (bench.member(name).phase.as_str(), bench.member(name).back)
}

#[test]
fn late_devices_of_a_site_start_together() {
    let mut bench = bern_was_away(Manner::Good(400));
    bench.online("bern-0", true);
    bench.run_for(600);
    assert_eq!(bench.count_offered(), 1, "the other one of its site is still away");
    bench.online("bern-1", true);
    assert_eq!(bench.count_offered(), 3);
    bench.run_for(60);
    assert_eq!(shown(&bench, "bern-0").0, "IN_PROGRESS", "healthy, and waits for the other");
    bench.run_for(600);
    assert_eq!((shown(&bench, "bern-0").0, shown(&bench, "bern-1").0), ("SUCCEEDED", "SUCCEEDED"));
}

#[test]
fn late_devices_of_a_site_go_back_together() {
    let mut bench = bern_was_away(Manner::Fails(400));
    bench.online("bern-0", true);
    bench.online("bern-1", true);
    bench.run_for(1200);
    assert_eq!(shown(&bench, "bern-0"), ("ROLLED_BACK", Some(Back::Done)));
    assert_eq!(shown(&bench, "bern-1"), ("FAILED", Some(Back::Done)));
    assert_eq!(shown(&bench, "chur-0"), ("SUCCEEDED", None));
}

#[test]
fn a_device_that_joins_a_site_whose_turn_is_to_come_starts_with_it() {
    let devices = [at("bern", 0, Manner::Good(5)), at("chur", 0, Manner::Good(5))];
    let mut bench = Bench::new(by_site(100, 1000), devices).active();
    bench.run_for(300);
    let (_, first) = bench.offered()[0].clone();
    let other = if first == "bern-0" { "chur" } else { "bern" };
    join(&mut bench, &format!("{other}-1"), at(other, 1, Manner::Fails(100)).1);
    assert_eq!(bench.count_offered(), 1, "not before the others of its site");
    bench.run_for(500);
    assert_eq!(bench.count_offered(), 3);
    bench.run_for(200);
    assert_eq!(shown(&bench, &format!("{other}-0")), ("ROLLED_BACK", Some(Back::Done)), "and shares its fate");
}

#[test]
fn a_device_that_joins_a_site_that_has_the_change_goes_alone() {
    let mut bench = Bench::new(by_site(100, 0), [at("bern", 0, Manner::Good(5))]).active();
    bench.run_for(60);
    join(&mut bench, "bern-1", at("bern", 1, Manner::Fails(5)).1);
    bench.run_for(60);
    assert_eq!(shown(&bench, "bern-1").0, "FAILED");
    assert_eq!(shown(&bench, "bern-0"), ("SUCCEEDED", None), "what works is not taken back for a newcomer");
}
