//! Who owns a device: the most gated stage whose accepted commit claims it.

use crate::domain::desired::{Branch, Desired, DesiredDevice};
use crate::domain::fleet::DeviceRecord;
use crate::domain::ids::{DeviceId, StageName};
use crate::domain::plan::policy::StagePolicy;
use crate::domain::planted::{Bug, planted};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whether a stage claims a device, as one commit sees it.
///
/// `desired` is `None` while the stage's commit has not been read; then, and for a device whose branch cannot be evaluated,
/// the last claim stands.
pub fn claims(stage: &StageName, desired: Option<&Desired>, device: &DeviceId, record: Option<&DeviceRecord>) -> bool {
    let listed = desired.map(|desired| desired.devices.get(device).map(Arc::as_ref));
    claims_looked_up(stage, listed, record)
}

/// The same, for a device that was looked up already: `listed` is `None` while the stage's commit has not been read, and
/// `Some(None)` if it does not list the device.
pub fn claims_looked_up(
    stage: &StageName,
    listed: Option<Option<&DesiredDevice>>,
    record: Option<&DeviceRecord>,
) -> bool {
    match listed {
        None => last_claim(stage, record) && !planted(Bug::UnreadMeansEmpty),
        Some(listed) => listed.is_some_and(|listed| claims_listed(stage, &listed.branch, record)),
    }
}

fn last_claim(stage: &StageName, record: Option<&DeviceRecord>) -> bool {
    record.is_some_and(|record| record.control.claims.contains(stage))
}

/// Whether a stage claims a device that its commit lists with this branch.
pub fn claims_listed(stage: &StageName, branch: &Branch, record: Option<&DeviceRecord>) -> bool {
    match branch {
        Branch::Stage(branch) => branch == stage,
        Branch::FromDevice { allowed } => {
            allowed.contains(stage)
                && record
                    .and_then(|record| record.reported.as_ref())
                    .is_some_and(|reported| reported.report.branch.as_ref() == Some(stage))
        }
        Branch::Unset => false,
        Branch::Unknown => last_claim(stage, record) && !planted(Bug::UnknownMeansReleased),
    }
}

/// The owner among the stages that claim a device: the most gated one.
///
/// `stages` are in order from least to most gated. Claims of stages that are no longer configured do not count.
pub fn owner<'a>(stages: &'a [StagePolicy], claims: &BTreeSet<StageName>) -> Option<&'a StageName> {
    if planted(Bug::OwnerLeastGated) {
        return stages.iter().map(|stage| &stage.name).find(|stage| claims.contains(*stage));
    }
    stages.iter().rev().map(|stage| &stage.name).find(|stage| claims.contains(*stage))
}

/// How a device stands between the stages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "stage", rename_all = "kebab-case")]
pub enum Standing {
    /// This stage owns it.
    Owned(StageName),
    /// A stage lists it, but none claims it: it keeps what it has.
    InTransit,
    /// No stage lists it any more: it keeps what it has.
    Unmanaged,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Owned(stage) => f.pad(stage.as_str()),
            Self::InTransit => f.pad("in transit"),
            Self::Unmanaged => f.pad("unmanaged"),
        }
    }
}
