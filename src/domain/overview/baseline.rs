//! What a plan is made against: claims and assignments as a controller holds them, or as a base commit would make them.

use crate::domain::assignment::Assignment;
use crate::domain::desired::{Branch, Desired};
use crate::domain::digest::Digest;
use crate::domain::fleet::{Change, Control, FleetState, StageRecord};
use crate::domain::generation::{Attempt, Order};
use crate::domain::ids::{CommitId, DeviceId, FleetName, StageName};
use crate::domain::plan::policy::StagePolicy;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Claims and assignments at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The fleet.
    pub fleet: FleetName,
    /// All stages, least gated first.
    pub stages: Vec<StagePolicy>,
    /// What is remembered of them.
    pub records: BTreeMap<StageName, StageRecord>,
    /// Stages that claim a device.
    pub claims: BTreeMap<DeviceId, BTreeSet<StageName>>,
    /// What devices were told to reach.
    pub assignments: Vec<Arc<Assignment>>,
}

impl Baseline {
    /// The baseline of a controller's state.
    pub fn of_state(fleet: &FleetName, stages: &[StagePolicy], state: &FleetState) -> Self {
        Self {
            fleet: fleet.clone(),
            stages: stages.to_vec(),
            records: state.stages.clone(),
            claims: state
                .devices
                .iter()
                .filter(|(_, record)| !record.control.claims.is_empty())
                .map(|(device, record)| (device.clone(), record.control.claims.clone()))
                .collect(),
            assignments: state.devices.values().filter_map(|record| record.assignment.clone()).collect(),
        }
    }

    /// The baseline that a base commit of one stage would make by itself: every device that it claims has what it wants.
    ///
    /// For planning on a bare clone, where no controller can be asked.
    pub fn of_commit(
        fleet: FleetName,
        policy: StagePolicy,
        commit: &CommitId,
        inventory: Option<Digest>,
        desired: &Desired,
    ) -> Self {
        let stage = policy.name.clone();
        let mut claims = BTreeMap::new();
        let mut assignments = Vec::new();
        for (device, listed) in &desired.devices {
            let claimed = match &listed.branch {
                Branch::Stage(branch) => *branch == stage,
                // A bare clone cannot know what a device chose.
                Branch::FromDevice { .. } | Branch::Unset | Branch::Unknown => false,
            };
            if !claimed {
                continue;
            }
            claims.insert(device.clone(), BTreeSet::from([stage.clone()]));
            if let Some(spec) = &listed.spec {
                assignments.push(Arc::new(Assignment {
                    device: device.clone(),
                    stage: stage.clone(),
                    commit: commit.clone(),
                    order: Order::FIRST,
                    attempt: Attempt::FIRST,
                    spec: spec.clone(),
                    rollout: None,
                    assigned_at: Timestamp::EPOCH,
                    soak_secs: 0,
                    force: None,
                }));
            }
        }
        let record = StageRecord {
            accepted: Some(commit.clone()),
            inventory,
            waiting: None,
            unmanaged: BTreeSet::new(),
            baseline: claims.len(),
            staged: None,
            trees: Vec::new(),
        };
        Self { fleet, stages: vec![policy], records: BTreeMap::from([(stage, record)]), claims, assignments }
    }

    /// What a commit means where nobody knows what devices choose: those that may choose this stage keep their last claim.
    ///
    /// Answers with the devices for which that was needed.
    pub fn keep_choices(stage: &StageName, desired: &Desired) -> (Desired, BTreeSet<DeviceId>) {
        let mut kept = desired.clone();
        let mut devices = BTreeSet::new();
        for (device, listed) in &desired.devices {
            if matches!(&listed.branch, Branch::FromDevice { allowed } if allowed.contains(stage)) {
                let unknown = super::super::desired::DesiredDevice { branch: Branch::Unknown, ..(**listed).clone() };
                kept.devices.insert(device.clone(), Arc::new(unknown));
                devices.insert(device.clone());
            }
        }
        (kept, devices)
    }

    /// The state that plans are made against.
    pub fn into_state(self) -> FleetState {
        let mut changes: Vec<Change> =
            self.records.into_iter().map(|(stage, record)| Change::Stage(stage, record)).collect();
        for (device, claims) in self.claims {
            changes.push(Change::Control(device, Arc::new(Control { claims, ..Control::default() })));
        }
        changes.extend(self.assignments.into_iter().map(Change::Assignment));
        let mut state = FleetState::default();
        state.apply(&changes);
        state
    }
}
