//! A fleet for tests: devices that do what they are told to do, in virtual time.

use super::super::member::Member;
use super::super::*;
use crate::domain::ids::LabelName;
use crate::domain::rollout::budget::Group;
use crate::domain::rollout::freeze::Freezes;
use crate::domain::rollout::gate::Failure;
use crate::domain::rollout::policy::Selector;
use crate::domain::window::{Opening, Windows};

/// What a device does with what it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Acknowledges after a second, and is healthy so many seconds later.
    Good(i64),
    /// Acknowledges after a second, and fails so many seconds later.
    Fails(i64),
    /// Acknowledges after a second, and is never heard of again.
    Vanishes,
    /// Says nothing at all.
    Silent,
}

#[derive(Clone, Debug)]
pub struct Device {
    pub online: bool,
    pub manner: Manner,
    pub windows: Windows,
    /// How its windows stand, whatever they are.
    pub opening: Option<Opening>,
    pub labels: BTreeMap<LabelName, String>,
    pub groups: BTreeSet<String>,
    pub excluded: Option<String>,
}

impl Device {
    pub fn good() -> Self {
        Self {
            online: true,
            manner: Manner::Good(10),
            windows: Windows::default(),
            opening: None,
            labels: BTreeMap::new(),
            groups: BTreeSet::new(),
            excluded: None,
        }
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(LabelName::new(key).expect("a label"), value.to_owned());
        self
    }

    pub fn group(mut self, group: &str) -> Self {
        self.groups.insert(group.to_owned());
        self
    }

    pub fn manner(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }

    pub fn offline(self) -> Self {
        Self { online: false, ..self }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Fleet {
    pub devices: BTreeMap<DeviceId, Device>,
    pub freezes: Freezes,
    /// Devices that hold a slot of the rollout; kept by the bench.
    pub busy: BTreeSet<DeviceId>,
}

impl World for Fleet {
    fn selects(&self, selector: &Selector, device: &DeviceId) -> bool {
        match selector {
            Selector::All => true,
            Selector::Group(group) => self.devices[device].groups.contains(group),
            Selector::Filter(text) => device.as_str().contains(text.as_str()),
        }
    }

    fn excluded(&self, device: &DeviceId) -> Option<String> {
        self.devices[device].excluded.clone()
    }

    fn is_online(&self, device: &DeviceId) -> bool {
        self.devices[device].online
    }

    fn opening(&self, device: &DeviceId, now: Timestamp) -> Opening {
        let one = &self.devices[device];
        one.opening.unwrap_or_else(|| one.windows.opening(now))
    }

    fn label<'a>(&'a self, label: &LabelName, device: &DeviceId) -> Option<&'a str> {
        self.devices[device].labels.get(label).map(String::as_str)
    }

    fn group(&self, label: &LabelName, value: &str) -> Group {
        let members = self.devices.iter().filter(|(device, _)| self.label(label, device) == Some(value));
        let mut group = Group::default();
        for (_, one) in members {
            group.members += 1;
            group.away += u32::from(!one.online);
        }
        group
    }

    fn freezes(&self) -> &Freezes {
        &self.freezes
    }
}

/// A rollout, its fleet, and what is still to be heard.
#[derive(Clone, Debug)]
pub struct Bench {
    pub rollout: Option<Rollout>,
    pub fleet: Fleet,
    pub now: Timestamp,
    pub coming: BTreeMap<(Timestamp, u64), (DeviceId, Word)>,
    pub effects: Vec<(Timestamp, Effect)>,
    pub sent: u64,
}

pub fn device(name: &str) -> DeviceId {
    DeviceId::new(name).expect("a name")
}

pub fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub fn commit(digit: char) -> CommitId {
    CommitId::new(&digit.to_string().repeat(40)).expect("a commit")
}

pub fn ada() -> Actor {
    Actor::new("ada").expect("an actor")
}

