//! What must hold after every event, worked out apart from the functions that it checks.

mod devices;

use crate::controller::{Cause, Written};
use bellwether::domain::assignment::{Assignment, Mark};
use bellwether::domain::desired::{Branch, Desired};
use bellwether::domain::digest::Digest;
use bellwether::domain::fleet::{Change, FleetState, HoldScope, IdentityStatus};
use bellwether::domain::generation::Order;
use bellwether::domain::ids::{CommitId, DeviceId, ObjectId, StageName};
use bellwether::domain::plan::pass::Scope;
use bellwether::domain::plan::policy::StagePolicy;
use bellwether::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something that must hold does not.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The rule.
    pub rule: &'static str,
    /// How it is broken.
    pub message: String,
}

type Held = Result<(), Broken>;

/// Fails a rule unless a condition holds.
macro_rules! hold {
    ($condition:expr, $rule:expr, $($message:tt)*) => {
        if !$condition {
            return Err(Broken { rule: $rule, message: format!($($message)*) });
        }
    };
}
pub(crate) use hold;

pub const LEDGER_GROWS: &str = "a ledger never goes back";
pub const ONE_CONTENT: &str = "one place has one content";
pub const ASSIGNED_ONLY: &str = "a device accepts only what it was assigned";
pub const LEDGER_FIRST: &str = "the ledger comes before the action";
pub const TOLD_FIRST: &str = "what is found is told before it is mended";
pub const IMAGES_FIRST: &str = "all images are there before the first service stops";
pub const LOCKS: &str = "a service whose lock is held is not stopped";
pub const GOOD: &str = "what keeps ending is never good";
pub const WENT_BACK: &str = "what failed for good is not tried again at the same attempt";
pub const LEFT_ALONE: &str = "a device that has everything is left alone";
pub const VOLUMES_STAY: &str = "volumes are never removed";
pub const CLAIMS: &str = "claims follow the accepted commits";
pub const OWNER: &str = "the most gated claim owns a device";
pub const CLAIMED_ONLY: &str = "a device that nobody claims keeps what it has";
pub const ENROLLED_ONLY: &str = "only enrolled devices are assigned anything";
pub const HOLDS: &str = "a held device is assigned nothing new";
pub const CONFLICTS: &str = "a device in conflict is left to people";
pub const CONTENT: &str = "what is assigned is what the owner's accepted commit says";
pub const PLACES_GROW: &str = "places only grow";
pub const PUSHED_ONLY: &str = "only commits of the branch count";
pub const BROKEN_COMMITS: &str = "a broken commit never counts";
pub const REWRITES: &str = "a rewritten branch waits for a person";
pub const NEW_STAGES: &str = "a new stage takes nothing from others without a person";
pub const DELETION_BUDGET: &str = "no more devices are let go than the budget allows";
pub const BLAST_RADIUS: &str = "no more devices are changed at once than the limit allows";
pub const NO_IDLE_WRITES: &str = "a pass that changes nothing writes nothing";
pub const STALE_REPORTS: &str = "stale reports change nothing";
pub const AT_MOST_ONCE: &str = "an action of an operator is begun at most once";
pub const DRIFT: &str = "drift is never shown as in sync";

/// A commit that somebody pushed.
pub struct Pushed {
    pub tree: ObjectId,
    pub parents: Vec<CommitId>,
    pub desired: Arc<Desired>,
    /// The branches that have pointed at it.
    pub branches: BTreeSet<StageName>,
}

/// What the checks remember.
pub struct Oracle {
    pub stages: Vec<StagePolicy>,
    pub commits: BTreeMap<CommitId, Pushed>,
    pub accepted: BTreeMap<StageName, CommitId>,
    pub claims: BTreeMap<DeviceId, BTreeSet<StageName>>,
    /// Devices that a stage let go since a person last approved a commit of it.
    released: BTreeMap<StageName, BTreeSet<DeviceId>>,
    /// What people approved: stage, digest, and the tree that waited.
    pub approved: BTreeSet<(StageName, Digest, ObjectId)>,
    /// The newest assignment of each device.
    assigned: BTreeMap<DeviceId, Mark>,
    /// Everything that a device was ever assigned.
    ever: BTreeMap<DeviceId, BTreeSet<(Order, Digest)>>,
    /// The newest place of each ledger.
    ledgers: BTreeMap<DeviceId, Mark>,
    /// The newest report of each device's key.
    reports: BTreeMap<DeviceId, (Digest, u64, u64)>,
    /// Actions that were begun, by device, hardware and number.
    begun: BTreeSet<(DeviceId, u64, u64)>,
}

