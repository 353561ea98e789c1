//! `bellwether retry`: offers a device what it was assigned once more.

use super::console::{Console, Outcome};
use crate::domain::acts::retry::OverLocks;
use crate::domain::ids::DeviceId;
use crate::protocol::v1::operator::{Done, RetryRequest};

/// Flags of `retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What failed for good on a device is tried again only when somebody asks for it. With --force, the device also stops services
whose update locks are held. Both are recorded with who asked and why.

Examples:
  bellwether retry kiosk-1 --reason 'the registry had a broken image'
  bellwether retry kiosk-1 --force --reason 'the road is closed anyway'")]
pub struct Args {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// Why, for everybody who wonders
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Go over update locks, for this assignment
    #[arg(long)]
    pub force: bool,
}

/// Runs `retry`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let Args { device, reason, force } = args;
    let over_locks = if *force { OverLocks::Yes } else { OverLocks::No };
    let request = RetryRequest { reason: reason.clone(), over_locks };
    let path = format!("/v1/devices/{device}/retry");
    let done: Done = console.global.controller()?.post(&path, &request, &format!("retry {device}"))?;
    console.done(&done, output)
}
