//! Requests and answers of the device plane.
//!
//! | call | answer |
//! |---|---|
//! | `POST /v1/enroll` with [`EnrollRequest`] | 200 [`EnrollAnswer`]; 401 unknown or used-up token; 403 rejected; 429 too many pending |
//! | `GET /v1/assignment?wait=SECS`, `If-None-Match: "epoch.generation.digest"` | 200 [`super::envelope::Envelope`] and `ETag`; 304 unchanged; 204 nothing assigned yet |
//! | `POST /v1/report` with [`crate::domain::reported::Report`] | 200 [`ReportAnswer`] |
//! | `PUT /v1/core-dump?name=NAME&from=BYTES` with the bytes from there on | 200 [`DumpAnswer`]; 404 no failure names it; 413 too large |
//!
//! All but the first carry `Authorization: Bearer <device key>`. 401 means that the key is not known, 403 that the device still
//! waits for approval; an agent keeps running what it has in both cases. Errors have a body of [`ErrorBody`].

pub use crate::domain::acts::enroll::{EnrollRequest, EnrollStatus};
use crate::domain::ids::FleetName;
use serde::{Deserialize, Serialize};

/// A header of every answer to a poll: the newest report that the controller has of the device, as
/// [`ReportId`](crate::domain::reported::ReportId). A device whose newest report was taken and is not known any more tells
/// again: the controller was restored from a backup.
pub const RECORDED_HEADER: &str = "bellwether-recorded";

/// The longest a poll is held open, in seconds.
pub const MAX_WAIT_SECS: u64 = 60;

/// The answer to an enrollment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollAnswer {
    /// How it stands.
    pub status: EnrollStatus,
    /// The fleet.
    pub fleet: FleetName,
    /// The fleet's public key, 64 hexadecimal digits, to be pinned.
    pub public_key: String,
}

/// The answer to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportAnswer {
    /// Recorded, durably.
    Recorded,
    /// Older than what is known, or the same: ignored.
    Stale,
}

/// The answer to a part of a core dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpAnswer {
    /// How much of it the controller has, in bytes: what comes next begins there.
    pub have: u64,
}

/// The body of every error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One word for programs, in kebab case.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
