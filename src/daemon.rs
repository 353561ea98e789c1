//! The controller as one process: keys, store, mirror, owner, watcher and server, started in this order and stopped in reverse.
//!
//! Nothing is decided here. `bellwether serve`, the tests and the benchmarks start the same thing.

use crate::config::{CertificateSource, ForgePart};
use crate::controller::dumps::{Dumps, MAX_KEPT_BYTES};
use crate::controller::lists::Lists;
use crate::controller::owner::{self, Counters};
use crate::controller::telling::{self, Teller, Telling};
use crate::controller::vault::Vault;
use crate::controller::{Options, SharedWorld, fetching, watch};
use crate::domain::digest::Digest;
use crate::domain::ids::{Actor, StageName};
use crate::forge::settings::{ForgeSettingsError, verifier};
use crate::git::signature::Signers;
use crate::git::{Access, GitMirror, MirrorError, RemoteUrl, Stop};
use crate::lists::{HttpSource, SourceError, SourceSettings};
use crate::ports::forge::Forge;
use crate::ports::lists::ListSource;
use crate::ports::store::{Store as _, StoreError};
use crate::secrets::{IdentityError, Sources};
use crate::server::keys::{Keys, KeysError};
use crate::server::webhook::Hooks;
use crate::server::{ServeError, Server, bind, serve_socket, serve_tls};
use crate::store::SqliteStore;
use crate::{clock, server};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a controller is started with.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// What it decides with.
    pub options: Options,
    /// Where it keeps keys, store and mirror.
    pub data_dir: PathBuf,
    /// The fleet repo.
    pub repo: RemoteUrl,
    /// How it is reached, if it is behind a network.
    pub access: Access,
    /// Who may sign the newest commits of the stages that ask for signatures.
    pub signers: BTreeMap<StageName, Signers>,
    /// Where devices and operators with keys reach it.
    pub listen: SocketAddr,
    /// Where operators on this machine reach it.
    pub socket: PathBuf,
    /// Its certificate.
    pub certificate: CertificateSource,
    /// Operators by the SHA-256 of their key.
    pub operators: BTreeMap<Digest, Actor>,
    /// Where values of secrets are kept.
    pub secrets: Sources,
    /// Where lists of devices are fetched.
    pub lists: Vec<SourceSettings>,
    /// What it has to do with the forge.
    pub forge: Option<ForgePart>,
}

