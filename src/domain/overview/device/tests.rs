//! How long a device may be silent.

use super::*;
use crate::domain::assignment::Assignment;
use crate::domain::drift::{Layer, LayerStatus};
use crate::domain::fleet::{DeviceRecord, FleetState, Reported};
use crate::domain::generation::{Attempt, Order};
use crate::domain::plan::pass::PassInput;
use crate::domain::reported::Freshness;
use crate::domain::spec::{DeviceConfig, DeviceSpec, SealedSpec};
use std::sync::Arc;

/// Whether a device that was heard from so many seconds ago is connected: one that polls like this, and that was told this interval.
fn check(poll: &str, poll_interval_secs: Option<u32>, silent_secs: i64) -> &'static str {
    let device = DeviceId::new("kiosk-1").expect("a device name");
    let config = DeviceConfig { poll_interval_secs, ..DeviceConfig::default() };
    let assignment = Assignment {
        device: device.clone(),
        stage: StageName::new("main").expect("a stage name"),
        commit: CommitId::new(&"a".repeat(40)).expect("a commit id"),
        order: Order::FIRST,
        attempt: Attempt::FIRST,
        spec: SealedSpec::seal(DeviceSpec { config, ..DeviceSpec::default() }),
        rollout: None,
        assigned_at: Timestamp::EPOCH,
        soak_secs: 0,
        force: None,
    };
    let start_id = "0".repeat(32);
    let report = serde_json::json!({
        "start": 1, "start_id": start_id, "seq": 1, "phase": "settled", "attributes": { POLL_ATTRIBUTE: poll },
    });
    let report: Report = serde_json::from_value(report).expect("a report");
    let freshness = Freshness { start: 1, start_id, seq: 1, earlier: Vec::new() };
    let reported = Reported { received_at: Timestamp::EPOCH, freshness, report };
    let record = DeviceRecord {
        assignment: Some(Arc::new(assignment)),
        reported: Some(Arc::new(reported)),
        ..DeviceRecord::default()
    };
    let mut state = FleetState::default();
    state.devices.insert(device.clone(), record);
    let now = Timestamp::EPOCH.plus_millis(silent_secs * 1000);
    let (views, last_seen) = Default::default();
    let pass = PassInput {
        now,
        stages: &[],
        state: &state,
        views: &views,
        contacts: &crate::domain::plan::rollouts::NoContacts,
    };
    let input = OverviewInput { pass, last_seen: &last_seen, offline_after_secs: 300 };
    match device_drift(&input, &device).layers.get(&Layer::Connectivity) {
        Some(LayerStatus::Drifted { .. }) => "silent",
        Some(_) | None => "connected",
    }
}

#[test]
fn a_device_that_polls_in_intervals_may_miss_three() {
    assert_eq!(
        [check("plain", Some(3600), 3 * 3600), check("plain", Some(3600), 3 * 3600 + 1)],
        ["connected", "silent"]
    );
    // A short interval makes nobody less patient.
    assert_eq!([check("plain", Some(10), 300), check("plain", Some(10), 301)], ["connected", "silent"]);
    assert_eq!([check("plain", None, 300), check("plain", None, 301)], ["connected", "silent"]);
    // One that holds its polls open is heard from all the time.
    assert_eq!([check("long", Some(3600), 300), check("long", Some(3600), 301)], ["connected", "silent"]);
}
