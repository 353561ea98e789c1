//! Rollouts that somebody drafts by hand: a change on a branch of its own, brought to some devices before it is merged.
//!
//! Git stays the truth: what a draft brings is a commit, which contains the commit that counts for the stage. While that one counts,
//! nobody takes from devices what the draft gave them. The next commit of the stage decides about them as about all others, so a change
//! that is not merged by then is taken back.

use super::Machines;
use super::carry::Carried;
use super::live::Live;
use super::make::{change, contents, had};
use super::world::FleetWorld;
use crate::domain::counted::counted;
use crate::domain::desired::{Desired, DesiredDevice};
use crate::domain::filter::Filter;
use crate::domain::fleet::{Change, Content, Event, FleetState, Revision, RolloutChange, RolloutRecord};
use crate::domain::generation::Attempt;
use crate::domain::ids::{Actor, CommitId, DeviceId, PolicyName, RolloutName, StageName};
use crate::domain::plan::ownership::owner;
use crate::domain::plan::pass::PassInput;
use crate::domain::plan::requires::unmet;
use crate::domain::plan::staged::{Claimed, has_a_say, selects};
use crate::domain::rollout::eta::devices_ahead;
use crate::domain::rollout::gate::Counts;
use crate::domain::rollout::machine::member::Exposure;
use crate::domain::rollout::machine::{Drafted, Effect, Entry, Member, Rollout, Status, Turn};
use crate::domain::rollout::policy::{MAX_STEPS, Policy, Selector, StepPolicy};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many drafts may wait at a time: each keeps the content of its devices.
pub const MAX_DRAFTS: usize = 20;
/// How many devices a refusal names.
const MAX_NAMED: usize = 5;

/// A rollout that somebody drafts.
#[derive(Clone, Debug)]
pub struct NewDraft {
    /// Its name.
    pub name: RolloutName,
    /// The stage whose devices it is for.
    pub stage: StageName,
    /// The branch that it was read from.
    pub branch: StageName,
    /// The branch's newest commit.
    pub commit: CommitId,
    /// The commit of the stage that it was compared with, which it contains.
    pub base: Revision,
    /// What the branch's commit means.
    pub desired: Arc<Desired>,
    /// Which devices may get it: a filter.
    pub devices: String,
    /// In which steps.
    pub steps: DraftSteps,
    /// What it changes, for people.
    pub change: String,
}

/// In which steps a draft goes out.
#[derive(Clone, Debug)]
pub enum DraftSteps {
    /// As this policy says, in the words of the commit that counts.
    Policy(PolicyName),
    /// In these, and then to everybody else of it.
    Own(Vec<StepPolicy>),
}

/// Why a draft is not made, or does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// There is one of that name.
    #[error("there is a rollout {0} already")]
    NameTaken(RolloutName),
    /// The stage's commit has not been read since the start, or there is none.
    #[error("no commit of stage {0} counts that could be changed")]
    NoCommit(StageName),
    /// The stage has gone on.
    #[error("stage {stage} is at commit {now} by now, and the draft was made from {base}")]
    Moved {
        /// The stage.
        stage: StageName,
        /// The first digits of the commit that counts.
        now: String,
        /// The first digits of the one that the draft was made from.
        base: String,
    },
    /// Too many drafts.
    #[error("there are {MAX_DRAFTS} drafts already; activate or delete some")]
    TooMany,
    /// The branch's commit cannot be used.
    #[error("the branch cannot be used: {0}")]
    Broken(String),
    /// The filter is none.
    #[error("the filter cannot be used: {0}")]
    BadFilter(String),
    /// No such policy.
    #[error("fleet.yml has no rollout policy `{0}`, and there is no ready one of that name")]
    UnknownPolicy(PolicyName),
    /// A step cannot be used.
    #[error("the step cannot be used: {0}")]
    BadStep(String),
    /// The branch changes which devices there are, or whose they are.
    #[error("the branch changes more than what devices have: {0}")]
    Structure(String),
    /// Devices that the filter leaves out would change.
    #[error("the branch also changes {named}: after it is merged they would get it without having been in the rollout")]
    Outside {
        /// The first of them, and how many more.
        named: String,
    },
    /// No device changes.
    #[error("no device that the filter means changes")]
    Nothing,
    /// A device is part of something else.
    #[error("{device} is part of rollout {rollout}, which is {status}")]
    Busy {
        /// The device.
        device: DeviceId,
        /// The rollout.
        rollout: RolloutName,
        /// How that stands.
        status: &'static str,
    },
    /// A device has other content than when the draft was made.
    #[error("{0} has been assigned something else since the draft was made")]
    Changed(DeviceId),
    /// It would reach many at once.
    #[error("nothing holds it back, and {} would change at once; {allowed} may", counted(*devices, "device"))]
    TooManyAtOnce {
        /// How many it would reach.
        devices: usize,
        /// How many may change outside of steps.
        allowed: usize,
    },
    /// It is not a draft any more.
    #[error("a rollout that is {0} cannot be deleted; only a DRAFT can")]
    NotADraft(&'static str),
}

