//! The controller's configuration, in three stages.
//!
//! *Fragments* are what each source says, as text with its place: the file `bellwether.yml`, environment variables, flags.
//! *Inputs* are the fragments laid over each other, the later one winning, each value still knowing where it stands. *Settings*
//! are the values, checked once and typed. All problems are told at once, each with its place.

mod file;
mod flags;
mod forge;
mod fragment;
mod git;
mod inputs;
mod lists;
mod schema;
mod settings;

pub use flags::ServeFlags;
pub use forge::ForgePart;
pub use fragment::{Environment, KEYS, Setting};
pub use inputs::{Effective, Inputs};
pub use schema::schema;

use crate::domain::digest::Digest;
use crate::domain::finding::{Finding, render_findings};
use crate::domain::ids::StageName;
use crate::domain::ids::{Actor, FleetName};
use crate::domain::plan::policy::StagePolicy;
use crate::git::signature::Signers;
use crate::git::{Access, RemoteUrl};
use crate::lists::SourceSettings;
use crate::secrets::Sources;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The configuration's file, looked for in the working directory and then in [`SYSTEM_FOLDER`].
pub const FILE_NAME: &str = "bellwether.yml";
/// Where packages put the configuration.
pub const SYSTEM_FOLDER: &str = "/etc/bellwether";
/// The data folder, unless another is named.
pub const DEFAULT_DATA_DIR: &str = "bellwether-data";
/// The controller's socket in its data folder, unless another is named.
pub const SOCKET_NAME: &str = "bellwether.sock";
/// The longest configuration that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the controller is told once, at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The fleet's name, as `fleet.yml` and the devices know it.
    pub fleet: FleetName,
    /// The fleet repo.
    pub repo: RemoteUrl,
    /// How it is reached, if it is behind a network.
    pub access: Access,
    /// Who may sign the newest commits of the stages that ask for signatures.
    pub signers: BTreeMap<StageName, Signers>,
    /// All stages, least gated first.
    pub stages: Vec<StagePolicy>,
    /// Where keys, store and mirror are kept.
    pub data_dir: PathBuf,
    /// Where devices, and operators with keys, reach the controller.
    pub listen: SocketAddr,
    /// Where operators on this machine reach it.
    pub socket: PathBuf,
    /// Its certificate.
    pub certificate: CertificateSource,
    /// Operators by the SHA-256 of their key.
    pub operators: BTreeMap<Digest, Actor>,
    /// Seconds between two looks at the fleet repo.
    pub poll_secs: u64,
    /// Seconds of silence after which a device counts as offline.
    pub offline_after_secs: i64,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where values of secrets are kept.
    pub secrets: Sources,
    /// Where lists of devices are fetched that fleet repos may name.
    pub lists: Vec<SourceSettings>,
    /// What it has to do with the forge; `None` if nothing.
    pub forge: Option<ForgePart>,
}

/// Where the controller's TLS certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// The controller makes its own authority and certificate for these names (DNS names and addresses), besides the
    /// names of this machine. Devices pin the authority at enrollment.
    SelfMade {
        /// Under which names devices and people reach the controller.
        names: BTreeSet<String>,
    },
    /// Files in PEM that somebody else renews.
    Files {
        /// The certificate, followed by those that lead to its authority.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// In which form.
    pub format: LogFormat,
    /// From which level on.
    pub level: LogLevel,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object each.
    Json,
}

/// How much is logged: this level and those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// A person must act.
    Error,
    /// We coped.
    Warn,
    /// The life of stages and devices.
    #[default]
    Info,
    /// For looking into problems.
    Debug,
    /// Everything.
    Trace,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("the configuration {path} could not be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// Something in it is wrong. The text shows every problem with its place.
    #[error("the configuration cannot be used\n\n{}", render_findings(.0).trim_end())]
    Invalid(Vec<Finding>),
}

/// Reads the configuration from its file, the environment and the flags; the later wins. `folder` is the working directory:
/// where the file is looked for, and what paths of environment and flags are relative to. Paths of the file are relative to it.
pub fn load(flags: &ServeFlags, environment: &Environment, folder: &Path) -> Result<Settings, ConfigError> {
    Inputs::gather(flags, environment, folder)?.settings()
}

#[cfg(test)]
mod tests;