impl Oracle {
    /// Nothing has happened.
    pub fn new(stages: Vec<StagePolicy>) -> Self {
        Self {
            stages,
            commits: BTreeMap::new(),
            accepted: BTreeMap::new(),
            claims: BTreeMap::new(),
            released: BTreeMap::new(),
            approved: BTreeSet::new(),
            assigned: BTreeMap::new(),
            ever: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            reports: BTreeMap::new(),
            begun: BTreeSet::new(),
        }
    }

    /// The controller starts from what its store has. From an older backup, places may be behind.
    pub fn load(&mut self, state: &FleetState) {
        self.accepted =
            state.stages.iter().filter_map(|(stage, record)| Some((stage.clone(), record.accepted.clone()?))).collect();
        self.released = state.stages.iter().map(|(stage, record)| (stage.clone(), record.unmanaged.clone())).collect();
        self.claims =
            state.devices.iter().map(|(device, record)| (device.clone(), record.control.claims.clone())).collect();
        self.assigned.clear();
        self.reports.clear();
        for (device, record) in &state.devices {
            if let Some(assignment) = &record.assignment {
                self.remember(device, assignment);
            }
            if let (Some(reported), Some(identity)) = (&record.reported, &record.identity) {
                let freshness = &reported.freshness;
                self.reports.insert(device.clone(), (identity.key_hash, freshness.start, freshness.seq));
            }
        }
    }

    fn remember(&mut self, device: &DeviceId, assignment: &Assignment) {
        let mark = assignment.mark();
        self.assigned.insert(device.clone(), mark);
        self.ever.entry(device.clone()).or_default().insert((mark.order, mark.digest));
    }

    /// The device's hardware was replaced: its ledger begins anew.
    pub fn forget_ledger(&mut self, device: &DeviceId) {
        self.ledgers.remove(device);
    }

    /// What a stage's accepted commit means.
    pub fn meaning(&self, stage: &StageName) -> Option<&Arc<Desired>> {
        Some(&self.commits.get(self.accepted.get(stage)?)?.desired)
    }

    /// The stage that owns a device: the most gated one that claims it.
    pub fn owner(&self, device: &DeviceId) -> Option<&StageName> {
        let claims = self.claims.get(device)?;
        self.stages.iter().rev().map(|policy| &policy.name).find(|stage| claims.contains(*stage))
    }

    fn evaluate(&mut self, device: &DeviceId, state: &FleetState, read: &BTreeSet<StageName>) {
        let reported = state.devices.get(device).and_then(|record| record.reported.as_ref());
        let choice = reported.and_then(|reported| reported.report.branch.clone());
        for policy in &self.stages {
            let stage = &policy.name;
            if !read.contains(stage) {
                continue;
            }
            let Some(desired) = self.accepted.get(stage).and_then(|commit| self.commits.get(commit)) else { continue };
            let claims = match desired.desired.devices.get(device).map(|listed| &listed.branch) {
                None | Some(Branch::Unset) => false,
                Some(Branch::Stage(branch)) => branch == stage,
                Some(Branch::FromDevice { allowed }) => allowed.contains(stage) && choice.as_ref() == Some(stage),
                Some(Branch::Unknown) => continue,
            };
            let all = self.claims.entry(device.clone()).or_default();
            if claims {
                all.insert(stage.clone());
            } else {
                all.remove(stage);
            }
        }
    }

    fn contains(&self, newer: &CommitId, older: &CommitId) -> bool {
        let mut waiting = vec![newer];
        let mut seen = BTreeSet::new();
        while let Some(commit) = waiting.pop() {
            if commit == older {
                return true;
            }
            let parents = self.commits.get(commit).map(|pushed| pushed.parents.as_slice()).unwrap_or_default();
            waiting.extend(parents.iter().filter(|parent| seen.insert((*parent).clone())));
        }
        false
    }

