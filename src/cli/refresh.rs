//! `bellwether refresh`: the controller looks at the fleet repo now.

use super::console::{Console, Outcome};
use crate::protocol::v1::operator::Done;

/// Flags of `refresh`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It looks by itself all the time; this only spares the wait, for a hook after a push.

Examples:
  bellwether refresh")]
pub struct Args {}

/// Runs `refresh`.
pub fn run(_: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let done: Done = console.global.controller()?.post("/v1/refresh", &(), "have the fleet repo looked at")?;
    console.note("the controller looks at the fleet repo");
    console.done(&done, output)
}
