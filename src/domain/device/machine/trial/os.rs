//! A soak and an OS in one assignment: who judges what, and in which order.

use crate::domain::device::action::Action;
use crate::domain::device::ledger::Held;
use crate::domain::device::machine::bench::{Bench, app, held, service, web};
use crate::domain::device::machine::{Effect, Timer};
use crate::domain::reported::{Health, Phase, ServiceState};
use crate::domain::spec::{DeviceSpec, OsSpec};

/// Services that greet, on an OS.
fn on_os(version: &str, greeting: &str) -> DeviceSpec {
    let version = version.parse().expect("a version");
    DeviceSpec { os: Some(OsSpec::named("kiosk-os", version)), ..web(greeting) }
}

fn soaking(generation: u64, spec: DeviceSpec) -> Held {
    Held { soak_secs: 300, ..held(generation, spec) }
}

/// Lets looks come until nothing is under way any more.
fn look(bench: &mut Bench) {
    bench.fire(Timer::Work);
    bench.run();
}

fn set_health(bench: &mut Bench, health: Health) {
    let found = bench.engine.apps.get_mut(&app("web")).and_then(|web| web.services.get_mut(&service("app")));
    found.expect("it is there").health = health;
}

/// A device on which `hello` on the OS that it came with is good.
fn good() -> Bench {
    let mut bench = Bench::new();
    bench.run();
    bench.offer(soaking(1, on_os("factory", "hello")));
    bench.run();
    assert!(bench.fire(Timer::Soak));
    bench.run();
    assert_eq!(bench.machine.phase(), Phase::Settled);
    bench
}

/// The same after it was told to run another OS, which it has booted.
fn on_trial() -> Bench {
    let mut bench = good();
    bench.offer(soaking(2, on_os("2026.11", "bonjour")));
    bench.run();
    look(&mut bench);
    assert_eq!(bench.os.running.version.as_str(), "2026.11");
    bench
}

fn greeting(bench: &Bench) -> String {
    let found = &bench.engine.apps[&app("web")].services[&service("app")];
    assert_eq!(found.state, ServiceState::Running);
    found.content.environment.values().next().cloned().unwrap_or_default()
}

fn stands(bench: &Bench) -> String {
    let end = bench.disk.end().map_or("no failure".to_owned(), |end| format!("{} ({})", end.component, end.reason));
    format!("{:?}, `{}` on {}, {end}", bench.machine.phase(), greeting(bench), bench.os.running.version)
}

#[test]
fn an_os_is_kept_first_and_only_then_the_whole_assignment_soaks() {
    let mut bench = on_trial();
    assert!(!bench.fire(Timer::Soak), "nothing soaks while the OS is on trial");
    assert!(bench.fire(Timer::OsSoak));
    bench.run();
    assert!(bench.disk.os.is_empty(), "the OS is kept");
    assert_eq!(stands(&bench), "Applying, `bonjour` on 2026.11, no failure");
    assert!(bench.fire(Timer::Soak));
    bench.run();
    assert_eq!(stands(&bench), "Settled, `bonjour` on 2026.11, no failure");
}

#[test]
fn an_assignment_that_fails_while_its_os_is_on_trial_takes_the_os_with_it_and_does_not_blame_it() {
    let mut bench = on_trial();
    set_health(&mut bench, Health::Unhealthy);
    look(&mut bench);
    set_health(&mut bench, Health::Unchecked);
    look(&mut bench);
    assert_eq!(stands(&bench), "Failing, `hello` on factory, web/app (Unhealthy)");
    assert!(bench.disk.os.is_empty(), "{:?}", bench.disk.os);
    assert_eq!((bench.os.installs, bench.os.boots), (1, 2), "the OS from before was not installed anew");
    // So the next assignment may try it again.
    bench.fire(Timer::Link);
    bench.offer(soaking(3, on_os("2026.11", "salut")));
    bench.run();
    look(&mut bench);
    assert_eq!(stands(&bench), "Applying, `salut` on 2026.11, no failure");
}

#[test]
fn an_os_that_does_not_start_fails_the_assignment_that_brought_it() {
    let mut bench = good();
    bench.os.duds.insert("2026.11".parse().expect("a version"));
    bench.offer(soaking(2, on_os("2026.11", "bonjour")));
    bench.run();
    look(&mut bench);
    look(&mut bench);
    assert_eq!(stands(&bench), "Failing, `hello` on factory, os (OsUpdateFailed)");
    // A later one that asks for the same image is not refused for it: what can be brought is brought.
    bench.fire(Timer::Link);
    bench.offer(soaking(3, on_os("2026.11", "salut")));
    bench.run();
    assert_eq!(stands(&bench), "Failing, `salut` on factory, no failure");
}

