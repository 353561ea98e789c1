//! The world: a queue of things that will happen, and everything that they happen to.

use crate::controller::Controller;
use crate::device::{Device, Running, spend};
use crate::fleet::{FLEET, FleetText, STAGES};
use crate::network::{Ask, Call, CallKind, Say, Weather};
use crate::oracle::{Broken, Oracle};
use crate::stream::Stream;
use bellwether::controller::watch::News;
use bellwether::domain::desired::Resolver;
use bellwether::domain::device::action::{Action, Failure};
use bellwether::domain::device::machine::{About, Effect, Event, Machine, Pace, PollMode, Timer};
use bellwether::domain::ids::{DeviceId, FleetName, StageName};
use bellwether::domain::plan::policy::{Limit, StagePolicy};
use bellwether::domain::reported::ReportId;
use bellwether::domain::time::Timestamp;
use bellwether::ports::repo::fake::FakeRemote;
use bellwether::ports::store::fake::FakeStore;
use bellwether::protocol::v1::envelope::{Trust, offer};
use bellwether::protocol::v1::messages::EnrollRequest;
use ed25519_dalek::SigningKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// When the simulated world begins.
const BEGIN_MILLIS: i64 = 1_795_000_000_000;
/// How many captured envelopes are kept for replays.
const MAX_CAPTURED: usize = 64;
/// Milliseconds after which a client gives up on an answer, on top of what it asked to wait.
const CALL_LIMIT_MILLIS: i64 = 30_000;
/// Milliseconds between two looks at the fleet repo.
const LOOK_MILLIS: i64 = 15_000;

/// Something that will happen.
pub enum Happening {
    /// The watcher looks, if it is the one of this start of the controller.
    Look {
        start: u64,
    },
    /// Its news reach the owner.
    News {
        start: u64,
        news: Box<News>,
    },
    ControllerStarts,
    /// A request reaches the controller.
    Arrives {
        call: Call,
        ask: Arc<Ask>,
    },
    /// A held poll has waited long enough.
    PollEnds {
        call: u64,
    },
    /// An answer reaches the device.
    Answered {
        call: Call,
        say: Say,
        recorded: Option<ReportId>,
    },
    /// The client gives up.
    CallEnds {
        call: Call,
    },
    DeviceStarts {
        device: DeviceId,
    },
    TimerEnds {
        device: DeviceId,
        life: u64,
        timer: Timer,
        setting: u64,
    },
    LookEnds {
        device: DeviceId,
        life: u64,
        work: u64,
        images: BTreeSet<String>,
    },
    ActEnds {
        device: DeviceId,
        life: u64,
        work: u64,
        action: Box<Action>,
    },
    /// A request to the engine outlives the agent that made it.
    LateAct {
        device: DeviceId,
        hardware: u64,
        action: Box<Action>,
    },
    EnrollAgain {
        device: DeviceId,
        life: u64,
    },
    /// Somebody pushes.
    Push,
    /// An operator looks in.
    Operator,
    /// Something goes wrong.
    Mishap,
}

/// Streams of chance, one for each purpose.
pub struct Streams {
    pub order: Stream,
    pub network: Stream,
    pub devices: Stream,
    pub people: Stream,
    pub operator: Stream,
    pub mishaps: Stream,
    pub keys: Stream,
}

/// What happened how often: a simulation that exercises nothing finds nothing.
#[derive(Clone, Debug, Default)]
pub struct Counts(pub BTreeMap<&'static str, u64>);

impl Counts {
    pub fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

/// The world.
pub struct World {
    pub now: i64,
    queue: BTreeMap<(i64, u64, u64), Happening>,
    sequence: u64,
    pub chance: Streams,
    pub controller: Controller,
    pub devices: BTreeMap<DeviceId, Device>,
    pub names: Vec<String>,
    pub oracle: Oracle,
    pub resolver: Resolver,
    pub remote: FakeRemote,
    pub remote_away: bool,
    pub texts: BTreeMap<&'static str, FleetText>,
    pub weather: Weather,
    pub storm_until: i64,
    captured: Vec<Arc<[u8]>>,
    pub backups: Vec<FakeStore>,
    /// Whether nothing goes wrong any more.
    pub calm: bool,
    /// A stage of which nobody approves anything in the end, by choice.
    pub refused: Option<StageName>,
    /// Whether the operator ends holds in the end.
    pub keep_holds: bool,
    pub poll: PollMode,
    pub counts: Counts,
    pub failure: Option<Broken>,
    /// What happened, for people; empty unless it was asked for.
    pub log: VecDeque<String>,
    pub log_lines: usize,
    pub acts: u64,
    pub transactions_checked: u64,
}

/// Writes a line into the log, if there is one.
macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        if $world.log_lines > 0 {
            let line = format!($($text)*);
            $world.note(line);
        }
    };
}
pub(crate) use note;

