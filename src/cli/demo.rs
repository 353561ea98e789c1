//! `bellwether demo`.

use super::console::{Console, Outcome};

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `demo`.
pub fn run(_args: &Args, _console: &Console) -> anyhow::Result<Outcome> {
    Err(anyhow::anyhow!("`bellwether demo` is not built yet"))
}
