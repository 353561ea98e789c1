//! `bellwether release show`: one release, and the devices that it is for.

use super::list::{requires, status, tone};
use crate::cli::Output;
use crate::cli::console::{Console, Outcome};
use crate::cli::fault::with_hint;
use crate::cli::lists::{self, FoundList, ListArgs};
use crate::cli::local;
use crate::cli::remote::Named;
use crate::cli::render::table::{Cell, Table, row};
use crate::cli::render::text::{Tone, plain};
use crate::domain::desired::{Branch, Desired, InventorySource, Resolver};
use crate::domain::ids::{AppName, DeviceId, ServiceName, StageName, Version};
use crate::domain::manifest::listed_by::ListedBy;
use crate::domain::manifest::release::{Release, Reversibility};
use crate::domain::overview::baseline::Baseline;
use crate::git::open_clone;
use crate::threads;
use anyhow::anyhow;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// How many devices a line of the table names.
const MAX_NAMED: usize = 8;

/// Flags of `release show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Which devices it is for is read from each stage's branch where the clone has it, else from the same files. With a controller it \
also shows which devices were assigned it.

Examples:
  bellwether release show signage 1.4.2
  bellwether release show signage 1.4.2 --server unix:/run/bellwether/socket -o json")]
pub struct Args {
    /// The app
    #[arg(value_name = "APP")]
    pub app: AppName,
    /// The version
    #[arg(value_name = "VERSION")]
    pub version: Version,
    /// The folder of the fleet repo, or a clone
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub repo: PathBuf,
    /// A commit instead of the files as they are on disk
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    /// Where the devices are listed.
    #[command(flatten)]
    pub list: ListArgs,
}

/// The answer for programs.
#[derive(Debug, Serialize)]
struct ShowView {
    app: AppName,
    version: Version,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    requires: Vec<String>,
    irreversible: bool,
    /// Image by service.
    services: BTreeMap<ServiceName, String>,
    /// Devices that the repo wants to run it, by stage; `null` where it is unknown which devices there are.
    wanted: Option<Wanted>,
    /// Devices that were told to run it, by stage; `null` where no controller was asked.
    assigned: Option<BTreeMap<StageName, BTreeSet<DeviceId>>>,
}

/// Devices by stage; `None` for a stage whose branch says nothing that counts.
type Wanted = BTreeMap<StageName, Option<BTreeSet<DeviceId>>>;

/// Runs `release show`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Json, Output::Yaml])?;
    let Args { app, version, repo, rev, list } = args;
    let local::Files { snapshot, origin } = local::files(repo, rev.as_deref())?;
    let mut resolver = threads::resolver();
    let releases = resolver.releases(&snapshot).remove(app).unwrap_or_default();
    let Some(release) = releases.iter().find(|release| release.version == *version) else {
        let names: Vec<&str> = releases.iter().rev().map(|release| release.version.as_str()).take(MAX_NAMED).collect();
        let hint = match names.as_slice() {
            [] => "`bellwether release list` lists all".to_owned(),
            names => format!("its releases: {}", names.join(", ")),
        };
        return Err(with_hint(anyhow!("{origin} has no release {version} of `{app}`"), hint));
    };
    let list = lists::find(list, &mut resolver, &snapshot, Some(console))?;
    let here = resolver.resolve_with(&snapshot, &list.source);
    let wanted = wanted(args, &here, &list, &mut resolver, console);
    let view = view(release, wanted, assigned(args, console)?);
    match output {
        Output::Json | Output::Yaml => console.data(&view, output)?,
        Output::Table | Output::Wide | Output::Md => console.print(text(&view, console.width()))?,
    }
    Ok(Outcome::Fine)
}

fn view(
    release: &Release,
    wanted: Option<Wanted>,
    assigned: Option<BTreeMap<StageName, BTreeSet<DeviceId>>>,
) -> ShowView {
    let (status, reason) = status(release);
    ShowView {
        app: release.app.clone(),
        version: release.version.clone(),
        status,
        reason,
        notes: release.notes.clone(),
        tags: release.tags.clone(),
        requires: requires(release),
        irreversible: release.reversibility == Reversibility::Irreversible,
        services: release.services.iter().map(|(name, service)| (name.clone(), service.spec.image.clone())).collect(),
        wanted,
        assigned,
    }
}

/// Who shall run it as far as these files and the stages' branches tell; `None` if these do not even tell which devices there are.
fn wanted(
    args: &Args,
    here: &Arc<Desired>,
    list: &FoundList,
    resolver: &mut Resolver,
    console: &Console,
) -> Option<Wanted> {
    let unknown = |what: &str, desired: &Desired| {
        let finding = desired.rejection()?;
        console.note(format!("note: {what} is unknown: {}: {}", finding.place, finding.message));
        Some(())
    };
    if unknown("which devices there are", here).is_some() {
        return None;
    }
    let mut wanted = Wanted::new();
    for stage in stages(here) {
        let desired = of_branch(args, &stage, list, resolver).unwrap_or_else(|| here.clone());
        if unknown(&format!("what the branch {stage} wants"), &desired).is_some() {
            wanted.insert(stage, None);
            continue;
        }
        let devices = runs(&desired, &stage, &args.app, &args.version);
        if !devices.is_empty() {
            wanted.insert(stage, Some(devices));
        }
    }
    Some(wanted)
}