impl Machines {
    /// Makes a draft. Nothing happens to any device before it is activated.
    pub(in super::super) fn draft(
        &mut self,
        input: &PassInput<'_>,
        new: &NewDraft,
        actor: &Actor,
        reason: &str,
    ) -> Result<Vec<Change>, DraftError> {
        let NewDraft { name, stage, commit, .. } = new;
        let accepted = counts(input, stage, &new.base)?;
        room(input.state, name)?;
        if let Some(finding) = new.desired.rejection() {
            return Err(DraftError::Broken(format!("{}: {}", finding.place, finding.message)));
        }
        let policy = policy(accepted, &new.steps)?;
        let devices = changed(input, new, accepted)?;
        let (devices, left_out): (Vec<_>, Vec<_>) = devices.into_iter().partition(|(_, _, unmet)| unmet.is_none());
        let devices: Vec<(DeviceId, Arc<Content>)> =
            devices.into_iter().map(|(device, content, _)| (device, content)).collect();
        if let Some((device, _, Some(why))) = left_out.first().filter(|_| devices.is_empty()) {
            return Err(DraftError::Broken(format!("{device} cannot take it: {why}")));
        }
        for (device, _) in &devices {
            free(input.state, name, device)?;
        }
        let changes =
            devices.iter().map(|(device, content)| (device.clone(), change(input, &new.desired, device, content)));
        let drafted = Drafted {
            branch: new.branch.clone(),
            base: new.base.commit.clone(),
            devices: new.devices.clone(),
            change: new.change.clone(),
        };
        let machine = Rollout::draft(name.clone(), stage.clone(), commit.clone(), policy, changes, input.now);
        let machine = machine.trying_again(attempts(input.state, &devices)).drafted(drafted);
        let mut made = RolloutRecord::new(0, Arc::new(machine.head().clone()));
        let kept = devices.iter().flat_map(|(device, content)| contents(input, &new.desired, device, content));
        made.contents = kept.map(|content| (content.spec.digest, content)).collect();
        let mut carried = Carried::new(input);
        carried.push(Change::Rollout(name.clone(), RolloutChange::Head { version: 1, head: made.head.clone() }));
        for content in made.contents.values() {
            carried.push(Change::Rollout(name.clone(), RolloutChange::Content(content.clone())));
        }
        let mut message = format!("{} on {} of {stage}: {reason}", new.change, counted(devices.len(), "device"));
        if let Some((device, _, Some(why))) = left_out.first() {
            message.push_str(&format!("; {} left out, such as {device}: {why}", left_out.len()));
        }
        let entry = Entry {
            at: input.now,
            actor: actor.clone(),
            kind: "Drafted".to_owned(),
            message,
            status: machine.head().status.as_str().to_owned(),
            step: 0,
            counts: Counts::default(),
        };
        let turn = Turn { effects: vec![Effect::Note(entry)], changed: machine.members().keys().cloned().collect() };
        carried.carry_out(&made, &machine, turn);
        self.live.insert(name.clone(), Live::of(machine));
        let mut output = Default::default();
        carried.finish(&mut output);
        Ok(output.changes)
    }
}

/// The attempts at which devices get content that they were offered before: somebody asks for it again.
fn attempts(state: &FleetState, devices: &[(DeviceId, Arc<Content>)]) -> BTreeMap<DeviceId, Attempt> {
    let of = |(device, content): &(DeviceId, Arc<Content>)| {
        let members = state.rollouts.values().filter_map(|one| one.members.get(device));
        let had_it = |member: &&Arc<Member>| member.target == content.spec.digest && member.exposure != Exposure::None;
        let tried = members.filter(had_it).map(|member| member.attempt).max()?;
        Some((device.clone(), tried.next()))
    };
    devices.iter().filter_map(of).collect()
}

