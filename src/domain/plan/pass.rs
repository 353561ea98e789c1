//! One pass: everything that the controller decides, from everything that it knows.

use crate::domain::assignment::Assignment;
use crate::domain::desired::{Desired, DesiredDevice};
use crate::domain::fleet::{
    Change, Content, Control, DeviceRecord, Event, FleetState, HoldScope, Revision, StageRecord, Staged, WaitingFor,
};
use crate::domain::generation::{Attempt, Generation, Order};
use crate::domain::ids::{Actor, CommitId, DeviceId, StageName};
use crate::domain::plan::gate::{Action, Candidate, Judgement, PlanInput, StagePlan, judge};
use crate::domain::plan::ground::Found;
use crate::domain::plan::ownership::{claims_looked_up, owner};
use crate::domain::plan::passes::Passes;
use crate::domain::plan::policy::StagePolicy;
use crate::domain::plan::recovery::{Recovery, recover};
use crate::domain::plan::requires::unmet;
use crate::domain::plan::rollouts::{Contacts, Join};
use crate::domain::plan::staged::{Claimed, Way, way};
use crate::domain::plan::ways::next;
use crate::domain::planted::{Bug, planted};
use crate::domain::spec::SealedSpec;
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a pass reads.
#[derive(Clone, Copy, Debug)]
pub struct PassInput<'a> {
    /// Now.
    pub now: Timestamp,
    /// All stages, least gated first.
    pub stages: &'a [StagePolicy],
    /// What is known.
    pub state: &'a FleetState,
    /// What the commits of the stages mean.
    pub views: &'a BTreeMap<StageName, StageView>,
    /// Who knows when devices were last heard of.
    pub contacts: &'a dyn Contacts,
}

/// What the commits of one stage mean. A stage that could not be read is left out or empty: its last claims stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageView {
    /// The commit that counts.
    pub accepted: Option<Meaning>,
    /// A newer one.
    pub candidate: Option<Candidate>,
}

/// A commit and what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// The commit, and the list of devices where that is not in the commit.
    pub revision: Revision,
    /// What they mean.
    pub desired: Arc<Desired>,
}

impl PassInput<'_> {
    /// What the accepted commit of a stage means, if it has been read.
    ///
    /// A view can be a moment older than the state. Only the meaning of exactly the commit that counts is used, so that a
    /// late view never brings old content back.
    pub fn accepted(&self, stage: &StageName) -> Option<&Arc<Desired>> {
        let counts = self.state.stages.get(stage)?.counts()?;
        let view = self.views.get(stage)?;
        let accepted =
            view.accepted.as_ref().filter(|meaning| meaning.revision == counts || planted(Bug::UseLateViews));
        let candidate = view.candidate.as_ref().filter(|candidate| candidate.revision() == counts);
        accepted.map(|meaning| &meaning.desired).or(candidate.map(|candidate| &candidate.desired))
    }
}

/// How many passes in a row it takes at most until one changes nothing. Each accepts one commit at the most, of at most 64 stages, and
/// what one stage lets go another may take, which changes what is held. What is left waits for the next wake-up.
pub const MAX_PASSES: usize = 96;

/// Which devices a pass looks at. A narrowed pass decides for them exactly what a full pass would: while a commit waits to be
/// judged it is a full pass, because what one device says can change what is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Stages and all devices.
    All,
    /// Only these devices.
    Devices(BTreeSet<DeviceId>),
}

/// What a pass decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PassOutput {
    /// What must be written, in one transaction. Empty if nothing changed.
    pub changes: Vec<Change>,
    /// Stages whose candidate counts from now on.
    pub accepted: BTreeSet<StageName>,
    /// Devices that join rollouts that are under way; what comes of it is among the changes.
    pub(super) joins: Vec<Join>,
}

impl PassOutput {
    /// Devices that were assigned something.
    pub fn assigned(&self) -> impl Iterator<Item = &Arc<Assignment>> {
        self.changes.iter().filter_map(|change| match change {
            Change::Assignment(assignment) => Some(assignment),
            _ => None,
        })
    }
}

/// Decides everything that is to be decided now.
pub fn pass(input: &PassInput<'_>, scope: &Scope) -> PassOutput {
    Passes::default().pass(input, scope)
}

/// What a pass of this scope looks at: everything while a commit waits to be judged.
pub fn widened<'a>(input: &PassInput<'_>, scope: &'a Scope) -> &'a Scope {
    const EVERYTHING: &Scope = &Scope::All;
    if commit_waits(input) { EVERYTHING } else { scope }
}

