use super::*;
use crate::domain::assignment::Assignment;
use crate::domain::fleet::{Change, HeldReason, RolloutChange, Staged};
use crate::domain::generation::{Attempt, Epoch, Generation, Order};
use crate::domain::ids::CommitId;
use crate::domain::rollout::machine::{Rollout, Status};
use crate::domain::rollout::ready::Ready;
use crate::domain::spec::{DeviceSpec, SealedSpec};
use serde_json::json;
use std::sync::Arc;

const OFFLINE_SECS: i64 = 300;

fn at(secs: i64) -> Timestamp {
    Timestamp::EPOCH.plus_secs(secs)
}

fn id(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().expect("a commit")
}

fn stage() -> StageName {
    "main".parse().expect("a stage")
}

fn record(accepted: char) -> StageRecord {
    serde_json::from_value(json!({ "accepted": id(accepted) })).expect("a record")
}

/// Devices of the stage by what they said: `s` settled, `f` failing, `-` nothing.
fn devices(state: &mut FleetState, said: &str) {
    for (number, word) in said.chars().enumerate() {
        let assignment = Assignment {
            device: format!("d{number}").parse().expect("a device"),
            stage: stage(),
            commit: id('a'),
            order: Order { epoch: Epoch::FIRST, generation: Generation::new(1).expect("a generation") },
            attempt: Attempt::FIRST,
            spec: SealedSpec::seal(DeviceSpec::default()),
            rollout: None,
            assigned_at: at(0),
            soak_secs: 0,
            force: None,
        };
        let device = state.devices.entry(assignment.device.clone()).or_default();
        let phase = match word {
            's' => Some("settled"),
            'f' => Some("failing"),
            _ => None,
        };
        device.reported = phase.map(|phase| {
            let mark = serde_json::to_value(assignment.mark()).expect("a mark");
            let report = json!({ "start": 1, "start_id": "b".repeat(32), "seq": 1, "phase": phase, "observed": mark });
            let freshness = json!({ "start": 1, "start_id": "b".repeat(32), "seq": 1 });
            let value = json!({ "received_at": at(1), "freshness": freshness, "report": report });
            Arc::new(serde_json::from_value(value).expect("a report"))
        });
        device.assignment = Some(Arc::new(assignment));
    }
}

fn rollout(state: &mut FleetState, name: &str, status: Status) {
    let mut head =
        Rollout::draft(name.parse().expect("a name"), stage(), id('a'), Ready::CanaryFirst.policy(), [], at(0))
            .head()
            .clone();
    head.status = status;
    let change = RolloutChange::Head { version: 1, head: Arc::new(head) };
    state.apply(&[Change::Rollout(name.parse().expect("a name"), change)]);
}

fn words(say: &Say) -> String {
    let what = match &say.topic {
        Topic::Progress { commit, .. } => commit.as_str()[..1].to_owned(),
        Topic::Held { commit, .. } => format!("held {}", &commit.as_str()[..1]),
        Topic::Rollout { rollout, .. } => format!("rollout {rollout}"),
    };
    let first = say.text.lines().next().unwrap_or_default();
    format!("{what} {:?}: {first}{}", say.standing, if say.is_in_doubt() { " (in doubt)" } else { "" })
}

/// A look at some second; everything is said, and the forge confirms it.
fn look(state: &mut FleetState, secs: i64) -> Vec<String> {
    let said = try_to_say(state, secs);
    for told in state.told.values_mut() {
        told.certainty = Certainty::Said;
        told.id = Some(7);
    }
    said
}

/// The same, and no answer of the forge ever comes.
fn try_to_say(state: &mut FleetState, secs: i64) -> Vec<String> {
    let now = at(secs);
    let stages = [stage()];
    let Talk { say, forget } = follow(&Look { state, stages: &stages, offline_after_secs: OFFLINE_SECS, now });
    let mut changes: Vec<Change> = forget.into_iter().map(Change::ToldGone).collect();
    changes.extend(say.iter().map(|one| Change::Told(one.topic.clone(), one.intended(now))));
    state.apply(&changes);
    say.iter().map(words).collect()
}

fn fleet(said: &str) -> FleetState {
    let mut state = FleetState::default();
    state.stages.insert(stage(), record('a'));
    devices(&mut state, said);
    state
}

