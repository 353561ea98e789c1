//! `bellwether why`: where each value of a device comes from, and what the device waits for.

use super::Output;
use super::console::{Console, Outcome};
use super::fault::with_hint;
use super::local;
use super::remote::{Named, is_absent};
use super::render::text::{Tone, plain};
use super::render::{detail, why};
use crate::domain::desired::{Explained, Explanation};
use crate::domain::ids::{CommitId, DeviceId};
use crate::domain::overview::device::DeviceDetail;
use crate::protocol::v1::operator::WhyAnswer;
use anyhow::anyhow;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Flags of `why`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether why kiosk-1                          every value, and what the device waits for
  bellwether why kiosk-1 pins                     only this key and what is below it
  bellwether why kiosk-1 GREETING                 an environment variable, wherever it is set
  bellwether why kiosk-1 --repo . --rev canary    from a clone, without a controller")]
pub struct Args {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// A key such as `branch`, `pins.signage` or the name of a variable
    #[arg(value_name = "KEY")]
    pub key: Option<String>,
    /// Read this clone instead of asking a controller
    #[arg(long, value_name = "PATH")]
    pub repo: Option<PathBuf>,
    /// The commit of the clone [default: HEAD]
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
}

/// What is known of the reasons.
struct Known {
    /// What the controller knows of the device; `None` from a clone.
    device: Option<DeviceDetail>,
    commit: Option<CommitId>,
    explanation: Option<Explanation>,
}

/// The answer for programs.
#[derive(Serialize)]
struct WhyView<'a> {
    device: &'a DeviceId,
    commit: Option<&'a CommitId>,
    /// `null` where it is unknown.
    standing: Option<String>,
    /// `null` where it is unknown.
    waits: Option<&'a [crate::domain::plan::waits::Wait]>,
    groups: Option<&'a [String]>,
    problem: Option<&'a str>,
    values: Vec<&'a Explained>,
}

/// Runs `why`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let known = ask(args, console)?;
    let Known { device, commit, explanation } = &known;
    let values = explanation.as_ref().map(|all| why::matching(all, args.key.as_deref())).unwrap_or_default();
    if let (Some(key), Some(_), true) = (&args.key, explanation, values.is_empty()) {
        let error = anyhow!("device {} has no value for {}", args.device, plain(key));
        return Err(with_hint(error, format!("`bellwether why {}` shows every key", args.device)));
    }
    match output {
        Output::Json | Output::Yaml => console.data(
            &WhyView {
                device: &args.device,
                commit: commit.as_ref(),
                standing: device.as_ref().map(|detail| detail.row.standing.to_string()),
                waits: device.as_ref().map(|detail| detail.waits.as_slice()),
                groups: explanation.as_ref().map(|all| all.groups.as_slice()),
                problem: explanation.as_ref().and_then(|all| all.problem.as_deref()),
                values,
            },
            output,
        )?,
        Output::Md => console.print(why::table(&values).markdown())?,
        Output::Table | Output::Wide => console.print(text(args, &known, &values, console.width()))?,
    }
    Ok(Outcome::Fine)
}

fn ask(args: &Args, console: &Console) -> anyhow::Result<Known> {
    if args.repo.is_some() || args.rev.is_some() {
        return from_clone(args);
    }
    let path = format!("/v1/devices/{}/why", args.device);
    match console.global.controller()?.get::<WhyAnswer>(&path, &format!("explain device {}", args.device)) {
        Ok(WhyAnswer { device, commit, explanation }) => Ok(Known { device: Some(device), commit, explanation }),
        // Nobody asked for a controller, and none is there.
        Err(error) if console.global.named() == Named::ByDefault && is_absent(&error) => {
            let Ok(known) = from_clone(args) else { return Err(error) };
            console.note("note: no controller answers; this is from the clone in this folder");
            Ok(known)
        }
        Err(error) => Err(error),
    }
}

fn from_clone(args: &Args) -> anyhow::Result<Known> {
    let mut clone = local::open(args.repo.as_deref().unwrap_or(Path::new(".")))?;
    let commit = local::commit(&mut clone, args.rev.as_deref().unwrap_or("HEAD"))?;
    let Some(explanation) = crate::threads::resolver().explain(&commit.files, &args.device) else {
        let (short, rev) = (commit.head.commit.short(), &commit.rev);
        let error = anyhow!("device {} is not in the inventory of commit {short} ({rev})", args.device);
        return Err(with_hint(error, "name another commit with `--rev`"));
    };
    Ok(Known { device: None, commit: Some(commit.head.commit), explanation: Some(explanation) })
}

fn text(args: &Args, known: &Known, values: &[&Explained], width: Option<u16>) -> String {
    let Known { device, commit, explanation } = known;
    let mut text = format!("{} {}", Tone::Strong.paint("device"), args.device);
    if let Some(detail) = device {
        text.push_str(&format!(", {}", detail.row.standing));
    }
    if let Some(commit) = commit {
        text.push_str(&format!(", commit {}", commit.short()));
    }
    text.push('\n');
    match explanation {
        Some(explanation) => {
            text.push_str(&why::head(explanation));
            text.push_str(&format!("\n{}", why::table(values).text(width)));
        }
        None => text.push_str(&format!(
            "{}: no stage owns it, or its commit cannot be read now\n",
            Tone::Unsure.paint("where its values come from is unknown")
        )),
    }
    // A question about one key is not one about waiting.
    if args.key.is_some() {
        return text;
    }
    match device {
        None => text
            .push_str(&format!("\n{}: only a controller knows\n", Tone::Unsure.paint("what it waits for is unknown"))),
        Some(known) if known.waits.is_empty() => text.push_str("\nwaits for nothing\n"),
        Some(known) => {
            text.push_str(&format!("\n{}\n{}", Tone::Strong.paint("waits for"), detail::waits(&known.waits)));
        }
    }
    text
}
