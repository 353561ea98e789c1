//! A controller and devices on a clock that is moved. Nothing goes wrong here but what a script says.

use super::commands::shown;
use crate::device::{Device, Running};
use crate::stream::Stream;
use bellwether::domain::acts::enroll::key_hash;
use bellwether::domain::acts::report::{Recorded, report};
use bellwether::domain::desired::{Desired, InventorySource, Resolver, SecretTable};
use bellwether::domain::device::action::Action;
use bellwether::domain::device::machine::{About, Effect, Event, Machine, Moment, Pace, PollMode, Timer};
use bellwether::domain::digest::Digest;
use bellwether::domain::edits::{Becomes, Desk, Whose, Wish, propose};
use bellwether::domain::finding::{Finding, Severity};
use bellwether::domain::fleet::{self, Change, FleetState, Identity, IdentityStatus};
use bellwether::domain::ids::{Actor, AppName, CommitId, DeviceId, FleetName, RolloutName, StageName, Version};
use bellwether::domain::overview::OverviewInput;
use bellwether::domain::plan::gate::{Candidate, Lineage};
use bellwether::domain::plan::pass::{MAX_PASSES, Meaning, PassInput, Scope, StageView};
use bellwether::domain::plan::passes::Passes;
use bellwether::domain::plan::policy::StagePolicy;
use bellwether::domain::plan::reroute::rerouted;
use bellwether::domain::plan::rollouts::{Contacts, DraftSteps, NewDraft, RolloutActError};
use bellwether::domain::plan::staged::{Claimed, selects};
use bellwether::domain::reported::Report;
use bellwether::domain::rollout::machine::{Act, Which};
use bellwether::domain::rollout::policy::Selector;
use bellwether::domain::snapshot::{Head, Snapshot};
use bellwether::domain::time::Timestamp;
use bellwether::protocol::v1::envelope::{Statement, Trust, offer, sign};
use ed25519_dalek::SigningKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// When scenarios begin: a Monday.
const BEGIN: &str = "2026-03-02T08:00:00Z";
/// How long anything takes that a device asks for, in milliseconds.
const TAKES_MILLIS: i64 = 1000;
/// The shortest time between two looks at rollouts, in milliseconds: what is due at once is due again only later.
const PACE_MILLIS: i64 = 1000;

/// Devices that are well look at themselves now and then only: nothing is changed behind their backs here.
const PACE: Pace = Pace {
    poll: PollMode::Long,
    poll_interval_secs: 60,
    look_interval_secs: 600,
    os_soak_secs: 60,
    os_trial_secs: 600,
    reboot_secs: 60,
};

/// Something that will happen to a device.
enum Happening {
    Told(Event),
    TimerEnds(Timer, u64),
    LookEnds(BTreeSet<String>),
    ActEnds(Box<Action>),
}

/// A device, and where it is.
struct Place {
    device: Device,
    online: bool,
    /// The entity tag of its open poll.
    poll: Option<Option<String>>,
    /// What it has to say and could not.
    unsaid: Option<Box<Report>>,
    /// When it was heard of last.
    heard: Option<Timestamp>,
}

/// Everything.
pub struct World {
    pub stage: StageName,
    pub files: BTreeMap<String, String>,
    pub state: FleetState,
    pub history: Vec<fleet::Event>,
    now: i64,
    passes: Passes,
    views: BTreeMap<StageName, StageView>,
    policies: Vec<StagePolicy>,
    resolver: Resolver,
    key: SigningKey,
    places: BTreeMap<DeviceId, Place>,
    queue: BTreeMap<(i64, u64), (DeviceId, u64, Happening)>,
    sequence: u64,
    looked: i64,
    broken: Vec<Broken>,
    commits: BTreeMap<CommitId, Snapshot>,
    /// Files on branches of drafts.
    branches: BTreeMap<String, BTreeMap<String, String>>,
    chance: Stream,
}

/// An image that ends at once.
struct Broken {
    image: String,
    on: BTreeSet<DeviceId>,
    /// Not any more on a device that has had this image.
    until: Option<String>,
}

/// Who is there was heard of just now.
#[derive(Debug)]
struct Heard(BTreeMap<DeviceId, Timestamp>);

impl Contacts for Heard {
    fn last_seen(&self, device: &DeviceId) -> Option<Timestamp> {
        self.0.get(device).copied()
    }
}

