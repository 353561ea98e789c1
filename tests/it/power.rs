//! Power cuts: whatever the disk had not been made to keep may be gone, and the device comes up and knows what it must.
//!
//! A device's agent is traced while it enrolls, is updated twice, installs an OS and restarts a service. From the trace the
//! disk is modelled after each single change of a file, as a power cut may leave it in five ways; each of these disks is read
//! by the agent's own code, and an agent is started on it.

mod disk;
mod trace;

use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::{BELLWETHER_AGENT, Running, eventually, program};
use crate::harness::run::{has_real_parts, run};
use bellwether::agent::engine::simulated::SimulatedEngine;
use bellwether::agent::files::StateDirectory;
use bellwether::agent::identity::Identity;
use bellwether::agent::ledger::LedgerFile;
use bellwether::domain::device::ledger::Ledger;
use bellwether::domain::digest::Digest;
use bellwether::domain::drift::app_differences;
use bellwether::ports::os::fake::FakeOs;
use disk::{Content, Cut, Disk};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use trace::{CALLS, Change};

const DEVICE: &str = "box-1";
/// How many agents run side by side: they mostly wait for timers.
const SIDE_BY_SIDE: usize = 4;

const COMPOSE: &str = "services:\n  player:\n    image: registry.example/player:1\n    volumes: ['cache:/cache']\n  clock:\n    image: registry.example/clock:1\nvolumes: {cache: {}}\n";

fn host(variables: &str) -> String {
    format!("branch: main\ndevice_type: box\npins: {{kiosk: 1.0.0}}\n{variables}")
}

/// The life of a device, and what its agent asked of the disk.
fn life() -> (PathBuf, Vec<Change>) {
    let files = [
        ("fleet.yml", "name: acme\n"),
        ("inventory.yml", "all:\n  hosts:\n    box-1:\n"),
        ("host_vars/box-1.yml", &host("variables: {A: first}\n")),
        ("releases/kiosk/1.0.0/release.yml", "version: 1.0.0\n"),
        ("releases/kiosk/1.0.0/compose.yml", COMPOSE),
    ];
    let mut fleet = Fleet::start("power", On::Simulated, &files);
    let trace = run().scratch("power-trace").join("trace");
    let traced = |fleet: &mut Fleet, flags: &[&str]| {
        let agent = fleet.agent_command(DEVICE);
        let mut command = run().command("strace");
        // The agent is the process that is started and stopped; the tracer stands aside.
        command.args(["-D", "-f", "-y", "-xx", "-A", "-s", "16777216", "-e", CALLS, "-e", "signal=none", "-o"]);
        command.arg(&trace).arg("--").arg(agent.get_program()).args(agent.get_args()).args(flags);
        fleet.agents.insert(DEVICE.to_owned(), Running::start(DEVICE, command));
    };
    let token = fleet.token(&[DEVICE]);
    traced(&mut fleet, &["--token", &token]);
    fleet.settled(&[DEVICE]);
    fleet.push("main", "Change a variable", &[("host_vars/box-1.yml", &host("variables: {A: second}\n"))]);
    fleet.settled(&[DEVICE]);
    fleet.agents.remove(DEVICE).expect("it runs").terminate();
    traced(&mut fleet, &["--token", &token]);
    let digest = Digest::of(b"an image");
    let image = format!("box: {{version: 2.0.0, url: 'https://images.example/2.0.0/box.raucb', digest: '{digest}'}}\n");
    fleet.push(
        "main",
        "Install an OS",
        &[("os/lindenhof.yml", &image), ("host_vars/box-1.yml", &host("os: lindenhof\n"))],
    );
    eventually("the OS is kept", || {
        let detail = fleet.device(DEVICE);
        let runs = detail.runs.as_ref().is_some_and(|os| os.version.as_str() == "2.0.0");
        (runs && detail.os_update.is_none()).then_some(())
    });
    fleet.settled(&[DEVICE]);
    let (code, _, error) =
        outcome(&mut fleet.cli(&["device", "restart", DEVICE, "kiosk/player", "--reason", "a test"]));
    assert_eq!(code, Some(0), "{error}");
    let engine = SimulatedEngine::open(&fleet.state_dir(DEVICE).join("engine")).expect("an engine");
    eventually("the service is restarted", || {
        let journal = engine.journal().expect("a journal");
        journal.iter().any(|entry| entry.operation == "restart kiosk/player").then_some(())
    });
    fleet.settled(&[DEVICE]);
    fleet.agents.remove(DEVICE).expect("it runs").terminate();
    let state = fleet.state_dir(DEVICE);
    let text = std::fs::read_to_string(&trace).expect("the trace");
    let devices = state.parent().expect("a directory of devices");
    (state.clone(), trace::changes(&text, devices))
}

/// A disk on which an agent shall come up.
struct Scene {
    /// What the power cut left of the agent's own files.
    files: Content,
    /// Engine and updater as they were: they keep their own.
    others: Content,
    /// Where it happened, for the reader of a failure.
    place: String,
}

fn is_others(state: &Path, path: &Path) -> bool {
    path.starts_with(state.join("engine")) || path.starts_with(state.join("os"))
}

/// Whether the agent acts on the device by this change: the engine or the updater has done something.
fn acts(state: &Path, change: &Change) -> bool {
    matches!(change, Change::Rename(_, to) if *to == state.join("engine/engine.json") || *to == state.join("os/os.json"))
}

