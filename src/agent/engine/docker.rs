//! A real container engine through the Docker API: Docker, and what speaks its language.
//!
//! Everything of a device carries its labels, and only what carries them is ever looked at, changed or removed. Names are
//! derived from fleet, device, app and part, so that an operation that was cut off finds what it left behind.

mod act;
mod asked;
mod asking;
mod images;
mod kind;
mod logs;
mod look;
mod names;
mod podman;
mod probe;
mod read;
mod volumes;
mod write;

use crate::agent::locks::LockFiles;
use crate::domain::device::canonical::ImageDefaults;
use crate::domain::device::progress::Progress;
use crate::domain::device::steps::Observed;
use crate::domain::ids::{AppName, DeviceId, FleetName, NetworkName, ServiceName, VolumeName};
use crate::domain::spec::{NetworkSpec, ProbeCheck, ServiceSpec};
use crate::domain::time::Timestamp;
use crate::ports::engine::{Answer, Batch, Engine, EngineError, LogBound, ProbeAnswer};
use bollard::errors::Error;
use bollard::{ClientVersion, Docker};
pub use images::ImageSettings;
use kind::{Kind, Recognised};
use names::Owner;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
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
    /// The connection, and what answered when it was made.
    docker: OnceCell<(Docker, Recognised)>,
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
        self.connected().await.map(|(docker, _)| docker)
    }

    async fn kind(&self) -> Result<Kind, EngineError> {
        self.connected().await.map(|(_, recognised)| recognised.kind)
    }

    async fn connected(&self) -> Result<&(Docker, Recognised), EngineError> {
        let connect = async {
            let path = self.socket.to_str().unwrap_or_default();
            let docker =
                Docker::connect_with_unix(path, REQUEST_TIMEOUT_SECS, &API_VERSION)?.negotiate_version().await?;
            let recognised = kind::recognised(docker.version().await?);
            tracing::info!(
                engine = recognised.kind.name(),
                version = recognised.version,
                "connected to the container engine"
            );
            Ok::<_, Error>((docker, recognised))
        };
        self.docker
            .get_or_try_init(|| connect)
            .await
            .map_err(|error| EngineError::Unavailable { reason: error.to_string() })
    }
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

    fn probe<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        check: &'a ProbeCheck,
        now: Timestamp,
    ) -> Answer<'a, ProbeAnswer, EngineError> {
        Box::pin(self.probe_now(app, service, check, now))
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
