//! When rollouts are said to be done.

use super::*;
use crate::domain::ids::{CommitId, RolloutName, StageName};
use crate::domain::rollout::freeze::{Freeze, FreezeTime};
use crate::domain::rollout::gate::Counts;
use crate::domain::rollout::machine::Rollout;
use crate::domain::rollout::ready::Ready;
use std::collections::BTreeMap;

const AHEAD: [u32; 3] = [10, 100, 890];

fn ahead(devices: u32) -> Ahead {
    Ahead { crowd: Crowd::of(devices), on_the_way_secs: None }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000).plus_secs(secs)
}

/// A rollout of a thousand devices that has just been activated.
fn head() -> Head {
    let name = RolloutName::new("main-1").expect("a name");
    let stage = StageName::new("main").expect("a stage");
    let commit = CommitId::new(&"1".repeat(40)).expect("a commit");
    let rollout = Rollout::draft(name, stage, commit, Ready::Cautious.policy(), BTreeMap::new(), at(0));
    let mut head = rollout.head().clone();
    head.status = Status::Active;
    begin(&mut head, 0, 0);
    head
}

/// A step begins so many seconds after the rollout.
fn begin(head: &mut Head, number: usize, secs: i64) {
    for step in &mut head.steps[..number] {
        step.status = StepStatus::Passed;
    }
    head.current = number;
    let step = &mut head.steps[number];
    (step.status, step.started, step.clock) = (StepStatus::Running, Some(at(secs)), step.clock.started(at(secs)));
    step.counts = Counts { members: AHEAD[number], ..Counts::default() };
}

fn said(head: &Head, freezes: &Freezes, secs: i64) -> String {
    match eta(head, &AHEAD.map(ahead), freezes, at(secs)) {
        Eta::Over => "over".to_owned(),
        Eta::At { expected, latest } => {
            let after = |moment: Timestamp| show_secs(moment.secs_since(at(0)));
            format!("after {} to {}", after(expected), after(latest))
        }
        Eta::Unknown { why } => format!("unknown: {why}"),
    }
}

fn check(what: &str, change: impl FnOnce(&mut Head), secs: i64, lines: &mut Vec<String>) {
    let mut head = head();
    change(&mut head);
    lines.push(format!("{what}, {} in: {}", show_secs(secs), said(&head, &Freezes::default(), secs)));
}

