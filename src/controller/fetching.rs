//! Asks sources of lists for news, each on a thread of its own: one that hangs holds up no other, and never the fleet repo.

use super::lists::Lists;
use super::owner::show_chain;
use super::watch::Waker;
use crate::clock;
use crate::ports::lists::{Answer, ListSource};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Wakes the threads before their time. They stop once every one of these is dropped.
#[derive(Clone, Debug, Default)]
pub struct Fetching(Vec<SyncSender<()>>);

impl Fetching {
    /// Asks all sources now.
    pub fn wake(&self) {
        for thread in &self.0 {
            // A full channel means that it is about to ask anyway.
            let _ = thread.try_send(());
        }
    }
}

/// Starts a thread for each source.
pub fn start(
    sources: Vec<Box<dyn ListSource>>,
    lists: &Arc<Lists>,
    interval: Duration,
    watcher: &Waker,
) -> std::io::Result<Fetching> {
    let mut wakers = Vec::new();
    for mut source in sources {
        let (sender, receiver) = sync_channel(1);
        let (lists, watcher) = (lists.clone(), watcher.clone());
        std::thread::Builder::new().name("list".to_owned()).spawn(move || {
            loop {
                ask(source.as_mut(), &lists, &watcher);
                if !wait(&receiver, interval) {
                    return;
                }
            }
        })?;
        wakers.push(sender);
    }
    Ok(Fetching(wakers))
}

/// Whether the thread goes on.
fn wait(receiver: &Receiver<()>, interval: Duration) -> bool {
    match receiver.recv_timeout(interval) {
        Ok(()) | Err(RecvTimeoutError::Timeout) => true,
        Err(RecvTimeoutError::Disconnected) => false,
    }
}

/// Asks once, and keeps what counts.
fn ask(source: &mut dyn ListSource, lists: &Lists, watcher: &Waker) {
    let url = source.url().to_owned();
    let answer = source.ask(lists.etag(&url).as_deref());
    let failed = |reason: &str| {
        if lists.failed(&url, reason) {
            tracing::warn!(%url, error = %reason, "a list of devices does not come; the one that counts goes on counting");
        }
    };
    match answer {
        Answer::NotModified => lists.confirmed(&url, clock::now()),
        Answer::Refused(reason) => failed(&format!("refused: {reason}")),
        Answer::Unavailable(reason) => failed(&format!("unavailable: {reason}")),
        Answer::List { bytes, etag } => match lists.gave(&url, &bytes, etag, clock::now()) {
            Ok(true) => tracing::info!(%url, "a list of devices came"),
            Ok(false) => return,
            Err(error) => failed(&format!("it could not be kept: {}", show_chain(&error))),
        },
    }
    watcher.lists_changed();
}
