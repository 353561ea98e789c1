//! A rollout in virtual time: the machine that the controller runs, over devices that fail, are away and answer late as often as
//! somebody supposes.
//!
//! Everything is drawn from a seed by hash, so a run can be had again.

mod imagined;
mod summary;
#[cfg(test)]
mod tests;

pub use summary::{Case, Moment, Summary, sum_up};

use super::gate::Failure;
use super::machine::{Act, Change, Effect, Rollout, Status, Turn, Word, World};
use super::policy::Policy;
use super::share::Share;
use crate::domain::ids::{Actor, CommitId, DeviceId, RolloutName, StageName};
use crate::domain::time::Timestamp;
use imagined::Imagined;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long a simulated rollout may take, in seconds: longer than any sensible policy. One that waits for a person ends before.
pub const MAX_SIMULATED_SECS: i64 = 2 * 365 * 86_400;

/// How devices are supposed to fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Odds {
    /// How many of those that get the change fail.
    pub failure: Share,
    /// How many are away all the time.
    pub offline: Share,
    /// How long a device takes from the offer to being healthy, or to failing, at the most, in seconds; spread evenly from one.
    pub latency_secs: u32,
}

/// What came of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What it was drawn from.
    pub seed: u64,
    /// Where the rollout stood when nothing more came of it by itself: `DONE`, `ERROR`, `PAUSED`, `ACTIVE` if it was blocked, …
    pub status: String,
    /// How that is to be seen.
    pub outcome: Outcome,
    /// What it waited for then, or why it stands still. Nothing for one that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// How long after its beginning that was, in seconds.
    pub secs: i64,
    /// How many devices were offered the change by then.
    pub exposed: u32,
    /// When a gate stopped it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Its steps.
    pub steps: Vec<StepRun>,
    /// How many devices had been offered the change when, in seconds. Every change that can be seen in a picture is there.
    pub exposure: Vec<(i64, u32)>,
    /// What happened when: seconds, and one sentence.
    pub timeline: Vec<(i64, String)>,
}

/// How a run came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every step passed.
    Done,
    /// A gate stopped it.
    Stopped,
    /// Too few devices reported, and it waits for a person.
    Paused,
    /// A step never began, or time ran out.
    Stuck,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRun {
    /// What people call it.
    pub name: String,
    /// Where it stood at the end: one word.
    pub status: String,
    /// When it began, in seconds after the rollout did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// When it was decided, in seconds after the rollout began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
    /// How many devices it had.
    pub members: u32,
    /// How many of them succeeded.
    pub ok: u32,
    /// How many of them failed.
    pub bad: u32,
    /// How many devices were kept out of it.
    pub excluded: u32,
}

/// A rollout being stopped by a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// How long after its beginning, in seconds.
    pub secs: i64,
    /// How many devices were offered the change by then.
    pub exposed: u32,
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Simulation<'a, W: World + ?Sized> {
    /// The stage.
    pub stage: &'a StageName,
    /// The commit.
    pub commit: &'a CommitId,
    /// The policy.
    pub policy: &'a Policy,
    /// What is to change on each device.
    pub changes: &'a BTreeMap<DeviceId, Change>,
    /// What is known of the devices. Whether they are online is drawn.
    pub world: &'a W,
    /// How they are supposed to fare.
    pub odds: Odds,
    /// When it begins.
    pub start: Timestamp,
}

/// How many points of exposure a run keeps at the most, steps left out: more than a picture has room for.
const MAX_POINTS: u32 = 200;

/// What is still to be heard, by when.
type Coming = BTreeMap<(Timestamp, u64), (DeviceId, Saying)>;

/// What is heard of a device.
enum Saying {
    /// This.
    Word(Word),
    /// That it is there, again and again until then.
    Beats { until: Timestamp },
}

/// One run at work.
struct Running<'a, W: World + ?Sized> {
    world: Imagined<'a, W>,
    start: Timestamp,
    now: Timestamp,
    /// How often somebody who soaks is heard of, in seconds: often enough not to be lost.
    pace: i64,
    coming: Coming,
    sent: u64,
    /// The smallest change of exposure that is kept.
    grain: u32,
    stopped: Option<Stopped>,
    exposure: Vec<(i64, u32)>,
    timeline: Vec<(i64, String)>,
}

