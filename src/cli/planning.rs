//! What `plan` and `diff` share: a commit of a clone, planned against what devices were assigned.
//!
//! Nothing is decided here; the plan is the controller's own function.

mod narrowing;

pub use narrowing::narrow;

use super::console::Console;
use super::fault::{Hint as _, usage, with_hint};
use super::lists::{self, FoundList, ListArgs};
use super::local::{self, Commit, RepoArgs};
use super::remote::{Named, is_absent};
use crate::domain::desired::{Desired, InventorySource, SecretTable};
use crate::domain::fleet::{FleetState, StageRecord};
use crate::domain::ids::{CommitId, DeviceId, FleetName, StageName};
use crate::domain::manifest::compose::HostRights;
use crate::domain::manifest::listed_by::ListedBy;
use crate::domain::overview::baseline::Baseline;
use crate::domain::plan::conflicts::{ClaimConflict, claim_conflicts};
use crate::domain::plan::gate::{Candidate, Lineage, PlanInput, StagePlan, plan_stage};
use crate::domain::plan::policy::StagePolicy;
use crate::domain::spec::SealedSpec;
use crate::domain::time::Timestamp;
use crate::git::GitClone;
use crate::ports::repo::{Repo as _, RepoError};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is planned.
#[derive(Clone, Debug, clap::Args)]
pub struct PlanArgs {
    /// The stage whose branch the commit is meant for [default: the branch]
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<StageName>,
    /// Which clone and commit.
    #[command(flatten)]
    pub repo: RepoArgs,
    /// Where the devices are listed.
    #[command(flatten)]
    pub list: ListArgs,
    /// Compare with this commit instead of asking a controller; with `--head`, the branch that it would be merged into
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
    /// What merging this commit into `--base` would change, as for a merge request [base: origin/STAGE]
    #[arg(long, value_name = "REV", conflicts_with = "rev")]
    pub head: Option<String>,
}

impl PlanArgs {
    /// The stage that the plan is for, and the commit or the merge that is planned.
    pub fn find(&self, clone: &mut GitClone) -> anyhow::Result<(StageName, Commit)> {
        let Self { stage, repo, base, head, .. } = self;
        let Some(head) = head else {
            return Ok((local::stage(clone, stage.as_ref(), &repo.rev)?, local::commit(clone, &repo.rev)?));
        };
        let base = match (base, stage) {
            (Some(base), _) => base.clone(),
            (None, Some(stage)) => upstream(clone, stage),
            (None, None) => {
                let error = usage("nothing says what it would be merged into");
                return Err(with_hint(error, "name the branch with `--base`, or the stage with `--stage`"));
            }
        };
        Ok((local::stage(clone, stage.as_ref(), &base)?, local::merged(clone, &base, head)?))
    }
}

/// A stage's branch: what was fetched of it, else the local one.
fn upstream(clone: &GitClone, stage: &StageName) -> String {
    // Not the name alone: a branch of that name would shadow what was fetched.
    let fetched = format!("refs/remotes/origin/{stage}");
    if clone.resolve_rev(&fetched).is_ok() { fetched } else { format!("refs/heads/{stage}") }
}

/// What a plan is to be made against.
#[derive(Clone, Copy, Debug)]
enum Wanted<'a> {
    /// This commit, and nobody is asked.
    Commit(&'a str),
    /// What a controller has assigned; where none was named and none is there, this commit.
    LiveElse(&'a CommitId, &'a str),
    /// What a controller has assigned; where none was named and none is there, what the clone suggests.
    Live,
}

impl<'a> Wanted<'a> {
    fn of(args: &'a PlanArgs, commit: &'a Commit) -> Self {
        match (&commit.onto, &args.base) {
            (Some(onto), Some(named)) => Self::LiveElse(onto, named),
            (Some(onto), None) => Self::LiveElse(onto, "the branch of the stage"),
            (None, Some(named)) => Self::Commit(named),
            (None, None) => Self::Live,
        }
    }
}

/// What a plan was made against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Against {
    /// What a running controller has assigned.
    Controller {
        /// Where it is. The same controller has several addresses, and a plan does not depend on which was used.
        #[serde(skip)]
        address: String,
    },
    /// What a commit by itself would have assigned.
    Commit {
        /// The commit.
        commit: CommitId,
        /// Which one that is, for people.
        named: String,
    },
    /// Nothing: the commit is the first.
    Nothing,
}

