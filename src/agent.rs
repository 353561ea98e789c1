//! The agent: a loop around [`crate::domain::device::machine::Machine`] that performs its effects and hands it the answers.
//!
//! ```text
//!            ┌────────── events ◄──────────┐
//!            ▼                             │
//!   machine (pure) ──► effects ──► ledger │ link │ engine │ os │ timers
//! ```
//!
//! Everything runs on one thread. A look or an action, a poll, and a report can be under way at the same time, one of each.

pub mod api;
pub mod args;
pub mod commands;
pub mod engine;
pub mod faults;
pub mod files;
pub mod host;
pub mod identity;
pub mod ledger;
pub mod link;
pub mod locks;
pub mod os;
pub mod secrets;
pub mod settings;

mod dumps;
mod enrolling;
mod errands;
mod joining;
mod leaving;
mod machine;
mod manager;
mod running;

// Its device plane needs the controller's HTTP library.
#[cfg(all(test, feature = "controller"))]
mod tests;

use crate::domain::device::machine::{About, Machine, Moment, PollMode};
use crate::domain::ids::DeviceId;
use crate::domain::reported::{PLAIN_POLL, POLL_ATTRIBUTE};
use crate::ports::engine::Engine;
use crate::ports::host::Host;
use crate::ports::os::Os;
use files::{StateDirectory, StateDirectoryError};
use identity::IdentityError;
pub use leaving::{Containers, Memory, leave};
use ledger::{LedgerFile, LedgerFileError};
use link::{Link, LinkError};
use locks::LockFiles;
use settings::{EngineKind, HostKind, OsKind, OsSettings, Settings};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

/// Why the agent ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory.
    #[error(transparent)]
    StateDirectory(#[from] StateDirectoryError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerFileError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The authority's file.
    #[error("the authority's file {path} cannot be used")]
    Authority {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A simulated part or the engine's client.
    #[error("the {part} cannot be used")]
    Part {
        /// Which part.
        part: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Neither an identity nor anything to get one with.
    #[error("this device belongs to no fleet yet: give --server and --token, or --server and --ca-file")]
    NotEnrolled,
    /// Nobody said where to go.
    #[error(
        "say which controller to join: `bellwether-agent join https://CONTROLLER:8443 TOKEN`, or --ca-file in place of the token"
    )]
    NowhereToJoin,
    /// The host name is no device name and none was given.
    #[error("the host name {0:?} cannot be the device's name: give --device")]
    NoName(String),
}

/// Runs the agent until `stop` is ready, or until it cannot go on.
///
/// Several can run in one process, each with a state directory of its own.
pub async fn run(settings: Settings, stop: impl Future<Output = ()> + Send) -> Result<(), AgentError> {
    let mut stop = Box::pin(stop);
    let directory = StateDirectory::open(&settings.state_dir)?;
    joining::finish(&directory)?;
    // Before anything else: a damaged ledger must stop the agent while everything still runs.
    let file = LedgerFile::of(&directory);
    let mut ledger = file.read()?;
    let attributes = attributes(&settings);
    let identity = tokio::select! {
        identity = manager::feed_while(enrolling::enrolled(&directory, &settings, &attributes)) => identity?,
        () = &mut stop => return Ok(()),
    };
    let trust = identity.trust()?.ok_or(AgentError::NotEnrolled)?;
    let device = identity.device.clone();
    let engine = open_engine(&settings, &directory, &trust.fleet, &device)?;
    let secrets = Arc::new(secrets::SecretsFile::open(&directory));
    let locks = Arc::new(LockFiles::at(&settings.lock_dir));
    let api = open_api(&settings, &engine, &secrets, &locks);
    let parts = running::Parts {
        link: Link::of(&identity)?,
        engine,
        os: open_os(&settings, &directory)?,
        host: open_host(&settings, &directory),
        secrets,
        reboot: settings.reboot.clone().into(),
        file,
        trust: Arc::new(trust),
        locks,
        dumps: settings.core_dumps.as_deref().map(dumps::DumpFolder::at),
    };
    if let Err(error) = ledger::catch_up_starts(&directory, &mut ledger) {
        // The ledger counts starts too; this is for a device that loses it.
        tracing::warn!(error = &error as &dyn std::error::Error, "could not note the number of this start");
    }
    let start_id = crate::domain::digest::hex(&identity::random::<16>()?);
    let about = About { device, branch: settings.branch.clone(), attributes: with_machine(&settings, attributes) };
    tracing::info!(device.id = %about.device, start = ledger.starts + 1, engine = parts.engine.name(), "started");
    let now = Moment { wall: crate::clock::now(), steady_millis: 0 };
    let started = Machine::start(about, settings.pace, ledger, start_id, now);
    running::run(started, parts, api, stop).await;
    // The directory's lock is held until here.
    drop(directory);
    Ok(())
}

