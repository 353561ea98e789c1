//! `bellwether plan`: what a commit would change, before it is merged.

use super::console::{Console, ExitArgs, Outcome};
use super::local::{self, RepoArgs};
use super::planning::{self, Against, PlanArgs, Planned};
use super::selecting::FilterArgs;
use super::{Output, render};
use crate::domain::drift::Verdict;
use crate::domain::finding::Finding;
use crate::domain::ids::{CommitId, DeviceId};
use crate::domain::overview::changes::{ChangeGroup, field_changes, group_changes};
use crate::domain::plan::gate::StagePlan;
use serde::Serialize;
use std::collections::BTreeSet;

/// Flags of `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Plans against what the controller has assigned, if one can be asked; else against origin/STAGE, or the commit before. The \
answer says which.

Examples:
  bellwether plan                                    the checked-out branch
  bellwether plan --stage production --rev origin/canary
  bellwether plan --base origin/main -o md           for a merge request
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
    /// What the exit code tells.
    #[command(flatten)]
    pub exit: ExitArgs,
}

/// A plan as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanView {
    /// The commit.
    pub commit: CommitId,
    /// What it was planned against.
    pub against: Against,
    /// The plan.
    #[serde(flatten)]
    pub plan: StagePlan,
    /// Equal changes together, field by field.
    pub groups: Vec<ChangeGroup>,
    /// What is wrong with the commit.
    pub findings: Vec<Finding>,
    /// What whoever reads the plan should know of how it was made.
    pub notes: Vec<String>,
    /// What could not be determined.
    pub unknown: Vec<String>,
}

impl PlanView {
    /// The plan for showing it.
    pub fn new(planned: Planned) -> Self {
        let changes = planned.plan.changes.iter().map(|change| {
            let device = &change.device;
            let from = planned.assigned(device).map(|spec| &*spec.spec);
            // A device that is let go keeps what it has: nothing of it changes.
            let fields = match change.to {
                Some(_) => field_changes(from, planned.wanted(device).map(|spec| &*spec.spec)),
                None => Vec::new(),
            };
            (device.clone(), change.action, fields)
        });
        let groups = group_changes(changes);
        let Planned { plan, commit, desired, against, notes, unknown, .. } = planned;
        Self { commit, against, plan, groups, findings: desired.findings.clone(), notes, unknown }
    }
}

/// Runs `plan`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let mut planned = planning::plan(&args.plan, console)?;
    if args.limit.is_some() || !args.filter.is_empty() {
        let limit = args.limit.as_deref().map(|limit| limited(&planned, &args.plan.repo, limit)).transpose()?;
        planning::narrow(&mut planned, &args.filter, limit.as_ref())?;
    }
    let rejected = planned.desired.rejection().is_some();
    let view = PlanView::new(planned);
    match output {
        Output::Table => console.print(render::plan::text(&view, render::plan::Findings::Counted, console.width()))?,
        Output::Wide => console.print(render::plan::text(&view, render::plan::Findings::Shown, console.width()))?,
        Output::Md => console.print(render::plan::markdown(&view))?,
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
fn limited(planned: &Planned, repo: &RepoArgs, limit: &str) -> anyhow::Result<BTreeSet<DeviceId>> {
    if planned.plan.inventory.is_some() {
        // They are listed elsewhere, and it is that list that was planned with.
        let listed = planned.desired.devices.iter().map(|(device, listed)| (device, &listed.groups));
        return super::inventory::devices_in_groups(listed, limit);
    }
    let commit = local::commit(&mut local::open(&repo.repo)?, &repo.rev)?;
    super::inventory::devices(&commit.files, None, limit)
}
