//! `bellwether devices`: devices, a line each.

use super::Output;
use super::console::{Console, Outcome};
use super::render::devices::{Columns, table, view};
use super::selecting::{FilterArgs, limited, note_doubts, select};
use crate::clock;
use crate::domain::ids::StageName;
use crate::domain::overview::device::DeviceRow;
use crate::domain::overview::query::ViewRow;
use crate::domain::plan::ownership::Standing;

/// Flags of `devices`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A filter is CEL over what the device says (`reported.kernel`), what operators say (`registry.rack`) and what Git says
(`tags.site`, `labels.x`, `groups`, `device`, `stage`, `device_type`). Views and dynamic groups are saved in fleet.yml.

Examples:
  bellwether devices
  bellwether devices --stage production -o wide
  bellwether devices --filter 'reported.arch == \"mips\" && \"kiosks\" in groups && tags.site.startsWith(\"hk\")'
  bellwether devices --filter 'in_group(\"co/cisco\") && !has(registry.rack)'
  bellwether devices --view by-site")]
pub struct Args {
    /// Only devices that this stage owns
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<StageName>,
    /// Which devices.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Only devices that this host pattern selects by name and group, such as `web:&zurich:!web-7`
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
}

/// Runs `devices`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let controller = console.global.controller()?;
    let owned =
        |row: &DeviceRow| args.stage.as_ref().is_none_or(|stage| row.standing == Standing::Owned(stage.clone()));
    let (mut rows, columns): (Vec<ViewRow>, Vec<String>) = if args.filter.is_empty() {
        let rows: Vec<DeviceRow> = controller.get("/v1/devices", "list the devices")?;
        (rows.into_iter().map(|row| ViewRow { row, values: Default::default() }).collect(), Vec::new())
    } else {
        let answer = select(&controller, args.filter.filter.as_deref(), args.filter.view.as_deref())?;
        note_doubts(console, &answer.slips, &answer.undetermined);
        (answer.devices, answer.columns)
    };
    rows.retain(|one| owned(&one.row));
    if let Some(limit) = &args.limit {
        let limited = limited(&controller, limit)?;
        rows.retain(|one| limited.contains(&one.row.device));
    }
    if rows.is_empty() && !matches!(output, Output::Json | Output::Yaml) {
        console.note("no devices");
        return Ok(Outcome::Fine);
    }
    if matches!(output, Output::Json | Output::Yaml) {
        console.data(&rows, output)?;
        return Ok(Outcome::Fine);
    }
    let shown = if columns.is_empty() {
        let rows: Vec<DeviceRow> = rows.into_iter().map(|one| one.row).collect();
        table(&rows, if output == Output::Wide { Columns::All } else { Columns::Usual }, clock::now())
    } else {
        view(&rows, &columns)
    };
    match output {
        Output::Md => console.print(shown.markdown())?,
        Output::Wide => console.print(shown.text(None))?,
        Output::Table | Output::Json | Output::Yaml => console.print(shown.text(console.width()))?,
    }
    Ok(Outcome::Fine)
}
