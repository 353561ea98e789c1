//! `bellwether hold`: nothing new is assigned to devices, a stage or the fleet until they are resumed.

use super::console::{Console, Outcome};
use super::fault::{usage, with_hint};
use super::selecting::{FilterArgs, agreed};
use super::span::{parse_secs, parse_time};
use crate::clock;
use crate::domain::fleet::HoldScope;
use crate::domain::ids::{DeviceId, StageName};
use crate::domain::time::Timestamp;
use crate::protocol::v1::operator::{Done, HoldDevicesRequest, HoldRequest};

/// Flags of `hold`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Devices keep running what they have. A hold is recorded with who asked for it.

Examples:
  bellwether hold device kiosk-1 --reason 'being repaired' --for 3h
  bellwether hold stage production --reason 'trade fair' --until 2026-12-01T06:00:00Z
  bellwether hold fleet --reason 'looking into it'
  bellwether hold --filter 'vars.kiosk.model == \"A3\"' --reason 'fans fail'    shows them, and asks")]
pub struct Args {
    /// What to hold.
    #[command(subcommand)]
    pub scope: Option<Scope>,
    /// Or which devices.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Hold what the filter means without asking
    #[arg(long, short)]
    pub yes: bool,
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
    let Args { scope, filter, yes, reason, until, lasting } = args;
    let on = one_or_filter(scope.as_ref(), filter)?;
    let Some(reason) = reason.clone() else {
        return Err(usage("a hold needs its reason: `--reason TEXT`"));
    };
    let until = until.or_else(|| lasting.map(|secs| clock::now().plus_secs(secs)));
    let controller = console.global.controller()?;
    let done: Done = match on {
        Some(on) => {
            let attempted = format!("hold {on}");
            controller.post("/v1/holds", &HoldRequest { on, reason, until }, &attempted)?
        }
        None => {
            let devices = agreed(&controller, filter, "hold", *yes, console)?;
            controller.post("/v1/holds/devices", &HoldDevicesRequest { devices, reason, until }, "hold the devices")?
        }
    };
    console.done(&done, output)
}

/// What is meant: one thing by name, or `None` for what the filter means.
pub fn one_or_filter(scope: Option<&Scope>, filter: &FilterArgs) -> anyhow::Result<Option<HoldScope>> {
    match (scope, filter.is_empty()) {
        (Some(scope), true) => Ok(Some(scope.hold_scope())),
        (None, false) => Ok(None),
        (Some(_), false) => {
            Err(usage("name a device, a stage or the fleet, or say `--filter` or `--view`, but not both"))
        }
        (None, true) => Err(with_hint(
            usage("what is meant must be named"),
            "write `device NAME`, `stage NAME`, `fleet`, `--filter EXPR` or `--view NAME`",
        )),
    }
}
