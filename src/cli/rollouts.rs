//! `bellwether rollouts`: all rollouts on one screen.

use super::Output;
use super::console::{Console, Outcome};
use super::render::rollouts::list;
use crate::clock;
use crate::domain::ids::StageName;
use crate::domain::overview::rollouts::RolloutRow;

/// Flags of `rollouts`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether rollouts
  bellwether rollouts --stage production")]
pub struct Args {
    /// Only rollouts of this stage
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<StageName>,
}

/// Runs `rollouts`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let mut found: Vec<RolloutRow> = console.global.controller()?.get("/v1/rollouts", "list the rollouts")?;
    found.retain(|row| args.stage.as_ref().is_none_or(|stage| *stage == row.stage));
    let table = list(&found, clock::now());
    match output {
        Output::Json | Output::Yaml => console.data(&found, output)?,
        Output::Md => console.print(table.markdown())?,
        Output::Table | Output::Wide if found.is_empty() => console.note("no rollouts"),
        Output::Table | Output::Wide => console.print(table.text(console.width()))?,
    }
    Ok(Outcome::Fine)
}