/// Why a controller could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The data folder could not be made.
    #[error("could not make the data folder {path}")]
    DataDir {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its keys could not be opened.
    #[error("could not open the controller's keys")]
    Keys(#[from] KeysError),
    /// Its store knows devices, and the key that they believe is gone.
    #[error("the store knows devices, and the key that they believe is not in {folder}")]
    KeysLost {
        /// Where it should be.
        folder: PathBuf,
    },
    /// Its store could not be opened.
    #[error("could not open the controller's store")]
    Store(#[from] StoreError),
    /// Its mirror could not be opened.
    #[error("could not open the mirror of the fleet repo")]
    Mirror(#[from] MirrorError),
    /// The identity that decrypts secrets of the fleet repo could not be read.
    #[error("could not open the providers of secrets")]
    Secrets(#[from] IdentityError),
    /// A source of lists of devices cannot be asked.
    #[error("could not make ready to ask {url}")]
    List {
        /// Which.
        url: String,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// The secret of webhooks cannot be used, or the forge cannot be asked so.
    #[error("could not make ready for the forge")]
    Forge(#[from] ForgeSettingsError),
    /// It could not serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A thread could not be started.
    #[error("could not start a thread")]
    Thread(#[source] std::io::Error),
}

impl DaemonError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Keys(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::KeysLost { .. } => {
                Some("restore the keys from a backup; without them devices have to be enrolled again")
            }
            Self::Secrets(_) => {
                Some("`secrets.identity` is a file as `age-keygen` writes it; the controller must be able to read it")
            }
            Self::List { .. } => Some(
                "check the files that `inventories` of the configuration names; the controller must be able to read them",
            ),
            Self::Forge(_) => Some(
                "check `forge` of the configuration and the files that it names; the controller must be able to read them",
            ),
            Self::DataDir { .. } | Self::Mirror(_) | Self::Serve(_) | Self::Thread(_) => None,
        }
    }
}

/// A controller that runs.
pub struct Daemon {
    /// The address that it listens on; the port is the real one where 0 was asked for.
    pub address: SocketAddr,
    /// Its socket.
    pub socket: PathBuf,
    /// SHA-256 of the certificate that devices shall trust.
    pub ca_fingerprint: Digest,
    /// That certificate.
    pub ca_pem: String,
    /// Everything that is known.
    pub world: SharedWorld,
    /// What was done.
    pub counters: Arc<Counters>,
    server: server::Shared,
    tls: JoinHandle<Result<(), ServeError>>,
    local: JoinHandle<Result<(), ServeError>>,
    owner: std::thread::JoinHandle<()>,
    fetching: Stop,
}

/// Starts a controller. When this returns it answers requests; the fleet repo is being looked at.
pub async fn start(inputs: Inputs) -> Result<Daemon, DaemonError> {
    let Inputs {
        options,
        data_dir,
        repo,
        access,
        signers,
        listen,
        socket,
        certificate,
        operators,
        secrets,
        lists,
        forge,
    } = inputs;
    std::fs::create_dir_all(&data_dir).map_err(|source| DaemonError::DataDir { path: data_dir.clone(), source })?;
    // The store's lock comes first: it makes sure that nobody else uses this folder.
    let mut store = SqliteStore::open(&data_dir.join("bellwether.db"))?;
    let keys_folder = data_dir.join("keys");
    if !Keys::exist(&keys_folder)? && !store.load()?.devices.is_empty() {
        return Err(DaemonError::KeysLost { folder: keys_folder });
    }
    let keys = Keys::open(&keys_folder, &certificate, clock::now())?;
    let fetching = Stop::default();
    let mirror = GitMirror::open(&data_dir.join("mirror.git"), repo)?;
    let mirror = mirror.with_access(access).with_signers(signers).stopped_by(fetching.clone());
    let listener = bind(listen)?;
    let address = listener.local_addr().map_err(ServeError::Serve)?;

    let sources = lists.iter().map(|one| {
        let source = HttpSource::new(one);
        source
            .map(|source| Box::new(source) as Box<dyn ListSource>)
            .map_err(|source| DaemonError::List { url: one.url.clone(), source })
    });
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let folder = data_dir.join("inventories");
    let lists = Lists::open(&folder, lists.iter().map(|one| one.url.clone()));
    let lists = Arc::new(lists.map_err(|source| DaemonError::DataDir { path: folder, source })?);
    let folder = data_dir.join("core-dumps");
    let dumps = Dumps::open(folder.clone(), MAX_KEPT_BYTES);
    let dumps = dumps.map_err(|source| DaemonError::DataDir { path: folder, source })?;
    let providers = secrets.open()?;
    let options = Arc::new(options);
    let running = owner::start(options.clone(), Box::new(store))?;
    let vault = Arc::new(Vault::new(&keys.secrets, Box::new(providers), running.published.clone()));
    let (world, owner) = (running.world.clone(), running.handle.clone());
    let watching = watch::start(options.clone(), Box::new(mirror), world, owner, vault.clone(), lists.clone())
        .map_err(DaemonError::Thread)?;
    let interval = Duration::from_secs(options.poll_secs.max(1));
    let asking = fetching::start(sources, &lists, interval, &watching.waker).map_err(DaemonError::Thread)?;
    let hooks = forge.as_ref().map(hooks).transpose()?.flatten();
    let teller = forge.and_then(|forge| teller(forge, &options, &running)).transpose()?;
    let server = Arc::new(Server {
        options,
        owner: running.handle,
        watcher: watching.waker,
        lists,
        fetching: asking,
        world: running.world.clone(),
        published: running.published,
        counters: running.counters.clone(),
        dumps,
        vault,
        address: Some(address),
        key: keys.signing,
        ca_fingerprint: keys.ca_fingerprint,
        operators,
        hooks,
        teller,
        stopping: CancellationToken::new(),
    });
    let tls = tokio::spawn(serve_tls(server.clone(), listener, keys.tls));
    let local = {
        let (server, socket) = (server.clone(), socket.clone());
        tokio::spawn(async move { serve_socket(server, &socket).await })
    };
    Ok(Daemon {
        address,
        socket,
        ca_fingerprint: keys.ca_fingerprint,
        ca_pem: keys.ca_pem,
        world: running.world,
        counters: running.counters,
        server,
        tls,
        local,
        owner: running.thread,
        fetching,
    })
}

/// What takes webhooks, if any are taken.
fn hooks(forge: &ForgePart) -> Result<Option<Hooks>, DaemonError> {
    let Some(path) = &forge.webhook_secret else { return Ok(None) };
    Ok(Some(Hooks::new(&forge.repository, Box::new(verifier(path)?))))
}

/// What tells the forge how rollouts go, if it is told.
fn teller(forge: ForgePart, options: &Arc<Options>, running: &owner::Running) -> Option<Result<Teller, DaemonError>> {
    let ForgePart { repository: _, settings, stages, link, webhook_secret: _ } = forge;
    let settings = settings?;
    let open = move || match settings.open() {
        Ok(forge) => Ok(Box::new(forge) as Box<dyn Forge>),
        Err(error) => Err(owner::show_chain(&error)),
    };
    let (world, owner) = (running.world.clone(), running.handle.clone());
    let started = telling::start(Telling { stages, link }, options, Box::new(open), world, owner);
    Some(started.map_err(DaemonError::Thread))
}

impl Daemon {
    /// Goes on until it is asked to stop or a listener fails, then stops in order: listeners first, so that every answer
    /// that was promised is given, then the owner, so that everything it was asked is written.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), DaemonError> {
        let failed = tokio::select! {
            () = stop => None,
            result = &mut self.tls => Some(result),
            result = &mut self.local => Some(result),
        };
        self.server.stopping.cancel();
        // A fetch that runs is given up: it loses nothing, and no program outlives the controller.
        let fetching = self.fetching.clone();
        let fetching = tokio::task::spawn_blocking(move || fetching.stop());
        self.server.published.wake_all();
        if !self.tls.is_finished() {
            let _ = self.tls.await;
        }
        if !self.local.is_finished() {
            let _ = self.local.await;
        }
        let _ = fetching.await;
        self.server.owner.stop().await;
        // The owner's thread ends after its last transaction; waiting for it must not block the runtime.
        let owner = self.owner;
        let _ = tokio::task::spawn_blocking(move || owner.join()).await;
        match failed {
            None | Some(Ok(Ok(()))) | Some(Err(_)) => Ok(()),
            Some(Ok(Err(error))) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
