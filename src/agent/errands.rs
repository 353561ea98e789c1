//! Carries out the parts of a device action.

use super::secrets::SecretsFile;
use crate::domain::actions::MAX_EXCERPT_BYTES;
use crate::domain::device::action::Failure;
use crate::domain::device::errand::Errand;
use crate::ports::engine::{Engine, LogBound};
use std::io::ErrorKind;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

/// How long the command that restarts the machine may take to say that it will.
const REBOOT_LIMIT: Duration = Duration::from_secs(60);

/// What errands need.
#[derive(Clone)]
pub(super) struct Hands {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) secrets: Arc<SecretsFile>,
    /// The command that restarts the machine; empty on a simulated one, which has nothing to restart.
    pub(super) reboot: Arc<[String]>,
}

/// Does them in order; the log that one of them brought, or the first failure.
pub(super) async fn run(errands: Vec<Errand>, hands: Hands) -> Result<Option<String>, Failure> {
    let mut log = None;
    for errand in errands {
        tracing::info!(?errand, "doing what an operator asked for");
        let done = match &errand {
            Errand::Restart { app, service } => {
                hands.engine.restart(app, service).await.map_err(|error| error.failure())
            }
            Errand::Remove { app, service } => {
                hands.engine.remove_service(app, service).await.map_err(|error| error.failure())
            }
            Errand::Purge { app, volume } => {
                hands.engine.purge_volume(app, volume).await.map_err(|error| error.failure())
            }
            Errand::Reboot => reboot(&hands.reboot).await,
            Errand::Logs { app, service, lines } => {
                let bound = LogBound { lines: *lines, bytes: MAX_EXCERPT_BYTES };
                let text = hands.engine.logs(app, service, bound).await.map_err(|error| error.failure());
                text.map(|text| log = Some(hands.secrets.values().conceal(&text)))
            }
        };
        done.map_err(|Failure { reason, message }| Failure {
            reason,
            message: hands.secrets.values().conceal(&message),
        })?;
    }
    Ok(log)
}

/// Tells the service manager to restart the machine in good order. Going down is not waited for.
pub(super) async fn reboot(command: &[String]) -> Result<(), Failure> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let failed = |message: String| Failure { reason: "RebootFailed", message: format!("`{program}`: {message}") };
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(REBOOT_LIMIT, child.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(format!("ended with {status}"))),
        // A container that has the agent alone lacks the usual program; who obeys it may be there all the same.
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound && program == "systemctl" => {
            super::os::bus::reboot(REBOOT_LIMIT)
                .await
                .map_err(|reason| failed(format!("there is no such program, and over D-Bus: {reason}")))
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("took longer than a minute".to_owned())),
    }
}
