//! What must hold of rollouts after every transaction, counted apart from the functions that it checks.

pub mod late;
pub mod members;

use crate::controller::{Cause, Written};
use crate::oracle::{Broken, hold};
use bellwether::domain::assignment::Assignment;
use bellwether::domain::digest::Digest;
use bellwether::domain::fleet::{Change, FleetState, HoldScope, RolloutChange, RolloutRecord};
use bellwether::domain::ids::DeviceId;
use bellwether::domain::rollout::machine::member::{Exposure, Noted, Timing};
use bellwether::domain::rollout::machine::{Phase, Status, StepStatus};
use bellwether::domain::rollout::policy::OnInsufficient;
use bellwether::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

pub const EXPOSURE: &str = "no more devices are offered a release than the window of its step allows";
pub const BUDGET: &str = "no more devices of a site are taken at once than the budget allows";
pub const EMPTY: &str = "no step passes by being empty";
pub const UNMET: &str = "no step passes whose gate is not met";
pub const QUARANTINE: &str = "what went wrong is not assigned again";
pub const SERVED: &str = "what was stopped is not handed to a device that slept through it";
pub const STANDS_STILL: &str = "a rollout that does not go on offers nothing";
pub const HELD_BACK: &str = "no rollout assigns anything to a held device";
pub const AROUND: &str = "devices that follow a policy get nothing around their rollouts";
pub const VERSIONS: &str = "every version of a rollout follows the one before it";
pub const SETTLES: &str = "everybody has the last good release once nothing goes wrong";
pub const GOES_ON: &str = "a rollout that is not done says what it waits for";
const RESTS: &str = "nothing is decided at rest";

type Held = Result<(), Broken>;

/// What the checks remember.
#[derive(Default)]
pub struct Oracle {
    /// Since when everybody follows a policy.
    pub policies_from: Option<Timestamp>,
    /// The site of each device.
    pub sites: BTreeMap<DeviceId, String>,
    /// Whether nothing may happen any more.
    pub rests: bool,
    /// When each device last reached the controller.
    pub heard: BTreeMap<DeviceId, Timestamp>,
    /// When devices that came late were offered something, by rollout.
    pub caught_up: BTreeMap<String, Vec<Timestamp>>,
}

impl Oracle {
    /// A device is handed an assignment that it has not acknowledged.
    pub fn handed(&self, assignment: &Assignment, state: &FleetState) -> Held {
        let Some(name) = &assignment.rollout else { return Ok(()) };
        let Some(record) = state.rollouts.get(name.as_str()) else {
            hold!(false, SERVED, "{} was handed what {name} offered, which nobody knows", assignment.device);
            return Ok(());
        };
        let goes_on = matches!(record.head.status, Status::Active | Status::Done { .. });
        let acknowledged = record.members.get(&assignment.device).is_some_and(|one| one.phase.is_acknowledged());
        let back = goes_back(record, assignment);
        hold!(
            goes_on || back || acknowledged,
            SERVED,
            "{} was handed {} of {name}, which is {}",
            assignment.device,
            assignment.spec.digest.short(),
            record.head.status
        );
        Ok(())
    }

