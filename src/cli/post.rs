//! `bellwether post`: says on a merge request what merging it would do.
//!
//! It takes the plan as data and writes the Markdown itself: what a run without a credential made is shown, never obeyed.

use super::console::{Console, Outcome};
use super::fault::{Hint as _, with_hint};
use super::forge::{ForgeArgs, hinted};
use super::plan::PlanView;
use super::render::plan::{markdown, sums};
use crate::domain::forge::bound::Bound;
use crate::domain::forge::check;
use crate::domain::forge::comment::{Placement, Seen, marked, place};
use crate::domain::ids::CommitId;
use crate::ports::forge::{Forge, MergeRequest, NewCheck, Number, State, Tracker as _};
use anyhow::Context as _;
use serde::Serialize;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest plan that is read, in bytes: one of a million devices that all change has about 200 for each.
const MAX_PLAN_BYTES: u64 = 256 << 20;
/// What marks comments and checks of plans.
const KIND: &str = "plan";

/// Flags of `post`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The plan must be of the commit that the merge request is at, and for the branch that it would be merged into. Posting the same plan again \
changes nothing.

Examples:
  bellwether plan --base origin/main --head topic --artifact plan.json
  bellwether post plan.json --merge-request 12 --repository acme/fleet
  bellwether post plan.json --merge-request 12 --only comment
  bellwether post plan.json --head 1a2b3c…       wherever that commit waits to be merged")]
pub struct Args {
    /// The plan, as `plan --artifact` wrote it
    #[arg(value_name = "FILE")]
    pub plan: PathBuf,
    /// The number of the merge request
    #[arg(long, value_name = "NUMBER", required_unless_present = "head")]
    pub merge_request: Option<Number>,
    /// Every open merge request of the plan's branch that is at this commit instead; there may be none
    #[arg(long, value_name = "COMMIT", conflicts_with = "merge_request")]
    pub head: Option<CommitId>,
    /// Only one of both
    #[arg(long, value_enum)]
    pub only: Option<Part>,
    /// Where the fleet repo is in the repository, for the lines of findings [default: its root]
    #[arg(long, value_name = "PATH", default_value = "")]
    pub folder: String,
    /// Where to.
    #[command(flatten)]
    pub forge: ForgeArgs,
}

/// What is written on a merge request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The comment.
    Comment,
    /// The check, with findings beside their lines.
    Check,
}

/// What became of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Posted {
    part: &'static str,
    did: &'static str,
    url: Option<String>,
}

/// Runs `post`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let view = read(&args.plan)?;
    let mut forge = args.forge.open_github()?;
    let mut done = Vec::new();
    match (&args.merge_request, &args.head) {
        (Some(number), _) => {
            let attempted = || format!("cannot post on merge request {number}");
            let request = forge.merge_request(*number).map_err(hinted).with_context(attempted)?;
            done.extend(post(args, &view, &mut forge, &request).with_context(attempted)?);
        }
        (None, head) => {
            let bound = Bound { commit: &view.commit, stage: &view.plan.stage };
            let head = head.as_ref().unwrap_or(&view.commit);
            bound.fits(head, view.plan.stage.as_str()).hint("plan it again")?;
            let open = forge.open_requests(view.plan.stage.as_str()).map_err(hinted);
            let open = open.context("cannot list the merge requests")?;
            for request in open.iter().filter(|one| one.head == *head) {
                let attempted = || format!("cannot post on merge request {}", request.number);
                done.extend(post(args, &view, &mut forge, request).with_context(attempted)?);
            }
            if done.is_empty() {
                console.note("no open merge request is at that commit");
            }
        }
    }
    match output {
        super::Output::Json | super::Output::Yaml => console.data(&done, output)?,
        super::Output::Table | super::Output::Wide | super::Output::Md => {
            let line = |one: &Posted| {
                let url =
                    one.url.as_deref().map(|url| format!(" {}", super::render::text::plain(url))).unwrap_or_default();
                format!("{} {}{url}\n", one.part, one.did)
            };
            console.print(done.iter().map(line).collect::<String>())?;
        }
    }
    Ok(Outcome::Fine)
}

