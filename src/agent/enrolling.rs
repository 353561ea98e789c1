//! Getting an identity: the device makes its own key, writes it down, and asks until it belongs to the fleet.

use super::AgentError;
use super::files::{StateDirectory, read_bounded};
use super::identity::Identity;
use super::link::enroll;
use super::manager::{Word, tell};
use super::settings::{JoinSettings, Settings};
use crate::domain::device::backoff::{Backoff, Draws};
use crate::domain::ids::DeviceId;
use crate::trust::{MAX_CA_FILE_BYTES, parse_pem};
use std::collections::BTreeMap;
use std::time::Duration;

/// Back-off between requests: a person who just approved a device waits for it.
const RETRY: Backoff = Backoff { base_millis: 1000, cap_millis: 30_000 };

/// The identity of a device that belongs to the fleet; asks until it does.
pub(super) async fn enrolled(
    directory: &StateDirectory,
    settings: &Settings,
    attributes: &BTreeMap<String, String>,
) -> Result<Identity, AgentError> {
    let mut identity = match Identity::read(directory)? {
        Some(identity) => identity,
        None => begin(directory, settings)?,
    };
    let token = settings.enrollment.as_ref().and_then(|join| join.token.as_ref());
    let mut draws = Draws::new(&identity.device, 0, "enroll");
    let mut failures = 0u32;
    if identity.trust()?.is_none() {
        tell(Word::Waiting);
    }
    while identity.trust()?.is_none() {
        let before = identity.enrollment.clone();
        let mut retry_after_secs = None;
        match enroll(&mut identity, token, attributes).await {
            Ok(()) => {
                if identity.enrollment != before {
                    identity.write(directory)?;
                    let status = identity.enrollment.as_ref().map(|enrollment| enrollment.status);
                    tracing::info!(device.id = %identity.device, ?status, "the controller answered the enrollment");
                }
                failures = failures.min(4);
            }
            Err(error) => {
                retry_after_secs = error.retry_after_secs();
                tracing::warn!(device.id = %identity.device, error = %chain(&error), "could not enroll; asking again later");
            }
        }
        if identity.trust()?.is_some() {
            break;
        }
        failures = failures.saturating_add(1);
        let millis = RETRY.wait_honouring(failures, draws.draw(), retry_after_secs);
        // Nothing can wake it: only the controller knows when a person has said yes, and it must be asked.
        tokio::time::sleep(Duration::from_millis(u64::try_from(millis).unwrap_or(0))).await;
    }
    Ok(identity)
}

/// A new identity, in its file before anything is asked: asking again with the same key is harmless, with another it is not.
fn begin(directory: &StateDirectory, settings: &Settings) -> Result<Identity, AgentError> {
    let join = settings.enrollment.as_ref().ok_or(AgentError::NotEnrolled)?;
    let identity = new_identity(join)?;
    identity.write(directory)?;
    Ok(identity)
}

pub(super) fn new_identity(join: &JoinSettings) -> Result<Identity, AgentError> {
    let device = match &join.device {
        Some(device) => device.clone(),
        None => host_name()?,
    };
    let mut identity = Identity::new(join.server.clone(), device)?;
    if let Some(path) = &join.ca_file {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| AgentError::Authority { path: path.clone(), source };
        let text = read_bounded(path, MAX_CA_FILE_BYTES)
            .map_err(|error| failed(error.into()))?
            .ok_or_else(|| failed("there is no such file".into()))?;
        identity.pin(&parse_pem(&text).map_err(|error| failed(error.into()))?);
    }
    Ok(identity)
}

fn host_name() -> Result<DeviceId, AgentError> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    DeviceId::new(&name).map_err(|_| AgentError::NoName(name))
}

/// An error with all its sources, for one log line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
