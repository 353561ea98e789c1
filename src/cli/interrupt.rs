//! Being asked to stop.

use tokio::signal::unix::{SignalKind, signal};

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
