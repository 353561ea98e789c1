//! `bellwether rollout`: one rollout, and what can be asked of it.

mod draft;

use super::Output;
use super::console::{Console, Outcome};
use super::fault::usage;
use super::remote::{Controller, encoded};
use super::render::devices::events;
use super::render::rollouts::{Lists, detail, explained, failures, not_listed};
use super::span::{parse_secs, parse_time};
use crate::clock;
use crate::domain::fleet::Event;
use crate::domain::ids::{AppName, DeviceId, RolloutName, Version};
use crate::domain::overview::rollouts::RolloutDetail;
use crate::domain::time::Timestamp;
use crate::protocol::v1::operator::{Done, MAX_EVENTS_ANSWER, RolloutAsk, RolloutRequest};
use std::time::Duration;

/// How often `--watch` looks.
const WATCH_PAUSE: Duration = Duration::from_secs(2);

/// Flags of `rollout`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "\
A rollout begins when a commit counts that changes devices with a policy. Every act is recorded with who asked for it and why.

Examples:
  bellwether rollout production-1a2b3c4d
  bellwether rollout production-1a2b3c4d --watch
  bellwether rollout production-1a2b3c4d --explain
  bellwether rollout pause production-1a2b3c4d --reason 'trade fair' --for 6h
  bellwether rollout resume production-1a2b3c4d --ack --reason 'two broken fans, not ours'
  bellwether rollout retry production-1a2b3c4d --failed --reason 'the registry is back'
  bellwether rollout reroute production-1a2b3c4d --failed --via signage=1.9.0 --reason 'the database has to move first'
  bellwether rollout rollback production-1a2b3c4d --reason 'screens stay dark'
  bellwether rollout lift production-1a2b3c4d --reason 'it was the registry'"
)]
pub struct Args {
    /// The rollout
    #[arg(value_name = "NAME")]
    pub name: Option<RolloutName>,
    /// Show it again and again until nothing more becomes of it
    #[arg(long, conflicts_with_all = ["history", "explain"])]
    pub watch: bool,
    /// Show everything that happened to it, the newest first
    #[arg(long, conflicts_with = "explain")]
    pub history: bool,
    /// Show only what its next transition waits for
    #[arg(long)]
    pub explain: bool,
    /// What to ask of it.
    #[command(subcommand)]
    pub act: Option<Ask>,
}

/// What can be asked of a rollout.
#[derive(Debug, clap::Subcommand)]
pub enum Ask {
    /// Agree to what waits for approval
    Approve(Named),
    /// Offer nothing new until it is resumed
    Pause {
        /// Which, and why.
        #[command(flatten)]
        named: Named,
        /// Until when, in RFC 3339 [default: until it is resumed]
        #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "lasting")]
        until: Option<Timestamp>,
        /// For how long, such as 90s, 30m, 3h or 2d
        #[arg(long = "for", value_name = "TIME", value_parser = parse_secs)]
        lasting: Option<i64>,
    },
    /// Go on after a pause or an error
    Resume {
        /// Which, and why.
        #[command(flatten)]
        named: Named,
        /// Take note of the failures so far: only further ones count
        #[arg(long)]
        ack: bool,
    },
    /// Stop it for good; devices keep what they have
    Abort(Named),
    /// Offer devices that failed the same once more
    Retry {
        /// Which, and why.
        #[command(flatten)]
        named: Named,
        /// These of the devices that failed
        #[arg(value_name = "DEVICE", required_unless_present = "failed")]
        devices: Vec<DeviceId>,
        /// All that failed
        #[arg(long, conflicts_with = "devices")]
        failed: bool,
    },
    /// Lead devices that failed through another release, then offer them the same again
    Reroute {
        /// Which, and why.
        #[command(flatten)]
        named: Named,
        /// These of the devices that failed
        #[arg(value_name = "DEVICE", required_unless_present = "failed")]
        devices: Vec<DeviceId>,
        /// All that failed
        #[arg(long, conflicts_with = "devices")]
        failed: bool,
        /// The release in between, such as `signage=1.9.0`
        #[arg(long, value_name = "APP=VERSION", value_parser = parse_via)]
        via: (AppName, Version),
    },
    /// Give each device back what it had
    Rollback(Named),
    /// Lift the quarantine of what it brought: it may be assigned again, by a rollout of its own
    Lift(Named),
    /// Draft a rollout of a change that is not merged yet
    Draft(draft::DraftArgs),
    /// Let a draft begin
    Activate(Named),
    /// Add a step to a draft, or delete one
    #[command(subcommand)]
    Step(StepAsk),
    /// Forget a draft
    Delete(Named),
    /// List the devices that failed, with what they said
    Failures {
        /// The rollout
        #[arg(value_name = "NAME")]
        name: RolloutName,
    },
}

