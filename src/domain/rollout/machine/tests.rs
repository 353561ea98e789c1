//! Rollouts in virtual time.

mod bench;
mod explained;
mod laws;
mod peers;
mod rules;
mod sites;
mod slots;

use super::*;
use crate::domain::ids::PolicyName;
use crate::domain::rollout::gate::{Failure, Gate};
use crate::domain::rollout::policy::{OnError, Retry, Selector, WhenEmpty};
use crate::domain::rollout::rate::Rate;
use crate::domain::rollout::share::{Amount, Share};
use bench::*;

/// All at once, with these gates.
fn policy() -> Policy {
    Policy::new(PolicyName::new("test").expect("a name"))
}

/// The group `canaries` first: all of them must succeed.
fn canary_first() -> Policy {
    let gate = Gate { min_reports: Share::ALL, min_success: Share::ALL };
    let canaries = StepPolicy {
        gate,
        timeout_secs: 600,
        soak_secs: 60,
        ..StepPolicy::with_defaults("canaries", Selector::Group("canaries".to_owned()))
    };
    Policy { steps: vec![canaries], last: StepPolicy { window_secs: 3600, ..StepPolicy::last() }, ..policy() }
}

fn fleet(canaries: usize, others: usize) -> Vec<(String, Device)> {
    let canaries = (0..canaries).map(|number| (format!("c{number}"), Device::good().group("canaries")));
    canaries.chain((0..others).map(|number| (format!("d{number}"), Device::good()))).collect()
}