pub fn start() -> Timestamp {
    "2026-11-02T08:00:00Z".parse().expect("a moment")
}

pub fn change(name: &str) -> Change {
    Change {
        target: digest(&format!("{name} new")),
        previous: Some(digest(&format!("{name} old"))),
        detour: Vec::new(),
        reversal: Reversal::Possible,
    }
}

impl Bench {
    pub fn new(policy: Policy, devices: impl IntoIterator<Item = (String, Device)>) -> Self {
        let devices: BTreeMap<DeviceId, Device> = devices.into_iter().map(|(name, one)| (device(&name), one)).collect();
        let changes = devices.keys().map(|device| (device.clone(), change(device.as_str())));
        let name = RolloutName::new("main-1a2b3c4d").expect("a name");
        let stage = StageName::new("main").expect("a name");
        let rollout = Rollout::draft(name, stage, commit('1'), policy, changes, start());
        Self {
            rollout: Some(rollout),
            fleet: Fleet { devices, ..Fleet::default() },
            now: start(),
            coming: BTreeMap::new(),
            effects: Vec::new(),
            sent: 0,
        }
    }

    /// So many devices alike: `d00`, `d01`, …
    pub fn of(policy: Policy, count: usize, one: &Device) -> Self {
        Self::new(policy, (0..count).map(|number| (format!("d{number:02}"), one.clone())))
    }

    pub fn active(mut self) -> Self {
        self.act(Act::Activate).expect("a draft can be activated");
        self
    }

    pub fn rollout(&self) -> &Rollout {
        self.rollout.as_ref().expect("between inputs there is a rollout")
    }