#[test]
fn a_commit_is_followed_until_it_is_everywhere_and_then_left_alone() {
    let mut state = fleet("----------");
    assert_eq!(look(&mut state, 1), ["a UnderWay: 0 of 10 devices"]);
    assert_eq!(look(&mut state, 2), [""; 0], "nothing has happened");
    devices(&mut state, "ss--------");
    assert_eq!(look(&mut state, 3), [""; 0], "it goes on, and that was said a moment ago");
    assert_eq!(look(&mut state, 40), ["a UnderWay: 2 of 10 devices"]);
    devices(&mut state, "ssssssssss");
    assert_eq!(look(&mut state, 41), ["a Success: 10 of 10 devices"], "the end is said at once");
    devices(&mut state, "sssssssssf");
    assert_eq!(look(&mut state, 900), [""; 0], "what happens later is not the commit's");
    assert_eq!(state.told.len(), 1);
}

#[test]
fn devices_that_fail_are_counted_and_silent_ones_are_not_waited_for() {
    let mut state = fleet("ssf-");
    assert_eq!(look(&mut state, 1), ["a UnderWay: 2 of 4 devices, 1 failed"]);
    assert_eq!(look(&mut state, 1_000), ["a Failure: 2 of 4 devices, 1 failed, 1 silent"]);
    devices(&mut state, "sss-");
    assert_eq!(look(&mut state, 1_001), ["a Success: 3 of 4 devices, 1 silent"], "it was mended");
    assert_eq!(look(&mut fleet(""), 1), ["a Success: 0 of 0 devices"]);
}

#[test]
fn what_was_not_confirmed_is_in_doubt_and_said_again_after_any_restart() {
    let mut state = fleet("s");
    assert_eq!(try_to_say(&mut state, 1), ["a Success: 1 of 1 devices"]);
    // All that a restart keeps is what was noted.
    assert_eq!(try_to_say(&mut state, 2), ["a Success: 1 of 1 devices (in doubt)"]);
    assert_eq!(look(&mut state, 3), ["a Success: 1 of 1 devices (in doubt)"]);
    assert_eq!(look(&mut state, 4), [""; 0]);
}

#[test]
fn a_commit_whose_place_is_taken_comes_to_an_end_and_is_forgotten() {
    let mut state = fleet("-");
    look(&mut state, 1);
    state.stages.insert(stage(), record('b'));
    let said = look(&mut state, 2);
    assert_eq!(
        said,
        ["a Superseded: another commit took its place before it was everywhere", "b UnderWay: 0 of 1 devices"]
    );
    assert_eq!(look(&mut state, 3), [""; 0]);
    assert_eq!(state.told.len(), 1, "{:?}", state.told);
}

#[test]
fn a_held_commit_asks_once_for_a_person_and_says_when_that_is_over() {
    let mut state = fleet("s");
    look(&mut state, 1);
    let digest = Digest::of(b"held");
    let waiting = Waiting {
        commit: id('b'),
        tree: id('c'),
        inventory: None,
        since: at(2),
        why: WaitingFor::Approval { digest, reasons: vec![HeldReason::LastDevice], changes: Vec::new() },
    };
    state.stages.insert(stage(), StageRecord { waiting: Some(waiting), ..record('a') });
    let said = look(&mut state, 3);
    assert_eq!(
        said,
        [
            "held b Waiting: ### Held: stage `main` waits for approval",
            "b Waiting: held: somebody must approve 5dde1427"
        ]
        .map(|line| line.replace("5dde1427", &digest.short()))
    );
    assert_eq!(look(&mut state, 100), [""; 0]);
    state.stages.insert(stage(), record('b'));
    let said = look(&mut state, 101);
    assert!(
        said[0].starts_with("held b Success: Commit `bbbbbbbb` in stage `main` waited for somebody here."),
        "{said:?}"
    );
    assert_eq!(said[1], "b Success: 1 of 1 devices");
    assert_eq!((look(&mut state, 102), state.told.len()), (vec![], 1));
}