fn stages(desired: &Desired) -> BTreeSet<StageName> {
    let stage = |branch: &Branch| match branch {
        Branch::Stage(stage) => Some(stage.clone()),
        Branch::FromDevice { .. } | Branch::Unset | Branch::Unknown => None,
    };
    desired.devices.values().filter_map(|device| stage(&device.branch)).collect()
}

/// What the stage's own branch means, where a clone has it and no revision was named. A branch that lists no devices itself is read
/// with the same list.
fn of_branch(args: &Args, stage: &StageName, list: &FoundList, resolver: &mut Resolver) -> Option<Arc<Desired>> {
    if args.rev.is_some() {
        return None;
    }
    let mut clone = open_clone(&args.repo).ok()?;
    let branch = [format!("refs/heads/{stage}"), format!("refs/remotes/origin/{stage}")]
        .into_iter()
        .find(|branch| clone.resolve_rev(branch).is_ok())?;
    let commit = local::commit(&mut clone, &branch).ok()?;
    let source = match resolver.fleet(&commit.files).listed_by {
        ListedBy::Commit => &InventorySource::Repo,
        ListedBy::Registry(_) | ListedBy::Http(_) => &list.source,
    };
    Some(resolver.resolve_with(&commit.files, source))
}

fn runs(desired: &Desired, stage: &StageName, app: &AppName, version: &Version) -> BTreeSet<DeviceId> {
    let is_for = |device: &crate::domain::desired::DesiredDevice| {
        let spec = device.spec.as_ref().map(|sealed| &sealed.spec);
        device.branch == Branch::Stage(stage.clone())
            && spec.and_then(|spec| spec.apps.get(app)).is_some_and(|app| app.release == *version)
    };
    desired.devices.iter().filter(|(_, device)| is_for(device)).map(|(name, _)| name.clone()).collect()
}

/// Who was told to run it, if a controller was named or answers.
fn assigned(args: &Args, console: &Console) -> anyhow::Result<Option<BTreeMap<StageName, BTreeSet<DeviceId>>>> {
    let answer = console.global.controller()?.get::<Baseline>("/v1/baseline", "ask what is assigned");
    let baseline = match answer {
        Ok(baseline) => baseline,
        Err(error) if console.global.named() == Named::Explicitly => return Err(error),
        Err(_) => return Ok(None),
    };
    let mut assigned: BTreeMap<StageName, BTreeSet<DeviceId>> = BTreeMap::new();
    for one in &baseline.assignments {
        if one.spec.spec.apps.get(&args.app).is_some_and(|app| app.release == args.version) {
            assigned.entry(one.stage.clone()).or_default().insert(one.device.clone());
        }
    }
    Ok(Some(assigned))
}

fn text(view: &ShowView, width: Option<u16>) -> String {
    let mut facts = Table::default();
    facts.fact("status", Cell::new(view.status, tone(view.status)));
    let texts = [("reason", &view.reason), ("notes", &view.notes)];
    for (name, text) in texts {
        text.iter().flat_map(|text| text.lines()).for_each(|line| facts.fact(name, Cell::from(line)));
    }
    view.tags.iter().for_each(|(key, value)| facts.fact("tag", Cell::from(format!("{key}={value}"))));
    view.requires.iter().for_each(|one| facts.fact("requires", Cell::from(one)));
    if view.irreversible {
        facts.fact("way back", Cell::new("none", Tone::Unsure));
    }
    for (stage, devices) in view.wanted.iter().flatten() {
        facts.fact(
            "wanted",
            match devices {
                Some(devices) => Cell::from(format!("{stage}: {}", names(devices))),
                None => Cell::new(format!("{stage}: unknown"), Tone::Unsure),
            },
        );
    }
    match &view.wanted {
        Some(wanted) if wanted.is_empty() => facts.fact("wanted", Cell::from("by no device")),
        Some(_) => {}
        None => facts.fact("wanted", Cell::new("unknown: the devices are not known", Tone::Unsure)),
    }
    for (stage, devices) in view.assigned.iter().flatten() {
        facts.fact("assigned", Cell::from(format!("{stage}: {}", names(devices))));
    }
    if view.assigned.is_none() {
        facts.fact("assigned", Cell::new("unknown: no controller answers", Tone::Quiet));
    }
    let mut services = Table::new(&["SERVICE", "IMAGE"]);
    view.services.iter().for_each(|(name, image)| services.row(row![name, image]));
    let title = format!("{} {}", plain(view.app.as_str()), plain(view.version.as_str()));
    format!("{}\n{}\n{}", Tone::Strong.paint(title), facts.text(width), services.text(width))
}

fn names(devices: &BTreeSet<DeviceId>) -> String {
    let few: Vec<&str> = devices.iter().take(MAX_NAMED).map(DeviceId::as_str).collect();
    match devices.len().checked_sub(MAX_NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", few.join(", ")),
        Some(0) | None => few.join(", "),
    }
}
