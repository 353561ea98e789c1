//! `bellwether simulate`: lets the rollouts of a commit run in virtual time, before it is merged.

use super::console::{Console, Outcome};
use super::fault::{usage, with_hint};
use super::interrupt::{Asked, unless_asked_to_stop};
use super::planning::{self, Against, Ground, PlanArgs};
use super::render::simulation::{Events, chart, page, text};
use super::span::{parse_secs, parse_time};
use super::{Form, Output, Report};
use crate::clock;
use crate::domain::desired::workers::Workers as _;
use crate::domain::digest::Digest;
use crate::domain::ids::{CommitId, PolicyName, StageName};
use crate::domain::plan::suppose::{Changing, SupposeError, Supposed, Supposition, suppose};
use crate::domain::rollout::share::Share;
use crate::domain::rollout::simulate::{Case, Odds, Run};
use crate::domain::time::Timestamp;
use crate::threads::Threads;
use anyhow::{Context as _, anyhow};
use serde::Serialize;
use std::sync::Mutex;

/// How many runs there are without being asked for more, if the fleet is small.
const RUNS: u32 = 100;
/// How many runs may be asked for: each is kept until the end.
const MAX_RUNS: u32 = 10_000;
/// What chance is drawn from where nobody says it.
const SEED: u64 = 1;
/// How many devices all runs together may have: some minutes of work. Runs of a good change and of a bad one both count.
const MAX_DEVICES: u64 = 20_000_000;
/// How many devices the runs have together at the most when nobody says how many runs there are to be: some seconds of work.
const MAX_DEVICES_UNASKED: u64 = 400_000;
/// How long a device may be supposed to take.
const MAX_LATENCY_SECS: i64 = 30 * 86_400;
/// How often people are told how far it is, in seconds.
const PROGRESS_SECS: i64 = 2;

/// Flags of `simulate`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The controller's own planner makes the rollouts of the commit, and its own rollouts run in virtual time over devices that fail, are
away and answer late as often as you suppose: once with a change that is good, and once with one that is bad. Nothing is sent to
anybody. The same seed gives the same answer: with --seed, rollouts begin when the commit was made unless --start says otherwise.

Examples:
  bellwether simulate --stage production
  bellwether simulate --failure-rate 2% --offline 10% --latency 30m
  bellwether simulate --all --policy cautious -o html > cautious.html
  bellwether simulate --base origin/main --seed 7 -o json")]
pub struct Args {
    /// What is planned.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Have all devices follow this policy, whatever fleet.yml says
    #[arg(long, value_name = "NAME")]
    pub policy: Option<PolicyName>,
    /// As if every device of the stage changed, and not only those that the commit changes
    #[arg(long)]
    pub all: bool,
    /// How many devices a bad change breaks
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = parse_share)]
    pub failure_rate: Share,
    /// How many devices fail although the change is good
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = parse_share)]
    pub noise: Share,
    /// How many devices are away all the time
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = parse_share)]
    pub offline: Share,
    /// How long a device takes at the most until it is healthy or has failed
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_latency)]
    pub latency: u32,
    /// What chance is drawn from; with it, the answer is the same every time [default: 1, and the rollout begins now]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How many runs of each kind [default: 100, fewer in large fleets]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RUNS)))]
    pub runs: Option<u32>,
    /// When the rollout begins, in RFC 3339; windows and freezes depend on it [default: now; with --seed, when the commit was made]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub start: Option<Timestamp>,
}

/// A share, also where the sign is left out.
fn parse_share(text: &str) -> Result<Share, String> {
    let signed = if text.ends_with('%') { text.to_owned() } else { format!("{text}%") };
    signed.parse().map_err(|error: crate::domain::rollout::share::ShareError| error.to_string())
}

fn parse_latency(text: &str) -> Result<u32, String> {
    let secs = parse_secs(text)?;
    match u32::try_from(secs) {
        Ok(secs) if i64::from(secs) <= MAX_LATENCY_SECS => Ok(secs),
        _ => Err("30d at the most".to_owned()),
    }
}

