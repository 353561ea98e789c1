//! Every request that changes something in a real engine is a place where the agent may die, or the engine: the end is the same.
//!
//! Several devices share an engine, each behind a socket that strikes at another request of the same update. `just kill-engine`
//! goes on until no request is left; otherwise each scenario is run once, the way back from where the way there has come to.

use super::{say, setting};
use crate::harness::engine::Engine as RealEngine;
use crate::harness::fleet::{Fleet, On, is_settled};
use crate::harness::process::eventually;
use crate::harness::requests::{At, Requests, Side, Strike};
use bellwether::domain::overview::device::DeviceDetail;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};

/// What is changed, in both directions.
const SCENARIOS: [(&str, &str); 6] = [
    ("update by download-then-kill", "plain"),
    ("update by hand-over", "smooth"),
    ("new volume and network", "wider"),
    ("update back by download-then-kill", "plain"),
    ("update back by hand-over", "smooth"),
    ("volume and network given up", "wider"),
];
/// The first place of each scenario when it is run once: the way back begins where the way there ended, and an update back has
/// nothing to bring, so that together they see most of an update.
const SAMPLE: [usize; SCENARIOS.len()] = [0, 0, 0, 3, 5, 5];
/// How many devices are updated at a time: as many as a commit may change without a rollout.
const DEVICES: usize = 5;
/// How many rounds of all scenarios there are at most: far more requests than an update has.
const MAX_ROUNDS: usize = 6;

