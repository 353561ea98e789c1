//! The validated meaning of a commit: what each device shall run.

mod device;
mod explain;
mod findings;
mod follows;
mod history;
mod host;
mod layers;
mod maintenance;
mod memo;
mod picking;
mod picture;
mod resolve;
mod scope;
mod secrets;
mod select;
#[cfg(test)]
mod tests;
mod tree;
mod variables;
mod ways;
pub mod workers;
mod world;

pub use explain::{Explained, Explanation, Overridden, REMOVED, UsedVariable, explain};
pub use findings::finding_in;
pub use picking::{MAX_PASSED_OVER, PassedOver, PickedRelease};
pub use resolve::{InventorySource, NoVariant, Resolver};
pub use secrets::{SecretState, SecretTable};
pub use select::Composed;
pub use variables::FreeVariables;
pub use ways::{MAX_WAYPOINTS, Variant, Waypoint, Ways};

use super::filter::views::Saved;
use super::finding::{Affects, Code, Finding, Place, Severity, codes};
use super::ids::{AppName, CommitId, DeviceId, FleetName, SecretName, StageName};
use super::manifest::release::requires::Requirements;
use super::manifest::rollouts::Rollouts;
use super::shared_map::SharedMap;
use super::spec::SealedSpec;
use super::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The validated meaning of a commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// The fleet's name from `fleet.yml`.
    pub fleet: Option<FleetName>,
    /// Devices of the inventory by name; empty and meaningless when a finding concerns the whole commit.
    pub devices: SharedMap<DeviceId, Arc<DesiredDevice>>,
    /// All findings, sorted.
    pub findings: Vec<Finding>,
    /// Limits that the repo tightens.
    pub limits: RepoLimits,
    /// Dynamic groups and views.
    pub saved: Arc<Saved>,
    /// In which steps changes go out.
    pub rollouts: Arc<Rollouts>,
}

impl Desired {
    /// The first finding for which the commit as a whole cannot be accepted.
    pub fn rejection(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.severity == Severity::Error && finding.affects == Affects::Commit)
    }

    /// Every secret that some device's content refers to.
    pub fn secrets(&self) -> BTreeSet<SecretName> {
        self.devices.values().flat_map(|device| device.secrets.iter().cloned()).collect()
    }

    /// The same meaning as a controller of this fleet sees it: a commit of another fleet never counts, because a mistaken
    /// address would otherwise unmanage or retarget everything.
    pub fn for_fleet(self: Arc<Self>, fleet: &FleetName) -> Arc<Self> {
        let Some(other) = self.fleet.as_ref().filter(|named| *named != fleet) else { return self };
        let message = format!("the repo is of the fleet `{other}`, the controller of `{fleet}`");
        let hint = "check the controller's `repo` and `fleet`, and `name` in fleet.yml";
        self.refused(Place::file("fleet.yml"), codes::WRONG_FLEET, message, hint)
    }

    /// The same meaning of a commit that does not carry the signature that its stage asks for: it never counts.
    pub fn unsigned(self: Arc<Self>, commit: &CommitId, why: &str, wanted: &str) -> Arc<Self> {
        let message = format!("{why}; this stage takes commits signed by {wanted}");
        let hint = "sign the branch's newest commit, or correct `signers` in the controller's configuration";
        self.refused(Place::file(&format!("commit {}", commit.short())), codes::UNSIGNED, message, hint)
    }

    /// The same meaning with an error that concerns the whole commit.
    fn refused(self: Arc<Self>, place: Place, code: Code, message: String, hint: &str) -> Arc<Self> {
        let finding = Finding {
            place,
            severity: Severity::Error,
            code: code.name.to_owned(),
            message,
            hint: Some(hint.to_owned()),
            excerpt: None,
            affects: Affects::Commit,
        };
        let mut own = Self::clone(&self);
        let at = own.findings.partition_point(|known| *known < finding);
        own.findings.insert(at, finding);
        Arc::new(own)
    }
}

/// Limits in `fleet.yml`. They can only be tighter than the controller's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepoLimits {
    /// How many devices may get other content at once without a rollout.
    pub max_unstaged: Option<usize>,
}

/// What a commit means for one device.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredDevice {
    /// Which stage the device follows, as this commit sees it.
    pub branch: Branch,
    /// Its content; `None` if a finding concerns this device, so that it keeps what it has.
    pub spec: Option<SealedSpec>,
    /// The message of the first finding that keeps it from having content.
    pub problem: Option<String>,
    /// `hold` in the repo.
    pub hold: Option<RepoHold>,
    /// Groups that contain it, sorted, `all` left out.
    pub groups: BTreeSet<String>,
    /// Free metadata.
    pub tags: BTreeMap<String, String>,
    /// What disruption budgets and site groups go by.
    pub labels: BTreeMap<String, String>,
    /// What its files say under keys without a meaning here: `vars.*` in filters.
    pub vars: Arc<FreeVariables>,
    /// What its releases ask of it, for those that ask for anything that only the device can say.
    pub requires: BTreeMap<AppName, Arc<Requirements>>,
    /// For its apps, the newest irreversible release at or before the one that it shall have.
    pub no_way_back: BTreeMap<AppName, semver::Version>,
    /// For its apps, releases that may lie on the way to the one that it shall have.
    pub ways: Ways,
    /// Secrets that its content refers to.
    pub secrets: BTreeSet<SecretName>,
}

/// Which stage a device follows, as one commit sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Branch {
    /// This one.
    Stage(StageName),
    /// The one that the device reports, if it is among these.
    FromDevice {
        /// Stages that the device may choose.
        allowed: BTreeSet<StageName>,
    },
    /// None is named.
    Unset,
    /// It cannot be evaluated: the device keeps its last claim.
    Unknown,
}

/// `hold` in the repo: assign nothing new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoHold {
    /// Why.
    pub reason: String,
    /// Until when; `None` until the line goes.
    pub until: Option<Timestamp>,
}
