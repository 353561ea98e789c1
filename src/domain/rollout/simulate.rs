//! A rollout in virtual time: the machine that the controller runs, over devices that fail, are away and answer late as often as
//! somebody supposes.
//!
//! Everything is drawn from a seed by hash, so a run can be had again.

use super::budget::Group;
use super::freeze::Freezes;
use super::gate::Failure;
use super::machine::{Act, Change, Effect, Rollout, Status, Turn, Word, World};
use super::policy::{Policy, Selector};
use super::share::Share;
use crate::domain::digest::Digest;
use crate::domain::ids::{Actor, CommitId, DeviceId, LabelName, RolloutName, StageName};
use crate::domain::time::Timestamp;
use crate::domain::window::Opening;
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
    /// Where the rollout stood when nothing more came of it by itself: `DONE`, `ERROR`, `PAUSED`, `ACTIVE` if it was blocked, …
    pub status: String,
    /// How long after its beginning that was, in seconds.
    pub secs: i64,
    /// How many devices were offered the change by then.
    pub exposed: u32,
    /// When a gate stopped it, if one did.
    pub stopped: Option<Stopped>,
    /// What happened when: seconds, and one sentence.
    pub timeline: Vec<(i64, String)>,
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

/// The world, with devices that are away as the dice say.
struct Imagined<'a, W: World + ?Sized> {
    world: &'a W,
    odds: Odds,
    seed: u64,
}

impl<W: World + ?Sized> Imagined<'_, W> {
    /// An even number below `below`, drawn for a device and a purpose.
    fn draw(&self, purpose: &str, device: &DeviceId, below: u64) -> u64 {
        let seed = self.seed.to_be_bytes();
        let parts = [b"bellwether.simulate.v1".as_slice(), &seed, purpose.as_bytes(), device.as_str().as_bytes()];
        let drawn = (u128::from(Digest::of_parts(parts).first_u64()) * u128::from(below)) >> 64;
        u64::try_from(drawn).expect("less than what it is below")
    }

    fn happens(&self, purpose: &str, device: &DeviceId, share: Share) -> bool {
        self.draw(purpose, device, Share::WHOLE.into()) < u64::from(share.count())
    }
}

impl<W: World + ?Sized> World for Imagined<'_, W> {
    fn selects(&self, selector: &Selector, device: &DeviceId) -> bool {
        self.world.selects(selector, device)
    }

    fn excluded(&self, device: &DeviceId) -> Option<String> {
        self.world.excluded(device)
    }

    fn is_online(&self, device: &DeviceId) -> bool {
        !self.happens("offline", device, self.odds.offline)
    }

    fn opening(&self, device: &DeviceId, now: Timestamp) -> Opening {
        self.world.opening(device, now)
    }

    fn label<'a>(&'a self, label: &LabelName, device: &DeviceId) -> Option<&'a str> {
        self.world.label(label, device)
    }

    fn group(&self, label: &LabelName, value: &str) -> Group {
        // Who is away is drawn, and nothing says who of a group that is: as many as are to be expected.
        let group = self.world.group(label, value);
        Group { away: self.odds.offline.floor_of(group.members), slots: 0, ..group }
    }

    fn freezes(&self) -> &Freezes {
        self.world.freezes()
    }
}

/// What is still to be heard, by when.
type Coming = BTreeMap<(Timestamp, u64), (DeviceId, Word)>;

/// One run.
pub fn simulate<W: World + ?Sized>(simulation: &Simulation<'_, W>, seed: u64) -> Run {
    let Simulation { stage, commit, policy, changes, world, odds, start } = *simulation;
    let world = &Imagined { world, odds, seed };
    let name = RolloutName::new(&format!("simulated-{seed}")).expect("a fixed text and digits keep the rule");
    let changes = changes.iter().map(|(device, change)| (device.clone(), change.clone()));
    let mut rollout = Rollout::draft(name, stage.clone(), commit.clone(), policy.clone(), changes, start);
    let (mut now, end) = (start, start.plus_secs(MAX_SIMULATED_SECS));
    let (mut coming, mut sent) = (Coming::new(), 0);
    let mut run = Run { status: String::new(), secs: 0, exposed: 0, stopped: None, timeline: Vec::new() };
    let mut turn;
    (rollout, turn) = act(rollout, now, world, Act::Activate);
    loop {
        react(&turn, now, policy, world, &mut coming, &mut sent);
        note(&turn, &rollout, now.secs_since(start), &mut run);
        // Somebody who approves whatever is asked: people's time is not what is simulated.
        if turn.effects.iter().any(|effect| matches!(effect, Effect::AskApproval { .. })) {
            (rollout, turn) = approve(rollout, now, world);
            continue;
        }
        let heard = coming.first_key_value().map(|((at, _), _)| *at);
        let by_itself = rollout.next(now, world);
        let Some(at) = heard.into_iter().chain(by_itself).min().filter(|at| *at < end) else { break };
        if is_over(&rollout) || (heard.is_none() && is_blocked(&rollout)) {
            break;
        }
        now = now.max(at);
        (rollout, turn) = match coming.first_key_value().filter(|((at, _), _)| *at <= now).map(|(key, _)| *key) {
            Some(key) => {
                let (device, word) = coming.remove(&key).expect("it is the first");
                rollout.hear(now, world, &device, word)
            }
            None => rollout.tick(now, world),
        };
    }
    run.status = rollout.head().status.as_str().to_owned();
    run.secs = now.secs_since(start);
    run.exposed = rollout.head().exposed;
    run
}

