//! The local API: HTTP/1.1 on a Unix socket, for applications and people on the device. `docs/local-api.md` describes it.
//!
//! Who may open the socket may ask everything; the file's mode and group decide who that is. Requests are read here, answered
//! by the machine in the agent's loop, and only logs are fetched from the engine directly.

pub mod client;
mod routes;

use super::locks::LockFiles;
use super::secrets::SecretsFile;
use super::settings::ApiSettings;
use crate::domain::device::local::ServicePath;
use crate::domain::device::local::{Ask, AskError, LocalStatus};
use crate::domain::device::machine::{Event, Machine};
use crate::domain::ids::{AppName, ServiceName};
use crate::domain::spec::SealedSpec;
use crate::domain::time::Timestamp;
use crate::ports::engine::Engine;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Connections at once: a handful of services and people. More are told to come back.
const MAX_CONNECTIONS: usize = 16;
/// How long a connection may last, in all; whoever has more to ask opens another.
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);
/// How long a client may take to send a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long a request's head may be, in bytes.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// How many headers a request may have.
const MAX_HEADERS: usize = 32;
/// Requests that wait for the agent's loop; it answers at once, so more than this is a flood.
const MAX_WAITING: usize = 32;
/// How long to wait after the system refused a connection, as when it has no more files to give.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// The longest file of groups that is read, in bytes.
const MAX_GROUPS_BYTES: usize = 1 << 20;

/// What connections ask of the agent's loop.
#[derive(Debug)]
pub(super) enum Request {
    /// The device as it is known now.
    Status(oneshot::Sender<Box<LocalStatus>>),
    /// What the device was told to run.
    Assignment(oneshot::Sender<Option<SealedSpec>>),
    /// Which service a path means.
    Find(ServicePath, oneshot::Sender<Result<(AppName, ServiceName), AskError>>),
    /// Something that the machine shall take note of.
    Act(Ask, oneshot::Sender<Result<(), AskError>>),
}

impl Request {
    /// Answers from what the machine knows; returns the event that follows, if any. A client that went away does not matter.
    pub(super) fn answer(self, machine: &Machine, now: Timestamp) -> Option<Event> {
        match self {
            Self::Status(answer) => {
                let _ = answer.send(Box::new(machine.status()));
                None
            }
            Self::Assignment(answer) => {
                let _ = answer.send(machine.ledger().accepted.as_ref().map(|held| held.spec.clone()));
                None
            }
            Self::Find(path, answer) => {
                let _ = answer.send(machine.find_service(&path));
                None
            }
            Self::Act(ask, answer) => {
                let (event, told) = match machine.asked(ask, now) {
                    Ok(event) => (Some(event), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let _ = answer.send(told);
                event
            }
        }
    }
}

/// Where connections leave their requests, and what they may use by themselves.
#[derive(Clone)]
struct Desk {
    requests: mpsc::Sender<Request>,
    engine: Arc<dyn Engine>,
    secrets: Arc<SecretsFile>,
    locks: Arc<LockFiles>,
}

/// The open socket. It is served as long as this lives.
#[derive(Default)]
pub(super) struct Api {
    requests: Option<mpsc::Receiver<Request>>,
    /// Ends the serving when it is dropped.
    _serving: JoinSet<()>,
}

/// Why the socket cannot be used. The agent goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The group is not one of this system.
    #[error("there is no group {0:?}")]
    NoGroup(String),
    /// The file system refused.
    #[error("could not make the socket {path}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Api {
    /// Listens on the socket.
    pub(super) fn open(
        settings: &ApiSettings,
        engine: Arc<dyn Engine>,
        secrets: Arc<SecretsFile>,
        locks: Arc<LockFiles>,
    ) -> Result<Self, ApiError> {
        let listener = bind(settings)?;
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let desk = Desk { requests: sender, engine, secrets, locks };
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, desk));
        tracing::debug!(socket = %settings.socket.display(), "the local API listens");
        Ok(Self { requests: Some(receiver), _serving: serving })
    }

    /// The next request; never, without a socket.
    pub(super) async fn next(&mut self) -> Request {
        match &mut self.requests {
            Some(requests) => match requests.recv().await {
                Some(request) => request,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

/// Makes the socket beside its place and moves it there once its rights are right: nobody gets in by being quick. A socket that
/// is still there is a leftover, because the state directory's lock says that no other agent runs.
fn bind(settings: &ApiSettings) -> Result<UnixListener, ApiError> {
    let ApiSettings { socket, mode, group } = settings;
    let group = group.as_deref().map(group_id).transpose()?;
    let failed = |source| ApiError::Socket { path: socket.clone(), source };
    let mut name = socket.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = socket.with_file_name(name);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&temporary).map_err(failed)?;
    std::os::unix::fs::chown(&temporary, None, group).map_err(failed)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(*mode)).map_err(failed)?;
    std::fs::rename(&temporary, socket).map_err(failed)?;
    Ok(listener)
}

/// A group by its number or its name in the system's file. Groups from a directory service are given by number.
fn group_id(group: &str) -> Result<u32, ApiError> {
    let no_group = || ApiError::NoGroup(group.to_owned());
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let bytes =
        super::files::read_bounded(Path::new("/etc/group"), MAX_GROUPS_BYTES).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    text.lines().find_map(of_line).ok_or_else(no_group)
}

async fn serve(listener: UnixListener, desk: Desk) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(serve_one(stream, desk.clone()));
                }
                Ok((stream, _)) => turn_away(&stream),
                Err(error) => {
                    tracing::warn!(error = %error, "a connection to the local API was refused by the system");
                    // The system tells nobody when it has room again.
                    tokio::time::sleep(AFTER_REFUSAL).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Says that there are too many, if that fits into the socket's buffer, and hangs up.
fn turn_away(stream: &UnixStream) {
    let answer = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    // It goes away either way.
    let _ = stream.try_write(answer.as_bytes());
}

async fn serve_one(stream: UnixStream, desk: Desk) {
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, std::convert::Infallible>(routes::answer(request, &desk).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_LIMIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = %error, "a connection to the local API ended badly"),
        Err(_) => tracing::debug!("a connection to the local API took too long"),
    }
}
