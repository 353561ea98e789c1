//! The agent as it ships: its size, and what it takes while nothing happens: memory, processor, disk.

use super::Options;
use super::controller::Controller;
use super::process::{On, kilobytes};
use super::repo::Remote;
use super::{fleet, table::Row};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long the agent has nothing to do before it is measured, and while it is: more than one of its looks.
const IDLE: Duration = Duration::from_secs(40);

/// Its rows; none without the agent's binary.
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
    let idle = if options.quick { Duration::from_secs(1) } else { IDLE };
    let process = PathBuf::from(format!("/proc/{}", child.0.id()));
    std::thread::sleep(idle);
    let (written, cpu) = (written(&process)?, cpu_nanos(&process)?);
    std::thread::sleep(idle);
    ensure!(child.0.try_wait()?.is_none(), "the agent ended by itself");
    let written = self::written(&process)? - written;
    let busy = (cpu_nanos(&process)? - cpu) as f64 / idle.as_nanos() as f64 * 100.0;
    let peer = peer(&folder.join("peer"), idle)?;
    let rollup = process.join("smaps_rollup");
    let (pss, rss) = (kilobytes(&rollup, "Pss:")? / 1024.0, kilobytes(&rollup, "Rss:")? / 1024.0);
    let dirty = kilobytes(&rollup, "Private_Dirty:")? / 1024.0;
    let shown = format!("PSS {pss:.2} MiB (RSS {rss:.2} MiB, its own {dirty:.2} MiB)");
    let memory = Row::new("memory of an idle, settled agent", shown).at_most(pss, 6.0, "MiB");
    let memory = match peer {
        Some(peer) => memory.against("PSS of Mender's client 3, waiting for its server", pss, peer, "MiB"),
        None => memory,
    };
    Ok(vec![
        Row::new("size of bellwether-agent", format!("{size} bytes")).at_most(megabytes, 6.0, "MB"),
        memory,
        Row::new(
            "disk writes of an idle, settled agent",
            format!("{written} bytes in {} s of polls and looks", idle.as_secs()),
        )
        .at_most(written as f64, 1.0, "byte"),
        Row::new("processor time of an idle, settled agent", format!("{busy:.3} % of one core"))
            .at_most(busy, 0.1, "%"),
        super::downloading::row(options, agent)?,
    ])
}

/// The memory of another device's agent that waits, where it is installed: Debian's `mender-client`.
fn peer(folder: &Path, idle: Duration) -> anyhow::Result<Option<f64>> {
    std::fs::create_dir_all(folder)?;
    let config = folder.join("mender.conf");
    std::fs::write(&config, PEER)?;
    let mut command = Command::new("mender");
    command.arg("--config").arg(&config).arg("--data").arg(folder.join("data")).args(["--no-syslog", "daemon"]);
    let Ok(child) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        return Ok(None);
    };
    let mut child = Agent(child);
    std::thread::sleep(idle);
    ensure!(child.0.try_wait()?.is_none(), "Mender's client ended by itself");
    Ok(Some(kilobytes(Path::new(&format!("/proc/{}/smaps_rollup", child.0.id())), "Pss:")? / 1024.0))
}

/// A server that nobody is; polls as rare as Mender's own.
const PEER: &str = r#"{"ServerURL": "https://127.0.0.1:9", "UpdatePollIntervalSeconds": 1800, "InventoryPollIntervalSeconds": 28800,
"RetryPollIntervalSeconds": 300, "DBus": {"Enabled": false}}"#;

/// Bytes that the process had the kernel bring to a disk.
fn written(process: &Path) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(process.join("io"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.context("no count of written bytes")?.trim().parse()?)
}

/// Processor time of all threads so far.
fn cpu_nanos(process: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir(process.join("task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split(' ').next().context("no processor time")?.trim().parse::<u64>()?;
    }
    Ok(sum)
}

/// The agent's process; it ends with this.
pub struct Agent(pub Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