fn act<W: World>(rollout: Rollout, now: Timestamp, world: &W, act: Act) -> (Rollout, Turn) {
    let (rollout, done) = rollout.act(now, world, act, &Actor::controller(), "simulated");
    (rollout, done.unwrap_or_default())
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

/// What devices do with what they are told.
fn react<W: World + ?Sized>(
    turn: &Turn,
    now: Timestamp,
    policy: &Policy,
    world: &Imagined<'_, W>,
    coming: &mut Coming,
    sent: &mut u64,
) {
    for effect in &turn.effects {
        let (device, digest, fails) = match effect {
            Effect::Offer { device, digest, .. } => {
                (device, *digest, world.happens("failure", device, world.odds.failure))
            }
            Effect::GoBack { device, digest } => (device, *digest, false),
            Effect::Withdraw { .. } | Effect::AskApproval { .. } | Effect::Note(_) => continue,
        };
        if !world.is_online(device) {
            continue;
        }
        let takes = 1 + world.draw("latency", device, world.odds.latency_secs.max(1).into());
        let then = now.plus_secs(i64::try_from(takes).unwrap_or(i64::MAX));
        let outcome = match fails {
            true => Word::Failed { digest, failure: Failure::Failed, message: "simulated".to_owned() },
            false => Word::Healthy { digest, since: then },
        };
        // Until its soak is over it is heard of often enough not to be lost.
        let (pace, soak) = pace_and_soak(policy, effect);
        let beats = (1..).map(|beat| now.plus_secs(beat * pace)).take_while(|at| *at < then.plus_secs(soak));
        let words = beats.map(|at| (at, Word::Contact));
        for (at, word) in words.chain([(now, Word::Acknowledged { digest }), (then, outcome)]) {
            *sent += 1;
            coming.insert((at, *sent), (device.clone(), word));
        }
    }
}

fn pace_and_soak(policy: &Policy, effect: &Effect) -> (i64, i64) {
    let soak = match effect {
        Effect::Offer { soak_secs, .. } => i64::from(*soak_secs),
        Effect::GoBack { .. } | Effect::Withdraw { .. } | Effect::AskApproval { .. } | Effect::Note(_) => 0,
    };
    (i64::from(policy.lost_after_secs / 2).max(1), soak)
}

fn note(turn: &Turn, rollout: &Rollout, secs: i64, run: &mut Run) {
    for effect in &turn.effects {
        if let Effect::Note(entry) = effect {
            if entry.kind == "Error" && run.stopped.is_none() {
                run.stopped = Some(Stopped { secs, exposed: rollout.head().exposed });
            }
            run.timeline.push((secs, format!("{}: {}", entry.kind, entry.message)));
        }
    }
}

/// What several runs have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many runs there were.
    pub runs: u32,
    /// How many a gate stopped.
    pub stopped: u32,
    /// Devices exposed when a gate stopped it: half of those runs had no more.
    pub exposed_median: Option<u32>,
    /// Devices exposed when a gate stopped it: nineteen in twenty of those runs had no more.
    pub exposed_95: Option<u32>,
    /// How long the runs took that no gate stopped, in seconds: half of them no longer.
    pub secs_median: Option<i64>,
}

/// Sums runs up.
pub fn sum_up(runs: &[Run]) -> Summary {
    let mut exposed: Vec<u32> = runs.iter().filter_map(|run| Some(run.stopped?.exposed)).collect();
    let mut secs: Vec<i64> = runs.iter().filter(|run| run.stopped.is_none()).map(|run| run.secs).collect();
    exposed.sort_unstable();
    secs.sort_unstable();
    Summary {
        runs: u32::try_from(runs.len()).unwrap_or(u32::MAX),
        stopped: u32::try_from(exposed.len()).unwrap_or(u32::MAX),
        exposed_median: quantile(&exposed, 50),
        exposed_95: quantile(&exposed, 95),
        secs_median: quantile(&secs, 50),
    }
}

