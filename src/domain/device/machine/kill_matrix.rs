//! A kill at every boundary of every effect of every scenario: the same end is reached, and nothing is done twice.
//!
//! The agent dies before an effect, or after it and before it hears of that, and starts anew on the device as it was left.
//! `just kill-matrix` has it die a second time, at every boundary of what follows.

use super::bench::{Bench, FakeEnding, FakeHost, app, held, service, web};
use super::*;
use crate::domain::device::terminal::FailedPhase;
use crate::domain::ids::{HookName, NetworkName, VariableName, VolumeName};
use crate::domain::spec::{
    DeviceConfig, DeviceSpec, HostFile, Mount, NetworkSpec, OsSpec, Port, ServiceSpec, Strategy, Subnet, Transport,
    Trigger, Update,
};
use insta::assert_snapshot;
use std::fmt::Write as _;

/// How often the timers of a life run out: more than any scenario takes.
const ROUNDS: usize = 20;
/// After so many timers without a change nothing comes any more, unless something is being applied.
const STILL: usize = 2;
/// The greeting of a service that ends over and over.
const CRASHES: &str = "crash";

/// Something that a device goes through.
struct Scenario {
    name: &'static str,
    /// What it is good with before; nothing for a new device.
    before: Option<DeviceSpec>,
    /// What the controller offers.
    offered: DeviceSpec,
    soak_secs: u32,
    /// An OS that does not start.
    dud: Option<&'static str>,
    /// How the hook of the host ends.
    hook: Option<FakeEnding>,
}

impl Scenario {
    fn new(name: &'static str, before: Option<DeviceSpec>, offered: DeviceSpec) -> Self {
        Self { name, before, offered, soak_secs: 0, dud: None, hook: None }
    }

    fn device(&self) -> Bench {
        let mut bench = Bench::new();
        if let Some(before) = &self.before {
            live(&mut bench, &held(1, before.clone()));
            assert_eq!(bench.machine.phase(), Phase::Settled, "{}", self.name);
        }
        bench.host.endings.extend(self.hook.map(|ending| (reload(), ending)));
        bench.os.duds.extend(self.dud.map(|version| version.parse().expect("a version")));
        bench
    }

    fn offer(&self) -> Held {
        Held { soak_secs: self.soak_secs, ..held(2, self.offered.clone()) }
    }
}

fn scenarios() -> Vec<Scenario> {
    let updated = |name, strategy| {
        let update = Update { strategy, ..Update::default() };
        let of = |greeting, image: &str| {
            changed(web(greeting), |front| {
                front.update = update.clone();
                front.image = image.to_owned();
            })
        };
        Scenario::new(name, Some(of("hello", "example/app:1")), of("bonjour", "example/app:2"))
    };
    let with_volume = |mut spec: DeviceSpec| {
        let data: VolumeName = "data".parse().expect("a volume name");
        spec.apps.get_mut(&app("web")).expect("an app").volumes.insert(data.clone());
        let mount = Mount { volume: data, access: Default::default(), seeding: Default::default() };
        changed(spec, |front| front.mounts = BTreeMap::from([("/data".to_owned(), mount.clone())]))
    };
    let with_subnet = |subnet: &str| {
        let mut spec = web("hello");
        let subnet = Subnet { subnet: subnet.to_owned(), gateway: None, ip_range: None };
        let network = NetworkSpec { subnets: vec![subnet], ..NetworkSpec::default() };
        spec.apps.get_mut(&app("web")).expect("an app").networks.insert(NetworkName::default_of_app(), network);
        spec
    };
    let with_os = |version: &str, spec: DeviceSpec| {
        let version = version.parse().expect("a version");
        DeviceSpec { os: Some(OsSpec::named("kiosk-os", version)), ..spec }
    };
    let with_host = |greeting: &str, spec: DeviceSpec| {
        let trigger: Trigger = "files".parse().expect("a trigger");
        let file = HostFile { content: greeting.to_owned(), ..HostFile::default() };
        let config = DeviceConfig {
            hostname: Some("kiosk-1".parse().expect("a name")),
            sysctl: [("vm.swappiness".parse().expect("a setting"), "10".to_owned())].into(),
            files: [("motd".parse().expect("a path"), file)].into(),
            hooks: [(reload(), [trigger].into())].into(),
            ..DeviceConfig::default()
        };
        DeviceSpec { config, ..spec }
    };
    let with_port_of = |owner: &str| {
        let mut spec = web("hello");
        let port = Port { target: 80, transport: Transport::Tcp, published: Some(8080), host_ip: None };
        let web = spec.apps.get_mut(&app("web")).expect("an app");
        web.services.get_mut(&service(owner)).expect("a service").ports = BTreeSet::from([port]);
        spec
    };
    vec![
        Scenario::new("install", None, web("hello")),
        updated("update, download then kill", Strategy::DownloadThenKill),
        updated("update, kill then download", Strategy::KillThenDownload),
        updated("update, delete then download", Strategy::DeleteThenDownload),
        updated("update, hand over", Strategy::HandOver),
        Scenario { soak_secs: 300, ..Scenario::new("update that soaks", Some(web("hello")), web("bonjour")) },
        Scenario { soak_secs: 300, ..Scenario::new("rollback", Some(web("hello")), web(CRASHES)) },
        Scenario::new("a volume comes", Some(web("hello")), with_volume(web("hello"))),
        Scenario::new("a volume goes", Some(with_volume(web("hello"))), web("hello")),
        Scenario::new("a network changes", Some(with_subnet("10.1.0.0/24")), with_subnet("10.2.0.0/24")),
        Scenario::new("a port changes hands", Some(with_port_of("app")), with_port_of("db")),
        Scenario::new("everything goes", Some(with_volume(web("hello"))), DeviceSpec::default()),
        Scenario::new("OS", Some(web("hello")), with_os("2026.11", web("hello"))),
        Scenario::new("OS with services", Some(web("hello")), with_os("2026.11", web("bonjour"))),
        Scenario {
            dud: Some("2026.11"),
            ..Scenario::new("OS that does not start", Some(web("hello")), with_os("2026.11", web("hello")))
        },
        Scenario::new("host settings", Some(web("hello")), with_host("hello", web("hello"))),
        Scenario::new("host settings with services", None, with_host("hello", web("hello"))),
        Scenario::new("host settings go", Some(with_host("hello", web("hello"))), web("hello")),
        Scenario {
            hook: Some(FakeEnding::RebootRequired),
            ..Scenario::new("host settings and a reboot", Some(web("hello")), with_host("hello", web("bonjour")))
        },
        Scenario {
            hook: Some(FakeEnding::Failed),
            ..Scenario::new("a hook of the host that fails", Some(web("hello")), with_host("hello", web("hello")))
        },
    ]
}

