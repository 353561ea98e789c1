//! The container engine of a device, as the agent needs it.
//!
//! Every operation is safe to repeat: the agent may have been killed in the middle of it, and the step that it computes from
//! the next look may be the same one. An engine touches only what belongs to its device.

#[cfg(any(test, feature = "testing", feature = "agent"))]
pub mod fake;

use crate::domain::device::action::{Action, Failure};
use crate::domain::device::progress::{Progress, show_bytes};
use crate::domain::device::steps::Observed;
use crate::domain::ids::{AppName, NetworkName, ServiceName, VolumeName};
use crate::domain::spec::{NetworkSpec, ProbeCheck, ServiceSpec};
use crate::domain::time::Timestamp;
use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

/// What an operation of a port returns: a future that any runtime can drive.
pub type Answer<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Why the engine could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It could not be asked.
    #[error("the container engine does not answer: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// An image could not be brought.
    #[error("image {image} could not be pulled: {reason}")]
    Pull {
        /// Its reference.
        image: String,
        /// What the registry or the engine said.
        reason: String,
    },
    /// The registry answered, and says that there is no such image. Asking again does not help before somebody puts it there.
    #[error("image {image} is not there: {reason}")]
    NoSuchImage {
        /// Its reference.
        image: String,
        /// What the registry said.
        reason: String,
    },
    /// Something has the name that this device would use, and does not belong to it.
    #[error("{kind} {name} exists and does not belong to this device")]
    NotOwned {
        /// Container, volume or network.
        kind: &'static str,
        /// The name in the engine.
        name: String,
    },
    /// There is no room for images.
    #[error(
        "there is no room for images at {}: {} are free, of which {} stay in reserve, and {} are needed",
        place.display(), show_bytes(*free_bytes), show_bytes(*reserve_bytes), show_bytes(*needed_bytes)
    )]
    DiskFull {
        /// What is to be written, in bytes; 0 if it is not known.
        needed_bytes: u64,
        /// What is free, in bytes.
        free_bytes: u64,
        /// What has to stay free, in bytes.
        reserve_bytes: u64,
        /// Where.
        place: PathBuf,
    },
    /// The engine refused.
    #[error("the engine could not {attempted} {subject}: {reason}")]
    Failed {
        /// What was attempted, such as `create`.
        attempted: &'static str,
        /// With what.
        subject: String,
        /// What it said.
        reason: String,
    },
}

/// An image that is wanted, and what is known of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The image.
    pub image: String,
    /// Images that will be wanted right after it.
    pub next: BTreeSet<String>,
    /// Images that must stay, whoever needs room.
    pub keep: BTreeSet<String>,
}

impl EngineError {
    /// The error as conditions tell it.
    pub fn failure(&self) -> Failure {
        let reason = match self {
            Self::Unavailable { .. } => "EngineUnavailable",
            Self::Pull { .. } => "PullFailed",
            Self::NoSuchImage { .. } => "NoSuchImage",
            Self::NotOwned { .. } => "NotOwned",
            Self::DiskFull { .. } => "DiskFull",
            Self::Failed { .. } => "EngineRefused",
        };
        Failure { reason, message: self.to_string() }
    }
}

/// How much of a log is wanted: the newest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBound {
    /// So many lines at most.
    pub lines: u32,
    /// So many bytes at most.
    pub bytes: usize,
}

/// What a service said when it was asked whether it is well: yes, or what is wrong.
pub type ProbeAnswer = Result<(), String>;

/// A container engine, seen by one device.
pub trait Engine: Send + Sync {
    /// A name for reports and logs, such as `docker`.
    fn name(&self) -> &'static str;

    /// Everything that belongs to this device, and which of these images are present.
    fn look<'a>(&'a self, images: &'a BTreeSet<String>) -> Answer<'a, Observed, EngineError>;

