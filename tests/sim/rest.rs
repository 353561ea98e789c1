//! What must come true once nothing goes wrong any more.

use crate::oracle::{Broken, hold};
use crate::world::World;
use bellwether::domain::drift::{DriftInput, Verdict, drift};
use bellwether::domain::ids::{DeviceId, StageName};
use bellwether::domain::plan::pass::{PassInput, Scope, pass};
use bellwether::domain::spec::OsSpec;

/// Everything converges.
pub const CONVERGES: &str = "everything converges once nothing goes wrong";
/// Rest is rest.
pub const RESTS: &str = "nothing is written and nothing is done at rest";
/// A pass over everything finds nothing.
pub const COMPLETE: &str = "no wake-up was missed";

/// How long convergence may take, in milliseconds. The longest back-offs are 15 minutes for work and 5 for the network; a device
/// may need two of each.
const CONVERGE_MILLIS: i64 = 60 * 60_000;
/// How often it is looked whether everything has converged.
const CONVERGE_STEP_MILLIS: i64 = 15_000;
/// How long the last of what happened may be remembered: time-outs of calls, the longest back-off of the network, and for ten
/// minutes how often a container ended, with the minute of health after it that an OS on trial waits for.
const LINGER_MILLIS: i64 = 13 * 60_000;
/// How long rest is watched.
const REST_MILLIS: i64 = 5 * 60_000;

impl World {
    /// Waits until everything has converged, then watches the rest.
    pub fn come_to_rest(&mut self) -> Result<(), Broken> {
        self.converge_until(self.now + CONVERGE_MILLIS)?;
        // A hold that ends by itself is news when it ends, and so is an action that nobody did in time: a device whose clock is far
        // ahead believes no list with it until then.
        if let Some(end) = self.last_end().filter(|end| *end > self.now) {
            self.run_until(end + CONVERGE_STEP_MILLIS)?;
            self.converge_until(self.now + CONVERGE_MILLIS)?;
        }
        // Calls that were lost still end, and who waits longest for the next one tells the controller that it was missed.
        self.run_until(self.now + LINGER_MILLIS)?;
        let (transactions, acts) = (self.controller.store.counts().transactions, self.acts);
        self.run_until(self.now + REST_MILLIS)?;
        self.converged()?;
        let written = self.controller.store.counts().transactions - transactions;
        hold!(written == 0, RESTS, "{written} transactions were written");
        hold!(self.acts == acts, RESTS, "{} actions were taken", self.acts - acts);
        Ok(())
    }

    fn converge_until(&mut self, deadline: i64) -> Result<(), Broken> {
        loop {
            self.run_until(self.now + CONVERGE_STEP_MILLIS)?;
            let Err(lacks) = self.converged() else { return Ok(()) };
            if self.now >= deadline {
                return Err(lacks);
            }
        }
    }

    /// When the last of what ends by itself ends: holds with an end, and actions that still wait for their device.
    fn last_end(&self) -> Option<i64> {
        let state = &self.controller.process.as_ref()?.state;
        let holds = state.holds.values().filter_map(|hold| hold.until);
        let now = self.clock();
        let records = state.devices.values().filter_map(|record| record.actions.as_ref());
        let actions = records.flat_map(|actions| actions.open(now)).map(|action| action.expires);
        holds.chain(actions).map(|end| end.millis()).max()
    }

    /// Lets everything happen that happens until then.
    pub fn run_until(&mut self, then: i64) -> Result<(), Broken> {
        while self.next_at().is_some_and(|at| at <= then) {
            self.step();
            if let Some(broken) = self.failure.take() {
                return Err(broken);
            }
        }
        self.now = then;
        Ok(())
    }

