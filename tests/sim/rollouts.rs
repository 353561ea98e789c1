//! Rollouts under faults: fleets of up to 200 devices whose commits go out by policies of chance.
//!
//! The controller is the one of the other simulation: its reader, passes, machines, acts and store. Devices are simpler here than
//! agents are: they accept what is served, work for a while, succeed or go back, and tell it. Messages are lost, devices are away,
//! die at work and have wrong clocks, some are enrolled later, the controller dies and its store fails; people push releases of which some are bad, approve,
//! pause, retry, abort, roll back and lift. After every transaction [`oracle`] says what must hold. Then nothing goes wrong any more,
//! a good release is pushed, and everything must converge.

mod device;
mod fleet;
mod oracle;
mod people;

pub use oracle::late::NEWCOMERS;
pub use oracle::members::{CLOCK, HEARD, LEASES, SITES};
pub use oracle::{AROUND, BUDGET, EMPTY, EXPOSURE, QUARANTINE, SERVED, SETTLES, STANDS_STILL, UNMET};

use crate::controller::Controller;
use crate::oracle::Broken;
use crate::stream::Stream;
use crate::world::Counts;
use bellwether::domain::fleet::{Change, Identity, IdentityStatus, RolloutChange};
use bellwether::domain::ids::{CommitId, DeviceId, FleetName, StageName};
use bellwether::domain::plan::policy::{Limit, StagePolicy};
use bellwether::domain::rollout::gate::Failure;
use bellwether::domain::rollout::machine::{Phase, Wait};
use bellwether::domain::time::Timestamp;
use bellwether::ports::repo::fake::FakeRemote;
use bellwether::ports::store::fake::{FakeStore, Fault};
use device::Device;
use ed25519_dalek::SigningKey;
use fleet::Fleet;
use oracle::Oracle;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// When the simulated world begins.
const BEGIN_MILLIS: i64 = 1_795_000_000_000;
/// How much virtual time one round is, in milliseconds: as often as rollouts look for devices that they wait for.
const ROUND_MILLIS: i64 = 5_000;
/// How many rounds things go wrong.
const TROUBLE_ROUNDS: u32 = 300;
/// How many rounds convergence may take. The longest steps take ten minutes, and one after the other must time out.
const CONVERGE_ROUNDS: u32 = 1_440;
/// How many rounds rest is watched.
const REST_ROUNDS: u32 = 24;

/// One seed's world.
pub struct Trial {
    pub now: i64,
    pub controller: Controller,
    pub devices: BTreeMap<DeviceId, Device>,
    pub fleet: Fleet,
    pub remote: FakeRemote,
    pub chance: Stream,
    pub oracle: Oracle,
    pub calm: bool,
    /// Devices that are enrolled later.
    pub strangers: BTreeSet<DeviceId>,
    /// When the controller starts again, if it is down.
    pub starts_at: Option<i64>,
    pub counts: Counts,
    pub log: VecDeque<String>,
    pub log_lines: usize,
}

impl Trial {
    /// A fleet that has its first content, without policies so far.
    pub fn new(seed: u64, log_lines: usize) -> Self {
        let mut chance = Stream::named(seed, "rollouts");
        let fleet = Fleet::new(&mut chance);
        let stage = StageName::new("main").expect("a stage name");
        let most = Limit { at_least: 1000, per_ten_thousand: 0 };
        let policy = StagePolicy { max_unstaged: most, soak_secs: 0, ..StagePolicy::with_defaults(stage) };
        let remote = FakeRemote::new();
        let controller = Controller {
            fleet: FleetName::new("sim").expect("a fleet name"),
            stages: vec![policy],
            key: SigningKey::from_bytes(&[7; 32]),
            store: FakeStore::new(),
            mirror: remote.mirror(),
            process: None,
            starts: 0,
            written: Vec::new(),
        };
        let oracle = Oracle { sites: fleet.hosts.clone(), ..Oracle::default() };
        let strangers = fleet.hosts.keys().filter(|_| chance.happens(120)).cloned().collect();
        let devices = fleet.hosts.keys().map(|name| (name.clone(), Device::new(&mut chance))).collect();
        let mut trial = Self {
            now: BEGIN_MILLIS,
            controller,
            devices,
            fleet,
            remote,
            chance,
            oracle,
            calm: false,
            strangers,
            starts_at: None,
            counts: Counts::default(),
            log: VecDeque::new(),
            log_lines,
        };
        trial.start();
        let (now, known) = (trial.clock(), trial.devices.keys().filter(|device| !trial.strangers.contains(*device)));
        let enrolled: Vec<Change> = known.map(|device| identity(device, now)).collect();
        trial.controller.act(&enrolled, now);
        trial.commit("first content");
        trial
    }

