//! What is asked of devices, and what comes back.

use super::actions::{NewAction, cancel, request};
use super::operator::Acting;
use super::report::{Recorded, report};
use crate::domain::actions::{
    ActionResult, ActionState, ActionsReport, DeviceAction, LockRule, MAX_KEPT_ACTIONS, Outcome, tag,
};
use crate::domain::digest::Digest;
use crate::domain::fleet::{Change, DeviceRecord, FleetState, Identity, IdentityStatus};
use crate::domain::ids::DeviceId;
use crate::domain::overview::actions::DeviceActions;
use crate::domain::reported::{Phase, Report};
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn device() -> DeviceId {
    "kiosk-1".parse().expect("a device")
}

fn acting(now: Timestamp) -> Acting {
    Acting { actor: "anna".parse().expect("an actor"), now }
}

fn enrolled() -> FleetState {
    let identity = Identity {
        key_hash: Digest::of(b"key"),
        status: IdentityStatus::Enrolled,
        since: NOW,
        actor: None,
        attributes: BTreeMap::new(),
        contender: None,
    };
    let record = DeviceRecord { identity: Some(Arc::new(identity)), ..DeviceRecord::default() };
    FleetState { devices: BTreeMap::from([(device(), record)]), ..FleetState::default() }
}

fn reboot(valid_secs: i64) -> NewAction {
    let reason = "it hangs".to_owned();
    NewAction { action: DeviceAction::Reboot, locks: LockRule::Respected, reason, valid_secs }
}

/// Does it, and says what was recorded or why not.
fn apply<E: std::fmt::Display>(state: &mut FleetState, changes: Result<Vec<Change>, E>) -> String {
    match changes {
        Ok(changes) => {
            state.apply(&changes);
            let events = changes.iter().filter_map(|change| match change {
                Change::Event(event) => Some(format!("{}: {}", event.kind, event.message)),
                _ => None,
            });
            events.collect::<Vec<_>>().join("; ")
        }
        Err(error) => format!("no: {error}"),
    }
}

fn ask(state: &mut FleetState, now: Timestamp) -> String {
    let changes = request(state, &device(), reboot(3600), &acting(now));
    apply(state, changes)
}