#[test]
fn canaries_come_first_and_everybody_else_after_their_soak() {
    let mut bench = Bench::new(canary_first(), fleet(2, 3)).active();
    bench.run_for(4 * 3600);
    insta::assert_snapshot!(bench.history(), @r#"
       0 ACTIVE ada: Activated: because
       0 ACTIVE controller: StepStarted: step 1 (canaries): 2 devices, 0 excluded
      71 ACTIVE controller: StepPassed: step 1: 2 of 2 reports of 2 devices, everybody has reported
      71 ACTIVE controller: StepStarted: step 2 (final): 3 devices, 0 excluded
    3142 ACTIVE controller: StepPassed: step 2: 3 of 3 reports of 3 devices, everybody has reported
    3142 DONE controller: Done: every step has passed
    "#);
    insta::assert_debug_snapshot!(bench.offered(), @r#"
    [
        (
            0,
            "c0",
        ),
        (
            0,
            "c1",
        ),
        (
            671,
            "d0",
        ),
        (
            1871,
            "d1",
        ),
        (
            3071,
            "d2",
        ),
    ]
    "#);
}

#[test]
fn a_bad_release_stops_at_the_canaries() {
    let mut devices = fleet(2, 50);
    devices[0].1.manner = Manner::Fails(5);
    let mut bench = Bench::new(canary_first(), devices).active();
    bench.run_for(86_400);
    assert_eq!((bench.status(), bench.count_offered(), bench.rollout().head().exposed), ("ERROR", 2, 2));
    assert!(bench.rollout().quarantines(&device("d0"), &commit('1'), &digest("anything")));
    assert!(bench.rollout().quarantines(&device("d0"), &commit('2'), &digest("d0 new")), "the same content again");
    assert!(!bench.rollout().quarantines(&device("d0"), &commit('2'), &digest("d0 newer")));
}

#[test]
fn a_device_that_slept_through_a_bad_release_does_not_get_it_on_waking() {
    let mut devices = fleet(3, 0);
    devices[0].1.manner = Manner::Fails(5);
    devices[1].1.manner = Manner::Silent;
    devices[2].1.online = false;
    let mut bench = Bench::new(canary_first(), devices).active();
    bench.run_for(3);
    assert!(bench.rollout().serves(&device("c1")), "offered, not acknowledged, and the rollout is active");
    bench.run_for(10);
    assert_eq!(bench.status(), "ERROR");
    assert!(!bench.rollout().serves(&device("c1")), "offered and never acknowledged");
    bench.online("c2", true);
    bench.run_for(86_400);
    assert!(!bench.rollout().serves(&device("c2")));
    assert_eq!(bench.offered().iter().filter(|(_, name)| name == "c2").count(), 0);
}

#[test]
fn an_error_with_rollback_sends_each_device_back_to_what_it_had() {
    let mut devices = fleet(3, 2);
    devices[1].1.manner = Manner::Fails(400);
    let policy = Policy { on_error: OnError::Rollback, ..canary_first() };
    let mut bench = Bench::new(policy, devices).active();
    bench.run_for(3600);
    let mut back: Vec<_> = bench
        .effects
        .iter()
        .filter_map(|(_, effect)| match effect {
            Effect::GoBack { device, digest: to } => {
                Some((device.to_string(), *to == digest(&format!("{device} old"))))
            }
            _ => None,
        })
        .collect();
    assert_eq!(back.first(), Some(&("c1".to_owned(), true)), "who is not well comes first");
    back.sort();
    assert_eq!(back, [("c0".to_owned(), true), ("c1".to_owned(), true), ("c2".to_owned(), true)]);
    assert_eq!(bench.status(), "ROLLED_BACK");
    assert_eq!(bench.member("c0").back, Some(Back::Done));
    assert!(!bench.rollout().serves(&device("d0")));
}

#[test]
fn a_device_without_a_way_back_keeps_what_it_got() {
    let mut bench = Bench::new(canary_first(), fleet(2, 1)).active();
    let mut member = bench.member("c0").clone();
    member.reversal = Reversal::Impossible;
    bench.rollout.as_mut().expect("a rollout").members.insert(device("c0"), member);
    bench.run_for(30);
    bench.act(Act::Rollback).expect("it is active");
    bench.run_for(60);
    assert_eq!(bench.member("c0").back, Some(Back::Kept));
    assert_eq!(bench.member("c1").back, Some(Back::Done));
    assert_eq!(bench.status(), "ROLLED_BACK");
}

#[test]
fn a_pause_freezes_the_clock_of_the_step_and_leaves_devices_at_work_alone() {
    let mut bench = Bench::of(
        Policy { last: StepPolicy { window_secs: 1000, ..StepPolicy::last() }, ..policy() },
        10,
        &Device::good(),
    )
    .active();
    bench.run_for(151);
    assert_eq!(bench.count_offered(), 2);
    bench.act(Act::Pause { until: None }).expect("it is active");
    bench.run_for(100_000);
    assert_eq!(bench.count_offered(), 2);
    assert_eq!(bench.step(0).counts.ok, 2, "what was offered went on");
    bench.act(Act::Resume { acknowledge: Acknowledge::Nothing }).expect("it is paused");
    bench.run_for(100);
    assert_eq!(bench.count_offered(), 3, "the next comes at its place in the window, not at once");
}

#[test]
fn a_pause_with_an_end_ends_by_itself() {
    let mut bench = Bench::of(policy(), 3, &Device::good());
    bench.act(Act::Activate).expect("a draft");
    bench.act(Act::Pause { until: Some(bench.now.plus_secs(60)) }).expect("it is active");
    bench.run_for(59);
    assert_eq!(bench.status(), "PAUSED");
    bench.run_for(1);
    assert_eq!(bench.status(), "ACTIVE");
}

#[test]
fn a_failed_device_is_tried_again_at_a_higher_attempt_and_only_as_often_as_the_policy_says() {
    let last = StepPolicy { retry: Retry { max: 2, backoff_secs: 60 }, ..StepPolicy::last() };
    let mut bench = Bench::of(Policy { last, ..policy() }, 1, &Device::good().manner(Manner::Fails(5))).active();
    bench.run_for(86_400);
    let attempts: Vec<u32> = bench
        .effects
        .iter()
        .filter_map(|(_, effect)| match effect {
            Effect::Offer { attempt, .. } => Some(attempt.value()),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(bench.status(), "ERROR");
    bench.fleet.devices.get_mut("d00").expect("a device").manner = Manner::Good(1);
    bench.act(Act::Retry(Which::Failed)).expect("one failed");
    bench.run_for(3600);
    assert_eq!((bench.status(), bench.member("d00").attempt.value()), ("DONE", 4));
}

#[test]
fn a_failed_device_goes_through_another_release_first() {
    let mut bench = Bench::of(policy(), 1, &Device::good().manner(Manner::Fails(5))).active();
    bench.run_for(60);
    bench.fleet.devices.get_mut("d00").expect("a device").manner = Manner::Good(1);
    let via = [(device("d00"), vec![digest("between")])].into_iter().collect();
    bench.act(Act::Reroute { via, release: "1.5.0".to_owned() }).expect("one failed");
    bench.run_for(3600);
    let offers: Vec<Digest> = bench
        .effects
        .iter()
        .filter_map(|(_, effect)| match effect {
            Effect::Offer { digest, .. } => Some(*digest),
            _ => None,
        })
        .collect();
    assert_eq!(offers, [digest("d00 new"), digest("between"), digest("d00 new")]);
    assert_eq!(bench.status(), "DONE");
}

#[test]
fn a_newer_commit_takes_over_at_the_end_of_the_step_and_at_once_when_it_stands_still() {
    let mut bench = Bench::new(canary_first(), fleet(2, 3)).active();
    bench.run_for(5);
    bench.act(Act::Supersede { by: commit('2'), at: SupersedeAt::StepEnd }).expect("under way");
    assert_eq!(bench.status(), "ACTIVE");
    bench.run_for(3600);
    assert_eq!((bench.status(), bench.count_offered()), ("SUPERSEDED", 2));
    assert_eq!(bench.member("d0").phase, Phase::Superseded);
    assert!(!bench.rollout().quarantines(&device("d0"), &commit('1'), &digest("d0 new")), "nothing was wrong with it");

    let mut bench = Bench::new(canary_first(), fleet(2, 3)).active();
    bench.run_for(5);
    bench.act(Act::Pause { until: None }).expect("under way");
    bench.act(Act::Supersede { by: commit('2'), at: SupersedeAt::StepEnd }).expect("it stands still");
    assert_eq!(bench.status(), "SUPERSEDED");
}

#[test]
fn too_few_reports_pause_and_resuming_gives_them_more_time() {
    let mut devices = fleet(2, 1);
    devices[1].1.manner = Manner::Silent;
    let mut bench = Bench::new(canary_first(), devices).active();
    bench.run_for(700);
    assert_eq!(bench.status(), "PAUSED");
    bench.act(Act::Resume { acknowledge: Acknowledge::Nothing }).expect("it is paused");
    bench.run_for(300);
    assert_eq!(bench.status(), "ACTIVE");
    bench.fleet.devices.get_mut("c1").expect("a device").manner = Manner::Good(5);
    bench.run_for(400);
    bench.hear("c1", Word::Contact);
    bench.run_for(10);
    assert_eq!(bench.status(), "PAUSED", "nobody has offered it again before the time was over");
    bench.act(Act::Resume { acknowledge: Acknowledge::Nothing }).expect("it is paused");
    bench.hear("c1", Word::Contact);
    bench.run_for(100);
    assert_eq!(bench.rollout().head().current, 1);
}

#[test]
fn late_devices_come_at_their_own_rate_and_stop_when_too_many_fail() {
    let gate = Gate { min_reports: Share::percent(20), min_success: Share::percent(50) };
    let late = super::super::policy::Late { catchup_rate: Some(Rate::steady(6)), max_failures: Amount::Count(1) };
    let policy = Policy { last: StepPolicy { gate, soak_secs: 0, ..StepPolicy::last() }, late, ..policy() };
    let mut devices: Vec<_> = (0..10).map(|number| (format!("d{number}"), Device::good().offline())).collect();
    devices[0].1.online = true;
    devices[1].1.online = true;
    let mut bench = Bench::new(policy, devices).active();
    bench.run_for(60);
    assert_eq!(bench.status(), "DONE", "it never waits for those that do not report");
    for number in 2..10 {
        bench.fleet.devices.get_mut(format!("d{number}").as_str()).expect("a device").manner =
            if number < 5 { Manner::Fails(5) } else { Manner::Good(5) };
        bench.online(&format!("d{number}"), true);
        bench.run_for(1);
    }
    assert_eq!(bench.count_offered(), 3, "one token, and one every ten seconds");
    bench.run_for(3600);
    let late = bench.rollout().head().late;
    assert_eq!((late.ok, late.bad, late.stopped.is_some()), (0, 2, true));
    assert!(bench.act(Act::Resume { acknowledge: Acknowledge::Nothing }).is_err(), "it would stop again at once");
    bench.act(Act::Resume { acknowledge: Acknowledge::Failures }).expect("the failures are taken note of");
    bench.run_for(3600);
    assert_eq!(bench.rollout().head().late.ok, 5);
}

#[test]
fn a_device_that_joins_meanwhile_joins_the_last_step() {
    let mut bench = Bench::new(canary_first(), fleet(2, 1)).active();
    bench.fleet.devices.insert(device("new"), Device::good().group("canaries"));
    let (rollout, turn) =
        bench.rollout.take().expect("a rollout").join(bench.now, &bench.fleet, &device("new"), change("new"));
    assert!(turn.changed.contains("new"));
    bench.rollout = Some(rollout);
    bench.run_for(30);
    assert_eq!(bench.step(0).counts.members, 2);
    bench.run_for(86_400);
    assert_eq!(bench.status(), "DONE");
    assert_eq!(bench.member("new").step, Some(1));
    bench.hear("new", Word::Contact);
    bench.run_for(100);
    assert!(matches!(bench.member("new").phase, Phase::Succeeded { .. }), "{:?}", bench.member("new"));
}

#[test]
fn a_held_device_leaves_and_comes_back_with_the_last_step() {
    let mut bench = Bench::new(canary_first(), fleet(2, 2)).active();
    bench.fleet.devices.get_mut("d0").expect("a device").excluded = Some("held by ada: look at it".to_owned());
    bench.run_for(86_400);
    assert_eq!((bench.status(), bench.step(1).counts.members, bench.step(1).excluded), ("DONE", 1, 1));
    bench.fleet.devices.get_mut("d0").expect("a device").excluded = None;
    bench.hear("d0", Word::Back);
    bench.run_for(100);
    assert!(matches!(bench.member("d0").phase, Phase::Succeeded { .. }));
}

#[test]
fn a_site_succeeds_together_or_goes_back_together() {
    let site = Some(crate::domain::ids::LabelName::new("site").expect("a label"));
    let last =
        StepPolicy { site, gate: Gate { min_reports: Share::ALL, min_success: Share::NONE }, ..StepPolicy::last() };
    let on = |number: usize, site: &str, manner| {
        (format!("{site}-{number}"), Device::good().label("site", site).manner(manner))
    };
    let devices = [
        on(0, "bern", Manner::Good(5)),
        on(1, "bern", Manner::Good(500)),
        on(0, "chur", Manner::Good(5)),
        on(1, "chur", Manner::Fails(500)),
    ];
    let mut bench = Bench::new(Policy { last, ..policy() }, devices).active();
    bench.run_for(300);
    assert_eq!(bench.member("bern-0").phase.as_str(), "IN_PROGRESS", "healthy, and waits for the rest of its site");
    bench.run_for(3600);
    let shown = |name: &str| (bench.member(name).phase.as_str(), bench.member(name).back);
    assert_eq!(shown("bern-0"), ("SUCCEEDED", None));
    assert_eq!(shown("bern-1"), ("SUCCEEDED", None));
    assert_eq!(shown("chur-0"), ("ROLLED_BACK", Some(Back::Done)));
    assert_eq!(shown("chur-1"), ("FAILED", Some(Back::Done)));
}

#[test]
fn people_must_approve_what_asks_for_it_and_one_person_is_one() {
    let mut policy = Policy { approvals: 2, ..canary_first() };
    policy.last.approvals = 1;
    let mut bench = Bench::new(policy, fleet(1, 1)).active();
    assert_eq!(bench.status(), "PENDING_APPROVAL");
    insta::assert_snapshot!(bench.history(), @r"
    0 PENDING_APPROVAL ada: Activated: because
    0 PENDING_APPROVAL controller: ApprovalAsked: approvals needed before it begins: 2
    ");
    bench.act(Act::Approve).expect("it waits for it");
    assert_eq!(bench.act(Act::Approve), Err(Refusal::ApprovedAlready { actor: "ada".to_owned() }));
    let bob = Actor::new("bob").expect("an actor");
    let (rollout, done) = bench.rollout.take().expect("a rollout").act(bench.now, &bench.fleet, Act::Approve, &bob, "");
    let turn = done.expect("he is another");
    bench.rollout = Some(rollout);
    assert!(turn.effects.iter().any(|effect| matches!(effect, Effect::Offer { .. })));
    bench.hear("c0", Word::Healthy { digest: digest("c0 new"), since: bench.now });
    bench.run_for(3600);
    assert_eq!(bench.step(1).blocked, Some(Blocked::Approval { missing: 1 }));
    bench.act(Act::Approve).expect("it waits for it");
    bench.run_for(7200);
    assert_eq!(bench.status(), "DONE");
    assert_eq!(bench.act(Act::Approve), Err(Refusal::NothingToApprove));
}

#[test]
fn steps_can_be_changed_in_a_draft_only() {
    let mut bench = Bench::new(canary_first(), fleet(1, 1));
    let step = || Box::new(StepPolicy::with_defaults("more", Selector::All));
    bench.act(Act::AddStep { at: 1, step: step() }).expect("a draft");
    assert_eq!(bench.act(Act::AddStep { at: 3, step: step() }), Err(Refusal::NoSuchStep { at: 4, steps: 2 }));
    bench.act(Act::DeleteStep { at: 0 }).expect("a draft");
    assert_eq!(bench.rollout().head().steps.len(), 2);
    let mut bench = bench.active();
    assert!(matches!(bench.act(Act::DeleteStep { at: 0 }), Err(Refusal::WrongStatus { .. })));
    assert_eq!(bench.act(Act::Retry(Which::Failed)), Err(Refusal::NobodyFailed));
}

#[test]
fn a_step_takes_a_share_by_rank_and_the_rest_goes_on() {
    let take = Some(Amount::Share(Share::percent(10)));
    let some = StepPolicy { take, when_empty: WhenEmpty::Block, ..StepPolicy::with_defaults("some", Selector::All) };
    let mut bench = Bench::of(Policy { steps: vec![some], ..policy() }, 25, &Device::good()).active();
    assert_eq!(bench.step(0).counts.members, 3, "a tenth of 25, rounded up");
    bench.run_for(3600);
    assert_eq!((bench.status(), bench.step(1).counts.members), ("DONE", 22));
}

#[test]
fn a_step_that_finds_everybody_in_earlier_steps_has_nothing_left_to_try() {
    let share = |name, percent| {
        let take = Some(Amount::Share(Share::percent(percent)));
        StepPolicy { take, ..StepPolicy::with_defaults(name, Selector::All) }
    };
    let steps = vec![share("one in a hundred", 1), share("one in ten", 10)];
    let mut bench = Bench::of(Policy { steps, ..policy() }, 1, &Device::good()).active();
    assert_eq!(bench.step(0).counts.members, 1, "one in a hundred, rounded up");
    bench.run_for(3600);
    assert_eq!((bench.status(), bench.step(1).counts.members, bench.step(2).counts.members), ("DONE", 0, 0));
    // While somebody is left, a step with nobody in it blocks.
    let nobody = StepPolicy::with_defaults("nobody", Selector::Filter("nobody".into()));
    let first = StepPolicy { take: Some(Amount::Count(1)), ..StepPolicy::with_defaults("one", Selector::All) };
    let mut bench = Bench::of(Policy { steps: vec![first, nobody], ..policy() }, 2, &Device::good()).active();
    bench.run_for(3600);
    assert_eq!((bench.status(), bench.step(0).counts.ok, bench.step(2).counts.members), ("ACTIVE", 1, 0));
}

#[test]
fn time_in_which_the_controller_was_away_is_left_out() {
    let mut bench = Bench::of(
        Policy { last: StepPolicy { window_secs: 1000, ..StepPolicy::last() }, ..policy() },
        10,
        &Device::good(),
    )
    .active();
    bench.run_for(151);
    let down = bench.now;
    bench.now = bench.now.plus_secs(5000);
    bench.rollout = bench.rollout.take().map(|rollout| rollout.slept(down, bench.now).0);
    bench.tick();
    assert_eq!(bench.count_offered(), 2, "not everybody at once");
    bench.run_for(100);
    assert_eq!(bench.count_offered(), 3);
}

#[test]
fn a_device_that_was_lost_and_comes_back_healthy_counts_as_what_it_is() {
    let gate = Gate { min_reports: Share::ALL, min_success: Share::NONE };
    let last = StepPolicy { gate, timeout_secs: 7200, ..StepPolicy::last() };
    let devices = [
        ("a".to_owned(), Device::good().manner(Manner::Vanishes)),
        ("b".to_owned(), Device::good().manner(Manner::Silent)),
    ];
    let mut bench = Bench::new(Policy { last, ..policy() }, devices).active();
    bench.run_for(1000);
    assert_eq!(bench.step(0).counts.of(Failure::Lost), 1);
    bench.hear("a", Word::Healthy { digest: digest("a new"), since: bench.now });
    bench.run_for(100);
    assert_eq!((bench.step(0).counts.lost, bench.step(0).counts.ok), (0, 1));
}

/// One line each.
fn explained(bench: &Bench) -> String {
    let shown = |one: Awaited| {
        let at = one.at.map(|at| format!(" [{at}]")).unwrap_or_default();
        let hint = one.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}: {}{at}{hint}", one.code, one.message)
    };
    bench.rollout().explain(bench.now, &bench.fleet).into_iter().map(shown).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_rollout_says_what_its_next_transition_waits_for_and_when_that_is_looked_at() {
    let mut lines = Vec::new();
    let mut policy = Policy { approvals: 1, ..canary_first() };
    policy.last.approvals = 1;
    let mut bench = Bench::new(policy, fleet(2, 5));
    lines.push(explained(&bench));
    bench.act(Act::Activate).expect("a draft");
    lines.push(explained(&bench));
    bench.fleet.devices.values_mut().for_each(|one| one.online = false);
    bench.act(Act::Approve).expect("it waits for it");
    lines.push(explained(&bench));
    bench.fleet.devices.values_mut().for_each(|one| one.online = true);
    bench.hear("c0", Word::Contact);
    bench.run_for(61);
    lines.push(explained(&bench));
    bench.run_for(30);
    lines.push(explained(&bench));
    bench.run_for(100);
    lines.push(explained(&bench));
    bench.act(Act::Approve).expect("it waits for it");
    bench.run_for(1900);
    lines.push(explained(&bench));
    bench.act(Act::Pause { until: None }).expect("it is active");
    lines.push(explained(&bench));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    draft: it is a draft, and does nothing (`bellwether rollout activate main-1a2b3c4d --reason '…'`)
    approval: 0 of 1 people have approved it (`bellwether rollout approve main-1a2b3c4d --reason '…'`)
    step-offline: step 1 (canaries) does not begin: none of its 2 devices is online [2026-11-02T08:10:00Z] (it begins when one of them is heard of)
    reports: step 1 (canaries): 0 of 2 devices have reported; 2 more must [2026-11-02T08:11:00Z]
    reports: step 1 (canaries): 0 of 2 devices have reported; 2 more must [2026-11-02T08:11:00Z]
    soaking: step 1 (canaries): all others are done, these soak for 60s [2026-11-02T08:02:11Z]
    approval: step 2 (final) does not begin: 1 more person must approve it (`bellwether rollout approve main-1a2b3c4d --reason '…'`)
    reports: step 2 (final): 3 of 5 devices have reported; 1 more must [2026-11-02T09:33:11Z]
    paused: paused until somebody resumes it: because (`bellwether rollout resume main-1a2b3c4d --reason '…'`)
    "#);
}

#[test]
fn a_device_says_what_it_waits_for() {
    let gate = Gate { min_reports: Share::ALL, min_success: Share::NONE };
    let last = StepPolicy { gate, window_secs: 600, timeout_secs: 86_400, ..StepPolicy::last() };
    let devices = [
        ("good".to_owned(), Device::good()),
        ("slow".to_owned(), Device::good().manner(Manner::Good(400))),
        ("away".to_owned(), Device::good().offline()),
        ("silent".to_owned(), Device::good().manner(Manner::Silent)),
        ("fails".to_owned(), Device::good().manner(Manner::Fails(5))),
        ("held".to_owned(), Device { excluded: Some("held by ada: look at it".to_owned()), ..Device::good() }),
    ];
    let mut bench = Bench::new(Policy { last, ..policy() }, devices).active();
    let mut lines = Vec::new();
    for secs in [0, 400, 400] {
        bench.run_for(secs);
        lines.push(format!("after {}:", bench.now.secs_since(start())));
        for device in bench.rollout().members().keys() {
            let awaited = bench.rollout().explain_device(device, bench.now, &bench.fleet);
            lines.push(format!("  {device}: {}", awaited.map_or("nothing".to_owned(), |one| one.message)));
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    after 0:
      away: step 1 (final): its turn is at 2026-11-02T08:03:00Z
      fails: step 1 (final): its turn is at 2026-11-02T08:05:00Z
      good: step 1 (final): its turn is at 2026-11-02T08:07:00Z
      held: kept out of main-1a2b3c4d: held by ada: look at it
      silent: step 1 (final): its turn is at 2026-11-02T08:01:00Z
      slow: step 1 (final): its turn is at 2026-11-02T08:09:00Z
    after 400:
      away: step 1 (final): it is not heard of
      fails: failed at 2026-11-02T08:05:06Z: no space left
      good: step 1 (final): its turn is at 2026-11-02T08:07:00Z
      held: kept out of main-1a2b3c4d: held by ada: look at it
      silent: offered at 2026-11-02T08:01:00Z, not yet acknowledged
      slow: step 1 (final): its turn is at 2026-11-02T08:09:00Z
    after 800:
      away: step 1 (final): it is not heard of
      fails: failed at 2026-11-02T08:05:06Z: no space left
      good: nothing
      held: kept out of main-1a2b3c4d: held by ada: look at it
      silent: offered at 2026-11-02T08:01:00Z, not yet acknowledged
      slow: at work since 2026-11-02T08:09:01Z
    "#);
}