impl World {
    /// A world at its beginning.
    pub fn new(seed: u64, log_lines: usize) -> Self {
        let mut setup = Stream::named(seed, "setup");
        let count = 1 + setup.below(12);
        let names: Vec<String> = (1..=count).map(|number| format!("d{number:02}")).collect();
        let limit = |at_least| Limit { at_least, per_ten_thousand: 100 };
        let stages: Vec<StagePolicy> = STAGES
            .iter()
            .map(|name| StagePolicy {
                name: StageName::new(name).expect("a stage name"),
                max_unstaged: limit(1 + setup.below(4) as usize),
                deletion_budget: limit(1 + setup.below(2) as usize),
            })
            .collect();
        let remote = FakeRemote::new();
        let controller = Controller {
            fleet: FleetName::new(FLEET).expect("a fleet name"),
            stages: stages.clone(),
            key: SigningKey::from_bytes(&[7; 32]),
            store: FakeStore::new(),
            mirror: remote.mirror(),
            process: None,
            starts: 0,
            written: Vec::new(),
        };
        let text = FleetText::new(&names, &mut setup);
        let mut keys = Stream::named(seed, "keys");
        let devices = names.iter().map(|name| DeviceId::new(name).expect("a device name"));
        let devices: BTreeMap<DeviceId, Device> =
            devices.map(|name| (name.clone(), Device::new(name, 1, &mut keys))).collect();
        let refused = setup.happens(200).then(|| stages[setup.below(3) as usize].name.clone());
        let mut world = Self {
            now: BEGIN_MILLIS,
            queue: BTreeMap::new(),
            sequence: 0,
            chance: Streams {
                order: Stream::named(seed, "order"),
                network: Stream::named(seed, "network"),
                devices: Stream::named(seed, "devices"),
                people: Stream::named(seed, "people"),
                operator: Stream::named(seed, "operator"),
                mishaps: Stream::named(seed, "mishaps"),
                keys,
            },
            controller,
            devices,
            names,
            oracle: Oracle::new(stages),
            resolver: Resolver::default(),
            remote,
            remote_away: false,
            texts: STAGES.iter().map(|stage| (*stage, text.clone())).collect(),
            weather: Weather::BAD,
            storm_until: 0,
            captured: Vec::new(),
            backups: Vec::new(),
            calm: false,
            refused,
            keep_holds: setup.happens(300),
            poll: if setup.happens(800) { PollMode::Long } else { PollMode::Plain },
            counts: Counts::default(),
            failure: None,
            log: VecDeque::new(),
            log_lines,
            acts: 0,
            transactions_checked: 0,
        };
        world.begin(&mut setup);
        world
    }

    fn begin(&mut self, setup: &mut Stream) {
        for stage in STAGES {
            // Sometimes a stage is only begun later.
            if stage == "main" || setup.happens(800) {
                self.commit(stage, "first commit");
            }
        }
        self.at(0, Happening::ControllerStarts);
        for device in self.devices.keys().cloned().collect::<Vec<_>>() {
            self.at(setup.between(0, 60_000), Happening::DeviceStarts { device });
        }
        self.at(5_000, Happening::Operator);
        self.at(setup.between(10_000, 60_000), Happening::Push);
        self.at(setup.between(10_000, 60_000), Happening::Mishap);
    }

