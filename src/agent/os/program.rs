//! Programs of the device that the agent runs: no shell, a bounded time, a bounded output, an environment of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

/// The longest output that is read, in bytes: a status is a few hundred.
pub const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// How much of what a program complains is told, in bytes; its end says why it gave up.
const MAX_COMPLAINT_BYTES: usize = 512;
/// Where programs are looked for that programs start.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program and its first arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Vec<String>);

/// The text names no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a program is a name or an absolute path, with arguments, or a JSON list of such texts")]
pub struct ProgramError;

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it said.
    pub output: Vec<u8>,
    /// The end of what it complained.
    pub complaint: String,
}

/// How a program ended that is listened to for people alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The last lines of what it said and complained, oldest first.
    pub lines: Vec<String>,
}

impl std::str::FromStr for Program {
    type Err = ProgramError;

    /// `/usr/bin/tool --flag`, or `["/usr/bin/tool", "--an argument"]`. There is no quoting: who needs it writes the list.
    fn from_str(text: &str) -> Result<Self, ProgramError> {
        let words: Vec<String> = match text.starts_with('[') {
            true => serde_json::from_str(text).map_err(|_| ProgramError)?,
            false => text.split_ascii_whitespace().map(str::to_owned).collect(),
        };
        // A name alone is looked for where the system keeps its programs; a path must not depend on where the agent stands.
        let is_found =
            words.first().is_some_and(|first| !first.is_empty() && (first.starts_with('/') || !first.contains('/')));
        if is_found && words.iter().all(|word| !word.contains('\0')) { Ok(Self(words)) } else { Err(ProgramError) }
    }
}

impl Program {
    /// The program at an absolute path, without arguments.
    pub fn at(path: &std::path::Path) -> Option<Self> {
        let text = path.to_str().filter(|text| text.starts_with('/') && !text.contains('\0'))?;
        Some(Self(vec![text.to_owned()]))
    }

    /// The program and its first arguments.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Runs it with more arguments. An error says why there is no end of it to tell.
    pub async fn run(
        &self,
        more: &[&str],
        environment: &BTreeMap<&str, OsString>,
        limit: Duration,
    ) -> Result<Ended, String> {
        let (mut child, group) = self.start(more, environment)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ended = async {
            let (output, complaint) = tokio::join!(all_of(stdout), last_of(stderr));
            let status = child.wait().await.map_err(|error| error.to_string())?;
            let complaint = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
            Ok(Ended { code: status.code(), output: output?, complaint })
        };
        self.within(limit, group, ended).await
    }

    /// Runs it with more arguments. However much it writes, the end of it is kept. An error says why there is no end of it to tell.
    pub async fn run_telling(
        &self,
        more: &[&str],
        environment: &BTreeMap<&str, OsString>,
        limit: Duration,
    ) -> Result<Run, String> {
        let (mut child, group) = self.start(more, environment)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ended = async {
            let (said, complained) = tokio::join!(last_of(stdout), last_of(stderr));
            let status = child.wait().await.map_err(|error| error.to_string())?;
            let lines = said.lines().chain(complained.lines()).map(str::trim_end).filter(|line| !line.is_empty());
            Ok(Run { code: status.code(), lines: lines.map(str::to_owned).collect() })
        };
        self.within(limit, group, ended).await
    }

    /// Waits for the end of a program, and ends it with all that it started if that does not come.
    async fn within<T>(
        &self,
        limit: Duration,
        group: Option<rustix::process::Pid>,
        ended: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let shown = &self.0[0];
        let reason = match tokio::time::timeout(limit, ended).await {
            Ok(Ok(ended)) => return Ok(ended),
            Ok(Err(reason)) => format!("{shown}: {reason}"),
            Err(_) => format!("{shown} did not end within {} seconds", limit.as_secs()),
        };
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        Err(reason)
    }

    fn start(
        &self,
        more: &[&str],
        environment: &BTreeMap<&str, OsString>,
    ) -> Result<(Child, Option<rustix::process::Pid>), String> {
        let Self(words) = self;
        let shown = &words[0];
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(more)
            .env_clear()
            .env("PATH", PATH)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it started ends with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{shown} could not be started: {error}"))?;
        let group = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        Ok((child, group))
    }
}

async fn all_of(source: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let Some(source) = source else { return Ok(bytes) };
    let most = MAX_OUTPUT_BYTES as u64 + 1;
    source.take(most).read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
    if bytes.len() > MAX_OUTPUT_BYTES {
        return Err(format!("it said more than {MAX_OUTPUT_BYTES} bytes"));
    }
    Ok(bytes)
}

/// Reads to the end, so that the program is not held up, and keeps the last lines.
async fn last_of(source: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut source) = source else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = source.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(MAX_COMPLAINT_BYTES);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

impl Ended {
    /// How it ended, for people.
    pub fn told(&self) -> String {
        let code = self.code.map_or_else(|| "by a signal".to_owned(), |code| format!("with {code}"));
        if self.complaint.is_empty() {
            format!("it ended {code}")
        } else {
            format!("{} (it ended {code})", self.complaint)
        }
    }
}