/// What a simulation came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SimulationView {
    /// The stage.
    pub stage: StageName,
    /// The commit.
    pub commit: CommitId,
    /// What it was planned against.
    pub against: Against,
    /// When the rollouts begin.
    pub start: Timestamp,
    /// What chance was drawn from.
    pub seed: u64,
    /// How many runs there were of each kind.
    pub runs: u32,
    /// The rollouts that the commit makes.
    pub rollouts: Vec<SimulatedRollout>,
    /// Devices that the commit changes and that follow no policy: they get it at once.
    pub at_once: usize,
    /// What whoever reads it should know of how it was made.
    pub notes: Vec<String>,
    /// What could not be determined.
    pub unknown: Vec<String>,
}

/// One rollout.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SimulatedRollout {
    /// The policy.
    pub policy: PolicyName,
    /// How many devices it has.
    pub devices: usize,
    /// With a change that is good.
    pub good: Case,
    /// With one that is not.
    pub bad: Case,
}

/// Runs `simulate`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let form =
        console.form(&[Output::Table, Output::Wide, Output::Json, Output::Yaml], &[Report::Html, Report::Svg])?;
    let ground = planning::ground(&args.plan, console)?;
    let (owned, notes) = (args.clone(), Console { global: console.global.clone() });
    // The runs end with the process. Whatever is printed is printed afterwards, and whole.
    let view = match unless_asked_to_stop(move || simulated(&owned, ground, &notes))? {
        Asked::Done(view) => view?,
        Asked::ToStop => return Err(anyhow!("stopped before all runs were made; nothing was printed")),
    };
    match form {
        Form::Usual(output @ (Output::Json | Output::Yaml)) => console.data(&view, output)?,
        Form::Usual(Output::Wide) => console.print(text(&view, console.width(), Events::Shown))?,
        Form::Usual(Output::Table | Output::Md) => console.print(text(&view, console.width(), Events::Left))?,
        Form::Report(Report::Svg) => console.print(chart(&view)?)?,
        Form::Report(Report::Html | Report::Junit | Report::Sarif) => console.print(page(&view)?)?,
    }
    Ok(Outcome::Fine)
}

fn simulated(args: &Args, ground: Ground, console: &Console) -> anyhow::Result<SimulationView> {
    if let Some(finding) = ground.desired.rejection() {
        let error = anyhow!("the commit cannot count: {}: {}", finding.place, finding.message);
        return Err(with_hint(error, "`bellwether check` lists everything that is wrong with it"));
    }
    let start = begins(args, &ground);
    let seed = args.seed.unwrap_or(SEED);
    let supposition = Supposition {
        policy: args.policy.clone(),
        changing: if args.all { Changing::All } else { Changing::ByCommit },
    };
    let supposed = suppose(&ground.input(), &supposition, start).map_err(unsupposed)?;
    let devices: Vec<usize> = supposed.rollouts().map(|rollout| rollout.members.len()).collect();
    let all: usize = devices.iter().sum();
    let at_once = supposed.at_once();
    if all == 0 {
        return Err(match at_once {
            0 => with_hint(
                anyhow!("the commit changes no device of stage {}", ground.policy.name),
                "`--all` supposes that every device changes",
            ),
            _ => with_hint(
                anyhow!("no device that the commit changes follows a rollout policy; all {at_once} get it at once"),
                "`--policy NAME` has them follow one: one of fleet.yml, or immediate, cautious, canary-first, weekend",
            ),
        });
    }
    let runs = how_many(args.runs, all)?;
    let mut rollouts = Vec::new();
    for rollout in supposed.rollouts() {
        let policy = &rollout.head.policy.name;
        let case = |failure: Share, what: &str| -> anyhow::Result<Case> {
            let odds = Odds { failure, offline: args.offline, latency_secs: args.latency };
            let progress = Progress { console, what: format!("{what} change by policy {policy}"), runs };
            run_all(&supposed, rollout, odds, seed, &progress)
        };
        let (good, bad) = (case(args.noise, "good")?, case(args.noise.max(args.failure_rate), "bad")?);
        rollouts.push(SimulatedRollout { policy: policy.clone(), devices: rollout.members.len(), good, bad });
    }
    let Ground { candidate, against, mut notes, unknown, policy, .. } = ground;
    if args.all {
        notes.push("every device of the stage was supposed to change".to_owned());
    }
    if let Some(policy) = &args.policy {
        notes.push(format!("all devices were supposed to follow policy {policy}"));
    }
    let (stage, commit) = (policy.name, candidate.head.commit);
    Ok(SimulationView { stage, commit, against, start, seed, runs, rollouts, at_once, notes, unknown })
}