    /// Now, as the controller's clock says.
    pub fn clock(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    /// Adds a line to the log.
    pub fn note(&mut self, line: String) {
        if self.log.len() == self.log_lines {
            self.log.pop_front();
        }
        let millis = self.now - BEGIN_MILLIS;
        self.log.push_back(format!("{:>6}.{:03}  {line}", millis / 1000, millis % 1000));
    }

    /// Lets something happen after so many milliseconds. What happens at the same time happens in an order of chance.
    pub fn at(&mut self, after_millis: i64, what: Happening) {
        self.sequence += 1;
        let tie = self.chance.order.next();
        self.queue.insert((self.now + after_millis.max(0), tie, self.sequence), what);
    }

    /// When the next thing happens.
    pub fn next_at(&self) -> Option<i64> {
        self.queue.keys().next().map(|(at, _, _)| *at)
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) {
        let Some(((time, _, _), what)) = self.queue.pop_first() else { return };
        self.now = time;
        self.counts.count("events");
        match what {
            Happening::Look { start } => self.look(start),
            Happening::News { start, news } => {
                if self.controller.process.is_some() && self.controller.starts == start {
                    let now = self.clock();
                    self.controller.take_news(*news, now);
                }
            }
            Happening::ControllerStarts => self.start_controller(),
            Happening::Arrives { call, ask } => self.arrive(&call, &ask),
            Happening::PollEnds { call } => {
                if let Some((call, say)) = self.controller.end_poll(call) {
                    self.answer(call, say);
                }
            }
            Happening::Answered { call, say, recorded } => self.answered(&call, say, recorded),
            Happening::CallEnds { call } => self.answered(&call, Say::Broken, None),
            Happening::DeviceStarts { device } => self.start_device(&device),
            Happening::TimerEnds { device, life, timer, setting } => self.timer(&device, life, timer, setting),
            Happening::LookEnds { device, life, work, images } => self.look_ends(&device, life, work, &images),
            Happening::ActEnds { device, life, work, action } => self.act_ends(&device, life, work, &action),
            Happening::LateAct { device, hardware, action } => self.act_late(&device, hardware, &action),
            Happening::EnrollAgain { device, life } => {
                if self.devices[&device].life == life && self.devices[&device].running.is_some() {
                    self.enroll(&device);
                }
            }
            Happening::Push => self.push(),
            Happening::Operator => self.operate(),
            Happening::Mishap => self.mishap(),
        }
        self.settle_controller();
    }

    /// Notes a broken rule; the first one counts.
    pub fn check(&mut self, held: Result<(), Broken>) {
        if let (Err(broken), None) = (held, &self.failure) {
            self.failure = Some(broken);
        }
    }

    /// Checks what the controller wrote, and answers polls for which there is news.
    fn settle_controller(&mut self) {
        let now = self.clock();
        for written in std::mem::take(&mut self.controller.written) {
            self.transactions_checked += 1;
            for change in &written.changes {
                use bellwether::domain::fleet::Change;
                match change {
                    Change::Assignment(one) => {
                        self.counts.count("assignments");
                        note!(
                            self,
                            "controller  assigns {} {} {} of {}",
                            one.device,
                            one.order,
                            one.spec.digest.short(),
                            one.stage
                        );
                    }
                    Change::Event(event) => {
                        note!(self, "controller  {} {}: {}", event.kind, event.subject, event.message);
                    }
                    Change::Stage(stage, record) => {
                        let accepted = record.accepted.as_ref().map(|commit| commit.short().to_owned());
                        let waits = record.waiting.as_ref().map(|waiting| waiting.commit.short().to_owned());
                        note!(self, "controller  {stage}: {accepted:?} counts, {waits:?} waits");
                    }
                    Change::Control(device, control) => {
                        if control.reissues > 0 {
                            self.counts.count("reissues");
                        }
                        note!(self, "controller  control of {device}: {control:?}");
                    }
                    _ => {}
                }
            }
            let held = self.oracle.wrote(&written, now);
            self.check(held);
        }
        for (call, say) in self.controller.answer_polls(now) {
            self.answer(call, say);
        }
    }

    fn look(&mut self, start: u64) {
        if self.controller.starts != start || self.controller.process.is_none() {
            return;
        }
        let now = self.clock();
        if let Some(news) = self.controller.look(now) {
            // The owner may be busy: what counts can change between the look and its news.
            let slow = self.chance.network.happens(if self.calm { 0 } else { 300 });
            let delay = if slow { self.chance.network.between(0, 60_000) } else { 1 };
            self.at(delay, Happening::News { start, news: Box::new(news) });
            // News never overtake each other: one thread sends them.
            self.at(delay + LOOK_MILLIS, Happening::Look { start });
        }
    }

    fn start_controller(&mut self) {
        if self.controller.process.is_some() {
            return;
        }
        self.controller.start();
        note!(self, "controller  starts");
        let state = &self.controller.process.as_ref().expect("it was just started").state;
        self.oracle.load(state);
        let start = self.controller.starts;
        // Devices may be faster than the first look.
        let delay = self.chance.mishaps.between(0, 3_000);
        self.at(delay, Happening::Look { start });
    }

    /// The controller's process dies; it is started again after a while.
    pub fn crash_controller(&mut self, down_millis: i64) {
        for call in self.controller.crash() {
            self.answer(call, Say::Broken);
        }
        self.at(down_millis, Happening::ControllerStarts);
    }

    fn weather(&self) -> Weather {
        if self.now < self.storm_until { Weather::STORM } else { self.weather }
    }

    fn delay(&mut self) -> i64 {
        let slow = self.weather().slow;
        if self.chance.network.happens(slow) {
            self.chance.network.between(1_000, 90_000)
        } else {
            self.chance.network.between(5, 200)
        }
    }

    /// A device asks.
    fn call(&mut self, device: &DeviceId, kind: CallKind, ask: Ask) {
        self.sequence += 1;
        let id = self.sequence;
        let Some(one) = self.devices.get_mut(device) else { return };
        let call = Call { id, device: device.clone(), life: one.life, kind, key: one.key.clone() };
        let Some(running) = one.running.as_mut() else { return };
        running.calls.insert(kind, id);
        let waits = match &ask {
            Ask::Poll { wait_secs, .. } => Controller::hold_secs(*wait_secs) * 1000,
            Ask::Enroll(_) | Ask::Report(_) => 0,
        };
        self.at(waits + CALL_LIMIT_MILLIS, Happening::CallEnds { call: call.clone() });
        let ask = Arc::new(ask);
        let weather = self.weather();
        let copies = if self.chance.network.happens(weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            if self.chance.network.happens(weather.lost) {
                self.counts.count("messages lost");
                continue;
            }
            let delay = self.delay();
            self.at(delay, Happening::Arrives { call: call.clone(), ask: ask.clone() });
        }
    }

    fn arrive(&mut self, call: &Call, ask: &Ask) {
        let now = self.clock();
        let said = self.controller.receive(call, ask, now);
        match said {
            Some(say) => self.answer(call.clone(), say),
            None => {
                if let Ask::Poll { wait_secs, .. } = ask {
                    let wait = Controller::hold_secs(*wait_secs) * 1000;
                    self.at(wait, Happening::PollEnds { call: call.id });
                }
            }
        }
    }

    /// The controller answers.
    fn answer(&mut self, call: Call, say: Say) {
        let weather = self.weather();
        if self.chance.network.happens(weather.lost) {
            self.counts.count("messages lost");
            return;
        }
        let say = match say {
            Say::Envelope(bytes) => {
                if self.captured.len() < MAX_CAPTURED {
                    self.captured.push(bytes.clone());
                } else {
                    let place = self.chance.network.below(MAX_CAPTURED as u64) as usize;
                    self.captured[place] = bytes.clone();
                }
                if self.chance.network.happens(weather.forged) { self.forge(&bytes) } else { Say::Envelope(bytes) }
            }
            other => other,
        };
        let replay = call.kind == CallKind::Poll && self.chance.network.happens(weather.replayed);
        let replayed = replay.then(|| self.chance.network.pick(&self.captured).cloned()).flatten();
        let say = replayed.map_or(say, |bytes| {
            self.counts.count("envelopes replayed");
            Say::Envelope(bytes)
        });
        let delay = self.delay();
        let told = matches!(say, Say::Envelope(_) | Say::NotModified | Say::Nothing);
        let recorded = told.then(|| self.controller.recorded(&call.device));
        self.at(delay, Happening::Answered { call, say, recorded });
    }

    /// The same envelope with another stage in it: the signature does not fit any more, the shape does.
    fn forge(&mut self, bytes: &[u8]) -> Say {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD;
        let mut envelope: serde_json::Value = serde_json::from_slice(bytes).expect("it was just written");
        let payload = base64.decode(envelope["payload"].as_str().expect("a payload")).expect("it is base64");
        let mut statement: serde_json::Value = serde_json::from_slice(&payload).expect("it was just written");
        let generation = statement["generation"].as_u64().expect("a generation");
        statement["generation"] = (generation + 1 + self.chance.network.below(3)).into();
        envelope["payload"] = base64.encode(statement.to_string()).into();
        self.counts.count("envelopes forged");
        Say::Envelope(envelope.to_string().into_bytes().into())
    }

    fn answered(&mut self, call: &Call, say: Say, recorded: Option<ReportId>) {
        let Some(device) = self.devices.get_mut(&call.device) else { return };
        let life = device.life;
        let Some(running) = device.running.as_mut() else { return };
        if life != call.life || running.calls.get(&call.kind) != Some(&call.id) {
            return;
        }
        running.calls.remove(&call.kind);
        let failure = |reason: &str| Failure { reason: "Unreachable", message: reason.to_owned() };
        let event = match (call.kind, say) {
            (CallKind::Enroll, say) => return self.enrolled(&call.device, &say),
            (CallKind::Report, Say::Recorded) => Event::ReportAnswered,
            (CallKind::Report, other) => {
                Event::ReportFailed { failure: failure(&format!("{other:?}")), retry_after_secs: None }
            }
            (CallKind::Poll, Say::NotModified) => Event::NotModified,
            (CallKind::Poll, Say::Nothing) => Event::NothingAssigned,
            (CallKind::Poll, Say::Envelope(bytes)) => {
                let trust = Trust {
                    fleet: self.controller.fleet.clone(),
                    device: call.device.clone(),
                    key: self.controller.key.verifying_key(),
                };
                let clock = Timestamp::from_millis(self.now + device.skew);
                match offer(&bytes, &trust, Some(clock)) {
                    Ok(held) => Event::Offered(Box::new(held)),
                    Err(refusal) => Event::Refused(refusal),
                }
            }
            (CallKind::Poll, other) => {
                if matches!(other, Say::Refused(401)) {
                    // A person has to join it to the controller again.
                    device.enrolled = false;
                }
                Event::LinkFailed { failure: failure(&format!("{other:?}")), retry_after_secs: None }
            }
        };
        if let Some(recorded) = recorded {
            self.tell(&call.device, Event::Recorded(recorded));
        }
        self.tell(&call.device, event);
    }

    /// The agent's process starts.
    fn start_device(&mut self, name: &DeviceId) {
        let now = self.now;
        let poll = self.poll;
        let Some(device) = self.devices.get_mut(name) else { return };
        if device.running.is_some() {
            return;
        }
        device.life += 1;
        device.running =
            Some(Running { machine: None, timers: BTreeMap::new(), calls: BTreeMap::new(), work: None, told: None });
        if !device.enrolled {
            return self.enroll(name);
        }
        if self.chance.devices.happens(200) {
            device.choice = self.chance.devices.pick(&STAGES).and_then(|name| StageName::new(name).ok());
        }
        let about = About { device: name.clone(), branch: device.choice.clone(), attributes: BTreeMap::new() };
        let pace = Pace { poll, ..Pace::default() };
        let start_id = format!("{:016x}{:016x}", self.chance.keys.next(), self.chance.keys.next());
        let clock = Timestamp::from_millis(now + device.skew);
        let (machine, effects) = Machine::start(about, pace, device.disk.clone(), start_id, clock);
        device.running.as_mut().expect("it was just made").machine = Some(machine);
        note!(self, "{name}  agent starts");
        self.perform(name, effects);
    }

    fn enroll(&mut self, name: &DeviceId) {
        let Some(device) = self.devices.get(name) else { return };
        let request = EnrollRequest {
            device: name.clone(),
            key: device.key.clone(),
            token: device.token.clone(),
            attributes: BTreeMap::new(),
        };
        self.call(name, CallKind::Enroll, Ask::Enroll(Box::new(request)));
    }

    fn enrolled(&mut self, name: &DeviceId, say: &Say) {
        note!(self, "{name}  enrollment: {say:?}");
        let Some(device) = self.devices.get_mut(name) else { return };
        let life = device.life;
        if matches!(say, Say::Enrolled) {
            device.enrolled = true;
            device.running = None;
            return self.at(0, Happening::DeviceStarts { device: name.clone() });
        }
        let delay = self.chance.devices.between(1_000, 30_000);
        self.at(delay, Happening::EnrollAgain { device: name.clone(), life });
    }

    /// Brings the machine an event, and does what it asks.
    fn tell(&mut self, name: &DeviceId, event: Event) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(name) else { return };
        let clock = Timestamp::from_millis(now + device.skew);
        let Some(machine) = device.running.as_mut().and_then(|running| running.machine.take()) else { return };
        if let Event::Refused(_) = event {
            self.counts.count("refusals");
        }
        let (machine, effects) = machine.step(event, clock);
        device.running.as_mut().expect("it runs").machine = Some(machine);
        self.perform(name, effects);
    }