/// One run.
pub fn simulate<W: World + ?Sized>(simulation: &Simulation<'_, W>, seed: u64) -> Run {
    let Simulation { stage, commit, policy, changes, world, odds, start } = *simulation;
    let name = RolloutName::new(&format!("simulated-{seed}")).expect("a fixed text and digits keep the rule");
    let all = u32::try_from(changes.len()).unwrap_or(u32::MAX);
    let changes = changes.iter().map(|(device, change)| (device.clone(), change.clone()));
    let running = Running {
        world: Imagined { world, odds, seed },
        start,
        now: start,
        pace: i64::from(policy.lost_after_secs / 2).max(1),
        coming: Coming::new(),
        sent: 0,
        grain: all.div_ceil(MAX_POINTS).max(1),
        stopped: None,
        exposure: vec![(0, 0)],
        timeline: Vec::new(),
    };
    let rollout = Rollout::draft(name, stage.clone(), commit.clone(), policy.clone(), changes, start);
    running.run(rollout, seed)
}

impl<W: World + ?Sized> Running<'_, W> {
    fn run(mut self, rollout: Rollout, seed: u64) -> Run {
        let end = self.start.plus_secs(MAX_SIMULATED_SECS);
        let (mut rollout, done) = rollout.act(self.now, &self.world, Act::Activate, &Actor::controller(), "simulated");
        let mut turn = done.unwrap_or_default();
        loop {
            self.react(&turn);
            self.note(&turn, &rollout);
            // Somebody who approves whatever is asked: people's time is not what is simulated.
            if turn.effects.iter().any(|effect| matches!(effect, Effect::AskApproval { .. })) {
                (rollout, turn) = approve(rollout, self.now, &self.world);
                continue;
            }
            let heard = self.coming.first_key_value().map(|((at, _), _)| *at);
            if is_over(&rollout) || (heard.is_none() && is_blocked(&rollout)) {
                break;
            }
            let by_itself = rollout.next(self.now, &self.world);
            let Some(at) = heard.into_iter().chain(by_itself).min().filter(|at| *at < end) else { break };
            self.now = self.now.max(at);
            (rollout, turn) = match self.coming.first_entry().filter(|first| first.key().0 <= self.now) {
                Some(first) => {
                    let (device, saying) = first.remove();
                    let word = self.said(&device, saying);
                    rollout.hear(self.now, &self.world, &device, word)
                }
                None => rollout.tick(self.now, &self.world),
            };
        }
        self.ended(&rollout, seed)
    }

    /// What is to be heard of a device now, and whether it is heard of again.
    fn said(&mut self, device: &DeviceId, saying: Saying) -> Word {
        match saying {
            Saying::Word(word) => word,
            Saying::Beats { until } => {
                self.beat(device, until);
                Word::Contact
            }
        }
    }

    fn beat(&mut self, device: &DeviceId, until: Timestamp) {
        let next = self.now.plus_secs(self.pace);
        if next < until {
            self.say(next, device, Saying::Beats { until });
        }
    }

    fn say(&mut self, at: Timestamp, device: &DeviceId, saying: Saying) {
        self.sent += 1;
        self.coming.insert((at, self.sent), (device.clone(), saying));
    }

    /// What devices do with what they are told.
    fn react(&mut self, turn: &Turn) {
        for effect in &turn.effects {
            let odds = self.world.odds;
            let (device, digest, fails, soak) = match effect {
                Effect::Offer { device, digest, soak_secs, .. } => {
                    (device, *digest, self.world.happens("failure", device, odds.failure), i64::from(*soak_secs))
                }
                Effect::GoBack { device, digest } => (device, *digest, false, 0),
                Effect::Withdraw { .. } | Effect::AskApproval { .. } | Effect::Note(_) => continue,
            };
            if !self.world.is_online(device) {
                continue;
            }
            let takes = 1 + self.world.draw("latency", device, odds.latency_secs.max(1).into());
            let then = self.now.plus_secs(i64::try_from(takes).unwrap_or(i64::MAX));
            let outcome = match fails {
                true => Word::Failed {
                    digest,
                    failure: Failure::Failed,
                    phase: None,
                    message: "simulated".to_owned(),
                    log: Vec::new(),
                },
                false => Word::Healthy { digest, since: then },
            };
            self.say(self.now, device, Saying::Word(Word::Acknowledged { digest }));
            self.say(then, device, Saying::Word(outcome));
            self.beat(device, then.plus_secs(soak));
        }
    }

    fn note(&mut self, turn: &Turn, rollout: &Rollout) {
        let (secs, exposed) = (self.now.secs_since(self.start), rollout.head().exposed);
        let mut noted = false;
        for effect in &turn.effects {
            if let Effect::Note(entry) = effect {
                noted = true;
                if entry.kind == "Error" && self.stopped.is_none() {
                    self.stopped = Some(Stopped { secs, exposed });
                }
                self.timeline.push((secs, format!("{}: {}", entry.kind, entry.message)));
            }
        }
        let known = self.exposure.last().map_or(0, |(_, exposed)| *exposed);
        if exposed >= known.saturating_add(self.grain) || (noted && exposed > known) {
            match self.exposure.last_mut() {
                Some(last) if last.0 == secs => last.1 = exposed,
                Some(_) | None => self.exposure.push((secs, exposed)),
            }
        }
    }

    fn ended(self, rollout: &Rollout, seed: u64) -> Run {
        let head = rollout.head();
        let waits = match head.status {
            Status::Done { .. } | Status::RolledBack { .. } => None,
            _ => rollout.explain(self.now, &self.world).into_iter().next().map(|first| first.message),
        };
        let since = |at: &Timestamp| at.secs_since(self.start);
        let steps = head.steps.iter().enumerate().map(|(number, step)| StepRun {
            name: head.policy.step(number).name.clone(),
            status: step.status.as_str().to_owned(),
            from: step.started.as_ref().map(since),
            to: step.ended.as_ref().map(since),
            members: step.counts.members,
            ok: step.counts.ok,
            bad: step.counts.reported() - step.counts.ok,
            excluded: step.excluded,
        });
        let secs = self.now.secs_since(self.start);
        let outcome = match (&head.status, self.stopped) {
            (Status::Done { .. }, _) => Outcome::Done,
            (_, Some(_)) => Outcome::Stopped,
            (Status::Paused { .. }, None) => Outcome::Paused,
            (_, None) => Outcome::Stuck,
        };
        let mut exposure = self.exposure;
        exposure.push((secs, head.exposed));
        exposure.dedup();
        Run {
            seed,
            status: head.status.as_str().to_owned(),
            outcome,
            waits,
            secs,
            exposed: head.exposed,
            stopped: self.stopped,
            steps: steps.collect(),
            exposure,
            timeline: self.timeline,
        }
    }
}

