//! What devices came to before: outcomes, what each came from, and which of them are kept.

use crate::domain::desired::device::{Inputs, Merged, Outcome, Picked, merge, outcome};
use crate::domain::desired::secrets::SecretTable;
use crate::domain::desired::world::World;
use crate::domain::ids::DeviceId;
use std::sync::Arc;

/// Whose outcome it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// One device's, which says something of its own.
    Device(DeviceId),
    /// That of all devices with these groups and these inline variables, which say the same to every device: the addresses of the
    /// stack and of the variables, which the slot keeps.
    Alike(usize, Vec<usize>),
}

/// One outcome, and what it came from.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) inputs: Inputs,
    pub(super) merged: Arc<Merged>,
    pub(super) picked: Picked,
    pub(super) outcome: Arc<Outcome>,
    pub(super) used: u64,
    pub(super) age: Age,
}

/// Whether an outcome is what its device comes to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It is, however long ago anybody looked.
    Current,
    /// It was, and may be again after a revert.
    Past,
}

/// An outcome that is asked for.
pub(super) struct Job {
    pub(super) whose: Whose,
    /// The device, or one of those that say the same.
    pub(super) device: DeviceId,
    pub(super) inputs: Inputs,
}

/// How an outcome is come by.
pub(super) enum Found {
    /// It is kept at this place.
    Kept(usize),
    /// It was made now.
    Made(Box<Slot>),
}

/// An outcome: kept, if its inputs and what they point at are the same as before.
pub(super) fn find(
    slots: &[Slot],
    device: &DeviceId,
    inputs: &Inputs,
    world: &World,
    secrets: &SecretTable,
    turn: u64,
) -> Found {
    let merged = match slots.iter().find(|slot| slot.inputs.same(inputs)) {
        Some(slot) => slot.merged.clone(),
        None => Arc::new(merge(device, inputs)),
    };
    let picked = Picked::new(&merged, world);
    let kept = slots.iter().position(|slot| {
        Arc::ptr_eq(&slot.merged, &merged)
            && slot.picked.same(&picked)
            && slot.outcome.secrets.iter().all(|(name, state)| secrets.state(name) == *state)
    });
    if let Some(at) = kept {
        return Found::Kept(at);
    }
    let outcome = Arc::new(outcome(device, inputs, &merged, &picked, secrets));
    Found::Made(Box::new(Slot { inputs: inputs.clone(), merged, picked, outcome, used: turn, age: Age::Current }))
}
