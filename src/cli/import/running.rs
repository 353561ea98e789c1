//! `bellwether import --running`: a fleet repo for a fleet that runs, and the proof that it changes nothing.

use super::Args;
use crate::cli::Output;
use crate::cli::console::{Console, Outcome};
use crate::cli::fault::{Hint as _, usage};
use crate::cli::plan::PlanView;
use crate::cli::planning::{Against, Planned};
use crate::cli::remote::Controller;
use crate::cli::render;
use crate::cli::render::text::{Tone, count, names, plain};
use crate::domain::authoring::{Authored, Member, Unsaid, author, rights};
use crate::domain::desired::{Desired, InventorySource, SecretTable};
use crate::domain::ids::{CommitId, DeviceId, StageName};
use crate::domain::overview::baseline::Baseline;
use crate::domain::overview::export::{Content, ExportPage, ExportedDevice};
use crate::domain::plan::gate::{Candidate, Lineage, PlanInput, PlannedChange, plan_stage};
use crate::domain::snapshot::Head;
use crate::git::found::{Existing, found};
use crate::git::open_clone;
use crate::ports::repo::Repo as _;
use anyhow::{Context as _, anyhow};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const MESSAGE: &str = "Write down what the fleet runs";
/// How many things that files do not say are shown. Programs read all of them.
const SHOWN: usize = 20;

/// The answer for programs.
#[derive(Debug, Serialize)]
struct RunningView<'a> {
    path: String,
    devices: usize,
    branches: BTreeMap<&'a StageName, &'a CommitId>,
    unsaid: &'a BTreeSet<Unsaid>,
    unmanaged: &'a BTreeSet<DeviceId>,
    /// The proof: empty plans, or what differs.
    plans: Vec<PlanView>,
}

/// Runs it.
pub(super) fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml])?;
    if args.name.is_some() || args.branch.is_some() || args.key_prefix.is_some() {
        return Err(usage("`--name`, `--branch` and `--key-prefix` are the running fleet's, not a choice"));
    }
    let controller = console.global.controller()?;
    let existing = if args.force { Existing::Replaced } else { Existing::Kept };
    let folder = vacant(&args.path, existing)?;
    let (devices, unmanaged) = exported(&controller)?;
    let baseline: Baseline = controller.get("/v1/baseline", "ask the controller what is assigned")?;
    if devices.is_empty() {
        return Err(anyhow!("the controller at {} lists no devices", controller.address()))
            .hint("name another one with `--server`");
    }
    let members = devices.iter().map(|one| (one.device.clone(), member(one))).collect();
    let written: BTreeMap<&StageName, Authored> =
        baseline.stages.iter().map(|policy| (&policy.name, author(&baseline.fleet, &members, &policy.name))).collect();
    let unsaid: BTreeSet<Unsaid> = written.values().flat_map(|authored| authored.unsaid.iter().cloned()).collect();
    if args.dry_run {
        let paths: BTreeSet<&String> = written.values().flat_map(|authored| authored.files.keys()).collect();
        console.print(paths.iter().map(|path| format!("{path}\n")).collect::<String>())?;
        left(&unsaid, console);
        return Ok(Outcome::Fine);
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // The most gated stage first: the others are ahead of it, as they are when somebody promotes.
    let branches: Vec<_> = baseline
        .stages
        .iter()
        .rev()
        .filter_map(|policy| Some((policy.name.clone(), &written.get(&policy.name)?.files)))
        .collect();
    let heads = found(&folder, &branches, MESSAGE, existing)
        .with_context(|| format!("cannot write a fleet repo to {}", folder.display()))?;

    let plans = proof(&folder, &heads, &devices, &baseline, controller.address())?;
    let is_empty = |planned: &Planned| planned.plan.changes.is_empty() && !has_broken(planned);
    let is_proven = plans.iter().all(|planned| is_empty(planned) && planned.desired.rejection().is_none());
    let views: Vec<PlanView> = plans.into_iter().map(PlanView::new).collect();
    match output {
        Output::Json | Output::Yaml => {
            let path = folder.display().to_string();
            let branches = heads.iter().map(|(stage, head)| (stage, &head.commit)).collect();
            let devices = devices.len();
            let view = RunningView { path, devices, branches, unsaid: &unsaid, unmanaged: &unmanaged, plans: views };
            console.data(&view, output)?;
        }
        Output::Table | Output::Wide | Output::Md => {
            let shown =
                views.iter().map(|view| render::plan::text(view, render::plan::Findings::Counted, console.width()));
            console.print(shown.collect::<Vec<_>>().join("\n"))?;
        }
    }
    left(&unsaid, console);
    if !unmanaged.is_empty() {
        let devices = names(&unmanaged, SHOWN);
        console.note(format!("not listed, and keep what they have: {devices}"));
    }
    let branches: Vec<String> = heads.keys().map(ToString::to_string).collect();
    let stages = branches.join(", ");
    console.note(format!(
        "{} written to {}, with the branches {stages}",
        count(devices.len(), "device"),
        folder.display()
    ));
    if is_proven {
        console.note(format!("{} its plans are empty: no device is told anything else", Tone::Good.paint("proven:")));
        console.note("a controller that is given this repo holds every stage once, because its history is another one; approve it");
        return Ok(Outcome::Fine);
    }
    console.note(format!("{} the repo would change the fleet; what differs is above", Tone::Bad.paint("not proven:")));
    Ok(Outcome::Failed)
}

