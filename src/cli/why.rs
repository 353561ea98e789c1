//! `bellwether why`: where each value of a device comes from, and what the device waits for.

use super::Output;
use super::console::{Console, Outcome};
use super::fault::with_hint;
use super::lists::{self, ListArgs};
use super::local;
use super::remote::{Named, is_absent};
use super::render::table::{escaped, listed};
use super::render::text::{Tone, plain};
use super::render::{detail, why};
use crate::clock;
use crate::domain::desired::{Composed, Explained, Explanation};
use crate::domain::digest::Digest;
use crate::domain::fleet::RegistryAttribute;
use crate::domain::ids::{AttributeName, CommitId, DeviceId, StageName};
use crate::domain::manifest::near::nearest;
use crate::domain::overview::device::DeviceDetail;
use crate::domain::plan::ownership::Standing;
use crate::ports::repo::Repo as _;
use crate::protocol::v1::operator::WhyAnswer;
use anyhow::anyhow;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Flags of `why`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether why kiosk-1                          every value, and what the device waits for
  bellwether why kiosk-1 pins                     only this key and what is below it
  bellwether why kiosk-1 variables.GREETING       an environment variable, in whichever service has it
  bellwether why kiosk-1 motd                     a free variable, by Ansible's order
  bellwether why kiosk-1 --repo .                 from this work tree, without a controller
  bellwether why kiosk-1 --repo . --rev canary    from a commit of it
  bellwether why kiosk-1 image                    the image of each service, from the Compose file of its release
  bellwether why kiosk-1 os                       the OS image, and what the catalog says of it

Of what a Compose file says only `environment` can be overridden by variables; the rest is shown with its one place.")]
pub struct Args {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// A key such as `branch`, `pins.signage`, `services.web.variables.URL` or the name of a variable
    #[arg(value_name = "KEY")]
    pub key: Option<String>,
    /// Read this clone instead of asking a controller
    #[arg(long, value_name = "PATH")]
    pub repo: Option<PathBuf>,
    /// The commit of the clone [default: its work tree, or HEAD if it has none]
    #[arg(long, alias = "ref", value_name = "REV")]
    pub rev: Option<String>,
    /// Where the devices of the clone are listed.
    #[command(flatten)]
    pub list: ListArgs,
}

/// What is known of the reasons.
struct Known {
    /// What the controller knows of the device; `None` from a clone.
    device: Option<DeviceDetail>,
    /// Whose commit is explained.
    stage: Option<StageName>,
    commit: Option<CommitId>,
    inventory: Option<Digest>,
    explanation: Option<Explanation>,
}

/// The answer for programs.
#[derive(Serialize)]
struct WhyView<'a> {
    device: &'a DeviceId,
    /// The stage whose commit is explained.
    stage: Option<&'a StageName>,
    commit: Option<&'a CommitId>,
    /// SHA-256 of the list of devices; `null` where the commit lists them.
    inventory: Option<&'a Digest>,
    /// `null` where it is unknown.
    standing: Option<String>,
    /// `null` where it is unknown.
    waits: Option<&'a [crate::domain::plan::waits::Wait]>,
    groups: Option<&'a [String]>,
    problem: Option<&'a str>,
    values: Vec<&'a Explained>,
    /// What the device says of itself; `null` where it is unknown.
    reported: Option<&'a BTreeMap<String, String>>,
    /// What operators say of it; `null` where it is unknown.
    registry: Option<&'a BTreeMap<AttributeName, RegistryAttribute>>,
}

/// Runs `why`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let known = ask(args, console)?;
    let values = match (&known.explanation, &args.key) {
        (None, _) => Vec::new(),
        (Some(all), None) => all.values.iter().collect(),
        (Some(all), Some(key)) => selected(all, key)?,
    };
    match output {
        Output::Json | Output::Yaml => console.data(&view(args, &known, values), output)?,
        Output::Md => console.print(markdown(args, &known, &values))?,
        Output::Table | Output::Wide => console.print(text(args, &known, &values, console.width()))?,
    }
    Ok(Outcome::Fine)
}

fn view<'a>(args: &'a Args, known: &'a Known, values: Vec<&'a Explained>) -> WhyView<'a> {
    let Known { device, stage, commit, inventory, explanation } = known;
    WhyView {
        device: &args.device,
        stage: stage.as_ref(),
        commit: commit.as_ref(),
        inventory: inventory.as_ref(),
        standing: device.as_ref().map(|detail| detail.row.standing.to_string()),
        waits: device.as_ref().map(|detail| detail.waits.as_slice()),
        groups: explanation.as_ref().map(|all| all.groups.as_slice()),
        problem: explanation.as_ref().and_then(|all| all.problem.as_deref()),
        values,
        reported: device.as_ref().map(|detail| &detail.attributes),
        registry: device.as_ref().map(|detail| &detail.registry),
    }
}

fn selected<'a>(all: &'a Explanation, key: &str) -> anyhow::Result<Vec<&'a Explained>> {
    let found = all.selected(key);
    if !found.is_empty() {
        return Ok(found);
    }
    if let Some(Composed { app, version, file }) = all.composed(key) {
        let error = anyhow!("{} says nothing of {}, so what is usual holds", file, plain(key));
        return Err(with_hint(
            error,
            format!("`bellwether why {} {app}` shows what release {version} says", all.device),
        ));
    }
    let error = anyhow!("device {} has no value for {}", all.device, plain(key));
    Err(match all.near(key) {
        Some(near) => with_hint(error, format!("did you mean `{}`?", plain(&near))),
        None => with_hint(error, format!("`bellwether why {}` shows every key", all.device)),
    })
}

