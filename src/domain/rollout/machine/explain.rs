//! What a rollout waits for, and when that is looked at: in order, as data.

mod device;

use super::steps::{have, none_online};
use super::{Blocked, Returns, Rollout, Status, StepStatus, World};
use crate::domain::counted::{counted, more_people};
use crate::domain::rollout::freeze::Weather;
use crate::domain::rollout::gate::Standing;
use crate::domain::time::{Timestamp, show_secs};
use serde::{Deserialize, Serialize};

/// One thing that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// One word for programs, in kebab case.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// When time alone brings it; `None` if only somebody or some device can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What a person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

fn awaited(code: &str, message: String, at: Option<Timestamp>, hint: Option<String>) -> Awaited {
    Awaited { code: code.to_owned(), message, at, hint }
}

impl Rollout {
    /// What the next transition of the rollout waits for, the most fundamental first. Empty if nothing more happens to it.
    pub fn explain<W: World + ?Sized>(&self, now: Timestamp, world: &W) -> Vec<Awaited> {
        let name = &self.head.name;
        let resume = |how: &str| Some(format!("`bellwether rollout resume {name}{how} --reason '…'`"));
        match &self.head.status {
            Status::Draft => {
                let hint = format!("`bellwether rollout activate {name} --reason '…'`");
                vec![awaited("draft", "it is a draft, and does nothing".to_owned(), None, Some(hint))]
            }
            Status::PendingApproval => {
                let approved = self.head.approved_by.len();
                let message = format!("{approved} of {} people have approved it", self.head.policy.approvals);
                vec![awaited(
                    "approval",
                    message,
                    None,
                    Some(format!("`bellwether rollout approve {name} --reason '…'`")),
                )]
            }
            Status::Paused { why, until, .. } => {
                let end = until.map_or("until somebody resumes it".to_owned(), |until| format!("until {until}"));
                vec![awaited("paused", format!("paused {end}: {why}"), *until, resume(""))]
            }
            Status::Error { why, .. } => {
                let hint = format!(
                    "`bellwether rollout retry {name} --failed`, `rollout rollback {name}`, or `rollout resume {name} --ack`, each with `--reason`"
                );
                vec![awaited("error", why.clone(), None, Some(hint))]
            }
            Status::Active => {
                let mut all = Vec::new();
                all.extend(self.superseding());
                all.extend(self.frozen(now, world));
                all.extend(self.step_waits(now));
                all.extend(self.catching_up());
                all
            }
            Status::Done { .. } => self.unmerged().into_iter().chain(self.catching_up()).collect(),
            Status::RollingBack { .. } => {
                let left = self.agenda.returning.len();
                let held = self.agenda.returning.iter().filter(|(_, _, device)| world.returns(device) == Returns::Held);
                let (held, going) = (held.count(), self.agenda.timers.len());
                let waits = match left {
                    1 => "1 device waits for its turn to go back".to_owned(),
                    _ => format!("{left} devices wait for their turn to go back"),
                };
                let held = match held {
                    0 => String::new(),
                    _ => format!(", {held} of them are held"),
                };
                let message = format!("{waits}{held}, {going} are going");
                let hint =
                    format!("`bellwether rollout abort {name} --reason '…'` lets those that wait keep what they have");
                vec![awaited("rolling-back", message, self.next(now, world), Some(hint))]
            }
            Status::Aborted { .. } | Status::Superseded { .. } | Status::RolledBack { .. } => Vec::new(),
        }
    }

    /// What was drafted is in no commit of the stage yet.
    fn unmerged(&self) -> Option<Awaited> {
        let draft = self.head.draft.as_ref().filter(|_| self.head.superseded_by.is_none())?;
        let stage = &self.head.stage;
        let message =
            format!("{} is not merged: the next commit of {stage} takes it back unless it has it", draft.branch);
        Some(awaited("unmerged", message, None, Some(format!("merge {} to {stage}", draft.branch))))
    }

    fn superseding(&self) -> Option<Awaited> {
        let by = self.head.superseded_by.as_ref()?;
        let message = format!("commit {} takes its place when the step is decided", by.short());
        Some(awaited("superseded", message, None, None))
    }

