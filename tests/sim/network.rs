//! What travels between devices and the controller.

use bellwether::domain::ids::DeviceId;
use bellwether::domain::reported::Report;
use bellwether::protocol::v1::messages::EnrollRequest;
use std::sync::Arc;

/// One request of a device and its way back. Answers to a call that has ended are lost, as with any connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Numbers all calls.
    pub id: u64,
    /// Who calls.
    pub device: DeviceId,
    /// Which start of its agent.
    pub life: u64,
    /// What kind of call.
    pub kind: CallKind,
    /// The device's key.
    pub key: String,
}

/// The kinds of calls; an agent has at most one of each under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    Enroll,
    Poll,
    Report,
}

/// What a device asks.
#[derive(Clone, Debug)]
pub enum Ask {
    Enroll(Box<EnrollRequest>),
    Poll { etag: Option<String>, actions: String, wait_secs: u64 },
    Report(Box<Report>),
}

/// What it is told.
#[derive(Clone, Debug)]
pub enum Say {
    Enrolled,
    /// It waits for approval.
    Pending,
    /// An HTTP status of refusal.
    Refused(u16),
    Envelope(Arc<[u8]>),
    /// A signed list of actions.
    /// What the list is called, and its envelope.
    Actions(String, Arc<[u8]>),
    NotModified,
    Nothing,
    Recorded,
    /// The connection broke, or was never made.
    Broken,
}

/// How bad the network is, per thousand messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub lost: u64,
    pub doubled: u64,
    pub slow: u64,
    /// Answers to polls that are replaced by something captured earlier.
    pub replayed: u64,
    /// Answers to polls in which a bit is changed.
    pub forged: u64,
}

impl Weather {
    /// The weather while things go wrong.
    pub const BAD: Self = Self { lost: 60, doubled: 60, slow: 80, replayed: 20, forged: 10 };
    /// Much worse, for a while.
    pub const STORM: Self = Self { lost: 500, doubled: 200, slow: 300, replayed: 50, forged: 30 };
    /// Nothing goes wrong.
    pub const FAIR: Self = Self { lost: 0, doubled: 0, slow: 0, replayed: 0, forged: 0 };
}
