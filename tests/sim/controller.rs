//! The controller without threads: the same reader, passes and acts as the daemon, around a store and a mirror in memory.

use crate::network::{Ask, Call, Say};
use bellwether::controller::watch::{News, Reader, accepted};
use bellwether::domain::actions::tag;
use bellwether::domain::acts::enroll::{enroll, key_hash};
use bellwether::domain::acts::report::{Recorded, report};
use bellwether::domain::assignment::Assignment;
use bellwether::domain::fleet::{Change, FleetState, IdentityStatus};
use bellwether::domain::ids::{Actor, DeviceId, FleetName, RolloutName, StageName};
use bellwether::domain::plan::pass::{MAX_PASSES, Meaning, PassInput, Scope, StageView, pass, widened};
use bellwether::domain::plan::passes::Passes;
use bellwether::domain::plan::policy::StagePolicy;
use bellwether::domain::plan::rollouts::{Contacts, awake};
use bellwether::domain::reported::{Report, ReportId};
use bellwether::domain::rollout::machine::Act as RolloutAct;
use bellwether::domain::time::Timestamp;
use bellwether::ports::repo::fake::FakeRepo;
use bellwether::ports::store::Store as _;
use bellwether::ports::store::fake::FakeStore;
use bellwether::protocol::v1::actions::{self, ActionsStatement};
use bellwether::protocol::v1::envelope::{Statement, sign};
use bellwether::protocol::v1::messages::{EnrollStatus, MAX_WAIT_SECS};
use ed25519_dalek::SigningKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The controller: what survives a crash, and the process.
pub struct Controller {
    pub fleet: FleetName,
    pub stages: Vec<StagePolicy>,
    pub key: SigningKey,
    pub store: FakeStore,
    pub mirror: FakeRepo,
    pub process: Option<Process>,
    /// Counts the starts, so that news for an earlier one can be told apart.
    pub starts: u64,
    /// What was written since it was last looked at here.
    pub written: Vec<Written>,
}

/// What a crash loses.
pub struct Process {
    pub state: FleetState,
    pub views: BTreeMap<StageName, StageView>,
    pub reader: Reader,
    pub last_seen: Seen,
    pub held: Vec<HeldPoll>,
    passes: Passes,
}

/// When devices were last heard of.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By device.
    pub devices: BTreeMap<DeviceId, Timestamp>,
    /// Since when it is noted.
    pub since: Option<Timestamp>,
}

impl Contacts for Seen {
    fn last_seen(&self, device: &DeviceId) -> Option<Timestamp> {
        self.devices.get(device).copied()
    }

    fn since(&self) -> Option<Timestamp> {
        self.since
    }
}

/// A poll that is held open.
pub struct HeldPoll {
    pub call: Call,
    etag: Option<String>,
    actions: String,
}

/// One transaction, and what it came from.
pub struct Written {
    pub cause: Cause,
    pub before: FleetState,
    pub after: FleetState,
    pub changes: Vec<Change>,
    /// Stages whose accepted commit had been read.
    pub read: BTreeSet<StageName>,
}

/// Why something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    Pass(Scope),
    Report {
        device: DeviceId,
        start: u64,
        seq: u64,
    },
    Enroll,
    Act,
    /// Somebody asked something of a rollout.
    Ask,
}

impl Controller {
    /// Starts the process from the store.
    pub fn start(&mut self) {
        let state = self.store.load().expect("the fake store can always be read");
        let last_seen = state.devices.iter();
        let last_seen =
            last_seen.filter_map(|(device, record)| Some((device.clone(), record.reported.as_ref()?.received_at)));
        let last_seen = Seen { devices: last_seen.collect(), since: None };
        self.mirror.restart();
        self.starts += 1;
        self.process = Some(Process {
            state,
            views: BTreeMap::new(),
            reader: Reader::default(),
            last_seen,
            held: Vec::new(),
            passes: Passes::default(),
        });
    }

    /// Starts the process, and leaves out the time in which none ran.
    pub fn start_at(&mut self, now: Timestamp) {
        self.start();
        if let Some(process) = &mut self.process {
            process.last_seen.since = Some(now);
        }
        let slept = self.process.as_ref().map(|process| awake(&process.state, now)).unwrap_or_default();
        let _ = self.write(&slept, Cause::Act);
    }