    fn frozen<W: World + ?Sized>(&self, now: Timestamp, world: &W) -> Option<Awaited> {
        match world.freezes().weather(now) {
            Weather::Fair { .. } => None,
            Weather::Frozen { reason, until } => {
                Some(awaited("frozen", format!("nothing new is offered: {reason}"), until, None))
            }
        }
    }

    fn step_waits(&self, now: Timestamp) -> Vec<Awaited> {
        let Some((policy, step)) = self.current() else { return Vec::new() };
        let title = format!("step {} ({})", self.head.current + 1, policy.name);
        if let Some(blocked) = &step.blocked {
            let (code, why, at) = match blocked {
                Blocked::Empty { again } => ("step-empty", "nobody is in it".to_owned(), Some(*again)),
                Blocked::AllOffline { devices, again } => ("step-offline", none_online(*devices), Some(*again)),
                Blocked::Approval { missing } => {
                    ("approval", format!("{} must approve it", more_people(*missing)), None)
                }
            };
            let hint = match blocked {
                Blocked::Empty { .. } => {
                    format!("it takes {}; `allow_empty: true` lets it pass without", policy.selector)
                }
                Blocked::AllOffline { .. } => "it begins when one of them is heard of".to_owned(),
                Blocked::Approval { .. } => format!("`bellwether rollout approve {} --reason '…'`", self.head.name),
            };
            return vec![awaited(code, format!("{title} does not begin: {why}"), at, Some(hint))];
        }
        match step.status {
            StepStatus::Queued | StepStatus::Passed | StepStatus::Failed => Vec::new(),
            StepStatus::Running | StepStatus::Soaking => {
                let counts = &step.counts;
                let (reported, members) = (counts.reported(), counts.members);
                let at = |ms: u64| step.clock.shows_at(ms, now).filter(|at| *at > now);
                let deadline = at(policy.deadline_ms() + step.extra_ms);
                let window = at(policy.window_ms());
                let mut all = Vec::new();
                match policy.gate.standing(counts) {
                    Standing::TooFewReports { missing } => all.push(awaited(
                        "reports",
                        format!(
                            "{title}: {reported} of {} {} reported; {missing} more must",
                            counted(members, "device"),
                            have(members)
                        ),
                        deadline,
                        None,
                    )),
                    Standing::TooFewSuccesses { missing } => all.push(awaited(
                        "successes",
                        format!("{title}: {} of {reported} succeeded; {missing} more must", counts.ok),
                        deadline,
                        None,
                    )),
                    Standing::Passing => all.push(awaited(
                        "window",
                        format!(
                            "{title}: {} of {reported} succeeded, which is enough; its window is not over",
                            counts.ok
                        ),
                        window,
                        None,
                    )),
                    Standing::Hopeless { bad, allowed } => {
                        all.push(awaited(
                            "failing",
                            format!("{title}: {} failed, {allowed} may", counted(bad, "device")),
                            Some(now),
                            None,
                        ));
                    }
                }
                if step.status == StepStatus::Soaking {
                    let soak = show_secs(policy.soak_secs.into());
                    let message = format!("{title}: all others are done, these soak for {soak}");
                    all.push(awaited("soaking", message, self.agenda.timers.first().map(|(at, _)| *at), None));
                }
                all
            }
        }
    }

    fn catching_up(&self) -> Vec<Awaited> {
        let late = &self.head.late;
        let mut all = Vec::new();
        if let Some(since) = late.stopped {
            let message = format!(
                "{} of {} that came late failed: no other is offered it since {since}",
                late.bad,
                counted(late.bad + late.ok, "device")
            );
            let hint = format!("`bellwether rollout resume {} --ack --reason '…'`", self.head.name);
            all.push(awaited("late-stopped", message, None, Some(hint)));
        } else if !self.agenda.late.is_empty() {
            let message = match self.agenda.late.len() {
                1 => "1 device that was away catches up".to_owned(),
                many => format!("{many} devices that were away catch up"),
            };
            all.push(awaited("catching-up", message, None, None));
        }
        all
    }
}
