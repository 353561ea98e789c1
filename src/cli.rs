//! The command line. One file per subcommand: its flags, what it asks for, and nothing that decides.
//!
//! Data goes to stdout, everything else to stderr. What people read is made by pure functions.

pub mod client;
pub mod console;
pub mod demo;
pub mod fault;
pub mod interrupt;
pub mod serve;

use clap::{Args, Parser, Subcommand, ValueEnum};
use console::{Console, Outcome};
use fault::Usage;
use std::path::PathBuf;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0  fine; nothing changes, nothing drifts
  1  error
  2  the command line cannot be understood
  3  with --exit-code: there are changes, or drift
  4  with --exit-code: could not be determined, because something is unknown";

/// GitOps for fleets of Linux devices.
///
/// A fleet repo in Git says what every device shall run; the controller assigns it in stages; agents on the devices apply it.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version, after_help = EXIT_CODES, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Flags of all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of all commands.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Form of the answer on stdout [default: table]
    #[arg(short, long, global = true, value_enum)]
    pub output: Option<Output>,
    /// When to use colours; `auto` is on terminals, and never with NO_COLOR set
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Color,
    /// The controller: `https://HOST:PORT`, or `unix:PATH` of its socket [default: the socket in ./bellwether-data]
    #[arg(long, global = true, value_name = "URL", env = "BELLWETHER_SERVER")]
    pub server: Option<String>,
    /// File with an operator's key, for https
    #[arg(long, global = true, value_name = "FILE", env = "BELLWETHER_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// Certificate of the controller's authority (PEM), for https
    #[arg(long, global = true, value_name = "FILE", env = "BELLWETHER_CA_FILE", conflicts_with = "ca_fingerprint")]
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of that certificate instead of the file
    #[arg(long, global = true, value_name = "HEX", env = "BELLWETHER_CA_FINGERPRINT")]
    pub ca_fingerprint: Option<String>,
}

/// Forms of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// JSON for programs.
    Json,
    /// YAML for programs and people.
    Yaml,
    /// Markdown, for merge requests and job summaries.
    Md,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On terminals, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller
    Serve(serve::Args),
    /// Show everything at work, in a minute or two, on this machine and without leaving anything behind
    Demo(demo::Args),
}

impl Command {
    fn run(&self, console: &Console) -> anyhow::Result<Outcome> {
        match self {
            Self::Serve(args) => serve::run(args, console),
            Self::Demo(args) => demo::run(args, console),
        }
    }

    /// Whether `--exit-code` asks for 3 and 4. An error then means that nothing could be determined.
    fn tells_by_exit_code(&self) -> bool {
        match self {
            Self::Serve(_) | Self::Demo(_) => false,
        }
    }
}

/// Does what the command line says and answers with the status to exit with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // clap knows which of its messages belong on stdout (help, version) and which status they mean.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let console = Console::new(cli.global);
    match cli.command.run(&console) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            console.error(&error);
            let usage = error.downcast_ref::<Usage>().is_some();
            let outcome = match (usage, cli.command.tells_by_exit_code()) {
                (true, _) => Outcome::Usage,
                (false, true) => Outcome::Unknown,
                (false, false) => Outcome::Failed,
            };
            outcome.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
