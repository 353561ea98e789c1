//! `bellwether device`: everything about one device, and what operators say of it.

mod actions;
mod core_dump;

use super::console::{Console, Outcome};
use super::{Output, render};
use crate::clock;
use crate::domain::fleet::Listing;
use crate::domain::ids::{AttributeName, DeviceId, NameError};
use crate::domain::overview::device::DeviceDetail;
use crate::protocol::v1::operator::{AttributesRequest, Done};

/// Flags of `device`.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  bellwether device kiosk-1
  bellwether device kiosk-1 -o json
  bellwether device set kiosk-1 rack=4 owner=facilities
  bellwether device set kiosk-1 owner-"
)]
pub struct Args {
    /// The device
    #[arg(value_name = "DEVICE", required = true)]
    pub device: Option<DeviceId>,
    /// What to do with it.
    #[command(subcommand)]
    pub act: Option<Act>,
}

/// What to do with a device.
#[derive(Debug, clap::Subcommand)]
pub enum Act {
    /// Set or remove attributes that operators keep beside the fleet repo: `registry.*` in filters
    #[command(after_help = "\
They are recorded with who set them, show in `device` and `why`, and count in filters and views: no device gets content because
of them, unless the fleet repo says `inventory: registry`. To change what Git says of a device, edit its `tags` there.

Examples:
  bellwether device set kiosk-1 rack=4 owner=facilities
  bellwether device set kiosk-1 owner-")]
    Set(SetArgs),
    /// Let the registry list a device, before or after it enrolls, for fleet repos with `inventory: registry`
    #[command(after_help = "\
A device that is not known yet becomes known, and gets nothing before it has enrolled. Attributes can be set in the same go:
`groups` names its groups with commas between them, `branch` the stage that it follows, and the fleet repo says which others are
variables of the device.

Examples:
  bellwether device register kiosk-1 groups=kiosks,zurich branch=canary
  bellwether device register kiosk-1")]
    Register(RegisterArgs),
    /// Take a device out of the registry's list; it keeps what it has, and goes on reporting
    #[command(after_help = "\
A stage whose list of devices loses more than its deletion budget is held until somebody approves it.

Example:
  bellwether device unregister kiosk-1")]
    Unregister(UnregisterArgs),
    /// Restart a service, or all of them
    #[command(after_help = ACTIONS_HELP)]
    Restart(actions::RestartArgs),
    /// Restart the machine
    #[command(after_help = ACTIONS_HELP)]
    Reboot(actions::RebootArgs),
    /// Remove a volume with its data; services that use it start with an empty one
    #[command(after_help = ACTIONS_HELP)]
    Purge(actions::PurgeArgs),
    /// Bring the newest lines of a service's log
    #[command(after_help = ACTIONS_HELP)]
    Logs(actions::LogsArgs),
    /// Show what the device was asked to do, and what became of it
    Actions(actions::ActionsArgs),
    /// Take an action back that has not ended
    Cancel(actions::CancelArgs),
    /// Bring the core dump that the device attached to its newest failure
    #[command(after_help = "\
Agents send one if `core_dumps` of their configuration says where the device leaves them. A dump has the memory of its process, and so
may have its secrets.

Example:
  bellwether device core-dump kiosk-1 --to kiosk-1.core.zst")]
    CoreDump(core_dump::CoreDumpArgs),
}

/// Flags of `device register`.
#[derive(Debug, clap::Args)]
pub struct RegisterArgs {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// `NAME=VALUE` sets, `NAME-` removes
    #[arg(value_name = "NAME=VALUE", value_parser = parse_edit)]
    pub edits: Vec<Edit>,
}

/// Flags of `device unregister`.
#[derive(Debug, clap::Args)]
pub struct UnregisterArgs {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
}

const ACTIONS_HELP: &str = "\
A device that is away does it when it comes back, unless it takes longer than `--within`. Each action is done at most once,
whatever crashes, and is recorded with who asked and why.