    /// Starts every effect, in order. Writing the ledger happens here and now; its answers come when all are started.
    fn perform(&mut self, name: &DeviceId, effects: Vec<Effect>) {
        let mut answers = VecDeque::new();
        for effect in effects {
            if let Some(event) = self.perform_one(name, effect) {
                answers.push_back(event);
            }
            if self.devices[name].running.is_none() {
                return;
            }
        }
        for event in answers {
            self.tell(name, event);
        }
    }

    fn perform_one(&mut self, name: &DeviceId, effect: Effect) -> Option<Event> {
        let dies = !self.calm && self.chance.devices.happens(3);
        if dies {
            note!(self, "{name}  agent dies before an effect");
            self.kill_device(name);
            return None;
        }
        let life = self.devices[name].life;
        match effect {
            Effect::Persist(ledger) => {
                let device = self.devices.get_mut(name).expect("it is there");
                if spend(&mut device.faults.writes) {
                    self.counts.count("ledger writes failed");
                    let message = "planned fault".to_owned();
                    return Some(Event::PersistFailed(Failure { reason: "LedgerNotWritten", message }));
                }
                device.disk = *ledger;
                let mark = device.disk.mark();
                note!(self, "{name}  ledger: {:?}", mark.map(|mark| mark.order));
                let held = self.oracle.ledger(&self.devices[name]);
                self.check(held);
                if !self.calm && self.chance.devices.happens(5) {
                    note!(self, "{name}  agent dies after writing its ledger");
                    self.kill_device(name);
                    return None;
                }
                return Some(Event::Persisted);
            }
            Effect::Look { images } => {
                let work = self.begin_work(name);
                let delay = self.chance.devices.between(20, 400);
                self.at(delay, Happening::LookEnds { device: name.clone(), life, work, images });
            }
            Effect::Act(action) => {
                self.acts += 1;
                self.counts.count("actions");
                let held = self.oracle.acts(&self.devices[name], &action);
                note!(self, "{name}  {action}");
                self.check(held);
                let work = self.begin_work(name);
                let delay = self.chance.devices.between(50, 3_000);
                self.at(delay, Happening::ActEnds { device: name.clone(), life, work, action: Box::new(action) });
            }
            Effect::Report(report) => {
                note!(
                    self,
                    "{name}  reports {}.{} {:?} {:?}",
                    report.start,
                    report.seq,
                    report.phase,
                    report.observed.map(|mark| mark.order)
                );
                let running = self.devices.get_mut(name).and_then(|device| device.running.as_mut());
                running.expect("it runs").told = Some(Box::as_ref(&report).clone());
                self.call(name, CallKind::Report, Ask::Report(report));
            }
            Effect::Poll { etag, wait_secs } => self.call(name, CallKind::Poll, Ask::Poll { etag, wait_secs }),
            Effect::Wake { timer, after_millis } => {
                self.sequence += 1;
                let setting = self.sequence;
                let running = self.devices.get_mut(name).and_then(|device| device.running.as_mut());
                running.expect("it runs").timers.insert(timer, setting);
                self.at(after_millis, Happening::TimerEnds { device: name.clone(), life, timer, setting });
            }
            Effect::Exit => self.kill_device(name),
        }
        None
    }

