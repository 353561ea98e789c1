//! One run of the test binary: its directory, its guard, and what it does when a real part is missing.
//!
//! The test harness of Rust never drops statics and a killed process drops nothing, so cleaning up is the guard's work: a
//! shell that waits until its standard input closes, which the kernel does when the test process is gone.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// The environment variable that marks every process that a run starts, with the run's directory as value. The guard finds
/// leftovers by it, so no process identifier can be forgotten or reused.
const MARK: &str = "BELLWETHER_TEST_RUN";

/// What one run of the test binary owns.
pub struct Run {
    directory: PathBuf,
    scratch_directories: AtomicU32,
    /// Holds the pipe whose end wakes the guard. Never waited for: it outlives this process by design.
    _guard: Child,
}

/// This process's run; the first call makes the directory and starts the guard.
pub fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(Run::begin)
}

impl Run {
    fn begin() -> Self {
        let directory = tempfile::Builder::new().prefix("bellwether-it-").tempdir().expect("make the run's directory");
        let directory = directory.keep();
        // A session of its own: Ctrl-C and a closed terminal must not end the guard before its work.
        let guard = Command::new("setsid")
            .args(["sh", "-c", include_str!("guard.sh"), "bellwether-test-guard"])
            .args([Path::new(MARK), &directory])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the run's guard with setsid (util-linux)");
        Self { directory, scratch_directories: AtomicU32::new(0), _guard: guard }
    }

    /// The run's name: unique on this machine, fit for namespaces and control groups.
    pub fn name(&self) -> &str {
        self.directory.file_name().and_then(|name| name.to_str()).expect("the run's directory was named by us")
    }

    /// A command whose process is ended by the guard at the latest.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(MARK, &self.directory);
        command
    }

    /// A new directory of this run, removed by the guard. `purpose` is for the reader of a failure.
    pub fn scratch(&self, purpose: &str) -> PathBuf {
        let number = self.scratch_directories.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.join(format!("{number}-{purpose}"));
        std::fs::create_dir_all(&directory).expect("make a scratch directory");
        directory
    }
}

/// Whether the parts that need root and installed programs can be used. In CI a missing part fails the test: a skipped test
/// would look like a passed one. On a developer's machine it is skipped, loudly.
pub fn has_real_parts(programs: &[&str]) -> bool {
    let missing = missing_parts(programs);
    if missing.is_empty() {
        return true;
    }
    let list = missing.join(", ");
    assert!(!in_ci(), "CI must test against real parts; missing: {list}. Run scripts/setup");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Not eprintln!: the test harness would hide it for a test that passes.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED {test}: needs {list}; run ./scripts/test as root to have everything tested"
    );
    false
}

fn missing_parts(programs: &[&str]) -> Vec<String> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let root = (!is_root).then(|| "root".to_owned());
    root.into_iter().chain(programs.iter().filter(|one| !is_installed(one)).map(|one| (*one).to_owned())).collect()
}

#[allow(clippy::disallowed_methods, reason = "looks up a program as the shell would")]
fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

#[allow(clippy::disallowed_methods, reason = "every CI service sets CI; there is no other way to know")]
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// A port for one server, below those that the system gives to outgoing connections: an agent that asks a dead controller
/// could otherwise be given the controller's own port.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("below the count");
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < COUNT, "no port is free");
        let port = FIRST + (start + step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
