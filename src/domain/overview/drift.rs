//! The drift report: every device, layer by layer, and the sums.

use super::OverviewInput;
use super::device::{device_drift, devices};
use crate::domain::drift::{Drift, Layer, Verdict};
use crate::domain::ids::DeviceId;
use crate::domain::plan::ownership::Standing;
use crate::domain::plan::waits::standing;
use crate::domain::reported::Found;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The drift report of a fleet. It only describes; reading it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftReport {
    /// When it was made.
    pub at: Timestamp,
    /// Sums.
    pub totals: DriftTotals,
    /// Devices by name.
    pub devices: BTreeMap<DeviceId, DeviceDrift>,
}

/// How many devices stand how. They add up to all devices of the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftTotals {
    /// Compared, and equal in every layer.
    pub in_sync: usize,
    /// Different in some layer.
    pub drifted: usize,
    /// Not known to differ, but not all is known.
    pub unknown: usize,
}

/// One device of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDrift {
    /// Who owns it.
    pub standing: Standing,
    /// All layers together.
    pub verdict: Verdict,
    /// Layer by layer.
    #[serde(flatten)]
    pub drift: Drift,
    /// What its agent found and mended since it reached what is assigned: of each subject the newest, unless it differs now. It is no
    /// drift any more; people may want to accept it instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mended: Vec<Found>,
}

/// Makes the drift report of all devices, or of those that `wanted` names.
pub fn drift_report(input: &OverviewInput<'_>, wanted: impl Fn(&DeviceId) -> bool) -> DriftReport {
    let mut totals = DriftTotals::default();
    let mut rows = BTreeMap::new();
    for device in devices(input).into_iter().filter(|device| wanted(device)) {
        let drift = device_drift(input, device);
        let verdict = drift.verdict();
        match verdict {
            Verdict::InSync => totals.in_sync += 1,
            Verdict::Drifted => totals.drifted += 1,
            Verdict::Unknown => totals.unknown += 1,
        }
        let (standing, _) = standing(&input.pass, device);
        rows.insert(device.clone(), DeviceDrift { standing, verdict, mended: mended(input, device, &drift), drift });
    }
    DriftReport { at: input.pass.now, totals, devices: rows }
}

fn mended(input: &OverviewInput<'_>, device: &DeviceId, drift: &Drift) -> Vec<Found> {
    let Some(record) = input.pass.state.devices.get(device) else { return Vec::new() };
    let (Some(assignment), Some(reported)) = (&record.assignment, &record.reported) else { return Vec::new() };
    let differs: BTreeSet<(Layer, &str)> = drift.differences().map(|one| (one.layer, one.subject.as_str())).collect();
    let mut newest: BTreeMap<(Layer, &str), &Found> = BTreeMap::new();
    for found in reported.report.found.iter().filter(|found| found.observed.digest == assignment.spec.digest) {
        newest.insert((found.difference.layer, found.difference.subject.as_str()), found);
    }
    newest.retain(|what, _| !differs.contains(what));
    newest.into_values().cloned().collect()
}
