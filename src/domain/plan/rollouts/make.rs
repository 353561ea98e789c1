//! Rollouts of a commit: made once, when those before them have come to where they can end.

use super::Machines;
use super::carry::Carried;
use super::draft::keeps;
use super::live::Live;
use super::world::FleetWorld;
use crate::domain::desired::{Desired, DesiredDevice};
use crate::domain::digest::Digest;
use crate::domain::fleet::{Change, Content, RolloutChange, RolloutRecord, StageRecord, Staged, StagedProgress};
use crate::domain::generation::Attempt;
use crate::domain::ids::{Actor, CommitId, DeviceId, PolicyName, RolloutName, StageName};
use crate::domain::plan::ownership::owner;
use crate::domain::plan::pass::PassInput;
use crate::domain::plan::requires::reversal;
use crate::domain::plan::staged::{Claimed, policy_of};
use crate::domain::plan::ways::supposed_way;
use crate::domain::rollout::machine::{
    self, Act, Phase, Reversal, Rollout, Status, Step, StepStatus, SupersedeAt, Turn,
};
use crate::domain::rollout::policy::{Policy, Supersede};
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
    let at = if forces(desired, stage) { SupersedeAt::Now } else { SupersedeAt::StepEnd };
    let earlier = input.state.rollouts.iter().filter(|(_, one)| one.head.stage == *stage);
    for (name, record) in earlier.filter(|(_, one)| one.head.is_under_way()) {
        let live = machines.live.remove(name).unwrap_or_else(|| Live::load(record));
        let world = FleetWorld::new(input, desired, record);
        let act = match record.head.status {
            // What went wrong stays in quarantine, so it does not make way as one does that had nothing wrong.
            Status::Error { .. } => Act::Abort,
            // Those that are left are held, and nobody knows how long: they keep what they have until they get what is newer.
            Status::RollingBack { .. } if live.machine().waits_for_holds(&world) => Act::Abort,
            Status::RollingBack { .. } => {
                ended = false;
                machines.live.insert(name.clone(), live);
                continue;
            }
            Status::Active if at == SupersedeAt::StepEnd && record.head.superseded_by.as_ref() == Some(commit) => {
                ended = false;
                machines.live.insert(name.clone(), live);
                continue;
            }
            _ => Act::Supersede { by: commit.clone(), at },
        };
        let reason = format!("commit {} counts", commit.short());
        let (machine, done) = live.into_machine().act(input.now, &world, act, &Actor::controller(), &reason);
        ended = false;
        if let Ok(turn) = done {
            carried.carry_out(record, &machine, turn);
        }
        machines.live.insert(name.clone(), Live::of(machine));
    }
    ended
}