    /// Brings an image, and if the engine can, those that will be wanted next beside it. One that is present already is success.
    ///
    /// `tell` hears how far it has come, as often as there are news.
    fn bring<'a>(&'a self, batch: &'a Batch, tell: &'a (dyn Fn(Progress) + Send + Sync))
    -> Answer<'a, (), EngineError>;

    /// Brings one image.
    fn pull<'a>(&'a self, image: &'a str) -> Answer<'a, (), EngineError> {
        let batch = Batch { image: image.to_owned(), ..Batch::default() };
        Box::pin(async move { self.bring(&batch, &|_| ()).await })
    }

    /// Removes images that this device's agent brought, that no container has, and that are none of these; returns what was
    /// removed. An engine that cannot tell them from others removes nothing.
    fn tidy<'a>(&'a self, keep: &'a BTreeSet<String>) -> Answer<'a, Vec<String>, EngineError> {
        let _ = keep;
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Makes one of an app's networks. One that is there already is success.
    fn create_network<'a>(
        &'a self,
        app: &'a AppName,
        network: &'a NetworkName,
        spec: &'a NetworkSpec,
    ) -> Answer<'a, (), EngineError>;

    /// Makes a volume. One that is there already is success, and keeps its data.
    fn create_volume<'a>(&'a self, app: &'a AppName, volume: &'a VolumeName) -> Answer<'a, (), EngineError>;

    /// Makes a container that does not run yet. Its image, network and volumes are there.
    fn create_service<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        spec: &'a ServiceSpec,
    ) -> Answer<'a, (), EngineError>;

    /// Makes a container run, also one that was paused.
    fn start<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError>;

    /// Stops a container and starts it again.
    fn restart<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError>;

    /// Stops a container and removes it. None there is success. Named volumes stay.
    fn remove_service<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError>;

    /// Changes what can be changed of a container while it runs: its restart policy and its limits.
    fn adjust_service<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        spec: &'a ServiceSpec,
    ) -> Answer<'a, (), EngineError>;

    /// Makes the container that a service is handed over to, beside the one that is there. It does not run yet.
    fn create_successor<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        spec: &'a ServiceSpec,
    ) -> Answer<'a, (), EngineError>;

    /// Makes a successor run.
    fn start_successor<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError>;

    /// Stops and removes a service's container, and gives its place to the successor. None there is success.
    fn promote<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError>;

    /// Stops and removes a successor. None there is success.
    fn remove_successor<'a>(&'a self, app: &'a AppName, service: &'a ServiceName) -> Answer<'a, (), EngineError>;

    /// Asks a service once whether it is well. An error says nothing of the service: it could not be asked.
    fn probe<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        check: &'a ProbeCheck,
        now: Timestamp,
    ) -> Answer<'a, ProbeAnswer, EngineError>;

    /// Removes an image. None there is success, and so is one that something else uses.
    fn remove_image<'a>(&'a self, image: &'a str) -> Answer<'a, (), EngineError>;

    /// The newest lines that a service wrote, each with its time, oldest first. Whole lines, at most as much as asked for, and as
    /// they are: whoever asks takes secrets out. Of a service and its successor, the one that was made last is asked.
    fn logs<'a>(
        &'a self,
        app: &'a AppName,
        service: &'a ServiceName,
        bound: LogBound,
    ) -> Answer<'a, String, EngineError>;

    /// Removes one of an app's networks. None there is success.
    fn remove_network<'a>(&'a self, app: &'a AppName, network: &'a NetworkName) -> Answer<'a, (), EngineError>;

    /// Removes a volume with its data, and before it the containers of this device that use it: the next turn makes them anew,
    /// with an empty volume. None there is success. Only for a person who asked for it; no step ever does.
    ///
    /// It is done once this returned success: a crash before may have left the containers away and the data in place.
    fn purge_volume<'a>(&'a self, app: &'a AppName, volume: &'a VolumeName) -> Answer<'a, (), EngineError>;
}

/// Performs one of the actions that concern an engine; `None` for one that concerns the OS.
pub fn perform<'a>(engine: &'a dyn Engine, action: &'a Action) -> Option<Answer<'a, (), EngineError>> {
    Some(match action {
        Action::CreateNetwork { app, network, spec } => engine.create_network(app, network, spec),
        Action::CreateVolume { app, volume } => engine.create_volume(app, volume),
        Action::Pull { image } => engine.pull(image),
        Action::RemoveService { app, service, why: _ } => engine.remove_service(app, service),
        Action::CreateService { app, service, spec } => engine.create_service(app, service, spec),
        Action::StartService { app, service } => engine.start(app, service),
        Action::RemoveNetwork { app, network } => engine.remove_network(app, network),
        Action::AdjustService { app, service, spec, why: _ } => engine.adjust_service(app, service, spec),
        Action::CreateSuccessor { app, service, spec } => engine.create_successor(app, service, spec),
        Action::StartSuccessor { app, service } => engine.start_successor(app, service),
        Action::Promote { app, service, why: _ } => engine.promote(app, service),
        Action::RemoveSuccessor { app, service } => engine.remove_successor(app, service),
        Action::RemoveImage { image } => engine.remove_image(image),
        Action::FetchOs { .. }
        | Action::InstallOs { .. }
        | Action::Host(_)
        | Action::Reboot { .. }
        | Action::ConfirmOs { .. }
        | Action::FallBackOs { .. }
        | Action::KeepOs
        | Action::DiscardOs => return None,
    })
}