    /// The alarm: whatever is due.
    pub fn tick(&mut self, now: Timestamp) {
        let is_due = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
        let Some(process) = &self.process else { return };
        let changed = is_due(process.passes.rollouts_due()) && self.run_pass(&Scope::Devices(BTreeSet::new()), now);
        if changed || is_due(self.process.as_ref().and_then(|process| process.passes.due())) {
            self.run_passes(now);
        }
    }

    /// Asks something of a rollout; whether it does that.
    pub fn ask(&mut self, name: &RolloutName, act: RolloutAct, actor: &Actor, now: Timestamp) -> bool {
        let Some(process) = self.process.as_mut() else { return false };
        let input = PassInput {
            now,
            stages: &self.stages,
            state: &process.state,
            views: &process.views,
            contacts: &process.last_seen,
        };
        let Ok(changes) = process.passes.act(&input, name, act, actor, "because") else { return false };
        let written = self.write(&changes, Cause::Ask).is_ok();
        self.run_passes(now);
        written
    }

    /// What a device that polls is handed.
    pub fn hands_out(&mut self, device: &DeviceId, now: Timestamp) -> Option<Arc<Assignment>> {
        let process = self.process.as_mut()?;
        process.last_seen.devices.insert(device.clone(), now);
        let assignment = process.state.devices.get(device)?.assignment.as_ref()?;
        process.state.serves(assignment).then(|| assignment.clone())
    }

    /// Takes a device's report, and decides what follows; whether it was recorded.
    pub fn hears(&mut self, device: &DeviceId, body: Report, now: Timestamp) -> bool {
        let Some(process) = self.process.as_mut() else { return false };
        process.last_seen.devices.insert(device.clone(), now);
        let (start, seq) = (body.start, body.seq);
        let Ok(Recorded::Newer(changes)) = report(&process.state, device, body, now) else { return true };
        if self.write(&changes, Cause::Report { device: device.clone(), start, seq }).is_err() {
            return false;
        }
        if self.run_pass(&Scope::Devices(BTreeSet::from([device.clone()])), now) {
            self.run_passes(now);
        }
        true
    }

    /// The process is killed. Returns the calls whose connections break.
    pub fn crash(&mut self) -> Vec<Call> {
        let held = self.process.take().map(|process| process.held).unwrap_or_default();
        held.into_iter().map(|poll| poll.call).collect()
    }

    /// The watcher's look. Its news arrive a moment later.
    pub fn look(&mut self, now: Timestamp) -> Option<News> {
        let stages = self.stage_names();
        let process = self.process.as_mut()?;
        let accepted = accepted(&process.state);
        Some(process.reader.look(&mut self.mirror, &stages, &accepted, &process.views, now))
    }

    /// The owner takes news, and lets holds end.
    pub fn take_news(&mut self, news: News, now: Timestamp) {
        let Some(process) = self.process.as_mut() else { return };
        if let Some(mut views) = news.views {
            for candidate in views.values_mut().filter_map(|view| view.candidate.as_mut()) {
                candidate.desired = candidate.desired.clone().for_fleet(&self.fleet);
            }
            process.views = views;
            self.run_passes(now);
        }
        if self.process.as_ref().and_then(|process| process.passes.due()).is_some_and(|due| due <= now) {
            self.run_passes(now);
        }
    }

    /// An operator's act.
    pub fn act(&mut self, changes: &[Change], now: Timestamp) {
        if self.write(changes, Cause::Act).is_ok() {
            self.run_passes(now);
        }
    }

    /// Runs passes until one changes nothing.
    pub fn run_passes(&mut self, now: Timestamp) {
        for _ in 0..MAX_PASSES {
            if !self.run_pass(&Scope::All, now) {
                return;
            }
        }
    }

