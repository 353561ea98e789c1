//! `bellwether status`: the fleet on one screen.

use super::console::{Console, Outcome};
use super::selecting::{FilterArgs, note_doubts};
use super::{Output, render};
use crate::protocol::v1::operator::StatusAnswer;

/// Flags of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether status
  bellwether status -o wide    with the findings of each stage's newest commit
  bellwether status --filter 'tags.site == \"hk\"'")]
pub struct Args {
    /// Which devices are counted.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Runs `status`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let answer: StatusAnswer =
        console.global.controller()?.get(&format!("/v1/status{}", args.filter.query()), "ask for the status")?;
    if let Some(selected) = &answer.selected {
        note_doubts(console, &selected.slips, &selected.undetermined);
    }
    match output {
        Output::Json | Output::Yaml => console.data(&answer, output)?,
        Output::Table => console.print(render::status::text(&answer, console.width()))?,
        Output::Md => console.print(render::status::markdown(&answer))?,
        Output::Wide => {
            console.print(render::status::text(&answer, console.width()))?;
            console.print(render::status::findings_of(&answer.status))?;
        }
    }
    Ok(Outcome::Fine)
}
