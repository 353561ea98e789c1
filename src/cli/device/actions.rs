//! `bellwether device restart|reboot|purge|logs|actions|cancel`: what a device is asked to do once.

use crate::cli::Output;
use crate::cli::console::{Console, Outcome};
use crate::cli::fault::usage;
use crate::cli::render::table::{Table, row};
use crate::cli::span::parse_secs;
use crate::clock;
use crate::domain::actions::{ActionState, DeviceAction, LockRule, USUAL_ACTION_SECS};
use crate::domain::ids::{AppName, DeviceId, ServiceName, VolumeName};
use crate::domain::overview::actions::{ActionRow, DeviceActions, Support};
use crate::domain::time::show_secs;
use crate::protocol::v1::operator::{ActionRequest, CancelRequest, Done};
use std::str::FromStr;

/// What every action is asked for with.
#[derive(Debug, clap::Args)]
pub struct Asking {
    /// Why, for everybody who wonders
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// How long the device may take to come for it, such as 30m, 3h or 2d [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = parse_secs)]
    pub within: Option<i64>,
}

/// Flags of `device restart`.
#[derive(Debug, clap::Args)]
pub struct RestartArgs {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// The service [default: every service that is assigned]
    #[arg(value_name = "APP/SERVICE")]
    pub service: Option<InApp<ServiceName>>,
    /// Why, and for how long.
    #[command(flatten)]
    pub asking: Asking,
    /// Do it even while an update lock is held; recorded with your name
    #[arg(long)]
    pub force: bool,
}

/// Flags of `device reboot`.
#[derive(Debug, clap::Args)]
pub struct RebootArgs {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// Why, and for how long.
    #[command(flatten)]
    pub asking: Asking,
    /// Do it even while a lock is held; recorded with your name
    #[arg(long)]
    pub force: bool,
}

/// Flags of `device purge`.
#[derive(Debug, clap::Args)]
pub struct PurgeArgs {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// The volume
    #[arg(value_name = "APP/VOLUME")]
    pub volume: InApp<VolumeName>,
    /// Why, and for how long.
    #[command(flatten)]
    pub asking: Asking,
    /// Do not ask whether the data may go
    #[arg(long)]
    pub yes: bool,
    /// Do it even while a lock is held; recorded with your name
    #[arg(long)]
    pub force: bool,
}

/// Flags of `device logs`.
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// The service
    #[arg(value_name = "APP/SERVICE")]
    pub service: InApp<ServiceName>,
    /// How many lines, 1 to 500
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub lines: u32,
    /// Why, and for how long.
    #[command(flatten)]
    pub asking: Asking,
}

/// Flags of `device actions`.
#[derive(Debug, clap::Args)]
pub struct ActionsArgs {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// Print the log that this action brought, and nothing else
    #[arg(long, value_name = "NUMBER")]
    pub log: Option<u64>,
}

/// Flags of `device cancel`.
#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// The action's number, as `device actions` shows it
    #[arg(value_name = "NUMBER")]
    pub number: u64,
}

/// A part of an app: `web/nav`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InApp<T> {
    /// The app.
    pub app: AppName,
    /// The part.
    pub part: T,
}

impl<T: FromStr> FromStr for InApp<T>
where
    T::Err: std::fmt::Display,
{
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (app, part) = text.split_once('/').ok_or("write the app first, as in web/nav")?;
        let app = app.parse().map_err(|error: crate::domain::ids::NameError| error.to_string())?;
        Ok(Self { app, part: part.parse().map_err(|error: T::Err| error.to_string())? })
    }
}

fn lock_rule(force: bool) -> LockRule {
    if force { LockRule::Overridden } else { LockRule::Respected }
}

/// Runs `device restart`.
pub fn restart(args: &RestartArgs, console: &Console) -> anyhow::Result<Outcome> {
    let RestartArgs { device, service, asking, force } = args;
    let action = match service.clone() {
        Some(InApp { app, part }) => DeviceAction::RestartService { app, service: part },
        None => DeviceAction::RestartAll,
    };
    ask(device, action, asking, lock_rule(*force), console)
}

