//! What people do: push, approve, hold and resume, and what goes wrong without them.

use crate::device::Device;
use crate::fleet::STAGES;
use crate::oracle::Pushed;
use crate::world::{Happening, World, note};
use bellwether::domain::actions::{DeviceAction, LockRule};
use bellwether::domain::acts::actions::{NewAction, cancel, request};
use bellwether::domain::acts::operator::{
    Acting, NewToken, approve_commit, approve_device, held_digests, hold, new_token, raise_epoch, reject_device, resume,
};
use bellwether::domain::device::locks::{Lock, Locks, Place};
use bellwether::domain::enrollment::{TokenId, TokenSecret, credential};
use bellwether::domain::fleet::{FleetState, HoldScope, IdentityStatus, TokenBound, WaitingFor};
use bellwether::domain::ids::{Actor, CommitId, DeviceId, StageName};
use bellwether::ports::engine::fake::Tamper;
use bellwether::ports::repo::Repo as _;
use bellwether::ports::store::fake::Fault;
use std::collections::BTreeSet;

/// How many backups are kept.
const MAX_BACKUPS: usize = 4;
/// Why the remote does not answer.
const OUTAGE: &str = "planned outage";

impl World {
    fn acting(&self) -> Acting {
        Acting { actor: Actor::new("ada").expect("an actor"), now: self.clock() }
    }

    /// Commits the text of a branch on top of it.
    pub fn commit(&mut self, branch: &'static str, what: &str) {
        let parents: Vec<CommitId> = self.remote.tip(branch).into_iter().collect();
        self.commit_on(branch, &parents, what);
    }

    fn commit_on(&mut self, branch: &'static str, parents: &[CommitId], what: &str) {
        let files = self.texts[branch].files();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let commit = self.remote.commit(&parents.iter().collect::<Vec<_>>(), &files);
        self.point(branch, &commit, parents.to_vec());
        note!(self, "people      push {} to {branch}: {what}", commit.short());
    }

    /// Moves a branch to a commit that is there.
    fn point(&mut self, branch: &'static str, commit: &CommitId, parents: Vec<CommitId>) {
        self.remote.point(branch, commit);
        let stage = StageName::new(branch).expect("a stage name");
        if let Some(known) = self.oracle.commits.get_mut(commit) {
            known.branches.insert(stage);
            return;
        }
        // A mirror of its own, which always reaches the remote: the checks must not fetch for the controller.
        let mut reading = self.remote.mirror();
        self.remote.come_back();
        reading.fetch(std::slice::from_ref(&stage));
        if self.remote_away {
            self.remote.go_away(OUTAGE);
        }
        let (Ok(snapshot), Ok(head)) = (reading.snapshot(commit), reading.head(commit)) else { return };
        let desired = self.resolver.resolve(&snapshot).for_fleet(&self.controller.fleet);
        let branches = BTreeSet::from([stage]);
        self.oracle.commits.insert(commit.clone(), Pushed { tree: head.tree, parents, desired, branches });
    }

    /// Somebody pushes, and will again.
    pub fn push(&mut self) {
        if self.calm {
            return;
        }
        let next = self.chance.people.between(8_000, 90_000);
        self.at(next, Happening::Push);
        let branch = *self.chance.people.pick(&STAGES).expect("there are stages");
        match self.chance.people.below(100) {
            0..=54 => {
                let edits = 1 + self.chance.people.below(3);
                let mut what = Vec::new();
                for _ in 0..edits {
                    let text = self.texts.get_mut(branch).expect("each branch has a text");
                    what.push(text.edit(&self.names, &mut self.chance.people));
                }
                self.commit(branch, &what.join("; "));
            }
            55..=84 => self.promote(),
            85..=91 => self.rewrite(branch),
            _ => {
                self.texts.get_mut(branch).expect("each branch has a text").repair();
                self.commit(branch, "repaired");
            }
        }
    }

