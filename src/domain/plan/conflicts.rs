//! Devices that more than one stage would claim, once a commit counts.

use crate::domain::ids::{DeviceId, StageName};
use crate::domain::plan::gate::PlanInput;
use crate::domain::plan::ownership::{claims, claims_listed, owner};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Devices that the same stages would claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimConflict {
    /// The stages that claim them.
    pub stages: BTreeSet<StageName>,
    /// The most gated one of them: it owns the devices.
    pub owner: StageName,
    /// The devices.
    pub devices: BTreeSet<DeviceId>,
}

/// The devices that the candidate's stage and another one would claim, those with the same claims together.
pub fn claim_conflicts(input: &PlanInput<'_>) -> Vec<ClaimConflict> {
    let PlanInput { policy, stages, state, accepted, candidate } = *input;
    let mut all: Vec<ClaimConflict> = Vec::new();
    for (device, listed) in &candidate.desired.devices {
        let record = state.devices.get(device);
        if !claims_listed(&policy.name, &listed.branch, record) {
            continue;
        }
        let others = stages
            .iter()
            .map(|one| &one.name)
            .filter(|name| **name != policy.name && claims(name, accepted.get(*name).map(Arc::as_ref), device, record));
        let mut claiming: BTreeSet<StageName> = others.cloned().collect();
        if claiming.is_empty() {
            continue;
        }
        claiming.insert(policy.name.clone());
        if let Some(same) = all.iter_mut().find(|one| one.stages == claiming) {
            same.devices.insert(device.clone());
        } else if let Some(owner) = owner(stages, &claiming).cloned() {
            all.push(ClaimConflict { stages: claiming, owner, devices: [device.clone()].into() });
        }
    }
    all.sort_by(|a, b| a.stages.cmp(&b.stages));
    all
}