fn reload() -> HookName {
    "reload".parse().expect("a hook")
}

fn changed(mut spec: DeviceSpec, change: impl Fn(&mut ServiceSpec)) -> DeviceSpec {
    let web = spec.apps.get_mut(&app("web")).expect("an app");
    change(web.services.get_mut(&service("app")).expect("a service"));
    spec
}

/// A life of the agent: it is offered something, and time passes until nothing comes of it any more. Ends early where it is killed.
fn live(bench: &mut Bench, offer: &Held) {
    bench.offer(offer.clone());
    let mut still = 0;
    for _ in 0..ROUNDS {
        let before = (bench.disk.clone(), bench.engine.operations, bench.os.clone(), bench.host.clone());
        loop {
            crash(bench);
            if !bench.perform_one() {
                break;
            }
        }
        let after = (bench.disk.clone(), bench.engine.operations, bench.os.clone(), bench.host.clone());
        still = if before == after { still + 1 } else { 0 };
        if bench.is_dead || (still >= STILL && bench.machine.phase() != Phase::Applying) {
            return;
        }
        let _ = bench.fire(Timer::Soak) || bench.fire(Timer::OsSoak) || bench.fire(Timer::Work);
    }
    panic!("{:?} does not come to rest:\n{}", bench.machine.phase(), bench.transcript);
}

/// What the world does to a service that ends over and over.
fn crash(bench: &mut Bench) {
    let greeting: VariableName = "GREETING".parse().expect("a variable name");
    for found in bench.engine.apps.values_mut().flat_map(|app| app.services.values_mut()) {
        if found.content.environment.get(greeting.as_str()).is_some_and(|greeting| greeting == CRASHES) {
            found.restarts += 5;
        }
    }
}

/// Everything that must be the same in the end.
fn end(bench: &Bench) -> String {
    let mut ledger = Ledger { starts: 0, ..bench.disk.clone() };
    // An installation that was counted and never begun counts all the same; how often is seen in the updater.
    ledger.failed.retain(|failed| failed.end.is_some());
    ledger.os.failed.iter_mut().for_each(|failed| failed.tried.tries = 0);
    for end in ledger.failed.iter_mut().filter_map(|failed| failed.end.as_mut()) {
        // When it was seen to fail, and whether everything was there by then, depends on who looked when.
        (end.at, end.phase) = (Timestamp::EPOCH, FailedPhase::Applying);
    }
    // What was begun on the host and did not tell of its end is done once more: a setting has the same value then, and a hook has to
    // bear it.
    let ran = bench.host.ran.keys().map(|hook| (hook.clone(), 1)).collect();
    let host = FakeHost { ran, changes: 0, ..bench.host.clone() };
    // The same of a hook: one that was begun for the last time and did not tell of its end has failed, too.
    ledger.host.hooks.values_mut().for_each(|run| run.failed = None);
    let (mut apps, creates) = (bench.engine.apps.clone(), &bench.engine.creates);
    apps.values_mut().flat_map(|app| app.services.values_mut()).for_each(|found| found.restarts = 0);
    format!(
        "{:?}\n{apps:#?}\n{creates:#?}\nOS {:#?}, {} installations, {} boots\n{host:#?}\n{}",
        bench.machine.phase(),
        bench.os.running,
        bench.os.installs,
        bench.os.boots,
        ledger.to_text()
    )
}

