//! `bellwether plan`: what a commit would change, before it is merged.

mod view;

pub use view::{GroupView, PlanView};

use super::console::{Console, ExitArgs, Outcome};
use super::local;
use super::planning::{self, PlanArgs, Planned};
use super::selecting::FilterArgs;
use super::{Output, render};
use crate::domain::drift::Verdict;
use crate::domain::ids::DeviceId;
use crate::domain::plan::gate::StagePlan;
use anyhow::Context as _;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Flags of `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Plans against what the controller has assigned, if one can be asked; else against origin/STAGE, or the commit before; with \
`--head`, else against `--base`. The answer says which. Nothing of it needs a credential.

Examples:
  bellwether plan                                    the checked-out branch
  bellwether plan --stage production --rev origin/canary
  bellwether plan --base origin/main --head topic -o md    what merging topic would change, as a comment
  bellwether plan --base origin/main --head topic -o md --artifact plan.json
  bellwether plan --filter 'vars.kiosk.model == \"A3\"'    only what changes on these
  bellwether plan --exit-code                        3 if there are changes, 4 if that is unknown")]
pub struct Args {
    /// What is planned.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Of which devices changes are shown, as far as the commit alone can tell.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Show changes of devices that this pattern selects in the commit's inventory, such as `web:&zurich:!web-7`
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Write the whole plan as JSON into this file too; Markdown, which must fit into a comment, then names it
    #[arg(long, value_name = "FILE")]
    pub artifact: Option<PathBuf>,
    /// What the exit code tells.
    #[command(flatten)]
    pub exit: ExitArgs,
}

/// Runs `plan`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let mut planned = planning::plan(&args.plan, console)?;
    if args.limit.is_some() || !args.filter.is_empty() {
        let limit = args.limit.as_deref().map(|limit| limited(&planned, &args.plan, limit)).transpose()?;
        planning::narrow(&mut planned, &args.filter, limit.as_ref())?;
    }
    let rejected = planned.desired.rejection().is_some();
    if let Some(finding) = planned.desired.rejection() {
        let reason = format!("{}: {}", finding.place, finding.message);
        planned.unknown.push(format!("what the commit would change, as it cannot be accepted: {reason}"));
        // It lists no devices because it cannot be read, and that lets nobody go.
        let StagePlan { changes, excluded, detours, held, rollouts, .. } = &mut planned.plan;
        changes.clear();
        excluded.clear();
        detours.clear();
        held.clear();
        rollouts.clear();
    }
    let view = PlanView::new(planned);
    if let Some(path) = &args.artifact {
        let whole = serde_json::to_string_pretty(&view).context("cannot write the plan as JSON")?;
        std::fs::write(path, whole + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let artifact = args.artifact.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
    match output {
        Output::Table => console.print(render::plan::text(&view, render::plan::Findings::Counted, console.width()))?,
        Output::Wide => console.print(render::plan::text(&view, render::plan::Findings::Shown, console.width()))?,
        Output::Md => console.print(render::plan::markdown(&view, artifact.as_deref()))?,
        Output::Json | Output::Yaml => console.data(&view, output)?,
    }
    // A commit that cannot be accepted has no meaning that could be planned.
    let verdict = match (rejected, view.plan.changes.is_empty(), view.unknown.is_empty()) {
        (false, true, true) => Verdict::InSync,
        (false, false, _) => Verdict::Drifted,
        (true, _, _) | (false, true, false) => Verdict::Unknown,
    };
    Ok(args.exit.outcome(verdict))
}

/// The devices of the commit that a pattern selects.
fn limited(planned: &Planned, args: &PlanArgs, limit: &str) -> anyhow::Result<BTreeSet<DeviceId>> {
    if planned.plan.inventory.is_some() {
        // They are listed elsewhere, and it is that list that was planned with.
        let listed = planned.desired.devices.iter().map(|(device, listed)| (device, &listed.groups));
        return super::inventory::devices_in_groups(listed, limit);
    }
    let (_, commit) = args.find(&mut local::open(&args.repo.repo)?)?;
    super::inventory::devices(&commit.files, None, limit)
}