/// Whether a policy that devices of a stage follow does not let a commit wait for those before it.
fn forces(desired: &Desired, stage: &StageName) -> bool {
    let rules = desired.rollouts.rules.iter();
    let mut policies = rules.filter(|rule| rule.stage.as_ref().is_none_or(|one| one == stage)).map(|rule| &rule.policy);
    policies.any(|name| desired.rollouts.policy(name).is_some_and(|policy| policy.supersede == Supersede::Force))
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
        let message = match kept {
            1 => "1 device keeps what it has: what it would get went wrong before".to_owned(),
            _ => format!("{kept} devices keep what they have: what they would get went wrong before"),
        };
        carried.event("Quarantined", stage.to_string(), message);
    }
    forget_old(input, stage, carried);
    let many = wanting.len() > 1;
    for (policy, devices) in wanting {
        let Some(policy) = desired.rollouts.policy(&policy) else { continue };
        let name = free_name(input, carried, stage, commit, many.then_some(&policy.name));
        let passed = passed_before(input, stage, commit, &policy, &devices);
        let changes = devices.iter().map(|(device, content)| (device.clone(), change(input, desired, device, content)));
        let draft = Rollout::draft(name.clone(), stage.clone(), commit.clone(), policy, changes, input.now);
        let draft = draft.trying_again(attempts(input, stage, &devices)).carrying_on(passed);
        let mut made = RolloutRecord::new(0, Arc::new(draft.head().clone()));
        made.members =
            draft.members().iter().map(|(device, member)| (device.clone(), Arc::new(member.clone()))).collect();
        let contents: Vec<_> =
            devices.iter().flat_map(|(device, content)| contents(input, desired, device, content)).collect();
        // Where one device had what another one gets, it is this commit's.
        let contents = contents.iter().chain(devices.iter().map(|(_, content)| content));
        made.contents = contents.map(|content| (content.spec.digest, content.clone())).collect();
        let world = FleetWorld::new(input, desired, &made).beside(carried.taken());
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

/// The steps that need not be gone through again: a rollout by the same policy, whose place this one takes, has passed them with
/// the same content for all who are left.
fn passed_before(
    input: &PassInput<'_>,
    stage: &StageName,
    commit: &CommitId,
    policy: &Policy,
    devices: &[(DeviceId, Arc<Content>)],
) -> Vec<Step> {
    let took_over = |one: &&RolloutRecord| match &one.head.status {
        Status::Superseded { by, .. } => one.head.stage == *stage && by == commit && one.head.policy == *policy,
        _ => false,
    };
    let Some(before) = input.state.rollouts.values().filter(took_over).max_by_key(|one| one.head.created) else {
        return Vec::new();
    };
    let target = |device: &DeviceId| before.members.get(device).map(|member| member.target);
    if !devices.iter().all(|(device, content)| target(device) == Some(content.spec.digest)) {
        return Vec::new();
    }
    before.head.steps.iter().take_while(|step| step.status == StepStatus::Passed).cloned().collect()
}

/// The attempts of devices for which the same went wrong before, in a rollout whose quarantine somebody lifted.
fn attempts(
    input: &PassInput<'_>,
    stage: &StageName,
    devices: &[(DeviceId, Arc<Content>)],
) -> BTreeMap<DeviceId, Attempt> {
    let lifted = |one: &&RolloutRecord| one.head.stage == *stage && one.head.lifted.is_some();
    let lifted: Vec<&RolloutRecord> = input.state.rollouts.values().filter(lifted).collect();
    let of = |(device, content): &(DeviceId, Arc<Content>)| {
        let members = lifted.iter().filter_map(|one| one.members.get(device));
        let tried =
            members.filter(|member| member.was_to_have(&content.spec.digest)).map(|member| member.attempt).max();
        tried.map(|tried| (device.clone(), tried.next()))
    };
    devices.iter().filter_map(of).collect()
}

/// What is no longer in quarantine goes out again, if the commit that counts wants it.
pub(super) fn owe_again(input: &PassInput<'_>, stage: &StageName, carried: &mut Carried<'_>) {
    let Some(record) = input.state.stages.get(stage) else { return };
    let Some(commit) = record.accepted.clone() else { return };
    let mut of_commit =
        input.state.rollouts.values().filter(|one| one.head.stage == *stage && one.head.commit == commit);
    // What is under way already takes in whoever may get it now.
    if record.staged.is_some() && !of_commit.any(|one| one.head.is_under_way()) {
        let staged = Some(Staged { commit, progress: StagedProgress::Owed });
        carried.stage(stage, StageRecord { staged, ..record.clone() });
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
        let Some(spec) = listed.spec.as_ref().filter(|spec| !has(input, device, &spec.digest)) else {
            continue;
        };
        // A draft gave it something else, which stays while this commit counts.
        if earlier.iter().any(|one| keeps(one, device, commit)) {
            continue;
        }
        let claimed = Claimed { stage, device, listed: listed as &DesiredDevice, record };
        let Some(policy) = policy_of(desired, &claimed) else { continue };
        // A rollout in an error is on its way to being aborted in this very pass. One of the same commit, with another list of
        // devices, found bad what it brought to any of them.
        let had_it = |one: &RolloutRecord| {
            one.members.get(device).is_some_and(|member| member.was_to_have(&spec.digest)) || one.brought(&spec.digest)
        };
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

/// Whether a device is assigned this content. One that could not do it on its way to something else has not got it, nor has one that
/// is to try it again since the quarantine was lifted.
fn has(input: &PassInput<'_>, device: &DeviceId, digest: &Digest) -> bool {
    let assignment = input.state.devices.get(device).and_then(|record| record.assignment.as_ref());
    let Some(assignment) = assignment.filter(|assignment| assignment.spec.digest == *digest) else { return false };
    let rollout = assignment.rollout.as_deref().and_then(|name| input.state.rollouts.get(name));
    let Some((rollout, member)) = rollout.and_then(|one| Some((one, one.members.get(device)?))) else { return true };
    let failed = matches!(member.phase, Phase::Bad { .. }) && member.leg() == *digest;
    // Content that went wrong as a leg of its way goes out as what it shall have: it has that no more than others.
    !failed || (member.target == *digest && rollout.head.lifted.is_none())
}

/// What a rollout changes on a device that is to have this content of a commit.
pub(super) fn change(
    input: &PassInput<'_>,
    desired: &Desired,
    device: &DeviceId,
    content: &Content,
) -> machine::Change {
    change_to(input, desired, device, content.spec.digest)
}

/// The same by the digest of that content.
pub(super) fn change_to(
    input: &PassInput<'_>,
    desired: &Desired,
    device: &DeviceId,
    target: Digest,
) -> machine::Change {
    let had = had(input, device);
    let previous = had.as_ref().map(|had| had.spec.digest);
    let listed = desired.devices.get(device);
    let reversal = listed.zip(had).map(|(listed, had)| reversal(listed, &had.spec.spec));
    let reversal = reversal.unwrap_or(Reversal::Possible);
    let detour = legs(input, desired, device).iter().map(|leg| leg.digest).collect();
    machine::Change { target, previous, detour, reversal }
}

/// What a device goes back to: what it is assigned, or what it has proven to run before that, where nobody knows that it works for it.
/// `None` if it has proven nothing.
pub(super) fn had(input: &PassInput<'_>, device: &DeviceId) -> Option<Arc<Content>> {
    let assignment = input.state.devices.get(device)?.assignment.as_ref()?;
    let assigned = || Arc::new(Content { spec: assignment.spec.clone(), commit: assignment.commit.clone() });
    let rollout = assignment.rollout.as_deref().and_then(|name| input.state.rollouts.get(name));
    let member = rollout.and_then(|rollout| Some((rollout, rollout.members.get(device)?)));
    let Some((rollout, member)) = member.filter(|(_, member)| member.leg() == assignment.spec.digest) else {
        return Some(assigned());
    };
    let proven = match &member.phase {
        Phase::Ready { .. } | Phase::Succeeded { .. } => true,
        Phase::Queued { .. }
        | Phase::Offered { .. }
        | Phase::InProgress { .. }
        | Phase::Bad { .. }
        | Phase::Superseded
        | Phase::Canceled
        | Phase::Excluded { .. } => false,
    };
    if proven && !rollout.quarantines(device, &rollout.head.commit, &assignment.spec.digest) {
        return Some(assigned());
    }
    member.ground().and_then(|digest| rollout.contents.get(&digest).cloned())
}

/// What a device goes through before its target. One that cannot be led anywhere is kept out of the rollout, with the reason.
fn legs(input: &PassInput<'_>, desired: &Desired, device: &DeviceId) -> Vec<SealedSpec> {
    let listed = desired.devices.get(device);
    listed.and_then(|listed| supposed_way(listed, input.state.devices.get(device)).ok()).unwrap_or_default().legs
}

/// What a rollout must keep for a device: what it gets, what it goes through on the way, and what it had.
pub(super) fn contents(
    input: &PassInput<'_>,
    desired: &Desired,
    device: &DeviceId,
    content: &Arc<Content>,
) -> Vec<Arc<Content>> {
    let previous = had(input, device);
    let on_the_way = legs(input, desired, device).into_iter();
    let on_the_way = on_the_way.map(|spec| Arc::new(Content { spec, commit: content.commit.clone() }));
    previous.into_iter().chain(on_the_way).chain([content.clone()]).collect()
}

/// `production-1a2b3c4d`; with the policy where a commit makes several, and counted where one of that name was there before.
fn free_name(
    input: &PassInput<'_>,
    carried: &Carried<'_>,
    stage: &StageName,
    commit: &CommitId,
    policy: Option<&PolicyName>,
) -> RolloutName {
    let stage: String = stage.as_str().replace('/', "-").chars().take(40).collect();
    let policy: String = policy.map(|policy| format!("-{}", policy.as_str())).unwrap_or_default();
    let base = format!("{stage}-{}{policy}", commit.short());
    // One that cannot be read is there all the same, and `a/b` is called as `a-b` is.
    let unread = |name: &RolloutName| {
        input.state.quarantined.iter().any(|one| one.kind == "rollout" && one.subject == name.as_str())
    };
    let taken = |name: &RolloutName| input.state.rollouts.contains_key(name) || unread(name) || carried.makes(name);
    let names = std::iter::once(base.clone()).chain((2..).map(|number: usize| format!("{base}.{number}")));
    let mut names = names.map(|name| RolloutName::new(&name).expect("a stage, digits and a policy keep the rule"));
    names.find(|name| !taken(name)).expect("there is always one more number")
}

fn forget_old(input: &PassInput<'_>, stage: &StageName, carried: &mut Carried<'_>) {
    let is_over = |one: &RolloutRecord| !one.head.is_under_way() && one.head.status != Status::Draft;
    let over = input.state.rollouts.iter().filter(|(_, one)| one.head.stage == *stage && is_over(one));
    let mut over: Vec<_> = over.map(|(name, one)| (one.head.created, name)).collect();
    over.sort();
    let surplus = over.len().saturating_sub(MAX_KEPT);
    for (_, name) in over.into_iter().take(surplus) {
        carried.push(Change::Rollout(name.clone(), RolloutChange::Gone));
    }
}
