//! `bellwether resume`: ends a hold, or a conflict that a person has looked at.

use super::console::{Console, Outcome};
use super::hold::Scope;
use crate::protocol::v1::operator::{Done, ResumeRequest};

/// Flags of `resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether resume device kiosk-1
  bellwether resume stage production
  bellwether resume fleet")]
pub struct Args {
    /// What to resume.
    #[command(subcommand)]
    pub scope: Scope,
}

/// Runs `resume`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let on = args.scope.hold_scope();
    let attempted = format!("resume {on}");
    let done: Done = console.global.controller()?.post("/v1/resume", &ResumeRequest { on }, &attempted)?;
    console.done(&done, output)
}