/// Kills at every boundary of what a device has before it, `kills` times one after the other; how many ways there are.
fn kill_everywhere(scenario: &Scenario, device: &Bench, expected: &str, kills: u32, way: &mut Vec<usize>) -> usize {
    let mut ways = 0;
    for boundary in 1.. {
        let mut bench = device.clone();
        bench.kill_at(boundary);
        live(&mut bench, &scenario.offer());
        if !bench.is_dead {
            return ways;
        }
        way.push(boundary);
        let reborn = bench.reborn();
        if kills > 1 {
            ways += kill_everywhere(scenario, &reborn, expected, kills - 1, way);
        } else {
            let mut bench = reborn;
            live(&mut bench, &scenario.offer());
            assert_eq!(end(&bench), expected, "{}, killed at {way:?}:\n{}", scenario.name, bench.transcript);
            ways += 1;
        }
        way.pop();
    }
    unreachable!("there are so many numbers")
}

/// Every scenario, and how many ways there are to be killed so often in it.
fn matrix(kills: u32) -> String {
    let mut table = String::new();
    for scenario in scenarios() {
        let device = scenario.device();
        let mut whole = device.clone();
        live(&mut whole, &scenario.offer());
        let phase = whole.machine.phase();
        assert_ne!(phase, Phase::Applying, "{}", scenario.name);
        let ways = kill_everywhere(&scenario, &device, &end(&whole), kills, &mut Vec::new());
        let _ = writeln!(table, "{:30}{ways:>6} ways to be killed, each ends {phase:?}", scenario.name);
    }
    table
}

#[test]
fn a_kill_at_any_boundary_of_any_effect_leads_to_the_same_end() {
    assert_snapshot!(matrix(1), @"
    install                           32 ways to be killed, each ends Settled
    update, download then kill        24 ways to be killed, each ends Settled
    update, kill then download        24 ways to be killed, each ends Settled
    update, delete then download      26 ways to be killed, each ends Settled
    update, hand over                 42 ways to be killed, each ends Settled
    update that soaks                 28 ways to be killed, each ends Settled
    rollback                          36 ways to be killed, each ends Failing
    a volume comes                    24 ways to be killed, each ends Settled
    a volume goes                     22 ways to be killed, each ends Settled
    a network changes                 32 ways to be killed, each ends Settled
    a port changes hands              28 ways to be killed, each ends Settled
    everything goes                   22 ways to be killed, each ends Settled
    OS                                44 ways to be killed, each ends Settled
    OS with services                  56 ways to be killed, each ends Settled
    OS that does not start            30 ways to be killed, each ends Failing
    host settings                     32 ways to be killed, each ends Settled
    host settings with services       52 ways to be killed, each ends Settled
    host settings go                  22 ways to be killed, each ends Settled
    host settings and a reboot        62 ways to be killed, each ends Settled
    a hook of the host that fails     54 ways to be killed, each ends Failing
    ");
}

#[test]
#[ignore = "takes minutes: just kill-matrix"]
fn two_kills_at_any_two_boundaries_lead_to_the_same_end() {
    assert_snapshot!(matrix(2), @"
    install                          590 ways to be killed, each ends Settled
    update, download then kill       348 ways to be killed, each ends Settled
    update, kill then download       348 ways to be killed, each ends Settled
    update, delete then download     402 ways to be killed, each ends Settled
    update, hand over               1214 ways to be killed, each ends Settled
    update that soaks                468 ways to be killed, each ends Settled
    rollback                         768 ways to be killed, each ends Failing
    a volume comes                   348 ways to be killed, each ends Settled
    a volume goes                    294 ways to be killed, each ends Settled
    a network changes                604 ways to be killed, each ends Settled
    a port changes hands             468 ways to be killed, each ends Settled
    everything goes                  294 ways to be killed, each ends Settled
    OS                              1116 ways to be killed, each ends Settled
    OS with services                1748 ways to be killed, each ends Settled
    OS that does not start           534 ways to be killed, each ends Failing
    host settings                    604 ways to be killed, each ends Settled
    host settings with services     1498 ways to be killed, each ends Settled
    host settings go                 278 ways to be killed, each ends Settled
    host settings and a reboot      2090 ways to be killed, each ends Settled
    a hook of the host that fails   1426 ways to be killed, each ends Failing
    ");
}
