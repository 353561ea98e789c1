//! What the agent can do to a device, and why it does it.

use super::host::HostAction;
use crate::domain::ids::{AppName, NetworkName, ServiceName, Version, VolumeName};
use crate::domain::spec::{NetworkSpec, OsSpec, ServiceSpec};
use std::fmt;

/// How many field names one reason lists; the rest are counted.
const MAX_SHOWN_FIELDS: usize = 6;

/// One change of the device. Each is safe to repeat: a crash may have left it half done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make one of the app's networks.
    CreateNetwork {
        /// The app.
        app: AppName,
        /// The network.
        network: NetworkName,
        /// What it shall be.
        spec: Box<NetworkSpec>,
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
    /// Remove a network that is no longer assigned, or not as it is. Volumes stay.
    RemoveNetwork {
        /// The app.
        app: AppName,
        /// The network.
        network: NetworkName,
    },
    /// Change what an engine can change of a container that runs on, such as its restart policy.
    AdjustService {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
        /// What it shall be.
        spec: Box<ServiceSpec>,
        /// What is changed.
        why: Why,
    },
    /// Make the container that a service is handed over to, beside the one that runs; it does not run yet.
    CreateSuccessor {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
        /// What it shall be.
        spec: Box<ServiceSpec>,
    },
    /// Make a successor run.
    StartSuccessor {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
    },
    /// Stop a service's container and remove it; its successor takes its place and its name.
    Promote {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
        /// Why the old one has to go.
        why: Why,
    },
    /// Stop a successor and remove it. The service runs on.
    RemoveSuccessor {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
    },
    /// Remove an image to make room for the next one.
    RemoveImage {
        /// Its reference.
        image: String,
    },
    /// Bring more of an OS image to the device.
    FetchOs {
        /// The image.
        os: OsSpec,
        /// How many bytes of it are there already.
        from_bytes: u64,
    },
    /// Install an OS image; what runs goes on running.
    InstallOs {
        /// The image.
        os: OsSpec,
    },
    /// Reboot the device.
    Reboot {
        /// Why.
        why: RebootWhy,
    },
    /// Keep the OS that runs for good.
    ConfirmOs {
        /// Its version.
        version: Version,
    },
    /// Have the slot from before booted next, and the running one no more.
    FallBackOs {
        /// The version that did not prove itself.
        version: Version,
    },
    /// Have the running slot booted next: what was installed beside it is no longer wanted.
    KeepOs,
    /// Remove what was downloaded of an OS image and is of no more use.
    DiscardOs,
    /// Something of the host, beside its services and its OS.
    Host(HostAction),
}

/// Why a device is rebooted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebootWhy {
    /// Into an OS that was installed.
    Try(Version),
    /// Out of an OS that did not prove itself.
    Leave(Version),
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
    /// A service that it depends on, or whose namespace it shares, is made again.
    Follows(ServiceName),
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
            Self::CreateNetwork { app, network, spec: _ } => write!(f, "create {}", NetworkOf(app, network)),
            Self::CreateVolume { app, volume } => write!(f, "create volume {volume} of {app}"),
            Self::Pull { image } => write!(f, "pull {image}"),
            Self::RemoveService { app, service, why } => write!(f, "remove {app}/{service} ({why})"),
            Self::CreateService { app, service, spec: _ } => write!(f, "create {app}/{service}"),
            Self::StartService { app, service } => write!(f, "start {app}/{service}"),
            Self::RemoveNetwork { app, network } => write!(f, "remove {}", NetworkOf(app, network)),
            Self::AdjustService { app, service, spec: _, why } => write!(f, "adjust {app}/{service} ({why})"),
            Self::CreateSuccessor { app, service, spec: _ } => write!(f, "create the next {app}/{service}"),
            Self::StartSuccessor { app, service } => write!(f, "start the next {app}/{service}"),
            Self::Promote { app, service, why } => write!(f, "hand over {app}/{service} ({why})"),
            Self::RemoveSuccessor { app, service } => write!(f, "remove the next {app}/{service}"),
            Self::RemoveImage { image } => write!(f, "remove image {image}"),
            Self::FetchOs { os, from_bytes: 0 } => write!(f, "download OS {} {}", os.name, os.version),
            Self::FetchOs { os, from_bytes } => {
                write!(f, "go on to download OS {} {} after {} MiB", os.name, os.version, from_bytes >> 20)
            }
            Self::InstallOs { os } => write!(f, "install OS {} {}", os.name, os.version),
            Self::Reboot { why: RebootWhy::Try(version) } => write!(f, "reboot into OS {version}"),
            Self::Reboot { why: RebootWhy::Leave(version) } => write!(f, "reboot out of OS {version}"),
            Self::ConfirmOs { version } => write!(f, "keep OS {version}"),
            Self::FallBackOs { version } => write!(f, "fall back from OS {version}"),
            Self::KeepOs => f.write_str("stay with the running OS"),
            Self::DiscardOs => f.write_str("remove the downloaded OS image"),
            Self::Host(action) => action.fmt(f),
        }
    }
}

impl Action {
    /// Whether it is for the OS updater, not for the container engine.
    pub fn is_for_os(&self) -> bool {
        match self {
            Self::FetchOs { .. }
            | Self::InstallOs { .. }
            | Self::Reboot { .. }
            | Self::ConfirmOs { .. }
            | Self::FallBackOs { .. }
            | Self::KeepOs
            | Self::DiscardOs => true,
            Self::Host(_)
            | Self::CreateNetwork { .. }
            | Self::CreateVolume { .. }
            | Self::Pull { .. }
            | Self::RemoveService { .. }
            | Self::CreateService { .. }
            | Self::StartService { .. }
            | Self::AdjustService { .. }
            | Self::CreateSuccessor { .. }
            | Self::StartSuccessor { .. }
            | Self::Promote { .. }
            | Self::RemoveSuccessor { .. }
            | Self::RemoveImage { .. }
            | Self::RemoveNetwork { .. } => false,
        }
    }
}

/// A network for people; an app's default one needs no name.
struct NetworkOf<'a>(&'a AppName, &'a NetworkName);

impl fmt::Display for NetworkOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(app, network) = self;
        match network.as_str() {
            "default" => write!(f, "network of {app}"),
            network => write!(f, "network {network} of {app}"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAssigned => f.write_str("not assigned"),
            Self::Dead => f.write_str("dead"),
            Self::Follows(other) => write!(f, "follows {other}"),
            Self::Differs(fields) => {
                let shown =
                    fields.iter().take(MAX_SHOWN_FIELDS).map(|field| worded(field)).collect::<Vec<_>>().join(", ");
                match fields.len().saturating_sub(MAX_SHOWN_FIELDS) {
                    0 => write!(f, "{shown} changed"),
                    more => write!(f, "{shown} and {more} more changed"),
                }
            }
        }
    }
}

/// A field in words: the variable and not its path.
fn worded(field: &str) -> String {
    match field.split_once('.') {
        Some(("environment", name)) => format!("environment {name}"),
        Some(("labels", name)) => format!("label {name}"),
        Some(("mounts" | "binds", path)) => format!("mount {path}"),
        Some(("networks", name)) => format!("network {name}"),
        Some(_) | None => field.to_owned(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}
