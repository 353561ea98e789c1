//! `bellwether release invalidate`: a release turned out to be bad, written into the fleet repo.

use crate::cli::console::{Console, Outcome};
use crate::cli::editing::{EditArgs, WorkTree, edit_output};
use crate::cli::fault::usage;
use crate::domain::edits::release::{Mark, mark};
use crate::domain::edits::{Effect, effect};
use crate::domain::finding::codes;
use crate::domain::ids::{AppName, DeviceId, Version};
use crate::threads;
use std::collections::BTreeMap;

/// The longest reason, in bytes. People write a sentence and an address.
const MAX_REASON_BYTES: usize = 1000;

/// Flags of `release invalidate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Changes release.yml of the release and nothing else. Devices that track `latest` or a range go back to the newest good release; a \
device that is pinned to exactly this one keeps it, with a warning in `bellwether check`.

Examples:
  bellwether release invalidate signage 1.5.0 --reason 'eats the disk'
  bellwether release invalidate signage 1.5.0 --undo")]
pub struct Args {
    /// The app
    #[arg(value_name = "APP")]
    pub app: AppName,
    /// The version
    #[arg(value_name = "VERSION")]
    pub version: Version,
    /// Why, for everybody who wonders
    #[arg(long, value_name = "TEXT", required_unless_present = "undo")]
    pub reason: Option<String>,
    /// It is good after all
    #[arg(long, conflicts_with = "reason")]
    pub undo: bool,
    /// How files are changed.
    #[command(flatten)]
    pub edit: EditArgs,
}

/// Runs `release invalidate`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    edit_output(console)?;
    let Args { app, version, reason, undo: _, edit } = args;
    let becomes = match reason {
        Some(reason) if reason.trim().is_empty() || reason.len() > MAX_REASON_BYTES => {
            return Err(usage(format!("a reason has 1 to {MAX_REASON_BYTES} bytes")));
        }
        Some(reason) => Mark::Invalidated { reason: reason.clone() },
        None => Mark::Good,
    };
    let work = WorkTree::open(&edit.repo)?;
    let mut resolver = threads::resolver();
    let mut desk = work.desk(&edit.list, &mut resolver, console)?;
    work.proposed(mark(&mut desk, app, version, &becomes), console)?;
    // A bad release must be stopped even if nothing else fits some device: that device keeps what it has, and the check says so.
    let effect = effect(&desk, &mut resolver);
    let mut notes = moves(&effect, app, version);
    notes.extend(
        effect.errors.iter().map(|finding| format!("error from now on: {}: {}", finding.place, finding.message)),
    );
    let message = match becomes {
        Mark::Invalidated { .. } => format!("Invalidate {app} {version}"),
        Mark::Good => format!("Take back that {app} {version} is bad"),
    };
    work.finish(&desk, &notes, &message, edit, console)
}

/// Where devices go, and who stays on the bad release.
pub(super) fn moves(effect: &Effect, app: &AppName, version: &Version) -> Vec<String> {
    if let Some(finding) = effect.unknown() {
        return vec![format!("which devices change is unknown: {}: {}", finding.place, finding.message)];
    }
    let release = |device: &DeviceId, desired: &crate::domain::desired::Desired| -> Option<Version> {
        Some(desired.devices.get(device)?.spec.as_ref()?.spec.apps.get(app)?.release.clone())
    };
    let mut moved: BTreeMap<(Option<Version>, Option<Version>), Vec<&str>> = BTreeMap::new();
    for device in &effect.changed {
        let way = (release(device, &effect.before), release(device, &effect.after));
        moved.entry(way).or_default().push(device.as_str());
    }
    let show = |version: &Option<Version>| version.as_ref().map_or("nothing".to_owned(), ToString::to_string);
    let mut notes: Vec<String> = moved
        .iter()
        .map(|((before, after), devices)| format!("{}: {app} {} becomes {}", some(devices), show(before), show(after)))
        .collect();
    let pinned = effect.after.findings.iter().filter(|finding| finding.code == codes::INVALIDATED_RELEASE.name);
    let stays = |device: &&DeviceId| release(device, &effect.after).as_ref() == Some(version);
    let staying: Vec<&str> = effect.after.devices.keys().filter(stays).map(DeviceId::as_str).collect();
    if pinned.count() > 0 && !staying.is_empty() {
        notes.push(format!("{}: pinned to exactly {version}, which holds", some(&staying)));
    }
    if effect.changed.is_empty() {
        notes.push("no device changes".to_owned());
    }
    notes
}

/// A few names, or how many there are.
fn some(devices: &[&str]) -> String {
    /// More do not fit a line.
    const FEW: usize = 4;
    if devices.len() <= FEW { devices.join(", ") } else { format!("{} devices", devices.len()) }
}
