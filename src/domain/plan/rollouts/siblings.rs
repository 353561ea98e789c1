//! Rollouts of one commit: what goes wrong in one stops the others.

use super::Machines;
use super::carry::Carried;
use super::live::Live;
use super::world::FleetWorld;
use crate::domain::fleet::RolloutRecord;
use crate::domain::ids::{Actor, RolloutName};
use crate::domain::plan::pass::PassInput;
use crate::domain::rollout::machine::Act;

/// Whether two rollouts bring the same commit to devices of one stage.
fn are_siblings(one: &RolloutRecord, other: &RolloutRecord) -> bool {
    let (one, other) = (&one.head, &other.head);
    one.name != other.name && one.stage == other.stage && one.commit == other.commit
}

/// A rollout of the same commit that went wrong.
pub(super) fn fallen<'a>(input: &PassInput<'a>, record: &RolloutRecord) -> Option<&'a RolloutName> {
    let mut all = input.state.rollouts.iter();
    all.find(|(_, other)| are_siblings(record, other) && other.head.is_quarantined()).map(|(name, _)| name)
}

/// Pauses the other rollouts of a commit of which one went wrong: they bring what is bad to others.
pub(super) fn pause(machines: &mut Machines, input: &PassInput<'_>, name: &RolloutName, carried: &mut Carried<'_>) {
    let Some(record) = input.state.rollouts.get(name) else { return };
    for (other, sibling) in input.state.rollouts.iter().filter(|(_, other)| are_siblings(record, other)) {
        if sibling.head.is_under_way() {
            pause_one(machines, input, other, sibling, name, carried);
        }
    }
}

/// Pauses a rollout because another one went wrong. One that stands still already goes on standing.
pub(super) fn pause_one(
    machines: &mut Machines,
    input: &PassInput<'_>,
    name: &RolloutName,
    record: &RolloutRecord,
    because_of: &RolloutName,
    carried: &mut Carried<'_>,
) {
    let Some(desired) = input.accepted(&record.head.stage) else { return };
    let live = machines.live.remove(name).unwrap_or_else(|| Live::load(record));
    let world = FleetWorld::new(input, desired, record);
    let reason = format!("{because_of}, which brings the same commit, went wrong");
    let machine = live.into_machine();
    let pause = Act::Pause { until: None };
    let (machine, done) = machine.act(input.now, &world, pause, &Actor::controller(), &reason);
    if let Ok(turn) = done {
        carried.carry_out(record, &machine, turn);
    }
    machines.live.insert(name.clone(), Live::of(machine));
}
