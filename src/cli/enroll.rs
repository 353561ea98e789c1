//! `bellwether enroll`: makes a token with which devices join, or lists devices that wait for a person.

use super::Output;
use super::console::{Console, Outcome};
use super::fault::usage;
use super::remote::Controller;
use super::render::devices::pending;
use super::render::text::age;
use super::span::parse_secs;
use crate::clock;
use crate::domain::fleet::TokenBound;
use crate::domain::ids::DeviceId;
use crate::domain::overview::device::DeviceDetail;
use crate::protocol::v1::operator::{StatusAnswer, TokenAnswer, TokenRequest};

/// Flags of `enroll`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints the token on stdout, once: it is not stored. What to run on the device is printed on stderr.

Examples:
  bellwether enroll kiosk-1
  bellwether enroll kiosk-1 kiosk-2 --valid 1h
  bellwether enroll --selector 'kiosk-*' --uses 50 --valid 7d
  bellwether enroll --pending                        who waits for `bellwether approve`")]
pub struct Args {
    /// Devices that the token lets in
    #[arg(value_name = "DEVICE", conflicts_with = "selector", required_unless_present_any = ["selector", "pending"])]
    pub devices: Vec<DeviceId>,
    /// Lets in devices whose name matches; `*` stands for any text
    #[arg(long, value_name = "PATTERN")]
    pub selector: Option<String>,
    /// How many devices it lets in [default: as many as are named, or 1]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: Option<u32>,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_secs)]
    pub valid: i64,
    /// List devices that wait for approval instead
    #[arg(long, conflicts_with_all = ["devices", "selector", "uses"])]
    pub pending: bool,
}

/// Runs `enroll`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let controller = console.global.controller()?;
    if args.pending {
        return list_pending(&controller, console);
    }
    let output = console.output(&[Output::Table, Output::Json, Output::Yaml])?;
    let names = args.devices.len();
    let bound = match &args.selector {
        Some(selector) => TokenBound::Selector(selector.clone()),
        None => TokenBound::Names(args.devices.iter().cloned().collect()),
    };
    let uses = match args.uses {
        Some(uses) => uses,
        None => u32::try_from(names.max(1)).map_err(|_| usage("too many devices for one token"))?,
    };
    let request = TokenRequest { bound, uses, valid_secs: args.valid };
    let answer: TokenAnswer = controller.post("/v1/tokens", &request, "make an enrollment token")?;
    match output {
        Output::Json | Output::Yaml => console.data(&answer, output)?,
        Output::Table | Output::Wide | Output::Md => console.print(format!("{}\n", answer.token))?,
    }
    console.note(instructions(args, &answer, &server(&controller, console), console));
    Ok(Outcome::Fine)
}

/// What to run on the device. The token travels in the environment, so that it is in no listing of processes.
fn instructions(args: &Args, answer: &TokenAnswer, server: &str, console: &Console) -> String {
    let device = match args.devices.as_slice() {
        [device] => device.as_str(),
        _ => "NAME",
    };
    // Where stdout goes to a file or a program, stderr may be a log that many read.
    let token = if console.is_terminal() { answer.token.as_str() } else { "TOKEN" };
    let ends = age(clock::now(), answer.expires);
    let mut text = format!(
        "token {} ends {ends}; on the device run:\n  BELLWETHER_AGENT_TOKEN={token} bellwether-agent run --server {} --device {device}",
        answer.id, server,
    );
    if server.contains(UNKNOWN_HOST) {
        text.push_str("\nwhere CONTROLLER is the name or address under which devices reach the controller");
    }
    text
}

/// What stands for the controller's name where only the person knows it.
const UNKNOWN_HOST: &str = "CONTROLLER";

/// The address that devices use: the one that we used ourselves, or the controller's port under a name that we cannot know.
fn server(controller: &Controller, console: &Console) -> String {
    if let Some(server) = console.global.server.as_deref().filter(|server| server.starts_with("https://")) {
        return server.to_owned();
    }
    // The token is made; that this cannot be asked must not look as if it were not.
    let status = controller.get::<StatusAnswer>("/v1/status", "ask for the status");
    let port = status.ok().and_then(|answer| answer.address).map_or(8443, |address| address.port());
    format!("https://{UNKNOWN_HOST}:{port}")
}

fn list_pending(controller: &Controller, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let answer: StatusAnswer = controller.get("/v1/status", "list pending devices")?;
    let mut waiting: Vec<DeviceDetail> = Vec::new();
    for device in &answer.status.pending {
        waiting.push(controller.get(&format!("/v1/devices/{device}"), &format!("ask for device {device}"))?);
    }
    let table = pending(&waiting, clock::now());
    match output {
        Output::Json | Output::Yaml => console.data(&waiting, output)?,
        Output::Md => console.print(table.markdown())?,
        Output::Table | Output::Wide if waiting.is_empty() => console.note("no device waits for approval"),
        Output::Table | Output::Wide => console.print(table.text(console.width()))?,
    }
    Ok(Outcome::Fine)
}