/// Whether a stage has a commit that does not count yet.
fn commit_waits(input: &PassInput<'_>) -> bool {
    input.views.iter().any(|(stage, view)| {
        let counts = input.state.stages.get(stage).and_then(StageRecord::counts);
        view.candidate.as_ref().is_some_and(|candidate| Some(candidate.revision()) != counts)
    })
}

/// Lets one commit count, if one may; `plan` makes its plan.
pub(super) fn judge_candidates(
    input: &PassInput<'_>,
    accepted: &mut BTreeMap<StageName, Arc<Desired>>,
    output: &mut PassOutput,
    mut plan: impl FnMut(&PlanInput<'_>) -> StagePlan,
) {
    let PassInput { now, stages, state, views, contacts: _ } = *input;
    // One commit at a time: the next pass judges the others by what this one left. Two that were accepted together could hand a
    // device on between them, and what comes of it would be in the plan and the budget of neither. The most gated comes first, so
    // that a new stage never gets by the way what another lets go.
    for policy in stages.iter().rev() {
        let stage = &policy.name;
        let before = state.stages.get(stage);
        let counts = before.and_then(StageRecord::counts);
        let candidate = views.get(stage).and_then(|view| view.candidate.as_ref());
        let Some(candidate) = candidate.filter(|candidate| Some(candidate.revision()) != counts) else {
            // The branch is at the commit that counts: nothing waits any more.
            if let Some(record) = before.filter(|record| record.waiting.is_some())
                && accepted.contains_key(stage)
            {
                output.changes.push(Change::Stage(stage.clone(), StageRecord { waiting: None, ..record.clone() }));
            }
            continue;
        };
        if candidate.base != counts {
            // Read before another commit was accepted; it will be read again.
            continue;
        }
        let event = |kind: &str, message: String| {
            Change::Event(Event {
                at: now,
                actor: Actor::controller(),
                kind: kind.to_owned(),
                subject: stage.to_string(),
                message,
                rollout: None,
            })
        };
        match judge(&PlanInput { policy, stages, state, accepted, candidate }, now, &mut plan) {
            Judgement::Accepted { record, plan, approval } => {
                let count = |action| plan.changes.iter().filter(|change| change.action == action).count();
                let by = approval.as_ref().map(|(_, one)| format!(", approved by {}", one.actor)).unwrap_or_default();
                output.changes.push(event(
                    "Accepted",
                    format!(
                        "commit {} counts{by}; its plan: {} first assignments, {} changes, {} let go, {} unmanaged",
                        candidate.revision().short(),
                        count(Action::Assign),
                        count(Action::Retarget),
                        count(Action::LetGo),
                        count(Action::Unmanage),
                    ),
                ));
                if let Some((digest, _)) = approval {
                    output.changes.push(Change::ApprovalGone(digest));
                }
                output.changes.push(Change::Stage(stage.clone(), record));
                output.accepted.insert(stage.clone());
                accepted.insert(stage.clone(), candidate.desired.clone());
                return;
            }
            Judgement::Waits { record } => {
                if Some(&record) != before {
                    if let Some(waiting) = &record.waiting {
                        output.changes.push(event(
                            "Held",
                            format!("commit {} waits: {}", waiting.revision().short(), show_waiting(&waiting.why)),
                        ));
                    }
                    output.changes.push(Change::Stage(stage.clone(), record));
                }
            }
        }
    }
}

/// One sentence on what keeps a commit from counting.
pub fn show_waiting(why: &WaitingFor) -> String {
    match why {
        WaitingFor::Repair { message } => message.clone(),
        WaitingFor::Approval { reasons, .. } => reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}

/// An approval whose changes are no longer the ones that wait is void.
pub(super) fn drop_void_approvals(input: &PassInput<'_>, output: &mut PassOutput) {
    let written: BTreeMap<&StageName, &StageRecord> = output
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Stage(stage, record) => Some((stage, record)),
            _ => None,
        })
        .collect();
    let void: Vec<Change> = input
        .state
        .approvals
        .iter()
        .filter(|(digest, approval)| {
            let record = written.get(&approval.stage).copied().or_else(|| input.state.stages.get(&approval.stage));
            let waits_for_it =
                record.and_then(|record| record.waiting.as_ref()).is_some_and(|waiting| match &waiting.why {
                    WaitingFor::Approval { digest: wanted, .. } => wanted == *digest,
                    WaitingFor::Repair { .. } => false,
                });
            !waits_for_it && !output.changes.contains(&Change::ApprovalGone(**digest))
        })
        .map(|(digest, _)| Change::ApprovalGone(*digest))
        .collect();
    output.changes.extend(void);
}

