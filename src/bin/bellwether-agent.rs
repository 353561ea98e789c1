//! The device's agent: wiring only.

use anyhow::Context as _;
use bellwether::agent::args::{self, Command, Flags};
use bellwether::agent::settings::{DEFAULT_FILE, Fragment, Inputs, Settings};
use bellwether::agent::{Containers, Memory, commands};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => return fail(&format!("{error}\nSee bellwether-agent --help."), 2),
    };
    let ended = match command {
        Command::Print(text) => std::io::stdout().write_all(text.as_bytes()).map_err(Into::into),
        Command::Run(flags) => settings(flags).and_then(run),
        Command::Join(flags) => settings(flags).and_then(join),
        Command::Leave(flags, containers, memory) => {
            settings(flags).and_then(|settings| leave(&settings, containers, memory))
        }
        Command::Ask(flags, command) => settings(flags).and_then(|settings| ask(&settings, &command)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), 1),
    }
}

fn fail(message: &str, status: u8) -> ExitCode {
    // Standard error may be closed; there is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "bellwether-agent: {message}");
    ExitCode::from(status)
}

#[allow(clippy::disallowed_methods, reason = "the one place where the agent's environment is read")]
fn settings(flags: Flags) -> anyhow::Result<Settings> {
    let file = match &flags.config {
        Some(path) => Some(path.as_path()),
        None => Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists()),
    };
    let file = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
            Fragment::from_json(&text, path)?
        }
        None => Fragment::default(),
    };
    // Variables that are not UTF-8 cannot be settings.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let environment = Fragment::from_environment(variables)?;
    Ok(Inputs::of([file, environment, flags.fragment]).settings()?)
}

fn log(settings: &Settings) {
    tracing_subscriber::fmt().with_max_level(settings.log).with_target(false).with_writer(std::io::stderr).init();
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start the runtime")
}

fn run(settings: Settings) -> anyhow::Result<()> {
    log(&settings);
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("could not listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for SIGINT")?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        Ok(bellwether::agent::run(settings, stop).await?)
    })
}

fn leave(settings: &Settings, containers: Containers, memory: Memory) -> anyhow::Result<()> {
    log(settings);
    let text = runtime()?.block_on(bellwether::agent::leave(settings, containers, memory))?;
    std::io::stdout().write_all(text.as_bytes()).context("could not write the answer")
}

fn ask(settings: &Settings, command: &commands::Command) -> anyhow::Result<()> {
    let now = bellwether::clock::now();
    let text = runtime()?.block_on(commands::run(settings, command, now))?;
    std::io::stdout().write_all(text.as_bytes()).context("could not write the answer")
}

fn join(settings: Settings) -> anyhow::Result<()> {
    log(&settings);
    let text = runtime()?.block_on(bellwether::agent::join(settings))?;
    std::io::stdout().write_all(text.as_bytes()).context("could not write the answer")
}
