//! What has become of a commit that somebody pushed to a stage: whether to go on waiting, and if not, why.

use crate::domain::digest::Digest;
use crate::domain::fleet::{HeldReason, Unverified, WaitingFor};
use crate::domain::ids::{CommitId, RolloutName};
use crate::domain::overview::rollouts::RolloutRow;
use crate::domain::overview::status::StageStatus;
use serde::Serialize;

/// What has become of a commit on its stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// The controller has not seen it, or has not judged it.
    NotSeen,
    /// It does not count yet, and will by itself.
    Queued {
        /// What it waits for.
        why: String,
    },
    /// It does not count, and somebody must do something.
    Held {
        /// Why.
        why: String,
        /// What `bellwether approve` takes; `None` if it has to be repaired.
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
    /// It counts, and devices are on their way.
    UnderWay {
        /// Where it is.
        how: String,
        /// Whether only a person can bring it on.
        asks: Asks,
    },
    /// Everything is there.
    Done {
        /// How far.
        how: String,
    },
    /// It went wrong.
    WentWrong {
        /// How.
        how: String,
    },
    /// Another commit counts by now.
    Superseded {
        /// Which.
        by: CommitId,
    },
}

/// Whether something goes on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Asks {
    /// It does.
    Nobody,
    /// A person must approve or resume it.
    Somebody,
}

/// Whether there is anything to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is.
    Wait,
    /// It is over, and well.
    Good,
    /// It is over, or stands until somebody does something.
    Bad,
}

impl Standing {
    /// Whether to go on waiting.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::NotSeen | Self::Queued { .. } | Self::UnderWay { .. } => Verdict::Wait,
            Self::Done { .. } => Verdict::Good,
            Self::Held { .. } | Self::WentWrong { .. } | Self::Superseded { .. } => Verdict::Bad,
        }
    }

    /// One sentence, with nothing in it but what the controller said.
    pub fn sentence(&self) -> String {
        match self {
            Self::NotSeen => "the controller has not seen it yet".to_owned(),
            Self::Queued { why } => format!("it waits: {why}"),
            Self::Held { why, digest: Some(digest) } => {
                format!("it is held: {why}; `bellwether approve {}` lets it count", digest.short())
            }
            Self::Held { why, digest: None } => format!("it cannot count: {why}"),
            Self::UnderWay { how, asks: Asks::Nobody } => format!("under way: {how}"),
            Self::UnderWay { how, asks: Asks::Somebody } => format!("it waits for a person: {how}"),
            Self::Done { how } => format!("done: {how}"),
            Self::WentWrong { how } => format!("it went wrong: {how}"),
            Self::Superseded { by } => format!("commit {} has taken its place", by.short()),
        }
    }
}

/// What has become of a commit. `earlier` is what was found at the look before: one that was seen then and is not any more has been
/// overtaken, and one that was never seen may still come.
pub fn standing(
    stage: &StageStatus,
    rollouts: &[RolloutRow],
    commit: &CommitId,
    earlier: Option<&Standing>,
) -> Standing {
    if let Some(waiting) = stage.waiting.as_ref().filter(|waiting| waiting.commit == *commit) {
        return match &waiting.why {
            WaitingFor::Repair { message } => Standing::Held { why: message.clone(), digest: None },
            WaitingFor::Approval { digest, reasons, .. } => {
                let why = reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                if reasons.iter().all(resolves_itself) {
                    Standing::Queued { why }
                } else {
                    Standing::Held { why, digest: Some(*digest) }
                }
            }
        };
    }
    match &stage.accepted {
        Some(accepted) if accepted == commit => counts(stage, rollouts, commit),
        Some(accepted) if stage.earlier.contains(commit) || earlier.is_some_and(was_seen) => {
            let newest = stage.waiting.as_ref().map_or(accepted, |waiting| &waiting.commit);
            Standing::Superseded { by: newest.clone() }
        }
        Some(_) | None => Standing::NotSeen,
    }
}

fn was_seen(earlier: &Standing) -> bool {
    match earlier {
        Standing::NotSeen => false,
        Standing::Queued { .. }
        | Standing::Held { .. }
        | Standing::UnderWay { .. }
        | Standing::Done { .. }
        | Standing::WentWrong { .. }
        | Standing::Superseded { .. } => true,
    }
}

