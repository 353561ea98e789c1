//! The demo's scenario: seven devices enroll, a release is promoted over three stages, somebody removes a container.

use super::chance::Chance;
use super::fleet::{Engine, Fleet, STAGES, Strikes, Victim};
use crate::harness::process::eventually;
use bellwether::agent::engine::simulated::SimulatedEngine;
use bellwether::agent::os::simulated::SimulatedOs;
use bellwether::domain::desired::{Branch, Desired, Resolver};
use bellwether::domain::device::canonical::canonical;
use bellwether::domain::device::ledger::Ledger;
use bellwether::domain::generation::Order;
use bellwether::domain::ids::{AppName, DeviceId, ServiceName};
use bellwether::domain::overview::device::DeviceDetail;
use bellwether::domain::snapshot::Snapshot;
use bellwether::domain::spec::SealedSpec;
use bellwether::example;
use bellwether::ports::engine::fake::{Tamper, create_key, image_defaults};
use bellwether::protocol::v1::operator::StatusAnswer;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often the controller is struck while it starts for the first time.
const STRIKES_AT_START: usize = 2;
/// What is struck, and how often.
pub const SCENES: [(&str, usize); 5] =
    [("the first convergence", 5), ("main", 4), ("canary", 3), ("production", 4), ("mending", 3)];
/// The longest wait for a strike. Without strikes, most of these scenes take a few hundred milliseconds.
const SOON: Duration = Duration::from_millis(100);
/// The longest wait for a strike while something is mended: the agent first has to notice.
const UNTIL_NOTICED: Duration = Duration::from_millis(700);
/// Whose container is removed by hand.
const TAMPERED: (&str, &str, &str) = ("kiosk-harbour", "signage", "player");

/// What a run came to.
pub struct Outcome {
    /// What was done to it.
    pub strikes: Strikes,
    /// How many strikes of each scene came before it was over.
    pub under_way: [u32; SCENES.len()],
    /// How often ledgers and answers were looked at.
    pub sights: u64,
    /// How many places of assignments were seen.
    pub places: usize,
    /// How many containers were made.
    pub creates: u64,
}

type Files = Vec<(String, String)>;

/// What Git says about each device, before and after the release.
struct Expected {
    before: Arc<Desired>,
    after: Arc<Desired>,
}

/// Runs the scenario with the strikes of a seed, and checks everything at its end.
pub fn run(seed: u64) -> Outcome {
    let mut chance = Chance::of(seed);
    let files = fleet_files();
    let release = new_release(&files);
    let all: Files = files.iter().chain(&release).cloned().collect();
    let expected = Expected { before: resolve(&files), after: resolve(&all) };
    let devices: BTreeSet<DeviceId> = expected.before.devices.keys().cloned().collect();
    let mut fleet = Fleet::new(&format!("kill-{seed}"), &borrowed(&files), devices.clone(), Engine::Simulated);

    let mut under_way = [0; SCENES.len()];
    fleet.start_controller();
    for _ in 0..STRIKES_AT_START {
        let moment = chance.moment(SOON);
        fleet.wait_for(&Victim::Controller, moment);
        fleet.kill(&Victim::Controller, &mut chance);
    }
    fleet.until_ready();

    fleet.start_agents();
    let everybody: Vec<DeviceId> = devices.iter().cloned().collect();
    let is_over = |fleet: &Fleet| has_reached(fleet, &expected.before, &everybody);
    under_way[0] = strike(&mut fleet, &mut chance, SCENES[0].1, SOON, &everybody, is_over);
    let mut promoted = BTreeSet::new();
    settle(&mut fleet, &expected, &promoted, "the fleet converges for the first time");

    for (place, stage) in (1..).zip(STAGES) {
        promote(&fleet, stage, &release);
        fleet.refresh();
        promoted.insert(stage);
        let concerned = expected.changed(stage);
        let is_over = |fleet: &Fleet| has_reached(fleet, &expected.after, &concerned);
        under_way[place] = strike(&mut fleet, &mut chance, SCENES[place].1, SOON, &concerned, is_over);
        settle(&mut fleet, &expected, &promoted, &format!("the release reaches {stage}"));
    }

    tamper(&fleet);
    let tampered = device(TAMPERED.0);
    let wanted = creates(&expected, &tampered);
    let is_mended = |fleet: &Fleet| journal(fleet, &tampered) == wanted;
    let concerned = std::slice::from_ref(&tampered);
    under_way[4] = strike(&mut fleet, &mut chance, SCENES[4].1, UNTIL_NOTICED, concerned, is_mended);
    fleet.until_settled("what was removed is there again", |fleet, _| is_mended(fleet));

    check_everything(&mut fleet, &expected, &devices);
    Outcome {
        strikes: fleet.strikes,
        under_way,
        sights: fleet.witness.sights,
        places: fleet.witness.places(),
        creates: devices.iter().flat_map(|device| journal(&fleet, device).into_values()).sum(),
    }
}

