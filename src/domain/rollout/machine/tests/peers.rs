//! What other rollout engines get wrong, each as a test with its name.

use super::*;
use crate::domain::ids::LabelName;
use crate::domain::rollout::budget::Budget;

fn site_budget(max_unavailable: u32) -> Budget {
    let label = LabelName::new("site").expect("a label");
    Budget { label, max_unavailable: Some(Amount::Count(max_unavailable)), min_available: None }
}

#[test]
fn an_empty_canary_blocks_and_does_not_pass_as_in_flight_control() {
    let mut bench = Bench::new(canary_first(), fleet(0, 5)).active();
    bench.run_for(30 * 86_400);
    assert_eq!((bench.status(), bench.count_offered()), ("ACTIVE", 0));
    assert!(matches!(bench.step(0).blocked, Some(Blocked::Empty { .. })));
    bench.fleet.devices.get_mut("d0").expect("a device").groups.insert("canaries".to_owned());
    bench.run_for(86_400);
    assert_eq!(bench.status(), "DONE", "it goes on by itself once somebody is in it");
}

#[test]
fn a_canary_of_which_nobody_is_online_blocks() {
    let mut devices = fleet(2, 5);
    devices[0].1.online = false;
    devices[1].1.online = false;
    let mut bench = Bench::new(canary_first(), devices).active();
    bench.run_for(30 * 86_400);
    assert_eq!((bench.status(), bench.count_offered()), ("ACTIVE", 0));
    assert!(matches!(bench.step(0).blocked, Some(Blocked::AllOffline { devices: 2, .. })));
    bench.online("c0", true);
    bench.online("c1", true);
    bench.run_for(86_400);
    assert_eq!(bench.status(), "DONE");
}

#[test]
fn an_empty_canary_passes_only_where_the_policy_says_so() {
    let mut policy = canary_first();
    policy.steps[0].when_empty = WhenEmpty::Pass;
    let mut bench = Bench::new(policy, fleet(0, 5)).active();
    bench.run_for(86_400);
    assert_eq!(bench.status(), "DONE");
}

#[test]
fn sick_devices_do_not_keep_their_slots_as_in_nerveshub() {
    let policy = Policy { budgets: vec![site_budget(2)], ..policy() };
    let mut policy = policy;
    policy.last.gate.min_success = Share::NONE;
    policy.last.timeout_secs = 86_400;
    let sick =
        |manner| move |number: usize| (format!("a{number}"), Device::good().label("site", "bern").manner(manner));
    let devices = (0..2)
        .map(sick(Manner::Vanishes))
        .chain((2..4).map(sick(Manner::Silent)))
        .chain((4..12).map(sick(Manner::Good(5))));
    let mut bench = Bench::new(policy, devices).active();
    bench.run_for(6 * 3600);
    assert_eq!(bench.step(0).counts.ok, 8, "minutes, not days");
}

#[test]
fn waves_do_not_fire_at_once_as_in_bottlerocket() {
    let share = |name: &str, percent| StepPolicy {
        take: Some(Amount::Share(Share::percent(percent))),
        window_secs: 3600,
        ..StepPolicy::with_defaults(name, Selector::All)
    };
    let last = StepPolicy { window_secs: 3600, ..StepPolicy::last() };
    let policy = Policy { steps: vec![share("one", 20), share("two", 30)], last, ..policy() };
    let mut bench = Bench::of(policy, 60, &Device::good()).active();
    bench.run_for(86_400);
    assert_eq!(bench.status(), "DONE");
    let mut at_once: BTreeMap<i64, usize> = BTreeMap::new();
    bench.offered().into_iter().for_each(|(at, _)| *at_once.entry(at).or_default() += 1);
    assert_eq!(at_once.values().max(), Some(&1), "{at_once:?}");
}

#[test]
fn the_same_devices_are_not_always_first_as_in_zincati() {
    let one = |take| StepPolicy { take: Some(Amount::Count(take)), ..StepPolicy::with_defaults("one", Selector::All) };
    let rate = Some(Rate::steady(1));
    let budgets = || vec![site_budget(1)];
    // Without a window all turns come at once, and it is something else that lets one start before the others.
    let policies = [
        ("one by rank", Policy { steps: vec![one(1)], ..policy() }),
        ("a budget", Policy { budgets: budgets(), ..policy() }),
        ("a budget for some", Policy { steps: vec![one(10)], budgets: budgets(), ..policy() }),
        ("a rate", Policy { last: StepPolicy { rate, ..StepPolicy::last() }, ..policy() }),
        ("a rate for some", Policy { steps: vec![StepPolicy { rate, ..one(10) }], ..policy() }),
    ];
    for (what, policy) in policies {
        let first = |name: &str| {
            let mut bench = Bench::of(policy.clone(), 30, &Device::good().label("site", "bern"));
            bench.rollout.as_mut().expect("a rollout").head.name = RolloutName::new(name).expect("a name");
            let bench = bench.active();
            assert_eq!(bench.count_offered(), 1, "{what}");
            bench.offered()[0].1.clone()
        };
        let firsts: BTreeSet<String> = (0..20).map(|number| first(&format!("main-{number}"))).collect();
        assert!(firsts.len() > 8, "{what}: {firsts:?}");
    }
}