impl std::fmt::Display for Against {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Controller { address } if address.is_empty() => f.write_str("what the controller has assigned"),
            Self::Controller { address } => write!(f, "what the controller at {address} has assigned"),
            Self::Commit { commit, named } => write!(f, "commit {} ({named})", commit.short()),
            Self::Nothing => f.write_str("nothing: the commit has no parent"),
        }
    }
}

/// A plan and everything that it was made from.
pub struct Planned {
    /// The plan.
    pub plan: StagePlan,
    /// The commit.
    pub commit: CommitId,
    /// How the commit was named.
    pub rev: String,
    /// The commit that it would be merged into; `None` for one that is planned as it is.
    pub onto: Option<CommitId>,
    /// What it means.
    pub desired: Arc<Desired>,
    /// What it was planned against.
    pub against: Against,
    /// Claims and assignments before.
    pub state: FleetState,
    /// Devices that other stages would claim too.
    pub conflicts: Vec<ClaimConflict>,
    /// What whoever reads the plan should know of how it was made.
    pub notes: Vec<String>,
    /// What could not be determined, so that the plan may be incomplete.
    pub unknown: Vec<String>,
}

impl Planned {
    /// What a device was assigned.
    pub fn assigned(&self, device: &DeviceId) -> Option<&SealedSpec> {
        self.state.devices.get(device)?.assignment.as_ref().map(|assignment| &assignment.spec)
    }

    /// What the commit wants for a device.
    pub fn wanted(&self, device: &DeviceId) -> Option<&SealedSpec> {
        self.desired.devices.get(device)?.spec.as_ref()
    }
}

/// Everything that a plan is made from.
pub struct Ground {
    /// The stage.
    pub policy: StagePolicy,
    /// All stages, least gated first.
    pub stages: Vec<StagePolicy>,
    /// Claims and assignments before.
    pub state: FleetState,
    /// What the other stages' commits mean.
    pub accepted: BTreeMap<StageName, Arc<Desired>>,
    /// The commit.
    pub candidate: Candidate,
    /// How the commit was named.
    pub rev: String,
    /// The commit that it would be merged into; `None` for one that is planned as it is.
    pub onto: Option<CommitId>,
    /// When the commit was made, as whoever made it says.
    pub made: Timestamp,
    /// What the commit means, whatever devices choose.
    pub desired: Arc<Desired>,
    /// What it is planned against.
    pub against: Against,
    /// What whoever reads the plan should know of how it was made.
    pub notes: Vec<String>,
    /// What could not be determined, so that the plan may be incomplete.
    pub unknown: Vec<String>,
}

impl Ground {
    /// What the planner is asked with.
    pub fn input(&self) -> PlanInput<'_> {
        let Self { policy, stages, state, accepted, candidate, .. } = self;
        PlanInput { policy, stages, state, accepted, candidate }
    }

    fn plan(self) -> Planned {
        let (plan, conflicts) = (plan_stage(&self.input()), claim_conflicts(&self.input()));
        let Self { state, candidate, rev, onto, desired, against, notes, unknown, .. } = self;
        Planned { plan, commit: candidate.head.commit, rev, onto, desired, against, state, conflicts, notes, unknown }
    }
}

/// Claims and assignments, and where they are from.
struct Base {
    baseline: Baseline,
    against: Against,
    notes: Vec<String>,
}

/// Plans a commit of a clone for a stage.
pub fn plan(args: &PlanArgs, console: &Console) -> anyhow::Result<Planned> {
    Ok(ground(args, console)?.plan())
}

/// Finds everything that a plan is made from.
pub fn ground(args: &PlanArgs, console: &Console) -> anyhow::Result<Ground> {
    let mut clone = local::open(&args.repo.repo)?;
    let (stage, commit) = args.find(&mut clone)?;
    let mut resolver = crate::threads::resolver();
    let found = lists::find(&args.list, &mut resolver, &commit.files, Some(console))?;
    let mut resolved = resolver.resolve_with(&commit.files, &found.source);

    let mut base = find_base(&mut clone, &stage, &commit, &resolved, Wanted::of(args, &commit), console, &found)?;
    let rights = rights(&base.baseline, &stage);
    if !rights.are_none() {
        resolver = crate::threads::resolver().allowing(rights);
        resolved = resolver.resolve_with(&commit.files, &found.source);
    }
    if !resolved.secrets().is_empty() {
        // Only the controller has values. A clone that took them for unknown would show every device that holds one as changed.
        let mut assignments: Vec<_> = base.baseline.assignments.iter().collect();
        assignments.sort_by_key(|assignment| assignment.assigned_at);
        let known = SecretTable::assigned(assignments.into_iter().map(|assignment| &*assignment.spec.spec));
        resolved = resolver.resolve_from(&commit.files, &found.source, &known);
        base.notes.push("values of secrets are taken to be those that devices were assigned last".to_owned());
    }
    if !found.origin.is_empty() {
        base.notes.push(format!("devices are listed by {}", found.origin));
    }
    ground_against(&mut clone, &stage, commit, resolved, base, &found, Some(console))
}