/// Which services and networks are how.
#[derive(Default)]
struct State(BTreeSet<&'static str>);

impl State {
    fn toggle(&mut self, what: &'static str) {
        if !self.0.remove(what) {
            self.0.insert(what);
        }
    }

    fn image(&self, engine: &RealEngine, service: &str) -> String {
        engine.registry().worker[usize::from(self.0.contains(service))].by_digest()
    }

    fn compose(&self, engine: &RealEngine) -> String {
        let (mounts, networks, more) = if self.0.contains("wider") {
            let more = "volumes: { data: , more: }\nnetworks: { back: { internal: true } }\n";
            ("[data:/data, more:/more]", "[default, back]", more)
        } else {
            ("[data:/data]", "[default]", "volumes: { data: }\n")
        };
        let (plain, smooth) = (self.image(engine, "plain"), self.image(engine, "smooth"));
        format!(
            "services:\n  plain:\n    image: {plain}\n    volumes: {mounts}\n    networks: {networks}\n  smooth:\n    image: {smooth}\n    \
             x-bellwether: {{ update: {{ strategy: hand-over, handover_timeout: 1s }} }}\n{more}"
        )
    }
}

/// The fleet on its engine, behind its sockets.
struct Place {
    engine: &'static RealEngine,
    fleet: Fleet,
    state: State,
    release: u32,
    names: Vec<String>,
    sockets: BTreeMap<String, Requests>,
}

impl Place {
    fn new(name: &str, devices: usize) -> Option<Self> {
        let engine: &'static RealEngine = Box::leak(Box::new(RealEngine::start(name)?));
        let names: Vec<String> = (1..=devices).map(|number| format!("{name}-{number}")).collect();
        let hosts: String = names.iter().map(|device| format!("    {device}:\n")).collect();
        let state = State::default();
        let files = [
            ("fleet.yml", "name: acme\n".to_owned()),
            ("inventory.yml", format!("all:\n  hosts:\n{hosts}")),
            ("group_vars/all.yml", "branch: main\npins: { web: latest }\n".to_owned()),
            ("releases/web/1.0.0/release.yml", "version: 1.0.0\n".to_owned()),
            ("releases/web/1.0.0/compose.yml", state.compose(engine)),
        ];
        let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
        let mut fleet = Fleet::start(name, On::Engine(engine), &files);
        let mut sockets = BTreeMap::new();
        for device in &names {
            let folder = fleet.state_dir(device);
            let folder = folder.parent().expect("a folder of all devices");
            std::fs::create_dir_all(folder).expect("make the folder of devices");
            let requests = Requests::listen(&folder.join(format!("{device}.sock")), &engine.docker_socket());
            fleet.sockets.insert(device.clone(), requests.socket().to_owned());
            sockets.insert(device.clone(), requests);
        }
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        fleet.enroll(&borrowed);
        let mut place = Self { engine, fleet, state, release: 0, names, sockets };
        place.settle();
        for device in place.names.clone() {
            let line = format!("echo {device} > /data/file");
            engine.docker(&["exec", &place.containers(&device)["web/plain"], "/bin/sh", "-c", &line]);
        }
        Some(place)
    }

    fn containers(&self, device: &str) -> BTreeMap<String, String> {
        self.fleet.containers(device)
    }

    /// Releases the state as it now is.
    fn push(&mut self) {
        self.release += 1;
        let (version, compose) = (format!("1.0.{}", self.release), self.state.compose(self.engine));
        let folder = format!("releases/web/{version}");
        let files = [
            (format!("{folder}/release.yml"), format!("version: {version}\n")),
            (format!("{folder}/compose.yml"), compose),
        ];
        let files = files.each_ref().map(|(path, text)| (path.as_str(), text.as_str()));
        self.fleet.push("main", &version, &files);
    }

    /// Starts again who was killed, until all devices have what the newest commit wants.
    fn settle(&mut self) {
        let tip = self.fleet.repo.tip("main");
        for device in self.names.clone() {
            eventually(&format!("{device} has settled"), || {
                self.revive();
                let detail = self.fleet.try_get::<DeviceDetail>(&format!("/v1/devices/{device}")).ok()?;
                (detail.assignment.as_ref()?.commit.as_str() == tip && is_settled(&detail.row)).then_some(())
            });
        }
    }

    fn revive(&mut self) {
        let authority = self.fleet.ca_file().display().to_string();
        for device in &self.names {
            if self.fleet.agents.get_mut(device).is_some_and(|agent| agent.try_status().is_some()) {
                self.fleet.start_agent(device, &["--ca-file", &authority]);
            }
        }
    }

    /// One of each service, running the right image, and as many of everything else as there should be.
    fn check(&self, device: &str, what: &str) {
        let label = format!("label=bellwether.device={device}");
        let format = "{{.Label \"bellwether.service\"}} {{.State}} {{.Image}}";
        let found = self.engine.docker(&["ps", "--all", "--no-trunc", "--filter", &label, "--format", format]);
        let mut found: Vec<&str> = found.lines().collect();
        found.sort_unstable();
        let wanted = ["plain", "smooth"].map(|one| format!("{one} running {}", self.state.image(self.engine, one)));
        assert_eq!(found, wanted, "{device} after {what}");
        let count = |kind: &str| self.engine.docker(&[kind, "ls", "--quiet", "--filter", &label]).lines().count();
        assert_eq!(count("network"), if self.state.0.contains("wider") { 2 } else { 1 }, "{device} after {what}");
        let volumes = self.engine.docker(&["volume", "ls", "--quiet", "--filter", &label]);
        assert!(!volumes.is_empty(), "{device} after {what}: volumes are kept");
    }

    /// What a person had in a volume is still in it.
    fn check_data(&self) {
        for device in &self.names {
            let plain = &self.containers(device)["web/plain"];
            assert_eq!(self.engine.docker(&["exec", plain, "/bin/cat", "/data/file"]), *device);
        }
    }
}

/// Places in their order: before the first request, after it, before the second, …
fn side_of(point: usize) -> Side {
    if point.is_multiple_of(2) { Side::Before } else { Side::After }
}

/// A place of a scenario, as a row of the table: how often it was struck there.
type Table = BTreeMap<(usize, usize, String, Side), usize>;

fn print(table: &Table, victim: &str) {
    say(&format!("{:<36} {:>2}  {:<20} {:<7} {victim} killed", "scenario", "", "request", "side"));
    for ((scenario, number, request, side), times) in table {
        let side = format!("{side:?}").to_lowercase();
        say(&format!("{:<36} {number:>2}  {request:<20} {side:<7} {times} x, same end", SCENARIOS[*scenario].0));
    }
}

#[test]
fn an_agent_that_is_killed_at_any_request_reaches_the_same_end() {
    let Some(mut place) = Place::new("killed", DEVICES) else { return };
    let (rounds, first) = match setting("BELLWETHER_KILL_ENGINE") {
        Some(_) => (MAX_ROUNDS, [0; SCENARIOS.len()]),
        None => (1, SAMPLE),
    };
    let mut table = Table::new();
    // The next place of each scenario; `None` once an update came to its end before it.
    let mut next = first.map(Some);
    for _ in 0..rounds {
        for (index, (what, toggled)) in SCENARIOS.iter().enumerate() {
            place.state.toggle(toggled);
            let first = next[index];
            let before: BTreeMap<String, BTreeSet<String>> = (place.names.iter())
                .map(|device| (device.clone(), place.containers(device).into_values().collect()))
                .collect();
            for (offset, device) in place.names.iter().enumerate() {
                let plan = first.map(|first| {
                    let point = first + offset;
                    let side = side_of(point);
                    let agent = Pid::from_raw(place.fleet.agents[device].id().cast_signed()).expect("a process");
                    let strike: Strike = Box::new(move || kill_process(agent, Signal::KILL).expect("kill the agent"));
                    (At::Number(point / 2 + 1), side, strike)
                });
                place.sockets[device].arm(plan);
            }
            place.push();
            place.settle();
            for (offset, device) in place.names.iter().enumerate() {
                let requests = &place.sockets[device];
                place.check(device, what);
                let after: BTreeSet<String> = place.containers(device).into_values().collect();
                let new = after.difference(&before[device]).count();
                // Not creations: a container that its second network did not reach goes before it was ever started.
                let started = requests.times_done("start container");
                assert_eq!(started, new, "{device}, {what}: each is started once: {:#?}", requests.begun());
                let Some(first) = first else { continue };
                let point = first + offset;
                if requests.has_struck() {
                    let side = side_of(point);
                    let request = requests.begun()[point / 2].clone();
                    *table.entry((index, point / 2 + 1, request, side)).or_default() += 1;
                    next[index] = Some(point + 1);
                } else {
                    next[index] = None;
                }
            }
        }
        if next.iter().all(Option::is_none) {
            break;
        }
    }
    place.check_data();
    print(&table, "agent");
    assert!(table.len() >= SCENARIOS.len() * 4, "too few places to prove anything: {}", table.len());
}

#[test]
fn an_engine_that_is_killed_in_the_middle_of_a_request_makes_nothing_twice() {
    let Some(mut place) = Place::new("crashed", 1) else { return };
    let device = place.names[0].clone();
    let requests: &[&'static str] = match setting("BELLWETHER_KILL_ENGINE") {
        Some(_) => &["stop container", "remove container", "create container", "start container"],
        None => &["create container", "start container"],
    };
    let mut table = Table::new();
    let mut ways = [0, 3].into_iter().cycle();
    for request in requests {
        for side in [Side::Before, Side::Amid, Side::After] {
            let index = ways.next().expect("they go on for ever");
            let (what, toggled) = SCENARIOS[index];
            place.state.toggle(toggled);
            let engine = place.engine;
            place.sockets[&device].arm(Some((At::First(request), side, Box::new(|| engine.restart()))));
            place.push();
            place.settle();
            place.check(&device, what);
            let begun = place.sockets[&device].begun();
            assert!(place.sockets[&device].has_struck(), "{begun:#?}");
            let number = begun.iter().position(|one| one == request).expect("it struck there") + 1;
            *table.entry((index, number, (*request).to_owned(), side)).or_default() += 1;
        }
    }
    place.check_data();
    print(&table, "engine");
}
