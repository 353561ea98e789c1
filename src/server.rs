//! The controller's HTTP side: the device plane, the operators' requests, metrics and health.
//!
//! Handlers parse, ask the owner or read the world, and answer. They decide nothing.

pub mod actions;
pub mod auth;
pub mod device;
pub mod dumps;
pub mod errors;
pub mod keys;
pub mod metrics;
pub mod operator;
pub mod request;
pub mod rollouts;
pub mod select;
pub mod webhook;

use crate::controller::dumps::Dumps;
use crate::controller::fetching::Fetching;
use crate::controller::lists::Lists;
use crate::controller::owner::{Counters, Handle};
use crate::controller::published::Published;
use crate::controller::telling::Teller;
use crate::controller::vault::Vault;
use crate::controller::watch::Waker;
use crate::controller::{Options, SharedWorld};
use crate::domain::digest::Digest;
use crate::domain::forge::hook::MAX_HOOK_BYTES;
use crate::domain::ids::Actor;
use crate::domain::reported::MAX_REPORT_BYTES;
use crate::protocol::v1::operator::MAX_DEVICES_REQUEST_BYTES;
use auth::PeerInfo;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use ed25519_dalek::SigningKey;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

/// How long open requests may go on after the server was asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Everything that handlers need.
pub struct Server {
    /// What the controller was told at start.
    pub options: Arc<Options>,
    /// For commands.
    pub owner: Handle,
    /// For waking and asking the watcher.
    pub watcher: Waker,
    /// Lists of devices from outside the commits.
    pub lists: Arc<Lists>,
    /// For asking their sources now.
    pub fetching: Fetching,
    /// For reading.
    pub world: SharedWorld,
    /// For polls.
    pub published: Arc<Published>,
    /// For metrics.
    pub counters: Arc<Counters>,
    /// Core dumps that devices sent.
    pub dumps: Dumps,
    /// Values of secrets, for envelopes.
    pub vault: Arc<Vault>,
    /// The network address that it listens on, if any.
    pub address: Option<SocketAddr>,
    /// Signs assignments.
    pub key: SigningKey,
    /// SHA-256 of the certificate that new devices shall trust.
    pub ca_fingerprint: Digest,
    /// Operators by the SHA-256 of their key.
    pub operators: BTreeMap<Digest, Actor>,
    /// Takes webhooks of the forge; `None` if none are taken.
    pub hooks: Option<webhook::Hooks>,
    /// Tells the forge how rollouts go, as long as the server lives.
    pub teller: Option<Teller>,
    /// Is cancelled when the server stops.
    pub stopping: CancellationToken,
}

/// What handlers share.
pub type Shared = Arc<Server>;

/// Every route.
pub fn router(server: Shared) -> Router {
    let devices_limit = DefaultBodyLimit::max(MAX_DEVICES_REQUEST_BYTES);
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(metrics::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/enroll", post(device::enroll))
        .route("/v1/assignment", get(device::assignment))
        .route("/v1/report", post(device::report))
        .route("/v1/core-dump", put(dumps::take))
        .route("/v1/status", get(select::status))
        .route("/v1/devices", get(operator::devices))
        .route("/v1/select", get(select::select))
        .route("/v1/groups", get(select::groups))
        .route("/v1/devices/{device}", get(operator::device))
        .route("/v1/devices/{device}/core-dump", get(dumps::one))
        .route("/v1/devices/{device}/why", get(operator::why))
        .route("/v1/devices/{device}/approve", post(operator::approve_device))
        .route("/v1/devices/{device}/reject", post(operator::reject_device))
        .route("/v1/devices/{device}/attributes", post(operator::set_attributes))
        .route("/v1/inventory", get(operator::inventory))
        .route("/v1/devices/{device}/actions", get(actions::list).post(actions::ask))
        .route("/v1/devices/{device}/actions/cancel", post(actions::take_back))
        .route("/v1/secrets", get(operator::secrets))
        .route("/v1/drift", get(operator::drift))
        .route("/v1/baseline", get(operator::baseline))
        .route("/v1/export", get(select::export))
        .route("/v1/events", get(operator::events))
        .route("/v1/approvals", post(operator::approve))
        .route("/v1/holds", post(operator::hold))
        .route("/v1/holds/devices", post(select::hold_devices).layer(devices_limit))
        .route("/v1/resume", post(operator::resume))
        .route("/v1/resume/devices", post(select::resume_devices).layer(devices_limit))
        .route("/v1/devices/{device}/retry", post(operator::retry))
        .route("/v1/rollouts", get(rollouts::list).post(rollouts::draft))
        .route("/v1/rollouts/{rollout}", get(rollouts::one).post(rollouts::ask))
        .route("/v1/tokens", post(operator::token))
        .route("/v1/epoch", post(operator::epoch))
        .route("/v1/refresh", post(operator::refresh))
        .route("/v1/webhook", post(webhook::webhook).layer(DefaultBodyLimit::max(MAX_HOOK_BYTES)))
        .fallback(errors::no_route)
        .method_not_allowed_fallback(errors::wrong_method)
        .layer(DefaultBodyLimit::max(MAX_REPORT_BYTES))
        .layer(CatchPanicLayer::custom(errors::panicked))
        .with_state(server)
}

async fn index() -> String {
    format!(
        "Bellwether {}\n\nThis is a fleet's controller. Devices and operators speak to it under /v1.\n\
         For people: `bellwether status`, `bellwether drift`, `bellwether why DEVICE`.\n\
         For monitoring: /healthz, /readyz, /metrics.\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Why the server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The Unix socket could not be made.
    #[error("could not listen on the socket {path}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The network address could not be used.
    #[error("could not listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Serving failed.
    #[error("serving failed")]
    Serve(#[source] std::io::Error),
}

/// Binds the network address.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Serves TLS on a bound address until the server is stopping.
pub async fn serve_tls(
    server: Shared,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
) -> Result<(), ServeError> {
    let handle = axum_server::Handle::new();
    let stopping = server.stopping.clone();
    let stop_handle = handle.clone();
    let published = server.published.clone();
    tokio::spawn(async move {
        stopping.cancelled().await;
        published.wake_all();
        stop_handle.graceful_shutdown(Some(STOP_GRACE));
    });
    let config = axum_server::tls_rustls::RustlsConfig::from_config(tls);
    let address = listener.local_addr().map_err(ServeError::Serve)?;
    axum_server::from_tcp_rustls(listener, config)
        .map_err(|source| ServeError::Listen { address, source })?
        .handle(handle)
        .serve(router(server).into_make_service())
        .await
        .map_err(ServeError::Serve)
}

/// Serves operators on a Unix socket, which only its owner and group can reach, until the server is stopping.
pub async fn serve_socket(server: Shared, path: &Path) -> Result<(), ServeError> {
    let failed = |source| ServeError::Socket { path: path.to_owned(), source };
    // The store's lock says that no other controller runs here, so a socket that is still there is a leftover.
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = tokio::net::UnixListener::bind(path).map_err(failed)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o660);
    std::fs::set_permissions(path, mode).map_err(failed)?;
    let stopping = server.stopping.clone();
    let service = router(server).into_make_service_with_connect_info::<PeerInfo>();
    let result = axum::serve(listener, service)
        .with_graceful_shutdown(async move { stopping.cancelled().await })
        .await
        .map_err(ServeError::Serve);
    // Nobody listens any more; a missing file is fine.
    let _ = std::fs::remove_file(path);
    result
}