#[test]
fn a_rollout_says_when_it_will_be_done_or_why_it_cannot() {
    let mut all = Vec::new();
    check("at its beginning", |_| {}, 0, &mut all);
    check("in its first step", |_| {}, 1800, &mut all);
    check("when some take long", |_| {}, 7200, &mut all);
    check("in its last step", |head| begin(head, 2, 40_000), 50_000, &mut all);
    check("with nothing but soaks left", |head| head.steps[0].status = StepStatus::Soaking, 1800, &mut all);
    check("not activated", |head| head.status = Status::Draft, 0, &mut all);
    check("not approved", |head| head.status = Status::PendingApproval, 0, &mut all);
    check("paused", |head| pause(head, None), 60, &mut all);
    check("paused for a while", |head| pause(head, Some(at(3600))), 60, &mut all);
    check("with an error", |head| head.status = Status::Error { why: "x".to_owned(), at: at(0) }, 60, &mut all);
    check("going back", |head| head.status = Status::RollingBack { since: at(0) }, 60, &mut all);
    check("done", |head| head.status = Status::Done { at: at(0) }, 60, &mut all);
    check("blocked", |head| head.steps[0].blocked = Some(Blocked::Empty { again: at(9) }), 60, &mut all);
    check("with people to ask later", |head| head.policy.steps[1].approvals = 2, 60, &mut all);
    insta::assert_snapshot!(all.join("\n"), @r"
    at its beginning, 0s in: after 32h 4m to 36h 40m
    in its first step, 30m in: after 32h 4m to 36h 40m
    when some take long, 2h in: after 33h 37m to 36h 40m
    in its last step, 13h 53m in: after 35h 15m to 35h 46m
    with nothing but soaks left, 30m in: after 31h 37m to 36h 40m
    not activated, 0s in: unknown: it has not been activated
    not approved, 0s in: unknown: it waits for people to approve it
    paused, 60s in: unknown: it is paused until somebody resumes it
    paused for a while, 60s in: after 33h 4m to 37h 40m
    with an error, 60s in: unknown: it stopped at an error, and waits for a person
    going back, 60s in: unknown: devices go back to what they had
    done, 60s in: over
    blocked, 60s in: unknown: step 1 (one in a hundred) does not begin: nobody is in it
    with people to ask later, 60s in: unknown: step 2 (one in ten) will wait for 2 approvals
    ");
}

fn pause(head: &mut Head, until: Option<Timestamp>) {
    head.steps[0].clock = head.steps[0].clock.stopped(at(0));
    head.status = Status::Paused { why: "x".to_owned(), since: at(0), until };
}

#[test]
fn freezes_are_foreseen() {
    let freeze = |from: i64, until: i64| {
        let when = FreezeTime::Between { from: at(from), until: at(until) };
        Freezes(vec![Freeze { reason: "end of year".to_owned(), when }])
    };
    let mut frozen = head();
    frozen.steps[0].clock = frozen.steps[0].clock.stopped(at(0));
    let lines = [said(&frozen, &freeze(0, 86_400), 0), said(&head(), &freeze(3600, 86_400), 0)];
    insta::assert_snapshot!(lines.join("\n"), @r"
    after 2d 8h to 2d 12h
    unknown: a freeze begins at 2027-01-15T09:00:00Z, with 31h 4m to go
    ");
}

#[test]
fn what_is_said_at_the_beginning_is_what_a_plan_says() {
    for ready in Ready::ALL {
        let mut head = head();
        head.policy = ready.policy();
        head.steps = vec![Step::default(); head.policy.count()];
        let members: Vec<Ahead> = (0..head.steps.len()).map(|number| ahead(AHEAD[2 - number.min(2)])).collect();
        let crowds: Vec<Crowd> = members.iter().map(|one| one.crowd).collect();
        let plan = crate::domain::rollout::forecast::forecast(&head.policy, &crowds);
        let last = plan.last().expect("every policy has a last step");
        let planned = |secs: u64| at(i64::try_from(secs).expect("a few days"));
        let expected = Eta::At { expected: planned(last.earliest_secs), latest: planned(last.latest_secs) };
        assert_eq!(eta(&head, &members, &Freezes::default(), at(0)), expected, "{}", ready.name());
    }
}

#[test]
fn releases_on_the_way_take_their_time() {
    let soak = 1800;
    let said = |started: bool, legs: u32, to_prove: Option<i64>, secs: i64| {
        let mut head = head();
        head.policy.steps.clear();
        head.policy.last.soak_secs = 1800;
        (head.policy.last.window_secs, head.policy.last.timeout_secs) = (0, 60);
        head.steps = vec![Step::default()];
        if started {
            begin(&mut head, 0, 0);
        }
        let crowd = Crowd { devices: 10, legs };
        let ahead = Ahead { crowd, on_the_way_secs: to_prove.map(|secs| u64::try_from(secs).expect("a while")) };
        match eta(&head, &[ahead], &Freezes::default(), at(secs)) {
            Eta::At { expected, latest } => {
                let after = |moment: Timestamp| show_secs(moment.secs_since(at(0)));
                format!("after {} to {}", after(expected), after(latest))
            }
            other => format!("{other:?}"),
        }
    };
    let lines = [
        format!("none, not begun: {}", said(false, 0, None, 0)),
        format!("two, not begun: {}", said(false, 2, None, 0)),
        format!("two, at the beginning: {}", said(true, 2, Some(3 * soak), 0)),
        format!("two, in the second: {}", said(true, 2, Some(3 * soak - 2000), 2000)),
        format!("two, in the last: {}", said(true, 2, Some(600), 3 * soak - 600)),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r#"
    none, not begun: after 30m to 31m
    two, not begun: after 90m to 90m
    two, at the beginning: after 90m to 90m
    two, in the second: after 90m to 90m
    two, in the last: after 90m to 90m
    "#);
}