/// Enrolls with another controller; the old identity and ledger are kept aside. Ends once the controller answered, also
/// if it answered that a person must approve first. What came of it, for people.
pub async fn join(settings: Settings) -> Result<String, AgentError> {
    let directory = StateDirectory::open(&settings.state_dir)?;
    let identity = joining::join(&directory, &settings, &attributes(&settings)).await?;
    Ok(joining::told(&identity))
}

/// What the device states of itself: the agent's facts, then those of its settings.
fn attributes(settings: &Settings) -> BTreeMap<String, String> {
    let engine = match settings.engine {
        EngineKind::Docker { .. } => "docker",
        EngineKind::Simulated => "simulated",
    };
    let own = [
        ("agent_version", env!("CARGO_PKG_VERSION")),
        ("arch", std::env::consts::ARCH),
        ("engine", engine),
        ("platform", std::env::consts::OS),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    // How long its silence means nothing depends on it.
    let plain = (settings.pace.poll == PollMode::Plain).then(|| (POLL_ATTRIBUTE.to_owned(), PLAIN_POLL.to_owned()));
    own.chain(plain).chain(settings.attributes.clone()).collect()
}

/// Reports tell of the machine as well. A simulated device is none; and what the settings say wins.
fn with_machine(settings: &Settings, attributes: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = match settings.engine {
        EngineKind::Docker { .. } => machine::facts(std::path::Path::new("/"), &settings.boot_id_file),
        EngineKind::Simulated => BTreeMap::new(),
    };
    all.extend(attributes);
    all
}

fn open_engine(
    settings: &Settings,
    directory: &StateDirectory,
    fleet: &crate::domain::ids::FleetName,
    device: &DeviceId,
) -> Result<Arc<dyn Engine>, AgentError> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| AgentError::Part { part: "container engine", source };
    Ok(match &settings.engine {
        EngineKind::Docker { socket, images } => Arc::new(
            engine::docker::DockerEngine::connect(socket, fleet, device)
                .map_err(|error| failed(error.into()))?
                .with_images(images.clone())
                .with_locks(LockFiles::at(&settings.lock_dir)),
        ),
        EngineKind::Simulated => Arc::new(
            engine::simulated::SimulatedEngine::open(&directory.file("engine"))
                .map_err(|error| failed(error.into()))?,
        ),
    })
}

/// The local API. Without it everything else goes on.
fn open_api(
    settings: &Settings,
    engine: &Arc<dyn Engine>,
    secrets: &Arc<secrets::SecretsFile>,
    locks: &Arc<LockFiles>,
) -> api::Api {
    let Some(api) = &settings.api else { return api::Api::default() };
    api::Api::open(api, Arc::clone(engine), Arc::clone(secrets), Arc::clone(locks)).unwrap_or_else(|error| {
        let error = enrolling::chain(&error);
        tracing::warn!(error, "the local API is not there: `bellwether-agent status` and applications cannot ask");
        api::Api::default()
    })
}

fn open_host(settings: &Settings, directory: &StateDirectory) -> Arc<dyn Host> {
    match &settings.host {
        HostKind::None => Arc::new(host::NoHost),
        HostKind::Linux(about) => Arc::new(host::linux::LinuxHost::new(about.clone())),
        HostKind::Simulated => Arc::new(host::simulated::SimulatedHost::new(directory.file("host.json"))),
    }
}

fn open_os(settings: &Settings, directory: &StateDirectory) -> Result<Arc<dyn Os>, AgentError> {
    let images = |about: &OsSettings| {
        os::images::Images::new(directory.file("os-image"), about.reserve_bytes, about.ca_file.clone())
    };
    Ok(match &settings.os {
        OsKind::None => Arc::new(os::NoUpdater),
        OsKind::Rauc(about) => Arc::new(os::rauc::Rauc::new(images(about), about.rebooter.clone())),
        OsKind::Command { program, about } => {
            Arc::new(os::command::CommandOs::new(program.clone(), images(about), about.rebooter.clone()))
        }
        OsKind::Simulated => Arc::new(
            os::simulated::SimulatedOs::open(&directory.file("os"))
                .map_err(|source| AgentError::Part { part: "OS updater", source: source.into() })?,
        ),
    })
}