/// What can be done with the steps of a draft.
#[derive(Debug, clap::Subcommand)]
pub enum StepAsk {
    /// Add a step, such as `{name: one in ten, take: 10%, window: 6h}`
    Add {
        /// Which, and why.
        #[command(flatten)]
        named: Named,
        /// The step as a policy of fleet.yml has it
        #[arg(value_name = "YAML")]
        step: String,
        /// Before which step, from 1 [default: after all others]
        #[arg(long, value_name = "STEP")]
        at: Option<usize>,
    },
    /// Delete a step
    Delete {
        /// Which, and why.
        #[command(flatten)]
        named: Named,
        /// Which step, from 1
        #[arg(value_name = "STEP")]
        at: usize,
    },
}

/// A rollout, and why something is asked of it.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// The rollout
    #[arg(value_name = "NAME")]
    pub name: RolloutName,
    /// Why, for everybody who wonders
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Runs `rollout`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let Args { name, watch, history, explain, act } = args;
    match (act, name) {
        (Some(Ask::Draft(args)), _) => draft::run(args, console),
        (Some(Ask::Failures { name }), _) => show_failures(name, console),
        (Some(act), _) => ask(act, console),
        (None, Some(name)) if *history => show_history(name, console),
        (None, Some(name)) if *watch => watch_it(name, console),
        (None, Some(name)) => show(name, *explain, console),
        (None, None) => Err(usage("name a rollout; `bellwether rollouts` lists all")),
    }
}

fn get(controller: &Controller, name: &RolloutName) -> anyhow::Result<RolloutDetail> {
    controller.get(&format!("/v1/rollouts/{}", encoded(name.as_str())), &format!("ask for rollout {name}"))
}

fn show(name: &RolloutName, explain: bool, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml])?;
    let found = get(&console.global.controller()?, name)?;
    match output {
        Output::Json | Output::Yaml if explain => console.data(&found.waits, output)?,
        Output::Json | Output::Yaml => console.data(&found, output)?,
        Output::Table | Output::Wide | Output::Md if explain => console.print(explained(&found, clock::now()))?,
        Output::Wide => console.print(detail(&found, Lists::Whole, console.width(), clock::now()))?,
        Output::Table | Output::Md => console.print(detail(&found, Lists::Short, console.width(), clock::now()))?,
    }
    Ok(Outcome::Fine)
}

fn watch_it(name: &RolloutName, console: &Console) -> anyhow::Result<Outcome> {
    console.output(&[Output::Table, Output::Wide])?;
    let controller = console.global.controller()?;
    let mut shown = String::new();
    loop {
        let found = get(&controller, name)?;
        let text = detail(&found, Lists::Short, console.width(), clock::now());
        if text != shown {
            console.print(&text)?;
            shown = text;
        }
        match found.row.status.as_str() {
            "DONE" => return Ok(Outcome::Fine),
            // Whatever a script does next, it is not for a release that did not go out.
            "ABORTED" | "SUPERSEDED" | "ROLLED_BACK" | "ERROR" => return Ok(Outcome::Failed),
            _ => {}
        }
        controller.pause(WATCH_PAUSE);
    }
}

