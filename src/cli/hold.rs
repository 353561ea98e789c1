//! `bellwether hold`: nothing new is assigned to a device, a stage or the fleet until it is resumed.

use super::console::{Console, Outcome};
use super::fault::usage;
use super::span::{parse_secs, parse_time};
use crate::clock;
use crate::domain::fleet::HoldScope;
use crate::domain::ids::{DeviceId, StageName};
use crate::domain::time::Timestamp;
use crate::protocol::v1::operator::{Done, HoldRequest};

/// Flags of `hold`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Devices keep running what they have. A hold is recorded with who asked for it.

Examples:
  bellwether hold device kiosk-1 --reason 'being repaired' --for 3h
  bellwether hold stage production --reason 'trade fair' --until 2026-12-01T06:00:00Z
  bellwether hold fleet --reason 'looking into it'")]
pub struct Args {
    /// What to hold.
    #[command(subcommand)]
    pub scope: Scope,
    /// Why, for everybody who wonders
    #[arg(long, global = true, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Until when, in RFC 3339 [default: until it is resumed]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_time, conflicts_with = "lasting")]
    pub until: Option<Timestamp>,
    /// For how long, such as 90s, 30m, 3h or 2d
    #[arg(long = "for", global = true, value_name = "TIME", value_parser = parse_secs)]
    pub lasting: Option<i64>,
}

/// A device, a stage or the fleet.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Scope {
    /// One device
    Device {
        /// The device
        #[arg(value_name = "DEVICE")]
        name: DeviceId,
    },
    /// Every device of a stage
    Stage {
        /// The stage
        #[arg(value_name = "STAGE")]
        name: StageName,
    },
    /// Every device
    Fleet,
}

impl Scope {
    /// What the controller calls it.
    pub fn hold_scope(&self) -> HoldScope {
        match self {
            Self::Device { name } => HoldScope::Device(name.clone()),
            Self::Stage { name } => HoldScope::Stage(name.clone()),
            Self::Fleet => HoldScope::Fleet,
        }
    }
}

/// Runs `hold`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let Args { scope, reason, until, lasting } = args;
    let on = scope.hold_scope();
    let Some(reason) = reason.clone() else {
        return Err(usage("a hold needs its reason: `--reason TEXT`"));
    };
    let until = until.or_else(|| lasting.map(|secs| clock::now().plus_secs(secs)));
    let attempted = format!("hold {on}");
    let done: Done = console.global.controller()?.post("/v1/holds", &HoldRequest { on, reason, until }, &attempted)?;
    console.done(&done, output)
}
