//! Devices that come late: away when it was their turn, new, or back from elsewhere.

use super::{Held, Oracle};
use crate::oracle::{Broken, hold};
use bellwether::domain::fleet::RolloutRecord;
use bellwether::domain::ids::DeviceId;
use bellwether::domain::rollout::machine::member::{Member, Noted, Timing};
use bellwether::domain::rollout::machine::{Phase, StepStatus};
use bellwether::domain::rollout::spread::{hash_offset, place};
use bellwether::domain::time::Timestamp;
use std::sync::Arc;

pub const NEWCOMERS: &str = "nobody who joins a rollout gets ahead of its turn";
pub const CATCH_UP: &str = "no more devices catch up in a minute than the policy allows";
pub const LATE: &str = "once too many of those that came late failed, no other is offered it";

impl Oracle {
    /// A device is offered something; if it comes late, the rules for those hold.
    pub(super) fn came_late(
        &mut self,
        record: &RolloutRecord,
        was: Option<&RolloutRecord>,
        device: &DeviceId,
        now: Timestamp,
    ) -> Held {
        let (name, head) = (&record.head.name, &record.head);
        let Some(member) = record.members.get(device) else { return Ok(()) };
        let number = member.step.unwrap_or(0);
        let Some(step) = head.steps.get(number as usize) else { return Ok(()) };
        let step_was = was.and_then(|was| was.head.steps.get(number as usize)).map(|step| step.status);
        let policy = head.policy.step(number as usize);
        let runs = matches!(step.status, StepStatus::Running | StepStatus::Soaking);
        if let (Timing::Joined, true, Some(started)) = (member.timing, runs, step.started) {
            let turn_of = |(one, about): (&DeviceId, &Arc<Member>)| match about.timing {
                Timing::Joined => hash_offset(&place(name, number, one), u64::from(policy.window_secs) * 1000),
                Timing::InTime | Timing::Late => about.due_ms,
            };
            // A site begins together, with whoever of it is first.
            let with_it = |(one, about): &(&DeviceId, &Arc<Member>)| {
                *one == device || (about.site.is_some() && about.site == member.site && about.step == member.step)
            };
            let turn = record.members.iter().filter(with_it).map(turn_of).min().unwrap_or_default();
            let passed = u64::try_from(now.millis() - started.millis()).unwrap_or(0);
            hold!(turn <= passed, NEWCOMERS, "{device} joined {name}, and got it after {passed} ms instead of {turn}");
        }
        if member.timing != Timing::Joined && step_was != Some(StepStatus::Passed) {
            return Ok(());
        }
        let late = was.into_iter().flat_map(|was| was.members.values()).filter(|one| one.timing != Timing::InTime);
        let (mut ok, mut bad) = (0, 0);
        for one in late.filter(|one| one.note == Noted::No) {
            match one.phase {
                Phase::Bad { .. } => bad += 1,
                Phase::Succeeded { .. } => ok += 1,
                _ => {}
            }
        }
        let allowed = head.policy.late.max_failures.floor_of(ok + bad);
        hold!(bad <= allowed, LATE, "{device} was offered it by {name}: {bad} of {} failed, {allowed} may", ok + bad);
        if let Some(rate) = head.policy.late.catchup_rate {
            let times = self.caught_up.entry(name.to_string()).or_default();
            times.retain(|at| now < at.plus_secs(60));
            times.push(now);
            // The bucket holds ten seconds of it, and one at the least.
            let most = (rate.base_per_min * 7).div_ceil(6) + 1;
            let count = times.len();
            hold!(count <= most as usize, CATCH_UP, "{count} devices catch up with {name} in a minute; {most} may");
        }
        Ok(())
    }
}