    /// Merges a stage into the next one.
    fn promote(&mut self) {
        let (from, into) =
            if self.chance.people.happens(500) { (STAGES[0], STAGES[1]) } else { (STAGES[1], STAGES[2]) };
        let Some(theirs) = self.remote.tip(from) else { return };
        let ours = self.remote.tip(into);
        let text = self.texts[from].clone();
        self.texts.insert(into, text);
        let parents: Vec<CommitId> = ours.into_iter().chain([theirs]).collect();
        self.commit_on(into, &parents, &format!("merge {from}"));
    }

    /// A force push: away with the newest commit, or with all of them.
    fn rewrite(&mut self, branch: &'static str) {
        self.counts.count("force pushes");
        let tip = self.remote.tip(branch).and_then(|tip| self.oracle.commits.get(&tip));
        let parents = tip.map(|tip| tip.parents.clone()).unwrap_or_default();
        if let (Some(parent), true) = (parents.first(), self.chance.people.happens(500)) {
            let (parent, parents) = (parent.clone(), Vec::new());
            self.point(branch, &parent, parents);
            note!(self, "people      force {branch} back to {}", parent.short());
            return;
        }
        let text = self.texts.get_mut(branch).expect("each branch has a text");
        let what = text.edit(&self.names, &mut self.chance.people);
        let parents: Vec<CommitId> = parents.into_iter().take(1).collect();
        self.commit_on(branch, &parents, &format!("forced; {what}"));
    }

    /// An operator looks in, does some of what waits, and comes back.
    pub fn operate(&mut self) {
        let next = if self.calm { 5_000 } else { self.chance.operator.between(5_000, 90_000) };
        self.at(next, Happening::Operator);
        let Some(state) = self.controller.process.as_ref().map(|process| process.state.clone()) else { return };
        if state.tokens.is_empty() && (self.calm || self.chance.operator.happens(700)) {
            return self.make_token(&state);
        }
        self.join_strangers();
        if self.calm {
            // Tokens that were refused are thrown away: whoever is left waits for approval.
            self.devices.values_mut().for_each(|device| device.token = None);
        }
        self.approve_devices(&state);
        self.approve_commits(&state);
        self.resume_some(&state);
        if !self.calm && self.chance.operator.happens(120) {
            self.hold_something(&state);
        }
        if !self.calm && self.chance.actions.happens(300) {
            self.ask_for_an_action(&state);
        }
        if !self.calm && self.chance.operator.happens(10) {
            self.counts.count("epochs raised");
            note!(self, "people      raise the epoch");
            let raised = raise_epoch(&state, state.epoch(), "something is amiss", &self.acting());
            let changes = raised.expect("nobody else raises it in this moment");
            let now = self.clock();
            self.controller.act(&changes, now);
        }
    }

    /// An operator wants a device to do something once, or not any more.
    fn ask_for_an_action(&mut self, state: &FleetState) {
        let devices: Vec<DeviceId> = state.devices.keys().cloned().collect();
        let Some(device) = self.chance.actions.pick(&devices).cloned() else { return };
        let (acting, now) = (self.acting(), self.clock());
        let open = state.devices[&device].actions.as_ref().map(|actions| actions.open(now)).unwrap_or_default();
        let changes = match (self.chance.actions.below(4), open.first()) {
            (0, Some(first)) => cancel(state, &device, first.number, &acting),
            (kind, _) => {
                let action = if kind == 1 { DeviceAction::Reboot } else { DeviceAction::RestartAll };
                let locks = if kind == 3 { LockRule::Overridden } else { LockRule::Respected };
                let new = NewAction { action, locks, reason: "it hangs".to_owned(), valid_secs: 600 };
                request(state, &device, new, &acting)
            }
        };
        if let Ok(changes) = changes {
            self.counts.count("actions of operators");
            note!(self, "people      ask {device} for something");
            self.controller.act(&changes, now);
        }
    }