    fn begin_work(&mut self, name: &DeviceId) -> u64 {
        self.sequence += 1;
        let work = self.sequence;
        let running = self.devices.get_mut(name).and_then(|device| device.running.as_mut());
        running.expect("it runs").work = Some(work);
        work
    }

    /// The agent's process ends, by itself or not; the service manager starts it again.
    pub fn kill_device(&mut self, name: &DeviceId) {
        self.counts.count("agents ended");
        if let Some(device) = self.devices.get_mut(name) {
            device.running = None;
        }
        let delay = if self.calm { 1_000 } else { self.chance.devices.between(500, 40_000) };
        self.at(delay, Happening::DeviceStarts { device: name.clone() });
    }

    fn timer(&mut self, name: &DeviceId, life: u64, timer: Timer, setting: u64) {
        let Some(device) = self.devices.get_mut(name).filter(|device| device.life == life) else { return };
        let Some(running) = device.running.as_mut() else { return };
        if running.timers.get(&timer) != Some(&setting) {
            return;
        }
        running.timers.remove(&timer);
        self.tell(name, Event::TimerDue(timer));
    }

    /// The device, if this is the work that it does now.
    fn working(&mut self, name: &DeviceId, life: u64, work: u64) -> Option<&mut Device> {
        let device = self.devices.get_mut(name).filter(|device| device.life == life)?;
        let running = device.running.as_mut().filter(|running| running.work == Some(work))?;
        running.work = None;
        Some(device)
    }

