//! `bellwether diff`: the content of devices before and after a commit, line by line.

use super::console::{Console, ExitArgs, Outcome};
use super::fault::with_hint;
use super::planning::{self, PlanArgs, Planned};
use super::{Output, render};
use crate::domain::digest::Digest;
use crate::domain::drift::Verdict;
use crate::domain::ids::DeviceId;
use anyhow::anyhow;
use serde::Serialize;
use std::collections::BTreeSet;

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether diff kiosk-1                          what the checked-out commit changes on one device
  bellwether diff --stage production --rev main    on every device of a stage")]
pub struct Args {
    /// Devices; all that change if none is named
    #[arg(value_name = "DEVICE")]
    pub devices: Vec<DeviceId>,
    /// What is compared.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// What the exit code tells.
    #[command(flatten)]
    pub exit: ExitArgs,
}

/// What differs on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct DeviceDiff {
    device: DeviceId,
    from: Option<Digest>,
    to: Option<Digest>,
    /// The unified diff of the specs as JSON.
    diff: String,
}

/// Runs `diff`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Json, Output::Yaml, Output::Md])?;
    let planned = planning::plan(&args.plan, console)?;
    for line in planned.notes.iter().chain(&planned.unknown) {
        console.note(format!("note: {line}"));
    }
    if let Some(finding) = planned.desired.rejection() {
        let error = anyhow!("the commit cannot be accepted: {}: {}", finding.place, finding.message);
        return Err(with_hint(error, "see `bellwether check`"));
    }
    let mut unknown = !planned.unknown.is_empty();
    let mut diffs = Vec::new();
    for device in devices(args, &planned)? {
        if !planned.desired.devices.contains_key(&device) {
            console.note(format!("note: {device} is not in the inventory of this commit; it keeps what it has"));
            continue;
        }
        if let Some(problem) = problem(&planned, &device) {
            console.note(format!("unknown: {device}: {problem}"));
            unknown = true;
            continue;
        }
        let diff = device_diff(&planned, device);
        if !diff.diff.is_empty() {
            diffs.push(diff);
        }
    }
    match output {
        Output::Json | Output::Yaml => {
            for diff in &mut diffs {
                diff.diff = anstream::adapter::strip_str(&diff.diff).to_string();
            }
            console.data(&diffs, output)?;
        }
        Output::Md => {
            let bodies = diffs.iter().map(|one| anstream::adapter::strip_str(&one.diff).to_string());
            console.print(bodies.map(|body| format!("```diff\n{body}```\n\n")).collect::<String>())?;
        }
        Output::Table | Output::Wide => {
            console.print(diffs.iter().map(|one| one.diff.as_str()).collect::<String>())?;
        }
    }
    let verdict = match (diffs.is_empty(), unknown) {
        (false, _) => Verdict::Drifted,
        (true, true) => Verdict::Unknown,
        (true, false) => Verdict::InSync,
    };
    Ok(args.exit.outcome(verdict))
}

/// The devices that were named, or all that the plan changes or leaves out.
fn devices(args: &Args, planned: &Planned) -> anyhow::Result<BTreeSet<DeviceId>> {
    let known =
        |device: &DeviceId| planned.desired.devices.contains_key(device) || planned.state.devices.contains_key(device);
    if let Some(stranger) = args.devices.iter().find(|device| !known(device)) {
        let error = anyhow!("device {stranger} is neither in the inventory of this commit nor known before it");
        return Err(with_hint(error, "`bellwether check` counts what the inventory lists"));
    }
    if !args.devices.is_empty() {
        return Ok(args.devices.iter().cloned().collect());
    }
    let changing = planned.plan.changes.iter().filter(|change| change.to.is_some()).map(|change| &change.device);
    Ok(changing.chain(planned.plan.excluded.keys()).cloned().collect())
}

/// Why the commit's content for a device cannot be known.
fn problem(planned: &Planned, device: &DeviceId) -> Option<String> {
    let listed = planned.desired.devices.get(device)?;
    let unknown = || "its files have findings, see `bellwether check`".to_owned();
    listed.spec.is_none().then(|| listed.problem.clone().unwrap_or_else(unknown))
}

fn device_diff(planned: &Planned, device: DeviceId) -> DeviceDiff {
    let (before, after) = (planned.assigned(&device), planned.wanted(&device));
    let name = |side: &str, digest: Option<Digest>| match digest {
        Some(digest) => format!("{device} {side} {}", digest.short()),
        None => format!("{device} {side} nothing"),
    };
    let (from, to) = (before.map(|spec| spec.digest), after.map(|spec| spec.digest));
    let (old, new) = (render::udiff::pretty(before), render::udiff::pretty(after));
    let diff = render::udiff::unified(&old, &new, &name("assigned", from), &name("desired", to));
    DeviceDiff { device, from, to, diff }
}
