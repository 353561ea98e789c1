//! The system bus: one connection, made anew when it broke, and every call bounded in time.

use std::time::Duration;
use tokio::sync::Mutex;
use zbus::{Connection, DynamicType, Error, Message};

/// A connection to the system bus.
#[derive(Debug, Default)]
pub struct Bus(Mutex<Option<Connection>>);

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The service could not be asked, or said nothing.
    #[error("{0}")]
    Unavailable(String),
    /// It said no.
    #[error("{0}")]
    Refused(String),
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The service's name on the bus.
    pub service: &'static str,
    /// Its object.
    pub path: &'static str,
    /// The interface.
    pub interface: &'static str,
}

impl Bus {
    /// The connection, made now if there is none that works.
    pub async fn connection(&self) -> Result<Connection, BusError> {
        let mut kept = self.0.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = Connection::system().await.map_err(|error| unavailable("the system bus", &error))?;
        *kept = Some(connection.clone());
        Ok(connection)
    }

    /// Calls a method.
    pub async fn call<B>(&self, target: Target, method: &str, body: &B, limit: Duration) -> Result<Message, BusError>
    where
        B: serde::Serialize + DynamicType + Sync,
    {
        let Target { service, path, interface } = target;
        let called = async {
            let connection = self.connection().await?;
            connection
                .call_method(Some(service), path, Some(interface), method, body)
                .await
                .map_err(|error| told(service, error))
        };
        match tokio::time::timeout(limit, called).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if let BusError::Unavailable(_) = error {
                    // A bus that was restarted does not know the old connection.
                    *self.0.lock().await = None;
                }
                Err(error)
            }
            Err(_) => Err(BusError::Unavailable(format!(
                "{service} did not answer {method} within {} seconds",
                limit.as_secs()
            ))),
        }
    }
}

fn told(service: &str, error: Error) -> BusError {
    match error {
        // The bus itself speaks so: nobody has the name, it does not start, it went away in the middle, or it may not be called.
        Error::MethodError(name, text, _) if name.as_str().starts_with("org.freedesktop.DBus.Error.") => {
            BusError::Unavailable(format!("{service}: {}", text.unwrap_or_else(|| name.to_string())))
        }
        Error::MethodError(name, text, _) => BusError::Refused(text.unwrap_or_else(|| name.to_string())),
        other => unavailable(service, &other),
    }
}

fn unavailable(what: &str, error: &Error) -> BusError {
    BusError::Unavailable(format!("{what}: {error}"))
}

/// Asks systemd to reboot.
pub async fn reboot(limit: Duration) -> Result<(), String> {
    const LOGIND: Target = Target {
        service: "org.freedesktop.login1",
        path: "/org/freedesktop/login1",
        interface: "org.freedesktop.login1.Manager",
    };
    // Nobody is there who could be asked for a password.
    let interactive = false;
    Bus::default().call(LOGIND, "Reboot", &(interactive,), limit).await.map(drop).map_err(|error| error.to_string())
}