/// Whether a commit goes on by itself although it is held.
fn resolves_itself(reason: &HeldReason) -> bool {
    match reason {
        HeldReason::Unverified { why: Unverified::Trying, .. } => true,
        HeldReason::Unverified { why: Unverified::Unknown | Unverified::WentWrong, .. }
        | HeldReason::DeletionBudget { .. }
        | HeldReason::LastDevice
        | HeldReason::BlastRadius { .. }
        | HeldReason::HistoryRewritten { .. }
        | HeldReason::NewStage { .. } => false,
    }
}

fn counts(stage: &StageStatus, rollouts: &[RolloutRow], commit: &CommitId) -> Standing {
    let own: Vec<&RolloutRow> =
        rollouts.iter().filter(|one| one.stage == stage.stage && one.commit == *commit).collect();
    // A rollout that another one of the same commit has taken over says nothing any more.
    let own: Vec<&RolloutRow> = match own.iter().any(|one| one.status != "SUPERSEDED") {
        true => own.into_iter().filter(|one| one.status != "SUPERSEDED").collect(),
        false => own,
    };
    let with = |wanted: &[&str]| own.iter().copied().find(|one| wanted.contains(&one.status.as_str()));
    if let Some(bad) = with(&["ERROR", "ABORTED", "ROLLING_BACK", "ROLLED_BACK", "SUPERSEDED"]) {
        let why = bad.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        return Standing::WentWrong { how: format!("{}{why}", progress(bad)) };
    }
    if let Some(stands) = with(&["PAUSED", "PENDING_APPROVAL", "DRAFT"]) {
        return Standing::UnderWay { how: progress(stands), asks: Asks::Somebody };
    }
    if own.iter().any(|one| one.status != "DONE") {
        let how = own.iter().map(|one| progress(one)).collect::<Vec<_>>().join("; ");
        return Standing::UnderWay { how, asks: Asks::Nobody };
    }
    if !own.is_empty() {
        return Standing::Done { how: own.iter().map(|one| progress(one)).collect::<Vec<_>>().join("; ") };
    }
    // Nothing goes out by rollout: what the devices of the stage say is all there is.
    let StageStatus { devices, settled, failing, offline, .. } = stage;
    let how = format!("{settled} of {devices} devices are there, {failing} fail, {offline} are silent");
    match (devices.saturating_sub(settled + failing + offline), failing) {
        (0, 0) => Standing::Done { how },
        (0, _) => Standing::WentWrong { how },
        (_, _) => Standing::UnderWay { how, asks: Asks::Nobody },
    }
}

fn progress(one: &RolloutRow) -> String {
    let RolloutRow { rollout, status, step, steps, devices, ok, bad, .. } = one;
    let step = (*step).min(*steps);
    format!("{rollout} is {status}, step {step} of {steps}, {ok} of {devices} devices are there, {bad} failed")
}

