//! What operators ask for beside assignments: restart a service.

use super::{DockerEngine, REQUEST_TIMEOUT_SECS, told};
use crate::domain::ids::{AppName, ServiceName};
use crate::domain::spec::MAX_STOP_GRACE_SECS;
use crate::ports::engine::EngineError;
use bollard::query_parameters::RestartContainerOptionsBuilder;
use std::time::Duration;

impl DockerEngine {
    pub(super) async fn restart_now(&self, app: &AppName, service: &ServiceName) -> Result<(), EngineError> {
        let subject = format!("{app}/{service}");
        let id = self.container_of(app, service, "restart").await?;
        // Without a time the engine gives the container its own to stop, which may be longer than a request usually takes.
        let patience = REQUEST_TIMEOUT_SECS.saturating_add(u64::from(MAX_STOP_GRACE_SECS));
        let patient = self.docker().await?.clone().with_timeout(Duration::from_secs(patience));
        let options = RestartContainerOptionsBuilder::default().build();
        patient.restart_container(&id, Some(options)).await.map_err(|error| told("restart", &subject, error))
    }
}
