//! Rollouts of a commit: made once, when those before them have come to where they can end.

use super::carry::Carried;
use super::world::FleetWorld;
use super::{Live, Machines, is_under_way};
use crate::domain::desired::{Desired, DesiredDevice};
use crate::domain::fleet::{Change, Content, RolloutChange, RolloutRecord, StageRecord, Staged, StagedProgress};
use crate::domain::ids::{Actor, CommitId, DeviceId, PolicyName, RolloutName, StageName};
use crate::domain::plan::ownership::owner;
use crate::domain::plan::pass::PassInput;
use crate::domain::plan::requires::reversal;
use crate::domain::plan::staged::{Claimed, policy_of};
use crate::domain::plan::ways::way;
use crate::domain::rollout::machine::{self, Act, Reversal, Rollout, Status, SupersedeAt, Turn};
use crate::domain::spec::SealedSpec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many rollouts of a stage are remembered; the oldest that are over go first.
const MAX_KEPT: usize = 20;

/// Devices by the policy that they follow, with what they shall get.
type Wanting = BTreeMap<PolicyName, Vec<(DeviceId, Arc<Content>)>>;

/// Makes the rollouts that commits are owed, and lets those before them end.
pub(super) fn succeed(machines: &mut Machines, input: &PassInput<'_>, carried: &mut Carried<'_>) {
    for (stage, record) in &input.state.stages {
        let owed = record.staged.as_ref().filter(|staged| staged.progress == StagedProgress::Owed);
        let (Some(Staged { commit, .. }), Some(desired)) = (owed, input.accepted(stage)) else { continue };
        if record.accepted.as_ref() == Some(commit) && end_earlier(machines, input, stage, commit, desired, carried) {
            make_all(machines, input, stage, record, commit, desired, carried);
        }
    }
}

/// Lets earlier rollouts of a stage end; whether they have, and nothing of it is still to be written: what comes after is made
/// from what is known then.
fn end_earlier(
    machines: &mut Machines,
    input: &PassInput<'_>,
    stage: &StageName,
    commit: &CommitId,
    desired: &Arc<Desired>,
    carried: &mut Carried<'_>,
) -> bool {
    let mut ended = true;
    let earlier = input.state.rollouts.iter().filter(|(_, one)| one.head.stage == *stage);
    for (name, record) in earlier.filter(|(_, one)| is_under_way(&one.head.status)) {
        let act = match record.head.status {
            // What went wrong stays in quarantine, so it does not make way as one does that had nothing wrong.
            Status::Error { .. } => Act::Abort,
            Status::RollingBack { .. } => {
                ended = false;
                continue;
            }
            Status::Active if record.head.superseded_by.as_ref() == Some(commit) => {
                ended = false;
                continue;
            }
            _ => Act::Supersede { by: commit.clone(), at: SupersedeAt::StepEnd },
        };
        let live = machines.live.remove(name).unwrap_or_else(|| Live::load(record));
        let world = FleetWorld::new(input, desired, record);
        let reason = format!("commit {} counts", commit.short());
        let (machine, done) = live.machine.act(input.now, &world, act, &Actor::controller(), &reason);
        ended = false;
        if let Ok(turn) = done {
            carried.carry_out(record, &machine, turn);
        }
        machines.live.insert(name.clone(), Live::of(machine));
    }
    ended
}

fn make_all(
    machines: &mut Machines,
    input: &PassInput<'_>,
    stage: &StageName,
    record: &StageRecord,
    commit: &CommitId,
    desired: &Arc<Desired>,
    carried: &mut Carried<'_>,
) {
    let (wanting, kept) = wanting(input, stage, commit, desired);
    let nothing = wanting.is_empty() && kept == 0;
    let made = Staged { commit: commit.clone(), progress: StagedProgress::Made };
    carried.stage(stage, StageRecord { staged: (!nothing).then_some(made), ..record.clone() });
    if kept > 0 {
        let message = format!("{kept} devices keep what they have: what they would get went wrong before");
        carried.event("Quarantined", stage.to_string(), message);
    }
    forget_old(input, stage, carried);
    let many = wanting.len() > 1;
    for (policy, devices) in wanting {
        let Some(policy) = desired.rollouts.policy(&policy) else { continue };
        let name = free_name(input, stage, commit, many.then_some(&policy.name));
        let changes = devices.iter().map(|(device, content)| (device.clone(), change(input, desired, device, content)));
        let draft = Rollout::draft(name.clone(), stage.clone(), commit.clone(), policy, changes, input.now);
        let mut made = RolloutRecord::new(0, Arc::new(draft.head().clone()));
        made.members =
            draft.members().iter().map(|(device, member)| (device.clone(), Arc::new(member.clone()))).collect();
        let contents: Vec<_> =
            devices.iter().flat_map(|(device, content)| contents(input, desired, device, content)).collect();
        made.contents = contents.iter().map(|content| (content.spec.digest, content.clone())).collect();
        let world = FleetWorld::new(input, desired, &made);
        let reason = format!("commit {}", commit.short());
        let (machine, done) = draft.act(input.now, &world, Act::Activate, &Actor::controller(), &reason);
        let mut turn = done.unwrap_or_else(|_| Turn::default());
        turn.changed = machine.members().keys().cloned().collect();
        // The head comes first: what belongs to a rollout is written after it.
        let head = Arc::new(machine.head().clone());
        carried.push(Change::Rollout(name.clone(), RolloutChange::Head { version: 1, head: head.clone() }));
        for content in made.contents.values() {
            carried.push(Change::Rollout(name.clone(), RolloutChange::Content(content.clone())));
        }
        made.head = head;
        carried.carry_out(&made, &machine, turn);
        machines.live.insert(name, Live::of(machine));
    }
}