    fn look_ends(&mut self, name: &DeviceId, life: u64, work: u64, images: &BTreeSet<String>) {
        let now = self.now;
        let Some(device) = self.working(name, life, work) else { return };
        let look = device.look(images, now);
        self.tell(name, Event::Looked(Box::new(look)));
    }

    fn act_ends(&mut self, name: &DeviceId, life: u64, work: u64, action: &Action) {
        let now = self.now;
        let hardware = self.devices[name].hardware;
        let Some(device) = self.working(name, life, work) else {
            // The agent died; the engine may go on with what it was asked.
            if self.chance.devices.happens(500) {
                let delay = self.chance.devices.between(0, 5_000);
                self.at(delay, Happening::LateAct { device: name.clone(), hardware, action: Box::new(action.clone()) });
            }
            return;
        };
        let performed = device.perform(action, now);
        let held = self.oracle.volumes(&self.devices[name]);
        self.check(held);
        if !self.calm && self.chance.devices.happens(10) {
            note!(self, "{name}  agent dies after {action}");
            return self.kill_device(name);
        }
        match performed {
            Ok(()) => self.tell(name, Event::Done),
            Err(failure) => {
                note!(self, "{name}  {failure}");
                self.counts.count("actions failed");
                self.tell(name, Event::Failed(failure));
            }
        }
    }

    fn act_late(&mut self, name: &DeviceId, hardware: u64, action: &Action) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(name).filter(|device| device.hardware == hardware) else { return };
        device.touched = true;
        // Nobody waits for the answer any more.
        let _ = device.perform(action, now);
        self.counts.count("late actions");
        note!(self, "{name}  late: {action}");
    }

    /// Asks a running agent to stop.
    pub fn stop_device(&mut self, name: &DeviceId) {
        self.tell(name, Event::StopRequested);
    }
}