    /// Whether it changed anything.
    fn run_pass(&mut self, scope: &Scope, now: Timestamp) -> bool {
        let Some(process) = self.process.as_mut() else { return false };
        let input = PassInput {
            now,
            stages: &self.stages,
            state: &process.state,
            views: &process.views,
            contacts: &process.last_seen,
        };
        let scope = widened(&input, scope);
        let output = process.passes.pass(&input, scope);
        // Machines that are at work look at what happened; one that was just loaded looks at everything.
        if process.state.rollouts.is_empty() {
            assert_eq!(output, pass(&input, scope), "what is remembered changes nothing");
        }
        if output.changes.is_empty() || self.write(&output.changes, Cause::Pass(scope.clone())).is_err() {
            return false;
        }
        let Some(process) = self.process.as_mut() else { return false };
        for stage in &output.accepted {
            if let Some(view) = process.views.get_mut(stage)
                && let Some(candidate) = view.candidate.take()
            {
                view.accepted = Some(Meaning { revision: candidate.revision(), desired: candidate.desired });
            }
        }
        true
    }

    /// Writes changes, then makes them visible.
    fn write(&mut self, changes: &[Change], cause: Cause) -> Result<(), ()> {
        let Some(process) = self.process.as_mut() else { return Err(()) };
        if changes.is_empty() {
            return Ok(());
        }
        let before = process.state.clone();
        let committed = self.store.commit(changes).map_err(|_| ());
        match committed {
            Ok(()) => {
                process.passes.note(&process.state, changes);
                process.state.apply(changes);
            }
            // The answer may have been lost: what the store holds is the truth.
            Err(()) => {
                process.passes.forget();
                process.state = self.store.load().expect("the fake store can always be read");
            }
        }
        if committed.is_err() && process.state == before {
            return Err(());
        }
        let stages = &self.stages;
        let input = PassInput {
            now: Timestamp::EPOCH,
            stages,
            state: &before,
            views: &process.views,
            contacts: &bellwether::domain::plan::rollouts::NoContacts,
        };
        let read = stages.iter().map(|policy| policy.name.clone()).filter(|stage| input.accepted(stage).is_some());
        let read = read.collect();
        let (after, changes) = (process.state.clone(), changes.to_vec());
        self.written.push(Written { cause, before, after, changes, read });
        committed
    }

    /// A request arrives. The answer, if there is one already.
    pub fn receive(&mut self, call: &Call, ask: &Ask, now: Timestamp) -> Option<Say> {
        let Some(process) = self.process.as_mut() else { return Some(Say::Broken) };
        if let Ask::Enroll(request) = ask {
            return Some(self.take_enrollment(request, now));
        }
        match speaker(&process.state, &call.key) {
            None => return Some(Say::Refused(401)),
            Some((_, IdentityStatus::Pending | IdentityStatus::Rejected)) => return Some(Say::Refused(403)),
            Some((device, IdentityStatus::Enrolled)) => {
                process.last_seen.devices.insert(device, now);
            }
        }
        match ask {
            Ask::Enroll(_) => None,
            Ask::Report(body) => Some(self.take_report(&call.device, body, now)),
            Ask::Poll { etag, actions, wait_secs } => {
                let fresh = self.news(&call.device, etag.as_deref(), actions, now);
                if fresh.is_some() {
                    return fresh;
                }
                if *wait_secs == 0 {
                    return Some(self.unchanged(&call.device));
                }
                let held = HeldPoll { call: call.clone(), etag: etag.clone(), actions: actions.clone() };
                self.process.as_mut()?.held.push(held);
                None
            }
        }
    }

    /// How long a poll is held, in seconds.
    pub fn hold_secs(wait_secs: u64) -> i64 {
        i64::try_from(wait_secs.min(MAX_WAIT_SECS)).expect("a minute is a small number")
    }

    /// A held poll has waited long enough.
    pub fn end_poll(&mut self, call: u64) -> Option<(Call, Say)> {
        let process = self.process.as_mut()?;
        let place = process.held.iter().position(|poll| poll.call.id == call)?;
        let poll = process.held.remove(place);
        let say = self.unchanged(&poll.call.device);
        Some((poll.call, say))
    }

    /// Held polls for which there is news.
    pub fn answer_polls(&mut self, now: Timestamp) -> Vec<(Call, Say)> {
        let Some(process) = self.process.as_mut() else { return Vec::new() };
        let mut answers = Vec::new();
        for poll in std::mem::take(&mut process.held) {
            match self.news(&poll.call.device, poll.etag.as_deref(), &poll.actions, now) {
                Some(say) => answers.push((poll.call, say)),
                None => self.process.as_mut().expect("it runs").held.push(poll),
            }
        }
        answers
    }