/// Every state in which a power cut may leave the disk, each once, and what must hold whenever something was acted on.
fn scenes(state: &Path, changes: &[Change]) -> Vec<Scene> {
    // Whoever sets a device up has made the directory above.
    let mut disk = Disk::with(state.parent().expect("the directory of devices"));
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    let mut acted = 0;
    for (number, change) in changes.iter().enumerate() {
        disk.apply(change);
        let is_act = acts(state, change);
        acted += usize::from(is_act);
        let now = disk.after(Cut::Nothing);
        let others: Content = now.clone().into_iter().filter(|(path, _)| is_others(state, path)).collect();
        for cut in Cut::ALL {
            let files: Content = disk.after(cut).into_iter().filter(|(path, _)| !is_others(state, path)).collect();
            if is_act {
                for name in ["ledger", "identity.json", "starts"] {
                    let path = state.join(name);
                    assert_eq!(
                        files.get(&path).map(|bytes| String::from_utf8_lossy(bytes)),
                        now.get(&path).map(|bytes| String::from_utf8_lossy(bytes)),
                        "change {number}, {change:?}: the agent has acted, and a power cut ({cut:?}) would take back its {name}"
                    );
                }
            }
            if seen.insert((files.clone(), others.clone())) {
                all.push(Scene {
                    files,
                    others: others.clone(),
                    place: format!("change {number}, {change:?}, {cut:?}"),
                });
            }
        }
    }
    assert!(acted > 12, "{acted} acts in {} changes: the trace has missed the device's life", changes.len());
    all
}

/// Puts a scene into a directory, the state directory's own place taken by `to`.
fn lay_out(scene: &Scene, state: &Path, to: &Path) {
    for (path, bytes) in scene.files.iter().chain(&scene.others) {
        let path = to.join(path.strip_prefix(state).expect("within the state directory"));
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
}

/// What the agent knows on such a disk. Panics if it could not start.
fn read(scene: &Scene, to: &Path) -> (Ledger, Option<Identity>) {
    let directory = StateDirectory::open(to).unwrap_or_else(|error| panic!("{}: {error}", scene.place));
    let ledger = LedgerFile::of(&directory).read().unwrap_or_else(|error| panic!("{}: {error:?}", scene.place));
    let identity = Identity::read(&directory).unwrap_or_else(|error| panic!("{}: {error}", scene.place));
    (ledger, identity)
}

/// What holds on every disk: nothing that was done to the device has been forgotten.
fn check(scene: &Scene, to: &Path, ledger: &Ledger, identity: Option<&Identity>) {
    let place = &scene.place;
    let engine = SimulatedEngine::open(&to.join("engine")).and_then(|engine| engine.contents()).expect("an engine");
    let os: FakeOs = std::fs::read(to.join("os/os.json"))
        .ok()
        .map_or_else(FakeOs::default, |bytes| serde_json::from_slice(&bytes).expect("an OS"));
    if engine.operations > 0 || os.installs > 0 {
        assert!(ledger.accepted.is_some(), "{place}: it has acted, and does not know on what");
        assert!(identity.is_some(), "{place}: it has acted, and does not know who it is");
    }
}

/// An agent on such a disk, its controller gone: it brings the device to what the ledger holds.
/// `false` if the ledger holds nothing yet.
fn comes_up(scene: &Scene, to: &Path, ledger: &Ledger) -> bool {
    let Some(held) = &ledger.accepted else { return false };
    let spec = &held.spec.spec;
    let mut command = program(BELLWETHER_AGENT);
    command.args(["run", "--engine", "simulated", "--os", "simulated", "--os-soak-secs", "1"]);
    command.args(["--look-interval-secs", "1", "--state-dir"]).arg(to);
    let mut agent = Running::start("power-agent", command);
    let engine = SimulatedEngine::open(&to.join("engine")).expect("an engine");
    eventually(&format!("the device is as assigned; {}", scene.place), || {
        assert!(agent.try_status().is_none(), "{}: the agent ended:\n{}", scene.place, agent.log());
        let found = engine.contents().ok()?;
        app_differences(&spec.apps, &found.apps).is_empty().then_some(())
    });
    agent.kill();
    true
}

#[test]
fn a_power_cut_at_any_write_loses_nothing_that_was_acted_on() {
    if !has_real_parts(&["strace"]) {
        return;
    }
    let (state, changes) = life();
    let scenes = scenes(&state, &changes);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let came_up = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(scene) = scenes.get(number) else { return };
                    let to = run().scratch("power-cut");
                    lay_out(scene, &state, &to);
                    // In a place of its own: a program that another thread starts just then holds what is locked for a moment.
                    let read_in = run().scratch("power-read");
                    lay_out(scene, &state, &read_in);
                    let (ledger, identity) = read(scene, &read_in);
                    check(scene, &to, &ledger, identity.as_ref());
                    if comes_up(scene, &to, &ledger) {
                        came_up.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    std::fs::remove_dir_all(to).expect("removed");
                }
            });
        }
    });
    let came_up = came_up.into_inner();
    assert!(came_up > scenes.len() / 2, "{came_up} agents of {} disks: too few to prove anything", scenes.len());
}