    /// Some devices are given a token, others wait for approval.
    fn make_token(&mut self, state: &FleetState) {
        let number = self.chance.keys.next().to_be_bytes();
        let id = TokenId::from_bytes([number[0], number[1], number[2], number[3], number[4], number[5]]);
        let secret = TokenSecret::from_bytes([number[7]; 32]);
        let token = NewToken {
            id: id.to_string(),
            secret_hash: secret.digest(),
            uses: 3,
            valid_secs: 86_400,
            bound: TokenBound::Selector("d*".to_owned()),
        };
        let Ok(changes) = new_token(state, token, &self.acting()) else { return };
        let now = self.clock();
        self.controller.act(&changes, now);
        for device in self.devices.values_mut().filter(|device| !device.enrolled) {
            device.token = self.chance.operator.happens(500).then(|| credential(id, &secret));
        }
    }

    /// Devices whose key the controller does not know (any more) are joined to it again, with a new key.
    fn join_strangers(&mut self) {
        let lost =
            |device: &&mut Device| !device.enrolled && device.running.as_ref().is_some_and(|one| one.machine.is_some());
        let mut joined = Vec::new();
        for device in self.devices.values_mut().filter(lost) {
            device.key = (0..4).map(|_| format!("{:016x}", self.chance.keys.next())).collect();
            device.token = None;
            joined.push(device.name.clone());
        }
        for name in joined {
            self.counts.count("devices joined again");
            note!(self, "people      join {name} again");
            self.kill_device(&name);
        }
    }

    fn approve_devices(&mut self, state: &FleetState) {
        for (device, record) in &state.devices {
            let Some(identity) = &record.identity else { continue };
            let waits = identity.contender.is_some() || identity.status != IdentityStatus::Enrolled;
            if !waits || !(self.calm || self.chance.operator.happens(400)) {
                continue;
            }
            let rejects = !self.calm && self.chance.operator.happens(100);
            let (acting, now) = (self.acting(), self.clock());
            let decided =
                if rejects { reject_device(state, device, &acting) } else { approve_device(state, device, &acting) };
            if let Ok(changes) = decided {
                note!(self, "people      {} {device}", if rejects { "reject" } else { "approve" });
                self.controller.act(&changes, now);
            }
        }
    }

    fn approve_commits(&mut self, state: &FleetState) {
        let waiting: Vec<_> = held_digests(state).map(|(stage, digest)| (stage.clone(), *digest)).collect();
        for (stage, digest) in waiting {
            let willing =
                if self.calm { self.refused.as_ref() != Some(&stage) } else { self.chance.operator.happens(350) };
            if !willing {
                continue;
            }
            let tree = state.stages[&stage].waiting.as_ref().map(|waiting| waiting.tree.clone());
            let Ok(changes) = approve_commit(state, &digest.to_string(), &self.acting()) else { continue };
            self.oracle.approved.extend(tree.map(|tree| (stage.clone(), digest, tree)));
            self.counts.count("commits approved");
            note!(self, "people      approve {} of {stage}", digest.short());
            let now = self.clock();
            self.controller.act(&changes, now);
        }
    }

    fn resume_some(&mut self, state: &FleetState) {
        let held = state.holds.keys().cloned();
        let conflicts = state.devices.iter().filter(|(_, record)| record.control.conflict.is_some());
        let conflicts: Vec<HoldScope> = conflicts.map(|(device, _)| HoldScope::Device(device.clone())).collect();
        let holds: Vec<HoldScope> = held.filter(|_| !(self.calm && self.keep_holds)).collect();
        for scope in conflicts.iter().chain(&holds) {
            if !(self.calm || self.chance.operator.happens(200)) {
                continue;
            }
            let Some(state) = self.controller.process.as_ref().map(|process| process.state.clone()) else { return };
            if let Ok(changes) = resume(&state, scope, &self.acting()) {
                note!(self, "people      resume {scope}");
                self.counts.count("resumes");
                let now = self.clock();
                self.controller.act(&changes, now);
            }
        }
    }