#[test]
fn a_group_below_its_threshold_does_not_pass_when_it_is_complete_as_in_hawkbit() {
    let mut policy = canary_first();
    policy.steps[0].gate = Gate { min_reports: Share::percent(50), min_success: Share::percent(80) };
    let mut devices = fleet(4, 5);
    devices[0].1.manner = Manner::Fails(400);
    let mut bench = Bench::new(policy, devices).active();
    bench.run_for(86_400);
    assert_eq!(
        (bench.status(), bench.count_offered()),
        ("DONE", 9),
        "three of three had succeeded before the fourth failed"
    );
    let mut policy = canary_first();
    policy.steps[0].gate = Gate { min_reports: Share::ALL, min_success: Share::percent(80) };
    let mut devices = fleet(4, 5);
    devices[0].1.manner = Manner::Fails(400);
    let mut bench = Bench::new(policy, devices).active();
    bench.run_for(86_400);
    assert_eq!(
        (bench.status(), bench.count_offered()),
        ("ERROR", 4),
        "complete, and three of four are not four of five"
    );
}

#[test]
fn one_offline_device_does_not_block_everybody_as_in_rancher_fleet() {
    let mut policy = Policy { budgets: vec![site_budget(1)], ..canary_first() };
    policy.steps[0].gate.min_reports = Share::percent(60);
    let mut devices = fleet(3, 5);
    devices.iter_mut().for_each(|(_, one)| *one = one.clone().label("site", "bern"));
    devices[0].1.online = false;
    devices[5].1.online = false;
    let mut bench = Bench::new(policy, devices).active();
    bench.run_for(86_400);
    assert_eq!((bench.status(), bench.count_offered()), ("DONE", 6));
    bench.online("c0", true);
    bench.run_for(600);
    assert!(matches!(bench.member("c0").phase, Phase::Succeeded { .. }), "and it catches up when it is back");
}

#[test]
fn a_resumed_rollout_does_not_trip_at_once_on_old_failures() {
    let mut devices = fleet(3, 3);
    devices[0].1.manner = Manner::Fails(5);
    let mut bench = Bench::new(canary_first(), devices).active();
    bench.run_for(600);
    assert_eq!(bench.status(), "ERROR");
    let again = bench.act(Act::Resume { acknowledge: Acknowledge::Nothing });
    assert_eq!(again, Err(Refusal::WouldFailAtOnce { bad: 1, allowed: 0 }), "it says so instead of failing once more");
    bench.act(Act::Resume { acknowledge: Acknowledge::Failures }).expect("the failure is taken note of");
    bench.run_for(86_400);
    assert_eq!(bench.status(), "DONE");
    assert_eq!((bench.step(0).acknowledged, bench.step(0).counts.members), (1, 2), "and it stays visible");
}

#[test]
fn a_rollback_is_not_undone_by_the_reconciler_as_in_argo_cd() {
    let mut devices = fleet(3, 3);
    devices[0].1.manner = Manner::Fails(5);
    let policy = Policy { on_error: OnError::Rollback, ..canary_first() };
    let mut bench = Bench::new(policy, devices).active();
    bench.run_for(600);
    assert_eq!(bench.status(), "ROLLED_BACK");
    for name in ["c0", "c1", "d0"] {
        let content = digest(&format!("{name} new"));
        assert!(bench.rollout().quarantines(&device(name), &commit('1'), &content), "the commit still says so");
        assert!(
            bench.rollout().quarantines(&device(name), &commit('2'), &content),
            "and so may a commit about something else"
        );
    }
    // Whatever else is heard, nobody is offered it again.
    let before = bench.count_offered();
    for name in ["c0", "c1", "c2", "d0", "d1", "d2"] {
        bench.hear(name, Word::Contact);
    }
    bench.run_for(30 * 86_400);
    assert_eq!(bench.count_offered(), before);
}

#[test]
fn an_abort_does_abort() {
    let mut devices = fleet(3, 3);
    devices[1].1.manner = Manner::Silent;
    let mut bench = Bench::new(canary_first(), devices).active();
    bench.run_for(3);
    bench.act(Act::Abort).expect("it is under way");
    assert!(!bench.rollout().serves(&device("c1")), "what was only offered is withdrawn");
    assert!(bench.effects.iter().any(|(_, effect)| *effect == Effect::Withdraw { device: device("c1") }));
    let before = bench.count_offered();
    bench.hear("c1", Word::Contact);
    bench.hear("d1", Word::Contact);
    bench.run_for(30 * 86_400);
    assert_eq!((bench.status(), bench.count_offered()), ("ABORTED", before));
    assert_eq!(bench.member("c0").phase.as_str(), "SUCCEEDED", "who had begun was left to finish");
    assert!(bench.act(Act::Resume { acknowledge: Acknowledge::Failures }).is_err(), "and nothing brings it back");
}

#[test]
fn failures_that_arrive_after_a_step_has_passed_still_count() {
    let mut policy = canary_first();
    policy.steps[0].gate = Gate { min_reports: Share::percent(50), min_success: Share::ALL };
    policy.late.max_failures = Amount::Count(0);
    let mut devices = fleet(4, 50);
    devices[0].1.manner = Manner::Fails(400);
    let mut bench = Bench::new(policy, devices).active();
    bench.run_for(1000);
    assert_eq!((bench.step(0).status, bench.rollout().head().late.bad), (StepStatus::Passed, 1));
    assert!(bench.rollout().head().late.stopped.is_some());
}