    /// Whether every device has what it should have.
    fn converged(&self) -> Result<(), Broken> {
        let Some(process) = &self.controller.process else {
            hold!(false, CONVERGES, "the controller is down");
            return Ok(());
        };
        for stage in self.controller.stage_names() {
            let tip = self.remote.tip(stage.as_str());
            let accepted = self.oracle.accepted.get(&stage);
            let waits = process.state.stages.get(&stage).map(|record| &record.waiting);
            hold!(
                tip.as_ref() == accepted || self.waits_by_choice(&stage),
                CONVERGES,
                "{stage} is at {tip:?}, {accepted:?} counts: {waits:?}"
            );
        }
        for device in self.devices.keys() {
            self.device_converged(device)?;
        }
        let input = PassInput {
            now: self.clock(),
            stages: &self.controller.stages,
            state: &process.state,
            views: &process.views,
            contacts: &bellwether::domain::plan::rollouts::NoContacts,
        };
        let left = pass(&input, &Scope::All).changes;
        hold!(left.is_empty(), COMPLETE, "a pass over everything would write {left:?}");
        Ok(())
    }

    fn device_converged(&self, name: &DeviceId) -> Result<(), Broken> {
        let device = &self.devices[name];
        let Some(process) = &self.controller.process else { return Ok(()) };
        hold!(device.enrolled, CONVERGES, "{name} is not enrolled");
        let Some(record) = process.state.devices.get(name) else {
            hold!(false, CONVERGES, "{name} is not known");
            return Ok(());
        };
        hold!(record.control.conflict.is_none(), CONVERGES, "{name}: {:?}", record.control.conflict);
        let owner: Option<&StageName> = self.oracle.owner(name);
        let listed = owner.and_then(|owner| self.oracle.meaning(owner)).and_then(|desired| desired.devices.get(name));
        let wanted = listed.and_then(|listed| listed.spec.as_ref());
        if let Some(wanted) = wanted
            && !self.oracle.is_held(&process.state, name, self.clock())
        {
            let digest = record.assignment.as_ref().map(|assignment| assignment.spec.digest);
            hold!(digest == Some(wanted.digest), CONVERGES, "{name} is assigned {digest:?}, {owner:?} wants another");
        }
        let Some(assignment) = &record.assignment else { return Ok(()) };
        let mark = device.disk.mark();
        hold!(mark == Some(assignment.mark()), CONVERGES, "{name} is at {mark:?}, assigned is {}", assignment.order);
        let has_failed = |os: &OsSpec| device.disk.os.failure_of(os.key()).is_some();
        let end = device
            .disk
            .failed
            .iter()
            .find(|one| one.digest == assignment.spec.digest && one.attempt >= assignment.attempt);
        if let Some(end) = end.and_then(|one| one.end.as_ref()) {
            let previous = device.disk.previous.as_ref().filter(|one| end.rolled_back_to == Some(one.mark.digest));
            let mut spec = previous.map_or(&assignment.spec.spec, |previous| &previous.spec.spec).as_ref().clone();
            // Also on the way back an OS that failed is not tried again.
            spec.os.take_if(|os| has_failed(os));
            let lacks = device.lacks(&spec);
            hold!(lacks.is_none(), CONVERGES, "{name} went back: {}", lacks.unwrap_or_default());
            let told = record.reported.as_ref().and_then(|reported| reported.report.failure.as_ref());
            hold!(told.is_some(), CONVERGES, "{name} failed for good and does not say so");
            return Ok(());
        }
        let mut spec = assignment.spec.spec.as_ref().clone();
        // An OS that failed is not tried again before somebody asks for it, and drift goes on to tell that it is not there.
        let wanted_os = spec.os.take_if(|os| has_failed(os) && os.version != device.os.running.version);
        let lacks = device.lacks(&spec);
        hold!(lacks.is_none(), CONVERGES, "{name}: {}", lacks.unwrap_or_default());
        let input = DriftInput {
            assignment: Some(assignment),
            report: record.reported.as_ref().map(|reported| &reported.report),
            last_seen: process.last_seen.devices.get(name).copied(),
            offline_after_secs: 180,
            now: self.clock(),
        };
        let drift = drift(&input);
        let reached = if wanted_os.is_some() { Verdict::Drifted } else { Verdict::InSync };
        hold!(drift.verdict() == reached, CONVERGES, "{name}: {drift:?}");
        Ok(())
    }
}
