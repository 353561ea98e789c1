//! What a device says of itself, and which of its reports count.

use super::actions::ActionsReport;
use super::assignment::Mark;
use super::condition::Condition;
use super::device::canonical::{CanonicalService, ImageDefaults};
use super::device::locks::Lock;
use super::device::terminal::TerminalFailure;
use super::digest::Digest;
use super::ids::{AppName, NetworkName, ServiceName, StageName, VolumeName};
use super::planted::{Bug, planted};
use super::spec::NetworkSpec;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod host;
mod os;

pub use host::{ObservedFile, ObservedHost, ObservedValue, is_as_wanted, wanted_text};
pub use os::{BootState, MAX_SLOTS, ObservedOs, ObservedSlot, OsCause, OsStage, OsUpdate};

/// The attribute with which an agent says that it does not hold polls open, and how.
pub const POLL_ATTRIBUTE: &str = "poll";
/// Its value then.
pub const PLAIN_POLL: &str = "plain";
/// The longest report that the controller reads, in bytes.
pub const MAX_REPORT_BYTES: usize = 512 << 10;
/// How many differences one report carries at most; the newest are kept.
pub const MAX_FOUND: usize = 64;
/// How many earlier starts of an agent the controller remembers to tell a clone from a restart.
pub const MAX_EARLIER_STARTS: usize = 8;

/// A report: everything that the device says, always whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How often the agent has started, from its ledger.
    pub start: u64,
    /// A random name of this start, 32 hexadecimal digits.
    pub start_id: String,
    /// Counts the reports of this start, from 1.
    pub seq: u64,
    /// The newest assignment in the ledger: the observed epoch, generation and its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Mark>,
    /// The digest whose content was last reached completely, as found by looking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Digest>,
    /// What the agent is doing.
    pub phase: Phase,
    /// Conditions of the device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What the container engine has; `None` when it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apps: Option<BTreeMap<AppName, ObservedApp>>,
    /// What the OS updater has; `None` when it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<ObservedOs>,
    /// How far an update of the OS is; `None` if none is assigned or under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_update: Option<OsUpdate>,
    /// Settings of the host; `None` if none is assigned, or from an agent that is older than they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<ObservedHost>,
    /// Differences that were found before they were mended, newest last, at most [`MAX_FOUND`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Found>,
    /// The last assignment that was refused, if the newest offer was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// How the newest assignment failed for good, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TerminalFailure>,
    /// The update locks that are held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
    /// What became of actions; `None` from an agent that is older than actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<ActionsReport>,
    /// The stage that the device chooses, for `branch: {from: device}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<StageName>,
    /// Facts that the device states of itself, such as `arch`, `agent_version` or `engine`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// What the agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing has been assigned yet.
    Waiting,
    /// Bringing the device to what was assigned.
    Applying,
    /// Everything that was assigned is there.
    Settled,
    /// Something failed; it is tried again with back-off.
    Failing,
}

/// What the engine has of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedApp {
    /// Containers by service.
    pub services: BTreeMap<ServiceName, ObservedService>,
    /// Containers that services are being handed over to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub successors: BTreeMap<ServiceName, ObservedService>,
    /// Volumes that exist.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<VolumeName>,
    /// Whether the app's own network exists.
    #[serde(default)]
    pub network: Presence,
    /// Its other networks as they are, and its default one if that is not plain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
}

impl ObservedApp {
    /// How one of its networks is; `None` if it is not there.
    pub fn network_as_found(&self, name: &NetworkName) -> Option<NetworkSpec> {
        let plain = || {
            let is_there = *name == NetworkName::default_of_app() && self.network == Presence::Present;
            is_there.then(NetworkSpec::default)
        };
        self.networks.get(name).cloned().or_else(plain)
    }

    /// The names of all its networks.
    pub fn network_names(&self) -> BTreeSet<NetworkName> {
        let default = (self.network == Presence::Present).then(NetworkName::default_of_app);
        self.networks.keys().cloned().chain(default).collect()
    }

    /// Notes that a network is there.
    pub fn add_network(&mut self, name: NetworkName, spec: NetworkSpec) {
        let is_default = name == NetworkName::default_of_app();
        if is_default {
            self.network = Presence::Present;
        }
        if !is_default || spec != NetworkSpec::default() {
            self.networks.insert(name, spec);
        }
    }

    /// Notes that a network is gone.
    pub fn drop_network(&mut self, name: &NetworkName) {
        if *name == NetworkName::default_of_app() {
            self.network = Presence::Absent;
        }
        self.networks.remove(name);
    }
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It is there.
    Present,
    /// It is not there.
    #[default]
    Absent,
}