/// As many people as it takes.
fn approve<W: World>(mut rollout: Rollout, now: Timestamp, world: &W) -> (Rollout, Turn) {
    let mut turn = Turn::default();
    for person in 0..=super::policy::MAX_APPROVALS {
        let actor = Actor::new(&format!("person {person}")).expect("a fixed text and a digit keep the rule");
        let (next, done) = rollout.act(now, world, Act::Approve, &actor, "simulated");
        rollout = next;
        match done {
            Ok(more) => {
                turn.effects.extend(more.effects.into_iter().filter(|one| !matches!(one, Effect::AskApproval { .. })));
            }
            Err(_) => break,
        }
    }
    (rollout, turn)
}

fn is_over(rollout: &Rollout) -> bool {
    match rollout.head().status {
        Status::Draft | Status::PendingApproval | Status::Active | Status::RollingBack { .. } => false,
        Status::Paused { .. }
        | Status::Done { .. }
        | Status::Error { .. }
        | Status::Aborted { .. }
        | Status::Superseded { .. }
        | Status::RolledBack { .. } => true,
    }
}

/// Whether its step waits for somebody to come, which nobody does here.
fn is_blocked(rollout: &Rollout) -> bool {
    rollout.current().is_some_and(|(_, step)| step.blocked.is_some())
}