Examples:
  bellwether device restart kiosk-1 web/nav --reason 'shows a black screen'
  bellwether device reboot kiosk-1 --reason 'does not see its touch screen' --within 2h
  bellwether device purge kiosk-1 web/cache --reason 'full'
  bellwether device logs kiosk-1 web/nav --lines 200 --reason 'ticket 4711'
  bellwether device actions kiosk-1
  bellwether device actions kiosk-1 --log 4";

/// Flags of `device set`.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// `NAME=VALUE` sets, `NAME-` removes
    #[arg(value_name = "NAME=VALUE", required = true, value_parser = parse_edit)]
    pub edits: Vec<Edit>,
}

/// One change of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// `NAME=VALUE`
    Set(AttributeName, String),
    /// `NAME-`
    Remove(AttributeName),
}

/// Why a text is not an [`Edit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Neither form.
    #[error("write NAME=VALUE to set an attribute, NAME- to remove it")]
    Form,
    /// The name breaks its rule.
    #[error(transparent)]
    Name(#[from] NameError),
}

fn parse_edit(text: &str) -> Result<Edit, EditError> {
    if let Some((name, value)) = text.split_once('=') {
        return Ok(Edit::Set(AttributeName::new(name)?, value.to_owned()));
    }
    let name = text.strip_suffix('-').ok_or(EditError::Form)?;
    Ok(Edit::Remove(AttributeName::new(name)?))
}

/// Runs `device`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    match (&args.act, &args.device) {
        (Some(Act::Set(SetArgs { device, edits })), _) => set(device, edits, None, console),
        (Some(Act::Register(RegisterArgs { device, edits })), _) => set(device, edits, Some(Listing::Listed), console),
        (Some(Act::Unregister(UnregisterArgs { device })), _) => set(device, &[], Some(Listing::Unlisted), console),
        (Some(Act::Restart(args)), _) => actions::restart(args, console),
        (Some(Act::Reboot(args)), _) => actions::reboot(args, console),
        (Some(Act::Purge(args)), _) => actions::purge(args, console),
        (Some(Act::Logs(args)), _) => actions::logs(args, console),
        (Some(Act::Actions(args)), _) => actions::list(args, console),
        (Some(Act::Cancel(args)), _) => actions::cancel(args, console),
        (Some(Act::CoreDump(args)), _) => core_dump::run(args, console),
        (None, Some(device)) => show(device, console),
        (None, None) => Err(super::fault::usage("name a device")),
    }
}

fn show(device: &DeviceId, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
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

fn set(device: &DeviceId, edits: &[Edit], listing: Option<Listing>, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let mut request = AttributesRequest { listing, ..AttributesRequest::default() };
    for edit in edits {
        match edit {
            Edit::Set(name, value) => {
                request.set.insert(name.clone(), value.clone());
            }
            Edit::Remove(name) => {
                request.remove.insert(name.clone());
            }
        }
    }
    let path = format!("/v1/devices/{device}/attributes");
    let done: Done =
        console.global.controller()?.post(&path, &request, &format!("set attributes of device {device}"))?;
    if done.events.is_empty() {
        console.note("nothing changed");
    }
    console.done(&done, output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_sets_or_removes() {
        let check = |text: &str, expected: &str| {
            let shown = match parse_edit(text) {
                Ok(Edit::Set(name, value)) => format!("{name} := {value}"),
                Ok(Edit::Remove(name)) => format!("{name} gone"),
                Err(error) => error.to_string(),
            };
            assert!(shown.starts_with(expected), "{text}: {shown}");
        };
        check("rack=4", "rack := 4");
        check("rack=a=b-", "rack := a=b-");
        check("rack-", "rack gone");
        check("rack", "write NAME=VALUE");
        check("a-b=c", "\"a-b\" is not a attribute name");
        check("-", "\"\" is not a attribute name");
    }
}