fn hear(state: &mut FleetState, seq: u64, actions: Option<ActionsReport>) -> String {
    let report_now = Report {
        start: 1,
        start_id: "a".repeat(32),
        seq,
        observed: None,
        applied: None,
        phase: Phase::Waiting,
        conditions: Vec::new(),
        apps: None,
        os: None,
        os_update: None,
        host: None,
        found: Vec::new(),
        refused: None,
        failure: None,
        locks: Vec::new(),
        actions,
        branch: None,
        attributes: BTreeMap::new(),
    };
    match report(state, &device(), report_now, NOW) {
        Ok(Recorded::Newer(changes)) => apply(state, Ok::<_, std::fmt::Error>(changes)),
        Ok(Recorded::Stale) => "stale".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn done(number: u64, message: &str) -> ActionsReport {
    let (outcome, reason, message) = (Outcome::Failed, "Failed".to_owned(), message.to_owned());
    let result = ActionResult { number, outcome, reason, message, at: NOW, log: None };
    ActionsReport { last: number, waiting: BTreeMap::new(), results: vec![result] }
}

fn open(state: &FleetState, now: Timestamp) -> String {
    let actions = state.devices[&device()].actions.clone().unwrap_or_default();
    tag(&actions.open(now))
}

/// How the newest action stands.
fn standing(state: &FleetState, now: Timestamp) -> String {
    let all = DeviceActions::of(&state.devices[&device()], now);
    all.actions.first().map(|one| format!("{} ({})", one.standing, one.words)).unwrap_or_default()
}

#[test]
fn an_action_is_open_until_it_ended_expired_or_was_taken_back() {
    let mut state = enrolled();
    assert_eq!(ask(&mut state, NOW), "ActionRequested: action 1: reboot, within 60m: it hangs");
    assert_eq!(standing(&state, NOW), "waiting (for the device's first report)");
    assert_eq!(hear(&mut state, 1, None), "");
    assert_eq!(standing(&state, NOW), "not supported (the agent is older than actions)");
    assert_eq!(hear(&mut state, 2, Some(ActionsReport::default())), "");
    assert_eq!(standing(&state, NOW), "waiting (for the device to come for it)");
    assert_eq!(open(&state, NOW.plus_secs(3599)), "1");
    assert_eq!(open(&state, NOW.plus_secs(3600)), "none");
    assert_eq!(standing(&state, NOW.plus_secs(3600)), "expired (the device did not come for it)");
    ask(&mut state, NOW);
    let taken_back = cancel(&state, &device(), 1, &acting(NOW));
    assert_eq!(apply(&mut state, taken_back), "ActionCanceled: action 1 was taken back: reboot");
    let again = cancel(&state, &device(), 1, &acting(NOW));
    assert_eq!(apply(&mut state, again), "no: device kiosk-1 has no open action 1");
    assert_eq!(open(&state, NOW), "2");
    let told = hear(&mut state, 3, Some(done(2, "no such command")));
    assert_eq!(told, "ActionFailed: action 2 of anna: reboot: no such command");
    assert_eq!(standing(&state, NOW), "failed (no such command)");
    assert_eq!(hear(&mut state, 4, Some(done(2, "another story"))), "", "what ended has ended");
    assert_eq!(hear(&mut state, 5, Some(done(77, "made up"))), "", "nobody asked for it");
}

#[test]
fn a_number_that_the_device_has_seen_is_never_given_again() {
    let mut state = enrolled();
    // As after a restore: the device knows numbers that the controller has forgotten.
    hear(&mut state, 1, Some(ActionsReport { last: 41, ..ActionsReport::default() }));
    assert!(ask(&mut state, NOW).starts_with("ActionRequested: action 42"));
    hear(&mut state, 2, Some(ActionsReport { last: u64::MAX, ..ActionsReport::default() }));
    assert_eq!(ask(&mut state, NOW), "no: the number of an action must be below 2^64");
}

#[test]
fn what_is_asked_for_is_bounded_and_what_is_kept_too() {
    let mut state = enrolled();
    for _ in 0..16 {
        ask(&mut state, NOW);
    }
    assert_eq!(ask(&mut state, NOW), "no: the number of open actions of a device must be at most 16");
    let mut now = NOW;
    for _ in 0..40 {
        now = now.plus_secs(4000);
        assert!(ask(&mut state, now).starts_with("ActionRequested"), "expired ones make room");
    }
    let kept = &state.devices[&device()].actions.as_ref().expect("actions").list;
    assert_eq!((kept.len(), kept.last().map(|one| one.request.number)), (MAX_KEPT_ACTIONS, Some(56)));
    assert!(kept[..31].iter().all(|one| one.state == ActionState::Expired));
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let check = |new: NewAction, expected: &str| {
        let mut state = enrolled();
        let changes = request(&state, &device(), new, &acting(NOW));
        assert_eq!(apply(&mut state, changes), expected);
    };
    check(reboot(59), "no: the time for which an action stays open must be from 60s to 30d");
    check(NewAction { reason: String::new(), ..reboot(60) }, "no: the reason must be 1 to 500 characters on one line");
    let unknown = NewAction { action: DeviceAction::Unknown, ..reboot(60) };
    check(
        unknown,
        "no: the kind of an action must be restart-service, restart-all, reboot, purge-volume or collect-logs",
    );
    let (app, service) = ("web".parse().expect("an app"), "nav".parse().expect("a service"));
    let lines = NewAction { action: DeviceAction::CollectLogs { app, service, lines: 501 }, ..reboot(60) };
    check(lines, "no: the number of lines must be from 1 to 500");
    let mut state = enrolled();
    let stranger = request(&state, &"other".parse().expect("a device"), reboot(60), &acting(NOW));
    assert_eq!(apply(&mut state, stranger), "no: device other is not known");
}