/// A device loses its ledger after a few starts: it must take its assignment anew, follow the next, and be heard, all without
/// making anything twice.
pub fn lose_a_ledger() {
    let files = fleet_files();
    let release = new_release(&files);
    let all: Files = files.iter().chain(&release).cloned().collect();
    let expected = Expected { before: resolve(&files), after: resolve(&all) };
    let devices: BTreeSet<DeviceId> = expected.before.devices.keys().cloned().collect();
    let mut fleet = Fleet::new("lost-ledger", &borrowed(&files), devices, Engine::Simulated);
    fleet.start_controller();
    fleet.until_ready();
    fleet.start_agents();
    settle(&mut fleet, &expected, &BTreeSet::new(), "the fleet converges");
    let unlucky = device("board-workshop");
    for start in 2..5 {
        fleet.kill(&Victim::Agent(unlucky.clone()), &mut Chance::of(0));
        eventually("the agent has noted its start", || {
            let ledger = fleet.witness.look_into_ledger(&unlucky, &fleet.state(&unlucky))?;
            (ledger.starts == start).then_some(())
        });
    }
    // The last start's number is known to the controller once it has reported, which it does about a difference at once.
    tamper_with(&fleet, &unlucky, "telemetry", "collector");
    let has_reported = |fleet: &Fleet| {
        let detail = fleet.get::<DeviceDetail>(&format!("/v1/devices/{unlucky}"));
        detail.is_ok_and(|detail| !detail.found.is_empty())
    };
    let mended = |fleet: &Fleet| journal(fleet, &unlucky).values().sum::<u64>() == 2;
    fleet.until_settled("the last start has reported", |fleet, _| mended(fleet) && has_reported(fleet));
    fleet.lose_ledger(&unlucky);
    promote(&fleet, STAGES[0], &release);
    fleet.refresh();
    settle(&mut fleet, &expected, &BTreeSet::from([STAGES[0]]), "the device without a ledger follows main");
    let made: u64 = journal(&fleet, &unlucky).values().sum();
    assert_eq!(made, 3, "once for each release and once after it was removed: what ran was known by looking");
}

/// Strikes so often, and counts the strikes that came before the scene was over.
fn strike(
    fleet: &mut Fleet,
    chance: &mut Chance,
    count: usize,
    patience: Duration,
    concerned: &[DeviceId],
    is_over: impl Fn(&Fleet) -> bool,
) -> u32 {
    let mut under_way = 0;
    for number in 0..count {
        let victim = match chance.below(10) {
            0 => Victim::Everybody,
            1..5 => Victim::Controller,
            _ => Victim::Agent(chance.one_of(concerned).clone()),
        };
        // The first one early: on a fast machine a scene is soon over.
        let moment = chance.moment(if number == 0 { patience / 4 } else { patience });
        fleet.wait_for(&victim, moment);
        under_way += u32::from(!is_over(fleet));
        fleet.kill(&victim, chance);
    }
    under_way
}

