//! Who takes no part in a rollout, and why.

use crate::domain::fleet::RolloutRecord;
use crate::domain::ids::DeviceId;
use crate::domain::rollout::machine::Phase;
use serde::{Deserialize, Serialize};

/// A device that takes no part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutRow {
    /// The device.
    pub device: DeviceId,
    /// The step that it would be in, from 1; `None` if no step has taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Why.
    pub reason: String,
}

/// The devices that take no part, by name.
pub(super) fn rows(record: &RolloutRecord, most: usize) -> Vec<LeftOutRow> {
    let out = record.members.iter().filter_map(|(device, member)| {
        let Phase::Excluded { reason } = &member.phase else { return None };
        Some(LeftOutRow {
            device: device.clone(),
            step: member.step.map(|step| step.saturating_add(1)),
            reason: reason.to_string(),
        })
    });
    out.take(most).collect()
}
