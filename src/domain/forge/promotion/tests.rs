use super::*;
use crate::domain::overview::rollouts::{RolloutRow, StepRow};
use serde_json::json;

fn at(secs: i64) -> Timestamp {
    Timestamp::EPOCH.plus_secs(secs)
}

fn id(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().expect("a commit")
}

fn stage(accepted: Option<CommitId>, devices: usize, settled: usize, failing: usize, offline: usize) -> StageStatus {
    StageStatus {
        stage: "canary".parse().expect("a stage"),
        accepted,
        inventory: None,
        counting: None,
        earlier: Vec::new(),
        promotion: Promotion::Any,
        conditions: Vec::new(),
        waiting: None,
        devices,
        settled,
        failing,
        offline,
        drifted: 0,
        unknown: 0,
        findings: Vec::new(),
    }
}

fn rollout(commit: &CommitId, status: &str) -> RolloutDetail {
    let row: RolloutRow = serde_json::from_value(json!({
        "rollout": "canary-1", "stage": "canary", "commit": commit, "policy": "cautious", "status": status, "step": 2, "steps": 1,
        "devices": 3, "ok": 3, "bad": 0, "exposed": 3, "created": at(0), "eta": { "kind": "over" },
    }))
    .expect("a row");
    let step = StepRow {
        name: "all".to_owned(),
        status: "PASSED".to_owned(),
        devices: "all others".to_owned(),
        counts: Default::default(),
        acknowledged: 0,
        excluded: 0,
        started: Some(at(60)),
        ended: Some(at(3_600)),
    };
    let (all_steps, waits) = (vec![step], Vec::new());
    RolloutDetail {
        row,
        all_steps,
        phases: Default::default(),
        waits,
        next: None,
        failures: Vec::new(),
        draft: None,
        approved_by: [Actor::new("ada").expect("a name")].into(),
        left_out: Vec::new(),
        taken_back: Vec::new(),
    }
}

fn check(from: &StageStatus, rollouts: &[RolloutDetail]) -> String {
    let facts = Facts { from, rollouts, at: at(7_200), takes: from.promotion };
    match examine(&facts, &"production".parse().expect("a stage")) {
        Err(nothing) => nothing.to_string(),
        Ok((evidence, objections)) => {
            let against: Vec<String> = objections.iter().map(ToString::to_string).collect();
            format!(
                "{} devices exercised; {}",
                evidence.exercised(),
                if against.is_empty() { "ready".to_owned() } else { against.join("; ") }
            )
        }
    }
}

#[test]
fn what_was_tried_and_held_is_ready() {
    let commit = id('a');
    assert_eq!(
        check(&stage(Some(commit.clone()), 3, 3, 0, 0), &[rollout(&commit, "DONE")]),
        "3 devices exercised; ready"
    );
    assert_eq!(
        check(&stage(Some(commit.clone()), 3, 2, 0, 1), &[rollout(&commit, "DONE")]),
        "3 devices exercised; ready"
    );
}

#[test]
fn a_commit_that_was_tried_on_nothing_says_so() {
    assert_eq!(check(&stage(Some(id('a')), 3, 3, 0, 0), &[]), "0 devices exercised; ready");
    assert_eq!(check(&stage(Some(id('a')), 3, 3, 0, 0), &[rollout(&id('b'), "ERROR")]), "0 devices exercised; ready");
    assert_eq!(check(&stage(None, 3, 3, 0, 0), &[]), "no commit counts for stage canary yet");
}

#[test]
fn what_is_not_over_or_went_wrong_is_not_ready() {
    let commit = id('a');
    let whole = stage(Some(commit.clone()), 3, 3, 0, 0);
    let of = |status: &str| check(&whole, &[rollout(&commit, status)]);
    assert_eq!(of("ACTIVE"), "3 devices exercised; rollout canary-1 is ACTIVE");
    assert_eq!(of("PAUSED"), "3 devices exercised; rollout canary-1 is PAUSED");
    assert_eq!(of("SOMETHING_NEW"), "3 devices exercised; rollout canary-1 is SOMETHING_NEW");
    assert_eq!(of("ROLLED_BACK"), "3 devices exercised; rollout canary-1 ended as ROLLED_BACK");
    assert_eq!(
        check(&stage(Some(commit.clone()), 5, 3, 1, 0), &[]),
        "0 devices exercised; 1 of 5 devices of the stage fail; 1 of 5 devices of the stage are not there yet"
    );
}

#[test]
fn what_is_carried_on_is_exactly_what_was_verified() {
    let (verified, tip) = ((id('a'), id('1')), (id('b'), id('2')));
    let carrier = Carrier::new((&verified.0, &verified.1), (&tip.0, &tip.1)).expect("other trees");
    assert_eq!((&carrier.tree, &carrier.parents), (&verified.1, &vec![tip.0.clone(), verified.0.clone()]));
    assert!(carrier.is(&verified.1, &[tip.0.clone(), verified.0.clone()]));
    assert!(!carrier.is(&verified.1, &[verified.0.clone(), tip.0.clone()]) && !carrier.is(&tip.1, &carrier.parents));
    assert_eq!(Carrier::new((&verified.0, &verified.1), (&tip.0, &verified.1)), None, "the stage has it already");
    let back = Carrier::back((&tip.0, &tip.1), &verified.1).expect("other trees");
    assert_eq!(back.parents, [tip.0]);
}

#[test]
fn a_stage_that_takes_verified_trees_wants_them_finished_and_the_evidence_says_who_approved() {
    let commit = id('a');
    let mut from = StageStatus { promotion: Promotion::Verified, ..stage(Some(commit.clone()), 3, 3, 0, 0) };
    assert_eq!(
        check(&from, &[]),
        "0 devices exercised; commit aaaaaaaa has not finished in canary, and the next stage takes nothing else"
    );
    let outcome = TreeOutcome::Finished { at: at(60), exercised: 2 };
    let approved_by = Some(Actor::new("ada").expect("a name"));
    from.counting =
        Some(crate::domain::fleet::CountedTree { tree: id('b'), commit: commit.clone(), approved_by, outcome });
    assert_eq!(check(&from, &[rollout(&commit, "DONE")]), "2 devices exercised; ready");
    let facts = Facts { from: &from, rollouts: &[rollout(&commit, "DONE")], at: at(7_200), takes: Promotion::Any };
    let (evidence, _) = examine(&facts, &"production".parse().expect("a stage")).expect("there is a commit");
    let approved: Vec<String> = evidence.approvals().iter().map(ToString::to_string).collect();
    assert_eq!(approved, ["the commit, by ada", "rollout canary-1, by ada"]);
}
