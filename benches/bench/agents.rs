//! Real agents in a child process: the library that ships, each with its own state directory, ledger, simulated engine and
//! connection.

use super::controller::Controller;
use super::fleet;
use super::process::{self, On};
use bellwether::agent::settings::{EngineKind, HostKind, JoinSettings, OsKind, Settings};
use bellwether::domain::device::machine::Pace;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::watch;

/// How many threads the agents share. While one waits for its disk, as each device does for its own, the others go on.
const THREADS: usize = 32;

/// How much of an agent each one is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// The whole library.
    Whole,
    /// Its state machine and its link; ledger and engine are in memory.
    Light,
}

/// Starts agents for the devices from `first` on.
pub fn start(
    kind: Kind,
    folder: &Path,
    controller: &Controller,
    first: usize,
    count: usize,
) -> anyhow::Result<process::Running> {
    let kind = match kind {
        Kind::Whole => "whole",
        Kind::Light => "light",
    };
    let (folder, first, count) = (folder.display().to_string(), first.to_string(), count.to_string());
    let arguments = ["agents", kind, &folder, &controller.server, &controller.token, &first, &count];
    let mut running = process::Running::start(On::Any, &arguments)?;
    let _: serde_json::Value = running.answer()?;
    Ok(running)
}

/// A child that is many agents until its input ends.
pub fn child(
    kind: &str,
    folder: &Path,
    server: &str,
    token: &str,
    devices: std::ops::Range<usize>,
) -> anyhow::Result<()> {
    let kind = if kind == "light" { Kind::Light } else { Kind::Whole };
    let (stop, stopping) = watch::channel(());
    let mut threads = Vec::new();
    // Light agents never wait for a disk.
    let count = match kind {
        Kind::Whole => THREADS.min(devices.len()),
        Kind::Light => 1,
    };
    for thread in 0..count {
        let mine = devices.clone().skip(thread).step_by(count);
        let all: anyhow::Result<Vec<Settings>> = mine.map(|number| settings(folder, server, token, number)).collect();
        let (all, stopping) = (all?, stopping.clone());
        threads.push(std::thread::spawn(move || run(kind, all, &stopping)));
    }
    process::say(&json!("started"));
    process::serve(|_| Ok(json!("ignored")))?;
    let _ = stop.send(());
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a thread of agents panicked"))??;
    }
    Ok(())
}

fn run(kind: Kind, all: Vec<Settings>, stopping: &watch::Receiver<()>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let agents: Vec<_> = all
            .into_iter()
            .map(|settings| {
                let mut stopping = stopping.clone();
                tokio::task::spawn_local(async move {
                    let stop = async move {
                        let _ = stopping.changed().await;
                    };
                    match kind {
                        Kind::Whole => Ok(bellwether::agent::run(settings, stop).await?),
                        Kind::Light => super::light::run(settings, stop).await,
                    }
                })
            })
            .collect();
        for agent in agents {
            agent.await??;
        }
        anyhow::Ok(())
    })
}

fn settings(folder: &Path, server: &str, token: &str, number: usize) -> anyhow::Result<Settings> {
    Ok(Settings {
        core_dumps: None,
        state_dir: folder.join(fleet::device_name(number)),
        enrollment: Some(JoinSettings {
            server: server.to_owned(),
            token: Some(token.parse()?),
            device: Some(fleet::device(number)),
            ca_file: None,
        }),
        engine: EngineKind::Simulated,
        host: HostKind::Simulated,
        os: OsKind::Simulated,
        lock_dir: folder.join("locks"),
        boot_id_file: "/proc/sys/kernel/random/boot_id".into(),
        reboot: Vec::new(),
        api: None,
        branch: None,
        attributes: BTreeMap::new(),
        pace: Pace::default(),
        log: tracing::Level::ERROR,
    })
}
