//! A real container engine through the Docker API: Docker, and what speaks its language.
//!
//! Everything of a device carries its labels, and only what carries them is ever looked at, changed or removed. Names are
//! derived from fleet, device, app and part, so that an operation that was cut off finds what it left behind.

mod asked;
mod images;
mod logs;
mod names;
mod read;
mod volumes;
mod write;

use crate::agent::locks::LockFiles;
use crate::domain::device::canonical::{CanonicalService, ImageDefaults, canonical, differences};
use crate::domain::device::progress::Progress;
use crate::domain::device::steps::Observed;
use crate::domain::ids::{AppName, DeviceId, FleetName, NetworkName, ServiceName, VolumeName};
use crate::domain::reported::{ObservedApp, ObservedService, ServiceState};
use crate::domain::spec::{NetworkSpec, ServiceSpec};
use crate::ports::engine::{Answer, Batch, Engine, EngineError, LogBound};
use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerSummary, EndpointSettings, NetworkConnectRequest, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use bollard::{ClientVersion, Docker};
pub use images::ImageSettings;
use names::{APP, Owner, SERVICE, VOLUME};
use read::{FoundNetworks, Known};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The newest version of the API that is asked for; an older engine is asked in its own.
const API_VERSION: ClientVersion = ClientVersion { major_version: 1, minor_version: 47 };
/// How long one request may take, in seconds; one that waits for a container to stop may take as much longer as that does.
const REQUEST_TIMEOUT_SECS: u64 = 120;
/// How long a container may take to stop by itself, in seconds, unless it says otherwise.
const STOP_TIMEOUT_SECS: i32 = 10;
/// How many images' defaults are remembered. An image never changes under its id.
const MAX_REMEMBERED_IMAGES: usize = 256;
/// How many containers of one device are looked at. More cannot come from a spec.
const MAX_CONTAINERS: usize = 1024;

/// The containers of one device in an engine.
#[derive(Debug)]
pub struct DockerEngine {
    socket: PathBuf,
    owner: Owner,
    docker: OnceCell<Docker>,
    locks: Option<LockFiles>,
    remembered: Mutex<BTreeMap<String, ImageDefaults>>,
    images: ImageSettings,
    /// Where the engine keeps images, if that can be seen.
    root: OnceCell<Option<PathBuf>>,
}

/// The socket's path is not text.
#[derive(Debug, thiserror::Error)]
#[error("the path of the Docker socket is not UTF-8: {0}")]
pub struct BadSocketPath(PathBuf);

impl DockerEngine {
    /// The engine at this socket, seen by one device. Nothing is asked yet: the engine may start later than the agent.
    pub fn connect(socket: &Path, fleet: &FleetName, device: &DeviceId) -> Result<Self, BadSocketPath> {
        if socket.to_str().is_none() {
            return Err(BadSocketPath(socket.to_owned()));
        }
        let owner = Owner { fleet: fleet.clone(), device: device.clone() };
        let (docker, remembered, root) = Default::default();
        let images = ImageSettings::default();
        Ok(Self { socket: socket.to_owned(), owner, docker, locks: None, remembered, images, root })
    }

    /// The same with a place for the folders of update locks, which services can have mounted.
    pub fn with_locks(mut self, locks: LockFiles) -> Self {
        self.locks = Some(locks);
        self
    }

    /// The same engine, with images brought in another way.
    #[must_use]
    pub fn with_images(self, images: ImageSettings) -> Self {
        Self { images, ..self }
    }

    async fn docker(&self) -> Result<&Docker, EngineError> {
        let connect = async {
            let path = self.socket.to_str().unwrap_or_default();
            Docker::connect_with_unix(path, REQUEST_TIMEOUT_SECS, &API_VERSION)?.negotiate_version().await
        };
        self.docker
            .get_or_try_init(|| connect)
            .await
            .map_err(|error| EngineError::Unavailable { reason: error.to_string() })
    }

