//! `bellwether devices`: devices, a line each.

use super::Output;
use super::console::{Console, Outcome};
use super::render::devices::{Columns, table};
use crate::clock;
use crate::domain::ids::StageName;
use crate::domain::overview::device::DeviceRow;
use crate::domain::plan::ownership::Standing;

/// Flags of `devices`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether devices
  bellwether devices --stage production -o wide")]
pub struct Args {
    /// Only devices that this stage owns
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<StageName>,
}

/// Runs `devices`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let mut rows: Vec<DeviceRow> = console.global.controller()?.get("/v1/devices", "list the devices")?;
    if let Some(stage) = &args.stage {
        rows.retain(|row| row.standing == Standing::Owned(stage.clone()));
    }
    if rows.is_empty() && !matches!(output, Output::Json | Output::Yaml) {
        console.note("no devices");
        return Ok(Outcome::Fine);
    }
    let now = clock::now();
    match output {
        Output::Json | Output::Yaml => console.data(&rows, output)?,
        Output::Table => console.print(table(&rows, Columns::Usual, now).text(console.width()))?,
        Output::Wide => console.print(table(&rows, Columns::All, now).text(None))?,
        Output::Md => console.print(table(&rows, Columns::Usual, now).markdown())?,
    }
    Ok(Outcome::Fine)
}
