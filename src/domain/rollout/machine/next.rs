//! When a rollout must be looked at again if nothing is heard.

use super::{Blocked, Rollout, Status, StepStatus, World};
use crate::domain::rollout::freeze::Weather;
use crate::domain::time::Timestamp;

impl Rollout {
    /// When time alone changes something next: the next tick is due then. `None` if only somebody or some device can.
    pub fn next<W: World + ?Sized>(&self, now: Timestamp, world: &W) -> Option<Timestamp> {
        let mut times: Vec<Timestamp> = Vec::new();
        times.extend(self.agenda.timers.first().map(|(at, _)| *at));
        times.extend(self.agenda.look_again);
        match &self.head.status {
            Status::Active => {
                times.extend(self.weather_turns(now, world));
                times.extend(self.step_turns(now, world));
                times.extend(self.late_turns(now, world));
            }
            Status::Done { .. } => {
                times.extend(self.weather_turns(now, world));
                times.extend(self.late_turns(now, world));
            }
            Status::Paused { until, .. } => times.extend(*until),
            Status::Draft
            | Status::PendingApproval
            | Status::Error { .. }
            | Status::Aborted { .. }
            | Status::Superseded { .. }
            | Status::RollingBack { .. }
            | Status::RolledBack { .. } => {}
        }
        // What is due already is due now, not in the past.
        times.into_iter().min().map(|at| at.max(now))
    }

    fn weather_turns<W: World + ?Sized>(&self, now: Timestamp, world: &W) -> Option<Timestamp> {
        match world.freezes().weather(now) {
            Weather::Fair { until } | Weather::Frozen { until, .. } => until,
        }
    }

    fn step_turns<W: World + ?Sized>(&self, now: Timestamp, world: &W) -> Vec<Timestamp> {
        // The end of a freeze is among the times already.
        let Some((policy, step)) = self.current().filter(|_| !world.freezes().is_frozen(now)) else {
            return Vec::new();
        };
        match step.status {
            StepStatus::Queued => match &step.blocked {
                Some(Blocked::Empty { again } | Blocked::AllOffline { again, .. }) => vec![*again],
                Some(Blocked::Approval { .. }) | None => Vec::new(),
            },
            StepStatus::Running | StepStatus::Soaking => {
                let shown = step.clock.shown_ms(now);
                let ends = [policy.window_ms(), policy.deadline_ms() + step.extra_ms];
                let mut at_ms: Vec<u64> = ends.into_iter().filter(|end| *end > shown).collect();
                if let Some((due, ..)) = self.agenda.due.first() {
                    // One whose turn has come and who is still here waits for a token, or has not been looked at.
                    let token = policy.rate.zip(step.bucket).filter(|_| *due <= shown);
                    let ready = token.map(|(rate, bucket)| bucket.ready_at(rate.per_min(step.counts.ok), shown));
                    at_ms.push(ready.unwrap_or(*due));
                }
                at_ms.into_iter().filter_map(|ms| step.clock.shows_at(ms, now)).collect()
            }
            StepStatus::Passed | StepStatus::Failed => Vec::new(),
        }
    }

    fn late_turns<W: World + ?Sized>(&self, now: Timestamp, world: &W) -> Option<Timestamp> {
        let late = &self.head.late;
        let may = late.stopped.is_none() && !self.head.is_followed() && !world.freezes().is_frozen(now);
        self.agenda.late.first().filter(|_| may)?;
        let clock = u64::try_from(now.millis()).unwrap_or(0);
        let (rate, bucket) = self.head.policy.late.catchup_rate.zip(late.bucket)?;
        let ready = bucket.ready_at(rate.per_min(late.ok), clock);
        Some(Timestamp::from_millis(i64::try_from(ready).unwrap_or(i64::MAX)))
    }
}