/// What the controller lets services of a stage have of the host.
fn rights(baseline: &Baseline, stage: &StageName) -> HostRights {
    let policy = baseline.stages.iter().find(|policy| policy.name == *stage);
    policy.map(|policy| policy.host.clone()).unwrap_or_default()
}

fn ground_against(
    clone: &mut GitClone,
    stage: &StageName,
    commit: Commit,
    resolved: Arc<Desired>,
    base: Base,
    found: &FoundList,
    console: Option<&Console>,
) -> anyhow::Result<Ground> {
    let Base { baseline, against, mut notes } = base;
    let stages = baseline.stages.clone();
    let Some(policy) = stages.iter().find(|policy| policy.name == *stage) else {
        let known: Vec<&str> = stages.iter().map(|policy| policy.name.as_str()).collect();
        let error = usage(format!("there is no stage {stage}; there are {}", known.join(", ")));
        return Err(with_hint(error, "name the stage that the commit is meant for with `--stage`"));
    };
    let (desired, choosing) = Baseline::keep_choices(stage, &resolved);
    if !choosing.is_empty() {
        let devices = super::render::text::names(&choosing, 5);
        notes.push(format!("{devices}: chosen by the device itself, so the last known choice counts"));
    }
    let mut unknown = Vec::new();
    let lineage = lineage(clone, &baseline, stage, &commit, &mut notes, &mut unknown)?;
    let accepted = others(clone, &baseline, stage, &mut unknown, console)?;
    let base = baseline.records.get(stage).and_then(StageRecord::counts);
    let state = baseline.into_state();
    let made = clone.made_at(&commit.head.commit)?;
    let (head, desired) = (commit.head.clone(), Arc::new(desired));
    let candidate = Candidate { head, inventory: found.digest, desired, base, lineage };
    let (policy, desired) = (policy.clone(), resolved);
    let Commit { rev, onto, .. } = commit;
    Ok(Ground { policy, stages, state, accepted, candidate, rev, onto, made, desired, against, notes, unknown })
}

fn find_base(
    clone: &mut GitClone,
    stage: &StageName,
    commit: &Commit,
    desired: &Desired,
    wanted: Wanted<'_>,
    console: &Console,
    found: &FoundList,
) -> anyhow::Result<Base> {
    if let Wanted::Commit(rev) = wanted {
        let id = clone.resolve_rev(rev).hint("`--base` takes whatever Git understands")?;
        return commit_base(clone, stage, &id, rev, desired, found);
    }
    let controller = console.global.controller()?;
    match controller.get::<Baseline>("/v1/baseline", "ask the controller what is assigned") {
        Ok(baseline) => {
            let against = Against::Controller { address: controller.address().to_owned() };
            Ok(Base { baseline, against, notes: Vec::new() })
        }
        // Nobody asked for a controller, and none is there.
        Err(error) if console.global.named() == Named::ByDefault && is_absent(&error) => match wanted {
            Wanted::LiveElse(id, rev) => commit_base(clone, stage, id, rev, desired, found),
            Wanted::Commit(_) | Wanted::Live => local_base(clone, stage, commit, desired, found),
        },
        Err(error) => Err(error),
    }
}

/// The commit that a plan is made against where no controller can be asked.
fn local_base(
    clone: &mut GitClone,
    stage: &StageName,
    commit: &Commit,
    desired: &Desired,
    found: &FoundList,
) -> anyhow::Result<Base> {
    let head = &commit.head.commit;
    let upstream = format!("origin/{stage}");
    // Not the name alone: a branch of that name would shadow what was fetched.
    if let Ok(id) = clone.resolve_rev(&format!("refs/remotes/{upstream}")) {
        if clone.contains(head, &id)? {
            return commit_base(clone, stage, &id, &upstream, desired, found);
        }
        if let Some(common) = clone.merge_base(head, &id)? {
            let named = format!("where {} and {upstream} parted", commit.rev);
            return commit_base(clone, stage, &common, &named, desired, found);
        }
    }
    match clone.resolve_rev(&format!("{}^", head.as_str())) {
        Ok(parent) => commit_base(clone, stage, &parent, &format!("{}^", commit.rev), desired, found),
        Err(_) => Ok(Base {
            baseline: Baseline {
                fleet: fleet_name(desired),
                stages: vec![StagePolicy::with_defaults(stage.clone())],
                records: BTreeMap::new(),
                claims: BTreeMap::new(),
                assignments: Vec::new(),
            },
            against: Against::Nothing,
            notes: vec![ALONE.to_owned()],
        }),
    }
}