/// The folder, which must hold nothing but perhaps an empty repository.
fn vacant(path: &Path, existing: Existing) -> anyhow::Result<std::path::PathBuf> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(path.to_owned()),
        Err(error) => return Err(anyhow::Error::new(error)).with_context(|| format!("cannot open {}", path.display())),
    };
    let mut names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    if existing == Existing::Kept && names.any(|name| name != ".git") {
        return Err(anyhow!("{} is not empty", path.display()))
            .hint("name a new folder, or add `--force` to replace the files in it that have the same names");
    }
    Ok(path.to_owned())
}

/// Every device, page by page.
fn exported(controller: &Controller) -> anyhow::Result<(Vec<ExportedDevice>, BTreeSet<DeviceId>)> {
    let (mut devices, mut unmanaged) = (Vec::new(), BTreeSet::new());
    let mut after: Option<DeviceId> = None;
    loop {
        let query = after.as_ref().map_or_else(String::new, |after| format!("?after={after}"));
        let page: ExportPage = controller.get(&format!("/v1/export{query}"), "ask the controller for its devices")?;
        devices.extend(page.devices);
        unmanaged.extend(page.unmanaged);
        match page.next {
            Some(next) if after.as_ref().is_none_or(|after| *after < next) => after = Some(next),
            Some(_) | None => return Ok((devices, unmanaged)),
        }
    }
}

fn member(exported: &ExportedDevice) -> Member {
    let ExportedDevice { device: _, stage, attributes, content } = exported;
    let spec = content.as_ref().map(|content| content.spec().spec.clone());
    Member { stage: stage.clone(), attributes: attributes.clone(), spec }
}

/// Plans every branch of the new repo against the controller, as the controller would.
fn proof(
    folder: &Path,
    heads: &BTreeMap<StageName, Head>,
    devices: &[ExportedDevice],
    baseline: &Baseline,
    address: &str,
) -> anyhow::Result<Vec<Planned>> {
    let specs = || devices.iter().filter_map(|one| Some(&*one.content.as_ref()?.spec().spec));
    let secrets = SecretTable::assigned(specs());
    let mut clone = open_clone(folder)?;
    let mut meant: BTreeMap<StageName, Arc<Desired>> = BTreeMap::new();
    for (stage, head) in heads {
        let files = clone.snapshot(&head.commit).with_context(|| format!("cannot read the branch {stage}"))?;
        let mut resolver = crate::threads::resolver().allowing(rights(specs()));
        meant.insert(stage.clone(), resolver.resolve_from(&files, &InventorySource::Repo, &secrets));
    }
    let contents: BTreeMap<&DeviceId, &Option<Content>> =
        devices.iter().map(|one| (&one.device, &one.content)).collect();
    let expected = |change: &PlannedChange| match contents.get(&change.device) {
        // What was never assigned comes for the first time from this repo as from the one before.
        Some(Some(Content::Wanted(spec))) => change.to == Some(spec.digest),
        // The files put it on hold.
        Some(None) => change.from.is_none(),
        Some(Some(Content::Assigned(_))) | None => false,
    };
    let planned = |policy: &crate::domain::plan::policy::StagePolicy| {
        let (head, desired) = (heads.get(&policy.name)?.clone(), meant.get(&policy.name)?.clone());
        let state = baseline.clone().into_state();
        let base = baseline.records.get(&policy.name).and_then(|record| record.counts());
        let commit = head.commit.clone();
        // How histories relate is no matter of content, and both are known to be strangers.
        let candidate = Candidate { head, inventory: None, desired: desired.clone(), base, lineage: Lineage::Extends };
        let input =
            PlanInput { policy, stages: &baseline.stages, state: &state, accepted: &meant, candidate: &candidate };
        let mut plan = plan_stage(&input);
        plan.changes.retain(|change| !expected(change));
        let against = Against::Controller { address: address.to_owned() };
        let (rev, onto, conflicts) = (policy.name.to_string(), None, Vec::new());
        Some(Planned {
            plan,
            commit,
            rev,
            onto,
            desired,
            against,
            state,
            conflicts,
            notes: Vec::new(),
            unknown: Vec::new(),
        })
    };
    Ok(baseline.stages.iter().filter_map(planned).collect())
}

/// Whether devices of the stage would keep what they have only because the files are wrong for them.
fn has_broken(planned: &Planned) -> bool {
    let is_broken = |device: &DeviceId| planned.desired.devices.get(device).is_some_and(|one| one.problem.is_some());
    planned.plan.excluded.keys().any(is_broken)
}

fn left(unsaid: &BTreeSet<Unsaid>, console: &Console) {
    for Unsaid { device, subject, reason } in unsaid.iter().take(SHOWN) {
        let device = device.as_ref().map_or_else(String::new, |device| format!("{device} "));
        console.note(format!("{} {device}{}: {}", Tone::Unsure.paint("not said:"), plain(subject), plain(reason)));
    }
    if unsaid.len() > SHOWN {
        console.note(format!("and {} more; `-o json` lists all", unsaid.len() - SHOWN));
    }
}
