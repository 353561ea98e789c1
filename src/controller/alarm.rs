//! Wakes the owner when a rollout is due.

use super::owner::{CommandError, Handle};
use crate::clock::{self, Deadline};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// No alarm is set further away: a pass sets the next one anyway, and the wall clock may be set meanwhile.
const LONGEST: Duration = Duration::from_secs(600);

/// Sets when the owner is woken next. The last word counts; a past one is over.
#[derive(Debug)]
pub struct Alarm(Sender<Option<Duration>>);

impl Alarm {
    /// Starts its thread, which ends with the owner.
    pub fn start(owner: &Handle) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let weak = owner.weak();
        let wake = move || weak.tick();
        std::thread::Builder::new().name("alarm".to_owned()).spawn(move || run(&receiver, wake))?;
        Ok(Self(sender))
    }

    /// Wakes the owner after this time; not at all if it is `None`.
    pub fn set(&self, after: Option<Duration>) {
        // The thread only ends when the owner does.
        let _ = self.0.send(after.map(|after| after.min(LONGEST)));
    }
}

fn run(alarms: &Receiver<Option<Duration>>, wake: impl Fn() -> Result<(), CommandError>) {
    let mut due: Option<Deadline> = None;
    loop {
        let set = match due {
            Some(due) => alarms.recv_timeout(due.left()),
            None => alarms.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match set {
            Ok(after) => due = after.map(clock::deadline),
            Err(RecvTimeoutError::Timeout) => {
                due = None;
                if wake().is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
