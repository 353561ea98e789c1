//! `bellwether resume`: ends a hold, or a conflict that a person has looked at.

use super::console::{Console, Outcome};
use super::hold::{Scope, one_or_filter};
use super::selecting::{FilterArgs, agreed};
use crate::protocol::v1::operator::{Done, ResumeDevicesRequest, ResumeRequest};

/// Flags of `resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether resume device kiosk-1
  bellwether resume stage production
  bellwether resume fleet
  bellwether resume --filter 'vars.kiosk.model == \"A3\"'    shows them, and asks")]
pub struct Args {
    /// What to resume.
    #[command(subcommand)]
    pub scope: Option<Scope>,
    /// Or which devices.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Resume what the filter means without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// Runs `resume`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let Args { scope, filter, yes } = args;
    let on = one_or_filter(scope.as_ref(), filter)?;
    let controller = console.global.controller()?;
    let done: Done = match on {
        Some(on) => {
            let attempted = format!("resume {on}");
            controller.post("/v1/resume", &ResumeRequest { on }, &attempted)?
        }
        None => {
            let devices = agreed(&controller, filter, "resume", *yes, console)?;
            controller.post("/v1/resume/devices", &ResumeDevicesRequest { devices }, "resume the devices")?
        }
    };
    if done.events.is_empty() {
        console.note("none of them is held");
    }
    console.done(&done, output)
}
