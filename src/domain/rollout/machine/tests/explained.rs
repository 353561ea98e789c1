//! What devices are said to wait for: in whole sentences, and true ones.

use super::*;
use crate::domain::ids::LabelName;
use crate::domain::rollout::budget::Budget;
use crate::domain::rollout::freeze::{Freeze, FreezeTime, Freezes};
use crate::domain::window::Opening;

/// What each of these devices waits for, one line each, with the hint.
fn said(bench: &Bench, devices: &[&str]) -> String {
    let said = |name: &&str| match bench.rollout().explain_device(&device(name), bench.now, &bench.fleet) {
        None => format!("{name}: nothing"),
        Some(Awaited { code, message, at, hint }) => {
            let at = at.map(|at| format!(" @ {at}")).unwrap_or_default();
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{name}: {code}: {message}{at}{hint}")
        }
    };
    devices.iter().map(said).collect::<Vec<_>>().join("\n")
}

fn lenient() -> StepPolicy {
    let gate = Gate { min_reports: Share::ALL, min_success: Share::NONE };
    StepPolicy { gate, timeout_secs: 86_400, ..StepPolicy::last() }
}

fn by_site(max_unavailable: Option<u32>, min_available: Option<u32>) -> Budget {
    let label = LabelName::new("site").expect("a label");
    let count = |number: Option<u32>| number.map(Amount::Count);
    Budget { label, max_unavailable: count(max_unavailable), min_available: count(min_available) }
}

fn in_bern() -> Device {
    Device::good().label("site", "bern")
}