/// When the rollouts begin. Who names a seed wants the same answer tomorrow, so that does not depend on the day.
fn begins(args: &Args, ground: &Ground) -> Timestamp {
    match (args.start, args.seed) {
        (Some(start), _) => start,
        (None, Some(_)) => ground.made,
        (None, None) => clock::now(),
    }
}

fn unsupposed(error: SupposeError) -> anyhow::Error {
    match error {
        SupposeError::UnknownPolicy(_) => with_hint(
            usage(error.to_string()),
            "name one of `rollouts` in fleet.yml, or immediate, cautious, canary-first or weekend",
        ),
        SupposeError::Waits { .. } => error.into(),
    }
}

/// How many runs of each kind there are.
fn how_many(asked: Option<u32>, devices: usize) -> anyhow::Result<u32> {
    let most = |devices_in_all: u64| {
        let runs = devices_in_all / 2 / u64::try_from(devices).unwrap_or(u64::MAX).max(1);
        u32::try_from(runs).unwrap_or(u32::MAX)
    };
    match asked {
        None => Ok(most(MAX_DEVICES_UNASKED).clamp(1, RUNS)),
        Some(runs) if runs <= most(MAX_DEVICES) => Ok(runs),
        Some(runs) => Err(with_hint(
            usage(format!("{runs} runs of {devices} devices, twice, are more than {MAX_DEVICES} devices in all")),
            match most(MAX_DEVICES) {
                0 => "the commit changes too many devices to be simulated".to_owned(),
                most => format!("`--runs {most}` is the most here"),
            },
        )),
    }
}

/// Whom to tell how far it is.
struct Progress<'a> {
    console: &'a Console,
    what: String,
    runs: u32,
}

/// All runs of one kind.
fn run_all(
    supposed: &Supposed,
    rollout: &crate::domain::fleet::RolloutRecord,
    odds: Odds,
    seed: u64,
    progress: &Progress<'_>,
) -> anyhow::Result<Case> {
    let changes = Supposed::changes(rollout);
    let done: Mutex<(Vec<Run>, Timestamp)> = Mutex::new((Vec::new(), clock::now()));
    let one = |number: usize| {
        let run = supposed.simulate(rollout, &changes, odds, seed_of(seed, number));
        let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.0.extend(run);
        let now = clock::now();
        if now.secs_since(done.1) >= PROGRESS_SECS {
            done.1 = now;
            let (count, Progress { console, what, runs }) = (done.0.len(), progress);
            console.note(format!("{count} of {runs} runs of a {what}"));
        }
    };
    Threads.all(usize::try_from(progress.runs).unwrap_or(usize::MAX), &one);
    let (mut runs, _) = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Whichever thread was first.
    runs.sort_by_key(|run| run.seed);
    Case::of(odds, &runs).context("the commit's meaning went away while it was simulated")
}

/// The seed of one run: those of neighbouring seeds have nothing in common.
fn seed_of(seed: u64, number: usize) -> u64 {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    Digest::of_parts([b"bellwether.run.v1".as_slice(), &seed.to_be_bytes(), &number.to_be_bytes()]).first_u64()
}

#[cfg(test)]
mod tests;