impl World {
    pub fn new() -> Self {
        let stage = StageName::new("main").expect("a stage");
        let policy = StagePolicy { soak_secs: 60, ..StagePolicy::with_defaults(stage.clone()) };
        let begin: Timestamp = BEGIN.parse().expect("a moment");
        Self {
            stage,
            files: BTreeMap::new(),
            state: FleetState::default(),
            history: Vec::new(),
            now: begin.millis(),
            passes: Passes::default(),
            views: BTreeMap::new(),
            policies: vec![policy],
            resolver: Resolver::default(),
            key: SigningKey::from_bytes(&[7; 32]),
            places: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            looked: 0,
            broken: Vec::new(),
            commits: BTreeMap::new(),
            branches: BTreeMap::new(),
            chance: Stream::named(1, "scenario"),
        }
    }

    pub fn clock(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn fleet() -> FleetName {
        FleetName::new("acme").expect("a fleet")
    }

    /// Looks at everything as the controller's answers do.
    pub fn look<T>(&mut self, look: impl FnOnce(&OverviewInput<'_>) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let heard = self.heard();
        let Self { policies, state, views, now, .. } = self;
        let now = Timestamp::from_millis(*now);
        let pass = PassInput { now, stages: policies, state, views, contacts: &heard };
        look(&OverviewInput { pass, last_seen: &heard.0, offline_after_secs: 180 })
    }

    fn heard(&self) -> Heard {
        let now = self.clock();
        let seen = |place: &Place| if place.online { Some(now) } else { place.heard };
        Heard(self.places.iter().filter_map(|(name, place)| Some((name.clone(), seen(place)?))).collect())
    }

    /// Files as they are on a branch become those of the stage's branch.
    pub fn merge(&mut self, branch: &str) {
        self.files = self.branches.get(branch).unwrap_or_else(|| panic!("there is no branch {branch}")).clone();
    }

    /// A commit of these files.
    fn commit(&mut self, files: &BTreeMap<String, String>, message: &str) -> (CommitId, Arc<Desired>) {
        let snapshot = Snapshot::of_files(files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())));
        let said = files.iter().flat_map(|(path, text)| [path.as_bytes(), text.as_bytes()]);
        let id = Digest::of_parts(said.chain([message.as_bytes()])).hex()[..40].to_owned();
        let commit = CommitId::new(&id).expect("digits");
        let desired = self.resolver.resolve(&snapshot);
        self.commits.insert(commit.clone(), snapshot);
        (commit, desired)
    }

    /// The files become the newest commit of the branch.
    pub fn push(&mut self, message: &str) -> CommitId {
        let (commit, desired) = self.commit(&self.files.clone(), message);
        let errors = desired.findings.iter().filter(|finding| finding.severity == Severity::Error);
        assert_eq!(errors.collect::<Vec<_>>(), Vec::<&Finding>::new(), "the fleet repo of a scenario is right");
        for device in desired.devices.keys() {
            self.comes(device);
        }
        let base = self.state.stages.get(&self.stage).and_then(|record| record.counts());
        let head = Head { commit: commit.clone(), tree: commit.clone() };
        let candidate = Candidate { head, inventory: None, desired, base, lineage: Lineage::Extends };
        self.views.entry(self.stage.clone()).or_default().candidate = Some(candidate);
        self.run_passes();
        commit
    }

    /// A device that is listed is enrolled, and its agent runs.
    fn comes(&mut self, name: &DeviceId) {
        if self.places.contains_key(name) {
            return;
        }
        let mut device = Device::new(name.clone(), 1, &mut self.chance);
        (device.skew, device.choice, device.enrolled) = (0, None, true);
        let identity = Identity {
            key_hash: key_hash(&device.key).expect("a key"),
            status: IdentityStatus::Enrolled,
            since: self.clock(),
            actor: Some(Actor::controller()),
            attributes: BTreeMap::new(),
            contender: None,
        };
        self.write(&[Change::Identity(name.clone(), identity.into())]);
        let place = Place { device, online: true, poll: None, unsaid: None, heard: None };
        self.places.insert(name.clone(), place);
        self.start(name);
    }

    fn start(&mut self, name: &DeviceId) {
        let clock = self.moment();
        let place = self.places.get_mut(name).expect("it is there");
        let device = &mut place.device;
        device.life += 1;
        place.poll = None;
        let about = About { device: name.clone(), branch: None, attributes: BTreeMap::new() };
        let start_id = Digest::of(format!("{name} {}", device.life).as_bytes()).hex()[..32].to_owned();
        let (machine, effects) = Machine::start(about, PACE, device.disk.clone(), start_id, clock);
        let (timers, calls) = (BTreeMap::new(), BTreeMap::new());
        device.running = Some(Running { machine: Some(machine), timers, calls, work: None, told: None });
        self.perform(name, effects);
    }

