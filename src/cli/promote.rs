//! `bellwether promote`: what one stage runs goes on to the next, as a merge request with evidence.

use super::console::{Console, Outcome};
use super::fault::{Hint as _, usage, with_hint};
use super::forge::{ForgeArgs, hinted};
use super::remote::{Controller, encoded};
use super::render::promotion::{Shown, markdown, text, title};
use super::{Output, forge};
use crate::domain::forge::comment::marked;
use crate::domain::forge::promotion::{Carrier, Evidence, Facts, Objection, examine};
use crate::domain::ids::{CommitId, StageName};
use crate::domain::overview::rollouts::{RolloutDetail, RolloutRow};
use crate::domain::overview::status::{StageStatus, Status};
use crate::ports::forge::{Forge, ForgeError, MergeRequest, NewMergeRequest, Readiness};
use anyhow::{Context as _, anyhow};
use serde::Serialize;

/// What marks merge requests of promotions.
const KIND: &str = "promotion";
/// How many rollouts of one commit are asked for. A stage has one for each of its policies.
const MAX_ROLLOUTS: usize = 50;
/// Labels of every promotion.
const LABELS: &[&str] = &["bellwether", "promotion"];

/// Flags of `promote`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What goes on is exactly what the stage before runs: a commit with its tree, on a branch of its own, so that no merge can change it. What is \
not ready is refused. Running it again brings the merge request up to date.

Examples:
  bellwether promote production --dry-run                what speaks for it, and what against
  bellwether promote production --repository acme/fleet  open the merge request, or bring it up to date
  bellwether promote production --draft                  also if it is not ready, as a draft
  bellwether promote production --when-ready             by a schedule: nothing happens until it is ready
  bellwether promote production --rollback               back to what the stage had before its newest commit")]
pub struct Args {
    /// The stage that it goes on to
    #[arg(value_name = "STAGE")]
    pub stage: StageName,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Open a draft if it is not ready
    #[arg(long, conflicts_with = "rollback")]
    pub draft: bool,
    /// If it is not ready, say so on stderr and nothing else, with status 0: for promoting by a schedule
    #[arg(long, conflicts_with_all = ["rollback", "draft"])]
    pub when_ready: bool,
    /// Bring the stage back to the tree that it had before its newest commit
    #[arg(long)]
    pub rollback: bool,
    /// Bring it back to the tree of this commit
    #[arg(long, value_name = "COMMIT", requires = "rollback")]
    pub to: Option<CommitId>,
    /// Where the merge request is opened.
    #[command(flatten)]
    pub forge: ForgeArgs,
}

/// The answer for programs.
#[derive(Debug, Serialize)]
struct View<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a Evidence>,
    objections: &'a [Objection],
    did: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
}

/// Runs `promote`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Json, Output::Yaml, Output::Md])?;
    if args.rollback {
        return roll_back(args, console, output);
    }
    let attempted = || format!("cannot promote to {}", args.stage);
    let (evidence, objections) = evidence(args, console).with_context(attempted)?;
    let shown = Shown { evidence: &evidence, objections: &objections };
    let ready = objections.is_empty();
    if args.when_ready && !ready {
        for one in &objections {
            console.note(format!("not yet: {}", super::render::text::plain(&one.to_string())));
        }
        return Ok(Outcome::Fine);
    }
    if args.dry_run || (!ready && !args.draft) {
        answer(console, output, &shown, if ready { "nothing: a dry run" } else { "nothing: not ready" }, None)?;
        return Ok(if ready { Outcome::Fine } else { Outcome::Failed });
    }
    let mut forge = args.forge.open()?;
    let verified = forge.commit(&evidence.commit).map_err(hinted).with_context(attempted)?;
    let tip = tip(&mut *forge, &args.stage).with_context(attempted)?;
    let verified = (&verified.id, &verified.tree);
    let Some(carrier) = Carrier::new(verified, (&tip.id, &tip.tree)) else {
        answer(console, output, &shown, "nothing: the stage has it already", None)?;
        return Ok(Outcome::Fine);
    };
    let new = NewMergeRequest {
        from: format!("bellwether-promote-{}", args.stage),
        into: args.stage.to_string(),
        title: title(&evidence),
        body: marked(KIND, args.stage.as_str(), &markdown(&shown)),
        readiness: if ready { Readiness::Ready } else { Readiness::Draft },
    };
    let (did, request) = carry(&mut *forge, &carrier, &new).map_err(forge::hinted).with_context(attempted)?;
    answer(console, output, &shown, did, Some(&request.url))?;
    Ok(Outcome::Fine)
}

fn answer(console: &Console, output: Output, shown: &Shown<'_>, did: &str, url: Option<&str>) -> anyhow::Result<()> {
    match output {
        Output::Json | Output::Yaml => {
            let view = View { evidence: Some(shown.evidence), objections: shown.objections, did, url };
            console.data(&view, output)
        }
        Output::Md => console.print(markdown(shown)),
        Output::Table | Output::Wide => {
            let url = url.map(|url| format!(" {}", super::render::text::plain(url))).unwrap_or_default();
            console.print(format!("{}\n{did}{url}\n", text(shown, console.width())))
        }
    }
}

