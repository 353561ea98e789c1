//! The world: a queue of things that will happen, and everything that they happen to.

mod devices;
mod network;

use crate::controller::Controller;
use crate::device::Device;
use crate::fleet::{FLEET, FleetText, STAGES};
use crate::network::{Ask, Call, Say, Weather};
use crate::oracle::{Broken, Oracle};
use crate::stream::Stream;
use bellwether::controller::watch::News;
use bellwether::domain::desired::Resolver;
use bellwether::domain::device::action::Action;
use bellwether::domain::device::machine::{PollMode, Timer};
use bellwether::domain::ids::{DeviceId, FleetName, StageName};
use bellwether::domain::plan::policy::{Limit, StagePolicy};
use bellwether::domain::reported::ReportId;
use bellwether::domain::time::Timestamp;
use bellwether::ports::repo::fake::FakeRemote;
use bellwether::ports::store::fake::FakeStore;
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
    /// An app takes its update lock, or gives it back.
    Lock,
}

/// Streams of chance, one for each purpose.
pub struct Streams {
    pub order: Stream,
    pub network: Stream,
    pub devices: Stream,
    pub people: Stream,
    pub operator: Stream,
    pub mishaps: Stream,
    pub locks: Stream,
    pub actions: Stream,
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
    captured_actions: Vec<(String, Arc<[u8]>)>,
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
                host: Default::default(),
                soak_secs: 60,
                promotion: Default::default(),
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
                locks: Stream::named(seed, "locks"),
                actions: Stream::named(seed, "actions"),
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
            captured_actions: Vec::new(),
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
        self.at(20_000, Happening::Lock);
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
            Happening::Lock => self.lock(),
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
}