    async fn look_now(&self, images: &BTreeSet<String>) -> Result<Observed, EngineError> {
        let mut apps: BTreeMap<AppName, ObservedApp> = BTreeMap::new();
        let known = self.known().await?;
        for (app, volumes) in &known.volumes {
            apps.entry(app.clone()).or_default().volumes.clone_from(volumes);
        }
        for (app, networks) in &known.networks {
            let entry = apps.entry(app.clone()).or_default();
            networks.iter().for_each(|(name, network)| entry.add_network(name.clone(), network.spec.clone()));
        }
        let successors = self.successors(&known).await?;
        for (id, (app, service)) in &known.containers {
            let summary = ContainerSummary { id: Some(id.clone()), ..Default::default() };
            let Some(found) = self.inspect(&summary).await? else { continue };
            let image_defaults = self.defaults_of(found.image.as_deref().unwrap_or_default()).await?;
            let content = read::content(&found, &self.owner, app, &known);
            let state = read::state(found.state.as_ref());
            let restarts = found.restart_count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
            let health = read::health_state(found.state.as_ref());
            let observed = ObservedService { content, image_defaults, state, restarts, health };
            let place = apps.entry(app.clone()).or_default();
            let is_next = successors.contains(id);
            let kind = if is_next { &mut place.successors } else { &mut place.services };
            kind.entry(service.clone())
                // Two containers of one service, as after a copy made by hand: both go and one is made anew.
                .and_modify(|first| first.state = ServiceState::Dead)
                .or_insert(observed);
        }
        let mut present = BTreeSet::new();
        for image in images {
            if self.present(image).await?.is_some() {
                present.insert(image.clone());
            }
        }
        Ok(Observed { apps, images: present })
    }

    async fn containers(&self, more: &[(&str, &str)]) -> Result<Vec<ContainerSummary>, EngineError> {
        let filters = [("label".to_owned(), self.owner.filter(more))].into_iter().collect();
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let mut all =
            self.docker().await?.list_containers(Some(options)).await.map_err(|e| told("list", "containers", e))?;
        all.truncate(MAX_CONTAINERS);
        Ok(all)
    }

    /// Those of the containers that their services are being handed over to: the one of two that has the successor's name. Alone
    /// it is the service's own, whatever its name: then the hand-over was cut off after the old one went.
    async fn successors(&self, known: &Known) -> Result<BTreeSet<String>, EngineError> {
        let mut by_place: BTreeMap<&(AppName, ServiceName), Vec<&String>> = BTreeMap::new();
        for (id, place) in &known.containers {
            by_place.entry(place).or_default().push(id);
        }
        by_place.retain(|_, ids| ids.len() == 2);
        if by_place.is_empty() {
            return Ok(BTreeSet::new());
        }
        let names = self.names().await?;
        let mut successors = BTreeSet::new();
        for ((app, service), ids) in by_place {
            let wanted = self.owner.successor(app, service);
            let next: Vec<&String> = ids.into_iter().filter(|id| names.get(*id) == Some(&wanted)).collect();
            successors.extend(next.into_iter().cloned());
        }
        Ok(successors)
    }

    /// The names of the device's containers by id.
    async fn names(&self) -> Result<BTreeMap<String, String>, EngineError> {
        let name = |summary: ContainerSummary| {
            let name = summary.names?.into_iter().next()?;
            Some((summary.id?, name.trim_start_matches('/').to_owned()))
        };
        Ok(self.containers(&[]).await?.into_iter().filter_map(name).collect())
    }

    /// The containers of one service: one, or none, or what somebody left.
    async fn containers_of(&self, app: &AppName, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        let all = self.containers(&[(APP, app.as_str()), (SERVICE, service.as_str())]).await?;
        Ok(all.into_iter().filter_map(|summary| summary.id).collect())
    }

