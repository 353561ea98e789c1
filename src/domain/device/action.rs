//! What the agent can do to a device, and why it does it.

use crate::domain::ids::{AppName, ServiceName, VolumeName};
use crate::domain::spec::{OsSpec, ServiceSpec};
use std::fmt;

/// How many field names one reason lists; the rest are counted.
const MAX_SHOWN_FIELDS: usize = 6;

/// One change of the device. Each is safe to repeat: a crash may have left it half done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the app's own network.
    CreateNetwork {
        /// The app.
        app: AppName,
    },
    /// Make a named volume. An existing one is kept as it is.
    CreateVolume {
        /// The app.
        app: AppName,
        /// The volume.
        volume: VolumeName,
    },
    /// Bring an image to the device.
    Pull {
        /// Its reference.
        image: String,
    },
    /// Stop a container and remove it. Named volumes stay.
    RemoveService {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
        /// Why it has to go.
        why: Why,
    },
    /// Make a container; it does not run yet.
    CreateService {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
        /// What it shall be.
        spec: Box<ServiceSpec>,
    },
    /// Make a container run that is there and right.
    StartService {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
    },
    /// Remove the network of an app that is no longer assigned. Its volumes stay.
    RemoveNetwork {
        /// The app.
        app: AppName,
    },
    /// Install an OS image.
    InstallOs {
        /// The image.
        os: OsSpec,
    },
}

/// Why a container has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not assigned any more.
    NotAssigned,
    /// It differs in these fields and is made again.
    Differs(Vec<String>),
    /// The engine could not remove it completely before.
    Dead,
}

/// Why something did not work: one word for programs and one sentence for people, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One word, such as `PullFailed`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNetwork { app } => write!(f, "create network of {app}"),
            Self::CreateVolume { app, volume } => write!(f, "create volume {volume} of {app}"),
            Self::Pull { image } => write!(f, "pull {image}"),
            Self::RemoveService { app, service, why } => write!(f, "remove {app}/{service} ({why})"),
            Self::CreateService { app, service, spec: _ } => write!(f, "create {app}/{service}"),
            Self::StartService { app, service } => write!(f, "start {app}/{service}"),
            Self::RemoveNetwork { app } => write!(f, "remove network of {app}"),
            Self::InstallOs { os } => write!(f, "install OS {} {}", os.name, os.version),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAssigned => f.write_str("not assigned"),
            Self::Dead => f.write_str("dead"),
            Self::Differs(fields) => {
                let shown = fields.iter().take(MAX_SHOWN_FIELDS).map(String::as_str).collect::<Vec<_>>().join(", ");
                match fields.len().saturating_sub(MAX_SHOWN_FIELDS) {
                    0 => write!(f, "differs in {shown}"),
                    more => write!(f, "differs in {shown} and {more} more"),
                }
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}
