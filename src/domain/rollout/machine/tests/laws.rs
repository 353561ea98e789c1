//! What holds whatever happens.

use super::super::agenda::{Tally, count};
use super::*;
use crate::domain::ids::LabelName;
use crate::domain::rollout::budget::Budget;
use crate::domain::rollout::freeze::{Freeze, FreezeTime, Freezes};
use crate::domain::rollout::policy::{Late, OnInsufficient};
use crate::domain::window::{Window, Windows};
use proptest::prelude::*;
use proptest::sample::select;

/// Clocks set by an hour in both hemispheres, by half an hour, at midnight, and never.
const ZONES: [&str; 5] = [
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "EST5EDT,M3.2.0,M11.1.0",
    "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
    "<-04>4<-03>,M9.1.6/24,M4.1.6/24",
    "<+0545>-5:45",
];

/// One thing that happens from outside.
#[derive(Clone, Debug)]
enum Poke {
    Wait(i64),
    Online(usize, bool),
    Act(Act),
    Held(usize),
    Back(usize),
}

fn name(number: usize) -> String {
    format!("d{number:02}")
}

fn any_manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        8 => (1_i64..200).prop_map(Manner::Good),
        1 => (1_i64..200).prop_map(Manner::Fails),
        1 => Just(Manner::Vanishes),
        1 => Just(Manner::Silent),
    ]
}

fn any_device() -> impl Strategy<Value = Device> {
    let labels = select(vec!["bern", "chur", "olten"]);
    (any_manner(), prop::bool::weighted(0.85), any::<bool>(), labels).prop_map(|(manner, online, canary, site)| {
        let device = Device { online, ..Device::good().label("site", site).manner(manner) };
        if canary { device.group("canaries") } else { device }
    })
}

fn any_step(selector: Selector) -> impl Strategy<Value = StepPolicy> {
    let share = || {
        select(vec![0_u16, 3000, 5000, 8000, 9000, 10_000]).prop_map(|n| Share::per_ten_thousand(n).expect("in range"))
    };
    let rate = prop::option::of((1_u32..20).prop_map(Rate::steady));
    let window = select(vec![0_u32, 60, 600, 7200]);
    let retry = (0_u8..3, 0_u32..300).prop_map(|(max, backoff_secs)| Retry { max, backoff_secs });
    let take = prop::option::of((1_u32..6).prop_map(Amount::Count));
    let soak = select(vec![0_u32, 30, 600]);
    let pass = select(vec![OnInsufficient::Pause, OnInsufficient::Error, OnInsufficient::Advance]);
    (share(), share(), rate, window, retry, (take, soak, pass, any::<bool>())).prop_map(
        move |(
            min_reports,
            min_success,
            rate,
            window_secs,
            retry,
            (take, soak_secs, on_insufficient_reports, site),
        )| StepPolicy {
            gate: Gate { min_reports, min_success },
            rate,
            window_secs,
            timeout_secs: 1200,
            retry,
            take,
            soak_secs,
            on_insufficient_reports,
            site: site.then(|| LabelName::new("site").expect("a label")),
            ..StepPolicy::with_defaults("step", selector.clone())
        },
    )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let steps = prop::collection::vec(any_step(Selector::Group("canaries".to_owned())), 0..3);
    let budget = prop::option::of((1_u32..4, 0_u32..3));
    (steps, any_step(Selector::All), budget, any::<bool>()).prop_map(|(steps, last, budget, back)| {
        let label = LabelName::new("site").expect("a label");
        let budgets = budget.map(|(max, min)| Budget {
            label,
            max_unavailable: Some(Amount::Count(max)),
            min_available: (min > 0).then_some(Amount::Count(min)),
        });
        let late = Late { catchup_rate: Some(Rate::steady(30)), max_failures: Amount::Count(2) };
        let on_error = if back { OnError::Rollback } else { OnError::Pause };
        Policy {
            steps,
            last: StepPolicy { when_empty: WhenEmpty::Pass, take: None, ..last },
            budgets: budgets.into_iter().collect(),
            late,
            on_error,
            ..policy()
        }
    })
}

fn any_poke() -> impl Strategy<Value = Poke> {
    let act = select(vec![
        Act::Pause { until: None },
        Act::Resume { acknowledge: Acknowledge::Nothing },
        Act::Resume { acknowledge: Acknowledge::Failures },
        Act::Retry(Which::Failed),
        Act::Abort,
        Act::Rollback,
        Act::Supersede { by: commit('2'), at: SupersedeAt::StepEnd },
    ]);
    prop_oneof![
        6 => (1_i64..3000).prop_map(Poke::Wait),
        3 => (0_usize..12, any::<bool>()).prop_map(|(device, online)| Poke::Online(device, online)),
        2 => act.prop_map(Poke::Act),
        1 => (0_usize..12).prop_map(Poke::Held),
        1 => (0_usize..12).prop_map(Poke::Back),
    ]
}

