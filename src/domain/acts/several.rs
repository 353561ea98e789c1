//! The same acts on several devices: all of them, or none.

use super::operator::{ActError, Acting, hold, resume};
use crate::domain::fleet::{Change, FleetState, HoldScope};
use crate::domain::ids::{DeviceId, StageName};
use crate::domain::time::Timestamp;
use std::collections::BTreeSet;

/// How many devices one act may name: what people can look through before they say yes. A stage or the fleet has a hold of its own.
pub const MAX_DEVICES_OF_AN_ACT: usize = 5000;

/// Pauses each of these devices, as [`hold`] does it for one.
pub fn hold_devices(
    state: &FleetState,
    stages: &[StageName],
    devices: &BTreeSet<DeviceId>,
    reason: &str,
    until: Option<Timestamp>,
    acting: &Acting,
) -> Result<Vec<Change>, ActError> {
    bounded(devices)?;
    let mut changes = Vec::new();
    for device in devices {
        changes.extend(hold(state, stages, &HoldScope::Device(device.clone()), reason, until, acting)?);
    }
    Ok(changes)
}

/// Ends the holds and conflicts of these devices, as [`resume`] does it for one. Those that have none stay as they are.
pub fn resume_devices(
    state: &FleetState,
    devices: &BTreeSet<DeviceId>,
    acting: &Acting,
) -> Result<Vec<Change>, ActError> {
    bounded(devices)?;
    let mut changes = Vec::new();
    for device in devices {
        match resume(state, &HoldScope::Device(device.clone()), acting) {
            Ok(more) => changes.extend(more),
            Err(ActError::NotHeld(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(changes)
}

fn bounded(devices: &BTreeSet<DeviceId>) -> Result<(), ActError> {
    if (1..=MAX_DEVICES_OF_AN_ACT).contains(&devices.len()) {
        return Ok(());
    }
    Err(ActError::OutOfRange { what: "the number of devices", range: "1 to 5000; hold a stage or the fleet for more" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fleet::DeviceRecord;
    use crate::domain::ids::Actor;

    fn devices(names: &[&str]) -> BTreeSet<DeviceId> {
        names.iter().map(|name| DeviceId::new(name).unwrap()).collect()
    }

    fn state() -> FleetState {
        let records = devices(&["a", "b", "c"]).into_iter().map(|device| (device, DeviceRecord::default()));
        FleetState { devices: records.collect(), ..FleetState::default() }
    }

    fn acting() -> Acting {
        Acting { actor: Actor::new("ada").unwrap(), now: Timestamp::from_millis(1000) }
    }

    #[test]
    fn several_devices_are_held_and_resumed_exactly_as_each_alone() {
        let mut state = state();
        let held = hold_devices(&state, &[], &devices(&["a", "c"]), "fans fail", None, &acting()).unwrap();
        let alone = devices(&["a", "c"])
            .into_iter()
            .flat_map(|device| hold(&state, &[], &HoldScope::Device(device), "fans fail", None, &acting()).unwrap());
        assert_eq!(held, alone.collect::<Vec<_>>());
        state.apply(&held);
        assert_eq!(state.holds.len(), 2);
        // `b` is not held: it stays as it is.
        let resumed = resume_devices(&state, &devices(&["a", "b", "c"]), &acting()).unwrap();
        state.apply(&resumed);
        assert!(state.holds.is_empty());
        assert_eq!(resume_devices(&state, &devices(&["a", "b"]), &acting()), Ok(Vec::new()));
    }

    #[test]
    fn all_of_several_devices_are_held_or_none() {
        let state = state();
        let held = |devices: &BTreeSet<DeviceId>, reason: &str| {
            hold_devices(&state, &[], devices, reason, None, &acting()).map_err(|error| error.to_string())
        };
        assert_eq!(held(&devices(&["a", "nobody"]), "storm"), Err("device nobody is not known".to_owned()));
        assert!(held(&devices(&["a"]), "").is_err(), "a hold needs its reason, however many devices it is about");
        assert!(held(&BTreeSet::new(), "storm").is_err());
        let too_many = (0..=MAX_DEVICES_OF_AN_ACT).map(|number| DeviceId::new(&format!("d{number}")).unwrap());
        let error = held(&too_many.collect(), "storm").unwrap_err();
        assert_eq!(error, "the number of devices must be 1 to 5000; hold a stage or the fleet for more");
    }
}