/// What counts of each stage, what this pass accepted included.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// The commits.
    pub(super) commits: BTreeMap<StageName, CommitId>,
    /// What they mean, as far as they have been read.
    pub(super) desired: BTreeMap<StageName, Arc<Desired>>,
    /// Which of them go out by rollouts.
    pub(super) staged: BTreeMap<StageName, Staged>,
    /// Devices that a rollout has assigned something in this pass.
    pub(super) taken: BTreeSet<DeviceId>,
}

/// Decides about one device.
pub(super) fn decide_device(input: &PassInput<'_>, counting: &Counting, found: &Found<'_>, output: &mut PassOutput) {
    let PassInput { now, stages, state, .. } = *input;
    let Found { device, record: known, listed } = *found;
    if counting.taken.contains(device) {
        return;
    }
    let unknown;
    let record = match known {
        Some(record) => record,
        None => {
            unknown = DeviceRecord::default();
            &unknown
        }
    };
    let claiming = || {
        let names = stages.iter().map(|policy| &policy.name).zip(listed);
        names.filter(|(stage, listed)| claims_looked_up(stage, listed.map(|one| one.map(Arc::as_ref)), known))
    };
    let mut control = record.control.clone();
    let is_known = |stage: &StageName| record.control.claims.contains(stage);
    if claiming().count() != control.claims.len() || !claiming().all(|(stage, _)| is_known(stage)) {
        Arc::make_mut(&mut control).claims = claiming().map(|(stage, _)| stage.clone()).collect();
    }

    let observed = record.reported.as_ref().and_then(|reported| reported.report.observed.as_ref());
    let mut reissue = false;
    if control.conflict.is_none() {
        match recover(&control, record.assignment.as_deref(), observed, state.epoch(), now) {
            Recovery::None => {}
            Recovery::Settled => Arc::make_mut(&mut control).reissues = 0,
            Recovery::Adopt { floor } => {
                let control = Arc::make_mut(&mut control);
                control.floor = Some(floor);
                reissue = record.assignment.is_some();
                control.reissues += u32::from(reissue);
            }
            Recovery::Conflict(conflict) => {
                output.changes.push(Change::Event(Event {
                    at: now,
                    actor: Actor::controller(),
                    kind: "Conflict".to_owned(),
                    subject: device.to_string(),
                    message: conflict.message.clone(),
                    rollout: None,
                }));
                Arc::make_mut(&mut control).conflict = Some(conflict);
            }
        }
    }

    let mut owner = owner(stages, &control.claims);
    if planted(Bug::AssignUnclaimed) && owner.is_none() {
        let lists = stages.iter().map(|policy| &policy.name).zip(listed);
        owner = lists.filter(|(_, listed)| listed.flatten().is_some()).map(|(stage, _)| stage).next();
    }
    let wanted = owner.and_then(|stage| {
        let commit = counting.commits.get(stage)?;
        let (_, listed) = stages.iter().zip(listed).find(|(policy, _)| policy.name == *stage)?;
        Some((stage, commit, (*listed)??))
    });
    let next = next_content(input, counting, record, &control, device, wanted, reissue, output);
    let assignment = next.map(|next| match next {
        Next::Fresh { stage, commit, spec } => Assignment {
            device: device.clone(),
            soak_secs: stages.iter().find(|policy| policy.name == stage).map_or(0, |policy| policy.soak_secs),
            force: None,
            stage,
            commit,
            order: next_order(state, record, &control),
            attempt: Attempt::FIRST,
            spec,
            rollout: None,
            assigned_at: now,
        },
        // What a rollout offered stays the rollout's.
        Next::Again(current) if current.rollout.is_some() => {
            Assignment { order: next_order(state, record, &control), assigned_at: now, ..Assignment::clone(&current) }
        }
        Next::Again(current) => Assignment {
            soak_secs: stages.iter().find(|policy| policy.name == current.stage).map_or(0, |policy| policy.soak_secs),
            force: None,
            order: next_order(state, record, &control),
            attempt: Attempt::FIRST,
            assigned_at: now,
            ..Assignment::clone(&current)
        },
    });
    // The same value needs no comparison.
    let changed = !Arc::ptr_eq(&control, &record.control) && control != record.control;
    if changed || planted(Bug::WriteAlways) {
        output.changes.push(Change::Control(device.clone(), control));
    }
    if let Some(assignment) = assignment {
        output.changes.push(Change::Assignment(Arc::new(assignment)));
    }
}

/// What a device is to be assigned.
enum Next {
    /// New content of its owner.
    Fresh { stage: StageName, commit: CommitId, spec: SealedSpec },
    /// What it has, once more.
    Again(Arc<Assignment>),
}