fn post(args: &Args, view: &PlanView, forge: &mut dyn Forge, request: &MergeRequest) -> anyhow::Result<Vec<Posted>> {
    let bound = Bound { commit: &view.commit, stage: &view.plan.stage };
    bound.fits(&request.head, &request.base).hint("plan it again")?;
    if request.state == State::Closed {
        return Err(with_hint(anyhow::anyhow!("it is closed"), "nothing waits to be merged there"));
    }
    let mut done = Vec::new();
    let name = args.plan.file_name().map(|name| name.to_string_lossy());
    let text = markdown(view, name.as_deref());
    if args.only != Some(Part::Check) {
        done.push(comment(forge, request, view, &text)?);
    }
    if args.only != Some(Part::Comment) {
        done.push(check(forge, view, text, &folder(&args.folder))?);
    }
    Ok(done)
}

fn read(path: &Path) -> anyhow::Result<PlanView> {
    let reading = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    let file =
        std::fs::File::open(path).with_context(reading).hint("write it with `bellwether plan --artifact FILE`")?;
    file.take(MAX_PLAN_BYTES + 1).read_to_end(&mut bytes).with_context(reading)?;
    if bytes.len() as u64 > MAX_PLAN_BYTES {
        return Err(anyhow::anyhow!("{} is longer than {MAX_PLAN_BYTES} bytes", path.display()));
    }
    serde_json::from_slice(&bytes)
        .with_context(reading)
        .hint("it must be a plan as `bellwether plan --artifact` writes it")
}

fn folder(text: &str) -> String {
    let text = text.trim_start_matches("./").trim_matches('/');
    if matches!(text, "" | ".") { String::new() } else { format!("{text}/") }
}

fn comment(forge: &mut dyn Forge, request: &MergeRequest, view: &PlanView, text: &str) -> anyhow::Result<Posted> {
    let stage = view.plan.stage.as_str();
    let me = forge.me().map_err(hinted)?;
    let comments = forge.comments(request.number).map_err(hinted)?;
    let seen: Vec<Seen<'_>> =
        comments.iter().map(|one| Seen { id: one.id, author: &one.author, body: &one.body }).collect();
    let body = marked(KIND, stage, text);
    let (did, written) = match place(KIND, stage, text, &me, &seen) {
        Placement::Keep(id) => {
            let url = comments.iter().find(|one| one.id == id).map(|one| one.url.clone());
            return Ok(Posted { part: "comment", did: "is up to date", url });
        }
        Placement::Edit(id) => ("updated", forge.edit_comment(id, &body)),
        Placement::Write => ("written", forge.comment(request.number, &body)),
    };
    Ok(Posted { part: "comment", did, url: Some(written.map_err(hinted)?.url) })
}

fn check(forge: &mut dyn Forge, view: &PlanView, text: String, folder: &str) -> anyhow::Result<Posted> {
    let PlanView { commit, plan, findings, unknown, .. } = view;
    let outcome = check::Outcome { findings, held: plan.held.len(), unknown: unknown.len() };
    let name = format!("bellwether plan ({})", plan.stage);
    // What was planned is in the digest, and what else is said in the text.
    let mark = crate::domain::digest::Digest::of(text.as_bytes()).to_string();
    let before = forge.checks(commit, &name).map_err(hinted)?;
    if let Some(same) = before.into_iter().find(|one| one.mark.as_deref() == Some(mark.as_str())) {
        return Ok(Posted { part: "check", did: "is up to date", url: same.url });
    }
    let (annotations, left_out) = outcome.annotations(folder);
    let mut summary = text;
    if left_out > 0 {
        summary.push_str(&format!("\n{left_out} more findings are not shown beside their lines.\n"));
    }
    let check = NewCheck {
        name,
        commit: commit.clone(),
        mark,
        conclusion: outcome.conclusion(),
        title: sums(view),
        summary,
        annotations,
    };
    Ok(Posted { part: "check", did: "written", url: forge.check(&check).map_err(hinted)?.url })
}
