//! What a device's newest report says of a rollout.
//!
//! It is told from how things stand, and not from what has just arrived: so a report that was recorded when the controller died
//! is heard when it starts again.

use crate::domain::condition::ConditionStatus;
use crate::domain::fleet::DeviceRecord;
use crate::domain::ids::RolloutName;
use crate::domain::reported;
use crate::domain::rollout::gate::Failure;
use crate::domain::rollout::machine::{Back, Member, Phase, Word};

/// Conditions without which a device is not well.
const WELL: [&str; 3] = ["Ready", "Healthy", "ServicesHealthy"];
/// Why a device is not ready that has everything and has to stay well for a while.
const SOAKING: &str = "Soaking";

/// What a device says of what the rollout assigned to it; `None` if nothing.
pub(super) fn word(rollout: &RolloutName, record: &DeviceRecord) -> Option<Word> {
    let assignment = record.assignment.as_deref()?;
    let reported = record.reported.as_deref()?;
    if assignment.rollout.as_deref() != Some(rollout.as_str()) {
        return None;
    }
    let report = &reported.report;
    let digest = assignment.spec.digest;
    if report.observed != Some(assignment.mark()) {
        let refused = report.refused.as_ref().filter(|refusal| refusal.offered == Some(assignment.mark()))?;
        return Some(Word::Failed {
            digest,
            failure: Failure::Rejected,
            phase: None,
            message: refused.message.clone(),
            log: Vec::new(),
        });
    }
    let failure = report.failure.as_ref().filter(|one| one.digest == digest && one.attempt == assignment.attempt);
    if let Some(failure) = failure {
        let how = if failure.rolled_back_to.is_some() { Failure::RolledBack } else { Failure::Failed };
        let (phase, message, log) = (Some(failure.phase), failure.describe(), failure.log.clone());
        return Some(Word::Failed { digest, failure: how, phase, message, log });
    }
    // A device that soaks has everything and is well; only the time is missing, which the rollout counts as well.
    let is_soaking = report.applied == Some(digest)
        && report.conditions.iter().all(|one| {
            !WELL.contains(&one.kind.as_str())
                || one.status == ConditionStatus::True
                || (one.kind == WELL[0] && one.reason == SOAKING)
        });
    let mut of_health = report.conditions.iter().filter(|one| WELL.contains(&one.kind.as_str()));
    let well = of_health.clone().all(|one| one.status == ConditionStatus::True);
    match report.phase {
        reported::Phase::Settled if well && report.applied == Some(digest) => {
            let since = of_health.find(|one| one.kind == WELL[0]).map(|one| one.since);
            Some(Word::Healthy { digest, since: since.unwrap_or(reported.received_at) })
        }
        reported::Phase::Applying if is_soaking => Some(Word::Healthy { digest, since: reported.received_at }),
        reported::Phase::Failing | reported::Phase::Settled => Some(Word::Unhealthy { digest }),
        reported::Phase::Waiting | reported::Phase::Applying => Some(Word::Acknowledged { digest }),
    }
}

/// Whether a device has everything that it was assigned, has said so, and is well.
pub fn has_settled(record: &DeviceRecord) -> bool {
    let (Some(assignment), Some(reported)) = (record.assignment.as_deref(), record.reported.as_deref()) else {
        return false;
    };
    let report = &reported.report;
    let failed = report.failure.as_ref().is_some_and(|one| one.digest == assignment.spec.digest);
    report.observed == Some(assignment.mark())
        && report.applied == Some(assignment.spec.digest)
        && report.phase == reported::Phase::Settled
        && !failed
        && report.conditions.iter().all(|one| !WELL.contains(&one.kind.as_str()) || one.status == ConditionStatus::True)
}

/// Whether a word says anything that the rollout does not know of the device.
pub(super) fn is_news(member: &Member, word: &Word) -> bool {
    let is_its = |digest: &_| *digest == member.leg();
    match (word, &member.phase, member.back) {
        (Word::Healthy { digest, .. }, _, Some(Back::Offered { .. } | Back::Away)) => member.previous == Some(*digest),
        (_, _, Some(_)) => false,
        (
            Word::Acknowledged { digest } | Word::Unhealthy { digest },
            Phase::Offered { .. } | Phase::InProgress { healthy: Some(_), .. },
            None,
        ) => is_its(digest),
        (
            Word::Healthy { digest, .. },
            Phase::Offered { .. }
            | Phase::InProgress { healthy: None, .. }
            | Phase::Bad { failure: Failure::Lost | Failure::TimedOut, .. },
            None,
        ) => is_its(digest),
        (
            Word::Failed { digest, .. },
            Phase::Offered { .. } | Phase::InProgress { .. } | Phase::Ready { .. } | Phase::Succeeded { .. },
            None,
        ) => is_its(digest),
        (
            Word::Acknowledged { .. }
            | Word::Unhealthy { .. }
            | Word::Healthy { .. }
            | Word::Failed { .. }
            | Word::Contact
            | Word::Seen { .. }
            | Word::Left { .. }
            | Word::Gone { .. }
            | Word::Back
            | Word::BackWith { .. },
            _,
            None,
        ) => false,
    }
}