/// The rollouts of a commit, for links.
pub fn names(rollouts: &[RolloutRow], stage: &StageStatus, commit: &CommitId) -> Vec<RolloutName> {
    let own = rollouts.iter().filter(|one| one.stage == stage.stage && one.commit == *commit);
    own.map(|one| one.rollout.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fleet::Waiting;
    use crate::domain::rollout::eta::Eta;
    use crate::domain::time::Timestamp;

    fn commit(digit: &str) -> CommitId {
        digit.repeat(40).parse().expect("a commit")
    }

    fn stage(accepted: &str, counts: (usize, usize, usize, usize)) -> StageStatus {
        let (devices, settled, failing, offline) = counts;
        let stage = serde_json::json!({
            "stage": "canary", "accepted": commit(accepted), "waiting": null, "devices": devices, "settled": settled,
            "failing": failing, "offline": offline, "drifted": 0, "unknown": 0, "findings": [],
        });
        serde_json::from_value(stage).expect("a stage")
    }

    fn row(status: &str) -> RolloutRow {
        RolloutRow {
            rollout: "canary-1".parse().expect("a rollout"),
            stage: "canary".parse().expect("a stage"),
            commit: commit("b"),
            policy: "careful".parse().expect("a policy"),
            status: status.to_owned(),
            why: (status == "ERROR").then(|| "1 of 5 failed".to_owned()),
            step: 2,
            steps: 2,
            devices: 5,
            ok: 4,
            excluded: 0,
            bad: 1,
            exposed: 5,
            created: Timestamp::EPOCH,
            since: None,
            eta: Eta::Over,
            back: None,
        }
    }

    fn check(stage: &StageStatus, rollouts: &[RolloutRow], verdict: Verdict, sentence: &str) {
        let standing = standing(stage, rollouts, &commit("b"), None);
        assert_eq!((standing.verdict(), standing.sentence().as_str()), (verdict, sentence));
    }

    #[test]
    fn a_commit_is_followed_until_nothing_more_becomes_of_it() {
        let counts = (5, 5, 0, 0);
        check(&stage("a", counts), &[], Verdict::Wait, "the controller has not seen it yet");
        let overtaken = StageStatus { earlier: vec![commit("b")], ..stage("c", counts) };
        check(&overtaken, &[], Verdict::Bad, "commit cccccccc has taken its place");
        let seen = Standing::Queued { why: String::new() };
        assert_eq!(
            standing(&stage("c", counts), &[], &commit("b"), Some(&seen)),
            Standing::Superseded { by: commit("c") }
        );
        let there = "4 of 5 devices are there, 1 failed";
        check(
            &stage("b", counts),
            &[row("ACTIVE")],
            Verdict::Wait,
            &format!("under way: canary-1 is ACTIVE, step 2 of 2, {there}"),
        );
        check(
            &stage("b", counts),
            &[row("DONE")],
            Verdict::Good,
            &format!("done: canary-1 is DONE, step 2 of 2, {there}"),
        );
        let paused = format!("it waits for a person: canary-1 is PAUSED, step 2 of 2, {there}");
        check(&stage("b", counts), &[row("PAUSED"), row("DONE")], Verdict::Wait, &paused);
        let error = format!("it went wrong: canary-1 is ERROR, step 2 of 2, {there}: 1 of 5 failed");
        check(&stage("b", counts), &[row("ERROR"), row("ACTIVE")], Verdict::Bad, &error);
        // One of the same commit took over.
        check(
            &stage("b", counts),
            &[row("SUPERSEDED"), row("DONE")],
            Verdict::Good,
            &format!("done: canary-1 is DONE, step 2 of 2, {there}"),
        );
    }

    #[test]
    fn without_a_rollout_the_devices_of_the_stage_say_what_there_is_to_say() {
        check(&stage("b", (5, 4, 0, 1)), &[], Verdict::Good, "done: 4 of 5 devices are there, 0 fail, 1 are silent");
        check(
            &stage("b", (5, 4, 0, 0)),
            &[],
            Verdict::Wait,
            "under way: 4 of 5 devices are there, 0 fail, 0 are silent",
        );
        check(
            &stage("b", (5, 4, 1, 0)),
            &[],
            Verdict::Bad,
            "it went wrong: 4 of 5 devices are there, 1 fail, 0 are silent",
        );
    }

    #[test]
    fn what_is_held_is_told_at_once_unless_it_goes_on_by_itself() {
        let held = |reason: HeldReason| {
            let why = WaitingFor::Approval { digest: Digest::of(b"held"), reasons: vec![reason], changes: Vec::new() };
            let waiting =
                Waiting { commit: commit("b"), tree: commit("d"), inventory: None, since: Timestamp::EPOCH, why };
            StageStatus { waiting: Some(waiting), ..stage("a", (5, 5, 0, 0)) }
        };
        let before = || "main".parse().expect("a stage");
        let trying = HeldReason::Unverified { before: before(), why: Unverified::Trying };
        check(&held(trying), &[], Verdict::Wait, "it waits: its tree has not finished in main yet");
        let wrong = HeldReason::Unverified { before: before(), why: Unverified::WentWrong };
        let digest = Digest::of(b"held");
        let text =
            format!("it is held: its tree went wrong in main; `bellwether approve {}` lets it count", digest.short());
        check(&held(wrong), &[], Verdict::Bad, &text);
    }
}
