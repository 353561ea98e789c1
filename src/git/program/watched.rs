//! One program from its start to its end. Three threads wait for it, its answer and its complaints; this one waits for them, so
//! that nothing that the program does or leaves undone can hold it longer than its bounds.

use super::{Bounds, GRACE, MAX_SAID_BYTES, MAX_WRITTEN_BYTES, ProgramError, Stop};
use crate::clock::{self, Deadline};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, prlimit, waitid};
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// How often people are told how far a long fetch has come.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How a program ended.
pub(super) enum How {
    Succeeded,
    Failed,
    TookTooLong,
    SaidTooMuch,
    Stopped,
}

/// A program that ended, and what it wrote.
pub(super) struct Ended {
    pub(super) how: How,
    pub(super) answer: Vec<u8>,
    pub(super) said: Vec<u8>,
}

enum Event {
    Exited,
    Answered(Vec<u8>),
    /// It answers more than it may.
    TooMuch,
    /// A line of its progress.
    Progress(String),
    Said(Vec<u8>),
}

pub(super) fn run(
    name: &'static str,
    command: &mut Command,
    bounds: Bounds,
    stop: &Stop,
) -> Result<Ended, ProgramError> {
    if stop.is_stopping() {
        return Err(ProgramError::Stopped);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ProgramError::NotInstalled(name),
        _ => ProgramError::NotStarted { program: name, source },
    })?;
    let group = Pid::from_child(&child);
    let registered = stop.running(group);
    limit(group);
    let watching = match listen(&mut child, group, bounds.answer_bytes) {
        Ok(events) => Watching::over(name, group, events, bounds.wall),
        Err(source) => {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait();
            return Err(ProgramError::NotStarted { program: name, source });
        }
    };
    let Watching { answer, said, overdue, exited, .. } = watching;
    // One that did not even end when it was killed hangs in the kernel; it is left to it.
    let succeeded = exited && child.wait().is_ok_and(|status| status.success());
    drop(registered);
    let how = match overdue {
        _ if stop.is_stopping() => How::Stopped,
        Some(how) => how,
        None if succeeded => How::Succeeded,
        None => How::Failed,
    };
    Ok(Ended { how, answer: answer.unwrap_or_default(), said: said.unwrap_or_default() })
}

/// What it starts inherits the same limits.
fn limit(program: Pid) {
    let most = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    // A machine that does not let us is one that limits us itself.
    let _ = prlimit(Some(program), Resource::Fsize, most(MAX_WRITTEN_BYTES));
    // Its memory holds credentials.
    let _ = prlimit(Some(program), Resource::Core, most(0));
}

fn listen(child: &mut Child, group: Pid, answer_bytes: usize) -> std::io::Result<Receiver<Event>> {
    let (sender, events) = channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (answers, says) = (sender.clone(), sender.clone());
    let start = |name: &str| std::thread::Builder::new().name(name.to_owned());
    start("git-out").spawn(move || {
        if let Some(stdout) = stdout {
            hear_answer(stdout, answer_bytes, &answers);
        }
    })?;
    start("git-err").spawn(move || {
        if let Some(stderr) = stderr {
            hear_complaints(stderr, &says);
        }
    })?;
    start("git-wait").spawn(move || {
        // It is not reaped here: as long as it is a zombie nobody else gets its number, and its group can be killed.
        let _ = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let _ = sender.send(Event::Exited);
    })?;
    Ok(events)
}

fn hear_answer(mut from: impl Read, limit: usize, to: &Sender<Event>) {
    let mut answer = Vec::new();
    let mut chunk = [0; 8 << 10];
    let mut limit_told = false;
    // It is read to the end in any case, so that the program is not kept from ending.
    while let Ok(length) = from.read(&mut chunk) {
        if length == 0 {
            break;
        }
        if answer.len() + length <= limit {
            answer.extend_from_slice(&chunk[..length]);
        } else if !limit_told {
            limit_told = true;
            let _ = to.send(Event::TooMuch);
        }
    }
    let _ = to.send(Event::Answered(answer));
}

fn hear_complaints(mut from: impl Read, to: &Sender<Event>) {
    let mut said: Vec<u8> = Vec::new();
    let mut line: Vec<u8> = Vec::new();
    let mut returned = false;
    let mut chunk = [0; 4 << 10];
    while let Ok(length) = from.read(&mut chunk) {
        if length == 0 {
            break;
        }
        for byte in &chunk[..length] {
            // ssh ends its lines with both; progress ends with the first alone, and overwrites its own line.
            if std::mem::take(&mut returned) && *byte != b'\n' {
                let _ = to.send(Event::Progress(String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned()));
            }
            match byte {
                b'\r' => returned = true,
                b'\n' => {
                    said.append(&mut line);
                    said.push(b'\n');
                }
                byte if line.len() < MAX_SAID_BYTES => line.push(*byte),
                _ => {}
            }
        }
        if said.len() > MAX_SAID_BYTES {
            said.drain(..said.len() - MAX_SAID_BYTES);
        }
    }
    said.append(&mut line);
    let _ = to.send(Event::Said(said));
}

/// How far a running program was brought towards its end.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Runs,
    Asked,
    Killed,
}

struct Watching {
    answer: Option<Vec<u8>>,
    said: Option<Vec<u8>>,
    exited: bool,
    overdue: Option<How>,
    phase: Phase,
}

impl Watching {
    fn over(name: &str, group: Pid, events: Receiver<Event>, wall: Duration) -> Self {
        let mut this = Self { answer: None, said: None, exited: false, overdue: None, phase: Phase::Runs };
        let mut due = clock::deadline(wall);
        let mut tell = clock::deadline(TELL_EVERY);
        while !(this.exited && this.answer.is_some() && this.said.is_some()) {
            let Ok(event) = events.recv_timeout(due.left()) else {
                // What it started may hold its pipes open after it ended; those ends are not waited for.
                if this.exited || this.phase == Phase::Killed {
                    break;
                }
                due = this.hurry(group, How::TookTooLong);
                continue;
            };
            match event {
                Event::Exited => {
                    this.exited = true;
                    let _ = kill_process_group(group, Signal::KILL);
                    due = clock::deadline(GRACE);
                }
                Event::Answered(answer) => this.answer = Some(answer),
                Event::Said(said) => this.said = Some(said),
                Event::TooMuch => due = this.hurry(group, How::SaidTooMuch),
                Event::Progress(progress) if tell.left().is_zero() => {
                    tell = clock::deadline(TELL_EVERY);
                    tracing::info!(program = name, "{}", super::super::secret::scrub(progress.as_bytes(), &[]));
                }
                Event::Progress(_) => {}
            }
        }
        this
    }

    /// Asks the program and everything that it started to end, and kills them the next time.
    fn hurry(&mut self, group: Pid, why: How) -> Deadline {
        let (phase, signal) = match self.phase {
            Phase::Runs => (Phase::Asked, Signal::TERM),
            Phase::Asked | Phase::Killed => (Phase::Killed, Signal::KILL),
        };
        self.phase = phase;
        self.overdue.get_or_insert(why);
        let _ = kill_process_group(group, signal);
        clock::deadline(GRACE)
    }
}
