//! Real agents in a child process: the library that ships, each with its own state directory, ledger, simulated engine and
//! connection.

use super::controller::Controller;
use super::fleet;
use super::process::{self, On};
use bellwether::agent::settings::{EngineKind, JoinSettings, OsKind, Settings};
use bellwether::domain::device::machine::Pace;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::watch;

/// How many threads the agents share. While one waits for its disk, as each device does for its own, the others go on.
const THREADS: usize = 32;

/// Starts agents for the devices from `first` on.
pub fn start(folder: &Path, controller: &Controller, first: usize, count: usize) -> anyhow::Result<process::Running> {
    let folder = folder.display().to_string();
    let arguments = ["agents", &folder, &controller.server, &controller.token, &first.to_string(), &count.to_string()];
    let mut running = process::Running::start(On::Any, &arguments)?;
    let _: serde_json::Value = running.answer()?;
    Ok(running)
}

/// A child that is many agents until its input ends.
pub fn child(folder: &Path, server: &str, token: &str, devices: std::ops::Range<usize>) -> anyhow::Result<()> {
    let (stop, stopping) = watch::channel(());
    let mut threads = Vec::new();
    for thread in 0..THREADS.min(devices.len()) {
        let mine = devices.clone().skip(thread).step_by(THREADS);
        let all: anyhow::Result<Vec<Settings>> = mine.map(|number| settings(folder, server, token, number)).collect();
        let (all, stopping) = (all?, stopping.clone());
        threads.push(std::thread::spawn(move || run(all, &stopping)));
    }
    process::say(&json!("started"));
    process::serve(|_| Ok(json!("ignored")))?;
    let _ = stop.send(());
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a thread of agents panicked"))??;
    }
    Ok(())
}

fn run(all: Vec<Settings>, stopping: &watch::Receiver<()>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let agents: Vec<_> = all
            .into_iter()
            .map(|settings| {
                let mut stopping = stopping.clone();
                tokio::task::spawn_local(bellwether::agent::run(settings, async move {
                    let _ = stopping.changed().await;
                }))
            })
            .collect();
        for agent in agents {
            agent.await??;
        }
        Ok(())
    })
}

fn settings(folder: &Path, server: &str, token: &str, number: usize) -> anyhow::Result<Settings> {
    Ok(Settings {
        state_dir: folder.join(fleet::device_name(number)),
        enrollment: Some(JoinSettings {
            server: server.to_owned(),
            token: Some(token.parse()?),
            device: Some(fleet::device(number)),
            ca_file: None,
        }),
        engine: EngineKind::Simulated,
        os: OsKind::Simulated,
        branch: None,
        attributes: BTreeMap::new(),
        pace: Pace::default(),
        log: tracing::Level::ERROR,
    })
}