/// One container, as the engine describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedService {
    /// The container's whole content in the form in which it is compared.
    pub content: CanonicalService,
    /// What the image supplies by itself, needed to compare with a spec that leaves things to the image.
    pub image_defaults: ImageDefaults,
    /// Whether it runs.
    pub state: ServiceState,
    /// How often the engine restarted it.
    #[serde(default)]
    pub restarts: u64,
    /// What its health check says.
    #[serde(default, skip_serializing_if = "Health::is_unchecked")]
    pub health: Health,
    /// How the engine changes a restart policy or a limit.
    #[serde(default, skip_serializing_if = "Changes::is_in_place")]
    pub changes: Changes,
}

/// How an engine changes what it could change while a container runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changes {
    /// In the container that is there.
    #[default]
    InPlace,
    /// Not at all: the container has to be made anew.
    Anew,
}

impl Changes {
    fn is_in_place(&self) -> bool {
        *self == Self::InPlace
    }
}

/// What the health check of a container says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There is none.
    #[default]
    Unchecked,
    /// Nothing yet.
    Starting,
    /// It is well.
    Healthy,
    /// It is not.
    Unhealthy,
}

impl Health {
    fn is_unchecked(&self) -> bool {
        *self == Self::Unchecked
    }
}

/// Whether a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// Made, not yet started.
    Created,
    /// Running.
    Running,
    /// Between two restarts by the engine.
    Restarting,
    /// Paused by hand.
    Paused,
    /// Ended with this status.
    Exited(i64),
    /// The engine could not remove it.
    Dead,
}

/// A difference that the agent found between its assignment and the device, before it mended it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// When it was found, by the device's clock.
    pub at: Timestamp,
    /// The generation that was applied when it was found.
    pub observed: Mark,
    /// The difference.
    #[serde(flatten)]
    pub difference: super::drift::Difference,
}

/// An assignment that the device refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What was offered, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Mark>,
    /// One word for programs: `Outdated`, `ContentChanged`, `BadSignature`, `WrongDevice`, `Expired`, `NewerSchema`, `Malformed`.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

/// What the controller keeps to tell new reports from old ones, and clones from restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// The newest start.
    pub start: u64,
    /// Its random name.
    pub start_id: String,
    /// The newest report of that start.
    pub seq: u64,
    /// Names of earlier starts, newest last, at most [`MAX_EARLIER_STARTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<String>,
}

/// Names a report of a device: the agent's start and the report's number in it. `0.0` is none. Written `start.seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportId {
    /// The agent's start.
    pub start: u64,
    /// The report of that start.
    pub seq: u64,
}

/// The text is not a [`ReportId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a report is named by two numbers with a dot between them")]
pub struct ReportIdError;

impl Freshness {
    /// The newest report.
    pub fn newest(&self) -> ReportId {
        ReportId { start: self.start, seq: self.seq }
    }
}

impl std::fmt::Display for ReportId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.start, self.seq)
    }
}

impl std::str::FromStr for ReportId {
    type Err = ReportIdError;
    fn from_str(text: &str) -> Result<Self, ReportIdError> {
        let (start, seq) = text.split_once('.').ok_or(ReportIdError)?;
        let number = |text: &str| text.parse().map_err(|_| ReportIdError);
        Ok(Self { start: number(start)?, seq: number(seq)? })
    }
}

/// Whether a report counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is newer than everything before.
    Newer(Freshness),
    /// It was seen before, or it is older: ignored.
    Stale,
    /// Two agents use one identity: this start was followed by another, or a start has two names.
    Clone,
}

/// Decides whether a report counts, given what is known of the device's earlier ones.
///
/// Pairs `(start, seq)` only grow. A start that was followed by another and comes back with a higher number, or two names
/// under one start number, can only be two agents with one identity.
pub fn admit(known: Option<&Freshness>, start: u64, start_id: &str, seq: u64) -> Admission {
    let fresh = |earlier| Admission::Newer(Freshness { start, start_id: start_id.to_owned(), seq, earlier });
    let Some(known) = known else { return fresh(Vec::new()) };
    if planted(Bug::TrustStaleReports) {
        return fresh(known.earlier.clone());
    }
    if known.start_id == start_id {
        return match (start, seq).cmp(&(known.start, known.seq)) {
            std::cmp::Ordering::Greater => fresh(known.earlier.clone()),
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => Admission::Stale,
        };
    }
    if known.earlier.iter().any(|earlier| earlier == start_id) {
        // A late packet of an earlier start is stale; a counter that has grown past the newest start is a clone.
        return if start > known.start { Admission::Clone } else { Admission::Stale };
    }
    match start.cmp(&known.start) {
        std::cmp::Ordering::Less => Admission::Stale,
        std::cmp::Ordering::Equal => Admission::Clone,
        std::cmp::Ordering::Greater => {
            let mut earlier = known.earlier.clone();
            earlier.push(known.start_id.clone());
            let surplus = earlier.len().saturating_sub(MAX_EARLIER_STARTS);
            earlier.drain(..surplus);
            fresh(earlier)
        }
    }
}