#[test]
fn the_rollout_that_is_worst_off_is_what_a_commit_is_judged_by() {
    let check = |status: Status, expected: &[&str]| {
        let mut state = fleet("s");
        rollout(&mut state, "main-00000002", Status::Done { at: at(9) });
        rollout(&mut state, "main-00000001", status);
        assert_eq!(look(&mut state, 10), expected);
        assert_eq!(look(&mut state, 500), [""; 0]);
    };
    let why = || "2 of 3 `<b>` @anna failed".to_owned();
    check(Status::Done { at: at(9) }, &["a Success: 0 of 0 devices; done"]);
    check(Status::Active, &["a UnderWay: 0 of 0 devices; step 1 of 2"]);
    check(
        Status::PendingApproval,
        &[
            "rollout main-00000001 Waiting: ### Rollout `main-00000001` of stage `main` waits for approval",
            "a Waiting: 0 of 0 devices; waits for approval",
        ],
    );
    check(
        Status::Error { why: why(), at: at(9) },
        &[
            "rollout main-00000001 Waiting: ### ERROR: rollout `main-00000001` of stage `main` has stopped",
            "a Failure: 0 of 0 devices; ERROR: 2 of 3 `<b>` @anna failed",
        ],
    );
    check(
        Status::Aborted { why: why(), at: at(9) },
        &["a Failure: 0 of 0 devices; ABORTED: 2 of 3 `<b>` @anna failed"],
    );
    check(Status::RolledBack { at: at(9) }, &["a Failure: 0 of 0 devices; ROLLED_BACK"]);
    let paused = Status::Paused { why: "fair".to_owned(), since: at(9), until: None };
    check(paused, &["a UnderWay: 0 of 0 devices; paused: fair"]);
}

#[test]
fn rollouts_that_wait_for_others_are_no_success() {
    let mut state = fleet("s");
    let staged = Some(Staged { commit: id('a'), progress: StagedProgress::Owed });
    state.stages.insert(stage(), StageRecord { staged, ..record('a') });
    assert_eq!(look(&mut state, 1), ["a Waiting: waits for the rollouts before it"]);
}

#[test]
fn nothing_is_said_without_end() {
    let mut state = fleet("s");
    let mut said = 0;
    for round in 0..2_000_u32 {
        let why = format!("for the {round}th time");
        rollout(&mut state, "main-00000001", Status::Paused { why, since: at(0), until: None });
        let other = if round % 2 == 0 { Status::PendingApproval } else { Status::Active };
        rollout(&mut state, "main-00000002", other);
        said += look(&mut state, i64::from(round) * 100).iter().filter(|line| line.starts_with("a ")).count();
    }
    assert!(said <= MAX_TIMES as usize, "{said}");
    rollout(&mut state, "main-00000002", Status::Done { at: at(0) });
    rollout(&mut state, "main-00000001", Status::Done { at: at(0) });
    let last = look(&mut state, 1_000_000);
    assert!(last.iter().any(|line| line.starts_with("a Success")), "the end is said all the same: {last:?}");
}

#[test]
fn what_others_wrote_is_text() {
    let mut state = fleet("s");
    let why = "</details>`\n@anna [x](y) \u{202e}\u{1b}[2J".to_owned() + &"x".repeat(5_000);
    rollout(&mut state, "main-00000001", Status::Error { why, at: at(9) });
    let stages = [stage()];
    let talk = follow(&Look { state: &state, stages: &stages, offline_after_secs: OFFLINE_SECS, now: at(10) });
    let text = &talk.say[0].text;
    let line = text.lines().find(|line| line.contains("@anna")).expect("the reason");
    assert!(
        line.starts_with("`</details>' @anna [x](y)") && line.ends_with("x…`") && !line.contains('\u{202e}'),
        "{line}"
    );
    assert_eq!(line.matches('`').count(), 2, "{line}");
    assert!(words::line(&talk.say[1].text).chars().count() <= words::MAX_LINE_CHARS);
}

#[test]
fn a_forge_that_refuses_is_asked_less_and_less_often() {
    let pauses: Vec<u64> = (0..9).map(|failures| pause_secs(failures, None)).collect();
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 900, 900]);
    assert_eq!((pause_secs(u32::MAX, None), pause_secs(0, Some(1)), pause_secs(5, Some(90_000))), (900, 10, 3_600));
}