/// The smallest of some sorted numbers that so many percent of them do not exceed.
fn quantile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rollout::machine::Reversal;
    use crate::domain::rollout::ready::Ready;

    struct Canaries(Freezes);

    impl World for Canaries {
        fn selects(&self, selector: &Selector, device: &DeviceId) -> bool {
            *selector == Selector::All || device.as_str().ends_with('0')
        }
        fn excluded(&self, _: &DeviceId) -> Option<String> {
            None
        }
        fn is_online(&self, _: &DeviceId) -> bool {
            true
        }
        fn opening(&self, _: &DeviceId, _: Timestamp) -> Opening {
            Opening::Unrestricted
        }
        fn label<'a>(&'a self, _: &LabelName, _: &DeviceId) -> Option<&'a str> {
            None
        }
        fn group(&self, _: &LabelName, _: &str) -> Group {
            Group::default()
        }
        fn freezes(&self) -> &Freezes {
            &self.0
        }
    }

    fn runs(ready: Ready, failure: u16, offline: u16, count: u64) -> Vec<Run> {
        let change = |number: usize| Change {
            target: Digest::of(&number.to_be_bytes()),
            previous: Some(Digest::of(b"before")),
            detour: Vec::new(),
            reversal: Reversal::Possible,
        };
        let device = |number: usize| DeviceId::new(&format!("device-{number}")).expect("a name");
        let changes = (0..200).map(|number| (device(number), change(number))).collect();
        let simulation = Simulation {
            stage: &StageName::new("main").expect("a name"),
            commit: &CommitId::new(&"1".repeat(40)).expect("a commit"),
            policy: &ready.policy(),
            changes: &changes,
            world: &Canaries(Freezes::default()),
            odds: Odds { failure: Share::percent(failure), offline: Share::percent(offline), latency_secs: 300 },
            start: Timestamp::from_millis(1_800_000_000_000),
        };
        (0..count).map(|seed| simulate(&simulation, seed)).collect()
    }

    #[test]
    fn a_run_is_the_same_for_a_seed_and_another_for_another() {
        assert_eq!(runs(Ready::Cautious, 10, 5, 3), runs(Ready::Cautious, 10, 5, 3));
        let runs = runs(Ready::Cautious, 10, 5, 3);
        assert_ne!(runs[0], runs[1]);
    }

    #[test]
    fn a_bad_release_is_seen_by_few_and_a_good_one_goes_through() {
        let mut lines = Vec::new();
        for (failure, offline) in [(0, 0), (0, 10), (30, 5), (100, 0)] {
            for ready in Ready::ALL {
                let Summary { runs, stopped, exposed_median, exposed_95, secs_median } =
                    sum_up(&runs(ready, failure, offline, 20));
                lines.push(format!(
                    "{failure}% fail, {offline}% away, {}: {stopped} of {runs} stopped, exposed {exposed_median:?} and \
                     {exposed_95:?}, takes {secs_median:?}",
                    ready.name(),
                ));
            }
        }
        insta::assert_snapshot!(lines.join("\n"), @r#"
        0% fail, 0% away, immediate: 0 of 20 stopped, exposed None and None, takes Some(299)
        0% fail, 0% away, cautious: 0 of 20 stopped, exposed None and None, takes Some(112630)
        0% fail, 0% away, canary-first: 0 of 20 stopped, exposed None and None, takes Some(16415)
        0% fail, 0% away, weekend: 0 of 20 stopped, exposed None and None, takes Some(158400)
        0% fail, 10% away, immediate: 0 of 20 stopped, exposed None and None, takes Some(329)
        0% fail, 10% away, cautious: 0 of 20 stopped, exposed None and None, takes Some(112709)
        0% fail, 10% away, canary-first: 0 of 20 stopped, exposed None and None, takes Some(16450)
        0% fail, 10% away, weekend: 0 of 20 stopped, exposed None and None, takes Some(158400)
        30% fail, 5% away, immediate: 20 of 20 stopped, exposed Some(190) and Some(191), takes None
        30% fail, 5% away, cautious: 20 of 20 stopped, exposed Some(1) and Some(6), takes None
        30% fail, 5% away, canary-first: 20 of 20 stopped, exposed Some(19) and Some(20), takes None
        30% fail, 5% away, weekend: 20 of 20 stopped, exposed Some(1) and Some(7), takes None
        100% fail, 0% away, immediate: 20 of 20 stopped, exposed Some(200) and Some(200), takes None
        100% fail, 0% away, cautious: 20 of 20 stopped, exposed Some(1) and Some(1), takes None
        100% fail, 0% away, canary-first: 20 of 20 stopped, exposed Some(20) and Some(20), takes None
        100% fail, 0% away, weekend: 20 of 20 stopped, exposed Some(1) and Some(1), takes None
        "#);
    }

    #[test]
    fn a_rollout_that_blocks_ends_the_run_instead_of_time() {
        let run = &runs(Ready::CanaryFirst, 0, 100, 1)[0];
        assert_eq!((run.status.as_str(), run.exposed, run.secs), ("ACTIVE", 0, 0));
    }
}
