//! `bellwether completions`: what a shell needs to complete commands and flags.

use super::console::{Console, Outcome};
use super::{Cli, Output};
use clap::CommandFactory as _;
use clap_complete::Shell;

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether completions bash > /etc/bash_completion.d/bellwether
  bellwether completions zsh > \"${fpath[1]}/_bellwether\"
  bellwether completions fish > ~/.config/fish/completions/bellwether.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Runs `completions`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    console.output(&[Output::Table])?;
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bellwether", &mut script);
    console.print(String::from_utf8_lossy(&script))?;
    Ok(Outcome::Fine)
}