    /// Checks one transaction of the controller.
    pub fn wrote(&mut self, written: &Written, now: Timestamp) -> Held {
        match &written.cause {
            Cause::Pass(scope) => self.passed(written, scope, now),
            Cause::Report { device, start, seq } => self.recorded(written, device, *start, *seq, now),
            Cause::Enroll | Cause::Act | Cause::Ask => Ok(()),
        }
    }

    fn recorded(&mut self, written: &Written, device: &DeviceId, start: u64, seq: u64, now: Timestamp) -> Held {
        let key = written.after.devices.get(device).and_then(|record| record.identity.as_ref()).map(|one| one.key_hash);
        let Some(key) = key else {
            hold!(false, ENROLLED_ONLY, "a report of {device} was recorded without an identity");
            return Ok(());
        };
        let records = written.changes.iter().any(|change| matches!(change, Change::Reported(..)));
        if records {
            let newest = self.reports.get(device).filter(|known| known.0 == key).map(|known| (known.1, known.2));
            hold!(newest < Some((start, seq)), STALE_REPORTS, "{device}: {start}.{seq} was recorded after {newest:?}");
            self.reports.insert(device.clone(), (key, start, seq));
        }
        let Some(record) = written.after.devices.get(device) else { return Ok(()) };
        let (Some(assignment), Some(reported)) = (&record.assignment, &record.reported) else { return Ok(()) };
        self.drifts(assignment, &reported.report, now)
    }