    fn moment(&self) -> Moment {
        Moment { wall: self.clock(), steady_millis: self.now }
    }

    /// Something happens to devices: `kiosk-1 kiosk-2 go away`, `… come back`, `IMAGE breaks on DEVICES`, `IMAGE is mended`, or
    /// `IMAGE breaks on DEVICES until they had IMAGE`.
    pub fn happen(&mut self, what: &str) {
        let devices = |text: &str| -> BTreeSet<DeviceId> {
            text.split_whitespace().map(|name| DeviceId::new(name).expect("a device")).collect()
        };
        if let Some((image, on)) = what.split_once(" breaks on ") {
            let (on, until) = on.split_once(" until they had ").map_or((on, None), |(on, until)| (on, Some(until)));
            let (image, on, until) = (image.to_owned(), devices(on), until.map(str::to_owned));
            return self.broken.push(Broken { image, on, until });
        }
        if let Some(image) = what.strip_suffix(" is mended") {
            return self.broken.retain(|broken| broken.image != image);
        }
        let (names, online) = match (what.strip_suffix(" go away"), what.strip_suffix(" come back")) {
            (Some(names), _) => (names, false),
            (_, Some(names)) => (names, true),
            (None, None) => panic!("{what:?} is nothing that happens"),
        };
        let now = self.clock();
        for name in devices(names) {
            let place = self.places.get_mut(&name).expect("the device is known");
            place.heard = Some(now);
            place.online = online;
            if let Some(unsaid) = place.unsaid.take().filter(|_| online) {
                self.report(&name, unsaid);
            }
        }
        self.settle();
    }

    /// Lets time pass.
    pub fn wait(&mut self, secs: i64) {
        let end = self.now + secs * 1000;
        loop {
            let event = self.queue.first_key_value().map(|((at, _), _)| *at);
            let rollouts = self.passes.rollouts_due().into_iter().chain(self.passes.due()).min();
            let due = rollouts.map(|at| at.millis().max(self.looked + PACE_MILLIS).max(self.now));
            let Some(at) = event.into_iter().chain(due).min().filter(|at| *at <= end) else { break };
            self.now = at;
            if due.is_some_and(|due| due <= at) {
                self.looked = at;
                self.run_pass(&Scope::Devices(BTreeSet::new()));
            }
            while let Some(first) = self.queue.first_entry().filter(|first| first.key().0 <= at) {
                let (name, life, happening) = first.remove();
                self.happens(&name, life, happening);
            }
            self.settle();
        }
        self.now = end;
    }

    fn happens(&mut self, name: &DeviceId, life: u64, happening: Happening) {
        let Some(place) = self.places.get_mut(name).filter(|place| place.device.life == life) else { return };
        let device = &mut place.device;
        let event = match happening {
            Happening::Told(event) => event,
            Happening::TimerEnds(timer, setting) => {
                let timers = device.running.as_mut().map(|running| &mut running.timers);
                if timers.is_none_or(|timers| timers.get(&timer) != Some(&setting)) {
                    return;
                }
                Event::TimerDue(timer)
            }
            Happening::LookEnds(images) => {
                let had = |image: &String| device.engine.images.contains(image);
                let breaks = |one: &&Broken| one.on.contains(name) && !one.until.as_ref().is_some_and(had);
                let broken: BTreeSet<&str> = self.broken.iter().filter(breaks).map(|one| one.image.as_str()).collect();
                crash(device, &broken);
                Event::Looked(Box::new(device.look(&images, self.now)))
            }
            Happening::ActEnds(action) => match &*action {
                Action::Host(action) => device.on_host(action),
                action => match device.perform(action, self.now) {
                    Ok(()) => Event::Done,
                    Err(failure) => Event::Failed(failure),
                },
            },
        };
        self.tell(name, event);
    }

    fn tell(&mut self, name: &DeviceId, event: Event) {
        let clock = self.moment();
        let running = self.places.get_mut(name).and_then(|place| place.device.running.as_mut());
        let Some(machine) = running.and_then(|running| running.machine.take()) else { return };
        let (machine, effects) = machine.step(event, clock);
        let device = &mut self.places.get_mut(name).expect("it is there").device;
        device.running.as_mut().expect("it runs").machine = Some(machine);
        self.perform(name, effects);
    }