/// What a plan without a controller leaves out.
const ALONE: &str = "no controller was asked: limits are the defaults, other stages' claims are left out, and so is what devices really have";

fn fleet_name(desired: &Desired) -> FleetName {
    desired.fleet.clone().unwrap_or_else(|| FleetName::new("unnamed").expect("a plain word is a name"))
}

fn commit_base(
    clone: &mut GitClone,
    stage: &StageName,
    id: &CommitId,
    named: &str,
    desired: &Desired,
    found: &FoundList,
) -> anyhow::Result<Base> {
    let base = local::commit_by_id(clone, id, named)?;
    let mut resolver = crate::threads::resolver();
    // The same list: what is planned is the commit, and what the list was before only the controller knows.
    let listed_by = resolver.fleet(&base.files).listed_by.clone();
    let source = if listed_by == ListedBy::Commit { &InventorySource::Repo } else { &found.source };
    let before = resolver.resolve_with(&base.files, source);
    let fleet = fleet_name(if before.fleet.is_some() { &before } else { desired });
    let policy = StagePolicy::with_defaults(stage.clone());
    Ok(Base {
        baseline: Baseline::of_commit(fleet, policy, id, found.digest, &before),
        against: Against::Commit { commit: id.clone(), named: named.to_owned() },
        notes: vec![ALONE.to_owned()],
    })
}

fn lineage(
    clone: &mut GitClone,
    baseline: &Baseline,
    stage: &StageName,
    commit: &Commit,
    notes: &mut Vec<String>,
    unknown: &mut Vec<String>,
) -> anyhow::Result<Lineage> {
    let Some(accepted) = baseline.records.get(stage).and_then(|record| record.accepted.as_ref()) else {
        return Ok(Lineage::Extends);
    };
    if is_missing(clone, accepted)? {
        unknown.push(format!(
            "whether the commit extends {}, which counts for {stage}: this clone does not have it; fetch first",
            accepted.short()
        ));
        return Ok(Lineage::Extends);
    }
    let onto = match &commit.onto {
        Some(onto) => clone.contains(onto, accepted)?,
        None => false,
    };
    if onto || clone.contains(&commit.head.commit, accepted)? {
        return Ok(Lineage::Extends);
    }
    notes.push(format!(
        "the commit does not contain {}, which counts for {stage}; what was merged since would be undone. Merge it first",
        accepted.short()
    ));
    Ok(Lineage::Rewrites)
}

fn is_missing(clone: &mut GitClone, commit: &CommitId) -> anyhow::Result<bool> {
    match clone.head(commit) {
        Ok(_) => Ok(false),
        Err(RepoError::NoCommit(_)) => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot read commit {}", commit.short())),
    }
}

/// What the accepted commits of the other stages mean.
fn others(
    clone: &mut GitClone,
    baseline: &Baseline,
    stage: &StageName,
    unknown: &mut Vec<String>,
    console: Option<&Console>,
) -> anyhow::Result<BTreeMap<StageName, Arc<Desired>>> {
    let mut accepted = BTreeMap::new();
    let configured: BTreeSet<&StageName> = baseline.stages.iter().map(|policy| &policy.name).collect();
    for (other, record) in &baseline.records {
        let Some(commit) = record.accepted.as_ref().filter(|_| other != stage && configured.contains(other)) else {
            continue;
        };
        if is_missing(clone, commit)? {
            unknown.push(format!(
                "what stage {other} claims now: this clone does not have its commit {}; its last claims count",
                commit.short()
            ));
            continue;
        }
        let files = local::commit_by_id(clone, commit, other.as_str())?.files;
        let mut resolver = crate::threads::resolver().allowing(rights(baseline, other));
        let list = match (console, &record.inventory) {
            (Some(console), inventory) => lists::by_digest(inventory.as_ref(), &mut resolver, &files, console),
            (None, _) => Ok(FoundList::default()),
        };
        let Ok(list) = list else {
            unknown.push(format!(
                "what stage {other} claims now: its list of devices cannot be had; its last claims count"
            ));
            continue;
        };
        let (desired, _) = Baseline::keep_choices(other, &resolver.resolve_with(&files, &list.source));
        accepted.insert(other.clone(), Arc::new(desired));
    }
    Ok(accepted)
}

#[cfg(test)]
mod tests;