/// What a device is to be assigned now, if anything.
#[allow(clippy::too_many_arguments, reason = "each is one thing that decides")]
fn next_content(
    input: &PassInput<'_>,
    counting: &Counting,
    record: &DeviceRecord,
    control: &Control,
    device: &DeviceId,
    wanted: Option<(&StageName, &CommitId, &Arc<DesiredDevice>)>,
    reissue: bool,
    output: &mut PassOutput,
) -> Option<Next> {
    if control.conflict.is_some() || !is_enrolled(record) {
        return None;
    }
    let current = record.assignment.as_deref();
    let fresh = wanted.and_then(|(stage, commit, listed)| {
        let spec = listed.spec.as_ref()?;
        let differs = current.is_none_or(|current| current.spec.digest != spec.digest);
        let free = || {
            hold_on(input.state, device, Some(stage), Some(listed), input.now).is_none()
                && unmet(listed, record).is_empty()
        };
        if !differs || !free() {
            return None;
        }
        let (stage, commit) = (stage.clone(), commit.clone());
        // A stage that is read counts, and what counts is known here.
        let desired = counting.desired.get(&stage)?;
        let claimed = Claimed { stage: &stage, device, listed, record: Some(record) };
        match way(input.state, desired, counting.staged.get(&stage), &commit, &claimed, input.now) {
            Way::AtOnce => {
                let leg = next(listed, record).ok()?;
                Some(Next::Fresh { stage, commit, spec: leg.unwrap_or_else(|| spec.clone()) })
            }
            Way::NotNow => None,
            Way::Joins(rollout) => {
                let content = Arc::new(Content { spec: spec.clone(), commit });
                output.joins.push(Join { rollout, device: device.clone(), content });
                None
            }
        }
    });
    fresh.or_else(|| {
        // What is assigned already is offered again beyond the device's place, whoever owns the device now.
        record.assignment.clone().filter(|_| reissue).map(Next::Again)
    })
}

/// Whether a device may be assigned anything at all.
pub fn is_enrolled(record: &DeviceRecord) -> bool {
    use crate::domain::fleet::IdentityStatus;
    record.identity.as_ref().is_some_and(|identity| match identity.status {
        _ if planted(Bug::AssignStrangers) => true,
        IdentityStatus::Enrolled => true,
        IdentityStatus::Pending | IdentityStatus::Rejected => false,
    })
}

/// What keeps new content from a device although nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldOn {
    /// Who holds what, until when, and why.
    pub message: String,
    /// Since when; `None` if the fleet repo says so.
    pub since: Option<Timestamp>,
    /// How it ends.
    pub hint: String,
}

/// The hold that keeps a device from getting anything new, if there is one: its own, its stage's, the fleet's, the repo's.
pub fn hold_on(
    state: &FleetState,
    device: &DeviceId,
    stage: Option<&StageName>,
    listed: Option<&DesiredDevice>,
    now: Timestamp,
) -> Option<HoldOn> {
    let scopes = [
        Some(HoldScope::Device(device.clone())),
        stage.map(|stage| HoldScope::Stage(stage.clone())),
        Some(HoldScope::Fleet),
    ];
    if planted(Bug::IgnoreHolds) {
        return None;
    }
    for scope in scopes.into_iter().flatten() {
        if let Some(hold) = state.holds.get(&scope).filter(|hold| hold.holds(now)) {
            let until = hold.until.map(|until| format!(" until {until}")).unwrap_or_default();
            return Some(HoldOn {
                message: format!("held ({scope}) by {}{until}: {}", hold.actor, hold.reason),
                since: Some(hold.since),
                hint: format!("`bellwether resume {scope}` ends it early"),
            });
        }
    }
    let hold = listed?.hold.as_ref()?;
    let message = match hold.until {
        Some(until) if until <= now => return None,
        Some(until) => format!("held in the fleet repo until {until}: {}", hold.reason),
        None => format!("held in the fleet repo: {}", hold.reason),
    };
    Some(HoldOn { message, since: None, hint: format!("take `hold` away; `bellwether why {device} hold` shows where") })
}

/// The place of the next assignment: beyond everything that was assigned and that the device was ever seen at.
pub(crate) fn next_order(state: &FleetState, record: &DeviceRecord, control: &Control) -> Order {
    let known = record.assignment.as_ref().map(|assignment| assignment.order).max(control.floor);
    match known {
        None => Order { epoch: state.epoch(), generation: Generation::FIRST },
        Some(known) if planted(Bug::ReuseGeneration) => known,
        // The generation goes on counting in a new epoch, so that it only ever grows.
        Some(known) => Order { epoch: state.epoch().max(known.epoch), generation: known.generation.next() },
    }
}
