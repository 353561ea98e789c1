//! `bellwether release list`: which releases there are, and which devices go by which.

use crate::cli::Output;
use crate::cli::console::{Console, Outcome};
use crate::cli::fault::with_hint;
use crate::cli::lists::{self, ListArgs};
use crate::cli::local;
use crate::cli::render::table::{Cell, Table, row};
use crate::cli::render::text::Tone;
use crate::domain::desired::Desired;
use crate::domain::ids::{AppName, Version};
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::release::{Release, ReleaseStatus, Reversibility};
use crate::threads;
use anyhow::anyhow;
use serde::Serialize;
use std::path::PathBuf;

/// Flags of `release list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether release list
  bellwether release list signage -o wide
  bellwether release list --rev production")]
pub struct Args {
    /// Only this app
    #[arg(value_name = "APP")]
    pub app: Option<AppName>,
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

/// One release, for programs.
#[derive(Debug, Serialize)]
pub struct ReleaseView {
    app: AppName,
    version: Version,
    /// `final`, `draft`, `invalidated` or `broken`.
    status: &'static str,
    /// Why it was invalidated.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    services: usize,
    /// How many devices of these files it is for; `null` if it is unknown which devices there are.
    devices: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    requires: Vec<String>,
    irreversible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
}

/// Runs `release list`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let local::Files { snapshot, origin } = local::files(&args.repo, args.rev.as_deref())?;
    let mut resolver = threads::resolver();
    let mut releases = resolver.releases(&snapshot);
    if let Some(app) = &args.app {
        if !releases.contains_key(app) {
            let near = nearest(app.as_str(), releases.keys().map(AppName::as_str));
            let hint =
                near.map_or("`bellwether release list` lists all".to_owned(), |near| format!("did you mean `{near}`?"));
            return Err(with_hint(anyhow!("{origin} has no releases of `{app}`"), hint));
        }
        releases.retain(|other, _| other == app);
    }
    let list = lists::find(&args.list, &mut resolver, &snapshot, Some(console))?;
    let desired = resolver.resolve_with(&snapshot, &list.source);
    let views: Vec<ReleaseView> =
        releases.values().flat_map(|all| all.iter().rev()).map(|release| view(release, &desired)).collect();
    if let Some(finding) = desired.rejection() {
        console.note(format!("note: for which devices they are is unknown: {}: {}", finding.place, finding.message));
    }
    match output {
        Output::Json | Output::Yaml => console.data(&views, output)?,
        Output::Md => console.print(table(&views, Columns::Few).markdown())?,
        Output::Wide => console.print(table(&views, Columns::All).text(console.width()))?,
        Output::Table => console.print(table(&views, Columns::Few).text(console.width()))?,
    }
    Ok(Outcome::Fine)
}

fn view(release: &Release, desired: &Desired) -> ReleaseView {
    let (status, reason) = status(release);
    let runs = |device: &&std::sync::Arc<crate::domain::desired::DesiredDevice>| {
        let spec = device.spec.as_ref().map(|sealed| &sealed.spec);
        spec.and_then(|spec| spec.apps.get(&release.app)).is_some_and(|app| app.release == release.version)
    };
    ReleaseView {
        app: release.app.clone(),
        version: release.version.clone(),
        status,
        reason,
        services: release.services.len(),
        devices: desired.rejection().is_none().then(|| desired.devices.values().filter(runs).count()),
        requires: requires(release),
        irreversible: release.reversibility == Reversibility::Irreversible,
        notes: release.notes.clone(),
    }
}

/// One word, and why.
pub(super) fn status(release: &Release) -> (&'static str, Option<String>) {
    match &release.status {
        _ if release.broken => ("broken", Some("`bellwether check` says why".to_owned())),
        ReleaseStatus::Final => ("final", None),
        ReleaseStatus::Draft => ("draft", None),
        ReleaseStatus::Invalidated { reason } => ("invalidated", Some(reason.clone())),
    }
}

/// What a release asks of a device, a few words each.
pub(super) fn requires(release: &Release) -> Vec<String> {
    use crate::domain::manifest::release::requires::Requirements;
    let Requirements { device_types, min_agent, os, from } = &*release.requires;
    let types: Vec<&str> = device_types.iter().map(|one| one.as_str()).collect();
    let from: Vec<String> = from.iter().map(|from| from.which.to_string()).collect();
    let all = [
        (!types.is_empty()).then(|| format!("type {}", types.join(" or "))),
        min_agent.as_ref().map(|least| format!("agent {least} or newer")),
        os.as_ref().map(|os| format!("OS {}", os.text)),
        (!from.is_empty()).then(|| format!("from {}", from.join(" or "))),
    ];
    all.into_iter().flatten().collect()
}

/// How much a table shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Columns {
    Few,
    All,
}

fn table(views: &[ReleaseView], columns: Columns) -> Table {
    let mut headers = vec!["APP", "VERSION", "STATUS", "DEVICES", "REQUIRES", "NOTES"];
    if columns == Columns::All {
        headers.extend(["SERVICES", "BACK"]);
    }
    let mut table = Table::new(&headers);
    for view in views {
        let (word, tone) = (view.status, tone(view.status));
        let notes = view.reason.as_deref().or(view.notes.as_deref().and_then(|notes| notes.lines().next()));
        let mut cells = row![
            &view.app,
            &view.version,
            Cell::new(word, tone),
            view.devices.map_or_else(|| Cell::new("unknown", Tone::Unsure), Cell::from),
            view.requires.join("; "),
            notes.unwrap_or_default()
        ];
        if columns == Columns::All {
            cells.extend(row![view.services, if view.irreversible { "no way back" } else { "" }]);
        }
        table.row(cells);
    }
    table
}

/// What a state means to whom reads it.
pub(super) fn tone(status: &str) -> Tone {
    match status {
        "final" => Tone::Good,
        "draft" => Tone::Unsure,
        _ => Tone::Bad,
    }
}
