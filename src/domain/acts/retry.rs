//! An operator's "once more": the assignment that a device has, at a higher attempt and perhaps over its update locks.

use super::operator::{ActError, Acting, check_reason};
use crate::domain::assignment::{Assignment, Force};
use crate::domain::fleet::{Change, FleetState};
use crate::domain::ids::DeviceId;
use crate::domain::plan::pass::{is_enrolled, next_order};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whether update locks count for the new attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverLocks {
    /// They count.
    #[default]
    No,
    /// They do not.
    Yes,
}

/// Offers a device what it was assigned once more. Content and owner stay; a digest that failed for good gets another try.
pub fn retry(
    state: &FleetState,
    device: &DeviceId,
    over_locks: OverLocks,
    reason: &str,
    acting: &Acting,
) -> Result<Vec<Change>, ActError> {
    check_reason(reason)?;
    let record = state.devices.get(device).ok_or_else(|| ActError::UnknownDevice(device.clone()))?;
    let current = record.assignment.as_deref().filter(|_| is_enrolled(record) && record.control.conflict.is_none());
    let current = current.ok_or_else(|| ActError::NothingToRetry(device.clone()))?;
    let force = match over_locks {
        OverLocks::No => None,
        OverLocks::Yes => Some(Force { actor: acting.actor.clone(), reason: reason.to_owned() }),
    };
    let order = next_order(state, record, &record.control);
    let attempt = current.attempt.next();
    let over = if force.is_some() { ", over its update locks" } else { "" };
    let message = format!("offered {} once more, as attempt {attempt}{over}: {reason}", current.spec.digest.short());
    // What a rollout offered that nobody knows any more would be kept back for ever.
    let rollout = current.rollout.clone().filter(|name| state.rollouts.contains_key(name.as_str()));
    let assignment = Assignment { order, attempt, force, rollout, assigned_at: acting.now, ..current.clone() };
    Ok(vec![Change::Assignment(Arc::new(assignment)), acting.event("Retried", device, message)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::assignment::Mark;
    use crate::domain::digest::Digest;
    use crate::domain::fleet::{DeviceRecord, Identity, IdentityStatus};
    use crate::domain::generation::Attempt;
    use crate::domain::generation::{Epoch, Generation, Order};
    use crate::domain::spec::{DeviceSpec, SealedSpec};
    use crate::domain::time::Timestamp;

    fn state() -> FleetState {
        let device: DeviceId = "kiosk-1".parse().expect("a device");
        let assignment = Assignment {
            device: device.clone(),
            stage: "main".parse().expect("a stage"),
            commit: "a".repeat(40).parse().expect("a commit"),
            order: Order { epoch: Epoch::FIRST, generation: Generation::FIRST },
            attempt: Attempt::FIRST,
            spec: SealedSpec::seal(DeviceSpec::default()),
            rollout: None,
            assigned_at: Timestamp::EPOCH,
            soak_secs: 300,
            force: None,
        };
        let identity = Identity {
            key_hash: Digest::of(b"key"),
            status: IdentityStatus::Enrolled,
            since: Timestamp::EPOCH,
            actor: None,
            attributes: Default::default(),
            contender: None,
        };
        let record = DeviceRecord {
            identity: Some(Arc::new(identity)),
            assignment: Some(Arc::new(assignment)),
            ..DeviceRecord::default()
        };
        FleetState { devices: [(device, record)].into(), ..FleetState::default() }
    }

    #[test]
    fn the_same_content_is_offered_at_a_new_place_and_a_higher_attempt() {
        let (state, device) = (state(), "kiosk-1".parse().expect("a device"));
        let acting = Acting { actor: "ada".parse().expect("an actor"), now: Timestamp::from_millis(5) };
        let changes = retry(&state, &device, OverLocks::Yes, "the road is closed", &acting).expect("it is assigned");
        let [Change::Assignment(assignment), Change::Event(event)] = changes.as_slice() else { panic!("{changes:?}") };
        let before = state.devices[&device].assignment.as_ref().expect("it is assigned");
        let Mark { order, digest } = assignment.mark();
        assert!(order > before.order && digest == before.spec.digest && assignment.soak_secs == 300);
        assert_eq!(assignment.attempt, Attempt::FIRST.next());
        assert_eq!(assignment.force.as_ref().map(|force| force.actor.as_str()), Some("ada"));
        let message = "offered sha256:6ae3 once more, as attempt 2, over its update locks: the road is closed";
        assert_eq!(
            event.message.split(' ').skip(2).collect::<Vec<_>>(),
            message.split(' ').skip(2).collect::<Vec<_>>()
        );
    }

    #[test]
    fn nothing_is_offered_to_whom_nothing_was_assigned() {
        let (mut state, device) = (state(), "kiosk-1".parse().expect("a device"));
        let acting = Acting { actor: "ada".parse().expect("an actor"), now: Timestamp::EPOCH };
        state.devices.get_mut(&device).expect("it is there").assignment = None;
        let refused = retry(&state, &device, OverLocks::No, "again", &acting);
        assert_eq!(refused, Err(ActError::NothingToRetry(device.clone())));
        let unknown: DeviceId = "kiosk-2".parse().expect("a device");
        assert_eq!(retry(&state, &unknown, OverLocks::No, "again", &acting), Err(ActError::UnknownDevice(unknown)));
    }
}
