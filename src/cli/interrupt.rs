//! Being asked to stop.

use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// How work ended that somebody may interrupt.
#[derive(Debug)]
pub enum Asked<T> {
    /// It was done.
    Done(T),
    /// Somebody asked to stop before.
    ToStop,
}

/// Works on another thread, and does not wait for it once somebody asks to stop: what is at work then ends with the process. Work that
/// was done before is not thrown away any more.
pub fn unless_asked_to_stop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<Asked<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let starts = async {
            let worker = std::thread::Builder::new().name("work".to_owned()).spawn(move || sender.send(work()))?;
            match receiver.await {
                Ok(done) => Ok(Asked::Done(done)),
                // It was dropped: the thread panicked.
                Err(_) => match worker.join() {
                    Err(panic) => std::panic::resume_unwind(panic),
                    Ok(_) => Err(io::Error::other("the work went away")),
                },
            }
        };
        tokio::select! {
            biased;
            () = asked_to_stop() => Ok(Asked::ToStop),
            done = starts => done,
        }
    })
}

/// Completes at Ctrl-C, or when a program asks politely. Signals count from the first poll on.
pub async fn asked_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        // Without signals there is nothing to wait for.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
}