fn show_history(name: &RolloutName, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let subject = encoded(&format!("rollout {name}"));
    let path = format!("/v1/events?limit={MAX_EVENTS_ANSWER}&subject={subject}");
    let found: Vec<Event> = console.global.controller()?.get(&path, "list what happened")?;
    let table = events(&found, clock::now());
    match output {
        Output::Json | Output::Yaml => console.data(&found, output)?,
        Output::Md => console.print(table.markdown())?,
        Output::Table | Output::Wide if found.is_empty() => console.note("nothing has happened to it"),
        Output::Table | Output::Wide => console.print(table.text(console.width()))?,
    }
    Ok(Outcome::Fine)
}

fn show_failures(name: &RolloutName, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml])?;
    let found = get(&console.global.controller()?, name)?;
    match output {
        Output::Json | Output::Yaml => console.data(&found.failures, output)?,
        Output::Table | Output::Wide | Output::Md if found.failures.is_empty() => console.note("nobody has failed"),
        Output::Table | Output::Wide | Output::Md => console.print(failures(&found.failures, clock::now()))?,
    }
    if let Some(note) = not_listed(&found) {
        console.note(&note);
    }
    Ok(Outcome::Fine)
}

fn parse_via(text: &str) -> Result<(AppName, Version), String> {
    let (app, version) = text.split_once('=').ok_or("write it as `APP=VERSION`, such as `signage=1.9.0`")?;
    let app = AppName::new(app).map_err(|error| error.to_string())?;
    Ok((app, Version::new(version).map_err(|error| error.to_string())?))
}

fn ask(act: &Ask, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let (named, ask, attempted) = match act {
        Ask::Approve(named) => (named, RolloutAsk::Approve, "approve"),
        Ask::Pause { named, until, lasting } => {
            let until = until.or_else(|| lasting.map(|secs| clock::now().plus_secs(secs)));
            (named, RolloutAsk::Pause { until }, "pause")
        }
        Ask::Resume { named, ack: true } => (named, RolloutAsk::ResumeAcknowledging, "resume"),
        Ask::Resume { named, ack: false } => (named, RolloutAsk::Resume, "resume"),
        Ask::Abort(named) => (named, RolloutAsk::Abort, "abort"),
        Ask::Retry { named, devices: _, failed: true } => (named, RolloutAsk::RetryFailed, "retry"),
        Ask::Retry { named, devices, failed: false } => {
            (named, RolloutAsk::Retry { devices: devices.iter().cloned().collect() }, "retry")
        }
        Ask::Reroute { named, devices: _, failed: true, via: (app, via) } => {
            (named, RolloutAsk::RerouteFailed { app: app.clone(), via: via.clone() }, "reroute")
        }
        Ask::Reroute { named, devices, failed: false, via: (app, via) } => {
            let (devices, app, via) = (devices.iter().cloned().collect(), app.clone(), via.clone());
            (named, RolloutAsk::Reroute { devices, app, via }, "reroute")
        }
        Ask::Rollback(named) => (named, RolloutAsk::Rollback, "roll back"),
        Ask::Lift(named) => (named, RolloutAsk::Lift, "lift the quarantine of"),
        Ask::Activate(named) => (named, RolloutAsk::Activate, "activate"),
        Ask::Step(StepAsk::Add { named, step, at }) => {
            (named, RolloutAsk::AddStep { at: *at, step: step.clone() }, "add a step to")
        }
        Ask::Step(StepAsk::Delete { named, at }) => (named, RolloutAsk::DeleteStep { at: *at }, "delete a step of"),
        Ask::Delete(named) => (named, RolloutAsk::Delete, "delete"),
        Ask::Draft(_) => return Err(usage("a draft is made otherwise")),
        Ask::Failures { .. } => return Err(usage("failures are only shown")),
    };
    let Named { name, reason } = named;
    let request = RolloutRequest { ask, reason: reason.clone() };
    let path = format!("/v1/rollouts/{}", encoded(name.as_str()));
    let done: Done = console.global.controller()?.post(&path, &request, &format!("{attempted} rollout {name}"))?;
    console.done(&done, output)
}