    fn passed(&mut self, written: &Written, scope: &Scope, now: Timestamp) -> Held {
        no_idle_changes(written)?;
        let claimed_before = self.claims.clone();
        let newly = self.accept(written)?;
        let Written { before, after, changes, read, .. } = written;
        let devices: Vec<DeviceId> = match scope {
            Scope::Devices(devices) => devices.iter().cloned().collect(),
            Scope::All => {
                let meanings = self.accepted.values().filter_map(|commit| self.commits.get(commit));
                let listed = meanings.flat_map(|pushed| pushed.desired.devices.keys());
                let all: BTreeSet<&DeviceId> = listed.chain(after.devices.keys()).collect();
                all.into_iter().cloned().collect()
            }
        };
        let mut read = read.clone();
        read.extend(newly.keys().cloned());
        for device in &devices {
            self.evaluate(device, before, &read);
            let claims = after.devices.get(device).map(|record| record.control.claims.clone()).unwrap_or_default();
            let wanted = self.claims.get(device).cloned().unwrap_or_default();
            hold!(claims == wanted, CLAIMS, "{device} is claimed by {claims:?}, the commits say {wanted:?}");
        }
        let assignments: Vec<&Arc<Assignment>> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Assignment(assignment) => Some(assignment),
                _ => None,
            })
            .collect();
        self.budgets(&newly, &claimed_before, before, &assignments)?;
        for assignment in assignments {
            self.assigns(assignment, written, now)?;
            self.remember(&assignment.device, assignment);
        }
        Ok(())
    }

    /// Stages whose accepted commit changes, and whether a person approved it.
    fn accept(&mut self, written: &Written) -> Result<BTreeMap<StageName, ByPerson>, Broken> {
        let mut newly = BTreeMap::new();
        for change in &written.changes {
            let Change::Stage(stage, record) = change else { continue };
            let before = written.before.stages.get(stage).and_then(|record| record.accepted.clone());
            let Some(commit) = record.accepted.clone().filter(|commit| Some(commit) != before.as_ref()) else {
                continue;
            };
            let pushed = self.commits.get(&commit).filter(|pushed| pushed.branches.contains(stage));
            let Some(pushed) = pushed else {
                hold!(false, PUSHED_ONLY, "{} was never on {stage}", commit.short());
                continue;
            };
            hold!(pushed.desired.rejection().is_none(), BROKEN_COMMITS, "{} counts for {stage}", commit.short());
            let by_person = written.changes.iter().any(|change| match change {
                Change::ApprovalGone(digest) => self.approved.contains(&(stage.clone(), *digest, pushed.tree.clone())),
                _ => false,
            });
            let by_person = if by_person { ByPerson::Approved } else { ByPerson::No };
            if let Some(before) = &before {
                let extends = self.contains(&commit, before);
                hold!(
                    extends || by_person == ByPerson::Approved,
                    REWRITES,
                    "{} does not contain {} and counts for {stage}",
                    commit.short(),
                    before.short()
                );
            }
            self.accepted.insert(stage.clone(), commit);
            newly.insert(stage.clone(), by_person);
        }
        Ok(newly)
    }

    /// What the commits that count from now on do to devices stays within the limits, or a person approved it.
    fn budgets(
        &mut self,
        newly: &BTreeMap<StageName, ByPerson>,
        claimed_before: &BTreeMap<DeviceId, BTreeSet<StageName>>,
        before: &FleetState,
        assignments: &[&Arc<Assignment>],
    ) -> Held {
        let none = BTreeSet::new();
        let claimed_now = |device: &DeviceId| self.claims.get(device).unwrap_or(&none);
        for policy in &self.stages {
            let stage = &policy.name;
            let Some(by_person) = newly.get(stage) else { continue };
            let count = self.claims.values().filter(|claims| claims.contains(stage)).count();
            // Commits are judged one after the other: whoever let go last is the one that nobody else covered.
            let last = |claims: &BTreeSet<StageName>| {
                let mut letting_go = self.stages.iter().rev().map(|policy| &policy.name);
                letting_go.find(|name| newly.contains_key(*name) && claims.contains(*name)) == Some(stage)
            };
            let let_go: BTreeSet<DeviceId> = claimed_before
                .iter()
                .filter(|(device, claims)| last(claims) && claimed_now(device).is_empty())
                .map(|(device, _)| device.clone())
                .collect();
            let all = self.released.entry(stage.clone()).or_default();
            if *by_person == ByPerson::Approved {
                all.clear();
                continue;
            }
            all.retain(|device| self.claims.get(device).is_none_or(BTreeSet::is_empty));
            all.extend(let_go.iter().cloned());
            let allowed = policy.deletion_budget.of(claimed_before.len());
            hold!(
                let_go.is_empty() || (all.len() <= allowed && count > 0),
                DELETION_BUDGET,
                "{stage} let go of {let_go:?}, {} since the last approval, and {count} are left; {allowed} may go",
                all.len()
            );
            self.changes_at_once(policy, newly, claimed_before, before, assignments, count)?;
        }
        Ok(())
    }

    fn changes_at_once(
        &self,
        policy: &StagePolicy,
        newly: &BTreeMap<StageName, ByPerson>,
        claimed_before: &BTreeMap<DeviceId, BTreeSet<StageName>>,
        before: &FleetState,
        assignments: &[&Arc<Assignment>],
        count: usize,
    ) -> Held {
        let stage = &policy.name;
        let was_new = before.stages.get(stage).is_none_or(|record| record.accepted.is_none());
        let mut changed = BTreeSet::new();
        for assignment in assignments {
            let device = &assignment.device;
            let had = before.devices.get(device).and_then(|record| record.assignment.as_ref());
            if had.is_none_or(|had| had.spec.digest == assignment.spec.digest) {
                continue;
            }
            let owned_it = claimed_before.get(device).is_some_and(|claims| {
                self.stages.iter().rev().map(|policy| &policy.name).find(|name| claims.contains(*name)) == Some(stage)
            });
            if assignment.stage == *stage {
                hold!(!was_new, NEW_STAGES, "{stage} is new and took {device}");
                changed.insert(device);
            } else if owned_it && !newly.contains_key(&assignment.stage) {
                // It was handed to another stage, whose content it gets.
                changed.insert(device);
            }
        }
        let repo = self.meaning(stage).and_then(|desired| desired.limits.max_unstaged);
        let own = policy.max_unstaged.of(count);
        let allowed = repo.map_or(own, |repo| repo.min(own));
        hold!(changed.len() <= allowed, BLAST_RADIUS, "{stage} changed {changed:?} at once; {allowed} may be");
        Ok(())
    }

    fn assigns(&self, assignment: &Assignment, written: &Written, now: Timestamp) -> Held {
        let device = &assignment.device;
        let Some(record) = written.before.devices.get(device) else {
            hold!(false, ENROLLED_ONLY, "{device} is not known");
            return Ok(());
        };
        let status = record.identity.as_ref().map(|identity| identity.status);
        hold!(status == Some(IdentityStatus::Enrolled), ENROLLED_ONLY, "{device} is {status:?}");
        let conflict = written.after.devices.get(device).and_then(|record| record.control.conflict.as_ref());
        hold!(conflict.is_none(), CONFLICTS, "{device} was assigned {} in {conflict:?}", assignment.order);
        if let Some(before) = self.assigned.get(device) {
            hold!(
                assignment.order > before.order,
                PLACES_GROW,
                "{device}: {} after {}",
                assignment.order,
                before.order
            );
        }
        let observed = record.reported.as_ref().and_then(|reported| reported.report.observed);
        if let Some(observed) = observed {
            hold!(
                assignment.order > observed.order,
                PLACES_GROW,
                "{device} is at {} and was assigned {}",
                observed.order,
                assignment.order
            );
        }
        let had = record.assignment.as_ref();
        if had.is_some_and(|had| had.spec.digest == assignment.spec.digest) {
            let behind = observed
                .is_some_and(|observed| had.is_some_and(|had| observed.order >= had.order && observed != had.mark()));
            hold!(behind, CONTENT, "{device} was assigned once more what it had, at {}", assignment.order);
            return Ok(());
        }
        let Some(owner) = self.owner(device) else {
            hold!(false, CLAIMED_ONLY, "{device} was assigned {} by {}", assignment.order, assignment.stage);
            return Ok(());
        };
        hold!(*owner == assignment.stage, OWNER, "{device} belongs to {owner}; {} assigned it", assignment.stage);
        let listed = self.meaning(owner).and_then(|desired| desired.devices.get(device));
        let wanted = listed.and_then(|listed| listed.spec.as_ref()).map(|spec| spec.digest);
        hold!(
            wanted == Some(assignment.spec.digest) && self.accepted.get(owner) == Some(&assignment.commit),
            CONTENT,
            "{device} was assigned {} of {}; {owner} says {wanted:?}",
            assignment.spec.digest.short(),
            assignment.commit.short()
        );
        hold!(!self.is_held(&written.before, device, now), HOLDS, "{device} was assigned {}", assignment.order);
        Ok(())
    }

    /// Whether anybody holds a device.
    pub fn is_held(&self, state: &FleetState, device: &DeviceId, now: Timestamp) -> bool {
        let owner = self.owner(device);
        let by_person = state.holds.iter().any(|(scope, hold)| {
            let concerns = match scope {
                HoldScope::Fleet => true,
                HoldScope::Stage(stage) => Some(stage) == owner,
                HoldScope::Device(held) => held == device,
            };
            concerns && hold.until.is_none_or(|until| now < until)
        });
        let listed = owner.and_then(|owner| self.meaning(owner)).and_then(|desired| desired.devices.get(device));
        let in_repo = listed.and_then(|listed| listed.hold.as_ref());
        by_person || in_repo.is_some_and(|hold| hold.until.is_none_or(|until| now < until))
    }
}

/// Whether a person approved a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByPerson {
    Approved,
    No,
}

/// Every change of a pass changes something.
fn no_idle_changes(written: &Written) -> Held {
    let Written { before, changes, .. } = written;
    for change in changes {
        let idle = match change {
            Change::Control(device, control) => {
                let known = before.devices.get(device).map(|record| &record.control);
                known.cloned().unwrap_or_default() == *control
            }
            Change::Stage(stage, record) => before.stages.get(stage) == Some(record),
            Change::ApprovalGone(digest) => !before.approvals.contains_key(digest),
            _ => false,
        };
        hold!(!idle, NO_IDLE_WRITES, "{change:?}");
    }
    let only_words = changes.iter().all(|change| matches!(change, Change::Event(_)));
    hold!(!only_words, NO_IDLE_WRITES, "a pass wrote only {changes:?}");
    Ok(())
}