    fn perform(&mut self, name: &DeviceId, effects: Vec<Effect>) {
        let mut answers = VecDeque::new();
        for effect in effects {
            let place = self.places.get_mut(name).expect("it is there");
            match effect {
                Effect::Persist(ledger) => {
                    place.device.disk = *ledger;
                    answers.push_back(Event::Persisted);
                }
                Effect::Tidy { keep: _ } => {}
                Effect::Look { images } => self.later(name, TAKES_MILLIS, Happening::LookEnds(images)),
                Effect::Act(action) => self.later(name, TAKES_MILLIS, Happening::ActEnds(Box::new(action))),
                Effect::Errands(_) => answers.push_back(Event::ErrandsEnded(Ok(None))),
                Effect::Probe(questions) => {
                    let well = questions.into_iter().map(|one| (one.id, Some(Ok(()))));
                    answers.push_back(Event::Probed(well.collect()));
                }
                Effect::Report(said) if place.online => self.report(name, said),
                Effect::Report(said) => place.unsaid = Some(said),
                Effect::Poll { etag, wait_secs: _ } => place.poll = Some(etag),
                Effect::Wake { timer, after_millis } => {
                    self.sequence += 1;
                    let setting = self.sequence;
                    let timers = place.device.running.as_mut().map(|running| &mut running.timers);
                    timers.expect("it runs").insert(timer, setting);
                    self.later(name, after_millis, Happening::TimerEnds(timer, setting));
                }
                Effect::Exit => {}
            }
        }
        for event in answers {
            self.tell(name, event);
        }
    }

    fn later(&mut self, name: &DeviceId, after_millis: i64, happening: Happening) {
        self.sequence += 1;
        let life = self.places[name].device.life;
        self.queue.insert((self.now + after_millis.max(0), self.sequence), (name.clone(), life, happening));
    }

    fn report(&mut self, name: &DeviceId, said: Box<Report>) {
        let recorded = report(&self.state, name, *said, self.clock()).expect("a device says nothing that is refused");
        if let Recorded::Newer(changes) = recorded {
            self.write(&changes);
            self.run_pass(&Scope::Devices(BTreeSet::from([name.clone()])));
        }
        self.later(name, 1, Happening::Told(Event::ReportAnswered));
    }

    /// Answers the polls of those who are there, if there is news.
    fn settle(&mut self) {
        let names: Vec<DeviceId> = self.places.keys().cloned().collect();
        for name in names {
            let Some(assignment) = self.state.devices.get(&name).and_then(|record| record.assignment.clone()) else {
                continue;
            };
            let place = self.places.get_mut(&name).expect("it is there");
            let known = place.poll.as_ref().filter(|_| place.online);
            let etag = assignment.mark().etag();
            if known.is_none_or(|known| known.as_deref() == Some(&etag)) || !self.state.serves(&assignment) {
                continue;
            }
            place.poll = None;
            let now = Timestamp::from_millis(self.now);
            let envelope = sign(&Statement::of(&Self::fleet(), &assignment, now), &self.key);
            let bytes = serde_json::to_vec(&envelope).expect("an envelope has only string keys");
            let trust = Trust { fleet: Self::fleet(), device: name.clone(), key: self.key.verifying_key() };
            let held = offer(&bytes, &trust, Some(now)).expect("what was signed is believed");
            self.later(&name, 1, Happening::Told(Event::Offered(Box::new(held))));
        }
    }

    /// Writes what somebody asked for, and answers with what the command line shows of it.
    pub fn act(&mut self, changes: &[Change]) -> String {
        self.write(changes);
        self.run_passes();
        shown(changes)
    }

    pub fn rollout_act(
        &mut self,
        name: &RolloutName,
        act: Act,
        actor: &Actor,
        reason: &str,
    ) -> Result<Vec<Change>, RolloutActError> {
        let heard = self.heard();
        let Self { policies, state, views, passes, now, .. } = self;
        let now = Timestamp::from_millis(*now);
        let input = PassInput { now, stages: policies, state, views, contacts: &heard };
        passes.act(&input, name, act, actor, reason)
    }

    /// How many steps a draft has so far besides the last one.
    pub fn steps_of(&self, name: &RolloutName) -> usize {
        self.state.rollouts.get(name).map_or(0, |record| record.head.policy.steps.len())
    }

