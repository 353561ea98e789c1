//! Programs that Git's work is given to, `git` and `gpg`: started with arguments and never through a shell, with an environment
//! of their own, in a process group of their own, for a bounded time and a bounded output.

mod watched;

use crate::git::secret::scrub;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a program may take to end after it was asked to; then it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How much of what a program complains is kept, in bytes: the last words tell what happened.
const MAX_SAID_BYTES: usize = 16 << 10;
/// The largest file that a program may write: a pack of a whole fleet repo fits many times, an endless one does not fill the disk.
const MAX_WRITTEN_BYTES: u64 = 16 << 30;

/// What programs inherit from our own environment: where programs are, where temporary files go, which proxy to use and which
/// authorities the machine trusts. Nothing else, above all no `GIT_*`, no `SSH_*` and none of our own settings.
const INHERITED: [&str; 12] = [
    "PATH",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TZ",
];

/// How much a program may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long it may run.
    pub(super) wall: Duration,
    /// How much it may answer, in bytes.
    pub(super) answer_bytes: usize,
}

/// Why a program's work came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("the program `{0}` is not installed")]
    NotInstalled(&'static str),
    #[error("the program `{program}` could not be started: {source}")]
    NotStarted { program: &'static str, source: std::io::Error },
    #[error("{program} did not come to an end within {secs} s{}", after(said))]
    TookTooLong { program: &'static str, secs: u64, said: String },
    #[error("{program} answered more than {limit} bytes")]
    SaidTooMuch { program: &'static str, limit: usize },
    #[error("it was stopped because the controller stops")]
    Stopped,
    #[error("{}", last_words(program, said))]
    Failed { program: &'static str, said: String },
}

fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; its last words: {said}") }
}

fn last_words(program: &str, said: &str) -> String {
    if said.is_empty() { format!("{program} failed without a word") } else { format!("{program}: {said}") }
}

/// A program that has not been started.
pub(super) struct Program {
    name: &'static str,
    command: Command,
    /// Texts that must not be seen in anything that it says.
    secrets: Vec<String>,
}

impl Program {
    /// A program with an environment of its own. `home` is what it takes for its user's folder.
    pub(super) fn new(name: &'static str, home: &Path) -> Self {
        let mut command = Command::new(name);
        command.env_clear().envs(inherited()).env("LC_ALL", "C").env("HOME", home);
        Self { name, command, secrets: Vec::new() }
    }

    pub(super) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    pub(super) fn args<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.command.args(arguments.into_iter().map(Into::into));
        self
    }

    /// Keeps these texts out of everything that is told of the program.
    pub(super) fn hiding(mut self, secrets: impl IntoIterator<Item = String>) -> Self {
        self.secrets.extend(secrets);
        self
    }

    /// Runs it to its end, and answers with what it wrote if it succeeded.
    pub(super) fn run(self, bounds: Bounds, stop: &Stop) -> Result<Vec<u8>, ProgramError> {
        self.run_expecting(Expected::Success, bounds, stop)
    }

    /// The same for a program that says by failing that the answer is no.
    pub(super) fn run_whatever_comes(self, bounds: Bounds, stop: &Stop) -> Result<Vec<u8>, ProgramError> {
        self.run_expecting(Expected::AnyEnd, bounds, stop)
    }

    fn run_expecting(mut self, expected: Expected, bounds: Bounds, stop: &Stop) -> Result<Vec<u8>, ProgramError> {
        let ended = watched::run(self.name, &mut self.command, bounds, stop)?;
        let said = scrub(&ended.said, &self.secrets);
        match ended.how {
            watched::How::Succeeded => Ok(ended.answer),
            watched::How::Failed if expected == Expected::AnyEnd => Ok(ended.answer),
            watched::How::Failed => Err(ProgramError::Failed { program: self.name, said }),
            watched::How::Stopped => Err(ProgramError::Stopped),
            watched::How::TookTooLong => {
                Err(ProgramError::TookTooLong { program: self.name, secs: bounds.wall.as_secs(), said })
            }
            watched::How::SaidTooMuch => {
                Err(ProgramError::SaidTooMuch { program: self.name, limit: bounds.answer_bytes })
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Success,
    AnyEnd,
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the fence's gate: a few variables are handed on and never looked at"
)]
fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)))
}

/// Ends what runs now and whatever would be started later, so that the controller leaves no program behind when it stops.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// The group of the program that runs.
    running: Option<Pid>,
}

impl Stop {
    /// Asks the running program to end, waits for that, and refuses all others. It takes seconds at most: a program that does not
    /// listen is killed.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        for signal in [Signal::TERM, Signal::KILL] {
            let Some(group) = state.running else { return };
            let _ = kill_process_group(group, signal);
            let waited = self.0.changed.wait_timeout_while(state, 2 * GRACE, |state| state.running.is_some());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn is_stopping(&self) -> bool {
        self.state().stopping
    }

    /// Remembers the running program until the answer is dropped.
    fn running(&self, group: Pid) -> Registered<'_> {
        let mut state = self.state();
        state.running = Some(group);
        if state.stopping {
            let _ = kill_process_group(group, Signal::TERM);
        }
        Registered(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Registered<'a>(&'a Stop);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.0.state().running = None;
        self.0.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
