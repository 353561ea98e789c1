//! `bellwether release`: releases of apps in the fleet repo.

mod invalidate;
mod list;
mod new;
mod show;

use super::console::{Console, Outcome};

/// Flags of `release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether release new signage 1.6.0 --compose compose.yml
  bellwether release list
  bellwether release list signage
  bellwether release show signage 1.4.2
  bellwether release invalidate signage 1.5.0 --reason 'eats the disk'")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with releases.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a release from a Compose file, with every image named by its digest
    New(Box<new::Args>),
    /// List releases with their state
    List(list::Args),
    /// Show one release: its services, what it requires, and which devices it is for
    Show(show::Args),
    /// Say that a release is bad: `latest` and ranges pass it over from then on
    Invalidate(invalidate::Args),
}

/// Runs `release`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    match &args.command {
        Command::New(args) => new::run(args, console),
        Command::List(args) => list::run(args, console),
        Command::Show(args) => show::run(args, console),
        Command::Invalidate(args) => invalidate::run(args, console),
    }
}
