//! Changing what the engine has of the device: networks, volumes and containers.

use super::look::no_container;
use super::names::{APP, VOLUME};
use super::read;
use super::write;
use super::{DockerEngine, REQUEST_TIMEOUT_SECS, STOP_TIMEOUT_SECS, told};
use crate::domain::device::canonical::{CanonicalService, canonical, differences};
use crate::domain::ids::{AppName, NetworkName, ServiceName, VolumeName};
use crate::domain::reported::ServiceState;
use crate::domain::spec::{NetworkSpec, ServiceSpec};
use crate::ports::engine::EngineError;
use bollard::errors::Error;
use bollard::models::{EndpointSettings, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use std::collections::BTreeMap;
use std::time::Duration;

impl DockerEngine {
    pub(super) async fn create_network_now(
        &self,
        app: &AppName,
        network: &NetworkName,
        spec: &NetworkSpec,
    ) -> Result<(), EngineError> {
        if self.networks().await?.get(app).is_some_and(|networks| networks.contains_key(network)) {
            return Ok(());
        }
        let name = self.owner.network(app, network);
        let same = self.list_networks(&[("name", vec![name.clone()])]).await?;
        // The filter also finds longer names.
        if same.iter().any(|network| network.name.as_ref() == Some(&name)) {
            return Err(EngineError::NotOwned { kind: "network", name });
        }
        let request = write::network(&self.owner, app, network, spec);
        self.docker().await?.create_network(request).await.map(drop).map_err(|error| told("create", &name, error))
    }

    pub(super) async fn create_volume_now(&self, app: &AppName, volume: &VolumeName) -> Result<(), EngineError> {
        let name = self.owner.volume(app, volume);
        if let Some(existing) = self.inspect_volume(&name).await? {
            let ours = self.owner.owns(existing.labels.as_ref(), &[(APP, app.as_str()), (VOLUME, volume.as_str())]);
            return if ours { Ok(()) } else { Err(EngineError::NotOwned { kind: "volume", name }) };
        }
        self.make_volume(&name, &self.owner.labels_of_volume(app, volume)).await
    }

    /// Makes a container of a service under one of its two names.
    pub(super) async fn create_now(
        &self,
        app: &AppName,
        service: &ServiceName,
        spec: &ServiceSpec,
        name: String,
    ) -> Result<(), EngineError> {
        let subject = format!("{app}/{service}");
        let failed = |reason: String| EngineError::Failed { attempted: "create", subject: subject.clone(), reason };
        let image =
            self.present(&spec.image).await?.ok_or_else(|| failed(format!("image {} is not there", spec.image)))?;
        let wanted = canonical(spec, &image.defaults);
        let joined = self.joined(app, spec).await?;
        let lock_folder = self.lock_folder(app, service, spec).map_err(&failed)?;
        let place = write::Place {
            kind: self.kind().await?,
            owner: &self.owner,
            app,
            service,
            joined: &joined,
            lock_folder: &lock_folder,
        };
        let write::Request { body, more_networks } = write::container(&place, wanted.clone(), image.name);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let docker = self.docker().await?;
        match docker.create_container(Some(options), body).await {
            Ok(created) => match self.finish(app, &created.id, &wanted, more_networks).await {
                Ok(()) => Ok(()),
                Err(reason) => {
                    self.remove_container(&created.id, &subject).await?;
                    let told = created.warnings.join("; ");
                    Err(failed(if told.is_empty() { reason } else { format!("{reason}: {told}") }))
                }
            },
            Err(Error::DockerResponseServerError { status_code, message }) if is_taken(status_code, &message) => {
                // A request that was cut off may still have been carried out; the next look tells whether it is right.
                let names = self.names().await?;
                let ours = self.containers_of(app, service).await?;
                if !ours.iter().any(|id| names.get(id) == Some(&name)) {
                    tracing::warn!(name, message, "the name is taken");
                    return Err(EngineError::NotOwned { kind: "container", name });
                }
                Ok(())
            }
            Err(error) => Err(told("create", &subject, error)),
        }
    }

    /// The folder of a service's update lock, made if the service wants it mounted.
    fn lock_folder(&self, app: &AppName, service: &ServiceName, spec: &ServiceSpec) -> Result<String, String> {
        if spec.lock_folder.is_none() {
            return Ok(String::new());
        }
        let locks = self.locks.as_ref().ok_or("it wants its update lock, and the agent has no directory for locks")?;
        locks.make_folder(app, service).map_err(|error| format!("the folder of its update lock: {error}"))?;
        let folder = locks.folder(app, service);
        folder.to_str().map(str::to_owned).ok_or_else(|| "the directory of locks is not UTF-8".to_owned())
    }

    /// The container that has one of a service's two names, or the only one that there is.
    pub(super) async fn named(
        &self,
        app: &AppName,
        service: &ServiceName,
        name: &str,
    ) -> Result<Option<String>, EngineError> {
        let ids = self.containers_of(app, service).await?;
        let names = self.names().await?;
        let named = ids.iter().find(|id| names.get(*id).is_some_and(|one| one == name));
        Ok(named.or(ids.first().filter(|_| ids.len() == 1)).cloned())
    }

    pub(super) async fn adjust_now(
        &self,
        app: &AppName,
        service: &ServiceName,
        spec: &ServiceSpec,
    ) -> Result<(), EngineError> {
        let subject = format!("{app}/{service}");
        let id = self.container_of(app, service, "adjust").await?;
        let defaults = self.present(&spec.image).await?.map(|image| image.defaults).unwrap_or_default();
        let body = write::adjustment(canonical(spec, &defaults));
        let updated = self.docker().await?.update_container(&id, body).await;
        updated.map_err(|error| told("adjust", &subject, error))
    }

    pub(super) async fn create_successor_now(
        &self,
        app: &AppName,
        service: &ServiceName,
        spec: &ServiceSpec,
    ) -> Result<(), EngineError> {
        let (own, next) = (self.owner.container(app, service), self.owner.successor(app, service));
        let subject = format!("{app}/{service}");
        if let Some(locks) = &self.locks {
            let failed = |error: std::io::Error| {
                let reason = format!("the word of an earlier container could not be removed: {error}");
                EngineError::Failed { attempted: "create", subject: subject.clone(), reason }
            };
            locks.forget_handover(app, service).map_err(failed)?;
        }
        // A hand-over that was cut off may have left the service under the successor's name.
        let names = self.names().await?;
        let ids = self.containers_of(app, service).await?;
        if let [only] = ids.as_slice()
            && names.get(only) == Some(&next)
        {
            self.rename(only, &own, &subject).await?;
        }
        self.create_now(app, service, spec, next).await
    }

    async fn rename(&self, id: &str, name: &str, subject: &str) -> Result<(), EngineError> {
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        let renamed = self.docker().await?.rename_container(id, options).await;
        renamed.map_err(|error| told("rename", subject, error))
    }

    pub(super) async fn promote_now(&self, app: &AppName, service: &ServiceName) -> Result<(), EngineError> {
        let (own, next) = (self.owner.container(app, service), self.owner.successor(app, service));
        let subject = format!("{app}/{service}");
        let names = self.names().await?;
        let ids = self.containers_of(app, service).await?;
        let Some(successor) = ids.iter().find(|id| names.get(*id) == Some(&next)) else { return Ok(()) };
        for id in ids.iter().filter(|id| *id != successor) {
            self.remove_container(id, &subject).await?;
        }
        self.rename(successor, &own, &subject).await
    }

    pub(super) async fn remove_successor_now(&self, app: &AppName, service: &ServiceName) -> Result<(), EngineError> {
        let next = self.owner.successor(app, service);
        let names = self.names().await?;
        let ids = self.containers_of(app, service).await?;
        for id in ids.iter().filter(|id| ids.len() > 1 && names.get(*id) == Some(&next)) {
            self.remove_container(id, &format!("{app}/{service}")).await?;
        }
        Ok(())
    }

    /// The containers whose namespaces a service joins. Without them it cannot be made.
    async fn joined(&self, app: &AppName, spec: &ServiceSpec) -> Result<BTreeMap<ServiceName, String>, EngineError> {
        let mut joined = BTreeMap::new();
        for other in spec.joined() {
            let ids = self.containers_of(app, other).await?;
            joined.extend(ids.into_iter().next().map(|id| (other.clone(), id)));
        }
        Ok(joined)
    }

    /// Connects a new container to its other networks, and holds the engine to what was asked: one that is too old, or a kernel
    /// that lacks something, drops a key with no more than a warning, and the service would be made anew for ever.
    async fn finish(
        &self,
        app: &AppName,
        id: &str,
        wanted: &CanonicalService,
        more: Vec<(String, EndpointSettings)>,
    ) -> Result<(), String> {
        let docker = self.docker().await.map_err(|error| error.to_string())?;
        for (network, endpoint) in more {
            let request = NetworkConnectRequest { container: id.to_owned(), endpoint_config: Some(endpoint) };
            docker.connect_network(&network, request).await.map_err(|error| error.to_string())?;
        }
        let found = self.inspect(id).await.map_err(|error| error.to_string())?;
        let found = found.ok_or_else(|| "it went away at once".to_owned())?;
        let known = self.known().await.map_err(|error| error.to_string())?;
        let content = self.content(found, app, &known).await.map_err(|error| error.to_string())?;
        let dropped: Vec<String> = differences(wanted, &content).into_iter().map(|one| one.field).collect();
        if dropped.is_empty() { Ok(()) } else { Err(format!("the engine does not keep {}", dropped.join(", "))) }
    }

    pub(super) async fn start_now(&self, app: &AppName, service: &ServiceName, name: &str) -> Result<(), EngineError> {
        let subject = format!("{app}/{service}");
        let docker = self.docker().await?;
        let Some(id) = self.named(app, service, name).await? else {
            return Err(no_container("start", subject));
        };
        let found = self.inspect(&id).await?.ok_or_else(|| no_container("start", subject.clone()))?;
        if read::state(found.state.as_ref()) == ServiceState::Paused {
            return docker.unpause_container(&id).await.map_err(|error| told("unpause", &subject, error));
        }
        match docker.start_container(&id, None::<StartContainerOptions>).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
            Err(error) => Err(told("start", &subject, error)),
        }
    }

    pub(super) async fn remove_service_now(&self, app: &AppName, service: &ServiceName) -> Result<(), EngineError> {
        for id in self.containers_of(app, service).await? {
            self.remove_container(&id, &format!("{app}/{service}")).await?;
        }
        Ok(())
    }

    /// Stops a container as long as it may take, and removes it. None there is success.
    async fn remove_container(&self, id: &str, subject: &str) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let found = self.inspect(id).await?;
        let grace = found
            .and_then(|container| container.config?.stop_timeout)
            .and_then(|secs| i32::try_from(secs).ok())
            .unwrap_or(STOP_TIMEOUT_SECS);
        let stop = StopContainerOptionsBuilder::default().t(grace).build();
        let patience = REQUEST_TIMEOUT_SECS.saturating_add(u64::try_from(grace).unwrap_or(0));
        let patient = docker.clone().with_timeout(Duration::from_secs(patience));
        match patient.stop_container(id, Some(stop)).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304 | 404, .. }) => {}
            // Removing it by force is left.
            Err(error) => tracing::debug!(service = subject, error = %error, "could not be stopped in good order"),
        }
        // `v` removes volumes without a name, which nobody could ever find again; named ones stay.
        let remove = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match docker.remove_container(id, Some(remove)).await {
            // 409: a removal is under way already; the next look tells.
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(told("remove", subject, error)),
        }
    }

    pub(super) async fn remove_network_now(&self, app: &AppName, network: &NetworkName) -> Result<(), EngineError> {
        let found = self.networks().await?.remove(app).and_then(|mut networks| networks.remove(network));
        let Some(network) = found else { return Ok(()) };
        match self.docker().await?.remove_network(&network.id).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(told("remove", &network.name, error)),
        }
    }
}

/// Whether a name has somebody already. Podman says so in words only.
fn is_taken(status_code: u16, message: &str) -> bool {
    status_code == 409 || (status_code == 500 && message.contains("already in use"))
}