/// What the controller knows of the stage before.
fn evidence(args: &Args, console: &Console) -> anyhow::Result<(Evidence, Vec<Objection>)> {
    let controller = console.global.controller()?;
    let status: Status = controller.get("/v1/status", "ask the controller how the stages stand")?;
    let before = before(&status, &args.stage)?;
    let rollouts = rollouts(&controller, before)?;
    let takes = status.stages.iter().find(|one| one.stage == args.stage).map(|one| one.promotion).unwrap_or_default();
    let facts = Facts { from: before, rollouts: &rollouts, at: status.at, takes };
    examine(&facts, &args.stage).map_err(|nothing| anyhow!(nothing))
}

/// The stage from which a stage gets what it gets.
fn before<'a>(status: &'a Status, stage: &StageName) -> anyhow::Result<&'a StageStatus> {
    let Some(place) = status.stages.iter().position(|one| one.stage == *stage) else {
        let names: Vec<&str> = status.stages.iter().map(|one| one.stage.as_str()).collect();
        return Err(with_hint(usage(format!("there is no stage {stage}")), format!("stages: {}", names.join(", "))));
    };
    let before = place.checked_sub(1).and_then(|before| status.stages.get(before));
    before.ok_or_else(|| with_hint(usage(format!("{stage} is the first stage")), "merge into it what is to be tried"))
}

fn rollouts(controller: &Controller, stage: &StageStatus) -> anyhow::Result<Vec<RolloutDetail>> {
    let all: Vec<RolloutRow> = controller.get("/v1/rollouts", "list the rollouts")?;
    let of_commit = all.iter().filter(|one| one.stage == stage.stage && Some(&one.commit) == stage.accepted.as_ref());
    let ask = |one: &RolloutRow| {
        controller.get(&format!("/v1/rollouts/{}", encoded(one.rollout.as_str())), "ask for a rollout")
    };
    of_commit.take(MAX_ROLLOUTS).map(ask).collect()
}

fn tip(forge: &mut dyn Forge, stage: &StageName) -> anyhow::Result<crate::ports::forge::Commit> {
    let tip = forge.branch(stage.as_str()).map_err(hinted)?;
    let tip = tip
        .ok_or_else(|| anyhow!("the forge has no branch `{stage}`"))
        .hint("push it once, from where it is to begin")?;
    forge.commit(&tip).map_err(hinted)
}

/// Puts the commit onto the branch and the merge request before people, as far as they are not there already.
fn carry(
    forge: &mut dyn Forge,
    carrier: &Carrier,
    new: &NewMergeRequest,
) -> Result<(&'static str, MergeRequest), ForgeError> {
    let there = match forge.branch(&new.from)? {
        Some(commit) => Some(forge.commit(&commit)?),
        None => None,
    };
    if !there.as_ref().is_some_and(|one| carrier.is(&one.tree, &one.parents)) {
        let commit = forge.make_commit(&new.title, carrier)?;
        forge.point(&new.from, &commit, there.map(|one| one.id).as_ref())?;
    }
    let Some(open) = forge.open_request(&new.from, &new.into)? else {
        let request = forge.open(new)?;
        forge.label(request.number, LABELS)?;
        return Ok(("opened", request));
    };
    // Forges write line ends in their own way.
    let same = |one: &str, other: &str| one.trim_end().lines().eq(other.trim_end().lines());
    if same(&open.title, &new.title) && same(&open.body, &new.body) {
        return Ok(("nothing: it is up to date", open));
    }
    Ok(("brought up to date", forge.edit(open.number, &new.title, &new.body)?))
}

fn roll_back(args: &Args, console: &Console, output: Output) -> anyhow::Result<Outcome> {
    let stage = &args.stage;
    let attempted = || format!("cannot bring {stage} back");
    let mut forge = args.forge.open()?;
    let tip = tip(&mut *forge, stage).with_context(attempted)?;
    let earlier = match (&args.to, tip.parents.first()) {
        (Some(commit), _) => commit.clone(),
        (None, Some(parent)) => parent.clone(),
        (None, None) => return Err(anyhow!("its newest commit is its first").context(attempted())),
    };
    let earlier = forge.commit(&earlier).map_err(hinted).with_context(attempted)?;
    let what = format!("Bring {stage} back from {} to {}", tip.id.short(), earlier.id.short());
    let done = match Carrier::back((&tip.id, &tip.tree), &earlier.tree) {
        None => ("nothing: it has that tree", None),
        Some(_) if args.dry_run => ("nothing: a dry run", None),
        Some(carrier) => {
            let body = format!(
                "{what}.\n\nThe tree is exactly the one of commit `{}`. Devices that had it before get the same content again, as a new assignment.\n",
                earlier.id
            );
            let new = NewMergeRequest {
                from: format!("bellwether-rollback-{stage}"),
                into: stage.to_string(),
                title: what.clone(),
                body: marked(KIND, stage.as_str(), &body),
                readiness: Readiness::Ready,
            };
            let (did, request) = carry(&mut *forge, &carrier, &new).map_err(hinted).with_context(attempted)?;
            (did, Some(request.url))
        }
    };
    match output {
        Output::Json | Output::Yaml => {
            let view = View { evidence: None, objections: &[], did: done.0, url: done.1.as_deref() };
            console.data(&view, output)?;
        }
        Output::Table | Output::Wide | Output::Md => {
            let url = done.1.map(|url| format!(" {}", super::render::text::plain(&url))).unwrap_or_default();
            console.print(format!("{what}\n{}{url}\n", done.0))?;
        }
    }
    Ok(Outcome::Fine)
}
