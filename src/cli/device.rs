//! `bellwether device`: everything about one device.

use super::console::{Console, Outcome};
use super::{Output, render};
use crate::clock;
use crate::domain::ids::DeviceId;
use crate::domain::overview::device::DeviceDetail;

/// Flags of `device`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether device kiosk-1
  bellwether device kiosk-1 -o json")]
pub struct Args {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
}

/// Runs `device`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let Args { device } = args;
    let detail: DeviceDetail =
        console.global.controller()?.get(&format!("/v1/devices/{device}"), &format!("ask for device {device}"))?;
    match output {
        Output::Json | Output::Yaml => console.data(&detail, output)?,
        Output::Table | Output::Wide => {
            console.print(render::detail::text(&detail, clock::now(), console.width()))?;
        }
        Output::Md => console.print(render::detail::markdown(&detail, clock::now()))?,
    }
    Ok(Outcome::Fine)
}