/// Runs `device reboot`.
pub fn reboot(args: &RebootArgs, console: &Console) -> anyhow::Result<Outcome> {
    let RebootArgs { device, asking, force } = args;
    ask(device, DeviceAction::Reboot, asking, lock_rule(*force), console)
}

/// Runs `device purge`.
pub fn purge(args: &PurgeArgs, console: &Console) -> anyhow::Result<Outcome> {
    let PurgeArgs { device, volume: InApp { app, part }, asking, yes, force } = args;
    if !yes {
        let question = format!("The data in volume {part} of {app} on {device} will be gone for good.");
        console.confirm(&question, part.as_str())?;
    }
    let action = DeviceAction::PurgeVolume { app: app.clone(), volume: part.clone() };
    ask(device, action, asking, lock_rule(*force), console)
}

/// Runs `device logs`.
pub fn logs(args: &LogsArgs, console: &Console) -> anyhow::Result<Outcome> {
    let LogsArgs { device, service: InApp { app, part }, lines, asking } = args;
    let action = DeviceAction::CollectLogs { app: app.clone(), service: part.clone(), lines: *lines };
    ask(device, action, asking, LockRule::Respected, console)
}

fn ask(
    device: &DeviceId,
    action: DeviceAction,
    asking: &Asking,
    locks: LockRule,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let attempted = format!("ask device {device} to {action}");
    let valid_secs = asking.within.unwrap_or(USUAL_ACTION_SECS);
    let request = ActionRequest { action, locks, reason: asking.reason.clone(), valid_secs };
    let controller = console.global.controller()?;
    let done: Done = controller.post(&format!("/v1/devices/{device}/actions"), &request, &attempted)?;
    console.note(format!("`bellwether device actions {device}` shows what becomes of it"));
    console.done(&done, output)
}

/// Runs `device cancel`.
pub fn cancel(args: &CancelArgs, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let CancelArgs { device, number } = args;
    let path = format!("/v1/devices/{device}/actions/cancel");
    let attempted = format!("cancel action {number} of device {device}");
    let done: Done = console.global.controller()?.post(&path, &CancelRequest { number: *number }, &attempted)?;
    console.done(&done, output)
}

/// Runs `device actions`.
pub fn list(args: &ActionsArgs, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let ActionsArgs { device, log } = args;
    let path = format!("/v1/devices/{device}/actions");
    let answer: DeviceActions =
        console.global.controller()?.get(&path, &format!("ask for the actions of device {device}"))?;
    if let Some(number) = log {
        return print_log(&answer, *number, console);
    }
    match output {
        Output::Json | Output::Yaml => console.data(&answer, output)?,
        Output::Table | Output::Wide | Output::Md => {
            if answer.support == Support::No {
                console.note(format!("the agent of {device} is older than actions: it never comes for them"));
            }
            if answer.actions.is_empty() {
                console.note("there are no actions");
                return Ok(Outcome::Fine);
            }
            console.print(table(&answer).text(console.width()))?;
        }
    }
    Ok(Outcome::Fine)
}

fn table(answer: &DeviceActions) -> Table {
    let now = clock::now();
    let mut table = Table::new(&["NUMBER", "ACTION", "STANDING", "AGE", "BY", "REASON", "WORDS"]);
    for ActionRow { record, standing, words } in &answer.actions {
        let request = &record.request;
        let age = show_secs(now.secs_since(request.requested_at));
        table.row(row![request.number, &request.action, standing, age, &request.actor, &request.reason, words]);
    }
    table
}

fn print_log(answer: &DeviceActions, number: u64, console: &Console) -> anyhow::Result<Outcome> {
    let one = answer.actions.iter().find(|one| one.record.request.number == number);
    let one = one.ok_or_else(|| usage(format!("there is no action {number}")))?;
    let log = match &one.record.state {
        ActionState::Ended(result) => result.log.as_deref(),
        ActionState::Open | ActionState::Canceled { .. } | ActionState::Expired => None,
    };
    let log = log.ok_or_else(|| anyhow::anyhow!("action {number} has brought no log: it is {}", one.standing))?;
    // A log may hold anything; a terminal shall not act on it.
    let lines: String = log.lines().map(|line| crate::cli::render::text::plain(line) + "\n").collect();
    console.print(lines)?;
    Ok(Outcome::Fine)
}