    fn hold_something(&mut self, state: &FleetState) {
        let devices: Vec<DeviceId> = state.devices.keys().cloned().collect();
        let scope = match (self.chance.operator.below(10), self.chance.operator.pick(&devices)) {
            (0, _) => HoldScope::Fleet,
            (1..=3, _) => {
                let stage = self.chance.operator.pick(&STAGES).expect("there are stages");
                HoldScope::Stage(StageName::new(stage).expect("a stage name"))
            }
            (_, Some(device)) => HoldScope::Device(device.clone()),
            (_, None) => return,
        };
        let seconds = self.chance.operator.between(5, 600);
        let until = self.chance.operator.happens(500).then(|| self.clock().plus_secs(seconds));
        let stages = self.controller.stage_names();
        if let Ok(changes) = hold(state, &stages, &scope, "just a moment", until, &self.acting()) {
            note!(self, "people      hold {scope} until {until:?}");
            self.counts.count("holds");
            let now = self.clock();
            self.controller.act(&changes, now);
        }
    }

    /// Something goes wrong, and something else will.
    pub fn mishap(&mut self) {
        if self.calm {
            return;
        }
        let next = self.chance.mishaps.between(1_000, 20_000);
        self.at(next, Happening::Mishap);
        let names: Vec<DeviceId> = self.devices.keys().cloned().collect();
        let name = self.chance.mishaps.pick(&names).expect("there are devices").clone();
        match self.chance.mishaps.below(100) {
            0..=11 => {
                note!(self, "{name}  agent killed");
                self.kill_device(&name);
            }
            12..=15 => self.stop_device(&name),
            16..=24 => {
                note!(self, "controller  killed");
                self.counts.count("controller killed");
                let down = self.chance.mishaps.between(200, 60_000);
                self.crash_controller(down);
            }
            25..=28 => self.restore(),
            29..=33 => {
                if self.backups.len() == MAX_BACKUPS {
                    self.backups.remove(0);
                }
                self.backups.push(self.controller.store.backup());
            }
            34..=53 => self.tamper(&name),
            54..=67 => self.break_engine(&name),
            68..=72 => self.storm_until = self.now + self.chance.mishaps.between(5_000, 120_000),
            73..=78 => {
                self.counts.count("outages of the remote");
                self.remote_away = true;
                self.remote.go_away(OUTAGE);
            }
            79..=83 => {
                self.remote_away = false;
                self.remote.come_back();
            }
            84..=85 => self.replace_hardware(&name),
            86..=91 => {
                let fault = if self.chance.mishaps.happens(500) { Fault::NotWritten } else { Fault::AnswerLost };
                self.counts.count("store failures");
                self.controller.store.fail_next(fault);
            }
            92..=94 => {
                let skew = self.chance.mishaps.between(-7_200_000, 7_200_000);
                self.devices.get_mut(&name).expect("it is there").skew = skew;
            }
            95..=96 => {
                let branch = self.chance.mishaps.pick(&STAGES).expect("there are stages");
                note!(self, "people      delete branch {branch}");
                self.remote.delete(branch);
            }
            _ => {
                self.devices.get_mut(&name).expect("it is there").faults.writes = 1;
            }
        }
    }

    /// The controller's host dies, and an older backup of the store takes over.
    fn restore(&mut self) {
        let Some(backup) = self.chance.mishaps.pick(&self.backups).cloned() else { return };
        note!(self, "controller  restored from a backup");
        self.counts.count("restores");
        self.controller.store = backup.backup();
        let down = self.chance.mishaps.between(200, 30_000);
        self.crash_controller(down);
    }

