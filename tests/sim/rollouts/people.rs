//! What operators do, and what must have come of it all in the end.

use super::Trial;
use super::oracle::{GOES_ON, SETTLES};
use crate::oracle::{Broken, hold};
use bellwether::domain::acts::operator::{Acting, hold as hold_scope, resume};
use bellwether::domain::fleet::HoldScope;
use bellwether::domain::ids::{Actor, DeviceId, RolloutName};
use bellwether::domain::plan::pass::PassInput;
use bellwether::domain::plan::rollouts::FleetWorld;
use bellwether::domain::rollout::machine::{Acknowledge, Act, Status, Which};

impl Trial {
    fn acting(&mut self) -> Acting {
        let who = if self.chance.happens(500) { "ada" } else { "bob" };
        Acting { actor: Actor::new(who).expect("an actor"), now: self.clock() }
    }

    /// An operator looks in.
    pub(super) fn operate(&mut self) {
        let Some(state) = self.controller.process.as_ref().map(|process| process.state.clone()) else { return };
        let Acting { actor, now } = self.acting();
        let rollouts: Vec<(RolloutName, Status)> =
            state.rollouts.iter().map(|(name, record)| (name.clone(), record.head.status.clone())).collect();
        if self.calm {
            for (name, status) in &rollouts {
                match status {
                    Status::PendingApproval | Status::Active => self.ask(name, Act::Approve, &actor),
                    Status::Paused { .. } => self.ask(name, Act::Resume { acknowledge: Acknowledge::Failures }, &actor),
                    _ => {}
                }
            }
            for scope in state.holds.keys() {
                if let Ok(changes) = resume(&state, scope, &Acting { actor: actor.clone(), now }) {
                    self.controller.act(&changes, now);
                }
            }
            return;
        }
        if self.chance.happens(150) {
            let names: Vec<DeviceId> = self.devices.keys().cloned().collect();
            let scope = HoldScope::Device(self.chance.pick(&names).expect("there are devices").clone());
            let acting = Acting { actor, now };
            let stages = self.controller.stage_names();
            let changes = match state.holds.contains_key(&scope) {
                true => resume(&state, &scope, &acting),
                false => hold_scope(&state, &stages, &scope, "on a table", None, &acting),
            };
            if let Ok(changes) = changes {
                self.counts.count("rollouts: holds");
                self.note(&format!("{scope} is held or let go"));
                self.controller.act(&changes, now);
            }
            return;
        }
        let Some((name, status)) = self.chance.pick(&rollouts).cloned() else { return };
        let act = match (&status, self.chance.below(10)) {
            (Status::PendingApproval, 0..=7) | (Status::Active, 0..=4) => Act::Approve,
            (Status::Active, 5..=6) => {
                let secs = self.chance.between(10, 300);
                Act::Pause { until: self.chance.happens(500).then(|| now.plus_secs(secs)) }
            }
            (Status::Active | Status::Paused { .. }, 7) => Act::Retry(Which::Failed),
            (Status::Paused { .. }, 0..=3) => Act::Resume { acknowledge: Acknowledge::Nothing },
            (Status::Paused { .. } | Status::Error { .. }, 4..=5) => Act::Resume { acknowledge: Acknowledge::Failures },
            (Status::Error { .. }, 0..=3) => Act::Retry(Which::Failed),
            (Status::Error { .. } | Status::Aborted { .. }, 6..=7) => Act::Rollback,
            (Status::Aborted { .. } | Status::RolledBack { .. }, 0..=1) => Act::Lift,
            (Status::RollingBack { .. }, 0) | (_, 9) => Act::Abort,
            (_, 8) => Act::Rollback,
            _ => return,
        };
        self.ask(&name, act, &actor);
    }

    fn ask(&mut self, name: &RolloutName, act: Act, actor: &Actor) {
        let now = self.clock();
        let what = format!("{actor} asks {name}: {act:?}");
        let status = |trial: &Self| {
            let state = trial.controller.process.as_ref().map(|process| &process.state);
            state.and_then(|state| state.rollouts.get(name)).map(|record| record.head.status.clone())
        };
        let before = status(self);
        match self.controller.ask(name, act, actor, now) {
            true => {
                self.counts.count("rollouts: acts");
                self.note(&format!("{what}, {before:?} became {:?}", status(self)));
            }
            false => self.note(&format!("{what}, refused")),
        }
    }

    /// Whether everybody has what the last commit wants, or a rollout says why not.
    pub(super) fn converged(&self) -> Result<(), Broken> {
        let Some(process) = &self.controller.process else {
            hold!(false, SETTLES, "the controller is down");
            return Ok(());
        };
        let tip = self.remote.tip("main");
        let accepted = process.state.stages.get("main").and_then(|stage| stage.accepted.clone());
        hold!(tip == accepted, SETTLES, "{tip:?} does not count, but {accepted:?}");
        let stages = &self.controller.stages;
        let input = PassInput {
            now: self.clock(),
            stages,
            state: &process.state,
            views: &process.views,
            contacts: &process.last_seen,
        };
        let Some(desired) = input.accepted(&stages[0].name) else {
            hold!(false, SETTLES, "the commit has not been read");
            return Ok(());
        };
        // A step that nobody is in stands in the way, as it must.
        let of_commit = process.state.rollouts.values().filter(|one| Some(&one.head.commit) == tip.as_ref());
        let mut blocked = false;
        for record in of_commit {
            let waits = record.load().explain(self.clock(), &FleetWorld::new(&input, desired, record));
            let stands = !waits.is_empty() || matches!(record.head.status, Status::Done { .. });
            hold!(stands, GOES_ON, "{} is {} and nobody knows why", record.head.name, record.head.status);
            let somebody = record.members.keys().any(|device| self.fleet.canaries.contains(device));
            let empty = !somebody && waits.iter().any(|waits| waits.code == "step-empty");
            blocked |= empty;
            let done = matches!(record.head.status, Status::Done { .. }) || empty;
            hold!(done, SETTLES, "{} is {:?}: {waits:?}", record.head.name, record.head.status);
        }
        for (name, device) in &self.devices {
            let wanted = desired.devices.get(name).and_then(|listed| listed.spec.as_ref()).map(|spec| spec.digest);
            let has_it = device.runs == wanted && device.accepted.as_ref().map(|one| one.spec.digest) == wanted;
            hold!(has_it || blocked, SETTLES, "{name} runs {:?}, {wanted:?} is wanted", device.runs);
        }
        Ok(())
    }
}
