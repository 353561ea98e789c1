//! Processes: the project's own executables and those of others, and waiting for what they do.

use super::run::run;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The controller and command line.
pub const BELLWETHER: &str = env!("CARGO_BIN_EXE_bellwether");
/// The device's agent.
pub const BELLWETHER_AGENT: &str = env!("CARGO_BIN_EXE_bellwether-agent");

/// How long [`eventually`] waits. Far more than anything here takes, because a loaded CI machine is slow and a failure is
/// worth waiting for; it bounds a hang and measures nothing.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long the end of a program is waited for, which takes as long as all of its steps.
const PATIENCE_WITH_PROGRAMS: Duration = Duration::from_secs(1200);
/// How often [`eventually`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` finds something, and returns it. `what` completes the sentence "gave up waiting until …".
///
/// The only place of these tests that reads a clock or sleeps: another process tells nobody that it is ready. No result may
/// depend on how long it took.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look)
}

#[allow(clippy::disallowed_methods, reason = "another process can only be waited for with a timer")]
#[track_caller]
fn eventually_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < patience, "gave up waiting until {what}, after {} s", patience.as_secs());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Lets at most `patience` pass, or less if `look` sees something sooner; whether it did.
///
/// For strokes of fate at moments that nobody chose: what is true afterwards must not depend on how long this took.
#[allow(clippy::disallowed_methods, reason = "a moment in another process's life can only be waited for with a timer")]
pub fn within(patience: Duration, mut look: impl FnMut() -> bool) -> bool {
    /// Short beside anything that a process does with a disk.
    const LOOK_CLOSELY_EVERY: Duration = Duration::from_micros(500);
    let start = std::time::Instant::now();
    while start.elapsed() < patience {
        if look() {
            return true;
        }
        std::thread::sleep(LOOK_CLOSELY_EVERY);
    }
    false
}

/// Runs a command to its end: its standard output, trimmed, or a message with the command, its status and what it printed.
pub fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} ended with {}:\n{printed}\n{}", output.status, complaint.trim()))
}

/// A command of one of the project's executables that sees nothing of the developer's own environment.
pub fn program(executable: &str) -> Command {
    let mut command = run().command(executable);
    let settings = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BELLWETHER_"));
    for (name, _) in settings {
        command.env_remove(name);
    }
    command
}

/// A process in the background, killed when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a command; what it prints goes to a log of its own. `name` is for the reader of a failure.
    #[track_caller]
    pub fn start(name: &str, mut command: Command) -> Self {
        let log = run().scratch(name).join("log");
        let output = File::create(&log).expect("make a log");
        let errors = output.try_clone().expect("share the log");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, log }
    }

    /// The same with standard output in a file of its own; the log has what goes to people.
    #[track_caller]
    pub fn start_apart(name: &str, mut command: Command, file: &Path) -> Self {
        let log = run().scratch(name).join("log");
        let (output, errors) = (File::create(file).expect("make a file"), File::create(&log).expect("make a log"));
        let started = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let child = started.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, log }
    }

    /// Everything that it printed so far, both streams in order.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for a line that contains `text` and returns the first such line. Panics with the log if the process ends
    /// without printing one.
    #[track_caller]
    pub fn line_with(&mut self, text: &str) -> String {
        eventually(&format!("a process prints {text:?}"), || {
            let ended = self.try_status();
            let log = self.log();
            let line = log.lines().find(|line| line.contains(text)).map(str::to_owned);
            assert!(line.is_some() || ended.is_none(), "ended with {ended:?} without printing {text:?}:\n{log}");
            line
        })
    }

    /// How it ended, if it has.
    pub fn try_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("look at a process")
    }

    /// Waits for its end.
    #[track_caller]
    pub fn status(&mut self) -> ExitStatus {
        eventually_within(PATIENCE_WITH_PROGRAMS, "a process ends", || self.try_status())
    }

    /// Its process identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a power cut would: SIGKILL, no last words.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill a process");
        self.child.wait().expect("reap a process");
    }

    /// Makes it stand still until [`Running::thaw`].
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("send a signal");
    }

    /// Asks it to stop with SIGTERM and waits for its end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.status()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either may fail because it has already ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            report_log(&self.log);
        }
    }
}

/// Shows the end of a log beside the failure of its test.
#[allow(clippy::print_stderr, reason = "the test harness shows this with the failed test")]
fn report_log(log: &Path) {
    /// Enough to see what happened last, short enough to find the failure itself.
    const LINES: usize = 60;
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    let name = log.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    eprintln!("--- the last lines of {name} ---\n{}", tail.join("\n"));
}

/// Whether a process ended by SIGKILL, as after [`Running::kill`].
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}
