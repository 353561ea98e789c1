//! Removing a volume with its data: only when a person asked for it, and only one that carries this device's labels.

use super::asking::ContainerSummary;
use super::look::place;
use super::names::{APP, VOLUME};
use super::{DockerEngine, told};
use crate::domain::ids::{AppName, ServiceName, VolumeName};
use crate::ports::engine::EngineError;
use bollard::errors::Error;
use bollard::query_parameters::RemoveVolumeOptions;
use std::collections::BTreeSet;

impl DockerEngine {
    pub(super) async fn purge_volume_now(&self, app: &AppName, volume: &VolumeName) -> Result<(), EngineError> {
        let name = self.owner.volume(app, volume);
        let docker = self.docker().await?;
        let Some(existing) = self.inspect_volume(&name).await? else { return Ok(()) };
        if !self.owner.owns(existing.labels.as_ref(), &[(APP, app.as_str()), (VOLUME, volume.as_str())]) {
            return Err(EngineError::NotOwned { kind: "volume", name });
        }
        for (app, service) in self.users_of(&name).await? {
            self.remove_service_now(&app, &service).await?;
        }
        match docker.remove_volume(&name, None::<RemoveVolumeOptions>).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(told("remove", &name, error)),
        }
    }

    /// The services of this device that use a volume. Somebody else's container among the users is an error, before anything
    /// is stopped.
    async fn users_of(&self, volume: &str) -> Result<BTreeSet<(AppName, ServiceName)>, EngineError> {
        let containers = self.list_containers(&[("volume", vec![volume.to_owned()])]).await?;
        let is_ours = |summary: &ContainerSummary| self.owner.owns(summary.labels.as_ref(), &[]);
        let mut users = BTreeSet::new();
        for summary in &containers {
            match place(summary).filter(|_| is_ours(summary)) {
                Some(user) => _ = users.insert(user),
                None => {
                    let names = summary.names.clone().unwrap_or_default();
                    let name = names.first().map_or("without a name", |name| name.trim_start_matches('/'));
                    return Err(EngineError::NotOwned { kind: "container", name: name.to_owned() });
                }
            }
        }
        Ok(users)
    }
}
