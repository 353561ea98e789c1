//! `bellwether serve`.

use super::console::{Console, Outcome};

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `serve`.
pub fn run(_args: &Args, _console: &Console) -> anyhow::Result<Outcome> {
    Err(anyhow::anyhow!("`bellwether serve` is not built yet"))
}
