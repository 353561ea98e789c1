//! What people ask of the agent on the device itself: `bellwether-agent status`, `check`, `lock`, `logs`, `purge`.

mod show;

use super::api::client::{AskingError, ask};
use super::settings::{ApiSettings, Settings};
use crate::domain::device::local::{LocalStatus, ServicePath, VolumePath};
use crate::domain::device::locks::{Lock, Scope};
use crate::domain::time::Timestamp;
use hyper::Method;
use std::collections::BTreeSet;
use std::path::Path;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// How the device is.
    Status(Form),
    /// Look and poll now.
    Check,
    /// List the locks that are held.
    Locks(Form),
    /// Take a lock.
    Take(LockAsked),
    /// Give a lock back.
    Release(LockAsked),
    /// Remove a volume with its data.
    Purge(VolumePath),
    /// The newest lines of a service's log.
    Logs {
        /// The service.
        service: ServicePath,
        /// How many lines; `None` for the usual.
        lines: Option<u32>,
    },
}

/// A lock that somebody takes or gives back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockAsked {
    /// The service; `None` is the device's lock.
    pub service: Option<ServicePath>,
    /// Who takes it, or to whom it must belong to be given back.
    pub owner: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What it keeps from happening; `None` for the usual.
    pub scope: Option<BTreeSet<Scope>>,
}

impl LockAsked {
    fn body(&self) -> String {
        let Self { service, owner, reason, scope } = self;
        let service = service.as_ref().map(ToString::to_string);
        serde_json::json!({ "service": service, "owner": owner, "reason": reason, "scope": scope }).to_string()
    }

    fn name(&self) -> String {
        self.service.as_ref().map_or_else(|| "the device".to_owned(), ToString::to_string)
    }
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// The word is no [`Form`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither table nor json")]
pub struct FormError(String);

impl std::str::FromStr for Form {
    type Err = FormError;
    fn from_str(text: &str) -> Result<Self, FormError> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            other => Err(FormError(other.to_owned())),
        }
    }
}

/// Asks, and returns what is to be printed.
pub async fn run(settings: &Settings, command: &Command, now: Timestamp) -> Result<String, AskingError> {
    let ApiSettings { socket, .. } = settings.api.as_ref().ok_or(AskingError::TurnedOff)?;
    match command {
        Command::Status(form) => status(socket, *form, now).await,
        Command::Check => {
            ask(socket, Method::POST, "/v1/check", None).await?;
            Ok("The agent looks at the device and asks the controller for news.\n".to_owned())
        }
        Command::Locks(form) => {
            let text = ask(socket, Method::GET, "/v1/locks", None).await?.unwrap_or_default();
            let broken = |error: serde_json::Error| AskingError::Broken(error.to_string());
            let locks: Vec<Lock> = serde_json::from_str(&text).map_err(broken)?;
            match form {
                Form::Table if locks.is_empty() => Ok("Nothing is locked.\n".to_owned()),
                Form::Table => Ok(show::locks(&locks, now)),
                Form::Json => serde_json::to_string_pretty(&locks).map(|text| text + "\n").map_err(broken),
            }
        }
        Command::Take(lock) => {
            ask(socket, Method::PUT, "/v1/locks", Some(lock.body())).await?;
            Ok(format!("Took the lock of {}.\n", lock.name()))
        }
        Command::Release(lock) => {
            ask(socket, Method::DELETE, "/v1/locks", Some(lock.body())).await?;
            Ok(format!("Gave back the lock of {}.\n", lock.name()))
        }
        Command::Purge(volume) => {
            let body = serde_json::json!({ "volume": volume.to_string() }).to_string();
            ask(socket, Method::POST, "/v1/purge", Some(body)).await?;
            Ok(format!(
                "The agent purges {volume} as soon as nothing else is under way.\n\
                 `bellwether-agent status` shows what came of it in the condition LastAction.\n"
            ))
        }
        Command::Logs { service, lines } => {
            let lines = lines.map(|lines| format!("&lines={lines}")).unwrap_or_default();
            let path = format!("/v1/logs?service={service}{lines}");
            Ok(ask(socket, Method::GET, &path, None).await?.unwrap_or_default())
        }
    }
}

async fn status(socket: &Path, form: Form, now: Timestamp) -> Result<String, AskingError> {
    let text = ask(socket, Method::GET, "/v1/status", None).await?.unwrap_or_default();
    let broken = |error: serde_json::Error| AskingError::Broken(error.to_string());
    match form {
        Form::Table => {
            serde_json::from_str::<LocalStatus>(&text).map(|status| show::status(&status, now)).map_err(broken)
        }
        Form::Json => {
            let value: serde_json::Value = serde_json::from_str(&text).map_err(broken)?;
            serde_json::to_string_pretty(&value).map(|text| text + "\n").map_err(broken)
        }
    }
}