/// Devices of a stage that a commit changes and that follow a policy; and how many more would be, but keep what they have because
/// the same went wrong with them.
fn wanting(input: &PassInput<'_>, stage: &StageName, commit: &CommitId, desired: &Desired) -> (Wanting, usize) {
    let (mut wanting, mut kept) = (Wanting::new(), 0);
    let earlier: Vec<&RolloutRecord> = input.state.rollouts.values().filter(|one| one.head.stage == *stage).collect();
    for (device, listed) in &desired.devices {
        let record = input.state.devices.get(device);
        if record.and_then(|record| owner(input.stages, &record.control.claims)) != Some(stage) {
            continue;
        }
        let Some(spec) = listed.spec.as_ref().filter(|spec| assigned(input, device) != Some(spec.digest)) else {
            continue;
        };
        let claimed = Claimed { stage, device, listed: listed as &DesiredDevice, record };
        let Some(policy) = policy_of(desired, &claimed) else { continue };
        // A rollout in an error is on its way to being aborted in this very pass. One of the same commit, with another list of
        // devices, found bad what it brought to them.
        let had_it = |one: &RolloutRecord| one.members.get(device).is_some_and(|member| member.target == spec.digest);
        let found_bad = |one: &&RolloutRecord| one.quarantines(device, commit, &spec.digest);
        if earlier.iter().filter(|one| found_bad(one)).any(|one| one.head.commit != *commit || had_it(one)) {
            kept += 1;
            continue;
        }
        let content = Arc::new(Content { spec: spec.clone(), commit: commit.clone() });
        wanting.entry(policy).or_default().push((device.clone(), content));
    }
    (wanting, kept)
}

fn assigned(input: &PassInput<'_>, device: &DeviceId) -> Option<crate::domain::digest::Digest> {
    Some(input.state.devices.get(device)?.assignment.as_ref()?.spec.digest)
}

/// What a rollout changes on a device that is to have this content of a commit.
pub(super) fn change(
    input: &PassInput<'_>,
    desired: &Desired,
    device: &DeviceId,
    content: &Content,
) -> machine::Change {
    let assignment = input.state.devices.get(device).and_then(|record| record.assignment.as_ref());
    let previous = assignment.map(|assignment| assignment.spec.digest);
    let listed = desired.devices.get(device);
    let reversal = listed.zip(assignment).map(|(listed, assignment)| reversal(listed, &assignment.spec.spec));
    let reversal = reversal.unwrap_or(Reversal::Possible);
    let detour = legs(input, desired, device).iter().map(|leg| leg.digest).collect();
    machine::Change { target: content.spec.digest, previous, detour, reversal }
}

/// What a device goes through before its target. One that cannot be led anywhere is kept out of the rollout, with the reason.
fn legs(input: &PassInput<'_>, desired: &Desired, device: &DeviceId) -> Vec<SealedSpec> {
    let listed = desired.devices.get(device);
    listed.and_then(|listed| way(listed, input.state.devices.get(device)).ok()).unwrap_or_default().legs
}

/// What a rollout must keep for a device: what it gets, what it goes through on the way, and what it had.
pub(super) fn contents(
    input: &PassInput<'_>,
    desired: &Desired,
    device: &DeviceId,
    content: &Arc<Content>,
) -> Vec<Arc<Content>> {
    let record = input.state.devices.get(device);
    let previous = record
        .and_then(|record| record.assignment.as_ref())
        .map(|assignment| Arc::new(Content { spec: assignment.spec.clone(), commit: assignment.commit.clone() }));
    let on_the_way = legs(input, desired, device).into_iter();
    let on_the_way = on_the_way.map(|spec| Arc::new(Content { spec, commit: content.commit.clone() }));
    previous.into_iter().chain(on_the_way).chain([content.clone()]).collect()
}

/// `production-1a2b3c4d`; with the policy where a commit makes several, and counted where one of that name was there before.
fn free_name(input: &PassInput<'_>, stage: &StageName, commit: &CommitId, policy: Option<&PolicyName>) -> RolloutName {
    let stage: String = stage.as_str().replace('/', "-").chars().take(40).collect();
    let policy: String = policy.map(|policy| format!("-{}", policy.as_str())).unwrap_or_default();
    let base = format!("{stage}-{}{policy}", commit.short());
    let taken = |name: &RolloutName| input.state.rollouts.contains_key(name);
    let names = std::iter::once(base.clone()).chain((2..).map(|number: usize| format!("{base}.{number}")));
    let mut names = names.map(|name| RolloutName::new(&name).expect("a stage, digits and a policy keep the rule"));
    names.find(|name| !taken(name)).expect("there is always one more number")
}

fn forget_old(input: &PassInput<'_>, stage: &StageName, carried: &mut Carried<'_>) {
    let over =
        input.state.rollouts.iter().filter(|(_, one)| one.head.stage == *stage && !is_under_way(&one.head.status));
    let mut over: Vec<_> = over.map(|(name, one)| (one.head.created, name)).collect();
    over.sort();
    let surplus = over.len().saturating_sub(MAX_KEPT);
    for (_, name) in over.into_iter().take(surplus) {
        carried.push(Change::Rollout(name.clone(), RolloutChange::Gone));
    }
}