/// What counts for a stage, if it is still this.
fn counts<'a>(input: &'a PassInput<'_>, stage: &StageName, base: &Revision) -> Result<&'a Arc<Desired>, DraftError> {
    let now = input.state.stages.get(stage).and_then(|record| record.counts());
    let (Some(now), Some(accepted)) = (now, input.accepted(stage)) else {
        return Err(DraftError::NoCommit(stage.clone()));
    };
    if now != *base {
        return Err(DraftError::Moved { stage: stage.clone(), now: now.short(), base: base.short() });
    }
    Ok(accepted)
}

fn room(state: &FleetState, name: &RolloutName) -> Result<(), DraftError> {
    if state.rollouts.contains_key(name) {
        return Err(DraftError::NameTaken(name.clone()));
    }
    let drafts = state.rollouts.values().filter(|one| one.head.status == Status::Draft);
    if drafts.count() >= MAX_DRAFTS { Err(DraftError::TooMany) } else { Ok(()) }
}

/// The policies are those of the commit that counts: a branch must not be able to loosen them.
fn policy(accepted: &Desired, steps: &DraftSteps) -> Result<Policy, DraftError> {
    match steps {
        DraftSteps::Policy(name) => {
            accepted.rollouts.policy(name).ok_or_else(|| DraftError::UnknownPolicy(name.clone()))
        }
        DraftSteps::Own(steps) if steps.len() > MAX_STEPS => {
            Err(DraftError::BadStep(format!("there may be {MAX_STEPS} of them")))
        }
        DraftSteps::Own(steps) => {
            for step in steps {
                check_step(accepted, step)?;
            }
            let name = PolicyName::new("own").map_err(|error| DraftError::BadStep(error.to_string()))?;
            Ok(Policy { steps: steps.clone(), ..Policy::new(name) })
        }
    }
}

/// Whether a step's selector means anything in a commit.
pub fn check_step(accepted: &Desired, step: &StepPolicy) -> Result<(), DraftError> {
    let text = match &step.selector {
        Selector::All => return Ok(()),
        Selector::Filter(text) => text.clone(),
        Selector::Group(group) => format!("{group:?} in groups"),
    };
    let filter = Filter::new(&text, &accepted.saved.groups);
    filter.map(|_| ()).map_err(|error| DraftError::BadStep(format!("{}: {error}", step.selector)))
}

/// A device, what it would get, and why it cannot take it, if it cannot.
type Changed = (DeviceId, Arc<Content>, Option<String>);

/// The devices that the branch changes. All of them must be meant.
fn changed(input: &PassInput<'_>, new: &NewDraft, accepted: &Arc<Desired>) -> Result<Vec<Changed>, DraftError> {
    let NewDraft { stage, commit, desired, devices: filter, .. } = new;
    Filter::new(filter, &accepted.saved.groups).map_err(|error| DraftError::BadFilter(error.to_string()))?;
    if let Some(device) = accepted.devices.keys().find(|device| !desired.devices.contains_key(*device)) {
        return Err(DraftError::Structure(format!("it does not list {device} any more")));
    }
    let selector = Selector::Filter(filter.clone());
    let (mut found, mut outside) = (Vec::new(), Vec::new());
    for (device, wanted) in &desired.devices {
        let Some(listed) = accepted.devices.get(device) else {
            return Err(DraftError::Structure(format!("it lists {device}, which is new")));
        };
        if Arc::ptr_eq(listed, wanted) || same_content(listed, wanted) {
            continue;
        }
        if listed.branch != wanted.branch {
            return Err(DraftError::Structure(format!("it changes the branch that {device} follows")));
        }
        let record = input.state.devices.get(device);
        let owned = record.and_then(|record| owner(input.stages, &record.control.claims)) == Some(stage);
        // What the branch says of another stage's device means nothing to it, before the merge and after.
        if !owned {
            continue;
        }
        let claimed = Claimed { stage, device, listed: listed as &DesiredDevice, record };
        if !selects(accepted, &selector, &claimed) {
            outside.push(device);
            continue;
        }
        let (Some(spec), Some(record)) = (&wanted.spec, record) else {
            let problem = wanted.problem.clone().unwrap_or_else(|| "its files have findings".to_owned());
            return Err(DraftError::Broken(format!("{device}: {problem}")));
        };
        let content = Arc::new(Content { spec: spec.clone(), commit: commit.clone() });
        let unmet = unmet(wanted, record).into_iter().next().map(|unmet| unmet.message);
        found.push((device.clone(), content, unmet));
    }
    if !outside.is_empty() {
        let named: Vec<&str> = outside.iter().take(MAX_NAMED).map(|device| device.as_str()).collect();
        let more = outside.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Err(DraftError::Outside { named: format!("{}{more}", named.join(", ")) });
    }
    if found.is_empty() { Err(DraftError::Nothing) } else { Ok(found) }
}