fn ask(args: &Args, console: &Console) -> anyhow::Result<Known> {
    if args.repo.is_some() || args.rev.is_some() || args.list.file.is_some() {
        return from_clone(args, Some(console));
    }
    let path = format!("/v1/devices/{}/why", args.device);
    match console.global.controller()?.get::<WhyAnswer>(&path, &format!("explain device {}", args.device)) {
        Ok(WhyAnswer { device, stage, commit, inventory, explanation }) => {
            Ok(Known { device: Some(device), stage, commit, inventory, explanation })
        }
        // Nobody asked for a controller, and none is there.
        Err(error) if console.global.named() == Named::ByDefault && is_absent(&error) => {
            let Ok(known) = from_clone(args, Some(console)) else { return Err(error) };
            console.note("note: no controller answers; this is from the clone in this folder");
            Ok(known)
        }
        Err(error) => Err(error),
    }
}

fn from_clone(args: &Args, console: Option<&Console>) -> anyhow::Result<Known> {
    let path = args.repo.as_deref().unwrap_or(Path::new("."));
    let mut clone = local::open(path)?;
    let local::Files { snapshot, origin } = local::files(path, args.rev.as_deref())?;
    let mut resolver = crate::threads::resolver();
    let list = lists::find(&args.list, &mut resolver, &snapshot, console)?;
    let Some(explanation) = resolver.explain_with(&snapshot, &list.source, &args.device) else {
        let desired = resolver.resolve_with(&snapshot, &list.source);
        if let Some(finding) = desired.rejection() {
            return Err(anyhow!("{}", finding.message));
        }
        let near = nearest(args.device.as_str(), desired.devices.keys().map(DeviceId::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name another commit with `--rev`".to_owned(),
        };
        return Err(with_hint(anyhow!("device {} is not in the inventory of {origin}", args.device), hint));
    };
    // A repository without any commit has only its work tree.
    let head = match (&args.rev, clone.resolve_rev(args.rev.as_deref().unwrap_or("HEAD"))) {
        (Some(_), head) => Some(head?),
        (None, head) => head.ok(),
    };
    let Some(head) = head else {
        let (commit, inventory) = (None, list.digest);
        return Ok(Known { device: None, stage: None, commit, inventory, explanation: Some(explanation) });
    };
    let changes = clone.last_changes(&head, &snapshot, &explanation.lines())?;
    let explanation = explanation.with_changes(&changes);
    Ok(Known { device: None, stage: None, commit: Some(head), inventory: list.digest, explanation: Some(explanation) })
}

/// `device kiosk-1, production, commit 1a2b3c4d`.
fn title(args: &Args, known: &Known) -> String {
    let mut text = args.device.to_string();
    if let Some(detail) = &known.device {
        text.push_str(&format!(", {}", detail.row.standing));
    }
    if let Some(commit) = &known.commit {
        text.push_str(&format!(", commit {}", commit.short()));
    }
    if let Some(inventory) = &known.inventory {
        text.push_str(&format!(", inventory {}", inventory.short()));
    }
    match (&known.device, &known.stage) {
        (Some(detail), Some(stage)) if detail.row.standing != Standing::Owned(stage.clone()) => {
            text.push_str(&format!(" of {stage}, which lists the device and does not claim it"));
        }
        _ => {}
    }
    text
}

fn text(args: &Args, known: &Known, values: &[&Explained], width: Option<u16>) -> String {
    let Known { device, explanation, .. } = known;
    let mut text = format!("{} {}\n", Tone::Strong.paint("device"), title(args, known));
    match explanation {
        Some(explanation) => {
            text.push_str(&why::head(explanation));
            text.push_str(&format!("\n{}", why::table(values).text(width)));
        }
        None => text.push_str(&format!(
            "{}: no stage lists it, or its commit cannot be read now\n",
            Tone::Unsure.paint("where its values come from is unknown")
        )),
    }
    // A question about one key is not one about waiting.
    if args.key.is_some() {
        return text;
    }
    let attributes =
        device.as_ref().map(|detail| why::attributes(detail, clock::now())).filter(|table| !table.is_empty());
    if let Some(attributes) = attributes {
        text.push_str(&format!("\n{}", attributes.text(width)));
    }
    match device {
        None => text
            .push_str(&format!("\n{}: only a controller knows\n", Tone::Unsure.paint("what it waits for is unknown"))),
        Some(known) if known.waits.is_empty() => text.push_str("\nwaits for nothing\n"),
        Some(known) => {
            let waits = detail::waits(&known.waits, clock::now());
            text.push_str(&format!("\n{}\n{waits}", Tone::Strong.paint("waits for")));
        }
    }
    text
}

fn markdown(args: &Args, known: &Known, values: &[&Explained]) -> String {
    let Known { device, explanation, .. } = known;
    let mut text = format!("## Device {}\n\n", escaped(&title(args, known)));
    match explanation {
        Some(explanation) => {
            let head = listed(&why::head(explanation));
            let gap = if head.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{head}{gap}{}", why::table(values).markdown()));
        }
        None => text
            .push_str("Where its values come from is unknown: no stage lists it, or its commit cannot be read now.\n"),
    }
    if args.key.is_some() {
        return text;
    }
    let attributes =
        device.as_ref().map(|detail| why::attributes(detail, clock::now())).filter(|table| !table.is_empty());
    if let Some(attributes) = attributes {
        text.push_str(&format!("\n{}", attributes.markdown()));
    }
    match device {
        None => text.push_str("\nWhat it waits for is unknown: only a controller knows.\n"),
        Some(known) if known.waits.is_empty() => text.push_str("\nIt waits for nothing.\n"),
        Some(known) => {
            text.push_str(&format!("\n### Waits for\n\n{}", detail::waits_markdown(&known.waits, clock::now())));
        }
    }
    text
}

#[cfg(test)]
mod tests;
