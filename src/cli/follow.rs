//! `bellwether follow`: waits for what becomes of a commit that was pushed to a stage.

use super::Output;
use super::console::{Console, Outcome};
use super::fault::{usage, with_hint};
use super::remote::Controller;
use super::render::table::escaped;
use super::render::text::plain;
use super::span::parse_secs;
use crate::clock;
use crate::domain::forge::pushed::{Standing, Verdict, names, standing};
use crate::domain::ids::{CommitId, RolloutName, StageName};
use crate::domain::overview::rollouts::RolloutRow;
use crate::domain::overview::status::{StageStatus, Status};
use anyhow::Context as _;
use serde::Serialize;
use std::time::Duration;

/// How long is waited between two looks: a rollout's steps take minutes, and who waits wants to see something happen.
const PAUSE: Duration = Duration::from_secs(2);
/// How long is waited if nobody says: jobs of forges end after six hours, and a job that waits costs money.
const TIMEOUT: &str = "1h";
/// The longest time that can be asked for, in seconds: a week, as long as the longest soak.
const MAX_TIMEOUT_SECS: i64 = 7 * 86_400;
/// How many looks in a row may fail before it is given up: a controller that is restarted is back by then.
const MAX_MISSED: u32 = 30;

/// Flags of `follow`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Progress goes to stderr, a line whenever something has changed; the end to stdout. The exit status is 0 once everything is there, and 1 \
if it is held, went wrong, was superseded, or is not there in time. Stopping it changes nothing: the controller goes on by itself.

Examples:
  bellwether follow production --commit \"$GITHUB_SHA\"
  bellwether follow production --commit \"$GITHUB_SHA\" --timeout 30m -o md >> \"$GITHUB_STEP_SUMMARY\"
  bellwether follow production --commit \"$GITHUB_SHA\" --link-only")]
pub struct Args {
    /// The stage
    #[arg(value_name = "STAGE")]
    pub stage: StageName,
    /// The commit that was pushed to its branch
    #[arg(long, value_name = "COMMIT")]
    pub commit: CommitId,
    /// How long to wait at most, such as 30m
    #[arg(long, value_name = "TIME", value_parser = parse_secs, default_value = TIMEOUT)]
    pub timeout: i64,
    /// Say how it stands and where to look, and do not wait; the status is 0
    #[arg(long)]
    pub link_only: bool,
}

/// What is told in the end.
#[derive(Debug, Serialize)]
struct View<'a> {
    stage: &'a StageName,
    commit: &'a CommitId,
    #[serde(flatten)]
    standing: &'a Standing,
    sentence: String,
    rollouts: &'a [RolloutName],
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    /// How it ended: `good`, `bad`, `late`, or `not-waited-for`.
    ended: &'static str,
}

/// One look at the controller.
struct Look {
    stage: StageStatus,
    rollouts: Vec<RolloutRow>,
}

/// Runs `follow`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let Args { stage, commit, timeout, link_only } = args;
    let output = console.output(&[Output::Table, Output::Json, Output::Yaml, Output::Md])?;
    if !(1..=MAX_TIMEOUT_SECS).contains(timeout) {
        return Err(usage("`--timeout` is from 1s to 7d"));
    }
    let controller = console.global.controller()?;
    let attempted = || format!("cannot follow commit {} on {stage}", commit.short());
    let mut look = looked(&controller, stage).with_context(attempted)?;
    let until = clock::now().plus_secs(*timeout);
    let (mut said, mut missed, mut earlier) = (String::new(), 0, None);
    let (found, ended) = loop {
        let found = standing(&look.stage, &look.rollouts, commit, earlier.as_ref());
        let sentence = found.sentence();
        if sentence != said {
            console.note(plain(&sentence));
            said = sentence;
        }
        let ended = match found.verdict() {
            _ if *link_only => Some("not-waited-for"),
            Verdict::Good => Some("good"),
            Verdict::Bad => Some("bad"),
            Verdict::Wait if clock::now() >= until => Some("late"),
            Verdict::Wait => None,
        };
        if let Some(ended) = ended {
            break (found, ended);
        }
        earlier = Some(found);
        controller.pause(PAUSE);
        match looked(&controller, stage) {
            Ok(next) => (look, missed) = (next, 0),
            Err(error) if missed >= MAX_MISSED => return Err(error.context(attempted())),
            Err(error) => {
                missed += 1;
                if missed == 1 {
                    console
                        .note(format!("the controller does not answer, trying again: {}", plain(&error.to_string())));
                }
            }
        }
    };
    let rollouts = names(&look.rollouts, &look.stage, commit);
    let link = Some(controller.address()).filter(|address| address.starts_with("https://"));
    let view = View { stage, commit, standing: &found, sentence: found.sentence(), rollouts: &rollouts, link, ended };
    answer(&view, output, console)?;
    Ok(match ended {
        "good" | "not-waited-for" => Outcome::Fine,
        _ => Outcome::Failed,
    })
}

fn looked(controller: &Controller, stage: &StageName) -> anyhow::Result<Look> {
    let status: Status = controller.get("/v1/status", "ask the controller how the stages stand")?;
    let names: Vec<String> = status.stages.iter().map(|one| one.stage.to_string()).collect();
    let found = status.stages.into_iter().find(|one| one.stage == *stage);
    let missing = || with_hint(usage(format!("there is no stage {stage}")), format!("stages: {}", names.join(", ")));
    let rollouts = controller.get("/v1/rollouts", "list the rollouts")?;
    Ok(Look { stage: found.ok_or_else(missing)?, rollouts })
}

fn answer(view: &View<'_>, output: Output, console: &Console) -> anyhow::Result<()> {
    let View { stage, commit, sentence, link, ended, .. } = view;
    let late = if *ended == "late" { ", and the time is over" } else { "" };
    match output {
        Output::Json | Output::Yaml => console.data(view, output),
        Output::Md => {
            let link = link.map(|link| format!("\n\n<{link}>")).unwrap_or_default();
            let (stage, sentence) = (escaped(stage.as_str()), escaped(sentence));
            console.print(format!("**{stage}**, commit `{}`: {sentence}{late}{link}\n", commit.short()))
        }
        Output::Table | Output::Wide => {
            let link = link.map(|link| format!("\n{}", plain(link))).unwrap_or_default();
            console.print(format!("{stage} {}: {}{late}{link}\n", commit.short(), plain(sentence)))
        }
    }
}