fn same_content(one: &DesiredDevice, other: &DesiredDevice) -> bool {
    let digest = |listed: &DesiredDevice| listed.spec.as_ref().map(|spec| spec.digest);
    digest(one) == digest(other) && one.spec.is_some() && one.branch == other.branch
}

/// One rollout per device.
fn free(state: &FleetState, name: &RolloutName, device: &DeviceId) -> Result<(), DraftError> {
    let other = state.rollouts.iter().find(|(other, record)| *other != name && has_a_say(record, device));
    match other {
        None => Ok(()),
        Some((rollout, record)) => Err(DraftError::Busy {
            device: device.clone(),
            rollout: rollout.clone(),
            status: record.head.status.as_str(),
        }),
    }
}

/// Whether a draft may begin now. Others are not looked at.
pub(super) fn may_begin(input: &PassInput<'_>, record: &RolloutRecord) -> Result<(), DraftError> {
    let head = &record.head;
    let Some(drafted) = head.draft.as_deref().filter(|_| head.status == Status::Draft) else { return Ok(()) };
    let now = input.state.stages.get(&head.stage).and_then(|stage| stage.accepted.as_ref());
    let Some(desired) = input.accepted(&head.stage) else { return Err(DraftError::NoCommit(head.stage.clone())) };
    if now != Some(&drafted.base) {
        let now = now.map(CommitId::short).unwrap_or_default().to_owned();
        return Err(DraftError::Moved { stage: head.stage.clone(), now, base: drafted.base.short().to_owned() });
    }
    for (device, member) in &record.members {
        free(input.state, &head.name, device)?;
        if had(input, device).map(|had| had.spec.digest) != member.previous {
            return Err(DraftError::Changed(device.clone()));
        }
    }
    let policy = input.stages.iter().find(|policy| policy.name == head.stage);
    let owned = desired.devices.len();
    let allowed = policy.map_or(0, |policy| policy.unstaged_allowed(owned, desired.limits));
    let world = FleetWorld::new(input, desired, record);
    let members = record.members.iter().map(|(device, member)| (device, &**member));
    let ahead = devices_ahead(head, members, &world, input.now);
    let steps: Vec<u32> = ahead.iter().map(|step| step.crowd.devices).collect();
    match head.policy.at_once(&steps) as usize {
        devices if devices > allowed => Err(DraftError::TooManyAtOnce { devices, allowed }),
        _ => Ok(()),
    }
}

/// Forgets a draft that does nothing yet. What was said of it stays.
pub(super) fn delete(
    input: &PassInput<'_>,
    record: &RolloutRecord,
    actor: &Actor,
    reason: &str,
) -> Result<Vec<Change>, DraftError> {
    let head = &record.head;
    if head.status != Status::Draft {
        return Err(DraftError::NotADraft(head.status.as_str()));
    }
    let (at, actor, kind) = (input.now, actor.clone(), "Deleted".to_owned());
    let subject = format!("rollout {}", head.name);
    let event = Event { at, actor, kind, subject, message: reason.to_owned(), rollout: None };
    Ok(vec![Change::Rollout(head.name.clone(), RolloutChange::Gone), Change::Event(event)])
}

/// Whether what a draft gave a device stays, whatever its stage wants: as long as the commit counts that the draft was made from.
pub fn keeps(record: &RolloutRecord, device: &DeviceId, counts: &CommitId) -> bool {
    let Some(drafted) = record.head.draft.as_deref() else { return false };
    let had_it = |member: &Arc<Member>| member.exposure != Exposure::None;
    drafted.base == *counts && (has_a_say(record, device) || record.members.get(device).is_some_and(had_it))
}