    /// The description of a container; `None` if it went away meanwhile.
    async fn inspect(&self, summary: &ContainerSummary) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let id = summary.id.as_deref().unwrap_or_default();
        let answer = self.docker().await?.inspect_container(id, None::<InspectContainerOptions>).await;
        found(answer).map_err(|error| told("inspect", id, error))
    }

    async fn networks(&self) -> Result<FoundNetworks, EngineError> {
        let filters = [("label".to_owned(), self.owner.filter(&[]))].into_iter().collect();
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let all = self.docker().await?.list_networks(Some(options)).await.map_err(|e| told("list", "networks", e))?;
        let mut networks = FoundNetworks::new();
        for (app, name, network) in all.iter().filter_map(read::network) {
            networks.entry(app).or_default().insert(name, network);
        }
        Ok(networks)
    }

    /// Everything of the device that containers refer to.
    async fn known(&self) -> Result<Known, EngineError> {
        let mut known = Known { networks: self.networks().await?, locks: self.locks.clone(), ..Known::default() };
        for (app, volume) in self.volumes().await? {
            known.volumes.entry(app).or_default().insert(volume);
        }
        for summary in self.containers(&[]).await? {
            if let (Some(id), Some(place)) = (summary.id.clone(), place(&summary)) {
                known.containers.insert(id, place);
            }
        }
        Ok(known)
    }

    async fn volumes(&self) -> Result<Vec<(AppName, VolumeName)>, EngineError> {
        let filters = [("label".to_owned(), self.owner.filter(&[]))].into_iter().collect();
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let all = self.docker().await?.list_volumes(Some(options)).await.map_err(|e| told("list", "volumes", e))?;
        let volume = |volume: bollard::models::Volume| {
            Some((volume.labels.get(APP)?.parse().ok()?, volume.labels.get(VOLUME)?.parse().ok()?))
        };
        Ok(all.volumes.unwrap_or_default().into_iter().filter_map(volume).collect())
    }

    /// What a container's image supplies. An image that was removed under its container supplies nothing that is known.
    async fn defaults_of(&self, id: &str) -> Result<ImageDefaults, EngineError> {
        let remembered = self.remembered.lock().expect("nobody panics with the lock").get(id).cloned();
        if let Some(defaults) = remembered {
            return Ok(defaults);
        }
        let Some(defaults) = self.image(id).await? else { return Ok(ImageDefaults::default()) };
        let mut remembered = self.remembered.lock().expect("nobody panics with the lock");
        if remembered.len() >= MAX_REMEMBERED_IMAGES {
            remembered.clear();
        }
        remembered.insert(id.to_owned(), defaults.clone());
        Ok(defaults)
    }

    async fn create_network_now(
        &self,
        app: &AppName,
        network: &NetworkName,
        spec: &NetworkSpec,
    ) -> Result<(), EngineError> {
        if self.networks().await?.get(app).is_some_and(|networks| networks.contains_key(network)) {
            return Ok(());
        }
        let name = self.owner.network(app, network);
        let filters = [("name".to_owned(), vec![name.clone()])].into_iter().collect();
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let docker = self.docker().await?;
        let same = docker.list_networks(Some(options)).await.map_err(|error| told("list", "networks", error))?;
        // The filter also finds longer names.
        if same.iter().any(|network| network.name.as_ref() == Some(&name)) {
            return Err(EngineError::NotOwned { kind: "network", name });
        }
        let request = write::network(&self.owner, app, network, spec);
        docker.create_network(request).await.map(drop).map_err(|error| told("create", &name, error))
    }

    async fn create_volume_now(&self, app: &AppName, volume: &VolumeName) -> Result<(), EngineError> {
        let name = self.owner.volume(app, volume);
        let docker = self.docker().await?;
        let mut labels = self.owner.labels();
        labels.extend([(APP.to_owned(), app.to_string()), (VOLUME.to_owned(), volume.to_string())]);
        let existing = found(docker.inspect_volume(&name).await).map_err(|error| told("inspect", &name, error))?;
        if let Some(existing) = existing {
            let ours = labels.iter().all(|(label, value)| existing.labels.get(label) == Some(value));
            return if ours { Ok(()) } else { Err(EngineError::NotOwned { kind: "volume", name }) };
        }
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(labels.into_iter().collect()),
            ..Default::default()
        };
        docker.create_volume(request).await.map(drop).map_err(|error| told("create", &name, error))
    }

    /// Makes a container of a service under one of its two names.
    async fn create_now(
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
        let place = write::Place { owner: &self.owner, app, service, joined: &joined, lock_folder: &lock_folder };
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
            Err(Error::DockerResponseServerError { status_code: 409, message }) => {
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
    async fn named(&self, app: &AppName, service: &ServiceName, name: &str) -> Result<Option<String>, EngineError> {
        let ids = self.containers_of(app, service).await?;
        let names = self.names().await?;
        let named = ids.iter().find(|id| names.get(*id).is_some_and(|one| one == name));
        Ok(named.or(ids.first().filter(|_| ids.len() == 1)).cloned())
    }

    async fn adjust_now(&self, app: &AppName, service: &ServiceName, spec: &ServiceSpec) -> Result<(), EngineError> {
        let subject = format!("{app}/{service}");
        let ids = self.containers_of(app, service).await?;
        let Some(id) = ids.first() else {
            let reason = "no such container".to_owned();
            return Err(EngineError::Failed { attempted: "adjust", subject, reason });
        };
        let defaults = self.present(&spec.image).await?.map(|image| image.defaults).unwrap_or_default();
        let body = write::adjustment(canonical(spec, &defaults));
        let updated = self.docker().await?.update_container(id, body).await;
        updated.map_err(|error| told("adjust", &subject, error))
    }

    async fn create_successor_now(
        &self,
        app: &AppName,
        service: &ServiceName,
        spec: &ServiceSpec,
    ) -> Result<(), EngineError> {
        let (own, next) = (self.owner.container(app, service), self.owner.successor(app, service));
        let subject = format!("{app}/{service}");
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

    async fn promote_now(&self, app: &AppName, service: &ServiceName) -> Result<(), EngineError> {
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

    async fn remove_successor_now(&self, app: &AppName, service: &ServiceName) -> Result<(), EngineError> {
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
        let summary = ContainerSummary { id: Some(id.to_owned()), ..Default::default() };
        let found = self.inspect(&summary).await.map_err(|error| error.to_string())?;
        let found = found.ok_or_else(|| "it went away at once".to_owned())?;
        let known = self.known().await.map_err(|error| error.to_string())?;
        let content = read::content(&found, &self.owner, app, &known);
        let dropped: Vec<String> = differences(wanted, &content).into_iter().map(|one| one.field).collect();
        if dropped.is_empty() { Ok(()) } else { Err(format!("the engine does not keep {}", dropped.join(", "))) }
    }

    async fn start_now(&self, app: &AppName, service: &ServiceName, name: &str) -> Result<(), EngineError> {
        let subject = format!("{app}/{service}");
        let docker = self.docker().await?;
        let Some(id) = self.named(app, service, name).await? else {
            let reason = "no such container".to_owned();
            return Err(EngineError::Failed { attempted: "start", subject, reason });
        };
        let state = docker.inspect_container(&id, None::<InspectContainerOptions>).await;
        let state = state.map_err(|error| told("inspect", &subject, error))?.state;
        if read::state(state.as_ref()) == ServiceState::Paused {
            return docker.unpause_container(&id).await.map_err(|error| told("unpause", &subject, error));
        }
        match docker.start_container(&id, None::<StartContainerOptions>).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
            Err(error) => Err(told("start", &subject, error)),
        }
    }

    async fn remove_service_now(&self, app: &AppName, service: &ServiceName) -> Result<(), EngineError> {
        for id in self.containers_of(app, service).await? {
            self.remove_container(&id, &format!("{app}/{service}")).await?;
        }
        Ok(())
    }

    /// Stops a container as long as it may take, and removes it. None there is success.
    async fn remove_container(&self, id: &str, subject: &str) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let grace = found(docker.inspect_container(id, None::<InspectContainerOptions>).await)
            .map_err(|error| told("inspect", subject, error))?
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

    async fn remove_network_now(&self, app: &AppName, network: &NetworkName) -> Result<(), EngineError> {
        let found = self.networks().await?.remove(app).and_then(|mut networks| networks.remove(network));
        let Some(network) = found else { return Ok(()) };
        match self.docker().await?.remove_network(&network.id).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(told("remove", &network.name, error)),
        }
    }
}

/// App and service of a container, from its labels.
fn place(summary: &ContainerSummary) -> Option<(AppName, ServiceName)> {
    let labels = summary.labels.as_ref()?;
    Some((labels.get(APP)?.parse().ok()?, labels.get(SERVICE)?.parse().ok()?))
}

/// `None` for what the engine does not have.
fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the engine said, or that it said nothing.
fn told(attempted: &'static str, subject: &str, error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { message, .. } => {
            EngineError::Failed { attempted, subject: subject.to_owned(), reason: message }
        }
        Error::DockerStreamError { error } => {
            EngineError::Failed { attempted, subject: subject.to_owned(), reason: error }
        }
        Error::JsonDataError { message, .. } => {
            EngineError::Failed { attempted, subject: subject.to_owned(), reason: message }
        }
        other => EngineError::Unavailable { reason: other.to_string() },
    }
}