    /// Checks one transaction.
    pub fn wrote(&mut self, written: &Written, now: Timestamp) -> Held {
        let Written { before, after, changes, cause, .. } = written;
        let mut heads: BTreeMap<&str, u64> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Rollout(name, RolloutChange::Head { version, .. }) => {
                    let known = before.rollouts.get(name).map_or(0, |record| record.version);
                    hold!(*version == known + 1, VERSIONS, "{name}: version {version} after {known}");
                    hold!(heads.insert(name.as_str(), *version).is_none(), VERSIONS, "{name} is written twice");
                    if let (Some(was), Some(is)) = (before.rollouts.get(name), after.rollouts.get(name)) {
                        let (then, now_at) = (&was.head, &is.head);
                        let same = then.current == now_at.current && then.status == now_at.status;
                        hold!(!self.rests || same, RESTS, "{name} was {}, and is {}", then.status, now_at.status);
                        steps_passed(was, is)?;
                        released(is, now)?;
                        members::clock_stands(was, is, now)?;
                    }
                    after.rollouts.get(name).map_or(Ok(()), members::sites_together)?;
                }
                Change::Rollout(name, RolloutChange::Member(device, member)) => {
                    members::gives_slot_back(device, member)?;
                    let was = before.rollouts.get(name).and_then(|record| record.members.get(device));
                    if let Some(record) = after.rollouts.get(name) {
                        self.lost(record, device, was.map(|was| &**was), member, now)?;
                    }
                }
                Change::Assignment(assignment) => {
                    hold!(!self.rests, RESTS, "{} is assigned {}", assignment.device, assignment.order);
                    if *cause != Cause::Act {
                        self.assigned(assignment, before, after, now)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn assigned(&mut self, assignment: &Assignment, before: &FleetState, after: &FleetState, now: Timestamp) -> Held {
        let (device, digest) = (&assignment.device, assignment.spec.digest);
        let had = before.devices.get(device).and_then(|record| record.assignment.as_ref());
        let Some(name) = &assignment.rollout else {
            let is_ground = after
                .rollouts
                .values()
                .any(|record| record.members.get(device).is_some_and(|member| member.ground() == Some(digest)));
            let again = had.is_some_and(|had| had.spec.digest == digest);
            // A newcomer gets what counts at once where nothing of it goes out step by step.
            let goes_out =
                |one: &RolloutRecord| one.head.is_under_way() && !matches!(one.head.status, Status::Done { .. });
            let first = had.is_none() && !before.rollouts.values().any(goes_out);
            let free = self.policies_from.is_none() || is_ground || again || first;
            hold!(free, AROUND, "{device} was assigned {} without a rollout", digest.short());
            return Ok(());
        };
        let Some(record) = after.rollouts.get(name.as_str()) else {
            hold!(false, AROUND, "{device} was assigned something by {name}, which nobody knows");
            return Ok(());
        };
        let held = before.holds.get(&HoldScope::Device(device.clone())).is_some_and(|hold| hold.holds(now));
        hold!(!held, HELD_BACK, "{name} assigned {device} {}", digest.short());
        if goes_back(record, assignment) {
            let good = before.rollouts.values().find(|other| is_bad(other, device, digest));
            hold!(good.is_none(), QUARANTINE, "{device} goes back to {}, which went wrong", digest.short());
            return Ok(());
        }
        let status = &record.head.status;
        let was = before.rollouts.get(name.as_str()).map(|record| &record.head.status);
        let stood = matches!((was, status), (Some(Status::Paused { .. }), Status::Paused { .. }));
        // One that fails in the same transaction may have offered it a moment before; it is not handed out then.
        let ended = was.is_some_and(|was| std::mem::discriminant(was) == std::mem::discriminant(status))
            && !matches!(status, Status::Active | Status::Done { .. } | Status::Paused { .. });
        hold!(!stood && !ended, STANDS_STILL, "{name} is {status} and offered {device} {}", digest.short());
        let others = before.rollouts.values().filter(|other| other.head.name != record.head.name);
        let bad = others.filter(|other| is_bad(other, device, digest)).map(|other| &other.head.name).next();
        hold!(bad.is_none(), QUARANTINE, "{device} was assigned {} again, which went wrong in {bad:?}", digest.short());
        self.came_late(record, before.rollouts.get(name.as_str()), device, now)?;
        self.within_budgets(record, device, after)
    }
}

/// Whether a device is given back what it had.
fn goes_back(record: &RolloutRecord, assignment: &Assignment) -> bool {
    let member = record.members.get(&assignment.device);
    member.is_some_and(|member| {
        member.previous == Some(assignment.spec.digest) && member.target != assignment.spec.digest
    })
}

/// Whether content went wrong in a rollout that meant it for the device, and nobody has gone on with it since.
fn is_bad(record: &RolloutRecord, device: &DeviceId, digest: Digest) -> bool {
    let ended_badly = matches!(
        record.head.status,
        Status::Error { .. } | Status::Aborted { .. } | Status::RollingBack { .. } | Status::RolledBack { .. }
    );
    let is_target = record.members.get(device).is_some_and(|member| member.target == digest);
    ended_badly && is_target && record.head.lifted.is_none()
}

/// A step that passes has devices, and its gate is met by what became of them.
fn steps_passed(was: &RolloutRecord, is: &RolloutRecord) -> Held {
    let name = &is.head.name;
    for (number, (before, after)) in was.head.steps.iter().zip(&is.head.steps).enumerate() {
        if before.status == StepStatus::Passed || after.status != StepStatus::Passed {
            continue;
        }
        let of_step = is.members.values().filter(|member| member.step.map(|step| step as usize) == Some(number));
        let (mut members, mut ok, mut bad) = (0_u64, 0_u64, 0_u64);
        for member in of_step.filter(|member| member.timing == Timing::InTime) {
            match &member.phase {
                Phase::Excluded { .. } => {}
                Phase::Bad { .. } if member.note == Noted::Acknowledged => {}
                Phase::Bad { .. } => (members, bad) = (members + 1, bad + 1),
                Phase::Succeeded { .. } => (members, ok) = (members + 1, ok + 1),
                _ => members += 1,
            }
        }
        let last = number + 1 == is.head.steps.len();
        let tried = is.head.steps[..number].iter().any(|step| step.counts.members > 0);
        hold!(members > 0 || last || tried, EMPTY, "step {number} of {name} passed with nobody in it");
        let gate = is.head.policy.step(number).gate;
        let (reports, success) = (u64::from(gate.min_reports.count()), u64::from(gate.min_success.count()));
        let reported = ok + bad;
        let advances = last && is.head.policy.last.on_insufficient_reports == OnInsufficient::Advance;
        let enough = members == 0 || advances || (reported > 0 && reported * 10_000 >= reports * members);
        hold!(enough, UNMET, "step {number} of {name} passed with {reported} reports of {members}");
        let good = reported == 0 || ok * 10_000 >= success * reported;
        hold!(good, UNMET, "step {number} of {name} passed with {ok} of {reported} well");
    }
    Ok(())
}

/// No more were offered it than had their turn by now, had the step never stood still.
fn released(record: &RolloutRecord, now: Timestamp) -> Held {
    let head = &record.head;
    let Some(step) = head.steps.get(head.current) else { return Ok(()) };
    let (Some(started), StepStatus::Running | StepStatus::Soaking) = (step.started, step.status) else { return Ok(()) };
    let of_step = record.members.iter().filter(|(_, member)| {
        member.step.map(|step| step as usize) == Some(head.current) && member.timing == Timing::InTime
    });
    // A site comes when the first of its devices does, and counts once.
    let units = of_step.map(|(device, member)| {
        let unit = member.site.as_deref().map_or_else(|| (1, device.as_str()), |site| (0, site));
        (unit, member.exposure != Exposure::None)
    });
    let units: BTreeSet<((u8, &str), bool)> = units.collect();
    let offered = units.iter().filter(|(_, offered)| *offered).count();
    let members = units.iter().map(|(unit, _)| unit).collect::<BTreeSet<_>>().len();
    let members = i64::try_from(members).unwrap_or(i64::MAX);
    let window = i64::from(head.policy.step(head.current).window_secs) * 1000;
    let passed = now.millis() - started.millis();
    if passed < window {
        let most = (2 * passed * members + window) / (2 * window);
        let step = head.current;
        hold!(
            i64::try_from(offered).is_ok_and(|offered| offered <= most),
            EXPOSURE,
            "{} of {members} devices of step {step} of {} were offered it after {passed} of {window} ms: {most} may",
            offered,
            head.name
        );
    }
    Ok(())
}

impl Oracle {
    /// The site of a device has no more devices at work than it may.
    fn within_budgets(&self, record: &RolloutRecord, device: &DeviceId, after: &FleetState) -> Held {
        let Some(mine) = self.sites.get(device) else { return Ok(()) };
        let group = u32::try_from(self.sites.values().filter(|one| *one == mine).count()).unwrap_or(u32::MAX);
        for budget in &record.head.policy.budgets {
            let Some(most) = budget.max_unavailable.map(|most| most.floor_of(group)) else { continue };
            let under_way = after.rollouts.values().filter(|one| one.head.is_under_way());
            let taken = under_way.flat_map(|one| one.members.iter());
            let taken = taken.filter(|(one, member)| members::is_at_work(member) && self.sites.get(*one) == Some(mine));
            let taken: Vec<&DeviceId> = taken.map(|(device, _)| device).collect();
            hold!(
                u32::try_from(taken.len()).is_ok_and(|taken| taken <= most),
                BUDGET,
                "{device} of {mine} was taken, and {taken:?} are: {most} may be"
            );
        }
        Ok(())
    }
}
