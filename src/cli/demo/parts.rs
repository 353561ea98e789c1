//! The demo's processes: one controller and one agent per device, each with its log in the demo's folder.

use anyhow::Context as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How many lines of a log are shown when something went wrong.
const LOG_TAIL: usize = 12;
/// How long a process may take to stop after it was asked to, before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A process of the demo.
pub struct Part {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Part {
    /// Starts a process. It is killed when the demo goes, whatever happens.
    pub fn start(name: &str, program: &Path, arguments: &[String], folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C reaches the demo alone, which then stops its parts in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it ended, if it did although nobody asked it to.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} ended with {status}\n{}", self.name, self.log_tail()))
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LOG_TAIL);
        lines[from..].iter().map(|line| format!("    {line}\n")).collect()
    }

    /// Asks it to stop, and kills it if it does not.
    pub async fn stop(&mut self) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(STOP_GRACE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// The agent's executable: beside this one.
pub fn agent_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find out where this program is")?;
    let beside = own.with_file_name("bellwether-agent");
    anyhow::ensure!(
        beside.is_file(),
        "there is no {}; build it with `cargo build --bins` or install it beside `bellwether`",
        beside.display()
    );
    Ok(beside)
}