    /// Somebody drafts a rollout: the pins are written for each device that the filter means, on a branch of its own.
    pub fn draft(
        &mut self,
        name: &RolloutName,
        changes: &[String],
        filter: &str,
        steps: DraftSteps,
        actor: &Actor,
        reason: &str,
    ) -> anyhow::Result<Vec<Change>> {
        let wishes: Vec<Wish> = changes.iter().map(|change| pin(change)).collect();
        let base = self.state.stages.get(&self.stage).and_then(|record| record.counts()).expect("a commit counts");
        let selector = Selector::Filter(filter.to_owned());
        let meant: Vec<DeviceId> = {
            let accepted = &self.views[&self.stage].accepted.as_ref().expect("it was read").desired;
            let listed = accepted.devices.iter().filter(|(device, listed)| {
                let record = self.state.devices.get(*device);
                selects(accepted, &selector, &Claimed { stage: &self.stage, device, listed, record })
            });
            listed.map(|(device, _)| device.clone()).collect()
        };
        let mut files = self.files.clone();
        let mut desk = Desk::with_devices(&self.commits[&base.commit], InventorySource::Repo);
        for device in meant {
            propose(&mut desk, &Whose::Device(device), &wishes)?;
        }
        files.extend(desk.files().into_iter().map(|file| (file.path, file.after)));
        let branch = StageName::new(&format!("draft/{name}"))?;
        let change = changes.join(", ");
        let (commit, desired) = self.commit(&files, &change);
        self.branches.insert(branch.to_string(), files);
        let (name, stage, devices) = (name.clone(), self.stage.clone(), filter.to_owned());
        let new = NewDraft { name, stage, branch, commit, base, desired, devices, steps, change };
        let heard = self.heard();
        let Self { policies, state, views, passes, now, .. } = self;
        let now = Timestamp::from_millis(*now);
        let input = PassInput { now, stages: policies, state, views, contacts: &heard };
        Ok(passes.draft(&input, &new, actor, reason)?)
    }

    /// Leads devices that failed through another release, as the commit of the rollout means it.
    pub fn reroute(
        &mut self,
        name: &RolloutName,
        which: &Which,
        (app, release): &(AppName, Version),
        actor: &Actor,
        reason: &str,
    ) -> anyhow::Result<Vec<Change>> {
        let record = self.state.rollouts.get(name).ok_or_else(|| RolloutActError::Unknown(name.clone()))?;
        let (devices, files) = (rerouted(record, which)?, &self.commits[&record.head.commit]);
        let source = InventorySource::Repo;
        let variant = self.resolver.variant(files, &source, &SecretTable::Unasked, (app, release), &devices)?;
        let heard = self.heard();
        let Self { policies, state, views, passes, now, .. } = self;
        let now = Timestamp::from_millis(*now);
        let input = PassInput { now, stages: policies, state, views, contacts: &heard };
        Ok(passes.reroute(&input, name, (which, &variant), actor, reason)?)
    }

    fn run_passes(&mut self) {
        for _ in 0..MAX_PASSES {
            if !self.run_pass(&Scope::All) {
                break;
            }
        }
        self.settle();
    }

    /// Whether it changed anything.
    fn run_pass(&mut self, scope: &Scope) -> bool {
        let heard = self.heard();
        let Self { policies, state, views, passes, now, .. } = self;
        let now = Timestamp::from_millis(*now);
        let input = PassInput { now, stages: policies, state, views, contacts: &heard };
        let output = passes.pass(&input, scope);
        for stage in &output.accepted {
            let view = views.get_mut(stage).expect("it was read");
            if let Some(candidate) = view.candidate.take() {
                view.accepted = Some(Meaning { revision: candidate.revision(), desired: candidate.desired });
            }
        }
        self.write(&output.changes);
        !output.changes.is_empty()
    }

    fn write(&mut self, changes: &[Change]) {
        self.passes.note(&self.state, changes);
        self.state.apply(changes);
        self.history.extend(changes.iter().filter_map(|change| match change {
            Change::Event(event) => Some(event.clone()),
            _ => None,
        }));
    }
}

/// `pin signage=2.0.0`.
fn pin(change: &str) -> Wish {
    let pair = change.strip_prefix("pin ").and_then(|rest| rest.split_once('='));
    let (app, version) = pair.unwrap_or_else(|| panic!("{change:?} is no pin"));
    Wish { path: vec!["pins".to_owned(), app.to_owned()], becomes: Becomes::Text(version.to_owned()) }
}

/// Containers of these images have ended once more.
fn crash(device: &mut Device, broken: &BTreeSet<&str>) {
    use bellwether::domain::reported::ServiceState;
    if device.disk.end().is_some() {
        return;
    }
    let services = device.engine.apps.values_mut().flat_map(|app| app.services.values_mut());
    for found in services.filter(|found| found.state == ServiceState::Running) {
        if broken.contains(found.content.image.as_str()) {
            found.restarts += 6;
        }
    }
}