/// Whether these devices have reached what they must, as their ledgers tell.
fn has_reached(fleet: &Fleet, desired: &Desired, devices: &[DeviceId]) -> bool {
    devices.iter().all(|device| {
        let ledger = std::fs::read_to_string(fleet.state(device).join("ledger"));
        let ledger = ledger.ok().and_then(|text| Ledger::parse(&text).ok());
        ledger.and_then(|ledger| ledger.applied) == Some(spec(desired, device).digest)
    })
}

/// Waits until each device has what Git says, in the place that it has without any strike, and the tips are what counts.
fn settle(fleet: &mut Fleet, expected: &Expected, promoted: &BTreeSet<&str>, what: &str) {
    let orders: BTreeMap<DeviceId, Order> =
        expected.before.devices.keys().map(|device| (device.clone(), expected.order(device, promoted))).collect();
    let tips: Vec<String> = STAGES.iter().map(|stage| fleet.repo.tip(stage)).collect();
    fleet.until_settled(what, |fleet, rows| {
        let Ok(status) = fleet.get::<StatusAnswer>("/v1/status") else { return false };
        let accepted = status.status.stages.iter().filter_map(|stage| stage.accepted.as_ref()).map(ToString::to_string);
        let caught_up = accepted.eq(tips.iter().cloned());
        assert_eq!(status.status.conflicts, BTreeMap::new());
        for row in rows {
            assert!(row.assigned <= orders.get(&row.device).copied(), "{} was assigned {:?}", row.device, row.assigned);
        }
        caught_up && rows.iter().all(|row| row.assigned == orders.get(&row.device).copied())
    });
}

impl Expected {
    /// Devices of a stage for which the release means a change.
    fn changed(&self, stage: &str) -> Vec<DeviceId> {
        let all = &self.after.devices;
        let of_stage = all.iter().filter(|(_, one)| matches!(&one.branch, Branch::Stage(own) if own.as_str() == stage));
        let changed = |device: &&DeviceId| spec(&self.before, device).digest != spec(&self.after, device).digest;
        of_stage.map(|(name, _)| name).filter(changed).cloned().collect()
    }

    /// Where a device must stand when these stages have the release.
    fn order(&self, device: &DeviceId, promoted: &BTreeSet<&str>) -> Order {
        let (before, after) = (spec(&self.before, device), spec(&self.after, device));
        let Branch::Stage(stage) = &self.after.devices[device].branch else { panic!("{device} follows no stage") };
        let changes = before.digest != after.digest && promoted.contains(stage.as_str());
        if changes { Order::FIRST.next() } else { Order::FIRST }
    }
}

fn check_everything(fleet: &mut Fleet, expected: &Expected, devices: &BTreeSet<DeviceId>) {
    fleet.look();
    let status: StatusAnswer = fleet.get("/v1/status").expect("nobody strikes now");
    assert_eq!(status.status.conflicts, BTreeMap::new());
    assert!(status.status.pending.is_empty() && status.status.in_transit.is_empty(), "{status:?}");
    fleet.stop();
    for device in devices {
        let wanted = spec(&expected.after, device);
        let ledger = fleet.witness.look_into_ledger(device, &fleet.state(device)).expect("a ledger");
        assert_eq!(ledger.mark().map(|mark| mark.digest), Some(wanted.digest), "{device} was assigned what Git says");
        assert_eq!(ledger.applied, Some(wanted.digest), "{device} reached it");
        assert_eq!(ledger.failed, [], "{device} never failed at anything");
        assert_eq!(journal(fleet, device), creates(expected, device), "{device} made each service once per content");
        let os = SimulatedOs::open(&fleet.state(device).join("os")).expect("an updater").contents().expect("readable");
        assert_eq!(os.installs, u64::from(wanted.spec.os.is_some()), "{device} installed its OS once");
    }
    check_database(&fleet.database());
}