#[test]
fn a_device_that_is_tried_again_later_does_not_wait_for_a_window() {
    let last = StepPolicy { retry: Retry { max: 2, backoff_secs: 600 }, ..lenient() };
    let mut bench = Bench::of(Policy { last, ..policy() }, 1, &Device::good().manner(Manner::Fails(5))).active();
    bench.run_for(60);
    insta::assert_snapshot!(said(&bench, &["d00"]), @"
    d00: retry: step 1 (final): it failed, and is tried again at 2026-11-02T08:10:06Z, retry 1 of 2 @ 2026-11-02T08:10:06Z
    ");
}

#[test]
fn a_window_that_is_not_known_to_open_is_not_said_to_open_tomorrow() {
    let never = Device { opening: Some(Opening::Closed { opens: None }), ..Device::good() };
    let mut bench = Bench::of(Policy { last: lenient(), ..policy() }, 1, &never).active();
    bench.run_for(60);
    insta::assert_snapshot!(said(&bench, &["d00"]), @"
    d00: window-closed: step 1 (final): its window is closed, and is not known to open (its windows are under `maintenance` in its files)
    ");
}

#[test]
fn a_device_that_a_budget_keeps_is_told_so_also_when_it_comes_late() {
    let gate = Gate { min_reports: Share::percent(20), min_success: Share::NONE };
    let budgets = vec![by_site(Some(1), None)];
    let policy = Policy { last: StepPolicy { gate, ..StepPolicy::last() }, budgets, ..policy() };
    let slow = in_bern().manner(Manner::Good(100_000));
    let devices = [("a", Device::good()), ("b", Device::good()), ("bern-1", slow.clone()), ("bern-2", slow)];
    let mut bench = Bench::new(policy, devices.map(|(name, one)| (name.to_owned(), one))).active();
    bench.run_for(30);
    let is_kept = bench.member("bern-1").phase == Phase::QUEUED;
    let (kept, other) = if is_kept { ("bern-1", "bern-2") } else { ("bern-2", "bern-1") };
    assert!(matches!(bench.member(other).phase, Phase::InProgress { .. }));
    let in_time = said(&bench, &[kept]).replace(kept, "bern-N");
    bench.run_for(300);
    bench.hear(kept, Word::Contact);
    let late = said(&bench, &[kept]).replace(kept, "bern-N");
    insta::assert_snapshot!(format!("{in_time}\n{}\n{late}", bench.status()), @r#"
    bern-N: budget: step 1 (final): rollouts have taken 1 of the devices with site=bern, and may take 1 at once
    DONE
    bern-N: budget: step 1 (final): rollouts have taken 1 of the devices with site=bern, and may take 1 at once
    "#);

    let budgets = vec![by_site(None, Some(1))];
    let bench = Bench::of(Policy { last: lenient(), budgets, ..super::policy() }, 1, &in_bern()).active();
    insta::assert_snapshot!(said(&bench, &["d00"]), @"d00: budget: step 1 (final): 0 of the devices with site=bern would stay available, and 1 must");
}

#[test]
fn a_device_that_waits_for_another_of_its_site_is_told_for_which_and_why() {
    let site = Some(LabelName::new("site").expect("a label"));
    let last = StepPolicy { site, ..lenient() };
    let devices = [("bern-1", in_bern()), ("bern-2", in_bern().offline())];
    let devices = devices.map(|(name, one)| (name.to_owned(), one));
    let mut bench =
        Bench::new(Policy { last, ..policy() }, devices.into_iter().chain([("x".to_owned(), Device::good())]));
    bench.act(Act::Activate).expect("a draft");
    bench.run_for(60);
    insta::assert_snapshot!(said(&bench, &["bern-1", "bern-2"]), @r#"
    bern-1: site: step 1 (final): bern-2 of its site comes with it: it is not heard of
    bern-2: offline: step 1 (final): it is not heard of
    "#);
}

#[test]
fn a_step_that_does_not_begin_and_a_freeze_are_what_its_devices_wait_for() {
    let mut lines = Vec::new();
    let mut policy = canary_first();
    policy.last.approvals = 1;
    let mut bench = Bench::new(policy, fleet(1, 1)).active();
    bench.fleet.freezes = Freezes(vec![Freeze {
        reason: "the shops are open".to_owned(),
        when: FreezeTime::Between { from: start().plus_secs(5), until: start().plus_secs(3600) },
    }]);
    lines.push(said(&bench, &["d0"]));
    bench.run_for(10);
    lines.push(said(&bench, &["d0"]));
    bench.run_for(7200);
    lines.push(said(&bench, &["d0"]));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    d0: queued: a later step begins when step 1 has passed
    d0: frozen: nothing new is offered: the shops are open @ 2026-11-02T09:00:00Z
    d0: approval: step 2 (final) does not begin: 1 more person must approve it (`bellwether rollout approve main-1a2b3c4d --reason '…'`)
    "#);
}

#[test]
fn on_the_way_back_a_device_is_told_where_it_is_on_it_and_nobody_is_advised_what_is_refused() {
    let gate = Gate { min_reports: Share::ALL, min_success: Share::ALL };
    let last = StepPolicy { gate, ..lenient() };
    let mut devices = fleet(0, 4);
    devices[0].1.manner = Manner::Fails(300);
    devices[3].1.manner = Manner::Vanishes;
    let mut bench = Bench::new(Policy { last, ..policy() }, devices).active();
    let mut member = bench.member("d1").clone();
    member.reversal = Reversal::Impossible;
    bench.rollout.as_mut().expect("a rollout").members.insert(device("d1"), member);
    bench.run_for(310);
    let all = ["d0", "d1", "d2", "d3"];
    let failed = said(&bench, &all);
    bench.act(Act::Rollback).expect("it stopped");
    assert_eq!((bench.status(), bench.act(Act::Retry(Which::Failed)).is_err()), ("ROLLING_BACK", true));
    let told = said(&bench, &all);
    bench.run_for(600);
    let later = said(&bench, &all);
    insta::assert_snapshot!(format!("{failed}\n{told}\n{later}"), @r#"
    d0: failed: failed at 2026-11-02T08:05:01Z: no space left (`bellwether rollout retry main-1a2b3c4d d0 --reason '…'`)
    d1: nothing
    d2: nothing
    d3: in-progress: at work since 2026-11-02T08:00:01Z
    d0: failed: failed at 2026-11-02T08:05:01Z: no space left; it was told at 2026-11-02T08:05:10Z to go back to what it had
    d1: nothing
    d2: going-back: it was told at 2026-11-02T08:05:10Z to go back to what it had
    d3: going-back: it was told at 2026-11-02T08:05:10Z to go back to what it had
    d0: failed: failed at 2026-11-02T08:05:01Z: no space left; it has what it had before
    d1: nothing
    d2: nothing
    d3: going-back: it was told at 2026-11-02T08:05:10Z to go back to what it had
    "#);
}
