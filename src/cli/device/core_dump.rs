//! `bellwether device core-dump`: brings what a device attached to its failure.

use crate::cli::console::{Console, Outcome};
use crate::domain::device::progress::show_bytes;
use crate::domain::ids::DeviceId;
use anyhow::Context as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// Flags of `device core-dump`.
#[derive(Debug, clap::Args)]
pub struct CoreDumpArgs {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: DeviceId,
    /// The file to write, for you alone; one that is there already is not overwritten
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}

/// Runs `device core-dump`.
pub fn run(args: &CoreDumpArgs, console: &Console) -> anyhow::Result<Outcome> {
    let CoreDumpArgs { device, to } = args;
    let path = format!("/v1/devices/{device}/core-dump");
    let content = console.global.controller()?.bytes(&path, &format!("bring the core dump of device {device}"))?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        file.write_all(&content)?;
        file.sync_all()
    };
    write().with_context(|| format!("could not write {}", to.display()))?;
    let size = show_bytes(content.len() as u64);
    console.note(format!("{size} in {}; it has the memory of the process, secrets included", to.display()));
    Ok(Outcome::Fine)
}
