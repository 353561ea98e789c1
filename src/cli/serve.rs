//! `bellwether serve`: runs the controller until it is asked to stop.

use super::console::{Console, Outcome};
use super::fault::with_hint;
use crate::config::{self, Environment, LogFormat, LogLevel, LogSettings, ServeFlags, Settings};
use crate::controller::Options;
use crate::daemon::{self, DaemonError, Inputs};
use anyhow::Context as _;
use tracing_subscriber::filter::LevelFilter;

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether serve --fleet acme --repo https://git.example/acme/fleet.git --git-token-file /run/secrets/git --stage main
  bellwether serve --config /etc/bellwether/bellwether.yml
  bellwether serve --fleet acme --repo /srv/git/fleet.git --stage main --stage canary --stage production

It logs to stderr. SIGTERM and Ctrl-C stop it after what it was asked is written; SIGKILL loses nothing that was answered.")]
pub struct Args {
    #[command(flatten)]
    flags: ServeFlags,
}

/// Runs `serve`.
pub fn run(args: &Args, _console: &Console) -> anyhow::Result<Outcome> {
    let folder = std::env::current_dir().context("cannot find out the current folder")?;
    let settings = config::load(&args.flags, &Environment::of_process(), &folder)?;
    start_log(&settings.log);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(serve(inputs(settings)))
}

fn inputs(settings: Settings) -> Inputs {
    let Settings {
        fleet,
        repo,
        access,
        signers,
        stages,
        data_dir,
        listen,
        socket,
        certificate,
        operators,
        poll_secs,
        offline_after_secs,
        log: _,
        secrets,
        lists,
        forge,
    } = settings;
    let options = Options { fleet, stages, poll_secs, offline_after_secs };
    Inputs { options, data_dir, repo, access, signers, listen, socket, certificate, operators, secrets, lists, forge }
}

async fn serve(inputs: Inputs) -> anyhow::Result<Outcome> {
    let stop = super::interrupt::asked_to_stop();
    let stages = inputs.options.stage_names().iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ");
    let fleet = inputs.options.fleet.clone();
    let daemon = daemon::start(inputs).await.map_err(advised).context("cannot start the controller")?;
    tracing::info!(
        fleet = %fleet,
        address = %daemon.address,
        socket = %daemon.socket.display(),
        ca.fingerprint = %daemon.ca_fingerprint,
        stages,
        "serving"
    );
    daemon.run(stop).await.context("the controller stopped")?;
    tracing::info!("stopped");
    Ok(Outcome::Fine)
}

/// An error with what a person can do about it, where something can be done.
fn advised(error: DaemonError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => with_hint(error.into(), hint),
        None => error.into(),
    }
}

/// Log lines go to stderr: text for people and journals, or JSON for collectors.
fn start_log(log: &LogSettings) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_target(false);
    // A second start in one process keeps the first one's log.
    let _ = match log.format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