fn check_database(path: &Path) {
    let database = rusqlite::Connection::open(path).expect("open the database");
    let ask = |question: &str| -> String {
        database.query_row(question, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{question}: {error}"))
    };
    assert_eq!(ask("PRAGMA quick_check"), "ok");
    assert_eq!(ask("SELECT CAST(count(*) AS TEXT) FROM quarantine"), "0", "nothing was quarantined");
    assert_eq!(ask("SELECT CAST(count(*) AS TEXT) FROM events WHERE kind = 'Conflict'"), "0", "nobody was in conflict");
}

/// What the engine of a device made: `app/service` and digest, and how often.
fn journal(fleet: &Fleet, device: &DeviceId) -> BTreeMap<String, u64> {
    let engine = SimulatedEngine::open(&fleet.state(device).join("engine")).expect("an engine");
    let mut counts = BTreeMap::new();
    for created in engine.journal().expect("a journal").into_iter().filter_map(|entry| entry.created) {
        *counts.entry(created).or_insert(0) += 1;
    }
    counts
}

/// What the engine of a device must have made by the end: everything once, and the container that somebody removed once more.
fn creates(expected: &Expected, device: &DeviceId) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for desired in [&expected.before, &expected.after] {
        for (app, wanted) in &spec(desired, device).spec.apps {
            for (service, wanted) in &wanted.services {
                let content = canonical(wanted, &image_defaults(&wanted.image));
                let removed = (device.as_str(), app.as_str(), service.as_str()) == TAMPERED;
                counts.insert(create_key(app, service, &content), if removed { 2 } else { 1 });
            }
        }
    }
    counts
}

fn tamper(fleet: &Fleet) {
    let (name, app, service) = TAMPERED;
    tamper_with(fleet, &device(name), app, service);
}

fn tamper_with(fleet: &Fleet, device: &DeviceId, app: &str, service: &str) {
    let engine = SimulatedEngine::open(&fleet.state(device).join("engine")).expect("an engine");
    let app = AppName::new(app).expect("an app name");
    let service = ServiceName::new(service).expect("a service name");
    assert!(engine.tamper(&Tamper::Remove { app, service }).expect("the engine's file can be written"));
}

/// Brings the release to a stage, as the demo does: a commit to the first, a merge into each other.
fn promote(fleet: &Fleet, stage: &str, release: &Files) {
    let place = STAGES.iter().position(|one| *one == stage).expect("a stage");
    match place.checked_sub(1) {
        None => {
            fleet.repo.commit("Release telemetry 1.1.0", &borrowed(release));
            fleet.repo.push(stage);
        }
        Some(before) => {
            fleet.repo.merge(STAGES[before], stage);
        }
    }
}

/// The example. The board on the bench asks as often as the others, and production gets everything at once: a run shall wait for
/// work, not for a slow poll or for a canary.
fn fleet_files() -> Files {
    let quick = |text: &str| {
        text.replace("poll_interval_secs: 10", "poll_interval_secs: 1")
            .replace("policy: canary-first", "policy: immediate")
    };
    example::FILES.iter().map(|(path, text)| ((*path).to_owned(), quick(text))).collect()
}

/// The release of the demo: what the one before is, with a shorter interval.
fn new_release(files: &Files) -> Files {
    let old = "releases/telemetry/1.0.0/";
    let renew = |text: &str| text.replace("1.0.0", "1.1.0").replace("INTERVAL_SECS: 60", "INTERVAL_SECS: 20");
    let files = files.iter().filter(|(path, _)| path.starts_with(old));
    files.map(|(path, text)| (renew(path), renew(text))).collect()
}

fn resolve(files: &Files) -> Arc<Desired> {
    let snapshot = Snapshot::of_files(files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())));
    Resolver::default().resolve(&snapshot)
}

fn spec<'a>(desired: &'a Desired, device: &DeviceId) -> &'a SealedSpec {
    desired.devices[device].spec.as_ref().expect("the example is sound")
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).expect("a device name")
}

fn borrowed(files: &Files) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
}
