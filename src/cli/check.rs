//! `bellwether check`: everything that is wrong with a fleet repo, before anybody merges it.

use super::console::{Console, Outcome};
use super::lists::{self, ListArgs};
use super::local;
use super::render::{findings, report, text::count};
use super::{Form, Output, Report};
use crate::domain::desired::{Branch, Desired};
use crate::domain::finding::{Affects, Finding, Severity};
use crate::domain::ids::{DeviceId, StageName};
use crate::domain::manifest::compose::{HostRights, Privileged};
use clap::ValueEnum;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Flags of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exits with 1 if there are errors; warnings alone do not count.

Examples:
  bellwether check                          the files in this folder, committed or not
  bellwether check fleet.git --rev main     a commit of a bare repository
  bellwether check --format github          annotations for a workflow on GitHub
  bellwether check -o sarif > check.sarif   results for a forge's code scanning")]
pub struct Args {
    /// The folder of the fleet repo, or a clone
    #[arg(value_name = "PATH", default_value = ".")]
    pub path: PathBuf,
    /// A commit instead of the files as they are on disk
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    /// Only what touches devices that this pattern selects, or the commit as a whole, such as `web:&zurich:!web-7`
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Where the devices are listed.
    #[command(flatten)]
    pub list: ListArgs,
    /// How findings are written
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Take a path of the host as allowed, with what is below it, as `host_paths` of a stage does in the controller's configuration
    #[arg(long, value_name = "PATH")]
    pub host_path: Vec<String>,
    /// Take `privileged` as allowed, as `privileged` of a stage does in the controller's configuration
    #[arg(long)]
    pub privileged: bool,
}

impl Args {
    fn rights(&self) -> HostRights {
        let privileged = if self.privileged { Privileged::Allowed } else { Privileged::Refused };
        HostRights { host_paths: self.host_path.iter().cloned().collect(), privileged }
    }
}

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, with the source line underlined.
    #[default]
    Text,
    /// As workflow commands that GitHub shows beside the lines.
    Github,
}

/// The answer for programs.
#[derive(Debug, Serialize)]
struct CheckView<'a> {
    origin: &'a str,
    devices: usize,
    stages: BTreeMap<StageName, usize>,
    findings: &'a [Finding],
}

/// Runs `check`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let form = console.form(&[Output::Table, Output::Json, Output::Yaml], &[Report::Sarif])?;
    let local::Files { snapshot, origin } = local::files(&args.path, args.rev.as_deref())?;
    let mut resolver = crate::threads::resolver().allowing(args.rights());
    let list = lists::find(&args.list, &mut resolver, &snapshot, Some(console))?;
    let mut desired = resolver.resolve_with(&snapshot, &list.source);
    let origin = if list.origin.is_empty() { origin } else { format!("{origin}, {}", list.origin) };
    if let Some(limit) = &args.limit {
        let selected = super::inventory::devices(&snapshot, list.bytes.as_ref(), limit)?;
        narrow(Arc::make_mut(&mut desired), &selected);
    }
    let stages = stages(&desired);
    let devices = desired.devices.len();
    match (args.format, form) {
        (Format::Github, _) => console.print(findings::github(&desired.findings, &prefix(args)))?,
        (Format::Text, Form::Report(_)) => {
            console.print(report::findings_sarif(&desired.findings, &prefix(args))?)?;
            let left = desired.findings.len().saturating_sub(report::MAX_RESULTS);
            if left > 0 {
                console.note(format!("{} more are left out, because forges take no more", count(left, "finding")));
            }
        }
        (Format::Text, Form::Usual(output @ (Output::Json | Output::Yaml))) => {
            let view = CheckView { origin: &origin, devices, stages: stages.clone(), findings: &desired.findings };
            console.data(&view, output)?;
        }
        (Format::Text, Form::Usual(Output::Table | Output::Wide | Output::Md)) => {
            console.print(findings::text(&desired.findings))?;
        }
    }
    let following: Vec<String> = stages.iter().map(|(stage, number)| format!("{stage} {number}")).collect();
    let following = if following.is_empty() { String::new() } else { format!(" ({})", following.join(", ")) };
    let summary = findings::summary(&desired.findings);
    console.note(format!("{}{following}, {summary} in {origin}", count(devices, "device")));
    let failed = desired.findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if failed { Outcome::Failed } else { Outcome::Fine })
}

/// Leaves only these devices, and what touches them or the commit as a whole.
fn narrow(desired: &mut Desired, selected: &BTreeSet<DeviceId>) {
    let kept = desired.devices.iter().filter(|(device, _)| selected.contains(*device));
    desired.devices = kept.map(|(device, desired)| (device.clone(), desired.clone())).collect();
    desired.findings.retain(|finding| match &finding.affects {
        Affects::Commit => true,
        Affects::Devices(devices) => !devices.is_disjoint(selected),
        Affects::Nothing => false,
    });
}

/// How many devices follow each stage.
fn stages(desired: &Desired) -> BTreeMap<StageName, usize> {
    let mut stages = BTreeMap::new();
    for device in desired.devices.values() {
        if let Branch::Stage(stage) = &device.branch {
            *stages.entry(stage.clone()).or_default() += 1;
        }
    }
    stages
}

/// The fleet repo's folder as workflows see it: paths of annotations are from the root of the checkout.
fn prefix(args: &Args) -> String {
    let path = args.path.to_string_lossy();
    let path = path.trim_start_matches("./").trim_end_matches('/');
    if args.rev.is_some() || matches!(path, "" | ".") || args.path.is_absolute() {
        return String::new();
    }
    format!("{path}/")
}
