//! What a step says besides its gate: rates, reasons to stop, outcomes that time brings, and what happens with too few reports.

use super::*;
use crate::domain::rollout::gate::AbortRule;
use crate::domain::rollout::policy::OnInsufficient;
use crate::domain::rollout::spread::{Spread, hash_offset, place};

/// So many of `d00`, `d01`, … fail after five seconds; the others are good.
fn some_fail(policy: Policy, count: usize, failing: usize) -> Bench {
    let devices = (0..count).map(|number| {
        let manner = if number < failing { Manner::Fails(5) } else { Manner::Good(5) };
        (format!("d{number:02}"), Device::good().manner(manner))
    });
    Bench::new(policy, devices)
}

fn last(step: StepPolicy) -> Policy {
    Policy { last: step, ..policy() }
}

const ANYTHING: Gate = Gate { min_reports: Share::ALL, min_success: Share::NONE };

#[test]
fn a_step_stops_at_once_when_a_reason_to_abort_holds_and_not_before_enough_have_reported() {
    let rule = AbortRule { failure: Some(Failure::Failed), threshold: Share::percent(50), min_executed: 4 };
    let step = StepPolicy { gate: ANYTHING, window_secs: 1000, soak_secs: 0, ..StepPolicy::last() };
    let mut without = some_fail(last(step.clone()), 10, 10).active();
    without.run_for(86_400);
    assert_eq!((without.status(), without.count_offered()), ("DONE", 10), "the gate lets everything pass");
    let with = StepPolicy { abort: vec![rule], ..step };
    let mut bench = some_fail(last(with), 10, 10).active();
    bench.run_for(86_400);
    assert_eq!((bench.status(), bench.count_offered(), bench.step(0).counts.failed), ("ERROR", 4, 4));
    let Status::Error { why, .. } = &bench.rollout().head().status else { panic!("it stopped") };
    assert!(why.contains("4 of 4") && why.contains(&rule.to_string()), "{why}");
    // Going on would stop at once again, and that is said instead.
    let refused = bench.act(Act::Resume { acknowledge: Acknowledge::Nothing });
    assert_eq!(refused, Err(Refusal::WouldStopAtOnce { rule: rule.to_string() }));
    bench.act(Act::Resume { acknowledge: Acknowledge::Failures }).expect("the failures are taken note of");
    assert_eq!(bench.status(), "ACTIVE");
}

#[test]
fn a_reason_to_abort_counts_only_its_own_kind_of_failure() {
    let rule = AbortRule { failure: Some(Failure::Lost), threshold: Share::percent(1), min_executed: 1 };
    let step = StepPolicy { gate: ANYTHING, abort: vec![rule], soak_secs: 0, ..StepPolicy::last() };
    let mut bench = some_fail(last(step), 4, 4).active();
    bench.run_for(3600);
    assert_eq!((bench.status(), bench.step(0).counts.failed), ("DONE", 4));
}

#[test]
fn a_step_starts_no_more_devices_in_a_minute_than_its_rate() {
    let gate = Gate { min_reports: Share::ALL, min_success: Share::ALL };
    let step = StepPolicy { gate, rate: Some(Rate::steady(2)), soak_secs: 0, ..StepPolicy::last() };
    let mut bench = Bench::of(last(step), 10, &Device::good()).active();
    assert_eq!(bench.count_offered(), 1);
    bench.run_for(61);
    assert_eq!(bench.count_offered(), 3);
    bench.run_for(300);
    assert_eq!((bench.count_offered(), bench.status()), (10, "DONE"));
}

#[test]
fn a_device_that_is_not_done_when_the_time_of_its_step_is_over_is_timed_out_and_counts_as_bad() {
    let gate = Gate { min_reports: Share::ALL, min_success: Share::percent(60) };
    let step = StepPolicy { gate, timeout_secs: 600, soak_secs: 0, ..StepPolicy::last() };
    let slow = [("fast", 5), ("slow", 86_400)];
    let devices = slow.map(|(name, secs)| (name.to_owned(), Device::good().manner(Manner::Good(secs))));
    let policy = Policy { lost_after_secs: 400_000, ..last(step) };
    let mut bench = Bench::new(policy, devices).active();
    bench.run_for(599);
    assert_eq!((bench.status(), bench.member("slow").phase.as_str()), ("ACTIVE", "IN_PROGRESS"));
    bench.run_for(1);
    assert_eq!(bench.member("slow").phase.as_str(), "TIMED_OUT");
    let counts = bench.step(0).counts;
    assert_eq!((counts.ok, counts.timed_out, counts.bad(), bench.status()), (1, 1, 1, "ERROR"));
}

/// A first step of three: so many are good, so many fail, and the others say nothing.
fn too_few(on_insufficient_reports: OnInsufficient, min_success: u16, good: usize, failing: usize) -> Bench {
    let gate = Gate { min_reports: Share::ALL, min_success: Share::percent(min_success) };
    let first = StepPolicy { gate, on_insufficient_reports, timeout_secs: 600, ..canary_first().steps.remove(0) };
    let mut devices = fleet(3, 2);
    devices.iter_mut().take(3).for_each(|(_, one)| one.manner = Manner::Silent);
    devices.iter_mut().take(good).for_each(|(_, one)| one.manner = Manner::Good(5));
    devices.iter_mut().skip(good).take(failing).for_each(|(_, one)| one.manner = Manner::Fails(5));
    let mut bench = Bench::new(Policy { steps: vec![first], ..canary_first() }, devices).active();
    bench.run_for(601);
    bench
}

#[test]
fn what_happens_with_too_few_reports_is_what_the_step_says() {
    use OnInsufficient::{Advance, Error, Pause};
    let of = |pass, min_success, good, failing| {
        let bench = too_few(pass, min_success, good, failing);
        format!("{} {}", bench.status(), bench.step(0).status.as_str())
    };
    assert_eq!(of(Pause, 50, 2, 0), "PAUSED RUNNING");
    assert_eq!(of(Error, 50, 2, 0), "ERROR FAILED");
    assert_eq!(of(Advance, 50, 2, 0), "ACTIVE PASSED", "what was reported is good");
    assert_eq!(of(Advance, 60, 1, 1), "ERROR FAILED", "one of two is not good");
    assert_eq!(of(Advance, 50, 0, 0), "PAUSED RUNNING", "no reports never pass");
    assert_eq!(of(Pause, 60, 1, 1), "PAUSED RUNNING");
}

#[test]
fn by_hash_a_devices_moment_does_not_depend_on_who_else_takes_part() {
    let step = StepPolicy { window_secs: 3600, spread: Spread::Hash, soak_secs: 0, ..StepPolicy::last() };
    let of = |count: usize| {
        let mut bench = Bench::of(last(step.clone()), count, &Device::good()).active();
        bench.run_for(7200);
        bench.offered().into_iter().map(|(at, name)| (name, at)).collect::<BTreeMap<_, _>>()
    };
    let (few, many) = (of(3), of(30));
    assert_eq!((few.len(), many.len()), (3, 30));
    for (name, at) in &few {
        assert_eq!(many[name], *at, "{name}");
    }
    let name = RolloutName::new("main-1a2b3c4d").expect("a name");
    for (device, at) in &many {
        let offset = hash_offset(&place(&name, 0, &super::device(device)), 3_600_000);
        assert_eq!(*at, i64::try_from(offset.div_euclid(1000)).expect("fits"), "{device}");
    }
}