    pub fn status(&self) -> &'static str {
        self.rollout().head().status.as_str()
    }

    pub fn step(&self, number: usize) -> &Step {
        &self.rollout().head().steps[number]
    }

    pub fn member(&self, name: &str) -> &Member {
        &self.rollout().members()[name]
    }

    pub fn act(&mut self, act: Act) -> Result<(), Refusal> {
        let rollout = self.rollout.take().expect("between inputs there is a rollout");
        let (rollout, done) = rollout.act(self.now, &self.fleet, act, &ada(), "because");
        let turn = match done {
            Ok(turn) => turn,
            Err(refusal) => {
                self.rollout = Some(rollout);
                return Err(refusal);
            }
        };
        self.after(rollout, turn);
        Ok(())
    }

    pub fn hear(&mut self, name: &str, word: Word) {
        let rollout = self.rollout.take().expect("between inputs there is a rollout");
        let (rollout, turn) = rollout.hear(self.now, &self.fleet, &device(name), word);
        self.after(rollout, turn);
    }

    pub fn tick(&mut self) {
        let rollout = self.rollout.take().expect("between inputs there is a rollout");
        let (rollout, turn) = rollout.tick(self.now, &self.fleet);
        self.after(rollout, turn);
    }

    /// Stored, and loaded again.
    pub fn restart(&mut self) {
        self.rollout = self.rollout.take().map(|rollout| reload(&rollout));
    }

    /// A device comes or goes, and is heard of if it comes.
    pub fn online(&mut self, name: &str, online: bool) {
        self.fleet.devices.get_mut(name).expect("a device").online = online;
        if online {
            self.hear(name, Word::Contact);
        }
    }

    pub fn after(&mut self, rollout: Rollout, turn: Turn) {
        self.fleet.busy =
            rollout.members.iter().filter(|(_, one)| one.holds_slot()).map(|(device, _)| device.clone()).collect();
        self.rollout = Some(rollout);
        for effect in turn.effects {
            if let Effect::Offer { device, digest, .. } | Effect::GoBack { device, digest } = &effect {
                self.react(device.clone(), *digest, matches!(effect, Effect::GoBack { .. }));
            }
            self.effects.push((self.now, effect));
        }
    }

    fn react(&mut self, device: DeviceId, digest: Digest, old: bool) {
        let Device { manner, online, .. } = &self.fleet.devices[&device];
        let after = |secs| self.now.plus_secs(secs);
        let words = match (manner, old, online) {
            (Manner::Silent, _, _) | (_, _, false) | (Manner::Vanishes, true, _) => vec![],
            (Manner::Good(secs), ..) | (Manner::Fails(secs), true, _) => {
                let since = after(1 + secs);
                vec![(after(1), Word::Acknowledged { digest }), (since, Word::Healthy { digest, since })]
            }
            (Manner::Vanishes, false, _) => vec![(after(1), Word::Acknowledged { digest })],
            (Manner::Fails(secs), false, _) => {
                let failure = Failure::Failed;
                let failed =
                    Word::Failed { digest, failure, phase: None, message: "no space left".to_owned(), log: Vec::new() };
                vec![(after(1), Word::Acknowledged { digest }), (after(1 + secs), failed)]
            }
        };
        for (at, word) in words {
            self.sent += 1;
            self.coming.insert((at, self.sent), (device.clone(), word));
        }
    }

    /// The next moment at which anything happens by itself.
    pub fn next(&self) -> Option<Timestamp> {
        let heard = self.coming.first_key_value().map(|((at, _), _)| *at);
        heard.into_iter().chain(self.rollout().next(self.now, &self.fleet)).min()
    }

    /// Lets everything happen until then, at exactly the moments that were announced.
    pub fn run_until(&mut self, until: Timestamp) {
        let mut rounds = 0;
        while let Some(at) = self.next().filter(|at| *at <= until) {
            rounds += 1;
            assert!(rounds < 200_000, "it goes on for ever at {}: {:?}", self.now, self.rollout().head().status);
            let stood = at <= self.now;
            self.now = self.now.max(at);
            match self.coming.first_key_value().filter(|((at, _), _)| *at <= self.now).map(|(key, _)| *key) {
                Some(key) => {
                    let (device, word) = self.coming.remove(&key).expect("it was there");
                    // What a device that is away says is never heard.
                    if self.fleet.devices[&device].online {
                        self.hear(device.as_str(), word);
                    }
                }
                None => {
                    let before = self.rollout().next(self.now, &self.fleet);
                    self.tick();
                    let after = self.rollout().next(self.now, &self.fleet);
                    assert!(
                        !stood || before != after,
                        "a tick at {} that was announced changes nothing: {after:?}",
                        self.now
                    );
                }
            }
        }
        self.now = self.now.max(until);
        self.tick();
    }

    pub fn run_for(&mut self, secs: i64) {
        self.run_until(self.now.plus_secs(secs));
    }

    /// Who was offered the change, in order, with the seconds since the beginning.
    pub fn offered(&self) -> Vec<(i64, String)> {
        let offers = self.effects.iter().filter_map(|(at, effect)| match effect {
            Effect::Offer { device, .. } => Some((at.secs_since(start()), device.to_string())),
            _ => None,
        });
        offers.collect()
    }

    pub fn count_offered(&self) -> usize {
        self.offered().len()
    }

    /// The history, one line each.
    pub fn history(&self) -> String {
        let lines = self.effects.iter().filter_map(|(at, effect)| match effect {
            Effect::Note(entry) => {
                let Entry { actor, kind, message, status, .. } = entry;
                Some(format!("{:>6} {status} {actor}: {kind}: {message}", at.secs_since(start())))
            }
            _ => None,
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// As it comes back from the store.
pub fn reload(rollout: &Rollout) -> Rollout {
    let head = serde_json::to_string(rollout.head()).expect("a head can be written");
    let members = rollout.members().iter().map(|(device, member)| {
        let text = serde_json::to_string(member).expect("a member can be written");
        (device.clone(), serde_json::from_str(&text).expect("what was written can be read"))
    });
    Rollout::load(serde_json::from_str(&head).expect("what was written can be read"), members.collect())
}
