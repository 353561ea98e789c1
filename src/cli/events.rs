//! `bellwether events`: what happened, and who did it.

use super::Output;
use super::console::{Console, Outcome};
use super::remote::encoded;
use super::render::devices::events;
use crate::clock;
use crate::domain::fleet::Event;
use crate::protocol::v1::operator::MAX_EVENTS_ANSWER;

/// Flags of `events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether events
  bellwether events kiosk-1 --limit 20")]
pub struct Args {
    /// Only what is about this device, stage or token
    #[arg(value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// How many, the newest first
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=MAX_EVENTS_ANSWER as i64))]
    pub limit: u16,
}

/// Runs `events`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let subject = args.subject.as_ref().map(|subject| format!("&subject={}", encoded(subject))).unwrap_or_default();
    let path = format!("/v1/events?limit={}{subject}", args.limit);
    let found: Vec<Event> = console.global.controller()?.get(&path, "list the events")?;
    let table = events(&found, clock::now());
    match output {
        Output::Json | Output::Yaml => console.data(&found, output)?,
        Output::Md => console.print(table.markdown())?,
        Output::Table | Output::Wide if found.is_empty() => console.note("no events"),
        Output::Table | Output::Wide => console.print(table.text(console.width()))?,
    }
    Ok(Outcome::Fine)
}
