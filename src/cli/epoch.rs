//! `bellwether epoch`: raises the outer counter of all assignments, which is the last resort after losing the controller's memory.

use super::console::{Console, Outcome};
use crate::protocol::v1::operator::{Done, EpochRequest, StatusAnswer};

/// Flags of `epoch`.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  bellwether epoch raise --reason 'restored a backup from March'"
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub act: Act,
}

/// What can be done to the epoch.
#[derive(Debug, clap::Subcommand)]
pub enum Act {
    /// Raise it by one; asks before it does
    ///
    /// A controller whose database is older than what its devices remember catches up by itself, as long as they are at most
    /// 10,000 generations ahead. Devices beyond that show a conflict. Raising the epoch makes every assignment from now on newer
    /// than all before; it cannot be taken back. Afterwards `bellwether resume device NAME` lets such a device go on.
    #[command(after_help = "\
Examples:
  bellwether epoch raise --reason 'restored a backup from March'
  bellwether epoch raise --reason 'restored a backup from March' --yes    from a script")]
    Raise(Raise),
}

/// Flags of `epoch raise`.
#[derive(Debug, clap::Args)]
pub struct Raise {
    /// Why, for everybody who wonders
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// Runs `epoch`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let Args { act: Act::Raise(Raise { reason, yes }) } = args;
    let controller = console.global.controller()?;
    let status: StatusAnswer = controller.get("/v1/status", "ask for the epoch")?;
    let from = status.status.epoch;
    if !yes {
        let (fleet, next) = (&status.fleet, from.next());
        let asked = format!("Raise the epoch of fleet {fleet} from {from} to {next}? It cannot be taken back.");
        console.confirm(&asked, fleet.as_str())?;
    }
    let request = EpochRequest { from, reason: reason.clone() };
    let done: Done = controller.post("/v1/epoch", &request, "raise the epoch")?;
    console.done(&done, output)
}
