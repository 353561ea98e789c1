//! What can come between the command line and the controller.

use crate::protocol::v1::messages::ErrorBody;
use crate::trust::TrustError;
use std::error::Error;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Why the controller gave no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no controller answers at {address}")]
    NotRunning {
        /// Where.
        address: String,
    },
    /// The socket is not for this user.
    #[error("this user may not use {address}")]
    NotAllowed {
        /// Which.
        address: String,
    },
    /// The connection failed in another way.
    #[error("the controller at {address} could not be reached")]
    Unreachable {
        /// Where.
        address: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// The controller took too long.
    #[error("the controller at {address} did not answer in time")]
    TimedOut {
        /// Where.
        address: String,
    },
    /// The controller said no, in its own words.
    #[error("{}", body.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: ErrorBody,
    },
    /// The answer is not one of a controller, or not of this version.
    #[error("the answer with status {status} was not understood")]
    Misunderstood {
        /// The HTTP status.
        status: u16,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is longer than anybody means.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The bound.
        limit: usize,
    },
    /// The address is none.
    #[error("{url:?} is not an address such as https://fleet.example:8443")]
    BadUrl {
        /// What was given.
        url: String,
    },
    /// A file could not be read.
    #[error("{path} could not be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error("{path} does not hold a key: one line of letters and digits")]
    BadKey {
        /// Which.
        path: PathBuf,
    },
    /// The authority cannot be used.
    #[error("the controller's authority cannot be used")]
    Trust(#[source] TrustError),
    /// The HTTP library could not be set up.
    #[error("the HTTP client could not be made")]
    Library(#[source] reqwest::Error),
}

impl ClientError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotRunning { .. } => "is `bellwether serve` running? name another controller with `--server`",
            Self::NotAllowed { .. } => "join the group that owns the socket, or use an operator's key over https",
            Self::TimedOut { .. } | Self::Unreachable { .. } => "is the address right, and the way to it open?",
            Self::Refused { body, .. } => return body.hint.clone(),
            Self::Misunderstood { .. } => "is this a Bellwether controller, and of the same version?",
            Self::BadKey { .. } => "give the file with the key that an owner made for you",
            Self::Trust(_) => "give the controller's own `ca.crt`, or its fingerprint",
            Self::TooLong { .. } | Self::BadUrl { .. } | Self::Unreadable { .. } | Self::Library(_) => return None,
        };
        Some(hint.to_owned())
    }
}

/// Turns the library's error into what it means for a person.
pub(super) fn reached(address: &str, error: reqwest::Error) -> ClientError {
    let address = address.to_owned();
    if error.is_timeout() {
        return ClientError::TimedOut { address };
    }
    match system_error(&error) {
        Some(ErrorKind::ConnectionRefused | ErrorKind::NotFound) => ClientError::NotRunning { address },
        Some(ErrorKind::PermissionDenied) => ClientError::NotAllowed { address },
        // The address is in our own message already.
        _ => ClientError::Unreachable { address, source: error.without_url() },
    }
}

/// The system's own error at the end of the chain.
fn system_error(error: &reqwest::Error) -> Option<ErrorKind> {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    let mut found = None;
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            found = Some(error.kind());
        }
        cause = error.source();
    }
    found
}
