//! Child processes: starting, talking to, and measuring them.

use anyhow::{Context as _, bail, ensure};
use serde::de::DeserializeOwned;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Which processor a child runs on.
#[derive(Clone, Copy)]
pub enum On {
    /// Any.
    Any,
    /// This one alone, where there is more than one and `taskset` is there.
    Core(usize),
}

/// A child that answers each line with one line of JSON. It ends when it is dropped.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a child of this program.
    pub fn start(on: On, arguments: &[&str]) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let mut command = match on {
            On::Core(core) if can_pin() => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", &core.to_string()]).arg(own);
                command
            }
            On::Core(_) | On::Any => Command::new(own),
        };
        command.arg("child").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("could not start a child")?;
        let output = BufReader::new(child.stdout.take().context("a piped output")?);
        Ok(Self { input: child.stdin.take(), child, output })
    }

    /// What the child says next.
    pub fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "a child ended without an answer");
        serde_json::from_str(&line).with_context(|| format!("a child answered {line:?}"))
    }

    /// Asks the child for something.
    pub fn ask<T: DeserializeOwned>(&mut self, line: &str) -> anyhow::Result<T> {
        writeln!(self.input.as_mut().context("a piped input")?, "{line}")?;
        self.answer()
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of its input is the sign to stop; whoever does not see it is killed.
        drop(self.input.take());
        for _ in 0..500 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a child to its end and reads its one answer.
pub fn run<T: DeserializeOwned>(arguments: &[&str]) -> anyhow::Result<T> {
    let mut child = Running::start(On::Any, arguments)?;
    let answer = child.answer()?;
    ensure!(child.child.wait()?.success(), "a child failed");
    Ok(answer)
}

/// In a child: answers each line of the input until it ends.
pub fn serve(mut answer: impl FnMut(&str) -> anyhow::Result<serde_json::Value>) -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        say(&answer(&line?)?);
    }
    Ok(())
}

/// In a child: answers.
pub fn say(answer: &serde_json::Value) {
    println!("{answer}");
}

/// Whether children can be given a core of their own.
pub fn can_pin() -> bool {
    cores() > 1 && Command::new("taskset").arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// How many processors there are.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Seconds of processor time that a process took so far, all threads and both modes.
pub fn cpu_secs(process: u32) -> anyhow::Result<f64> {
    // Ticks in /proc are a hundredth of a second on every Linux, whatever the kernel's own are.
    const TICKS_PER_SEC: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name stands in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(") ").context("a name in parentheses")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks as f64 / TICKS_PER_SEC)
}

/// Seconds of processor time that this thread took so far.
pub fn thread_cpu_secs() -> f64 {
    // The kernel brings the figure up to date when a thread gives way, and otherwise only with each tick.
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos: u64 = stat.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0);
    nanos as f64 / 1e9
}

/// The most memory that this process ever had, in MiB.
pub fn peak_mib() -> anyhow::Result<f64> {
    kilobytes(Path::new("/proc/self/status"), "VmHWM:").map(|kilobytes| kilobytes / 1024.0)
}

/// A line of a file of /proc, in kB.
pub fn kilobytes(file: &Path, name: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(file)?;
    let Some(line) = text.lines().find_map(|line| line.strip_prefix(name)) else { bail!("no {name} in {file:?}") };
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