    fn news(&self, device: &DeviceId, etag: Option<&str>, actions: &str, now: Timestamp) -> Option<Say> {
        self.fresh(device, etag, now).or_else(|| self.listed(device, actions, now))
    }

    /// The open actions, if they are others than the device has.
    fn listed(&self, device: &DeviceId, known: &str, now: Timestamp) -> Option<Say> {
        let record = self.process.as_ref()?.state.devices.get(device)?;
        let open = record.actions.as_ref().map(|actions| actions.open(now)).unwrap_or_default();
        let name = tag(&open);
        if known == name {
            return None;
        }
        let envelope = actions::sign(&ActionsStatement::of(&self.fleet, device, open, now), &self.key);
        let bytes = serde_json::to_vec(&envelope).expect("an envelope has only string keys");
        Some(Say::Actions(name, bytes.into()))
    }

    fn fresh(&self, device: &DeviceId, etag: Option<&str>, now: Timestamp) -> Option<Say> {
        let assignment = self.assignment(device)?;
        if etag == Some(assignment.mark().etag().as_str()) {
            return None;
        }
        let envelope = sign(&Statement::of(&self.fleet, assignment, now), &self.key);
        let bytes = serde_json::to_vec(&envelope).expect("an envelope has only string keys");
        Some(Say::Envelope(bytes.into()))
    }

    fn unchanged(&self, device: &DeviceId) -> Say {
        if self.assignment(device).is_some() { Say::NotModified } else { Say::Nothing }
    }

    fn assignment(&self, device: &DeviceId) -> Option<&Arc<Assignment>> {
        self.process.as_ref()?.state.devices.get(device)?.assignment.as_ref()
    }

    fn take_report(&mut self, device: &DeviceId, body: &bellwether::domain::reported::Report, now: Timestamp) -> Say {
        let Some(process) = self.process.as_mut() else { return Say::Broken };
        match report(&process.state, device, body.clone(), now) {
            Err(_) => Say::Refused(400),
            Ok(Recorded::Stale) => Say::Recorded,
            Ok(Recorded::Newer(changes)) => {
                let cause = Cause::Report { device: device.clone(), start: body.start, seq: body.seq };
                if self.write(&changes, cause).is_err() {
                    return Say::Refused(503);
                }
                self.run_pass(&Scope::Devices(BTreeSet::from([device.clone()])), now);
                Say::Recorded
            }
        }
    }

    fn take_enrollment(&mut self, request: &bellwether::protocol::v1::messages::EnrollRequest, now: Timestamp) -> Say {
        let Some(process) = self.process.as_mut() else { return Say::Broken };
        let Ok((changes, status)) = enroll(&process.state, request, now) else { return Say::Refused(403) };
        if self.write(&changes, Cause::Enroll).is_err() {
            return Say::Refused(503);
        }
        match status {
            EnrollStatus::Enrolled => {
                if !changes.is_empty() {
                    self.run_pass(&Scope::Devices(BTreeSet::from([request.device.clone()])), now);
                }
                Say::Enrolled
            }
            EnrollStatus::Pending => Say::Pending,
        }
    }

    /// The newest report that the controller has of a device.
    pub fn recorded(&self, device: &DeviceId) -> ReportId {
        let record = self.process.as_ref().and_then(|process| process.state.devices.get(device));
        let reported = record.and_then(|record| record.reported.as_ref());
        reported.map(|reported| reported.freshness.newest()).unwrap_or_default()
    }

    /// The stages' names, least gated first.
    pub fn stage_names(&self) -> Vec<StageName> {
        self.stages.iter().map(|policy| policy.name.clone()).collect()
    }
}

/// Who a key belongs to.
fn speaker(state: &FleetState, key: &str) -> Option<(DeviceId, IdentityStatus)> {
    let hash = key_hash(key)?;
    let known = |(device, record): (&DeviceId, &bellwether::domain::fleet::DeviceRecord)| {
        let identity = record.identity.as_ref().filter(|identity| identity.key_hash == hash)?;
        Some((device.clone(), identity.status))
    };
    state.devices.iter().find_map(known)
}
