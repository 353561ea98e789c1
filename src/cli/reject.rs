//! `bellwether reject`: a person's no to a device that asks to join.

use super::console::{Console, Outcome};
use crate::domain::ids::DeviceId;
use crate::protocol::v1::operator::Done;

/// Flags of `reject`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether reject kiosk-9")]
pub struct Args {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
}

/// Runs `reject`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let Args { device } = args;
    let controller = console.global.controller()?;
    let done: Done =
        controller.post(&format!("/v1/devices/{device}/reject"), &(), &format!("reject device {device}"))?;
    console.done(&done, output)
}
