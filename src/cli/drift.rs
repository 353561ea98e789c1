//! `bellwether drift`: where devices differ from what they were told. It only describes.

mod issue;
mod places;
mod suggest;

use super::console::{Console, ExitArgs, Outcome};
use super::editing::MrArgs;
use super::fault::{usage, with_hint};
use super::forge::ForgeArgs;
use super::lists::ListArgs;
use super::selecting::{FilterArgs, limited, note_doubts, select};
use super::{Form, Output, Report, render};
use crate::clock;
use crate::domain::drift::Verdict;
use crate::domain::ids::{DeviceId, StageName};
use crate::domain::overview::drift::{DriftReport, DriftTotals};
use crate::domain::plan::ownership::Standing;
use anyhow::anyhow;
use places::Written;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Flags of `drift`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Compares what is assigned with what devices report, in content and layer by layer. Reading it changes nothing. What is not \
known is `unknown`, never `in sync`.

Examples:
  bellwether drift
  bellwether drift kiosk-1 kiosk-2
  bellwether drift --filter 'tags.site == \"hk\"'
  bellwether drift --stage production --exit-code    3 if anything drifts, 4 if anything is unknown
  bellwether drift -o md >> \"$GITHUB_STEP_SUMMARY\"
  bellwether drift -o html > drift.html              one page that needs nothing beside it; also junit and sarif
  bellwether drift --issue --repository acme/fleet   one issue, opened and closed by itself
  bellwether drift kiosk-1 --suggest | git apply     let the repo say what was found
  bellwether drift kiosk-1 --suggest --mended        also what its agent has mended already")]
pub struct Args {
    /// Devices; all if none is named
    #[arg(value_name = "DEVICE")]
    pub devices: Vec<DeviceId>,
    /// Only devices that this stage owns
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<StageName>,
    /// Print the change of the fleet repo that would accept what was found, as a patch; writes nothing
    #[arg(long, conflicts_with = "exit_code")]
    pub suggest: bool,
    /// With `--suggest`: also what agents have found and mended since
    #[arg(long, requires = "suggest")]
    pub mended: bool,
    /// The folder of the fleet repo: `--suggest` is for it, and places in SARIF are in it
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub repo: PathBuf,
    /// Where the devices are listed, for `--suggest`.
    #[command(flatten)]
    pub list: ListArgs,
    /// Which devices.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Only devices that this host pattern selects by name and group, such as `web:&zurich:!web-7`
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Also keep one issue on the forge: open while anything drifts, and closed once all is known to be well
    #[arg(long, conflicts_with_all = ["suggest", "devices", "limit", "filter", "view"])]
    pub issue: bool,
    /// With `--suggest`: whether it goes to a merge request.
    #[command(flatten)]
    pub mr: MrArgs,
    /// Where the issue and the merge request are.
    #[command(flatten)]
    pub forge: ForgeArgs,
    /// What the exit code tells.
    #[command(flatten)]
    pub exit: ExitArgs,
}

/// Runs `drift`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let usual = [Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md];
    let form = match args.suggest {
        true => Form::Usual(console.output(&usual)?),
        false => console.form(&usual, &[Report::Html, Report::Junit, Report::Sarif])?,
    };
    if args.list.file.is_some() && !args.suggest {
        return Err(usage("`--inventory` is for `--suggest`: drift is told for the devices that the controller knows"));
    }
    let controller = console.global.controller()?;
    let mut report: DriftReport = controller.get("/v1/drift", "ask for the drift report")?;
    if let Some(stranger) = args.devices.iter().find(|device| !report.devices.contains_key(*device)) {
        return Err(with_hint(anyhow!("device {stranger} is not known"), "`bellwether devices` lists all"));
    }
    if !args.filter.is_empty() {
        let answer = select(&controller, args.filter.filter.as_deref(), args.filter.view.as_deref())?;
        note_doubts(console, &answer.slips, &answer.undetermined);
        let meant: BTreeSet<DeviceId> = answer.devices.into_iter().map(|one| one.row.device).collect();
        report.devices.retain(|device, _| meant.contains(device));
    }
    if let Some(limit) = &args.limit {
        let limited = limited(&controller, limit)?;
        report.devices.retain(|device, _| limited.contains(device));
    }
    let report = narrowed(report, args);
    if args.mr.mr && !args.suggest {
        return Err(usage("`--mr` is for `--suggest`"));
    }
    if args.issue {
        issue::run(&report, args.stage.as_ref(), &args.forge, console)?;
    }
    if let (true, Form::Usual(output)) = (args.suggest, form) {
        return suggest::run(&report, args, output, console);
    }
    match form {
        Form::Usual(Output::Table | Output::Wide) => console.print(render::drift::text(&report, console.width()))?,
        Form::Usual(Output::Md) => console.print(render::drift::markdown(&report, clock::now()))?,
        Form::Usual(output @ (Output::Json | Output::Yaml)) => console.data(&report, output)?,
        Form::Report(Report::Html) => console.print(render::report::drift_page(&report)?)?,
        Form::Report(Report::Junit) => console.print(render::report::drift_junit(&report)?)?,
        Form::Report(Report::Sarif | Report::Svg) => {
            let written = Written::beside(&args.repo);
            console.print(render::report::drift_sarif(&report, |device| written.place(device))?)?;
        }
    }
    Ok(args.exit.outcome(verdict(&report.totals)))
}

/// The report of the devices that were asked for, with their own sums.
fn narrowed(report: DriftReport, args: &Args) -> DriftReport {
    let DriftReport { at, totals: _, mut devices } = report;
    devices.retain(|device, one| {
        let named = args.devices.is_empty() || args.devices.contains(device);
        let owned = args.stage.as_ref().is_none_or(|stage| one.standing == Standing::Owned(stage.clone()));
        named && owned
    });
    let mut totals = DriftTotals::default();
    for one in devices.values() {
        match one.verdict {
            Verdict::InSync => totals.in_sync += 1,
            Verdict::Drifted => totals.drifted += 1,
            Verdict::Unknown => totals.unknown += 1,
        }
    }
    DriftReport { at, totals, devices }
}

fn verdict(totals: &DriftTotals) -> Verdict {
    match (totals.drifted, totals.unknown, totals.in_sync) {
        (1.., _, _) => Verdict::Drifted,
        (0, 1.., _) => Verdict::Unknown,
        // Nothing was compared, so nothing is known.
        (0, 0, 0) => Verdict::Unknown,
        (0, 0, 1..) => Verdict::InSync,
    }
}
