//! The service manager, if there is one: what it is told, and the watchdog that it may have.

use sd_notify::NotifyState;
use std::time::Duration;

/// What the manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The agent is there, and waits until the fleet lets the device in: a start that blocked for so long would fail.
    Waiting,
    /// The agent does its work.
    Ready,
    /// The agent was asked to stop.
    Stopping,
    /// The agent's loop turns.
    Alive,
}

/// Tells it, if there is one.
pub(super) fn tell(word: Word) {
    let states: &[NotifyState<'_>] = match word {
        Word::Waiting => &[NotifyState::Ready, NotifyState::Status("waits until the fleet lets this device in")],
        Word::Ready => &[NotifyState::Ready, NotifyState::Status("looks after this device")],
        Word::Stopping => &[NotifyState::Stopping],
        Word::Alive => &[NotifyState::Watchdog],
    };
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(error = %error, "the service manager could not be told");
    }
}

/// How often it wants to hear that the agent is alive: twice in the time after which it would take it for stuck. `None` if never.
pub(super) fn feeding() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Tells it that the agent is alive, for as long as something is waited for.
pub(super) async fn feed_while<T>(work: impl Future<Output = T>) -> T {
    let Some(every) = feeding() else { return work.await };
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(every, &mut work).await {
            Ok(done) => return done,
            Err(_) => tell(Word::Alive),
        }
    }
}