    fn tamper(&mut self, name: &DeviceId) {
        let device = self.devices.get_mut(name).expect("it is there");
        let Some((app, service)) = self.chance.mishaps.pick(&device.containers()).cloned() else { return };
        let tamper = match self.chance.mishaps.below(3) {
            0 => Tamper::Remove { app, service },
            1 => Tamper::Stop { app, service },
            _ => {
                let name = "VALUE".parse().expect("a variable name");
                Tamper::SetVariable { app, service, name, value: "tampered".to_owned() }
            }
        };
        device.touched = true;
        device.engine.tamper(&tamper);
        note!(self, "{name}  {tamper:?}");
        self.counts.count("tampered");
    }

    /// An app takes its update lock, or gives it back.
    pub fn lock(&mut self) {
        if self.calm {
            return;
        }
        let next = self.chance.locks.between(5_000, 60_000);
        self.at(next, Happening::Lock);
        let names: Vec<DeviceId> = self.devices.keys().cloned().collect();
        let name = self.chance.locks.pick(&names).expect("there are devices").clone();
        let device = self.devices.get_mut(&name).expect("it is there");
        let place = self.chance.locks.pick(&device.containers()).cloned();
        if !device.locks.held.is_empty() && self.chance.locks.happens(500) {
            device.locks.held.clear();
        } else if let Some((app, service)) = place {
            let content: &[u8] = if self.chance.locks.happens(300) { b"nonsense" } else { b"" };
            device.locks.held.push(Lock::of_file(Place::Service { app, service }, None, Ok(content)));
            self.counts.count("locks taken");
        }
        note!(self, "{name}  {:?}", self.devices[&name].locks);
    }

    fn break_engine(&mut self, name: &DeviceId) {
        let away = self.chance.mishaps.between(1_000, 180_000);
        let count = 1 + self.chance.mishaps.below(4) as u32;
        let device = self.devices.get_mut(name).expect("it is there");
        let image = 1 + self.chance.mishaps.below(2);
        match self.chance.mishaps.below(6) {
            5 => device.os.duds.extend(format!("20.{image}").parse()),
            0 | 1 => device.faults.pulls = count,
            2 => device.faults.engine_away_until = self.now + away,
            3 => device.faults.refusals = count,
            _ => device.faults.installs = count,
        }
        note!(self, "{name}  {:?}", self.devices[name].faults);
    }

    /// New hardware under an old name, with nothing on it.
    fn replace_hardware(&mut self, name: &DeviceId) {
        note!(self, "{name}  hardware replaced");
        self.counts.count("hardware replaced");
        let device = self.devices.get_mut(name).expect("it is there");
        let (hardware, life) = (device.hardware + 1, device.life);
        *device = Device { life, ..Device::new(name.clone(), hardware, &mut self.chance.keys) };
        self.oracle.forget_ledger(name);
        self.kill_device(name);
    }

    /// From now on nothing goes wrong.
    pub fn calm_down(&mut self) {
        self.calm = true;
        self.weather = crate::network::Weather::FAIR;
        self.storm_until = 0;
        self.remote_away = false;
        self.remote.come_back();
        for device in self.devices.values_mut() {
            device.faults = crate::device::Faults::default();
            device.locks = Locks::default();
        }
        // Faults that were planned and not met yet.
        self.controller.store = self.controller.store.backup();
        note!(self, "------      everything works from now on");
        for branch in STAGES {
            let missing = self.remote.tip(branch).is_none();
            if missing || self.chance.people.happens(700) {
                self.texts.get_mut(branch).expect("each branch has a text").repair();
                self.commit(branch, "repaired");
            }
        }
    }

    /// The digest of a commit that a stage's people will not approve, if there is one.
    pub fn waits_by_choice(&self, stage: &StageName) -> bool {
        let Some(process) = &self.controller.process else { return false };
        let waiting = process.state.stages.get(stage).and_then(|record| record.waiting.as_ref());
        waiting.is_some_and(|waiting| match &waiting.why {
            WaitingFor::Approval { .. } => self.refused.as_ref() == Some(stage),
            WaitingFor::Repair { .. } => true,
        })
    }
}