    /// Now, as the controller's clock says.
    pub fn clock(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    /// From the first content to rest.
    pub fn run(&mut self) -> Result<(), Broken> {
        for _ in 0..24 {
            self.quiet_round()?;
        }
        self.fleet.has_policies = true;
        self.oracle.policies_from = Some(self.clock());
        for _ in 0..TROUBLE_ROUNDS {
            self.trouble();
            self.round()?;
        }
        self.calm_down();
        let mut left = CONVERGE_ROUNDS;
        while let Err(lacks) = self.converged() {
            left -= 1;
            if left == 0 {
                return Err(lacks);
            }
            self.round()?;
        }
        self.oracle.rests = true;
        for _ in 0..REST_ROUNDS {
            self.quiet_round()?;
        }
        self.converged()
    }

    fn start(&mut self) {
        let now = self.clock();
        self.controller.start_at(now);
        self.starts_at = None;
        self.note("controller starts");
    }

    /// Things that go wrong before a round.
    fn trouble(&mut self) {
        if self.chance.happens(6) {
            self.controller.crash();
            self.counts.count("rollouts: controller killed");
            // Now and then for so long that it has to be left out.
            let longest = if self.chance.happens(200) { 900_000 } else { 60_000 };
            self.starts_at = Some(self.now + self.chance.between(1_000, longest));
            self.note("controller killed");
        }
        if self.chance.happens(8) {
            let fault = if self.chance.happens(500) { Fault::NotWritten } else { Fault::AnswerLost };
            self.controller.store.fail_next(fault);
            self.counts.count("rollouts: store failures");
        }
        let names: Vec<DeviceId> = self.devices.keys().cloned().collect();
        for _ in 0..=names.len() / 40 {
            let name = self.chance.pick(&names).expect("there are devices").clone();
            let (away, dies) = (self.chance.happens(30), self.chance.happens(30));
            let longest = if self.chance.happens(300) { 1_800_000 } else { 240_000 };
            let until = self.now + self.chance.between(5_000, longest);
            let device = self.devices.get_mut(&name).expect("it was picked");
            if away {
                device.away_until = until;
                self.counts.count("rollouts: devices away");
            }
            if dies {
                device.die();
            }
        }
        if self.chance.happens(20) {
            self.enrolls();
        }
        if self.chance.happens(20) {
            let (what, good) = (self.chance.below(10), self.chance.happens(600));
            match what {
                0..=1 => self.commit("README"),
                _ => {
                    self.fleet.change(good, &mut self.chance);
                    self.commit(if good { "good" } else { "bad" });
                }
            }
        }
        if self.chance.happens(150) {
            self.operate();
        }
    }

    /// A device is enrolled that was not so far.
    fn enrolls(&mut self) {
        let now = self.clock();
        let running = self.controller.process.is_some();
        let Some(device) = self.strangers.first().filter(|_| running).cloned() else { return };
        self.controller.act(&[identity(&device, now)], now);
        // A store that fails loses it; then it is tried again.
        let state = self.controller.process.as_ref().map(|process| &process.state);
        if state.is_some_and(|state| state.devices.get(&device).is_some_and(|record| record.identity.is_some())) {
            self.strangers.remove(&device);
            self.counts.count("rollouts: newcomers");
            self.note(&format!("{device} is enrolled"));
        }
    }

    /// Operators, without trouble.
    fn round(&mut self) -> Result<(), Broken> {
        if self.calm && self.chance.happens(200) {
            self.operate();
        }
        self.quiet_round()
    }

    /// Five seconds: the watcher, the alarm, and every device.
    fn quiet_round(&mut self) -> Result<(), Broken> {
        self.now += ROUND_MILLIS;
        let now = self.clock();
        if self.starts_at.is_some_and(|at| at <= self.now) {
            self.start();
        }
        if let Some(news) = self.controller.look(now) {
            self.controller.take_news(news, now);
        }
        self.controller.tick(now);
        self.check()?;
        let names: Vec<DeviceId> = self.devices.keys().cloned().collect();
        for name in names {
            self.device_round(&name)?;
        }
        self.check()
    }

    /// What was written must hold.
    pub fn check(&mut self) -> Result<(), Broken> {
        let now = self.clock();
        for written in std::mem::take(&mut self.controller.written) {
            for change in &written.changes {
                match change {
                    Change::Event(event) => {
                        self.note(&format!("{} {}: {}", event.kind, event.subject, event.message));
                        let kind = match event.kind.as_str() {
                            "Done" => "rollouts: done",
                            "Error" => "rollouts: errors",
                            "RolledBack" => "rollouts: rolled back",
                            "Superseded" => "rollouts: superseded",
                            "StepBlocked" => "rollouts: steps blocked",
                            "LateStopped" => "rollouts: late ones stopped",
                            "Paused" => "rollouts: paused",
                            "Lifted" => "rollouts: quarantines lifted",
                            _ => continue,
                        };
                        self.counts.count(kind);
                    }
                    Change::Rollout(_, RolloutChange::Member(_, member)) => {
                        let kind = match &member.phase {
                            Phase::Bad { failure: Failure::Lost, .. } => "rollouts: lost",
                            Phase::Ready { .. } => "rollouts: sites waited for",
                            Phase::Queued { wait: Wait::CatchUp(_) } => "rollouts: catching up",
                            _ => continue,
                        };
                        self.counts.count(kind);
                    }
                    Change::Assignment(one) => {
                        let line = format!(
                            "assigns {} {} {:?} {}",
                            one.device,
                            one.order,
                            one.rollout,
                            one.spec.digest.short()
                        );
                        self.note(&line);
                    }
                    _ => {}
                }
            }
            self.oracle.wrote(&written, now)?;
        }
        Ok(())
    }

    /// Adds a line to the log.
    pub fn note(&mut self, line: &str) {
        if self.log_lines == 0 {
            return;
        }
        if self.log.len() == self.log_lines {
            self.log.pop_front();
        }
        self.log.push_back(format!("{:>6}  {line}", (self.now - BEGIN_MILLIS) / 1000));
    }

    /// Commits the fleet as it is.
    pub fn commit(&mut self, what: &str) {
        let files = self.fleet.files();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let parents: Vec<CommitId> = self.remote.tip("main").into_iter().collect();
        let commit = self.remote.commit(&parents.iter().collect::<Vec<_>>(), &files);
        self.remote.point("main", &commit);
        self.note(&format!("push {}: {what}, value {}", commit.short(), self.fleet.value));
    }

    /// From now on nothing goes wrong, and a good release is pushed.
    fn calm_down(&mut self) {
        self.calm = true;
        self.note("everything works from now on");
        self.controller.store = self.controller.store.backup();
        if self.controller.process.is_some() {
            self.controller.crash();
        }
        self.start();
        for device in self.devices.values_mut() {
            device.away_until = 0;
        }
        while !self.strangers.is_empty() {
            self.enrolls();
        }
        self.fleet.change(true, &mut self.chance);
        self.commit("the last one");
    }
}

fn identity(device: &DeviceId, now: Timestamp) -> Change {
    let identity = Identity {
        key_hash: bellwether::domain::digest::Digest::of(device.as_str().as_bytes()),
        status: IdentityStatus::Enrolled,
        since: now,
        actor: None,
        attributes: BTreeMap::new(),
        contender: None,
    };
    Change::Identity(device.clone(), Arc::new(identity))
}
