//! The agent as it ships: its size, and its memory while nothing happens.

use super::Options;
use super::controller::Controller;
use super::process::{On, kilobytes};
use super::repo::Remote;
use super::{fleet, table::Row};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long the agent has nothing to do before it is measured: more than one of its looks.
const IDLE: Duration = Duration::from_secs(40);

/// Both rows; none without the agent's binary.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let folder = options.folder.as_path();
    let Some(agent) = &options.agent else { return Ok(Vec::new()) };
    let size = std::fs::metadata(agent).with_context(|| format!("could not look at {}", agent.display()))?.len();
    let megabytes = size as f64 / 1e6;
    let repo = folder.join("idle.git");
    let remote = Remote::make(&repo, 1)?;
    let mut controller = Controller::start(On::Any, &folder.join("idle"), &repo)?;
    let state = folder.join("idle-agent");
    let mut child = Agent(
        Command::new(agent)
            .args(["run", "--server", &controller.server, "--token", &controller.token, "--engine", "simulated"])
            .args(["--device", &fleet::device_name(0), "--os", "simulated", "--log", "error", "--state-dir"])
            .arg(&state)
            .stdin(Stdio::null())
            .spawn()?,
    );
    let _: Value = controller.process.ask(&format!("converged {} 1", remote.tip()?))?;
    std::thread::sleep(if options.quick { Duration::from_secs(1) } else { IDLE });
    ensure!(child.0.try_wait()?.is_none(), "the agent ended by itself");
    let process = format!("/proc/{}", child.0.id());
    let rollup = Path::new(&process).join("smaps_rollup");
    let (pss, rss) = (kilobytes(&rollup, "Pss:")? / 1024.0, kilobytes(&rollup, "Rss:")? / 1024.0);
    let dirty = kilobytes(&rollup, "Private_Dirty:")? / 1024.0;
    Ok(vec![
        Row::new("size of bellwether-agent", format!("{size} bytes")).at_most(megabytes, 8.0, "MB"),
        Row::new(
            "memory of an idle, settled agent",
            format!("PSS {pss:.2} MiB (RSS {rss:.2} MiB, its own {dirty:.2} MiB)"),
        )
        .at_most(pss, 8.0, "MiB"),
    ])
}

/// The agent's process; it ends with this.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