fn any_bench() -> impl Strategy<Value = Bench> {
    let devices = prop::collection::vec(any_device(), 1..12);
    (any_policy(), devices).prop_map(|(policy, devices)| {
        Bench::new(policy, devices.into_iter().enumerate().map(|(number, device)| (name(number), device)))
    })
}

fn poke(bench: &mut Bench, poke: &Poke) {
    let count = bench.fleet.devices.len();
    match poke {
        Poke::Wait(secs) => bench.run_for(*secs),
        Poke::Online(number, online) => bench.online(&name(number % count), *online),
        Poke::Act(act) => _ = bench.act(act.clone()),
        Poke::Held(number) => {
            let name = name(number % count);
            bench.fleet.devices.get_mut(name.as_str()).expect("a device").excluded = Some("held".to_owned());
            bench.hear(&name, Word::Left { reason: "held".to_owned() });
        }
        Poke::Back(number) => {
            let name = name(number % count);
            bench.fleet.devices.get_mut(name.as_str()).expect("a device").excluded = None;
            bench.hear(&name, Word::Back);
        }
    }
}

/// Every device is in exactly one step, and the counters are what counting again gives.
fn check_counts(bench: &Bench) {
    let head = bench.rollout().head();
    let mut again = head.clone();
    for step in &mut again.steps {
        step.counts = Default::default();
        (step.acknowledged, step.excluded) = (0, 0);
    }
    (again.late.ok, again.late.bad) = (0, 0);
    for member in bench.rollout().members().values() {
        count(&mut again, member, Tally::Add);
    }
    assert_eq!(&again, head, "counted again");
    let counted: u32 = head.steps.iter().map(|step| step.counts.members + step.acknowledged + step.excluded).sum();
    let joined =
        bench.rollout().members().values().filter(|member| member.timing == super::super::member::Timing::Joined);
    let waiting = bench.rollout().members().values().filter(|member| member.step.is_none());
    assert_eq!(counted as usize + joined.count() + waiting.count(), bench.rollout().members().len(), "a partition");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_device_is_in_exactly_one_step_and_exposure_only_grows(
        bench in any_bench(), pokes in prop::collection::vec(any_poke(), 0..30),
    ) {
        let mut bench = bench.active();
        let mut exposed = 0;
        for one in &pokes {
            poke(&mut bench, one);
            check_counts(&bench);
            let head = bench.rollout().head();
            prop_assert!(head.exposed >= exposed);
            exposed = head.exposed;
            prop_assert!(exposed as usize <= bench.rollout().members().len());
        }
    }

    #[test]
    fn a_restart_at_any_point_changes_nothing(bench in any_bench(), pokes in prop::collection::vec(any_poke(), 0..20)) {
        let (mut bench, mut restarting) = (bench.clone().active(), bench.active());
        for one in &pokes {
            restarting.restart();
            poke(&mut bench, one);
            poke(&mut restarting, one);
        }
        prop_assert_eq!(bench.history(), restarting.history());
        prop_assert_eq!(bench.effects, restarting.effects);
    }

    #[test]
    fn a_pause_at_any_point_changes_nothing_but_time(
        count in 1_usize..12, window in 0_u32..7200, at in 0_i64..8000, long in 1_i64..100_000,
    ) {
        let last = StepPolicy { window_secs: window, gate: Gate { min_reports: Share::ALL, min_success: Share::ALL }, soak_secs: 0, ..StepPolicy::last() };
        let plain = Bench::of(Policy { last, ..policy() }, count, &Device::good().manner(Manner::Good(0)));
        let mut paused = plain.clone().active();
        let mut plain = plain.active();
        plain.run_for(20_000);
        paused.run_for(at);
        let pauses = paused.status() == "ACTIVE";
        if pauses {
            paused.act(Act::Pause { until: None }).expect("it is active");
            paused.run_for(long);
            paused.act(Act::Resume { acknowledge: Acknowledge::Nothing }).expect("it is paused");
        }
        paused.run_for(20_000);
        let shift = |(when, name): (i64, String)| (if pauses && when > at { when - long } else { when }, name);
        prop_assert_eq!(plain.offered(), paused.offered().into_iter().map(shift).collect::<Vec<_>>());
        prop_assert_eq!((plain.status(), paused.status()), ("DONE", "DONE"));
    }

    #[test]
    fn never_more_than_the_budget_is_unavailable(bench in any_bench(), pokes in prop::collection::vec(any_poke(), 0..30)) {
        let mut bench = bench.active();
        let label = LabelName::new("site").expect("a label");
        for one in &pokes {
            let before = bench.effects.len();
            poke(&mut bench, one);
            let Some(budget) = bench.rollout().head().policy.budgets.first().cloned() else { continue };
            // Silent devices hold what they were offered until their lease is over, so this is every slot.
            for site in ["bern", "chur", "olten"] {
                let of_site = bench.fleet.busy.iter().filter(|device| bench.fleet.label(&label, device) == Some(site));
                let taken = u32::try_from(of_site.count()).expect("few");
                prop_assert!(taken <= budget.max_unavailable.expect("there is one").floor_of(u32::MAX), "{site}: {taken}");
            }
            prop_assert!(before <= bench.effects.len());
        }
    }

    #[test]
    fn nothing_starts_outside_its_window_across_daylight_saving_changes_in_five_time_zones(
        starts in select(vec!["2026-10-24T12:00:00Z", "2027-03-27T12:00:00Z", "2026-10-03T06:00:00Z", "2027-04-03T06:00:00Z", "2026-09-05T12:00:00Z", "2026-10-31T12:00:00Z", "2027-03-13T12:00:00Z"]),
        hours in prop::collection::vec((0_u32..24, 30_u32..300), 5), window in 0_u32..172_800,
    ) {
        let last = StepPolicy { window_secs: window, timeout_secs: 300_000, ..StepPolicy::last() };
        let devices = ZONES.iter().zip(&hours).enumerate().flat_map(|(zone, (rule, (hour, minutes)))| {
            let opens = format!("0 {hour} * * *").parse().expect("a schedule");
            let one = Window { opens, minutes: (*minutes).try_into().expect("a length"), zone: rule.parse().expect("a rule") };
            let windows: Windows = [one].into_iter().collect();
            (0..3).map(move |number| (format!("z{zone}-{number}"), Device { windows: windows.clone(), ..Device::good() }))
        });
        let mut bench = Bench::new(Policy { last, ..policy() }, devices);
        bench.now = starts.parse().expect("a moment");
        let mut bench = bench.active();
        bench.run_for(4 * 86_400);
        prop_assert_eq!(bench.count_offered(), 15);
        for (at, effect) in &bench.effects {
            if let Effect::Offer { device, .. } = effect {
                prop_assert!(bench.fleet.devices[device].windows.is_open(*at), "{device} at {at}");
            }
        }
    }

    #[test]
    fn an_empty_or_all_offline_canary_blocks(canaries in 0_usize..4, others in 1_usize..8, days in 1_i64..40) {
        let mut devices = fleet(canaries, others);
        devices.iter_mut().take(canaries).for_each(|(_, one)| one.online = false);
        let mut bench = Bench::new(canary_first(), devices).active();
        bench.run_for(days * 86_400);
        prop_assert_eq!((bench.status(), bench.count_offered()), ("ACTIVE", 0));
        prop_assert!(bench.step(0).blocked.is_some());
    }

    #[test]
    fn nothing_is_offered_while_a_freeze_is_on(bench in any_bench(), from in 0_i64..5000, long in 1_i64..100_000) {
        let mut bench = bench;
        let (from, until) = (start().plus_secs(from), start().plus_secs(from + long));
        let freeze = Freeze { reason: "holidays".to_owned(), when: FreezeTime::Between { from, until } };
        bench.fleet.freezes = Freezes(vec![freeze]);
        let mut bench = bench.active();
        bench.run_for(200_000);
        for (at, effect) in &bench.effects {
            prop_assert!(!matches!(effect, Effect::Offer { .. }) || *at < from || *at >= until, "{at}");
        }
    }

    #[test]
    fn nothing_that_was_not_acknowledged_is_served_unless_the_rollout_is_active_or_done(
        bench in any_bench(), pokes in prop::collection::vec(any_poke(), 0..30),
    ) {
        let mut bench = bench.active();
        for one in &pokes {
            poke(&mut bench, one);
            let goes_on = matches!(bench.status(), "ACTIVE" | "DONE");
            for (device, member) in bench.rollout().members() {
                let open = !member.phase.is_acknowledged() && member.back.is_none();
                prop_assert!(goes_on || !open || !bench.rollout().serves(device), "{device}: {member:?}");
            }
        }
    }
}