/// Name and tag as the API wants them: a digest belongs to the name, and without a tag the engine would pull every tag.
fn split_reference(image: &str) -> (&str, Option<&str>) {
    if image.contains('@') {
        return (image, None);
    }
    // A colon before the last slash belongs to the registry's port.
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        Some(_) | None => (image, Some("latest")),
    }
}

impl Engine for DockerEngine {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn look<'a>(&'a self, images: &'a BTreeSet<String>) -> Answer<'a, Observed, EngineError> {
        Box::pin(self.look_now(images))
    }

    fn bring<'a>(
        &'a self,
        batch: &'a Batch,
        tell: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Answer<'a, (), EngineError> {
        Box::pin(self.bring_now(batch, tell))
    }

    fn tidy<'a>(&'a self, keep: &'a BTreeSet<String>) -> Answer<'a, Vec<String>, EngineError> {
        Box::pin(self.tidy_now(keep))
    }

    fn create_network<'a>(
        &'a self,
        app: &'a AppName,
        network: &'a NetworkName,
        spec: &'a NetworkSpec,
    ) -> Answer<'a, (), EngineError> {
        Box::pin(self.create_network_now(app, network, spec))
    }

    fn create_volume<'a>(&'a self, app: &'a AppName, volume: &'a VolumeName) -> Answer<'a, (), EngineError> {
        Box::pin(self.create_volume_now(app, volume))
    }

    fn create_service<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        spec: &'a ServiceSpec,
    ) -> Answer<'a, (), EngineError> {
        Box::pin(self.create_now(app, service, spec, self.owner.container(app, service)))
    }

    fn start<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        Box::pin(async move { self.start_now(app, service, &self.owner.container(app, service)).await })
    }

    fn adjust_service<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        spec: &'a ServiceSpec,
    ) -> Answer<'a, (), EngineError> {
        Box::pin(self.adjust_now(app, service, spec))
    }

    fn create_successor<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        spec: &'a ServiceSpec,
    ) -> Answer<'a, (), EngineError> {
        Box::pin(self.create_successor_now(app, service, spec))
    }

    fn start_successor<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        Box::pin(async move { self.start_now(app, service, &self.owner.successor(app, service)).await })
    }

    fn promote<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        Box::pin(self.promote_now(app, service))
    }

    fn remove_successor<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        Box::pin(self.remove_successor_now(app, service))
    }

    fn remove_image<'a>(&'a self, image: &'a str) -> Answer<'a, (), EngineError> {
        Box::pin(self.remove_image_now(image))
    }

    fn restart<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        Box::pin(self.restart_now(app, service))
    }

    fn remove_service<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError> {
        Box::pin(self.remove_service_now(app, service))
    }

    fn logs<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        bound: LogBound,
    ) -> Answer<'a, String, EngineError> {
        Box::pin(self.logs_now(app, service, bound))
    }

    fn remove_network<'a>(&'a self, app: &'a AppName, network: &'a NetworkName) -> Answer<'a, (), EngineError> {
        Box::pin(self.remove_network_now(app, network))
    }

    fn purge_volume<'a>(&'a self, app: &'a AppName, volume: &'a VolumeName) -> Answer<'a, (), EngineError> {
        Box::pin(self.purge_volume_now(app, volume))
    }
}

#[cfg(test)]
mod tests {
    use super::split_reference;

    fn check(image: &str, name: &str, tag: Option<&str>) {
        assert_eq!(split_reference(image), (name, tag));
    }

    #[test]
    fn references_are_split_as_the_api_wants_them() {
        check("busybox", "busybox", Some("latest"));
        check("busybox:1.36", "busybox", Some("1.36"));
        check("registry:5000/team/app", "registry:5000/team/app", Some("latest"));
        check("registry:5000/team/app:2", "registry:5000/team/app", Some("2"));
        check("registry:5000/app@sha256:00", "registry:5000/app@sha256:00", None);
        check("registry:5000/app:1@sha256:00", "registry:5000/app:1@sha256:00", None);
    }
}
