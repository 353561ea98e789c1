//! `bellwether pin`: which release of an app a device or a group shall run, written into the fleet repo.

use super::console::{Console, Outcome};
use super::editing::{EditArgs, WorkTree, edit_output};
use super::fault::{Hint as _, usage, with_hint};
use super::render::text::count;
use crate::domain::desired::{Desired, DesiredDevice};
use crate::domain::edits::{Becomes, Effect, Whose, Wish, judge, propose};
use crate::domain::ids::{AppName, DeviceId, Version};
use crate::threads;
use anyhow::anyhow;
use std::collections::BTreeMap;

/// Flags of `pin`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Changes the files of the fleet repo and nothing else: comments, order and quotes stay, the diff is shown before anything is \
written, and committing is up to you. The pin goes where the device or the group says it already, else into its own file.

Examples:
  bellwether pin kiosk-1 signage 1.4.2
  bellwether pin --group kiosks signage '^1.4'
  bellwether pin kiosk-1 signage --remove         back to what its groups say
  bellwether pin kiosk-1 signage latest --dry-run")]
pub struct Args {
    /// The device; with --group the app
    #[arg(value_name = "DEVICE")]
    pub first: String,
    /// The app; with --group the version
    #[arg(value_name = "APP")]
    pub second: Option<String>,
    /// A version, a range such as `^1.4`, or `latest`
    #[arg(value_name = "VERSION")]
    pub third: Option<String>,
    /// A group instead of a device
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Take the pin away
    #[arg(long)]
    pub remove: bool,
    /// How files are changed.
    #[command(flatten)]
    pub edit: EditArgs,
}

struct Asked {
    whose: Whose,
    app: AppName,
    version: Option<String>,
}

/// Runs `pin`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    edit_output(console)?;
    let Asked { whose, app, version } = asked(args)?;
    let work = WorkTree::open(&args.edit.repo)?;
    let mut resolver = threads::resolver();
    let mut desk = work.desk(&args.edit.list, &mut resolver, console)?;
    let becomes = version.clone().map_or(Becomes::Inherited, Becomes::Text);
    let wish = Wish { path: vec!["pins".to_owned(), app.to_string()], becomes };
    let mut notes = work.proposed(propose(&mut desk, &whose, &[wish]), console)?;
    let effect = judge(&desk, &mut resolver, |device, desired| concerns(&whose, device, desired))
        .hint("nothing was written; `bellwether release list` shows what can be pinned")?;
    if let (Whose::Device(device), Some(version)) = (&whose, &version) {
        comes_true(&effect, device, &app, version)?;
    }
    notes.extend(releases(&effect, &app, &whose));
    let message = match &version {
        Some(version) => format!("Pin {app} {version} on {whose}"),
        None => format!("Remove the pin of {app} on {whose}"),
    };
    work.finish(&desk, &notes, &message, &args.edit, console)
}

fn asked(args: &Args) -> anyhow::Result<Asked> {
    let Args { first, second, third, group, remove, edit: _ } = args;
    let (whose, app, version) = match group {
        Some(_) if third.is_some() => return Err(usage("with --group it is `pin --group GROUP APP VERSION`")),
        Some(group) => (Whose::Group(group.clone()), first, second.clone()),
        None => {
            let device = DeviceId::new(first).map_err(|error| usage(error.to_string()))?;
            let Some(app) = second else { return Err(usage("it is `pin DEVICE APP VERSION`")) };
            (Whose::Device(device), app, third.clone())
        }
    };
    let app = AppName::new(app).map_err(|error| usage(error.to_string()))?;
    match (version, remove) {
        (Some(version), false) => Ok(Asked { whose, app, version: Some(version) }),
        (None, true) => Ok(Asked { whose, app, version: None }),
        (Some(_), true) => Err(usage("name a version, or say `--remove`, not both")),
        (None, false) => Err(usage("name a version, or say `--remove`")),
    }
}

/// A pin on one release must be what the device then gets, or the file that was chosen is one that does not count.
fn comes_true(effect: &Effect, device: &DeviceId, app: &AppName, version: &str) -> anyhow::Result<()> {
    let spec = effect.after.devices.get(device).and_then(|listed| listed.spec.as_ref());
    let release = spec.and_then(|sealed| sealed.spec.apps.get(app)).map(|app| app.release.as_str());
    let exact = semver::Version::parse(version).is_ok();
    match spec {
        Some(_) if exact && release != Some(version) => {
            let got = release.unwrap_or("nothing");
            Err(with_hint(
                anyhow!("the pin would have no effect: {device} would still get {got}"),
                format!("`bellwether why {device} pins` shows what decides; nothing was written"),
            ))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a change of this device or group may reach a device.
pub fn concerns(whose: &Whose, device: &DeviceId, desired: &Desired) -> bool {
    match whose {
        Whose::Device(one) => one == device,
        Whose::Group(group) if group == "all" => true,
        Whose::Group(group) => desired.devices.get(device).is_some_and(|listed| listed.groups.contains(group)),
    }
}

/// Which releases devices go to, and who in a group does not follow it.
fn releases(effect: &Effect, app: &AppName, whose: &Whose) -> Vec<String> {
    let release =
        |device: &DesiredDevice| -> Option<Version> { Some(device.spec.as_ref()?.spec.apps.get(app)?.release.clone()) };
    let mut moves: BTreeMap<(Option<Version>, Option<Version>), Vec<&DeviceId>> = BTreeMap::new();
    for device in &effect.changed {
        let before = effect.before.devices.get(device).and_then(|one| release(one));
        let after = effect.after.devices.get(device).and_then(|one| release(one));
        moves.entry((before, after)).or_default().push(device);
    }
    let show = |version: &Option<Version>| version.as_ref().map_or("nothing".to_owned(), ToString::to_string);
    let mut notes: Vec<String> = moves
        .iter()
        .map(|((before, after), devices)| {
            let who = match devices.as_slice() {
                [one] => one.to_string(),
                several => count(several.len(), "device"),
            };
            if before == after {
                format!("{who}: {app} stays at {}", show(after))
            } else {
                format!("{who}: {app} {} becomes {}", show(before), show(after))
            }
        })
        .collect();
    let members = effect.after.devices.keys().filter(|device| concerns(whose, device, &effect.after));
    let others = members.filter(|device| !effect.changed.contains(*device)).count();
    if others > 0 && !effect.changed.is_empty() {
        notes.push(format!("{} stay as they are: something more specific decides there", count(others, "device")));
    }
    if effect.changed.is_empty() {
        notes.push("no device changes: they run it already, or something more specific decides".to_owned());
    }
    notes
}