#[test]
fn going_back_to_an_os_waits_for_no_window() {
    let mut bench = good();
    let windows = r#"{"apply": [{"opens": "0 2 * * *", "minutes": 60, "zone": "UTC0"}]}"#;
    let maintenance: crate::domain::spec::Maintenance = serde_json::from_str(windows).expect("windows");
    let spec = |version, greeting| DeviceSpec { maintenance: maintenance.clone(), ..on_os(version, greeting) };
    // These benches begin at midnight: the content is the same and the windows are news, which need none.
    bench.offer(soaking(2, spec("factory", "hello")));
    bench.run();
    bench.fire(Timer::Soak);
    bench.run();
    bench.pass(2 * 3_600_000 - 600_000 - bench.wall().millis());
    bench.fire(Timer::Link);
    bench.offer(soaking(3, spec("2026.11", "bonjour")));
    bench.run();
    assert_eq!(bench.os.installs, 0, "the window is closed");
    assert_eq!(greeting(&bench), "hello");
    bench.pass(2 * 3_600_000 + 1 - bench.wall().millis());
    look(&mut bench);
    look(&mut bench);
    bench.fire(Timer::OsSoak);
    bench.run();
    assert_eq!(stands(&bench), "Applying, `bonjour` on 2026.11, no failure");
    bench.pass(2 * 3_600_000);
    set_health(&mut bench, Health::Unhealthy);
    look(&mut bench);
    look(&mut bench);
    bench.fire(Timer::OsSoak);
    bench.run();
    look(&mut bench);
    assert_eq!(stands(&bench), "Failing, `hello` on factory, web/app (Unhealthy)");
}

#[test]
fn without_a_soak_the_os_is_judged_alone_and_by_health_checks_too() {
    let mut bench = good();
    bench.offer(held(2, on_os("2026.11", "bonjour")));
    bench.run();
    set_health(&mut bench, Health::Unhealthy);
    look(&mut bench);
    assert!(!bench.fire(Timer::OsSoak), "what is not well does not soak");
    assert!(bench.fire(Timer::OsTrial));
    bench.run();
    set_health(&mut bench, Health::Unchecked);
    look(&mut bench);
    assert_eq!(stands(&bench), "Failing, `bonjour` on factory, no failure");
    let told =
        bench.machine.status().conditions.iter().find(|one| one.kind == "OsUpdated").map(|one| one.message.clone());
    let told = told.expect("it says so");
    assert!(told.contains("HealthGate") && told.contains("its health check fails"), "{told}");
}

#[test]
fn an_agent_that_is_killed_on_the_way_back_from_an_os_goes_on() {
    for kill in 0..12 {
        let mut bench = on_trial();
        set_health(&mut bench, Health::Unhealthy);
        bench.fire(Timer::Work);
        for _ in 0..kill {
            bench.perform_one();
        }
        let mut bench = Bench::on(bench.engine.clone(), bench.os.clone(), bench.disk.clone());
        bench.run();
        for _ in 0..4 {
            look(&mut bench);
            if bench.disk.end().is_some() {
                set_health(&mut bench, Health::Unchecked);
            }
        }
        assert_eq!(stands(&bench), "Failing, `hello` on factory, web/app (Unhealthy)", "killed after {kill} effects");
    }
}

#[test]
fn a_reboot_lock_holds_the_way_back_of_the_os_and_not_that_of_services() {
    use crate::domain::device::locks::{Lock, Place};
    let mut bench = on_trial();
    bench.locks.held = vec![Lock::of_file(Place::Device, None, Ok(br#"{"owner":"ada","scope":["reboot"]}"#))];
    set_health(&mut bench, Health::Unhealthy);
    look(&mut bench);
    set_health(&mut bench, Health::Unchecked);
    look(&mut bench);
    look(&mut bench);
    assert_eq!(greeting(&bench), "hello");
    assert_eq!(bench.os.running.version.as_str(), "2026.11");
    let reboots = bench.waiting.iter().any(|effect| matches!(effect, Effect::Act(Action::Reboot { .. })));
    assert!(!reboots, "the device must not restart now");
    bench.locks.held.clear();
    look(&mut bench);
    look(&mut bench);
    assert_eq!(stands(&bench), "Failing, `hello` on factory, web/app (Unhealthy)");
}
