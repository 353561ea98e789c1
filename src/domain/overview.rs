//! What people read: status, devices, drift, and the reasons behind them, as data. Server and command line show the same.

pub mod actions;
pub mod baseline;
pub mod changes;
pub mod device;
pub mod drift;
pub mod export;
pub mod query;
pub mod rollouts;
pub mod secrets;
pub mod status;

use crate::domain::ids::DeviceId;
use crate::domain::plan::pass::PassInput;
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;

/// What overviews are made from.
#[derive(Clone, Copy, Debug)]
pub struct OverviewInput<'a> {
    /// What a pass reads.
    pub pass: PassInput<'a>,
    /// When each device was last heard from.
    pub last_seen: &'a BTreeMap<DeviceId, Timestamp>,
    /// Seconds of silence after which a device counts as offline.
    pub offline_after_secs: i64,
}

impl OverviewInput<'_> {
    /// When a device was last heard from: by a poll since the controller started, or by a recorded report.
    pub fn last_seen(&self, device: &DeviceId) -> Option<Timestamp> {
        let reported = self.pass.state.devices.get(device).and_then(|record| record.reported.as_ref());
        self.last_seen.get(device).copied().max(reported.map(|reported| reported.received_at))
    }
}
